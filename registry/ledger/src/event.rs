//! What happened to the ledger, for those who follow it.

use adit_protocol::{Amount, Hash};
use serde::Serialize;

use crate::index::{ComponentName, Scope, Version};
use crate::key::Key;
use crate::registration::Role;
use crate::slashing::Misdeed;
use crate::state::Target;

/// Something that a block or a transaction did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// An epoch began.
    Epoch {
        /// Its number.
        epoch: u64,
    },
    /// A fee was burned.
    Burned {
        /// Who paid.
        account: Key,
        /// How much.
        amount: Amount,
    },
    /// Tokens went to another account.
    Transferred {
        /// From whom.
        from: Key,
        /// To whom.
        to: Key,
        /// How many.
        amount: Amount,
    },
    /// The faucet made tokens.
    Minted {
        /// For whom.
        account: Key,
        /// How many.
        amount: Amount,
    },
    /// Free tokens are stake now.
    Staked {
        /// Whose.
        account: Key,
        /// How many.
        amount: Amount,
    },
    /// Stake counts for a node now.
    Voted {
        /// Whose.
        account: Key,
        /// For which node.
        node: Key,
        /// How many.
        amount: Amount,
    },
    /// Stake, votes or escrow began to unbond.
    Unbonding {
        /// Whose.
        account: Key,
        /// Of which node, if of one.
        node: Option<Key>,
        /// How many.
        amount: Amount,
        /// What they will be.
        to: Target,
        /// The epoch at whose beginning they will.
        until_epoch: u64,
    },
    /// The unbonding time is over.
    Released {
        /// Whose.
        account: Key,
        /// How many.
        amount: Amount,
        /// What they are now.
        to: Target,
    },
    /// A node takes part.
    Registered {
        /// The node.
        node: Key,
        /// What it does.
        role: Role,
        /// Who pays for it and is paid.
        operator: Key,
    },
    /// Something said of a node is different.
    Updated {
        /// The node.
        node: Key,
    },
    /// A node has other keys from an epoch on.
    KeysRotated {
        /// The node.
        node: Key,
        /// Its new node key.
        key: Key,
        /// The epoch.
        from_epoch: u64,
    },
    /// A node leaves at the end of the epoch.
    Deregistered {
        /// The node.
        node: Key,
    },
    /// Tokens are in a coordinator's escrow.
    Deposited {
        /// The coordinator.
        node: Key,
        /// Who gave them.
        account: Key,
        /// How many.
        amount: Amount,
    },
    /// It is fixed which leaves of a coordinator's log belong to an epoch.
    Closed {
        /// The coordinator.
        node: Key,
        /// The epoch.
        epoch: u64,
        /// The first leaf.
        first: u64,
        /// The leaf after the last.
        size: u64,
    },
    /// An epoch is settled.
    Settled {
        /// The epoch.
        epoch: u64,
        /// What was minted, in 10^-12 token.
        minted: Amount,
        /// What was burned of escrows.
        burned: Amount,
        /// What accounts earned.
        paid: Amount,
        /// The epoch from which on it can be claimed.
        from_epoch: u64,
    },
    /// An account has taken what it earned.
    Claimed {
        /// The account.
        account: Key,
        /// How many.
        amount: Amount,
    },
    /// A node was punished.
    Slashed {
        /// The node.
        node: Key,
        /// What it did.
        misdeed: Misdeed,
        /// What was taken of the votes for it, and of what unbonds from it.
        amount: Amount,
        /// Who reported it.
        reporter: Key,
        /// What that account got of it; the rest is burned.
        reward: Amount,
        /// The first epoch in which the node can take part again.
        jailed_until_epoch: u64,
    },
    /// A node can take part again.
    Unjailed {
        /// The node.
        node: Key,
    },
    /// A node is accused, and checkers should find a verdict.
    Accused {
        /// The report.
        report: Hash,
        /// The node.
        node: Key,
        /// What it is said to have done.
        misdeed: Misdeed,
        /// Who says so.
        account: Key,
        /// The epoch at whose beginning the report runs out.
        until_epoch: u64,
    },
    /// A quorum of checkers found a verdict.
    Judged {
        /// The report.
        report: Hash,
        /// Whether it is the second verdict, which is for good.
        appeal: bool,
        /// What the node loses, in parts per million; absent if it is not guilty.
        fraction_ppm: Option<u32>,
    },
    /// The accused asks for a second verdict.
    Appealed {
        /// The report.
        report: Hash,
        /// The epoch at whose beginning the first verdict takes effect, if there is no other.
        until_epoch: u64,
    },
    /// A report had no verdict in time.
    RanOut {
        /// The report.
        report: Hash,
    },
    /// A receipt is said to be missing in its coordinator's log.
    LateReceipt {
        /// The receipt's assignment.
        assignment: Hash,
        /// The coordinator.
        node: Key,
        /// Who says so.
        account: Key,
        /// The epoch at whose beginning the claim stands, if nobody answers it.
        until_epoch: u64,
    },
    /// That was not so, and what was put down for the claim belongs to whoever has shown it.
    Answered {
        /// The receipt's assignment.
        assignment: Hash,
        /// Who has answered.
        account: Key,
        /// What was put down.
        amount: Amount,
    },
    /// Nobody has shown that, and the receipt is to be paid.
    Owed {
        /// The receipt's assignment.
        assignment: Hash,
        /// The coordinator.
        node: Key,
        /// The first epoch with which it can be settled.
        epoch: u64,
    },
    /// A proposal is voted on.
    Proposed {
        /// Its id.
        proposal: Hash,
        /// Who made it.
        account: Key,
        /// The epoch at whose beginning the votes are counted.
        until_epoch: u64,
    },
    /// An account voted on a proposal.
    Balloted {
        /// The proposal.
        proposal: Hash,
        /// Who.
        account: Key,
        /// Whether for it.
        yes: bool,
        /// The stake with which it counts.
        weight: Amount,
    },
    /// The votes on a proposal were counted.
    Counted {
        /// The proposal.
        proposal: Hash,
        /// The stake for it.
        yes: Amount,
        /// The stake against it.
        no: Amount,
        /// All stake that could vote.
        staked: Amount,
        /// Whether enough of it did.
        quorum: bool,
        /// The epoch at whose beginning it takes effect; absent where it was rejected.
        effect_epoch: Option<u64>,
    },
    /// A proposal took effect.
    Enacted {
        /// The proposal.
        proposal: Hash,
    },
    /// A proposal that was accepted could not take effect, and is gone.
    Failed {
        /// The proposal.
        proposal: Hash,
        /// What did not fit.
        why: String,
    },
    /// Tokens of the treasury are an account's.
    Spent {
        /// The proposal that said so.
        proposal: Hash,
        /// Whose they are now.
        account: Key,
        /// How many.
        amount: Amount,
    },
    /// A deposit came back.
    DepositReturned {
        /// To whom.
        account: Key,
        /// How much.
        amount: Amount,
    },
    /// A deposit was lost to the treasury.
    DepositLost {
        /// Whose it was.
        account: Key,
        /// How much.
        amount: Amount,
    },
    /// All names of a scope have an owner, or another one.
    ScopeOwned {
        /// The scope.
        scope: Scope,
        /// Who owns it now.
        owner: Key,
    },
    /// A version of a component is in the index.
    Published {
        /// The component.
        name: ComponentName,
        /// The version.
        version: Version,
        /// Hash of the component.
        component: Hash,
    },
    /// A version should not be used any more, or can be again.
    Yanked {
        /// The component.
        name: ComponentName,
        /// The version.
        version: Version,
        /// Whether it should not be used.
        yanked: bool,
    },
}
