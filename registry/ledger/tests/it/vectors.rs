//! The vectors in `conformance/vectors/registry`: files that others test their ledgers with.
//!
//! They are made here, from fixed keys and a fixed generator, and compared with the files byte for
//! byte; then each is read as a stranger would read it. With `ADIT_BLESS` set in the environment
//! they are written anew, except those that polkadot-js signed: its signatures are random.

mod accusing;
mod bad_settling;
mod bad_signatures;
mod bad_texts;
mod broken;
mod governing;
mod late;
mod ledgers;
mod stories;
mod transactions;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

/// Files by their paths, with `/` between names.
type Files = BTreeMap<String, Vec<u8>>;

fn folder() -> PathBuf {
    // Asked when the test runs, since clones that share a target folder share this binary.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("tests are run by cargo");
    let root = Path::new(&here).ancestors().nth(2);
    root.expect("the crate is in registry/")
        .join("conformance/vectors/registry")
}

/// Every file, made once for all tests. Whoever asks for them is past the rewriting of those on the
/// disk, if that was asked for.
static MADE: LazyLock<Files> = LazyLock::new(|| {
    let mut files = transactions::files();
    files.extend(ledgers::files());
    if std::env::var_os("ADIT_BLESS").is_some() {
        for path in read_all().keys().filter(|path| !is_foreign(path)) {
            fs::remove_file(folder().join(path)).unwrap();
        }
        for (path, bytes) in &files {
            let path = folder().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    files
});

/// Whether another program made the file, so that it cannot be made anew here.
fn is_foreign(path: &str) -> bool {
    path.starts_with(transactions::POLKADOT)
}

fn read(path: &str) -> Vec<u8> {
    LazyLock::force(&MADE);
    fs::read(folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read_json(path: &str) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

/// All files of the two kinds on the disk.
fn read_all() -> Files {
    let mut files = Files::new();
    let mut open = vec!["transactions".to_owned(), "ledgers".to_owned()];
    while let Some(prefix) = open.pop() {
        // Before they are written for the first time there is no folder.
        for entry in fs::read_dir(folder().join(&prefix)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = format!("{prefix}/{}", name.expect("our names are UTF-8"));
            match path.is_dir() {
                true => open.push(name),
                false => drop(files.insert(name, fs::read(&path).unwrap())),
            }
        }
    }
    files
}

#[test]
fn the_files_are_what_is_made() {
    let made = LazyLock::force(&MADE);
    let mut found = read_all();
    found.retain(|path, _| !is_foreign(path));
    let paths = |files: &Files| files.keys().cloned().collect::<BTreeSet<_>>();
    let (made_paths, found_paths) = (paths(made), paths(&found));
    let strays: Vec<_> = made_paths.symmetric_difference(&found_paths).collect();
    assert!(
        strays.is_empty(),
        "only made or only in the folder: {strays:?}"
    );
    let other = made.iter().filter(|(path, bytes)| found[*path] != **bytes);
    let other: Vec<_> = other.map(|(path, _)| path).collect();
    assert!(
        other.is_empty(),
        "these differ from what is made: {other:?}"
    );
    let size: usize = found.values().map(Vec::len).sum();
    assert!(
        size < 1 << 20,
        "{size} bytes, which a clone should not notice"
    );
}
