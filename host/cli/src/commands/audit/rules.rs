//! What a broken rule of the log is called, which check it belongs to, and what it means.

use adit_protocol::network::entry::Entry;
use adit_protocol::network::standing::Fault;
use adit_protocol::receipt::Receipt;

use super::report::{Finding, key};
use crate::error::Exit;

/// The name of an entry's type.
pub fn entry_name(entry: &Entry) -> &'static str {
    match entry {
        Entry::Receipt(_) => "receipt",
        Entry::Verdict(_) => "verdict",
        Entry::Roster(_) => "roster",
        Entry::Expiry(_) => "expiry",
        Entry::Cancel(_) => "cancel",
        Entry::Assignment(_) => "assignment",
    }
}

/// A fault of an entry as a finding.
pub fn finding(leaf: u64, entry: &Entry, fault: &Fault, source: &str) -> Finding {
    let name = entry_name(entry);
    let Rule {
        kind,
        check,
        exit,
        meaning,
    } = rule(entry, fault);
    Finding {
        kind,
        check,
        fault: true,
        leaf: Some(leaf),
        entry: Some(name),
        about: about(entry),
        what: fault.to_string(),
        meaning,
        recheck: recheck(source, leaf),
        exit,
    }
}

/// A miner's second receipt for an assignment. It is no fault of the log, which shows it.
pub fn equivocation(first: u64, leaf: u64, receipt: &Receipt, source: &str) -> Finding {
    let entry = Entry::Receipt(Box::new(receipt.clone()));
    Finding {
        kind: "receipt-equivocation".to_owned(),
        check: "receipts",
        fault: false,
        leaf: Some(leaf),
        entry: Some(entry_name(&entry)),
        about: about(&entry),
        what: format!("leaf {first} has another receipt for this assignment"),
        meaning: "If the miner signed the first one too, it has given two results for one task, and loses a part of its stake when it is reported.",
        recheck: format!(
            "fetch both receipts with `adit receipt show ID --from {source}`, then `adit report equivocation ID ID`"
        ),
        exit: Exit::Ok,
    }
}

/// How to see for oneself what is wrong at a leaf.
pub fn recheck(source: &str, leaf: u64) -> String {
    format!("read the log in order up to leaf {leaf}: an audit of {source} finds it again")
}

/// The ids that an entry is about.
pub fn about(entry: &Entry) -> Vec<(&'static str, String)> {
    match entry {
        Entry::Receipt(receipt) => vec![
            ("receipt", receipt.id().to_string()),
            ("task", receipt.body.task.to_string()),
            ("assignment", receipt.body.assignment.to_string()),
            ("miner", key(&receipt.body.miner)),
        ],
        Entry::Verdict(verdict) => {
            let mut ids = vec![("task", verdict.task.to_string())];
            // A verdict may have a thousand; the leaf leads to the others.
            let receipts = verdict.receipts.iter().take(4);
            ids.extend(receipts.map(|judged| ("receipt", judged.receipt.to_string())));
            ids
        }
        Entry::Roster(roster) => vec![("roster", roster.root.to_string())],
        Entry::Expiry(expiry) => vec![("assignment", expiry.assignment.to_string())],
        Entry::Cancel(cancel) => vec![("task", cancel.task.to_string())],
        Entry::Assignment(signed) => {
            let mut ids = vec![("assignment", signed.body_hash().to_string())];
            if let Ok(assignment) = signed.unverified() {
                ids.push(("task", assignment.task.to_string()));
                ids.push(("miner", key(&assignment.miner)));
            }
            ids
        }
    }
}

struct Rule {
    kind: String,
    check: &'static str,
    exit: Exit,
    meaning: &'static str,
}

fn rule(entry: &Entry, fault: &Fault) -> Rule {
    let name = entry_name(entry);
    let check = match (entry, fault) {
        (_, Fault::OtherMiner { .. } | Fault::NobodyEligible { .. }) => "draws",
        (
            Entry::Assignment(_),
            Fault::Field {
                field: "roster", ..
            },
        ) => "draws",
        (Entry::Roster(_), Fault::Field { field, .. })
            if matches!(*field, "membership" | "candidates") =>
        {
            "membership"
        }
        (Entry::Roster(_), _) => "rosters",
        (Entry::Receipt(_), _) => "receipts",
        (Entry::Verdict(_), _) => "verdicts",
        (Entry::Assignment(_) | Entry::Expiry(_) | Entry::Cancel(_), _) => "leases",
    };
    let suffix = match fault {
        Fault::Signed(_) => "signature",
        Fault::Field { field, .. } => field,
        Fault::Vrf => "vrf",
        Fault::OtherMiner { .. } => "other-miner",
        Fault::NobodyEligible { .. } => "nobody-eligible",
        Fault::NotOpen(_) => "not-open",
        Fault::NotUnjudged(_) => "not-unjudged",
        Fault::Twice(_) => "twice",
        _ => "other",
    };
    Rule {
        kind: format!("{name}-{}", suffix.replace('_', "-")),
        check,
        exit: match fault {
            Fault::Signed(_) => Exit::Signature,
            _ => Exit::Proof,
        },
        meaning: meaning(name, fault),
    }
}

fn meaning(entry: &'static str, fault: &Fault) -> &'static str {
    match (entry, fault) {
        ("expiry", Fault::Signed(_)) => {
            "The coordinator counts an expired lease against a miner, and has no valid word of that miner for it: a miner may have been blamed for a task that it never took."
        }
        (_, Fault::Signed(_)) => {
            "The coordinator put a document into its log that nobody signed, or that was altered after signing."
        }
        (_, Fault::Vrf) => {
            "The random value that all draws after this entry follow from is not provably the coordinator's: it could have been chosen to steer tasks to certain miners."
        }
        (_, Fault::OtherMiner { .. }) => {
            "The coordinator gave the task to another miner than the one on whom the draw fell: somebody was favoured, and somebody lost work."
        }
        (_, Fault::NobodyEligible { .. }) => {
            "The coordinator gave the task to a miner that could not have been drawn: it had no free slot, did not meet the task's needs, or had had the task before."
        }
        ("receipt", Fault::Twice(_)) => "A receipt that is there twice could be paid twice.",
        (_, Fault::Twice(_)) => "What may happen once is in the log twice.",
        ("verdict", Fault::NotUnjudged(_)) => {
            "A receipt was judged again, or one that the log does not have: it could be paid twice, or for nothing."
        }
        (_, Fault::NotOpen(_)) => {
            "The coordinator ended an assignment that was not running: what it says about it cannot be right."
        }
        ("assignment", Fault::Field { field, .. }) => match *field {
            "roster" => {
                "The assignment names another list of candidates than the one in force, so that its draw was made from the wrong list."
            }
            "attempt" => {
                "An attempt was made before the one before it had ended, or was skipped: numbers that draws follow from can be picked that way."
            }
            "task" => "A task that was decided was given out again.",
            _ => "The assignment belongs to another network or coordinator.",
        },
        ("roster", Fault::Field { field, .. }) => match *field {
            "quality_ppm" => {
                "A miner's past work is rated differently than the log says, which changes its chances in every draw from this list."
            }
            "weight" => {
                "The chances in this list are not those that the rules give: some miners get more work than is their due, others less."
            }
            "membership" | "candidates" => {
                "The list has a miner that is no member with that stake, or is barred from working."
            }
            _ => "The list of candidates is not the one that the log entry fixes.",
        },
        ("receipt", Fault::Field { field, .. }) => match *field {
            "seq" | "prev" => {
                "The miner's series of receipts is broken: receipts were left out, or numbers used twice."
            }
            "assignment" => "The receipt is of another miner or task than the assignment it names.",
            _ => "The receipt belongs to another network or coordinator.",
        },
        ("verdict", Fault::Field { .. }) => {
            "The verdict accepts what must not be accepted, or judges a receipt of another task."
        }
        ("expiry", Fault::Field { field, .. }) => match *field {
            "at_ms" => "The coordinator ended a miner's lease before its time was over.",
            _ => "The miner's word that is shown is about another assignment.",
        },
        ("cancel", Fault::Field { .. }) => "The coordinator ended an assignment of another task.",
        _ => "The entry breaks a rule of the log.",
    }
}
