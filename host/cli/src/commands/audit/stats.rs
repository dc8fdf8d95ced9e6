//! What is counted while a log is read: entries, outcomes, times, and draws against weights.

use std::collections::BTreeMap;

use adit_protocol::network::draw::{draw_weight, meets};
use adit_protocol::network::entry::{CancelledBy, Decision};
use adit_protocol::network::standing::Standing;
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::task::Requirements;
use serde::{Serialize, Serializer};

use super::report::key;

/// Most points of a course in time.
const POINTS_MAX: usize = 512;
/// The latest time that is believed to be one: the year 9999.
const TIME_MS_MAX: u64 = 253_402_300_799_999;

/// Everything that is counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// Entries by type.
    pub entries: BTreeMap<&'static str, u64>,
    /// Tasks that were assigned at least once.
    pub tasks: u64,
    /// Receipts by the status in them.
    pub statuses: BTreeMap<&'static str, u64>,
    /// Receipts by what was decided of them.
    pub decisions: BTreeMap<&'static str, u64>,
    /// Leases that ended without a receipt and count against the miner; and those that do not.
    pub expired: [u64; 2],
    /// Cancelled assignments by who cancelled.
    pub cancelled: BTreeMap<&'static str, u64>,
    /// Draws that were made again.
    pub draws_checked: u64,
    /// Draws of tasks whose requirements are not disclosed.
    pub draws_undisclosed: u64,
    /// Draws from lists that could not be had.
    pub draws_without_roster: u64,
    /// Lists of candidates that were checked.
    pub rosters_checked: u64,
    /// Lists that could not be had.
    pub rosters_missing: u64,
    /// Lists whose membership could not be had.
    pub rosters_without_membership: u64,
    /// Numbers of receipts that miners left out.
    pub gaps: u64,
    /// Receipts that are not judged yet.
    pub receipts_open: u64,
    /// Assignments that have not ended.
    pub leases_open: u64,
    /// Those of them whose time was over before the log's newest entry.
    pub leases_overdue: u64,
    /// Assignments over time, by the coordinator's clock.
    pub course: Course,
    /// Times that runs took, as the miners claim.
    pub durations: Durations,
    /// The miners by key.
    #[serde(serialize_with = "miners")]
    pub miners: BTreeMap<[u8; 32], Miner>,
    /// The newest time that the log names, in milliseconds since 1970.
    pub newest_ms: u64,
    /// The oldest.
    pub oldest_ms: Option<u64>,
}

fn miners<S: Serializer>(miners: &BTreeMap<[u8; 32], Miner>, s: S) -> Result<S::Ok, S::Error> {
    s.collect_map(miners.iter().map(|(node, miner)| (key(node), miner)))
}

/// What is counted of a miner.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Miner {
    /// Assignments.
    pub assignments: u64,
    /// Draws that fell on it, of those that were made again.
    pub draws: u64,
    /// How many of those were to be expected by its weight each time.
    pub expected: f64,
    /// The variance of that.
    pub variance: f64,
    /// Receipts.
    pub receipts: u64,
    /// Those that were accepted.
    pub accepted: u64,
    /// Those that were found to be wrong.
    pub wrong: u64,
    /// Those that were judged, do not count, and were not found to be wrong: they came too late, say.
    pub void: u64,
    /// Leases that expired.
    pub expired: u64,
}

impl Miner {
    /// How many standard deviations the draws are from what was to be expected.
    pub fn deviation(&self) -> Option<f64> {
        let sigma = self.variance.sqrt();
        (sigma > 0.0).then(|| (self.draws as f64 - self.expected) / sigma)
    }
}

impl Stats {
    /// A time that an entry names.
    pub fn time(&mut self, ms: u64) {
        if ms > TIME_MS_MAX {
            return;
        }
        self.newest_ms = self.newest_ms.max(ms);
        self.oldest_ms = Some(self.oldest_ms.unwrap_or(ms).min(ms));
    }

    /// A receipt.
    pub fn receipt(&mut self, body: &ReceiptBody) {
        *self.statuses.entry(body.status.name()).or_default() += 1;
        self.durations.add(body.duration_us);
        self.miners.entry(body.miner).or_default().receipts += 1;
    }

    /// A decision on a receipt.
    pub fn decision(&mut self, decision: Decision, miner: Option<&[u8; 32]>) {
        *self.decisions.entry(decision_name(decision)).or_default() += 1;
        if let Some(miner) = miner.and_then(|node| self.miners.get_mut(node)) {
            match decision {
                Decision::Accepted => miner.accepted += 1,
                Decision::Outvoted | Decision::Mismatch | Decision::RefusedByValidator => {
                    miner.wrong += 1;
                }
                _ => miner.void += 1,
            }
        }
    }

    /// A cancel of this many assignments.
    pub fn cancel(&mut self, by: CancelledBy, assignments: u64) {
        let name = match by {
            CancelledBy::Client => "client",
            CancelledBy::Coordinator => "coordinator",
            CancelledBy::Decided => "decided",
        };
        *self.cancelled.entry(name).or_default() += assignments;
    }

    /// A draw that was made again, before its assignment is taken in: what each candidate's chance
    /// was.
    pub fn draw(
        &mut self,
        standing: &Standing,
        task: &adit_protocol::Hash,
        requirements: &Requirements,
        local: bool,
        drawn: &[u8; 32],
    ) {
        let Some(force) = standing.in_force() else {
            return;
        };
        let held = standing.task(task).map_or(&[][..], |task| &task.held);
        // Those that the draw itself leaves (Standing::draw).
        let eligible = |candidate: &&adit_protocol::network::roster::Candidate| {
            meets(candidate, requirements)
                && !held.contains(&candidate.node)
                && standing.load(&candidate.node) < candidate.slots
        };
        let candidates = || force.roster.candidates.iter().filter(eligible);
        let total: f64 = candidates().map(|c| draw_weight(c, local) as f64).sum();
        if total > 0.0 {
            for candidate in candidates() {
                let chance = draw_weight(candidate, local) as f64 / total;
                let miner = self.miners.entry(candidate.node).or_default();
                miner.expected += chance;
                miner.variance += chance * (1.0 - chance);
            }
        }
        self.miners.entry(*drawn).or_default().draws += 1;
    }

    /// Entries of a type.
    pub fn of(&self, entry: &str) -> u64 {
        self.entries.get(entry).copied().unwrap_or(0)
    }
}

/// The name of a decision, as in JSON.
pub fn decision_name(decision: Decision) -> &'static str {
    match decision {
        Decision::Accepted => "accepted",
        Decision::Outvoted => "outvoted",
        Decision::NoQuorum => "no-quorum",
        Decision::RefusedByValidator => "refused-by-validator",
        Decision::Late => "late",
        Decision::Mismatch => "mismatch",
        Decision::NotAttestable => "not-attestable",
        Decision::TaskCancelled => "task-cancelled",
    }
}

/// How many came when: a bounded number of points, which are joined two by two when there are too
/// many.
#[derive(Clone, Debug)]
pub struct Course {
    width_ms: u64,
    points: BTreeMap<u64, u64>,
}

impl Default for Course {
    fn default() -> Course {
        Course {
            width_ms: 1000,
            points: BTreeMap::new(),
        }
    }
}

impl Course {
    /// One more at this time.
    pub fn add(&mut self, ms: u64) {
        if ms > TIME_MS_MAX {
            return;
        }
        let at = ms.checked_div(self.width_ms).unwrap_or(0);
        *self.points.entry(at).or_default() += 1;
        while self.points.len() > POINTS_MAX {
            self.width_ms = self.width_ms.saturating_mul(2);
            let mut joined = BTreeMap::new();
            for (at, count) in std::mem::take(&mut self.points) {
                *joined.entry(at / 2).or_default() += count;
            }
            self.points = joined;
        }
    }

    /// The length of a point's time in milliseconds.
    pub fn width_ms(&self) -> u64 {
        self.width_ms
    }

    /// Beginning in milliseconds and count, ascending; times without any are left out.
    pub fn points(&self) -> impl Iterator<Item = (u64, u64)> {
        let width = self.width_ms;
        self.points
            .iter()
            .map(move |(at, count)| (at.saturating_mul(width), *count))
    }
}

impl Serialize for Course {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown {
            width_ms: u64,
            points: Vec<(u64, u64)>,
        }
        Shown {
            width_ms: self.width_ms,
            points: self.points().collect(),
        }
        .serialize(s)
    }
}

/// A histogram of times with four steps to a factor of ten, from 1 microsecond on.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    steps: BTreeMap<u8, u64>,
    count: u64,
}

/// The ends of the steps within a factor of ten, in tenths.
const STEPS: [u64; 4] = [10, 18, 32, 56];

impl Durations {
    /// One more.
    pub fn add(&mut self, us: u64) {
        let mut step = 0u8;
        while step < u8::MAX && Durations::end(step) <= us {
            step = step.saturating_add(1);
        }
        *self.steps.entry(step).or_default() += 1;
        self.count += 1;
    }

    /// The end of a step in microseconds; each begins where the one before ends, the first at 0.
    pub fn end(step: u8) -> u64 {
        let tens = u32::from(step / 4);
        let part = STEPS.get(usize::from(step % 4)).copied().unwrap_or(10);
        let power = 10u64.checked_pow(tens);
        power
            .and_then(|power| power.checked_mul(part))
            .map_or(u64::MAX, |tenths| (tenths / 10).max(1 + u64::from(step)))
    }

    /// Steps and counts, ascending; steps without any are left out.
    pub fn steps(&self) -> impl Iterator<Item = (u8, u64)> {
        self.steps.iter().map(|(step, count)| (*step, *count))
    }

    /// The end of the step that the given share of all (in parts per thousand) is within.
    pub fn quantile(&self, per_thousand: u64) -> Option<u64> {
        let wanted = self
            .count
            .saturating_mul(per_thousand)
            .div_ceil(1000)
            .max(1);
        let mut seen = 0u64;
        let step = self.steps.iter().find(|(_, count)| {
            seen = seen.saturating_add(**count);
            seen >= wanted
        });
        step.map(|(step, _)| Durations::end(*step))
    }
}

impl Serialize for Durations {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown {
            count: u64,
            p50_below_us: Option<u64>,
            p90_below_us: Option<u64>,
            p99_below_us: Option<u64>,
            below_us: Vec<(u64, u64)>,
        }
        Shown {
            count: self.count,
            p50_below_us: self.quantile(500),
            p90_below_us: self.quantile(900),
            p99_below_us: self.quantile(990),
            below_us: self
                .steps()
                .map(|(step, count)| (Durations::end(step), count))
                .collect(),
        }
        .serialize(s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_stays_bounded_and_loses_nothing() {
        let mut course = Course::default();
        for n in 0..100_000u64 {
            course.add(n * 700);
        }
        course.add(u64::MAX);
        let points: Vec<_> = course.points().collect();
        assert!(points.len() <= POINTS_MAX);
        assert_eq!(points.iter().map(|(_, count)| count).sum::<u64>(), 100_000);
        assert!(course.width_ms() >= 100_000 * 700 / POINTS_MAX as u64);
    }

    #[test]
    fn durations_have_ascending_steps() {
        for step in 0..u8::MAX {
            assert!(Durations::end(step) <= Durations::end(step + 1), "{step}");
        }
        for step in 0..40 {
            assert!(Durations::end(step) < Durations::end(step + 1), "{step}");
        }
        let mut durations = Durations::default();
        for us in [0, 1, 999, 1_000, 1_001, u64::MAX] {
            durations.add(us);
        }
        assert_eq!(durations.count, 6);
        assert_eq!(durations.quantile(500), Some(1_000));
        assert_eq!(durations.quantile(1000), Some(u64::MAX));
        assert_eq!(Durations::default().quantile(500), None);
    }
}
