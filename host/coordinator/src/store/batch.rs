//! Writes as values: what a batch does, kept in the journal as it is done to the tables later.

use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::Acceptance;
use adit_protocol::network::entry::Decision;
use adit_protocol::receipt::Receipt;
use adit_protocol::signed::Signed;
use minicbor::{Decode, Encode};

use super::sql::SqlStore;
use super::{
    AssignmentRow, DocumentKind, MinerRow, ReceiptRow, RosterRow, Store as _, StoreError, TaskEnd,
    TaskRow, codec,
};
use crate::view::LeaseState;

/// One write. The numbers are those of the journal, and never change.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Write {
    /// An entry of the log, at its leaf.
    #[n(0)]
    Append {
        /// Its index.
        #[n(0)]
        leaf: u64,
        /// Its encoding.
        #[cbor(n(1), with = "minicbor::bytes")]
        entry: Vec<u8>,
    },
    /// A task is added.
    #[n(1)]
    Task(#[n(0)] Box<TaskRow>),
    /// A task's replicas are set.
    #[n(2)]
    Replicas {
        /// Number of the task.
        #[n(0)]
        task: u64,
        /// Replicas.
        #[n(1)]
        target: u32,
        /// Replicas beyond those.
        #[n(2)]
        extra: u32,
    },
    /// A task ends.
    #[n(3)]
    End {
        /// Number of the task.
        #[n(0)]
        task: u64,
        /// How.
        #[n(1)]
        end: Box<TaskEnd>,
    },
    /// An assignment is added.
    #[n(4)]
    Assignment(#[n(0)] Box<AssignmentRow>),
    /// The assignment at a leaf is accepted by its miner.
    #[n(5)]
    Accept {
        /// Its leaf.
        #[n(0)]
        leaf: u64,
        /// The miner's word.
        #[n(1)]
        acceptance: Signed<Acceptance>,
    },
    /// The assignment at a leaf ends.
    #[n(6)]
    EndAssignment {
        /// Its leaf.
        #[n(0)]
        leaf: u64,
        /// How.
        #[cbor(n(1), with = "codec::lease")]
        state: LeaseState,
    },
    /// A receipt is added.
    #[n(7)]
    Receipt(#[n(0)] Box<ReceiptRow>),
    /// The receipt at a leaf is decided on.
    #[n(8)]
    Judge {
        /// Its leaf.
        #[n(0)]
        leaf: u64,
        /// The decision.
        #[cbor(n(1), with = "codec::decision")]
        decision: Decision,
    },
    /// Two receipts of one assignment.
    #[n(9)]
    Equivocation {
        /// Hash of the assignment.
        #[n(0)]
        assignment: Hash,
        /// The one in the log, and the other, with when it was noticed.
        #[n(1)]
        pair: Box<Pair>,
    },
    /// An idempotency key.
    #[n(10)]
    Request {
        /// The client.
        #[n(0)]
        client: String,
        /// Its key.
        #[n(1)]
        key: String,
        /// Digest of the request.
        #[n(2)]
        request: Hash,
        /// The task.
        #[n(3)]
        task: Hash,
        /// When, in milliseconds since 1970.
        #[n(4)]
        made_ms: u64,
    },
    /// A small blob.
    #[n(11)]
    Blob {
        /// Its hash.
        #[n(0)]
        hash: Hash,
        /// The blob.
        #[cbor(n(1), with = "minicbor::bytes")]
        bytes: Vec<u8>,
        /// When it was used.
        #[n(2)]
        used_ms: u64,
    },
    /// A small blob is used again.
    #[n(12)]
    Touch {
        /// Its hash.
        #[n(0)]
        hash: Hash,
        /// When.
        #[n(1)]
        used_ms: u64,
    },
    /// A public document.
    #[n(13)]
    Document {
        /// Its hash.
        #[n(0)]
        hash: Hash,
        /// Its kind.
        #[cbor(n(1), with = "codec::kind")]
        kind: DocumentKind,
        /// The document.
        #[cbor(n(2), with = "minicbor::bytes")]
        bytes: Vec<u8>,
    },
    /// A signed membership.
    #[n(14)]
    Membership {
        /// Hash of the document without the signature.
        #[n(0)]
        hash: Hash,
        /// As it was signed.
        #[cbor(n(1), with = "minicbor::bytes")]
        signed: Vec<u8>,
    },
    /// A roster.
    #[n(15)]
    Roster(#[n(0)] Box<RosterRow>),
    /// A miner's record.
    #[n(16)]
    Miner(#[n(0)] MinerRow),
    /// The escrow committed so far, big-endian.
    #[n(17)]
    Escrow(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]),
}

/// Two receipts of one assignment.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Pair {
    /// The one in the log.
    #[cbor(n(0), with = "codec::receipt")]
    pub first: Receipt,
    /// The other.
    #[cbor(n(1), with = "codec::receipt")]
    pub second: Receipt,
    /// When it was noticed, in milliseconds since 1970.
    #[n(2)]
    pub noticed_ms: u64,
}

impl Write {
    /// Does it to the tables and the log.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Damaged`] if the log goes on at another leaf.
    pub fn apply(self, store: &mut SqlStore<'_>) -> Result<(), StoreError> {
        match self {
            Write::Append { leaf, entry } => match store.append_encoded(entry) {
                found if found == leaf => Ok(()),
                found => Err(StoreError::Damaged(format!(
                    "the log goes on at leaf {found}, and the journal at {leaf}"
                ))),
            },
            Write::Task(row) => {
                store.keep_task(*row);
                Ok(())
            }
            Write::Replicas {
                task,
                target,
                extra,
            } => store.set_replicas(task, target, extra),
            Write::End { task, end } => store.end_task(task, &end),
            Write::Assignment(row) => store.add_assignment(&row),
            Write::Accept { leaf, acceptance } => store.accept(leaf, &acceptance),
            Write::EndAssignment { leaf, state } => store.end_assignment(leaf, state),
            Write::Receipt(row) => {
                store.keep_receipt(*row);
                Ok(())
            }
            Write::Judge { leaf, decision } => store.judge(leaf, decision),
            Write::Equivocation { assignment, pair } => {
                store.add_equivocation(&assignment, &pair.first, &pair.second, pair.noticed_ms)
            }
            Write::Request {
                client,
                key,
                request,
                task,
                made_ms,
            } => store.add_request(&client, &key, &request, &task, made_ms),
            Write::Blob {
                hash,
                bytes,
                used_ms,
            } => store.put_blob(&hash, &bytes, used_ms),
            Write::Touch { hash, used_ms } => store.touch_blob(&hash, used_ms),
            Write::Document { hash, kind, bytes } => store.put_document(&hash, kind, &bytes),
            Write::Membership { hash, signed } => store.put_membership(&hash, &signed),
            Write::Roster(row) => store.add_roster(&row),
            Write::Miner(row) => store.save_miner(&row),
            Write::Escrow(bytes) => store.save_escrow(u128::from_be_bytes(bytes)),
        }
    }
}

/// What became durable at once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Counts up from 1, without gaps.
    pub number: u64,
    /// Its writes, in their order.
    pub writes: Vec<Write>,
    /// Bytes that they take in the journal.
    pub bytes: usize,
}
