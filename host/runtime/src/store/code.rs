//! Compiled components, as files that only this user can have written.
//!
//! A compiled component is native code: whoever can change the file can run anything. So the
//! folder is private, each file starts with a BLAKE3 keyed hash of its content under a random key
//! of this folder, and what was read into memory is checked before it is executed.
//! Trusted: the folder's permissions; an attacker who can read the key and write files can make
//! code that is executed (inside the worker's sandbox).

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use adit_protocol::Hash;
use wasmtime::Engine;

use super::{StoreError, open_file, private_folder, sweep, unfinished, write_atomically};

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
    /// Code that was made or authenticated last, until it is taken.
    ready: Mutex<Option<(Hash, Vec<u8>)>>,
}

impl CodeCache {
    /// Open the cache in the folder `root`, making it if there is none. `fresh_key` is used if
    /// the folder has no key yet; `compatibility` is that of the engine that compiles and executes
    /// the code, see [`compatibility`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`]; [`StoreError::Exposed`] when others may write to the folder.
    pub fn open(
        root: impl Into<PathBuf>,
        fresh_key: [u8; 32],
        compatibility: [u8; 32],
    ) -> Result<Self, StoreError> {
        let root = root.into();
        private_folder(&root)?;
        let about = fs::metadata(&root).map_err(StoreError::io("read", &root))?;
        let mode = about.permissions().mode() & 0o777;
        // Who can write here can put a key of their own in the place of ours.
        if mode & 0o022 != 0 {
            return Err(StoreError::Exposed { path: root, mode });
        }
        sweep(&root);
        let key = key(&root, fresh_key)?;
        Ok(Self {
            root,
            key,
            engine: compatibility,
            ready: Mutex::default(),
        })
    }

    /// Have the code of a component ready, to be [taken](Self::take), if it is here and unchanged.
    /// Returns whether it is.
    ///
    /// # Errors
    ///
    /// As [`CodeCache::get`].
    pub fn prepare(&self, component: &Hash) -> Result<bool, StoreError> {
        let code = self.get(component)?;
        let found = code.is_some();
        if let Some(code) = code {
            self.set_ready(component, code);
        }
        Ok(found)
    }

    /// The code of a component: what was made ready, so that nothing which happens to the folder
    /// in between can matter, else as [`CodeCache::get`].
    ///
    /// # Errors
    ///
    /// As [`CodeCache::get`].
    pub fn take(&self, component: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        match ready.take_if(|(of, _)| of == component) {
            Some((_, code)) => Ok(Some(code)),
            None => {
                drop(ready);
                self.get(component)
            }
        }
    }

    fn set_ready(&self, component: &Hash, code: Vec<u8>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        *ready = Some((*component, code));
    }

    /// The code of a component, if it is here and unchanged. A file that was changed is deleted.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] when the file exists and can neither be read nor deleted.
    pub fn get(&self, component: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.root.join(self.name(component));
        let mut file = match open_file(&path) {
            Ok(file) => file,
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(refused @ StoreError::NotAFile { .. }) => {
                // A folder may hold anything, and is not deleted.
                return fs::remove_file(&path).map(|()| None).or(Err(refused));
            }
            Err(other) => return Err(other),
        };
        // Compared before anything is read, so that a file of any size costs nothing.
        let about = file.metadata().map_err(StoreError::io("read", &path))?;
        if about.len() > CODE_BYTES_MAX.saturating_add(TAG_LEN as u64) {
            fs::remove_file(&path).map_err(StoreError::io("delete the damaged file", &path))?;
            return Ok(None);
        }
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

    /// Keep the code of a component, have it ready to be [taken](Self::take), and make room if the
    /// folder has grown too large.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn put(&self, component: &Hash, code: Vec<u8>) -> Result<(), StoreError> {
        let tag = self.tag(component, &code);
        let path = self.root.join(self.name(component));
        write_atomically(&self.root, &path, &[tag.as_bytes(), &code])?;
        self.set_ready(component, code);
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

/// The key of the folder; `fresh`, if it has none that is whole and private. With another key, the
/// files made under the lost one are found damaged and made again.
fn key(root: &Path, fresh: [u8; 32]) -> Result<[u8; 32], StoreError> {
    let path = root.join("key");
    match read_key(&path) {
        Ok(Some(key)) => return Ok(key),
        Ok(None) => write_atomically(root, &path, &[&fresh])?,
        Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            let mut file = unfinished(root)?;
            file.as_file_mut()
                .write_all(&fresh)
                .map_err(StoreError::write(&path, fresh.len() as u64))?;
            match file.persist_noclobber(&path) {
                Ok(_) => return Ok(fresh),
                // Another process was faster: the key is its.
                Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(StoreError::write(&path, fresh.len() as u64)(e.error)),
            }
        }
        // What is no file is replaced, unless it is a folder.
        Err(StoreError::NotAFile { .. }) => write_atomically(root, &path, &[&fresh])?,
        Err(other) => return Err(other),
    }
    // Of processes that do this at the same time, the last one's key stays.
    Ok(read_key(&path)?.unwrap_or(fresh))
}

/// `None` if it is no key, or one that others may have read.
fn read_key(path: &Path) -> Result<Option<[u8; 32]>, StoreError> {
    let file = open_file(path)?;
    let about = file.metadata().map_err(StoreError::io("read", path))?;
    let private = about.permissions().mode() & 0o077 == 0;
    let mut bytes = Vec::new();
    file.take(33)
        .read_to_end(&mut bytes)
        .map_err(StoreError::io("read", path))?;
    Ok(bytes.try_into().ok().filter(|_| private))
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
        cache.put(&a, b"code of a".to_vec()).unwrap();
        cache.put(&b, b"code of b".to_vec()).unwrap();
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
        open([1; 32]).put(&a, b"code".to_vec()).unwrap();
        assert!(open([2; 32]).get(&a).unwrap().is_some());
        fs::write(dir.path().join("key"), b"half").unwrap();
        assert_eq!(open([3; 32]).get(&a).unwrap(), None);
        // One that others could read is as good as lost: they can have made files with it.
        open([4; 32]).put(&a, b"code".to_vec()).unwrap();
        let others = fs::Permissions::from_mode(0o644);
        fs::set_permissions(dir.path().join("key"), others).unwrap();
        assert_eq!(open([5; 32]).get(&a).unwrap(), None);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let refused = CodeCache::open(dir.path(), [1; 32], [9; 32]).unwrap_err();
        assert!(matches!(refused, StoreError::Exposed { mode: 0o770, .. }));
    }

    #[test]
    fn what_is_ready_does_not_depend_on_the_folder_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(dir.path(), [1; 32], [9; 32]).unwrap();
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        cache.put(&a, b"code of a".to_vec()).unwrap();
        let file = dir.path().join(cache.name(&a));
        let whole = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(cache.take(&b).unwrap(), None);
        assert_eq!(cache.take(&a).unwrap().unwrap(), b"code of a");
        assert_eq!(cache.take(&a).unwrap(), None);

        fs::write(&file, &whole).unwrap();
        assert!(cache.prepare(&a).unwrap());
        fs::write(&file, b"something else").unwrap();
        assert_eq!(cache.take(&a).unwrap().unwrap(), b"code of a");
        // Now there is only the file, which is found damaged.
        assert!(!cache.prepare(&a).unwrap());
    }

    #[test]
    fn what_is_no_file_is_no_code() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(dir.path(), [1; 32], [9; 32]).unwrap();
        let a = Hash::of(b"a");
        let path = dir.path().join(cache.name(&a));
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(cache.get(&a).unwrap(), None);
        let huge = fs::File::create(&path).unwrap();
        huge.set_len(CODE_BYTES_MAX * 4).unwrap();
        assert_eq!(cache.get(&a).unwrap(), None);
        fs::create_dir(&path).unwrap();
        let refused = cache.get(&a).unwrap_err();
        assert!(matches!(refused, StoreError::NotAFile { .. }), "{refused}");
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(dir.path(), [1; 32], [9; 32]).unwrap();
        let names = [b"a", b"b", b"c"].map(|n| Hash::of(n));
        for (age, name) in (0..).zip(&names) {
            cache.put(name, vec![0; 100]).unwrap();
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
