//! What happened to the ledger, for those who follow it.

use adit_protocol::{Amount, Hash};
use serde::Serialize;

use crate::index::{ComponentName, Scope, Version};
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
