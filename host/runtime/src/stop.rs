//! Why the host ended a guest: the errors that host functions raise through wasmtime.

use crate::admission::Refusal;
use crate::record::Divergence;

/// A reason, raised by a host function, to end the guest. It travels through wasmtime as the
/// error of the call and is turned into the run's status in [`crate::outcome`].
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The guest called `wasi:cli/exit`.
    #[error("the program exited with code {0}")]
    Exit(u8),
    /// A limit of the run was reached, at a place that is the same on every machine.
    #[error("the limit {limit} of {max} was exceeded")]
    Limit {
        /// The limit's field name in `Limits`.
        limit: &'static str,
        /// Its value, in the unit of that field.
        max: u64,
    },
    /// Something on this host failed that is not the guest's doing.
    #[error("{0}")]
    HostFault(String),
    /// A replayed guest asked for something that the transcript does not contain.
    #[error("{0}")]
    Diverged(Box<Divergence>),
    /// Something that the run needs is not here: a model, or the tensors of a replay.
    #[error("{0}")]
    Unavailable(String),
    /// The component cannot be run.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The run was cancelled from outside.
    #[error("the run was cancelled")]
    Cancelled,
}

impl Stop {
    /// A host fault with a message for the operator.
    pub fn host_fault(message: impl Into<String>) -> Self {
        Stop::HostFault(message.into())
    }
}
