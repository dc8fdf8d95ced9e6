//! What is written about segments: text in columns, or JSON lines.

use std::fmt;

use crate::SAMPLE_RATE;
use crate::segments::Segment;

/// Writes the lines of the output and counts what the last of them sums up.
pub(crate) struct Report {
    json: bool,
    segments: u64,
    /// Samples in all segments.
    speech: u64,
}

impl Report {
    /// A report without segments yet.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            segments: 0,
            speech: 0,
        }
    }

    /// The line of a segment, with its line break.
    pub(crate) fn segment(&mut self, segment: Segment) -> String {
        let length = segment.end.saturating_sub(segment.start);
        self.segments = self.segments.saturating_add(1);
        self.speech = self.speech.saturating_add(length);
        let (start, end) = (Seconds(segment.start), Seconds(segment.end));
        if self.json {
            format!("{{\"type\":\"segment\",\"start\":{start},\"end\":{end}}}\n")
        } else {
            format!("{start:>10} {end:>10}\n")
        }
    }

    /// The last line, with its line break, for a recording of `length` samples.
    pub(crate) fn summary(&self, length: u64) -> String {
        let (segments, speech, audio) = (self.segments, Seconds(self.speech), Seconds(length));
        if self.json {
            format!(
                "{{\"type\":\"summary\",\"segments\":{segments},\"speech\":{speech},\
                 \"audio\":{audio}}}\n"
            )
        } else {
            let plural = if segments == 1 { "" } else { "s" };
            format!("{segments} segment{plural}, {speech} s of speech in {audio} s of audio\n")
        }
    }
}

/// A number of samples, written in seconds with three decimals.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole numbers, so that no rounding of floats can differ between machines.
        let samples_per_ms = u64::from(SAMPLE_RATE / 1_000);
        let ms = self.0.saturating_add(samples_per_ms / 2) / samples_per_ms;
        formatter.pad(&format!("{}.{:03}", ms / 1_000, ms % 1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENTS: [Segment; 2] = [
        Segment {
            start: 0,
            end: 16_032,
        },
        Segment {
            start: 1_600_160,
            end: 19_200_007,
        },
    ];

    #[test]
    fn text_is_aligned_and_rounded_to_milliseconds() {
        let mut report = Report::new(false);
        assert_eq!(report.segment(SEGMENTS[0]), "     0.000      1.002\n");
        assert_eq!(
            report.summary(32_000),
            "1 segment, 1.002 s of speech in 2.000 s of audio\n"
        );
        assert_eq!(report.segment(SEGMENTS[1]), "   100.010   1200.000\n");
        assert_eq!(
            report.summary(19_200_008),
            "2 segments, 1100.992 s of speech in 1200.001 s of audio\n"
        );
    }

    #[test]
    fn json_has_one_object_on_each_line() {
        let mut report = Report::new(true);
        assert_eq!(
            report.segment(SEGMENTS[1]),
            "{\"type\":\"segment\",\"start\":100.010,\"end\":1200.000}\n"
        );
        assert_eq!(
            report.summary(19_200_000),
            "{\"type\":\"summary\",\"segments\":1,\"speech\":1099.990,\"audio\":1200.000}\n"
        );
    }

    #[test]
    fn no_segments_are_a_report_too() {
        assert_eq!(
            Report::new(false).summary(0),
            "0 segments, 0.000 s of speech in 0.000 s of audio\n"
        );
    }
}
