//! Why this task fails.

use adit_sdk::Error;

/// What is wrong with the arguments, the recording or the model's answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    /// An argument that the task does not know.
    #[error("argument {0:?} is not known; hint: there are `--json` and `--threshold X`")]
    UnknownArgument(String),

    /// `--threshold` without a number that can be one.
    #[error(
        "`--threshold` needs a probability from 0.01 to below 1, but {given}; hint: the default \
         is `--threshold 0.5`"
    )]
    Threshold {
        /// What came instead, in words.
        given: String,
    },

    /// The input is not a WAV file, or one whose header cannot be read.
    #[error("the input cannot be read as a WAV file: {reason}; {HINT}")]
    NotWav {
        /// What the reader of the header met.
        reason: String,
    },

    /// A WAV file with other samples than the model takes.
    #[error(
        "the recording has {found}, but the model takes 16000 Hz, 1 channel, 16-bit integers or \
         32-bit floats; {HINT}"
    )]
    Format {
        /// Rate, channels and kind of samples, in words.
        found: String,
    },

    /// The header promises more samples than there are.
    #[error(
        "the recording is cut off: its header promises {promised} bytes of samples, but {present} \
         follow; hint: copy or download it again, or repair it with `sox --ignore-length \
         input.wav output.wav`"
    )]
    CutOff {
        /// Bytes of samples by the header.
        promised: u64,
        /// Bytes after the header.
        present: u64,
    },

    /// A sample that cannot be read, although the header and the length are in order.
    #[error("sample {index} of the recording cannot be read: {reason}; {HINT}")]
    Unreadable {
        /// Counted from 0.
        index: u64,
        /// What the reader of samples met.
        reason: String,
    },

    /// A sample that is infinite or not a number, which the model's state would not recover from.
    #[error("sample {index} of the recording is {value}, not a finite number; {HINT}")]
    NotFinite {
        /// Counted from 0.
        index: u64,
        /// The sample.
        value: f32,
    },

    /// An answer of the model that is no probability.
    #[error(
        "for window {window} (of 512 samples) the model answered {value}, which is no \
         probability; hint: is `silero` the file silero_vad_16k_op15.onnx, and are the samples \
         between -1 and 1?"
    )]
    NoProbability {
        /// Counted from 0.
        window: u64,
        /// The answer.
        value: f32,
    },
}

/// What makes any recording one that this task takes.
const HINT: &str = "hint: convert it with `sox input.wav -r 16000 -c 1 -b 16 output.wav`, or \
                    `ffmpeg -i INPUT -ar 16000 -ac 1 -c:a pcm_s16le output.wav`";

impl Failure {
    /// The code of the task's error.
    fn code(&self) -> u32 {
        match self {
            Self::UnknownArgument(_) | Self::Threshold { .. } => 16,
            Self::NotWav { .. } => 17,
            Self::Format { .. } => 18,
            Self::CutOff { .. } => 19,
            Self::Unreadable { .. } | Self::NotFinite { .. } => 20,
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
            (16, Failure::UnknownArgument("-j".into())),
            (17, Failure::NotWav { reason: "x".into() }),
            (18, Failure::Format { found: "x".into() }),
            (
                19,
                Failure::CutOff {
                    promised: 2,
                    present: 1,
                },
            ),
            (
                20,
                Failure::NotFinite {
                    index: 0,
                    value: f32::NAN,
                },
            ),
            (
                21,
                Failure::NoProbability {
                    window: 0,
                    value: 2.0,
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
