//! The Merkle tree of a log (RFC 6962, 2.1, with BLAKE3), and its root while entries are appended.

use thiserror::Error;

use crate::hash::{Hash, Hasher};

/// The most entries of a log, 2^62. No log gets there; it keeps every proof within
/// [`PROOF_MAX`](super::proof::PROOF_MAX) hashes, and sizes within the signed 64 bits in which
/// other implementations hold them.
pub const SIZE_MAX: u64 = 1 << 62;

/// Why there is no tree or place in one of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RangeError {
    /// More entries than [`SIZE_MAX`].
    #[error("no log has {size} entries; hint: the most is 2^62, so the number is made up")]
    Size {
        /// The number of entries.
        size: u64,
    },
    /// No entry of that index is in the tree.
    #[error(
        "entry {index} is not in a tree of {size}; hint: indices begin at 0; ask for a newer checkpoint if the entry is recent"
    )]
    Index {
        /// Index of the entry.
        index: u64,
        /// Entries of the tree.
        size: u64,
    },
    /// The tree that is said to be older is the larger one.
    #[error("a log does not shrink from {old} entries to {new}; hint: are the two exchanged?")]
    Shrinks {
        /// Entries of the tree that is said to be older.
        old: u64,
        /// Entries of the other.
        new: u64,
    },
}

/// `size` if a log can have so many entries.
pub(super) fn checked(size: u64) -> Result<u64, RangeError> {
    match size <= SIZE_MAX {
        true => Ok(size),
        false => Err(RangeError::Size { size }),
    }
}

/// The hash of an entry as a leaf: of a zero byte and the entry. The byte keeps a leaf from being
/// taken for a node.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hasher::new().update(&[0]).update(entry).finalize()
}

/// The hash of an inner node: of a byte of one, the left and the right hash.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    let (to_left, to_right) = bytes[1..].split_at_mut(32);
    to_left.copy_from_slice(left.as_bytes());
    to_right.copy_from_slice(right.as_bytes());
    Hash::of(&bytes)
}

/// The root of a tree without entries: the hash of nothing.
pub fn empty_root() -> Hash {
    Hash::of(&[])
}

/// The root over subtrees that lie side by side, the largest first, as a tree's size in binary says.
pub(super) fn fold(subtrees: &[Hash]) -> Hash {
    let mut rest = subtrees.iter().rev();
    let Some(last) = rest.next() else {
        return empty_root();
    };
    rest.fold(*last, |right, left| node_hash(left, &right))
}

/// Where the hashes of a log's *complete* subtrees are read from: those whose number of leaves is a
/// power of two, and all of whose leaves exist.
///
/// A closure of the same arguments is one too. [`TileReader`](super::reader::TileReader) reads them
/// from tiles.
pub trait HashReader {
    /// Why a hash could not be read.
    type Error;

    /// The hash of the subtree of the leaves `index << level` up to and without
    /// `(index + 1) << level`.
    ///
    /// # Errors
    /// The reader's own.
    fn hash(&mut self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

impl<F: FnMut(u8, u64) -> Result<Hash, E>, E> HashReader for F {
    type Error = E;

    fn hash(&mut self, level: u8, index: u64) -> Result<Hash, E> {
        self(level, index)
    }
}

/// The hashes of the complete subtrees that leaves from `start` on are made of, the largest first.
/// `start` must be a multiple of the power of two that is not below `count`.
pub(super) fn subtrees<R: HashReader>(
    reader: &mut R,
    start: u64,
    count: u64,
) -> Result<Vec<Hash>, R::Error> {
    let mut hashes = Vec::with_capacity(count.count_ones() as usize);
    let (mut at, mut rest) = (start, count);
    while let Some(level) = rest.checked_ilog2() {
        hashes.push(reader.hash(level as u8, at >> level)?);
        at += 1 << level;
        rest -= 1 << level;
    }
    Ok(hashes)
}

/// The root of the tree of the first `size` entries.
///
/// # Errors
/// [`ReadError::Range`] if no tree is that large, or what the reader says.
pub fn root<R: HashReader>(reader: &mut R, size: u64) -> Result<Hash, ReadError<R::Error>> {
    checked(size)?;
    let subtrees = subtrees(reader, 0, size).map_err(ReadError::Read)?;
    Ok(fold(&subtrees))
}

/// Why something could not be computed from a log's hashes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError<E> {
    /// There is no such tree, or no such place in it.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A hash could not be read.
    #[error("a hash of the log could not be read: {0}")]
    Read(E),
}

/// The right edge of a growing tree: what is needed to append to it and to know its root. Of a tree
/// of n entries it holds as many hashes as n has ones in binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The complete subtrees, the largest and so leftmost first.
    subtrees: Vec<Hash>,
}

/// Why hashes are no frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrontierError {
    /// There is no such tree.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The number of hashes is not that of the size's ones in binary.
    #[error(
        "a tree of {size} entries has {expected} hashes at its edge, not {found}; hint: the stored state belongs to another size"
    )]
    Count {
        /// Entries of the tree.
        size: u64,
        /// How many hashes it must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}

impl Frontier {
    /// The edge of an empty tree.
    pub fn new() -> Frontier {
        Frontier::default()
    }

    /// The edge of a tree of `size` entries from the hashes that [`Frontier::subtrees`] gave.
    /// Whether they are the right ones shows in the root.
    ///
    /// # Errors
    /// [`FrontierError`].
    pub fn from_subtrees(size: u64, subtrees: Vec<Hash>) -> Result<Frontier, FrontierError> {
        checked(size)?;
        let (expected, found) = (size.count_ones() as usize, subtrees.len());
        if expected != found {
            return Err(FrontierError::Count {
                size,
                expected,
                found,
            });
        }
        Ok(Frontier { size, subtrees })
    }

    /// The edge of a tree of `size` entries, read from a log.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read<R: HashReader>(reader: &mut R, size: u64) -> Result<Frontier, ReadError<R::Error>> {
        checked(size)?;
        let subtrees = subtrees(reader, 0, size).map_err(ReadError::Read)?;
        Ok(Frontier { size, subtrees })
    }

    /// Entries of the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the complete subtrees, the largest first.
    pub fn subtrees(&self) -> &[Hash] {
        &self.subtrees
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        fold(&self.subtrees)
    }

    /// Appends an entry by its [`leaf_hash`], and returns its index.
    ///
    /// # Errors
    /// [`RangeError::Size`] if the tree is full, and then nothing was appended.
    pub fn append(&mut self, leaf: Hash) -> Result<u64, RangeError> {
        let index = self.size;
        let size = checked(index + 1)?;
        // Each one at the end of the old size in binary is a subtree that the leaf completes.
        let kept = self.subtrees.len() - index.trailing_ones() as usize;
        let hash = (self.subtrees.drain(kept..))
            .rev()
            .fold(leaf, |right, left| node_hash(&left, &right));
        self.subtrees.push(hash);
        self.size = size;
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn leaf(index: u64) -> Hash {
        leaf_hash(&index.to_le_bytes())
    }

    /// RFC 6962, 2.1, word for word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of(b""),
            [one] => *one,
            many => {
                let k = many.len().next_power_of_two() / 2;
                node_hash(&mth(&many[..k]), &mth(&many[k..]))
            }
        }
    }

    #[test]
    fn hashes_are_kept_apart_by_a_byte() {
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        let both = [a.as_bytes().as_slice(), b.as_bytes()].concat();
        assert_eq!(node_hash(&a, &b), Hash::of(&[&[1], &both[..]].concat()));
        assert_eq!(leaf_hash(&both), Hash::of(&[&[0], &both[..]].concat()));
        assert_eq!(empty_root(), Hash::of(b""));
    }

    #[test]
    fn the_root_is_that_of_the_definition() {
        let leaves: Vec<Hash> = (0..600).map(leaf).collect();
        let mut frontier = Frontier::new();
        for size in 0..leaves.len() {
            assert_eq!(frontier.root(), mth(&leaves[..size]), "{size}");
            assert_eq!(frontier.size(), size as u64);
            let again = Frontier::from_subtrees(size as u64, frontier.subtrees().to_vec());
            assert_eq!(again, Ok(frontier.clone()));
            let mut reader = |level: u8, index: u64| {
                let first = (index << level) as usize;
                Ok::<_, Infallible>(mth(&leaves[first..first + (1 << level)]))
            };
            assert_eq!(root(&mut reader, size as u64), Ok(frontier.root()));
            assert_eq!(
                Frontier::read(&mut reader, size as u64),
                Ok(frontier.clone())
            );
            assert_eq!(frontier.append(leaves[size]), Ok(size as u64));
        }
    }

    /// A tree of 2^n equal leaves has a root that is n steps from the leaf.
    #[test]
    fn large_trees_by_their_closed_form() {
        let one = leaf(0);
        let mut power = one;
        let mut frontier = Frontier::new();
        for level in 0..=17 {
            while frontier.size() < 1 << level {
                frontier.append(one).unwrap();
            }
            assert_eq!(frontier.root(), power, "2^{level}");
            let mut more = frontier.clone();
            more.append(one).unwrap();
            assert_eq!(more.root(), node_hash(&power, &one), "2^{level} + 1");
            power = node_hash(&power, &power);
        }
    }

    #[test]
    fn frontiers_are_refused() {
        let hashes = vec![leaf(0); 3];
        assert_eq!(
            Frontier::from_subtrees(6, hashes.clone()),
            Err(FrontierError::Count {
                size: 6,
                expected: 2,
                found: 3
            })
        );
        let size = SIZE_MAX + 1;
        assert_eq!(
            Frontier::from_subtrees(size, hashes),
            Err(FrontierError::Range(RangeError::Size { size }))
        );
    }

    #[test]
    fn a_full_tree_takes_no_more() {
        let mut full = Frontier::from_subtrees(SIZE_MAX, vec![leaf(0)]).unwrap();
        let before = full.clone();
        assert_eq!(
            full.append(leaf(1)),
            Err(RangeError::Size { size: SIZE_MAX + 1 })
        );
        assert_eq!(full, before);
        let mut nearly = Frontier::from_subtrees(SIZE_MAX - 1, vec![leaf(0); 62]).unwrap();
        assert_eq!(nearly.append(leaf(1)), Ok(SIZE_MAX - 1));
        assert_eq!(nearly.subtrees().len(), 1);
    }

    #[test]
    fn a_readers_error_is_passed_on() {
        let mut broken = |_: u8, index: u64| Err::<Hash, u64>(index);
        assert_eq!(root(&mut broken, 0), Ok(empty_root()));
        assert_eq!(root(&mut broken, 5), Err(ReadError::Read(0)));
        assert_eq!(Frontier::read(&mut broken, 4), Err(ReadError::Read(0)));
        let size = u64::MAX;
        let range = RangeError::Size { size };
        assert_eq!(root(&mut broken, size), Err(ReadError::Range(range)));
        assert_eq!(
            Frontier::read(&mut broken, size),
            Err(ReadError::Range(range))
        );
    }
}
