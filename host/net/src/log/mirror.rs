//! A copy of a log that others write, in a folder of the same layout. It follows one history: a
//! checkpoint that does not continue the one that it has is refused, and both are evidence.
//!
//! An update that is broken off is begun again without what it had: tiles are checked before they
//! are written, and found there by the next one. The checkpoint is replaced last.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use adit_protocol::hash::Hash;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::note;
use adit_protocol::log::tile::{self, Tile, WIDTH};
use thiserror::Error;

use super::CHECKPOINT;
use super::disk::{Disk, RealDisk, read_bounded};
use super::edge::Edge;
use super::error::LogError;
use super::open::{clear_temporary, hold, prefix};
use super::reader::{FailureKind, LogReader, ReadLogError, Trust, Trusted};
use super::scrub::{partial_folder, read_edge};
use super::source::TileSource;
use super::walk::{Bundle, WalkOptions};
use super::write::{Writer, replace};

/// Entries after which names are put on disk in the middle of an update.
const SYNC_EVERY: u64 = 64 * WIDTH as u64;

/// Why a mirror cannot be opened or updated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// What the other side says does not hold, or could not be had.
    #[error(transparent)]
    Read(#[from] ReadLogError),
    /// The mirror's own folder is at fault.
    #[error("the mirror: {0}")]
    Own(#[from] LogError),
    /// The log shows another history than the one that is mirrored.
    #[error(
        "the log shows another history: its checkpoint of {} entries does not continue the mirror's of {}: {why}; hint: both were signed by the log: keep them as evidence, and tell others",
        new.unverified().size,
        old.unverified().size
    )]
    Forked {
        /// What the mirror has.
        old: Box<SignedCheckpoint>,
        /// What the log shows now.
        new: Box<SignedCheckpoint>,
        /// What was checked.
        why: String,
    },
}

impl MirrorError {
    /// How the failure is to be told.
    pub fn kind(&self) -> FailureKind {
        match self {
            MirrorError::Read(error) => error.kind(),
            MirrorError::Own(error) => match error.retryable() {
                true => FailureKind::Unchecked,
                false => FailureKind::Proof,
            },
            MirrorError::Forked { .. } => FailureKind::Proof,
        }
    }
}

/// What an update has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// Entries before.
    pub old: u64,
    /// The checkpoint that the mirror has now.
    pub checkpoint: Checkpoint,
}

/// A copy of a log.
pub struct Mirror {
    folder: PathBuf,
    /// `None` before the first update.
    signed: Option<SignedCheckpoint>,
    edge: Edge,
    disk: Box<dyn Disk>,
    /// Held until the mirror is dropped.
    _lock: File,
}

impl Mirror {
    /// Opens the mirror in a folder, or begins one there. The last tiles of each level are checked
    /// against its checkpoint, which must be the log's by `trust`.
    ///
    /// # Errors
    /// [`MirrorError`].
    pub fn open(folder: &Path, trust: &Trust) -> Result<Mirror, MirrorError> {
        let lock = hold(folder)?;
        clear_temporary(folder)?;
        let signed = read_checkpoint(folder, trust)?;
        let edge = match &signed {
            None => Edge::new(),
            Some(signed) => {
                let said = signed.unverified();
                read_edge(folder, said.size, &said.root)?
            }
        };
        Ok(Mirror {
            folder: folder.to_owned(),
            signed,
            edge,
            disk: Box::new(RealDisk),
            _lock: lock,
        })
    }

    /// The checkpoint that the mirror has; `None` before the first update.
    pub fn signed(&self) -> Option<&SignedCheckpoint> {
        self.signed.as_ref()
    }

    /// Brings the mirror up to the newest checkpoint of the log. `each` is told of each new bundle,
    /// with the number of its first entries that are not new.
    ///
    /// # Errors
    /// [`MirrorError`]; the mirror is then as it was, but for tiles that the next update will find.
    pub async fn update<S: TileSource>(
        &mut self,
        reader: &LogReader<S>,
        each: impl FnMut(&Bundle, usize),
    ) -> Result<Updated, MirrorError> {
        let new = reader.checkpoint().await?;
        self.update_to(reader, new, each).await
    }

    /// The same with a checkpoint that was fetched before.
    ///
    /// # Errors
    /// As [`Mirror::update`].
    pub async fn update_to<S: TileSource>(
        &mut self,
        reader: &LogReader<S>,
        new: Trusted,
        mut each: impl FnMut(&Bundle, usize),
    ) -> Result<Updated, MirrorError> {
        let old = self.edge.size();
        if self.signed.is_none() || self.continues(reader, &new).await? {
            let (edge, stale) = self.fetch(reader, &new, &mut each).await?;
            self.publish(edge, new.signed)?;
            self.clear(&stale);
        }
        let checkpoint = match &self.signed {
            Some(signed) => signed.unverified().clone(),
            None => new.checkpoint,
        };
        Ok(Updated { old, checkpoint })
    }

    /// Whether a checkpoint is newer than the mirror's. It must be of the same history.
    async fn continues<S: TileSource>(
        &self,
        reader: &LogReader<S>,
        new: &Trusted,
    ) -> Result<bool, MirrorError> {
        let Some(old) = &self.signed else {
            return Ok(true);
        };
        let said = old.unverified();
        let (size, root) = (new.checkpoint.size, new.checkpoint.root);
        let why = if size < said.size {
            // Of an older one the mirror itself has what is needed.
            match prefix(&self.folder, said.size, &new.checkpoint, "the log") {
                Ok(()) => return Ok(false),
                Err(LogError::Forked { expected, .. }) => {
                    format!(
                        "the mirror's first {size} entries have the root {expected}, not {root}"
                    )
                }
                Err(error) => return Err(error.into()),
            }
        } else if size == said.size {
            match root == said.root {
                true => return Ok(self.says_more(new, reader.trust())),
                false => format!("the roots of {size} entries differ"),
            }
        } else {
            match reader.consistency(said, &new.checkpoint).await {
                Ok(_) => return Ok(true),
                Err(ReadLogError::Proof { error, .. }) => {
                    let why = error.to_string();
                    why.split("; hint:").next().unwrap_or_default().to_owned()
                }
                Err(error) => return Err(error.into()),
            }
        };
        Err(MirrorError::Forked {
            old: Box::new(old.clone()),
            new: Box::new(new.signed.clone()),
            why,
        })
    }

    /// Fetches and writes what is new. Returns the edge of the mirror after it, and the folders that
    /// may be removed then.
    async fn fetch<S: TileSource>(
        &self,
        reader: &LogReader<S>,
        new: &Trusted,
        each: &mut impl FnMut(&Bundle, usize),
    ) -> Result<(Edge, Vec<PathBuf>), MirrorError> {
        let (old, size) = (self.edge.size(), new.checkpoint.size);
        let width = u64::from(WIDTH);
        let first = old / width * width;
        let range = match old == size {
            true => size..size,
            false => first..size,
        };
        let options = WalkOptions {
            check_tiles: false,
            local: Some(self.folder.clone()),
        };
        let mut walk = reader.walk(&new.checkpoint, range, options).await?;
        let mut edge = self.edge.clone();
        let mut writer = Writer::new(&*self.disk, &self.folder).overwriting();
        let mut stale = Vec::new();
        let mut outdate = |tile: Tile| {
            let path = partial_folder(&self.folder, tile);
            if tile.is_full() && path.is_dir() {
                stale.push(path);
            }
        };
        let mut unsynced = 0;
        while let Some(bundle) = walk.next().await? {
            let known = usize::try_from(edge.size() - bundle.tile.start()).unwrap_or_default();
            writer.tile(bundle.tile, &bundle.bytes)?;
            outdate(bundle.tile);
            for leaf in bundle.hashes.iter().skip(known) {
                edge.append(*leaf, &mut |tile, hashes: &[Hash]| {
                    outdate(tile);
                    writer.tile(tile, &tile::to_bytes(hashes))
                })?;
            }
            each(&bundle, known);
            unsynced += width;
            if unsynced >= SYNC_EVERY {
                unsynced = 0;
                writer.finish()?;
                writer = Writer::new(&*self.disk, &self.folder).overwriting();
            }
        }
        for (tile, hashes) in edge.partial() {
            writer.tile(tile, &tile::to_bytes(hashes))?;
        }
        writer.finish()?;
        // The proof and each bundle were checked, so this can only be the mirror's own fault.
        match edge.root() == new.checkpoint.root {
            true => Ok((edge, stale)),
            false => Err(LogError::Root {
                size,
                expected: new.checkpoint.root,
                found: edge.root(),
            }
            .into()),
        }
    }

    fn publish(&mut self, edge: Edge, signed: SignedCheckpoint) -> Result<(), MirrorError> {
        let path = self.folder.join(CHECKPOINT);
        let text = signed.to_string();
        replace(&*self.disk, &self.folder, &path, text.as_bytes())?;
        (self.disk.sync_folder(&self.folder)).map_err(LogError::io("put on disk", &self.folder))?;
        self.signed = Some(signed);
        self.edge = edge;
        Ok(())
    }

    /// Removes what is outdated; it does no harm where that fails.
    fn clear(&self, stale: &[PathBuf]) {
        for path in stale {
            if let Err(error) = self.disk.remove_folder(path) {
                tracing::warn!(path = %path.display(), %error, "outdated tiles stay");
            }
        }
    }

    /// Whether a checkpoint of the same tree has more known cosignatures than the mirror's.
    fn says_more(&self, new: &Trusted, trust: &Trust) -> bool {
        let had = self.signed.iter().flat_map(|signed| {
            let known = trust.witnesses.iter();
            known.filter(|key| signed.verify_cosignature(key).is_ok())
        });
        new.cosigned.len() > had.count()
    }
}

pub(super) fn read_checkpoint(
    folder: &Path,
    trust: &Trust,
) -> Result<Option<SignedCheckpoint>, MirrorError> {
    let path = folder.join(CHECKPOINT);
    let bytes = match read_bounded(&path, note::MAX_LEN) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("read", &path)(error).into()),
    };
    let not_its = |why: String| LogError::Published {
        path: path.clone(),
        detail: why.split("; hint:").next().unwrap_or_default().to_owned(),
    };
    let signed = SignedCheckpoint::parse(&bytes).map_err(|error| not_its(error.to_string()))?;
    signed
        .verify(&trust.log)
        .map_err(|error| not_its(error.to_string()))?;
    Ok(Some(signed))
}
