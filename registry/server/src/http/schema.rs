//! How what the ledger has is written as JSON, for the description of the interface. The ledger's own
//! types are written by serde and know nothing of descriptions, so that it stays without what only a
//! server needs; that they agree is tested. More fields may come.
#![expect(dead_code, reason = "these types only describe")]

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// What an account has. Amounts are in 10^-12 token.
#[derive(ToSchema)]
#[schema(as = Account)]
pub struct AccountSchema {
    /// Tokens that it can spend.
    free: String,
    /// Stake that is no vote.
    stake: String,
    /// How many transactions took effect: the number of the next one.
    number: u64,
    /// How many nodes it votes for.
    votes: u32,
    /// What the faucet gave it in the epoch `faucet_epoch`.
    faucet: String,
    /// The epoch in which it last took from the faucet.
    faucet_epoch: u64,
    /// What it has claimed of what it earned, in all.
    claimed: String,
}

/// Tokens that unbond.
#[derive(ToSchema)]
#[schema(as = Unbonding)]
pub struct UnbondingSchema {
    /// The epoch at whose beginning they are released.
    until_epoch: u64,
    /// Whose they are.
    account: String,
    /// The node that they were votes for, or the coordinator whose escrow they were in; the address of
    /// the key of zeros for stake that was no vote.
    node: String,
    /// What they become.
    to: TargetSchema,
}

#[derive(ToSchema)]
#[schema(as = Target, rename_all = "kebab-case")]
enum TargetSchema {
    /// Free tokens, from stake.
    Free,
    /// Stake that is no vote, from votes.
    Stake,
    /// Free tokens, from escrow.
    Escrow,
}

/// What the ledger has of a node.
#[derive(ToSchema)]
#[schema(as = Node)]
pub struct NodeSchema {
    /// What it does.
    role: RoleSchema,
    /// The account that registered it.
    operator: String,
    /// Its keys in this epoch.
    keys: KeysSchema,
    /// Its keys from the next epoch on, if they change.
    next_keys: Option<KeysSchema>,
    /// Name of a checker in its cosignatures.
    name: Option<String>,
    /// What its operator says of it.
    profile: ProfileSchema,
    /// The commission from the next epoch on, if it changes, in parts per million.
    next_commission_ppm: Option<u32>,
    /// All votes for it, in 10^-12 token.
    stake: String,
    /// What a coordinator's tasks can be paid of, in 10^-12 token.
    escrow: String,
    /// Whether it has been deregistered.
    leaving: bool,
}

#[derive(ToSchema)]
#[schema(as = Role, rename_all = "lowercase")]
enum RoleSchema {
    Miner,
    Coordinator,
    Checker,
}

/// The keys of a node.
#[derive(ToSchema)]
#[schema(as = NodeKeys)]
struct KeysSchema {
    /// Signs requests, receipts, assignments.
    node: String,
    /// A coordinator's log key or a checker's cosigning key.
    log: Option<String>,
}

/// What an operator says of a node.
#[derive(ToSchema)]
#[schema(as = Profile)]
struct ProfileSchema {
    /// The operator's part of what the node earns before its voters get theirs, in parts per million.
    commission_ppm: u32,
    /// Where it is reached.
    url: Option<String>,
    /// The region that it is in.
    region: Option<String>,
    /// Who it is, for people.
    introduction: Option<String>,
    /// What it promises, miners only.
    service: Option<ServiceSchema>,
}

/// How fast and how reliably a miner says that it works.
#[derive(ToSchema)]
#[schema(as = Service)]
struct ServiceSchema {
    /// Class of its hardware.
    class: String,
    /// Share of the time that it can be reached, in parts per million.
    uptime_ppm: u32,
    /// Time until it has taken a task, in milliseconds.
    latency_ms: u32,
}

/// Where the chain is, and sums. Amounts are in 10^-12 token.
#[derive(ToSchema)]
#[schema(as = Head)]
pub struct HeadSchema {
    /// Hash of the network's genesis document.
    genesis: String,
    /// Blocks so far.
    height: u64,
    /// Time of the newest block, in milliseconds since 1970.
    time_ms: u64,
    /// The epoch of that time.
    epoch: u64,
    /// All tokens that ever were.
    issued: String,
    /// Those of them that were burned.
    burned: String,
    /// What the faucet gave in this epoch.
    faucet: String,
    /// The rules.
    parameters: ParametersSchema,
    /// What belongs to the network and is spent by votes.
    treasury: String,
    /// What was earned and not claimed yet.
    rewards: String,
    /// The epoch that comes to be settled next.
    settled: u64,
    /// All stake at the beginning of this epoch, votes included.
    staked: String,
}

/// The rules. Amounts are in 10^-12 token.
#[derive(ToSchema)]
#[schema(as = Parameters)]
struct ParametersSchema {
    /// Least fee of a transaction.
    fee_min: String,
    /// Least stake of a miner.
    miner_stake_min: String,
    /// Least stake of a coordinator.
    coordinator_stake_min: String,
    /// Least stake of a checker.
    checker_stake_min: String,
    /// Least votes of one account for one node.
    vote_min: String,
    /// Whole epochs until stake that is taken back is free.
    unbonding_epochs: u64,
    /// Most that the faucet gives an account in an epoch.
    faucet_account: String,
    /// Most that the faucet gives all accounts in an epoch.
    faucet_epoch: String,
    /// Engine ids whose results are paid.
    engines: Vec<String>,
    /// How epochs are closed and settled.
    #[schema(value_type = Object)]
    rewards: (),
    /// What misdeeds cost.
    #[schema(value_type = Object)]
    slashing: (),
    /// How rules are changed.
    #[schema(value_type = Object)]
    governance: (),
}

/// All tokens by where they are, in 10^-12 token.
#[derive(ToSchema)]
#[schema(as = Supply)]
pub struct SupplySchema {
    /// Free in accounts.
    free: String,
    /// Stake that is no vote.
    stake: String,
    /// Votes.
    votes: String,
    /// Stake and votes that unbond.
    unbonding: String,
    /// In escrows.
    escrow: String,
    /// Of escrows, unbonding.
    escrow_unbonding: String,
    /// In the treasury.
    treasury: String,
    /// Earned and not claimed.
    rewards: String,
    /// Put down for proposals, reports and appeals.
    deposits: String,
}

/// The root of a tree, and how many leaves it has.
#[derive(ToSchema)]
#[schema(as = TreeRoot)]
pub struct TreeRootSchema {
    /// Leaves.
    size: u64,
    /// The root.
    root: String,
}

/// What proves an account: its entry, or the two between which it is missing.
#[derive(ToSchema)]
#[schema(as = AccountProof)]
pub struct AccountProofSchema {
    /// The tree.
    root: TreeRootSchema,
    /// The entries, each with its place and the way from it to the root.
    #[schema(value_type = Vec<Object>)]
    entries: (),
}

/// Something that a block or a transaction did: what, and of whom and how much, by its kind.
#[derive(ToSchema)]
#[schema(as = LedgerEvent)]
pub struct EventSchema {
    /// What happened, as `transferred`.
    event: String,
    /// The rest, by what happened.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}
