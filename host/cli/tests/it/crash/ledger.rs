//! What a client knows: every task that was acknowledged, every result that it was shown, every
//! checkpoint that it ever saw. It is kept on the outside, and later compared with the log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adit_net::http::client::{Client, ClientError};
use adit_protocol::{Code, Hash};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Dice};

/// How long the network may take for a task, however often its processes are killed meanwhile.
const PATIENCE: Duration = Duration::from_secs(180);

/// A task as its client knows it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The id that every acknowledgement had.
    pub task: Option<Hash>,
    /// Miners that run it.
    pub replicas: u8,
    /// The output that it must have; absent of tasks that run out of fuel.
    pub output: Option<Hash>,
    /// The end that was shown.
    pub end: Option<End>,
}

/// The end of a task as it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// `completed`, `failed` or `cancelled`.
    pub state: String,
    /// The reason, if there is no result.
    pub code: Option<String>,
    /// How the run ended, id of the receipt, and its leaf.
    pub result: Option<(String, Hash, u64)>,
}

/// A receipt as the coordinator has acknowledged it to its miner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    pub leaf: u64,
    /// The 520 bytes, with both signatures.
    pub receipt: Vec<u8>,
}

/// What a client keeps.
#[derive(Default)]
pub struct Ledger {
    tasks: Mutex<BTreeMap<String, Known>>,
    checkpoints: Mutex<Vec<String>>,
    receipts: Mutex<BTreeMap<([u8; 32], u64), Acknowledged>>,
    /// What contradicts a promise, found on the way.
    wrong: Mutex<Vec<String>>,
    /// Answers that never came, by what the client saw in their place.
    lost: Mutex<BTreeMap<String, u64>>,
    ended: AtomicU64,
    waiting: AtomicU64,
    number: AtomicU64,
    stop: AtomicBool,
}

impl Ledger {
    /// The tasks, by their idempotency keys.
    pub fn tasks(&self) -> BTreeMap<String, Known> {
        self.tasks.lock().unwrap().clone()
    }

    /// All different checkpoints, in the order in which they were seen.
    pub fn checkpoints(&self) -> Vec<String> {
        self.checkpoints.lock().unwrap().clone()
    }

    /// The receipts that miners were told to be durable, by miner and number.
    pub fn receipts(&self) -> BTreeMap<([u8; 32], u64), Acknowledged> {
        self.receipts.lock().unwrap().clone()
    }

    /// Notes what a miner has been told. It must not be told otherwise later.
    pub fn told(&self, miner: [u8; 32], seq: u64, receipt: Acknowledged) {
        let mut receipts = self.receipts.lock().unwrap();
        let leaf = receipt.leaf;
        let known = receipts.entry((miner, seq)).or_insert(receipt.clone());
        if *known != receipt {
            let before = known.leaf;
            self.complain(format!(
                "receipt {seq} was at leaf {before}, and then at {leaf}"
            ));
        }
    }

    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    pub fn lost(&self) -> BTreeMap<String, u64> {
        self.lost.lock().unwrap().clone()
    }

    /// Tasks whose ends were shown.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Tasks that are acknowledged, and whose ends were not shown yet.
    pub fn in_flight(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// No more tasks are begun.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn complain(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    /// Notes a request whose answer never came. One that is refused for good is a broken promise.
    fn lose(&self, what: &str, error: &ClientError) {
        let code = error.code();
        let broke_off = error.retryable() || code == Code::BadAnswer;
        assert!(broke_off, "{what}: {error}");
        *(self.lost.lock().unwrap())
            .entry(code.to_string())
            .or_default() += 1;
    }

    /// Notes an acknowledgement. All of one key must be of one task.
    pub fn acknowledged(&self, key: &str, known: &Known, view: &Value) -> Hash {
        let task: Hash = view["task"].as_str().unwrap().parse().unwrap();
        let mut tasks = self.tasks.lock().unwrap();
        let entry = tasks.entry(key.to_owned()).or_insert_with(|| {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            Known {
                task: Some(task),
                ..known.clone()
            }
        });
        if entry.task != Some(task) {
            let before = entry.task;
            self.complain(format!("the key {key} has made {before:?} and {task}"));
        }
        task
    }

    /// Notes the end of a task. It never changes any more.
    pub fn shown(&self, key: &str, view: &Value) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let result = &view["result"];
        let end = End {
            state: text(&view["state"]).unwrap(),
            code: text(&view["reason"]["code"]),
            result: text(&result["receipt"]).map(|receipt| {
                let leaf = result["leaf"].as_u64().unwrap();
                let status = text(&result["status"]).unwrap();
                (status, receipt.parse().unwrap(), leaf)
            }),
        };
        let mut tasks = self.tasks.lock().unwrap();
        let known = tasks.get_mut(key).unwrap();
        if let (Some(expected), Some(found)) = (known.output, text(&result["output"]))
            && found != expected.to_string()
        {
            self.complain(format!("{key} has the output {found}, not {expected}"));
        }
        match &known.end {
            None => {
                known.end = Some(end);
                self.ended.fetch_add(1, Ordering::Relaxed);
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            Some(before) if *before != end => {
                self.complain(format!("{key} ended as {before:?}, and then as {end:?}"));
            }
            Some(_) => {}
        }
    }

    /// Notes a checkpoint that was served.
    pub fn saw_checkpoint(&self, text: String) {
        let mut checkpoints = self.checkpoints.lock().unwrap();
        if checkpoints.last() != Some(&text) {
            checkpoints.push(text);
        }
    }
}

/// What clients submit: most tasks turn a text to capitals; some loop until their fuel is used up, so
/// that there are runs to be interrupted.
pub struct Tasks {
    capitals: Hash,
    endless: Hash,
    url: String,
}

impl Tasks {
    /// Uploads the components.
    pub async fn upload(cluster: &Cluster, client: &Client) -> Tasks {
        let upper = include_str!("../../../../devnet/benches/tasks/upper-case.wat");
        let put = async |wasm: Vec<u8>| {
            let hash = Hash::of(&wasm);
            let call = client.put(&format!("/v1/blobs/{hash}"));
            let call = call.bytes("application/octet-stream", wasm);
            call.send().await.unwrap();
            hash
        };
        let behave = std::fs::read(crate::support::guest("guest-behave.wasm")).unwrap();
        Tasks {
            capitals: put(wat::parse_str(upper).unwrap()).await,
            endless: put(behave).await,
            url: cluster.url.clone(),
        }
    }

    /// A task: its submission and what is to come of it.
    pub fn make(&self, number: u64, dice: &mut Dice) -> (Value, Known) {
        let replicas: u8 = if dice.one_in(3) { 2 } else { 1 };
        let verification = json!({ "replicas": replicas, "quorum": replicas, "adaptive": false });
        let text = format!("the task with the number {number}");
        let mut known = Known {
            replicas,
            ..Known::default()
        };
        let mut body = json!({
            "verification": verification,
            // Longer than miners need to come back after their coordinator.
            "deadline_ms": 60_000,
            "disclosure": "public",
        });
        if dice.one_in(5) {
            body["component"] = json!(self.endless);
            body["world"] = json!("command");
            body["args"] = json!(["loop", text]);
            body["limits"] = json!({ "fuel": 20_000_000 + dice.below(200_000_000) });
        } else {
            body["component"] = json!(self.capitals);
            body["input"] = json!({ "text": text });
            known.output = Some(Hash::of(text.to_uppercase().as_bytes()));
        }
        (body, known)
    }

    /// Submits a task until it is acknowledged, whatever happens to the answers.
    pub async fn submit(&self, ledger: &Ledger, client: &Client, key: &str, task: &(Value, Known)) {
        let begun = Instant::now();
        loop {
            let call = client.post("/v1/tasks").json(&task.0).idempotency_key(key);
            match call.timeout_ms(10_000).send().await {
                Ok(answer) => {
                    ledger.acknowledged(key, &task.1, &answer.json().unwrap());
                    return;
                }
                Err(error) => ledger.lose(&format!("submitting {key}"), &error),
            }
            let waited = begun.elapsed();
            assert!(waited < PATIENCE, "{}: not acknowledged: {key}", self.url);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the end of a task that was acknowledged.
    pub async fn follow(&self, ledger: &Ledger, client: &Client, key: &str) {
        let task = ledger.tasks()[key].task.unwrap();
        let begun = Instant::now();
        loop {
            let call = client.get(&format!("/v1/tasks/{task}")).query("wait", 5);
            match call.timeout_ms(15_000).send().await {
                Ok(answer) => {
                    let view: Value = answer.json().unwrap();
                    let state = view["state"].as_str().unwrap();
                    if ["completed", "failed", "cancelled"].contains(&state) {
                        ledger.shown(key, &view);
                        return;
                    }
                    assert!(begun.elapsed() < PATIENCE, "no end: {view:#}");
                }
                // What was acknowledged is never unknown.
                Err(error) => ledger.lose(&format!("asking for {key}, {task}"), &error),
            }
            assert!(begun.elapsed() < PATIENCE, "{}: no end: {key}", self.url);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Submits one task after the other, until the ledger is told to stop; then comes to an end with
    /// the last.
    pub async fn work(self: Arc<Tasks>, ledger: Arc<Ledger>, client: Client, mut dice: Dice) {
        let mut last: Option<String> = None;
        while !ledger.stop.load(Ordering::Relaxed) {
            let number = ledger.number.fetch_add(1, Ordering::Relaxed);
            let key = format!("key-{number}");
            let task = self.make(number, &mut dice);
            if dice.one_in(4) {
                // An answer that the client does not wait for: whether the task was taken is unknown.
                let call = client.post("/v1/tasks").json(&task.0);
                let call = call.idempotency_key(&key);
                let _ = call.timeout_ms(1 + dice.below(8)).send().await;
            }
            self.submit(&ledger, &client, &key, &task).await;
            if dice.one_in(4) {
                // Sent twice, it is still one task.
                self.submit(&ledger, &client, &key, &task).await;
            }
            self.follow(&ledger, &client, &key).await;
            if let Some(last) = last.replace(key)
                && dice.one_in(4)
            {
                // An end that was shown stays as it was.
                self.follow(&ledger, &client, &last).await;
            }
        }
    }
}

/// Keeps every checkpoint that the coordinator serves, until the ledger is told to stop.
pub async fn watch_checkpoints(ledger: Arc<Ledger>, client: Client) {
    while !ledger.stop.load(Ordering::Relaxed) {
        if let Ok(answer) = client.get("/log/checkpoint").send().await {
            ledger.saw_checkpoint(String::from_utf8(answer.bytes.to_vec()).unwrap());
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}
