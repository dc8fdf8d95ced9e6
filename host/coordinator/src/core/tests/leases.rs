//! Leases that run out, are taken back, or end without a result.

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::{CancelledBy, Decision, Entry};
use adit_protocol::status::Status;

use crate::core::testing::*;
use crate::core::{CoreError, Output};
use crate::engine::{HandedIn, PollOrder};
use crate::view::{LeaseState, TaskEvent, TaskState};

fn holder(world: &mut World) -> usize {
    let all: Vec<_> = (0..world.miners.len()).collect();
    all.into_iter()
        .find(|miner| {
            world.poll(*miner, 1).unwrap();
            !world.miners[*miner].given.is_empty()
        })
        .unwrap()
}

/// Submits a task whose leases last longer than a silent miner counts as active.
fn submit_long(world: &mut World) -> Hash {
    let mut order = world.order(replicated(1, 1, false));
    order.spec.deadline_ms = 60_000;
    world.submit(order).unwrap()
}

/// Keeps all miners but one active.
fn keep_active(world: &mut World, but: usize) {
    for miner in 0..world.miners.len() {
        if miner != but {
            world.poll(miner, 1).unwrap();
        }
    }
}

#[test]
fn an_expired_lease_goes_to_another_and_counts_if_it_was_accepted() {
    for accepted in [true, false] {
        let mut world = World::ready(3, 1, audited());
        let task = world.submit_one(1, 1, false);
        let first = holder(&mut world);
        let assignment = *world.miners[first].given.keys().next().unwrap();
        if accepted {
            world.accept(first);
        }
        let deadline_ms = world.view(&task).unwrap().assignments[0].deadline_ms;
        while world.now_ms + 9000 < deadline_ms {
            world.advance(9000);
            for miner in 0..3 {
                world.poll(miner, 1).unwrap();
            }
        }
        world.advance(deadline_ms - world.now_ms - 1);
        assert_eq!(world.view(&task).unwrap().assignments.len(), 1);
        world.advance(1);
        let view = world.view(&task).unwrap();
        assert_eq!(view.assignments[0].state, LeaseState::Expired);
        assert_eq!(view.assignments[1].attempt, 1);
        assert_ne!(view.assignments[1].miner, view.assignments[0].miner);
        let standing = world.audit();
        assert_eq!(standing.record(&node(first)).bad, u32::from(accepted));

        // Its receipt is logged all the same, and is late.
        let result = world.finish(first, &assignment, Status::Ok, "a");
        assert!(matches!(result, HandedIn::Appended(_)));
        assert_eq!(world.decisions(), [Decision::Late]);
        assert_eq!(world.view(&task).unwrap().state, TaskState::Running);
        world.work(Status::Ok, "a");
        assert_eq!(world.ended(&task).state, TaskState::Completed);
        world.audit();
    }
}

#[test]
fn attempts_are_bounded() {
    let mut world = World::ready(6, 1, audited());
    let task = world.submit_one(1, 1, false);
    for attempt in 0..3 {
        let miner = holder(&mut world);
        let assignment = *world.miners[miner].given.keys().next().unwrap();
        assert_eq!(world.view(&task).unwrap().assignments.len(), attempt + 1);
        world.finish(miner, &assignment, Status::Deadline, "");
    }
    let view = world.ended(&task);
    assert_eq!(view.state, TaskState::Failed);
    assert_eq!(view.reason.unwrap().code, Code::Deadline);
    assert_eq!(world.decisions(), [Decision::NotAttestable; 3]);
    world.audit();
}

#[test]
fn only_host_faults_count_against_the_miner() {
    for (status, bad) in [
        (Status::HostFault, 1),
        (Status::StackOverflow, 0),
        (Status::Unavailable, 0),
        (Status::CompileLimit, 0),
        (Status::Deadline, 0),
    ] {
        let mut world = World::ready(2, 1, audited());
        let task = world.submit_one(1, 1, false);
        let miner = holder(&mut world);
        let assignment = *world.miners[miner].given.keys().next().unwrap();
        world.finish(miner, &assignment, status, "");
        assert_eq!(world.audit().record(&node(miner)).bad, bad, "{status}");
        world.work(Status::Ok, "a");
        assert_eq!(world.ended(&task).state, TaskState::Completed);
    }
}

#[test]
fn what_a_silent_miner_never_got_goes_to_others_at_once() {
    let mut world = World::ready(2, 1, audited());
    let (first, second) = (submit_long(&mut world), submit_long(&mut world));
    world.poll(0, 1).unwrap();
    let given = world.miners[0].given.values().next().unwrap().task;
    let lost = if given == first { second } else { first };
    for _ in 0..4 {
        world.advance(9000);
        world.poll(0, 1).unwrap();
    }
    // The silent one is out of the roster, and its task waits for a miner that is not.
    let view = world.view(&lost).unwrap();
    assert_eq!(view.assignments[0].state, LeaseState::Cancelled);
    assert_eq!(view.state, TaskState::Waiting);
    assert_eq!(view.reason.unwrap().code, Code::WaitingForSlot);
    let cancels = world.entries().into_iter().filter_map(|e| match e {
        Entry::Cancel(cancel) => Some(cancel.by),
        _ => None,
    });
    assert_eq!(cancels.collect::<Vec<_>>(), [CancelledBy::Coordinator]);
    for _ in 0..2 {
        world.poll(0, 1).unwrap();
        let assignment = *world.miners[0].given.keys().next().unwrap();
        world.finish(0, &assignment, Status::Ok, "a");
    }
    assert_eq!(world.ended(&lost).state, TaskState::Completed);
    world.audit();
}

#[test]
fn what_was_given_out_is_not_taken_back() {
    let mut world = World::ready(2, 1, audited());
    let task = submit_long(&mut world);
    let miner = holder(&mut world);
    for _ in 0..3 {
        world.advance(11_000);
        keep_active(&mut world, miner);
    }
    assert_eq!(world.core.candidates(), 1);
    assert_eq!(world.core.active(), 1);
    let view = world.view(&task).unwrap();
    assert_eq!(view.assignments[0].state, LeaseState::Open);
    let assignment = *world.miners[miner].given.keys().next().unwrap();
    world.finish(miner, &assignment, Status::Ok, "a");
    assert_eq!(world.ended(&task).state, TaskState::Completed);
    world.audit();
}

#[test]
fn a_paused_miner_gives_back_and_is_drawn_no_more() {
    let mut world = World::ready(2, 2, audited());
    let task = world.submit_one(1, 1, false);
    let miner = world.view(&task).unwrap().assignments[0].miner;
    let paused = (0..2).find(|m| node(*m) == miner.0).unwrap();
    assert_eq!(world.poll(paused, 0).unwrap().idle, Some(Code::Paused));
    let view = world.view(&task).unwrap();
    assert_eq!(view.assignments[0].state, LeaseState::Cancelled);
    assert_ne!(view.assignments[1].miner, miner);
    world.advance(1000);
    assert_eq!(world.core.candidates(), 1);
    let reply = world.poll(paused, 0).unwrap();
    assert_eq!(
        reply.active_until_ms, reply.at_ms,
        "no word that a roster contradicts"
    );
    world.poll(paused, 2).unwrap();
    world.advance(1000);
    assert_eq!(world.core.candidates(), 2);
    world.audit();
}

#[test]
fn assignments_that_did_not_arrive_are_sent_again() {
    let mut world = World::ready(1, 3, audited());
    world.submit_one(1, 1, false);
    world.submit_one(1, 1, false);
    let first = world.poll(0, 3).unwrap();
    assert_eq!(first.work.len(), 2);
    assert!(first.work.iter().all(|w| w.context.is_some()));
    assert!(world.poll(0, 1).unwrap().work.is_empty());
    let kept: Vec<_> = world.miners[0].given.keys().copied().take(1).collect();
    let order = PollOrder {
        want: 2,
        working: kept,
        ..PollOrder::default()
    };
    assert_eq!(
        world
            .poll_with(node(0), 0, order.clone())
            .unwrap()
            .work
            .len(),
        1
    );
    world.restart();
    let refused = world.poll_with(node(0), 0, order.clone());
    assert!(matches!(refused, Err(CoreError::Refused(r)) if r.code == Code::HelloFirst));
    let greeting = world.call(|core, now, io| core.hello(now, node(0), offer(3), &[], io));
    assert_eq!(greeting.unwrap().open.len(), 2);
    assert_eq!(world.poll_with(node(0), 0, order).unwrap().work.len(), 1);
}

#[test]
fn an_acceptance_of_another_ones_assignment_is_nothing() {
    let mut world = World::ready(2, 1, audited());
    world.submit_one(1, 1, false);
    let miner = holder(&mut world);
    let other = 1 - miner;
    world.miners[other].given = world.miners[miner].given.clone();
    world.accept(other);
    for _ in 0..4 {
        world.advance(9000);
        keep_active(&mut world, 9);
    }
    let expiries: Vec<_> = world
        .entries()
        .into_iter()
        .filter_map(|e| match e {
            Entry::Expiry(expiry) => Some(expiry.acceptance),
            _ => None,
        })
        .collect();
    assert_eq!(expiries, [None]);
    world.audit();
}

#[test]
fn progress_is_heard_of_the_first_replica_in_order_and_from_its_miner_only() {
    use adit_protocol::network::exchange::Progress;
    let mut world = World::ready(3, 1, audited());
    let task = world.submit_one(2, 2, false);
    for miner in 0..3 {
        world.poll(miner, 1).unwrap();
    }
    let mut leases = Vec::new();
    for (miner, state) in world.miners.iter().enumerate() {
        leases.extend(
            state
                .given
                .iter()
                .map(|(hash, a)| (a.replica, miner, *hash)),
        );
    }
    leases.sort();
    let report = |assignment, number, chunk: Option<&[u8]>| Progress {
        assignment,
        number,
        done: number,
        total: 9,
        note: "at work".to_owned(),
        chunk: chunk.map(|c| c.to_vec().into()),
    };
    world.out.clear();
    let (_, first, lease) = leases[0];
    let (_, second, other) = leases[1];
    for (miner, report) in [
        (first, report(lease, 1, None)),
        (first, report(lease, 3, Some(b"chunk"))),
        (first, report(lease, 2, None)),
        (second, report(other, 1, Some(b"secret"))),
        (second, report(lease, 4, Some(b"forged"))),
    ] {
        world
            .call(|core, _, io| {
                core.progress(&node(miner), vec![report], io);
                Ok::<_, CoreError>(())
            })
            .unwrap();
    }
    let numbers: Vec<_> = world
        .out
        .iter()
        .filter_map(|output| match output {
            Output::Event(id, TaskEvent::Progress { progress, .. }) if *id == task => {
                Some(progress.done)
            }
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [1, 3]);
    let chunks = world.out.iter().filter_map(|output| match output {
        Output::Event(_, TaskEvent::Chunk { chunk, .. }) => Some(chunk.clone()),
        _ => None,
    });
    assert_eq!(chunks.collect::<Vec<_>>(), [b"chunk".to_vec()]);
    assert_eq!(world.view(&task).unwrap().progress.unwrap().done, 3);
}
