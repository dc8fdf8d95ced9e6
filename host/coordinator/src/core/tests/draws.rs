//! Whom draws fall on, in the large. All is seeded, so the figures are the same each time.

use std::collections::BTreeMap;

use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::network::draw::DrawNumber;
use adit_protocol::network::roster::RosterEntry;
use adit_protocol::status::Status;

use crate::core::Options;
use crate::core::testing::*;

/// How often each miner was drawn for tasks that come one after the other.
fn drawn(world: &mut World, tasks: usize, local: bool) -> Vec<u32> {
    let mut counts = BTreeMap::new();
    for _ in 0..tasks {
        let mut order = world.order(replicated(1, 1, false));
        order.local = local;
        let task = world.submit(order).unwrap();
        let miner = world.view(&task).unwrap().assignments[0].miner;
        *counts.entry(miner.0).or_insert(0) += 1;
        world
            .call(|core, now, io| core.cancel(now, &task, "client", io))
            .unwrap();
        world.out.clear();
    }
    (0..world.miners.len())
        .map(|miner| counts.get(&node(miner)).copied().unwrap_or(0))
        .collect()
}

fn weights(world: &World) -> Vec<u64> {
    (0..world.miners.len())
        .map(|m| world.core.miner(world.now_ms, &node(m)).unwrap().weight)
        .collect()
}

/// Pearson's statistic of counts against weights.
fn chi_square(counts: &[u32], weights: &[u64]) -> f64 {
    let all: f64 = counts.iter().map(|c| f64::from(*c)).sum();
    let total: f64 = weights.iter().map(|w| *w as f64).sum();
    counts
        .iter()
        .zip(weights)
        .map(|(count, weight)| {
            let expected = all * *weight as f64 / total;
            (f64::from(*count) - expected).powi(2) / expected
        })
        .sum()
}

fn staked_world(stakes: &[u128]) -> World {
    let mut world = World::with(&staked(stakes), Options::default(), 7);
    world.greet_all(4);
    world
}

#[test]
fn draws_follow_the_weights() {
    let stakes = [1, 1, 2, 3, 5, 8, 10, 40].map(|k| k * STAKE_MIN);
    let mut world = staked_world(&stakes);
    let weights = weights(&world);
    assert_eq!(
        weights[6], weights[7],
        "stake beyond ten times the least counts no more"
    );
    let counts = drawn(&mut world, 4000, false);
    // 99.9% of samples with 7 degrees of freedom are below 24.3.
    let chi = chi_square(&counts, &weights);
    assert!(chi < 24.3, "{chi}: {counts:?} for {weights:?}");
    // And a wrong distribution would be noticed.
    assert!(chi_square(&counts, &[1; 8]) > 100.0);
}

#[test]
fn a_newcomer_with_the_least_stake_gets_work() {
    let mut stakes = vec![10 * STAKE_MIN; 9];
    stakes.push(STAKE_MIN);
    let mut world = staked_world(&stakes);
    let counts = drawn(&mut world, 2000, false);
    // One in 91 by stake and by units alike.
    assert!((8..=40).contains(&counts[9]), "{counts:?}");
}

#[test]
fn splitting_an_identity_gains_nothing() {
    // Miner 0 has six units; in the other world six miners have one each.
    let whole = staked_world(&[6 * STAKE_MIN, 3 * STAKE_MIN, 3 * STAKE_MIN]);
    let mut split = vec![STAKE_MIN; 6];
    split.extend([3 * STAKE_MIN; 2]);
    let split = staked_world(&split);
    let share = |weights: &[u64], of: usize| {
        let own: u64 = weights.iter().take(of).sum();
        let all: u64 = weights.iter().sum();
        own * 1_000_000 / all
    };
    let (one, six) = (share(&weights(&whole), 1), share(&weights(&split), 6));
    assert!(one.abs_diff(six) < 100, "{one} and {six} parts per million");
}

#[test]
fn near_miners_are_preferred_for_near_clients_only() {
    let mut world = staked_world(&[STAKE_MIN; 2]);
    world.core.round_trip(&node(0), 1000);
    world.core.round_trip(&node(1), 400_000);
    world.advance(1000);
    let near = drawn(&mut world, 1000, true);
    // Four to one.
    assert!((750..850).contains(&near[0]), "{near:?}");
    let far = drawn(&mut world, 1000, false);
    assert!((430..570).contains(&far[0]), "{far:?}");
}

#[test]
fn a_burst_spreads_over_all_slots() {
    let mut world = World::with(&staked(&[STAKE_MIN; 20]), Options::default(), 3);
    world.greet_all(5);
    for _ in 0..150 {
        world.submit_one(1, 1, false);
    }
    // All slots are taken, none twice, and the rest waits.
    assert_eq!((world.core.open(), world.core.waiting()), (100, 50));
    for miner in 0..20 {
        assert_eq!(world.core.standing().load(&node(miner)), 5);
    }
    // Fewer tasks than slots go to many miners, too.
    let mut world = World::with(&staked(&[STAKE_MIN; 20]), Options::default(), 3);
    world.greet_all(5);
    for _ in 0..40 {
        world.submit_one(1, 1, false);
    }
    let busy = (0..20).filter(|m| world.core.standing().load(&node(*m)) > 0);
    assert!(busy.count() >= 14);
}

#[test]
fn each_draw_can_be_made_again_from_what_is_shown() {
    let mut world = World::with(
        &staked(&[STAKE_MIN, 2 * STAKE_MIN, 5 * STAKE_MIN]),
        audited(),
        5,
    );
    world.greet_all(2);
    let mut seen = 0;
    for round in 0..20 {
        let mut order = world.order(replicated(2, 2, false));
        order.local = round % 2 == 0;
        let task = world.submit(order).unwrap();
        let explained = world.call(|core, now, io| core.explain(now, &task, io));
        for draw in explained.unwrap().unwrap().draws {
            seen += 1;
            // Everything from the public log and the public roster, by the key alone.
            let document = &world.store.documents[&draw.roster].bytes;
            assert_eq!(Hash::of(document), draw.roster);
            let entry = RosterEntry {
                epoch: draw.epoch,
                root: draw.roster,
                made_ms: 0,
                vrf_point: draw.vrf_point,
                vrf_proof: draw.vrf_proof,
            };
            let genesis = genesis();
            assert_eq!(genesis.beacon(draw.epoch), draw.beacon);
            let output = entry
                .output(
                    &genesis.hash(),
                    &draw.beacon,
                    draw.roster_leaf,
                    &coordinator().public(),
                )
                .unwrap();
            assert_eq!(output, draw.vrf_output);
            let number = DrawNumber::new(&output, &task, draw.attempt, draw.replica);
            assert_eq!(number.hash(), draw.number);
            let weights = draw.eligible.iter().map(|c| c.weight);
            let picked = number.pick(weights).unwrap();
            assert_eq!(draw.eligible[picked].miner, draw.miner);
            let chances: u64 = draw.eligible.iter().map(|c| c.chance_ppm).sum();
            assert!((999_990..=1_000_000).contains(&chances));
        }
        world.work(Status::Ok, "a");
    }
    assert!(seen >= 20);
    world.audit();
}
