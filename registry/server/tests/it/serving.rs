//! What a registry serves to those who watch it: figures, a stream of what happens; and its own log's
//! witnesses.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_net::http::client::{Client, ClientConfig, ClientError, Events, Retry};
use adit_net::http::server::{Limits, Listen, Server};
use adit_net::log::witness::{MIGRATION, Witness, WitnessOptions, router};
use adit_net::log::{LogReader, Trust};
use adit_net::tls::Roots;
use adit_net::{ManualClock, db::Db};
use adit_protocol::Code;
use adit_protocol::log::key::NoteKey;
use adit_registry::follow::trust;
use adit_registry::options::LogWitness;
use adit_registry::{Options, Registry, Running, StartError};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::support::*;
use super::transfer;

/// The events of a stream that ends by itself.
async fn all(client: &Client, from: u64) -> Vec<(u64, Value)> {
    let call = client
        .get("/v1/events")
        .query("from", from)
        .query("wait", 0);
    let mut events = call.events().await.unwrap();
    let mut found = Vec::new();
    while let Some(event) = next(&mut events).await {
        found.push(event);
    }
    found
}

async fn next(events: &mut Events) -> Option<(u64, Value)> {
    let event = tokio::time::timeout(Duration::from_secs(20), events.next());
    let event = event.await.unwrap().unwrap()?;
    let leaf = event.id.unwrap().parse().unwrap();
    let json: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(json["leaf"], leaf);
    Some((leaf, json))
}

fn refusal<T>(result: Result<T, ClientError>) -> Code {
    match result {
        Err(error @ ClientError::Refused { .. }) => error.code(),
        Err(other) => panic!("not refused: {other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_every_entry_once_whenever_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let registry = start(folder.path(), &clock).await.unwrap();
    let client = client(&registry);
    // From the next entry on, before there is one.
    let mut live = client.get("/v1/events").events().await.unwrap();
    let sent = done(&registry, 1, transfer(2, 5)).await;
    let (leaf, block) = next(&mut live).await.unwrap();
    assert_eq!(block["type"], "block");
    let (second, seen) = next(&mut live).await.unwrap();
    assert_eq!(
        (second, seen["type"].as_str()),
        (leaf + 1, Some("transaction"))
    );
    assert_eq!((&seen["id"], &seen["leaf"]), (&sent["id"], &sent["leaf"]));
    assert_eq!(seen["events"], sent["events"]);
    assert_eq!(seen["events"][1]["event"], "transferred");
    assert!(seen["text"].as_str().unwrap().contains("action: transfer"));
    // What is known of it outlasts the first answer.
    let shown = get(
        &registry,
        &format!("/v1/transactions/{}", sent["id"].as_str().unwrap()),
    )
    .await;
    assert_eq!(shown.unwrap()["events"], sent["events"]);

    // An epoch ends: its root, and the block that begins the next.
    clock.set_ms(BEGIN_MS + EPOCH_MS + 1);
    let (_, root) = next(&mut live).await.unwrap();
    assert_eq!(
        (root["type"].as_str(), &root["epoch"]),
        (Some("epoch"), &json!(0))
    );
    let (last, block) = next(&mut live).await.unwrap();
    assert_eq!(block["events"][0], json!({"event": "epoch", "epoch": 1}));

    // Whoever comes later, or again after a break, or after the process has ended, sees the same.
    let whole = all(&client, 0).await;
    let leaves: Vec<u64> = whole.iter().map(|(leaf, _)| *leaf).collect();
    assert_eq!(leaves, (0..=last).collect::<Vec<_>>());
    registry.stop().await;
    let registry = start(folder.path(), &clock).await.unwrap();
    let client = super::support::client(&registry);
    assert_eq!(all(&client, 0).await, whole);
    assert_eq!(
        all(&client, leaf).await,
        whole[usize::try_from(leaf).unwrap()..]
    );
    let call = client.get("/v1/events").query("wait", 0).query("from", 0);
    let mut again = call
        .last_event_id(&leaf.to_string())
        .events()
        .await
        .unwrap();
    assert_eq!(
        next(&mut again).await.unwrap(),
        whole[usize::try_from(second).unwrap()]
    );
    // What is not there is not waited for: the log was longer once, or it is another one.
    for (name, value) in [("from", last + 2), ("wait", 90_000)] {
        let call = client.get("/v1/events").query(name, value);
        assert_eq!(refusal(call.events().await), Code::InvalidRequest);
    }
    let call = client.get("/v1/events").last_event_id("x");
    assert_eq!(refusal(call.events().await), Code::InvalidRequest);

    // Streams are bounded, and end in order with the process.
    let mut open = Vec::new();
    let refused = loop {
        match client.get("/v1/events").events().await {
            Ok(events) => open.push(events),
            refused => break refusal(refused),
        }
    };
    assert_eq!((refused, open.len()), (Code::Overloaded, 64));
    let text = figures(&client).await;
    assert!(
        text.contains("\nadit_registry_event_streams 64\n"),
        "{text}"
    );
    let begun = std::time::Instant::now();
    registry.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(4));
    for mut events in open {
        assert_eq!(next(&mut events).await, None);
    }
}

async fn figures(client: &Client) -> String {
    let answer = client.get("/metrics").send().await.unwrap();
    String::from_utf8(answer.bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let registry = start(folder.path(), &clock).await.unwrap();
    done(&registry, 1, transfer(2, 5)).await;
    let poor = body(&registry, 3, transfer(2, 5)).await;
    assert_eq!(
        super::refused(post(&registry, &poor).await),
        Code::InsufficientFunds
    );
    let text = figures(&client(&registry)).await;
    let size = log_size(&registry).await;
    for line in [
        "adit_registry_transactions_total 1".to_owned(),
        "adit_registry_transactions_refused_total 1".to_owned(),
        "adit_registry_block_height 2".to_owned(),
        "adit_registry_epoch 0".to_owned(),
        format!("adit_registry_log_entries {size}"),
        format!("adit_registry_log_checkpoint_entries {size}"),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in\n{text}"
        );
    }
    let route = "route=\"/v1/transactions\",method=\"POST\",status=\"4xx\"";
    assert!(text.contains(route), "{text}");
    registry.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_checked_so_many_times_of_one_address() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let registry = Arc::new(start(folder.path(), &clock).await.unwrap());
    let mut bad = body(&registry, 1, transfer(2, 5)).await;
    bad["signature"] = json!(format!("0x{}", "17".repeat(64)));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let config = ClientConfig {
            retry: Retry::NEVER,
            ..ClientConfig::new(registry.url().parse().unwrap())
        };
        let (client, bad) = (Client::new(config).unwrap(), bad.clone());
        senders.spawn(async move {
            let mut counts = [0u32; 2];
            for _ in 0..600 {
                let call = client.post("/v1/transactions").json(&bad);
                match refusal(call.timeout_ms(20_000).send().await) {
                    Code::BadSignature => counts[0] += 1,
                    Code::QuotaExceeded => return counts,
                    other => panic!("{other}"),
                }
            }
            counts
        });
    }
    let counts = senders.join_all().await;
    let checked: u32 = counts.iter().map(|[checked, _]| checked).sum();
    assert!((4096..4800).contains(&checked), "{checked}");
    // What is of use passes again in a moment, and does not count.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for _ in 0..20 {
        done(&registry, 1, transfer(2, 1)).await;
    }
}

/// A witness of the registry's log on this machine.
async fn witness(folder: &Path, seed: u8, log: NoteKey) -> (Server, LogWitness) {
    let db = Db::open(&folder.join("witness.db"), &[MIGRATION]).unwrap();
    let options = WitnessOptions {
        name: format!("witness.example/{seed}").parse().unwrap(),
        key: keypair(seed),
        logs: vec![log],
        clock: Arc::new(ManualClock::at_ms(BEGIN_MS)),
    };
    let witness = Arc::new(Witness::new(db, options));
    let key = witness.note_key();
    let listen = Listen::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let server = Server::start(
        listen,
        Limits::default(),
        router(witness),
        CancellationToken::new(),
    );
    let server = server.await.unwrap();
    let url = server.url().parse().unwrap();
    let roots = Roots::none();
    (server, LogWitness { key, url, roots })
}

/// Waits until a quorum has cosigned a checkpoint of at least so many entries.
async fn cosigned(registry: &Running, trust: &Trust, size: u64) {
    let log = format!("{}/log", registry.url()).parse().unwrap();
    let client = Client::new(ClientConfig::new(log)).unwrap();
    let reader = LogReader::new(client, trust.clone());
    let begun = std::time::Instant::now();
    loop {
        match reader.checkpoint().await {
            Ok(found) if found.checkpoint.size >= size => {
                assert_eq!(found.cosigned.len(), trust.quorum);
                return;
            }
            other => assert!(begun.elapsed() < Duration::from_secs(20), "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_cosign_the_registrys_log_and_know_of_a_restored_backup() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("registry");
    let clock = ManualClock::at_ms(BEGIN_MS + 1);
    let own = trust(&genesis(), &ledger()).unwrap();
    let (first, one) = witness(&folder.path().join("one"), 31, own.log.clone()).await;
    let (_second, two) = witness(&folder.path().join("two"), 32, own.log.clone()).await;
    let both = Trust {
        witnesses: vec![one.key.clone(), two.key.clone()],
        quorum: 2,
        ..own
    };
    let options = |state: &Path| Options {
        witnesses: vec![one.clone(), two.clone()],
        ..options(state, &clock)
    };
    let registry = Registry::start(options(&state)).await.unwrap();
    cosigned(&registry, &both, 1).await;
    registry.stop().await;
    let backup = folder.path().join("backup");
    let copy = |from: &Path, to: &Path| {
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(from)
            .arg(to)
            .status();
        assert!(copied.unwrap().success());
    };
    copy(&state, &backup);

    let registry = Registry::start(options(&state)).await.unwrap();
    done(&registry, 1, transfer(2, 5)).await;
    let size = log_size(&registry).await;
    cosigned(&registry, &both, size).await;
    // One that is gone keeps nobody from anything.
    first.shutdown(Duration::from_secs(1)).await;
    done(&registry, 1, transfer(2, 5)).await;
    let alone = Trust {
        quorum: 1,
        ..both.clone()
    };
    cosigned(&registry, &alone, size + 1).await;
    registry.stop().await;
    let restored = Registry::start(options(&backup)).await;
    match restored {
        Err(error @ StartError::Witness(_)) => {
            assert_eq!(error.code(), Code::LogForked);
            let said = error.to_string();
            assert!(
                said.contains("witness.example/32 has cosigned") && said.contains("backup"),
                "{said}"
            );
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it goes on from a backup"),
    }
    let registry = Registry::start(options(&state)).await.unwrap();
    registry.stop().await;
}
