//! A log that this process writes.
//!
//! Trusted: the database, as far as its integrity goes. Whoever can write to it can have the log sign
//! other entries than were appended; a flipped bit in it is found. The folder is not trusted: it is
//! checked when the log is opened, and never read to decide what is signed.

use std::fs::File;
use std::path::{Path, PathBuf};

use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::log::bundle::{self, MAX_ENTRY};
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::key::{KeyKind, KeyName, NoteKey};
use adit_protocol::log::tile::{Level, Tile, WIDTH};
use adit_protocol::log::tree::{SIZE_MAX, leaf_hash};
use rusqlite::{Connection, Transaction};

use super::disk::Disk;
use super::edge::Edge;
use super::error::LogError;
use super::scrub::{read_hashes, read_tile};
use super::tables;
use crate::db::Db;

/// What a log is opened with.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The folder for tiles and checkpoints; it must be on one file system.
    pub folder: PathBuf,
    /// The log's name in its checkpoints.
    pub origin: KeyName,
    /// The key that signs its checkpoints and nothing else.
    pub key: Keypair,
    /// The keys whose cosignatures are published.
    pub witnesses: Vec<NoteKey>,
    /// How much is read before anything may be signed.
    pub check: Check,
}

impl LogOptions {
    /// The key that the log's checkpoints are checked with.
    pub fn note_key(&self) -> NoteKey {
        NoteKey::new(self.origin.clone(), KeyKind::Checkpoint, self.key.public())
    }
}

/// How much of a log is read when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Every file, up to the root: about a second for each million entries.
    #[default]
    All,
    /// What new entries are built on: the last tiles of each level, and what waits in the database.
    /// Damage of other files is found by those who read them, and by `adit log fsck`.
    Edge,
}

/// A log that this process writes. It goes with one [`Db`], which must be the same in each call.
pub struct Log {
    pub(super) options: LogOptions,
    pub(super) note_key: NoteKey,
    pub(super) disk: Box<dyn Disk>,
    /// The tiles at the edge of the checkpoint that the database has.
    pub(super) edge: Edge,
    pub(super) signed: SignedCheckpoint,
    pub(super) time_ms: u64,
    /// The newest checkpoint with cosignatures.
    pub(super) cosigned: Option<SignedCheckpoint>,
    /// Whether the files of both checkpoints are as they should be.
    pub(super) published: bool,
    /// What a commit was to store whose outcome is not known.
    pub(super) attempt: Option<Attempt>,
    /// Folders that may be removed.
    pub(super) stale: Vec<PathBuf>,
    /// Index of the next entry, and the same without what is not committed.
    pub(super) next: u64,
    pub(super) committed: u64,
    /// A transaction failed, and whether it took effect is not known.
    pub(super) unsure: bool,
    /// Why all work on the log has ended.
    pub(super) stopped: Option<String>,
    /// Held until the log is dropped.
    pub(super) _lock: File,
}

/// A checkpoint with the edge that belongs to it.
pub(super) struct Attempt {
    pub edge: Edge,
    pub signed: SignedCheckpoint,
    pub time_ms: u64,
    /// Folders that may be removed once it is stored.
    pub stale: Vec<PathBuf>,
}

impl Log {
    /// The log's tables, which belong into the migrations of the database that it is opened with.
    pub const MIGRATION: &'static str = tables::MIGRATION;

    /// The index that the next entry gets. Entries that are not committed count; after
    /// [`Log::rolled_back`] the next [`Log::append`] may find that they were kept after all, and
    /// then gives a higher index.
    pub fn size(&self) -> u64 {
        self.next
    }

    /// The newest checkpoint, with the log's own signature alone. Its files are on disk.
    pub fn signed(&self) -> &SignedCheckpoint {
        &self.signed
    }

    /// When the newest checkpoint was signed, in milliseconds since 1970; it never goes back.
    pub fn signed_ms(&self) -> u64 {
        self.time_ms
    }

    /// Committed entries that no checkpoint covers yet.
    pub fn waiting(&self) -> u64 {
        self.committed.saturating_sub(self.edge.size())
    }

    /// Whether there is something to integrate: entries that no checkpoint covers, or a checkpoint
    /// whose files are not in place, as in a new log, after a crash, or after a disk was full.
    pub fn is_behind(&self) -> bool {
        self.waiting() > 0 || !self.published
    }

    /// The key that the log's checkpoints are checked with.
    pub fn key(&self) -> &NoteKey {
        &self.note_key
    }

    /// The folder with tiles and checkpoints.
    pub fn folder(&self) -> &Path {
        &self.options.folder
    }

    /// Replaces the keys whose cosignatures are published.
    pub fn set_witnesses(&mut self, witnesses: Vec<NoteKey>) {
        self.options.witnesses = witnesses;
    }

    /// Appends an entry within a transaction, and returns its leaf index. It must not be told to
    /// anyone before the commit; the caller says by [`Log::committed`] or [`Log::rolled_back`] how
    /// that went. After an error the transaction must be rolled back.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn append(&mut self, transaction: &Transaction<'_>, entry: &[u8]) -> Result<u64, LogError> {
        self.append_all(transaction, &[entry])
    }

    /// Like [`Log::append`] for entries that follow each other, in less time than one by one; the leaf
    /// index of the first.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn append_all<E: AsRef<[u8]>>(
        &mut self,
        transaction: &Transaction<'_>,
        entries: &[E],
    ) -> Result<u64, LogError> {
        self.alive()?;
        let appended = self.try_append(transaction, entries);
        self.stop_on(appended)
    }

    fn try_append<E: AsRef<[u8]>>(
        &mut self,
        transaction: &Transaction<'_>,
        entries: &[E],
    ) -> Result<u64, LogError> {
        let mut lengths = entries.iter().map(|entry| entry.as_ref().len());
        if let Some(found) = lengths.find(|length| *length > MAX_ENTRY) {
            return Err(LogError::EntryLength { found });
        }
        if self.unsure {
            let found = tables::next(transaction)?.unwrap_or_default();
            if found < self.committed {
                return Err(self.out_of_step(found));
            }
            self.next = found;
            self.unsure = false;
        }
        let leaf = self.next;
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let next = leaf.saturating_add(count);
        if next > SIZE_MAX {
            return Err(LogError::Full);
        }
        if !tables::append(transaction, leaf, entries)? {
            let found = tables::next(transaction)?.unwrap_or_default();
            return Err(self.out_of_step(found));
        }
        self.next = next;
        Ok(leaf)
    }

    fn out_of_step(&self, found: u64) -> LogError {
        LogError::OutOfStep {
            expected: self.next,
            found,
        }
    }

    /// The transaction in which entries were appended is committed.
    pub fn committed(&mut self) {
        self.committed = self.next;
    }

    /// The transaction in which entries were appended was rolled back, or its commit failed: what
    /// was appended since the last commit is forgotten.
    pub fn rolled_back(&mut self) {
        self.next = self.committed;
        self.unsure = true;
    }

    /// A committed entry. It is checked against the hash of its leaf.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn entry(&self, db: &mut Db, leaf: u64) -> Result<Vec<u8>, LogError> {
        match leaf < self.committed {
            true => read_entry(db.connection(), self.folder(), leaf),
            false => Err(LogError::NoEntry {
                leaf,
                size: self.committed,
            }),
        }
    }

    pub(super) fn alive(&self) -> Result<(), LogError> {
        match &self.stopped {
            None => Ok(()),
            Some(why) => Err(LogError::Stopped { why: why.clone() }),
        }
    }

    /// Ends all work on the log if an error says that its state contradicts itself.
    pub(super) fn stop_on<T>(&mut self, result: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(error) = &result
            && !error.harmless()
        {
            tracing::error!(%error, "the log has stopped");
            self.stopped = Some(error.to_string());
        }
        result
    }
}

/// An entry of the log of a database and a folder, through any connection: for readers beside the
/// writer. It is checked against the hash of its leaf.
///
/// # Errors
/// [`LogError`]; an entry that does not exist is a [`LogError::TileMissing`].
pub fn read_entry(connection: &Connection, folder: &Path, leaf: u64) -> Result<Vec<u8>, LogError> {
    // An entry leaves the database after it is in a full tile, so in this order it is found.
    match pending_entry(connection, leaf)? {
        Some(entry) => Ok(entry),
        None => entry_on_disk(folder, leaf),
    }
}

fn pending_entry(connection: &Connection, leaf: u64) -> Result<Option<Vec<u8>>, LogError> {
    let mut entry = None;
    tables::pending(connection, (leaf, leaf.saturating_add(1)), |pending| {
        entry = Some(check_pending(pending)?.entry);
        Ok(false)
    })?;
    Ok(entry)
}

/// An entry that waits, if it has the hash that it was appended with.
pub(super) fn check_pending(pending: tables::Pending) -> Result<tables::Pending, LogError> {
    let found = leaf_hash(&pending.entry);
    match found == pending.hash {
        true => Ok(pending),
        false => Err(LogError::PendingChanged {
            leaf: pending.leaf,
            expected: pending.hash,
            found,
        }),
    }
}

fn entry_on_disk(folder: &Path, leaf: u64) -> Result<Vec<u8>, LogError> {
    let full = |level| {
        Tile::new(level, leaf / u64::from(WIDTH), WIDTH).map_err(|_| LogError::NoEntry {
            leaf,
            size: SIZE_MAX,
        })
    };
    let (entries, hashes) = (full(Level::Entries)?, full(Level::Hashes(0))?);
    let at = usize::try_from(leaf % u64::from(WIDTH)).unwrap_or_default();
    let bytes = read_tile(folder, entries)?;
    let list = bundle::decode_width(&bytes, WIDTH);
    let entry = list.ok().and_then(|list| list.get(at).copied());
    let entry = entry.ok_or(LogError::TileChanged {
        tile: entries,
        detail: "it is not 256 entries".to_owned(),
    })?;
    let expected = read_hashes(folder, hashes)?.get(at).copied();
    let expected = expected.unwrap_or(Hash::ZERO);
    let found = leaf_hash(entry);
    match found == expected {
        true => Ok(entry.to_vec()),
        false => Err(LogError::EntryChanged {
            leaf,
            entries,
            hashes,
            expected,
            found,
        }),
    }
}
