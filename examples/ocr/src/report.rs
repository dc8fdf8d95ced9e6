//! What is written about a line of text: its words, or its pieces with their places.

use std::fmt::Write as _;

use crate::characters::Reading;
use crate::page::Rect;

/// Writes the lines of the output.
pub(crate) struct Report {
    boxes: bool,
}

impl Report {
    /// With `boxes`, a line for each piece of text, else one for each line of text.
    pub(crate) fn new(boxes: bool) -> Self {
        Self { boxes }
    }

    /// What is written of line `number`, whose pieces come from left to right.
    pub(crate) fn line(&self, number: u64, pieces: &[(Rect, Reading)]) -> String {
        let mut line = String::new();
        if self.boxes {
            for (place, reading) in pieces {
                let Rect {
                    left,
                    top,
                    right,
                    bottom,
                } = place;
                // Writing to a `String` does not fail.
                let _ = writeln!(
                    line,
                    "{number}\t{left}\t{top}\t{right}\t{bottom}\t{:.3}\t{}",
                    reading.confidence, reading.text
                );
            }
        } else {
            let texts: Vec<_> = pieces
                .iter()
                .map(|(_, reading)| reading.text.as_str())
                .collect();
            line.push_str(&texts.join(" "));
            line.push('\n');
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_words_or_a_row_for_each_piece() {
        let piece = |left, text: &str| {
            let place = Rect {
                left,
                top: 2,
                right: left + 9,
                bottom: 30,
            };
            let reading = Reading {
                text: text.into(),
                confidence: 0.98765,
            };
            (place, reading)
        };
        let pieces = [piece(1, "to be"), piece(50, "or")];
        assert_eq!(Report::new(false).line(3, &pieces), "to be or\n");
        assert_eq!(
            Report::new(true).line(3, &pieces),
            "3\t1\t2\t10\t30\t0.988\tto be\n3\t50\t2\t59\t30\t0.988\tor\n"
        );
    }
}
