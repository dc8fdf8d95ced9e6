//! `adit key`, `adit explain`, `adit inspect`, completions.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use adit_protocol::keys::Keypair;
use adit_protocol::keys::keystore::Keystore;

use crate::support::{Home, Said, guest};

fn with_stdin(home: &Home, args: &[&str], stdin: &str) -> Said {
    let mut child = home
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Said {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The indented line.
fn phrase(said: &Said) -> String {
    let line = said.stderr.lines().find(|line| line.starts_with("    "));
    line.unwrap().trim().to_owned()
}

#[test]
fn a_keystore_and_its_phrase_are_the_same_key() {
    let home = Home::new();
    home.file("password", "correct horse\n");
    let made = home
        .adit(&[
            "--json",
            "key",
            "new",
            "--words",
            "24",
            "--out",
            "k.json",
            "--password-file",
            "password",
        ])
        .exits(0);
    let phrase = phrase(&made);
    assert_eq!(phrase.split(' ').count(), 24);
    let public = made.json()["public_key"].as_str().unwrap().to_owned();
    let mode = home.path("k.json").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let file = std::fs::read(home.path("k.json")).unwrap();
    let opened = Keystore::from_json(&file)
        .unwrap()
        .decrypt("correct horse")
        .unwrap();
    assert_eq!(
        opened.public(),
        Keypair::from_uri(&phrase).unwrap().public()
    );

    let shown = home
        .adit(&["--json", "key", "show", "k.json"])
        .exits(0)
        .json();
    assert_eq!(shown["public_key"], public);
    let by_phrase = with_stdin(
        &home,
        &["--json", "key", "show", "-"],
        &format!("{phrase}\n"),
    );
    assert_eq!(by_phrase.json()["public_key"], public);
    let address = shown["address"].as_str().unwrap();
    let by_address = home
        .adit(&["--json", "key", "show", address])
        .exits(0)
        .json();
    assert_eq!(by_address["public_key"], public);

    // It is never overwritten, and secrets are not taken from the command line.
    home.adit(&[
        "key",
        "new",
        "--out",
        "k.json",
        "--password-file",
        "password",
    ])
    .exits(1)
    .explains(&["never overwritten"]);
    assert_eq!(std::fs::read(home.path("k.json")).unwrap(), file);
    let refused = home
        .adit(&["key", "show", &phrase])
        .exits(1)
        .explains(&["command line"]);
    assert!(!refused.stderr.contains(&phrase));
}

#[test]
fn signatures_verify_under_their_context_only() {
    let home = Home::new();
    home.file("password", "pw");
    home.file("wrong", "other");
    home.file("message", "hello");
    home.adit(&[
        "key",
        "new",
        "--out",
        "k.json",
        "--password-file",
        "password",
    ])
    .exits(0);
    let sign = |context: &str, password: &str| {
        home.adit(&[
            "key",
            "--json",
            "sign",
            "message",
            "--key",
            "k.json",
            "--context",
            context,
            "--password-file",
            password,
        ])
    };
    let public = |said: &Said| unhex::<32>(said.json()["public_key"].as_str().unwrap());
    let signature = |said: &Said| unhex::<64>(said.json()["signature"].as_str().unwrap());
    let check = |said: &Said, context: &[u8], message: &[u8]| {
        adit_protocol::keys::PublicKey::from_bytes(&public(said))
            .unwrap()
            .verify(context, message, &signature(said))
    };
    let message = sign("message", "password").exits(0);
    check(&message, b"adit-message-v1", b"hello").unwrap();
    check(&message, b"substrate", b"hello").unwrap_err();
    let wallet = sign("wallet", "password").exits(0);
    check(&wallet, b"substrate", b"<Bytes>hello</Bytes>").unwrap();
    check(&wallet, b"substrate", b"hello").unwrap_err();
    let wrong = sign("message", "wrong").exits(1);
    assert!(wrong.stderr.contains("bad-passphrase"), "{}", wrong.stderr);
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    let digits = text.strip_prefix("0x").unwrap();
    assert_eq!(digits.len(), 2 * N);
    std::array::from_fn(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
}

#[test]
fn development_keys_are_those_of_other_tools() {
    let home = Home::new();
    let alice = home
        .adit(&["--json", "key", "show", "//Alice"])
        .exits(0)
        .json();
    // The address that every Substrate tool has for it.
    assert_eq!(
        alice["address"],
        "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
    );
    home.adit(&["key", "show", "/tmp/mistyped.json"])
        .exits(1)
        .explains(&[]);
    home.adit(&["key", "show", "//Alice///password"])
        .exits(1)
        .explains(&[]);
}

#[test]
fn codes_are_explained() {
    let home = Home::new();
    let said = home.adit(&["explain", "out-of-fuel"]).exits(0).text();
    assert!(said.contains("--fuel"), "{said}");
    let all = home.adit(&["explain"]).exits(0).text();
    assert!(all.lines().count() > 30);
    home.adit(&["explain", "no-such"])
        .exits(1)
        .explains(&["adit explain"]);
    let script = home.adit(&["completions", "bash"]).exits(0).text();
    assert!(script.contains("receipt"));
}

#[test]
fn files_of_each_kind_are_inspected() {
    let home = Home::new();
    let behave = guest("guest-behave.wasm");
    let component = home
        .adit(&["--json", "inspect", behave.to_str().unwrap()])
        .exits(0)
        .json();
    assert_eq!(component["kind"], "component");
    assert_eq!(component["world"], "wasi:cli/command");
    let exports = component["exports"].as_array().unwrap();
    assert!(
        exports
            .iter()
            .any(|e| e.as_str().unwrap().starts_with("wasi:cli/run@0.2."))
    );

    let engine = home.adit(&["--json", "inspect", "engine"]).exits(0).json();
    let ran = home.behave_json(&["--receipt", "r"], &["args"], 0);
    assert_eq!(ran["exec"]["spec"]["engine"], engine["hash"]);
    let kind = |what: &str| home.adit(&["--json", "inspect", what]).exits(0).json()["kind"].clone();
    assert_eq!(kind(ran["exec"]["hash"].as_str().unwrap()), "exec spec");
    assert_eq!(kind(ran["task"].as_str().unwrap()), "task spec");
    let environment = ran["environment"]["hash"].as_str().unwrap();
    assert_eq!(kind(environment), "environment document");
    let opening = home
        .receipt(ran["receipt"].as_str().unwrap())
        .with_extension("opening");
    assert_eq!(kind(opening.to_str().unwrap()), "receipt opening");
    let shown = home.adit(&["--json", "inspect", "r"]).exits(0).json();
    assert_eq!(shown["id"], ran["receipt"]);

    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../runtime/tests/fixtures/double.onnx"
    );
    let model = home.adit(&["--json", "inspect", fixture]).exits(0).json();
    assert_eq!(model["manifest"]["inputs"][0]["name"], "x");
    assert_eq!(model["manifest"]["inputs"][0]["dtype"], "fp32");

    home.file("garbage", [9; 100]);
    home.adit(&["inspect", "garbage"])
        .exits(1)
        .explains(&["nothing that this program knows"]);
    let missing = format!("blake3:{}", "0".repeat(64));
    home.adit(&["inspect", &missing])
        .exits(1)
        .explains(&["not in the store"]);
}
