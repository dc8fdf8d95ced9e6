//! Whether the sandbox holds on this machine: a process is locked down as a worker is, and tries
//! from inside what must not work.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::probe::probe;
use super::sandbox::{SandboxKind, lock_down};
use super::{WORKER_ARGUMENT, WorkerError};

/// How long it may take.
const TIME: Duration = Duration::from_secs(20);
/// Most that the child may say, in bytes.
const TEXT_BYTES_MAX: u64 = 64 << 10;

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried.
    pub name: String,
    /// Whether the process behaves as a worker should: what must fail failed, and what must work
    /// worked.
    pub good: bool,
    /// The system's answer, in words.
    pub detail: String,
}

/// Locks a process of `program` down and has it try. On systems without a sandbox nothing is tried.
///
/// # Errors
///
/// A sentence: why the process could not be locked down, or how it ended.
pub fn self_test(program: &Path) -> Result<Vec<Attempt>, String> {
    let mut child = Command::new(program)
        .args([WORKER_ARGUMENT, "self-test"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < TIME => std::thread::sleep(Duration::from_millis(10)),
            other => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(match other {
                    Err(error) => error.to_string(),
                    Ok(_) => format!("it did not end within {} s", TIME.as_secs()),
                });
            }
        }
    };
    let (mut said, mut complained) = (String::new(), String::new());
    if let Some(stdout) = child.stdout.take() {
        let _ = stdout.take(TEXT_BYTES_MAX).read_to_string(&mut said);
    }
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(TEXT_BYTES_MAX).read_to_string(&mut complained);
    }
    if !status.success() {
        return Err(format!("{status}: {}", complained.trim()));
    }
    let attempt = |line: &str| {
        let mut parts = line.splitn(3, '\t');
        Some(Attempt {
            good: parts.next()? == "good",
            name: parts.next()?.to_owned(),
            detail: parts.next()?.to_owned(),
        })
    };
    Ok(said.lines().filter_map(attempt).collect())
}

/// The child. It has one thread, as a worker has when it is locked down.
pub(super) fn main() -> Result<(), WorkerError> {
    lock_down(SandboxKind::Worker)?;
    for result in probe(SandboxKind::Worker, None) {
        let good = if result.is_good() { "good" } else { "bad" };
        let detail = result.detail.replace(['\n', '\t'], " ");
        println!("{good}\t{}\t{detail}", result.name);
    }
    Ok(())
}
