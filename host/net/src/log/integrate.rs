//! Turns entries that wait in the database into tiles and a new checkpoint.
//!
//! | step | if it fails |
//! |---|---|
//! | tiles are written, then the names of all | done again; what is there must be the same |
//! | the checkpoint is signed | it has left this process nowhere |
//! | the database replaces its checkpoint, if it is the one that was built on | its outcome is read before anything else is signed |
//! | the checkpoint's file is replaced | done again |
//! | outdated partial tiles are removed | done again, or when the log is opened |

use adit_protocol::hash::Hash;
use adit_protocol::log::bundle;
use adit_protocol::log::tile::{self, Level, Tile, WIDTH};
use rusqlite::TransactionBehavior;

use super::error::LogError;
use super::open::{known, sign};
use super::scrub::partial_folder;
use super::store::{Attempt, Log, check_pending};
use super::tables::{self, StoredCheckpoint};
use super::write::Writer;
use crate::db::Db;

/// The most entries of a step: 64 full tiles.
const ENTRIES_MAX: u64 = 64 * WIDTH as u64;
/// The most bytes of entries in a step, after which it takes no more of them.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A new checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integrated {
    /// Entries that it covers.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// When it was signed, in milliseconds since 1970; never earlier than the one before.
    pub time_ms: u64,
    /// More entries wait: there is work for another step at once.
    pub more: bool,
}

impl Log {
    /// Integrates entries that are committed, a bounded number at a time, and publishes a checkpoint
    /// that covers them; `None` if there are none. It may be called again after an error that is
    /// [retryable](LogError::retryable), and begins where it left off.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn integrate(&mut self, db: &mut Db, now_ms: u64) -> Result<Option<Integrated>, LogError> {
        self.alive()?;
        let done = self.step(db, now_ms);
        self.stop_on(done)
    }

    fn step(&mut self, db: &mut Db, now_ms: u64) -> Result<Option<Integrated>, LogError> {
        self.settle(db)?;
        self.publish()?;
        let built = match self.edge.size() < self.committed {
            true => Some(self.build(db, now_ms)?),
            false => None,
        };
        let Some(attempt) = built else {
            self.clear();
            return Ok(None);
        };
        self.store(db, attempt)?;
        self.publish()?;
        self.clear();
        let checkpoint = self.signed.unverified();
        Ok(Some(Integrated {
            size: checkpoint.size,
            root: checkpoint.root,
            time_ms: self.time_ms,
            more: checkpoint.size < self.committed,
        }))
    }

    /// Finds out what became of a commit that failed.
    fn settle(&mut self, db: &mut Db) -> Result<(), LogError> {
        let Some(attempt) = &self.attempt else {
            return Ok(());
        };
        let found = tables::checkpoint(db.connection())?
            .ok_or_else(|| LogError::state("its checkpoint is gone"))?;
        if found.note == attempt.signed.to_string() {
            if let Some(attempt) = self.attempt.take() {
                self.adopt(attempt);
            }
        } else if found.note == self.signed.to_string() {
            self.attempt = None;
        } else {
            return Err(LogError::Moved {
                expected: self.edge.size(),
                found: found.size,
            });
        }
        Ok(())
    }

    fn adopt(&mut self, attempt: Attempt) {
        self.edge = attempt.edge;
        self.signed = attempt.signed;
        self.time_ms = attempt.time_ms;
        // Nobody needs them once the checkpoint that they belong to is outdated.
        self.stale.extend(attempt.stale);
        self.published = false;
    }

    /// Writes the tiles of the next step and signs their checkpoint.
    fn build(&self, db: &mut Db, now_ms: u64) -> Result<Attempt, LogError> {
        let folder = &self.options.folder;
        let mut writer = Writer::new(&*self.disk, folder);
        let mut edge = self.edge.clone();
        let first = edge.size() / u64::from(WIDTH) * u64::from(WIDTH);
        let last = self.committed.min(edge.size().saturating_add(ENTRIES_MAX));
        let mut entries: Vec<Vec<u8>> = Vec::with_capacity(usize::from(WIDTH));
        let (mut expected, mut bytes) = (first, 0);
        let mut stale = Vec::new();
        tables::pending(db.connection(), (first, last), |pending| {
            if pending.leaf != expected {
                return Err(LogError::PendingMissing { leaf: expected });
            }
            expected += 1;
            let pending = check_pending(pending)?;
            let is_new = pending.leaf >= self.edge.size();
            bytes += pending.entry.len();
            entries.push(pending.entry);
            if !is_new {
                known(&self.edge, pending.leaf, &pending.hash)?;
                return Ok(true);
            }
            edge.append(pending.hash, &mut |tile, hashes| {
                if tile.level() == Level::Hashes(0) {
                    let bundle = bundle_of(tile)?;
                    writer.tile(bundle, &encode(&entries)?)?;
                    entries.clear();
                    stale.push(partial_folder(folder, bundle));
                }
                stale.push(partial_folder(folder, tile));
                writer.tile(tile, &tile::to_bytes(hashes))
            })?;
            Ok(bytes < BYTES_MAX)
        })?;
        // Either a bound was reached, or there must have been an entry up to the last.
        if edge.size() == self.edge.size() || (expected != last && bytes < BYTES_MAX) {
            return Err(LogError::PendingMissing { leaf: expected });
        }
        for (tile, hashes) in edge.partial() {
            if self.has(tile) {
                continue;
            }
            if tile.level() == Level::Hashes(0) {
                writer.tile(bundle_of(tile)?, &encode(&entries)?)?;
            }
            writer.tile(tile, &tile::to_bytes(hashes))?;
        }
        writer.finish()?;
        let signed = sign(&self.options, edge.size(), edge.root());
        Ok(Attempt {
            edge,
            signed,
            time_ms: now_ms.max(self.time_ms),
            stale,
        })
    }

    /// Whether a partial tile is as it was for the checkpoint before.
    fn has(&self, tile: Tile) -> bool {
        self.edge.partial().any(|(had, _)| had == tile)
    }

    /// Replaces the checkpoint in the database.
    fn store(&mut self, db: &mut Db, attempt: Attempt) -> Result<(), LogError> {
        let new = stored(&attempt);
        let keep = attempt.edge.size() / u64::from(WIDTH) * u64::from(WIDTH);
        let old = self.signed.unverified();
        let transaction = db
            .connection()
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !tables::advance(&transaction, (old.size, &old.root), &new, keep)? {
            let found = tables::checkpoint(&transaction)?.map_or(0, |found| found.size);
            return Err(LogError::Moved {
                expected: old.size,
                found,
            });
        }
        match self.disk.commit(transaction) {
            Ok(()) => self.adopt(attempt),
            Err(error) => {
                // It may have been stored all the same.
                self.attempt = Some(attempt);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Removes what is outdated. What cannot be removed now stays for the next time.
    fn clear(&mut self) {
        let disk = &*self.disk;
        self.stale.retain(|path| match disk.remove_folder(path) {
            Ok(()) => false,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "outdated tiles stay");
                true
            }
        });
    }
}

fn stored(attempt: &Attempt) -> StoredCheckpoint {
    let checkpoint = attempt.signed.unverified();
    StoredCheckpoint {
        size: checkpoint.size,
        root: checkpoint.root,
        time_ms: attempt.time_ms,
        note: attempt.signed.to_string(),
    }
}

/// The file with the entries of a tile of leaves.
fn bundle_of(leaves: Tile) -> Result<Tile, LogError> {
    Tile::new(Level::Entries, leaves.index(), leaves.width())
        .map_err(|error| LogError::state(error.to_string()))
}

fn encode(entries: &[Vec<u8>]) -> Result<Vec<u8>, LogError> {
    bundle::encode(entries).map_err(|error| LogError::state(error.to_string()))
}
