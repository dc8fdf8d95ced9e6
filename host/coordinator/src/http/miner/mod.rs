//! `/v1/miner`: what miners ask, as CBOR documents in requests that they sign. The messages are in
//! [`adit_protocol::network::exchange`].
//!
//! | file | subject |
//! |---|---|
//! | this file | hello, echo, poll, progress |
//! | [`receipts`] | receipts that are handed in |

pub mod receipts;

use adit_net::Problem;
use adit_net::http::extract::{Cbor, parse_cbor};
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::hardware::SignedHardwareRecord;
use adit_protocol::network::exchange::{Echo, Hello, Poll, PollAnswer, ProgressReport, Welcome};
use adit_protocol::{Code, Hash};
use axum::extract::State;
use http::StatusCode;

use super::app::App;
use super::who::FromNode;
use crate::blobs::blocking;
use crate::store::DocumentKind;

/// A miner begins to work for this coordinator, or has changed.
#[utoipa::path(post, path = "/v1/miner/hello", tag = "miners",
    request_body(content_type = "application/cbor"), security(("node_signature" = [])),
    responses((status = 200, description = "a welcome", content_type = "application/cbor"),
        (status = 403, description = "the miner may not work"),
        (status = 409, description = "its engine is not one that is paid, or not the coordinator's")))]
pub async fn hello(State(app): State<App>, request: FromNode) -> Result<Cbor<Welcome>, Problem> {
    let hello: Hello = parse_cbor(&request.bytes)?;
    // Before anything of it is kept.
    let members = app.membership.current();
    members.miner_stake(&request.node)?;
    // One that the network does not have is refused below, with another reason.
    if hello.engine != app.engine && members.membership.engines.contains(&hello.engine) {
        return Err(Problem::new(
            Code::StaleEngine,
            format!(
                "tasks of this coordinator are for the engine {}, and the miner has {}",
                app.engine, hello.engine
            ),
        )
        .hint("run a release with the coordinator's engine, or work for other coordinators of the network"));
    }
    let node = request.node;
    // A signature, and up to 64 documents.
    let (hello, environments) = blocking(move || {
        check_hardware(&hello, &node)?;
        let environments = environments(&hello)?;
        Ok::<_, Problem>((hello, environments))
    })
    .await??;
    for bytes in environments {
        if app.handle.document(Hash::of(&bytes)).await?.is_none() {
            let kind = DocumentKind::Environment;
            app.handle.put_document(kind, bytes).await?;
        }
    }
    Ok(Cbor(app.handle.hello(node, hello).await?))
}

/// The environment documents of a hello, each once.
fn environments(hello: &Hello) -> Result<Vec<Vec<u8>>, Problem> {
    let mut documents = Vec::with_capacity(hello.devices.len());
    for (number, device) in hello.devices.iter().enumerate() {
        let document = EnvironmentDocument::from_cbor(&device.environment).map_err(|error| {
            Problem::new(
                Code::BadEncoding,
                format!("the environment of device {number}: {error}"),
            )
        })?;
        if document.engine != hello.engine {
            return Err(Problem::new(
                Code::InvalidRequest,
                format!("the environment of device {number} is of another engine than the miner"),
            )
            .hint("offer the devices as this release of the program finds them"));
        }
        documents.push(device.environment.clone());
    }
    documents.sort_unstable();
    documents.dedup();
    Ok(documents)
}

fn check_hardware(hello: &Hello, node: &[u8; 32]) -> Result<(), Problem> {
    let Some(bytes) = &hello.hardware else {
        return Ok(());
    };
    let signed = SignedHardwareRecord::from_cbor(bytes)
        .map_err(|error| Problem::new(Code::BadEncoding, error))?;
    let record = signed
        .verify()
        .map_err(|error| Problem::new(Code::BadSignature, error))?;
    match record.node == *node {
        true => Ok(()),
        false => Err(Problem::new(
            Code::BadSignature,
            "the hardware record is of another node than the one that sends it",
        )
        .hint("measure again with the key of this node: adit bench")),
    }
}

/// Sends back what came with a welcome or a poll's answer: the time until then is the round trip.
#[utoipa::path(post, path = "/v1/miner/echo", tag = "miners",
    request_body(content_type = "application/cbor"), security(("node_signature" = [])),
    responses((status = 204, description = "it was measured"),
        (status = 403, description = "the miner may not work")))]
pub async fn echo(State(app): State<App>, request: FromNode) -> Result<StatusCode, Problem> {
    let echo: Echo = parse_cbor(&request.bytes)?;
    app.handle.echo(request.node, &echo);
    Ok(StatusCode::NO_CONTENT)
}

/// Asks for work, and waits for it.
#[utoipa::path(post, path = "/v1/miner/poll", tag = "miners",
    request_body(content_type = "application/cbor"), security(("node_signature" = [])),
    responses((status = 200, description = "assignments, or why there are none", content_type = "application/cbor"),
        (status = 403, description = "the miner may not work"),
        (status = 409, description = "the miner has not said hello")))]
pub async fn poll(State(app): State<App>, request: FromNode) -> Result<Cbor<PollAnswer>, Problem> {
    let mut poll: Poll = parse_cbor(&request.bytes)?;
    let node = request.node;
    if app.closing.is_cancelled() {
        poll.want = 0;
        poll.wait_ms = poll.wait_ms.min(1_000);
    }
    let quick = Poll {
        wait_ms: 0,
        want: 0,
        accepted: Vec::new(),
        working: poll.working.clone(),
    };
    tokio::select! {
        biased;
        answer = app.handle.poll(node, poll) => Ok(Cbor(answer?)),
        // The server ends: a second poll is answered at once, and the first one with it.
        () = app.draining.cancelled() => Ok(Cbor(app.handle.poll(node, quick).await?)),
    }
}

/// Tells how far tasks are, with what their guests emitted.
#[utoipa::path(post, path = "/v1/miner/progress", tag = "miners",
    request_body(content_type = "application/cbor"), security(("node_signature" = [])),
    responses((status = 204, description = "it was passed on"),
        (status = 403, description = "the miner may not work"),
        (status = 404, description = "the assignment is unknown"),
        (status = 409, description = "the miner has not said hello")))]
pub async fn progress(State(app): State<App>, request: FromNode) -> Result<StatusCode, Problem> {
    let report: ProgressReport = parse_cbor(&request.bytes)?;
    app.handle.progress(request.node, report).await?;
    Ok(StatusCode::NO_CONTENT)
}
