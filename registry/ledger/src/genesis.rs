//! What a ledger begins with: the registry's log, the rules, and who has which tokens.

use adit_protocol::cbor::Document;
use adit_protocol::cbor::fields::{self, Invalid};
use adit_protocol::network::membership::MEMBERS_MAX;
use adit_protocol::{Amount, Hash};
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::key::Key;
use crate::registration::Role;
use crate::rules::{EPOCHS_MAX, GovernanceRules, RewardRules, SlashingRules};

/// Most accounts that have tokens at the beginning.
const ALLOCATIONS_MAX: usize = 4096;

/// The rules that can differ between networks and be changed by a vote.
///
/// CBOR: 0 fee_min a, 1 miner_stake_min a, 2 coordinator_stake_min a, 3 checker_stake_min a,
/// 4 vote_min a, 5 unbonding_epochs u, 6 faucet_account a, 7 faucet_epoch a, 8 engines \[h\],
/// 9 [rewards](RewardRules), 10 [slashing](SlashingRules), 11 [governance](GovernanceRules).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Parameters {
    /// Least fee of a transaction, in 10^-12 token.
    #[n(0)]
    pub fee_min: Amount,
    /// Least stake of a miner, in 10^-12 token.
    #[n(1)]
    pub miner_stake_min: Amount,
    /// Least stake of a coordinator, in 10^-12 token.
    #[n(2)]
    pub coordinator_stake_min: Amount,
    /// Least stake of a checker, in 10^-12 token.
    #[n(3)]
    pub checker_stake_min: Amount,
    /// Least votes of one account for one node, in 10^-12 token: what is paid to voters is divided
    /// among them all.
    #[n(4)]
    pub vote_min: Amount,
    /// Whole epochs until stake that is taken back is free; it can be slashed meanwhile.
    #[n(5)]
    pub unbonding_epochs: u64,
    /// Most that the faucet gives an account in an epoch, in 10^-12 token; nothing on a network
    /// whose tokens have a value.
    #[n(6)]
    pub faucet_account: Amount,
    /// Most that the faucet gives all accounts in an epoch, in 10^-12 token.
    #[n(7)]
    pub faucet_epoch: Amount,
    /// Engine ids whose results are paid, ascending, at least one.
    #[n(8)]
    pub engines: Vec<Hash>,
    /// How epochs are closed and settled.
    #[n(9)]
    pub rewards: RewardRules,
    /// What misdeeds cost.
    #[n(10)]
    pub slashing: SlashingRules,
    /// How rules are changed.
    #[n(11)]
    pub governance: GovernanceRules,
}

impl Parameters {
    /// Least stake of a role, in 10^-12 token.
    pub fn stake_min(&self, role: Role) -> Amount {
        match role {
            Role::Miner => self.miner_stake_min,
            Role::Coordinator => self.coordinator_stake_min,
            Role::Checker => self.checker_stake_min,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let amounts = [
            ("fee_min", self.fee_min),
            ("miner_stake_min", self.miner_stake_min),
            ("coordinator_stake_min", self.coordinator_stake_min),
            ("checker_stake_min", self.checker_stake_min),
            ("vote_min", self.vote_min),
            ("faucet_account", self.faucet_account),
            ("faucet_epoch", self.faucet_epoch),
        ];
        for (field, amount) in amounts {
            if amount > Amount::SUPPLY_MAX {
                return Invalid::new(field, "it is more than can exist");
            }
        }
        if self.miner_stake_min.is_zero() {
            return Invalid::new(
                "miner_stake_min",
                "it is 0, and anyone could be a thousand miners",
            );
        }
        if self.unbonding_epochs > EPOCHS_MAX {
            return Invalid::new(
                "unbonding_epochs",
                format!("at most {EPOCHS_MAX} are allowed"),
            );
        }
        fields::count("engines", self.engines.len(), 64)?;
        if self.engines.is_empty() || !self.engines.is_sorted_by(|a, b| a < b) {
            return Invalid::new("engines", "they must be ascending, and at least one");
        }
        self.rewards.check()?;
        self.slashing.check()?;
        self.governance.check(self.unbonding_epochs)
    }
}

/// Tokens of an account at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Allocation {
    /// The account.
    #[n(0)]
    pub account: Key,
    /// Its free tokens, in 10^-12 token.
    #[n(1)]
    pub amount: Amount,
}

/// The ledger's genesis document, whose hash stands in the network's.
///
/// CBOR: 0 log b32, 1 parameters, 2 allocations \[{0 account b32, 1 amount a}\] ascending.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct LedgerGenesis {
    /// Key that signs the checkpoints of the registry's log and nothing else.
    #[n(0)]
    pub log: Key,
    /// The rules at the beginning.
    #[n(1)]
    pub parameters: Parameters,
    /// Who has tokens, ascending by account.
    #[n(2)]
    pub allocations: Vec<Allocation>,
}

impl LedgerGenesis {
    /// All tokens at the beginning.
    pub fn supply(&self) -> Amount {
        self.allocations.iter().map(|one| one.amount).sum()
    }
}

impl Document for LedgerGenesis {
    const NAME: &'static str = "ledger genesis document";
    const MAX_LEN: usize = 512 * 1024;
    const MAX_ITEMS: usize = ALLOCATIONS_MAX;

    fn check(&self) -> Result<(), Invalid> {
        self.parameters.check()?;
        if self.log.public().is_err() {
            return Invalid::new("log", "it is no public key");
        }
        let accounts = self.allocations.iter().map(|one| one.account);
        if !accounts.is_sorted_by(|a, b| a < b) {
            return Invalid::new("allocations", "accounts must be ascending, each once");
        }
        for one in &self.allocations {
            if one.account.public().is_err() {
                return Invalid::new("allocations.account", "it is no public key");
            }
        }
        if self.supply() > Amount::SUPPLY_MAX {
            return Invalid::new("allocations", "together they are more than can exist");
        }
        Ok(())
    }
}

/// Most nodes of a role that take part at one time.
pub const NODES_MAX: usize = MEMBERS_MAX;
