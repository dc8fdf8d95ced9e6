//! A request in the making, its attempts, and its answer.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use adit_protocol::Document;
use adit_protocol::rand_core::{OsRng, RngCore as _};
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::{Client, ClientError, error, transfer};
use crate::http::extract::CONTENT_TYPE_CBOR;
use crate::problem::{PROBLEM_BYTES_MAX, RemoteProblem};
use crate::signed::{self, Target};
use crate::trace::TraceContext;

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
    pub(super) url: Url,
    headers: HeaderMap,
    body: CallBody,
    signed: bool,
    idempotent: bool,
    pub(super) timeout_ms: u64,
    pub(super) answer_bytes_max: usize,
    /// A status that is an answer although it says that the request failed.
    also: Option<StatusCode>,
    /// Whether an answer that points elsewhere is one.
    redirected: bool,
}

impl Call {
    pub(super) fn new(client: &Client, method: Method, path: &str) -> Call {
        let config = &client.0.config;
        let mut url = config.base.clone();
        url.set_query(None);
        url.set_fragment(None);
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{path}"));
        Call {
            idempotent: method.is_idempotent(),
            method,
            url,
            headers: HeaderMap::new(),
            body: CallBody::None,
            signed: false,
            timeout_ms: config.timeout_ms,
            answer_bytes_max: config.answer_bytes_max,
            client: client.clone(),
            also: None,
            redirected: false,
        }
    }

    /// A parameter behind the `?`.
    pub fn query(mut self, name: &str, value: impl fmt::Display) -> Call {
        self.url
            .query_pairs_mut()
            .append_pair(name, &value.to_string());
        self
    }

    /// All that is behind the `?`, as it was written: for addresses that another side has signed.
    pub fn exact_query(mut self, query: Option<&str>) -> Call {
        self.url.set_query(query);
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

    /// Takes an answer of this status for one, and not for a refusal: for interfaces whose answers
    /// say something with it, as a witness's 409.
    pub fn also(mut self, status: StatusCode) -> Call {
        self.also = Some(status);
        self
    }

    /// Takes an answer that points elsewhere for one. It is not followed: who asks looks at its `location`,
    /// which may be anywhere.
    pub fn redirected(mut self) -> Call {
        self.redirected = true;
        self
    }

    /// Sends the request, repeatedly if need be, and reads the answer.
    ///
    /// # Errors
    /// [`ClientError`] of the last attempt.
    pub async fn send(self) -> Result<Answer, ClientError> {
        let mut failed = 0;
        loop {
            match self.once().await {
                Ok(answer) => return Ok(answer),
                Err(error) => self.before_repeating(error, &mut failed).await?,
            }
        }
    }

    /// Counts a failed attempt and waits until the next one is due.
    ///
    /// # Errors
    /// The same error, if there is to be no other attempt.
    pub(super) async fn before_repeating(
        &self,
        error: ClientError,
        failed: &mut u32,
    ) -> Result<(), ClientError> {
        let config = &self.client.0.config;
        *failed += 1;
        let may_repeat = self.idempotent || error.had_no_effect();
        if !error.retryable() || !may_repeat || *failed >= config.retry.attempts_max {
            return Err(error);
        }
        let wait = config
            .retry
            .wait(*failed, error.retry_after_s(), OsRng.next_u64());
        tracing::debug!(url = %error::shown(&self.url), %error, ?wait, "the request is sent again");
        config.sleeper.sleep(wait).await;
        Ok(())
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

    pub(super) async fn within<T>(
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
    pub(super) async fn respond(&self, extra: HeaderMap) -> Result<reqwest::Response, ClientError> {
        let request = self.request(extra).await?;
        let response = self
            .client
            .0
            .http
            .execute(request)
            .await
            .map_err(|error| error::classify(&self.url, self.timeout_ms, error))?;
        let status = response.status();
        let elsewhere = status.is_redirection() && status != StatusCode::NOT_MODIFIED;
        if elsewhere && !self.redirected {
            return Err(ClientError::Malformed {
                url: error::shown(&self.url),
                why: format!("it points elsewhere (HTTP status {})", status.as_u16()),
            });
        }
        let refused = status.is_client_error() || status.is_server_error();
        if !refused || self.also == Some(status) {
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
        if let Some(context) = TraceContext::current() {
            context.next().inject(headers);
        }
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
