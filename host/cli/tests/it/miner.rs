//! `adit miner`: set up, checked, run and asked, without a coordinator that could be reached.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{CoordinatorMember, Membership, MinerMember, NetworkFile};
use adit_protocol::signed::Signable as _;
use rand_core::OsRng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::Home;

const TOKEN: u128 = 1_000_000_000_000;

fn node(uri: &str) -> [u8; 32] {
    Keypair::from_uri(uri).unwrap().public().to_bytes()
}

fn engine() -> Hash {
    adit_runtime::engine_document::engine_document().hash()
}

/// A network with one coordinator, at an address where nobody listens, and the miner //Miner.
fn network(version: u64, stake: u128, engine: Hash, development: bool) -> NetworkFile {
    let authority = Keypair::from_uri("//Authority").unwrap();
    let genesis = Genesis {
        name: "test".to_owned(),
        created_ms: 1,
        authority: authority.public().to_bytes(),
        epoch_ms: 1000,
        miner_stake_min: 20_000 * TOKEN,
        coordinator_stake_min: 1,
        saturation: 10,
        development,
        ledger: None,
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    let membership = Membership {
        genesis: genesis.hash(),
        version,
        engines: vec![engine],
        coordinators: vec![CoordinatorMember {
            node: node("//Coordinator"),
            log: node("//Log"),
            account: [1; 32],
            stake: 2_000_000 * TOKEN,
            url,
            region: "here".to_owned(),
            introduction: String::new(),
        }],
        miners: vec![MinerMember {
            node: node("//Miner"),
            account: [2; 32],
            stake: stake * TOKEN,
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

struct Miner {
    home: Home,
    network: PathBuf,
}

impl Miner {
    /// A folder with a network file, and nothing set up.
    fn new(file: &NetworkFile) -> Miner {
        let home = Home::new();
        let network = home.file("network.cbor", file.to_cbor());
        Miner { home, network }
    }

    /// One that is set up with the key //Miner.
    fn ready() -> Miner {
        let miner = Miner::new(&network(1, 20_000, engine(), true));
        let key = miner.home.file("key", "//Miner\n");
        miner.init(&["--key", key.to_str().unwrap()]).exits(0);
        miner
    }

    fn init(&self, more: &[&str]) -> crate::support::Said {
        let mut args = vec!["miner", "init", "--network", self.network.to_str().unwrap()];
        args.extend(more);
        self.home.adit(&args)
    }

    fn json(&self, args: &[&str], code: i32) -> Value {
        let mut all = vec!["miner", "--json"];
        all.extend(args);
        self.home.adit(&all).exits(code).json()
    }

    fn start(&self) -> Running {
        let child = self
            .home
            .command(&["miner", "run"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Running(child);
        let begun = Instant::now();
        while self.home.adit(&["miner", "status"]).code != Some(0) {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "it does not start"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        running
    }

    /// The reason why the one coordinator has no work, once it is `code`.
    fn idle(&self, code: &str) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.json(&["explain"], 0);
            let found = status["coordinators"][0].clone();
            if found["idle"]["code"] == code {
                return found;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Killed when a test fails.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn ends(mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_miner_is_set_up_once_and_told_what_is_still_needed() {
    let miner = Miner::new(&network(1, 20_000, engine(), true));
    let said = miner.init(&[]).exits(0).text();
    // A key of its own is no member yet.
    for words in [
        "still needed",
        "adit network add-miner",
        "20,000",
        "adit miner doctor",
    ] {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    let state = miner.home.state();
    let mode = |name: &str| fs::metadata(state.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("miner/keys/node"), 0o600);
    assert_eq!(mode("miner/keys"), 0o700);
    assert_eq!(mode("miner"), 0o700);
    let unit = fs::read_to_string(state.join("miner/adit-miner.service")).unwrap();
    assert!(unit.contains("miner run --state"), "{unit}");
    let key = fs::read(state.join("miner/keys/node")).unwrap();
    miner.init(&[]).exits(1).explains(&["already"]);
    // After the configuration was moved away, the key stays.
    fs::remove_file(state.join("miner.toml")).unwrap();
    miner.init(&[]).exits(0);
    assert_eq!(fs::read(state.join("miner/keys/node")).unwrap(), key);
    fs::remove_file(state.join("miner.toml")).unwrap();
    let other = miner.home.file("key", "//Miner");
    miner
        .init(&["--key", other.to_str().unwrap()])
        .exits(1)
        .explains(&["another node key"]);
}

#[test]
fn with_its_stake_nothing_is_needed() {
    let miner = Miner::new(&network(1, 20_000, engine(), true));
    let key = miner.home.file("key", "//Miner\n");
    let said = miner.init(&["--json", "--key", key.to_str().unwrap()]);
    let said = said.exits(0).json();
    assert_eq!(said["needed"], serde_json::json!([]));
    assert_eq!(said["coordinators"], 1);
    for (stake, engine, code) in [
        (19_999, engine(), "below-minimum-stake"),
        (20_000, Hash::of(b"another"), "stale-engine"),
    ] {
        let miner = Miner::new(&network(1, stake, engine, true));
        let key = miner.home.file("key", "//Miner\n");
        let said = miner.init(&["--json", "--key", key.to_str().unwrap()]);
        assert_eq!(said.exits(0).json()["needed"][0]["code"], code);
    }
}

#[test]
fn what_cannot_be_a_network_or_a_key_changes_nothing() {
    let miner = Miner::new(&network(1, 20_000, engine(), false));
    let key = miner.home.file("key", "//Miner\n");
    miner
        .init(&["--key", key.to_str().unwrap()])
        .exits(1)
        .explains(&["development key"]);
    for bad in ["", "word word", "0x12", "{\"encoded\": \"...\"}"] {
        let key = miner.home.file("key", bad);
        let said = miner.init(&["--key", key.to_str().unwrap()]);
        said.exits(1).explains(&["first line"]);
    }
    assert!(!miner.home.state().join("miner.toml").exists());
    assert!(!miner.home.state().join("miner/keys/node").exists());
    let mut bytes = fs::read(&miner.network).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&miner.network, bytes).unwrap();
    miner.init(&[]).exits(3).explains(&["signature"]);
    let init = |network: &str| miner.home.adit(&["miner", "init", "--network", network]);
    init("http://127.0.0.1:1")
        .exits(1)
        .explains(&["cannot be reached"]);
    init("ftp://x").exits(1).explains(&["https://host:port"]);
    init("nowhere.cbor").exits(1).explains(&["nowhere.cbor"]);
    assert!(!miner.home.state().join("miner.toml").exists());
}

#[test]
fn the_doctor_names_each_fault_with_a_fix() {
    let miner = Miner::ready();
    let checks = miner.json(&["doctor"], 0);
    let find = |checks: &Value, name: &str| {
        let all = checks["checks"].as_array().unwrap().clone();
        let found = all.into_iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("{name} in {checks}"))
    };
    for name in [
        "configuration",
        "key",
        "network",
        "membership",
        "disk",
        "sandbox",
        "device",
    ] {
        let check = find(&checks, name);
        assert_eq!(check["verdict"], "good", "{check}");
    }
    assert_eq!(find(&checks, "journal")["verdict"], "note");

    let state = miner.home.state();
    fs::set_permissions(
        state.join("miner/keys/node"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let config = fs::read_to_string(state.join("miner.toml")).unwrap();
    let config = format!("cache-size = \"900TiB\"\n{config}");
    fs::write(state.join("miner.toml"), config).unwrap();
    fs::write(&miner.network, b"garbage").unwrap();
    let checks = miner.json(&["doctor", "--quick"], 1);
    for name in ["key", "disk", "network"] {
        let check = find(&checks, name);
        assert_eq!(check["verdict"], "bad", "{check}");
        assert!(
            check["fix"].as_str().is_some_and(|fix| fix.len() > 10),
            "{check}"
        );
    }
    fs::write(
        state.join("miner.toml"),
        "network = 'x'\n\nqueue-depth = 'many'\n",
    )
    .unwrap();
    let said = miner.home.adit(&["miner", "doctor"]);
    said.exits(1).explains(&["line 3", "queue-depth"]);
}

#[test]
fn a_miner_without_a_coordinator_says_so_and_ends_when_told() {
    let miner = Miner::ready();
    let refused = miner.home.adit(&["miner", "status"]);
    refused.exits(1).explains(&["no miner runs"]);
    let running = miner.start();
    let idle = miner.idle("unreachable");
    assert!(idle["explanation"].as_str().unwrap().len() > 50, "{idle}");
    let status = miner.json(&["status"], 0);
    assert_eq!(status["mode"], "working");
    assert_eq!(status["stake"], (20_000 * TOKEN).to_string());
    let text = miner.home.adit(&["miner", "status"]).exits(0).text();
    assert!(
        text.contains("stake 20,000") && text.contains("unreachable"),
        "{text}"
    );
    // A second one in the same folder would sign two histories.
    let second = miner.home.adit(&["miner", "run"]);
    second.exits(1).explains(&["in use by another process"]);

    assert_eq!(miner.json(&["pause", "cpu"], 0)["paused"], true);
    assert_eq!(miner.json(&["status"], 0)["devices"][0]["paused"], true);
    let wrong = miner.home.adit(&["miner", "pause", "gpu7"]);
    wrong.exits(1).explains(&["the devices are: cpu"]);
    assert_eq!(miner.json(&["resume"], 0)["paused"], false);
    let doctor = miner.json(&["doctor", "--quick"], 1);
    let checks = doctor["checks"].as_array().unwrap();
    let running_check = checks
        .iter()
        .find(|check| check["name"] == "running")
        .unwrap();
    assert!(
        running_check["what"]
            .as_str()
            .unwrap()
            .contains("unreachable")
    );

    running.signal(Signal::TERM);
    assert_eq!(running.ends(), Some(0));
    let refused = miner.home.adit(&["miner", "explain"]);
    refused.exits(1).explains(&["no miner runs"]);

    // It starts again, and drains.
    let running = miner.start();
    assert_eq!(miner.json(&["drain"], 0)["ended"], true);
    assert_eq!(running.ends(), Some(0));
}
