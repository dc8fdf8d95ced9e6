//! Quorum, verdicts, further attempts, and how tasks end.

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::{
    Cancel, CancelledBy, Decision, Entry, Expiry, Judged, Verdict,
};
use adit_protocol::network::standing::Facts;

use super::context::Validation;
use super::task::{ReplicaState, ResultKey};
use super::{Core, Io, Output};
use crate::store::{StoreError, TaskEnd};
use crate::view::{LeaseState, Reason, TaskState, TaskView};

/// Most assignments of one cancel entry.
const CANCEL_MAX: usize = 256;

impl Core {
    /// Looks at what a task has: a result, a chance of one, or neither.
    pub(super) fn evaluate(
        &mut self,
        now_ms: u64,
        id: &Hash,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let Some(task) = self.tasks.get_mut(id) else {
            return Ok(());
        };
        if task.validating.is_some() {
            return Ok(());
        }
        let quorum = task.quorum();
        let agreed = task.agreed();
        let most = agreed.map_or(0, |(_, count)| count);
        if let (Some((key, count)), Some(_)) = (agreed, task.target)
            && count >= quorum
        {
            if task.validator.is_none() {
                return self.accept(now_ms, id, key, io);
            }
            task.validating = Some(key);
            self.dequeue(id);
            self.ask_validator(now_ms, *id, io);
            self.tell(now_ms, id, io);
            return Ok(());
        }
        let coming = task.count(ReplicaState::Waiting) + task.count(ReplicaState::Open);
        // As long as the first draw has to tell how many replicas there are, one may be enough.
        let quorum = task.target.map_or(1, |_| quorum);
        if most.saturating_add(coming) < quorum {
            let short = quorum - most - coming;
            let dead = task.count(ReplicaState::Dead);
            let room = self.options.extra_max.saturating_sub(task.extra);
            if dead > 0 || room < short || now_ms >= task.expires_ms {
                return self.give_up(now_ms, id, io);
            }
            // Results differ: others have to tell which is right.
            task.extra += short;
            let target = task.target.unwrap_or(1);
            task.grow(target.saturating_add(task.extra));
            let (number, extra) = (task.number, task.extra);
            io.store.set_replicas(number, target, extra)?;
        }
        self.enqueue(id);
        self.tell(now_ms, id, io);
        Ok(())
    }

    /// Asks the validator about the result that a task's miners agree on; again later, if no
    /// answer comes.
    pub(super) fn ask_validator(&mut self, now_ms: u64, id: Hash, io: &mut Io<'_>) {
        let Some(task) = self.tasks.get(&id) else {
            return;
        };
        let (Some(key), Some(validator)) = (task.validating, task.validator) else {
            return;
        };
        let mut receipts = task.unjudged().into_iter();
        let Some(receipt) = receipts.find(|r| ResultKey::of(r) == key) else {
            return;
        };
        io.out.push(Output::Validate(Validation {
            task: id,
            validator,
            exec: task.spec.exec,
            status: receipt.receipt.body.status,
            output: receipt.opening.output,
        }));
        let again = now_ms.saturating_add(self.options.validate_ms);
        self.validations_due.insert((again, id));
        if let Some(task) = self.tasks.get_mut(&id) {
            task.ask_ms = again;
        }
    }

    /// The validator has answered. Whether anyone waited for that.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn validated(
        &mut self,
        now_ms: u64,
        id: &Hash,
        output: &Hash,
        result: Result<(), String>,
        io: &mut Io<'_>,
    ) -> Result<bool, StoreError> {
        let Some(task) = self.tasks.get_mut(id) else {
            return Ok(false);
        };
        let Some(key) = task.validating else {
            return Ok(false);
        };
        let members: Vec<(u64, Hash)> = task
            .unjudged()
            .into_iter()
            .filter(|r| ResultKey::of(r) == key)
            .map(|r| (r.leaf, r.opening.output))
            .collect();
        if !members.iter().any(|(_, hash)| hash == output) {
            return Ok(false);
        }
        task.validating = None;
        let ask_ms = task.ask_ms;
        self.validations_due.remove(&(ask_ms, *id));
        let Err(why) = result else {
            self.accept(now_ms, id, key, io)?;
            return Ok(true);
        };
        task.failure = Some(Reason::new(
            Code::AttemptsExhausted,
            format!("the app's validator refused the output: {why}"),
        ));
        let decisions: Vec<_> = members
            .iter()
            .map(|(leaf, _)| (*leaf, Decision::RefusedByValidator))
            .collect();
        self.verdict(id, &decisions, io)?;
        for (leaf, _) in members {
            self.attempt_failed(now_ms, id, leaf, false);
        }
        self.evaluate(now_ms, id, io)?;
        Ok(true)
    }

    /// A result is accepted: the task is completed.
    fn accept(
        &mut self,
        now_ms: u64,
        id: &Hash,
        key: ResultKey,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let Some(task) = self.tasks.get(id) else {
            return Ok(());
        };
        let decisions: Vec<_> = task
            .unjudged()
            .into_iter()
            .map(|receipt| match ResultKey::of(receipt) == key {
                true => (receipt.leaf, Decision::Accepted),
                false => (receipt.leaf, Decision::Outvoted),
            })
            .collect();
        let accepted = decisions.iter().filter(|(_, d)| *d == Decision::Accepted);
        let agreed = u32::try_from(accepted.clone().count()).unwrap_or(u32::MAX);
        let first = accepted.clone().map(|(leaf, _)| *leaf).next();
        self.verdict(id, &decisions, io)?;
        self.cancel_open(now_ms, id, CancelledBy::Decided, io)?;
        let result = first.map(|leaf| (leaf, agreed));
        self.end(now_ms, id, TaskState::Completed, None, result, io)?;
        self.counters.completed += 1;
        Ok(())
    }

    /// No result can be had any more: the task failed.
    fn give_up(&mut self, now_ms: u64, id: &Hash, io: &mut Io<'_>) -> Result<(), StoreError> {
        let Some(task) = self.tasks.get(id) else {
            return Ok(());
        };
        let dead = task.count(ReplicaState::Dead);
        let reason = match (&task.failure, dead) {
            (Some(reason), 1..) => (reason.code, reason.detail.clone()),
            // The reason was lost when the coordinator was started anew; the attempts are kept.
            (None, 1..) => (
                Code::AttemptsExhausted,
                "attempts failed; its assignments tell how".to_owned(),
            ),
            _ => (
                Code::NoQuorum,
                format!(
                    "{} results are in, and no {} of them are equal",
                    task.unjudged().len(),
                    task.quorum()
                ),
            ),
        };
        self.judge_all(id, Decision::NoQuorum, io)?;
        self.cancel_open(now_ms, id, CancelledBy::Coordinator, io)?;
        self.end(now_ms, id, TaskState::Failed, Some(reason), None, io)?;
        self.counters.failed += 1;
        Ok(())
    }

    /// The task has waited as long as it may: what waits is given up.
    pub(super) fn waited_too_long(
        &mut self,
        now_ms: u64,
        id: Hash,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let Some(task) = self.tasks.get(&id) else {
            return Ok(());
        };
        if task.first_waiting().is_none() {
            return Ok(());
        }
        let why = self.waiting_reason(now_ms, task);
        let waited = now_ms.saturating_sub(task.submitted_ms) / 1000;
        let failure = match &task.failure {
            // A replica was tried before, and how that failed tells more.
            Some(failure) => failure.clone(),
            None => Reason::new(
                Code::NoEligibleMiner,
                format!("it waited for {waited} s; at last: {}", why.detail),
            ),
        };
        self.dequeue(&id);
        if let Some(task) = self.tasks.get_mut(&id) {
            task.failure = Some(failure);
            for replica in &mut task.replicas {
                if replica.state == ReplicaState::Waiting {
                    replica.state = ReplicaState::Dead;
                }
            }
        }
        self.evaluate(now_ms, &id, io)
    }

    /// A lease has run out.
    pub(super) fn expire(
        &mut self,
        now_ms: u64,
        assignment: Hash,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let Some(id) = self.open.get(&assignment).copied() else {
            return Ok(());
        };
        let Some(task) = self.tasks.get(&id) else {
            return Ok(());
        };
        let entry = Expiry {
            assignment,
            at_ms: now_ms,
            acceptance: task.acceptance(&assignment),
        };
        let Some(lease) = task.leases.iter().find(|l| l.row.hash == assignment) else {
            return Ok(());
        };
        let (leaf, miner) = (lease.row.leaf, lease.row.assignment.miner);
        self.log(&Entry::Expiry(entry), &Facts::default(), &[miner], io)?;
        self.changed.insert(miner);
        self.counters.expired += 1;
        self.close(&assignment, LeaseState::Expired, io)?;
        if let Some(task) = self.tasks.get_mut(&id) {
            task.failure = Some(Reason::new(
                Code::AttemptsExhausted,
                format!(
                    "the miner {} did not hand in a result before its lease ran out",
                    crate::view::hex(&miner)
                ),
            ));
        }
        self.lease_failed(now_ms, &id, leaf, false);
        self.evaluate(now_ms, &id, io)
    }

    /// The attempt whose receipt is at a leaf gave no result.
    pub(super) fn attempt_failed(
        &mut self,
        now_ms: u64,
        id: &Hash,
        receipt: u64,
        undelivered: bool,
    ) {
        let lease = self.tasks.get(id).and_then(|task| {
            let mut all = task.leases.iter();
            all.find(|l| l.receipt.as_ref().is_some_and(|r| r.leaf == receipt))
        });
        if let Some(leaf) = lease.map(|l| l.row.leaf) {
            self.lease_failed(now_ms, id, leaf, undelivered);
        }
    }

    /// The attempt whose assignment is at a leaf gave no result.
    pub(super) fn lease_failed(&mut self, now_ms: u64, id: &Hash, leaf: u64, undelivered: bool) {
        let attempts_max = self.options.attempts_max;
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let in_time = now_ms < task.expires_ms;
        let lease = task.leases.iter().find(|l| l.row.leaf == leaf);
        let Some(replica) = lease.map(|l| l.row.assignment.replica) else {
            return;
        };
        if let Some(replica) = task.replica(replica) {
            replica.failed(undelivered, attempts_max, in_time);
        }
        if !in_time && task.failure.is_none() {
            task.failure = Some(Reason::new(
                Code::AttemptsExhausted,
                "an attempt failed after the time that the task may wait for miners",
            ));
        }
    }

    /// Logs and keeps what was decided of receipts, by leaf.
    pub(super) fn verdict(
        &mut self,
        id: &Hash,
        decisions: &[(u64, Decision)],
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let Some(task) = self.tasks.get_mut(id) else {
            return Ok(());
        };
        let mut judged = Vec::with_capacity(decisions.len());
        let mut miners = Vec::with_capacity(decisions.len());
        let receipts = || task.leases.iter().filter_map(|l| l.receipt.as_ref());
        for (leaf, decision) in decisions {
            if let Some(receipt) = receipts().find(|r| r.leaf == *leaf) {
                judged.push(Judged {
                    receipt: receipt.id,
                    decision: *decision,
                });
                miners.push(receipt.receipt.body.miner);
            }
        }
        if judged.is_empty() {
            return Ok(());
        }
        for (leaf, decision) in decisions {
            task.judge(*leaf, *decision);
            io.store.judge(*leaf, *decision)?;
        }
        let validated = |(_, d): &(u64, Decision)| {
            matches!(d, Decision::Accepted | Decision::RefusedByValidator)
        };
        let entry = Entry::Verdict(Verdict {
            task: *id,
            receipts: judged,
            validator: task.validator.filter(|_| decisions.iter().any(validated)),
        });
        self.log(&entry, &Facts::default(), &miners, io)?;
        self.changed.extend(miners);
        Ok(())
    }

    /// Decides the same of all receipts of a task that are not judged.
    pub(super) fn judge_all(
        &mut self,
        id: &Hash,
        decision: Decision,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let Some(task) = self.tasks.get(id) else {
            return Ok(());
        };
        let unjudged = task.unjudged();
        let all: Vec<_> = unjudged.iter().map(|r| (r.leaf, decision)).collect();
        self.verdict(id, &all, io)
    }

    /// Ends the open leases of a task, since nobody waits for their results any more.
    pub(super) fn cancel_open(
        &mut self,
        now_ms: u64,
        id: &Hash,
        by: CancelledBy,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let Some(task) = self.tasks.get(id) else {
            return Ok(());
        };
        let open: Vec<Hash> = task.open().map(|lease| lease.row.hash).collect();
        self.cancel_leases(now_ms, id, by, &open, io)
    }

    /// Ends some open leases of a task.
    pub(super) fn cancel_leases(
        &mut self,
        now_ms: u64,
        id: &Hash,
        by: CancelledBy,
        leases: &[Hash],
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        for some in leases.chunks(CANCEL_MAX) {
            let miners: Vec<_> = some
                .iter()
                .filter_map(|hash| self.standing.lease(hash))
                .map(|lease| lease.assignment.miner)
                .collect();
            let entry = Entry::Cancel(Cancel {
                task: *id,
                by,
                at_ms: now_ms,
                assignments: some.to_vec(),
            });
            self.log(&entry, &Facts::default(), &miners, io)?;
            for hash in some {
                self.close(hash, LeaseState::Cancelled, io)?;
            }
        }
        Ok(())
    }

    /// Keeps that a lease is no longer open.
    pub(super) fn close(
        &mut self,
        assignment: &Hash,
        state: LeaseState,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let Some(id) = self.open.remove(assignment) else {
            return Ok(());
        };
        let lease = self.tasks.get_mut(&id).and_then(|t| t.lease(assignment));
        let Some(lease) = lease else {
            return Ok(());
        };
        lease.row.state = state;
        let row = &lease.row;
        io.store.end_assignment(row.leaf, state)?;
        self.leases_due
            .remove(&(row.assignment.deadline_ms, *assignment));
        let node = row.assignment.miner;
        if let Some(miner) = self.miners.get_mut(&node) {
            miner.fresh.remove(assignment);
            miner.open.remove(assignment);
            if state == LeaseState::Reported {
                miner.reported.insert(*assignment);
            }
            if state == LeaseState::Cancelled {
                io.out.push(Output::Wake(node));
            }
            if miner.offer.is_none() && miner.open.is_empty() {
                self.miners.remove(&node);
            }
        }
        Ok(())
    }

    /// Ends a task without open leases and unjudged receipts, and shows it as it then is.
    pub(super) fn end(
        &mut self,
        now_ms: u64,
        id: &Hash,
        state: TaskState,
        reason: Option<(Code, String)>,
        result: Option<(u64, u32)>,
        io: &mut Io<'_>,
    ) -> Result<TaskView, StoreError> {
        self.dequeue(id);
        let Some(task) = self.tasks.remove(id) else {
            return Err(StoreError::Broken(format!("the task {id} ended twice")));
        };
        self.tasks_due.remove(&(task.expires_ms, *id));
        self.validations_due.remove(&(task.ask_ms, *id));
        self.standing.forget(id);
        if let Some(count) = self.in_flight.get_mut(&task.client) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(&task.client);
            }
        }
        if let Some(context) = &task.context {
            self.context_bytes -= context.size();
        }
        let end = TaskEnd {
            state,
            ended_ms: now_ms,
            reason,
            result,
        };
        io.store.end_task(task.number, &end)?;
        let view = Core::ended_view(&task, &end);
        io.out.push(Output::Ended(Box::new(view.clone())));
        Ok(view)
    }
}
