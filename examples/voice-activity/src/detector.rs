//! The model: a probability of speech for each window, and what it remembers in between.

use adit_sdk::{Error, Model, Session, Tensor};

use crate::error::Failure;
use crate::{SAMPLE_RATE, WINDOW};

/// How many samples of the window before the model sees again.
const CONTEXT: usize = 64;
/// The shape of the model's state for one recording.
const STATE: [usize; 3] = [2, 1, 128];

/// The silero detector on one recording, from its beginning.
///
/// The model's inputs are `input` f32[1, 576], `state` f32[2, 1, 128] and the scalar `sr` i64; its
/// outputs `output` f32[1, 1] and `stateN` f32[2, 1, 128].
pub(crate) struct Detector {
    session: Session,
    sample_rate: Tensor<i64>,
    state: Tensor<f32>,
    context: [f32; CONTEXT],
    windows: u64,
}

impl Detector {
    /// Prepares the model `silero`. Context and state are zeros before the first window.
    ///
    /// # Errors
    ///
    /// [`Error::INFERENCE`], when there is no such model or the host has no room for it.
    pub(crate) fn new() -> Result<Self, Error> {
        Ok(Self {
            session: Model::named("silero")?.session()?,
            sample_rate: Tensor::scalar(i64::from(SAMPLE_RATE)),
            state: Tensor::new(&STATE, vec![0.0; STATE.iter().product()])?,
            context: [0.0; CONTEXT],
            windows: 0,
        })
    }

    /// The probability, in 0..=1, that there is speech in the window that follows the last one.
    ///
    /// # Errors
    ///
    /// [`Error::INFERENCE`], when inference fails or answers in other shapes; the code of
    /// [`Failure::NoProbability`], when the answer is not a number in 0..=1.
    pub(crate) fn speech_probability(&mut self, window: &[f32; WINDOW]) -> Result<f32, Error> {
        let mut samples = Vec::with_capacity(CONTEXT + WINDOW);
        samples.extend_from_slice(&self.context);
        samples.extend_from_slice(window);
        let samples = Tensor::new(&[1, CONTEXT + WINDOW], samples)?;
        let outputs = self.session.run(&[
            ("input", &samples),
            ("state", &self.state),
            ("sr", &self.sample_rate),
        ])?;

        let output = outputs
            .get::<f32>("output")?
            .with_shape(&[Some(1), Some(1)])?;
        let value = output.data().first().copied().unwrap_or(f32::NAN);
        if !(0.0..=1.0).contains(&value) {
            let window = self.windows;
            return Err(Failure::NoProbability { window, value }.into());
        }
        self.state = outputs.get("stateN")?.with_shape(&STATE.map(Some))?;
        if let Some(last) = window.last_chunk() {
            self.context = *last;
        }
        self.windows = self.windows.saturating_add(1);
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
