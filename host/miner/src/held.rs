//! The assignments that are held from one coordinator, and how many more there is room for.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_protocol::Hash;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Assignments beyond the capacity that are taken in all the same: what comes while
/// acknowledgements are on their way, since the coordinator knows of the room before.
const SLACK: u32 = 8;
/// Ended assignments that are remembered, so that one that comes again is not run again.
const REMEMBERED: usize = 16_384;

/// Where an assignment is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its blobs are being fetched.
    Fetching,
    /// It waits for a slot.
    Waiting,
    /// It runs since then.
    Running(Instant),
    /// Its receipt is made, and not yet acknowledged.
    Recorded,
}

/// Tells a run that it should end.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// It should end.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it should end.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

struct Entry {
    stage: Stage,
    cancel: Cancel,
    /// The acceptance was sent, or need not be.
    accepted: bool,
    deadline_ms: u64,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Hash, Entry>,
    ended: HashSet<Hash>,
    ended_order: VecDeque<Hash>,
}

/// How many are at which stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct HeldCounts {
    /// Blobs are being fetched.
    pub fetching: u64,
    /// Waiting for a slot.
    pub waiting: u64,
    /// Running.
    pub running: u64,
    /// Waiting for the acknowledgement of their receipts.
    pub recorded: u64,
}

impl HeldCounts {
    /// All together.
    pub fn total(&self) -> u64 {
        self.fetching + self.waiting + self.running + self.recorded
    }
}

/// The table of one coordinator.
pub struct HeldTable {
    capacity: u32,
    inner: Mutex<Inner>,
    /// Is told when there may be more room, or less to do.
    changed: Notify,
}

/// What came of an attempt to take an assignment in.
#[derive(Clone, Debug)]
pub enum Taken {
    /// It is new, and can be cancelled with this.
    New(Cancel),
    /// It is held already, or was before.
    Again,
    /// There is no room.
    Full,
}

impl HeldTable {
    /// For at most `capacity` assignments.
    pub fn new(capacity: u32) -> HeldTable {
        HeldTable {
            capacity,
            inner: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many can be held.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// How many more can be taken.
    pub fn room(&self) -> u32 {
        let held = u32::try_from(self.lock().entries.len()).unwrap_or(u32::MAX);
        self.capacity.saturating_sub(held)
    }

    /// Waits until something has changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Wakes whoever waits in [`HeldTable::changed`].
    pub fn notify(&self) {
        self.changed.notify_one();
    }

    /// Takes an assignment in.
    pub fn take(&self, id: Hash, deadline_ms: u64) -> Taken {
        let mut inner = self.lock();
        if inner.entries.contains_key(&id) || inner.ended.contains(&id) {
            return Taken::Again;
        }
        let most = self.capacity.saturating_add(self.capacity.max(SLACK));
        if inner.entries.len() >= most as usize {
            return Taken::Full;
        }
        let cancel = Cancel::default();
        let entry = Entry {
            stage: Stage::Fetching,
            cancel: cancel.clone(),
            accepted: false,
            deadline_ms,
        };
        inner.entries.insert(id, entry);
        Taken::New(cancel)
    }

    /// Takes an assignment in whose receipt was made by an earlier process; beyond the capacity too.
    pub fn take_recorded(&self, id: Hash) {
        let entry = Entry {
            stage: Stage::Recorded,
            cancel: Cancel::default(),
            accepted: true,
            deadline_ms: u64::MAX,
        };
        self.lock().entries.insert(id, entry);
    }

    /// Moves it on.
    pub fn stage(&self, id: &Hash, stage: Stage) {
        if let Some(entry) = self.lock().entries.get_mut(id) {
            entry.stage = stage;
        }
    }

    /// It is over: acknowledged, refused, dropped.
    pub fn end(&self, ids: impl IntoIterator<Item = Hash>) {
        let mut inner = self.lock();
        for id in ids {
            inner.entries.remove(&id);
            inner.remember(id);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// It was let go, and may come again.
    pub fn release(&self, id: &Hash) {
        self.lock().entries.remove(id);
        self.changed.notify_one();
    }

    /// Where it is.
    pub fn find(&self, id: &Hash) -> Option<Stage> {
        self.lock().entries.get(id).map(|entry| entry.stage)
    }

    /// Tells one to end, and says where it is.
    pub fn cancel(&self, id: &Hash) -> Option<Stage> {
        let inner = self.lock();
        let entry = inner.entries.get(id)?;
        entry.cancel.cancel();
        Some(entry.stage)
    }

    /// Tells all to end that have no receipt yet.
    pub fn cancel_all(&self) {
        for entry in self.lock().entries.values() {
            if entry.stage != Stage::Recorded {
                entry.cancel.cancel();
            }
        }
    }

    /// Hashes of all that are held, ascending.
    pub fn working(&self) -> Vec<Hash> {
        let mut all: Vec<Hash> = self.lock().entries.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// Those that have run for `age` and whose acceptance was not sent, at most `max`. They count as
    /// accepted from now on; see [`HeldTable::not_accepted`].
    pub fn accept(&self, age: Duration, max: usize) -> Vec<Hash> {
        let now = Instant::now();
        let mut inner = self.lock();
        let due = inner.entries.iter_mut().filter(|(_, entry)| {
            !entry.accepted
                && matches!(entry.stage, Stage::Running(since) if now.duration_since(since) >= age)
        });
        due.take(max)
            .map(|(id, entry)| {
                entry.accepted = true;
                *id
            })
            .collect()
    }

    /// The acceptances of these did not arrive.
    pub fn not_accepted(&self, ids: &[Hash]) {
        let mut inner = self.lock();
        for id in ids {
            if let Some(entry) = inner.entries.get_mut(id) {
                entry.accepted = false;
            }
        }
    }

    /// Those whose leases ended before `now_ms` while they were not even running.
    pub fn expired(&self, now_ms: u64) -> Vec<Hash> {
        let inner = self.lock();
        let expired = inner.entries.iter().filter(|(_, entry)| {
            entry.deadline_ms <= now_ms && matches!(entry.stage, Stage::Fetching | Stage::Waiting)
        });
        expired.map(|(id, _)| *id).collect()
    }

    /// How many are where.
    pub fn counts(&self) -> HeldCounts {
        let mut counts = HeldCounts::default();
        for entry in self.lock().entries.values() {
            match entry.stage {
                Stage::Fetching => counts.fetching += 1,
                Stage::Waiting => counts.waiting += 1,
                Stage::Running(_) => counts.running += 1,
                Stage::Recorded => counts.recorded += 1,
            }
        }
        counts
    }
}

impl Inner {
    fn remember(&mut self, id: Hash) {
        if !self.ended.insert(id) {
            return;
        }
        self.ended_order.push_back(id);
        if self.ended_order.len() > REMEMBERED
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> Hash {
        Hash::of(&number.to_le_bytes())
    }

    #[test]
    fn room_is_bounded_and_nothing_is_taken_twice() {
        let table = HeldTable::new(2);
        for number in 1000..1008 {
            table.take_recorded(id(number));
        }
        assert!(matches!(table.take(id(1), 10), Taken::New(_)));
        assert!(matches!(table.take(id(1), 10), Taken::Again));
        assert!(matches!(table.take(id(2), 20), Taken::New(_)));
        assert!(matches!(table.take(id(3), 20), Taken::Full));
        assert_eq!(table.room(), 0);
        assert_eq!(table.expired(15), [id(1)]);
        table.end([id(1)]);
        assert!(matches!(table.take(id(1), 10), Taken::Again));
        table.release(&id(2));
        assert!(matches!(table.take(id(2), 10), Taken::New(_)));
        // What an earlier process left counts, and does not overflow.
        (10..20).for_each(|n| table.take_recorded(id(n)));
        assert_eq!((table.room(), table.counts().total()), (0, 19));
        for number in 0..40_000 {
            table.end([id(100 + number)]);
        }
        assert!(table.lock().ended.len() <= REMEMBERED);
    }

    #[test]
    fn acceptances_are_due_once_and_again_if_they_were_lost() {
        let table = HeldTable::new(9);
        let Taken::New(cancel) = table.take(id(1), 10) else {
            panic!("there is room");
        };
        assert!(table.accept(Duration::ZERO, 9).is_empty());
        table.stage(&id(1), Stage::Running(Instant::now()));
        assert!(table.accept(Duration::from_secs(9), 9).is_empty());
        assert_eq!(table.accept(Duration::ZERO, 9), [id(1)]);
        assert!(table.accept(Duration::ZERO, 9).is_empty());
        table.not_accepted(&[id(1)]);
        assert_eq!(table.accept(Duration::ZERO, 9), [id(1)]);
        assert!(table.expired(99).is_empty(), "it runs");
        assert!(matches!(table.cancel(&id(1)), Some(Stage::Running(_))));
        assert!(cancel.is_cancelled());
    }
}
