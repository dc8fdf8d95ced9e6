//! What a transaction has not written yet. Most tasks begin and end within one: their rows are written
//! once then, as they are in the end, and not once for each change.

use std::collections::BTreeMap;

use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;

use super::{AssignmentRow, MinerRow, ReceiptRow, TaskEnd, TaskRow};
use crate::view::LeaseState;

/// Rows by what they are keyed by, so that they are written in that order.
#[derive(Default)]
pub(super) struct Pending {
    /// Entries of the log, the first of which gets the log's next index.
    pub entries: Vec<Vec<u8>>,
    /// New tasks, by number, with their ends.
    pub tasks: BTreeMap<u64, (TaskRow, Option<TaskEnd>)>,
    /// New assignments, by leaf.
    pub leases: BTreeMap<u64, NewLease>,
    /// What became of assignments that are in the table, by leaf.
    pub changes: BTreeMap<u64, LeaseChange>,
    /// New receipts, by leaf.
    pub receipts: BTreeMap<u64, ReceiptRow>,
    /// Miners' records, by node key.
    pub miners: BTreeMap<[u8; 32], MinerRow>,
    /// The escrow committed so far.
    pub escrow: Option<u128>,
}

/// An assignment as it is written.
pub(super) struct NewLease {
    pub hash: Hash,
    pub task: u64,
    pub signed: Vec<u8>,
    pub eligible: Vec<u8>,
    pub state: LeaseState,
    /// The miner's acceptance.
    pub acceptance: Option<Vec<u8>>,
    /// Leaf of its receipt.
    pub receipt: Option<u64>,
}

/// What is to be changed of an assignment: `None` leaves what is there.
#[derive(Default)]
pub(super) struct LeaseChange {
    pub state: Option<LeaseState>,
    pub receipt: Option<u64>,
}

impl Pending {
    pub fn add_assignment(&mut self, row: &AssignmentRow) {
        let lease = NewLease {
            hash: row.hash,
            task: row.task,
            signed: row.signed.to_cbor(),
            eligible: row.eligible.clone(),
            state: row.state,
            acceptance: row.acceptance.as_ref().map(|signed| signed.to_cbor()),
            receipt: row.receipt,
        };
        self.leases.insert(row.leaf, lease);
    }

    pub fn end_assignment(&mut self, leaf: u64, state: LeaseState) {
        match self.leases.get_mut(&leaf) {
            Some(lease) => lease.state = state,
            None => self.changes.entry(leaf).or_default().state = Some(state),
        }
    }

    pub fn add_receipt(&mut self, row: ReceiptRow) {
        match self.leases.get_mut(&row.assignment) {
            Some(lease) => lease.receipt = Some(row.leaf),
            None => self.changes.entry(row.assignment).or_default().receipt = Some(row.leaf),
        }
        self.receipts.insert(row.leaf, row);
    }
}

#[cfg(test)]
mod tests;
