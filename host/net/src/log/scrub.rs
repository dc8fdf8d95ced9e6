//! Reads a log's folder wholly and checks it up to the root: entries against the hashes of leaves,
//! those against the tiles above, the last against the checkpoint.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use adit_protocol::hash::Hash;
use adit_protocol::log::bundle;
use adit_protocol::log::reader::TileReadError;
use adit_protocol::log::tile::{self, Level, Tile, WIDTH};
use adit_protocol::log::tree::leaf_hash;

use super::disk::read_bounded;
use super::edge::{Edge, bytes_max};
use super::error::LogError;

/// Full tiles of entries that are checked at once, by all threads together.
const TILES_AT_ONCE: u64 = 256;
/// Threads at most. Two saturate most disks.
const THREADS_MAX: usize = 8;
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// The most folders of outdated partial tiles that are noted at once; the rest are for next time.
const STALE_MAX: usize = 10_000;

/// What was found in a folder that is in order.
#[derive(Debug)]
pub(super) struct Scrubbed {
    pub edge: Edge,
    /// Folders with partial tiles whose full ones are there: they may be removed.
    pub stale: Vec<PathBuf>,
}

/// Reads a file of the log. In place of a partial one that is missing the full one is read.
pub(super) fn read_tile(folder: &Path, tile: Tile) -> Result<Vec<u8>, LogError> {
    let read = |tile: Tile| {
        let path = folder.join(tile.to_string());
        let bytes = read_bounded(&path, bytes_max(tile.level()));
        bytes.map_err(|error| (path, error))
    };
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let bytes = match read(tile) {
        Err((_, error)) if missing(&error) && !tile.is_full() => match tile.full() {
            Some(full) => read(full).map(|bytes| cut(tile, bytes)),
            None => read(tile),
        },
        other => other,
    };
    bytes.map_err(|(path, error)| match error.kind() {
        io::ErrorKind::NotFound => LogError::TileMissing { tile },
        io::ErrorKind::InvalidData => LogError::TileChanged {
            tile,
            detail: error.to_string(),
        },
        _ => LogError::io("read", &path)(error),
    })
}

/// Of the bytes of a full tile those of the partial one, if they are sound.
pub(super) fn cut(partial: Tile, mut full: Vec<u8>) -> Vec<u8> {
    let width = usize::from(partial.width());
    let length = match partial.level() {
        Level::Hashes(_) => width * 32,
        Level::Entries => match bundle::decode(&full) {
            Ok(entries) => entries.iter().take(width).map(|e| e.len() + 2).sum(),
            Err(_) => full.len(),
        },
    };
    full.truncate(length);
    full
}

/// The hashes of a tile in the folder.
pub(super) fn read_hashes(folder: &Path, tile: Tile) -> Result<Vec<Hash>, LogError> {
    let bytes = read_tile(folder, tile)?;
    tile.hashes(&bytes).map_err(|error| changed(tile, error))
}

fn changed(tile: Tile, error: impl ToString) -> LogError {
    let detail = error.to_string();
    // The file's own name and advice come from the error around it.
    let detail = detail.split("; hint:").next().unwrap_or_default();
    LogError::TileChanged {
        tile,
        detail: detail.to_owned(),
    }
}

/// The edge of the log of `size` entries in the folder, checked against its root. Only the last
/// tiles of each level are read.
pub(super) fn read_edge(folder: &Path, size: u64, root: &Hash) -> Result<Edge, LogError> {
    let edge = Edge::read(size, |tile| read_tile(folder, tile)).map_err(|error| match error {
        TileReadError::Fetch { error, .. } => error,
        TileReadError::Data(error) => LogError::state(error.to_string()),
        TileReadError::Outside { .. } => LogError::state(format!("no log has {size} entries")),
    })?;
    rooted(edge, root)
}

fn rooted(edge: Edge, expected: &Hash) -> Result<Edge, LogError> {
    let found = edge.root();
    match found == *expected {
        true => Ok(edge),
        false => Err(LogError::Root {
            size: edge.size(),
            expected: *expected,
            found,
        }),
    }
}

/// Checks every file of the log of `size` entries in the folder. It takes as long as reading them
/// does; `progress` is told of the entries so far every few seconds.
pub(super) fn scrub(
    folder: &Path,
    (size, root): (u64, &Hash),
    progress: &mut dyn FnMut(u64),
) -> Result<Scrubbed, LogError> {
    let mut edge = Edge::new();
    let mut stale = Vec::new();
    let full = size / u64::from(WIDTH);
    let mut told = Instant::now();
    let mut from = 0;
    while from < full {
        let to = full.min(from + TILES_AT_ONCE);
        for (index, checked) in (from..to).zip(check_leaves(folder, from, to)) {
            let hash = checked?;
            for level in [Level::Entries, Level::Hashes(0)] {
                note_stale(folder, level, index, &mut stale);
            }
            edge.append_tile(hash, &mut |tile, hashes| {
                note_stale(folder, tile.level(), tile.index(), &mut stale);
                compare(folder, tile, hashes)
            })?;
        }
        from = to;
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            progress(edge.size());
        }
    }
    let last = Tile::holding(Level::Hashes(0), full * u64::from(WIDTH), size);
    for leaf in last.map_or(Ok(vec![]), |tile| check_tile(folder, tile))? {
        edge.append(leaf, &mut |_, _| Ok::<_, LogError>(()))?;
    }
    for (tile, hashes) in edge.partial() {
        if tile.level() != Level::Hashes(0) {
            compare(folder, tile, hashes)?;
        }
    }
    let edge = rooted(edge, root)?;
    Ok(Scrubbed { edge, stale })
}

/// The hashes of the full tiles of leaves from `from` up to and without `to`, each checked against
/// its entries, in order.
fn check_leaves(folder: &Path, from: u64, to: u64) -> Vec<Result<Hash, LogError>> {
    let check = |index: u64| {
        let tile = Tile::new(Level::Hashes(0), index, WIDTH);
        let tile = tile.map_err(|error| LogError::state(error.to_string()))?;
        let leaves = check_tile(folder, tile)?;
        // A full tile has a hash.
        tile::full_hash(&leaves).ok_or_else(|| changed(tile, "it is not full"))
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS_MAX));
    let share = usize::try_from(to - from).map_or(1, |count| count.div_ceil(threads).max(1));
    let indices: Vec<u64> = (from..to).collect();
    std::thread::scope(|scope| {
        let parts: Vec<_> = indices
            .chunks(share)
            .map(|part| scope.spawn(|| part.iter().map(|index| check(*index)).collect::<Vec<_>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| match part.join() {
                Ok(checked) => checked,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// The hashes of a tile of leaves, each compared with its entry.
fn check_tile(folder: &Path, tile: Tile) -> Result<Vec<Hash>, LogError> {
    let entries = Tile::new(Level::Entries, tile.index(), tile.width())
        .map_err(|error| LogError::state(error.to_string()))?;
    let bytes = read_tile(folder, entries)?;
    let list =
        bundle::decode_width(&bytes, tile.width()).map_err(|error| changed(entries, error))?;
    let hashes = read_hashes(folder, tile)?;
    for ((leaf, entry), expected) in (tile.start()..).zip(list).zip(&hashes) {
        let found = leaf_hash(entry);
        if found != *expected {
            return Err(LogError::EntryChanged {
                leaf,
                entries,
                hashes: tile,
                expected: *expected,
                found,
            });
        }
    }
    Ok(hashes)
}

/// Compares a tile above the leaves with the hashes of the tiles below it.
fn compare(folder: &Path, tile: Tile, hashes: &[Hash]) -> Result<(), LogError> {
    let there = read_hashes(folder, tile)?;
    let wrong = there.iter().zip(hashes).position(|(a, b)| a != b);
    match wrong {
        None => Ok(()),
        Some(at) => Err(LogError::TileChanged {
            tile,
            detail: format!(
                "hash {at} in it is not the one of the tile {} below it; one of the two was changed",
                tile.start().saturating_add(at as u64)
            ),
        }),
    }
}

fn note_stale(folder: &Path, level: Level, index: u64, stale: &mut Vec<PathBuf>) {
    if let Ok(tile) = Tile::new(level, index, WIDTH) {
        let path = partial_folder(folder, tile);
        if stale.len() < STALE_MAX && path.is_dir() {
            stale.push(path);
        }
    }
}

/// The folder with the partial tiles that came before a full one.
pub(super) fn partial_folder(folder: &Path, full: Tile) -> PathBuf {
    folder.join(format!("{full}.p"))
}
