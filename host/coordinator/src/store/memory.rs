//! The operations in memory, for tests and simulations. What is written is kept at once; whoever
//! wants to drop a batch clones the store before it.

use std::collections::{BTreeMap, HashMap};

use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::Acceptance;
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::receipt::Receipt;
use adit_protocol::signed::Signed;

use super::{
    AssignmentRow, Document, DocumentKind, MinerRow, ReceiptRow, RosterRow, Snapshot, Store,
    StoreError, TaskEnd, TaskRow,
};
use crate::core::Appended;
use crate::view::LeaseState;

/// The store.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    /// The log's entries.
    pub entries: Vec<Vec<u8>>,
    /// Tasks by number, with their ends.
    pub tasks: BTreeMap<u64, (TaskRow, Option<TaskEnd>)>,
    numbers: HashMap<Hash, u64>,
    /// Assignments by leaf.
    pub assignments: BTreeMap<u64, AssignmentRow>,
    leaves: HashMap<Hash, u64>,
    /// Receipts by leaf.
    pub receipts: BTreeMap<u64, ReceiptRow>,
    ids: HashMap<Hash, u64>,
    /// Pairs of receipts for one assignment.
    pub equivocations: HashMap<Hash, (Receipt, Receipt)>,
    requests: HashMap<(String, String), (Hash, Hash)>,
    /// Small blobs.
    pub blobs: HashMap<Hash, Vec<u8>>,
    /// Public documents.
    pub documents: HashMap<Hash, Document>,
    /// Memberships as they were signed.
    pub memberships: HashMap<Hash, Vec<u8>>,
    rosters: BTreeMap<u64, RosterRow>,
    miners: BTreeMap<[u8; 32], MinerRow>,
    escrow: u128,
    /// After how many writes each further one fails; never, if absent.
    pub fails_after: Option<u64>,
}

impl MemoryStore {
    /// What a core goes on from.
    pub fn snapshot(&self) -> Snapshot {
        let live = |number: &u64| self.tasks.get(number).is_some_and(|(_, end)| end.is_none());
        let tasks = self.tasks.values().filter(|(_, end)| end.is_none());
        Snapshot {
            escrow: self.escrow,
            last_task: self.tasks.keys().next_back().copied().unwrap_or(0),
            roster: self.rosters.values().next_back().cloned(),
            miners: self.miners.values().copied().collect(),
            tasks: tasks.map(|(row, _)| row.clone()).collect(),
            assignments: self
                .assignments
                .values()
                .filter(|row| live(&row.task))
                .cloned()
                .collect(),
            receipts: self
                .receipts
                .values()
                .filter(|row| live(&row.task))
                .cloned()
                .collect(),
        }
    }

    /// A task by its id, with its end.
    pub fn task(&self, id: &Hash) -> Option<&(TaskRow, Option<TaskEnd>)> {
        self.tasks.get(self.numbers.get(id)?)
    }

    fn write(&mut self) -> Result<(), StoreError> {
        match &mut self.fails_after {
            None => Ok(()),
            Some(0) => Err(StoreError::Injected),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

fn missing(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} is not there"))
}

impl Store for MemoryStore {
    fn next_leaf(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    fn append(&mut self, entry: &Entry) -> Result<u64, StoreError> {
        self.write()?;
        let leaf = self.next_leaf();
        self.entries.push(entry.encode());
        Ok(leaf)
    }

    fn add_task(&mut self, task: &TaskRow) -> Result<(), StoreError> {
        self.write()?;
        let known = self.numbers.insert(task.id, task.number).is_some();
        if known
            || self
                .tasks
                .insert(task.number, (task.clone(), None))
                .is_some()
        {
            return Err(StoreError::Damaged(format!("{} is there twice", task.id)));
        }
        Ok(())
    }

    fn set_replicas(&mut self, task: u64, target: u32, extra: u32) -> Result<(), StoreError> {
        self.write()?;
        let (row, _) = self.tasks.get_mut(&task).ok_or_else(|| missing("a task"))?;
        (row.target, row.extra) = (Some(target), extra);
        Ok(())
    }

    fn end_task(&mut self, task: u64, end: &TaskEnd) -> Result<(), StoreError> {
        self.write()?;
        let (row, ended) = self.tasks.get_mut(&task).ok_or_else(|| missing("a task"))?;
        if ended.replace(end.clone()).is_some() {
            return Err(StoreError::Damaged(format!("{} ended twice", row.id)));
        }
        Ok(())
    }

    fn find_task(&mut self, id: &Hash) -> Result<Option<String>, StoreError> {
        Ok(self.task(id).map(|(row, _)| row.client.clone()))
    }

    fn add_assignment(&mut self, row: &AssignmentRow) -> Result<(), StoreError> {
        self.write()?;
        self.leaves.insert(row.hash, row.leaf);
        self.assignments.insert(row.leaf, row.clone());
        Ok(())
    }

    fn accept(&mut self, leaf: u64, acceptance: &Signed<Acceptance>) -> Result<(), StoreError> {
        self.write()?;
        let row = self.assignments.get_mut(&leaf);
        row.ok_or_else(|| missing("an assignment"))?.acceptance = Some(acceptance.clone());
        Ok(())
    }

    fn end_assignment(&mut self, leaf: u64, state: LeaseState) -> Result<(), StoreError> {
        self.write()?;
        let row = self.assignments.get_mut(&leaf);
        let row = row.ok_or_else(|| missing("an assignment"))?;
        if row.state != LeaseState::Open {
            return Err(StoreError::Damaged(format!("{} ended twice", row.hash)));
        }
        row.state = state;
        Ok(())
    }

    fn find_assignment(&mut self, hash: &Hash) -> Result<Option<AssignmentRow>, StoreError> {
        let row = self.leaves.get(hash).and_then(|l| self.assignments.get(l));
        Ok(row.cloned())
    }

    fn history(
        &mut self,
        task: u64,
    ) -> Result<Vec<(AssignmentRow, Option<ReceiptRow>)>, StoreError> {
        let rows = self.assignments.values().filter(|row| row.task == task);
        let receipt = |row: &AssignmentRow| self.receipts.get(&row.receipt?).cloned();
        Ok(rows.map(|row| (row.clone(), receipt(row))).collect())
    }

    fn add_receipt(&mut self, row: &ReceiptRow) -> Result<(), StoreError> {
        self.write()?;
        if self.ids.insert(row.id, row.leaf).is_some() {
            return Err(StoreError::Damaged(format!("{} is there twice", row.id)));
        }
        let assignment = self.assignments.get_mut(&row.assignment);
        assignment.ok_or_else(|| missing("an assignment"))?.receipt = Some(row.leaf);
        self.receipts.insert(row.leaf, row.clone());
        Ok(())
    }

    fn judge(&mut self, leaf: u64, decision: Decision) -> Result<(), StoreError> {
        self.write()?;
        let row = self.receipts.get_mut(&leaf);
        let row = row.ok_or_else(|| missing("a receipt"))?;
        if row.decision.replace(decision).is_some() {
            return Err(StoreError::Damaged(format!("{} is judged twice", row.id)));
        }
        Ok(())
    }

    fn find_receipt(&mut self, id: &Hash) -> Result<Option<Appended>, StoreError> {
        let row = self.ids.get(id).and_then(|leaf| self.receipts.get(leaf));
        Ok(row.map(|row| Appended {
            leaf: row.leaf,
            countersignature: row.receipt.coordinator_signature,
        }))
    }

    fn receipt_at(&mut self, leaf: u64) -> Result<Option<Receipt>, StoreError> {
        Ok(self.receipts.get(&leaf).map(|row| row.receipt.clone()))
    }

    fn add_equivocation(
        &mut self,
        assignment: &Hash,
        first: &Receipt,
        second: &Receipt,
        _now_ms: u64,
    ) -> Result<(), StoreError> {
        self.write()?;
        self.equivocations
            .entry(*assignment)
            .or_insert_with(|| (first.clone(), second.clone()));
        Ok(())
    }

    fn find_request(
        &mut self,
        client: &str,
        key: &str,
    ) -> Result<Option<(Hash, Hash)>, StoreError> {
        let key = (client.to_owned(), key.to_owned());
        Ok(self.requests.get(&key).copied())
    }

    fn add_request(
        &mut self,
        client: &str,
        key: &str,
        request: &Hash,
        task: &Hash,
        _now_ms: u64,
    ) -> Result<(), StoreError> {
        self.write()?;
        let key = (client.to_owned(), key.to_owned());
        self.requests.insert(key, (*request, *task));
        Ok(())
    }

    fn put_blob(&mut self, hash: &Hash, bytes: &[u8], _now_ms: u64) -> Result<(), StoreError> {
        self.write()?;
        self.blobs.insert(*hash, bytes.to_vec());
        Ok(())
    }

    fn touch_blob(&mut self, _hash: &Hash, _now_ms: u64) -> Result<(), StoreError> {
        self.write()
    }

    fn put_document(
        &mut self,
        hash: &Hash,
        kind: DocumentKind,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.write()?;
        let bytes = bytes.to_vec();
        self.documents.insert(*hash, Document { kind, bytes });
        Ok(())
    }

    fn put_membership(&mut self, hash: &Hash, signed: &[u8]) -> Result<(), StoreError> {
        self.write()?;
        self.memberships
            .entry(*hash)
            .or_insert_with(|| signed.to_vec());
        Ok(())
    }

    fn add_roster(&mut self, row: &RosterRow) -> Result<(), StoreError> {
        let bytes = row.roster.to_cbor();
        self.put_document(&row.entry.root, DocumentKind::Roster, &bytes)?;
        self.rosters.insert(row.leaf, row.clone());
        Ok(())
    }

    fn find_roster(&mut self, leaf: u64) -> Result<Option<RosterRow>, StoreError> {
        Ok(self.rosters.get(&leaf).cloned())
    }

    fn save_miner(&mut self, row: &MinerRow) -> Result<(), StoreError> {
        self.write()?;
        self.miners.insert(row.node, *row);
        Ok(())
    }

    fn save_escrow(&mut self, escrow: u128) -> Result<(), StoreError> {
        self.write()?;
        self.escrow = escrow;
        Ok(())
    }

    /// Keeps everything.
    fn write(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
