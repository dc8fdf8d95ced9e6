//! What holds of every epoch.

use std::collections::BTreeSet;
use std::io::Read;

use adit_settlement::input::{Receipt, Vote};
use adit_settlement::output::{MinerRow, Unpaid};
use adit_settlement::{Output, compute};
use proptest::prelude::*;

use super::epochs::{Epoch, Size, made_up, plain};

fn sizes() -> impl Strategy<Value = Size> {
    (0u64..5, 0u64..12, 0u64..200).prop_map(|(coordinators, miners, receipts)| Size {
        coordinators,
        miners,
        receipts,
    })
}

/// At least one of each, and so many receipts that something is earned.
fn busy() -> impl Strategy<Value = Size> {
    (1u64..5, 1u64..12, 20u64..200).prop_map(|(coordinators, miners, receipts)| Size {
        coordinators,
        miners,
        receipts,
    })
}

/// Hands out a few bytes at a time.
struct Dripping<'a>(&'a [u8], usize);

impl Read for Dripping<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(to.len()).min(self.0.len());
        let (now, later) = self.0.split_at(count);
        to[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

fn emission(row: &MinerRow) -> u128 {
    row.by_work + row.by_stake - row.cut
}

fn earned(row: &MinerRow) -> u128 {
    row.income + emission(row)
}

/// Makes two of the last miner: the second is a node behind all others, with `of_million` of each
/// vote and every other receipt.
fn halve(epoch: &mut Epoch, of_million: u128) {
    let last = epoch.snapshot.miners.len() - 1;
    let number = epoch.snapshot.coordinators.len() as u32 + last as u32;
    let mut second = epoch.snapshot.miners[last].clone();
    second.node = [0xff; 32];
    let mut moved = Vec::new();
    let votes = epoch.snapshot.votes.iter_mut();
    for vote in votes.filter(|vote| vote.node == number) {
        let amount = vote.amount * of_million / 1_000_000;
        moved.push(Vote {
            node: number + 1,
            amount,
            ..vote.clone()
        });
        vote.amount -= amount;
    }
    moved.retain(|vote| vote.amount > 0);
    second.stake = moved.iter().map(|vote| vote.amount).sum();
    epoch.snapshot.miners[last].stake -= second.stake;
    epoch.snapshot.votes.extend(moved);
    epoch.snapshot.miners.push(second);
    let theirs = epoch.receipts.iter_mut();
    for receipt in theirs.filter(|r| r.miner as usize == last).step_by(2) {
        receipt.miner += 1;
    }
}

/// An epoch in which all is paid in full, so that what is burned is known from the receipts alone. Some
/// are failures, and there is no cap by stake.
fn paid(seed: u64, size: Size) -> Epoch {
    let mut epoch = plain(seed, size);
    epoch.snapshot.parameters.cap_ppm = u64::MAX;
    for receipt in epoch.receipts.iter_mut().step_by(3) {
        receipt.status = 17;
    }
    epoch
}

/// What is burned for a receipt of [`paid`]: 5%, rounded up. An attempt fee is at most 5% of the price.
fn fee(receipt: &Receipt) -> u128 {
    let paid = match receipt.status {
        0 => receipt.price,
        _ => receipt.attempt_fee.min(receipt.price * 5 / 100),
    };
    (paid * 5).div_ceil(100)
}

/// Random bits, work of its price, and whether it fails: one of somebody's own tasks.
fn junk() -> impl Strategy<Value = (u64, u64, bool)> {
    let density = prop_oneof![Just(1_000_000), 0..1_000_000u64];
    (any::<u64>(), density, proptest::bool::weighted(0.1))
}

/// Fuel of a task whose work is so many millionths of its price. A unit of fuel is 2 of work.
fn fuel(price: u128, density: u64) -> u64 {
    (price * u128::from(density) / 2_000_000) as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_appears_and_nothing_is_lost(seed: u64, size in sizes()) {
        let epoch = made_up(seed, size);
        let output = epoch.settle();
        let totals = &output.totals;
        // Sums made here, not by the crate.
        let accounts: u128 = output.accounts.iter().map(|row| row.amount).sum();
        let spent: u128 = output.coordinators.iter().map(|row| row.spent).sum();
        let burned: u128 = output.coordinators.iter().map(|row| row.burned).sum();
        let miners: u128 = output.miners.iter().map(earned).sum();
        let coordinators: u128 = output.coordinators.iter().map(|row| row.earned).sum();
        prop_assert_eq!(accounts, miners + coordinators);
        prop_assert_eq!(accounts + totals.treasury, totals.minted + spent - burned);
        prop_assert_eq!(totals.minted + totals.unminted, epoch.snapshot.parameters.emission);
        prop_assert_eq!(accounts, totals.paid);
        for (row, given) in output.coordinators.iter().zip(&epoch.snapshot.coordinators) {
            prop_assert!(row.spent <= given.escrow && row.burned <= row.spent);
            // k is 0.8 here.
            prop_assert!(row.slice <= row.burned * 8 / 10);
        }
        let slices: u128 = output.coordinators.iter().map(|row| row.slice).sum();
        let by_miners: u128 =
            output.miners.iter().map(|row| row.by_work + row.by_stake + row.capped).sum();
        prop_assert!(by_miners <= slices);
        for (row, given) in output.miners.iter().zip(&epoch.snapshot.miners) {
            let cap = given.stake * u128::from(epoch.snapshot.parameters.cap_ppm) / 1_000_000;
            prop_assert!(row.by_work <= cap);
            prop_assert!(given.quality_ppm >= 500_000 || emission(row) == 0);
        }
        let counts = &totals.counts;
        let receipts = counts.paid + counts.unpaid.iter().sum::<u64>();
        prop_assert_eq!(receipts, epoch.receipts.len() as u64);
        // And the bytes say the same.
        let mut bytes = Vec::new();
        output.write(&mut bytes).unwrap();
        prop_assert_eq!(Output::read(&bytes[..]).unwrap(), output);
    }

    /// With k · (1 + voters' share / miners' share) at most 1, as here, where it is 0.97: whoever owns a
    /// coordinator, its miners and all their votes burns more by tasks of its own than it gets.
    #[test]
    fn tasks_of_ones_own_cost_more_than_they_earn(seed: u64, size in busy()) {
        let mut epoch = made_up(seed, size);
        epoch.snapshot.parameters.cap_ppm = u64::MAX;
        let totals = epoch.settle().totals;
        prop_assert!(totals.minted - totals.treasury <= totals.burned);
    }

    /// However much the work of its receipts is, and however little that of others'; and however much
    /// its stake.
    #[test]
    fn a_miner_gets_no_more_than_k_times_its_own_fees(seed: u64, size in busy()) {
        let epoch = paid(seed, size);
        let output = epoch.settle();
        let mut bounds = vec![(0, 0); epoch.snapshot.miners.len()];
        for (at, row) in output.coordinators.iter().enumerate() {
            let log = epoch.receipts.iter().filter(|r| r.coordinator as usize == at);
            let fees = log.map(|r| (r.miner as usize, r.status == 0, fee(r)));
            let fees: Vec<_> = fees.collect();
            prop_assert_eq!(row.burned, fees.iter().map(|(_, _, fee)| fee).sum::<u128>());
            for (miner, (by_work, by_stake)) in bounds.iter_mut().enumerate() {
                let own = || fees.iter().filter(|(of, _, _)| *of == miner);
                let completed: u128 = own().filter(|(_, done, _)| *done).map(|(_, _, fee)| fee).sum();
                let all: u128 = own().map(|(_, _, fee)| fee).sum();
                // k is 0.8 here, and 0.6 goes by work.
                *by_work += completed * 48 / 100;
                // What was burned for it elsewhere is no bound of a slice that it has no piece of.
                *by_stake += u128::from(completed > 0) * (all * 32 / 100);
            }
        }
        for (row, (by_work, by_stake)) in output.miners.iter().zip(bounds) {
            prop_assert!(row.by_work <= by_work, "by work {} > {by_work}", row.by_work);
            prop_assert!(row.by_stake <= by_stake, "by stake {} > {by_stake}", row.by_stake);
        }
    }

    /// Whoever owns all coordinators, some of the miners, and all their votes, adds tasks of its own, on
    /// miners of its own, with any work and any end. Whatever the clients' tasks are, that brings it no
    /// more than it burns, at the largest k that a ledger takes.
    #[test]
    fn whatever_tasks_one_adds_bring_no_more_than_they_burn(
        seed: u64,
        size in busy(),
        junk in proptest::collection::vec(junk(), 1..8),
        density in 0u64..500_000,
        on_one: bool,
    ) {
        let mut epoch = plain(seed, size);
        let parameters = &mut epoch.snapshot.parameters;
        (parameters.cap_ppm, parameters.slice_of_fees_ppm) = (u64::MAX, 823_529);
        for receipt in &mut epoch.receipts {
            receipt.fuel = fuel(receipt.price, density);
            receipt.nn_units = 0;
        }
        let owned = |miner: usize| miner == 0 || seed >> (miner % 64) & 1 == 1;
        let own: Vec<u32> = (0..size.miners as u32).filter(|at| owned(*at as usize)).collect();
        let gets = |output: &Output| -> u128 {
            let miners = output.miners.iter().enumerate().filter(|(at, _)| owned(*at));
            let coordinators = output.coordinators.iter().map(|row| row.earned);
            miners.map(|(_, row)| emission(row)).chain(coordinators).sum()
        };
        let mut with = epoch.clone();
        for (at, (random, density, fails)) in (0u64..).zip(junk) {
            let mut hash = [0xfe; 32];
            hash[..8].copy_from_slice(&at.to_le_bytes());
            let price = 1 + u128::from(random >> 24);
            with.receipts.push(Receipt {
                coordinator: (random % size.coordinators) as u32,
                miner: own[(if on_one { seed } else { random } >> 8) as usize % own.len()],
                leaf: 1_000_000 + at,
                task: hash,
                assignment: hash,
                status: u8::from(fails) * 17,
                fuel: fuel(price, density),
                price,
                attempt_fee: price,
                ..epoch.receipts[0].clone()
            });
        }
        with.receipts.sort_by_key(|receipt| (receipt.coordinator, receipt.leaf));
        let (before, after) = (epoch.with_ample_escrow().settle(), with.with_ample_escrow().settle());
        let burned = after.totals.burned - before.totals.burned;
        // A unit for each receipt, and some for each node, that rounding took before.
        let nodes = (size.miners * (1 + size.coordinators)) as u128;
        let rounding = u128::from(after.totals.counts.paid) + 4 * nodes;
        prop_assert!(
            gets(&after) <= gets(&before) + burned + rounding,
            "{} > {} + {burned}", gets(&after), gets(&before)
        );
    }

    #[test]
    fn receipts_that_come_again_are_never_paid_again(seed: u64, size in busy()) {
        let mut epoch = made_up(seed, size);
        let before = epoch.settle();
        let again: Vec<Receipt> = epoch.receipts.iter().map(|receipt| Receipt {
            leaf: receipt.leaf + 1_000_000,
            ..receipt.clone()
        }).collect();
        epoch.receipts.extend(again);
        epoch.receipts.sort_by_key(|receipt| (receipt.coordinator, receipt.leaf));
        let after = epoch.settle();
        prop_assert_eq!(&before.accounts, &after.accounts);
        let (before, after) = (before.totals.counts, after.totals.counts);
        prop_assert_eq!(before.paid, after.paid);
        let duplicates = |unpaid: [u64; Unpaid::COUNT]| unpaid[Unpaid::Duplicate as usize];
        prop_assert!(duplicates(after.unpaid) >= duplicates(before.unpaid) + before.paid);
    }

    #[test]
    fn one_assignment_of_many_receipts_is_paid_once(seed: u64, size in busy()) {
        let mut epoch = plain(seed, size);
        for receipt in &mut epoch.receipts {
            receipt.assignment = [9; 32];
        }
        let used: BTreeSet<u32> = epoch.receipts.iter().map(|r| r.coordinator).collect();
        prop_assert_eq!(epoch.settle().totals.counts.paid, used.len() as u64);
    }

    #[test]
    fn the_order_of_leaves_matters_only_where_something_is_short(
        seed: u64,
        size in busy(),
        turn in 0usize..200,
    ) {
        let mut epoch = plain(seed, size);
        let before = epoch.settle();
        prop_assert_eq!(before.totals.counts.paid, size.receipts);
        for coordinator in 0..size.coordinators as u32 {
            let log = epoch.receipts.iter_mut().filter(|r| r.coordinator == coordinator);
            let mut log: Vec<&mut Receipt> = log.collect();
            let mut turned: Vec<Receipt> = log.iter().map(|receipt| (**receipt).clone()).collect();
            let turn = turn.checked_rem(turned.len()).unwrap_or(0);
            turned.rotate_left(turn);
            for (place, receipt) in log.iter_mut().zip(turned) {
                let leaf = place.leaf;
                **place = Receipt { leaf, ..receipt };
            }
        }
        prop_assert_eq!(epoch.settle(), before);
    }

    #[test]
    fn how_the_stream_arrives_does_not_matter(seed: u64, size in sizes(), bytes in 1usize..400) {
        let epoch = made_up(seed, size);
        let input = epoch.bytes();
        prop_assert_eq!(compute(Dripping(&input, bytes)).unwrap(), epoch.settle());
    }

    #[test]
    fn a_miner_gains_nothing_by_being_two(seed: u64, size in busy(), of_million in 1u128..1_000_000) {
        let mut epoch = plain(seed, size);
        // Below saturation: there, the stake of one counts in full.
        epoch.snapshot.parameters.saturation = 1_000;
        let whole = epoch.settle();
        let last = epoch.snapshot.miners.len() - 1;
        halve(&mut epoch, of_million);
        let halves = epoch.settle();
        let one = earned(&whole.miners[last]);
        let two = earned(&halves.miners[last]) + earned(&halves.miners[last + 1]);
        // Of each slice, what goes by stake is rounded by less than a unit for each miner, and the cut once
        // for each of the three.
        let rounding = ((size.miners + 6) * size.coordinators) as u128 + 3;
        prop_assert!(two <= one + rounding, "{two} > {one}");
    }
}

#[test]
fn made_up_epochs_have_everything_in_them() {
    let mut counts = [0; Unpaid::COUNT];
    let (mut capped, mut bound, mut cut, mut idle) = (0, 0, 0, 0);
    for seed in 0..20 {
        let size = Size {
            coordinators: 3,
            miners: 8,
            receipts: 100,
        };
        let output = made_up(seed, size).settle();
        let unbound = paid(seed, size).settle();
        bound += unbound.miners.iter().filter(|row| row.capped > 0).count();
        for (sum, count) in counts.iter_mut().zip(output.totals.counts.unpaid) {
            *sum += count;
        }
        capped += output.miners.iter().filter(|row| row.capped > 0).count();
        cut += output.miners.iter().filter(|row| row.cut > 0).count();
        idle += output
            .miners
            .iter()
            .filter(|row| emission(row) == 0)
            .count();
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert!(capped > 5 && cut > 5 && idle > 5, "{capped} {cut} {idle}");
    assert!(bound > 50, "{bound} of 160 miners had more work than fees");
}

/// Splitting is neutral where the cap is not reached, stake is below saturation and work is the same for
/// all fees, so the property above is close to an equality.
#[test]
fn two_halves_earn_what_the_whole_did() {
    let size = Size {
        coordinators: 1,
        miners: 2,
        receipts: 40,
    };
    let mut epoch: Epoch = plain(11, size);
    epoch.snapshot.parameters.cap_ppm = 1_000_000;
    epoch.snapshot.parameters.saturation = 1_000;
    for miner in &mut epoch.snapshot.miners {
        miner.quality_ppm = 900_000;
    }
    for receipt in &mut epoch.receipts {
        receipt.fuel = u64::MAX;
    }
    let whole = epoch.settle();
    let one = &whole.miners[1];
    assert!(
        one.income > 0 && one.by_work > 0 && one.by_stake > 0,
        "{one:?}"
    );
    halve(&mut epoch, 500_000);
    let halves = epoch.settle();
    let two = &halves.miners[1..];
    assert!(two.iter().all(|half| half.by_work > 0 && half.by_stake > 0));
    let difference = earned(one).abs_diff(two.iter().map(earned).sum());
    assert!(difference <= 9, "{difference}");
}
