//! Compiled components, as files that only this user can have written.
//!
//! A compiled component is native code: whoever can change the file can run anything. So the
//! folder is private, each file starts with a BLAKE3 keyed hash of its content under a random key
//! of this folder, and what was read into memory is checked before it is executed.
//! Trusted: the folder's permissions; an attacker who can read the key and write files can make
//! code that is executed (inside the worker's sandbox).

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use adit_protocol::Hash;
use wasmtime::Engine;

use super::{StoreError, private_folder, write_atomically};

/// Most bytes that the folder may hold before the least recently used files are deleted.
pub const CODE_CACHE_BYTES: u64 = 4 << 30;
/// Largest compiled component, in bytes.
pub const CODE_BYTES_MAX: u64 = 1 << 30;

const TAG_LEN: usize = 32;

/// The folder of compiled components.
#[derive(Debug)]
pub struct CodeCache {
    root: PathBuf,
    key: [u8; 32],
    engine: [u8; 32],
}

impl CodeCache {
    /// Open the cache in the folder `root`, making it if there is none. `fresh_key` is used if
    /// the folder has no key yet; `compatibility` is that of the engine that compiles and executes
    /// the code, see [`compatibility`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn open(
        root: impl Into<PathBuf>,
        fresh_key: [u8; 32],
        compatibility: [u8; 32],
    ) -> Result<Self, StoreError> {
        let root = root.into();
        private_folder(&root)?;
        let key = key(&root, fresh_key)?;
        Ok(Self {
            root,
            key,
            engine: compatibility,
        })
    }

    /// The code of a component, if it is here and unchanged. A file that was changed is deleted.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] when the file exists and cannot be read.
    pub fn get(&self, component: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.root.join(self.name(component));
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io("open", &path)(e)),
        };
        let mut tag = [0; TAG_LEN];
        let mut code = Vec::new();
        let read = file
            .read_exact(&mut tag)
            .and_then(|()| (&file).take(CODE_BYTES_MAX + 1).read_to_end(&mut code));
        let whole = match read {
            Ok(_) => self.tag(component, &code) == blake3::Hash::from_bytes(tag),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => false,
            Err(e) => return Err(StoreError::io("read", &path)(e)),
        };
        if !whole {
            fs::remove_file(&path).map_err(StoreError::io("delete the damaged file", &path))?;
            return Ok(None);
        }
        // Marks the file as used, for the eviction; failing to is harmless.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(code))
    }

    /// Whether there is a file for a component. Its content is checked when it is read.
    pub fn contains(&self, component: &Hash) -> bool {
        self.root.join(self.name(component)).is_file()
    }

    /// Keep the code of a component, and make room if the folder has grown too large.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn put(&self, component: &Hash, code: &[u8]) -> Result<(), StoreError> {
        let tag = self.tag(component, code);
        write_atomically(&self.root, &self.name(component), &[tag.as_bytes(), code])?;
        self.evict(CODE_CACHE_BYTES)
    }

    fn name(&self, component: &Hash) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(component.as_bytes());
        hasher.update(&self.engine);
        format!("{}.cwasm", hasher.finalize().to_hex())
    }

    /// Binds the code to the component and the engine it was made for, so that files cannot be
    /// swapped either. BLAKE3 hashes compare in constant time.
    fn tag(&self, component: &Hash, code: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(component.as_bytes());
        hasher.update(&self.engine);
        hasher.update(code);
        hasher.finalize()
    }

    fn evict(&self, max: u64) -> Result<(), StoreError> {
        let mut files = Vec::new();
        let mut total = 0u64;
        for entry in fs::read_dir(&self.root).map_err(StoreError::io("list", &self.root))? {
            let Ok(entry) = entry else { continue };
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if path.extension().is_some_and(|e| e == "cwasm") {
                total = total.saturating_add(metadata.len());
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((used, metadata.len(), path));
            }
        }
        files.sort();
        for (_, len, path) in files {
            if total <= max {
                break;
            }
            // Another process may have deleted it first.
            let _ = fs::remove_file(&path);
            total = total.saturating_sub(len);
        }
        Ok(())
    }
}

fn key(root: &Path, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = root.join("key");
    let made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    if let Ok(mut file) = made {
        file.write_all(&fresh)
            .map_err(StoreError::io("write", &path))?;
        return Ok(fresh);
    }
    let bytes = fs::read(&path).map_err(StoreError::io("read", &path))?;
    // A key of another length was half written when a process died: with a fresh one, the files
    // made under the lost key are found damaged and made again.
    <[u8; 32]>::try_from(bytes).or_else(|_| {
        write_atomically(root, "key", &[&fresh])?;
        Ok(fresh)
    })
}

/// wasmtime's compatibility hash of the engine. It separates cache entries and means nothing
/// else: wasmtime checks compatibility itself when it loads code.
pub fn compatibility(engine: &Engine) -> [u8; 32] {
    use std::hash::{Hash as _, Hasher};

    struct Collect(blake3::Hasher);
    impl Hasher for Collect {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }

    let mut collect = Collect(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut collect);
    *collect.0.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_swapped_and_truncated_code_is_never_returned() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(dir.path(), [1; 32], [9; 32]).unwrap();
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        cache.put(&a, b"code of a").unwrap();
        cache.put(&b, b"code of b").unwrap();
        assert_eq!(cache.get(&a).unwrap().unwrap(), b"code of a");

        let (file_a, file_b) = (
            dir.path().join(cache.name(&a)),
            dir.path().join(cache.name(&b)),
        );
        let whole = fs::read(&file_a).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file_a, changed).unwrap();
            assert_eq!(cache.get(&a).unwrap(), None, "byte {at}");
            fs::write(&file_a, &whole[..at]).unwrap();
            assert_eq!(cache.get(&a).unwrap(), None, "{at} bytes");
        }
        fs::copy(&file_b, &file_a).unwrap();
        assert_eq!(cache.get(&a).unwrap(), None);
        assert_eq!(cache.get(&b).unwrap().unwrap(), b"code of b");
    }

    #[test]
    fn the_key_outlives_the_process_and_a_lost_one_only_empties_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        let a = Hash::of(b"a");
        let open = |key| CodeCache::open(dir.path(), key, [9; 32]).unwrap();
        open([1; 32]).put(&a, b"code").unwrap();
        assert!(open([2; 32]).get(&a).unwrap().is_some());
        fs::write(dir.path().join("key"), b"half").unwrap();
        assert_eq!(open([3; 32]).get(&a).unwrap(), None);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(dir.path(), [1; 32], [9; 32]).unwrap();
        let names = [b"a", b"b", b"c"].map(|n| Hash::of(n));
        for (age, name) in (0..).zip(&names) {
            cache.put(name, &[0; 100]).unwrap();
            let file = fs::File::options()
                .append(true)
                .open(dir.path().join(cache.name(name)))
                .unwrap();
            let used = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age);
            file.set_modified(used).unwrap();
        }
        cache.evict(300).unwrap();
        let left = names.map(|n| cache.get(&n).unwrap().is_some());
        assert_eq!(left, [false, true, true]);
    }
}
