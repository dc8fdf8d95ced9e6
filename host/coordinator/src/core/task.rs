//! A task that has not ended, with its replicas and leases.

use std::sync::Arc;

use adit_net::trace::TraceContext;
use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::Acceptance;
use adit_protocol::network::entry::Decision;
use adit_protocol::signed::Signed;
use adit_protocol::status::Status;
use adit_protocol::task::TaskSpec;

use super::context::TaskContext;
use super::queue::{ClassKey, Waiting};
use crate::store::{AssignmentRow, ReceiptRow};
use crate::view::{LeaseState, ProgressView, Reason, TaskState};

/// Assignments of one replica that were never given out, after which it is given up: each time the
/// drawn miner fell silent before it asked.
const UNDELIVERED_MAX: u32 = 16;

/// Where one replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplicaState {
    /// It waits for a miner.
    Waiting,
    /// A miner has it.
    Open,
    /// Its result is in the log.
    Done,
    /// It was given up.
    Dead,
}

/// One of the runs of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replica {
    pub state: ReplicaState,
    /// The attempt that comes next.
    pub next: u32,
    /// Attempts that failed.
    pub failed: u32,
    /// Attempts that ended before they were given out.
    pub undelivered: u32,
}

impl Replica {
    pub(super) fn new() -> Replica {
        Replica {
            state: ReplicaState::Waiting,
            next: 0,
            failed: 0,
            undelivered: 0,
        }
    }

    /// Counts the end of an attempt without a result, and lets it wait again or gives it up.
    pub(super) fn failed(&mut self, undelivered: bool, attempts_max: u32, in_time: bool) {
        match undelivered {
            true => self.undelivered += 1,
            false => self.failed += 1,
        }
        let again = self.failed < attempts_max && self.undelivered < UNDELIVERED_MAX && in_time;
        self.state = match again {
            true => ReplicaState::Waiting,
            false => ReplicaState::Dead,
        };
    }
}

/// An assignment of a task, and its receipt once that is in the log.
#[derive(Clone, Debug)]
pub(super) struct TaskLease {
    pub row: AssignmentRow,
    /// Without the guest's stderr.
    pub receipt: Option<ReceiptRow>,
    /// Number of the newest report of progress.
    pub progress: u64,
}

/// What makes two results the same.
///
/// Results of a task under [`adit_protocol::task::Verification::tolerance`] are to be equal within
/// the tolerance of its models. That takes the output tensors and the manifests, which are not
/// here: whoever brings that in gives each receipt the key of its class in place of the output's
/// commitment. Until then the interface refuses such tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ResultKey(Status, Hash);

impl ResultKey {
    pub(super) fn of(receipt: &ReceiptRow) -> ResultKey {
        let body = &receipt.receipt.body;
        ResultKey(body.status, body.output)
    }
}

/// A task that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub id: Hash,
    pub number: u64,
    pub client: Arc<str>,
    pub spec: TaskSpec,
    pub class: ClassKey,
    pub local: bool,
    pub validator: Option<Hash>,
    pub submitted_ms: u64,
    pub expires_ms: u64,
    /// Replicas, once that is decided; without those beyond.
    pub target: Option<u32>,
    pub extra: u32,
    pub trace: Option<TraceContext>,
    pub replicas: Vec<Replica>,
    /// In the order of the log.
    pub leases: Vec<TaskLease>,
    /// What the validator is asked about.
    pub validating: Option<ResultKey>,
    /// When it is asked again.
    pub ask_ms: u64,
    /// How the last attempt failed.
    pub failure: Option<Reason>,
    pub progress: Option<ProgressView>,
    pub context: Option<Arc<TaskContext>>,
    /// What was told last.
    pub told: Option<(TaskState, Option<adit_protocol::Code>)>,
}

impl Task {
    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            task: self.id,
            number: self.number,
            client: Arc::clone(&self.client),
            class: self.class.clone(),
        }
    }

    /// Equal results that make one accepted: where a miner is trusted with the only replica, one.
    pub(super) fn quorum(&self) -> u32 {
        crate::store::read::quorum(&self.spec, self.target)
    }

    /// The first replica that waits for a miner, with its next attempt.
    pub(super) fn first_waiting(&self) -> Option<(u32, u32)> {
        let mut all = (0u32..).zip(&self.replicas);
        all.find(|(_, replica)| replica.state == ReplicaState::Waiting)
            .map(|(at, replica)| (at, replica.next))
    }

    pub(super) fn replica(&mut self, at: u32) -> Option<&mut Replica> {
        self.replicas.get_mut(usize::try_from(at).ok()?)
    }

    pub(super) fn count(&self, state: ReplicaState) -> u32 {
        let count = self.replicas.iter().filter(|r| r.state == state).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Makes it have at least so many replicas.
    pub(super) fn grow(&mut self, replicas: u32) {
        let replicas = usize::try_from(replicas).unwrap_or(usize::MAX);
        while self.replicas.len() < replicas {
            self.replicas.push(Replica::new());
        }
    }

    pub(super) fn lease(&mut self, assignment: &Hash) -> Option<&mut TaskLease> {
        self.leases.iter_mut().find(|l| l.row.hash == *assignment)
    }

    /// The leases that are open, in the order of the log.
    pub(super) fn open(&self) -> impl Iterator<Item = &TaskLease> {
        let all = self.leases.iter();
        all.filter(|lease| lease.row.state == LeaseState::Open)
    }

    /// The receipts that are not judged, in the order of the log.
    pub(super) fn unjudged(&self) -> Vec<&ReceiptRow> {
        let receipts = self.leases.iter().filter_map(|l| l.receipt.as_ref());
        let mut all: Vec<_> = receipts.filter(|r| r.decision.is_none()).collect();
        all.sort_by_key(|r| r.leaf);
        all
    }

    pub(super) fn judge(&mut self, leaf: u64, decision: Decision) {
        for lease in &mut self.leases {
            if let Some(receipt) = lease.receipt.as_mut().filter(|r| r.leaf == leaf) {
                receipt.decision = Some(decision);
            }
        }
    }

    /// The largest group of equal results that are not judged: its key and size; the earliest of
    /// those that are equally large.
    pub(super) fn agreed(&self) -> Option<(ResultKey, u32)> {
        let mut groups: Vec<(ResultKey, u32)> = Vec::new();
        for receipt in self.unjudged() {
            let key = ResultKey::of(receipt);
            match groups.iter_mut().find(|(known, _)| *known == key) {
                Some((_, count)) => *count += 1,
                None => groups.push((key, 1)),
            }
        }
        let mut best: Option<(ResultKey, u32)> = None;
        for group in groups {
            if best.is_none_or(|(_, most)| group.1 > most) {
                best = Some(group);
            }
        }
        best
    }

    pub(super) fn acceptance(&self, assignment: &Hash) -> Option<Signed<Acceptance>> {
        let lease = self.leases.iter().find(|l| l.row.hash == *assignment)?;
        lease.row.acceptance.clone()
    }
}
