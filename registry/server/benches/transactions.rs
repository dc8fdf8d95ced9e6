//! Transactions through a registry over HTTP, each answered when it is durable: how many a second,
//! and how long one takes.
//!
//! `cargo bench --workspace --bench transactions -- [--flight N] [--seconds N]`

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_ledger::genesis::Allocation;
use adit_ledger::rules::{GovernanceRules, RewardRules, SlashingRules};
use adit_ledger::{Action, Key, LedgerGenesis, Parameters, Transaction};
use adit_net::Clock as _;
use adit_net::SystemClock;
use adit_net::http::client::{Client, ClientConfig};
use adit_net::http::server::{Limits, Listen};
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::{Amount, Document as _, Hash};
use adit_registry::{Options, Registry, Running};
use rand_core::OsRng;
use serde_json::json;

/// Transactions that are signed in advance for each second, more than can be taken.
const PER_SECOND: usize = 6_000;

fn keypair(number: usize) -> Keypair {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Keypair::from_seed(seed)
}

fn main() {
    let number = |name: &str, default: usize| {
        let mut args = std::env::args().skip_while(|arg| arg != name);
        args.nth(1)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (flight, seconds) = (number("--flight", 64), number("--seconds", 3));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for flight in [1, flight] {
        runtime.block_on(measure(flight, seconds));
    }
}

/// As many accounts as requests at one time, each of which sends one transaction after the other.
async fn measure(flight: usize, seconds: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let now_ms = SystemClock.now_ms();
    let mut allocations: Vec<_> = (0..flight)
        .map(|number| Allocation {
            account: Key::new(&keypair(number).public()),
            amount: Amount::tokens(1_000_000),
        })
        .collect();
    allocations.sort_by_key(|one| one.account);
    let ledger = LedgerGenesis {
        log: Key::new(&keypair(1_000_001).public()),
        parameters: Parameters {
            fee_min: Amount::from_units(1),
            miner_stake_min: Amount::tokens(20_000),
            coordinator_stake_min: Amount::tokens(2_000_000),
            checker_stake_min: Amount::tokens(50_000),
            vote_min: Amount::tokens(1),
            unbonding_epochs: 2,
            faucet_account: Amount::ZERO,
            faucet_epoch: Amount::ZERO,
            engines: vec![Hash::of(b"engine")],
            rewards: RewardRules::default(),
            slashing: SlashingRules::default(),
            governance: GovernanceRules::default(),
        },
        allocations,
    };
    let genesis = Genesis {
        name: "bench".to_owned(),
        created_ms: now_ms,
        authority: keypair(1_000_000).public().to_bytes(),
        epoch_ms: 3_600_000,
        miner_stake_min: 1,
        coordinator_stake_min: 1,
        saturation: 10,
        development: true,
        ledger: Some(ledger.hash()),
    };
    let hash = genesis.hash();
    let registry = Registry::start(Options {
        state: folder.path().to_owned(),
        network_file: folder.path().join("network"),
        genesis,
        ledger,
        authority: keypair(1_000_000),
        log: keypair(1_000_001),
        listen: Listen::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        limits: Limits::default(),
        clock: Arc::new(SystemClock),
        settler: None,
        witnesses: Vec::new(),
    })
    .await
    .expect("a registry");
    // Signing is the wallets' work, and is done before.
    let each = PER_SECOND * seconds / flight;
    let expires_ms = now_ms + 3_600_000;
    let signed: Vec<Vec<_>> = (0..flight)
        .map(|number| {
            (0..each as u64)
                .map(|at| body(hash, number, at, expires_ms))
                .collect()
        })
        .collect();
    load(&registry, signed, Duration::from_secs(seconds as u64)).await;
    registry.stop().await;
}

fn body(genesis: Hash, account: usize, number: u64, expires_ms: u64) -> serde_json::Value {
    let keypair = keypair(account);
    let signed = Transaction {
        genesis,
        account: Key::new(&keypair.public()),
        number,
        fee: Amount::from_units(1),
        expires_ms,
        action: Action::Stake {
            amount: Amount::from_units(1),
        },
    }
    .sign(&keypair, &mut OsRng);
    let signature: String = signed
        .to_bytes()
        .iter()
        .take(64)
        .map(|b| format!("{b:02x}"))
        .collect();
    json!({ "text": signed.text(), "signature": format!("0x{signature}") })
}

async fn load(registry: &Running, signed: Vec<Vec<serde_json::Value>>, length: Duration) {
    let url: url::Url = registry.url().parse().expect("an address");
    let flight = signed.len();
    let begun = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for bodies in signed {
        let client = Client::new(ClientConfig::new(url.clone())).expect("a client");
        all.spawn(async move {
            let mut times = Vec::new();
            for body in bodies {
                if begun.elapsed() >= length {
                    break;
                }
                let asked = Instant::now();
                let answer = client.post("/v1/transactions").json(&body).send().await;
                answer.expect("it is taken");
                times.push(asked.elapsed());
            }
            times
        });
    }
    let mut times = Vec::new();
    while let Some(done) = all.join_next().await {
        times.extend(done.expect("a task"));
    }
    let took = begun.elapsed();
    times.sort_unstable();
    let at = |share: usize| {
        times
            .get(times.len() * share / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{flight} in flight: {:.0} transactions/s, p50 {:.2} ms, p99 {:.2} ms ({} of them)",
        times.len() as f64 / took.as_secs_f64(),
        at(50).as_secs_f64() * 1000.0,
        at(99).as_secs_f64() * 1000.0,
        times.len()
    );
}
