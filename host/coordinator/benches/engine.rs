//! The engine: how many tasks a second go from submission to an accepted, durable receipt, how long
//! one takes, and where the time goes. Miners are in the process and do nothing but sign; what is
//! measured is everything of a coordinator but HTTP and the checks of signatures.
//!
//! `cargo bench -p adit-coordinator` prints a table; there is no statistics of criterion's kind,
//! since what is measured is a process with its disk and not a function.

mod network;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use adit_coordinator::engine::{Engine, Handle};
use adit_protocol::hash::Hash;

use network::{Network, Told, mine, network, one};

const MINERS: u32 = 3;
const SLOTS: u32 = 256;

/// So many clients, each with one task at a time, for so long: tasks a second, and how long each
/// took.
async fn load(
    handle: &Handle,
    network: &Arc<Network>,
    clients: usize,
    during: Duration,
) -> (f64, Vec<Duration>) {
    let begun = Instant::now();
    let all: Vec<_> = (0..clients)
        .map(|_| {
            let (handle, network) = (handle.clone(), Arc::clone(network));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while begun.elapsed() < during {
                    times.push(one(&handle, &network).await);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in all {
        times.extend(client.await.expect("no client fails"));
    }
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort();
    (rate, times)
}

fn main() {
    // `cargo test --benches` only asks whether it can be started.
    let during = match std::env::args().any(|arg| arg == "--test") {
        true => Duration::from_millis(50),
        false => Duration::from_secs(3),
    };
    let folder = tempfile::tempdir().expect("a folder for the database");
    let network = Arc::new(network(MINERS, SLOTS, Hash::of(b"engine")));
    let (engine, _validations) =
        Engine::start(network.engine(folder.path())).expect("the engine starts");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let told = Arc::new(Told::default());
    runtime.block_on(async {
        let handle = engine.handle().clone();
        let miners: Vec<_> = (0..MINERS)
            .map(|number| {
                let (handle, told) = (handle.clone(), Arc::clone(&told));
                tokio::spawn(mine(handle, Arc::clone(&network), number, 200, told))
            })
            .collect();
        while handle.stats().candidates < u64::from(MINERS) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!(
            "{:>8} {:>10} {:>10} {:>10} {:>12} {:>12} {:>12} {:>12} {:>12}",
            "clients",
            "tasks/s",
            "p50 µs",
            "p99 µs",
            "batch",
            "engine µs",
            "commit µs",
            "tables µs",
            "busy %"
        );
        for clients in [1, 8, 64, 512] {
            let before = handle.stats();
            let begun = Instant::now();
            let (rate, times) = load(&handle, &network, clients, during).await;
            let wall_us = begun.elapsed().as_micros() as f64;
            let after = handle.stats();
            let at = |part: usize| {
                let index = (times.len() * part / 100).min(times.len().saturating_sub(1));
                times.get(index).map_or(0, Duration::as_micros)
            };
            let tasks = times.len() as f64;
            let per = |a: u64, b: u64, n: f64| (a - b) as f64 / n;
            let batches = (after.batches - before.batches) as f64;
            let commit = per(after.commit_us, before.commit_us, tasks);
            let tables = per(after.apply_us, before.apply_us, tasks);
            let busy = per(after.busy_us, before.busy_us, tasks);
            println!(
                "{clients:>8} {rate:>10.0} {:>10} {:>10} {:>12.1} {:>12.1} {commit:>12.1} {tables:>12.1} {:>12.0}",
                at(50),
                at(99),
                per(after.commands, before.commands, batches),
                busy - commit,
                100.0 * busy * tasks / wall_us,
            );
        }
        told.stop.store(true, Ordering::Relaxed);
        for miner in miners {
            miner.await.expect("no miner fails");
        }
    });
    engine.stop();
}
