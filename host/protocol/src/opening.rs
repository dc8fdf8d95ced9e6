//! What lies behind the salted commitments of a receipt.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::cbor::Document;
use crate::hash::Hash;

/// The hashes of the blobs that a receipt commits to. Whoever may audit is given this and the
/// task's salt, and checks that [`Hash::commit`] of each gives the receipt's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct ReceiptOpening {
    /// Hash of the input.
    #[n(0)]
    pub input: Hash,
    /// Hash of the output.
    #[n(1)]
    pub output: Hash,
    /// Hash of the transcript.
    #[n(2)]
    pub transcript: Hash,
}

impl Document for ReceiptOpening {
    const NAME: &'static str = "receipt opening";
    const MAX_LEN: usize = 256;
}
