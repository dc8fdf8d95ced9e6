//! The registry as stakers, operators and strangers meet it: tokens, stake, votes, registrations, and
//! a ledger that anyone recomputes from its log.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::network_support::{Dev, Node};
use crate::support::{Home, Said, ended};

/// An amount in JSON, in whole tokens.
fn tokens(value: &Value) -> u64 {
    u64::try_from(units(value) / 10u128.pow(12)).unwrap()
}

/// An amount in JSON, in 10^-12 token.
pub fn units(value: &Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn a_staker_on_a_development_network() {
    let dev = Dev::start(&["--miners", "1"]);
    let json = |args: &[&str]| dev.adit(&[&["--json"], args].concat()).exits(0).json();
    let account = || json(&["account", "show", "local"]);
    let nodes = json(&["node", "list", "--role", "miner"]);
    let node = nodes["items"][0]["address"].as_str().unwrap().to_owned();
    assert_eq!(nodes["items"][0]["active"], true);

    // Nothing yet: the faucet costs nothing, everything else a fee.
    dev.adit(&["stake", "add", "1", "--key", "local"])
        .exits(1)
        .explains(&["insufficient-funds", "there are 0 tokens free"]);
    let given = dev
        .adit(&["faucet", "1000", "--key", "local"])
        .exits(0)
        .text();
    assert!(given.contains("minted"), "{given}");
    // What would be sent is shown, and nothing is.
    let dry = dev.adit(&["stake", "add", "900", "--key", "local", "--dry-run"]);
    let dry = dry.exits(0).text();
    assert!(dry.contains("\naction: stake\namount: 900"), "{dry}");
    assert_eq!(tokens(&account()["free"]), 1000);

    let staked = json(&["stake", "add", "900", "--key", "local"]);
    assert_eq!(staked["events"][1]["event"], "staked");
    json(&["stake", "vote", &node, "800", "--key", "local"]);
    let shown = json(&["node", "show", &node]);
    assert_eq!(tokens(&shown["stake"]), 20_800);
    dev.adit(&["stake", "remove", "801", "--from", &node, "--key", "local"])
        .exits(1)
        .explains(&["insufficient-funds", "in votes for the node"]);
    json(&["stake", "remove", "300", "--from", &node, "--key", "local"]);
    json(&["stake", "unvote", &node, "500", "--key", "local"]);
    let now = account();
    assert_eq!(tokens(&now["stake"]), 100);
    assert_eq!(now["voted"].as_array().unwrap().len(), 0);
    let unbonding = now["unbonding"].as_array().unwrap();
    assert_eq!(unbonding.len(), 2);
    for part in unbonding {
        let epochs = part["until_epoch"].as_u64().unwrap() - now["epoch"].as_u64().unwrap();
        // Two whole ones, and the rest of the one in which it began, or a little more.
        assert!((2..=3).contains(&epochs), "{part}");
    }
    let history = dev.adit(&["account", "history", "local"]).exits(0).text();
    assert_eq!(history.lines().count(), 5, "{history}");

    // A stranger, with nothing but the log.
    let replayed = json(&["registry", "replay"]);
    assert_eq!(replayed["ok"], true);
    assert!(
        replayed["transactions"].as_u64().unwrap() >= 5 + 4,
        "{replayed}"
    );
    let shown = dev.adit(&["registry", "show"]).exits(0).text();
    assert!(shown.contains("unbonding     2 whole epochs"), "{shown}");
    assert_eq!(dev.node.end(), Some(0));
}

/// A registry of a network of its own.
pub struct Registry {
    pub home: Home,
    pub node: Node,
    pub url: String,
    options: Vec<String>,
}

pub fn init(home: &Home, options: &[&str]) -> Value {
    let args = ["--json", "registry", "init", "--name", "test"];
    let epoch: &[&str] = match options.contains(&"--epoch") {
        true => &[],
        false => &["--epoch", "1s"],
    };
    let args = [&args[..], epoch, options].concat();
    home.adit(&args).exits(0).json()
}

impl Registry {
    pub fn run(home: Home) -> Registry {
        Registry::run_with(home, &["--listen", "127.0.0.1:0"])
    }

    pub fn run_with(home: Home, options: &[&str]) -> Registry {
        let mut command: Command = home.command(&[&["registry", "run"], options].concat());
        command.env_remove("ADIT_REGISTRY");
        let mut node = Node::start(command);
        let url = node.line();
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Registry {
            home,
            node,
            url,
            options,
        }
    }

    pub fn adit(&self, args: &[&str]) -> Said {
        let args = [args, &["--registry", &self.url]].concat();
        ended(self.home.command(&args))
    }

    pub fn json(&self, args: &[&str]) -> Value {
        self.adit(&[&["--json"], args].concat()).exits(0).json()
    }

    /// Killed as by a power cut, and started again.
    pub fn again(self) -> Registry {
        let Registry {
            home,
            node,
            options,
            ..
        } = self;
        node.kill();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Registry::run_with(home, &options)
    }
}

#[test]
fn a_registry_loses_nothing_when_it_is_killed() {
    let home = Home::new();
    let made = init(
        &home,
        &[
            "--development",
            "--unbonding",
            "1",
            "--allocate",
            "//Alice=3000000",
        ],
    );
    home.adit(&["registry", "init", "--name", "x"])
        .exits(1)
        .explains(&["there is a registry in"]);
    let registry = Registry::run(home);
    registry.json(&["stake", "add", "100000", "--key", "//Alice"]);
    let node = [
        "--node",
        "//Miner//0",
        "--bond",
        "20000",
        "--key",
        "//Alice",
    ];
    registry.json(&[&["register", "miner"], &node[..]].concat());
    registry.json(&["account", "send", "//Bob", "5", "--key", "//Alice"]);
    let registry = registry.again();
    let account = registry.json(&["account", "show", "//Alice"]);
    assert_eq!(account["number"], 3);
    // An epoch is a second: the node takes part, and stake that is taken back comes.
    let shown = registry.json(&["node", "show", "//Miner//0"]);
    assert_eq!(shown["role"], "miner");
    let mut registry = registry;
    let url = registry.url.clone();
    let home = &registry.home;
    let ask = |args: &[&str]| {
        let args = [&["--json"], args, &["--registry", &url]].concat();
        ended(home.command(&args)).exits(0).json()
    };
    registry.node.until("the miner takes part", || {
        (ask(&["node", "show", "//Miner//0"])["active"] == true).then_some(())
    });
    ask(&["stake", "remove", "80000", "--key", "//Alice"]);
    registry.node.until("the stake is free", || {
        let account = ask(&["account", "show", "//Alice"]);
        let unbonding = account["unbonding"].as_array().unwrap();
        unbonding
            .is_empty()
            .then(|| assert_eq!(tokens(&account["stake"]), 0))
    });
    let replayed = ask(&["registry", "replay"]);
    assert_eq!(replayed["network"], made["network"]);
    assert!(replayed["roots"].as_u64().unwrap() >= 2, "{replayed}");

    // A running one is left alone; at rest it is checked whole.
    registry
        .home
        .adit(&["registry", "fsck"])
        .exits(6)
        .explains(&["was not checked", "in use by another process"]);
    let Registry { home, node, .. } = registry;
    node.kill();
    let sound = home.adit(&["registry", "fsck"]).exits(0).text();
    assert!(
        sound.contains("every root is the one that it leads to"),
        "{sound}"
    );
    let sound = home.adit(&["--json", "registry", "fsck"]).exits(0).json();
    // A flipped bit of an entry is found, also by a start.
    let data = home.state().join("registry/data");
    // Outdated files of fewer entries are looked at by nobody, and so is one of more, which was written
    // and not signed yet when the registry was killed.
    let path = data.join(format!("log/tile/entries/000.p/{}", sound["entries"]));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    home.adit(&["registry", "fsck"]).exits(4);
    home.adit(&["registry", "run", "--listen", "127.0.0.1:0"])
        .exits(4);
}

#[test]
fn where_tokens_have_a_value_development_keys_are_refused_and_one_is_asked() {
    let home = Home::new();
    home.adit(&["registry", "init", "--name", "x", "--allocate", "//Alice=1"])
        .exits(1)
        .explains(&["development key"]);
    let key = home
        .adit(&["--json", "key", "show", "local"])
        .exits(0)
        .json();
    let address = key["address"].as_str().unwrap();
    init(&home, &["--allocate", &format!("{address}=50000")]);
    let registry = Registry::run(home);
    registry
        .adit(&["stake", "add", "1", "--key", "//Alice"])
        .exits(1)
        .explains(&["development key"]);
    registry
        .adit(&["stake", "vote", "//Miner//0", "1", "--key", "local"])
        .exits(1)
        .explains(&["development key"]);
    registry
        .adit(&["stake", "add", "1", "--key", "local"])
        .exits(1)
        .explains(&["nobody can be asked", "--yes"]);
    registry
        .adit(&["faucet", "1", "--key", "local", "--yes"])
        .exits(1)
        .explains(&["quota-exceeded"]);
    registry.json(&["stake", "add", "40000", "--key", "local", "--yes"]);
    let account = registry.json(&["account", "show", "local"]);
    assert_eq!(tokens(&account["stake"]), 40_000);
    // The registry of another network than the file says.
    let other = Home::new();
    init(&other, &["--development"]);
    let other = Registry::run(other);
    other.adit(&["registry", "show"]).exits(0);
    let network = registry.home.state().join("registry/network");
    other
        .adit(&["registry", "show", "--network", network.to_str().unwrap()])
        .exits(3)
        .explains(&["another network"]);
}

#[test]
fn a_networks_members_come_from_its_registry() {
    let home = Home::new();
    init(
        &home,
        &[
            "--development",
            "--allocate",
            "//Alice=3000000",
            "--allocate",
            "//Bob=100000",
        ],
    );
    let mut registry = Registry::run(home);
    let url = registry.url.clone();
    // Nodes on other machines: each has a state folder of its own.
    let (coordinator, miner) = (Home::new(), Home::new());
    let address = format!("127.0.0.1:{}", crate::cluster::free_port());
    let init = [
        "--json",
        "coordinator",
        "init",
        "--name",
        "c",
        "--listen",
        &address,
    ];
    let made = coordinator.adit(&init).exits(0).json();
    let run = ["coordinator", "run", "--registry", &url];
    coordinator
        .adit(&run)
        .exits(1)
        .explains(&["not that of a coordinator of the network", "adit register"]);

    let node_key = |home: &Home, path: &str| home.state().join(path).to_str().unwrap().to_owned();
    registry.json(&["stake", "add", "2500000", "--key", "//Alice"]);
    let node = node_key(&coordinator, "coordinator/keys/node");
    let there = format!("http://{address}");
    let log = made["log"].as_str().unwrap();
    let keys = ["--node", &node, "--log", log, "--url", &there];
    let register = [
        "register",
        "coordinator",
        "--bond",
        "2000000",
        "--key",
        "//Alice",
    ];
    registry.json(&[&register[..], &keys].concat());
    let set_up = miner.adit(&["miner", "init", "--network", &url]).exits(0);
    let said = set_up.text() + &set_up.stderr;
    assert!(said.contains("adit register miner"), "{said}");
    registry.json(&["stake", "add", "50000", "--key", "//Bob"]);
    let node = node_key(&miner, "miner/keys/node");
    let register = ["register", "miner", "--bond", "20000", "--key", "//Bob"];
    registry.json(&[&register[..], &["--node", &node]].concat());
    let home = &registry.home;
    registry.node.until("both take part", || {
        let list = ["--json", "node", "list", "--registry", &url];
        let nodes = ended(home.command(&list)).exits(0).json();
        let items = nodes["items"].as_array().unwrap().clone();
        (items.len() == 2 && items.iter().all(|node| node["active"] == true)).then_some(())
    });

    let mut serving = Node::start(coordinator.command(&run));
    assert_eq!(serving.line(), there);
    let _working = Node::start(miner.command(&["miner", "run"]));
    let client = Home::new();
    let token = client.file("token", made["token"].as_str().unwrap());
    let guest = crate::support::guest("guest-behave.wasm");
    let submit = [
        "--json",
        "task",
        "submit",
        guest.to_str().unwrap(),
        "--replicas",
        "1",
    ];
    let to = [
        "--to",
        &there,
        "--token-file",
        token.to_str().unwrap(),
        "--",
        "args",
    ];
    let ran = client.adit(&[&submit[..], &to].concat()).exits(0).json();
    assert_eq!(ran["status"], "ok");
    // A miner that leaves is none from the next epoch on, and the coordinator knows.
    registry.json(&["node", "deregister", &node, "--key", "//Bob"]);
    let network = node_key(&coordinator, "coordinator/network");
    serving.until("the miner is gone", || {
        let shown = coordinator.adit(&["--json", "network", "show", &network]);
        let members = shown.exits(0).json();
        let miners = members["membership"]["miners"].as_array().unwrap().len();
        (miners == 0).then_some(())
    });
    // Without the registry it goes on with what it knows.
    registry.node.kill();
    assert_eq!(serving.end(), Some(0));
    let mut serving = Node::start(coordinator.command(&run));
    assert_eq!(serving.line(), there);
    assert!(serving.said().contains("the registry was not asked"));
}

#[test]
fn settlement_in_the_sandbox_gives_the_bytes_that_it_gives_natively() {
    let home = Home::new();
    let component = crate::support::guest("adit-settlement.wasm");
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let folder = Path::new(&here).join("../../conformance/vectors/registry/settlements");
    let settle = |input: &Path| {
        let component = component.to_str().unwrap();
        let input = input.to_str().unwrap();
        home.adit(&["run", component, "--input", input])
    };
    let mut compared = 0;
    for expected in crate::support::files(&folder) {
        if expected
            .extension()
            .is_some_and(|extension| extension == "out")
        {
            let settled = settle(&expected.with_extension("in")).exits(0);
            // The vectors are what the library gives, byte for byte.
            assert!(
                settled.stdout == std::fs::read(&expected).unwrap(),
                "{expected:?}"
            );
            compared += 1;
        }
    }
    assert!(compared >= 5, "{compared}");
    home.adit(&["receipt", "replay", "last"]).exits(0);
    let refused = settle(&folder.join("bad-shares.in")).exits(1);
    assert!(
        refused.stdout.is_empty() && refused.stderr.contains("task-error"),
        "{}",
        refused.stderr
    );
}

/// What a wallet sends: Alice's next transfer to Bob.
pub fn transfer(genesis: adit_protocol::Hash, number: u64) -> (String, Value) {
    use adit_ledger::{Action, Key, Transaction};
    use adit_protocol::Amount;
    use adit_protocol::keys::Keypair;
    let key = |uri: &str| Keypair::from_uri(uri).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let signed = Transaction {
        genesis,
        account: Key::new(&key("//Alice").public()),
        number,
        fee: "0.01".parse().unwrap(),
        expires_ms: u64::try_from(now.unwrap().as_millis()).unwrap() + 600_000,
        action: Action::Transfer {
            to: Key::new(&key("//Bob").public()),
            amount: Amount::from_units(1),
        },
    }
    .sign(&key("//Alice"), &mut rand_core::OsRng);
    let bytes = signed.to_bytes();
    let signature: String = bytes[..64]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let body = serde_json::json!({
        "text": signed.text(),
        "signature": format!("0x{signature}"),
    });
    (signed.id().to_string(), body)
}

/// Sends transfers until the registry is gone, and returns the ids of those that were acknowledged.
fn load(url: &str, genesis: adit_protocol::Hash, acknowledged: &mut Vec<String>) {
    use adit_net::http::client::{Client, ClientConfig, Retry};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let config = ClientConfig {
            retry: Retry::NEVER,
            ..ClientConfig::new(url.parse().unwrap())
        };
        let client = Client::new(config).unwrap();
        // Where the last one was cut off, whether it took effect is not known: the account tells.
        let alice = "/v1/accounts/5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
        let Ok(account) = client.get(alice).send().await else {
            return;
        };
        let account: Value = account.json().unwrap();
        let mut number = account["number"].as_u64().unwrap();
        assert!(number >= acknowledged.len() as u64);
        loop {
            let (id, body) = transfer(genesis, number);
            let answer = client.post("/v1/transactions").json(&body).send().await;
            let Ok(answer) = answer else { return };
            let answer: Value = answer.json().unwrap();
            assert_eq!(answer["id"], id);
            acknowledged.push(id);
            number += 1;
        }
    });
}

#[test]
fn what_a_registry_acknowledged_under_load_outlasts_every_kill() {
    let home = Home::new();
    let made = init(&home, &["--development", "--allocate", "//Alice=1000"]);
    let genesis: adit_protocol::Hash = made["network"].as_str().unwrap().parse().unwrap();
    let mut registry = Registry::run(home);
    let mut acknowledged = Vec::new();
    // Epochs are a second, so that some of the kills fall into the end of one.
    for after_ms in [40, 130, 310, 620, 990, 1_400] {
        let Registry {
            home, node, url, ..
        } = registry;
        std::thread::scope(|scope| {
            let loading = scope.spawn(|| load(&url, genesis, &mut acknowledged));
            std::thread::sleep(std::time::Duration::from_millis(after_ms));
            node.kill();
            loading.join().unwrap();
        });
        home.adit(&["registry", "fsck"]).exits(0);
        registry = Registry::run(home);
    }
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    let account = registry.json(&["account", "show", "//Alice"]);
    let number = account["number"].as_u64().unwrap();
    // At each kill one more may have taken effect that nobody was told of.
    let all = acknowledged.len() as u64;
    assert!(
        (all..=all + 6).contains(&number),
        "{number}, {all} acknowledged"
    );
    let Registry { home, node, .. } = registry;
    node.kill();
    let database = home.state().join("registry/data/registry.db");
    let database = rusqlite::Connection::open(database).unwrap();
    let mut find = database
        .prepare("SELECT count(*) FROM transactions WHERE id = ?1")
        .unwrap();
    for id in &acknowledged {
        let id: adit_protocol::Hash = id.parse().unwrap();
        let found: i64 = find.query_row([id.as_bytes()], |row| row.get(0)).unwrap();
        assert_eq!(found, 1, "{id}");
    }
}
