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
//! | a request that makes a handler panic | answered with 500; the connection stays |
//!
//! Bodies are bounded where they are read, by [`super::extract`].

mod bodies;
mod connection;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_protocol::Code;
use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use bodies::BodyError;

use crate::problem::Problem;
use crate::tls::ServerTls;

/// Bounds on what peers can use up. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections_max: usize,
    /// Connections at once from one IP address.
    pub connections_per_address_max: usize,
    /// Requests at once, over all connections; more are answered with `overloaded`.
    pub requests_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// From a connection's begin until its first request's headers are complete, the TLS handshake
    /// apart, which has the same time for itself.
    pub first_request_ms: u64,
    /// How long a connection without a request is kept.
    pub idle_ms: u64,
    /// All headers of a request together, in bytes, with the request line.
    pub header_bytes_max: usize,
    /// The number of headers.
    pub headers_max: usize,
    /// How long to wait for the next part of a request's body.
    pub body_wait_ms: u64,
    /// The slowest rate of a request's body, over all the time that was spent waiting for it.
    pub body_bytes_per_s_min: u64,
    /// How long a peer may leave an answer unread.
    pub answer_stall_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 4096,
            connections_per_address_max: 1024,
            requests_max: 16_384,
            streams_max: 128,
            first_request_ms: 10_000,
            idle_ms: 75_000,
            header_bytes_max: 16 * 1024,
            headers_max: 64,
            body_wait_ms: 15_000,
            body_bytes_per_s_min: 1024,
            answer_stall_ms: 60_000,
        }
    }
}

/// Where to listen, and how.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The address; port 0 takes one that is free.
    pub address: SocketAddr,
    /// The certificate; without one the connection is not encrypted.
    pub tls: Option<ServerTls>,
    /// Allows an address beyond this machine without TLS.
    pub allow_insecure: bool,
}

impl Listen {
    /// An address without TLS, which must be one of this machine alone.
    pub fn plain(address: SocketAddr) -> Listen {
        Listen {
            address,
            tls: None,
            allow_insecure: false,
        }
    }

    /// An address with TLS.
    pub fn tls(address: SocketAddr, tls: ServerTls) -> Listen {
        Listen {
            address,
            tls: Some(tls),
            allow_insecure: false,
        }
    }
}

/// Why a server does not start.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The address is not loopback, and there is no certificate.
    #[error(
        "listening on {0} without TLS would send tokens and results in the clear; hint: give a certificate, or allow it explicitly if something on the way adds TLS"
    )]
    Insecure(SocketAddr),
    /// The system refuses the address.
    #[error(
        "cannot listen on {address}: {source}; hint: is another program on that port? Port 0 takes a free one"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
}

impl ListenError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            ListenError::Insecure(_) => Code::InsecureListen,
            ListenError::Bind { .. } => Code::AddressInUse,
        }
    }
}

/// Who sent a request. It is among the extensions of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address of the other end of the connection; a proxy's, if there is one.
    pub address: SocketAddr,
    /// The connection is encrypted.
    pub tls: bool,
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
    /// Listens, and serves `router` in tasks of the current tokio runtime. Once
    /// [`Server::shutdown`] begins, `draining` is cancelled: a handler that waits, as a long poll
    /// does, should watch it and answer early.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn start(
        listen: Listen,
        limits: Limits,
        router: Router,
        draining: CancellationToken,
    ) -> Result<Server, ListenError> {
        if listen.tls.is_none() && !listen.address.ip().is_loopback() && !listen.allow_insecure {
            return Err(ListenError::Insecure(listen.address));
        }
        let bind = |source| ListenError::Bind {
            address: listen.address,
            source,
        };
        let listener = TcpListener::bind(listen.address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let server = Server {
            address,
            tls: listen.tls.is_some(),
            draining,
            stopped: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        let shared = Arc::new(Shared {
            builder: builder(&limits),
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            requests: Arc::new(Semaphore::new(limits.requests_max)),
            addresses: Mutex::new(HashMap::new()),
            router: with_fallbacks(router),
            tls: listen.tls,
            draining: server.draining.clone(),
            stopped: server.stopped.clone(),
            limits,
        });
        let tracker = server.connections.clone();
        // Tracked as well, so that the port is free once the shutdown is over.
        server.connections.spawn(accept(listener, shared, tracker));
        Ok(server)
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for a client on this machine, as `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
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
