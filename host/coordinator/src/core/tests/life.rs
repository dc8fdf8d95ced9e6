//! From submission to result, and what is refused on the way in.

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::status::Status;
use adit_protocol::task::DeviceClass;

use crate::core::testing::*;
use crate::core::{CoreError, Options, Output, Submitted};
use crate::engine::PreparedSubmission;
use crate::order::Idempotency;
use crate::view::{LeaseState, TaskEvent, TaskState};

fn code<T: std::fmt::Debug>(result: Result<T, CoreError>) -> Code {
    match result {
        Err(CoreError::Refused(refusal)) => {
            assert!(!refusal.detail.is_empty() && !refusal.hint.is_empty());
            refusal.code
        }
        other => panic!("{other:?} is no refusal"),
    }
}

#[test]
fn a_task_is_drawn_run_and_accepted() {
    let mut world = World::ready(3, 2, audited());
    let task = world.submit_one(1, 1, false);
    let view = world.view(&task).unwrap();
    assert_eq!(view.state, TaskState::Running);
    assert_eq!(view.reason.as_ref().unwrap().code, Code::WaitingForResult);
    assert_eq!(view.assignments.len(), 1);
    assert_eq!(world.core.escrow(), 5);

    world.work(Status::Ok, "output");
    assert!(world.view(&task).is_none());
    let view = world.ended(&task);
    assert_eq!(view.state, TaskState::Completed);
    let result = view.result.unwrap();
    assert_eq!((result.status, result.agreed), (Status::Ok, 1));
    assert_eq!(result.output, Hash::of(b"output"));
    assert_eq!(view.assignments[0].state, LeaseState::Reported);
    let receipt = view.assignments[0].receipt.as_ref().unwrap();
    assert_eq!(receipt.decision, Some(Decision::Accepted));
    assert_eq!(world.decisions(), [Decision::Accepted]);
    let kinds: Vec<_> = world
        .entries()
        .iter()
        .map(|entry| entry.encode()[0])
        .collect();
    assert_eq!(kinds, [3, 6, 1, 2]);
    let audited = world.audit();
    assert_eq!(audited.leases().count(), 0);
    assert_eq!(
        (world.core.live(), world.core.open(), world.core.waiting()),
        (0, 0, 0)
    );
}

#[test]
fn a_task_that_waits_says_why() {
    let mut world = World::new(2, audited());
    let task = world.submit_one(1, 1, false);
    let reason = |world: &World| world.view(&task).unwrap().reason.unwrap().code;
    assert_eq!(reason(&world), Code::WaitingForMiner);
    assert_eq!(world.view(&task).unwrap().state, TaskState::Waiting);

    let mut order = world.order(replicated(1, 1, false));
    order.spec.requirements.device = DeviceClass::Gpu;
    let gpu = world.submit(order).unwrap();
    world.greet_all(1);
    let why = world.view(&gpu).unwrap().reason.unwrap();
    assert_eq!(why.code, Code::RequirementsUnmet);
    assert!(why.detail.contains("2 without a GPU"), "{}", why.detail);
    assert_eq!(world.view(&task).unwrap().state, TaskState::Running);

    world.submit_one(1, 1, false);
    let third = world.submit_one(1, 1, false);
    let why = world.view(&third).unwrap().reason.unwrap();
    assert_eq!(why.code, Code::WaitingForSlot);

    let mut memory = world.order(replicated(1, 1, false));
    memory.spec.requirements.environments = vec![Hash::of(b"other")];
    let memory = world.submit(memory).unwrap();
    let why = world.view(&memory).unwrap().reason.unwrap();
    assert!(why.detail.contains("2 without any of the environments"));
    world.audit();
}

#[test]
fn all_miners_having_had_it_is_told_apart() {
    let mut world = World::ready(1, 4, audited());
    let task = world.submit_one(2, 2, false);
    let explained = world.call(|core, now, io| core.explain(now, &task, io));
    let explained = explained.unwrap().unwrap();
    assert_eq!(explained.counts.unwrap().held, 1);
    assert_eq!(
        explained.candidates[0].lacks.as_deref(),
        Some("had this task before")
    );
    world.work(Status::Ok, "a");
    let view = world.view(&task).unwrap();
    assert_eq!(view.reason.unwrap().code, Code::WaitingForQuorum);
    world.advance(world.options.queue_ms);
    let view = world.ended(&task);
    assert_eq!(view.state, TaskState::Failed);
    let reason = view.reason.unwrap();
    assert_eq!(reason.code, Code::NoEligibleMiner);
    assert!(
        reason.detail.contains("had this task before"),
        "{}",
        reason.detail
    );
    assert_eq!(world.decisions(), [Decision::NoQuorum]);
    world.audit();
}

#[test]
fn a_task_nobody_takes_fails_at_its_time() {
    let mut world = World::new(1, audited());
    let mut order = world.order(replicated(1, 1, false));
    order.queue_ms = Some(5000);
    let task = world.submit(order).unwrap();
    world.advance(4999);
    assert!(world.view(&task).is_some());
    assert_eq!(world.core.next_due(), Some(world.now_ms + 1));
    world.advance(1);
    let view = world.ended(&task);
    assert_eq!(view.state, TaskState::Failed);
    assert_eq!(view.reason.unwrap().code, Code::NoEligibleMiner);
    assert_eq!(world.core.waiting(), 0);
    assert!(world.entries().is_empty());
}

#[test]
fn one_request_takes_effect_once() {
    let mut world = World::ready(1, 1, audited());
    let mut order = world.order(replicated(1, 1, false));
    order.idempotency = Some(Idempotency {
        key: "key".to_owned(),
        request: Hash::of(b"request"),
    });
    let task = world.submit(order.clone()).unwrap();
    // The second time the coordinator has chosen another salt.
    let mut again = order.clone();
    again.spec.salt = [9; 32];
    assert_eq!(world.submit(again.clone()).unwrap(), task);
    world.work(Status::Ok, "a");
    let prepared = PreparedSubmission::new(again.clone());
    let submitted = world.call(|core, now, io| core.submit(now, prepared, io));
    assert_eq!(submitted.unwrap(), Submitted::Ended(task));
    again.idempotency.as_mut().unwrap().request = Hash::of(b"other");
    assert_eq!(code(world.submit(again.clone())), Code::IdempotencyConflict);
    again.client = "another".to_owned();
    assert_ne!(world.submit(again).unwrap(), task);
    assert_eq!(world.core.counters().submitted, 2);
}

#[test]
fn what_cannot_be_taken_is_refused_before_anything_changes() {
    let options = Options {
        live_max: 3,
        classes_max: 1,
        ..audited()
    };
    let mut world = World::new(1, options);
    let before = world.store.snapshot().tasks.len();
    let good = world.order(replicated(1, 1, false));
    let mut refused = |change: &dyn Fn(&mut crate::order::Submission)| {
        let mut order = good.clone();
        change(&mut order);
        code(world.submit(order))
    };
    assert_eq!(
        refused(&|o| o.spec.genesis = Hash::ZERO),
        Code::InvalidRequest
    );
    assert_eq!(
        refused(&|o| o.spec.coordinator = [1; 32]),
        Code::InvalidRequest
    );
    assert_eq!(refused(&|o| o.exec.push(1)), Code::InvalidRequest);
    assert_eq!(refused(&|o| o.client.clear()), Code::InvalidRequest);
    assert_eq!(
        refused(&|o| o.client = "a".repeat(129)),
        Code::InvalidRequest
    );
    assert_eq!(refused(&|o| o.spec.deadline_ms = 0), Code::InvalidRequest);
    assert_eq!(
        refused(&|o| o.spec.deadline_ms = u64::MAX),
        Code::InvalidRequest
    );
    assert_eq!(
        refused(&|o| o.spec.verification.quorum = 0),
        Code::InvalidRequest
    );
    assert_eq!(refused(&|o| o.queue_ms = Some(0)), Code::InvalidRequest);
    assert_eq!(refused(&|o| o.in_flight_max = Some(0)), Code::QuotaExceeded);
    assert_eq!(
        refused(&|o| {
            o.idempotency = Some(Idempotency {
                key: String::new(),
                request: Hash::ZERO,
            });
        }),
        Code::InvalidRequest
    );
    assert_eq!(world.store.snapshot().tasks.len(), before);

    world.submit(good.clone()).unwrap();
    assert_eq!(
        code(world.submit(good.clone())),
        Code::InvalidRequest,
        "the same task twice"
    );
    let mut other = world.order(replicated(1, 1, false));
    other.spec.requirements.device_memory_bytes = 1;
    assert_eq!(
        code(world.submit(other)),
        Code::Overloaded,
        "too many classes"
    );
    world.submit_one(1, 1, false);
    world.submit_one(1, 1, false);
    let fourth = world.order(replicated(1, 1, false));
    assert_eq!(code(world.submit(fourth.clone())), Code::Overloaded);
    world.core.drain();
    assert_eq!(code(world.submit(fourth)), Code::Draining);
}

#[test]
fn a_client_cancels_its_own_task_once() {
    let mut world = World::ready(3, 1, audited());
    let task = world.submit_one(2, 2, false);
    let first = (0..3).find(|m| {
        world.poll(*m, 1).unwrap();
        !world.miners[*m].given.is_empty()
    });
    let first = first.unwrap();
    let assignment = *world.miners[first].given.keys().next().unwrap();
    world.finish(first, &assignment, Status::Ok, "a");

    let forbidden = world.call(|core, now, io| core.cancel(now, &task, "other", io));
    assert_eq!(code(forbidden), Code::Forbidden);
    let view = world.call(|core, now, io| core.cancel(now, &task, "client", io));
    let view = view.unwrap();
    assert_eq!(view.state, TaskState::Cancelled);
    assert_eq!(world.ended(&task), view);
    let again = world.call(|core, now, io| core.cancel(now, &task, "client", io));
    assert_eq!(code(again), Code::TaskEnded);
    let again = world.call(|core, now, io| core.cancel(now, &task, "other", io));
    assert_eq!(code(again), Code::Forbidden);
    let unknown = world.call(|core, now, io| core.cancel(now, &Hash::ZERO, "client", io));
    assert_eq!(code(unknown), Code::UnknownTask);
    assert_eq!(world.decisions(), [Decision::TaskCancelled]);
    let cancels = world
        .entries()
        .into_iter()
        .filter(|e| matches!(e, Entry::Cancel(_)));
    assert_eq!(cancels.count(), 1);
    assert_eq!(world.core.open(), 0);
    world.audit();
}

#[test]
fn draining_takes_and_draws_nothing_new_and_lets_the_rest_end() {
    let mut world = World::ready(1, 1, audited());
    let running = world.submit_one(1, 1, false);
    let waiting = world.submit_one(1, 1, false);
    world.core.drain();
    world.work(Status::Ok, "a");
    assert_eq!(world.ended(&running).state, TaskState::Completed);
    assert_eq!(world.core.open(), 0);
    let why = world.view(&waiting).unwrap().reason.unwrap();
    assert_eq!(why.code, Code::Draining);
    assert_eq!(world.poll(0, 1).unwrap().idle, Some(Code::Draining));
    world.restart();
    world.greet_all(1);
    world.work(Status::Ok, "a");
    assert_eq!(world.ended(&waiting).state, TaskState::Completed);
    world.audit();
}

#[test]
fn those_who_watch_are_told_of_each_state_once() {
    let mut world = World::ready(2, 1, audited());
    let task = world.submit_one(2, 2, false);
    world.tick();
    world.work(Status::Ok, "a");
    let states: Vec<_> = world
        .out
        .iter()
        .filter_map(|output| match output {
            Output::Event(id, TaskEvent::State { state, reason }) if *id == task => {
                Some((*state, reason.as_ref().map(|r| r.code)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        states,
        [
            (TaskState::Running, Some(Code::WaitingForResult)),
            (TaskState::Running, Some(Code::WaitingForQuorum)),
        ]
    );
    assert_eq!(world.ended(&task).state, TaskState::Completed);
}
