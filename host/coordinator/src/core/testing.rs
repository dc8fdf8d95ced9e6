//! A small network for tests: a coordinator's core over a store in memory, and miners that are
//! driven by hand. Everything is seeded.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_net::db::Db;
use adit_net::log::{Check, Log, LogOptions};
use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::assignment::{Acceptance, Assignment};
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{CoordinatorMember, Membership, MinerMember, NetworkFile};
use adit_protocol::network::roster::{Roster, Weighing};
use adit_protocol::network::standing::{Facts, Standing};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::rand_core::{CryptoRng, RngCore};
use adit_protocol::receipt::{Receipt, ReceiptBody};
use adit_protocol::signed::Signable as _;
use adit_protocol::status::Status;
use adit_protocol::task::{DeviceClass, Disclosure, Requirements, TaskSpec, Verification};

use super::{Core, CoreError, Io, Offer, Options, Output, Submitted};
use crate::core::{HandedIn, PollReply};
use crate::membership::Members;
use crate::order::{CheckedItem, HandInOrder, Submission};
use crate::order::{PollOrder, PreparedSubmission};
use crate::store::memory::MemoryStore;
use crate::store::sql::SqlStore;
use crate::store::{StoreError, rosters, schema};
use crate::view::TaskView;

/// When tests begin, in milliseconds since 1970.
pub(crate) const START_MS: u64 = 1_700_000_000_000;
pub(crate) const STAKE_MIN: u128 = 1000;

/// A generator that is the same each time: BLAKE3 in counter mode.
pub(crate) struct TestRng(u64, u64);

impl TestRng {
    pub(crate) fn new(seed: u64) -> TestRng {
        TestRng(seed, 0)
    }
}

impl RngCore for TestRng {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.1 += 1;
        let bytes = [self.0.to_le_bytes(), self.1.to_le_bytes()].concat();
        let hash = Hash::of(&bytes);
        u64::from_le_bytes(*hash.as_bytes().first_chunk().unwrap())
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        for chunk in dest.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), adit_protocol::rand_core::Error> {
        self.fill_bytes(dest);
        Ok(())
    }
}

impl CryptoRng for TestRng {}

fn key(kind: u8, number: u32) -> Keypair {
    let mut seed = [kind; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    Keypair::from_seed(seed)
}

pub(crate) fn coordinator() -> Keypair {
    key(1, 0)
}

pub(crate) fn log_key() -> Keypair {
    key(4, 0)
}

pub(crate) fn miner_key(number: u32) -> Keypair {
    key(2, number)
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        name: "adit-test".to_owned(),
        created_ms: START_MS - 1_000_000,
        authority: key(3, 0).public().to_bytes(),
        epoch_ms: 3_600_000,
        miner_stake_min: STAKE_MIN,
        coordinator_stake_min: STAKE_MIN,
        saturation: 10,
        development: true,
        ledger: None,
    }
}

pub(crate) fn engine() -> Hash {
    Hash::of(b"engine")
}

/// A membership with these stakes of miners 0, 1, ...
pub(crate) fn staked(stakes: &[u128]) -> Membership {
    let mut miners: Vec<_> = (0u32..)
        .zip(stakes)
        .map(|(number, stake)| MinerMember {
            node: miner_key(number).public().to_bytes(),
            account: [7; 32],
            stake: *stake,
            jailed: None,
            introduction: String::new(),
        })
        .collect();
    miners.sort_by_key(|member| member.node);
    Membership {
        genesis: genesis().hash(),
        version: 1,
        engines: vec![engine()],
        coordinators: vec![CoordinatorMember {
            node: coordinator().public().to_bytes(),
            log: key(4, 0).public().to_bytes(),
            account: [8; 32],
            stake: STAKE_MIN,
            url: "https://localhost:1".to_owned(),
            region: "test".to_owned(),
            introduction: String::new(),
        }],
        miners,
        witnesses: Vec::new(),
    }
}

pub(crate) fn membership(miners: usize) -> Membership {
    staked(&vec![STAKE_MIN; miners])
}

pub(crate) fn network_file(membership: &Membership) -> NetworkFile {
    NetworkFile {
        genesis: genesis(),
        membership: membership.sign(&key(3, 0), &mut TestRng::new(9)),
    }
}

pub(crate) fn members(membership: &Membership) -> Members {
    Members::verify(&network_file(membership)).unwrap()
}

/// What the miners of these tests offer.
pub(crate) fn offer(slots: u32) -> Offer {
    Offer {
        software: Some("test 1".to_owned()),
        engine: Some(engine()),
        slots,
        cpu: true,
        gpu_memory_bytes: None,
        environments: Vec::new(),
    }
}

pub(crate) fn any_device() -> Requirements {
    Requirements {
        device: DeviceClass::Any,
        device_memory_bytes: 0,
        environments: Vec::new(),
    }
}

pub(crate) fn replicated(replicas: u8, quorum: u8, adaptive: bool) -> Verification {
    Verification {
        replicas,
        quorum,
        adaptive,
        tolerance: false,
    }
}

/// A submission; `number` makes it unlike all others.
pub(crate) fn submission(client: &str, number: u64, verification: Verification) -> Submission {
    let input = format!("input {number}").into_bytes();
    let exec = format!("exec {number}").into_bytes();
    let mut salt = [0; 32];
    salt[..8].copy_from_slice(&number.to_le_bytes());
    Submission {
        client: client.to_owned(),
        idempotency: None,
        spec: TaskSpec {
            genesis: genesis().hash(),
            coordinator: coordinator().public().to_bytes(),
            exec: Hash::of(&exec),
            salt,
            price: 5,
            attempt_fee: 1,
            deadline_ms: 20_000,
            requirements: any_device(),
            verification,
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

/// A miner's side: what it was given, and its journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestMiner {
    pub given: BTreeMap<Hash, Assignment>,
    pub journal: Vec<Receipt>,
    /// Receipts of the journal that are in the log, with their leaves.
    pub logged: BTreeMap<Hash, u64>,
}

/// Database and log in a folder, as a coordinator has them; only that nothing is waited for.
pub(crate) struct Disk {
    pub db: Db,
    pub log: Log,
    _folder: tempfile::TempDir,
}

impl Disk {
    pub(crate) fn new() -> Disk {
        let folder = tempfile::tempdir().unwrap();
        let mut db = Db::open(&folder.path().join("coordinator.db"), &schema::all()).unwrap();
        let options = LogOptions {
            folder: folder.path().join("log"),
            origin: Origin::new(&genesis().hash(), &coordinator().public()).name(),
            key: log_key(),
            witnesses: Vec::new(),
            check: Check::All,
        };
        let log = Log::open(&mut db, options).unwrap();
        let off = db.connection().pragma_update(None, "synchronous", "OFF");
        off.unwrap();
        rosters::set_weighing(db.connection(), &Weighing::of(&genesis())).unwrap();
        Disk {
            db,
            log,
            _folder: folder,
        }
    }
}

pub(crate) struct World {
    pub core: Core,
    pub store: MemoryStore,
    /// What is used in its place, if it is there.
    pub disk: Option<Disk>,
    pub out: Vec<Output>,
    pub now_ms: u64,
    pub options: Options,
    pub members: Members,
    pub miners: Vec<TestMiner>,
    pub submitted: u64,
    seed: u64,
}

pub(crate) fn audited() -> Options {
    Options {
        audit: true,
        // Few, so that tests come to the end of them.
        attempts_max: 3,
        ..Options::default()
    }
}

impl World {
    /// A core with so many registered miners, none of which has said hello.
    pub(crate) fn new(miners: usize, options: Options) -> World {
        World::with(&membership(miners), options, 1)
    }

    pub(crate) fn with(membership: &Membership, options: Options, seed: u64) -> World {
        let members = members(membership);
        let core = Core::new(
            options.clone(),
            Arc::new(members.clone()),
            coordinator(),
            Box::new(TestRng::new(seed)),
        );
        World {
            core,
            store: MemoryStore::default(),
            disk: None,
            out: Vec::new(),
            now_ms: START_MS,
            options,
            miners: vec![TestMiner::default(); membership.miners.len()],
            members,
            submitted: 0,
            seed,
        }
    }

    /// A world in which all miners are in the roster.
    pub(crate) fn ready(miners: usize, slots: u32, options: Options) -> World {
        let mut world = World::new(miners, options);
        world.greet_all(slots);
        world
    }

    /// All miners say hello at once; a roster with them follows.
    pub(crate) fn greet_all(&mut self, slots: u32) {
        let miners = self.miners.len();
        self.call(|core, now, io| {
            (0..miners).try_for_each(|miner| {
                let greeted = core.hello(now, node(miner), offer(slots), &[], io);
                greeted.map(|_| ())
            })
        })
        .unwrap();
        if self.core.candidates() != miners {
            self.advance(self.options.roster_ms);
        }
        assert_eq!(self.core.candidates(), miners);
    }

    pub(crate) fn node(&self, miner: usize) -> [u8; 32] {
        node(miner)
    }

    /// Calls the core as a batch of its own.
    pub(crate) fn call<T, E: std::fmt::Debug>(
        &mut self,
        call: impl FnOnce(&mut Core, u64, &mut Io<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (core, now_ms) = (&mut self.core, self.now_ms);
        let batch = |io: &mut Io<'_>| {
            let result = call(core, now_ms, io);
            while core.tick(now_ms, io).unwrap() {}
            core.flush(io).unwrap();
            result
        };
        let out = &mut self.out;
        let Some(disk) = &mut self.disk else {
            let store = &mut self.store;
            return batch(&mut Io { store, out });
        };
        let transaction = disk.db.connection().transaction().unwrap();
        let mut store = SqlStore::new(&transaction, &mut disk.log);
        let store = &mut store;
        let result = batch(&mut Io { store, out });
        transaction.commit().unwrap();
        disk.log.committed();
        result
    }

    pub(crate) fn tick(&mut self) {
        self.call(|_, _, _| Ok::<_, StoreError>(())).unwrap();
    }

    pub(crate) fn advance(&mut self, ms: u64) {
        self.now_ms += ms;
        self.tick();
    }

    pub(crate) fn hello(&mut self, miner: usize, offer: Offer) -> Result<(), CoreError> {
        let node = self.node(miner);
        self.call(|core, now, io| core.hello(now, node, offer, &[], io))?;
        Ok(())
    }

    /// Polls, and answers at once if there is nothing.
    pub(crate) fn poll(&mut self, miner: usize, want: u32) -> Result<PollReply, CoreError> {
        let node = self.node(miner);
        let order = PollOrder {
            want,
            working: self.miners[miner].given.keys().copied().collect(),
            ..PollOrder::default()
        };
        self.poll_with(node, miner, order)
    }

    pub(crate) fn poll_with(
        &mut self,
        node: [u8; 32],
        miner: usize,
        order: PollOrder,
    ) -> Result<PollReply, CoreError> {
        let first = self.call(|core, now, io| core.poll(now, node, &order, io))?;
        let now_ms = self.now_ms;
        let reply = first
            .or_else(|| self.core.news(now_ms, node, &order))
            .unwrap_or_else(|| self.core.nothing_new(now_ms, node, &order));
        let state = &mut self.miners[miner];
        for delivery in &reply.work {
            let assignment = delivery.assignment.unverified().unwrap();
            assert_eq!(assignment.miner, node);
            state.given.insert(assignment.hash(), assignment);
        }
        for ended in &reply.ended {
            state.given.remove(ended);
        }
        Ok(reply)
    }

    pub(crate) fn poll_all(&mut self) {
        for miner in 0..self.miners.len() {
            self.poll(miner, 1).unwrap();
        }
    }

    /// Accepts all that a miner was given.
    pub(crate) fn accept(&mut self, miner: usize) {
        let (node, key) = (self.node(miner), miner_key(miner as u32));
        let given: Vec<_> = self.miners[miner].given.keys().copied().collect();
        let accepted = given.iter().map(|assignment| {
            let acceptance = Acceptance {
                assignment: *assignment,
                miner: node,
                at_ms: self.now_ms,
            };
            (
                *assignment,
                acceptance.sign(&key, &mut TestRng::new(self.now_ms)),
            )
        });
        let order = PollOrder {
            want: 1,
            accepted: accepted.collect(),
            working: given.clone(),
            ..PollOrder::default()
        };
        self.poll_with(node, miner, order).unwrap();
    }

    pub(crate) fn order(&mut self, verification: Verification) -> Submission {
        self.submitted += 1;
        submission("client", self.submitted, verification)
    }

    pub(crate) fn submit(&mut self, order: Submission) -> Result<Hash, CoreError> {
        let prepared = PreparedSubmission::new(order);
        let submitted = self.call(|core, now, io| core.submit(now, prepared, io))?;
        let (Submitted::Live(id) | Submitted::Ended(id)) = submitted;
        Ok(id)
    }

    pub(crate) fn submit_one(&mut self, replicas: u8, quorum: u8, adaptive: bool) -> Hash {
        let order = self.order(replicated(replicas, quorum, adaptive));
        self.submit(order).unwrap()
    }

    /// Writes a receipt for an assignment to a miner's journal. Signatures are made up: nobody
    /// here checks them.
    pub(crate) fn journal(
        &mut self,
        miner: usize,
        assignment: &Hash,
        status: Status,
        output: &str,
    ) -> Receipt {
        let node = self.node(miner);
        let state = &mut self.miners[miner];
        let a = state.given.remove(assignment).unwrap();
        let last = state.journal.last();
        let body = ReceiptBody {
            network: self.members.genesis.network_id(),
            status,
            gpu: false,
            nn: false,
            epoch: a.epoch,
            seq: last.map_or(1, |r| r.body.seq + 1),
            start_ms: self.now_ms,
            duration_us: 1,
            fuel: 1,
            nn_units: 0,
            peak_memory: 1,
            miner: node,
            coordinator: a.coordinator,
            task: a.task,
            assignment: *assignment,
            component: Hash::of(b"component"),
            input: Hash::of(b"input"),
            output: Hash::of(output.as_bytes()),
            transcript: Hash::of(b"transcript"),
            environment: Hash::of(b"environment"),
            prev: last.map_or(Hash::ZERO, Receipt::id),
        };
        let receipt = Receipt {
            body,
            miner_signature: [1; 64],
            coordinator_signature: [2; 64],
        };
        state.journal.push(receipt.clone());
        receipt
    }

    pub(crate) fn checked(receipt: &Receipt) -> CheckedItem {
        CheckedItem {
            receipt: receipt.clone(),
            opening: ReceiptOpening {
                input: Hash::of(b"input"),
                output: receipt.body.output,
                transcript: Hash::of(b"transcript"),
            },
            mismatch: None,
            blobs: Vec::new(),
            environments: Vec::new(),
            detail: None,
            log: None,
        }
    }

    pub(crate) fn hand_in(&mut self, miner: usize, items: Vec<CheckedItem>) -> Vec<HandedIn> {
        let node = self.node(miner);
        let ids: Vec<_> = items.iter().map(|item| item.receipt.id()).collect();
        let orders = items
            .into_iter()
            .map(|item| HandInOrder::Checked(Box::new(item)))
            .collect();
        let results = self
            .call(|core, now, io| core.hand_in(now, node, orders, io))
            .unwrap();
        for (id, result) in ids.iter().zip(&results) {
            if let HandedIn::Appended(appended) = result {
                let known = self.miners[miner].logged.insert(*id, appended.leaf);
                assert!(known.is_none_or(|leaf| leaf == appended.leaf));
            }
        }
        results
    }

    /// A miner ends one of its assignments and hands in all of its journal that is not in the log.
    pub(crate) fn finish(
        &mut self,
        miner: usize,
        assignment: &Hash,
        status: Status,
        output: &str,
    ) -> HandedIn {
        self.journal(miner, assignment, status, output);
        self.catch_up(miner).pop().unwrap()
    }

    pub(crate) fn catch_up(&mut self, miner: usize) -> Vec<HandedIn> {
        let state = &self.miners[miner];
        let done = state
            .journal
            .iter()
            .rposition(|r| state.logged.contains_key(&r.id()));
        let rest = state.journal.iter().skip(done.map_or(0, |at| at + 1));
        let items = rest.map(World::checked).collect();
        self.hand_in(miner, items)
    }

    /// Every miner polls once and ends all that it has with this result.
    pub(crate) fn work(&mut self, status: Status, output: &str) {
        for miner in 0..self.miners.len() {
            self.poll(miner, 1).unwrap();
            let given: Vec<_> = self.miners[miner].given.keys().copied().collect();
            for assignment in given {
                self.finish(miner, &assignment, status, output);
            }
        }
    }

    pub(crate) fn view(&self, task: &Hash) -> Option<TaskView> {
        self.core.task(self.now_ms, task)
    }

    /// The view that was told at the end of a task.
    pub(crate) fn ended(&self, task: &Hash) -> TaskView {
        let views = self.out.iter().filter_map(|output| match output {
            Output::Ended(view) if view.task == *task => Some(view),
            _ => None,
        });
        let all: Vec<_> = views.collect();
        assert_eq!(all.len(), 1, "a task ends exactly once");
        (**all[0]).clone()
    }

    /// The process dies and comes back with what was kept.
    pub(crate) fn restart(&mut self) {
        self.seed += 1;
        self.core = Core::new(
            self.options.clone(),
            Arc::new(self.members.clone()),
            coordinator(),
            Box::new(TestRng::new(self.seed)),
        );
        let snapshot = self.store.snapshot();
        let mut io = Io {
            store: &mut self.store,
            out: &mut self.out,
        };
        self.core.resume(self.now_ms, snapshot, &mut io).unwrap();
        self.core.flush(&mut io).unwrap();
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let all = self.store.entries.iter();
        all.map(|bytes| Entry::decode(bytes).unwrap()).collect()
    }

    pub(crate) fn decisions(&self) -> Vec<Decision> {
        let verdicts = self.entries().into_iter().filter_map(|e| match e {
            Entry::Verdict(verdict) => Some(verdict.receipts),
            _ => None,
        });
        verdicts.flatten().map(|judged| judged.decision).collect()
    }

    /// Reads the whole log as an auditor does, who has nothing but it and the public documents.
    pub(crate) fn audit(&self) -> Standing {
        let own = coordinator().public().to_bytes();
        let mut standing = Standing::new(&self.members.genesis, own, true);
        for (leaf, entry) in (0u64..).zip(self.entries()) {
            let mut facts = Facts::default();
            match &entry {
                Entry::Roster(roster) => {
                    let document = &self.store.documents[&roster.root];
                    let roster = Roster::from_cbor(&document.bytes).unwrap();
                    let membership = &self.store.documents[&roster.membership].bytes;
                    facts.membership = Some(Arc::new(Membership::from_cbor(membership).unwrap()));
                    facts.roster = Some(Arc::new(roster));
                }
                Entry::Assignment(signed) => {
                    let task = signed.unverified().unwrap().task;
                    let (row, _) = self.store.task(&task).unwrap();
                    let spec = TaskSpec::from_cbor(&row.spec).unwrap();
                    facts.requirements = Some(spec.requirements);
                }
                _ => {}
            }
            let faults = standing.apply(leaf, &entry, &facts);
            assert!(faults.is_empty(), "leaf {leaf}: {faults:?}\n{entry:?}");
        }
        standing
    }
}

pub(crate) fn node(miner: usize) -> [u8; 32] {
    miner_key(miner as u32).public().to_bytes()
}
