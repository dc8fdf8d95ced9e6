//! The files that a log is served as: tiles of 256 hashes, and entry bundles of as many entries
//! (C2SP `tlog-tiles`).
//!
//! A tile of level `l` holds the hashes of subtrees of 256^l leaves, so its own 8 levels of the tree
//! are computed from it, and the hash of a full tile stands in a tile of the next level. A tile that
//! is not full yet has its width in its path: what lies at a path never changes.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::tree::{SIZE_MAX, fold, node_hash};
use crate::hash::Hash;

/// Hashes of a full tile, entries of a full bundle.
pub const WIDTH: u16 = 256;
/// Levels of the tree that a tile spans.
pub const HEIGHT: u8 = 8;
/// The highest level of tiles that a log of [`SIZE_MAX`] entries has.
pub const LEVEL_MAX: u8 = 7;
/// Bytes of a hash in a tile.
pub(super) const HASH_LEN: usize = 32;
/// Bytes of the longest path that [`Tile::from_str`] looks at.
const PATH_MAX: usize = 64;

/// What a file of the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Entries.
    Entries,
    /// Hashes, of leaves at level 0, and above that of full tiles one level below.
    Hashes(u8),
}

impl Level {
    /// The level of the hashes that belong to it.
    fn number(self) -> u8 {
        match self {
            Level::Entries => 0,
            Level::Hashes(level) => level,
        }
    }
}

/// A file of the log. Its text form is the file's path, as `tile/0/x001/x234/067.p/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: Level,
    index: u64,
    width: u16,
}

/// Why there is no such tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TileError {
    /// The path has not the form of one.
    #[error(
        "the path is not `tile/LEVEL/INDEX` or `tile/entries/INDEX`; hint: the index has three digits between slashes, with an x before all but the last, as in x001/x234/067"
    )]
    Form,
    /// The level is none that a log has.
    #[error("a tile's level is 0 to 7; hint: it has no leading zero")]
    Level,
    /// The width is none that a tile has.
    #[error(
        "a tile's width is 1 to 256; hint: in a path it is 1 to 255, since a full tile has none there"
    )]
    Width,
    /// The tile would lie beyond the end of the largest log.
    #[error("no log is so large that it has this tile; hint: the index is made up")]
    Index,
}

impl Tile {
    /// The file of a level, by its index in the level and how many hashes or entries it has.
    ///
    /// # Errors
    /// [`TileError`], but not [`TileError::Form`].
    pub fn new(level: Level, index: u64, width: u16) -> Result<Tile, TileError> {
        let number = level.number();
        if number > LEVEL_MAX {
            return Err(TileError::Level);
        }
        if width == 0 || width > WIDTH {
            return Err(TileError::Width);
        }
        let end = (index.checked_mul(u64::from(WIDTH)))
            .and_then(|start| start.checked_add(u64::from(width)));
        match end.is_some_and(|end| end <= at_level(SIZE_MAX, number)) {
            true => Ok(Tile {
                level,
                index,
                width,
            }),
            false => Err(TileError::Index),
        }
    }

    /// The file with the hash or entry `at` of a level, as a log of `size` entries has it; `None` if
    /// it has none. It is at `at % 256` in there.
    pub fn holding(level: Level, at: u64, size: u64) -> Option<Tile> {
        let count = at_level(size, level.number());
        let index = at / u64::from(WIDTH);
        let width = u16::try_from(count.saturating_sub(index * u64::from(WIDTH)).min(256)).ok()?;
        (at < count)
            .then(|| Tile::new(level, index, width).ok())
            .flatten()
    }

    /// What it holds.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Its index in its level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it has, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The index in its level of its first hash or entry.
    pub fn start(&self) -> u64 {
        self.index * u64::from(WIDTH)
    }

    /// Whether it will not grow.
    pub fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// The same file when it is full. A log may have deleted the partial ones by then; what they held
    /// is at the beginning of the full one.
    pub fn full(&self) -> Option<Tile> {
        Tile::new(self.level, self.index, WIDTH).ok()
    }

    /// The hashes of a file of this tile.
    ///
    /// # Errors
    /// [`TileDataError`] if there are more or fewer, or the file holds entries.
    pub fn hashes(&self, bytes: &[u8]) -> Result<Vec<Hash>, TileDataError> {
        let expected = match self.level {
            Level::Entries => return Err(TileDataError::Entries { tile: *self }),
            Level::Hashes(_) => usize::from(self.width) * HASH_LEN,
        };
        let (hashes, rest) = bytes.as_chunks::<HASH_LEN>();
        if bytes.len() != expected || !rest.is_empty() {
            return Err(TileDataError::Length {
                tile: *self,
                expected,
                found: bytes.len(),
            });
        }
        Ok(hashes
            .iter()
            .map(|bytes| Hash::from_bytes(*bytes))
            .collect())
    }
}

/// Why bytes are not the hashes of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TileDataError {
    /// The number of bytes is not that of the tile's hashes.
    #[error("{tile} has {expected} bytes, not {found}; hint: the file was cut off or exchanged")]
    Length {
        /// The tile.
        tile: Tile,
        /// Bytes that it must have.
        expected: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// The file holds entries.
    #[error("{tile} holds entries, not hashes; hint: read it as an entry bundle")]
    Entries {
        /// The file.
        tile: Tile,
    },
}

/// The bytes of a tile with these hashes.
pub fn to_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The hash of a full tile, which stands in a tile of the next level; `None` for a partial one, which
/// has no place there yet.
pub fn full_hash(hashes: &[Hash]) -> Option<Hash> {
    (hashes.len() == usize::from(WIDTH)).then(|| subtree(hashes))
}

/// The root of a complete subtree: the number of hashes must be a power of two.
pub(super) fn subtree(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                _ => fold(pair),
            })
            .collect();
    }
    fold(&row)
}

/// How many hashes of a level a log of `size` entries has.
fn at_level(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(HEIGHT))
        .unwrap_or(0)
}

/// The files that a log of `size` entries, at most [`SIZE_MAX`], consists of.
pub fn tiles(size: u64) -> impl Iterator<Item = Tile> {
    new_tiles(0, size)
}

/// The files that a log of `new` entries has and one of `old` entries has not, entries first and then
/// level by level: what must be written to get from the one to the other. It may be a long list, so
/// it is made as it is read.
pub fn new_tiles(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    let width = u64::from(WIDTH);
    let levels = std::iter::once(Level::Entries).chain((0..=LEVEL_MAX).map(Level::Hashes));
    levels.flat_map(move |level| {
        let had = at_level(old, level.number());
        let has = at_level(new.min(SIZE_MAX), level.number());
        let indices = match had < has {
            true => had / width..has.div_ceil(width),
            false => 0..0,
        };
        indices.filter_map(move |index| Tile::holding(level, index * width, new.min(SIZE_MAX)))
    })
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Entries => f.write_str("tile/entries/")?,
            Level::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for (after, group) in groups.iter().enumerate().rev() {
            match after {
                0 => write!(f, "{group:03}")?,
                _ => write!(f, "x{group:03}/")?,
            }
        }
        match self.is_full() {
            true => Ok(()),
            false => write!(f, ".p/{}", self.width),
        }
    }
}

impl FromStr for Tile {
    type Err = TileError;

    /// Reads a path, in its one form only: no zeros before a level or a width, no group of zeros
    /// before an index, no width of 256.
    fn from_str(path: &str) -> Result<Tile, TileError> {
        if path.len() > PATH_MAX {
            return Err(TileError::Form);
        }
        let rest = path.strip_prefix("tile/").ok_or(TileError::Form)?;
        let (level, rest) = rest.split_once('/').ok_or(TileError::Form)?;
        let level = match level {
            "entries" => Level::Entries,
            number => Level::Hashes(
                super::decimal(number)
                    .and_then(|number| u8::try_from(number).ok())
                    .filter(|number| *number <= LEVEL_MAX)
                    .ok_or(TileError::Level)?,
            ),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => {
                let width = super::decimal(width)
                    .and_then(|width| u16::try_from(width).ok())
                    .filter(|width| (1..WIDTH).contains(width));
                (index, width.ok_or(TileError::Width)?)
            }
            None => (rest, WIDTH),
        };
        let tile = Tile::new(level, parse_index(index)?, width)?;
        // An index may still begin with groups of zeros.
        match tile.to_string() == path {
            true => Ok(tile),
            false => Err(TileError::Form),
        }
    }
}

/// The number that groups of three digits stand for.
fn parse_index(groups: &str) -> Result<u64, TileError> {
    let mut parts = groups.split('/').peekable();
    let mut index = 0u64;
    while let Some(part) = parts.next() {
        let digits = match parts.peek() {
            Some(_) => part.strip_prefix('x').ok_or(TileError::Form)?,
            None => part,
        };
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(TileError::Form);
        }
        let group: u64 = digits.parse().map_err(|_| TileError::Form)?;
        index = index
            .checked_mul(1000)
            .and_then(|index| index.checked_add(group))
            .ok_or(TileError::Index)?;
    }
    Ok(index)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn hashes(level: u8, index: u64, width: u16) -> Tile {
        Tile::new(Level::Hashes(level), index, width).unwrap()
    }

    fn entries(index: u64, width: u16) -> Tile {
        Tile::new(Level::Entries, index, width).unwrap()
    }

    #[test]
    fn paths_round_trip() {
        let last = (SIZE_MAX >> 8) - 1;
        for (tile, path) in [
            (hashes(0, 0, 256), "tile/0/000"),
            (hashes(0, 1, 255), "tile/0/001.p/255"),
            (hashes(3, 1_234_067, 256), "tile/3/x001/x234/067"),
            (hashes(7, 0, 64), "tile/7/000.p/64"),
            (entries(999, 1), "tile/entries/999.p/1"),
            (entries(1000, 256), "tile/entries/x001/000"),
            (
                entries(last, 256),
                "tile/entries/x018/x014/x398/x509/x481/983",
            ),
        ] {
            assert_eq!(tile.to_string(), path);
            assert_eq!(path.parse(), Ok(tile), "{path}");
        }
    }

    #[test]
    fn other_paths_are_refused() {
        use TileError::{Form, Index, Level, Width};
        let long = format!("tile/0/{}000", "x000/".repeat(100_000));
        for (path, error) in [
            ("", Form),
            ("tile", Form),
            ("tile/0", Form),
            ("/tile/0/000", Form),
            ("tile/0/000/", Form),
            ("tile//000", Level),
            ("tile/00/000", Level),
            ("tile/8/000", Level),
            ("tile/-1/000", Level),
            ("tile/256/000", Level),
            ("tile/data/000", Level),
            ("tile/0/", Form),
            ("tile/0/0", Form),
            ("tile/0/0000", Form),
            ("tile/0/00a", Form),
            ("tile/0/+01", Form),
            ("tile/0/x001", Form),
            ("tile/0/001/002", Form),
            ("tile/0/x000/001", Form),
            ("tile/0/x0001/001", Form),
            ("tile/0/../etc/passwd", Form),
            ("tile/0/x001//002", Form),
            ("tile/0/٠٠٠", Form),
            ("tile/0/000.p", Form),
            ("tile/0/000.p/", Width),
            ("tile/0/000.p/0", Width),
            ("tile/0/000.p/01", Width),
            ("tile/0/000.p/256", Width),
            ("tile/0/000.p/+1", Width),
            ("tile/0/000.p/1/", Width),
            ("tile/7/000", Index),
            ("tile/7/000.p/65", Index),
            ("tile/0/x018/x014/x398/x509/x481/984.p/1", Index),
            ("tile/0/x999/x999/x999/x999/x999/x999/999", Index),
            (long.as_str(), Form),
        ] {
            assert_eq!(path.parse::<Tile>(), Err(error), "{path:.60}");
        }
        assert_eq!(Tile::new(super::Level::Entries, 0, 0), Err(Width));
        assert_eq!(Tile::new(super::Level::Entries, 0, 257), Err(Width));
        assert_eq!(Tile::new(super::Level::Entries, u64::MAX, 1), Err(Index));
        assert_eq!(Tile::new(super::Level::Hashes(8), 0, 1), Err(Level));
    }

    /// The example of the specification.
    #[test]
    fn a_log_of_70000_entries() {
        let of =
            |level| -> Vec<Tile> { tiles(70_000).filter(|tile| tile.level == level).collect() };
        for level in [Level::Entries, Level::Hashes(0)] {
            let leaves = of(level);
            assert_eq!(leaves.len(), 274);
            assert!(leaves[..273].iter().all(Tile::is_full));
            assert_eq!(leaves[273].width, 112);
        }
        assert_eq!(of(Level::Hashes(1)), [hashes(1, 0, 256), hashes(1, 1, 17)]);
        assert_eq!(of(Level::Hashes(2)), [hashes(2, 0, 1)]);
        assert_eq!(of(Level::Hashes(3)), []);
        assert_eq!(
            tiles(256).collect::<Vec<_>>(),
            [entries(0, 256), hashes(0, 0, 256), hashes(1, 0, 1)]
        );
        assert_eq!(tiles(0).count(), 0);
    }

    #[test]
    fn what_changes_between_sizes() {
        let new = |old, new| new_tiles(old, new).collect::<Vec<_>>();
        assert_eq!(new(3, 5), [entries(0, 5), hashes(0, 0, 5)]);
        assert_eq!(
            new(255, 257),
            [
                entries(0, 256),
                entries(1, 1),
                hashes(0, 0, 256),
                hashes(0, 1, 1),
                hashes(1, 0, 1)
            ]
        );
        assert_eq!(new(5, 5), []);
        assert_eq!(new(5, 3), []);
        // What the old log keeps and what is new are the new log's files, each once.
        for old in [0, 1, 255, 256, 257, 65_535, 65_536] {
            for new in [old + 1, old + 256, old + 70_000] {
                let expected: BTreeSet<Tile> = tiles(new).collect();
                let kept = tiles(old).filter(|tile| expected.contains(tile));
                let mut all: Vec<Tile> = kept.chain(new_tiles(old, new)).collect();
                all.sort();
                assert!(all.iter().eq(&expected), "{old} to {new}");
            }
        }
        // Nothing is made before it is asked for, and sizes are bounded.
        assert_eq!(new_tiles(0, u64::MAX).next(), Some(entries(0, 256)));
        let last = tiles_of_level(u64::MAX, 7);
        assert_eq!(last, [hashes(7, 0, 64)]);
    }

    fn tiles_of_level(size: u64, level: u8) -> Vec<Tile> {
        // Skips the lower levels by their number rather than one by one.
        let count = at_level(size.min(SIZE_MAX), level);
        (0..count.div_ceil(256))
            .filter_map(|index| {
                Tile::holding(Level::Hashes(level), index * 256, size.min(SIZE_MAX))
            })
            .collect()
    }

    #[test]
    fn an_entry_is_in_one_file() {
        let holding = |at, size| Tile::holding(Level::Entries, at, size);
        assert_eq!(holding(0, 1), Some(entries(0, 1)));
        assert_eq!(holding(255, 300), Some(entries(0, 256)));
        assert_eq!(holding(256, 300), Some(entries(1, 44)));
        assert_eq!(holding(300, 300), None);
        assert_eq!(holding(u64::MAX, u64::MAX), None);
        assert_eq!(Tile::holding(Level::Hashes(1), 0, 255), None);
        assert_eq!(Tile::holding(Level::Hashes(255), 0, 255), None);
        let tile = entries(1, 44);
        assert_eq!((tile.start(), tile.is_full()), (256, false));
        assert_eq!(tile.full(), Some(entries(1, 256)));
        assert_eq!(hashes(7, 0, 3).full(), None);
    }

    #[test]
    fn bytes_of_tiles() {
        let tile = hashes(0, 0, 3);
        let list = [Hash::of(b"a"), Hash::of(b"b"), Hash::of(b"c")];
        let bytes = to_bytes(&list);
        assert_eq!(tile.hashes(&bytes), Ok(list.to_vec()));
        for found in [0, 64, 95, 97, 128] {
            let mut other = bytes.clone();
            other.resize(found, 0);
            let expected = 96;
            assert_eq!(
                tile.hashes(&other),
                Err(TileDataError::Length {
                    tile,
                    expected,
                    found
                })
            );
        }
        let tile = entries(0, 3);
        assert_eq!(tile.hashes(&bytes), Err(TileDataError::Entries { tile }));
        assert_eq!(full_hash(&list), None);
        assert_eq!(full_hash(&[list[0]; 257]), None);
    }
}
