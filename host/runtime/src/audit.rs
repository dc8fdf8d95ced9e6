//! Checks a receipt: its record (level 1), its execution (level 2), its inference (level 3).
//!
//! Every check says whether it passed, failed, or was not performed and why. Nothing that was not
//! checked is ever reported as valid.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::cbor::Document;
use adit_protocol::exec::ExecSpec;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{CoordinatorCheck, Receipt};
use adit_protocol::task::TaskSpec;
use adit_protocol::transcript::Transcript;

use crate::attest;
use crate::devices::reports::Reports;
use crate::replay::Recheck;
use crate::state::Events;
use crate::store::StoreError;
use crate::store::blobs::BlobStore;
use crate::worker::messages::Mode;
use crate::worker::supervisor::{Ran, Supervisor, SupervisorError, Task};

/// Least wall-clock time that a replay is given: it may run on a slower machine than the run.
const REPLAY_DEADLINE: Duration = Duration::from_secs(600);
/// How many times longer a replay in the interpreter may take than one as native code.
const INTERPRETER_SLOWDOWN: u32 = 30;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What was checked holds.
    Passed,
    /// What was checked does not hold.
    Failed(String),
    /// It was not checked, and why.
    NotPerformed(String),
}

/// What a failed check shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The execution or inference is not the recorded one.
    Diverged,
    /// A proof that it is in a log does not hold.
    Proof,
    /// A signature does not hold.
    Signature,
    /// The bytes are not a receipt.
    Encoding,
}

/// One check of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// 1 record, 2 execution, 3 inference.
    pub level: u8,
    /// What was checked, in a few words.
    pub name: &'static str,
    /// The result.
    pub verdict: Verdict,
    /// What a failure shows.
    pub fault: Option<Fault>,
    /// What was found, for people; never needed to understand the verdict.
    pub note: Option<String>,
}

impl Check {
    fn passed(level: u8, name: &'static str) -> Self {
        Self {
            level,
            name,
            verdict: Verdict::Passed,
            fault: None,
            note: None,
        }
    }

    fn failed(level: u8, name: &'static str, fault: Fault, why: impl fmt::Display) -> Self {
        Self {
            verdict: Verdict::Failed(why.to_string()),
            fault: Some(fault),
            ..Self::passed(level, name)
        }
    }

    fn not_performed(level: u8, name: &'static str, why: impl fmt::Display) -> Self {
        Self {
            verdict: Verdict::NotPerformed(why.to_string()),
            ..Self::passed(level, name)
        }
    }

    /// A check that two values are the same.
    fn same<T: PartialEq + fmt::Display>(name: &'static str, recorded: T, replayed: T) -> Self {
        if recorded == replayed {
            return Self::passed(2, name);
        }
        let why = format!("the receipt has {recorded}, the replay gave {replayed}");
        Self::failed(2, name, Fault::Diverged, why)
    }

    fn with_note(self, note: String) -> Self {
        Self {
            note: Some(note),
            ..self
        }
    }
}

/// What a replay found.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Its checks, in order.
    pub checks: Vec<Check>,
    /// Whether the guest was executed in the interpreter and not as native code; none if it was
    /// not executed.
    pub interpreter: Option<bool>,
    /// The computations that were made again.
    pub rechecks: Vec<Recheck>,
}

impl Replayed {
    fn not_executed(checks: Vec<Check>) -> Self {
        Self {
            checks,
            interpreter: None,
            rechecks: Vec::new(),
        }
    }
}

/// Level 1: check the bytes of a receipt by themselves.
///
/// Inclusion in a log needs the log and is reported as not performed.
pub fn record(bytes: &[u8]) -> (Option<Receipt>, Vec<Check>) {
    let receipt = match Receipt::from_bytes(bytes) {
        Ok(receipt) => receipt,
        Err(e) => {
            let failed = Check::failed(1, "encoding", Fault::Encoding, e);
            return (None, vec![failed]);
        }
    };
    let mut checks = vec![Check::passed(1, "encoding")];
    let local = receipt.is_local();
    let miner = receipt.verify_miner();
    let miner_holds = miner.is_ok();
    match miner {
        Ok(()) => checks.push(Check::passed(1, "miner signature")),
        Err(e) => checks.push(Check::failed(1, "miner signature", Fault::Signature, e)),
    }
    let name = "coordinator countersignature";
    checks.push(match receipt.verify() {
        Ok(verified) => match verified.coordinator {
            CoordinatorCheck::Checked => Check::passed(1, name),
            CoordinatorCheck::NotPerformed => {
                Check::not_performed(1, name, "a local run has no coordinator")
            }
        },
        // What is wrong on the miner's side has been said.
        Err(_) if !miner_holds => {
            Check::not_performed(1, name, "the miner's signature does not hold")
        }
        Err(e) => Check::failed(1, name, Fault::Signature, e),
    });
    let why = if local {
        "a local run is in no log"
    } else {
        "this needs the coordinator's log"
    };
    checks.push(Check::not_performed(1, "log inclusion", why));
    checks.push(Check::not_performed(1, "checkpoint signatures", why));
    (Some(receipt), checks)
}

/// Levels 2 and 3: execute the component again with the recorded inference answers, and compare
/// everything. With `every` > 0, each `every`-th computation is also made on the worker's backend.
///
/// Level 2 needs no model and no inference. What is missing is named in the checks.
///
/// # Errors
///
/// [`SupervisorError`] when no worker can be had.
pub fn replay(
    receipt: &Receipt,
    opening: Option<&ReceiptOpening>,
    blobs: &BlobStore,
    supervisor: &Supervisor,
    every: u64,
    reports: &Reports,
    events: &mut dyn Events,
) -> Result<Replayed, SupervisorError> {
    let mut checks = Vec::new();
    let mut prepared = match prepare(receipt, opening, blobs, every) {
        Ok(prepared) => prepared,
        Err(check) => {
            checks.push(*check);
            checks.push(Check::not_performed(
                3,
                "inference",
                "the execution was not replayed",
            ));
            return Ok(Replayed::not_executed(checks));
        }
    };
    checks.push(Check::passed(2, "specs and commitments"));

    let hello = supervisor.hello()?;
    let own = hello.engine;
    if prepared.task.spec.engine != own {
        let why = format!(
            "the run was made by the engine {}, and this build has {own}; hint: use the release of adit that has that engine",
            prepared.task.spec.engine
        );
        checks.push(Check::not_performed(2, "execution", why));
        return Ok(Replayed::not_executed(checks));
    }
    if hello.interpreter {
        let deadline = &mut prepared.task.deadline;
        *deadline = deadline.saturating_mul(INTERPRETER_SLOWDOWN);
    }

    let ran = match supervisor.run(&prepared.task, events) {
        Ok(ran) => ran,
        // What lacks is here and not in the run.
        Err(SupervisorError::Store(
            error @ (StoreError::Missing { .. }
            | StoreError::Corrupt { .. }
            | StoreError::NotAFile { .. }),
        )) => {
            checks.push(Check::not_performed(2, "execution", error));
            return Ok(Replayed::not_executed(checks));
        }
        Err(error) => return Err(error),
    };
    let bit_exact = |recheck: &Recheck| must_be_exact(recheck, reports);
    compare(receipt, &prepared, &ran, every, &bit_exact, &mut checks);
    Ok(Replayed {
        checks,
        interpreter: Some(hello.interpreter),
        rechecks: ran.rechecks,
    })
}

/// Compare what a replay came to with what its receipt says.
fn compare(
    receipt: &Receipt,
    prepared: &Prepared,
    ran: &Ran,
    every: u64,
    bit_exact: &dyn Fn(&Recheck) -> bool,
    checks: &mut Vec<Check>,
) {
    let body = &receipt.body;
    if let Some(divergence) = &ran.divergence {
        checks.push(Check::failed(
            2,
            "inference calls",
            Fault::Diverged,
            divergence,
        ));
        return;
    }
    if !ran.status.attestable() {
        let why = ran.detail.as_deref().unwrap_or("no reason is known");
        let why = format!("the replay ended with {}: {why}", ran.status.name());
        checks.push(Check::not_performed(2, "execution", why));
        return;
    }
    let salt = &prepared.spec.salt;
    let replayed = attest::opening(&prepared.task.spec, ran);
    checks.push(Check::same("status", body.status.name(), ran.status.name()));
    checks.push(
        Check::same("output", body.output, replayed.output.commit(salt))
            .with_note(format!("{} bytes", ran.output.len())),
    );
    checks.push(Check::same("fuel", body.fuel, ran.fuel));
    checks.push(Check::same(
        "peak memory",
        body.peak_memory,
        ran.peak_memory,
    ));
    checks.push(Check::same("work units", body.nn_units, ran.nn_units));
    checks.push(Check::same(
        "transcript",
        body.transcript,
        replayed.transcript.commit(salt),
    ));
    checks.push(inference(ran, every, body.nn, bit_exact));
}

struct Prepared {
    spec: TaskSpec,
    task: Task,
}

/// Gather what a replay needs, or say in a check why it cannot be made.
fn prepare(
    receipt: &Receipt,
    opening: Option<&ReceiptOpening>,
    blobs: &BlobStore,
    every: u64,
) -> Result<Prepared, Box<Check>> {
    let body = &receipt.body;
    let not_performed = |why: String| Box::new(Check::not_performed(2, "execution", why));
    let failed = |why: String| {
        Box::new(Check::failed(
            2,
            "specs and commitments",
            Fault::Diverged,
            why,
        ))
    };
    if !body.status.attestable() {
        return Err(not_performed(format!(
            "the status {} is not attestable: it can differ between machines",
            body.status.name()
        )));
    }
    let task: TaskSpec = document(blobs, &body.task).map_err(not_performed)?;
    let exec: ExecSpec = document(blobs, &task.exec).map_err(not_performed)?;
    if exec.component != body.component {
        return Err(failed(
            "the receipt names another component than its task".to_owned(),
        ));
    }
    if exec.input.commit(&task.salt) != body.input {
        return Err(failed(
            "the receipt commits to another input than its task's".to_owned(),
        ));
    }
    let transcript = match opening {
        Some(opening) => opening.transcript,
        None => attest::no_inference(),
    };
    if transcript.commit(&task.salt) != body.transcript {
        // Nobody signs an opening, so that a wrong one proves nothing about the run.
        return Err(not_performed(match opening {
            Some(_) => "the opening at hand does not belong to this receipt; hint: get the receipt's own, or restore it".to_owned(),
            None => "the receipt's opening is missing, so its transcript cannot be found".to_owned(),
        }));
    }
    let mut manifests = std::collections::BTreeMap::new();
    for (name, hash) in exec.models.iter() {
        let bytes = blobs
            .get(hash, ModelManifest::MAX_LEN as u64)
            .map_err(|e| not_performed(format!("the manifest of model `{name}`: {e}")))?;
        manifests.insert(name.clone(), bytes);
    }
    let mut needed = vec![("component", exec.component), ("input", exec.input)];
    if body.nn {
        needed.push(("transcript", transcript));
    } else if !blobs.contains(&transcript) {
        // The transcript of a run without inference is a constant.
        blobs
            .put(&Transcript::default().to_cbor())
            .map_err(|e| not_performed(e.to_string()))?;
    }
    for (what, hash) in needed {
        if !blobs.contains(&hash) {
            let missing = StoreError::Missing { hash };
            return Err(not_performed(format!("the {what} is missing: {missing}")));
        }
    }
    Ok(Prepared {
        task: Task {
            spec: exec,
            input: None,
            manifests,
            deadline: REPLAY_DEADLINE.max(Duration::from_millis(task.deadline_ms)),
            mode: Mode::Replay { transcript, every },
        },
        spec: task,
    })
}

fn document<D: Document>(blobs: &BlobStore, hash: &Hash) -> Result<D, String> {
    let bytes = blobs
        .get(hash, D::MAX_LEN as u64)
        .map_err(|e| format!("the {}: {e}", D::NAME))?;
    D::from_cbor(&bytes).map_err(|e| e.to_string())
}

/// Whether an answer has to be the same to the bit: it was computed in this very environment, which
/// was measured to be repeatable for the model.
fn must_be_exact(recheck: &Recheck, reports: &Reports) -> bool {
    let Some(environment) = recheck.environment else {
        return false;
    };
    let report = || reports.find(&environment, &recheck.model);
    recheck.recorded == Some(environment) && report().is_some_and(|report| report.bit_exact())
}

fn inference(ran: &Ran, every: u64, used: bool, bit_exact: &dyn Fn(&Recheck) -> bool) -> Check {
    if !used {
        return Check::passed(3, "inference").with_note("the run made no inference call".into());
    }
    if every == 0 {
        return Check::not_performed(3, "inference", "not asked for; it needs the models");
    }
    let checked = ran.rechecks.len();
    let exact = ran.rechecks.iter().filter(|r| r.exact).count();
    // There are as many reports as models, and each is a file.
    let mut known: BTreeMap<(Option<Hash>, Option<Hash>, Hash), bool> = BTreeMap::new();
    let strict: Vec<&Recheck> = ran
        .rechecks
        .iter()
        .filter(|r| {
            let of = (r.recorded, r.environment, r.model);
            *known.entry(of).or_insert_with(|| bit_exact(r))
        })
        .collect();
    let mut note =
        format!("{checked} computations made again, {exact} of them the same to the bit");
    if !strict.is_empty() {
        note.push_str(&format!(
            "; {} had to be, in an environment that was measured to be repeatable",
            strict.len()
        ));
    }
    if let Some(other) = strict.iter().find(|r| !r.exact) {
        let why = format!(
            "call {} is not the same to the bit, and was computed in the same environment, which was measured to be repeatable",
            other.index
        );
        return Check::failed(3, "inference", Fault::Diverged, why).with_note(note);
    }
    match ran.rechecks.iter().find(|r| !r.accepted) {
        Some(r) => Check::failed(
            3,
            "inference",
            Fault::Diverged,
            format!(
                "call {} is outside the manifest's tolerance: largest difference {:e} absolute, {:e} relative",
                r.index, r.max_abs, r.max_rel
            ),
        )
        .with_note(note),
        None => Check::passed(3, "inference").with_note(note),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_protocol::device_report::{DeviceReport, Repeatability};

    fn recheck(exact: bool) -> Recheck {
        Recheck {
            index: 3,
            exact,
            accepted: true,
            max_abs: 1e-7,
            max_rel: 1e-7,
            model: Hash::of(b"model"),
            recorded: Some(Hash::of(b"environment")),
            environment: Some(Hash::of(b"environment")),
        }
    }

    fn checked(rechecks: Vec<Recheck>, reports: &Reports) -> Check {
        let ran = Ran {
            rechecks,
            ..Ran::without_guest(adit_protocol::status::Status::Ok, String::new())
        };
        inference(&ran, 1, true, &|recheck| must_be_exact(recheck, reports))
    }

    /// Within the tolerance is enough, unless this very environment was measured to be repeatable.
    #[test]
    fn a_repeatable_environment_is_held_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let reports = Reports::at(folder.path().to_owned());
        let passed = |check: &Check| check.verdict == Verdict::Passed;
        assert!(passed(&checked(vec![recheck(false)], &reports)));
        let mut report = DeviceReport {
            environment: Hash::of(b"environment"),
            model: Hash::of(b"model"),
            reference: None,
            repeatability: Some(Repeatability {
                runs: 5,
                processes: 2,
                threads: vec![1],
                repeatable: false,
                across_threads: false,
            }),
        };
        reports.keep(&report).unwrap();
        assert!(passed(&checked(vec![recheck(false)], &reports)));
        if let Some(found) = &mut report.repeatability {
            found.repeatable = true;
        }
        reports.keep(&report).unwrap();
        let check = checked(vec![recheck(true), recheck(false)], &reports);
        assert!(matches!(&check.verdict, Verdict::Failed(why) if why.contains("call 3")));
        assert!(passed(&checked(vec![recheck(true)], &reports)));
        // Another environment's answer may differ.
        let other = Recheck {
            recorded: Some(Hash::of(b"another")),
            ..recheck(false)
        };
        assert!(passed(&checked(vec![other], &reports)));
    }
}
