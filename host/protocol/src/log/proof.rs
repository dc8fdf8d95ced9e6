//! Proofs that an entry is in a tree, and that one tree continues another: building them from a
//! log's hashes, and checking them with nothing but roots.
//!
//! Shapes and order are those of RFC 6962 (2.1.1, 2.1.2) and RFC 9162 (2.1.3, 2.1.4). How many
//! hashes a proof has follows from sizes and index alone, so there is one proof of each statement.

use thiserror::Error;

use super::tree::{
    HashReader, RangeError, ReadError, checked, empty_root, fold, node_hash, subtrees,
};
use crate::hash::Hash;

/// The most hashes of a proof; a decoder need not take more.
pub const PROOF_MAX: usize = 63;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofError {
    /// There is no such tree, or no such place in it.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The number of hashes is not that of any proof of this statement.
    #[error(
        "the proof has {found} hashes, and one of this statement has {expected}; hint: it was made for another size or index"
    )]
    Length {
        /// How many hashes it must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The proof leads to another root of the older tree than the one given.
    #[error(
        "the proof does not lead to the older root; hint: the log was rewritten since then, or the proof was altered; keep both checkpoints as evidence"
    )]
    OldRoot,
    /// The proof leads to another root than the one given.
    #[error(
        "the proof does not lead to the root; hint: the entry is not in this log, or the proof was altered or made for another tree"
    )]
    Root,
}

/// The proof that the entry of an index is in the tree of the first `size` entries.
///
/// # Errors
/// [`ReadError`].
pub fn inclusion<R: HashReader>(
    reader: &mut R,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    within(index, size)?;
    let mut proof = Vec::new();
    let (mut start, mut count) = (0, size);
    while count > 1 {
        let left = split(count);
        let sibling = if index - start < left {
            let sibling = (start + left, count - left);
            count = left;
            sibling
        } else {
            let sibling = (start, left);
            (start, count) = (start + left, count - left);
            sibling
        };
        proof.push(range(reader, sibling)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of the first `new` entries continues that of the first `old`. It is
/// empty if they are the same, or the older one has no entries.
///
/// # Errors
/// [`ReadError`].
pub fn consistency<R: HashReader>(
    reader: &mut R,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ReadError<R::Error>> {
    grows(old, new)?;
    let mut proof = Vec::new();
    if old == 0 {
        return Ok(proof);
    }
    let (mut start, mut count) = (0, new);
    while old - start != count {
        let left = split(count);
        let sibling = if old - start <= left {
            let sibling = (start + left, count - left);
            count = left;
            sibling
        } else {
            let sibling = (start, left);
            (start, count) = (start + left, count - left);
            sibling
        };
        proof.push(range(reader, sibling)?);
    }
    // At the left edge what remains is the whole older tree, whose root the checker has.
    if start != 0 {
        proof.push(range(reader, (start, count))?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the entry with the [`leaf_hash`](super::tree::leaf_hash) `leaf` is the one of index
/// `index` in the tree of `size` entries with this root.
///
/// # Errors
/// [`ProofError`].
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    within(index, size)?;
    let shape = Shape::of(index, size);
    let (inner, border) = shape.split(proof)?;
    let hash = up_inner(*leaf, inner, index);
    match up_border(hash, border) == *root {
        true => Ok(()),
        false => Err(ProofError::Root),
    }
}

/// Checks that the tree of `new_size` entries with `new_root` continues that of `old_size` entries
/// with `old_root`: that its first entries are the same.
///
/// # Errors
/// [`ProofError`].
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    grows(old_size, new_size)?;
    if old_size == 0 || old_size == new_size {
        if !proof.is_empty() {
            return Err(ProofError::Length {
                expected: 0,
                found: proof.len(),
            });
        }
        if old_size == 0 && *old_root != empty_root() {
            return Err(ProofError::OldRoot);
        }
        return match old_size == new_size && old_root != new_root {
            true => Err(ProofError::Root),
            false => Ok(()),
        };
    }
    // The proof is the path of the older tree's last complete subtree. That subtree's own hash comes
    // first, unless it is the whole older tree.
    let last = old_size - 1;
    let complete = old_size.trailing_zeros();
    let mut shape = Shape::of(last, new_size);
    shape.inner = shape.inner.saturating_sub(complete as usize);
    let whole = old_size.is_power_of_two();
    let (seed, path) = match (whole, proof.split_first()) {
        (true, _) => (old_root, proof),
        (false, Some((seed, path))) => (seed, path),
        (false, None) => {
            return Err(ProofError::Length {
                expected: shape.len() + 1,
                found: 0,
            });
        }
    };
    let (inner, border) = shape.split(path).map_err(|error| match error {
        ProofError::Length { expected, .. } => ProofError::Length {
            expected: expected + usize::from(!whole),
            found: proof.len(),
        },
        other => other,
    })?;
    let index = last >> complete;
    // Of the older tree only what lies to the left of the path exists.
    let old = up_border(up_inner_left(*seed, inner, index), border);
    if old != *old_root {
        return Err(ProofError::OldRoot);
    }
    match up_border(up_inner(*seed, inner, index), border) == *new_root {
        true => Ok(()),
        false => Err(ProofError::Root),
    }
}

/// How the path from a leaf to the root is made up: as long as the paths of the leaf and of the last
/// leaf differ, siblings lie on either side; above that, the path follows the tree's right edge, and
/// all lie to the left.
struct Shape {
    inner: usize,
    border: usize,
}

impl Shape {
    /// `index` must be below `size`.
    fn of(index: u64, size: u64) -> Shape {
        let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
        let border = index.checked_shr(inner).unwrap_or(0).count_ones();
        Shape {
            inner: inner as usize,
            border: border as usize,
        }
    }

    fn len(&self) -> usize {
        self.inner + self.border
    }

    /// The siblings of both parts.
    fn split<'a>(&self, proof: &'a [Hash]) -> Result<(&'a [Hash], &'a [Hash]), ProofError> {
        let length = ProofError::Length {
            expected: self.len(),
            found: proof.len(),
        };
        match proof.split_at_checked(self.inner) {
            Some((inner, border)) if border.len() == self.border => Ok((inner, border)),
            _ => Err(length),
        }
    }
}

fn up_inner(leaf: Hash, siblings: &[Hash], index: u64) -> Hash {
    let steps = siblings.iter().zip(0u32..);
    steps.fold(leaf, |hash, (sibling, level)| match index >> level & 1 {
        0 => node_hash(&hash, sibling),
        _ => node_hash(sibling, &hash),
    })
}

fn up_inner_left(leaf: Hash, siblings: &[Hash], index: u64) -> Hash {
    let left = siblings.iter().zip(0u32..);
    left.filter(|(_, level)| index >> level & 1 == 1)
        .fold(leaf, |hash, (sibling, _)| node_hash(sibling, &hash))
}

fn up_border(leaf: Hash, siblings: &[Hash]) -> Hash {
    siblings
        .iter()
        .fold(leaf, |hash, sibling| node_hash(sibling, &hash))
}

/// How many of `count` leaves, at least two, are in the left subtree: the largest power of two below.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

fn range<R: HashReader>(
    reader: &mut R,
    (start, count): (u64, u64),
) -> Result<Hash, ReadError<R::Error>> {
    let subtrees = subtrees(reader, start, count).map_err(ReadError::Read)?;
    Ok(fold(&subtrees))
}

fn within(index: u64, size: u64) -> Result<(), RangeError> {
    checked(size)?;
    match index < size {
        true => Ok(()),
        false => Err(RangeError::Index { index, size }),
    }
}

fn grows(old: u64, new: u64) -> Result<(), RangeError> {
    checked(new)?;
    match old <= new {
        true => Ok(()),
        false => Err(RangeError::Shrinks { old, new }),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::tree::{Frontier, SIZE_MAX, leaf_hash, root};
    use super::*;

    fn leaf(index: u64) -> Hash {
        leaf_hash(&index.to_le_bytes())
    }

    /// A log whose entries are their own indices.
    fn log(level: u8, index: u64) -> Result<Hash, Infallible> {
        let mut subtree = Frontier::new();
        for leaf_index in index << level..(index + 1) << level {
            subtree.append(leaf(leaf_index)).unwrap();
        }
        Ok(subtree.root())
    }

    /// PATH of RFC 6962, 2.1.1, word for word.
    fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return vec![];
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(k);
        let (mut path, other) = match m < k {
            true => (path(m, left), right),
            false => (path(m - k, right), left),
        };
        path.push(mth(other));
        path
    }

    /// SUBPROOF of RFC 6962, 2.1.2, word for word.
    fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if whole { vec![] } else { vec![mth(leaves)] };
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(k);
        let (mut proof, other) = match m <= k {
            true => (subproof(m, left, whole), right),
            false => (subproof(m - k, right, false), left),
        };
        proof.push(mth(other));
        proof
    }

    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let k = many.len().next_power_of_two() / 2;
                node_hash(&mth(&many[..k]), &mth(&many[k..]))
            }
        }
    }

    #[test]
    fn every_entry_of_every_small_tree() {
        let leaves: Vec<Hash> = (0..66).map(leaf).collect();
        for size in 1..leaves.len() {
            let root = mth(&leaves[..size]);
            for index in 0..size {
                let proof = inclusion(&mut log, index as u64, size as u64).unwrap();
                assert_eq!(proof, path(index, &leaves[..size]), "{index} of {size}");
                let verify = |leaf: &Hash, index: usize, proof: &[Hash]| {
                    verify_inclusion(leaf, index as u64, size as u64, &root, proof)
                };
                assert_eq!(verify(&leaves[index], index, &proof), Ok(()));
                // Another entry, another place, one hash more or less, any hash altered.
                assert_eq!(verify(&leaves[size], index, &proof), Err(ProofError::Root));
                if size > 1 {
                    assert!(verify(&leaves[index], (index + 1) % size, &proof).is_err());
                }
                let mut longer = proof.clone();
                longer.push(root);
                let (expected, found) = (proof.len(), longer.len());
                assert_eq!(
                    verify(&leaves[index], index, &longer),
                    Err(ProofError::Length { expected, found })
                );
                for at in 0..proof.len() {
                    let mut altered = proof.clone();
                    altered[at] = root;
                    assert_eq!(
                        verify(&leaves[index], index, &altered),
                        Err(ProofError::Root)
                    );
                    let found = at;
                    assert_eq!(
                        verify(&leaves[index], index, &proof[..at]),
                        Err(ProofError::Length { expected, found })
                    );
                }
            }
        }
    }

    #[test]
    fn every_pair_of_small_trees() {
        let leaves: Vec<Hash> = (0..66).map(leaf).collect();
        for new in 1..leaves.len() {
            let new_root = mth(&leaves[..new]);
            for old in 1..=new {
                let old_root = mth(&leaves[..old]);
                let proof = consistency(&mut log, old as u64, new as u64).unwrap();
                assert_eq!(proof, subproof(old, &leaves[..new], true), "{old} to {new}");
                let verify = |old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                    verify_consistency(old as u64, old_root, new as u64, new_root, proof)
                };
                assert_eq!(verify(&old_root, &new_root, &proof), Ok(()));
                let other = leaves[65];
                assert_eq!(
                    verify(&old_root, &other, &proof),
                    Err(ProofError::Root),
                    "{old} to {new}"
                );
                if old != new {
                    assert_eq!(
                        verify(&other, &new_root, &proof),
                        Err(match old.is_power_of_two() {
                            // The older root is then the beginning of the path itself.
                            true => ProofError::Root,
                            false => ProofError::OldRoot,
                        })
                    );
                }
                let expected = proof.len();
                let mut longer = proof.clone();
                longer.push(other);
                let found = longer.len();
                assert_eq!(
                    verify(&old_root, &new_root, &longer),
                    Err(ProofError::Length { expected, found })
                );
                for at in 0..proof.len() {
                    let mut altered = proof.clone();
                    altered[at] = other;
                    assert!(verify(&old_root, &new_root, &altered).is_err());
                    let found = at;
                    assert_eq!(
                        verify(&old_root, &new_root, &proof[..at]),
                        Err(ProofError::Length { expected, found })
                    );
                }
            }
        }
    }

    #[test]
    fn an_empty_tree_is_continued_by_any() {
        let root = root(&mut log, 5).unwrap();
        assert_eq!(consistency(&mut log, 0, 5), Ok(vec![]));
        let empty = empty_root();
        assert_eq!(verify_consistency(0, &empty, 5, &root, &[]), Ok(()));
        assert_eq!(verify_consistency(0, &empty, 0, &empty, &[]), Ok(()));
        assert_eq!(
            verify_consistency(0, &empty, 0, &root, &[]),
            Err(ProofError::Root)
        );
        assert_eq!(
            verify_consistency(0, &root, 5, &root, &[]),
            Err(ProofError::OldRoot)
        );
        let (expected, found) = (0, 1);
        assert_eq!(
            verify_consistency(0, &empty, 5, &root, &[root]),
            Err(ProofError::Length { expected, found })
        );
    }

    #[test]
    fn places_that_do_not_exist() {
        let hash = leaf(0);
        let index = RangeError::Index { index: 5, size: 5 };
        assert_eq!(inclusion(&mut log, 5, 5), Err(ReadError::Range(index)));
        assert_eq!(
            verify_inclusion(&hash, 5, 5, &hash, &[]),
            Err(ProofError::Range(index))
        );
        let shrinks = RangeError::Shrinks { old: 6, new: 5 };
        assert_eq!(consistency(&mut log, 6, 5), Err(ReadError::Range(shrinks)));
        assert_eq!(
            verify_consistency(6, &hash, 5, &hash, &[]),
            Err(ProofError::Range(shrinks))
        );
        let size = u64::MAX;
        let too_large = ProofError::Range(RangeError::Size { size });
        assert_eq!(verify_inclusion(&hash, 0, size, &hash, &[]), Err(too_large));
        assert_eq!(
            verify_consistency(size, &hash, size, &hash, &[]),
            Err(too_large)
        );
        assert!(inclusion(&mut log, 0, size).is_err());
        assert!(consistency(&mut log, 0, size).is_err());
    }

    /// In the largest trees of all, every proof is within the bound, and verifies. All leaves of the
    /// tree are equal, so a subtree's hash depends on its level alone.
    #[test]
    fn proofs_of_the_largest_trees_are_within_the_bound() {
        let mut levels = vec![leaf(0)];
        for _ in 0..62 {
            let last = levels[levels.len() - 1];
            levels.push(node_hash(&last, &last));
        }
        let mut reader = |level: u8, _: u64| Ok::<_, Infallible>(levels[usize::from(level)]);
        let mut longest = 0;
        let sizes = [
            SIZE_MAX,
            SIZE_MAX - 1,
            SIZE_MAX / 2 + 1,
            SIZE_MAX / 3,
            (1 << 32) + 7,
        ];
        for size in sizes {
            let root_of_size = root(&mut reader, size).unwrap();
            for index in [0, 1, size / 3, size / 2, size / 2 + 1, size - 2, size - 1] {
                let proof = inclusion(&mut reader, index, size).unwrap();
                longest = longest.max(proof.len());
                assert_eq!(
                    verify_inclusion(&levels[0], index, size, &root_of_size, &proof),
                    Ok(())
                );
                let old_root = root(&mut reader, index).unwrap();
                let proof = consistency(&mut reader, index, size).unwrap();
                longest = longest.max(proof.len());
                assert_eq!(
                    verify_consistency(index, &old_root, size, &root_of_size, &proof),
                    Ok(())
                );
            }
        }
        assert_eq!(longest, PROOF_MAX);
    }
}
