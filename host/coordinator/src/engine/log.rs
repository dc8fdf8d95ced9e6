//! Where the log's entries go: rows of the coordinator's database, until `adit_net::log` makes
//! tiles and checkpoints of them.

use adit_net::db::Db;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use thiserror::Error;

/// Why the log failed.
#[derive(Debug, Error)]
pub enum LogError {
    /// SQLite failed.
    #[error("the database failed: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// There is no such entry.
    #[error("there is no entry at leaf {0}")]
    NoEntry(u64),
}

/// The log of one coordinator.
pub struct Log {
    size: u64,
    durable: u64,
}

impl Log {
    /// Its tables.
    pub const MIGRATION: &'static str =
        "CREATE TABLE log_entry (leaf INTEGER PRIMARY KEY, entry BLOB NOT NULL)";

    /// Opens it.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(db: &mut Db) -> Result<Log, LogError> {
        let size: i64 = db
            .connection()
            .query_row("SELECT count(*) FROM log_entry", [], |row| row.get(0))?;
        let size = u64::try_from(size).unwrap_or(0);
        Ok(Log {
            size,
            durable: size,
        })
    }

    /// The index that the next entry gets.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends an entry; its leaf index.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn append(&mut self, tx: &Transaction<'_>, entry: &[u8]) -> Result<u64, LogError> {
        let leaf = self.size;
        tx.prepare_cached("INSERT INTO log_entry (leaf, entry) VALUES (?1, ?2)")?
            .execute(params![i64::try_from(leaf).unwrap_or(i64::MAX), entry])?;
        self.size += 1;
        Ok(leaf)
    }

    /// The transaction was committed.
    pub fn committed(&mut self) {
        self.durable = self.size;
    }

    /// The transaction was not committed.
    pub fn rolled_back(&mut self) {
        self.size = self.durable;
    }

    /// The bytes of an entry.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn entry(&self, db: &Connection, leaf: u64) -> Result<Vec<u8>, LogError> {
        db.prepare_cached("SELECT entry FROM log_entry WHERE leaf = ?1")?
            .query_row([i64::try_from(leaf).unwrap_or(i64::MAX)], |row| row.get(0))
            .optional()?
            .ok_or(LogError::NoEntry(leaf))
    }
}
