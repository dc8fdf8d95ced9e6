//! The entries of a log in order, and whether they are what its checkpoint says.

use adit_protocol::Hash;
use adit_protocol::log::bundle;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::tile::{self, Level, Tile, WIDTH, full_hash};
use adit_protocol::log::tree::{Frontier, leaf_hash};
use adit_protocol::network::entry::Entry;
use adit_protocol::receipt::Receipt;

use super::{Evidence, EvidenceError};

/// Files that are asked for at once.
const AT_ONCE: usize = 16;
/// Different hash tiles that are told of, one by one.
const TOLD_MAX: usize = 8;

/// Reads a log from its first entry to the size of a checkpoint, and builds its tree anew.
pub struct Entries<'a> {
    evidence: &'a dyn Evidence,
    size: u64,
    frontier: Frontier,
    tiles: Tiles,
    kept: Option<(Checkpoint, Option<bool>)>,
}

/// What the tree came to, when all entries were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Its root, which has to be the checkpoint's.
    pub root: Hash,
    /// Files of hashes that were compared.
    pub tiles: u64,
    /// Those that hold other hashes than the entries give, as far as they are told, and how many.
    pub wrong: (Vec<Tile>, u64),
    /// Whether the log goes on from the checkpoint that was kept.
    pub continues: Option<bool>,
}

impl<'a> Entries<'a> {
    /// Nothing is read yet. `kept` is an earlier checkpoint of the log, of at most this size.
    pub fn new(evidence: &'a dyn Evidence, size: u64, kept: Option<Checkpoint>) -> Entries<'a> {
        let mut entries = Entries {
            evidence,
            size,
            frontier: Frontier::new(),
            tiles: Tiles::default(),
            kept: kept.map(|kept| (kept, None)),
        };
        entries.compare_kept();
        entries
    }

    /// How many entries were read.
    pub fn position(&self) -> u64 {
        self.frontier.size()
    }

    /// The next entries, some thousand at most; none at the end.
    ///
    /// # Errors
    /// [`EvidenceError`], if a file cannot be had or is no file of a log.
    pub fn next(&mut self) -> Result<Vec<Vec<u8>>, EvidenceError> {
        let mut wanted = Vec::new();
        let mut at = self.position();
        while wanted.len() < AT_ONCE
            && let Some(tile) = Tile::holding(Level::Entries, at, self.size)
        {
            at = tile.start().saturating_add(tile.width().into());
            wanted.push(tile);
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let files = self.evidence.tiles(&wanted)?;
        if files.len() != wanted.len() {
            let why = format!("{} came for {}", files.len(), wanted.len());
            return Err(EvidenceError::damaged("an answer with files", why));
        }
        let mut all = Vec::new();
        for (tile, bytes) in wanted.iter().zip(files) {
            let entries = entries_of(*tile, &bytes)?;
            for entry in entries {
                let leaf = leaf_hash(entry);
                self.frontier
                    .append(leaf)
                    .map_err(|error| EvidenceError::damaged(tile.to_string(), error))?;
                self.tiles.push(0, leaf);
                self.compare_kept();
                all.push(entry.to_vec());
            }
        }
        self.compare_tiles(false)?;
        Ok(all)
    }

    /// What the tree came to; to be called at the end.
    ///
    /// # Errors
    /// [`EvidenceError`], if a file of hashes cannot be had.
    pub fn finish(mut self) -> Result<Tree, EvidenceError> {
        self.compare_tiles(true)?;
        Ok(Tree {
            root: self.frontier.root(),
            tiles: self.tiles.compared,
            wrong: (self.tiles.wrong, self.tiles.wrong_count),
            continues: self.kept.and_then(|(_, same)| same),
        })
    }

    fn compare_kept(&mut self) {
        if let Some((kept, same)) = &mut self.kept
            && kept.size == self.frontier.size()
        {
            *same = Some(kept.root == self.frontier.root());
        }
    }

    /// Compares the files of hashes that were completed, or with `all` those that never will be too.
    fn compare_tiles(&mut self, all: bool) -> Result<(), EvidenceError> {
        let mut done = std::mem::take(&mut self.tiles.done);
        if all {
            done.extend(self.tiles.rest());
        }
        for tiles in done.chunks(AT_ONCE) {
            let wanted: Vec<Tile> = tiles.iter().map(|(tile, _)| *tile).collect();
            let files = self.evidence.tiles(&wanted)?;
            for ((tile, hashes), bytes) in tiles.iter().zip(files) {
                let own = tile::to_bytes(hashes);
                // In place of a partial tile the full one may come, which begins with the same.
                let same = match bytes.len() > own.len() && !tile.is_full() {
                    true => bytes.starts_with(&own) && bytes.len() == usize::from(WIDTH) * 32,
                    false => bytes == own,
                };
                self.tiles.compared = self.tiles.compared.saturating_add(1);
                if !same {
                    self.tiles.wrong_count = self.tiles.wrong_count.saturating_add(1);
                    if self.tiles.wrong.len() < TOLD_MAX {
                        self.tiles.wrong.push(*tile);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The entries of a file. In place of a partial one there may be the full one.
///
/// # Errors
/// [`EvidenceError::Damaged`].
pub fn entries_of(tile: Tile, bytes: &[u8]) -> Result<Vec<&[u8]>, EvidenceError> {
    let damaged = |error| EvidenceError::damaged(tile.to_string(), error);
    let mut entries = bundle::decode(bytes).map_err(damaged)?;
    if entries.len() != usize::from(tile.width()) {
        if entries.len() != usize::from(WIDTH) {
            bundle::decode_width(bytes, tile.width()).map_err(damaged)?;
        }
        entries.truncate(tile.width().into());
    }
    Ok(entries)
}

/// The files of hashes that the entries read so far make.
#[derive(Default)]
struct Tiles {
    /// For each level, the index of the file that is filled, and its hashes.
    open: Vec<(u64, Vec<Hash>)>,
    /// Those that are full and were not compared yet.
    done: Vec<(Tile, Vec<Hash>)>,
    compared: u64,
    wrong: Vec<Tile>,
    wrong_count: u64,
}

impl Tiles {
    fn push(&mut self, level: u8, hash: Hash) {
        let at = usize::from(level);
        if self.open.len() <= at {
            self.open
                .resize_with(at.saturating_add(1), Default::default);
        }
        let Some((index, hashes)) = self.open.get_mut(at) else {
            return;
        };
        hashes.push(hash);
        let Some(above) = full_hash(hashes) else {
            return;
        };
        let (full, hashes) = (*index, std::mem::take(hashes));
        *index = index.saturating_add(1);
        if let Ok(tile) = Tile::new(Level::Hashes(level), full, WIDTH) {
            self.done.push((tile, hashes));
        }
        self.push(level.saturating_add(1), above);
    }

    /// The files that are not full.
    fn rest(&mut self) -> Vec<(Tile, Vec<Hash>)> {
        let open = std::mem::take(&mut self.open);
        (0u8..)
            .zip(open)
            .filter_map(|(level, (index, hashes))| {
                let width = u16::try_from(hashes.len()).ok()?;
                let tile = Tile::new(Level::Hashes(level), index, width).ok()?;
                Some((tile, hashes))
            })
            .collect()
    }
}

/// Reads single entries, which mostly are near one another.
pub struct Leaves<'a> {
    evidence: &'a dyn Evidence,
    size: u64,
    last: Option<(Tile, Vec<u8>)>,
}

impl<'a> Leaves<'a> {
    /// Of a log of `size` entries.
    pub fn new(evidence: &'a dyn Evidence, size: u64) -> Leaves<'a> {
        Leaves {
            evidence,
            size,
            last: None,
        }
    }

    /// The receipt of this id, which is at this leaf.
    ///
    /// # Errors
    /// [`EvidenceError`], if it cannot be had or is another entry.
    pub fn receipt(&mut self, leaf: u64, id: &Hash) -> Result<Receipt, EvidenceError> {
        let what = || format!("the entry at leaf {leaf}");
        let missing = || EvidenceError::Missing { what: what() };
        let tile = Tile::holding(Level::Entries, leaf, self.size).ok_or_else(missing)?;
        if self.last.as_ref().is_none_or(|(last, _)| *last != tile) {
            let bytes = self.evidence.tiles(&[tile])?.into_iter().next();
            self.last = Some((tile, bytes.ok_or_else(missing)?));
        }
        let bytes = self.last.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        let entries = entries_of(tile, bytes)?;
        let at = usize::try_from(leaf % u64::from(WIDTH)).unwrap_or(usize::MAX);
        let entry = entries.get(at).and_then(|entry| Entry::decode(entry).ok());
        match entry {
            Some(Entry::Receipt(receipt)) if receipt.id() == *id => Ok(*receipt),
            _ => Err(EvidenceError::damaged(
                what(),
                format!("it is not the receipt {id}"),
            )),
        }
    }
}
