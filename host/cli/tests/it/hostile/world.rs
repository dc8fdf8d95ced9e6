//! A network of real processes with members that the tests play: a coordinator, honest miners, and
//! keys and tokens for those that mean no good.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_net::http::client::{Answer, Call, Client, ClientConfig, ClientError, Retry};
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{CoordinatorMember, Membership, MinerMember, NetworkFile};
use adit_protocol::signed::Signable as _;
use rand_core::OsRng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::network_support::Node;
use crate::support::{Home, guest};

pub const TOKEN: u128 = 1_000_000_000_000;

/// What was answered, and how often: codes of refusals, `ok`, and what happened to connections.
pub type Seen = BTreeMap<String, u64>;

/// How much more than the short form of CI is asked for.
pub fn times() -> u64 {
    let asked = std::env::var("ADIT_HOSTILE_TIMES").ok();
    asked.map_or(1, |text| text.parse().unwrap())
}

pub fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

pub fn node(name: &str) -> [u8; 32] {
    key(name).public().to_bytes()
}

/// 32 bytes as the programs print them.
pub fn unhex(text: &str) -> [u8; 32] {
    let digits = text.strip_prefix("0x").unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
    std::array::from_fn(byte)
}

/// A coordinator among the members.
pub fn member(node: [u8; 32], log: [u8; 32], url: &str) -> CoordinatorMember {
    CoordinatorMember {
        node,
        log,
        account: [1; 32],
        stake: 2_000_000 * TOKEN,
        url: url.to_owned(),
        region: String::new(),
        introduction: String::new(),
    }
}

pub fn genesis() -> Genesis {
    Genesis {
        name: "hostile".to_owned(),
        created_ms: 1,
        authority: node("Authority"),
        epoch_ms: 3_600_000,
        miner_stake_min: 20_000 * TOKEN,
        coordinator_stake_min: 1,
        saturation: 10,
        development: true,
        ledger: None,
    }
}

/// A network file with these coordinators and miners.
pub fn network_file(
    version: u64,
    coordinators: &[CoordinatorMember],
    miners: &[&str],
) -> NetworkFile {
    let genesis = genesis();
    let mut coordinators = coordinators.to_vec();
    coordinators.sort_by_key(|member| member.node);
    let mut miners: Vec<MinerMember> = miners
        .iter()
        .map(|name| MinerMember {
            node: node(name),
            account: [2; 32],
            stake: 20_000 * TOKEN,
            jailed: None,
            introduction: String::new(),
        })
        .collect();
    miners.sort_by_key(|member| member.node);
    let membership = Membership {
        genesis: genesis.hash(),
        version,
        engines: vec![adit_runtime::engine_document::engine_document().hash()],
        coordinators,
        miners,
        witnesses: Vec::new(),
    };
    NetworkFile {
        membership: membership.sign(&key("Authority"), &mut OsRng),
        genesis,
    }
}

/// A coordinator's process, with the home of its operator.
pub struct World {
    pub home: Home,
    pub process: Node,
    pub url: String,
    pub node: [u8; 32],
    pub log: [u8; 32],
    pub token: String,
    /// A client's that may have 500 tasks in flight.
    pub greedy: String,
}

impl World {
    /// Starts a coordinator. `miners` are its network's members.
    pub fn start(miners: &[&str]) -> World {
        let home = Home::new();
        let init = [
            "--json",
            "coordinator",
            "init",
            "--name",
            "c",
            "--listen",
            "127.0.0.1:0",
        ];
        let made = home.adit(&init).exits(0).json();
        let (node, log) = (
            unhex(made["node"].as_str().unwrap()),
            unhex(made["log"].as_str().unwrap()),
        );
        let token = made["token"].as_str().unwrap().to_owned();
        let add = ["coordinator", "token", "add", "greedy"];
        let greedy = home.adit(&add).exits(0).text().trim().to_owned();
        let path = home.state().join("coordinator/tokens.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        // The one that was added last.
        std::fs::write(&path, text + "tasks-in-flight = 500\n").unwrap();
        let network = home.state().join("coordinator/network");
        let nowhere = member(node, log, "http://127.0.0.1:1");
        std::fs::write(&network, network_file(1, &[nowhere], miners).to_cbor()).unwrap();
        let mut process = Node::start(home.command(&["coordinator", "run"]));
        let url = process.line();
        let world = World {
            home,
            process,
            url,
            node,
            log,
            token,
            greedy,
        };
        world.hand_out(&network_file(2, &[world.member()], miners));
        world
    }

    /// The coordinator ended in order and begun again, on another port, with something done to its
    /// state in between.
    pub fn restarted(self, between: impl FnOnce()) -> World {
        assert_eq!(self.process.end(), Some(0));
        between();
        let mut process = Node::start(self.home.command(&["coordinator", "run"]));
        let url = process.line();
        World {
            process,
            url,
            ..self
        }
    }

    pub fn member(&self) -> CoordinatorMember {
        member(self.node, self.log, &self.url)
    }

    /// Gives the coordinator a network file, as its operator does.
    pub fn hand_out(&self, file: &NetworkFile) {
        let path = self.home.state().join("coordinator/network");
        let new = path.with_extension("new");
        std::fs::write(&new, file.to_cbor()).unwrap();
        std::fs::rename(new, path).unwrap();
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    /// Sets up the honest miner of that key, and starts it.
    pub fn miner(&self, name: &str, file: &NetworkFile) -> (Home, Node) {
        let home = Home::new();
        let network = home.file("network.cbor", file.to_cbor());
        let key = home.file("key", format!("//{name}\n"));
        let init = [
            "miner",
            "init",
            "--network",
            network.to_str().unwrap(),
            "--key",
        ];
        home.adit(&[&init[..], &[key.to_str().unwrap()]].concat())
            .exits(0);
        let running = Node::start(home.command(&["miner", "run"]));
        (home, running)
    }

    pub fn client(&self, token: Option<&str>, node: Option<Keypair>) -> Client {
        client(&self.url, token, node)
    }

    /// A task of the guest word-count, which is uploaded first.
    pub async fn task(&self, client: &Client, text: &str) -> Value {
        let component = std::fs::read(guest("word-count.wasm")).unwrap();
        let hash = put(client, component).await;
        json!({
            "component": hash, "world": "command", "input": { "text": text },
            "deadline_ms": 1_000, "verification": { "replicas": 1 }, "disclosure": "public",
        })
    }

    /// Resident memory of the coordinator that is its own, in KiB: now, and at most so far.
    pub fn memory_kib(&self) -> (u64, u64) {
        memory_kib(self.process.id())
    }
}

/// Resident anonymous memory of a process and its peak of resident memory, in KiB.
pub fn memory_kib(pid: u32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (field("RssAnon:"), field("VmHWM:"))
}

pub fn client(url: &str, token: Option<&str>, node: Option<Keypair>) -> Client {
    let mut config = ClientConfig::new(url.parse().unwrap());
    config.token = token.map(str::to_owned);
    config.node = node.map(Arc::new);
    config.retry = Retry::NEVER;
    config.timeout_ms = 60_000;
    Client::new(config).unwrap()
}

pub async fn put(client: &Client, bytes: Vec<u8>) -> String {
    let hash = Hash::of(&bytes).to_string();
    let call = client.put(&format!("/v1/blobs/{hash}"));
    call.bytes("application/octet-stream", bytes)
        .send()
        .await
        .unwrap();
    hash
}

/// `ok`, the code of a refusal, or what else became of a request.
pub fn told(answer: Result<Answer, ClientError>) -> String {
    match answer {
        Ok(_) => "ok".to_owned(),
        Err(error) => match error.problem().and_then(|problem| problem.code) {
            Some(code) => code.to_string(),
            None => format!("no answer ({})", error.code()),
        },
    }
}

pub async fn sent(call: Call) -> String {
    told(call.send().await)
}

pub fn count(seen: &mut Seen, what: impl Into<String>) {
    *seen.entry(what.into()).or_default() += 1;
}

pub fn merge(into: &mut Seen, from: Seen) {
    for (what, times) in from {
        *into.entry(what).or_default() += times;
    }
}

/// A task that has its result: the id of its receipt, and how long it took.
#[derive(Clone, Debug)]
pub struct Done {
    pub receipt: String,
    pub time: Duration,
}

/// Tasks of an honest client, one after the other, until it is told to end.
pub async fn honest(client: Client, task: Value, stop: Arc<AtomicBool>) -> Vec<Done> {
    let mut done = Vec::new();
    while !stop.load(Ordering::SeqCst) || done.is_empty() {
        let begun = Instant::now();
        let mut task = task.clone();
        task["input"]["text"] = format!("{} words to count\n", done.len()).into();
        let call = client.post("/v1/tasks").json(&task);
        let call = call.query("wait", 60).timeout_ms(90_000);
        let view: Value = call.send().await.unwrap().json().unwrap();
        assert_eq!(view["state"], "completed", "{view:#}");
        assert_eq!(view["result"]["status"], "ok", "{view:#}");
        done.push(Done {
            receipt: view["result"]["receipt"].as_str().unwrap().to_owned(),
            time: begun.elapsed(),
        });
    }
    done
}

/// Median, 99 of 100, and longest, for people.
pub fn times_of(done: &[Done]) -> String {
    let mut all: Vec<Duration> = done.iter().map(|one| one.time).collect();
    all.sort_unstable();
    let at = |part: usize| all[(all.len() - 1) * part / 100];
    format!(
        "{} tasks, median {:.1?}, p99 {:.1?}, longest {:.1?}",
        all.len(),
        at(50),
        at(99),
        at(100)
    )
}
