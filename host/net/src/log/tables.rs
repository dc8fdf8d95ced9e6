//! The log's tables: entries that are not in full tiles on disk yet, and the checkpoint.

use adit_protocol::hash::Hash;
use adit_protocol::log::tree::leaf_hash;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::error::LogError;

/// `log_head` has the index that the next entry gets: with it, rows that vanish at the end of
/// `log_pending` are missed. `log_pending` keeps the hash of each leaf as it was appended, so that a
/// flipped bit is found before it is signed. `log_cosigned` is the newest checkpoint with
/// cosignatures.
pub(super) const MIGRATION: &str = "
CREATE TABLE log_head (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    next INTEGER NOT NULL
) STRICT;
CREATE TABLE log_pending (
    leaf INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    entry BLOB NOT NULL
) STRICT;
CREATE TABLE log_checkpoint (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    time_ms INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT;
CREATE TABLE log_cosigned (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT;
";

/// The checkpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredCheckpoint {
    pub size: u64,
    pub root: Hash,
    pub time_ms: u64,
    pub note: String,
}

/// An entry that waits.
pub(super) struct Pending {
    pub leaf: u64,
    pub hash: Hash,
    pub entry: Vec<u8>,
}

/// As SQLite holds it. Sizes are at most 2^62, times are cut there.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn uint(row: &Row<'_>, at: usize) -> rusqlite::Result<Result<u64, LogError>> {
    let number: i64 = row.get(at)?;
    Ok(u64::try_from(number).map_err(|_| LogError::state(format!("{number} is negative"))))
}

fn hash(row: &Row<'_>, at: usize) -> rusqlite::Result<Result<Hash, LogError>> {
    let bytes: Vec<u8> = row.get(at)?;
    let hash = <[u8; 32]>::try_from(bytes).map(Hash::from_bytes);
    Ok(hash.map_err(|bytes| LogError::state(format!("a hash has {} bytes", bytes.len()))))
}

/// The index that the next entry gets; `None` in a database without a log.
pub(super) fn next(connection: &Connection) -> Result<Option<u64>, LogError> {
    connection
        .prepare_cached("SELECT next FROM log_head")?
        .query_row([], |row| uint(row, 0))
        .optional()?
        .transpose()
}

/// Appends entries from `leaf` on; `false` if that is not the next index.
pub(super) fn append<E: AsRef<[u8]>>(
    transaction: &Transaction<'_>,
    leaf: u64,
    entries: &[E],
) -> Result<bool, LogError> {
    let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
    let moved = transaction
        .prepare_cached("UPDATE log_head SET next = ?2 WHERE next = ?1")?
        .execute([int(leaf), int(leaf.saturating_add(count))])?;
    if moved != 1 {
        return Ok(false);
    }
    let mut insert = transaction
        .prepare_cached("INSERT INTO log_pending (leaf, hash, entry) VALUES (?1, ?2, ?3)")?;
    for (leaf, entry) in (leaf..).zip(entries) {
        let entry = entry.as_ref();
        insert.execute(params![int(leaf), leaf_hash(entry).as_bytes(), entry])?;
    }
    Ok(true)
}

/// Calls `each` with the entries that wait from `from` up to and without `to`, in order, until it
/// says `false`.
pub(super) fn pending(
    connection: &Connection,
    (from, to): (u64, u64),
    mut each: impl FnMut(Pending) -> Result<bool, LogError>,
) -> Result<(), LogError> {
    let mut statement = connection.prepare_cached(
        "SELECT leaf, hash, entry FROM log_pending WHERE leaf >= ?1 AND leaf < ?2 ORDER BY leaf",
    )?;
    let mut rows = statement.query([int(from), int(to)])?;
    while let Some(row) = rows.next()? {
        let pending = Pending {
            leaf: uint(row, 0)??,
            hash: hash(row, 1)??,
            entry: row.get(2)?,
        };
        if !each(pending)? {
            break;
        }
    }
    Ok(())
}

/// The lowest leaf that waits, and how many do.
pub(super) fn pending_span(connection: &Connection) -> Result<(Option<i64>, u64), LogError> {
    let span = connection.query_row("SELECT min(leaf), count(*) FROM log_pending", [], |row| {
        Ok((row.get(0)?, uint(row, 1)?))
    })?;
    Ok((span.0, span.1?))
}

/// The checkpoint; `None` in a database without a log.
pub(super) fn checkpoint(connection: &Connection) -> Result<Option<StoredCheckpoint>, LogError> {
    let row = connection
        .prepare_cached("SELECT size, root, time_ms, note FROM log_checkpoint")?
        .query_row([], |row| {
            Ok((uint(row, 0)?, hash(row, 1)?, uint(row, 2)?, row.get(3)?))
        })
        .optional()?;
    let Some((size, root, time_ms, note)) = row else {
        return Ok(None);
    };
    Ok(Some(StoredCheckpoint {
        size: size?,
        root: root?,
        time_ms: time_ms?,
        note,
    }))
}

/// Begins a log: its first checkpoint, and that no entry is there.
pub(super) fn begin(
    transaction: &Transaction<'_>,
    checkpoint: &StoredCheckpoint,
) -> Result<(), LogError> {
    transaction.execute("INSERT INTO log_head (one, next) VALUES (1, 0)", [])?;
    transaction.execute(
        "INSERT INTO log_checkpoint (one, size, root, time_ms, note) VALUES (1, ?1, ?2, ?3, ?4)",
        params![
            int(checkpoint.size),
            checkpoint.root.as_bytes(),
            int(checkpoint.time_ms),
            checkpoint.note
        ],
    )?;
    Ok(())
}

/// Replaces the checkpoint if it is the one with this size and root, and drops the entries below
/// `keep`, which are in full tiles; `false` if it is another one.
pub(super) fn advance(
    transaction: &Transaction<'_>,
    (size, root): (u64, &Hash),
    new: &StoredCheckpoint,
    keep: u64,
) -> Result<bool, LogError> {
    let moved = transaction
        .prepare_cached(
            "UPDATE log_checkpoint SET size = ?3, root = ?4, time_ms = ?5, note = ?6
             WHERE size = ?1 AND root = ?2",
        )?
        .execute(params![
            int(size),
            root.as_bytes(),
            int(new.size),
            new.root.as_bytes(),
            int(new.time_ms),
            new.note
        ])?;
    if moved != 1 {
        return Ok(false);
    }
    transaction
        .prepare_cached("DELETE FROM log_pending WHERE leaf < ?1")?
        .execute([int(keep)])?;
    Ok(true)
}

/// The newest checkpoint with cosignatures: its size and note.
pub(super) fn cosigned(connection: &Connection) -> Result<Option<(u64, String)>, LogError> {
    let row = connection
        .prepare_cached("SELECT size, note FROM log_cosigned")?
        .query_row([], |row| Ok((uint(row, 0)?, row.get(1)?)))
        .optional()?;
    let Some((size, note)) = row else {
        return Ok(None);
    };
    Ok(Some((size?, note)))
}

/// Replaces the newest checkpoint with cosignatures.
pub(super) fn set_cosigned(
    transaction: &Transaction<'_>,
    size: u64,
    note: &str,
) -> Result<(), LogError> {
    transaction.execute(
        "INSERT INTO log_cosigned (one, size, note) VALUES (1, ?1, ?2)
         ON CONFLICT (one) DO UPDATE SET size = excluded.size, note = excluded.note",
        params![int(size), note],
    )?;
    Ok(())
}
