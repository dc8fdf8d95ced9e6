//! The receipts of local runs, each with a number of its own and linked to the one before.
//!
//! ```text
//! receipts/lock              held while a receipt is added
//! receipts/head              body of the newest receipt, 392 bytes
//! receipts/head-<key>        body of the newest receipt of a key that was used before
//! receipts/<id>.receipt      520 bytes
//! receipts/<id>.opening      CBOR: the hashes behind the commitments
//! ```
//!
//! Receipts that came from a network lie among them, and are no part of any series here.
//!
//! The body is in `head`, on disk, before it is signed (protocol.md, "Receipt"): so whenever a
//! process dies, its number is not given out again, and the next one finishes what it began.
//!
//! `head` decides what is signed next, so a damaged one must never be believed. Its opening is on
//! disk before it, and the name of that holds the body's hash: a body for which there is neither
//! an opening nor a receipt of its name is not one that was written.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::keys::Keypair;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{RECEIPT_LEN, Receipt, ReceiptBody};
use adit_runtime::store::StoreError;
use anyhow::Context as _;
use rand_core::OsRng;
use rustix::fs::{Access, access};

use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::state::{corrupt, private_folder, read_own, sync_folder};
use crate::text::hex;

/// Most files that a search by the beginning of an id looks at.
const SEARCH_MAX: usize = 1_000_000;
/// Digits that such a beginning must have.
const DIGITS_MIN: usize = 4;

/// The folder of receipts.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
}

impl Journal {
    /// The journal in a folder, which is made when the first receipt is added.
    pub fn new(folder: PathBuf) -> Journal {
        Journal { folder }
    }

    /// Finds out whether a receipt of this key can be added, before the work is done that it is to
    /// be about.
    ///
    /// # Errors
    ///
    /// As [`Journal::add`].
    pub fn ready(&self, key: &Keypair) -> anyhow::Result<()> {
        let _lock = self.lock()?;
        self.newest_of(&key.public().to_bytes())?;
        access(&self.folder, Access::WRITE_OK)
            .map_err(|error| StoreError::io("write to", &self.folder)(error.into()))?;
        Ok(())
    }

    /// Adds a receipt: gives `make` its number and the id of the one before, signs the body that
    /// it returns, and keeps it. Returns when all of it is on disk.
    ///
    /// # Errors
    ///
    /// When something cannot be written, or the newest receipt is lost or damaged.
    pub fn add(
        &self,
        key: &Keypair,
        opening: &ReceiptOpening,
        make: impl FnOnce(u64, Hash) -> ReceiptBody,
    ) -> anyhow::Result<Receipt> {
        let _lock = self.lock()?;
        let (seq, prev) = match self.newest_of(&key.public().to_bytes())? {
            Some(last) => {
                let id = last.id();
                // Not there yet, or damaged since.
                if self.read(&self.receipt_path(&id)).is_err() {
                    self.finish(&last, key)?;
                }
                (last.seq.saturating_add(1), id)
            }
            None => (1, Hash::ZERO),
        };
        let body = make(seq, prev);
        if let Some(last) = self.head()?.filter(|last| last.miner != body.miner) {
            // The series of that key goes on if the key comes back.
            self.write(&self.head_path(Some(&last.miner)), &last.encode())?;
        }
        self.write(&self.opening_path(&body.id()), &opening.to_cbor())?;
        self.write(&self.head_path(None), &body.encode())?;
        self.finish(&body, key)
    }

    /// Keeps a receipt of a network, which is no part of the series of any local key.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn keep(&self, receipt: &Receipt, opening: &ReceiptOpening) -> anyhow::Result<()> {
        let _lock = self.lock()?;
        let id = receipt.id();
        self.write(&self.opening_path(&id), &opening.to_cbor())?;
        self.write(&self.receipt_path(&id), &receipt.to_bytes())?;
        Ok(())
    }

    /// The receipt that a text names: an id, the beginning of one, or `last`. It is whole, and has
    /// the id that its file has.
    ///
    /// # Errors
    ///
    /// When there is none, or more than one, or it is damaged.
    pub fn find(&self, named: &str) -> anyhow::Result<Vec<u8>> {
        let path = match named {
            "last" => match self.head()? {
                Some(body) => self.receipt_path(&body.id()),
                None => return Err(self.none(named)),
            },
            _ => self.by_digits(named)?,
        };
        if fs::symlink_metadata(&path).is_err() {
            return Failure::new(
                Code::BlobMissing,
                format!("the newest receipt {} is not there", path.display()),
            )
            .why("the run that began it was ended before it was signed, or it was deleted")
            .hint("the next `adit run` signs it")
            .into_err();
        }
        Ok(self.read(&path)?.to_bytes().to_vec())
    }

    /// The opening of a receipt and the file that it is in: one of this folder, or one beside the
    /// file that was named.
    ///
    /// # Errors
    ///
    /// When there is one and it is malformed.
    pub fn opening(
        &self,
        id: &Hash,
        named: &str,
    ) -> anyhow::Result<Option<(ReceiptOpening, PathBuf)>> {
        let own = self.opening_path(id);
        let beside = Path::new(named).with_extension("opening");
        let max = ReceiptOpening::MAX_LEN as u64;
        let (path, bytes) = if fs::symlink_metadata(&own).is_ok() {
            let bytes = read_own(&own, max, "the opening")?;
            (own, bytes)
        } else if beside.is_file() {
            let bytes = read_file(&beside, max, "the opening")?;
            (beside, bytes)
        } else {
            return Ok(None);
        };
        match ReceiptOpening::from_cbor(&bytes) {
            Ok(opening) => Ok(Some((opening, path))),
            Err(error) => Err(corrupt(&path, error).into()),
        }
    }

    /// Where the receipt with this id is or would be.
    pub fn receipt_path(&self, id: &Hash) -> PathBuf {
        self.folder.join(format!("{}.receipt", id.to_hex()))
    }

    fn opening_path(&self, id: &Hash) -> PathBuf {
        self.folder.join(format!("{}.opening", id.to_hex()))
    }

    /// Where the body of the newest receipt is: of all, or of a key that is not the last used.
    fn head_path(&self, key: Option<&[u8; 32]>) -> PathBuf {
        match key {
            Some(key) => self.folder.join(format!("head-{}", hex(key))),
            None => self.folder.join("head"),
        }
    }

    /// Waits until no other process adds a receipt.
    fn lock(&self) -> anyhow::Result<File> {
        let path = self.folder.join("lock");
        loop {
            private_folder(&self.folder)
                .map_err(StoreError::io("make the folder", &self.folder))?;
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                // Only to write would wait for the other end, if it were a pipe.
                .read(true)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(StoreError::io("open", &path))?;
            let about = lock.metadata().map_err(StoreError::io("read", &path))?;
            if !about.is_file() {
                return Err(StoreError::NotAFile { path }.into());
            }
            // Released by the system when the file is closed, by whatever end of the process.
            lock.lock().map_err(StoreError::io("lock", &path))?;
            // Whoever deletes the file does not thereby let two in at the same time.
            let now = fs::metadata(&path);
            if now.is_ok_and(|now| (now.dev(), now.ino()) == (about.dev(), about.ino())) {
                return Ok(lock);
            }
        }
    }

    /// The body of the newest receipt.
    fn head(&self) -> anyhow::Result<Option<ReceiptBody>> {
        let path = self.head_path(None);
        let head = self.read_head(&path)?;
        if head.is_none() && self.any(Receipt::is_local)? {
            return Err(lost(&path));
        }
        Ok(head)
    }

    /// The body of the newest receipt of a key.
    fn newest_of(&self, key: &[u8; 32]) -> anyhow::Result<Option<ReceiptBody>> {
        match self.head()? {
            None => Ok(None),
            Some(body) if body.miner == *key => Ok(Some(body)),
            Some(_) => {
                let path = self.head_path(Some(key));
                match self.read_head(&path)? {
                    Some(body) if body.miner == *key => Ok(Some(body)),
                    Some(_) => Err(corrupt(&path, "it is of another key than its name").into()),
                    None if self.any(|r| r.is_local() && r.body.miner == *key)? => Err(lost(&path)),
                    None => Ok(None),
                }
            }
        }
    }

    /// A body that was written before it was signed.
    fn read_head(&self, path: &Path) -> anyhow::Result<Option<ReceiptBody>> {
        if fs::symlink_metadata(path).is_err() {
            return Ok(None);
        }
        let bytes = read_own(path, RECEIPT_LEN as u64, "the newest receipt")?;
        let body = ReceiptBody::decode(&bytes).map_err(|error| corrupt(path, error))?;
        let id = body.id();
        if !self.opening_path(&id).exists() && !self.receipt_path(&id).exists() {
            let why = format!("no receipt {id} was ever begun");
            return Err(damaged_head(path, why));
        }
        Ok(Some(body))
    }

    /// Whether there is a receipt of which something is true; one that cannot be read counts.
    fn any(&self, mut is: impl FnMut(&Receipt) -> bool) -> anyhow::Result<bool> {
        if !self.folder.exists() {
            return Ok(false);
        }
        let entries = fs::read_dir(&self.folder).map_err(StoreError::io("list", &self.folder))?;
        for entry in entries {
            let path = entry.map_err(StoreError::io("list", &self.folder))?.path();
            if path.extension().is_some_and(|e| e == "receipt")
                && self.read(&path).map_or(true, |receipt| is(&receipt))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The receipt in a file of this folder.
    fn read(&self, path: &Path) -> anyhow::Result<Receipt> {
        let damaged = |why: String| corrupt(path, why).exit(Exit::Signature);
        let bytes = read_own(path, 64 * RECEIPT_LEN as u64, "the receipt")?;
        let receipt = Receipt::from_bytes(&bytes).map_err(|error| damaged(error.to_string()))?;
        let id = receipt.id();
        if self.receipt_path(&id) != path {
            return Err(damaged(format!("it is the receipt {id}")).into());
        }
        receipt
            .verify()
            .map_err(|error| damaged(error.to_string()))?;
        Ok(receipt)
    }

    /// Signs and keeps a body that is on disk already.
    fn finish(&self, body: &ReceiptBody, key: &Keypair) -> anyhow::Result<Receipt> {
        let receipt = body.sign(key, &mut OsRng);
        self.write(&self.receipt_path(&body.id()), &receipt.to_bytes())?;
        Ok(receipt)
    }

    /// Writes a file so that it appears whole or not at all, and waits for the disk. The lock is
    /// held, so one name does for all files that are not finished, and the next one to be written
    /// takes the place of what a killed process has left.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let failed = |error| StoreError::write(path, bytes.len() as u64)(error);
        let unfinished = self.folder.join(".new");
        let write = || {
            if let Err(error) = fs::remove_file(&unfinished)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(error);
            }
            let mut file = OpenOptions::new()
                .create_new(true)
                .write(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&unfinished, path)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&unfinished);
            failed(error)
        })?;
        // A name is on disk when its folder is.
        sync_folder(&self.folder).map_err(failed)
    }

    fn by_digits(&self, named: &str) -> anyhow::Result<PathBuf> {
        let digits = named.strip_prefix("blake3:").unwrap_or(named);
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let possible = (DIGITS_MIN..=64).contains(&digits.len()) && digits.chars().all(is_hex);
        if !possible || !self.folder.exists() {
            return Err(self.none(named));
        }
        let failed = || format!("the folder {} could not be read", self.folder.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)
            .with_context(failed)?
            .take(SEARCH_MAX)
        {
            let name = entry.with_context(failed)?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(digits) && name.ends_with(".receipt") {
                found.push(self.folder.join(name));
            }
        }
        if found.len() > 1 {
            return Failure::argument(format!("`{named}` names {} receipts", found.len()))
                .why("their ids begin with the same digits")
                .hint("give more of the digits")
                .into_err();
        }
        found.pop().ok_or_else(|| self.none(named))
    }

    fn none(&self, named: &str) -> anyhow::Error {
        Failure::new(
            Code::BlobMissing,
            format!("there is no receipt `{}`", crate::text::one_line(named)),
        )
        .why(format!(
            "it is neither a file nor the id of a receipt in {}",
            self.folder.display()
        ))
        .hint("give a file, an id as `adit run` prints it, or `last`; or another --state")
        .into()
    }
}

/// The error of a journal whose newest body is not there. To count from 1 again would be to sign
/// a second body for a number that was given out (protocol.md: a lost journal means a new key).
fn lost(path: &Path) -> anyhow::Error {
    damaged_head(path, "it is missing, though there are receipts".to_owned())
}

fn damaged_head(path: &Path, why: String) -> anyhow::Error {
    corrupt(path, why)
        .hint("restore it from a backup; or move the folder `receipts` and the file `keys/local` of the state folder away, or use another folder (--state): the next run begins a new series with a new key")
        .into()
}

/// The bytes of a file that should be a receipt.
///
/// # Errors
///
/// When it cannot be read, or is far longer than any receipt.
pub fn read_receipt(path: &Path) -> anyhow::Result<Vec<u8>> {
    // Room for more than a receipt, so that a wrong length can be part of the message.
    read_file(path, 64 * RECEIPT_LEN as u64, "the receipt")
}

#[cfg(test)]
mod tests {
    use adit_protocol::Status;

    use super::*;

    fn body(key: &Keypair, seq: u64, prev: Hash) -> ReceiptBody {
        ReceiptBody {
            network: [0; 4],
            status: Status::Ok,
            gpu: false,
            nn: false,
            epoch: 0,
            seq,
            start_ms: 0,
            duration_us: 0,
            fuel: 0,
            nn_units: 0,
            peak_memory: 0,
            miner: key.public().to_bytes(),
            coordinator: [0; 32],
            task: Hash::ZERO,
            assignment: Hash::ZERO,
            component: Hash::ZERO,
            input: Hash::ZERO,
            output: Hash::ZERO,
            transcript: Hash::ZERO,
            environment: Hash::ZERO,
            prev,
        }
    }

    const OPENING: ReceiptOpening = ReceiptOpening {
        input: Hash::ZERO,
        output: Hash::ZERO,
        transcript: Hash::ZERO,
    };

    fn add(journal: &Journal, key: &Keypair) -> Receipt {
        journal
            .add(key, &OPENING, |seq, prev| body(key, seq, prev))
            .unwrap()
    }

    #[test]
    fn receipts_are_numbered_and_linked() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let key = Keypair::from_seed([1; 32]);
        let one = add(&journal, &key);
        let two = add(&journal, &key);
        assert_eq!((one.body.seq, one.body.prev), (1, Hash::ZERO));
        assert_eq!((two.body.seq, two.body.prev), (2, one.id()));
        assert_eq!(journal.find("last").unwrap(), two.to_bytes());
        let digits = &one.id().to_hex()[..12];
        assert_eq!(journal.find(digits).unwrap(), one.to_bytes());
        let opening = journal.opening(&one.id(), "").unwrap().unwrap();
        assert_eq!(opening.0, OPENING);
        assert!(journal.find("0000").is_err());
    }

    #[test]
    fn each_key_has_a_series_that_goes_on_when_the_key_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let (a, b) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
        let mut last = [Hash::ZERO; 2];
        for (key, seq) in [
            (&a, 1),
            (&a, 2),
            (&b, 1),
            (&a, 3),
            (&b, 2),
            (&b, 3),
            (&a, 4),
        ] {
            let last = &mut last[usize::from(std::ptr::eq(key, &b))];
            let receipt = add(&journal, key);
            assert_eq!((receipt.body.seq, receipt.body.prev), (seq, *last));
            *last = receipt.id();
        }
        // Without the end of its series, a key does not begin a second one.
        fs::remove_file(journal.head_path(Some(&b.public().to_bytes()))).unwrap();
        let refused = journal.ready(&b).unwrap_err();
        assert!(refused.to_string().contains("is missing"), "{refused}");
        journal.ready(&a).unwrap();
    }

    #[test]
    fn no_changed_head_is_believed_and_a_lost_one_is_missed() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let key = Keypair::from_seed([1; 32]);
        add(&journal, &key);
        let newest = add(&journal, &key);
        let head = journal.head_path(None);
        let good = fs::read(&head).unwrap();
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1 << (byte % 8);
            fs::write(&head, bad).unwrap();
            let refused = journal.ready(&key).unwrap_err().to_string();
            assert!(
                refused.contains("head of the state folder is damaged"),
                "{byte}: {refused}"
            );
            journal.find("last").unwrap_err();
        }
        fs::remove_file(&head).unwrap();
        let refused = journal.ready(&key).unwrap_err();
        assert!(refused.to_string().contains("is missing"), "{refused}");
        fs::write(&head, good).unwrap();
        assert_eq!(add(&journal, &key).body.prev, newest.id());
    }

    #[test]
    fn a_receipt_under_the_name_of_another_is_not_that_one() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let key = Keypair::from_seed([1; 32]);
        let (one, two) = (add(&journal, &key), add(&journal, &key));
        fs::copy(
            journal.receipt_path(&one.id()),
            journal.receipt_path(&two.id()),
        )
        .unwrap();
        let refused = journal.find(&two.id().to_hex()).unwrap_err();
        assert!(
            refused.to_string().contains(&two.id().to_hex()),
            "{refused}"
        );
        // The newest one is signed again, and its series goes on.
        assert_eq!(add(&journal, &key).body.prev, two.id());
        let again = Receipt::from_bytes(&journal.find(&two.id().to_hex()).unwrap()).unwrap();
        assert_eq!(again.body, two.body);
    }

    #[test]
    fn who_deletes_the_lock_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let first = journal.lock().unwrap();
        let waiting = std::thread::spawn({
            let journal = journal.clone();
            move || {
                let lock = journal.lock().unwrap();
                let there = fs::metadata(journal.folder.join("lock")).unwrap();
                assert_eq!(lock.metadata().unwrap().ino(), there.ino());
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
        fs::remove_file(folder.path().join("lock")).unwrap();
        drop(first);
        waiting.join().unwrap();
    }

    #[test]
    fn a_receipt_that_was_begun_is_finished_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let key = Keypair::from_seed([1; 32]);
        let one = add(&journal, &key);
        // As after a power cut between the body and the signature.
        fs::remove_file(journal.receipt_path(&one.id())).unwrap();
        let two = add(&journal, &key);
        assert_eq!(two.body.seq, 2);
        let finished = fs::read(journal.receipt_path(&one.id())).unwrap();
        let finished = Receipt::from_bytes(&finished).unwrap();
        assert_eq!(finished.body, one.body);
        finished.verify().unwrap();
    }

    #[test]
    fn a_damaged_head_stops_rather_than_counts_again() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::new(folder.path().to_owned());
        let key = Keypair::from_seed([1; 32]);
        add(&journal, &key);
        fs::write(folder.path().join("head"), b"short").unwrap();
        let error = journal.add(&key, &OPENING, |seq, prev| body(&key, seq, prev));
        assert!(error.unwrap_err().to_string().contains("is damaged"));
    }
}
