//! What the coordinator shows of tasks, receipts, miners and draws: plain values that serialise to
//! JSON by net's conventions (hashes `blake3:<hex>`, keys `0x<hex>`, amounts as decimal strings,
//! times in milliseconds since 1970).

use adit_protocol::Code;
use adit_protocol::hash::Hash;
pub(crate) use adit_protocol::hex::prefixed as hex;
use adit_protocol::network::draw::Record;
use adit_protocol::network::entry::Decision;
use adit_protocol::network::standing::Nobody;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::status::Status;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// A node's public key, shown as `0x<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub [u8; 32]);

impl std::fmt::Display for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Serialize for NodeKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

fn bytes<S: Serializer>(value: &impl AsRef<[u8]>, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&hex(value.as_ref()))
}

fn decimal<S: Serializer>(value: &u128, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// No miner has it; `reason` says why.
    Waiting,
    /// Miners have it, or results wait for others.
    Running,
    /// Enough results agree, and the app's validator has not answered yet.
    Validating,
    /// It has a result, of whatever status.
    Completed,
    /// It ended without a result; `reason` says why.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl TaskState {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            TaskState::Completed | TaskState::Failed | TaskState::Cancelled
        )
    }
}

/// Why something is as it is: a code and the particulars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reason {
    /// The kind; `adit explain CODE` tells more.
    #[schema(value_type = String)]
    pub code: Code,
    /// The particulars, for people.
    pub detail: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: Code, detail: impl Into<String>) -> Reason {
        Reason {
            code,
            detail: detail.into(),
        }
    }
}

/// How far a task says that it is; a claim of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProgressView {
    /// How much is done, in the guest's units.
    pub done: u64,
    /// Of how much; 0 if it is not known.
    pub total: u64,
    /// The guest's words.
    pub note: String,
}

/// What became of an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// The miner has until the deadline.
    Open,
    /// Its receipt is in the log.
    Reported,
    /// It ran out.
    Expired,
    /// Nobody waits for its result any more.
    Cancelled,
}

/// One assignment of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AssignmentView {
    /// Hash of the assignment.
    #[schema(value_type = String)]
    pub assignment: Hash,
    /// Leaf index of its log entry.
    pub leaf: u64,
    /// Which replica, from 0.
    pub replica: u32,
    /// Which attempt at it, from 0.
    pub attempt: u32,
    /// The miner's node key.
    #[schema(value_type = String)]
    pub miner: NodeKey,
    /// When it was made.
    pub issued_ms: u64,
    /// When it runs out.
    pub deadline_ms: u64,
    /// What became of it.
    pub state: LeaseState,
    /// Its receipt, also one that came late.
    pub receipt: Option<ReceiptSummary>,
}

/// The essentials of a receipt in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReceiptSummary {
    /// Its id.
    #[schema(value_type = String)]
    pub receipt: Hash,
    /// Leaf index of its log entry.
    pub leaf: u64,
    /// How the run ended, by the miner.
    #[schema(value_type = String)]
    pub status: Status,
    /// What was decided of it; absent until then.
    #[schema(value_type = Option<String>)]
    pub decision: Option<Decision>,
    /// The miner's words on how the run ended.
    pub detail: Option<String>,
}

/// The accepted result of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ResultView {
    /// How the run ended.
    #[schema(value_type = String)]
    pub status: Status,
    /// Hash of the output blob.
    #[schema(value_type = String)]
    pub output: Hash,
    /// Hash of the transcript blob.
    #[schema(value_type = String)]
    pub transcript: Hash,
    /// Id of the first of the accepted receipts.
    #[schema(value_type = String)]
    pub receipt: Hash,
    /// Its leaf index.
    pub leaf: u64,
    /// How many receipts agreed.
    pub agreed: u32,
    /// Fuel by that receipt.
    pub fuel: u64,
    /// Inference work by that receipt.
    pub nn_units: u64,
    /// Microseconds by that receipt: a claim of the miner.
    pub duration_us: u64,
    /// The miner's words on how the run ended: a claim.
    pub detail: Option<String>,
}

/// A task as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TaskView {
    /// The task id: the hash of its spec.
    #[schema(value_type = String)]
    pub task: Hash,
    /// Its client.
    pub client: String,
    /// Where it is.
    pub state: TaskState,
    /// Why it waits, or why it failed.
    pub reason: Option<Reason>,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// Until when it may wait for miners.
    pub expires_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// Hash of its exec spec.
    #[schema(value_type = String)]
    pub exec: Hash,
    /// Pay for a result, in 10^-12 token.
    #[serde(serialize_with = "decimal")]
    #[schema(value_type = String)]
    pub price: u128,
    /// Miners that run it; absent as long as the draw of the first one has to decide.
    pub replicas: Option<u32>,
    /// Equal results that make one accepted.
    pub quorum: u32,
    /// Hash of the component that has to accept the output.
    #[schema(value_type = Option<String>)]
    pub validator: Option<Hash>,
    /// The 32 digits by which the logs of the client, the coordinator and the miners can be joined
    /// (W3C Trace Context).
    pub trace_id: Option<String>,
    /// Its assignments, in the order of the log.
    pub assignments: Vec<AssignmentView>,
    /// The newest word of the guest, while it runs.
    pub progress: Option<ProgressView>,
    /// The result, once there is one.
    pub result: Option<ResultView>,
}

/// A task in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TaskSummary {
    /// The task id.
    #[schema(value_type = String)]
    pub task: Hash,
    /// Where it is.
    pub state: TaskState,
    /// Why it failed, if it did.
    #[schema(value_type = Option<String>)]
    pub code: Option<Code>,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// How the accepted run ended, if there is one.
    #[schema(value_type = Option<String>)]
    pub status: Option<Status>,
}

/// What happens to a task, for those who watch it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum TaskEvent {
    /// It is in another state, or waits for another reason.
    State {
        /// Where it is now.
        state: TaskState,
        /// Why, where that is to be said.
        reason: Option<Reason>,
    },
    /// The guest said how far it is.
    Progress {
        /// The attempt that says so; what an earlier one said counts no more.
        attempt: u32,
        /// How far it is.
        progress: ProgressView,
    },
    /// The guest emitted a part of its output. Not confirmed by anyone yet.
    Chunk {
        /// The attempt that emitted it; chunks of an earlier one count no more.
        attempt: u32,
        /// Number of the report that it came with, ascending in an attempt.
        number: u64,
        /// The bytes; C2's encoding of them decides their text form.
        #[serde(serialize_with = "bytes")]
        #[schema(value_type = String)]
        chunk: Vec<u8>,
    },
}

/// A receipt with what is needed to check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReceiptView {
    /// Its id.
    #[schema(value_type = String)]
    pub receipt: Hash,
    /// Leaf index of its log entry.
    pub leaf: u64,
    /// The 520 bytes.
    #[serde(serialize_with = "bytes")]
    #[schema(value_type = String)]
    pub bytes: Vec<u8>,
    /// The task; absent once the task was pruned.
    #[schema(value_type = Option<String>)]
    pub task: Option<Hash>,
    /// Client of the task; absent once the task was pruned.
    pub client: Option<String>,
    /// Hash of the exec spec; absent once the task was pruned.
    #[schema(value_type = Option<String>)]
    pub exec: Option<Hash>,
    /// The hashes behind its commitments; absent once the task was pruned.
    #[schema(value_type = Option<Object>)]
    pub opening: Option<ReceiptOpening>,
    /// Hash of the environment document.
    #[schema(value_type = String)]
    pub environment: Hash,
    /// What was decided of it; absent until then.
    #[schema(value_type = Option<String>)]
    pub decision: Option<Decision>,
    /// When it came; absent once the task was pruned.
    pub received_ms: Option<u64>,
    /// The miner's words on how the run ended.
    pub detail: Option<String>,
    /// The guest's stderr or the end of it.
    #[serde(skip)]
    pub log: Option<Vec<u8>>,
}

/// Why a candidate can or cannot be drawn for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CandidateView {
    /// Its node key.
    #[schema(value_type = String)]
    pub miner: NodeKey,
    /// Whether it can be drawn.
    pub eligible: bool,
    /// Weight in this draw; 0 if it cannot be drawn.
    pub weight: u64,
    /// Chance of this draw, in parts per million.
    pub chance_ppm: u64,
    /// What rules it out, in words; absent if nothing does.
    pub lacks: Option<String>,
}

/// A draw with everything that is needed to make it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DrawView {
    /// The assignment that came of it.
    #[schema(value_type = String)]
    pub assignment: Hash,
    /// Its leaf index: open assignments are counted in the log before it.
    pub leaf: u64,
    /// Which replica.
    pub replica: u32,
    /// Which attempt.
    pub attempt: u32,
    /// Whether near miners were preferred.
    pub local: bool,
    /// Leaf index of the roster.
    pub roster_leaf: u64,
    /// Hash of the roster, which is a public document.
    #[schema(value_type = String)]
    pub roster: Hash,
    /// Its epoch.
    pub epoch: u64,
    /// The epoch's beacon.
    #[schema(value_type = String)]
    pub beacon: Hash,
    /// The VRF's point.
    #[serde(serialize_with = "bytes")]
    #[schema(value_type = String)]
    pub vrf_point: [u8; 32],
    /// The VRF's proof over genesis, beacon, leaf and roster.
    #[serde(serialize_with = "bytes")]
    #[schema(value_type = String)]
    pub vrf_proof: [u8; 64],
    /// The VRF's output, which the proof proves.
    #[schema(value_type = String)]
    pub vrf_output: Hash,
    /// BLAKE3(VRF output, task id, attempt, replica).
    #[schema(value_type = String)]
    pub number: Hash,
    /// The candidates that could be drawn, in the order of the roster, with their weights.
    pub eligible: Vec<CandidateView>,
    /// The one that was drawn.
    #[schema(value_type = String)]
    pub miner: NodeKey,
}

/// Why a task is where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExplainView {
    /// The task.
    pub task: TaskView,
    /// The draws that were made for it.
    pub draws: Vec<DrawView>,
    /// If it waits: the candidates of the roster in force, with what rules each out; at most the
    /// first 256.
    pub candidates: Vec<CandidateView>,
    /// If it waits: all candidates, counted by the first reason that rules each out.
    #[schema(value_type = Option<Object>)]
    pub counts: Option<Nobody>,
    /// Tasks of all clients that wait.
    pub waiting: u64,
}

/// A miner as the coordinator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MinerView {
    /// Its node key.
    #[schema(value_type = String)]
    pub miner: NodeKey,
    /// Why it gets nothing, if there is a reason.
    pub reason: Option<Reason>,
    /// Its stake, in 10^-12 token.
    #[serde(serialize_with = "decimal")]
    #[schema(value_type = String)]
    pub stake: u128,
    /// Version of its program; absent if it has not said hello to this process.
    pub software: Option<String>,
    /// Assignments that it takes at one time.
    pub slots: u32,
    /// Assignments that are open.
    pub open: u32,
    /// Until when it counts as active without another request.
    pub active_until_ms: u64,
    /// Shortest round trip that was measured lately, in microseconds.
    pub round_trip_us: Option<u64>,
    /// Weight in the roster in force; 0 if it is not in it.
    pub weight: u64,
    /// Its share of all weights there, in parts per million.
    pub share_ppm: u64,
    /// How its work turned out.
    #[schema(value_type = Object)]
    pub record: Record,
    /// Its quality by that, in parts per million.
    pub quality_ppm: u64,
    /// Number of its newest receipt in the log.
    pub last_seq: u64,
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; absent on the last.
    pub next: Option<u64>,
}
