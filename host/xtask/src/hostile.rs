//! `cargo xtask hostile`: the tests with hostile peers, in their long form.
//!
//! The same tests run in CI with the few cases that they have time for there.

use crate::error::Result;
use crate::project::{self, Project, step};
use crate::setup;

/// How much is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Cases that schemathesis makes up for each operation and phase.
    pub examples: u32,
    /// How many times as many requests as in CI.
    pub times: u32,
    /// Where schemathesis begins.
    pub seed: u32,
}

impl Default for Amount {
    fn default() -> Amount {
        Amount {
            examples: 200,
            times: 10,
            seed: 1,
        }
    }
}

/// `cargo xtask hostile [--examples N] [--times N] [--seed N]`.
///
/// # Errors
///
/// Those of set-up, and that of the tests' process if one fails.
pub fn command(amount: Amount) -> Result<()> {
    let project = Project::load()?;
    setup::setup(&project, false)?;
    for filter in ["schema::", "hostile::"] {
        let mut test = project.cargo();
        test.args(["test", "--release", "--workspace", "--test", "cli"]);
        test.args(["--", filter, "--nocapture", "--test-threads", "1"]);
        // What is missing is a failure.
        test.env("CI", "true");
        test.env("ADIT_HOSTILE_EXAMPLES", amount.examples.to_string());
        test.env("ADIT_HOSTILE_TIMES", amount.times.to_string());
        test.env("ADIT_HOSTILE_SEED", amount.seed.to_string());
        step(filter, || project::run(&mut test))?;
    }
    Ok(())
}
