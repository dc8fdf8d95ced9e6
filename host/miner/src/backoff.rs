//! How long to wait before something that failed is tried again.

use std::time::Duration;

use adit_net::SharedRng;

/// The first wait is at most this long.
const FIRST: Duration = Duration::from_millis(250);
/// No wait is longer, unless the other side asks for it.
const LONGEST: Duration = Duration::from_secs(30);

/// Waits that grow with each failure, with jitter, so that a thousand miners do not come back to a
/// coordinator in the same moment.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It worked: the next wait is a short one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often it failed in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The wait after one more failure: between half and all of 250 ms, doubled with each failure up
    /// to 30 s; and `at_least` with the same jitter, if the other side asked for that.
    pub fn next(&mut self, rng: &SharedRng, at_least: Option<Duration>) -> Duration {
        let doubled = FIRST.saturating_mul(1u32.checked_shl(self.failures.min(16)).unwrap_or(1));
        self.failures = self.failures.saturating_add(1);
        let most = doubled.min(LONGEST);
        let half = most / 2;
        let jitter = rng.below(half.as_micros().saturating_add(1)).unwrap_or(0);
        let jitter = Duration::from_micros(u64::try_from(jitter).unwrap_or(0));
        let asked = at_least.map(|at_least| at_least.saturating_add(jitter));
        (half + jitter).max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_again() {
        let rng = SharedRng::system();
        let mut backoff = Backoff::default();
        let mut most = Duration::from_millis(250);
        for _ in 0..40 {
            let wait = backoff.next(&rng, None);
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
            most = (most * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.next(&rng, None) <= FIRST);
        let asked = Duration::from_secs(90);
        assert!(backoff.next(&rng, Some(asked)) >= asked);
    }
}
