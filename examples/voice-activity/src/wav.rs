//! From the bytes of a WAV file to windows of samples.

use hound::{SampleFormat, WavIntoSamples, WavReader, WavSpec};

use crate::error::Failure;
use crate::{SAMPLE_RATE, WINDOW};

/// A recording whose header was read and whose samples are all there.
pub(crate) struct Recording<'a> {
    length: u64,
    samples: Samples<'a>,
}

/// The samples that are still to be read.
enum Samples<'a> {
    Int16(WavIntoSamples<&'a [u8], i16>),
    Float32(WavIntoSamples<&'a [u8], f32>),
}

impl<'a> Recording<'a> {
    /// Reads the header of a WAV file, nothing of its samples yet.
    ///
    /// # Errors
    ///
    /// [`Failure::NotWav`], [`Failure::Format`] or [`Failure::CutOff`].
    pub(crate) fn parse(file: &'a [u8]) -> Result<Self, Failure> {
        let reader = open(file)?;
        let spec = reader.spec();
        let width: u64 = match (spec.sample_format, spec.bits_per_sample) {
            (SampleFormat::Int, 16) => 2,
            (SampleFormat::Float, 32) => 4,
            _ => return Err(unsupported(spec)),
        };
        if spec.sample_rate != SAMPLE_RATE || spec.channels != 1 {
            return Err(unsupported(spec));
        }

        let length = u64::from(reader.len());
        let promised = length.saturating_mul(width);
        // The reader would meet the end of the file only after inference on all that comes before.
        let present = reader.into_inner().len() as u64;
        if promised > present {
            return Err(Failure::CutOff { promised, present });
        }
        // It says what follows the header only by giving it back, so there is a second one.
        let reader = open(file)?;
        let samples = match spec.sample_format {
            SampleFormat::Int => Samples::Int16(reader.into_samples()),
            SampleFormat::Float => Samples::Float32(reader.into_samples()),
        };
        Ok(Self { length, samples })
    }

    /// How many samples there are.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// All samples in windows, the last one filled up with silence. Samples are numbers around
    /// 0 whose full scale is 1. A window is an error when one of its samples cannot be used; the
    /// windows after it mean nothing.
    pub(crate) fn windows(mut self) -> impl Iterator<Item = Result<[f32; WINDOW], Failure>> {
        let starts = (0..self.length).step_by(WINDOW);
        starts.map(move |start| {
            let mut window = [0.0; WINDOW];
            for (slot, index) in window.iter_mut().zip(start..self.length) {
                *slot = self.samples.next(index)?;
            }
            Ok(window)
        })
    }
}

impl Samples<'_> {
    /// The next sample, which is number `index`.
    fn next(&mut self, index: u64) -> Result<f32, Failure> {
        let sample = match self {
            // Full scale is 2^15, as libsndfile and torchaudio have it: exact in binary.
            Self::Int16(samples) => samples
                .next()
                .map(|sample| sample.map(|value| f32::from(value) / 32_768.0)),
            Self::Float32(samples) => samples.next(),
        };
        let unreadable = |reason| Failure::Unreadable { index, reason };
        let value = sample
            .ok_or_else(|| unreadable("there are no more".to_string()))?
            .map_err(|error| unreadable(error.to_string()))?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Failure::NotFinite { index, value })
        }
    }
}

/// Reads the header, up to the first sample.
fn open(file: &[u8]) -> Result<WavReader<&[u8]>, Failure> {
    WavReader::new(file).map_err(|error| Failure::NotWav {
        reason: match error {
            hound::Error::IoError(_) => {
                format!("no samples can be found in its {} bytes", file.len())
            }
            hound::Error::Unsupported => "its samples are compressed".to_string(),
            other => other.to_string(),
        },
    })
}

fn unsupported(spec: WavSpec) -> Failure {
    let channels = match spec.channels {
        1 => "1 channel".to_string(),
        more => format!("{more} channels"),
    };
    let kind = match spec.sample_format {
        SampleFormat::Int => "integers",
        SampleFormat::Float => "floats",
    };
    Failure::Format {
        found: format!(
            "{} Hz, {channels}, {}-bit {kind}",
            spec.sample_rate, spec.bits_per_sample
        ),
    }
}

#[cfg(test)]
mod tests;
