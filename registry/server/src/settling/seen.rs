//! Where receipts are in logs, by miner and assignment: a miner that signs two for one assignment
//! contradicts itself. Memory is bounded: of a few hundred thousand receipts it is known where they are,
//! the oldest are forgotten.

use std::collections::HashMap;

use adit_protocol::Hash;
use adit_protocol::network::genesis::network_id;
use adit_protocol::receipt::Receipt;

/// The first byte of an entry with a receipt.
pub(super) const RECEIPT: u8 = 1;
/// Receipts that are known at least; twice as many at most.
const MOST: usize = 262_144;

/// Where a receipt is.
#[derive(Clone, Copy, Debug)]
pub struct First {
    /// Half of its id, which tells receipts apart.
    id: [u8; 16],
    /// The log, by a number of the caller's.
    pub log: u32,
    /// The leaf in it.
    pub leaf: u64,
}

impl First {
    fn new(log: u32, leaf: u64, receipt: &Receipt) -> First {
        let id = receipt.id();
        let half = id.as_bytes().first_chunk::<16>();
        First {
            id: half.copied().unwrap_or_default(),
            log,
            leaf,
        }
    }
}

/// Receipts that were seen. When the younger half is full, the older is forgotten.
#[derive(Debug)]
pub struct Seen {
    network: [u8; 4],
    most: usize,
    young: HashMap<Hash, First>,
    old: HashMap<Hash, First>,
}

impl Seen {
    /// None yet, of the network with this genesis.
    pub fn new(genesis: &Hash) -> Seen {
        Seen {
            network: network_id(genesis),
            most: MOST,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// Takes in a receipt, whose signatures need not be checked. Returns where another one is that its
    /// miner is said to have made for its assignment.
    pub fn receipt(&mut self, log: u32, leaf: u64, receipt: &Receipt) -> Option<First> {
        if receipt.body.network != self.network {
            return None;
        }
        let own = First::new(log, leaf, receipt);
        let place = place(receipt);
        match self.young.get(&place).or_else(|| self.old.get(&place)) {
            Some(first) if first.id == own.id => None,
            Some(first) => Some(*first),
            None => {
                self.put(place, own);
                None
            }
        }
    }

    /// Takes in a receipt in place of another one, which its miner has not signed.
    pub fn replace(&mut self, log: u32, leaf: u64, receipt: &Receipt) {
        self.put(place(receipt), First::new(log, leaf, receipt));
    }

    fn put(&mut self, place: Hash, first: First) {
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, first);
    }
}

fn place(receipt: &Receipt) -> Hash {
    let body = &receipt.body;
    Hash::of(&[&body.miner[..], body.assignment.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use adit_protocol::Status;
    use adit_protocol::keys::Keypair;
    use adit_protocol::receipt::ReceiptBody;
    use rand_core::OsRng;

    use super::*;

    fn receipt(assignment: u64, fuel: u64) -> Receipt {
        let genesis = Hash::of(b"genesis");
        let miner = Keypair::from_seed([1; 32]);
        let body = ReceiptBody {
            network: network_id(&genesis),
            status: Status::Ok,
            gpu: false,
            nn: false,
            epoch: 0,
            seq: 0,
            start_ms: 0,
            duration_us: 0,
            fuel,
            nn_units: 0,
            peak_memory: 0,
            miner: miner.public().to_bytes(),
            coordinator: [7; 32],
            task: Hash::ZERO,
            assignment: Hash::of(&assignment.to_le_bytes()),
            component: Hash::ZERO,
            input: Hash::ZERO,
            output: Hash::ZERO,
            transcript: Hash::ZERO,
            environment: Hash::ZERO,
            prev: Hash::ZERO,
        };
        body.sign(&miner, &mut OsRng)
    }

    fn seen(genesis: &[u8]) -> Seen {
        Seen {
            most: 4,
            ..Seen::new(&Hash::of(genesis))
        }
    }

    #[test]
    fn a_second_receipt_is_noticed_within_bounds() {
        let mut seen = seen(b"genesis");
        assert!(seen.receipt(0, 0, &receipt(1, 1)).is_none());
        // The same again, in another log, signed anew.
        assert!(seen.receipt(1, 0, &receipt(1, 1)).is_none());
        let first = seen.receipt(1, 1, &receipt(1, 2)).unwrap();
        assert_eq!((first.log, first.leaf), (0, 0));
        for leaf in 2..8 {
            assert!(seen.receipt(0, leaf, &receipt(leaf, 1)).is_none());
        }
        // Still known, in the older half.
        assert!(seen.receipt(1, 2, &receipt(1, 2)).is_some());
        for leaf in 8..100 {
            seen.receipt(0, leaf, &receipt(leaf, 1));
            assert!(seen.young.len() <= 4 && seen.old.len() <= 4);
        }
        assert!(seen.receipt(1, 3, &receipt(1, 2)).is_none());
    }

    #[test]
    fn what_nobody_signed_gives_way_and_other_networks_do_not_count() {
        let mut seen = self::seen(b"genesis");
        seen.receipt(0, 0, &receipt(1, 1));
        seen.replace(1, 7, &receipt(1, 2));
        assert!(seen.receipt(1, 8, &receipt(1, 2)).is_none());
        let first = seen.receipt(0, 0, &receipt(1, 1)).unwrap();
        assert_eq!((first.log, first.leaf), (1, 7));
        let mut other = self::seen(b"another");
        for fuel in [1, 2] {
            assert!(other.receipt(0, 0, &receipt(1, fuel)).is_none());
        }
        assert!(other.young.is_empty());
    }
}
