//! The output of a task, and what its guest wrote to stderr.

use adit_net::Problem;
use adit_net::http::extract::{Path, Query};
use adit_net::http::files::{About, Cache, bytes, file};
use adit_protocol::{Code, Hash};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::app::App;
use super::super::who::Reader;
use super::super::wire::HashText;
use super::{WaitQuery, await_end, sight};
use crate::blobs::Found;
use crate::view::{ResultView, TaskState, TaskView};

/// The output, as it is. How the run ended is in the header `adit-status`; a task that ended with
/// an error of its own has a result too, and so a receipt.
#[utoipa::path(get, path = "/v1/tasks/{task}/result", tag = "tasks",
    params(("task" = HashText, Path, description = "its id"), WaitQuery),
    security((), ("token" = []), ("node_signature" = [])),
    responses((status = 200, description = "the output", content_type = "application/octet-stream",
            headers(("adit-receipt" = String, description = "id of the receipt"),
                ("adit-leaf" = String, description = "its place in the log"),
                ("adit-status" = String, description = "how the run ended"))),
        (status = 206, description = "a part of it", content_type = "application/octet-stream"),
        (status = 304, description = "it is that whose hash is in `if-none-match`"),
        (status = 403, description = "the task is another client's, and not public"),
        (status = 404, description = "there is no such task"),
        (status = 409, description = "there is no result yet, or the task was cancelled"),
        (status = 416, description = "the range begins behind the end"),
        (status = 422, description = "the task has failed")))]
pub async fn output(
    State(app): State<App>,
    Path(HashText(task)): Path<HashText>,
    Query(wait): Query<WaitQuery>,
    reader: Reader,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    sight(&app, task, &reader).await?;
    let view = await_end(&app, task, wait).await?;
    let result = result_of(&view)?;
    let about = About {
        cache: Cache::Revalidate,
        ..About::immutable("application/octet-stream", result.output.to_string())
    };
    let mut response = match app.blobs.open(result.output).await? {
        Found::Small(output) => bytes(&headers, output.into(), &about),
        Found::File(output, _) => file(&headers, tokio::fs::File::from_std(output), &about).await?,
    };
    let headers = response.headers_mut();
    // The result is its client's.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    put(headers, "adit-receipt", result.receipt.to_string());
    put(headers, "adit-leaf", result.leaf.to_string());
    put(headers, "adit-status", result.status.to_string());
    put(headers, "adit-output", result.output.to_string());
    Ok(response)
}

fn put(headers: &mut HeaderMap, name: &'static str, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn result_of(view: &TaskView) -> Result<&ResultView, Problem> {
    if let Some(result) = &view.result {
        return Ok(result);
    }
    let reason = |otherwise: Code| match &view.reason {
        Some(reason) => (reason.code, reason.detail.clone()),
        None => (otherwise, otherwise.summary().to_owned()),
    };
    let (code, detail) = match view.state {
        TaskState::Cancelled => (Code::Cancelled, "the task was cancelled".to_owned()),
        TaskState::Failed => reason(Code::AttemptsExhausted),
        _ => {
            let (code, detail) = reason(Code::WaitingForResult);
            return Err(
                Problem::new(code, format!("there is no result yet: {detail}"))
                    .hint("wait for it: GET /v1/tasks/ID/result?wait=60"),
            );
        }
    };
    Err(
        Problem::new(code, format!("the task has no result: {detail}"))
            .hint("GET /v1/tasks/ID/explain tells more"),
    )
}

/// What the guest of the accepted run wrote to stderr, or the end of it; else that of the newest
/// run that left any. A claim of the miner.
#[utoipa::path(get, path = "/v1/tasks/{task}/log", operation_id = "task_log", tag = "tasks",
    params(("task" = HashText, Path, description = "its id")),
    security((), ("token" = []), ("node_signature" = [])),
    responses((status = 200, description = "the text", content_type = "text/plain"),
        (status = 403, description = "the task is another client's, and not public"),
        (status = 404, description = "there is no such task, or no run has left any")))]
pub async fn log(
    State(app): State<App>,
    Path(HashText(task)): Path<HashText>,
    reader: Reader,
) -> Result<Response, Problem> {
    sight(&app, task, &reader).await?;
    let view = app.handle.task(task).await?;
    let accepted = view.result.as_ref().map(|result| result.receipt);
    let others = view
        .assignments
        .iter()
        .rev()
        .filter_map(|held| held.receipt.as_ref())
        .map(|receipt| receipt.receipt);
    // No more than a few are looked at: each is a read of the database.
    for receipt in accepted.into_iter().chain(others).take(8) {
        if let Some(text) = app.handle.receipt(receipt).await?.log {
            return Ok(plain(text, &receipt));
        }
    }
    Err(Problem::new(
        Code::NotFound,
        "no run of the task has left anything on stderr",
    )
    .hint("GET /v1/tasks/ID tells how each run ended"))
}

/// Foreign text, which no browser may take for a page.
pub(crate) fn plain(text: Vec<u8>, receipt: &Hash) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        http::header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    put(headers, "adit-receipt", receipt.to_string());
    response
}
