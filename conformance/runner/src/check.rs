//! One case: two runs, in two processes with two state folders, and the replays.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use crate::case::{Case, Verdict};
use crate::error::Error;
use crate::input::to_file;
use crate::outcome::{self, Mismatch, Outcome, shortened};
use crate::places::Places;
use crate::process::{Finished, Implementation};

/// Least time after which a process is taken to hang.
const HANGS: Duration = Duration::from_secs(60);

/// What a case left behind.
pub struct Report {
    /// What is not as it should be, with the command that showed it.
    pub findings: Vec<Finding>,
    /// The first run, if it left a receipt.
    pub outcome: Option<Outcome>,
    /// The folder with inputs and state folders, kept if there are findings.
    pub folder: Option<PathBuf>,
}

/// Folders that cases use one after the other, each with two state folders: that of the first runs
/// and that of the second. So an implementation may keep what it has compiled, and what a hostile
/// guest does to a state folder would show in the cases that follow.
#[derive(Debug, Default)]
pub struct Homes(Mutex<Vec<TempDir>>);

impl Homes {
    fn take(&self) -> Result<TempDir, Error> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.map_or_else(
            || {
                tempfile::Builder::new()
                    .prefix("conformance-")
                    .tempdir()
                    .map_err(Error::io("a temporary folder"))
            },
            Ok,
        )
    }

    fn give_back(&self, home: TempDir) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(home);
    }
}

/// What one command showed.
#[derive(Debug)]
pub struct Finding {
    /// The command line, to be repeated by hand.
    pub command: String,
    /// What differs.
    pub mismatches: Vec<Mismatch>,
    /// The last lines of stderr.
    pub stderr: String,
}

/// One case on its way.
struct Trial<'a> {
    adit: &'a Implementation,
    case: &'a Case,
    home: PathBuf,
    findings: Vec<Finding>,
}

/// Makes the runs and replays of a case.
///
/// # Errors
///
/// [`Error`] if an input is not there or the program cannot be started. What the program does
/// wrong is a finding, and not an error.
pub fn check(
    adit: &Implementation,
    places: &Places,
    homes: &Homes,
    case: &Case,
) -> Result<Report, Error> {
    let home = homes.take()?;
    let files = home.path().join(&case.name);
    std::fs::create_dir(&files).map_err(Error::io(&files))?;
    let options = options(case, places, &files)?;
    let mut trial = Trial {
        adit,
        case,
        home: home.path().to_owned(),
        findings: Vec::new(),
    };
    let outcome = match &case.expect.code {
        Some(code) => {
            for state in ["one", "two"] {
                let (args, finished) = trial.start(state, &options, true)?;
                let found = outcome::of_refusal(code, &finished);
                trial.note(&args, &finished, found);
            }
            None
        }
        None => trial.with_receipt(&options)?,
    };
    let findings = trial.findings;
    let folder = match findings.is_empty() {
        true => {
            std::fs::remove_dir_all(&files).map_err(Error::io(&files))?;
            homes.give_back(home);
            None
        }
        // For whoever repeats the command; a suite that passes leaves nothing.
        false => Some(home.keep()),
    };
    Ok(Report {
        findings,
        outcome,
        folder,
    })
}

/// The command `run` of a case, with its files written to `folder`.
fn options(case: &Case, places: &Places, folder: &Path) -> Result<Vec<OsString>, Error> {
    let guest = to_file(folder.join("guest.wasm"), |to| case.guest.write(places, to))?;
    let input = to_file(folder.join("input"), |to| case.input.write(places, to))?;
    let mut options: Vec<OsString> = vec!["run".into(), guest.into()];
    let mut option = |name: &str, value: OsString| options.extend([name.into(), value]);
    option("--input", input.into());
    for (at, (name, model)) in case.models.iter().enumerate() {
        let path = folder.join(format!("model-{at}.onnx"));
        let path = to_file(path, |to| model.write(places, to))?;
        let mut value = OsString::from(format!("{name}="));
        value.push(path);
        option("--model", value);
    }
    // Plain numbers: units are a convenience that another program need not have.
    let limits = &case.limits;
    option("--fuel", limits.fuel.0.to_string().into());
    option("--memory", limits.memory.0.to_string().into());
    if let Some(output) = limits.output {
        option("--output-limit", output.0.to_string().into());
    }
    let deadline = format!("{}ms", limits.deadline.0.as_millis());
    option("--deadline", deadline.into());
    option("--seed", case.seed.to_string().into());
    option("--clock", case.clock.to_string().into());
    options.push("--".into());
    options.extend(case.args.iter().map(OsString::from));
    Ok(options)
}

impl Trial<'_> {
    fn with_receipt(&mut self, options: &[OsString]) -> Result<Option<Outcome>, Error> {
        let one = self.run("one", options, true)?;
        // What the first did wrong is not said twice.
        let first_is_good = self.findings.is_empty();
        let two = self.run("two", options, first_is_good)?;
        let (Some((first, args, finished)), Some((second, ..))) = (&one, &two) else {
            return Ok(None);
        };
        let mut found = outcome::with_other_run(first, second);
        let transcripts = (
            self.transcript("one", first)?,
            self.transcript("two", second)?,
        );
        if first.attestable && transcripts.0 != transcripts.1 {
            let shown = |hash: &Option<String>| format!("{hash:?}");
            let (one, two) = (shown(&transcripts.0), shown(&transcripts.1));
            found.push(Mismatch::new("transcript of the second run", one, two));
        }
        self.note(args, finished, found);
        self.replay(&first.receipt, false)?;
        if self.case.replay.interpreter {
            self.replay(&first.receipt, true)?;
        }
        Ok(one.map(|(outcome, ..)| outcome))
    }

    fn run(
        &mut self,
        state: &str,
        options: &[OsString],
        compare: bool,
    ) -> Result<Option<(Outcome, Vec<OsString>, Finished)>, Error> {
        let (args, finished) = self.start(state, options, true)?;
        match outcome::of_run(&finished) {
            Ok((outcome, mut found)) => {
                if compare {
                    found.extend(outcome::against_case(self.case, &outcome));
                }
                self.note(&args, &finished, found);
                Ok(Some((outcome, args, finished)))
            }
            Err(mismatch) => {
                self.note(&args, &finished, vec![mismatch]);
                Ok(None)
            }
        }
    }

    /// Hash of the transcript that the opening of a receipt names.
    fn transcript(&mut self, state: &str, outcome: &Outcome) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Shown {
            opening: Opening,
        }
        #[derive(Deserialize)]
        struct Opening {
            transcript: Option<Blob>,
        }
        #[derive(Deserialize)]
        struct Blob {
            hash: String,
        }
        let show = [
            "receipt".into(),
            "show".into(),
            outcome.receipt.clone().into(),
        ];
        let (args, finished) = self.start(state, &show, false)?;
        match serde_json::from_slice::<Shown>(&finished.stdout) {
            Ok(shown) if finished.exit == Some(0) => {
                self.note(&args, &finished, Vec::new());
                Ok(shown.opening.transcript.map(|blob| blob.hash))
            }
            other => {
                let got = match other {
                    Ok(_) => format!("exit code {:?}", finished.exit),
                    Err(error) => error.to_string(),
                };
                let expected = "the receipt as one JSON object, and exit code 0";
                let found = vec![Mismatch::new("receipt show", expected, got)];
                self.note(&args, &finished, found);
                Ok(None)
            }
        }
    }

    fn replay(&mut self, receipt: &str, interpreter: bool) -> Result<(), Error> {
        let mut replay: Vec<OsString> = vec!["receipt".into(), "replay".into(), receipt.into()];
        if interpreter {
            replay.push("--interpreter".into());
        }
        let (args, finished) = self.start("one", &replay, false)?;
        let found = replayed(self.case.replay.expect, &finished);
        self.note(&args, &finished, found);
        Ok(())
    }

    /// Starts the program with a state folder. A `measured` process has to keep within the
    /// bounds on time; every process has to keep within those on memory.
    fn start(
        &mut self,
        state: &str,
        command: &[OsString],
        measured: bool,
    ) -> Result<(Vec<OsString>, Finished), Error> {
        let state = self.home.join(state);
        let mut args: Vec<OsString> = vec!["--json".into(), "--state".into(), state.into()];
        args.extend(command.iter().cloned());
        let bound = &self.case.bound;
        let limit = Duration::from_secs(bound.seconds.saturating_mul(3)).max(HANGS);
        let finished = self.adit.run(&self.home, &args, limit)?;
        let mut found = Vec::new();
        if let Some(wrong) = &finished.wrong {
            found.push(Mismatch::new("process", "an orderly end", wrong));
        }
        if finished.rss > bound.rss.0 {
            let most = format!("at most {} bytes", bound.rss.0);
            found.push(Mismatch::new("resident memory", most, finished.rss));
        }
        if measured && finished.took > Duration::from_secs(bound.seconds) {
            let most = format!("at most {} s", bound.seconds);
            let took = format!("{:.1} s", finished.took.as_secs_f64());
            found.push(Mismatch::new("time", most, took));
        }
        self.note(&args, &finished, found);
        Ok((args, finished))
    }

    fn note(&mut self, args: &[OsString], finished: &Finished, mismatches: Vec<Mismatch>) {
        if !mismatches.is_empty() {
            self.findings.push(Finding {
                command: self.adit.shown(args),
                mismatches,
                stderr: last_lines(&finished.stderr),
            });
        }
    }
}

/// What a replay says.
#[derive(Debug, Deserialize)]
struct Replayed {
    checks: Vec<Check>,
    exit: i32,
}

/// One check of a replay.
#[derive(Debug, Deserialize)]
struct Check {
    level: u8,
    name: String,
    result: String,
    reason: Option<String>,
}

/// Compares what a replay says with the verdict that it must come to.
fn replayed(expect: Verdict, finished: &Finished) -> Vec<Mismatch> {
    let replayed: Replayed = match serde_json::from_slice(&finished.stdout) {
        Ok(replayed) => replayed,
        Err(error) => {
            let got = shortened(&String::from_utf8_lossy(&finished.stdout));
            let expected = "one JSON object with `checks` and `exit`";
            return vec![Mismatch::new("replay", expected, format!("{error}: {got}"))];
        }
    };
    let mut found = Vec::new();
    let (exit, wanted) = match expect {
        Verdict::Identical => (0, "passed"),
        Verdict::NotPerformed => (6, "not performed"),
    };
    if finished.exit != Some(exit) || replayed.exit != exit {
        let got = format!("{:?}, and in the object {}", finished.exit, replayed.exit);
        found.push(Mismatch::new("exit of the replay", exit, got));
    }
    if !replayed.checks.iter().any(|check| check.level == 2) {
        found.push(Mismatch::new("replay", "checks of level 2", "none"));
    }
    for check in &replayed.checks {
        // The record's signatures hold, or cannot be asked for; the rest is as expected.
        let good = match check.level {
            1 => check.result != "failed",
            2 => check.result == wanted,
            _ => check.result != "failed",
        };
        if !good {
            let reason = check.reason.as_deref().unwrap_or_default();
            let got = format!("{}: {reason}", check.result);
            let field = format!("replay, level {}, {}", check.level, check.name);
            found.push(Mismatch::new(field, wanted, got));
        }
    }
    found
}

fn last_lines(text: &str) -> String {
    const LINES: usize = 6;
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    let last = lines.get(from..).unwrap_or_default();
    let shown = |line: &&str| line.chars().take(500).collect::<String>();
    last.iter().map(shown).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
