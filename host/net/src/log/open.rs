//! Opening a log: everything that it says of itself is checked before it may sign again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use adit_protocol::hash::Hash;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::key::NoteKey;
use adit_protocol::log::note;
use adit_protocol::log::reader::TileReader;
use adit_protocol::log::tile::WIDTH;
use adit_protocol::log::tree::{empty_root, root};
use rand_core::OsRng;
use rusqlite::{Connection, TransactionBehavior};
use rustix::fs::{FlockOperation, flock};

use super::disk::{Disk, RealDisk, read_bounded};
use super::edge::Edge;
use super::error::LogError;
use super::scrub::{read_edge, read_tile, scrub};
use super::store::{Check, Log, LogOptions, check_pending};
use super::tables::{self, StoredCheckpoint};
use super::write::TEMPORARY;
use super::{CHECKPOINT, COSIGNED};
use crate::db::Db;

/// The file by which one process holds the folder.
const LOCK: &str = "lock";
/// Who has the checkpoint of the file, in errors.
const PUBLISHED: &str = "the published checkpoint";

impl Log {
    /// Opens the log of a database and a folder, or begins one if neither has any. All that is
    /// stored is checked first, as far as `options.check` says.
    ///
    /// # Errors
    /// [`LogError`]: unless all holds together, the log is not opened and nothing is signed.
    pub fn open(db: &mut Db, options: LogOptions) -> Result<Log, LogError> {
        Log::open_on(Box::new(RealDisk), db, options)
    }

    pub(super) fn open_on(
        disk: Box<dyn Disk>,
        db: &mut Db,
        options: LogOptions,
    ) -> Result<Log, LogError> {
        let lock = hold(&options.folder)?;
        clear_temporary(&options.folder)?;
        let note_key = options.note_key();
        if tables::checkpoint(db.connection())?.is_none() {
            begin(&*disk, db, &options)?;
        }
        let checked = check_all(
            db.connection(),
            &options.folder,
            &note_key,
            options.check,
            &mut |done, size| tracing::info!(done, size, "checking the log"),
        )?;
        let Checked {
            edge,
            stale,
            stored,
        } = checked;
        let signed = stored.signed;
        let next = stored.next;
        let published = is_published(&options.folder, &signed, stored.cosigned.as_ref())?;
        Ok(Log {
            note_key,
            disk,
            edge,
            signed,
            time_ms: stored.time_ms,
            cosigned: stored.cosigned,
            published,
            attempt: None,
            stale,
            next,
            committed: next,
            unsure: false,
            stopped: None,
            _lock: lock,
            options,
        })
    }
}

/// Makes a folder and holds it for this process.
pub(super) fn hold(folder: &Path) -> Result<File, LogError> {
    fs::create_dir_all(folder).map_err(LogError::io("made", folder))?;
    let path = folder.join(LOCK);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(LogError::io("opened", &path))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(LogError::InUse {
            folder: folder.to_owned(),
        });
    }
    Ok(lock)
}

/// Clears what steps that did not end have left.
pub(super) fn clear_temporary(folder: &Path) -> Result<(), LogError> {
    let temporary = folder.join(TEMPORARY);
    match fs::remove_dir_all(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(LogError::io("cleared", &temporary)(error))
        }
        _ => fs::create_dir(&temporary).map_err(LogError::io("made", &temporary)),
    }
}

/// Begins a log with a checkpoint of no entries. It is a prefix of every log of this key, so it
/// contradicts none.
fn begin(disk: &dyn Disk, db: &mut Db, options: &LogOptions) -> Result<(), LogError> {
    let folder = &options.folder;
    let (_, pending) = tables::pending_span(db.connection())?;
    if pending > 0 || tables::next(db.connection())?.is_some() {
        return Err(LogError::state("it has entries and no checkpoint"));
    }
    let tiles = fs::read_dir(folder.join("tile"));
    if folder.join(CHECKPOINT).exists() || tiles.is_ok_and(|mut tiles| tiles.next().is_some()) {
        return Err(LogError::Lost {
            folder: folder.clone(),
        });
    }
    let signed = sign(options, 0, empty_root());
    let stored = StoredCheckpoint {
        size: 0,
        root: empty_root(),
        time_ms: 0,
        note: signed.to_string(),
    };
    let transaction = db
        .connection()
        .transaction_with_behavior(TransactionBehavior::Immediate)?;
    tables::begin(&transaction, &stored)?;
    Ok(disk.commit(transaction)?)
}

pub(super) fn sign(options: &LogOptions, size: u64, root: Hash) -> SignedCheckpoint {
    let origin = options.origin.clone();
    Checkpoint { origin, size, root }.sign(&options.key, &mut OsRng)
}

/// What a database says of a log, checked.
pub(super) struct Stored {
    pub signed: SignedCheckpoint,
    pub time_ms: u64,
    pub cosigned: Option<SignedCheckpoint>,
    /// Index of the next entry.
    pub next: u64,
}

/// What database and folder have together, checked.
pub(super) struct Checked {
    /// What new entries are built on.
    pub edge: Edge,
    /// Folders that may be removed.
    pub stale: Vec<PathBuf>,
    pub stored: Stored,
}

/// Checks database and folder by themselves and against each other. `progress` is told of the
/// entries so far, and of how many there are.
pub(super) fn check_all(
    connection: &Connection,
    folder: &Path,
    key: &NoteKey,
    check: Check,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked, LogError> {
    let stored = stored(connection, key)?;
    let checkpoint = stored.signed.unverified();
    let (size, root) = (checkpoint.size, checkpoint.root);
    let mut older = Vec::new();
    for name in [CHECKPOINT, COSIGNED] {
        older.extend(published(folder, name, key, size)?);
    }
    let (edge, stale) = match check {
        Check::Edge => (read_edge(folder, size, &root)?, vec![]),
        Check::All => {
            let mut progress = |done| progress(done, size);
            let scrubbed = scrub(folder, (size, &root), &mut progress)?;
            (scrubbed.edge, scrubbed.stale)
        }
    };
    older.extend(stored.cosigned.iter().map(|c| c.unverified().clone()));
    for older in older {
        prefix(folder, size, &older, PUBLISHED)?;
    }
    check_waiting(connection, &edge, stored.next)?;
    Ok(Checked {
        edge,
        stale,
        stored,
    })
}

/// What the database says, with signatures checked.
pub(super) fn stored(connection: &Connection, key: &NoteKey) -> Result<Stored, LogError> {
    let row =
        tables::checkpoint(connection)?.ok_or_else(|| LogError::state("it has no checkpoint"))?;
    let signed = parse(&row.note, key)?;
    let said = signed.unverified();
    if (said.size, said.root) != (row.size, row.root) {
        return Err(LogError::state(
            "the checkpoint's columns are not what its note says",
        ));
    }
    let cosigned = match tables::cosigned(connection)? {
        None => None,
        Some((size, note)) => {
            let cosigned = parse(&note, key)?;
            let said = cosigned.unverified();
            if said.size != size || said.size > row.size {
                return Err(LogError::state(
                    "the cosigned checkpoint is not of the size that it should be",
                ));
            }
            Some(cosigned)
        }
    };
    let next = tables::next(connection)?
        .ok_or_else(|| LogError::state("it has a checkpoint and no count of entries"))?;
    if next < row.size {
        return Err(LogError::state(format!(
            "it counts {next} entries, and the checkpoint has {}",
            row.size
        )));
    }
    Ok(Stored {
        signed,
        time_ms: row.time_ms,
        cosigned,
        next,
    })
}

fn parse(note: &str, key: &NoteKey) -> Result<SignedCheckpoint, LogError> {
    let state = |why: String| {
        let why = why.split("; hint:").next().unwrap_or_default();
        LogError::state(format!("the checkpoint does not hold: {why}"))
    };
    let signed =
        SignedCheckpoint::parse(note.as_bytes()).map_err(|error| state(error.to_string()))?;
    signed
        .verify(key)
        .map_err(|error| state(error.to_string()))?;
    Ok(signed)
}

/// A checkpoint that was published, which must be the log's and not ahead of the database.
pub(super) fn published(
    folder: &Path,
    name: &str,
    key: &NoteKey,
    stored: u64,
) -> Result<Option<Checkpoint>, LogError> {
    let path = folder.join(name);
    let Some(bytes) = read_note(&path)? else {
        return Ok(None);
    };
    let not_ours = |why: String| LogError::Published {
        path: path.clone(),
        detail: why.split("; hint:").next().unwrap_or_default().to_owned(),
    };
    let signed = SignedCheckpoint::parse(&bytes).map_err(|error| not_ours(error.to_string()))?;
    let checkpoint = signed.verify(key).map_err(|e| not_ours(e.to_string()))?;
    match checkpoint.size > stored {
        true => Err(LogError::Ahead {
            who: PUBLISHED.to_owned(),
            found: checkpoint.size,
            stored,
        }),
        false => Ok(Some(checkpoint.clone())),
    }
}

fn read_note(path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    match read_bounded(path, note::MAX_LEN) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LogError::io("read", path)(error)),
    }
}

/// Checks that an older checkpoint is of this log, whose tiles for `size` entries are sound.
pub(super) fn prefix(
    folder: &Path,
    size: u64,
    older: &Checkpoint,
    who: &str,
) -> Result<(), LogError> {
    let mut reader = TileReader::new(size, |tile| read_tile(folder, tile));
    let expected = root(&mut reader, older.size)
        .map_err(|error| LogError::state(format!("an older root cannot be computed: {error}")))?;
    match expected == older.root {
        true => Ok(()),
        false => Err(LogError::Forked {
            who: who.to_owned(),
            size: older.size,
            expected,
            found: older.root,
        }),
    }
}

/// Checks the entries in the database: all from the last tile that is not full are there, none was
/// changed, and those that the checkpoint covers are the ones that it covers.
pub(super) fn check_waiting(
    connection: &Connection,
    edge: &Edge,
    next: u64,
) -> Result<(), LogError> {
    let first = edge.size() / u64::from(WIDTH) * u64::from(WIDTH);
    let mut expected = first;
    let (lowest, count) = tables::pending_span(connection)?;
    if lowest.is_some_and(|lowest| u64::try_from(lowest).unwrap_or(0) < first) {
        return Err(LogError::state(
            "it holds entries that are in full tiles already",
        ));
    }
    tables::pending(connection, (first, next), |pending| {
        if pending.leaf != expected {
            return Err(LogError::PendingMissing { leaf: expected });
        }
        let pending = check_pending(pending)?;
        known(edge, pending.leaf, &pending.hash)?;
        expected += 1;
        Ok(true)
    })?;
    if expected != next {
        return Err(LogError::PendingMissing { leaf: expected });
    }
    match count == next - first {
        true => Ok(()),
        false => Err(LogError::state(format!(
            "it holds entries beyond the {next} that it counts"
        ))),
    }
}

/// Checks an entry that the checkpoint covers.
pub(super) fn known(edge: &Edge, leaf: u64, found: &Hash) -> Result<(), LogError> {
    let at = usize::try_from(leaf % u64::from(WIDTH)).unwrap_or_default();
    let covered = leaf < edge.size();
    match edge.leaves().get(at).filter(|_| covered) {
        Some(expected) if expected != found => Err(LogError::PendingChanged {
            leaf,
            expected: *expected,
            found: *found,
        }),
        _ => Ok(()),
    }
}

/// Whether the files of both checkpoints are as they should be.
fn is_published(
    folder: &Path,
    signed: &SignedCheckpoint,
    cosigned: Option<&SignedCheckpoint>,
) -> Result<bool, LogError> {
    let newest = super::cosigned::newest(signed, cosigned).to_string();
    let there = read_note(&folder.join(CHECKPOINT))?;
    let cosigned_there = read_note(&folder.join(COSIGNED))?;
    let cosigned = cosigned.map(ToString::to_string);
    let same =
        |bytes: Option<Vec<u8>>, text: Option<&str>| bytes.as_deref() == text.map(str::as_bytes);
    Ok(same(there, Some(&newest)) && same(cosigned_there, cosigned.as_deref()))
}
