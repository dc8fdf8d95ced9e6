//! Counting words in a stream of bytes, and the report.

use std::collections::HashMap;
use std::fmt::Write as _;

/// Bytes without white space are cut into words after this many, so that a stream without any
/// cannot fill the memory.
const WORD_BYTES_MAX: usize = 4096;

/// Counts while the bytes come in, in pieces of any size.
#[derive(Default)]
pub struct Counter {
    counts: Counts,
    /// The bytes since the last white space: a word that may go on in the next piece.
    pending: Vec<u8>,
    ends_in_newline: bool,
}

/// What was counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines; a last one without a newline counts too.
    pub lines: u64,
    /// All words.
    pub words: u64,
    /// All bytes.
    pub bytes: u64,
    /// How often each word occurs.
    pub frequencies: HashMap<String, u64>,
}

impl Counter {
    /// Counts the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.counts.bytes += bytes.len() as u64;
        for &byte in bytes {
            if byte == b'\n' {
                self.counts.lines += 1;
            }
            if byte.is_ascii_whitespace() {
                self.end_of_word();
            } else {
                // A cut falls before a byte that begins a character, never inside one.
                if self.pending.len() >= WORD_BYTES_MAX && byte & 0xC0 != 0x80 {
                    self.end_of_word();
                }
                // A run of continuation bytes is not UTF-8, and must be bounded all the same.
                if self.pending.len() < 2 * WORD_BYTES_MAX {
                    self.pending.push(byte);
                }
            }
        }
        if let Some(last) = bytes.last() {
            self.ends_in_newline = *last == b'\n';
        }
    }

    /// Ends the stream.
    pub fn finish(mut self) -> Counts {
        self.end_of_word();
        if self.counts.bytes > 0 && !self.ends_in_newline {
            self.counts.lines += 1;
        }
        self.counts
    }

    fn end_of_word(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&self.pending);
        // Unicode has more white space than ASCII, so one piece can still hold several words.
        for word in text.split_whitespace() {
            let word = word.trim_matches(|character: char| !character.is_alphanumeric());
            if !word.is_empty() {
                self.counts.words += 1;
                *self
                    .counts
                    .frequencies
                    .entry(word.to_lowercase())
                    .or_default() += 1;
            }
        }
        self.pending.clear();
    }
}

impl Counts {
    /// The report as text, with the `top` most frequent words.
    pub fn report(&self, top: usize) -> String {
        let mut report = format!(
            "lines  {}\nwords  {}\nbytes  {}\nunique {}\n",
            self.lines,
            self.words,
            self.bytes,
            self.frequencies.len()
        );
        let mut ranking: Vec<(&str, u64)> = self
            .frequencies
            .iter()
            .map(|(word, &count)| (word.as_str(), count))
            .collect();
        ranking.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        ranking.truncate(top);
        if !ranking.is_empty() {
            report.push('\n');
        }
        for (word, count) in ranking {
            // Writing to a `String` does not fail.
            let _ = writeln!(report, "{count:7} {word}");
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(bytes: &[u8]) -> Counts {
        let mut counter = Counter::default();
        counter.feed(bytes);
        counter.finish()
    }

    #[test]
    fn punctuation_and_case_do_not_matter_and_ties_are_sorted() {
        let counts = count("Ein Fisch, ein FISCH! »Größe« -- größe\nzwei".as_bytes());
        assert_eq!((counts.lines, counts.words), (2, 7));
        let report = counts.report(3);
        assert!(
            report.ends_with("\n\n      2 ein\n      2 fisch\n      2 größe\n"),
            "{report}"
        );
    }

    #[test]
    fn the_pieces_in_which_bytes_arrive_do_not_matter() {
        let text = "naïve café\u{2003}naïve\r\n\n".repeat(3);
        let whole = count(text.as_bytes());
        assert_eq!((whole.lines, whole.words), (6, 9));
        for size in [1, 2, 3, 7] {
            let mut counter = Counter::default();
            text.as_bytes()
                .chunks(size)
                .for_each(|piece| counter.feed(piece));
            assert_eq!(counter.finish(), whole, "pieces of {size}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_counted_and_marked() {
        let counts = count(b"caf\xe9s \xff\xfe ok");
        assert_eq!((counts.bytes, counts.words), (11, 2));
        assert_eq!(counts.frequencies.get("caf\u{fffd}s"), Some(&1));
    }

    #[test]
    fn a_stream_without_white_space_is_cut() {
        let counts = count(&[b'a'; WORD_BYTES_MAX * 3 + 1]);
        assert_eq!(counts.words, 4);
        assert!(
            counts
                .frequencies
                .keys()
                .all(|word| word.len() <= WORD_BYTES_MAX)
        );
        // Continuation bytes alone never begin a character: the rest of the run is dropped.
        assert_eq!(count(&[0x80; WORD_BYTES_MAX * 9]).words, 0);
    }

    #[test]
    fn nothing_is_no_line() {
        assert_eq!(
            count(b"").report(10),
            "lines  0\nwords  0\nbytes  0\nunique 0\n"
        );
    }
}
