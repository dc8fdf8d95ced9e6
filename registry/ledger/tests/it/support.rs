//! A small network, and transactions in it.

use std::sync::LazyLock;

use adit_ledger::genesis::Allocation;
use adit_ledger::index::Publication;
use adit_ledger::registration::{NodeKeys, Possession, Profile, Registration, Role};
use adit_ledger::rules::{GovernanceRules, RewardRules, SlashingRules};
use adit_ledger::transaction::Verified;
use adit_ledger::{Action, Key, LedgerGenesis, Parameters, State, Transaction};
use adit_protocol::exec::World;
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::{Amount, Document as _, Hash};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

/// Length of an epoch in milliseconds.
pub const EPOCH_MS: u64 = 30_000;
/// When the network began.
pub const BEGIN_MS: u64 = 1_700_000_000_000;
/// Accounts with tokens at the beginning.
pub const RICH: usize = 4;

/// Keypairs of accounts: the first four have tokens.
pub static ACCOUNTS: LazyLock<Vec<Keypair>> = LazyLock::new(|| keypairs(1, 6));
/// Keypairs of nodes.
pub static NODES: LazyLock<Vec<Keypair>> = LazyLock::new(|| keypairs(100, 8));
/// A log key.
pub static LOG: LazyLock<Keypair> = LazyLock::new(|| keypairs(200, 1).remove(0));

fn keypairs(from: u8, count: u8) -> Vec<Keypair> {
    (from..from + count)
        .map(|seed| Keypair::from_seed([seed; 32]))
        .collect()
}

pub fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([9; 32])
}

pub fn account(number: usize) -> Key {
    Key::new(&ACCOUNTS[number % ACCOUNTS.len()].public())
}

pub fn node(number: usize) -> Key {
    Key::new(&NODES[number % NODES.len()].public())
}

pub fn log() -> Key {
    Key::new(&LOG.public())
}

/// The genesis documents.
pub fn genesis() -> (Genesis, LedgerGenesis) {
    let mut allocations: Vec<_> = (0..RICH)
        .map(|number| Allocation {
            account: account(number),
            amount: Amount::tokens(1_000_000),
        })
        .collect();
    allocations.sort_by_key(|one| one.account);
    let ledger = LedgerGenesis {
        log: log(),
        parameters: Parameters {
            fee_min: Amount::from_units(10_000_000_000),
            miner_stake_min: Amount::tokens(20_000),
            coordinator_stake_min: Amount::tokens(200_000),
            checker_stake_min: Amount::tokens(50_000),
            vote_min: Amount::tokens(1),
            unbonding_epochs: 2,
            faucet_account: Amount::tokens(1_000),
            faucet_epoch: Amount::tokens(2_500),
            engines: vec![Hash::of(b"engine")],
            rewards: RewardRules::default(),
            slashing: SlashingRules::default(),
            governance: GovernanceRules::default(),
        },
        allocations,
    };
    let genesis = Genesis {
        name: "test".to_owned(),
        created_ms: BEGIN_MS,
        authority: *account(0).as_bytes(),
        epoch_ms: EPOCH_MS,
        miner_stake_min: Amount::tokens(20_000).units(),
        coordinator_stake_min: Amount::tokens(200_000).units(),
        saturation: 50,
        development: true,
        ledger: Some(ledger.hash()),
    };
    (genesis, ledger)
}

/// The state right after the first block began.
pub fn state() -> State {
    let (genesis, ledger) = genesis();
    let mut state = State::new(&genesis, &ledger).unwrap();
    state.begin_block(BEGIN_MS).unwrap();
    state
}

/// A transaction with the next number and the least fee, signed.
pub fn signed(state: &State, from: usize, action: Action) -> Verified {
    let transaction = Transaction {
        genesis: state.head().genesis,
        account: account(from),
        number: state.account(&account(from)).number,
        fee: state.least_fee(&action),
        expires_ms: state.head().time_ms + 60_000,
        action,
    };
    verified(from, &transaction)
}

pub fn verified(from: usize, transaction: &Transaction) -> Verified {
    let keypair = &ACCOUNTS[from % ACCOUNTS.len()];
    transaction.sign(keypair, &mut rng()).verify().unwrap()
}

/// A registration with what its role needs.
pub fn registration(role: Role, operator: usize, number: usize, bond: Amount) -> Action {
    let keys = NodeKeys {
        node: node(number),
        log: (role != Role::Miner).then(log),
    };
    Action::Register {
        registration: Registration {
            role,
            keys,
            name: (role == Role::Checker).then(|| format!("checker-{number}")),
            profile: profile(role, 100_000),
            proof: proof(operator, number, keys),
        },
        bond,
    }
}

pub fn profile(role: Role, commission_ppm: u32) -> Profile {
    Profile {
        commission_ppm,
        url: (role != Role::Miner).then(|| "http://127.0.0.1:1".to_owned()),
        region: None,
        introduction: None,
        service: None,
    }
}

/// A version of a component, without models.
pub fn publication(name: &str, version: &str) -> Publication {
    Publication {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        component: Hash::of(format!("{name} {version}").as_bytes()),
        world: World::Task,
        models: Vec::new(),
        description: None,
        source: None,
    }
}

pub fn yank(name: &str, version: &str, yanked: bool) -> Action {
    Action::Yank {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        yanked,
    }
}

/// A node key's word for an operator.
pub fn proof(operator: usize, number: usize, keys: NodeKeys) -> [u8; 64] {
    let possession = Possession {
        genesis: genesis().0.hash(),
        operator: account(operator),
        keys,
    };
    possession.sign(&NODES[number % NODES.len()], &mut rng())
}
