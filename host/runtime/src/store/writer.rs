//! Blobs that arrive in pieces, from a network for instance: hashed on the way, bounded, and kept
//! only if they are what they were announced as.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use adit_protocol::hash::{Hash, Hasher};

use super::blobs::BlobStore;
use super::{StoreError, unfinished};

/// A blob that is being written. Dropped before [`BlobWriter::finish`], it leaves nothing; so does
/// a process that is killed, once [`super::sweep`] has run.
pub struct BlobWriter {
    store: BlobStore,
    file: tempfile::NamedTempFile,
    target: PathBuf,
    expected: Hash,
    hasher: Hasher,
    max: u64,
}

impl BlobStore {
    /// Begin to write the blob `expected`, of at most `max` bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn writer(&self, expected: &Hash, max: u64) -> Result<BlobWriter, StoreError> {
        Ok(BlobWriter {
            store: self.clone(),
            file: unfinished(self.root())?,
            target: self.path(expected),
            expected: *expected,
            hasher: Hasher::new(),
            max,
        })
    }

    /// Open a blob at an offset, for reading it from there without checking its content. Returns
    /// the file and the length of the whole blob; an offset beyond it reads nothing.
    ///
    /// # Errors
    ///
    /// As [`BlobStore::open_blob`].
    pub fn open_at(&self, hash: &Hash, offset: u64) -> Result<(File, u64), StoreError> {
        let (mut file, len) = self.open_blob(hash)?;
        file.seek(SeekFrom::Start(offset.min(len)))
            .map_err(StoreError::io("read", &self.path(hash)))?;
        Ok((file, len))
    }
}

impl BlobWriter {
    /// Append bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`] if there are more than were to come, [`StoreError::Write`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let len = self.hasher.count().saturating_add(bytes.len() as u64);
        if len > self.max {
            return Err(StoreError::TooLarge {
                path: self.target.clone(),
                bytes: len,
                max: self.max,
            });
        }
        self.hasher.update(bytes);
        self.file
            .as_file_mut()
            .write_all(bytes)
            .map_err(StoreError::write(&self.target, len))
    }

    /// Bytes that were written so far.
    pub fn len(&self) -> u64 {
        self.hasher.count()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Have the blob reach the disk, and give it its name. Returns its length.
    ///
    /// # Errors
    ///
    /// [`StoreError::Mismatch`] if the bytes hash to another name: nothing is kept then.
    /// [`StoreError::Write`], [`StoreError::Io`].
    pub fn finish(self) -> Result<u64, StoreError> {
        let len = self.hasher.count();
        let actual = self.hasher.finalize();
        if actual != self.expected {
            return Err(StoreError::Mismatch {
                expected: self.expected,
                actual,
                bytes: len,
            });
        }
        let failed = |error| StoreError::write(&self.target, len)(error);
        self.file.as_file().sync_all().map_err(failed)?;
        self.store.make_shelf(&self.target)?;
        self.file
            .persist(&self.target)
            .map_err(|error| StoreError::write(&self.target, len)(error.error))?;
        // The name too must outlast a loss of power.
        if let Some(shelf) = self.target.parent() {
            File::open(shelf)
                .and_then(|folder| folder.sync_all())
                .map_err(StoreError::io("flush", shelf))?;
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn files(store: &BlobStore) -> usize {
        let shelves = std::fs::read_dir(store.root()).unwrap().flatten();
        shelves
            .map(|entry| match entry.path().is_dir() {
                true => std::fs::read_dir(entry.path()).unwrap().count(),
                false => 1,
            })
            .sum()
    }

    #[test]
    fn only_what_was_announced_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let hash = Hash::of(b"in two pieces");

        let mut writer = store.writer(&hash, 13).unwrap();
        writer.write(b"in two ").unwrap();
        assert!(!store.contains(&hash));
        writer.write(b"pieces").unwrap();
        assert_eq!(writer.finish().unwrap(), 13);
        assert_eq!(store.get(&hash, 13).unwrap(), b"in two pieces");
        assert_eq!(files(&store), 1);

        let other = Hash::of(b"other");
        let mut writer = store.writer(&other, 100).unwrap();
        writer.write(b"not that").unwrap();
        let refused = writer.finish().unwrap_err();
        assert!(
            matches!(refused, StoreError::Mismatch { bytes: 8, .. }),
            "{refused}"
        );
        let mut writer = store.writer(&other, 4).unwrap();
        let refused = writer.write(b"other").unwrap_err();
        assert!(
            matches!(refused, StoreError::TooLarge { max: 4, .. }),
            "{refused}"
        );
        drop(writer);
        assert!(!store.contains(&other));
        assert_eq!(files(&store), 1);
    }

    #[test]
    fn a_damaged_blob_is_replaced_by_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let hash = store.put(b"content").unwrap();
        std::fs::write(store.path(&hash), b"damaged").unwrap();
        let mut writer = store.writer(&hash, 7).unwrap();
        writer.write(b"content").unwrap();
        writer.finish().unwrap();
        assert_eq!(store.get(&hash, 7).unwrap(), b"content");
    }

    #[test]
    fn a_part_is_read_from_its_offset() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let hash = store.put(b"0123456789").unwrap();
        for (offset, expected) in [(0, "0123456789"), (7, "789"), (10, ""), (u64::MAX, "")] {
            let (mut file, len) = store.open_at(&hash, offset).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), len), (expected, 10));
        }
        assert!(matches!(
            store.open_at(&Hash::of(b"?"), 0),
            Err(StoreError::Missing { .. })
        ));
    }
}
