//! An epoch with 10 coordinators, 10,000 miners, 100,000 voters, and any number of receipts.

use std::io::Write;

use adit_settlement::InputWriter;
use adit_settlement::input::{Coordinator, Miner, Parameters, Receipt, Shares, Snapshot, Vote};

const TOKEN: u128 = 1_000_000_000_000;
pub const COORDINATORS: u64 = 10;
const MINERS: u64 = 10_000;
const VOTERS: u64 = 100_000;

/// Bits as mixed as those of a hash, in an ascending order if `high` ascends (SplitMix64).
fn key(high: u64, seed: u64) -> [u8; 32] {
    let mut key = [0; 32];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high;
    for chunk in key.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    key
}

/// A key that ascends with `at`.
fn ascending(at: u64, seed: u64) -> [u8; 32] {
    let mut key = key(at, seed);
    key[..8].copy_from_slice(&at.to_be_bytes());
    key
}

pub fn snapshot() -> Snapshot {
    let nodes = COORDINATORS + MINERS;
    let per_node = VOTERS / nodes + 1;
    let amount = 5_000 * TOKEN + 1;
    Snapshot {
        parameters: Parameters {
            epoch: 9,
            genesis: [7; 32],
            emission: 100_000 * TOKEN,
            shares: Shares {
                miners: 700_000,
                voters: 150_000,
                checkers: 100_000,
                treasury: 50_000,
            },
            fuel_weight: 1_000,
            nn_weight: 1_000_000,
            work_of_price_ppm: 1_000_000,
            slice_of_fees_ppm: 800_000,
            fee_ppm: 50_000,
            work_share_ppm: 600_000,
            cap_ppm: 10_000,
            saturation: 10,
            miner_stake_min: 20_000 * TOKEN,
            coordinator_stake_min: 2_000_000 * TOKEN,
            quality_min_ppm: 500_000,
            attempt_fee_max_ppm: 50_000,
        },
        coordinators: (0..COORDINATORS)
            .map(|at| Coordinator {
                node: ascending(at, 1),
                operator: key(at, 2),
                stake: amount * u128::from(per_node),
                escrow: 1_000_000_000 * TOKEN,
                commission_ppm: 100_000,
            })
            .collect(),
        miners: (0..MINERS)
            .map(|at| Miner {
                node: ascending(at, 3),
                operator: key(at, 4),
                stake: amount * u128::from(per_node),
                commission_ppm: 100_000,
                quality_ppm: 900_000 + u32::try_from(at % 100_000).unwrap_or(0),
                cut_ppm: 0,
            })
            .collect(),
        votes: (0..nodes)
            .flat_map(|node| {
                (0..per_node).map(move |voter| Vote {
                    node: u32::try_from(node).expect("there are less"),
                    voter: ascending(voter, 5 + node),
                    amount,
                })
            })
            .collect(),
    }
}

/// Writes it: tasks with two replicas each, for miners at random, in the first `logs` logs.
pub fn write(to: impl Write, receipts: u64, logs: u64) {
    let mut writer = InputWriter::new(to, snapshot(), receipts).expect("it is in order");
    for at in 0..receipts {
        let random = key(at, 6);
        let miner = u64::from(random[0]) | u64::from(random[1]) << 8 | u64::from(random[2]) << 16;
        let receipt = Receipt {
            coordinator: u32::try_from(at * logs / receipts).expect("there are ten"),
            miner: u32::try_from(miner % MINERS).expect("there are less"),
            leaf: at,
            epoch: 9,
            task: key(at / 2, 7),
            assignment: key(at, 8),
            status: 0,
            accepted: true,
            nn_registered: true,
            emitted: false,
            replicas: 2,
            fuel: 1_000_000 + miner,
            nn_units: miner,
            price: TOKEN / 100 + u128::from(miner),
            attempt_fee: 0,
        };
        writer.receipt(&receipt).expect("it is in order");
    }
    writer.finish().expect("writing does not fail");
}
