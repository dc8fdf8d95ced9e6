//! A coordinator that has two histories of its log: who watches it, and who kept a checkpoint of it,
//! finds out, and keeps the proof.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime::Runtime;

use super::answers::take_one;
use super::world::World;
use crate::support::{Home, files};

/// Makes entries: tasks that are submitted, assigned, and cancelled.
fn grow(world: &World, runtime: &Runtime, many: usize) {
    runtime.block_on(async {
        let client = world.client(Some(&world.token), None);
        let task = world.task(&client, "never run").await;
        for _ in 0..many {
            let view: Value = (client.post("/v1/tasks").json(&task).send().await.unwrap())
                .json()
                .unwrap();
            take_one(world, "Nobody").await;
            let path = format!("/v1/tasks/{}/cancel", view["task"].as_str().unwrap());
            client.post(&path).send().await.unwrap();
        }
    });
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// The program itself, first on its state and then on a copy from before, as after a restored backup
/// of a network without witnesses.
#[test]
fn two_histories_of_a_coordinator_are_found_by_those_who_follow_it() {
    let runtime = Runtime::new().unwrap();
    let world = World::start(&["Nobody"]);
    grow(&world, &runtime, 3);
    let follower = Home::new();
    let watch = |world: &World| follower.adit(&["log", "watch", &world.url, "--once"]);
    watch(&world).exits(0);
    let state = world.home.state().join("coordinator");
    let (backup, first) = (world.home.path("backup"), world.home.path("first"));
    let world = world.restarted(|| copy(&state, &backup));

    // It goes on, and the follower with it.
    grow(&world, &runtime, 3);
    let begun = Instant::now();
    // A checkpoint comes a moment after what is in it.
    while !watch(&world).exits(0).text().contains("entries") {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(100));
    }
    let kept = follower.adit(&["log", "checkpoint", &world.url]).exits(0);
    follower.file("kept", &kept.stdout);
    follower
        .adit(&["log", "check", &world.url, "--from", "kept"])
        .exits(0);

    // The other history is shorter at first, and longer then.
    let world = world.restarted(|| {
        std::fs::rename(&state, &first).unwrap();
        copy(&backup, &state);
    });
    let check = |world: &World| {
        let args = ["log", "check", &world.url, "--from", "kept"];
        follower.adit(&args).exits(4).explains(&["two histories"]);
        let args = ["audit", &world.url, "--sample", "0", "--from", "kept"];
        let said = follower.adit(&args);
        assert!(
            [Some(3), Some(4)].contains(&said.code),
            "{}{}",
            said.text(),
            said.stderr
        );
    };
    check(&world);
    grow(&world, &runtime, 7);
    check(&world);
    let said = watch(&world).exits(4).explains(&["two histories"]);
    assert!(said.stderr.contains("ALARM: "), "{}", said.stderr);
    let proof = files(&follower.state().join("logs"));
    let in_forks = |path: &&std::path::PathBuf| path.iter().any(|part| part == "forks");
    assert!(proof.iter().filter(in_forks).count() >= 2, "{proof:?}");

    // What it goes back to is the history that is known.
    let world = world.restarted(|| {
        std::fs::remove_dir_all(&state).unwrap();
        std::fs::rename(&first, &state).unwrap();
    });
    grow(&world, &runtime, 3);
    watch(&world).exits(0);
    follower
        .adit(&["log", "check", &world.url, "--from", "kept"])
        .exits(0);
    assert_eq!(world.process.end(), Some(0));
}
