//! Single transactions: signature ‖ text, with what they say, or why they are none.

use std::collections::BTreeSet;

use adit_ledger::index::{MODELS_MAX, Model, Publication};
use adit_ledger::registration::{NodeKeys, Possession, Profile, Registration, Role, Service};
use adit_ledger::rewards::{Charge, Settlement};
use adit_ledger::transaction::{Attestation, Closure, Cosigned, SignedTransaction};
use adit_ledger::tree::TreeRoot;
use adit_ledger::{Action, Key, Transaction};
use adit_protocol::exec::World;
use adit_protocol::keys::Keypair;
use adit_protocol::{Amount, Hash};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde_json::{Map, Value, json};

use super::values::{self, json_file};
use super::{Files, accusing, bad_texts, folder, governing, late, read, read_json};

/// Where the files are that polkadot-js signed.
pub const POLKADOT: &str = "transactions/good/polkadot-js-";
/// What they are called after that.
const POLKADOT_NAMES: [&str; 2] = ["transfer", "update"];

/// What the longest texts end with: how often is in the index, and they are not in their files.
const FILLING: u8 = b'a';

pub fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([7; 32])
}

pub fn pair(uri: &str) -> Keypair {
    Keypair::from_uri(uri).unwrap()
}

pub fn key(uri: &str) -> Key {
    Key::new(&pair(uri).public())
}

pub fn network() -> Hash {
    Hash::of(b"a network")
}

/// A transaction of Alice.
pub fn transaction(action: Action) -> Transaction {
    Transaction {
        genesis: network(),
        account: key("//Alice"),
        number: 7,
        fee: "0.01".parse().unwrap(),
        expires_ms: 1_795_759_200_000,
        action,
    }
}

/// The word of the node key `//Node` for Alice.
pub fn proof(keys: NodeKeys, signer: &str) -> [u8; 64] {
    let possession = Possession {
        genesis: network(),
        operator: key("//Alice"),
        keys,
    };
    possession.sign(&pair(signer), &mut rng())
}

pub fn register(role: Role) -> Registration {
    let keys = NodeKeys {
        node: key("//Node"),
        log: (role != Role::Miner).then(|| key("//Log")),
    };
    let miner = role == Role::Miner;
    Registration {
        role,
        keys,
        name: (role == Role::Checker).then(|| "witness.example/one".to_owned()),
        profile: Profile {
            commission_ppm: 125_000,
            url: (!miner).then(|| "https://node.example:4430".to_owned()),
            region: Some("eu-central".to_owned()),
            introduction: Some("A node: in the cellar.".to_owned()),
            service: miner.then(service),
        },
        proof: proof(keys, "//Node"),
    }
}

fn service() -> Service {
    Service {
        class: "gpu-24g-f10".to_owned(),
        uptime_ppm: 995_000,
        latency_ms: 250,
    }
}

/// The signatures within are looked at by the ledger, and not before.
pub fn closure(names: &[&str]) -> Action {
    let cosigned = |name: &&str| Cosigned {
        name: (*name).to_owned(),
        time_s: 1_795_000_000,
        signature: [0xc0; 64],
    };
    Action::CloseEpoch(Box::new(Closure {
        coordinator: key("//Node"),
        epoch: 12,
        size: 70,
        root: Hash::of(b"a log"),
        signature: [0x51; 64],
        cosignatures: names.iter().map(cosigned).collect(),
    }))
}

pub fn settlement(replaces: Option<Hash>, nodes: &[&str], checkers: &[&str]) -> Action {
    let ascending = |names: &[&str]| {
        let mut keys: Vec<_> = names.iter().map(|name| key(name)).collect();
        keys.sort();
        keys
    };
    let charge = |node| Charge {
        node,
        spent: Amount::tokens(100),
        burned: Amount::tokens(5),
    };
    let attestation = |checker| Attestation {
        checker,
        signature: [0xa7; 64],
    };
    let settlement = Settlement {
        genesis: network(),
        epoch: 12,
        input: Hash::of(b"input"),
        output: Hash::of(b"output"),
        minted: Amount::tokens(504),
        treasury: Amount::tokens(500),
        paid: Amount::from_units(193_700_000_000_001),
        earned: TreeRoot {
            size: 3,
            root: Hash::of(b"a tree"),
        },
        charges: ascending(nodes).into_iter().map(charge).collect(),
        replaces,
    };
    Action::Settle {
        settlement: Box::new(settlement),
        attestations: ascending(checkers).into_iter().map(attestation).collect(),
    }
}

pub fn claim(hashes: u8) -> Action {
    Action::Claim {
        total: Amount::from_units(96_850_000_000_001),
        index: 2,
        proof: (0..hashes).map(|number| Hash::of(&[number])).collect(),
    }
}

/// Names of checkers in [`closure`].
pub const NAMES: [&str; 2] = ["checker.example/one", "checker.example/two"];
/// Coordinators in [`settlement`].
pub const COORDINATORS: [&str; 2] = ["//Node", "//Node//2"];
/// Checkers in [`settlement`].
pub const CHECKERS: [&str; 2] = ["//Checker//1", "//Checker//2"];
/// A version of a component with everything that can be said of one.
pub fn publication() -> Publication {
    let model = |name: &str| Model {
        name: name.to_owned(),
        manifest: Hash::of(name.as_bytes()),
    };
    Publication {
        name: "acme/word-count".parse().unwrap(),
        version: "1.2.3-rc.1".parse().unwrap(),
        component: Hash::of(b"component"),
        world: World::Task,
        models: vec![model("Bert"), model("all-MiniLM-L6-v2")],
        description: Some("Zählt Wörter: alle.".to_owned()),
        source: Some("oci://ghcr.io/acme/word-count:1.2.3-rc.1".to_owned()),
    }
}

fn least_publication() -> Publication {
    Publication {
        name: "0".parse().unwrap(),
        version: "0.0.0".parse().unwrap(),
        world: World::Command,
        models: Vec::new(),
        description: None,
        source: None,
        ..publication()
    }
}

/// Everything at its longest.
pub fn largest_publication() -> Publication {
    let models = (0..MODELS_MAX).map(|number| Model {
        name: format!("{number:0>64}"),
        manifest: Hash::of(&number.to_le_bytes()),
    });
    let name = format!("{}/{}", "a".repeat(64), "9-".repeat(32));
    let version = format!("18446744073709551615.0.0-{}", "a".repeat(39));
    let digest = "0123456789abcdef".repeat(4);
    Publication {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        models: models.collect(),
        description: Some("a".repeat(512)),
        source: Some(format!("oci://[::1]:5000/a/b__c.d--e@sha256:{digest}")),
        ..publication()
    }
}

pub fn transfer_name() -> Action {
    Action::TransferName {
        scope: "acme".parse().unwrap(),
        to: key("//Bob"),
    }
}

pub fn yank(yanked: bool) -> Action {
    Action::Yank {
        name: "acme/word-count".parse().unwrap(),
        version: "1.2.3-rc.1".parse().unwrap(),
        yanked,
    }
}

fn good() -> Vec<(&'static str, Transaction)> {
    let (node, amount) = (key("//Node"), Amount::from_units(1_500_000_000_000));
    let bond = Amount::tokens(20_000);
    let keys = NodeKeys {
        node: key("//Node//2"),
        log: Some(key("//Log//2")),
    };
    let only_node = NodeKeys { log: None, ..keys };
    let plain = Profile {
        commission_ppm: 0,
        url: None,
        region: None,
        introduction: None,
        service: None,
    };
    let rotate = |keys| Action::RotateKey {
        node,
        keys,
        proof: proof(keys, "//Node//2"),
    };
    let said = |introduction: String| Action::Update {
        node,
        profile: Profile {
            introduction: Some(introduction),
            ..plain.clone()
        },
    };
    let registered = |registration| Action::Register { registration, bond };
    let mut shortest = register(Role::Miner);
    shortest.profile = plain.clone();
    let everything = Profile {
        commission_ppm: 1,
        url: Some("http://[::1]:4430".to_owned()),
        region: Some("a.b-0".to_owned()),
        introduction: Some("Ein Knoten für alle. 矿工".to_owned()),
        service: Some(Service {
            uptime_ppm: 1_000_000,
            latency_ms: u32::MAX,
            ..service()
        }),
    };
    let to = key("//Bob");
    let mut list = vec![
        ("transfer", Action::Transfer { to, amount }),
        ("faucet", Action::Faucet { amount }),
        ("stake", Action::Stake { amount }),
        ("unstake", Action::Unstake { amount, from: None }),
        (
            "unstake-from-votes",
            Action::Unstake {
                amount,
                from: Some(node),
            },
        ),
        ("vote", Action::Vote { node, amount }),
        ("unvote", Action::Unvote { node, amount }),
        ("register-miner", registered(register(Role::Miner))),
        (
            "register-coordinator",
            registered(register(Role::Coordinator)),
        ),
        ("register-checker", registered(register(Role::Checker))),
        ("register-with-least", registered(shortest)),
        (
            "update",
            Action::Update {
                node,
                profile: everything,
            },
        ),
        ("update-longest-introduction", said("a".repeat(512))),
        (
            "update-looks-like-fields",
            said("proof: 0x00 amount: 1".to_owned()),
        ),
        ("rotate-key", rotate(only_node)),
        ("rotate-both-keys", rotate(keys)),
        ("deregister", Action::Deregister { node }),
        ("deposit", Action::Deposit { node, amount }),
        ("withdraw", Action::Withdraw { node, amount }),
        ("close-epoch", closure(&NAMES)),
        ("close-epoch-without-cosignatures", closure(&[])),
        ("settle", settlement(None, &COORDINATORS, &CHECKERS)),
        ("settle-nothing", settlement(None, &[], &[])),
        (
            "settle-correction",
            settlement(Some(Hash::of(b"before")), &COORDINATORS[..1], &CHECKERS),
        ),
        ("claim", claim(2)),
        ("claim-of-the-only-account", claim(0)),
        ("claim-with-the-longest-proof", claim(63)),
        ("publish", Action::Publish(publication())),
        ("publish-least", Action::Publish(least_publication())),
        (
            "publish-all-that-fits",
            Action::Publish(largest_publication()),
        ),
        ("yank", yank(true)),
        ("yank-taken-back", yank(false)),
        ("transfer-name", transfer_name()),
        // Whether it can be done is for the ledger to say, and so is all of the next three.
        ("transfer-to-itself", {
            let to = key("//Alice");
            Action::Transfer { to, amount }
        }),
        (
            "stake-nothing",
            Action::Stake {
                amount: Amount::ZERO,
            },
        ),
        (
            "stake-all-that-fits",
            Action::Stake {
                amount: Amount::from_units(u128::MAX),
            },
        ),
        (
            "stake-smallest",
            Action::Stake {
                amount: Amount::from_units(1),
            },
        ),
    ]
    .into_iter()
    .chain(governing::good())
    .chain(accusing::good())
    .chain(late::good())
    .map(|(name, action)| (name, transaction(action)))
    .collect::<Vec<_>>();
    let stake = transaction(Action::Stake { amount });
    list.push((
        "last-number",
        Transaction {
            number: u64::MAX,
            ..stake.clone()
        },
    ));
    list.push((
        "no-fee",
        Transaction {
            fee: Amount::ZERO,
            ..stake.clone()
        },
    ));
    for (name, expires_ms) in [
        ("expires-in-1970", 0),
        ("expires-in-a-millisecond", 1_795_759_200_010),
        ("expires-on-a-leap-day", 1_709_164_800_000),
        ("expires-in-9999", 253_402_300_799_999),
    ] {
        let transaction = Transaction {
            expires_ms,
            ..stake.clone()
        };
        list.push((name, transaction));
    }
    list
}

fn good_entry(transaction: &Transaction, id: Hash) -> Value {
    json!({ "id": id, "value": values::transaction(transaction) })
}

pub fn files() -> Files {
    let mut files = Files::new();
    let (mut good_index, mut bad_index) = (Map::new(), Map::new());
    for (name, transaction) in good() {
        let signed = transaction.sign(&pair("//Alice"), &mut rng());
        let id = Hash::of(transaction.to_text().as_bytes());
        let file = format!("{name}.bin");
        good_index.insert(file.clone(), good_entry(&transaction, id));
        files.insert(format!("transactions/good/{file}"), signed.to_bytes());
    }
    for name in POLKADOT_NAMES {
        let path = format!("{POLKADOT}{name}.bin");
        let bytes = std::fs::read(folder().join(&path)).unwrap();
        let signed = SignedTransaction::from_bytes(&bytes).unwrap();
        let entry = good_entry(signed.transaction(), signed.id());
        good_index.insert(path.replace("transactions/good/", ""), entry);
    }
    for bad in bad_texts::all() {
        let file = format!("{}.bin", bad.name);
        let mut entry = json!({
            "of": bad.of, "error": bad.error, "detail": bad.detail, "why": bad.why,
        });
        let mut bytes = bad.bytes;
        let filling = bytes
            .iter()
            .rev()
            .take_while(|byte| **byte == FILLING)
            .count();
        if filling > 4096 {
            entry["then"] = json!(filling);
            bytes.truncate(bytes.len() - filling);
        } else if bad.of == "text" && bytes.len() > 64 {
            shorten(&files, &mut entry, &mut bytes);
        }
        assert!(
            bad_index.insert(file.clone(), entry).is_none(),
            "{file} twice"
        );
        files.insert(format!("transactions/bad/{file}"), bytes);
    }
    let index = json!({
        "kind": "transactions",
        "about": "signature (64) ‖ text; `of` says which check refuses a bad one: that of the text, or that of the signatures; `then` so many letters `a` come after what is in the file; where there is `like`, the first `head` and the last `tail` bytes of that good one are before and after it",
        "good": good_index,
        "bad": bad_index,
    });
    files.insert("transactions/index.json".to_owned(), json_file(index));
    files
}

/// Leaves out of a bad text, whose signature nobody looks at, what a good one has too.
fn shorten(files: &Files, entry: &mut Value, bytes: &mut Vec<u8>) {
    let same = |a: &mut dyn Iterator<Item = (&u8, &u8)>| a.take_while(|(a, b)| a == b).count();
    let parts = files.iter().filter_map(|(path, good)| {
        let name = path.strip_prefix("transactions/good/")?;
        let (_, text) = bytes.split_at(64);
        let (_, other) = good.split_at(64);
        let head = same(&mut text.iter().zip(other));
        let most = text.len().min(other.len()) - head;
        let tail = same(&mut text.iter().rev().zip(other.iter().rev()));
        Some((64 + head, tail.min(most), name))
    });
    let best = parts.max_by_key(|(head, tail, _)| head + tail);
    if let Some((head, tail, name)) = best.filter(|(head, tail, _)| head + tail > 256) {
        entry["like"] = json!(name);
        entry["head"] = json!(head);
        entry["tail"] = json!(tail);
        *bytes = bytes[head..bytes.len() - tail].to_vec();
    }
}

/// The whole of a bad transaction.
fn whole(file: &str, entry: &Value) -> Vec<u8> {
    let count = |name: &str| usize::try_from(entry[name].as_u64().unwrap_or(0)).unwrap();
    let good = match entry["like"].as_str() {
        Some(name) => read(&format!("transactions/good/{name}")),
        None => Vec::new(),
    };
    let middle = read(&format!("transactions/bad/{file}"));
    let filling = vec![FILLING; count("then")];
    let (head, tail) = (&good[..count("head")], &good[good.len() - count("tail")..]);
    [head, &middle, &filling, tail].concat()
}

/// Reads the files alone, without what they were made from.
#[test]
fn transactions_are_read_as_the_index_says() {
    let index = read_json("transactions/index.json");
    let (mut actions, mut errors) = (BTreeSet::new(), BTreeSet::new());
    for (file, entry) in index["good"].as_object().unwrap() {
        let bytes = read(&format!("transactions/good/{file}"));
        let signed = SignedTransaction::from_bytes(&bytes).unwrap();
        assert_eq!(signed.to_bytes(), bytes, "{file}");
        let verified = signed
            .verify()
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        let value = values::portable(values::transaction(verified.transaction()));
        assert_eq!(value, entry["value"], "{file}");
        assert_eq!(
            json!(verified.signed().id()),
            entry["id"],
            "the id of {file}"
        );
        actions.insert(verified.transaction().action.name());
    }
    assert_eq!(actions.len(), 27, "{actions:?}");
    for (file, entry) in index["bad"].as_object().unwrap() {
        let bytes = whole(file, entry);
        let found = match SignedTransaction::from_bytes(&bytes) {
            Err(error) => {
                let (error, detail) = values::text_error(&error);
                ("text", error, detail)
            }
            Ok(signed) => match signed.verify() {
                Err(error) => ("signature", values::signature_error(error), Value::Null),
                Ok(_) => panic!("{file} is accepted"),
            },
        };
        let expected = (&entry["of"], &entry["error"], &entry["detail"]);
        assert_eq!(
            (&json!(found.0), &json!(found.1), &found.2),
            expected,
            "{file}"
        );
        assert!(entry["why"].as_str().is_some_and(|why| why.len() > 10));
        errors.insert((found.0, found.1));
    }
    for error in values::TEXT_ERRORS {
        assert!(errors.contains(&("text", error)), "no file shows {error}");
    }
    for error in values::SIGNATURE_ERRORS {
        assert!(
            errors.contains(&("signature", error)),
            "no file shows {error}"
        );
    }
}
