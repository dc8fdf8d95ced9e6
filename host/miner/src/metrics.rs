//! Counters and gauges, in the OpenMetrics text format.

use adit_protocol::status::Status;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// One label, whose values are all from this program.
type Label = [(&'static str, &'static str); 1];

/// The metrics of a miner.
#[derive(Clone)]
pub struct Metrics {
    all: adit_net::metrics::Metrics,
    received: Counter,
    refused: Family<Label, Counter>,
    runs: Family<Label, Counter>,
    run_seconds: Histogram,
    receipts: Family<Label, Counter>,
    hand_in_size: Histogram,
    errors: Family<Label, Counter>,
    fetched: Counter,
    held: Gauge,
    cache_bytes: Gauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let all = adit_net::metrics::Metrics::new();
        // From 100 us on, each bound four times the one before: up to half an hour.
        let seconds = Histogram::new((0..13).map(|n| 1e-4 * 4f64.powi(n)));
        let sizes = Histogram::new((0..9).map(|n| 2f64.powi(n)));
        Metrics {
            received: all.register(
                "miner_assignments",
                "Assignments taken in",
                Counter::default(),
            ),
            refused: all.register(
                "miner_refused_work",
                "What coordinators sent and was not taken, by reason",
                Family::default(),
            ),
            runs: all.register(
                "miner_runs",
                "Runs that ended, by status",
                Family::default(),
            ),
            run_seconds: all.register(
                "miner_run_seconds",
                "Time from the start of a run to its end",
                seconds,
            ),
            receipts: all.register(
                "miner_receipts",
                "Receipts that were answered, by answer",
                Family::default(),
            ),
            hand_in_size: all.register("miner_hand_in_size", "Receipts in one request", sizes),
            errors: all.register(
                "miner_request_errors",
                "Requests to coordinators that failed, by code",
                Family::default(),
            ),
            fetched: all.register(
                "miner_fetched_blobs",
                "Blobs that were fetched",
                Counter::default(),
            ),
            held: all.register("miner_held", "Assignments that are held", Gauge::default()),
            cache_bytes: all.register(
                "miner_cache_bytes",
                "Bytes of blobs on disk",
                Gauge::default(),
            ),
            all,
        }
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
        self.fetched.inc();
    }

    /// Sets the gauges.
    pub fn measure(&self, held: u64, cache_bytes: u64) {
        let of = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.held.set(of(held));
        self.cache_bytes.set(of(cache_bytes));
    }

    /// All of them, to be served.
    pub fn all(&self) -> &adit_net::metrics::Metrics {
        &self.all
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
        metrics.measure(3, 4096);
        let text = metrics.all().encode().unwrap();
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
