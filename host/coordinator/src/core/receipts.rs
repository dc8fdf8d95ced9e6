//! Receipts come in.
//!
//! A miner numbers its receipts without gaps, and each names the one before. One is appended if it
//! follows the newest in the log, or the last of those after it that were refused for good, whose
//! numbers are used up too.

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::network::standing::Facts;
use adit_protocol::receipt::{Receipt, ReceiptBody};
use adit_protocol::status::Status;

use super::{Core, CoreError, Io};
use crate::Refusal;
use crate::core::{Appended, HandedIn};
use crate::order::{CheckedItem, HandInOrder};
use crate::planted::Planted;
use crate::store::{AssignmentRow, DocumentKind, ReceiptRow, StoreError};
use crate::view::{LeaseState, Reason};

impl Core {
    /// Takes receipts of a miner, in their order. One result for each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn hand_in(
        &mut self,
        now_ms: u64,
        node: [u8; 32],
        items: Vec<HandInOrder>,
        io: &mut Io<'_>,
    ) -> Result<Vec<HandedIn>, StoreError> {
        let mut results = Vec::with_capacity(items.len());
        let mut stopped: Option<Refusal> = None;
        for item in items {
            if let Some(refusal) = &stopped {
                results.push(HandedIn::Refused(refusal.clone(), Vec::new()));
                continue;
            }
            results.push(match item {
                HandInOrder::Checked(item) => {
                    let body = item.receipt.body.clone();
                    match self.receipt(now_ms, node, *item, io) {
                        Ok(appended) => HandedIn::Appended(appended),
                        Err(CoreError::Store(error)) => return Err(error),
                        Err(CoreError::Refused(refusal)) => {
                            self.counters.refused += 1;
                            if refusal.code != Code::SeqOutOfOrder {
                                self.note_refused(&node, &body);
                            }
                            HandedIn::Refused(refusal, Vec::new())
                        }
                    }
                }
                HandInOrder::Refused(body, refusal) => {
                    self.counters.refused += 1;
                    self.note_refused(&node, &body);
                    HandedIn::Refused(refusal, Vec::new())
                }
                HandInOrder::Stop(refusal, missing) => {
                    stopped = Some(Refusal::new(
                        Code::SeqOutOfOrder,
                        "a receipt before it in the request could not be taken yet",
                        "hand in that one first",
                    ));
                    HandedIn::Refused(refusal, missing)
                }
            });
        }
        Ok(results)
    }

    fn receipt(
        &mut self,
        now_ms: u64,
        node: [u8; 32],
        item: CheckedItem,
        io: &mut Io<'_>,
    ) -> Result<Appended, CoreError> {
        let body = &item.receipt.body;
        let id = body.id();
        let (last, _) = self.standing.newest(&node);
        // What has been appended has a number up to the newest.
        if body.miner == node
            && body.seq <= last
            && let Some(appended) = io.store.find_receipt(&id)?
        {
            return Ok(appended);
        }
        let own = (self.members.genesis.network_id(), self.own);
        if (body.network, body.coordinator) != own || body.miner != node {
            return Err(Refusal::new(
                Code::InvalidRequest,
                "the receipt is of another network, coordinator or miner",
                "hand in receipts to the coordinator that they name, with the key that signed them",
            )
            .into());
        }
        let assignment = self.assignment(&body.assignment, io)?;
        let unknown = || {
            Refusal::new(
                Code::UnknownAssignment,
                format!(
                    "this miner was not given the assignment {}",
                    body.assignment
                ),
                "compare it with the coordinator's log",
            )
        };
        let Some(row) = assignment.filter(|row| row.assignment.miner == node) else {
            return Err(unknown().into());
        };
        if (body.task, body.epoch) != (row.assignment.task, row.assignment.epoch) {
            return Err(Refusal::new(
                Code::InvalidRequest,
                "the receipt names another task or epoch than its assignment",
                "this is an error of the miner's program; please report it",
            )
            .into());
        }
        if let Some(leaf) = row.receipt {
            return self.second(now_ms, &row, leaf, &item.receipt, io);
        }
        self.follows(&node, body)?;
        Ok(self.append(now_ms, &row, id, item, io)?)
    }

    /// An assignment that was made, open or not.
    fn assignment(
        &self,
        hash: &Hash,
        io: &mut Io<'_>,
    ) -> Result<Option<AssignmentRow>, StoreError> {
        let task = self.open.get(hash).and_then(|id| self.tasks.get(id));
        let lease = task.and_then(|t| t.leases.iter().find(|l| l.row.hash == *hash));
        match lease {
            Some(lease) => Ok(Some(lease.row.clone())),
            None => io.store.find_assignment(hash),
        }
    }

    /// Another receipt is in the log for this assignment: both are kept as evidence.
    fn second(
        &mut self,
        now_ms: u64,
        row: &AssignmentRow,
        first_leaf: u64,
        second: &Receipt,
        io: &mut Io<'_>,
    ) -> Result<Appended, CoreError> {
        let Some(first) = io.store.receipt_at(first_leaf)? else {
            let what = format!("the receipt of leaf {first_leaf} is missing");
            return Err(StoreError::Damaged(what).into());
        };
        // The evidence shows what the miner signed; the countersignature of what is refused is not
        // given out.
        let mut second = second.clone();
        second.coordinator_signature = [0; 64];
        io.store
            .add_equivocation(&row.hash, &first, &second, now_ms)?;
        self.counters.equivocations += 1;
        Err(Refusal::new(
            Code::Equivocation,
            format!(
                "the receipt {} for this assignment is at leaf {first_leaf} of the log",
                first.id()
            ),
            "stop every miner with this key; was its state restored from a backup?",
        )
        .into())
    }

    /// Whether the receipt is the next one of its miner.
    fn follows(&self, node: &[u8; 32], body: &ReceiptBody) -> Result<(), Refusal> {
        let newest = self.standing.newest(node);
        let refused = self.miners.get(node).and_then(|m| m.refused);
        let after = |(seq, id): (u64, Hash)| (body.seq, body.prev) == (seq.saturating_add(1), id);
        if after(newest) || refused.is_some_and(after) {
            return Ok(());
        }
        let (seq, id) = refused.unwrap_or(newest);
        Err(Refusal::new(
            Code::SeqOutOfOrder,
            format!(
                "the receipt has number {} and follows {}; next comes number {} after {id}",
                body.seq,
                body.prev,
                seq.saturating_add(1)
            ),
            "hand in the receipts before it first, from the miner's journal",
        ))
    }

    /// The number of a receipt that was refused for good is used up.
    fn note_refused(&mut self, node: &[u8; 32], body: &ReceiptBody) {
        if body.miner == *node && self.follows(node, body).is_ok() {
            let end = (body.seq, body.id());
            self.miners.entry(*node).or_default().refused = Some(end);
        }
    }

    fn append(
        &mut self,
        now_ms: u64,
        assignment: &AssignmentRow,
        id: Hash,
        item: CheckedItem,
        io: &mut Io<'_>,
    ) -> Result<Appended, StoreError> {
        let CheckedItem {
            receipt,
            opening,
            mismatch,
            blobs,
            environments,
            detail,
            log,
        } = item;
        let node = receipt.body.miner;
        let countersignature = receipt.coordinator_signature;
        let entry = Entry::Receipt(Box::new(receipt.clone()));
        let leaf = self.log(&entry, &Facts::default(), &[node], io)?;
        for (hash, bytes) in &blobs {
            io.store.put_blob(hash, bytes, now_ms)?;
        }
        for (hash, bytes) in &environments {
            io.store
                .put_document(hash, DocumentKind::Environment, bytes)?;
        }
        let task = self.open.get(&assignment.hash).copied();
        let mut row = ReceiptRow {
            leaf,
            id,
            task: assignment.task,
            assignment: assignment.leaf,
            receipt,
            opening,
            in_time: task.is_some(),
            received_ms: now_ms,
            detail,
            log,
            decision: None,
        };
        io.store.add_receipt(&row)?;
        row.log = None;
        self.counters.receipts += 1;
        self.changed.insert(node);
        if let Some(miner) = self.miners.get_mut(&node) {
            miner.refused = None;
        }
        match task {
            Some(task) => self.in_time(now_ms, &task, row, mismatch, io)?,
            None => self.late(&assignment.assignment.task, row, io)?,
        }
        Ok(Appended {
            leaf,
            countersignature,
        })
    }

    /// A receipt whose lease was open.
    fn in_time(
        &mut self,
        now_ms: u64,
        id: &Hash,
        row: ReceiptRow,
        mismatch: Option<String>,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let hash = row.receipt.body.assignment;
        let (leaf, status, miner) = (row.leaf, row.receipt.body.status, row.receipt.body.miner);
        let detail = row.detail.clone();
        self.close(&hash, LeaseState::Reported, io)?;
        let Some(task) = self.tasks.get_mut(id) else {
            return Ok(());
        };
        let Some(lease) = task.lease(&hash) else {
            return Ok(());
        };
        let replica = lease.row.assignment.replica;
        lease.row.receipt = Some(leaf);
        lease.receipt = Some(row);
        let decision = match (&mismatch, status.attestable()) {
            (Some(_), _) => Decision::Mismatch,
            (None, false) => Decision::NotAttestable,
            (None, true) => {
                if let Some(replica) = task.replica(replica) {
                    replica.state = super::task::ReplicaState::Done;
                }
                return self.evaluate(now_ms, id, io);
            }
        };
        let miner = crate::view::hex(&miner);
        let why = match mismatch {
            Some(why) => format!("the receipt of {miner} does not fit the task: {why}"),
            None => match detail {
                Some(detail) => format!("the run of {miner} ended with {status}: {detail}"),
                None => format!("the run of {miner} ended with {status}"),
            },
        };
        let code = match status {
            // These say more than that the attempts failed, where they are the last word.
            Status::StackOverflow
            | Status::Deadline
            | Status::Unavailable
            | Status::CompileLimit
                if decision == Decision::NotAttestable =>
            {
                Code::from(status)
            }
            _ => Code::AttemptsExhausted,
        };
        task.failure = Some(Reason::new(code, why));
        self.verdict(id, &[(leaf, decision)], io)?;
        self.attempt_failed(now_ms, id, leaf, false);
        self.evaluate(now_ms, id, io)
    }

    /// A receipt whose lease had ended, or whose task is over.
    fn late(&mut self, id: &Hash, row: ReceiptRow, io: &mut Io<'_>) -> Result<(), StoreError> {
        use adit_protocol::network::entry::{Judged, Verdict};
        self.counters.late += 1;
        let decision = match self.options.planted {
            Some(Planted::PayLate) => Decision::Accepted,
            _ => Decision::Late,
        };
        let (leaf, node, assignment) = (
            row.leaf,
            row.receipt.body.miner,
            row.receipt.body.assignment,
        );
        let entry = Entry::Verdict(Verdict {
            task: *id,
            receipts: vec![Judged {
                receipt: row.id,
                decision,
            }],
            validator: None,
        });
        self.log(&entry, &Facts::default(), &[node], io)?;
        io.store.judge(leaf, decision)?;
        if let Some(lease) = self.tasks.get_mut(id).and_then(|t| t.lease(&assignment)) {
            lease.row.receipt = Some(leaf);
            lease.receipt = Some(ReceiptRow {
                decision: Some(decision),
                ..row
            });
        }
        Ok(())
    }

    /// Forgets which numbers were used up by refusals, as a restart does.
    #[cfg(test)]
    pub(super) fn forget_refused(&mut self, node: &[u8; 32]) {
        if let Some(miner) = self.miners.get_mut(node) {
            miner.refused = None;
        }
    }
}
