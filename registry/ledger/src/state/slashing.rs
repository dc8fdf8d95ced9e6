//! What the state knows of misdeeds, and reports that prove them by themselves: two signatures that
//! contradict each other. They take effect at once. For others see [`super::verdicts`].
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
use super::penalty::Penalty;
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::slashing::{Evidence, Misdeed};

const REPORT: u8 = 13;
const MISDEED: u8 = 14;

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

/// What the state holds of misdeeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slashing {
    /// By the id of the transaction.
    pub(super) reports: BTreeMap<Hash, Report>,
    /// The transaction that reported it, by the node's key or, of accusations, the node, and
    /// [`Misdeed::once`].
    pub(super) misdeeds: BTreeMap<(Key, Hash), Hash>,
}

impl Slashing {
    /// Whether an entry with this tag belongs here.
    pub(super) fn owns(tag: u8) -> bool {
        matches!(tag, REPORT | MISDEED)
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
    pub(super) fn answers_for(&self, node: &Key, key: &Key) -> Option<Option<Key>> {
        let found = self.nodes.get(node)?;
        let former = found.former_keys.iter().map(|former| &former.keys);
        let mut all = former.chain([&found.keys]);
        all.find(|keys| keys.node == *key).map(|keys| keys.log)
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
        if evidence.verify(&genesis, &key, log).is_err() {
            return Rule::NoEvidence.broken();
        }
        // Last: of a node with many voters it takes longest, and nobody should ask for it for nothing.
        let cuts = self.cuts(node, penalty.fraction_ppm);
        if cuts.total().is_zero() {
            return Rule::NothingAtStake.broken();
        }
        self.slashing.misdeeds.insert(once, payer.id);
        // Nothing is refused any more, and the reporter may be one of the voters.
        self.accounts.insert(payer.key, payer.account);
        self.punish(&penalty, cuts, self.head.epoch, payer.events);
        payer.account = self.account(&payer.key);
        Ok(())
    }
}
