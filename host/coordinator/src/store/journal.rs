//! The journal: each batch is a record of a write-ahead log, and is acknowledged once that is on disk.
//! What the tables have got is overwritten.

use std::path::Path;

use adit_net::wal::{self, Record, Wal};
use adit_protocol::hash::{Hash, Hasher};
use rusqlite::{Connection, OpenFlags};

use super::batch::{Batch, Write};
use super::rows::damaged;
use super::{StoreError, load};

/// File name of the journal in a coordinator's folder, beside the tables.
pub const FILE: &str = "journal.wal";
/// What it was before it was a write-ahead log of our own.
const BEFORE: &str = "journal.db";

/// The journal of a coordinator that runs.
pub struct Journal {
    wal: Wal,
}

impl Journal {
    /// The journal at `path` of a coordinator of a network; with it come the batches after
    /// `applied`, which the tables lack.
    ///
    /// # Errors
    /// [`StoreError`]: [`StoreError::Wal`] also where batches between `applied` and the newest one
    /// are missing, as after the tables alone were put back from a backup.
    pub fn open(
        path: &Path,
        genesis: &Hash,
        coordinator: &[u8; 32],
        applied: u64,
    ) -> Result<(Journal, Vec<Batch>), StoreError> {
        none_of_before(path)?;
        let (wal, records) = Wal::open(path, &owner(genesis, coordinator), applied)?;
        let batches = records.into_iter().map(batch).collect::<Result<_, _>>()?;
        Ok((Journal { wal }, batches))
    }

    /// Number of the batch that comes next.
    pub fn next(&self) -> u64 {
        self.wal.next()
    }

    /// Makes writes durable as the next batch. `applied` is the last batch that the tables have.
    ///
    /// # Errors
    /// [`StoreError`], after which the journal must not be used any more.
    pub fn commit(&mut self, writes: Vec<Write>, applied: u64) -> Result<Batch, StoreError> {
        let number = self.wal.next();
        let bytes = self.wal.append(applied, |buffer| {
            minicbor::encode(&writes, buffer)
                .map_err(|error| StoreError::Broken(format!("a batch: {error}")))
        })?;
        Ok(Batch {
            number,
            writes,
            bytes,
        })
    }
}

/// How many batches the journal at `path` has that the tables lack, if it is in order. Nothing is
/// changed; no process may have it open. A journal that is not there has none.
///
/// # Errors
/// As [`Journal::open`].
pub fn fsck(path: &Path, tables: &Path) -> Result<u64, StoreError> {
    none_of_before(path)?;
    let tables = Connection::open_with_flags(tables, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let applied = load::applied(&tables)?;
    let (genesis, coordinator) = load::claimed(&tables)?;
    let waiting = wal::waiting(path, &owner(&genesis, &coordinator), applied)?;
    let batches = waiting
        .into_iter()
        .map(batch)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(u64::try_from(batches.len()).unwrap_or(u64::MAX))
}

fn none_of_before(path: &Path) -> Result<(), StoreError> {
    let before = path.with_file_name(BEFORE);
    match before.exists() {
        true => Err(StoreError::Earlier(before)),
        false => Ok(()),
    }
}

/// What a journal belongs to.
fn owner(genesis: &Hash, coordinator: &[u8; 32]) -> Hash {
    let mut hasher = Hasher::new();
    hasher.update(genesis.as_bytes());
    hasher.update(coordinator);
    hasher.finalize()
}

fn batch(record: Record) -> Result<Batch, StoreError> {
    let Record { number, bytes } = record;
    let writes = minicbor::decode(&bytes)
        .map_err(|error| damaged(format!("batch {number} of the journal: {error}")))?;
    Ok(Batch {
        number,
        writes,
        bytes: bytes.len(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use adit_net::wal::WalError;
    use adit_protocol::Code;

    use super::*;

    const OWN: [u8; 32] = [7; 32];

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            Folder(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join(FILE)
        }

        fn open(&self, applied: u64) -> Result<(Journal, Vec<Batch>), StoreError> {
            Journal::open(&self.path(), &Hash::ZERO, &OWN, applied)
        }
    }

    fn touch(used_ms: u64) -> Vec<Write> {
        let hash = Hash::of(b"a blob");
        vec![Write::Touch { hash, used_ms }]
    }

    #[test]
    fn what_the_tables_lack_comes_back_as_it_was() {
        let folder = Folder::new();
        let (mut journal, none) = folder.open(0).unwrap();
        assert!(none.is_empty());
        for number in 1..=5 {
            let batch = journal.commit(touch(number), 0).unwrap();
            assert_eq!(batch.number, number);
        }
        drop(journal);
        let (journal, waiting) = folder.open(2).unwrap();
        assert_eq!(journal.next(), 6);
        let used = waiting.iter().map(|batch| match batch.writes.as_slice() {
            [Write::Touch { used_ms, .. }] => (batch.number, *used_ms),
            other => panic!("{other:?}"),
        });
        assert_eq!(used.collect::<Vec<_>>(), [(3, 3), (4, 4), (5, 5)]);
    }

    #[test]
    fn others_journals_and_those_of_before_are_refused() {
        let folder = Folder::new();
        drop(folder.open(0).unwrap());
        let other = Journal::open(&folder.path(), &Hash::ZERO, &[8; 32], 0);
        assert!(matches!(
            other,
            Err(StoreError::Wal(WalError::Foreign { .. }))
        ));
        let other = Journal::open(&folder.path(), &Hash::of(b"net"), &OWN, 0);
        assert!(matches!(
            other,
            Err(StoreError::Wal(WalError::Foreign { .. }))
        ));
        std::fs::write(folder.path().with_file_name(BEFORE), b"").unwrap();
        let before = folder.open(0).map(drop).unwrap_err();
        assert_eq!(before.code(), Code::VersionMismatch);
    }

    #[test]
    fn a_record_that_is_no_batch_is_refused() {
        for garbage in [
            &b""[..],
            &[0xff; 40],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            let folder = Folder::new();
            let of = owner(&Hash::ZERO, &OWN);
            let (mut wal, _) = Wal::open(&folder.path(), &of, 0).unwrap();
            let append = |buffer: &mut Vec<u8>| {
                buffer.extend(garbage);
                Ok::<_, WalError>(())
            };
            wal.append(0, append).unwrap();
            let why = folder.open(0).map(drop).unwrap_err();
            assert_eq!(why.code(), Code::StateCorrupt);
            assert!(why.to_string().contains("batch 1 of the journal"), "{why}");
        }
    }
}
