//! What is asked of the engine's thread, and what it answers.

use std::sync::Arc;

use adit_protocol::Code;
use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::{Acceptance, Assignment};
use adit_protocol::network::exchange::Progress;
use adit_protocol::signed::Signed;
use tokio::sync::{broadcast, oneshot};

use super::Refusal;
use crate::core::{Offer, TaskContext};
use crate::order::{HandInOrder, Submission};
use crate::view::{ExplainView, MinerView, Page, TaskEvent, TaskView};

/// Where an answer goes. Nobody waits for it any more if the other side is gone.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// A submission with what was computed of it before it came to the engine.
#[derive(Clone, Debug)]
pub struct PreparedSubmission {
    /// Hash of the task spec.
    pub task: Hash,
    /// The submission.
    pub order: Submission,
    /// The task spec, encoded.
    pub spec: Vec<u8>,
    /// Hashes of its blobs, in their order.
    pub blobs: Vec<Hash>,
}

impl PreparedSubmission {
    /// Computes what the engine's thread need not.
    pub fn new(order: Submission) -> PreparedSubmission {
        let spec = order.spec.to_cbor();
        PreparedSubmission {
            task: Hash::of(&spec),
            spec,
            blobs: order.blobs.iter().map(|bytes| Hash::of(bytes)).collect(),
            order,
        }
    }
}

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

/// A poll as the engine takes it.
#[derive(Clone, Debug, Default)]
pub struct PollOrder {
    /// How many assignments more the miner would take.
    pub want: u32,
    /// How long it may wait for one, in milliseconds.
    pub wait_ms: u32,
    /// Hash of the assignment, and the acceptance, whose signature was checked.
    pub accepted: Vec<(Hash, Signed<Acceptance>)>,
    /// Assignments that the miner works on, or whose receipts are under way.
    pub working: Vec<Hash>,
}

#[derive(Debug)]
pub(crate) enum Command {
    Submit(Box<PreparedSubmission>, Answer<TaskView>),
    Cancel {
        task: Hash,
        client: String,
        answer: Answer<TaskView>,
    },
    /// `None` is answered for a task that is not live: the caller asks the database.
    Task(Hash, Answer<Option<TaskView>>),
    /// Answered at the end of the task.
    Wait(Hash, Answer<Option<TaskView>>),
    Events(
        Hash,
        Answer<Option<(TaskView, broadcast::Receiver<Arc<TaskEvent>>)>>,
    ),
    Explain(Hash, Answer<Option<ExplainView>>),
    Hello {
        node: [u8; 32],
        offer: Box<Offer>,
        documents: Vec<(Hash, Vec<u8>)>,
        answer: Answer<Greeting>,
    },
    RoundTrip {
        node: [u8; 32],
        round_trip_us: u64,
    },
    Poll {
        node: [u8; 32],
        poll: PollOrder,
        answer: Answer<PollReply>,
    },
    Progress {
        node: [u8; 32],
        reports: Vec<Progress>,
        answer: Answer<()>,
    },
    HandIn {
        node: [u8; 32],
        items: Vec<HandInOrder>,
        answer: Answer<Vec<HandedIn>>,
    },
    PutSmall(Vec<(Hash, Vec<u8>)>, Answer<()>),
    Validated {
        task: Hash,
        output: Hash,
        result: Result<(), String>,
        answer: Answer<()>,
    },
    Miner([u8; 32], Answer<MinerView>),
    Miners {
        after: Option<u64>,
        size: u32,
        answer: Answer<Page<MinerView>>,
    },
    Document {
        bytes: Vec<u8>,
        kind: crate::store::DocumentKind,
        answer: Answer<Hash>,
    },
    /// Answered when no assignment is open.
    Drain(Answer<()>),
    Stop,
}
