//! A network of one coordinator, with clients and scripted miners.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_coordinator::options::{Bounds, Options};
use adit_coordinator::running::{Coordinator, Running};
use adit_coordinator::tokens::{Quota, TokenFile};
use adit_net::http::client::{Answer, Call, Client, ClientConfig, ClientError, Retry};
use adit_net::http::server::{Limits, Listen};
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::ExecSpec;
use adit_protocol::keys::Keypair;
use adit_protocol::network::exchange::{
    HandIn, HandInAnswer, HandInItem, HandInResult, Hello, OfferedDevice, Poll, PollAnswer,
    Welcome, Work,
};
use adit_protocol::network::genesis::{Genesis, network_id};
use adit_protocol::network::membership::{CoordinatorMember, Membership, MinerMember, NetworkFile};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{Receipt, ReceiptBody};
use adit_protocol::signed::Signable as _;
use adit_protocol::status::Status;
use adit_protocol::task::TaskSpec;
use adit_protocol::transcript::Transcript;
use adit_protocol::{Code, Hash};
use adit_runtime::engine_document::engine_document;
use minicbor::bytes::ByteVec;
use rand_core::OsRng;
use serde_json::{Value, json};
use url::Url;

const TOKEN: u128 = 1_000_000_000_000;

/// A coordinator with its folder.
pub struct Net {
    pub folder: tempfile::TempDir,
    pub running: Option<Running>,
    pub coordinator: Keypair,
    pub log: Keypair,
    pub genesis: Hash,
    pub token: String,
    pub other_token: String,
    quota: Quota,
    bounds: Bounds,
    worker: Option<PathBuf>,
}

pub fn key(number: u8) -> Keypair {
    Keypair::from_seed([number; 32])
}

/// Keys of miners that are members.
pub fn miner_key(number: u8) -> Keypair {
    key(100 + number)
}

/// What is a component by its first bytes. Nobody runs it here.
pub fn component() -> Vec<u8> {
    b"\0asm\x0d\0\x01\0 not really".to_vec()
}

impl Net {
    pub async fn start() -> Net {
        Net::with(Quota::default(), Bounds::default()).await
    }

    pub async fn with(quota: Quota, bounds: Bounds) -> Net {
        Net::build(quota, bounds, None).await
    }

    /// One whose validators run in `worker`.
    pub async fn build(quota: Quota, bounds: Bounds, worker: Option<PathBuf>) -> Net {
        let folder = tempfile::tempdir().unwrap();
        let (coordinator, log) = (key(1), key(2));
        let genesis = write_network(&folder.path().join("network"), &coordinator, &log);
        let mut tokens = TokenFile::default();
        let token = tokens.add("app", 0, &mut OsRng).unwrap().0;
        let other_token = tokens.add("other", 0, &mut OsRng).unwrap().0;
        tokens.save(&folder.path().join("tokens.toml")).unwrap();
        let mut net = Net {
            folder,
            running: None,
            coordinator,
            log,
            genesis,
            token,
            other_token,
            quota,
            bounds,
            worker,
        };
        net.restart().await;
        net
    }

    /// Starts the coordinator on the same folder, on another port.
    pub async fn restart(&mut self) {
        let folder: PathBuf = self.folder.path().to_owned();
        let options = Options {
            clock: Arc::new(adit_net::SystemClock),
            rng: adit_net::SharedRng::system(),
            state: folder.join("data"),
            network: folder.join("network"),
            tokens: folder.join("tokens.toml"),
            node: self.coordinator.clone(),
            log: self.log.clone(),
            listen: Listen::plain(([127, 0, 0, 1], 0).into()),
            urls: Vec::new(),
            region: String::new(),
            quota: self.quota,
            bounds: self.bounds.clone(),
            limits: Limits::default(),
            worker: self.worker.clone(),
        };
        self.running = Some(Coordinator::start(options).await.unwrap());
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub fn url(&self) -> String {
        self.running().url()
    }

    fn client_with(&self, token: Option<&str>, node: Option<Keypair>) -> Client {
        let mut config = ClientConfig::new(Url::parse(&self.url()).unwrap());
        config.token = token.map(str::to_owned);
        config.node = node.map(Arc::new);
        config.retry = Retry::NEVER;
        config.answer_bytes_max = 64 << 20;
        Client::new(config).unwrap()
    }

    pub fn client(&self) -> Client {
        self.client_with(Some(&self.token), None)
    }

    pub fn other(&self) -> Client {
        self.client_with(Some(&self.other_token), None)
    }

    pub fn anyone(&self) -> Client {
        self.client_with(None, None)
    }

    pub fn node(&self, key: &Keypair) -> Client {
        self.client_with(None, Some(key.clone()))
    }

    pub async fn miner(&self, number: u8) -> Miner {
        let mut miner = Miner::new(self, miner_key(number));
        miner.hello().await.unwrap();
        miner
    }

    /// Uploads the component and makes a task with it.
    pub async fn task(&self, fields: Value) -> Value {
        put(&self.client(), &component()).await.unwrap();
        let mut task = json!({
            "component": Hash::of(&component()).to_string(),
            "input": { "text": "hello" },
            "verification": { "replicas": 1 },
        });
        for (name, value) in fields.as_object().unwrap() {
            task[name] = value.clone();
        }
        task
    }

    pub async fn submit(&self, fields: Value) -> Hash {
        let task = self.task(fields).await;
        let view = ok(self.client().post("/v1/tasks").json(&task)).await;
        hash(&view["task"])
    }

    /// The task once it has ended.
    pub async fn ended(&self, task: &Hash) -> Value {
        let path = format!("/v1/tasks/{task}");
        let view = ok(self.client().get(&path).query("wait", 30)).await;
        let state = view["state"].as_str().unwrap();
        assert!(
            ["completed", "failed", "cancelled"].contains(&state),
            "{view}"
        );
        view
    }
}

fn write_network(path: &Path, coordinator: &Keypair, log: &Keypair) -> Hash {
    let authority = key(9);
    let genesis = Genesis {
        name: "test".to_owned(),
        created_ms: 1_700_000_000_000,
        authority: authority.public().to_bytes(),
        epoch_ms: 3_600_000,
        miner_stake_min: 20_000 * TOKEN,
        coordinator_stake_min: 2_000_000 * TOKEN,
        saturation: 10,
        development: true,
        ledger: None,
    };
    let mut miners: Vec<MinerMember> = (0..6)
        .map(|number| MinerMember {
            node: miner_key(number).public().to_bytes(),
            account: [number; 32],
            stake: match number {
                // Too little.
                5 => TOKEN,
                _ => 20_000 * TOKEN,
            },
            jailed: (number == 4).then(|| "it lied".to_owned()),
            introduction: String::new(),
        })
        .collect();
    miners.sort_by_key(|member| member.node);
    // Another release is about to come.
    let mut engines = vec![engine_document().hash(), Hash::of(b"next")];
    engines.sort_unstable();
    let membership = Membership {
        genesis: genesis.hash(),
        version: 1,
        engines,
        coordinators: vec![CoordinatorMember {
            node: coordinator.public().to_bytes(),
            log: log.public().to_bytes(),
            account: [1; 32],
            stake: 2_000_000 * TOKEN,
            url: "https://coordinator.test".to_owned(),
            region: "eu".to_owned(),
            introduction: String::new(),
        }],
        miners,
        witnesses: Vec::new(),
    };
    let file = NetworkFile {
        membership: membership.sign(&authority, &mut OsRng),
        genesis,
    };
    std::fs::write(path, file.to_cbor()).unwrap();
    file.genesis.hash()
}

pub fn hash(value: &Value) -> Hash {
    value.as_str().unwrap().parse().unwrap()
}

/// The JSON of an answer that must be one.
pub async fn ok(call: Call) -> Value {
    let answer = call.send().await.unwrap();
    answer.json().unwrap()
}

/// The code of a refusal that must be one.
pub async fn refused(call: Call) -> Code {
    code(call.send().await)
}

pub fn code(answer: Result<Answer, ClientError>) -> Code {
    match answer {
        Ok(answer) => panic!("it was answered with {}", answer.status),
        Err(ClientError::Refused { problem, .. }) => {
            assert!(problem.hint.is_some(), "no hint: {problem}");
            problem.code.unwrap()
        }
        Err(other) => panic!("{other}"),
    }
}

pub async fn put(client: &Client, bytes: &[u8]) -> Result<Answer, ClientError> {
    let path = format!("/v1/blobs/{}", Hash::of(bytes));
    let call = client.put(&path);
    let call = call.bytes("application/octet-stream", bytes.to_vec());
    call.send().await
}

/// A miner that answers with the input in upper case.
pub struct Miner {
    pub key: Keypair,
    pub client: Client,
    pub seq: u64,
    pub prev: Hash,
    genesis: Hash,
    coordinator: [u8; 32],
}

/// The environment that miners here claim.
pub fn environment() -> EnvironmentDocument {
    let text = |text: &str| text.to_owned();
    EnvironmentDocument {
        engine: engine_document().hash(),
        triple: text("x86_64-unknown-linux-gnu"),
        cpu_baseline: text("x86-64-v2"),
        backend: text("rten"),
        backend_version: text("0.27.0"),
        build: text(""),
        execution_provider: text("cpu"),
        device: text("a test"),
        driver: text(""),
        precision: text("fp32"),
        threads: 1,
        requested: None,
        options: None,
        fallback: None,
    }
}

impl Miner {
    pub fn new(net: &Net, key: Keypair) -> Miner {
        Miner {
            client: net.node(&key),
            key,
            seq: 0,
            prev: Hash::ZERO,
            genesis: net.genesis,
            coordinator: net.coordinator.public().to_bytes(),
        }
    }

    pub fn offer(&self) -> Hello {
        Hello {
            genesis: self.genesis,
            software: "0.1.0".to_owned(),
            engine: engine_document().hash(),
            devices: vec![OfferedDevice {
                environment: environment().to_cbor(),
                gpu: false,
                memory_bytes: 0,
            }],
            slots: 4,
            hardware: None,
        }
    }

    pub async fn hello(&mut self) -> Result<Welcome, ClientError> {
        let call = self.client.post("/v1/miner/hello").cbor(&self.offer());
        let welcome: Welcome = call.signed().send().await?.cbor().unwrap();
        self.seq = welcome.last_seq;
        self.prev = welcome.last_receipt;
        Ok(welcome)
    }

    pub async fn poll(&self, wait_ms: u32, working: Vec<Hash>) -> Result<PollAnswer, ClientError> {
        let poll = Poll {
            want: 4,
            wait_ms,
            accepted: Vec::new(),
            working,
        };
        let call = self.client.post("/v1/miner/poll").cbor(&poll);
        let call = call.signed().timeout_ms(u64::from(wait_ms) + 20_000);
        Ok(call.send().await?.cbor().unwrap())
    }

    /// One assignment, for which it waits.
    pub async fn work(&self) -> Work {
        for _ in 0..10 {
            let mut answer = self.poll(3_000, Vec::new()).await.unwrap();
            if let Some(work) = answer.work.pop() {
                assert!(answer.work.is_empty(), "more than one came");
                return work;
            }
        }
        panic!("no work came");
    }

    /// The next receipt for an assignment, with what is behind it.
    pub fn run(&mut self, work: &Work, output: &[u8]) -> HandInItem {
        self.run_as(work, output, |_| {})
    }

    /// The same with a change to the body before it is signed.
    pub fn run_as(
        &mut self,
        work: &Work,
        output: &[u8],
        change: impl FnOnce(&mut ReceiptBody),
    ) -> HandInItem {
        let assignment = work.assignment.verify(|a| a.coordinator).unwrap();
        let task = TaskSpec::from_cbor(&work.task).unwrap();
        let exec = ExecSpec::from_cbor(&work.exec).unwrap();
        assert_eq!(Hash::of(&work.task), assignment.task);
        assert_eq!(Hash::of(&work.exec), task.exec);
        let opening = ReceiptOpening {
            input: exec.input,
            output: Hash::of(output),
            transcript: Transcript::default().hash(),
        };
        let mut body = ReceiptBody {
            network: network_id(&self.genesis),
            status: Status::Ok,
            gpu: false,
            nn: false,
            epoch: assignment.epoch,
            seq: self.seq + 1,
            start_ms: assignment.issued_ms,
            duration_us: 10,
            fuel: 1000,
            nn_units: 0,
            peak_memory: 65_536,
            miner: self.key.public().to_bytes(),
            coordinator: self.coordinator,
            task: assignment.task,
            assignment: work.assignment.body_hash(),
            component: exec.component,
            input: opening.input.commit(&task.salt),
            output: opening.output.commit(&task.salt),
            transcript: opening.transcript.commit(&task.salt),
            environment: environment().hash(),
            prev: self.prev,
        };
        change(&mut body);
        let receipt = body.sign(&self.key, &mut OsRng);
        self.seq = body.seq;
        self.prev = receipt.id();
        HandInItem {
            receipt: receipt.to_bytes().to_vec(),
            opening,
            blobs: vec![ByteVec::from(output.to_vec())],
            detail: None,
            log: Some(ByteVec::from(b"worked hard\n".to_vec())),
        }
    }

    /// The answer of a miner that is honest.
    pub fn honest(&mut self, work: &Work) -> HandInItem {
        let exec = ExecSpec::from_cbor(&work.exec).unwrap();
        let input = work
            .blobs
            .iter()
            .find(|blob| Hash::of(blob) == exec.input)
            .unwrap();
        let output = input.to_ascii_uppercase();
        self.run(work, &output)
    }

    pub async fn hand_in(&self, items: Vec<HandInItem>) -> Vec<HandInResult> {
        let count = items.len();
        let hand_in = HandIn { items };
        let call = self.client.post("/v1/miner/receipts").cbor(&hand_in);
        let answer: HandInAnswer = call.signed().send().await.unwrap().cbor().unwrap();
        assert_eq!(answer.results.len(), count);
        answer.results
    }

    /// Hands in one receipt that must be taken. The receipt with both signatures, and its leaf.
    pub async fn deliver(&self, item: HandInItem) -> (Receipt, u64) {
        let mut receipt = Receipt::from_bytes(&item.receipt).unwrap();
        let result = self.hand_in(vec![item]).await.remove(0);
        assert_eq!(result.refused, None, "{:?}", result.detail);
        let signature = result.countersignature.unwrap();
        receipt.coordinator_signature = signature.to_vec().try_into().unwrap();
        receipt.verify().unwrap();
        (receipt, result.leaf.unwrap())
    }
}

/// A short while.
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}
