//! The transparency log: its files and their paths, proofs, signed texts, requests to witnesses.

mod files;
mod notes;
mod proofs;
mod signed;
mod witnesses;

use adit_protocol::Hash;
use adit_protocol::keys::{Keypair, PublicKeyError};
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::key::{KeyKind, KeyName, NameError, NoteKey};
use adit_protocol::log::origin::Origin;
use adit_protocol::log::tree::RangeError;

use super::kind::{Kind, Refusal, names};
use crate::fixtures::coordinator;

names! { RangeError, RANGE_ERRORS:
    RangeError::Size { size } => "size-of-no-log" {"size": size}
    RangeError::Index { index, size } => "index" {"index": index, "size": size}
    RangeError::Shrinks { old, new } => "shrinks" {"old": old, "new": new}
}
names! { NameError, NAME_ERRORS:
    NameError::Empty => "name-empty" null
    NameError::Length { found } => "name-length" {"found": found}
    NameError::Character { position } => "name-character" {"position": position}
}

pub fn kinds() -> Vec<Kind> {
    vec![
        files::paths(),
        files::lists(),
        files::tiles(),
        files::bundles(),
        proofs::inclusion(),
        proofs::consistency(),
        notes::notes(),
        notes::verifier_keys(),
        notes::origins(),
        signed::checkpoints(),
        signed::cosignatures(),
        witnesses::kind(),
    ]
}

/// An error inside another: the outer one's name, and the inner one's as the rule that was broken.
fn nested(outer: &'static str, inner: Refusal) -> Refusal {
    Refusal {
        error: outer,
        detail: serde_json::json!({ "rule": inner.error }),
    }
}

/// A name for the errors of keys in places where only their kind matters.
fn key_rule(error: PublicKeyError) -> Refusal {
    nested("key", error.into())
}

/// The key of the log that most vectors are of.
fn log() -> Keypair {
    Keypair::from_seed([10; 32])
}

fn name(text: &str) -> KeyName {
    text.parse().expect("a name")
}

fn origin() -> Origin {
    Origin::new(&Hash::of(b"genesis"), &coordinator().public())
}

fn log_key() -> NoteKey {
    origin().key(&log().public())
}

fn note_key(text: &str, kind: KeyKind, key: &Keypair) -> NoteKey {
    NoteKey::new(name(text), kind, key.public())
}

/// The entries of the log, which are their own indices as text.
fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

/// The hash of a complete subtree of that log.
fn subtree(level: u8, index: u64) -> Result<Hash, std::convert::Infallible> {
    use adit_protocol::log::tree::{Frontier, leaf_hash};
    let mut tree = Frontier::new();
    for at in index << level..(index + 1) << level {
        tree.append(leaf_hash(&entry(at))).expect("a small tree");
    }
    Ok(tree.root())
}

fn root(size: u64) -> Hash {
    adit_protocol::log::tree::root(&mut subtree, size).expect("a small tree")
}

/// A checkpoint of that log.
fn checkpoint(size: u64) -> Checkpoint {
    let (origin, root) = (origin().name(), root(size));
    Checkpoint { origin, size, root }
}
