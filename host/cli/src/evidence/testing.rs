//! A coordinator's log with everything that belongs to it, made for tests: signed for real, and with
//! faults where a test wants them. The tests of the program as a whole use this file too.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::Status;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::keys::Keypair;
use adit_protocol::log::bundle;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::origin::Origin;
use adit_protocol::log::tile::{Level, Tile, full_hash, tiles, to_bytes};
use adit_protocol::log::tree::{Frontier, leaf_hash};
use adit_protocol::network::assignment::Assignment;
use adit_protocol::network::entry::{Decision, Entry, Judged, Verdict};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{CoordinatorMember, Membership, MinerMember, NetworkFile};
use adit_protocol::network::roster::{Candidate, Roster, RosterEntry, weights};
use adit_protocol::network::standing::{Drawn, Facts, Standing};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::signed::Signable as _;
use adit_protocol::task::{DeviceClass, Disclosure, Requirements, TaskSpec, Verification};
use adit_protocol::transcript::Transcript;
use rand_core::OsRng;

const TOKEN: u128 = 1_000_000_000_000;
/// When the log begins, in milliseconds since 1970.
pub const BEGIN_MS: u64 = 1_760_000_000_000;

/// What is served of a log; a test may alter it.
#[derive(Clone, Default)]
pub struct Files {
    pub network: Vec<u8>,
    pub checkpoint: Vec<u8>,
    pub tiles: BTreeMap<Tile, Vec<u8>>,
    pub blobs: BTreeMap<Hash, Vec<u8>>,
    pub openings: BTreeMap<Hash, ReceiptOpening>,
    /// Memberships as they were signed.
    pub memberships: BTreeMap<Hash, Vec<u8>>,
}

/// How a run ended.
#[derive(Clone)]
pub struct Outcome {
    pub status: Status,
    pub output: Hash,
    pub fuel: u64,
    pub peak_memory: u64,
}

/// A coordinator that writes a log as it should, and breaks a rule where a test says so.
pub struct TestLog {
    pub genesis: Genesis,
    pub authority: Keypair,
    pub coordinator: Keypair,
    pub log_key: Keypair,
    pub miners: Vec<Keypair>,
    pub membership: Arc<Membership>,
    pub standing: Standing,
    pub entries: Vec<Vec<u8>>,
    pub blobs: BTreeMap<Hash, Vec<u8>>,
    pub openings: BTreeMap<Hash, ReceiptOpening>,
    specs: BTreeMap<Hash, (TaskSpec, ExecSpec)>,
    pub now_ms: u64,
}

impl TestLog {
    pub fn new(miners: u8) -> TestLog {
        let seed = |n| Keypair::from_seed([n; 32]);
        let (authority, coordinator, log_key) = (seed(201), seed(200), seed(202));
        let genesis = Genesis {
            name: "test <b>network</b>".into(),
            created_ms: BEGIN_MS,
            authority: authority.public().to_bytes(),
            epoch_ms: 3_600_000,
            miner_stake_min: 20_000 * TOKEN,
            coordinator_stake_min: 0,
            saturation: 50,
            development: true,
            ledger: None,
        };
        let mut miners: Vec<_> = (1..=miners).map(seed).collect();
        miners.sort_by_key(|key| key.public().to_bytes());
        let members = miners.iter().zip(1u128..).map(|(key, n)| MinerMember {
            node: key.public().to_bytes(),
            account: [9; 32],
            stake: 20_000 * TOKEN * n,
            jailed: None,
            introduction: String::new(),
        });
        let membership = Membership {
            genesis: genesis.hash(),
            version: 1,
            engines: vec![Hash::of(b"engine")],
            coordinators: vec![CoordinatorMember {
                node: coordinator.public().to_bytes(),
                log: log_key.public().to_bytes(),
                account: [8; 32],
                stake: 0,
                url: "https://coordinator.example".into(),
                region: String::new(),
                introduction: "<script>alert(1)</script> & \"friends\"".into(),
            }],
            miners: members.collect(),
            witnesses: Vec::new(),
        };
        TestLog {
            standing: Standing::new(&genesis, coordinator.public().to_bytes(), false),
            genesis,
            authority,
            coordinator,
            log_key,
            miners,
            membership: Arc::new(membership),
            entries: Vec::new(),
            blobs: BTreeMap::new(),
            openings: BTreeMap::new(),
            specs: BTreeMap::new(),
            now_ms: BEGIN_MS,
        }
    }

    pub fn leaf(&self) -> u64 {
        self.entries.len() as u64
    }

    pub fn blob(&mut self, bytes: Vec<u8>) -> Hash {
        let hash = Hash::of(&bytes);
        self.blobs.insert(hash, bytes);
        hash
    }

    pub fn push(&mut self, entry: &Entry, facts: &Facts) -> u64 {
        let leaf = self.leaf();
        self.standing.apply(leaf, entry, facts);
        self.entries.push(entry.encode());
        self.now_ms += 100;
        leaf
    }

    /// A list of all miners as candidates.
    pub fn roster(&mut self, change: impl FnOnce(&mut Roster)) -> u64 {
        let candidate = |member: &MinerMember| Candidate {
            node: member.node,
            stake: member.stake,
            slots: 4,
            cpu: true,
            gpu_memory_bytes: None,
            environments: Vec::new(),
            quality_ppm: self.standing.record(&member.node).quality_ppm(),
            locality: 0,
            weight: 0,
        };
        let mut roster = Roster {
            epoch: 0,
            beacon: self.genesis.beacon(0),
            membership: self.membership.hash(),
            region: String::new(),
            candidates: self.membership.miners.iter().map(candidate).collect(),
        };
        let all = weights(&self.genesis, &roster.candidates);
        for (candidate, weight) in roster.candidates.iter_mut().zip(all) {
            candidate.weight = weight;
        }
        change(&mut roster);
        self.blob(roster.to_cbor());
        let genesis = self.genesis.hash();
        let node = self.coordinator.clone();
        let (entry, _) = RosterEntry::make(
            &genesis,
            &roster,
            self.leaf(),
            self.now_ms,
            &node,
            &mut OsRng,
        );
        let facts = Facts {
            roster: Some(Arc::new(roster)),
            ..Facts::default()
        };
        self.push(&Entry::Roster(entry), &facts)
    }

    /// A task, whose specs are blobs if they are public.
    pub fn task(&mut self, exec: &ExecSpec, disclosure: Disclosure) -> Hash {
        let salt = [self.specs.len() as u8 ^ 0x5a; 32];
        let spec = TaskSpec {
            genesis: self.genesis.hash(),
            coordinator: self.coordinator.public().to_bytes(),
            exec: exec.hash(),
            salt,
            price: u128::from(self.leaf()),
            attempt_fee: 0,
            deadline_ms: 60_000,
            requirements: requirements(),
            verification: Verification {
                replicas: 1,
                quorum: 1,
                adaptive: false,
                tolerance: false,
            },
            disclosure,
            client_tag: [self.specs.len() as u8; 32],
            submitter: None,
        };
        if disclosure == Disclosure::Public {
            self.blob(spec.to_cbor());
            self.blob(exec.to_cbor());
        }
        let task = spec.hash();
        self.specs.insert(task, (spec, exec.clone()));
        task
    }

    /// Gives the next attempt of a replica to whom the draw falls on.
    pub fn assign(
        &mut self,
        task: Hash,
        replica: u32,
        change: impl FnOnce(&mut Assignment),
    ) -> Assignment {
        let standing = self.standing.task(&task);
        let (attempt, _) = standing
            .and_then(|t| t.replicas.get(&replica).copied())
            .unwrap_or_default();
        let drawn = self
            .standing
            .draw(&task, &requirements(), attempt, replica, false);
        let force = self.standing.in_force().unwrap();
        let mut assignment = Assignment {
            genesis: self.genesis.hash(),
            coordinator: self.coordinator.public().to_bytes(),
            miner: match drawn {
                Drawn::Miner { candidate, .. } => candidate.node,
                other => panic!("{other:?}"),
            },
            task,
            attempt,
            replica,
            roster: force.leaf,
            epoch: 0,
            local: false,
            issued_ms: self.now_ms,
            deadline_ms: self.now_ms + 60_000,
            escrow: 0,
            terms: None,
        };
        change(&mut assignment);
        let signed = assignment.sign(&self.coordinator, &mut OsRng);
        let facts = Facts {
            requirements: Some(requirements()),
            ..Facts::default()
        };
        self.push(&Entry::Assignment(signed), &facts);
        assignment
    }

    /// The receipt of an assignment, signed by both.
    pub fn receipt(
        &mut self,
        assignment: &Assignment,
        outcome: &Outcome,
        change: impl FnOnce(&mut ReceiptBody),
    ) -> Hash {
        let (seq, prev) = self.standing.newest(&assignment.miner);
        let (spec, exec) = self.specs[&assignment.task].clone();
        let opening = ReceiptOpening {
            input: exec.input,
            output: outcome.output,
            transcript: Transcript::default().hash(),
        };
        let mut body = ReceiptBody {
            network: self.genesis.network_id(),
            status: outcome.status,
            gpu: false,
            nn: false,
            epoch: 0,
            seq: seq + 1,
            start_ms: self.now_ms,
            duration_us: 700 + 131 * (self.leaf() % 97) * (self.leaf() % 13),
            fuel: outcome.fuel,
            nn_units: 0,
            peak_memory: outcome.peak_memory,
            miner: assignment.miner,
            coordinator: assignment.coordinator,
            task: assignment.task,
            assignment: assignment.hash(),
            component: exec.component,
            input: opening.input.commit(&spec.salt),
            output: opening.output.commit(&spec.salt),
            transcript: opening.transcript.commit(&spec.salt),
            environment: Hash::of(b"environment"),
            prev,
        };
        change(&mut body);
        let miner = self.miner(&assignment.miner);
        let mut receipt = body.sign(&miner, &mut OsRng);
        receipt.countersign(&self.coordinator, &mut OsRng);
        let id = receipt.id();
        if spec.disclosure == Disclosure::Public {
            self.openings.insert(id, opening);
        }
        self.push(&Entry::Receipt(Box::new(receipt)), &Facts::default());
        id
    }

    pub fn verdict(&mut self, task: Hash, receipts: &[(Hash, Decision)]) -> u64 {
        let judged = |(receipt, decision): &(Hash, Decision)| Judged {
            receipt: *receipt,
            decision: *decision,
        };
        let verdict = Verdict {
            task,
            receipts: receipts.iter().map(judged).collect(),
            validator: None,
        };
        self.push(&Entry::Verdict(verdict), &Facts::default())
    }

    /// A task from its assignment to its verdict. Returns the receipt.
    pub fn done(&mut self, exec: &ExecSpec, disclosure: Disclosure, outcome: &Outcome) -> Hash {
        let task = self.task(exec, disclosure);
        let assignment = self.assign(task, 0, |_| {});
        let receipt = self.receipt(&assignment, outcome, |_| {});
        self.verdict(task, &[(receipt, Decision::Accepted)]);
        receipt
    }

    pub fn miner(&self, node: &[u8; 32]) -> Keypair {
        let own = |key: &&Keypair| key.public().to_bytes() == *node;
        self.miners.iter().find(own).unwrap().clone()
    }

    /// Another miner than this one.
    pub fn other(&self, node: &[u8; 32]) -> [u8; 32] {
        let mut all = self.miners.iter().map(|key| key.public().to_bytes());
        all.find(|other| other != node).unwrap()
    }

    pub fn network(&self) -> NetworkFile {
        NetworkFile {
            genesis: self.genesis.clone(),
            membership: self.membership.sign(&self.authority, &mut OsRng),
        }
    }

    pub fn checkpoint(&self, size: usize) -> Checkpoint {
        let origin = Origin::new(&self.genesis.hash(), &self.coordinator.public());
        let mut frontier = Frontier::new();
        for entry in &self.entries[..size] {
            frontier.append(leaf_hash(entry)).unwrap();
        }
        Checkpoint {
            origin: origin.name(),
            size: size as u64,
            root: frontier.root(),
        }
    }

    /// The log as it is served: files, and a signed checkpoint.
    pub fn seal(&self) -> Files {
        let size = self.entries.len();
        let signed = self.checkpoint(size).sign(&self.log_key, &mut OsRng);
        let mut hashes: BTreeMap<Tile, Vec<Hash>> = BTreeMap::new();
        let mut files = BTreeMap::new();
        for tile in tiles(size as u64) {
            let range = tile.start()..tile.start() + u64::from(tile.width());
            let bytes = match tile.level() {
                Level::Entries => {
                    let range = range.start as usize..range.end as usize;
                    bundle::encode(&self.entries[range]).unwrap()
                }
                Level::Hashes(level) => {
                    let own: Vec<Hash> = range
                        .map(|at| match level.checked_sub(1) {
                            None => leaf_hash(&self.entries[at as usize]),
                            Some(below) => {
                                let below = Tile::new(Level::Hashes(below), at, 256).unwrap();
                                full_hash(&hashes[&below]).unwrap()
                            }
                        })
                        .collect();
                    let bytes = to_bytes(&own);
                    hashes.insert(tile, own);
                    bytes
                }
            };
            files.insert(tile, bytes);
        }
        Files {
            network: self.network().to_cbor(),
            checkpoint: signed.to_string().into_bytes(),
            tiles: files,
            blobs: self.blobs.clone(),
            openings: self.openings.clone(),
            memberships: BTreeMap::new(),
        }
    }
}

pub fn requirements() -> Requirements {
    Requirements {
        device: DeviceClass::Any,
        device_memory_bytes: 0,
        environments: Vec::new(),
    }
}

/// An exec spec of a component and an input.
pub fn exec(engine: Hash, component: Hash, input: Hash, args: &[&str]) -> ExecSpec {
    ExecSpec {
        engine,
        world: World::Command,
        component,
        input,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        clock_start_ns: 1_700_000_000_000_000_000,
        models: Default::default(),
        seed: [7; 32],
        limits: Limits::default(),
    }
}
