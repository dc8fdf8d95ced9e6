//! `adit network` and `adit coordinator`: from nothing to a network whose coordinator answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Stdio};

use adit_protocol::cbor::Document as _;
use adit_protocol::network::membership::NetworkFile;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::Home;

/// A network for development with its authority's key //Alice.
fn network(home: &Home) -> Value {
    let args = [
        "--json",
        "network",
        "new",
        "net",
        "--name",
        "test",
        "--development",
        "--authority",
        "//Alice",
    ];
    home.adit(&args).exits(0).json()
}

#[test]
fn a_network_file_is_made_edited_and_signed() {
    let home = Home::new();
    let made = network(&home);
    let show = || home.adit(&["--json", "network", "show", "net"]);
    let shown = show().exits(0).json();
    assert_eq!(shown["network"], made["network"]);
    assert_eq!(shown["membership"]["version"], 1);
    assert_eq!(shown["signed"], true);
    home.adit(&[
        "network",
        "new",
        "net",
        "--name",
        "x",
        "--authority",
        "//Alice",
    ])
    .exits(1)
    .explains(&["exists already"]);

    let add = [
        "network",
        "add-miner",
        "net",
        "--node",
        "//Bob",
        "--stake",
        "20000",
    ];
    home.adit(&[&add[..], &["--authority", "//Alice"]].concat())
        .exits(0);
    let shown = show().exits(0).json();
    assert_eq!(shown["membership"]["version"], 2);
    assert_eq!(
        shown["membership"]["miners"][0]["stake"],
        "20000000000000000"
    );

    // Without the authority's key it is a draft, which no node takes.
    let add = [
        "network",
        "add-miner",
        "net",
        "--node",
        "//Charlie",
        "--stake",
        "0.5",
    ];
    let said = home.adit(&add).exits(0);
    assert!(said.text().contains("NOT SIGNED"), "{}", said.text());
    assert!(said.stderr.contains("below"), "{}", said.stderr);
    let shown = show().exits(3).json();
    assert_eq!(
        (&shown["signed"], &shown["membership"]["version"]),
        (&Value::Bool(false), &3.into())
    );
    home.adit(&["network", "sign", "net", "--authority", "//Bob"])
        .exits(1)
        .explains(&["not that of the authority"]);
    home.adit(&["network", "sign", "net", "--authority", "//Alice"])
        .exits(0);
    let bytes = std::fs::read(home.path("net")).unwrap();
    let members = NetworkFile::from_cbor(&bytes).unwrap().verify().unwrap();
    assert_eq!((members.version, members.miners.len()), (3, 2));

    let remove = [
        "network",
        "remove",
        "net",
        "--node",
        "//Bob",
        "--authority",
        "//Alice",
    ];
    home.adit(&remove).exits(0);
    home.adit(&remove)
        .exits(1)
        .explains(&["nothing was removed"]);
    assert_eq!(show().exits(0).json()["membership"]["version"], 4);
}

#[test]
fn development_keys_are_refused_where_there_is_value() {
    let home = Home::new();
    let new = ["network", "new", "net", "--name", "x", "--authority"];
    home.adit(&[&new[..], &["//Alice"]].concat())
        .exits(1)
        .explains(&["development key"]);
    home.adit(&[&new[..], &["local"]].concat()).exits(0);
    for (command, more) in [
        ("add-miner", &[][..]),
        (
            "add-coordinator",
            &["--log", "local", "--url", "https://a.test"],
        ),
    ] {
        for key in [
            "//Bob",
            "0x8eaf04151687736326c9fea17e25fc5287613693c912909cb226aa4794f26a48",
        ] {
            let args = ["network", command, "net", "--node", key, "--stake", "1"];
            home.adit(&[&args[..], more].concat())
                .exits(1)
                .explains(&["development key"]);
        }
    }
}

#[test]
fn what_is_no_network_file_is_refused() {
    let home = Home::new();
    home.file("garbage", b"garbage");
    home.adit(&["network", "show", "garbage"])
        .exits(3)
        .explains(&["no network file"]);
    network(&home);
    for url in [
        "ftp://a.test",
        "https://",
        "https://a.test/path",
        "https://u:p@a.test",
        "a.test",
    ] {
        let args = [
            "network",
            "add-coordinator",
            "net",
            "--node",
            "//Bob",
            "--log",
            "//Eve",
            "--stake",
            "1",
            "--url",
            url,
        ];
        home.adit(&args)
            .exits(1)
            .explains(&["address cannot be used"]);
    }
    // The log key signs checkpoints and nothing else.
    let args = [
        "network",
        "add-coordinator",
        "net",
        "--node",
        "//Bob",
        "--log",
        "//Bob",
        "--stake",
        "1",
        "--url",
        "https://a.test",
    ];
    home.adit(&args).exits(1).explains(&["log key"]);
}

/// Sets a coordinator up and registers it. The answer of `init`.
fn coordinator(home: &Home) -> Value {
    network(home);
    let init = [
        "--json",
        "coordinator",
        "init",
        "--name",
        "mine",
        "--listen",
        "127.0.0.1:0",
    ];
    let made = home.adit(&init).exits(0).json();
    let node = made["node"].as_str().unwrap();
    let log = made["log"].as_str().unwrap();
    let args = [
        "network",
        "add-coordinator",
        "net",
        "--node",
        node,
        "--log",
        log,
        "--stake",
        "2000000",
        "--url",
        "http://127.0.0.1:7470",
        "--authority",
        "//Alice",
    ];
    home.adit(&args).exits(0);
    std::fs::copy(home.path("net"), home.state().join("coordinator/network")).unwrap();
    made
}

/// A coordinator that runs, and its address. Ended when it is dropped.
struct Running(Child, SocketAddr);

impl Running {
    fn start(home: &Home) -> Running {
        let mut child = home
            .command(&["coordinator", "run"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let Some(address) = line
            .trim()
            .strip_prefix("http://")
            .map(|a| a.parse().unwrap())
        else {
            let mut stderr = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut stderr)
                .unwrap();
            panic!("it did not start: {stderr}");
        };
        Running(child, address)
    }

    /// The status line and the body of an answer.
    fn get(&self, path: &str, token: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.1).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n",
            self.1
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_coordinator_is_set_up_runs_and_ends_in_order() {
    let home = Home::new();
    let made = coordinator(&home);
    for name in ["keys/node", "keys/log", "tokens.toml"] {
        let about = std::fs::metadata(home.state().join("coordinator").join(name)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600, "{name}");
    }
    home.adit(&["coordinator", "init", "--name", "again"])
        .exits(1)
        .explains(&["already"]);
    let token = made["token"].as_str().unwrap();
    let mut running = Running::start(&home);
    let (status, body) = running.get("/v1/tasks", "");
    assert!(
        status.contains("401"),
        "an empty token is none: {status} {body}"
    );
    let (status, body) = running.get("/v1/tasks", token);
    assert!(
        status.contains("200") && body.contains("\"items\":[]"),
        "{status} {body}"
    );
    // A second one on the same folder.
    home.adit(&["coordinator", "run"])
        .exits(1)
        .explains(&["in use"]);
    // A signal that means: read the files again.
    running.signal(Signal::HUP);
    let added = home
        .adit(&["coordinator", "token", "add", "second"])
        .exits(0)
        .text();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(running.get("/v1/tasks", added.trim()).0.contains("200"));
    home.adit(&["coordinator", "token", "add", "second"])
        .exits(1)
        .explains(&["already"]);
    let list = home
        .adit(&["--json", "coordinator", "token", "list"])
        .exits(0)
        .json();
    assert_eq!(list["clients"].as_array().unwrap().len(), 2);
    home.adit(&["coordinator", "token", "remove", "second"])
        .exits(0);
    home.adit(&["coordinator", "token", "remove", "second"])
        .exits(1)
        .explains(&["no token"]);

    running.signal(Signal::TERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    // It starts again on what it left.
    let running = Running::start(&home);
    assert!(running.get("/readyz", token).0.contains("200"));
}

#[test]
fn a_coordinator_that_cannot_run_says_why() {
    let home = Home::new();
    home.adit(&["coordinator", "run"])
        .exits(1)
        .explains(&["coordinator init"]);
    home.adit(&["coordinator", "token", "list"])
        .exits(1)
        .explains(&["coordinator init"]);
    home.adit(&[
        "coordinator",
        "init",
        "--name",
        "x",
        "--listen",
        "0.0.0.0:0",
    ])
    .exits(1)
    .explains(&["without TLS", "--tls-self-signed"]);
    home.adit(&[
        "coordinator",
        "init",
        "--name",
        "x",
        "--listen",
        "127.0.0.1:0",
    ])
    .exits(0);
    home.adit(&["coordinator", "run"])
        .exits(1)
        .explains(&["no network file"]);
    network(&home);
    let place = home.state().join("coordinator/network");
    std::fs::copy(home.path("net"), &place).unwrap();
    home.adit(&["coordinator", "run"])
        .exits(1)
        .explains(&["is not that of a coordinator"]);
    std::fs::write(&place, b"garbage").unwrap();
    home.adit(&["coordinator", "run"])
        .exits(3)
        .explains(&["network file"]);
    std::fs::copy(home.path("net"), &place).unwrap();
    let key = home.state().join("coordinator/keys/node");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    home.adit(&["coordinator", "run"])
        .exits(1)
        .explains(&["others may read it"]);
}
