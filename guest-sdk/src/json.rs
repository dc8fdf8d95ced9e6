//! JSON as a task's input and output.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result, TaskInput, TaskOutput};

/// A value that enters or leaves a task as JSON (feature `json`).
///
/// As input, bytes that are not JSON for `T` are a task error with code [`Error::INPUT`] that
/// names the line and column. As output it is written compactly, without a final newline.
///
/// ```
/// use adit_sdk::Json;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Rectangle { width: f64, height: f64 }
/// #[derive(Serialize)]
/// struct Area { area: f64 }
///
/// #[adit_sdk::task]
/// fn run(Json(rectangle): Json<Rectangle>) -> Json<Area> {
///     Json(Area { area: rectangle.width * rectangle.height })
/// }
/// # fn main() {
/// let run = adit_sdk::testing::run(run, r#"{"width": 2.0, "height": 3.5}"#);
/// assert_eq!(run.output(), br#"{"area":7.0}"#);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> TaskInput for Json<T> {
    fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        serde_json::from_slice(&bytes).map(Json).map_err(|error| {
            Error::new(
                Error::INPUT,
                format!("the input is not the JSON that this task takes: {error}"),
            )
        })
    }
}

impl<T: Serialize> TaskOutput for Json<T> {
    fn into_bytes(self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.0).map_err(|error| {
            Error::new(
                Error::OUTPUT,
                format!("the result cannot be written as JSON: {error}"),
            )
        })
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new(Self::FAILED, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_json_names_its_place() {
        let error = Json::<Vec<u8>>::from_bytes(b"[1,\n 300]".to_vec()).unwrap_err();
        assert_eq!(error.code, Error::INPUT);
        assert!(error.message.contains("line 2 column 4"), "{error}");
    }

    #[test]
    fn a_map_that_json_cannot_express_is_an_error() {
        let map = std::collections::BTreeMap::from([(vec![1_u8], 1)]);
        assert_eq!(Json(map).into_bytes().unwrap_err().code, Error::OUTPUT);
    }
}
