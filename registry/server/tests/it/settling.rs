//! Epochs are closed and settled by a registry's checker, and anyone comes to the same: also after
//! what can go wrong.

use adit_ledger::rewards::{RewardTree, Settlement};
use adit_ledger::transaction::Attestation;
use adit_ledger::{Action, Key, Transaction};
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::signed::Signable as _;
use adit_protocol::{Amount, Code, Document as _};
use adit_registry::Running;
use adit_registry::engine::SubmitError;
use adit_registry::settling::audit::AuditError;
use adit_registry::settling::logs::LogsError;
use rand_core::OsRng;

use super::coordinator::{Written, named, verdict};
use super::network::*;
use super::refused;
use super::support::*;

/// Enough for all fees of a test.
const MUCH: u64 = 100;

fn charges(settlement: &Settlement) -> Vec<(Key, u64)> {
    let tokens = |amount: Amount| u64::try_from(amount.units() / 1_000_000_000_000).unwrap();
    (settlement.charges.iter())
        .map(|charge| (charge.node, tokens(charge.spent)))
        .collect()
}

/// What is expected of both coordinators, in the order of a settlement.
fn both(of_a: u64, of_b: u64) -> Vec<(Key, u64)> {
    let mut all = vec![(named(A), of_a), (named(B), of_b)];
    all.retain(|(_, spent)| *spent > 0);
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_are_closed_settled_and_claimed() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    network.a.work(2, 0, MINER, 50);
    // Refused: nothing is due. And one that nobody judges.
    let (drawn, receipt) = network.a.task(3, 0, MINER, 500);
    let refuses = verdict(&receipt, Decision::RefusedByValidator);
    network
        .a
        .write(&[drawn, Entry::Receipt(Box::new(receipt)), refuses]);
    let (drawn, unjudged) = network.b.task(1, 0, MINER, 30);
    network
        .b
        .write(&[drawn, Entry::Receipt(Box::new(unjudged))]);
    network.epoch(1).await;
    network.settled(1).await;
    // Drawn in an epoch and judged in the next.
    let (drawn, receipt) = network.a.task(4, 1, MINER, 20);
    network
        .a
        .write(&[drawn, Entry::Receipt(Box::new(receipt.clone()))]);
    network.epoch(2).await;
    network.settled(2).await;
    network.a.write(&[verdict(&receipt, Decision::Accepted)]);
    network.epoch(3).await;
    network.settled(3).await;

    let (all, auditor) = network.agreed().await;
    let spent: Vec<_> = all.iter().map(|one| charges(&one.said)).collect();
    assert_eq!(spent, [both(150, 0), both(0, 30), both(20, 0)]);
    let first = &all[0].said;
    // 5 of 100 are burned, and 5 of 100 of the emission of 10,000 are the treasury's.
    assert_eq!(first.burned(), Amount::from_units(7_500_000_000_000));
    assert_eq!(first.treasury, Amount::tokens(500));
    // More than the payments: emission, which is bounded by the fees, see the settlement.
    let payments = Amount::from_units(142_500_000_000_000);
    assert!(first.paid > payments && first.minted > first.treasury);
    assert_eq!(network.head().treasury, Amount::tokens(1_500));

    // The first settlement was handed in in epoch 1 and counts from epoch 3 on. All is account 1's.
    let path = format!("/v1/accounts/{}/rewards", key(1));
    let answer = get(&network.registry, &path).await.unwrap();
    let tree = &all[0].found.kept.tree;
    let (earned, proof) = tree.prove(&key(1)).unwrap();
    assert_eq!(earned.total, first.paid);
    assert_eq!(answer["epoch"], 0);
    assert_eq!(answer["earned"], earned.total.units().to_string());
    assert_eq!(answer["claimable"], answer["earned"]);
    let everything = auditor.earned()[0].total;
    let pending = everything.minus(earned.total).unwrap();
    assert_eq!(answer["pending"], pending.units().to_string());
    assert_eq!(answer["pending_from_epoch"], 5);
    assert_eq!(answer["proof"], serde_json::to_value(&proof).unwrap());
    let before = network.state().account(&key(1));
    let claim = Action::Claim {
        total: earned.total,
        index: proof.index,
        proof: proof.proof,
    };
    done(&network.registry, 1, claim.clone()).await;
    let after = network.state().account(&key(1));
    let fee = ledger().parameters.fee_min;
    let gained = after.free.plus(fee).unwrap().minus(before.free);
    assert_eq!((gained, after.claimed), (Some(earned.total), earned.total));
    let again = body(&network.registry, 1, claim).await;
    refused(post(&network.registry, &again).await);
    let answer = get(&network.registry, &path).await.unwrap();
    assert_eq!(answer["claimable"], "0");
    assert_eq!(answer["claimed"], earned.total.units().to_string());
    network.agreed().await;

    let all = get(&network.registry, "/v1/rewards").await.unwrap();
    assert_eq!((&all["epoch"], &all["next"]), (&3.into(), &3.into()));
    let listed = all["settlements"].as_array().unwrap();
    let listed: Vec<_> = (listed.iter())
        .map(|one| (one["epoch"].as_u64().unwrap(), one["counts"] == true))
        .collect();
    assert_eq!(listed, [(2, false), (1, false), (0, true)]);
    let miner = format!("/v1/nodes/{}/rewards", key(MINER));
    let miner = get(&network.registry, &miner).await.unwrap();
    let paid = |at: usize| miner["epochs"][at]["receipts"]["paid"].clone();
    assert_eq!((paid(0), paid(1), paid(2)), (1.into(), 1.into(), 2.into()));
    let unpaid = &miner["epochs"][2]["receipts"]["unpaid"];
    assert_eq!(*unpaid, serde_json::json!({"not-accepted": 1}));
    let coordinator = format!("/v1/nodes/{}/rewards", named(B));
    let coordinator = get(&network.registry, &coordinator).await.unwrap();
    assert_eq!(coordinator["epochs"][1]["spent"], "30000000000000");
    network.registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_reached_is_settled_an_epoch_later() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    network.b.work(1, 0, MINER, 40);
    network.at_b.hide().await;
    network.epoch(1).await;
    // B may come back as long as epoch 1 is not over.
    network
        .until_state("A is closed", |state| state.closing(&named(A), 0).is_some())
        .await;
    network.not_settled(0).await;
    assert!(network.state().closing(&named(B), 0).is_none());
    network.a.work(2, 1, MINER, 7);
    network.epoch(2).await;
    network.settled(1).await;
    network.b.work(2, 1, MINER, 3);
    network.at_b.show(&network.b.folder()).await;
    network.settled(2).await;
    // What B did in epoch 0 is in its first leaves, which are of its first closing.
    let closing = *network.state().closing(&named(B), 1).unwrap();
    assert_eq!((closing.first, closing.size), (0, 6));
    let (all, _) = network.agreed().await;
    let spent: Vec<_> = all.iter().map(|one| charges(&one.said)).collect();
    assert_eq!(spent, [both(100, 0), both(7, 43)]);
    network.registry.stop().await;
}

/// Otherwise epochs as short as those of tests are missed, and with two in a row what was earned.
#[tokio::test(flavor = "multi_thread")]
async fn who_could_not_be_reached_is_asked_at_once_in_the_next_epoch() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.b.work(1, 0, MINER, 40);
    network.at_b.hide().await;
    network.clock.set_ms(BEGIN_MS + 2 * EPOCH_MS - 500);
    // Unlike `until_state`, time stands still.
    let closed = async |network: &Network, node: u8, epoch: u64| {
        for _ in 0..400 {
            if network.state().closing(&named(node), epoch).is_some() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(40)).await;
        }
        panic!("not within 16 seconds");
    };
    closed(&network, A, 0).await;
    // Both are asked in the same look.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(network.state().closing(&named(B), 0).is_none());
    network.at_b.show(&network.b.folder()).await;
    network.clock.set_ms(BEGIN_MS + 2 * EPOCH_MS);
    closed(&network, B, 1).await;
    network.settled(2).await;
    let (all, _) = network.agreed().await;
    assert_eq!(charges(&all[1].said), both(0, 40));
    network.registry.stop().await;
}

/// A log goes on after an epoch's end, and is closed when the checker comes by: what was drawn in the
/// next epoch by then is paid in that one, of what is in escrow at its end.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_between_an_epochs_end_and_its_closing_is_paid() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    network.at_a.hide().await;
    network.epoch(1).await;
    network.a.work(2, 1, MINER, 10);
    let (drawn, receipt) = network.a.task(3, 1, MINER, 5);
    network
        .a
        .write(&[drawn, Entry::Receipt(Box::new(receipt.clone()))]);
    network.at_a.show(&network.a.folder()).await;
    network.settled(1).await;
    assert_eq!(network.state().closing(&named(A), 0).unwrap().size, 8);
    network.a.write(&[verdict(&receipt, Decision::Accepted)]);
    network.epoch(2).await;
    network.settled(2).await;
    let (all, _) = network.agreed().await;
    let spent: Vec<_> = all.iter().map(|one| charges(&one.said)).collect();
    assert_eq!(spent, [both(100, 0), both(15, 0)]);
    network.registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_it_was_handed_in_two_epochs_behind() {
    // Two closings, of two coordinators each, and no settlement.
    let fees = Amount::from_units(4 * 10_000_000_000);
    let mut network = Network::new(fees).await;
    network.a.work(1, 0, MINER, 100);
    network.epoch(1).await;
    for _ in 0..200 {
        if network.rewards().join("earned-0").exists() {
            break;
        }
        // Two closings are paid for first.
        tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    }
    // With two fees left it could be handed in; so it is counted after that.
    network.settled(1).await;
    network.a.work(2, 1, MINER, 10);
    network.epoch(2).await;
    // One fee is left: of two closings one is taken.
    network.not_settled(1).await;
    network = network.restart(false, |_| {}).await;
    network.pay(FEES, Amount::from_units(10_000_000_000)).await;
    // Both are closed, nothing is left for the settlement, which is kept already.
    for _ in 0..400 {
        if network.rewards().join("earned-1").exists() {
            break;
        }
        network.clock.advance_ms(20);
        tokio::time::sleep(std::time::Duration::from_millis(40)).await;
    }
    let kept = |name: &str| std::fs::read(network.rewards().join(name)).unwrap();
    let before = (kept("earned-1"), kept("output-1"));
    assert_eq!(network.head().settled, 1);
    let mut network = network.restart(false, |_| {}).await;
    network.a.work(3, 2, MINER, 1);
    network.epoch(3).await;
    network.not_settled(1).await;
    // Closed in time, settled later: two epochs at once.
    network.pay(FEES, Amount::tokens(MUCH)).await;
    network.settled(3).await;
    let kept = |name: &str| std::fs::read(network.rewards().join(name)).unwrap();
    assert_eq!((kept("earned-1"), kept("output-1")), before);
    let (all, _) = network.agreed().await;
    let spent: Vec<_> = all.iter().map(|one| charges(&one.said)).collect();
    assert_eq!(spent, [both(100, 0), both(10, 0), both(1, 0)]);
    network.a.work(4, 3, MINER, 2);
    network.registry.stop().await;
}

/// One that leaves is not waited for. If it is closed in the moment in which the epoch is settled, it
/// is settled with it, and otherwise in the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_leaves_is_settled_or_waits() {
    let mut network = Network::new(Amount::from_units(10_000_000_000)).await;
    network.a.work(1, 0, MINER, 100);
    network.b.work(1, 0, MINER, 40);
    // One fee: the first by its key is closed, the other leaves.
    let (first, second) = match named(A) < named(B) {
        true => (named(A), named(B)),
        false => (named(B), named(A)),
    };
    let leave = Action::Deregister { node: second };
    done(&network.registry, 1, leave).await;
    network.epoch(1).await;
    network
        .until_state("one is closed", |state| state.closing(&first, 0).is_some())
        .await;
    assert!(network.state().closing(&second, 0).is_none());
    let (to, amount) = (key(FEES), Amount::tokens(MUCH));
    let pays = body(&network.registry, 1, Action::Transfer { to, amount }).await;
    network.clock.advance_ms(3_000);
    post(&network.registry, &pays).await.unwrap();
    network.settled(1).await;
    network.epoch(2).await;
    network.settled(2).await;
    let (all, _) = network.agreed().await;
    let spent: u64 = (all.iter().flat_map(|one| charges(&one.said)))
        .map(|(_, spent)| spent)
        .sum();
    assert_eq!(spent, 140);
    network.registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_was_away_for_epochs_goes_on() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    network.epoch(1).await;
    network.settled(1).await;
    network.a.work(2, 1, MINER, 10);
    network.clock.set_ms(BEGIN_MS + 5 * EPOCH_MS);
    // Coordinators go on without it.
    network.a.work(3, 4, MINER, 1);
    let network = network.restart(true, |_| {}).await;
    assert_eq!(network.head().epoch, 5);
    // Of the epochs between none can be closed but the last.
    network.settled(5).await;
    let (all, _) = network.agreed().await;
    assert_eq!(all[1].said.epoch, 4);
    // The draw of epoch 1 is too long ago.
    assert_eq!(charges(&all[1].said), both(1, 0));
    // Also from the log alone.
    let network = network.restart(true, |_| {}).await;
    network.epoch(6).await;
    network.settled(6).await;
    network.agreed().await;
    network.registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_earned_is_computed_again_if_it_is_lost() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    for epoch in 0..3 {
        network.a.work(epoch, epoch, MINER, 10 + epoch);
        network.b.work(epoch, epoch, MINER, 20);
        network.epoch(epoch + 1).await;
        network.settled(epoch + 1).await;
    }
    let kept = |network: &Network, name: &str| std::fs::read(network.rewards().join(name)).unwrap();
    let before: Vec<_> = ["earned-0", "output-1", "earned-2"]
        .map(|name| kept(&network, name))
        .into();
    let rewards = network.rewards();
    // A registry that settles nothing cannot prove anything, and says so.
    let network = network
        .restart(true, |options| options.settler = None)
        .await;
    std::fs::remove_dir_all(&rewards).unwrap();
    let path = format!("/v1/accounts/{}/rewards", key(1));
    let network = network
        .restart(true, |options| options.settler = None)
        .await;
    let error = get(&network.registry, &path).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(
        format!("{error:?}").contains("adit audit rewards"),
        "{error:?}"
    );
    let mut network = network.restart(true, |_| {}).await;
    network.a.work(3, 3, MINER, 1);
    network.epoch(4).await;
    network.settled(4).await;
    network.agreed().await;
    let after: Vec<_> = ["earned-0", "output-1", "earned-2"]
        .map(|name| kept(&network, name))
        .into();
    assert_eq!(after, before);
    let answer = get(&network.registry, &path).await.unwrap();
    assert_eq!(answer["epoch"], 1);

    // A file that is damaged is as good as none.
    let file = network.rewards().join("earned-3");
    let mut network = network
        .restart(true, |options| options.settler = None)
        .await;
    let intact = std::fs::read(&file).unwrap();
    std::fs::write(&file, &intact[..47]).unwrap();
    assert_eq!(refused(get(&network.registry, &path).await), Code::NotFound);
    let node = format!("/v1/nodes/{}/rewards", key(MINER));
    let node = get(&network.registry, &node).await.unwrap();
    assert_eq!(node["epochs"][0]["epoch"], 2);
    let mut bytes = intact.clone();
    bytes[40] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(refused(get(&network.registry, &path).await), Code::NotFound);
    network.a.work(4, 4, MINER, 1);
    let network = network.restart(true, |_| {}).await;
    network.epoch(5).await;
    network.settled(5).await;
    assert_eq!(std::fs::read(&file).unwrap(), intact);
    network.agreed().await;
    network.registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_finds_what_a_dishonest_checker_signed() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    network.epoch(1).await;
    network.settled(1).await;
    let (all, _) = network.agreed().await;
    let honest = all[0].said.clone();
    // One amount more for the only account that earned anything; the ledger sees the root alone.
    let mut earned = all[0].found.kept.tree.earned().to_vec();
    earned[0].total = earned[0].total.plus(Amount::from_units(1)).unwrap();
    let mut lie = honest.clone();
    lie.earned = RewardTree::new(earned).root();
    lie.replaces = Some(honest.hash());
    submit(&network, &lie).await.unwrap();
    let (all, _) = network.audit(network.folders()).await.unwrap();
    assert_eq!(
        (all.len(), all[0].agrees(), all[1].agrees()),
        (2, true, false)
    );
    assert_ne!(all[1].said.hash(), all[1].found.settlement.hash());
    assert_eq!(all[1].found.settlement.earned, honest.earned);
    // Sums that differ are found as well.
    let mut less = honest.clone();
    less.replaces = Some(lie.hash());
    less.treasury = less.treasury.minus(Amount::tokens(1)).unwrap();
    less.minted = less.minted.minus(Amount::tokens(1)).unwrap();
    submit(&network, &less).await.unwrap();
    // A quorum puts it right, by what the auditor found.
    let (all, _) = network.audit(network.folders()).await.unwrap();
    assert!(!all[2].agrees());
    let mut right = all[2].found.settlement.clone();
    right.replaces = Some(less.hash());
    submit(&network, &right).await.unwrap();
    let (all, _) = network.audit(network.folders()).await.unwrap();
    let agree: Vec<_> = all.iter().map(|one| one.agrees()).collect();
    assert_eq!(agree, [true, false, false, true]);
    assert_eq!(network.head().treasury, Amount::tokens(500));
    // And all goes on.
    network.a.work(2, 1, MINER, 5);
    network.epoch(2).await;
    network.settled(2).await;
    let (all, _) = network.audit(network.folders()).await.unwrap();
    assert!(all[4].agrees());
    network.registry.stop().await;
}

/// A settlement with one amount more for the only account, whose root nobody else knows, in place of
/// the first one.
async fn lie(network: &Network) -> Settlement {
    let (all, _) = network.agreed().await;
    let mut earned = all[0].found.kept.tree.earned().to_vec();
    earned[0].total = earned[0].total.plus(Amount::from_units(1)).unwrap();
    let mut lie = all[0].said.clone();
    lie.earned = RewardTree::new(earned).root();
    lie.replaces = Some(all[0].said.hash());
    submit(network, &lie).await.unwrap();
    lie
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checker_corrects_what_does_not_count_yet() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    network.epoch(1).await;
    network.settled(1).await;
    let lie = lie(&network).await;
    network.a.work(2, 1, MINER, 5);
    network.epoch(2).await;
    network.settled(2).await;
    let (all, _) = network.audit(network.folders()).await.unwrap();
    let agree: Vec<_> = all.iter().map(|one| one.agrees()).collect();
    assert_eq!(agree, [true, false, true, true]);
    let corrected = &all[2].said;
    assert_eq!((corrected.epoch, corrected.replaces), (0, Some(lie.hash())));
    network.registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checker_goes_on_from_the_logs_where_a_lie_counts() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    network.epoch(1).await;
    network.settled(1).await;
    lie(&network).await;
    let network = network
        .restart(true, |options| options.settler = None)
        .await;
    network.epoch(2).await;
    network.epoch(3).await;
    // What counts cannot be proven: its tree is the liar's secret.
    let path = format!("/v1/accounts/{}/rewards", key(1));
    let error = get(&network.registry, &path).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(
        format!("{error:?}").contains("adit audit rewards"),
        "{error:?}"
    );
    let mut network = network.restart(true, |_| {}).await;
    network.a.work(2, 2, MINER, 5);
    network.settled(3).await;
    let (all, auditor) = network.audit(network.folders()).await.unwrap();
    let agree: Vec<_> = all.iter().map(|one| one.agrees()).collect();
    assert_eq!(agree, [true, false, true]);
    // The next root takes its place, with all that was earned and no unit more.
    network.epoch(4).await;
    network.epoch(5).await;
    network.settled(5).await;
    let answer = get(&network.registry, &path).await.unwrap();
    let earned = auditor.earned()[0].total.units().to_string();
    assert_eq!(
        (&answer["epoch"], &answer["earned"]),
        (&2.into(), &earned.into())
    );
    network.registry.stop().await;
}

async fn submit(network: &Network, settlement: &Settlement) -> Result<(), SubmitError> {
    let signed = settlement.sign(&keypair(CHECKER), &mut OsRng);
    let attestation = Attestation {
        checker: key(CHECKER),
        signature: *signed.signature(),
    };
    let head = network.head();
    let transaction = Transaction {
        genesis: genesis().hash(),
        account: key(1),
        number: network.state().account(&key(1)).number,
        fee: ledger().parameters.fee_min,
        expires_ms: head.time_ms + 60_000,
        action: Action::Settle {
            settlement: Box::new(settlement.clone()),
            attestations: vec![attestation],
        },
    };
    let verified = transaction.sign(&keypair(1), &mut OsRng).verify().unwrap();
    network.registry.handle().submit(verified).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_another_history_or_a_shorter_one_is_found() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    network.b.work(1, 0, MINER, 40);
    network.epoch(1).await;
    network.settled(1).await;
    // Signed by the same key, as long, and more generous to the coordinator.
    let mut other = Written::new(A);
    other.work(1, 0, MINER, 1);
    assert_eq!(other.size(), network.a.size());
    let mut folders = network.folders();
    folders.0.insert(key(A), (other.folder(), key(A + 1)));
    let found = network.audit(folders.clone()).await;
    assert!(
        matches!(&found, Err(AuditError::Logs(LogsError::Root { coordinator, size: 3, .. })) if *coordinator == named(A)),
        "{:?}",
        found.err()
    );
    let short = Written::new(A);
    folders.0.insert(key(A), (short.folder(), key(A + 1)));
    let found = network.audit(folders.clone()).await;
    assert!(
        matches!(
            &found,
            Err(AuditError::Logs(LogsError::Short {
                epoch: 0,
                expected: 3,
                found: 0,
                ..
            }))
        ),
        "{:?}",
        found.err()
    );
    // By another key, it is not even read.
    folders.0.insert(key(A), (network.b.folder(), key(B + 1)));
    let found = network.audit(folders).await;
    assert!(
        matches!(&found, Err(AuditError::Logs(LogsError::Read { .. }))),
        "{:?}",
        found.err()
    );

    // The checker does not follow it either, and settles the others a little later.
    other.work(2, 1, MINER, 1);
    other.work(3, 1, MINER, 1);
    network.at_a.show(&other.folder()).await;
    network.b.work(2, 1, MINER, 30);
    network.epoch(2).await;
    network.not_settled(1).await;
    assert!(network.state().closing(&named(A), 1).is_none());
    network.epoch(3).await;
    network.settled(2).await;
    // Its own history again: nothing of that is lost.
    network.a.work(2, 2, MINER, 9);
    network.at_a.show(&network.a.folder()).await;
    network.settled(3).await;
    let (all, _) = network.agreed().await;
    let spent: Vec<_> = all.iter().map(|one| charges(&one.said)).collect();
    assert_eq!(spent, [both(100, 40), both(0, 30), both(9, 0)]);
    network.registry.stop().await;
}

/// Once the ledger has forgotten the keys of a log, its copy can still be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_changes_its_keys_leaves_nothing_unsettled() {
    use adit_ledger::registration::Possession;
    const NEW: u8 = 140;
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    let keys = super::coordinator::keys(NEW);
    let possession = Possession {
        genesis: genesis().hash(),
        operator: key(1),
        keys,
    };
    let rotate = Action::RotateKey {
        node: named(A),
        keys,
        proof: possession.sign(&keypair(NEW), &mut OsRng),
    };
    done(&network.registry, 1, rotate).await;
    network.epoch(1).await;
    network.settled(1).await;
    let mut new = Written::new(NEW);
    new.work(1, 1, MINER, 8);
    network.at_a.show(&new.folder()).await;
    network.epoch(2).await;
    network.settled(2).await;
    // All again from the copies, without what was kept and with no server of the former log.
    let rewards = network.rewards();
    let network = network
        .restart(true, |options| options.settler = None)
        .await;
    std::fs::remove_dir_all(rewards).unwrap();
    let network = network.restart(true, |_| {}).await;
    new.work(2, 2, MINER, 4);
    network.epoch(3).await;
    network.settled(3).await;
    let mut folders = network.folders();
    folders.0.insert(key(NEW), (new.folder(), key(NEW + 1)));
    let (all, _) = network.audit(folders).await.unwrap();
    assert!(all.iter().all(|one| one.agrees()));
    let spent: Vec<_> = all.iter().map(|one| charges(&one.said)).collect();
    assert_eq!(spent, [both(100, 0), both(8, 0), both(4, 0)]);
    network.registry.stop().await;
}

/// What is not settled yet is found in the logs: how many receipts, and what they bring.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_to_come_is_in_the_logs() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    let (drawn, refused) = network.a.task(2, 0, MINER, 50);
    let refuses = verdict(&refused, Decision::Outvoted);
    let refused = Entry::Receipt(Box::new(refused));
    network.a.write(&[drawn, refused, refuses]);
    let (drawn, waiting) = network.b.task(1, 0, MINER, 30);
    network
        .b
        .write(&[drawn, Entry::Receipt(Box::new(waiting.clone()))]);
    // Accepted or not, by what was decided, and what it brings.
    let expected = [
        (true, Some(Decision::Accepted), 95_000_000_000_000),
        (false, Some(Decision::Outvoted), 0),
        (true, None, 28_500_000_000_000),
    ];
    assert_eq!(network.open().await, expected);
    network.epoch(1).await;
    network.settled(1).await;
    // Nobody had judged it by then: it is paid in the next epoch, and decided now.
    network.b.write(&[verdict(&waiting, Decision::Accepted)]);
    network.a.work(3, 1, MINER, 10);
    let expected = [
        (true, Some(Decision::Accepted), 9_500_000_000_000),
        (true, Some(Decision::Accepted), 28_500_000_000_000),
    ];
    assert_eq!(network.open().await, expected);
    network.epoch(2).await;
    network.settled(2).await;
    assert_eq!(network.open().await, []);
    let (all, _) = network.agreed().await;
    assert_eq!(charges(&all[1].said), both(10, 30));
    network.registry.stop().await;
}

/// The status and the body of an answer, to a path that no client has tidied up.
async fn raw(registry: &Running, path: &str) -> (u16, Vec<u8>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let url = registry.url();
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer[end + 4..].to_vec())
}

/// Nothing but the files of copies is served, whatever is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn copies_of_logs_are_served_by_their_names_alone() {
    let mut network = Network::new(Amount::tokens(MUCH)).await;
    network.a.work(1, 0, MINER, 100);
    network.epoch(1).await;
    network.settled(1).await;
    let path = |file: &str| format!("/v1/mirrors/{}/{file}", named(A));
    let raw = async |path: &str| raw(&network.registry, path).await;
    for file in ["checkpoint", "tile/entries/000.p/3", "tile/0/000.p/3"] {
        let own = std::fs::read(network.a.folder().join(file)).unwrap();
        assert_eq!(raw(&path(file)).await, (200, own), "{file}");
    }
    for other in [
        path("cosigned"),
        path("lock"),
        path("tile/0/000.p/4"),
        path("tile/../checkpoint"),
        path("tile/%2e%2e/checkpoint"),
        format!("/v1/mirrors/{}/checkpoint", key(MINER)),
        "/v1/mirrors/../checkpoint".to_owned(),
        "/v1/mirrors/%2e%2e%2flog/checkpoint".to_owned(),
        "/v1/mirrors/..%2flog/checkpoint".to_owned(),
        "/v1/mirrors".to_owned(),
    ] {
        assert_eq!(raw(&other).await.0, 404, "{other}");
    }
    network.registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rewards_are_asked_for_by_address() {
    let folder = tempfile::tempdir().unwrap();
    let clock = adit_net::ManualClock::at_ms(BEGIN_MS + 1);
    let registry = start(folder.path(), &clock).await.unwrap();
    let all = get(&registry, "/v1/rewards").await.unwrap();
    assert_eq!(
        (&all["next"], &all["settlements"]),
        (&0.into(), &serde_json::json!([]))
    );
    // Nothing is settled: nothing was earned, and that needs no proof.
    let path = format!("/v1/accounts/{}/rewards", key(1));
    let none = get(&registry, &path).await.unwrap();
    assert_eq!(
        (&none["earned"], &none["claimable"]),
        (&"0".into(), &"0".into())
    );
    assert!(none["proof"].is_null() && none["epoch"].is_null());
    let own = key(1).to_string();
    let mut altered = own.clone();
    altered.pop();
    for bad in [
        "nobody",
        "0x00",
        "%00",
        &altered,
        &format!("{own}1"),
        &"1".repeat(5_000),
    ] {
        for path in ["accounts", "nodes"] {
            let path = format!("/v1/{path}/{bad}/rewards");
            assert_eq!(refused(get(&registry, &path).await), Code::BadKey, "{path}");
        }
    }
    let path = format!("/v1/nodes/{}/rewards", key(1));
    let error = get(&registry, &path).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(format!("{error:?}").contains("adit register"), "{error:?}");
    done(
        &registry,
        1,
        Action::Stake {
            amount: Amount::tokens(20_000),
        },
    )
    .await;
    done(
        &registry,
        1,
        register(adit_ledger::registration::Role::Miner, MINER, 20_000, None),
    )
    .await;
    let path = format!("/v1/nodes/{}/rewards", key(MINER));
    let node = get(&registry, &path).await.unwrap();
    assert_eq!(node["epochs"], serde_json::json!([]));
    registry.stop().await;
}
