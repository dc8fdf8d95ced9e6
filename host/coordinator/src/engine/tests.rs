//! Long because every test starts an engine, and what they share is most of it.
//!
//! The engine with a database on disk.

use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adit_net::ManualClock;
use adit_protocol::Code;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::hash::Hash;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::assignment::{Acceptance, Assignment};
use adit_protocol::network::entry::Decision;
use adit_protocol::network::exchange::{Echo, Hello, OfferedDevice, Poll, PollAnswer};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{Receipt, ReceiptBody};
use adit_protocol::signed::Signable as _;
use adit_protocol::status::Status;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::store::retention::Retained;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use tokio::sync::mpsc::Receiver;

use super::{Engine, EngineOptions, Handle, StartError, Validation};
use crate::blobs::Blobs;
use crate::core::testing::*;
use crate::membership::FixedMembership;
use crate::order::{CheckedItem, HandInOrder, Idempotency, Submission};
use crate::store::{DocumentKind, StoreError};
use crate::view::{TaskEvent, TaskState};

/// A coordinator in a folder, with a clock that is moved by hand and runs slowly by itself.
struct Node {
    engine: Option<Engine>,
    validations: Option<Receiver<Validation>>,
    folder: tempfile::TempDir,
    clock: ManualClock,
    numbers: AtomicU64,
}

fn start(folder: &Path, clock: &ManualClock) -> Result<(Engine, Receiver<Validation>), StartError> {
    start_with(folder, clock, members(&membership(3)))
}

fn start_with(
    folder: &Path,
    clock: &ManualClock,
    members: crate::membership::Members,
) -> Result<(Engine, Receiver<Validation>), StartError> {
    let mut options = EngineOptions::new(
        folder,
        coordinator(),
        log_key(),
        Arc::new(FixedMembership::new(members)),
        Arc::new(clock.clone()),
    );
    options.core = audited();
    Engine::start(options)
}

impl Node {
    fn new() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at_ms(START_MS);
        let (engine, validations) = start(folder.path(), &clock).unwrap();
        Node {
            engine: Some(engine),
            validations: Some(validations),
            folder,
            clock,
            numbers: AtomicU64::new(0),
        }
    }

    fn handle(&self) -> &Handle {
        self.engine.as_ref().unwrap().handle()
    }

    fn restart(&mut self) {
        drop(self.engine.take());
        let (engine, validations) = start(self.folder.path(), &self.clock).unwrap();
        self.engine = Some(engine);
        self.validations = Some(validations);
    }

    fn order(&self) -> Submission {
        let number = self.numbers.fetch_add(1, Ordering::SeqCst);
        submission("client", number, replicated(1, 1, false))
    }

    async fn greet(&self, miner: usize) {
        let welcome = self.handle().hello(node(miner), hello(4)).await.unwrap();
        let active = welcome.active.verify(|_| coordinator().public().to_bytes());
        assert_eq!(active.unwrap().miner, node(miner));
        let echo = Echo { echo: welcome.echo };
        self.handle().echo(node(miner), &echo);
    }

    async fn poll(&self, miner: usize, wait_ms: u32) -> PollAnswer {
        let poll = Poll {
            want: 4,
            wait_ms,
            accepted: Vec::new(),
            working: Vec::new(),
        };
        self.handle().poll(node(miner), poll).await.unwrap()
    }
}

fn environment() -> EnvironmentDocument {
    EnvironmentDocument {
        engine: engine(),
        triple: "x86_64-unknown-linux-gnu".to_owned(),
        cpu_baseline: "x86-64-v2".to_owned(),
        backend: "rten".to_owned(),
        backend_version: "1".to_owned(),
        build: String::new(),
        execution_provider: "cpu".to_owned(),
        device: "test".to_owned(),
        driver: String::new(),
        precision: "fp32".to_owned(),
        threads: 1,
        requested: None,
        options: None,
        fallback: None,
    }
}

fn hello(slots: u32) -> Hello {
    Hello {
        genesis: genesis().hash(),
        software: "test".to_owned(),
        engine: engine(),
        devices: vec![OfferedDevice {
            environment: environment().to_cbor(),
            gpu: false,
            memory_bytes: 0,
        }],
        slots,
        hardware: None,
    }
}

fn assignments(answer: &PollAnswer) -> Vec<Assignment> {
    let all = answer.work.iter();
    all.map(|work| work.assignment.unverified().unwrap())
        .collect()
}

fn receipt(a: &Assignment, seq: u64, prev: Hash) -> Receipt {
    let body = ReceiptBody {
        network: genesis().network_id(),
        status: Status::Ok,
        gpu: false,
        nn: false,
        epoch: a.epoch,
        seq,
        start_ms: a.issued_ms,
        duration_us: 10,
        fuel: 7,
        nn_units: 0,
        peak_memory: 1,
        miner: a.miner,
        coordinator: a.coordinator,
        task: a.task,
        assignment: a.hash(),
        component: Hash::of(b"component"),
        input: Hash::of(b"input"),
        output: Hash::of(b"commitment"),
        transcript: Hash::of(b"transcript"),
        environment: environment().hash(),
        prev,
    };
    Receipt {
        body,
        miner_signature: [1; 64],
        coordinator_signature: [2; 64],
    }
}

fn item(receipt: &Receipt) -> HandInOrder {
    HandInOrder::Checked(Box::new(CheckedItem {
        receipt: receipt.clone(),
        opening: ReceiptOpening {
            input: Hash::of(b"input"),
            output: Hash::of(b"output"),
            transcript: Hash::of(b"transcript"),
        },
        mismatch: None,
        blobs: vec![(Hash::of(b"output"), b"output".to_vec())],
        environments: Vec::new(),
        detail: Some("done".to_owned()),
        log: Some(b"stderr".to_vec()),
    }))
}

#[tokio::test]
async fn a_task_goes_through_and_is_there_after_a_restart() {
    let mut node = Node::new();
    node.greet(0).await;
    let order = node.order();
    let input = order.blobs[0].clone();
    let exec = order.exec.clone();
    let view = node.handle().submit(order).await.unwrap();
    let task = view.task;
    assert_eq!(view.state, TaskState::Running);
    let context = node.handle().task_spec(task).await.unwrap();
    assert_eq!((&context.exec, context.client.as_str()), (&exec, "client"));

    let answer = node.poll(0, 0).await;
    assert_eq!(answer.work.len(), 1);
    let work = &answer.work[0];
    assert_eq!(Hash::of(&work.task), task);
    assert_eq!(work.exec, exec);
    assert_eq!(work.blobs.len(), 1);
    assert_eq!(*work.blobs[0], input);
    let own = coordinator().public().to_bytes();
    let assignment = work.assignment.verify(|_| own).unwrap();

    let wait = {
        let handle = node.handle().clone();
        tokio::spawn(async move { handle.wait(task, Duration::from_secs(30)).await })
    };
    let receipt = receipt(&assignment, 1, Hash::ZERO);
    let miner = assignment.miner;
    let results = node.handle().hand_in(miner, vec![item(&receipt)]).await;
    let results = results.unwrap();
    assert_eq!(results[0].leaf, Some(2));
    assert_eq!(
        results[0].countersignature.as_ref().unwrap().as_slice(),
        [2; 64]
    );
    let ended = wait.await.unwrap().unwrap();
    assert_eq!(ended.state, TaskState::Completed);
    assert_eq!(ended.result.as_ref().unwrap().output, Hash::of(b"output"));

    for _ in 0..2 {
        let handle = node.handle();
        let view = handle.task(task).await.unwrap();
        assert_eq!(view, ended, "the database tells the same as memory did");
        assert_eq!(handle.wait(task, Duration::ZERO).await.unwrap(), ended);
        let shown = handle.receipt(receipt.id()).await.unwrap();
        assert_eq!(shown.bytes, receipt.to_bytes());
        assert_eq!((shown.leaf, shown.task), (2, Some(task)));
        assert_eq!(shown.decision, Some(Decision::Accepted));
        assert_eq!(shown.log.as_deref(), Some(&b"stderr"[..]));
        let output = handle.small(Hash::of(b"output")).await.unwrap();
        assert_eq!(output.as_deref(), Some(&b"output"[..]));
        let missing = handle.not_small(vec![Hash::of(b"output"), Hash::of(b"none")]);
        assert_eq!(missing.await.unwrap(), [Hash::of(b"none")]);
        let explained = handle.explain(task).await.unwrap();
        assert_eq!(explained.draws.len(), 1);
        assert_eq!(explained.draws[0].miner.0, miner);
        let roster = handle.document(explained.draws[0].roster).await.unwrap();
        assert_eq!(roster.unwrap().kind, DocumentKind::Roster);
        let environment = handle.document(environment().hash()).await.unwrap();
        assert_eq!(environment.unwrap().kind, DocumentKind::Environment);
        let context = handle.task_spec(task).await.unwrap();
        assert_eq!((&context.exec, context.blobs.len()), (&exec, 1));
        // Handed in once more: the same leaf, and nothing new.
        let again = handle.hand_in(miner, vec![item(&receipt)]).await.unwrap();
        assert_eq!(again, results);
        node.restart();
    }
    let list = node.handle().list("client".to_owned(), None, None, 10);
    let list = list.await.unwrap();
    assert_eq!((list.items.len(), list.next), (1, None));
    assert_eq!(list.items[0].status, Some(Status::Ok));
    assert_eq!(list.items[0].state, TaskState::Completed);
}

#[tokio::test]
async fn polls_wait_for_work_and_are_answered_when_there_is_some() {
    let node = Node::new();
    node.greet(0).await;
    let answer = node.poll(0, 0).await;
    assert_eq!(answer.idle.as_deref(), Some("no-tasks"));
    assert!(answer.echo.is_some(), "the round trip is measured at first");

    let (answer, view) = tokio::join!(node.poll(0, 20_000), async {
        // The poll is there before the task is.
        while node.handle().stats().polls == 0 {
            tokio::task::yield_now().await;
        }
        node.handle().submit(node.order()).await.unwrap()
    });
    assert_eq!(assignments(&answer)[0].task, view.task);

    // A second poll answers the first one.
    let working = answer.work[0].assignment.body_hash();
    let poll = Poll {
        want: 1,
        wait_ms: 20_000,
        accepted: Vec::new(),
        working: vec![working],
    };
    let (first, second) = tokio::join!(
        node.handle().poll(super::tests::node(0), poll.clone()),
        async {
            while node.handle().stats().polls == 0 {
                tokio::task::yield_now().await;
            }
            // A cancelled assignment is told to the miner that works on it.
            let both = tokio::join!(node.handle().poll(super::tests::node(0), poll), async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let cancelled = node.handle().cancel(view.task, "client".to_owned());
                cancelled.await.unwrap()
            });
            assert_eq!(both.1.state, TaskState::Cancelled);
            both.0
        }
    );
    assert!(first.unwrap().work.is_empty());
    assert_eq!(second.unwrap().ended, [working]);
}

#[tokio::test]
async fn a_miner_that_hung_up_misses_nothing() {
    let node = Node::new();
    node.greet(0).await;
    let hung_up = tokio::time::timeout(Duration::from_millis(20), node.poll(0, 20_000)).await;
    assert!(hung_up.is_err());
    let view = node.handle().submit(node.order()).await.unwrap();
    let answer = node.poll(0, 0).await;
    assert_eq!(assignments(&answer)[0].task, view.task);
    // The answer is lost, and sent again.
    let again = node.poll(0, 0).await;
    assert_eq!(assignments(&again), assignments(&answer));
}

#[tokio::test]
async fn watchers_hear_of_progress_and_of_the_end() {
    use adit_protocol::network::exchange::{Progress, ProgressReport};
    let node = Node::new();
    node.greet(0).await;
    let view = node.handle().submit(node.order()).await.unwrap();
    let (_, events) = node.handle().events(view.task).await.unwrap();
    let mut events = events.unwrap();
    let assignment = assignments(&node.poll(0, 0).await).remove(0);
    let report = ProgressReport {
        reports: vec![Progress {
            assignment: assignment.hash(),
            number: 1,
            done: 3,
            total: 4,
            note: String::new(),
            chunk: Some(b"part".to_vec().into()),
        }],
    };
    node.handle()
        .progress(assignment.miner, report)
        .await
        .unwrap();
    assert!(matches!(
        *events.recv().await.unwrap(),
        TaskEvent::Progress { attempt: 0, .. }
    ));
    assert!(matches!(
        &*events.recv().await.unwrap(),
        TaskEvent::Chunk { chunk, .. } if chunk == b"part"
    ));
    let receipt = receipt(&assignment, 1, Hash::ZERO);
    let handed = node
        .handle()
        .hand_in(assignment.miner, vec![item(&receipt)]);
    handed.await.unwrap();
    assert!(matches!(
        *events.recv().await.unwrap(),
        TaskEvent::State {
            state: TaskState::Completed,
            ..
        }
    ));
    assert!(events.recv().await.is_err(), "the channel is closed");
    let (_, none) = node.handle().events(view.task).await.unwrap();
    assert!(none.is_none());
}

#[tokio::test]
async fn the_validator_is_asked_and_its_answer_counts() {
    let mut node = Node::new();
    node.greet(0).await;
    let mut order = node.order();
    order.validator = Some(Hash::of(b"validator"));
    let task = node.handle().submit(order).await.unwrap().task;
    let assignment = assignments(&node.poll(0, 0).await).remove(0);
    let receipt = receipt(&assignment, 1, Hash::ZERO);
    let handed = node
        .handle()
        .hand_in(assignment.miner, vec![item(&receipt)]);
    handed.await.unwrap();
    let asked = node.validations.as_mut().unwrap().recv().await.unwrap();
    assert_eq!((asked.task, asked.output), (task, Hash::of(b"output")));
    node.restart();
    let asked = node.validations.as_mut().unwrap().recv().await.unwrap();
    let answered = node.handle().validated(task, asked.output, Ok(()));
    answered.await.unwrap();
    let view = node.handle().task(task).await.unwrap();
    assert_eq!(view.state, TaskState::Completed);
}

#[tokio::test]
async fn many_at_once_share_commits() {
    let node = Node::new();
    for miner in 0..3 {
        node.greet(miner).await;
    }
    let before = node.handle().stats();
    let mut waits = Vec::new();
    for _ in 0..300 {
        let (handle, order) = (node.handle().clone(), node.order());
        waits.push(tokio::spawn(async move { handle.submit(order).await }));
    }
    let mut tasks = std::collections::BTreeSet::new();
    for wait in waits {
        tasks.insert(wait.await.unwrap().unwrap().task);
    }
    assert_eq!(tasks.len(), 300);
    let after = node.handle().stats();
    assert_eq!(after.submitted - before.submitted, 300);
    assert!(after.batches - before.batches < 300, "{after:?}");
    // A page at a time, the newest first.
    let mut seen = Vec::new();
    let mut next = None;
    loop {
        let page = node.handle().list("client".to_owned(), None, next, 70);
        let page = page.await.unwrap();
        seen.extend(page.items.iter().map(|item| item.task));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 300);
    assert_eq!(
        seen.into_iter().collect::<std::collections::BTreeSet<_>>(),
        tasks
    );
}

#[tokio::test]
async fn one_key_gives_one_task_also_after_a_restart() {
    let mut node = Node::new();
    let mut order = node.order();
    order.idempotency = Some(Idempotency {
        key: "k".to_owned(),
        request: Hash::of(b"request"),
    });
    let first = node.handle().submit(order.clone()).await.unwrap();
    order.spec.salt = [7; 32];
    let (a, b) = tokio::join!(
        node.handle().submit(order.clone()),
        node.handle().submit(order.clone())
    );
    assert_eq!((a.unwrap().task, b.unwrap().task), (first.task, first.task));
    node.restart();
    let again = node.handle().submit(order.clone()).await.unwrap();
    assert_eq!(again.task, first.task);
    // A day later the key may be used again.
    node.clock.advance_ms(25 * 60 * 60 * 1000);
    let later = loop {
        let later = node.handle().submit(order.clone()).await.unwrap();
        if later.task != first.task {
            break later;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(later.state, TaskState::Waiting);
}

/// The answer to the first request was lost, and meanwhile the task has ended.
#[tokio::test]
async fn a_key_of_a_task_that_has_ended_shows_the_task() {
    let node = Node::new();
    let mut order = node.order();
    order.idempotency = Some(Idempotency {
        key: "k".to_owned(),
        request: Hash::of(b"request"),
    });
    let first = node.handle().submit(order.clone()).await.unwrap();
    let client = order.client.clone();
    node.handle().cancel(first.task, client).await.unwrap();
    order.spec.salt = [7; 32];
    let again = node.handle().submit(order).await.unwrap();
    assert_eq!(
        (again.task, again.state),
        (first.task, TaskState::Cancelled)
    );
}

#[tokio::test]
async fn old_tasks_are_pruned_and_their_receipts_stay_known() {
    let node = Node::new();
    node.greet(0).await;
    let task = node.handle().submit(node.order()).await.unwrap().task;
    let assignment = assignments(&node.poll(0, 0).await).remove(0);
    let receipt = receipt(&assignment, 1, Hash::ZERO);
    let miner = assignment.miner;
    let first = node
        .handle()
        .hand_in(miner, vec![item(&receipt)])
        .await
        .unwrap();
    node.clock.advance_ms(15 * 24 * 60 * 60 * 1000);
    loop {
        match node.handle().task(task).await {
            Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(refusal) => {
                assert_eq!(refusal.code, Code::UnknownTask);
                break;
            }
        }
    }
    let shown = node.handle().receipt(receipt.id()).await.unwrap();
    assert_eq!((shown.leaf, shown.task), (2, None));
    assert_eq!(shown.bytes, receipt.to_bytes());
    let again = node
        .handle()
        .hand_in(miner, vec![item(&receipt)])
        .await
        .unwrap();
    assert_eq!(again, first);
    let unknown = node.handle().receipt(Hash::ZERO).await;
    assert_eq!(unknown.unwrap_err().code, Code::NotFound);
    assert_eq!(
        node.handle().small(Hash::of(b"output")).await.unwrap(),
        None
    );
}

/// A short component that tasks name all the time is kept, as a long one is.
#[tokio::test]
async fn short_blobs_are_kept_while_they_are_used() {
    let node = Node::new();
    let store = BlobStore::open(node.folder.path().join("blobs")).unwrap();
    let files = Retained::new(store, 1 << 20).unwrap();
    let blobs = Blobs::new(node.handle().clone(), files);
    let put = node
        .handle()
        .put_small(vec![b"used".to_vec(), b"not".to_vec()]);
    let hashes = put.await.unwrap();
    let day = 24 * 60 * 60 * 1000;
    node.clock.advance_ms(10 * day);
    assert_eq!(blobs.missing(vec![hashes[0]]).await.unwrap(), []);
    node.clock.advance_ms(10 * day);
    while node.handle().small(hashes[1]).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let kept = node.handle().small(hashes[0]).await.unwrap();
    assert_eq!(kept.as_deref(), Some(&b"used"[..]));
}

#[tokio::test]
async fn what_is_not_in_order_is_refused_with_a_code() {
    let node = Node::new();
    let handle = node.handle();
    let me = super::tests::node(0);
    let poll = |accepted| Poll {
        want: 1,
        wait_ms: 0,
        accepted,
        working: Vec::new(),
    };
    let refused = handle.poll(me, poll(Vec::new())).await.unwrap_err();
    assert_eq!(refused.code, Code::HelloFirst);
    let acceptance = Acceptance {
        assignment: Hash::ZERO,
        miner: super::tests::node(1),
        at_ms: 0,
    };
    let forged = acceptance.sign(&miner_key(2), &mut TestRng::new(1));
    let refused = handle.poll(me, poll(vec![forged])).await.unwrap_err();
    assert_eq!(refused.code, Code::BadSignature);
    let others = acceptance.sign(&miner_key(0), &mut TestRng::new(1));
    let refused = handle.poll(me, poll(vec![others])).await.unwrap_err();
    assert_eq!(refused.code, Code::InvalidRequest);

    let mut wrong = hello(1);
    wrong.genesis = Hash::ZERO;
    let refused = handle.hello(me, wrong).await.unwrap_err();
    assert_eq!(refused.code, Code::VersionMismatch);
    let mut wrong = hello(1);
    wrong.devices[0].environment = b"garbage".to_vec();
    let refused = handle.hello(me, wrong).await.unwrap_err();
    assert_eq!(refused.code, Code::BadEncoding);
    let mut wrong = hello(1);
    wrong.engine = Hash::of(b"another");
    let refused = handle.hello(me, wrong).await.unwrap_err();
    assert_eq!(refused.code, Code::InvalidRequest);

    let large = vec![0u8; 64 * 1024 + 1];
    let refused = handle.put_small(vec![large]).await.unwrap_err();
    assert_eq!(refused.code, Code::BlobTooLarge);
    assert_eq!(
        handle.task(Hash::ZERO).await.unwrap_err().code,
        Code::UnknownTask
    );
    assert_eq!(
        handle.task_spec(Hash::ZERO).await.unwrap_err().code,
        Code::UnknownTask
    );
    assert_eq!(
        handle.explain(Hash::ZERO).await.unwrap_err().code,
        Code::UnknownTask
    );
    assert_eq!(
        handle.events(Hash::ZERO).await.unwrap_err().code,
        Code::UnknownTask
    );
    assert_eq!(
        handle.miner([3; 32]).await.unwrap_err().code,
        Code::NotRegistered
    );
    let miners = handle.miners(None, 2).await.unwrap();
    assert_eq!((miners.items.len(), miners.next), (2, Some(2)));
}

#[tokio::test]
async fn draining_waits_for_what_is_open() {
    let node = Node::new();
    node.greet(0).await;
    node.handle().submit(node.order()).await.unwrap();
    let assignment = assignments(&node.poll(0, 0).await).remove(0);
    let drained = {
        let handle = node.handle().clone();
        tokio::spawn(async move { handle.drain().await })
    };
    loop {
        match node.handle().submit(node.order()).await {
            Err(refusal) => {
                assert_eq!(refusal.code, Code::Draining);
                break;
            }
            Ok(_) => tokio::task::yield_now().await,
        }
    }
    assert!(!drained.is_finished());
    let receipt = receipt(&assignment, 1, Hash::ZERO);
    let handed = node
        .handle()
        .hand_in(assignment.miner, vec![item(&receipt)]);
    handed.await.unwrap();
    // Tasks that were taken before the drain may have been given to the miner too.
    node.clock.advance_ms(60_000);
    drained.await.unwrap().unwrap();
}

#[tokio::test]
async fn tables_that_fail_stop_everything_and_nothing_acknowledged_is_lost() {
    let mut node = Node::new();
    node.greet(0).await;
    let before = node.handle().submit(node.order()).await.unwrap();
    assert!(node.handle().task(before.task).await.is_ok());
    let path = node.folder.path().join("coordinator.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("ALTER TABLE assignment RENAME TO lost")
        .unwrap();
    let mut acknowledged = vec![before.task];
    let refused = loop {
        match node.handle().submit(node.order()).await {
            Ok(view) => acknowledged.push(view.task),
            Err(refusal) => break refusal,
        }
        node.clock.advance_ms(60);
        tokio::time::sleep(Duration::from_millis(60)).await;
    };
    assert_eq!(refused.code, Code::Internal);
    let not_ready = loop {
        if let Err(refusal) = node.handle().ready() {
            break refusal;
        }
        tokio::task::yield_now().await;
    };
    assert!(not_ready.detail.contains("no such table"), "{not_ready}");
    let refused = node.handle().submit(node.order()).await.unwrap_err();
    assert!(refused.detail.contains("no such table"), "{refused}");
    // What the tables lack is not told as if it had never been.
    let list = node.handle().list("client".to_owned(), None, None, 10);
    assert_eq!(list.await.unwrap_err().code, Code::Internal);
    drop(node.engine.take());
    other
        .execute_batch("ALTER TABLE lost RENAME TO assignment")
        .unwrap();
    drop(other);
    node.restart();
    assert!(acknowledged.len() > 1);
    for task in &acknowledged {
        let view = node.handle().task(*task).await.unwrap();
        assert_eq!(view.task, *task);
    }
    let live = node.handle().stats().live;
    assert_eq!(
        live,
        acknowledged.len() as u64,
        "the refused ones are not there"
    );
}

#[tokio::test]
async fn a_journal_that_fails_stops_everything_at_once() {
    let mut node = Node::new();
    node.greet(0).await;
    let before = node.handle().submit(node.order()).await.unwrap();
    drop(node.engine.take());
    // A file that can be read, and takes no write.
    let path = node.folder.path().join(crate::store::journal::FILE);
    let kept = path.with_extension("kept");
    std::fs::rename(&path, &kept).unwrap();
    let memory = memfd_create("journal", MemfdFlags::ALLOW_SEALING).unwrap();
    let mut memory = std::fs::File::from(memory);
    memory.write_all(&std::fs::read(&kept).unwrap()).unwrap();
    fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW).unwrap();
    let sealed = format!("/proc/self/fd/{}", memory.as_raw_fd());
    std::os::unix::fs::symlink(sealed, &path).unwrap();
    let started = start(node.folder.path(), &node.clock);
    // The first thing that an engine writes, if it has any, is refused like all others.
    if let Ok((engine, _validations)) = started {
        let refused = engine.handle().submit(node.order()).await.unwrap_err();
        assert_eq!(refused.code, Code::PermissionDenied);
        while engine.handle().ready().is_ok() {
            tokio::task::yield_now().await;
        }
    }
    std::fs::rename(&kept, &path).unwrap();
    node.restart();
    assert_eq!(node.handle().stats().live, 1);
    assert!(node.handle().task(before.task).await.is_ok());
}

#[test]
fn a_database_belongs_to_one_coordinator_and_goes_forward_only() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(START_MS);
    let mut newer = membership(3);
    newer.version = 5;
    drop(start_with(folder.path(), &clock, members(&newer)).unwrap());
    assert!(matches!(
        start(folder.path(), &clock),
        Err(StartError::Store(StoreError::OldMembership {
            found: 1,
            known: 5
        }))
    ));
    let mut options = EngineOptions::new(
        folder.path(),
        miner_key(9),
        log_key(),
        Arc::new(FixedMembership::new(members(&newer))),
        Arc::new(clock.clone()),
    );
    options.core = audited();
    assert!(matches!(
        Engine::start(options),
        Err(StartError::Store(StoreError::Foreign {
            what: "coordinator",
            ..
        }))
    ));
    let running = start_with(folder.path(), &clock, members(&newer)).unwrap();
    assert!(matches!(
        start_with(folder.path(), &clock, members(&newer)),
        Err(StartError::Db(adit_net::db::DbError::InUse { .. }))
    ));
    drop(running);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = EngineOptions::new(
        folder.path(),
        coordinator(),
        log_key(),
        Arc::new(FixedMembership::new(members(&membership(1)))),
        Arc::new(ManualClock::at_ms(START_MS)),
    );
    options.queue = 1;
    let (engine, _) = Engine::start(options).unwrap();
    let mut waits = Vec::new();
    for number in 0..200 {
        let handle = engine.handle().clone();
        let order = submission("client", number, replicated(1, 1, false));
        waits.push(tokio::spawn(async move { handle.submit(order).await }));
    }
    let mut taken = 0;
    let mut refused = 0;
    for wait in waits {
        match wait.await.unwrap() {
            Ok(_) => taken += 1,
            Err(refusal) => {
                assert_eq!(refusal.code, Code::Overloaded);
                assert!(refusal.retry_after_ms.is_some());
                refused += 1;
            }
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} {refused}");
    assert_eq!(engine.handle().stats().overloaded, refused);
}

#[tokio::test]
async fn what_is_durable_comes_into_tiles_and_under_a_checkpoint() {
    use adit_protocol::log::checkpoint::SignedCheckpoint;
    use adit_protocol::log::key::{KeyKind, NoteKey};
    let mut node = Node::new();
    node.greet(0).await;
    for _ in 0..10 {
        node.handle().submit(node.order()).await.unwrap();
    }
    let size = node.handle().stats().log_size;
    assert!(
        size >= 5,
        "a roster and as many assignments as there are slots"
    );
    node.clock.advance_ms(1000);
    while node.handle().stats().log_signed < size {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let origin = Origin::new(&genesis().hash(), &coordinator().public()).name();
    let key = NoteKey::new(origin, KeyKind::Checkpoint, log_key().public());
    let read = |node: &Node| {
        let bytes = std::fs::read(node.folder.path().join("log/checkpoint")).unwrap();
        let signed = SignedCheckpoint::parse(&bytes).unwrap();
        signed.verify(&key).unwrap().clone()
    };
    let before = read(&node);
    assert!(before.size >= size);
    // At its end, an engine leaves nothing to be integrated.
    node.handle().submit(node.order()).await.unwrap();
    node.clock.advance_ms(60_000);
    node.handle().put_small(Vec::new()).await.unwrap();
    let size = node.handle().stats().log_size;
    drop(node.engine.take());
    assert_eq!(read(&node).size, size);
    node.restart();
    assert_eq!(node.handle().stats().log_size, size);
}
