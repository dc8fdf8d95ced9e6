//! More and more miners, all of which ask for work.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use adit_coordinator::engine::{Engine, Handle};
use adit_protocol::Hash;

use crate::network::{Network, Told, mine, network, one};
use crate::{own, row};

/// Clients that each have one task at a time.
const CLIENTS: usize = 64;
const TASKS: usize = 3000;
/// How long a poll waits.
const WAIT_MS: u32 = 2000;
/// How long polls that find nothing are measured.
const IDLE: Duration = Duration::from_secs(8);

/// Miners up to `miners`, ten times as many each time.
pub fn run(runtime: &tokio::runtime::Runtime, folder: &Path, miners: u32) {
    row(&[
        "miners",
        "tasks/s",
        "engine us/task",
        "DB B/task",
        "poll us",
        "engine, idle",
        "rosters",
        "roster B",
        "KiB/miner",
        "RSS MiB",
    ]);
    let mut count = 100.min(miners);
    loop {
        stage(runtime, &folder.join(format!("miners-{count}")), count);
        if count >= miners {
            return;
        }
        count = (count * 10).min(miners);
    }
}

fn stage(runtime: &tokio::runtime::Runtime, folder: &Path, miners: u32) {
    let network = Arc::new(network(miners, 2, Hash::of(b"engine")));
    let pid = std::process::id();
    let empty = own::resident_mib(pid);
    let (engine, _validations) = Engine::start(network.engine(folder)).expect("it starts");
    runtime.block_on(async {
        let handle = engine.handle().clone();
        let told = Arc::new(Told::default());
        let mut all = tokio::task::JoinSet::new();
        for number in 0..miners {
            // As many at one time as the engine's queue takes.
            if number % 1000 == 999 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let (handle, network) = (handle.clone(), Arc::clone(&network));
            all.spawn(mine(handle, network, number, WAIT_MS, Arc::clone(&told)));
        }
        let begun = Instant::now();
        while handle.stats().candidates < u64::from(miners) {
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "miners become candidates"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let rosters = handle.stats().rosters;

        let (busy, polls) = (own::engine_us(), told.polls.load(Ordering::Relaxed));
        tokio::time::sleep(IDLE).await;
        let busy = own::engine_us() - busy;
        let polls = told.polls.load(Ordering::Relaxed) - polls;
        let resident = own::resident_mib(pid);

        let (idle_us, disk) = (busy, own::database(folder));
        let (busy, begun) = (own::engine_us(), Instant::now());
        load(&handle, &network).await;
        let (took, busy) = (begun.elapsed(), own::engine_us() - busy);
        // Those who get nothing ask meanwhile, however long the tasks take.
        let asking = idle_us as f64 * took.as_secs_f64() / IDLE.as_secs_f64();
        let disk = own::database(folder).saturating_sub(disk);
        row(&[
            &miners.to_string(),
            &format!("{:.0}", TASKS as f64 / took.as_secs_f64()),
            &format!("{:.0}", (busy as f64 - asking) / TASKS as f64),
            &format!("{:.0}", disk as f64 / TASKS as f64),
            &format!("{:.1}", idle_us as f64 / polls.max(1) as f64),
            &format!("{:.1} %", idle_us as f64 / IDLE.as_micros() as f64 * 100.0),
            &format!("{rosters} + {}", handle.stats().rosters - rosters),
            &roster_bytes(folder).to_string(),
            &format!("{:.1}", (resident - empty) * 1024.0 / f64::from(miners)),
            &format!("{resident:.0}"),
        ]);
        told.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = all.join_next().await {
            ended.expect("no miner fails");
        }
    });
    engine.stop();
}

async fn load(handle: &Handle, network: &Arc<Network>) {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (handle, network) = (handle.clone(), Arc::clone(network));
            tokio::spawn(async move {
                for _ in 0..TASKS / CLIENTS {
                    one(&handle, &network).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no client fails");
    }
}

/// Bytes of all documents, nearly all of which are rosters.
fn roster_bytes(folder: &Path) -> i64 {
    let db = rusqlite::Connection::open(folder.join("coordinator.db")).expect("the database");
    let sum = "SELECT sum(length(bytes)) FROM document WHERE kind = 1";
    db.query_row(sum, [], |row| row.get(0)).expect("a sum")
}
