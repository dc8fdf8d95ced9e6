//! Many processes on one state folder, which none of them finds there.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::SystemTime;

use adit_protocol::Hash;
use adit_protocol::receipt::Receipt;

use crate::support::{Home, Said, ended, files, guest};

/// Processes at the same time.
const PROCESSES: usize = 8;

#[test]
fn runs_and_replays_at_the_same_time_share_one_key_one_series_and_one_cache() {
    let home = Home::new();
    let guest = guest("guest-behave.wasm").display().to_string();
    let run = |number: usize| {
        let number = number.to_string();
        // Half of them make the same run, and so the same blobs.
        let words = ["--json", "run", &guest, "--clock", "1", "--", "args"];
        let own = [number.as_str()];
        let own = if number.len() == 1 { &own[..] } else { &[] };
        ended(home.command(&[&words[..], own].concat()))
    };
    let all = |what: &(dyn Fn(usize) -> Said + Sync)| -> Vec<Said> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..PROCESSES)
                .map(|number| scope.spawn(move || what(number)))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        })
    };
    // The numbers from 10 on have two digits, and no argument.
    let first = all(&|number| run(if number % 2 == 0 { number } else { 10 }));
    let ran: BTreeMap<u64, String> = first
        .into_iter()
        .map(|said| {
            let ran = said.exits(0).json();
            assert_eq!(ran["status"], "ok");
            let id = ran["receipt"].as_str().unwrap().to_owned();
            (ran["seq"].as_u64().unwrap(), id)
        })
        .collect();
    let numbers: Vec<u64> = ran.keys().copied().collect();
    assert_eq!(numbers, (1..=PROCESSES as u64).collect::<Vec<_>>());
    let ids: Vec<&String> = ran.values().collect();

    // Replays of these among further runs.
    for said in all(&|number| match number % 2 {
        0 => run(number),
        _ => home.adit(&["receipt", "replay", ids[number]]),
    }) {
        said.exits(0);
    }
    let mut before = Hash::ZERO;
    let mut receipts: Vec<Receipt> = files(&home.state().join("receipts"))
        .iter()
        .filter(|file| file.extension().is_some_and(|e| e == "receipt"))
        .map(|file| Receipt::from_bytes(&fs::read(file).unwrap()).unwrap())
        .collect();
    receipts.sort_by_key(|receipt| receipt.body.seq);
    assert_eq!(receipts.len(), PROCESSES + PROCESSES / 2);
    let miner = receipts[0].body.miner;
    for (seq, receipt) in (1..).zip(&receipts) {
        receipt.verify().unwrap();
        let body = &receipt.body;
        assert_eq!((body.seq, body.prev, body.miner), (seq, before, miner));
        before = receipt.id();
    }

    // One of each, whole, and nothing that was not finished.
    assert_eq!(files(&home.state().join("keys")).len(), 1);
    let code = files(&home.state().join("code"));
    assert_eq!(code.len(), 2, "{code:?}");
    let compiled = |path: &std::path::Path| path.metadata().unwrap().modified().unwrap();
    for blob in files(&home.state().join("blobs")) {
        let name = blob.file_name().unwrap().to_str().unwrap();
        assert_eq!(Hash::of(&fs::read(&blob).unwrap()).to_hex(), name);
    }
    // The cache that they left is used: a file that is only read keeps its content and is marked
    // as used, and is not made again.
    let cached = code.iter().find(|f| f.extension().is_some()).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&cached.metadata().unwrap());
    fs::File::options()
        .append(true)
        .open(cached)
        .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
        .unwrap();
    run(0).exits(0);
    assert!(compiled(cached) > SystemTime::UNIX_EPOCH);
    let now = std::os::unix::fs::MetadataExt::ino(&cached.metadata().unwrap());
    assert_eq!(now, inode);
}

#[test]
fn a_stopped_process_that_holds_the_lock_only_delays() {
    let home = Home::new();
    home.behave(&[], &["args"]).exits(0);
    let lock = fs::File::open(home.state().join("receipts/lock")).unwrap();
    lock.lock().unwrap();
    let guest = guest("guest-behave.wasm").display().to_string();
    let mut waiting = home
        .command(&["--json", "run", &guest, "--", "args"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Readers do not wait.
    home.adit(&["receipt", "verify", "last"]).exits(0);
    home.adit(&["receipt", "replay", "last"]).exits(0);
    assert!(waiting.try_wait().unwrap().is_none());
    drop(lock);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let ran: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ran["seq"], 2);
}
