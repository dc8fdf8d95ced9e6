//! How long blobs are kept, and how much room they may take.
//!
//! The time of a file's last change is the time of its last use: whoever uses a blob calls
//! [`Retained::touch`]. [`Collector::round`] deletes what nobody has used for the retention, a
//! bounded number of files at a time. Both go through one lock, so that a blob that was just found
//! to be there is not deleted in the same moment.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use adit_protocol::hash::Hash;

use super::StoreError;
use super::blobs::BlobStore;

/// Folders that the blobs are spread over.
const SHELVES: usize = 256;
/// A use is not noted again so soon after the last one: it would be a write for each read.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// A blob store of one process, whose blobs are deleted when they have not been used for long.
#[derive(Clone)]
pub struct Retained {
    store: BlobStore,
    shared: Arc<Shared>,
}

struct Shared {
    /// Read by who uses a blob, written by who deletes one.
    deleting: RwLock<()>,
    /// Bytes on each shelf when it was last looked at, and what has been added since.
    shelves: [AtomicU64; SHELVES],
    /// Bytes of uploads under way.
    reserved: AtomicU64,
    quota: u64,
}

/// What a round of the collector did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files that were looked at.
    pub seen: u64,
    /// Files that were deleted.
    pub deleted: u64,
    /// Bytes of those.
    pub freed: u64,
    /// Whether the round came to the end of the store.
    pub complete: bool,
}

/// Room in the store for an upload. Given back when it is dropped; [`Reservation::keep`] counts it
/// as used.
pub struct Reservation {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Retained {
    /// Wraps a store that may hold `quota` bytes. Looks at the size of each file once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`].
    pub fn new(store: BlobStore, quota: u64) -> Result<Retained, StoreError> {
        let retained = Retained {
            store,
            shared: Arc::new(Shared {
                deleting: RwLock::default(),
                shelves: std::array::from_fn(|_| AtomicU64::new(0)),
                reserved: AtomicU64::new(0),
                quota,
            }),
        };
        for (number, shelf) in retained.shared.shelves.iter().enumerate() {
            let files = list(&retained.shelf(number))?;
            let bytes = files.iter().filter_map(|(_, path)| length(path)).sum();
            shelf.store(bytes, Ordering::Relaxed);
        }
        Ok(retained)
    }

    /// The store itself.
    pub fn store(&self) -> &BlobStore {
        &self.store
    }

    /// Bytes of all blobs, as far as is known.
    pub fn used_bytes(&self) -> u64 {
        self.shared.used()
    }

    /// Most bytes of all blobs.
    pub fn quota_bytes(&self) -> u64 {
        self.shared.quota
    }

    /// Takes room for a blob of at most `bytes` bytes; `None` if there is too little.
    pub fn reserve(&self, bytes: u64) -> Option<Reservation> {
        let shared = &self.shared;
        let room = shared.quota.saturating_sub(shared.used());
        shared
            .reserved
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |reserved| {
                reserved.checked_add(bytes).filter(|all| *all <= room)
            })
            .ok()?;
        Some(Reservation {
            shared: Arc::clone(shared),
            bytes,
        })
    }

    /// Notes that a blob is used now, so that it is kept. False if it is not there.
    pub fn touch(&self, hash: &Hash) -> bool {
        let _shared = self
            .shared
            .deleting
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let path = self.store.path(hash);
        let Ok(about) = std::fs::metadata(&path) else {
            return false;
        };
        if !about.is_file() {
            return false;
        }
        let now = SystemTime::now();
        let fresh = about
            .modified()
            .is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age < TOUCH_EVERY));
        // Where the time cannot be set, the blob is there all the same, for the retention.
        if !fresh && let Ok(file) = OpenOptions::new().write(true).open(&path) {
            let _ = file.set_modified(now);
        }
        true
    }

    fn shelf(&self, number: usize) -> PathBuf {
        self.store.root().join(format!("{number:02x}"))
    }
}

impl Shared {
    fn used(&self) -> u64 {
        let shelves = self.shelves.iter().map(|s| s.load(Ordering::Relaxed));
        shelves.fold(0, u64::saturating_add)
    }
}

impl Reservation {
    /// The blob was stored, with this many bytes.
    pub fn keep(self, hash: &Hash, bytes: u64) {
        let [first, ..] = hash.as_bytes();
        if let Some(shelf) = self.shared.shelves.get(usize::from(*first)) {
            shelf.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.reserved.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Deletes what has not been used for long, going round the store shelf by shelf.
pub struct Collector {
    retained: Retained,
    retention: Duration,
    shelf: usize,
    /// Files of the present shelf that are still to be looked at.
    waiting: Vec<(Hash, PathBuf)>,
    /// Bytes of those files of the present shelf that stayed.
    bytes: u64,
}

impl Collector {
    /// A collector that keeps each blob for `retention` after its last use.
    pub fn new(retained: Retained, retention: Duration) -> Collector {
        Collector {
            retained,
            retention,
            shelf: 0,
            waiting: Vec::new(),
            bytes: 0,
        }
    }

    /// Looks at no more than about `files` files, beginning where the last round ended. Blobs that
    /// are `pinned` stay, however old they are.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if a shelf cannot be listed; the next round goes on behind it.
    pub fn round(
        &mut self,
        now: SystemTime,
        files: usize,
        pinned: impl Fn(&Hash) -> bool,
    ) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        let mut left = files;
        loop {
            while let Some((hash, path)) = self.waiting.pop() {
                collected.seen += 1;
                match self.look(now, &path, || pinned(&hash)) {
                    Some((bytes, true)) => {
                        collected.deleted += 1;
                        collected.freed += bytes;
                    }
                    Some((bytes, false)) => self.bytes = self.bytes.saturating_add(bytes),
                    None => {}
                }
                left = left.saturating_sub(1);
                if left == 0 {
                    return Ok(collected);
                }
            }
            // What is uploaded to a shelf while it is looked at may be counted once too few; the
            // next time round is right again.
            if let Some(shelf) = self.retained.shared.shelves.get(self.shelf)
                && collected.seen > 0
            {
                shelf.store(self.bytes, Ordering::Relaxed);
            }
            self.bytes = 0;
            self.shelf += 1;
            if self.shelf >= SHELVES {
                self.shelf = 0;
                super::sweep(self.retained.store.root());
                collected.complete = true;
            }
            self.waiting = list(&self.retained.shelf(self.shelf))?;
            if collected.complete {
                return Ok(collected);
            }
            // An empty shelf costs a look too.
            left = left.saturating_sub(1);
            if left == 0 {
                return Ok(collected);
            }
        }
    }

    /// Length of a file, and whether it was deleted; `None` if it is gone or cannot be deleted.
    fn look(
        &self,
        now: SystemTime,
        path: &Path,
        pinned: impl FnOnce() -> bool,
    ) -> Option<(u64, bool)> {
        let old = || {
            let about = std::fs::metadata(path).ok()?;
            let age = about.modified().ok()?;
            // A time in the future is that of a clock that was set back: not old.
            let old = now
                .duration_since(age)
                .is_ok_and(|age| age >= self.retention);
            Some((about.len(), old))
        };
        match old()? {
            (len, true) if !pinned() => {
                let _alone = self
                    .retained
                    .shared
                    .deleting
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                // It may have been used since.
                match old()? {
                    (len, false) => Some((len, false)),
                    (_, true) => {
                        std::fs::remove_file(path).ok()?;
                        Some((len, true))
                    }
                }
            }
            (len, _) => Some((len, false)),
        }
    }
}

/// The blobs on a shelf. What has no blob's name is not touched.
fn list(shelf: &Path) -> Result<Vec<(Hash, PathBuf)>, StoreError> {
    let entries = match std::fs::read_dir(shelf) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", shelf)(error)),
    };
    let blob = |entry: std::fs::DirEntry| {
        let name = entry.file_name();
        let hash = Hash::from_str(&format!("blake3:{}", name.to_str()?)).ok()?;
        Some((hash, entry.path()))
    };
    Ok(entries.flatten().filter_map(blob).collect())
}

fn length(path: &Path) -> Option<u64> {
    File::open(path)
        .and_then(|file| file.metadata())
        .ok()
        .filter(std::fs::Metadata::is_file)
        .map(|about| about.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn age(store: &BlobStore, hash: &Hash, by: Duration) {
        let file = OpenOptions::new()
            .write(true)
            .open(store.path(hash))
            .unwrap();
        file.set_modified(SystemTime::now() - by).unwrap();
    }

    fn all(collector: &mut Collector, files: usize, pinned: &[Hash]) -> (u64, u64) {
        let (mut deleted, mut seen) = (0, 0);
        for _ in 0..10_000 {
            let round = collector
                .round(SystemTime::now(), files, |hash| pinned.contains(hash))
                .unwrap();
            assert!(round.seen <= files as u64);
            deleted += round.deleted;
            seen += round.seen;
            if round.complete {
                return (deleted, seen);
            }
        }
        panic!("the collector does not come round");
    }

    #[test]
    fn what_is_old_goes_and_what_is_used_or_pinned_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path().join("blobs")).unwrap();
        let put = |text: &str| store.put(text.as_bytes()).unwrap();
        let [young, old, pinned, used] = ["young", "old", "pinned", "used"].map(put);
        for hash in [&old, &pinned, &used] {
            age(&store, hash, 2 * DAY);
        }
        let foreign = store.path(&old).with_file_name("notes.txt");
        std::fs::write(&foreign, "mine").unwrap();
        let retained = Retained::new(store.clone(), 1000).unwrap();
        assert_eq!(retained.used_bytes(), 5 + 3 + 6 + 4);
        assert!(retained.touch(&used));
        assert!(!retained.touch(&Hash::of(b"never")));

        let mut collector = Collector::new(retained.clone(), DAY);
        // One file at a time, so that each place to stop is met.
        assert_eq!(all(&mut collector, 1, &[pinned]), (1, 4));
        assert!(!store.contains(&old) && foreign.exists());
        for hash in [&young, &pinned, &used] {
            assert!(store.contains(hash));
        }
        assert_eq!(all(&mut collector, 1000, &[]).0, 1);
        assert!(!store.contains(&pinned));
        all(&mut collector, 1000, &[]);
        assert_eq!(retained.used_bytes(), 5 + 4);
    }

    #[test]
    fn a_clock_that_was_set_back_deletes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let hash = store.put(b"x").unwrap();
        let retained = Retained::new(store.clone(), 1000).unwrap();
        let mut collector = Collector::new(retained, DAY);
        let past = SystemTime::now() - 10 * DAY;
        for _ in 0..3 {
            collector.round(past, 1000, |_| false).unwrap();
        }
        assert!(store.contains(&hash));
    }

    #[test]
    fn the_quota_holds_with_uploads_under_way() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        store.put(&[1; 40]).unwrap();
        let retained = Retained::new(store, 100).unwrap();
        let first = retained.reserve(50).unwrap();
        assert!(retained.reserve(20).is_none());
        drop(first);
        let second = retained.reserve(60).unwrap();
        // What came was shorter than announced.
        second.keep(&Hash::of(b"second"), 30);
        assert_eq!(retained.used_bytes(), 70);
        assert!(retained.reserve(31).is_none() && retained.reserve(u64::MAX).is_none());
        assert!(retained.reserve(30).is_some());
    }

    #[test]
    fn users_and_the_collector_never_disagree() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let retained = Retained::new(store.clone(), 1 << 30).unwrap();
        let hashes: Vec<Hash> = (0..200u32)
            .map(|n| store.put(&n.to_le_bytes()).unwrap())
            .collect();
        for hash in &hashes {
            age(&store, hash, 2 * DAY);
        }
        let kept = std::thread::scope(|scope| {
            let user = scope.spawn(|| {
                let found = |hash: &&Hash| retained.touch(hash);
                hashes.iter().filter(found).copied().collect::<Vec<_>>()
            });
            let mut collector = Collector::new(retained.clone(), DAY);
            for _ in 0..4 {
                all(&mut collector, 7, &[]);
            }
            user.join().unwrap()
        });
        for hash in kept {
            assert!(store.contains(&hash), "a blob in use was deleted");
        }
    }
}
