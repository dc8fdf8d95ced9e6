//! A client of other nodes: typed errors, time-outs, bounded answers, retries, signed requests.
//!
//! ```no_run
//! # async fn example(config: adit_net::http::client::ClientConfig) -> Result<(), Box<dyn std::error::Error>> {
//! use adit_net::http::client::Client;
//!
//! let client = Client::new(config)?;
//! let version: serde_json::Value = client.get("/version").send().await?.json()?;
//! # Ok(())
//! # }
//! ```
//!
//! An answer with a status of 400 or more is an error ([`ClientError::Refused`]). A request is sent
//! again if that may help ([`ClientError::retryable`]) and if it is idempotent or had no effect.
//! Redirects are not followed: what was signed or authorised for one address goes to no other.

mod call;
mod error;
mod events;
mod retry;
mod transfer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use adit_protocol::keys::Keypair;
use http::{HeaderValue, Method};
use url::{Host, Url};

pub use call::{Answer, Call};
pub use error::ClientError;
pub use events::{Event, Events};
pub use retry::{Retry, Sleeper, TokioSleeper};
pub use transfer::{FileSink, MemorySink, Sink};

use crate::clock::{Clock, SystemClock};
use crate::tls::Roots;

/// What a client needs to know.
#[derive(Clone)]
pub struct ClientConfig {
    /// The address of the node, as `https://host:port`. A path is put before all others.
    pub base: Url,
    /// Who may vouch for its certificate.
    pub roots: Roots,
    /// The token of a client, sent with every request.
    pub token: Option<String>,
    /// The key of a node, which signs the requests that are asked to be signed.
    pub node: Option<Arc<Keypair>>,
    /// The time to connect, with TLS, in milliseconds.
    pub connect_ms: u64,
    /// The time for a request with its answer, in milliseconds; each one can have another.
    pub timeout_ms: u64,
    /// The longest answer in bytes; each request can have another.
    pub answer_bytes_max: usize,
    /// How often to try.
    pub retry: Retry,
    /// Speak HTTP/2 without TLS, to a server that is known to.
    pub http2_without_tls: bool,
    /// The time that requests are signed with.
    pub clock: Arc<dyn Clock>,
    /// Waits between attempts.
    pub sleeper: Arc<dyn Sleeper>,
}

impl ClientConfig {
    /// The usual settings for the node at `base`.
    pub fn new(base: Url) -> ClientConfig {
        ClientConfig {
            base,
            roots: Roots::system(),
            token: None,
            node: None,
            connect_ms: 5_000,
            timeout_ms: 30_000,
            answer_bytes_max: 4 * 1024 * 1024,
            retry: Retry::default(),
            http2_without_tls: false,
            clock: Arc::new(SystemClock),
            sleeper: Arc::new(TokioSleeper),
        }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientConfig({}, secrets not shown)", self.base)
    }
}

/// A client of one node. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    http: reqwest::Client,
    authorization: Option<HeaderValue>,
    /// What to add to the clock when signing, in milliseconds. It is learnt from the other side
    /// once it finds a request stale, and only matters to that side, whose authority is signed.
    clock_offset_ms: AtomicI64,
}

impl Client {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Base`] and [`ClientError::Setup`].
    pub fn new(config: ClientConfig) -> Result<Client, ClientError> {
        let base = |why| ClientError::Base {
            url: error::shown(&config.base),
            why,
        };
        let loopback = match config.base.host() {
            None => return Err(base("it has no host")),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
        };
        if !config.base.username().is_empty() || config.base.password().is_some() {
            return Err(base("it has a user name in it"));
        }
        // The system's authorities are needed, and need to be there, only for TLS.
        let tls = match config.base.scheme() {
            "https" => config.roots.client_config()?,
            "http" => Roots::none().client_config()?,
            _ => return Err(base("it is neither https nor http")),
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("adit/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_millis(config.connect_ms))
            .http2_keep_alive_interval(Duration::from_secs(20))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(60));
        if loopback {
            builder = builder.no_proxy();
        }
        if config.http2_without_tls && config.base.scheme() == "http" {
            builder = builder.http2_prior_knowledge();
        }
        let http = builder
            .build()
            .map_err(|error| ClientError::Build(error.to_string()))?;
        let authorization = match &config.token {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                    .map_err(|_| base("the token has characters that no token has"))?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Client(Arc::new(Inner {
            config,
            http,
            authorization,
            clock_offset_ms: AtomicI64::new(0),
        })))
    }

    /// The address of the node.
    pub fn base(&self) -> &Url {
        &self.0.config.base
    }

    /// A request of any method. `path` begins with a slash and has no query.
    pub fn call(&self, method: Method, path: &str) -> Call {
        Call::new(self, method, path)
    }

    /// A GET request.
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// A POST request.
    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// A PUT request.
    pub fn put(&self, path: &str) -> Call {
        self.call(Method::PUT, path)
    }

    /// A DELETE request.
    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }
}
