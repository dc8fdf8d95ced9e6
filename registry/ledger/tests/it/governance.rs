//! Proposals, and votes on them.

use adit_ledger::refusal::Rule;
use adit_ledger::registration::Role;
use adit_ledger::state::{PROPOSALS_MAX, Spend};
use adit_ledger::{Action, Event, Refusal, State};
use adit_protocol::{Amount, Hash};

use crate::support::*;

fn propose(settings: &[&str], spends: &[Spend]) -> Action {
    Action::Propose {
        title: "Something else".to_owned(),
        settings: settings.iter().map(|text| text.parse().unwrap()).collect(),
        spends: spends.to_vec(),
    }
}

/// Makes a proposal, and returns its id.
fn proposed(state: &mut State, from: usize, action: Action) -> Hash {
    let events = ok(state, from, action);
    let id = events.iter().find_map(|event| match event {
        Event::Proposed { proposal, .. } => Some(*proposal),
        _ => None,
    });
    id.expect("a proposal is announced")
}

fn ballot(proposal: Hash, yes: bool) -> Action {
    Action::Ballot { proposal, yes }
}

fn stake(amount: u64) -> Action {
    Action::Stake {
        amount: tokens(amount),
    }
}

fn begin(state: &mut State, number: u64) -> Vec<Event> {
    state.begin_block(BEGIN_MS + number * EPOCH_MS).unwrap()
}

/// Three accounts with 60, 30 and 10 thousand staked, in epoch 1.
fn staked() -> State {
    let mut state = state();
    for (from, amount) in [(0, 60_000), (1, 30_000), (2, 10_000)] {
        ok(&mut state, from, stake(amount));
    }
    epoch(&mut state, 1);
    assert_eq!(state.head().staked, tokens(100_000));
    state
}

fn counted(events: &[Event]) -> (Amount, Amount, bool, Option<u64>) {
    let mut found = events.iter().filter_map(|event| match event {
        Event::Counted {
            yes,
            no,
            quorum,
            effect_epoch,
            ..
        } => Some((*yes, *no, *quorum, *effect_epoch)),
        _ => None,
    });
    let one = found.next().expect("votes were counted");
    assert_eq!(found.next(), None);
    one
}

#[test]
fn a_parameter_changes_after_vote_and_timelock() {
    let mut state = staked();
    let free = state.account(&account(3)).free;
    let id = proposed(
        &mut state,
        3,
        propose(&["fee_min 0.02", "rewards.fee_ppm 60000"], &[]),
    );
    assert_eq!(state.supply().deposits, tokens(1_000));
    ok(&mut state, 0, ballot(id, true));
    ok(&mut state, 1, ballot(id, false));
    assert_eq!(
        refused(&mut state, 0, ballot(id, false)),
        Refusal::Rule(Rule::VotedAlready)
    );
    assert_eq!(
        refused(&mut state, 3, ballot(id, true)),
        Refusal::Rule(Rule::NoWeight)
    );
    assert!(matches!(
        refused(&mut state, 0, ballot(Hash::ZERO, true)),
        Refusal::NoProposal { .. }
    ));
    // One whole epoch after this one.
    begin(&mut state, 2);
    assert_eq!(state.ballots(id).count(), 2);
    let events = begin(&mut state, 3);
    assert_eq!(
        counted(&events),
        (tokens(60_000), tokens(30_000), true, Some(6))
    );
    assert_eq!(state.ballots(id).count(), 0);
    assert_eq!(
        refused(&mut state, 2, ballot(id, true)),
        Refusal::Rule(Rule::Counted)
    );
    let fee = Amount::from_units(10_000_000_000);
    assert_eq!(state.account(&account(3)).free, free.minus(fee).unwrap());
    assert_eq!(state.supply().deposits, Amount::ZERO);
    begin(&mut state, 5);
    assert_eq!(state.parameters().rewards.fee_ppm, 50_000);
    let events = begin(&mut state, 6);
    assert!(events.contains(&Event::Enacted { proposal: id }));
    assert_eq!(state.parameters().fee_min.to_string(), "0.02");
    assert_eq!(state.parameters().rewards.fee_ppm, 60_000);
    assert!(state.proposal(&id).is_none());
}

#[test]
fn without_quorum_or_majority_nothing_changes() {
    let mut state = staked();
    let small = proposed(&mut state, 3, propose(&["fee_min 0.02"], &[]));
    ok(&mut state, 1, ballot(small, true));
    // 30 % are less than a third: the deposit is the treasury's.
    let events = begin(&mut state, 3);
    assert_eq!(
        counted(&events),
        (tokens(30_000), Amount::ZERO, false, None)
    );
    assert_eq!(state.head().treasury, tokens(1_000));
    // Rejected, with a quorum.
    let free = state.account(&account(3)).free;
    let no = proposed(&mut state, 3, propose(&["fee_min 0.02"], &[]));
    ok(&mut state, 0, ballot(no, false));
    ok(&mut state, 1, ballot(no, true));
    let events = begin(&mut state, 5);
    assert_eq!(
        counted(&events),
        (tokens(30_000), tokens(60_000), true, None)
    );
    assert_eq!(state.head().treasury, tokens(1_000));
    let fee = state.parameters().fee_min;
    assert_eq!(state.account(&account(3)).free, free.minus(fee).unwrap());
    // Nobody voted at all.
    proposed(&mut state, 3, propose(&[], &[]));
    let events = begin(&mut state, 7);
    assert_eq!(counted(&events), (Amount::ZERO, Amount::ZERO, false, None));
    assert_eq!(state.proposals().count(), 0);
}

#[test]
fn the_treasury_is_spent() {
    let mut state = staked();
    // Nobody votes for a question without an answer: that fills the treasury.
    proposed(&mut state, 3, propose(&[], &[]));
    let spend = |amount: u64| {
        [4, 5].map(|number| Spend {
            account: account(number),
            amount: tokens(amount),
        })
    };
    let pays = proposed(&mut state, 3, propose(&[], &spend(300)));
    let more = proposed(&mut state, 3, propose(&["fee_min 0.03"], &spend(501)));
    for id in [pays, more] {
        ok(&mut state, 0, ballot(id, true));
    }
    begin(&mut state, 3);
    assert_eq!(state.head().treasury, tokens(1_000));
    let events = begin(&mut state, 6);
    let failed = |event: &&Event| matches!(event, Event::Failed { .. });
    // Whichever comes first: both together are more than there is.
    assert_eq!(events.iter().filter(failed).count(), 1, "{events:?}");
    assert!(events.contains(&Event::Enacted { proposal: pays }));
    assert_eq!(state.head().treasury, tokens(400));
    assert_eq!(state.account(&account(4)).free, tokens(300));
    assert_eq!(state.account(&account(5)).free, tokens(300));
    assert_eq!(state.parameters().fee_min.to_string(), "0.01");
}

#[test]
fn stake_counts_as_of_the_proposals_epoch_and_once() {
    let mut state = staked();
    // Both before and after the proposal, in its epoch: too late, or still there.
    ok(&mut state, 3, stake(500_000));
    let unstake = Action::Unstake {
        amount: tokens(60_000),
        from: None,
    };
    ok(&mut state, 0, unstake);
    let id = proposed(&mut state, 3, propose(&[], &[]));
    ok(&mut state, 1, stake(400_000));
    assert_eq!(
        refused(&mut state, 3, ballot(id, true)),
        Refusal::Rule(Rule::NoWeight)
    );
    begin(&mut state, 2);
    // Another proposal, for which the new stake counts, and the older one does not.
    let next = proposed(&mut state, 3, propose(&[], &[]));
    ok(&mut state, 1, stake(7));
    ok(&mut state, 0, ballot(id, true));
    ok(&mut state, 1, ballot(id, true));
    ok(&mut state, 1, ballot(next, true));
    assert_eq!(
        refused(&mut state, 0, ballot(next, true)),
        Refusal::Rule(Rule::NoWeight)
    );
    let yes = |state: &State, id: &Hash| state.proposal(id).unwrap().yes;
    assert_eq!(yes(&state, &id), tokens(90_000));
    assert_eq!(yes(&state, &next), tokens(430_000));
    assert_eq!(state.proposal(&id).unwrap().staked, tokens(100_000));
    assert_eq!(state.proposal(&next).unwrap().staked, tokens(940_000));
    // What was remembered is forgotten when nobody asks any more.
    let remembered = |state: &State| {
        let mut count = 0;
        state.entries(|entry| count += usize::from(entry.key[0] == 10));
        count
    };
    assert_eq!(remembered(&state), 4);
    begin(&mut state, 3);
    assert_eq!(remembered(&state), 1);
    begin(&mut state, 4);
    assert_eq!(remembered(&state), 0);
}

#[test]
fn votes_that_become_stake_again_do_not_count_twice() {
    let mut state = state();
    ok(&mut state, 1, stake(20_000));
    ok(
        &mut state,
        1,
        registration(Role::Miner, 1, 0, tokens(20_000)),
    );
    ok(
        &mut state,
        1,
        Action::Unvote {
            node: node(0),
            amount: tokens(5_000),
        },
    );
    epoch(&mut state, 2);
    let before = proposed(&mut state, 3, propose(&[], &[]));
    // Here the 5,000 are stake again: too late for the one, and in time for the other.
    epoch(&mut state, 3);
    assert_eq!(state.account(&account(1)).stake, tokens(5_000));
    let after = proposed(&mut state, 3, propose(&[], &[]));
    for (id, weight) in [(before, 15_000), (after, 20_000)] {
        ok(&mut state, 1, ballot(id, true));
        let proposal = state.proposal(&id).unwrap();
        assert_eq!(
            (proposal.yes, proposal.staked),
            (tokens(weight), tokens(weight))
        );
    }
}

#[test]
fn proposals_must_fit() {
    let mut state = staked();
    for bad in [
        "governance.threshold_ppm 500000",
        "governance.timelock_epochs 2",
        "unbonding_epochs 3",
        "rewards.shares.miners 0",
        &format!("engine-remove {}", Hash::of(b"engine")),
        &format!("engine-add {}", Hash::of(b"engine")),
        &format!("engine-remove {}", Hash::of(b"other")),
        "miner_stake_min 0",
        "slashing.fraction_ppm 1000001",
    ] {
        assert!(
            matches!(
                refused(&mut state, 3, propose(&[bad], &[])),
                Refusal::Settings { .. }
            ),
            "{bad}"
        );
    }
    let nothing = Spend {
        account: account(4),
        amount: Amount::ZERO,
    };
    assert_eq!(
        refused(&mut state, 3, propose(&[], &[nothing])),
        Refusal::Nothing
    );
    assert!(matches!(
        refused(&mut state, 5, propose(&[], &[])),
        Refusal::Insufficient { .. }
    ));
    // Each fits alone, and the second does not fit any more when the first has taken effect.
    let first = propose(&["unbonding_epochs 4", "governance.timelock_epochs 5"], &[]);
    let Action::Propose { mut settings, .. } = first else {
        unreachable!()
    };
    settings.sort_by_key(|setting| setting.to_string());
    let first = Action::Propose {
        title: "Longer".to_owned(),
        settings,
        spends: Vec::new(),
    };
    let first = proposed(&mut state, 3, first);
    epoch(&mut state, 2);
    let second = proposed(
        &mut state,
        3,
        propose(&["governance.timelock_epochs 4"], &[]),
    );
    for id in [first, second] {
        ok(&mut state, 0, ballot(id, true));
    }
    // Each is counted in an epoch of its own.
    epoch(&mut state, 3);
    epoch(&mut state, 4);
    assert!(begin(&mut state, 6).contains(&Event::Enacted { proposal: first }));
    let events = begin(&mut state, 7);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Failed { why, .. } if why.contains("unbonding")))
    );
    assert_eq!(state.parameters().governance.timelock_epochs, 5);
}

#[test]
fn there_are_not_too_many_proposals() {
    let mut state = staked();
    for _ in 0..PROPOSALS_MAX {
        proposed(&mut state, 3, propose(&[], &[]));
    }
    assert_eq!(
        refused(&mut state, 3, propose(&[], &[])),
        Refusal::Rule(Rule::ManyProposals)
    );
    epoch(&mut state, 3);
    proposed(&mut state, 3, propose(&[], &[]));
}
