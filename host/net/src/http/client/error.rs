//! Why a request to another node failed.

use std::io;

use adit_protocol::{Code, Hash};
use thiserror::Error;
use url::Url;

use crate::http::status;
use crate::problem::RemoteProblem;
use crate::tls::TlsError;

/// Why a request failed. `url` has neither query nor user information.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The base URL is not one that a client can use.
    #[error("`{url}` is not the address of a node: {why}; hint: it looks like https://host:port")]
    Base {
        /// The text.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// TLS cannot be set up on this side.
    #[error(transparent)]
    Setup(#[from] TlsError),
    /// The request cannot be built; a fault of the caller.
    #[error("the request cannot be built: {0}; hint: please report this")]
    Build(String),
    /// No connection, or one that broke off.
    #[error("{url} cannot be reached: {why}; hint: does the node run, and is the address right?")]
    Unreachable {
        /// Where.
        url: String,
        /// The system's reason.
        why: String,
        /// The request was not sent, so that nothing can have been done.
        unsent: bool,
    },
    /// It took too long.
    #[error("{url} did not answer within {after_ms} ms; hint: try again, it may be busy")]
    Timeout {
        /// Where.
        url: String,
        /// The time that was given, in milliseconds.
        after_ms: u64,
    },
    /// The certificate of the other side was not accepted.
    #[error(
        "the TLS connection to {url} failed: {why}; hint: name its certificate as a CA if it is one of your own"
    )]
    Tls {
        /// Where.
        url: String,
        /// rustls's reason.
        why: String,
    },
    /// The other side refused the request.
    #[error("{url} refused: {problem}")]
    Refused {
        /// Where.
        url: String,
        /// What it says.
        problem: Box<RemoteProblem>,
    },
    /// The answer is not what the interface promises.
    #[error("the answer of {url} is not valid: {why}; hint: is another program or a proxy there?")]
    Malformed {
        /// Where.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The answer is longer than was asked for.
    #[error("the answer of {url} is longer than {bytes_max} bytes; hint: it is more than is taken")]
    TooLarge {
        /// Where.
        url: String,
        /// The bound, in bytes.
        bytes_max: u64,
    },
    /// What was downloaded is not the blob that was asked for.
    #[error(
        "{url} sent bytes that hash to {found} and not to {expected}; hint: get the blob from another node"
    )]
    Mismatch {
        /// Where.
        url: String,
        /// The blob's name.
        expected: Hash,
        /// The hash of what came.
        found: Hash,
    },
    /// The file to send or to write to.
    #[error("{0}; hint: check the disk and the folder")]
    Local(#[from] io::Error),
}

impl ClientError {
    /// The code to show; that of the other side where it gave one that is known.
    pub fn code(&self) -> Code {
        match self {
            ClientError::Base { .. } => Code::InvalidArgument,
            ClientError::Setup(error) => error.code(),
            ClientError::Build(_) => Code::Internal,
            ClientError::Unreachable { .. } => Code::Unreachable,
            ClientError::Timeout { .. } => Code::Timeout,
            ClientError::Tls { .. } => Code::TlsFailed,
            ClientError::Refused { problem, .. } => problem
                .code
                .unwrap_or_else(|| status::code_of(problem.status)),
            ClientError::Malformed { .. } | ClientError::TooLarge { .. } => Code::BadAnswer,
            ClientError::Mismatch { .. } => Code::BlobMismatch,
            ClientError::Local(error) => match error.kind() {
                io::ErrorKind::NotFound => Code::InvalidArgument,
                _ => Code::of_io(error),
            },
        }
    }

    /// The problem that the other side answered with.
    pub fn problem(&self) -> Option<&RemoteProblem> {
        match self {
            ClientError::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// The same request may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } | ClientError::Timeout { .. } => true,
            ClientError::Refused { problem, .. } => problem.retryable,
            _ => false,
        }
    }

    /// The request had no effect, so that it may be sent again even if it is not idempotent.
    pub(super) fn had_no_effect(&self) -> bool {
        match self {
            ClientError::Unreachable { unsent, .. } => *unsent,
            ClientError::Refused { problem, .. } => matches!(
                problem.code,
                Some(Code::Overloaded | Code::Draining | Code::QuotaExceeded | Code::RequestStale)
            ),
            _ => false,
        }
    }

    /// The other side finds that the clocks differ.
    pub(super) fn is_stale(&self) -> bool {
        self.problem()
            .is_some_and(|problem| problem.code == Some(Code::RequestStale))
    }

    /// How long the other side asks to wait, in seconds.
    pub(super) fn retry_after_s(&self) -> Option<u32> {
        self.problem().and_then(|problem| problem.retry_after_s)
    }
}

/// The address to show: without what may be secret.
pub(super) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Sorts an error of reqwest by what can be done about it.
pub(super) fn classify(url: &Url, after_ms: u64, error: reqwest::Error) -> ClientError {
    let url = shown(url);
    let error = error.without_url();
    if error.is_timeout() {
        return ClientError::Timeout { url, after_ms };
    }
    if error.is_builder() {
        return ClientError::Build(chain(&error));
    }
    let (why, unsent) = (chain(&error), error.is_connect());
    match is_tls(&error) {
        true => ClientError::Tls { url, why },
        false => ClientError::Unreachable { url, why, unsent },
    }
}

/// An error with its causes. Those of hyper say little without them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

/// Whether the cause is TLS. `io::Error` hides the error inside it from `source`.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .map(|inner| inner as &(dyn std::error::Error + 'static));
        cause = inner.or_else(|| error.source());
    }
    false
}
