//! From the bytes of a WAV file to what the model sees.

use hound::{SampleFormat, WavReader};

/// Samples in a second, as the model wants them.
pub const SAMPLE_RATE: u32 = 16_000;
/// Samples that the model judges at once.
pub const WINDOW: usize = 512;
/// Samples before them that it sees again.
pub const CONTEXT: usize = 64;

/// Why a recording cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error("the input is not a WAV file that can be read: {0}; {HINT}")]
    NotWav(String),
    #[error(
        "the recording has {rate} Hz, {channels} channels and {bits} bits, and the model takes \
         {SAMPLE_RATE} Hz, 1 channel and 16-bit integers; {HINT}"
    )]
    Format { rate: u32, channels: u16, bits: u16 },
}

const HINT: &str =
    "hint: convert it with `ffmpeg -i INPUT -ar 16000 -ac 1 -c:a pcm_s16le OUTPUT.wav`";

/// The samples of a WAV file, whose full scale is 1.
///
/// # Errors
///
/// When it is none, is cut off, or has other samples than the model takes.
pub fn samples(file: &[u8]) -> Result<Vec<f32>, Failure> {
    let not_wav = |error: hound::Error| Failure::NotWav(error.to_string());
    let reader = WavReader::new(file).map_err(not_wav)?;
    let spec = reader.spec();
    let is_right = spec.sample_rate == SAMPLE_RATE
        && spec.channels == 1
        && spec.bits_per_sample == 16
        && spec.sample_format == SampleFormat::Int;
    if !is_right {
        return Err(Failure::Format {
            rate: spec.sample_rate,
            channels: spec.channels,
            bits: spec.bits_per_sample,
        });
    }
    reader
        .into_samples::<i16>()
        .map(|sample| sample.map(|value| f32::from(value) / 32_768.0))
        .collect::<Result<_, _>>()
        .map_err(not_wav)
}

/// The windows of a recording, one after the other, each behind the end of the one before. There
/// is silence before the first, and after the end of the last.
pub fn windows(samples: &[f32]) -> impl Iterator<Item = [f32; CONTEXT + WINDOW]> {
    let mut before = [0.0; CONTEXT];
    samples.chunks(WINDOW).map(move |chunk| {
        let mut window = [0.0; CONTEXT + WINDOW];
        let (context, rest) = window.split_at_mut(CONTEXT);
        context.copy_from_slice(&before);
        for (slot, sample) in rest.iter_mut().zip(chunk) {
            *slot = *sample;
        }
        if let Some(last) = window.last_chunk() {
            before = *last;
        }
        window
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(rate: u32, samples: &[i16]) -> Vec<u8> {
        let mut file = std::io::Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        for sample in samples {
            writer.write_sample(*sample).unwrap();
        }
        writer.finalize().unwrap();
        file.into_inner()
    }

    #[test]
    fn samples_are_scaled_and_other_files_refused() {
        let file = wav(SAMPLE_RATE, &[0, 16_384, -32_768]);
        assert_eq!(samples(&file), Ok(vec![0.0, 0.5, -1.0]));
        let format = Failure::Format {
            rate: 8000,
            channels: 1,
            bits: 16,
        };
        assert_eq!(samples(&wav(8000, &[1])), Err(format));
        for bad in [&b"no wav at all"[..], &file[..20], &file[..file.len() - 2]] {
            assert!(matches!(samples(bad), Err(Failure::NotWav(_))));
        }
    }

    #[test]
    fn windows_follow_each_other_and_end_in_silence() {
        let samples: Vec<f32> = (1..=600).map(|at| at as f32).collect();
        let windows: Vec<_> = windows(&samples).collect();
        assert_eq!(windows.len(), 2);
        assert_eq!(windows[0][..CONTEXT], [0.0; CONTEXT]);
        assert_eq!(windows[0][CONTEXT..], samples[..WINDOW]);
        assert_eq!(windows[1][..CONTEXT + 88], samples[WINDOW - CONTEXT..]);
        assert_eq!(windows[1][CONTEXT + 88..], [0.0; WINDOW - 88]);
        assert_eq!(super::windows(&[]).count(), 0);
    }
}
