//! Why a journal cannot be used.

use adit_net::db::{DbError, code_of};
use adit_net::wal::WalError;
use adit_protocol::Code;

use super::Point;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The database cannot be opened or written.
    #[error(transparent)]
    Db(#[from] DbError),
    /// SQLite failed.
    #[error(
        "the journal could not be written or read: {0}; hint: is the disk full, or broken? nothing was signed that is not on disk"
    )]
    Sqlite(#[from] rusqlite::Error),
    /// The write-ahead log cannot be opened, read or written.
    #[error("{0}; nothing was signed that is not on disk")]
    Wal(#[from] WalError),
    /// A body cannot be encoded, which never happens.
    #[error("a body cannot be encoded: {0}; hint: please report this")]
    Encoding(minicbor::encode::Error<std::convert::Infallible>),
    /// A row is not what this program writes.
    #[error(
        "the journal is damaged: receipt {seq} for the coordinator {coordinator} {what}; hint: restore the newest backup only if nothing was signed since; else a new node key is needed, see `adit explain journal-lost`"
    )]
    Damaged {
        /// Node key of the coordinator, as `0x` and digits.
        coordinator: String,
        /// Number of the receipt.
        seq: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A test or a simulator made this step fail.
    #[error("the step {0:?} was made to fail")]
    Injected(Point),
    /// The thread of the journal could not be started.
    #[error(
        "the thread of the journal could not be started: {0}; hint: is the number of processes limited?"
    )]
    Thread(std::io::Error),
    /// The thread of the journal has ended.
    #[error("the journal is closed; hint: the miner is shutting down")]
    Closed,
}

impl JournalError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            JournalError::Db(error) => error.code(),
            JournalError::Sqlite(error) => code_of(error),
            JournalError::Wal(error) => error.code(),
            JournalError::Damaged { .. } => Code::StateCorrupt,
            JournalError::Thread(error) => Code::of_io(error),
            JournalError::Encoding(_) | JournalError::Injected(_) | JournalError::Closed => {
                Code::Internal
            }
        }
    }
}
