//! The coordinator as a miner reaches it: the requests of [`adit_miner::transport::http`], signed
//! the same way, over the wire of the simulation.

use std::sync::Arc;
use std::time::Duration;

use adit_miner::transport::{ApiError, ApiFuture, BlobSink, CoordinatorApi, Upload};
use adit_net::http::extract::CONTENT_TYPE_CBOR;
use adit_net::problem::RemoteProblem;
use adit_net::signed::{self, Target};
use adit_net::{Clock, SharedRng};
use adit_protocol::cbor::Document;
use adit_protocol::keys::Keypair;
use adit_protocol::network::exchange::{
    Echo, HandIn, HandInAnswer, Hello, Poll, PollAnswer, ProgressReport, Welcome,
};
use adit_protocol::{Code, Hash};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response};

use super::wire::{self, Letter, Lost};
use super::world::{Life, URL, World};

/// How long a request may take beyond what it asks the coordinator to wait.
const PATIENCE: Duration = Duration::from_secs(15);

/// One life of a miner, towards the coordinator.
pub struct SimulatedApi {
    /// The world.
    pub world: Arc<World>,
    /// Whose.
    pub life: Life,
    /// Signs requests.
    pub key: Keypair,
    /// The miner's clock.
    pub clock: Arc<dyn Clock>,
    /// For nonces and signatures.
    pub rng: SharedRng,
}

impl SimulatedApi {
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        kind: Option<&'static str>,
        wait: Duration,
    ) -> Result<Response<Bytes>, ApiError> {
        let letter = self
            .letter(method, path, body, kind)
            .map_err(|error| ApiError::Local(error.to_string()))?;
        let sent = wire::send(&self.world, self.life, letter, wait + PATIENCE).await;
        let response = sent.map_err(|Lost(why)| ApiError::Unreachable(why.to_owned()))?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(refused(&response)),
        }
    }

    fn letter(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        kind: Option<&'static str>,
    ) -> Result<Letter, http::Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{URL}{path}"))
            .body(())?;
        let (mut head, ()) = request.into_parts();
        let authority = head.uri.authority().map(ToString::to_string);
        let authority = authority.unwrap_or_default();
        let mut headers = std::mem::take(&mut head.headers);
        headers.insert(HOST, HeaderValue::try_from(authority.as_str())?);
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let mut rng = self.rng.clone();
        let nonce = signed::nonce(&mut rng);
        let target = Target {
            method: &head.method,
            authority: &authority,
            path: head.uri.path(),
            query: head.uri.query(),
        };
        signed::sign(
            &mut headers,
            &target,
            Some(signed::sha256(&body)),
            self.clock.now_s(),
            &nonce,
            &self.key,
            &mut rng,
        );
        head.headers = headers;
        // As a server gets it: without scheme and host.
        head.uri = path.parse()?;
        Ok(Letter { head, body })
    }

    async fn post<D: Document>(
        &self,
        path: &str,
        document: &impl Document,
        wait_ms: u32,
    ) -> Result<D, ApiError> {
        let wait = Duration::from_millis(wait_ms.into());
        let response = self.post_any(path, document, wait).await?;
        D::from_cbor(response.body()).map_err(|error| ApiError::BadAnswer(error.to_string()))
    }

    async fn post_any(
        &self,
        path: &str,
        document: &impl Document,
        wait: Duration,
    ) -> Result<Response<Bytes>, ApiError> {
        let body = Bytes::from(document.to_cbor());
        self.send(Method::POST, path, body, Some(CONTENT_TYPE_CBOR), wait)
            .await
    }
}

fn refused(response: &Response<Bytes>) -> ApiError {
    let problem = RemoteProblem::parse(response.status(), response.headers(), response.body());
    match problem.code {
        Some(code) => ApiError::Refused {
            code,
            detail: problem.detail,
            retry_after: problem
                .retry_after_s
                .map(|seconds| Duration::from_secs(seconds.into())),
        },
        None => ApiError::BadAnswer(format!("{} without a problem", response.status())),
    }
}

impl CoordinatorApi for SimulatedApi {
    fn hello<'a>(&'a self, hello: &'a Hello) -> ApiFuture<'a, Welcome> {
        self.post("/v1/miner/hello", hello, 0).boxed()
    }

    fn echo<'a>(&'a self, echo: &'a Echo) -> ApiFuture<'a, ()> {
        let sent = self.post_any("/v1/miner/echo", echo, Duration::ZERO);
        sent.map(|sent| sent.map(drop)).boxed()
    }

    fn poll<'a>(&'a self, poll: &'a Poll) -> ApiFuture<'a, PollAnswer> {
        self.post("/v1/miner/poll", poll, poll.wait_ms).boxed()
    }

    fn progress<'a>(&'a self, report: &'a ProgressReport) -> ApiFuture<'a, ()> {
        let sent = self.post_any("/v1/miner/progress", report, Duration::ZERO);
        sent.map(|sent| sent.map(drop)).boxed()
    }

    fn hand_in<'a>(&'a self, receipts: &'a HandIn) -> ApiFuture<'a, HandInAnswer> {
        if self.world.lives(self.life) {
            let at_ms = self.world.virtual_ms();
            self.world.ledger(|ledger| ledger.signed(at_ms, receipts));
        }
        self.post("/v1/miner/receipts", receipts, 45_000).boxed()
    }

    fn fetch_blob<'a>(
        &'a self,
        hash: &'a Hash,
        max: u64,
        sink: &'a mut dyn BlobSink,
    ) -> ApiFuture<'a, ()> {
        async move {
            let path = format!("/v1/blobs/{hash}");
            let sent = self.send(Method::GET, &path, Bytes::new(), None, Duration::ZERO);
            let bytes = sent.await?.into_body();
            if bytes.len() as u64 > max {
                return Err(ApiError::BlobTooLarge { hash: *hash, max });
            }
            sink.restart()?;
            sink.write(&bytes)?;
            match sink.hash() == *hash {
                true => Ok(()),
                false => Err(ApiError::BlobMismatch(*hash)),
            }
        }
        .boxed()
    }

    fn put_blob<'a>(&'a self, hash: &'a Hash, blob: Upload) -> ApiFuture<'a, ()> {
        async move {
            let bytes = match blob {
                Upload::Bytes(bytes) => bytes,
                Upload::File(path) => Bytes::from(std::fs::read(path)?),
            };
            let path = format!("/v1/blobs/{hash}");
            let kind = Some("application/octet-stream");
            self.send(Method::PUT, &path, bytes, kind, Duration::ZERO)
                .await
                .map(drop)
        }
        .boxed()
    }
}

/// Whether a refusal may pass by itself.
pub fn passes(code: Option<Code>) -> bool {
    code.is_none_or(Code::retryable)
}
