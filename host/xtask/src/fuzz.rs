//! `cargo xtask fuzz`: every fuzz target for a while, on the stable toolchain.
//!
//! What the fuzzers keep on the way goes to `target/fuzz`, not to the committed corpus, so that a
//! run leaves the working tree as it was: `host/fuzz/README.md` says how findings get there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::fetch::host_triple;
use crate::project::{self, Project};

/// The version that is installed.
const CARGO_FUZZ: &str = "0.13.1";

/// How a run of one target ended.
struct Outcome {
    target: String,
    runs: u64,
    per_second: u64,
    corpus: u64,
    /// Inputs that broke a promise, took too long or too much memory.
    found: Vec<PathBuf>,
    /// Whether the fuzzer itself said that all was well.
    success: bool,
}

/// `cargo xtask fuzz [TARGET] [--seconds N]`. A line on stdout for each target.
///
/// # Errors
///
/// [`Error::Fuzz`] if any target found something.
pub fn command(only: Option<&str>, seconds: u64) -> Result<()> {
    let project = Project::load()?;
    let tool = install(&project)?;
    let fuzz = || {
        let mut command = Command::new(&tool);
        command.current_dir(&project.root).stdin(Stdio::null());
        command
    };
    let list = project::output(fuzz().args(["list", "--fuzz-dir", "host/fuzz"]))?;
    let list = String::from_utf8_lossy(&list).into_owned();
    let targets: Vec<&str> = list
        .lines()
        .filter(|name| only.is_none_or(|only| only == *name))
        .collect();
    if targets.is_empty() {
        return Err(Error::NoTarget {
            name: only.unwrap_or_default().to_owned(),
            known: list.lines().collect::<Vec<_>>().join(", "),
        });
    }

    let folder = project.target.join("fuzz");
    project::step("build the fuzzers", || {
        let mut build = fuzz();
        // The flags that cargo-fuzz gives are for nightly toolchains only; this one has them too.
        build.env("RUSTC_BOOTSTRAP", "1");
        build.args(["build", "--fuzz-dir", "host/fuzz", "--target-dir"]);
        build
            .arg(&folder)
            .args(["--sanitizer", sanitizer(&project)?]);
        build.args(only);
        project::run(&mut build)
    })?;
    let binaries = folder.join(host_triple()?).join("release");

    let mut outcomes = Vec::new();
    for target in targets {
        let title = format!("{target}, {seconds} s");
        let binary = binaries.join(format!("{target}{}", std::env::consts::EXE_SUFFIX));
        let outcome = project::step(&title, || run(&project, &folder, target, &binary, seconds))?;
        println!("{}", line(&outcome));
        for found in &outcome.found {
            println!("    {} {}", project.shown(&binary), project.shown(found));
        }
        outcomes.push(outcome);
    }
    let total = outcomes.len();
    let failed = outcomes.iter().filter(|outcome| !outcome.success).count();
    match failed {
        0 => Ok(()),
        _ => Err(Error::Fuzz { failed, total }),
    }
}

/// The path of cargo-fuzz, which is built the first time.
fn install(project: &Project) -> Result<PathBuf> {
    let root = project.target.join("tools");
    let tool = root
        .join("bin")
        .join(format!("cargo-fuzz{}", std::env::consts::EXE_SUFFIX));
    let version = Command::new(&tool).arg("--version").output();
    let present = version.is_ok_and(|answer| {
        String::from_utf8_lossy(&answer.stdout).trim() == format!("cargo-fuzz {CARGO_FUZZ}")
    });
    if !present {
        project::step("install cargo-fuzz", || {
            let mut install = project.cargo();
            install.args(["install", "cargo-fuzz", "--locked", "--quiet", "--force"]);
            install.args(["--version", CARGO_FUZZ, "--root"]).arg(&root);
            project::run(&mut install)
        })?;
    }
    Ok(tool)
}

/// The address sanitizer where the toolchain brings its library: the dependencies have unsafe code.
fn sanitizer(project: &Project) -> Result<&'static str> {
    let libraries = project::libraries(project)?
        .join(host_triple()?)
        .join("lib");
    let entries = fs::read_dir(&libraries).map_err(Error::io("read", &libraries))?;
    let present = entries.flatten().any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().contains("rt.asan")
    });
    Ok(if present { "address" } else { "none" })
}

fn run(
    project: &Project,
    folder: &Path,
    target: &str,
    binary: &Path,
    seconds: u64,
) -> Result<Outcome> {
    let grown = folder.join("corpus").join(target);
    let found = folder.join("found").join(target);
    for folder in [&grown, &found] {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let before = files(&found)?;
    let log = folder.join(format!("{target}.log"));
    let output = File::create(&log).map_err(Error::io("create", &log))?;

    let mut fuzz = Command::new(binary);
    fuzz.stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output);
    // Looking for leaks needs a right to trace that containers often lack, and a leak is no bug of
    // a decoder that gives back what it made.
    fuzz.env("ASAN_OPTIONS", "detect_odr_violation=0:detect_leaks=0");
    // The first folder takes what is new.
    fuzz.arg(&grown)
        .arg(project.root.join("host/fuzz/corpus").join(target));
    fuzz.arg(format!("-max_total_time={seconds}"));
    fuzz.arg(format!("-artifact_prefix={}/", found.display()));
    // One allocation of a hostile length; opening a keystore takes 128 MiB on purpose.
    fuzz.args(["-malloc_limit_mb=192", "-rss_limit_mb=1024", "-timeout=30"]);
    fuzz.args(["-print_final_stats=1", "-use_value_profile=1"]);
    let status = fuzz
        .status()
        .map_err(|error| project::start(&fuzz, error))?;

    let text = fs::read(&log).map_err(Error::io("read", &log))?;
    let text = String::from_utf8_lossy(&text);
    let mut now = files(&found)?;
    now.retain(|path| !before.contains(path));
    if !status.success() {
        eprint!("{}", report(&text));
        eprintln!("    all of it is in {}", project.shown(&log));
    }
    Ok(Outcome {
        target: target.to_owned(),
        runs: statistic(&text, "stat::number_of_executed_units:"),
        per_second: statistic(&text, "stat::average_exec_per_sec:"),
        corpus: statistic(&text, " corp:"),
        found: now,
        success: status.success(),
    })
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// The number behind the last `name` in a log, 0 if there is none.
fn statistic(log: &str, name: &str) -> u64 {
    log.rsplit_once(name).map_or(0, |(_, rest)| {
        let digits = rest.trim_start().split(|c: char| !c.is_ascii_digit());
        digits.into_iter().next().unwrap_or("").parse().unwrap_or(0)
    })
}

/// The panic's message and what surrounds it, of a log that is mostly progress.
fn report(log: &str) -> String {
    let lines = log.lines().skip_while(|line| {
        !["panicked at", "ERROR:", "==ERROR"]
            .iter()
            .any(|mark| line.contains(mark))
    });
    lines.take(8).fold(String::new(), |report, line| {
        format!("{report}    {line}\n")
    })
}

fn line(outcome: &Outcome) -> String {
    format!(
        "{:<18} {:>12} runs {:>9}/s {:>7} in corpus  {}",
        outcome.target,
        outcome.runs,
        outcome.per_second,
        outcome.corpus,
        match (outcome.success, outcome.found.len()) {
            (true, _) => "nothing found".to_owned(),
            (false, 0) => "FAILED before it ran".to_owned(),
            (false, found) => format!("FOUND {found}; show it again with"),
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 40Mb
#8\tNEW    cov: 14 ft: 15 corp: 27/5b lim: 4 exec/s: 0 rss: 40Mb
thread '<unnamed>' panicked at src/tensors.rs:34:9:
the two differ
==1== ERROR: libFuzzer: deadly signal
stat::number_of_executed_units: 12345
stat::average_exec_per_sec:     411
";

    #[test]
    fn a_log_gives_its_last_figures() {
        assert_eq!(statistic(LOG, " corp:"), 27);
        assert_eq!(statistic(LOG, "stat::number_of_executed_units:"), 12_345);
        assert_eq!(statistic(LOG, "stat::average_exec_per_sec:"), 411);
        assert_eq!(statistic("", " corp:"), 0);
    }

    #[test]
    fn a_report_begins_with_the_panic() {
        let report = report(LOG);
        assert!(
            report.starts_with("    thread '<unnamed>' panicked"),
            "{report}"
        );
        assert!(report.contains("the two differ") && !report.contains("INITED"));
    }

    #[test]
    fn a_line_says_whether_something_was_found() {
        let mut outcome = Outcome {
            target: "tensor".into(),
            runs: 10,
            per_second: 5,
            corpus: 2,
            found: vec![],
            success: true,
        };
        assert!(line(&outcome).ends_with("nothing found"));
        outcome.success = false;
        assert!(line(&outcome).contains("FAILED before it ran"));
        outcome.found.push("crash-1".into());
        assert!(line(&outcome).contains("FOUND 1"));
    }
}
