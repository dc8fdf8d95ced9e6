//! What is asked of the engine's thread, and what it answers.

use std::sync::Arc;

use adit_protocol::hash::Hash;
use adit_protocol::network::exchange::Progress;
use tokio::sync::{broadcast, oneshot};

use super::Refusal;
use crate::core::{Greeting, HandedIn, Offer, PollReply};
use crate::order::{HandInOrder, PollOrder, PreparedSubmission};
use crate::view::{ExplainView, MinerView, Page, TaskEvent, TaskView};

/// Where an answer goes. Nobody waits for it any more if the other side is gone.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

#[derive(Debug)]
pub(crate) enum Command {
    /// The task is answered, with `None` where it is that of an earlier request and not live any more,
    /// or where its end is waited for.
    Submit {
        prepared: Box<PreparedSubmission>,
        /// Answered at the end of the task, if it is live; else dropped.
        ended: Option<Answer<Option<TaskView>>>,
        answer: Answer<(Hash, Option<TaskView>)>,
    },
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
    /// Blobs of the database that are used now.
    Touch(Vec<Hash>, Answer<()>),
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
