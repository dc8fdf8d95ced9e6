//! Makes a bundle: copies the log, follows the hashes in it, and packs all that is public.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::log::bundle as entry_bundle;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::tile::{self, Level, Tile};
use adit_protocol::network::entry::Entry;
use adit_protocol::network::membership::NetworkFile;
use adit_protocol::network::roster::Roster;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::task::{Disclosure, TaskSpec};
use adit_runtime::store::blobs::BlobStore;
use anyhow::Context as _;

use crate::commands::audit::sample::{Chosen, Sampler};
use crate::commands::audit::{Observer, Stop};
use crate::evidence::bundle::{BLOBS, MARK, MEMBERSHIPS, OPENINGS, VERSION};
use crate::evidence::entries::{Leaves, entries_of};
use crate::evidence::source::of_evidence;
use crate::evidence::tar::Writer;
use crate::evidence::{BATCH_MAX, Evidence, EvidenceError, checked_blobs, needs};

/// Files of the log that are asked for at once.
const AT_ONCE: usize = 16;

/// What is to be in the bundle.
pub struct Wanted {
    /// How many receipts' blobs; none for all.
    pub sample: Option<u64>,
    /// The number that the sample follows from.
    pub seed: u64,
}

/// What is in it.
#[derive(Debug, Default)]
pub struct Made {
    /// Its length.
    pub bytes: u64,
    /// Entries of the log.
    pub entries: u64,
    /// Receipts in the log.
    pub receipts: u64,
    /// Receipts whose openings it has.
    pub opened: u64,
    /// Blobs.
    pub blobs: u64,
    /// Blobs and openings that could not be had.
    pub lacking: u64,
}

/// Writes a bundle. Blobs go through `scratch`. The file appears whole or not at all.
///
/// # Errors
/// [`Stop`], when the log cannot be read or the file not be written.
pub fn export(
    evidence: &dyn Evidence,
    file: &Path,
    wanted: &Wanted,
    scratch: &BlobStore,
    observer: &mut dyn Observer,
) -> Result<Made, Stop> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let failed = || format!("{} could not be written", file.display());
    let temporary = tempfile::Builder::new()
        .prefix(".adit-")
        // It holds what is public, and is made to be given away.
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(failed)
        .map_err(Stop::Failed)?;
    let mut packer = Packer {
        evidence,
        scratch,
        writer: Writer::new(BufWriter::new(temporary)),
        made: Made::default(),
        blobs: BTreeSet::new(),
        openings: BTreeMap::new(),
    };
    packer.pack(wanted, observer)?;
    let Packer { writer, made, .. } = packer;
    let finish = || {
        let (buffer, bytes) = writer.finish().with_context(failed)?;
        let temporary = buffer.into_inner().map_err(|error| error.into_error())?;
        temporary.as_file().sync_all().with_context(failed)?;
        temporary
            .persist(file)
            .map_err(|error| error.error)
            .with_context(failed)?;
        Ok(bytes)
    };
    let bytes = finish().map_err(Stop::Failed)?;
    Ok(Made { bytes, ..made })
}

struct Packer<'a> {
    evidence: &'a dyn Evidence,
    scratch: &'a BlobStore,
    writer: Writer<BufWriter<tempfile::NamedTempFile>>,
    made: Made,
    blobs: BTreeSet<Hash>,
    openings: BTreeMap<Hash, ReceiptOpening>,
}

impl Packer<'_> {
    fn pack(&mut self, wanted: &Wanted, observer: &mut dyn Observer) -> Result<(), Stop> {
        let network = self.evidence.network().map_err(unread)?;
        let checkpoint = self.evidence.checkpoint().map_err(unread)?;
        let size = SignedCheckpoint::parse(&checkpoint)
            .map_err(|error| unread(EvidenceError::damaged("the checkpoint", error)))?
            .unverified()
            .size;
        self.made.entries = size;
        self.file(MARK, VERSION)?;
        self.file("network", &network)?;
        self.file("checkpoint", &checkpoint)?;
        let seen = self.log(size, wanted, observer)?;
        let current = NetworkFile::from_cbor(&network).ok();
        let current = current.map(|file| file.membership.body_hash());
        self.documents(seen.rosters, current, observer)?;
        self.receipts(size, seen.sampler, observer)?;
        self.finish(observer)
    }

    /// Copies the files of the log, and notes what its entries name.
    fn log(
        &mut self,
        size: u64,
        wanted: &Wanted,
        observer: &mut dyn Observer,
    ) -> Result<Seen, Stop> {
        let max = wanted
            .sample
            .map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let mut seen = Seen {
            rosters: BTreeSet::new(),
            tasks: HashSet::new(),
            public: HashSet::new(),
            receipts: HashSet::new(),
            sampler: Sampler::new(wanted.seed, max),
        };
        let mut tiles = tile::tiles(size).peekable();
        while tiles.peek().is_some() {
            let some: Vec<Tile> = tiles.by_ref().take(AT_ONCE).collect();
            let files = self.evidence.tiles(&some).map_err(unread)?;
            for (tile, bytes) in some.iter().zip(files) {
                let bytes = cut(*tile, bytes).map_err(unread)?;
                self.file(&tile.to_string(), &bytes)?;
                if tile.level() == Level::Entries {
                    let entries = entries_of(*tile, &bytes).map_err(unread)?;
                    self.entries(tile.start(), &entries, &mut seen)?;
                    observer.progress(tile.start(), size, "entries")?;
                }
            }
        }
        Ok(seen)
    }

    fn entries(&mut self, first: u64, entries: &[&[u8]], seen: &mut Seen) -> Result<(), Stop> {
        let entries: Vec<(u64, Entry)> = (first..)
            .zip(entries)
            .filter_map(|(leaf, bytes)| Some((leaf, Entry::decode(bytes).ok()?)))
            .collect();
        // A receipt comes after its assignment; so the spec is asked for with that.
        let mut tasks = Vec::new();
        for (_, entry) in &entries {
            match entry {
                Entry::Roster(roster) => {
                    seen.rosters.insert(roster.root);
                }
                Entry::Assignment(signed) => {
                    tasks.extend(signed.unverified().ok().map(|a| a.task));
                }
                _ => {}
            }
        }
        tasks.sort_unstable();
        tasks.dedup();
        tasks.retain(|task| !seen.tasks.contains(task));
        let specs = checked_blobs(self.evidence, &tasks).map_err(unread)?;
        for (task, bytes) in tasks.iter().zip(specs) {
            seen.tasks.insert(*task);
            let Some(bytes) = bytes else {
                self.made.lacking += 1;
                continue;
            };
            let spec = TaskSpec::from_cbor(&bytes).ok();
            if spec.is_some_and(|spec| spec.disclosure == Disclosure::Public) {
                seen.public.insert(*task);
            }
            self.keep(&bytes)?;
        }
        for (leaf, entry) in entries {
            let Entry::Receipt(receipt) = entry else {
                continue;
            };
            self.made.receipts += 1;
            let (id, body) = (receipt.id(), &receipt.body);
            let replayable = body.status.attestable() && seen.public.contains(&body.task);
            if replayable && seen.receipts.insert(id) {
                seen.sampler.offer(Chosen {
                    receipt: id,
                    leaf,
                    assignment_leaf: None,
                    decision: None,
                });
            }
        }
        Ok(())
    }

    /// Rosters, and the memberships that they name, but for the current one.
    fn documents(
        &mut self,
        rosters: BTreeSet<Hash>,
        current: Option<Hash>,
        observer: &mut dyn Observer,
    ) -> Result<(), Stop> {
        let rosters: Vec<Hash> = rosters.into_iter().collect();
        let mut memberships = BTreeSet::new();
        let total = rosters.len() as u64;
        let mut done = 0u64;
        for some in rosters.chunks(BATCH_MAX / 16) {
            observer.progress(done, total, "lists of candidates")?;
            for bytes in checked_blobs(self.evidence, some).map_err(unread)? {
                done = done.saturating_add(1);
                let Some(bytes) = bytes else {
                    self.made.lacking += 1;
                    continue;
                };
                if let Ok(roster) = Roster::from_cbor(&bytes) {
                    memberships.insert(roster.membership);
                }
                self.keep(&bytes)?;
            }
        }
        for hash in memberships.into_iter().filter(|h| Some(*h) != current) {
            match self.evidence.membership(&hash).map_err(unread)? {
                Some(signed) => self.file(&format!("{MEMBERSHIPS}{}", hash.to_hex()), &signed)?,
                None => self.made.lacking += 1,
            }
        }
        Ok(())
    }

    /// What running the chosen receipts again takes.
    fn receipts(
        &mut self,
        size: u64,
        sampler: Sampler,
        observer: &mut dyn Observer,
    ) -> Result<(), Stop> {
        let chosen = sampler.take();
        let total = chosen.len() as u64;
        let mut leaves = Leaves::new(self.evidence, size);
        for (done, chosen) in (0..).zip(&chosen) {
            observer.progress(done, total, "blobs of receipts")?;
            let receipt = leaves
                .receipt(chosen.leaf, &chosen.receipt)
                .map_err(unread)?;
            let needs = needs::fetch(self.evidence, &receipt, self.scratch).map_err(unread)?;
            self.made.lacking += needs.lacking.len() as u64;
            self.blobs.extend(needs.had);
            if let Some(opening) = needs.opening {
                self.openings.insert(chosen.receipt, opening);
            }
        }
        Ok(())
    }

    fn finish(&mut self, observer: &mut dyn Observer) -> Result<(), Stop> {
        for (receipt, opening) in std::mem::take(&mut self.openings) {
            self.made.opened += 1;
            let name = format!("{OPENINGS}{}", receipt.to_hex());
            self.file(&name, &opening.to_cbor())?;
        }
        let blobs = std::mem::take(&mut self.blobs);
        let total = blobs.len() as u64;
        for (done, hash) in (0..).zip(&blobs) {
            observer.progress(done, total, "blobs")?;
            self.made.blobs += 1;
            let mut write = || {
                let (file, len) = self.scratch.open_blob(hash)?;
                let name = format!("{BLOBS}{}", hash.to_hex());
                self.writer.stream(&name, len, file)?;
                anyhow::Ok(())
            };
            write().map_err(Stop::Failed)?;
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let hash = self
            .scratch
            .put(bytes)
            .map_err(|error| Stop::Failed(error.into()))?;
        self.blobs.insert(hash);
        Ok(())
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), Stop> {
        self.writer
            .file(name, bytes)
            .map_err(|error| Stop::Failed(error.into()))
    }
}

/// What the entries of a log name.
struct Seen {
    rosters: BTreeSet<Hash>,
    /// Tasks whose specs were asked for.
    tasks: HashSet<Hash>,
    /// Tasks whose spec says that anyone may have it.
    public: HashSet<Hash>,
    /// Receipts that were offered to the sample.
    receipts: HashSet<Hash>,
    sampler: Sampler,
}

/// The file as a log of the checkpoint's size has it: the beginning of the full one, if that came.
fn cut(tile: Tile, mut bytes: Vec<u8>) -> Result<Vec<u8>, EvidenceError> {
    match tile.level() {
        Level::Entries => {
            let entries = entries_of(tile, &bytes)?;
            entry_bundle::encode(entries)
                .map_err(|error| EvidenceError::damaged(tile.to_string(), error))
        }
        Level::Hashes(_) => {
            let full = tile.full().is_some_and(|full| full.hashes(&bytes).is_ok());
            if full {
                bytes.truncate(usize::from(tile.width()) * 32);
            }
            tile.hashes(&bytes)
                .map_err(|error| EvidenceError::damaged(tile.to_string(), error))?;
            Ok(bytes)
        }
    }
}

fn unread(error: EvidenceError) -> Stop {
    Stop::Failed(of_evidence("the log could not be copied", &error).into())
}
