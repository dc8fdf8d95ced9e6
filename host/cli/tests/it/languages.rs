//! Tasks in Python, JavaScript and C: the project that `adit new` makes, and the whole contract.
//!
//! `cargo xtask setup` installs what they are built with. Without it a test says so and ends,
//! unless the environment has `CI` set.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::support::{Home, said};

/// What the project that `adit new` makes says of its `numbers.txt`, in every language.
const SUMMARY: &str = "count 7\nsum 25.5\nmean 3.642857142857143\nsmallest 1\nlargest 9\n";

/// Held while a language is tested. Components with an interpreter inside take all cores for some
/// seconds to be compiled; several at once could run into the time limit for it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A language, and a folder for its projects in which its tools are found.
struct Language {
    _turn: MutexGuard<'static, ()>,
    home: Home,
    tools: PathBuf,
}

/// The tools of a language, or nothing where they need not be there.
fn language(name: &'static str) -> Option<Language> {
    let target = Path::new(env!("CARGO_BIN_EXE_adit"))
        .ancestors()
        .nth(2)
        .unwrap();
    let tools = target.join("tools").join(name);
    if !tools.join("ready").is_file() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{name}: no tools; hint: cargo xtask setup installs them"
        );
        eprintln!("{name}: skipped, no tools; hint: cargo xtask setup installs them");
        return None;
    }
    // Below the tools' own project, so that Node finds its packages.
    let dir = tempfile::tempdir_in(&tools).unwrap();
    Some(Language {
        _turn: ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner),
        home: Home { dir },
        tools,
    })
}

impl Language {
    /// The program, with componentize-py where a user who has installed it has it.
    fn command(&self, args: &[&str]) -> Command {
        let mut path = OsString::from(self.tools.join(".adit/venv/bin"));
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = self.home.command(args);
        command.env("PATH", path);
        command
    }

    /// A copy of the guest of the conformance suite, built.
    fn contract(&self, folder: &str) -> PathBuf {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/languages");
        copy(&guests.join(folder), &self.home.path("contract"));
        let built = said(&mut self.command(&["build", "contract", "--json"]))
            .exits(0)
            .json();
        assert_eq!(built["world"], "adit:task/task");
        self.home.path(built["component"].as_str().unwrap())
    }

    /// `adit run` of a component with a fixed clock and the model `double`, as JSON.
    fn run(&self, component: &Path, input: &str, seed: &str, code: i32) -> Value {
        let input = self.home.file("input", input);
        let fixture =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fixtures/double.onnx");
        let mut run = self.command(&["run", "--json"]);
        run.arg(component).arg("--input").arg(input);
        run.arg("--model")
            .arg(format!("double={}", fixture.display()));
        run.args(["--clock", "2025-01-31T12:00:00Z", "--seed", seed]);
        said(&mut run).exits(code).json()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        // What a build by hand has left is not part of the guest.
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        } else if name == "src" {
            copy(&entry.path(), &to.join(name));
        }
    }
}

/// The project that `adit new` makes: built, run, replayed, and its error.
fn a_new_project(name: &'static str) {
    let Some(language) = language(name) else {
        return;
    };
    let home = &language.home;
    let within = |args: &[&str]| {
        let mut command = language.command(args);
        command.current_dir(home.path("number-facts"));
        said(&mut command)
    };
    home.adit(&["new", "number-facts", "--lang", name]).exits(0);
    within(&["run"]).exits(1).explains(&["adit build"]);
    let built = within(&["build"]).exits(0);
    assert_eq!(built.text(), "./target/adit/number-facts.wasm\n");

    let ran = within(&["run", "--input", "numbers.txt"]).exits(0);
    assert_eq!(ran.text(), SUMMARY);
    home.adit(&["receipt", "replay", "last"]).exits(0);
    home.file("words", "1\ntwo\n");
    within(&["run", "--input", "../words"])
        .exits(1)
        .explains(&["its error 16: line 2 is not a number"]);

    // A task that cannot be built leaves no component of an earlier build behind.
    let sources = home.path("number-facts/src");
    for entry in std::fs::read_dir(&sources).unwrap() {
        let path = entry.unwrap().path();
        // A tool may have left a folder of its own.
        if path.is_file() {
            std::fs::write(path, "this is ( no program\n").unwrap();
        }
    }
    let failed = within(&["build"])
        .exits(1)
        .explains(&["its messages are above"]);
    assert_eq!(failed.stdout, b"");
    within(&["run"]).exits(1).explains(&["adit build"]);
}

/// The guest in `folder`: everything that a task may use, with the same output in each language.
fn the_contract(name: &'static str, folder: &str) {
    let Some(language) = language(name) else {
        return;
    };
    let component = language.contract(folder);
    let first = language.run(&component, "a\u{df}c", "7", 0);
    let text = first["output"]["text"].as_str().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "input a\u{df}c",
            "double [2] FP32 3 -4",
            "absent not-found",
            "clock 1738324800 rising",
        ],
        "{text}"
    );
    let random = lines[4].strip_prefix("random ").unwrap();
    assert!(
        random.len() == 16 && random.bytes().all(|c| c.is_ascii_hexdigit()),
        "{text}"
    );
    assert_eq!(lines[5..], ["done"], "{text}");
    assert_eq!(first["nn"]["computations"], 1);

    // Another process, which loads the compiled code and does not make it.
    let second = language.run(&component, "a\u{df}c", "7", 0);
    for figure in ["output", "fuel", "peak_memory_bytes", "exec"] {
        assert_eq!(first[figure], second[figure], "{figure}");
    }
    language.home.adit(&["receipt", "replay", "last"]).exits(0);
    let other = language.run(&component, "a\u{df}c", "8", 0);
    let other = other["output"]["text"].as_str().unwrap();
    assert_ne!(
        other.lines().nth(4),
        Some(lines[4]),
        "the seed changes nothing"
    );
    assert_eq!(other.lines().nth(3), Some(lines[3]));

    let failed = language.run(&component, "fail", "7", 1);
    assert_eq!(failed["status"], "task-error");
    assert_eq!(failed["output"]["text"], "before ");
    assert_eq!(failed["task_error"]["code"], 42);
    assert_eq!(failed["task_error"]["message"], "as asked");
    language.home.adit(&["receipt", "replay", "last"]).exits(0);
}

#[test]
fn a_new_project_in_python() {
    a_new_project("python");
}

#[test]
fn a_new_project_in_javascript() {
    a_new_project("js");
}

#[test]
fn a_new_project_in_c() {
    a_new_project("c");
}

#[test]
fn the_contract_in_python() {
    the_contract("python", "python");
}

#[test]
fn the_contract_in_javascript() {
    the_contract("js", "javascript");
}

#[test]
fn the_contract_in_c() {
    the_contract("c", "c");
}

#[test]
fn what_is_no_project_and_what_has_no_tools_is_said() {
    let home = Home::new();
    std::fs::create_dir(home.path("empty")).unwrap();
    home.adit(&["build", "empty"])
        .exits(1)
        .explains(&["adit.toml"]);
    home.file("go/adit.toml", "lang = \"go\"\nname = \"x\"\n");
    home.adit(&["build", "go"])
        .exits(1)
        .explains(&["unknown variant `go`", "--out"]);
    home.adit(&["new", "x", "--lang", "go"])
        .exits(1)
        .explains(&["python"]);
    home.adit(&["new", "x y", "--lang", "c"])
        .exits(1)
        .explains(&["letters"]);

    for (name, tool) in [("python", "python3"), ("js", "Node.js"), ("c", "clang")] {
        // A name that a crate of Rust could not have is fine in other languages.
        let folder = format!("{name}/build");
        home.adit(&["new", &folder, "--lang", name]).exits(0);
        let mut build = home.command(&["build", &folder]);
        build
            .env("PATH", home.path("nowhere"))
            .env_remove("WASI_SDK_PATH");
        said(&mut build).exits(1).explains(&[tool, "was not found"]);
    }
}
