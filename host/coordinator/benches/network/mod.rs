//! A network for benchmarks of the engine: clients and miners are in this process, and miners do
//! nothing but sign.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adit_coordinator::Refusal;
use adit_coordinator::engine::{EngineOptions, Handle};
use adit_coordinator::membership::{FixedMembership, Members};
use adit_coordinator::order::{CheckedItem, HandInOrder, Submission};
use adit_net::{Clock as _, SystemClock};
use adit_protocol::Code;
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

/// A network, and the keys of its coordinator.
pub struct Network {
    pub genesis: Genesis,
    pub coordinator: Keypair,
    pub log: Keypair,
    pub engine: Hash,
    /// Registered miners.
    pub miners: u32,
    /// Slots of each of them.
    pub slots: u32,
}

/// The key of a miner.
pub fn miner(number: u32) -> Keypair {
    key(4, number)
}

fn key(kind: u8, number: u32) -> Keypair {
    let mut seed = [kind; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    Keypair::from_seed(seed)
}

/// A network with so many miners, whose miners run this engine.
pub fn network(miners: u32, slots: u32, engine: Hash) -> Network {
    let authority = key(1, 0);
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
            ledger: None,
        },
        coordinator: key(2, 0),
        log: key(3, 0),
        engine,
        miners,
        slots,
    }
}

impl Network {
    /// The network's file, as its authority signs it.
    pub fn file(&self) -> NetworkFile {
        let mut miners: Vec<_> = (0..self.miners)
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
                log: self.log.public().to_bytes(),
                account: [1; 32],
                stake: 5,
                url: "https://localhost:1".to_owned(),
                region: String::new(),
                introduction: String::new(),
            }],
            miners,
            witnesses: Vec::new(),
        };
        NetworkFile {
            genesis: self.genesis.clone(),
            membership: membership.sign(&key(1, 0), &mut OsRng),
        }
    }

    /// An engine in a folder, with these members and the defaults of a coordinator.
    pub fn engine(&self, folder: &Path) -> EngineOptions {
        let members = Members::verify(&self.file()).expect("the authority has signed it");
        EngineOptions::new(
            folder,
            self.coordinator.clone(),
            self.log.clone(),
            Arc::new(FixedMembership::new(members)),
            Arc::new(SystemClock),
        )
    }

    /// What a miner says of itself.
    pub fn hello(&self) -> Hello {
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
            slots: self.slots,
            hardware: None,
        }
    }

    /// A task with an input of its own.
    pub fn order(&self) -> Submission {
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

/// What miners are told, and what they tell.
#[derive(Default)]
pub struct Told {
    /// They end after their next poll.
    pub stop: AtomicBool,
    /// Polls that were answered.
    pub polls: AtomicU64,
}

/// Asks again as long as too many others ask.
async fn patient<T, F: Future<Output = Result<T, Refusal>>>(mut ask: impl FnMut() -> F) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(refusal) if refusal.code == Code::Overloaded => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(refusal) => panic!("{refusal}"),
        }
    }
}

/// A miner that signs a receipt for whatever it is given, and whose receipts are countersigned as
/// the coordinator's HTTP side does.
pub async fn mine(
    handle: Handle,
    network: Arc<Network>,
    number: u32,
    wait_ms: u32,
    told: Arc<Told>,
) {
    let key = miner(number);
    let node = key.public().to_bytes();
    let welcome = patient(|| handle.hello(node, network.hello())).await;
    let (mut seq, mut prev) = (welcome.last_seq, welcome.last_receipt);
    while !told.stop.load(Ordering::Relaxed) {
        let poll = Poll {
            want: network.slots.min(256),
            wait_ms,
            accepted: Vec::new(),
            working: Vec::new(),
        };
        let answer = patient(|| handle.poll(node, poll.clone())).await;
        told.polls.fetch_add(1, Ordering::Relaxed);
        let mut items = Vec::new();
        for work in &answer.work {
            let assignment = work.assignment.unverified().expect("it is well formed");
            seq += 1;
            let item = run(&network, &key, &assignment, seq, prev);
            prev = item.receipt.id();
            items.push(HandInOrder::Checked(Box::new(item)));
        }
        if !items.is_empty() {
            let results = patient(|| handle.hand_in(node, items.clone())).await;
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

/// Submits a task and waits for its end.
pub async fn one(handle: &Handle, network: &Network) -> Duration {
    let begun = Instant::now();
    let view = patient(|| handle.submit(network.order())).await;
    let view = handle.wait(view.task, Duration::from_secs(30)).await;
    assert!(view.expect("it is known").result.is_some());
    begun.elapsed()
}
