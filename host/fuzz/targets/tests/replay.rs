//! Replays what the fuzzers found, and the published vectors, through every target.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use adit_fuzz_targets::TARGETS;
use peak_alloc::PeakAlloc;

/// Counts what the process holds, so that a decoder that believes a length is noticed.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a target may hold beyond its input, and for each byte of it. The dearest are messages of
/// an ONNX file: two bytes become a structure.
const BASE_BYTES: usize = 4 << 20;
const FACTOR: usize = 256;
/// What opening a keystore takes on purpose: scrypt with N = 2^17 and r = 8.
const SCRYPT_BYTES: usize = 128 << 20;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// Every file below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// What is replayed, told if the target panics. Said each time, it would be kept by the harness, and
/// counted as what the target holds.
struct Case<'a>(&'a str, &'a Path);

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} {}", self.0, self.1.display());
        }
    }
}

/// One test, since memory is counted for the process.
#[test]
fn nothing_that_was_found_is_found_again() {
    let corpus = files(&root().join("host/fuzz/corpus"));
    let vectors = ["conformance/vectors/v1", "conformance/vectors/registry"];
    let vectors: Vec<_> = vectors.map(|folder| files(&root().join(folder))).concat();
    assert!(!corpus.is_empty() && !vectors.is_empty());
    for (name, target) in TARGETS {
        let own = format!("corpus/{name}/");
        // What is a vector of one format is hostile input to the readers of all others.
        let cases = corpus
            .iter()
            .filter(|path| path.to_string_lossy().contains(&own))
            .chain(&vectors);
        for path in cases {
            let bytes = fs::read(path).expect("a readable file");
            MEMORY.reset_peak_usage();
            let before = MEMORY.current_usage();
            let case = Case(name, path);
            target(&bytes);
            drop(case);
            let held = MEMORY.peak_usage().saturating_sub(before);
            let scrypt = if *name == "keystore" { SCRYPT_BYTES } else { 0 };
            let allowed = BASE_BYTES + scrypt + FACTOR * bytes.len();
            assert!(
                held <= allowed,
                "{name} held {held} bytes for the {} of {}",
                bytes.len(),
                path.display()
            );
        }
    }
}

/// A binary that is not in the list would be fuzzed and never replayed; a target without a corpus
/// would be replayed with nothing.
#[test]
fn every_target_has_a_binary_and_a_corpus() {
    let fuzz = root().join("host/fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("the fuzzers' manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let binaries: BTreeMap<String, String> = manifest["bin"]
        .as_array()
        .expect("binaries")
        .iter()
        .map(|bin| {
            let text = |key: &str| bin[key].as_str().expect(key).to_owned();
            (text("name"), text("path"))
        })
        .collect();
    let names: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), TARGETS.len(), "a name is there twice");
    assert_eq!(
        binaries.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        names
    );
    for (name, path) in binaries {
        let source = fs::read_to_string(fuzz.join(&path)).expect("the binary's source");
        assert!(
            source.contains(&format!("adit_fuzz_targets::{name}(bytes)")),
            "{path} calls another target"
        );
        let cases = files(&fuzz.join("corpus").join(&name));
        assert!(!cases.is_empty(), "{name} has an empty corpus");
    }
    let folders = fs::read_dir(fuzz.join("corpus")).expect("the corpus");
    for folder in folders {
        let name = folder.expect("an entry").file_name();
        let known = name.to_str().is_some_and(|name| names.contains(name));
        assert!(known, "{} belongs to no target", name.display());
    }
}
