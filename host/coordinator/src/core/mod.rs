//! What happens to tasks, leases and receipts: a state machine over
//! [`adit_protocol::network::standing::Standing`], the log's own account of itself.
//!
//! | part | subject |
//! |---|---|
//! | this file | the state; how an entry is logged; timers |
//! | `task` | a task, its replicas and leases |
//! | `submit` | tasks come in and are cancelled |
//! | `queue` | those that wait, in a fair order |
//! | `roster` | candidates, and the roster that draws are made from |
//! | `placing` | draws and assignments |
//! | `miners` | hellos, polls, progress, who is active |
//! | `receipts` | receipts come in |
//! | `deciding` | quorum, verdicts, further attempts, ends |
//! | `explain` | draws, shown so that they can be made again |
//! | `answers` | what is answered |
//! | `views` | what is shown, and why something waits |
//! | `resume` | beginning again from what was kept |
//!
//! There is no clock, no I/O and no randomness of the system here: the time is an argument, the
//! generator is given at the start, and what is to be kept or told goes through [`Io`]. The same
//! calls with the same seed give the same log.
//!
//! A [`Refusal`] comes before anything is changed. After a [`StoreError`] the state in memory is no
//! longer that of the store, and the core must not be used any more.

mod answers;
mod context;
mod deciding;
pub(crate) mod explain;
mod miners;
mod placing;
mod queue;
mod receipts;
mod resume;
mod roster;
mod submit;
mod task;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod views;

pub use answers::{Appended, Delivery, Greeting, HandedIn, PollReply};
pub use context::{TaskContext, Validation};
pub use miners::Offer;
pub use submit::Submitted;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::network::entry::Entry;
use adit_protocol::network::standing::{Facts, Standing};
use adit_protocol::rand_core::CryptoRngCore;
use thiserror::Error;

use crate::Refusal;
use crate::membership::Members;
use crate::planted::Planted;
use crate::store::{MinerRow, Store, StoreError};
use crate::view::{TaskEvent, TaskView};
use miners::Miner;
use queue::Queue;
use task::Task;

/// Bounds and times of the state machine; times in milliseconds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most tasks that have not ended.
    pub live_max: usize,
    /// Most different requirements among the tasks that wait.
    pub classes_max: usize,
    /// Failed attempts after which a replica is given up.
    pub attempts_max: u32,
    /// Replicas that a task gets beyond those ordered, because results differ.
    pub extra_max: u32,
    /// How long a task waits for miners if it does not say.
    pub queue_ms: u64,
    /// How long a task may wait at most.
    pub queue_ms_max: u64,
    /// Longest wall-clock budget of one attempt.
    pub deadline_ms_max: u64,
    /// What a lease lasts beyond the attempt's budget: for fetching blobs, compiling, handing in.
    pub grace_ms: u64,
    /// How long a miner counts as active after a request.
    pub active_ms: u64,
    /// Least time between two rosters, for each thousand candidates begun: an auditor reads all of
    /// them, each with about 150 bytes for a candidate. The database keeps what changed.
    pub roster_ms: u64,
    /// Least time after which a roster is made only because quality changed, likewise.
    pub quality_ms: u64,
    /// After how long the validator is asked again.
    pub validate_ms: u64,
    /// Bytes of specs and small blobs of live tasks that are kept in memory.
    pub context_bytes: usize,
    /// Whether each draw is checked again as an auditor would, at the cost of a second draw.
    pub audit: bool,
    /// A bug that a simulation puts in; none otherwise.
    pub planted: Option<Planted>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            live_max: 50_000,
            classes_max: 256,
            attempts_max: 8,
            extra_max: 2,
            queue_ms: 10 * 60 * 1000,
            queue_ms_max: 24 * 60 * 60 * 1000,
            deadline_ms_max: 24 * 60 * 60 * 1000,
            grace_ms: 10_000,
            active_ms: 30_000,
            roster_ms: 1000,
            quality_ms: 10_000,
            validate_ms: 60_000,
            context_bytes: 64 << 20,
            audit: false,
            planted: None,
        }
    }
}

/// What is told to others once the batch is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Something happened to a task.
    Event(Hash, TaskEvent),
    /// A task ended.
    Ended(Box<TaskView>),
    /// A task is live, and what goes with it is kept in memory.
    Live(Arc<TaskContext>),
    /// A miner that polls is to be looked after: it has work, or work of it ended.
    Wake([u8; 32]),
    /// The app's validator is asked.
    Validate(Validation),
}

/// Where effects go.
pub struct Io<'a> {
    /// What is kept.
    pub store: &'a mut dyn Store,
    /// What is told.
    pub out: &'a mut Vec<Output>,
}

/// Why a call did nothing, or broke off.
#[derive(Debug, Error)]
pub enum CoreError {
    /// Nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The core must not be used any more.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tasks that were taken.
    pub submitted: u64,
    /// Tasks that ended with a result.
    pub completed: u64,
    /// Tasks that ended without one.
    pub failed: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Assignments that were made.
    pub drawn: u64,
    /// Assignments that ran out.
    pub expired: u64,
    /// Receipts that were appended.
    pub receipts: u64,
    /// Receipts that came after the end of their lease.
    pub late: u64,
    /// Receipts that were refused.
    pub refused: u64,
    /// Assignments for which two receipts were seen.
    pub equivocations: u64,
    /// Rosters that were written.
    pub rosters: u64,
}

/// The state machine.
pub struct Core {
    options: Options,
    members: Arc<Members>,
    node: Keypair,
    own: [u8; 32],
    rng: Box<dyn CryptoRngCore + Send>,
    standing: Standing,
    /// Positions of the candidates in the roster in force.
    positions: HashMap<[u8; 32], usize>,
    tasks: HashMap<Hash, Task>,
    /// The task of each open assignment.
    open: HashMap<Hash, Hash>,
    queue: Queue,
    miners: HashMap<[u8; 32], Miner>,
    /// Tasks that have not ended, by client.
    in_flight: HashMap<Arc<str>, u32>,
    escrow: u128,
    escrow_changed: bool,
    /// Miners whose record or newest receipt changed in this batch.
    changed: HashSet<[u8; 32]>,
    last_task: u64,
    context_bytes: usize,
    leases_due: BTreeSet<(u64, Hash)>,
    tasks_due: BTreeSet<(u64, Hash)>,
    activity_due: BTreeSet<(u64, [u8; 32])>,
    validations_due: BTreeSet<(u64, Hash)>,
    /// When the newest roster was made; before the first, 0.
    roster_made_ms: u64,
    roster_stale: bool,
    quality_stale: bool,
    /// Miners that became silent or paused since the newest roster.
    left: usize,
    /// Miners with an offer.
    active: usize,
    /// The membership that is kept as a public document.
    written_membership: Option<Hash>,
    draining: bool,
    counters: Counters,
}

/// Things that are due and are done in one call; more come with the next.
const DUE_BATCH: usize = 1024;

impl Core {
    /// The state before the first task. `node` is the coordinator's node key.
    pub fn new(
        options: Options,
        members: Arc<Members>,
        node: Keypair,
        rng: Box<dyn CryptoRngCore + Send>,
    ) -> Core {
        let own = node.public().to_bytes();
        Core {
            standing: Standing::new(&members.genesis, own, false),
            options,
            members,
            node,
            own,
            rng,
            positions: HashMap::new(),
            tasks: HashMap::new(),
            open: HashMap::new(),
            queue: Queue::default(),
            miners: HashMap::new(),
            in_flight: HashMap::new(),
            escrow: 0,
            escrow_changed: false,
            changed: HashSet::new(),
            last_task: 0,
            context_bytes: 0,
            leases_due: BTreeSet::new(),
            tasks_due: BTreeSet::new(),
            activity_due: BTreeSet::new(),
            validations_due: BTreeSet::new(),
            roster_made_ms: 0,
            roster_stale: false,
            quality_stale: false,
            left: 0,
            active: 0,
            written_membership: None,
            draining: false,
            counters: Counters::default(),
        }
    }

    /// Other members from now on.
    pub fn set_members(&mut self, members: Arc<Members>) {
        if members.hash != self.members.hash {
            self.members = members;
            self.roster_stale = true;
        }
    }

    /// Hash of the members in use.
    pub fn members_hash(&self) -> Hash {
        self.members.hash
    }

    /// Whether a task has not ended.
    pub fn is_live(&self, task: &Hash) -> bool {
        self.tasks.contains_key(task)
    }

    /// Takes no more tasks and draws no more miners from now on.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Tasks that have not ended.
    pub fn live(&self) -> usize {
        self.tasks.len()
    }

    /// Tasks of which a replica waits for a miner.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Assignments that are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Miners that are active.
    pub fn active(&self) -> usize {
        self.active
    }

    /// Candidates of the roster in force.
    pub fn candidates(&self) -> usize {
        self.positions.len()
    }

    /// Escrow committed so far, in 10^-12 token.
    pub fn escrow(&self) -> u128 {
        self.escrow
    }

    /// Counters since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What the log says so far.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Does what is due by now: leases run out, tasks have waited too long, miners are silent, a
    /// roster has to be made. Then draws miners for what waits. Whether there is more to do at
    /// once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn tick(&mut self, now_ms: u64, io: &mut Io<'_>) -> Result<bool, StoreError> {
        let mut more = false;
        let leases = due(&mut self.leases_due, now_ms);
        more |= leases.len() == DUE_BATCH;
        for assignment in leases {
            self.expire(now_ms, assignment, io)?;
        }
        let tasks = due(&mut self.tasks_due, now_ms);
        more |= tasks.len() == DUE_BATCH;
        for task in tasks {
            self.waited_too_long(now_ms, task, io)?;
        }
        let silent = due(&mut self.activity_due, now_ms);
        more |= silent.len() == DUE_BATCH;
        for node in silent {
            self.silent(now_ms, node, io)?;
        }
        let unanswered = due(&mut self.validations_due, now_ms);
        more |= unanswered.len() == DUE_BATCH;
        for task in unanswered {
            self.ask_validator(now_ms, task, io);
        }
        self.renew_roster(now_ms, io)?;
        more |= self.place(now_ms, io)?;
        Ok(more)
    }

    /// When [`Core::tick`] has something to do next, if nothing else happens.
    pub fn next_due(&self) -> Option<u64> {
        [
            self.leases_due.first().map(|(at, _)| *at),
            self.tasks_due.first().map(|(at, _)| *at),
            self.activity_due.first().map(|(at, _)| *at),
            self.validations_due.first().map(|(at, _)| *at),
            self.roster_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Writes what changes often once for the whole batch. To be called before its end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn flush(&mut self, io: &mut Io<'_>) -> Result<(), StoreError> {
        for node in std::mem::take(&mut self.changed) {
            io.store.save_miner(&MinerRow {
                node,
                record: self.standing.record(&node),
                newest: self.standing.newest(&node),
            })?;
        }
        if std::mem::take(&mut self.escrow_changed) {
            io.store.save_escrow(self.escrow)?;
        }
        io.store.write()
    }

    /// Appends an entry that touches leases or records of these miners. An entry that breaks a rule
    /// is an error of this program, and ends the batch before anyone can read it.
    fn log(
        &mut self,
        entry: &Entry,
        facts: &Facts,
        touched: &[[u8; 32]],
        io: &mut Io<'_>,
    ) -> Result<u64, StoreError> {
        let before: Vec<_> = touched
            .iter()
            .map(|node| {
                let quality = self.standing.record(node).quality_ppm();
                (*node, self.has_room(node), quality)
            })
            .collect();
        let leaf = io.store.append(entry)?;
        let faults = self.standing.apply(leaf, entry, facts);
        // With a bug put in, it is for others to find.
        if let Some(fault) = faults.first()
            && self.options.planted.is_none()
        {
            return Err(StoreError::Broken(fault.to_string()));
        }
        for (node, had_room, quality) in before {
            let has_room = self.has_room(&node);
            if had_room != has_room
                && let Some(force) = self.standing.in_force()
                && let Some(at) = self.positions.get(&node)
                && let Some(candidate) = force.roster.candidates.get(*at)
            {
                self.queue.room(candidate, has_room);
            }
            if self.standing.record(&node).quality_ppm() != quality {
                self.quality_stale = true;
            }
        }
        Ok(leaf)
    }

    /// Whether a candidate of the roster in force has a free slot and can be drawn at all.
    fn has_room(&self, node: &[u8; 32]) -> bool {
        let candidate = self.positions.get(node).and_then(|at| {
            let force = self.standing.in_force()?;
            force.roster.candidates.get(*at)
        });
        candidate.is_some_and(|c| c.weight > 0 && self.standing.load(node) < c.slots)
    }
}

/// Takes out what is due, at most [`DUE_BATCH`] of it.
fn due<T: Ord + Copy>(timers: &mut BTreeSet<(u64, T)>, now_ms: u64) -> Vec<T> {
    let mut all = Vec::new();
    while all.len() < DUE_BATCH {
        match timers.first() {
            Some((at, _)) if *at <= now_ms => {}
            _ => break,
        }
        all.extend(timers.pop_first().map(|(_, what)| what));
    }
    all
}
