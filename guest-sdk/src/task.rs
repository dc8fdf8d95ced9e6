//! How a task's argument is made from bytes and its result turned into bytes.

use crate::{Error, Result};

/// A type that the argument of a task can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the input of a task",
    label = "not a task's input",
    note = "use `Vec<u8>`, `String` or `adit_sdk::Json<T>` (feature `json`), or implement `adit_sdk::TaskInput`"
)]
pub trait TaskInput: Sized {
    /// Makes the argument from the whole input of the run.
    ///
    /// # Errors
    ///
    /// The task's error, usually with [`Error::INPUT`], when the bytes are not what it takes.
    fn from_bytes(bytes: Vec<u8>) -> Result<Self>;
}

/// A type that the result of a task can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a task",
    label = "not a task's result",
    note = "use `Vec<u8>`, `String`, `()` or `adit_sdk::Json<T>` (feature `json`), or implement `adit_sdk::TaskOutput`"
)]
pub trait TaskOutput {
    /// Turns the result into the last bytes of the output.
    ///
    /// # Errors
    ///
    /// The task's error, usually with [`Error::OUTPUT`], when the value has no form as bytes.
    fn into_bytes(self) -> Result<Vec<u8>>;
}

/// What a task's function can return: a [`TaskOutput`], or a `Result` of one.
///
/// There is nothing to implement: it holds for every `TaskOutput`.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    label = "not a task's result",
    note = "use `Vec<u8>`, `String`, `()` or `adit_sdk::Json<T>` (feature `json`), or a `Result` of one of these whose error converts into `adit_sdk::Error`"
)]
pub trait TaskReturn {
    /// The bytes of the result, or the task's error.
    ///
    /// # Errors
    ///
    /// The error that the function returned, or that of [`TaskOutput::into_bytes`].
    fn into_result(self) -> Result<Vec<u8>>;
}

impl TaskInput for Vec<u8> {
    fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Ok(bytes)
    }
}

impl TaskInput for String {
    fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::from_utf8(bytes).map_err(|error| {
            Error::new(
                Error::INPUT,
                format!(
                    "the input is not UTF-8 text: the byte at offset {} is not part of a character; \
                     hint: this task takes text",
                    error.utf8_error().valid_up_to()
                ),
            )
        })
    }
}

impl TaskOutput for Vec<u8> {
    fn into_bytes(self) -> Result<Vec<u8>> {
        Ok(self)
    }
}

impl TaskOutput for String {
    fn into_bytes(self) -> Result<Vec<u8>> {
        Ok(Self::into_bytes(self))
    }
}

impl TaskOutput for () {
    fn into_bytes(self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

impl<T: TaskOutput> TaskReturn for T {
    fn into_result(self) -> Result<Vec<u8>> {
        self.into_bytes()
    }
}

impl<T: TaskOutput, E: Into<Error>> TaskReturn for Result<T, E> {
    fn into_result(self) -> Result<Vec<u8>> {
        self.map_err(Into::into)?.into_bytes()
    }
}

/// A borrowed input does not compile:
///
/// ```compile_fail
/// #[adit_sdk::task]
/// fn run(input: &[u8]) -> Vec<u8> { input.to_vec() }
/// # fn main() {}
/// ```
///
/// nor does a type that is no input,
///
/// ```compile_fail,E0277
/// #[adit_sdk::task]
/// fn run(input: u64) -> Vec<u8> { input.to_le_bytes().to_vec() }
/// # fn main() {}
/// ```
///
/// a type that is no result,
///
/// ```compile_fail,E0277
/// #[adit_sdk::task]
/// fn run(input: Vec<u8>) -> u64 { input.len() as u64 }
/// # fn main() {}
/// ```
///
/// an error that is no task error,
///
/// ```compile_fail,E0277
/// struct Mine;
/// #[adit_sdk::task]
/// fn run(input: Vec<u8>) -> Result<Vec<u8>, Mine> { Ok(input) }
/// # fn main() {}
/// ```
///
/// or an `async` function:
///
/// ```compile_fail
/// #[adit_sdk::task]
/// async fn run(input: Vec<u8>) -> Vec<u8> { input }
/// # fn main() {}
/// ```
#[cfg(doctest)]
struct Misuse;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_utf8_is_a_task_error_with_its_offset() {
        let error = String::from_bytes(b"caf\xe9".to_vec()).unwrap_err();
        assert_eq!(error.code, Error::INPUT);
        assert!(error.message.contains("offset 3"), "{error}");
    }

    #[test]
    fn results_come_plain_or_in_a_result_of_any_convertible_error() {
        assert_eq!("ab".to_string().into_result(), Ok(b"ab".to_vec()));
        assert_eq!(().into_result(), Ok(Vec::new()));
        let failed: Result<String, std::num::ParseIntError> = Err("x".parse::<u8>().unwrap_err());
        assert_eq!(failed.into_result().unwrap_err().code, Error::FAILED);
        let kept: Result<(), Error> = Err(Error::new(77, "kept"));
        assert_eq!(kept.into_result(), Err(Error::new(77, "kept")));
    }
}
