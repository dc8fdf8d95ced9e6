//! What peers can make the server hold in memory by what they send or ask for: bodies that handlers
//! read whole, and answers that they build whole. Bounded for each address, so that one peer cannot
//! use up what others need, and for all together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use adit_protocol::Code;
use bytes::Bytes;

use super::{Limits, lock};
use crate::problem::Problem;

/// What is not counted of each request, in bytes: the usual ones stay out of the account, and out
/// of the refusals. How many there are at one time is bounded by [`Limits::requests_max`].
const UNCOUNTED: usize = 64 * 1024;

/// The account of a server.
#[derive(Debug)]
pub(super) struct Account {
    address_max: usize,
    all_max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Addresses that hold something.
    of: HashMap<IpAddr, usize>,
}

impl Account {
    pub(super) fn new(limits: &Limits) -> Arc<Account> {
        Arc::new(Account {
            address_max: limits.memory_per_address_max,
            all_max: limits.memory_max,
            held: Mutex::default(),
        })
    }
}

/// What one address may make the server hold. It is among the extensions of each request.
#[derive(Clone, Debug)]
pub struct Allowance {
    account: Arc<Account>,
    address: IpAddr,
}

impl Allowance {
    pub(super) fn of(account: &Arc<Account>, address: IpAddr) -> Allowance {
        Allowance {
            account: Arc::clone(account),
            // A dual-stack listener sees an IPv4 peer as ::ffff:a.b.c.d.
            address: address.to_canonical(),
        }
    }

    /// Memory for one request or answer, of which nothing is taken yet.
    pub fn begin(&self) -> Memory {
        Memory {
            allowance: self.clone(),
            bytes: 0,
            counted: 0,
        }
    }
}

/// Memory that is held for a peer, until this is dropped.
#[derive(Debug)]
pub struct Memory {
    allowance: Allowance,
    bytes: usize,
    /// What of it is in the account.
    counted: usize,
}

impl Memory {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// `overloaded`, if they are more than the address may hold, or all together.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let total = self.bytes.saturating_add(bytes);
        let more = total.saturating_sub(UNCOUNTED).saturating_sub(self.counted);
        if more > 0 {
            let account = &self.allowance.account;
            let mut held = lock(&account.held);
            let own = held.of.get(&self.allowance.address).copied();
            let own = own.unwrap_or(0).saturating_add(more);
            let all = held.all.saturating_add(more);
            if own > account.address_max || all > account.all_max {
                return Err(Problem::new(
                    Code::Overloaded,
                    match own > account.address_max {
                        true => "as many bytes are on their way from or to this address as the server holds for one",
                        false => "as many bytes are on their way as the server holds at once",
                    },
                )
                .hint("finish what was begun before, then send the request again")
                .retry_after_s(1));
            }
            held.all = all;
            held.of.insert(self.allowance.address, own);
            self.counted = self.counted.saturating_add(more);
        }
        self.bytes = total;
        Ok(())
    }

    /// The bytes that it was taken for, which hold it for as long as they are there themselves.
    pub fn hold(self, bytes: impl Into<Bytes>) -> Bytes {
        let bytes = bytes.into();
        match self.counted {
            0 => bytes,
            _ => Bytes::from_owner(Kept {
                bytes,
                _memory: self,
            }),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.counted == 0 {
            return;
        }
        let mut held = lock(&self.allowance.account.held);
        held.all = held.all.saturating_sub(self.counted);
        if let Some(own) = held.of.get_mut(&self.allowance.address) {
            *own = own.saturating_sub(self.counted);
            if *own == 0 {
                held.of.remove(&self.allowance.address);
            }
        }
    }
}

struct Kept {
    bytes: Bytes,
    _memory: Memory,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn account() -> Arc<Account> {
        Account::new(&Limits {
            memory_per_address_max: 1_000_000,
            memory_max: 1_500_000,
            ..Limits::default()
        })
    }

    #[test]
    fn each_address_has_a_bound_and_so_have_all() {
        let account = account();
        let (one, other) = (Allowance::of(&account, ONE), Allowance::of(&account, OTHER));
        let mut first = one.begin();
        first.grow(UNCOUNTED + 900_000).unwrap();
        let mut second = one.begin();
        let refused = second.grow(UNCOUNTED + 100_001).unwrap_err();
        assert_eq!(
            (refused.code, refused.retry_after_s),
            (Code::Overloaded, Some(1))
        );
        // What was refused is not counted, and what is short never is.
        second.grow(UNCOUNTED).unwrap();
        second.grow(100_000).unwrap();
        assert!(second.grow(1).is_err());
        let mut third = other.begin();
        assert!(third.grow(UNCOUNTED + 500_001).is_err());
        third.grow(UNCOUNTED + 500_000).unwrap();
        drop(first);
        one.begin().grow(UNCOUNTED + 900_000).unwrap();
        drop((second, third));
        let held = lock(&account.held);
        assert_eq!((held.all, held.of.len()), (0, 0));
    }

    #[test]
    fn bytes_hold_their_memory() {
        let account = account();
        let one = Allowance::of(&account, ONE);
        let mut memory = one.begin();
        memory.grow(900_000).unwrap();
        let bytes = memory.hold(vec![7; 900_000]);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert!(one.begin().grow(900_000).is_err());
        assert_eq!(part, [7; 10][..]);
        drop(part);
        one.begin().grow(900_000).unwrap();
    }
}
