//! Reads the entries of a log in order. Each bundle is checked against the tiles above it, and those
//! up to the checkpoint's root, so that memory stays small however large the log is.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;

use adit_protocol::hash::Hash;
use adit_protocol::log::bundle;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::tile::{self, LEVEL_MAX, Level, Tile, WIDTH};
use adit_protocol::log::tree::{RangeError, leaf_hash};
use futures_util::stream::FuturesOrdered;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::disk::read_bounded;
use super::edge::{BUNDLE_BYTES_MAX, Edge, partial_tiles};
use super::reader::{AT_ONCE, LogReader, ReadLogError, tile_error};
use super::source::{SourceError, TileSource, fetch_tile};
use crate::blocking;

/// Entries that follow each other, checked: those of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The file.
    pub tile: Tile,
    /// Its bytes, of which the entries are.
    pub bytes: Vec<u8>,
    /// The hashes of the leaves.
    pub hashes: Vec<Hash>,
}

impl Bundle {
    /// The entries with their leaf indices.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        // It was decoded when it was checked.
        let entries = bundle::decode(&self.bytes).unwrap_or_default();
        (self.tile.start()..).zip(entries)
    }
}

/// How entries are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// Compare the tiles of leaves too, from which others make proofs. Without this they are not
    /// even fetched, since the entries say the same.
    pub check_tiles: bool,
    /// A folder whose bundles are taken where they are right, in place of the source's.
    pub local: Option<PathBuf>,
}

/// The bundles of a range of entries, one after the other.
pub struct Walk<'a, S> {
    reader: &'a LogReader<S>,
    options: WalkOptions,
    size: u64,
    edge: Edge,
    /// The full tile of each level that was last looked at, by its index.
    path: BTreeMap<u8, (u64, Vec<Hash>)>,
    /// Bundles that are still to be asked for, by index.
    wanted: Range<u64>,
    inflight: FuturesOrdered<Inflight<'a>>,
}

type Inflight<'a> = Pin<Box<dyn Future<Output = Result<Bundle, ReadLogError>> + Send + 'a>>;

/// What the leaves of a bundle must hash to.
enum Expected {
    /// Those of a full one, together.
    Tile(Hash),
    /// Those of the last, one by one.
    Leaves(Vec<Hash>),
}

impl<S: TileSource> LogReader<S> {
    /// Reads the bundles with the entries `range` of a checkpoint's log, in order. The first and the
    /// last may hold others besides.
    ///
    /// # Errors
    /// [`ReadLogError`].
    pub async fn walk(
        &self,
        checkpoint: &Checkpoint,
        range: Range<u64>,
        options: WalkOptions,
    ) -> Result<Walk<'_, S>, ReadLogError> {
        let size = checkpoint.size;
        if range.end > size {
            let index = range.end.saturating_sub(1);
            return Err(RangeError::Index { index, size }.into());
        }
        let width = u64::from(WIDTH);
        let wanted = match range.is_empty() {
            true => 0..0,
            false => range.start / width..range.end.div_ceil(width),
        };
        Ok(Walk {
            reader: self,
            options,
            size,
            edge: self.edge(checkpoint).await?,
            path: BTreeMap::new(),
            wanted,
            inflight: FuturesOrdered::new(),
        })
    }

    /// The tiles at the right edge, checked against the root: together they are what it is made of.
    pub(super) async fn edge(&self, checkpoint: &Checkpoint) -> Result<Edge, ReadLogError> {
        let size = checkpoint.size;
        let fetched: Vec<_> = stream::iter(partial_tiles(size))
            .map(async |tile| Ok::<_, SourceError>((tile, fetch_tile(&self.source, tile).await?)))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let fetched: BTreeMap<Tile, Vec<u8>> = fetched.into_iter().collect();
        let last = fetched.keys().next_back().copied();
        let edge = Edge::read(size, |tile| fetched.get(&tile).cloned().ok_or(tile));
        let detail = match edge {
            Ok(edge) if edge.root() == checkpoint.root => return Ok(edge),
            Ok(edge) => format!(
                "the last tiles of each level have the root {}, and the checkpoint says {}",
                edge.root(),
                checkpoint.root
            ),
            Err(error) => error.to_string(),
        };
        // Which of them it is cannot be told; the topmost is named.
        match last {
            Some(tile) => Err(tile_error(tile, size, detail)),
            None => Err(tile_error(first_tile(), size, detail)),
        }
    }
}

/// The tile that a log without entries would have first.
fn first_tile() -> Tile {
    let tile = Tile::new(Level::Hashes(0), 0, 1);
    tile.unwrap_or_else(|_| unreachable!("every log may have it"))
}

impl<'a, S: TileSource> Walk<'a, S> {
    /// The next bundle; `None` after the last.
    ///
    /// # Errors
    /// [`ReadLogError`], after which nothing more comes.
    pub async fn next(&mut self) -> Result<Option<Bundle>, ReadLogError> {
        while self.inflight.len() < AT_ONCE {
            let Some(index) = self.wanted.next() else {
                break;
            };
            let (tile, expected) = self.expected(index).await?;
            let (reader, options, size) = (self.reader, self.options.clone(), self.size);
            self.inflight.push_back(Box::pin(async move {
                fetch(reader, options, (tile, size), expected).await
            }));
        }
        match self.inflight.next().await {
            None => Ok(None),
            Some(Ok(bundle)) => Ok(Some(bundle)),
            Some(Err(error)) => {
                self.wanted = 0..0;
                self.inflight.clear();
                Err(error)
            }
        }
    }

    /// What the leaves of a bundle must hash to.
    async fn expected(&mut self, index: u64) -> Result<(Tile, Expected), ReadLogError> {
        let first = index.saturating_mul(u64::from(WIDTH));
        let size = self.size;
        let tile = Tile::holding(Level::Entries, first, size)
            .ok_or(RangeError::Index { index: first, size })?;
        if !tile.is_full() {
            return Ok((tile, Expected::Leaves(self.edge.leaves().to_vec())));
        }
        self.descend(index).await?;
        match self.hash(1, index) {
            Some(hash) => Ok((tile, Expected::Tile(hash))),
            None => Err(tile_error(tile, size, "the tile above it lacks its hash")),
        }
    }

    /// The hash `at` of a level, if it is in a tile that is at hand and was checked.
    fn hash(&self, level: u8, at: u64) -> Option<Hash> {
        let tile = Tile::holding(Level::Hashes(level), at, self.size)?;
        let row = match tile.is_full() {
            false => self.edge.level(level),
            true => self
                .path
                .get(&level)
                .filter(|(index, _)| *index == tile.index())
                .map(|(_, hashes)| hashes.as_slice())?,
        };
        row.get(usize::try_from(at - tile.start()).ok()?).copied()
    }

    /// Fetches the tiles between the edge and the bundle of this index, each of which is checked by
    /// the one above it.
    async fn descend(&mut self, bundle: u64) -> Result<(), ReadLogError> {
        let mut missing = Vec::new();
        let (mut level, mut at) = (1, bundle);
        while level <= LEVEL_MAX && self.hash(level, at).is_none() {
            let Some(tile) = Tile::holding(Level::Hashes(level), at, self.size) else {
                break;
            };
            missing.push((level, tile));
            (level, at) = (level + 1, tile.index());
        }
        while let Some((level, tile)) = missing.pop() {
            let bytes = fetch_tile(&self.reader.source, tile).await?;
            let bad = |error: &dyn ToString| tile_error(tile, self.size, error.to_string());
            let hashes = tile.hashes(&bytes).map_err(|error| bad(&error))?;
            let found = tile::full_hash(&hashes);
            let expected = self.hash(level + 1, tile.index());
            if found.is_none() || found != expected {
                return Err(bad(&"its hash is not the one in the tile above it"));
            }
            self.path.insert(level, (tile.index(), hashes));
        }
        Ok(())
    }
}

/// Fetches a bundle and checks it.
async fn fetch<S: TileSource>(
    reader: &LogReader<S>,
    options: WalkOptions,
    (tile, size): (Tile, u64),
    expected: Expected,
) -> Result<Bundle, ReadLogError> {
    let local = options.local.map(|folder| folder.join(tile.to_string()));
    let local = match local.filter(|_| tile.is_full()) {
        None => None,
        Some(path) => {
            let read = blocking(move || read_bounded(&path, BUNDLE_BYTES_MAX));
            read.await.ok().and_then(Result::ok)
        }
    };
    // What is there and wrong is as good as missing.
    let local = local.and_then(|bytes| check((tile, size), bytes, &expected).ok());
    let bundle = match local {
        Some(bundle) => bundle,
        None => {
            let bytes = fetch_tile(&reader.source, tile).await?;
            check((tile, size), bytes, &expected)?
        }
    };
    if options.check_tiles
        && tile.is_full()
        && let Ok(leaves) = Tile::new(Level::Hashes(0), tile.index(), WIDTH)
    {
        let bytes = fetch_tile(&reader.source, leaves).await?;
        if bytes != tile::to_bytes(&bundle.hashes) {
            let detail = "its hashes are not those of the entries";
            return Err(tile_error(leaves, size, detail));
        }
    }
    Ok(bundle)
}

fn check(
    (tile, size): (Tile, u64),
    bytes: Vec<u8>,
    expected: &Expected,
) -> Result<Bundle, ReadLogError> {
    let entries = bundle::decode_width(&bytes, tile.width())
        .map_err(|error| tile_error(tile, size, error))?;
    let hashes: Vec<Hash> = entries.into_iter().map(leaf_hash).collect();
    let fits = match expected {
        Expected::Tile(hash) => tile::full_hash(&hashes) == Some(*hash),
        Expected::Leaves(leaves) => hashes == *leaves,
    };
    match fits {
        true => Ok(Bundle {
            tile,
            bytes,
            hashes,
        }),
        false => Err(tile_error(
            tile,
            size,
            "its entries hash to something else than the tiles above them say",
        )),
    }
}
