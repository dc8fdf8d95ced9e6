//! What was promised to whom, as somebody outside sees it; and what of it was broken.

use std::collections::BTreeMap;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::network::exchange::{HandIn, HandInAnswer};
use adit_protocol::receipt::Receipt;
use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::Report;
use super::wire::Letter;

/// What always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Each task that was taken ends, once, and an idempotency key makes one task.
    EndsOnce,
    /// Each receipt that was acknowledged is in the log once, at the leaf that was named.
    AcknowledgedOnce,
    /// The log never forks: each checkpoint is a prefix of each later one.
    NeverForks,
    /// No lease is paid twice or after its end, and no task pays more than it ordered.
    PaidOnce,
    /// No miner signs two bodies for one assignment, or for one number.
    OneBody,
    /// Memory and queues are bounded, and empty when nothing is left to do.
    Bounded,
    /// Processes start again, and say nothing of a failure of their own.
    Works,
}

/// Something that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Of what.
    pub invariant: Invariant,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

/// Most violations that are kept; the first ones tell.
const VIOLATIONS: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub struct Ledger {
    violations: Vec<Violation>,
    /// The task of each idempotency key.
    pub taken: BTreeMap<String, Hash>,
    /// How tasks ended: state and first receipt.
    pub ended: BTreeMap<Hash, (String, Option<Hash>)>,
    /// Leaves of the receipts that were acknowledged.
    pub acknowledged: BTreeMap<Hash, u64>,
    by_number: BTreeMap<([u8; 32], u64), Hash>,
    by_assignment: BTreeMap<Hash, Hash>,
    /// Roots of all checkpoints that were published, by size.
    pub checkpoints: BTreeMap<u64, Hash>,
    /// For the report.
    pub entries: u64,
    /// For the report.
    pub receipts: u64,
}

impl Ledger {
    /// Notes a violation.
    pub fn broken(&mut self, invariant: Invariant, at_ms: u64, what: String) {
        if self.violations.len() < VIOLATIONS {
            self.violations.push(Violation {
                invariant,
                at_ms,
                what,
            });
        }
    }

    /// Receipts leave a miner, signed.
    pub fn signed(&mut self, at_ms: u64, receipts: &HandIn) {
        for item in &receipts.items {
            let Ok(receipt) = Receipt::from_bytes(&item.receipt) else {
                let what = "a miner sends what is no receipt".to_owned();
                self.broken(Invariant::OneBody, at_ms, what);
                continue;
            };
            let (body, id) = (&receipt.body, receipt.id());
            let number = (body.miner, body.seq);
            let known = *self.by_number.entry(number).or_insert(id);
            if known != id {
                let what = format!("number {} stands for {known} and {id}", body.seq);
                self.broken(Invariant::OneBody, at_ms, what);
            }
            let known = *self.by_assignment.entry(body.assignment).or_insert(id);
            if known != id {
                let what = format!("{} has the receipts {known} and {id}", body.assignment);
                self.broken(Invariant::OneBody, at_ms, what);
            }
        }
    }

    /// The coordinator has answered, whether or not that arrives.
    pub fn answered(&mut self, at_ms: u64, letter: &Letter, response: &Response<Bytes>) {
        if letter.head.uri.path() != "/v1/miner/receipts" || !response.status().is_success() {
            return;
        }
        let read = (
            HandIn::from_cbor(&letter.body),
            HandInAnswer::from_cbor(response.body()),
        );
        let (Ok(request), Ok(answer)) = read else {
            let what = "an answer to receipts cannot be read".to_owned();
            return self.broken(Invariant::Works, at_ms, what);
        };
        for (item, result) in request.items.iter().zip(&answer.results) {
            let (Some(leaf), Ok(receipt)) = (result.leaf, Receipt::from_bytes(&item.receipt))
            else {
                continue;
            };
            let id = receipt.id();
            let known = *self.acknowledged.entry(id).or_insert(leaf);
            if known != leaf {
                let what = format!("{id} was acknowledged at the leaves {known} and {leaf}");
                self.broken(Invariant::AcknowledgedOnce, at_ms, what);
            }
        }
    }

    /// A client was told the task of its key.
    pub fn taken(&mut self, at_ms: u64, key: &str, task: Hash) {
        let known = *self.taken.entry(key.to_owned()).or_insert(task);
        if known != task {
            let what = format!("the key {key} made the tasks {known} and {task}");
            self.broken(Invariant::EndsOnce, at_ms, what);
        }
    }

    /// A client was shown a task that has ended.
    pub fn shown(&mut self, at_ms: u64, task: Hash, view: &Value) {
        let state = view["state"].as_str().unwrap_or_default().to_owned();
        let receipt = view["result"]["receipt"].as_str();
        let end = (state, receipt.and_then(|text| text.parse().ok()));
        let known = self.ended.entry(task).or_insert_with(|| end.clone());
        if *known != end {
            let what = format!("{task} ended as {known:?}, then as {end:?}");
            self.broken(Invariant::EndsOnce, at_ms, what);
        }
    }

    /// A checkpoint was published.
    pub fn published(&mut self, at_ms: u64, size: u64, root: Hash) {
        let known = *self.checkpoints.entry(size).or_insert(root);
        if known != root {
            let what = format!("size {size} has the roots {known} and {root}");
            self.broken(Invariant::NeverForks, at_ms, what);
        }
    }

    /// What the report says of it.
    pub fn report(&mut self) -> Report {
        let completed = self
            .ended
            .values()
            .filter(|(state, _)| state == "completed");
        let completed = completed.count();
        Report {
            violations: self.violations.clone(),
            completed: completed as u64,
            not_completed: (self.ended.len() - completed) as u64,
            receipts: self.receipts,
            entries: self.entries,
            ..Report::default()
        }
    }
}
