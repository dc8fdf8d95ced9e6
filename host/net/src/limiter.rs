//! Rates of requests: token buckets, one for each name, on a clock that is passed in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A bucket is counted in the parts of a token that a millisecond adds at a rate of one a minute.
const PARTS: u64 = 60_000;

/// A bucket that holds a minute's worth of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    per_minute: u32,
    parts: u64,
    filled_ms: u64,
}

impl TokenBucket {
    /// A full bucket at a time in milliseconds.
    pub fn new(per_minute: u32, now_ms: u64) -> TokenBucket {
        TokenBucket {
            per_minute,
            parts: u64::from(per_minute) * PARTS,
            filled_ms: now_ms,
        }
    }

    /// Takes tokens, or none at all.
    ///
    /// # Errors
    /// The milliseconds after which there are enough; `u64::MAX` if there never are.
    pub fn take(&mut self, tokens: u32, now_ms: u64) -> Result<(), u64> {
        self.fill(now_ms);
        let wanted = u64::from(tokens) * PARTS;
        let Some(missing) = wanted.checked_sub(self.parts).filter(|parts| *parts > 0) else {
            self.parts -= wanted;
            return Ok(());
        };
        match tokens > self.per_minute {
            true => Err(u64::MAX),
            false => Err(missing.div_ceil(u64::from(self.per_minute))),
        }
    }

    /// Changes the rate; what was saved up stays, up to the new capacity.
    fn set_rate(&mut self, per_minute: u32, now_ms: u64) {
        self.fill(now_ms);
        self.per_minute = per_minute;
        self.parts = self.parts.min(u64::from(per_minute) * PARTS);
    }

    fn is_full(&self) -> bool {
        self.parts >= u64::from(self.per_minute) * PARTS
    }

    fn fill(&mut self, now_ms: u64) {
        // A clock that was set back adds nothing, and counts on from where it is.
        let passed = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = now_ms;
        let rate = u64::from(self.per_minute);
        let added = passed.min(60_000) * rate;
        self.parts = (self.parts + added).min(rate * PARTS);
    }
}

/// Buckets by name.
#[derive(Debug, Default)]
pub struct RateLimiter {
    buckets: Mutex<HashMap<Arc<str>, TokenBucket>>,
}

impl RateLimiter {
    /// No buckets yet.
    pub fn new() -> RateLimiter {
        RateLimiter::default()
    }

    /// Takes tokens from the bucket of `name`, which holds `per_minute` of them. A name that has
    /// not been seen has a full one. Names must come from a bounded set, as clients with a token.
    ///
    /// # Errors
    /// The milliseconds after which there are enough; `u64::MAX` if there never are.
    pub fn take(
        &self,
        name: &Arc<str>,
        per_minute: u32,
        tokens: u32,
        now_ms: u64,
    ) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets
            .entry(Arc::clone(name))
            .or_insert_with(|| TokenBucket::new(per_minute, now_ms));
        if bucket.per_minute != per_minute {
            bucket.set_rate(per_minute, now_ms);
        }
        bucket.take(tokens, now_ms)
    }

    /// Drops the buckets that are full, which are as good as new ones. To be called now and then.
    pub fn tidy(&self, now_ms: u64) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.retain(|_, bucket| {
            bucket.fill(now_ms);
            !bucket.is_full()
        });
    }

    /// The number of buckets.
    pub fn len(&self) -> usize {
        self.buckets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_minutes_worth_at_once_then_the_rate() {
        let mut bucket = TokenBucket::new(60, 0);
        assert_eq!(bucket.take(60, 0), Ok(()));
        assert_eq!(bucket.take(1, 0), Err(1000));
        assert_eq!(bucket.take(1, 999), Err(1));
        assert_eq!(bucket.take(1, 1000), Ok(()));
        assert_eq!(bucket.take(2, 1500), Err(1500));
        assert_eq!(bucket.take(61, 1_000_000), Err(u64::MAX));
        assert_eq!(bucket.take(60, 1_000_000), Ok(()));
        // The clock is set back by a quarter of an hour, and goes on from there.
        assert_eq!(bucket.take(1, 100_000), Err(1000));
        assert_eq!(bucket.take(1, 101_000), Ok(()));
        assert_eq!(TokenBucket::new(0, 0).take(1, 9), Err(u64::MAX));
        assert_eq!(TokenBucket::new(0, 0).take(0, 9), Ok(()));
    }

    #[test]
    fn names_do_not_share_and_full_buckets_are_dropped() {
        let limiter = RateLimiter::new();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert_eq!(limiter.take(&a, 1, 1, 0), Ok(()));
        assert_eq!(limiter.take(&a, 1, 1, 0), Err(60_000));
        assert_eq!(limiter.take(&b, 1, 1, 30_000), Ok(()));
        limiter.tidy(60_000);
        assert_eq!(limiter.len(), 1);
        assert_eq!(limiter.take(&a, 1, 1, 60_000), Ok(()));
        // A higher rate holds from when it is first seen, with what had been saved up before.
        assert_eq!(limiter.take(&a, 60, 1, 61_000), Err(984));
        assert_eq!(limiter.take(&a, 60, 1, 61_984), Ok(()));
    }

    proptest! {
        #[test]
        fn the_rate_is_never_exceeded(
            rate in 1..10_000u32,
            steps in proptest::collection::vec((0..5_000u64, 1..200u32), 1..200),
        ) {
            let mut bucket = TokenBucket::new(rate, 0);
            let (mut now, mut taken) = (0u64, 0u64);
            for (wait, tokens) in steps {
                now += wait;
                match bucket.take(tokens, now) {
                    Ok(()) => taken += u64::from(tokens),
                    Err(u64::MAX) => prop_assert!(tokens > rate),
                    Err(wait) => {
                        // It is exact: not a millisecond earlier.
                        let mut copy = bucket;
                        prop_assert!(copy.take(tokens, now + wait - 1).is_err());
                        let mut copy = bucket;
                        prop_assert!(copy.take(tokens, now + wait).is_ok());
                    }
                }
                prop_assert!(taken * 60_000 <= u64::from(rate) * (60_000 + now));
            }
        }
    }
}
