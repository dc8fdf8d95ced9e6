//! A Rust project to a component, by cargo.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use adit_protocol::codes::Code;
use adit_runtime::admission::COMPONENT_BYTES_MAX;
use anyhow::Context as _;
use serde::Deserialize;

use super::adapt::adapt;
use super::graph::{self, Resolve};
use crate::error::Failure;
use crate::input::read_file;
use crate::state::write_file;
use crate::ui::Ui;

/// The target that tasks are compiled to.
const TARGET: &str = "wasm32-wasip2";

/// The crate with bindings to the wasi-nn of WASI preview 1; all versions are for that one. A
/// program that is taken for a user of it, and is none, is built just as well.
const LEGACY_BINDINGS: &str = "wasi-nn";

/// The component that cargo made last of the project in `folder`, if it is there.
///
/// # Errors
///
/// When cargo cannot read the project.
pub fn last_build(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let metadata = metadata(folder, &["--no-deps"], Stdio::piped())?;
    let own = folder.join("Cargo.toml").canonicalize()?;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.manifest_path == own);
    Ok(package
        .into_iter()
        .flat_map(|package| &package.targets)
        .filter_map(|target| target.file_name())
        .map(|name| {
            metadata
                .target_directory
                .join(TARGET)
                .join("release")
                .join(name)
        })
        .find(|path| path.is_file()))
}

/// What cargo says of a project.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
    /// Absent where dependencies were not asked for.
    resolve: Option<Resolve>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

/// A build target, or the part of one that an artifact names.
#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Target {
    /// The file that cargo makes of it for [`TARGET`], if it makes one.
    fn file_name(&self) -> Option<String> {
        let kind = |wanted: &str| self.kind.iter().any(|kind| kind == wanted);
        if kind("cdylib") {
            Some(format!("{}.wasm", self.name.replace('-', "_")))
        } else {
            kind("bin").then(|| format!("{}.wasm", self.name))
        }
    }

    /// The options of `cargo rustc` that choose it, if cargo makes a file of it.
    fn choice(&self) -> Option<Vec<&str>> {
        self.file_name()?;
        match self.kind.iter().any(|kind| kind == "bin") {
            true => Some(vec!["--bin", &self.name]),
            false => Some(vec!["--lib"]),
        }
    }
}

/// One line of what cargo says while it builds.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Builds with cargo and returns the component's path.
pub fn build(ui: &Ui, folder: &Path) -> anyhow::Result<PathBuf> {
    let manifest = folder.join("Cargo.toml");
    add_target(ui, folder)?;
    let own = manifest.canonicalize()?;
    let target = legacy_target(ui, folder, &own)?;
    let mut args = match target {
        None => vec!["build"],
        Some(_) => vec!["rustc"],
    };
    args.extend(["--release", "--target", TARGET]);
    // Cargo takes options for the linker for one target of a package only.
    args.extend(target.iter().filter_map(Target::choice).flatten());
    let linker: &[&str] = match target {
        None => &[],
        // The toolchain's linker makes components, and knows no adapter but its own: it is left
        // to link the core module. The option is the same everywhere, unlike the path of an
        // adapter, which cargo would hash into the program's symbols.
        Some(_) => &["--", "-C", "link-arg=--skip-wit-component"],
    };
    ui.note(format!(
        "$ cargo {}",
        [&args[..], linker].concat().join(" ")
    ));
    let mut cargo = cargo(folder);
    cargo.args(args);
    cargo.arg("--message-format=json-render-diagnostics");
    if ui.quiet {
        cargo.arg("--quiet");
    }
    cargo.args(linker);
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(no_cargo)?;
    let mut built = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.context("cargo's messages could not be read")?;
            let Ok(message) = serde_json::from_str::<Message>(&line) else {
                continue;
            };
            let is_ours = message.reason == "compiler-artifact" && message.manifest_path == own;
            if is_ours && message.target.is_some_and(|t| t.file_name().is_some()) {
                let is_wasm = |path: &PathBuf| path.extension().is_some_and(|e| e == "wasm");
                built.extend(message.filenames.into_iter().filter(is_wasm));
            }
        }
    }
    let status = child.wait().context("cargo could not be waited for")?;
    if !status.success() {
        return Failure::argument("the project could not be built")
            .why(format!("cargo ended with {status}; its messages are above"))
            .hint("fix what it says; `cargo test` checks a task without a sandbox")
            .into_err();
    }
    match built.len() {
        1 => {
            let built = built.pop().context("one is there")?;
            if target.is_some() {
                let module = read_file(&built, COMPONENT_BYTES_MAX, "the module")?;
                write_file(&built, &adapt(&built, module)?, 0o644)?;
            }
            Ok(built)
        }
        0 => Failure::new(Code::MissingExport, "the project made no component")
            .why("it has neither a program nor a library of the type cdylib")
            .hint("add to its Cargo.toml: [lib] crate-type = [\"cdylib\", \"rlib\"]")
            .into_err(),
        count => too_many(count).into_err(),
    }
}

fn too_many(count: usize) -> Failure {
    Failure::argument("the project made more than one component")
        .why(format!("it has {count} programs and cdylibs"))
        .hint("keep one task in a package")
}

/// What cargo makes a file of in the package with this manifest, if that package is linked with
/// bindings to the wasi-nn of WASI preview 1.
fn legacy_target(ui: &Ui, folder: &Path, manifest: &Path) -> anyhow::Result<Option<Target>> {
    let mut args = vec!["--filter-platform", TARGET];
    if ui.quiet {
        args.push("--quiet");
    }
    // This may be what downloads the dependencies, which is not to happen unseen.
    let mut metadata = metadata(folder, &args, Stdio::inherit())?;
    let named = |id: &str, name: &str| {
        let mut packages = metadata.packages.iter();
        packages.any(|package| package.id == id && package.name == name)
    };
    let own = metadata
        .packages
        .iter()
        .position(|package| package.manifest_path == manifest);
    let (Some(own), Some(resolve)) = (own, &metadata.resolve) else {
        return Ok(None);
    };
    let linked = graph::linked(resolve, &metadata.packages[own].id);
    if !linked.iter().any(|id| named(id, LEGACY_BINDINGS)) {
        return Ok(None);
    }
    let mut targets = metadata.packages.swap_remove(own).targets;
    targets.retain(|target| target.file_name().is_some());
    match targets.len() {
        0 | 1 => Ok(targets.pop()),
        count => Err(too_many(count).into()),
    }
}

/// Adds the target if the toolchain of the project lacks it.
fn add_target(ui: &Ui, folder: &Path) -> anyhow::Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = Command::new(rustc)
        .current_dir(folder)
        .args(["--print", "sysroot"])
        .stderr(Stdio::inherit())
        .output()
        .map_err(no_cargo)?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    let library = Path::new(&sysroot).join("lib/rustlib").join(TARGET);
    if library.join("lib").is_dir() {
        return Ok(());
    }
    ui.note(format!("$ rustup target add {TARGET}"));
    let added = Command::new("rustup")
        .current_dir(folder)
        .args(["target", "add", TARGET])
        .stdout(Stdio::null())
        .status();
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => Failure::argument(format!("the Rust target {TARGET} is missing"))
            .why("and rustup could not add it")
            .hint(format!("install rustup, or a Rust toolchain with {TARGET}"))
            .into_err(),
    }
}

fn metadata(folder: &Path, args: &[&str], stderr: Stdio) -> anyhow::Result<Metadata> {
    let output = cargo(folder)
        .args(["metadata", "--format-version", "1"])
        .args(args)
        .stdin(Stdio::null())
        .stderr(stderr)
        .output()
        .map_err(no_cargo)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Failure::argument("the project cannot be read")
            .why(match said.is_empty() {
                true => format!("cargo ended with {}; its messages are above", output.status),
                false => said,
            })
            .hint("fix its Cargo.toml")
            .into_err();
    }
    serde_json::from_slice(&output.stdout).context("cargo described the project in another form")
}

fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder);
    cargo
}

fn no_cargo(error: std::io::Error) -> Failure {
    Failure::argument("Rust could not be started")
        .why(error.to_string())
        .hint("install Rust with rustup, so that cargo and rustc are on the PATH")
}
