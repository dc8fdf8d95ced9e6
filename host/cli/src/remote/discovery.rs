//! The `adit dev` that this user runs: a file in the user's own state folder, whatever `--state` says,
//! so that other commands find it.
//!
//! The process holds a lock on the file for as long as it lives, which the system releases by whatever
//! end: so a file that was left behind is told from one that holds.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use adit_protocol::codes::Code;
use adit_runtime::store::open_file;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::state::{State, corrupt, private_folder};

/// Longest file, in bytes.
const BYTES_MAX: u64 = 256 << 10;

/// How a development network is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Address of the coordinator.
    pub url: String,
    /// The token of its client.
    pub token: String,
    /// Address of the registry.
    pub registry: String,
    /// Address of the witness.
    pub witness: String,
    /// The network file.
    pub network: PathBuf,
    /// The process.
    pub pid: u32,
    /// The folder that holds everything.
    pub state: PathBuf,
    /// The miners, in the order of their numbers.
    pub miners: Vec<DevMiner>,
    /// The keys that everyone has.
    pub keys: Vec<DevKey>,
}

/// A miner of a development network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevMiner {
    /// Its node key, as 0x and 64 digits.
    pub node: String,
    /// What it does wrong, if anything.
    pub fault: Option<String>,
}

/// A key that everyone has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevKey {
    /// Its secret URI, as `//Alice`.
    pub uri: String,
    /// Its public key, as 0x and 64 digits.
    pub public: String,
    /// Its address.
    pub address: String,
}

/// Keeps a file in force until it is dropped.
#[derive(Debug)]
pub struct Announced {
    _lock: File,
    path: PathBuf,
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn path() -> Option<PathBuf> {
    let state = State::at(None);
    state.root().ok().map(|root| root.join("dev.json"))
}

/// The development network that runs now.
///
/// # Errors
///
/// When there is a file of it that cannot be read.
pub fn running() -> anyhow::Result<Option<Ports>> {
    path().map_or(Ok(None), |path| read(&path))
}

fn read(path: &Path) -> anyhow::Result<Option<Ports>> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    let what = || format!("{} could not be read", path.display());
    let file = open_file(path).with_context(what)?;
    match file.try_lock_shared() {
        // Nobody holds it: whoever wrote it has ended.
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error).with_context(what),
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX)
        .read_to_end(&mut bytes)
        .with_context(what)?;
    match serde_json::from_slice(&bytes) {
        Ok(ports) => Ok(Some(ports)),
        Err(error) => Err(corrupt(path, error)
            .hint("end the `adit dev` that wrote it, and start it again")
            .into()),
    }
}

/// Makes this process the development network that other commands find, unless another one is;
/// `None` then, and where there is no place for the file.
///
/// # Errors
///
/// When the file cannot be written.
pub fn announce(ports: &Ports) -> anyhow::Result<Option<Announced>> {
    path().map_or(Ok(None), |path| write(&path, ports))
}

fn write(path: &Path, ports: &Ports) -> anyhow::Result<Option<Announced>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let what = || format!("{} could not be written", path.display());
    private_folder(folder).with_context(what)?;
    if read(path)?.is_some() {
        return Ok(None);
    }
    // Temporary files have mode 0600: the token is in it.
    let mut file = tempfile::Builder::new()
        .prefix(".adit-dev-")
        .tempfile_in(folder)
        .with_context(what)?;
    serde_json::to_writer(&mut file, ports)
        .map_err(std::io::Error::from)
        .and_then(|()| file.flush())
        .with_context(what)?;
    let lock = file.reopen().with_context(what)?;
    if let Err(error) = lock.try_lock() {
        return Failure::new(Code::Internal, what())
            .because(error)
            .into_err();
    }
    file.persist(path).map_err(|e| e.error).with_context(what)?;
    Ok(Some(Announced {
        _lock: lock,
        path: path.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_found_only_while_it_runs_and_the_first_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/dev.json");
        let ports = Ports {
            url: "http://127.0.0.1:1".into(),
            token: "t".into(),
            registry: "http://127.0.0.1:3".into(),
            witness: "http://127.0.0.1:2".into(),
            network: "/n".into(),
            pid: 1,
            state: "/s".into(),
            miners: Vec::new(),
            keys: Vec::new(),
        };
        assert_eq!(read(&path).unwrap(), None);
        let announced = write(&path, &ports).unwrap().unwrap();
        assert_eq!(read(&path).unwrap(), Some(ports.clone()));
        assert!(write(&path, &ports).unwrap().is_none());
        // As kill -9 leaves it: the file stays, the lock goes.
        let text = std::fs::read(&path).unwrap();
        drop(announced);
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap(), None);
        assert!(write(&path, &ports).unwrap().is_some());
    }
}
