//! What a registry's checker finds in its copies of logs, it reports by itself, and once.

use adit_ledger::slashing::Misdeed;
use adit_protocol::Amount;
use adit_protocol::network::entry::{Decision, Entry};
use rand_core::OsRng;

use super::coordinator::{Written, named, verdict};
use super::network::*;
use super::support::*;

/// Enough for all fees of a test.
const MUCH: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn two_receipts_in_two_logs_are_reported_once() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    // The miner's first receipt is in the log of A, after one that nobody signed for it; the second is
    // in the log of B.
    let (drawn, receipt) = network.a.task(1, 0, MINER, 100);
    let mut body = receipt.body.clone();
    body.fuel += 1;
    let forged = body.sign(&keypair(MINER + 1), &mut OsRng);
    body.fuel += 1;
    let second = body.sign(&keypair(MINER), &mut OsRng);
    let entry = |receipt| Entry::Receipt(Box::new(receipt));
    let judged = verdict(&receipt, Decision::Accepted);
    network
        .a
        .write(&[drawn, entry(forged), entry(receipt), judged]);
    network.b.write(&[entry(second)]);
    network.epoch(1).await;
    network
        .until_state("the miner is punished", |state| {
            let miner = state.node(&key(MINER)).unwrap();
            miner
                .jailed
                .is_some_and(|jailed| jailed.misdeed == Misdeed::Equivocation)
        })
        .await;
    network.settled(1).await;
    let stake = |network: &Network| network.state().node(&key(MINER)).unwrap().stake;
    let third = Amount::tokens(20_000).units() * 333_333 / 1_000_000;
    let left = Amount::from_units(Amount::tokens(20_000).units() - third);
    assert_eq!(stake(&network), left);
    let path = format!("/v1/nodes/{}/misdeeds", key(MINER));
    let answer = get(&network.registry, &path).await.unwrap();
    assert_eq!(answer["items"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(answer["items"][0]["misdeed"], "equivocation");
    assert_eq!(answer["items"][0]["stage"], "punished");
    assert_eq!(answer["more"], false);
    let id = answer["items"][0]["report"].as_str().unwrap();
    let report = get(&network.registry, &format!("/v1/reports/{id}")).await;
    assert_eq!(report.unwrap()["reporter"], key(FEES).to_string());
    assert_eq!(
        get(&network.registry, "/v1/reports").await.unwrap()["items"],
        serde_json::json!([])
    );

    // Found again after a start, it is known.
    let fees = network.state().account(&key(FEES)).number;
    let network = network.restart(true, |_| {}).await;
    network.epoch(2).await;
    network.settled(2).await;
    // Two logs were closed, and an epoch settled.
    assert_eq!(network.state().account(&key(FEES)).number, fees + 3);
    assert_eq!(stake(&network), left);
    network.registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_two_histories_is_reported_where_the_ledger_takes_it_and_kept_anyway() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    network.b.work(1, 0, MINER, 100);
    network.epoch(1).await;
    network.settled(1).await;
    // A shows as many other entries, B more.
    let (mut a, mut b) = (Written::new(A), Written::new(B));
    a.work(2, 0, MINER, 5);
    b.work(2, 0, MINER, 5);
    b.work(3, 0, MINER, 5);
    network.at_a.show(&a.folder()).await;
    network.at_b.show(&b.folder()).await;
    network.epoch(2).await;
    network
        .until_state("A is punished", |state| {
            let node = state.node(&named(A)).unwrap();
            node.jailed
                .is_some_and(|jailed| jailed.misdeed == Misdeed::LogFork)
        })
        .await;
    let forks = network.folder.path().join("forks");
    let both = |forks: &std::path::Path| {
        let logs = std::fs::read_dir(forks).into_iter().flatten().flatten();
        let pairs = logs.flat_map(|log| std::fs::read_dir(log.path()).unwrap().flatten());
        pairs
            .filter(|pair| pair.path().join("new").exists())
            .count()
    };
    network
        .until_state("both are kept", |_| both(&forks) == 2)
        .await;
    assert!(network.state().node(&named(B)).unwrap().jailed.is_none());
    network.registry.stop().await;
}
