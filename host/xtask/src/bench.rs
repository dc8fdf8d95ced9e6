//! `cargo xtask bench`: set up, then run every benchmark of the workspace.

use crate::error::Result;
use crate::project::{self, Project, step};
use crate::setup;

/// `cargo xtask bench [-- ARGS]`.
pub fn command(args: &[String]) -> Result<()> {
    let project = Project::load()?;
    setup::setup(&project, false)?;
    for package in &project.packages {
        let benches = package
            .targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "bench"));
        for bench in benches {
            // By name: `--benches` would also start the unit tests of libraries, which do not
            // know the benchmarks' options.
            let mut command = project.cargo();
            command.args(["bench", "-p", &package.name, "--bench", &bench.name, "--"]);
            step(&format!("{} {}", package.name, bench.name), || {
                project::run(command.args(args))
            })?;
        }
    }
    Ok(())
}
