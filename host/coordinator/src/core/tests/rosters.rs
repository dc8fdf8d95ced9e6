//! Rosters: when they are made, and who is in them.

use std::sync::Arc;

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::Entry;
use adit_protocol::status::Status;

use crate::core::CoreError;
use crate::core::testing::*;

fn rosters(world: &World) -> usize {
    let entries = world.entries();
    entries
        .iter()
        .filter(|e| matches!(e, Entry::Roster(_)))
        .count()
}

fn refused(result: Result<(), CoreError>) -> Code {
    match result {
        Err(CoreError::Refused(refusal)) => refusal.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_roster_is_made_when_something_changed_and_at_most_once_a_second() {
    let mut world = World::new(4, audited());
    world.tick();
    assert_eq!(rosters(&world), 0, "nobody is there");
    world.hello(0, offer(1)).unwrap();
    assert_eq!(rosters(&world), 1, "the first comes at once");
    world.hello(1, offer(1)).unwrap();
    world.hello(2, offer(1)).unwrap();
    assert_eq!(rosters(&world), 1);
    assert_eq!(world.core.next_due(), Some(world.now_ms + 1000));
    world.advance(1000);
    assert_eq!((rosters(&world), world.core.candidates()), (2, 3));
    for _ in 0..5 {
        world.advance(2000);
        for miner in 0..3 {
            world.poll(miner, 1).unwrap();
        }
    }
    assert_eq!(rosters(&world), 2, "nothing changed");
    world.hello(0, offer(2)).unwrap();
    world.advance(1000);
    assert_eq!(rosters(&world), 3, "slots changed");
    world.hello(0, offer(2)).unwrap();
    world.advance(1000);
    assert_eq!(rosters(&world), 3, "the same again");
    world.audit();
}

#[test]
fn an_epoch_begins_with_a_roster_of_its_own() {
    let mut world = World::ready(1, 1, audited());
    let genesis = world.members.genesis.clone();
    let epoch = genesis.epoch_at(world.now_ms);
    let end = genesis.created_ms + (epoch + 1) * genesis.epoch_ms;
    while world.now_ms + 20_000 < end {
        world.advance(20_000);
        world.poll(0, 1).unwrap();
    }
    assert_eq!(rosters(&world), 1);
    world.advance(end - world.now_ms);
    assert_eq!(rosters(&world), 2);
    let force = world.core.standing().in_force().unwrap();
    assert_eq!(force.roster.epoch, epoch + 1);
    world.submit_one(1, 1, false);
    world.work(Status::Ok, "a");
    assert_eq!(world.core.counters().completed, 1);
    world.audit();
}

#[test]
fn who_is_silent_for_half_a_minute_is_dropped() {
    let mut world = World::ready(2, 1, audited());
    for _ in 0..4 {
        world.advance(10_000);
        world.poll(0, 1).unwrap();
    }
    assert_eq!((world.core.candidates(), world.core.active()), (1, 1));
    let idle = world.poll(1, 1);
    assert_eq!(refused(idle.map(|_| ())), Code::HelloFirst);
    // The first hello is followed by a roster at once, the second one waits for its turn.
    world.hello(0, offer(2)).unwrap();
    world.hello(1, offer(1)).unwrap();
    let reply = world.poll(1, 1).unwrap();
    assert_eq!(reply.idle, Some(Code::NotInRoster));
    assert_eq!(reply.active_until_ms, world.now_ms + 30_000);
    world.advance(1000);
    assert_eq!(world.poll(1, 1).unwrap().idle, Some(Code::NoTasks));
    world.audit();
}

#[test]
fn a_poll_that_waits_keeps_its_miner_active() {
    let mut world = World::ready(1, 1, audited());
    let order = crate::order::PollOrder {
        want: 1,
        ..Default::default()
    };
    let first = world.call(|core, now, io| core.poll(now, node(0), &order, io));
    assert!(first.unwrap().is_none());
    world.advance(300_000);
    assert_eq!(world.core.candidates(), 1);
    let now_ms = world.now_ms;
    world.core.answered(now_ms, node(0));
    world.advance(29_999);
    assert_eq!(world.core.candidates(), 1);
    world.advance(1);
    assert_eq!((world.core.candidates(), world.core.active()), (0, 0));
    world.audit();
}

#[test]
fn only_members_with_stake_and_an_active_engine_are_greeted() {
    let mut membership = staked(&[STAKE_MIN, STAKE_MIN - 1, STAKE_MIN]);
    let jailed = node(2);
    for miner in &mut membership.miners {
        if miner.node == jailed {
            miner.jailed = Some("equivocation".to_owned());
        }
    }
    let mut world = World::with(&membership, audited(), 1);
    world.hello(0, offer(1)).unwrap();
    assert_eq!(refused(world.hello(1, offer(1))), Code::BelowMinimumStake);
    assert_eq!(refused(world.hello(2, offer(1))), Code::Jailed);
    let stranger = world.call(|core, now, io| core.hello(now, [5; 32], offer(1), &[], io));
    assert_eq!(refused(stranger.map(|_| ())), Code::NotRegistered);
    let mut old = offer(1);
    old.engine = Some(Hash::of(b"old"));
    assert_eq!(refused(world.hello(0, old)), Code::StaleEngine);
    assert_eq!(world.core.candidates(), 1);
}

#[test]
fn who_is_jailed_leaves_the_roster_and_may_still_hand_in() {
    let mut world = World::ready(2, 1, audited());
    let task = world.submit_one(2, 2, false);
    world.poll_all();
    let mut membership = membership(2);
    membership.version = 2;
    for miner in &mut membership.miners {
        if miner.node == node(1) {
            miner.jailed = Some("quality".to_owned());
        }
    }
    world.members = members(&membership);
    world.core.set_members(Arc::new(world.members.clone()));
    world.advance(1000);
    assert_eq!(world.core.candidates(), 1);
    assert_eq!(refused(world.poll(1, 1).map(|_| ())), Code::Jailed);
    for miner in 0..2 {
        let assignment = *world.miners[miner].given.keys().next().unwrap();
        world.finish(miner, &assignment, Status::Ok, "a");
    }
    assert!(world.ended(&task).result.is_some());
    let view = world.core.miner(world.now_ms, &node(1)).unwrap();
    assert_eq!(view.reason.unwrap().code, Code::Jailed);
    assert_eq!((view.weight, view.last_seq), (0, 1));
}

#[test]
fn after_a_restart_those_that_were_promised_to_be_active_stay_in_the_roster() {
    let mut world = World::ready(3, 1, audited());
    world.restart();
    world.tick();
    assert_eq!(rosters(&world), 1);
    assert_eq!(world.core.candidates(), 3);
    world.hello(0, offer(1)).unwrap();
    world.advance(5000);
    assert_eq!(rosters(&world), 1, "it offers what it offered");
    world.advance(24_000);
    world.poll(0, 1).unwrap();
    world.advance(1000);
    assert_eq!(world.core.candidates(), 1);
    world.audit();
}

#[test]
fn bad_work_lowers_the_weight_with_the_next_roster() {
    let mut world = World::ready(2, 1, audited());
    let task = world.submit_one(1, 1, false);
    world.poll_all();
    let miner = (0..2).find(|m| !world.miners[*m].given.is_empty()).unwrap();
    let assignment = *world.miners[miner].given.keys().next().unwrap();
    world.finish(miner, &assignment, Status::HostFault, "");
    assert_eq!(rosters(&world), 1);
    world.advance(10_000);
    assert_eq!(rosters(&world), 2);
    let view = |m: usize| world.core.miner(world.now_ms, &node(m)).unwrap();
    let (bad, good) = (view(miner), view(1 - miner));
    assert!(bad.weight < good.weight && bad.weight > 0);
    assert_eq!(bad.quality_ppm, 666_666);
    assert!(world.view(&task).is_some());
    world.audit();
}

#[test]
fn the_round_trip_counts_as_the_shortest_of_the_last_eight() {
    let mut world = World::ready(1, 1, audited());
    let locality = |world: &World| {
        let force = world.core.standing().in_force().unwrap();
        force.roster.candidates[0].locality
    };
    assert_eq!(locality(&world), 4, "never measured");
    world.core.round_trip(&node(0), 15_000);
    world.core.round_trip(&node(0), 900_000);
    world.advance(1000);
    assert_eq!(locality(&world), 1);
    for _ in 0..8 {
        world.core.round_trip(&node(0), 70_000);
    }
    world.advance(1000);
    assert_eq!(locality(&world), 3);
    world.audit();
}

#[test]
fn in_a_large_network_rosters_are_rarer_unless_many_leave() {
    const MINERS: usize = 2500;
    let mut world = World::new(MINERS, audited());
    world.greet_all(1);
    let before = rosters(&world);
    world.hello(0, offer(2)).unwrap();
    assert_eq!(world.core.next_due(), Some(world.now_ms + 3000));
    world.advance(2999);
    assert_eq!(rosters(&world), before);
    world.advance(1);
    assert_eq!(rosters(&world), before + 1);
    // One in sixteen and one more leave.
    for miner in 0..=MINERS / 16 {
        assert_eq!(rosters(&world), before + 1);
        assert_eq!(
            world.core.next_due() <= Some(world.now_ms + 1000),
            miner > MINERS / 16
        );
        world.poll(miner, 0).unwrap();
    }
    assert_eq!(world.core.next_due(), Some(world.now_ms + 1000));
    world.advance(1000);
    assert_eq!(rosters(&world), before + 2);
    assert_eq!(world.core.candidates(), MINERS - MINERS / 16 - 1);
    assert_eq!(world.core.active(), MINERS);
    world.audit();
}
