//! The steps by which a log changes what is on disk, one by one, so that tests can let each of them
//! fail before or after it took effect.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use rusqlite::Transaction;

use crate::simulated;

/// The steps. Each is all that happens, or an error; after an error it may have happened.
pub(super) trait Disk: Send + Sync {
    /// Makes a folder in one that exists; it may be there already.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// Writes a file, whose bytes are on disk when this returns; its name need not be.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Moves a file, and replaces the one that is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Puts on disk which files and folders a folder has.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all files in it; it may be missing.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Commits a transaction.
    fn commit(&self, transaction: Transaction<'_>) -> rusqlite::Result<()>;
}

/// The disk of this machine.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        match simulated::here() {
            false => file.sync_data(),
            true => Ok(()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match simulated::here() {
            false => File::open(path)?.sync_all(),
            true => Ok(()),
        }
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn commit(&self, transaction: Transaction<'_>) -> rusqlite::Result<()> {
        transaction.commit()
    }
}

/// The bytes of a file, if it has no more than `max`.
pub(super) fn read_bounded(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    match bytes.len() > max {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it has more than {max} bytes"),
        )),
        false => Ok(bytes),
    }
}
