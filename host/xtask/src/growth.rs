//! `cargo xtask growth`: how the costs of a coordinator grow with what it keeps and whom it serves.

use std::process::Command;

use crate::bench;
use crate::error::Result;
use crate::project::{self, Project, step};

/// The benchmark.
pub const NAME: &str = "growth";

/// What was asked for; 0 leaves a part out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Ended tasks that are kept.
    pub tasks: u64,
    /// Miners that ask for work.
    pub miners: u64,
    /// Blobs.
    pub blobs: u64,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked {
            tasks: 1_000_000,
            miners: 10_000,
            blobs: 10_000,
        }
    }
}

impl Asked {
    /// Sets one of them by its name.
    pub fn set(&mut self, name: &str, number: u64) {
        match name {
            "tasks" => self.tasks = number,
            "miners" => self.miners = number,
            _ => self.blobs = number,
        }
    }
}

/// `cargo xtask growth`. The tables go to stdout.
pub fn command(asked: &Asked) -> Result<()> {
    let project = Project::load()?;
    let program = step("build", || bench::build(&project, NAME, bench::PROFILE))?;
    // Others work on this machine meanwhile.
    let mut growth = Command::new("nice");
    growth.arg(program);
    for (name, number) in [
        ("--tasks", asked.tasks),
        ("--miners", asked.miners),
        ("--blobs", asked.blobs),
    ] {
        growth.arg(name).arg(number.to_string());
    }
    step("growth", || project::run(&mut growth))
}
