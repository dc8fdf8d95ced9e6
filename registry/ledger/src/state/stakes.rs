//! What an account had staked at the beginning of an epoch: the weight of its ballots.
//!
//! A proposal is voted on with the stake as of the beginning of the epoch in which it was made, so
//! that nobody stakes for it, and nobody votes twice with the same tokens. At the first change of
//! what an account has staked in an epoch, the state remembers what it was before. Of that, only
//! what a proposal asks for outlasts the epoch: for each account at most one amount for each epoch
//! with a proposal that is voted on.

use adit_protocol::Amount;

use super::{State, Target};
use crate::key::Key;

impl State {
    /// All that an account has staked, votes included and what unbonds not.
    pub fn staked(&self, account: &Key) -> Amount {
        let votes = self.votes_of(*account).map(|(_, amount)| amount);
        votes.chain([self.account(account).stake]).sum()
    }

    /// What an account had staked when an epoch had begun, of which something is asked still.
    pub(super) fn staked_at(&self, account: &Key, epoch: u64) -> Amount {
        let all = (*account, epoch)..=(*account, u64::MAX);
        let first = self.governance.stakes.range(all).next();
        first.map_or_else(|| self.staked(account), |(_, amount)| *amount)
    }

    /// Remembers what an account had staked before it changes, or has changed, in an epoch.
    pub(super) fn remember_stake(&mut self, account: Key, epoch: u64, before: Amount) {
        let stakes = &mut self.governance.stakes;
        stakes.entry((account, epoch)).or_insert(before);
    }

    /// Remembers what those have staked whose votes will be stake in an epoch that is about to begin:
    /// that counts for proposals of that epoch, and not for older ones.
    pub(super) fn remember_before_release(&mut self, epoch: u64) {
        if self.voted_on().next().is_none() {
            return;
        }
        let due = self.unbonding.keys();
        let due = due.take_while(|unbonding| unbonding.until_epoch <= epoch);
        let due = due.filter(|unbonding| unbonding.to == Target::Stake);
        let accounts: Vec<_> = due.map(|unbonding| unbonding.account).collect();
        for account in accounts {
            let staked = self.staked(&account);
            self.remember_stake(account, self.head.epoch, staked);
        }
    }

    /// Forgets what no proposal asks for, as an epoch begins, and counts all stake.
    pub(super) fn turn_stakes(&mut self) {
        let mut epochs: Vec<_> = self.voted_on().map(|proposal| proposal.epoch).collect();
        epochs.sort_unstable();
        let mut last: Option<(Key, u64)> = None;
        self.governance.stakes.retain(|(account, epoch), _| {
            // Asked for are the epochs after the account's entry before this one, up to this one.
            let after = last.filter(|(whose, _)| whose == account);
            let after = after.map_or(0, |(_, epoch)| epoch.saturating_add(1));
            last = Some((*account, *epoch));
            let first = epochs.partition_point(|asked| *asked < after);
            epochs.get(first).is_some_and(|asked| asked <= epoch)
        });
        let accounts = self.accounts.values().map(|account| account.stake);
        let votes = self.nodes.values().map(|node| node.stake);
        self.head.staked = accounts.chain(votes).sum();
    }
}
