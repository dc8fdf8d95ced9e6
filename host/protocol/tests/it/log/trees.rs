//! Trees, proofs and tiles.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::LazyLock;

use adit_protocol::Hash;
use adit_protocol::log::proof::{
    ProofError, consistency, inclusion, verify_consistency, verify_inclusion,
};
use adit_protocol::log::reader::TileReader;
use adit_protocol::log::tile::{self, Level, Tile};
use adit_protocol::log::tree::{Frontier, HashReader, empty_root, leaf_hash, node_hash, root};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// All complete subtrees of a log, by level.
struct Log(Vec<Vec<Hash>>);

impl Log {
    fn of(leaves: Vec<Hash>) -> Log {
        let mut levels = vec![leaves];
        while let Some(row) = levels.last().filter(|row| row.len() > 1) {
            let (pairs, _) = row.as_chunks::<2>();
            levels.push(pairs.iter().map(|[l, r]| node_hash(l, r)).collect());
        }
        Log(levels)
    }
}

impl HashReader for &Log {
    type Error = Infallible;

    fn hash(&mut self, level: u8, index: u64) -> Result<Hash, Infallible> {
        Ok(self.0[usize::from(level)][index as usize])
    }
}

/// RFC 6962, 2.1, word for word.
fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node_hash(&mth(left), &mth(right))
        }
    }
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|index| leaf_hash(&entry(index))).collect()
}

/// A log of 2000 entries, made once for all cases.
static LOG: LazyLock<Log> = LazyLock::new(|| Log::of(leaves(2000)));

fn bytes(proof: &[Hash]) -> Vec<u8> {
    tile::to_bytes(proof)
}

/// Every tree up to 300 entries, every entry in it, and every tree that it continues.
#[test]
fn ct_merkle_makes_the_same_trees_and_proofs() {
    let leaves = leaves(300);
    let log = Log::of(leaves.clone());
    let mut other = MemoryBackedTree::<blake3::Hasher, Vec<u8>>::new();
    let mut roots = vec![empty_root()];
    for size in 1..=300u64 {
        other.push(entry(size - 1));
        let root = root(&mut &log, size).unwrap();
        assert_eq!(root, mth(&leaves[..size as usize]));
        assert_eq!(other.root().as_bytes()[..], root.as_bytes()[..], "{size}");
        roots.push(root);
        for index in 0..size {
            let proof = inclusion(&mut &log, index, size).unwrap();
            let theirs = other.prove_inclusion(index as usize);
            assert_eq!(theirs.as_bytes(), bytes(&proof), "{index} of {size}");
            let leaf = &leaves[index as usize];
            assert_eq!(verify_inclusion(leaf, index, size, &root, &proof), Ok(()));
        }
        for old in 1..=size {
            let proof = consistency(&mut &log, old, size).unwrap();
            let theirs = other.prove_consistency((size - old) as usize);
            assert_eq!(theirs.as_bytes(), bytes(&proof), "{old} to {size}");
            let old_root = &roots[old as usize];
            assert_eq!(
                verify_consistency(old, old_root, size, &root, &proof),
                Ok(())
            );
        }
    }
}

#[test]
fn tlog_tiles_lists_the_same_tiles() {
    let theirs = |old, new| -> BTreeSet<String> {
        let list = tlog_tiles::Tile::new_tiles(8, old, new);
        let hashes = list.iter().map(|tile| tile.path().replacen("/8", "", 1));
        // It lists no bundles; they are as the tiles of level 0.
        let entries = list.iter().filter(|tile| tile.level() == 0).map(|tile| {
            let path = tile.path();
            path.replacen("tile/8/0", "tile/entries", 1)
        });
        hashes.chain(entries).collect()
    };
    let edges = [
        0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000,
    ];
    for old in edges {
        for new in edges.into_iter().filter(|new| *new >= old) {
            let list: Vec<String> = tile::new_tiles(old, new).map(|t| t.to_string()).collect();
            let set: BTreeSet<String> = list.iter().cloned().collect();
            assert_eq!(set.len(), list.len(), "a tile twice, {old} to {new}");
            assert_eq!(set, theirs(old, new), "{old} to {new}");
        }
    }
}

/// A log of 2^16 entries and a few, from its tiles, against the closed form: all its leaves are the
/// same.
#[test]
fn tiles_across_the_second_level() {
    let leaf = leaf_hash(b"the same");
    let level = |n: u32| (0..n).fold(leaf, |hash, _| node_hash(&hash, &hash));
    for extra in [0u64, 1, 3] {
        let size = 65_536 + extra;
        let mut reader = TileReader::new(size, |tile: Tile| {
            let Level::Hashes(of) = tile.level() else {
                return Err("a bundle was asked for");
            };
            let hash = level(8 * u32::from(of));
            Ok(tile::to_bytes(&vec![hash; usize::from(tile.width())]))
        });
        let expected = match extra {
            0 => level(16),
            1 => node_hash(&level(16), &leaf),
            _ => node_hash(&level(16), &node_hash(&level(1), &leaf)),
        };
        assert_eq!(root(&mut reader, size), Ok(expected));
        let proof = inclusion(&mut reader, 40_000, size).unwrap();
        assert_eq!(proof.len(), 16 + usize::from(extra > 0));
        verify_inclusion(&leaf, 40_000, size, &expected, &proof).unwrap();
        let proof = consistency(&mut reader, 65_536, size).unwrap();
        verify_consistency(65_536, &level(16), size, &expected, &proof).unwrap();
    }
}

/// A way to make something false of a statement and its proof.
#[derive(Clone, Copy, Debug)]
enum Change {
    Leaf,
    Index,
    Size,
    Root,
    Drop,
    Add,
    Flip,
    Swap,
}

fn changes() -> impl Strategy<Value = Change> {
    use Change::{Add, Drop, Flip, Index, Leaf, Root, Size, Swap};
    select(vec![Leaf, Index, Size, Root, Drop, Add, Flip, Swap])
}

/// Changes a proof; `false` if there was nothing to change.
fn altered(proof: &mut Vec<Hash>, change: Change, at: Index) -> bool {
    match (change, proof.len()) {
        (Change::Add, len) => proof.insert(at.index(len + 1), Hash::of(b"added")),
        (Change::Drop, 1..) => drop(proof.remove(at.index(proof.len()))),
        (Change::Flip, len @ 1..) => {
            let hash = &mut proof[at.index(len)];
            let mut bytes = *hash.as_bytes();
            bytes[at.index(32)] ^= 1;
            *hash = Hash::from_bytes(bytes);
        }
        (Change::Swap, 2..) => {
            let first = at.index(proof.len() - 1);
            proof.swap(first, first + 1);
        }
        _ => return false,
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn altered_inclusion_proofs_prove_nothing(
        size in 1u64..2000, index: Index, other: Index, change in changes(), at: Index,
    ) {
        let mut log = &*LOG;
        let index = index.index(size as usize) as u64;
        let mut proof = inclusion(&mut log, index, size).unwrap();
        let (mut leaf, mut at_index, mut of_size) = (log.0[0][index as usize], index, size);
        let mut root = root(&mut log, size).unwrap();
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &root, &proof), Ok(()));
        match change {
            Change::Leaf => leaf = log.0[0][(index as usize + 1 + other.index(1999)) % 2000],
            Change::Index => at_index = other.index(2000) as u64,
            // A proof alone does not say which size it is of; together with the root it does, unless
            // the path is the same.
            Change::Size => {
                of_size = 1 + other.index(2000) as u64;
                let root = adit_protocol::log::tree::root(&mut log, of_size).unwrap();
                let expected = index < of_size
                    && proof == inclusion(&mut log, index, of_size).unwrap();
                let verified = verify_inclusion(&leaf, index, of_size, &root, &proof);
                prop_assert_eq!(verified.is_ok(), expected);
                return Ok(());
            }
            Change::Root => root = Hash::of(b"another"),
            _ if !altered(&mut proof, change, at) => return Ok(()),
            _ => {}
        }
        if at_index == index && matches!(change, Change::Index) {
            return Ok(());
        }
        prop_assert!(verify_inclusion(&leaf, at_index, of_size, &root, &proof).is_err());
    }

    #[test]
    fn altered_consistency_proofs_prove_nothing(
        new in 1u64..2000, old: Index, other: Index, change in changes(), at: Index,
    ) {
        let mut log = &*LOG;
        let old = old.index(new as usize + 1) as u64;
        let mut proof = consistency(&mut log, old, new).unwrap();
        let (mut old_root, mut new_root) =
            (root(&mut log, old).unwrap(), root(&mut log, new).unwrap());
        prop_assert_eq!(verify_consistency(old, &old_root, new, &new_root, &proof), Ok(()));
        match change {
            Change::Leaf | Change::Root if old == 0 => old_root = new_root,
            Change::Leaf => old_root = Hash::of(b"another"),
            Change::Root => new_root = Hash::of(b"another"),
            Change::Index | Change::Size => {
                // The tree is another than the older root's, so nothing can be shown of it.
                let other = 1 + other.index(2000) as u64;
                if other == old || old == 0 {
                    return Ok(());
                }
                prop_assert!(verify_consistency(other, &old_root, new, &new_root, &proof).is_err());
                return Ok(());
            }
            _ if !altered(&mut proof, change, at) => return Ok(()),
            _ => {}
        }
        prop_assert!(verify_consistency(old, &old_root, new, &new_root, &proof).is_err());
    }

    #[test]
    fn any_numbers_and_hashes_are_judged(
        old: u64, new: u64, index: u64, shift in 0u32..64, hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let proof: Vec<Hash> = hashes.into_iter().map(Hash::from_bytes).collect();
        let (old, new, index) = (old >> shift, new >> shift, index >> shift);
        let (zero, one) = (Hash::ZERO, Hash::of(b"one"));
        let inclusion = verify_inclusion(&zero, index, new, &one, &proof);
        prop_assert!(inclusion.is_err());
        if let Err(ProofError::Length { expected, .. }) = inclusion {
            prop_assert!(expected <= adit_protocol::log::proof::PROOF_MAX);
        }
        let consistency = verify_consistency(old, &zero, new, &one, &proof);
        prop_assert!(consistency.is_err());
        if let Err(ProofError::Length { expected, .. }) = consistency {
            prop_assert!(expected <= adit_protocol::log::proof::PROOF_MAX);
        }
    }

    #[test]
    fn a_frontier_grows_as_the_definition_says(size in 0u64..3000, more in 0u64..600) {
        let leaves = leaves(size + more);
        let log = Log::of(leaves.clone());
        let mut frontier = Frontier::read(&mut &log, size).unwrap();
        for leaf in &leaves[size as usize..] {
            frontier.append(*leaf).unwrap();
        }
        prop_assert_eq!(frontier.root(), mth(&leaves));
        prop_assert_eq!(frontier, Frontier::read(&mut &log, size + more).unwrap());
    }
}
