//! Countersigned receipts that a log lacks: claimed, answered, owed.

use adit_ledger::late::LateReceipt;
use adit_ledger::refusal::Rule;
use adit_ledger::registration::{NodeKeys, Role};
use adit_ledger::slashing::Misdeed;
use adit_ledger::tree::Tree;
use adit_ledger::{Action, Event, Refusal, State};
use adit_protocol::network::assignment::Terms;
use adit_protocol::network::entry::Entry;
use adit_protocol::{Amount, Document as _, Hash, Status};

use crate::leases::{Lease, log, terms};
use crate::support::*;

const COORDINATOR: usize = 1;
const CHECKERS: [usize; 3] = [8, 9, 10];

/// A miner (node 0, of account 1), a coordinator (node 1, of account 3) with an escrow of 500, and three
/// checkers (of account 0), in epoch 1.
fn network() -> State {
    let mut state = state();
    let stakes = |amount| Action::Stake {
        amount: tokens(amount),
    };
    ok(&mut state, 0, stakes(150_000));
    for checker in CHECKERS {
        let register = registration(Role::Checker, 0, checker, tokens(50_000));
        ok(&mut state, 0, register);
    }
    ok(&mut state, 1, stakes(20_000));
    let miner = registration(Role::Miner, 1, 0, tokens(20_000));
    ok(&mut state, 1, miner);
    ok(&mut state, 3, stakes(300_000));
    let coordinator = registration(Role::Coordinator, 3, COORDINATOR, tokens(300_000));
    ok(&mut state, 3, coordinator);
    let escrow = Action::Deposit {
        node: node(COORDINATOR),
        amount: tokens(500),
    };
    ok(&mut state, 3, escrow);
    epoch(&mut state, 1);
    state
}

/// A lease that was drawn and ended in epoch 1.
fn lease(task: &[u8]) -> Lease {
    Lease {
        genesis: genesis().0.hash(),
        coordinator: NODES[COORDINATOR].clone(),
        miner: NODES[0].clone(),
        task: Hash::of(task),
        epoch: 1,
        deadline_ms: BEGIN_MS + 2 * EPOCH_MS - 1,
        terms: terms(),
        status: Status::Ok,
        fuel: 7,
    }
}

fn claim(lease: &Lease) -> Action {
    lease.claim(node(COORDINATOR), &mut rng())
}

fn close(state: &mut State, epoch: u64, log: &Tree) {
    let closes = Closes {
        root: Some(log.root().root),
        ..Closes::new(state, COORDINATOR, epoch, log.root().size, &CHECKERS)
    };
    ok(state, 0, closes.action());
}

/// Begins epochs up to 4, and closes that of each before with this log.
fn closed_up_to_3(state: &mut State, log: &Tree) {
    for number in 2..=4 {
        epoch(state, number);
        close(state, number - 1, log);
    }
}

fn broken(state: &mut State, from: usize, action: Action, rule: Rule) {
    assert_eq!(refused(state, from, action), Refusal::Rule(rule));
}

fn begin(state: &mut State, number: u64) -> Vec<Event> {
    state.begin_block(BEGIN_MS + number * EPOCH_MS).unwrap()
}

fn conserved(state: &State) {
    let head = state.head();
    let left = head.issued.minus(head.burned).unwrap();
    assert_eq!(state.supply().total(), left);
}

fn penalties(events: &[Event]) -> Vec<Amount> {
    let amount = |event: &Event| match event {
        Event::Slashed {
            misdeed, amount, ..
        } => {
            assert_eq!(*misdeed, Misdeed::MissingReceipt);
            Some(*amount)
        }
        _ => None,
    };
    events.iter().filter_map(amount).collect()
}

#[test]
fn a_claim_that_nobody_answers_is_owed_and_slashed_once_for_all() {
    let mut state = network();
    closed_up_to_3(&mut state, &log(&[lease(b"a").entry()]));
    let deposit = state.parameters().slashing.deposit;
    let before = state.account(&account(2)).free;
    for task in [b"a", b"b"] {
        ok(&mut state, 2, claim(&lease(task)));
    }
    let fees = Amount::from_units(2 * 10_000_000_000);
    let put_down = [fees, deposit, deposit].into_iter().sum();
    let left = before.minus(put_down).unwrap();
    assert_eq!(state.account(&account(2)).free, left);
    conserved(&state);
    assert_eq!(state.claims().count(), 2);
    // A whole epoch to answer.
    assert_eq!(penalties(&begin(&mut state, 5)), []);
    assert_eq!(state.late_receipts(5).count(), 0);
    let stake = state.node(&node(COORDINATOR)).unwrap().stake.units();
    let taken = Amount::from_units(stake * 333_333 / 1_000_000);
    assert_eq!(penalties(&begin(&mut state, 6)), [taken]);
    let coordinator = state.node(&node(COORDINATOR)).unwrap();
    assert!(coordinator.jailed.is_some());
    let reward = Amount::from_units(taken.units() / 10);
    let after = before.plus(reward).unwrap().minus(fees).unwrap();
    assert_eq!(state.account(&account(2)).free, after);
    conserved(&state);
    assert_eq!(state.claims().count(), 0);
    assert_eq!(state.late_receipts(5).count(), 0);
    // They are settled with the first epoch from then on that is, and with no other.
    close_epochs(&mut state);
    assert_eq!(state.first_unsettled(), Some(6));
    let due: Vec<_> = state.late_receipts(6).map(|(id, _)| *id).collect();
    let mut expected = [b"a", b"b"].map(|task| lease(task).hash());
    expected.sort();
    assert_eq!(due, expected);
    let receipt = state.late_receipts(6).next().unwrap().1.receipt().unwrap();
    assert_eq!(receipt.verify().map(|_| ()), Ok(()));
    let (first, _) = settlement(&state, 6, &[(COORDINATOR, tokens(6))], &[], &[1]);
    let settle = settles(&state, &first, &CHECKERS);
    ok(&mut state, 0, settle);
    assert_eq!(state.first_unsettled(), None);
    // A correction is computed from the same.
    assert_eq!(state.late_receipts(6).count(), 2);
    assert_eq!(state.late_receipts(7).count(), 0);
    let (mut again, _) = settlement(&state, 6, &[(COORDINATOR, tokens(5))], &[], &[1]);
    again.replaces = Some(first.hash());
    let settle = settles(&state, &again, &CHECKERS);
    ok(&mut state, 0, settle);
    assert_eq!(state.late_receipts(6).count(), 2);
    broken(&mut state, 2, claim(&lease(b"a")), Rule::Claimed);
    conserved(&state);
}

/// Settles what was closed up to epoch 3, in epoch 8.
fn close_epochs(state: &mut State) {
    epoch(state, 8);
    for number in 1..=3 {
        let (settlement, _) = settlement(state, number, &[], &[], &[]);
        let settle = settles(state, &settlement, &CHECKERS);
        ok(state, 0, settle);
    }
}

#[test]
fn what_the_log_says_of_the_assignment_answers() {
    let lease = lease(b"a");
    let mut again = lease.clone();
    again.fuel += 1;
    let other = Lease {
        task: Hash::of(b"other"),
        ..lease.clone()
    };
    let receipt = |lease: &Lease| Entry::Receipt(Box::new(lease.receipt(&mut rng())));
    let forged = |at: usize| {
        let mut bytes = lease.receipt(&mut rng()).to_bytes();
        bytes[at] ^= 1;
        Entry::Receipt(Box::new(
            adit_protocol::receipt::Receipt::from_bytes(&bytes).unwrap(),
        ))
    };
    let entries = [
        // What says nothing of it.
        lease.entry(),
        receipt(&other),
        other.expiry(),
        other.cancel(3),
        forged(400),
        forged(460),
        // What does: also another body, and other signatures.
        receipt(&lease),
        receipt(&again),
        lease.expiry(),
        lease.cancel(0),
        lease.cancel(255),
    ];
    let log = log(&entries);
    for (leaf, entry) in entries.iter().enumerate() {
        let mut state = network();
        closed_up_to_3(&mut state, &log);
        ok(&mut state, 2, claim(&lease));
        let answer = lease.answer(&log, leaf);
        if leaf < 6 {
            broken(&mut state, 3, answer, Rule::NoAnswer);
            continue;
        }
        let Action::Answer { leaf, proof, .. } = answer.clone() else {
            unreachable!()
        };
        for (leaf, entry, proof) in [
            (leaf + 1, entry.encode(), proof.clone()),
            (leaf, entry.encode(), Vec::new()),
            (leaf, [entry.encode(), vec![0]].concat(), proof.clone()),
        ] {
            let answer = Action::Answer {
                assignment: lease.hash(),
                leaf,
                entry,
                proof,
            };
            broken(&mut state, 3, answer, Rule::NoAnswer);
        }
        let before = state.account(&account(3)).free;
        ok(&mut state, 3, answer.clone());
        let deposit = state.parameters().slashing.deposit;
        let fee = Amount::from_units(10_000_000_000);
        let expected = before.plus(deposit).unwrap().minus(fee).unwrap();
        assert_eq!(state.account(&account(3)).free, expected);
        assert_eq!(state.claims().count(), 0);
        conserved(&state);
        assert!(matches!(
            refused(&mut state, 3, answer),
            Refusal::NoClaim { .. }
        ));
        broken(&mut state, 2, claim(&lease), Rule::Claimed);
        assert_eq!(penalties(&begin(&mut state, 6)), []);
    }
}

#[test]
fn only_the_log_as_it_was_closed_by_then_answers() {
    let lease = lease(b"a");
    let mut state = network();
    closed_up_to_3(&mut state, &log(&[lease.entry()]));
    ok(&mut state, 2, claim(&lease));
    // Written down once it was claimed, and closed with the next epoch.
    let later = log(&[lease.entry(), lease.expiry()]);
    epoch(&mut state, 5);
    close(&mut state, 4, &later);
    broken(&mut state, 3, lease.answer(&later, 1), Rule::NoAnswer);
    assert_eq!(penalties(&begin(&mut state, 6)).len(), 1);
    assert!(matches!(
        refused(&mut state, 3, lease.answer(&later, 1)),
        Refusal::NoClaim { .. }
    ));
}

#[test]
fn what_claims_nothing_costs_nothing() {
    let mut state = network();
    let lease = lease(b"a");
    broken(&mut state, 2, claim(&lease), Rule::NotLate);
    closed_up_to_3(&mut state, &log(&[lease.entry()]));
    let good = lease.late(node(COORDINATOR), &mut rng());
    let changed = |change: &dyn Fn(&mut LateReceipt)| {
        let mut late = good.clone();
        change(&mut late);
        Action::LateReceipt(Box::new(late))
    };
    let other = Lease {
        task: Hash::of(b"b"),
        ..lease.clone()
    };
    let other = other.late(node(COORDINATOR), &mut rng());
    for action in [
        changed(&|late| late.receipt[8] ^= 1),
        changed(&|late| late.receipt[20] ^= 1),
        changed(&|late| late.receipt[400] ^= 1),
        changed(&|late| late.receipt[519] ^= 1),
        changed(&|late| late.assignment.push(0)),
        changed(&|late| late.assignment = other.assignment.clone()),
        changed(&|late| late.assignment_signature[3] ^= 1),
        claim(&Lease {
            terms: None,
            ..lease.clone()
        }),
        claim(&Lease {
            genesis: Hash::of(b"another network"),
            ..lease.clone()
        }),
    ] {
        broken(&mut state, 2, action, Rule::NothingClaimed);
    }
    let free = Terms {
        price: Amount::ZERO,
        attempt_fee: Amount::tokens(1),
        replicas: 1,
    };
    for lease in [
        Lease {
            status: Status::HostFault,
            ..lease.clone()
        },
        Lease {
            terms: Some(free),
            ..lease.clone()
        },
        Lease {
            miner: NODES[5].clone(),
            ..lease.clone()
        },
        Lease {
            miner: NODES[8].clone(),
            ..lease.clone()
        },
    ] {
        broken(&mut state, 2, claim(&lease), Rule::NothingOwed);
    }
    let stranger = Lease {
        coordinator: NODES[4].clone(),
        ..lease.clone()
    };
    broken(&mut state, 2, claim(&stranger), Rule::OtherKey);
    let of_miner = lease.claim(node(0), &mut rng());
    broken(&mut state, 2, of_miner, Rule::NoCoordinator);
    let of_nobody = lease.claim(node(6), &mut rng());
    assert!(matches!(
        refused(&mut state, 2, of_nobody),
        Refusal::NoNode { .. }
    ));
    assert!(matches!(
        refused(&mut state, 4, claim(&lease)),
        Refusal::Insufficient { .. }
    ));
    // Its lease ends later: so long the log can have it.
    let long = Lease {
        deadline_ms: BEGIN_MS + 3 * EPOCH_MS,
        ..lease.clone()
    };
    broken(&mut state, 2, claim(&long), Rule::NotLate);
    // From 4 on, for 7 epochs.
    epoch(&mut state, 10);
    ok(&mut state, 2, claim(&long));
    ok(&mut state, 2, changed(&|_| {}));
    epoch(&mut state, 11);
    let next = Lease {
        task: Hash::of(b"c"),
        ..lease
    };
    broken(&mut state, 2, claim(&next), Rule::TooLate);
}

#[test]
fn a_coordinator_that_is_gone_owes_what_it_has_countersigned() {
    let mut state = network();
    let withdraw = Action::Withdraw {
        node: node(COORDINATOR),
        amount: tokens(500),
    };
    ok(&mut state, 3, withdraw);
    let lease = lease(b"a");
    epoch(&mut state, 3);
    // No epoch was closed, and with the end of epoch 4 the last one that counts cannot be any more. Until
    // it is over the escrow of 500 is released.
    ok(
        &mut state,
        3,
        Action::Deposit {
            node: node(COORDINATOR),
            amount: tokens(9),
        },
    );
    epoch(&mut state, 4);
    broken(&mut state, 2, claim(&lease), Rule::NotLate);
    epoch(&mut state, 5);
    let withdraw = Action::Withdraw {
        node: node(COORDINATOR),
        amount: tokens(9),
    };
    ok(&mut state, 3, withdraw);
    ok(&mut state, 2, claim(&lease));
    let log = log(&[lease.expiry()]);
    broken(&mut state, 3, lease.answer(&log, 0), Rule::NoAnswer);
    for number in 6..=9 {
        // Nobody knows whether the coordinator did not show its log, or nobody has looked.
        assert_eq!(penalties(&begin(&mut state, number)), []);
    }
    // What unbonds is held back.
    assert_eq!(state.escrow_of(&node(COORDINATOR)), tokens(9));
    assert_eq!(state.first_unsettled(), Some(7));
    let (settlement, _) = settlement(&state, 7, &[(COORDINATOR, tokens(3))], &[], &[1]);
    let settle = settles(&state, &settlement, &CHECKERS);
    ok(&mut state, 0, settle);
    assert_eq!(state.first_unsettled(), None);
    epoch(&mut state, 10);
    assert_eq!(state.escrow_of(&node(COORDINATOR)), Amount::ZERO);
    conserved(&state);
}

#[test]
fn a_log_answers_under_the_key_that_it_was_written_with() {
    let lease = lease(b"a");
    let log = log(&[lease.entry(), lease.expiry()]);
    let mut state = network();
    let keys = NodeKeys {
        node: node(5),
        log: Some(crate::support::log()),
    };
    let rotate = Action::RotateKey {
        node: node(COORDINATOR),
        keys,
        proof: proof(3, 5, keys),
    };
    ok(&mut state, 3, rotate);
    epoch(&mut state, 2);
    close(&mut state, 1, &log);
    // The new key has a new log; what is settled is not needed any more, but for claims.
    let new = crate::leases::log(&[]);
    for number in 3..=4 {
        epoch(&mut state, number);
        close(&mut state, number - 1, &new);
        let (settlement, _) = settlement(&state, number - 2, &[], &[], &[]);
        let settle = settles(&state, &settlement, &CHECKERS);
        ok(&mut state, 0, settle);
    }
    ok(&mut state, 2, claim(&lease));
    broken(
        &mut state,
        3,
        lease.answer(&crate::leases::log(&[lease.expiry()]), 0),
        Rule::NoAnswer,
    );
    ok(&mut state, 3, lease.answer(&log, 1));
    // With the key it is forgotten what it could be missed in.
    epoch(&mut state, 6);
    let later = Lease {
        task: Hash::of(b"b"),
        ..lease
    };
    broken(&mut state, 2, claim(&later), Rule::OtherKey);
}
