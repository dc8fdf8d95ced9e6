//! What a miner asks of a coordinator, as a trait: over HTTP in a network, by calls in a simulator,
//! and hostile in tests.

pub mod http;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use adit_protocol::network::exchange::{
    Echo, HandIn, HandInAnswer, Hello, Poll, PollAnswer, ProgressReport, Welcome,
};
use adit_protocol::{Code, DecodeError, Hash};
use futures_util::future::BoxFuture;

/// Why a request to a coordinator failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// No answer came: no connection, or it broke off, or it took too long.
    #[error("the coordinator cannot be reached: {0}; hint: `adit miner doctor` tries each step")]
    Unreachable(String),
    /// Its certificate was not accepted.
    #[error(
        "the coordinator's certificate was not accepted: {0}; hint: name the authority of a network of your own with tls-ca"
    )]
    Tls(String),
    /// It answered with a problem.
    #[error("the coordinator refuses: {code}: {detail}; hint: see `adit explain {code}`")]
    Refused {
        /// The code.
        code: Code,
        /// The particulars, in the coordinator's words.
        detail: String,
        /// When to try again, if it said so.
        retry_after: Option<Duration>,
    },
    /// It answered with what is no answer: malformed, too long, a code that is not known.
    #[error(
        "the coordinator's answer is not what its interface promises: {0}; hint: is it another version, or another program?"
    )]
    BadAnswer(String),
    /// What came is not the blob that was asked for.
    #[error("the bytes that came for the blob {0} are others; hint: it is fetched again")]
    BlobMismatch(Hash),
    /// The blob is larger than what was expected of it.
    #[error("the blob {hash} has more than the {max} bytes that it may have here")]
    BlobTooLarge {
        /// Its hash.
        hash: Hash,
        /// The most that was accepted.
        max: u64,
    },
    /// This machine could not store or read what was moved.
    #[error("a blob could not be stored or read: {0}; hint: is the disk full?")]
    Local(String),
}

impl ApiError {
    /// The wire code of this error.
    pub fn code(&self) -> Code {
        match self {
            ApiError::Unreachable(_) => Code::Unreachable,
            ApiError::Tls(_) => Code::TlsFailed,
            ApiError::Refused { code, .. } => *code,
            ApiError::BadAnswer(_) => Code::BadAnswer,
            ApiError::BlobMismatch(_) => Code::BlobMismatch,
            ApiError::BlobTooLarge { .. } => Code::BlobTooLarge,
            ApiError::Local(_) => Code::DiskFull,
        }
    }

    /// How long the coordinator wants to be left alone, if it said so; at most ten minutes.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ApiError::Refused { retry_after, .. } => {
                retry_after.map(|wait| wait.min(Duration::from_secs(600)))
            }
            _ => None,
        }
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> ApiError {
        ApiError::BadAnswer(error.to_string())
    }
}

impl From<io::Error> for ApiError {
    fn from(error: io::Error) -> ApiError {
        ApiError::Local(error.to_string())
    }
}

/// Takes the bytes of a blob as they come.
pub trait BlobSink: Send {
    /// How many bytes it has already: the transfer goes on from there.
    fn offset(&self) -> u64;

    /// The hash of the bytes that it has.
    fn hash(&self) -> Hash;

    /// Forgets what it has, if the other side begins at the beginning all the same.
    ///
    /// # Errors
    /// The system's.
    fn restart(&mut self) -> io::Result<()>;

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The system's; the transfer ends.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// A blob that is uploaded.
#[derive(Debug)]
pub enum Upload {
    /// Its bytes.
    Bytes(bytes::Bytes),
    /// A file with it. Its content was not checked; the other side does.
    File(PathBuf),
}

/// The result of a request.
pub type ApiFuture<'a, T> = BoxFuture<'a, Result<T, ApiError>>;

/// A coordinator. Each request is signed by the implementation; no answer is trusted by the caller
/// before it was checked. Implementations bound what they read.
pub trait CoordinatorApi: Send + Sync {
    /// `POST /v1/miner/hello`.
    fn hello<'a>(&'a self, hello: &'a Hello) -> ApiFuture<'a, Welcome>;

    /// `POST /v1/miner/echo`.
    fn echo<'a>(&'a self, echo: &'a Echo) -> ApiFuture<'a, ()>;

    /// `POST /v1/miner/poll`. Takes as long as the poll allows the coordinator to wait. Whoever
    /// drops it has to expect that an answer was lost: assignments that are not named in the next
    /// poll come again.
    fn poll<'a>(&'a self, poll: &'a Poll) -> ApiFuture<'a, PollAnswer>;

    /// `POST /v1/miner/progress`.
    fn progress<'a>(&'a self, report: &'a ProgressReport) -> ApiFuture<'a, ()>;

    /// `POST /v1/miner/receipts`.
    fn hand_in<'a>(&'a self, receipts: &'a HandIn) -> ApiFuture<'a, HandInAnswer>;

    /// `GET /v1/blobs/HASH`, from the sink's offset on. The sink's owner checks the hash of what came
    /// whatever the implementation does. Ends with [`ApiError::BlobTooLarge`] when the blob has more than `max` bytes.
    fn fetch_blob<'a>(
        &'a self,
        hash: &'a Hash,
        max: u64,
        sink: &'a mut dyn BlobSink,
    ) -> ApiFuture<'a, ()>;

    /// `PUT /v1/blobs/HASH`.
    fn put_blob<'a>(&'a self, hash: &'a Hash, blob: Upload) -> ApiFuture<'a, ()>;
}
