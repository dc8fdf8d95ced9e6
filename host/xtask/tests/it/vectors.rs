//! The vectors, as programs see them that share no code with ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program beside the vectors, and where its packages are.
struct Program {
    interpreter: &'static str,
    file: &'static str,
    /// What it is run over, from the folder of the vectors.
    folders: &'static [&'static str],
    /// A folder of `target/tools`, which `cargo xtask setup` fills.
    tools: &'static str,
    /// Where in there the packages are, and the variable that tells the interpreter.
    packages: &'static str,
    variable: &'static str,
}

const PYTHON: Program = Program {
    interpreter: "python3",
    file: "verify.py",
    folders: &["v1"],
    tools: "vectors-python",
    packages: "",
    variable: "PYTHONPATH",
};

const LEDGER: Program = Program {
    file: "ledger.py",
    folders: &["registry"],
    ..PYTHON
};

/// Needs no package, but the others' tell that there is a Python.
const SETTLEMENT: Program = Program {
    file: "settlement.py",
    folders: &["registry/settlements"],
    ..PYTHON
};

const NODE: Program = Program {
    interpreter: "node",
    file: "polkadot.mjs",
    folders: &["v1", "registry"],
    tools: "vectors-node",
    packages: "node_modules",
    variable: "NODE_PATH",
};

fn vectors() -> PathBuf {
    super::root().join("conformance/vectors")
}

impl Program {
    /// Runs it over its folders in `vectors`: whether it was content, and what it printed. `None`
    /// where its packages are not installed, which under `CI` is a failure.
    fn run(&self, vectors: &Path) -> Option<(bool, String)> {
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
        command.arg(self::vectors().join(self.file));
        command.args(self.folders.iter().map(|folder| vectors.join(folder)));
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
        let Some((content, said)) = self.run(&vectors()) else {
            return;
        };
        assert!(content, "{said}");
        // Guards against looking at nothing and finding nothing wrong with it.
        let looked_at = said.lines().filter(|line| line.contains(": ")).count();
        assert!(looked_at >= at_least, "only {looked_at} files");
    }

    /// Runs it over a copy of the vectors in which files are replaced.
    fn run_with(&self, changes: &[(&str, &[u8])]) -> Option<(bool, String)> {
        let copy = tempfile::tempdir().unwrap();
        for folder in self.folders {
            copy_all(&vectors().join(folder), &copy.path().join(folder));
        }
        for (file, bytes) in changes {
            assert_ne!(vector(file), *bytes, "{file}");
            fs::write(copy.path().join(file), bytes).unwrap();
        }
        self.run(copy.path())
    }

    /// Replaces files in a copy of the vectors, and expects that these and no others are named as
    /// wrong.
    fn notices(&self, changes: &[(&str, &[u8])]) {
        let Some((content, said)) = self.run_with(changes) else {
            return;
        };
        let wrong = said.lines().filter_map(|line| line.split_once(": WRONG"));
        let wrong: Vec<&str> = wrong.map(|(file, _)| file).collect();
        // They are named by their paths in `v1` or `registry`.
        let expected = changes.iter().filter_map(|(file, _)| file.split_once('/'));
        let expected: Vec<&str> = expected.map(|(_, file)| file).collect();
        assert_eq!(wrong, expected, "{said}");
        assert!(!content, "{said}");
    }
}

fn vector(file: &str) -> Vec<u8> {
    fs::read(vectors().join(file)).unwrap()
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
fn python_agrees_with_the_ledger() {
    LEDGER.is_content(330);
}

#[test]
fn python_agrees_with_settlements() {
    SETTLEMENT.is_content(30);
}

#[test]
fn polkadot_js_agrees_with_keys_keystores_and_transactions() {
    NODE.is_content(150);
}

#[test]
fn python_notices_a_flipped_byte_and_a_bad_vector_that_is_good() {
    let good = vector("v1/receipts/good/local.bin");
    let mut flipped = good.clone();
    flipped[200] ^= 1;
    let checkpoint = vector("v1/checkpoints/good/plain.txt");
    let mut larger = checkpoint.clone();
    let size = larger.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    larger[size] += 1;
    let proof = vector("v1/inclusion-proofs/good/fifth-of-seven.json");
    // The proof of a verifiable random output, and a log in which one fault is none.
    let mut roster = vector("v1/roster-entries/good/plain.bin");
    *roster.last_mut().unwrap() ^= 1;
    let honest = vector("v1/audited-logs/good/two-replicas.json");
    PYTHON.notices(&[
        ("v1/audited-logs/bad/another-miner.json", &honest),
        ("v1/checkpoints/good/plain.txt", &larger),
        ("v1/checkpoints/bad/other-size.txt", &checkpoint),
        ("v1/inclusion-proofs/bad/other-index.json", &proof),
        ("v1/receipts/good/local.bin", &flipped),
        ("v1/receipts/bad/local-other-key.bin", &good),
        ("v1/roster-entries/good/plain.bin", &roster),
    ]);
}

#[test]
fn python_notices_another_ledger() {
    let mut forged = vector("registry/transactions/good/transfer.bin");
    forged[3] ^= 1;
    let stake = vector("registry/transactions/good/stake.bin");
    let log = vector("registry/ledgers/good/everyday/log.bin");
    LEDGER.notices(&[
        ("registry/transactions/good/transfer.bin", &forged),
        (
            "registry/transactions/bad/proof-by-the-operator.bin",
            &stake,
        ),
        ("registry/transactions/bad/version-2.bin", &stake),
        ("registry/ledgers/bad/root-tampered.bin", &log),
    ]);
    // A log that ends an entry earlier is a log, of another state. The last entry is a transaction.
    let index = vector("registry/ledgers/good/quiet/log.bin");
    let mut entries = Vec::new();
    let mut rest = index.as_slice();
    while let Some((length, _)) = rest.split_first_chunk::<4>() {
        let length = 4 + usize::try_from(u32::from_le_bytes(*length)).unwrap();
        entries.push(&rest[..length]);
        rest = &rest[length..];
    }
    entries.pop();
    let shorter = [("registry/ledgers/good/quiet/log.bin", entries.concat())];
    if let Some((content, said)) = LEDGER.run_with(&shorter.each_ref().map(|(f, b)| (*f, &b[..]))) {
        assert!(!content, "{said}");
        assert!(said.contains("quiet, state: WRONG"), "{said}");
    }
}

#[test]
fn python_notices_another_settlement() {
    let file = "registry/settlements/small.out";
    let mut other = vector(file);
    *other.last_mut().unwrap() ^= 1;
    if let Some((content, said)) = SETTLEMENT.run_with(&[(file, &other)]) {
        assert!(!content, "{said}");
        assert!(said.contains("small: differs at byte"), "{said}");
    }
}

#[test]
fn polkadot_js_notices_another_key_and_a_bad_vector_that_is_good() {
    let alice = vector("v1/keys/good/uri-alice.json");
    let mut forged = vector("registry/transactions/good/polkadot-js-transfer.bin");
    forged[3] ^= 1;
    NODE.notices(&[
        ("v1/keys/good/uri-number.json", &alice),
        ("v1/keys/bad/uri-no-name.json", &alice),
        (
            "registry/transactions/good/polkadot-js-transfer.bin",
            &forged,
        ),
    ]);
}
