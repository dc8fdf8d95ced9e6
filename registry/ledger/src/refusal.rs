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
    /// It is not that epoch's turn.
    #[error(
        "epoch {found} cannot be closed or settled in epoch {now}; hint: an epoch is closed in the next one, and settled once and in order"
    )]
    Epoch {
        /// The epoch now.
        now: u64,
        /// The one in the transaction.
        found: u64,
    },
    /// Too few checkers signed.
    #[error(
        "checkers with a stake of {found} signed, of {all} in all, and {needed_ppm} of a million parts are needed; hint: gather more signatures"
    )]
    Quorum {
        /// Stake of those that signed.
        found: Amount,
        /// Stake of all.
        all: Amount,
        /// What is needed, in parts per million.
        needed_ppm: u32,
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
    /// No proposal is voted on, or waits, under that id.
    #[error(
        "no proposal is {proposal}; hint: a proposal is named by the transaction that made it, and is gone when it is rejected or done"
    )]
    NoProposal {
        /// The id.
        proposal: Hash,
    },
    /// No report waits under that id.
    #[error(
        "no report is {report}; hint: a report is named by the transaction that accused, and is gone when it is over"
    )]
    NoReport {
        /// The id.
        report: Hash,
    },
    /// No claim of a late receipt waits for an answer.
    #[error(
        "no claim of a receipt for the assignment {assignment} waits for an answer; hint: it was answered, or its time is over"
    )]
    NoClaim {
        /// Hash of the assignment.
        assignment: Hash,
    },
    /// Parameters that do not fit together.
    #[error("with these settings `{name}` could not be: {why}; hint: propose others")]
    Settings {
        /// The parameter.
        name: &'static str,
        /// What is wrong with it.
        why: String,
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
    /// The epoch of the log is closed.
    #[error(
        "it is fixed already what of the log belongs to that epoch; hint: the first one counts"
    )]
    Closed,
    /// The epoch is settled.
    #[error(
        "that epoch is settled already; hint: close the next one, to which what is left of the log belongs"
    )]
    AlreadySettled,
    /// A log that became shorter.
    #[error(
        "the log is shorter than at the end of an epoch before; hint: if its coordinator signed that, it is evidence"
    )]
    SmallerLog,
    /// The log's key did not sign.
    #[error(
        "the signature is not that of the coordinator's log key over this checkpoint; hint: take all of it from one checkpoint"
    )]
    LogSignature,
    /// Not a checker whose word counts.
    #[error(
        "one that signed is no checker whose signature counts; hint: it must have the least stake, and be neither jailed nor accused itself"
    )]
    NoChecker,
    /// A checker's signature does not fit.
    #[error(
        "a checker's signature does not fit; hint: all must sign the same, as it is now, each with the key registered for that"
    )]
    CheckerSignature,
    /// An earlier epoch waits.
    #[error("an epoch before is closed and not settled; hint: settle epochs in order")]
    Order,
    /// No log was closed in the epoch.
    #[error(
        "no log was closed in the epoch, and nothing can be settled; hint: settle the first epoch with a closed log"
    )]
    NothingClosed,
    /// Coordinators have not closed the epoch.
    #[error(
        "not all coordinators have closed the epoch; hint: they have time until the next one ends"
    )]
    Early,
    /// The same settlement again.
    #[error("the epoch is settled so already; hint: nothing is left to do")]
    SettledSo,
    /// It does not name the settlement that it would replace.
    #[error(
        "the epoch is settled otherwise, and a correction names what it replaces; hint: sign one that does"
    )]
    Replaces,
    /// Sums do not agree.
    #[error("the settlement's sums do not agree with each other; hint: it must not be applied")]
    Sums,
    /// More minted than rules allow.
    #[error("the settlement mints more than the rules allow; hint: it must not be applied")]
    Emission,
    /// Nothing was settled yet.
    #[error("no settlement counts yet; hint: its root counts when the time to object is over")]
    NoRewards,
    /// A claim that is not in the tree.
    #[error(
        "the proof does not lead to the root that counts; hint: get a new one, as the root changes with each epoch"
    )]
    ClaimProof,
    /// Too many proposals.
    #[error("no more proposals can be open at one time; hint: try again when one was counted")]
    ManyProposals,
    /// The vote is over.
    #[error("the votes on this proposal were counted; hint: it takes effect when its time comes")]
    Counted,
    /// One ballot for each account.
    #[error("the account has voted on this proposal; hint: a vote cannot be changed")]
    VotedAlready,
    /// No stake as of the proposal.
    #[error(
        "the account had nothing staked when the epoch of the proposal began; hint: stake before the next one"
    )]
    NoWeight,
    /// Nodes of this role do not do that.
    #[error("a node of this role cannot have done that; hint: is it another node?")]
    OtherRole,
    /// It proves nothing.
    #[error(
        "this proves nothing: two different receipts of this network for one assignment, or two roots of one size, must each be signed by the node; hint: `adit receipt verify` checks a receipt"
    )]
    NoEvidence,
    /// A key of another node, or one that it had too long ago.
    #[error(
        "the node has no such key, or had it too long ago; hint: what stood behind it then can be gone after the unbonding time"
    )]
    OtherKey,
    /// It was reported before.
    #[error("this was reported before, and is punished once; hint: nothing is left to do")]
    Reported,
    /// Nothing can be taken.
    #[error("nothing stands behind the node that could be taken; hint: nothing is left to do")]
    NothingAtStake,
    /// There is a verdict.
    #[error(
        "there is a verdict on this report; hint: only an appeal of the accused asks for another one"
    )]
    Judged,
    /// A fraction that is nothing, or too much.
    #[error(
        "a guilty node loses more than nothing and at most the rules' fraction; hint: `adit registry show` says how much"
    )]
    Fraction,
    /// No verdict, or no appeal left.
    #[error(
        "the report has no verdict that can be appealed; hint: one appeal is possible, after a first verdict"
    )]
    NoAppeal,
    /// No two documents that claim something.
    #[error(
        "this claims nothing: a receipt of this network that both sides have signed, and the assignment that it names with what it pays, signed by the coordinator; hint: `adit receipt verify` checks a receipt"
    )]
    NothingClaimed,
    /// Receipts of this status, or with these terms, pay nothing, or nobody who could be paid.
    #[error(
        "nothing is owed for this receipt: its status pays nothing, its task has no price, or its miner is not registered; hint: `adit receipt show` says its status"
    )]
    NothingOwed,
    /// The log can have it yet.
    #[error(
        "the coordinator's log can have the receipt yet: one epoch after the end of its lease, and not before the second after its draw; hint: claim it when the coordinator has closed that epoch"
    )]
    NotLate,
    /// It is claimed too late.
    #[error(
        "the time in which this receipt could be claimed is over; hint: `adit registry show` says how many epochs it is"
    )]
    TooLate,
    /// The receipt was claimed before.
    #[error(
        "a receipt of this assignment was claimed before; hint: each is claimed once, whatever came of it"
    )]
    Claimed,
    /// An answer that is none.
    #[error(
        "this answers nothing: it takes a receipt of the assignment, its expiry or its cancellation, as an entry of the log as it was closed; hint: the proof must be for the size that the claim names"
    )]
    NoAnswer,
    /// It takes part.
    #[error("the node is not jailed; hint: nothing is left to do")]
    NotJailed,
    /// Too early.
    #[error("the node is jailed for longer; hint: `adit node show` says until when")]
    StillJailed,
    /// Its log has two ends.
    #[error(
        "the node's log has forked, and cannot go on under this key; hint: rotate its keys first"
    )]
    ForkedLog,
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
            Refusal::Rule(_)
            | Refusal::Epoch { .. }
            | Refusal::Quorum { .. }
            | Refusal::Settings { .. }
            | Refusal::VersionTaken { .. } => Code::RuleBroken,
            Refusal::Faucet { .. } => Code::QuotaExceeded,
            Refusal::NoNode { .. }
            | Refusal::NoProposal { .. }
            | Refusal::NoReport { .. }
            | Refusal::NoClaim { .. }
            | Refusal::NoScope { .. }
            | Refusal::NoRelease { .. } => Code::NotFound,
            Refusal::NotOperator { .. } | Refusal::NotOwner { .. } => Code::Forbidden,
            Refusal::KeyTaken { .. } => Code::KeyTaken,
            Refusal::Bond { .. } => Code::BelowMinimumStake,
        }
    }
}
