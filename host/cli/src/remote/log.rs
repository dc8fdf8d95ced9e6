//! Single entries of a coordinator's log, each proven to be in it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::keys::PublicKey;
use adit_protocol::log::bundle;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::origin::Origin;
use adit_protocol::log::proof::{inclusion, verify_inclusion};
use adit_protocol::log::reader::TileReader;
use adit_protocol::log::tile::{Level, Tile, WIDTH};
use adit_protocol::log::tree::leaf_hash;
use adit_protocol::network::entry::Entry;

use super::api::Api;
use super::network::Known;

/// Longest checkpoint with its cosignatures, in bytes.
const CHECKPOINT_BYTES_MAX: usize = 64 * 1024;
/// Longest file of entries: 256 of the longest entries, each with its length.
const BUNDLE_BYTES_MAX: usize = 256 * (65_535 + 2);
/// How often, and how long, an entry is waited for that was acknowledged: checkpoints come at least
/// once a second.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// A log at one checkpoint.
pub struct LogReader<'a> {
    api: &'a Api,
    checkpoint: Checkpoint,
    files: BTreeMap<Tile, Vec<u8>>,
}

/// Why an entry is not proven.
#[derive(Debug)]
pub enum LogFault {
    /// It cannot be had.
    Unread(String),
    /// What was had does not hold.
    Wrong(String),
}

fn unread(error: impl std::fmt::Display) -> LogFault {
    LogFault::Unread(error.to_string())
}

fn wrong(error: impl std::fmt::Display) -> LogFault {
    LogFault::Wrong(error.to_string())
}

impl<'a> LogReader<'a> {
    /// The log of a coordinator, by a checkpoint that covers the entry `leaf`.
    ///
    /// # Errors
    /// [`LogFault`].
    pub async fn open(
        api: &'a Api,
        known: &Known,
        coordinator: &[u8; 32],
        leaf: u64,
    ) -> Result<LogReader<'a>, LogFault> {
        let member = known
            .membership
            .coordinator(coordinator)
            .ok_or_else(|| wrong("the coordinator is no member of the network"))?;
        let node = PublicKey::from_bytes(&member.node).map_err(wrong)?;
        let log = PublicKey::from_bytes(&member.log).map_err(wrong)?;
        let key = Origin::new(&known.genesis_hash, &node).key(&log);
        let mut tries = 0;
        loop {
            let note = api
                .log_file("checkpoint", CHECKPOINT_BYTES_MAX)
                .await
                .map_err(unread)?;
            let signed = SignedCheckpoint::parse(&note).map_err(wrong)?;
            let checkpoint = signed.verify(&key).map_err(wrong)?.clone();
            if checkpoint.size > leaf {
                return Ok(LogReader {
                    api,
                    checkpoint,
                    files: BTreeMap::new(),
                });
            }
            tries += 1;
            if tries >= TRIES {
                return Err(LogFault::Wrong(format!(
                    "its checkpoint covers {} entries, and entry {leaf} was acknowledged",
                    checkpoint.size
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// An entry, proven to be in the log.
    ///
    /// # Errors
    /// [`LogFault`].
    pub async fn entry(&mut self, leaf: u64) -> Result<Entry, LogFault> {
        let size = self.checkpoint.size;
        let tile = Tile::holding(Level::Entries, leaf, size)
            .ok_or_else(|| unread(format!("the checkpoint does not cover entry {leaf}")))?;
        let bytes = self.file(tile).await?;
        let entries = bundle::decode(&bytes).map_err(wrong)?;
        let at = usize::try_from(leaf.saturating_sub(tile.start())).unwrap_or(usize::MAX);
        let entry = entries
            .get(at)
            .ok_or_else(|| wrong(format!("{tile} has no entry {leaf}")))?;
        let proof = self.proof(leaf).await?;
        verify_inclusion(&leaf_hash(entry), leaf, size, &self.checkpoint.root, &proof)
            .map_err(wrong)?;
        Entry::decode(entry).map_err(wrong)
    }

    /// The proof of a leaf. The reader of tiles cannot wait for the network: it tells which one it
    /// lacks, that one is fetched, and it begins again.
    async fn proof(&mut self, leaf: u64) -> Result<Vec<Hash>, LogFault> {
        loop {
            let lacking = Cell::new(None);
            let found = {
                let files = &self.files;
                let mut reader = TileReader::new(self.checkpoint.size, |tile: Tile| {
                    files.get(&tile).cloned().ok_or_else(|| {
                        lacking.set(Some(tile));
                        "not fetched yet"
                    })
                });
                inclusion(&mut reader, leaf, self.checkpoint.size)
            };
            match (found, lacking.get()) {
                (Ok(proof), _) => return Ok(proof),
                (Err(_), Some(tile)) if !self.files.contains_key(&tile) => {
                    self.file(tile).await?;
                }
                (Err(error), _) => return Err(wrong(error)),
            }
        }
    }

    async fn file(&mut self, tile: Tile) -> Result<Vec<u8>, LogFault> {
        if let Some(bytes) = self.files.get(&tile) {
            return Ok(bytes.clone());
        }
        let max = match tile.level() {
            Level::Entries => BUNDLE_BYTES_MAX,
            Level::Hashes(_) => usize::from(WIDTH) * 32,
        };
        let name = tile.to_string();
        let bytes = match (self.api.log_file(&name, max).await, tile.full()) {
            (Ok(bytes), _) => bytes,
            // Partial tiles may be removed once the full one is there.
            (Err(_), Some(full)) => {
                let full = full.to_string();
                self.api.log_file(&full, max).await.map_err(unread)?
            }
            (Err(error), None) => return Err(unread(error)),
        };
        self.files.insert(tile, bytes.clone());
        Ok(bytes)
    }
}
