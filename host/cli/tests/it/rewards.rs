//! An epoch of a network of processes: work is done and paid, its miner's operator takes what it
//! earned, and a stranger computes all of it again.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::ledger::{Registry, init, units};
use crate::network_support::Node;
use crate::support::{Home, ended};

/// Registers a coordinator, a miner and the checker, and waits until all of them take part.
fn register(registry: &mut Registry, coordinator: &[&str], miner: &str, there: &str) {
    let role = |name: &'static str, bond: &'static str, key: &'static str| {
        ["register", name, "--bond", bond, "--key", key]
    };
    registry.json(&["stake", "add", "2000000", "--key", "//Alice"]);
    registry.json(&[&role("coordinator", "2000000", "//Alice")[..], coordinator].concat());
    registry.json(&["stake", "add", "20000", "--key", "//Bob"]);
    registry.json(&[&role("miner", "20000", "//Bob")[..], &["--node", miner]].concat());
    registry.json(&["stake", "add", "50000", "--key", "//Charlie"]);
    let checker = [
        "--node",
        "//Checker",
        "--log",
        "//Checker//cosign",
        "--name",
        "checker.example/1",
        "--url",
        there,
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

/// The exported tree, looked at by the library whose format it is.
fn taken_by_openzeppelin(export: &Path) {
    let tools = crate::support::target().join("tools/vectors-node/node_modules");
    if !tools.join("@openzeppelin").is_dir() {
        // Where `cargo xtask setup` found no Node.js. Under CI it does not leave it out.
        assert!(std::env::var_os("CI").is_none(), "{}", tools.display());
        return;
    }
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let script = Path::new(&here).join("../../conformance/vectors/openzeppelin.mjs");
    let node = |file: &Path| {
        let mut command = Command::new("node");
        command.arg(&script).arg(file).env("NODE_PATH", &tools);
        command.output().unwrap()
    };
    let taken = node(export);
    let said = String::from_utf8_lossy(&taken.stdout);
    assert!(
        taken.status.success() && said.contains(" accounts"),
        "{said}"
    );
    // One digit more would be noticed.
    let text = std::fs::read_to_string(export).unwrap();
    let altered = export.with_extension("altered");
    std::fs::write(&altered, text.replacen("\"0x", "\"0x1", 1)).unwrap();
    assert!(!node(&altered).status.success());
}

#[test]
fn work_is_paid_and_a_stranger_computes_every_reward_again() {
    let home = Home::new();
    let rich = [
        "//Alice=3000000",
        "//Bob=20001",
        "//Charlie=100000",
        "//Fees=100",
    ];
    let allocations = rich.iter().flat_map(|one| ["--allocate", one]);
    let options = ["--development", "--epoch", "3s"].into_iter();
    init(&home, &options.chain(allocations).collect::<Vec<_>>());
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
    let node = path(&coordinator, "coordinator/keys/node");
    let log = made["log"].as_str().unwrap();
    let keys = ["--node", &node, "--log", log, "--url", &there];
    let miner_key = path(&miner, "miner/keys/node");
    register(&mut registry, &keys, &miner_key, &there);
    registry.json(&["node", "deposit", &node, "1000", "--key", "//Alice"]);

    let mut serving = Node::start(coordinator.command(&["coordinator", "run", "--registry", &url]));
    assert_eq!(serving.line(), there);
    let working = Node::start(miner.command(&["miner", "run"]));
    let client = Home::new();
    let token = client.file("token", made["token"].as_str().unwrap());
    let token = token.to_str().unwrap();
    let guest = crate::support::guest("guest-behave.wasm");
    let guest = guest.to_str().unwrap();
    let mut tasks = Vec::new();
    for number in 0..3 {
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
            // A receipt is claimed after that, so here never.
            "--deadline",
            "1h",
        ];
        let to = ["--to", &there, "--token-file", token, "--", "args", &text];
        let ran = client.adit(&[&submit[..], &to].concat()).exits(0).json();
        assert_eq!(ran["status"], "ok");
        tasks.push(ran["task"].as_str().unwrap().to_owned());
    }

    // What Bob, whose miner it is, will be paid: three prices less the fees, and some emission.
    let ask = |home: &Home, args: &[&str]| {
        let args = [&["--json"], args, &["--registry", &url]].concat();
        ended(home.command(&args)).exits(0).json()
    };
    let Registry { home, node, .. } = &mut registry;
    let pending = node.until("the epoch is settled", || {
        let rewards = ask(home, &["account", "rewards", "//Bob"]);
        let all = units(&rewards["pending"]) + units(&rewards["earned"]);
        (all >= 3 * 95 * 10u128.pow(12)).then_some(all)
    });
    assert!(pending < 3 * 101 * 10u128.pow(12), "{pending}");
    let mut registry = registry.again();

    // A stranger, with nothing but the logs.
    let stranger = Home::new();
    let audit = |options: &[&str]| {
        let args = [&["audit", "rewards", &url], options].concat();
        ended(stranger.command(&args))
    };
    let all = audit(&["--json"]).exits(0).json();
    assert_eq!(all["ok"], true);
    let epochs = all["epochs"].as_array().unwrap();
    let paid: u64 = epochs
        .iter()
        .map(|e| e["receipts"]["paid"].as_u64().unwrap())
        .sum();
    assert_eq!(paid, 3, "{all}");
    let of_bob = |epoch: &Value| -> u128 {
        let accounts = epoch["accounts"].as_array().unwrap().clone();
        let bob = accounts
            .iter()
            .find(|row| row["account"] == "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty");
        bob.map_or(0, |row| units(&row["earned"]))
    };
    assert_eq!(epochs.iter().map(of_bob).sum::<u128>(), pending);
    // One epoch is shown with all that was earned in it.
    let busy = epochs.iter().find(|epoch| of_bob(epoch) > 0).unwrap();
    let number = busy["epoch"].to_string();
    let export = stranger.path("earned.json");
    let options = ["--epoch", &number, "--export", export.to_str().unwrap()];
    let shown = audit(&options).exits(0).text();
    taken_by_openzeppelin(&export);
    assert!(
        shown.contains("agrees") && shown.contains("account 5FHneW46xG"),
        "{shown}"
    );
    audit(&["--epoch", "999999"])
        .exits(1)
        .explains(&["is not settled"]);

    // Claimed once, to the last unit, and no more.
    let Registry { home, node, .. } = &mut registry;
    node.until("it counts", || {
        let rewards = ask(home, &["account", "rewards", "//Bob"]);
        (units(&rewards["claimable"]) == pending).then_some(())
    });
    let free = |home: &Home| units(&ask(home, &["account", "show", "//Bob"])["free"]);
    let before = free(home);
    let claimed = ask(home, &["account", "claim", "--key", "//Bob"]);
    assert_eq!(claimed["events"][0]["event"], "claimed");
    let fee = 10u128.pow(10);
    assert_eq!(free(home), before + pending - fee);
    registry
        .adit(&["account", "claim", "--key", "//Bob"])
        .exits(1)
        .explains(&["nothing to claim"]);
    let earnings = registry.json(&["miner", "earnings", &miner_key]);
    let earned = earnings["epochs"].as_array().unwrap().iter();
    // Bob is the miner's only voter and its operator: all of it is Bob's.
    assert_eq!(
        earned.map(|one| units(&one["earned"])).sum::<u128>(),
        pending
    );
    assert_eq!(registry.json(&["registry", "replay"])["ok"], true);

    // The miner's journal against the coordinator's log: it lacks nothing, and if it did it would be too
    // early to claim it.
    miner
        .adit(&["miner", "late", "--registry", &url])
        .exits(1)
        .explains(&["the miner runs"]);
    working.end();
    let late = ask(&miner, &["miner", "late"]);
    assert_eq!(late["read"], 3, "{late}");
    assert_eq!(late["receipts"], serde_json::json!([]));
    let show = ["--json", "task", "show", &tasks[0], "--to", &there];
    let show = [&show[..], &["--token-file", token]].concat();
    let shown = client.adit(&show).exits(0).json();
    let assignment = shown["assignments"][0]["assignment"].as_str().unwrap();
    let claim = ["miner", "claim-late", assignment, "--key", "//Bob"];
    let claim = [&claim[..], &["--registry", &url]].concat();
    miner
        .adit(&claim)
        .exits(1)
        .explains(&["can have the receipt yet"]);
    let other = format!("blake3:{}", "00".repeat(32));
    let other = ["miner", "claim-late", &other, "--key", "//Bob"];
    miner
        .adit(&other)
        .exits(1)
        .explains(&["no countersigned receipt"]);

    // Without the coordinator's log nothing can be said, and that is said.
    serving.end();
    audit(&[])
        .exits(6)
        .explains(&["the log of the coordinator"]);
    assert_eq!(registry.node.end(), Some(0));
}

#[test]
fn a_rule_is_changed_by_vote() {
    let home = Home::new();
    let options = [
        "--development",
        "--epoch",
        "1s",
        "--unbonding",
        "1",
        "--allocate",
        "//Alice=10000",
        "--allocate",
        "//Bob=10000",
    ];
    init(&home, &options);
    let mut registry = Registry::run_with(home, &["--listen", "127.0.0.1:0"]);
    registry.json(&["stake", "add", "6000", "--key", "//Alice"]);
    registry.json(&["stake", "add", "3000", "--key", "//Bob"]);
    // Stake counts as of the beginning of the proposal's epoch.
    let url = registry.url.clone();
    let epoch = |home: &Home| {
        let show = ["--json", "registry", "show", "--registry", &url];
        ended(home.command(&show)).exits(0).json()["ledger"].clone()
    };
    let begun = epoch(&registry.home)["epoch"].as_u64().unwrap();
    let Registry { home, node, .. } = &mut registry;
    node.until("another epoch", || {
        (epoch(home)["epoch"].as_u64().unwrap() > begun).then_some(())
    });
    let propose = ["gov", "propose", "--title", "Cheaper", "--key", "//Bob"];
    registry
        .adit(&[&propose[..], &["--set", "fee_min=a"]].concat())
        .exits(1)
        .explains(&["sets no parameter"]);
    // A rule that would break the others is refused at once.
    registry
        .adit(&[&propose[..], &["--set", "governance.timelock_epochs=1"]].concat())
        .exits(1)
        .explains(&["timelock_epochs"]);
    let made = registry.json(&[&propose[..], &["--set", "fee_min=0.005"]].concat());
    let id = made["id"].as_str().unwrap().to_owned();
    let shown = registry.adit(&["gov", "show", &id]).exits(0).text();
    assert!(shown.contains("sets      fee_min 0.005"), "{shown}");
    registry.json(&["gov", "vote", &id, "yes", "--key", "//Alice"]);
    registry
        .adit(&["gov", "vote", &id, "no", "--key", "//Alice"])
        .exits(1);
    let listed = registry.adit(&["gov", "list"]).exits(0).text();
    assert!(listed.contains("yes 6000 no 0  Cheaper"), "{listed}");
    let Registry { home, node, .. } = &mut registry;
    node.until("it takes effect", || {
        let fee = epoch(home)["parameters"]["fee_min"].clone();
        (units(&fee) == 5 * 10u128.pow(9)).then_some(())
    });
    assert_eq!(registry.json(&["registry", "replay"])["ok"], true);
    assert_eq!(registry.node.end(), Some(0));
}
