//! Receipts of others that were fetched from a coordinator or taken out of a bundle. They are not in
//! the journal, whose receipts are of this machine and in a series.
//!
//! ```text
//! received/<id>.receipt      520 bytes
//! received/<id>.opening      CBOR: the hashes behind the commitments
//! ```
//!
//! Trusted: nothing. Who uses one checks its signatures; its id is compared with its name here.

use std::fs;
use std::path::PathBuf;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{RECEIPT_LEN, Receipt};
use adit_runtime::store::StoreError;

use crate::error::{Exit, Failure};
use crate::state::{corrupt, private_folder, read_own, write_file};

/// Most files that a search by the beginning of an id looks at.
const SEARCH_MAX: usize = 1_000_000;
/// Digits that such a beginning must have.
const DIGITS_MIN: usize = 4;

/// The folder.
#[derive(Clone, Debug)]
pub struct Received {
    folder: PathBuf,
}

impl Received {
    /// In a folder, which is made when the first receipt is kept.
    pub fn new(folder: PathBuf) -> Received {
        Received { folder }
    }

    /// Keeps a receipt and, if it is known, its opening.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, receipt: &Receipt, opening: Option<&ReceiptOpening>) -> anyhow::Result<()> {
        private_folder(&self.folder).map_err(StoreError::io("make the folder", &self.folder))?;
        let id = receipt.id();
        if let Some(opening) = opening {
            write_file(&self.path(&id, "opening"), &opening.to_cbor(), 0o600)?;
        }
        write_file(&self.path(&id, "receipt"), &receipt.to_bytes(), 0o600)
    }

    /// The bytes of the receipt that an id or the beginning of one names; `None` if there is none.
    ///
    /// # Errors
    /// When there is more than one, or it is damaged.
    pub fn find(&self, named: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let digits = named.strip_prefix("blake3:").unwrap_or(named);
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if !(DIGITS_MIN..=64).contains(&digits.len()) || !digits.chars().all(is_hex) {
            return Ok(None);
        }
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Ok(None);
        };
        let names = entries.take(SEARCH_MAX).flatten().map(|entry| entry.path());
        let found: Vec<PathBuf> = names
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.starts_with(digits) && name.ends_with(".receipt"))
            })
            .collect();
        let path = match found.as_slice() {
            [] => return Ok(None),
            [path] => path,
            more => {
                return Failure::argument(format!("`{named}` names {} receipts", more.len()))
                    .why("their ids begin with the same digits")
                    .hint("give more of the digits")
                    .into_err();
            }
        };
        let bytes = read_own(path, RECEIPT_LEN as u64, "the receipt")?;
        let damaged = |why: String| corrupt(path, why).exit(Exit::Signature);
        let receipt = Receipt::from_bytes(&bytes).map_err(|error| damaged(error.to_string()))?;
        if self.path(&receipt.id(), "receipt") != *path {
            return Err(damaged(format!("it is the receipt {}", receipt.id())).into());
        }
        Ok(Some(bytes))
    }

    /// The opening of a receipt and its file, if it is here.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn opening(&self, id: &Hash) -> anyhow::Result<Option<(ReceiptOpening, PathBuf)>> {
        let path = self.path(id, "opening");
        if fs::symlink_metadata(&path).is_err() {
            return Ok(None);
        }
        let bytes = read_own(&path, ReceiptOpening::MAX_LEN as u64, "the opening")?;
        match ReceiptOpening::from_cbor(&bytes) {
            Ok(opening) => Ok(Some((opening, path))),
            Err(error) => Err(corrupt(&path, error).into()),
        }
    }

    fn path(&self, id: &Hash, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", id.to_hex()))
    }
}
