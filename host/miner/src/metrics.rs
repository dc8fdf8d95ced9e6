//! Counters and gauges, in the OpenMetrics text format.

use std::sync::Arc;

use adit_protocol::status::Status;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// One label, whose values are all from this program.
type Label = [(&'static str, &'static str); 1];

/// The metrics of a miner.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    received: Counter,
    refused: Family<Label, Counter>,
    runs: Family<Label, Counter>,
    run_seconds: Histogram,
    receipts: Family<Label, Counter>,
    hand_in_size: Histogram,
    errors: Family<Label, Counter>,
    fetched_bytes: Counter,
    held: Gauge,
    cache_bytes: Gauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("adit_miner");
        let mut metrics = Metrics {
            registry: Arc::default(),
            received: Counter::default(),
            refused: Family::default(),
            runs: Family::default(),
            // From 100 us on, each bound four times the one before: up to half an hour.
            run_seconds: Histogram::new((0..13).map(|n| 1e-4 * 4f64.powi(n))),
            receipts: Family::default(),
            hand_in_size: Histogram::new((0..9).map(|n| 2f64.powi(n))),
            errors: Family::default(),
            fetched_bytes: Counter::default(),
            held: Gauge::default(),
            cache_bytes: Gauge::default(),
        };
        registry.register(
            "assignments",
            "Assignments taken in",
            metrics.received.clone(),
        );
        registry.register(
            "refused_work",
            "What coordinators sent and was not taken, by reason",
            metrics.refused.clone(),
        );
        registry.register("runs", "Runs that ended, by status", metrics.runs.clone());
        registry.register(
            "run_seconds",
            "Time from the start of a run to its end",
            metrics.run_seconds.clone(),
        );
        registry.register(
            "receipts",
            "Receipts that were answered, by answer",
            metrics.receipts.clone(),
        );
        registry.register(
            "hand_in_size",
            "Receipts in one request",
            metrics.hand_in_size.clone(),
        );
        registry.register(
            "request_errors",
            "Requests to coordinators that failed, by code",
            metrics.errors.clone(),
        );
        registry.register(
            "fetched_blobs",
            "Blobs that were fetched",
            metrics.fetched_bytes.clone(),
        );
        registry.register("held", "Assignments that are held", metrics.held.clone());
        registry.register(
            "cache_bytes",
            "Bytes of blobs on disk",
            metrics.cache_bytes.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// An assignment was taken in.
    pub fn taken(&self) {
        self.received.inc();
    }

    /// Something was not taken, for this reason.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// A run ended.
    pub fn ran(&self, status: Status, seconds: f64) {
        self.runs.get_or_create(&[("status", status.name())]).inc();
        self.run_seconds.observe(seconds);
    }

    /// A receipt was answered: `acknowledged` or `refused`.
    pub fn answered(&self, answer: &'static str) {
        self.receipts.get_or_create(&[("answer", answer)]).inc();
    }

    /// So many receipts went out in one request.
    pub fn handed_in(&self, receipts: usize) {
        self.hand_in_size.observe(receipts as f64);
    }

    /// A request failed.
    pub fn failed(&self, code: adit_protocol::Code) {
        self.errors.get_or_create(&[("code", code.as_str())]).inc();
    }

    /// A blob was fetched.
    pub fn fetched(&self) {
        self.fetched_bytes.inc();
    }

    /// The text, with gauges as they are now.
    pub fn text(&self, held: u64, cache_bytes: u64) -> String {
        self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.cache_bytes
            .set(i64::try_from(cache_bytes).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_what_was_counted() {
        let metrics = Metrics::default();
        metrics.taken();
        metrics.refused("signature");
        metrics.ran(Status::Ok, 0.01);
        metrics.failed(adit_protocol::Code::Internal);
        let text = metrics.text(3, 4096);
        for line in [
            "adit_miner_assignments_total 1",
            "adit_miner_refused_work_total{reason=\"signature\"} 1",
            "adit_miner_runs_total{status=\"ok\"} 1",
            "adit_miner_request_errors_total{code=\"internal\"} 1",
            "adit_miner_held 3",
            "adit_miner_cache_bytes 4096",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
