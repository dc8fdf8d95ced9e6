//! Stake, votes and escrow, and how they unbond.
//!
//! ```text
//!          stake             vote
//!   free ────────► stake ────────► votes for a node
//!     ▲             │  ▲             │   │
//!     │   unstake   │  └── unvote ───┘   │
//!     └─────────────┴────── unstake from ┘      each after the unbonding time
//! ```
//!
//! Votes that unbond stay with the node for as long: what it did while they counted can still cost
//! them.

use adit_protocol::Amount;

use super::apply::{Payer, some, take};
use super::{Node, State, Target, Unbonding, add};
use crate::event::Event;
use crate::key::Key;
use crate::refusal::{Refusal, Rule};
use crate::registration::Role;

/// Most nodes that an account votes for.
const VOTES_MAX: u32 = 64;

impl State {
    pub(super) fn stake(&mut self, payer: &mut Payer<'_>, amount: Amount) -> Result<(), Refusal> {
        some(amount)?;
        payer.spend(amount)?;
        add(&mut payer.account.stake, amount);
        payer.events.push(Event::Staked {
            account: payer.key,
            amount,
        });
        Ok(())
    }

    pub(super) fn unstake(
        &mut self,
        payer: &mut Payer<'_>,
        amount: Amount,
        from: Option<Key>,
    ) -> Result<(), Refusal> {
        some(amount)?;
        match from {
            Some(node) => self.take_votes(payer, node, amount)?,
            None => payer.account.stake = take(payer.account.stake, amount, "staked and no votes")?,
        }
        self.unbond(payer, from, amount, Target::Free);
        Ok(())
    }

    pub(super) fn vote(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        amount: Amount,
    ) -> Result<(), Refusal> {
        some(amount)?;
        if self.find(&node)?.leaving {
            return Rule::Leaving.broken();
        }
        self.give_votes(payer, node, amount)
    }

    pub(super) fn unvote(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        amount: Amount,
    ) -> Result<(), Refusal> {
        some(amount)?;
        self.take_votes(payer, node, amount)?;
        self.unbond(payer, Some(node), amount, Target::Stake);
        Ok(())
    }

    pub(super) fn deposit(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        amount: Amount,
    ) -> Result<(), Refusal> {
        some(amount)?;
        let (_, leaving) = self.escrow(node)?;
        if leaving {
            return Rule::Leaving.broken();
        }
        payer.spend(amount)?;
        if let Some(node) = self.nodes.get_mut(&node) {
            add(&mut node.escrow, amount);
        }
        payer.events.push(Event::Deposited {
            node,
            account: payer.key,
            amount,
        });
        Ok(())
    }

    pub(super) fn withdraw(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        amount: Amount,
    ) -> Result<(), Refusal> {
        some(amount)?;
        let (escrow, _) = self.escrow(node)?;
        self.operated_by(&node, &payer.key)?;
        let left = take(escrow, amount, "in escrow")?;
        if let Some(node) = self.nodes.get_mut(&node) {
            node.escrow = left;
        }
        self.unbond(payer, Some(node), amount, Target::Escrow);
        Ok(())
    }

    /// What is in a coordinator's escrow, and whether it is leaving.
    fn escrow(&self, node: Key) -> Result<(Amount, bool), Refusal> {
        let Node {
            role,
            escrow,
            leaving,
            ..
        } = self.find(&node)?;
        match role {
            Role::Coordinator => Ok((*escrow, *leaving)),
            _ => Rule::NoCoordinator.broken(),
        }
    }

    /// Makes stake votes for a node that exists; nothing but the payer's copy is changed on a refusal.
    pub(super) fn give_votes(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        amount: Amount,
    ) -> Result<(), Refusal> {
        let before = self.votes.get(&(node, payer.key)).copied();
        payer.account.stake = take(payer.account.stake, amount, "staked and no votes")?;
        if before.is_none() {
            if amount < self.head.parameters.vote_min {
                return Rule::SmallVote.broken();
            }
            if payer.account.votes >= VOTES_MAX {
                return Rule::ManyVotes.broken();
            }
            payer.account.votes += 1;
        }
        add(self.votes.entry((node, payer.key)).or_default(), amount);
        self.by_account.votes.insert((payer.key, node));
        if let Some(node) = self.nodes.get_mut(&node) {
            add(&mut node.stake, amount);
        }
        payer.events.push(Event::Voted {
            account: payer.key,
            node,
            amount,
        });
        Ok(())
    }

    /// Takes votes for a node back. What is left of them is nothing, or not too little.
    fn take_votes(
        &mut self,
        payer: &mut Payer<'_>,
        node: Key,
        amount: Amount,
    ) -> Result<(), Refusal> {
        self.find(&node)?;
        let votes = self.votes.get(&(node, payer.key)).copied();
        let left = take(votes.unwrap_or_default(), amount, "in votes for the node")?;
        match left.is_zero() {
            true => {
                self.votes.remove(&(node, payer.key));
                self.by_account.votes.remove(&(payer.key, node));
                payer.account.votes = payer.account.votes.saturating_sub(1);
            }
            false if left < self.head.parameters.vote_min => return Rule::SmallVote.broken(),
            false => {
                self.votes.insert((node, payer.key), left);
            }
        }
        if let Some(node) = self.nodes.get_mut(&node) {
            node.stake = match node.stake.minus(amount) {
                Some(left) => left,
                None => unreachable!("a node's stake is the sum of its votes"),
            };
        }
        Ok(())
    }

    /// Lets tokens unbond. They are released when the epochs from the next one on are over.
    fn unbond(&mut self, payer: &mut Payer<'_>, node: Option<Key>, amount: Amount, to: Target) {
        let epochs = self.head.parameters.unbonding_epochs.saturating_add(1);
        let until_epoch = self.head.epoch.saturating_add(epochs);
        let key = Unbonding {
            until_epoch,
            account: payer.key,
            node: node.unwrap_or(Key::NONE),
            to,
        };
        add(self.unbonding.entry(key).or_default(), amount);
        self.by_account.unbonding.insert((payer.key, key));
        if key.was_votes() {
            self.by_account.unbonding_from.insert((key.node, key));
        }
        payer.events.push(Event::Unbonding {
            account: payer.key,
            node,
            amount,
            to,
            until_epoch,
        });
    }

    /// Releases what is done unbonding in this epoch.
    pub(super) fn release(&mut self, events: &mut Vec<Event>) {
        while let Some(first) = self.unbonding.first_entry()
            && first.key().until_epoch <= self.head.epoch
        {
            let (unbonding, amount) = first.remove_entry();
            let entry = (unbonding.account, unbonding);
            self.by_account.unbonding.remove(&entry);
            let entry = (unbonding.node, unbonding);
            self.by_account.unbonding_from.remove(&entry);
            if unbonding.to == Target::Escrow && self.owes(&unbonding.node) {
                // Receipts wait to be paid of it.
                let later = Unbonding {
                    until_epoch: self.head.epoch.saturating_add(1),
                    ..unbonding
                };
                add(self.unbonding.entry(later).or_default(), amount);
                self.by_account.unbonding.insert((later.account, later));
                continue;
            }
            let account = self.accounts.entry(unbonding.account).or_default();
            match unbonding.to {
                Target::Free | Target::Escrow => add(&mut account.free, amount),
                Target::Stake => add(&mut account.stake, amount),
            }
            events.push(Event::Released {
                account: unbonding.account,
                amount,
                to: unbonding.to,
            });
        }
    }
}
