//! `/v1/tasks`: clients submit tasks, watch them, and get their results.
//!
//! | file | subject |
//! |---|---|
//! | this file | who may see a task; its state, its parts, its end |
//! | [`submit`] | `POST /v1/tasks` |
//! | [`result`] | the output of a task |
//! | [`events`] | what happens to a task, as it happens |

pub mod events;
pub mod result;
pub mod submit;

use std::sync::Arc;
use std::time::Duration;

use adit_net::Problem;
use adit_net::http::extract::{CONTENT_TYPE_CBOR, Json, Path, Query};
use adit_protocol::task::Disclosure;
use adit_protocol::{Code, Hash};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::pages::{PageQuery, Pages};
use super::who::{Caller, Reader, no_token};
use super::wire::HashText;
use crate::Refusal;
use crate::core::TaskContext;
use crate::engine::Handle;
use crate::view::{ExplainView, TaskState, TaskSummary, TaskView};

/// Longest wait for the end of a task, in seconds.
pub const WAIT_S_MAX: u64 = 60;

/// How long to wait.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Seconds to wait for the end of the task, at most 60; the answer comes as soon as it has
    /// ended.
    #[param(maximum = 60)]
    pub wait: Option<u64>,
}

impl WaitQuery {
    /// The wait, if one was asked for that is longer than nothing.
    ///
    /// # Errors
    /// `invalid-request` above the bound.
    pub fn duration(self) -> Result<Option<Duration>, Problem> {
        match self.wait {
            None | Some(0) => Ok(None),
            Some(seconds) if seconds <= WAIT_S_MAX => Ok(Some(Duration::from_secs(seconds))),
            Some(seconds) => Err(Problem::new(
                Code::InvalidRequest,
                format!(
                    "the parameter `wait` is {seconds}, at most {WAIT_S_MAX} seconds are waited"
                ),
            )
            .hint("wait for less, and ask again")),
        }
    }
}

/// A task once it has ended, or as it is after the wait, or when the server ends.
pub(super) async fn await_end(
    app: &App,
    task: Hash,
    wait: Option<Duration>,
) -> Result<TaskView, Problem> {
    let Some(wait) = wait else {
        return Ok(app.handle.task(task).await?);
    };
    unless_draining(app, task, app.handle.wait(task, wait)).await
}

/// A task once `ended` has come, or as it is when the coordinator is about to stop.
async fn unless_draining(
    app: &App,
    task: Hash,
    ended: impl Future<Output = Result<TaskView, Refusal>>,
) -> Result<TaskView, Problem> {
    tokio::select! {
        biased;
        view = ended => Ok(view?),
        () = app.draining.cancelled() => Ok(app.handle.task(task).await?),
    }
}

/// What a reader may see of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Everything: it is the client's own.
    Own,
    /// What is given to a task's miner, or to anyone if the task is public: all but whose it is.
    Shared,
}

/// Whether somebody may see a task, by its disclosure.
///
/// # Errors
/// `unknown-task`, `unauthorized`, `forbidden`.
pub(super) async fn sight(
    app: &App,
    task: Hash,
    reader: &Reader,
) -> Result<(Sight, Arc<TaskContext>), Problem> {
    let context = app.handle.task_spec(task).await?;
    let sight = sight_of(&app.handle, task, &context, reader).await?;
    Ok((sight, context))
}

async fn sight_of(
    handle: &Handle,
    task: Hash,
    context: &TaskContext,
    reader: &Reader,
) -> Result<Sight, Problem> {
    match reader {
        Reader::Client(client) if client.name == context.client => return Ok(Sight::Own),
        _ if context.spec.disclosure == Disclosure::Public => return Ok(Sight::Shared),
        Reader::Node(node) => {
            let view = handle.task(task).await?;
            if view.assignments.iter().any(|held| held.miner.0 == *node) {
                return Ok(Sight::Shared);
            }
        }
        Reader::Client(_) => {}
        Reader::Anyone => return Err(no_token()),
    }
    Err(Problem::new(
        Code::Forbidden,
        format!("the task {task} belongs to another client, and is not public"),
    )
    .hint("use the token that it was submitted with"))
}

/// The bytes of a task spec, if the hash is that of a task and the reader may see it; `None` if it
/// is no task's.
///
/// # Errors
/// As [`sight`].
pub(super) async fn spec_for(
    app: &App,
    hash: Hash,
    reader: &Reader,
) -> Result<Option<Vec<u8>>, Problem> {
    match sight(app, hash, reader).await {
        Ok((_, context)) => Ok(Some(context.spec_bytes.clone())),
        Err(problem) if problem.code == Code::UnknownTask => Ok(None),
        Err(problem) => Err(problem),
    }
}

fn seen(mut view: TaskView, sight: Sight) -> TaskView {
    if sight == Sight::Shared {
        view.client.clear();
    }
    view
}

/// A task.
#[utoipa::path(get, path = "/v1/tasks/{task}", operation_id = "task", tag = "tasks",
    params(("task" = HashText, Path, description = "its id"), WaitQuery),
    security((), ("token" = []), ("node_signature" = [])),
    responses((status = 200, body = TaskView),
        (status = 403, description = "the task is another client's, and not public"),
        (status = 404, description = "there is no such task")))]
pub async fn show(
    State(app): State<App>,
    Path(HashText(task)): Path<HashText>,
    Query(wait): Query<WaitQuery>,
    reader: Reader,
) -> Result<Json<TaskView>, Problem> {
    let wait = wait.duration()?;
    let (sight, _) = sight(&app, task, &reader).await?;
    Ok(Json(seen(await_end(&app, task, wait).await?, sight)))
}

/// Which tasks to list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only those in this state: waiting, running, validating, completed, failed, cancelled.
    pub state: Option<StateName>,
    /// Most items of the page, at most 1000.
    #[param(minimum = 1, maximum = 1000)]
    pub page_size: Option<u32>,
    /// The `next_page_token` of the page before.
    #[param(pattern = "^[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]$")]
    pub page_token: Option<String>,
}

/// States of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// No miner has it.
    Waiting,
    /// Miners have it.
    Running,
    /// The app's validator has it.
    Validating,
    /// It has a result.
    Completed,
    /// It ended without one.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl From<StateName> for TaskState {
    fn from(name: StateName) -> TaskState {
        match name {
            StateName::Waiting => TaskState::Waiting,
            StateName::Running => TaskState::Running,
            StateName::Validating => TaskState::Validating,
            StateName::Completed => TaskState::Completed,
            StateName::Failed => TaskState::Failed,
            StateName::Cancelled => TaskState::Cancelled,
        }
    }
}

/// The client's tasks, the newest first.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(ListQuery),
    security(("token" = [])), responses((status = 200, body = Pages<TaskSummary>)))]
pub async fn list(
    State(app): State<App>,
    Query(query): Query<ListQuery>,
    Caller(client): Caller,
) -> Result<Json<Pages<TaskSummary>>, Problem> {
    let page = PageQuery {
        page_size: query.page_size,
        page_token: query.page_token,
    };
    let (after, size) = page.read()?;
    let page = app
        .handle
        .list(
            client.name.clone(),
            query.state.map(Into::into),
            after,
            size,
        )
        .await?;
    Ok(Json(page.into()))
}

/// Cancels a task.
#[utoipa::path(post, path = "/v1/tasks/{task}/cancel", tag = "tasks",
    params(("task" = HashText, Path, description = "its id")),
    security(("token" = [])),
    responses((status = 200, body = TaskView),
        (status = 403, description = "the task is another client's"),
        (status = 404, description = "there is no such task"),
        (status = 409, description = "it has ended already")))]
pub async fn cancel(
    State(app): State<App>,
    Path(HashText(task)): Path<HashText>,
    Caller(client): Caller,
) -> Result<Json<TaskView>, Problem> {
    Ok(Json(app.handle.cancel(task, client.name.clone()).await?))
}

/// Why a task is where it is, and everything that is needed to make its draws again.
#[utoipa::path(get, path = "/v1/tasks/{task}/explain", tag = "tasks",
    params(("task" = HashText, Path, description = "its id")),
    security((), ("token" = []), ("node_signature" = [])), responses((status = 200, body = ExplainView),
        (status = 403, description = "the task is another client's, and not public"),
        (status = 404, description = "there is no such task")))]
pub async fn explain(
    State(app): State<App>,
    Path(HashText(task)): Path<HashText>,
    reader: Reader,
) -> Result<Json<ExplainView>, Problem> {
    let (sight, _) = sight(&app, task, &reader).await?;
    let explain = app.handle.explain(task).await?;
    Ok(Json(ExplainView {
        task: seen(explain.task, sight),
        ..explain
    }))
}

/// The task spec, whose hash is the task's id. It holds the salt of the receipts' commitments.
#[utoipa::path(get, path = "/v1/tasks/{task}/spec", tag = "tasks",
    params(("task" = HashText, Path, description = "its id")),
    security((), ("token" = []), ("node_signature" = [])),
    responses((status = 200, description = "the document", content_type = "application/cbor"),
        (status = 403, description = "the task is another client's, and not public"),
        (status = 404, description = "there is no such task")))]
pub async fn spec(
    State(app): State<App>,
    Path(HashText(task)): Path<HashText>,
    reader: Reader,
) -> Result<Response, Problem> {
    let (_, context) = sight(&app, task, &reader).await?;
    Ok(cbor(context.spec_bytes.clone()))
}

/// The exec spec: what determines the result.
#[utoipa::path(get, path = "/v1/tasks/{task}/exec", tag = "tasks",
    params(("task" = HashText, Path, description = "its id")),
    security((), ("token" = []), ("node_signature" = [])),
    responses((status = 200, description = "the document", content_type = "application/cbor"),
        (status = 403, description = "the task is another client's, and not public"),
        (status = 404, description = "there is no such task")))]
pub async fn exec(
    State(app): State<App>,
    Path(HashText(task)): Path<HashText>,
    reader: Reader,
) -> Result<Response, Problem> {
    let (_, context) = sight(&app, task, &reader).await?;
    Ok(cbor(context.exec.clone()))
}

/// Bytes of a document.
pub(super) fn cbor(bytes: Vec<u8>) -> Response {
    let mut response = Body::from(bytes).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_CBOR));
    response
}
