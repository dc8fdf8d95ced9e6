//! Settlement components by their hashes: what the rules name, so that anyone can settle an epoch again.
//!
//! The registry has no other blobs. Its operator adds these; nobody uploads any.

use adit_net::http::extract::Path;
use adit_net::http::files::{About, file};
use adit_net::{Problem, blocking};
use adit_protocol::{Code, Hash};
use adit_runtime::store::StoreError;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;

use super::App;

/// A settlement component, or a part of it.
#[utoipa::path(get, path = "/v1/blobs/{hash}", operation_id = "blob", tag = "rewards",
    params(("hash" = String, Path, pattern = "^blake3:[0-9a-f]{64}$", description = "its hash, `blake3:` and 64 digits"),
        ("range" = Option<String>, Header, description = "one range of bytes, as `bytes=0-99`")),
    responses((status = 200, description = "the bytes", content_type = "application/octet-stream"),
        (status = 206, description = "a part of them", content_type = "application/octet-stream"),
        (status = 304, description = "they are those whose hash is in `if-none-match`"),
        (status = 404, description = "it is not here"),
        (status = 416, description = "the range begins behind the end")))]
pub(super) async fn read(
    State(app): State<App>,
    Path(text): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let hash: Hash = text
        .parse()
        .map_err(|error| Problem::new(Code::InvalidRequest, error))?;
    let components = app.0.components.clone();
    let opened = blocking(move || components.open_blob(&hash)).await;
    let (blob, _) = match opened.map_err(Problem::internal)? {
        Ok(opened) => opened,
        Err(StoreError::Missing { .. }) => {
            return Err(Problem::new(Code::UnknownBlob, format!("{hash} is not here"))
                .hint("a registry has the settlement components that its operator has added, and no other blobs"));
        }
        Err(error) => return Err(Problem::internal(error)),
    };
    let about = About::immutable("application/octet-stream", hash.to_string());
    // Whoever reads it compares it with its hash.
    file(&headers, tokio::fs::File::from_std(blob), &about).await
}
