//! More and more tasks that have ended and are kept.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adit_coordinator::engine::{Engine, Handle};
use adit_coordinator::view::TaskState;
use adit_net::log::Check;
use adit_protocol::Hash;
use adit_protocol::network::exchange::Poll;
use tokio::task::JoinSet;

use crate::network::{Network, Told, mine, miner, network, one};
use crate::{own, row};

const MINERS: u32 = 4;
const SLOTS: u32 = 256;
/// Clients that each have one task at a time.
const CLIENTS: usize = 512;
/// Reads and polls of each measurement.
const CALLS: u32 = 200;

/// Tasks up to `tasks`, measured whenever there are ten times as many as before.
pub fn run(runtime: &tokio::runtime::Runtime, folder: &Path, tasks: u64) {
    let network = Arc::new(network(MINERS, SLOTS, Hash::of(b"engine")));
    let (engine, _validations) = Engine::start(network.engine(folder)).expect("it starts");
    row(&[
        "ended tasks",
        "tasks/s",
        "engine us/task",
        "commit us/task",
        "DB B/task",
        "log B/task",
        "poll us",
        "view us",
        "page us",
        "deep page us",
        "failed page us",
        "RSS MiB",
    ]);
    runtime.block_on(async {
        let handle = engine.handle().clone();
        let told = Arc::new(Told::default());
        let miners = start_miners(&handle, &network, &told);
        while handle.stats().candidates < u64::from(MINERS) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let first = handle
            .submit(network.order())
            .await
            .expect("there is room")
            .task;
        let mut next = 1000;
        while handle.stats().completed < tasks {
            let target = next.min(tasks);
            // The last of them are measured, so that the store has its size meanwhile.
            let window = (target / 2).min(10_000);
            let done = handle.stats().completed;
            load(&handle, &network, (target - window).saturating_sub(done)).await;
            let (before, disk, busy) = (handle.stats(), disk(folder), own::engine_us());
            let begun = Instant::now();
            load(&handle, &network, window).await;
            let took = begun.elapsed();
            let (after, busy, disk_after) =
                (handle.stats(), own::engine_us() - busy, self::disk(folder));
            let per = |us: u64| us as f64 / window as f64;
            row(&[
                &after.completed.to_string(),
                &format!("{:.0}", window as f64 / took.as_secs_f64()),
                &format!("{:.0}", per(busy)),
                &format!("{:.0}", per(after.commit_us - before.commit_us)),
                &format!("{:.0}", per(disk_after.0.saturating_sub(disk.0))),
                &format!("{:.0}", per(disk_after.1.saturating_sub(disk.1))),
                &poll(&handle).await,
                &time(|| async { handle.task(first).await.is_ok() }).await,
                &page(&handle, None, None).await,
                &page(&handle, None, Some(after.completed / 2)).await,
                &page(&handle, Some(TaskState::Failed), None).await,
                &format!("{:.0}", own::resident_mib(std::process::id())),
            ]);
            next *= 10;
        }
        told.stop.store(true, Ordering::Relaxed);
        miners.join_all().await;
    });
    engine.stop();
    println!(
        "on disk for a task of all: database {:.0} B, log {:.0} B",
        disk(folder).0 as f64 / tasks as f64,
        disk(folder).1 as f64 / tasks as f64
    );
    start_again(folder, &network);
    prune(runtime, folder, &network, tasks);
}

fn start_miners(handle: &Handle, network: &Arc<Network>, told: &Arc<Told>) -> JoinSet<()> {
    let mut miners = JoinSet::new();
    for number in 0..MINERS {
        let (handle, network) = (handle.clone(), Arc::clone(network));
        miners.spawn(mine(handle, network, number, 200, Arc::clone(told)));
    }
    miners
}

/// Bytes of database and log.
fn disk(folder: &Path) -> (u64, u64) {
    (own::database(folder), own::size(&folder.join("log")))
}

async fn load(handle: &Handle, network: &Arc<Network>, tasks: u64) {
    let left = Arc::new(AtomicU64::new(tasks));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (handle, network, left) = (handle.clone(), Arc::clone(network), Arc::clone(&left));
            tokio::spawn(async move {
                let take = |n: u64| n.checked_sub(1);
                while (left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)).is_ok() {
                    one(&handle, &network).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no client fails");
    }
}

/// The median time of a call, in microseconds.
async fn time<F: Future<Output = bool>>(mut call: impl FnMut() -> F) -> String {
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let begun = Instant::now();
        assert!(call().await, "it is answered");
        times.push(begun.elapsed().as_micros());
        if times.iter().sum::<u128>() > 10_000_000 {
            break;
        }
    }
    times.sort_unstable();
    times[times.len() / 2].to_string()
}

async fn page(handle: &Handle, state: Option<TaskState>, after: Option<u64>) -> String {
    let list = || handle.list("bench".to_owned(), state, after, 100);
    time(|| async { list().await.is_ok() }).await
}

/// Processor time of the engine for a poll that finds nothing, in microseconds.
async fn poll(handle: &Handle) -> String {
    let node = miner(0).public().to_bytes();
    let before = own::engine_us();
    let polls = 20 * CALLS;
    for _ in 0..polls {
        let poll = Poll {
            want: 1,
            wait_ms: 0,
            accepted: Vec::new(),
            working: Vec::new(),
        };
        handle.poll(node, poll).await.expect("it is answered");
    }
    format!(
        "{:.0}",
        (own::engine_us() - before) as f64 / f64::from(polls)
    )
}

fn start_again(folder: &Path, network: &Network) {
    for (what, check) in [
        ("whole log read", Check::All),
        ("without reading the log", Check::Edge),
    ] {
        let mut options = network.engine(folder);
        options.log_check = check;
        let begun = Instant::now();
        let (engine, _validations) = Engine::start(options).expect("it starts again");
        println!(
            "start, {what}: {:.2} s, RSS {:.0} MiB",
            begun.elapsed().as_secs_f64(),
            own::resident_mib(std::process::id())
        );
        engine.stop();
    }
}

/// All tasks are old of a sudden; meanwhile one client goes on.
fn prune(runtime: &tokio::runtime::Runtime, folder: &Path, network: &Arc<Network>, tasks: u64) {
    let mut options = network.engine(folder);
    options.log_check = Check::Edge;
    (options.keep_tasks_ms, options.keep_blobs_ms) = (0, 3_600_000);
    let (engine, _validations) = Engine::start(options).expect("it starts again");
    let handle = engine.handle().clone();
    let (begun, busy) = (Instant::now(), own::engine_us());
    let stats = handle.stats();
    runtime.block_on(async {
        let told = Arc::new(Told::default());
        let miners = start_miners(&handle, network, &told);
        let mut times = Vec::new();
        loop {
            times.push(one(&handle, network).await);
            let page = handle
                .list("bench".to_owned(), None, None, 100)
                .await
                .expect("a page");
            // The newest of them is that of just now.
            if page.items.len() < 64 {
                break;
            }
        }
        let took = begun.elapsed();
        let batches = handle.stats().batches - stats.batches;
        times.sort_unstable();
        println!(
            "pruned {tasks} tasks in {:.1} s: {:.0} tasks/s, engine {:.0} us/task, {batches} \
             batches; a task meanwhile took {:.1} ms (p50), {:.1} ms at most; database {:.0} MiB \
             with room for as many again",
            took.as_secs_f64(),
            tasks as f64 / took.as_secs_f64(),
            (own::engine_us() - busy) as f64 / tasks as f64,
            times[times.len() / 2].as_secs_f64() * 1e3,
            times[times.len() - 1].as_secs_f64() * 1e3,
            own::database(folder) as f64 / f64::from(1 << 20),
        );
        told.stop.store(true, Ordering::Relaxed);
        miners.join_all().await;
    });
    engine.stop();
}
