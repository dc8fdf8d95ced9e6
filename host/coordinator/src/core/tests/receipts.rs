//! Receipts: numbers, duplicates, equivocation, what does not fit.

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::receipt::Receipt;
use adit_protocol::status::Status;

use crate::Refusal;
use crate::core::testing::*;
use crate::engine::HandedIn;
use crate::order::HandInOrder;
use crate::view::TaskState;

/// A miner with so many assignments in its hands.
fn busy(assignments: usize) -> (World, Vec<Hash>) {
    let mut world = World::ready(1, 8, audited());
    let tasks: Vec<_> = (0..assignments)
        .map(|_| world.submit_one(1, 1, false))
        .collect();
    world.poll(0, 8).unwrap();
    let given = &world.miners[0].given;
    let assignment = |task: &Hash| {
        let mut all = given.iter();
        *all.find(|(_, a)| a.task == *task).unwrap().0
    };
    let all = tasks.iter().map(assignment).collect();
    (world, all)
}

fn refused(result: &HandedIn) -> Code {
    match result {
        HandedIn::Refused(refusal, _) => refusal.code,
        HandedIn::Appended(_) => panic!("it was appended"),
    }
}

fn leaf(result: &HandedIn) -> u64 {
    match result {
        HandedIn::Appended(appended) => appended.leaf,
        HandedIn::Refused(refusal, _) => panic!("{refusal}"),
    }
}

fn receipts(world: &World) -> usize {
    let entries = world.entries();
    entries
        .iter()
        .filter(|e| matches!(e, Entry::Receipt(_)))
        .count()
}

#[test]
fn a_receipt_that_is_handed_in_again_has_the_same_leaf_and_countersignature() {
    let (mut world, assignments) = busy(1);
    let receipt = world.journal(0, &assignments[0], Status::Ok, "a");
    let first = world.hand_in(0, vec![World::checked(&receipt)]);
    let mut again = World::checked(&receipt);
    again.receipt.coordinator_signature = [9; 64];
    let second = world.hand_in(0, vec![again, World::checked(&receipt)]);
    assert_eq!(first[0], second[0]);
    assert_eq!(first[0], second[1]);
    assert_eq!(receipts(&world), 1);
    world.restart();
    assert_eq!(world.hand_in(0, vec![World::checked(&receipt)]), first);
    let another = world.node(0);
    assert_eq!(another, receipt.body.miner);
    world.audit();
}

#[test]
fn numbers_go_up_without_gaps() {
    let (mut world, assignments) = busy(3);
    let all: Vec<_> = assignments
        .iter()
        .map(|a| world.journal(0, a, Status::Ok, "a"))
        .collect();
    let results = world.hand_in(0, vec![World::checked(&all[1])]);
    assert_eq!(refused(&results[0]), Code::SeqOutOfOrder);
    let results = world.hand_in(0, all.iter().map(World::checked).collect());
    assert!(results.iter().all(|r| matches!(r, HandedIn::Appended(_))));
    // The right number after the wrong receipt.
    let (mut world, assignments) = busy(2);
    world.finish(0, &assignments[0], Status::Ok, "a");
    let mut second = world.journal(0, &assignments[1], Status::Ok, "a");
    second.body.prev = Hash::of(b"another");
    let results = world.hand_in(0, vec![World::checked(&second)]);
    assert_eq!(refused(&results[0]), Code::SeqOutOfOrder);
    world.audit();
}

#[test]
fn what_was_refused_for_good_uses_up_its_number() {
    let (mut world, assignments) = busy(3);
    let all: Vec<_> = assignments
        .iter()
        .map(|a| world.journal(0, a, Status::Ok, "a"))
        .collect();
    let order = |receipt: &Receipt| HandInOrder::Checked(Box::new(World::checked(receipt)));
    let no = Refusal::new(Code::InvalidRequest, "a blob is wrong", "none");
    let refused_first = || HandInOrder::Refused(Box::new(all[0].body.clone()), no.clone());
    let node = world.node(0);
    let items = vec![refused_first(), order(&all[1])];
    let results = world
        .call(|core, now, io| core.hand_in(now, node, items, io))
        .unwrap();
    assert_eq!(refused(&results[0]), Code::InvalidRequest);
    leaf(&results[1]);
    // After a restart the refused one is not known any more, and is not needed either.
    world.restart();
    let results = world.hand_in(0, vec![World::checked(&all[2])]);
    leaf(&results[0]);
    world.audit();

    // A restart between the refusal and the next one: the miner sends both again.
    let (mut world, assignments) = busy(2);
    let all: Vec<_> = assignments
        .iter()
        .map(|a| world.journal(0, a, Status::Ok, "a"))
        .collect();
    let mut unknown = all[0].clone();
    unknown.body.assignment = Hash::of(b"none");
    let mut next = all[1].clone();
    next.body.prev = unknown.id();
    let results = world.hand_in(0, vec![World::checked(&unknown)]);
    assert_eq!(refused(&results[0]), Code::UnknownAssignment);
    world.restart();
    let results = world.hand_in(0, vec![World::checked(&next)]);
    assert_eq!(refused(&results[0]), Code::SeqOutOfOrder);
    let results = world.hand_in(0, vec![World::checked(&unknown), World::checked(&next)]);
    assert_eq!(refused(&results[0]), Code::UnknownAssignment);
    leaf(&results[1]);
    world.audit();
}

#[test]
fn what_has_to_wait_stops_those_behind_it() {
    let (mut world, assignments) = busy(2);
    let all: Vec<_> = assignments
        .iter()
        .map(|a| world.journal(0, a, Status::Ok, "a"))
        .collect();
    let node = world.node(0);
    let missing = vec![Hash::of(b"blob")];
    let later = Refusal::new(Code::UnknownBlob, "a blob is missing", "upload it");
    let items = vec![
        HandInOrder::Stop(later, missing.clone()),
        HandInOrder::Checked(Box::new(World::checked(&all[1]))),
    ];
    let results = world
        .call(|core, now, io| core.hand_in(now, node, items, io))
        .unwrap();
    assert!(matches!(&results[0], HandedIn::Refused(_, blobs) if *blobs == missing));
    assert_eq!(refused(&results[1]), Code::SeqOutOfOrder);
    let results = world.hand_in(0, all.iter().map(World::checked).collect());
    assert!(results.iter().all(|r| matches!(r, HandedIn::Appended(_))));
}

#[test]
fn two_bodies_for_one_assignment_are_kept_as_evidence() {
    let (mut world, assignments) = busy(2);
    let first = world.journal(0, &assignments[0], Status::Ok, "a");
    world.hand_in(0, vec![World::checked(&first)]);
    let third = world.journal(0, &assignments[1], Status::Ok, "c");
    // Made by a second copy of the miner, which went on from the same journal.
    let mut second = first.clone();
    second.body.output = Hash::of(b"b");
    second.body.seq = 2;
    second.body.prev = first.id();
    let results = world.hand_in(0, vec![World::checked(&second)]);
    assert_eq!(refused(&results[0]), Code::Equivocation);
    let (one, two) = &world.store.equivocations[&assignments[0]];
    assert_eq!((one.id(), two.id()), (first.id(), second.id()));
    assert_eq!(two.coordinator_signature, [0; 64]);
    assert_eq!(receipts(&world), 1);
    assert_eq!(world.core.counters().equivocations, 1);
    // With a number that was used before, it is the same.
    second.body.seq = 1;
    second.body.prev = Hash::ZERO;
    let results = world.hand_in(0, vec![World::checked(&second)]);
    assert_eq!(refused(&results[0]), Code::Equivocation);
    // The right one can go on.
    leaf(&world.hand_in(0, vec![World::checked(&third)])[0]);
    world.audit();
}

#[test]
fn receipts_of_others_and_of_elsewhere_are_refused() {
    let (mut world, assignments) = busy(1);
    let receipt = world.journal(0, &assignments[0], Status::Ok, "a");
    let mut wrong = |change: &dyn Fn(&mut Receipt)| {
        let mut receipt = receipt.clone();
        change(&mut receipt);
        let results = world.hand_in(0, vec![World::checked(&receipt)]);
        // Its number must stay free for the right one.
        world.core.forget_refused(&receipt.body.miner);
        refused(&results[0])
    };
    assert_eq!(wrong(&|r| r.body.network = [0; 4]), Code::InvalidRequest);
    assert_eq!(
        wrong(&|r| r.body.coordinator = [1; 32]),
        Code::InvalidRequest
    );
    assert_eq!(wrong(&|r| r.body.miner = [1; 32]), Code::InvalidRequest);
    assert_eq!(wrong(&|r| r.body.task = Hash::ZERO), Code::InvalidRequest);
    assert_eq!(wrong(&|r| r.body.epoch += 1), Code::InvalidRequest);
    assert_eq!(
        wrong(&|r| r.body.assignment = Hash::ZERO),
        Code::UnknownAssignment
    );
    assert_eq!(receipts(&world), 0);
    leaf(&world.hand_in(0, vec![World::checked(&receipt)])[0]);

    let mut world = World::ready(2, 1, audited());
    world.submit_one(1, 1, false);
    for miner in 0..2 {
        world.poll(miner, 1).unwrap();
    }
    let holder = (0..2).find(|m| !world.miners[*m].given.is_empty()).unwrap();
    let assignment = *world.miners[holder].given.keys().next().unwrap();
    let thief = 1 - holder;
    world.miners[thief].given = world.miners[holder].given.clone();
    let result = world.finish(thief, &assignment, Status::Ok, "a");
    assert_eq!(refused(&result), Code::UnknownAssignment);
    world.audit();
}

#[test]
fn what_does_not_fit_is_logged_rejected_and_tried_elsewhere() {
    let mut world = World::ready(2, 1, audited());
    let task = world.submit_one(1, 1, false);
    world.poll_all();
    let miner = (0..2).find(|m| !world.miners[*m].given.is_empty()).unwrap();
    let assignment = *world.miners[miner].given.keys().next().unwrap();
    let receipt = world.journal(miner, &assignment, Status::Ok, "a");
    let mut item = World::checked(&receipt);
    item.mismatch = Some("the component is another".to_owned());
    leaf(&world.hand_in(miner, vec![item])[0]);
    assert_eq!(world.decisions(), [Decision::Mismatch]);
    assert_eq!(world.audit().record(&node(miner)).bad, 1);
    let view = world.view(&task).unwrap();
    assert_eq!(view.assignments[1].attempt, 1);
    world.work(Status::Ok, "a");
    assert_eq!(world.ended(&task).state, TaskState::Completed);
    world.audit();
}

#[test]
fn a_receipt_after_the_end_is_logged_once_and_is_late() {
    let (mut world, assignments) = busy(1);
    let task = world.miners[0].given[&assignments[0]].task;
    world
        .call(|core, now, io| core.cancel(now, &task, "client", io))
        .unwrap();
    let receipt = world.journal(0, &assignments[0], Status::Ok, "a");
    let first = world.hand_in(0, vec![World::checked(&receipt)]);
    leaf(&first[0]);
    assert_eq!(world.decisions(), [Decision::Late]);
    assert_eq!(world.hand_in(0, vec![World::checked(&receipt)]), first);
    assert_eq!(receipts(&world), 1);
    world.audit();
}

#[test]
fn blobs_and_environments_become_durable_with_the_receipt() {
    let (mut world, assignments) = busy(1);
    let receipt = world.journal(0, &assignments[0], Status::Ok, "a");
    let mut item = World::checked(&receipt);
    item.blobs = vec![(Hash::of(b"a"), b"a".to_vec())];
    item.environments = vec![(Hash::of(b"env"), b"env".to_vec())];
    item.log = Some(b"stderr".to_vec());
    item.detail = Some("fine".to_owned());
    let at = leaf(&world.hand_in(0, vec![item])[0]);
    assert_eq!(world.store.blobs[&Hash::of(b"a")], b"a");
    assert_eq!(world.store.documents[&Hash::of(b"env")].bytes, b"env");
    assert_eq!(
        world.store.receipts[&at].log.as_deref(),
        Some(&b"stderr"[..])
    );
    let task = receipt.body.task;
    assert_eq!(
        world.ended(&task).result.unwrap().detail.as_deref(),
        Some("fine")
    );
}
