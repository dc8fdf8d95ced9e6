//! Folders for blobs that are needed for one command only.
//!
//! ```text
//! scratch/<name>/lock     locked as long as the process lives that uses the folder
//! scratch/<name>/blobs    its blobs
//! ```
//!
//! A process removes its own folder at its end, and those of processes that were killed at its
//! beginning.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::{Duration, SystemTime};

use adit_runtime::store::StoreError;
use adit_runtime::store::blobs::BlobStore;
use anyhow::Context as _;

use crate::state::{State, private_folder};

/// A folder without a lock that is younger than this may be about to get one.
const YOUNG: Duration = Duration::from_secs(60);

/// A store that goes away when this is dropped.
pub struct Scratch {
    blobs: BlobStore,
    _folder: tempfile::TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes one in the state folder.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(state: &State) -> anyhow::Result<Scratch> {
        let all = state.root()?.join("scratch");
        private_folder(&all).map_err(StoreError::io("make the folder", &all))?;
        sweep(&all);
        let failed = || format!("no folder could be made in {}", all.display());
        let folder = tempfile::tempdir_in(&all).with_context(failed)?;
        let lock = OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(folder.path().join("lock"))
            .with_context(failed)?;
        lock.lock().with_context(failed)?;
        Ok(Scratch {
            blobs: BlobStore::open(folder.path().join("blobs"))?,
            _folder: folder,
            _lock: lock,
        })
    }

    /// The store.
    pub fn blobs(&self) -> &BlobStore {
        &self.blobs
    }
}

/// Removes what killed processes have left. What cannot be removed stays.
fn sweep(all: &Path) {
    let Ok(entries) = fs::read_dir(all) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let young = || {
            let modified = fs::symlink_metadata(&path).and_then(|about| about.modified());
            let age = modified.map(|at| SystemTime::now().duration_since(at));
            !age.is_ok_and(|age| age.is_ok_and(|age| age >= YOUNG))
        };
        let left = match File::open(path.join("lock")) {
            Ok(lock) => lock.try_lock().is_ok(),
            Err(_) => !young(),
        };
        if left {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_away_and_those_of_the_living_stay() {
        let home = tempfile::tempdir().unwrap();
        let state = State::at(Some(home.path().to_owned()));
        let living = Scratch::new(&state).unwrap();
        living.blobs().put(b"x").unwrap();
        // As a killed process leaves it: nobody holds its lock.
        let dead = home.path().join("scratch/dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("lock"), b"").unwrap();
        let begun = home.path().join("scratch/begun");
        fs::create_dir(&begun).unwrap();
        drop(Scratch::new(&state).unwrap());
        assert!(!dead.exists());
        assert!(begun.exists());
        assert!(living._folder.path().exists());
        drop(living);
        let left: Vec<_> = fs::read_dir(home.path().join("scratch")).unwrap().collect();
        assert_eq!(left.len(), 1);
    }
}
