//! The registry: one node that orders transactions into blocks and keeps their log. What they do is
//! the ledger's business; whoever has the log comes to the same state.
//!
//! | module | subject |
//! |---|---|
//! | [`options`], [`running`] | starting a registry, and ending it |
//! | [`engine`] | one thread: transactions that wait become a block, which is durable before it is answered |
//! | [`settling`] | from ledger and logs to the rewards of an epoch |
//! | `store` | the only SQL: the log's tables, transactions by their ids, snapshots |
//! | [`follow`] | the state from a log alone, for followers and for a start |
//! | [`fsck`] | a registry's state at rest, checked |
//! | `witness` | the checker as a witness of coordinators' logs, and the witnesses of the registry's own |
//! | [`figures`] | what is counted, for operators |
//! | [`http`] | the interface |
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod engine;
pub mod figures;
pub mod follow;
pub mod fsck;
pub mod http;
pub mod options;
pub mod running;
pub mod settling;
mod store;
mod witness;

pub use options::Options;
pub use running::{Registry, Running, StartError};
