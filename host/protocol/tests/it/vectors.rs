//! The vectors in `conformance/vectors`: files that others test their implementations with.
//!
//! They are made here, from fixed keys and a fixed generator, and compared with the files byte for
//! byte; then each file is read as a stranger would read it. With `ADIT_BLESS` set in the
//! environment the files are written anew. Those of a version that has been published do not
//! change, which [`version_1_is_what_was_published`] holds; the README beside them says what to do
//! instead.

mod addresses;
mod answers;
mod cbor;
mod classes;
mod documents;
mod hashes;
mod keys;
mod keystores;
mod kind;
mod log;
mod network;
mod receipts;
mod signatures;
mod tolerances;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use adit_protocol::Hash;
use serde_json::Value;

use kind::{Kind, Refusal};

/// BLAKE3 over `path NUL hash (32)` of every file of version 1, in the order of their paths.
const VERSION_1: &str = "blake3:499bd5a7b89178174fc1081193e8d839139340d462cba4ae9bceb3d8b545bb78";

/// Bytes of all files together; a clone should not notice them. Half are the network's: documents that
/// each have a dozen bad forms, and whole logs, each of which is its rosters, tasks and receipts.
const SIZE_MAX: usize = 2 << 20;

fn folder() -> PathBuf {
    // Asked when the test runs, since clones that share a target folder share this binary.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("tests are run by cargo");
    let root = Path::new(&here).ancestors().nth(2);
    root.expect("the crate is in host/")
        .join("conformance/vectors/v1")
}

/// Every kind, made once for all tests: keystores are dear on purpose. Whoever asks for them is past
/// the rewriting of the files, if that was asked for.
static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let kinds = kinds();
    if std::env::var_os("ADIT_BLESS").is_some() {
        // Rewritten from nothing, so that no file outlives its vector.
        let _ = fs::remove_dir_all(folder());
        for (path, bytes) in kinds.iter().flat_map(Kind::files) {
            let path = folder().join(path);
            fs::create_dir_all(path.parent().expect("it has a folder")).unwrap();
            fs::write(&path, bytes).unwrap();
        }
    }
    kinds
});

fn kinds() -> Vec<Kind> {
    let mut kinds = vec![
        addresses::kind(),
        hashes::names(),
        hashes::commitments(),
        keys::kind(),
        keystores::kind(),
        receipts::receipts(),
        receipts::countersignatures(),
        signatures::kind(),
        answers::chains(),
        answers::tensors(),
        tolerances::kind(),
        classes::kind(),
    ];
    kinds.extend(documents::kinds());
    kinds.extend(log::kinds());
    kinds.extend(network::kinds());
    kinds
}

/// Every file below `folder` by its path from there, with `/` between names.
fn read_all(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, folder)) = open.pop() {
        let list = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in list {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = format!("{prefix}{}", name.expect("our names are UTF-8"));
            if path.is_dir() {
                open.push((format!("{name}/"), path));
            } else {
                files.insert(name, fs::read(&path).expect("the file can be read"));
            }
        }
    }
    files
}

#[test]
fn vectors_are_what_this_crate_makes() {
    let made: BTreeMap<String, Vec<u8>> = KINDS.iter().flat_map(Kind::files).collect();
    let found = read_all(&folder());
    let paths = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<BTreeSet<_>>();
    let strays: Vec<_> = paths(&made)
        .symmetric_difference(&paths(&found))
        .cloned()
        .collect();
    assert!(
        strays.is_empty(),
        "only made or only in the folder: {strays:?}"
    );
    let other: Vec<_> = made
        .iter()
        .filter(|(path, bytes)| found[*path] != **bytes)
        .collect();
    let other: Vec<_> = other.iter().map(|(path, _)| path).collect();
    assert!(
        other.is_empty(),
        "these differ from what is made: {other:?}"
    );
    let size: usize = found.values().map(Vec::len).sum();
    assert!(size < SIZE_MAX, "{size} bytes");
}

#[test]
fn version_1_is_what_was_published() {
    LazyLock::force(&KINDS);
    let mut list = Vec::new();
    for (path, bytes) in read_all(&folder()) {
        list.extend_from_slice(path.as_bytes());
        list.push(0);
        list.extend_from_slice(Hash::of(&bytes).as_bytes());
    }
    assert_eq!(
        Hash::of(&list).to_string(),
        VERSION_1,
        "published vectors do not change: see conformance/vectors/README.md"
    );
}

/// Reads the files alone, without the values that they were made from.
#[test]
fn good_vectors_are_accepted_and_bad_ones_refused_for_their_reason() {
    let mut wrong = Vec::new();
    for kind in KINDS.iter() {
        let folder = folder().join(kind.name);
        let read =
            |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let index: Value = serde_json::from_slice(&read(&folder.join("index.json"))).unwrap();
        let entries = |side: &str| index[side].as_object().expect("a map of files").clone();
        assert!(
            entries("good").len() >= 2 && entries("bad").len() >= 3,
            "{}",
            kind.name
        );
        for (file, entry) in entries("good") {
            let path = folder.join("good").join(&file);
            match (kind.check)(&read(&path), &entry["given"]) {
                Ok(value) if kind::portable(value.clone()) == entry["value"] => {}
                other => wrong.push(format!("{}: {other:?}", path.display())),
            }
        }
        for (file, entry) in entries("bad") {
            let path = folder.join("bad").join(&file);
            assert!(entry["why"].is_string(), "{}", path.display());
            match (kind.check)(&read(&path), &entry["given"]) {
                Err(Refusal { error, detail })
                    if entry["error"] == error
                        && entry["detail"] == kind::portable(detail.clone()) => {}
                other => wrong.push(format!("{}: {other:?}", path.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_error_has_a_vector() {
    // Kinds that share an error type share its list: a document's error is one wherever it shows.
    let mut expected: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for kind in KINDS.iter() {
        for (group, names) in kind.errors {
            expected.entry(group).or_default().extend(*names);
            let shown = kind.bad.iter().map(|bad| bad.refusal.error);
            seen.entry(group).or_default().extend(shown);
        }
    }
    assert!(expected.len() >= 10);
    for (group, names) in expected {
        let missing: Vec<_> = names.difference(&seen[group]).collect();
        assert!(missing.is_empty(), "{group}: no vector shows {missing:?}");
    }
}
