//! A run that is asked to end, told to end, or just ended, at any moment.

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use adit_protocol::Hash;
use adit_protocol::receipt::Receipt;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Home, copy_program, files, guest};

/// How long the processes of a run may outlive it.
const AFTER: Duration = Duration::from_secs(5);

/// A program file of one's own, so that its processes can be told from all others.
struct Program {
    home: Home,
    program: PathBuf,
}

impl Program {
    fn new() -> Program {
        let home = Home::new();
        let program = home.path("adit");
        copy_program(&program);
        Program { home, program }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(self.home.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .arg("--state")
            .arg(self.home.state())
            .args(words);
        // Where the tests run in the background of a shell, they and what they start ignore Ctrl-C.
        let attend = || {
            for signal in [libc::SIGINT, libc::SIGTERM] {
                // SAFETY: gives the signal its default action, of which there is no state to harm.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            Ok(())
        };
        // SAFETY: between fork and exec, `attend` calls nothing but signal(2), which is allowed there.
        unsafe { command.pre_exec(attend) };
        command
    }

    /// A run that ends by itself after an hour or so.
    fn endless(&self) -> Child {
        let guest = guest("guest-behave.wasm").display().to_string();
        self.command(&[
            "run",
            &guest,
            "--fuel",
            "9999T",
            "--deadline",
            "600s",
            "--",
            "loop",
        ])
        .spawn()
        .unwrap()
    }

    fn run(&self) -> u64 {
        let guest = guest("guest-behave.wasm").display().to_string();
        let output = self
            .command(&["--json", "run", &guest, "--", "args"])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let ran: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        ran["seq"].as_u64().unwrap()
    }

    /// Processes of this program, by what the kernel says that they execute.
    fn processes(&self) -> Vec<i32> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            // It may be gone by now; one that has ended and was not waited for has no program.
            if fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == self.program) {
                found.push(pid);
            }
        }
        found
    }

    /// Asserts that no worker and no compiler is left.
    #[track_caller]
    fn nobody_is_left(&self) {
        let begun = Instant::now();
        while !self.processes().is_empty() {
            assert!(begun.elapsed() < AFTER, "{:?}", self.processes());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asserts that the receipts are numbered and linked without a gap, and that what was left
    /// unfinished is gone after one more run, once it is old.
    fn all_is_well(&self) {
        for file in files(&self.home.state()) {
            let age = SystemTime::now() - Duration::from_secs(600);
            if file
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(".new")
            {
                let file = fs::File::options().append(true).open(&file).unwrap();
                file.set_modified(age).unwrap();
            }
        }
        self.run();
        let mut receipts = Vec::new();
        for file in files(&self.home.state()) {
            let name = file.file_name().unwrap().to_string_lossy();
            assert!(!name.starts_with(".new"), "{}", file.display());
            if name.ends_with(".receipt") {
                receipts.push(Receipt::from_bytes(&fs::read(&file).unwrap()).unwrap());
            }
        }
        receipts.sort_by_key(|receipt| receipt.body.seq);
        let mut before = Hash::ZERO;
        for (seq, receipt) in (1..).zip(&receipts) {
            receipt.verify().unwrap();
            assert_eq!((receipt.body.seq, receipt.body.prev), (seq, before));
            before = receipt.id();
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The end of a process, which must come soon.
#[track_caller]
fn end_of(mut child: Child, within: Duration) -> Output {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > within {
            child.kill().unwrap();
            panic!("it did not end within {within:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.wait_with_output().unwrap()
}

/// Waits until a process has a handler for Ctrl-C, as from when its run begins.
fn listens(child: &Child) {
    let begun = Instant::now();
    let status = format!("/proc/{}/status", child.id());
    loop {
        let text = fs::read_to_string(&status).unwrap();
        let caught = text
            .lines()
            .find_map(|l| l.strip_prefix("SigCgt:"))
            .unwrap();
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        if caught & (1 << (Signal::INT.as_raw() - 1)) != 0 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Moments of a run, in milliseconds from its start: while it starts its worker, while it
/// compiles, while the guest computes.
const MOMENTS: [u64; 9] = [0, 2, 5, 10, 20, 40, 80, 200, 400];
/// The same from when it listens for Ctrl-C.
const LATER_MOMENTS: [u64; 5] = [0, 5, 40, 150, 600];

fn ends_in_order(with: Signal, code: i32) {
    let program = Program::new();
    let mut receipts = 0;
    let at_first = MOMENTS.map(|moment| (false, moment));
    let later = LATER_MOMENTS.map(|moment| (true, moment));
    for (wait, moment) in at_first.into_iter().chain(later) {
        // Compiled anew each time.
        let _ = fs::remove_dir_all(program.home.state().join("code"));
        let child = program.endless();
        if wait {
            listens(&child);
        }
        std::thread::sleep(Duration::from_millis(moment));
        signal(&child, with);
        let output = end_of(child, Duration::from_secs(30));
        let stderr = String::from_utf8_lossy(&output.stderr);
        program.nobody_is_left();
        if !wait && output.status.signal() == Some(with.as_raw()) {
            // Before the run had begun: nothing is signed, and nothing was said but by a worker
            // that found itself without a supervisor.
            let last_words = "worker: the supervisor (process ";
            let strange = stderr.lines().find(|line| !line.starts_with(last_words));
            assert_eq!(strange, None, "{moment} ms");
            continue;
        }
        assert_eq!(output.status.code(), Some(code), "{moment} ms: {stderr}");
        assert!(stderr.contains("cancelled"), "{moment} ms: {stderr}");
        assert!(stderr.contains("receipt blake3:"), "{moment} ms: {stderr}");
        receipts += 1;
        let words = ["--json", "receipt", "show", "last"];
        let shown = program.home.adit(&words).exits(0).json();
        let body = &shown["receipt"]["body"];
        assert_eq!(body["status"], "cancelled", "{shown}");
        assert_eq!(body["seq"], receipts, "{shown}");
    }
    assert!(receipts >= LATER_MOMENTS.len(), "{receipts}");
    program.all_is_well();
}

#[test]
fn ctrl_c_at_any_moment_ends_a_run_in_order() {
    ends_in_order(Signal::INT, 130);
}

#[test]
fn sigterm_at_any_moment_ends_a_run_in_order() {
    ends_in_order(Signal::TERM, 143);
}

#[test]
fn a_kill_at_any_moment_leaves_no_process_and_a_state_folder_that_is_well() {
    let program = Program::new();
    let before = program.run();
    for (number, moment) in MOMENTS.into_iter().enumerate() {
        if number % 2 == 0 {
            let _ = fs::remove_dir_all(program.home.state().join("code"));
        }
        let mut child = program.endless();
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        program.nobody_is_left();
    }
    assert_eq!(program.run(), before + 1);
    program.all_is_well();
}

#[test]
fn a_kill_while_results_are_written_loses_no_number_and_gives_none_twice() {
    let program = Program::new();
    program.run();
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/fixtures/double.onnx");
    let mut input = b"own-model 1.5 -2\n".to_vec();
    input.extend(fs::read(fixture).unwrap());
    let input = program.home.file("input", input).display().to_string();
    let guest = guest("guest_infer.wasm").display().to_string();
    let words = ["run", &guest, "--input", &input];
    // The first one compiles, and tells how long the others take.
    program.command(&words).output().unwrap();
    let begun = Instant::now();
    program.command(&words).output().unwrap();
    let took = begun.elapsed();
    // Short runs with an inference in them, ended at moments all over their time.
    for part in 0..40 {
        let mut child = program.command(&words).spawn().unwrap();
        std::thread::sleep(took * part / 40);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    program.nobody_is_left();
    program.all_is_well();
}

#[test]
fn a_second_ctrl_c_ends_what_the_first_one_cannot() {
    let program = Program::new();
    assert_eq!(program.run(), 1);
    let child = program.endless();
    listens(&child);
    // As if another process held it and were stopped: the cancelled run waits for it.
    let lock = fs::File::open(program.home.state().join("receipts/lock")).unwrap();
    lock.lock().unwrap();
    signal(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(
        program
            .processes()
            .contains(&i32::try_from(child.id()).unwrap())
    );
    signal(&child, Signal::INT);
    let output = end_of(child, Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(130));
    program.nobody_is_left();
    drop(lock);
    // The run that was cut off was not signed.
    assert_eq!(program.run(), 2);
    program.all_is_well();
}
