//! The state folder: what this program keeps between its runs.
//!
//! ```text
//! config.toml        see `config`; only this program's user writes it
//! blobs/             components, inputs, outputs, models, specs, transcripts, tensors, by hash
//! code/              compiled components; a cache
//! devices/           what `adit doctor` measured, by environment and model
//! keys/local         the key that signs local runs, mode 0600: its seed as 64 hexadecimal digits
//!                    after 0x, and on a second line, if there is one, the public key as a check
//! receipts/          see `journal`
//! received/          see `received`
//! scratch/           see `scratch`
//! ```
//!
//! Trusted: an attacker who can write here can sign as this machine, and can make a replay fail or
//! be impossible, but cannot make a wrong one pass: all that is read is compared with hashes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use adit_protocol::codes::Code;
use adit_protocol::keys::Keypair;
use adit_runtime::devices::reports::Reports;
use adit_runtime::engine::Target;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::store::{StoreError, UNFINISHED, open_file, sweep};
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::messages::Hello;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Supervisor, SupervisorError, SupervisorOptions};
use anyhow::Context as _;
use rand_core::{OsRng, RngCore as _};
use zeroize::Zeroizing;

use crate::error::{Exit, Failure};
use crate::journal::Journal;
use crate::received::Received;
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

    /// Receipts of others. Nothing is read or written yet.
    ///
    /// # Errors
    ///
    /// When there is no state folder.
    pub fn received(&self) -> anyhow::Result<Received> {
        Ok(Received::new(self.root()?.join("received")))
    }

    /// A supervisor whose worker is this same program, runs guests on `target`, and computes models
    /// on `device` with `threads` threads.
    ///
    /// # Errors
    ///
    /// When this program's own file cannot be found.
    pub fn supervisor(
        &self,
        blobs: &BlobStore,
        target: Target,
        device: &DeviceChoice,
        threads: u32,
    ) -> anyhow::Result<Supervisor> {
        let program = std::env::current_exe().context("this program cannot find its own file")?;
        let mut fresh_key = [0; 32];
        OsRng.fill_bytes(&mut fresh_key);
        let options = SupervisorOptions {
            program,
            worker: WorkerOptions {
                slots: 1,
                target,
                device: device.clone(),
                inference_threads: threads,
                ..WorkerOptions::default()
            },
            code: self.root()?.join("code"),
            fresh_key,
        };
        Ok(Supervisor::new(options, blobs.clone()))
    }

    /// What was measured of devices.
    ///
    /// # Errors
    ///
    /// When there is no state folder.
    pub fn reports(&self) -> anyhow::Result<Reports> {
        Ok(Reports::at(self.root()?.join("devices")))
    }

    /// Starts a worker on a device, to see whether it computes, and ends it.
    ///
    /// # Errors
    ///
    /// A sentence that says why it does not.
    pub fn probe(&self, device: &DeviceChoice, threads: u32) -> Result<Hello, String> {
        let blobs = self.blobs().map_err(|error| error.to_string())?;
        let supervisor = self
            .supervisor(&blobs, Target::Processor, device, threads)
            .map_err(|error| error.to_string())?;
        supervisor.hello().map_err(|error| match error {
            SupervisorError::Start(why) => why,
            other => other.to_string(),
        })
    }

    /// The key that signs local runs, made when it is first needed.
    ///
    /// # Errors
    ///
    /// When the file is damaged or readable by others, or cannot be made.
    pub fn local_key(&self) -> anyhow::Result<Keypair> {
        let folder = self.private("keys")?;
        let path = folder.join("local");
        sweep(&folder);
        // A link that leads nowhere is there, and is not replaced.
        if fs::symlink_metadata(&path).is_err() {
            make_key(&folder, &path)?;
        }
        read_key(
            &path,
            "move it and the folder `receipts` away, and the next run makes a new key",
        )
    }

    fn private(&self, name: &str) -> anyhow::Result<PathBuf> {
        let root = self.root()?;
        let folder = root.join(name);
        private_folder(&folder).map_err(|error| unusable(root, &error))?;
        Ok(folder)
    }
}

/// The key in a key file: its seed as `adit` writes it.
///
/// # Errors
///
/// When the file is damaged, readable by others, or belongs to another user.
pub fn key_file(path: &Path) -> anyhow::Result<Keypair> {
    read_key(path, "move it away, and use a new key")
}

fn read_key(path: &Path, instead: &str) -> anyhow::Result<Keypair> {
    parsed(path, &read_private(path, instead)?, parse_key, instead)
}

/// The key of a key file's text, or the failure of a file that holds none.
///
/// # Errors
///
/// When `parse` finds none.
pub fn parsed(
    path: &Path,
    text: &[u8],
    parse: fn(&[u8]) -> Result<Keypair, &'static str>,
    instead: &str,
) -> anyhow::Result<Keypair> {
    parse(text).or_else(|why| {
        Failure::new(
            Code::StateCorrupt,
            format!("the key {} cannot be used", path.display()),
        )
        .why(why)
        .hint(format!("restore it from a backup; or {instead}"))
        .into_err()
    })
}

/// The beginning of a file that nobody but its owner may read. `instead` says what to do where it
/// cannot be used.
///
/// # Errors
///
/// When it cannot be read, can be read by others, or belongs to another user.
pub fn read_private(path: &Path, instead: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let what = || format!("the key {} cannot be used", path.display());
    let file = open_file(path).with_context(what)?;
    let about = file.metadata().with_context(what)?;
    // In a folder of someone else's, their key is no surprise.
    let folder_owner = fs::metadata(folder).with_context(what)?.uid();
    if about.uid() != rustix::process::geteuid().as_raw() && about.uid() != folder_owner {
        return Failure::new(Code::PermissionDenied, what())
            .why(format!(
                "it belongs to another user (number {})",
                about.uid()
            ))
            .hint(format!("if it is yours, chown it; else {instead}"))
            .into_err();
    }
    let mode = about.permissions().mode();
    if mode & 0o077 != 0 {
        return Failure::new(Code::PermissionDenied, what())
            .why(format!(
                "others may read it (its mode is {:o})",
                mode & 0o777
            ))
            .hint(format!("if nobody has, chmod 600 it; else {instead}"))
            .into_err();
    }
    // No longer than this, whole or not: what is cut off fails as what is too long.
    const MAX: usize = 1024;
    let mut text = Zeroizing::new(Vec::with_capacity(MAX));
    file.take(MAX as u64)
        .read_to_end(&mut text)
        .with_context(what)?;
    Ok(text)
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

/// Makes a key file with a new key. Two processes may do this at the same time: the first file to
/// get its name stays.
///
/// # Errors
///
/// When it cannot be written.
pub fn make_key(folder: &Path, path: &Path) -> anyhow::Result<()> {
    let mut seed = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut *seed);
    let public = Keypair::from_seed(*seed).public().to_bytes();
    let text = Zeroizing::new(format!("{}\n{}\n", hex(&*seed), hex(&public)));
    write_key(folder, path, text.as_bytes())
}

/// Writes a new key file in `folder`; one that is there stays.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_key(folder: &Path, path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let failed = |error: std::io::Error| StoreError::write(path, text.len() as u64)(error);
    // Temporary files have mode 0600.
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(folder)
        .map_err(failed)?;
    file.as_file_mut().write_all(text).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => sync_folder(folder).map_err(|error| failed(error).into()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error.error).into()),
    }
}

/// The key of a key file, or why there is none in it.
///
/// # Errors
///
/// The reason, in words.
pub fn parse_key(text: &[u8]) -> Result<Keypair, &'static str> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
    let seed = lines
        .next()
        .and_then(unhex::<32>)
        .map(Zeroizing::new)
        .ok_or("the file does not begin with 64 hexadecimal digits")?;
    let key = Keypair::from_seed(*seed);
    match (lines.next().map(unhex::<32>), lines.next()) {
        // As someone writes it who has a seed from elsewhere.
        (None, _) => Ok(key),
        (Some(Some(public)), None) if public == key.public().to_bytes() => Ok(key),
        _ => Err(
            "its second line is not the public key of the seed in the first: one of them is damaged",
        ),
    }
}

/// The whole of a file of the state folder, of at most `max` bytes.
///
/// # Errors
///
/// When it is longer, cannot be read, or is no file.
pub fn read_own(path: &Path, max: u64, what: &str) -> anyhow::Result<Vec<u8>> {
    let failed = || format!("{what} {} could not be read", path.display());
    let mut bytes = Vec::new();
    open_file(path)
        .with_context(failed)?
        .take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(failed)?;
    if bytes.len() as u64 > max {
        return Err(corrupt(path, format!("it has more than {max} bytes")).into());
    }
    Ok(bytes)
}

/// Has the names in a folder reach the disk.
///
/// # Errors
///
/// The system's.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_with_any_bit_flipped_is_no_other_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("local");
        make_key(folder.path(), &path).unwrap();
        let good = fs::read(&path).unwrap();
        let key = parse_key(&good).unwrap().public();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // A digit may turn into the same digit as a capital.
            if let Ok(read) = parse_key(&bad) {
                assert_eq!(read.public(), key, "bit {bit}");
            }
        }
        for length in 0..good.len() {
            if let Ok(read) = parse_key(&good[..length]) {
                assert_eq!(read.public(), key, "{length} bytes");
            }
        }
        assert!(parse_key(&[&good[..], b"\n"].concat()).is_err());
        // 0x and a seed alone.
        assert_eq!(parse_key(&good[..66]).unwrap().public(), key);
    }
}
