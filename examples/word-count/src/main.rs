//! Counts the lines, words and bytes of its input, and lists the most frequent words.
//!
//! This is an Adit task that knows nothing of Adit: an ordinary program, in the world
//! `wasi:cli/command`. Standard input is the task's input, standard output its output, and an
//! exit code other than zero its error. The same source runs on any machine:
//!
//! ```text
//! $ echo 'To be, or not to be' | cargo run -q -p word-count -- --top 2
//! lines  1
//! words  6
//! bytes  20
//! unique 4
//!
//!      2 be
//!      2 to
//! ```
//!
//! A word is what stands between white space, without the punctuation around it and in lower
//! case; words that are equally frequent are listed in alphabetical order. Bytes that are not
//! UTF-8 count as bytes, and inside a word as U+FFFD.
//!
//! The words are held in a `HashMap` on purpose. Its order differs from run to run wherever the
//! hasher's seed does, so this task also shows that a run in Adit repeats: there the seed is
//! derived from the run's specification, and the sorting below does not depend on it at all.

mod args;
mod count;

use std::io::{self, Read, Write};
use std::process::ExitCode;

use args::Args;
use count::Counter;

fn main() -> ExitCode {
    let result = Args::parse(std::env::args().skip(1))
        .map_err(|error| error.to_string())
        .and_then(|args| {
            run(&args, io::stdin().lock(), io::stdout().lock()).map_err(|error| error.to_string())
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("word-count: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Reads `input` to its end and writes the report to `output`.
///
/// # Errors
///
/// Those of the two streams.
fn run(args: &Args, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut counter = Counter::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        counter.feed(buffer.get(..length).unwrap_or_default());
    }
    // One write: each call of the host costs fuel.
    output.write_all(counter.finish().report(args.top).as_bytes())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_stream_is_complete() {
        let args = Args { top: 2 };
        let mut output = Vec::new();
        run(&args, &b"To be, or not to be\n"[..], &mut output).unwrap();
        let expected = "lines  1\nwords  6\nbytes  20\nunique 4\n\n      2 be\n      2 to\n";
        assert_eq!(String::from_utf8(output).unwrap(), expected);
    }

    #[test]
    fn a_broken_stream_is_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let error = run(&Args { top: 1 }, Broken, Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "broken");
    }
}
