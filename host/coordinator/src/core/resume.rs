//! Beginning again from what was kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use adit_protocol::cbor::Document as _;
use adit_protocol::network::entry::Decision;
use adit_protocol::network::standing::{InForce, Unjudged};
use adit_protocol::task::TaskSpec;

use super::miners::Offer;
use super::queue::ClassKey;
use super::task::{ReplicaState, Task, TaskLease};
use super::{Core, Io};
use crate::planted::Planted;
use crate::store::{AssignmentRow, ReceiptRow, RosterRow, Snapshot, StoreError, TaskRow};
use crate::view::LeaseState;

impl Core {
    /// Goes on from what was kept. Miners have to say hello again; those in the roster in force
    /// count as active for as long as the coordinator's word to them can last.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn resume(
        &mut self,
        now_ms: u64,
        snapshot: Snapshot,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        self.escrow = snapshot.escrow;
        self.last_task = snapshot.last_task;
        let miners = snapshot.miners;
        let in_force = snapshot.roster.as_ref().map(|row| self.in_force(row));
        self.standing.restore(
            in_force.transpose()?,
            miners.iter().map(|m| (m.node, m.record)),
            miners.iter().map(|m| (m.node, m.newest)),
        );
        self.presume_active(now_ms, snapshot.roster);

        let mut assignments: HashMap<u64, Vec<AssignmentRow>> = HashMap::new();
        for row in snapshot.assignments {
            assignments.entry(row.task).or_default().push(row);
        }
        let mut receipts: HashMap<u64, Vec<ReceiptRow>> = HashMap::new();
        for row in snapshot.receipts {
            receipts.entry(row.task).or_default().push(row);
        }
        let mut tasks = snapshot.tasks;
        if self.options.planted == Some(Planted::ForgetAtRestart) {
            tasks.pop();
        }
        let mut live = Vec::with_capacity(tasks.len());
        for row in tasks {
            let assignments = assignments.remove(&row.number).unwrap_or_default();
            let receipts = receipts.remove(&row.number).unwrap_or_default();
            live.push(row.id);
            self.resume_task(now_ms, row, assignments, receipts)?;
        }
        self.roster_changed();
        for id in live {
            self.evaluate(now_ms, &id, io)?;
        }
        Ok(())
    }

    fn in_force(&self, row: &RosterRow) -> Result<InForce, StoreError> {
        let output = row.entry.output(
            &self.members.genesis_hash,
            &row.roster.beacon,
            row.leaf,
            &self.node.public(),
        );
        let output = output.map_err(|_| {
            StoreError::Damaged(format!("the proof of the roster of leaf {}", row.leaf))
        })?;
        Ok(InForce {
            leaf: row.leaf,
            output,
            roster: Arc::new(row.roster.clone()),
        })
    }

    fn presume_active(&mut self, now_ms: u64, roster: Option<RosterRow>) {
        let until_ms = now_ms.saturating_add(self.options.active_ms);
        for candidate in roster.into_iter().flat_map(|row| row.roster.candidates) {
            let miner = self.miners.entry(candidate.node).or_default();
            miner.presumed_locality = Some(candidate.locality);
            let offer = Some(Offer {
                software: None,
                engine: None,
                slots: candidate.slots,
                cpu: candidate.cpu,
                gpu_memory_bytes: candidate.gpu_memory_bytes,
                environments: candidate.environments,
            });
            self.active += usize::from(std::mem::replace(&mut miner.offer, offer).is_none());
            miner.active_until_ms = until_ms;
            self.activity_due.insert((until_ms, candidate.node));
        }
        self.roster_stale = true;
    }

    fn resume_task(
        &mut self,
        now_ms: u64,
        row: TaskRow,
        assignments: Vec<AssignmentRow>,
        receipts: Vec<ReceiptRow>,
    ) -> Result<(), StoreError> {
        let spec = TaskSpec::from_cbor(&row.spec)
            .map_err(|error| StoreError::Damaged(format!("the spec of {}: {error}", row.id)))?;
        let client = self.client(&row.client);
        *self.in_flight.entry(Arc::clone(&client)).or_default() += 1;
        let mut task = Task {
            id: row.id,
            number: row.number,
            client,
            class: ClassKey::new(&spec.requirements),
            local: row.local,
            validator: row.validator,
            submitted_ms: row.submitted_ms,
            expires_ms: row.expires_ms,
            target: row.target,
            extra: row.extra,
            trace: row.trace,
            replicas: Vec::new(),
            leases: Vec::new(),
            validating: None,
            ask_ms: 0,
            failure: None,
            progress: None,
            context: None,
            told: None,
            spec,
        };
        task.grow(row.target.unwrap_or(1).saturating_add(row.extra));
        let mut by_leaf: BTreeMap<u64, ReceiptRow> =
            receipts.into_iter().map(|r| (r.leaf, r)).collect();
        for row in assignments {
            let mut receipt = row.receipt.and_then(|leaf| by_leaf.remove(&leaf));
            if let Some(receipt) = &mut receipt {
                receipt.log = None;
            }
            self.resume_lease(&mut task, row, receipt);
        }
        if now_ms >= task.expires_ms {
            for replica in &mut task.replicas {
                if replica.state == ReplicaState::Waiting {
                    replica.state = ReplicaState::Dead;
                }
            }
        }
        self.tasks_due.insert((task.expires_ms, task.id));
        self.tasks.insert(task.id, task);
        Ok(())
    }

    fn resume_lease(&mut self, task: &mut Task, row: AssignmentRow, receipt: Option<ReceiptRow>) {
        let a = &row.assignment;
        let open = row.state == LeaseState::Open;
        self.standing.restore_lease(a.clone(), row.leaf, open);
        let judged = receipt.as_ref().and_then(|r| r.decision);
        if let Some(receipt) = receipt.as_ref().filter(|r| r.decision.is_none()) {
            let body = &receipt.receipt.body;
            let unjudged = Unjudged {
                task: body.task,
                miner: body.miner,
                status: body.status,
                in_time: receipt.in_time,
            };
            self.standing.restore_unjudged(receipt.id, unjudged);
        }
        if open {
            self.open.insert(row.hash, task.id);
            self.leases_due.insert((a.deadline_ms, row.hash));
            // Whether it was given out is not known: it is not taken back.
            let miner = self.miners.entry(a.miner).or_default();
            miner.open.insert(row.hash);
        }
        let attempts_max = self.options.attempts_max;
        let attempt = a.attempt;
        if let Some(replica) = task.replica(a.replica) {
            replica.next = replica.next.max(attempt.saturating_add(1));
            match (row.state, judged) {
                (LeaseState::Open, _) => replica.state = ReplicaState::Open,
                (LeaseState::Reported, None | Some(Decision::Accepted)) => {
                    replica.state = ReplicaState::Done;
                }
                (LeaseState::Cancelled, _) => replica.failed(true, attempts_max, true),
                (LeaseState::Reported | LeaseState::Expired, _) => {
                    replica.failed(false, attempts_max, true);
                }
            }
        }
        task.leases.push(TaskLease {
            row,
            receipt,
            progress: 0,
        });
    }

    /// What is needed of the replica states to compare two cores in tests.
    #[cfg(test)]
    #[expect(clippy::type_complexity, reason = "for one test")]
    pub(super) fn fingerprint(
        &self,
    ) -> Vec<(
        adit_protocol::hash::Hash,
        Vec<super::task::Replica>,
        usize,
        Option<u32>,
        u32,
    )> {
        let mut all: Vec<_> = self
            .tasks
            .values()
            .map(|t| (t.id, t.replicas.clone(), t.leases.len(), t.target, t.extra))
            .collect();
        all.sort_by_key(|(id, ..)| *id);
        all
    }

    /// The tasks that wait, with the draw that comes next for each.
    #[cfg(test)]
    pub(super) fn waiting_tasks(
        &self,
    ) -> Vec<(
        adit_protocol::hash::Hash,
        (u32, u32, adit_protocol::task::Requirements, bool),
    )> {
        let waiting = self.tasks.values().filter_map(|task| {
            let (replica, attempt) = task.first_waiting()?;
            let requirements = task.spec.requirements.clone();
            Some((task.id, (replica, attempt, requirements, task.local)))
        });
        waiting.collect()
    }
}
