//! `/v1/receipts`: receipts of the log by their ids.

use adit_net::Problem;
use adit_net::http::extract::{Json, Path};
use adit_protocol::Code;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::app::App;
use super::tasks::result::plain;
use super::tasks::{Sight, sight};
use super::who::Reader;
use super::wire::HashText;
use crate::view::ReceiptView;

/// A receipt: its 520 bytes if `accept` is `application/octet-stream`, else JSON with its place in
/// the log. The hashes behind its commitments are given to those who may see the task.
#[utoipa::path(get, path = "/v1/receipts/{receipt}", operation_id = "receipt", tag = "receipts",
    params(("receipt" = HashText, Path, description = "its id")),
    security((), ("token" = []), ("node_signature" = [])),
    responses((status = 200, content((ReceiptView = "application/json"), (Object = "application/octet-stream"))),
        (status = 404, description = "no such receipt is in this log")))]
pub async fn show(
    State(app): State<App>,
    Path(HashText(id)): Path<HashText>,
    reader: Reader,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = app.handle.receipt(id).await?;
    let bytes_wanted = headers
        .get(ACCEPT)
        .is_some_and(|value| value.as_bytes() == b"application/octet-stream");
    if bytes_wanted {
        let mut response = Body::from(view.bytes).into_response();
        let out = response.headers_mut();
        out.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        out.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        );
        if let Ok(leaf) = HeaderValue::try_from(view.leaf.to_string()) {
            out.insert("adit-leaf", leaf);
        }
        return Ok(response);
    }
    let sight = sight_of(&app, &view, &reader).await?;
    Ok(Json(seen(view, sight)).into_response())
}

/// What the guest of the run wrote to stderr, or the end of it: a claim of the miner.
#[utoipa::path(get, path = "/v1/receipts/{receipt}/log", operation_id = "receipt_log", tag = "receipts",
    params(("receipt" = HashText, Path, description = "its id")),
    security((), ("token" = []), ("node_signature" = [])),
    responses((status = 200, description = "the text", content_type = "text/plain"),
        (status = 403, description = "the task is another client's, and not public"),
        (status = 404, description = "there is no such receipt, or the run has left none")))]
pub async fn log(
    State(app): State<App>,
    Path(HashText(id)): Path<HashText>,
    reader: Reader,
) -> Result<Response, Problem> {
    let view = app.handle.receipt(id).await?;
    if let Some(task) = view.task {
        sight(&app, task, &reader).await?;
    }
    match view.log {
        Some(text) => Ok(plain(text, &id)),
        None => Err(
            Problem::new(Code::NotFound, "the run has left nothing on stderr")
                .hint("GET /v1/receipts/ID tells how it ended"),
        ),
    }
}

/// `None` for who may see no more of the task than the log says.
async fn sight_of(
    app: &App,
    view: &ReceiptView,
    reader: &Reader,
) -> Result<Option<Sight>, Problem> {
    let Some(task) = view.task else {
        return Ok(None);
    };
    match sight(app, task, reader).await {
        Ok((sight, _)) => Ok(Some(sight)),
        Err(problem)
            if matches!(
                problem.code,
                Code::Forbidden | Code::Unauthorized | Code::UnknownTask
            ) =>
        {
            Ok(None)
        }
        Err(problem) => Err(problem),
    }
}

fn seen(view: ReceiptView, sight: Option<Sight>) -> ReceiptView {
    let client = match sight {
        Some(Sight::Own) => view.client.clone(),
        _ => None,
    };
    match sight {
        Some(_) => ReceiptView { client, ..view },
        None => ReceiptView {
            client,
            exec: None,
            opening: None,
            detail: None,
            ..view
        },
    }
}
