//! Reports of misdeeds as those meet them who file, judge and appeal: what proves itself is punished at
//! once, of the rest checkers judge, and a mistake costs nothing.

use std::path::{Path, PathBuf};

use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::genesis::network_id;
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::{Hash, Status, keys::Keypair};
use rand_core::OsRng;
use serde_json::Value;

use crate::ledger::{Registry, init, units};
use crate::network_support::Dev;
use crate::support::{Home, ended};

const TOKEN: u128 = 1_000_000_000_000;
/// What everyone pays for a transaction.
const FEE: u128 = TOKEN / 100;

fn keypair(uri: &str) -> Keypair {
    Keypair::from_uri(uri).unwrap()
}

/// A receipt that the miner `//Miner//0` signed.
fn receipt(home: &Home, genesis: &Hash, change: impl FnOnce(&mut ReceiptBody)) -> String {
    let miner = keypair("//Miner//0");
    let mut body = ReceiptBody {
        network: network_id(genesis),
        status: Status::Ok,
        gpu: false,
        nn: false,
        epoch: 0,
        seq: 0,
        start_ms: 0,
        duration_us: 0,
        fuel: 1,
        nn_units: 0,
        peak_memory: 0,
        miner: miner.public().to_bytes(),
        coordinator: keypair("//Coordinator").public().to_bytes(),
        task: Hash::of(b"task"),
        assignment: Hash::of(b"assignment"),
        component: Hash::ZERO,
        input: Hash::ZERO,
        output: Hash::ZERO,
        transcript: Hash::ZERO,
        environment: Hash::ZERO,
        prev: Hash::ZERO,
    };
    change(&mut body);
    let mut receipt = body.sign(&miner, &mut OsRng);
    receipt.countersign(&keypair("//Coordinator"), &mut OsRng);
    let name = receipt.id().to_hex();
    named(&home.file(&name, receipt.to_bytes()))
}

/// A checkpoint that the log of `//Coordinator` signed.
fn checkpoint(home: &Home, genesis: &Hash, size: u64, root: &[u8]) -> String {
    let node = keypair("//Coordinator").public();
    let checkpoint = Checkpoint {
        origin: Origin::new(genesis, &node).name(),
        size,
        root: Hash::of(root),
    };
    let signed = checkpoint.sign(&keypair("//Coordinator//log"), &mut OsRng);
    let name = format!("checkpoint-{size}-{}", Hash::of(root).to_hex());
    named(&home.file(&name, signed.to_string()))
}

fn named(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A network with a miner of Alice.
fn network(epoch: &str) -> (Registry, Hash) {
    let home = Home::new();
    let rich = ["//Alice=2100000", "//Bob=1000", "//Charlie=200000"];
    let allocations = rich.iter().flat_map(|one| ["--allocate", one]);
    let options = ["--development", "--epoch", epoch].into_iter();
    let made = init(&home, &options.chain(allocations).collect::<Vec<_>>());
    let registry = Registry::run_with(home, &["--listen", "127.0.0.1:0"]);
    registry.json(&["stake", "add", "2020000", "--key", "//Alice"]);
    let miner = [
        "--node",
        "//Miner//0",
        "--bond",
        "20000",
        "--key",
        "//Alice",
    ];
    registry.json(&[&["register", "miner"][..], &miner].concat());
    (registry, made["network"].as_str().unwrap().parse().unwrap())
}

fn free(registry: &Registry, account: &str) -> u128 {
    units(&registry.json(&["account", "show", account])["free"])
}

fn stake_of(registry: &Registry, node: &str) -> u128 {
    units(&registry.json(&["node", "show", node])["stake"])
}

#[test]
fn what_proves_itself_is_punished_at_once() {
    let (registry, genesis) = network("1s");
    let home = &registry.home;
    let first = receipt(home, &genesis, |_| {});
    let second = receipt(home, &genesis, |body| body.fuel = 2);
    let equivocation = |other: &str, more: &[&str]| {
        let args = ["report", "equivocation", &first, other, "--key", "//Bob"];
        registry.adit(&[&args[..], more].concat())
    };

    // Mistakes are found before anything is sent.
    let before = free(&registry, "//Bob");
    let other = receipt(home, &genesis, |body| body.assignment = Hash::of(b"other"));
    let local = receipt(home, &genesis, |body| body.network = [0; 4]);
    let abroad = receipt(home, &genesis, |body| body.network = [9; 4]);
    let mut forged = std::fs::read(&second).unwrap();
    forged[400] ^= 1;
    let forged = named(&home.file("forged", forged));
    for (other, code, words) in [
        (&first, 1, "both are the same receipt"),
        (&other, 1, "for two assignments"),
        (&local, 1, "the second receipt is of a local run"),
        (&abroad, 1, "the second receipt is of another network"),
        (&forged, 3, "the second receipt does not fit"),
        (&named(&home.file("none", "x")), 3, "is not a receipt"),
    ] {
        let said = equivocation(other, &[]).exits(code);
        said.explains(&[words]);
    }
    let dry = equivocation(&second, &["--dry-run"]).exits(0).text();
    assert!(dry.contains("\nmisdeed: equivocation\nfirst: 0x"), "{dry}");
    assert_eq!(free(&registry, "//Bob"), before);
    assert_eq!(stake_of(&registry, "//Miner//0"), 20_000 * TOKEN);

    // A third of the stake, of which the reporter has a tenth.
    let done = equivocation(&second, &["--json"]).exits(0).json();
    let slashed = &done["events"][1];
    let taken = 20_000 * TOKEN * 333_333 / 1_000_000;
    assert_eq!(slashed["event"], "slashed", "{done}");
    assert_eq!(units(&slashed["amount"]), taken);
    assert_eq!(stake_of(&registry, "//Miner//0"), 20_000 * TOKEN - taken);
    let reward = taken / 10;
    assert_eq!(free(&registry, "//Bob"), before - FEE + reward);
    equivocation(&second, &[])
        .exits(1)
        .explains(&["rule-broken", "reported before"]);
    assert_eq!(free(&registry, "//Bob"), before - FEE + reward);
    let id = done["id"].as_str().unwrap();
    let shown = registry.adit(&["report", "show", id]).exits(0).text();
    assert!(
        shown.contains("misdeed   equivocation") && shown.contains("punished at once"),
        "{shown}"
    );
    let shown = registry
        .adit(&["node", "show", "//Miner//0"])
        .exits(0)
        .text();
    assert!(shown.contains("jailed        equivocation"), "{shown}");

    // A coordinator with two roots.
    let keys = ["--node", "//Coordinator", "--log", "//Coordinator//log"];
    let rest = ["--url", "http://127.0.0.1:1", "--bond", "2000000"];
    let register = [&["register", "coordinator"][..], &keys, &rest].concat();
    registry.json(&[&register[..], &["--key", "//Alice"]].concat());
    let (one, two) = (
        checkpoint(home, &genesis, 5, b"a"),
        checkpoint(home, &genesis, 5, b"b"),
    );
    let fork = |other: &str| registry.adit(&["report", "fork", &one, other, "--key", "//Bob"]);
    fork(&one).exits(1).explains(&["the same root"]);
    fork(&checkpoint(home, &genesis, 6, b"b"))
        .exits(1)
        .explains(&["5 and 6 entries"]);
    fork(&first).exits(3).explains(&["no signed checkpoint"]);
    fork(&two).exits(0);
    let left = 2_000_000 * TOKEN - 2_000_000 * TOKEN * 333_333 / 1_000_000;
    assert_eq!(stake_of(&registry, "//Coordinator"), left);
    fork(&two).exits(1).explains(&["reported before"]);
    assert_eq!(registry.json(&["registry", "replay"])["ok"], true);
    assert_eq!(registry.node.end(), Some(0));
}

/// Three checkers of Charlie, with as much stake each.
fn checkers(registry: &Registry) {
    registry.json(&["stake", "add", "150000", "--key", "//Charlie"]);
    for number in 0..3 {
        let node = format!("//Checker//{number}");
        let cosign = format!("{node}//cosign");
        let name = format!("checker.example/{number}");
        let keys = ["--node", &node, "--log", &cosign, "--name", &name];
        let rest = ["--url", "http://127.0.0.1:1", "--bond", "50000"];
        let register = [&["register", "checker"][..], &keys, &rest].concat();
        registry.json(&[&register[..], &["--key", "//Charlie"]].concat());
    }
}

/// What the three found, as files.
fn verdicts(registry: &Registry, id: &str, found: &[&str], name: &str) -> Vec<String> {
    let attest = |number: usize| {
        let key = format!("//Checker//{number}");
        let verdict = ["checker", "verdict", id, "--key", &key];
        let said = registry.adit(&[&verdict[..], found].concat()).exits(0);
        named(&registry.home.file(&format!("{name}-{number}"), said.text()))
    };
    (0..3).map(attest).collect()
}

#[test]
fn what_checkers_judge_can_be_appealed_once() {
    let (registry, genesis) = network("3s");
    checkers(&registry);
    let wrong = receipt(&registry.home, &genesis, |_| {});
    let accuse = |misdeed: &str, evidence: &str, more: &[&str]| {
        let args = [
            "report",
            "accuse",
            "//Miner//0",
            misdeed,
            "--evidence",
            evidence,
        ];
        registry.adit(&[&args[..], &["--key", "//Bob"], more].concat())
    };
    // What proves itself needs no checkers, a miner has no log, and the receipt must be the node's.
    accuse("equivocation", &wrong, &[])
        .exits(1)
        .explains(&["adit report equivocation"]);
    accuse("missing-receipt", &wrong, &[])
        .exits(1)
        .explains(&["is a miner, and those cannot do missing-receipt"]);
    let abroad = receipt(&registry.home, &genesis, |body| body.network = [9; 4]);
    accuse("wrong-execution", &abroad, &[])
        .exits(1)
        .explains(&["another network"]);
    let before = free(&registry, "//Bob");
    let made = accuse("wrong-execution", &wrong, &["--json"])
        .exits(0)
        .json();
    assert_eq!(free(&registry, "//Bob"), before - FEE - 100 * TOKEN);
    let id = made["id"].as_str().unwrap();
    let listed = registry.json(&["report", "list", "--node", "//Miner//0"]);
    assert_eq!(listed["items"][0]["id"], id);
    assert_eq!(listed["items"][0]["stage"], "waits-for-verdict");
    let evidence = PathBuf::from(&wrong);
    let receipt_id = evidence.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        listed["items"][0]["evidence"],
        format!("blake3:{receipt_id}")
    );

    // A checker that signs what the rules do not allow, and one that is none.
    let attest = |key: &str, found: &[&str]| {
        let verdict = ["checker", "verdict", id, "--key", key];
        registry.adit(&[&verdict[..], found].concat())
    };
    attest("//Checker//0", &["--guilty", "50%"])
        .exits(1)
        .explains(&["at most 33.3333%"]);
    attest("//Miner//0", &["--not-guilty"])
        .exits(1)
        .explains(&["is a miner"]);
    attest("//Checker//0", &[]).exits(1);

    let guilty = verdicts(&registry, id, &["--guilty", "10%"], "guilty");
    let decide = |files: &[String], more: &[&str]| {
        let files = files.iter().map(String::as_str);
        let args: Vec<&str> = ["report", "decide", id].into_iter().chain(files).collect();
        registry.adit(&[&args[..], &["--key", "//Bob"], more].concat())
    };
    decide(&guilty[..1], &[])
        .exits(1)
        .explains(&["gather more signatures"]);
    decide(&[guilty[0].clone(), guilty[0].clone()], &[])
        .exits(1)
        .explains(&["is there twice"]);
    let altered = std::fs::read_to_string(&guilty[0]).unwrap();
    let other = altered.replace("100000", "200000");
    assert_ne!(other, altered);
    let other = named(&registry.home.file("other", other));
    decide(&[guilty[1].clone(), other.clone()], &[])
        .exits(1)
        .explains(&["finds something else"]);
    decide(&[other], &[]).exits(3).explains(&["does not fit"]);
    decide(&guilty, &[]).exits(0);
    let show = || registry.json(&["report", "show", id]);
    assert_eq!(show()["stage"], "can-be-appealed");
    attest("//Checker//0", &["--not-guilty"])
        .exits(1)
        .explains(&["which can be appealed"]);

    // Its operator alone appeals, and what was signed before counts no more.
    let appeal = |key: &str| registry.adit(&["report", "appeal", id, "--key", key]);
    appeal("//Bob").exits(1).explains(&["another operator"]);
    appeal("//Alice").exits(0);
    assert_eq!(show()["stage"], "appealed");
    appeal("//Alice").exits(1).explains(&["nothing to appeal"]);
    decide(&guilty, &[])
        .exits(1)
        .explains(&["not made at this stage"]);
    let again = verdicts(&registry, id, &["--guilty", "20%"], "again");
    decide(&again, &[]).exits(0);
    assert_eq!(show()["stage"], "decided");

    // It takes effect with the next epoch: the reporter has its deposit again, and a tenth.
    let Registry {
        home,
        mut node,
        url,
        ..
    } = registry;
    let ask = |args: &[&str]| -> Value {
        let args = [&["--json"], args, &["--registry", &url]].concat();
        ended(home.command(&args)).exits(0).json()
    };
    node.until("the verdict takes effect", || {
        let jailed = &ask(&["node", "show", "//Miner//0"])["jailed"];
        (jailed["misdeed"] == "wrong-execution").then_some(())
    });
    let taken = 4_000 * TOKEN;
    let stake = units(&ask(&["node", "show", "//Miner//0"])["stake"]);
    assert_eq!(stake, 20_000 * TOKEN - taken);
    assert_eq!(ask(&["report", "show", id])["stage"], "judged");
    // The accusation, and two verdicts that Bob handed in.
    let bob = units(&ask(&["account", "show", "//Bob"])["free"]);
    assert_eq!(bob, before - 3 * FEE + taken / 10);
    assert_eq!(ask(&["registry", "replay"])["ok"], true);
    assert_eq!(node.end(), Some(0));
}

/// A miner that signs twice, a coordinator that notices, a registry that takes its word for nothing.
#[test]
fn a_coordinator_hands_out_what_a_miner_signed_twice() {
    let dev = Dev::start(&["--miners", "1", "--faults", "seed=7,equivocate=1"]);
    let data = dev.home.path("net").join("dev/coordinator");
    let out = dev.home.path("evidence");
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    let evidence = ["--json", "coordinator", "evidence", out, "--data", data];
    let mut number = 0;
    let pair = loop {
        let ran = dev.behave(&["--no-replication"], &["args", &number.to_string()]);
        ran.exits(0);
        let found = dev.adit(&evidence).exits(0).json();
        match found["equivocations"].as_array().unwrap().first() {
            Some(pair) => break pair.clone(),
            None => number += 1,
        }
        assert!(number < 40, "the miner that signs twice was not drawn");
    };
    let file = |which: &str| pair[which].as_str().unwrap().to_owned();
    let (first, second) = (file("first"), file("second"));
    dev.adit(&["faucet", "10", "--key", "local"]).exits(0);
    let report = ["report", "equivocation", &first, &second, "--key", "local"];
    let done = dev.adit(&[&["--json"][..], &report].concat());
    let done = done.exits(0).json();
    assert_eq!(done["events"][1]["event"], "slashed", "{done}");
    assert_eq!(done["events"][1]["misdeed"], "equivocation");
    dev.adit(&report).exits(1).explains(&["reported before"]);
    dev.adit(&["coordinator", "evidence", out, "--data", out])
        .exits(1)
        .explains(&["no coordinator has run in"]);
}
