//! Reads requests: bounded bodies and typed parts, with problems that name what is wrong.
//!
//! axum's own extractors answer with plain text, so these stand in for them.

use std::error::Error as _;

use adit_protocol::{Code, Document};
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as AxumJson, Router};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::server::{Allowance, BodyError};
use crate::problem::Problem;

/// The media type of CBOR documents.
pub const CONTENT_TYPE_CBOR: &str = "application/cbor";

/// The longest body of a route that says nothing else, in bytes.
pub const BODY_BYTES_MAX_DEFAULT: usize = 64 * 1024;

/// The longest body that a route takes, in bytes. Routes get it by [`body_limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(pub usize);

/// Bounds the bodies of all routes that `router` has so far; it must have one. Where limits are
/// nested, the one nearest to the route counts.
pub fn body_limit<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    bytes_max: usize,
) -> Router<S> {
    router.route_layer(Extension(BodyLimit(bytes_max)))
}

fn limit_of(request: &Request) -> usize {
    request
        .extensions()
        .get::<BodyLimit>()
        .map_or(BODY_BYTES_MAX_DEFAULT, |limit| limit.0)
}

/// The length of the body as it is announced, if it is. For handlers that stream, to refuse what
/// is too long before it is sent; [`read_body`] does the same.
///
/// # Errors
/// `too-large` if it is above `bytes_max`.
pub fn announced_length(headers: &HeaderMap, bytes_max: u64) -> Result<Option<u64>, Problem> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    match announced {
        Some(length) if length > bytes_max => Err(too_large(Some(length), bytes_max)),
        announced => Ok(announced),
    }
}

fn too_large(length: Option<u64>, bytes_max: u64) -> Problem {
    let what = match length {
        Some(length) => format!("the body has {length} bytes"),
        None => "the body is too long".to_owned(),
    };
    Problem::new(
        Code::TooLarge,
        format!("{what}, at most {bytes_max} are taken here; hint: send less at once"),
    )
}

/// Reads a request's body, up to the [`BodyLimit`] of its route.
///
/// # Errors
/// `too-large`, `timeout`, `overloaded` or `invalid-request`, ready to be answered.
pub async fn read_body(request: Request) -> Result<Bytes, Problem> {
    let bytes_max = limit_of(&request);
    announced_length(request.headers(), bytes_max as u64)?;
    let allowance = request.extensions().get::<Allowance>().cloned();
    let mut memory = allowance.map(|allowance| allowance.begin());
    let mut body = Limited::new(request.into_body(), bytes_max);
    let mut parts = Parted::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => too_large(None, bytes_max as u64),
            false => body_problem(error.as_ref()),
        })?;
        // Trailers say nothing here.
        let Ok(part) = frame.into_data() else {
            continue;
        };
        if let Some(memory) = &mut memory {
            memory.grow(part.len())?;
        }
        parts.push(part);
    }
    let bytes = parts.whole();
    Ok(match memory {
        Some(memory) => memory.hold(bytes),
        None => bytes,
    })
}

/// A body in parts, most of which have one.
#[derive(Default)]
struct Parted {
    first: Bytes,
    all: BytesMut,
}

impl Parted {
    fn push(&mut self, part: Bytes) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = part;
            return;
        }
        if !self.first.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&part);
    }

    fn whole(self) -> Bytes {
        match self.all.is_empty() {
            true => self.first,
            false => self.all.freeze(),
        }
    }
}

/// The problem of a body that did not arrive whole. For handlers that stream.
pub fn body_problem(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<BodyError>() {
            Some(slow @ BodyError::TooSlow { .. }) => return Problem::new(Code::Timeout, slow),
            Some(broken) => return Problem::new(Code::InvalidRequest, broken),
            None => cause = error.source(),
        }
    }
    Problem::new(
        Code::InvalidRequest,
        format!("the body broke off: {error}; hint: send it again"),
    )
}

fn essence(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default();
    Some(essence.trim().to_ascii_lowercase())
}

/// A JSON value: as the argument of a handler the request's body, else the body of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Json<T>, Problem> {
        let is_json = essence(request.headers()).is_some_and(|essence| {
            essence == "application/json"
                || essence.starts_with("application/") && essence.ends_with("+json")
        });
        if !is_json {
            return Err(Problem::new(
                Code::InvalidRequest,
                "the header `content-type` is not application/json; hint: set it",
            ));
        }
        parse_json(&read_body(request).await?).map(Json)
    }
}

/// Reads JSON from bytes, with the field's path in the message.
///
/// # Errors
/// `invalid-request`.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    match AxumJson::<T>::from_bytes(bytes) {
        Ok(AxumJson(value)) => Ok(value),
        Err(rejection) => {
            // The source is serde's error with the path of the field in front.
            let message = rejection
                .source()
                .map_or_else(|| rejection.body_text(), ToString::to_string);
            Err(Problem::new(
                Code::InvalidRequest,
                format!("the body is not what is expected: {message}; hint: correct that field"),
            ))
        }
    }
}

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        AxumJson(self.0).into_response()
    }
}

/// A CBOR document of the protocol: a request's body, or that of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cbor<D>(pub D);

impl<D: Document, S: Send + Sync> FromRequest<S> for Cbor<D> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Cbor<D>, Problem> {
        if essence(request.headers()).as_deref() != Some(CONTENT_TYPE_CBOR) {
            return Err(Problem::new(
                Code::InvalidRequest,
                "the header `content-type` is not application/cbor; hint: set it",
            ));
        }
        parse_cbor(&read_body(request).await?).map(Cbor)
    }
}

/// Reads a document from bytes.
///
/// # Errors
/// `bad-encoding`, with the first rule that is broken.
pub fn parse_cbor<D: Document>(bytes: &[u8]) -> Result<D, Problem> {
    D::from_cbor(bytes).map_err(|error| Problem::new(Code::BadEncoding, error))
}

impl<D: Document> IntoResponse for Cbor<D> {
    fn into_response(self) -> Response {
        let mut response = Body::from(self.0.to_cbor()).into_response();
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_CBOR));
        response
    }
}

/// The body as it came.
#[derive(Clone, Debug, Default)]
pub struct Raw(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Raw, Problem> {
        read_body(request).await.map(Raw)
    }
}

/// The parameters behind the `?`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, Problem> {
        axum::extract::Query::<T>::from_request_parts(parts, state)
            .await
            .map(|query| Query(query.0))
            .map_err(|rejection| {
                let message = rejection
                    .source()
                    .map_or_else(|| rejection.body_text(), ToString::to_string);
                Problem::new(
                    Code::InvalidRequest,
                    format!("a parameter after `?` is not valid: {message}; hint: correct it"),
                )
            })
    }
}

/// The variable parts of the path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|path| Path(path.0))
            .map_err(|rejection| {
                Problem::new(
                    Code::InvalidRequest,
                    format!(
                        "a part of the path is not valid: {}; hint: correct it",
                        rejection.body_text()
                    ),
                )
            })
    }
}
