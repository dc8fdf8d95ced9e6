//! System calls of a coordinator and of a miner that fail, or in which the process is killed; disks
//! that are full or cannot be written; bits that flip.
//!
//! | file | subject |
//! |---|---|
//! | [`strace`] | traces, and calls that are made to fail |
//! | `order` | what is acknowledged was flushed before |
//! | `faults` | each call of an append fails once, or is the last |
//! | `disk` | a disk without room, or for reading only |
//! | `bits` | a flipped bit at rest |
//!
//! `cargo xtask syscalls` is the long form of `faults`, with every occurrence of every call.

mod bits;
pub mod disk;
pub mod faults;
pub mod order;
pub mod strace;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use adit_net::http::client::Client;
use adit_protocol::Hash;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cluster::{Cluster, Role, children};
use crate::crash::check;
use crate::crash::ledger::{Known, Ledger};
use crate::network_support::Node;
use strace::Tracer;

const MINER: Role = Role::Miner(0);
/// How long one append may take, with all that goes wrong in it.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process below strace.
pub struct Traced {
    node: Node,
    runtime: Runtime,
}

impl Traced {
    /// Starts it. A coordinator is ready when this returns.
    fn start(cluster: &Cluster, role: Role, tracer: &Tracer) -> Traced {
        let mut node = cluster.start_below(tracer.command(), role);
        if role == Role::Coordinator {
            node.line();
        }
        let runtime = runtime();
        Traced { node, runtime }
    }

    /// Asks the process to end, and waits.
    fn end(mut self) -> Option<i32> {
        end_below(&mut self.node);
        self.node.wait().code()
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// Asks the process below strace to end.
pub fn end_below(tracer: &mut Node) {
    // None is there any more if it has ended meanwhile.
    for pid in children(tracer.id()) {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Uploads a component that turns a text to capitals.
async fn capitals(client: &Client) -> Hash {
    let wasm = include_str!("../../../../devnet/benches/tasks/upper-case.wat");
    let wasm = wat::parse_str(wasm).unwrap();
    let hash = Hash::of(&wasm);
    let call = client.put(&format!("/v1/blobs/{hash}"));
    let call = call.bytes("application/octet-stream", wasm);
    call.send().await.unwrap();
    hash
}

/// A network with one miner, whose coordinator is started for one append after the other.
struct Appends {
    cluster: Cluster,
    miner: Option<Node>,
    ledger: Ledger,
    runtime: Runtime,
    component: Hash,
    number: u64,
}

/// What came of one append.
#[derive(Debug)]
struct Ended {
    /// Its exit code; absent if a signal ended it.
    code: Option<i32>,
    stderr: String,
    /// Whether it was asked to end, since all was done.
    in_order: bool,
}

impl Appends {
    /// Sets a network up, and makes a first append without disturbance.
    fn new() -> Appends {
        let cluster = Cluster::new(1, false);
        let mut coordinator = cluster.start(Role::Coordinator);
        coordinator.line();
        let miner = cluster.start(MINER);
        let runtime = runtime();
        let component = runtime.block_on(capitals(&cluster.client()));
        let mut appends = Appends {
            cluster,
            miner: Some(miner),
            ledger: Ledger::default(),
            runtime,
            component,
            number: 0,
        };
        let key = appends.key();
        let ended = appends.append(coordinator, &key);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        appends
    }

    /// A new idempotency key.
    fn key(&mut self) -> String {
        self.number += 1;
        format!("append-{}", self.number)
    }

    /// One append with the coordinator that a command starts: the submission of a task, its receipt
    /// and verdict, the checkpoint that covers them, and the end of the process. It may end before.
    fn append(&mut self, coordinator: Node, key: &str) -> Ended {
        let ended = self.append_for(coordinator, key, PATIENCE);
        let done = ended.in_order || ended.code != Some(0);
        assert!(done, "{key} did not end: {ended:?}");
        ended
    }

    /// The same, but it is also asked to end once the time is over.
    fn append_for(&mut self, mut coordinator: Node, key: &str, time: Duration) -> Ended {
        let begun = Instant::now();
        let client = self.cluster.client();
        let mut in_order = false;
        let status = loop {
            if let Some(status) = coordinator.ended() {
                break status;
            }
            in_order = self.runtime.block_on(self.step(&client, key));
            if in_order || begun.elapsed() > time {
                // Below strace, and without it.
                match children(coordinator.id()).is_empty() {
                    true => {
                        let pid = Pid::from_raw(i32::try_from(coordinator.id()).unwrap());
                        kill_process(pid.unwrap(), Signal::TERM).unwrap();
                    }
                    false => end_below(&mut coordinator),
                }
                break coordinator.wait();
            }
        };
        Ended {
            code: status.code(),
            stderr: coordinator.said(),
            in_order,
        }
    }

    /// The next thing that a client does. Whether all is done.
    async fn step(&self, client: &Client, key: &str) -> bool {
        let known = self.ledger.tasks().get(key).cloned();
        let end = known.as_ref().and_then(|known| known.end.clone());
        let done = match (known, end) {
            (None, _) => self.submit(client, key).await,
            (Some(known), None) => {
                let path = format!("/v1/tasks/{}", known.task.unwrap());
                let answer = client.get(&path).query("wait", 2).send().await;
                answer.map(|answer| {
                    let view: Value = answer.json().unwrap();
                    if !view["ended_ms"].is_null() {
                        self.ledger.shown(key, &view);
                    }
                    false
                })
            }
            (Some(_), Some(end)) => {
                let (_, _, leaf) = end.result.unwrap();
                let answer = client.get("/log/checkpoint").send().await;
                answer.map(|answer| {
                    let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
                    let signed = SignedCheckpoint::parse(text.as_bytes()).unwrap();
                    self.ledger.saw_checkpoint(text);
                    signed.unverified().size > leaf
                })
            }
        };
        match done {
            Ok(true) => true,
            _ => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                false
            }
        }
    }

    async fn submit(
        &self,
        client: &Client,
        key: &str,
    ) -> Result<bool, adit_net::http::client::ClientError> {
        let text = format!("the task of {key}");
        let body = json!({
            "component": self.component,
            "input": { "text": text },
            "verification": { "replicas": 1, "quorum": 1, "adaptive": false },
            "deadline_ms": 60_000,
        });
        let call = client.post("/v1/tasks").json(&body).idempotency_key(key);
        let view = call.send().await?.json()?;
        let known = Known {
            replicas: 1,
            output: Some(Hash::of(text.to_uppercase().as_bytes())),
            ..Known::default()
        };
        self.ledger.acknowledged(key, &known, &view);
        Ok(false)
    }

    /// Starts the coordinator without disturbance: the append goes on to its end.
    fn go_on(&mut self, key: &str) {
        // A process that was killed leaves no word on what miners signed last, and the next one
        // refuses all requests for the seconds by which their clocks may be ahead. Here they are not,
        // so that nothing is to be waited for.
        let requests = self.cluster.data().join("requests");
        let left = std::fs::read_to_string(&requests).unwrap_or_default();
        if left.trim().parse::<u64>().is_err() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            std::fs::write(requests, format!("{}\n", now.as_secs())).unwrap();
        }
        let coordinator = self.cluster.start(Role::Coordinator);
        let ended = self.append(coordinator, key);
        assert!(ended.in_order && ended.code == Some(0), "{key}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }

    /// Ends the miner, and compares all that was promised with the log.
    fn finish(mut self) -> check::Compared {
        assert_eq!(self.miner.take().unwrap().end(), Some(0));
        self.cluster.fsck();
        let compare = check::compare(&self.cluster, &self.ledger);
        let (compared, wrong) = self.runtime.block_on(compare);
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(compared.completed, compared.tasks, "{compared}");
        compared
    }
}

/// Asserts that an error that ended a process is one for people.
#[track_caller]
pub fn explained(stderr: &str, words: &[&str]) {
    for part in ["error: ", "  why:  ", "  hint: "] {
        let has = stderr.lines().any(|line| line.starts_with(part));
        assert!(has, "no `{part}` in:\n{stderr}");
    }
    for word in words {
        assert!(stderr.contains(word), "no {word:?} in:\n{stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}
