//! How each entry of the log changes what it says, and which entries break a rule.

use std::sync::Arc;

use thiserror::Error;

use super::{Drawn, InForce, Lease, Nobody, Standing, Unjudged};
use crate::cbor::Document as _;
use crate::hash::Hash;
use crate::keys::PublicKey;
use crate::network::assignment::{Assignment, Terms};
use crate::network::entry::{Cancel, Decision, Entry, Expiry, Verdict};
use crate::network::membership::Membership;
use crate::network::roster::{Roster, RosterEntry, weights};
use crate::receipt::Receipt;
use crate::signed::{Signed, SignedError};
use crate::status::Status;
use crate::task::{Requirements, TaskSpec};

/// What an entry refers to and does not hold. What is absent is not checked, and said to be.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Of a roster entry: the roster.
    pub roster: Option<Arc<Roster>>,
    /// Of a roster entry: the membership that the roster names.
    pub membership: Option<Arc<Membership>>,
    /// Of an assignment: the requirements in its task's spec.
    pub requirements: Option<Requirements>,
    /// Of an assignment: what its task's spec says of pay.
    pub terms: Option<Terms>,
    /// Of an assignment: that this process has just signed it, so that its signature need not be
    /// checked.
    pub own: bool,
}

impl Facts {
    /// Takes what an assignment's task spec says.
    pub fn disclose(&mut self, spec: &TaskSpec) {
        self.requirements = Some(spec.requirements.clone());
        self.terms = Some(Terms::of(spec));
    }
}

/// A rule that an entry breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A key, signature or document in it is bad.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// A field is not what it has to be.
    #[error("its {field} is not what it has to be: {detail}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The VRF's proof does not hold.
    #[error("the proof of its verifiable random output does not hold")]
    Vrf,
    /// The draw falls on somebody else.
    #[error("the draw falls on {expected}, not on {found}")]
    OtherMiner {
        /// On whom it falls, by the log.
        expected: String,
        /// Who was given the task.
        found: String,
    },
    /// Nobody could have been drawn.
    #[error("nobody was eligible, and it was given to {found}")]
    NobodyEligible {
        /// Why.
        nobody: Nobody,
        /// Who was given the task.
        found: String,
    },
    /// It refers to an assignment that is not open.
    #[error("the assignment {0} is not open at this leaf")]
    NotOpen(Hash),
    /// It refers to a receipt that is not in the log, or was judged before.
    #[error("the receipt {0} is not in the log, or was judged before")]
    NotUnjudged(Hash),
    /// What may be in the log once is there again.
    #[error("{0} is in the log twice")]
    Twice(Hash),
}

fn field<T>(field: &'static str, detail: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Field {
        field,
        detail: detail.into(),
    })
}

fn hex(key: &[u8; 32]) -> String {
    crate::hex::prefixed(key)
}

impl Standing {
    /// Takes in the entry at a leaf. The entry counts even where it breaks a rule, since it is in
    /// the log; the faults are what an auditor reports. Receipts' signatures are checked elsewhere,
    /// many at a time.
    pub fn apply(&mut self, leaf: u64, entry: &Entry, facts: &Facts) -> Vec<Fault> {
        let mut faults = Vec::new();
        let result = match entry {
            Entry::Receipt(receipt) => self.receipt(receipt, &mut faults),
            Entry::Verdict(verdict) => self.verdict(verdict, &mut faults),
            Entry::Roster(roster) => self.roster(leaf, roster, facts, &mut faults),
            Entry::Expiry(expiry) => self.expiry(expiry, &mut faults),
            Entry::Cancel(cancel) => self.cancel(cancel, &mut faults),
            Entry::Assignment(signed) => self.assignment(leaf, signed, facts, &mut faults),
        };
        faults.extend(result.err());
        faults
    }

    fn assignment(
        &mut self,
        leaf: u64,
        signed: &Signed<Assignment>,
        facts: &Facts,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Fault> {
        let id = signed.body_hash();
        // One that is no assignment at all can change nothing.
        let a = signed.unverified().map_err(SignedError::from)?;
        let own = self.coordinator;
        if !facts.own {
            faults.extend(signed.verify(|_| own).err().map(Fault::Signed));
        }
        let mut check = |result: Result<(), Fault>| faults.extend(result.err());
        check(self.names_this_log(&a));
        check(self.next_attempt(&a));
        check(self.drawn(&a, facts));
        check(self.pays(&a, facts.terms));
        if self.leases.contains_key(&id) || self.ended.as_ref().is_some_and(|e| e.contains(&id)) {
            return Err(Fault::Twice(id));
        }
        let task = self.tasks.entry(a.task).or_default();
        task.held.push(a.miner);
        task.replicas
            .insert(a.replica, (a.attempt.saturating_add(1), true));
        self.set_load(&a.miner, self.load(&a.miner).saturating_add(1));
        let lease = Lease {
            assignment: a,
            leaf,
        };
        self.leases.insert(id, lease);
        Ok(())
    }

    fn names_this_log(&self, a: &Assignment) -> Result<(), Fault> {
        if a.genesis != self.genesis_hash {
            return field("genesis", "it is of another network");
        }
        if a.coordinator != self.coordinator {
            return field("coordinator", "it is of another coordinator");
        }
        let Some(force) = &self.in_force else {
            return field("roster", "there is no roster before it");
        };
        if a.roster != force.leaf || a.epoch != force.roster.epoch {
            return field(
                "roster",
                format!(
                    "it names leaf {} and epoch {}, and in force is leaf {} of epoch {}",
                    a.roster, a.epoch, force.leaf, force.roster.epoch
                ),
            );
        }
        Ok(())
    }

    /// What it pays is said where there is a ledger, is what its task pays, and is committed.
    fn pays(&mut self, a: &Assignment, expected: Option<Terms>) -> Result<(), Fault> {
        let before = self.escrow.replace(a.escrow);
        let Some(terms) = a.terms else {
            return match self.genesis.ledger {
                None => Ok(()),
                Some(_) => field("terms", "they are missing, and the network has a ledger"),
            };
        };
        if self.genesis.ledger.is_none() {
            return field("terms", "they are there, and the network has no ledger");
        }
        if expected.is_some_and(|expected| expected != terms) {
            return field("terms", "they are not those of the task");
        }
        // A coordinator goes on from its own number.
        if self.ended.is_some()
            && before.unwrap_or(0).saturating_add(terms.price.units()) != a.escrow
        {
            return field(
                "escrow",
                "it is not that of the assignment before and the price",
            );
        }
        Ok(())
    }

    /// Attempt k + 1 needs the logged end of attempt k, and a task that is over gets no more.
    fn next_attempt(&self, a: &Assignment) -> Result<(), Fault> {
        if self.ended.as_ref().is_some_and(|e| e.contains(&a.task)) {
            return field("task", "the task was decided before");
        }
        let task = self.tasks.get(&a.task);
        let last = task.and_then(|task| task.replicas.get(&a.replica));
        let (next, open) = last.copied().unwrap_or((0, false));
        if open {
            return field("attempt", "the attempt before it is still open");
        }
        if a.attempt != next {
            return field(
                "attempt",
                format!("it is {}, and {next} comes next", a.attempt),
            );
        }
        Ok(())
    }

    fn drawn(&mut self, a: &Assignment, facts: &Facts) -> Result<(), Fault> {
        let Some(requirements) = &facts.requirements else {
            return Ok(());
        };
        let (task, local) = (&a.task, a.local);
        let drawn = match self.ended {
            // An auditor has a whole log to go through. A coordinator that makes its draws again
            // makes them in the other way.
            Some(_) => self.draw_indexed(task, requirements, a.attempt, a.replica, local),
            None => self.draw(task, requirements, a.attempt, a.replica, local),
        };
        match drawn {
            Drawn::Miner { candidate, .. } if candidate.node == a.miner => Ok(()),
            Drawn::Miner { candidate, .. } => Err(Fault::OtherMiner {
                expected: hex(&candidate.node),
                found: hex(&a.miner),
            }),
            Drawn::Nobody(nobody) => Err(Fault::NobodyEligible {
                nobody,
                found: hex(&a.miner),
            }),
            // Said already, of the field `roster`.
            Drawn::NoRoster => Ok(()),
        }
    }

    fn roster(
        &mut self,
        leaf: u64,
        entry: &RosterEntry,
        facts: &Facts,
        faults: &mut Vec<Fault>,
    ) -> Result<(), Fault> {
        let Some(roster) = &facts.roster else {
            // Without the candidates nothing after it can be checked.
            self.use_roster(None);
            return Ok(());
        };
        let mut check = |result: Result<(), Fault>| faults.extend(result.err());
        check(self.roster_fits(entry, roster, facts.membership.as_deref()));
        let key = PublicKey::from_bytes(&self.coordinator).map_err(|source| SignedError::Key {
            document: "roster entry",
            source,
        })?;
        let output = entry.output(&self.genesis_hash, &roster.beacon, leaf, &key);
        self.use_roster(output.ok().map(|output| InForce {
            leaf,
            output,
            roster: Arc::clone(roster),
        }));
        match self.in_force {
            Some(_) => Ok(()),
            None => Err(Fault::Vrf),
        }
    }

    fn roster_fits(
        &self,
        entry: &RosterEntry,
        roster: &Roster,
        membership: Option<&Membership>,
    ) -> Result<(), Fault> {
        if roster.hash() != entry.root {
            return field("root", "it is not the hash of the roster");
        }
        if roster.epoch != entry.epoch {
            return field("epoch", "it is not that of the roster");
        }
        let last = self.in_force.as_ref().map_or(0, |force| force.roster.epoch);
        if entry.epoch < last {
            return field("epoch", "it is before that of the roster before");
        }
        if roster.beacon != self.genesis.beacon(roster.epoch) {
            return field("beacon", "it is not that of the epoch");
        }
        for candidate in &roster.candidates {
            let expected = self.record(&candidate.node).quality_ppm();
            if candidate.quality_ppm != expected {
                return field(
                    "quality_ppm",
                    format!(
                        "that of {} is {}, and {expected} by the log",
                        hex(&candidate.node),
                        candidate.quality_ppm
                    ),
                );
            }
        }
        let expected = weights(&self.genesis, &roster.candidates);
        let found = roster.candidates.iter().map(|c| c.weight);
        if !expected.into_iter().eq(found) {
            return field("weight", "the weights are not those of the formula");
        }
        let Some(membership) = membership else {
            return Ok(());
        };
        if membership.hash() != roster.membership {
            return field("membership", "the roster names another one");
        }
        for candidate in &roster.candidates {
            let member = membership.miner(&candidate.node);
            let active = member.filter(|m| {
                m.jailed.is_none()
                    && m.stake >= self.genesis.miner_stake_min
                    && m.stake == candidate.stake
            });
            if active.is_none() {
                return field(
                    "candidates",
                    format!(
                        "{} is no member with that stake, or may not work",
                        hex(&candidate.node)
                    ),
                );
            }
        }
        Ok(())
    }

    fn receipt(&mut self, receipt: &Receipt, faults: &mut Vec<Fault>) -> Result<(), Fault> {
        let body = &receipt.body;
        let id = body.id();
        let seen = self.ended.as_ref().is_some_and(|e| e.contains(&id));
        if seen || self.unjudged.contains_key(&id) {
            return Err(Fault::Twice(id));
        }
        let lease = self.end_lease(&body.assignment);
        let in_time = lease.is_some();
        let mut check = |result: Result<(), Fault>| faults.extend(result.err());
        if body.network != self.genesis.network_id() {
            check(field("network", "it is of another network"));
        }
        if body.coordinator != self.coordinator {
            check(field("coordinator", "it is of another coordinator"));
        }
        match &lease {
            // A verdict must say that it is late.
            None => {}
            Some(Lease { assignment: a, .. })
                if (a.miner, a.task, a.epoch) == (body.miner, body.task, body.epoch) => {}
            Some(_) => check(field(
                "assignment",
                "it is of another miner, task or epoch than the receipt",
            )),
        }
        let (last, newest) = self.newest(&body.miner);
        if body.seq <= last {
            check(field(
                "seq",
                format!("it is {}, and {last} was there before", body.seq),
            ));
        } else if body.seq == last.saturating_add(1) && body.prev != newest {
            check(field("prev", "it is not the receipt before it"));
        }
        // One with a low number is a fault by itself, and must not make faults of what follows the
        // one before it.
        if body.seq > last {
            self.newest.insert(body.miner, (body.seq, id));
        }
        if let Some(ended) = &mut self.ended {
            ended.insert(id);
        }
        let unjudged = Unjudged {
            task: body.task,
            miner: body.miner,
            status: body.status,
            in_time,
        };
        self.unjudged.insert(id, unjudged);
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict, faults: &mut Vec<Fault>) -> Result<(), Fault> {
        let accepted = |j: &&crate::network::entry::Judged| j.decision == Decision::Accepted;
        let agreed = verdict.receipts.iter().filter(accepted).count();
        for judged in &verdict.receipts {
            let Some(receipt) = self.unjudged.remove(&judged.receipt) else {
                faults.push(Fault::NotUnjudged(judged.receipt));
                continue;
            };
            let mut check = |result: Result<(), Fault>| faults.extend(result.err());
            if receipt.task != verdict.task {
                check(field("task", "it judges the receipt of another task"));
            }
            if !receipt.in_time && judged.decision == Decision::Accepted {
                check(field(
                    "decision",
                    "it accepts a receipt without an open lease",
                ));
            }
            let record = self.records.entry(receipt.miner).or_default();
            match judged.decision {
                Decision::Accepted => record.accepted(agreed > 1),
                Decision::Outvoted | Decision::RefusedByValidator | Decision::Mismatch => {
                    record.failed();
                }
                // The miner's machine failed, and not the task.
                Decision::NotAttestable if receipt.status == Status::HostFault => record.failed(),
                Decision::NoQuorum
                | Decision::Late
                | Decision::NotAttestable
                | Decision::TaskCancelled => {}
            }
        }
        if let Some(task) = self.tasks.get_mut(&verdict.task) {
            let agreed = u32::try_from(agreed).unwrap_or(u32::MAX);
            task.accepted = task.accepted.saturating_add(agreed);
        }
        Ok(())
    }

    fn expiry(&mut self, expiry: &Expiry, faults: &mut Vec<Fault>) -> Result<(), Fault> {
        let Some(lease) = self.end_lease(&expiry.assignment) else {
            return Err(Fault::NotOpen(expiry.assignment));
        };
        let a = &lease.assignment;
        if expiry.at_ms < a.deadline_ms {
            faults.push(Fault::Field {
                field: "at_ms",
                detail: "the lease had not ended".to_owned(),
            });
        }
        let Some(acceptance) = &expiry.acceptance else {
            return Ok(());
        };
        let accepted = acceptance.verify(|_| a.miner)?;
        if accepted.assignment != expiry.assignment || accepted.miner != a.miner {
            return field("acceptance", "it is of another assignment");
        }
        self.records.entry(a.miner).or_default().failed();
        Ok(())
    }

    fn cancel(&mut self, cancel: &Cancel, faults: &mut Vec<Fault>) -> Result<(), Fault> {
        for assignment in &cancel.assignments {
            match self.end_lease(assignment) {
                None => faults.push(Fault::NotOpen(*assignment)),
                Some(lease) if lease.assignment.task != cancel.task => {
                    faults.extend(field::<()>("task", "it ends a lease of another task").err());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn end_lease(&mut self, assignment: &Hash) -> Option<Lease> {
        let lease = self.leases.remove(assignment)?;
        let a = &lease.assignment;
        self.set_load(&a.miner, self.load(&a.miner).saturating_sub(1));
        if let Some(task) = self.tasks.get_mut(&a.task) {
            task.replicas
                .entry(a.replica)
                .and_modify(|(_, open)| *open = false);
        }
        if let Some(ended) = &mut self.ended {
            ended.insert(*assignment);
        }
        Some(lease)
    }
}
