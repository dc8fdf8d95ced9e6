//! One connection: TLS, HTTP/1 or HTTP/2, and the watch that ends it when the peer stalls.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_protocol::Code;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tower::ServiceExt as _;

use super::bodies::{RequestBody, ResponseBody, WaitsSince};
use super::{Allowance, Limits, Peer, Shared, lock};
use crate::problem::Problem;

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, address: SocketAddr, shared: Arc<Shared>) {
    let Some(tls) = &shared.tls else {
        return serve_http(stream, address, false, &shared).await;
    };
    let patience = Duration::from_millis(shared.limits.first_request_ms);
    let handshake = timeout(patience, tls.acceptor().accept(stream));
    let shaken = tokio::select! {
        biased;
        // Nothing was asked yet.
        () = shared.draining.cancelled() => return,
        shaken = handshake => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => serve_http(stream, address, true, &shared).await,
        Ok(Err(error)) => tracing::debug!(%address, %error, "the TLS handshake failed"),
        Err(_) => tracing::debug!(%address, "the TLS handshake took too long"),
    }
}

async fn serve_http<S>(stream: S, address: SocketAddr, tls: bool, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watch = Arc::new(Watch::new());
    let service = service_fn(|request: Request<Incoming>| {
        let in_flight = InFlight::begin(&watch);
        let shared = Arc::clone(shared);
        async move {
            let answer = answer(request, Peer { address, tls }, shared, in_flight);
            Ok::<_, Infallible>(answer.await)
        }
    });
    let mut connection = std::pin::pin!(
        shared
            .builder
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut draining = None;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%address, %error, "the connection ended early");
                }
                return;
            }
            () = shared.draining.cancelled(), if draining.is_none() => {
                draining = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(watch.look_at(&shared.limits, draining)) => {
                if let Some(reason) = watch.stalled(&shared.limits, draining) {
                    tracing::debug!(%address, reason, "the connection was closed");
                    return;
                }
            }
        }
    }
}

/// Hands a request to the router.
async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    shared: Arc<Shared>,
    mut in_flight: InFlight,
) -> Response<ResponseBody> {
    let Ok(permit) = Arc::clone(&shared.requests).try_acquire_owned() else {
        let problem = Problem::new(
            Code::Overloaded,
            "the server answers as many requests at once as it can",
        );
        let response = problem.retry_after_s(1).into_response();
        return response.map(|body| ResponseBody::new(body, in_flight));
    };
    in_flight.permit = Some(permit);
    if let Err(problem) = check_headers(&request, &shared.limits) {
        return problem
            .into_response()
            .map(|body| ResponseBody::new(body, in_flight));
    }
    let mut request = request_for_axum(request, peer, &shared.limits);
    let allowance = Allowance::of(&shared.memory, peer.address.ip());
    request.extensions_mut().insert(allowance);
    let routed = AssertUnwindSafe(shared.router.clone().oneshot(request)).catch_unwind();
    let response = match routed.await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        // The panic's own message has gone to stderr by its hook.
        Err(_) => Problem::internal("a handler panicked").into_response(),
    };
    response.map(|body| ResponseBody::new(body, in_flight))
}

/// Refuses headers above the bounds. What hyper buffers is bounded more widely by itself.
fn check_headers(request: &Request<Incoming>, limits: &Limits) -> Result<(), Problem> {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let bytes: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    if target + bytes > limits.header_bytes_max {
        return Err(Problem::new(
            Code::TooLarge,
            format!(
                "the address and the headers have {} bytes, at most {} are taken; hint: send fewer or shorter ones",
                target + bytes,
                limits.header_bytes_max
            ),
        ));
    }
    if request.headers().len() > limits.headers_max {
        return Err(Problem::new(
            Code::TooLarge,
            format!(
                "there are {} headers, at most {} are taken; hint: send fewer",
                request.headers().len(),
                limits.headers_max
            ),
        ));
    }
    Ok(())
}

fn request_for_axum(request: Request<Incoming>, peer: Peer, limits: &Limits) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(peer);
    parts.extensions.insert(ConnectInfo(peer.address));
    let asks_first = parts.headers.contains_key(http::header::EXPECT);
    let drain = parts.version < Version::HTTP_2 && !asks_first;
    let body = RequestBody::new(body, limits, drain);
    Request::from_parts(parts, Body::new(body))
}

/// What a connection is doing, for the watch over it.
struct Watch(Mutex<Doing>);

struct Doing {
    /// Since when there is no request; meaningless while there is one.
    idle_since: Instant,
    /// There has been a request.
    seen_request: bool,
    /// The requests without a complete answer. As many as there are streams at most.
    answers: Vec<WaitsSince>,
}

impl Watch {
    fn new() -> Watch {
        Watch(Mutex::new(Doing {
            idle_since: Instant::now(),
            seen_request: false,
            answers: Vec::new(),
        }))
    }

    /// When to look next: not before anything can have run out.
    fn look_at(&self, limits: &Limits, draining: Option<Instant>) -> Instant {
        let doing = lock(&self.0);
        doing.deadline(limits, draining).map_or_else(
            // Handlers are at work. One may start to send at any time, and stalls after that.
            || Instant::now() + Duration::from_millis(limits.answer_stall_ms.min(limits.idle_ms)),
            |(deadline, _)| deadline,
        )
    }

    /// Why the connection is to be closed, if it is.
    fn stalled(&self, limits: &Limits, draining: Option<Instant>) -> Option<&'static str> {
        lock(&self.0)
            .deadline(limits, draining)
            .filter(|(deadline, _)| *deadline <= Instant::now())
            .map(|(_, reason)| reason)
    }
}

/// How long a connection without a request is kept once the server drains: hyper closes it at
/// once, unless a part of a request has come.
const DRAINING_IDLE: Duration = Duration::from_millis(500);

impl Doing {
    fn deadline(
        &self,
        limits: &Limits,
        draining: Option<Instant>,
    ) -> Option<(Instant, &'static str)> {
        if self.answers.is_empty() {
            let (ms, reason) = match self.seen_request {
                false => (limits.first_request_ms, "no request came in time"),
                true => (limits.idle_ms, "it was idle"),
            };
            let deadline = self.idle_since + Duration::from_millis(ms);
            let deadline = match draining {
                None => deadline,
                Some(since) => deadline.min(self.idle_since.max(since) + DRAINING_IDLE),
            };
            return Some((deadline, reason));
        }
        let oldest = self.answers.iter().filter_map(|answer| *lock(answer)).min();
        let stall = Duration::from_millis(limits.answer_stall_ms);
        oldest.map(|since| (since + stall, "an answer was not read"))
    }
}

/// A request from its headers on until its answer is through, or given up.
pub(super) struct InFlight {
    watch: Arc<Watch>,
    waits_since: WaitsSince,
    permit: Option<OwnedSemaphorePermit>,
}

impl InFlight {
    fn begin(watch: &Arc<Watch>) -> InFlight {
        let waits_since = WaitsSince::default();
        let mut doing = lock(&watch.0);
        doing.seen_request = true;
        doing.answers.push(Arc::clone(&waits_since));
        drop(doing);
        InFlight {
            watch: Arc::clone(watch),
            waits_since,
            permit: None,
        }
    }

    /// The peer has to read before anything goes on.
    pub(super) fn waits_for_peer(&self) {
        *lock(&self.waits_since) = Some(Instant::now());
    }

    /// The handler has nothing to send at the moment.
    pub(super) fn waits_for_handler(&self) {
        *lock(&self.waits_since) = None;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        drop(self.permit.take());
        let mut doing = lock(&self.watch.0);
        doing
            .answers
            .retain(|answer| !Arc::ptr_eq(answer, &self.waits_since));
        doing.idle_since = Instant::now();
    }
}
