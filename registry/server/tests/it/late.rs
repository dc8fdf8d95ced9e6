//! Receipts that a log lacks are claimed, and answered by the registry's checker or paid.

use adit_ledger::Key;
use adit_ledger::rewards::Settlement;
use adit_protocol::Amount;
use adit_protocol::network::entry::{Decision, Entry};

use super::coordinator::{late, named, verdict};
use super::network::*;
use super::support::*;

fn spent(settlement: &Settlement, of: Key) -> Amount {
    let charge = settlement.charges.iter().find(|charge| charge.node == of);
    charge.map_or(Amount::ZERO, |charge| charge.spent)
}

/// Settles epochs one by one up to the beginning of this one.
async fn up_to(network: &Network, from: u64, to: u64) {
    for epoch in from..=to {
        network.epoch(epoch).await;
        network.settled(epoch).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_log_lacks_is_paid_and_what_it_has_is_not_paid_twice() {
    let mut network = Network::new(Amount::tokens(100)).await;
    // Of three countersigned receipts one is accepted, one rejected, and one never written down.
    let (first, paid) = network.a.task(1, 0, MINER, 100);
    let (second, rejected) = network.a.task(2, 0, MINER, 50);
    let (third, missing) = network.a.task(3, 0, MINER, 20);
    network.a.write(&[
        first.clone(),
        second.clone(),
        third.clone(),
        Entry::Receipt(Box::new(paid.clone())),
        verdict(&paid, Decision::Accepted),
        Entry::Receipt(Box::new(rejected.clone())),
        verdict(&rejected, Decision::Outvoted),
    ]);
    up_to(&network, 1, 2).await;
    // The log goes on, so that its tiles are others than those of the log that counts.
    network.a.work(4, 2, MINER, 1);
    up_to(&network, 3, 3).await;
    network.a.work(5, 3, MINER, 1);
    let state = network.state();
    let deposit = state.parameters().slashing.deposit;
    let before = state.account(&key(FEES)).free;
    for (drawn, receipt) in [(&first, &paid), (&second, &rejected), (&third, &missing)] {
        done(&network.registry, 1, late(A, drawn, receipt)).await;
    }
    network
        .until_state("two are answered", |state| state.claims().count() == 1)
        .await;
    let state = network.state();
    let (left, _) = state.claims().next().unwrap();
    assert_eq!(*left, missing.body.assignment);
    let fee = state.parameters().fee_min;
    let gained = [before, deposit, deposit].into_iter().sum::<Amount>();
    let fees = Amount::from_units(2 * fee.units());
    assert_eq!(state.account(&key(FEES)).free, gained.minus(fees).unwrap());

    up_to(&network, 4, 4).await;
    assert!(network.state().node(&named(A)).unwrap().jailed.is_none());
    up_to(&network, 5, 5).await;
    let state = network.state();
    assert_eq!(state.claims().count(), 0);
    assert!(state.node(&named(A)).unwrap().jailed.is_some());
    // Once it is owed, it is written down: too late for it to be paid that way too.
    network.a.write(&[
        Entry::Receipt(Box::new(missing.clone())),
        verdict(&missing, Decision::Accepted),
    ]);
    up_to(&network, 6, 7).await;
    let (all, _) = network.agreed().await;
    let charged: Vec<_> = all.iter().map(|one| spent(&one.said, named(A))).collect();
    let expected = [100, 0, 1, 1, 0, 20, 0].map(Amount::tokens);
    assert_eq!(charged, expected);
    network.registry.stop().await;
}

/// Nobody answers at either address any more, and no epoch is ever closed again.
#[tokio::test(flavor = "multi_thread")]
async fn coordinators_that_are_gone_pay_without_any_log() {
    let mut network = Network::new(Amount::tokens(100)).await;
    let (drawn, receipt) = network.b.task(1, 0, MINER, 40);
    network.at_a.hide().await;
    network.at_b.hide().await;
    network.epoch(4).await;
    done(&network.registry, 1, late(B, &drawn, &receipt)).await;
    // An epoch to answer, and then the one with which it is settled, in which others may be closed.
    network.epoch(5).await;
    network.epoch(6).await;
    // Nobody knows whose fault it is.
    assert!(network.state().node(&named(B)).unwrap().jailed.is_none());
    network.epoch(7).await;
    network.epoch(8).await;
    network.settled(7).await;
    let (all, _) = network.agreed().await;
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].said.epoch, 6);
    assert_eq!(spent(&all[0].said, named(B)), Amount::tokens(40));
    assert_eq!(spent(&all[0].said, named(A)), Amount::ZERO);
    // All again from the registry's log.
    let network = network.restart(true, |_| {}).await;
    network.agreed().await;
    network.registry.stop().await;
}
