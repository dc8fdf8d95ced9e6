//! Serves a log's folder: checkpoints, which change, and tiles, which never do.

use std::path::PathBuf;
use std::sync::Arc;

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::log::note;
use adit_protocol::log::tile::Tile;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::edge::bytes_max;
use super::{CHECKPOINT, COSIGNED};
use crate::problem::Problem;

/// What lies at the path of a tile never changes.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// A cached checkpoint is asked for again each time.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// Serves the log in a folder: `/checkpoint`, `/cosigned` (the newest checkpoint with cosignatures)
/// and the tiles under `/tile/`. Nothing else of the folder can be reached.
pub fn router(folder: PathBuf) -> Router {
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/cosigned", get(cosigned))
        .route("/tile/{*path}", get(tile))
        .with_state(Arc::new(folder))
}

/// Where the folder of a log with a name is; `None` for what is no name of one.
type Folders = Arc<dyn Fn(&str) -> Option<PathBuf> + Send + Sync>;

/// Serves many logs as [`router`] does one, each below its name. `folder` says where one is, and whether
/// a name is one at all: it comes from whoever asks.
pub fn routers(folder: impl Fn(&str) -> Option<PathBuf> + Send + Sync + 'static) -> Router {
    let folders: Folders = Arc::new(folder);
    Router::new()
        .route("/{log}/checkpoint", get(checkpoint_of))
        .route("/{log}/cosigned", get(cosigned_of))
        .route("/{log}/tile/{*path}", get(tile_of))
        .with_state(folders)
}

fn named(folders: &Folders, log: &str) -> Result<PathBuf, Problem> {
    folders(log).ok_or_else(|| Problem::new(Code::NotFound, "there is no log of that name"))
}

async fn checkpoint_of(
    State(folders): State<Folders>,
    Path(log): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    note(&named(&folders, &log)?, headers, CHECKPOINT).await
}

async fn cosigned_of(
    State(folders): State<Folders>,
    Path(log): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    note(&named(&folders, &log)?, headers, COSIGNED).await
}

async fn tile_of(
    State(folders): State<Folders>,
    Path((log, _)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let path = uri.path().trim_start_matches('/');
    let (_, tile) = path.split_once('/').unwrap_or_default();
    tile_at(&named(&folders, &log)?, tile).await
}

async fn checkpoint(
    State(folder): State<Arc<PathBuf>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    note(&folder, headers, CHECKPOINT).await
}

async fn cosigned(
    State(folder): State<Arc<PathBuf>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    note(&folder, headers, COSIGNED).await
}

async fn note(
    folder: &std::path::Path,
    headers: HeaderMap,
    name: &str,
) -> Result<Response, Problem> {
    let file = open(folder.join(name)).await?.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            format!("the log has no {name} yet; hint: ask again in a moment"),
        )
    })?;
    let mut bytes = Vec::new();
    let limit = note::MAX_LEN as u64;
    file.take(limit)
        .read_to_end(&mut bytes)
        .await
        .map_err(Problem::internal)?;
    let etag = format!("\"{}\"", Hash::of(&bytes).to_hex());
    let matches = headers.get_all(IF_NONE_MATCH).iter().any(|value| {
        let tags = value.to_str().unwrap_or_default();
        let tag = |tag: &str| tag.trim().trim_start_matches("W/") == etag;
        tags.split(',').any(tag)
    });
    let etag = HeaderValue::try_from(etag).map_err(Problem::internal)?;
    let headers = [(CACHE_CONTROL, NO_CACHE), (ETAG, etag)];
    if matches {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok((headers, [(CONTENT_TYPE, text)], bytes).into_response())
}

async fn tile(State(folder): State<Arc<PathBuf>>, uri: Uri) -> Result<Response, Problem> {
    tile_at(&folder, uri.path().strip_prefix('/').unwrap_or_default()).await
}

/// `path` is as it was sent: a tile has one name, so an escaped form of it is none.
async fn tile_at(folder: &std::path::Path, path: &str) -> Result<Response, Problem> {
    let tile: Tile = path
        .parse()
        .map_err(|error| Problem::new(Code::NotFound, error))?;
    let missing = || {
        Problem::new(
            Code::NotFound,
            format!(
                "the log does not have {tile}; hint: a partial tile is gone once the full one is there; otherwise the log is not that large"
            ),
        )
    };
    let file = open(folder.join(tile.to_string()))
        .await?
        .ok_or_else(missing)?;
    let length = file.metadata().await.map_err(Problem::internal)?.len();
    if length > bytes_max(tile.level()) as u64 {
        return Err(Problem::internal(format!("{tile} has {length} bytes")));
    }
    let headers = [
        (CACHE_CONTROL, IMMUTABLE),
        (
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (CONTENT_LENGTH, HeaderValue::from(length)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    let body = Body::from_stream(ReaderStream::with_capacity(file, 64 * 1024));
    Ok((headers, body).into_response())
}

/// A file; `None` if there is none.
async fn open(path: PathBuf) -> Result<Option<tokio::fs::File>, Problem> {
    match tokio::fs::File::open(&path).await {
        Ok(file) => match file.metadata().await.is_ok_and(|data| data.is_file()) {
            true => Ok(Some(file)),
            false => Ok(None),
        },
        Err(error) => match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(Problem::internal(format!("{}: {error}", path.display()))),
        },
    }
}
