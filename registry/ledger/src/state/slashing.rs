//! Reports of misdeeds.
//!
//! What two signatures prove takes effect at once ([`State::report`]). For the rest somebody accuses,
//! checkers look at it, and a quorum of their stake signs what they found:
//!
//! ```text
//!            unbonding_epochs          appeal_epochs
//!   accuse ─────────────────► verdict ───────────────► penalty
//!      │                        │ │  └─► appeal ─► second verdict, for good: penalty, or nothing;
//!      └─► runs out             │ │                without one in appeal_epochs the first stands
//!                               │ └ not guilty: over
//! ```
//!
//! Reports run out when what stood behind the node at that time can be gone. A deposit is lost to the
//! treasury, not burned: it pays for the network's work, and those who acquit get nothing of it
//! by themselves, since the treasury is spent by votes of all stake.
//!
//! A misdeed is reported once. What was punished is never forgotten: as long as a key is good, so is
//! the evidence, and each entry has cost its node a part of its stake, or a reporter the deposit.

use std::collections::BTreeMap;

use adit_protocol::{Amount, Hash};
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::State;
use super::apply::Payer;
use super::encoding::{EntryError, decode, encode, joined};
use super::governance::at_least;
use super::penalty::Penalty;
use crate::event::Event;
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::registration::{NodeKeys, Role};
use crate::slashing::{Evidence, Finding, Misdeed};

const REPORT: u8 = 13;
const MISDEED: u8 = 14;
const FORMER: u8 = 15;

/// A report that waits for a verdict, or for its effect.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Report {
    /// Who accused.
    #[n(0)]
    pub reporter: Key,
    /// The node.
    #[n(1)]
    pub node: Key,
    /// What it is said to have done.
    #[n(2)]
    pub misdeed: Misdeed,
    /// What that rests on: a hash that checkers know what to do with.
    #[n(3)]
    pub evidence: Hash,
    /// What the reporter put down, in 10^-12 token.
    #[n(4)]
    pub deposit: Amount,
    /// The epoch at whose beginning it runs out, or takes effect if there is a verdict.
    #[n(5)]
    pub until_epoch: u64,
    /// What the node loses, if it was found guilty, in parts per million.
    #[n(6)]
    pub verdict_ppm: Option<u32>,
    /// What the node's operator put down for a second verdict, in 10^-12 token.
    #[n(7)]
    pub appeal: Option<Amount>,
    /// Whether the verdict is for good.
    #[n(8)]
    pub decided: bool,
}

/// Keys that a node had before its keys were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct FormerKeys {
    /// The log key or cosigning key that went with the node key.
    #[n(0)]
    pub log: Option<Key>,
    /// The epoch at whose beginning they are forgotten: when all that stood behind the node then has
    /// had the time to leave.
    #[n(1)]
    pub until_epoch: u64,
}

/// What the state holds of misdeeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slashing {
    /// By the id of the transaction.
    reports: BTreeMap<Hash, Report>,
    /// The transaction that reported it, by the node's key or, of accusations, the node, and
    /// [`Misdeed::once`].
    misdeeds: BTreeMap<(Key, Hash), Hash>,
    /// By the node key.
    former: BTreeMap<Key, FormerKeys>,
}

impl Slashing {
    /// Whether an entry with this tag belongs here.
    pub(super) fn owns(tag: u8) -> bool {
        matches!(tag, REPORT | MISDEED | FORMER)
    }

    /// Puts its entries, in order.
    pub(super) fn entries(&self, put: &mut impl FnMut(Vec<u8>, Vec<u8>)) {
        for (id, report) in &self.reports {
            put(joined(REPORT, &[id.as_bytes()]), encode(report));
        }
        for ((key, once), report) in &self.misdeeds {
            let key = joined(MISDEED, &[key.as_bytes(), once.as_bytes()]);
            put(key, encode(report));
        }
        for (key, former) in &self.former {
            put(joined(FORMER, &[key.as_bytes()]), encode(former));
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
        let Some((first, rest)) = rest.split_first_chunk::<32>() else {
            return Ok(None);
        };
        if let (REPORT, []) = (*tag, rest) {
            let id = Hash::from_bytes(*first);
            self.reports.insert(id, decode(at, value)?);
        } else if let (MISDEED, Ok(once)) = (*tag, rest.try_into()) {
            let place = (Key::from_bytes(*first), Hash::from_bytes(once));
            self.misdeeds.insert(place, decode(at, value)?);
        } else if let (FORMER, []) = (*tag, rest) {
            let key = Key::from_bytes(*first);
            self.former.insert(key, decode(at, value)?);
        } else {
            return Ok(None);
        }
        Ok(Some(()))
    }

    /// What was put down for reports and appeals.
    pub(super) fn deposits(&self) -> impl Iterator<Item = Amount> {
        let all = self.reports.values();
        all.flat_map(|report| [report.deposit, report.appeal.unwrap_or_default()])
    }

    /// Remembers keys that a node has no more.
    pub(super) fn retire(&mut self, keys: &NodeKeys, until_epoch: u64) {
        let former = FormerKeys {
            log: keys.log,
            until_epoch,
        };
        self.former.insert(keys.node, former);
    }
}

impl State {
    /// A report that is not over, by the id of the transaction that accused.
    pub fn report_of(&self, id: &Hash) -> Option<&Report> {
        self.slashing.reports.get(id)
    }

    /// All reports that are not over, ascending by id.
    pub fn reports(&self) -> impl Iterator<Item = (&Hash, &Report)> {
        self.slashing.reports.iter()
    }

    /// Whether the log under a node key was proven to have forked.
    pub(super) fn has_forked(&self, key: &Key) -> bool {
        let once = Misdeed::LogFork.once(&Hash::ZERO);
        self.slashing.misdeeds.contains_key(&(*key, once))
    }

    /// The log key that goes or went with a node key, if the node can still answer for it.
    fn answers_for(&self, node: &Key, key: &Key) -> Option<Option<Key>> {
        let found = self.nodes.get(node)?;
        if found.keys.node == *key {
            return Some(found.keys.log);
        }
        let owner = self.taken.get(key)?;
        let former = self.slashing.former.get(key)?;
        (owner == node).then_some(former.log)
    }

    pub(super) fn report(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        evidence: &Evidence,
    ) -> Result<(), Refusal> {
        let misdeed = evidence.misdeed();
        if !misdeed.fits(self.find(&node)?.role) {
            return Rule::OtherRole.broken();
        }
        let genesis = self.head.genesis;
        let Some((key, what)) = evidence.claim(&genesis) else {
            return Rule::NoEvidence.broken();
        };
        let Some(log) = self.answers_for(&node, &key) else {
            return Rule::OtherKey.broken();
        };
        let once = (key, misdeed.once(&what));
        if self.slashing.misdeeds.contains_key(&once) {
            return Rule::Reported.broken();
        }
        let penalty = Penalty {
            node,
            misdeed,
            fraction_ppm: self.head.parameters.slashing.fraction_ppm,
            reporter: payer.key,
        };
        let cuts = self.cuts(node, penalty.fraction_ppm);
        if cuts.total().is_zero() {
            return Rule::NothingAtStake.broken();
        }
        // Last, since it takes longest.
        if evidence.verify(&genesis, &key, log).is_err() {
            return Rule::NoEvidence.broken();
        }
        self.slashing.misdeeds.insert(once, payer.id);
        // Nothing is refused any more, and the reporter may be one of the voters.
        self.accounts.insert(payer.key, payer.account);
        self.punish(&penalty, cuts, self.head.epoch, payer.events);
        payer.account = self.account(&payer.key);
        Ok(())
    }

    pub(super) fn accuse(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        misdeed: Misdeed,
        evidence: Hash,
    ) -> Result<(), Refusal> {
        if !misdeed.fits(self.find(&node)?.role) {
            return Rule::OtherRole.broken();
        }
        let once = (node, misdeed.once(&evidence));
        if self.slashing.misdeeds.contains_key(&once) {
            return Rule::Reported.broken();
        }
        let parameters = &self.head.parameters;
        let deposit = parameters.slashing.deposit;
        payer.spend(deposit)?;
        let until_epoch = self.after(parameters.unbonding_epochs);
        let report = Report {
            reporter: payer.key,
            node,
            misdeed,
            evidence,
            deposit,
            until_epoch,
            verdict_ppm: None,
            appeal: None,
            decided: false,
        };
        self.slashing.reports.insert(payer.id, report);
        self.slashing.misdeeds.insert(once, payer.id);
        payer.events.push(Event::Accused {
            report: payer.id,
            node,
            misdeed,
            account: payer.key,
            until_epoch,
        });
        Ok(())
    }

    pub(super) fn verdict(
        &mut self,
        payer: &mut Payer<'_>,
        id: Hash,
        fraction_ppm: Option<u32>,
        signatures: &[(Key, [u8; 64])],
    ) -> Result<(), Refusal> {
        let report = self.open_report(&id)?.clone();
        let appealed = report.appeal.is_some();
        if report.decided || (report.verdict_ppm.is_some() && !appealed) {
            return Rule::Judged.broken();
        }
        let most = self.head.parameters.slashing.fraction_ppm;
        if fraction_ppm.is_some_and(|ppm| ppm == 0 || ppm > most) {
            return Rule::Fraction.broken();
        }
        self.quorum(&report, signatures)?;
        let finding = Finding {
            genesis: self.head.genesis,
            report: id,
            appeal: appealed,
            guilty: fraction_ppm.is_some(),
            fraction_ppm: fraction_ppm.unwrap_or(0),
        };
        for (checker, signature) in signatures {
            let key = self.find(checker)?.keys.node;
            if finding.verify(&key, signature).is_err() {
                return Rule::VerdictSignature.broken();
            }
        }
        payer.events.push(Event::Judged {
            report: id,
            appeal: appealed,
            fraction_ppm,
        });
        if fraction_ppm.is_none() {
            self.acquit(payer, id, &report);
            return Ok(());
        }
        let until_epoch = match appealed {
            // There is nothing to wait for.
            true => self.after(0),
            false => self.after(self.head.parameters.slashing.appeal_epochs),
        };
        if let Some(report) = self.slashing.reports.get_mut(&id) {
            report.verdict_ppm = fraction_ppm;
            report.until_epoch = until_epoch;
            report.decided = appealed;
            report.appeal = None;
        }
        if let Some(deposit) = report.appeal {
            let operator = self.find(&report.node)?.operator;
            self.forfeit(operator, deposit, payer.events);
        }
        Ok(())
    }

    /// Whether those who signed have a quorum of the stake of all checkers who may: nobody judges
    /// itself.
    fn quorum(&self, report: &Report, signatures: &[(Key, [u8; 64])]) -> Result<(), Refusal> {
        let may = |key: &Key| {
            let node = self.nodes.get(key)?;
            let fits = node.role == Role::Checker && *key != report.node && self.takes_part(node);
            fits.then_some(node.stake)
        };
        let all: Amount = self.nodes.keys().filter_map(may).sum();
        let mut signed = Vec::new();
        for (checker, _) in signatures {
            match may(checker) {
                Some(stake) => signed.push(stake),
                None => return Rule::NoChecker.broken(),
            }
        }
        let quorum_ppm = self.head.parameters.rewards.quorum_ppm;
        match !signed.is_empty() && at_least(signed.into_iter().sum(), quorum_ppm, all) {
            true => Ok(()),
            false => Rule::NoQuorum.broken(),
        }
    }

    /// Ends a report of a node that did nothing. It cannot be made again.
    fn acquit(&mut self, payer: &mut Payer<'_>, id: Hash, report: &Report) {
        self.slashing.reports.remove(&id);
        self.forfeit(report.reporter, report.deposit, payer.events);
        let operator = self.nodes.get(&report.node).map(|node| node.operator);
        if let (Some(deposit), Some(operator)) = (report.appeal, operator) {
            match operator == payer.key {
                // Whose account is being changed already.
                true => {
                    self.accounts.insert(payer.key, payer.account);
                    self.give_back(operator, deposit, payer.events);
                    payer.account = self.account(&payer.key);
                }
                false => self.give_back(operator, deposit, payer.events),
            }
        }
    }

    pub(super) fn appeal(&mut self, payer: &mut Payer<'_>, id: Hash) -> Result<(), Refusal> {
        let report = self.open_report(&id)?;
        self.operated_by(&report.node, &payer.key)?;
        if report.verdict_ppm.is_none() || report.appeal.is_some() || report.decided {
            return Rule::NoAppeal.broken();
        }
        let rules = &self.head.parameters.slashing;
        let deposit = rules.deposit;
        payer.spend(deposit)?;
        let until_epoch = self.after(rules.appeal_epochs);
        if let Some(report) = self.slashing.reports.get_mut(&id) {
            report.appeal = Some(deposit);
            report.until_epoch = until_epoch;
        }
        payer.events.push(Event::Appealed {
            report: id,
            until_epoch,
        });
        Ok(())
    }

    /// Ends what has run out, does what has waited long enough, and forgets old keys, as an epoch
    /// begins after the epoch `last`.
    pub(super) fn turn_reports(&mut self, last: u64, events: &mut Vec<Event>) {
        let epoch = self.head.epoch;
        let former = &mut self.slashing.former;
        former.retain(|_, former| former.until_epoch > epoch);
        let reports = self.slashing.reports.iter();
        let mut due: Vec<_> = reports
            .map(|(id, report)| (report.until_epoch, *id))
            .filter(|(until, _)| *until <= epoch)
            .collect();
        due.sort_unstable();
        for (_, id) in due {
            let Some(report) = self.slashing.reports.remove(&id) else {
                continue;
            };
            match report.verdict_ppm {
                Some(fraction_ppm) => {
                    let penalty = Penalty {
                        node: report.node,
                        misdeed: report.misdeed,
                        fraction_ppm,
                        reporter: report.reporter,
                    };
                    let cuts = self.cuts(report.node, fraction_ppm);
                    self.punish(&penalty, cuts, last, events);
                }
                None => {
                    let once = report.misdeed.once(&report.evidence);
                    self.slashing.misdeeds.remove(&(report.node, once));
                    events.push(Event::RanOut { report: id });
                }
            }
            self.give_back(report.reporter, report.deposit, events);
            let operator = self.nodes.get(&report.node).map(|node| node.operator);
            if let (Some(deposit), Some(operator)) = (report.appeal, operator) {
                self.give_back(operator, deposit, events);
            }
        }
    }

    fn open_report(&self, id: &Hash) -> Result<&Report, Refusal> {
        let found = self.slashing.reports.get(id);
        found.ok_or(Refusal::NoReport { report: *id })
    }

    /// The epoch that begins when so many whole epochs from the next one on are over.
    fn after(&self, epochs: u64) -> u64 {
        let epoch = self.head.epoch.saturating_add(1);
        epoch.saturating_add(epochs)
    }
}
