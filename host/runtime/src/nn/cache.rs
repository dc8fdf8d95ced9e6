//! Loaded models, shared by the slots of a worker.
//!
//! A model is known by the hash of its manifest. It is loaded once, however many ask for it at the
//! same time, and stays for the next task until the room is needed: then the models that were not
//! used for the longest time go first. A model that a task holds is never let go of, so that what
//! the cache counts is what is in memory.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use adit_protocol::Hash;
use adit_protocol::manifest::ModelManifest;

use super::backend::{BackendError, FileSource, LoadedModel, ModelFiles};
use super::pool::InferencePool;

/// Models by manifest hash, within a number of bytes.
pub struct ModelCache {
    capacity: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Hash, Entry>,
    /// Counts uses, to order them.
    clock: u64,
}

enum Entry {
    /// Someone is loading it; others wait there. `bytes` is reserved for it meanwhile.
    Loading { load: Arc<Load>, bytes: u64 },
    Loaded {
        model: Arc<dyn LoadedModel>,
        bytes: u64,
        used: u64,
    },
}

/// One load that is under way.
#[derive(Default)]
struct Load {
    result: Mutex<Option<Result<Arc<dyn LoadedModel>, BackendError>>>,
    finished: Condvar,
}

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheUse {
    /// Models loaded or being loaded.
    pub models: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl ModelCache {
    /// A cache for models of `capacity` bytes together, as [`LoadedModel::resident_bytes`] counts.
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
        }
    }

    /// The model of a manifest: from the cache, or read from `source` and loaded on `pool`.
    ///
    /// Blocks while it is being loaded, by this caller or another. The caller keeps the model in
    /// memory for as long as it holds the result.
    ///
    /// # Errors
    ///
    /// Those of [`ModelFiles::read`] and of loading, which all who wait for the same load get and
    /// which are not kept: the next request tries again. [`BackendError::OutOfMemory`] if the
    /// model does not fit beside those in use.
    pub fn model(
        &self,
        key: &Hash,
        manifest: &Arc<ModelManifest>,
        source: &dyn FileSource,
        pool: &InferencePool,
    ) -> Result<Arc<dyn LoadedModel>, BackendError> {
        // The weights are at least about as large in memory as in the file; what they really take
        // is known afterwards.
        let expected = manifest
            .files
            .values()
            .fold(0u64, |sum, file| sum.saturating_add(file.len));
        self.fetch(key, expected, || {
            let files = ModelFiles::read(manifest, source)?;
            pool.load(manifest.clone(), files)
        })
    }

    /// Like [`ModelCache::model`] with any way to load: `expected` bytes are reserved meanwhile.
    ///
    /// # Errors
    ///
    /// Those of `load`, or [`BackendError::OutOfMemory`].
    pub fn fetch(
        &self,
        key: &Hash,
        expected: u64,
        load: impl FnOnce() -> Result<Arc<dyn LoadedModel>, BackendError>,
    ) -> Result<Arc<dyn LoadedModel>, BackendError> {
        let mut evicted = Vec::new();
        let under_way = {
            let mut state = self.lock();
            state.clock += 1;
            let now = state.clock;
            match state.entries.get_mut(key) {
                Some(Entry::Loaded { model, used, .. }) => {
                    *used = now;
                    return Ok(model.clone());
                }
                Some(Entry::Loading { load, .. }) => Err(load.clone()),
                None => {
                    state.make_room(key, expected, self.capacity, &mut evicted)?;
                    let load = Arc::new(Load::default());
                    state.entries.insert(
                        *key,
                        Entry::Loading {
                            load: load.clone(),
                            bytes: expected,
                        },
                    );
                    Ok(load)
                }
            }
        };
        // Freeing a model can take a while, so it happens outside the lock.
        drop(evicted);
        match under_way {
            Err(load) => load.wait(),
            Ok(under_way) => {
                let guard = Guard {
                    cache: self,
                    key,
                    load: &under_way,
                };
                let result = load().and_then(|model| self.admit(key, model));
                guard.finish(result)
            }
        }
    }

    /// What the cache holds now.
    pub fn in_use(&self) -> CacheUse {
        let state = self.lock();
        CacheUse {
            models: state.entries.len(),
            bytes: state.bytes(),
        }
    }

    /// Replaces the reservation by the model, if it fits.
    fn admit(
        &self,
        key: &Hash,
        model: Arc<dyn LoadedModel>,
    ) -> Result<Arc<dyn LoadedModel>, BackendError> {
        let mut evicted = Vec::new();
        let bytes = model.resident_bytes();
        let mut state = self.lock();
        state.make_room(key, bytes, self.capacity, &mut evicted)?;
        state.clock += 1;
        let used = state.clock;
        state.entries.insert(
            *key,
            Entry::Loaded {
                model: model.clone(),
                bytes,
                used,
            },
        );
        drop(state);
        Ok(model)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.entries
            .values()
            .map(Entry::bytes)
            .fold(0, u64::saturating_add)
    }

    /// Takes out models until `needed` bytes fit beside all other entries than `key`'s. Takes out
    /// nothing if that cannot succeed.
    fn make_room(
        &mut self,
        key: &Hash,
        needed: u64,
        capacity: u64,
        evicted: &mut Vec<Entry>,
    ) -> Result<(), BackendError> {
        let mut held = 0u64;
        let mut idle = Vec::new();
        let mut total = 0u64;
        for (other, entry) in self.entries.iter().filter(|(other, _)| *other != key) {
            total = total.saturating_add(entry.bytes());
            match entry {
                // Only the cache holds it. Nobody can come by another reference while the lock
                // is held.
                Entry::Loaded { model, used, .. } if Arc::strong_count(model) == 1 => {
                    idle.push((*used, *other));
                }
                _ => held = held.saturating_add(entry.bytes()),
            }
        }
        if held.saturating_add(needed) > capacity {
            return Err(BackendError::OutOfMemory {
                what: "a model".into(),
                needed,
                available: capacity.saturating_sub(held),
            });
        }
        idle.sort_unstable();
        for (_, oldest) in idle {
            if total.saturating_add(needed) <= capacity {
                break;
            }
            if let Some(entry) = self.entries.remove(&oldest) {
                total = total.saturating_sub(entry.bytes());
                evicted.push(entry);
            }
        }
        Ok(())
    }
}

impl Entry {
    fn bytes(&self) -> u64 {
        match self {
            Self::Loading { bytes, .. } | Self::Loaded { bytes, .. } => *bytes,
        }
    }
}

impl Load {
    fn wait(&self) -> Result<Arc<dyn LoadedModel>, BackendError> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = &*result {
                return result.clone();
            }
            result = self
                .finished
                .wait(result)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Ends a load in every case, a panic included, so that nobody waits for ever.
struct Guard<'a> {
    cache: &'a ModelCache,
    key: &'a Hash,
    load: &'a Load,
}

impl Guard<'_> {
    fn finish(
        self,
        result: Result<Arc<dyn LoadedModel>, BackendError>,
    ) -> Result<Arc<dyn LoadedModel>, BackendError> {
        *self
            .load
            .result
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(result.clone());
        result
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.cache.lock();
            if matches!(state.entries.get(self.key), Some(Entry::Loading { .. })) {
                state.entries.remove(self.key);
            }
        }
        self.load
            .result
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| Err(BackendError::failed("loading the model was abandoned")));
        self.load.finished.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::super::tensor::Tensor;
    use super::*;

    struct Sized(u64);

    impl LoadedModel for Sized {
        fn compute(
            &self,
            inputs: Vec<(String, Tensor)>,
        ) -> Result<Vec<(String, Tensor)>, BackendError> {
            Ok(inputs)
        }

        fn resident_bytes(&self) -> u64 {
            self.0
        }
    }

    fn key(n: u8) -> Hash {
        Hash::of(&[n])
    }

    fn loaded(bytes: u64) -> Result<Arc<dyn LoadedModel>, BackendError> {
        Ok(Arc::new(Sized(bytes)))
    }

    fn has(cache: &ModelCache, n: u8) -> bool {
        cache.lock().entries.contains_key(&key(n))
    }

    #[test]
    fn many_who_ask_at_once_share_one_load() {
        let cache = ModelCache::new(100);
        let loads = AtomicUsize::new(0);
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    let model = cache.fetch(&key(1), 10, || {
                        loads.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(30));
                        loaded(10)
                    });
                    assert_eq!(model.unwrap().resident_bytes(), 10);
                });
            }
        });
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        assert_eq!(
            cache.in_use(),
            CacheUse {
                models: 1,
                bytes: 10
            }
        );
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = ModelCache::new(30);
        for n in [1, 2, 3] {
            cache.fetch(&key(n), 10, || loaded(10)).unwrap();
        }
        cache.fetch(&key(1), 10, || panic!("1 is loaded")).unwrap();
        cache.fetch(&key(4), 10, || loaded(10)).unwrap();
        assert_eq!(
            [1, 2, 3, 4].map(|n| has(&cache, n)),
            [true, false, true, true]
        );
        assert_eq!(
            cache.in_use(),
            CacheUse {
                models: 3,
                bytes: 30
            }
        );
    }

    #[test]
    fn a_model_in_use_stays_and_counts() {
        let cache = ModelCache::new(30);
        let held = cache.fetch(&key(1), 20, || loaded(20)).unwrap();
        cache.fetch(&key(2), 10, || loaded(10)).unwrap();
        let error = cache
            .fetch(&key(3), 15, || panic!("there is no room"))
            .err()
            .unwrap();
        assert!(matches!(
            error,
            BackendError::OutOfMemory {
                needed: 15,
                available: 10,
                ..
            }
        ));
        // Nothing was given up for a request that could not be met.
        assert!(has(&cache, 1) && has(&cache, 2));
        drop(held);
        cache.fetch(&key(3), 15, || loaded(15)).unwrap();
        assert!(!has(&cache, 1) && has(&cache, 2) && has(&cache, 3));
    }

    #[test]
    fn the_real_size_decides_after_loading() {
        let cache = ModelCache::new(30);
        let error = cache.fetch(&key(1), 10, || loaded(31)).err().unwrap();
        assert!(matches!(
            error,
            BackendError::OutOfMemory { needed: 31, .. }
        ));
        assert_eq!(
            cache.in_use(),
            CacheUse {
                models: 0,
                bytes: 0
            }
        );
        cache.fetch(&key(2), 10, || loaded(10)).unwrap();
        cache.fetch(&key(1), 10, || loaded(25)).unwrap();
        assert!(!has(&cache, 2));
        assert_eq!(
            cache.in_use(),
            CacheUse {
                models: 1,
                bytes: 25
            }
        );
    }

    #[test]
    fn a_failure_reaches_all_who_wait_and_is_not_kept() {
        let cache = ModelCache::new(100);
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    start.wait();
                    let result = cache.fetch(&key(1), 10, || {
                        thread::sleep(Duration::from_millis(20));
                        Err(BackendError::failed("no"))
                    });
                    assert_eq!(result.err(), Some(BackendError::failed("no")));
                });
            }
        });
        assert_eq!(
            cache.in_use(),
            CacheUse {
                models: 0,
                bytes: 0
            }
        );
        assert!(cache.fetch(&key(1), 10, || loaded(10)).is_ok());
    }

    #[test]
    fn a_panic_while_loading_frees_the_place() {
        let cache = ModelCache::new(100);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            cache.fetch(&key(1), 10, || panic!("on purpose"))
        }));
        assert!(panicked.is_err());
        assert_eq!(
            cache.in_use(),
            CacheUse {
                models: 0,
                bytes: 0
            }
        );
        assert!(cache.fetch(&key(1), 10, || loaded(10)).is_ok());
    }

    #[test]
    fn a_load_in_progress_counts() {
        let cache = ModelCache::new(30);
        let (reserved, go) = (Barrier::new(2), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                cache.fetch(&key(1), 20, || {
                    reserved.wait();
                    go.wait();
                    loaded(20)
                })
            });
            reserved.wait();
            let refused = cache.fetch(&key(2), 20, || loaded(20)).err();
            go.wait();
            assert!(matches!(
                refused,
                Some(BackendError::OutOfMemory { available: 10, .. })
            ));
        });
    }
}
