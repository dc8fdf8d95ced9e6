//! Random transactions, many of them against the rules: whatever happens, no token comes or goes.

use std::collections::BTreeMap;
use std::ops::Bound;

use adit_ledger::entry::{EpochRoot, LogEntry, Replay};
use adit_ledger::registration::{NodeKeys, Role};
use adit_ledger::root::StateTree;
use adit_ledger::state::Entry;
use adit_ledger::{Action, Event, Key, State};
use adit_protocol::{Amount, Hash};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::*;

/// What is tried.
#[derive(Clone, Debug)]
enum Step {
    /// A block so many thousandths of an epoch later.
    Block(u64),
    /// A transaction.
    Do(Try),
}

/// A transaction as numbers.
#[derive(Clone, Debug)]
struct Try {
    from: usize,
    what: u8,
    whom: usize,
    /// Thousandths of what there is; or any amount.
    amount: Result<u64, u128>,
    /// Whether an account and a node are taken that fit, where there are some.
    fits: bool,
    /// Added to the number; mostly nothing.
    number: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amount = prop_oneof![
        8 => (0u64..=1000).prop_map(Ok),
        1 => any::<u128>().prop_map(Err),
        1 => (0u128..2).prop_map(Err),
    ];
    let number = prop_oneof![12 => Just(0u64), 1 => 1u64..3];
    let fits = prop::bool::weighted(0.8);
    let act = (0..6usize, 0..21u8, 0..8usize, amount, fits, number).prop_map(
        |(from, what, whom, amount, fits, number)| {
            Step::Do(Try {
                from,
                what,
                whom,
                amount,
                fits,
                number,
            })
        },
    );
    let step = prop_oneof![1 => (0u64..2500).prop_map(Step::Block), 9 => act];
    proptest::collection::vec(step, 50..250)
}

const SCOPES: [&str; 3] = ["acme", "acme-2", "solo"];
const RELEASES: [(&str, &str); 8] = [
    ("acme/one", "1.0.0"),
    ("acme/one", "1.0.0-rc.1"),
    ("acme/one", "0.9.0"),
    ("acme/two", "10.0.0"),
    ("acme-2", "2.0.0"),
    ("acme-2", "10.0.0"),
    ("solo", "0.1.0-a"),
    ("solo", "0.1.0"),
];

fn release(number: usize) -> (&'static str, &'static str) {
    RELEASES[number % RELEASES.len()]
}

/// The action, and the account that asks for it.
fn action(state: &State, step: &Try) -> (usize, Action) {
    let Try {
        mut from,
        what,
        mut whom,
        ..
    } = *step;
    if step.fits && !matches!(what, 0..=4 | 8..=10 | 16..) {
        let known: Vec<_> = (0..NODES.len())
            .filter(|number| match what {
                6 => state.votes_for(node(*number)).count() > 0,
                14 | 15 => state
                    .node(&node(*number))
                    .is_some_and(|n| n.role == Role::Coordinator),
                _ => state.node(&node(*number)).is_some(),
            })
            .collect();
        if let Some(number) = known.get(whom % known.len().max(1)) {
            whom = *number;
        }
        let found = state.node(&node(whom));
        let whose = match what {
            // Who votes.
            5 | 6 => state.votes_for(node(whom)).next().map(|(voter, _)| voter),
            7 | 14 => None,
            _ => found.map(|found| found.operator),
        };
        if let Some(number) = whose.and_then(|key| (0..6).find(|n| account(*n) == key)) {
            from = number;
        }
    }
    if step.fits && what >= 16 {
        let scope = match what {
            20 => SCOPES[whom % SCOPES.len()],
            _ => release(whom).0.split('/').next().unwrap(),
        };
        let owner = state.scope_owner(&scope.parse().unwrap());
        if let Some(number) = owner.and_then(|key| (0..6).find(|n| account(*n) == key)) {
            from = number;
        }
    }
    let role = match (state.node(&node(whom)), step.fits) {
        (Some(found), true) => found.role,
        _ => Role::ALL[whom % 3],
    };
    let (key, who) = (node(whom), state.account(&account(from)));
    let votes = || {
        state
            .votes_for(key)
            .find(|(voter, _)| *voter == account(from))
    };
    let there = match what {
        1 => state.parameters().faucet_account,
        4 | 7 => who.stake,
        5 | 6 => votes().map_or(Amount::ZERO, |(_, amount)| amount),
        8..=10 => state.parameters().stake_min(role),
        15 => state.node(&key).map_or(Amount::ZERO, |node| node.escrow),
        _ => who.free,
    };
    let amount = match step.amount {
        Ok(_) if matches!(what, 8..=10) => there,
        Ok(share) => Amount::from_units(there.units() / 1000 * u128::from(share)),
        Err(units) => Amount::from_units(units),
    };
    let node = key;
    let action = match what {
        0 => Action::Transfer {
            to: account(whom),
            amount,
        },
        1 => Action::Faucet { amount },
        2 | 3 => Action::Stake { amount },
        4 => Action::Unstake { amount, from: None },
        5 => Action::Unstake {
            amount,
            from: Some(node),
        },
        6 => Action::Unvote { node, amount },
        7 => Action::Vote { node, amount },
        8..=10 => registration(role, from, whom, amount),
        11 => Action::Update {
            node,
            profile: profile(role, 50_000),
        },
        12 => {
            let next = whom + 3;
            let keys = NodeKeys {
                node: crate::support::node(next),
                log: (role != Role::Miner).then(log),
            };
            let proof = proof(from, next, keys);
            Action::RotateKey { node, keys, proof }
        }
        13 => Action::Deregister { node },
        14 => Action::Deposit { node, amount },
        16..=18 => {
            let (name, version) = release(whom);
            let mut publication = publication(name, version);
            // Whoever tries again has something else.
            publication.component = Hash::of(&amount.units().to_le_bytes());
            Action::Publish(publication)
        }
        19 => {
            let (name, version) = release(whom);
            yank(
                name,
                version,
                !matches!(step.amount, Ok(share) if share > 700),
            )
        }
        20 => Action::TransferName {
            scope: SCOPES[whom % SCOPES.len()].parse().unwrap(),
            to: account(whom / 2),
        },
        _ => Action::Withdraw { node, amount },
    };
    (from, action)
}

/// Tokens that unbond, by what they are, as a second account of it: taken from the events alone.
#[derive(Default)]
struct Watch {
    /// Epoch of the release, account -> amount.
    unbonding: BTreeMap<(u64, Key), u128>,
    /// Name and version -> component.
    releases: BTreeMap<(String, String), Hash>,
}

impl Watch {
    fn see(&mut self, state: &State, event: &Event) {
        let epoch = state.head().epoch;
        match event {
            Event::Unbonding {
                account,
                amount,
                until_epoch,
                ..
            } => {
                assert!(*until_epoch > epoch + state.parameters().unbonding_epochs);
                *self.unbonding.entry((*until_epoch, *account)).or_default() += amount.units();
            }
            Event::Released {
                account, amount, ..
            } => {
                // Nothing is released that did not unbond up to an epoch that has come.
                let mut left = amount.units();
                for ((until, whose), waiting) in &mut self.unbonding {
                    if whose == account && *until <= epoch {
                        let taken = left.min(*waiting);
                        *waiting -= taken;
                        left -= taken;
                    }
                }
                assert_eq!(left, 0, "{amount} too early for {account} in epoch {epoch}");
            }
            Event::Published {
                name,
                version,
                component,
            } => {
                let place = (name.to_string(), version.to_string());
                let before = self.releases.insert(place, *component);
                assert_eq!(before, None, "{name} {version} is replaced");
            }
            _ => {}
        }
    }

    /// What was published is there as it was, and nothing else.
    fn check(&self, state: &State) {
        let mut found = BTreeMap::new();
        for (name, releases) in state.names_from(Bound::Unbounded) {
            assert!(state.scope_owner(&name.scope()).is_some());
            for (version, release) in releases {
                found.insert((name.to_string(), version.to_string()), release.component);
            }
        }
        assert_eq!(found, self.releases);
    }
}

fn check(state: &State) {
    let head = state.head();
    let expected = head.issued.minus(head.burned).unwrap();
    assert_eq!(state.supply().total(), expected);
    for (key, node) in state.nodes() {
        let votes: Amount = state.votes_for(*key).map(|(_, amount)| amount).sum();
        assert_eq!(votes, node.stake);
    }
    for number in 0..ACCOUNTS.len() {
        let votes = state.votes_of(account(number)).count();
        assert_eq!(votes as u32, state.account(&account(number)).votes);
    }
}

#[test]
fn tokens_are_conserved_and_nothing_unbonds_early() {
    let mut runner = TestRunner::new(Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    });
    let (mut all, mut refused) = (0u64, 0u64);
    let mut kinds = BTreeMap::<&str, u64>::new();
    let counts = std::cell::RefCell::new((&mut all, &mut refused, &mut kinds));
    runner
        .run(&steps(), |steps| {
            let mut counts = counts.borrow_mut();
            let (genesis, ledger) = genesis();
            let mut state = State::new(&genesis, &ledger).unwrap();
            let mut log = Vec::new();
            let mut watch = Watch::default();
            let block = |state: &mut State, log: &mut Vec<LogEntry>, watch: &mut Watch, ms: u64| {
                let head = state.head();
                if state.epoch_at(ms) > head.epoch {
                    let (epoch, root) = (head.epoch, StateTree::of(state).root());
                    log.push(LogEntry::Epoch(EpochRoot { epoch, state: root }));
                }
                let height = head.height + 1;
                log.push(LogEntry::Block {
                    height,
                    time_ms: ms,
                });
                let events = state.begin_block(ms).unwrap();
                events.iter().for_each(|event| watch.see(state, event));
            };
            block(&mut state, &mut log, &mut watch, BEGIN_MS);
            for step in steps {
                match step {
                    Step::Block(later) => {
                        let ms = state.head().time_ms + later * EPOCH_MS / 1000;
                        block(&mut state, &mut log, &mut watch, ms);
                    }
                    Step::Do(step) => {
                        let (from, action) = action(&state, &step);
                        let name = action.name();
                        let mut transaction = signed(&state, from, action).transaction().clone();
                        transaction.number += step.number;
                        let transaction = verified(from, &transaction);
                        let before = state.clone();
                        *counts.0 += 1;
                        match state.apply(&transaction) {
                            Ok(events) => {
                                events.iter().for_each(|event| watch.see(&state, event));
                                log.push(LogEntry::Transaction(Box::new(
                                    transaction.signed().clone(),
                                )));
                                *counts.2.entry(name).or_default() += 1;
                                prop_assert!(state.apply(&transaction).is_err());
                            }
                            Err(_) => {
                                *counts.1 += 1;
                                prop_assert_eq!(&state, &before);
                            }
                        }
                    }
                }
                check(&state);
            }
            watch.check(&state);
            // Both ways back: from its entries, and from the log.
            let mut entries = Vec::new();
            state.entries(|entry| entries.push(entry));
            let again = State::from_entries(&genesis, entries);
            prop_assert_eq!(again.as_ref(), Ok(&state));
            let mut replay = Replay::new(State::new(&genesis, &ledger).unwrap());
            for entry in &log {
                replay.entry(&entry.to_bytes()).unwrap();
            }
            prop_assert_eq!(replay.state(), &state);
            Ok(())
        })
        .unwrap();
    let share = refused as f64 / all as f64;
    println!(
        "{all} transactions, {:.0} % of them refused; done: {kinds:?}",
        share * 100.0
    );
    assert!((0.3..0.9).contains(&share), "{share}");
    assert!(kinds.len() >= 15, "some actions were never done: {kinds:?}");
}

#[test]
fn a_log_that_was_tampered_with_is_found() {
    let (genesis, ledger) = genesis();
    let mut state = State::new(&genesis, &ledger).unwrap();
    let mut log = vec![
        LogEntry::Block {
            height: 1,
            time_ms: BEGIN_MS,
        }
        .to_bytes(),
    ];
    state.begin_block(BEGIN_MS).unwrap();
    for from in 0..3 {
        let transaction = signed(
            &state,
            from,
            Action::Stake {
                amount: Amount::tokens(7),
            },
        );
        state.apply(&transaction).unwrap();
        log.push(LogEntry::Transaction(Box::new(transaction.signed().clone())).to_bytes());
    }
    let root = EpochRoot {
        epoch: 0,
        state: StateTree::of(&state).root(),
    };
    log.push(LogEntry::Epoch(root).to_bytes());
    log.push(
        LogEntry::Block {
            height: 2,
            time_ms: BEGIN_MS + EPOCH_MS,
        }
        .to_bytes(),
    );
    let replay = |log: &[Vec<u8>]| {
        let mut replay = Replay::new(State::new(&genesis, &ledger).unwrap());
        log.iter()
            .try_for_each(|entry| replay.entry(entry).map(drop))
    };
    assert_eq!(replay(&log), Ok(()));
    // Left out, done twice, exchanged.
    for at in 0..log.len() {
        let mut other = log.clone();
        other.remove(at);
        // Without its end, a log is only shorter.
        assert_eq!(replay(&other).is_ok(), at + 1 == log.len(), "without {at}");
        let mut other = log.clone();
        other.insert(at, log[at].clone());
        assert!(replay(&other).is_err(), "{at} twice");
        for bit in 0..log[at].len() * 8 {
            let mut other = log.clone();
            other[at][bit / 8] ^= 1 << (bit % 8);
            // A later time of the last block is another block, which is as good.
            let last_time = at + 1 == log.len() && bit / 8 >= 9;
            assert!(replay(&other).is_err() || last_time, "bit {bit} of {at}");
        }
    }
    let mut snapshot = Vec::new();
    state.entries(|entry| snapshot.push(entry));
    let broken = |change: fn(&mut Vec<Entry>)| {
        let mut entries = snapshot.clone();
        change(&mut entries);
        State::from_entries(&genesis, entries).is_err()
    };
    assert!(broken(|entries| entries.swap(1, 2)));
    assert!(broken(|entries| entries[1].key[0] = 9));
    assert!(broken(|entries| entries[0].value.push(0)));
    assert!(broken(|entries| drop(entries.remove(0))));
}
