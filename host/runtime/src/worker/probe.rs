//! Tries from inside what a locked-down process must not be able to do, and what it must.
//!
//! Each attempt makes the real call and is harmless if it succeeds: `adit doctor` and the tests
//! run the same probe in a locked-down worker, where the forbidden ones must fail, and in a free
//! process, where they must not, so that a probe that cannot fail is noticed.
//!
//! Where doing the thing itself would do harm, the call is made with arguments that the kernel
//! refuses for their own sake (`EFAULT`, `EBADF`, `ENOENT`): any answer but `EPERM`, `EACCES` and
//! `ENOSYS` shows that the call got through to the code which the sandbox is to keep out of reach.

use super::sandbox::SandboxKind;
use std::os::fd::BorrowedFd;

/// The outcome of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// What was tried, in a few words; a stable name.
    pub name: &'static str,
    /// Whether it was possible.
    pub allowed: bool,
    /// Whether it has to be possible in a locked-down process of the kind asked for.
    pub wanted: bool,
    /// The answer, for a person.
    pub detail: String,
}

impl ProbeResult {
    /// Whether a locked-down process behaves as it should.
    pub fn is_good(&self) -> bool {
        self.allowed == self.wanted
    }
}

/// Tries everything, in order. `handed` is a readable descriptor with at least one byte, to show
/// that handed files can be read; without it that attempt is left out.
///
/// Returns nothing on platforms without a sandbox.
pub fn probe(kind: SandboxKind, handed: Option<BorrowedFd<'_>>) -> Vec<ProbeResult> {
    attempts::all(kind, handed)
}

/// Makes the call of [`KILLED`](super::sandbox::KILLED) with that name, with every argument -1,
/// which the kernel refuses for its own sake. In a locked-down process this does not return.
///
/// `None` if there is no such name.
pub fn attempt_killed(name: &str) -> Option<ProbeResult> {
    attempts::killed(name)
}

#[cfg(target_os = "linux")]
mod attempts;

#[cfg(not(target_os = "linux"))]
mod attempts {
    use super::{BorrowedFd, ProbeResult, SandboxKind};

    pub(super) fn all(_: SandboxKind, _: Option<BorrowedFd<'_>>) -> Vec<ProbeResult> {
        Vec::new()
    }

    pub(super) fn killed(_: &str) -> Option<ProbeResult> {
        None
    }
}
