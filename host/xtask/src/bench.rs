//! `cargo xtask bench`: set up, then run every benchmark of the workspace.
//!
//! The benchmark of inference also measures Python's ONNX Runtime, in turns with ours. What Python
//! needs for that is installed here and nowhere else, since no test needs it.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::project::{self, Project, step};
use crate::setup;
use crate::verifiers;

/// What the package `onnxruntime` cannot do without.
const PYTHON: &[&str] = &["numpy==2.4.6"];
/// Tells `host/runtime/benches/inference` where they are.
const PACKAGES: &str = "ADIT_BENCH_PYTHON";

/// `cargo xtask bench [-- ARGS]`.
pub fn command(args: &[String]) -> Result<()> {
    let project = Project::load()?;
    setup::setup(&project, false)?;
    let python = project.target.join("tools/bench-python");
    let installed = step("Python for benchmarks", || {
        verifiers::python(&python, PYTHON)
    });
    // There is no NumPy of this version for every Python; the other figures need neither.
    if let Err(error) = installed {
        eprintln!("    left out: {error}");
    }
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
        bench.env(PACKAGES, &python);
        step(name, || project::run(bench.args(args)))?;
    }
    Ok(())
}
