//! What an epoch is settled from: a snapshot of the ledger, then the receipts of the closed logs.
//!
//! The crate's documentation has the layout. There is one encoding of one input: rows are in a
//! strict order, lengths are known from the header, and nothing may follow the last row.

mod check;
mod error;
mod read;
mod rows;
mod write;

pub use error::InputError;
pub use read::InputReader;
pub use write::InputWriter;

pub(crate) use check::Checked;

use std::fmt;

/// Most coordinators of an input.
pub const COORDINATORS_MAX: u32 = 1 << 16;
/// Most miners of an input.
pub const MINERS_MAX: u32 = 1 << 20;
/// Most votes of an input.
pub const VOTES_MAX: u32 = 1 << 24;
/// Most receipts of an input.
pub const RECEIPTS_MAX: u64 = 1 << 32;

/// Stands in a receipt's row where the index of its miner would, if no miner of the snapshot has
/// the key that the receipt names.
pub const UNREGISTERED: u32 = u32::MAX;

/// How the emission is divided, in parts per million that sum to a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// The miners' part.
    pub miners: u32,
    /// The part of those who vote for coordinators.
    pub voters: u32,
    /// The checkers' part. Nothing of it is minted in this version, which has no checkers.
    pub checkers: u32,
    /// The treasury's part.
    pub treasury: u32,
}

/// The epoch and the rules' numbers, which governance sets. Amounts are in 10^-12 token, ratios in
/// parts per million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The epoch that is settled.
    pub epoch: u64,
    /// Hash of the network's genesis document.
    pub genesis: [u8; 32],
    /// Most that may be minted in the epoch.
    pub emission: u128,
    /// How the emission is divided.
    pub shares: Shares,
    /// Work of a unit of fuel (`a` of protocol.md).
    pub fuel_weight: u64,
    /// Work of an nn_unit (`b`).
    pub nn_weight: u64,
    /// Most work of a receipt, of the price paid for it (`c`).
    pub work_of_price_ppm: u64,
    /// Most that a coordinator's slice may be, of the fees burned from its escrow, and most that a miner
    /// gets of it by stake, of those burned for its own receipts (`k`).
    pub slice_of_fees_ppm: u64,
    /// What is burned of each payment, rounded up.
    pub fee_ppm: u32,
    /// What goes by work of a slice; the rest goes by stake.
    pub work_share_ppm: u32,
    /// Most that a miner earns by work in the epoch, of its stake.
    pub cap_ppm: u64,
    /// Stake above this many times the least counts no more; at least 1.
    pub saturation: u32,
    /// Least stake of a miner.
    pub miner_stake_min: u128,
    /// Least stake of a coordinator.
    pub coordinator_stake_min: u128,
    /// Quality below this counts as none.
    pub quality_min_ppm: u32,
    /// Most of a task's price that is paid as its attempt fee.
    pub attempt_fee_max_ppm: u32,
}

/// A coordinator, as the ledger has it at the epoch's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinator {
    /// Its node key.
    pub node: [u8; 32],
    /// Account of its operator.
    pub operator: [u8; 32],
    /// The sum of its votes.
    pub stake: u128,
    /// What its receipts are paid from.
    pub escrow: u128,
    /// What its operator keeps of its earnings.
    pub commission_ppm: u32,
}

/// A miner, as the ledger has it at the epoch's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miner {
    /// Its node key.
    pub node: [u8; 32],
    /// Account of its operator.
    pub operator: [u8; 32],
    /// The sum of its votes.
    pub stake: u128,
    /// What its operator keeps of its earnings.
    pub commission_ppm: u32,
    /// How well it did in the epoch.
    pub quality_ppm: u32,
    /// What its emission of the epoch is cut by, for a shortfall of the service agreed to.
    pub cut_ppm: u32,
}

/// Stake of one account on one node; an operator's own bond is a vote like others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Number of the node: coordinators count from 0 in their order, and miners after them.
    pub node: u32,
    /// Who votes.
    pub voter: [u8; 32],
    /// With how much; not zero.
    pub amount: u128,
}

/// What is known of an epoch before its receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Epoch and rules.
    pub parameters: Parameters,
    /// Ascending by node.
    pub coordinators: Vec<Coordinator>,
    /// Ascending by node.
    pub miners: Vec<Miner>,
    /// Ascending by number of the node, then by voter.
    pub votes: Vec<Vote>,
}

/// One receipt of a log. What a miner or a coordinator can write into a log is never a reason to
/// refuse an input, only not to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Index of the coordinator in whose log it is.
    pub coordinator: u32,
    /// Index of the miner, or [`UNREGISTERED`].
    pub miner: u32,
    /// Its leaf in that log.
    pub leaf: u64,
    /// Epoch of its draw.
    pub epoch: u64,
    /// The task's id.
    pub task: [u8; 32],
    /// Hash of the assignment.
    pub assignment: [u8; 32],
    /// How the run ended: a number of [`adit_protocol::Status`], or one that is none.
    pub status: u8,
    /// Whether no verdict of the log rejects it, its blobs are available, and its assignment was not paid
    /// in an epoch before.
    pub accepted: bool,
    /// Whether its nn_units are those of a registered manifest; else they count nothing.
    pub nn_registered: bool,
    /// Whether any output was emitted, which is what decides about a cancelled run.
    pub emitted: bool,
    /// Replicas of the task: how many prices are paid for it.
    pub replicas: u8,
    /// Fuel that the guest used.
    pub fuel: u64,
    /// Inference work by the manifests' cost functions.
    pub nn_units: u64,
    /// The task's price.
    pub price: u128,
    /// The task's attempt fee, which is paid up to a part of the price.
    pub attempt_fee: u128,
}

/// A part of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Epoch, rules and counts.
    Header,
    /// Coordinators.
    Coordinators,
    /// Miners.
    Miners,
    /// Votes.
    Votes,
    /// Receipts.
    Receipts,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Section::Header => "header",
            Section::Coordinators => "coordinators",
            Section::Miners => "miners",
            Section::Votes => "votes",
            Section::Receipts => "receipts",
        })
    }
}
