//! Why a transaction does nothing. The state is as before then, fee and number included.

use adit_protocol::{Amount, Code, Hash};
use thiserror::Error;

use crate::index::{ComponentName, Scope, Version};
use crate::key::Key;
use crate::registration::Role;

/// Why a transaction does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is of another network.
    #[error(
        "the transaction is of the network {found}, this one is {expected}; hint: sign it for this network"
    )]
    OtherNetwork {
        /// This network.
        expected: Hash,
        /// The transaction's.
        found: Hash,
    },
    /// It does not have the account's next number.
    #[error(
        "the account's next transaction is number {expected}, not {found}; hint: sign it again"
    )]
    Number {
        /// The next number.
        expected: u64,
        /// The transaction's.
        found: u64,
    },
    /// Its time has passed.
    #[error("the transaction expired {late_ms} ms ago; hint: sign it again, with a later time")]
    Expired {
        /// How long ago, in milliseconds of the blocks' time.
        late_ms: u64,
    },
    /// It would be good for too long.
    #[error(
        "the transaction expires {ahead_ms} ms from now, at most {max_ms} are allowed; hint: sign it again; is the clock right?"
    )]
    TooFarAhead {
        /// How long it would be good, in milliseconds.
        ahead_ms: u64,
        /// The most.
        max_ms: u64,
    },
    /// It pays too little.
    #[error("the fee is {found}, at least {min} is asked for; hint: sign it again with that fee")]
    Fee {
        /// The least, in tokens.
        min: Amount,
        /// The transaction's.
        found: Amount,
    },
    /// There is not that much.
    #[error(
        "there are {found} tokens {place}, and {needed} are needed; hint: `adit account` shows where the tokens are"
    )]
    Insufficient {
        /// Where it looked, as "free".
        place: &'static str,
        /// What is there.
        found: Amount,
        /// What was asked for, with the fee.
        needed: Amount,
    },
    /// An amount of nothing.
    #[error("the amount is 0, which would do nothing; hint: give an amount")]
    Nothing,
    /// A rule that depends on the state.
    #[error("{0}")]
    Rule(Rule),
    /// The faucet is closed, or has given enough.
    #[error(
        "the faucet gives {left} more {whom} in this epoch; hint: ask for less, or in the next epoch"
    )]
    Faucet {
        /// What is left.
        left: Amount,
        /// To whom.
        whom: &'static str,
    },
    /// No node was ever registered with that key.
    #[error(
        "no node is named {node}; hint: a node is named by the key that it was registered with"
    )]
    NoNode {
        /// The key.
        node: Key,
    },
    /// Only its operator may do that.
    #[error("the node {node} has another operator; hint: sign with the account that registered it")]
    NotOperator {
        /// The node.
        node: Key,
    },
    /// A key has an owner.
    #[error("the key {key} is in use already; hint: make a new one")]
    KeyTaken {
        /// The key.
        key: Key,
    },
    /// The bond is too small.
    #[error("a {} needs a bond of {min}, this one is {found}; hint: stake more first", role.name())]
    Bond {
        /// What the node does.
        role: Role,
        /// The least.
        min: Amount,
        /// The bond.
        found: Amount,
    },
    /// Nobody has published under such a name.
    #[error("nobody owns the name {scope}; hint: `adit publish` takes it")]
    NoScope {
        /// The scope.
        scope: Scope,
    },
    /// There is no such version.
    #[error("{name} {version} was never published; hint: `adit component show` lists the versions")]
    NoRelease {
        /// The component.
        name: ComponentName,
        /// The version.
        version: Version,
    },
    /// The names belong to somebody else.
    #[error(
        "{scope} and all names in it belong to another account; hint: sign with that one, or choose another name"
    )]
    NotOwner {
        /// The scope.
        scope: Scope,
    },
    /// What is published stays as it is.
    #[error(
        "{name} {version} is published already, and a version is never replaced; hint: publish the next version"
    )]
    VersionTaken {
        /// The component.
        name: ComponentName,
        /// The version.
        version: Version,
    },
}

/// What the state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Rule {
    /// A transfer to oneself.
    #[error("tokens cannot be sent to the account that they come from; hint: check the address")]
    ToItself,
    /// The node is leaving.
    #[error("the node is leaving, and takes neither votes nor escrow; hint: choose another one")]
    Leaving,
    /// It is no coordinator.
    #[error(
        "the node is no coordinator, and only coordinators have escrow; hint: `adit registry nodes` lists them"
    )]
    NoCoordinator,
    /// Too small votes.
    #[error(
        "votes for a node are at least the least vote, or nothing; hint: `adit registry show` says how many"
    )]
    SmallVote,
    /// Votes for too many nodes.
    #[error("an account votes for at most 64 nodes; hint: take back the votes for one first")]
    ManyVotes,
    /// The role asks for other keys.
    #[error(
        "coordinators and checkers have a log key or cosigning key, miners have none; hint: see `adit register --help`"
    )]
    RoleKeys,
    /// Keys that should be different.
    #[error(
        "account, node key and log key must be three different keys; hint: make a key for each"
    )]
    SameKeys,
    /// A checker without a name, or another node with one.
    #[error("checkers have a name, and other nodes have none; hint: see `adit register --help`")]
    Name,
    /// Another checker has the name.
    #[error("another checker has this name; hint: choose another one")]
    NameTaken,
    /// Coordinators and checkers must be found.
    #[error("a coordinator or checker needs a url, so that others find it; hint: give --url")]
    NoUrl,
    /// Only miners promise service.
    #[error("only miners have a service agreement; hint: leave it out")]
    NoService,
    /// Too many nodes.
    #[error("no more nodes of this role can take part; hint: try again when one has left")]
    Full,
    /// It has keys that wait for the next epoch.
    #[error("the node's keys change in the next epoch already; hint: try again then")]
    Rotating,
    /// A name has as many versions as it can have.
    #[error("a name has at most 1024 versions; hint: publish under another name")]
    ManyReleases,
    /// The mark of a version would not change.
    #[error("the version is marked so already; hint: `adit component show` says how")]
    SameYank,
    /// A name would stay where it is.
    #[error("the name belongs to this account already; hint: check the address")]
    OwnName,
}

impl Rule {
    /// The refusal for this rule.
    pub(crate) fn broken<T>(self) -> Result<T, Refusal> {
        Err(Refusal::Rule(self))
    }
}

impl Refusal {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            Refusal::OtherNetwork { .. } | Refusal::Fee { .. } | Refusal::Nothing => {
                Code::InvalidRequest
            }
            Refusal::Number { .. } => Code::TransactionNumber,
            Refusal::Expired { .. } | Refusal::TooFarAhead { .. } => Code::TransactionExpired,
            Refusal::Insufficient { .. } => Code::InsufficientFunds,
            Refusal::Rule(_) | Refusal::VersionTaken { .. } => Code::RuleBroken,
            Refusal::Faucet { .. } => Code::QuotaExceeded,
            Refusal::NoNode { .. } | Refusal::NoScope { .. } | Refusal::NoRelease { .. } => {
                Code::NotFound
            }
            Refusal::NotOperator { .. } | Refusal::NotOwner { .. } => Code::Forbidden,
            Refusal::KeyTaken { .. } => Code::KeyTaken,
            Refusal::Bond { .. } => Code::BelowMinimumStake,
        }
    }
}
