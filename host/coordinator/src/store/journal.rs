//! The journal: each batch is one row of a database of its own, and is acknowledged once that row is
//! on disk. What the tables have got is removed.
//!
//! A row is trusted as far as its hash goes: a flipped bit in it is found before it is applied.

use std::path::Path;

use adit_net::db::Db;
use adit_protocol::hash::Hash;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use super::batch::{Batch, Write};
use super::rows::{self, damaged, int, uint};
use super::{StoreError, load};

/// File name of the journal in a coordinator's folder, beside the tables.
pub const FILE: &str = "journal.db";

/// Batches that are applied and stay, so that not every batch has to remove some.
const TRIM: u64 = 64;

/// All layouts in their order. Published layouts never change.
pub const LAYOUTS: [&str; 1] = [FIRST];

const FIRST: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
-- hash: of the number, as 8 bytes little-endian, and the writes.
CREATE TABLE batch (
    number INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    writes BLOB NOT NULL
) STRICT;
";

/// The journal of a coordinator that runs.
pub struct Journal {
    db: Db,
    next: u64,
    trimmed: u64,
}

impl Journal {
    /// The journal of a coordinator of a network, from its database; with it come the batches after `applied`, which the tables lack.
    ///
    /// # Errors
    /// [`StoreError`]: [`StoreError::Damaged`] also where batches between `applied` and the first one
    /// are missing, as after the tables alone were put back from a backup.
    pub fn open(
        mut db: Db,
        genesis: &Hash,
        coordinator: &[u8; 32],
        applied: u64,
    ) -> Result<(Journal, Vec<Batch>), StoreError> {
        // Nothing else reads it, and SQLite needs no locks then.
        let alone = (db.connection()).pragma_update(None, "locking_mode", "EXCLUSIVE");
        alone?;
        load::claim(db.connection(), genesis, coordinator)?;
        let waiting = after(db.connection(), applied)?;
        let last = waiting.last().map_or(applied, |batch| batch.number);
        let journal = Journal {
            db,
            next: last.saturating_add(1),
            trimmed: 0,
        };
        Ok((journal, waiting))
    }

    /// Number of the batch that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Makes writes durable as the next batch. `applied` is the last batch that the tables have;
    /// `goes_on` is asked before the commit.
    ///
    /// # Errors
    /// [`StoreError`], after which the journal must not be used any more.
    pub fn commit(
        &mut self,
        writes: Vec<Write>,
        applied: u64,
        goes_on: impl FnOnce() -> bool,
    ) -> Result<Batch, StoreError> {
        let number = self.next;
        let mut bytes = Vec::with_capacity(4096);
        if let Err(error) = minicbor::encode(&writes, &mut bytes) {
            return Err(StoreError::Broken(format!("a batch: {error}")));
        }
        let transaction = self
            .db
            .connection()
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction
            .prepare_cached("INSERT INTO batch (number, hash, writes) VALUES (?1, ?2, ?3)")?
            .execute(params![int(number), hash(number, &bytes).as_bytes(), bytes])?;
        let trims = applied >= self.trimmed.saturating_add(TRIM);
        if trims {
            transaction
                .prepare_cached("DELETE FROM batch WHERE number <= ?1")?
                .execute([int(applied)])?;
        }
        if !goes_on() {
            return Err(StoreError::Injected);
        }
        transaction.commit()?;
        self.next = number.saturating_add(1);
        if trims {
            self.trimmed = applied;
        }
        Ok(Batch {
            number,
            writes,
            bytes: bytes.len(),
        })
    }
}

/// How many batches the journal at `path` has that the tables lack, if it is in order. Nothing is
/// changed; no process may have it open. A journal that is not there has none.
///
/// # Errors
/// As [`Journal::open`].
pub fn fsck(path: &Path, tables: &Path) -> Result<u64, StoreError> {
    if !path.exists() {
        return Ok(0);
    }
    let read = |path| Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let applied = load::applied(&read(tables)?)?;
    let waiting = after(&read(path)?, applied)?;
    Ok(u64::try_from(waiting.len()).unwrap_or(u64::MAX))
}

fn hash(number: u64, writes: &[u8]) -> Hash {
    let mut all = Vec::with_capacity(writes.len() + 8);
    all.extend(number.to_le_bytes());
    all.extend(writes);
    Hash::of(&all)
}

/// The batches after `applied`, all of them.
fn after(db: &Connection, applied: u64) -> Result<Vec<Batch>, StoreError> {
    let newest: Option<i64> = db
        .query_row("SELECT max(number) FROM batch", [], |row| row.get(0))
        .optional()?
        .flatten();
    let mut statement =
        db.prepare("SELECT number, hash, writes FROM batch WHERE number > ?1 ORDER BY number")?;
    let mut found = statement.query([int(applied)])?;
    let mut batches = Vec::new();
    let mut expected = applied;
    while let Some(row) = found.next()? {
        expected = expected.saturating_add(1);
        let number = uint(row.get(0)?);
        if number != expected {
            return Err(damaged(format!(
                "the journal goes up to batch {}, and the tables up to {applied}; batch {expected} is missing, as after only one of the two was put back from a backup",
                newest.map_or(0, uint)
            )));
        }
        let (expected, writes): (Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(2)?);
        let expected = rows::hash(&expected, "the hash of a batch")?;
        let found = hash(number, &writes);
        if found != expected {
            return Err(damaged(format!(
                "batch {number} of the journal hashes to {found}, and was appended with {expected}"
            )));
        }
        let bytes = writes.len();
        let writes = minicbor::decode(&writes)
            .map_err(|error| damaged(format!("batch {number} of the journal: {error}")))?;
        batches.push(Batch {
            number,
            writes,
            bytes,
        });
    }
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const OWN: [u8; 32] = [7; 32];

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn path(&self) -> PathBuf {
            self.0.path().join(FILE)
        }

        fn open(&self, applied: u64) -> Result<(Journal, Vec<Batch>), StoreError> {
            let db = Db::open(&self.path(), &LAYOUTS).unwrap();
            Journal::open(db, &Hash::ZERO, &OWN, applied)
        }

        /// With batches 1 to `last`.
        fn with(last: u64) -> Folder {
            let folder = Folder(tempfile::tempdir().unwrap());
            let (mut journal, none) = folder.open(0).unwrap();
            assert!(none.is_empty());
            for number in 1..=last {
                let batch = journal.commit(write(number), 0, || true).unwrap();
                assert_eq!(batch.number, number);
            }
            folder
        }

        fn change(&self, sql: &str) {
            let db = Connection::open(self.path()).unwrap();
            db.execute_batch(sql).unwrap();
        }
    }

    fn write(number: u64) -> Vec<Write> {
        vec![Write::Touch {
            hash: Hash::of(b"a blob"),
            used_ms: number,
        }]
    }

    fn numbers(batches: &[Batch]) -> Vec<u64> {
        batches.iter().map(|batch| batch.number).collect()
    }

    fn why(opened: Result<(Journal, Vec<Batch>), StoreError>) -> String {
        match opened {
            Ok((_, batches)) => panic!("{:?} were taken", numbers(&batches)),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_the_tables_lack_comes_back_and_the_numbers_go_on() {
        let folder = Folder::with(5);
        let (mut journal, waiting) = folder.open(2).unwrap();
        assert_eq!(numbers(&waiting), [3, 4, 5]);
        let used = waiting.iter().map(|batch| match batch.writes.as_slice() {
            [Write::Touch { used_ms, .. }] => *used_ms,
            other => panic!("{other:?}"),
        });
        assert_eq!(used.collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(journal.commit(write(6), 5, || true).unwrap().number, 6);
        drop(journal);
        // Tables that have more, as after the end of the journal was lost.
        let (mut journal, waiting) = folder.open(9).unwrap();
        assert!(waiting.is_empty());
        assert_eq!(journal.commit(write(10), 9, || true).unwrap().number, 10);
    }

    #[test]
    fn what_the_tables_have_is_removed_by_and_by() {
        let folder = Folder::with(TRIM);
        let (mut journal, _) = folder.open(TRIM).unwrap();
        journal.commit(write(0), TRIM, || true).unwrap();
        drop(journal);
        let db = Connection::open(folder.path()).unwrap();
        let count = "SELECT count(*) FROM batch";
        let left: i64 = db.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 1);
    }

    #[test]
    fn a_batch_that_was_not_committed_is_not_there() {
        let folder = Folder::with(1);
        let (mut journal, _) = folder.open(0).unwrap();
        let ended = journal.commit(write(2), 0, || false);
        assert!(matches!(ended, Err(StoreError::Injected)));
        drop(journal);
        let (_, waiting) = folder.open(0).unwrap();
        assert_eq!(numbers(&waiting), [1]);
    }

    #[test]
    fn gaps_flipped_bits_and_others_journals_are_refused() {
        let folder = Folder::with(4);
        folder.change("DELETE FROM batch WHERE number <= 2");
        // The tables were put back, the journal was not.
        assert!(why(folder.open(0)).contains("batch 1 is missing"));
        assert_eq!(numbers(&folder.open(2).unwrap().1), [3, 4]);
        folder.change("DELETE FROM batch WHERE number = 3");
        assert!(why(folder.open(2)).contains("batch 3 is missing"));

        let folder = Folder::with(2);
        folder.change("UPDATE batch SET writes = CAST(writes || x'00' AS BLOB) WHERE number = 2");
        assert!(why(folder.open(0)).contains("batch 2 of the journal hashes to"));
        assert!(folder.open(2).unwrap().1.is_empty());

        // The right bytes in another place are wrong, too.
        let folder = Folder::with(2);
        folder.change(
            "UPDATE batch SET (hash, writes) = (SELECT hash, writes FROM batch WHERE number = 1)",
        );
        assert!(why(folder.open(0)).contains("batch 2 of the journal hashes to"));

        let db = Db::open(&folder.path(), &LAYOUTS).unwrap();
        let other = Journal::open(db, &Hash::ZERO, &[8; 32], 2);
        assert!(matches!(other, Err(StoreError::Foreign { .. })));
    }

    #[test]
    fn garbage_with_a_right_hash_is_refused() {
        let folder = Folder::with(1);
        let db = Connection::open(folder.path()).unwrap();
        for garbage in [
            &b""[..],
            &[0xff; 40],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            db.execute(
                "UPDATE batch SET hash = ?1, writes = ?2",
                params![hash(1, garbage).as_bytes(), garbage],
            )
            .unwrap();
            assert!(why(folder.open(0)).contains("batch 1 of the journal"));
        }
    }
}
