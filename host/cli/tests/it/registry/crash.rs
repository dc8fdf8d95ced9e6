//! A registry that is killed at random moments under load, as a power cut would: whatever it said is
//! in its log at the place that it said, all that it showed of its log is one history, and a watcher
//! who comes back with its last id misses nothing. `cargo xtask crash` does more rounds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_ledger::LedgerGenesis;
use adit_net::http::client::Client;
use adit_net::log::{FolderSource, LogReader};
use adit_protocol::cbor::Document as _;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::network::genesis::Genesis;
use adit_registry::follow::trust;
use serde_json::Value;

use super::wallet::{Book, client, next_number, send};
use crate::cluster::{Dice, asked, free_port};
use crate::ledger::{Registry, init};
use crate::support::Home;

/// Rounds in the test.
const ROUNDS: u64 = 5;
/// Transactions that must have been acknowledged between two kills.
const BETWEEN: usize = 8;
/// How long a client goes on with one that is not answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends one transfer after the other until it is told to stop. One whose answer was lost is sent again.
async fn load(
    client: Client,
    genesis: adit_protocol::Hash,
    book: Arc<Book>,
    stop: Arc<AtomicBool>,
) {
    let (mut number, mut begun) = (0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        match send(&client, genesis, number).await {
            Ok(view) => {
                book.told(number, &view);
                (number, begun) = (number + 1, Instant::now());
            }
            Err(error) => {
                assert!(begun.elapsed() < PATIENCE, "{number}: {error}");
                tokio::time::sleep(Duration::from_millis(5)).await;
                // Where it took effect unheard, it is signed anew as another one, and refused: the
                // account says so, and the first is asked for by its place.
                if let Ok(next) = next_number(&client).await {
                    assert!(next == number || next == number + 1, "{next} {number}");
                    if next > number {
                        (number, begun) = (next, Instant::now());
                    }
                }
            }
        }
    }
}

/// Follows the stream of events over all breaks, until it is told to stop.
async fn watch(client: Client, stop: Arc<AtomicBool>) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let call = client.get("/v1/events").query("from", 0).query("wait", 1);
        let call = match seen.last() {
            Some(last) => call.last_event_id(&last["leaf"].to_string()),
            None => call,
        };
        if let Ok(mut events) = call.events().await {
            while let Ok(Some(event)) = events.next().await {
                let entry: Value = serde_json::from_str(&event.data).unwrap();
                assert_eq!(
                    entry["leaf"],
                    seen.len(),
                    "an entry is missing, or there twice"
                );
                seen.push(entry);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seen
}

async fn checkpoints(client: Client, book: Arc<Book>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok(answer) = client.get("/log/checkpoint").send().await {
            book.saw_checkpoint(String::from_utf8(answer.bytes.to_vec()).unwrap());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_registry_that_is_killed_under_load_keeps_all_that_it_said() {
    let rounds = asked("ADIT_CRASH_ROUNDS").unwrap_or(ROUNDS);
    let seed = asked("ADIT_CRASH_SEED").unwrap_or(1);
    eprintln!("seed {seed}, {rounds} rounds");
    let home = Home::new();
    // Ends of epochs are among the moments.
    let made = init(&home, &["--development", "--allocate", "//Alice=1000000"]);
    let genesis: adit_protocol::Hash = made["network"].as_str().unwrap().parse().unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let options = ["--listen", &listen];
    let mut registry = Registry::run_with(home, &options);
    let (book, stop) = (Arc::new(Book::default()), Arc::new(AtomicBool::new(false)));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let there = || client(&registry.url);
    let loading = runtime.spawn(load(there(), genesis, book.clone(), stop.clone()));
    let showing = runtime.spawn(checkpoints(there(), book.clone(), stop.clone()));
    let watching = runtime.spawn(watch(there(), stop.clone()));

    let mut dice = Dice::new(seed);
    let mut killed: BTreeMap<&str, u64> = BTreeMap::new();
    for round in 1..=rounds {
        let target = book.all().len() + BETWEEN;
        registry.node.until("transactions are acknowledged", || {
            (book.all().len() >= target || loading.is_finished()).then_some(())
        });
        assert!(!loading.is_finished() && !watching.is_finished());
        std::thread::sleep(dice.ms_below(400));
        let Registry { home, node, .. } = registry;
        node.kill();
        *killed.entry("at work").or_default() += 1;
        for _ in 0..dice.below(3) {
            // Killed again, somewhere between its first instruction and its first request.
            let starting = crate::network_support::Node::start(
                home.command(&[&["registry", "run"], &options[..]].concat()),
            );
            std::thread::sleep(dice.ms_below(120));
            starting.kill();
            *killed.entry("during a start").or_default() += 1;
        }
        home.adit(&["registry", "fsck"]).exits(0);
        eprintln!("round {round}: {} acknowledged so far", book.all().len());
        registry = Registry::run_with(home, &options);
    }
    let target = book.all().len() + BETWEEN;
    registry
        .node
        .until("it goes on", || (book.all().len() >= target).then_some(()));
    stop.store(true, Ordering::Relaxed);
    let seen = runtime.block_on(async {
        loading.await.unwrap();
        showing.await.unwrap();
        watching.await.unwrap()
    });
    let Registry { home, node, .. } = registry;
    assert_eq!(node.end(), Some(0));
    home.adit(&["registry", "fsck"]).exits(0);
    runtime.block_on(compare(&home, &book, &seen));
    let (told, showed) = (book.all().len(), book.checkpoints().len());
    eprintln!(
        "killed: {killed:?}; {told} acknowledged, {showed} checkpoints, {} entries watched",
        seen.len()
    );
    assert!(book.wrong().is_empty(), "seed {seed}: {:#?}", book.wrong());
}

/// Compares what was said with the log as it lies there.
async fn compare(home: &Home, book: &Book, seen: &[Value]) {
    let folder = home.state().join("registry");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let genesis = Genesis::from_cbor(&read("genesis")).unwrap();
    let ledger = LedgerGenesis::from_cbor(&read("ledger-genesis")).unwrap();
    let source = FolderSource(folder.join("data/log"));
    let reader = LogReader::new(source, trust(&genesis, &ledger).unwrap());
    let newest = reader.checkpoint().await.unwrap().checkpoint;
    for text in book.checkpoints() {
        let signed = SignedCheckpoint::parse(text.as_bytes()).unwrap();
        let shown = signed.verify(&reader.trust().log).unwrap();
        assert!(shown.size <= newest.size);
        reader.consistency(shown, &newest).await.unwrap();
    }
    let mut at = BTreeMap::new();
    let walk = reader.walk(&newest, 0..newest.size, Default::default());
    let mut walk = walk.await.unwrap();
    while let Some(bundle) = walk.next().await.unwrap() {
        for (leaf, entry) in bundle.entries() {
            at.insert(leaf, entry.to_vec());
        }
    }
    let id = |leaf: u64| match adit_ledger::entry::LogEntry::from_bytes(&at[&leaf]).unwrap() {
        adit_ledger::entry::LogEntry::Transaction(signed) => Some(signed.id().to_string()),
        _ => None,
    };
    for (number, told) in book.all() {
        assert_eq!(id(told.leaf), Some(told.id.clone()), "transaction {number}");
    }
    for entry in seen {
        let leaf = entry["leaf"].as_u64().unwrap();
        assert_eq!(id(leaf).as_deref(), entry["id"].as_str(), "{entry}");
        if entry["type"] == "transaction" {
            assert!(!entry["events"].as_array().unwrap().is_empty(), "{entry}");
        }
    }
}
