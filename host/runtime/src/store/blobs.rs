//! Blobs as files, named by their BLAKE3 hash.
//!
//! Trusted: nothing but the folder's permissions. Whatever is read is hashed again and compared,
//! so that a changed file is an error that names it and never a wrong result.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use adit_protocol::hash::{Hash, Hasher};

use super::{StoreError, open_file, private_folder, sweep, unfinished, write_atomically};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// A folder of blobs. Any number of processes may use one at the same time: a blob is written
/// under a temporary name and renamed, and two writers of one blob write the same bytes.
#[derive(Clone, Debug)]
pub struct BlobStore {
    root: PathBuf,
}

impl BlobStore {
    /// Open the store in the folder `root`, making it if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        private_folder(&root)?;
        sweep(&root);
        Ok(Self { root })
    }

    /// The folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the blob `hash` is or would be.
    pub fn path(&self, hash: &Hash) -> PathBuf {
        let hex = hash.to_hex();
        // Two digits spread the files over 256 folders.
        let shelf = hex.get(..2).unwrap_or_default();
        self.root.join(shelf).join(&hex)
    }

    /// Whether there is a file for the blob. Its content is checked when it is read.
    pub fn contains(&self, hash: &Hash) -> bool {
        self.path(hash).is_file()
    }

    /// Store bytes, and return their hash. A damaged file in their place is replaced.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn put(&self, bytes: &[u8]) -> Result<Hash, StoreError> {
        self.put_parts(&[bytes])
    }

    /// Store the concatenation of `parts`, and return its hash.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn put_parts(&self, parts: &[&[u8]]) -> Result<Hash, StoreError> {
        let mut hasher = Hasher::new();
        let mut len = 0;
        for part in parts {
            hasher.update(part);
            len += part.len() as u64;
        }
        let hash = hasher.finalize();
        let path = self.path(&hash);
        if holds(&path, len, parts) {
            return Ok(hash);
        }
        self.make_shelf(&path)?;
        write_atomically(&self.root, &path, parts)?;
        Ok(hash)
    }

    /// Store a file of at most `max` bytes without holding it in memory. Returns hash and length.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] or [`StoreError::Io`].
    pub fn put_file(&self, path: &Path, max: u64) -> Result<(Hash, u64), StoreError> {
        let mut from = File::open(path).map_err(StoreError::io("open", path))?;
        let mut to = unfinished(&self.root)?;
        let mut hasher = Hasher::new();
        let mut buf = vec![0; CHUNK];
        let mut len = 0u64;
        loop {
            let n = from.read(&mut buf).map_err(StoreError::io("read", path))?;
            let Some(chunk) = buf.get(..n).filter(|c| !c.is_empty()) else {
                break;
            };
            len += n as u64;
            if len > max {
                let bytes = from.metadata().map_or(len, |m| m.len().max(len));
                return Err(StoreError::TooLarge {
                    path: path.to_owned(),
                    bytes,
                    max,
                });
            }
            hasher.update(chunk);
            to.as_file_mut().write_all(chunk).map_err(|e| {
                let needed = from.metadata().map_or(len, |m| m.len());
                StoreError::write(to.path(), needed)(e)
            })?;
        }
        let hash = hasher.finalize();
        let target = self.path(&hash);
        if !self.check(&hash).is_ok_and(|there| there == len) {
            self.make_shelf(&target)?;
            to.persist(&target)
                .map_err(|e| StoreError::write(&target, len)(e.error))?;
        }
        Ok((hash, len))
    }

    /// Read a blob of at most `max` bytes and check its content.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::Corrupt`], [`StoreError::TooLarge`],
    /// [`StoreError::NotAFile`], [`StoreError::Io`].
    pub fn get(&self, hash: &Hash, max: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(hash);
        let (file, len) = self.open_blob(hash)?;
        if len > max {
            return Err(StoreError::TooLarge {
                path,
                bytes: len,
                max,
            });
        }
        let mut bytes = Vec::new();
        file.take(max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read", &path))?;
        let actual = Hash::of(&bytes);
        if actual != *hash {
            return Err(StoreError::Corrupt { path, actual });
        }
        Ok(bytes)
    }

    /// Check the content of a blob without holding it in memory. Returns its length.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::Corrupt`], [`StoreError::NotAFile`],
    /// [`StoreError::Io`].
    pub fn check(&self, hash: &Hash) -> Result<u64, StoreError> {
        let path = self.path(hash);
        let (mut file, _) = self.open_blob(hash)?;
        let mut hasher = Hasher::new();
        let mut buf = vec![0; CHUNK];
        let mut len = 0u64;
        loop {
            let n = file.read(&mut buf).map_err(StoreError::io("read", &path))?;
            let Some(chunk) = buf.get(..n).filter(|c| !c.is_empty()) else {
                break;
            };
            hasher.update(chunk);
            len = len.saturating_add(n as u64);
        }
        match hasher.finalize() {
            actual if actual == *hash => Ok(len),
            actual => Err(StoreError::Corrupt { path, actual }),
        }
    }

    /// Open a blob's file without checking its content: for handing it to a process that checks.
    /// Returns the file and its length.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::NotAFile`] or [`StoreError::Io`].
    pub fn open_blob(&self, hash: &Hash) -> Result<(File, u64), StoreError> {
        let path = self.path(hash);
        let file = open_file(&path).map_err(|e| match e {
            StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                StoreError::Missing { hash: *hash }
            }
            other => other,
        })?;
        let metadata = file.metadata().map_err(StoreError::io("read", &path))?;
        Ok((file, metadata.len()))
    }

    pub(super) fn make_shelf(&self, path: &Path) -> Result<(), StoreError> {
        private_folder(path.parent().unwrap_or(&self.root))
    }

    /// Have everything that was stored so far reach the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn flush(&self) -> Result<(), StoreError> {
        let folder = File::open(&self.root).map_err(StoreError::io("open", &self.root))?;
        #[cfg(target_os = "linux")]
        // One call for all files, however many tensors a run has recorded.
        rustix::fs::syncfs(&folder).map_err(|e| StoreError::io("flush", &self.root)(e.into()))?;
        #[cfg(not(target_os = "linux"))]
        folder
            .sync_all()
            .map_err(StoreError::io("flush", &self.root))?;
        Ok(())
    }
}

/// Whether a file has exactly these bytes. It costs less than writing them would.
fn holds(path: &Path, len: u64, parts: &[&[u8]]) -> bool {
    let Ok(mut file) = open_file(path) else {
        return false;
    };
    if !file.metadata().is_ok_and(|about| about.len() == len) {
        return false;
    }
    let largest = parts.iter().map(|part| part.len()).max().unwrap_or(0);
    let mut buf = vec![0; largest.min(CHUNK)];
    parts
        .iter()
        .flat_map(|part| part.chunks(CHUNK))
        .all(|chunk| {
            let Some(buf) = buf.get_mut(..chunk.len()) else {
                return false;
            };
            file.read_exact(buf).is_ok() && buf == chunk
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_comes_back_and_a_changed_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path().join("blobs")).unwrap();
        let hash = store.put_parts(&[b"two ", b"parts"]).unwrap();
        assert_eq!(hash, Hash::of(b"two parts"));
        assert_eq!(store.get(&hash, 9).unwrap(), b"two parts");
        assert!(matches!(
            store.get(&hash, 8),
            Err(StoreError::TooLarge { bytes: 9, .. })
        ));

        std::fs::write(store.path(&hash), b"two pArts").unwrap();
        assert!(matches!(
            store.get(&hash, 100),
            Err(StoreError::Corrupt { .. })
        ));
        for damaged in [&b"short"[..], b"", b"two pArts", b"two parts and more"] {
            std::fs::write(store.path(&hash), damaged).unwrap();
            assert!(matches!(
                store.check(&hash),
                Err(StoreError::Corrupt { .. })
            ));
            store.put(b"two parts").unwrap();
            assert_eq!(store.get(&hash, 100).unwrap(), b"two parts");
            assert_eq!(store.check(&hash).unwrap(), 9);
        }
    }

    #[test]
    fn what_is_no_file_is_no_blob_and_is_replaced_where_that_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        // A pipe has length 0, as this blob has.
        let hash = store.put(b"").unwrap();
        let path = store.path(&hash);
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert!(matches!(
            store.get(&hash, 9),
            Err(StoreError::NotAFile { .. })
        ));
        store.put(b"").unwrap();
        assert_eq!(store.get(&hash, 9).unwrap(), b"");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let refused = store.put(b"").unwrap_err();
        assert!(refused.to_string().contains(&hash.to_hex()), "{refused}");
    }

    #[test]
    fn a_file_is_stored_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path().join("blobs")).unwrap();
        let file = dir.path().join("model");
        std::fs::write(&file, vec![7; 3 << 20]).unwrap();
        let (hash, len) = store.put_file(&file, 3 << 20).unwrap();
        std::fs::write(store.path(&hash), vec![8; 3 << 20]).unwrap();
        assert!(store.check(&hash).is_err());
        store.put_file(&file, 3 << 20).unwrap();
        assert_eq!(store.check(&hash).unwrap(), 3 << 20);
        assert_eq!((hash, len), (Hash::of(&vec![7; 3 << 20]), 3 << 20));
        assert!(matches!(
            store.put_file(&file, 1000),
            Err(StoreError::TooLarge { max: 1000, .. })
        ));
        assert!(matches!(
            store.get(&Hash::of(b"?"), 1),
            Err(StoreError::Missing { .. })
        ));
        store.flush().unwrap();
    }
}
