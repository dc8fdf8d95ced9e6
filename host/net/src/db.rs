//! SQLite databases of nodes: opened by one process, durable at each commit, brought to the newest
//! layout.
//!
//! Trusted: whoever can write to the file can change what the node believes of itself. What is
//! signed is checked again by those who own the data (the log by its tree, receipts by their ids).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_protocol::Code;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// Bytes that are free for this process on the file system of a folder.
///
/// # Errors
/// The system's.
pub fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Why a database cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DbError {
    /// Another process has it open.
    #[error(
        "{} is in use by another process; hint: two nodes must never share one state folder, since they would sign two histories; end the other one, or give this one a folder of its own with --state",
        path.display()
    )]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The file or folder cannot be opened or made.
    #[error("{} cannot be opened: {source}; hint: check that the folder exists and belongs to this user", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The layout is of a later version.
    #[error(
        "{} has layout {found}, this program knows up to {known}; hint: use the program that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its layout.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// SQLite found the file damaged.
    #[error(
        "{} is damaged: {detail}; hint: nothing was changed; restore a backup, and see `adit explain state-corrupt`",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// Any other failure of SQLite: a full disk, an error of the device.
    #[error("the database failed: {0}; hint: is the disk full, or broken?")]
    Sqlite(#[from] rusqlite::Error),
}

impl DbError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            DbError::InUse { .. } => Code::StateLocked,
            DbError::Newer { .. } => Code::VersionMismatch,
            DbError::Damaged { .. } => Code::StateCorrupt,
            DbError::Open { .. } => Code::PermissionDenied,
            DbError::Sqlite(error) => code_of(error),
        }
    }
}

/// A database that this process alone has open.
pub struct Db {
    connection: Connection,
    /// Holds the lock until it is closed, which is after the connection.
    _lock: File,
}

impl Db {
    /// Opens `path`, makes it if it is missing, and applies those of `migrations` that it lacks.
    /// The n-th migration leads to layout n + 1; published ones never change.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn open(path: &Path, migrations: &[&str]) -> Result<Db, DbError> {
        let open = |source| DbError::Open {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(open)?;
        }
        // A file of its own: closing any handle of the database file itself would drop SQLite's
        // locks on it.
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.with_extension("lock"))
            .map_err(open)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(DbError::InUse {
                path: path.to_owned(),
            });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|e| at(path, e))?;
        let mut db = Db {
            connection,
            _lock: lock,
        };
        db.configure().map_err(|e| at(path, e))?;
        db.migrate(path, migrations)?;
        Ok(db)
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    fn configure(&mut self) -> rusqlite::Result<()> {
        let c = &self.connection;
        c.busy_timeout(Duration::from_secs(5))?;
        // Each commit is on disk before it returns. With NORMAL, commits in the write-ahead log can
        // be lost with the power: for a log, that is a fork.
        c.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = match crate::simulated::here() {
            false => "FULL",
            true => "OFF",
        };
        c.pragma_update(None, "synchronous", synchronous)?;
        // A process that ends in a simulation does not tidy up, no more than one that is killed.
        c.set_db_config(
            DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
            crate::simulated::here(),
        )?;
        c.pragma_update(None, "foreign_keys", "ON")?;
        c.pragma_update(None, "trusted_schema", "OFF")?;
        c.pragma_update(None, "cell_size_check", "ON")?;
        // In KiB when negative.
        c.pragma_update(None, "cache_size", -8_192)?;
        c.pragma_update(None, "temp_store", "MEMORY")?;
        // Larger than the default, so that a busy batch does not copy the log back too often.
        c.pragma_update(None, "wal_autocheckpoint", 4000)?;
        c.pragma_update(None, "journal_size_limit", 64 << 20)?;
        c.set_prepared_statement_cache_capacity(128);
        Ok(())
    }

    fn migrate(&mut self, path: &Path, migrations: &[&str]) -> Result<(), DbError> {
        let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
        let found: i64 = self
            .connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|e| at(path, e))?;
        if found > known || found < 0 {
            return Err(DbError::Newer {
                path: path.to_owned(),
                found,
                known,
            });
        }
        let done = usize::try_from(found).unwrap_or(usize::MAX);
        for (version, migration) in (1i64..).zip(migrations).skip(done) {
            let mut step = || {
                let transaction = self
                    .connection
                    .transaction_with_behavior(TransactionBehavior::Immediate)?;
                transaction.execute_batch(migration)?;
                transaction.pragma_update(None, "user_version", version)?;
                transaction.commit()
            };
            step().map_err(|e| at(path, e))?;
        }
        Ok(())
    }
}

/// The code to show for a failure of SQLite. A disk that is full, or cannot be written, is its
/// operator's to mend; what else fails is not foreseen.
pub fn code_of(error: &rusqlite::Error) -> Code {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Code::DiskFull,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            Code::PermissionDenied
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Code::StateCorrupt,
        _ => Code::Internal,
    }
}

/// Tells damage from other failures.
fn at(path: &Path, error: rusqlite::Error) -> DbError {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => DbError::Damaged {
            path: path.to_owned(),
            detail: error.to_string(),
        },
        Some(ErrorCode::CannotOpen) => DbError::Open {
            path: path.to_owned(),
            source: std::io::Error::other(error),
        },
        _ => DbError::Sqlite(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE a (x INTEGER)";

    #[test]
    fn layouts_are_brought_forward_and_never_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/node.db");
        drop(Db::open(&path, &[FIRST]).unwrap());
        let mut db = Db::open(&path, &[FIRST, "ALTER TABLE a ADD COLUMN y INTEGER"]).unwrap();
        let written = db.connection().execute("INSERT INTO a VALUES (1, 2)", []);
        assert_eq!(written, Ok(1));
        drop(db);
        assert!(matches!(
            Db::open(&path, &[FIRST]),
            Err(DbError::Newer {
                found: 2,
                known: 1,
                ..
            })
        ));
    }

    #[test]
    fn a_failed_step_leaves_the_layout_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        let broken = "CREATE TABLE b (x INTEGER); CREATE TABLE a (x INTEGER)";
        assert!(Db::open(&path, &[FIRST, broken]).is_err());
        let mut db = Db::open(&path, &[FIRST]).unwrap();
        assert!(
            db.connection()
                .execute("INSERT INTO b VALUES (1)", [])
                .is_err()
        );
    }

    #[test]
    fn a_second_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        let held = Db::open(&path, &[FIRST]).unwrap();
        assert!(matches!(
            Db::open(&path, &[FIRST]),
            Err(DbError::InUse { .. })
        ));
        drop(held);
        Db::open(&path, &[FIRST]).unwrap();
    }

    #[test]
    fn what_is_no_database_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        let garbage = vec![7u8; 8192];
        std::fs::write(&path, &garbage).unwrap();
        assert!(matches!(
            Db::open(&path, &[FIRST]),
            Err(DbError::Damaged { .. })
        ));
        assert_eq!(std::fs::read(&path).unwrap(), garbage);
    }
}
