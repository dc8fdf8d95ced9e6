//! What an audit reads, wherever it comes from: a coordinator, a bundle, a test.
//!
//! | part | subject |
//! |---|---|
//! | this file | the interface, and why something cannot be had |
//! | [`network`] | whose log it is: network file, checkpoint, cosignatures |
//! | [`memberships`] | the members at the times of the log's lists of candidates |
//! | [`entries`] | the log's entries in order, compared with the checkpoint |
//! | [`needs`] | the blobs that replaying a receipt takes |
//! | [`http`] | a coordinator, asked over HTTP |
//! | [`tar`], [`bundle`] | all of it in one file |
//!
//! Nothing that comes from here is trusted: whoever reads it compares it with hashes and signatures.

pub mod bundle;
pub mod entries;
pub mod http;
pub mod memberships;
pub mod needs;
pub mod network;
pub mod source;
pub mod tar;
#[cfg(test)]
pub mod testing;

use adit_protocol::Hash;
use adit_protocol::log::tile::Tile;
use adit_protocol::opening::ReceiptOpening;
use adit_runtime::store::blobs::BlobStore;
use thiserror::Error;

/// Most blobs that are asked for at once.
pub const BATCH_MAX: usize = 1024;
/// Longest blob that is given in memory, in bytes: the longest document, a roster.
pub const DOCUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest blob that is fetched into a store, in bytes: the longest input of a run.
pub const BLOB_BYTES_MAX: u64 = 1 << 30;

/// A place that a coordinator's log, and what belongs to it, is read from.
pub trait Evidence {
    /// What it is, for people: an address or a file.
    fn source(&self) -> String;

    /// The encoded network file.
    ///
    /// # Errors
    /// [`EvidenceError`].
    fn network(&self) -> Result<Vec<u8>, EvidenceError>;

    /// The membership with this hash and its authority's signature, as an encoded
    /// [`Signed`](adit_protocol::signed::Signed) document; `None` if it is not there.
    ///
    /// # Errors
    /// [`EvidenceError`], if it cannot be asked.
    fn membership(&self, hash: &Hash) -> Result<Option<Vec<u8>>, EvidenceError>;

    /// The newest checkpoint, as a signed note.
    ///
    /// # Errors
    /// [`EvidenceError`].
    fn checkpoint(&self) -> Result<Vec<u8>, EvidenceError>;

    /// Files of the log, in the order asked for. In place of a partial one there may be the full one.
    ///
    /// # Errors
    /// [`EvidenceError`], if any cannot be had.
    fn tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, EvidenceError>;

    /// Blobs of at most [`DOCUMENT_BYTES_MAX`] bytes in the order of at most [`BATCH_MAX`] hashes;
    /// `None` for those that are not there, or not for everyone.
    ///
    /// # Errors
    /// [`EvidenceError`], if it cannot be asked.
    fn blobs(&self, hashes: &[Hash]) -> Result<Vec<Option<Vec<u8>>>, EvidenceError>;

    /// Puts a blob of at most [`BLOB_BYTES_MAX`] bytes into a store; `false` if it is not there, or
    /// not for everyone.
    ///
    /// # Errors
    /// [`EvidenceError`], if it cannot be asked or kept.
    fn save(&self, hash: &Hash, into: &BlobStore) -> Result<bool, EvidenceError>;

    /// The hashes behind a receipt's commitments, if they are disclosed.
    ///
    /// # Errors
    /// [`EvidenceError`], if it cannot be asked.
    fn opening(&self, receipt: &Hash) -> Result<Option<ReceiptOpening>, EvidenceError>;
}

/// Why something cannot be had.
#[derive(Debug, Error)]
pub enum EvidenceError {
    /// It is not there.
    #[error("{what} is not there; hint: is this the log of a coordinator, and all of it?")]
    Missing {
        /// What.
        what: String,
    },
    /// What there is cannot be it.
    #[error("{what} is not what it has to be: {why}")]
    Damaged {
        /// What.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// It could not be asked for.
    #[error("{what} could not be read: {why}")]
    Unreachable {
        /// What.
        what: String,
        /// Why, with a hint.
        why: String,
    },
}

impl EvidenceError {
    /// [`EvidenceError::Damaged`].
    pub fn damaged(what: impl Into<String>, why: impl ToString) -> EvidenceError {
        EvidenceError::Damaged {
            what: what.into(),
            why: why.to_string(),
        }
    }

    /// [`EvidenceError::Unreachable`].
    pub fn unreachable(what: impl Into<String>, why: impl ToString) -> EvidenceError {
        EvidenceError::Unreachable {
            what: what.into(),
            why: why.to_string(),
        }
    }
}

/// Blobs that are there, public, and have the hashes that they were asked for by, in the order of
/// the hashes. Others are `None`: bytes of another hash say nothing, and prove nothing either, since
/// nobody signs an answer.
///
/// # Errors
/// [`EvidenceError`], if it cannot be asked.
pub fn checked_blobs(
    evidence: &dyn Evidence,
    hashes: &[Hash],
) -> Result<Vec<Option<Vec<u8>>>, EvidenceError> {
    let mut all = Vec::with_capacity(hashes.len());
    for hashes in hashes.chunks(BATCH_MAX) {
        let found = evidence.blobs(hashes)?;
        if found.len() != hashes.len() {
            let why = format!("{} came for {} hashes", found.len(), hashes.len());
            return Err(EvidenceError::damaged("an answer with blobs", why));
        }
        let checked = hashes.iter().zip(found).map(|(hash, bytes)| {
            bytes.filter(|bytes| bytes.len() <= DOCUMENT_BYTES_MAX && Hash::of(bytes) == *hash)
        });
        all.extend(checked);
    }
    Ok(all)
}
