//! A download that may have broken off before: its bytes so far are in a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use adit_protocol::hash::{Hash, Hasher};

use crate::transport::BlobSink;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// The file, and the hash of what is in it.
pub(super) struct Partial {
    file: File,
    hasher: Hasher,
    max: u64,
}

impl Partial {
    /// Opens the file, or makes it, and hashes what it has.
    pub fn open(path: &Path, max: u64) -> io::Result<Partial> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut hasher = Hasher::new();
        let mut buf = vec![0; CHUNK];
        loop {
            let n = file.read(&mut buf)?;
            let Some(chunk) = buf.get(..n).filter(|chunk| !chunk.is_empty()) else {
                break;
            };
            hasher.update(chunk);
        }
        let mut partial = Partial { file, hasher, max };
        if partial.hasher.count() > max {
            partial.restart()?;
        }
        Ok(partial)
    }

    /// Length and hash of what came.
    pub fn finish(&mut self) -> io::Result<(u64, Hash)> {
        self.file.flush()?;
        Ok((self.hasher.count(), self.hasher.finalize()))
    }
}

impl BlobSink for Partial {
    fn offset(&self) -> u64 {
        self.hasher.count()
    }

    fn hash(&self) -> Hash {
        self.hasher.finalize()
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hasher = Hasher::new();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let len = self.hasher.count().saturating_add(bytes.len() as u64);
        if len > self.max {
            return Err(io::Error::other(format!(
                "more than the {} bytes came that the blob may have",
                self.max
            )));
        }
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }
}

/// Deletes downloads that are not going on until those that are left have at most so many bytes; the
/// oldest go first.
pub(super) fn shrink(folder: &Path, bytes_max: u64, busy: &[String]) {
    let mut idle: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| !busy.iter().any(|name| entry.file_name() == name.as_str()))
        .filter_map(|entry| {
            let about = entry.metadata().ok()?;
            Some((about.modified().ok()?, about.len(), entry.path()))
        })
        .collect();
    idle.sort();
    let mut bytes = idle
        .iter()
        .fold(0u64, |sum, (_, len, _)| sum.saturating_add(*len));
    for (_, len, path) in idle {
        if bytes <= bytes_max {
            return;
        }
        if fs::remove_file(path).is_ok() {
            bytes = bytes.saturating_sub(len);
        }
    }
}

/// Deletes downloads that nobody has gone on with for a long time.
pub(super) fn sweep(folder: &Path, age: Duration) {
    let now = SystemTime::now();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|about| about.modified());
        let old = modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|old| old > age));
        if old {
            let _ = fs::remove_file(entry.path());
        }
    }
}
