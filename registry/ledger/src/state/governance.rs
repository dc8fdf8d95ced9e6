//! Proposals: made, voted on, counted, and done after the timelock.
//!
//! ```text
//!            voting_epochs           timelock_epochs
//!   propose ──────────────► counted ─────────────────► takes effect
//!                              └─► rejected
//! ```
//!
//! Everything happens at the beginning of an epoch: what is counted then is counted with the rules
//! as they are then, and what takes effect must fit together with them, or it fails whole.

use std::collections::BTreeMap;

use adit_protocol::{Amount, Hash};
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::apply::Payer;
use super::encoding::{EntryError, decode, encode, joined};
use super::{State, add};
use crate::event::Event;
use crate::genesis::Parameters;
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::rules::PPM;
use crate::setting::Setting;

/// Most proposals at one time, voted on or waiting to take effect. Each costs a deposit, and who
/// makes many that nobody votes on loses them all.
pub const PROPOSALS_MAX: usize = 32;

const STAKE: u8 = 10;
const PROPOSAL: u8 = 11;
const BALLOT: u8 = 12;

/// Tokens of the treasury for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Spend {
    /// Who gets them, as free tokens.
    #[n(0)]
    pub account: Key,
    /// How many, in 10^-12 token.
    #[n(1)]
    pub amount: Amount,
}

/// A proposal that is voted on, or was accepted and waits.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Proposal {
    /// Who made it.
    #[n(0)]
    pub proposer: Key,
    /// The epoch in which it was made; stake as of its beginning counts.
    #[n(1)]
    pub epoch: u64,
    /// What it is about, for people.
    #[n(2)]
    pub title: String,
    /// The parameters that it changes.
    #[n(3)]
    pub settings: Vec<Setting>,
    /// What it spends of the treasury.
    #[n(4)]
    pub spends: Vec<Spend>,
    /// What the proposer put down and does not have back yet, in 10^-12 token.
    #[n(5)]
    pub deposit: Amount,
    /// All stake that may vote, in 10^-12 token.
    #[n(6)]
    pub staked: Amount,
    /// The stake that voted for it, in 10^-12 token.
    #[n(7)]
    pub yes: Amount,
    /// The stake that voted against it, in 10^-12 token.
    #[n(8)]
    pub no: Amount,
    /// The epoch at whose beginning it is counted.
    #[n(9)]
    pub until_epoch: u64,
    /// The epoch at whose beginning it takes effect, once it was accepted.
    #[n(10)]
    pub effect_epoch: Option<u64>,
}

/// What the state holds of proposals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Governance {
    /// See [`super::stakes`]: what an account had staked as an epoch had begun.
    pub(super) stakes: BTreeMap<(Key, u64), Amount>,
    /// By the id of the transaction.
    proposals: BTreeMap<Hash, Proposal>,
    /// Who voted on a proposal, and whether for it.
    ballots: BTreeMap<(Hash, Key), bool>,
}

impl Governance {
    /// Whether an entry with this tag belongs here.
    pub(super) fn owns(tag: u8) -> bool {
        matches!(tag, STAKE | PROPOSAL | BALLOT)
    }

    /// Puts its entries, in order.
    pub(super) fn entries(&self, put: &mut impl FnMut(Vec<u8>, Vec<u8>)) {
        for ((account, epoch), amount) in &self.stakes {
            let mut key = joined(STAKE, &[account.as_bytes()]);
            key.extend(epoch.to_be_bytes());
            put(key, encode(amount));
        }
        for (id, proposal) in &self.proposals {
            put(joined(PROPOSAL, &[id.as_bytes()]), encode(proposal));
        }
        for ((id, account), yes) in &self.ballots {
            let key = joined(BALLOT, &[id.as_bytes(), account.as_bytes()]);
            put(key, encode(yes));
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
        if let (STAKE, Ok(epoch)) = (*tag, rest.try_into()) {
            let place = (Key::from_bytes(*first), u64::from_be_bytes(epoch));
            self.stakes.insert(place, decode(at, value)?);
        } else if let (PROPOSAL, []) = (*tag, rest) {
            let id = Hash::from_bytes(*first);
            self.proposals.insert(id, decode(at, value)?);
        } else if let (BALLOT, Ok(account)) = (*tag, rest.try_into()) {
            let place = (Hash::from_bytes(*first), Key::from_bytes(account));
            self.ballots.insert(place, decode(at, value)?);
        } else {
            return Ok(None);
        }
        Ok(Some(()))
    }

    /// What proposers put down.
    pub(super) fn deposits(&self) -> impl Iterator<Item = Amount> {
        self.proposals.values().map(|proposal| proposal.deposit)
    }
}

impl State {
    /// A proposal, by the id of the transaction that made it.
    pub fn proposal(&self, id: &Hash) -> Option<&Proposal> {
        self.governance.proposals.get(id)
    }

    /// All proposals that are voted on or wait, ascending by id.
    pub fn proposals(&self) -> impl Iterator<Item = (&Hash, &Proposal)> {
        self.governance.proposals.iter()
    }

    /// Who voted on a proposal that is not counted yet, and whether for it, ascending by account.
    pub fn ballots(&self, id: Hash) -> impl Iterator<Item = (Key, bool)> {
        let all = (id, Key::NONE)..=(id, Key::LAST);
        let ballots = self.governance.ballots.range(all);
        ballots.map(|((_, account), yes)| (*account, *yes))
    }

    /// Those that are not counted yet.
    pub(super) fn voted_on(&self) -> impl Iterator<Item = &Proposal> {
        let all = self.governance.proposals.values();
        all.filter(|proposal| proposal.effect_epoch.is_none())
    }

    pub(super) fn propose(
        &mut self,
        payer: &mut Payer<'_>,
        title: &str,
        settings: &[Setting],
        spends: &[Spend],
    ) -> Result<(), Refusal> {
        changed(&self.head.parameters, settings)?;
        if spends.iter().any(|spend| spend.amount.is_zero()) {
            return Err(Refusal::Nothing);
        }
        if self.governance.proposals.len() >= PROPOSALS_MAX {
            return Rule::ManyProposals.broken();
        }
        let rules = &self.head.parameters.governance;
        payer.spend(rules.deposit)?;
        let epochs = rules.voting_epochs.saturating_add(1);
        let until_epoch = self.head.epoch.saturating_add(epochs);
        let proposal = Proposal {
            proposer: payer.key,
            epoch: self.head.epoch,
            title: title.to_owned(),
            settings: settings.to_vec(),
            spends: spends.to_vec(),
            deposit: rules.deposit,
            staked: self.head.staked,
            yes: Amount::ZERO,
            no: Amount::ZERO,
            until_epoch,
            effect_epoch: None,
        };
        self.governance.proposals.insert(payer.id, proposal);
        payer.events.push(Event::Proposed {
            proposal: payer.id,
            account: payer.key,
            until_epoch,
        });
        Ok(())
    }

    pub(super) fn ballot(
        &mut self,
        payer: &mut Payer<'_>,
        id: Hash,
        yes: bool,
    ) -> Result<(), Refusal> {
        let found = self.governance.proposals.get(&id);
        let proposal = found.ok_or(Refusal::NoProposal { proposal: id })?;
        if proposal.effect_epoch.is_some() {
            return Rule::Counted.broken();
        }
        if self.governance.ballots.contains_key(&(id, payer.key)) {
            return Rule::VotedAlready.broken();
        }
        let weight = self.staked_at(&payer.key, proposal.epoch);
        if weight.is_zero() {
            return Rule::NoWeight.broken();
        }
        if let Some(proposal) = self.governance.proposals.get_mut(&id) {
            let side = match yes {
                true => &mut proposal.yes,
                false => &mut proposal.no,
            };
            add(side, weight);
        }
        self.governance.ballots.insert((id, payer.key), yes);
        payer.events.push(Event::Balloted {
            proposal: id,
            account: payer.key,
            yes,
            weight,
        });
        Ok(())
    }

    /// Counts what was voted on long enough, and does what has waited long enough.
    pub(super) fn turn_proposals(&mut self, events: &mut Vec<Event>) {
        let epoch = self.head.epoch;
        let mut due: Vec<_> = (self.governance.proposals.iter())
            .map(|(id, proposal)| (proposal.effect_epoch, proposal.until_epoch, *id))
            .filter(|(effect, until, _)| effect.unwrap_or(*until) <= epoch)
            .collect();
        // Votes are counted first, then what was accepted is done, the earliest first.
        due.sort_unstable();
        for (effect, _, id) in due {
            match effect {
                None => self.count(id, events),
                Some(_) => self.enact(id, events),
            }
        }
    }

    fn count(&mut self, id: Hash, events: &mut Vec<Event>) {
        let governance = &mut self.governance;
        let all = (id, Key::NONE)..=(id, Key::LAST);
        let voters: Vec<_> = governance.ballots.range(all).map(|(at, _)| *at).collect();
        for at in &voters {
            governance.ballots.remove(at);
        }
        let Some(proposal) = governance.proposals.get_mut(&id) else {
            return;
        };
        let rules = &self.head.parameters.governance;
        let (yes, no, staked) = (proposal.yes, proposal.no, proposal.staked);
        let voted: Amount = [yes, no].into_iter().sum();
        // Without any stake there is no decision, whatever the rules say.
        let quorum = !voted.is_zero() && at_least(voted, rules.quorum_ppm, staked);
        let accepted = quorum && at_least(yes, rules.threshold_ppm, voted);
        let effect_epoch = self.head.epoch.saturating_add(rules.timelock_epochs);
        let (proposer, deposit) = (proposal.proposer, proposal.deposit);
        proposal.deposit = Amount::ZERO;
        proposal.effect_epoch = Some(effect_epoch);
        if !accepted {
            governance.proposals.remove(&id);
        }
        events.push(Event::Counted {
            proposal: id,
            yes,
            no,
            staked,
            quorum,
            effect_epoch: accepted.then_some(effect_epoch),
        });
        match quorum {
            true => self.give_back(proposer, deposit, events),
            false => self.forfeit(proposer, deposit, events),
        }
    }

    fn enact(&mut self, id: Hash, events: &mut Vec<Event>) {
        let Some(proposal) = self.governance.proposals.remove(&id) else {
            return;
        };
        let all = proposal.spends.iter().map(|spend| spend.amount).sum();
        let parameters = changed(&self.head.parameters, &proposal.settings);
        let (parameters, treasury) = match (parameters, self.head.treasury.minus(all)) {
            (Ok(parameters), Some(left)) => (parameters, left),
            (Err(refusal), _) => {
                let why = refusal.to_string();
                events.push(Event::Failed { proposal: id, why });
                return;
            }
            (_, None) => {
                let why = format!("the treasury has {}, not {all}", self.head.treasury);
                events.push(Event::Failed { proposal: id, why });
                return;
            }
        };
        self.remember_rules(&parameters);
        self.head.parameters = parameters;
        self.head.treasury = treasury;
        events.push(Event::Enacted { proposal: id });
        for Spend { account, amount } in proposal.spends {
            add(&mut self.accounts.entry(account).or_default().free, amount);
            events.push(Event::Spent {
                proposal: id,
                account,
                amount,
            });
        }
    }

    /// Gives a deposit back.
    pub(super) fn give_back(&mut self, account: Key, amount: Amount, events: &mut Vec<Event>) {
        if !amount.is_zero() {
            add(&mut self.accounts.entry(account).or_default().free, amount);
            events.push(Event::DepositReturned { account, amount });
        }
    }

    /// A deposit is lost, and belongs to the network.
    pub(super) fn forfeit(&mut self, account: Key, amount: Amount, events: &mut Vec<Event>) {
        if !amount.is_zero() {
            add(&mut self.head.treasury, amount);
            events.push(Event::DepositLost { account, amount });
        }
    }
}

/// The parameters with these settings, if they fit together.
fn changed(parameters: &Parameters, settings: &[Setting]) -> Result<Parameters, Refusal> {
    let mut changed = parameters.clone();
    let mut all = settings.iter();
    all.try_for_each(|setting| setting.apply(&mut changed))
        .and_then(|()| changed.check())
        .map_err(|invalid| Refusal::Settings {
            name: invalid.field,
            why: invalid.detail,
        })?;
    Ok(changed)
}

/// Whether a part is at least so many parts per million of the whole. Amounts in a state have at most
/// 80 bits.
pub(super) fn at_least(part: Amount, ppm: u32, whole: Amount) -> bool {
    let part = part.units().saturating_mul(u128::from(PPM));
    part >= whole.units().saturating_mul(u128::from(ppm))
}
