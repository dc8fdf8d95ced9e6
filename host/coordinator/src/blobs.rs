//! Blobs of the coordinator: those of at most 64 KiB in the engine's database, longer ones as files.
//!
//! A hash is the right to read what it names: inputs, outputs and transcripts stand in the log
//! under salted commitments only. Task specs are the exception, see [`crate::http::blobs`].

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_net::Problem;
use adit_protocol::network::exchange::INLINE_BYTES_MAX;
use adit_protocol::{Code, Hash};
use adit_runtime::store::StoreError;
use adit_runtime::store::retention::Retained;
use tokio::time::Instant;

use crate::engine::Handle;

/// How long it is taken for granted that a blob is there which was used just now. Much shorter
/// than any retention.
const FRESH: Duration = Duration::from_secs(10);
/// Blobs that are remembered as fresh.
const FRESH_MAX: usize = 4096;

/// The blobs.
#[derive(Clone)]
pub struct Blobs {
    handle: Handle,
    files: Retained,
    fresh: Arc<Mutex<HashMap<Hash, Instant>>>,
}

/// A blob that was found.
pub enum Found {
    /// A short one.
    Small(Vec<u8>),
    /// An open file, and its length.
    File(File, u64),
}

impl Blobs {
    /// Blobs over the engine's database and a store of files.
    pub fn new(handle: Handle, files: Retained) -> Blobs {
        Blobs {
            handle,
            files,
            fresh: Arc::default(),
        }
    }

    /// The files.
    pub fn files(&self) -> &Retained {
        &self.files
    }

    /// What is here without being stored: the empty blob, and the transcript of a run without
    /// inference, which most receipts name.
    fn constant(hash: &Hash) -> Option<Vec<u8>> {
        static CONSTANTS: std::sync::OnceLock<[(Hash, Vec<u8>); 2]> = std::sync::OnceLock::new();
        let constants =
            CONSTANTS.get_or_init(|| [(Hash::of(b""), Vec::new()), crate::check::no_inference()]);
        let found = constants.iter().find(|(constant, _)| constant == hash);
        found.map(|(_, bytes)| bytes.clone())
    }

    /// The blobs of the list that are not here, each once. Those that are count as used now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn missing(&self, mut hashes: Vec<Hash>) -> Result<Vec<Hash>, Problem> {
        let mut seen = std::collections::HashSet::new();
        hashes.retain(|hash| seen.insert(*hash) && Blobs::constant(hash).is_none());
        {
            let fresh = self.fresh();
            hashes.retain(|hash| fresh.get(hash).is_none_or(|at| at.elapsed() >= FRESH));
        }
        if hashes.is_empty() {
            return Ok(hashes);
        }
        let files = self.files.clone();
        let (mut found, others): (Vec<Hash>, Vec<Hash>) =
            blocking(move || hashes.into_iter().partition(|hash| files.touch(hash))).await?;
        let mut missing = Vec::new();
        if !others.is_empty() {
            missing = self.handle.not_small(others.clone()).await?;
            let mut small = others;
            small.retain(|hash| !missing.contains(hash));
            if !small.is_empty() {
                self.handle.touch(small.clone()).await?;
                found.extend(small);
            }
        }
        let mut fresh = self.fresh();
        if fresh.len() + found.len() > FRESH_MAX {
            fresh.clear();
        }
        let now = Instant::now();
        fresh.extend(found.into_iter().take(FRESH_MAX).map(|hash| (hash, now)));
        Ok(missing)
    }

    async fn small(&self, hash: Hash) -> Result<Option<Vec<u8>>, Problem> {
        match Blobs::constant(&hash) {
            Some(bytes) => Ok(Some(bytes)),
            None => Ok(self.handle.small(hash).await?),
        }
    }

    /// A blob.
    ///
    /// # Errors
    /// `unknown-blob`.
    pub async fn open(&self, hash: Hash) -> Result<Found, Problem> {
        if let Some(bytes) = self.small(hash).await? {
            return Ok(Found::Small(bytes));
        }
        let files = self.files.clone();
        let opened = blocking(move || {
            files.touch(&hash);
            files.store().open_blob(&hash)
        })
        .await?;
        match opened {
            Ok((file, len)) => Ok(Found::File(file, len)),
            Err(StoreError::Missing { .. }) => Err(unknown(&hash)),
            Err(error) => Err(Problem::internal(error)),
        }
    }

    /// The whole of a blob of at most `max` bytes.
    ///
    /// # Errors
    /// `unknown-blob`, `blob-too-large`.
    pub async fn get(&self, hash: Hash, max: u64) -> Result<Vec<u8>, Problem> {
        if let Some(bytes) = self.small(hash).await? {
            return match bytes.len() as u64 <= max {
                true => Ok(bytes),
                false => Err(too_large(bytes.len() as u64, max)),
            };
        }
        let files = self.files.clone();
        let read = blocking(move || {
            files.touch(&hash);
            files.store().get(&hash, max)
        })
        .await?;
        match read {
            Ok(bytes) => Ok(bytes),
            Err(StoreError::Missing { .. }) => Err(unknown(&hash)),
            Err(StoreError::TooLarge { bytes, max, .. }) => Err(too_large(bytes, max)),
            Err(error) => Err(Problem::internal(error)),
        }
    }

    /// The first bytes of a blob, and its length.
    ///
    /// # Errors
    /// `unknown-blob`.
    pub async fn head(&self, hash: Hash, count: usize) -> Result<(Vec<u8>, u64), Problem> {
        match self.open(hash).await? {
            Found::Small(mut bytes) => {
                let len = bytes.len() as u64;
                bytes.truncate(count);
                Ok((bytes, len))
            }
            Found::File(file, len) => {
                let read = blocking(move || {
                    let mut bytes = Vec::with_capacity(count);
                    file.take(count as u64).read_to_end(&mut bytes)?;
                    Ok::<_, std::io::Error>(bytes)
                });
                let bytes = read.await?.map_err(Problem::internal)?;
                Ok((bytes, len))
            }
        }
    }

    /// Makes a short blob durable.
    ///
    /// # Errors
    /// `blob-mismatch` if it has another hash.
    pub async fn put_small(&self, hash: Hash, bytes: Vec<u8>) -> Result<(), Problem> {
        debug_assert!(bytes.len() <= INLINE_BYTES_MAX);
        let actual = Hash::of(&bytes);
        if actual != hash {
            return Err(mismatch(StoreError::Mismatch {
                expected: hash,
                actual,
                bytes: bytes.len() as u64,
            }));
        }
        self.handle.put_small(vec![bytes]).await?;
        Ok(())
    }

    fn fresh(&self) -> std::sync::MutexGuard<'_, HashMap<Hash, Instant>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what may wait for a disk, or computes for long, off the threads that serve requests.
///
/// # Errors
/// When it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    adit_net::blocking(work).await.map_err(Problem::internal)
}

/// There is no such blob.
pub fn unknown(hash: &Hash) -> Problem {
    Problem::new(Code::UnknownBlob, format!("the blob {hash} is not here"))
        .hint("upload it with PUT /v1/blobs/HASH, or check the hash")
}

/// A blob that is longer than it may be.
pub fn too_large(bytes: u64, max: u64) -> Problem {
    Problem::new(
        Code::BlobTooLarge,
        format!("the blob has {bytes} bytes, at most {max} are taken"),
    )
    .hint("make it smaller, or ask the operator for a higher bound")
}

/// What was written is not what it was announced as, or could not be written.
pub fn mismatch(error: StoreError) -> Problem {
    match &error {
        StoreError::Mismatch { .. } => Problem::new(Code::BlobMismatch, error),
        StoreError::TooLarge { bytes, max, .. } => too_large(*bytes, *max),
        _ if error.code() == Code::DiskFull => {
            tracing::error!(%error, "a blob could not be written");
            Problem::new(Code::DiskFull, "the coordinator's disk is full")
                .hint("try again later, and tell the operator")
        }
        _ => Problem::internal(error),
    }
}
