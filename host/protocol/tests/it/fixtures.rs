//! Values that several tests need.

use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::receipt::{Receipt, ReceiptBody};
use adit_protocol::status::Status;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// A generator that gives the same numbers in every run of a test.
pub fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([42; 32])
}

pub fn miner(number: u8) -> Keypair {
    Keypair::from_seed([number; 32])
}

pub fn coordinator() -> Keypair {
    Keypair::from_seed([200; 32])
}

/// The body of a run on a network, every field of which differs from every other.
pub fn body(miner: &Keypair, seq: u64) -> ReceiptBody {
    ReceiptBody {
        network: [1, 2, 3, 4],
        status: Status::Ok,
        gpu: true,
        nn: true,
        epoch: 5,
        seq,
        start_ms: 1_700_000_000_000,
        duration_us: 7,
        fuel: 8,
        nn_units: 9,
        peak_memory: 10,
        miner: miner.public().to_bytes(),
        coordinator: coordinator().public().to_bytes(),
        task: Hash::of(b"task"),
        assignment: Hash::of(b"assignment"),
        component: Hash::of(b"component"),
        input: Hash::of(b"input"),
        output: Hash::of(b"output"),
        transcript: Hash::of(b"transcript"),
        environment: Hash::of(b"environment"),
        prev: Hash::of(b"prev"),
    }
}

/// The same run on a machine of one's own.
pub fn local_body(miner: &Keypair) -> ReceiptBody {
    ReceiptBody {
        network: [0; 4],
        coordinator: [0; 32],
        assignment: Hash::ZERO,
        ..body(miner, 0)
    }
}

/// A receipt with both signatures.
pub fn receipt(miner: &Keypair, seq: u64) -> Receipt {
    let mut receipt = body(miner, seq).sign(miner, &mut rng());
    receipt.countersign(&coordinator(), &mut rng());
    receipt
}
