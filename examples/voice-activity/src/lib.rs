//! Finds the speech in a recording with the silero voice activity detector, as an Adit task.
//!
//! The model looks at 32 ms of sound at a time and carries a state from each window to the next,
//! so this is also the example of a task that calls a model many times and streams its output:
//! every segment of speech is emitted as soon as it is complete.
//!
//! # Input, arguments, output
//!
//! The input is a WAV file: 16 kHz, one channel, 16-bit integers or 32-bit floats. The run makes
//! `silero_vad_16k_op15.onnx` of the Python package silero-vad available under the name `silero`.
//!
//! ```text
//! adit run voice_activity.wasm --model silero=silero_vad_16k_op15.onnx --input sample.wav
//! ```
//!
//! The output has one line for each segment, its start and its end in seconds, and then one for
//! the whole recording. These are the arguments that may follow after `--`:
//!
//! - `--json`: the lines are JSON objects, `{"type":"segment","start":0.258,"end":1.278}` and
//!   `{"type":"summary","segments":2,"speech":2.008,"audio":3.553}`; times are in seconds.
//! - `--threshold X`: the probability from which on a window counts as speech, from 0.01 to
//!   below 1 (default 0.5). A higher one finds less.
//!
//! # Where the sample comes from
//!
//! `sample.wav` is a synthetic voice. These commands made it (espeak-ng 1.51, SoX 14.4):
//!
//! ```text
//! espeak-ng -v en -s 150 -w a.wav "Open the adit."
//! espeak-ng -v en -s 150 -w b.wav "Check the receipt."
//! sox -D a.wav -r 16000 -c 1 -b 16 a16.wav pad 0.3 0.4
//! sox -D b.wav -r 16000 -c 1 -b 16 b16.wav pad 0 0.2
//! sox -D a16.wav b16.wav sample.wav
//! ```

#![warn(missing_docs)]

mod detector;
mod error;
mod options;
mod report;
mod segments;
mod wav;

use adit_sdk::Error;

use detector::Detector;
use options::Options;
use report::Report;
use segments::Segmenter;
use wav::Recording;

/// How many samples a second of sound has.
const SAMPLE_RATE: u32 = 16_000;
/// How many new samples the model takes at a time.
const WINDOW: usize = 512;

/// The task: a WAV file in, one emitted line for each segment of speech, and a summary.
///
/// # Errors
///
/// Codes from 16 on as in this crate's `Failure`: an argument or a recording that it does not
/// take, or an answer that the model cannot have given. [`Error::INFERENCE`] when inference fails.
#[adit_sdk::task]
pub fn run(input: Vec<u8>) -> Result<String, Error> {
    let options = Options::parse(&adit_sdk::args())?;
    let recording = Recording::parse(&input)?;
    let length = recording.length();
    let mut detector = Detector::new()?;
    let mut segmenter = Segmenter::new(options.threshold);
    let mut report = Report::new(options.json);
    let mut progress = Progress::new(length);

    for window in recording.windows() {
        let probability = detector.speech_probability(&window?)?;
        if let Some(segment) = segmenter.push(probability) {
            adit_sdk::emit(report.segment(segment).as_bytes());
        }
        progress.advance();
    }
    if let Some(segment) = segmenter.finish(length) {
        adit_sdk::emit(report.segment(segment).as_bytes());
    }
    Ok(report.summary(length))
}

/// Reports each second of the recording once: a call costs fuel, and a window is far shorter.
struct Progress {
    samples: u64,
    length: u64,
    reported: u64,
}

impl Progress {
    fn new(length: u64) -> Self {
        Self {
            samples: 0,
            length,
            reported: 0,
        }
    }

    /// Counts one window, the last of which may reach beyond the end of the recording.
    fn advance(&mut self) {
        let rate = u64::from(SAMPLE_RATE);
        self.samples = self.samples.saturating_add(WINDOW as u64).min(self.length);
        // The last, incomplete second is a step too, so that the steps add up to the total.
        let seconds = if self.samples == self.length {
            self.length.div_ceil(rate)
        } else {
            self.samples / rate
        };
        if seconds > self.reported {
            self.reported = seconds;
            adit_sdk::progress(seconds, self.length.div_ceil(rate), "seconds of audio");
        }
    }
}

#[cfg(test)]
mod tests;
