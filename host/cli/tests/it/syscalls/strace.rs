//! strace: the system calls of a process in the order in which it made them, and calls that are made
//! to fail.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    pub name: String,
    /// Its arguments as strace shows them, with the files behind descriptors.
    pub args: String,
    /// What it returned, or why it did not.
    pub result: String,
    /// Its place in the trace: where it began and where it had ended. strace stops the thread at
    /// both, so that what follows on an end comes later.
    pub begun: usize,
    pub ended: usize,
    /// When it began, in microseconds since 1970.
    pub at_us: u64,
}

impl Call {
    /// Whether it did what it was asked for.
    pub fn worked(&self) -> bool {
        self.result.starts_with(|c: char| c.is_ascii_digit())
    }

    /// Whether it is on the file or socket of this name.
    pub fn is_on(&self, file: &str) -> bool {
        self.args.contains(&format!("{file}>")) || self.args.contains(&format!("{file}\""))
    }

    /// Whether it is on something below a folder.
    pub fn is_below(&self, folder: &Path) -> bool {
        self.args.contains(&format!("{}/", folder.display()))
            || self.is_on(folder.to_str().unwrap())
    }
}

/// Only the calls that are traced stop the process.
const SOME_STOP: &str = "--seccomp-bpf";

/// A way to start a process below strace.
pub struct Tracer {
    options: Vec<String>,
    output: PathBuf,
}

impl Tracer {
    /// Writes the calls of these names to a file.
    pub fn new(output: &Path, calls: &str) -> Tracer {
        let _ = std::fs::remove_file(output);
        let text = |text: &str| text.to_owned();
        Tracer {
            options: vec![
                text("-f"),
                text(SOME_STOP),
                text("-yy"),
                text("-ttt"),
                text("-qq"),
                // So that a page of a database is shown whole.
                text("--string-limit=4096"),
                format!("--trace={calls}"),
            ],
            output: output.to_owned(),
        }
    }

    /// Looks at calls on these files only.
    pub fn only(mut self, paths: &[PathBuf]) -> Tracer {
        for path in paths {
            self.options
                .push(format!("--trace-path={}", path.display()));
        }
        self
    }

    /// Lets calls fail, wait or kill, as strace(1) describes it.
    pub fn inject(mut self, what: &str) -> Tracer {
        if what.contains("signal=") {
            // strace 6.1 loses signals to threads that it stops in this way.
            self.options.retain(|option| option != SOME_STOP);
        }
        self.options.push(format!("--inject={what}"));
        self
    }

    /// To be followed by a program.
    pub fn command(&self) -> Command {
        let mut command = Command::new("strace");
        command.args(&self.options).arg("-o").arg(&self.output);
        command
    }

    /// What was written.
    pub fn text(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn calls(&self) -> Vec<Call> {
        parse(&self.text())
    }
}

/// Whether strace can be used here. Without it these tests say so and do nothing, which under CI is a
/// failure.
pub fn is_here() -> bool {
    let traced = Command::new("strace").args(["-qq", "-f", "true"]).output();
    if traced.is_ok_and(|traced| traced.status.success()) {
        return true;
    }
    let why = "strace is missing or may not trace; hint: cargo xtask setup installs it";
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("skipped: {why}");
    false
}

/// Reads what `strace -f -ttt` writes.
pub fn parse(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: HashMap<u32, usize> = HashMap::new();
    for (at, line) in text.lines().enumerate() {
        let Some((thread, time, rest)) = head(line) else {
            continue;
        };
        if let Some(rest) = rest.strip_prefix("<... ") {
            let resumed = rest.split_once(" resumed>");
            if let (Some((_, rest)), Some(begun)) = (resumed, open.remove(&thread)) {
                let (args, result) = end(rest);
                let call = &mut calls[begun];
                call.args.push_str(args);
                call.result = result.to_owned();
                call.ended = at;
            }
            continue;
        }
        let Some((name, rest)) = rest.split_once('(') else {
            continue;
        };
        let mut call = Call {
            thread,
            name: name.to_owned(),
            args: String::new(),
            result: String::new(),
            begun: at,
            ended: usize::MAX,
            at_us: time,
        };
        if let Some(args) = rest.strip_suffix(" <unfinished ...>") {
            call.args = args.to_owned();
            open.insert(thread, calls.len());
        } else {
            let (args, result) = end(rest);
            call.args = args.to_owned();
            call.result = result.to_owned();
            call.ended = at;
        }
        calls.push(call);
    }
    calls
}

/// Thread, time and the rest of a line.
fn head(line: &str) -> Option<(u32, u64, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (time, rest) = rest.trim_start().split_once(' ')?;
    let (seconds, micros) = time.split_once('.')?;
    let time = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    Some((thread.parse().ok()?, time, rest))
}

/// What is left of the arguments, and the result.
fn end(rest: &str) -> (&str, &str) {
    match rest
        .rsplit_once(") = ")
        .or_else(|| rest.rsplit_once(")  = "))
    {
        Some((args, result)) => (args, result.trim_start()),
        None => (rest, ""),
    }
}

#[test]
fn traces_are_read_also_where_threads_alternate() {
    let text = "\
7 1795726737.500687 rename(\"a/new\", \"a/b\" <unfinished ...>
8 1795726737.500700 fsync(12</x/db-wal>) = 0 (DELAYED)
7 1795726737.500808 <... rename resumed>) = 0
8 1795726737.500900 pwrite64(12</x/db-wal>, \"a) = b\", 4, 0) = -1 EIO (Input/output error) (INJECTED)
8 1795726737.501000 +++ killed by SIGKILL +++
";
    let calls = parse(text);
    let short: Vec<_> = (calls.iter())
        .map(|c| (c.thread, c.name.as_str(), c.begun, c.ended, c.worked()))
        .collect();
    assert_eq!(
        short,
        [
            (7, "rename", 0, 2, true),
            (8, "fsync", 1, 1, true),
            (8, "pwrite64", 3, 3, false)
        ]
    );
    assert_eq!(calls[0].args, "\"a/new\", \"a/b\"");
    assert!(calls[1].is_on("/x/db-wal") && calls[1].is_below(Path::new("/x")));
    assert!(!calls[1].is_on("/x/db"));
    assert_eq!(calls[2].at_us, 1_795_726_737_500_900);
}
