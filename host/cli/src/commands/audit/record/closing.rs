//! What is seen when the whole log was read: its tree, what was left open, and how much was checked.

use super::Recorder;
use crate::commands::audit::record::Record;
use crate::commands::audit::report::{Check, Finding, key};
use crate::commands::audit::rules;
use crate::commands::audit::sample::Chosen;
use crate::error::Exit;
use crate::evidence::EvidenceError;
use crate::evidence::entries::Tree;
use crate::evidence::network::{Anchor, Outcome};

/// Open receipts and overdue leases that are listed, of each.
const LISTED_MAX: usize = 100;

impl Recorder<'_> {
    /// The checks of the tree, once all entries were read.
    pub(super) fn tree(&mut self, read: Result<Tree, EvidenceError>, anchor: &Anchor) {
        let tree = match read {
            Ok(tree) => tree,
            Err(error) => {
                self.check("tree", Outcome::of(&error), None);
                return;
            }
        };
        let size = anchor.checkpoint.size;
        let root = match tree.root == anchor.checkpoint.root {
            true => Outcome::Passed,
            false => Outcome::unproven(format!(
                "the entries give the root {}, and the coordinator signed {}: what it serves is not what it signed",
                tree.root, anchor.checkpoint.root
            )),
        };
        self.check("tree", root, Some(size));
        let (wrong, count) = &tree.wrong;
        let tiles = match wrong.first() {
            None => Outcome::Passed,
            Some(first) => Outcome::unproven(format!(
                "{count} of {} hold other hashes, the first is {first}: proofs made of them do not hold",
                tree.tiles
            )),
        };
        self.check("tiles", tiles, Some(tree.tiles));
        match tree.continues {
            None => {}
            Some(true) => self.check("continuation", Outcome::Passed, None),
            Some(false) => {
                let why = "the first entries of the log are not those that the checkpoint given was signed for: the log was rewritten. Both checkpoints are signed, and prove it";
                self.check("continuation", Outcome::unproven(why), None);
            }
        }
    }

    fn check(&mut self, id: &'static str, outcome: Outcome, count: Option<u64>) {
        self.record.checks.push(Check { id, outcome, count });
    }

    /// Lists what was begun and not ended.
    pub(super) fn open(&mut self) {
        let newest = self.record.stats.newest_ms;
        let mut leases: Vec<_> = self.standing.leases().collect();
        leases.sort_by_key(|(_, lease)| lease.leaf);
        self.record.stats.leases_open = leases.len() as u64;
        let overdue = leases
            .iter()
            .filter(|(_, lease)| lease.assignment.deadline_ms < newest);
        self.record.stats.leases_overdue = overdue.clone().count() as u64;
        for (hash, lease) in overdue.take(LISTED_MAX) {
            let assignment = &lease.assignment;
            self.record.findings.add(Finding {
                kind: "assignment-never-ended".to_owned(),
                check: "complete",
                fault: false,
                leaf: Some(lease.leaf),
                entry: Some("assignment"),
                about: vec![
                    ("assignment", hash.to_string()),
                    ("task", assignment.task.to_string()),
                    ("miner", key(&assignment.miner)),
                ],
                what: format!(
                    "its time was over {} s before the newest entry, and no entry ends it",
                    newest.saturating_sub(assignment.deadline_ms) / 1000
                ),
                meaning: "The miner's place stays taken, and nobody knows what became of the task. Just after the end of its time this is normal.",
                recheck: rules::recheck(&self.source, lease.leaf),
                exit: Exit::Ok,
            });
        }
        let mut pending: Vec<_> = self.pending.drain().collect();
        pending.sort_by_key(|(_, pending)| pending.leaf);
        self.record.stats.receipts_open = pending.len() as u64;
        for (id, pending) in &pending {
            if pending.eligible {
                self.record.sampler.offer(Chosen {
                    receipt: *id,
                    leaf: pending.leaf,
                    assignment_leaf: pending.assignment_leaf,
                    decision: None,
                });
            }
        }
        for (id, pending) in pending.iter().take(LISTED_MAX) {
            self.record.findings.add(Finding {
                kind: "receipt-open".to_owned(),
                check: "complete",
                fault: false,
                leaf: Some(pending.leaf),
                entry: Some("receipt"),
                about: vec![("receipt", id.to_string()), ("miner", key(&pending.miner))],
                what: "the log has no verdict on it".to_owned(),
                meaning: "The coordinator has not said whether the result counts. For the newest receipts, and for tasks that wait for other miners, this is normal.",
                recheck: rules::recheck(&self.source, pending.leaf),
                exit: Exit::Ok,
            });
        }
    }

    /// The checks of what was counted. `whole` if the log was read to its end.
    pub(super) fn finish(mut self, whole: bool) -> Record {
        let stats = &self.record.stats;
        let of = |entry| stats.of(entry);
        let readable: u64 = stats.entries.values().sum::<u64>() - of("unreadable");
        let (assignments, receipts) = (of("assignment"), of("receipt"));
        let ends = of("expiry").saturating_add(of("cancel"));
        let judged = [
            ("encoding", readable),
            ("rosters", stats.rosters_checked),
            (
                "membership",
                stats
                    .rosters_checked
                    .saturating_sub(stats.rosters_without_membership),
            ),
            ("draws", stats.draws_checked),
            ("leases", assignments.saturating_add(ends)),
            ("signatures", receipts),
            ("receipts", receipts),
            ("verdicts", of("verdict")),
        ];
        let undone = [
            (
                "rosters",
                stats.rosters_missing,
                "the lists of candidates cannot be had, or cannot be read: these blobs must be public",
            ),
            (
                "membership",
                stats.rosters_without_membership,
                "they name other versions of the membership than is at hand; hint: give the network files of those with --network",
            ),
            (
                "draws",
                stats.draws_undisclosed,
                "not disclosed, or no longer kept: what these tasks need of a miner cannot be had, so that their draws cannot be made again",
            ),
            (
                "draws",
                stats.draws_without_roster,
                "the list of candidates in force could not be had, or is wrong",
            ),
        ];
        let mut checks = Vec::new();
        for (id, count) in judged {
            let unchecked = undone.iter().any(|(other, n, _)| *other == id && *n > 0);
            // Nothing that was not checked may look as if it had passed.
            if count > 0 || !unchecked || self.record.findings.of(id) > 0 {
                checks.push(self.record.findings.judge(id, count));
            }
        }
        for (id, count, why) in undone {
            if count > 0 {
                checks.push(Check {
                    id,
                    outcome: Outcome::unchecked(why),
                    count: Some(count),
                });
            }
        }
        let open = stats.receipts_open.saturating_add(stats.leases_overdue);
        let complete = match open {
            _ if !whole => Outcome::unchecked("the log could not be read to its end"),
            0 => Outcome::Passed,
            _ => Outcome::not_asked(format!(
                "{} receipts wait for a verdict and {} assignments are overdue at the end of the log; that may be right, and a later audit will tell",
                stats.receipts_open, stats.leases_overdue
            )),
        };
        checks.push(Check {
            id: "complete",
            outcome: complete,
            count: Some(assignments.saturating_add(receipts)),
        });
        self.record.checks.extend(checks);
        self.record
    }
}
