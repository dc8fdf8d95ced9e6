//! Peers that mean no good, against the program's own processes: what they do is refused with its
//! code, nothing is lost by it, memory stays bounded, and those beside them are served.
//! `cargo xtask hostile --times N` makes N times as much of it.
//!
//! | file | subject |
//! |---|---|
//! | [`world`] | the processes, and honest clients |
//! | [`requests`] | requests that do not hold, in great numbers |
//! | [`answers`] | members that take work and do not do it |
//! | [`connections`] | connections that are held |
//! | [`coordinator`], [`liar`] | a coordinator that lies, towards a miner's process |
//! | [`fork`] | a coordinator with two histories, towards those who watch its log |

mod answers;
mod connections;
mod coordinator;
mod fork;
mod liar;
mod requests;
pub mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit_protocol::cbor::Document as _;
use tokio::runtime::Runtime;

use world::{Done, Seen, World, merge, network_file, times, times_of};

/// Members that are honest, and those that are not.
const MINERS: [&str; 5] = ["Good1", "Good2", "Liar", "Flood", "Garbage"];
/// Honest tasks at one time.
const BESIDE: usize = 4;
/// Requests of a round that do not hold.
const REQUESTS: u64 = 4_000;

/// What the second round of attacks may add to the coordinator's memory, in KiB, and what each
/// honest task beside it may: 5 KiB were seen.
const GROWTH_KIB: u64 = 8 * 1024;
const TASK_KIB: u64 = 6;
/// What all of it may add to an idle coordinator's memory, once the attackers are gone.
const ADDED_KIB: u64 = 192 * 1024;
/// The most that the coordinator may ever hold: what it lets one address have in bodies and answers,
/// twice where they are copied, and itself.
const PEAK_KIB: u64 = 768 * 1024;

/// One round of attacks at once.
async fn attack(world: &World, stop: &Arc<AtomicBool>) -> Seen {
    let ending = async {
        let queue = answers::introduce(world, "Flood", "flood").await;
        let all = tokio::join!(
            requests::signatures(world, "Garbage", REQUESTS * times()),
            requests::garbage(world, "Garbage", 1_500 * times()),
            requests::flood(world, "Flood", 3_000 * times()),
            requests::blobs(world, 30 * times()),
            connections::truncated(world, 20),
            connections::greedy(world, queue, 600),
        );
        stop.store(true, Ordering::SeqCst);
        [all.0, all.1, all.2, all.3, all.4, all.5]
    };
    let (ending, lies) = tokio::join!(ending, answers::liar(world, "Liar", Arc::clone(stop)));
    let mut seen = Seen::new();
    for part in ending.into_iter().chain([lies]) {
        merge(&mut seen, part);
    }
    seen
}

/// Honest tasks until they are told to end; see [`world::honest`].
async fn beside(world: &World, stop: &Arc<AtomicBool>) -> Vec<Done> {
    let client = world.client(Some(&world.token), None);
    let task = world.task(&client, "").await;
    let all = (0..BESIDE).map(|_| world::honest(client.clone(), task.clone(), Arc::clone(stop)));
    futures_util::future::join_all(all).await.concat()
}

/// Whether all receipts are in the log, and an auditor agrees with all that is there.
fn is_whole(world: &World, miners: &[&str], done: &[Done]) {
    let home = crate::support::Home::new();
    let client = world.client(None, None);
    Runtime::new().unwrap().block_on(async {
        for one in done {
            let path = format!("/v1/receipts/{}", one.receipt);
            let view: serde_json::Value = client.get(&path).send().await.unwrap().json().unwrap();
            assert_eq!(view["decision"], "accepted", "{view:#}");
        }
    });
    home.adit(&["log", "check", &world.url]).exits(0);
    let file = network_file(2, &[world.member()], miners);
    let network = home.file("network", file.to_cbor());
    let audit = ["audit", &world.url, "--sample", "3", "--network"];
    let said = home.adit(&[&audit[..], &[network.to_str().unwrap()]].concat());
    // 6: not all can be checked, as what the liars have never uploaded.
    assert!(
        [Some(0), Some(6)].contains(&said.code),
        "{}{}",
        said.text(),
        said.stderr
    );
}

#[test]
fn a_coordinator_under_attack_serves_the_honest_and_stays_small() {
    let world = World::start(&MINERS);
    let file = network_file(2, &[world.member()], &MINERS);
    let _good = ["Good1", "Good2"].map(|name| world.miner(name, &file));
    let done = Runtime::new().unwrap().block_on(async {
        let quiet = Arc::new(AtomicBool::new(false));
        let (mut done, ()) = tokio::join!(beside(&world, &quiet), async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            quiet.store(true, Ordering::SeqCst);
        });
        eprintln!("before: {}", times_of(&done));
        let idle_kib = world.memory_kib().0;
        let mut after_kib = Vec::new();
        let mut tasks = 0;
        for round in ["first", "second"] {
            let stop = Arc::new(AtomicBool::new(false));
            let (seen, honest) = tokio::join!(attack(&world, &stop), beside(&world, &stop));
            eprintln!("{round} round: {seen:#?}\nbeside it: {}", times_of(&honest));
            for wanted in [
                "bad-encoding",
                "bad-request-signature",
                "bad-signature",
                "blob-mismatch",
                "blob-too-large",
                "decision mismatch",
                "not-registered",
                "request-replayed",
                "request-stale",
                "submitted: quota-exceeded",
                "unauthorized",
            ] {
                assert!(seen.contains_key(wanted), "{wanted} in {seen:#?}");
            }
            tasks = honest.len() as u64;
            done.extend(honest);
            // Connections that were dropped are noticed, and what they held is given back.
            tokio::time::sleep(Duration::from_secs(1)).await;
            after_kib.push(world.memory_kib().0);
        }
        let before_kib = world.memory_kib().1;
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, honest) = tokio::join!(
            async {
                let seen = connections::heavy(&world, 160).await;
                stop.store(true, Ordering::SeqCst);
                seen
            },
            beside(&world, &stop)
        );
        let peak_kib = world.memory_kib().1;
        eprintln!("heavy: {seen:#?}\nbeside it: {}", times_of(&honest));
        done.extend(honest);
        eprintln!(
            "memory in KiB: idle {idle_kib}, after each round {after_kib:?}, peak {before_kib}, \
             peak with heavy requests {peak_kib}"
        );
        for kind in ["long answer: overloaded", "long body: overloaded"] {
            assert!(seen.contains_key(kind), "{kind} in {seen:#?}");
        }
        let most = after_kib[0] + GROWTH_KIB + TASK_KIB * tasks;
        assert!(after_kib[1] < most, "{after_kib:?} {tasks}");
        assert!(
            after_kib[0] < idle_kib + ADDED_KIB,
            "{idle_kib} {after_kib:?}"
        );
        assert!(peak_kib < PEAK_KIB, "{peak_kib}");
        done
    });
    is_whole(&world, &MINERS, &done);
    assert_eq!(world.process.end(), Some(0));
}

/// Headers and bodies that trickle, and a miner that takes leases and never answers. Tasks that it
/// was drawn for wait until its lease has ended, and are then another's.
#[test]
fn who_is_slow_or_silent_is_given_up() {
    let miners = ["Good1", "Good2", "Silent"];
    let world = World::start(&miners);
    let file = network_file(2, &[world.member()], &miners);
    let _good = ["Good1", "Good2"].map(|name| world.miner(name, &file));
    let done = Runtime::new().unwrap().block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let (slow, silent, honest) = tokio::join!(
            async {
                let seen = connections::slow(&world, 200).await;
                stop.store(true, Ordering::SeqCst);
                seen
            },
            answers::silent(&world, "Silent", Arc::clone(&stop)),
            beside(&world, &stop)
        );
        eprintln!("{slow:#?}\n{silent:#?}\nbeside it: {}", times_of(&honest));
        assert!(silent["leases never answered"] > 0, "{silent:?}");
        honest
    });
    is_whole(&world, &miners, &done);
    let (_, peak_kib) = world.memory_kib();
    assert!(peak_kib < PEAK_KIB, "{peak_kib}");
    assert_eq!(world.process.end(), Some(0));
}
