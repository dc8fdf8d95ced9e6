//! Why a text is no transaction.

use adit_protocol::Code;
use thiserror::Error;

/// Why a text is no transaction.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TextError {
    /// It is too long.
    #[error(
        "the transaction has {found} bytes, at most {max} are allowed; hint: shorten its texts"
    )]
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// The most that are allowed.
        max: usize,
    },
    /// A line that is always the same is another one.
    #[error(
        "the transaction has the line `{found}` in place of `{expected}`; hint: it is of another version, or no transaction"
    )]
    Line {
        /// What should stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// A field is not where it should be.
    #[error(
        "the transaction's field `{name}` is missing before `{found}`; hint: all fields stand in a fixed order, one a line, as `{name}: ...`"
    )]
    Missing {
        /// The field.
        name: &'static str,
        /// The line in its place.
        found: String,
    },
    /// A field's value is none that it can have.
    #[error(
        "the transaction's field `{name}` cannot be used: {why}; hint: correct it and sign anew"
    )]
    Value {
        /// The field.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// There are more lines than the action has.
    #[error(
        "the transaction goes on with `{found}`; hint: fields stand in a fixed order, and none may be added"
    )]
    Left {
        /// The line.
        found: String,
    },
    /// It says what a transaction says, in another way.
    #[error(
        "the transaction is not written in its one form: it differs at byte {at}; hint: amounts and times have no needless digits, and there are no other spaces or line ends"
    )]
    NotCanonical {
        /// Offset of the first byte that differs.
        at: usize,
    },
}

impl TextError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            TextError::TooLong { .. } => Code::TooLarge,
            _ => Code::BadEncoding,
        }
    }
}
