//! Which signed requests were seen: a memory of nonces that is bounded and never forgets too soon.
//!
//! An entry is kept until its request has become too old to be accepted anyway. If the memory is
//! full, new requests are refused; dropping old entries in place of that would let them be
//! replayed.

use std::collections::{BTreeMap, HashMap, HashSet};

use adit_protocol::Hash;
use thiserror::Error;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonceLimits {
    /// Entries of all nodes, about 100 bytes each.
    pub entries_max: usize,
    /// Entries of one node, so that none can fill the memory by itself.
    pub entries_per_node_max: usize,
}

impl Default for NonceLimits {
    /// About 15,000 requests a second over a window of 70 s, and 930 a second of one node: a miner
    /// that is given short tasks one by one sends some hundreds.
    fn default() -> NonceLimits {
        NonceLimits {
            entries_max: 1 << 20,
            entries_per_node_max: 1 << 16,
        }
    }
}

/// Why a nonce is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NonceError {
    /// It was used before.
    #[error("this signed request was received before; hint: sign each request anew")]
    Replayed,
    /// It is from a time that is not remembered.
    #[error(
        "the request was signed before the time that the server remembers; hint: sign it again in {wait_s} s"
    )]
    Forgotten {
        /// In how many seconds the same clock is past that time.
        wait_s: u64,
    },
    /// The node has sent as many requests as are remembered of one.
    #[error(
        "the node sends more signed requests than are taken of one; hint: send fewer, larger batches"
    )]
    NodeFull,
    /// The memory is full.
    #[error("the server takes no more signed requests at the moment; hint: try again in a while")]
    Full,
}

/// Nonces that were used, by the second in which their requests were signed.
#[derive(Debug)]
pub struct Nonces {
    limits: NonceLimits,
    /// Nothing that was signed in this second or before is accepted: it is not remembered, be it
    /// for its age or because this process did not run yet. It never goes down, so that a clock
    /// that is set back opens nothing.
    floor_s: u64,
    seen: HashSet<[u8; 16]>,
    of_node: HashMap<[u8; 32], usize>,
    by_second: BTreeMap<u64, Vec<Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: [u8; 16],
    node: [u8; 32],
}

impl Nonces {
    /// An empty memory, which accepts nothing that was signed in the second `floor_s` or before.
    pub fn new(limits: NonceLimits, floor_s: u64) -> Nonces {
        Nonces {
            limits,
            floor_s,
            seen: HashSet::new(),
            of_node: HashMap::new(),
            by_second: BTreeMap::new(),
        }
    }

    /// The latest second in which any request that was accepted was signed, and at least the floor.
    /// After an orderly end, this is the floor to begin with.
    pub fn latest_s(&self) -> u64 {
        self.by_second
            .last_key_value()
            .map_or(self.floor_s, |(second, _)| (*second).max(self.floor_s))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Forgets what was signed in the second `until_s` or before, and accepts nothing of that time
    /// from now on.
    pub fn forget(&mut self, until_s: u64) {
        self.floor_s = self.floor_s.max(until_s);
        while let Some(second) = self.by_second.first_entry() {
            if *second.key() > self.floor_s {
                return;
            }
            for entry in second.remove() {
                self.seen.remove(&entry.id);
                if let Some(count) = self.of_node.get_mut(&entry.node) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.of_node.remove(&entry.node);
                    }
                }
            }
        }
    }

    /// Accepts a nonce once.
    ///
    /// # Errors
    /// [`NonceError`]; then nothing has changed.
    pub fn insert(
        &mut self,
        node: &[u8; 32],
        nonce: &str,
        created_s: u64,
    ) -> Result<(), NonceError> {
        if created_s <= self.floor_s {
            let wait_s = (self.floor_s - created_s).saturating_add(1);
            return Err(NonceError::Forgotten { wait_s });
        }
        let id = id(node, nonce);
        if self.seen.contains(&id) {
            return Err(NonceError::Replayed);
        }
        let of_node = self.of_node.get(node).copied().unwrap_or_default();
        if of_node >= self.limits.entries_per_node_max {
            return Err(NonceError::NodeFull);
        }
        if self.seen.len() >= self.limits.entries_max {
            return Err(NonceError::Full);
        }
        self.seen.insert(id);
        *self.of_node.entry(*node).or_default() += 1;
        let entry = Entry { id, node: *node };
        self.by_second.entry(created_s).or_default().push(entry);
        Ok(())
    }
}

/// Half a hash of node and nonce. The node has a fixed length, so that no two pairs look alike.
fn id(node: &[u8; 32], nonce: &str) -> [u8; 16] {
    let mut bytes = node.to_vec();
    bytes.extend_from_slice(nonce.as_bytes());
    let hash = Hash::of(&bytes);
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(hash.as_bytes()) {
        *to = *from;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: NonceLimits = NonceLimits {
        entries_max: 3,
        entries_per_node_max: 2,
    };

    #[test]
    fn a_nonce_counts_once_for_each_node() {
        let mut nonces = Nonces::new(LIMITS, 10);
        assert_eq!(nonces.insert(&[1; 32], "a", 11), Ok(()));
        assert_eq!(nonces.insert(&[1; 32], "a", 11), Err(NonceError::Replayed));
        // Under another time too: `created` is not part of what makes a request unique.
        assert_eq!(nonces.insert(&[1; 32], "a", 12), Err(NonceError::Replayed));
        assert_eq!(nonces.insert(&[2; 32], "a", 11), Ok(()));
    }

    #[test]
    fn a_full_memory_refuses_and_does_not_forget() {
        let mut nonces = Nonces::new(LIMITS, 10);
        assert_eq!(nonces.insert(&[1; 32], "a", 11), Ok(()));
        assert_eq!(nonces.insert(&[1; 32], "b", 12), Ok(()));
        assert_eq!(nonces.insert(&[1; 32], "c", 12), Err(NonceError::NodeFull));
        assert_eq!(nonces.insert(&[2; 32], "a", 12), Ok(()));
        assert_eq!(nonces.insert(&[3; 32], "a", 12), Err(NonceError::Full));
        assert_eq!(nonces.insert(&[1; 32], "a", 11), Err(NonceError::Replayed));

        nonces.forget(11);
        assert_eq!(nonces.len(), 2);
        assert_eq!(nonces.insert(&[3; 32], "a", 12), Ok(()));
        // What was forgotten cannot come back.
        let forgotten = |wait_s| Err(NonceError::Forgotten { wait_s });
        assert_eq!(nonces.insert(&[1; 32], "a", 11), forgotten(1));
        nonces.forget(5);
        assert_eq!(nonces.insert(&[1; 32], "d", 9), forgotten(3));
        assert_eq!(nonces.latest_s(), 12);
        nonces.forget(12);
        assert!(nonces.is_empty() && nonces.of_node.is_empty());
        assert_eq!(nonces.latest_s(), 12);
    }
}
