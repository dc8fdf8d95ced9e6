//! Why the engine of a node has stopped.

use adit_protocol::Code;
use thiserror::Error;

/// What is said to all who ask an engine that does nothing any more, and to its operator.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{why}")]
pub struct Stopped {
    /// The code to show.
    pub code: Code,
    /// What happened.
    pub why: String,
}
