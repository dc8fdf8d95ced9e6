//! `cargo xtask simulate`: networks in virtual time.

use std::process::{Command, Stdio};

use crate::error::Result;
use crate::project::{self, Project, step};

/// Builds the simulator with the features that the tests have built everything with, and runs it.
pub fn command(args: &[String]) -> Result<()> {
    let project = Project::load()?;
    let mut build = project.cargo();
    build.args(["build", "--release", "--workspace", "--example", "simulate"]);
    step("build the simulator", || project::run(&mut build))?;
    let name = format!("simulate{}", std::env::consts::EXE_SUFFIX);
    let mut simulate = Command::new(project.target.join("release/examples").join(name));
    simulate.args(args).stdin(Stdio::null());
    project::run(&mut simulate)
}
