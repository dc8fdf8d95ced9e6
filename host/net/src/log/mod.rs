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
//! | [`router`], [`routers`] | serve a log's folder, and many |
//! | [`TileSource`] | where others read a log's files: a server, a folder, files at hand |
//! | [`LogReader`], [`Walk`] | checkpoints, proofs and entries of a log that others write, checked |
//! | [`Mirror`] | a copy of a log that others write |
//! | [`fsck()`], [`fsck_state`] | a log at rest, checked |
//! | [`witness`] | those who cosign checkpoints, and what a log asks of them |

mod cosigned;
mod disk;
mod edge;
mod error;
mod fsck;
mod integrate;
mod mirror;
mod open;
mod reader;
mod scrub;
mod serve;
mod source;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod walk;
pub mod witness;
mod write;

pub use error::LogError;
pub use fsck::{Sound, fsck, fsck_state};
pub use integrate::Integrated;
pub use mirror::{Mirror, MirrorError, Updated};
pub use reader::{FailureKind, LogReader, ReadLogError, Trust, Trusted};
pub use serve::{router, routers};
pub use source::{FilesSource, FolderSource, SourceError, TileSource};
pub use store::{Check, Log, LogOptions, read_entry};
pub use walk::{Bundle, Walk, WalkOptions};

/// The file with the newest checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// The file with the newest checkpoint that has cosignatures.
pub const COSIGNED: &str = "cosigned";
