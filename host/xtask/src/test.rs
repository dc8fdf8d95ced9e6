//! `cargo xtask test`: set up, run every test, and count them.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::{Error, Result};
use crate::project::{self, Project};
use crate::setup;

/// Tests that ran, over all test binaries.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
}

/// `cargo xtask test [-- ARGS]`. The last line on stdout is `N passed, N failed`.
pub fn command(args: &[String]) -> Result<()> {
    let project = Project::load()?;
    let skipped = setup::setup(&project, false)?;

    let mut test = project.cargo();
    test.args(["test", "--release", "--no-fail-fast"]);
    if !chooses_packages(args) {
        test.arg("--workspace");
        for example in &skipped {
            eprintln!("    without {example}: python3 with pip was not found");
            test.args(["--exclude", example]);
        }
    }
    test.args(args);

    eprintln!("==> tests");
    let start = Instant::now();
    let (mut count, success) = run(&mut test)?;
    eprintln!("    {:.1} s", start.elapsed().as_secs_f64());
    // A test binary that was killed, or did not compile, prints no result of its own.
    if !success && count.failed == 0 {
        count.failed = 1;
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    match count {
        Count { failed: 1.., .. } => Err(Error::Tests {
            failed: count.failed,
            total: count.passed + count.failed,
        }),
        Count { passed: 0, .. } => Err(Error::NoTests),
        _ => Ok(()),
    }
}

/// Whether the caller named packages, which excludes `--workspace`.
fn chooses_packages(args: &[String]) -> bool {
    args.iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package"))
}

/// Runs a test command, passes its stdout on, and counts. The flag is the command's success.
fn run(test: &mut Command) -> Result<(Count, bool)> {
    let mut child = test
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| project::start(test, error))?;
    let count = match child.stdout.take() {
        Some(stdout) => pass_on(stdout, std::io::stdout()),
        None => Ok(Count::default()),
    };
    // Waited for before any error is returned, so that no test outlives us unseen.
    let status = child.wait().map_err(|error| project::start(test, error))?;
    let count = count.map_err(|error| project::start(test, error))?;
    Ok((count, status.success()))
}

fn pass_on(from: impl Read, mut to: impl Write) -> std::io::Result<Count> {
    let mut from = BufReader::new(from);
    let mut total = Count::default();
    let mut line = Vec::new();
    // By bytes, since a failing test may print anything.
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        if let Some(count) = result_line(&String::from_utf8_lossy(&line)) {
            total.passed = total.passed.saturating_add(count.passed);
            total.failed = total.failed.saturating_add(count.failed);
        }
        line.clear();
    }
    Ok(total)
}

/// Reads the line with which Rust's test harness closes, and no other.
fn result_line(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |unit: &str| {
        counts.split("; ").find_map(|part| {
            let (number, name) = part.split_once(' ')?;
            (name == unit).then(|| number.parse().ok())?
        })
    };
    Some(Count {
        passed: number("passed")?,
        failed: number("failed")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 2 tests
test a ... ok
test result: this is not one
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

running 4 tests
test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s
";

    #[test]
    fn results_are_summed_over_binaries_and_everything_is_passed_on() {
        let mut seen = Vec::new();
        let count = pass_on(OUTPUT.as_bytes(), &mut seen).unwrap();
        let expected = Count {
            passed: 5,
            failed: 1,
        };
        assert_eq!(count, expected);
        assert_eq!(seen, OUTPUT.as_bytes());
    }

    #[test]
    fn output_that_is_not_text_is_passed_on() {
        let mut seen = Vec::new();
        let count = pass_on(&b"\xff\xfe\ntest result"[..], &mut seen).unwrap();
        assert_eq!(count, Count::default());
        assert_eq!(seen, b"\xff\xfe\ntest result");
    }

    #[test]
    fn packages_are_recognised_before_the_second_dashes_only() {
        let args = |list: &[&str]| list.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        assert!(chooses_packages(&args(&["-p", "adit"])));
        assert!(chooses_packages(&args(&["--package=adit"])));
        assert!(!chooses_packages(&args(&["name", "--", "-p"])));
    }
}
