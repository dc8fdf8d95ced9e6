//! What a replay says, against what it must say.

use serde_json::{Value, json};

use super::*;

fn said(exit: i32, value: &Value) -> Finished {
    Finished {
        exit: Some(exit),
        stdout: value.to_string().into_bytes(),
        stderr: String::new(),
        rss: 1,
        took: Duration::ZERO,
        wrong: None,
    }
}

fn checks(exit: i32, level2: &str) -> Value {
    json!({
        "checks": [
            {"level": 1, "name": "encoding", "result": "passed", "reason": null, "note": null},
            {"level": 1, "name": "log inclusion", "result": "not performed", "reason": "x"},
            {"level": 2, "name": "fuel", "result": level2, "reason": "y"},
            {"level": 3, "name": "inference", "result": "not performed", "reason": "z"},
        ],
        "exit": exit,
    })
}

#[test]
fn a_replay_must_be_what_the_case_says() {
    let count = |expect, exit, value: &Value| replayed(expect, &said(exit, value)).len();
    assert_eq!(count(Verdict::Identical, 0, &checks(0, "passed")), 0);
    assert_eq!(
        count(Verdict::NotPerformed, 6, &checks(6, "not performed")),
        0
    );
    // Neither verdict may stand for the other.
    assert_eq!(count(Verdict::Identical, 6, &checks(6, "not performed")), 2);
    assert_eq!(count(Verdict::NotPerformed, 0, &checks(0, "passed")), 2);
    assert_eq!(count(Verdict::Identical, 5, &checks(5, "failed")), 2);
    // The process and its object must agree.
    assert_eq!(count(Verdict::Identical, 0, &checks(5, "passed")), 1);
    assert_eq!(count(Verdict::Identical, 1, &checks(0, "passed")), 1);
}

#[test]
fn a_replay_that_checks_nothing_or_a_bad_record_is_found() {
    let none = json!({"checks": [], "exit": 0});
    assert_eq!(replayed(Verdict::Identical, &said(0, &none)).len(), 1);
    let mut unsigned = checks(0, "passed");
    unsigned["checks"][0]["result"] = json!("failed");
    assert_eq!(replayed(Verdict::Identical, &said(0, &unsigned)).len(), 1);
    let garbage = json!("?");
    assert_eq!(replayed(Verdict::Identical, &said(0, &garbage)).len(), 1);
}

/// A program that answers like an implementation, but for one thing in each of its ways.
#[test]
fn a_program_that_answers_wrongly_is_found_out() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("fake");
    let text = "[[case]]\nname = \"fake\"\nwhy = \"It is refused.\"\n\
        guest = { made = \"core-module\" }\nargs = [\"a b\"]\nexpect = { code = \"core-module\" }\n\
        bound = { rss = \"1GiB\", seconds = 50 }\n";
    let case = crate::case::parse(Path::new("x.toml"), text)
        .unwrap()
        .remove(0);
    let places = Places::of_target(folder.path());
    let findings = |script: &str| {
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let adit = Implementation {
            program: program.clone(),
        };
        let report = check(&adit, &places, &Homes::default(), &case).unwrap();
        if let Some(folder) = report.folder {
            std::fs::remove_dir_all(folder).unwrap();
        }
        report.findings
    };
    let refuse = r#"echo '{"error":{"code":"core-module","hint":"x","exit":1}}' >&2; exit 1"#;
    assert!(findings(refuse).is_empty());
    let found = findings("echo out of order >&2; exit 1");
    assert_eq!(found.len(), 2, "one for each run: {found:?}");
    assert!(found[0].command.ends_with("-- 'a b'"), "{found:?}");
    assert_eq!(found[0].stderr, "out of order");
    // The guest arrived as a file, and the limits as plain numbers.
    let seen = findings(&format!(
        "[ \"$4\" = run ] && [ -s \"$5\" ] || exit 9; {refuse}"
    ));
    assert!(seen.is_empty(), "{seen:?}");
    let line = findings("echo \"$@\" >&2").remove(0).command;
    assert!(
        line.contains("--fuel 2000000000 --memory 268435456"),
        "{line}"
    );
    assert!(line.contains("--deadline 60000ms --seed 0 --clock 1700000000"));
}
