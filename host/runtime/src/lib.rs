//! Executes Adit tasks in a sandbox, records them, and replays them bit for bit.
//!
//! | module | subject |
//! |---|---|
//! | [`engine`], [`engine_document`] | the one engine constructor, and every rule a guest can observe |
//! | [`admission`] | which files are components that can run, and their compilation |
//! | [`executor`], [`outcome`] | one run in a fresh instance, and how it ended |
//! | [`wasi`] | clocks, randomness, streams, arguments: deterministic WASI 0.2 |
//! | [`nn`] | `wasi:nn` and the inference backends behind it |
//! | [`record`], [`live`], [`replay`] | the boundary at which inference is recorded and replayed |
//! | [`devices`] | what is measured about devices: right, repeatable, how fast |
//! | [`worker`] | the process that guests run in, and its supervisor |
//! | [`store`] | blobs and compiled components on disk |
//! | [`attest`], [`audit`] | making a receipt's body, and checking a receipt |
//! | [`meter`], [`output`], [`state`] | limits and the data of a run |

pub mod admission;
pub mod attest;
pub mod audit;
#[allow(missing_docs)]
pub mod bindings;
pub mod devices;
pub mod engine;
pub mod engine_document;
pub mod executor;
pub mod live;
pub mod meter;
pub mod nn;
pub mod outcome;
pub mod output;
pub mod record;
pub mod replay;
pub mod state;
pub mod stop;
pub mod store;
pub mod wasi;
pub mod worker;
