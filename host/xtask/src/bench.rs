//! `cargo xtask bench`: set up, then run every benchmark of the workspace.
//!
//! The benchmark of inference also measures Python's ONNX Runtime, in turns with ours. What Python
//! needs for that is installed here and nowhere else, since no test needs it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::growth;
use crate::project::{self, Project, step};
use crate::setup;
use crate::verifiers;

/// The profile of benchmarks; that of the tests, by another name.
pub const PROFILE: &str = "bench";
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
        // It has a command of its own, since it takes an hour.
        .filter(|name| *name != growth::NAME)
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

/// One line of what cargo says while it builds.
#[derive(Deserialize)]
struct Built {
    target: Option<project::Target>,
    executable: Option<PathBuf>,
}

/// Builds a benchmark in a profile. Its program.
pub fn build(project: &Project, name: &str, profile: &str) -> Result<PathBuf> {
    let mut build = project.cargo();
    build.args(["bench", "--profile", profile, "--workspace"]);
    build.args(["--bench", name, "--no-run"]);
    build.arg("--message-format=json-render-diagnostics");
    let said = project::output(&mut build)?;
    executable(&String::from_utf8_lossy(&said), name).ok_or_else(|| Error::Answer {
        command: project::shown(&build),
        why: format!("it names no program {name}"),
    })
}

/// The benchmark of this name among what was built.
fn executable(said: &str, name: &str) -> Option<PathBuf> {
    said.lines().find_map(|line| {
        let built: Built = serde_json::from_str(line).ok()?;
        let target = built.target?;
        let bench = target.kind.iter().any(|kind| kind == "bench");
        built.executable.filter(|_| bench && target.name == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmark_is_found_in_what_cargo_says() {
        let said = r#"
{"reason":"compiler-artifact","target":{"name":"tasks","kind":["test"]},"executable":"/a"}
{"reason":"compiler-artifact","target":{"name":"engine","kind":["bench"]},"executable":"/b"}
{"reason":"build-script-executed","package_id":"x"}
{"reason":"compiler-artifact","target":{"name":"tasks","kind":["bench"]},"executable":"/c"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(said, "tasks"), Some(PathBuf::from("/c")));
        assert_eq!(executable(said, "other"), None);
    }
}
