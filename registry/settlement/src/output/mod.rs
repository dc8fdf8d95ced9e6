//! What a settlement says: who earned what, and how each node came to it.
//!
//! The crate's documentation has the layout.

mod check;
mod read;
mod rows;
mod write;

pub use check::Unbalanced;
pub use read::OutputError;

use thiserror::Error;

/// Why a receipt was not paid in full. The number is its place in [`Counts::unpaid`]; the first
/// reason that holds, in this order, is the one that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unpaid {
    /// No miner of the snapshot has the key that it names.
    Unregistered = 0,
    /// Its draw was neither in this epoch nor in the one before.
    Epoch = 1,
    /// The input does not accept it: a verdict rejects it, its blobs are missing, or an epoch before has
    /// paid its assignment.
    NotAccepted = 2,
    /// Nothing is paid for its status.
    Status = 3,
    /// Its assignment has been paid already.
    Duplicate = 4,
    /// As many prices have been paid for its task as the task has replicas.
    Surplus = 5,
    /// The coordinator's escrow was used up; a part may have been paid.
    Escrow = 6,
}

impl Unpaid {
    /// How many reasons there are.
    pub const COUNT: usize = 7;

    /// Every reason, in the order of their numbers.
    pub const ALL: [Unpaid; Unpaid::COUNT] = [
        Unpaid::Unregistered,
        Unpaid::Epoch,
        Unpaid::NotAccepted,
        Unpaid::Status,
        Unpaid::Duplicate,
        Unpaid::Surplus,
        Unpaid::Escrow,
    ];

    /// The name in kebab case, as `not-accepted`.
    pub const fn name(self) -> &'static str {
        match self {
            Unpaid::Unregistered => "unregistered",
            Unpaid::Epoch => "epoch",
            Unpaid::NotAccepted => "not-accepted",
            Unpaid::Status => "status",
            Unpaid::Duplicate => "duplicate",
            Unpaid::Surplus => "surplus",
            Unpaid::Escrow => "escrow",
        }
    }
}

/// How many receipts were paid, and how many were not and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Paid in full, price or attempt fee.
    pub paid: u64,
    /// Not paid in full, by the number of the reason ([`Unpaid`]).
    pub unpaid: [u64; Unpaid::COUNT],
}

impl Counts {
    /// Counts one receipt. There are less than 2^64 of them.
    pub(crate) fn count(&mut self, unpaid: Option<Unpaid>) {
        let counter = match unpaid {
            None => &mut self.paid,
            Some(reason) => &mut self.unpaid[reason as usize],
        };
        *counter = counter.saturating_add(1);
    }

    /// Adds other counts, up to 2^64.
    pub(crate) fn add(&mut self, other: &Counts) {
        self.paid = self.paid.saturating_add(other.paid);
        for (mine, other) in self.unpaid.iter_mut().zip(other.unpaid) {
            *mine = mine.saturating_add(other);
        }
    }
}

/// What an account earned in the epoch, over all its roles. Amounts are in 10^-12 token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRow {
    /// The account.
    pub account: [u8; 32],
    /// What it earned; not zero.
    pub amount: u128,
}

/// What a miner earned, for it and its voters together, and why. That sum is `income + by_work +
/// by_stake - cut`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MinerRow {
    /// Its node key.
    pub node: [u8; 32],
    /// Prices and attempt fees, less what was burned of them.
    pub income: u128,
    /// Emission by work, after the bound by its own fees and the cap by stake.
    pub by_work: u128,
    /// Emission by stake.
    pub by_stake: u128,
    /// Emission by work above these two, which was not minted.
    pub capped: u128,
    /// Emission that the service cut took, which was not minted.
    pub cut: u128,
    /// Its receipts.
    pub counts: Counts,
}

/// What a coordinator spent and earned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorRow {
    /// Its node key.
    pub node: [u8; 32],
    /// What was paid from its escrow, with what was burned of it.
    pub spent: u128,
    /// What was burned of that.
    pub burned: u128,
    /// Its slice of the miners' part: the most that was minted for those who worked for it.
    pub slice: u128,
    /// What it earned itself, for it and its voters together.
    pub earned: u128,
    /// The receipts of its log.
    pub counts: Counts,
}

/// The epoch in sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Most that might have been minted.
    pub emission: u128,
    /// What was minted: for miners, coordinators and their voters, and the treasury.
    pub minted: u128,
    /// What was not minted.
    pub unminted: u128,
    /// The treasury's part, which is in no account's row.
    pub treasury: u128,
    /// What left the escrows.
    pub spent: u128,
    /// What was burned of that.
    pub burned: u128,
    /// The sum of the accounts' rows.
    pub paid: u128,
    /// All receipts.
    pub counts: Counts,
}

/// The result of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The epoch.
    pub epoch: u64,
    /// Hash of the network's genesis document.
    pub genesis: [u8; 32],
    /// Who earned anything, ascending by account.
    pub accounts: Vec<AccountRow>,
    /// Every miner, in the order of the input.
    pub miners: Vec<MinerRow>,
    /// Every coordinator, in the order of the input.
    pub coordinators: Vec<CoordinatorRow>,
    /// Sums.
    pub totals: Totals,
}

/// The stream to write an output to failed.
#[derive(Debug, Error)]
#[error("the output cannot be written: {0}; hint: is the disk full?")]
pub struct WriteError(#[from] pub std::io::Error);
