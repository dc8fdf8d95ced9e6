//! Outcomes that differ from what was expected in one field each.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::case::parse;

/// As `adit --json run` prints it, with a field more than the suite knows.
fn good() -> Value {
    json!({
        "receipt": "blake3:27fb913e",
        "seq": 1,
        "status": "ok",
        "attestable": true,
        "output": {
            "hash": format!("blake3:{}", blake3::hash(b"three\n")),
            "bytes": 6,
            "text": "three\n",
            "base64": null,
        },
        "log": "",
        "task_error": null,
        "detail": null,
        "fuel": 4162,
        "peak_memory_bytes": 1115984,
        "nn": {"used": true, "computations": 3, "units": 12, "gpu": false},
        "exec": {"hash": "blake3:02", "spec": {"engine": "blake3:03", "args": []}},
        "task": "blake3:04",
    })
}

fn case() -> Case {
    let text = r#"
        [[case]]
        name = "three"
        why = "It says three."
        guest = "behave"
        [case.expect]
        status = "ok"
        fuel = 4162
        peak_memory = 1115984
        nn_units = 12
        computations = 3
        output = { text = "three\n" }
        [case.bound]
        rss = "100MiB"
        seconds = 10
    "#;
    parse(Path::new("x.toml"), text).unwrap().remove(0)
}

fn outcome(value: Value) -> Outcome {
    serde_json::from_value(value).unwrap()
}

/// The good outcome with another value at a path of keys.
fn with(path: &str, value: Value) -> Outcome {
    let mut changed = good();
    *changed.pointer_mut(path).unwrap() = value;
    outcome(changed)
}

fn fields(mismatches: &[Mismatch]) -> Vec<&str> {
    mismatches.iter().map(|m| m.field.as_str()).collect()
}

fn finished(exit: i32, stdout: impl ToString, stderr: &str) -> Finished {
    Finished {
        exit: Some(exit),
        stdout: stdout.to_string().into_bytes(),
        stderr: stderr.to_owned(),
        rss: 1,
        took: Duration::ZERO,
        wrong: None,
    }
}

#[test]
fn each_field_that_differs_is_found_with_both_values() {
    let case = case();
    assert_eq!(against_case(&case, &outcome(good())), []);
    for (path, value, field) in [
        ("/status", json!("trap"), "status"),
        ("/attestable", json!(false), "attestable"),
        ("/fuel", json!(4163), "fuel"),
        ("/peak_memory_bytes", json!(1115985), "peak_memory"),
        ("/nn/units", json!(13), "nn_units"),
        ("/nn/computations", json!(2), "computations"),
        (
            "/task_error",
            json!({"code": 5, "message": "five"}),
            "task_error",
        ),
    ] {
        let found = against_case(&case, &with(path, value));
        assert_eq!(fields(&found), [field]);
        assert_ne!(found[0].expected, found[0].got);
    }
    let found = against_case(&case, &with("/fuel", json!(1)));
    assert_eq!(found[0], Mismatch::new("fuel", 4162, 1));
}

#[test]
fn an_output_must_be_the_expected_one_and_the_one_that_is_named() {
    let case = case();
    let other = json!({
        "hash": format!("blake3:{}", blake3::hash(b"four\n")),
        "bytes": 5, "text": "four\n", "base64": null,
    });
    let found = against_case(&case, &with("/output", other));
    assert_eq!(fields(&found), ["output"]);
    assert!(found[0].expected.contains("three") && found[0].got.contains("four"));
    // A program that shows one thing and names another.
    for (path, value) in [
        ("/output/text", json!("four\n")),
        ("/output/base64", json!("Zm91cgo=")),
        ("/output/text", json!(null)),
    ] {
        assert_eq!(against_case(&case, &with(path, value)).len(), 1, "{path}");
    }
    // Bytes that are no text.
    let bytes = json!({
        "hash": format!("blake3:{}", blake3::hash(&[0xff, 0xfe])),
        "bytes": 2, "text": null, "base64": "//4=",
    });
    assert_eq!(with_itself(&with("/output", bytes.clone())), None);
    let mut damaged = bytes;
    damaged["base64"] = json!("/");
    assert!(with_itself(&with("/output", damaged)).is_some());
}

#[test]
fn two_runs_must_agree_in_all_that_the_spec_determines() {
    let one = outcome(good());
    assert_eq!(with_other_run(&one, &one), []);
    for (path, value) in [
        ("/status", json!("trap")),
        ("/exec/hash", json!("blake3:99")),
        ("/task", json!("blake3:99")),
        ("/fuel", json!(1)),
        ("/peak_memory_bytes", json!(1)),
        ("/output/hash", json!("blake3:99")),
        ("/nn/units", json!(1)),
        ("/log", json!("more")),
        ("/task_error", json!({"code": 1, "message": "x"})),
    ] {
        assert_eq!(with_other_run(&one, &with(path, value)).len(), 1, "{path}");
    }
    // Another id of the receipt, another time: these are claims of each run.
    assert_eq!(with_other_run(&one, &with("/receipt", json!("x"))), []);
    let (mut slow, mut slower) = (good(), good());
    for (run, fuel) in [(&mut slow, 1), (&mut slower, 2)] {
        run["status"] = json!("deadline");
        run["attestable"] = json!(false);
        run["fuel"] = json!(fuel);
    }
    assert_eq!(with_other_run(&outcome(slow), &outcome(slower)), []);
}

#[test]
fn the_exit_code_and_the_error_object_go_with_the_status() {
    let (_, found) = of_run(&finished(0, good(), "")).unwrap();
    assert_eq!(found, []);
    let (_, found) = of_run(&finished(1, good(), "")).unwrap();
    assert_eq!(fields(&found), ["exit"]);

    let mut trapped = good();
    trapped["status"] = json!("trap");
    let error = |code: &str, exit: i32| {
        let error = json!({"error": {"code": code, "hint": "x", "exit": exit, "what": ""}});
        format!("note\n{error}\n")
    };
    let run = |exit, stderr: &str| of_run(&finished(exit, &trapped, stderr)).unwrap().1;
    assert_eq!(run(1, &error("trap", 1)), []);
    assert_eq!(fields(&run(0, &error("trap", 0))), ["exit"]);
    assert_eq!(fields(&run(1, &error("ok", 1))), ["error.code"]);
    assert_eq!(fields(&run(1, &error("trap", 2))), ["error.exit"]);
    assert_eq!(fields(&run(1, "")), ["last line of stderr"]);
    assert!(of_run(&finished(0, "{}", "")).is_err());
}

#[test]
fn a_refusal_has_its_code_and_nothing_on_stdout() {
    let error = json!({"error": {"code": "core-module", "hint": "adapt it", "exit": 1}});
    let found = |code, exit, stdout: &str| {
        let found = of_refusal(code, &finished(exit, stdout, &error.to_string()));
        found.into_iter().map(|m| m.field).collect::<Vec<_>>()
    };
    assert!(found("core-module", 1, "").is_empty());
    assert_eq!(found("not-a-component", 1, ""), ["error.code"]);
    assert_eq!(found("core-module", 2, ""), ["exit"]);
    assert_eq!(found("core-module", 0, ""), ["exit", "exit"]);
    assert_eq!(found("core-module", 1, "{}"), ["stdout"]);
}
