//! What guests report while they run, collected for a moment and sent together.
//!
//! It is worth something only while the task runs: the result has all of it. So what cannot be sent
//! in time is dropped, and of a run that emits faster than it can be sent the client sees the
//! beginning, and the rest with the result.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::network::exchange::{BATCH_MAX, CHUNK_BYTES_MAX, Progress, ProgressReport};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::text::cut;

/// How long reports are collected; also, runs that end sooner report nothing.
pub const COLLECT: Duration = Duration::from_millis(100);
/// Most bytes of chunks of one run that wait.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of chunks of one report: that many fit into a message.
const REPORT_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 4096;

struct Run {
    since: Instant,
    number: u64,
    latest: Option<(u64, u64, String)>,
    /// The last that was sent, for reports that tell of a chunk only.
    sent: (u64, u64, String),
    chunks: VecDeque<Vec<u8>>,
    waiting: usize,
    /// A chunk was dropped, so that no later one may be sent.
    cut: bool,
}

impl Run {
    fn has_news(&self) -> bool {
        self.latest.is_some() || !self.chunks.is_empty()
    }
}

/// The reports of all runs of a coordinator.
#[derive(Default)]
pub struct ProgressBuffer {
    runs: Mutex<HashMap<Hash, Run>>,
    news: Notify,
}

impl ProgressBuffer {
    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, assignment: Hash, change: impl FnOnce(&mut Run)) {
        let mut runs = self.lock();
        let run = runs.entry(assignment).or_insert_with(|| Run {
            since: Instant::now(),
            number: 0,
            latest: None,
            sent: (0, 0, String::new()),
            chunks: VecDeque::new(),
            waiting: 0,
            cut: false,
        });
        change(run);
        drop(runs);
        self.news.notify_one();
    }

    /// A guest reported how far it is.
    pub fn progress(&self, assignment: Hash, done: u64, total: u64, note: &str) {
        let note = cut(note, NOTE_BYTES_MAX).to_owned();
        self.with(assignment, |run| run.latest = Some((done, total, note)));
    }

    /// A guest emitted a chunk.
    pub fn chunk(&self, assignment: Hash, bytes: &[u8]) {
        self.with(assignment, |run| {
            if run.cut || run.waiting.saturating_add(bytes.len()) > WAITING_BYTES_MAX {
                run.cut = true;
                return;
            }
            run.waiting += bytes.len();
            let parts = bytes.chunks(CHUNK_BYTES_MAX);
            run.chunks.extend(parts.map(<[u8]>::to_vec));
        });
    }

    /// A run has ended: what was not sent is in its result.
    pub fn end(&self, assignment: &Hash) {
        self.lock().remove(assignment);
    }

    /// Waits until there is something to report.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// What there is to report of runs that are older than [`COLLECT`], in messages that are within
    /// their bounds; and whether younger runs have something.
    pub fn take(&self) -> (Vec<ProgressReport>, bool) {
        let mut reports = Vec::new();
        let mut report = ProgressReport {
            reports: Vec::new(),
        };
        let mut bytes = 0usize;
        let mut younger = false;
        let mut runs = self.lock();
        for (assignment, run) in runs.iter_mut() {
            if !run.has_news() {
                continue;
            }
            if run.since.elapsed() < COLLECT {
                younger = true;
                continue;
            }
            let (done, total, note) = run.latest.take().unwrap_or_else(|| run.sent.clone());
            run.sent = (done, total, note.clone());
            let mut chunks: Vec<Option<Vec<u8>>> = run.chunks.drain(..).map(Some).collect();
            run.waiting = 0;
            if chunks.is_empty() {
                chunks.push(None);
            }
            for chunk in chunks {
                run.number = run.number.saturating_add(1);
                let len = chunk.as_ref().map_or(0, Vec::len) + note.len() + 128;
                if report.reports.len() >= BATCH_MAX || bytes.saturating_add(len) > REPORT_BYTES_MAX
                {
                    reports.push(std::mem::replace(
                        &mut report,
                        ProgressReport {
                            reports: Vec::new(),
                        },
                    ));
                    bytes = 0;
                }
                bytes += len;
                report.reports.push(Progress {
                    assignment: *assignment,
                    number: run.number,
                    done,
                    total,
                    note: note.clone(),
                    chunk: chunk.map(Into::into),
                });
            }
        }
        if !report.reports.is_empty() {
            reports.push(report);
        }
        (reports, younger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_protocol::cbor::Document as _;

    #[test]
    fn reports_are_collected_numbered_and_bounded() {
        let buffer = ProgressBuffer::default();
        let run = Hash::of(b"run");
        buffer.progress(run, 1, 10, "a");
        buffer.progress(run, 2, 10, &"n".repeat(9000));
        assert_eq!(buffer.take(), (Vec::new(), true));
        std::thread::sleep(COLLECT);
        buffer.chunk(run, &vec![7; CHUNK_BYTES_MAX + 1]);
        let (reports, younger) = buffer.take();
        assert!(!younger);
        let all: Vec<&Progress> = reports.iter().flat_map(|r| &r.reports).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].number, all[1].number, all[1].done), (1, 2, 2));
        assert_eq!(all[0].note.len(), NOTE_BYTES_MAX);
        assert_eq!(buffer.take(), (Vec::new(), false));

        // What cannot be sent is cut off, and nothing comes after the gap.
        for _ in 0..40 {
            buffer.chunk(run, &vec![1; 1 << 20]);
        }
        buffer.chunk(run, b"late");
        let (reports, _) = buffer.take();
        let mut sent = 0;
        for report in &reports {
            let encoded = report.to_cbor();
            assert_eq!(ProgressReport::from_cbor(&encoded).as_ref(), Ok(report));
            let chunks = report.reports.iter().filter_map(|r| r.chunk.as_ref());
            sent += chunks.map(|chunk| chunk.len()).sum::<usize>();
        }
        assert_eq!(sent, 4 << 20);
        buffer.chunk(run, b"later");
        assert!(buffer.take().0.is_empty());
        buffer.end(&run);
        assert!(buffer.lock().is_empty());
    }
}
