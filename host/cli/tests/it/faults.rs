//! What goes wrong around a run: two at once, sudden death, a state folder that cannot be used.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Home, guest};

#[test]
fn runs_at_the_same_time_get_numbers_of_their_own() {
    let home = Home::new();
    let guest = guest("guest-behave.wasm");
    let children: Vec<_> = (0..4)
        .map(|_| {
            home.command(&["--json", "run", guest.to_str().unwrap(), "--", "args"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut seqs = BTreeSet::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let ran: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        });
        seqs.insert(ran["seq"].as_u64().unwrap());
    }
    assert_eq!(seqs.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    // One key signed them all, although all four found none.
    assert_eq!(fs::read_dir(home.state().join("keys")).unwrap().count(), 1);
}

#[test]
fn a_killed_run_leaves_the_state_folder_usable() {
    let home = Home::new();
    home.behave(&[], &["args"]).exits(0);
    let guest = guest("guest-behave.wasm");
    for wait in [0, 20, 60, 150, 300] {
        let mut child = home
            .command(&[
                "run",
                guest.to_str().unwrap(),
                "--fuel",
                "9999T",
                "--",
                "loop",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let ran = home.behave_json(&[], &["args"], 0);
    assert_eq!(ran["seq"], 2);
    home.adit(&["receipt", "replay", "last"]).exits(0);
}

#[test]
fn ctrl_c_ends_the_run_in_order_with_a_receipt() {
    let home = Home::new();
    let guest = guest("guest-behave.wasm");
    // Compiled before, so that the signal finds the guest running.
    home.behave(&[], &["args"]).exits(0);
    let child = home
        .command(&[
            "run",
            guest.to_str().unwrap(),
            "--fuel",
            "9999T",
            "--",
            "loop",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let began = Instant::now();
    let pid = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(stderr.contains("cancelled"), "{stderr}");
    let shown = home.adit(&["receipt", "show", "last"]).exits(0).text();
    assert!(shown.contains("cancelled (not attestable"), "{shown}");
    home.adit(&["receipt", "replay", "last"]).exits(6);
}

#[test]
fn a_state_folder_that_cannot_be_used_is_explained() {
    let home = Home::new();
    let guest = guest("guest-behave.wasm");
    // A file stands where the folder should be; root, too, cannot write below it.
    home.file("state", "in the way");
    home.adit(&["run", guest.to_str().unwrap(), "--", "args"])
        .exits(1)
        .explains(&["state folder", "--state"]);
    fs::remove_file(home.state()).unwrap();

    home.behave(&[], &["args"]).exits(0);
    let key = home.state().join("keys/local");
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(&key, mode).unwrap();
    };
    mode(0o644);
    home.behave(&[], &["args"])
        .exits(1)
        .explains(&["others may read it", "chmod 600"]);
    mode(0o600);
    fs::write(&key, "no key").unwrap();
    home.behave(&[], &["args"])
        .exits(1)
        .explains(&["64 hexadecimal digits"]);
    fs::remove_file(&key).unwrap();
    home.behave(&[], &["args"]).exits(0);

    fs::write(home.state().join("receipts/head"), "no body").unwrap();
    home.behave(&[], &["args"])
        .exits(1)
        .explains(&["is damaged", "--state"]);
}

#[test]
fn a_damaged_component_in_the_store_is_replaced_and_a_damaged_cache_does_no_harm() {
    let home = Home::new();
    let ran = home.behave_json(&["--clock", "1"], &["args"], 0);
    for folder in ["code", "blobs"] {
        for entry in walk(&home.state().join(folder)) {
            let mut bytes = fs::read(&entry).unwrap();
            if let Some(middle) = bytes.len().checked_div(2).and_then(|m| bytes.get_mut(m)) {
                *middle ^= 0xff;
            }
            fs::write(&entry, bytes).unwrap();
        }
        let again = home.behave(&["--clock", "1", "--json"], &["args"]);
        // Either all is well, or it is said what is not; never another result.
        match again.code {
            Some(0) => assert_eq!(again.json()["output"], ran["output"]),
            code => {
                assert!(matches!(code, Some(1..=3)), "{}", again.stderr);
                assert!(again.stderr.contains("\"hint\""), "{}", again.stderr);
            }
        }
        let verdict = home.adit(&["receipt", "replay", ran["receipt"].as_str().unwrap()]);
        assert!(!matches!(verdict.code, Some(5)), "{}", verdict.text());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}
