//! Why an epoch was not settled.

use thiserror::Error;

use crate::amount::Overflow;
use crate::input::InputError;
use crate::output::{Unbalanced, WriteError};

/// Why an epoch was not settled. Nothing has been written then, unless writing itself failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The input is refused.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A sum is too large. The checks of an input exclude it.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The sums of the result do not agree. It is checked lest a mistake in here become money.
    #[error(transparent)]
    Unbalanced(#[from] Unbalanced),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
