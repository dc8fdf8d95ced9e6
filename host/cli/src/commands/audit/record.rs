//! Level 1: reads the whole log in order and checks it against its own rules.

mod closing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::network::assignment::{Assignment, Terms};
use adit_protocol::network::entry::{CancelledBy, Entry, EntryError, Verdict};
use adit_protocol::network::roster::Roster;
use adit_protocol::network::standing::{Facts, Fault, Standing};
use adit_protocol::receipt::Receipt;
use adit_protocol::task::{Disclosure, Requirements, TaskSpec};
use adit_registry::settling::seen::Seen;

use super::report::{Check, Finding, Findings};
use super::sample::{Chosen, Sampler};
use super::stats::Stats;
use super::{Observer, Stop, rules, signatures};
use crate::error::Exit;
use crate::evidence::entries::Entries;
use crate::evidence::memberships::Memberships;
use crate::evidence::network::Anchor;
use crate::evidence::{Evidence, EvidenceError, checked_blobs};

/// Receipts whose signatures are checked together.
const BATCH: usize = 8192;
/// Rosters that are fetched and held at a time.
const ROSTERS_AT_ONCE: usize = 16;

/// What reading the log came to.
pub struct Record {
    /// Its checks.
    pub checks: Vec<Check>,
    /// Its findings.
    pub findings: Findings,
    /// What was counted.
    pub stats: Stats,
    /// The receipts that were chosen to be run again.
    pub sampler: Sampler,
    /// Receipts that cannot be replayed anywhere.
    pub not_attestable: u64,
    /// Receipts whose tasks are not disclosed to everyone.
    pub undisclosed: u64,
}

/// Reads the log and checks it.
///
/// # Errors
/// [`Stop::Interrupted`]. What cannot be read is in the checks.
pub fn record(
    evidence: &dyn Evidence,
    anchor: &Anchor,
    kept: Option<Checkpoint>,
    sampler: Sampler,
    observer: &mut dyn Observer,
) -> Result<Record, Stop> {
    let mut entries = Entries::new(evidence, anchor.checkpoint.size, kept);
    let mut recorder = Recorder::new(evidence, anchor, sampler);
    let size = anchor.checkpoint.size;
    let read = loop {
        let leaf = entries.position();
        observer.progress(leaf, size, "entries")?;
        let chunk = match entries.next() {
            Ok(chunk) => chunk,
            Err(error) => break Err(error),
        };
        if chunk.is_empty() {
            break entries.finish();
        }
        if let Err(error) = recorder.chunk(leaf, &chunk) {
            break Err(error);
        }
    };
    recorder.check_signatures();
    let whole = read.is_ok();
    recorder.tree(read, anchor);
    if whole {
        recorder.open();
    }
    Ok(recorder.finish(whole))
}

/// An entry with its leaf.
type Decoded = (u64, Result<Entry, EntryError>);

/// A receipt that is not judged yet.
struct Pending {
    leaf: u64,
    miner: [u8; 32],
    assignment_leaf: Option<u64>,
    eligible: bool,
}

struct Recorder<'a> {
    evidence: &'a dyn Evidence,
    source: String,
    standing: Standing,
    /// What tasks that are not over need, as far as it is disclosed.
    known: HashMap<Hash, (Requirements, Terms)>,
    /// Tasks that anyone may have the spec and blobs of.
    public: HashSet<Hash>,
    rosters: HashMap<Hash, Arc<Roster>>,
    memberships: Memberships<'a>,
    /// Whether the roster in force is one that could not be had, or that is wrong.
    roster_lost: bool,
    pending: HashMap<Hash, Pending>,
    /// Which assignments have a receipt, of the last few hundred thousand.
    seen: Seen,
    batch: (Vec<u64>, Vec<Receipt>),
    record: Record,
}

impl<'a> Recorder<'a> {
    fn new(evidence: &'a dyn Evidence, anchor: &'a Anchor, sampler: Sampler) -> Recorder<'a> {
        Recorder {
            evidence,
            source: evidence.source(),
            standing: Standing::new(&anchor.genesis, anchor.coordinator.node, true),
            known: HashMap::new(),
            public: HashSet::new(),
            rosters: HashMap::new(),
            memberships: Memberships::new(evidence, anchor),
            roster_lost: false,
            pending: HashMap::new(),
            seen: Seen::new(&anchor.genesis_hash),
            batch: (Vec::new(), Vec::new()),
            record: Record {
                checks: Vec::new(),
                findings: Findings::default(),
                stats: Stats::default(),
                sampler,
                not_attestable: 0,
                undisclosed: 0,
            },
        }
    }

    /// Takes in entries that follow one another.
    fn chunk(&mut self, first: u64, chunk: &[Vec<u8>]) -> Result<(), EvidenceError> {
        let entries: Vec<Decoded> = (first..)
            .zip(chunk)
            .map(|(leaf, bytes)| (leaf, Entry::decode(bytes)))
            .collect();
        // Rosters can be long, so that only a few are held at a time.
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let is_roster =
                |(_, (_, entry)): &(usize, &Decoded)| matches!(entry, Ok(Entry::Roster(_)));
            let rosters = rest.iter().enumerate().filter(is_roster);
            let end = rosters.map(|(at, _)| at).nth(ROSTERS_AT_ONCE);
            let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.part(part)?;
            rest = after;
        }
        Ok(())
    }

    fn part(&mut self, part: &[Decoded]) -> Result<(), EvidenceError> {
        self.gather(part.iter().filter_map(|(_, entry)| entry.as_ref().ok()))?;
        for (leaf, entry) in part {
            match entry {
                Ok(entry) => self.entry(*leaf, entry),
                Err(error) => self.unreadable(*leaf, error),
            }
        }
        // Only the one in force is needed from here on.
        let force = self.standing.in_force().map(|force| force.roster.hash());
        self.rosters.retain(|hash, _| Some(*hash) == force);
        Ok(())
    }

    /// Fetches the documents that entries name: rosters, and specs of tasks that are new.
    fn gather<'e>(
        &mut self,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> Result<(), EvidenceError> {
        let (mut rosters, mut tasks) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Roster(roster) if !self.rosters.contains_key(&roster.root) => {
                    rosters.push(roster.root);
                }
                Entry::Assignment(signed) => {
                    let task = signed.unverified().ok().map(|assignment| assignment.task);
                    tasks.extend(task.filter(|task| !self.known.contains_key(task)));
                }
                _ => {}
            }
        }
        for list in [&mut rosters, &mut tasks] {
            list.sort_unstable();
            list.dedup();
        }
        for (hash, bytes) in rosters.iter().zip(checked_blobs(self.evidence, &rosters)?) {
            // A roster that is malformed is one that nobody can draw from: as if it were not there.
            if let Some(roster) = bytes.and_then(|bytes| Roster::from_cbor(&bytes).ok()) {
                self.memberships.fetch(&roster.membership)?;
                self.rosters.insert(*hash, Arc::new(roster));
            }
        }
        for (hash, bytes) in tasks.iter().zip(checked_blobs(self.evidence, &tasks)?) {
            let Some(spec) = bytes.and_then(|bytes| TaskSpec::from_cbor(&bytes).ok()) else {
                continue;
            };
            if spec.disclosure == Disclosure::Public {
                self.public.insert(*hash);
            }
            let terms = Terms::of(&spec);
            self.known.insert(*hash, (spec.requirements, terms));
        }
        Ok(())
    }

    fn unreadable(&mut self, leaf: u64, error: &EntryError) {
        *self.record.stats.entries.entry("unreadable").or_default() += 1;
        self.record.findings.add(Finding {
            kind: "entry-unreadable".to_owned(),
            check: "encoding",
            fault: true,
            leaf: Some(leaf),
            entry: None,
            about: Vec::new(),
            what: error.to_string(),
            meaning: "The log holds something that is none of its kinds of entries: nobody can say what it is for.",
            recheck: rules::recheck(&self.source, leaf),
            exit: Exit::Signature,
        });
    }

    fn entry(&mut self, leaf: u64, entry: &Entry) {
        let stats = &mut self.record.stats;
        *stats.entries.entry(rules::entry_name(entry)).or_default() += 1;
        let facts = self.before(leaf, entry);
        let faults = self.standing.apply(leaf, entry, &facts);
        for fault in &faults {
            if self.follows_from_a_lost_roster(entry, fault) {
                continue;
            }
            let finding = rules::finding(leaf, entry, fault, &self.source);
            self.record.findings.add(finding);
        }
        if let Entry::Roster(_) = entry {
            self.roster_lost = self.standing.in_force().is_none();
        }
        self.after(entry);
    }

    /// What has to be seen before the entry changes the standing, and the facts for it.
    fn before(&mut self, leaf: u64, entry: &Entry) -> Facts {
        let mut facts = Facts::default();
        match entry {
            Entry::Roster(roster) => {
                self.record.stats.time(roster.made_ms);
                facts.roster = self.rosters.get(&roster.root).map(Arc::clone);
                self.roster(&mut facts);
            }
            Entry::Assignment(signed) => {
                if let Ok(assignment) = signed.unverified() {
                    let known = self.assignment(&assignment);
                    (facts.requirements, facts.terms) = known.unzip();
                }
            }
            Entry::Receipt(receipt) => self.receipt(leaf, receipt),
            Entry::Verdict(verdict) => self.verdict(verdict),
            Entry::Expiry(expiry) => {
                let stats = &mut self.record.stats;
                stats.time(expiry.at_ms);
                let [against, not] = &mut stats.expired;
                match &expiry.acceptance {
                    Some(_) => *against += 1,
                    None => *not += 1,
                }
                if let Some(lease) = self.standing.lease(&expiry.assignment) {
                    let miner = stats.miners.entry(lease.assignment.miner).or_default();
                    miner.expired += 1;
                }
            }
            Entry::Cancel(cancel) => {
                self.record.stats.time(cancel.at_ms);
                let count = cancel.assignments.len() as u64;
                self.record.stats.cancel(cancel.by, count);
            }
        }
        facts
    }

    fn roster(&mut self, facts: &mut Facts) {
        let stats = &mut self.record.stats;
        let Some(roster) = &facts.roster else {
            stats.rosters_missing += 1;
            return;
        };
        stats.rosters_checked += 1;
        facts.membership = self.memberships.find(&roster.membership);
        if facts.membership.is_none() {
            stats.rosters_without_membership += 1;
        }
    }

    /// Counts a draw; returns what the task asks for and pays, if it is disclosed.
    fn assignment(&mut self, assignment: &Assignment) -> Option<(Requirements, Terms)> {
        let stats = &mut self.record.stats;
        stats.time(assignment.issued_ms);
        stats.course.add(assignment.issued_ms);
        if (assignment.attempt, assignment.replica) == (0, 0) {
            stats.tasks += 1;
        }
        let miner = stats.miners.entry(assignment.miner).or_default();
        miner.assignments += 1;
        if self.standing.in_force().is_none() {
            stats.draws_without_roster += 1;
            return None;
        }
        let Some((requirements, terms)) = self.known.get(&assignment.task) else {
            stats.draws_undisclosed += 1;
            return None;
        };
        stats.draws_checked += 1;
        stats.draw(
            &self.standing,
            &assignment.task,
            requirements,
            assignment.local,
            &assignment.miner,
        );
        Some((requirements.clone(), *terms))
    }

    fn receipt(&mut self, leaf: u64, receipt: &Receipt) {
        let body = &receipt.body;
        self.record.stats.receipt(body);
        let (last, _) = self.standing.newest(&body.miner);
        let left_out = body.seq.saturating_sub(last.saturating_add(1));
        self.record.stats.gaps = self.record.stats.gaps.saturating_add(left_out);
        let public = self.public.contains(&body.task);
        let attestable = body.status.attestable();
        match (attestable, public) {
            (false, _) => self.record.not_attestable += 1,
            (true, false) => self.record.undisclosed += 1,
            (true, true) => {}
        }
        if let Some(first) = self.seen.receipt(0, leaf, receipt)
            && receipt.verify_miner().is_ok()
        {
            let finding = rules::equivocation(first.leaf, leaf, receipt, &self.source);
            self.record.findings.add(finding);
        }
        let lease = self.standing.lease(&body.assignment);
        let pending = Pending {
            leaf,
            miner: body.miner,
            assignment_leaf: lease.map(|lease| lease.leaf),
            eligible: attestable && public,
        };
        // One that is there twice is a finding, and stays what it was.
        self.pending.entry(body.id()).or_insert(pending);
        let (leaves, receipts) = &mut self.batch;
        leaves.push(leaf);
        receipts.push(receipt.clone());
        if receipts.len() >= BATCH {
            self.check_signatures();
        }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        for judged in &verdict.receipts {
            let pending = self.pending.remove(&judged.receipt);
            let miner = pending.as_ref().map(|pending| &pending.miner);
            self.record.stats.decision(judged.decision, miner);
            if let Some(pending) = pending.filter(|pending| pending.eligible) {
                self.record.sampler.offer(Chosen {
                    receipt: judged.receipt,
                    leaf: pending.leaf,
                    assignment_leaf: pending.assignment_leaf,
                    decision: Some(judged.decision),
                });
            }
        }
    }

    /// Without a roster, that assignments name another one is no finding: it was said once.
    fn follows_from_a_lost_roster(&self, entry: &Entry, fault: &Fault) -> bool {
        self.roster_lost
            && matches!(entry, Entry::Assignment(_))
            && matches!(
                fault,
                Fault::Field {
                    field: "roster",
                    ..
                }
            )
    }

    /// Forgets tasks that are over, as the coordinator does; an assignment of one is a finding then.
    fn after(&mut self, entry: &Entry) {
        let (task, ended) = match entry {
            Entry::Verdict(verdict) => (verdict.task, false),
            Entry::Receipt(receipt) => (receipt.body.task, false),
            // A coordinator also takes assignments back to give them to others.
            Entry::Cancel(cancel) => (cancel.task, cancel.by == CancelledBy::Client),
            _ => return,
        };
        let decided = |standing: &Standing| {
            let task = standing.task(&task);
            task.is_some_and(|task| task.accepted > 0)
        };
        if ended || decided(&self.standing) {
            self.standing.forget(&task);
        }
        if self.standing.task(&task).is_none() {
            self.known.remove(&task);
        }
    }

    fn check_signatures(&mut self) {
        let (leaves, receipts) = std::mem::take(&mut self.batch);
        for (index, error) in signatures::bad(&receipts) {
            let (Some(leaf), Some(receipt)) = (leaves.get(index), receipts.get(index)) else {
                continue;
            };
            self.record.findings.add(Finding {
                kind: "receipt-signature".to_owned(),
                check: "signatures",
                fault: true,
                leaf: Some(*leaf),
                entry: Some("receipt"),
                about: rules::about(&Entry::Receipt(Box::new(receipt.clone()))),
                what: error.to_string(),
                meaning: "The coordinator put a receipt into its log that its miner did not sign, or that it did not confirm itself: the result is nobody's word.",
                recheck: rules::recheck(&self.source, *leaf),
                exit: Exit::Signature,
            });
        }
    }
}
