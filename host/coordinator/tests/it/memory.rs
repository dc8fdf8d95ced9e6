//! What is live takes a bounded amount of memory, and what has ended gives it back.

use std::process::Command;

use adit_coordinator::view::TaskState;
use adit_protocol::Hash;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Net, component, hash, ok, put};

/// Set where this is the only test of its process.
const ALONE: &str = "ADIT_TEST_ALONE";
const TASKS: usize = 1500;
/// Requests at one time.
const AT_ONCE: usize = 50;
/// Bytes of each task's input.
const INPUT: usize = 2000;

/// Once the tables have what waited for them, which is memory that comes and goes.
async fn resident_kib(net: &Net) -> u64 {
    net.running()
        .handle()
        .receipt(Hash::ZERO)
        .await
        .unwrap_err();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

#[test]
fn tasks_that_wait_take_little_memory_and_give_it_back() {
    if std::env::var_os(ALONE).is_none() {
        // Memory is that of a process, and other tests run in this one.
        let status = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "memory::tasks_that_wait_take_little_memory_and_give_it_back",
            ])
            .arg("--nocapture")
            .env(ALONE, "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let net = Net::start().await;
        put(&net.client(), &component()).await.unwrap();
        // Buffers, threads, caches of all kinds; that of the database, of 8 MiB, by blobs that are
        // larger together.
        for number in 0..24u64 {
            let blob = |part: u64| (16 * number + part).to_le_bytes().repeat(8 << 10);
            let blobs = (0..16).map(blob).collect();
            net.running().handle().put_small(blobs).await.unwrap();
        }
        let warm = submit(&net, 300).await;
        cancel(&net, warm).await;
        let before = resident_kib(&net).await;
        let live = submit(&net, TASKS).await;
        assert_eq!(net.running().handle().stats().live, TASKS as u64);
        let with = resident_kib(&net).await;
        cancel(&net, live).await;
        assert_eq!(net.running().handle().stats().live, 0);
        again(&net, 4).await;
        let settled = resident_kib(&net).await;
        again(&net, 8).await;
        let after = resident_kib(&net).await;
        println!("{before} KiB before, {with} KiB with {TASKS} tasks, {settled} KiB after more, {after} KiB after many more");
        let each = with.saturating_sub(before) * 1024 / TASKS as u64;
        assert!(each < 24_000, "{each} bytes for each task");
        // What waits for the tables, which are written a few times a second, is not all of it.
        assert!(settled < with + 16 * 1024, "{before} {with} {settled}");
        // What was taken once is used again: twice as many more take no more than that.
        assert!(
            after < settled + with.saturating_sub(before) / 2 + 4096,
            "{before} {with} {settled} {after}"
        );
    });
}

/// As many tasks again, some times over, each time all of them cancelled.
async fn again(net: &Net, times: usize) {
    for _ in 0..times {
        let live = submit(net, TASKS).await;
        cancel(net, live).await;
    }
}

/// Tasks that wait for miners, of which there are none.
async fn submit(net: &Net, count: usize) -> Vec<Hash> {
    let client = net.client();
    let submit = async |number: usize| {
        let task = json!({
            "component": Hash::of(&component()).to_string(),
            "input": { "text": format!("{number} {}", "x".repeat(INPUT)) },
            "verification": { "replicas": 1 },
        });
        hash(&ok(client.post("/v1/tasks").json(&task)).await["task"])
    };
    let mut tasks = Vec::new();
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(AT_ONCE) {
        tasks.extend(join_all(some.iter().map(|number| submit(*number))).await);
    }
    tasks
}

async fn cancel(net: &Net, tasks: Vec<Hash>) {
    let handle = net.running().handle();
    for some in tasks.chunks(AT_ONCE) {
        let cancelled = some
            .iter()
            .map(|task| handle.cancel(*task, "app".to_owned()));
        for view in join_all(cancelled).await {
            assert_eq!(view.unwrap().state, TaskState::Cancelled);
        }
    }
}
