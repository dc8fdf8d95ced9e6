//! What can be wrong with the suite itself, apart from what it finds.

use std::path::PathBuf;

/// Why the suite, or one trial of it, could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that is needed is not there.
    #[error("{}: not there; hint: {hint}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// How it gets there.
        hint: &'static str,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}; hint: check the path and its permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A data file that does not follow the format.
    #[error("{}: {why}; hint: conformance/README.md has the format", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The text of a guest could not be assembled.
    #[error("{why}; hint: it is WebAssembly text, assembled as it is")]
    Wat {
        /// The assembler's answer, with file and line.
        why: String,
    },
    /// A program could not be started or waited for.
    #[error("{program}: {source}; hint: --adit PATH names the program")]
    Start {
        /// The program.
        program: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err` of an operation on a file.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }
}
