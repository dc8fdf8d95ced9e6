//! What an audit found, as data: printed, written as a page, or given out as JSON.
//!
//! The JSON (`adit audit --json`) is an object with `schema` = `adit-audit-1`. Fields may be added
//! to it; none is removed or changes its meaning as long as that name stays. Hashes are
//! `blake3:<hex>`, keys `0x<hex>`, times milliseconds since 1970 (`_ms`), durations microseconds
//! (`_us`).

use std::collections::BTreeMap;

use adit_protocol::Hash;
use serde::Serialize;
use serde_json::{Value, json};

use super::stats::Stats;
use crate::error::Exit;
use crate::evidence::network::Outcome;
use crate::text::hex;

/// Name of the JSON's form.
pub const SCHEMA: &str = "adit-audit-1";
/// Most findings that are kept; more are counted.
pub const FINDINGS_MAX: usize = 10_000;

/// What is checked, in the order of the report.
pub struct Subject {
    /// Its name in the JSON.
    pub id: &'static str,
    /// 1 record, 2 execution, 3 inference.
    pub level: u8,
    /// What holds if it passes.
    pub title: &'static str,
    /// What that means, for people who do not know the system.
    pub plain: &'static str,
}

/// All checks.
pub const SUBJECTS: [Subject; 19] = [
    Subject {
        id: "network-signature",
        level: 1,
        title: "the list of members is signed by the network's authority",
        plain: "Who may take part, and with which stake, is what the authority of the network says.",
    },
    Subject {
        id: "network-identity",
        level: 1,
        title: "it is the network that was meant",
        plain: "The network is the one whose file the auditor had from elsewhere, and not another one of the same name.",
    },
    Subject {
        id: "checkpoint-origin",
        level: 1,
        title: "the log is that of a coordinator of this network",
        plain: "The log's name leads to a coordinator that the list of members has.",
    },
    Subject {
        id: "checkpoint-signature",
        level: 1,
        title: "the coordinator has signed the state of the log",
        plain: "The coordinator cannot deny that this is its log: it signed its size and the hash of all its entries.",
    },
    Subject {
        id: "cosignatures",
        level: 1,
        title: "others have signed the same state of the log",
        plain: "Witnesses confirm that the coordinator shows everyone the same log.",
    },
    Subject {
        id: "continuation",
        level: 1,
        title: "the log goes on from the one that was seen before",
        plain: "Nothing was taken out of the log or changed since an earlier audit.",
    },
    Subject {
        id: "tree",
        level: 1,
        title: "the entries are those that the coordinator signed",
        plain: "All entries together give the very hash that the coordinator signed: none is missing, added or altered.",
    },
    Subject {
        id: "tiles",
        level: 1,
        title: "the files that proofs are made of fit the entries",
        plain: "Whoever asks for a proof that a single entry is in the log gets a right one.",
    },
    Subject {
        id: "encoding",
        level: 1,
        title: "every entry can be read",
        plain: "There is nothing in the log that is not in one of its six forms.",
    },
    Subject {
        id: "rosters",
        level: 1,
        title: "the candidates' weights follow from stakes and past work",
        plain: "Each list of miners that tasks are drawn from has the chances that the rules give them, and fresh randomness that the coordinator could not choose.",
    },
    Subject {
        id: "membership",
        level: 1,
        title: "the candidates are members with that stake",
        plain: "Only registered miners were candidates, with the stake that the network's authority confirms.",
    },
    Subject {
        id: "draws",
        level: 1,
        title: "each task went to the miner that the draw fell on",
        plain: "The coordinator did not hand tasks to miners of its own choice.",
    },
    Subject {
        id: "leases",
        level: 1,
        title: "assignments begin and end by the rules",
        plain: "Assignments are signed, a further attempt was made only after the one before had ended, and nobody's time was cut short.",
    },
    Subject {
        id: "signatures",
        level: 1,
        title: "receipts are signed by miner and coordinator",
        plain: "Each miner stands by its result, and the coordinator has confirmed that it received it.",
    },
    Subject {
        id: "receipts",
        level: 1,
        title: "receipts belong to assignments and follow one another",
        plain: "Each receipt is in the log once, for a task that its miner was given, and in its miner's series.",
    },
    Subject {
        id: "verdicts",
        level: 1,
        title: "receipts are judged once, and by the rules",
        plain: "No receipt was paid twice, and none that came without an assignment was accepted.",
    },
    Subject {
        id: "complete",
        level: 1,
        title: "assignments end and receipts are judged in time",
        plain: "Nothing was left hanging: what began before the end of the log was brought to an end.",
    },
    Subject {
        id: "execution",
        level: 2,
        title: "running the tasks again gives what the receipts say",
        plain: "Tasks that were picked at random were run again on the auditor's machine: output, status, work and memory were compared bit for bit.",
    },
    Subject {
        id: "inference",
        level: 3,
        title: "the models' answers can be computed again",
        plain: "The answers of AI models inside the tasks were computed anew and compared.",
    },
];

/// The subject of an id.
pub fn subject(id: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.id == id)
}

/// One check: what of a subject passed, failed or was not performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The subject's id. Several checks may have one: what was checked and what was not.
    pub id: &'static str,
    /// The result.
    pub outcome: Outcome,
    /// How many things it is about, where they are counted.
    pub count: Option<u64>,
}

/// A rule that something in the log breaks, or something that an auditor should look at.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What kind it is, as `draw-other-miner`.
    pub kind: String,
    /// The check that found it.
    pub check: &'static str,
    /// Whether it breaks a rule; else it is worth a look and no more.
    pub fault: bool,
    /// The leaf.
    pub leaf: Option<u64>,
    /// Type of the entry there, as `assignment`.
    pub entry: Option<&'static str>,
    /// What it is about: name and id.
    pub about: Vec<(&'static str, String)>,
    /// What was found.
    pub what: String,
    /// What that means.
    pub meaning: &'static str,
    /// How to see it for oneself.
    pub recheck: String,
    /// The exit code that it leads to.
    #[serde(skip)]
    pub exit: Exit,
}

/// The findings, bounded.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The first of them.
    pub list: Vec<Finding>,
    /// How many there are, those not kept included: faults by check.
    pub faults: BTreeMap<&'static str, u64>,
    /// Others.
    pub notices: u64,
    /// The exit code of the gravest fault of each check.
    exits: BTreeMap<&'static str, Exit>,
}

impl Findings {
    /// Adds one.
    pub fn add(&mut self, finding: Finding) {
        match finding.fault {
            true => {
                let count = self.faults.entry(finding.check).or_default();
                *count = count.saturating_add(1);
                let exit = self.exits.entry(finding.check).or_insert(finding.exit);
                *exit = graver(*exit, finding.exit);
            }
            false => self.notices = self.notices.saturating_add(1),
        }
        if self.list.len() < FINDINGS_MAX {
            self.list.push(finding);
        }
    }

    /// How many faults a check has.
    pub fn of(&self, check: &str) -> u64 {
        self.faults.get(check).copied().unwrap_or(0)
    }

    /// How many faults there are.
    pub fn all_faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// A check of `checked` things that these findings are about: failed if there are any.
    pub fn judge(&self, id: &'static str, checked: u64) -> Check {
        let found = self.of(id);
        let outcome = match found {
            0 => Outcome::Passed,
            _ => Outcome::Failed(
                format!("{found} found, listed below"),
                self.exits.get(id).copied().unwrap_or(Exit::Proof),
            ),
        };
        Check {
            id,
            outcome,
            count: Some(checked),
        }
    }
}

/// A receipt that was run again, or was to be.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// Its id.
    pub receipt: Hash,
    /// Its leaf.
    pub leaf: u64,
    /// The miner's key.
    pub miner: String,
    /// What the coordinator decided of it.
    pub decision: Option<&'static str>,
    /// `passed`, `failed` or `not-performed`.
    pub result: &'static str,
    /// What differs, or why it could not be run.
    pub reason: Option<String>,
}

/// Which receipts were run again.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    /// How many were asked for; absent for all.
    pub asked: Option<u64>,
    /// The number that the choice follows from.
    pub seed: u64,
    /// How many could have been chosen.
    pub eligible: u64,
    /// Those that cannot be replayed anywhere, as their status depends on the machine.
    pub not_attestable: u64,
    /// Those whose task is not disclosed to everyone.
    pub undisclosed: u64,
    /// Those that were chosen.
    pub replayed: Vec<Replayed>,
}

/// Whose log was audited.
#[derive(Clone, Debug, Serialize)]
pub struct Subjected {
    /// The network's name.
    pub network: String,
    /// Hash of its genesis document.
    pub genesis: Hash,
    /// Whether it is one for development, without value.
    pub development: bool,
    /// Version of the membership.
    pub membership: u64,
    /// The coordinator's node key.
    pub coordinator: String,
    /// Where it says to be reached.
    pub url: String,
    /// Who it says to be.
    pub introduction: String,
    /// The log's name.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// The root.
    pub root: Hash,
    /// The checkpoint as a note, to be kept for the next audit.
    pub checkpoint: String,
}

/// Everything.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where the log was read from.
    pub source: String,
    /// When the audit was made.
    pub made_ms: u64,
    /// Whose log it is, if that could be found out.
    pub subject: Option<Subjected>,
    /// The checks, in the order of [`SUBJECTS`].
    pub checks: Vec<Check>,
    /// The findings.
    pub findings: Findings,
    /// What was counted.
    pub stats: Stats,
    /// The replays.
    pub sample: Sample,
}

impl Report {
    /// Puts the checks in order, and adds those that were not come to, because of `why`.
    pub fn complete(&mut self, why: &str) {
        for subject in &SUBJECTS {
            if !self.checks.iter().any(|check| check.id == subject.id) {
                self.checks.push(Check {
                    id: subject.id,
                    outcome: Outcome::unchecked(why),
                    count: None,
                });
            }
        }
        let place = |id| SUBJECTS.iter().position(|subject| subject.id == id);
        self.checks.sort_by_key(|check| place(check.id));
    }

    /// How the process ends: with the gravest of what was found.
    pub fn exit(&self) -> Exit {
        let of = |check: &Check| match &check.outcome {
            Outcome::Passed | Outcome::NotPerformed { asked: false, .. } => Exit::Ok,
            Outcome::Failed(_, exit) => *exit,
            Outcome::NotPerformed { asked: true, .. } => Exit::Unchecked,
        };
        self.checks.iter().map(of).fold(Exit::Ok, graver)
    }

    /// The result in a sentence.
    pub fn verdict(&self) -> String {
        let (passed, failed, open) = self.tally();
        let words = match self.exit() {
            Exit::Ok => "nothing wrong was found, and all that was asked for was checked",
            Exit::Signature => "NOT VALID: a signature or an encoding does not hold",
            Exit::Proof => "NOT VALID: the log breaks its rules, or is not what was signed",
            Exit::Diverged => "WRONG: a task that was run again came to another result",
            _ => "NOT ALL CHECKED: nothing wrong was found in what could be checked",
        };
        format!("{passed} checks passed, {failed} failed, {open} not performed: {words}")
    }

    /// How many checks passed, failed, were not performed.
    pub fn tally(&self) -> (usize, usize, usize) {
        let count = |word| {
            let is = |check: &&Check| result(&check.outcome).0 == word;
            self.checks.iter().filter(is).count()
        };
        (count("passed"), count("failed"), count("not-performed"))
    }

    /// The JSON.
    pub fn as_json(&self) -> Value {
        let checks: Vec<Value> = self.checks.iter().map(check_json).collect();
        json!({
            "schema": SCHEMA,
            "source": self.source,
            "made_ms": self.made_ms,
            "software": concat!("adit ", env!("CARGO_PKG_VERSION")),
            "log": self.subject,
            "verdict": self.verdict(),
            "exit": self.exit().code(),
            "checks": checks,
            "findings": self.findings.list,
            "findings_left_out": self.left_out(),
            "faults": self.findings.all_faults(),
            "notices": self.findings.notices,
            "stats": self.stats,
            "sample": self.sample,
        })
    }

    /// Findings that were counted and not kept.
    pub fn left_out(&self) -> u64 {
        let all = self
            .findings
            .all_faults()
            .saturating_add(self.findings.notices);
        all.saturating_sub(self.findings.list.len() as u64)
    }
}

/// The word for a result and the reason.
pub fn result(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed(why, _) => ("failed", Some(why)),
        Outcome::NotPerformed { why, .. } => ("not-performed", Some(why)),
    }
}

fn check_json(check: &Check) -> Value {
    let (word, reason) = result(&check.outcome);
    let asked = !matches!(check.outcome, Outcome::NotPerformed { asked: false, .. });
    let subject = subject(check.id);
    json!({
        "id": check.id,
        "level": subject.map(|subject| subject.level),
        "title": subject.map(|subject| subject.title),
        "result": word,
        "reason": reason,
        "asked": asked,
        "count": check.count,
    })
}

/// The graver of two: bad signatures or encodings before proofs, those before divergence, that
/// before what could not be checked.
pub fn graver(a: Exit, b: Exit) -> Exit {
    let rank = |exit: &Exit| match exit {
        Exit::Ok => 0,
        Exit::Unchecked => 1,
        Exit::Diverged => 2,
        Exit::Proof => 3,
        Exit::Signature => 4,
        _ => 5,
    };
    match rank(&b) > rank(&a) {
        true => b,
        false => a,
    }
}

/// A key as it stands in the report.
pub fn key(bytes: &[u8; 32]) -> String {
    hex(bytes)
}
