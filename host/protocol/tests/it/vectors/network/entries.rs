//! Entries of a coordinator's log: a type and a body.

use adit_protocol::cbor::Document;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::{
    Cancel, CancelledBy, Decision, Entry, EntryError, Expiry, Judged, Verdict,
};
use adit_protocol::network::roster::RosterEntry;
use adit_protocol::signed::Signable;
use serde_json::json;

use super::leases::{acceptance, assignment};
use super::sample_genesis;
use crate::fixtures::{coordinator, miner, receipt, rng};
use crate::vectors::cbor::Node;
use crate::vectors::documents::replaced;
use crate::vectors::documents::samples::h;
use crate::vectors::kind::{Bad, Good, Kind, Refusal, names};

names! { EntryError, ENTRY_ERRORS:
    EntryError::Empty => "entry-empty" null
    EntryError::Type(found) => "entry-type" {"type": found}
    // Which rule of its own is broken, by the name that its kind has for it.
    EntryError::Receipt(error) => "entry-receipt" {"rule": Refusal::from(error).error}
    EntryError::Document(error) => "entry-document"
        {"document": error.document, "rule": Refusal::from(error).error}
}

const DECISIONS: [Decision; 8] = [
    Decision::Accepted,
    Decision::Outvoted,
    Decision::NoQuorum,
    Decision::RefusedByValidator,
    Decision::Late,
    Decision::Mismatch,
    Decision::NotAttestable,
    Decision::TaskCancelled,
];

fn verdict() -> Verdict {
    let judged = DECISIONS.into_iter().map(|decision| Judged {
        receipt: h(&format!("receipt {decision:?}")),
        decision,
    });
    Verdict {
        task: h("task"),
        receipts: judged.collect(),
        validator: Some(h("validator")),
    }
}

fn expiry() -> Expiry {
    Expiry {
        assignment: assignment().hash(),
        at_ms: 1_700_000_060_000,
        acceptance: Some(acceptance().sign(&miner(1), &mut rng())),
    }
}

fn cancel(by: CancelledBy) -> Cancel {
    Cancel {
        task: h("task"),
        by,
        at_ms: 1_700_000_050_000,
        assignments: vec![assignment().hash(), h("another assignment")],
    }
}

fn roster() -> RosterEntry {
    let roster = super::rosters::roster();
    let genesis = sample_genesis().hash();
    RosterEntry::make(&genesis, &roster, 7, 5_000, &coordinator(), &mut rng()).0
}

fn unsigned_receipt() -> adit_protocol::receipt::Receipt {
    crate::fixtures::body(&miner(1), 1).sign(&miner(1), &mut rng())
}

pub fn kind() -> Kind {
    let receipts = |entry| Entry::Receipt(Box::new(entry));
    let good = vec![
        ("receipt", receipts(receipt(&miner(1), 6))),
        // The countersignature goes out with the entry's place, so the entry cannot have it.
        (
            "receipt-without-countersignature",
            receipts(unsigned_receipt()),
        ),
        ("verdict", Entry::Verdict(verdict())),
        (
            "verdict-least",
            Entry::Verdict(Verdict {
                receipts: verdict().receipts[..1].to_vec(),
                validator: None,
                ..verdict()
            }),
        ),
        ("roster", Entry::Roster(roster())),
        ("expiry", Entry::Expiry(expiry())),
        (
            "expiry-without-acceptance",
            Entry::Expiry(Expiry {
                acceptance: None,
                ..expiry()
            }),
        ),
        (
            "cancel-by-client",
            Entry::Cancel(cancel(CancelledBy::Client)),
        ),
        (
            "cancel-by-coordinator",
            Entry::Cancel(cancel(CancelledBy::Coordinator)),
        ),
        (
            "cancel-decided-and-nothing-open",
            Entry::Cancel(Cancel {
                assignments: vec![],
                ..cancel(CancelledBy::Decided)
            }),
        ),
        (
            "assignment",
            Entry::Assignment(assignment().sign(&coordinator(), &mut rng())),
        ),
    ];
    let good = good.into_iter().map(|(name, entry)| {
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes).as_ref(), Ok(&entry), "{name}");
        Good::new(name, bytes, json!(entry))
    });
    Kind {
        name: "log-entries",
        extension: "bin",
        about: "Entries of a coordinator's log: a byte for the type, then 1 a receipt, 2 a verdict, 3 a roster entry, 4 an expiry, 5 a cancel, 6 a signed assignment. Signatures in them are another matter.",
        good: good.collect(),
        bad: bad(),
        check: |file, _| {
            let entry = Entry::decode(file)?;
            assert_eq!(entry.encode(), file);
            Ok(json!(entry))
        },
        errors: &[("EntryError", ENTRY_ERRORS)],
    }
}

fn bad() -> Vec<Bad> {
    let refused = |name, bytes: Vec<u8>, why| {
        let error = Entry::decode(&bytes).expect_err(name);
        Bad::new(name, bytes, error, why)
    };
    let of = |kind: u8, body: &[u8]| [&[kind], body].concat();
    let sample = receipt(&miner(1), 6).to_bytes();
    let mut magic = sample;
    magic[0] ^= 1;
    let empty = Verdict {
        receipts: vec![],
        ..verdict()
    };
    let judgement = |receipts: Node| {
        let mut node = Node::parse(&verdict().to_cbor());
        *node.at(&[1]) = receipts;
        node.encode()
    };
    let signed = assignment().sign(&coordinator(), &mut rng());
    let many = Cancel {
        assignments: (0..257u16).map(|n| Hash::of(&n.to_le_bytes())).collect(),
        ..cancel(CancelledBy::Client)
    };
    vec![
        refused("empty", vec![], "there is not even a type"),
        refused("type-0", of(0, &verdict().to_cbor()), "there is no type 0"),
        refused("type-7", of(7, &verdict().to_cbor()), "there is no type 7"),
        refused(
            "type-of-another-body",
            of(4, &verdict().to_cbor()),
            "a verdict bears the type of expiries",
        ),
        refused("type-alone", vec![5], "there is a type and no body"),
        refused(
            "receipt-of-519-bytes",
            of(1, &sample[..519]),
            "a byte of the receipt is missing",
        ),
        refused(
            "receipt-of-521-bytes",
            of(1, &[&sample[..], &[0]].concat()),
            "a byte follows the receipt",
        ),
        refused(
            "receipt-with-other-magic",
            of(1, &magic),
            "the receipt does not begin as one",
        ),
        refused(
            "verdict-on-nothing",
            of(2, &empty.to_cbor()),
            "the verdict is on no receipt",
        ),
        refused(
            "verdict-on-1025",
            of(2, &judgement(Node::Raw(vec![0x99, 4, 1]))),
            "the verdict claims 1025 receipts, one too many",
        ),
        refused(
            "decision-8",
            of(2, &replaced(&verdict(), &[1, 0, 1], &[8])),
            "there is no decision 8",
        ),
        refused(
            "verdict-with-unknown-key",
            of(2, &{
                let mut node = Node::parse(&verdict().to_cbor());
                let key = |number: u8| Node::Raw(vec![number]);
                node.entries().push((key(9), key(0)));
                node.encode()
            }),
            "the verdict has a field with the key 9",
        ),
        refused(
            "roster-with-trailing-byte",
            of(3, &[&roster().to_cbor()[..], &[0]].concat()),
            "a byte follows the roster's entry",
        ),
        refused(
            "roster-cut-off",
            of(3, &roster().to_cbor()[..100]),
            "the entry of a roster ends in the middle",
        ),
        refused(
            "expiry-with-acceptance-of-null",
            of(4, &replaced(&expiry(), &[2], &[0xf6])),
            "a null is no way to leave the acceptance out",
        ),
        refused(
            "expiry-with-body-of-129-bytes",
            of(
                4,
                &replaced(&expiry(), &[2, 0], &[&[0x58, 129][..], &[7; 129]].concat()),
            ),
            "the accepted document is longer than an acceptance can be",
        ),
        refused(
            "expiry-with-acceptance-of-three-fields",
            of(4, &{
                let mut node = Node::parse(&expiry().to_cbor());
                let key = |number: u8| Node::Raw(vec![number]);
                node.at(&[2]).entries().push((key(2), key(0)));
                node.encode()
            }),
            "the signed acceptance has a third field",
        ),
        refused(
            "cancelled-by-3",
            of(5, &replaced(&cancel(CancelledBy::Client), &[1], &[3])),
            "nobody who can cancel has the number 3",
        ),
        refused(
            "cancel-of-257",
            of(5, &many.to_cbor()),
            "257 assignments are one too many",
        ),
        refused(
            "assignment-without-signature",
            of(6, &assignment().to_cbor()),
            "the assignment is not signed",
        ),
        refused(
            "assignment-with-signature-of-63-bytes",
            of(
                6,
                &replaced(&signed, &[1], &[&[0x58, 63][..], &[3; 63]].concat()),
            ),
            "a byte of the signature is missing",
        ),
    ]
}
