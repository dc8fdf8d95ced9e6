//! A server over an axum router, with bounds on everything that a peer can use up.
//!
//! | what a peer may try | what ends it |
//! |---|---|
//! | many connections | a bound for all and one for each address; more are closed at once |
//! | a TLS handshake or a first request that never comes | [`Limits::first_request_ms`] |
//! | an idle connection | [`Limits::idle_ms`] |
//! | large or many headers | [`Limits::header_bytes_max`], [`Limits::headers_max`] |
//! | a body that trickles | [`Limits::body_wait_ms`], [`Limits::body_bytes_per_s_min`] |
//! | an answer that is not read | [`Limits::answer_stall_ms`] |
//! | many requests at once | [`Limits::streams_max`], [`Limits::requests_max`] |
//! | many long bodies, or long answers that are not read | [`Limits::memory_per_address_max`], [`Limits::memory_max`] |
//! | a request that makes a handler panic | answered with 500; the connection stays |
//!
//! Bodies are bounded where they are read, by [`super::extract`].

mod allowance;
mod bodies;
mod connection;
mod settings;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_protocol::Code;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use allowance::Account;
pub use allowance::{Allowance, Memory};
pub use bodies::BodyError;
pub use settings::{Limits, Listen, ListenError};

use crate::metrics::HttpMetrics;
use crate::problem::Problem;
use crate::tls::ServerTls;
use crate::trace;

/// Who sent a request. It is among the extensions of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address of the other end of the connection; a proxy's, if there is one.
    pub address: SocketAddr,
    /// The connection is encrypted.
    pub tls: bool,
}

/// A server that has its address and does not accept yet: for routers that need to know it, as
/// [`crate::signed::RequestVerifier`] does.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    listen: Listen,
}

impl Bound {
    /// Takes the address.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn bind(listen: Listen) -> Result<Bound, ListenError> {
        if listen.tls.is_none() && !listen.address.ip().is_loopback() && !listen.allow_insecure {
            return Err(ListenError::Insecure(listen.address));
        }
        let failed = |source| ListenError::Bind {
            address: listen.address,
            source,
        };
        let listener = TcpListener::bind(listen.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Bound {
            listener,
            address,
            listen,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for a client on this machine, as `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        base_url(self.address, self.listen.tls.is_some())
    }

    /// Serves `router` in tasks of the current tokio runtime. Once [`Server::shutdown`] begins,
    /// `draining` is cancelled: a handler that waits, as a long poll does, should watch it and
    /// answer early.
    pub fn serve(self, limits: Limits, router: Router, draining: CancellationToken) -> Server {
        let Listen { tls, metrics, .. } = self.listen;
        let server = Server {
            address: self.address,
            tls: tls.is_some(),
            draining,
            stopped: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        let shared = Arc::new(Shared {
            builder: builder(&limits),
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            requests: Arc::new(Semaphore::new(limits.requests_max)),
            addresses: Mutex::new(HashMap::new()),
            memory: Account::new(&limits),
            router: with_layers(with_fallbacks(router), metrics),
            tls,
            draining: server.draining.clone(),
            stopped: server.stopped.clone(),
            limits,
        });
        let tracker = server.connections.clone();
        // Tracked as well, so that the port is free once the shutdown is over.
        server
            .connections
            .spawn(accept(self.listener, shared, tracker));
        server
    }
}

fn base_url(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

/// A server that runs until [`Server::shutdown`], or until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tls: bool,
    draining: CancellationToken,
    stopped: CancellationToken,
    connections: TaskTracker,
}

impl Server {
    /// [`Bound::bind`] and [`Bound::serve`] in one.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn start(
        listen: Listen,
        limits: Limits,
        router: Router,
        draining: CancellationToken,
    ) -> Result<Server, ListenError> {
        Ok(Bound::bind(listen).await?.serve(limits, router, draining))
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for a client on this machine, as `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        base_url(self.address, self.tls)
    }

    /// Stops accepting, lets requests finish for at most `patience`, then closes what is left.
    /// Returns whether all requests were finished.
    pub async fn shutdown(self, patience: Duration) -> bool {
        self.draining.cancel();
        self.connections.close();
        let finished = tokio::time::timeout(patience, self.connections.wait())
            .await
            .is_ok();
        self.stopped.cancel();
        self.connections.wait().await;
        finished
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.draining.cancel();
        self.stopped.cancel();
    }
}

/// What all connections of a server share.
struct Shared {
    limits: Limits,
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    tls: Option<ServerTls>,
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    /// Open connections by address. At most `connections_max` entries.
    addresses: Mutex<HashMap<IpAddr, usize>>,
    memory: Arc<Account>,
    draining: CancellationToken,
    stopped: CancellationToken,
}

/// One connection of an address, counted for as long as this lives.
struct AddressSlot {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl AddressSlot {
    fn take(shared: &Arc<Shared>, address: IpAddr) -> Option<AddressSlot> {
        // A dual-stack listener sees an IPv4 peer as ::ffff:a.b.c.d.
        let address = address.to_canonical();
        let mut addresses = lock(&shared.addresses);
        let open = addresses.entry(address).or_insert(0);
        if *open >= shared.limits.connections_per_address_max {
            return None;
        }
        *open += 1;
        Some(AddressSlot {
            shared: Arc::clone(shared),
            address,
        })
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut addresses = lock(&self.shared.addresses);
        if let Some(open) = addresses.get_mut(&self.address) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// The lock of a value that is whole at every step, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The connection's own watch ends slow headers; see `connection`.
        .header_read_timeout(None)
        .max_headers(limits.headers_max.max(100))
        // Also the bound on headers as hyper knows it. The narrower one is applied to requests,
        // where it can be answered with a problem.
        .max_buf_size(limits.header_bytes_max.max(128 * 1024));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(
            u32::try_from(limits.header_bytes_max.max(64 * 1024)).unwrap_or(u32::MAX),
        )
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// The router with problems where axum itself would answer with an empty body.
fn with_fallbacks(router: Router) -> Router {
    router
        .method_not_allowed_fallback(async |request: Request| -> Response {
            let (method, path) = (request.method(), request.uri().path());
            Problem::new(
                Code::MethodNotAllowed,
                format!("{path} does not take {method}; hint: see the header `allow`"),
            )
            .into_response()
        })
        .fallback(async |request: Request| -> Response {
            let path = request.uri().path();
            Problem::new(
                Code::NotFound,
                format!("there is nothing at {path}; hint: compare the path with /v1/openapi.json"),
            )
            .into_response()
        })
}

/// The router with what every request passes through, also those without a route.
fn with_layers(router: Router, metrics: Option<HttpMetrics>) -> Router {
    let router = match metrics {
        None => router,
        Some(metrics) => router.layer(middleware::from_fn(move |request: Request, next: Next| {
            metrics.clone().layer(request, next)
        })),
    };
    router.layer(middleware::from_fn(trace::layer))
}

/// Accepts connections until the server drains.
async fn accept(listener: TcpListener, shared: Arc<Shared>, tracker: TaskTracker) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.draining.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or the peer is gone again. A pause keeps the first from
                // using up a core.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        admit(stream, address, &shared, &tracker);
    }
}

/// Serves a connection in a task of its own, or closes it if there are too many.
fn admit(stream: TcpStream, address: SocketAddr, shared: &Arc<Shared>, tracker: &TaskTracker) {
    let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
        tracing::debug!(%address, "closed: too many connections");
        return;
    };
    let Some(slot) = AddressSlot::take(shared, address.ip()) else {
        tracing::debug!(%address, "closed: too many connections from this address");
        return;
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "TCP_NODELAY could not be set");
    }
    let shared = Arc::clone(shared);
    tracker.spawn(async move {
        let stopped = shared.stopped.clone();
        tokio::select! {
            biased;
            () = stopped.cancelled() => {}
            () = connection::serve(stream, address, shared) => {}
        }
        drop((permit, slot));
    });
}
