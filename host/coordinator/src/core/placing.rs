//! Draws and assignments.

use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::{Assignment, Terms};
use adit_protocol::network::draw::DrawNumber;
use adit_protocol::network::entry::Entry;
use adit_protocol::network::roster::Candidate;
use adit_protocol::network::standing::{Drawn, Facts};
use adit_protocol::signed::Signable as _;

use super::queue::Waiting;
use super::task::{ReplicaState, TaskLease};
use super::{Core, Io, Output};
use crate::store::{AssignmentRow, StoreError};
use crate::view::LeaseState;

/// Draws that fall on nobody after which the rest is left to the next call.
const FAILED_DRAWS: usize = 64;

impl Core {
    /// Draws miners for what waits, as far as there is room. Whether there is more to try.
    pub(super) fn place(&mut self, now_ms: u64, io: &mut Io<'_>) -> Result<bool, StoreError> {
        if self.draining {
            return Ok(false);
        }
        let mut failed = 0;
        while let Some(waiting) = self.queue.next() {
            let Some(task) = self.tasks.get(&waiting.task) else {
                return Err(StoreError::Broken("a task waits that is not live".into()));
            };
            let Some((replica, attempt)) = task.first_waiting() else {
                return Err(StoreError::Broken("a task waits without a replica".into()));
            };
            let requirements = &task.spec.requirements;
            let drawn =
                self.standing
                    .draw_indexed(&task.id, requirements, attempt, replica, task.local);
            match drawn {
                Drawn::Miner {
                    number,
                    candidate,
                    eligible,
                } => self.assign(
                    now_ms, &waiting, replica, attempt, number, &candidate, eligible, io,
                )?,
                // Candidates have free slots, and all of them had this task before.
                Drawn::Nobody(_) => {
                    self.queue.set_aside(&waiting);
                    failed += 1;
                    if failed == FAILED_DRAWS {
                        return Ok(true);
                    }
                }
                Drawn::NoRoster => break,
            }
        }
        Ok(false)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one draw")]
    fn assign(
        &mut self,
        now_ms: u64,
        waiting: &Waiting,
        replica: u32,
        attempt: u32,
        number: DrawNumber,
        candidate: &Candidate,
        eligible: Vec<u8>,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let id = waiting.task;
        let (Some(task), Some(force)) = (self.tasks.get(&id), self.standing.in_force()) else {
            return Ok(());
        };
        let miner = candidate.node;
        let escrow = self.escrow.saturating_add(task.spec.price);
        let assignment = Assignment {
            genesis: self.members.genesis_hash,
            coordinator: self.own,
            miner,
            task: id,
            attempt,
            replica,
            roster: force.leaf,
            epoch: force.roster.epoch,
            local: task.local,
            issued_ms: now_ms,
            deadline_ms: now_ms
                .saturating_add(task.spec.deadline_ms)
                .saturating_add(self.options.grace_ms),
            escrow,
            terms: (self.members.genesis.ledger).map(|_| Terms::of(&task.spec)),
        };
        let mut disclosed = Facts::default();
        if self.options.audit {
            disclosed.disclose(&task.spec);
        }
        let (task_number, verification) = (task.number, task.spec.verification);
        let signed = assignment.sign(&self.node, &mut &mut *self.rng);
        let hash = signed.body_hash();
        let facts = Facts {
            own: !self.options.audit,
            ..disclosed
        };
        let streak = self.standing.record(&miner).streak;
        let leaf = self.log(&Entry::Assignment(signed.clone()), &facts, &[miner], io)?;
        let deadline_ms = assignment.deadline_ms;
        let row = AssignmentRow {
            leaf,
            hash,
            task: task_number,
            signed,
            assignment,
            eligible,
            state: LeaseState::Open,
            acceptance: None,
            receipt: None,
        };
        io.store.add_assignment(&row)?;

        self.escrow = escrow;
        self.escrow_changed = true;
        self.counters.drawn += 1;
        self.leases_due.insert((deadline_ms, hash));
        self.open.insert(hash, id);
        self.given(now_ms, miner, hash);
        io.out.push(Output::Wake(miner));

        let Some(task) = self.tasks.get_mut(&id) else {
            return Ok(());
        };
        task.leases.push(TaskLease {
            row,
            receipt: None,
            progress: 0,
        });
        if let Some(replica) = task.replica(replica) {
            replica.state = ReplicaState::Open;
            replica.next = attempt.saturating_add(1);
        }
        if verification.adaptive && replica == 0 {
            // Another miner may be trusted less than the one before it, but what was ordered for
            // that one stays.
            let replicas = u32::from(number.replicas(&verification, streak));
            let target = replicas.max(task.target.unwrap_or(0));
            if task.target != Some(target) {
                task.target = Some(target);
                task.grow(target.saturating_add(task.extra));
                io.store.set_replicas(task_number, target, task.extra)?;
            }
        }
        let done = task.first_waiting().is_none();
        self.queue.served(waiting);
        if done {
            self.queue.remove(waiting);
        }
        self.tell(now_ms, &id, io);
        Ok(())
    }

    /// Lets a task wait if a replica of it does.
    pub(super) fn enqueue(&mut self, id: &Hash) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        if task.first_waiting().is_none() || task.validating.is_some() {
            return;
        }
        let free = match self.queue.has_class(&task.class) {
            // Counted already.
            true => 0,
            false => self.standing.free(&task.spec.requirements),
        };
        self.queue
            .insert(&task.waiting(), &task.spec.requirements, || free);
    }

    /// Takes a task out of those that wait.
    pub(super) fn dequeue(&mut self, id: &Hash) {
        if let Some(task) = self.tasks.get(id) {
            self.queue.remove(&task.waiting());
        }
    }
}
