//! What a settlement can say, who signs it, and until when it is corrected.

use adit_ledger::refusal::Rule;
use adit_ledger::rewards::{Charge, Settlement};
use adit_ledger::rules::LATE_EPOCHS_MAX;
use adit_ledger::slashing::Misdeed;
use adit_ledger::state::{Spend, Target};
use adit_ledger::{Action, Event, Key, Refusal, State};
use adit_protocol::{Amount, Document as _, Hash};

use super::*;
use crate::support::*;

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
