//! Process hygiene and resource limits of a worker: what it inherits and how much it may use.
//!
//! Order in a worker's `main`: [`close_inherited`], [`check_environment`], [`harden`], then make
//! the engine, then [`lock_down`](super::sandbox::lock_down).
//!
//! Which limit bounds what:
//!
//! - **Address space** (`RLIMIT_AS`) cannot be used. wasmtime's pooling allocator reserves
//!   terabytes of inaccessible addresses at once, so a bound that admits them bounds nothing.
//! - **Data** (`RLIMIT_DATA`) can. Since Linux 4.7 it counts every private mapping that is
//!   writable, touched or not (the kernel's `data_vm`): a range reserved as inaccessible is free,
//!   and is counted from the moment `mprotect` makes it writable. So it counts wasm memories as
//!   they grow, the whole heap, 2 MiB for each thread's stack, and the pool's tables in full
//!   (table elements x 8 bytes x total tables, as they are mapped writable from the start). It
//!   does not count mappings of handed files, shared memory, or the pages of memory files.
//!   Over the limit `mmap` and `mprotect` fail: `memory.grow` becomes a host fault, a heap
//!   allocation ends the process. It is the backstop; the supervisor's watch over the resident
//!   set acts earlier. macOS accepts the limit and ignores it for mapped memory.
//! - **Processes** (`RLIMIT_NPROC`) is not set: it counts all processes and threads of a user, not
//!   of a worker, and is not enforced for root. The filter forbids new processes, and each new
//!   thread costs a stack of the data limit.
//! - **CPU** bounds the compile child, where one run is one process. A long-lived worker has no
//!   meaningful total; its supervisor keeps deadlines.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::RawFd;
use std::process::Command;

/// Limits of one process; `None` leaves a limit as inherited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of open descriptors: the channel, stdout and stderr, the page map, one per
    /// loaded component that has an initial memory image, and those in flight.
    pub open_files: u64,
    /// Bytes of private writable memory, see the module's text.
    pub data_bytes: Option<u64>,
    /// Seconds of CPU time over all threads. `SIGXCPU` ends the process, `SIGKILL` a second later.
    pub cpu_seconds: Option<u64>,
    /// Largest size in bytes of any file written, memory files included. `SIGXFSZ` ends the
    /// process.
    pub file_bytes: Option<u64>,
}

impl Limits {
    /// Limits of a worker that runs components, with `data_bytes` of private writable memory.
    pub fn worker(data_bytes: u64) -> Self {
        Self {
            open_files: 1024,
            data_bytes: Some(data_bytes),
            cpu_seconds: None,
            file_bytes: None,
        }
    }

    /// Limits of a child that compiles one component: `data_bytes` of private writable memory,
    /// `cpu_seconds` over all its threads, `output_bytes` of compiled code if that is a file.
    pub fn compile(data_bytes: u64, cpu_seconds: u64, output_bytes: u64) -> Self {
        Self {
            open_files: 64,
            data_bytes: Some(data_bytes),
            cpu_seconds: Some(cpu_seconds),
            file_bytes: Some(output_bytes),
        }
    }
}

/// Why a process is not fit to run hostile code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// The kernel refused a step.
    #[error("could not {step}: {source}; hint: check the limits of the service or container")]
    Refused {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The process that started this one has gone.
    #[error(
        "the supervisor (process {expected}) ended while its worker started; \
         hint: nothing to do, the worker ends too"
    )]
    ParentGone {
        /// The supervisor's process number.
        expected: i32,
    },
    /// The environment holds something that was not passed on purpose.
    #[error(
        "the worker was started with the environment variable {name:?}, which may hold a secret; \
         hint: workers are started by the supervisor, not by hand"
    )]
    Environment {
        /// The variable's name; its value is never shown.
        name: String,
    },
}

/// Prepares the command with which a supervisor starts a worker: an empty environment (what is
/// there at the start stays readable in the process, so clearing it later is too late), `/` as
/// the working directory (so that no other file system is kept busy), and a process group of its
/// own (so that Ctrl-C reaches the supervisor, which ends its workers in order).
pub fn prepare(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt;
    command.env_clear().current_dir("/").process_group(0)
}

/// Refuses to go on if the environment has a variable that is not in `allowed`.
///
/// # Errors
/// [`LimitsError::Environment`] names the first one.
pub fn check_environment(allowed: &[&str]) -> Result<(), LimitsError> {
    let stray = std::env::vars_os().find(|(name, _)| !allowed.iter().any(|known| name == known));
    match stray {
        None => Ok(()),
        Some((name, _)) => Err(LimitsError::Environment {
            name: name.to_string_lossy().into_owned(),
        }),
    }
}

/// Ties the process to its supervisor and applies `limits`, for good: hard limits too.
///
/// `supervisor` is the process number of the starter. If it ends, so does this process
/// (`PR_SET_PDEATHSIG`, Linux only; elsewhere the end of the channel has to do).
///
/// Linux sends that signal when the **thread** that started the worker ends, not its process:
/// start workers from a thread that lives as long as they should.
///
/// # Errors
/// [`LimitsError::ParentGone`] if the supervisor ended before the tie was made;
/// [`LimitsError::Refused`] if the kernel refuses a step.
pub fn harden(limits: &Limits, supervisor: Option<Pid>) -> Result<(), LimitsError> {
    if let Some(expected) = supervisor {
        tie_to(expected)?;
    }
    // A core dump would write a tenant's data to disk.
    lower(Resource::Core, Some(0), 0, "forbid core dumps")?;
    lower(Resource::Memlock, Some(0), 0, "forbid locking memory")?;
    let open_files = Some(limits.open_files);
    lower(Resource::Nofile, open_files, 0, "limit open files")?;
    lower(Resource::Data, limits.data_bytes, 0, "limit memory")?;
    lower(Resource::Fsize, limits.file_bytes, 0, "limit file sizes")?;
    // One second between the two, so that the supervisor sees the telling signal first.
    lower(Resource::Cpu, limits.cpu_seconds, 1, "limit CPU time")?;
    #[cfg(target_os = "linux")]
    rustix::thread::set_no_new_privs(true).map_err(|source| LimitsError::Refused {
        step: "forbid new privileges",
        source: source.into(),
    })?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn tie_to(expected: Pid) -> Result<(), LimitsError> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|source| LimitsError::Refused {
        step: "tie the worker to its supervisor",
        source: source.into(),
    })?;
    // The supervisor may have ended before the line above.
    check_parent(expected)
}

#[cfg(not(target_os = "linux"))]
fn tie_to(expected: Pid) -> Result<(), LimitsError> {
    check_parent(expected)
}

fn check_parent(expected: Pid) -> Result<(), LimitsError> {
    if rustix::process::getppid() == Some(expected) {
        Ok(())
    } else {
        Err(LimitsError::ParentGone {
            expected: expected.as_raw_nonzero().get(),
        })
    }
}

/// Sets a soft limit, and a hard one `grace` above it; never above what was inherited.
fn lower(
    resource: Resource,
    limit: Option<u64>,
    grace: u64,
    step: &'static str,
) -> Result<(), LimitsError> {
    let Some(limit) = limit else { return Ok(()) };
    let inherited = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let hard = limit.saturating_add(grace).min(inherited);
    let new = Rlimit {
        current: Some(limit.min(hard)),
        maximum: Some(hard),
    };
    setrlimit(resource, new).map_err(|source| LimitsError::Refused {
        step,
        source: source.into(),
    })
}

/// Closes every descriptor but those in `keep`.
///
/// The standard library marks what it opens as close-on-exec, so normally there is nothing to
/// close; other code in the supervisor may forget to.
///
/// # Errors
/// [`LimitsError::Refused`] if open descriptors cannot be listed (only tried where the kernel
/// lacks `close_range`).
///
/// # Safety
/// No value that owns or borrows a descriptor outside `keep` may be used afterwards, and no other
/// thread may run: call it first in `main`.
pub unsafe fn close_inherited(keep: &[RawFd]) -> Result<(), LimitsError> {
    let mut kept: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd >= 0).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut first: RawFd = 0;
    for fd in kept.iter().copied() {
        if fd > first && !close_range(first, fd.saturating_sub(1)) {
            return close_listed(&kept);
        }
        first = fd.saturating_add(1);
    }
    if !close_range(first, RawFd::MAX) {
        return close_listed(&kept);
    }
    Ok(())
}

/// Closes `first..=last`; false if the kernel has no such call (Linux before 5.9).
#[cfg(target_os = "linux")]
fn close_range(first: RawFd, last: RawFd) -> bool {
    // SAFETY: the call takes three integers; that nobody uses the descriptors any more is what
    // the caller of `close_inherited` promised.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn close_range(_first: RawFd, _last: RawFd) -> bool {
    false
}

/// The way that works everywhere: list the open descriptors, then close them.
fn close_listed(kept: &[RawFd]) -> Result<(), LimitsError> {
    let refused = |source| LimitsError::Refused {
        step: "list the inherited descriptors in /dev/fd",
        source,
    };
    // All names are read before the first is closed; the listing's own descriptor is among them
    // and is closed by then, which `close` reports and nobody minds.
    let open: Vec<RawFd> = std::fs::read_dir("/dev/fd")
        .map_err(refused)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|fd| !kept.contains(fd)) {
        // SAFETY: as for `close_range`; closing a closed number has no effect, as no other
        // thread can have opened it again.
        unsafe { rustix::io::close(fd) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_variable_is_named_but_not_shown() {
        // The test runner's own environment has many variables, `PATH` among them.
        let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        check_environment(&all).unwrap();
        let without_path: Vec<&str> = all.into_iter().filter(|name| *name != "PATH").collect();
        let error = check_environment(&without_path).unwrap_err();
        assert!(matches!(&error, LimitsError::Environment { name } if name == "PATH"));
        assert!(!error.to_string().contains(&std::env::var("PATH").unwrap()));
    }

    #[test]
    fn a_wrong_parent_is_noticed() {
        let own = rustix::process::getpid();
        assert!(matches!(
            check_parent(own),
            Err(LimitsError::ParentGone { expected }) if expected == own.as_raw_nonzero().get()
        ));
        check_parent(rustix::process::getppid().unwrap()).unwrap();
    }

    #[test]
    fn a_prepared_command_inherits_nothing() {
        let output = prepare(&mut Command::new("/usr/bin/env")).output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"", "the environment is empty");
    }
}
