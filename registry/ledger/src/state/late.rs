//! Countersigned receipts that a coordinator's log lacks: claims, answers, and what is owed if nobody
//! answers (protocol.md, "Epochs and settlement").
//!
//! ```text
//!                  two epochs      late_epochs          answer_epochs
//!   lease ends in b ────────► b + 2 ────────► claim ───────────────────► stands: slashed, owed, settled
//!                                               └─► answer: over
//! ```
//!
//! A receipt is paid from the leaves of the epoch of its draw or of the next one. A lease can end later:
//! `b` is the later of that next epoch and the one in which the lease ended. By the time that `b + 1` is
//! closed, an honest log has the receipt, or an expiry or cancellation of its assignment, whatever its
//! miner does: what came after that was late, and owes nothing. So what counts is the log as it was
//! closed up to `b + 1`, which nobody can change once a claim is made.
//!
//! Whoever answers gets what was put down for the claim: then somebody looks at each, and it costs
//! nothing to have been accused. A claim that nobody answers stands, even if it is false. The coordinator
//! had all the time that there is, as had each checker who has the log.
//!
//! However many claims stand with an epoch, a coordinator is slashed for one of them: one fault of its
//! disk can lose a thousand receipts. All of them are owed. Where its log was not closed with `b + 1`, that
//! may have been the checkers' fault, who could not reach it or did not work: then it owes, and is not
//! slashed.

use std::collections::{BTreeMap, BTreeSet};

use adit_protocol::network::assignment::Terms;
use adit_protocol::receipt::{RECEIPT_LEN, Receipt};
use adit_protocol::{Amount, Hash};
use minicbor::{Decode, Encode};

use super::State;
use super::apply::Payer;
use super::encoding::{EntryError, decode, encode, joined};
use super::penalty::Penalty;
use crate::event::Event;
use crate::key::Key;
use crate::late::{Claim, LateReceipt, answers, included, pay};
use crate::refusal::{Refusal, Rule};
use crate::registration::Role;
use crate::rules::LATE_EPOCHS_MAX;
use crate::slashing::Misdeed;
use crate::tree::TreeRoot;

const CLAIM: u8 = 15;
const CLAIMED: u8 = 16;

/// A claim that waits for an answer, or a receipt that is owed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Claimed {
    /// Who claims it.
    #[n(0)]
    pub claimant: Key,
    /// The coordinator, by the key that it was registered with.
    #[n(1)]
    pub coordinator: Key,
    /// The receipt with both signatures, which were checked.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub receipt: [u8; RECEIPT_LEN],
    /// What it pays.
    #[n(3)]
    pub terms: Terms,
    /// The log in which it is missed, as it was closed last; absent where it never was: then nothing
    /// can be answered.
    #[n(4)]
    pub log: Option<TreeRoot>,
    /// What the claimant put down, in 10^-12 token; nothing any more where the claim stands.
    #[n(5)]
    pub deposit: Amount,
    /// The epoch at whose beginning it stands.
    #[n(6)]
    pub until_epoch: u64,
    /// The epoch at whose beginning it stood: the first with which it can be settled.
    #[n(7)]
    pub owed_epoch: Option<u64>,
    /// The epoch with which it was settled. It is kept as long as that settlement can be corrected.
    #[n(8)]
    pub settled_epoch: Option<u64>,
    /// Whether the log was closed with the last epoch that counts: else it is owed, and no misdeed.
    #[n(9)]
    pub closed: bool,
}

impl Claimed {
    /// The receipt; its signatures were checked.
    pub fn receipt(&self) -> Option<Receipt> {
        Receipt::from_bytes(&self.receipt).ok()
    }

    /// Whether it belongs to the settlement of an epoch: the first from that on with which it stood.
    fn is_due(&self, epoch: u64) -> bool {
        let owed = self.owed_epoch.is_some_and(|owed| owed <= epoch);
        owed && self.settled_epoch.is_none_or(|settled| settled == epoch)
    }
}

/// A receipt that could be claimed.
#[derive(Clone, Debug)]
pub struct Missed {
    /// What it pays, in 10^-12 token, as far as the coordinator's escrow reaches.
    pub pay: Amount,
    /// The log in which it would be missed, as it was closed last; absent where it never was.
    pub log: Option<TreeRoot>,
    closed: bool,
    /// The first epoch in which it could be claimed.
    first: u64,
    claim: Claim,
}

/// What the state holds of late receipts, by the hashes of their assignments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Late {
    claims: BTreeMap<Hash, Claimed>,
    /// All that were claimed, with the first epoch in which they cannot be any more.
    claimed: BTreeMap<Hash, u64>,
}

impl Late {
    /// Whether an entry with this tag belongs here.
    pub(super) fn owns(tag: u8) -> bool {
        matches!(tag, CLAIM | CLAIMED)
    }

    /// Puts its entries, in order.
    pub(super) fn entries(&self, put: &mut impl FnMut(Vec<u8>, Vec<u8>)) {
        for (assignment, claim) in &self.claims {
            put(joined(CLAIM, &[assignment.as_bytes()]), encode(claim));
        }
        for (assignment, until) in &self.claimed {
            put(joined(CLAIMED, &[assignment.as_bytes()]), encode(until));
        }
    }

    /// Takes an entry; `None` if there is no such key.
    pub(super) fn restore(
        &mut self,
        at: usize,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<()>, EntryError> {
        let Some((tag, rest)) = key.split_first() else {
            return Ok(None);
        };
        let Ok(assignment) = rest.try_into().map(Hash::from_bytes) else {
            return Ok(None);
        };
        match *tag {
            CLAIM => drop(self.claims.insert(assignment, decode(at, value)?)),
            CLAIMED => drop(self.claimed.insert(assignment, decode(at, value)?)),
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    /// What was put down for claims.
    pub(super) fn deposits(&self) -> impl Iterator<Item = Amount> {
        self.claims.values().map(|claim| claim.deposit)
    }
}

impl State {
    /// Claims that wait for an answer, ascending by the hashes of the assignments.
    pub fn claims(&self) -> impl Iterator<Item = (&Hash, &Claimed)> {
        let all = self.late.claims.iter();
        all.filter(|(_, claim)| claim.owed_epoch.is_none())
    }

    /// Late receipts that belong to the settlement of an epoch, in the same order.
    pub fn late_receipts(&self, epoch: u64) -> impl Iterator<Item = (&Hash, &Claimed)> {
        let all = self.late.claims.iter();
        all.filter(move |(_, claim)| claim.is_due(epoch))
    }

    /// Epochs with which late receipts can be settled that are not, in no order.
    pub(super) fn owed(&self) -> impl Iterator<Item = u64> {
        let open = self.late.claims.values();
        let open = open.filter(|claim| claim.settled_epoch.is_none());
        open.filter_map(|claim| claim.owed_epoch)
    }

    /// Whether a late receipt is claimed of a coordinator, or owed by it and not settled.
    pub(super) fn owes_late(&self, coordinator: &Key) -> bool {
        let mut claims = self.late.claims.values();
        claims.any(|claim| claim.coordinator == *coordinator && claim.settled_epoch.is_none())
    }

    /// What a claim could be made of now, whoever makes it. No signature is looked at.
    ///
    /// # Errors
    /// [`Refusal`], as the claim's would be.
    pub fn check_late(&self, late: &LateReceipt) -> Result<Missed, Refusal> {
        let coordinator = late.coordinator;
        if self.find(&coordinator)?.role != Role::Coordinator {
            return Rule::NoCoordinator.broken();
        }
        let Some(claim) = late.claim(&self.head.genesis) else {
            return Rule::NothingClaimed.broken();
        };
        let body = &claim.receipt.body;
        let node_key = Key::from_bytes(body.coordinator);
        if self.answers_for(&coordinator, &node_key).is_none() {
            return Rule::OtherKey.broken();
        }
        let miner = self.owner(&Key::from_bytes(body.miner));
        let miner = miner.and_then(|miner| self.nodes.get(&miner));
        let is_miner = miner.is_some_and(|miner| miner.role == Role::Miner);
        let pay = pay(body.status, &claim.terms);
        if !is_miner || pay.is_zero() {
            return Rule::NothingOwed.broken();
        }
        // The last epoch in whose leaves it can be.
        let next = body.epoch.saturating_add(1);
        let last = next.max(self.epoch_at(claim.deadline_ms)).saturating_add(1);
        let epoch = self.head.epoch;
        let first = last.saturating_add(1);
        let closed = self.closings.contains_key(&(coordinator, last));
        if epoch < first || (epoch == first && !closed) {
            return Rule::NotLate.broken();
        }
        if epoch.saturating_sub(first) >= self.head.parameters.slashing.late_epochs {
            return Rule::TooLate.broken();
        }
        if self.late.claimed.contains_key(&body.assignment) {
            return Rule::Claimed.broken();
        }
        let all = self.closings.range((coordinator, 0)..=(coordinator, last));
        let log = all.rev().find(|(_, closing)| closing.node_key == node_key);
        Ok(Missed {
            pay,
            log: log.map(|(_, closing)| TreeRoot {
                size: closing.size,
                root: closing.root,
            }),
            closed,
            first,
            claim,
        })
    }

    pub(super) fn claim_late(
        &mut self,
        payer: &mut Payer<'_>,
        late: &LateReceipt,
    ) -> Result<(), Refusal> {
        let missed = self.check_late(late)?;
        let rules = &self.head.parameters.slashing;
        let deposit = rules.deposit;
        let until_epoch = self.after(rules.answer_epochs);
        payer.spend(deposit)?;
        if !late.is_signed(&missed.claim) {
            return Rule::NothingClaimed.broken();
        }
        let assignment = missed.claim.receipt.body.assignment;
        let claimed = Claimed {
            claimant: payer.key,
            coordinator: late.coordinator,
            receipt: late.receipt,
            terms: missed.claim.terms,
            log: missed.log,
            deposit,
            until_epoch,
            owed_epoch: None,
            settled_epoch: None,
            closed: missed.closed,
        };
        self.late.claims.insert(assignment, claimed);
        let until = missed.first.saturating_add(LATE_EPOCHS_MAX);
        self.late.claimed.insert(assignment, until);
        payer.events.push(Event::LateReceipt {
            assignment,
            node: late.coordinator,
            account: payer.key,
            until_epoch,
        });
        Ok(())
    }

    pub(super) fn answer(
        &mut self,
        payer: &mut Payer<'_>,
        assignment: &Hash,
        leaf: u64,
        entry: &[u8],
        proof: &[Hash],
    ) -> Result<(), Refusal> {
        let claim = self.late.claims.get(assignment);
        let Some(claim) = claim.filter(|claim| claim.owed_epoch.is_none()) else {
            return Err(Refusal::NoClaim {
                assignment: *assignment,
            });
        };
        let fits = |log: &TreeRoot| included(entry, leaf, log, proof);
        let says = |receipt: &Receipt| answers(entry, &receipt.body);
        if !claim.log.as_ref().is_some_and(fits) || !claim.receipt().as_ref().is_some_and(says) {
            return Rule::NoAnswer.broken();
        }
        let deposit = claim.deposit;
        self.late.claims.remove(assignment);
        super::add(&mut payer.account.free, deposit);
        payer.events.push(Event::Answered {
            assignment: *assignment,
            account: payer.key,
            amount: deposit,
        });
        Ok(())
    }

    /// Lets those claims stand that nobody has answered in time, as an epoch begins after the epoch
    /// `last`.
    pub(super) fn turn_late(&mut self, last: u64, events: &mut Vec<Event>) {
        let epoch = self.head.epoch;
        self.late.claimed.retain(|_, until| *until > epoch);
        let mut due = Vec::new();
        for (assignment, claim) in &mut self.late.claims {
            if claim.owed_epoch.is_none() && claim.until_epoch <= epoch {
                claim.owed_epoch = Some(epoch);
                let deposit = std::mem::take(&mut claim.deposit);
                due.push((*assignment, claim.clone(), deposit));
            }
        }
        let mut punished = BTreeSet::new();
        for (assignment, claim, deposit) in due {
            let (node, claimant) = (claim.coordinator, claim.claimant);
            events.push(Event::Owed {
                assignment,
                node,
                epoch,
            });
            if claim.closed && punished.insert(node) {
                let fraction_ppm = self.head.parameters.slashing.fraction_ppm;
                let penalty = Penalty {
                    node,
                    misdeed: Misdeed::MissingReceipt,
                    fraction_ppm,
                    reporter: claimant,
                };
                let cuts = self.cuts(node, fraction_ppm);
                self.punish(&penalty, cuts, last, events);
            }
            self.give_back(claimant, deposit, events);
        }
    }

    /// Takes note that an epoch was settled, with the late receipts that belong to it.
    pub(super) fn settle_late(&mut self, epoch: u64) {
        for claim in self.late.claims.values_mut() {
            if claim.is_due(epoch) {
                claim.settled_epoch = Some(epoch);
            }
        }
        // A settlement can be corrected until the next.
        let open = |claim: &Claimed| claim.settled_epoch.is_none_or(|settled| settled >= epoch);
        self.late.claims.retain(|_, claim| open(claim));
    }
}
