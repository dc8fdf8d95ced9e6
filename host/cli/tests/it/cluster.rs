//! A network of processes that tests kill: a coordinator at an address that stays, miners, and a
//! witness if one is wanted, each with a state folder of its own below one folder.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use adit_net::http::client::{Client, ClientConfig, Retry};
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::PublicKey;
use adit_protocol::log::key::NoteKey;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::membership::NetworkFile;
use serde_json::Value;
use url::Url;

use crate::network_support::Node;
use crate::support::{Said, ended, program};

/// What a process of the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Coordinator,
    Miner(usize),
    Witness,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Role::Coordinator => f.write_str("coordinator"),
            Role::Miner(number) => write!(f, "miner-{number}"),
            Role::Witness => f.write_str("witness"),
        }
    }
}

/// A network that is set up, none of whose processes runs yet.
pub struct Cluster {
    folder: Option<tempfile::TempDir>,
    /// Where the coordinator is whenever it runs.
    pub url: String,
    /// The token of its client.
    pub token: String,
    /// How many miners there are.
    pub miners: usize,
    coordinator: String,
    log: String,
    witness: String,
}

impl Drop for Cluster {
    /// What a failure has left is kept.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("the folder is kept: {}", folder.keep().display());
        }
    }
}

impl Cluster {
    /// Sets a network up by the commands of its operators.
    pub fn new(miners: usize, witness: bool) -> Cluster {
        let folder = tempfile::Builder::new().prefix("adit-cluster-").tempdir();
        let mut cluster = Cluster {
            folder: Some(folder.unwrap()),
            url: format!("http://127.0.0.1:{}", free_port()),
            token: String::new(),
            miners,
            coordinator: String::new(),
            log: String::new(),
            witness: format!("127.0.0.1:{}", free_port()),
        };
        let new = ["network", "new", "net", "--name", "test", "--development"];
        cluster.authority(&new, &[]);
        let listen = cluster.url.trim_start_matches("http://").to_owned();
        let init = ["coordinator", "init", "--name", "mine", "--listen", &listen];
        let made = cluster.json(Role::Coordinator, &init);
        let text = |made: &Value, name: &str| made[name].as_str().unwrap().to_owned();
        cluster.token = text(&made, "token");
        cluster.coordinator = text(&made, "node");
        cluster.log = text(&made, "log");
        let add = ["network", "add-coordinator", "net", "--stake", "2000000"];
        let keys = ["--node", &cluster.coordinator, "--log", &cluster.log];
        cluster.authority(&add, &[&keys[..], &["--url", &cluster.url]].concat());
        if witness {
            let key = ["log", "witness", "key", "--name", "test.example/witness"];
            let key = cluster.adit(Role::Witness, &key).exits(0).text();
            let url = format!("http://{}", cluster.witness);
            let add = ["network", "add-witness", "net", "--vkey", key.trim()];
            cluster.authority(&add, &["--url", &url]);
        }
        for number in 0..miners {
            let init = ["miner", "init", "--network", "net"];
            let made = cluster.json(Role::Miner(number), &init);
            let add = ["network", "add-miner", "net", "--stake", "20000"];
            cluster.authority(&add, &["--node", &text(&made, "node")]);
        }
        cluster
    }

    fn authority(&self, command: &[&str], more: &[&str]) {
        let key = ["--authority", "//Alice"];
        let all = [command, more, &key[..]].concat();
        ended(self.command_in("authority", &all)).exits(0);
    }

    /// The folder of the whole network.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// The state folder of a role.
    pub fn state(&self, role: Role) -> PathBuf {
        self.folder().join(role.to_string())
    }

    /// The folder of the coordinator's database and log.
    pub fn data(&self) -> PathBuf {
        self.state(Role::Coordinator).join("coordinator/data")
    }

    fn command_in(&self, state: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        self.settle(&mut command);
        command.arg("--state").arg(self.folder().join(state));
        command.args(args);
        command
    }

    /// Gives a command the surroundings of all of them.
    fn settle(&self, command: &mut Command) {
        command
            .current_dir(self.folder())
            .env("XDG_DATA_HOME", self.folder())
            .env_remove("ADIT_COORDINATOR")
            .env_remove("ADIT_TOKEN")
            .stdin(std::process::Stdio::null());
    }

    /// A command on the state folder of a role, not yet started.
    pub fn command(&self, role: Role, args: &[&str]) -> Command {
        self.command_in(&role.to_string(), args)
    }

    /// A command on the state folder of a role, to its end.
    pub fn adit(&self, role: Role, args: &[&str]) -> Said {
        ended(self.command(role, args))
    }

    fn json(&self, role: Role, args: &[&str]) -> Value {
        let said = self.adit(role, &[&["--json"], args].concat());
        said.exits(0).json()
    }

    /// What a role's process is started with.
    pub fn run_args(&self, role: Role) -> Vec<String> {
        let net = self.folder().join("net").to_str().unwrap().to_owned();
        let name = "test.example/witness";
        let args: &[&str] = match role {
            Role::Coordinator => &["coordinator", "run", "--drain", "20s", "--network", &net],
            Role::Miner(_) => &["miner", "run"],
            Role::Witness => &["log", "witness", "run", "--name", name, "--network", &net],
        };
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        if role == Role::Witness {
            args.extend(["--listen".to_owned(), self.witness.clone()]);
        }
        args
    }

    /// Starts the process of a role. It need not be ready when this returns.
    pub fn start(&self, role: Role) -> Node {
        let args = self.run_args(role);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Node::start(self.command(role, &args))
    }

    /// Starts the process of a role below another program, as a tracer.
    pub fn start_below(&self, mut tracer: Command, role: Role) -> Node {
        self.settle(&mut tracer);
        tracer.arg(program()).arg("--state").arg(self.state(role));
        tracer.args(self.run_args(role));
        Node::start(tracer)
    }

    /// Checks the coordinator's log at rest.
    #[track_caller]
    pub fn fsck(&self) -> Value {
        let fsck = ["--json", "log", "fsck", "--network", "net"];
        self.adit(Role::Coordinator, &fsck).exits(0).json()
    }

    /// A client of the coordinator that tries everything once.
    pub fn client(&self) -> Client {
        let config = ClientConfig {
            token: Some(self.token.clone()),
            retry: Retry::NEVER,
            ..ClientConfig::new(Url::parse(&self.url).unwrap())
        };
        Client::new(config).unwrap()
    }

    /// The network file.
    pub fn network(&self) -> NetworkFile {
        let bytes = std::fs::read(self.folder().join("net")).unwrap();
        NetworkFile::from_cbor(&bytes).unwrap()
    }

    /// The key of the coordinator's log.
    pub fn log_key(&self) -> NoteKey {
        let genesis = self.network().genesis.hash();
        let key = |text: &str| PublicKey::from_bytes(&unhex(text)).unwrap();
        Origin::new(&genesis, &key(&self.coordinator)).key(&key(&self.log))
    }

    /// The journal of a miner.
    pub fn journal(&self, miner: usize) -> PathBuf {
        self.state(Role::Miner(miner)).join("miner/journal.db")
    }
}

/// 32 bytes of `0x` and digits.
pub fn unhex(text: &str) -> [u8; 32] {
    let digits = text.strip_prefix("0x").unwrap();
    let bytes: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    bytes.try_into().unwrap()
}

/// A port that is free now, and that the system gives to nobody by itself: below those from which
/// connections begin, so that it is free again whenever its process is dead.
pub fn free_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let begun = Instant::now();
    let first = std::process::id() as u16;
    loop {
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let port = 15_000 + first.wrapping_mul(31).wrapping_add(next) % 15_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no port is free");
    }
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
    {
        let children = task.map(|task| std::fs::read_to_string(task.path().join("children")));
        if let Ok(Ok(children)) = children {
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    all
}

/// A number that the caller of the tests asks for in the environment.
pub fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Numbers that a seed reproduces (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to and without `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True in one of so many cases.
    pub fn one_in(&mut self, cases: u64) -> bool {
        self.below(cases) == 0
    }

    pub fn ms_below(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}
