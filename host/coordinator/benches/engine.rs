//! The engine: how many tasks a second go from submission to an accepted, durable receipt, how long
//! one takes, and where the time goes. Miners are in the process and do nothing but sign; what is
//! measured is everything of a coordinator but HTTP and the checks of signatures.
//!
//! `cargo bench -p adit-coordinator` prints a table; there is no statistics of criterion's kind,
//! since what is measured is a process with its disk and not a function.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_coordinator::engine::{Engine, EngineOptions, Handle};
use adit_coordinator::membership::{FixedMembership, Members};
use adit_coordinator::order::{CheckedItem, HandInOrder, Submission};
use adit_net::{Clock as _, SystemClock};
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::network::assignment::Assignment;
use adit_protocol::network::exchange::{Hello, OfferedDevice, Poll};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{CoordinatorMember, Membership, MinerMember, NetworkFile};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::rand_core::{OsRng, RngCore as _};
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::signed::Signable as _;
use adit_protocol::status::Status;
use adit_protocol::task::{DeviceClass, Disclosure, Requirements, TaskSpec, Verification};

const MINERS: u8 = 3;
const SLOTS: u32 = 256;

struct Network {
    genesis: Genesis,
    coordinator: Keypair,
    engine: Hash,
}

fn miner(number: u8) -> Keypair {
    Keypair::from_seed([number + 10; 32])
}

fn network() -> Network {
    let authority = Keypair::from_seed([1; 32]);
    Network {
        genesis: Genesis {
            name: "bench".to_owned(),
            created_ms: SystemClock.now_ms() - 1,
            authority: authority.public().to_bytes(),
            epoch_ms: 3_600_000,
            miner_stake_min: 1,
            coordinator_stake_min: 1,
            saturation: 10,
            development: true,
        },
        coordinator: Keypair::from_seed([2; 32]),
        engine: Hash::of(b"engine"),
    }
}

impl Network {
    fn members(&self) -> Members {
        let mut miners: Vec<_> = (0..MINERS)
            .map(|number| MinerMember {
                node: miner(number).public().to_bytes(),
                account: [1; 32],
                stake: 5,
                jailed: None,
                introduction: String::new(),
            })
            .collect();
        miners.sort_by_key(|member| member.node);
        let membership = Membership {
            genesis: self.genesis.hash(),
            version: 1,
            engines: vec![self.engine],
            coordinators: vec![CoordinatorMember {
                node: self.coordinator.public().to_bytes(),
                log: Keypair::from_seed([3; 32]).public().to_bytes(),
                account: [1; 32],
                stake: 5,
                url: "https://localhost:1".to_owned(),
                region: String::new(),
                introduction: String::new(),
            }],
            miners,
            witnesses: Vec::new(),
        };
        let file = NetworkFile {
            genesis: self.genesis.clone(),
            membership: membership.sign(&Keypair::from_seed([1; 32]), &mut OsRng),
        };
        Members::verify(&file).expect("the authority has signed it")
    }

    fn hello(&self) -> Hello {
        let environment = EnvironmentDocument {
            engine: self.engine,
            triple: "none".to_owned(),
            cpu_baseline: "none".to_owned(),
            backend: "none".to_owned(),
            backend_version: "1".to_owned(),
            build: String::new(),
            execution_provider: "cpu".to_owned(),
            device: String::new(),
            driver: String::new(),
            precision: String::new(),
            threads: 1,
            requested: None,
            options: None,
            fallback: None,
        };
        Hello {
            genesis: self.genesis.hash(),
            software: "bench".to_owned(),
            engine: self.engine,
            devices: vec![OfferedDevice {
                environment: environment.to_cbor(),
                gpu: false,
                memory_bytes: 0,
            }],
            slots: SLOTS,
            hardware: None,
        }
    }

    fn order(&self) -> Submission {
        let mut salt = [0; 32];
        OsRng.fill_bytes(&mut salt);
        let input = salt.repeat(4);
        let exec = [salt.as_slice(), &[7; 300]].concat();
        Submission {
            client: "bench".to_owned(),
            idempotency: None,
            spec: TaskSpec {
                genesis: self.genesis.hash(),
                coordinator: self.coordinator.public().to_bytes(),
                exec: Hash::of(&exec),
                salt,
                price: 5,
                attempt_fee: 1,
                deadline_ms: 60_000,
                requirements: Requirements {
                    device: DeviceClass::Any,
                    device_memory_bytes: 0,
                    environments: Vec::new(),
                },
                verification: Verification {
                    replicas: 1,
                    quorum: 1,
                    adaptive: false,
                    tolerance: false,
                },
                disclosure: Disclosure::Public,
                client_tag: [0; 32],
                submitter: None,
            },
            inline: vec![Hash::of(&input)],
            exec,
            blobs: vec![input],
            local: false,
            validator: None,
            queue_ms: None,
            in_flight_max: None,
            trace: None,
        }
    }
}

/// A miner that signs a receipt for whatever it is given, and whose receipts are countersigned as
/// the coordinator's HTTP side does.
async fn mine(handle: Handle, network: Arc<Network>, number: u8, stop: Arc<AtomicBool>) {
    let key = miner(number);
    let node = key.public().to_bytes();
    handle
        .hello(node, network.hello())
        .await
        .expect("the miner is registered");
    let (mut seq, mut prev) = (0, Hash::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let poll = Poll {
            want: SLOTS,
            wait_ms: 200,
            accepted: Vec::new(),
            working: Vec::new(),
        };
        let answer = handle.poll(node, poll).await.expect("the engine runs");
        let mut items = Vec::new();
        for work in &answer.work {
            let assignment = work.assignment.unverified().expect("it is well formed");
            seq += 1;
            let item = run(&network, &key, &assignment, seq, prev);
            prev = item.receipt.id();
            items.push(HandInOrder::Checked(Box::new(item)));
        }
        if !items.is_empty() {
            let results = handle.hand_in(node, items).await.expect("the engine runs");
            assert!(results.iter().all(|r| r.leaf.is_some()), "{results:?}");
        }
    }
}

fn run(network: &Network, key: &Keypair, a: &Assignment, seq: u64, prev: Hash) -> CheckedItem {
    let output = a.task.as_bytes().to_vec();
    let hash = Hash::of(&output);
    let body = ReceiptBody {
        network: network.genesis.network_id(),
        status: Status::Ok,
        gpu: false,
        nn: false,
        epoch: a.epoch,
        seq,
        start_ms: a.issued_ms,
        duration_us: 1,
        fuel: 1,
        nn_units: 0,
        peak_memory: 1,
        miner: a.miner,
        coordinator: a.coordinator,
        task: a.task,
        assignment: a.hash(),
        component: Hash::ZERO,
        input: Hash::ZERO,
        output: hash,
        transcript: hash,
        environment: Hash::ZERO,
        prev,
    };
    let mut receipt = body.sign(key, &mut OsRng);
    receipt.countersign(&network.coordinator, &mut OsRng);
    CheckedItem {
        receipt,
        opening: ReceiptOpening {
            input: hash,
            output: hash,
            transcript: hash,
        },
        mismatch: None,
        blobs: vec![(hash, output)],
        environments: Vec::new(),
        detail: None,
        log: None,
    }
}

async fn one(handle: &Handle, network: &Network) -> Duration {
    let begun = Instant::now();
    let view = handle
        .submit(network.order())
        .await
        .expect("there is room for it");
    let view = handle.wait(view.task, Duration::from_secs(30)).await;
    assert!(view.expect("it is known").result.is_some());
    begun.elapsed()
}

/// So many clients, each with one task at a time, for so long: tasks a second, and how long each
/// took.
async fn load(
    handle: &Handle,
    network: &Arc<Network>,
    clients: usize,
    during: Duration,
) -> (f64, Vec<Duration>) {
    let begun = Instant::now();
    let all: Vec<_> = (0..clients)
        .map(|_| {
            let (handle, network) = (handle.clone(), Arc::clone(network));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while begun.elapsed() < during {
                    times.push(one(&handle, &network).await);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in all {
        times.extend(client.await.expect("no client fails"));
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort();
    (rate, times)
}

fn main() {
    // `cargo test --benches` only asks whether it can be started.
    let during = match std::env::args().any(|arg| arg == "--test") {
        true => Duration::from_millis(50),
        false => Duration::from_secs(3),
    };
    let folder = tempfile::tempdir().expect("a folder for the database");
    let network = Arc::new(network());
    let options = EngineOptions::new(
        folder.path(),
        network.coordinator.clone(),
        Keypair::from_seed([3; 32]),
        Arc::new(FixedMembership::new(network.members())),
        Arc::new(SystemClock),
    );
    let (engine, _validations) = Engine::start(options).expect("the engine starts");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let stop = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        let handle = engine.handle().clone();
        let miners: Vec<_> = (0..MINERS)
            .map(|number| {
                let (handle, stop) = (handle.clone(), Arc::clone(&stop));
                tokio::spawn(mine(handle, Arc::clone(&network), number, stop))
            })
            .collect();
        while handle.stats().candidates < u64::from(MINERS) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!(
            "{:>8} {:>10} {:>10} {:>10} {:>12} {:>12} {:>12} {:>12}",
            "clients", "tasks/s", "p50 µs", "p99 µs", "batch", "engine µs", "commit µs", "busy %"
        );
        for clients in [1, 8, 64, 512] {
            let before = handle.stats();
            let begun = Instant::now();
            let (rate, times) = load(&handle, &network, clients, during).await;
            let wall_us = begun.elapsed().as_micros() as f64;
            let after = handle.stats();
            let at = |part: usize| {
                let index = (times.len() * part / 100).min(times.len().saturating_sub(1));
                times.get(index).map_or(0, Duration::as_micros)
            };
            let tasks = times.len() as f64;
            let per = |a: u64, b: u64, n: f64| (a - b) as f64 / n;
            let batches = (after.batches - before.batches) as f64;
            let commit = per(after.commit_us, before.commit_us, tasks);
            let busy = per(after.busy_us, before.busy_us, tasks);
            println!(
                "{clients:>8} {rate:>10.0} {:>10} {:>10} {:>12.1} {:>12.1} {commit:>12.1} {:>12.0}",
                at(50),
                at(99),
                per(after.commands, before.commands, batches),
                busy - commit,
                100.0 * busy * tasks / wall_us,
            );
        }
        stop.store(true, Ordering::Relaxed);
        for miner in miners {
            miner.await.expect("no miner fails");
        }
    });
    engine.stop();
}
