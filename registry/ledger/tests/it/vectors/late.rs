//! Late receipts: as JSON, as transactions, as texts that are none.

use adit_ledger::Action;
use adit_ledger::late::{ASSIGNMENT_MAX, LateReceipt};
use adit_ledger::state::Claimed;
use adit_protocol::Hash;
use serde_json::{Value, json};

use super::bad_texts::Change;
use super::transactions::key;
use super::values::{self, hex};

/// The lists of a state's JSON that belong here.
pub const LISTS: [&str; 2] = ["late_receipts", "claimed"];

pub fn fields(action: &Action) -> Option<Value> {
    Some(match action {
        Action::LateReceipt(late) => json!({
            "coordinator": values::key(&late.coordinator),
            "receipt": hex(late.receipt),
            "assignment": hex(&late.assignment),
            "assignment_signature": hex(late.assignment_signature),
        }),
        Action::Answer {
            assignment,
            leaf,
            entry,
            proof,
        } => json!({ "assignment": assignment, "leaf": leaf, "entry": hex(entry), "proof": proof }),
        _ => return None,
    })
}

/// An entry of a state: in which list, and as what.
pub fn entry(tag: u8, key: &[u8], value: &[u8]) -> Option<(&'static str, Value)> {
    let assignment = format!("blake3:{}", &hex(key)[2..]);
    Some(match tag {
        15 => {
            let of: Claimed = minicbor::decode(value).unwrap();
            let claimed = json!({
                "assignment": assignment,
                "claimant": values::key(&of.claimant),
                "coordinator": values::key(&of.coordinator),
                "receipt": hex(of.receipt),
                "terms": of.terms,
                "log": of.log,
                "deposit": of.deposit,
                "until_epoch": of.until_epoch,
                "owed_epoch": of.owed_epoch,
                "settled_epoch": of.settled_epoch,
                "closed": of.closed,
            });
            ("late_receipts", claimed)
        }
        16 => {
            let until: u64 = minicbor::decode(value).unwrap();
            let claimed = json!({ "assignment": assignment, "until_epoch": until });
            ("claimed", claimed)
        }
        _ => return None,
    })
}

/// Whether there are such documents, and who signed them, is for the ledger to say.
pub fn claim(length: usize) -> Action {
    Action::LateReceipt(Box::new(LateReceipt {
        coordinator: key("//Node"),
        receipt: [0x5e; 520],
        assignment: vec![0xa5; length],
        assignment_signature: [0x51; 64],
    }))
}

pub fn answer(length: usize, hashes: u8) -> Action {
    Action::Answer {
        assignment: Hash::of(b"an assignment"),
        leaf: 70_000,
        entry: vec![4; length],
        proof: (0..hashes).map(|number| Hash::of(&[number])).collect(),
    }
}

pub fn good() -> Vec<(&'static str, Action)> {
    vec![
        ("late-receipt", claim(200)),
        (
            "late-receipt-with-the-longest-assignment",
            claim(ASSIGNMENT_MAX),
        ),
        ("answer", answer(40, 2)),
        ("answer-of-nothing", answer(0, 0)),
        ("answer-on-one-line", answer(480, 1)),
        ("answer-on-two-lines", answer(481, 1)),
    ]
}

#[rustfmt::skip]
pub const OF_CLAIM: &[Change] = &[
    ("late-receipt-without-countersignature", "countersignature: ", "signature: ", "missing", "countersignature", "the receipt has one signature"),
    ("late-receipt-cut-off", "receipt: 0x5e", "receipt: 0x", "value", "receipt", "body and signature have 456 bytes"),
    ("late-receipt-countersignature-cut-off", "countersignature: 0x5e", "countersignature: 0x", "value", "countersignature", "a signature has 64 bytes"),
    ("late-receipt-half-a-byte", "assignment: 0xa5", "assignment: 0xa", "value", "assignment", "a byte has two digits"),
    ("late-receipt-upper-case", "assignment: 0xa5", "assignment: 0xA5", "value", "assignment", "digits are in lower case"),
    ("late-receipt-unsigned-assignment", "assignment-signature", "assignment-sign", "missing", "assignment-signature", "the assignment must be signed"),
];

#[rustfmt::skip]
pub const OF_LONG_CLAIM: &[Change] = &[
    ("late-receipt-assignment-too-long", "assignment: 0x", "assignment: 0x00", "value", "assignment", "no assignment has so many bytes"),
];

#[rustfmt::skip]
pub const OF_ANSWER: &[Change] = &[
    ("answer-empty-line", "entry: 0x04", "entry: 0x\nentry: 0x04", "value", "entry", "a line has a byte at least"),
    ("answer-in-short-lines", "entry: 0x04", "entry: 0x04\nentry: 0x", "not-canonical", "", "a line but the last has 480 bytes"),
    ("answer-proof-first", "leaf: 70000", "proof: 70000", "missing", "leaf", "fields have an order"),
];
