//! Replicas, quorum, trust, validators.

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::{CancelledBy, Decision, Entry};
use adit_protocol::status::Status;

use crate::core::testing::*;
use crate::core::{Options, Output, Validation};
use crate::view::{LeaseState, TaskState};

/// Hands out a task's assignments, in the order of its replicas: which miner has which.
fn give(world: &mut World, task: &Hash) -> Vec<(usize, Hash)> {
    for miner in 0..world.miners.len() {
        world.poll(miner, 1).unwrap();
    }
    let mut all: Vec<_> = world
        .miners
        .iter()
        .enumerate()
        .flat_map(|(miner, state)| {
            let given = state.given.iter().filter(|(_, a)| a.task == *task);
            given.map(move |(hash, a)| (a.replica, a.attempt, miner, *hash))
        })
        .collect();
    all.sort();
    all.into_iter()
        .map(|(_, _, miner, hash)| (miner, hash))
        .collect()
}

#[test]
fn the_quorum_decides_and_the_superfluous_is_cancelled() {
    let mut world = World::ready(4, 1, audited());
    let task = world.submit_one(3, 2, false);
    let given = give(&mut world, &task);
    assert_eq!(given.len(), 3);
    world.finish(given[0].0, &given[0].1, Status::Ok, "a");
    assert_eq!(
        world.view(&task).unwrap().reason.unwrap().code,
        Code::WaitingForQuorum
    );
    world.finish(given[1].0, &given[1].1, Status::Ok, "a");
    let view = world.ended(&task);
    assert_eq!(view.result.unwrap().agreed, 2);
    assert_eq!(view.assignments[2].state, LeaseState::Cancelled);
    let cancels: Vec<_> = world
        .entries()
        .into_iter()
        .filter_map(|e| match e {
            Entry::Cancel(cancel) => Some((cancel.by, cancel.assignments)),
            _ => None,
        })
        .collect();
    assert_eq!(cancels, [(CancelledBy::Decided, vec![given[2].1])]);
    let ended = world.poll(given[2].0, 1).unwrap().ended;
    assert_eq!(ended, [given[2].1]);
    world.audit();
}

#[test]
fn who_differs_is_outvoted_and_others_are_asked() {
    let mut world = World::ready(4, 1, audited());
    let task = world.submit_one(2, 2, false);
    let given = give(&mut world, &task);
    let (liar, lie) = given[0];
    world.finish(liar, &lie, Status::Ok, "lie");
    world.finish(given[1].0, &given[1].1, Status::Ok, "truth");
    let view = world.view(&task).unwrap();
    assert_eq!(
        view.replicas,
        Some(3),
        "a third one has to tell who is right"
    );
    let third = give(&mut world, &task);
    assert_eq!(third.len(), 1);
    world.finish(third[0].0, &third[0].1, Status::Ok, "truth");
    let view = world.ended(&task);
    assert_eq!(view.state, TaskState::Completed);
    assert_eq!(view.result.unwrap().output, Hash::of(b"truth"));
    assert_eq!(
        world.decisions(),
        [Decision::Outvoted, Decision::Accepted, Decision::Accepted]
    );
    let standing = world.audit();
    assert_eq!(standing.record(&node(liar)).bad, 1);
    assert!(standing.record(&node(liar)).quality_ppm() < 1_000_000);
    assert_eq!(standing.record(&node(third[0].0)).streak, 1);
}

#[test]
fn the_status_is_part_of_the_result() {
    let mut world = World::ready(
        2,
        1,
        Options {
            extra_max: 0,
            ..audited()
        },
    );
    let task = world.submit_one(2, 2, false);
    let given = give(&mut world, &task);
    world.finish(given[0].0, &given[0].1, Status::Ok, "a");
    world.finish(given[1].0, &given[1].1, Status::Trap, "a");
    let view = world.ended(&task);
    assert_eq!(view.state, TaskState::Failed);
    assert_eq!(view.reason.unwrap().code, Code::NoQuorum);
    assert_eq!(world.decisions(), [Decision::NoQuorum; 2]);
    world.audit();
}

#[test]
fn without_agreement_the_task_fails_in_the_end() {
    let mut world = World::ready(6, 1, audited());
    let task = world.submit_one(2, 2, false);
    for turn in 0..4 {
        let given = give(&mut world, &task);
        for (miner, assignment) in given {
            world.finish(miner, &assignment, Status::Ok, &format!("{turn} {miner}"));
        }
    }
    let view = world.ended(&task);
    assert_eq!(view.reason.unwrap().code, Code::NoQuorum);
    assert_eq!(view.assignments.len(), 4, "two ordered, and two beyond");
    world.audit();
}

#[test]
fn a_new_miner_is_replicated_and_a_trusted_one_seldom() {
    let mut world = World::ready(5, 4, audited());
    let mut singles = 0;
    let mut all = 0;
    for round in 0..200 {
        let task = world.submit_one(2, 2, true);
        let replicas = world.view(&task).unwrap().replicas.unwrap();
        let first = world.view(&task).unwrap().assignments[0].miner;
        let streak = world.core.standing().record(&first.0).streak;
        if streak < 10 {
            assert_eq!(replicas, 2, "round {round}");
        } else {
            all += 1;
            singles += u32::from(replicas == 1);
        }
        assert_eq!(world.view(&task).unwrap().quorum, replicas);
        world.work(Status::Ok, "a");
        assert_eq!(world.ended(&task).state, TaskState::Completed);
        world.out.clear();
    }
    // One in the streak is checked: with streaks of 10 to 20 that is 5 to 10 of 100.
    assert!(all > 50, "{all}");
    assert!(
        singles * 100 > all * 80 && singles < all,
        "{singles} of {all}"
    );
    world.audit();
}

#[test]
fn what_is_trusted_may_fail_and_then_another_ones_record_counts() {
    let mut world = World::ready(3, 1, audited());
    // All but one have a streak.
    for _ in 0..60 {
        world.submit_one(3, 3, false);
        world.work(Status::Ok, "a");
    }
    world.out.clear();
    let mut seen = false;
    for _ in 0..20 {
        let task = world.submit_one(2, 2, true);
        if world.view(&task).unwrap().replicas == Some(1) {
            let given = give(&mut world, &task);
            world.finish(given[0].0, &given[0].1, Status::HostFault, "");
            seen = true;
        }
        world.work(Status::Ok, "a");
        world.work(Status::Ok, "a");
        assert_eq!(world.ended(&task).state, TaskState::Completed);
    }
    assert!(seen);
    world.audit();
}

fn validations(world: &World) -> Vec<Validation> {
    world
        .out
        .iter()
        .filter_map(|output| match output {
            Output::Validate(validation) => Some(validation.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn the_validator_has_the_last_word() {
    let mut world = World::ready(4, 1, audited());
    let mut order = world.order(replicated(1, 1, false));
    let validator = Hash::of(b"validator");
    order.validator = Some(validator);
    let task = world.submit(order).unwrap();
    let given = give(&mut world, &task);
    world.finish(given[0].0, &given[0].1, Status::Ok, "bad");
    assert_eq!(world.view(&task).unwrap().state, TaskState::Validating);
    let asked = validations(&world);
    assert_eq!(asked.len(), 1);
    assert_eq!(
        (asked[0].validator, asked[0].output),
        (validator, Hash::of(b"bad"))
    );

    // No answer: it is asked again, and again after a restart.
    world.advance(world.options.validate_ms);
    assert_eq!(validations(&world).len(), 2);
    world.restart();
    assert_eq!(validations(&world).len(), 3);
    assert_eq!(world.view(&task).unwrap().state, TaskState::Validating);
    world.greet_all(1);

    let other = Hash::of(b"other");
    let stale = world.call(|core, now, io| core.validated(now, &task, &other, Ok(()), io));
    assert!(!stale.unwrap());
    let bad = Hash::of(b"bad");
    let refused =
        world.call(|core, now, io| core.validated(now, &task, &bad, Err("no".into()), io));
    assert!(refused.unwrap());
    assert_eq!(world.decisions(), [Decision::RefusedByValidator]);
    let given = give(&mut world, &task);
    world.finish(given[0].0, &given[0].1, Status::Ok, "good");
    let good = Hash::of(b"good");
    let result = world.call(|core, now, io| core.validated(now, &task, &good, Ok(()), io));
    assert!(result.unwrap());
    assert_eq!(world.ended(&task).result.unwrap().output, good);
    let verdicts: Vec<_> = world
        .entries()
        .into_iter()
        .filter_map(|e| match e {
            Entry::Verdict(verdict) => Some(verdict.validator),
            _ => None,
        })
        .collect();
    assert_eq!(verdicts, [Some(validator); 2]);
    let late = world.call(|core, now, io| core.validated(now, &task, &good, Ok(()), io));
    assert!(!late.unwrap());
    world.audit();
}

#[test]
fn a_validator_that_refuses_everything_ends_the_task() {
    let mut world = World::ready(4, 1, audited());
    let mut order = world.order(replicated(1, 1, false));
    order.validator = Some(Hash::of(b"validator"));
    let task = world.submit(order).unwrap();
    let output = Hash::of(b"a");
    for _ in 0..3 {
        let given = give(&mut world, &task);
        world.finish(given[0].0, &given[0].1, Status::Ok, "a");
        let no = Err("not an image".to_owned());
        world
            .call(|core, now, io| core.validated(now, &task, &output, no, io))
            .unwrap();
    }
    let reason = world.ended(&task).reason.unwrap();
    assert_eq!(reason.code, Code::AttemptsExhausted);
    assert!(reason.detail.contains("not an image"));
    world.audit();
}
