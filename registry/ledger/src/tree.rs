//! Merkle trees over lists that do not change any more: the state at the end of an epoch, and what
//! accounts have earned.
//!
//! The trees are those of logs ([`adit_protocol::log::tree`]): RFC 6962 with BLAKE3. They are built
//! anew each time: a microsecond for each leaf, once in hours.

use std::convert::Infallible;

use adit_protocol::Hash;
use adit_protocol::log::proof::{ProofError, inclusion, verify_inclusion};
use adit_protocol::log::tree::{Frontier, ReadError, leaf_hash, node_hash};
use minicbor::{Decode, Encode};
use serde::Serialize;

/// A tree's size and root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct TreeRoot {
    /// Leaves.
    #[n(0)]
    pub size: u64,
    /// Root of the tree over them.
    #[n(1)]
    pub root: Hash,
}

/// A leaf with its place and the way from it to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Included {
    /// Index of the leaf.
    pub index: u64,
    /// The leaf.
    #[serde(serialize_with = "hex")]
    pub leaf: Vec<u8>,
    /// The proof, as in logs.
    pub proof: Vec<Hash>,
}

impl Included {
    /// Whether the leaf is in the tree of a root.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, root: &TreeRoot) -> Result<(), ProofError> {
        let hash = leaf_hash(&self.leaf);
        verify_inclusion(&hash, self.index, root.size, &root.root, &self.proof)
    }
}

/// Leaves with their tree.
#[derive(Clone, Debug)]
pub struct Tree {
    leaves: Vec<Vec<u8>>,
    /// Hashes of the complete subtrees of 2^n leaves, by n.
    levels: Vec<Vec<Hash>>,
    root: TreeRoot,
}

impl Tree {
    /// The tree of these leaves.
    pub fn new(leaves: Vec<Vec<u8>>) -> Tree {
        let mut levels = vec![
            leaves
                .iter()
                .map(|leaf| leaf_hash(leaf))
                .collect::<Vec<_>>(),
        ];
        while let Some(last) = levels.last().filter(|last| last.len() > 1) {
            let (pairs, _) = last.as_chunks::<2>();
            let next = pairs.iter().map(|[left, right]| node_hash(left, right));
            levels.push(next.collect());
        }
        let mut frontier = Frontier::new();
        for hash in levels.first().into_iter().flatten() {
            // A tree with 2^62 leaves does not fit into any machine.
            let _ = frontier.append(*hash);
        }
        let root = TreeRoot {
            size: frontier.size(),
            root: frontier.root(),
        };
        Tree {
            leaves,
            levels,
            root,
        }
    }

    /// Size and root.
    pub fn root(&self) -> TreeRoot {
        self.root
    }

    /// The leaves.
    pub fn leaves(&self) -> &[Vec<u8>] {
        &self.leaves
    }

    /// A leaf with its proof; `None` where there is none.
    pub fn included(&self, at: usize) -> Option<Included> {
        let leaf = self.leaves.get(at)?.clone();
        let index = u64::try_from(at).ok()?;
        let mut read = |level: u8, index: u64| -> Result<Hash, Infallible> {
            let level = self.levels.get(usize::from(level));
            let hash = level.and_then(|level| level.get(usize::try_from(index).ok()?));
            Ok(hash.copied().unwrap_or(Hash::ZERO))
        };
        let proof: Result<_, ReadError<Infallible>> = inclusion(&mut read, index, self.root.size);
        Some(Included {
            index,
            leaf,
            proof: proof.ok()?,
        })
    }
}

fn hex<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&adit_protocol::hex::prefixed(bytes))
}
