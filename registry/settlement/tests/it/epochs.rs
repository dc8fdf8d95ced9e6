//! Epochs for the tests: a small one by hand, and any number of made-up ones from a seed.

use std::collections::BTreeMap;

use adit_settlement::input::{
    Coordinator, Miner, Parameters, Receipt, Shares, Snapshot, UNREGISTERED, Vote,
};
use adit_settlement::{InputWriter, Output, compute};

/// A token, in the unit of all amounts.
pub const TOKEN: u128 = 1_000_000_000_000;

/// An epoch's input before it is bytes.
#[derive(Clone, Debug)]
pub struct Epoch {
    pub snapshot: Snapshot,
    pub receipts: Vec<Receipt>,
}

impl Epoch {
    pub fn bytes(&self) -> Vec<u8> {
        let count = self.receipts.len() as u64;
        let mut writer = InputWriter::new(Vec::new(), self.snapshot.clone(), count).unwrap();
        for receipt in &self.receipts {
            writer.receipt(receipt).unwrap();
        }
        writer.finish().unwrap()
    }

    pub fn settle(&self) -> Output {
        compute(&self.bytes()[..]).unwrap()
    }

    /// Gives every coordinator an escrow that no receipt can use up.
    pub fn with_ample_escrow(mut self) -> Epoch {
        for (at, coordinator) in self.snapshot.coordinators.iter_mut().enumerate() {
            let log = self
                .receipts
                .iter()
                .filter(|r| r.coordinator as usize == at);
            coordinator.escrow = log.map(|r| r.price.max(r.attempt_fee)).sum();
        }
        self
    }
}

pub fn parameters() -> Parameters {
    Parameters {
        epoch: 40,
        genesis: [0x11; 32],
        emission: 10_000 * TOKEN,
        shares: Shares {
            miners: 700_000,
            voters: 150_000,
            checkers: 100_000,
            treasury: 50_000,
        },
        fuel_weight: 2,
        nn_weight: 1_000,
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
    }
}

/// SplitMix64, by Steele, Lea and Flood: the same numbers on every machine and forever.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Below a token times `tokens`, with all digits in use.
    pub fn amount(&mut self, tokens: u64) -> u128 {
        u128::from(self.below(tokens)) * TOKEN + u128::from(self.below(1_000_000_000_000))
    }

    pub fn key(&mut self) -> [u8; 32] {
        let mut key = [0; 32];
        for chunk in key.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        key
    }

    fn keys(&mut self, count: u64) -> Vec<[u8; 32]> {
        let mut keys: Vec<_> = (0..count).map(|_| self.key()).collect();
        keys.sort();
        keys
    }

    /// True once in `odds`.
    pub fn once_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}

/// How large a made-up epoch is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub coordinators: u64,
    pub miners: u64,
    pub receipts: u64,
}

/// An epoch with everything that can be in one: shared accounts, nodes without votes, every status
/// and some numbers that are none, repeated tasks and assignments, escrows that do not suffice.
pub fn made_up(seed: u64, size: Size) -> Epoch {
    let mut random = Random(seed);
    let mut parameters = parameters();
    // So little that stake bounds slices, so much that fees do, and all between.
    parameters.emission = random.amount(20_000) >> random.below(18);
    parameters.cap_ppm = random.below(20_000);
    let accounts = random.keys(4 + (size.coordinators + size.miners) / 2);
    let account = |random: &mut Random| accounts[random.below(accounts.len() as u64) as usize];
    let mut votes = Vec::new();
    let mut stake_of = |random: &mut Random, node: u64, tokens: u64| -> u128 {
        let mut of_node = BTreeMap::new();
        for _ in 0..random.below(5) {
            of_node.insert(account(random), 1 + random.amount(tokens));
        }
        let node = node as u32;
        votes.extend(of_node.iter().map(|(voter, amount)| Vote {
            node,
            voter: *voter,
            amount: *amount,
        }));
        of_node.values().sum()
    };
    let mut coordinators = Vec::new();
    for (at, node) in (0..).zip(random.keys(size.coordinators)) {
        coordinators.push(Coordinator {
            node,
            operator: account(&mut random),
            stake: stake_of(&mut random, at, 10_000_000),
            escrow: random.amount(1 + size.receipts),
            commission_ppm: random.below(1_000_001) as u32,
        });
    }
    let mut miners = Vec::new();
    for (at, node) in (0..).zip(random.keys(size.miners)) {
        miners.push(Miner {
            node,
            operator: account(&mut random),
            stake: stake_of(&mut random, size.coordinators + at, 100_000),
            commission_ppm: random.below(300_000) as u32,
            quality_ppm: 400_000 + random.below(600_001) as u32,
            cut_ppm: match random.once_in(4) {
                true => random.below(1_000_001) as u32,
                false => 0,
            },
        });
    }
    let receipts = match size.coordinators.min(size.miners) {
        0 => Vec::new(),
        _ => receipts(&mut random, size, parameters.epoch),
    };
    let snapshot = Snapshot {
        parameters,
        coordinators,
        miners,
        votes,
    };
    Epoch { snapshot, receipts }
}

fn receipts(random: &mut Random, size: Size, epoch: u64) -> Vec<Receipt> {
    let statuses = [
        0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 21, 6, 255,
    ];
    let mut receipts: Vec<Receipt> = Vec::new();
    let mut leaf = 0;
    for _ in 0..size.receipts {
        leaf += 1 + random.below(5);
        let (mut task, mut assignment) = (random.key(), random.key());
        if let Some(other) = receipts.last().filter(|_| random.once_in(3)) {
            task = other.task;
            if random.once_in(3) {
                assignment = other.assignment;
            }
        }
        receipts.push(Receipt {
            coordinator: random.below(size.coordinators) as u32,
            miner: match random.once_in(50) {
                true => UNREGISTERED,
                false => random.below(size.miners) as u32,
            },
            leaf,
            epoch: match random.below(40) {
                0 => epoch + 1,
                1 => epoch - 2,
                2..10 => epoch - 1,
                _ => epoch,
            },
            task,
            assignment,
            status: statuses[random.below(statuses.len() as u64) as usize],
            accepted: !random.once_in(10),
            nn_registered: !random.once_in(5),
            emitted: random.once_in(2),
            replicas: 1 + random.below(3) as u8,
            fuel: random.below(500_000_000_000),
            nn_units: random.below(1_000_000_000),
            price: random.amount(2),
            attempt_fee: random.amount(1) / 50,
        });
    }
    receipts.sort_by_key(|receipt| (receipt.coordinator, receipt.leaf));
    receipts
}

/// An epoch in which nothing is in anyone's way: each task and assignment once, all accepted.
pub fn plain(seed: u64, size: Size) -> Epoch {
    let mut epoch = made_up(seed, size);
    let mut random = Random(!seed);
    for receipt in &mut epoch.receipts {
        (receipt.task, receipt.assignment) = (random.key(), random.key());
        (receipt.accepted, receipt.epoch, receipt.status) = (true, 40, 0);
        receipt.miner = random.below(size.miners) as u32;
    }
    epoch.with_ample_escrow()
}
