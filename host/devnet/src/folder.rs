//! The folder of a development network.
//!
//! ```text
//! lock            held by the process that runs it
//! genesis         the network's genesis document
//! ledger-genesis  the ledger's
//! registry/       the registry's state
//! registry-address where the registry listened last
//! network         the network file, as the registry signed it last
//! token           the token of its one client
//! address         where the coordinator listened last, so that it does again
//! coordinator/    the coordinator's state
//! miner-N/        a miner's state
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::devnet::DevError;

/// The folder, which no other process uses meanwhile.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`DevError::InUse`]; or the system's.
    pub fn take(root: &Path) -> Result<Folder, DevError> {
        make(root)?;
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| DevError::file("open", &path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder {
                root: root.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DevError::InUse {
                path: root.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(DevError::file("lock", &path, error)),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A short text that was written before.
    pub fn text(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.path(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty() && text.len() < 1024)
    }
}

/// The port of an address that was written before.
pub(crate) fn port_of(url: &str) -> Option<u16> {
    url.rsplit_once(':')?.1.parse().ok()
}

/// Makes a folder that only its owner can enter, if it is not there.
///
/// # Errors
/// The system's.
pub fn make(path: &Path) -> Result<(), DevError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| DevError::file("make", path, error))
}

/// Writes a file so that it appears whole or not at all, and waits for the disk.
///
/// # Errors
/// The system's.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DevError> {
    let failed = |error| DevError::file("write", path, error);
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let write = || {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(mode)
            .open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        match path.parent() {
            Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    };
    write().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_has_a_folder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::take(dir.path()).unwrap();
        assert!(matches!(
            Folder::take(dir.path()),
            Err(DevError::InUse { .. })
        ));
        write(&folder.path("token"), b"abc\n", 0o600).unwrap();
        assert_eq!(folder.text("token").as_deref(), Some("abc"));
        assert_eq!(folder.text("address"), None);
        drop(folder);
        Folder::take(dir.path()).unwrap();
    }
}
