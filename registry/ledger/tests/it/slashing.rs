//! Misdeeds that prove themselves, and those on which three checkers find a verdict.

use std::collections::BTreeSet;

use adit_ledger::refusal::Rule;
use adit_ledger::registration::{NodeKeys, Role};
use adit_ledger::slashing::{Evidence, Misdeed};
use adit_ledger::state::Entry;
use adit_ledger::{Action, Event, Refusal, State};
use adit_protocol::keys::Keypair;
use adit_protocol::{Amount, Hash};

use crate::support::*;

const THIRD: u32 = 333_333;

fn stake(amount: u64) -> Action {
    Action::Stake {
        amount: tokens(amount),
    }
}

fn vote(number: usize, amount: u64) -> Action {
    Action::Vote {
        node: node(number),
        amount: tokens(amount),
    }
}

/// A miner (node 0, of account 1 with 30,000), for which account 2 votes with 6,000; a coordinator
/// (node 1, of account 3); three checkers (nodes 8 to 10, of account 0) with 50,000 each.
fn network() -> State {
    let mut state = state();
    ok(&mut state, 0, stake(150_000));
    for checker in [8, 9, 10] {
        let register = registration(Role::Checker, 0, checker, tokens(50_000));
        ok(&mut state, 0, register);
    }
    ok(&mut state, 1, stake(30_000));
    let miner = registration(Role::Miner, 1, 0, tokens(30_000));
    ok(&mut state, 1, miner);
    ok(&mut state, 2, stake(9_000));
    ok(&mut state, 2, vote(0, 6_000));
    ok(&mut state, 3, stake(300_000));
    let coordinator = registration(Role::Coordinator, 3, 1, tokens(300_000));
    ok(&mut state, 3, coordinator);
    epoch(&mut state, 1);
    state
}

fn report(number: usize, evidence: Box<Evidence>) -> Action {
    Action::Report {
        node: node(number),
        evidence,
    }
}

fn accuse(number: usize, misdeed: Misdeed, evidence: &[u8]) -> Action {
    Action::Accuse {
        node: node(number),
        misdeed,
        evidence: Hash::of(evidence),
    }
}

/// Accuses, and returns the report's id.
fn accused(state: &mut State, from: usize, action: Action) -> Hash {
    let events = ok(state, from, action);
    let id = events.iter().find_map(|event| match event {
        Event::Accused { report, .. } => Some(*report),
        _ => None,
    });
    id.expect("an accusation is announced")
}

fn no_quorum(state: &mut State, action: Action) {
    let refusal = refused(state, 3, action);
    assert!(matches!(refusal, Refusal::Quorum { .. }), "{refusal}");
}

fn broken(state: &mut State, from: usize, action: Action, rule: Rule) {
    assert_eq!(refused(state, from, action), Refusal::Rule(rule));
}

fn begin(state: &mut State, number: u64) -> Vec<Event> {
    state.begin_block(BEGIN_MS + number * EPOCH_MS).unwrap()
}

fn slashed(events: &[Event]) -> Option<(Amount, Amount)> {
    events.iter().find_map(|event| match event {
        Event::Slashed { amount, reward, .. } => Some((*amount, *reward)),
        _ => None,
    })
}

fn part(amount: Amount, ppm: u32) -> Amount {
    Amount::from_units(amount.units() * u128::from(ppm) / 1_000_000)
}

fn conserved(state: &State) {
    let head = state.head();
    let left = head.issued.minus(head.burned).unwrap();
    assert_eq!(state.supply().total(), left);
}

#[test]
fn two_receipts_for_one_assignment_cost_a_third_of_all() {
    let mut state = network();
    // Of each place where votes are or go: votes, stake to be, free tokens to be.
    let unvote = Action::Unvote {
        node: node(0),
        amount: tokens(1_000),
    };
    ok(&mut state, 2, unvote);
    let unstake = Action::Unstake {
        amount: tokens(4_000),
        from: Some(node(0)),
    };
    ok(&mut state, 1, unstake);
    let (free, burned) = (state.account(&account(5)).free, state.head().burned);
    let fee = Amount::from_units(10_000_000_000);
    ok(
        &mut state,
        1,
        Action::Transfer {
            to: account(5),
            amount: fee,
        },
    );
    let events = ok(&mut state, 5, report(0, equivocation(0, b"a")));
    let taken = part(tokens(36_000), THIRD);
    let reward = part(taken, 100_000);
    assert_eq!(slashed(&events), Some((taken, reward)));
    assert_eq!(
        state.account(&account(5)).free,
        free.plus(reward).unwrap(),
        "the reporter"
    );
    let fees = Amount::from_units(2 * fee.units());
    let expected = [burned, fees, taken].into_iter().sum::<Amount>();
    assert_eq!(state.head().burned, expected.minus(reward).unwrap());
    let left = |amount: u64| tokens(amount).minus(part(tokens(amount), THIRD)).unwrap();
    let votes: Vec<_> = state.votes_for(node(0)).map(|(_, votes)| votes).collect();
    assert!(votes.contains(&left(26_000)) && votes.contains(&left(5_000)));
    let unbonding: Vec<_> = state.unbonding_of(account(2)).collect();
    assert_eq!(unbonding[0].1, left(1_000));
    assert_eq!(
        state.unbonding_of(account(1)).next().unwrap().1,
        left(4_000)
    );
    conserved(&state);
    // Once, whoever reports it and in whichever order; another assignment is another misdeed.
    let Evidence::Equivocation { first, second } = *equivocation(0, b"a") else {
        unreachable!()
    };
    let turned = Box::new(Evidence::Equivocation {
        first: second,
        second: first,
    });
    broken(&mut state, 2, report(0, turned), Rule::Reported);
    // Below the least stake now, so the miner is no member, jailed or not.
    assert_eq!(state.members().miners.len(), 1);
    assert_eq!(
        state.members().miners[0].jailed.as_deref(),
        Some("equivocation")
    );
    ok(&mut state, 2, report(0, equivocation(0, b"b")));
    assert!(state.members().miners.is_empty());
    conserved(&state);
}

#[test]
fn an_operator_that_reports_its_own_node_gets_nothing_back() {
    let mut state = network();
    let free = state.account(&account(1)).free;
    let events = ok(&mut state, 1, report(0, equivocation(0, b"a")));
    let taken = part(tokens(36_000), THIRD);
    assert_eq!(slashed(&events), Some((taken, Amount::ZERO)));
    let fee = Amount::from_units(10_000_000_000);
    assert_eq!(state.account(&account(1)).free, free.minus(fee).unwrap());
    conserved(&state);
}

#[test]
fn what_proves_nothing_costs_nothing() {
    let mut state = network();
    let pair = |first, second| Box::new(Evidence::Equivocation { first, second });
    let of = |assignment: &[u8], fuel| receipt(0, assignment, fuel);
    let mut forged = of(b"a", 2);
    forged[450] ^= 1;
    let mut other_network = of(b"a", 2);
    other_network[8] ^= 1;
    let mut no_receipt = of(b"a", 2);
    no_receipt[0] = 0;
    let mut fuel_only = of(b"a", 2);
    fuel_only[48] ^= 1;
    for evidence in [
        pair(of(b"a", 1), of(b"a", 1)),
        pair(of(b"a", 1), of(b"b", 2)),
        pair(of(b"a", 1), receipt(5, b"a", 2)),
        pair(of(b"a", 1), forged),
        pair(of(b"a", 1), other_network),
        pair(of(b"a", 1), no_receipt),
        pair(of(b"a", 1), fuel_only),
        // One body with two signatures.
        pair(of(b"a", 1), {
            let mut again = of(b"a", 1);
            again[392..].copy_from_slice(&of(b"a", 2)[392..]);
            again
        }),
    ] {
        broken(&mut state, 2, report(0, evidence), Rule::NoEvidence);
    }
    broken(
        &mut state,
        2,
        report(0, equivocation(5, b"a")),
        Rule::OtherKey,
    );
    broken(
        &mut state,
        2,
        report(1, equivocation(0, b"a")),
        Rule::OtherRole,
    );
    broken(&mut state, 2, report(0, fork(0, &LOG, 7)), Rule::OtherRole);
    assert!(matches!(
        refused(&mut state, 2, report(6, equivocation(6, b"a"))),
        Refusal::NoNode { .. }
    ));
    let stranger = Keypair::from_seed([77; 32]);
    broken(
        &mut state,
        2,
        report(1, fork(1, &stranger, 7)),
        Rule::NoEvidence,
    );
    let Evidence::LogFork {
        key, size, first, ..
    } = *fork(1, &LOG, 7)
    else {
        unreachable!()
    };
    let same = Box::new(Evidence::LogFork {
        key,
        size,
        first,
        second: first,
    });
    broken(&mut state, 2, report(1, same), Rule::NoEvidence);
}

#[test]
fn a_log_forks_once_and_goes_on_under_another_key() {
    let mut state = network();
    ok(
        &mut state,
        3,
        Action::Deposit {
            node: node(1),
            amount: tokens(500),
        },
    );
    ok(
        &mut state,
        3,
        Action::Withdraw {
            node: node(1),
            amount: tokens(200),
        },
    );
    let events = ok(&mut state, 2, report(1, fork(1, &LOG, 7)));
    assert_eq!(slashed(&events).unwrap().0, part(tokens(300_000), THIRD));
    assert_eq!(state.supply().escrow, tokens(300));
    assert_eq!(state.supply().escrow_unbonding, tokens(200));
    // Every size after the fork has two roots.
    broken(&mut state, 2, report(1, fork(1, &LOG, 8)), Rule::Reported);
    assert!(state.members().coordinators.is_empty());
    let unjail = Action::Unjail { node: node(1) };
    broken(&mut state, 3, unjail.clone(), Rule::StillJailed);
    assert!(matches!(
        refused(&mut state, 2, unjail.clone()),
        Refusal::NotOperator { .. }
    ));
    epoch(&mut state, 3);
    broken(&mut state, 3, unjail.clone(), Rule::StillJailed);
    epoch(&mut state, 4);
    broken(&mut state, 3, unjail.clone(), Rule::ForkedLog);
    let keys = NodeKeys {
        node: node(2),
        log: Some(log()),
    };
    let rotate = Action::RotateKey {
        node: node(1),
        keys,
        proof: proof(3, 2, keys),
    };
    ok(&mut state, 3, rotate);
    epoch(&mut state, 5);
    // 200,000 and a bit are left, as many as it needs.
    ok(&mut state, 3, unjail.clone());
    assert_eq!(state.members().coordinators.len(), 1);
    broken(&mut state, 3, unjail, Rule::NotJailed);
    conserved(&state);
}

#[test]
fn a_node_answers_for_a_former_key_as_long_as_votes_take_to_leave() {
    let mut state = network();
    let keys = NodeKeys {
        node: node(2),
        log: None,
    };
    let rotate = Action::RotateKey {
        node: node(0),
        keys,
        proof: proof(1, 2, keys),
    };
    ok(&mut state, 1, rotate);
    // Not yet its key, and then both.
    broken(
        &mut state,
        2,
        report(0, equivocation(2, b"a")),
        Rule::OtherKey,
    );
    epoch(&mut state, 2);
    ok(&mut state, 2, report(0, equivocation(2, b"a")));
    epoch(&mut state, 4);
    ok(&mut state, 2, report(0, equivocation(0, b"a")));
    epoch(&mut state, 5);
    broken(
        &mut state,
        2,
        report(0, equivocation(0, b"b")),
        Rule::OtherKey,
    );
    conserved(&state);
}

#[test]
fn two_of_three_checkers_find_a_verdict_and_one_does_not() {
    let mut state = network();
    let free = state.account(&account(2)).free;
    let id = accused(
        &mut state,
        2,
        accuse(0, Misdeed::WrongExecution, b"receipt"),
    );
    assert_eq!(state.supply().deposits, tokens(100));
    let again = accuse(0, Misdeed::WrongExecution, b"receipt");
    broken(&mut state, 3, again.clone(), Rule::Reported);
    let guilty = |state: &State, ppm, checkers: &[usize]| verdict(state, id, Some(ppm), checkers);
    let one = guilty(&state, THIRD, &[8]);
    no_quorum(&mut state, one);
    let none = guilty(&state, THIRD, &[]);
    no_quorum(&mut state, none);
    for ppm in [0, THIRD + 1] {
        let wrong = guilty(&state, ppm, &[8, 9]);
        broken(&mut state, 3, wrong, Rule::Fraction);
    }
    let stranger = guilty(&state, THIRD, &[0, 8, 9]);
    broken(&mut state, 3, stranger, Rule::NoChecker);
    // What two have signed is not what the transaction says.
    let Action::Verdict { attestations, .. } = guilty(&state, 200_000, &[8, 9]) else {
        unreachable!()
    };
    let other = Action::Verdict {
        report: id,
        fraction_ppm: Some(THIRD),
        attestations,
    };
    broken(&mut state, 3, other, Rule::CheckerSignature);
    let two = guilty(&state, 200_000, &[8, 10]);
    ok(&mut state, 3, two);
    let again_verdict = guilty(&state, 100_000, &[8, 9, 10]);
    broken(&mut state, 3, again_verdict, Rule::Judged);
    // One whole epoch in which it can be appealed.
    assert_eq!(slashed(&begin(&mut state, 2)), None);
    let events = begin(&mut state, 3);
    let taken = tokens(7_200);
    assert_eq!(slashed(&events), Some((taken, tokens(720))));
    let got = tokens(720)
        .minus(Amount::from_units(10_000_000_000))
        .unwrap();
    assert_eq!(state.account(&account(2)).free, free.plus(got).unwrap());
    assert_eq!(state.node(&node(0)).unwrap().stake, tokens(28_800));
    assert_eq!(state.supply().deposits, Amount::ZERO);
    assert!(state.report_of(&id).is_none());
    broken(&mut state, 3, again, Rule::Reported);
    let late = verdict(&state, id, None, &[8, 9]);
    assert!(matches!(
        refused(&mut state, 3, late),
        Refusal::NoReport { .. }
    ));
    conserved(&state);
    epoch(&mut state, 6);
    ok(&mut state, 1, Action::Unjail { node: node(0) });
    assert_eq!(state.members().miners[0].jailed, None);
}

#[test]
fn an_appeal_is_decided_by_a_second_verdict() {
    let mut state = network();
    let appeal = |report| Action::Appeal { report };
    let ids = [b"1", b"2", b"3"]
        .map(|evidence| accused(&mut state, 2, accuse(0, Misdeed::NotServing, evidence)));
    broken(&mut state, 1, appeal(ids[0]), Rule::NoAppeal);
    for id in ids {
        let first = verdict(&state, id, Some(100_000), &[8, 9]);
        ok(&mut state, 3, first.clone());
        assert!(matches!(
            refused(&mut state, 2, appeal(id)),
            Refusal::NotOperator { .. }
        ));
        ok(&mut state, 1, appeal(id));
        broken(&mut state, 1, appeal(id), Rule::NoAppeal);
        // What was signed for the first one does not decide the second.
        broken(&mut state, 3, first, Rule::CheckerSignature);
    }
    assert_eq!(state.supply().deposits, tokens(600));
    // The first is overturned: the accused has its deposit back, the reporter has not.
    let free = state.account(&account(1)).free;
    let acquits = verdict(&state, ids[0], None, &[9, 10]);
    let treasury = state.head().treasury;
    ok(&mut state, 3, acquits);
    assert_eq!(
        state.account(&account(1)).free,
        free.plus(tokens(100)).unwrap()
    );
    assert_eq!(state.head().treasury, treasury.plus(tokens(100)).unwrap());
    broken(
        &mut state,
        3,
        accuse(0, Misdeed::NotServing, b"1"),
        Rule::Reported,
    );
    // The second stands, with less, and at once; the third has no second verdict.
    let stands = verdict(&state, ids[1], Some(50_000), &[8, 9, 10]);
    ok(&mut state, 3, stands.clone());
    broken(&mut state, 1, appeal(ids[1]), Rule::NoAppeal);
    broken(&mut state, 3, stands, Rule::Judged);
    assert_eq!(state.head().treasury, tokens(200));
    let free = state.account(&account(1)).free;
    let events = begin(&mut state, 2);
    assert_eq!(slashed(&events), Some((tokens(1_800), tokens(180))));
    let events = begin(&mut state, 3);
    assert_eq!(slashed(&events), Some((tokens(3_420), tokens(342))));
    assert_eq!(
        state.account(&account(1)).free,
        free.plus(tokens(100)).unwrap()
    );
    assert_eq!(state.supply().deposits, Amount::ZERO);
    conserved(&state);
}

#[test]
fn reports_run_out_and_can_be_made_again() {
    let mut state = network();
    let free = state.account(&account(2)).free;
    let accusation = accuse(1, Misdeed::MissingReceipt, b"receipt");
    let id = accused(&mut state, 2, accusation.clone());
    epoch(&mut state, 3);
    assert!(state.report_of(&id).is_some());
    let events = begin(&mut state, 4);
    assert!(events.contains(&Event::RanOut { report: id }));
    let fee = Amount::from_units(10_000_000_000);
    assert_eq!(state.account(&account(2)).free, free.minus(fee).unwrap());
    accused(&mut state, 2, accusation);
    broken(
        &mut state,
        2,
        accuse(0, Misdeed::MissingReceipt, b"receipt"),
        Rule::OtherRole,
    );
    assert!(matches!(
        refused(&mut state, 5, accuse(0, Misdeed::Judgement, b"x")),
        Refusal::Insufficient { .. }
    ));
}

#[test]
fn nobody_judges_itself_or_is_paid_for_a_judgement() {
    let mut state = network();
    let id = accused(&mut state, 2, accuse(8, Misdeed::Judgement, b"a device"));
    let own = verdict(&state, id, Some(THIRD), &[8, 9, 10]);
    broken(&mut state, 3, own, Rule::NoChecker);
    // Two of two, since half is less than the quorum.
    let half = verdict(&state, id, Some(THIRD), &[9]);
    no_quorum(&mut state, half);
    let both = verdict(&state, id, Some(THIRD), &[9, 10]);
    ok(&mut state, 3, both);
    let events = begin(&mut state, 3);
    let taken = part(tokens(50_000), THIRD);
    assert_eq!(slashed(&events), Some((taken, Amount::ZERO)));
    assert_eq!(state.members().witnesses.len(), 2);
    // A jailed checker is not asked.
    let id = accused(&mut state, 2, accuse(0, Misdeed::WrongExecution, b"r"));
    let jailed = verdict(&state, id, None, &[8, 9, 10]);
    broken(&mut state, 3, jailed, Rule::NoChecker);
    let others = verdict(&state, id, None, &[9, 10]);
    ok(&mut state, 3, others);
    conserved(&state);
    // With too little stake it stays out, even when its time is over.
    epoch(&mut state, 6);
    assert!(matches!(
        refused(&mut state, 0, Action::Unjail { node: node(8) }),
        Refusal::Bond { .. }
    ));
}

#[test]
fn all_of_a_stake_can_go_and_what_was_counts_in_votes() {
    let (mut genesis, mut ledger) = genesis();
    ledger.parameters.slashing.fraction_ppm = 1_000_000;
    ledger.parameters.slashing.reporter_ppm = 0;
    genesis.ledger = Some(adit_protocol::Document::hash(&ledger));
    // Its own genesis, so that receipts must be of it.
    let mut state = State::new(&genesis, &ledger).unwrap();
    state.begin_block(BEGIN_MS).unwrap();
    ok(&mut state, 0, stake(150_000));
    for checker in [8, 9, 10] {
        let Action::Register {
            mut registration,
            bond,
        } = registration(Role::Checker, 0, checker, tokens(50_000))
        else {
            unreachable!()
        };
        registration.proof = possession(&state, 0, checker, registration.keys);
        ok(&mut state, 0, Action::Register { registration, bond });
    }
    ok(&mut state, 2, stake(60_000));
    ok(&mut state, 2, vote(8, 60_000));
    epoch(&mut state, 1);
    let propose = Action::Propose {
        title: "A question".to_owned(),
        settings: Vec::new(),
        spends: Vec::new(),
    };
    let events = ok(&mut state, 3, propose);
    let Some(Event::Proposed { proposal, .. }) = events.last() else {
        panic!("{events:?}")
    };
    let id = accused(&mut state, 2, accuse(8, Misdeed::Judgement, b"a device"));
    let both = verdict(&state, id, Some(1_000_000), &[9, 10]);
    ok(&mut state, 3, both);
    // An appeal window and the vote end together.
    epoch(&mut state, 2);
    ok(
        &mut state,
        2,
        Action::Ballot {
            proposal: *proposal,
            yes: true,
        },
    );
    assert_eq!(state.proposal(proposal).unwrap().yes, tokens(60_000));
    begin(&mut state, 3);
    assert_eq!(state.node(&node(8)).unwrap().stake, Amount::ZERO);
    assert_eq!(state.votes_for(node(8)).count(), 0);
    assert_eq!(state.account(&account(2)).votes, 0);
    assert_eq!(state.account(&account(0)).votes, 2);
    assert_eq!(state.head().staked, tokens(100_000));
    conserved(&state);
}

#[test]
fn what_unbonds_up_to_the_penalty_is_taken_too() {
    let mut state = network();
    // Released when epoch 4 begins, in which the verdict takes effect.
    let unstake = Action::Unstake {
        amount: tokens(30_000),
        from: Some(node(0)),
    };
    ok(&mut state, 1, unstake);
    epoch(&mut state, 2);
    let free = state.account(&account(1)).free;
    let id = accused(&mut state, 2, accuse(0, Misdeed::WrongExecution, b"r"));
    let guilty = verdict(&state, id, Some(100_000), &[8, 9]);
    ok(&mut state, 2, guilty);
    assert_eq!(slashed(&begin(&mut state, 3)), None);
    let events = begin(&mut state, 4);
    assert_eq!(slashed(&events), Some((tokens(3_600), tokens(360))));
    assert_eq!(
        state.account(&account(1)).free,
        free.plus(tokens(27_000)).unwrap()
    );
    conserved(&state);
}

#[test]
fn a_snapshot_holds_all_of_it_and_nothing_else() {
    let mut state = network();
    let keys = NodeKeys {
        node: node(2),
        log: None,
    };
    let rotate = Action::RotateKey {
        node: node(0),
        keys,
        proof: proof(1, 2, keys),
    };
    ok(&mut state, 1, rotate);
    ok(&mut state, 2, report(0, equivocation(0, b"a")));
    epoch(&mut state, 2);
    ok(&mut state, 2, stake(5));
    let id = accused(&mut state, 2, accuse(0, Misdeed::WrongExecution, b"r"));
    let guilty = verdict(&state, id, Some(100_000), &[8, 9]);
    ok(&mut state, 2, guilty);
    ok(&mut state, 1, Action::Appeal { report: id });
    let propose = Action::Propose {
        title: "A question".to_owned(),
        settings: vec!["fee_min 1".parse().unwrap()],
        spends: Vec::new(),
    };
    let events = ok(&mut state, 3, propose);
    let Some(Event::Proposed { proposal, .. }) = events.last() else {
        panic!("{events:?}")
    };
    let ballot = Action::Ballot {
        proposal: *proposal,
        yes: false,
    };
    ok(&mut state, 3, ballot);
    let mut entries = Vec::new();
    state.entries(|entry| entries.push(entry));
    let network = genesis().0;
    assert_eq!(
        State::from_entries(&network, entries.clone()).as_ref(),
        Ok(&state)
    );
    let tags: BTreeSet<_> = entries.iter().map(|entry| entry.key[0]).collect();
    assert!(
        tags.is_superset(&(10..=14).collect()),
        "not all are shown: {tags:?}"
    );
    for at in 0..entries.len() {
        if entries[at].key[0] < 10 {
            continue;
        }
        let broken = |change: fn(&mut Entry)| {
            let mut entries = entries.clone();
            change(&mut entries[at]);
            State::from_entries(&network, entries).is_err()
        };
        assert!(
            broken(|entry| entry.key.truncate(entry.key.len() - 1)),
            "{at}"
        );
        assert!(broken(|entry| entry.key.push(0)), "{at}");
        assert!(broken(|entry| entry.value.push(0)), "{at}");
        assert!(
            broken(|entry| entry.value.truncate(entry.value.len() - 1)),
            "{at}"
        );
    }
}

#[test]
fn votes_on_proposals_count_as_before_a_penalty_in_their_epoch_and_as_after_it_later() {
    let mut state = network();
    let propose = || Action::Propose {
        title: "A question".to_owned(),
        settings: Vec::new(),
        spends: Vec::new(),
    };
    let made = |state: &mut State| {
        let events = ok(state, 3, propose());
        match events.last() {
            Some(Event::Proposed { proposal, .. }) => *proposal,
            _ => panic!("{events:?}"),
        }
    };
    let weight = |state: &State, proposal| {
        let mut state = state.clone();
        ok(
            &mut state,
            2,
            Action::Ballot {
                proposal,
                yes: true,
            },
        );
        state.proposal(&proposal).unwrap().yes
    };
    // Account 2 has 9,000 staked, 6,000 of them behind the miner.
    let first = made(&mut state);
    ok(&mut state, 2, report(0, equivocation(0, b"a")));
    assert_eq!(weight(&state, first), tokens(9_000));
    let id = accused(&mut state, 2, accuse(0, Misdeed::WrongExecution, b"r"));
    let guilty = verdict(&state, id, Some(100_000), &[8, 9]);
    ok(&mut state, 2, guilty);
    epoch(&mut state, 2);
    let cut = part(tokens(6_000), THIRD);
    let left = tokens(9_000).minus(cut).unwrap();
    let second = made(&mut state);
    assert_eq!(weight(&state, first), tokens(9_000));
    assert_eq!(weight(&state, second), left);
    // As the epoch begins, a tenth of what is left there.
    assert!(slashed(&begin(&mut state, 3)).is_some());
    let third = made(&mut state);
    assert_eq!(weight(&state, second), left);
    let tenth = part(tokens(6_000).minus(cut).unwrap(), 100_000);
    assert_eq!(weight(&state, third), left.minus(tenth).unwrap());
    assert_eq!(state.staked(&account(2)), left.minus(tenth).unwrap());
}
