//! Single rules.

use adit_ledger::refusal::Rule;
use adit_ledger::registration::{NodeKeys, Role};
use adit_ledger::root::StateTree;
use adit_ledger::state::{AHEAD_MS_MAX, Target};
use adit_ledger::{Action, Event, Key, Refusal, State, Transaction};
use adit_protocol::{Amount, Hash};

use crate::support::*;

pub fn ok(state: &mut State, from: usize, action: Action) -> Vec<Event> {
    let transaction = signed(state, from, action);
    state.apply(&transaction).unwrap()
}

pub fn refused(state: &mut State, from: usize, action: Action) -> Refusal {
    let before = state.clone();
    let transaction = signed(state, from, action);
    let refusal = state.apply(&transaction).unwrap_err();
    assert_eq!(*state, before, "{refusal}");
    assert!(refusal.to_string().contains("hint: "), "{refusal}");
    refusal
}

pub fn epoch(state: &mut State, epoch: u64) {
    state.begin_block(BEGIN_MS + epoch * EPOCH_MS).unwrap();
}

pub fn tokens(tokens: u64) -> Amount {
    Amount::tokens(tokens)
}

#[test]
fn a_stakers_way() {
    let mut state = state();
    let miner = registration(Role::Miner, 1, 0, tokens(20_000));
    ok(
        &mut state,
        1,
        Action::Stake {
            amount: tokens(20_000),
        },
    );
    ok(&mut state, 1, miner);
    assert_eq!(state.members().miners[0].stake, tokens(20_000).units());
    // An account that never was comes to the faucet.
    ok(
        &mut state,
        5,
        Action::Faucet {
            amount: tokens(1_000),
        },
    );
    ok(
        &mut state,
        5,
        Action::Stake {
            amount: tokens(900),
        },
    );
    ok(
        &mut state,
        5,
        Action::Vote {
            node: node(0),
            amount: tokens(800),
        },
    );
    assert_eq!(state.node(&node(0)).unwrap().stake, tokens(20_800));
    assert_eq!(state.votes_for(node(0)).count(), 2);
    assert_eq!(
        state.votes_of(account(5)).next(),
        Some((node(0), tokens(800)))
    );
    // What is voted cannot be unstaked without taking it back.
    let action = Action::Unstake {
        amount: tokens(101),
        from: None,
    };
    assert!(matches!(
        refused(&mut state, 5, action),
        Refusal::Insufficient { .. }
    ));
    ok(
        &mut state,
        5,
        Action::Unstake {
            amount: tokens(100),
            from: None,
        },
    );
    ok(
        &mut state,
        5,
        Action::Unstake {
            amount: tokens(300),
            from: Some(node(0)),
        },
    );
    ok(
        &mut state,
        5,
        Action::Unvote {
            node: node(0),
            amount: tokens(500),
        },
    );
    assert_eq!(state.node(&node(0)).unwrap().stake, tokens(20_000));
    let fees = Amount::from_units(5 * 10_000_000_000);
    let free = tokens(100).minus(fees).unwrap();
    assert_eq!(state.account(&account(5)).free, free);
    assert_eq!(state.unbonding_of(account(5)).count(), 3);
    // Two whole epochs after this one.
    epoch(&mut state, 2);
    assert_eq!(state.account(&account(5)).free, free);
    epoch(&mut state, 3);
    let account = state.account(&account(5));
    assert_eq!(account.free, free.plus(tokens(400)).unwrap());
    assert_eq!(account.stake, tokens(500));
    assert_eq!(account.votes, 0);
    assert_eq!(
        state.supply().total(),
        state.head().issued.minus(state.head().burned).unwrap()
    );
}

#[test]
fn what_every_transaction_must_have() {
    let mut state = state();
    let action = Action::Stake { amount: tokens(1) };
    let good = signed(&state, 0, action).transaction().clone();
    let now = state.head().time_ms;
    let mut refusal = |change: fn(&mut Transaction, u64)| {
        let mut transaction = good.clone();
        change(&mut transaction, now);
        state.apply(&verified(0, &transaction)).unwrap_err()
    };
    assert!(matches!(
        refusal(|t, _| t.genesis = Hash::ZERO),
        Refusal::OtherNetwork { .. }
    ));
    assert_eq!(
        refusal(|t, _| t.number = 1),
        Refusal::Number {
            expected: 0,
            found: 1
        }
    );
    assert_eq!(
        refusal(|t, now| t.expires_ms = now - 1),
        Refusal::Expired { late_ms: 1 }
    );
    assert!(matches!(
        refusal(|t, now| t.expires_ms = now + AHEAD_MS_MAX + 1),
        Refusal::TooFarAhead { .. }
    ));
    assert!(matches!(
        refusal(|t, _| t.fee = Amount::ZERO),
        Refusal::Fee { .. }
    ));
    assert!(matches!(
        refusal(|t, _| t.fee = tokens(1_000_000)),
        Refusal::Insufficient { .. }
    ));
    // And then it is not done twice.
    let good = verified(0, &good);
    assert!(state.apply(&good).is_ok());
    assert_eq!(
        state.apply(&good),
        Err(Refusal::Number {
            expected: 1,
            found: 0
        })
    );
}

#[test]
fn transfers_and_the_faucet() {
    let mut state = state();
    let amount = tokens(5);
    let to_itself = Action::Transfer {
        to: account(0),
        amount,
    };
    assert_eq!(
        refused(&mut state, 0, to_itself),
        Refusal::Rule(Rule::ToItself)
    );
    let nothing = Action::Transfer {
        to: account(1),
        amount: Amount::ZERO,
    };
    assert_eq!(refused(&mut state, 0, nothing), Refusal::Nothing);
    let most = Action::Transfer {
        to: account(1),
        amount: tokens(1_000_000),
    };
    assert!(matches!(
        refused(&mut state, 0, most),
        Refusal::Insufficient { .. }
    ));
    let beyond = Action::Transfer {
        to: account(1),
        amount: Amount::from_units(u128::MAX),
    };
    assert!(matches!(
        refused(&mut state, 0, beyond),
        Refusal::Insufficient { .. }
    ));
    ok(
        &mut state,
        0,
        Action::Transfer {
            to: account(4),
            amount,
        },
    );
    assert_eq!(state.account(&account(4)).free, amount);

    ok(
        &mut state,
        5,
        Action::Faucet {
            amount: tokens(600),
        },
    );
    let more = Action::Faucet {
        amount: tokens(401),
    };
    assert_eq!(
        refused(&mut state, 5, more),
        Refusal::Faucet {
            left: tokens(400),
            whom: "to this account"
        }
    );
    ok(
        &mut state,
        4,
        Action::Faucet {
            amount: tokens(1_000),
        },
    );
    let more = Action::Faucet {
        amount: tokens(901),
    };
    assert_eq!(
        refused(&mut state, 3, more),
        Refusal::Faucet {
            left: tokens(900),
            whom: "to all accounts"
        }
    );
    epoch(&mut state, 1);
    ok(
        &mut state,
        5,
        Action::Faucet {
            amount: tokens(1_000),
        },
    );
}

#[test]
fn who_may_be_registered() {
    let mut state = state();
    for from in [1, 2] {
        ok(
            &mut state,
            from,
            Action::Stake {
                amount: tokens(400_000),
            },
        );
    }
    let small = registration(Role::Miner, 1, 0, tokens(19_999));
    assert!(matches!(
        refused(&mut state, 1, small),
        Refusal::Bond { .. }
    ));
    let unstaked = registration(Role::Miner, 1, 0, tokens(400_001));
    assert!(matches!(
        refused(&mut state, 1, unstaked),
        Refusal::Insufficient { .. }
    ));
    let coordinator = registration(Role::Coordinator, 1, 0, tokens(200_000));
    let broken = |change: fn(&mut adit_ledger::registration::Registration)| {
        let mut action = coordinator.clone();
        if let Action::Register { registration, .. } = &mut action {
            change(registration);
        }
        action
    };
    // Signatures cover keys, so only what they do not cover can be varied here without signing anew.
    for (action, rule) in [
        (broken(|r| r.name = Some("a".to_owned())), Rule::Name),
        (broken(|r| r.profile.url = None), Rule::NoUrl),
        (broken(|r| r.role = Role::Miner), Rule::RoleKeys),
    ] {
        assert_eq!(refused(&mut state, 1, action), Refusal::Rule(rule));
    }
    ok(&mut state, 1, coordinator.clone());
    let again = registration(Role::Miner, 2, 0, tokens(20_000));
    assert_eq!(
        refused(&mut state, 2, again),
        Refusal::KeyTaken { key: node(0) }
    );
    ok(
        &mut state,
        2,
        registration(Role::Checker, 2, 1, tokens(50_000)),
    );
    let same_name = {
        let mut action = registration(Role::Checker, 1, 2, tokens(50_000));
        if let Action::Register { registration, .. } = &mut action {
            registration.name = Some("checker-1".to_owned());
        }
        action
    };
    assert_eq!(
        refused(&mut state, 1, same_name),
        Refusal::Rule(Rule::NameTaken)
    );
    let members = state.members();
    assert_eq!(
        (members.coordinators.len(), members.witnesses.len()),
        (1, 1)
    );
    // Below the least stake, a node takes no part, and its votes are not gone.
    ok(
        &mut state,
        1,
        Action::Unvote {
            node: node(0),
            amount: tokens(1),
        },
    );
    assert!(state.members().coordinators.is_empty());
    ok(
        &mut state,
        2,
        Action::Vote {
            node: node(0),
            amount: tokens(1),
        },
    );
    assert_eq!(state.members().coordinators.len(), 1);
}

#[test]
fn a_nodes_life() {
    let mut state = state();
    ok(
        &mut state,
        1,
        Action::Stake {
            amount: tokens(100_000),
        },
    );
    ok(
        &mut state,
        1,
        registration(Role::Miner, 1, 0, tokens(20_000)),
    );
    // Another commission counts from the next epoch on.
    let update = Action::Update {
        node: node(0),
        profile: profile(Role::Miner, 1_000_000),
    };
    assert_eq!(
        refused(&mut state, 2, update.clone()),
        Refusal::NotOperator { node: node(0) }
    );
    ok(&mut state, 1, update);
    assert_eq!(
        state.node(&node(0)).unwrap().profile.commission_ppm,
        100_000
    );
    let keys = NodeKeys {
        node: node(1),
        log: None,
    };
    let rotate = Action::RotateKey {
        node: node(0),
        keys,
        proof: proof(1, 1, keys),
    };
    ok(&mut state, 1, rotate.clone());
    let again = NodeKeys {
        node: node(2),
        log: None,
    };
    let again = Action::RotateKey {
        node: node(0),
        keys: again,
        proof: proof(1, 2, again),
    };
    assert_eq!(refused(&mut state, 1, again), Refusal::Rule(Rule::Rotating));
    assert_eq!(state.members().miners[0].node, *node(0).as_bytes());
    epoch(&mut state, 1);
    assert_eq!(state.members().miners[0].node, *node(1).as_bytes());
    assert_eq!(
        state.node(&node(0)).unwrap().profile.commission_ppm,
        1_000_000
    );
    assert_eq!(state.owner(&node(1)), Some(node(0)));
    // Neither key is free again, for nobody.
    for number in [0, 1] {
        let stolen = registration(Role::Miner, 1, number, tokens(20_000));
        assert_eq!(
            refused(&mut state, 1, stolen),
            Refusal::KeyTaken { key: node(number) }
        );
    }
    assert_eq!(
        refused(&mut state, 1, rotate),
        Refusal::KeyTaken { key: node(1) }
    );
    ok(&mut state, 1, Action::Deregister { node: node(0) });
    assert!(state.members().miners.is_empty());
    let vote = Action::Vote {
        node: node(0),
        amount: tokens(1),
    };
    assert_eq!(refused(&mut state, 1, vote), Refusal::Rule(Rule::Leaving));
    ok(
        &mut state,
        1,
        Action::Unstake {
            amount: tokens(20_000),
            from: Some(node(0)),
        },
    );
    let nobody = Action::Vote {
        node: node(7),
        amount: tokens(1),
    };
    assert_eq!(
        refused(&mut state, 1, nobody),
        Refusal::NoNode { node: node(7) }
    );
}

#[test]
fn nobody_spoils_the_key_of_another_by_giving_it_tokens() {
    let mut state = state();
    let gift = Action::Transfer {
        to: node(0),
        amount: tokens(1),
    };
    ok(&mut state, 2, gift);
    let amount = tokens(20_000);
    ok(&mut state, 1, Action::Stake { amount });
    ok(&mut state, 1, registration(Role::Miner, 1, 0, amount));
    assert_eq!(state.account(&node(0)).free, tokens(1));
}

#[test]
fn votes_are_not_dust() {
    let mut state = state();
    ok(
        &mut state,
        1,
        Action::Stake {
            amount: tokens(100_000),
        },
    );
    ok(
        &mut state,
        1,
        registration(Role::Miner, 1, 0, tokens(20_000)),
    );
    ok(&mut state, 2, Action::Stake { amount: tokens(10) });
    let half = Amount::from_units(500_000_000_000);
    let vote = Action::Vote {
        node: node(0),
        amount: half,
    };
    assert_eq!(
        refused(&mut state, 2, vote.clone()),
        Refusal::Rule(Rule::SmallVote)
    );
    ok(
        &mut state,
        2,
        Action::Vote {
            node: node(0),
            amount: tokens(1),
        },
    );
    ok(&mut state, 2, vote);
    let too_much = Action::Unvote {
        node: node(0),
        amount: tokens(1),
    };
    assert_eq!(
        refused(&mut state, 2, too_much),
        Refusal::Rule(Rule::SmallVote)
    );
    let all = tokens(1).plus(half).unwrap();
    ok(
        &mut state,
        2,
        Action::Unvote {
            node: node(0),
            amount: all,
        },
    );
}

#[test]
fn escrow() {
    let mut state = state();
    ok(
        &mut state,
        1,
        Action::Stake {
            amount: tokens(400_000),
        },
    );
    ok(
        &mut state,
        1,
        registration(Role::Coordinator, 1, 0, tokens(200_000)),
    );
    ok(
        &mut state,
        1,
        registration(Role::Miner, 1, 1, tokens(20_000)),
    );
    let deposit = |number| Action::Deposit {
        node: node(number),
        amount: tokens(50),
    };
    assert_eq!(
        refused(&mut state, 2, deposit(1)),
        Refusal::Rule(Rule::NoCoordinator)
    );
    ok(&mut state, 2, deposit(0));
    let withdraw = |amount| Action::Withdraw {
        node: node(0),
        amount: tokens(amount),
    };
    assert!(matches!(
        refused(&mut state, 2, withdraw(1)),
        Refusal::NotOperator { .. }
    ));
    assert!(matches!(
        refused(&mut state, 1, withdraw(51)),
        Refusal::Insufficient { .. }
    ));
    let free = state.account(&account(1)).free;
    ok(&mut state, 1, withdraw(20));
    assert_eq!(state.node(&node(0)).unwrap().escrow, tokens(30));
    let (unbonding, amount) = state.unbonding_of(account(1)).next().unwrap();
    assert_eq!(
        (unbonding.to, unbonding.node, amount),
        (Target::Escrow, node(0), tokens(20))
    );
    epoch(&mut state, 3);
    let fee = state.parameters().fee_min;
    let expected = free.plus(tokens(20)).and_then(|sum| sum.minus(fee));
    assert_eq!(Some(state.account(&account(1)).free), expected);
}

#[test]
fn accounts_are_proven() {
    let mut state = state();
    ok(
        &mut state,
        1,
        Action::Stake {
            amount: tokens(100_000),
        },
    );
    ok(
        &mut state,
        1,
        registration(Role::Miner, 1, 0, tokens(20_000)),
    );
    let tree = StateTree::of(&state);
    // The same from what a snapshot holds.
    let mut entries = Vec::new();
    state.entries(|entry| entries.push(entry));
    let again = State::from_entries(&genesis().0, entries).unwrap();
    let root = StateTree::of(&again).root();
    assert_eq!(tree.root(), root);
    for number in 0..RICH {
        let proof = tree.prove(&account(number));
        let proven = proof.verify(&account(number), &root).unwrap();
        assert_eq!(proven, Some(state.account(&account(number))));
        assert!(proof.verify(&account(5), &root).is_err());
        let mut forged = proof.clone();
        *forged.entries[0].leaf.last_mut().unwrap() ^= 1;
        assert!(forged.verify(&account(number), &root).is_err());
    }
    // At both ends, and in between.
    let bytes = |byte| Key::from_bytes([byte; 32]);
    for absent in [bytes(0), bytes(0xff), account(4), account(5)] {
        let proof = tree.prove(&absent);
        assert_eq!(proof.verify(&absent, &root), Ok(None), "{absent}");
        // One of the two neighbours proves nothing.
        if proof.entries.len() == 2 {
            let mut half = proof.clone();
            half.entries.pop();
            assert!(half.verify(&absent, &root).is_err());
        }
    }
}

#[test]
fn a_ledger_is_the_one_that_its_network_names() {
    let (mut genesis, ledger) = genesis();
    genesis.ledger = None;
    assert!(State::new(&genesis, &ledger).is_err());
    genesis.ledger = Some(Hash::ZERO);
    assert!(State::new(&genesis, &ledger).is_err());
    let mut state = state();
    assert!(state.begin_block(BEGIN_MS - 1).is_err());
}
