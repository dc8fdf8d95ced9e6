//! The vectors, as programs see them that share no code with ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program beside the vectors, and where its packages are.
struct Program {
    interpreter: &'static str,
    file: &'static str,
    /// A folder of `target/tools`, which `cargo xtask setup` fills.
    tools: &'static str,
    /// Where in there the packages are, and the variable that tells the interpreter.
    packages: &'static str,
    variable: &'static str,
}

const PYTHON: Program = Program {
    interpreter: "python3",
    file: "verify.py",
    tools: "vectors-python",
    packages: "",
    variable: "PYTHONPATH",
};

const NODE: Program = Program {
    interpreter: "node",
    file: "polkadot.mjs",
    tools: "vectors-node",
    packages: "node_modules",
    variable: "NODE_PATH",
};

fn vectors() -> PathBuf {
    super::root().join("conformance/vectors")
}

impl Program {
    /// Runs it over `folder`: whether it was content, and what it printed. `None` where its
    /// packages are not installed, which under `CI` is a failure.
    fn run(&self, folder: &Path) -> Option<(bool, String)> {
        let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools");
        let tools = tools.join(self.tools);
        if !tools.join("installed.txt").exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{} is missing: run `cargo xtask setup`",
                tools.display()
            );
            eprintln!(
                "skipped: {} is missing; hint: run `cargo xtask setup`",
                tools.display()
            );
            return None;
        }
        let mut command = Command::new(self.interpreter);
        command.arg(vectors().join(self.file)).arg(folder);
        command.env(self.variable, tools.join(self.packages));
        // The repository is not to be written to.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let answer = command
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.interpreter));
        let said =
            String::from_utf8_lossy(&answer.stdout) + String::from_utf8_lossy(&answer.stderr);
        Some((answer.status.success(), said.into_owned()))
    }

    fn is_content(&self, at_least: usize) {
        let Some((content, said)) = self.run(&vectors().join("v1")) else {
            return;
        };
        assert!(content, "{said}");
        // Guards against looking at nothing and finding nothing wrong with it.
        let looked_at = said.lines().filter(|line| line.contains(": ")).count();
        assert!(looked_at >= at_least, "only {looked_at} files");
    }

    /// Replaces files in a copy of the vectors, and expects that these and no others are named as
    /// wrong.
    fn notices(&self, changes: &[(&str, &[u8])]) {
        let copy = tempfile::tempdir().unwrap();
        copy_all(&vectors().join("v1"), copy.path());
        for (file, bytes) in changes {
            assert_ne!(vector(file), *bytes, "{file}");
            fs::write(copy.path().join(file), bytes).unwrap();
        }
        let Some((content, said)) = self.run(copy.path()) else {
            return;
        };
        let wrong = said.lines().filter_map(|line| line.split_once(": WRONG"));
        let wrong: Vec<&str> = wrong.map(|(file, _)| file).collect();
        let expected: Vec<&str> = changes.iter().map(|(file, _)| *file).collect();
        assert_eq!(wrong, expected, "{said}");
        assert!(!content, "{said}");
    }
}

fn vector(file: &str) -> Vec<u8> {
    fs::read(vectors().join("v1").join(file)).unwrap()
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_all(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn python_agrees_with_every_vector() {
    PYTHON.is_content(1_300);
}

#[test]
fn polkadot_js_agrees_with_keys_and_keystores() {
    NODE.is_content(100);
}

#[test]
fn python_notices_a_flipped_byte_and_a_bad_vector_that_is_good() {
    let good = vector("receipts/good/local.bin");
    let mut flipped = good.clone();
    flipped[200] ^= 1;
    let checkpoint = vector("checkpoints/good/plain.txt");
    let mut larger = checkpoint.clone();
    let size = larger.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    larger[size] += 1;
    let proof = vector("inclusion-proofs/good/fifth-of-seven.json");
    // The proof of a verifiable random output, and a log in which one fault is none.
    let mut roster = vector("roster-entries/good/plain.bin");
    *roster.last_mut().unwrap() ^= 1;
    let honest = vector("audited-logs/good/two-replicas.json");
    PYTHON.notices(&[
        ("audited-logs/bad/another-miner.json", &honest),
        ("checkpoints/good/plain.txt", &larger),
        ("checkpoints/bad/other-size.txt", &checkpoint),
        ("inclusion-proofs/bad/other-index.json", &proof),
        ("receipts/good/local.bin", &flipped),
        ("receipts/bad/local-other-key.bin", &good),
        ("roster-entries/good/plain.bin", &roster),
    ]);
}

#[test]
fn polkadot_js_notices_another_key_and_a_bad_vector_that_is_good() {
    let alice = vector("keys/good/uri-alice.json");
    NODE.notices(&[
        ("keys/good/uri-number.json", &alice),
        ("keys/bad/uri-no-name.json", &alice),
    ]);
}
