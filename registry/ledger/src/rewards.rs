//! What accounts earned: the document that a quorum of checkers signs for each epoch, and the tree
//! that claims are proven with.
//!
//! The tree is cumulative: its leaves say what an account earned in all epochs up to one, ascending by
//! account, each as account (32) ‖ total u128 LE. So one claim takes all that was not taken before,
//! and none can be made twice.

use adit_protocol::cbor::Document;
use adit_protocol::cbor::fields::Invalid;
use adit_protocol::signed::Signable;
use adit_protocol::{Amount, Hash};
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::key::Key;
use crate::tree::{Included, Tree, TreeRoot};

/// Most coordinators whose escrow one settlement takes from.
pub const CHARGES_MAX: usize = 256;

/// What an epoch's receipts took from a coordinator's escrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Charge {
    /// The coordinator.
    #[n(0)]
    pub node: Key,
    /// All of it, in 10^-12 token; not nothing.
    #[n(1)]
    pub spent: Amount,
    /// What of it is burned, in 10^-12 token.
    #[n(2)]
    pub burned: Amount,
}

/// The settlement of an epoch as the ledger takes it in: sums, and the root of what all accounts have
/// earned by then. Each checker signs it by its node key under `adit-settlement-v1`.
///
/// CBOR: 0 genesis h, 1 epoch u, 2 input h, 3 output h, 4 minted a, 5 treasury a, 6 paid a,
/// 7 earned {0 size u, 1 root h}, 8 charges \[{0 node b32, 1 spent a, 2 burned a}\] ascending by node,
/// 9 replaces h?.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Settlement {
    /// Hash of the network's genesis document.
    #[n(0)]
    pub genesis: Hash,
    /// The epoch.
    #[n(1)]
    pub epoch: u64,
    /// Hash of the settlement's input.
    #[n(2)]
    pub input: Hash,
    /// Hash of its output.
    #[n(3)]
    pub output: Hash,
    /// What is minted, in 10^-12 token.
    #[n(4)]
    pub minted: Amount,
    /// What of it is the treasury's.
    #[n(5)]
    pub treasury: Amount,
    /// What accounts earned in the epoch.
    #[n(6)]
    pub paid: Amount,
    /// The tree of what they earned in all epochs so far.
    #[n(7)]
    pub earned: TreeRoot,
    /// What is taken from escrows.
    #[n(8)]
    pub charges: Vec<Charge>,
    /// Hash of the settlement of the same epoch that this one corrects, if it does: without it, anyone
    /// could hand in the wrong one again, which a quorum signed too.
    #[n(9)]
    pub replaces: Option<Hash>,
}

impl Settlement {
    /// What is taken from all escrows.
    pub fn spent(&self) -> Amount {
        self.charges.iter().map(|charge| charge.spent).sum()
    }

    /// What of that is burned.
    pub fn burned(&self) -> Amount {
        self.charges.iter().map(|charge| charge.burned).sum()
    }
}

impl Document for Settlement {
    const NAME: &'static str = "settlement";
    const MAX_LEN: usize = 64 * 1024;
    const MAX_ITEMS: usize = CHARGES_MAX;

    fn check(&self) -> Result<(), Invalid> {
        let nodes = self.charges.iter().map(|charge| charge.node);
        if !nodes.is_sorted_by(|a, b| a < b) {
            return Invalid::new("charges", "coordinators must be ascending, each once");
        }
        for charge in &self.charges {
            if charge.spent.is_zero() || charge.burned > charge.spent {
                return Invalid::new(
                    "charges",
                    "a charge takes something, and burns no more than it takes",
                );
            }
        }
        let amounts = [self.minted, self.treasury, self.paid, self.spent()];
        if amounts.iter().any(|amount| *amount > Amount::SUPPLY_MAX) {
            return Invalid::new("paid", "it is more than can exist");
        }
        if self.treasury > self.minted {
            return Invalid::new("treasury", "it is more than what is minted");
        }
        // Nothing appears and nothing is lost.
        let out = self
            .paid
            .plus(self.treasury)
            .and_then(|sum| sum.plus(self.burned()));
        match out == self.minted.plus(self.spent()) {
            true => Ok(()),
            false => Invalid::new(
                "paid",
                "paid, treasury and burned are together not what was minted and spent",
            ),
        }
    }
}

impl Signable for Settlement {
    const CONTEXT: &'static [u8] = b"adit-settlement-v1";
    const SIGNED_NAME: &'static str = "signed settlement";
}

/// What an account earned in all epochs up to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Earned {
    /// The account.
    pub account: Key,
    /// All of it, in 10^-12 token; not nothing.
    pub total: Amount,
}

impl Earned {
    /// Its leaf in the tree.
    pub fn leaf(&self) -> Vec<u8> {
        [
            self.account.as_bytes().as_slice(),
            &self.total.units().to_le_bytes(),
        ]
        .concat()
    }
}

/// What all accounts earned up to an epoch, with its tree.
#[derive(Clone, Debug)]
pub struct RewardTree {
    earned: Vec<Earned>,
    tree: Tree,
}

impl RewardTree {
    /// The tree of what accounts earned, which ascend.
    pub fn new(earned: Vec<Earned>) -> RewardTree {
        RewardTree {
            tree: Tree::new(earned.iter().map(Earned::leaf).collect()),
            earned,
        }
    }

    /// Size and root.
    pub fn root(&self) -> TreeRoot {
        self.tree.root()
    }

    /// What each account earned, ascending.
    pub fn earned(&self) -> &[Earned] {
        &self.earned
    }

    /// What an account earned, with the proof; `None` if it earned nothing.
    pub fn prove(&self, account: &Key) -> Option<(Earned, Included)> {
        let at = self.earned.binary_search_by(|one| one.account.cmp(account));
        let at = at.ok()?;
        Some((*self.earned.get(at)?, self.tree.included(at)?))
    }
}

/// Adds what accounts earned in an epoch to what they had earned before. Both ascend by account.
pub fn add_up(before: &[Earned], more: impl IntoIterator<Item = Earned>) -> Vec<Earned> {
    let mut sum = Vec::with_capacity(before.len());
    let mut before = before.iter().copied().peekable();
    for one in more {
        while let Some(earlier) = before.next_if(|earlier| earlier.account < one.account) {
            sum.push(earlier);
        }
        let had = before.next_if(|earlier| earlier.account == one.account);
        let had = had.map_or(Amount::ZERO, |earlier| earlier.total);
        sum.push(Earned {
            account: one.account,
            // A settlement mints no more than can exist.
            total: [had, one.total].into_iter().sum(),
        });
    }
    sum.extend(before);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earned(account: u8, total: u64) -> Earned {
        Earned {
            account: Key::from_bytes([account; 32]),
            total: Amount::tokens(total),
        }
    }

    #[test]
    fn earnings_add_up() {
        let before = [earned(2, 5), earned(4, 1), earned(9, 9)];
        let more = [earned(1, 1), earned(4, 2), earned(10, 3)];
        let expected = [
            earned(1, 1),
            earned(2, 5),
            earned(4, 3),
            earned(9, 9),
            earned(10, 3),
        ];
        assert_eq!(add_up(&before, more), expected);
        assert_eq!(add_up(&[], more), more);
        assert_eq!(add_up(&before, []), before);
    }

    #[test]
    fn each_account_proves_its_own_sum() {
        let all: Vec<_> = (1..=9).map(|n| earned(n, n.into())).collect();
        let tree = RewardTree::new(all.clone());
        for one in &all {
            let (found, proof) = tree.prove(&one.account).unwrap();
            assert_eq!((found, &proof.leaf), (*one, &one.leaf()));
            assert_eq!(proof.verify(&tree.root()), Ok(()));
            let other = Earned {
                total: Amount::tokens(100),
                ..*one
            };
            let forged = Included {
                leaf: other.leaf(),
                ..proof
            };
            assert!(forged.verify(&tree.root()).is_err());
        }
        assert_eq!(tree.prove(&Key::from_bytes([77; 32])), None);
    }
}
