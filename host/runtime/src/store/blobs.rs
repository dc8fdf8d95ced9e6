//! Blobs as files, named by their BLAKE3 hash.
//!
//! Trusted: nothing but the folder's permissions. Whatever is read is hashed again and compared,
//! so that a changed file is an error that names it and never a wrong result.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use adit_protocol::hash::{Hash, Hasher};

use super::{StoreError, private_folder, write_atomically};

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
        Ok(Self { root })
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

    /// Store bytes, and return their hash.
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
        // A file of another length is a remnant of a damaged disk, and is replaced.
        if std::fs::metadata(&path).is_ok_and(|m| m.len() == len) {
            return Ok(hash);
        }
        let shelf = path.parent().unwrap_or(&self.root);
        private_folder(shelf)?;
        write_atomically(shelf, &hash.to_hex(), parts)?;
        Ok(hash)
    }

    /// Store a file of at most `max` bytes without holding it in memory. Returns hash and length.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] or [`StoreError::Io`].
    pub fn put_file(&self, path: &Path, max: u64) -> Result<(Hash, u64), StoreError> {
        let mut from = File::open(path).map_err(StoreError::io("open", path))?;
        let mut to = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(&self.root)
            .map_err(StoreError::io("write into", &self.root))?;
        let mut hasher = Hasher::new();
        let mut buf = vec![0; 1 << 20];
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
            to.write_all(chunk)
                .map_err(StoreError::io("write into", &self.root))?;
        }
        let hash = hasher.finalize();
        let target = self.path(&hash);
        if !std::fs::metadata(&target).is_ok_and(|m| m.len() == len) {
            private_folder(target.parent().unwrap_or(&self.root))?;
            to.persist(&target)
                .map_err(|e| StoreError::io("write", &target)(e.error))?;
        }
        Ok((hash, len))
    }

    /// Read a blob of at most `max` bytes and check its content.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::Corrupt`], [`StoreError::TooLarge`],
    /// [`StoreError::Io`].
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

    /// Open a blob's file without checking its content: for handing it to a process that checks.
    /// Returns the file and its length.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`] or [`StoreError::Io`].
    pub fn open_blob(&self, hash: &Hash) -> Result<(File, u64), StoreError> {
        let path = self.path(hash);
        let file = File::open(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => StoreError::Missing { hash: *hash },
            _ => StoreError::io("open", &path)(e),
        })?;
        let metadata = file.metadata().map_err(StoreError::io("read", &path))?;
        Ok((file, metadata.len()))
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
        std::fs::write(store.path(&hash), b"short").unwrap();
        store.put(b"two parts").unwrap();
        assert_eq!(store.get(&hash, 100).unwrap(), b"two parts");
    }

    #[test]
    fn a_file_is_stored_within_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path().join("blobs")).unwrap();
        let file = dir.path().join("model");
        std::fs::write(&file, vec![7; 3 << 20]).unwrap();
        let (hash, len) = store.put_file(&file, 3 << 20).unwrap();
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
