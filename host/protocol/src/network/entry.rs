//! The entries of a coordinator's log: a type byte and a body (protocol.md, "Log of a
//! coordinator").
//!
//! | type | body |
//! |---|---|
//! | 1 receipt | 520 bytes: every well-formed one, also those that a verdict rejects later |
//! | 2 verdict | [`Verdict`] |
//! | 3 roster | [`RosterEntry`] |
//! | 4 expiry | [`Expiry`] |
//! | 5 cancel | [`Cancel`] |
//! | 6 assignment | a signed [`Assignment`] |
//!
//! Verdicts, rosters, expiries and cancels bear no signature of their own: the log's checkpoint is
//! the coordinator's word for them.

use minicbor::{Decode, Encode};
use serde::Serialize;
use thiserror::Error;

use super::assignment::{Acceptance, Assignment};
use super::roster::RosterEntry;
use crate::cbor::fields::{self, Invalid};
use crate::cbor::{DecodeError, Document};
use crate::hash::Hash;
use crate::receipt::{Receipt, ReceiptError};
use crate::signed::Signed;

/// Most receipts of a verdict: one for each replica and each attempt at it.
const RECEIPTS_MAX: usize = 1024;

/// What a coordinator decided of a receipt; the number is the wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It is paid: it agreed with the quorum, or was trusted.
    #[n(0)]
    Accepted = 0,
    /// Others agreed on another result.
    #[n(1)]
    Outvoted = 1,
    /// Too few agreed on any result.
    #[n(2)]
    NoQuorum = 2,
    /// The app's validator refused the output.
    #[n(3)]
    RefusedByValidator = 3,
    /// It came after the end of its lease, or after the task was decided.
    #[n(4)]
    Late = 4,
    /// Its fields do not fit the task, the assignment or the blobs behind its commitments.
    #[n(5)]
    Mismatch = 5,
    /// It tells of a failure that nobody is paid the price for: see the status.
    #[n(6)]
    NotAttestable = 6,
    /// The task was cancelled.
    #[n(7)]
    TaskCancelled = 7,
}

/// The decision on one receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Judged {
    /// Id of the receipt.
    #[n(0)]
    pub receipt: Hash,
    /// What was decided.
    #[n(1)]
    pub decision: Decision,
}

/// What became of receipts of a task.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Verdict {
    /// Task id.
    #[n(0)]
    pub task: Hash,
    /// The decision on each receipt, in the order of their leaves; at least one.
    #[n(1)]
    pub receipts: Vec<Judged>,
    /// Hash of the validator component, where one was asked.
    #[n(2)]
    pub validator: Option<Hash>,
}

impl Document for Verdict {
    const NAME: &'static str = "verdict";
    const MAX_LEN: usize = 48 * 1024;
    const MAX_ITEMS: usize = RECEIPTS_MAX;

    fn check(&self) -> Result<(), Invalid> {
        match self.receipts.is_empty() {
            true => Invalid::new("receipts", "it is empty, and nothing was decided"),
            false => Ok(()),
        }
    }
}

/// A lease ended without a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Expiry {
    /// Hash of the assignment.
    #[n(0)]
    pub assignment: Hash,
    /// When it was noticed, in milliseconds since 1970.
    #[n(1)]
    pub at_ms: u64,
    /// The miner's acceptance; without one the expiry does not count against the miner.
    #[n(2)]
    pub acceptance: Option<Signed<Acceptance>>,
}

impl Document for Expiry {
    const NAME: &'static str = "expiry";
    const MAX_LEN: usize = 512;
    const MAX_BYTES: usize = 128;
}

/// Who cancelled a task; the number is the wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum CancelledBy {
    /// Its client.
    #[n(0)]
    Client = 0,
    /// The coordinator: the task could not be placed, or had no attempts left.
    #[n(1)]
    Coordinator = 1,
    /// Nobody: enough replicas agreed before this one was done.
    #[n(2)]
    Decided = 2,
}

/// Leases that ended because nobody waits for their results any more.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Cancel {
    /// Task id.
    #[n(0)]
    pub task: Hash,
    /// Who cancelled.
    #[n(1)]
    pub by: CancelledBy,
    /// When, in milliseconds since 1970.
    #[n(2)]
    pub at_ms: u64,
    /// Hashes of the assignments that it ends.
    #[n(3)]
    pub assignments: Vec<Hash>,
}

impl Document for Cancel {
    const NAME: &'static str = "cancel";
    const MAX_LEN: usize = 16 * 1024;

    fn check(&self) -> Result<(), Invalid> {
        fields::count("assignments", self.assignments.len(), 256)
    }
}

/// An entry of a coordinator's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type", content = "body")]
pub enum Entry {
    /// Type 1.
    Receipt(Box<Receipt>),
    /// Type 2.
    Verdict(Verdict),
    /// Type 3.
    Roster(RosterEntry),
    /// Type 4.
    Expiry(Expiry),
    /// Type 5.
    Cancel(Cancel),
    /// Type 6.
    Assignment(Signed<Assignment>),
}

impl Entry {
    /// The type byte and the body; at most 65,535 bytes, as an entry bundle can hold.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Entry::Receipt(receipt) => (1, receipt.to_bytes().to_vec()),
            Entry::Verdict(verdict) => (2, verdict.to_cbor()),
            Entry::Roster(roster) => (3, roster.to_cbor()),
            Entry::Expiry(expiry) => (4, expiry.to_cbor()),
            Entry::Cancel(cancel) => (5, cancel.to_cbor()),
            Entry::Assignment(assignment) => (6, assignment.to_cbor()),
        };
        let mut bytes = Vec::with_capacity(body.len() + 1);
        bytes.push(kind);
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads an entry. Signatures in it are not checked.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn decode(bytes: &[u8]) -> Result<Entry, EntryError> {
        let (kind, body) = bytes.split_first().ok_or(EntryError::Empty)?;
        Ok(match kind {
            1 => Entry::Receipt(Box::new(Receipt::from_bytes(body)?)),
            2 => Entry::Verdict(Verdict::from_cbor(body)?),
            3 => Entry::Roster(RosterEntry::from_cbor(body)?),
            4 => Entry::Expiry(Expiry::from_cbor(body)?),
            5 => Entry::Cancel(Cancel::from_cbor(body)?),
            6 => Entry::Assignment(Signed::from_cbor(body)?),
            other => return Err(EntryError::Type(*other)),
        })
    }
}

/// Why bytes are no entry of a coordinator's log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    /// There is not even a type.
    #[error("the entry is empty; hint: an entry begins with its type")]
    Empty,
    /// A type that this program does not know.
    #[error("the entry has type {0}, this program knows 1 to 6; hint: use a newer program")]
    Type(u8),
    /// The receipt is malformed.
    #[error("the entry holds no receipt: {0}")]
    Receipt(#[from] ReceiptError),
    /// The document is malformed.
    #[error("the entry is malformed: {0}")]
    Document(#[from] DecodeError),
}
