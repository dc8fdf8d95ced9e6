//! A network of processes in which work is paid: a registry that runs a checker, a coordinator and a miner,
//! all registered.

use crate::ledger::{Registry, init};
use crate::network_support::Node;
use crate::support::{Home, Said, ended};

/// The network, and what its users need of it.
pub struct Earning {
    pub registry: Registry,
    /// The coordinator's process.
    pub serving: Node,
    /// The miner's process, and where it lives.
    pub working: Node,
    pub miner: Home,
    /// The miner's node key, in a file. Bob is its operator and its only voter.
    pub miner_key: String,
    /// The coordinator's node key, in a file.
    pub coordinator_key: String,
    /// Where the coordinator listens.
    pub address: String,
    pub client: Client,
    _coordinator: Home,
}

/// A client of the coordinator.
pub struct Client {
    pub home: Home,
    pub there: String,
    token: String,
}

impl Client {
    /// A command on the coordinator. What goes to the task itself comes after it.
    pub fn adit(&self, args: &[&str], task: &[&str]) -> Said {
        let to = ["--to", &self.there, "--token-file", &self.token];
        self.home.adit(&[args, &to, task].concat())
    }

    /// Has a task of this number done, for 100 tokens. Its id.
    pub fn work(&self, number: u32) -> String {
        let guest = crate::support::guest("guest-behave.wasm");
        let guest = guest.to_str().unwrap();
        let text = number.to_string();
        let submit = [
            "--json",
            "task",
            "submit",
            guest,
            "--replicas",
            "1",
            "--price",
            "100",
            // A receipt is late after that, so here never.
            "--deadline",
            "1h",
        ];
        let ran = self.adit(&submit, &["--", "args", &text]).exits(0).json();
        assert_eq!(ran["status"], "ok");
        ran["task"].as_str().unwrap().to_owned()
    }
}

impl Earning {
    /// Starts one, with these options of `registry init`, and waits until all take part. Alice has a
    /// million tokens that are free.
    pub fn start(options: &[&str]) -> Earning {
        let home = Home::new();
        let rich = [
            "//Alice=3001000",
            "//Bob=20001",
            "//Charlie=100000",
            "//Fees=100",
        ];
        let allocations = rich.iter().flat_map(|one| ["--allocate", one]);
        let development = ["--development"].into_iter();
        let all: Vec<_> = (development.chain(options.iter().copied()))
            .chain(allocations)
            .collect();
        init(&home, &all);
        // On a port of its own, since it is started again.
        let listen = format!("127.0.0.1:{}", crate::cluster::free_port());
        let checker = [
            "--listen",
            &listen,
            "--checker",
            "checker.example/1",
            "--checker-node",
            "//Checker",
            "--checker-cosign",
            "//Checker//cosign",
            "--checker-account",
            "//Fees",
        ];
        let mut registry = Registry::run_with(home, &checker);
        let url = registry.url.clone();

        let (coordinator, miner) = (Home::new(), Home::new());
        let address = format!("127.0.0.1:{}", crate::cluster::free_port());
        let there = format!("http://{address}");
        let set_up = [
            "--json",
            "coordinator",
            "init",
            "--name",
            "c",
            "--listen",
            &address,
        ];
        let made = coordinator.adit(&set_up).exits(0).json();
        miner.adit(&["miner", "init", "--network", &url]).exits(0);
        let path = |home: &Home, path: &str| home.state().join(path).to_str().unwrap().to_owned();
        let coordinator_key = path(&coordinator, "coordinator/keys/node");
        let log = made["log"].as_str().unwrap();
        let keys = ["--node", &coordinator_key, "--log", log, "--url", &there];
        let miner_key = path(&miner, "miner/keys/node");
        register(&mut registry, &keys, &miner_key);
        let deposit = ["node", "deposit", &coordinator_key, "1000"];
        registry.json(&[&deposit[..], &["--key", "//Alice"]].concat());

        let mut serving =
            Node::start(coordinator.command(&["coordinator", "run", "--registry", &url]));
        assert_eq!(serving.line(), there);
        let working = Node::start(miner.command(&["miner", "run"]));
        let client = Home::new();
        let token = client.file("token", made["token"].as_str().unwrap());
        Earning {
            registry,
            serving,
            miner_key,
            coordinator_key,
            address,
            client: Client {
                token: token.to_str().unwrap().to_owned(),
                home: client,
                there,
            },
            working,
            miner,
            _coordinator: coordinator,
        }
    }
}

/// Registers a coordinator, a miner and the checker, and waits until all of them take part.
fn register(registry: &mut Registry, coordinator: &[&str], miner: &str) {
    let role = |name: &'static str, bond: &'static str, key: &'static str| {
        ["register", name, "--bond", bond, "--key", key]
    };
    registry.json(&["stake", "add", "2000000", "--key", "//Alice"]);
    registry.json(&[&role("coordinator", "2000000", "//Alice")[..], coordinator].concat());
    registry.json(&["stake", "add", "20000", "--key", "//Bob"]);
    registry.json(&[&role("miner", "20000", "//Bob")[..], &["--node", miner]].concat());
    registry.json(&["stake", "add", "50000", "--key", "//Charlie"]);
    // Coordinators ask it to cosign where the registry is, which runs it.
    let there = registry.url.clone();
    let checker = [
        "--node",
        "//Checker",
        "--log",
        "//Checker//cosign",
        "--name",
        "checker.example/1",
        "--url",
        &there,
    ];
    registry.json(&[&role("checker", "50000", "//Charlie")[..], &checker].concat());
    let Registry {
        home, node, url, ..
    } = registry;
    node.until("all take part", || {
        let list = ["--json", "node", "list", "--registry", url];
        let nodes = ended(home.command(&list)).exits(0).json();
        let items = nodes["items"].as_array().unwrap().clone();
        (items.len() == 3 && items.iter().all(|node| node["active"] == true)).then_some(())
    });
}
