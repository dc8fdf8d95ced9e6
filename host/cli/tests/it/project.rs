//! `adit new`, `adit build`, `adit run` far from this repository.

use std::process::Command;

use crate::support::{Home, Said, said};

fn within(home: &Home, folder: &str, args: &[&str]) -> Said {
    let mut command = home.command(args);
    command.current_dir(home.path(folder));
    // The toolchain and target folder of whoever runs the tests are not the project's.
    command.env_remove("CARGO_TARGET_DIR");
    said(&mut command)
}

#[test]
fn a_new_project_is_built_tested_and_run() {
    let home = Home::new();
    home.adit(&["new", "number-facts"]).exits(0);
    within(&home, "number-facts", &["run"])
        .exits(1)
        .explains(&["adit build"]);

    let built = within(&home, "number-facts", &["--json", "build"])
        .exits(0)
        .json();
    assert_eq!(built["world"], "adit:task/task");
    let component = built["component"].as_str().unwrap();
    assert!(
        component.ends_with("wasm32-wasip2/release/number_facts.wasm"),
        "{component}"
    );

    let ran = within(&home, "number-facts", &["run", "--input", "numbers.txt"]).exits(0);
    assert_eq!(
        ran.text(),
        "count 7\nsum 25.5\nmean 3.642857142857143\nsmallest 1\nlargest 9\n"
    );
    home.adit(&["receipt", "replay", "last"]).exits(0);
    home.file("words", "1\ntwo\n");
    let failed = within(&home, "number-facts", &["run", "--input", "../words"]).exits(1);
    assert!(
        failed.stderr.contains("line 2 is not a number"),
        "{}",
        failed.stderr
    );

    let tested = Command::new("cargo")
        .current_dir(home.path("number-facts"))
        .env_remove("CARGO_TARGET_DIR")
        .args(["test", "--quiet"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&tested.stdout);
    assert!(
        tested.status.success() && text.contains("2 passed"),
        "{text}"
    );

    home.adit(&["new", "number-facts"])
        .exits(1)
        .explains(&["nothing is ever overwritten"]);
    home.adit(&["new", "fn"]).exits(1).explains(&[]);
}

#[test]
fn a_core_module_is_adapted() {
    let home = Home::new();
    // `(module (memory (export "memory") 1) (func (export "_start")))`
    let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01\
        \x07\x13\x02\x06memory\x02\0\x06_start\0\0\x0a\x04\x01\x02\0\x0b";
    home.file("core.wasm", module);
    home.adit(&["build", "core.wasm"])
        .exits(1)
        .explains(&["--out"]);
    home.adit(&["build", "core.wasm", "--out", "component.wasm"])
        .exits(0);
    let ran = home.adit(&["run", "component.wasm"]).exits(0);
    assert_eq!(ran.stdout, b"");
    home.file("text", "no module");
    home.adit(&["build", "text", "--out", "x.wasm"])
        .exits(1)
        .explains(&["not WebAssembly"]);
    home.adit(&["build", "absent"]).exits(1).explains(&[]);
    assert!(!home.path("x.wasm").exists());
}
