//! The engine: one thread that owns database, log and state machine. Commands come in over a
//! bounded channel; all that wait are applied in one transaction, and answered once it is durable.
//!
//! | part | subject |
//! |---|---|
//! | [`handle`] | what the rest of the process asks |
//! | [`command`] | how it is put to the thread |
//! | [`stats`] | counters and levels |
//! | [`log`] | where log entries go |

pub mod command;
pub mod handle;
pub mod log;
pub mod stats;

pub use command::{Appended, Delivery, Greeting, HandedIn, PollReply};
pub use handle::Handle;
pub(crate) use handle::lock;
pub use stats::StatsView;

pub use crate::Refusal;
pub use crate::core::{TaskContext, Validation};
