//! The output: a table of similarities for people, or lines of JSON for programs.

use std::fmt::Write as _;

use adit_sdk::{Error, Result};
use serde::Serialize;

use crate::embed::dot;
use crate::tokens::{TOKENS_MAX, Tokens};

/// Longer sentences are cut in the table.
const TEXT_WIDTH_MAX: usize = 60;

/// A sentence with its vector, as `--json` writes it.
#[derive(Serialize)]
pub struct Sentence<'a> {
    sentence: &'a str,
    tokens: usize,
    truncated: bool,
    vector: Vec<f32>,
}

impl<'a> Sentence<'a> {
    /// The sentence `text`, its tokens and its vector of length 1.
    pub fn new(text: &'a str, tokens: &Tokens, vector: Vec<f32>) -> Self {
        Self {
            sentence: text,
            tokens: tokens.ids.len(),
            truncated: tokens.truncated,
            vector,
        }
    }

    /// The sentence as one line of JSON.
    ///
    /// # Errors
    ///
    /// When it cannot be expressed, which no field of it causes.
    pub fn json_line(&self) -> Result<String> {
        let mut line =
            serde_json::to_string(self).map_err(|error| Error::new(Error::OUTPUT, error))?;
        line.push('\n');
        Ok(line)
    }
}

/// The cosine of every two sentences, a row and a column for each, and the text beside its row.
pub fn table(sentences: &[Sentence<'_>]) -> String {
    let width = sentences.len().to_string().len();
    // Writing to a `String` does not fail.
    let mut table = " ".repeat(width);
    for column in 1..=sentences.len() {
        let _ = write!(table, "{column:8}");
    }
    table.push('\n');
    for (index, row) in sentences.iter().enumerate() {
        let _ = write!(table, "{:width$}", index + 1);
        for column in sentences {
            // Adding zero turns a rounded -0.000 into 0.000.
            let cosine = (dot(&row.vector, &column.vector) * 1000.0).round() / 1000.0 + 0.0;
            let _ = write!(table, "{cosine:8.3}");
        }
        let _ = writeln!(table, "  {}", shown(row.sentence));
    }
    let truncated = sentences.iter().filter(|row| row.truncated).count();
    if truncated > 0 {
        let _ = writeln!(
            table,
            "\n{truncated} of {} sentences have more than {TOKENS_MAX} tokens; the model read those only",
            sentences.len()
        );
    }
    table
}

/// A sentence as the table shows it: short, and without characters that steer a terminal.
fn shown(text: &str) -> String {
    let steers = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut safe = text.chars().map(|character| {
        if steers(character) {
            '\u{fffd}'
        } else {
            character
        }
    });
    let mut short: String = safe.by_ref().take(TEXT_WIDTH_MAX).collect();
    if safe.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(text: &str, truncated: bool, vector: [f32; 2]) -> Sentence<'_> {
        let ids = vec![101, 102];
        Sentence::new(text, &Tokens { ids, truncated }, vector.to_vec())
    }

    #[test]
    fn the_table_is_aligned_and_names_what_was_cut() {
        let table = table(&[
            sentence("to the right", false, [1.0, 0.0]),
            sentence("to the left", true, [-0.8, 0.6]),
            sentence("up, almost", false, [-0.0001, 1.0]),
        ]);
        let expected = "        1       2       3\n\
                        1   1.000  -0.800   0.000  to the right\n\
                        2  -0.800   1.000   0.600  to the left\n\
                        3   0.000   0.600   1.000  up, almost\n\
                        \n\
                        1 of 3 sentences have more than 128 tokens; the model read those only\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn long_or_steering_text_is_made_harmless() {
        assert_eq!(shown("a\u{1b}[2Jb\u{202e}"), "a\u{fffd}[2Jb\u{fffd}");
        let long = shown(&"é".repeat(TEXT_WIDTH_MAX + 1));
        assert_eq!(long.chars().count(), TEXT_WIDTH_MAX);
        assert!(long.ends_with("é…"));
        assert_eq!(
            shown(&"x".repeat(TEXT_WIDTH_MAX)),
            "x".repeat(TEXT_WIDTH_MAX)
        );
    }
}
