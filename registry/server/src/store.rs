//! What a registry keeps: the log, where in it each transaction is, and the state at ends of epochs.
//!
//! Trusted as far as the log is: what is read back is checked against the log by the roots in it.

use std::path::{Path, PathBuf};

use adit_ledger::state::Entry;
use adit_ledger::{Event, Key};
use adit_net::db::{Db, DbError};
use adit_net::log::witness::Cosigned;
use adit_net::log::{Integrated, Log, LogError, LogOptions};
use adit_protocol::{Code, Hash};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use thiserror::Error;

/// `transactions` finds an entry of the log by a transaction's id, and those of an account. A row of
/// `snapshots` is the state before the entry `leaf`, which is the block after an epoch's root.
const TABLES: &str = "
CREATE TABLE transactions (
    id BLOB PRIMARY KEY,
    leaf INTEGER NOT NULL,
    height INTEGER NOT NULL,
    account BLOB NOT NULL,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX transactions_of ON transactions (account, number);
CREATE TABLE snapshots (
    leaf INTEGER PRIMARY KEY,
    entries BLOB NOT NULL
) STRICT;
";

/// What entries of the log did, as JSON, for those who watch. Nothing depends on it: whoever follows
/// the log comes to the same.
const EVENTS: &str = "
CREATE TABLE events (
    leaf INTEGER PRIMARY KEY,
    events TEXT NOT NULL
) STRICT;
";

/// Layouts of the database, oldest first.
const MIGRATIONS: &[&str] = &[TABLES, Log::MIGRATION, EVENTS];
/// Snapshots that are kept.
const SNAPSHOTS: i64 = 2;

/// Name of the database in the state folder.
pub const DATABASE: &str = "registry.db";
/// Name of the log's folder in the state folder.
pub const LOG: &str = "log";

/// Why the state cannot be kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An entry of the log is none of a registry's, or what the tables say of it is damaged.
    #[error(
        "entry {leaf} of the log cannot be read; hint: end the registry, and have `adit registry fsck` say what is damaged"
    )]
    Entry {
        /// Its index.
        leaf: u64,
    },
}

impl StoreError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            StoreError::Db(error) => error.code(),
            StoreError::Log(error) => error.code(),
            StoreError::Entry { .. } => Code::StateCorrupt,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        StoreError::Db(error.into())
    }
}

/// Where a transaction is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its id.
    pub id: Hash,
    /// Index of its entry.
    pub leaf: u64,
    /// Its block.
    pub height: u64,
    /// Its account.
    pub account: Key,
    /// Its number among those of the account.
    pub number: u64,
}

/// What one commit brings.
#[derive(Debug, Default)]
pub struct Batch {
    /// Entries of the log.
    pub entries: Vec<Vec<u8>>,
    /// Transactions among them, whose leaf is the index in `entries` yet.
    pub places: Vec<Place>,
    /// What entries did, as JSON, by their index in `entries`.
    pub events: Vec<(u64, String)>,
    /// The state before an entry, by its index in `entries`.
    pub snapshot: Option<(u64, Vec<Entry>)>,
}

impl Batch {
    /// Adds an entry and what it did.
    pub fn push(&mut self, entry: Vec<u8>, events: &[Event]) {
        let at = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        self.entries.push(entry);
        // Writing them as JSON does not fail; if it did, nothing would depend on it.
        if !events.is_empty()
            && let Ok(json) = serde_json::to_string(events)
        {
            self.events.push((at, json));
        }
    }
}

/// The database and the log, which the engine writes.
pub struct Store {
    db: Db,
    log: Log,
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn uint(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(at)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(at, number))
}

fn bytes32(row: &Row<'_>, at: usize) -> rusqlite::Result<[u8; 32]> {
    row.get(at)
}

impl Store {
    /// Opens what is in a state folder, or begins it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(state: &Path, options: LogOptions) -> Result<Store, StoreError> {
        let mut db = Db::open(&state.join(DATABASE), MIGRATIONS)?;
        let log = Log::open(&mut db, options)?;
        Ok(Store { db, log })
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// An entry of the log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn entry(&mut self, leaf: u64) -> Result<Vec<u8>, StoreError> {
        Ok(self.log.entry(&mut self.db, leaf)?)
    }

    /// Keeps a batch, and returns the index of its first entry. It is durable then.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was kept then, or nobody knows: the state that it comes from must not
    /// go on.
    pub fn commit(&mut self, batch: &Batch) -> Result<u64, StoreError> {
        let first = self.log.size();
        let kept = self.try_commit(batch, first);
        match kept {
            Ok(()) => self.log.committed(),
            Err(_) => self.log.rolled_back(),
        }
        kept.map(|()| first)
    }

    fn try_commit(&mut self, batch: &Batch, first: u64) -> Result<(), StoreError> {
        let transaction = self.db.connection().transaction()?;
        self.log.append_all(&transaction, &batch.entries)?;
        for place in &batch.places {
            transaction
                .prepare_cached(
                    "INSERT INTO transactions (id, leaf, height, account, number) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    place.id.as_bytes(),
                    int(first.saturating_add(place.leaf)),
                    int(place.height),
                    place.account.as_bytes(),
                    int(place.number),
                ])?;
        }
        for (at, events) in &batch.events {
            transaction
                .prepare_cached("INSERT INTO events (leaf, events) VALUES (?1, ?2)")?
                .execute(params![int(first.saturating_add(*at)), events])?;
        }
        if let Some((at, entries)) = &batch.snapshot {
            let leaf = int(first.saturating_add(*at));
            transaction.execute(
                "INSERT INTO snapshots (leaf, entries) VALUES (?1, ?2)",
                params![leaf, pack(entries)],
            )?;
            transaction.execute(
                "DELETE FROM snapshots WHERE leaf NOT IN (SELECT leaf FROM snapshots ORDER BY leaf DESC LIMIT ?1)",
                [SNAPSHOTS],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Writes what is committed into tiles and signs a checkpoint over it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn integrate(&mut self, now_ms: u64) -> Result<Option<Integrated>, StoreError> {
        Ok(self.log.integrate(&mut self.db, now_ms)?)
    }

    /// Publishes what witnesses have cosigned. How many have cosigned the checkpoint by now.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn cosigned(&mut self, cosigned: Cosigned) -> Result<usize, LogError> {
        cosigned.publish(&mut self.log, &mut self.db)
    }

    /// The newest snapshot: the index of the entry that it is the state before, and its entries;
    /// `None` if there is none, or if it cannot be read, since the log has all of it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn snapshot(&mut self) -> Result<Option<(u64, Vec<Entry>)>, StoreError> {
        let newest = self
            .db
            .connection()
            .query_row(
                "SELECT leaf, entries FROM snapshots ORDER BY leaf DESC LIMIT 1",
                [],
                |row| Ok((uint(row, 0)?, row.get::<_, Vec<u8>>(1)?)),
            )
            .optional()?;
        Ok(newest.and_then(|(leaf, bytes)| Some((leaf, unpack(&bytes)?))))
    }
}

/// Entries as bytes: each as length of the key (u8) ‖ key ‖ length of the value (u32 LE) ‖ value.
fn pack(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Entry { key, value } in entries {
        // Keys have at most 74 bytes, values some thousand.
        bytes.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
        bytes.extend(key);
        bytes.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(value);
    }
    bytes
}

fn unpack(mut bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (key, rest) = rest.split_at_checked(usize::from(*length))?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        entries.push(Entry {
            key: key.to_vec(),
            value: value.to_vec(),
        });
        bytes = rest;
    }
    Some(entries)
}

/// Reads beside the engine.
pub struct Reader {
    connection: Connection,
    folder: PathBuf,
}

impl Reader {
    /// Opens the database of a state folder, which an engine has open.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(state: &Path) -> Result<Reader, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(state.join(DATABASE), flags)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(Reader {
            connection,
            folder: state.join(LOG),
        })
    }

    /// The transaction with an id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find(&self, id: &Hash) -> Result<Option<Place>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, leaf, height, account, number FROM transactions WHERE id = ?1",
        )?;
        Ok(statement.query_row([id.as_bytes()], place).optional()?)
    }

    /// Transactions of an account, the newest first: those before number `before`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn of(&self, account: &Key, before: u64, limit: u32) -> Result<Vec<Place>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, leaf, height, account, number FROM transactions
             WHERE account = ?1 AND number < ?2 ORDER BY number DESC LIMIT ?3",
        )?;
        let rows = statement.query_map(params![account.as_bytes(), int(before), limit], place)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// An entry of the log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn entry(&self, leaf: u64) -> Result<Vec<u8>, StoreError> {
        Ok(adit_net::log::read_entry(
            &self.connection,
            &self.folder,
            leaf,
        )?)
    }

    /// What an entry did, as a list in JSON; empty if it did nothing, or if an earlier version of the
    /// program took it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn events(&self, leaf: u64) -> Result<serde_json::Value, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT events FROM events WHERE leaf = ?1")?;
        let found = statement.query_row([int(leaf)], |row| row.get::<_, String>(0));
        match found.optional()? {
            Some(text) => serde_json::from_str(&text).map_err(|_| StoreError::Entry { leaf }),
            None => Ok(serde_json::Value::Array(Vec::new())),
        }
    }
}

fn place(row: &Row<'_>) -> rusqlite::Result<Place> {
    Ok(Place {
        id: Hash::from_bytes(bytes32(row, 0)?),
        leaf: uint(row, 1)?,
        height: uint(row, 2)?,
        account: Key::from_bytes(bytes32(row, 3)?),
        number: uint(row, 4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_read_as_they_were_written() {
        let entry = |key: &[u8], value: &[u8]| Entry {
            key: key.to_vec(),
            value: value.to_vec(),
        };
        let entries = vec![
            entry(&[0], &[1, 2]),
            entry(&[1; 33], &[7; 300]),
            entry(&[2], &[]),
        ];
        let bytes = pack(&entries);
        assert_eq!(unpack(&bytes), Some(entries));
        assert_eq!(unpack(&[]), Some(Vec::new()));
        // Cut off anywhere but between two entries, it is no snapshot.
        let ends = [0, 1 + 1 + 4 + 2, 1 + 1 + 4 + 2 + 1 + 33 + 4 + 300];
        for length in 0..bytes.len() {
            assert_eq!(
                unpack(&bytes[..length]).is_some(),
                ends.contains(&length),
                "{length}"
            );
        }
    }
}
