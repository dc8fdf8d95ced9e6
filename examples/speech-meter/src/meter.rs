//! From the probabilities of windows to a line for each second.

use std::fmt::Write as _;

use crate::recording::{SAMPLE_RATE, WINDOW};

/// A second is full of speech at as many marks.
const MARKS: f32 = 20.0;

/// Sums the probabilities of speech in the windows that begin in each second.
pub struct Meter {
    samples: usize,
    windows: usize,
    seconds: Vec<Second>,
}

#[derive(Clone, Copy, Default)]
struct Second {
    sum: f32,
    windows: u16,
}

impl Second {
    fn mean(self) -> f32 {
        self.sum / f32::from(self.windows.max(1))
    }
}

impl Meter {
    /// For a recording with this many samples.
    pub fn new(samples: usize) -> Meter {
        Meter {
            samples,
            windows: 0,
            seconds: Vec::new(),
        }
    }

    /// Takes the probability of speech in the next window.
    pub fn add(&mut self, probability: f32) {
        let second = self.windows * WINDOW / SAMPLE_RATE as usize;
        self.windows += 1;
        if self.seconds.len() <= second {
            self.seconds.resize(second + 1, Second::default());
        }
        self.seconds[second].sum += probability;
        self.seconds[second].windows += 1;
    }

    /// A line for each second with the share of speech in it, and one for the whole.
    pub fn report(&self) -> String {
        let mut report = String::new();
        for (at, second) in self.seconds.iter().enumerate() {
            let marks = "#".repeat((second.mean() * MARKS).round() as usize);
            let line = format!("{at:>4} s  {:.2}  {marks}", second.mean());
            // Writing to a `String` does not fail.
            let _ = writeln!(report, "{}", line.trim_end());
        }
        // Not `sum`, which gives -0 for nothing.
        let sum = self
            .seconds
            .iter()
            .fold(0.0, |sum, second| sum + second.sum);
        let share = sum / self.windows.max(1) as f32;
        let seconds = self.samples as f32 / SAMPLE_RATE as f32;
        let _ = writeln!(report, "speech {share:.2} of {seconds:.1} s");
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_count_for_the_second_they_begin_in() {
        // 31.25 windows are a second, so 32 windows begin in the first one.
        let mut meter = Meter::new(40 * WINDOW);
        for window in 0..40 {
            meter.add(if window < 32 { 1.0 } else { 0.02 });
        }
        let expected = "   0 s  1.00  ####################\n   1 s  0.02\n\
                        speech 0.80 of 1.3 s\n";
        assert_eq!(meter.report(), expected);
    }

    #[test]
    fn nothing_is_no_speech() {
        assert_eq!(Meter::new(0).report(), "speech 0.00 of 0.0 s\n");
    }
}
