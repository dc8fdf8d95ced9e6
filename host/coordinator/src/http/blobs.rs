//! `/v1/blobs`: blobs by their hash.
//!
//! Reading is open to whoever knows the hash. A task spec is named by the task's public id, so its
//! disclosure decides who reads it: see `spec_for` in `tasks`.

use adit_net::Problem;
use adit_net::http::extract::{CONTENT_TYPE_CBOR, Json, Path, body_problem, parse_json, read_body};
use adit_net::http::files::{About, bytes, file};
use adit_net::http::server::Allowance;
use adit_protocol::network::exchange::INLINE_BYTES_MAX;
use adit_protocol::{Code, Hash};
use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequest as _, FromRequestParts as _, Request, State};
use axum::response::Response;
use futures_util::StreamExt as _;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
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
/// Bytes that are handed to the disk at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// How long the reader itself may keep what not everybody may read.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// Hashes of blobs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HashList {
    /// The hashes, at most 1024.
    #[schema(max_items = 1024)]
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
    security((), ("token" = []), ("node_signature" = [])),
    responses((status = 200, description = "the bytes", content_type = "application/octet-stream"),
        (status = 206, description = "a part of them", content_type = "application/octet-stream"),
        (status = 304, description = "they are those whose hash is in `if-none-match`"),
        (status = 403, description = "it is the spec of another client's task"),
        (status = 404, description = "it is not here"),
        (status = 416, description = "the range begins behind the end")))]
pub async fn read(
    State(app): State<App>,
    Path(HashText(hash)): Path<HashText>,
    reader: Reader,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers();
    let about = About::immutable("application/octet-stream", hash.to_string());
    // Before all else, since its hash is public.
    if let Some(spec) = spec_for(&app, hash, &reader).await? {
        let mut response = bytes(headers, spec.into(), &about);
        response.headers_mut().insert(CACHE_CONTROL, PRIVATE);
        return Ok(response);
    }
    match app.blobs.open(hash).await {
        Ok(Found::Small(blob)) => Ok(bytes(headers, blob.into(), &about)),
        Ok(Found::File(blob, _)) => file(headers, tokio::fs::File::from_std(blob), &about).await,
        Err(problem) if problem.code == Code::UnknownBlob => {
            match app.handle.document(hash).await? {
                Some(document) => Ok(bytes(headers, document.bytes.into(), &about)),
                None => Err(problem),
            }
        }
        Err(problem) => Err(problem),
    }
}

/// Stores a blob. What arrives must have the hash in the path; otherwise nothing is kept.
#[utoipa::path(put, path = "/v1/blobs/{hash}", tag = "blobs",
    params(("hash" = HashText, Path, description = "its hash")),
    request_body(content_type = "application/octet-stream"),
    security(("token" = []), ("node_signature" = [])),
    responses((status = 201, description = "it was stored", body = Stored),
        (status = 200, description = "it was here already", body = Stored),
        (status = 400, description = "the bytes have another hash"),
        (status = 403, description = "the node is not registered"),
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
    security(("token" = []), ("node_signature" = [])),
    responses((status = 200, body = MissingList),
        (status = 403, description = "the node is not registered")))]
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
    security((), ("token" = []), ("node_signature" = [])),
    responses((status = 200, description = "the blobs", content_type = "application/cbor"),
        (status = 403, description = "the node is not registered"),
        (status = 413, description = "the first of them has more than 32 MiB"),
        (status = 503, description = "as many answers are on their way as are held at once")))]
pub async fn batch(
    State(app): State<App>,
    reader: Reader,
    allowance: Option<Extension<Allowance>>,
    Json(list): Json<HashList>,
) -> Result<Response, Problem> {
    let hashes = bounded(list, HASHES_MAX)?;
    // Anyone may ask, the same hash counts as often as it is asked for, and who asks may read slowly.
    let mut memory = allowance.map(|Extension(allowance)| allowance.begin());
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
        let len = bytes.as_ref().map_or(0, Vec::len);
        if let Some(memory) = &mut memory {
            memory.grow(len)?;
        }
        total = total.saturating_add(len);
        found.push((hash, bytes));
    }
    let mut encoder = minicbor::Encoder::new(Vec::with_capacity(total + found.len() * 48));
    encode(&mut encoder, found).map_err(Problem::internal)?;
    let answer = encoder.into_writer();
    let mut response = Response::new(match memory {
        Some(memory) => Body::from(memory.hold(answer)),
        None => Body::from(answer),
    });
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
    found: Vec<(Hash, Option<Vec<u8>>)>,
) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
    encoder.array(found.len() as u64)?;
    for (hash, bytes) in found {
        encoder.array(2)?.bytes(hash.as_bytes())?;
        match bytes {
            Some(bytes) => encoder.bytes(&bytes)?,
            None => encoder.null()?,
        };
    }
    Ok(())
}

/// A public document of this coordinator: a roster, a membership, an environment.
#[utoipa::path(get, path = "/v1/documents/{hash}", tag = "blobs",
    params(("hash" = HashText, Path, description = "its hash")),
    responses((status = 200, description = "the document", content_type = "application/cbor"),
        (status = 206, description = "a part of it", content_type = "application/cbor"),
        (status = 304, description = "it is that whose hash is in `if-none-match`"),
        (status = 404, description = "there is no such document"),
        (status = 416, description = "the range begins behind the end")))]
pub async fn document(
    State(app): State<App>,
    Path(HashText(hash)): Path<HashText>,
    request: Request,
) -> Result<Response, Problem> {
    let document = app.handle.document(hash).await?.ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no document {hash}"))
            .hint("rosters, memberships and environments are documents; all else is a blob")
    })?;
    let about = About::immutable(CONTENT_TYPE_CBOR, hash.to_string());
    Ok(bytes(request.headers(), document.bytes.into(), &about))
}
