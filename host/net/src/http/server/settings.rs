//! What a server is told before it starts.

use std::io;
use std::net::SocketAddr;

use adit_protocol::Code;
use thiserror::Error;

use crate::metrics::HttpMetrics;
use crate::tls::ServerTls;

/// Bounds on what peers can use up. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. Each miner of a network holds one, and there are up to 16,384.
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
            connections_max: 20_480,
            connections_per_address_max: 1024,
            requests_max: 32_768,
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
    /// Counts requests.
    pub metrics: Option<HttpMetrics>,
}

impl Listen {
    /// An address without TLS, which must be one of this machine alone.
    pub fn plain(address: SocketAddr) -> Listen {
        Listen {
            address,
            tls: None,
            allow_insecure: false,
            metrics: None,
        }
    }

    /// An address with TLS.
    pub fn tls(address: SocketAddr, tls: ServerTls) -> Listen {
        Listen {
            address,
            tls: Some(tls),
            allow_insecure: false,
            metrics: None,
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
