//! Why a log cannot be opened, appended to or integrated.

use std::path::{Path, PathBuf};

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::log::bundle::MAX_ENTRY;
use adit_protocol::log::tile::Tile;
use thiserror::Error;

use crate::db::code_of;

/// Why a log refuses. Those that are not [`retryable`](LogError::retryable) mean that what is stored
/// is not what this log wrote: nothing is signed any more until someone has looked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// Another process has the folder.
    #[error(
        "the log in {} is in use by another process; hint: two coordinators must never share one log, since they would sign two histories; end the other one",
        folder.display()
    )]
    InUse {
        /// The log's folder.
        folder: PathBuf,
    },
    /// A file or folder could not be read or written.
    #[error("{} cannot be {action}: {source}; hint: is the disk full, or do the files belong to another user?", path.display())]
    Io {
        /// What could not be done.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The database failed.
    #[error("the database failed: {0}; hint: is the disk full, or broken?")]
    Sqlite(#[from] rusqlite::Error),
    /// An entry is too long.
    #[error(
        "the entry has {found} bytes, more than the {MAX_ENTRY} that a log takes; hint: put the data into a blob and its hash into the log"
    )]
    EntryLength {
        /// Its bytes.
        found: usize,
    },
    /// The log has as many entries as a log can have.
    #[error("the log is full; hint: begin another one with a key of its own")]
    Full,
    /// There is no such entry.
    #[error("the log has no entry {leaf}, it has {size}; hint: indices begin at 0")]
    NoEntry {
        /// The index asked for.
        leaf: u64,
        /// Entries of the log, committed ones only.
        size: u64,
    },
    /// The database takes another index for the next one than this process.
    #[error(
        "the next entry would be {expected}, and in the database it is {found}; hint: another process wrote to the database, or a transaction that failed was committed; start again, which checks everything"
    )]
    OutOfStep {
        /// The next index as this process counts.
        expected: u64,
        /// The next index in the database.
        found: u64,
    },
    /// The checkpoint in the database is not the one that this process stored there.
    #[error(
        "the database has a checkpoint of {found} entries, and this process stored one of {expected}; hint: another process signs this log; end one of the two, and compare both checkpoints"
    )]
    Moved {
        /// Entries of the one that this process knows.
        expected: u64,
        /// Entries of the one in the database.
        found: u64,
    },
    /// The folder has a log, and the database knows nothing of it.
    #[error(
        "{} holds a log of which the database knows nothing; hint: the database was lost or exchanged: restore it, since a new log under the same key would be a second history; for a new log, choose an empty folder and a new key",
        folder.display()
    )]
    Lost {
        /// The log's folder.
        folder: PathBuf,
    },
    /// What the database says of the log does not hold together.
    #[error(
        "the log's state in the database is damaged: {detail}; hint: nothing was signed; restore the newest backup, and run `adit log fsck`"
    )]
    State {
        /// What is wrong.
        detail: String,
    },
    /// The published checkpoint is not one that this log can have written.
    #[error(
        "the published checkpoint {} is not this log's: {detail}; hint: nothing was signed; if another log was published there, choose another folder; if the file was damaged, compare it with a copy and remove it",
        path.display()
    )]
    Published {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Others have seen more of the log than the database knows.
    #[error(
        "{who} has a checkpoint of {found} entries, and the database knows of {stored}; hint: the database was restored from a backup; entries that were acknowledged are missing; to go on from here would be a second history. Restore the newest state, with the log's folder, or retire this log's key"
    )]
    Ahead {
        /// Who has seen more.
        who: String,
        /// Entries that were seen.
        found: u64,
        /// Entries of the checkpoint in the database.
        stored: u64,
    },
    /// A checkpoint of another history was signed.
    #[error(
        "{who} has a checkpoint of {size} entries with another root than these entries have: {found}, not {expected}; hint: two histories were signed with this key; sign nothing more, and keep both as evidence"
    )]
    Forked {
        /// Who has it.
        who: String,
        /// Its entries.
        size: u64,
        /// The root of that many entries here.
        expected: Hash,
        /// Its root.
        found: Hash,
    },
    /// Entries that wait to be written into tiles are not all there.
    #[error(
        "entry {leaf} is missing in the database; hint: the database is damaged; nothing was signed; restore the newest backup"
    )]
    PendingMissing {
        /// Its index.
        leaf: u64,
    },
    /// An entry that waits to be written into tiles was changed.
    #[error(
        "entry {leaf} in the database has the hash {found}, and {expected} was appended; hint: the database is damaged; nothing was signed; restore the newest backup"
    )]
    PendingChanged {
        /// Its index.
        leaf: u64,
        /// The hash of its leaf as it was appended.
        expected: Hash,
        /// The hash of what is there.
        found: Hash,
    },
    /// A file of the log is missing.
    #[error(
        "{tile} is missing; hint: nothing was signed; get the file from a mirror or a backup, every hash in it is checked"
    )]
    TileMissing {
        /// The file.
        tile: Tile,
    },
    /// A file of the log is not the one that was written.
    #[error(
        "{tile} is damaged: {detail}; hint: nothing was signed; get the file from a mirror or a backup, every hash in it is checked"
    )]
    TileChanged {
        /// The file.
        tile: Tile,
        /// What is wrong.
        detail: String,
    },
    /// An entry and the hash that stands for it do not agree.
    #[error(
        "leaf {leaf}: the entry in {entries} hashes to {found}, and {hashes} has {expected}; hint: one of the two files is damaged; nothing was signed; get both from a mirror or a backup"
    )]
    EntryChanged {
        /// The leaf.
        leaf: u64,
        /// The file with the entry.
        entries: Tile,
        /// The file with its hash.
        hashes: Tile,
        /// The hash in the tile.
        expected: Hash,
        /// The hash of the entry.
        found: Hash,
    },
    /// All files agree with each other, and not with the checkpoint.
    #[error(
        "the {size} entries in the log's files have the root {found}, and the checkpoint says {expected}; hint: the files are those of another log, or were rewritten; nothing was signed; get them from a mirror or a backup"
    )]
    Root {
        /// Entries of the checkpoint.
        size: u64,
        /// The checkpoint's root.
        expected: Hash,
        /// The root of the files.
        found: Hash,
    },
    /// A file that has yet to be written is there, and holds something else.
    #[error(
        "{tile} would be written, and is there already with other bytes; hint: another process wrote it, or it is damaged; no checkpoint covers it yet; keep a copy, look for the other process, then remove it"
    )]
    Exists {
        /// The file.
        tile: Tile,
    },
    /// A cosignature cannot be taken.
    #[error(
        "the cosignature cannot be used: {detail}; hint: is the witness's key the configured one?"
    )]
    Cosignature {
        /// What is wrong.
        detail: String,
    },
    /// An earlier error ended all work on the log.
    #[error("the log has stopped: {why}")]
    Stopped {
        /// The earlier error.
        why: String,
    },
}

impl LogError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            LogError::InUse { .. } => Code::StateLocked,
            LogError::Io { source, .. } => Code::of_io(source),
            LogError::Sqlite(error) => match code_of(error) {
                Code::Internal if !self.retryable() => Code::StateCorrupt,
                code => code,
            },
            LogError::Forked { .. } => Code::LogForked,
            LogError::Published { .. } => Code::BadSignature,
            LogError::Ahead { .. } | LogError::Lost { .. } | LogError::State { .. } => {
                Code::StateCorrupt
            }
            _ => Code::BadProof,
        }
    }

    /// Whether the same may succeed later. If not, the log has stopped for good: either what is
    /// stored contradicts itself, or the request itself was wrong.
    pub fn retryable(&self) -> bool {
        use rusqlite::ErrorCode;
        match self {
            LogError::Io { .. } | LogError::InUse { .. } => true,
            LogError::Sqlite(error) => !matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::DatabaseCorrupt
                        | ErrorCode::NotADatabase
                        | ErrorCode::ConstraintViolation
                )
            ),
            _ => false,
        }
    }

    /// Whether it is about one request, and says nothing of the log.
    pub(super) fn harmless(&self) -> bool {
        let of_request = matches!(
            self,
            LogError::EntryLength { .. }
                | LogError::NoEntry { .. }
                | LogError::Full
                | LogError::Cosignature { .. }
        );
        of_request || self.retryable()
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LogError {
        let path = path.to_owned();
        move |source| LogError::Io {
            action,
            path,
            source,
        }
    }

    pub(super) fn state(detail: impl Into<String>) -> LogError {
        LogError::State {
            detail: detail.into(),
        }
    }
}
