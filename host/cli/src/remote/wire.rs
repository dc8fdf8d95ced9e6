//! What coordinators answer, as far as it is used here. Fields that are not known are passed over,
//! so that a newer coordinator can say more.

use std::fmt;
use std::str::FromStr;

use adit_protocol::{Code, Hash};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::text::unhex;

/// A value that is written as text: a hash, a key.
///
/// # Errors
///
/// Those of the text.
pub fn text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(d: D) -> Result<T, D::Error> {
    let text = String::deserialize(d)?;
    text.parse().map_err(D::Error::custom)
}

/// Bytes as `0x` and hexadecimal digits.
fn hex<'de, D: Deserializer<'de>, const N: usize>(d: D) -> Result<[u8; N], D::Error> {
    let text = String::deserialize(d)?;
    let digits = text.starts_with("0x").then(|| unhex(&text)).flatten();
    digits.ok_or_else(|| D::Error::custom(format!("it is not 0x and {} digits", 2 * N)))
}

/// An answer: as it came, and what is used of it.
#[derive(Clone, Debug)]
pub struct Seen<T> {
    /// As it came.
    pub json: serde_json::Value,
    /// What is used of it.
    pub view: T,
}

impl<T: DeserializeOwned> Seen<T> {
    /// Reads an answer.
    ///
    /// # Errors
    ///
    /// If a field is missing or of another type.
    pub fn read(json: serde_json::Value) -> Result<Seen<T>, serde_json::Error> {
        let view = T::deserialize(&json)?;
        Ok(Seen { json, view })
    }
}

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// No miner has it.
    Waiting,
    /// Miners have it, or results wait for others.
    Running,
    /// The app's validator has not answered yet.
    Validating,
    /// It has a result.
    Completed,
    /// It ended without one.
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

    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Waiting => "waiting",
            TaskState::Running => "running",
            TaskState::Validating => "validating",
            TaskState::Completed => "completed",
            TaskState::Failed => "failed",
            TaskState::Cancelled => "cancelled",
        }
    }
}

/// Why something is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Reason {
    /// The kind, as a code that may be newer than this program.
    pub code: String,
    /// The particulars.
    pub detail: String,
}

impl Reason {
    /// The code, if this program knows it.
    pub fn known(&self) -> Option<Code> {
        self.code.parse().ok()
    }
}

/// How far a task says that it is.
#[derive(Clone, Debug, Deserialize)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// Of how much; 0 if it is not known.
    pub total: u64,
    /// The guest's words.
    pub note: String,
}

/// The essentials of a receipt in the log.
#[derive(Clone, Debug, Deserialize)]
pub struct ReceiptSummary {
    /// Its id.
    #[serde(deserialize_with = "text")]
    pub receipt: Hash,
    /// How the run ended.
    pub status: String,
    /// What was decided of it.
    pub decision: Option<String>,
}

/// One assignment of a task.
#[derive(Clone, Debug, Deserialize)]
pub struct Assignment {
    /// Leaf index of its log entry.
    pub leaf: u64,
    /// Which replica.
    pub replica: u32,
    /// Which attempt.
    pub attempt: u32,
    /// The miner's node key.
    pub miner: String,
    /// What became of it.
    pub state: String,
    /// Its receipt.
    pub receipt: Option<ReceiptSummary>,
}

/// The accepted result of a task.
#[derive(Clone, Debug, Deserialize)]
pub struct TaskResult {
    /// How the run ended.
    pub status: String,
    /// Hash of the output.
    #[serde(deserialize_with = "text")]
    pub output: Hash,
    /// Id of the first of the accepted receipts.
    #[serde(deserialize_with = "text")]
    pub receipt: Hash,
    /// The miner's words on how the run ended.
    pub detail: Option<String>,
}

/// A task.
#[derive(Clone, Debug, Deserialize)]
pub struct Task {
    /// The task id.
    #[serde(deserialize_with = "text")]
    pub task: Hash,
    /// Where it is.
    pub state: TaskState,
    /// Why it waits, or why it failed.
    pub reason: Option<Reason>,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// Hash of its exec spec.
    #[serde(deserialize_with = "text")]
    pub exec: Hash,
    /// Pay for a result, in 10^-12 token.
    pub price: String,
    /// Miners that run it, once the draw has decided.
    pub replicas: Option<u32>,
    /// Equal results that make one accepted.
    pub quorum: u32,
    /// Its assignments.
    pub assignments: Vec<Assignment>,
    /// The newest word of the guest.
    pub progress: Option<Progress>,
    /// The result, once there is one.
    pub result: Option<TaskResult>,
}

/// A task in a list.
#[derive(Clone, Debug, Deserialize)]
pub struct TaskSummary {
    /// The task id.
    #[serde(deserialize_with = "text")]
    pub task: Hash,
    /// Where it is.
    pub state: TaskState,
    /// Why it failed.
    pub code: Option<String>,
    /// When it was submitted.
    pub submitted_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
    /// How the accepted run ended.
    pub status: Option<String>,
}

/// A page of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct Page {
    /// The items.
    pub items: Vec<serde_json::Value>,
    /// Where the next page begins; absent on the last.
    #[serde(default)]
    pub next_page_token: Option<String>,
}

/// What happens to a task.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum TaskEvent {
    /// It is in another state, or waits for another reason.
    State {
        /// Where it is now.
        state: TaskState,
        /// Why.
        reason: Option<Reason>,
    },
    /// The guest said how far it is.
    Progress {
        /// How far it is.
        progress: Progress,
    },
    /// The guest emitted a part of its output, which nobody has confirmed.
    Chunk {
        /// The attempt that emitted it.
        attempt: u32,
        /// The bytes, in base64.
        chunk: String,
    },
    /// Events before this one are not to be had any more.
    Lost,
    /// What a newer coordinator may tell.
    #[serde(other)]
    Unknown,
}

/// A receipt with what is needed to check it.
#[derive(Clone, Debug, Deserialize)]
pub struct ReceiptView {
    /// The 520 bytes.
    #[serde(deserialize_with = "hex")]
    pub bytes: [u8; 520],
    /// The hashes behind its commitments.
    pub opening: Option<Opening>,
}

/// The hashes behind the commitments of a receipt.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Opening {
    /// Hash of the input.
    #[serde(deserialize_with = "text")]
    pub input: Hash,
    /// Hash of the output.
    #[serde(deserialize_with = "text")]
    pub output: Hash,
    /// Hash of the transcript.
    #[serde(deserialize_with = "text")]
    pub transcript: Hash,
}

/// A candidate of a draw.
#[derive(Clone, Debug, Deserialize)]
pub struct Candidate {
    /// Its node key.
    #[serde(deserialize_with = "hex")]
    pub miner: [u8; 32],
    /// Whether it can be drawn.
    pub eligible: bool,
    /// Weight in this draw.
    pub weight: u64,
    /// Chance of this draw, in parts per million.
    pub chance_ppm: u64,
    /// What rules it out, in words.
    pub lacks: Option<String>,
}

/// A draw.
#[derive(Clone, Debug, Deserialize)]
pub struct Draw {
    /// Hash of the assignment that came of it.
    #[serde(deserialize_with = "text")]
    pub assignment: Hash,
    /// Its leaf index.
    pub leaf: u64,
    /// Which replica.
    pub replica: u32,
    /// Which attempt.
    pub attempt: u32,
    /// Whether near miners were preferred.
    pub local: bool,
    /// Leaf index of the roster.
    pub roster_leaf: u64,
    /// Hash of the roster.
    #[serde(deserialize_with = "text")]
    pub roster: Hash,
    /// Its epoch.
    pub epoch: u64,
    /// The VRF's point.
    #[serde(deserialize_with = "hex")]
    pub vrf_point: [u8; 32],
    /// The VRF's proof.
    #[serde(deserialize_with = "hex")]
    pub vrf_proof: [u8; 64],
    /// The VRF's output.
    #[serde(deserialize_with = "text")]
    pub vrf_output: Hash,
    /// The number that was drawn.
    #[serde(deserialize_with = "text")]
    pub number: Hash,
    /// Those who could be drawn.
    pub eligible: Vec<Candidate>,
    /// The one that was drawn.
    #[serde(deserialize_with = "hex")]
    pub miner: [u8; 32],
}

/// All candidates by what rules each out.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Counts {
    /// Candidates in the roster.
    pub candidates: u32,
    /// Those that do not meet the requirements.
    pub unmet: u32,
    /// Those that held an assignment of this task before.
    pub held: u32,
    /// Those without a free slot.
    pub busy: u32,
    /// Those whose weight is 0.
    pub weightless: u32,
}

/// Why a task is where it is.
#[derive(Clone, Debug, Deserialize)]
pub struct Explain {
    /// The task.
    pub task: Task,
    /// The draws that were made for it.
    pub draws: Vec<Draw>,
    /// If it waits: candidates, with what rules each out.
    pub candidates: Vec<Candidate>,
    /// If it waits: all candidates, counted.
    pub counts: Option<Counts>,
    /// Tasks of all clients that wait.
    pub waiting: u64,
}

/// Blobs that a coordinator lacks.
#[derive(Clone, Debug, Deserialize)]
pub struct Missing {
    /// Their hashes.
    pub missing: Vec<HashText>,
}

/// A hash in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct HashText(#[serde(deserialize_with = "text")] pub Hash);
