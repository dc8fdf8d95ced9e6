//! One run in a slot, up to the journal.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::status::Status;
use adit_protocol::task::Requirements;
use adit_runtime::state::Events;
use adit_runtime::store::StoreError;
use adit_runtime::worker::messages::Mode;
use adit_runtime::worker::supervisor::{Ran, SupervisorError, Task};
use tokio::time::Instant;

use super::{Session, Shared};
use crate::cache::Pins;
use crate::check::Order;
use crate::held::{Cancel, Stage};
use crate::outcome::{self, without_guest};
use crate::scheduler::Queued;

/// A run that has all it needs.
pub(crate) struct Job {
    pub session: Arc<Session>,
    pub order: Arc<Order>,
    pub cancel: Cancel,
    pub pins: Pins,
    /// Manifests of its models by name, encoded.
    pub manifests: BTreeMap<String, Vec<u8>>,
}

impl Queued for Job {
    fn id(&self) -> Hash {
        self.order.id
    }

    fn requirements(&self) -> &Requirements {
        &self.order.task.requirements
    }
}

/// The loop of a slot: takes runs for its device until the scheduler is closed.
pub(crate) fn slot(shared: &Shared, device: usize) {
    while let Some(job) = shared.scheduler.take(device) {
        if let Some(run) = InSlot::begin(job, device) {
            run.run();
        }
        shared.scheduler.freed(device);
    }
}

/// Passes on what a guest reports, and tells it to end.
struct Watch<'a> {
    session: &'a Session,
    assignment: Hash,
    cancel: &'a Cancel,
}

impl Events for Watch<'_> {
    fn progress(&mut self, done: u64, total: u64, note: &str) {
        self.session
            .progress
            .progress(self.assignment, done, total, note);
    }

    fn output(&mut self, chunk: &[u8]) {
        self.session.progress.chunk(self.assignment, chunk);
    }

    fn log(&mut self, _: &[u8]) {}

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

/// A run in a slot.
pub(crate) struct InSlot {
    session: Arc<Session>,
    order: Arc<Order>,
    cancel: Cancel,
    /// Until its receipt is made: what that still needs is pinned for it by then.
    _pins: Pins,
    task: Task,
    device: usize,
    start_ms: u64,
    begun: Instant,
}

impl InSlot {
    /// Begins a run, unless it has ended, or nobody would take its result any more.
    pub fn begin(job: Job, device: usize) -> Option<InSlot> {
        let Job {
            session,
            order,
            cancel,
            pins,
            manifests,
        } = job;
        let start_ms = session.now_ms();
        let left_ms = order.assignment.deadline_ms.saturating_sub(start_ms);
        session.held.find(&order.id)?;
        if left_ms == 0 {
            session.shared.metrics.refused("expired-here");
            session.over(&[order.id]);
            return None;
        }
        let begun = Instant::now();
        session.held.stage(&order.id, Stage::Running(begun));
        let task = Task {
            spec: order.exec.clone(),
            input: order.input.clone(),
            manifests,
            deadline: Duration::from_millis(order.task.deadline_ms.min(left_ms)),
            mode: Mode::Live,
        };
        Some(InSlot {
            session,
            order,
            cancel,
            _pins: pins,
            task,
            device,
            start_ms,
            begun,
        })
    }

    /// Whether it is told to end.
    pub fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Has it executed, and its receipt made.
    pub fn run(self) {
        let session = &self.session;
        let _span = tracing::info_span!(
            "run",
            assignment = %self.order.id,
            task = %self.order.assignment.task,
            coordinator = session.name(),
            device = self.device,
            trace_id = %self.order.trace.trace_id(),
        )
        .entered();
        let mut watch = Watch {
            session,
            assignment: self.order.id,
            cancel: &self.cancel,
        };
        let executor = &session.shared.executor;
        // A slot that is gone would be missed until the next start.
        let run = || executor.run(self.device, &self.task, &mut watch);
        let result = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            tracing::error!("the executor panicked");
            Err(SupervisorError::Start("the executor panicked".to_owned()))
        });
        if let Err(SupervisorError::Store(StoreError::Corrupt { path, .. })) = &result {
            // The next one fetches it anew.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Ok(hash) = format!("blake3:{name}").parse() {
                session.shared.cache.discard(&hash);
            }
        }
        let ran = outcome::settled(result);
        session.progress.end(&self.order.id);
        session
            .shared
            .metrics
            .ran(ran.status, self.begun.elapsed().as_secs_f64());
        tracing::debug!(status = %ran.status, fuel = ran.fuel, us = ran.duration_us, "ran");
        session.record(&self.order, ran, self.device, self.start_ms);
    }
}

impl Session {
    /// Makes the receipt of a run that never began.
    pub fn decline(self: &Arc<Self>, order: &Order, status: Status, why: String) {
        tracing::info!(assignment = %order.id, %status, why, "the run did not begin");
        self.shared.metrics.ran(status, 0.0);
        let devices = self.shared.scheduler.devices();
        let fits = |device: &crate::executor::Device| {
            crate::scheduler::meets(device, &order.task.requirements)
        };
        let device = devices.iter().position(fits).unwrap_or(0);
        let start_ms = self.now_ms();
        self.record(order, without_guest(status, why), device, start_ms);
    }

    /// Has the receipt made and written down. From there on the hand-in goes on with it.
    fn record(self: &Arc<Self>, order: &Order, ran: Ran, device: usize, start_ms: u64) {
        let shared = &self.shared;
        let devices = shared.scheduler.devices();
        let Some(about) = devices.get(device) else {
            return self.held.release(&order.id);
        };
        let blobs = shared.cache.store();
        let make = |ran| outcome::make(order, ran, about, start_ms, shared.node, blobs);
        let made = make(ran).or_else(|error| {
            tracing::error!(%error, "the result could not be stored");
            let why = format!("the miner's store failed: {}", error.code());
            make(without_guest(Status::HostFault, why))
        });
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                tracing::error!(%error, "no receipt could be made");
                return self.held.release(&order.id);
            }
        };
        self.keep(order.id, &made.stored);
        self.held.stage(&order.id, Stage::Recorded);
        shared.journal.record(made.draft, self.clone());
    }
}
