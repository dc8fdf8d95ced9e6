//! What is shown of tasks and miners, and why something waits.

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::draw::meets;
use adit_protocol::network::roster::{Candidate, PPM};
use adit_protocol::network::standing::{Eligibility, Nobody};
use adit_protocol::task::{DeviceClass, Requirements};

use super::explain::{draw_views, with_chances};
use super::task::{ReplicaState, Task};
use super::{Core, CoreError, Io, Output};
use crate::store::read::{assignment_view, result_view};
use crate::store::{StoreError, TaskEnd};
use crate::view::{
    CandidateView, ExplainView, MinerView, NodeKey, Page, Reason, TaskEvent, TaskState, TaskView,
};

/// Candidates that an explanation lists.
const LISTED: usize = 256;

impl Core {
    /// A live task as it is.
    pub fn task(&self, now_ms: u64, id: &Hash) -> Option<TaskView> {
        let task = self.tasks.get(id)?;
        let state = state(task);
        let reason = self.live_reason(now_ms, task, state);
        Some(view(task, state, reason, None, None))
    }

    /// A task at its end.
    pub(super) fn ended_view(task: &Task, end: &TaskEnd) -> TaskView {
        let reason = end.reason.clone();
        let reason = reason.map(|(code, detail)| Reason { code, detail });
        view(task, end.state, reason, Some(end.ended_ms), end.result)
    }

    /// Tells those who watch a task if it is in another state.
    pub(super) fn tell(&mut self, now_ms: u64, id: &Hash, io: &mut Io<'_>) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let state = state(task);
        // Why it waits changes with each miner that comes and goes; that is told by who asks.
        let reason = match state {
            TaskState::Waiting => task.failure.clone(),
            _ => self.live_reason(now_ms, task, state),
        };
        let told = Some((state, reason.as_ref().map(|r| r.code)));
        if task.told != told {
            io.out
                .push(Output::Event(*id, TaskEvent::State { state, reason }));
            if let Some(task) = self.tasks.get_mut(id) {
                task.told = told;
            }
        }
    }

    fn live_reason(&self, now_ms: u64, task: &Task, state: TaskState) -> Option<Reason> {
        match state {
            TaskState::Waiting => Some(self.waiting_reason(now_ms, task)),
            TaskState::Running => Some(running_reason(task)),
            _ => None,
        }
    }

    /// Why no miner has a task.
    pub(super) fn waiting_reason(&self, now_ms: u64, task: &Task) -> Reason {
        if self.draining {
            return Reason::new(
                Code::Draining,
                "the coordinator is about to stop; the task is kept for its next start",
            );
        }
        let counts = self.counts(task);
        let Nobody {
            candidates,
            unmet,
            held,
            busy,
            weightless,
        } = counts;
        if candidates == 0 {
            let coming = self.miners.values().any(|m| {
                m.offer.is_some() && !m.paused && (m.polling || m.active_until_ms > now_ms)
            });
            return match coming {
                true => Reason::new(
                    Code::WaitingForRoster,
                    "miners are there, and the roster with them is about to be written",
                ),
                false => Reason::new(Code::WaitingForMiner, "no miner is active"),
            };
        }
        if unmet == candidates {
            return Reason::new(
                Code::RequirementsUnmet,
                self.lacking(&task.spec.requirements),
            );
        }
        let fit = candidates - unmet;
        if busy > 0 {
            return Reason::new(
                Code::WaitingForSlot,
                format!(
                    "{fit} of {candidates} miners meet the requirements, {busy} of them are busy \
                     and {held} had this task before; {} tasks wait",
                    self.queue.len()
                ),
            );
        }
        if held + weightless >= fit {
            return Reason::new(
                Code::MinersExhausted,
                format!("all {fit} miners that meet the requirements had this task before"),
            );
        }
        Reason::new(
            Code::WaitingForRoster,
            "the task is about to be given to a miner",
        )
    }

    /// The candidates, counted by the first reason that rules each out.
    fn counts(&self, task: &Task) -> Nobody {
        self.standing
            .counts(&task.id, &task.spec.requirements, task.local)
    }

    fn roster(&self) -> &[Candidate] {
        let force = self.standing.in_force();
        force.map_or(&[], |f| &f.roster.candidates)
    }

    fn eligibility(&self, candidate: &Candidate, task: &Task) -> Eligibility {
        self.standing
            .eligibility(candidate, &task.id, &task.spec.requirements, task.local)
    }

    /// What the candidates lack, counted, where none meets the requirements.
    fn lacking(&self, requirements: &Requirements) -> String {
        let mut counts: Vec<(String, u32)> = Vec::new();
        for candidate in self.roster() {
            let what = lacks(candidate, requirements);
            let known = counts.iter_mut().find(|(known, _)| *known == what);
            match known {
                Some((_, count)) => *count += 1,
                None => counts.push((what, 1)),
            }
        }
        let parts: Vec<_> = counts
            .iter()
            .take(8)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        format!("of the active miners {}", parts.join(", "))
    }

    /// Why a live task is where it is, and what is needed to make its draws again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn explain(
        &self,
        now_ms: u64,
        id: &Hash,
        io: &mut Io<'_>,
    ) -> Result<Option<ExplainView>, StoreError> {
        let (Some(task), Some(view)) = (self.tasks.get(id), self.task(now_ms, id)) else {
            return Ok(None);
        };
        let history = io.store.history(task.number)?;
        let rows = history.iter().map(|(row, _)| row);
        let key = self.node.public();
        let draws = draw_views(rows, &key, |leaf| io.store.find_roster(leaf))?;
        let waits = task.first_waiting().is_some();
        Ok(Some(ExplainView {
            draws,
            candidates: match waits {
                true => self.candidate_views(task),
                false => Vec::new(),
            },
            counts: waits.then(|| self.counts(task)),
            waiting: u64::try_from(self.queue.len()).unwrap_or(u64::MAX),
            task: view,
        }))
    }

    fn candidate_views(&self, task: &Task) -> Vec<CandidateView> {
        let views = self.roster().iter().take(LISTED).map(|candidate| {
            let (weight, lacks) = match self.eligibility(candidate, task) {
                Eligibility::Weight(weight) => (weight, None),
                Eligibility::Unmet => (0, Some(lacks(candidate, &task.spec.requirements))),
                Eligibility::Held => (0, Some("had this task before".to_owned())),
                Eligibility::Busy => {
                    let what = format!("has all of its {} slots taken", candidate.slots);
                    (0, Some(what))
                }
                Eligibility::Weightless => {
                    (0, Some("has no weight, as its work was bad".to_owned()))
                }
            };
            CandidateView {
                miner: NodeKey(candidate.node),
                eligible: weight > 0,
                weight,
                chance_ppm: 0,
                lacks,
            }
        });
        with_chances(views.collect())
    }

    /// A miner as the coordinator sees it.
    ///
    /// # Errors
    /// Refusal `not-registered`.
    pub fn miner(&self, now_ms: u64, node: &[u8; 32]) -> Result<MinerView, CoreError> {
        let total: u128 = self.roster().iter().map(|c| u128::from(c.weight)).sum();
        self.miner_view(now_ms, node, total)
    }

    fn miner_view(
        &self,
        _now_ms: u64,
        node: &[u8; 32],
        total: u128,
    ) -> Result<MinerView, CoreError> {
        let stake = self.members.miner_stake(node);
        let known = self.members.membership.miner(node);
        let reason = match &stake {
            Err(refusal) if known.is_none() => return Err(refusal.clone().into()),
            Err(refusal) => Some(Reason::new(refusal.code, refusal.detail.clone())),
            Ok(_) => match self.miners.get(node).is_some_and(|m| m.offer.is_some()) {
                true => {
                    let code = self.idle_reason(node, false);
                    Some(Reason::new(code, code.summary()))
                }
                false => Some(Reason::new(
                    Code::HelloFirst,
                    "it has not asked for work within the last half minute",
                )),
            },
        };
        let miner = self.miners.get(node);
        let offer = miner.and_then(|m| m.offer.as_ref());
        let candidate = self
            .positions
            .get(node)
            .and_then(|at| self.roster().get(*at));
        let weight = candidate.map_or(0, |c| c.weight);
        let share = (u128::from(weight) * u128::from(PPM)).checked_div(total);
        let record = self.standing.record(node);
        Ok(MinerView {
            miner: NodeKey(*node),
            reason,
            stake: known.map_or(0, |member| member.stake),
            software: offer.and_then(|o| o.software.clone()),
            slots: offer.map_or(0, |o| o.slots),
            open: self.standing.load(node),
            active_until_ms: miner.map_or(0, |m| m.active_until_ms),
            round_trip_us: miner.and_then(|m| m.round_trip_us()),
            weight,
            share_ppm: u64::try_from(share.unwrap_or(0)).unwrap_or(0),
            record,
            quality_ppm: record.quality_ppm(),
            last_seq: self.standing.newest(node).0,
        })
    }

    /// The registered miners, ascending by key; `after` is how many come before the page.
    pub fn miners(&self, now_ms: u64, after: Option<u64>, size: u32) -> Page<MinerView> {
        let total: u128 = self.roster().iter().map(|c| u128::from(c.weight)).sum();
        let skip = usize::try_from(after.unwrap_or(0)).unwrap_or(usize::MAX);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let all = &self.members.membership.miners;
        let page = all.iter().skip(skip).take(size);
        let items: Vec<_> = page
            .filter_map(|member| self.miner_view(now_ms, &member.node, total).ok())
            .collect();
        let end = skip.saturating_add(size);
        Page {
            items,
            next: (end < all.len()).then(|| u64::try_from(end).unwrap_or(u64::MAX)),
        }
    }
}

/// What rules a candidate out, in words that follow a number or a name.
fn lacks(candidate: &Candidate, requirements: &Requirements) -> String {
    let without = Requirements {
        environments: Vec::new(),
        ..requirements.clone()
    };
    if meets(candidate, &without) {
        return "without any of the environments".to_owned();
    }
    let needed = requirements.device_memory_bytes;
    match (requirements.device, candidate.gpu_memory_bytes) {
        (DeviceClass::Cpu, _) => "without a CPU to offer".to_owned(),
        (_, None) => "without a GPU".to_owned(),
        (_, Some(memory)) => {
            format!("with a GPU of {memory} bytes of memory, where {needed} are needed")
        }
    }
}

fn state(task: &Task) -> TaskState {
    if task.validating.is_some() {
        TaskState::Validating
    } else if task.open().next().is_some() || !task.unjudged().is_empty() {
        TaskState::Running
    } else {
        TaskState::Waiting
    }
}

fn running_reason(task: &Task) -> Reason {
    let results = task.unjudged().len();
    if results > 0 {
        return Reason::new(
            Code::WaitingForQuorum,
            format!(
                "{results} results are in, {} have to be equal; {} miners are at work, {} replicas \
                 wait for one",
                task.quorum(),
                task.count(ReplicaState::Open),
                task.count(ReplicaState::Waiting)
            ),
        );
    }
    let last = task.open().last();
    let detail = last.map_or_else(String::new, |lease| {
        let a = &lease.row.assignment;
        format!(
            "the miner {} has until {} ms since 1970",
            NodeKey(a.miner),
            a.deadline_ms
        )
    });
    Reason::new(Code::WaitingForResult, detail)
}

fn view(
    task: &Task,
    state: TaskState,
    reason: Option<Reason>,
    ended_ms: Option<u64>,
    result: Option<(u64, u32)>,
) -> TaskView {
    let receipts = task.leases.iter().filter_map(|l| l.receipt.as_ref());
    TaskView {
        task: task.id,
        client: task.client.to_string(),
        state,
        reason,
        submitted_ms: task.submitted_ms,
        expires_ms: task.expires_ms,
        ended_ms,
        exec: task.spec.exec,
        price: task.spec.price,
        replicas: task.target.map(|target| target.saturating_add(task.extra)),
        quorum: task.quorum(),
        validator: task.validator,
        trace_id: task.trace.map(|trace| trace.trace_id()),
        assignments: task
            .leases
            .iter()
            .map(|lease| assignment_view(&lease.row, lease.receipt.as_ref()))
            .collect(),
        progress: task.progress.clone().filter(|_| !state.is_final()),
        result: result.and_then(|(leaf, agreed)| {
            let mut receipts = receipts;
            let receipt = receipts.find(|r| r.leaf == leaf)?;
            Some(result_view(receipt, agreed))
        }),
    }
}
