//! A coordinator over HTTP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use adit_net::Clock;
use adit_net::http::client::{Call, Client, ClientConfig, ClientError, Retry, Sink};
use adit_net::tls::Roots;
use adit_protocol::cbor::Document;
use adit_protocol::keys::Keypair;
use adit_protocol::network::exchange::{
    Echo, HandIn, HandInAnswer, Hello, Poll, PollAnswer, ProgressReport, Welcome,
};
use adit_protocol::{Code, Hash};
use futures_util::FutureExt as _;
use url::Url;

use super::{ApiError, ApiFuture, BlobSink, CoordinatorApi, Upload};

/// How much longer than it was asked to wait a coordinator may take for the answer to a poll.
const POLL_GRACE_MS: u64 = 15_000;
/// The time for a request that carries receipts, in milliseconds.
const HAND_IN_MS: u64 = 60_000;

/// A coordinator at an address.
#[derive(Clone, Debug)]
pub struct HttpApi {
    client: Client,
}

impl HttpApi {
    /// For the coordinator at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ApiError`], if the address or the authorities cannot be used.
    pub fn new(
        url: &str,
        key: &Keypair,
        roots: Roots,
        clock: Arc<dyn Clock>,
    ) -> Result<HttpApi, ApiError> {
        let base = Url::parse(url).map_err(|error| {
            ApiError::BadAnswer(format!(
                "the membership has the address `{}`: {error}",
                crate::text::tame(url)
            ))
        })?;
        let config = ClientConfig {
            node: Some(Arc::new(key.clone())),
            roots,
            clock,
            // Sessions decide what is tried again, and when.
            retry: Retry::NEVER,
            ..ClientConfig::new(base)
        };
        Ok(HttpApi {
            client: Client::new(config).map_err(of_client)?,
        })
    }

    fn post(&self, path: &str, document: &impl Document) -> Call {
        self.client.post(path).cbor(document).signed()
    }

    fn blob(hash: &Hash) -> String {
        format!("/v1/blobs/{hash}")
    }
}

/// Sends a request and reads a document.
async fn answer<D: Document>(call: Call) -> Result<D, ApiError> {
    let answer = call
        .answer_bytes_max(D::MAX_LEN)
        .send()
        .await
        .map_err(of_client)?;
    answer.cbor().map_err(of_client)
}

/// Sends a request whose answer says nothing.
async fn nothing(call: Call) -> Result<(), ApiError> {
    call.answer_bytes_max(4096)
        .send()
        .await
        .map(drop)
        .map_err(of_client)
}

impl CoordinatorApi for HttpApi {
    fn hello<'a>(&'a self, hello: &'a Hello) -> ApiFuture<'a, Welcome> {
        answer(self.post("/v1/miner/hello", hello)).boxed()
    }

    fn echo<'a>(&'a self, echo: &'a Echo) -> ApiFuture<'a, ()> {
        nothing(self.post("/v1/miner/echo", echo)).boxed()
    }

    fn poll<'a>(&'a self, poll: &'a Poll) -> ApiFuture<'a, PollAnswer> {
        let timeout_ms = u64::from(poll.wait_ms).saturating_add(POLL_GRACE_MS);
        let call = self.post("/v1/miner/poll", poll).timeout_ms(timeout_ms);
        answer(call).boxed()
    }

    fn progress<'a>(&'a self, report: &'a ProgressReport) -> ApiFuture<'a, ()> {
        nothing(self.post("/v1/miner/progress", report)).boxed()
    }

    fn hand_in<'a>(&'a self, receipts: &'a HandIn) -> ApiFuture<'a, HandInAnswer> {
        let call = self.post("/v1/miner/receipts", receipts);
        answer(call.timeout_ms(HAND_IN_MS)).boxed()
    }

    fn fetch_blob<'a>(
        &'a self,
        hash: &'a Hash,
        max: u64,
        sink: &'a mut dyn BlobSink,
    ) -> ApiFuture<'a, ()> {
        async move {
            let call = self.client.get(&HttpApi::blob(hash)).signed();
            let fetched = call.download(&mut Into(sink), hash, max).await;
            fetched.map(drop).map_err(|error| match error {
                ClientError::TooLarge { .. } => ApiError::BlobTooLarge { hash: *hash, max },
                ClientError::Mismatch { .. } => ApiError::BlobMismatch(*hash),
                error => of_client(error),
            })
        }
        .boxed()
    }

    fn put_blob<'a>(&'a self, hash: &'a Hash, blob: Upload) -> ApiFuture<'a, ()> {
        async move {
            let call = self.client.put(&HttpApi::blob(hash)).signed();
            let sent = match blob {
                Upload::Bytes(bytes) => call.bytes("application/octet-stream", bytes).send().await,
                Upload::File(path) => call.upload(path).await,
            };
            sent.map(drop).map_err(of_client)
        }
        .boxed()
    }
}

/// A sink of this crate as one of the client.
struct Into<'a>(&'a mut dyn BlobSink);

impl Sink for Into<'_> {
    fn len(&self) -> u64 {
        self.0.offset()
    }

    fn hash(&self) -> Hash {
        self.0.hash()
    }

    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes)
    }

    async fn restart(&mut self) -> io::Result<()> {
        self.0.restart()
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn of_client(error: ClientError) -> ApiError {
    match error {
        ClientError::Tls { .. } | ClientError::Setup(_) => ApiError::Tls(plain(&error)),
        ClientError::Refused { ref problem, .. } => {
            let retry_after = problem
                .retry_after_s
                .map(|seconds| Duration::from_secs(seconds.into()));
            match problem.code {
                Some(code) => ApiError::Refused {
                    code,
                    detail: crate::text::tame(&problem.detail),
                    retry_after,
                },
                // A proxy in between, or a code of a later version.
                None if error.code() != Code::BadAnswer => ApiError::Refused {
                    code: error.code(),
                    detail: crate::text::tame(&problem.detail),
                    retry_after,
                },
                None => ApiError::BadAnswer(plain(&error)),
            }
        }
        ClientError::Local(error) => ApiError::Local(error.to_string()),
        ClientError::Unreachable { .. } | ClientError::Timeout { .. } => {
            ApiError::Unreachable(plain(&error))
        }
        error => ApiError::BadAnswer(plain(&error)),
    }
}

/// The message without its advice: that of this crate's error follows.
fn plain(error: &ClientError) -> String {
    let text = error.to_string();
    let text = text.split("; hint: ").next().unwrap_or_default();
    crate::text::tame(text)
}
