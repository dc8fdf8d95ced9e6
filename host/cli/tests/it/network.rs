//! A network of separate processes over TLS: a coordinator with a certificate of its own, miners, and
//! a client, each with a state folder of its own, set up by the commands that their operators type.

use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::network_support::Node;
use crate::support::{Home, guest};

/// A coordinator that runs, its operator's home, and the authority's network file.
struct Coordinator {
    home: Home,
    node: Node,
    made: Value,
    url: String,
}

impl Coordinator {
    fn start() -> Coordinator {
        let home = Home::new();
        let new = [
            "network",
            "new",
            "net",
            "--name",
            "test",
            "--development",
            "--authority",
        ];
        home.adit(&[&new[..], &["//Alice"]].concat()).exits(0);
        let init = [
            "--json",
            "coordinator",
            "init",
            "--name",
            "mine",
            "--tls-self-signed",
        ];
        let made = home.adit(&[&init[..], &["--listen", "127.0.0.1:0"]].concat());
        let made = made.exits(0).json();
        // Where it listens is known only when it does.
        register(&home, &made, "https://127.0.0.1:1");
        std::fs::copy(home.path("net"), home.state().join("coordinator/network")).unwrap();
        let mut node = Node::start(home.command(&["coordinator", "run"]));
        let url = node.line();
        assert!(url.starts_with("https://127.0.0.1:"), "{url}");
        let coordinator = Coordinator {
            home,
            node,
            made,
            url,
        };
        register(&coordinator.home, &coordinator.made, &coordinator.url);
        coordinator.hand_out();
        coordinator
    }

    /// Gives the coordinator the newest network file, as its operator does.
    fn hand_out(&self) {
        let path = self.home.state().join("coordinator/network");
        let new = path.with_extension("new");
        std::fs::copy(self.home.path("net"), &new).unwrap();
        std::fs::rename(new, path).unwrap();
        let pid = Pid::from_raw(i32::try_from(self.node.id()).unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }

    fn certificate(&self) -> PathBuf {
        let path = self.home.state().join("coordinator/tls/tls-cert.pem");
        assert!(path.is_file(), "{}", path.display());
        path
    }

    /// Sets up a miner, registers it, and starts it.
    fn miner(&self) -> (Home, Node) {
        let home = Home::new();
        let certificate = self.certificate();
        let certificate = certificate.to_str().unwrap();
        let init = ["--json", "miner", "init", "--network", &self.url];
        // Without the certificate's authority nobody can know that it is this coordinator.
        home.adit(&init[1..]).exits(1).explains(&["certificate"]);
        let made = home.adit(&[&init[..], &["--ca", certificate]].concat());
        let made = made.exits(0).json();
        let node = made["node"].as_str().unwrap();
        let add = [
            "network",
            "add-miner",
            "net",
            "--stake",
            "20000",
            "--authority",
            "//Alice",
        ];
        self.home
            .adit(&[&add[..], &["--node", node]].concat())
            .exits(0);
        self.hand_out();
        let running = Node::start(home.command(&["miner", "run"]));
        (home, running)
    }
}

fn register(home: &Home, made: &Value, url: &str) {
    home.adit(&[
        "network",
        "add-coordinator",
        "net",
        "--node",
        made["node"].as_str().unwrap(),
        "--log",
        made["log"].as_str().unwrap(),
        "--stake",
        "2000000",
        "--url",
        url,
        "--authority",
        "//Alice",
    ])
    .exits(0);
}

#[test]
fn processes_of_different_operators_make_a_network_over_tls() {
    let coordinator = Coordinator::start();
    let miners = [coordinator.miner(), coordinator.miner()];
    let client = Home::new();
    let token = client.file("token", coordinator.made["token"].as_str().unwrap());
    let network = coordinator.home.path("net");
    let certificate = coordinator.certificate();
    let to = [
        "--to",
        &coordinator.url,
        "--token-file",
        token.to_str().unwrap(),
        "--ca",
        certificate.to_str().unwrap(),
        "--network",
        network.to_str().unwrap(),
    ];
    // The client's own words decide where it goes, and it believes no certificate.
    let component = guest("guest-behave.wasm");
    // Two, also as long as only one of the miners is a candidate.
    let component = component.to_str().unwrap();
    let submit = ["task", "submit", component, "--queue", "--replicas", "2"];
    let args = ["--", "args", "over-tls"];
    client
        .adit(&[&submit[..], &to[..4], &args].concat())
        .exits(1)
        .explains(&["certificate"]);

    let said = client.adit(&[&submit[..], &to, &args].concat()).exits(0);
    assert!(said.text().contains("over-tls"), "{}", said.text());
    assert!(said.stderr.contains("2 miners agree"), "{}", said.stderr);
    let explain = [&["task", "explain", "last", "--verify"][..], &to].concat();
    client.adit(&explain).exits(0);

    // Another network of the same name is another one.
    let other = Home::new();
    let new = [
        "network",
        "new",
        "net",
        "--name",
        "test",
        "--development",
        "--authority",
    ];
    other.adit(&[&new[..], &["//Alice"]].concat()).exits(0);
    let other = other.path("net");
    let pinned = [&to[..6], &["--network", other.to_str().unwrap()]].concat();
    client
        .adit(&[&submit[..], &pinned, &args].concat())
        .exits(3)
        .explains(&["another network"]);

    // What its operator asks the miner, and what that answers.
    let status = miners[0]
        .0
        .adit(&["--json", "miner", "status"])
        .exits(0)
        .json();
    assert_eq!(status["coordinators"][0]["url"], coordinator.url.as_str());

    for (_, miner) in miners {
        assert_eq!(miner.end(), Some(0));
    }
    assert_eq!(coordinator.node.end(), Some(0));
}
