//! The state as a Merkle tree, whose root the registry's log holds for each epoch: with it, anyone
//! can check what a registry says of an account.
//!
//! The tree is that of logs ([`adit_protocol::log::tree`]): RFC 6962 with BLAKE3. Its leaves are the
//! entries of the state, ascending by key, each as length of the key (u8) ‖ key ‖ value. That an
//! account is not there is proven by the two leaves that stand where it would be between.
//!
//! It is built anew for each epoch: a microsecond for each entry, once in hours.

use std::convert::Infallible;

use adit_protocol::Hash;
use adit_protocol::log::proof::{ProofError, inclusion, verify_inclusion};
use adit_protocol::log::tree::{Frontier, ReadError, leaf_hash, node_hash};
use minicbor::{Decode, Encode};
use serde::Serialize;
use thiserror::Error;

use crate::key::Key;
use crate::state::{Account, Entry, State, account_key, account_value};

/// The tree's size and root: what stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct StateRoot {
    /// Entries of the state.
    #[n(0)]
    pub size: u64,
    /// Root of the tree over them.
    #[n(1)]
    pub root: Hash,
}

fn leaf(entry: &Entry) -> Vec<u8> {
    // Keys have at most 195 bytes: that of a release.
    let length = u8::try_from(entry.key.len()).unwrap_or(u8::MAX);
    [&[length], entry.key.as_slice(), &entry.value].concat()
}

fn split(leaf: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = leaf.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// A state that does not change any more, with its tree.
#[derive(Clone, Debug)]
pub struct StateTree {
    leaves: Vec<Vec<u8>>,
    /// Hashes of the complete subtrees of 2^n leaves, by n.
    levels: Vec<Vec<Hash>>,
    root: StateRoot,
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

/// What proves an account: its entry, or the two between which it is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountProof {
    /// The tree.
    pub root: StateRoot,
    /// The account's entry; else the entry before and the one after, if there is one.
    pub entries: Vec<Included>,
}

/// Why something proves nothing of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AccountProofError {
    /// A leaf is not in the tree.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The leaves are in the tree and do not say anything of the account.
    #[error(
        "the entries that were proven say nothing of this account; hint: they are of another one, or not neighbours"
    )]
    Other,
}

impl StateTree {
    /// The tree of a state.
    pub fn of(state: &State) -> StateTree {
        let mut entries = Vec::new();
        state.entries(|entry| entries.push(entry));
        StateTree::of_entries(&entries)
    }

    /// The tree of a state's entries, all of them and in their order.
    pub fn of_entries(entries: &[Entry]) -> StateTree {
        let leaves: Vec<_> = entries.iter().map(leaf).collect();
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
            // A state with 2^62 entries does not fit into any machine.
            let _ = frontier.append(*hash);
        }
        let root = StateRoot {
            size: frontier.size(),
            root: frontier.root(),
        };
        StateTree {
            leaves,
            levels,
            root,
        }
    }

    /// Size and root.
    pub fn root(&self) -> StateRoot {
        self.root
    }

    /// Proves what an account has, or that it has nothing.
    pub fn prove(&self, account: &Key) -> AccountProof {
        let key = account_key(account);
        let place = |leaf: &Vec<u8>| split(leaf).map_or(key.cmp(&key), |(k, _)| k.cmp(&key));
        let entries = match self.leaves.binary_search_by(place) {
            Ok(at) => vec![at],
            // The head comes before every account.
            Err(at) => vec![at.saturating_sub(1), at],
        };
        let entries = entries.into_iter().filter_map(|at| self.included(at));
        AccountProof {
            root: self.root,
            entries: entries.collect(),
        }
    }

    fn included(&self, at: usize) -> Option<Included> {
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

impl AccountProof {
    /// What the account has in the state with this root; `None` if it was never used.
    ///
    /// # Errors
    /// [`AccountProofError`].
    pub fn verify(
        &self,
        account: &Key,
        root: &StateRoot,
    ) -> Result<Option<Account>, AccountProofError> {
        let mut leaves = Vec::new();
        for entry in &self.entries {
            let hash = leaf_hash(&entry.leaf);
            verify_inclusion(&hash, entry.index, root.size, &root.root, &entry.proof)?;
            leaves.push((
                entry.index,
                split(&entry.leaf).ok_or(AccountProofError::Other)?,
            ));
        }
        let key = account_key(account);
        let key = key.as_slice();
        match leaves.as_slice() {
            [(_, (found, value))] if *found == key => {
                let account = account_value(value).ok_or(AccountProofError::Other)?;
                Ok(Some(account))
            }
            [(before, (low, _)), (after, (high, _))]
                if before.checked_add(1) == Some(*after) && *low < key && key < *high =>
            {
                Ok(None)
            }
            [(last, (low, _))] if last.checked_add(1) == Some(root.size) && *low < key => Ok(None),
            _ => Err(AccountProofError::Other),
        }
    }
}

fn hex<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&format!("0x{digits}"))
}
