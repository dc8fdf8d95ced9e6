//! Blobs on disk up to a bound: what is in use is pinned, of the rest the least recently used goes
//! first.
//!
//! The store itself is the runtime's; this keeps account of it. Contents are not trusted: whatever
//! is read from the store is hashed again.

mod partial;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use adit_protocol::Hash;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::store::{StoreError, UNFINISHED};

use crate::transport::{ApiError, CoordinatorApi};
use partial::Partial;

/// What a file takes at least, in bytes: a block, since there may be many small ones.
const BLOCK: u64 = 4096;
/// Age from which a download that nobody goes on with is deleted.
const PARTIAL_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Which part of the cache's bound may be used by downloads that broke off, beside the cache itself.
const PARTIAL_PART: u64 = 8;
/// How often at most a file's time is set when it is used, so that the order survives a restart.
const TOUCH_EVERY: Duration = Duration::from_secs(600);

/// Why a blob cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// It could not be fetched.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is in use leaves no room for it.
    #[error(
        "there is no room for a blob of {needed} bytes: {pinned} of the {limit} bytes of the cache are in use; hint: raise cache-size in miner.toml"
    )]
    Full {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are in use.
        pinned: u64,
        /// The bound.
        limit: u64,
    },
}

struct Entry {
    len: u64,
    tick: u64,
    /// It is deleted when it is no longer in use.
    once: bool,
    touched: SystemTime,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Hash, Entry>,
    /// The same by last use.
    order: BTreeMap<u64, Hash>,
    pins: HashMap<Hash, u32>,
    bytes: u64,
    tick: u64,
}

/// The cache. Shared by all parts of a miner.
pub struct BlobCache {
    store: BlobStore,
    partial: PathBuf,
    limit: u64,
    inner: Mutex<Inner>,
    /// Downloads that are going on, by the names of their files.
    fetching: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// How full the cache is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CacheUse {
    /// Bytes of all blobs, each rounded up to a block.
    pub bytes: u64,
    /// The bound.
    pub limit_bytes: u64,
    /// Blobs.
    pub blobs: u64,
    /// Blobs in use.
    pub pinned: u64,
}

impl BlobCache {
    /// Opens the cache in a folder: finds what is there, and deletes what is over the bound.
    ///
    /// # Errors
    /// The store's.
    pub fn open(folder: &Path, limit: u64) -> Result<Arc<BlobCache>, StoreError> {
        let root = folder.join("blobs");
        let store = BlobStore::open(&root)?;
        let partial = folder.join("partial");
        fs::create_dir_all(&partial).map_err(StoreError::io("make", &partial))?;
        partial::sweep(&partial, PARTIAL_AGE);
        let cache = BlobCache {
            store,
            partial,
            limit,
            inner: Mutex::default(),
            fetching: Mutex::default(),
        };
        let mut found = files(&root)?;
        found.sort_by_key(|(_, _, used)| *used);
        let mut inner = cache.lock();
        for (hash, len, used) in found {
            inner.insert(hash, len, false, used);
        }
        let over = cache.evict(&mut inner, 0);
        drop(inner);
        cache.delete(&over);
        Ok(Arc::new(cache))
    }

    /// The blobs themselves.
    pub fn store(&self) -> &BlobStore {
        &self.store
    }

    /// How full it is.
    pub fn usage(&self) -> CacheUse {
        let inner = self.lock();
        CacheUse {
            bytes: inner.bytes,
            limit_bytes: self.limit,
            blobs: inner.entries.len() as u64,
            pinned: inner.pins.len() as u64,
        }
    }

    /// Marks blobs as in use, whether they are there or not, until the result is dropped.
    pub fn pin(self: &Arc<Self>, hashes: impl IntoIterator<Item = Hash>) -> Pins {
        let mut pins = Pins {
            cache: self.clone(),
            hashes: Vec::new(),
        };
        pins.add(hashes);
        pins
    }

    /// Whether a blob is there; counts as use. Its content is checked when it is read.
    pub fn contains(&self, hash: &Hash) -> bool {
        if self.touch(hash) {
            return self.store.contains(hash);
        }
        // A worker may have put it there.
        self.adopt(hash, false)
    }

    /// Takes a blob into account that something else has put into the store. `false` if it is not
    /// there.
    pub fn adopt(&self, hash: &Hash, once: bool) -> bool {
        let Ok((_, len)) = self.store.open_blob(hash) else {
            return false;
        };
        let mut inner = self.lock();
        inner.insert(*hash, len, once, SystemTime::now());
        let over = self.evict(&mut inner, 0);
        drop(inner);
        self.delete(&over);
        true
    }

    /// Stores bytes; `once` says that they are to be deleted when they are no longer in use.
    ///
    /// # Errors
    /// The store's.
    pub fn put(&self, bytes: &[u8], once: bool) -> Result<Hash, StoreError> {
        let hash = self.store.put(bytes)?;
        let mut inner = self.lock();
        inner.insert(hash, bytes.len() as u64, once, SystemTime::now());
        let over = self.evict(&mut inner, 0);
        drop(inner);
        self.delete(&over);
        Ok(hash)
    }

    /// Deletes a blob whose file is damaged.
    pub fn discard(&self, hash: &Hash) {
        self.lock().remove(hash);
        self.delete(&[*hash]);
    }

    /// Fetches a blob of at most `max` bytes unless it is there. Two who want the same blob of the
    /// node `from` share one download, and a download that broke off is gone on with. One that
    /// another node serves has nothing to do with it: it may be slow, or never end, or be other
    /// bytes.
    ///
    /// # Errors
    /// [`CacheError`].
    pub async fn fetch(
        &self,
        from: &[u8; 32],
        api: &dyn CoordinatorApi,
        hash: &Hash,
        max: u64,
    ) -> Result<(), CacheError> {
        let name = format!(
            "{}-{}",
            hash.to_hex(),
            crate::text::hex(from.get(..8).unwrap_or_default())
        );
        let one = {
            let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody waits for any more.
            if fetching.len() > 1024 {
                fetching.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            fetching.entry(name.clone()).or_default().clone()
        };
        let held = one.lock().await;
        if self.contains(hash) {
            return Ok(());
        }
        let path = self.partial.join(name);
        let mut partial = Partial::open(&path, max).map_err(ApiError::from)?;
        if let Err(error) = api.fetch_blob(hash, max, &mut partial).await {
            drop((partial, held));
            self.shrink_partial();
            return Err(error.into());
        }
        let (len, found) = partial.finish().map_err(ApiError::from)?;
        if found != *hash {
            let _ = fs::remove_file(&path);
            return Err(ApiError::BlobMismatch(*hash).into());
        }
        self.room(len)?;
        let target = self.store.path(hash);
        if let Some(shelf) = target.parent() {
            fs::create_dir_all(shelf).map_err(StoreError::io("make", shelf))?;
        }
        fs::rename(&path, &target).map_err(StoreError::write(&target, len))?;
        self.lock().insert(*hash, len, false, SystemTime::now());
        Ok(())
    }

    /// Bounds what is kept of downloads that broke off: a node could begin many and end none.
    fn shrink_partial(&self) {
        let busy: Vec<String> = {
            let fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            let busy = fetching.iter().filter(|(_, lock)| lock.try_lock().is_err());
            busy.map(|(name, _)| name.clone()).collect()
        };
        partial::shrink(&self.partial, self.limit / PARTIAL_PART, &busy);
    }

    /// Deletes what is not in use until there is room for so many bytes more.
    ///
    /// # Errors
    /// [`CacheError::Full`].
    pub fn room(&self, needed: u64) -> Result<(), CacheError> {
        let mut inner = self.lock();
        let over = self.evict(&mut inner, needed);
        let left = inner.bytes;
        drop(inner);
        self.delete(&over);
        match left.saturating_add(needed) > self.limit {
            true => Err(CacheError::Full {
                needed,
                pinned: left,
                limit: self.limit,
            }),
            false => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the use of a blob that is known.
    fn touch(&self, hash: &Hash) -> bool {
        let mut inner = self.lock();
        let Some((len, once, touched)) = inner
            .entries
            .get(hash)
            .map(|entry| (entry.len, entry.once, entry.touched))
        else {
            return false;
        };
        let now = SystemTime::now();
        let old = now
            .duration_since(touched)
            .is_ok_and(|age| age > TOUCH_EVERY);
        inner.insert(*hash, len, once, if old { now } else { touched });
        drop(inner);
        if old
            && !once
            && let Ok((file, _)) = self.store.open_blob(hash)
        {
            // Without it the order after a restart is an older one, and nothing worse.
            let _ = file.set_modified(now);
        }
        true
    }

    /// Forgets blobs until `extra` bytes fit; returns those whose files are to be deleted.
    fn evict(&self, inner: &mut Inner, extra: u64) -> Vec<Hash> {
        let mut gone = Vec::new();
        let mut after = None;
        while inner.bytes.saturating_add(extra) > self.limit {
            let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
            let next = inner
                .order
                .range((from, std::ops::Bound::Unbounded))
                .next()
                .map(|(tick, hash)| (*tick, *hash));
            let Some((tick, hash)) = next else {
                break;
            };
            after = Some(tick);
            if !inner.pins.contains_key(&hash) {
                inner.remove(&hash);
                gone.push(hash);
            }
        }
        gone
    }

    fn delete(&self, hashes: &[Hash]) {
        for hash in hashes {
            let path = self.store.path(hash);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%error, path = %path.display(), "a blob could not be deleted");
            }
        }
    }
}

impl Inner {
    fn insert(&mut self, hash: Hash, len: u64, once: bool, touched: SystemTime) {
        // What was once there for longer stays for longer.
        let once = once && self.entries.get(&hash).is_none_or(|entry| entry.once);
        self.remove(&hash);
        self.tick = self.tick.saturating_add(1);
        self.bytes = self.bytes.saturating_add(charge(len));
        self.order.insert(self.tick, hash);
        let entry = Entry {
            len,
            tick: self.tick,
            once,
            touched,
        };
        self.entries.insert(hash, entry);
    }

    fn remove(&mut self, hash: &Hash) {
        if let Some(entry) = self.entries.remove(hash) {
            self.order.remove(&entry.tick);
            self.bytes = self.bytes.saturating_sub(charge(entry.len));
        }
    }
}

fn charge(len: u64) -> u64 {
    len.div_ceil(BLOCK).max(1).saturating_mul(BLOCK)
}

/// Blobs that are in use as long as this lives.
pub struct Pins {
    cache: Arc<BlobCache>,
    hashes: Vec<Hash>,
}

impl Pins {
    /// Pins more.
    pub fn add(&mut self, hashes: impl IntoIterator<Item = Hash>) {
        let mut inner = self.cache.lock();
        for hash in hashes {
            let count = inner.pins.entry(hash).or_default();
            *count = count.saturating_add(1);
            self.hashes.push(hash);
        }
    }

    /// What is pinned.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }
}

impl std::fmt::Debug for Pins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.hashes).finish()
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut gone = Vec::new();
        let mut inner = self.cache.lock();
        for hash in &self.hashes {
            let Some(count) = inner.pins.get_mut(hash) else {
                continue;
            };
            *count = count.saturating_sub(1);
            if *count > 0 {
                continue;
            }
            inner.pins.remove(hash);
            if inner.entries.get(hash).is_some_and(|entry| entry.once) {
                inner.remove(hash);
                gone.push(*hash);
            }
        }
        // While the lock is held: else the file of a blob that is put again could be deleted.
        self.cache.delete(&gone);
        drop(inner);
    }
}

/// The blobs of a store's folder with their lengths and times.
fn files(root: &Path) -> Result<Vec<(Hash, u64, SystemTime)>, StoreError> {
    let mut found = Vec::new();
    let shelves = fs::read_dir(root).map_err(StoreError::io("read", root))?;
    for shelf in shelves.flatten() {
        let Ok(entries) = fs::read_dir(shelf.path()) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with(UNFINISHED)) else {
                continue;
            };
            let Ok(hash) = format!("blake3:{name}").parse::<Hash>() else {
                continue;
            };
            let Ok(about) = entry.metadata() else {
                continue;
            };
            if about.is_file() {
                let used = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push((hash, about.len(), used));
            }
        }
    }
    Ok(found)
}
