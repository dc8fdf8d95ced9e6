//! Draws without walking all candidates: for each kind of task that was drawn for, the candidates of
//! the roster in force with the weights of those that are eligible, kept right as leases begin and
//! end. [`Standing::draw`] says what a draw is; this gives the same.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::{Drawn, InForce, Nobody, Standing};
use crate::hash::Hash;
use crate::network::draw::{DrawNumber, draw_weight, meets};
use crate::network::roster::Candidate;
use crate::task::{DeviceClass, Requirements};

/// Kinds that are indexed at one time, at 25 bytes for each candidate. Whoever orders tasks of more
/// kinds in turns pays a walk for each.
const KINDS_MAX: usize = 64;

/// What the eligibility of candidates depends on besides the log, and their weight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    device: DeviceClass,
    device_memory_bytes: u64,
    environments: Vec<Hash>,
    local: bool,
}

impl Kind {
    fn new(requirements: &Requirements, local: bool) -> Kind {
        Kind {
            device: requirements.device,
            device_memory_bytes: requirements.device_memory_bytes,
            environments: requirements.environments.clone(),
            local,
        }
    }
}

/// The indexes over the roster in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Indexes {
    /// Positions of the candidates; empty as long as nothing is indexed.
    positions: HashMap<[u8; 32], u32>,
    kinds: HashMap<Kind, Index>,
    /// Counts up with each use.
    uses: u64,
}

/// The candidates as one kind of task sees them, but for who held the very task.
#[derive(Clone, Debug)]
struct Index {
    /// Draw weights; `None` for those that do not meet the requirements.
    weights: Vec<Option<u64>>,
    /// A bit for each that has no free slot: bit i % 8 of byte i / 8.
    busy: Vec<u8>,
    /// A bit for each that is eligible.
    eligible: Vec<u8>,
    /// Fenwick tree over the weights of those that are eligible.
    tree: Vec<u128>,
    total: u128,
    /// All candidates by what rules them out.
    counts: Nobody,
    used: u64,
}

impl Indexes {
    /// Another roster is in force.
    pub(super) fn clear(&mut self) {
        self.positions.clear();
        self.kinds.clear();
    }

    /// A miner has no free slot any more, or one again.
    pub(super) fn load(&mut self, force: Option<&InForce>, miner: &[u8; 32], load: u32) {
        let Some(position) = self.positions.get(miner).copied() else {
            return;
        };
        let candidates = force.map_or(&[][..], |force| &force.roster.candidates);
        let Some(candidate) = candidates.get(position as usize) else {
            return;
        };
        for index in self.kinds.values_mut() {
            index.set_busy(position, load >= candidate.slots);
        }
    }

    /// The positions of the candidates; `None` if two are the same, which no roster that was decoded
    /// has.
    fn positions(&mut self, candidates: &[Candidate]) -> Option<&HashMap<[u8; 32], u32>> {
        if self.positions.is_empty() {
            let all = (0u32..).zip(candidates);
            self.positions = all.map(|(at, candidate)| (candidate.node, at)).collect();
        }
        (self.positions.len() == candidates.len()).then_some(&self.positions)
    }

    /// An index for such tasks, if there is one. Near or far does not matter to whom it is for.
    fn find(&self, requirements: &Requirements) -> Option<&Index> {
        let of = |local| self.kinds.get(&Kind::new(requirements, local));
        of(false).or_else(|| of(true))
    }

    /// The index for a kind, made if it is missing, at the cost of the one that was not used for the
    /// longest time.
    fn get(
        &mut self,
        requirements: &Requirements,
        local: bool,
        candidates: &[Candidate],
        is_busy: impl Fn(&Candidate) -> bool,
    ) -> &mut Index {
        let kind = Kind::new(requirements, local);
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            let oldest = self.kinds.iter().min_by_key(|(_, index)| index.used);
            if let Some(oldest) = oldest.map(|(kind, _)| kind.clone()) {
                self.kinds.remove(&oldest);
            }
        }
        self.uses += 1;
        let index = match self.kinds.entry(kind) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => {
                let index = Index::new(candidates, place.key(), requirements, is_busy);
                place.insert(index)
            }
        };
        index.used = self.uses;
        index
    }
}

impl Index {
    /// `is_busy` tells of a candidate whether it has no free slot.
    fn new(
        candidates: &[Candidate],
        kind: &Kind,
        requirements: &Requirements,
        is_busy: impl Fn(&Candidate) -> bool,
    ) -> Index {
        let weigh = |candidate: &Candidate| {
            meets(candidate, requirements).then(|| draw_weight(candidate, kind.local))
        };
        let weights: Vec<_> = candidates.iter().map(weigh).collect();
        let fit = weights.iter().flatten().count();
        let mut index = Index {
            // All that meet the requirements, until it is said otherwise just below.
            busy: vec![u8::MAX; weights.len().div_ceil(8)],
            eligible: vec![0; weights.len().div_ceil(8)],
            tree: vec![0; weights.len() + 1],
            total: 0,
            counts: Nobody {
                candidates: number(weights.len()),
                unmet: number(weights.len() - fit),
                busy: number(fit),
                ..Nobody::default()
            },
            used: 0,
            weights,
        };
        for (position, candidate) in (0u32..).zip(candidates) {
            index.set_busy(position, is_busy(candidate));
        }
        index
    }

    fn weight(&self, position: u32) -> Option<u64> {
        self.weights.get(position as usize).copied().flatten()
    }

    fn set_busy(&mut self, position: u32, busy: bool) {
        let Some(weight) = self.weight(position) else {
            return;
        };
        if bit(&self.busy, position) == busy {
            return;
        }
        set_bit(&mut self.busy, position, busy);
        let counts = &mut self.counts;
        match busy {
            true => counts.busy += 1,
            false => counts.busy -= 1,
        }
        match (weight, busy) {
            (0, true) => counts.weightless -= 1,
            (0, false) => counts.weightless += 1,
            _ => {
                self.change(position, weight, !busy);
                set_bit(&mut self.eligible, position, !busy);
            }
        }
    }

    /// Adds a weight to the sums over a position, or takes it from them.
    fn change(&mut self, position: u32, weight: u64, add: bool) {
        let change = |sum: &mut u128| match add {
            true => *sum += u128::from(weight),
            false => *sum -= u128::from(weight),
        };
        change(&mut self.total);
        let mut at = position as usize + 1;
        while let Some(sum) = self.tree.get_mut(at) {
            change(sum);
            at += at & at.wrapping_neg();
        }
    }

    /// The position at which the running sum of the weights passes `left`, which is below the total.
    fn find(&self, mut left: u128) -> u32 {
        let mut position = 0usize;
        let mut step = self.tree.len().next_power_of_two();
        while step > 0 {
            if let Some(sum) = self.tree.get(position + step)
                && *sum <= left
            {
                position += step;
                left -= *sum;
            }
            step /= 2;
        }
        number(position)
    }

    /// The counts where these candidates held the task.
    fn counts(&self, held: &BTreeSet<u32>) -> Nobody {
        let mut counts = self.counts;
        for position in held {
            match self.weight(*position) {
                None => continue,
                Some(_) if bit(&self.busy, *position) => counts.busy -= 1,
                Some(0) => counts.weightless -= 1,
                Some(_) => {}
            }
            counts.held += 1;
        }
        counts
    }

    /// On whose position a draw falls, and a bit for each that it could have fallen on.
    fn pick(&mut self, draw: &DrawNumber, held: &BTreeSet<u32>) -> Option<(u32, Vec<u8>)> {
        let out: Vec<(u32, u64)> = held
            .iter()
            .filter(|position| bit(&self.eligible, **position))
            .filter_map(|position| Some((*position, self.weight(*position)?)))
            .collect();
        for (position, weight) in &out {
            self.change(*position, *weight, false);
        }
        let picked = draw.below(self.total).map(|left| self.find(left));
        for (position, weight) in &out {
            self.change(*position, *weight, true);
        }
        let mut eligible = self.eligible.clone();
        for (position, _) in &out {
            set_bit(&mut eligible, *position, false);
        }
        Some((picked?, eligible))
    }
}

impl Standing {
    /// The same as [`Standing::draw`], in time that hardly grows with the number of candidates.
    pub fn draw_indexed(
        &mut self,
        task: &Hash,
        requirements: &Requirements,
        attempt: u32,
        replica: u32,
        local: bool,
    ) -> Drawn {
        let Some(force) = &self.in_force else {
            return Drawn::NoRoster;
        };
        let candidates = &force.roster.candidates;
        let Some(positions) = self.indexes.positions(candidates) else {
            return self.draw(task, requirements, attempt, replica, local);
        };
        let held = self.tasks.get(task).map_or(&[][..], |task| &task.held);
        let held = held.iter().filter_map(|node| positions.get(node));
        let held: BTreeSet<u32> = held.copied().collect();
        let load = &self.load;
        let index = self
            .indexes
            .get(requirements, local, candidates, |candidate| {
                load.get(&candidate.node).copied().unwrap_or(0) >= candidate.slots
            });
        let draw = DrawNumber::new(&force.output, task, attempt, replica);
        let picked = index
            .pick(&draw, &held)
            .and_then(|(position, eligible)| Some((candidates.get(position as usize)?, eligible)));
        match picked {
            Some((candidate, eligible)) => Drawn::Miner {
                number: draw,
                candidate: Box::new(candidate.clone()),
                eligible,
            },
            None => Drawn::Nobody(index.counts(&held)),
        }
    }

    /// The candidates of the roster in force, counted by the first reason that rules each out for a
    /// task. Quick if a draw was made for such a task since the roster came.
    pub fn counts(&self, task: &Hash, requirements: &Requirements, local: bool) -> Nobody {
        match self.indexes.find(requirements) {
            Some(index) => {
                let held = self.tasks.get(task).map_or(&[][..], |task| &task.held);
                let positions = &self.indexes.positions;
                let held = held.iter().filter_map(|node| positions.get(node));
                index.counts(&held.copied().collect())
            }
            None => self.walk(task, requirements, local).0,
        }
    }

    /// How many candidates of the roster in force meet requirements and have a free slot and a
    /// weight. Quick if a draw was made for such a task since the roster came.
    pub fn free(&self, requirements: &Requirements) -> u32 {
        let counts = match self.indexes.find(requirements) {
            Some(index) => index.counts,
            // No task has this id.
            None => self.walk(&Hash::ZERO, requirements, false).0,
        };
        let out = counts.unmet + counts.held + counts.busy + counts.weightless;
        counts.candidates - out
    }
}

fn number(from: usize) -> u32 {
    u32::try_from(from).unwrap_or(u32::MAX)
}

/// Bit i % 8 of byte i / 8.
fn bit(bits: &[u8], at: u32) -> bool {
    let byte = bits.get(at as usize / 8);
    byte.is_some_and(|byte| byte & (1 << (at % 8)) != 0)
}

pub(super) fn set_bit(bits: &mut [u8], at: u32, to: bool) {
    if let Some(byte) = bits.get_mut(at as usize / 8) {
        match to {
            true => *byte |= 1 << (at % 8),
            false => *byte &= !(1 << (at % 8)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

    use super::*;
    use crate::network::genesis::Genesis;
    use crate::network::roster::Roster;

    struct Random(ChaCha20Rng);

    impl Random {
        fn below(&mut self, end: u64) -> u64 {
            self.0.next_u64() % end
        }

        fn candidate(&mut self, number: u8) -> Candidate {
            Candidate {
                node: [number; 32],
                stake: 1,
                slots: self.below(3) as u32,
                cpu: self.below(4) > 0,
                gpu_memory_bytes: (self.below(2) == 0).then(|| self.below(3)),
                environments: (self.below(2) == 0)
                    .then_some(Hash::ZERO)
                    .into_iter()
                    .collect(),
                quality_ppm: 0,
                locality: self.below(6) as u8,
                weight: match self.below(4) {
                    0 => 0,
                    1 => u64::MAX,
                    _ => self.below(1000),
                },
            }
        }

        fn roster(&mut self) -> Roster {
            let count = self.below(70) as u8;
            Roster {
                epoch: 0,
                beacon: Hash::ZERO,
                membership: Hash::ZERO,
                region: String::new(),
                candidates: (0..count).map(|number| self.candidate(number)).collect(),
            }
        }

        fn in_force(&mut self) -> InForce {
            InForce {
                leaf: 0,
                output: Hash::of(&self.below(u64::MAX).to_le_bytes()),
                roster: Arc::new(self.roster()),
            }
        }

        fn requirements(&mut self) -> Requirements {
            Requirements {
                device: [DeviceClass::Any, DeviceClass::Cpu, DeviceClass::Gpu]
                    [self.below(3) as usize],
                device_memory_bytes: self.below(3),
                environments: (self.below(3) == 0)
                    .then_some(Hash::ZERO)
                    .into_iter()
                    .collect(),
            }
        }
    }

    fn standing() -> Standing {
        let genesis = Genesis {
            name: "test".into(),
            created_ms: 0,
            authority: [1; 32],
            epoch_ms: 1000,
            miner_stake_min: 1,
            coordinator_stake_min: 1,
            saturation: 1,
            development: true,
            ledger: None,
        };
        Standing::new(&genesis, [1; 32], false)
    }

    #[test]
    fn a_draw_is_the_same_with_and_without_an_index() {
        let mut drawn = 0;
        for seed in 0..40 {
            let mut random = Random(ChaCha20Rng::seed_from_u64(seed));
            let mut standing = standing();
            for _ in 0..300 {
                let node = [random.below(70) as u8; 32];
                let task = Hash::of(&random.below(4).to_le_bytes());
                match random.below(20) {
                    0 => standing.use_roster(None),
                    1 => {
                        let force = random.in_force();
                        standing.use_roster(Some(force));
                    }
                    2..6 => standing.tasks.entry(task).or_default().held.push(node),
                    _ => standing.set_load(&node, random.below(4) as u32),
                }
                let (wanted, local) = (random.requirements(), random.below(2) == 0);
                let attempt = random.below(100) as u32;
                // Also before the index is there.
                for _ in 0..2 {
                    let (nobody, drawable) = standing.walk(&task, &wanted, local);
                    assert_eq!(standing.counts(&task, &wanted, local), nobody);
                    let (_, free) = standing.walk(&Hash::ZERO, &wanted, local);
                    assert_eq!(standing.free(&wanted) as usize, free.len());
                    let walked = standing.draw(&task, &wanted, attempt, 1, local);
                    let indexed = standing.draw_indexed(&task, &wanted, attempt, 1, local);
                    assert_eq!(walked, indexed, "seed {seed}");
                    drawn += usize::from(matches!(walked, Drawn::Miner { .. }));
                    assert_eq!(drawable.is_empty(), !matches!(walked, Drawn::Miner { .. }));
                }
            }
        }
        assert!(drawn > 5000, "{drawn}");
    }

    #[test]
    fn two_candidates_of_one_key_are_drawn_for_by_walking() {
        let mut random = Random(ChaCha20Rng::seed_from_u64(1));
        let mut force = random.in_force();
        let mut roster = Roster::clone(&force.roster);
        roster
            .candidates
            .extend([random.candidate(1), random.candidate(1)]);
        force.roster = Arc::new(roster);
        let mut standing = standing();
        standing.use_roster(Some(force));
        let wanted = random.requirements();
        for attempt in 0..20 {
            let walked = standing.draw(&Hash::ZERO, &wanted, attempt, 0, false);
            assert_eq!(
                walked,
                standing.draw_indexed(&Hash::ZERO, &wanted, attempt, 0, false)
            );
        }
        assert!(standing.indexes.kinds.is_empty());
    }

    #[test]
    fn kinds_are_bounded_and_the_oldest_goes() {
        let mut random = Random(ChaCha20Rng::seed_from_u64(2));
        let mut standing = standing();
        standing.use_roster(Some(random.in_force()));
        let wanted = |memory| Requirements {
            device: DeviceClass::Any,
            device_memory_bytes: memory,
            environments: Vec::new(),
        };
        for memory in 0..200 {
            standing.draw_indexed(&Hash::ZERO, &wanted(memory), 0, 0, false);
            standing.draw_indexed(&Hash::ZERO, &wanted(0), 0, 0, false);
        }
        assert_eq!(standing.indexes.kinds.len(), KINDS_MAX);
        assert!(standing.indexes.find(&wanted(0)).is_some());
        assert!(standing.indexes.find(&wanted(199)).is_some());
        assert!(standing.indexes.find(&wanted(100)).is_none());
    }
}
