//! What the state machine answers.

use std::sync::Arc;

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::Assignment;
use adit_protocol::signed::Signed;

use super::TaskContext;
use crate::Refusal;

/// The answer to a hello, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// When it was given, in milliseconds since 1970.
    pub at_ms: u64,
    /// Until when the miner counts as active.
    pub active_until_ms: u64,
    /// Number of its newest receipt.
    pub last_seq: u64,
    /// Id of that receipt.
    pub last_receipt: Hash,
    /// Its open assignments.
    pub open: Vec<Hash>,
}

/// An assignment on its way to its miner.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The signed assignment.
    pub assignment: Signed<Assignment>,
    /// Its task.
    pub task: Hash,
    /// Specs and small blobs of the task, if they are in memory.
    pub context: Option<Arc<TaskContext>>,
}

/// The answer to a poll, before it is signed.
#[derive(Clone, Debug)]
pub struct PollReply {
    /// When it was given, in milliseconds since 1970.
    pub at_ms: u64,
    /// Until when the miner counts as active.
    pub active_until_ms: u64,
    /// New assignments, and those that were sent before and did not arrive.
    pub work: Vec<Delivery>,
    /// Assignments that ended.
    pub ended: Vec<Hash>,
    /// Why there is no work.
    pub idle: Option<Code>,
    /// Whether the round trip is to be measured again.
    pub measure: bool,
}

/// What became of a receipt that was appended, now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its leaf index.
    pub leaf: u64,
    /// The countersignature that is in the log.
    pub countersignature: [u8; 64],
}

/// What became of one item of a hand-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandedIn {
    /// It is durable.
    Appended(Appended),
    /// It was refused; the hashes are blobs to be uploaded before another try.
    Refused(Refusal, Vec<Hash>),
}
