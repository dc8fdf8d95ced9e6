//! Why something was not done: one type for all that is refused to clients and miners.

use adit_protocol::Code;
use serde::Serialize;
use thiserror::Error;

/// A refusal. Nothing was changed by what was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize)]
#[error("{detail}; hint: {hint}")]
pub struct Refusal {
    /// The kind.
    pub code: Code,
    /// What is wrong in this case.
    pub detail: String,
    /// What to do about it.
    pub hint: String,
    /// After how many milliseconds the same may be tried again, where that helps.
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal that sending the same again does not change.
    pub fn new(code: Code, detail: impl Into<String>, hint: impl Into<String>) -> Refusal {
        Refusal {
            code,
            detail: detail.into(),
            hint: hint.into(),
            retry_after_ms: None,
        }
    }

    /// The same, with a time after which to try again.
    pub fn after(mut self, retry_after_ms: u64) -> Refusal {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }
}
