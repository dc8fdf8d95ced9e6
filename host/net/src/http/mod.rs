//! The HTTP conventions of all nodes.
//!
//! | module | subject |
//! |---|---|
//! | [`server`] | accepts connections, with bounds on everything a peer can use up |
//! | [`extract`] | reads requests: bounded bodies, JSON, CBOR documents, queries, paths |
//! | [`client`] | sends requests: time-outs, retries, typed errors, transfers of files |
//! | [`files`] | files as answers: ranges, headers for caches |
//! | [`health`] | `/livez`, `/readyz`, `/version` |
//! | [`limit`] | what one address may ask for |
//! | [`status`] | the one mapping from codes to HTTP statuses |

pub mod client;
pub mod extract;
pub mod files;
pub mod health;
pub mod limit;
pub mod server;
pub mod status;
