//! The right edge of a log's tiles: those that are not full yet, level by level. With it new entries
//! become tiles without anything being read back.

use adit_protocol::hash::Hash;
use adit_protocol::log::bundle::MAX_ENTRY;
use adit_protocol::log::reader::{TileReadError, TileReader};
use adit_protocol::log::tile::{self, Level, Tile, WIDTH};
use adit_protocol::log::tree::{ReadError, SIZE_MAX, root};

/// Bytes of a full tile of hashes.
pub(super) const TILE_BYTES_MAX: usize = WIDTH as usize * 32;
/// Bytes of the largest bundle.
pub(super) const BUNDLE_BYTES_MAX: usize = WIDTH as usize * (2 + MAX_ENTRY);

/// The most bytes that a file of the log has.
pub(super) fn bytes_max(level: Level) -> usize {
    match level {
        Level::Entries => BUNDLE_BYTES_MAX,
        Level::Hashes(_) => TILE_BYTES_MAX,
    }
}

/// The tiles at the right edge of a log of some size, at most 8 times 255 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Edge {
    size: u64,
    /// The hashes of the tile that is not full, for each level from 0.
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of a log without entries.
    pub fn new() -> Edge {
        Edge::default()
    }

    /// The edge of a log of `size` entries, whose tiles `fetch` reads; in place of a partial one it
    /// may give the full one. Nothing is checked but lengths: compare [`Edge::root`].
    pub fn read<E>(
        size: u64,
        mut fetch: impl FnMut(Tile) -> Result<Vec<u8>, E>,
    ) -> Result<Edge, TileReadError<E>> {
        let mut levels = Vec::new();
        for tile in partial_tiles(size) {
            let number = usize::from(number(tile.level()));
            let bytes = fetch(tile).map_err(|error| TileReadError::Fetch { tile, error })?;
            let wanted = usize::from(tile.width()) * 32;
            let bytes = match bytes.len() == TILE_BYTES_MAX {
                true => bytes.get(..wanted).unwrap_or(&bytes),
                false => &bytes,
            };
            levels.resize(number, Vec::new());
            levels.push(tile.hashes(bytes)?);
        }
        Ok(Edge { size, levels })
    }

    /// Entries of the log.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the last leaves, those that fill no tile.
    pub fn leaves(&self) -> &[Hash] {
        self.level(0)
    }

    /// The hashes of the tile of a level that is not full.
    pub fn level(&self, level: u8) -> &[Hash] {
        self.levels
            .get(usize::from(level))
            .map_or(&[], Vec::as_slice)
    }

    /// Appends the hash of a leaf. `full` is told of each tile that it completes, the lowest first.
    /// After an error of it the edge is of no more use.
    pub fn append<E>(
        &mut self,
        leaf: Hash,
        full: &mut impl FnMut(Tile, &[Hash]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.size += 1;
        self.push(0, leaf, full)
    }

    /// Appends 256 leaves at once by the hash of their tile; the tile before must be full. `full` is
    /// told of the tiles above.
    pub fn append_tile<E>(
        &mut self,
        hash: Hash,
        full: &mut impl FnMut(Tile, &[Hash]) -> Result<(), E>,
    ) -> Result<(), E> {
        debug_assert!(self.leaves().is_empty());
        self.size += u64::from(WIDTH);
        self.push(1, hash, full)
    }

    fn push<E>(
        &mut self,
        level: u8,
        hash: Hash,
        full: &mut impl FnMut(Tile, &[Hash]) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = usize::from(level);
        if self.levels.len() <= at {
            self.levels.resize(at + 1, Vec::new());
        }
        let Some(row) = self.levels.get_mut(at) else {
            return Ok(());
        };
        row.push(hash);
        let Some(above) = tile::full_hash(row) else {
            return Ok(());
        };
        let hashes = std::mem::take(row);
        let index = (self.size >> (8 * u32::from(level))) / u64::from(WIDTH);
        if let Ok(tile) = Tile::new(Level::Hashes(level), index.saturating_sub(1), WIDTH) {
            full(tile, &hashes)?;
        }
        self.push(level + 1, above, full)
    }

    /// The tiles of hashes that are not full, with their hashes.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        partial_tiles(self.size).map(|tile| (tile, self.level(number(tile.level()))))
    }

    /// The root of the log.
    pub fn root(&self) -> Hash {
        let mut reader = TileReader::new(self.size, |tile: Tile| {
            Ok::<_, std::convert::Infallible>(tile::to_bytes(self.level(number(tile.level()))))
        });
        // The root is made of complete subtrees, which all lie in tiles that are not full.
        let root: Result<Hash, ReadError<_>> = root(&mut reader, self.size);
        root.unwrap_or_else(|error| unreachable!("the edge lacks a hash of its own root: {error}"))
    }
}

/// The tiles of hashes at the right edge that are not full, from level 0 upwards.
pub(super) fn partial_tiles(size: u64) -> impl Iterator<Item = Tile> {
    (0..=tile::LEVEL_MAX).filter_map(move |level| {
        let count = size.min(SIZE_MAX) >> (8 * u32::from(level));
        let last = count.checked_sub(1)?;
        let tile = Tile::holding(Level::Hashes(level), last, size)?;
        (!tile.is_full()).then_some(tile)
    })
}

/// The level of a tile of hashes; 0 for entries.
pub(super) fn number(level: Level) -> u8 {
    match level {
        Level::Entries => 0,
        Level::Hashes(level) => level,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use adit_protocol::log::tree::{Frontier, leaf_hash};

    use super::*;

    /// The edge after each of `size` leaves gives the root that the tree has, the tiles that it is
    /// told of are those of the log, and it can be read back from them.
    #[test]
    fn edges_agree_with_the_tree() {
        let mut files: BTreeMap<Tile, Vec<Hash>> = BTreeMap::new();
        let (mut edge, mut tree) = (Edge::new(), Frontier::new());
        assert_eq!(edge.root(), tree.root());
        for at in 0..70_000u64 {
            let leaf = leaf_hash(&at.to_le_bytes());
            edge.append(leaf, &mut |tile, hashes| {
                files.insert(tile, hashes.to_vec());
                Ok::<_, Infallible>(())
            })
            .unwrap();
            tree.append(leaf).unwrap();
            let near = |n: u64| at.abs_diff(n) < 3;
            if at < 600 || near(65_280) || near(65_536) || at % 997 == 0 {
                assert_eq!(edge.root(), tree.root(), "{at}");
                let partial: BTreeMap<_, _> = edge.partial().collect();
                let size = edge.size();
                let read = Edge::read(size, |tile| {
                    let hashes = partial.get(&tile).ok_or(tile)?;
                    Ok::<_, Tile>(tile::to_bytes(hashes))
                })
                .unwrap();
                assert_eq!(read.root(), edge.root(), "{at}");
            }
        }
        let all = files
            .keys()
            .copied()
            .chain(edge.partial().map(|(tile, _)| tile));
        let mut all: Vec<_> = all.collect();
        all.sort();
        let mut expected: Vec<_> = tile::tiles(70_000)
            .filter(|tile| tile.level() != Level::Entries)
            .collect();
        expected.sort();
        assert_eq!(all, expected);
    }

    #[test]
    fn whole_tiles_are_appended_like_their_leaves() {
        let (mut one, mut other) = (Edge::new(), Edge::new());
        let none = &mut |_: Tile, _: &[Hash]| Ok::<_, Infallible>(());
        for tile in 0..300u64 {
            let leaves: Vec<_> = (0..256)
                .map(|at| leaf_hash(&(tile * 256 + at).to_le_bytes()))
                .collect();
            for leaf in &leaves {
                one.append(*leaf, none).unwrap();
            }
            other
                .append_tile(tile::full_hash(&leaves).unwrap(), none)
                .unwrap();
            assert_eq!((one.size(), one.root()), (other.size(), other.root()));
        }
    }
}
