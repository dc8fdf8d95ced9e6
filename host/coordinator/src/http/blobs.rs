//! `/v1/blobs`: blobs by their hash.
//!
//! Reading is open to whoever knows the hash. A task spec is named by the task's public id, so its
//! disclosure decides who reads it: see [`super::tasks::spec_for`].

use std::ops::Range;

use adit_net::Problem;
use adit_net::http::extract::{CONTENT_TYPE_CBOR, Json, Path, body_problem, parse_json, read_body};
use adit_protocol::network::exchange::INLINE_BYTES_MAX;
use adit_protocol::{Code, Hash};
use axum::body::Body;
use axum::extract::{FromRequest as _, FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;
use utoipa::ToSchema;

use super::app::App;
use super::tasks::spec_for;
use super::who::{Caller, FromNode, Reader, Uploader};
use super::wire::HashText;
use crate::blobs::{Found, blocking, mismatch, too_large, unknown};

/// Most hashes of one request.
const HASHES_MAX: usize = 1024;
/// Most bytes of the blobs in one answer.
const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes that are handed to the disk, or taken from it, at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// What never changes may be kept for ever.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// The same for what not everybody may read.
const IMMUTABLE_PRIVATE: HeaderValue =
    HeaderValue::from_static("private, max-age=31536000, immutable");

/// Hashes of blobs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HashList {
    /// The hashes, at most 1024.
    pub hashes: Vec<HashText>,
}

/// Those of the hashes whose blobs are not here.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MissingList {
    /// The hashes.
    pub missing: Vec<HashText>,
}

/// A blob that is here now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Stored {
    /// Its hash.
    pub hash: HashText,
}

/// Reads a blob, or a part of it.
#[utoipa::path(get, path = "/v1/blobs/{hash}", tag = "blobs",
    params(("hash" = HashText, Path, description = "its hash"),
        ("range" = Option<String>, Header, description = "one range of bytes, as `bytes=0-99`")),
    responses((status = 200, description = "the bytes", content_type = "application/octet-stream"),
        (status = 206, description = "a part of them", content_type = "application/octet-stream"),
        (status = 404, description = "it is not here")))]
pub async fn read(
    State(app): State<App>,
    Path(HashText(hash)): Path<HashText>,
    reader: Reader,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let etag = format!("\"{hash}\"");
    // Before all else, since its hash is public.
    if let Some(bytes) = spec_for(&app, hash, &reader).await? {
        let response = whole_or_part(headers, &etag, Found::Small(bytes), IMMUTABLE_PRIVATE);
        return response.await;
    }
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == etag.as_bytes())
        && app.blobs.missing(vec![hash]).await?.is_empty()
    {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response());
    }
    let offset = wanted(headers).map_or(0, |(from, _)| from.unwrap_or(0));
    let found = match app.blobs.open(hash, offset).await {
        Err(problem) if problem.code == Code::UnknownBlob => {
            match app.handle.document(hash).await? {
                Some(document) => Found::Small(document.bytes),
                None => return Err(problem),
            }
        }
        found => found?,
    };
    whole_or_part(headers, &etag, found, IMMUTABLE).await
}

/// The part that a request wants: first byte and last, or the last bytes only. What is not a single
/// range in bytes is passed over, as RFC 9110 has it.
fn wanted(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let text = headers.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?;
    let (from, to) = text.split_once('-')?;
    let number = |text: &str| match text.is_empty() {
        true => Some(None),
        false => text
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
            .map(Some),
    };
    match (number(from)?, number(to)?) {
        (None, None) => None,
        (Some(from), Some(to)) if from > to => None,
        wanted => Some(wanted),
    }
}

/// The bytes that a wanted part is, or `None` if there are none.
fn part(wanted: (Option<u64>, Option<u64>), len: u64) -> Option<Range<u64>> {
    let range = match wanted {
        (Some(from), to) => from..to.map_or(len, |to| to.saturating_add(1).min(len)),
        (None, Some(last)) => len.saturating_sub(last)..len,
        (None, None) => 0..len,
    };
    (range.start < range.end).then_some(range)
}

async fn whole_or_part(
    headers: &HeaderMap,
    etag: &str,
    found: Found,
    cache: HeaderValue,
) -> Result<Response, Problem> {
    let len = match &found {
        Found::Small(bytes) => bytes.len() as u64,
        Found::File(_, len) => *len,
    };
    let (status, range) = match wanted(headers) {
        None => (StatusCode::OK, 0..len),
        Some(wanted) => match part(wanted, len) {
            Some(range) => (StatusCode::PARTIAL_CONTENT, range),
            None => return Ok(not_satisfiable(len)),
        },
    };
    let count = range.end - range.start;
    let body = match found {
        Found::Small(bytes) => {
            let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            let bytes = bytes
                .get(at(range.start)..at(range.end))
                .unwrap_or_default();
            Body::from(bytes.to_vec())
        }
        Found::File(file, _) => {
            let mut file = file;
            // The last bytes are found only now that the length is known.
            let file = blocking(move || {
                std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(range.start)).map(|_| file)
            })
            .await?
            .map_err(Problem::internal)?;
            let reader = tokio::fs::File::from_std(file).take(count);
            Body::from_stream(ReaderStream::with_capacity(reader, CHUNK_BYTES))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let out = response.headers_mut();
    out.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    out.insert(CONTENT_LENGTH, HeaderValue::from(count));
    out.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    out.insert(CACHE_CONTROL, cache);
    if let Ok(etag) = HeaderValue::from_str(etag) {
        out.insert(ETAG, etag);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let last = range.end.saturating_sub(1);
        if let Ok(value) = HeaderValue::try_from(format!("bytes {}-{last}/{len}", range.start)) {
            out.insert(CONTENT_RANGE, value);
        }
    }
    Ok(response)
}

fn not_satisfiable(len: u64) -> Response {
    let problem = Problem::new(
        Code::InvalidRequest,
        format!("the range is beyond the blob's {len} bytes"),
    )
    .hint("ask for bytes that there are");
    let mut response = problem.into_response();
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{len}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

/// Stores a blob. What arrives must have the hash in the path; otherwise nothing is kept.
#[utoipa::path(put, path = "/v1/blobs/{hash}", tag = "blobs",
    params(("hash" = HashText, Path, description = "its hash")),
    request_body(content_type = "application/octet-stream"),
    security(("token" = [])),
    responses((status = 201, description = "it was stored", body = Stored),
        (status = 200, description = "it was here already", body = Stored),
        (status = 400, description = "the bytes have another hash"),
        (status = 413, description = "it is too large"),
        (status = 429, description = "the client has uploaded as much as it may")))]
pub async fn write(
    State(app): State<App>,
    Path(HashText(hash)): Path<HashText>,
    uploader: Uploader,
    request: Request,
) -> Result<(StatusCode, Json<Stored>), Problem> {
    let stored = Json(Stored {
        hash: HashText(hash),
    });
    if app.blobs.missing(vec![hash]).await?.is_empty() {
        return Ok((StatusCode::OK, stored));
    }
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    let max = app.bounds.blob_bytes_max;
    match announced {
        Some(len) if len > max => return Err(too_large(len, max)),
        Some(len) if len > INLINE_BYTES_MAX as u64 => {
            take(&uploader, len)?;
            write_file(&app, hash, len, request.into_body()).await?;
        }
        // `read_body` bounds what is announced as short, or not announced at all.
        _ => {
            let bytes = read_body(request)
                .await
                .map_err(|problem| match problem.code {
                    Code::TooLarge if announced.is_none() => Problem::new(
                        Code::InvalidRequest,
                        "a blob of more than 64 KiB came without the header `content-length`",
                    )
                    .hint("announce its length, so that room can be made for it"),
                    _ => problem,
                })?;
            take(&uploader, bytes.len() as u64)?;
            app.blobs.put_small(hash, bytes.to_vec()).await?;
        }
    }
    Ok((StatusCode::CREATED, stored))
}

fn take(uploader: &Uploader, bytes: u64) -> Result<(), Problem> {
    let client = &uploader.client;
    client.take_bytes(bytes).map_err(|wait_s| {
        Problem::new(
            Code::QuotaExceeded,
            format!(
                "{bytes} bytes more would exceed the {} that may be uploaded in a day",
                client.quota.blob_bytes_per_day
            ),
        )
        .hint("wait, or ask the operator for more")
        .retry_after_s(wait_s)
    })
}

/// Streams a body into a file. Each chunk is hashed and written on a thread that may wait.
async fn write_file(app: &App, hash: Hash, len: u64, body: Body) -> Result<(), Problem> {
    let files = app.blobs.files().clone();
    let Some(room) = files.reserve(len) else {
        return Err(Problem::new(
            Code::DiskFull,
            format!(
                "the coordinator's blobs have {} bytes, and at most {} are kept",
                files.used_bytes(),
                files.quota_bytes()
            ),
        )
        .hint("wait until old blobs are removed, or ask the operator for more room"));
    };
    let store = files.store().clone();
    let mut writer = blocking(move || store.writer(&hash, len))
        .await?
        .map_err(mismatch)?;
    let mut chunks = body.into_data_stream();
    let mut waiting: Vec<u8> = Vec::with_capacity(CHUNK_BYTES);
    loop {
        let chunk = chunks.next().await;
        let ended = chunk.is_none();
        if let Some(chunk) = chunk {
            waiting.extend_from_slice(&chunk.map_err(|error| body_problem(&error))?);
        }
        if waiting.len() >= CHUNK_BYTES || (ended && !waiting.is_empty()) {
            let bytes = std::mem::replace(&mut waiting, Vec::with_capacity(CHUNK_BYTES));
            writer = blocking(move || writer.write(&bytes).map(|()| writer))
                .await?
                .map_err(mismatch)?;
        }
        if ended {
            break;
        }
    }
    let written = blocking(move || writer.finish()).await?.map_err(mismatch)?;
    room.keep(&hash, written);
    Ok(())
}

fn bounded(list: HashList, max: usize) -> Result<Vec<Hash>, Problem> {
    match list.hashes.len() <= max {
        true => Ok(list.hashes.into_iter().map(|hash| hash.0).collect()),
        false => Err(Problem::new(
            Code::InvalidRequest,
            format!(
                "there are {} hashes, at most {max} are taken",
                list.hashes.len()
            ),
        )
        .hint("ask in several requests")),
    }
}

/// Tells which blobs are not here, before they are uploaded. Those that are here are kept longer.
#[utoipa::path(post, path = "/v1/blobs/missing", tag = "blobs", request_body = HashList,
    security(("token" = [])), responses((status = 200, body = MissingList)))]
pub async fn missing(
    State(app): State<App>,
    request: Request,
) -> Result<Json<MissingList>, Problem> {
    let bytes = authorized_body(&app, request).await?;
    let hashes = bounded(parse_json(&bytes)?, HASHES_MAX)?;
    let missing = app.blobs.missing(hashes).await?;
    Ok(Json(MissingList {
        missing: missing.into_iter().map(HashText).collect(),
    }))
}

/// The body of a client's request, or of a miner's whose signature covers it.
async fn authorized_body(app: &App, request: Request) -> Result<bytes::Bytes, Problem> {
    if request
        .headers()
        .contains_key(adit_net::signed::SIGNATURE_INPUT)
    {
        return Ok(FromNode::from_request(request, app).await?.bytes);
    }
    let (mut parts, body) = request.into_parts();
    Caller::from_request_parts(&mut parts, app).await?;
    read_body(Request::from_parts(parts, body)).await
}

/// Reads many blobs at once, for auditors: a CBOR array of `[hash, bytes]`, or `[hash, null]` for
/// one that is not here, in the order of the request. After 32 MiB the array ends early; what is
/// left out is to be asked for again.
#[utoipa::path(post, path = "/v1/blobs/batch", tag = "blobs", request_body = HashList,
    responses((status = 200, description = "the blobs", content_type = "application/cbor")))]
pub async fn batch(
    State(app): State<App>,
    reader: Reader,
    Json(list): Json<HashList>,
) -> Result<Response, Problem> {
    let hashes = bounded(list, HASHES_MAX)?;
    let mut found: Vec<(Hash, Option<Vec<u8>>)> = Vec::with_capacity(hashes.len());
    let mut total = 0usize;
    for hash in hashes {
        let left = BATCH_BYTES_MAX.saturating_sub(total);
        let bytes = match batch_one(&app, hash, &reader, left as u64).await {
            Ok(bytes) => Some(bytes),
            // The first one is answered whatever it takes, or it could never be had.
            Err(problem) if problem.code == Code::BlobTooLarge && !found.is_empty() => break,
            Err(problem) if problem.code == Code::BlobTooLarge => {
                return Err(problem.hint("read it by itself with GET /v1/blobs/HASH"));
            }
            Err(problem) if problem.code == Code::UnknownBlob => None,
            Err(problem) => return Err(problem),
        };
        total = total.saturating_add(bytes.as_ref().map_or(0, Vec::len));
        found.push((hash, bytes));
    }
    let mut encoder = minicbor::Encoder::new(Vec::with_capacity(total + found.len() * 48));
    encode(&mut encoder, &found).map_err(Problem::internal)?;
    let mut response = Response::new(Body::from(encoder.into_writer()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_CBOR));
    Ok(response)
}

async fn batch_one(app: &App, hash: Hash, reader: &Reader, left: u64) -> Result<Vec<u8>, Problem> {
    match spec_for(app, hash, reader).await {
        Ok(Some(bytes)) => return Ok(bytes),
        Ok(None) => {}
        // Who may not read it is told no more of it than of what is not here.
        Err(problem) if problem.status().is_client_error() => return Err(unknown(&hash)),
        Err(problem) => return Err(problem),
    }
    match app.blobs.get(hash, left).await {
        Err(problem) if problem.code == Code::UnknownBlob => {
            let document = app.handle.document(hash).await?;
            document.map(|found| found.bytes).ok_or(problem)
        }
        found => found,
    }
}

fn encode(
    encoder: &mut minicbor::Encoder<Vec<u8>>,
    found: &[(Hash, Option<Vec<u8>>)],
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    encoder.array(found.len() as u64)?;
    for (hash, bytes) in found {
        encoder.array(2)?.bytes(hash.as_bytes())?;
        match bytes {
            Some(bytes) => encoder.bytes(bytes)?,
            None => encoder.null()?,
        };
    }
    Ok(())
}

/// A public document of this coordinator: a roster, a membership, an environment.
#[utoipa::path(get, path = "/v1/documents/{hash}", tag = "blobs",
    params(("hash" = HashText, Path, description = "its hash")),
    responses((status = 200, description = "the document", content_type = "application/cbor"),
        (status = 404, description = "there is no such document")))]
pub async fn document(
    State(app): State<App>,
    Path(HashText(hash)): Path<HashText>,
) -> Result<Response, Problem> {
    let document = app.handle.document(hash).await?.ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no document {hash}"))
            .hint("rosters, memberships and environments are documents; all else is a blob")
    })?;
    let mut response = Response::new(Body::from(document.bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_CBOR));
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_str(text).unwrap());
            wanted(&headers).map(|wanted| part(wanted, 10))
        };
        assert_eq!(read("bytes=0-3"), Some(Some(0..4)));
        assert_eq!(read("bytes=4-"), Some(Some(4..10)));
        assert_eq!(read("bytes=4-99"), Some(Some(4..10)));
        assert_eq!(read("bytes=-3"), Some(Some(7..10)));
        assert_eq!(read("bytes=-99"), Some(Some(0..10)));
        assert_eq!(read("bytes=0-18446744073709551615"), Some(Some(0..10)));
        // There is nothing there.
        for none in ["bytes=10-", "bytes=99-100", "bytes=-0"] {
            assert_eq!(read(none), Some(None), "{none}");
        }
        // Passed over.
        for other in [
            "bytes=3-1",
            "bytes=-",
            "bytes=1-2,4-5",
            "lines=1-2",
            "bytes=+1-2",
            "bytes=a",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
