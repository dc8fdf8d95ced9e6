//! What is handed in with a receipt, and kept until it is settled.

use adit_protocol::Hash;
use adit_protocol::cbor::Document;
use adit_protocol::network::exchange::{HandInItem, INLINE_BYTES_MAX};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::Receipt;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// Most bytes of all blobs that travel in the message of one receipt.
pub const INLINE_TOTAL_MAX: usize = 1024 * 1024;
/// Most blobs of one receipt.
pub const BLOBS_MAX: usize = 65_536;

/// What belongs to a receipt beside its body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Parts {
    /// The hashes behind the commitments.
    #[n(0)]
    pub opening: Opening,
    /// Blobs that travel in the message.
    #[n(1)]
    pub inline: Vec<ByteVec>,
    /// Hashes of blobs in the miner's store, to be uploaded before.
    #[n(2)]
    pub stored: Vec<Hash>,
    /// Why the run ended so.
    #[n(3)]
    pub detail: Option<String>,
    /// The end of the guest's log.
    #[n(4)]
    pub log: Option<ByteVec>,
}

/// As [`ReceiptOpening`], with a default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Opening(#[n(0)] pub ReceiptOpening);

impl Default for Opening {
    fn default() -> Opening {
        Opening(ReceiptOpening {
            input: Hash::ZERO,
            output: Hash::ZERO,
            transcript: Hash::ZERO,
        })
    }
}

impl Document for Parts {
    const NAME: &'static str = "journal's parts of a receipt";
    const MAX_LEN: usize = INLINE_TOTAL_MAX + 64 * BLOBS_MAX + INLINE_BYTES_MAX + 8192;
    const MAX_ITEMS: usize = BLOBS_MAX;
    const MAX_TEXT: usize = 4096;
    const MAX_BYTES: usize = INLINE_BYTES_MAX;
}

impl Parts {
    /// The item of a hand-in.
    pub fn item(&self, receipt: &Receipt) -> HandInItem {
        HandInItem {
            receipt: receipt.to_bytes().to_vec(),
            opening: self.opening.0,
            blobs: self.inline.clone(),
            detail: self.detail.clone(),
            log: self.log.clone(),
        }
    }

    /// An upper bound of what the item adds to a message, in bytes.
    pub fn len_max(&self) -> usize {
        let inline: usize = self.inline.iter().map(|blob| blob.len() + 16).sum();
        let log = self.log.as_ref().map_or(0, |log| log.len());
        let detail = self.detail.as_ref().map_or(0, String::len);
        1024 + inline + log + detail
    }
}
