//! Whose task is next, and what others cost.

use adit_protocol::hash::Hash;
use adit_protocol::network::standing::{Drawn, Eligibility};
use adit_protocol::status::Status;
use adit_protocol::task::DeviceClass;

use crate::core::testing::*;
use crate::view::TaskState;

/// Clients in the order in which their tasks were given out.
fn served(world: &mut World) -> Vec<String> {
    let mut order = Vec::new();
    while world.core.live() > 0 {
        let given: Vec<_> = world.poll(0, 1).unwrap().work;
        for delivery in given {
            let view = world.view(&delivery.task).unwrap();
            order.push(view.client);
        }
        let all: Vec<_> = world.miners[0].given.keys().copied().collect();
        for assignment in all {
            world.finish(0, &assignment, Status::Ok, "a");
        }
    }
    order
}

fn submit_for(world: &mut World, client: &str, count: usize) {
    for _ in 0..count {
        let mut order = world.order(replicated(1, 1, false));
        order.client = client.to_owned();
        world.submit(order).unwrap();
    }
}

#[test]
fn a_client_with_many_tasks_does_not_keep_others_waiting() {
    let mut world = World::ready(1, 1, audited());
    submit_for(&mut world, "many", 6);
    submit_for(&mut world, "few", 2);
    let order = served(&mut world);
    assert_eq!(
        order,
        ["many", "few", "many", "few", "many", "many", "many", "many"]
    );
}

#[test]
fn what_nobody_can_run_does_not_keep_others_waiting() {
    let mut world = World::ready(1, 1, audited());
    for _ in 0..20 {
        let mut order = world.order(replicated(1, 1, false));
        order.spec.requirements.device = DeviceClass::Gpu;
        world.submit(order).unwrap();
    }
    let task = world.submit_one(1, 1, false);
    assert_eq!(world.view(&task).unwrap().state, TaskState::Running);
    assert_eq!(world.core.waiting(), 20);
    // A miner with a GPU comes, and all of them are run.
    let mut gpu = offer(4);
    gpu.gpu_memory_bytes = Some(1 << 30);
    world.hello(0, gpu).unwrap();
    world.advance(1000);
    served(&mut world);
    assert_eq!(world.core.counters().completed, 21);
    world.audit();
}

#[test]
fn a_replica_that_has_to_wait_for_another_miner_does_not_keep_others_waiting() {
    let mut world = World::ready(1, 2, audited());
    let stuck = world.submit_one(2, 2, false);
    let next = world.submit_one(1, 1, false);
    assert_eq!(world.view(&stuck).unwrap().assignments.len(), 1);
    assert_eq!(world.view(&next).unwrap().state, TaskState::Running);
    world.work(Status::Ok, "a");
    assert_eq!(world.ended(&next).state, TaskState::Completed);
    assert_eq!(world.core.waiting(), 1);
    world.audit();
}

#[test]
fn what_was_set_aside_is_placed_when_another_miner_is_free() {
    let mut world = World::ready(2, 1, audited());
    // Both miners are busy, so the second replica of this one waits.
    let blocking = world.submit_one(1, 1, false);
    let task = world.submit_one(2, 2, false);
    let others: Vec<_> = (0..3).map(|_| world.submit_one(1, 1, false)).collect();
    world.poll_all();
    let holds = |world: &World, task| {
        let given = |m: &usize| world.miners[*m].given.values().any(|a| a.task == task);
        (0..2).find(given).unwrap()
    };
    let (a, b) = (holds(&world, blocking), holds(&world, task));
    assert_ne!(a, b);
    // The one that has the task is free first: the others pass.
    let assignment = *world.miners[b].given.keys().next().unwrap();
    world.finish(b, &assignment, Status::Ok, "a");
    assert_eq!(world.view(&task).unwrap().assignments.len(), 1);
    assert_eq!(world.view(&others[0]).unwrap().state, TaskState::Running);
    let assignment = *world.miners[a].given.keys().next().unwrap();
    world.finish(a, &assignment, Status::Ok, "a");
    let view = world.view(&task).unwrap();
    assert_eq!(
        view.assignments.len(),
        2,
        "it comes before those that came later"
    );
    world.audit();
}

#[test]
fn the_queue_counts_free_slots_as_the_log_does() {
    let mut world = World::ready(4, 2, audited());
    for round in 0u32..60 {
        let mut order = world.order(replicated(1 + (round % 3) as u8, 1, false));
        order.spec.requirements.device_memory_bytes = u64::from(round % 2);
        world.submit(order).unwrap();
        if round % 4 == 0 {
            world.work(Status::Ok, "a");
        }
        if round % 7 == 0 {
            world
                .hello((round % 4) as usize, offer(1 + round % 3))
                .unwrap();
            world.advance(1000);
        }
        for (class, requirements) in world.core.queue.requirements() {
            let standing = world.core.standing();
            let all = &standing.in_force().unwrap().roster.candidates;
            let free = all.iter().filter(|candidate| {
                let found = standing.eligibility(candidate, &Hash::ZERO, &requirements, false);
                matches!(found, Eligibility::Weight(_))
            });
            let expected = free.count() as u32;
            assert_eq!(
                world.core.queue.free(&class),
                Some(expected),
                "round {round}"
            );
        }
    }
}

#[test]
fn nothing_that_could_be_placed_is_left_waiting() {
    let mut world = World::ready(3, 2, audited());
    for round in 0..80u64 {
        let task = world.submit_one(1 + (round % 3) as u8, 1, false);
        if round % 3 == 0 {
            world.work(Status::Ok, "a");
        }
        // Whatever still waits, the draw for it falls on nobody.
        for view in world.core.waiting_tasks() {
            let (replica, attempt, requirements, local) = view.1;
            let drawn = world
                .core
                .standing()
                .draw(&view.0, &requirements, attempt, replica, local);
            assert!(matches!(drawn, Drawn::Nobody(_)), "round {round} {task}");
        }
    }
}
