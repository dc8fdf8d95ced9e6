//! What a coordinator's log says at one leaf: the roster in force, the open leases, who held which
//! task, and how each miner's work turned out.
//!
//! A coordinator draws from it and appends; an auditor reads the same entries and must arrive at the
//! same draws. Both use this code, so that a draw is right exactly if it can be checked.
//!
//! | part | subject |
//! |---|---|
//! | this file | the state and the draw |
//! | `apply` | how each entry changes it, and which entries break a rule |
//! | `index` | the same draw without walking all candidates |

mod apply;
mod index;
#[cfg(test)]
mod tests;

pub use apply::{Facts, Fault};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::assignment::Assignment;
use super::draw::{DrawNumber, Record, draw_weight, meets};
use super::genesis::Genesis;
use super::roster::{Candidate, Roster};
use crate::cbor::Document as _;
use crate::hash::Hash;
use crate::status::Status;
use crate::task::Requirements;

/// The roster that draws are made from.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Its leaf index.
    pub leaf: u64,
    /// The VRF output of the entry.
    pub output: Hash,
    /// The candidates.
    pub roster: Arc<Roster>,
}

/// A lease that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The assignment.
    pub assignment: Assignment,
    /// Its leaf index.
    pub leaf: u64,
}

/// A receipt that is in the log, until it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unjudged {
    /// Its task.
    pub task: Hash,
    /// Its miner.
    pub miner: [u8; 32],
    /// How the run ended.
    pub status: Status,
    /// Whether its lease was open when it came.
    pub in_time: bool,
}

/// A task that was assigned and not forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskStanding {
    /// Everyone who held an assignment of it.
    pub held: Vec<[u8; 32]>,
    /// For each replica, the attempt that would come next, and whether the last one is open.
    pub replicas: BTreeMap<u32, (u32, bool)>,
    /// Results that were accepted.
    pub accepted: u32,
}

/// What became of a draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// It fell on this miner.
    Miner {
        /// The number.
        number: DrawNumber,
        /// The candidate.
        candidate: Box<Candidate>,
        /// Bit i % 8 of byte i / 8 is set for each position in the roster that it could have fallen
        /// on.
        eligible: Vec<u8>,
    },
    /// There is no roster in the log yet.
    NoRoster,
    /// Nobody is eligible.
    Nobody(Nobody),
}

/// Why nobody is eligible: the candidates by the first reason that rules each out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Nobody {
    /// Candidates in the roster.
    pub candidates: u32,
    /// Those that do not meet the requirements.
    pub unmet: u32,
    /// Those that held an assignment of this task before.
    pub held: u32,
    /// Those without a free slot.
    pub busy: u32,
    /// Those whose weight is 0, because their work was bad.
    pub weightless: u32,
}

/// Whether a candidate can be drawn for a task, by the first reason that rules it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// It can, with this weight, which is not 0.
    Weight(u64),
    /// It does not meet the requirements.
    Unmet,
    /// It held an assignment of this task before.
    Held,
    /// It has no free slot.
    Busy,
    /// Its weight is 0.
    Weightless,
}

/// What the log says so far.
#[derive(Clone, Debug)]
pub struct Standing {
    genesis: Genesis,
    genesis_hash: Hash,
    coordinator: [u8; 32],
    in_force: Option<InForce>,
    leases: HashMap<Hash, Lease>,
    load: HashMap<[u8; 32], u32>,
    tasks: HashMap<Hash, TaskStanding>,
    records: BTreeMap<[u8; 32], Record>,
    unjudged: HashMap<Hash, Unjudged>,
    /// Number and id of each miner's newest receipt.
    newest: HashMap<[u8; 32], (u64, Hash)>,
    /// Assignments that ended, and tasks that were forgotten: kept by auditors, who have no
    /// database to ask.
    ended: Option<HashSet<Hash>>,
    /// The escrow that the newest assignment says is committed.
    escrow: Option<u128>,
    indexes: index::Indexes,
}

impl Standing {
    /// The standing before the first entry. `audit` keeps what has ended, at 32 bytes for each
    /// assignment and receipt, so that whatever comes twice is found.
    pub fn new(genesis: &Genesis, coordinator: [u8; 32], audit: bool) -> Standing {
        Standing {
            genesis: genesis.clone(),
            genesis_hash: genesis.hash(),
            coordinator,
            in_force: None,
            leases: HashMap::new(),
            load: HashMap::new(),
            tasks: HashMap::new(),
            records: BTreeMap::new(),
            unjudged: HashMap::new(),
            newest: HashMap::new(),
            ended: audit.then(HashSet::new),
            escrow: None,
            indexes: index::Indexes::default(),
        }
    }

    /// The roster in force.
    pub fn in_force(&self) -> Option<&InForce> {
        self.in_force.as_ref()
    }

    /// An open lease by the hash of its assignment.
    pub fn lease(&self, assignment: &Hash) -> Option<&Lease> {
        self.leases.get(assignment)
    }

    /// All open leases.
    pub fn leases(&self) -> impl Iterator<Item = (&Hash, &Lease)> {
        self.leases.iter()
    }

    /// Open leases of a miner.
    pub fn load(&self, miner: &[u8; 32]) -> u32 {
        self.load.get(miner).copied().unwrap_or(0)
    }

    /// How a miner's work turned out.
    pub fn record(&self, miner: &[u8; 32]) -> Record {
        self.records.get(miner).copied().unwrap_or_default()
    }

    /// The records of all miners that ever worked, ascending by key.
    pub fn records(&self) -> impl Iterator<Item = (&[u8; 32], &Record)> {
        self.records.iter()
    }

    /// Number and id of a miner's newest receipt; 0 and zero before the first.
    pub fn newest(&self, miner: &[u8; 32]) -> (u64, Hash) {
        self.newest.get(miner).copied().unwrap_or_default()
    }

    /// A task that was assigned.
    pub fn task(&self, id: &Hash) -> Option<&TaskStanding> {
        self.tasks.get(id)
    }

    /// Makes the draw for one replica of one attempt of a task, from the roster in force: the
    /// definition, which walks all candidates. [`Standing::draw_indexed`] gives the same.
    pub fn draw(
        &self,
        task: &Hash,
        requirements: &Requirements,
        attempt: u32,
        replica: u32,
        local: bool,
    ) -> Drawn {
        let Some(force) = &self.in_force else {
            return Drawn::NoRoster;
        };
        let (nobody, drawable) = self.walk(task, requirements, local);
        let number = DrawNumber::new(&force.output, task, attempt, replica);
        let picked = number
            .pick(drawable.iter().map(|(_, weight)| *weight))
            .and_then(|at| drawable.get(at))
            .and_then(|(position, _)| force.roster.candidates.get(*position as usize));
        match picked {
            Some(candidate) => {
                let mut eligible = vec![0; force.roster.candidates.len().div_ceil(8)];
                for (position, _) in &drawable {
                    index::set_bit(&mut eligible, *position, true);
                }
                Drawn::Miner {
                    number,
                    candidate: Box::new(candidate.clone()),
                    eligible,
                }
            }
            None => Drawn::Nobody(nobody),
        }
    }

    /// All candidates of the roster in force: those that are ruled out counted, the others by
    /// position with their weight.
    fn walk(
        &self,
        task: &Hash,
        requirements: &Requirements,
        local: bool,
    ) -> (Nobody, Vec<(u32, u64)>) {
        let candidates = self.in_force.as_ref().map(|f| &f.roster.candidates);
        let mut nobody = Nobody::default();
        let mut drawable = Vec::new();
        for (position, candidate) in (0u32..).zip(candidates.into_iter().flatten()) {
            nobody.candidates += 1;
            match self.eligibility(candidate, task, requirements, local) {
                Eligibility::Unmet => nobody.unmet += 1,
                Eligibility::Held => nobody.held += 1,
                Eligibility::Busy => nobody.busy += 1,
                Eligibility::Weightless => nobody.weightless += 1,
                Eligibility::Weight(weight) => drawable.push((position, weight)),
            }
        }
        (nobody, drawable)
    }

    /// Whether a candidate of the roster in force can be drawn for a task.
    pub fn eligibility(
        &self,
        candidate: &Candidate,
        task: &Hash,
        requirements: &Requirements,
        local: bool,
    ) -> Eligibility {
        let held = self.tasks.get(task).map_or(&[][..], |t| &t.held);
        if !meets(candidate, requirements) {
            Eligibility::Unmet
        } else if held.contains(&candidate.node) {
            Eligibility::Held
        } else if self.load(&candidate.node) >= candidate.slots {
            Eligibility::Busy
        } else {
            match draw_weight(candidate, local) {
                0 => Eligibility::Weightless,
                weight => Eligibility::Weight(weight),
            }
        }
    }

    /// Forgets a task that is decided and has no open lease. An auditor remembers its id.
    pub fn forget(&mut self, task: &Hash) {
        let Some(standing) = self.tasks.get(task) else {
            return;
        };
        if standing.replicas.values().any(|(_, open)| *open) {
            return;
        }
        self.tasks.remove(task);
        if let Some(ended) = &mut self.ended {
            ended.insert(*task);
        }
    }

    /// Puts back what a coordinator kept in its database: the roster in force, the records, the
    /// newest receipts. Leases and tasks follow by [`Standing::restore_lease`].
    pub fn restore(
        &mut self,
        in_force: Option<InForce>,
        records: impl IntoIterator<Item = ([u8; 32], Record)>,
        newest: impl IntoIterator<Item = ([u8; 32], (u64, Hash))>,
    ) {
        self.use_roster(in_force);
        self.records = records.into_iter().collect();
        self.newest = newest.into_iter().collect();
    }

    /// Puts back an assignment of a task that is not decided, open or ended.
    pub fn restore_lease(&mut self, assignment: Assignment, leaf: u64, open: bool) {
        let id = assignment.hash();
        let task = self.tasks.entry(assignment.task).or_default();
        task.held.push(assignment.miner);
        let next = task.replicas.entry(assignment.replica).or_default();
        if assignment.attempt >= next.0 {
            *next = (assignment.attempt.saturating_add(1), open);
        }
        if open {
            self.set_load(&assignment.miner, self.load(&assignment.miner) + 1);
            self.leases.insert(id, Lease { assignment, leaf });
        }
    }

    fn use_roster(&mut self, in_force: Option<InForce>) {
        self.in_force = in_force;
        self.indexes.clear();
    }

    /// Open leases of a miner from now on.
    fn set_load(&mut self, miner: &[u8; 32], load: u32) {
        match load {
            0 => self.load.remove(miner),
            _ => self.load.insert(*miner, load),
        };
        self.indexes.load(self.in_force.as_ref(), miner, load);
    }

    /// Puts back a receipt that is in the log and not judged.
    pub fn restore_unjudged(&mut self, receipt: Hash, unjudged: Unjudged) {
        self.unjudged.insert(receipt, unjudged);
    }
}
