//! The outcome of a run (protocol.md, "Outcome").

use std::fmt;

use serde::{Serialize, Serializer};
use thiserror::Error;

/// How a run ended. The number is the byte in a receipt.
///
/// Numbers below 16 are *attestable*: any honest replay of the same spec ends the same way, so a
/// miner is paid for reporting them. From 16 on the outcome depends on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Status {
    /// The guest returned a result.
    Ok = 0,
    /// The guest returned an error of its own, or a command exited with a non-zero code.
    TaskError = 1,
    /// The guest did something WebAssembly forbids. Its fuel is reported as the whole limit.
    Trap = 2,
    /// The guest used all its fuel.
    OutOfFuel = 3,
    /// The guest ran into a limit of the spec other than fuel and time.
    LimitExceeded = 4,
    /// The component cannot be run under any limits: malformed, or of another world.
    InvalidComponent = 5,
    /// The guest overflowed its stack, whose use depends on the compiler.
    StackOverflow = 16,
    /// The attempt took longer than its wall-clock budget.
    Deadline = 17,
    /// The host failed, through no fault of the guest.
    HostFault = 18,
    /// The run was cancelled by the one who asked for it.
    Cancelled = 19,
    /// The input or a model could not be had.
    Unavailable = 20,
    /// Compiling the component took more time or memory than a host allows.
    CompileLimit = 21,
}

impl Status {
    /// Every status, by number.
    pub const ALL: [Status; 12] = [
        Status::Ok,
        Status::TaskError,
        Status::Trap,
        Status::OutOfFuel,
        Status::LimitExceeded,
        Status::InvalidComponent,
        Status::StackOverflow,
        Status::Deadline,
        Status::HostFault,
        Status::Cancelled,
        Status::Unavailable,
        Status::CompileLimit,
    ];

    /// The name in kebab case, as `out-of-fuel`.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::TaskError => "task-error",
            Status::Trap => "trap",
            Status::OutOfFuel => "out-of-fuel",
            Status::LimitExceeded => "limit-exceeded",
            Status::InvalidComponent => "invalid-component",
            Status::StackOverflow => "stack-overflow",
            Status::Deadline => "deadline",
            Status::HostFault => "host-fault",
            Status::Cancelled => "cancelled",
            Status::Unavailable => "unavailable",
            Status::CompileLimit => "compile-limit",
        }
    }

    /// Whether every honest replay must end with this status too.
    pub const fn attestable(self) -> bool {
        (self as u8) < 16
    }
}

/// A byte that is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} is not a status of this version of the protocol; hint: a newer program may read it")]
pub struct UnknownStatus(pub u8);

impl TryFrom<u8> for Status {
    type Error = UnknownStatus;

    fn try_from(byte: u8) -> Result<Status, UnknownStatus> {
        Status::ALL
            .into_iter()
            .find(|status| *status as u8 == byte)
            .ok_or(UnknownStatus(byte))
    }
}

impl From<Status> for u8 {
    fn from(status: Status) -> u8 {
        status as u8
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_and_others_are_refused() {
        let known: Vec<u8> = (0..=255)
            .filter(|byte| Status::try_from(*byte).is_ok())
            .collect();
        assert_eq!(known, [0, 1, 2, 3, 4, 5, 16, 17, 18, 19, 20, 21]);
        for status in Status::ALL {
            assert_eq!(Status::try_from(u8::from(status)), Ok(status));
        }
        assert_eq!(Status::try_from(6), Err(UnknownStatus(6)));
    }

    #[test]
    fn only_the_deterministic_ones_are_attestable() {
        let attestable: Vec<&str> = Status::ALL
            .iter()
            .filter(|s| s.attestable())
            .map(|s| s.name())
            .collect();
        assert_eq!(
            attestable,
            [
                "ok",
                "task-error",
                "trap",
                "out-of-fuel",
                "limit-exceeded",
                "invalid-component"
            ]
        );
    }
}
