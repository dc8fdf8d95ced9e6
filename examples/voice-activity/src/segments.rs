//! From the probability of each window to segments of speech.
//!
//! The rules and the defaults are those of `get_speech_timestamps` in silero-vad 6.2.3, but one
//! window at a time: a segment is known as soon as the silence after it has lasted long enough.
//! There is no greatest length of a segment, as by default there.

use crate::WINDOW;

/// A speech must last longer than 250 ms, before it is padded.
const MIN_SPEECH: u64 = 4_000;
/// Silence of 100 ms ends a speech.
const MIN_SILENCE: u64 = 1_600;
/// A segment reaches 30 ms into the silence on both sides. Two neighbours cannot meet, as the
/// silence between them is longer than `MIN_SILENCE`.
const PAD: u64 = 480;
/// How far below the threshold a probability must be to count as silence.
const HYSTERESIS: f64 = 0.15;
/// The least threshold for silence.
const MIN_SILENCE_THRESHOLD: f64 = 0.01;

const _: () = assert!(2 * PAD <= MIN_SILENCE);

/// A segment of speech, in samples from the beginning of the recording; `end` is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Collects probabilities into segments.
pub(crate) struct Segmenter {
    speech_threshold: f64,
    silence_threshold: f64,
    /// The first sample of the next window.
    position: u64,
    /// The speech that has begun and not ended.
    speech: Option<Speech>,
}

struct Speech {
    start: u64,
    /// Where the probability fell below the threshold for silence, if it has not risen since to
    /// that for speech.
    quiet_since: Option<u64>,
}

impl Segmenter {
    /// A window whose probability is at least `threshold` begins or continues a speech; one below
    /// `threshold - 0.15` may end it.
    pub(crate) fn new(threshold: f64) -> Self {
        Self {
            speech_threshold: threshold,
            silence_threshold: (threshold - HYSTERESIS).max(MIN_SILENCE_THRESHOLD),
            position: 0,
            speech: None,
        }
    }

    /// Takes the probability of the next window, and returns the segment that is complete now.
    pub(crate) fn push(&mut self, probability: f32) -> Option<Segment> {
        let probability = f64::from(probability);
        let position = self.position;
        self.position = position.saturating_add(WINDOW as u64);

        if probability >= self.speech_threshold {
            let speech = self.speech.get_or_insert(Speech {
                start: position,
                quiet_since: None,
            });
            speech.quiet_since = None;
            return None;
        }
        let speech = self.speech.as_mut()?;
        if probability >= self.silence_threshold {
            // In between: neither the end of the speech nor the end of the silence.
            return None;
        }
        let end = *speech.quiet_since.get_or_insert(position);
        if position.saturating_sub(end) < MIN_SILENCE {
            return None;
        }
        let start = speech.start;
        self.speech = None;
        // The padding ends before this window does, hence within the recording.
        segment(start, end).map(|segment| Segment {
            end: segment.end.saturating_add(PAD),
            ..segment
        })
    }

    /// The segment that the end of the recording completes. `length` is that of the recording in
    /// samples, without what fills its last window up.
    pub(crate) fn finish(self, length: u64) -> Option<Segment> {
        // A silence that was too short to end the speech belongs to it.
        segment(self.speech?.start, length)
    }
}

/// The speech between two samples, padded at its start, unless it is too short.
fn segment(start: u64, end: u64) -> Option<Segment> {
    (end.saturating_sub(start) > MIN_SPEECH).then(|| Segment {
        start: start.saturating_sub(PAD),
        end,
    })
}

#[cfg(test)]
mod tests;
