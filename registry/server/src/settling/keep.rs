//! What accounts have earned, in files for each epoch that was settled here: what claims are proven
//! with, what the next settlement adds to, and how each node came to it.
//!
//! `earned-N` holds the leaves of the tree one after the other ([`Earned::leaf`]), `output-N` what the
//! settlement came to in its own form. They are written before the settlement is handed in, and
//! compared with the ledger before they are used.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use adit_ledger::Key;
use adit_ledger::rewards::{Earned, RewardTree};
use adit_ledger::tree::TreeRoot;
use adit_protocol::Amount;
use adit_settlement::Output;
use thiserror::Error;

/// Length of a leaf in bytes.
const LEAF: usize = 48;
/// Epochs whose files are kept.
const KEPT: usize = 256;
/// Epochs that are held in memory.
const RECENT: usize = 16;
/// Files of each epoch.
const EARNED: &str = "earned";
const OUTPUT: &str = "output";

/// Why what was earned cannot be kept, or is not there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The system.
    #[error("{} cannot be {doing}: {source}; hint: check the disk and the folder", path.display())]
    Io {
        /// What was tried, as "read".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in the file is not what the ledger says.
    #[error(
        "{} does not hold what was earned up to epoch {epoch} by the ledger's root; hint: the checker computes it again when it settles the next epoch; `adit audit rewards` shows whether the ledger's is what the logs come to", path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// The epoch.
        epoch: u64,
    },
}

/// What an epoch came to.
#[derive(Debug)]
pub struct Kept {
    /// What accounts earned up to it.
    pub tree: RewardTree,
    /// How each node came to it.
    pub output: Output,
}

/// A folder of such files, and the newest epochs in memory.
pub struct Keep {
    folder: PathBuf,
    recent: Mutex<BTreeMap<u64, Arc<Kept>>>,
}

impl Keep {
    /// The folder, which is made with the first file.
    pub fn new(folder: PathBuf) -> Keep {
        Keep {
            folder,
            recent: Mutex::default(),
        }
    }

    fn path(&self, kind: &str, epoch: u64) -> PathBuf {
        self.folder.join(format!("{kind}-{epoch}"))
    }

    /// Keeps what an epoch came to. It is durable then.
    ///
    /// # Errors
    /// [`KeepError::Io`].
    pub fn put(&self, epoch: u64, kept: Kept) -> Result<(), KeepError> {
        let folder = &self.folder;
        let leaves: Vec<u8> = kept.tree.earned().iter().flat_map(Earned::leaf).collect();
        let mut output = Vec::new();
        let path = self.path(OUTPUT, epoch);
        let written = kept.output.write(&mut output);
        written.map_err(|error| failed("written", &path)(io::Error::other(error)))?;
        std::fs::create_dir_all(folder).map_err(failed("made", folder))?;
        write(&path, &output)?;
        write(&self.path(EARNED, epoch), &leaves)?;
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed("written", folder))?;
        self.remember(epoch, Arc::new(kept));
        let epochs = self.epochs()?;
        let old = epochs.len().saturating_sub(KEPT);
        for epoch in epochs.into_iter().take(old) {
            for kind in [EARNED, OUTPUT] {
                let path = self.path(kind, epoch);
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed("removed", &path)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn remember(&self, epoch: u64, kept: Arc<Kept>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.insert(epoch, kept);
        while recent.len() > RECENT {
            recent.pop_first();
        }
    }

    /// What accounts earned up to an epoch; `None` if it was not kept here.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn earned(&self, epoch: u64, root: &TreeRoot) -> Result<Option<Arc<Kept>>, KeepError> {
        match self.get(epoch)? {
            Some(kept) if kept.tree.root() == *root => Ok(Some(kept)),
            Some(_) => Err(KeepError::Other {
                path: self.path(EARNED, epoch),
                epoch,
            }),
            None => Ok(None),
        }
    }

    /// What an epoch came to; `None` if it was not kept here.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn get(&self, epoch: u64) -> Result<Option<Arc<Kept>>, KeepError> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = recent.get(&epoch) {
            return Ok(Some(Arc::clone(kept)));
        }
        drop(recent);
        let (leaves, output) = (self.path(EARNED, epoch), self.path(OUTPUT, epoch));
        let (Some(leaves), Some(bytes)) = (read(&leaves)?, read(&output)?) else {
            return Ok(None);
        };
        let output = Output::read(bytes.as_slice());
        let (Some(earned), Ok(output)) = (parse(&leaves), output) else {
            return Err(KeepError::Other {
                path: self.path(EARNED, epoch),
                epoch,
            });
        };
        let tree = RewardTree::new(earned);
        let kept = Arc::new(Kept { tree, output });
        self.remember(epoch, Arc::clone(&kept));
        Ok(Some(kept))
    }

    /// The epochs of which there are files, ascending.
    ///
    /// # Errors
    /// [`KeepError::Io`].
    pub fn epochs(&self) -> Result<Vec<u64>, KeepError> {
        let mut epochs = Vec::new();
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(epochs),
            Err(error) => return Err(failed("read", &self.folder)(error)),
        };
        for entry in entries {
            let name = entry.map_err(failed("read", &self.folder))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("earned-"));
            epochs.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        epochs.sort_unstable();
        Ok(epochs)
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeepError + use<> {
    let path = path.to_owned();
    move |source| KeepError::Io {
        doing,
        path,
        source,
    }
}

/// Puts a file in place of another: whoever reads it finds all of one.
fn write(path: &Path, bytes: &[u8]) -> Result<(), KeepError> {
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished).map_err(failed("written", &unfinished))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed("written", &unfinished))?;
    std::fs::rename(&unfinished, path).map_err(failed("written", path))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, KeepError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

fn parse(bytes: &[u8]) -> Option<Vec<Earned>> {
    let (leaves, []) = bytes.as_chunks::<LEAF>() else {
        return None;
    };
    let earned = leaves.iter().map(|leaf| {
        let (account, total) = leaf.split_first_chunk::<32>()?;
        Some(Earned {
            account: Key::from_bytes(*account),
            total: Amount::from_units(u128::from_le_bytes(total.try_into().ok()?)),
        })
    });
    earned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(accounts: u8) -> Kept {
        let earned = (1..=accounts).map(|n| Earned {
            account: Key::from_bytes([n; 32]),
            total: Amount::tokens(n.into()),
        });
        Kept {
            tree: RewardTree::new(earned.collect()),
            output: Output {
                epoch: 7,
                genesis: [1; 32],
                accounts: Vec::new(),
                miners: Vec::new(),
                coordinators: Vec::new(),
                totals: Default::default(),
            },
        }
    }

    #[test]
    fn what_was_kept_is_there_unless_it_was_altered() {
        let folder = tempfile::tempdir().unwrap();
        let keep = || Keep::new(folder.path().join("rewards"));
        let root = kept(9).tree.root();
        assert!(keep().earned(7, &root).unwrap().is_none());
        keep().put(7, kept(9)).unwrap();
        let found = keep().earned(7, &root).unwrap().unwrap();
        assert_eq!(found.tree.earned(), kept(9).tree.earned());
        assert_eq!(found.output, kept(9).output);
        let path = keep().path(EARNED, 7);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(
            keep().earned(7, &root),
            Err(KeepError::Other { epoch: 7, .. })
        ));
        // Nobody has earned anything: a file of nothing.
        keep().put(8, kept(0)).unwrap();
        assert!(keep().earned(8, &kept(0).tree.root()).unwrap().is_some());
    }

    #[test]
    fn old_files_go() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::new(folder.path().to_owned());
        for epoch in 0..KEPT as u64 + 3 {
            keep.put(epoch, kept(1)).unwrap();
        }
        assert_eq!(keep.epochs().unwrap().first(), Some(&3));
        assert!(keep.get(2).unwrap().is_none());
        assert!(keep.get(3).unwrap().is_some());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2 * KEPT);
    }
}
