//! `adit audit`: checks a coordinator's log, all of it, and runs some of its tasks again.
//!
//! | part | subject |
//! |---|---|
//! | this file | the order of the work, without printing |
//! | [`command`] | arguments, progress, what is printed |
//! | [`record`] | level 1: the log against its own rules |
//! | [`signatures`], [`rules`], [`stats`], [`sample`] | its parts |
//! | [`execution`] | level 2: receipts that are run again |
//! | [`report`] | what was found, as data |
//! | [`html`] | the same as a page for people |
//! | [`rewards`] | `adit audit rewards`: every settlement of a network, computed again |

pub mod command;
pub mod execution;
pub mod html;
pub mod record;
pub mod report;
pub mod rewards;
pub mod rules;
pub mod sample;
pub mod signatures;
pub mod stats;
#[cfg(test)]
mod tests;

use adit_protocol::network::membership::NetworkFile;

use self::execution::Replayer;
use self::report::{Check, Findings, Report, Sample, Subjected, key};
use self::sample::Sampler;
use self::stats::Stats;
use crate::error::Exit;
use crate::evidence::Evidence;
use crate::evidence::network::{Anchor, Outcome, anchor};

/// Watches an audit.
pub trait Observer {
    /// `done` of `total` are done; `what` names them.
    ///
    /// # Errors
    /// [`Stop::Interrupted`], if the audit is to end.
    fn progress(&mut self, done: u64, total: u64, what: &str) -> Result<(), Stop>;
}

/// Why an audit came to no result at all.
#[derive(Debug)]
pub enum Stop {
    /// It was interrupted.
    Interrupted(Exit),
    /// Something of this machine failed.
    Failed(anyhow::Error),
}

/// What is to be audited.
pub struct Asked {
    /// Network files that the user has from elsewhere.
    pub networks: Vec<NetworkFile>,
    /// A checkpoint from before, as a note.
    pub kept: Option<Vec<u8>>,
    /// How many receipts to run again; none for all.
    pub sample: Option<u64>,
    /// The number that the sample follows from.
    pub seed: u64,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
}

/// Audits a log. `replayer` is made when the first receipt is run again.
///
/// # Errors
/// [`Stop`]. Whatever is wrong with the log is in the report.
pub fn audit(
    evidence: &dyn Evidence,
    asked: &Asked,
    replayer: &mut dyn FnMut() -> anyhow::Result<Box<dyn Replayer>>,
    observer: &mut dyn Observer,
) -> Result<Report, Stop> {
    let (named, found) = anchor(evidence, &asked.networks, asked.kept.as_deref());
    let mut report = Report {
        source: evidence.source(),
        made_ms: asked.now_ms,
        subject: None,
        checks: named.into_iter().map(plain).collect(),
        findings: Findings::default(),
        stats: Stats::default(),
        sample: Sample {
            asked: asked.sample,
            seed: asked.seed,
            ..Sample::default()
        },
    };
    let Some((anchor, kept)) = found else {
        report.complete("it is not certain whose log this is: see the checks above");
        return Ok(report);
    };
    report.subject = Some(subjected(&anchor));
    let max = asked
        .sample
        .map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let sampler = Sampler::new(asked.seed, max);
    let record = record::record(evidence, &anchor, kept, sampler, observer)?;
    report.checks.extend(record.checks);
    report.findings = record.findings;
    report.stats = record.stats;
    report.sample.eligible = record.sampler.offered();
    report.sample.not_attestable = record.not_attestable;
    report.sample.undisclosed = record.undisclosed;
    report.checks.push(plain((
        "inference",
        Outcome::not_asked(
            "it needs the models; hint: `adit receipt replay ID --from URL --inference all` does it for one receipt",
        ),
    )));

    let chosen = record.sampler.take();
    if let Some(why) = nothing_to_run(&report) {
        report.checks.push(plain(("execution", why)));
    } else {
        let mut replayer = replayer().map_err(Stop::Failed)?;
        let (replayed, checks) = execution::execute(
            evidence,
            anchor.checkpoint.size,
            &chosen,
            &mut *replayer,
            &mut report.findings,
            observer,
        )?;
        report.sample.replayed = replayed;
        report.checks.extend(checks);
    }
    report.complete("the log could not be read so far");
    Ok(report)
}

/// Why no receipt is run again, if none is.
fn nothing_to_run(report: &Report) -> Option<Outcome> {
    let sample = &report.sample;
    let receipts = report.stats.of("receipt");
    match (sample.asked, sample.eligible, receipts) {
        (Some(0), _, _) => Some(Outcome::not_asked("not asked for: the sample is 0")),
        (_, _, 0) => Some(Outcome::not_asked("there are no receipts in the log")),
        (_, 0, _) => Some(Outcome::unchecked(format!(
            "none of the {receipts} receipts can be run again: {} have a status that depends on the machine, and of {} the task is not disclosed",
            sample.not_attestable, sample.undisclosed
        ))),
        _ => None,
    }
}

fn plain((id, outcome): (&'static str, Outcome)) -> Check {
    Check {
        id,
        outcome,
        count: None,
    }
}

fn subjected(anchor: &Anchor) -> Subjected {
    let version = anchor.memberships.first().map_or(0, |m| m.version);
    Subjected {
        network: anchor.genesis.name.clone(),
        genesis: anchor.genesis_hash,
        development: anchor.genesis.development,
        membership: version,
        coordinator: key(&anchor.coordinator.node),
        url: anchor.coordinator.url.clone(),
        introduction: anchor.coordinator.introduction.clone(),
        origin: anchor.checkpoint.origin.to_string(),
        size: anchor.checkpoint.size,
        root: anchor.checkpoint.root,
        checkpoint: anchor.note.clone(),
    }
}
