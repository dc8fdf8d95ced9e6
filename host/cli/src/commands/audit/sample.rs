//! Which receipts are run again.
//!
//! Each receipt has a rank: BLAKE3("adit audit sample v1" ‖ seed u64 LE ‖ receipt id). The sample of
//! N is those with the N lowest ranks. So whoever has the seed arrives at the same sample, in
//! whatever order the log is read, and nobody who wrote the log before the seed was chosen could
//! know it.

use std::collections::BTreeMap;

use adit_protocol::Hash;
use adit_protocol::hash::Hasher;
use adit_protocol::network::entry::Decision;

/// A receipt that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its id.
    pub receipt: Hash,
    /// Its leaf.
    pub leaf: u64,
    /// The leaf of its assignment, if it had one.
    pub assignment_leaf: Option<u64>,
    /// What was decided of it.
    pub decision: Option<Decision>,
}

/// Chooses while the receipts go by.
#[derive(Clone, Debug)]
pub struct Sampler {
    seed: u64,
    max: Option<usize>,
    chosen: BTreeMap<Hash, Chosen>,
    offered: u64,
}

impl Sampler {
    /// For a sample of `max`, or of all.
    pub fn new(seed: u64, max: Option<usize>) -> Sampler {
        Sampler {
            seed,
            max,
            chosen: BTreeMap::new(),
            offered: 0,
        }
    }

    /// A receipt that may be chosen.
    pub fn offer(&mut self, candidate: Chosen) {
        self.offered = self.offered.saturating_add(1);
        let rank = Hasher::new()
            .update(b"adit audit sample v1")
            .update(&self.seed.to_le_bytes())
            .update(candidate.receipt.as_bytes())
            .finalize();
        self.chosen.insert(rank, candidate);
        if self.max.is_some_and(|max| self.chosen.len() > max) {
            self.chosen.pop_last();
        }
    }

    /// How many were offered.
    pub fn offered(&self) -> u64 {
        self.offered
    }

    /// The sample, in the order of leaves.
    pub fn take(self) -> Vec<Chosen> {
        let mut chosen: Vec<Chosen> = self.chosen.into_values().collect();
        chosen.sort_by_key(|chosen| chosen.leaf);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(n: u64) -> Chosen {
        Chosen {
            receipt: Hash::of(&n.to_le_bytes()),
            leaf: n,
            assignment_leaf: None,
            decision: None,
        }
    }

    #[test]
    fn a_sample_follows_from_its_seed_and_not_from_the_order() {
        let sample = |seed, order: &mut dyn Iterator<Item = u64>| {
            let mut sampler = Sampler::new(seed, Some(10));
            order.for_each(|n| sampler.offer(candidate(n)));
            assert_eq!(sampler.offered(), 1000);
            sampler.take()
        };
        let one = sample(1, &mut (0..1000));
        assert_eq!(one.len(), 10);
        assert!(one.is_sorted_by_key(|chosen| chosen.leaf));
        assert_eq!(one, sample(1, &mut (0..1000).rev()));
        assert_ne!(one, sample(2, &mut (0..1000)));
        let mut all = Sampler::new(1, None);
        (0..1000).for_each(|n| all.offer(candidate(n)));
        assert_eq!(all.take().len(), 1000);
    }

    #[test]
    fn everyone_is_chosen_about_as_often() {
        let mut times = [0u32; 20];
        for seed in 0..2000 {
            let mut sampler = Sampler::new(seed, Some(5));
            (0..20).for_each(|n| sampler.offer(candidate(n)));
            for chosen in sampler.take() {
                times[chosen.leaf as usize] += 1;
            }
        }
        // 500 each, with a standard deviation of 19.
        assert!(times.iter().all(|n| (400..600).contains(n)), "{times:?}");
    }
}
