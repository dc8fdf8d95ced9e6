//! Reports, accusations and verdicts: as JSON, as transactions, as texts that are none.

use adit_ledger::Action;
use adit_ledger::slashing::{Evidence, Misdeed};
use adit_ledger::state::Report;
use adit_ledger::transaction::Attestation;
use adit_protocol::Hash;
use serde_json::{Value, json};

use super::bad_texts::Change;
use super::transactions::key;
use super::values::{self, hex};

/// The lists of a state's JSON that belong here.
pub const LISTS: [&str; 2] = ["reports", "misdeeds"];

pub fn fields(action: &Action) -> Option<Value> {
    Some(match action {
        Action::Report { node, evidence } => match &**evidence {
            Evidence::Equivocation { first, second } => json!({
                "node": values::key(node),
                "misdeed": "equivocation",
                "first": hex(first),
                "second": hex(second),
            }),
            Evidence::LogFork {
                key,
                size,
                first,
                second,
            } => json!({
                "node": values::key(node),
                "misdeed": "log-fork",
                "key": values::key(key),
                "size": size,
                "first_root": first.0,
                "first_signature": hex(first.1),
                "second_root": second.0,
                "second_signature": hex(second.1),
            }),
        },
        Action::Accuse {
            node,
            misdeed,
            evidence,
        } => json!({ "node": values::key(node), "misdeed": misdeed, "evidence": evidence }),
        Action::Verdict {
            report,
            fraction_ppm,
            attestations,
        } => {
            json!({
                "report": report,
                "verdict": if fraction_ppm.is_some() { "guilty" } else { "not-guilty" },
                "fraction_ppm": fraction_ppm,
                "attestations": values::attestations(attestations),
            })
        }
        Action::Appeal { report } => json!({ "report": report }),
        Action::Unjail { node } => json!({ "node": values::key(node) }),
        _ => return None,
    })
}

/// An entry of a state: in which list, and as what.
pub fn entry(tag: u8, key: &[u8], value: &[u8]) -> Option<(&'static str, Value)> {
    let first = hex(&key[..key.len().min(32)]);
    Some(match tag {
        13 => {
            let of: Report = minicbor::decode(value).unwrap();
            let report = json!({
                "id": format!("blake3:{}", &first[2..]),
                "reporter": values::key(&of.reporter),
                "node": values::key(&of.node),
                "misdeed": of.misdeed,
                "evidence": of.evidence,
                "deposit": of.deposit,
                "until_epoch": of.until_epoch,
                "verdict_ppm": of.verdict_ppm,
                "appeal": of.appeal,
                "decided": of.decided,
            });
            ("reports", report)
        }
        14 => {
            let report: Hash = minicbor::decode(value).unwrap();
            let misdeed = format!("blake3:{}", &hex(&key[32..])[2..]);
            let misdeed = json!({ "key": first, "misdeed": misdeed, "report": report });
            ("misdeeds", misdeed)
        }
        _ => return None,
    })
}

pub fn fork() -> Action {
    Action::Report {
        node: key("//Node"),
        evidence: Box::new(Evidence::LogFork {
            key: key("//Node//2"),
            size: 20_852_163,
            first: (Hash::of(b"1"), [1; 64]),
            second: (Hash::of(b"2"), [2; 64]),
        }),
    }
}

/// The keys of checkers, ascending.
fn checkers(count: usize) -> Vec<Attestation> {
    let mut all: Vec<_> = (0..count)
        .map(|number| Attestation {
            checker: key(&format!("//Checker//{number}")),
            signature: [3; 64],
        })
        .collect();
    all.sort_by_key(|one| one.checker);
    all
}

pub fn verdict(count: usize) -> Action {
    Action::Verdict {
        report: Hash::of(b"a report"),
        fraction_ppm: Some(333_333),
        attestations: checkers(count),
    }
}

pub fn accusation() -> Action {
    Action::Accuse {
        node: key("//Node"),
        misdeed: Misdeed::WrongExecution,
        evidence: Hash::of(b"a receipt"),
    }
}

pub fn good() -> Vec<(&'static str, Action)> {
    let accuses = |misdeed| Action::Accuse {
        node: key("//Node"),
        misdeed,
        evidence: Hash::ZERO,
    };
    let report = Hash::of(b"a report");
    vec![
        (
            // Whether it proves anything is for the ledger to say.
            "report-equivocation",
            Action::Report {
                node: key("//Node"),
                evidence: Box::new(Evidence::Equivocation {
                    first: [0; 456],
                    second: [0xfe; 456],
                }),
            },
        ),
        ("report-log-fork", fork()),
        ("accuse-wrong-execution", accusation()),
        ("accuse-missing-receipt", accuses(Misdeed::MissingReceipt)),
        ("accuse-not-serving", accuses(Misdeed::NotServing)),
        ("accuse-judgement", accuses(Misdeed::Judgement)),
        ("verdict-guilty", verdict(2)),
        (
            "verdict-not-guilty",
            Action::Verdict {
                report,
                fraction_ppm: None,
                attestations: checkers(1),
            },
        ),
        (
            "verdict-of-nobody",
            Action::Verdict {
                report,
                fraction_ppm: Some(0),
                attestations: Vec::new(),
            },
        ),
        ("appeal", Action::Appeal { report }),
        (
            "unjail",
            Action::Unjail {
                node: key("//Node"),
            },
        ),
    ]
}

#[rustfmt::skip]
pub const OF_FORK: &[Change] = &[
    ("report-without-evidence", "misdeed: log-fork\n", "", "missing", "misdeed", "it is not said what is reported"),
    ("report-of-what-needs-a-verdict", "misdeed: log-fork", "misdeed: wrong-execution", "value", "misdeed", "no evidence in the ledger proves that"),
    ("report-of-no-misdeed", "misdeed: log-fork", "misdeed: theft", "value", "misdeed", "there is no misdeed of this name"),
    ("report-of-another-misdeed", "misdeed: log-fork", "misdeed: equivocation", "missing", "first", "the fields are those of another misdeed"),
    ("report-size-of-65-bits", "20852163", "18446744073709551616", "value", "size", "a size needs 65 bits"),
    ("report-size-with-leading-zero", "size: 2", "size: 02", "not-canonical", "", "a number has a needless digit"),
    ("report-one-checkpoint", "second-root", "third-root", "missing", "second-root", "a fork takes two roots"),
    ("report-receipt-cut-off", "misdeed: log-fork", "misdeed: equivocation\nfirst: 0x00", "value", "first", "body and signature have 456 bytes"),
];

#[rustfmt::skip]
pub const OF_ACCUSATION: &[Change] = &[
    ("accuse-of-what-needs-no-verdict", "wrong-execution", "equivocation", "value", "misdeed", "that is reported with what proves it"),
    ("accuse-without-evidence", "evidence: ", "because: ", "missing", "evidence", "an accusation names what it rests on"),
];

#[rustfmt::skip]
pub const OF_VERDICT: &[Change] = &[
    ("verdict-maybe", "verdict: guilty", "verdict: maybe", "value", "verdict", "a verdict is guilty or not"),
    ("verdict-guilty-without-fraction", "fraction: 33.3333%\n", "", "missing", "fraction", "a verdict says what it costs"),
    ("verdict-not-guilty-with-fraction", "verdict: guilty", "verdict: not-guilty", "left", "", "who is not guilty loses nothing"),
    ("verdict-fraction-above-all", "33.3333%", "133.3333%", "value", "fraction", "a share is more than the whole"),
    ("verdict-checker-without-signature", " 0x0303", "0303", "value", "attestation", "an address and a signature stand on a line, and a space between"),
    ("verdict-signature-cut-off", " 0x0303", " 0x03", "value", "attestation", "a signature has 64 bytes"),
];

/// Verdicts that no replacement makes: their checkers, and why they are none.
pub fn other_verdicts() -> Vec<(&'static str, Action, &'static str, Value, &'static str)> {
    let of = |change: fn(&mut Vec<Attestation>), count| {
        let mut attestations = checkers(count);
        change(&mut attestations);
        Action::Verdict {
            report: Hash::of(b"a report"),
            fraction_ppm: None,
            attestations,
        }
    };
    let name = json!({ "name": "attestation" });
    vec![
        (
            "verdict-checkers-out-of-order",
            of(|all| all.reverse(), 2),
            "value",
            name.clone(),
            "checkers are ascending",
        ),
        (
            "verdict-checker-twice",
            of(|all| all[1] = all[0].clone(), 2),
            "value",
            name,
            "a checker signs once",
        ),
    ]
}
