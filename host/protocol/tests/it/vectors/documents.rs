//! Every CBOR document, and the ways in which bytes fail to be one.

mod device_reports;
mod environments;
mod hardware;
mod inference;
pub mod samples;

use adit_protocol::cbor::{DecodeError, Document, Reason};
use serde::Serialize;
use serde_json::{Value, json};

use super::cbor::{Entries, Node};
use super::kind::{Bad, Good, Kind, Refusal, names};

names! { Reason, REASONS:
    Reason::TooLong { found, max } => "too-long" {"found": found, "max": max}
    Reason::CutOff { offset } => "cut-off" {"at": offset}
    Reason::Trailing { offset } => "trailing" {"at": offset}
    Reason::NotDeterministic { offset, what } => "not-deterministic" {"at": offset, "what": what}
    Reason::OverBound { offset, what, found, max } =>
        "over-bound" {"at": offset, "what": what, "found": found, "max": max}
    // The message of our CBOR library, and nothing that others could compare.
    Reason::Malformed { detail: _ } => "malformed" null
    Reason::Invalid { field, detail: _ } => "invalid" {"field": field}
    Reason::NotReproduced { offset } => "not-reproduced" {"at": offset}
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Refusal {
        error.reason.into()
    }
}

pub fn kinds() -> Vec<Kind> {
    let mut bad_environments = environments::bad_environments();
    bad_environments.extend(scanner_failures(&environments::environments()[0].1));
    vec![
        kind(
            "engine-documents",
            "Engine documents: what a runtime is and how it behaves. The hash is the engine id.",
            samples::engines(),
            samples::bad_engines(),
        ),
        kind(
            "exec-specs",
            "Exec specs: what determines a result.",
            samples::execs(),
            samples::bad_execs(),
        ),
        kind(
            "task-specs",
            "Task specs: an exec spec with price, salt and policy. The hash is the task id.",
            samples::tasks(),
            samples::bad_tasks(),
        ),
        kind(
            "model-manifests",
            "Model manifests: what guests and auditors may rely on about a model.",
            inference::manifests(),
            inference::bad_manifests(),
        ),
        kind(
            "environment-documents",
            "Environment documents: where inference ran. Bad ones show the rules of CBOR too.",
            environments::environments(),
            bad_environments,
        ),
        kind(
            "transcripts",
            "Transcripts: every inference call of a run. Whether their chains hold is another kind.",
            inference::transcripts(),
            inference::bad_transcripts(),
        ),
        kind(
            "receipt-openings",
            "Receipt openings: the hashes behind a receipt's commitments.",
            samples::openings(),
            samples::bad_openings(),
        ),
        kind(
            "hardware-records",
            "Hardware records: what a node claims of its machine, before it signs.",
            hardware::records(),
            hardware::bad_records(),
        ),
        hardware::signed(),
        kind(
            "device-reports",
            "Device reports: what was measured about one model on one device.",
            device_reports::reports(),
            device_reports::bad_reports(),
        ),
    ]
}

pub fn kind<D: Document + Serialize>(
    name: &'static str,
    about: &'static str,
    good: Vec<(&str, D)>,
    mut bad: Vec<Bad>,
) -> Kind {
    bad.extend(structure_failures(&good[0].1));
    let good = good.into_iter().map(|(name, document)| {
        assert_eq!(document.validate(), Ok(()), "{name}");
        Good::new(name, document.to_cbor(), value(&document))
    });
    Kind {
        name,
        extension: "bin",
        about,
        good: good.collect(),
        bad,
        check: |file, _| {
            let document = D::from_cbor(file)?;
            assert_eq!(document.to_cbor(), file);
            Ok(value(&document))
        },
        errors: &[("DecodeError", REASONS)],
    }
}

pub fn value<D: Document + Serialize>(document: &D) -> Value {
    json!({ "hash": document.hash(), "document": document })
}

pub const SHORTEST: &str = "an integer or length that is not in its shortest form";
pub const ORDER: &str = "a key that is repeated or out of order";
const NO_KIND: &str = "a kind of value that no document uses";

pub fn malformed() -> Reason {
    Reason::Malformed {
        detail: String::new(),
    }
}

/// A document whose own rules are broken, but which is encoded well.
pub fn invalid<D: Document>(name: &str, document: &D, field: &'static str, why: &str) -> Bad {
    let detail = String::new();
    Bad::new(
        name,
        document.to_cbor(),
        Reason::Invalid { field, detail },
        why,
    )
}

/// A document with the value at `path` replaced by one that has another type.
pub fn mistyped<D: Document>(name: &str, good: &D, path: &[usize], raw: &[u8], why: &str) -> Bad {
    Bad::new(name, replaced(good, path, raw), malformed(), why)
}

pub fn replaced<D: Document>(good: &D, path: &[usize], raw: &[u8]) -> Vec<u8> {
    let mut node = Node::parse(&good.to_cbor());
    *node.at(path) = Node::Raw(raw.to_vec());
    node.encode()
}

/// The failures that every document must be guarded against.
pub fn structure_failures<D: Document>(good: &D) -> Vec<Bad> {
    let bytes = good.to_cbor();
    let changed = |change: &dyn Fn(&mut Entries)| {
        let mut node = Node::parse(&bytes);
        change(node.entries());
        node.encode()
    };
    let key = |number: u8| Node::Raw(vec![number]);
    let order = |offset| Reason::NotDeterministic {
        offset,
        what: ORDER,
    };
    let last = Node::parse(&bytes).entries().len() as u8;
    let first = Node::parse(&bytes).entries()[0].1.encode().len();
    let repeated = |why| {
        let mut twice = Node::parse(&bytes);
        match &mut twice.entries()[..] {
            [_] => twice.entries().push((key(0), key(0))),
            [_, second, ..] => second.0 = key(0),
            [] => panic!("no document is empty"),
        }
        // Behind the map's head, the first key and its value.
        Bad::new("repeated-key", twice.encode(), order(2 + first), why)
    };
    let mut failures = vec![
        Bad::new(
            "truncated",
            &bytes[..bytes.len() - 1],
            Reason::CutOff {
                offset: bytes.len() - 1,
            },
            "the last byte is missing",
        ),
        Bad::new(
            "trailing-byte",
            [&bytes[..], &[0]].concat(),
            Reason::Trailing {
                offset: bytes.len(),
            },
            "a byte follows the document",
        ),
        Bad::new(
            "unknown-key",
            // Above every key of every document; the map's head counts it.
            changed(&|entries| entries.push((key(23), key(0)))),
            Reason::NotReproduced { offset: 0 },
            "it has a field with the key 23, which no document has",
        ),
        Bad::new(
            "missing-key",
            changed(&|entries| drop(entries.remove(0))),
            malformed(),
            "the field with the key 0 is missing",
        ),
        repeated("the second field has the key of the first"),
        Bad::new(
            "key-not-shortest",
            changed(&|entries| entries[0].0 = Node::Raw(vec![0x18, 0])),
            Reason::NotDeterministic {
                offset: 1,
                what: SHORTEST,
            },
            "the key 0 is written in two bytes",
        ),
        Bad::new(
            "length-of-map-not-shortest",
            [&[0xb8, last], &bytes[1..]].concat(),
            Reason::NotDeterministic {
                offset: 0,
                what: SHORTEST,
            },
            "the number of fields is written in two bytes",
        ),
        Bad::new(
            "indefinite-length",
            [&[0xbf], &bytes[1..], &[0xff]].concat(),
            Reason::NotDeterministic {
                offset: 0,
                what: "a length that is not given in advance",
            },
            "the map is of indefinite length",
        ),
        Bad::new(
            "array-in-place-of-map",
            [0x80],
            malformed(),
            "it is an empty array",
        ),
        Bad::new(
            "wrong-type",
            changed(&|entries| entries[0].1 = Node::Raw(vec![0xf5])),
            malformed(),
            "the first field is a boolean",
        ),
    ];
    if last > 1 {
        let second = Node::parse(&bytes).entries()[1].1.encode().len();
        failures.push(Bad::new(
            "keys-out-of-order",
            changed(&|entries| entries.swap(0, 1)),
            order(2 + second),
            "the field with the key 1 stands before that with the key 0",
        ));
    }
    failures
}

/// What the pass over the bytes refuses in any document, shown on one: the value of its first field
/// is replaced.
fn scanner_failures<D: Document>(good: &D) -> Vec<Bad> {
    let not = |name, raw: &[u8], offset, what, why| {
        Bad::new(
            name,
            replaced(good, &[0], raw),
            Reason::NotDeterministic { offset, what },
            why,
        )
    };
    let over = |name, raw: &[u8], offset, what, found, max, why| {
        let reason = Reason::OverBound {
            offset,
            what,
            found,
            max,
        };
        Bad::new(name, replaced(good, &[0], raw), reason, why)
    };
    let simple = "a float or an unassigned simple value";
    let hash = [7; 32];
    let key = "a key that is neither an integer nor a text";
    // A map and a key stand before the value.
    vec![
        Bad::new(
            "empty",
            [],
            Reason::CutOff { offset: 0 },
            "there are no bytes at all",
        ),
        not(
            "length-of-bytes-not-shortest",
            &[&[0x59, 0, 32][..], &hash].concat(),
            2,
            SHORTEST,
            "the length 32 is written in three bytes",
        ),
        not(
            "integer-not-shortest",
            &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255],
            2,
            SHORTEST,
            "2^32 - 1 is written in nine bytes",
        ),
        not(
            "bytes-in-pieces",
            &[&[0x5f, 0x58, 32][..], &hash, &[0xff]].concat(),
            2,
            "a length that is not given in advance",
            "the byte string comes in pieces",
        ),
        not(
            "null",
            &[0xf6],
            2,
            NO_KIND,
            "a null is no way to leave a field out",
        ),
        not(
            "undefined",
            &[0xf7],
            2,
            NO_KIND,
            "no document has an undefined value",
        ),
        not(
            "negative-integer",
            &[0x20],
            2,
            NO_KIND,
            "no document has negative numbers",
        ),
        not(
            "float",
            &[0xf9, 0x3c, 0],
            2,
            simple,
            "no document has floats",
        ),
        not(
            "nan",
            &[0xfa, 0x7f, 0xc0, 0, 1],
            2,
            simple,
            "no document has floats, and this one is NaN with a payload",
        ),
        not(
            "simple-value",
            &[0xf8, 32],
            2,
            simple,
            "no document has simple values but false and true",
        ),
        not(
            "tag",
            &[&[0xc1, 0x58, 32][..], &hash].concat(),
            2,
            NO_KIND,
            "no tag but that of large integers is used",
        ),
        not(
            "reserved-initial-byte",
            &[0x1c],
            2,
            "a reserved initial byte",
            "the initial byte 1c is reserved",
        ),
        not(
            "text-not-utf-8",
            &[0x62, 0xc3, 0x28],
            2,
            "a text that is not UTF-8",
            "the text is not UTF-8",
        ),
        not(
            "text-with-surrogate",
            &[0x63, 0xed, 0xa0, 0x80],
            2,
            "a text that is not UTF-8",
            "the text has half of a surrogate pair",
        ),
        not(
            "key-of-bytes",
            &[0xa1, 0x41, 0, 0],
            3,
            key,
            "a byte string is no key",
        ),
        not(
            "text-keys-out-of-order",
            &[0xa2, 0x62, b'a', b'a', 0, 0x61, b'b', 0],
            7,
            ORDER,
            "a longer key stands before a shorter one",
        ),
        over(
            "bytes-over-bound",
            &[&[0x58, 65][..], &[7; 65]].concat(),
            2,
            "byte string",
            65,
            64,
            "no document has a byte string longer than a signature",
        ),
        over(
            "text-over-bound",
            &[&[0x79, 4, 1][..], &[b'a'; 1025]].concat(),
            2,
            "text",
            1025,
            1024,
            "1025 bytes are one too many",
        ),
        over(
            "array-over-bound",
            &[&[0x99, 0x10, 0x01][..], &[0; 4097]].concat(),
            2,
            "array",
            4097,
            4096,
            "4097 entries are one too many",
        ),
        over(
            "map-of-2-to-the-64",
            &[0xbb, 255, 255, 255, 255, 255, 255, 255, 255],
            2,
            "map",
            u64::MAX,
            4096,
            "the map claims as many entries as 64 bits can count",
        ),
        over(
            "nested-too-deeply",
            &[0x81; 9],
            9,
            "nesting",
            9,
            8,
            "nine levels, where the deepest document has five",
        ),
    ]
}
