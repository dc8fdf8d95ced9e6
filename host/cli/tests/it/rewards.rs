//! An epoch of a network of processes: work is done and paid, its miner's operator takes what it
//! earned, and a stranger computes all of it again.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::earning::Earning;
use crate::ledger::{Registry, init, units};
use crate::network_support::Node;
use crate::support::{Home, Said, ended};

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
    let network = Earning::start(&["--epoch", "3s"]);
    let mut tasks = Vec::new();
    for number in 0..3 {
        tasks.push(network.client.work(number));
    }
    let Earning {
        mut registry,
        miner_key,
        coordinator_key,
        address,
        client,
        mut serving,
        working,
        miner,
        ..
    } = network;
    let url = registry.url.clone();

    // What Bob, whose miner it is, will be paid: three prices less the fees, and some emission.
    let ask = |home: &Home, args: &[&str]| {
        let args = [&["--json"], args, &["--registry", &url]].concat();
        ended(home.command(&args)).exits(0).json()
    };
    let earnings = |home: &Home| ask(home, &["miner", "earnings", &miner_key]);
    let Registry { home, node, .. } = &mut registry;
    node.until("all are paid or will be", || {
        let found = earnings(home);
        let open = ["accepted", "waiting"].map(|name| found["open"][name].as_u64().unwrap());
        let open = open.iter().sum::<u64>();
        assert_eq!(
            units(&found["open"]["at_most"]),
            u128::from(open) * 95 * 10u128.pow(12)
        );
        let paid = found["epochs"].as_array().unwrap().iter();
        let paid: u64 = paid
            .map(|one| one["receipts"]["paid"].as_u64().unwrap())
            .sum();
        (open + paid == 3).then_some(())
    });
    let pending = node.until("the epoch is settled", || {
        let rewards = ask(home, &["account", "rewards", "//Bob"]);
        let all = units(&rewards["pending"]) + units(&rewards["earned"]);
        (all >= 3 * 95 * 10u128.pow(12)).then_some(all)
    });
    assert!(pending < 3 * 101 * 10u128.pow(12), "{pending}");
    // The registry's checker has cosigned as a witness, each time that it was asked.
    let network = home.state().join("registry/network");
    let network = network.to_str().unwrap();
    let log = [
        "log",
        "checkpoint",
        &client.there,
        "--network",
        network,
        "--quorum",
        "1",
        "--json",
    ];
    let trusted = serving.until("the checker cosigns", || {
        let said = ended(client.home.command(&log));
        (said.code == Some(0)).then(|| said.json())
    });
    assert_eq!(trusted["cosigned"][0]["name"], "checker.example/1");
    let said = serving.said();
    assert!(!said.contains("a witness"), "{said}");
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
    assert_eq!(
        (&earnings["adds_up"], &earnings["reports"]),
        (&true.into(), &serde_json::json!([]))
    );
    let shown = registry
        .adit(&["miner", "earnings", &miner_key])
        .exits(0)
        .text();
    for words in [
        "adds up   ",
        "disputed  no receipts",
        "accused   of nothing",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
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
    let show = ["--json", "task", "show", &tasks[0]];
    let shown = client.adit(&show, &[]).exits(0).json();
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

    changes_its_keys_and_ends(&mut registry, serving, &coordinator_key, &address, &audit);
    assert_eq!(registry.node.end(), Some(0));
}

/// The coordinator changes its keys, and so begins another log; then it ends for good. Both logs are
/// read from the copies that the registry's checker has made.
fn changes_its_keys_and_ends(
    registry: &mut Registry,
    serving: Node,
    node: &str,
    address: &str,
    audit: &dyn Fn(&[&str]) -> Said,
) {
    let new = Home::new();
    let set_up = ["--json", "coordinator", "init", "--name", "c", "--listen"];
    let made = new
        .adit(&[&set_up[..], &[address]].concat())
        .exits(0)
        .json();
    let new_node = new.state().join("coordinator/keys/node");
    let keys = ["--new-node", new_node.to_str().unwrap(), "--new-log"];
    let keys = [&keys[..], &[made["log"].as_str().unwrap()]].concat();
    let rotate = ["node", "rotate-key", node, "--key", "//Alice"];
    registry.json(&[&rotate[..], &keys].concat());
    let last = registry.json(&["registry", "show"])["ledger"]["epoch"].clone();
    let last = last.as_u64().unwrap();
    // The former log is served until its last epoch is closed.
    let settled = |registry: &mut Registry, next: u64| {
        let Registry {
            home, node, url, ..
        } = registry;
        node.until("it is settled", || {
            let show = ["--json", "registry", "show", "--registry", url];
            let shown = ended(home.command(&show)).exits(0).json();
            (shown["ledger"]["settled"].as_u64().unwrap() >= next).then_some(())
        });
    };
    settled(registry, last + 1);
    assert_eq!(serving.end(), Some(0));
    let run = ["coordinator", "run", "--registry", &registry.url];
    let mut serving = Node::start(new.command(&run));
    assert_eq!(serving.line(), format!("http://{address}"));
    let now = registry.json(&["registry", "show"])["ledger"]["epoch"].clone();
    settled(registry, now.as_u64().unwrap() + 1);

    let copies = |audited: &Value| audited["copies"].as_array().unwrap().len();
    let audited = audit(&["--json"]).exits(0).json();
    assert_eq!((&audited["ok"], copies(&audited)), (&true.into(), 1));
    let why = audited["copies"][0]["why"].as_str().unwrap();
    assert!(why.contains(address), "{why}");
    serving.end();
    let audited = audit(&["--json"]).exits(0).json();
    assert_eq!((&audited["ok"], copies(&audited)), (&true.into(), 2));
    let told = audit(&[]).exits(0).stderr;
    assert!(told.contains("read from the registry's copy"), "{told}");

    // Without any of them nothing can be said, and that is said.
    let mirrors = registry.home.state().join("registry/data/mirrors");
    std::fs::rename(&mirrors, registry.home.path("elsewhere")).unwrap();
    audit(&[])
        .exits(6)
        .explains(&["the log of the coordinator", "/v1/mirrors/"]);
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
