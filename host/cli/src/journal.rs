//! The receipts of local runs, each with a number of its own and linked to the one before.
//!
//! ```text
//! receipts/lock              held while a receipt is added
//! receipts/head              body of the newest receipt, 392 bytes
//! receipts/<id>.receipt      520 bytes
//! receipts/<id>.opening      CBOR: the hashes behind the commitments
//! ```
//!
//! The body is in `head`, on disk, before it is signed (protocol.md, "Receipt"): so whenever a
//! process dies, its number is not given out again, and the next one finishes what it began.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::keys::Keypair;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{RECEIPT_LEN, Receipt, ReceiptBody};
use anyhow::Context as _;
use rand_core::OsRng;

use crate::error::Failure;
use crate::input::read_file;
use crate::state::{corrupt, private_folder};

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

    /// Adds a receipt: gives `make` its number and the id of the one before, signs the body that
    /// it returns, and keeps it. Returns when all of it is on disk.
    ///
    /// # Errors
    ///
    /// When something cannot be written, or the newest receipt is damaged.
    pub fn add(
        &self,
        key: &Keypair,
        opening: &ReceiptOpening,
        make: impl FnOnce(u64, Hash) -> ReceiptBody,
    ) -> anyhow::Result<Receipt> {
        private_folder(&self.folder)
            .with_context(|| format!("{} could not be made", self.folder.display()))?;
        let lock_path = self.folder.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .with_context(|| format!("{} could not be opened", lock_path.display()))?;
        // Released by the system when the file is closed, by whatever end of the process.
        lock.lock()
            .with_context(|| format!("{} could not be locked", lock_path.display()))?;

        let (seq, prev) = match self.head()? {
            // Another key begins a series of its own.
            Some(last) if last.miner == key.public().to_bytes() => {
                let id = last.id();
                if !self.receipt_path(&id).exists() {
                    self.finish(&last, key)?;
                }
                (last.seq.saturating_add(1), id)
            }
            _ => (1, Hash::ZERO),
        };
        let body = make(seq, prev);
        self.write(&self.opening_path(&body.id()), &opening.to_cbor())?;
        self.write(&self.folder.join("head"), &body.encode())?;
        self.finish(&body, key)
    }

    /// The receipt that a text names: an id, the beginning of one, or `last`.
    ///
    /// # Errors
    ///
    /// When there is none, or more than one.
    pub fn find(&self, named: &str) -> anyhow::Result<Vec<u8>> {
        let path = match named {
            "last" => match self.head()? {
                Some(body) => self.receipt_path(&body.id()),
                None => return Err(self.none(named)),
            },
            _ => self.by_digits(named)?,
        };
        read_receipt(&path)
    }

    /// The opening of a receipt: from this folder, or from beside the file that was named.
    ///
    /// # Errors
    ///
    /// When there is one and it is malformed.
    pub fn opening(&self, id: &Hash, named: &str) -> anyhow::Result<Option<ReceiptOpening>> {
        let beside = Path::new(named).with_extension("opening");
        for path in [self.opening_path(id), beside] {
            if !path.is_file() {
                continue;
            }
            let bytes = read_file(&path, ReceiptOpening::MAX_LEN as u64, "the opening")?;
            return match ReceiptOpening::from_cbor(&bytes) {
                Ok(opening) => Ok(Some(opening)),
                Err(error) => Err(corrupt(&path, error).into()),
            };
        }
        Ok(None)
    }

    /// Where the receipt with this id is or would be.
    pub fn receipt_path(&self, id: &Hash) -> PathBuf {
        self.folder.join(format!("{}.receipt", id.to_hex()))
    }

    fn opening_path(&self, id: &Hash) -> PathBuf {
        self.folder.join(format!("{}.opening", id.to_hex()))
    }

    /// The body of the newest receipt.
    fn head(&self) -> anyhow::Result<Option<ReceiptBody>> {
        let path = self.folder.join("head");
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_file(&path, RECEIPT_LEN as u64, "the newest receipt")?;
        ReceiptBody::decode(&bytes)
            .map(Some)
            .map_err(|error| corrupt(&path, error).into())
    }

    /// Signs and keeps a body that is on disk already.
    fn finish(&self, body: &ReceiptBody, key: &Keypair) -> anyhow::Result<Receipt> {
        let receipt = body.sign(key, &mut OsRng);
        self.write(&self.receipt_path(&body.id()), &receipt.to_bytes())?;
        Ok(receipt)
    }

    /// Writes a file so that it appears whole or not at all, and waits for the disk.
    fn write(&self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        let failed = || format!("{} could not be written", path.display());
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).with_context(failed)?;
        file.write_all(bytes).with_context(failed)?;
        file.as_file().sync_all().with_context(failed)?;
        file.persist(path)
            .map_err(|error| error.error)
            .with_context(failed)?;
        // A name is on disk when its folder is.
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .with_context(failed)
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
        assert_eq!(journal.opening(&one.id(), "").unwrap(), Some(OPENING));
        assert!(journal.find("0000").is_err());

        let other = Keypair::from_seed([2; 32]);
        assert_eq!(add(&journal, &other).body.seq, 1);
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
