//! Level 2: runs chosen receipts again and compares.

use std::collections::BTreeMap;

use adit_protocol::Hash;
use adit_protocol::network::entry::Decision;
use adit_protocol::receipt::Receipt;
use adit_runtime::audit::{self, Verdict};
use adit_runtime::devices::reports::Reports;
use adit_runtime::state::Events;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::supervisor::{Supervisor, SupervisorError};

use super::report::{Check, Finding, Findings, Replayed, key};
use super::sample::Chosen;
use super::stats::decision_name;
use super::{Observer, Stop};
use crate::error::Exit;
use crate::evidence::entries::Leaves;
use crate::evidence::network::Outcome;
use crate::evidence::{Evidence, needs};

/// Runs receipts again.
pub trait Replayer {
    /// The checks of level 2 of a receipt, whose blobs are in the store as far as they can be had.
    ///
    /// # Errors
    /// When no worker can be had.
    fn replay(
        &mut self,
        receipt: &Receipt,
        needs: &needs::Needs,
    ) -> Result<Vec<audit::Check>, SupervisorError>;

    /// The store that blobs are fetched into.
    fn store(&self) -> &BlobStore;
}

/// The shipped one: in a worker process.
pub struct Worker {
    /// The store.
    pub blobs: BlobStore,
    /// The worker's.
    pub supervisor: Supervisor,
    /// What was measured of devices; level 2 needs none.
    pub reports: Reports,
    /// Shows nothing, and ends a run when it is interrupted.
    pub events: Box<dyn Events>,
}

impl Replayer for Worker {
    fn replay(
        &mut self,
        receipt: &Receipt,
        needs: &needs::Needs,
    ) -> Result<Vec<audit::Check>, SupervisorError> {
        let replayed = audit::replay(
            receipt,
            needs.opening.as_ref(),
            &self.blobs,
            &self.supervisor,
            0,
            &self.reports,
            &mut *self.events,
        )?;
        Ok(replayed.checks)
    }

    fn store(&self) -> &BlobStore {
        &self.blobs
    }
}

/// Runs the chosen receipts again. Returns what became of each, and the checks of level 2.
///
/// # Errors
/// [`Stop`]. That a receipt cannot be replayed is in the result.
pub fn execute(
    evidence: &dyn Evidence,
    size: u64,
    chosen: &[Chosen],
    replayer: &mut dyn Replayer,
    findings: &mut Findings,
    observer: &mut dyn Observer,
) -> Result<(Vec<Replayed>, Vec<Check>), Stop> {
    let mut replayed = Vec::with_capacity(chosen.len());
    let mut counts = BTreeMap::<&str, u64>::new();
    let mut why_not = None;
    let total = chosen.len() as u64;
    let mut log = Leaves::new(evidence, size);
    for (done, chosen) in (0..).zip(chosen) {
        observer.progress(done, total, "receipts run again")?;
        let (miner, outcome) = one(evidence, &mut log, chosen, replayer)?;
        // A run that was cut short says nothing.
        observer.progress(done, total, "receipts run again")?;
        let (result, reason) = super::report::result(&outcome);
        *counts.entry(result).or_default() += 1;
        if result == "not-performed" && why_not.is_none() {
            why_not = reason.map(str::to_owned);
        }
        if let Some(finding) = found(evidence, chosen, &miner, &outcome) {
            findings.add(finding);
        }
        replayed.push(Replayed {
            receipt: chosen.receipt,
            leaf: chosen.leaf,
            miner,
            decision: chosen.decision.map(decision_name),
            result,
            reason: reason.map(str::to_owned),
        });
    }
    let count = |word| counts.get(word).copied().unwrap_or(0);
    let mut checks = Vec::new();
    let made = count("passed").saturating_add(count("failed"));
    if made > 0 {
        checks.push(findings.judge("execution", made));
    }
    if let Some(why) = why_not {
        checks.push(Check {
            id: "execution",
            outcome: Outcome::unchecked(why),
            count: Some(count("not-performed")),
        });
    }
    Ok((replayed, checks))
}

fn one(
    evidence: &dyn Evidence,
    log: &mut Leaves<'_>,
    chosen: &Chosen,
    replayer: &mut dyn Replayer,
) -> Result<(String, Outcome), Stop> {
    let receipt = match log.receipt(chosen.leaf, &chosen.receipt) {
        Ok(receipt) => receipt,
        Err(error) => return Ok((String::new(), Outcome::unchecked(error))),
    };
    let miner = key(&receipt.body.miner);
    let needs = match needs::fetch(evidence, &receipt, replayer.store()) {
        Ok(needs) => needs,
        Err(error) => return Ok((miner, Outcome::unchecked(error))),
    };
    let checks = replayer
        .replay(&receipt, &needs)
        .map_err(|error| Stop::Failed(error.into()))?;
    Ok((miner, summed(&checks)))
}

/// The checks of a replay as one: what failed, else what was not performed.
fn summed(checks: &[audit::Check]) -> Outcome {
    let second = || checks.iter().filter(|check| check.level == 2);
    let failed: Vec<String> = second()
        .filter_map(|check| match &check.verdict {
            Verdict::Failed(why) => Some(format!("{}: {why}", check.name)),
            _ => None,
        })
        .collect();
    if !failed.is_empty() {
        return Outcome::Failed(failed.join("; "), Exit::Diverged);
    }
    let open = second().find_map(|check| match &check.verdict {
        Verdict::NotPerformed(why) => Some(format!("{}: {why}", check.name)),
        _ => None,
    });
    match open {
        Some(why) => Outcome::unchecked(why),
        // Nothing at all was checked.
        None if second().count() == 0 => Outcome::unchecked("the replay checked nothing"),
        None => Outcome::Passed,
    }
}

/// What a replay proves beyond its own result.
fn found(
    evidence: &dyn Evidence,
    chosen: &Chosen,
    miner: &str,
    outcome: &Outcome,
) -> Option<Finding> {
    let rejected = chosen
        .decision
        .is_some_and(|decision| decision != Decision::Accepted);
    let overruled = matches!(
        chosen.decision,
        Some(Decision::Outvoted | Decision::Mismatch)
    );
    let (kind, fault, what, meaning) = match outcome {
        Outcome::Failed(why, _) if rejected => (
            "execution-diverged-rejected",
            false,
            why.clone(),
            "The miner signed a wrong result, and the coordinator rejected it: the network worked as it should.",
        ),
        Outcome::Failed(why, _) => (
            "execution-diverged",
            true,
            why.clone(),
            "The miner signed a result that the task does not have. Anyone can run the task again and see it: this is a proof of fraud against the miner, and against the coordinator if it accepted the result.",
        ),
        Outcome::Passed if overruled => (
            "right-result-rejected",
            true,
            format!(
                "the coordinator decided `{}`, and running the task again gives the very result of this receipt",
                chosen.decision.map_or("", decision_name)
            ),
            "An honest miner was refused its pay: those who outvoted it, or the coordinator, are wrong.",
        ),
        _ => return None,
    };
    let mut about = vec![
        ("receipt", chosen.receipt.to_string()),
        ("miner", miner.to_owned()),
    ];
    if let Some(leaf) = chosen.assignment_leaf {
        about.push(("assignment at leaf", leaf.to_string()));
    }
    Some(Finding {
        kind: kind.to_owned(),
        check: "execution",
        fault,
        leaf: Some(chosen.leaf),
        entry: Some("receipt"),
        about,
        what,
        meaning,
        recheck: replay_command(evidence, &chosen.receipt),
        exit: Exit::Diverged,
    })
}

/// The command that replays a receipt.
fn replay_command(evidence: &dyn Evidence, receipt: &Hash) -> String {
    let source = evidence.source();
    match source.contains("://") {
        true => format!("adit receipt replay {receipt} --from {source}"),
        false => format!("adit bundle import {source} && adit receipt replay {receipt}"),
    }
}
