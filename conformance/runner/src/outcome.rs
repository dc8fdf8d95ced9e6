//! What an implementation says of a run, and how it differs from what was expected.

use base64::Engine as _;
use serde::Deserialize;

use crate::case::{Case, attestable};
use crate::process::Finished;

/// The fields of `adit --json run` that the suite relies on; an implementation may have more.
#[derive(Clone, Debug, Deserialize)]
pub struct Outcome {
    /// Id of the receipt.
    pub receipt: String,
    /// Name of the status.
    pub status: String,
    /// Whether the status is attestable.
    pub attestable: bool,
    /// The output.
    pub output: Output,
    /// The guest's own error.
    pub task_error: Option<TaskError>,
    /// Fuel used.
    pub fuel: u64,
    /// Peak memory in bytes.
    pub peak_memory_bytes: u64,
    /// Inference.
    pub nn: Inference,
    /// The spec of the execution.
    pub exec: Exec,
    /// Hash of the task spec.
    pub task: String,
    /// What the guest logged.
    pub log: String,
    /// Why it ended, for people.
    pub detail: Option<String>,
}

/// The output of a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Output {
    /// `blake3:<hex>`.
    pub hash: String,
    /// Its length.
    pub bytes: u64,
    /// The output, if it is text.
    pub text: Option<String>,
    /// The output, if it is not.
    pub base64: Option<String>,
}

/// The guest's own error.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TaskError {
    /// Its number.
    pub code: u32,
    /// Its text.
    pub message: String,
}

/// Inference of a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Inference {
    /// Whether there were calls.
    pub used: bool,
    /// Computations.
    pub computations: u64,
    /// Work units.
    pub units: u64,
}

/// The spec of an execution.
#[derive(Clone, Debug, Deserialize)]
pub struct Exec {
    /// Its hash.
    pub hash: String,
    /// What of it is looked at.
    pub spec: Spec,
}

/// What is looked at of a spec.
#[derive(Clone, Debug, Deserialize)]
pub struct Spec {
    /// The engine id.
    pub engine: String,
}

/// The error object on stderr.
#[derive(Debug, Deserialize)]
pub struct Refused {
    /// The error.
    pub error: RefusedError,
}

/// The parts of an error.
#[derive(Debug, Deserialize)]
pub struct RefusedError {
    /// The code, as `adit explain` lists them.
    pub code: String,
    /// What to do.
    pub hint: String,
    /// The exit code of the process.
    pub exit: i32,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What differs.
    pub field: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl Mismatch {
    /// A mismatch of two values.
    pub fn new(field: impl Into<String>, expected: impl ToString, got: impl ToString) -> Mismatch {
        Mismatch {
            field: field.into(),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }
}

/// Collects what differs.
#[derive(Default)]
struct Differences(Vec<Mismatch>);

impl Differences {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, field: &str, expected: &T, got: &T) {
        if expected != got {
            self.0.push(Mismatch::new(
                field,
                format!("{expected:?}"),
                format!("{got:?}"),
            ));
        }
    }
}

/// The exit code that goes with a status (documented with `adit --help`).
pub fn exit_of(status: &str) -> i32 {
    match status {
        "ok" => 0,
        "host-fault" => 2,
        _ => 1,
    }
}

/// Compares an outcome with what a case expects.
pub fn against_case(case: &Case, got: &Outcome) -> Vec<Mismatch> {
    let expect = &case.expect;
    let mut found = Differences::default();
    if let Some(status) = &expect.status {
        found.same("status", status, &got.status);
        found.same("attestable", &attestable(status), &got.attestable);
    }
    if let Some(fuel) = &expect.fuel {
        found.same("fuel", fuel, &got.fuel);
    }
    if let Some(peak) = &expect.peak_memory {
        found.same("peak_memory", peak, &got.peak_memory_bytes);
    }
    found.same("nn_units", &expect.nn_units, &got.nn.units);
    if let Some(computations) = &expect.computations {
        found.same("computations", computations, &got.nn.computations);
    }
    let error = got.task_error.as_ref().map(|error| error.code);
    if expect.task_error.is_some() || expect.status.as_deref() != Some("task-error") {
        found.same("task_error", &expect.task_error, &error);
    }
    if let Some(output) = &expect.output
        && !output.admits(&got.output.hash, got.output.bytes)
    {
        found.0.push(Mismatch::new(
            "output",
            match (output, output.hash()) {
                (crate::case::Output::Text { text }, _) => shortened(text),
                (_, (Some(hash), bytes)) => format!("{bytes} bytes, {hash}"),
                (_, (None, bytes)) => format!("{bytes} bytes"),
            },
            match &got.output.text {
                Some(text) => shortened(text),
                None => format!("{} bytes, {}", got.output.bytes, got.output.hash),
            },
        ));
    }
    found.0.extend(with_itself(got));
    found.0
}

/// Whether the output that is shown is the one that is named.
fn with_itself(got: &Outcome) -> Option<Mismatch> {
    let Output {
        hash,
        bytes,
        text,
        base64,
    } = &got.output;
    let decoded = base64.as_ref().map(|base64| {
        base64::engine::general_purpose::STANDARD
            .decode(base64)
            .map_err(|error| error.to_string())
    });
    let shown: &[u8] = match (text, &decoded) {
        (Some(text), None) => text.as_bytes(),
        (None, Some(Ok(bytes))) => bytes,
        (None, Some(Err(why))) => {
            return Some(Mismatch::new("output.base64", "base64 with padding", why));
        }
        _ => {
            return Some(Mismatch::new(
                "output",
                "either `text` or `base64`",
                "both or neither",
            ));
        }
    };
    let right = (
        format!("blake3:{}", blake3::hash(shown)),
        shown.len() as u64,
    );
    (right != (hash.clone(), *bytes)).then(|| {
        Mismatch::new(
            "output.hash and output.bytes",
            format!("those of the output shown, {} and {}", right.0, right.1),
            format!("{hash} and {bytes}"),
        )
    })
}

/// Compares two runs of the same case, in all that the spec determines.
pub fn with_other_run(one: &Outcome, two: &Outcome) -> Vec<Mismatch> {
    let mut found = Differences::default();
    found.same("status of the second run", &one.status, &two.status);
    found.same(
        "exec hash of the second run",
        &one.exec.hash,
        &two.exec.hash,
    );
    found.same("task hash of the second run", &one.task, &two.task);
    // What is not attestable may differ from run to run in all the rest.
    if one.attestable && two.attestable {
        found.same("fuel of the second run", &one.fuel, &two.fuel);
        let peaks = (one.peak_memory_bytes, two.peak_memory_bytes);
        found.same("peak memory of the second run", &peaks.0, &peaks.1);
        let named = |outcome: &Outcome| (outcome.output.hash.clone(), outcome.output.bytes);
        found.same("output of the second run", &named(one), &named(two));
        found.same("inference of the second run", &one.nn, &two.nn);
        let errors = (&one.task_error, &two.task_error);
        found.same("task error of the second run", errors.0, errors.1);
        found.same("log of the second run", &one.log, &two.log);
    }
    found.0
}

/// Reads the outcome of a finished run, and compares its exit code with the status.
///
/// # Errors
///
/// The mismatch, if there is no outcome.
pub fn of_run(finished: &Finished) -> Result<(Outcome, Vec<Mismatch>), Mismatch> {
    let outcome: Outcome = serde_json::from_slice(&finished.stdout).map_err(|error| {
        let got = String::from_utf8_lossy(&finished.stdout);
        Mismatch::new(
            "stdout",
            "one JSON object with the documented fields",
            format!("{error}: {}", shortened(&got)),
        )
    })?;
    let mut found = Differences::default();
    found.same("exit", &Some(exit_of(&outcome.status)), &finished.exit);
    if outcome.status != "ok" {
        match refusal(&finished.stderr) {
            Ok(refused) => {
                found.same("error.code", &outcome.status, &refused.error.code);
                found.same("error.exit", &finished.exit, &Some(refused.error.exit));
            }
            Err(mismatch) => found.0.push(mismatch),
        }
    }
    Ok((outcome, found.0))
}

/// Compares a run that must leave no receipt with its code.
pub fn of_refusal(code: &str, finished: &Finished) -> Vec<Mismatch> {
    let mut found = Differences::default();
    found.same("stdout", &"", &&*String::from_utf8_lossy(&finished.stdout));
    match refusal(&finished.stderr) {
        Ok(Refused { error }) => {
            found.same("error.code", &code, &&*error.code);
            found.same("exit", &Some(error.exit), &finished.exit);
            if finished.exit == Some(0) {
                found.0.push(Mismatch::new("exit", "another than 0", 0));
            }
            if error.hint.is_empty() {
                found.0.push(Mismatch::new("error.hint", "what to do", ""));
            }
        }
        Err(mismatch) => found.0.push(mismatch),
    }
    found.0
}

/// The error object: the last line on stderr.
fn refusal(stderr: &str) -> Result<Refused, Mismatch> {
    let last = stderr.lines().next_back().unwrap_or_default();
    serde_json::from_str(last).map_err(|error| {
        Mismatch::new(
            "last line of stderr",
            "one JSON object with `error`",
            format!("{error}: {}", shortened(last)),
        )
    })
}

/// The beginning of a text that may be anything.
pub fn shortened(text: &str) -> String {
    const CHARS: usize = 600;
    let shown: String = text.chars().take(CHARS).collect();
    match shown.len() < text.len() {
        true => format!("{shown:?} and more"),
        false => format!("{shown:?}"),
    }
}

#[cfg(test)]
mod tests;
