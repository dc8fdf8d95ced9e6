//! A coordinator that lies, towards a miner's process that works for an honest one at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use adit_net::http::client::Client;
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::status::Status;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::liar::{Blob, Liar, Word, serve};
use super::world::{self, World, genesis, key, member, memory_kib, network_file, node, times_of};
use crate::support::{Home, guest};

/// What lies may add to the miner's memory once they are over, and at any time, in KiB. Blobs of a
/// gigabyte and more are offered.
const GROWTH_KIB: u64 = 96 * 1024;
const PEAK_KIB: u64 = 640 * 1024;

/// How long leases last, in milliseconds: of blobs that are bad, which the miner tries again for as
/// long, and of blobs that never come, which outlast the honest tasks' leases.
const LEASE_MS: u64 = 8_000;
const LONG_LEASE_MS: u64 = 120_000;

/// The coordinator of that key, as the miner's process sees it.
fn status(home: &Home, node: [u8; 32]) -> Value {
    let status = home.adit(&["miner", "--json", "status"]).exits(0).json();
    let all = status["coordinators"].as_array().unwrap();
    let found = all
        .iter()
        .find(|one| world::unhex(one["node"].as_str().unwrap()) == node);
    found.unwrap_or_else(|| panic!("{status:#}")).clone()
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Everything that it can be wrong in, one after the other, for as long as each takes.
async fn lies(
    world: &World,
    client: &Client,
    liar: &Arc<Liar>,
    home: &Home,
    said: impl Fn() -> String,
) {
    let component = Hash::of(&std::fs::read(guest("word-count.wasm")).unwrap());
    let network = genesis().hash();
    let mut number = 0;
    let mut work = |component, network, signer: &str, lease_ms| {
        number += 1;
        let signer = match signer {
            "" => liar.key.clone(),
            name => key(name),
        };
        let input = Hash::of(format!("an input {number}").as_bytes());
        liar.work(number, component, input, network, &signer, lease_ms)
    };
    // Assignments of another key and of another network are not taken.
    {
        let bad = [
            work(component, network, "Somebody", LEASE_MS),
            work(component, Hash::of(b"elsewhere"), "", LEASE_MS),
        ];
        liar.known().queue.extend(bad);
    }
    until("they are refused", || {
        let said = said();
        said.contains("signature") && said.contains("other-network")
    })
    .await;
    assert!(status(home, liar.node())["refused_work"].as_u64().unwrap() >= 2);

    // Blobs that cannot be had.
    let kinds = [Blob::Wrong, Blob::Truncated, Blob::Endless];
    for kind in kinds {
        let component = Hash::of(format!("{kind:?}").as_bytes());
        let work = work(component, network, "", LEASE_MS);
        let mut known = liar.known();
        known.blobs.insert(component.to_string(), kind);
        known.queue.push_back(work);
    }
    // Each word about the receipts that come of it, and then the truth.
    liar.known().words.extend([
        Word::Forged,
        Word::OtherKey,
        Word::Both,
        Word::Nothing,
        Word::Garbage,
    ]);
    until("the receipts are in", || {
        liar.known().receipts.len() >= kinds.len()
    })
    .await;
    until("the words are out", || liar.known().words.is_empty()).await;
    until("all is acknowledged", || {
        let receipts = status(home, liar.node())["receipts"].clone();
        let in_hand = liar.known().receipts.len() as u64;
        receipts["acknowledged"] == in_hand && receipts["signed"] == 0 && receipts["begun"] == 0
    })
    .await;

    // Blobs that never come, in more tasks than the miner has downloads at one time. One of them is
    // the input of an honest task, which the miner has to fetch meanwhile.
    let input = format!("{:?} a long line\n", Instant::now());
    let input = input.repeat(5_000).into_bytes();
    for at in 0..16 {
        let component = match at {
            0 => Hash::of(&input),
            at => Hash::of(format!("never {at}").as_bytes()),
        };
        let work = work(component, network, "", LONG_LEASE_MS);
        {
            let mut known = liar.known();
            known.blobs.insert(component.to_string(), Blob::Never);
            known.queue.push_back(work);
        }
        if at == 0 {
            // It is begun before the honest one asks for it.
            until("it is asked for", || {
                liar.known().asked.contains_key("blob Never")
            })
            .await;
        }
    }
    let fetching = || {
        status(home, liar.node())["held"]["fetching"]
            .as_u64()
            .unwrap()
    };
    until("they are being fetched", || fetching() > 8).await;
    let mut task = world.task(client, "").await;
    task["input"] = world::put(client, input).await.into();
    let call = client.post("/v1/tasks").json(&task).query("wait", 60);
    let view: Value = call
        .timeout_ms(90_000)
        .send()
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(view["state"], "completed", "{view:#}");
    assert!(fetching() > 8, "the lies were over before");
}

#[test]
fn a_miner_that_is_lied_to_works_on_for_the_honest() {
    let miners = ["Good1"];
    let world = World::start(&miners);
    let runtime = Runtime::new().unwrap();
    let liar = Liar::new(key("LyingCoordinator"), node("Good1"));
    let server = runtime.block_on(serve(&liar));
    let lying = member(liar.node(), node("LyingLog"), &server.url());
    let file = network_file(3, &[world.member(), lying], &miners);
    world.hand_out(&file);
    let (home, process) = world.miner("Good1", &file);
    runtime.block_on(async {
        let client = world.client(Some(&world.token), None);
        let task = world.task(&client, "").await;
        let (before, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let honest = tokio::spawn(world::honest(client.clone(), task, Arc::clone(&stop)));
        until("it works for both", || {
            liar.known().asked.contains_key("poll")
                && status(&home, world.node)["receipts"]["acknowledged"].as_u64() > Some(20)
        })
        .await;
        let (idle_kib, _) = memory_kib(process.id());
        lies(&world, &client, &liar, &home, process.stderr()).await;
        let (after_kib, peak_kib) = memory_kib(process.id());
        stop.store(true, Ordering::SeqCst);
        let done = honest.await.unwrap();
        let known = liar.known();
        eprintln!(
            "{:.1?} of lies: {:#?}\nits words: {:#?}\nfor the honest: {}\n\
             memory in KiB: before {idle_kib}, after {after_kib}, peak {peak_kib}",
            before.elapsed(),
            known.asked,
            known.details,
            times_of(&done),
        );
        assert!(after_kib < idle_kib + GROWTH_KIB, "{idle_kib} {after_kib}");
        assert!(peak_kib < PEAK_KIB, "{peak_kib}");
        // One body for each number, each on top of the one before, whatever was answered.
        assert_eq!(known.doubles, 0);
        let mut prev = Hash::ZERO;
        for (expected, (seq, receipt)) in (1..).zip(&known.receipts) {
            assert_eq!((*seq, receipt.body.prev), (expected, prev));
            assert_eq!(receipt.body.status, Status::Unavailable);
            prev = receipt.id();
        }
        for code in ["blob-mismatch", "blob-too-large"] {
            let told = known.details.iter().any(|detail| detail.contains(code));
            assert!(told, "{code} in {:#?}", known.details);
        }
        for word in ["Forged", "OtherKey", "Both", "Nothing", "Garbage", "Honest"] {
            assert!(
                known.asked.contains_key(word),
                "{word} in {:#?}",
                known.asked
            );
        }
    });
    let said = process.said();
    for reason in ["countersignature", "contradiction"] {
        assert!(said.contains(reason), "{reason} in\n{said}");
    }
    assert_eq!(process.end(), Some(0));
    assert_eq!(world.process.end(), Some(0));
    runtime.block_on(server.shutdown(Duration::from_secs(1)));
}
