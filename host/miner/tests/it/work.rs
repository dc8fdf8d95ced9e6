//! Work with an honest coordinator.

use std::sync::Arc;
use std::time::Duration;

use adit_miner::journal::{Journal, State};
use adit_miner::miner::Miner;
use adit_miner::network::NetworkView;
use adit_miner::transport::ApiError;
use adit_protocol::hash::Hash;
use adit_protocol::status::Status;
use adit_protocol::{Code, Document as _};

use crate::support::{Net, engine, is_chain, miner_key, network_file, until};

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_run_and_each_has_one_receipt_that_both_signed() {
    let net = Net::new();
    let fake = net.fake();
    let ids = fake.give_many(300, &[]);
    let (miner, executor) = net.start();
    until("all are handed in", || fake.state().receipts.len() == 300).await;
    assert_eq!(executor.runs(), 300);
    // The last answer may still be on its way.
    let mut status = miner.status().await;
    for _ in 0..3000 {
        if (status.coordinators.iter()).all(|c| c.receipts.acknowledged == 300) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        status = miner.status().await;
    }
    let [coordinator] = status.coordinators.as_slice() else {
        panic!("{status:?}");
    };
    assert_eq!(coordinator.receipts.signed, 0, "{coordinator:?}");
    assert_eq!(coordinator.receipts.acknowledged, 300);
    until("it says why it is idle", || fake.state().echoes > 0).await;
    miner.stop(Duration::ZERO).await;

    let state = fake.state();
    is_chain(&state.receipts);
    let mut assigned: Vec<Hash> = state.receipts.iter().map(|r| r.body.assignment).collect();
    assigned.sort();
    let mut ids = ids;
    ids.sort();
    assert_eq!(assigned, ids);
    // Several in one request, since they are ready at the same time.
    assert!(state.hand_ins < 300, "{}", state.hand_ins);
    let (receipt, item) = (&state.receipts[0], &state.items[0]);
    assert_eq!(receipt.body.status, Status::Ok);
    assert_eq!((receipt.body.epoch, receipt.body.fuel), (5, 1));
    let output: &[u8] = item
        .blobs
        .iter()
        .find(|blob| Hash::of(blob) == item.opening.output)
        .unwrap();
    assert!(output.ends_with(b"tupni"));
    let hello = &state.hellos[0];
    assert_eq!((hello.engine, hello.slots), (engine(), 18));

    // The claim to pay is in the journal.
    let node = miner_key().public().to_bytes();
    let path = Miner::journal_path(&net.options.folder);
    let mut journal = Journal::open(&path, node, 0).unwrap();
    for id in &ids {
        let (receipt, state) = journal.receipt_of(id).unwrap().unwrap();
        assert_eq!(state, State::Acknowledged);
        receipt.verify().unwrap();
    }
    // Nothing of the inputs is left.
    let left = std::fs::read_dir(net.dir.path().join("cache/blobs")).unwrap();
    let files: usize = left
        .map(|shelf| std::fs::read_dir(shelf.unwrap().path()).unwrap().count())
        .sum();
    assert_eq!(files, 2, "the component and the environment");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_s_word_counts_where_it_knows_of_a_newer_membership() {
    let net = Net::new();
    let fake = net.fake();
    // By the file that the miner has, its stake is too small.
    let file = network_file(1, &[2_000_000], 1);
    let view = NetworkView::of(&file, None).unwrap();
    net.network.send_replace(Arc::new(view));
    let (miner, _) = net.start();
    fake.give(&fake.order(1, &[]));
    until("its receipt", || fake.state().receipts.len() == 1).await;
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_fetched_in_pieces_and_what_cannot_be_had_is_said() {
    let net = Net::new();
    let fake = net.fake();
    let mut order = fake.order(1, &[]);
    order.blobs.clear();
    let input = vec![3u8; 100_000];
    order.exec.input = Hash::of(&input);
    {
        let mut state = fake.state();
        state
            .blobs
            .insert(Hash::of(b"component"), b"component".to_vec());
        state.blobs.insert(Hash::of(&input), input);
        // Four times, so that the transfer has to be resumed.
        state.break_off = Some(30_000);
    }
    let (miner, executor) = net.start();
    fake.give(&order);
    until("it is run", || fake.state().receipts.len() == 1).await;
    assert_eq!(fake.state().receipts[0].body.status, Status::Ok);
    assert_eq!(fake.state().fetched, 5);
    // A large output is uploaded before.
    let items = fake.state().items.clone();
    assert!(fake.state().blobs.contains_key(&items[0].opening.output));

    let mut order = fake.order(2, &[]);
    order.blobs.pop();
    fake.give(&order);
    until("it is answered", || fake.state().receipts.len() == 2).await;
    let state = fake.state();
    assert_eq!(state.receipts[1].body.status, Status::Unavailable);
    let detail = state.items[1].detail.clone().unwrap();
    assert!(detail.contains("unknown-blob"), "{detail}");
    assert_eq!(executor.runs(), 1);
    is_chain(&state.receipts);
    drop(state);
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_outputs_are_uploaded_and_faults_are_told() {
    let net = Net::new();
    let fake = net.fake();
    let (miner, _) = net.start();
    fake.give(&fake.order(1, &["large", "3000000"]));
    fake.give(&fake.order(2, &["fault"]));
    fake.give(&fake.order(3, &["panic"]));
    until("all are handed in", || fake.state().receipts.len() == 3).await;
    let state = fake.state();
    let of = |number: u64| {
        let task = {
            let order = fake_order(fake, number);
            let mut task = order.task.clone();
            task.exec = order.exec.hash();
            task.hash()
        };
        let at = state.receipts.iter().position(|r| r.body.task == task);
        at.unwrap()
    };
    let large = of(1);
    assert_eq!(state.receipts[large].body.status, Status::Ok);
    let output = &state.blobs[&state.items[large].opening.output];
    assert_eq!(output.len(), 3_000_000);
    for number in [2, 3] {
        let at = of(number);
        assert_eq!(state.receipts[at].body.status, Status::HostFault);
        let detail = state.items[at].detail.clone().unwrap();
        assert!(detail.contains("worker"), "{detail}");
    }
    is_chain(&state.receipts);
    drop(state);
    miner.stop(Duration::ZERO).await;
}

/// The order that a number stands for in the test above.
fn fake_order(fake: &crate::support::Fake, number: u64) -> crate::support::Order {
    let args: &[&str] = match number {
        1 => &["large", "3000000"],
        2 => &["fault"],
        _ => &["panic"],
    };
    fake.order(number, args)
}

#[tokio::test(flavor = "multi_thread")]
async fn long_runs_are_accepted_and_report() {
    let net = Net::new();
    let fake = net.fake();
    let (miner, _) = net.start();
    let long = fake.give(&fake.order(1, &["report", "1600"]));
    let short = fake.give(&fake.order(2, &["sleep", "100"]));
    until("both are handed in", || fake.state().receipts.len() == 2).await;
    let state = fake.state();
    let accepted: Vec<Hash> = state.acceptances.iter().map(|a| a.assignment).collect();
    assert_eq!(accepted, [long], "and not {short}");
    let [report] = state.progress.as_slice() else {
        panic!("{:?}", state.progress);
    };
    assert_eq!((report.assignment, report.number), (long, 1));
    assert_eq!((report.done, report.total, &*report.note), (1, 2, "half"));
    assert_eq!(report.chunk.as_deref().map(|c| &**c), Some(&b"chunk"[..]));
    drop(state);
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_coordinator_ends_is_let_go() {
    let mut net = Net::new();
    net.slots = 1;
    let fake = net.fake();
    let (miner, executor) = net.start();
    let running = fake.give(&fake.order(1, &["sleep", "60000"]));
    until("it runs", || executor.runs() == 1).await;
    let waiting = fake.give(&fake.order(2, &[]));
    until("it is taken in", || fake.state().open.len() == 2).await;
    {
        let mut state = fake.state();
        state.open.clear();
        state.ended = vec![running, waiting, Hash::of(b"unknown")];
    }
    fake.wake();
    until("it is cancelled", || fake.state().receipts.len() == 1).await;
    let state = fake.state();
    assert_eq!(state.receipts[0].body.assignment, running);
    assert_eq!(state.receipts[0].body.status, Status::Cancelled);
    drop(state);
    let status = miner.status().await;
    assert_eq!(status.coordinators[0].held.total(), 0, "{status:?}");
    assert_eq!(executor.runs(), 1);
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_crosses_an_acknowledgement_does_not_make_the_miner_pause() {
    const ROUNDS: usize = 40;
    let net = Net::new();
    let fake = net.fake();
    let (miner, _) = net.start();
    let begun = std::time::Instant::now();
    for round in 0..ROUNDS {
        let id = fake.give(&fake.order(round as u64, &[]));
        until("its receipt", || fake.state().receipts.len() == round + 1).await;
        // The poll that named it as worked on is answered by its end, which the miner knows by now.
        fake.state().ended = vec![id];
        fake.wake();
    }
    // A pause is 125 ms at least.
    let took = begun.elapsed();
    assert!(
        took < Duration::from_millis(125) * ROUNDS as u32,
        "{took:?}"
    );
    miner.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coordinators_get_slots_by_their_stakes() {
    let mut net = Net::with(&[8_000_000, 2_000_000]);
    net.slots = 1;
    net.options.queue_depth = 32;
    let (large, small) = (net.coordinators[0].clone(), net.coordinators[1].clone());
    for fake in [&large, &small] {
        fake.give_many(600, &["sleep", "1"]);
    }
    let (miner, _) = net.start();
    until("one of them has most of its results", || {
        large.state().receipts.len() >= 500
    })
    .await;
    let (of_large, of_small) = (large.state().receipts.len(), small.state().receipts.len());
    // Four to one: 125 of 625 on average, with a standard deviation of 10.
    assert!((80..=190).contains(&of_small), "{of_large} and {of_small}");
    let status = miner.status().await;
    let mut shares: Vec<u64> = status.coordinators.iter().map(|c| c.share_ppm).collect();
    shares.sort();
    assert!((199_000..=201_000).contains(&shares[0]), "{shares:?}");
    assert!((799_000..=801_000).contains(&shares[1]), "{shares:?}");
    miner.abandon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miner_without_stake_asks_for_nothing_and_says_why() {
    let net = Net::new();
    let poor = crate::support::network_file(2, &[2_000_000], 19_999);
    let view = adit_miner::network::NetworkView::of(&poor, None).unwrap();
    net.network.send_replace(Arc::new(view));
    let fake = net.fake();
    // As the coordinator sees it, too.
    fake.state().on_hello = Some(Box::new(|_| {
        Err(ApiError::Refused {
            code: Code::BelowMinimumStake,
            detail: "19999".to_owned(),
            retry_after: None,
        })
    }));
    fake.give(&fake.order(1, &[]));
    let (miner, _) = net.start();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let status = miner.status().await;
    let idle = status.coordinators[0].idle.clone().unwrap();
    assert_eq!(idle.code, Code::BelowMinimumStake);
    assert!(idle.detail.contains("19999"), "{}", idle.detail);
    assert_eq!(fake.state().polls, 0);
    // It stakes more.
    fake.state().on_hello = None;
    let rich = crate::support::network_file(3, &[2_000_000], 20_000);
    let view = adit_miner::network::NetworkView::of(&rich, None).unwrap();
    net.network.send_replace(Arc::new(view));
    until("it works", || fake.state().receipts.len() == 1).await;
    miner.stop(Duration::ZERO).await;
}
