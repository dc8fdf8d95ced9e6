//! Why this task fails.

use adit_sdk::Error;

use crate::detect::BOXES_MAX;
use crate::{PIXELS_MAX, SIDE_MAX};

/// What is wrong with the arguments, the image or a model's answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    /// An argument that the task does not know, or one too many.
    #[error("argument {0:?} is not known; hint: the only argument is `--boxes`")]
    UnknownArgument(String),

    /// The input begins as neither kind of image does.
    #[error(
        "the input is not an image that this task reads: its {bytes} bytes begin neither as a PNG \
         nor as a JPEG file; {HINT}"
    )]
    NotAnImage {
        /// How long the input is.
        bytes: usize,
    },

    /// An image that cannot be decoded.
    #[error("the {format} image cannot be read: {reason}; {HINT}")]
    Unreadable {
        /// `PNG` or `JPEG`.
        format: &'static str,
        /// What its decoder met.
        reason: String,
    },

    /// An image that would take too much memory and time.
    #[error(
        "the image has {width} x {height} pixels, but at most {PIXELS_MAX} in all and {SIDE_MAX} \
         on a side are taken; hint: scale it down, as with `magick INPUT -resize 3508x3508 \
         output.png`: 300 dots per inch are enough"
    )]
    TooLarge {
        /// Pixels in a row, as the file states it.
        width: usize,
        /// Rows, likewise.
        height: usize,
    },

    /// More pieces of text than any page has.
    #[error(
        "there are more than {BOXES_MAX} pieces of text on the image; hint: is it a page? Cut a \
         large one into several"
    )]
    TooManyBoxes,

    /// An answer of a model with a value that is no number.
    #[error("model `{model}` answered with {value}, which is no probability; hint: {hint}", hint = model_hint(model))]
    NoProbability {
        /// The name of the model.
        model: &'static str,
        /// What it answered.
        value: f32,
    },
}

/// What makes any picture one that this task takes.
const HINT: &str = "hint: convert it with `magick INPUT output.png`, and a page of a PDF with \
                    `pdftoppm -r 300 -png input.pdf output`";

/// Which file a model is.
fn model_hint(model: &str) -> String {
    format!("is `{model}` the file ch_PP-OCRv4_{model}_infer.onnx?")
}

impl Failure {
    /// The code of the task's error.
    fn code(&self) -> u32 {
        match self {
            Self::UnknownArgument(_) => 16,
            Self::NotAnImage { .. } => 17,
            Self::Unreadable { .. } => 18,
            Self::TooLarge { .. } => 19,
            Self::TooManyBoxes => 20,
            Self::NoProbability { .. } => 21,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.code(), failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_code_and_says_what_to_do() {
        let failures = [
            (16, Failure::UnknownArgument("-b".into())),
            (17, Failure::NotAnImage { bytes: 3 }),
            (
                18,
                Failure::Unreadable {
                    format: "PNG",
                    reason: "x".into(),
                },
            ),
            (
                19,
                Failure::TooLarge {
                    width: 1,
                    height: 2,
                },
            ),
            (20, Failure::TooManyBoxes),
            (
                21,
                Failure::NoProbability {
                    model: "det",
                    value: f32::NAN,
                },
            ),
        ];
        for (code, failure) in failures {
            let error = Error::from(failure);
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains("hint: "), "{error}");
        }
    }
}
