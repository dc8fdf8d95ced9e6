//! `adit receipt verify` and `adit receipt replay`: one line for each check.

use adit_protocol::receipt::Receipt;
use adit_runtime::audit::{self, Check, Fault, Verdict};
use adit_runtime::engine::Target;
use adit_runtime::state::Events;
use adit_runtime::worker::device::DeviceChoice;
use anyhow::Context as _;
use serde_json::json;

use super::Subject;
use super::remote::{Fetched, LOG_INCLUSION};
use crate::device::DeviceArgs;
use crate::error::Exit;
use crate::known;
use crate::state::State;
use crate::text::one_line;
use crate::ui::{ProgressLine, Ui};

/// `adit receipt verify FILE|ID`: level 1.
pub fn verify(ui: &Ui, state: &State, named: &str, fetched: &Fetched) -> anyhow::Result<Exit> {
    let bytes = fetched.bytes(state, named)?;
    let (receipt, checks) = audit::record(&bytes);
    let checks = fetched.with_log(checks);
    let asked = Asked {
        log: fetched.asked(),
        ..Asked::default()
    };
    report(ui, receipt.as_ref(), &checks, &[], &asked)
}

/// What was asked for beyond the record, and who executed it.
#[derive(Default)]
struct Asked {
    /// Whether the log is to be checked.
    log: bool,
    /// Which computations to make again; 0 for none.
    every: u64,
    /// What the worker says that it executes guests on; none if there was no worker.
    executed_on: Option<&'static str>,
}

/// `adit receipt replay FILE|ID`: levels 1 and 2, and 3 for each `every`-th computation, with the
/// guest executed on `target`.
pub fn replay(
    ui: &Ui,
    state: &State,
    named: &str,
    fetched: &Fetched,
    every: u64,
    target: Target,
    device: &DeviceArgs,
) -> anyhow::Result<Exit> {
    let bytes = fetched.bytes(state, named)?;
    let (receipt, checks) = audit::record(&bytes);
    let mut checks = fetched.with_log(checks);
    let log = fetched.asked();
    let Some(receipt) = receipt.filter(|_| !checks.iter().any(is_failed)) else {
        // What a receipt with a wrong signature claims is nobody's claim: running it would prove
        // nothing about anyone.
        let skipped = "execution and inference: the record does not hold";
        let asked = Asked {
            log,
            every,
            executed_on: None,
        };
        return report(ui, None, &checks, &[skipped], &asked);
    };
    let subject = Subject::of(state, named, receipt)?;
    // The execution alone needs no device, and none that is configured is woken up for it.
    let device = match every {
        0 => device.none()?,
        _ => device.choose(ui, state)?,
    };
    let supervisor = state.supervisor(&subject.blobs, target, &device.device, device.threads)?;
    if device.device != DeviceChoice::Embedded {
        device.hello(&supervisor)?;
    }
    let mut progress = Progress(ProgressLine::new(ui.shows_progress()));
    let found = audit::replay(
        &subject.receipt,
        subject.opening.as_ref(),
        &subject.blobs,
        &supervisor,
        every,
        &state.reports()?,
        &mut progress,
    );
    progress.0.clear();
    let found = found.context("the replay could not be made")?;
    let executed_on = match found.interpreter {
        None => None,
        Some(true) => Some("interpreter"),
        Some(false) => Some("processor"),
    };
    if let Ok(hello) = supervisor.hello() {
        // By it what was learnt is found again.
        subject.blobs.put(&hello.environment)?;
    }
    known::learn(state, &subject.blobs, &found.rechecks)?;
    checks.extend(found.checks);
    let asked = Asked {
        log,
        every,
        executed_on,
    };
    report(ui, Some(&subject.receipt), &checks, &[], &asked)
}

/// Prints the checks, and gives the exit code of the worst.
fn report(
    ui: &Ui,
    receipt: Option<&Receipt>,
    checks: &[Check],
    skipped: &[&str],
    asked: &Asked,
) -> anyhow::Result<Exit> {
    let exit = worst(checks, asked);
    let summary = summary(checks, exit, asked);
    if ui.json {
        let lines: Vec<_> = checks.iter().map(as_json).collect();
        ui.object(&json!({
            "receipt": receipt.map(Receipt::id),
            "checks": lines,
            "skipped": skipped,
            "executed_on": asked.executed_on,
            "summary": summary,
            "exit": exit.code(),
        }))?;
        return Ok(exit);
    }
    for check in checks {
        let (word, why) = words(check);
        let about = match (why, &check.note) {
            (Some(why), _) => format!(": {}", one_line(why)),
            (None, Some(note)) => format!(" ({})", one_line(note)),
            (None, None) => String::new(),
        };
        let level = check.level;
        ui.line(format!("{word:<13}  level {level}  {}{about}", check.name))?;
    }
    for what in skipped {
        ui.line(format!("{:<13}  {what}", "not performed"))?;
    }
    ui.line(summary)?;
    Ok(exit)
}

fn is_failed(check: &Check) -> bool {
    matches!(check.verdict, Verdict::Failed(_))
}

fn words(check: &Check) -> (&'static str, Option<&str>) {
    match &check.verdict {
        Verdict::Passed => ("passed", None),
        Verdict::Failed(why) => ("failed", Some(why)),
        Verdict::NotPerformed(why) => ("not performed", Some(why)),
    }
}

fn as_json(check: &Check) -> serde_json::Value {
    let (word, why) = words(check);
    json!({
        "level": check.level,
        "name": check.name,
        "result": word,
        "reason": why,
        "note": check.note,
        "fault": check.fault.map(|fault| match fault {
            Fault::Encoding => "encoding",
            Fault::Signature => "signature",
            Fault::Diverged => "diverged",
            Fault::Proof => "proof",
        }),
    })
}

/// A bad signature or encoding before a bad proof, that before a divergence, that before a check that
/// could not be made. Of level 1 only the log is ever unchecked, unless it was asked for; of level 3
/// what was not asked for.
fn worst(checks: &[Check], asked: &Asked) -> Exit {
    let faults = || checks.iter().filter(|c| is_failed(c)).map(|c| c.fault);
    if faults().any(|fault| matches!(fault, Some(Fault::Signature | Fault::Encoding))) {
        return Exit::Signature;
    }
    if faults().any(|fault| fault == Some(Fault::Proof)) {
        return Exit::Proof;
    }
    if faults().next().is_some() {
        return Exit::Diverged;
    }
    let wanted = |c: &Check| match c.level {
        1 => asked.log && c.name == LOG_INCLUSION,
        3 => asked.every > 0,
        _ => true,
    };
    let unchecked = |c: &Check| wanted(c) && matches!(c.verdict, Verdict::NotPerformed(_));
    if checks.iter().any(unchecked) {
        return Exit::Unchecked;
    }
    Exit::Ok
}

fn summary(checks: &[Check], exit: Exit, asked: &Asked) -> String {
    let count = |wanted: &str| checks.iter().filter(|c| words(c).0 == wanted).count();
    let verdict = match exit {
        Exit::Signature => "NOT VALID: the record does not hold",
        Exit::Proof => "NOT VALID: the log does not have it as it should",
        Exit::Diverged => "WRONG: the replay came to another result than the receipt",
        Exit::Unchecked => "NOT CHECKED: what was asked for could not be checked",
        _ if checks.iter().any(|c| c.level == 2) => match asked.executed_on {
            Some("interpreter") => {
                "the record holds, and the replay in the interpreter is identical to it"
            }
            _ => "the record holds, and the replay is identical to it",
        },
        _ if asked.log => {
            "the record holds, and is in the log; `adit receipt replay` also checks what it says"
        }
        _ => "the record holds; `adit receipt replay` also checks what it says",
    };
    format!(
        "{} passed, {} failed, {} not performed: {verdict}",
        count("passed"),
        count("failed"),
        count("not performed")
    )
}

/// Shows how far a replay is, and none of its output.
struct Progress(ProgressLine);

impl Events for Progress {
    fn progress(&mut self, done: u64, total: u64, note: &str) {
        self.0.show(done, total, note);
    }

    fn output(&mut self, _: &[u8]) {}

    fn log(&mut self, _: &[u8]) {}
}
