//! Proofs that an entry is in a tree, and that one tree continues another.

use adit_protocol::Hash;
use adit_protocol::log::proof::{
    ProofError, consistency as prove_consistency, inclusion as prove_inclusion, verify_consistency,
    verify_inclusion,
};
use adit_protocol::log::tree::{SIZE_MAX, leaf_hash};
use serde_json::{Value, json};

use super::super::kind::{Bad, Good, Kind, Refusal, bytes, hex, json_file, parse, text};
use super::{RANGE_ERRORS, entry, root, subtree};

const PROOF_ERRORS: &[&str] = &["length", "old-root", "root"];

impl From<ProofError> for Refusal {
    fn from(error: ProofError) -> Refusal {
        match error {
            ProofError::Range(error) => error.into(),
            ProofError::Length { expected, found } => Refusal {
                error: "length",
                detail: json!({ "expected": expected, "found": found }),
            },
            ProofError::OldRoot => Refusal::new("old-root"),
            ProofError::Root => Refusal::new("root"),
        }
    }
}

const ERRORS: &[(&str, &[&str])] = &[("ProofError", PROOF_ERRORS), ("RangeError", RANGE_ERRORS)];

fn hash(value: &Value) -> Hash {
    value.as_str().expect("a text").parse().expect("a hash")
}

fn proof(file: &Value) -> Vec<Hash> {
    let list = file["proof"].as_array().expect("a list");
    list.iter().map(hash).collect()
}

/// A number of any size in a JSON vector.
fn number(file: &Value, key: &str) -> u64 {
    match &file[key] {
        Value::String(_) => text(file, key).parse().expect("a number"),
        number => number.as_u64().expect("a number"),
    }
}

/// What an inclusion proof is about.
#[derive(Clone)]
struct Inclusion {
    entry: Vec<u8>,
    index: u64,
    size: u64,
    root: Hash,
    proof: Vec<Hash>,
}

impl Inclusion {
    fn of(index: u64, size: u64) -> Inclusion {
        Inclusion {
            entry: entry(index),
            index,
            size,
            root: root(size),
            proof: prove_inclusion(&mut subtree, index, size).expect("a small tree"),
        }
    }

    fn file(&self) -> Vec<u8> {
        json_file(json!({
            "entry": hex(&self.entry), "index": self.index, "size": self.size,
            "root": self.root, "proof": self.proof,
        }))
    }

    fn read(file: &[u8]) -> Inclusion {
        let file = parse(file);
        Inclusion {
            entry: bytes(&file, "entry"),
            index: number(&file, "index"),
            size: number(&file, "size"),
            root: hash(&file["root"]),
            proof: proof(&file),
        }
    }

    fn verify(&self) -> Result<Value, Refusal> {
        let leaf = leaf_hash(&self.entry);
        verify_inclusion(&leaf, self.index, self.size, &self.root, &self.proof)?;
        Ok(json!({ "leaf": leaf, "verifies": true }))
    }
}

pub fn inclusion() -> Kind {
    let good = |name: &str, index, size| {
        let vector = Inclusion::of(index, size);
        Good::new(name, vector.file(), vector.verify().expect("a proof"))
    };
    let bad = |name: &str, change: &dyn Fn(&mut Inclusion), why: &str| {
        let mut vector = Inclusion::of(4, 7);
        change(&mut vector);
        let refusal = vector.verify().expect_err("no proof");
        Bad::new(name, vector.file(), refusal, why)
    };
    Kind {
        name: "inclusion-proofs",
        extension: "json",
        about: "That an entry is in a tree (RFC 6962, 2.1.1): siblings on the way from the leaf to the root, the leaf's own first. A leaf is the hash of 00 and the entry, a node that of 01 and both hashes.",
        good: vec![
            good("only-entry", 0, 1),
            good("first-of-seven", 0, 7),
            good("fifth-of-seven", 4, 7),
            good("last-of-seven", 6, 7),
            good("of-a-full-tree", 5, 8),
            good("first-of-257", 0, 257),
            good("last-of-257", 256, 257),
            good("of-1000", 700, 1000),
        ],
        bad: vec![
            bad(
                "other-entry",
                &|v| v.entry = entry(5),
                "it is another entry's proof",
            ),
            bad(
                "other-index",
                &|v| v.index = 5,
                "it is another index's proof",
            ),
            bad(
                "other-root",
                &|v| v.root = root(8),
                "the root is that of another tree",
            ),
            bad(
                "flipped-bit",
                &|v| v.proof[1] = flipped(v.proof[1]),
                "a bit of the proof is flipped",
            ),
            bad(
                "exchanged",
                &|v| v.proof.swap(0, 1),
                "two hashes are exchanged",
            ),
            bad(
                "leaf-as-node",
                &|v| v.entry = [&[1], &[0; 64][..]].concat(),
                "a node is given in place of an entry",
            ),
            bad(
                "hash-missing",
                &|v| v.proof.truncate(v.proof.len() - 1),
                "the last hash is missing",
            ),
            bad(
                "hash-too-many",
                &|v| v.proof.push(root(7)),
                "there is a hash too many",
            ),
            bad(
                "no-hashes",
                &|v| v.proof.clear(),
                "there is no proof at all",
            ),
            bad(
                "index-is-size",
                &|v| v.index = 7,
                "there is no entry of that index",
            ),
            bad(
                "empty-tree",
                &|v| (v.index, v.size) = (0, 0),
                "there is nothing in the tree",
            ),
            bad(
                "size-of-no-log",
                &|v| v.size = SIZE_MAX + 1,
                "no log has more than 2^62 entries",
            ),
        ],
        check: |file, _| Inclusion::read(file).verify(),
        errors: ERRORS,
    }
}

/// What a consistency proof is about.
struct Consistency {
    old: (u64, Hash),
    new: (u64, Hash),
    proof: Vec<Hash>,
}

impl Consistency {
    fn of(old: u64, new: u64) -> Consistency {
        Consistency {
            old: (old, root(old)),
            new: (new, root(new)),
            proof: prove_consistency(&mut subtree, old, new).expect("small trees"),
        }
    }

    fn file(&self) -> Vec<u8> {
        json_file(json!({
            "old_size": self.old.0, "old_root": self.old.1,
            "new_size": self.new.0, "new_root": self.new.1, "proof": self.proof,
        }))
    }

    fn read(file: &[u8]) -> Consistency {
        let file = parse(file);
        Consistency {
            old: (number(&file, "old_size"), hash(&file["old_root"])),
            new: (number(&file, "new_size"), hash(&file["new_root"])),
            proof: proof(&file),
        }
    }

    fn verify(&self) -> Result<Value, Refusal> {
        let ((old, old_root), (new, new_root)) = (self.old, self.new);
        verify_consistency(old, &old_root, new, &new_root, &self.proof)?;
        Ok(json!({ "verifies": true }))
    }
}

pub fn consistency() -> Kind {
    let good = |name: &str, old, new| {
        let vector = Consistency::of(old, new);
        Good::new(name, vector.file(), vector.verify().expect("a proof"))
    };
    let changed = |name: &str, old, new, change: &dyn Fn(&mut Consistency), why: &str| {
        let mut vector = Consistency::of(old, new);
        change(&mut vector);
        let refusal = vector.verify().expect_err("no proof");
        Bad::new(name, vector.file(), refusal, why)
    };
    let bad =
        |name: &str, change: &dyn Fn(&mut Consistency), why: &str| changed(name, 6, 9, change, why);
    Kind {
        name: "consistency-proofs",
        extension: "json",
        about: "That one tree continues another (RFC 6962, 2.1.2). The proof is empty if they are the same or the older one is.",
        good: vec![
            good("from-nothing", 0, 5),
            good("both-empty", 0, 0),
            good("same", 7, 7),
            good("from-one", 1, 2),
            good("six-to-nine", 6, 9),
            good("from-a-full-tree", 4, 7),
            good("to-a-full-tree", 7, 8),
            good("over-a-tile", 255, 257),
            good("from-a-tile", 256, 1000),
            good("of-1000", 700, 1000),
        ],
        bad: vec![
            bad(
                "other-old-root",
                &|v| v.old.1 = root(5),
                "the older root is another tree's",
            ),
            bad(
                "other-new-root",
                &|v| v.new.1 = root(8),
                "the newer root is another tree's",
            ),
            changed(
                "full-tree-with-other-root",
                4,
                7,
                &|v| v.old.1 = root(5),
                "the older tree is full, so its root is the beginning of the proof itself",
            ),
            bad(
                "rewritten",
                &|v| v.proof[0] = flipped(v.proof[0]),
                "a bit of the proof is flipped",
            ),
            bad(
                "hash-missing",
                &|v| v.proof.truncate(v.proof.len() - 1),
                "the last hash is missing",
            ),
            bad(
                "no-hashes",
                &|v| v.proof.clear(),
                "there is no proof at all",
            ),
            bad(
                "hash-too-many",
                &|v| v.proof.push(root(7)),
                "there is a hash too many",
            ),
            changed(
                "same-size-other-root",
                7,
                7,
                &|v| v.new.1 = root(8),
                "trees of one size have different roots",
            ),
            changed(
                "same-with-a-proof",
                7,
                7,
                &|v| v.proof.push(root(7)),
                "there is a proof where there is nothing to prove",
            ),
            changed(
                "empty-with-another-root",
                0,
                5,
                &|v| v.old.1 = Hash::ZERO,
                "the root of an empty tree is the hash of nothing",
            ),
            changed(
                "empty-with-a-proof",
                0,
                5,
                &|v| v.proof.push(root(5)),
                "there is a proof where there is nothing to prove",
            ),
            bad(
                "shrinks",
                &|v| std::mem::swap(&mut v.old, &mut v.new),
                "the older tree is the larger",
            ),
            bad(
                "size-of-no-log",
                &|v| v.new.0 = SIZE_MAX + 1,
                "no log has more than 2^62 entries",
            ),
        ],
        check: |file, _| Consistency::read(file).verify(),
        errors: ERRORS,
    }
}

fn flipped(hash: Hash) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[0] ^= 1;
    Hash::from_bytes(bytes)
}
