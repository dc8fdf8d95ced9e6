//! The follower: tables and log, which get what is durable in the journal some milliseconds later, in
//! one transaction for all batches of that time. It has a thread of its own; whoever has to read what
//! was acknowledged has it catch up first.
//!
//! If it fails, the engine stops: what was acknowledged is in the journal, and is applied at the next
//! start.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use adit_net::log::LogError;
use adit_net::log::witness::Cosigned;
use adit_net::{Clock, Stopped};
use adit_protocol::Code;

use super::stats::{Stats, add, micros};
use super::{Refusal, lock};
use crate::store::batch::{Batch, Write};
use crate::store::sql::SqlStore;
use crate::store::tables::Tables;
use crate::store::{Horizon, StoreError};

/// How long a batch waits at least before it is applied, in milliseconds.
const APPLY_MS: u64 = 200;
/// Bytes of batches that wait at most; the engine itself applies them then.
const WAITING_BYTES: usize = 16 << 20;
/// How long entries wait at least before they are integrated, in milliseconds: files are then
/// written for many at once.
const INTEGRATE_MS: u64 = 500;
/// How often it is looked for what is old, in milliseconds.
const PRUNE_MS: u64 = 1000;

/// For how long things are kept, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// Tasks that ended.
    pub tasks_ms: u64,
    /// Blobs after their last use.
    pub blobs_ms: u64,
    /// Idempotency keys.
    pub requests_ms: u64,
}

pub(crate) struct Follower {
    /// `None` once the engine has ended.
    tables: Mutex<Option<Following>>,
    queue: Mutex<Queue>,
    /// A first batch waits, or all is over.
    news: Condvar,
    /// Numbers of the last batch that was handed over, and of the last that is applied.
    last: AtomicU64,
    applied: AtomicU64,
    /// Why it has failed.
    failed: Mutex<Option<Stopped>>,
    /// When the log or old rows are to be looked after next, in milliseconds since 1970.
    chores_ms: AtomicU64,
    stats: Arc<Stats>,
}

struct Following {
    tables: Tables,
    keep: Keep,
    integrate_ms: u64,
    prune_ms: u64,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// When the first of them was handed over.
    since_ms: u64,
    over: bool,
}

impl Follower {
    /// Follows from `applied` on.
    pub(crate) fn new(tables: Tables, applied: u64, keep: Keep, stats: Arc<Stats>) -> Follower {
        Follower {
            tables: Mutex::new(Some(Following {
                tables,
                keep,
                integrate_ms: 0,
                prune_ms: 0,
            })),
            queue: Mutex::default(),
            news: Condvar::new(),
            last: AtomicU64::new(applied),
            applied: AtomicU64::new(applied),
            failed: Mutex::default(),
            chores_ms: AtomicU64::new(0),
            stats,
        }
    }

    /// Number of the last batch that the tables have.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// # Errors
    /// [`StoreError::Behind`] once it has failed.
    pub(crate) fn alive(&self) -> Result<(), StoreError> {
        match &*lock(&self.failed) {
            None => Ok(()),
            Some(why) => Err(StoreError::Behind(why.clone())),
        }
    }

    /// Hands over a batch that is durable. To be called before it is told to anyone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn push(&self, batch: Batch, now_ms: u64) -> Result<(), StoreError> {
        let mut queue = lock(&self.queue);
        self.last.store(batch.number, Ordering::Release);
        let first = queue.batches.is_empty();
        queue.bytes = queue.bytes.saturating_add(batch.bytes);
        queue.batches.push_back(batch);
        let full = queue.bytes > WAITING_BYTES;
        if first {
            queue.since_ms = now_ms;
        }
        drop(queue);
        if first {
            self.news.notify_one();
        }
        match full {
            true => self.catch_up(),
            false => Ok(()),
        }
    }

    /// Returns once all is applied that was handed over before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn catch_up(&self) -> Result<(), StoreError> {
        if self.applied() >= self.last.load(Ordering::Acquire) {
            return Ok(());
        }
        match &mut *lock(&self.tables) {
            Some(following) => self.apply(following),
            None => Err(ended()),
        }
    }

    /// Tables and log, with all applied that was handed over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn tables<T>(
        &self,
        work: impl FnOnce(&mut Tables) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &mut *lock(&self.tables) {
            Some(following) => {
                self.apply(following)?;
                work(&mut following.tables)
            }
            None => Err(ended()),
        }
    }

    /// Reads as if `writes` were applied too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn with<T>(
        &self,
        writes: &[Write],
        read: impl FnOnce(&mut SqlStore<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.tables(|tables| tables.with(writes, read))
    }

    /// When there is something to do next, in milliseconds since 1970.
    pub(crate) fn next_ms(&self) -> u64 {
        self.next(&lock(&self.queue))
    }

    fn next(&self, queue: &Queue) -> u64 {
        let chores_ms = self.chores_ms.load(Ordering::Relaxed);
        match queue.batches.is_empty() {
            true => chores_ms,
            false => chores_ms.min(queue.since_ms.saturating_add(APPLY_MS)),
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn turn(&self, now_ms: u64) -> Result<(), StoreError> {
        if self.next_ms() > now_ms {
            return Ok(());
        }
        let mut tables = lock(&self.tables);
        let Some(following) = &mut *tables else {
            return Ok(());
        };
        // Before old rows are removed, too: one of them may just have been used again.
        self.apply(following)?;
        let done = self.chores(following, now_ms);
        self.noted(done)
    }

    /// The thread's work: until [`Follower::close`], or until it fails.
    pub(crate) fn run(&self, clock: &dyn Clock) {
        loop {
            let queue = lock(&self.queue);
            let wait = self.next(&queue).saturating_sub(clock.now_ms());
            let waited = (!queue.over).then(|| {
                self.news
                    .wait_timeout(queue, Duration::from_millis(wait.max(1)))
            });
            let Some(waited) = waited else { return };
            let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
            drop(queue);
            if let Err(error) = self.turn(clock.now_ms()) {
                tracing::error!(%error, "the tables do not follow any more");
                return;
            }
        }
    }

    /// Applies and integrates everything; but for what cannot be written now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn finish(&self, now_ms: u64) -> Result<(), StoreError> {
        let mut tables = lock(&self.tables);
        let Some(following) = &mut *tables else {
            return Ok(());
        };
        self.apply(following)?;
        let mut waiting = following.tables.log.waiting();
        while waiting > 0 {
            self.integrate(following, now_ms)?;
            let left = following.tables.log.waiting();
            if left >= waiting {
                break;
            }
            waiting = left;
        }
        Ok(())
    }

    /// Closes database and log.
    pub(crate) fn close(&self) {
        lock(&self.queue).over = true;
        self.news.notify_all();
        *lock(&self.tables) = None;
    }

    /// Takes cosignatures, in a transaction of the log's own.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn cosigned(
        &self,
        cosigned: Cosigned,
    ) -> Result<Result<usize, Refusal>, StoreError> {
        let mut tables = lock(&self.tables);
        let Some(Following { tables, .. }) = &mut *tables else {
            return Err(ended());
        };
        let refused = |code, error: LogError, hint: &str| {
            Ok(Err(Refusal::new(code, error.to_string(), hint)))
        };
        match cosigned.publish(&mut tables.log, &mut tables.db) {
            Ok(count) => Ok(Ok(count)),
            Err(error @ LogError::Cosignature { .. }) => {
                let hint = "is the witness's key the one in the network file?";
                refused(Code::BadSignature, error, hint)
            }
            Err(error) if error.retryable() => {
                add(&self.stats.log_failures, 1);
                refused(Code::DiskFull, error, "try again with the next checkpoint")
            }
            Err(error) => self.noted(Err(error.into())),
        }
    }

    fn apply(&self, following: &mut Following) -> Result<(), StoreError> {
        self.alive()?;
        let batches = {
            let mut queue = lock(&self.queue);
            queue.bytes = 0;
            std::mem::take(&mut queue.batches)
        };
        let Some(last) = batches.back().map(|batch| batch.number) else {
            return Ok(());
        };
        let begun = Instant::now();
        let done = following.tables.apply(Vec::from(batches));
        self.noted(done)?;
        self.applied.store(last, Ordering::Release);
        add(&self.stats.applies, 1);
        add(&self.stats.apply_us, micros(begun));
        // What is new in the log is integrated in time.
        self.chores_ms
            .fetch_min(following.integrate_ms, Ordering::Relaxed);
        Ok(())
    }

    fn chores(&self, following: &mut Following, now_ms: u64) -> Result<(), StoreError> {
        if following.tables.log.is_behind() && now_ms >= following.integrate_ms {
            self.integrate(following, now_ms)?;
        }
        if now_ms >= following.prune_ms {
            let keep = following.keep;
            let more = following.tables.prune(&Horizon {
                tasks_ms: now_ms.saturating_sub(keep.tasks_ms),
                blobs_ms: now_ms.saturating_sub(keep.blobs_ms),
                requests_ms: now_ms.saturating_sub(keep.requests_ms),
            })?;
            following.prune_ms = now_ms.saturating_add(if more { 1 } else { PRUNE_MS });
        }
        let next_ms = match following.tables.log.is_behind() {
            true => following.integrate_ms.min(following.prune_ms),
            false => following.prune_ms,
        };
        self.chores_ms.store(next_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Writes tiles and a checkpoint of what waits. What cannot be written now, as on a full disk,
    /// waits on in the database.
    fn integrate(&self, following: &mut Following, now_ms: u64) -> Result<(), StoreError> {
        let Tables { db, log } = &mut following.tables;
        following.integrate_ms = now_ms.saturating_add(INTEGRATE_MS);
        match log.integrate(db, now_ms) {
            Ok(Some(done)) => {
                if done.more {
                    following.integrate_ms = now_ms;
                }
                self.stats.log_signed.store(done.size, Ordering::Relaxed);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if error.retryable() => {
                tracing::warn!(%error, "the log's files cannot be written now");
                add(&self.stats.log_failures, 1);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Notes why it has failed: nothing is done any more then.
    fn noted<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &done {
            lock(&self.failed).get_or_insert_with(|| error.into());
        }
        done
    }
}

/// What was acknowledged is not in the tables, and they are closed.
fn ended() -> StoreError {
    let what =
        "the coordinator has ended; hint: what was acknowledged is there after its next start";
    StoreError::Behind(Stopped {
        code: Code::Internal,
        why: what.to_owned(),
    })
}

/// Closes the follower when the engine ends, however that is.
pub(crate) struct Closing(pub Arc<Follower>);

impl Deref for Closing {
    type Target = Arc<Follower>;

    fn deref(&self) -> &Arc<Follower> {
        &self.0
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
