//! A small network, and transactions in it.

use std::sync::LazyLock;

use adit_ledger::genesis::Allocation;
use adit_ledger::registration::{NodeKeys, Possession, Profile, Registration, Role};
use adit_ledger::rules::{GovernanceRules, RewardRules, SlashingRules};
use adit_ledger::slashing::{Evidence, Finding, SIGNED_BODY};
use adit_ledger::transaction::Verified;
use adit_ledger::{Action, Key, LedgerGenesis, Parameters, State, Transaction};
use adit_protocol::keys::Keypair;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::{Amount, Document as _, Hash, Status};
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
/// Keypairs of nodes; the last three are those of checkers, where there are some.
pub static NODES: LazyLock<Vec<Keypair>> = LazyLock::new(|| keypairs(100, 11));
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
            rewards: RewardRules {
                // Two of three with the same stake.
                quorum_ppm: 666_666,
                ..RewardRules::default()
            },
            slashing: SlashingRules::default(),
            governance: GovernanceRules {
                voting_epochs: 1,
                timelock_epochs: 3,
                ..GovernanceRules::default()
            },
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
    let fee = match action {
        Action::Faucet { .. } => Amount::ZERO,
        _ => state.parameters().fee_min,
    };
    let transaction = Transaction {
        genesis: state.head().genesis,
        account: account(from),
        number: state.account(&account(from)).number,
        fee,
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

/// A node key's word for an operator.
pub fn proof(operator: usize, number: usize, keys: NodeKeys) -> [u8; 64] {
    possession(&state(), operator, number, keys)
}

/// As [`proof`], in another network.
pub fn possession(state: &State, operator: usize, number: usize, keys: NodeKeys) -> [u8; 64] {
    let possession = Possession {
        genesis: state.head().genesis,
        operator: account(operator),
        keys,
    };
    possession.sign(&NODES[number % NODES.len()], &mut rng())
}

/// A receipt as far as its miner signs it, with the key of a node.
pub fn receipt(number: usize, assignment: &[u8], fuel: u64) -> [u8; SIGNED_BODY] {
    let miner = &NODES[number % NODES.len()];
    let genesis = genesis().0.hash();
    let body = ReceiptBody {
        network: *genesis.as_bytes().first_chunk().unwrap(),
        status: Status::Ok,
        gpu: false,
        nn: false,
        epoch: 1,
        seq: 2,
        start_ms: BEGIN_MS,
        duration_us: 3,
        fuel,
        nn_units: 0,
        peak_memory: 65_536,
        miner: miner.public().to_bytes(),
        coordinator: [7; 32],
        task: Hash::of(b"task"),
        assignment: Hash::of(assignment),
        component: Hash::ZERO,
        input: Hash::ZERO,
        output: Hash::ZERO,
        transcript: Hash::ZERO,
        environment: Hash::ZERO,
        prev: Hash::ZERO,
    };
    let bytes = body.sign(miner, &mut rng()).to_bytes();
    *bytes.first_chunk().unwrap()
}

/// Two receipts for one assignment.
pub fn equivocation(number: usize, assignment: &[u8]) -> Box<Evidence> {
    Box::new(Evidence::Equivocation {
        first: receipt(number, assignment, 1),
        second: receipt(number, assignment, 2),
    })
}

/// Two checkpoints of the log of a node key, signed by a log key.
pub fn fork(number: usize, log: &Keypair, size: u64) -> Box<Evidence> {
    let node = &NODES[number % NODES.len()].public();
    let [first, second] = [b"one", b"two"].map(|root| {
        let root = Hash::of(root);
        let checkpoint = Checkpoint {
            origin: Origin::new(&genesis().0.hash(), node).name(),
            size,
            root,
        };
        let signed = checkpoint.sign(log, &mut rng());
        let signature = &signed.note().signatures()[0].signature;
        (root, signature.as_slice().try_into().unwrap())
    });
    Box::new(Evidence::LogFork {
        key: Key::new(node),
        size,
        first,
        second,
    })
}

/// What checkers would sign now of a report.
pub fn verdict(
    state: &State,
    report: Hash,
    fraction_ppm: Option<u32>,
    checkers: &[usize],
) -> Action {
    let found = state.report_of(&report);
    let finding = Finding {
        genesis: state.head().genesis,
        report,
        appeal: found.is_some_and(|report| report.appeal.is_some()),
        guilty: fraction_ppm.is_some(),
        fraction_ppm: fraction_ppm.unwrap_or(0),
    };
    let sign = |number: &usize| {
        let keypair = &NODES[number % NODES.len()];
        (node(*number), finding.sign(keypair, &mut rng()))
    };
    let mut signatures: Vec<_> = checkers.iter().map(sign).collect();
    signatures.sort();
    Action::Verdict {
        report,
        fraction_ppm,
        signatures,
    }
}
