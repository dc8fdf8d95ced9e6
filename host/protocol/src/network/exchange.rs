//! What miners and coordinators send each other, as CBOR documents in signed HTTP requests.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /v1/miner/hello` | [`Hello`] | [`Welcome`] |
//! | `POST /v1/miner/echo` | [`Echo`] | nothing: the time until it comes is the round trip |
//! | `POST /v1/miner/poll` | [`Poll`] | [`PollAnswer`], after at most `wait_ms` |
//! | `POST /v1/miner/progress` | [`ProgressReport`] | nothing |
//! | `POST /v1/miner/receipts` | [`HandIn`] | [`HandInAnswer`] |
//!
//! Blobs that are not sent along are fetched and uploaded by hash under `/v1/blobs`.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::assignment::{Acceptance, ActiveUntil, Assignment};
use crate::cbor::Document;
use crate::cbor::fields::{self, Invalid};
use crate::environment::EnvironmentDocument;
use crate::hardware::SignedHardwareRecord;
use crate::hash::Hash;
use crate::opening::ReceiptOpening;
use crate::signed::Signed;

/// Most devices of a miner.
pub const DEVICES_MAX: usize = 64;
/// Most assignments of one answer, and most receipts of one request.
pub const BATCH_MAX: usize = 256;
/// Most assignments that a miner holds from one coordinator.
pub const SLOTS_MAX: u32 = 4096;
/// Longest blob that is sent along instead of being fetched, in bytes.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Longest request or answer with blobs in it, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest chunk of a guest's output that is passed on while the task runs, in bytes.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// A device that a miner offers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct OfferedDevice {
    /// Its environment document, encoded.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub environment: Vec<u8>,
    /// Whether it is a GPU.
    #[n(1)]
    pub gpu: bool,
    /// Its memory in bytes; 0 if it is not known.
    #[n(2)]
    pub memory_bytes: u64,
}

/// A miner begins to work for a coordinator, or has changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Hello {
    /// Hash of the network's genesis document.
    #[n(0)]
    pub genesis: Hash,
    /// Version of the miner's program.
    #[n(1)]
    pub software: String,
    /// Its engine id.
    #[n(2)]
    pub engine: Hash,
    /// Its devices, at least one.
    #[n(3)]
    pub devices: Vec<OfferedDevice>,
    /// Assignments that it holds at one time.
    #[n(4)]
    pub slots: u32,
    /// Its signed hardware record, encoded, if it has one.
    #[n(5)]
    #[serde(serialize_with = "crate::json::optional_bytes")]
    pub hardware: Option<ByteVec>,
}

impl Document for Hello {
    const NAME: &'static str = "hello";
    const MAX_LEN: usize = 2 * 1024 * 1024;
    const MAX_BYTES: usize = if SignedHardwareRecord::MAX_LEN > EnvironmentDocument::MAX_LEN {
        SignedHardwareRecord::MAX_LEN
    } else {
        EnvironmentDocument::MAX_LEN
    };

    fn check(&self) -> Result<(), Invalid> {
        fields::name("software", &self.software, 64)?;
        fields::count("devices", self.devices.len(), DEVICES_MAX)?;
        if self.devices.is_empty() {
            return Invalid::new("devices", "it is empty, and nothing could run");
        }
        if self.slots == 0 || self.slots > SLOTS_MAX {
            return Invalid::new("slots", format!("it is not from 1 to {SLOTS_MAX}"));
        }
        Ok(())
    }
}

/// The coordinator's answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Welcome {
    /// Until when the miner counts as active without another request.
    #[n(0)]
    pub active: Signed<ActiveUntil>,
    /// Number of the newest receipt of this miner that the coordinator has; 0 for none.
    #[n(1)]
    pub last_seq: u64,
    /// Id of that receipt; zero for none.
    #[n(2)]
    pub last_receipt: Hash,
    /// Hashes of the assignments of this miner that are open.
    #[n(3)]
    pub open: Vec<Hash>,
    /// To be sent back at once by an [`Echo`].
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub echo: [u8; 32],
}

impl Document for Welcome {
    const NAME: &'static str = "welcome";
    const MAX_LEN: usize = 256 * 1024;
    const MAX_BYTES: usize = ActiveUntil::MAX_LEN;
}

/// Sends back what the coordinator sent, so that it can measure the round trip.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Echo {
    /// The bytes of the welcome or of the last answer to a poll.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub echo: [u8; 32],
}

impl Document for Echo {
    const NAME: &'static str = "echo";
    const MAX_LEN: usize = 64;
}

/// Asks for work.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Poll {
    /// How many assignments more it would take; 0 while it is paused or drains.
    #[n(0)]
    pub want: u32,
    /// How long the coordinator may wait for one, in milliseconds.
    #[n(1)]
    pub wait_ms: u32,
    /// Acceptances of assignments that take longer.
    #[n(2)]
    pub accepted: Vec<Signed<Acceptance>>,
    /// Hashes of the assignments that it works on. One that the coordinator has given out and that
    /// is not here is sent again.
    #[n(3)]
    pub working: Vec<Hash>,
}

impl Document for Poll {
    const NAME: &'static str = "poll";
    const MAX_LEN: usize = 1024 * 1024;
    const MAX_BYTES: usize = Acceptance::MAX_LEN;

    fn check(&self) -> Result<(), Invalid> {
        fields::count("accepted", self.accepted.len(), BATCH_MAX)
    }
}

/// An assignment with what is needed to begin.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Work {
    /// The assignment.
    #[n(0)]
    pub assignment: Signed<Assignment>,
    /// The task spec, encoded.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub task: Vec<u8>,
    /// The exec spec, encoded.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub exec: Vec<u8>,
    /// Small blobs, so that they need not be fetched: the input, manifests.
    #[n(3)]
    #[serde(serialize_with = "crate::json::bytes_list")]
    pub blobs: Vec<ByteVec>,
    /// The step of a trace that it belongs to (W3C Trace Context, the value of the header
    /// `traceparent`), if there is one. A miner does not depend on it, and passes over one that it
    /// cannot read.
    #[n(4)]
    pub traceparent: Option<String>,
}

/// The answer to a poll.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct PollAnswer {
    /// Until when the miner counts as active without another request.
    #[n(0)]
    pub active: Signed<ActiveUntil>,
    /// New assignments.
    #[n(1)]
    pub work: Vec<Work>,
    /// Hashes of assignments that ended; the miner need not go on with them.
    #[n(2)]
    pub ended: Vec<Hash>,
    /// Why there is no work, as a [`crate::codes::Code`], if there is none.
    #[n(3)]
    pub idle: Option<String>,
    /// To be sent back at once by an [`Echo`], now and then.
    #[n(4)]
    #[serde(serialize_with = "crate::json::optional_bytes")]
    pub echo: Option<ByteVec>,
}

impl Document for PollAnswer {
    const NAME: &'static str = "poll answer";
    const MAX_LEN: usize = MESSAGE_BYTES_MAX;
    // An exec spec is the largest part.
    const MAX_BYTES: usize = 1024 * 1024;
}

/// How far a task is, for its client.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Progress {
    /// Hash of the assignment.
    #[n(0)]
    pub assignment: Hash,
    /// Counts up with each report of an assignment, from 1.
    #[n(1)]
    pub number: u64,
    /// How much is done, in the guest's units.
    #[n(2)]
    pub done: u64,
    /// Of how much; 0 if it is not known.
    #[n(3)]
    pub total: u64,
    /// The guest's words.
    #[n(4)]
    pub note: String,
    /// A chunk that the guest emitted, if this tells of one.
    #[n(5)]
    #[serde(serialize_with = "crate::json::optional_bytes")]
    pub chunk: Option<ByteVec>,
}

/// Reports of progress.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct ProgressReport {
    /// The reports, in order.
    #[n(0)]
    pub reports: Vec<Progress>,
}

impl Document for ProgressReport {
    const NAME: &'static str = "progress report";
    const MAX_LEN: usize = 4 * 1024 * 1024;
    const MAX_TEXT: usize = 4096;
    const MAX_BYTES: usize = CHUNK_BYTES_MAX;

    fn check(&self) -> Result<(), Invalid> {
        fields::count("reports", self.reports.len(), BATCH_MAX)
    }
}

/// One receipt with what is behind it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct HandInItem {
    /// The receipt's 520 bytes; the countersignature is zero.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub receipt: Vec<u8>,
    /// The hashes behind its commitments.
    #[n(1)]
    pub opening: ReceiptOpening,
    /// Blobs of at most [`INLINE_BYTES_MAX`] bytes: output, transcript, tensors. Longer ones are
    /// uploaded before.
    #[n(2)]
    #[serde(serialize_with = "crate::json::bytes_list")]
    pub blobs: Vec<ByteVec>,
    /// Why the run ended so, for the client; a claim of the miner, at most 4096 bytes.
    #[n(3)]
    pub detail: Option<String>,
    /// The guest's stderr or the end of it; a claim of the miner.
    #[n(4)]
    #[serde(serialize_with = "crate::json::optional_bytes")]
    pub log: Option<ByteVec>,
}

/// A miner hands in receipts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct HandIn {
    /// The receipts, ascending by their numbers.
    #[n(0)]
    pub items: Vec<HandInItem>,
}

impl Document for HandIn {
    const NAME: &'static str = "hand-in";
    const MAX_LEN: usize = MESSAGE_BYTES_MAX;
    const MAX_TEXT: usize = 4096;
    const MAX_BYTES: usize = INLINE_BYTES_MAX;

    fn check(&self) -> Result<(), Invalid> {
        fields::count("items", self.items.len(), BATCH_MAX)
    }
}

/// What became of one receipt that was handed in.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct HandInResult {
    /// Leaf index, if the receipt is durable in the log.
    #[n(0)]
    pub leaf: Option<u64>,
    /// The coordinator's countersignature, with it.
    #[n(1)]
    #[serde(serialize_with = "crate::json::optional_bytes")]
    pub countersignature: Option<ByteVec>,
    /// Why it was refused, as a [`crate::codes::Code`].
    #[n(2)]
    pub refused: Option<String>,
    /// The refusal in words.
    #[n(3)]
    pub detail: Option<String>,
    /// Blobs that must be uploaded before it can be taken.
    #[n(4)]
    pub missing: Vec<Hash>,
}

/// The answer to a hand-in: one result for each item, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct HandInAnswer {
    /// The results.
    #[n(0)]
    pub results: Vec<HandInResult>,
}

impl Document for HandInAnswer {
    const NAME: &'static str = "hand-in answer";
    const MAX_LEN: usize = 4 * 1024 * 1024;
    const MAX_TEXT: usize = 4096;
}
