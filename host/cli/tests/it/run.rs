//! `adit run`: output, figures, statuses, limits, inputs.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{Home, guest};

#[test]
fn stdout_is_the_output_to_the_byte_and_nothing_else() {
    let home = Home::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let input = home.file("input", &bytes);
    let said = home
        .behave(&["--input", input.to_str().unwrap()], &["echo"])
        .exits(0);
    assert!(said.stdout == bytes);
    let lines: Vec<&str> = said.stderr.lines().collect();
    assert!(lines[0].starts_with("receipt blake3:"), "{lines:?}");
    assert!(lines[1].starts_with("ok, 97.7 KiB out, "), "{lines:?}");
    assert_eq!(lines.len(), 2);

    let quiet = home.behave(&["--quiet"], &["args", "x"]).exits(0);
    assert_eq!(quiet.stderr, "");
    assert!(quiet.text().contains("\"x\""));
}

#[test]
fn json_is_one_object_with_all_figures() {
    let home = Home::new();
    let ran = home.behave_json(&[], &["args"], 0);
    assert_eq!(ran["status"], "ok");
    assert_eq!(ran["world"], "wasi:cli/command");
    assert!(ran["output"]["text"].as_str().unwrap().contains("args"));
    assert!(ran["fuel"].as_u64().unwrap() > 1000);
    assert!(ran["peak_memory_bytes"].as_u64().unwrap() >= 65536);
    assert_eq!(ran["nn"]["used"], false);
    // What is not text comes as base64.
    let input = home.file("input", [0xff, 0xfe]);
    let ran = home.behave_json(&["--input", input.to_str().unwrap()], &["echo"], 0);
    assert_eq!(ran["output"]["base64"], "//4=");
    assert_eq!(ran["output"]["bytes"], 2);
}

#[test]
fn standard_input_and_folders_are_inputs() {
    let home = Home::new();
    let guest = guest("guest-behave.wasm");
    let mut child = home
        .command(&["run", guest.to_str().unwrap(), "-i", "-", "--", "echo"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"piped").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"piped");

    home.file("folder/b", "second");
    home.file("folder/a", "first");
    std::os::unix::fs::symlink("/etc/passwd", home.path("folder/link")).unwrap();
    let said = home.behave(&["-i", "folder"], &["echo"]).exits(0);
    let text = said.text();
    assert!(text.find("first").unwrap() < text.find("second").unwrap());
    assert!(!text.contains("root:"));
    assert!(said.stderr.contains("link is left out"), "{}", said.stderr);
}

#[test]
fn the_same_run_gives_the_same_result_and_seed_and_clock_matter() {
    let home = Home::new();
    let options = ["--clock", "2025-01-01T00:00:00Z", "--seed", "7"];
    let one = home.behave_json(&options, &["random"], 0);
    let two = home.behave_json(&options, &["random"], 0);
    for field in ["output", "fuel", "peak_memory_bytes", "exec", "task"] {
        assert_eq!(one[field], two[field], "{field}");
    }
    assert_ne!(one["receipt"], two["receipt"]);
    let other = home.behave_json(&["--clock", "2025-01-01T00:00:00Z"], &["random"], 0);
    assert_ne!(one["output"], other["output"]);
    let clock = home.behave_json(&["--clock", "5"], &["clock"], 0);
    let text = clock["output"]["text"].as_str().unwrap();
    assert!(text.starts_with("50000"), "{text}");
}

#[test]
fn each_status_has_its_exit_code_and_its_reason() {
    let home = Home::new();
    for (options, args, status, code) in [
        (&[][..], &["exit", "3"][..], "task-error", 1),
        (&[], &["panic"], "trap", 1),
        (&["--fuel", "1M"], &["loop"], "out-of-fuel", 1),
        (&["--memory", "4MiB"], &["memory", "50000000"], "", 1),
        (
            &["--output-limit", "1KiB"],
            &["stdout", "5000"],
            "limit-exceeded",
            1,
        ),
        (
            &["--deadline", "300ms", "--fuel", "9999T"],
            &["loop"],
            "deadline",
            1,
        ),
    ] {
        let said = home
            .behave(options, args)
            .exits(code)
            .explains(&[status, "adit explain"]);
        // Whatever the status, there is a receipt, and its record holds.
        assert!(said.stderr.contains("receipt blake3:"), "{}", said.stderr);
        home.adit(&["receipt", "verify", "last"]).exits(0);
    }
}

#[test]
fn files_that_are_no_components_are_refused_with_a_hint() {
    let home = Home::new();
    let run = |name: &str| home.adit(&["run", home.path(name).to_str().unwrap()]);
    home.file("text.wasm", "not wasm at all");
    run("text.wasm").exits(1).explains(&["not WebAssembly"]);
    home.file("core.wasm", b"\0asm\x01\0\0\0");
    run("core.wasm")
        .exits(1)
        .explains(&["core WebAssembly module", "adit build"]);
    run("absent.wasm").exits(1).explains(&["No such file"]);
    run("").exits(1).explains(&["it is a folder"]);
    // This begins as a component: it is the runtime that refuses it, and a receipt says so.
    home.file("empty.wasm", b"\0asm\x0d\0\x01\0");
    let said = run("empty.wasm")
        .exits(1)
        .explains(&["invalid-component", "exports neither"]);
    assert!(said.stderr.contains("receipt blake3:"));
    home.file("cut.wasm", b"\0asm\x0d\0\x01\0\x07\xff\xff");
    run("cut.wasm").exits(1).explains(&["invalid-component"]);
}

#[test]
fn wrong_arguments_are_explained_and_nothing_is_done() {
    let home = Home::new();
    let guest = guest("guest-behave.wasm");
    let guest = guest.to_str().unwrap();
    for args in [
        &["run", guest, "--fuel", "much"][..],
        &["run", guest, "--memory", "-1"],
        &["run", guest, "--deadline", "never"],
        &["run", guest, "--model", "noequals"],
        &["run", guest, "--world", "task"],
        &["run", guest, "--model", "a=absent.onnx"],
        &["run", guest, "--input", "absent"],
        &["run", guest, "--receipt", "no/such/folder"],
        &["run"],
        &["fly"],
    ] {
        let said = home.adit(args).exits(1).explains(&[]);
        assert_eq!(said.stdout, b"", "{args:?}");
    }
    let garbage = home.file("model.onnx", [7; 1000]);
    let model = format!("m={}", garbage.display());
    home.adit(&["run", guest, "--model", &model])
        .exits(1)
        .explains(&["not a valid ONNX file"]);
    assert!(!home.state().join("receipts/head").exists());

    let said = home.adit(&["--json", "run", "absent.wasm"]).exits(1);
    let error: serde_json::Value = serde_json::from_str(&said.stderr).unwrap();
    assert_eq!(error["error"]["exit"], 1);
    assert!(!error["error"]["hint"].as_str().unwrap().is_empty());
}

#[test]
fn the_receipt_is_written_where_it_is_asked_for() {
    let home = Home::new();
    let ran = home.behave_json(&["--receipt", "out.receipt"], &["args"], 0);
    let bytes = std::fs::read(home.path("out.receipt")).unwrap();
    assert_eq!(bytes.len(), 520);
    let kept = std::fs::read(home.receipt(ran["receipt"].as_str().unwrap())).unwrap();
    assert_eq!(bytes, kept);
}

#[test]
fn a_guests_log_goes_to_stderr() {
    let home = Home::new();
    let said = home.behave(&[], &["panic"]).exits(1);
    assert_eq!(said.stdout, b"");
    assert!(said.stderr.contains("as asked"), "{}", said.stderr);
}
