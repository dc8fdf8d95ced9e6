//! What the tests share: a coordinator in memory that can be made to misbehave, an executor that
//! runs no guest, and a network with both.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use adit_miner::cache::BlobCache;
use adit_miner::executor::{Device, Executor};
use adit_miner::network::NetworkView;
use adit_miner::outcome::without_guest;
use adit_miner::transport::{ApiError, ApiFuture, BlobSink, CoordinatorApi, Upload};
use adit_miner::{Connect, Handle, Miner, Options, Parts};
use adit_net::SharedRng;
use adit_net::{Clock as _, SystemClock};
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::keys::Keypair;
use adit_protocol::network::assignment::{Acceptance, ActiveUntil, Assignment};
use adit_protocol::network::exchange::{
    Echo, HandIn, HandInAnswer, HandInItem, HandInResult, Hello, Poll, PollAnswer, Progress,
    ProgressReport, Welcome, Work,
};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{CoordinatorMember, Membership, MinerMember, NetworkFile};
use adit_protocol::receipt::Receipt;
use adit_protocol::signed::{Signable as _, Signed};
use adit_protocol::status::Status;
use adit_protocol::task::TaskSpec;
use adit_protocol::{Code, Hash};
use adit_runtime::state::Events;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::supervisor::{Ran, SupervisorError, Task};
use futures_util::FutureExt as _;
use rand_core::OsRng;
use tokio::sync::{Notify, watch};

pub const TOKEN: u128 = 1_000_000_000_000;

pub fn engine() -> Hash {
    Hash::of(b"the engine of these tests")
}

pub fn now_ms() -> u64 {
    SystemClock.now_ms()
}

pub fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

/// What an executor was asked to do, and how it does it: by the first argument of the run.
///
/// | argument | effect |
/// |---|---|
/// | none | the output is the input backwards |
/// | `sleep MS` | the same after a time, unless it is cancelled |
/// | `report MS` | the same, and emits a chunk and reports progress before |
/// | `large BYTES` | an output of so many bytes |
/// | `fault` | the worker is said to have died |
/// | `panic` | the executor panics |
pub struct TestExecutor {
    devices: Arc<[Device]>,
    blobs: BlobStore,
    pub runs: AtomicUsize,
    pub temperature: Mutex<Option<u32>>,
}

impl TestExecutor {
    pub fn new(blobs: &BlobStore, slots: u32) -> Arc<TestExecutor> {
        let device = Device {
            name: "cpu".to_owned(),
            environment: b"an environment".to_vec(),
            environment_hash: Hash::of(b"an environment"),
            backend: "none".to_owned(),
            gpu: false,
            memory_bytes: 0,
            slots,
            engine: engine(),
        };
        Arc::new(TestExecutor {
            devices: [device].into(),
            blobs: blobs.clone(),
            runs: AtomicUsize::new(0),
            temperature: Mutex::new(None),
        })
    }

    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

impl Executor for TestExecutor {
    fn devices(&self) -> Arc<[Device]> {
        self.devices.clone()
    }

    fn run(&self, _: usize, task: &Task, events: &mut dyn Events) -> Result<Ran, SupervisorError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.blobs.get(&task.spec.component, 1 << 20)?;
        let mut output = match &task.input {
            Some(bytes) => bytes.to_vec(),
            None => self.blobs.get(&task.spec.input, 1 << 20)?,
        };
        output.reverse();
        let words: Vec<&str> = task.spec.args.iter().map(String::as_str).collect();
        let number = |text: &str| text.parse::<u64>().unwrap();
        let mut status = Status::Ok;
        match words.as_slice() {
            [] => {}
            ["sleep", ms] => status = sleep(number(ms), task.deadline, events),
            ["report", ms] => {
                events.output(b"chunk");
                events.progress(1, 2, "half");
                status = sleep(number(ms), task.deadline, events);
            }
            ["large", bytes] => output = vec![7; number(bytes) as usize],
            ["fault"] => return Err(SupervisorError::Start("it was asked to".to_owned())),
            ["panic"] => panic!("it was asked to"),
            other => panic!("{other:?}"),
        }
        Ok(Ran {
            output,
            fuel: 1,
            detail: None,
            ..without_guest(status, "")
        })
    }

    fn temperature_c(&self, _: usize) -> Option<u32> {
        *self.temperature.lock().unwrap()
    }
}

fn sleep(ms: u64, deadline: Duration, events: &dyn Events) -> Status {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(ms) {
        if events.cancelled() {
            return Status::Cancelled;
        }
        if begun.elapsed() > deadline {
            return Status::Deadline;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Status::Ok
}

/// Changes an answer to a poll before it is sent.
type OnPoll = Box<dyn FnMut(&Poll, &mut PollAnswer) -> Result<(), ApiError> + Send>;
/// Changes an answer to receipts before it is sent.
type OnHandIn = Box<dyn FnMut(&HandIn, &mut HandInAnswer) -> Result<(), ApiError> + Send>;
/// Changes a welcome before it is sent.
type OnHello = Box<dyn FnMut(&mut Welcome) -> Result<(), ApiError> + Send>;

#[derive(Default)]
pub struct State {
    pub queue: VecDeque<Work>,
    /// Given out and without a receipt.
    pub open: BTreeMap<Hash, Work>,
    pub receipts: Vec<Receipt>,
    pub items: Vec<HandInItem>,
    pub blobs: HashMap<Hash, Vec<u8>>,
    /// The most bytes of a blob that are sent before the transfer breaks off.
    pub break_off: Option<usize>,
    /// Blobs are begun and never come.
    pub never_ends: bool,
    pub fetched: u64,
    pub acceptances: Vec<Acceptance>,
    pub progress: Vec<Progress>,
    pub hellos: Vec<Hello>,
    pub polls: u64,
    pub wants: Vec<u32>,
    pub echoes: u64,
    pub hand_ins: u64,
    pub ended: Vec<Hash>,
    /// Receipts are checked against the one before.
    pub strict: bool,
    pub down: bool,
    pub on_poll: Option<OnPoll>,
    pub on_hand_in: Option<OnHandIn>,
    pub on_hello: Option<OnHello>,
}

/// A coordinator.
pub struct Fake {
    pub key: Keypair,
    pub genesis: Hash,
    pub miner: [u8; 32],
    state: Mutex<State>,
    news: Notify,
}

impl Fake {
    pub fn new(name: &str, genesis: Hash, miner: [u8; 32]) -> Arc<Fake> {
        Arc::new(Fake {
            key: key(name),
            genesis,
            miner,
            state: Mutex::new(State {
                strict: true,
                ..State::default()
            }),
            news: Notify::new(),
        })
    }

    pub fn node(&self) -> [u8; 32] {
        self.key.public().to_bytes()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A task whose blobs travel with it.
    pub fn order(&self, number: u64, args: &[&str]) -> Order {
        let exec = ExecSpec {
            engine: engine(),
            world: World::Task,
            component: Hash::of(b"component"),
            input: Hash::of(format!("input {number}").as_bytes()),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            clock_start_ns: 0,
            models: std::iter::empty::<(String, Hash)>().collect(),
            seed: [0; 32],
            limits: Limits::default(),
        };
        let mut salt = [0; 32];
        salt[..8].copy_from_slice(&number.to_le_bytes());
        let task = TaskSpec {
            genesis: self.genesis,
            coordinator: self.node(),
            salt,
            ..TaskSpec::local(exec.hash(), 60_000)
        };
        let issued_ms = now_ms();
        Order {
            assignment: Assignment {
                genesis: self.genesis,
                coordinator: self.node(),
                miner: self.miner,
                task: Hash::ZERO,
                attempt: 0,
                replica: 0,
                roster: 0,
                epoch: 5,
                local: false,
                issued_ms,
                deadline_ms: issued_ms + 60_000,
                escrow: 1,
                terms: None,
            },
            task,
            exec,
            blobs: vec![
                b"component".to_vec(),
                format!("input {number}").into_bytes(),
            ],
        }
    }

    pub fn give(&self, order: &Order) -> Hash {
        let work = order.work(&self.key);
        let id = work.assignment.body_hash();
        self.state().queue.push_back(work);
        self.news.notify_one();
        id
    }

    /// Gives out `count` tasks.
    pub fn give_many(&self, count: u64, args: &[&str]) -> Vec<Hash> {
        (0..count)
            .map(|number| self.give(&self.order(number, args)))
            .collect()
    }

    pub fn wake(&self) {
        self.news.notify_one();
    }

    fn active(&self) -> Signed<ActiveUntil> {
        let at_ms = now_ms();
        ActiveUntil {
            genesis: self.genesis,
            coordinator: self.node(),
            miner: self.miner,
            at_ms,
            until_ms: at_ms + 30_000,
        }
        .sign(&self.key, &mut OsRng)
    }

    fn up(&self) -> Result<(), ApiError> {
        match self.state().down {
            true => Err(ApiError::Unreachable("it is down".to_owned())),
            false => Ok(()),
        }
    }

    fn answer(&self, poll: &Poll) -> Option<PollAnswer> {
        let mut state = self.state();
        let mut work: Vec<Work> = state
            .open
            .iter()
            .filter(|(id, _)| poll.working.binary_search(id).is_err())
            .map(|(_, work)| work.clone())
            .collect();
        while work.len() < poll.want as usize {
            let Some(next) = state.queue.pop_front() else {
                break;
            };
            let id = next.assignment.body_hash();
            state.open.insert(id, next.clone());
            work.push(next);
        }
        let ended = std::mem::take(&mut state.ended);
        if work.is_empty() && ended.is_empty() {
            return None;
        }
        drop(state);
        Some(PollAnswer {
            active: self.active(),
            work,
            ended,
            idle: None,
            echo: None,
        })
    }

    fn take(&self, item: &HandInItem) -> HandInResult {
        let refuse = |code: Code, detail: &str| HandInResult {
            leaf: None,
            countersignature: None,
            refused: Some(code.as_str().to_owned()),
            detail: Some(detail.to_owned()),
            missing: Vec::new(),
        };
        let mut state = self.state();
        let Ok(mut receipt) = Receipt::from_bytes(&item.receipt) else {
            return refuse(Code::BadEncoding, "no receipt");
        };
        if receipt.verify_miner().is_err() {
            return refuse(Code::BadSignature, "not signed");
        }
        let known = state.receipts.iter().position(|r| r.id() == receipt.id());
        let place = match known {
            Some(at) => at,
            None => {
                let last = state.receipts.last();
                let next = last.map_or(1, |r| r.body.seq + 1);
                let prev = last.map_or(Hash::ZERO, Receipt::id);
                if state.strict && (receipt.body.seq, receipt.body.prev) != (next, prev) {
                    return refuse(Code::SeqOutOfOrder, &format!("expected {next}"));
                }
                let missing: Vec<Hash> = [item.opening.output, item.opening.transcript]
                    .into_iter()
                    .filter(|hash| {
                        !item.blobs.iter().any(|blob| Hash::of(blob) == *hash)
                            && !state.blobs.contains_key(hash)
                    })
                    .collect();
                if !missing.is_empty() {
                    return HandInResult {
                        missing,
                        ..refuse(Code::UnknownBlob, "blobs are missing")
                    };
                }
                receipt.countersign(&self.key, &mut OsRng);
                state.open.remove(&receipt.body.assignment);
                state.receipts.push(receipt.clone());
                state.items.push(item.clone());
                state.receipts.len() - 1
            }
        };
        let receipt = state.receipts[place].clone();
        assert_eq!(
            receipt.to_bytes()[..456],
            item.receipt[..456],
            "other bytes"
        );
        HandInResult {
            leaf: Some(place as u64),
            countersignature: Some(receipt.coordinator_signature.to_vec().into()),
            refused: None,
            detail: None,
            missing: Vec::new(),
        }
    }
}

/// A task in the making.
#[derive(Clone)]
pub struct Order {
    pub assignment: Assignment,
    pub task: TaskSpec,
    pub exec: ExecSpec,
    pub blobs: Vec<Vec<u8>>,
}

impl Order {
    /// The work item, with hashes that fit, signed by `key`.
    pub fn work(&self, key: &Keypair) -> Work {
        let mut order = self.clone();
        order.task.exec = order.exec.hash();
        order.assignment.task = order.task.hash();
        Work {
            assignment: order.assignment.sign(key, &mut OsRng),
            task: order.task.to_cbor(),
            exec: order.exec.to_cbor(),
            blobs: order.blobs.into_iter().map(Into::into).collect(),
            traceparent: None,
        }
    }
}

impl CoordinatorApi for Fake {
    fn hello<'a>(&'a self, hello: &'a Hello) -> ApiFuture<'a, Welcome> {
        async move {
            self.up()?;
            let decoded = Hello::from_cbor(&hello.to_cbor());
            assert_eq!(decoded.as_ref(), Ok(hello));
            let mut state = self.state();
            state.hellos.push(hello.clone());
            let last = state.receipts.last();
            let mut welcome = Welcome {
                active: self.active(),
                last_seq: last.map_or(0, |r| r.body.seq),
                last_receipt: last.map_or(Hash::ZERO, Receipt::id),
                open: state.open.keys().copied().collect(),
                echo: [9; 32],
            };
            if let Some(change) = &mut state.on_hello {
                change(&mut welcome)?;
            }
            Ok(welcome)
        }
        .boxed()
    }

    fn echo<'a>(&'a self, echo: &'a Echo) -> ApiFuture<'a, ()> {
        async move {
            self.up()?;
            assert_eq!(echo.echo, [9; 32]);
            self.state().echoes += 1;
            Ok(())
        }
        .boxed()
    }

    fn poll<'a>(&'a self, poll: &'a Poll) -> ApiFuture<'a, PollAnswer> {
        async move {
            self.up()?;
            assert!(Poll::from_cbor(&poll.to_cbor()).is_ok());
            {
                let mut state = self.state();
                state.polls += 1;
                state.wants.push(poll.want);
                for acceptance in &poll.accepted {
                    state
                        .acceptances
                        .push(acceptance.verify(|a| a.miner).unwrap());
                }
            }
            let until = tokio::time::Instant::now() + Duration::from_millis(poll.wait_ms.into());
            let mut answer = loop {
                match self.answer(poll) {
                    Some(answer) => break answer,
                    None => {
                        let news = tokio::time::timeout_at(until, self.news.notified());
                        if news.await.is_err() {
                            break PollAnswer {
                                active: self.active(),
                                work: Vec::new(),
                                ended: Vec::new(),
                                idle: Some(Code::NoTasks.as_str().to_owned()),
                                echo: Some(vec![9; 32].into()),
                            };
                        }
                    }
                }
            };
            self.up()?;
            let mut state = self.state();
            if let Some(change) = &mut state.on_poll {
                change(poll, &mut answer)?;
            }
            drop(state);
            assert!(PollAnswer::from_cbor(&answer.to_cbor()).is_ok());
            Ok(answer)
        }
        .boxed()
    }

    fn progress<'a>(&'a self, report: &'a ProgressReport) -> ApiFuture<'a, ()> {
        async move {
            self.up()?;
            assert!(ProgressReport::from_cbor(&report.to_cbor()).is_ok());
            self.state().progress.extend(report.reports.iter().cloned());
            Ok(())
        }
        .boxed()
    }

    fn hand_in<'a>(&'a self, receipts: &'a HandIn) -> ApiFuture<'a, HandInAnswer> {
        async move {
            // As over a network: requests get together while one is under way.
            tokio::task::yield_now().await;
            self.up()?;
            assert!(HandIn::from_cbor(&receipts.to_cbor()).is_ok());
            let mut answer = HandInAnswer {
                results: receipts.items.iter().map(|item| self.take(item)).collect(),
            };
            let mut state = self.state();
            state.hand_ins += 1;
            if let Some(change) = &mut state.on_hand_in {
                change(receipts, &mut answer)?;
            }
            Ok(answer)
        }
        .boxed()
    }

    fn fetch_blob<'a>(
        &'a self,
        hash: &'a Hash,
        max: u64,
        sink: &'a mut dyn BlobSink,
    ) -> ApiFuture<'a, ()> {
        async move {
            self.up()?;
            let (bytes, part, never_ends) = {
                let mut state = self.state();
                state.fetched += 1;
                let Some(bytes) = state.blobs.get(hash).cloned() else {
                    return Err(ApiError::Refused {
                        code: Code::UnknownBlob,
                        detail: "no such blob".to_owned(),
                        retry_after: None,
                    });
                };
                (bytes, state.break_off, state.never_ends)
            };
            if never_ends {
                std::future::pending::<()>().await;
            }
            if bytes.len() as u64 > max {
                return Err(ApiError::BlobTooLarge { hash: *hash, max });
            }
            let from = sink.offset() as usize;
            let rest = &bytes[from.min(bytes.len())..];
            let part = part.unwrap_or(rest.len()).min(rest.len());
            sink.write(&rest[..part])?;
            match part < rest.len() {
                true => Err(ApiError::Unreachable("it broke off".to_owned())),
                false => Ok(()),
            }
        }
        .boxed()
    }

    fn put_blob<'a>(&'a self, hash: &'a Hash, blob: Upload) -> ApiFuture<'a, ()> {
        async move {
            self.up()?;
            let bytes = match blob {
                Upload::Bytes(bytes) => bytes.to_vec(),
                Upload::File(path) => std::fs::read(path).unwrap(),
            };
            if Hash::of(&bytes) != *hash {
                return Err(ApiError::BlobMismatch(*hash));
            }
            self.state().blobs.insert(*hash, bytes);
            Ok(())
        }
        .boxed()
    }
}

/// A network with one miner and some coordinators.
pub struct Net {
    pub dir: tempfile::TempDir,
    pub coordinators: Vec<Arc<Fake>>,
    pub network: watch::Sender<Arc<NetworkView>>,
    pub options: Options,
    pub slots: u32,
}

pub fn miner_key() -> Keypair {
    key("miner")
}

/// A network file, with these stakes of the coordinators in token.
pub fn network_file(version: u64, stakes: &[u128], miner_stake: u128) -> NetworkFile {
    let authority = key("authority");
    let genesis = Genesis {
        name: "test".to_owned(),
        created_ms: 1,
        authority: authority.public().to_bytes(),
        epoch_ms: 1000,
        miner_stake_min: 20_000 * TOKEN,
        coordinator_stake_min: 1,
        saturation: 10,
        development: true,
        ledger: None,
    };
    let mut coordinators: Vec<CoordinatorMember> = stakes
        .iter()
        .enumerate()
        .map(|(at, stake)| CoordinatorMember {
            node: key(&format!("c{at}")).public().to_bytes(),
            log: key(&format!("log{at}")).public().to_bytes(),
            account: [1; 32],
            stake: stake * TOKEN,
            url: format!("http://127.0.0.1:{}", 1000 + at),
            region: "test".to_owned(),
            introduction: String::new(),
        })
        .collect();
    coordinators.sort_by_key(|member| member.node);
    let membership = Membership {
        genesis: genesis.hash(),
        version,
        engines: vec![engine()],
        coordinators,
        miners: vec![MinerMember {
            node: miner_key().public().to_bytes(),
            account: [2; 32],
            stake: miner_stake * TOKEN,
            jailed: None,
            introduction: String::new(),
        }],
        witnesses: Vec::new(),
    };
    NetworkFile {
        membership: membership.sign(&authority, &mut OsRng),
        genesis,
    }
}

impl Net {
    pub fn new() -> Net {
        Net::with(&[2_000_000])
    }

    /// With coordinators of these stakes, in token.
    pub fn with(stakes: &[u128]) -> Net {
        let dir = tempfile::tempdir().unwrap();
        let file = network_file(1, stakes, 20_000);
        let view = NetworkView::of(&file, None).unwrap();
        let miner = miner_key().public().to_bytes();
        let coordinators = (0..stakes.len())
            .map(|at| Fake::new(&format!("c{at}"), view.genesis_hash(), miner))
            .collect();
        let mut options = Options::new(miner_key(), dir.path().join("miner"));
        options.queue_depth = 16;
        options.poll_wait = Duration::from_millis(500);
        Net {
            dir,

            coordinators,
            network: watch::Sender::new(Arc::new(view)),
            options,
            slots: 2,
        }
    }

    /// The only coordinator.
    pub fn fake(&self) -> &Arc<Fake> {
        &self.coordinators[0]
    }

    /// Starts the miner, and says what it runs on.
    pub fn start(&self) -> (Handle, Arc<TestExecutor>) {
        let cache = open_cache(self.dir.path(), 1 << 30);
        let executor = TestExecutor::new(cache.store(), self.slots);
        let fakes: HashMap<[u8; 32], Arc<Fake>> = self
            .coordinators
            .iter()
            .map(|fake| (fake.node(), fake.clone()))
            .collect();
        let connect: Arc<Connect> =
            Arc::new(
                move |member: &CoordinatorMember| match fakes.get(&member.node) {
                    Some(fake) => Ok(fake.clone() as Arc<dyn CoordinatorApi>),
                    None => Err(ApiError::Unreachable("nobody is there".to_owned())),
                },
            );
        let handle = Miner::start(Parts {
            options: self.options.clone(),
            executor: executor.clone(),
            cache,
            connect,
            network: self.network.subscribe(),
            clock: Arc::new(SystemClock),
            rng: SharedRng::system(),
        })
        .unwrap();
        (handle, executor)
    }
}

pub fn open_cache(folder: &Path, limit: u64) -> Arc<BlobCache> {
    BlobCache::open(&folder.join("cache"), limit).unwrap()
}

/// Waits until something holds; fails after a minute, which only a busy machine comes near to.
#[track_caller]
pub fn until<'a>(
    what: &'a str,
    mut holds: impl FnMut() -> bool + 'a,
) -> impl Future<Output = ()> + 'a {
    let place = std::panic::Location::caller();
    async move {
        let begun = Instant::now();
        while !holds() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{what}, at {place}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Whether receipts are a series without gaps, each with its predecessor, each signed by both.
pub fn is_chain(receipts: &[Receipt]) {
    let mut prev = Hash::ZERO;
    for (at, receipt) in receipts.iter().enumerate() {
        assert_eq!(receipt.body.seq, at as u64 + 1);
        assert_eq!(receipt.body.prev, prev);
        receipt.verify().unwrap();
        prev = receipt.id();
    }
}
