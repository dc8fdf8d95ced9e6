//! What is printed and where: results on stdout, everything else on stderr.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;

use crate::text::one_line;

/// How much is said, and in which form.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    /// Results as JSON.
    pub json: bool,
    /// Nothing on stderr but errors.
    pub quiet: bool,
    /// More on stderr.
    pub verbose: bool,
}

impl Ui {
    /// A result, or a part of one: goes to stdout. A reader that has gone away is no error.
    ///
    /// # Errors
    ///
    /// When stdout cannot be written, for instance to a full disk.
    pub fn bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("the result could not be written to stdout")
            }
            _ => Ok(()),
        }
    }

    /// Bytes of a guest, as a result: without what could command a terminal, if stdout is one.
    ///
    /// # Errors
    ///
    /// As [`Ui::bytes`].
    pub fn foreign(&self, bytes: &[u8]) -> anyhow::Result<()> {
        match io::stdout().is_terminal() {
            true => self.bytes(&TerminalFilter::default().filter(bytes)),
            false => self.bytes(bytes),
        }
    }

    /// A line of a result.
    ///
    /// # Errors
    ///
    /// As [`Ui::bytes`].
    pub fn line(&self, line: impl AsRef<str>) -> anyhow::Result<()> {
        self.bytes(format!("{}\n", line.as_ref()).as_bytes())
    }

    /// A result as one JSON object on one line.
    ///
    /// # Errors
    ///
    /// As [`Ui::bytes`].
    pub fn object(&self, value: &serde_json::Value) -> anyhow::Result<()> {
        self.line(value.to_string())
    }

    /// Something worth knowing, on stderr.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            to_stderr(&format!("{}\n", one_line(text.as_ref())));
        }
    }

    /// Something that only `-v` shows.
    pub fn detail(&self, text: impl AsRef<str>) {
        if self.verbose {
            self.note(text);
        }
    }

    /// Whether to show progress: to a person only.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }
}

/// Writes to stderr. That it cannot be written to is nothing anyone could be told.
pub fn to_stderr(text: &str) {
    bytes_to_stderr(text.as_bytes());
}

/// As [`to_stderr`], for bytes that need not be text.
pub fn bytes_to_stderr(bytes: &[u8]) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(bytes);
    let _ = stderr.flush();
}

/// Passes a guest's bytes on to a terminal without the control characters by which they could
/// command it: move the cursor over what was printed before, or type into the shell.
#[derive(Debug, Default)]
pub struct TerminalFilter {
    /// Whether the last byte was 0xC2, the first of a C1 control character in UTF-8.
    c2: bool,
}

impl TerminalFilter {
    /// The bytes that may be shown.
    pub fn filter(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(bytes.len().saturating_add(1));
        for byte in bytes {
            if std::mem::take(&mut self.c2) {
                match byte {
                    0x80..=0x9f => {
                        shown.push(b'?');
                        continue;
                    }
                    _ => shown.push(0xc2),
                }
            }
            match byte {
                b'\n' | b'\t' | 0x20..=0x7e => shown.push(*byte),
                0xc2 => self.c2 = true,
                0..=0x1f | 0x7f => shown.push(b'?'),
                // Alone these are C1 control characters to some terminals; as part of a longer
                // character they are not.
                _ => shown.push(*byte),
            }
        }
        shown
    }
}

/// One line on a terminal that is written again and again.
#[derive(Debug)]
pub struct ProgressLine {
    enabled: bool,
    shown: bool,
}

impl ProgressLine {
    /// A line that is shown only if `enabled`.
    pub fn new(enabled: bool) -> ProgressLine {
        ProgressLine {
            enabled,
            shown: false,
        }
    }

    /// Shows `done` of `total` steps (0 for unknown) with a note.
    pub fn show(&mut self, done: u64, total: u64, note: &str) {
        if !self.enabled {
            return;
        }
        let share = match total {
            0 => format!("{done}"),
            _ => {
                let percent = u128::from(done) * 100 / u128::from(total);
                format!("{done}/{total} ({percent}%)")
            }
        };
        let note: String = one_line(note).chars().take(60).collect();
        to_stderr(&format!("\r\x1b[K{share} {note}"));
        self.shown = true;
    }

    /// Takes the line away, so that something else can be printed.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            to_stderr("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal_even_in_pieces() {
        let mut filter = TerminalFilter::default();
        assert_eq!(filter.filter(b"a\x1b[2Jb\r\n\t"), b"a?[2Jb?\n\t");
        // U+009B, the one-character form of ESC [, cut in two.
        assert_eq!(filter.filter(b"x\xc2"), b"x");
        assert_eq!(filter.filter(b"\x9by"), b"?y");
        // U+00E9 and U+00A7 are ordinary.
        let text = "\u{e9}\u{a7}".as_bytes();
        assert_eq!(filter.filter(text), text);
    }
}
