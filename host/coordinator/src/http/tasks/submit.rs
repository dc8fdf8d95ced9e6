//! `POST /v1/tasks`.

use adit_net::Problem;
use adit_net::http::extract::{Json, Query, Raw};
use adit_net::trace::TraceContext;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::network::exchange::INLINE_BYTES_MAX;
use adit_protocol::{Code, Hash};
use adit_runtime::admission::COMPONENT_BYTES_MAX;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use rand_core::RngCore as _;

use super::super::app::App;
use super::super::submission::{Frame, Planned, TaskRequest, invalid};
use super::super::who::Caller;
use super::WaitQuery;
use crate::order::{Idempotency, Submission};
use crate::tokens::Client;
use crate::view::TaskView;

/// The header of idempotency keys.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Blobs that are named in a message.
const NAMED_MAX: usize = 16;
/// Components whose beginnings are remembered.
const COMPONENTS_MAX: usize = 4096;
/// How a WebAssembly file begins, and what follows if it is a component.
const WASM: [u8; 4] = *b"\0asm";
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];

/// Submits a task. With an idempotency key the same request can be sent again without another task
/// coming of it.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", request_body = TaskRequest,
    params(WaitQuery, ("idempotency-key" = Option<String>, Header, min_length = 1, max_length = 128,
        pattern = "^[!-~]([ -~]*[!-~])?$",
        description = "a text of the client's choice, 1 to 128 visible characters")),
    security(("token" = [])),
    responses((status = 201, description = "it was taken, and has ended if that was waited for", body = TaskView),
        (status = 202, description = "it was taken, and has not ended within the wait", body = TaskView),
        (status = 200, description = "it was taken before, with the same idempotency key", body = TaskView),
        (status = 400, description = "a field is not valid"),
        (status = 404, description = "blobs are missing"),
        (status = 409, description = "the idempotency key was used for another request"),
        (status = 422, description = "the component or the validator is none, or no miner can run the task"),
        (status = 429, description = "the client has used up what it may"),
        (status = 503, description = "the coordinator is busy, or about to stop")))]
pub async fn submit(
    State(app): State<App>,
    Caller(client): Caller,
    Query(wait): Query<WaitQuery>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, Problem> {
    app.takes_work()?;
    let wait = wait.duration()?;
    let idempotency = idempotency(&headers, &body)?;
    check_json(&headers)?;
    take(&client)?;
    let mut salt = [0; 32];
    app.rng.clone().fill_bytes(&mut salt);
    let deadline_max = app.bounds.deadline_max.as_millis();
    let planned = TaskRequest::parse(&body)?.plan(&Frame {
        genesis: app.genesis,
        coordinator: app.node.public().to_bytes(),
        engine: app.engine,
        region: &app.region,
        deadline_ms_max: u64::try_from(deadline_max).unwrap_or(u64::MAX),
        replicas_max: app.bounds.replicas_max,
        miners: app.handle.stats().miners,
        now_ms: app.clock.now_ms(),
        salt,
    })?;
    let inline = check(&app, &planned).await?;
    let task = planned.task.hash();
    let exec = planned.exec.to_cbor();
    // Auditors read it by its hash, as they read the input; only who has the task spec knows it.
    let mut blobs: Vec<Vec<u8>> = planned.input.into_iter().collect();
    if exec.len() <= INLINE_BYTES_MAX {
        blobs.push(exec.clone());
    }
    let order = Submission {
        client: client.name.clone(),
        idempotency,
        spec: planned.task,
        exec,
        blobs,
        inline,
        local: planned.local,
        validator: planned.validator,
        queue_ms: None,
        in_flight_max: Some(client.quota.tasks_in_flight),
        trace: TraceContext::current(),
    };
    let view = match wait {
        None => app.handle.submit(order).await?,
        Some(wait) => {
            let draining = app.draining.cancelled();
            app.handle.submit_and_wait(order, wait, draining).await?
        }
    };
    let created = view.task == task;
    Ok(answer(view, created, wait.is_some()))
}

fn answer(view: TaskView, created: bool, waited: bool) -> Response {
    let status = match (created, waited && !view.state.is_final()) {
        (_, true) => StatusCode::ACCEPTED,
        (true, false) => StatusCode::CREATED,
        (false, false) => StatusCode::OK,
    };
    let location = HeaderValue::try_from(format!("/v1/tasks/{}", view.task));
    let mut response = (status, Json(view)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    match kind.trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(Problem::new(
            Code::InvalidRequest,
            "the header `content-type` is not application/json",
        )
        .hint("set it")),
    }
}

fn idempotency(headers: &HeaderMap, body: &[u8]) -> Result<Option<Idempotency>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=128).contains(&key.len()))
        .ok_or_else(|| {
            Problem::new(
                Code::InvalidRequest,
                "the header `idempotency-key` is not 1 to 128 visible characters",
            )
            .hint("a random UUID is a good key")
        })?;
    Ok(Some(Idempotency {
        key: key.to_owned(),
        request: Hash::of(body),
    }))
}

fn take(client: &Client) -> Result<(), Problem> {
    client.take_task().map_err(|wait_s| {
        Problem::new(
            Code::QuotaExceeded,
            format!(
                "the client has submitted the {} tasks that it may in a minute",
                client.quota.tasks_per_minute
            ),
        )
        .hint("wait, or ask the operator for more")
        .retry_after_s(wait_s)
    })
}

/// Checks what a task refers to. The hashes are those of the short blobs that its miners are sent
/// along.
async fn check(app: &App, planned: &Planned) -> Result<Vec<Hash>, Problem> {
    if planned.validator.is_some() && !app.validates {
        return Err(
            invalid("validator", "this coordinator does not run validators")
                .hint("leave it out, or use a coordinator that does"),
        );
    }
    let exec = &planned.exec;
    let mut named = vec![("component".to_owned(), exec.component)];
    if planned.input.is_none() {
        named.push(("input".to_owned(), exec.input));
    }
    named.extend(planned.validator.map(|hash| ("validator".to_owned(), hash)));
    for (name, manifest) in &exec.models {
        named.push((format!("models.{name}"), *manifest));
    }
    check_there(app, &named).await?;
    check_component(app, "component", exec.component).await?;
    if let Some(validator) = planned.validator {
        check_component(app, "validator", validator).await?;
    }
    let mut inline = Vec::new();
    match &planned.input {
        Some(_) => inline.push(exec.input),
        None if small(app, exec.input).await? => inline.push(exec.input),
        None => {}
    }
    let mut files = Vec::new();
    for (name, hash) in &exec.models {
        let bytes = app.blobs.get(*hash, ModelManifest::MAX_LEN as u64).await?;
        let manifest = ModelManifest::from_cbor(&bytes).map_err(|error| {
            invalid(
                &format!("models.{name}"),
                &format!(
                    "the blob {hash} is no model manifest: {}",
                    super::super::wire::without_hint(&error.to_string())
                ),
            )
            .hint("give the hash of the manifest, not that of the model file")
        })?;
        for (file, about) in &manifest.files {
            files.push((format!("models.{name} ({file})"), about.hash));
        }
        if bytes.len() <= INLINE_BYTES_MAX {
            inline.push(*hash);
        }
    }
    check_there(app, &files).await?;
    for environment in &planned.task.requirements.environments {
        check_environment(app, environment).await?;
    }
    inline.sort_unstable();
    inline.dedup();
    // Those that are files all the same, as after a restore, are fetched by the miner.
    let own = planned.input.is_some().then_some(exec.input);
    let others: Vec<Hash> = inline.iter().copied().filter(|h| Some(*h) != own).collect();
    let not_small = match others.is_empty() {
        true => Vec::new(),
        false => app.handle.not_small(others).await?,
    };
    inline.retain(|hash| !not_small.contains(hash));
    Ok(inline)
}

async fn small(app: &App, hash: Hash) -> Result<bool, Problem> {
    Ok(app.handle.not_small(vec![hash]).await?.is_empty())
}

/// All blobs must be here; those that are not are named.
async fn check_there(app: &App, named: &[(String, Hash)]) -> Result<(), Problem> {
    let hashes = named.iter().map(|(_, hash)| *hash).collect();
    let missing = app.blobs.missing(hashes).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = named
        .iter()
        .filter(|(_, hash)| missing.contains(hash))
        .map(|(name, hash)| format!("{name} {hash}"))
        .collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown: Vec<&str> = names.iter().take(NAMED_MAX).map(String::as_str).collect();
    Err(Problem::new(
        Code::UnknownBlob,
        format!("blobs of the task are not here: {}{more}", shown.join(", ")),
    )
    .hint("upload them with PUT /v1/blobs/HASH, then submit again"))
}

/// Refuses what cannot be a component, where more can be said of it than a status.
async fn check_component(app: &App, field: &str, hash: Hash) -> Result<(), Problem> {
    // What has this hash is one for ever; whether it is still here was looked at before.
    if app.components().contains(&hash) {
        return Ok(());
    }
    let (beginning, len) = app.blobs.head(hash, 8).await?;
    let refused = |code, why: &str| {
        Problem::new(
            code,
            format!("the field `{field}` is not valid: {hash} {why}"),
        )
    };
    if len > COMPONENT_BYTES_MAX {
        return Err(refused(
            Code::ComponentTooLarge,
            &format!("has {len} bytes, and a component has at most {COMPONENT_BYTES_MAX}"),
        )
        .hint("strip debug information, and keep data in the input or in models"));
    }
    if !beginning.starts_with(&WASM) {
        return Err(refused(Code::NotAComponent, "is not WebAssembly")
            .hint("upload the .wasm file that `adit build` makes"));
    }
    if !beginning.ends_with(&COMPONENT) {
        return Err(refused(
            Code::CoreModule,
            "is a core module, and tasks are components",
        )
        .hint("build it for wasm32-wasip2, or adapt it with `adit build`"));
    }
    let mut components = app.components();
    if components.len() >= COMPONENTS_MAX {
        components.clear();
    }
    components.insert(hash);
    Ok(())
}

/// An environment that no miner ever had is a typing error, and not something to wait for.
async fn check_environment(app: &App, hash: &Hash) -> Result<(), Problem> {
    let document = app.handle.document(*hash).await?;
    if document.is_some_and(|found| EnvironmentDocument::from_cbor(&found.bytes).is_ok()) {
        return Ok(());
    }
    Err(invalid(
        "requirements.environments",
        &format!("no miner of this coordinator ever offered the environment {hash}"),
    )
    .hint("GET /v1/miners shows the environments that there are"))
}
