//! What a registry does for each transaction and for each epoch: reading and checking a transaction,
//! doing it, the tree of a state with a hundred thousand accounts, and proofs in it.

use std::hint::black_box;

use adit_ledger::genesis::Allocation;
use adit_ledger::root::StateTree;
use adit_ledger::rules::{GovernanceRules, RewardRules, SlashingRules};
use adit_ledger::transaction::Verified;
use adit_ledger::{Action, Key, LedgerGenesis, Parameters, SignedTransaction, State, Transaction};
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::{Amount, Document as _, Hash};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

/// Accounts of the large state.
const ACCOUNTS: u64 = 100_000;
/// Transactions that are done one after the other.
const BATCH: u64 = 256;
const BEGIN_MS: u64 = 1_700_000_000_000;

fn alice() -> Keypair {
    Keypair::from_seed([1; 32])
}

fn state() -> State {
    let account = Key::new(&alice().public());
    let ledger = LedgerGenesis {
        log: Key::new(&Keypair::from_seed([2; 32]).public()),
        parameters: Parameters {
            fee_min: Amount::ZERO,
            miner_stake_min: Amount::tokens(20_000),
            coordinator_stake_min: Amount::tokens(2_000_000),
            checker_stake_min: Amount::tokens(50_000),
            vote_min: Amount::tokens(1),
            unbonding_epochs: 14,
            faucet_account: Amount::ZERO,
            faucet_epoch: Amount::ZERO,
            engines: vec![Hash::of(b"engine")],
            rewards: RewardRules::default(),
            slashing: SlashingRules::default(),
            governance: GovernanceRules::default(),
        },
        allocations: vec![Allocation {
            account,
            amount: Amount::tokens(1_000_000_000),
        }],
    };
    let genesis = Genesis {
        name: "bench".to_owned(),
        created_ms: BEGIN_MS,
        authority: [1; 32],
        epoch_ms: 3_600_000,
        miner_stake_min: 1,
        coordinator_stake_min: 1,
        saturation: 10,
        development: true,
        ledger: Some(ledger.hash()),
    };
    let mut state = State::new(&genesis, &ledger).expect("a ledger");
    state.begin_block(BEGIN_MS).expect("a block");
    state
}

/// Transfers of Alice to accounts that never were, from a number on.
fn transfers(state: &State, from: u64, count: u64) -> Vec<SignedTransaction> {
    let mut rng = ChaCha20Rng::seed_from_u64(from);
    (from..from + count)
        .map(|number| {
            let mut to = [7; 32];
            to[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
            Transaction {
                genesis: state.head().genesis,
                account: Key::new(&alice().public()),
                number,
                fee: Amount::ZERO,
                expires_ms: BEGIN_MS + 60_000,
                action: Action::Transfer {
                    // A text names usable keys only; what is measured does not read these again.
                    to: Key::from_bytes(to),
                    amount: Amount::tokens(1),
                },
            }
            .sign(&alice(), &mut rng)
        })
        .collect()
}

fn verified(transactions: Vec<SignedTransaction>) -> Vec<Verified> {
    let verify = |signed: SignedTransaction| signed.verify().expect("signed");
    transactions.into_iter().map(verify).collect()
}

fn bench(criterion: &mut Criterion) {
    let mut large = state();
    for transaction in verified(transfers(&large, 0, ACCOUNTS)) {
        large.apply(&transaction).expect("done");
    }
    let stake = Transaction {
        genesis: large.head().genesis,
        account: Key::new(&alice().public()),
        number: ACCOUNTS,
        fee: Amount::ZERO,
        expires_ms: BEGIN_MS + 60_000,
        action: Action::Stake {
            amount: Amount::tokens(1),
        },
    };
    let bytes = stake
        .sign(&alice(), &mut ChaCha20Rng::seed_from_u64(1))
        .to_bytes();
    let mut group = criterion.benchmark_group("transaction");
    group.bench_function("read", |b| {
        b.iter(|| SignedTransaction::from_bytes(black_box(&bytes)).expect("a transaction"));
    });
    group.bench_function("read-and-verify", |b| {
        b.iter(|| {
            let signed = SignedTransaction::from_bytes(black_box(&bytes)).expect("a transaction");
            signed.verify().expect("signed")
        });
    });
    let next = verified(transfers(&large, ACCOUNTS, BATCH));
    group.throughput(Throughput::Elements(BATCH));
    group.sample_size(20);
    group.bench_function("apply", |b| {
        b.iter_batched_ref(
            || large.clone(),
            |state| {
                for transaction in &next {
                    state.apply(transaction).expect("done");
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();

    let mut group = criterion.benchmark_group("state");
    group.sample_size(10);
    group.throughput(Throughput::Elements(ACCOUNTS));
    group.bench_function("tree", |b| b.iter(|| StateTree::of(black_box(&large))));
    group.finish();
    let tree = StateTree::of(&large);
    let account = Key::new(&alice().public());
    let proof = tree.prove(&account);
    let hashes: usize = proof.entries.iter().map(|entry| entry.proof.len()).sum();
    let leaves: usize = proof.entries.iter().map(|entry| entry.leaf.len()).sum();
    println!(
        "an account among {ACCOUNTS} is proven by {hashes} hashes and {leaves} bytes of entries: {} bytes",
        hashes * 32 + leaves
    );
    let mut group = criterion.benchmark_group("proof");
    group.bench_function("make", |b| b.iter(|| tree.prove(black_box(&account))));
    group.bench_function("verify", |b| {
        b.iter(|| {
            proof
                .verify(black_box(&account), &tree.root())
                .expect("it holds")
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
