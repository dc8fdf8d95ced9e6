//! The log on disk: what it keeps, under faults at each step, and what it refuses.

mod damage;
mod faults;
mod reading;
mod serving;
mod usual;
mod witnesses;

use std::path::{Path, PathBuf};

use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::tree::{Frontier, leaf_hash};

use super::scrub::scrub;
use super::{CHECKPOINT, Check, Log, LogError, LogOptions};
use crate::db::{Db, DbError};

/// A state folder with a database and a log.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn log_folder(&self) -> PathBuf {
        self.path().join("log")
    }

    fn db(&self) -> Db {
        let mut db = self.try_db().unwrap();
        // No test cuts the power, and there are thousands of commits.
        let off = db.connection().pragma_update(None, "synchronous", "OFF");
        off.unwrap();
        db
    }

    fn try_db(&self) -> Result<Db, DbError> {
        Db::open(&self.path().join("node.db"), &[Log::MIGRATION])
    }

    fn options(&self) -> LogOptions {
        LogOptions {
            folder: self.log_folder(),
            origin: "log.example/test".parse().unwrap(),
            key: Keypair::from_seed([1; 32]),
            witnesses: vec![],
            check: Check::All,
        }
    }

    fn open(&self) -> Result<(Db, Log), LogError> {
        let mut db = self.db();
        let log = Log::open(&mut db, self.options())?;
        Ok((db, log))
    }

    /// Everything in it, as another place.
    fn copy(&self) -> Place {
        let place = Place::new();
        copy(self.path(), place.path());
        place
    }

    fn note(&self) -> SignedCheckpoint {
        let bytes = std::fs::read(self.log_folder().join(CHECKPOINT)).unwrap();
        SignedCheckpoint::parse(&bytes).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&file.path(), &to);
        } else {
            std::fs::copy(file.path(), to).unwrap();
        }
    }
}

/// The entry of an index. Their lengths vary, and one in a while is long or empty.
fn entry(leaf: u64) -> Vec<u8> {
    let length = match leaf % 97 {
        0 => 0,
        1 => 3000,
        _ => 8 + (leaf * 7 % 90) as usize,
    };
    let mut bytes = leaf.to_le_bytes().repeat(length / 8 + 1);
    bytes.truncate(length);
    bytes
}

/// The roots of the log of those entries, for sizes from 0.
struct Roots {
    tree: Frontier,
    roots: Vec<Hash>,
}

impl Roots {
    fn new() -> Roots {
        let tree = Frontier::new();
        let roots = vec![tree.root()];
        Roots { tree, roots }
    }

    fn at(&mut self, size: u64) -> Hash {
        while self.tree.size() < size {
            let leaf = leaf_hash(&entry(self.tree.size()));
            self.tree.append(leaf).unwrap();
            self.roots.push(self.tree.root());
        }
        self.roots[size as usize]
    }
}

/// Appends the next entries in one transaction.
fn append(db: &mut Db, log: &mut Log, count: u64) {
    let transaction = db.connection().transaction().unwrap();
    for _ in 0..count {
        let leaf = log.size();
        assert_eq!(log.append(&transaction, &entry(leaf)).unwrap(), leaf);
    }
    transaction.commit().unwrap();
    log.committed();
}

fn integrate_all(db: &mut Db, log: &mut Log) {
    while log.integrate(db, 1).unwrap().is_some() {}
}

/// Checks that the place has the log of so many entries, and nothing is amiss.
fn verify(place: &Place, size: u64, roots: &mut Roots) {
    let (mut db, log) = place.open().unwrap();
    assert_eq!(log.size(), size);
    let checkpoint = log.signed().verify(log.key()).unwrap().clone();
    assert_eq!(
        (checkpoint.size, checkpoint.root),
        (size, roots.at(size)),
        "root"
    );
    let scrubbed = scrub(log.folder(), (size, &checkpoint.root), &mut |_| {}).unwrap();
    assert_eq!(scrubbed.stale, Vec::<PathBuf>::new());
    let sampled = (0..size).filter(|leaf| size < 2000 || leaf % 251 == 0 || leaf + 300 > size);
    for leaf in sampled {
        assert_eq!(log.entry(&mut db, leaf).unwrap(), entry(leaf), "{leaf}");
    }
    assert!(matches!(
        log.entry(&mut db, size),
        Err(LogError::NoEntry { .. })
    ));
    let note = place.note();
    assert_eq!(note.verify(log.key()), Ok(&checkpoint));
}
