//! What a coordinator keeps, as operations: the state machine in [`crate::core`] calls them, and a
//! batch of them becomes durable as one.
//!
//! | part | subject |
//! |---|---|
//! | this file | the operations and their rows |
//! | [`schema`] | the tables |
//! | [`sql`], `pending` | the operations on SQLite, inside a transaction; rows that it writes at its end |
//! | [`batch`], `codec` | writes as values, and their encoding |
//! | [`journal`] | batches, durable at once |
//! | [`tables`] | tables and log together, which get the batches later |
//! | [`load`] | reading back what was kept, at the start |
//! | [`equivocations`] | what miners signed twice, as evidence |
//! | [`read`] | reads of other threads, on connections of their own |
//! | [`rosters`] | rosters, as what changed in them |
//! | `rows` | rows of the tables as values |
//! | [`memory`] | the operations in memory, for tests and simulations |
//!
//! A batch is acknowledged once it is in the journal: one record, whatever the batch touches. The tables
//! have some twenty indexes, so that a transaction of theirs costs as much for one task as for
//! fifty; they get the batches of some milliseconds in one. Reads that have to see what was
//! acknowledged have the tables catch up first. A start applies what the tables lack.
//!
//! Trusted: whoever can write to the database can change what the coordinator believes. What it
//! signed is in the log, which an auditor compares with itself.

pub mod batch;
mod codec;
pub mod equivocations;
pub mod journal;
pub mod load;
pub mod memory;
mod pending;
pub mod read;
pub mod rosters;
mod rows;
pub mod schema;
pub mod sql;
pub mod tables;

use std::path::PathBuf;

use adit_net::Stopped;
use adit_net::db::code_of;
use adit_net::log::LogError;
use adit_net::trace::TraceContext;
use adit_net::wal::WalError;
use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::{Acceptance, Assignment};
use adit_protocol::network::draw::Record;
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::network::roster::{Roster, RosterEntry};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::Receipt;
use adit_protocol::signed::Signed;
use minicbor::{Decode, Encode};
use thiserror::Error;

use crate::core::Appended;
use crate::view::{LeaseState, TaskState};

/// The database's file in a coordinator's data folder.
pub const DATABASE: &str = "coordinator.db";

/// Why the store failed. Nothing of the batch is kept then, and the engine stops.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite failed.
    #[error("the database failed: {0}; hint: is the disk full, or broken?")]
    Sqlite(#[from] rusqlite::Error),
    /// The log failed.
    #[error("the log failed: {0}")]
    Log(#[from] LogError),
    /// The journal failed.
    #[error("the journal failed: {0}")]
    Wal(#[from] WalError),
    /// There is a journal that an earlier version of this program wrote.
    #[error(
        "{} was written by an earlier version, which may have acknowledged what is only there; hint: start the coordinator once more with that version, end it in order, and remove the file", .0.display()
    )]
    Earlier(PathBuf),
    /// A row is not what was written.
    #[error(
        "the database is damaged: {0}; hint: nothing was changed; restore a backup, and see `adit explain state-corrupt`"
    )]
    Damaged(String),
    /// The database is that of another coordinator or network.
    #[error(
        "the database is of {what} {found}, and the coordinator is started for {expected}; hint: give it the state folder that belongs to this key and network"
    )]
    Foreign {
        /// What differs.
        what: &'static str,
        /// The one that the database is of.
        found: String,
        /// The one that the coordinator was started for.
        expected: String,
    },
    /// The membership is older than one that was used before.
    #[error(
        "the membership has version {found}, and version {known} was in use before; hint: get the network's file anew"
    )]
    OldMembership {
        /// The version given.
        found: u64,
        /// The version that was in use.
        known: u64,
    },
    /// An entry that the coordinator was about to log breaks a rule: an error of this program. What
    /// an auditor would hold against it is not written.
    #[error("an entry was about to be logged that breaks a rule: {0}; hint: please report this")]
    Broken(String),
    /// The tables could not follow the journal.
    #[error("{}", .0.why)]
    Behind(Stopped),
    /// A test or a simulation lets the store fail here.
    #[error("the store was told to fail")]
    Injected,
}

impl StoreError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            StoreError::Sqlite(error) => code_of(error),
            StoreError::Log(error) => error.code(),
            StoreError::Wal(error) => error.code(),
            StoreError::Earlier(_) => Code::VersionMismatch,
            StoreError::Damaged(_) | StoreError::Foreign { .. } => Code::StateCorrupt,
            StoreError::OldMembership { .. } => Code::BadEncoding,
            StoreError::Broken(_) | StoreError::Injected => Code::Internal,
            StoreError::Behind(stopped) => stopped.code,
        }
    }
}

impl From<&StoreError> for Stopped {
    fn from(error: &StoreError) -> Stopped {
        Stopped {
            code: error.code(),
            why: error.to_string(),
        }
    }
}

/// A kind of public document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// A roster that a log entry names.
    Roster,
    /// A membership that a roster names.
    Membership,
    /// An environment that a receipt or a hello names.
    Environment,
}

/// A public document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its kind.
    pub kind: DocumentKind,
    /// Its encoding.
    pub bytes: Vec<u8>,
}

/// A task that is taken.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TaskRow {
    /// Counts up with each task of this coordinator, from 1.
    #[n(0)]
    pub number: u64,
    /// The task id.
    #[n(1)]
    pub id: Hash,
    /// The client.
    #[n(2)]
    pub client: String,
    /// The task spec, encoded.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub spec: Vec<u8>,
    /// The exec spec, encoded.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub exec: Vec<u8>,
    /// Blobs that its miners are sent along.
    #[n(5)]
    pub inline: Vec<Hash>,
    /// Whether near miners are preferred.
    #[n(6)]
    pub local: bool,
    /// The component that has to accept the output.
    #[n(7)]
    pub validator: Option<Hash>,
    /// When it was submitted.
    #[n(8)]
    pub submitted_ms: u64,
    /// Until when it may wait for miners.
    #[n(9)]
    pub expires_ms: u64,
    /// Replicas, once that is decided.
    #[n(10)]
    pub target: Option<u32>,
    /// Replicas beyond those, because results differed.
    #[n(11)]
    pub extra: u32,
    /// The step of a trace that the client's request was.
    #[cbor(n(12), with = "codec::trace")]
    pub trace: Option<TraceContext>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TaskEnd {
    /// A final state.
    #[cbor(n(0), with = "codec::task_state")]
    pub state: TaskState,
    /// When.
    #[n(1)]
    pub ended_ms: u64,
    /// Why, if there is no result.
    #[cbor(n(2), with = "codec::reason")]
    pub reason: Option<(Code, String)>,
    /// Leaf index of the first accepted receipt, and how many agreed.
    #[n(3)]
    pub result: Option<(u64, u32)>,
}

/// An assignment that is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentRow {
    /// Leaf index of its entry.
    pub leaf: u64,
    /// Its hash.
    pub hash: Hash,
    /// Number of its task.
    pub task: u64,
    /// The signed assignment.
    pub signed: Signed<Assignment>,
    /// The same, decoded.
    pub assignment: Assignment,
    /// Which candidates of the roster could be drawn: bit `i % 8` of byte `i / 8` for the i-th.
    pub eligible: Vec<u8>,
    /// What became of it.
    pub state: LeaseState,
    /// The miner's acceptance.
    pub acceptance: Option<Signed<Acceptance>>,
    /// Leaf index of its receipt, in time or late.
    pub receipt: Option<u64>,
}

/// A receipt that is logged.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReceiptRow {
    /// Leaf index of its entry.
    #[n(0)]
    pub leaf: u64,
    /// Its id.
    #[n(1)]
    pub id: Hash,
    /// Number of its task.
    #[n(2)]
    pub task: u64,
    /// Leaf index of its assignment.
    #[n(3)]
    pub assignment: u64,
    /// The receipt.
    #[cbor(n(4), with = "codec::receipt")]
    pub receipt: Receipt,
    /// The hashes behind its commitments.
    #[n(5)]
    pub opening: ReceiptOpening,
    /// Whether its lease was open.
    #[n(6)]
    pub in_time: bool,
    /// When it came.
    #[n(7)]
    pub received_ms: u64,
    /// The miner's words.
    #[n(8)]
    pub detail: Option<String>,
    /// The end of the guest's stderr.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub log: Option<Vec<u8>>,
    /// What was decided of it.
    #[cbor(n(10), with = "codec::decided")]
    pub decision: Option<Decision>,
}

/// A roster that is logged.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct RosterRow {
    /// Leaf index of its entry.
    #[n(0)]
    pub leaf: u64,
    /// The entry.
    #[n(1)]
    pub entry: RosterEntry,
    /// The roster.
    #[n(2)]
    pub roster: Roster,
}

/// What is kept of a miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MinerRow {
    /// Its node key.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub node: [u8; 32],
    /// How its work turned out.
    #[cbor(n(1), with = "codec::record")]
    pub record: Record,
    /// Number and id of its newest receipt.
    #[n(2)]
    pub newest: (u64, Hash),
}

/// What was kept, to begin again from.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Escrow committed so far.
    pub escrow: u128,
    /// Number of the newest task.
    pub last_task: u64,
    /// The newest roster.
    pub roster: Option<RosterRow>,
    /// All miners that ever worked.
    pub miners: Vec<MinerRow>,
    /// Tasks that have not ended, ascending by number.
    pub tasks: Vec<TaskRow>,
    /// Their assignments, ascending by leaf.
    pub assignments: Vec<AssignmentRow>,
    /// Their receipts, ascending by leaf.
    pub receipts: Vec<ReceiptRow>,
}

/// The operations. Those that write belong to one batch, which becomes durable as a whole or not at
/// all; the caller ends it.
pub trait Store {
    /// The leaf index that the next entry gets.
    fn next_leaf(&self) -> u64;
    /// Appends to the log; its leaf index.
    ///
    /// # Errors
    /// As all operations here: [`StoreError`], after which nothing of the batch is kept.
    fn append(&mut self, entry: &Entry) -> Result<u64, StoreError>;

    /// Adds a task.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_task(&mut self, task: &TaskRow) -> Result<(), StoreError>;
    /// Sets how many replicas a task has.
    ///
    /// # Errors
    /// [`StoreError`].
    fn set_replicas(&mut self, task: u64, target: u32, extra: u32) -> Result<(), StoreError>;
    /// Ends a task.
    ///
    /// # Errors
    /// [`StoreError`].
    fn end_task(&mut self, task: u64, end: &TaskEnd) -> Result<(), StoreError>;
    /// The client of a task that was added, by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    fn find_task(&mut self, id: &Hash) -> Result<Option<String>, StoreError>;

    /// Adds an assignment.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_assignment(&mut self, row: &AssignmentRow) -> Result<(), StoreError>;
    /// Keeps the miner's acceptance of the assignment at a leaf.
    ///
    /// # Errors
    /// [`StoreError`].
    fn accept(&mut self, leaf: u64, acceptance: &Signed<Acceptance>) -> Result<(), StoreError>;
    /// Ends the assignment at a leaf.
    ///
    /// # Errors
    /// [`StoreError`].
    fn end_assignment(&mut self, leaf: u64, state: LeaseState) -> Result<(), StoreError>;
    /// An assignment by its hash.
    ///
    /// # Errors
    /// [`StoreError`].
    fn find_assignment(&mut self, hash: &Hash) -> Result<Option<AssignmentRow>, StoreError>;
    /// All assignments of a task, with the receipts that belong to them, ascending by leaf.
    ///
    /// # Errors
    /// [`StoreError`].
    fn history(
        &mut self,
        task: u64,
    ) -> Result<Vec<(AssignmentRow, Option<ReceiptRow>)>, StoreError>;

    /// Adds a receipt and names it in its assignment.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_receipt(&mut self, row: &ReceiptRow) -> Result<(), StoreError>;
    /// Keeps what was decided of the receipt at a leaf.
    ///
    /// # Errors
    /// [`StoreError`].
    fn judge(&mut self, leaf: u64, decision: Decision) -> Result<(), StoreError>;
    /// A receipt by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    fn find_receipt(&mut self, id: &Hash) -> Result<Option<Appended>, StoreError>;
    /// The receipt at a leaf, unless its task was pruned.
    ///
    /// # Errors
    /// [`StoreError`].
    fn receipt_at(&mut self, leaf: u64) -> Result<Option<Receipt>, StoreError>;
    /// Keeps two receipts of one assignment as evidence.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_equivocation(
        &mut self,
        assignment: &Hash,
        first: &Receipt,
        second: &Receipt,
        now_ms: u64,
    ) -> Result<(), StoreError>;

    /// The request digest and the task of an idempotency key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn find_request(&mut self, client: &str, key: &str)
    -> Result<Option<(Hash, Hash)>, StoreError>;
    /// Keeps an idempotency key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_request(
        &mut self,
        client: &str,
        key: &str,
        request: &Hash,
        task: &Hash,
        now_ms: u64,
    ) -> Result<(), StoreError>;

    /// Keeps a small blob, or notes that it was used again.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put_blob(&mut self, hash: &Hash, bytes: &[u8], now_ms: u64) -> Result<(), StoreError>;
    /// Notes that a small blob was used again, if it is here.
    ///
    /// # Errors
    /// [`StoreError`].
    fn touch_blob(&mut self, hash: &Hash, now_ms: u64) -> Result<(), StoreError>;
    /// Keeps a public document.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put_document(
        &mut self,
        hash: &Hash,
        kind: DocumentKind,
        bytes: &[u8],
    ) -> Result<(), StoreError>;

    /// Keeps a membership as its authority signed it, by the hash of the document without the
    /// signature.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put_membership(&mut self, hash: &Hash, signed: &[u8]) -> Result<(), StoreError>;

    /// Keeps a roster.
    ///
    /// # Errors
    /// [`StoreError`].
    fn add_roster(&mut self, row: &RosterRow) -> Result<(), StoreError>;
    /// A roster by its leaf.
    ///
    /// # Errors
    /// [`StoreError`].
    fn find_roster(&mut self, leaf: u64) -> Result<Option<RosterRow>, StoreError>;
    /// Keeps a miner's record and newest receipt.
    ///
    /// # Errors
    /// [`StoreError`].
    fn save_miner(&mut self, row: &MinerRow) -> Result<(), StoreError>;
    /// Keeps the escrow committed so far.
    ///
    /// # Errors
    /// [`StoreError`].
    fn save_escrow(&mut self, escrow: u128) -> Result<(), StoreError>;

    /// Writes what was put off, since it may change once more in the batch. To be called before its
    /// end.
    ///
    /// # Errors
    /// [`StoreError`].
    fn write(&mut self) -> Result<(), StoreError>;
}

/// Before which times, in milliseconds since 1970, things are pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// Tasks that ended.
    pub tasks_ms: u64,
    /// Blobs that were used last.
    pub blobs_ms: u64,
    /// Idempotency keys.
    pub requests_ms: u64,
}
