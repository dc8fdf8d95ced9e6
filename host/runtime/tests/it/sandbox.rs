//! The process sandbox, shown from inside a locked-down process.
//!
//! A test that locks itself down would take the test runner with it, so each one starts this
//! test program again as a child that runs only [`sandbox_child_entry`], in the mode named by an
//! environment variable, and reads what the child prints.

#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]

use adit_runtime::worker::channel::{Channel, ChannelError};
use adit_runtime::worker::limits::{self, Limits};
use adit_runtime::worker::probe::{ProbeResult, attempt_killed, probe};
use adit_runtime::worker::sandbox::{
    KILLED, LandlockLevel, Layers, SandboxError, SandboxKind, SandboxReport, Seccomp, lock_down,
    lock_down_around, lock_down_with,
};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const MODE: &str = "ADIT_TEST_SANDBOX_CHILD";

/// This program again, to run [`sandbox_child_entry`] in `mode` and nothing else.
fn child(mode: &str) -> Command {
    // The runner names a test by its path without the crate.
    let (_, module) = module_path!().split_once("::").unwrap_or_default();
    let entry = format!("{module}::sandbox_child_entry");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([&entry, "--exact", "--nocapture", "--test-threads=1"])
        .env(MODE, mode)
        .stdin(Stdio::null());
    command
}

fn run(mode: &str) -> Output {
    child(mode).output().unwrap()
}

/// What a child that ended well has told, as lines of a key and a value.
fn told(output: &Output) -> HashMap<String, String> {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines()
        .filter_map(|line| line.strip_prefix("told ")?.split_once(" = "))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Prints one line for [`told`]. The runner may have begun a line of its own.
fn tell(key: &str, value: &str) {
    println!("\ntold {key} = {value}");
}

/// The child's side. Without the variable this is an ordinary test that has nothing to do.
#[test]
fn sandbox_child_entry() {
    let Ok(mode) = std::env::var(MODE) else {
        return;
    };
    match mode.split_once(' ').unwrap_or((&mode, "")) {
        ("free", kind) => tell_probe(kind_named(kind)),
        ("locked", kind) => {
            become_single_threaded();
            tell_report(&lock_down(kind_named(kind)).unwrap());
            tell_probe(kind_named(kind));
        }
        ("device", _) => {
            become_single_threaded();
            let free = || Ok::<(), SandboxError>(());
            let readable = [std::path::PathBuf::from("/usr")];
            let locked = lock_down_around(SandboxKind::Device, &readable, free);
            let ((), report) = locked.unwrap();
            tell_report(&report);
            tell_probe(SandboxKind::Device);
        }
        ("landlock-only", _) => {
            let seccomp = Seccomp::Off;
            tell_report(&with_layers(Layers {
                landlock: true,
                seccomp,
            }));
            tell_probe(SandboxKind::Worker);
        }
        ("seccomp-only", _) => {
            let seccomp = Seccomp::Required;
            tell_report(&with_layers(Layers {
                landlock: false,
                seccomp,
            }));
            tell_probe(SandboxKind::Worker);
        }
        ("killed", name) => {
            lock_down(SandboxKind::Worker).unwrap();
            tell("answer", &attempt_killed(name).unwrap().detail);
        }
        ("not-killed", _) => {
            for (name, _) in KILLED {
                tell(name, &attempt_killed(name).unwrap().detail);
            }
        }
        ("foreign", _) => foreign_entry(),
        ("threads", _) => threads_and_panics(),
        ("echo", _) => echo(),
        ("data-limit", _) => data_limit(),
        ("close", _) => close(),
        ("cpu-limit", _) => cpu_limit(),
        ("supervisor", _) => start_tied_and_leave(),
        ("tied", parent) => tied(parent.parse().unwrap()),
        other => panic!("no mode {other:?}"),
    }
    // The runner's own way out may need what is forbidden by now.
    std::process::exit(0);
}

/// The runner has a thread of its own beside the test's, while a worker is locked down as the only
/// thread. A forked copy has only the thread that forked; it goes on, the original waits for it.
fn become_single_threaded() {
    // SAFETY: the runner's own thread does nothing but wait for the test to end, so it holds no
    // lock that the copy could want; the C library's are made consistent by `fork` itself.
    let copy = unsafe { libc::fork() };
    assert!(copy >= 0, "fork: {}", std::io::Error::last_os_error());
    if copy > 0 {
        let mut status = 0;
        // SAFETY: the copy is this process's own child, and `status` outlives the call.
        let waited = unsafe { libc::waitpid(copy, &raw mut status, 0) };
        let ended_well = waited == copy && libc::WIFEXITED(status);
        std::process::exit(if ended_well {
            libc::WEXITSTATUS(status)
        } else {
            101
        });
    }
}

fn kind_named(name: &str) -> SandboxKind {
    match name {
        "worker" => SandboxKind::Worker,
        "compile" => SandboxKind::Compile,
        other => panic!("no kind {other:?}"),
    }
}

fn with_layers(layers: Layers) -> SandboxReport {
    lock_down_with(SandboxKind::Worker, layers).unwrap()
}

fn tell_report(report: &SandboxReport) {
    tell("threads", &report.threads.to_string());
    tell("landlock", &format!("{:?}", report.landlock));
    tell("landlock abi", &report.landlock_abi.to_string());
    tell("seccomp", &report.seccomp.to_string());
}

fn tell_probe(kind: SandboxKind) {
    for result in probe(kind, Some(std::io::stdin().as_fd())) {
        let ProbeResult {
            name,
            allowed,
            detail,
            ..
        } = &result;
        let good = if result.is_good() { "good" } else { "bad" };
        tell(
            &format!("probe {name}"),
            &format!("{good} {allowed}: {detail}"),
        );
    }
}

/// One attempt as a child has told it.
#[derive(Debug)]
struct Told {
    good: bool,
    allowed: bool,
    detail: String,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let allowed = if self.allowed { "allowed" } else { "refused" };
        write!(f, "{allowed}: {}", self.detail)
    }
}

/// What a child in `mode` told, and the probe's results among it, by name.
fn probed(mode: &str) -> (HashMap<String, String>, HashMap<String, Told>) {
    let handed = File::open(std::env::current_exe().unwrap()).unwrap();
    let told = told(&child(mode).stdin(handed).output().unwrap());
    let results: HashMap<_, _> = told
        .iter()
        .filter_map(|(key, value)| {
            let (outcome, detail) = value.split_once(": ")?;
            let (good, allowed) = outcome.split_once(' ')?;
            let name = key.strip_prefix("probe ")?.to_owned();
            let result = Told {
                good: good == "good",
                allowed: allowed == "true",
                detail: detail.to_owned(),
            };
            Some((name, result))
        })
        .collect();
    assert!(results.len() > 60, "all attempts are told: {results:?}");
    (told, results)
}

#[test]
fn every_denial_holds_from_inside() {
    for kind in ["worker", "compile"] {
        let (told, results) = probed(&format!("locked {kind}"));
        for (name, result) in &results {
            assert!(result.good, "{kind}: {name}: {result}");
        }
        assert_eq!(told["seccomp"], "true");
        assert_eq!(
            told["threads"], "1",
            "the child is locked down before it has threads"
        );
        // Only a kernel without Landlock may come without it; the version tells.
        match told["landlock abi"].parse().unwrap() {
            0 => assert_eq!(
                told["landlock"],
                format!("{:?}", LandlockLevel::Unavailable)
            ),
            1..=5 => assert_eq!(told["landlock"], format!("{:?}", LandlockLevel::Partial)),
            _ => assert_eq!(told["landlock"], format!("{:?}", LandlockLevel::Full)),
        }
    }
}

/// A worker with a device reads the system's libraries and asks device nodes; what else it may do
/// is in this list, and nothing else is.
#[test]
fn a_worker_with_a_device_may_do_little_more() {
    let (told, results) = probed("device");
    assert_eq!(told["seccomp"], "true");
    if told["landlock abi"] == "0" {
        // Without Landlock it may not even open a file.
        for name in ["read a file", "list a directory", "make a Unix socket"] {
            assert!(!results[name].allowed, "{name}: {}", results[name]);
        }
        return;
    }
    let more: BTreeSet<&str> = results
        .iter()
        .filter(|(_, result)| !result.good)
        .map(|(name, _)| name.as_str())
        .collect();
    let may = BTreeSet::from([
        // Of itself only; there is no secret in a worker's environment.
        "read the own environment by /proc",
        "reopen the own program by /proc",
        "reopen a descriptor by /proc",
        // Landlock does not keep one from seeing that a file is there.
        "look up a file",
        // As a driver is spoken to. Which devices can be opened is Landlock's to say.
        "ask a device",
        "type into a terminal",
    ]);
    assert!(more.is_subset(&may), "{:?}", more.difference(&may));
    assert!(more.contains("ask a device"), "{more:?}");
}

#[test]
fn without_the_sandbox_the_same_attempts_succeed() {
    let (_, results) = probed("free worker");
    let refused: BTreeSet<&str> = results
        .iter()
        .filter(|(_, result)| !result.allowed)
        .map(|(name, _)| name.as_str())
        .collect();
    // What an ordinary user, or a container's own filter, may be refused in any case.
    let may_be_refused = BTreeSet::from([
        "mount a file system",
        "unmount a file system",
        "change the root directory",
        "load a BPF program",
        "count performance events",
        "handle page faults",
        "use io_uring",
        "use keyrings",
        "add a key",
        "poison physical memory",
        "enter a new namespace",
        "make a message queue",
        "fork by clone3",
    ]);
    assert!(
        refused.is_subset(&may_be_refused),
        "refused without a sandbox, so that the probe shows nothing: {refused:?}"
    );
}

#[test]
fn each_layer_holds_by_itself() {
    let (_, results) = probed("seccomp-only");
    for (name, result) in &results {
        assert!(result.good, "seccomp alone: {name}: {result}");
    }

    let (told, results) = probed("landlock-only");
    let abi: u32 = told["landlock abi"].parse().unwrap();
    let by_landlock = [
        (1, "read a file"),
        (1, "read the own environment by /proc"),
        (1, "create a file"),
        (1, "list a directory"),
        (4, "connect over TCP"),
        (4, "listen on a TCP port"),
        (6, "signal the parent"),
    ];
    for (since, name) in by_landlock.into_iter().filter(|(since, _)| *since <= abi) {
        let result = &results[name];
        assert!(!result.allowed, "Landlock {since} alone: {name}: {result}");
    }
    // This mode does not take everything away, so the check above means something.
    assert!(results["make a Unix socket"].allowed && results["fork"].allowed);
}

#[test]
fn hostile_calls_end_the_process() {
    for (name, _) in KILLED {
        let output = run(&format!("killed {name}"));
        let signal = output.status.signal();
        assert_eq!(signal, Some(libc::SIGSYS), "{name}: {output:?}");
    }
    let told = told(&run("not-killed"));
    for (name, _) in KILLED {
        assert!(told.contains_key(*name), "without a sandbox {name} answers");
    }
}

/// On x86_64 the 32-bit entry is still open to 64-bit programs, with other numbers; a filter that
/// looks at numbers only would be passed by it.
#[cfg(target_arch = "x86_64")]
fn foreign_entry() {
    lock_down(SandboxKind::Worker).unwrap();
    let answer: i32;
    // SAFETY: number 20 of that entry is `getpid`, which touches no memory; the kernel keeps all
    // registers but the answer's on this way in, bar r8 to r11.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("eax") 20 => answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    tell("answer", &answer.to_string());
}

#[cfg(not(target_arch = "x86_64"))]
fn foreign_entry() {}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_32_bit_entry_is_closed() {
    let output = run("foreign");
    // A kernel without that entry answers the instruction with a fault.
    let signal = output.status.signal();
    assert!(
        matches!(signal, Some(libc::SIGSYS | libc::SIGSEGV)),
        "{output:?}"
    );
}

/// What rayon, wasmtime and a panicking library do, in a locked-down process, and a thread that
/// was there before the lock.
fn threads_and_panics() {
    let (lock, locked) = std::sync::mpsc::channel::<()>();
    let early = std::thread::spawn(move || {
        locked.recv().unwrap();
        File::open("/etc/passwd").map_err(|error| error.raw_os_error())
    });
    let report = lock_down(SandboxKind::Worker).unwrap();
    tell_report(&report);
    lock.send(()).unwrap();
    let answer = early.join().unwrap();
    tell("early thread", &format!("{:?}", answer.map(drop)));

    let sum: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16_u64)
            .map(|index| {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(1));
                    (0..100_000)
                        .map(|value| value ^ index)
                        .collect::<Vec<u64>>()
                        .len() as u64
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    tell("sum", &sum.to_string());
    let panic = std::panic::catch_unwind(|| panic!("on purpose"));
    tell("panic", &panic.is_err().to_string());
    // It asks control groups, which it may not; the answer comes from the scheduler then.
    tell(
        "parallelism",
        &std::thread::available_parallelism().is_ok().to_string(),
    );
}

#[test]
fn threads_and_panics_work_when_locked_down() {
    let told = told(
        child("threads")
            .env("RUST_BACKTRACE", "1")
            .output()
            .as_ref()
            .unwrap(),
    );
    assert_eq!(told["early thread"], format!("Err(Some({}))", libc::EPERM));
    assert_ne!(
        told["landlock"],
        format!("{:?}", LandlockLevel::Unavailable)
    );
    // The runner's, the test's and the early one.
    assert_eq!(told["threads"], "3");
    assert_eq!(told["sum"], "1600000");
    assert_eq!(told["panic"], "true");
    assert_eq!(told["parallelism"], "true");
}

/// Answers each frame with its payload, its descriptors, and what the first of them holds.
fn echo() {
    let channel = Channel::from_stdin().unwrap();
    lock_down(SandboxKind::Worker).unwrap();
    let (mut sender, mut receiver) = channel.split();
    loop {
        let frame = match receiver.recv() {
            Ok(frame) => frame,
            Err(ChannelError::Closed {
                within_frame: false,
            }) => break,
            Err(error) => panic!("{error}"),
        };
        let mut held = [0; 16];
        let length = frame.fds.first().map_or(0, |fd| {
            // The size by `fstat`: the standard library's way is refused, see `lock_down`.
            let size = rustix::fs::fstat(fd).unwrap().st_size as usize;
            rustix::io::pread(fd, &mut held[..size.min(16)], 0).unwrap()
        });
        let fds: Vec<BorrowedFd<'_>> = frame.fds.iter().map(AsFd::as_fd).collect();
        sender
            .send_parts(&[&frame.payload, &held[..length]], &fds)
            .unwrap();
    }
}

#[test]
fn a_locked_down_process_talks_over_its_channel() {
    let (here, there) = Channel::pair().unwrap();
    let mut process = child("echo")
        .stdin(Stdio::from(there.into_fd()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut sender, mut receiver) = here.split();
    receiver.set_timeout(Some(Duration::from_secs(30))).unwrap();

    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, b"in the file").unwrap();
    sender
        .send(b"payload, ", &[file.as_fd(), file.as_fd()])
        .unwrap();
    let answer = receiver.recv().unwrap();
    assert_eq!(answer.payload, b"payload, in the file");
    assert_eq!(answer.fds.len(), 2);
    let same = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
    assert_eq!(
        same(&answer.fds[1]),
        rustix::fs::fstat(&file).unwrap().st_ino
    );

    let large: Vec<u8> = (0..8_u32 << 20).map(|index| (index % 251) as u8).collect();
    let sent = std::thread::spawn(move || {
        sender.send(&large, &[]).unwrap();
        (sender, large)
    });
    let answer = receiver.recv().unwrap();
    let (sender, large) = sent.join().unwrap();
    assert!(answer.payload == large);

    drop((sender, receiver));
    assert!(
        process.wait().unwrap().success(),
        "it ends when the channel closes"
    );
}

fn data_limit() {
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
    const MIB: usize = 1 << 20;
    limits::harden(&Limits::worker(256 << 20), rustix::process::getppid()).unwrap();
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    let map = |length, protection| {
        // SAFETY: a fresh mapping, which stays until the process ends.
        unsafe { mmap_anonymous(std::ptr::null_mut(), length, protection, flags) }
    };
    // As a pooling allocator does: a terabyte reserved, a part made accessible.
    let reserved = map(1 << 40, ProtFlags::empty()).unwrap();
    tell("reserved", "a terabyte");
    // SAFETY: both ranges lie in the reservation, which nothing else uses.
    let open =
        |length| unsafe { mprotect(reserved, length, MprotectFlags::READ | MprotectFlags::WRITE) };
    tell(
        "64 MiB accessible",
        &format!("{:?}", open(64 * MIB).is_ok()),
    );
    tell("512 MiB accessible", &format!("{:?}", open(512 * MIB)));
    let writable = ProtFlags::READ | ProtFlags::WRITE;
    tell(
        "512 MiB untouched",
        &format!("{:?}", map(512 * MIB, writable)),
    );
    let core = rustix::process::getrlimit(rustix::process::Resource::Core);
    tell("core", &format!("{:?}", core.maximum));
    let mut higher = rustix::process::getrlimit(rustix::process::Resource::Data);
    tell("data", &format!("{:?}", higher.maximum));
    higher.current = Some(1 << 40);
    let raised = rustix::process::setrlimit(rustix::process::Resource::Data, higher);
    tell("raised", &format!("{:?}", raised.is_ok()));
}

#[test]
fn the_data_limit_counts_what_is_writable_and_not_what_is_reserved() {
    let told = told(&run("data-limit"));
    assert_eq!(told["reserved"], "a terabyte");
    assert_eq!(told["64 MiB accessible"], "true");
    let refused = format!("Err({:?})", rustix::io::Errno::NOMEM);
    assert_eq!(told["512 MiB accessible"], refused);
    assert_eq!(told["512 MiB untouched"], refused);
    assert_eq!(told["core"], "Some(0)");
    assert_eq!(told["data"], format!("Some({})", 256 << 20));
    assert_eq!(told["raised"], "false");
}

fn cpu_limit() {
    let limits = Limits::compile(1 << 30, 1, 1 << 20);
    limits::harden(&limits, None).unwrap();
    let mut value = 1_u64;
    loop {
        value = std::hint::black_box(value.wrapping_mul(3));
    }
}

#[test]
fn the_cpu_limit_ends_a_compile_child() {
    let output = run("cpu-limit");
    assert_eq!(output.status.signal(), Some(libc::SIGXCPU), "{output:?}");
}

fn close() {
    let open = || OwnedFd::from(File::open("/dev/null").unwrap());
    let (kept, closed) = (open(), open());
    let numbers = [kept.as_raw_fd(), closed.as_raw_fd()];
    // `closed` must not be closed a second time when it goes out of scope.
    std::mem::forget(closed);
    // SAFETY: `closed` was forgotten, and the test runner has no other descriptor.
    unsafe { limits::close_inherited(&[2, 1, 0, 0, kept.as_raw_fd()]) }.unwrap();
    for (name, number) in ["kept", "closed"].into_iter().zip(numbers) {
        // SAFETY: only asked whether it is open.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        tell(name, &rustix::io::fcntl_getfd(fd).is_ok().to_string());
    }
}

#[test]
fn inherited_descriptors_are_closed() {
    let told = told(&run("close"));
    assert_eq!((&*told["kept"], &*told["closed"]), ("true", "false"));
}

fn start_tied_and_leave() {
    let own = std::process::id();
    #[expect(clippy::zombie_processes, reason = "it is to be left behind")]
    let process = child(&format!("tied {own}")).spawn().unwrap();
    // Long enough for the other to tie itself; it has the same output, which tells if not.
    std::thread::sleep(Duration::from_millis(500));
    tell("child", &process.id().to_string());
}

fn tied(parent: i32) {
    let supervisor = rustix::process::Pid::from_raw(parent);
    limits::harden(&Limits::worker(1 << 30), supervisor).unwrap();
    tell("tied", "true");
    std::thread::sleep(Duration::from_secs(60));
    tell("outlived", "true");
}

#[test]
fn a_worker_ends_with_its_supervisor() {
    let start = Instant::now();
    // The output ends when the last process that holds it has ended.
    let told = told(&run("supervisor"));
    assert_eq!(told["tied"], "true");
    assert!(!told.contains_key("outlived"));
    assert!(start.elapsed() < Duration::from_secs(30));
}
