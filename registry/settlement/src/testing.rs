//! A small epoch for the unit tests.

use crate::input::{Coordinator, Miner, Parameters, Receipt, Shares, Snapshot, Vote};

/// One coordinator and one miner, each with one vote.
pub(crate) fn snapshot() -> Snapshot {
    Snapshot {
        parameters: Parameters {
            epoch: 7,
            genesis: [1; 32],
            emission: 1_000_000,
            shares: Shares {
                miners: 700_000,
                voters: 150_000,
                checkers: 100_000,
                treasury: 50_000,
            },
            fuel_weight: 1,
            nn_weight: 10,
            work_of_price_ppm: 1_000_000,
            slice_of_fees_ppm: 5_000_000,
            fee_ppm: 50_000,
            work_share_ppm: 600_000,
            cap_ppm: 2_000_000,
            saturation: 10,
            miner_stake_min: 20,
            coordinator_stake_min: 2_000,
            quality_min_ppm: 500_000,
            attempt_fee_max_ppm: 500_000,
        },
        coordinators: vec![Coordinator {
            node: [2; 32],
            operator: [3; 32],
            stake: 3_000,
            escrow: 1_000_000,
            commission_ppm: 100_000,
        }],
        miners: vec![Miner {
            node: [4; 32],
            operator: [5; 32],
            stake: 30,
            commission_ppm: 100_000,
            quality_ppm: 900_000,
            cut_ppm: 10_000,
        }],
        votes: vec![
            Vote {
                node: 0,
                voter: [6; 32],
                amount: 3_000,
            },
            Vote {
                node: 1,
                voter: [7; 32],
                amount: 30,
            },
        ],
    }
}

/// An accepted receipt of that miner for a task of its own, at leaf `n`.
pub(crate) fn receipt(n: u8) -> Receipt {
    Receipt {
        coordinator: 0,
        miner: 0,
        leaf: n.into(),
        epoch: 7,
        task: [n; 32],
        assignment: [n; 32],
        status: 0,
        accepted: true,
        nn_registered: true,
        emitted: false,
        replicas: 1,
        fuel: 1_000,
        nn_units: 20,
        price: 1_000,
        attempt_fee: 10,
    }
}
