//! Transfers of files: downloads that are checked and can be resumed, uploads that are streamed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use adit_protocol::{Hash, Hasher};
use bytes::Bytes;
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use super::{Call, ClientError, error};

/// The slowest rate of a transfer, over all of it, in bytes per second.
const BYTES_PER_S_MIN: u64 = 1024;

/// Bytes that are read from a file at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where a download goes: what is there already is continued.
pub trait Sink: Send {
    /// Bytes that are there.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash of the bytes that are there.
    fn hash(&self) -> Hash;

    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Drops all bytes.
    fn restart(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Makes the bytes durable.
    fn finish(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// A download into memory.
#[derive(Debug, Default)]
pub struct MemorySink(pub Vec<u8>);

impl Sink for MemorySink {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn hash(&self) -> Hash {
        Hash::of(&self.0)
    }

    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A download into a file, which another process may continue later. The file is not given its
/// final name here.
#[derive(Debug)]
pub struct FileSink {
    path: PathBuf,
    file: File,
    hasher: Hasher,
}

impl FileSink {
    /// Opens a file, or creates it. What it holds is read, to continue its hash.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn open(path: &Path) -> io::Result<FileSink> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).await?;
        let mut hasher = Hasher::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = file.read(&mut chunk).await?;
            if read == 0 {
                break;
            }
            hasher.update(chunk.get(..read).unwrap_or_default());
        }
        Ok(FileSink {
            path: path.to_owned(),
            file,
            hasher,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Sink for FileSink {
    fn len(&self) -> u64 {
        self.hasher.count()
    }

    fn hash(&self) -> Hash {
        self.hasher.finalize()
    }

    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.hasher.update(bytes);
        Ok(())
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0).await?;
        self.file.rewind().await?;
        self.hasher = Hasher::new();
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await
    }
}

/// The body of an upload.
pub(super) async fn file_body(path: &Path, length: u64) -> io::Result<reqwest::Body> {
    let file = File::open(path).await?;
    // A file that has grown must not send more than was announced.
    let reader = ReaderStream::with_capacity(file.take(length), CHUNK_BYTES);
    Ok(reqwest::Body::wrap_stream(reader))
}

impl Call {
    /// Downloads a blob: the answer's bytes go to `sink`, as many as `bytes_max` at most, and must
    /// hash to `expected`. What the sink holds already is not fetched again; a transfer that breaks
    /// off is continued, as often as the settings of the client say, counted anew after each
    /// progress. Returns the length.
    ///
    /// # Errors
    /// [`ClientError`]. The sink then holds what came so far, or nothing if that cannot be used.
    pub async fn download(
        self,
        sink: &mut impl Sink,
        expected: &Hash,
        bytes_max: u64,
    ) -> Result<u64, ClientError> {
        let resumed = !sink.is_empty();
        match self.fetch(sink, expected, bytes_max).await {
            // What was there before may be what is wrong.
            Err(ClientError::Mismatch { .. }) if resumed => {
                self.fetch(sink, expected, bytes_max).await
            }
            result => result,
        }
    }

    async fn fetch(
        &self,
        sink: &mut impl Sink,
        expected: &Hash,
        bytes_max: u64,
    ) -> Result<u64, ClientError> {
        if sink.len() > bytes_max {
            sink.restart().await?;
        }
        let mut failed = 0;
        loop {
            let before = sink.len();
            match self.part(sink, bytes_max).await {
                Ok(()) => break,
                Err(error @ ClientError::TooLarge { .. }) => {
                    sink.restart().await?;
                    return Err(error);
                }
                Err(error) => {
                    if sink.len() > before {
                        failed = 0;
                    }
                    self.before_repeating(error, &mut failed).await?;
                }
            }
        }
        let found = sink.hash();
        if found != *expected {
            sink.restart().await?;
            return Err(ClientError::Mismatch {
                url: error::shown(&self.url),
                expected: *expected,
                found,
            });
        }
        sink.finish().await?;
        Ok(sink.len())
    }

    /// Fetches what the sink lacks, in one request.
    async fn part(&self, sink: &mut impl Sink, bytes_max: u64) -> Result<(), ClientError> {
        let mut extra = HeaderMap::new();
        let from = sink.len();
        if from > 0 {
            let range = HeaderValue::try_from(format!("bytes={from}-"))
                .map_err(|error| ClientError::Build(error.to_string()))?;
            extra.insert(RANGE, range);
        }
        let begun = self.within(self.timeout_ms, self.respond(extra)).await;
        let mut response = match begun {
            // Nothing follows what is there: it is complete, or it is something else. Its hash,
            // which is compared next, tells.
            Err(ClientError::Refused { problem, .. }) if from > 0 && problem.status == 416 => {
                return Ok(());
            }
            begun => begun?,
        };
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let begins = response.headers().get(CONTENT_RANGE);
            let begins = begins
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.strip_prefix("bytes "))
                .and_then(|value| value.split_once('-'))
                .and_then(|(begin, _)| begin.parse::<u64>().ok());
            if begins != Some(from) {
                return Err(ClientError::Malformed {
                    url: error::shown(&self.url),
                    why: "it begins at another byte than was asked for".to_owned(),
                });
            }
        } else if from > 0 {
            // The other side has sent all of it again.
            sink.restart().await?;
        }
        let too_large = || ClientError::TooLarge {
            url: error::shown(&self.url),
            bytes_max,
        };
        let room = bytes_max.saturating_sub(sink.len());
        if response
            .content_length()
            .is_some_and(|length| length > room)
        {
            return Err(too_large());
        }
        let begun = Instant::now();
        let mut received: u64 = 0;
        while let Some(chunk) = self.chunk(&mut response).await? {
            received = received.saturating_add(chunk.len() as u64);
            if received > room {
                return Err(too_large());
            }
            sink.append(&chunk).await?;
            let earned = Duration::from_secs(received / BYTES_PER_S_MIN);
            if begun.elapsed() > earned + Duration::from_millis(self.timeout_ms) {
                return Err(ClientError::Timeout {
                    url: error::shown(&self.url),
                    after_ms: self.timeout_ms,
                });
            }
        }
        Ok(())
    }

    pub(super) async fn chunk(
        &self,
        response: &mut reqwest::Response,
    ) -> Result<Option<Bytes>, ClientError> {
        let chunk = async {
            response
                .chunk()
                .await
                .map_err(|error| error::classify(&self.url, self.timeout_ms, error))
        };
        self.within(self.timeout_ms, chunk).await
    }

    /// Sends a file and reads the answer. It has the time that its length allows at the slowest
    /// rate, on top of the request's own.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn upload(self, path: impl Into<PathBuf>) -> Result<super::Answer, ClientError> {
        let path = path.into();
        let length = tokio::fs::metadata(&path).await?.len();
        let extra_ms = length.saturating_mul(1000) / BYTES_PER_S_MIN;
        let timeout_ms = self.timeout_ms.saturating_add(extra_ms);
        self.file(path, length).timeout_ms(timeout_ms).send().await
    }
}
