//! How epochs are closed and settled, and how what was earned is claimed: single rules. All share one
//! small network.

mod claims;
mod closing;
mod settlements;

use adit_ledger::registration::Role;
use adit_ledger::rewards::{Earned, RewardTree, Settlement};
use adit_ledger::state::{Entry, Head};
use adit_ledger::{Action, Refusal, State};
use adit_protocol::Amount;

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
