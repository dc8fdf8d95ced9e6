//! Where things are in this workspace, and how its commands are run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Deserialize;

use crate::error::{Error, Result};

/// The workspace as cargo describes it.
#[derive(Debug, Deserialize)]
pub struct Project {
    #[serde(rename = "workspace_root")]
    pub root: PathBuf,
    /// Asked of cargo rather than assumed, since it can be moved by the environment or by a
    /// cargo configuration file.
    #[serde(rename = "target_directory")]
    pub target: PathBuf,
    pub packages: Vec<Package>,
}

/// One package of `cargo metadata`.
#[derive(Debug, Deserialize)]
pub struct Package {
    pub name: String,
    pub manifest_path: PathBuf,
    pub targets: Vec<Target>,
}

/// One build target of a package.
#[derive(Debug, Deserialize)]
pub struct Target {
    pub name: String,
    pub kind: Vec<String>,
}

impl Project {
    /// Reads the workspace that this xtask belongs to.
    pub fn load() -> Result<Project> {
        // `cargo run` says where the package is; without it (the binary started by hand) the
        // current folder must be inside the workspace.
        let here = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), PathBuf::from);
        let mut command = cargo();
        command.current_dir(here).arg("metadata").arg("--no-deps");
        metadata(&mut command)
    }

    /// The folder that holds the models.
    pub fn models(&self) -> PathBuf {
        self.target.join("models")
    }

    /// The folder that holds the libraries that tests of inference load.
    pub fn runtimes(&self) -> PathBuf {
        self.target.join("runtimes")
    }

    /// The `adit` binary.
    pub fn adit(&self) -> PathBuf {
        let name = format!("adit{}", std::env::consts::EXE_SUFFIX);
        self.target.join("release").join(name)
    }

    /// `path` as a reader in the workspace's root would type it.
    pub fn shown(&self, path: &Path) -> String {
        let short = path.strip_prefix(&self.root).unwrap_or(path);
        short.display().to_string()
    }

    /// A cargo command that runs in the workspace's root.
    pub fn cargo(&self) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root);
        command
    }
}

/// The cargo that runs us. Without what it told us of our own package: the build script of the crate
/// `ring` reads that of its package, so that cargo builds it and all above it anew, each time that
/// one comes to it with our values and then one without.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let ours =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(ours) {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Where the toolchain of the workspace has its libraries, a folder for each target.
pub fn libraries(project: &Project) -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut sysroot = Command::new(rustc);
    sysroot.current_dir(&project.root);
    let answer = output(sysroot.args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(String::from_utf8_lossy(&answer).trim()).join("lib/rustlib"))
}

/// Runs a `cargo metadata` command and reads its answer.
pub fn metadata<T: serde::de::DeserializeOwned>(command: &mut Command) -> Result<T> {
    let answer = output(command.args(["--format-version", "1"]))?;
    serde_json::from_slice(&answer).map_err(|error| Error::Answer {
        command: shown(command),
        why: error.to_string(),
    })
}

/// Runs a command to its end; what it prints goes where ours goes.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| start(command, error))?;
    succeeded(command, status)
}

/// An error unless the command ended well.
pub fn succeeded(command: &Command, status: std::process::ExitStatus) -> Result<()> {
    if status.success() {
        Ok(())
    } else {
        Err(failed(command, status))
    }
}

/// Runs a command to its end and returns its stdout; stderr goes where ours goes.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let answer = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| start(command, error))?;
    if answer.status.success() {
        Ok(answer.stdout)
    } else {
        Err(failed(command, answer.status))
    }
}

/// Does one step under a heading and says how long it took.
pub fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {title}");
    let start = Instant::now();
    let done = work()?;
    eprintln!("    {:.1} s", start.elapsed().as_secs_f64());
    Ok(done)
}

/// A command as it would be typed.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let mut line = name.to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

/// The error for a command that did not start.
pub fn start(command: &Command, source: std::io::Error) -> Error {
    Error::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
        hint: "is it installed and in PATH?",
    }
}

fn failed(command: &Command, status: std::process::ExitStatus) -> Error {
    Error::Failed {
        command: shown(command),
        status,
        hint: None,
    }
}
