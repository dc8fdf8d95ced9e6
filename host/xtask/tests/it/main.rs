//! What holds for the workspace as a whole: who may use whom, and how its files look.

mod edges;
mod style;
mod vectors;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's root.
fn root() -> PathBuf {
    // Asked when the test runs, since clones that share a target folder share this binary.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("tests are run by cargo");
    Path::new(&here)
        .ancestors()
        .nth(2)
        .expect("xtask is in host/")
        .into()
}

/// Runs a command in the workspace's root and returns its stdout.
fn stdout(command: &mut Command) -> String {
    let answer = command
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{command:?}: {complaint}");
    String::from_utf8(answer.stdout).expect("paths and metadata are UTF-8")
}
