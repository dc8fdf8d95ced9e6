//! A client of other nodes: typed errors, time-outs, bounded answers, retries, signed requests.
//!
//! ```no_run
//! # async fn example(config: adit_net::http::client::ClientConfig) -> Result<(), Box<dyn std::error::Error>> {
//! use adit_net::http::client::Client;
//!
//! let client = Client::new(config)?;
//! let version: serde_json::Value = client.get("/version").send().await?.json()?;
//! # Ok(())
//! # }
//! ```
//!
//! An answer with a status of 400 or more is an error ([`ClientError::Refused`]). A request is sent
//! again if that may help ([`ClientError::retryable`]) and if it is idempotent or had no effect.
//! Redirects are not followed: what was signed or authorised for one address goes to no other.

mod error;
mod retry;
mod transfer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use adit_protocol::Document;
use adit_protocol::keys::Keypair;
use adit_protocol::rand_core::{OsRng, RngCore as _};
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::{Host, Url};

pub use error::ClientError;
pub use retry::{Retry, Sleeper, TokioSleeper};
pub use transfer::{FileSink, MemorySink, Sink};

use super::extract::CONTENT_TYPE_CBOR;
use crate::clock::{Clock, SystemClock};
use crate::problem::{PROBLEM_BYTES_MAX, RemoteProblem};
use crate::signed::{self, Target};
use crate::tls::Roots;

/// What a client needs to know.
#[derive(Clone)]
pub struct ClientConfig {
    /// The address of the node, as `https://host:port`. A path is put before all others.
    pub base: Url,
    /// Who may vouch for its certificate.
    pub roots: Roots,
    /// The token of a client, sent with every request.
    pub token: Option<String>,
    /// The key of a node, which signs the requests that are asked to be signed.
    pub node: Option<Arc<Keypair>>,
    /// The time to connect, with TLS, in milliseconds.
    pub connect_ms: u64,
    /// The time for a request with its answer, in milliseconds; each one can have another.
    pub timeout_ms: u64,
    /// The longest answer in bytes; each request can have another.
    pub answer_bytes_max: usize,
    /// How often to try.
    pub retry: Retry,
    /// Speak HTTP/2 without TLS, to a server that is known to.
    pub http2_without_tls: bool,
    /// The time that requests are signed with.
    pub clock: Arc<dyn Clock>,
    /// Waits between attempts.
    pub sleeper: Arc<dyn Sleeper>,
}

impl ClientConfig {
    /// The usual settings for the node at `base`.
    pub fn new(base: Url) -> ClientConfig {
        ClientConfig {
            base,
            roots: Roots::system(),
            token: None,
            node: None,
            connect_ms: 5_000,
            timeout_ms: 30_000,
            answer_bytes_max: 4 * 1024 * 1024,
            retry: Retry::default(),
            http2_without_tls: false,
            clock: Arc::new(SystemClock),
            sleeper: Arc::new(TokioSleeper),
        }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientConfig({}, secrets not shown)", self.base)
    }
}

/// A client of one node. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    http: reqwest::Client,
    authorization: Option<HeaderValue>,
    /// What to add to the clock when signing, in milliseconds. It is learnt from the other side
    /// once it finds a request stale, and only matters to that side, whose authority is signed.
    clock_offset_ms: AtomicI64,
}

impl Client {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Base`] and [`ClientError::Setup`].
    pub fn new(config: ClientConfig) -> Result<Client, ClientError> {
        let base = |why| ClientError::Base {
            url: error::shown(&config.base),
            why,
        };
        let loopback = match config.base.host() {
            None => return Err(base("it has no host")),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
        };
        if !config.base.username().is_empty() || config.base.password().is_some() {
            return Err(base("it has a user name in it"));
        }
        // The system's authorities are needed, and need to be there, only for TLS.
        let tls = match config.base.scheme() {
            "https" => config.roots.client_config()?,
            "http" => Roots::none().client_config()?,
            _ => return Err(base("it is neither https nor http")),
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("adit/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_millis(config.connect_ms))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(60));
        if loopback {
            builder = builder.no_proxy();
        }
        if config.http2_without_tls && config.base.scheme() == "http" {
            builder = builder.http2_prior_knowledge();
        }
        let http = builder
            .build()
            .map_err(|error| ClientError::Build(error.to_string()))?;
        let authorization = match &config.token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                    .map_err(|_| base("the token has characters that no token has"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Client(Arc::new(Inner {
            config,
            http,
            authorization,
            clock_offset_ms: AtomicI64::new(0),
        })))
    }

    /// The address of the node.
    pub fn base(&self) -> &Url {
        &self.0.config.base
    }

    /// A request of any method. `path` begins with a slash and has no query.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let mut url = self.0.config.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        Call {
            client: self.clone(),
            idempotent: method.is_idempotent(),
            method,
            url,
            headers: HeaderMap::new(),
            body: CallBody::None,
            signed: false,
            timeout_ms: self.0.config.timeout_ms,
            answer_bytes_max: self.0.config.answer_bytes_max,
        }
    }

    /// A GET request.
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// A POST request.
    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// A PUT request.
    pub fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    /// A DELETE request.
    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }
}

#[derive(Clone, Debug)]
enum CallBody {
    None,
    Bytes(Bytes),
    /// A file with its length, which is read anew for each attempt.
    File(PathBuf, u64),
    /// What cannot be encoded; said when it is sent.
    Failed(String),
}

/// A request in the making.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is sent"]
pub struct Call {
    client: Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: CallBody,
    signed: bool,
    idempotent: bool,
    timeout_ms: u64,
    answer_bytes_max: usize,
}

impl Call {
    /// A parameter behind the `?`.
    pub fn query(mut self, name: &str, value: impl fmt::Display) -> Call {
        self.url
            .query_pairs_mut()
            .append_pair(name, &value.to_string());
        self
    }

    /// A header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Call {
        self.headers.insert(name, value);
        self
    }

    /// A body in JSON.
    pub fn json(self, value: &impl Serialize) -> Call {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.bytes("application/json", bytes),
            Err(error) => Call {
                body: CallBody::Failed(error.to_string()),
                ..self
            },
        }
    }

    /// A document as the body.
    pub fn cbor(self, document: &impl Document) -> Call {
        self.bytes(CONTENT_TYPE_CBOR, document.to_cbor())
    }

    /// A body of bytes.
    pub fn bytes(mut self, content_type: &'static str, bytes: impl Into<Bytes>) -> Call {
        self.body = CallBody::Bytes(bytes.into());
        self.header(CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// A body that is streamed from a file of `length` bytes. If the request is signed, its body is
    /// not covered: the path should have its hash.
    pub fn file(mut self, path: impl Into<PathBuf>, length: u64) -> Call {
        self.body = CallBody::File(path.into(), length);
        self.header(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        )
    }

    /// Signs the request with the node's key, anew for each attempt.
    pub fn signed(mut self) -> Call {
        self.signed = true;
        self
    }

    /// The request may be sent again: doing it twice does what doing it once does.
    pub fn idempotent(mut self) -> Call {
        self.idempotent = true;
        self
    }

    /// A key by which the other side knows the request again, which makes it idempotent.
    pub fn idempotency_key(self, key: &str) -> Call {
        match HeaderValue::try_from(key) {
            Ok(value) => self
                .idempotent()
                .header(HeaderName::from_static("idempotency-key"), value),
            Err(_) => Call {
                body: CallBody::Failed("the idempotency key is no header value".to_owned()),
                ..self
            },
        }
    }

    /// Another time for the request with its answer, in milliseconds. For a long poll: the time
    /// that the other side is asked to wait, and some.
    pub fn timeout_ms(mut self, timeout_ms: u64) -> Call {
        self.timeout_ms = timeout_ms;
        self
    }

    /// Another bound on the answer.
    pub fn answer_bytes_max(mut self, bytes_max: usize) -> Call {
        self.answer_bytes_max = bytes_max;
        self
    }

    /// Sends the request, repeatedly if need be, and reads the answer.
    ///
    /// # Errors
    /// [`ClientError`] of the last attempt.
    pub async fn send(self) -> Result<Answer, ClientError> {
        self.attempts(async |call: &Call| call.once().await).await
    }

    /// Repeats `attempt` as the settings say.
    async fn attempts<T>(
        &self,
        mut attempt: impl AsyncFnMut(&Call) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let retry = self.client.0.config.retry;
        let mut failed = 0;
        loop {
            let error = match attempt(self).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            failed += 1;
            let repeat = error.retryable() && (self.idempotent || error.had_no_effect());
            if !repeat || failed >= retry.attempts_max {
                return Err(error);
            }
            let wait = retry.wait(failed, error.retry_after_s(), OsRng.next_u64());
            tracing::debug!(url = %error::shown(&self.url), %error, ?wait, "the request is sent again");
            self.client.0.config.sleeper.sleep(wait).await;
        }
    }

    async fn once(&self) -> Result<Answer, ClientError> {
        let work = async {
            let response = self.respond(HeaderMap::new()).await?;
            let (status, headers) = (response.status(), response.headers().clone());
            let bytes = self.read(response, self.answer_bytes_max).await?;
            Ok(Answer {
                url: error::shown(&self.url),
                status,
                headers,
                bytes,
            })
        };
        self.within(self.timeout_ms, work).await
    }

    async fn within<T>(
        &self,
        after_ms: u64,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(Duration::from_millis(after_ms), work)
            .await
            .unwrap_or_else(|_| {
                Err(ClientError::Timeout {
                    url: error::shown(&self.url),
                    after_ms,
                })
            })
    }

    /// Sends the request and reads the headers of the answer, which is no refusal.
    async fn respond(&self, extra: HeaderMap) -> Result<reqwest::Response, ClientError> {
        let request = self.request(extra).await?;
        let response = self
            .client
            .0
            .http
            .execute(request)
            .await
            .map_err(|error| error::classify(&self.url, self.timeout_ms, error))?;
        let status = response.status();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            return Err(ClientError::Malformed {
                url: error::shown(&self.url),
                why: format!("it points elsewhere (HTTP status {})", status.as_u16()),
            });
        }
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        // A refusal whose text does not come is one all the same.
        let body = self.read(response, PROBLEM_BYTES_MAX).await;
        let problem = RemoteProblem::parse(status, &headers, &body.unwrap_or_default());
        let error = ClientError::Refused {
            url: error::shown(&self.url),
            problem: Box::new(problem),
        };
        if error.is_stale() {
            self.learn_clock(&headers);
        }
        Err(error)
    }

    async fn request(&self, extra: HeaderMap) -> Result<reqwest::Request, ClientError> {
        let inner = &self.client.0;
        let mut request = reqwest::Request::new(self.method.clone(), self.url.clone());
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.extend(extra);
        if let Some(value) = &inner.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        if self.signed {
            self.sign(headers)?;
        }
        match &self.body {
            CallBody::None => {}
            CallBody::Bytes(bytes) => *request.body_mut() = Some(bytes.clone().into()),
            CallBody::File(path, length) => {
                request
                    .headers_mut()
                    .insert(CONTENT_LENGTH, HeaderValue::from(*length));
                *request.body_mut() = Some(transfer::file_body(path, *length).await?);
            }
            CallBody::Failed(why) => return Err(ClientError::Build(why.clone())),
        }
        Ok(request)
    }

    fn sign(&self, headers: &mut HeaderMap) -> Result<(), ClientError> {
        let inner = &self.client.0;
        let Some(node) = &inner.config.node else {
            return Err(ClientError::Build(
                "there is no key to sign with".to_owned(),
            ));
        };
        let digest = match &self.body {
            CallBody::File(..) => None,
            CallBody::Bytes(bytes) => Some(signed::sha256(bytes)),
            CallBody::None | CallBody::Failed(_) => Some(signed::sha256(b"")),
        };
        let target = Target {
            method: &self.method,
            // The url crate has put it in normal form, without the scheme's default port.
            authority: self.url.authority(),
            path: self.url.path(),
            query: self.url.query(),
        };
        let offset = inner.clock_offset_ms.load(Ordering::Relaxed);
        let now_ms = inner.config.clock.now_ms().saturating_add_signed(offset);
        let nonce = signed::nonce(&mut OsRng);
        signed::sign(
            headers,
            &target,
            digest,
            now_ms / 1000,
            &nonce,
            node,
            &mut OsRng,
        );
        Ok(())
    }

    /// Takes the time from the other side's header `date`.
    fn learn_clock(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|value| value.to_str().ok());
        let Some(since) = date
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .and_then(|date| date.duration_since(UNIX_EPOCH).ok())
        else {
            return;
        };
        let inner = &self.client.0;
        let theirs = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let ours = i64::try_from(inner.config.clock.now_ms()).unwrap_or(i64::MAX);
        // The header is in whole seconds; on average half of one has passed since.
        let offset = theirs.saturating_sub(ours).saturating_add(500);
        // Within a second the clocks agree, and the cause is another: a server just started.
        let offset = if offset.abs() <= 1500 { 0 } else { offset };
        inner.clock_offset_ms.store(offset, Ordering::Relaxed);
    }

    /// Reads an answer up to a bound.
    async fn read(
        &self,
        mut response: reqwest::Response,
        bytes_max: usize,
    ) -> Result<Bytes, ClientError> {
        let too_large = || ClientError::TooLarge {
            url: error::shown(&self.url),
            bytes_max: bytes_max as u64,
        };
        if response
            .content_length()
            .is_some_and(|length| length > bytes_max as u64)
        {
            return Err(too_large());
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| error::classify(&self.url, self.timeout_ms, error))?
        {
            if bytes.len() + chunk.len() > bytes_max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

/// An answer that is no refusal.
#[derive(Clone, Debug)]
pub struct Answer {
    url: String,
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub bytes: Bytes,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// [`ClientError::Malformed`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.bytes).map_err(|error| self.malformed(error))
    }

    /// The body as a document.
    ///
    /// # Errors
    /// [`ClientError::Malformed`].
    pub fn cbor<D: Document>(&self) -> Result<D, ClientError> {
        D::from_cbor(&self.bytes).map_err(|error| self.malformed(error))
    }

    /// The error of an answer that has a fault.
    pub fn malformed(&self, why: impl fmt::Display) -> ClientError {
        ClientError::Malformed {
            url: self.url.clone(),
            why: why.to_string(),
        }
    }
}
