//! Cheating on the way to the coordinator, and ways that lose what goes along them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_miner::transport::{ApiError, ApiFuture, BlobSink, CoordinatorApi, Upload};
use adit_net::Clock;
use adit_protocol::keys::Keypair;
use adit_protocol::network::exchange::{
    Echo, HandIn, HandInAnswer, HandInItem, Hello, Poll, PollAnswer, ProgressReport, Welcome,
};
use adit_protocol::receipt::Receipt;
use adit_protocol::{Hash, Hasher};
use futures_util::FutureExt as _;
use rand_core::OsRng;

use super::{CERTAIN, Fault};

/// How long after the end of its lease a late miner answers.
const TOO_LATE: Duration = Duration::from_millis(500);
/// Deadlines that are remembered.
const DEADLINES_MAX: usize = 10_000;

/// Decides which requests and answers are lost: the same for the same seed, miner and number.
#[derive(Debug)]
pub struct Losses {
    seed: u64,
    miner: u32,
    ppm: u32,
    count: AtomicU64,
}

impl Losses {
    /// Losses of one miner.
    pub fn new(seed: u64, miner: u32, ppm: u32) -> Losses {
        Losses {
            seed,
            miner,
            ppm,
            count: AtomicU64::new(0),
        }
    }

    fn happens(&self) -> bool {
        if self.ppm == 0 {
            return false;
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut hasher = Hasher::new();
        hasher
            .update(&self.seed.to_le_bytes())
            .update(&self.miner.to_le_bytes())
            .update(&count.to_le_bytes());
        let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
        u32::from_le_bytes([a, b, c, d]) % CERTAIN < self.ppm
    }

    /// An error if what is on its way now is lost.
    fn pass(&self, what: &str) -> Result<(), ApiError> {
        match self.happens() {
            true => Err(ApiError::Unreachable(format!("{what} was lost on purpose"))),
            false => Ok(()),
        }
    }
}

/// A coordinator as a cheating miner talks to it, or over a connection that loses things.
pub struct FaultyApi {
    inner: Arc<dyn CoordinatorApi>,
    fault: Option<Fault>,
    losses: Losses,
    key: Keypair,
    clock: Arc<dyn Clock>,
    /// When the lease of each assignment ends, in milliseconds since 1970.
    deadlines: Mutex<HashMap<Hash, u64>>,
}

impl FaultyApi {
    /// Wraps a connection. `key` is the miner's.
    pub fn new(
        inner: Arc<dyn CoordinatorApi>,
        fault: Option<Fault>,
        losses: Losses,
        key: Keypair,
        clock: Arc<dyn Clock>,
    ) -> FaultyApi {
        FaultyApi {
            inner,
            fault,
            losses,
            key,
            clock,
            deadlines: Mutex::default(),
        }
    }

    /// A request whose way there and back may lose it.
    fn lossy<'a, T: Send + 'a>(&'a self, call: ApiFuture<'a, T>) -> ApiFuture<'a, T> {
        async move {
            self.losses.pass("the request")?;
            let answer = call.await?;
            self.losses.pass("the answer")?;
            Ok(answer)
        }
        .boxed()
    }

    fn remember(&self, answer: &PollAnswer) {
        let mut deadlines = self.deadlines();
        if deadlines.len() > DEADLINES_MAX {
            deadlines.clear();
        }
        for work in &answer.work {
            if let Ok(assignment) = work.assignment.unverified() {
                deadlines.insert(work.assignment.body_hash(), assignment.deadline_ms);
            }
        }
    }

    fn deadlines(&self) -> std::sync::MutexGuard<'_, HashMap<Hash, u64>> {
        self.deadlines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Time until all leases of these receipts have ended, and a little more.
    fn until_too_late(&self, receipts: &HandIn) -> Duration {
        let deadlines = self.deadlines();
        let last = receipts
            .items
            .iter()
            .filter_map(|item| Receipt::from_bytes(&item.receipt).ok())
            .filter_map(|receipt| deadlines.get(&receipt.body.assignment).copied())
            .max();
        let left = last.map_or(0, |last| last.saturating_sub(self.clock.now_ms()));
        Duration::from_millis(left).saturating_add(TOO_LATE)
    }

    /// Hands in, for each receipt that was taken, another one with the same number.
    async fn equivocate(&self, receipts: &HandIn, answer: &HandInAnswer) {
        let taken = receipts.items.iter().zip(&answer.results);
        let items: Vec<HandInItem> = taken
            .filter(|(_, result)| result.leaf.is_some())
            .filter_map(|(item, _)| self.other(item))
            .collect();
        if items.is_empty() {
            return;
        }
        let again = HandIn { items };
        match self.inner.hand_in(&again).await {
            Ok(answer) => {
                for result in answer.results {
                    tracing::info!(refused = ?result.refused, leaf = ?result.leaf, "signed a second receipt for one number");
                }
            }
            Err(error) => tracing::info!(%error, "a second receipt for one number did not arrive"),
        }
    }

    /// The same run, said to have taken a moment longer.
    fn other(&self, item: &HandInItem) -> Option<HandInItem> {
        let mut body = Receipt::from_bytes(&item.receipt).ok()?.body;
        body.duration_us = body.duration_us.saturating_add(1);
        Some(HandInItem {
            receipt: body.sign(&self.key, &mut OsRng).to_bytes().to_vec(),
            ..item.clone()
        })
    }
}

impl CoordinatorApi for FaultyApi {
    fn hello<'a>(&'a self, hello: &'a Hello) -> ApiFuture<'a, Welcome> {
        self.lossy(self.inner.hello(hello))
    }

    fn echo<'a>(&'a self, echo: &'a Echo) -> ApiFuture<'a, ()> {
        self.lossy(self.inner.echo(echo))
    }

    fn poll<'a>(&'a self, poll: &'a Poll) -> ApiFuture<'a, PollAnswer> {
        async move {
            let answer = self.lossy(self.inner.poll(poll)).await?;
            if self.fault == Some(Fault::Late) {
                self.remember(&answer);
            }
            Ok(answer)
        }
        .boxed()
    }

    fn progress<'a>(&'a self, report: &'a ProgressReport) -> ApiFuture<'a, ()> {
        match self.fault {
            Some(Fault::Silent) => async { Ok(()) }.boxed(),
            _ => self.lossy(self.inner.progress(report)),
        }
    }

    fn hand_in<'a>(&'a self, receipts: &'a HandIn) -> ApiFuture<'a, HandInAnswer> {
        async move {
            match self.fault {
                // Until the session ends, which drops this.
                Some(Fault::Silent) => std::future::pending().await,
                Some(Fault::Late) => {
                    tokio::time::sleep(self.until_too_late(receipts)).await;
                }
                _ => {}
            }
            let answer = self.lossy(self.inner.hand_in(receipts)).await?;
            if self.fault == Some(Fault::Equivocate) {
                self.equivocate(receipts, &answer).await;
            }
            Ok(answer)
        }
        .boxed()
    }

    fn fetch_blob<'a>(
        &'a self,
        hash: &'a Hash,
        max: u64,
        sink: &'a mut dyn BlobSink,
    ) -> ApiFuture<'a, ()> {
        self.lossy(self.inner.fetch_blob(hash, max, sink))
    }

    fn put_blob<'a>(&'a self, hash: &'a Hash, blob: Upload) -> ApiFuture<'a, ()> {
        self.lossy(self.inner.put_blob(hash, blob))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_follow_from_the_seed_and_are_as_many_as_were_asked_for() {
        let lost = |seed| {
            let losses = Losses::new(seed, 3, 100_000);
            (0..10_000).map(|_| losses.happens()).collect::<Vec<_>>()
        };
        assert_eq!(lost(1), lost(1));
        assert_ne!(lost(1), lost(2));
        let count = lost(1).iter().filter(|lost| **lost).count();
        assert!((850..1_150).contains(&count), "{count}");
        assert!(!Losses::new(1, 1, 0).happens());
    }
}
