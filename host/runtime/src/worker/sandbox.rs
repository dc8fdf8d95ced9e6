//! Locks a worker process down: Landlock and a seccomp filter.
//!
//! The worker runs hostile code, so it is given what it needs as open file descriptors and then
//! loses the means to get anything else. Three layers stand behind each other:
//!
//! | layer | takes away |
//! |---|---|
//! | undumpable, no new privileges | being traced by the same user; gaining rights by executing a file |
//! | Landlock, no rule | opening, making, listing and removing files; TCP; signals and abstract sockets to outside processes |
//! | seccomp allow-list | every system call that running Wasm and inference does not need, among them all that open, connect, start a process or signal one |
//!
//! Either of the last two alone stops the file system and the network. Seccomp is the one that is
//! required: every Linux that Adit supports has it, while Landlock can be switched off at boot.
//!
//! What happens on a refused call:
//! - Most answer `EPERM`, so that a library that merely asks (for the number of CPUs in a control
//!   group, say) goes on without, and so that [`probe`](super::probe) can show each denial from
//!   inside a live worker.
//! - `clone3` answers `ENOSYS`. Its flags lie in memory, where a filter cannot see them; the C
//!   library then falls back to `clone`, whose flags can be checked.
//! - The calls in [`KILLED`] end the process with `SIGSYS`. They touch other processes or
//!   reconfigure the machine, and no library tries them on the off chance: meeting one means that
//!   the worker was taken over, and the supervisor can tell so from the signal.
//!
//! This is the only Linux-only module of the runtime. Elsewhere [`lock_down`] returns
//! [`SandboxError::NotAvailable`].

use std::io;

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod filter;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod ruleset;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod syscalls;

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub use syscalls::KILLED;

/// The calls that end the process: none, as there is no filter on this platform.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub const KILLED: &[(&str, i64)] = &[];

/// What the process to lock down is going to do; it decides which calls stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SandboxKind {
    /// Runs compiled components and inference: may map executable memory, make anonymous memory
    /// files and scan its own page map.
    Worker,
    /// Compiles one component from and to inherited descriptors. It never executes what it makes,
    /// so it may not map executable memory at all.
    Compile,
    /// A worker with a device whose driver and libraries need more: they open files and device nodes
    /// while they work, and talk to the kernel's part by `ioctl`. What it may open is bounded by Landlock; where that
    /// is missing it may open nothing after it was started.
    Device,
}

/// How much of Landlock is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LandlockLevel {
    /// Every file-system right, TCP, and the scopes (signals, abstract Unix sockets), on all
    /// threads. Needs ABI 6 (Linux 6.12).
    Full,
    /// Some of it: the kernel's ABI is older, or threads existed already that the kernel could
    /// not include (before ABI 8 only the calling thread and its later children are restricted).
    Partial,
    /// The kernel was built without Landlock, or it was switched off at boot, or a container's
    /// own filter hides it.
    Unavailable,
}

/// What [`lock_down`] reached, for logs and for `adit doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxReport {
    /// The Landlock ABI in use, 0 where there is none.
    pub landlock_abi: u32,
    /// How much of Landlock is in force.
    pub landlock: LandlockLevel,
    /// Whether the system-call filter is in force, on all threads.
    pub seccomp: bool,
    /// Number of threads the process had when it was locked down. 1 is best, see
    /// [`LandlockLevel::Partial`].
    pub threads: usize,
}

/// Whether the system-call filter has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seccomp {
    /// Fail without it.
    Required,
    /// Report its absence and go on: an operator's explicit choice, or a platform without it.
    IfAvailable,
    /// Do not install it. Only for showing that Landlock holds by itself.
    Off,
}

/// Which layers [`lock_down_with`] sets up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// Whether to restrict by Landlock where the kernel has it.
    pub landlock: bool,
    /// Whether to install the system-call filter.
    pub seccomp: Seccomp,
}

impl Default for Layers {
    fn default() -> Self {
        Self {
            landlock: true,
            seccomp: Seccomp::Required,
        }
    }
}

/// Why a process could not be locked down. It must not run hostile code then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// There is no sandbox for this platform.
    #[error(
        "no process sandbox on {platform}: it needs Linux on x86_64 or aarch64; \
         hint: run untrusted tasks on Linux, or allow a worker without a process sandbox \
         (the Wasm sandbox still holds)"
    )]
    NotAvailable {
        /// Operating system and architecture.
        platform: &'static str,
    },
    /// A step before the layers failed.
    #[error("could not {step} for the worker: {source}; hint: check the container's own limits")]
    Prepare {
        /// What was tried.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel has Landlock but refused the rule set.
    #[error(
        "the kernel refused the Landlock rule set: {reason}; \
         hint: more than 16 nested sandboxes cannot be stacked"
    )]
    Landlock {
        /// The kernel's or the library's answer.
        reason: String,
    },
    /// The kernel refused the system-call filter.
    #[error(
        "the kernel refused the system-call filter: {reason}; \
         hint: the kernel needs CONFIG_SECCOMP_FILTER, and a container must not forbid the \
         seccomp system call"
    )]
    Seccomp {
        /// The kernel's or the library's answer.
        reason: String,
    },
    /// The filter was accepted, yet a call that it refuses was let through.
    #[error(
        "the system-call filter is installed but has no effect: opening a file answered {answer} \
         instead of EPERM; hint: this looks like an emulated kernel, do not run hostile code on it"
    )]
    NotEnforced {
        /// What the kernel answered instead.
        answer: String,
    },
}

/// Locks the whole process down for good, with every layer.
///
/// Call it once, after the engine has been made (that opens `/proc/self/pagemap`) and before the
/// first byte from outside is touched, best with no other thread running yet.
///
/// Afterwards the size of a handed file comes from `rustix::fs::fstat` (or `lseek`), not from
/// `std::fs::File::metadata`: the latter uses calls that could also look up any path, which
/// Landlock does not cover, so they are refused.
///
/// # Errors
/// Any [`SandboxError`]; the process may then be restricted in part and should exit.
pub fn lock_down(kind: SandboxKind) -> Result<SandboxReport, SandboxError> {
    lock_down_with(kind, Layers::default())
}

/// Like [`lock_down`], with a choice of layers.
///
/// # Errors
/// As [`lock_down`]; without [`Seccomp::Required`] a missing filter is not an error, and neither
/// is a platform without a sandbox.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub fn lock_down_with(kind: SandboxKind, layers: Layers) -> Result<SandboxReport, SandboxError> {
    let threads = thread_count()?;
    prepare()?;
    let (landlock_abi, landlock) = if layers.landlock {
        ruleset::restrict(threads)?
    } else {
        (0, LandlockLevel::Unavailable)
    };
    let seccomp = match layers.seccomp {
        Seccomp::Off => false,
        Seccomp::Required => {
            filter::install(kind)?;
            true
        }
        Seccomp::IfAvailable => filter::install(kind).is_ok(),
    };
    if seccomp {
        check_enforced()?;
    }
    Ok(SandboxReport {
        landlock_abi,
        landlock,
        seccomp,
        threads,
    })
}

/// Like [`lock_down`], with a choice of layers.
///
/// # Errors
/// [`SandboxError::NotAvailable`] if the filter is required.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub fn lock_down_with(_kind: SandboxKind, layers: Layers) -> Result<SandboxReport, SandboxError> {
    if layers.seccomp == Seccomp::Required {
        return Err(SandboxError::NotAvailable {
            platform: std::env::consts::OS,
        });
    }
    Ok(SandboxReport {
        landlock_abi: 0,
        landlock: LandlockLevel::Unavailable,
        seccomp: false,
        threads: 0,
    })
}

/// Locks the whole process down around `open`, which opens a device; what it returns comes back.
///
/// Opening loads libraries, which start threads, and Landlock cannot include those later. So it
/// comes first, and lets the process read the system's libraries and what is below `readable`, and
/// use the device nodes of GPUs. The system-call filter comes last and holds for all threads. A
/// worker that needs no more is then locked down as by [`lock_down`], and can open nothing any more.
///
/// # Errors
/// As [`lock_down`], and those of `open`.
pub fn lock_down_around<T, E: From<SandboxError>>(
    kind: SandboxKind,
    readable: &[std::path::PathBuf],
    open: impl FnOnce() -> Result<T, E>,
) -> Result<(T, SandboxReport), E> {
    // Nothing is read for the embedded backend.
    if readable.is_empty() {
        let opened = open()?;
        return Ok((opened, lock_down(kind)?));
    }
    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    {
        let threads = thread_count()?;
        prepare()?;
        let (landlock_abi, landlock) = ruleset::restrict_for_device(threads, readable)?;
        let opened = open()?;
        if kind != SandboxKind::Device {
            let report = SandboxReport {
                landlock_abi,
                landlock,
                ..lock_down(kind)?
            };
            return Ok((opened, SandboxReport { threads, ..report }));
        }
        // Without Landlock nothing would bound what can be opened, so that the stricter list
        // of calls applies, with what the driver needs on open descriptors.
        let confined = landlock != LandlockLevel::Unavailable;
        filter::install_for_device(confined)?;
        check_enforced_for_device(confined)?;
        let report = SandboxReport {
            landlock_abi,
            landlock,
            seccomp: true,
            threads,
        };
        Ok((opened, report))
    }
    #[cfg(not(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )))]
    {
        let _ = readable;
        let opened = open()?;
        Ok((opened, lock_down(kind)?))
    }
}

/// Both layers need "no new privileges"; undumpable keeps other processes of the same user from
/// attaching, and is set here rather than at the start because it would stop a worker without
/// root rights from opening its own page map.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn prepare() -> Result<(), SandboxError> {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    rustix::thread::set_no_new_privs(true).map_err(|source| SandboxError::Prepare {
        step: "forbid new privileges",
        source: source.into(),
    })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|source| SandboxError::Prepare {
        step: "forbid core dumps and tracing",
        source: source.into(),
    })
}

/// Number of threads of this process, from `/proc/self/status` (see proc_pid_status(5)).
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn thread_count() -> Result<usize, SandboxError> {
    let unreadable = |source| SandboxError::Prepare {
        step: "count the threads in /proc/self/status",
        source,
    };
    let status = std::fs::read_to_string("/proc/self/status").map_err(unreadable)?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:"))
        .and_then(|count| count.trim().parse().ok())
        .ok_or_else(|| unreadable(io::Error::from(io::ErrorKind::InvalidData)))
}

/// As [`check_enforced`], for a process that may open what its driver needs: a socket is what no
/// kind of worker can make, and a file of a person's what Landlock keeps from it.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn check_enforced_for_device(confined: bool) -> Result<(), SandboxError> {
    use rustix::net::{AddressFamily, SocketType, socket};
    let refused = |answer: Result<_, rustix::io::Errno>| match answer {
        Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => Ok(()),
        Err(other) => Err(SandboxError::NotEnforced {
            answer: other.to_string(),
        }),
        Ok(()) => Err(SandboxError::NotEnforced {
            answer: "success".to_owned(),
        }),
    };
    refused(socket(AddressFamily::UNIX, SocketType::STREAM, None).map(drop))?;
    use rustix::fs::{Mode, OFlags};
    // Where Landlock is old or missing, the filter refuses to open anything.
    let place = if confined { "/" } else { "/usr" };
    let listing = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    refused(rustix::fs::open(place, listing, Mode::empty()).map(drop))
}

/// An accepted filter is taken at its word only after a refused call was refused: some emulated
/// kernels accept filters and ignore them.
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
fn check_enforced() -> Result<(), SandboxError> {
    use rustix::fs::{Mode, OFlags};
    match rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Err(rustix::io::Errno::PERM) => Ok(()),
        Err(other) => Err(SandboxError::NotEnforced {
            answer: other.to_string(),
        }),
        Ok(_) => Err(SandboxError::NotEnforced {
            answer: "success".to_owned(),
        }),
    }
}
