//! What nodes share: HTTP conventions, signed requests, TLS, blobs, and the log on disk.
//!
//! | module | subject |
//! |---|---|
//! | [`clock`] | the time of day, injectable |
//! | [`db`] | SQLite databases that one process owns |
//! | [`http`] | server, extractors, client, files |
//! | [`log`] | the transparency log on disk: written, served, read, mirrored, witnessed |
//! | [`metrics`], [`trace`] | what a node tells those who run it |
//! | [`openapi`] | what the descriptions of all interfaces share |
//! | [`problem`] | errors on the wire: RFC 9457 `application/problem+json` |
//! | [`random`] | randomness, injectable |
//! | [`signed`] | signed requests of nodes: RFC 9421 with sr25519 |
//! | [`simulated`] | work of other threads, which a simulation does on its own |
//! | [`stopped`] | why the engine of a node does nothing any more |
//! | [`tls`] | certificates and keys, for servers and for clients |
//! | [`wal`] | a write-ahead log: durable at once, in tables later |

pub mod clock;
pub mod db;
pub mod http;
pub mod log;
pub mod metrics;
pub mod openapi;
pub mod problem;
pub mod random;
pub mod signed;
pub mod simulated;
pub mod stopped;
pub mod tls;
pub mod trace;
pub mod wal;

pub use clock::{Clock, ManualClock, SystemClock};
pub use problem::Problem;
pub use random::SharedRng;
pub use simulated::blocking;
pub use stopped::Stopped;
