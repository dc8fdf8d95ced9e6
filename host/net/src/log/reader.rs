//! Reading a log that others write: what it says is checked against its signed checkpoint, and
//! checkpoints against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use adit_protocol::hash::Hash;
use adit_protocol::log::bundle;
use adit_protocol::log::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, VerifyError};
use adit_protocol::log::cosignature::Cosignature;
use adit_protocol::log::key::{KeyName, NoteKey};
use adit_protocol::log::proof::{
    ProofError, consistency, inclusion, verify_consistency, verify_inclusion,
};
use adit_protocol::log::reader::{TileReadError, TileReader};
use adit_protocol::log::tile::{Level, Tile, TileDataError};
use adit_protocol::log::tree::{RangeError, ReadError, leaf_hash};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use thiserror::Error;

use super::source::{SourceError, TileSource, fetch_tile};
use super::{CHECKPOINT, COSIGNED};

/// Bytes of a hash in a tile.
const HASH_LEN: usize = 32;
/// Files that are fetched at once.
pub(super) const AT_ONCE: usize = 8;

/// Why what a log says is not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadLogError {
    /// A file could not be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What was served as a checkpoint is none.
    #[error("the checkpoint is malformed: {0}")]
    Malformed(#[from] CheckpointError),
    /// The checkpoint is not the log's.
    #[error(transparent)]
    Unsigned(#[from] VerifyError),
    /// Too few witnesses have cosigned.
    #[error(
        "{found} of the {of} known witnesses have cosigned the checkpoint of {size} entries, and {needed} must; hint: ask again in a moment; if it stays so, witnesses are down or refuse"
    )]
    Quorum {
        /// Entries of the checkpoint.
        size: u64,
        /// Known witnesses that did.
        found: usize,
        /// Known witnesses.
        of: usize,
        /// How many must.
        needed: usize,
    },
    /// A proof proves nothing.
    #[error("{what} does not hold: {error}")]
    Proof {
        /// What was to be proven.
        what: String,
        /// Why it is not.
        error: ProofError,
    },
    /// The question makes no sense for a log of this size.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A tile contradicts the checkpoint.
    #[error(
        "{tile} is not the one of the checkpoint of {size} entries: {detail}; hint: the server's file is damaged, or it shows other entries than it has signed; keep the file and the checkpoint"
    )]
    Tile {
        /// The file.
        tile: Tile,
        /// Entries of the checkpoint.
        size: u64,
        /// What is wrong.
        detail: String,
    },
}

/// How a failure is to be told: the exit codes of the command line follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// A signature or an encoding does not hold.
    Signature,
    /// A proof, or a hash in one, does not hold.
    Proof,
    /// It could not be found out.
    Unchecked,
}

impl ReadLogError {
    /// How the failure is to be told.
    pub fn kind(&self) -> FailureKind {
        match self {
            ReadLogError::Source(_) | ReadLogError::Quorum { .. } | ReadLogError::Range(_) => {
                FailureKind::Unchecked
            }
            ReadLogError::Malformed(_) | ReadLogError::Unsigned(_) => FailureKind::Signature,
            ReadLogError::Proof { .. } | ReadLogError::Tile { .. } => FailureKind::Proof,
        }
    }
}

/// Whose word on a log counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The log's key, with its origin as name.
    pub log: NoteKey,
    /// Known witnesses and mirrors.
    pub witnesses: Vec<NoteKey>,
    /// How many of them must have cosigned a checkpoint.
    pub quorum: usize,
}

impl Trust {
    /// The log's own word alone.
    pub fn log_alone(log: NoteKey) -> Trust {
        Trust {
            log,
            witnesses: Vec::new(),
            quorum: 0,
        }
    }

    /// Checks the signatures of a checkpoint.
    ///
    /// # Errors
    /// [`ReadLogError::Unsigned`] and [`ReadLogError::Quorum`].
    pub fn check(&self, signed: SignedCheckpoint) -> Result<Trusted, ReadLogError> {
        let checkpoint = signed.verify(&self.log)?.clone();
        let cosigned: Vec<_> = self
            .witnesses
            .iter()
            .filter_map(|key| Some((key.name().clone(), signed.verify_cosignature(key).ok()?)))
            .collect();
        match cosigned.len() >= self.quorum {
            true => Ok(Trusted {
                checkpoint,
                signed,
                cosigned,
            }),
            false => Err(ReadLogError::Quorum {
                size: checkpoint.size,
                found: cosigned.len(),
                of: self.witnesses.len(),
                needed: self.quorum,
            }),
        }
    }
}

/// A checkpoint whose signatures were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The note, with all signatures that it came with.
    pub signed: SignedCheckpoint,
    /// The known witnesses that have cosigned it.
    pub cosigned: Vec<(KeyName, Cosignature)>,
}

/// Reads a log, and checks all that it reads.
#[derive(Clone, Debug)]
pub struct LogReader<S> {
    pub(super) source: S,
    trust: Trust,
}

/// Reads from tiles that are there already.
type Reader<'a> = TileReader<&'a mut (dyn FnMut(Tile) -> Result<Vec<u8>, Infallible> + Send + 'a)>;

impl<S: TileSource> LogReader<S> {
    /// A reader of the log that `source` has.
    pub fn new(source: S, trust: Trust) -> LogReader<S> {
        LogReader { source, trust }
    }

    /// Where it is read from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Whose word counts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The newest checkpoint that enough witnesses have cosigned.
    ///
    /// # Errors
    /// [`ReadLogError`].
    pub async fn checkpoint(&self) -> Result<Trusted, ReadLogError> {
        let newest = self.note(CHECKPOINT).await;
        match newest {
            // The newest may be so new that no witness has seen it.
            Err(quorum @ ReadLogError::Quorum { .. }) => match self.note(COSIGNED).await {
                Err(ReadLogError::Source(SourceError::Missing { .. })) => Err(quorum),
                other => other,
            },
            other => other,
        }
    }

    async fn note(&self, name: &str) -> Result<Trusted, ReadLogError> {
        let bytes = self.source.note(name).await?;
        self.trust.check(SignedCheckpoint::parse(&bytes)?)
    }

    /// The proof that the entry with this leaf hash is the one of `index`, checked.
    ///
    /// # Errors
    /// [`ReadLogError`].
    pub async fn inclusion(
        &self,
        checkpoint: &Checkpoint,
        index: u64,
        leaf: &Hash,
    ) -> Result<Vec<Hash>, ReadLogError> {
        let (size, root) = (checkpoint.size, &checkpoint.root);
        let proof = self
            .compute(size, |reader| inclusion(reader, index, size))
            .await?;
        verify_inclusion(leaf, index, size, root, &proof).map_err(|error| ReadLogError::Proof {
            what: format!("that the log of {size} entries has this entry at {index}"),
            error,
        })?;
        Ok(proof)
    }

    /// The proof that an entry is the one of `index` in the log as it was with `size` entries, as the
    /// tiles of the log of `newest` entries give it.
    ///
    /// # Errors
    /// [`ReadLogError`].
    pub async fn prove_inclusion(
        &self,
        newest: u64,
        index: u64,
        size: u64,
    ) -> Result<Vec<Hash>, ReadLogError> {
        self.compute(newest, |reader| inclusion(reader, index, size))
            .await
    }

    /// An entry with the proof that it is the one of `index`, checked.
    ///
    /// # Errors
    /// [`ReadLogError`].
    pub async fn entry(
        &self,
        checkpoint: &Checkpoint,
        index: u64,
    ) -> Result<(Vec<u8>, Vec<Hash>), ReadLogError> {
        let size = checkpoint.size;
        let tile = Tile::holding(Level::Entries, index, size)
            .ok_or(ReadLogError::Range(RangeError::Index { index, size }))?;
        let bytes = fetch_tile(&self.source, tile).await?;
        let bad = |error: bundle::BundleError| tile_error(tile, size, error);
        let entries = bundle::decode_width(&bytes, tile.width()).map_err(bad)?;
        let at = usize::try_from(index - tile.start()).unwrap_or(usize::MAX);
        let entry = entries.get(at).copied().unwrap_or_default();
        let proof = self.inclusion(checkpoint, index, &leaf_hash(entry)).await?;
        Ok((entry.to_vec(), proof))
    }

    /// The proof that `new` continues `old`, checked.
    ///
    /// # Errors
    /// [`ReadLogError`]; [`ReadLogError::Proof`] if it does not: both checkpoints are evidence then.
    pub async fn consistency(
        &self,
        old: &Checkpoint,
        new: &Checkpoint,
    ) -> Result<Vec<Hash>, ReadLogError> {
        let proof = self.prove_consistency(old.size, new.size).await?;
        verify_consistency(old.size, &old.root, new.size, &new.root, &proof).map_err(|error| {
            ReadLogError::Proof {
                what: format!(
                    "that the log of {} entries continues the one of {}",
                    new.size, old.size
                ),
                error,
            }
        })?;
        Ok(proof)
    }

    /// The proof that the log of `new` entries continues that of `old`, as its tiles give it.
    ///
    /// # Errors
    /// [`ReadLogError`].
    pub async fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, ReadLogError> {
        self.compute(new, |reader| consistency(reader, old, new))
            .await
    }

    /// Computes something from tiles: first which are needed, which does not depend on what is in
    /// them; then they are fetched, several at once; then the thing itself.
    async fn compute<T>(
        &self,
        size: u64,
        compute: impl Fn(&mut Reader<'_>) -> Result<T, ReadError<TileReadError<Infallible>>>,
    ) -> Result<T, ReadLogError> {
        let mut wanted = BTreeSet::new();
        let mut fetch = |tile: Tile| {
            wanted.insert(tile);
            Ok(vec![0; usize::from(tile.width()) * HASH_LEN])
        };
        let made_up = compute(&mut TileReader::new(size, &mut fetch));
        made_up.map_err(|error| unreadable(size, error))?;
        let fetched: Vec<_> = stream::iter(wanted)
            .map(async |tile| Ok::<_, SourceError>((tile, fetch_tile(&self.source, tile).await?)))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let fetched: BTreeMap<Tile, Vec<u8>> = fetched.into_iter().collect();
        let mut fetch = |tile: Tile| Ok(fetched.get(&tile).cloned().unwrap_or_default());
        compute(&mut TileReader::new(size, &mut fetch)).map_err(|error| unreadable(size, error))
    }
}

fn unreadable(size: u64, error: ReadError<TileReadError<Infallible>>) -> ReadLogError {
    match error {
        ReadError::Range(error) => error.into(),
        ReadError::Read(TileReadError::Fetch { error, .. }) => match error {},
        ReadError::Read(TileReadError::Data(error)) => match error {
            TileDataError::Length { tile, .. } | TileDataError::Entries { tile } => {
                tile_error(tile, size, error)
            }
        },
        ReadError::Read(TileReadError::Outside { index, .. }) => {
            RangeError::Index { index, size }.into()
        }
    }
}

pub(super) fn tile_error(tile: Tile, size: u64, error: impl ToString) -> ReadLogError {
    let detail = error.to_string();
    let detail = detail.split("; hint:").next().unwrap_or_default();
    ReadLogError::Tile {
        tile,
        size,
        detail: detail.to_owned(),
    }
}
