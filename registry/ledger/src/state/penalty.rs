//! What a misdeed costs: a part of everything that stands behind a node, and its place for a time.

use adit_protocol::Amount;
use minicbor::{Decode, Encode};
use serde::Serialize;

use super::apply::Payer;
use super::{State, Target, Unbonding, add};
use crate::event::Event;
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::registration::Role;
use crate::rules::PPM;
use crate::slashing::Misdeed;

/// Why a node does not take part, and until when at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Jailed {
    /// What it did last.
    #[n(0)]
    pub misdeed: Misdeed,
    /// The first epoch in which its operator can let it take part again.
    #[n(1)]
    pub until_epoch: u64,
}

/// Who did what, and what part of the stake it costs.
#[derive(Clone, Copy)]
pub(super) struct Penalty {
    pub node: Key,
    pub misdeed: Misdeed,
    pub fraction_ppm: u32,
    /// Who reported it; it gets a share, unless the case was one of judgement, or the node its own.
    pub reporter: Key,
}

/// What is taken of the stake behind a node.
#[derive(Default)]
pub(super) struct Cuts {
    votes: Vec<(Key, Amount)>,
    unbonding: Vec<(Unbonding, Amount)>,
}

impl Cuts {
    /// All of it.
    pub fn total(&self) -> Amount {
        let votes = self.votes.iter().map(|(_, cut)| *cut);
        votes
            .chain(self.unbonding.iter().map(|(_, cut)| *cut))
            .sum()
    }
}

impl Unbonding {
    /// Whether these tokens were votes, and can be taken for what the node did. Escrow never is: it
    /// belongs to the tasks.
    pub(super) fn was_votes(&self) -> bool {
        self.node != Key::NONE && self.to != Target::Escrow
    }
}

impl State {
    /// What a fraction of the votes for a node, and of what unbonds from it, comes to: of each the
    /// whole units.
    pub(super) fn cuts(&self, node: Key, fraction_ppm: u32) -> Cuts {
        let votes = self.votes_for(node);
        let first = Unbonding {
            until_epoch: 0,
            account: Key::NONE,
            node,
            to: Target::Free,
        };
        let unbonding = self.by_account.unbonding_from.range((node, first)..);
        let unbonding = unbonding.take_while(|(from, _)| *from == node);
        Cuts {
            votes: votes
                .map(|(voter, amount)| (voter, part(amount, fraction_ppm)))
                .filter(|(_, cut)| !cut.is_zero())
                .collect(),
            unbonding: unbonding
                .filter_map(|(_, at)| Some((*at, part(*self.unbonding.get(at)?, fraction_ppm))))
                .filter(|(_, cut)| !cut.is_zero())
                .collect(),
        }
    }

    /// Takes what was found, gives the reporter its share, burns the rest, and jails the node. What
    /// voters had staked is remembered for the epoch `as_of`, the last that had begun before.
    pub(super) fn punish(
        &mut self,
        penalty: &Penalty,
        cuts: Cuts,
        as_of: u64,
        events: &mut Vec<Event>,
    ) {
        let taken = cuts.total();
        for (voter, cut) in cuts.votes {
            self.cut_votes(penalty.node, voter, cut, as_of);
        }
        for (at, cut) in cuts.unbonding {
            match self.unbonding.get(&at).and_then(|found| found.minus(cut)) {
                Some(left) if !left.is_zero() => drop(self.unbonding.insert(at, left)),
                _ => {
                    self.unbonding.remove(&at);
                    self.by_account.unbonding.remove(&(at.account, at));
                    self.by_account.unbonding_from.remove(&(at.node, at));
                }
            }
        }
        let operator = self.nodes.get(&penalty.node).map(|node| node.operator);
        let share_ppm = match penalty.misdeed {
            // Nobody should earn by what others have to judge.
            Misdeed::Judgement => 0,
            // Nor get a part of it back by being first. Another account of its own gets it still.
            _ if operator == Some(penalty.reporter) => 0,
            _ => self.head.parameters.slashing.reporter_ppm,
        };
        let reward = part(taken, share_ppm);
        if !reward.is_zero() {
            let reporter = self.accounts.entry(penalty.reporter).or_default();
            add(&mut reporter.free, reward);
        }
        add(
            &mut self.head.burned,
            taken.minus(reward).unwrap_or_default(),
        );
        // As long as its stake would need to leave: until then, what else it did is found, and
        // whoever does not want to vote for it any more is gone.
        let epochs = self.head.parameters.unbonding_epochs.saturating_add(1);
        let until_epoch = self.head.epoch.saturating_add(epochs);
        if let Some(node) = self.nodes.get_mut(&penalty.node) {
            node.jailed = Some(Jailed {
                misdeed: penalty.misdeed,
                until_epoch,
            });
        }
        events.push(Event::Slashed {
            node: penalty.node,
            misdeed: penalty.misdeed,
            amount: taken,
            reporter: penalty.reporter,
            reward,
            jailed_until_epoch: until_epoch,
        });
    }

    fn cut_votes(&mut self, node: Key, voter: Key, cut: Amount, as_of: u64) {
        let before = self.staked(&voter);
        self.remember_stake(voter, as_of, before);
        let votes = self.votes.get(&(node, voter)).copied().unwrap_or_default();
        match votes.minus(cut) {
            Some(left) if !left.is_zero() => drop(self.votes.insert((node, voter), left)),
            _ => {
                self.votes.remove(&(node, voter));
                self.by_account.votes.remove(&(voter, node));
                let account = self.accounts.entry(voter).or_default();
                account.votes = account.votes.saturating_sub(1);
            }
        }
        if let Some(node) = self.nodes.get_mut(&node) {
            node.stake = match node.stake.minus(cut) {
                Some(left) => left,
                None => unreachable!("a node's stake is the sum of its votes"),
            };
        }
    }

    pub(super) fn unjail(&mut self, payer: &mut Payer<'_>, node: Key) -> Result<(), Refusal> {
        let found = self.operated_by(&node, &payer.key)?;
        let Some(jailed) = found.jailed else {
            return Rule::NotJailed.broken();
        };
        if found.leaving {
            return Rule::Leaving.broken();
        }
        if self.head.epoch < jailed.until_epoch {
            return Rule::StillJailed.broken();
        }
        // Nobody can follow a log with two ends: it goes on under another key.
        if found.role == Role::Coordinator && self.has_forked(&found.keys.node) {
            return Rule::ForkedLog.broken();
        }
        let min = self.head.parameters.stake_min(found.role);
        if found.stake < min {
            return Err(Refusal::Bond {
                role: found.role,
                min,
                found: found.stake,
            });
        }
        if let Some(found) = self.nodes.get_mut(&node) {
            found.jailed = None;
        }
        payer.events.push(Event::Unjailed { node });
        Ok(())
    }
}

/// The whole units of a part. Amounts in a state have at most 80 bits.
fn part(amount: Amount, ppm: u32) -> Amount {
    let units = amount.units().saturating_mul(u128::from(ppm));
    Amount::from_units(units / u128::from(PPM))
}
