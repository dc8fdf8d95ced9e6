//! What happened to the ledger, for those who follow it.

use adit_protocol::Amount;
use serde::Serialize;

use crate::key::Key;
use crate::registration::Role;
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
        /// How much.
        amount: Amount,
    },
}
