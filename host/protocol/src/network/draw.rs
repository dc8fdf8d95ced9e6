//! Which candidate gets a task: a function of the log alone, so that anyone can check each
//! assignment (protocol.md, "Draw").
//!
//! The number of a draw is BLAKE3(VRF output ‖ task id ‖ attempt ‖ replica), the two counters as
//! u32 LE. From the roster in force, those candidates are eligible that meet the task's
//! requirements, hold fewer open assignments by the log before this leaf than they have slots, and
//! never held an assignment of this task. The number modulo the sum of their weights falls on one.

use serde::Serialize;

use super::roster::{Candidate, PPM};
use crate::hash::{Hash, Hasher};
use crate::task::{DeviceClass, Requirements, Verification};

/// Upper ends of the round-trip classes, in microseconds; the last class has none.
const CLASSES_US: [u64; 4] = [5_000, 20_000, 60_000, 150_000];
/// Factors of the weight for each class, in parts per million.
const FACTORS_PPM: [u64; 5] = [PPM, 800_000, 600_000, 400_000, 250_000];
/// Valid results in a row from which on a miner's results are replicated by chance only.
pub const TRUSTED_STREAK: u32 = 10;
/// Results after which the older ones count half.
const HALVED_AT: u32 = 256;
/// How often a bad result counts.
const BAD_WEIGHT: u64 = 4;
/// Good results that each miner begins with, so that the first bad one is not the end.
const HEAD_START: u64 = 8;

/// The number of a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DrawNumber(Hash);

impl DrawNumber {
    /// The number for one replica of one attempt of a task.
    pub fn new(vrf_output: &Hash, task: &Hash, attempt: u32, replica: u32) -> DrawNumber {
        let mut hasher = Hasher::new();
        hasher
            .update(vrf_output.as_bytes())
            .update(task.as_bytes())
            .update(&attempt.to_le_bytes())
            .update(&replica.to_le_bytes());
        DrawNumber(hasher.finalize())
    }

    /// The candidate that it falls on: the first 16 bytes (LE) modulo the sum of the weights, walked
    /// in the order given. `None` if the weights sum to 0.
    pub fn pick(&self, weights: impl IntoIterator<Item = u64> + Clone) -> Option<usize> {
        let total: u128 = weights.clone().into_iter().map(u128::from).sum();
        let mut left = self.below(total)?;
        weights.into_iter().position(|weight| {
            let weight = u128::from(weight);
            let hit = left < weight;
            left = left.saturating_sub(weight);
            hit
        })
    }

    /// The first 16 bytes (LE) modulo a sum of weights; `None` if that is 0.
    pub(super) fn below(&self, total: u128) -> Option<u128> {
        let [low, _] = self.halves();
        low.checked_rem(total)
    }

    /// The number itself, as it is shown.
    pub fn hash(&self) -> Hash {
        self.0
    }

    /// How many replicas a task gets whose first one was drawn with this number for a miner with
    /// this record: all of them, but of an adaptive task where the last `TRUSTED_STREAK` results or
    /// more of the miner were valid; then all with a probability of one in that streak (BOINC's
    /// adaptive replication), else one.
    pub fn replicas(&self, verification: &Verification, streak: u32) -> u8 {
        let [_, high] = self.halves();
        let checked = high.checked_rem(u128::from(streak)) == Some(0);
        match verification.adaptive && streak >= TRUSTED_STREAK && !checked {
            true => 1,
            false => verification.replicas,
        }
    }

    fn halves(&self) -> [u128; 2] {
        let (chunks, _) = self.0.as_bytes().as_chunks::<16>();
        let half = |at: usize| chunks.get(at).map_or(0, |c| u128::from_le_bytes(*c));
        [half(0), half(1)]
    }
}

/// Whether a candidate meets a task's requirements.
pub fn meets(candidate: &Candidate, requirements: &Requirements) -> bool {
    let gpu = |memory: u64| memory >= requirements.device_memory_bytes;
    let device = match requirements.device {
        DeviceClass::Any => candidate.cpu || candidate.gpu_memory_bytes.is_some_and(gpu),
        DeviceClass::Cpu => candidate.cpu,
        DeviceClass::Gpu => candidate.gpu_memory_bytes.is_some_and(gpu),
    };
    let wanted = &requirements.environments;
    let offered = |hash: &Hash| candidate.environments.binary_search(hash).is_ok();
    device && (wanted.is_empty() || wanted.iter().any(offered))
}

/// The weight of a candidate in a draw: that of the roster, times the factor of its round-trip
/// class where the client is in the coordinator's own region. At least 1 if the roster's is.
pub fn draw_weight(candidate: &Candidate, local: bool) -> u64 {
    let factor = match local {
        true => locality_factor_ppm(candidate.locality),
        false => PPM,
    };
    let weight = u128::from(candidate.weight) * u128::from(factor) / u128::from(PPM);
    match candidate.weight {
        0 => 0,
        _ => u64::try_from(weight.max(1)).unwrap_or(u64::MAX),
    }
}

/// The class of a round trip in microseconds: below 5, 20, 60 and 150 ms are classes 0 to 3, all
/// else, and what was never measured, is class 4.
pub fn locality_class(round_trip_us: Option<u64>) -> u8 {
    let last = CLASSES_US.len();
    let class = round_trip_us.map_or(last, |us| CLASSES_US.partition_point(|end| *end <= us));
    u8::try_from(class).unwrap_or(u8::MAX)
}

/// The factor of a class, in parts per million.
pub fn locality_factor_ppm(class: u8) -> u64 {
    let [.., last] = FACTORS_PPM;
    FACTORS_PPM.get(usize::from(class)).copied().unwrap_or(last)
}

/// How a miner's work for one coordinator turned out, by the verdicts and expiries of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Accepted results, the older ones halved.
    pub good: u32,
    /// Rejected results and expired leases that the miner had accepted, the older ones halved.
    pub bad: u32,
    /// Results in a row that agreed with those of others; 0 after a bad one.
    pub streak: u32,
}

impl Record {
    /// A result was accepted; `compared` if it agreed with that of another miner.
    pub fn accepted(&mut self, compared: bool) {
        self.good = self.good.saturating_add(1);
        self.streak = self.streak.saturating_add(u32::from(compared));
        self.halve();
    }

    /// A result was rejected through the miner's fault, or a lease that it had accepted expired.
    pub fn failed(&mut self) {
        self.bad = self.bad.saturating_add(1);
        self.streak = 0;
        self.halve();
    }

    /// (8 + good) / (8 + good + 4 · bad), in parts per million.
    pub fn quality_ppm(&self) -> u64 {
        let good = HEAD_START + u64::from(self.good);
        let all = good + BAD_WEIGHT * u64::from(self.bad);
        (good * PPM).checked_div(all).unwrap_or(0)
    }

    fn halve(&mut self) {
        if self.good.saturating_add(self.bad) >= HALVED_AT {
            self.good /= 2;
            self.bad /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: u32) -> DrawNumber {
        DrawNumber::new(&Hash::of(b"output"), &Hash::of(b"task"), n, 0)
    }

    #[test]
    fn draws_follow_the_weights() {
        let weights = [100u64, 0, 300, 600];
        let draws = 40_000u32;
        let mut counts = [0u32; 4];
        for n in 0..draws {
            counts[number(n).pick(weights).unwrap()] += 1;
        }
        assert_eq!(counts[1], 0);
        let total: u64 = weights.iter().sum();
        let chi: f64 = (weights.iter().zip(counts))
            .filter(|(weight, _)| **weight > 0)
            .map(|(weight, count)| {
                let expected = f64::from(draws) * *weight as f64 / total as f64;
                (f64::from(count) - expected).powi(2) / expected
            })
            .sum();
        // Two degrees of freedom: 13.8 is passed by chance once in a thousand; this is one seed.
        assert!(chi < 13.8, "{chi}");
        assert_eq!(number(0).pick([]), None);
        assert_eq!(number(0).pick([0, 0]), None);
        assert_eq!(number(0).pick([u64::MAX; 4]).map(|at| at < 4), Some(true));
    }

    #[test]
    fn trusted_miners_are_replicated_once_in_their_streak() {
        let mut verification = Verification {
            replicas: 3,
            quorum: 2,
            adaptive: true,
            tolerance: false,
        };
        let all = |v: &Verification, streak| {
            (0..10_000)
                .filter(|n| number(*n).replicas(v, streak) == 3)
                .count()
        };
        assert_eq!(all(&verification, TRUSTED_STREAK - 1), 10_000);
        let tenth = all(&verification, 10);
        assert!((900..1_100).contains(&tenth), "{tenth}");
        let hundredth = all(&verification, 100);
        assert!((70..130).contains(&hundredth), "{hundredth}");
        verification.adaptive = false;
        assert_eq!(all(&verification, 1_000), 10_000);
    }

    #[test]
    fn round_trips_have_classes() {
        let classes = [
            (0, 0),
            (4_999, 0),
            (5_000, 1),
            (59_999, 2),
            (60_000, 3),
            (150_000, 4),
        ];
        for (us, class) in classes {
            assert_eq!(locality_class(Some(us)), class, "{us}");
        }
        assert_eq!(locality_class(None), 4);
        assert_eq!(locality_factor_ppm(0), PPM);
        assert_eq!(locality_factor_ppm(200), locality_factor_ppm(4));
    }

    #[test]
    fn records_forget_slowly_and_bad_results_count_more() {
        let mut record = Record::default();
        assert_eq!(record.quality_ppm(), PPM);
        record.failed();
        assert_eq!(record.quality_ppm(), 666_666);
        for _ in 0..1_000 {
            record.accepted(true);
        }
        assert!(record.quality_ppm() > 990_000);
        assert_eq!(record.streak, 1_000);
        assert!(record.good < HALVED_AT);
        record.failed();
        assert_eq!(record.streak, 0);
        for _ in 0..1_000 {
            record.failed();
        }
        assert!(record.quality_ppm() < 20_000);
    }
}
