//! Leases of a coordinator, the receipts for them, and a log that has some of its entries.

use adit_ledger::late::LateReceipt;
use adit_ledger::tree::Tree;
use adit_ledger::{Action, Key};
use adit_protocol::keys::Keypair;
use adit_protocol::network::assignment::{Assignment, Terms};
use adit_protocol::network::entry::{Cancel, CancelledBy, Entry, Expiry};
use adit_protocol::network::genesis::network_id;
use adit_protocol::receipt::{Receipt, ReceiptBody};
use adit_protocol::signed::{Signable as _, Signed};
use adit_protocol::{Amount, Document as _, Hash, Status};
use rand_chacha::ChaCha20Rng;

/// A lease, and what its miner hands in.
#[derive(Clone)]
pub struct Lease {
    pub genesis: Hash,
    /// Signs as the coordinator.
    pub coordinator: Keypair,
    pub miner: Keypair,
    pub task: Hash,
    pub epoch: u64,
    /// When it ends, in milliseconds since 1970.
    pub deadline_ms: u64,
    pub terms: Option<Terms>,
    pub status: Status,
    pub fuel: u64,
}

impl Lease {
    pub fn assignment(&self) -> Assignment {
        Assignment {
            genesis: self.genesis,
            coordinator: self.coordinator.public().to_bytes(),
            miner: self.miner.public().to_bytes(),
            task: self.task,
            attempt: 0,
            replica: 0,
            roster: 3,
            epoch: self.epoch,
            local: false,
            issued_ms: 1,
            deadline_ms: self.deadline_ms,
            escrow: 5,
            terms: self.terms,
        }
    }

    pub fn hash(&self) -> Hash {
        Hash::of(&self.assignment().to_cbor())
    }

    pub fn body(&self) -> ReceiptBody {
        ReceiptBody {
            network: network_id(&self.genesis),
            status: self.status,
            gpu: true,
            nn: false,
            epoch: self.epoch,
            seq: 2,
            start_ms: 3,
            duration_us: 4,
            fuel: self.fuel,
            nn_units: 0,
            peak_memory: 65_536,
            miner: self.miner.public().to_bytes(),
            coordinator: self.coordinator.public().to_bytes(),
            task: self.task,
            assignment: self.hash(),
            component: Hash::of(b"component"),
            input: Hash::of(b"input"),
            output: Hash::of(b"output"),
            transcript: Hash::ZERO,
            environment: Hash::of(b"environment"),
            prev: Hash::ZERO,
        }
    }

    /// The receipt with both signatures; each time with others.
    pub fn receipt(&self, rng: &mut ChaCha20Rng) -> Receipt {
        let mut receipt = self.body().sign(&self.miner, rng);
        receipt.countersign(&self.coordinator, rng);
        receipt
    }

    /// The claim that the log of this coordinator lacks it.
    pub fn late(&self, coordinator: Key, rng: &mut ChaCha20Rng) -> LateReceipt {
        let assignment = self.assignment();
        LateReceipt {
            coordinator,
            receipt: self.receipt(rng).to_bytes(),
            assignment: assignment.to_cbor(),
            assignment_signature: *assignment.sign(&self.coordinator, rng).signature(),
        }
    }

    pub fn claim(&self, coordinator: Key, rng: &mut ChaCha20Rng) -> Action {
        Action::LateReceipt(Box::new(self.late(coordinator, rng)))
    }

    pub fn expiry(&self) -> Entry {
        Entry::Expiry(Expiry {
            assignment: self.hash(),
            at_ms: self.deadline_ms,
            acceptance: None,
        })
    }

    /// Its cancellation with as many others.
    pub fn cancel(&self, others: u8) -> Entry {
        let others = (0..others).map(|number| Hash::of(&[number]));
        Entry::Cancel(Cancel {
            task: self.task,
            by: CancelledBy::Client,
            at_ms: self.deadline_ms,
            assignments: others.chain([self.hash()]).collect(),
        })
    }

    /// The lease itself, which says nothing of what became of it.
    pub fn entry(&self) -> Entry {
        let signed = Signed::unsigned(&self.assignment());
        Entry::Assignment(signed)
    }

    /// The answer that an entry is a leaf of a log.
    pub fn answer(&self, log: &Tree, leaf: usize) -> Action {
        let included = log.included(leaf).unwrap();
        Action::Answer {
            assignment: self.hash(),
            leaf: included.index,
            entry: included.leaf,
            proof: included.proof,
        }
    }
}

/// What most tasks here pay.
pub fn terms() -> Option<Terms> {
    Some(Terms {
        price: Amount::tokens(3),
        attempt_fee: Amount::tokens(1),
        replicas: 1,
    })
}

/// A log of these entries.
pub fn log(entries: &[Entry]) -> Tree {
    Tree::new(entries.iter().map(Entry::encode).collect())
}
