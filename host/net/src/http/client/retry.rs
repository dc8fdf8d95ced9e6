//! When to send a request again, and how long to wait before that.

use std::pin::Pin;
use std::time::Duration;

/// How often and how fast a request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all; 1 repeats nothing.
    pub attempts_max: u32,
    /// The longest wait before the second attempt, in milliseconds. It doubles with each attempt.
    pub first_ms: u64,
    /// The longest wait before any attempt, in milliseconds, also if the other side asks for more.
    pub wait_ms_max: u64,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry {
            attempts_max: 4,
            first_ms: 200,
            wait_ms_max: 10_000,
        }
    }
}

impl Retry {
    /// Every request is sent once.
    pub const NEVER: Retry = Retry {
        attempts_max: 1,
        first_ms: 0,
        wait_ms_max: 0,
    };

    /// How long to wait after `failed` attempts, of which there was at least one. `random` spreads
    /// the waits of many clients, which would else come back all at once: between half of the full
    /// wait and all of it. What the other side asks for (`retry_after_s`) is the least.
    pub fn wait(&self, failed: u32, retry_after_s: Option<u32>, random: u64) -> Duration {
        let doubled = failed.saturating_sub(1).min(32);
        let full = self
            .first_ms
            .saturating_mul(1u64 << doubled)
            .min(self.wait_ms_max);
        let half = full / 2;
        let jittered = half + random % (full - half + 1);
        let asked = u64::from(retry_after_s.unwrap_or_default()).saturating_mul(1000);
        Duration::from_millis(jittered.max(asked.min(self.wait_ms_max)))
    }
}

/// Waits. A test or a simulator puts its own in.
pub trait Sleeper: Send + Sync {
    /// Returns after `duration`.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioSleeper;

impl Sleeper for TokioSleeper {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_are_spread() {
        let retry = Retry {
            attempts_max: 9,
            first_ms: 100,
            wait_ms_max: 1000,
        };
        let ms = |failed, after, random| retry.wait(failed, after, random).as_millis();
        assert_eq!((ms(1, None, 0), ms(1, None, 50)), (50, 100));
        assert_eq!((ms(3, None, 0), ms(3, None, 200)), (200, 400));
        assert_eq!((ms(60, None, 0), ms(60, None, 500)), (500, 1000));
        for random in 0..1000 {
            assert!((50..=100).contains(&ms(1, None, random)));
        }
    }

    #[test]
    fn the_other_side_can_ask_for_more_but_not_for_ever() {
        let retry = Retry::default();
        assert_eq!(retry.wait(1, Some(3), 0).as_millis(), 3000);
        assert_eq!(retry.wait(1, Some(u32::MAX), 0).as_millis(), 10_000);
        assert_eq!(Retry::NEVER.wait(1, None, 7), Duration::ZERO);
    }
}
