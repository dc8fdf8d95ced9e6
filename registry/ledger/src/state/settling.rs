//! How epochs are closed and settled, and how what was earned is taken (protocol.md, "Epochs and
//! settlement").
//!
//! ```text
//! epoch e ends ── close-epoch, for each coordinator, in e + 1: which leaves belong to e
//!              ── settle: escrows are charged, what was earned is set aside
//!              ── challenge_epochs whole epochs later: the root counts, and claim takes from what is set aside
//! ```
//!
//! The ledger sees no receipts. It believes a quorum of checkers what the settlement came to, within
//! bounds that it knows itself: emission, fees burned, escrows, and that nothing appears or is lost.

use std::collections::BTreeMap;

use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::key::{KeyKind, NoteKey};
use adit_protocol::log::note::NoteSignature;
use adit_protocol::log::origin::Origin;
use adit_protocol::log::proof::verify_inclusion;
use adit_protocol::log::tree::leaf_hash;
use adit_protocol::signed::Signable as _;
use adit_protocol::{Amount, Document as _, Hash};
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::apply::{Payer, take};
use super::{Node, State, Target, add};
use crate::event::Event;
use crate::genesis::Parameters;
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::registration::Role;
use crate::rewards::{Charge, Earned, Settlement};
use crate::rules::{LATE_EPOCHS_MAX, PPM, RewardRules};
use crate::transaction::{Attestation, Closure};
use crate::tree::TreeRoot;

/// Which leaves of a coordinator's log belong to an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Closing {
    /// The first leaf.
    #[n(0)]
    pub first: u64,
    /// The leaf after the last: the size of the log.
    #[n(1)]
    pub size: u64,
    /// The log's root at that size.
    #[n(2)]
    pub root: Hash,
    /// The node key that the log is named by; another one has another log.
    #[n(3)]
    pub node_key: Key,
}

/// A settlement that took effect: what later ones have to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Settled {
    /// Hash of the [`Settlement`].
    #[n(0)]
    pub hash: Hash,
    /// The epoch in which it was handed in.
    #[n(1)]
    pub in_epoch: u64,
    /// The epoch from which on its root counts.
    #[n(2)]
    pub from_epoch: u64,
    /// What was minted, in 10^-12 token.
    #[n(3)]
    pub minted: Amount,
    /// What of it is the treasury's.
    #[n(4)]
    pub treasury: Amount,
    /// What accounts earned.
    #[n(5)]
    pub paid: Amount,
    /// The tree of what accounts earned in all epochs so far.
    #[n(6)]
    pub earned: TreeRoot,
    /// What was taken from escrows.
    #[n(7)]
    pub charges: Vec<Charge>,
}

impl State {
    pub(super) fn close_epoch(
        &mut self,
        payer: &mut Payer<'_>,
        closure: &Closure,
    ) -> Result<(), Refusal> {
        let epoch = closure.epoch;
        if epoch.checked_add(1) != Some(self.head.epoch) {
            return Err(Refusal::Epoch {
                now: self.head.epoch,
                found: epoch,
            });
        }
        // After its epoch was settled nothing of it would be paid; its leaves belong to the next.
        if epoch < self.head.settled {
            return Rule::AlreadySettled.broken();
        }
        let coordinator = closure.coordinator;
        let node = self.find(&coordinator)?;
        // The log of that epoch is that of the keys of that epoch.
        let keys = *node.keys_in(epoch);
        let (Role::Coordinator, Some(log)) = (node.role, keys.log) else {
            return Rule::NoCoordinator.broken();
        };
        if self.closings.contains_key(&(coordinator, epoch)) {
            return Rule::Closed.broken();
        }
        let node_key = keys.node;
        let first = match self.last_closing(&coordinator) {
            Some(last) if last.node_key == node_key => last.size,
            _ => 0,
        };
        if closure.size < first {
            return Rule::SmallerLog.broken();
        }
        let signed = self.checkpoint(closure, &node_key, &log)?;
        self.cosigned(&signed, closure)?;
        let closing = Closing {
            first,
            size: closure.size,
            root: closure.root,
            node_key,
        };
        self.closings.insert((coordinator, epoch), closing);
        payer.events.push(Event::Closed {
            node: coordinator,
            epoch,
            first,
            size: closure.size,
        });
        Ok(())
    }

    /// The checkpoint of a closure, signed by the log alone.
    fn checkpoint(
        &self,
        closure: &Closure,
        node_key: &Key,
        log: &Key,
    ) -> Result<SignedCheckpoint, Refusal> {
        let bad = |_| Refusal::Rule(Rule::LogSignature);
        let unusable = || Refusal::Rule(Rule::LogSignature);
        let public = |key: &Key| key.public().map_err(|_| unusable());
        let origin = Origin::new(&self.head.genesis, &public(node_key)?);
        let key = origin.key(&public(log)?);
        let text = Checkpoint {
            origin: origin.name(),
            size: closure.size,
            root: closure.root,
        }
        .text();
        let own = NoteSignature {
            name: key.name().clone(),
            id: key.id(),
            signature: closure.signature.to_vec(),
        };
        let signed =
            SignedCheckpoint::parse(format!("{text}\n{own}").as_bytes()).map_err(|_| unusable())?;
        signed.verify(&key).map_err(bad)?;
        Ok(signed)
    }

    /// Whether a quorum of checkers says that it holds the log's data.
    fn cosigned(&self, signed: &SignedCheckpoint, closure: &Closure) -> Result<(), Refusal> {
        let mut stake = Amount::ZERO;
        for one in &closure.cosignatures {
            let Some((node, key)) = self.cosigner(&one.name) else {
                return Rule::NoChecker.broken();
            };
            let line = NoteSignature {
                name: key.name().clone(),
                id: key.id(),
                signature: [one.time_s.to_be_bytes().as_slice(), &one.signature].concat(),
            };
            // Each alone: a note has room for fewer than a closure.
            let mut with_one = signed.clone();
            if with_one.add(line).is_err() || with_one.verify_cosignature(&key).is_err() {
                return Rule::CheckerSignature.broken();
            }
            add(&mut stake, node.stake);
        }
        self.quorum(stake, None)
    }

    /// A checker by its name, with the key that it cosigns with as a mirror.
    fn cosigner(&self, name: &str) -> Option<(&Node, NoteKey)> {
        let (_, node) = self
            .checkers()
            .find(|(_, node)| node.name.as_deref() == Some(name))?;
        let key = node.keys.log?.public().ok()?;
        Some((node, NoteKey::new(name.parse().ok()?, KeyKind::Mirror, key)))
    }

    pub(super) fn settle(
        &mut self,
        payer: &mut Payer<'_>,
        settlement: &Settlement,
        attestations: &[Attestation],
    ) -> Result<(), Refusal> {
        let epoch = settlement.epoch;
        let replaced = self.due(epoch)?;
        let hash = settlement.hash();
        if replaced.as_ref().is_some_and(|before| before.hash == hash) {
            return Rule::SettledSo.broken();
        }
        if settlement.replaces != replaced.as_ref().map(|before| before.hash) {
            return Rule::Replaces.broken();
        }
        if settlement.check().is_err() {
            return Rule::Sums.broken();
        }
        self.bounded(settlement, replaced.as_ref())?;
        let document = settlement.to_cbor();
        self.attested(Settlement::CONTEXT, &document, attestations, None)?;
        if let Some(before) = replaced {
            self.take_back(&before);
        }
        for charge in &settlement.charges {
            self.charge(&charge.node, charge.spent);
        }
        let head = &mut self.head;
        add(&mut head.issued, settlement.minted);
        add(&mut head.burned, settlement.burned());
        add(&mut head.treasury, settlement.treasury);
        add(&mut head.rewards, settlement.paid);
        head.settled = epoch.saturating_add(1);
        // Whole epochs: what is handed in at the end of one can be objected to as long.
        let challenge = head.parameters.rewards.challenge_epochs.saturating_add(1);
        let from_epoch = head.epoch.saturating_add(challenge);
        let settled = Settled {
            hash,
            in_epoch: head.epoch,
            from_epoch,
            minted: settlement.minted,
            treasury: settlement.treasury,
            paid: settlement.paid,
            earned: settlement.earned,
            charges: settlement.charges.clone(),
        };
        self.settlements.insert(epoch, settled);
        self.settle_late(epoch);
        self.forget_settled();
        payer.events.push(Event::Settled {
            epoch,
            minted: settlement.minted,
            burned: settlement.burned(),
            paid: settlement.paid,
            from_epoch,
        });
        Ok(())
    }

    /// Whether an epoch is the one to settle. Returns the settlement of it that is replaced: until it
    /// counts, a quorum can correct what it said last.
    fn due(&self, epoch: u64) -> Result<Option<Settled>, Refusal> {
        let head = &self.head;
        let wrong = Err(Refusal::Epoch {
            now: head.epoch,
            found: epoch,
        });
        if epoch >= head.epoch {
            return wrong;
        }
        if epoch < head.settled {
            let last = self.settlements.get(&epoch);
            let open = |last: &&Settled| {
                epoch.checked_add(1) == Some(head.settled) && last.from_epoch > head.epoch
            };
            return match last.filter(open) {
                Some(last) => Ok(Some(last.clone())),
                None => wrong,
            };
        }
        // An epoch is left out only if nothing in it can be paid.
        match self.first_unsettled() {
            None => Rule::NothingClosed.broken(),
            Some(first) if first < epoch => Rule::Order.broken(),
            Some(first) if first > epoch => Rule::NothingClosed.broken(),
            Some(_) if self.ready_to_settle(epoch) => Ok(None),
            Some(_) => Rule::Early.broken(),
        }
    }

    /// Whether nobody can close an epoch any more, or all coordinators that take part have.
    pub fn ready_to_settle(&self, epoch: u64) -> bool {
        let waits = |(key, node): (&Key, &Node)| {
            node.role == Role::Coordinator
                && self.takes_part(node)
                && !self.closings.contains_key(&(*key, epoch))
        };
        let late = epoch.saturating_add(2) <= self.head.epoch;
        late || !self.nodes.iter().any(waits)
    }

    /// What the ledger knows itself of what a settlement can say.
    fn bounded(&self, settlement: &Settlement, replaced: Option<&Settled>) -> Result<(), Refusal> {
        let rules = self.reward_rules(settlement.epoch);
        let head = &self.head;
        let issued = match replaced {
            Some(before) => head.issued.minus(before.minted).unwrap_or_default(),
            None => head.issued,
        };
        if let Some(before) = replaced {
            for (place, found, needed) in [
                ("in the treasury", head.treasury, before.treasury),
                ("set aside", head.rewards, before.paid),
            ] {
                take(found, needed, place)?;
            }
        }
        let left = Amount::SUPPLY_MAX.minus(issued).unwrap_or_default();
        if settlement.minted > rules.emission.min(left) {
            return Rule::Emission.broken();
        }
        let units = |amount: Amount| amount.units();
        let part = |share: u32, amount: u128| amount.saturating_mul(share.into()) / u128::from(PPM);
        // A unit more may fall to each share, by the largest remainder.
        let treasury = part(rules.shares.treasury, units(rules.emission)).saturating_add(1);
        if units(settlement.treasury) > treasury {
            return Rule::Emission.broken();
        }
        // Of what was burned of an escrow, k for its miners, and in proportion for its voters.
        let (miners, voters) = (rules.shares.miners, rules.shares.voters);
        let minted = units(settlement.minted).saturating_sub(units(settlement.treasury));
        let rounding = u128::try_from(settlement.charges.len()).unwrap_or(u128::MAX);
        let by_fees = units(settlement.burned()).saturating_mul(rules.slice_of_fees_ppm.into())
            / u128::from(PPM);
        let both = u128::from(miners).saturating_add(voters.into());
        let most = by_fees
            .saturating_mul(both)
            .checked_div(miners.into())
            .unwrap_or(0);
        if minted > most.saturating_add(rounding).saturating_add(1) {
            return Rule::Emission.broken();
        }
        for charge in &settlement.charges {
            let node = self.find(&charge.node)?;
            if node.role != Role::Coordinator {
                return Rule::NoCoordinator.broken();
            }
            let given_back = replaced.and_then(|before| before.charge_of(&charge.node));
            let given_back = given_back.map_or(Amount::ZERO, |charge| charge.spent);
            let found: Amount = [self.escrow_of(&charge.node), given_back].into_iter().sum();
            if charge.spent > found {
                return Err(Refusal::Insufficient {
                    place: "in the coordinator's escrow",
                    found,
                    needed: charge.spent,
                });
            }
        }
        Ok(())
    }

    /// Takes a settlement back that does not count yet. What was taken from an escrow is in it again,
    /// also if it was unbonding.
    fn take_back(&mut self, before: &Settled) {
        let head = &mut self.head;
        let burned: Amount = before.charges.iter().map(|charge| charge.burned).sum();
        for (sum, amount) in [
            (&mut head.issued, before.minted),
            (&mut head.burned, burned),
            (&mut head.treasury, before.treasury),
            (&mut head.rewards, before.paid),
        ] {
            *sum = match sum.minus(amount) {
                Some(rest) => rest,
                None => unreachable!("it was looked at before"),
            };
        }
        for charge in &before.charges {
            if let Some(node) = self.nodes.get_mut(&charge.node) {
                add(&mut node.escrow, charge.spent);
            }
        }
    }

    /// Takes from a coordinator's escrow, and where that is not enough from what of it unbonds, what
    /// would be released first, first.
    fn charge(&mut self, coordinator: &Key, amount: Amount) {
        let Some(node) = self.nodes.get_mut(coordinator) else {
            return;
        };
        let taken = node.escrow.min(amount);
        node.escrow = node.escrow.minus(taken).unwrap_or_default();
        let operator = node.operator;
        let mut left = amount.minus(taken).unwrap_or_default();
        let of_escrow: Vec<_> = self
            .unbonding_of(operator)
            .filter(|(one, _)| one.node == *coordinator && one.to == Target::Escrow)
            .collect();
        for (unbonding, held) in of_escrow {
            let taken = held.min(left);
            left = left.minus(taken).unwrap_or_default();
            match held.minus(taken).filter(|rest| !rest.is_zero()) {
                Some(rest) => {
                    self.unbonding.insert(unbonding, rest);
                }
                None => {
                    self.unbonding.remove(&unbonding);
                    self.by_account.unbonding.remove(&(operator, unbonding));
                }
            }
        }
    }

    /// Drops what no later settlement needs: closings of settled epochs but each coordinator's last and
    /// those that late receipts can be missed in, settlements that are superseded and not newer than the end of an epoch that is open, and rules
    /// of epochs that are settled but the last.
    fn forget_settled(&mut self) {
        let settled = self.head.settled;
        let kept = self.head.epoch.saturating_sub(LATE_EPOCHS_MAX).min(settled);
        // Of what is older the last of each key of a coordinator, as long as it answers for the key: a
        // log that was closed no more has lacked what came after ever since.
        let mut last = BTreeMap::new();
        for ((node, epoch), closing) in self.closings.range(..) {
            if *epoch < kept {
                last.insert((*node, closing.node_key), *epoch);
            }
        }
        last.retain(|(node, key), epoch| {
            let newest = self.closings.range((*node, *epoch)..=(*node, u64::MAX));
            newest.count() == 1 || self.answers_for(node, key).is_some()
        });
        self.closings.retain(|(node, epoch), closing| {
            *epoch >= kept || last.get(&(*node, closing.node_key)) == Some(epoch)
        });
        let counts = self.rewards().map_or(0, |(epoch, _)| epoch);
        self.settlements
            .retain(|epoch, one| *epoch >= counts || one.in_epoch > settled);
        // The last settlement can be replaced yet, by the same rules.
        self.former_rules
            .retain(|epoch, _| epoch.saturating_add(1) >= settled);
    }

    /// What an account can claim: its total, if it is in the tree that counts and was not taken yet.
    pub(super) fn claimable(
        &self,
        account: &Key,
        total: Amount,
        index: u64,
        proof: &[Hash],
    ) -> Result<Amount, Refusal> {
        let Some((_, settled)) = self.rewards() else {
            return Rule::NoRewards.broken();
        };
        let leaf = Earned {
            account: *account,
            total,
        }
        .leaf();
        let TreeRoot { size, root } = settled.earned;
        if verify_inclusion(&leaf_hash(&leaf), index, size, &root, proof).is_err() {
            return Rule::ClaimProof.broken();
        }
        let claimed = self.account(account).claimed;
        match total.minus(claimed).filter(|more| !more.is_zero()) {
            // A quorum that lies can set aside less than its tree promises, and no more is there.
            Some(more) if more <= self.head.rewards => Ok(more),
            Some(needed) => Err(Refusal::Insufficient {
                place: "set aside",
                found: self.head.rewards,
                needed,
            }),
            None => Err(Refusal::Nothing),
        }
    }

    /// The settlement whose root counts, with its epoch.
    pub fn rewards(&self) -> Option<(u64, &Settled)> {
        let mut newest = self.settlements.iter().rev();
        let counts = newest.find(|(_, settled)| settled.from_epoch <= self.head.epoch)?;
        Some((*counts.0, counts.1))
    }

    /// A settlement that is kept.
    pub fn settled(&self, epoch: u64) -> Option<&Settled> {
        self.settlements.get(&epoch)
    }

    /// The settlements that are kept, by epoch.
    pub fn settlements(&self) -> impl Iterator<Item = (u64, &Settled)> {
        let all = self.settlements.iter();
        all.map(|(epoch, settled)| (*epoch, settled))
    }

    /// The newest settlement, with its epoch.
    pub fn last_settled(&self) -> Option<(u64, &Settled)> {
        let last = self.settlements.last_key_value()?;
        Some((*last.0, last.1))
    }

    /// What belongs to an epoch of a coordinator's log.
    pub fn closing(&self, coordinator: &Key, epoch: u64) -> Option<&Closing> {
        self.closings.get(&(*coordinator, epoch))
    }

    /// A coordinator's newest closing.
    pub fn last_closing(&self, coordinator: &Key) -> Option<&Closing> {
        let all = self
            .closings
            .range((*coordinator, 0)..=(*coordinator, u64::MAX));
        all.last().map(|(_, closing)| closing)
    }

    /// Epochs with a closing that is not settled, with the coordinators; not ordered by epoch.
    pub fn unsettled(&self) -> impl Iterator<Item = (u64, Key)> {
        let all = self.closings.keys();
        all.filter(|(_, epoch)| *epoch >= self.head.settled)
            .map(|(node, epoch)| (*epoch, *node))
    }

    /// The first epoch that waits to be settled: with a closing, or a late receipt.
    pub fn first_unsettled(&self) -> Option<u64> {
        let closed = self.unsettled().map(|(epoch, _)| epoch);
        closed.chain(self.owed()).min()
    }

    /// Whether an epoch waits to be settled.
    pub fn is_unsettled(&self, epoch: u64) -> bool {
        let mut closed = self.unsettled();
        closed.any(|(closed, _)| closed == epoch) || self.owed().any(|owed| owed == epoch)
    }

    /// What is in a coordinator's escrow, with what of it unbonds.
    pub fn escrow_of(&self, coordinator: &Key) -> Amount {
        let Some(node) = self.nodes.get(coordinator) else {
            return Amount::ZERO;
        };
        let unbonding = self
            .unbonding_of(node.operator)
            .filter(|(one, _)| one.node == *coordinator && one.to == Target::Escrow);
        unbonding
            .map(|(_, amount)| amount)
            .chain([node.escrow])
            .sum()
    }

    /// The rules that rewards of an epoch follow, if it is not settled: those at its end.
    pub fn reward_rules(&self, epoch: u64) -> &RewardRules {
        let former = self.former_rules.range(epoch..).next();
        former.map_or(&self.head.parameters.rewards, |(_, rules)| rules)
    }

    /// Keeps the rules of rewards before others take effect with this epoch: by them epochs before are
    /// settled. Of several changes in one epoch the first counts.
    pub(super) fn remember_rules(&mut self, next: &Parameters) {
        let rules = &self.head.parameters.rewards;
        if *rules != next.rewards {
            let last = self.head.epoch.saturating_sub(1);
            let former = self.former_rules.entry(last);
            former.or_insert_with(|| rules.clone());
        }
    }

    /// Whether escrow must stay where it is: leaves of the coordinator's log wait to be settled, or
    /// receipts that its log lacks.
    pub(super) fn owes(&self, coordinator: &Key) -> bool {
        let open = (*coordinator, self.head.settled)..=(*coordinator, u64::MAX);
        self.closings.range(open).next().is_some() || self.owes_late(coordinator)
    }
}

impl Settled {
    /// What was taken from a coordinator's escrow.
    pub fn charge_of(&self, coordinator: &Key) -> Option<&Charge> {
        let at = self
            .charges
            .binary_search_by(|charge| charge.node.cmp(coordinator));
        self.charges.get(at.ok()?)
    }
}
