//! Checks of what a coordinator sends, before any of it is believed: who signed it, for whom it is,
//! and whether it can be.

use std::sync::Arc;

use adit_net::trace::TraceContext;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::ExecSpec;
use adit_protocol::keys::PublicKey;
use adit_protocol::network::assignment::{ActiveUntil, Assignment, Terms};
use adit_protocol::network::exchange::Work;
use adit_protocol::network::genesis::network_id;
use adit_protocol::rand_core::{CryptoRng, RngCore};
use adit_protocol::signed::{Signed, SignedError, verify_all};
use adit_protocol::task::TaskSpec;
use adit_protocol::{DecodeError, Hash};

use crate::journal::NodeKey;

/// Longest time that a lease or an active-until may reach ahead: 31 days.
const AHEAD_MS_MAX: u64 = 31 * 24 * 3600 * 1000;
/// Longest input that is held in memory until it is used, in bytes: times the assignments that are
/// held at most, 64 MiB.
const INPUT_BYTES_HELD: usize = 16 * 1024;
/// How much the clocks of a miner and a coordinator may differ.
pub const SKEW_MS: u64 = 60_000;

/// Whom a miner takes work from, and what of it it can run.
#[derive(Clone, Copy, Debug)]
pub struct Authority {
    /// Hash of the network's genesis document.
    pub genesis: Hash,
    /// Node key of the coordinator, by the membership.
    pub coordinator: NodeKey,
    /// Node key of this miner.
    pub miner: NodeKey,
    /// Engine id of this miner.
    pub engine: Hash,
    /// Whether the network has a ledger, so that assignments say what they pay.
    pub paid: bool,
}

/// A work item that was checked: it is the coordinator's, for this miner, and fits together.
#[derive(Clone, Debug)]
pub struct Order {
    /// Hash of the assignment.
    pub id: Hash,
    /// The assignment.
    pub assignment: Assignment,
    /// The same as the coordinator signed it.
    pub lease: Signed<Assignment>,
    /// The task.
    pub task: TaskSpec,
    /// What is to be run.
    pub exec: ExecSpec,
    /// Network id, for the receipt.
    pub network: [u8; 4],
    /// The bytes of its input, if they came along and are short: they are used once, and a file
    /// for them would cost more than the run of a small component.
    pub input: Option<Arc<[u8]>>,
    /// The step of a trace that it belongs to, for the logs and the coordinator.
    pub trace: TraceContext,
}

/// Why something that a coordinator sent is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// It is not signed by the coordinator.
    #[error("it is not signed by the coordinator's node key: {0}")]
    Signature(#[from] SignedError),
    /// It names another network.
    #[error("it is of the network {0}")]
    OtherNetwork(Hash),
    /// It names another coordinator.
    #[error("it is of the coordinator {0}")]
    OtherCoordinator(String),
    /// It is meant for another miner.
    #[error("it is for the miner {0}")]
    OtherMiner(String),
    /// The lease has ended.
    #[error("the lease ended {ago_ms} ms ago")]
    Expired {
        /// How long ago, by this machine's clock.
        ago_ms: u64,
    },
    /// Its times cannot be.
    #[error("its times cannot be: {0}; hint: is the clock of this machine right?")]
    Times(&'static str),
    /// A spec that came with it is malformed.
    #[error("{0}")]
    Malformed(#[from] DecodeError),
    /// The task spec is not the one of the assignment.
    #[error("the task spec hashes to {found}, the assignment is of the task {expected}")]
    OtherTask {
        /// In the assignment.
        expected: Hash,
        /// Hash of what came.
        found: Hash,
    },
    /// The exec spec is not the one of the task.
    #[error("the exec spec hashes to {found}, the task has {expected}")]
    OtherExec {
        /// In the task spec.
        expected: Hash,
        /// Hash of what came.
        found: Hash,
    },
    /// It is for another engine.
    #[error("it is for the engine {wanted}, this program has {own}")]
    OtherEngine {
        /// In the exec spec.
        wanted: Hash,
        /// This program's.
        own: Hash,
    },
    /// The assignment does not say what its task pays.
    #[error(
        "the assignment does not say of pay what its task says, and the miner would not get it"
    )]
    Terms,
    /// No device of this miner meets the requirements.
    #[error("no device of this miner meets its requirements")]
    NoDevice,
    /// More was sent than was asked for.
    #[error("more was sent than this miner has room for")]
    TooMany,
    /// The coordinator's signature on a receipt does not fit.
    #[error("the coordinator's signature on a receipt does not fit")]
    Countersignature,
    /// The answer contradicts itself or the request.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl Distrust {
    /// A short name, for metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Distrust::Signature(_) => "signature",
            Distrust::OtherNetwork(_) => "other-network",
            Distrust::OtherCoordinator(_) => "other-coordinator",
            Distrust::OtherMiner(_) => "other-miner",
            Distrust::Expired { .. } => "expired",
            Distrust::Times(_) => "times",
            Distrust::Malformed(_) => "malformed",
            Distrust::OtherTask { .. } => "other-task",
            Distrust::OtherExec { .. } => "other-exec",
            Distrust::OtherEngine { .. } => "other-engine",
            Distrust::Terms => "terms",
            Distrust::NoDevice => "no-device",
            Distrust::TooMany => "too-many",
            Distrust::Countersignature => "countersignature",
            Distrust::Contradiction(_) => "contradiction",
        }
    }
}

/// The input, if it came along, and is nothing that other runs may need as well.
fn input(work: &Work, exec: &ExecSpec) -> Option<Arc<[u8]>> {
    let alone = exec.input != exec.component && !exec.models.values().any(|m| *m == exec.input);
    let short = work.blobs.iter().filter(|b| b.len() <= INPUT_BYTES_HELD);
    let found = short.filter(|_| alone).find(|b| Hash::of(b) == exec.input);
    found.map(|bytes| bytes.as_slice().into())
}

impl Authority {
    /// The coordinator's word until when this miner is active.
    ///
    /// # Errors
    /// [`Distrust`].
    pub fn active(
        &self,
        signed: &Signed<ActiveUntil>,
        now_ms: u64,
    ) -> Result<ActiveUntil, Distrust> {
        let active = signed.verify(|_| self.coordinator)?;
        self.parties(&active.genesis, &active.coordinator, &active.miner)?;
        if active.until_ms < active.at_ms {
            return Err(Distrust::Times("it ends before it was said"));
        }
        if active.at_ms > now_ms.saturating_add(SKEW_MS) {
            return Err(Distrust::Times("it was said in the future"));
        }
        if active.until_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
            return Err(Distrust::Times("it reaches more than 31 days ahead"));
        }
        Ok(active)
    }

    /// Work items, each with what is wrong with it. Signatures are checked together; `rng` must be
    /// unpredictable to the coordinator.
    pub fn orders(
        &self,
        work: &[Work],
        now_ms: u64,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Vec<Result<Order, Distrust>> {
        // What costs least comes first: a signature takes 50 us.
        let claimed: Vec<_> = work.iter().map(|item| self.claimed(item, now_ms)).collect();
        let to_check: Vec<&Signed<Assignment>> = work
            .iter()
            .zip(&claimed)
            .filter_map(|(item, claimed)| claimed.as_ref().ok().map(|_| &item.assignment))
            .collect();
        let signed = match PublicKey::from_bytes(&self.coordinator) {
            Ok(key) => verify_all(&to_check, &key, rng),
            Err(_) => vec![false; to_check.len()],
        };
        let mut signed = signed.into_iter();
        let mut order = |(item, claimed): (&Work, Result<Assignment, Distrust>)| {
            let assignment = claimed?;
            match signed.next() {
                Some(true) => self.order(item, assignment),
                _ => Err(Distrust::Signature(SignedError::Signature {
                    document: Assignment::NAME,
                })),
            }
        };
        work.iter().zip(claimed).map(&mut order).collect()
    }

    /// The assignment of a work item, whose signature is not checked.
    fn claimed(&self, work: &Work, now_ms: u64) -> Result<Assignment, Distrust> {
        let claimed = work.assignment.unverified()?;
        self.parties(&claimed.genesis, &claimed.coordinator, &claimed.miner)?;
        let found = Hash::of(&work.task);
        if found != claimed.task {
            let expected = claimed.task;
            return Err(Distrust::OtherTask { expected, found });
        }
        if claimed.issued_ms > now_ms.saturating_add(SKEW_MS) {
            return Err(Distrust::Times("the assignment was made in the future"));
        }
        if claimed.deadline_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
            return Err(Distrust::Times("the lease reaches more than 31 days ahead"));
        }
        if claimed.deadline_ms <= now_ms {
            let ago_ms = now_ms.saturating_sub(claimed.deadline_ms);
            return Err(Distrust::Expired { ago_ms });
        }
        Ok(claimed)
    }

    /// What a work item with this assignment, whose signature was checked, is about.
    fn order(&self, work: &Work, assignment: Assignment) -> Result<Order, Distrust> {
        let task = TaskSpec::from_cbor(&work.task)?;
        if task.genesis != self.genesis {
            return Err(Distrust::OtherNetwork(task.genesis));
        }
        if task.coordinator != self.coordinator {
            return Err(Distrust::OtherCoordinator(crate::text::hex(
                &task.coordinator,
            )));
        }
        if assignment.terms != self.paid.then(|| Terms::of(&task)) {
            return Err(Distrust::Terms);
        }
        let found = Hash::of(&work.exec);
        if found != task.exec {
            let expected = task.exec;
            return Err(Distrust::OtherExec { expected, found });
        }
        let exec = ExecSpec::from_cbor(&work.exec)?;
        if exec.engine != self.engine {
            return Err(Distrust::OtherEngine {
                wanted: exec.engine,
                own: self.engine,
            });
        }
        Ok(Order {
            id: work.assignment.body_hash(),
            network: network_id(&self.genesis),
            trace: TraceContext::continued(work.traceparent.as_deref()),
            input: input(work, &exec),
            lease: work.assignment.clone(),
            assignment,
            task,
            exec,
        })
    }

    fn parties(
        &self,
        genesis: &Hash,
        coordinator: &NodeKey,
        miner: &NodeKey,
    ) -> Result<(), Distrust> {
        if *genesis != self.genesis {
            return Err(Distrust::OtherNetwork(*genesis));
        }
        if *coordinator != self.coordinator {
            return Err(Distrust::OtherCoordinator(crate::text::hex(coordinator)));
        }
        if *miner != self.miner {
            return Err(Distrust::OtherMiner(crate::text::hex(miner)));
        }
        Ok(())
    }
}
