//! What a registry answers. Nothing of it is signed; `adit registry replay` checks all of it.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// An amount: in JSON a decimal string of 10^-12 token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Units(pub adit_protocol::Amount);

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Units, D::Error> {
        let text = String::deserialize(d)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let units = text.parse().ok().filter(|_| digits);
        units
            .map(|units| Units(adit_protocol::Amount::from_units(units)))
            .ok_or_else(|| serde::de::Error::custom("an amount is digits alone, in 10^-12 token"))
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An account.
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    /// Tokens that can be spent.
    pub free: Units,
    /// Stake that is no vote.
    pub stake: Units,
    /// Number of the next transaction.
    pub number: u64,
    /// Votes.
    pub voted: Vec<Vote>,
    /// What unbonds.
    pub unbonding: Vec<Unbonding>,
    /// Nodes that it operates.
    pub operates: Vec<String>,
}

/// Votes for a node.
#[derive(Clone, Debug, Deserialize)]
pub struct Vote {
    /// The node.
    pub node: String,
    /// How many.
    pub amount: Units,
}

/// What an account earned.
#[derive(Clone, Debug, Deserialize)]
pub struct AccountRewards {
    /// All of it that counts.
    pub earned: Units,
    /// What was claimed of it.
    pub claimed: Units,
    /// What can be claimed.
    pub claimable: Units,
    /// What does not count yet.
    pub pending: Units,
    /// The epoch from which on it will.
    pub pending_from_epoch: Option<u64>,
    /// The last epoch that counts.
    pub epoch: Option<u64>,
    /// The newest epochs, newest first.
    #[serde(default)]
    pub epochs: Vec<AccountEpoch>,
    /// What was earned before these.
    #[serde(default)]
    pub before: Units,
    /// The proof for a claim.
    pub proof: Option<ClaimProof>,
}

/// What an account earned in an epoch.
#[derive(Clone, Debug, Deserialize)]
pub struct AccountEpoch {
    /// The epoch.
    pub epoch: u64,
    /// How much.
    pub earned: Units,
}

/// What is settled.
#[derive(Clone, Debug, Deserialize)]
pub struct Rewards {
    /// The newest settlements.
    pub settlements: Vec<Settled>,
}

/// A settlement.
#[derive(Clone, Debug, Deserialize)]
pub struct Settled {
    /// The epoch.
    pub epoch: u64,
    /// The tree of what accounts earned up to it.
    pub earned: Root,
}

/// A tree's size and root.
#[derive(Clone, Debug, Deserialize)]
pub struct Root {
    /// Leaves.
    pub size: u64,
    /// Its root, as `blake3:` and digits.
    pub root: String,
}

/// What is not settled.
#[derive(Clone, Debug, Deserialize)]
pub struct Open {
    /// The first epoch that is not.
    pub next: u64,
    /// What is burned of a payment, in parts per million.
    pub fee_ppm: u32,
    /// Where in logs.
    pub logs: Vec<OpenLog>,
}

/// A log with leaves that are not settled.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenLog {
    /// The coordinator.
    pub coordinator: String,
    /// The node key that names the log.
    pub node_key: String,
    /// The key that signs it.
    pub log_key: String,
    /// Where the coordinator is.
    pub url: String,
    /// The first of these leaves.
    pub first: u64,
}

/// The way from an account's leaf to the root that counts.
#[derive(Clone, Debug, Deserialize)]
pub struct ClaimProof {
    /// Index of the leaf.
    pub index: u64,
    /// Hashes, as `blake3:` and digits.
    pub proof: Vec<String>,
}

/// How a node came to what it earned.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeRewards {
    /// The key that names it.
    pub address: String,
    /// Epochs, newest first.
    pub epochs: Vec<NodeEpoch>,
}

/// A node's epoch.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeEpoch {
    /// The epoch.
    pub epoch: u64,
    /// All that it earned.
    pub earned: Units,
    /// A miner's pay for its work, less what was burned.
    #[serde(default)]
    pub income: Units,
    /// A miner's part of the emission, by work.
    #[serde(default)]
    pub by_work: Units,
    /// The same by stake.
    #[serde(default)]
    pub by_stake: Units,
    /// Receipts.
    pub receipts: Receipts,
}

/// Receipts by what became of them.
#[derive(Clone, Debug, Deserialize)]
pub struct Receipts {
    /// Paid in full.
    pub paid: u64,
    /// Others, by the reason.
    pub unpaid: std::collections::BTreeMap<String, u64>,
}

/// Tokens that unbond.
#[derive(Clone, Debug, Deserialize)]
pub struct Unbonding {
    /// How many.
    pub amount: Units,
    /// What they become: `free`, `stake` or `escrow`.
    pub to: String,
    /// When, in milliseconds since 1970.
    pub until_ms: u64,
    /// The epoch that begins then.
    pub until_epoch: u64,
}

/// The ledger.
#[derive(Clone, Debug, Deserialize)]
pub struct Head {
    /// Blocks.
    pub height: u64,
    /// Time of the newest, in milliseconds since 1970.
    pub time_ms: u64,
    /// The epoch.
    pub epoch: u64,
    /// When it ends, in milliseconds since 1970.
    pub epoch_ends_ms: u64,
    /// The first epoch that is not settled.
    pub settled: u64,
    /// All tokens that ever were.
    pub issued: Units,
    /// Those that were burned.
    pub burned: Units,
    /// The rules.
    pub parameters: Parameters,
}

/// Rules.
#[derive(Clone, Debug, Deserialize)]
pub struct Parameters {
    /// Least fee.
    pub fee_min: Units,
    /// Least stakes.
    pub miner_stake_min: Units,
    /// Of a coordinator.
    pub coordinator_stake_min: Units,
    /// Of a checker.
    pub checker_stake_min: Units,
    /// Least votes of one account for one node.
    pub vote_min: Units,
    /// Whole epochs until stake is free.
    pub unbonding_epochs: u64,
    /// What the faucet gives an account in an epoch.
    pub faucet_account: Units,
    /// What misdeeds cost.
    pub slashing: SlashingRules,
}

/// What misdeeds cost.
#[derive(Clone, Debug, Deserialize)]
pub struct SlashingRules {
    /// The most that a node loses, in parts per million.
    pub fraction_ppm: u32,
    /// What an accusation puts down.
    pub deposit: Units,
}

/// Where tokens are.
#[derive(Clone, Debug, Deserialize)]
pub struct Supply {
    /// In accounts.
    pub free: Units,
    /// Stake that is no vote.
    pub stake: Units,
    /// Votes.
    pub votes: Units,
    /// Unbonding.
    pub unbonding: Units,
    /// In escrows.
    pub escrow: Units,
    /// Unbonding from escrows.
    pub escrow_unbonding: Units,
}

/// A page of nodes.
#[derive(Clone, Debug, Deserialize)]
pub struct Nodes {
    /// Nodes.
    pub items: Vec<Node>,
    /// What comes after.
    pub next: Option<String>,
}

/// A node.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// The key that names it.
    pub address: String,
    /// What it does.
    pub role: String,
    /// Its operator.
    pub operator: String,
    /// Its keys in this epoch.
    pub keys: NodeKeys,
    /// Keys that it had before, which it answers for.
    #[serde(default)]
    pub former_keys: Vec<FormerKeys>,
    /// All votes for it.
    pub stake: Units,
    /// What is in its escrow.
    pub escrow: Units,
    /// Whether it takes part in this epoch.
    pub active: bool,
    /// Whether it would if one began now.
    pub eligible: bool,
    /// Whether it was deregistered.
    pub leaving: bool,
    /// Why it does not take part, if it was punished.
    pub jailed: Option<Jailed>,
    /// What is said of it.
    pub profile: Profile,
}

/// Why a node does not take part.
#[derive(Clone, Debug, Deserialize)]
pub struct Jailed {
    /// What it did last.
    pub misdeed: String,
    /// The first epoch in which its operator can let it take part again.
    pub until_epoch: u64,
}

/// Keys of a node, as addresses.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeKeys {
    /// Signs receipts and verdicts.
    pub node: String,
    /// Signs a coordinator's log, or a checker's cosignatures.
    pub log: Option<String>,
}

/// Keys that a node had.
#[derive(Clone, Debug, Deserialize)]
pub struct FormerKeys {
    /// The keys.
    pub keys: NodeKeys,
}

/// A page of reports.
#[derive(Clone, Debug, Deserialize)]
pub struct Reports {
    /// Reports.
    pub items: Vec<OpenReport>,
    /// What comes after.
    pub next: Option<String>,
}

/// A report that is not over.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenReport {
    /// Its id.
    pub id: String,
    /// The node.
    pub node: String,
    /// What it is said to have done.
    pub misdeed: String,
    /// How far it is.
    pub stage: String,
    /// What the reporter put down.
    pub deposit: Units,
    /// What the node loses by the first verdict, in parts per million.
    pub verdict_ppm: Option<u32>,
    /// What the operator put down for a second one.
    pub appeal: Option<Units>,
    /// The epoch with which it runs out or takes effect.
    pub until_epoch: u64,
    /// When that begins, in milliseconds since 1970.
    pub until_ms: u64,
}

/// A report, open or over.
#[derive(Clone, Debug, Deserialize)]
pub struct ReportDetail {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub stage: String,
    /// Who made it.
    pub reporter: String,
    /// The node.
    pub node: String,
    /// What it is said to have done.
    pub misdeed: String,
    /// What that rests on, where the transaction itself has no proof.
    pub evidence: Option<String>,
    /// Its entry in the registry's log.
    pub leaf: u64,
    /// The rest, while it is open.
    pub open: Option<OpenReport>,
}

/// What is said of a node.
#[derive(Clone, Debug, Deserialize)]
pub struct Profile {
    /// The operator's part, in parts per million.
    pub commission_ppm: u32,
    /// Its address.
    pub url: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Who it is.
    pub introduction: Option<String>,
}

/// A transaction that took effect.
#[derive(Clone, Debug, Deserialize)]
pub struct Accepted {
    /// Its id.
    pub id: String,
    /// Its block.
    pub height: u64,
    /// Its number.
    pub number: u64,
    /// Its text, where it was asked for.
    pub text: Option<String>,
}

/// A proposal that is open.
#[derive(Clone, Debug, Deserialize)]
pub struct Proposal {
    /// Its id.
    pub id: String,
    /// Who made it.
    pub proposer: String,
    /// The epoch in which it was made.
    pub epoch: u64,
    /// What it is about.
    pub title: String,
    /// What it sets, as `NAME VALUE`.
    pub settings: Vec<String>,
    /// What it spends.
    pub spends: Vec<Spend>,
    /// All stake that may vote.
    pub staked: Units,
    /// Stake for it.
    pub yes: Units,
    /// Stake against it.
    pub no: Units,
    /// The epoch with which it is counted.
    pub until_epoch: u64,
    /// The epoch with which it takes effect, once it was accepted.
    pub effect_epoch: Option<u64>,
    /// When the next of these is, in milliseconds since 1970.
    pub next_ms: u64,
}

/// Tokens of the treasury for an account.
#[derive(Clone, Debug, Deserialize)]
pub struct Spend {
    /// The account.
    pub account: String,
    /// How many.
    pub amount: Units,
}
