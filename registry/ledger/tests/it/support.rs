//! A small network, and transactions in it.

use std::sync::LazyLock;

use adit_ledger::genesis::Allocation;
use adit_ledger::index::Publication;
use adit_ledger::registration::{NodeKeys, Possession, Profile, Registration, Role};
use adit_ledger::rewards::{Charge, Earned, RewardTree, Settlement, add_up};
use adit_ledger::rules::{GovernanceRules, RewardRules, SlashingRules};
use adit_ledger::slashing::{Evidence, Finding, SIGNED_BODY};
use adit_ledger::transaction::{Attestation, Closure, Cosigned, Verified};
use adit_ledger::{Action, Event, Key, LedgerGenesis, Parameters, Refusal, State, Transaction};
use adit_protocol::exec::World;
use adit_protocol::keys::Keypair;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::key::KeyKind;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::signed::Signable as _;
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

/// A transaction that takes effect.
pub fn ok(state: &mut State, from: usize, action: Action) -> Vec<Event> {
    let transaction = signed(state, from, action);
    state.apply(&transaction).unwrap()
}

/// A transaction that is refused, and changes nothing.
pub fn refused(state: &mut State, from: usize, action: Action) -> Refusal {
    let before = state.clone();
    let transaction = signed(state, from, action);
    let refusal = state.apply(&transaction).unwrap_err();
    assert_eq!(*state, before, "{refusal}");
    assert!(refusal.to_string().contains("hint: "), "{refusal}");
    refusal
}

/// Begins a block at the beginning of an epoch.
pub fn epoch(state: &mut State, epoch: u64) {
    state.begin_block(BEGIN_MS + epoch * EPOCH_MS).unwrap();
}

pub fn tokens(tokens: u64) -> Amount {
    Amount::tokens(tokens)
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

/// The keypair of a node key.
fn pair_of(key: &Key) -> &'static Keypair {
    let found = NODES.iter().find(|pair| Key::new(&pair.public()) == *key);
    found.expect("nodes in tests have keys from the list")
}

/// How a coordinator's log is closed, and what may be wrong with it.
#[derive(Clone)]
pub struct Closes {
    pub coordinator: Key,
    pub epoch: u64,
    pub size: u64,
    /// The node key in the log's origin.
    pub origin: Key,
    pub log: &'static Keypair,
    pub kind: KeyKind,
    /// Numbers of nodes that cosign, by their names.
    pub checkers: Vec<usize>,
    /// The root, if it matters.
    pub root: Option<Hash>,
}

impl Closes {
    /// As it should be; `checkers` ascend.
    pub fn new(state: &State, number: usize, epoch: u64, size: u64, checkers: &[usize]) -> Closes {
        let found = state.node(&node(number));
        let keys = found.map(|node| node.keys_in(epoch));
        Closes {
            coordinator: node(number),
            epoch,
            size,
            origin: keys.map_or(node(number), |keys| keys.node),
            log: &LOG,
            kind: KeyKind::Mirror,
            checkers: checkers.to_vec(),
            root: None,
        }
    }

    fn signed(&self) -> SignedCheckpoint {
        let origin = Origin::new(&genesis().0.hash(), &self.origin.public().unwrap());
        let checkpoint = Checkpoint {
            origin: origin.name(),
            size: self.size,
            root: self.root(),
        };
        checkpoint.sign(self.log, &mut rng())
    }

    fn root(&self) -> Hash {
        let any = Hash::of(&self.size.to_le_bytes());
        self.root.unwrap_or(any)
    }

    /// What a checker of this name signs of it.
    pub fn cosigned(&self, name: &str) -> Cosigned {
        let line = (self.signed()).cosign(self.kind, &name.parse().unwrap(), &LOG, 1, &mut rng());
        Cosigned {
            name: name.to_owned(),
            time_s: 1,
            signature: line.unwrap().signature[8..].try_into().unwrap(),
        }
    }

    pub fn closure(&self) -> Closure {
        let mut names: Vec<_> = (self.checkers.iter())
            .map(|number| format!("checker-{number}"))
            .collect();
        names.sort();
        let signed = self.signed();
        let own = &signed.note().signatures()[0].signature;
        Closure {
            coordinator: self.coordinator,
            epoch: self.epoch,
            size: self.size,
            root: self.root(),
            signature: own.as_slice().try_into().unwrap(),
            cosignatures: names.iter().map(|name| self.cosigned(name)).collect(),
        }
    }

    pub fn action(&self) -> Action {
        Action::CloseEpoch(Box::new(self.closure()))
    }
}

/// As [`settlement_of`], of nodes and accounts by their numbers.
pub fn settlement(
    state: &State,
    epoch: u64,
    charges: &[(usize, Amount)],
    before: &[Earned],
    to: &[usize],
) -> (Settlement, RewardTree) {
    let charges = charges
        .iter()
        .map(|(number, spent)| (node(*number), *spent));
    let to = to.iter().map(|number| account(*number));
    settlement_of(state, epoch, charges.collect(), before, to.collect())
}

/// The settlement of an epoch in which a twentieth of each charge was burned, and everything minted
/// that may be. `to` share what was earned, on top of what accounts had earned before.
pub fn settlement_of(
    state: &State,
    epoch: u64,
    charges: Vec<(Key, Amount)>,
    before: &[Earned],
    mut to: Vec<Key>,
) -> (Settlement, RewardTree) {
    let charge = |(node, spent): (Key, Amount)| Charge {
        node,
        spent,
        burned: Amount::from_units(spent.units() / 20),
    };
    let mut charges: Vec<_> = charges.into_iter().map(charge).collect();
    charges.sort_by_key(|charge| charge.node);
    let sum = |of: fn(&Charge) -> Amount| charges.iter().map(of).sum::<Amount>().units();
    let (spent, burned) = (sum(|one| one.spent), sum(|one| one.burned));
    // The rules' defaults: k is 0.8, 70 parts for miners, 15 for voters, 5 of 100 for the treasury.
    let treasury = state.reward_rules(epoch).emission.units() / 20;
    let minted = treasury + burned * 8 / 10 * 85 / 70;
    let paid = minted - treasury + spent - burned;
    to.sort();
    to.dedup();
    let part = paid.checked_div(to.len() as u128).unwrap_or(0);
    let earned = (0u128..).zip(&to).map(|(at, account)| Earned {
        account: *account,
        total: Amount::from_units(match at {
            0 => paid - part * (to.len() as u128 - 1),
            _ => part,
        }),
    });
    let tree = RewardTree::new(add_up(before, earned.filter(|one| !one.total.is_zero())));
    let settlement = Settlement {
        genesis: state.head().genesis,
        epoch,
        input: Hash::of(b"input"),
        output: Hash::of(b"output"),
        minted: Amount::from_units(minted),
        treasury: Amount::from_units(treasury),
        paid: Amount::from_units(paid),
        earned: tree.root(),
        charges,
        replaces: None,
    };
    (settlement, tree)
}

/// What nodes sign of a document, by the keys that they have now.
fn attested(
    state: &State,
    context: &'static [u8],
    document: &[u8],
    checkers: &[usize],
) -> Vec<Attestation> {
    let one = |number: &usize| {
        let found = state.node(&node(*number));
        let key = found.map_or(node(*number), |found| found.keys.node);
        Attestation {
            checker: node(*number),
            signature: pair_of(&key).sign(context, document, &mut rng()),
        }
    };
    let mut all: Vec<_> = checkers.iter().map(one).collect();
    all.sort_by_key(|one| one.checker);
    all
}

/// Signed by nodes, by the keys that they have now.
pub fn settles(state: &State, settlement: &Settlement, checkers: &[usize]) -> Action {
    let document = settlement.to_cbor();
    let attestations = attested(state, Settlement::CONTEXT, &document, checkers);
    Action::Settle {
        settlement: Box::new(settlement.clone()),
        attestations,
    }
}

/// A claim of an account with its proof.
pub fn claims(tree: &RewardTree, of: usize) -> Action {
    let (earned, included) = tree.prove(&account(of)).unwrap();
    Action::Claim {
        total: earned.total,
        index: included.index,
        proof: included.proof,
    }
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
    let attestations = attested(state, Finding::CONTEXT, &finding.to_cbor(), checkers);
    Action::Verdict {
        report,
        fraction_ppm,
        attestations,
    }
}
