//! Why a task failed, and why an inference did.

use std::fmt;

/// The result of a task's own functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a task could not produce a result: its own verdict on its input, not a fault of the
/// runtime. The run ends with status 1, "task-error", which is as reproducible as a result.
///
/// The errors of the standard library that parsing meets convert into it with `?`; for any other
/// there is [`Error::new`]: `.map_err(|error| Error::new(20, error))`.
///
/// ```
/// use adit_sdk::Error;
///
/// fn half(text: &str) -> Result<u32, Error> {
///     let number: u32 = text.trim().parse()?;
///     if number % 2 == 1 {
///         return Err(Error::new(20, format!("{number} is odd")));
///     }
///     Ok(number / 2)
/// }
///
/// assert_eq!(half("8"), Ok(4));
/// assert_eq!(half("7").unwrap_err().code, 20);
/// assert_eq!(half("x").unwrap_err().code, Error::FAILED);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// A number for programs. The SDK itself uses the constants of this type; a task that wants
    /// to be told apart from it starts its own at 16.
    pub code: u32,
    /// A sentence for people: what is wrong, why, and what to do. The runtime shows at most 4096
    /// bytes of it.
    pub message: String,
}

impl Error {
    /// The code of errors that were converted with `?` and have no other.
    pub const FAILED: u32 = 1;
    /// The code of an input that is not what the task takes: not UTF-8, or not the JSON for it.
    pub const INPUT: u32 = 2;
    /// The code of a failed inference, converted from [`NnError`].
    pub const INFERENCE: u32 = 3;
    /// The code of a result that cannot be written as bytes.
    pub const OUTPUT: u32 = 4;

    /// An error with a `code` of the task's choice and a message for people.
    pub fn new(code: u32, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (code {})", self.message, self.code)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new(Self::FAILED, message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::new(Self::FAILED, message)
    }
}

impl From<NnError> for Error {
    fn from(error: NnError) -> Self {
        Self::new(Self::INFERENCE, error)
    }
}

/// A conversion from every `std::error::Error` would forbid a task to give its own error types
/// their own codes, so the conversions are listed.
macro_rules! from_std {
    ($($ty:ty),* $(,)?) => {$(
        impl From<$ty> for Error {
            fn from(error: $ty) -> Self {
                Self::new(Self::FAILED, error)
            }
        }
    )*};
}

from_std!(
    std::array::TryFromSliceError,
    std::char::ParseCharError,
    std::char::TryFromCharError,
    std::fmt::Error,
    std::io::Error,
    std::num::ParseFloatError,
    std::num::ParseIntError,
    std::num::TryFromIntError,
    std::str::ParseBoolError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
);

/// What kind of inference error it was: the codes of `wasi:nn/errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NnErrorCode {
    /// An argument does not fit the model or itself: a name, a shape, an element type, a length.
    InvalidArgument,
    /// The encoding of a model is wrong or not supported.
    InvalidEncoding,
    /// The inference took too long.
    Timeout,
    /// The backend failed.
    RuntimeError,
    /// The backend does not support the operation.
    UnsupportedOperation,
    /// The model or a tensor is too large.
    TooLarge,
    /// There is no model, or no output, of that name.
    NotFound,
    /// The operation is not allowed.
    Security,
    /// The reason is not known.
    Unknown,
}

impl NnErrorCode {
    fn describe(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid argument",
            Self::InvalidEncoding => "invalid encoding",
            Self::Timeout => "timeout",
            Self::RuntimeError => "runtime error",
            Self::UnsupportedOperation => "unsupported operation",
            Self::TooLarge => "too large",
            Self::NotFound => "not found",
            Self::Security => "not allowed",
            Self::Unknown => "unknown error",
        }
    }
}

/// Why a tensor could not be made or an inference did not happen. It converts into [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NnError {
    /// The kind of error, as the host or a check of the SDK gave it.
    pub code: NnErrorCode,
    /// What was attempted, with which model or tensor, and what to do.
    pub message: String,
}

impl NnError {
    /// An error of the given kind, as a model registered with `adit_sdk::testing` returns it.
    pub fn new(code: NnErrorCode, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(NnErrorCode::InvalidArgument, message)
    }

    /// Says in front of the message what was attempted.
    pub(crate) fn context(self, attempt: impl fmt::Display) -> Self {
        let message = if self.message.is_empty() {
            attempt.to_string()
        } else {
            format!("{attempt}: {}", self.message)
        };
        Self {
            code: self.code,
            message,
        }
    }
}

impl fmt::Display for NnError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code.describe(), self.message)
    }
}

impl std::error::Error for NnError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inference_error_keeps_its_words_as_a_task_error() {
        let error = NnError::new(NnErrorCode::NotFound, "index 3").context("load model `m`");
        let error = Error::from(error);
        assert_eq!(error.code, Error::INFERENCE);
        assert_eq!(error.message, "not found: load model `m`: index 3");
    }

    #[test]
    fn a_task_can_give_its_own_error_type_its_own_code() {
        #[derive(Debug)]
        struct Odd;
        impl fmt::Display for Odd {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("odd")
            }
        }
        impl std::error::Error for Odd {}
        impl From<Odd> for Error {
            fn from(odd: Odd) -> Self {
                Self::new(16, odd)
            }
        }
        fn fail() -> Result<()> {
            Err(Odd)?
        }
        assert_eq!(fail(), Err(Error::new(16, "odd")));
    }
}
