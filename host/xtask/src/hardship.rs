//! `cargo xtask crash` and `cargo xtask syscalls`: the long forms of tests of a coordinator's network
//! and of a registry, which do more rounds of the same.

use crate::error::Result;
use crate::project::{self, Project, step};
use crate::setup;

/// The tests, by the names that `cargo test` knows them by.
const CRASH: &str = "crash::";
const SYSCALLS: &str = "syscalls::";

/// `cargo xtask crash [--rounds N] [--seed S]`: processes of a network, and then a registry's, are
/// killed under load, that often. Without a seed it is another one each time.
///
/// # Errors
///
/// What a round found is on stderr, with the seed and the folder that is kept.
pub fn crash(rounds: u64, seed: Option<u64>) -> Result<()> {
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    test(
        CRASH,
        &[
            ("ADIT_CRASH_ROUNDS", rounds.to_string()),
            ("ADIT_CRASH_SEED", seed.to_string()),
        ],
    )
}

/// `cargo xtask syscalls`: every system call by which a coordinator or a registry changes what is on
/// disk in one append fails once, and once the process is killed in place of it.
///
/// # Errors
///
/// What was found is on stderr, with the folder that is kept.
pub fn syscalls() -> Result<()> {
    test(SYSCALLS, &[("ADIT_SYSCALLS_ALL", "1".to_owned())])
}

/// Sets up, and runs some tests of the command line alone. With `--workspace`, what other tests have
/// built is used again.
fn test(name: &str, environment: &[(&str, String)]) -> Result<()> {
    let project = Project::load()?;
    setup::setup(&project, false)?;
    let mut test = project.cargo();
    test.args(["test", "--release", "--workspace", "--test", "cli", "--"]);
    test.args([name, "--nocapture", "--test-threads", "1"]);
    for (name, value) in environment {
        test.env(name, value);
    }
    step(name, || project::run(&mut test))
}
