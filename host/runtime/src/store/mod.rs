//! What a runtime keeps on disk: blobs by their hash, and compiled components.

pub mod blobs;
pub mod code;
pub mod retention;
pub mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How the names of files begin that are being written and do not have their own name yet.
pub const UNFINISHED: &str = ".new-";
/// Age from which such a file is deleted, if no process is writing it: longer than a process can
/// take from making the file to locking it.
const UNFINISHED_AGE: Duration = Duration::from_secs(60);

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
    /// What was written is not what it was announced as. Nothing was kept.
    #[error(
        "the {bytes} bytes that came are {actual} and not {expected}; hint: they were altered or cut off on the way: hash them again and repeat the transfer"
    )]
    Mismatch {
        /// The announced hash.
        expected: adit_protocol::Hash,
        /// Hash of what came.
        actual: adit_protocol::Hash,
        /// How many bytes came.
        bytes: u64,
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
    /// Something that is not a file has a file's place.
    #[error("{path} is not a file; hint: it should be one that adit has written; move it away", path = .path.display())]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// Others can change what is executed.
    #[error("the folder {path} holds code that is executed, and others may write to it (its mode is {mode:o}); hint: delete it if others use this machine, else chmod 700 it", path = .path.display())]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file could not be written whole; nothing of it was kept.
    #[error("could not write {path} ({needed} bytes, and {free} are free in its file system): {source}; hint: {hint}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Its size.
        needed: u64,
        /// Free bytes in the file system, 0 if that is not known.
        free: u64,
        /// The system's reason.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
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
    /// The error of what was being done to a path: `could not {what} {path}`.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| StoreError::Io {
            what,
            path,
            hint: hint(&source),
            source,
        }
    }

    /// The error of writing a file of `needed` bytes.
    pub fn write(path: &Path, needed: u64) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| {
            let free = path
                .parent()
                .and_then(|folder| rustix::fs::statvfs(folder).ok())
                .map_or(0, |about| about.f_bavail.saturating_mul(about.f_frsize));
            StoreError::Write {
                path,
                needed,
                free,
                hint: hint(&source),
                source,
            }
        }
    }

    /// The wire code of this error.
    pub fn code(&self) -> adit_protocol::codes::Code {
        use adit_protocol::codes::Code;
        match self {
            StoreError::Missing { .. } => Code::BlobMissing,
            StoreError::Corrupt { .. } => Code::BlobCorrupt,
            StoreError::Mismatch { .. } => Code::BlobMismatch,
            StoreError::TooLarge { .. } => Code::InvalidArgument,
            StoreError::NotAFile { .. } => Code::StateCorrupt,
            StoreError::Exposed { .. } => Code::PermissionDenied,
            StoreError::Io { source, .. } | StoreError::Write { source, .. } => Code::of_io(source),
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

/// What to do about a system's refusal.
fn hint(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::StorageFull => "free disk space or choose another --state folder",
        Kind::QuotaExceeded => "free some of your disk quota or choose another --state folder",
        Kind::FileTooLarge => {
            "raise the limit on the size of a file (ulimit -f) or choose another --state folder"
        }
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
            "make the folder writable or choose another --state folder"
        }
        Kind::NotFound => "check that the path exists",
        Kind::AlreadyExists | Kind::IsADirectory | Kind::NotADirectory => {
            "something else has its place: move that away"
        }
        _ => "check the disk and the path",
    }
}

/// Open a file for reading, without waiting for the other end of what is a pipe.
///
/// # Errors
///
/// [`StoreError::NotAFile`] for a folder, a pipe or a device; [`StoreError::Io`].
pub fn open_file(path: &Path) -> Result<File, StoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new()
        .read(true)
        // Has no effect on a file.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path)
        .map_err(|error| match std::fs::symlink_metadata(path) {
            // A socket, a link that leads nowhere.
            Ok(about) if !about.is_file() && !about.is_dir() => StoreError::NotAFile {
                path: path.to_owned(),
            },
            _ => StoreError::io("open", path)(error),
        })?;
    let about = file.metadata().map_err(StoreError::io("read", path))?;
    if !about.is_file() {
        return Err(StoreError::NotAFile {
            path: path.to_owned(),
        });
    }
    Ok(file)
}

/// A file in `folder` that has no name of its own yet. It is locked as long as it is open, so that
/// [`sweep`] can tell it from one whose writer has died.
fn unfinished(folder: &Path) -> Result<tempfile::NamedTempFile, StoreError> {
    let file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(folder)
        .map_err(StoreError::io("write into", folder))?;
    // Where the file system has no locks, age alone decides.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Delete what processes that were killed have left unfinished in a folder. What cannot be
/// deleted does no harm, and is left.
pub fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let now = SystemTime::now();
    for entry in entries.flatten() {
        if !entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(UNFINISHED.as_bytes())
        {
            continue;
        }
        let path = entry.path();
        let Ok(file) = open_file(&path) else { continue };
        let modified = file.metadata().and_then(|about| about.modified());
        let old = modified.is_ok_and(|at| {
            now.duration_since(at)
                .is_ok_and(|age| age >= UNFINISHED_AGE)
        });
        if old && !matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Write the file `path` so that it appears whole or not at all. Until then it is a file in
/// `folder`, which is in the same file system.
pub(crate) fn write_atomically(
    folder: &Path,
    path: &Path,
    parts: &[&[u8]],
) -> Result<(), StoreError> {
    use std::io::Write as _;
    let needed = parts.iter().map(|part| part.len() as u64).sum();
    let mut file = unfinished(folder)?;
    for part in parts {
        // Through the file itself: its wrapper would add the name that it does not keep.
        file.as_file_mut()
            .write_all(part)
            .map_err(StoreError::write(path, needed))?;
    }
    file.persist(path)
        .map_err(|e| StoreError::write(path, needed)(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_without_waiting_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let nowhere = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &nowhere).unwrap();
        for path in [&pipe, &socket, &nowhere, dir.path()] {
            let refused = open_file(path).unwrap_err();
            assert!(matches!(refused, StoreError::NotAFile { .. }), "{refused}");
        }
        let missing = open_file(&dir.path().join("missing")).unwrap_err();
        assert!(matches!(missing, StoreError::Io { .. }), "{missing}");
    }

    #[test]
    fn only_what_nobody_writes_any_more_is_swept_away() {
        let dir = tempfile::tempdir().unwrap();
        let make = |age: u64| {
            let file = unfinished(dir.path()).unwrap();
            let then = SystemTime::now() - Duration::from_secs(age);
            file.as_file().set_modified(then).unwrap();
            file
        };
        let (young, written, dead) = (make(0), make(1000), make(1000));
        let own = dir.path().join("own");
        std::fs::write(&own, "").unwrap();
        // As a killed process leaves it: the file stays, the lock does not.
        let dead = dead.keep().unwrap().1;
        sweep(dir.path());
        assert!(!dead.exists());
        assert!(young.path().exists() && written.path().exists() && own.exists());
    }

    #[test]
    fn a_file_that_does_not_fit_leaves_nothing_and_says_how_much_was_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        // A folder in its place, for want of a small disk.
        std::fs::create_dir_all(path.join("full")).unwrap();
        let refused = write_atomically(dir.path(), &path, &[b"12", b"345"]).unwrap_err();
        assert!(refused.to_string().contains("(5 bytes"), "{refused}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
