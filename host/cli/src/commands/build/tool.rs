//! The tools of other languages: found, run to their end, and heard on stderr only.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use adit_protocol::codes::Code;

use crate::error::Failure;
use crate::text::one_line;
use crate::ui::Ui;

/// A command that is run in the folder of a project. Paths that it is given have to be absolute, or
/// relative to that folder.
pub fn command(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs a tool to its end. What it prints goes to stderr, since stdout is for the result; with
/// `--quiet`, only if it fails.
///
/// # Errors
///
/// `missing` if there is no such program; `failed` if it ends in any other way than well, with how
/// it did as the reason.
pub fn run(
    ui: &Ui,
    command: &mut Command,
    missing: impl FnOnce() -> Failure,
    failed: impl FnOnce() -> Failure,
) -> anyhow::Result<()> {
    let name = shown(command.get_program());
    let status = if ui.quiet {
        command.output().map(|output| {
            if !output.status.success() {
                let mut stderr = io::stderr().lock();
                // Whoever does not read stderr has lost the messages; the error comes all the same.
                let _ = stderr.write_all(&output.stdout);
                let _ = stderr.write_all(&output.stderr);
            }
            output.status
        })
    } else {
        let args: Vec<String> = command
            .get_args()
            .map(|arg| arg.to_string_lossy().into())
            .collect();
        ui.note(format!("$ {name} {}", one_line(&args.join(" "))));
        command.stdout(io::stderr()).status()
    };
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => failed()
            .why(format!(
                "{name} ended with {status}; its messages are above"
            ))
            .into_err(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => missing().into_err(),
        Err(error) => failed()
            .why(format!("{name} cannot be started: {error}"))
            .into_err(),
    }
}

/// What a tool says of itself with `--version`, if it is there and works.
pub fn version(program: &Path) -> Option<String> {
    let output = command(program, Path::new("."))
        .arg("--version")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.trim().to_owned())
}

/// The error for a tool that is not there.
pub fn missing(what: &str, why: &str, hint: &str) -> Failure {
    Failure::new(
        Code::InvalidArgument,
        format!("{what} is needed, and was not found"),
    )
    .why(why)
    .hint(hint)
}

/// Removes what an earlier build has left at `path`, so that it cannot pass for the outcome of this
/// one, and makes the folder for it.
///
/// # Errors
///
/// When the folder cannot be written.
pub fn make_room(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn shown(program: &OsStr) -> String {
    let name = PathBuf::from(program);
    let name = name.file_name().unwrap_or(program);
    one_line(&name.to_string_lossy())
}
