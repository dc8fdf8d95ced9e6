//! What a registry tells those who run it, at `/metrics`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use adit_ledger::state::Head;
use adit_net::metrics::{Counter, Gauge, HttpMetrics, Metrics};
use adit_protocol::log::checkpoint::Checkpoint;

type Level = Gauge<u64, AtomicU64>;

/// The figures. Clones share them.
#[derive(Clone, Debug)]
pub struct Figures {
    metrics: Metrics,
    accepted: Counter,
    refused: Counter,
    blocks: Counter,
    block_us: Counter,
    height: Level,
    time_ms: Level,
    epoch: Level,
    settled: Level,
    entries: Level,
    signed: Level,
    /// Streams of events that are open.
    pub watchers: Level,
}

impl Default for Figures {
    fn default() -> Figures {
        let metrics = Metrics::new();
        let counter = |name: &str, help: &str| metrics.register(name, help, Counter::default());
        let level = |name: &str, help: &str| metrics.register(name, help, Level::default());
        Figures {
            accepted: counter("registry_transactions", "Transactions that took effect"),
            refused: counter(
                "registry_transactions_refused",
                "Transactions that were refused after their signature was checked",
            ),
            blocks: counter(
                "registry_batches",
                "Times that transactions waited and were decided on together",
            ),
            block_us: counter(
                "registry_batch_microseconds",
                "Time until those were decided on and durable",
            ),
            height: level("registry_block_height", "Number of the newest block"),
            time_ms: level(
                "registry_block_time_milliseconds",
                "Time of the newest block, since 1970",
            ),
            epoch: level("registry_epoch", "The epoch of the newest block"),
            settled: level(
                "registry_epoch_to_settle",
                "The epoch that comes to be settled next; the one before the current one, if all is well",
            ),
            entries: level(
                "registry_log_entries",
                "Entries of the log that are durable",
            ),
            signed: level(
                "registry_log_checkpoint_entries",
                "Entries of the log that its newest checkpoint covers",
            ),
            watchers: level("registry_event_streams", "Streams of events that are open"),
            metrics,
        }
    }
}

impl Figures {
    /// All of them, to be served.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What the server counts.
    pub fn http(&self) -> HttpMetrics {
        HttpMetrics::new(&self.metrics)
    }

    /// So many transactions waited, and so many of them were refused.
    pub(crate) fn took(&self, asked: usize, refused: usize, time: Duration) {
        if asked == 0 {
            return;
        }
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.accepted.inc_by(count(asked.saturating_sub(refused)));
        self.refused.inc_by(count(refused));
        self.blocks.inc();
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.block_us.inc_by(us);
    }

    /// Where ledger and log stand.
    pub(crate) fn stands(&self, head: &Head, entries: u64, signed: &Checkpoint) {
        self.height.set(head.height);
        self.time_ms.set(head.time_ms);
        self.epoch.set(head.epoch);
        self.settled.set(head.settled);
        self.entries.set(entries);
        self.signed.set(signed.size);
    }
}
