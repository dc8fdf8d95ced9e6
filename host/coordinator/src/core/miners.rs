//! Hellos, polls, progress, and which miners are active.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use adit_protocol::Code;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::hash::Hash;
use adit_protocol::network::draw::{locality_class, meets};
use adit_protocol::network::entry::CancelledBy;
use adit_protocol::network::exchange::{BATCH_MAX, Hello, Progress};

use super::{Core, CoreError, Io, Output};
use crate::Refusal;
use crate::core::{Delivery, Greeting, PollReply};
use crate::order::PollOrder;
use crate::store::{DocumentKind, StoreError};
use crate::view::{LeaseState, ProgressView, Reason, TaskEvent};

/// Round trips that are remembered of a miner; the shortest counts. A miner can seem farther away
/// than it is, and never nearer.
const ROUND_TRIPS: usize = 8;
/// After how many polls the round trip is measured again.
const MEASURE_EACH: u32 = 64;

/// What a miner offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Version of its program; absent if it was taken over from a roster and has not said hello.
    pub software: Option<String>,
    /// Its engine id.
    pub engine: Option<Hash>,
    /// Assignments that it takes at one time.
    pub slots: u32,
    /// Whether it runs tasks without a GPU.
    pub cpu: bool,
    /// Bytes of memory of its largest GPU.
    pub gpu_memory_bytes: Option<u64>,
    /// Hashes of its environments, ascending.
    pub environments: Vec<Hash>,
}

/// Documents with their hashes.
pub type Documents = Vec<(Hash, Vec<u8>)>;

impl Offer {
    /// What a hello offers, and the environment documents in it.
    ///
    /// # Errors
    /// `version-mismatch` for another network, `bad-encoding`, `invalid-request`.
    pub fn read(hello: &Hello, genesis: &Hash) -> Result<(Offer, Documents), Refusal> {
        if hello.genesis != *genesis {
            return Err(Refusal::new(
                Code::VersionMismatch,
                format!(
                    "the miner is of the network {}, and this is {genesis}",
                    hello.genesis
                ),
                "give both programs the file of one network",
            ));
        }
        let mut documents = Vec::with_capacity(hello.devices.len());
        for device in &hello.devices {
            let document =
                EnvironmentDocument::from_cbor(&device.environment).map_err(|error| {
                    Refusal::new(
                        Code::BadEncoding,
                        error.to_string(),
                        "bring miner and coordinator to the same release",
                    )
                })?;
            if document.engine != hello.engine {
                return Err(Refusal::new(
                    Code::InvalidRequest,
                    format!(
                        "a device has the engine {}, the miner {}",
                        document.engine, hello.engine
                    ),
                    "offer devices of one engine only",
                ));
            }
            documents.push((Hash::of(&device.environment), device.environment.clone()));
        }
        documents.sort();
        documents.dedup();
        let gpus = hello.devices.iter().filter(|device| device.gpu);
        let offer = Offer {
            software: Some(hello.software.clone()),
            engine: Some(hello.engine),
            slots: hello.slots,
            cpu: hello.devices.iter().any(|device| !device.gpu),
            gpu_memory_bytes: gpus.map(|device| device.memory_bytes).max(),
            environments: documents.iter().map(|(hash, _)| *hash).collect(),
        };
        Ok((offer, documents))
    }
}

/// A miner that is active or has open assignments.
#[derive(Debug, Default)]
pub(super) struct Miner {
    /// What it offers, as long as it is active.
    pub offer: Option<Offer>,
    /// Until when it counts as active without another request.
    pub active_until_ms: u64,
    /// Whether a poll of it waits for an answer; as long it is active in any case.
    pub polling: bool,
    /// Whether it has slots and wants none filled.
    pub paused: bool,
    pub round_trips_us: VecDeque<u64>,
    /// The class that the roster had before the coordinator was started anew.
    pub presumed_locality: Option<u8>,
    polls: u32,
    /// Its open assignments.
    pub open: BTreeSet<Hash>,
    /// Those of them that were not given out yet.
    pub fresh: BTreeSet<Hash>,
    /// Assignments whose receipts came since its last poll, or were named in it: their
    /// acknowledgements tell the miner, and no poll is answered for them.
    pub reported: HashSet<Hash>,
    /// How many draws there had been when it was answered last.
    drawn: u64,
    /// The end of the chain of its receipts that were refused for good since the newest in the log.
    pub refused: Option<(u64, Hash)>,
}

impl Miner {
    pub(super) fn round_trip_us(&self) -> Option<u64> {
        self.round_trips_us.iter().min().copied()
    }

    pub(super) fn locality(&self) -> u8 {
        match (self.round_trip_us(), self.presumed_locality) {
            (None, Some(presumed)) => presumed,
            (measured, _) => locality_class(measured),
        }
    }
}

impl Core {
    /// A miner says what it offers.
    ///
    /// # Errors
    /// Refusals `not-registered`, `jailed`, `below-minimum-stake`, `stale-engine`.
    pub fn hello(
        &mut self,
        now_ms: u64,
        node: [u8; 32],
        offer: Offer,
        documents: &[(Hash, Vec<u8>)],
        io: &mut Io<'_>,
    ) -> Result<Greeting, CoreError> {
        self.members.miner_stake(&node)?;
        let engines = &self.members.membership.engines;
        if let Some(engine) = offer.engine
            && engines.binary_search(&engine).is_err()
        {
            return Err(Refusal::new(
                Code::StaleEngine,
                format!(
                    "the engine {engine} is not among the network's {}",
                    engines.len()
                ),
                "install the release of the program that the network uses",
            )
            .into());
        }
        for (hash, bytes) in documents {
            io.store
                .put_document(hash, DocumentKind::Environment, bytes)?;
        }
        let miner = self.miners.entry(node).or_default();
        if miner.offer.as_ref() != Some(&offer) {
            self.roster_stale = true;
        }
        self.active += usize::from(miner.offer.replace(offer).is_none());
        if std::mem::take(&mut miner.paused) {
            self.roster_stale = true;
        }
        let open = miner.open.iter().copied().collect();
        let active_until_ms = self.seen(now_ms, node);
        let (last_seq, last_receipt) = self.standing.newest(&node);
        Ok(Greeting {
            at_ms: now_ms,
            active_until_ms,
            last_seq,
            last_receipt,
            open,
        })
    }

    /// A miner asks for work. `None` if there is nothing to say yet: the poll then waits, and the
    /// miner counts as active until [`Core::answered`].
    ///
    /// # Errors
    /// Refusals `hello-first`, `not-registered`, `jailed`, `below-minimum-stake`.
    pub fn poll(
        &mut self,
        now_ms: u64,
        node: [u8; 32],
        poll: &PollOrder,
        io: &mut Io<'_>,
    ) -> Result<Option<PollReply>, CoreError> {
        self.members.miner_stake(&node)?;
        let load = self.standing.load(&node);
        let miner = self.miners.get_mut(&node);
        let Some((miner, slots)) = miner.and_then(|miner| {
            let offer = miner.offer.as_ref()?;
            offer.software.as_ref()?;
            let slots = offer.slots;
            Some((miner, slots))
        }) else {
            return Err(Refusal::new(
                Code::HelloFirst,
                "the coordinator was started anew, or has not heard of this miner for a while",
                "say hello, then poll again",
            )
            .into());
        };
        let paused = poll.want == 0 && load < slots;
        if miner.paused != paused {
            miner.paused = paused;
            self.roster_stale = true;
            self.left += usize::from(paused);
        }
        miner.polling = true;
        miner.polls = miner.polls.wrapping_add(1);
        if !miner.reported.is_empty() {
            let working: HashSet<&Hash> = poll.working.iter().collect();
            miner.reported.retain(|hash| working.contains(hash));
        }
        self.activity_due.remove(&(miner.active_until_ms, node));
        for (assignment, acceptance) in &poll.accepted {
            let task = self
                .open
                .get(assignment)
                .and_then(|id| self.tasks.get_mut(id));
            let lease = task.and_then(|task| task.lease(assignment));
            if let Some(lease) = lease
                && lease.row.assignment.miner == node
                && lease.row.acceptance.is_none()
            {
                io.store.accept(lease.row.leaf, acceptance)?;
                lease.row.acceptance = Some(acceptance.clone());
            }
        }
        if paused {
            self.take_back(now_ms, node, "was paused", io)?;
        }
        Ok(self.news(now_ms, node, poll))
    }

    /// What a miner that polls has to be told, if there is anything.
    pub fn news(&mut self, now_ms: u64, node: [u8; 32], poll: &PollOrder) -> Option<PollReply> {
        let working: HashSet<Hash> = poll.working.iter().copied().collect();
        let miner = self.miners.get_mut(&node)?;
        let mut work = Vec::new();
        if poll.want > 0 {
            for hash in &miner.open {
                let task = self.open.get(hash).and_then(|id| self.tasks.get(id));
                let lease = task.and_then(|t| t.leases.iter().find(|l| l.row.hash == *hash));
                let (Some(task), Some(lease)) = (task, lease) else {
                    continue;
                };
                if work.len() < BATCH_MAX && !working.contains(hash) {
                    work.push(Delivery {
                        assignment: lease.row.signed.clone(),
                        task: task.id,
                        context: task.context.clone(),
                    });
                }
            }
            for delivery in &work {
                miner.fresh.remove(&delivery.assignment.body_hash());
            }
        }
        let ended: Vec<Hash> = poll
            .working
            .iter()
            .filter(|hash| !miner.open.contains(hash) && !miner.reported.contains(hash))
            .take(4096)
            .copied()
            .collect();
        if work.is_empty() && ended.is_empty() {
            return None;
        }
        Some(self.reply(now_ms, node, work, ended, None))
    }

    /// The answer to a poll that has waited as long as it may.
    pub fn nothing_new(&mut self, now_ms: u64, node: [u8; 32], poll: &PollOrder) -> PollReply {
        let idle = self.idle_reason(&node, poll.want == 0);
        self.reply(now_ms, node, Vec::new(), Vec::new(), Some(idle))
    }

    fn reply(
        &mut self,
        now_ms: u64,
        node: [u8; 32],
        work: Vec<Delivery>,
        ended: Vec<Hash>,
        idle: Option<Code>,
    ) -> PollReply {
        let drawn = self.counters.drawn;
        let measure = self.miners.get_mut(&node).is_some_and(|miner| {
            miner.drawn = drawn;
            miner.round_trips_us.len() < ROUND_TRIPS || miner.polls.is_multiple_of(MEASURE_EACH)
        });
        let active_until_ms = self.answered(now_ms, node);
        PollReply {
            at_ms: now_ms,
            active_until_ms,
            work,
            ended,
            idle,
            measure,
        }
    }

    /// Why a miner that polls gets nothing.
    pub(super) fn idle_reason(&self, node: &[u8; 32], wants_none: bool) -> Code {
        let force = self.standing.in_force();
        let candidate = self
            .positions
            .get(node)
            .and_then(|at| force?.roster.candidates.get(*at));
        let miner = self.miners.get(node);
        let slots = miner
            .and_then(|m| m.offer.as_ref())
            .map_or(0, |offer| offer.slots);
        if self.draining {
            return Code::Draining;
        }
        if slots > 0 && self.standing.load(node) >= slots {
            return Code::SlotsFull;
        }
        if wants_none || miner.is_some_and(|m| m.paused) {
            return Code::Paused;
        }
        let Some(candidate) = candidate else {
            return Code::NotInRoster;
        };
        let fits = |requirements: &_| meets(candidate, requirements);
        match self.queue.any_class(fits) {
            // What waits and would fit was had by this miner before, or is under way to it.
            Some(true) => Code::MinersExhausted,
            Some(false) => Code::RequirementsUnmet,
            None if miner.is_some_and(|m| m.drawn < self.counters.drawn) => Code::NotDrawn,
            None => Code::NoTasks,
        }
    }

    /// A poll was answered, or the miner hung up: it counts as active for some time from now on.
    /// Until when.
    pub fn answered(&mut self, now_ms: u64, node: [u8; 32]) -> u64 {
        if let Some(miner) = self.miners.get_mut(&node) {
            miner.polling = false;
        }
        self.seen(now_ms, node)
    }

    /// A request of a miner has come. Until when it counts as active; one that is paused does only
    /// until now, so that no roster can contradict the coordinator's word.
    fn seen(&mut self, now_ms: u64, node: [u8; 32]) -> u64 {
        let until_ms = now_ms.saturating_add(self.options.active_ms);
        let Some(miner) = self.miners.get_mut(&node) else {
            return now_ms;
        };
        self.activity_due.remove(&(miner.active_until_ms, node));
        miner.active_until_ms = until_ms;
        if !miner.polling {
            self.activity_due.insert((until_ms, node));
        }
        match miner.paused || miner.offer.is_none() {
            true => now_ms,
            false => until_ms,
        }
    }

    /// An assignment was made for a miner.
    pub(super) fn given(&mut self, now_ms: u64, node: [u8; 32], assignment: Hash) {
        let miner = self.miners.entry(node).or_default();
        miner.open.insert(assignment);
        miner.fresh.insert(assignment);
        if miner.offer.is_none() {
            // It left after the roster was made: what it was given is taken back at once.
            self.activity_due.remove(&(miner.active_until_ms, node));
            miner.active_until_ms = now_ms;
            self.activity_due.insert((now_ms, node));
        }
    }

    /// A miner was not heard of for as long as it counts as active.
    pub(super) fn silent(
        &mut self,
        now_ms: u64,
        node: [u8; 32],
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let Some(miner) = self.miners.get_mut(&node) else {
            return Ok(());
        };
        if miner.polling || miner.active_until_ms > now_ms {
            return Ok(());
        }
        if miner.offer.take().is_some() {
            self.active -= 1;
            self.roster_stale = true;
            self.left += 1;
        }
        let gone = miner.open.is_empty();
        self.take_back(now_ms, node, "fell silent", io)?;
        if gone {
            self.miners.remove(&node);
        }
        Ok(())
    }

    /// Ends assignments of a miner that it was not given yet, so that they go to others.
    fn take_back(
        &mut self,
        now_ms: u64,
        node: [u8; 32],
        why: &str,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        let Some(miner) = self.miners.get_mut(&node) else {
            return Ok(());
        };
        for hash in std::mem::take(&mut miner.fresh) {
            let Some(id) = self.open.get(&hash).copied() else {
                continue;
            };
            self.cancel_leases(now_ms, &id, CancelledBy::Coordinator, &[hash], io)?;
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            let lease = task.leases.iter().find(|l| l.row.hash == hash);
            let leaf = lease.map_or(0, |l| l.row.leaf);
            task.failure = Some(Reason::new(
                Code::AttemptsExhausted,
                format!(
                    "the miner {} {why} before it was given the task",
                    crate::view::hex(&node)
                ),
            ));
            self.lease_failed(now_ms, &id, leaf, true);
            self.evaluate(now_ms, &id, io)?;
        }
        Ok(())
    }

    /// A round trip to a miner was measured, in microseconds.
    pub fn round_trip(&mut self, node: &[u8; 32], round_trip_us: u64) {
        if let Some(miner) = self.miners.get_mut(node) {
            let before = miner.locality();
            miner.round_trips_us.push_back(round_trip_us);
            if miner.round_trips_us.len() > ROUND_TRIPS {
                miner.round_trips_us.pop_front();
            }
            if miner.locality() != before {
                self.roster_stale = true;
            }
        }
    }

    /// A miner reports how far its tasks are.
    pub fn progress(&mut self, node: &[u8; 32], reports: Vec<Progress>, io: &mut Io<'_>) {
        for report in reports {
            let Some(id) = self.open.get(&report.assignment).copied() else {
                continue;
            };
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            let Some(lease) = task.lease(&report.assignment) else {
                continue;
            };
            let assignment = &lease.row.assignment;
            let open = lease.row.state == LeaseState::Open;
            if assignment.miner != *node || !open || report.number <= lease.progress {
                continue;
            }
            lease.progress = report.number;
            // The others of a replicated task say the same, and only the first is listened to.
            let (replica, attempt) = (assignment.replica, assignment.attempt);
            if replica != 0 {
                continue;
            }
            let progress = ProgressView {
                done: report.done,
                total: report.total,
                note: report.note,
            };
            task.progress = Some(progress.clone());
            let event = TaskEvent::Progress { attempt, progress };
            io.out.push(Output::Event(id, event));
            if let Some(chunk) = report.chunk {
                let event = TaskEvent::Chunk {
                    attempt,
                    number: report.number,
                    chunk: chunk.into(),
                };
                io.out.push(Output::Event(id, event));
            }
        }
    }

    /// Clients' names are shared between tasks.
    pub(super) fn client(&self, name: &str) -> Arc<str> {
        match self.in_flight.get_key_value(name) {
            Some((client, _)) => Arc::clone(client),
            None => Arc::from(name),
        }
    }
}
