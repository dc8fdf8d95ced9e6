//! The packages that check our formats and interfaces by implementations that are not ours: what the
//! programs beside the conformance vectors use, and what tries the coordinator's interface.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, PIP_HINT, Result};
use crate::fetch;
use crate::project::{self, Project};

/// For `conformance/vectors/verify.py` and `ledger.py`; `settlement.py` needs none.
const PYTHON: &[&str] = &["blake3==1.0.11", "py-sr25519-bindings==0.2.4"];
/// For the test of the coordinator's interface against its description.
const SCHEMATHESIS: &[&str] = &[
    "schemathesis==4.32.5",
    "hypothesis==6.170.17",
    "jsonschema-rs==0.60.3",
];
/// For `conformance/vectors/polkadot.mjs` and `openzeppelin.mjs`.
const NODE: &[&str] = &[
    "@polkadot/keyring@14.0.3",
    "@polkadot/util-crypto@14.0.3",
    "@openzeppelin/merkle-tree@1.0.8",
];

const NODE_HINT: &str =
    "install Node.js 18 or later with npm (on Debian: apt install nodejs npm), then run this again";

/// Installs what is missing of the packages, below `target/tools`. Where an interpreter is missing,
/// its packages are left out and so are the tests that need them; with `CI` set that is an error.
pub fn install(project: &Project) -> Result<()> {
    let tools = project.target.join("tools");
    python(&tools.join("vectors-python"), PYTHON)?;
    python(&tools.join("schemathesis"), SCHEMATHESIS)?;

    let node = tools.join("vectors-node");
    // No script of a package is run, and no lock file is written.
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--silent",
        "--no-save",
        "--no-audit",
        "--no-fund",
    ]);
    npm.args(["--ignore-scripts", "--no-package-lock", "--prefix"]);
    npm.arg(&node).args(NODE);
    let npm_works = version("node").is_some() && version("npm").is_some();
    provide(&node, "node", NODE, npm, npm_works, NODE_HINT)
}

/// Installs packages of Python into a folder of their own.
pub fn python(folder: &Path, packages: &[&str]) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade"]);
    pip.args(["--disable-pip-version-check", "--only-binary", ":all:"]);
    pip.args(["--root-user-action", "ignore", "--target"]);
    pip.arg(folder).args(packages);
    let works = fetch::pip_works();
    provide(folder, "python3", packages, pip, works, PIP_HINT)
}

/// Runs `install` unless `folder` already has these packages for this interpreter.
fn provide(
    folder: &Path,
    interpreter: &str,
    packages: &[&str],
    mut install: Command,
    works: bool,
    hint: &'static str,
) -> Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    if !works {
        if std::env::var_os("CI").is_some() {
            return Err(Error::NoInterpreter {
                name: interpreter.to_owned(),
                hint,
            });
        }
        eprintln!("    {name}: skipped, {interpreter} with its package manager not found");
        eprintln!("    hint: {hint}");
        return Ok(());
    }
    // Compiled packages are for one version of an interpreter.
    let version = version(interpreter).unwrap_or_default();
    let wanted = format!("{version}{}\n", packages.join("\n"));
    let stamp = folder.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        eprintln!("    {name} (already here)");
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Error::io("empty", folder))?;
    }
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    project::run(install.stdin(Stdio::null()))?;
    // Last, so that an interrupted installation is begun anew.
    fs::write(&stamp, wanted).map_err(Error::io("write", &stamp))?;
    eprintln!("    {name}: {}", packages.join(", "));
    Ok(())
}

/// What a program prints about its version; `None` if it cannot be run.
fn version(program: &str) -> Option<String> {
    let mut command = Command::new(program);
    let answer = command
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    answer.status.success().then_some(text)
}
