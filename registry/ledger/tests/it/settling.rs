//! How epochs are closed and settled, and how what was earned is claimed: single rules.
//!
//! Long because every bound of a settlement has its own case, and all share one small network.

use adit_ledger::refusal::Rule;
use adit_ledger::registration::{NodeKeys, Possession, Registration, Role};
use adit_ledger::rewards::{Charge, Earned, RewardTree, Settlement};
use adit_ledger::rules::LATE_EPOCHS_MAX;
use adit_ledger::slashing::Misdeed;
use adit_ledger::state::Spend;
use adit_ledger::state::{Closing, Entry, Head, Target};
use adit_ledger::transaction::settling::CHECKERS_MAX;
use adit_ledger::transaction::{Attestation, Closure};
use adit_ledger::{Action, Event, Key, Refusal, State};
use adit_protocol::keys::Keypair;
use adit_protocol::log::key::KeyKind;
use adit_protocol::log::tree::SIZE_MAX;
use adit_protocol::signed::Signable as _;
use adit_protocol::{Amount, Document as _, Hash};

use crate::support::*;

/// Nodes: a coordinator of account 1 with 10,000 in escrow, and checkers of account 2 with a sixth, a
/// third and half of all checkers' stake. The second and third are a quorum, the first and third are
/// a little less than two thirds.
const COORDINATOR: usize = 0;
const SECOND: usize = 4;
const CHECKERS: [usize; 3] = [1, 2, 3];
const QUORUM: [usize; 2] = [2, 3];

/// The network in epoch 1, with nothing closed.
fn network() -> State {
    let mut state = state();
    for from in [1, 2] {
        let amount = tokens(600_000);
        ok(&mut state, from, Action::Stake { amount });
    }
    let register = registration(Role::Coordinator, 1, COORDINATOR, tokens(200_000));
    ok(&mut state, 1, register);
    for (number, stake) in CHECKERS.into_iter().zip([50_000, 100_001, 150_000]) {
        let register = registration(Role::Checker, 2, number, tokens(stake));
        ok(&mut state, 2, register);
    }
    deposit(&mut state, 10_000);
    epoch(&mut state, 1);
    state
}

/// Another coordinator, of account 0.
fn second_coordinator(state: &mut State) {
    let bond = tokens(200_000);
    ok(state, 0, Action::Stake { amount: bond });
    let register = registration(Role::Coordinator, 0, SECOND, bond);
    ok(state, 0, register);
}

fn deposit(state: &mut State, amount: u64) {
    let (node, amount) = (node(COORDINATOR), tokens(amount));
    ok(state, 1, Action::Deposit { node, amount });
}

fn withdraw(state: &mut State, amount: u64) {
    let (node, amount) = (node(COORDINATOR), tokens(amount));
    ok(state, 1, Action::Withdraw { node, amount });
}

fn close(state: &mut State, epoch: u64, size: u64) {
    let closes = Closes::new(state, COORDINATOR, epoch, size, &QUORUM);
    ok(state, 3, closes.action());
}

/// The settlement of an epoch by all rules, for the one coordinator, which pays accounts 4 and 5.
fn plain(state: &State, epoch: u64, spent: u64, before: &[Earned]) -> (Settlement, RewardTree) {
    let charges = [(COORDINATOR, tokens(spent))];
    let charges = if spent == 0 { &[] } else { &charges[..] };
    settlement(state, epoch, charges, before, &[4, 5])
}

fn settle(state: &mut State, settlement: &Settlement) {
    let settles = settles(state, settlement, &QUORUM);
    ok(state, 3, settles);
}

/// Why a settlement that a quorum signed is refused.
fn refusal(state: &mut State, settlement: &Settlement) -> Refusal {
    let settles = settles(state, settlement, &QUORUM);
    refused(state, 3, settles)
}

fn escrow(state: &State) -> Amount {
    state.node(&node(COORDINATOR)).unwrap().escrow
}

fn check_supply(state: &State) {
    let head = state.head();
    assert_eq!(Some(state.supply().total()), head.issued.minus(head.burned));
}

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

/// The same state with another head, and entries that nothing makes yet.
fn altered(state: &State, change: impl FnOnce(&mut Head), more: Option<Entry>) -> State {
    let mut entries = Vec::new();
    state.entries(|entry| entries.push(entry));
    let mut head: Head = minicbor::decode(&entries[0].value).unwrap();
    change(&mut head);
    entries[0].value = minicbor::to_vec(&head).unwrap();
    entries.extend(more);
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    State::from_entries(&genesis().0, entries).unwrap()
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

#[test]
fn epochs_are_settled_in_order_when_all_have_closed() {
    let mut state = network();
    let (first, _) = plain(&state, 0, 0, &[]);
    let nothing = Refusal::Rule(Rule::NothingClosed);
    assert_eq!(refusal(&mut state, &first), nothing);
    close(&mut state, 0, 7);
    // Another coordinator has time until the next epoch ends, if it is not leaving.
    second_coordinator(&mut state);
    assert_eq!(refusal(&mut state, &first), Refusal::Rule(Rule::Early));
    let node = node(SECOND);
    ok(&mut state, 0, Action::Deregister { node });
    let wrong = |now, found| Refusal::Epoch { now, found };
    for epoch in [1, 2, u64::MAX] {
        let (early, _) = plain(&state, epoch, 0, &[]);
        assert_eq!(refusal(&mut state, &early), wrong(1, epoch));
    }
    let before = state.head().clone();
    settle(&mut state, &first);
    check_supply(&state);
    let head = state.head();
    assert_eq!(head.settled, 1);
    assert_eq!(head.treasury, tokens(500));
    assert_eq!(Some(head.issued), before.issued.plus(tokens(500)));
    assert_eq!(refusal(&mut state, &first), Refusal::Rule(Rule::SettledSo));

    epoch(&mut state, 2);
    close(&mut state, 1, 8);
    epoch(&mut state, 3);
    close(&mut state, 2, 9);
    let (skips, _) = plain(&state, 2, 0, &[]);
    assert_eq!(refusal(&mut state, &skips), Refusal::Rule(Rule::Order));
    let (second, _) = plain(&state, 1, 0, &[]);
    settle(&mut state, &second);
    let (third, _) = plain(&state, 2, 0, &[]);
    settle(&mut state, &third);
    assert_eq!(refusal(&mut state, &second), wrong(3, 1));
    // Nobody closed the epochs 3 to 5, so they may be left out.
    epoch(&mut state, 7);
    let (empty, _) = plain(&state, 5, 0, &[]);
    assert_eq!(refusal(&mut state, &empty), nothing);
    close(&mut state, 6, 9);
    let (late, _) = plain(&state, 6, 0, &[]);
    settle(&mut state, &late);
    assert_eq!(state.head().settled, 7);
    let (left_out, _) = plain(&state, 4, 0, &[]);
    assert_eq!(refusal(&mut state, &left_out), wrong(7, 4));
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

#[test]
fn a_settlement_is_within_what_the_ledger_knows() {
    let mut state = network();
    close(&mut state, 0, 7);
    let (good, _) = plain(&state, 0, 1_000, &[]);
    let unit = Amount::from_units(1);
    let more = |amount: Amount| amount.plus(unit).unwrap();
    let less = |amount: Amount| amount.minus(unit).unwrap();
    let mut broken = |change: &dyn Fn(&mut Settlement)| {
        let mut other = good.clone();
        change(&mut other);
        refusal(&mut state, &other)
    };
    let sums: [&dyn Fn(&mut Settlement); 8] = [
        &|one| one.paid = more(one.paid),
        &|one| one.paid = less(one.paid),
        &|one| one.minted = less(one.minted),
        &|one| one.charges[0].burned = more(one.charges[0].burned),
        &|one| one.paid = Amount::from_units(u128::MAX),
        // More is burned than taken.
        &|one| {
            one.paid = Amount::from_units(one.paid.units() - tokens(951).units());
            one.charges[0].burned = tokens(1_001);
        },
        // Nothing is taken.
        &|one| {
            one.charges.insert(
                0,
                Charge {
                    node: Key::from_bytes([1; 32]),
                    spent: Amount::ZERO,
                    burned: Amount::ZERO,
                },
            );
        },
        // Escrows pay the treasury.
        &|one| {
            one.paid =
                Amount::from_units(one.paid.units() - one.minted.units() + one.treasury.units());
            one.minted = less(one.treasury);
            one.paid = less(one.paid);
        },
    ];
    for (at, change) in sums.into_iter().enumerate() {
        assert_eq!(broken(change), Refusal::Rule(Rule::Sums), "{at}");
    }
    let emission: [&dyn Fn(&mut Settlement); 3] = [
        // More than k of what was burned, with the voters' part: two units of rounding are allowed.
        &|one| {
            one.minted = [one.minted, unit, unit, unit].into_iter().sum();
            one.paid = [one.paid, unit, unit, unit].into_iter().sum();
        },
        // More than the treasury's part, taken from what accounts earned.
        &|one| {
            one.treasury = [one.treasury, unit, unit].into_iter().sum();
            one.paid = less(less(one.paid));
        },
        // More than all of the emission, though it would all be burned again.
        &|one| {
            one.charges[0].spent = tokens(9_999);
            one.charges[0].burned = tokens(9_999);
            one.minted = more(tokens(10_000));
            one.paid = more(tokens(9_500));
        },
    ];
    for (at, change) in emission.into_iter().enumerate() {
        assert_eq!(broken(change), Refusal::Rule(Rule::Emission), "{at}");
    }
    let of_node = |number: usize| move |one: &mut Settlement| one.charges[0].node = node(number);
    assert_eq!(broken(&of_node(1)), Refusal::Rule(Rule::NoCoordinator));
    assert_eq!(broken(&of_node(7)), Refusal::NoNode { node: node(7) });
    let named = |one: &mut Settlement| one.replaces = Some(Hash::ZERO);
    assert_eq!(broken(&named), Refusal::Rule(Rule::Replaces));
    let (beyond, _) = plain(&state, 0, 10_001, &[]);
    let short = Refusal::Insufficient {
        place: "in the coordinator's escrow",
        found: tokens(10_000),
        needed: tokens(10_001),
    };
    assert_eq!(refusal(&mut state, &beyond), short);
    // What may be said may be said to the last unit.
    let mut most = good.clone();
    most.minted = more(more(most.minted));
    most.paid = more(most.paid);
    most.treasury = more(most.treasury);
    settle(&mut state, &most);
    check_supply(&state);
    assert_eq!(escrow(&state), tokens(9_000));
    assert_eq!(state.head().rewards, most.paid);
}

#[test]
fn nothing_is_minted_beyond_all_that_can_exist() {
    let mut state = network();
    close(&mut state, 0, 7);
    let mut state = altered(
        &state,
        |head| {
            // As if nearly all had been issued, and burned again.
            let more = Amount::SUPPLY_MAX.minus(head.issued).unwrap();
            let more = more.minus(tokens(499)).unwrap();
            head.issued = head.issued.plus(more).unwrap();
            head.burned = head.burned.plus(more).unwrap();
        },
        None,
    );
    let (mut settlement, _) = plain(&state, 0, 0, &[]);
    assert_eq!(
        refusal(&mut state, &settlement),
        Refusal::Rule(Rule::Emission)
    );
    (settlement.minted, settlement.treasury) = (tokens(499), tokens(499));
    settle(&mut state, &settlement);
    assert_eq!(state.head().issued, Amount::SUPPLY_MAX);
    check_supply(&state);
    // Replaced by the same again in other words, it is as much.
    settlement.replaces = Some(settlement.hash());
    settle(&mut state, &settlement);
    assert_eq!(state.head().issued, Amount::SUPPLY_MAX);
}

#[test]
fn a_quorum_of_stake_signs_a_settlement() {
    let mut state = network();
    close(&mut state, 0, 7);
    let (settlement, _) = plain(&state, 0, 10, &[]);
    let by = |state: &State, checkers: &[usize]| settles(state, &settlement, checkers);
    for (checkers, found) in [(&[][..], 0), (&[1, 2], 150_001), (&[1, 3], 200_000)] {
        let action = by(&state, checkers);
        let refusal = Refusal::Quorum {
            found: tokens(found),
            all: tokens(300_001),
            needed_ppm: 666_666,
        };
        assert_eq!(refused(&mut state, 3, action), refusal);
    }
    for stranger in [COORDINATOR, 7] {
        let action = by(&state, &[2, 3, stranger]);
        assert_eq!(
            refused(&mut state, 3, action),
            Refusal::Rule(Rule::NoChecker)
        );
    }
    // What they signed for another settlement, network or use.
    let forged = |change: &dyn Fn(&mut Settlement)| {
        let mut other = settlement.clone();
        change(&mut other);
        match (settles(&state, &other, &QUORUM), settlement.clone()) {
            (Action::Settle { attestations, .. }, settlement) => Action::Settle {
                settlement: Box::new(settlement),
                attestations,
            },
            _ => unreachable!(),
        }
    };
    let others = [
        forged(&|one| one.output = Hash::ZERO),
        forged(&|one| one.genesis = Hash::ZERO),
        forged(&|one| one.replaces = Some(Hash::ZERO)),
    ];
    for action in others {
        assert_eq!(
            refused(&mut state, 3, action),
            Refusal::Rule(Rule::CheckerSignature)
        );
    }
    let action = by(&state, &QUORUM);
    let events = ok(&mut state, 3, action);
    let settled = Event::Settled {
        epoch: 0,
        minted: settlement.minted,
        burned: settlement.burned(),
        paid: settlement.paid,
        from_epoch: 3,
    };
    assert!(events.contains(&settled), "{events:?}");
    let kept = state.settled(0).unwrap();
    assert_eq!((kept.hash, kept.in_epoch), (settlement.hash(), 1));
}

#[test]
fn escrow_that_unbonds_is_charged_and_not_released_while_it_is_owed() {
    let mut state = network();
    withdraw(&mut state, 3_000);
    close(&mut state, 0, 7);
    let (first, _) = plain(&state, 0, 100, &[]);
    settle(&mut state, &first);
    assert_eq!(escrow(&state), tokens(6_900));
    epoch(&mut state, 2);
    withdraw(&mut state, 6_000);
    epoch(&mut state, 3);
    close(&mut state, 2, 9);
    // What began to unbond in epoch 1 would be free in epoch 4, and epoch 2 is not settled.
    let free = state.account(&account(1)).free;
    epoch(&mut state, 4);
    assert_eq!(state.account(&account(1)).free, free);
    assert_eq!(state.escrow_of(&node(COORDINATOR)), tokens(9_900));
    let unbonding = |state: &State| -> Vec<_> {
        let all = state.unbonding_of(account(1));
        all.map(|(one, amount)| (one.until_epoch, one.to, amount))
            .collect()
    };
    // Both parts are one now.
    assert_eq!(unbonding(&state), [(5, Target::Escrow, tokens(9_000))]);
    let (second, _) = plain(&state, 2, 4_000, &[]);
    settle(&mut state, &second);
    assert_eq!(escrow(&state), Amount::ZERO);
    assert_eq!(unbonding(&state), [(5, Target::Escrow, tokens(5_900))]);
    check_supply(&state);
    epoch(&mut state, 5);
    assert_eq!(unbonding(&state), []);
    assert_eq!(
        Some(state.account(&account(1)).free),
        free.plus(tokens(5_900))
    );
    check_supply(&state);
}

#[test]
fn what_unbonds_first_is_charged_first() {
    let mut state = network();
    withdraw(&mut state, 4_000);
    epoch(&mut state, 2);
    withdraw(&mut state, 6_000);
    close(&mut state, 1, 7);
    let (settlement, _) = plain(&state, 1, 4_001, &[]);
    settle(&mut state, &settlement);
    let left: Vec<_> = state.unbonding_of(account(1)).collect();
    let [(unbonding, amount)] = left[..] else {
        panic!("{left:?}")
    };
    assert_eq!((unbonding.until_epoch, amount), (5, tokens(5_999)));
    check_supply(&state);
    // Taken back, all of it is in escrow again.
    let (mut other, _) = plain(&state, 1, 4_000, &[]);
    other.replaces = Some(settlement.hash());
    settle(&mut state, &other);
    assert_eq!(escrow(&state), tokens(1));
    assert_eq!(state.escrow_of(&node(COORDINATOR)), tokens(6_000));
    check_supply(&state);
}

#[test]
fn a_quorum_corrects_what_it_said_until_it_counts() {
    let mut state = network();
    close(&mut state, 0, 7);
    let unsettled = state.clone();
    let (wrong, _) = plain(&state, 0, 9_000, &[]);
    settle(&mut state, &wrong);
    epoch(&mut state, 2);
    // More than is left, as what is taken back is there again.
    let (mut right, tree) = plain(&state, 0, 2_000, &[]);
    assert_eq!(refusal(&mut state, &right), Refusal::Rule(Rule::Replaces));
    right.replaces = Some(wrong.hash());
    let mut beyond = right.clone();
    (beyond.charges[0].spent, beyond.charges[0].burned) = (tokens(10_001), tokens(8_101));
    assert!(matches!(
        refusal(&mut state, &beyond),
        Refusal::Insufficient { .. }
    ));
    settle(&mut state, &right);
    check_supply(&state);
    // As if only it had been said.
    let mut only = unsettled;
    epoch(&mut only, 2);
    let said = Settlement {
        replaces: None,
        ..right.clone()
    };
    settle(&mut only, &said);
    for of in [
        |state: &State| escrow(state),
        |state: &State| state.head().issued,
    ] {
        assert_eq!(of(&state), of(&only));
    }
    let sums = |state: &State| {
        let supply = state.supply();
        (supply.treasury, supply.rewards, supply.escrow)
    };
    assert_eq!(sums(&state), sums(&only));
    // One fee more was burned.
    let fee = state.parameters().fee_min;
    assert_eq!(Some(state.head().burned), only.head().burned.plus(fee));
    // Nobody brings the wrong one back, which a quorum signed too.
    assert_eq!(refusal(&mut state, &wrong), Refusal::Rule(Rule::Replaces));
    assert_eq!(refusal(&mut state, &right), Refusal::Rule(Rule::SettledSo));
    // A whole epoch after that in which it was handed in.
    epoch(&mut state, 3);
    assert_eq!(state.rewards(), None);
    epoch(&mut state, 4);
    assert_eq!(state.rewards().unwrap().1.hash, right.hash());
    let mut late = wrong.clone();
    late.replaces = Some(right.hash());
    assert_eq!(
        refusal(&mut state, &late),
        Refusal::Epoch { now: 4, found: 0 }
    );
    ok(&mut state, 4, claims(&tree, 4));
    check_supply(&state);
}

#[test]
fn the_last_settlement_alone_is_replaced() {
    let mut state = network();
    close(&mut state, 0, 7);
    let (first, _) = plain(&state, 0, 100, &[]);
    settle(&mut state, &first);
    epoch(&mut state, 2);
    close(&mut state, 1, 8);
    let (second, _) = plain(&state, 1, 100, &[]);
    settle(&mut state, &second);
    let (mut other, _) = plain(&state, 0, 50, &[]);
    other.replaces = Some(first.hash());
    assert_eq!(
        refusal(&mut state, &other),
        Refusal::Epoch { now: 2, found: 0 }
    );
}

/// Settled epochs are forgotten as far as nothing needs them.
#[test]
fn what_is_settled_does_not_pile_up() {
    let mut state = network();
    for now in 1..70 {
        epoch(&mut state, now);
        close(&mut state, now - 1, now);
        let (settlement, _) = plain(&state, now - 1, 1, &[]);
        settle(&mut state, &settlement);
        let mut entries = [0; 9];
        state.entries(|entry| entries[usize::from(entry.key[0])] += 1);
        // Closings in which late receipts can be missed, and one before; the settlement that counts, and
        // two that do not yet.
        assert_eq!(entries[6], now.min(LATE_EPOCHS_MAX + 1));
        assert!(entries[7] <= 3, "{entries:?}");
    }
}

#[test]
fn claims_take_what_was_earned_and_not_taken() {
    let mut state = network();
    close(&mut state, 0, 7);
    let (first, tree) = plain(&state, 0, 1_000, &[]);
    let claim = claims(&tree, 4);
    assert_eq!(
        refused(&mut state, 4, claim.clone()),
        Refusal::Rule(Rule::NoRewards)
    );
    settle(&mut state, &first);
    for now in 1..3 {
        epoch(&mut state, now);
        assert_eq!(
            refused(&mut state, 4, claim.clone()),
            Refusal::Rule(Rule::NoRewards)
        );
    }
    epoch(&mut state, 3);
    // The proof is of the account that signs.
    let stolen = claims(&tree, 5);
    let not_in = Refusal::Rule(Rule::ClaimProof);
    assert_eq!(refused(&mut state, 4, stolen), not_in);
    let mut broken = |change: &dyn Fn(&mut Amount, &mut u64, &mut Vec<Hash>)| {
        let Action::Claim {
            mut total,
            mut index,
            mut proof,
        } = claim.clone()
        else {
            unreachable!()
        };
        change(&mut total, &mut index, &mut proof);
        let claim = Action::Claim {
            total,
            index,
            proof,
        };
        assert_eq!(refused(&mut state, 4, claim), not_in);
    };
    broken(&|total, _, _| *total = total.plus(Amount::from_units(1)).unwrap());
    broken(&|total, _, _| *total = Amount::from_units(u128::MAX));
    broken(&|total, _, _| *total = Amount::ZERO);
    broken(&|_, index, _| *index ^= 1);
    broken(&|_, index, _| *index = u64::MAX);
    broken(&|_, _, proof| proof.clear());
    broken(&|_, _, proof| proof.push(Hash::ZERO));
    broken(&|_, _, proof| proof[0] = Hash::ZERO);
    // The account never had a token: the fee is of what it claims.
    let (earned, _) = tree.prove(&account(4)).unwrap();
    assert_eq!(state.account(&account(4)), Default::default());
    let events = ok(&mut state, 4, claim.clone());
    let claimed = Event::Claimed {
        account: account(4),
        amount: earned.total,
    };
    assert!(events.contains(&claimed), "{events:?}");
    let found = state.account(&account(4));
    let fee = state.parameters().fee_min;
    assert_eq!(Some(found.free), earned.total.minus(fee));
    assert_eq!((found.claimed, found.number), (earned.total, 1));
    assert_eq!(
        state.head().rewards.units(),
        first.paid.units() - earned.total.units()
    );
    check_supply(&state);
    assert_eq!(refused(&mut state, 4, claim), Refusal::Nothing);

    // The next root has more for both; one has taken a part of it.
    close(&mut state, 2, 9);
    let (second, tree_2) = plain(&state, 2, 400, tree.earned());
    settle(&mut state, &second);
    epoch(&mut state, 5);
    assert_eq!(refused(&mut state, 5, claims(&tree, 5)), not_in);
    for from in [4, 5] {
        ok(&mut state, from, claims(&tree_2, from));
        let (earned, _) = tree_2.prove(&account(from)).unwrap();
        assert_eq!(state.account(&account(from)).claimed, earned.total);
        check_supply(&state);
    }
    assert_eq!(state.head().rewards, Amount::ZERO);
}

#[test]
fn a_claim_pays_its_fee_or_is_none() {
    let mut state = network();
    close(&mut state, 0, 7);
    // Less than a fee for each of two.
    let small = Amount::from_units(15_000_000_000);
    let (settlement, tree) = settlement(&state, 0, &[(COORDINATOR, small)], &[], &[4, 5]);
    settle(&mut state, &settlement);
    epoch(&mut state, 3);
    let refusal = refused(&mut state, 4, claims(&tree, 4));
    assert!(
        matches!(refusal, Refusal::Insufficient { place: "free", .. }),
        "{refusal:?}"
    );
}

/// A quorum that lies can promise more than it sets aside; nobody gets what is not there.
#[test]
fn no_claim_takes_more_than_was_set_aside() {
    let mut state = network();
    close(&mut state, 0, 7);
    let (mut lie, _) = plain(&state, 0, 1_000, &[]);
    let promise = |number, total| Earned {
        account: account(number),
        total,
    };
    let mut promised = [promise(4, tokens(700)), promise(5, tokens(700))];
    promised.sort_by_key(|one| one.account);
    let tree = RewardTree::new(promised.to_vec());
    lie.earned = tree.root();
    settle(&mut state, &lie);
    epoch(&mut state, 3);
    ok(&mut state, 5, claims(&tree, 5));
    let refusal = Refusal::Insufficient {
        place: "set aside",
        found: state.head().rewards,
        needed: tokens(700),
    };
    assert_eq!(refused(&mut state, 4, claims(&tree, 4)), refusal);
    check_supply(&state);
}

/// What was set aside for a settlement and is gone by another lie cannot be taken back.
#[test]
fn what_is_gone_is_not_taken_back() {
    let mut state = network();
    close(&mut state, 0, 7);
    let (mut lie, _) = plain(&state, 0, 100, &[]);
    let tree = RewardTree::new(vec![Earned {
        account: account(4),
        total: tokens(900),
    }]);
    lie.earned = tree.root();
    settle(&mut state, &lie);
    epoch(&mut state, 3);
    close(&mut state, 2, 8);
    let (next, _) = plain(&state, 2, 1_000, &[]);
    settle(&mut state, &next);
    ok(&mut state, 4, claims(&tree, 4));
    let (mut other, _) = plain(&state, 2, 10, &[]);
    other.replaces = Some(next.hash());
    let refusal = refusal(&mut state, &other);
    assert!(
        matches!(
            refusal,
            Refusal::Insufficient {
                place: "set aside",
                ..
            }
        ),
        "{refusal:?}"
    );
    check_supply(&state);
}

/// A proposal of this that has a majority, made in an epoch. It takes effect five epochs later.
fn accepted(state: &mut State, settings: &[&str], spends: Vec<Spend>) {
    let propose = Action::Propose {
        title: "Otherwise".to_owned(),
        settings: settings.iter().map(|text| text.parse().unwrap()).collect(),
        spends,
    };
    let events = ok(state, 3, propose);
    let Some(Event::Proposed { proposal, .. }) = events.last() else {
        panic!("{events:?}")
    };
    let (proposal, yes) = (*proposal, true);
    ok(state, 1, Action::Ballot { proposal, yes });
}

#[test]
fn an_epoch_follows_the_rules_at_its_end() {
    let mut state = network();
    // Of two changes with one epoch, those before the first are the former ones.
    accepted(&mut state, &["rewards.emission 2000"], Vec::new());
    accepted(
        &mut state,
        &["rewards.emission 2000", "fee_min 0.02"],
        Vec::new(),
    );
    for number in [3, 5] {
        epoch(&mut state, number);
        assert_eq!(state.reward_rules(number).emission, tokens(10_000));
    }
    close(&mut state, 4, 5);
    epoch(&mut state, 6);
    assert_eq!(state.parameters().rewards.emission, tokens(2_000));
    for number in [0, 4, 5] {
        assert_eq!(state.reward_rules(number).emission, tokens(10_000));
    }
    assert_eq!(state.reward_rules(6).emission, tokens(2_000));
    // Closed before the change and after it, and settled after it.
    close(&mut state, 5, 7);
    let emission = Refusal::Rule(Rule::Emission);
    let (fourth, _) = plain(&state, 4, 0, &[]);
    settle(&mut state, &fourth);
    let (mut fifth, _) = plain(&state, 5, 0, &[]);
    assert_eq!(fifth.treasury, tokens(500));
    let right = fifth.clone();
    (fifth.minted, fifth.treasury) = (tokens(501), tokens(501));
    assert_eq!(refusal(&mut state, &fifth), emission);
    settle(&mut state, &right);
    // A correction follows them too, and the next epoch the new ones.
    epoch(&mut state, 7);
    close(&mut state, 6, 8);
    fifth.replaces = Some(right.hash());
    assert_eq!(refusal(&mut state, &fifth), emission);
    (fifth.minted, fifth.treasury) = (tokens(490), tokens(490));
    settle(&mut state, &fifth);
    let (mut next, _) = plain(&state, 6, 0, &[]);
    (next.minted, next.treasury) = (tokens(500), tokens(500));
    assert_eq!(refusal(&mut state, &next), emission);
    (next.minted, next.treasury) = (tokens(100), tokens(100));
    settle(&mut state, &next);
    assert_eq!(state.head().treasury, tokens(500 + 490 + 100));
    // What nobody asks for any more is forgotten.
    assert_eq!(state.reward_rules(5).emission, tokens(2_000));
    check_supply(&state);
}

/// What a settlement gave the treasury can be spent before it is replaced; then it stays as it is.
#[test]
fn what_the_treasury_has_spent_is_not_taken_back() {
    let mut state = network();
    let spend = Spend {
        account: account(5),
        amount: tokens(1),
    };
    accepted(&mut state, &[], vec![spend]);
    epoch(&mut state, 3);
    epoch(&mut state, 5);
    close(&mut state, 4, 7);
    let (settlement, _) = plain(&state, 4, 0, &[]);
    settle(&mut state, &settlement);
    assert_eq!(state.head().treasury, tokens(500));
    epoch(&mut state, 6);
    assert_eq!(state.head().treasury, tokens(499));
    let (mut other, _) = plain(&state, 4, 10, &[]);
    other.replaces = Some(settlement.hash());
    assert_eq!(
        refusal(&mut state, &other),
        Refusal::Insufficient {
            place: "in the treasury",
            found: tokens(499),
            needed: tokens(500),
        }
    );
    check_supply(&state);
}

/// A jailed checker signs nothing that counts, and its stake is none of which there must be a quorum.
#[test]
fn who_is_jailed_does_not_count() {
    let mut state = network();
    close(&mut state, 0, 7);
    let (settlement, _) = plain(&state, 0, 100, &[]);
    // The checker with half of the stake.
    let accuse = Action::Accuse {
        node: node(3),
        misdeed: Misdeed::Judgement,
        evidence: Hash::of(b"a device"),
    };
    let events = ok(&mut state, 3, accuse);
    let Some(Event::Accused { report, .. }) = events.last() else {
        panic!("{events:?}")
    };
    let guilty = verdict(&state, *report, Some(1), &[1, 2]);
    ok(&mut state, 3, guilty);
    epoch(&mut state, 3);
    assert!(state.node(&node(3)).unwrap().jailed.is_some());
    let all = settles(&state, &settlement, &CHECKERS);
    assert_eq!(refused(&mut state, 3, all), Refusal::Rule(Rule::NoChecker));
    let close = Closes::new(&state, COORDINATOR, 2, 8, &CHECKERS).action();
    assert_eq!(
        refused(&mut state, 3, close),
        Refusal::Rule(Rule::NoChecker)
    );
    let close = Closes::new(&state, COORDINATOR, 2, 8, &[1, 2]).action();
    ok(&mut state, 3, close);
    let others = settles(&state, &settlement, &[1, 2]);
    ok(&mut state, 3, others);
}
