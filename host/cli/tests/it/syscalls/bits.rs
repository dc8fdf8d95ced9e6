//! One flipped bit of what a coordinator has stored: it is not started on it, and signs nothing.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{Appends, explained};
use crate::cluster::Role;
use crate::support::files;

/// A place for a bit.
struct Place {
    path: PathBuf,
    /// More than one where the file has outdated copies of the same page.
    at: Vec<usize>,
}

/// What a bit is flipped in, where that is, and a word of the error that it must end in.
type Case = (&'static str, fn(&Path) -> Place, &'static str);

/// How a receipt begins.
const RECEIPT: &[u8] = b"aditrcpt";

const CASES: &[Case] = &[
    (
        "an entry of the log",
        |data| {
            let path = last(data, "tile/entries");
            let at = find(&path, RECEIPT, 100);
            Place { path, at }
        },
        "hashes to",
    ),
    (
        "the hash of a leaf",
        |data| Place {
            path: last(data, "tile/0"),
            at: vec![5],
        },
        "hashes to",
    ),
    (
        "the published checkpoint",
        |data| Place {
            path: data.join("log/checkpoint"),
            at: vec![200],
        },
        "checkpoint",
    ),
    (
        // Where it waits until its tile is full, after its type.
        "an entry in the database",
        |data| {
            let path = data.join("coordinator.db");
            // So that all of it is in this file.
            let connection = Connection::open(&path).unwrap();
            let all = "PRAGMA wal_checkpoint(TRUNCATE)";
            connection.query_row(all, [], |_| Ok(())).unwrap();
            let newest = "SELECT entry FROM log_pending WHERE length(entry) = 521
                          ORDER BY leaf DESC LIMIT 1";
            let entry: Vec<u8> = connection.query_row(newest, [], |row| row.get(0)).unwrap();
            drop(connection);
            let at = find(&path, &entry, 100);
            Place { path, at }
        },
        "was appended",
    ),
    (
        // All from there on would be as if it had never been.
        "what is written ahead of the database",
        |data| {
            let path = data.join("coordinator.db-wal");
            let at = std::fs::metadata(&path).unwrap().len() / 4;
            let at = vec![usize::try_from(at).unwrap()];
            Place { path, at }
        },
        "the database knows of",
    ),
];

#[test]
fn a_flipped_bit_at_rest_stops_a_coordinator_and_never_forks_its_log() {
    let mut appends = Appends::new();
    let data = appends.cluster.data();
    let log = data.join("log");
    for (what, place, word) in CASES {
        let key = appends.key();
        appends.go_on(&key);
        let place = place(&data);
        let whole = std::fs::read(&place.path).unwrap();
        let mut flipped = whole.clone();
        for at in place.at {
            flipped[at] ^= 4;
        }
        std::fs::write(&place.path, flipped).unwrap();
        let before = signed(&log);
        for command in ["coordinator run --network net", "log fsck --network net"] {
            let args: Vec<&str> = command.split(' ').collect();
            let said = appends.cluster.adit(Role::Coordinator, &args);
            eprintln!("{what}, adit {command}:\n{}", said.stderr);
            assert_ne!(said.code, Some(0), "{what}: adit {command} took it");
            explained(&said.stderr, &[word]);
        }
        assert!(signed(&log) == before, "{what}: something was signed");
        std::fs::write(&place.path, whole).unwrap();
    }
    let key = appends.key();
    appends.go_on(&key);
    appends.finish();
}

/// The widest partial tile of a folder: narrower ones are outdated.
fn last(data: &Path, folder: &str) -> PathBuf {
    let width = |path: &PathBuf| -> u32 {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.parse().unwrap()
    };
    let all = files(&data.join("log").join(folder));
    all.into_iter().max_by_key(width).unwrap()
}

/// Every file of a log, but for the lock.
fn signed(log: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| (path.clone(), std::fs::read(path).unwrap());
    files(log).into_iter().map(read).collect()
}

/// The places in a file so many bytes after the beginnings of a text.
fn find(path: &Path, text: &[u8], after: usize) -> Vec<usize> {
    let bytes = std::fs::read(path).unwrap();
    let parts = bytes.windows(text.len()).enumerate();
    let found: Vec<usize> = parts
        .filter(|(_, part)| *part == text)
        .map(|(at, _)| at + after)
        .collect();
    assert!(!found.is_empty(), "{}", path.display());
    found
}
