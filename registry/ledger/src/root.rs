//! The state as a Merkle tree, whose root the registry's log holds for each epoch: with it, anyone
//! can check what a registry says of an account.
//!
//! Leaves are the entries of the state, ascending by key, each as length of the key (u8) ‖ key ‖
//! value. That an account is not there is proven by the two leaves that stand where it would be
//! between.

use adit_protocol::log::proof::ProofError;
use serde::Serialize;
use thiserror::Error;

use crate::key::Key;
use crate::state::{Account, Entry, State, account_key, account_value};
use crate::tree::{Included, Tree, TreeRoot};

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
pub struct StateTree(Tree);

/// What proves an account: its entry, or the two between which it is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountProof {
    /// The tree.
    pub root: TreeRoot,
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
        StateTree(Tree::new(entries.iter().map(leaf).collect()))
    }

    /// Size and root.
    pub fn root(&self) -> TreeRoot {
        self.0.root()
    }

    /// Proves what an account has, or that it has nothing.
    pub fn prove(&self, account: &Key) -> AccountProof {
        let key = account_key(account);
        let place = |leaf: &Vec<u8>| split(leaf).map_or(key.cmp(&key), |(k, _)| k.cmp(&key));
        let entries = match self.0.leaves().binary_search_by(place) {
            Ok(at) => vec![at],
            // The head comes before every account.
            Err(at) => vec![at.saturating_sub(1), at],
        };
        let entries = entries.into_iter().filter_map(|at| self.0.included(at));
        AccountProof {
            root: self.root(),
            entries: entries.collect(),
        }
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
        root: &TreeRoot,
    ) -> Result<Option<Account>, AccountProofError> {
        let mut leaves = Vec::new();
        for entry in &self.entries {
            entry.verify(root)?;
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
