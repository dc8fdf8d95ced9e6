//! Reading a log's hashes from its tiles.

use std::collections::BTreeMap;

use thiserror::Error;

use super::tile::{HASH_LEN, HEIGHT, Level, Tile, TileDataError, WIDTH, subtree};
use super::tree::HashReader;
use crate::hash::Hash;

/// Tiles that a [`TileReader`] keeps, 512 KiB. A proof needs two of each level at most.
const KEPT_MAX: usize = 64;

/// Reads hashes from the tiles of a log of a given size, and keeps a few tiles at hand.
///
/// Nothing that is read is checked against a root. A proof that is built from it is checked when it
/// is verified, and a root when it is compared.
#[derive(Debug)]
pub struct TileReader<F> {
    size: u64,
    fetch: F,
    kept: BTreeMap<(u8, u64), Vec<Hash>>,
}

/// Why a hash could not be read from tiles.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum TileReadError<E> {
    /// A tile could not be fetched.
    #[error("{tile} could not be fetched: {error}")]
    Fetch {
        /// The tile.
        tile: Tile,
        /// Why.
        error: E,
    },
    /// What was fetched is not the tile.
    #[error(transparent)]
    Data(#[from] TileDataError),
    /// The log has no such complete subtree.
    #[error(
        "a log of {size} entries has no complete subtree {index} of 2^{level} leaves; hint: it has grown since the proof was asked for, or is shorter than thought"
    )]
    Outside {
        /// Binary logarithm of the subtree's leaves.
        level: u8,
        /// Index of the subtree among those of its level.
        index: u64,
        /// Entries of the log.
        size: u64,
    },
}

impl<F, E> TileReader<F>
where
    F: FnMut(Tile) -> Result<Vec<u8>, E>,
{
    /// A reader of the log of `size` entries. `fetch` is asked for tiles of hashes as that log has
    /// them; in place of a partial tile it may return the bytes of the full one.
    pub fn new(size: u64, fetch: F) -> TileReader<F> {
        TileReader {
            size,
            fetch,
            kept: BTreeMap::new(),
        }
    }

    fn load(&mut self, tile: Tile) -> Result<Vec<Hash>, TileReadError<E>> {
        let bytes = (self.fetch)(tile).map_err(|error| TileReadError::Fetch { tile, error })?;
        let wanted = usize::from(tile.width()) * HASH_LEN;
        let bytes = match bytes.len() == usize::from(WIDTH) * HASH_LEN {
            true => bytes.get(..wanted).unwrap_or(&bytes),
            false => &bytes,
        };
        Ok(tile.hashes(bytes)?)
    }
}

impl<F, E> HashReader for TileReader<F>
where
    F: FnMut(Tile) -> Result<Vec<u8>, E>,
{
    type Error = TileReadError<E>;

    fn hash(&mut self, level: u8, index: u64) -> Result<Hash, TileReadError<E>> {
        let size = self.size;
        let outside = || TileReadError::Outside { level, index, size };
        // The subtree's leaves in the tile are 2^inner hashes from `first` on.
        let (tile_level, inner) = (level / HEIGHT, level % HEIGHT);
        let first = index.checked_mul(1 << inner).ok_or_else(outside)?;
        let tile = Tile::holding(Level::Hashes(tile_level), first, size).ok_or_else(outside)?;
        let at = (tile_level, tile.index());
        if !self.kept.contains_key(&at) {
            let hashes = self.load(tile)?;
            if self.kept.len() >= KEPT_MAX {
                self.kept.clear();
            }
            self.kept.insert(at, hashes);
        }
        let offset = usize::from((first % u64::from(WIDTH)) as u8);
        let hashes = self.kept.get(&at).and_then(|hashes| hashes.get(offset..));
        let leaves = hashes.and_then(|hashes| hashes.get(..1 << inner));
        leaves.map(subtree).ok_or_else(outside)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;

    use super::super::proof::{consistency, inclusion, verify_consistency, verify_inclusion};
    use super::super::tile::{full_hash, new_tiles, to_bytes};
    use super::super::tree::{Frontier, ReadError, leaf_hash, root};
    use super::*;

    fn hashes(level: u8, index: u64, width: u16) -> Tile {
        Tile::new(Level::Hashes(level), index, width).unwrap()
    }

    /// A log in memory, written tile by tile as it grows, as a coordinator does.
    #[derive(Default)]
    struct Files {
        tiles: BTreeMap<Tile, Vec<Hash>>,
        frontier: Frontier,
    }

    impl Files {
        fn grow(&mut self, leaves: &[Hash]) {
            let old = self.frontier.size();
            for leaf in leaves {
                self.frontier.append(*leaf).unwrap();
            }
            for tile in new_tiles(old, self.frontier.size()) {
                let Level::Hashes(level) = tile.level() else {
                    continue;
                };
                let list = (tile.start()..tile.start() + u64::from(tile.width())).map(|at| {
                    match level.checked_sub(1) {
                        None => leaf_hash(&at.to_le_bytes()),
                        Some(below) => full_hash(&self.tiles[&hashes(below, at, 256)]).unwrap(),
                    }
                });
                let list = list.collect();
                self.tiles.insert(tile, list);
            }
        }
    }

    #[test]
    fn proofs_are_built_from_the_tiles_that_exist() {
        let leaves: Vec<Hash> = (0..66_000u64)
            .map(|at| leaf_hash(&at.to_le_bytes()))
            .collect();
        let mut files = Files::default();
        let mut roots = BTreeMap::from([(0, files.frontier.root())]);
        let sizes = [
            1, 2, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 66_000,
        ];
        for size in sizes {
            files.grow(&leaves[files.frontier.size() as usize..size]);
            let size = size as u64;
            let fetched = RefCell::new(0);
            let mut reader = TileReader::new(size, |tile| {
                *fetched.borrow_mut() += 1;
                assert!(
                    Tile::holding(tile.level(), tile.start(), size) == Some(tile),
                    "{tile} is not of {size}"
                );
                files
                    .tiles
                    .get(&tile)
                    .map(|list| to_bytes(list))
                    .ok_or("no file")
            });
            let root = root(&mut reader, size).unwrap();
            assert_eq!(root, files.frontier.root(), "{size}");
            for (old, old_root) in &roots {
                let proof = consistency(&mut reader, *old, size).unwrap();
                verify_consistency(*old, old_root, size, &root, &proof).unwrap();
            }
            for index in [0, size / 2, size.saturating_sub(257), size - 1] {
                let proof = inclusion(&mut reader, index, size).unwrap();
                verify_inclusion(&leaves[index as usize], index, size, &root, &proof).unwrap();
            }
            drop(reader);
            assert!(*fetched.borrow() <= 24, "{size}: {fetched:?} tiles");
            roots.insert(size, root);
        }
        // A full tile does for a partial one.
        let mut reader = TileReader::new(300, |tile| {
            let full = files.tiles.get(&tile.full().unwrap());
            full.map(|list| to_bytes(list)).ok_or("no file")
        });
        let proof = inclusion(&mut reader, 299, 300).unwrap();
        let mut of_300 = Frontier::new();
        for leaf in &leaves[..300] {
            of_300.append(*leaf).unwrap();
        }
        verify_inclusion(&leaves[299], 299, 300, &of_300.root(), &proof).unwrap();
    }

    #[test]
    fn what_the_reader_cannot_read() {
        let none = |tile: Tile| Err::<Vec<u8>, _>(tile.width());
        let tile = hashes(0, 0, 5);
        let fetch = TileReadError::Fetch { tile, error: 5 };
        assert_eq!(TileReader::new(5, none).hash(0, 0), Err(fetch));
        assert_eq!(
            root(&mut TileReader::new(5, none), 5),
            Err(ReadError::Read(TileReadError::Fetch { tile, error: 5 }))
        );
        let short = |_| Ok::<_, Infallible>(vec![0; 31]);
        let data = TileDataError::Length {
            tile,
            expected: 160,
            found: 31,
        };
        assert_eq!(
            TileReader::new(5, short).hash(0, 0),
            Err(TileReadError::Data(data))
        );
        let zeros = |tile: Tile| Ok::<_, Infallible>(vec![0; usize::from(tile.width()) * 32]);
        let mut reader = TileReader::new(5, zeros);
        assert!(reader.hash(2, 0).is_ok());
        // Beyond the end, not complete, and far beyond anything.
        for (level, index) in [
            (0, 5),
            (2, 1),
            (3, 0),
            (8, 0),
            (0, u64::MAX),
            (255, u64::MAX),
        ] {
            let size = 5;
            assert_eq!(
                reader.hash(level, index),
                Err(TileReadError::Outside { level, index, size })
            );
        }
    }

    #[test]
    fn a_reader_keeps_a_bounded_number_of_tiles() {
        let zeros = |tile: Tile| Ok::<_, Infallible>(vec![0; usize::from(tile.width()) * 32]);
        let mut reader = TileReader::new(256 * 1000, zeros);
        for index in 0..1000 {
            reader.hash(0, index * 256).unwrap();
            assert!(reader.kept.len() <= KEPT_MAX);
        }
    }
}
