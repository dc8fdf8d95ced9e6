//! The state folder: what this program keeps between its runs.
//!
//! ```text
//! blobs/             components, inputs, outputs, models, specs, transcripts, tensors, by hash
//! code/              compiled components; a cache
//! keys/local         seed of the key that signs local runs: 64 hexadecimal digits, mode 0600
//! receipts/          see `journal`
//! ```
//!
//! Trusted: an attacker who can write here can sign as this machine, and can make a replay fail or
//! be impossible, but cannot make a wrong one pass: all that is read is compared with hashes.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use adit_protocol::codes::Code;
use adit_protocol::keys::Keypair;
use adit_runtime::engine::Target;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Supervisor, SupervisorOptions};
use anyhow::Context as _;
use rand_core::{OsRng, RngCore as _};
use zeroize::Zeroizing;

use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::journal::Journal;
use crate::text::{hex, unhex};

/// Where the state folder is; opened by what needs it.
#[derive(Clone, Debug)]
pub struct State {
    root: Option<PathBuf>,
}

impl State {
    /// The folder that was asked for, else `adit` in the XDG data folder.
    pub fn at(chosen: Option<PathBuf>) -> State {
        let from_environment = |name: &str| {
            // The XDG specification says that a relative path there is to be ignored.
            let path = std::env::var_os(name).map(PathBuf::from);
            path.filter(|path| path.is_absolute())
        };
        let data = || {
            from_environment("XDG_DATA_HOME")
                .or_else(|| from_environment("HOME").map(|home| home.join(".local/share")))
        };
        State {
            root: chosen.or_else(|| data().map(|data| data.join("adit"))),
        }
    }

    /// The folder.
    ///
    /// # Errors
    ///
    /// When there is nothing to tell where it should be.
    pub fn root(&self) -> anyhow::Result<&Path> {
        self.root.as_deref().ok_or_else(|| {
            Failure::argument("there is no place for the state folder")
                .why("neither XDG_DATA_HOME nor HOME is an absolute path")
                .hint("give one with --state DIR")
                .into()
        })
    }

    /// The blobs.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made.
    pub fn blobs(&self) -> anyhow::Result<BlobStore> {
        let root = self.root()?;
        BlobStore::open(root.join("blobs")).map_err(|error| unusable(root, &error).into())
    }

    /// The receipts. Nothing is read or written yet.
    ///
    /// # Errors
    ///
    /// When there is no state folder.
    pub fn journal(&self) -> anyhow::Result<Journal> {
        Ok(Journal::new(self.root()?.join("receipts")))
    }

    /// A supervisor whose worker is this same program, and runs guests on `target`.
    ///
    /// # Errors
    ///
    /// When this program's own file cannot be found.
    pub fn supervisor(&self, blobs: &BlobStore, target: Target) -> anyhow::Result<Supervisor> {
        let program = std::env::current_exe().context("this program cannot find its own file")?;
        let mut fresh_key = [0; 32];
        OsRng.fill_bytes(&mut fresh_key);
        let options = SupervisorOptions {
            program,
            worker: WorkerOptions {
                slots: 1,
                target,
                ..WorkerOptions::default()
            },
            code: self.root()?.join("code"),
            fresh_key,
        };
        Ok(Supervisor::new(options, blobs.clone()))
    }

    /// The key that signs local runs, made when it is first needed.
    ///
    /// # Errors
    ///
    /// When the file is damaged or readable by others, or cannot be made.
    pub fn local_key(&self) -> anyhow::Result<Keypair> {
        let folder = self.private("keys")?;
        let path = folder.join("local");
        if !path.exists() {
            make_key(&folder, &path)
                .with_context(|| format!("the key {} could not be made", path.display()))?;
        }
        let what = || format!("the key {} cannot be used", path.display());
        let mode = fs::metadata(&path).with_context(what)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Failure::new(Code::PermissionDenied, what())
                .why(format!(
                    "others may read it (its mode is {:o})",
                    mode & 0o777
                ))
                .hint("if nobody has, chmod 600 it; else delete it, and a new one is made")
                .into_err();
        }
        let text = Zeroizing::new(read_file(&path, 128, "the key")?);
        let seed = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| unhex::<32>(text.trim_end()))
            .map(Zeroizing::new);
        match seed {
            Some(seed) => Ok(Keypair::from_seed(*seed)),
            None => Failure::new(Code::StateCorrupt, what())
                .why("the file does not hold 64 hexadecimal digits")
                .hint("move it away, and the next run makes a new key")
                .into_err(),
        }
    }

    fn private(&self, name: &str) -> anyhow::Result<PathBuf> {
        let root = self.root()?;
        let folder = root.join(name);
        private_folder(&folder).map_err(|error| unusable(root, &error))?;
        Ok(folder)
    }
}

/// Makes a folder that only its owner can enter.
///
/// # Errors
///
/// The system's.
pub fn private_folder(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

fn unusable(root: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    let what = format!("the state folder {} cannot be used", root.display());
    Failure::from_error(what, error)
        .hint("make it a folder that you can write to, or choose another with --state")
}

/// Two processes may do this at the same time: the first file to get its name stays.
fn make_key(folder: &Path, path: &Path) -> anyhow::Result<()> {
    let mut seed = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut *seed);
    let text = Zeroizing::new(hex(&*seed));
    // Temporary files have mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(fs::File::open(folder)?.sync_all()?),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error.into()),
    }
}

/// Writes a file of the user's own choosing: whole or not at all, replacing what was there.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let failed = || format!("{} could not be written", path.display());
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // A pipe or a device is written to, not replaced.
    if fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir()) {
        return fs::write(path, bytes).with_context(failed);
    }
    let mut file = tempfile::Builder::new()
        .prefix(".adit-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .with_context(failed)?;
    file.write_all(bytes).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    file.persist(path)
        .map_err(|e| e.error)
        .with_context(failed)?;
    Ok(())
}

/// The error of a file in the state folder that is not what this program writes.
pub fn corrupt(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(
        Code::StateCorrupt,
        format!("the file {} of the state folder is damaged", path.display()),
    )
    .because(why)
    .hint("restore it from a backup, or start with another folder (--state)")
    .exit(Exit::Fixable)
}
