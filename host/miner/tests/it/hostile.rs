//! Coordinators that lie, contradict themselves, or are not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use adit_miner::transport::ApiError;
use adit_protocol::network::exchange::BATCH_MAX;
use adit_protocol::{Code, Hash};

use crate::support::{Net, is_chain, key, now_ms, until};

async fn idle(miner: &adit_miner::Handle) -> Option<(Code, String)> {
    let status = miner.status().await;
    let idle = status.coordinators[0].idle.clone()?;
    Some((idle.code, idle.detail))
}

async fn until_idle(miner: &adit_miner::Handle, code: Code) -> String {
    for _ in 0..1000 {
        match idle(miner).await {
            Some((found, detail)) if found == code => return detail,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{:?} and never {code}", idle(miner).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_assignment_again_and_again_is_run_once() {
    let net = Net::new();
    let fake = net.fake();
    let twice = fake.order(1, &[]);
    for _ in 0..3 {
        fake.give(&twice);
    }
    // And within one answer, and after it was done.
    fake.state().on_poll = Some(Box::new({
        let again = twice.work(&fake.key);
        move |_, answer| {
            if !answer.work.is_empty() {
                answer.work.push(again.clone());
            }
            Ok(())
        }
    }));
    let (miner, executor) = net.start();
    until("it is done", || !fake.state().receipts.is_empty()).await;
    for number in 2..20 {
        fake.give(&fake.order(number, &[]));
    }
    until("the others are", || fake.state().receipts.len() == 19).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(executor.runs(), 19);
    is_chain(&fake.state().receipts);
    assert_eq!(fake.state().receipts.len(), 19);
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_is_not_the_coordinators_or_does_not_fit_never_runs() {
    let net = Net::new();
    let fake = net.fake();
    let (miner, executor) = net.start();
    let other = key("somebody");
    let mut bad = Vec::new();
    let mut number = 0;
    let mut order = || {
        number += 1;
        fake.order(number, &[])
    };
    bad.push(("signature", order().work(&other)));
    let mut one = order();
    one.assignment.miner = other.public().to_bytes();
    bad.push(("other-miner", one.work(&fake.key)));
    let mut one = order();
    one.assignment.coordinator = other.public().to_bytes();
    bad.push(("other-coordinator", one.work(&other)));
    let mut one = order();
    one.task.coordinator = other.public().to_bytes();
    bad.push(("other-coordinator", one.work(&fake.key)));
    let mut one = order();
    one.assignment.genesis = Hash::of(b"elsewhere");
    bad.push(("other-network", one.work(&fake.key)));
    let mut one = order();
    one.task.genesis = Hash::of(b"elsewhere");
    bad.push(("other-network", one.work(&fake.key)));
    let mut one = order();
    one.assignment.issued_ms = now_ms() - 5000;
    one.assignment.deadline_ms = now_ms() - 1000;
    bad.push(("expired", one.work(&fake.key)));
    let mut one = order();
    one.assignment.deadline_ms = now_ms() + (40 << 30);
    bad.push(("times", one.work(&fake.key)));
    let mut one = order();
    one.assignment.issued_ms = now_ms() + 3_600_000;
    one.assignment.deadline_ms = now_ms() + 7_200_000;
    bad.push(("times", one.work(&fake.key)));
    let mut one = order();
    one.exec.engine = Hash::of(b"another engine");
    bad.push(("other-engine", one.work(&fake.key)));
    let mut one = order();
    one.task.requirements.device = adit_protocol::task::DeviceClass::Gpu;
    bad.push(("no-device", one.work(&fake.key)));
    let (good, mut one) = (order().work(&fake.key), order().work(&fake.key));
    one.task = good.task.clone();
    bad.push(("other-task", one));
    let mut one = order().work(&fake.key);
    one.exec = good.exec.clone();
    bad.push(("other-exec", one));
    let mut one = order();
    one.exec.args = vec!["\0".to_owned()];
    bad.push(("malformed", one.work(&fake.key)));
    let count = bad.len();
    let reasons: Vec<&str> = bad.iter().map(|(reason, _)| *reason).collect();
    let given = bad.into_iter().map(|(_, work)| work).collect::<Vec<_>>();
    fake.state().on_poll = Some(Box::new(move |_, answer| {
        answer.work = given.clone();
        Ok(())
    }));
    fake.wake();
    until("all were looked at", || {
        let text = miner.metrics().encode().unwrap();
        let refused: u64 = text
            .lines()
            .filter(|line| line.starts_with("adit_miner_refused_work_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        refused >= count as u64
    })
    .await;
    let text = miner.metrics().encode().unwrap();
    for reason in reasons {
        let line = format!("refused_work_total{{reason=\"{reason}\"}}");
        assert!(text.contains(&line), "{reason} in\n{text}");
    }
    assert_eq!(executor.runs(), 0);
    let status = miner.status().await;
    assert!(status.coordinators[0].refused_work >= count as u64);
    assert!(status.coordinators[0].last_refusal.is_some());
    // It does not spin: the same bad answers come back to back, and are asked for ever less often.
    let before = fake.state().polls;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let polls = fake.state().polls - before;
    assert!(polls < 20, "{polls} polls in a second");
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_work_than_was_asked_for_is_not_taken() {
    let mut net = Net::new();
    net.slots = 1;
    let fake = net.fake();
    let flood: Vec<_> = (0..BATCH_MAX as u64)
        .map(|number| fake.order(number, &["sleep", "60000"]).work(&fake.key))
        .collect();
    fake.state().on_poll = Some(Box::new(move |_, answer| {
        answer.work = flood.clone();
        Ok(())
    }));
    let (miner, _) = net.start();
    fake.wake();
    until("it was flooded", || {
        miner
            .metrics()
            .encode()
            .unwrap()
            .contains("reason=\"too-many\"")
    })
    .await;
    let status = miner.status().await;
    let coordinator = &status.coordinators[0];
    assert_eq!(coordinator.held_max, 17);
    // A little more than there is room for, and never more than twice as much.
    assert_eq!(coordinator.held.total(), 34);
    miner.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_goes_away_is_waited_for() {
    let net = Net::new();
    let fake = net.fake();
    fake.state().down = true;
    let (miner, _) = net.start();
    let detail = until_idle(&miner, Code::Unreachable).await;
    assert!(detail.contains("it is down"), "{detail}");
    fake.give_many(20, &[]);
    fake.state().down = false;
    until("it works", || fake.state().receipts.len() == 20).await;
    // In the middle of work: answers are lost both ways.
    let lost = Arc::new(AtomicU32::new(0));
    fake.state().on_poll = Some(Box::new({
        let lost = lost.clone();
        move |_, _| match lost.fetch_add(1, Ordering::SeqCst) % 3 {
            0 => Err(ApiError::Unreachable("it broke off".to_owned())),
            _ => Ok(()),
        }
    }));
    fake.state().on_hand_in = Some(Box::new(move |_, _| {
        match lost.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => Err(ApiError::Unreachable("it broke off".to_owned())),
            _ => Ok(()),
        }
    }));
    for number in 20..60 {
        fake.give(&fake.order(number, &[]));
    }
    until("all arrive once", || fake.state().receipts.len() == 60).await;
    is_chain(&fake.state().receipts);
    miner.stop(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_knows_more_receipts_than_the_journal_gets_none() {
    let net = Net::new();
    let fake = net.fake();
    fake.give(&fake.order(1, &[]));
    fake.state().on_hello = Some(Box::new(|welcome| {
        welcome.last_seq = 7;
        welcome.last_receipt = Hash::of(b"another");
        Ok(())
    }));
    let (miner, executor) = net.start();
    let detail = until_idle(&miner, Code::JournalLost).await;
    assert!(
        detail.contains("receipt 7") && detail.contains("new node key"),
        "{detail}"
    );
    assert_eq!((fake.state().polls, executor.runs()), (0, 0));
    miner.stop(Duration::ZERO).await;

    // The same number, and another receipt.
    let net = Net::new();
    let fake = net.fake();
    fake.give(&fake.order(1, &[]));
    let (miner, _) = net.start();
    until("it works", || fake.state().receipts.len() == 1).await;
    miner.stop(Duration::ZERO).await;
    fake.state().on_hello = Some(Box::new(|welcome| {
        welcome.last_receipt = Hash::of(b"another");
        Ok(())
    }));
    let (miner, _) = net.start();
    until_idle(&miner, Code::JournalLost).await;
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledgements_that_are_not_signed_are_none() {
    let net = Net::new();
    let fake = net.fake();
    let lies = Arc::new(AtomicU32::new(0));
    fake.state().on_hand_in = Some(Box::new({
        let lies = lies.clone();
        move |_, answer| {
            match lies.fetch_add(1, Ordering::SeqCst) {
                0 => answer.results[0].countersignature = Some(vec![1; 64].into()),
                1 => answer.results[0].countersignature = Some(vec![1; 63].into()),
                2 => answer.results.clear(),
                3 => answer.results[0].countersignature = None,
                4 => answer.results[0].refused = Some("quota-exceeded".to_owned()),
                5 => {
                    answer.results[0].leaf = None;
                    answer.results[0].countersignature = None;
                    answer.results[0].refused = Some("no such code".to_owned());
                }
                _ => {}
            }
            Ok(())
        }
    }));
    fake.give(&fake.order(1, &[]));
    let (miner, _) = net.start();
    until("it is handed in", || lies.load(Ordering::SeqCst) > 0).await;
    let status = miner.status().await;
    assert_eq!(status.coordinators[0].receipts.acknowledged, 0);
    until("the truth comes", || lies.load(Ordering::SeqCst) > 6).await;
    let acknowledged = async || miner.status().await.coordinators[0].receipts.acknowledged;
    for _ in 0..200 {
        if acknowledged().await == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(acknowledged().await, 1);
    assert_eq!(fake.state().receipts.len(), 1);
    let text = miner.metrics().encode().unwrap();
    assert!(text.contains("reason=\"countersignature\""), "{text}");
    assert!(text.contains("reason=\"contradiction\""), "{text}");
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_receipt_keeps_its_number() {
    let net = Net::new();
    let fake = net.fake();
    // The log has it, and its miner is told that it is too late.
    fake.state().on_hand_in = Some(Box::new(|request, answer| {
        for (item, result) in request.items.iter().zip(&mut answer.results) {
            let receipt = adit_protocol::receipt::Receipt::from_bytes(&item.receipt).unwrap();
            if receipt.body.seq == 2 {
                result.leaf = None;
                result.countersignature = None;
                result.refused = Some(Code::LeaseExpired.as_str().to_owned());
                result.detail = Some("too late\u{1b}[2J".to_owned());
            }
        }
        Ok(())
    }));
    fake.give_many(5, &[]);
    let (miner, executor) = net.start();
    until("all are answered", || fake.state().receipts.len() == 5).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let status = miner.status().await;
    let counts = &status.coordinators[0].receipts;
    assert_eq!((counts.acknowledged, counts.refused), (4, 1), "{counts:?}");
    assert_eq!(status.coordinators[0].held.total(), 0);
    is_chain(&fake.state().receipts);
    assert_eq!(executor.runs(), 5);
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_coordinator_has_lost_is_handed_in_again() {
    let net = Net::new();
    let fake = net.fake();
    fake.give_many(10, &[]);
    let (miner, _) = net.start();
    until("all are handed in", || fake.state().receipts.len() == 10).await;
    miner.stop(Duration::ZERO).await;
    let before = fake.state().receipts.clone();
    {
        // It was restored from a backup that lacks the last six.
        let mut state = fake.state();
        state.receipts.truncate(4);
        state.items.truncate(4);
    }
    let (miner, executor) = net.start();
    until("all are there again", || fake.state().receipts.len() == 10).await;
    let after = fake.state().receipts.clone();
    let ids = |receipts: &[adit_protocol::receipt::Receipt]| {
        receipts.iter().map(|r| r.id()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&before), ids(&after));
    assert_eq!(executor.runs(), 0);
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_another_coordinator_or_about_another_miner_count_for_nothing() {
    let net = Net::new();
    let fake = net.fake();
    let forged = crate::support::Fake::new("somebody", fake.genesis, fake.miner);
    let forged_answer = {
        use adit_miner::transport::CoordinatorApi as _;
        forged
            .hello(&adit_protocol::network::exchange::Hello {
                genesis: fake.genesis,
                software: "x".to_owned(),
                engine: crate::support::engine(),
                devices: vec![adit_protocol::network::exchange::OfferedDevice {
                    environment: vec![1],
                    gpu: false,
                    memory_bytes: 0,
                }],
                slots: 1,
                hardware: None,
            })
            .await
            .unwrap()
            .active
    };
    fake.state().on_hello = Some(Box::new(move |welcome| {
        welcome.active = forged_answer.clone();
        Ok(())
    }));
    fake.give(&fake.order(1, &[]));
    let (miner, _) = net.start();
    let detail = until_idle(&miner, Code::BadAnswer).await;
    assert!(detail.contains("not signed by the coordinator"), "{detail}");
    assert_eq!(fake.state().polls, 0);
    miner.stop(Duration::ZERO).await;
}
