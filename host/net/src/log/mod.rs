//! The log on disk, and how others read and watch it.
//!
//! Entries are appended in the transaction that does what they tell of, so that both are kept or
//! neither is. From there they are integrated: written into tiles, and covered by a new checkpoint.
//! What was acknowledged is therefore durable before it is in the tree, and a step that fails half
//! way is done again with the same outcome.
//!
//! | part | subject |
//! |---|---|
//! | [`Log`] | a log that this process writes: [`open`](Log::open), append, integrate |
//! | [`router`] | serves a log's folder |

mod cosigned;
mod disk;
mod edge;
mod error;
mod integrate;
mod open;
mod scrub;
mod serve;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod write;

pub use error::LogError;
pub use integrate::Integrated;
pub use serve::router;
pub use store::{Check, Log, LogOptions, read_entry};

/// The file with the newest checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// The file with the newest checkpoint that has cosignatures.
pub const COSIGNED: &str = "cosigned";
