//! What a runtime keeps on disk: blobs by their hash, and compiled components.

pub mod blobs;
pub mod code;

use std::path::{Path, PathBuf};

/// Why something could not be read from or written to the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such blob.
    #[error(
        "the blob {hash} is not in the store; hint: get it from whoever made the receipt, or run on the machine that has it"
    )]
    Missing {
        /// Its hash.
        hash: adit_protocol::Hash,
    },
    /// A file does not hold what its name says.
    #[error("the file {path} is damaged: its content hashes to {actual}; hint: delete it, and fetch or make it again", path = .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Hash of what it holds.
        actual: adit_protocol::Hash,
    },
    /// A file is larger than its reader accepts.
    #[error("the file {path} has {bytes} bytes, more than the {max} that are accepted here; hint: use a smaller one", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most that is accepted.
        max: u64,
    },
    /// The operating system refused.
    #[error("could not {what} {path}: {source}; hint: {hint}", path = .path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
}

impl StoreError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let hint = match source.kind() {
                std::io::ErrorKind::StorageFull => {
                    "free disk space or choose another --state folder"
                }
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    "make the folder writable or choose another --state folder"
                }
                std::io::ErrorKind::NotFound => "check that the path exists",
                _ => "check the disk and the path",
            };
            StoreError::Io {
                what,
                path,
                source,
                hint,
            }
        }
    }

    /// The wire code of this error.
    pub fn code(&self) -> adit_protocol::codes::Code {
        use adit_protocol::codes::Code;
        match self {
            StoreError::Missing { .. } => Code::BlobMissing,
            StoreError::Corrupt { .. } => Code::BlobCorrupt,
            StoreError::TooLarge { .. } => Code::InvalidArgument,
            StoreError::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::StorageFull => Code::DiskFull,
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    Code::PermissionDenied
                }
                _ => Code::Internal,
            },
        }
    }
}

/// Make a folder that only its owner can enter.
pub(crate) fn private_folder(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(StoreError::io("make the folder", path))
}

/// Write a file so that it appears whole or not at all.
pub(crate) fn write_atomically(
    folder: &Path,
    name: &str,
    parts: &[&[u8]],
) -> Result<(), StoreError> {
    use std::io::Write as _;
    let path = folder.join(name);
    let mut file = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)
        .map_err(StoreError::io("write into", folder))?;
    for part in parts {
        file.write_all(part)
            .map_err(StoreError::io("write", &path))?;
    }
    file.persist(&path)
        .map_err(|e| StoreError::io("write", &path)(e.error))?;
    Ok(())
}
