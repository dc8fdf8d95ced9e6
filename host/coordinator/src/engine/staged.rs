//! The store as the engine has it: writes are collected for the journal. What the tables may lack and
//! is looked up for each task is at hand; for other reads, which are rare, the tables catch up.

use std::collections::{HashMap, VecDeque};

use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::Acceptance;
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::receipt::Receipt;
use adit_protocol::signed::Signed;
use rusqlite::Connection;

use super::follower::Follower;
use crate::core::Appended;
use crate::store::batch::{Pair, Write};
use crate::store::sql;
use crate::store::{
    AssignmentRow, DocumentKind, MinerRow, ReceiptRow, RosterRow, Store, StoreError, TaskEnd,
    TaskRow,
};
use crate::view::LeaseState;

/// Tasks and idempotency keys that the tables may lack.
#[derive(Default)]
pub(super) struct Recent {
    tasks: HashMap<Hash, String>,
    requests: HashMap<(String, String), (Hash, Hash)>,
    /// What to forget, by the batch that it is in.
    order: VecDeque<(u64, Key)>,
}

enum Key {
    Task(Hash),
    Request((String, String)),
}

impl Recent {
    /// Forgets what the tables have.
    pub(super) fn forget(&mut self, applied: u64) {
        while self.order.front().is_some_and(|(at, _)| *at <= applied) {
            match self.order.pop_front() {
                Some((_, Key::Task(id))) => drop(self.tasks.remove(&id)),
                Some((_, Key::Request(key))) => drop(self.requests.remove(&key)),
                None => {}
            }
        }
    }
}

/// The writes of one batch.
pub(super) struct Staged<'a> {
    /// All so far.
    pub writes: Vec<Write>,
    /// The leaf index that the next entry gets.
    pub next: u64,
    /// Number of the batch.
    pub batch: u64,
    pub recent: &'a mut Recent,
    pub follower: &'a Follower,
    /// Reads the tables beside the follower.
    pub reader: &'a Connection,
}

impl Staged<'_> {
    fn put(&mut self, write: Write) -> Result<(), StoreError> {
        self.writes.push(write);
        Ok(())
    }
}

impl Store for Staged<'_> {
    fn next_leaf(&self) -> u64 {
        self.next
    }

    fn append(&mut self, entry: &Entry) -> Result<u64, StoreError> {
        let leaf = self.next;
        self.next = leaf.saturating_add(1);
        let entry = entry.encode();
        self.put(Write::Append { leaf, entry })?;
        Ok(leaf)
    }

    fn add_task(&mut self, task: &TaskRow) -> Result<(), StoreError> {
        self.recent.tasks.insert(task.id, task.client.clone());
        self.recent
            .order
            .push_back((self.batch, Key::Task(task.id)));
        self.put(Write::Task(Box::new(task.clone())))
    }

    fn set_replicas(&mut self, task: u64, target: u32, extra: u32) -> Result<(), StoreError> {
        self.put(Write::Replicas {
            task,
            target,
            extra,
        })
    }

    fn end_task(&mut self, task: u64, end: &TaskEnd) -> Result<(), StoreError> {
        let end = Box::new(end.clone());
        self.put(Write::End { task, end })
    }

    fn find_task(&mut self, id: &Hash) -> Result<Option<String>, StoreError> {
        match self.recent.tasks.get(id) {
            Some(client) => Ok(Some(client.clone())),
            None => sql::find_task(self.reader, id),
        }
    }

    fn add_assignment(&mut self, row: &AssignmentRow) -> Result<(), StoreError> {
        self.put(Write::Assignment(Box::new(row.clone())))
    }

    fn accept(&mut self, leaf: u64, acceptance: &Signed<Acceptance>) -> Result<(), StoreError> {
        let acceptance = acceptance.clone();
        self.put(Write::Accept { leaf, acceptance })
    }

    fn end_assignment(&mut self, leaf: u64, state: LeaseState) -> Result<(), StoreError> {
        self.put(Write::EndAssignment { leaf, state })
    }

    fn find_assignment(&mut self, hash: &Hash) -> Result<Option<AssignmentRow>, StoreError> {
        self.follower
            .with(&self.writes, |store| store.find_assignment(hash))
    }

    fn history(
        &mut self,
        task: u64,
    ) -> Result<Vec<(AssignmentRow, Option<ReceiptRow>)>, StoreError> {
        self.follower
            .with(&self.writes, |store| store.history(task))
    }

    fn add_receipt(&mut self, row: &ReceiptRow) -> Result<(), StoreError> {
        self.put(Write::Receipt(Box::new(row.clone())))
    }

    fn judge(&mut self, leaf: u64, decision: Decision) -> Result<(), StoreError> {
        self.put(Write::Judge { leaf, decision })
    }

    fn find_receipt(&mut self, id: &Hash) -> Result<Option<Appended>, StoreError> {
        self.follower
            .with(&self.writes, |store| store.find_receipt(id))
    }

    fn receipt_at(&mut self, leaf: u64) -> Result<Option<Receipt>, StoreError> {
        self.follower
            .with(&self.writes, |store| store.receipt_at(leaf))
    }

    fn add_equivocation(
        &mut self,
        assignment: &Hash,
        first: &Receipt,
        second: &Receipt,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.put(Write::Equivocation {
            assignment: *assignment,
            pair: Box::new(Pair {
                first: first.clone(),
                second: second.clone(),
                noticed_ms: now_ms,
            }),
        })
    }

    fn find_request(
        &mut self,
        client: &str,
        key: &str,
    ) -> Result<Option<(Hash, Hash)>, StoreError> {
        let both = (client.to_owned(), key.to_owned());
        match self.recent.requests.get(&both) {
            Some(found) => Ok(Some(*found)),
            None => sql::find_request(self.reader, client, key),
        }
    }

    fn add_request(
        &mut self,
        client: &str,
        key: &str,
        request: &Hash,
        task: &Hash,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let (client, key) = (client.to_owned(), key.to_owned());
        let both = (client.clone(), key.clone());
        self.recent.requests.insert(both.clone(), (*request, *task));
        self.recent
            .order
            .push_back((self.batch, Key::Request(both)));
        self.put(Write::Request {
            client,
            key,
            request: *request,
            task: *task,
            made_ms: now_ms,
        })
    }

    fn put_blob(&mut self, hash: &Hash, bytes: &[u8], now_ms: u64) -> Result<(), StoreError> {
        self.put(Write::Blob {
            hash: *hash,
            bytes: bytes.to_vec(),
            used_ms: now_ms,
        })
    }

    fn touch_blob(&mut self, hash: &Hash, now_ms: u64) -> Result<(), StoreError> {
        self.put(Write::Touch {
            hash: *hash,
            used_ms: now_ms,
        })
    }

    fn put_document(
        &mut self,
        hash: &Hash,
        kind: DocumentKind,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.put(Write::Document {
            hash: *hash,
            kind,
            bytes: bytes.to_vec(),
        })
    }

    fn put_membership(&mut self, hash: &Hash, signed: &[u8]) -> Result<(), StoreError> {
        self.put(Write::Membership {
            hash: *hash,
            signed: signed.to_vec(),
        })
    }

    fn add_roster(&mut self, row: &RosterRow) -> Result<(), StoreError> {
        self.put(Write::Roster(Box::new(row.clone())))
    }

    fn find_roster(&mut self, leaf: u64) -> Result<Option<RosterRow>, StoreError> {
        self.follower
            .with(&self.writes, |store| store.find_roster(leaf))
    }

    fn save_miner(&mut self, row: &MinerRow) -> Result<(), StoreError> {
        self.put(Write::Miner(*row))
    }

    fn save_escrow(&mut self, escrow: u128) -> Result<(), StoreError> {
        self.put(Write::Escrow(escrow.to_be_bytes()))
    }

    /// Nothing is put off here.
    fn write(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
