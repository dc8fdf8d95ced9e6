//! Which leaves of logs belong to an epoch, and who says so.

use adit_ledger::refusal::Rule;
use adit_ledger::registration::{NodeKeys, Possession, Registration, Role};
use adit_ledger::rewards::Settlement;
use adit_ledger::state::Closing;
use adit_ledger::transaction::settling::CHECKERS_MAX;
use adit_ledger::transaction::{Attestation, Closure};
use adit_ledger::{Action, Event, Key, Refusal, State};
use adit_protocol::keys::Keypair;
use adit_protocol::log::key::KeyKind;
use adit_protocol::log::tree::SIZE_MAX;
use adit_protocol::signed::Signable as _;
use adit_protocol::{Document as _, Hash};

use super::*;
use crate::support::*;

#[test]
fn an_epoch_is_closed_once_and_in_the_next_one() {
    let mut state = network();
    let found = |epoch| Closes::new(&state, COORDINATOR, epoch, 7, &QUORUM).action();
    let (first, own, last) = (found(0), found(1), found(u64::MAX));
    let wrong = |now, found| Refusal::Epoch { now, found };
    assert_eq!(refused(&mut state, 3, own.clone()), wrong(1, 1));
    assert_eq!(refused(&mut state, 3, last), wrong(1, u64::MAX));
    let events = ok(&mut state, 3, first.clone());
    let closed = Event::Closed {
        node: node(COORDINATOR),
        epoch: 0,
        first: 0,
        size: 7,
    };
    assert!(events.contains(&closed), "{events:?}");
    assert_eq!(
        refused(&mut state, 3, first.clone()),
        Refusal::Rule(Rule::Closed)
    );
    let longer = Closes::new(&state, COORDINATOR, 0, 9, &QUORUM).action();
    assert_eq!(refused(&mut state, 3, longer), Refusal::Rule(Rule::Closed));
    assert_eq!(
        state.unsettled().collect::<Vec<_>>(),
        [(0, node(COORDINATOR))]
    );

    epoch(&mut state, 2);
    let smaller = Closes::new(&state, COORDINATOR, 1, 6, &QUORUM).action();
    assert_eq!(
        refused(&mut state, 3, smaller),
        Refusal::Rule(Rule::SmallerLog)
    );
    // Nothing new is no failure.
    close(&mut state, 1, 7);
    let closing = |state: &State, epoch| *state.closing(&node(COORDINATOR), epoch).unwrap();
    assert_eq!((closing(&state, 1).first, closing(&state, 1).size), (7, 7));
    // Too late: epoch 2 has passed without.
    epoch(&mut state, 4);
    let late = Closes::new(&state, COORDINATOR, 2, 8, &QUORUM).action();
    assert_eq!(refused(&mut state, 3, late), wrong(4, 2));
    // Its leaves belong to the next.
    close(&mut state, 3, 10);
    let last = Closing {
        first: 7,
        size: 10,
        root: Hash::of(&10u64.to_le_bytes()),
        node_key: node(COORDINATOR),
    };
    assert_eq!(state.last_closing(&node(COORDINATOR)), Some(&last));
}

#[test]
fn a_quorum_of_stake_says_that_it_holds_the_log() {
    let mut state = network();
    let all = tokens(300_001);
    let by = |checkers: &[usize]| Closes::new(&state, COORDINATOR, 0, 7, checkers).action();
    let cases: [(&[usize], u64); 5] = [
        (&[], 0),
        (&[1], 50_000),
        (&[3], 150_000),
        (&[1, 2], 150_001),
        // A little less than two thirds.
        (&[1, 3], 200_000),
    ];
    for (action, found) in cases.map(|(checkers, found)| (by(checkers), tokens(found))) {
        let refusal = Refusal::Quorum {
            found,
            all,
            needed_ppm: 666_666,
        };
        assert_eq!(refused(&mut state, 3, action), refusal);
    }
    // Who leaves counts neither with the signers nor with all: of 150,000, 100,000 are no quorum.
    let both = Closes::new(&state, COORDINATOR, 0, 7, &[1, 2]).action();
    ok(&mut state, 2, Action::Deregister { node: node(3) });
    let with_third = Closes::new(&state, COORDINATOR, 0, 7, &CHECKERS).action();
    let refusal = refused(&mut state, 3, with_third);
    assert_eq!(refusal, Refusal::Rule(Rule::NoChecker));
    ok(&mut state, 3, both);
}

#[test]
fn only_the_logs_key_and_checkers_close_an_epoch() {
    let mut state = network();
    let good = Closes::new(&state, COORDINATOR, 0, 7, &QUORUM);
    let mut broken = |closes: Closes, expected: Rule| {
        let refusal = refused(&mut state, 3, closes.action());
        assert_eq!(refusal, Refusal::Rule(expected));
    };
    let with = |change: &dyn Fn(&mut Closes)| {
        let mut closes = good.clone();
        change(&mut closes);
        closes
    };
    broken(
        with(&|one| one.log = &NODES[COORDINATOR]),
        Rule::LogSignature,
    );
    broken(with(&|one| one.origin = node(7)), Rule::LogSignature);
    let witness = with(&|one| one.kind = KeyKind::Cosignature);
    broken(witness, Rule::CheckerSignature);
    // Signed for another origin or size, and so is what checkers signed.
    broken(with(&|one| one.checkers = vec![2, 3, 4]), Rule::NoChecker);
    broken(with(&|one| one.checkers = vec![0, 2, 3]), Rule::NoChecker);
    broken(with(&|one| one.coordinator = node(1)), Rule::NoCoordinator);
    let mut change = |change: &dyn Fn(&mut Closes, &mut Closure)| {
        let mut closes = good.clone();
        let mut closure = closes.closure();
        change(&mut closes, &mut closure);
        refused(&mut state, 3, Action::CloseEpoch(Box::new(closure)))
    };
    let unsigned = Refusal::Rule(Rule::LogSignature);
    assert_eq!(change(&|_, closure| closure.size = 8), unsigned);
    assert_eq!(change(&|_, closure| closure.root = Hash::ZERO), unsigned);
    assert_eq!(change(&|_, closure| closure.signature[9] ^= 1), unsigned);
    for size in [SIZE_MAX + 1, u64::MAX] {
        assert_eq!(change(&|_, closure| closure.size = size), unsigned);
    }
    let forged = Refusal::Rule(Rule::CheckerSignature);
    assert_eq!(
        change(&|_, closure| closure.cosignatures[1].time_s = 2),
        forged
    );
    assert_eq!(
        change(&|_, closure| closure.cosignatures[0].signature[9] ^= 1),
        forged
    );
    // What a checker signed counts under its own name alone.
    let renamed = |closure: &mut Closure| {
        closure.cosignatures[0].name = "checker-1".to_owned();
    };
    assert_eq!(change(&|_, closure| renamed(closure)), forged);
    let later = u64::MAX;
    assert_eq!(
        change(&|_, closure| closure.cosignatures[0].time_s = later),
        forged
    );
    let nobody = Refusal::NoNode { node: node(7) };
    assert_eq!(change(&|_, closure| closure.coordinator = node(7)), nobody);
    // A checker without the least stake is none.
    let (checker, amount) = (node(2), tokens(60_000));
    let unvote = Action::Unvote {
        node: checker,
        amount,
    };
    ok(&mut state, 2, unvote);
    assert_eq!(
        refused(&mut state, 3, good.action()),
        Refusal::Rule(Rule::NoChecker)
    );
}

#[test]
fn a_coordinators_log_is_that_of_its_keys_in_the_epoch() {
    let mut state = network();
    close(&mut state, 0, 5);
    let keys = NodeKeys {
        node: node(7),
        log: Some(log()),
    };
    let rotate = Action::RotateKey {
        node: node(COORDINATOR),
        keys,
        proof: proof(1, 7, keys),
    };
    ok(&mut state, 1, rotate);
    epoch(&mut state, 2);
    // It signs by the new key, and owes what is in the log of the old one.
    let mut new = Closes::new(&state, COORDINATOR, 1, 8, &QUORUM);
    assert_eq!(new.origin, node(COORDINATOR));
    new.origin = node(7);
    assert_eq!(
        refused(&mut state, 3, new.action()),
        Refusal::Rule(Rule::LogSignature)
    );
    close(&mut state, 1, 8);
    let closing = |state: &State, epoch| *state.closing(&node(COORDINATOR), epoch).unwrap();
    let old = closing(&state, 1);
    assert_eq!(
        (old.first, old.size, old.node_key),
        (5, 8, node(COORDINATOR))
    );
    epoch(&mut state, 3);
    // The new log begins.
    close(&mut state, 2, 2);
    let new = closing(&state, 2);
    assert_eq!((new.first, new.size, new.node_key), (0, 2, node(7)));
    epoch(&mut state, 4);
    close(&mut state, 3, 3);
    assert_eq!(closing(&state, 3).first, 2);
}

#[test]
fn as_many_checkers_as_there_are_lines_for_can_sign() {
    let mut state = altered(
        &network(),
        |head| head.parameters.checker_stake_min = tokens(1),
        None,
    );
    let amount = tokens(100);
    ok(&mut state, 3, Action::Stake { amount });
    // 61 more, with names as long as they can be.
    let pairs: Vec<_> = (0..61)
        .map(|seed| Keypair::from_seed([[seed; 16], [250; 16]].concat().try_into().unwrap()))
        .collect();
    let name = |number: usize| format!("{number:0255}");
    for (number, pair) in pairs.iter().enumerate() {
        let keys = NodeKeys {
            node: Key::new(&pair.public()),
            log: Some(log()),
        };
        let possession = Possession {
            genesis: genesis().0.hash(),
            operator: account(3),
            keys,
        };
        let registration = Registration {
            role: Role::Checker,
            keys,
            name: Some(name(number)),
            profile: profile(Role::Checker, 0),
            proof: possession.sign(pair, &mut rng()),
        };
        let bond = tokens(1);
        ok(&mut state, 3, Action::Register { registration, bond });
    }
    let closes = Closes::new(&state, COORDINATOR, 0, 7, &CHECKERS);
    let mut closure = closes.closure();
    let cosign = |number: &usize| closes.cosigned(&name(*number));
    let more: Vec<_> = (0..61).map(|number| cosign(&number)).collect();
    closure.cosignatures.splice(0..0, more);
    assert_eq!(closure.cosignatures.len(), CHECKERS_MAX);
    ok(&mut state, 3, Action::CloseEpoch(Box::new(closure)));

    let (settlement, _) = plain(&state, 0, 0, &[]);
    let Action::Settle {
        settlement,
        mut attestations,
    } = settles(&state, &settlement, &CHECKERS)
    else {
        unreachable!()
    };
    attestations.extend(pairs.iter().map(|pair| Attestation {
        checker: Key::new(&pair.public()),
        signature: pair.sign(Settlement::CONTEXT, &settlement.to_cbor(), &mut rng()),
    }));
    attestations.sort_by_key(|one| one.checker);
    assert_eq!(attestations.len(), CHECKERS_MAX);
    let settles = Action::Settle {
        settlement,
        attestations,
    };
    ok(&mut state, 3, settles);
    check_supply(&state);
}

/// One who leaves is not waited for, and closes with the next epoch what was not settled.
#[test]
fn a_log_is_not_closed_for_an_epoch_that_is_settled() {
    let mut state = network();
    ok(
        &mut state,
        1,
        Action::Deregister {
            node: node(COORDINATOR),
        },
    );
    second_coordinator(&mut state);
    let closes_too = |state: &mut State, epoch| {
        let closes = Closes::new(state, SECOND, epoch, 3, &QUORUM).action();
        ok(state, 3, closes);
    };
    closes_too(&mut state, 0);
    let (empty, _) = plain(&state, 0, 0, &[]);
    settle(&mut state, &empty);
    let closes = Closes::new(&state, COORDINATOR, 0, 7, &QUORUM).action();
    assert_eq!(
        refused(&mut state, 3, closes),
        Refusal::Rule(Rule::AlreadySettled)
    );
    epoch(&mut state, 2);
    close(&mut state, 1, 7);
    assert_eq!(state.closing(&node(COORDINATOR), 1).unwrap().first, 0);
    closes_too(&mut state, 1);
    let (settlement, _) = plain(&state, 1, 100, &[]);
    settle(&mut state, &settlement);
    assert_eq!(escrow(&state), tokens(9_900));
}
