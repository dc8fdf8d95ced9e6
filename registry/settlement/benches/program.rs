//! Settlements of 10^4, 10^5 and 10^6 receipts from a file: seconds to write, to read and to settle
//! it, and seconds and most memory of the program `adit-settlement`, as a table in Markdown.
//!
//! `cargo bench -p adit-settlement --bench program -- [--receipts 10000000]` adds a size; 10^7 receipts
//! are a file of 1.4 GB.

mod epoch;

use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use adit_settlement::output::Output;
use adit_settlement::{InputReader, settle};
use epoch::COORDINATORS;

fn main() {
    let mut args = std::env::args().skip_while(|arg| arg != "--receipts");
    let more = args.nth(1).map(|text| text.parse().expect("a number"));
    println!(
        "| receipts | logs | input, MB | write, s | read, s | settle, s | program, s | receipts a second | program's memory, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let sizes = [0, 10_000, 100_000, 1_000_000].into_iter().chain(more);
    for receipts in sizes {
        row(receipts, COORDINATORS);
    }
    // What a log pays for is remembered while it is read.
    row(1_000_000, 1);
}

fn row(receipts: u64, logs: u64) {
    let file = TemporaryFile::new();
    let (write, ()) = timed(|| {
        let to = File::create(&file.0).expect("the target folder takes a file");
        epoch::write(BufWriter::new(to), receipts, logs);
    });
    let length = fs::metadata(&file.0).expect("it was written").len();
    let (read, count) = timed(|| {
        let mut reader = InputReader::new(file.open()).expect("it is in order");
        let mut count = 0;
        while reader.next_receipt().expect("it is in order").is_some() {
            count += 1;
        }
        count
    });
    assert_eq!(count, receipts);
    let (settling, totals) = timed(|| settle(file.open(), io::sink()).expect("it is in order"));
    // What is measured is payment, not refusal.
    assert_eq!(totals.counts.paid, receipts);
    let (program, (memory_kib, output)) = timed(|| run(&file));
    assert_eq!(
        Output::read(&output[..]).expect("it is in order").totals,
        totals
    );
    let [write, read, settling, program] =
        [write, read, settling, program].map(|t| t.as_secs_f64());
    let a_second = receipts as f64 / program;
    println!(
        "| {receipts} | {logs} | {:.1} | {write:.3} | {read:.3} | {settling:.3} | {program:.3} | {a_second:.0} | {:.1} |",
        length as f64 / 1e6,
        memory_kib as f64 / 1024.0
    );
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let result = work();
    (begin.elapsed(), result)
}

/// Runs the program, and returns the most memory that it had in KiB, and what it wrote.
fn run(input: &TemporaryFile) -> (u64, Vec<u8>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_adit-settlement"))
        .stdin(Stdio::from(input.open()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut stdout = child.stdout.take().expect("it is a pipe");
    let (mut output, mut part, mut memory_kib) = (Vec::new(), vec![0; 1 << 16], 0);
    // It writes once all is computed, and as much again as a pipe holds only when that was read, so
    // it is still there to be asked until near its end.
    loop {
        let count = stdout.read(&mut part).expect("the pipe works");
        if count == 0 {
            break;
        }
        output.extend_from_slice(&part[..count]);
        memory_kib = most_memory_kib(&status).unwrap_or(0).max(memory_kib);
    }
    assert!(child.wait().expect("it was started").success());
    assert!(memory_kib > 0, "no {} with VmHWM", status.display());
    (memory_kib, output)
}

/// VmHWM of a process, which is gone once the process has ended.
fn most_memory_kib(status: &Path) -> Option<u64> {
    let text = fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// An input in the target folder, which is deleted at the end.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new() -> TemporaryFile {
        let name = format!("settlement-{}", std::process::id());
        TemporaryFile(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name))
    }

    fn open(&self) -> File {
        File::open(&self.0).expect("it was written")
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
