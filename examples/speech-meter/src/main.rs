//! Shows how much of each second of a recording is speech.
//!
//! This program knows nothing of Adit. It was written for the crate `wasi-nn` 0.6, whose interface
//! is that of WASI preview 1, and is used here as its documentation says. `adit build` puts an
//! adapter between it and `wasi:nn`:
//!
//! ```text
//! $ adit build examples/speech-meter
//! $ adit run target/wasm32-wasip2/release/speech-meter.wasm \
//!       --input recording.wav --model silero=target/models/silero/model.onnx
//!    0 s  0.71  ##############
//!    1 s  0.23  #####
//!    2 s  0.87  #################
//!    3 s  0.02
//! speech 0.51 of 3.6 s
//! ```
//!
//! The model is Silero VAD for 16 kHz. What goes in and comes out has numbers in that interface,
//! in the order of the model's file.

mod meter;
mod recording;

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use wasi_nn::{ExecutionTarget, GraphBuilder, GraphEncoding, GraphExecutionContext, TensorType};

use meter::Meter;
use recording::{CONTEXT, SAMPLE_RATE, WINDOW};

/// The name under which the host has the model.
const MODEL: &str = "silero";

/// The samples of a window and of the end of the one before: f32[1, CONTEXT + WINDOW].
const INPUT_SAMPLES: usize = 0;
/// What the model remembers: f32[2, 1, 128].
const INPUT_STATE: usize = 1;
/// Samples in a second: an i64 without dimensions.
const INPUT_RATE: usize = 2;
/// The probability of speech in the window: f32[1, 1].
const OUTPUT_PROBABILITY: usize = 0;
/// What the model remembers next time.
const OUTPUT_STATE: usize = 1;

/// The dimensions of the model's state, and the numbers that it holds.
const STATE: [usize; 3] = [2, 1, 128];
const STATE_LENGTH: usize = 2 * 128;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the recording could not be read, or the result not written: {0}")]
    Stream(#[from] io::Error),
    #[error("{0}")]
    Recording(#[from] recording::Failure),
    #[error("inference with the model `{MODEL}` failed: {0}")]
    Inference(#[from] wasi_nn::Error),
    #[error(
        "the model `{MODEL}` gave output {output} with {bytes} bytes, and {expected} are right; \
         hint: it must be Silero VAD for 16 kHz"
    )]
    Answer {
        output: usize,
        bytes: usize,
        expected: usize,
    },
    #[error("the model `{MODEL}` gave {0} as a probability")]
    Probability(f32),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("speech-meter: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut file = Vec::new();
    io::stdin().read_to_end(&mut file)?;
    let samples = recording::samples(&file)?;

    let graph =
        GraphBuilder::new(GraphEncoding::Onnx, ExecutionTarget::CPU).build_from_cache(MODEL)?;
    let mut context = graph.init_execution_context()?;
    // This one stays as it is for all windows.
    context.set_input(INPUT_RATE, TensorType::I64, &[], [i64::from(SAMPLE_RATE)])?;

    let mut meter = Meter::new(samples.len());
    let mut state = [0.0_f32; STATE_LENGTH];
    for window in recording::windows(&samples) {
        let dimensions = [1, CONTEXT + WINDOW];
        context.set_input(INPUT_SAMPLES, TensorType::F32, &dimensions, window)?;
        context.set_input(INPUT_STATE, TensorType::F32, &STATE, state)?;
        context.compute()?;
        let mut probability = [0.0_f32];
        output(&context, OUTPUT_PROBABILITY, &mut probability)?;
        output(&context, OUTPUT_STATE, &mut state)?;
        let [probability] = probability;
        if !(0.0..=1.0).contains(&probability) {
            return Err(Failure::Probability(probability));
        }
        meter.add(probability);
    }
    io::stdout().write_all(meter.report().as_bytes())?;
    Ok(())
}

/// Copies an output of the last computation, which must fill `values`.
fn output(
    context: &GraphExecutionContext<'_>,
    output: usize,
    values: &mut [f32],
) -> Result<(), Failure> {
    let bytes = context.get_output(output, values)?;
    let expected = size_of_val(values);
    match bytes == expected {
        true => Ok(()),
        false => Err(Failure::Answer {
            output,
            bytes,
            expected,
        }),
    }
}
