//! `cargo xtask bench`: set up, then run every benchmark of the workspace.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::project::{self, Project, step};
use crate::setup;

/// `cargo xtask bench [-- ARGS]`.
pub fn command(args: &[String]) -> Result<()> {
    let project = Project::load()?;
    setup::setup(&project, false)?;
    // The same name in two packages is one command.
    let names: BTreeSet<_> = (project.packages.iter())
        .flat_map(|package| &package.targets)
        .filter(|target| target.kind.iter().any(|kind| kind == "bench"))
        .map(|target| &target.name)
        .collect();
    for name in names {
        // By name: `--benches` would also start the unit tests of libraries, which do not know the
        // benchmarks' options. With `--workspace`, what the tests have built is used again.
        let mut bench = project.cargo();
        bench.args(["bench", "--workspace", "--bench", name, "--"]);
        step(name, || project::run(bench.args(args)))?;
    }
    Ok(())
}
