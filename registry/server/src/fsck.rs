//! A registry's state folder at rest, checked without changing anything: the log file by file, every
//! entry by the ledger's rules, and the tables by the entries.

use std::path::{Path, PathBuf};

use adit_ledger::LedgerGenesis;
use adit_ledger::entry::LogEntry;
use adit_net::log::{FolderSource, LogError, LogReader, Sound, WalkOptions, fsck_state};
use adit_protocol::Code;
use adit_protocol::network::genesis::Genesis;
use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

use crate::follow::{FollowError, Follower, trust};
use crate::store::{DATABASE, LOG, Place, Reader, StoreError};
use crate::witness;

/// Why a registry's state is not in order.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FsckError {
    /// The log's files.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A database is damaged.
    #[error(
        "{} is damaged: {detail}; hint: put the state folder back from a backup, but for witness.db, which must never be put back: start with a new one of a new cosigning key instead",
        path.display()
    )]
    Database {
        /// Its file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// An entry.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The tables do not say of a transaction what the log does.
    #[error(
        "the tables do not have the transaction of entry {leaf} as the log has it; hint: put the state folder back from a backup; the log itself is in order"
    )]
    Index {
        /// Its entry.
        leaf: u64,
    },
}

impl FsckError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            FsckError::Log(LogError::InUse { .. }) => Code::StateLocked,
            FsckError::Follow(error) => error.code(),
            FsckError::Store(StoreError::Db(error)) => error.code(),
            _ => Code::StateCorrupt,
        }
    }
}

/// What was found to be in order.
pub struct Checked {
    /// The log.
    pub log: Sound,
    /// The ledger after all of it.
    pub follower: Follower,
}

/// Checks the state of a registry that does not run. `progress` is told of the entries so far, and of
/// how many there are.
///
/// # Errors
/// [`FsckError`].
pub async fn fsck(
    state: &Path,
    genesis: &Genesis,
    ledger: &LedgerGenesis,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Checked, FsckError> {
    let trust = trust(genesis, ledger)?;
    let folder = state.join(LOG);
    let database = state.join(DATABASE);
    let log = fsck_state(&database, &folder, &trust, progress).map_err(|error| match error {
        LogError::Sqlite(error) if is_damage(&error) => damaged(&database, error),
        other => other.into(),
    })?;
    for file in [database, state.join(witness::DATABASE)] {
        if file.exists() {
            sound(&file)?;
        }
    }
    let reader = Reader::open(state)?;
    let mut follower = Follower::new(genesis, ledger).map_err(FollowError::from)?;
    let size = log.checkpoint.size;
    let entries = LogReader::new(FolderSource(folder), trust);
    let walk = entries.walk(&log.checkpoint, 0..size, WalkOptions::default());
    let mut walk = walk.await.map_err(FollowError::from)?;
    while let Some(bundle) = walk.next().await.map_err(FollowError::from)? {
        for (_, entry) in bundle.entries() {
            check(&reader, &mut follower, entry)?;
        }
    }
    let all = size.saturating_add(log.waiting);
    while follower.leaf() < all {
        let waiting = reader.entry(follower.leaf())?;
        check(&reader, &mut follower, &waiting)?;
    }
    Ok(Checked { log, follower })
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseCorrupt | NotADatabase)
    )
}

fn damaged(path: &Path, detail: impl std::fmt::Display) -> FsckError {
    FsckError::Database {
        path: path.to_owned(),
        detail: detail.to_string(),
    }
}

/// Has SQLite look whether a database hangs together.
fn sound(path: &Path) -> Result<(), FsckError> {
    let look = || -> rusqlite::Result<String> {
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
    };
    match look() {
        Ok(said) if said == "ok" => Ok(()),
        Ok(said) => Err(damaged(path, said.replace('\n', ", "))),
        Err(error) if is_damage(&error) => Err(damaged(path, error)),
        Err(error) => Err(StoreError::from(error).into()),
    }
}

/// Does what an entry says, and compares what the tables say of it.
fn check(reader: &Reader, follower: &mut Follower, bytes: &[u8]) -> Result<(), FsckError> {
    let leaf = follower.leaf();
    follower.entry(bytes)?;
    let Ok(LogEntry::Transaction(signed)) = LogEntry::from_bytes(bytes) else {
        return Ok(());
    };
    let said = signed.transaction();
    let expected = Place {
        id: signed.id(),
        leaf,
        height: follower.state().head().height,
        account: said.account,
        number: said.number,
    };
    match reader.find(&signed.id())? == Some(expected) {
        true => Ok(()),
        false => Err(FsckError::Index { leaf }),
    }
}
