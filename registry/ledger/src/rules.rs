//! The rules of rewards, of penalties and of votes on rules, which are part of a ledger's
//! [`Parameters`](crate::Parameters). Shares and ratios are in parts per million.
//!
//! The defaults are those of the design; a network chooses its own in its genesis, and changes them
//! by votes.

use adit_protocol::cbor::fields::Invalid;
use adit_protocol::{Amount, Hash};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// The whole, in parts per million.
pub const PPM: u32 = 1_000_000;
/// Longest time of any rule, in epochs.
pub(crate) const EPOCHS_MAX: u64 = 100_000;
/// Most epochs in which a late receipt can be claimed: the state keeps what is needed for that as long,
/// whatever the rules say by now.
pub const LATE_EPOCHS_MAX: u64 = 64;
/// Largest ratio, in parts per million: a million times.
const RATIO_MAX: u64 = 1_000_000_000_000;

/// How an epoch's emission is divided; the shares sum to a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Shares {
    /// The miners' part.
    #[n(0)]
    pub miners: u32,
    /// The part of those who vote for coordinators.
    #[n(1)]
    pub voters: u32,
    /// The checkers' part.
    #[n(2)]
    pub checkers: u32,
    /// The treasury's part.
    #[n(3)]
    pub treasury: u32,
}

/// How an epoch is closed and settled: the numbers of protocol.md, "Epochs and settlement".
///
/// CBOR: 0 quorum_ppm u, 1 emission a, 2 shares {0 miners u, 1 voters u, 2 checkers u, 3 treasury u},
/// 3 fuel_weight u, 4 nn_weight u, 5 work_of_price_ppm u, 6 slice_of_fees_ppm u, 7 fee_ppm u,
/// 8 work_share_ppm u, 9 cap_ppm u, 10 saturation u, 11 quality_min_ppm u, 12 challenge_epochs u,
/// 13 settlement h?, 14 attempt_fee_max_ppm u.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct RewardRules {
    /// The part of the checkers' stake that must have signed what a quorum signs; more than half.
    #[n(0)]
    pub quorum_ppm: u32,
    /// Most that is minted for an epoch, in 10^-12 token.
    #[n(1)]
    pub emission: Amount,
    /// How it is divided.
    #[n(2)]
    pub shares: Shares,
    /// Work of a unit of fuel, in 10^-12 token (`a`).
    #[n(3)]
    pub fuel_weight: u64,
    /// Work of an nn_unit, in 10^-12 token (`b`).
    #[n(4)]
    pub nn_weight: u64,
    /// Most work of a receipt, of its price (`c`).
    #[n(5)]
    pub work_of_price_ppm: u64,
    /// Largest slice of a coordinator, of the fees burned from its escrow, and most that goes of it to a
    /// miner, of those burned for its own receipts (`k`).
    #[n(6)]
    pub slice_of_fees_ppm: u64,
    /// What is burned of a payment, rounded up.
    #[n(7)]
    pub fee_ppm: u32,
    /// What goes by work of a slice; the rest goes by stake.
    #[n(8)]
    pub work_share_ppm: u32,
    /// Most that a miner earns by work in an epoch, of its stake.
    #[n(9)]
    pub cap_ppm: u64,
    /// Stake above this many times the least counts no more. By default no stake that can exist is above
    /// it, unless the least is below 233 tokens: whoever has more could run a second node, and nobody can
    /// say that it is the same owner's. A network that knows its operators can lower it.
    #[n(10)]
    pub saturation: u32,
    /// Quality below this counts as none.
    #[n(11)]
    pub quality_min_ppm: u32,
    /// Whole epochs from a settlement until what it says can be claimed.
    #[n(12)]
    pub challenge_epochs: u64,
    /// Hash of the settlement component; absent where none was named.
    #[n(13)]
    pub settlement: Option<Hash>,
    /// Most of a task's price that is paid as its attempt fee. A miner's word is enough for that one, so it
    /// must be worth less than running the task.
    #[n(14)]
    pub attempt_fee_max_ppm: u32,
}

impl Default for RewardRules {
    fn default() -> RewardRules {
        RewardRules {
            // So that two of three equal checkers are one.
            quorum_ppm: 666_666,
            emission: Amount::tokens(10_000),
            shares: Shares {
                miners: 700_000,
                voters: 150_000,
                checkers: 100_000,
                treasury: 50_000,
            },
            fuel_weight: 1_000,
            nn_weight: 1_000,
            work_of_price_ppm: 1_000_000,
            slice_of_fees_ppm: 800_000,
            fee_ppm: 50_000,
            work_share_ppm: 600_000,
            cap_ppm: 100_000,
            saturation: u32::MAX,
            quality_min_ppm: 500_000,
            challenge_epochs: 1,
            settlement: None,
            attempt_fee_max_ppm: 50_000,
        }
    }
}

impl RewardRules {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        at_most_whole("rewards.fee_ppm", self.fee_ppm)?;
        at_most_whole("rewards.work_share_ppm", self.work_share_ppm)?;
        at_most_whole("rewards.quality_min_ppm", self.quality_min_ppm)?;
        at_most_whole("rewards.attempt_fee_max_ppm", self.attempt_fee_max_ppm)?;
        more_than_half("rewards.quorum_ppm", self.quorum_ppm)?;
        let Shares {
            miners,
            voters,
            checkers,
            treasury,
        } = self.shares;
        let sum: u64 = [miners, voters, checkers, treasury]
            .map(u64::from)
            .iter()
            .sum();
        if sum != u64::from(PPM) {
            return Invalid::new(
                "rewards.shares",
                format!("they sum to {sum} and not to {PPM}"),
            );
        }
        if self.emission > Amount::SUPPLY_MAX {
            return Invalid::new("rewards.emission", "it is more than can exist");
        }
        for (field, ratio) in [
            ("rewards.work_of_price_ppm", self.work_of_price_ppm),
            ("rewards.cap_ppm", self.cap_ppm),
        ] {
            if ratio > RATIO_MAX {
                return Invalid::new(field, format!("at most {RATIO_MAX} is allowed"));
            }
        }
        // Of each fee that is burned a coordinator's miners get k, and its voters k · voters / miners:
        // together no more than was burned, or tasks of one's own would pay.
        let gain = u128::from(self.slice_of_fees_ppm) * (u128::from(miners) + u128::from(voters));
        if gain > u128::from(PPM) * u128::from(miners) {
            return Invalid::new(
                "rewards.slice_of_fees_ppm",
                "tasks of one's own would earn more than they burn",
            );
        }
        if self.saturation == 0 {
            return Invalid::new("rewards.saturation", "it is 0, and no stake would count");
        }
        epochs("rewards.challenge_epochs", self.challenge_epochs)?;
        match self.challenge_epochs {
            0 => Invalid::new(
                "rewards.challenge_epochs",
                "it is 0, and nobody could object in time",
            ),
            _ => Ok(()),
        }
    }
}

/// What misdeeds cost, and how they are reported.
///
/// CBOR: 0 fraction_ppm u, 1 reporter_ppm u, 2 deposit a, 3 appeal_epochs u, 4 late_epochs u,
/// 5 answer_epochs u.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct SlashingRules {
    /// What the gravest misdeed costs of a node's stake, votes that unbond included.
    #[n(0)]
    pub fraction_ppm: u32,
    /// What the reporter gets of that; the rest is burned.
    #[n(1)]
    pub reporter_ppm: u32,
    /// What a reporter puts down, and loses if the report is wrong, in 10^-12 token.
    #[n(2)]
    pub deposit: Amount,
    /// Whole epochs from a verdict until it takes effect, in which it can be appealed.
    #[n(3)]
    pub appeal_epochs: u64,
    /// How many epochs a receipt that its log lacks can be claimed, from the first in which it can be.
    /// Together with the time to answer it should be over before what stood behind the coordinator can
    /// be gone.
    #[n(4)]
    pub late_epochs: u64,
    /// Whole epochs in which such a claim can be answered.
    #[n(5)]
    pub answer_epochs: u64,
}

impl Default for SlashingRules {
    fn default() -> SlashingRules {
        SlashingRules {
            fraction_ppm: 333_333,
            reporter_ppm: 100_000,
            deposit: Amount::tokens(100),
            appeal_epochs: 1,
            late_epochs: 7,
            answer_epochs: 1,
        }
    }
}

impl SlashingRules {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        at_most_whole("slashing.fraction_ppm", self.fraction_ppm)?;
        at_most_whole("slashing.reporter_ppm", self.reporter_ppm)?;
        epochs("slashing.appeal_epochs", self.appeal_epochs)?;
        epochs("slashing.answer_epochs", self.answer_epochs)?;
        if self.answer_epochs == 0 {
            return Invalid::new(
                "slashing.answer_epochs",
                "it is 0, and nobody could answer in time",
            );
        }
        if self.late_epochs < 2 || self.late_epochs > LATE_EPOCHS_MAX {
            return Invalid::new(
                "slashing.late_epochs",
                format!(
                    "it is {}, and from 2 to {LATE_EPOCHS_MAX} are allowed",
                    self.late_epochs
                ),
            );
        }
        match self.deposit > Amount::SUPPLY_MAX {
            true => Invalid::new("slashing.deposit", "it is more than can exist"),
            false => Ok(()),
        }
    }
}

/// How rules are changed.
///
/// CBOR: 0 deposit a, 1 voting_epochs u, 2 timelock_epochs u, 3 quorum_ppm u, 4 threshold_ppm u.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct GovernanceRules {
    /// What a proposer puts down, and loses if too few vote, in 10^-12 token.
    #[n(0)]
    pub deposit: Amount,
    /// Whole epochs in which a proposal is voted on.
    #[n(1)]
    pub voting_epochs: u64,
    /// Whole epochs from then until it takes effect; longer than the unbonding time, so that whoever
    /// does not agree can be gone.
    #[n(2)]
    pub timelock_epochs: u64,
    /// The part of all stake that must have voted, either way.
    #[n(3)]
    pub quorum_ppm: u32,
    /// The part of the votes that must be for it; more than half.
    #[n(4)]
    pub threshold_ppm: u32,
}

impl Default for GovernanceRules {
    fn default() -> GovernanceRules {
        GovernanceRules {
            deposit: Amount::tokens(1_000),
            voting_epochs: 5,
            timelock_epochs: 16,
            quorum_ppm: 333_334,
            threshold_ppm: 500_001,
        }
    }
}

impl GovernanceRules {
    pub(crate) fn check(&self, unbonding_epochs: u64) -> Result<(), Invalid> {
        at_most_whole("governance.quorum_ppm", self.quorum_ppm)?;
        more_than_half("governance.threshold_ppm", self.threshold_ppm)?;
        epochs("governance.voting_epochs", self.voting_epochs)?;
        epochs("governance.timelock_epochs", self.timelock_epochs)?;
        if self.voting_epochs == 0 {
            return Invalid::new("governance.voting_epochs", "it is 0, and nobody could vote");
        }
        if self.timelock_epochs <= unbonding_epochs {
            return Invalid::new(
                "governance.timelock_epochs",
                format!(
                    "it is {} and must be more than the {unbonding_epochs} of unbonding",
                    self.timelock_epochs
                ),
            );
        }
        match self.deposit > Amount::SUPPLY_MAX {
            true => Invalid::new("governance.deposit", "it is more than can exist"),
            false => Ok(()),
        }
    }
}

fn at_most_whole(field: &'static str, ppm: u32) -> Result<(), Invalid> {
    match ppm <= PPM {
        true => Ok(()),
        false => Invalid::new(field, format!("it is {ppm}, more than the whole, {PPM}")),
    }
}

fn more_than_half(field: &'static str, ppm: u32) -> Result<(), Invalid> {
    at_most_whole(field, ppm)?;
    match ppm > PPM / 2 {
        true => Ok(()),
        false => Invalid::new(field, format!("it is {ppm}, and must be more than half")),
    }
}

fn epochs(field: &'static str, epochs: u64) -> Result<(), Invalid> {
    match epochs <= EPOCHS_MAX {
        true => Ok(()),
        false => Invalid::new(field, format!("at most {EPOCHS_MAX} are allowed")),
    }
}
