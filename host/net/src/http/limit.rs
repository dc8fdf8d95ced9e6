//! What one address may ask for: so many requests of a costly kind in a time, so many at once.
//!
//! Both are bounded themselves: an address is forgotten once nothing is known of it that matters, and
//! those that find no room share what is left. IPv6 addresses count by their first 64 bits, since
//! whoever has one has all of these.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use adit_protocol::Code;

use crate::problem::Problem;

/// Addresses that are known of at one time.
const ADDRESSES_MAX: usize = 65_536;

/// The part of an address that counts.
fn part(address: IpAddr) -> IpAddr {
    // A dual-stack listener sees an IPv4 peer as ::ffff:a.b.c.d.
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bucket of requests for each address: `burst` at once, and `per_s` more each second.
#[derive(Debug)]
pub struct RateLimit {
    per_s: f64,
    burst: f64,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    of: HashMap<IpAddr, Bucket>,
    /// Of all for whom there is no room.
    others: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, per_s: f64, burst: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * per_s).min(burst);
        self.at = now;
    }
}

impl RateLimit {
    /// A limit that nobody has used yet.
    pub fn new(burst: u32, per_s: u32) -> RateLimit {
        let others = Bucket {
            left: f64::from(burst),
            at: Instant::now(),
        };
        RateLimit {
            per_s: f64::from(per_s),
            burst: f64::from(burst),
            buckets: Mutex::new(Buckets {
                of: HashMap::new(),
                others,
            }),
        }
    }

    /// Takes a request of an address.
    ///
    /// # Errors
    /// `quota-exceeded`, with the time after which there is one again.
    pub fn take(&self, address: IpAddr) -> Result<(), Problem> {
        self.take_at(part(address), Instant::now())
    }

    fn take_at(&self, address: IpAddr, now: Instant) -> Result<(), Problem> {
        let (per_s, burst) = (self.per_s, self.burst);
        let mut buckets = lock(&self.buckets);
        if buckets.of.len() >= ADDRESSES_MAX && !buckets.of.contains_key(&address) {
            // A full bucket is what an address begins with.
            buckets.of.retain(|_, bucket| {
                bucket.refill(per_s, burst, now);
                bucket.left < burst
            });
        }
        let bucket = match buckets.of.len() < ADDRESSES_MAX || buckets.of.contains_key(&address) {
            true => buckets.of.entry(address).or_insert(Bucket {
                left: burst,
                at: now,
            }),
            false => &mut buckets.others,
        };
        bucket.refill(per_s, burst, now);
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            return Ok(());
        }
        Err(Problem::new(
            Code::QuotaExceeded,
            "this address has sent more that was refused than the node looks at",
        )
        .hint("send what will be accepted, and less of it at a time")
        .retry_after_s(1))
    }

    /// Gives back a request that was of use, so that it does not count.
    pub fn give_back(&self, address: IpAddr) {
        let mut buckets = lock(&self.buckets);
        if let Some(bucket) = buckets.of.get_mut(&part(address)) {
            bucket.left = (bucket.left + 1.0).min(self.burst);
        }
    }
}

/// Places for what lasts, as streams do: so many in all, and for each address.
#[derive(Clone, Debug)]
pub struct Places(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    all_max: usize,
    address_max: usize,
    of: Mutex<HashMap<IpAddr, usize>>,
}

/// A place that is taken, until this is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    /// Places that nobody has taken yet.
    pub fn new(all_max: usize, address_max: usize) -> Places {
        Places(Arc::new(Taken {
            all_max,
            address_max,
            of: Mutex::default(),
        }))
    }

    /// Takes one for an address.
    ///
    /// # Errors
    /// `overloaded`.
    pub fn take(&self, address: IpAddr) -> Result<Place, Problem> {
        let address = part(address);
        let mut of = lock(&self.0.of);
        let all: usize = of.values().sum();
        let own = of.get(&address).copied().unwrap_or(0);
        if all >= self.0.all_max || own >= self.0.address_max {
            let whose = match own >= self.0.address_max {
                true => "this address has",
                false => "all together have",
            };
            return Err(Problem::new(
                Code::Overloaded,
                format!("{whose} as many streams as the node serves at once"),
            )
            .hint("end one that is not needed, or ask for what you need instead")
            .retry_after_s(5));
        }
        of.insert(address, own.saturating_add(1));
        drop(of);
        Ok(Place {
            places: self.clone(),
            address,
        })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        lock(&self.0.of).values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of = lock(&self.places.0.of);
        if let Some(own) = of.get_mut(&self.address) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                of.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn v4(last: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0xc000_0000 + last))
    }

    #[test]
    fn a_bucket_runs_empty_for_its_address_alone_and_fills_again() {
        let limit = RateLimit::new(3, 2);
        let now = Instant::now();
        for _ in 0..3 {
            limit.take_at(v4(1), now).unwrap();
        }
        let refused = limit.take_at(v4(1), now).unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_after_s),
            (Code::QuotaExceeded, Some(1))
        );
        limit.take_at(v4(2), now).unwrap();
        let later = now + Duration::from_millis(600);
        limit.take_at(v4(1), later).unwrap();
        assert!(limit.take_at(v4(1), later).is_err());
        // What was of use does not count.
        limit.give_back(v4(1));
        limit.take_at(v4(1), later).unwrap();
        // No more than the burst, however long nothing came.
        let much_later = later + Duration::from_secs(3600);
        for _ in 0..3 {
            limit.take_at(v4(1), much_later).unwrap();
        }
        assert!(limit.take_at(v4(1), much_later).is_err());
    }

    #[test]
    fn addresses_that_find_no_room_share_what_is_left() {
        let limit = RateLimit::new(2, 1);
        let now = Instant::now();
        let all = u32::try_from(ADDRESSES_MAX).unwrap();
        for address in 0..all {
            limit.take_at(v4(address), now).unwrap();
        }
        limit.take_at(v4(all), now).unwrap();
        limit.take_at(v4(all + 1), now).unwrap();
        assert!(limit.take_at(v4(all + 2), now).is_err());
        assert_eq!(lock(&limit.buckets).of.len(), ADDRESSES_MAX);
        // Those who are known keep their own, and those that are full again make room.
        limit.take_at(v4(0), now).unwrap();
        let later = now + Duration::from_secs(1);
        limit.take_at(v4(all + 2), later).unwrap();
        assert!(lock(&limit.buckets).of.len() < 10);
    }

    #[test]
    fn places_are_bounded_for_each_address_and_for_all() {
        let places = Places::new(3, 2);
        let first = places.take(v4(1)).unwrap();
        let second = places.take(v4(1)).unwrap();
        assert_eq!(places.take(v4(1)).unwrap_err().code, Code::Overloaded);
        let third = places.take(v4(2)).unwrap();
        assert_eq!(places.take(v4(3)).unwrap_err().code, Code::Overloaded);
        drop(first);
        let fourth = places.take(v4(3)).unwrap();
        drop((second, third, fourth));
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn the_addresses_of_one_network_count_as_one() {
        let places = Places::new(9, 1);
        let _one = places.take("2001:db8::1".parse().unwrap()).unwrap();
        places
            .take("2001:db8::ffff:1".parse().unwrap())
            .unwrap_err();
        let _other = places.take("2001:db8:0:1::1".parse().unwrap()).unwrap();
        let _v4 = places.take("192.0.2.1".parse().unwrap()).unwrap();
        places
            .take("::ffff:192.0.2.1".parse().unwrap())
            .unwrap_err();
    }
}
