//! Whole logs of a few entries, and what an auditor finds in them.

mod bad;
mod good;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_protocol::cbor::Document;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::{CancelledBy, Entry};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::Membership;
use adit_protocol::network::roster::Roster;
use adit_protocol::network::standing::{Drawn, Facts, Fault, Standing};
use adit_protocol::task::TaskSpec;
use serde_json::{Value, json};

use super::SIGNED_ERRORS;
use super::entries::ENTRY_ERRORS;
use crate::vectors::kind::{Kind, Refusal, array, bytes, hex, parse};

const FAULTS: &[&str] = &[
    "field",
    "vrf",
    "other-miner",
    "nobody-eligible",
    "not-open",
    "not-unjudged",
    "twice",
];

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        let (error, detail) = match fault {
            Fault::Signed(error) => return error.into(),
            Fault::Field { field, detail: _ } => ("field", json!({ "field": field })),
            Fault::Vrf => ("vrf", json!({})),
            Fault::OtherMiner { expected, found } => (
                "other-miner",
                json!({ "expected": expected, "found": found }),
            ),
            Fault::NobodyEligible { nobody, found } => (
                "nobody-eligible",
                json!({ "nobody": nobody, "found": found }),
            ),
            Fault::NotOpen(hash) => ("not-open", json!({ "assignment": hash })),
            Fault::NotUnjudged(hash) => ("not-unjudged", json!({ "receipt": hash })),
            Fault::Twice(hash) => ("twice", json!({ "what": hash })),
            other => panic!("{other:?} has no name here"),
        };
        Refusal { error, detail }
    }
}

pub fn kind() -> Kind {
    Kind {
        name: "audited-logs",
        extension: "json",
        about: "Whole logs of a coordinator, with the rosters and the task specs that are disclosed, and what an auditor finds. Good ones have no fault; the value is where the log leaves the miners, and what was drawn. Bad ones have exactly one, at the leaf in the detail. An auditor forgets a task once it has an accepted result, or was cancelled for another reason than that, and none of its leases is open; a lease of it after that is a fault.",
        good: good::logs(),
        bad: bad::logs(),
        check: audit,
        errors: &[
            ("Fault", FAULTS),
            ("SignedError", SIGNED_ERRORS),
            ("EntryError", ENTRY_ERRORS),
        ],
    }
}

/// A log and what it refers to, as a file has it.
struct Log {
    genesis: Genesis,
    coordinator: [u8; 32],
    membership: Arc<Membership>,
    rosters: BTreeMap<Hash, Arc<Roster>>,
    tasks: BTreeMap<Hash, TaskSpec>,
    entries: Vec<Vec<u8>>,
}

impl Log {
    fn parse(file: &[u8]) -> Log {
        let file = parse(file);
        let named = |key: &str| {
            let map = file[key].as_object().expect("a map");
            let entry = |name: &String| {
                let hash: Hash = name.parse().expect("a hash");
                (hash, bytes(&file[key], name))
            };
            map.keys().map(entry).collect::<Vec<_>>()
        };
        let entries = file["entries"].as_array().expect("a list");
        let entry = |entry: &Value| bytes(&json!({ "entry": entry }), "entry");
        let roster = |bytes: Vec<u8>| Roster::from_cbor(&bytes).expect("a roster");
        let task = |bytes: Vec<u8>| TaskSpec::from_cbor(&bytes).expect("a task spec");
        Log {
            genesis: Genesis::from_cbor(&bytes(&file, "genesis")).expect("a genesis document"),
            coordinator: array(&file, "coordinator"),
            membership: Membership::from_cbor(&bytes(&file, "membership"))
                .map(Arc::new)
                .expect("a membership"),
            rosters: (named("rosters").into_iter())
                .map(|(hash, bytes)| (hash, Arc::new(roster(bytes))))
                .collect(),
            tasks: (named("tasks").into_iter())
                .map(|(hash, bytes)| (hash, task(bytes)))
                .collect(),
            entries: entries.iter().map(entry).collect(),
        }
    }

    fn facts(&self, entry: &Entry) -> Facts {
        let mut facts = Facts::default();
        match entry {
            Entry::Roster(roster) => {
                facts.roster = self.rosters.get(&roster.root).cloned();
                facts.membership = Some(Arc::clone(&self.membership));
            }
            Entry::Assignment(signed) => {
                let task = signed.unverified().ok().map(|a| a.task);
                let spec = task.and_then(|task| self.tasks.get(&task));
                spec.into_iter().for_each(|spec| facts.disclose(spec));
            }
            _ => {}
        }
        facts
    }
}

/// Forgets what is over, so that a lease of it is a fault.
fn forget(standing: &mut Standing, entry: &Entry) {
    let (task, ended) = match entry {
        Entry::Verdict(verdict) => (verdict.task, false),
        Entry::Receipt(receipt) => (receipt.body.task, false),
        Entry::Cancel(cancel) => (cancel.task, cancel.by != CancelledBy::Decided),
        _ => return,
    };
    if ended || standing.task(&task).is_some_and(|task| task.accepted > 0) {
        standing.forget(&task);
    }
}

/// All that an auditor finds, or else where the log leaves everyone.
fn audit(file: &[u8], _: &Value) -> Result<Value, Refusal> {
    let log = Log::parse(file);
    let mut standing = Standing::new(&log.genesis, log.coordinator, true);
    let mut found: Vec<Refusal> = Vec::new();
    let mut draws = Vec::new();
    for (leaf, bytes) in (0u64..).zip(&log.entries) {
        let mut fault = |mut refusal: Refusal| {
            if refusal.detail.is_null() {
                refusal.detail = json!({});
            }
            refusal.detail["leaf"] = json!(leaf);
            found.push(refusal);
        };
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                fault(error.into());
                continue;
            }
        };
        let facts = log.facts(&entry);
        if let (Entry::Assignment(signed), Some(wanted)) = (&entry, &facts.requirements) {
            let a = signed.unverified().expect("its task is known");
            let drawn = standing.draw(&a.task, wanted, a.attempt, a.replica, a.local);
            if let Drawn::Miner {
                number, candidate, ..
            } = drawn
            {
                let miner = hex(candidate.node);
                draws.push(json!({ "leaf": leaf, "number": number, "miner": miner }));
            }
        }
        if let Entry::Receipt(receipt) = &entry
            && let Err(error) = receipt.verify_miner()
        {
            fault(error.into());
        }
        let faults = standing.apply(leaf, &entry, &facts);
        faults.into_iter().for_each(|each| fault(each.into()));
        forget(&mut standing, &entry);
    }
    assert!(found.len() <= 1, "one fault each, and not {found:?}");
    match found.pop() {
        Some(refusal) => Err(refusal),
        None => Ok(value(&log, &standing, draws)),
    }
}

fn value(log: &Log, standing: &Standing, draws: Vec<Value>) -> Value {
    let miners = log.membership.miners.iter().map(|member| {
        let record = standing.record(&member.node);
        let (seq, newest) = standing.newest(&member.node);
        let value = json!({
            "good": record.good,
            "bad": record.bad,
            "streak": record.streak,
            "open": standing.load(&member.node),
            "seq": seq,
            "newest": newest,
        });
        (hex(member.node), value)
    });
    let mut open: Vec<(u64, String)> = (standing.leases())
        .map(|(hash, lease)| (lease.leaf, hash.to_string()))
        .collect();
    open.sort();
    let open: Vec<Value> = (open.into_iter())
        .map(|(leaf, hash)| json!({ "leaf": leaf, "assignment": hash }))
        .collect();
    json!({
        "miners": miners.collect::<serde_json::Map<_, _>>(),
        "open": open,
        "draws": draws,
    })
}
