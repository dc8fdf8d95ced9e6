//! The attempts of the probe, on Linux.

use super::{ProbeResult, SandboxKind};
use crate::worker::sandbox::KILLED;
use rustix::fs::{Mode, OFlags};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{null, null_mut};

/// What an attempt says: a text if it got through, else the error.
type Attempt = io::Result<String>;

/// A name and what to try.
type Named = (&'static str, fn() -> Attempt);

/// Attempts that the sandbox must refuse.
const FORBIDDEN: &[Named] = &[
    // The file system, by path.
    ("read a file", || open(c"/etc/passwd", OFlags::RDONLY)),
    ("read the own environment by /proc", || {
        open(c"/proc/self/environ", OFlags::RDONLY)
    }),
    ("reopen the own program by /proc", || {
        open(c"/proc/self/exe", OFlags::RDONLY)
    }),
    ("reopen a descriptor by /proc", || {
        open(c"/proc/self/fd/0", OFlags::PATH)
    }),
    ("read another process by /proc", || {
        open(c"/proc/1/status", OFlags::RDONLY)
    }),
    ("create a file", create_file),
    ("write to a device", || open(c"/dev/null", OFlags::WRONLY)),
    ("list a directory", list_directory),
    ("look up a file", || {
        done(rustix::fs::stat(c"/etc/passwd").map(drop))
    }),
    ("remove a file", || {
        path_call(libc::SYS_unlinkat, [-100, MISSING, 0])
    }),
    ("make a directory", || {
        path_call(libc::SYS_mkdirat, [-100, MISSING_PARENT, 0o700])
    }),
    ("rename a file", || {
        done(rustix::fs::rename(
            c"/adit-probe-missing",
            c"/adit-probe-missing-too",
        ))
    }),
    ("link a file", || {
        done(rustix::fs::link(
            c"/adit-probe-missing",
            c"/adit-probe-missing-too",
        ))
    }),
    ("change a file's mode", || {
        path_call(libc::SYS_fchmodat, [-100, MISSING, 0o600])
    }),
    ("truncate a file by path", || {
        path_call(libc::SYS_truncate, [MISSING, 0, 0])
    }),
    ("change the working directory", || {
        done(rustix::process::chdir(c"."))
    }),
    ("change the root directory", || {
        path_call(libc::SYS_chroot, [0, 0, 0])
    }),
    ("mount a file system", || {
        call(libc::SYS_mount, [0, 0, 0, 0, 0, 0])
    }),
    ("unmount a file system", || {
        call(libc::SYS_umount2, [0, 0, 0, 0, 0, 0])
    }),
    // The network and other sockets.
    ("make an IPv4 socket", || {
        socket(libc::AF_INET, libc::SOCK_STREAM)
    }),
    ("make an IPv4 datagram socket", || {
        socket(libc::AF_INET, libc::SOCK_DGRAM)
    }),
    ("make an IPv6 socket", || {
        socket(libc::AF_INET6, libc::SOCK_STREAM)
    }),
    ("make a Unix socket", || {
        socket(libc::AF_UNIX, libc::SOCK_STREAM)
    }),
    ("make a netlink socket", || {
        socket(libc::AF_NETLINK, libc::SOCK_RAW)
    }),
    ("make a socket pair", || {
        done(std::os::unix::net::UnixStream::pair().map(drop))
    }),
    ("connect over TCP", || tcp(libc::SYS_connect, 9)),
    ("listen on a TCP port", || tcp(libc::SYS_bind, 0)),
    ("connect an inherited socket", || {
        call(libc::SYS_connect, [-1, 0, 0, 0, 0, 0])
    }),
    ("bind an inherited socket", || {
        call(libc::SYS_bind, [-1, 0, 0, 0, 0, 0])
    }),
    ("listen on an inherited socket", || {
        call(libc::SYS_listen, [-1, 0, 0, 0, 0, 0])
    }),
    ("accept on an inherited socket", || {
        call(libc::SYS_accept4, [-1, 0, 0, 0, 0, 0])
    }),
    // Processes.
    ("fork", fork),
    ("fork by clone3", || call(libc::SYS_clone3, [0; 6])),
    ("start a program (vfork)", start_program),
    ("execute a program", || {
        call(libc::SYS_execve, [MISSING, 0, 0, 0, 0, 0])
    }),
    ("execute a memory file", execute_memory_file),
    ("trace a process", || {
        call(
            libc::SYS_ptrace,
            [libc::PTRACE_PEEKUSER as i64, NOBODY, 0, 0, 0, 0],
        )
    }),
    ("signal the parent", || done(signal_parent())),
    ("signal a thread of the parent", || {
        call(libc::SYS_tgkill, [parent(), parent(), 0, 0, 0, 0])
    }),
    ("queue a signal to the parent", || {
        call(libc::SYS_rt_sigqueueinfo, [parent(), 0, 0, 0, 0, 0])
    }),
    ("open a process descriptor", || {
        new_fd(libc::SYS_pidfd_open, parent())
    }),
    // Rights, limits and namespaces.
    ("set the user", || {
        call(
            libc::SYS_setuid,
            [rustix::process::getuid().as_raw().into(), 0, 0, 0, 0, 0],
        )
    }),
    ("set the group", || {
        call(
            libc::SYS_setgid,
            [rustix::process::getgid().as_raw().into(), 0, 0, 0, 0, 0],
        )
    }),
    ("set capabilities", || call(libc::SYS_capset, [0; 6])),
    ("enter a new namespace", || call(libc::SYS_unshare, [0; 6])),
    ("set a resource limit", set_limit),
    ("set a priority", || {
        call(
            libc::SYS_setpriority,
            [libc::PRIO_PROCESS.into(), NOBODY, 0, 0, 0, 0],
        )
    }),
    // There is no such signal, so nothing changes.
    ("outlive the supervisor", || {
        call(
            libc::SYS_prctl,
            [libc::PR_SET_PDEATHSIG.into(), 10_000, 0, 0, 0, 0],
        )
    }),
    ("change the execution domain", || {
        call(libc::SYS_personality, [0xFFFF_FFFF, 0, 0, 0, 0, 0])
    }),
    ("install a filter", || {
        call(libc::SYS_seccomp, [-1, 0, 0, 0, 0, 0])
    }),
    // Parts of the kernel with a large attack surface.
    ("use keyrings", || {
        call(libc::SYS_keyctl, [-1, 0, 0, 0, 0, 0])
    }),
    ("add a key", || call(libc::SYS_add_key, [0; 6])),
    ("load a BPF program", || {
        call(libc::SYS_bpf, [-1, 0, 0, 0, 0, 0])
    }),
    ("count performance events", || {
        call(libc::SYS_perf_event_open, [0, 0, -1, -1, -1, 0])
    }),
    ("handle page faults", || new_fd(libc::SYS_userfaultfd, 1)),
    ("use io_uring", || call(libc::SYS_io_uring_setup, [0; 6])),
    ("watch files", || {
        call(libc::SYS_inotify_init1, [-1, 0, 0, 0, 0, 0])
    }),
    ("make shared memory", || {
        call(libc::SYS_shmget, [0, 0, 0, 0, 0, 0])
    }),
    ("make a message queue", || call(libc::SYS_mq_open, [0; 6])),
    ("lock with priority inheritance", || {
        call(
            libc::SYS_futex,
            [0, libc::FUTEX_UNLOCK_PI.into(), 0, 0, 0, 0],
        )
    }),
    // Descriptors that the supervisor may share.
    ("type into a terminal", || {
        call(libc::SYS_ioctl, [-1, libc::TIOCSTI as i64, 0, 0, 0, 0])
    }),
    ("ask a device", || {
        call(libc::SYS_ioctl, [-1, libc::TCGETS as i64, 0, 0, 0, 0])
    }),
    ("direct signals from a descriptor", || {
        call(libc::SYS_fcntl, [-1, libc::F_SETOWN.into(), 0, 0, 0, 0])
    }),
    ("poison physical memory", || {
        call(libc::SYS_madvise, [1, 0, 100, 0, 0, 0])
    }),
];

/// Attempts that running components and inference depends on.
const NEEDED: &[Named] = &[
    ("map memory", || {
        map(ProtFlags::READ | ProtFlags::WRITE).map(|()| "mapped".to_owned())
    }),
    ("start a thread", start_thread),
    ("read the clock", || {
        Ok(format!("{:?}", std::time::Instant::now()))
    }),
    ("draw random bytes", || call(libc::SYS_getrandom, [0; 6])),
    ("catch a fault", catch_fault),
    ("signal the own thread", || {
        let (process, thread) = (std::process::id(), rustix::thread::gettid());
        call(
            libc::SYS_tgkill,
            [
                process.into(),
                thread.as_raw_nonzero().get().into(),
                0,
                0,
                0,
                0,
            ],
        )
    }),
];

/// Attempts that only a worker that executes code needs.
const NEEDED_TO_RUN: &[Named] = &[
    ("make a memory file", || {
        memory_file().map(|_| "made".to_owned())
    }),
    ("map executable memory", || {
        map(ProtFlags::READ | ProtFlags::EXEC).map(|()| "mapped".to_owned())
    }),
    ("make memory executable", make_executable),
];

pub(super) fn all(kind: SandboxKind, handed: Option<BorrowedFd<'_>>) -> Vec<ProbeResult> {
    let runs = kind != SandboxKind::Compile;
    let forbidden = FORBIDDEN.iter().map(|(name, run)| reached(name, run()));
    let needed = NEEDED.iter().map(|(name, run)| works(name, true, run()));
    let to_run = NEEDED_TO_RUN
        .iter()
        .map(|(name, run)| works(name, runs, run()));
    let handed = handed.map(|fd| works("read a handed file", true, read(fd)));
    forbidden
        .chain(needed)
        .chain(to_run)
        .chain(handed)
        .collect()
}

pub(super) fn killed(name: &str) -> Option<ProbeResult> {
    let (name, number) = KILLED.iter().find(|(known, _)| *known == name)?;
    Some(reached(name, call(*number, [-1; 6])))
}

/// For forbidden calls: any answer from behind the permission checks counts as allowed.
fn reached(name: &'static str, attempt: Attempt) -> ProbeResult {
    let allowed = match &attempt {
        Ok(_) => true,
        Err(error) => !matches!(
            error.raw_os_error(),
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS)
        ),
    };
    result(name, allowed, false, attempt)
}

/// For needed ones: only success does.
fn works(name: &'static str, wanted: bool, attempt: Attempt) -> ProbeResult {
    result(name, attempt.is_ok(), wanted, attempt)
}

fn result(name: &'static str, allowed: bool, wanted: bool, attempt: Attempt) -> ProbeResult {
    ProbeResult {
        name,
        allowed,
        wanted,
        detail: attempt.unwrap_or_else(|error| error.to_string()),
    }
}

/// A process number above the kernel's largest, `PID_MAX_LIMIT`.
const NOBODY: i64 = 1 << 23;
/// Stands for a pointer to a path that does not exist, see [`call`].
const MISSING: i64 = i64::MIN;
/// Likewise, in a folder that does not exist.
const MISSING_PARENT: i64 = i64::MIN + 1;

/// Makes a raw call: the C library's wrappers would refuse some arguments themselves.
fn call(number: libc::c_long, arguments: [i64; 6]) -> Attempt {
    let [a, b, c, d, e, f] = arguments.map(|argument| match argument {
        MISSING => c"/adit-probe-missing".as_ptr() as i64,
        MISSING_PARENT => c"/adit-probe-missing/folder".as_ptr() as i64,
        value => value,
    });
    // SAFETY: the callers pass no pointer but null, -1 and the two static strings above, so
    // the kernel writes nothing; and no call that changes this process if it succeeds.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(format!("answered {answer}"))
}

/// Makes a raw call that gives a descriptor, and closes it.
fn new_fd(number: libc::c_long, argument: i64) -> Attempt {
    // SAFETY: the callers name calls that take two integers, no pointer.
    let fd = unsafe { libc::syscall(number, argument, 0) };
    match i32::try_from(fd) {
        Ok(fd) if fd >= 0 => {
            // SAFETY: the kernel has just made it, and nobody else knows it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
            Ok("opened".to_owned())
        }
        _ => Err(io::Error::last_os_error()),
    }
}

fn path_call(number: libc::c_long, [a, b, c]: [i64; 3]) -> Attempt {
    call(number, [a, b, c, 0, 0, 0])
}

fn done<E: Into<io::Error>>(outcome: Result<(), E>) -> Attempt {
    outcome.map(|()| "succeeded".to_owned()).map_err(Into::into)
}

fn open(path: &CStr, flags: OFlags) -> Attempt {
    done(rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).map(drop))
}

fn create_file() -> Attempt {
    let path = std::env::temp_dir().join(format!("adit-probe-{}", std::process::id()));
    let made = std::fs::File::create_new(&path);
    if made.is_ok() {
        std::fs::remove_file(&path)?;
    }
    done(made.map(drop))
}

fn list_directory() -> Attempt {
    let names = std::fs::read_dir("/")?.count();
    Ok(format!("saw {names} names"))
}

fn socket(family: i32, kind: i32) -> Attempt {
    make_socket(family, kind).map(|_| "made".to_owned())
}

fn make_socket(family: i32, kind: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes three integers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `connect` or `bind` to a port of the loopback address.
fn tcp(number: libc::c_long, port: u16) -> Attempt {
    let socket = make_socket(libc::AF_INET, libc::SOCK_STREAM)?;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(std::net::Ipv4Addr::LOCALHOST).to_be(),
        },
        sin_zero: [0; 8],
    };
    let length = size_of_val(&address);
    // SAFETY: the address outlives the call, and the kernel only reads `length` bytes of it.
    let answer = unsafe { libc::syscall(number, socket.as_raw_fd(), &raw const address, length) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok("succeeded".to_owned())
}

fn fork() -> Attempt {
    // SAFETY: the child ends at once by a call that is safe after a fork.
    let child = unsafe { libc::fork() };
    match child {
        // SAFETY: it does not return and runs no handlers.
        0 => unsafe { libc::_exit(0) },
        -1 => Err(io::Error::last_os_error()),
        _ => {
            // SAFETY: the child is this process's own; no status is asked for.
            unsafe { libc::waitpid(child, null_mut(), 0) };
            Ok(format!("child {child}"))
        }
    }
}

fn start_program() -> Attempt {
    let mut child = std::process::Command::new("/adit-probe-missing").spawn()?;
    child.wait()?;
    Ok("started".to_owned())
}

/// The content is no program, so a kernel that lets the call through answers `ENOEXEC`.
fn execute_memory_file() -> Attempt {
    let file = memory_file();
    let fd = file.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    let none: [*const libc::c_char; 1] = [null()];
    // SAFETY: the path is a static string and both lists end with a null pointer. The call
    // does not succeed, as the file's first bytes name no format.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd,
            c"".as_ptr(),
            none.as_ptr(),
            none.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(io::Error::last_os_error())
}

fn memory_file() -> io::Result<OwnedFd> {
    use rustix::fs::MemfdFlags;
    let file = rustix::fs::memfd_create(c"adit-probe", MemfdFlags::CLOEXEC)?;
    rustix::io::write(&file, b"no program")?;
    Ok(file)
}

fn parent() -> i64 {
    rustix::process::getppid().map_or(NOBODY, |parent| parent.as_raw_nonzero().get().into())
}

fn signal_parent() -> io::Result<()> {
    let parent = rustix::process::getppid().ok_or(io::ErrorKind::NotFound)?;
    Ok(rustix::process::test_kill_process(parent)?)
}

/// Sets what is set already.
fn set_limit() -> Attempt {
    use rustix::process::{Resource, getrlimit, setrlimit};
    done(setrlimit(Resource::Core, getrlimit(Resource::Core)))
}

fn map(protection: ProtFlags) -> io::Result<()> {
    // SAFETY: a fresh mapping, unmapped below and used by nobody.
    unsafe {
        let address = rustix::mm::mmap_anonymous(null_mut(), 4096, protection, MapFlags::PRIVATE)?;
        rustix::mm::munmap(address, 4096)?;
    }
    Ok(())
}

fn make_executable() -> Attempt {
    // SAFETY: a fresh mapping, unmapped below and used by nobody.
    unsafe {
        let address =
            rustix::mm::mmap_anonymous(null_mut(), 4096, ProtFlags::READ, MapFlags::PRIVATE)?;
        let made = rustix::mm::mprotect(address, 4096, MprotectFlags::READ | MprotectFlags::EXEC);
        rustix::mm::munmap(address, 4096)?;
        done(made)
    }
}

fn start_thread() -> Attempt {
    let thread = std::thread::Builder::new()
        .name("adit-probe".to_owned())
        .spawn(|| vec![1_u8; 1 << 20].len())?;
    match thread.join() {
        Ok(bytes) => Ok(format!("it used {bytes} bytes")),
        Err(_) => Err(io::Error::other("the thread panicked")),
    }
}

/// A handler can be set and its signal arrives: what traps in Wasm rest on.
fn catch_fault() -> Attempt {
    use std::sync::atomic::{AtomicBool, Ordering};
    static CAUGHT: AtomicBool = AtomicBool::new(false);
    extern "C" fn handler(_: libc::c_int) {
        CAUGHT.store(true, Ordering::SeqCst);
    }
    let signal = libc::SIGURG;
    // SAFETY: the handler only stores to an atomic; what was set before is put back. Nothing
    // here uses SIGURG, which is ignored by default.
    unsafe {
        let before = libc::signal(signal, handler as *const () as libc::sighandler_t);
        if before == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
        libc::raise(signal);
        libc::signal(signal, before);
    }
    if CAUGHT.load(Ordering::SeqCst) {
        Ok("caught".to_owned())
    } else {
        Err(io::Error::other("the handler did not run"))
    }
}

fn read(fd: BorrowedFd<'_>) -> Attempt {
    let mut byte = [0_u8];
    match rustix::io::read(fd.as_fd(), &mut byte)? {
        0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
        _ => Ok("read".to_owned()),
    }
}
