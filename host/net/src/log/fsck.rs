//! Checking a log at rest, without changing anything.

use std::path::Path;

use adit_protocol::log::checkpoint::Checkpoint;
use rusqlite::{Connection, OpenFlags};

use super::error::LogError;
use super::mirror::{MirrorError, read_checkpoint};
use super::open::{check_all, hold};
use super::reader::{ReadLogError, Trust};
use super::scrub::scrub;
use super::source::SourceError;
use super::store::Check;
use super::{CHECKPOINT, tables};

/// What was found to be in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// The checkpoint that all was checked against: the folder's, or the database's if there is one.
    pub checkpoint: Checkpoint,
    /// Entries beyond the checkpoint that wait in the database.
    pub waiting: u64,
    /// Folders with outdated partial tiles. They do no harm, and go when the log is next written.
    pub stale: u64,
}

/// Checks a log's or a mirror's folder: its checkpoint under `trust`, and every file against it.
/// `progress` is told of the entries so far, and of how many there are.
///
/// # Errors
/// [`MirrorError`], which says what is wrong and where.
pub fn fsck(
    folder: &Path,
    trust: &Trust,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Sound, MirrorError> {
    let missing = || {
        ReadLogError::Source(SourceError::Missing {
            place: folder.display().to_string(),
            file: CHECKPOINT.to_owned(),
        })
    };
    let signed = read_checkpoint(folder, trust)?.ok_or_else(missing)?;
    let checkpoint = trust.check(signed)?.checkpoint;
    let size = checkpoint.size;
    let root = (size, &checkpoint.root);
    let scrubbed = scrub(folder, root, &mut |done| progress(done, size))?;
    Ok(Sound {
        waiting: 0,
        stale: scrubbed.stale.len() as u64,
        checkpoint,
    })
}

/// Checks the log of a coordinator, in its folder and its database, as it would be checked before
/// it may sign again. No other process may have it at the time. The database is only read.
///
/// # Errors
/// [`LogError`].
pub fn fsck_state(
    database: &Path,
    folder: &Path,
    trust: &Trust,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Sound, LogError> {
    // Holding a folder would make it.
    std::fs::metadata(folder).map_err(LogError::io("read", folder))?;
    let _lock = hold(folder)?;
    std::fs::metadata(database).map_err(LogError::io("read", database))?;
    let connection = &Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    if tables::checkpoint(connection)?.is_none() {
        return Err(LogError::Lost {
            folder: folder.to_owned(),
        });
    }
    let checked = check_all(connection, folder, &trust.log, Check::All, progress)?;
    let checkpoint = checked.stored.signed.unverified().clone();
    Ok(Sound {
        waiting: checked.stored.next.saturating_sub(checkpoint.size),
        stale: checked.stale.len() as u64,
        checkpoint,
    })
}
