//! Errors of reading logs, as those of a command.

use adit_net::log::{FailureKind, LogError, MirrorError, ReadLogError, SourceError};
use adit_protocol::codes::Code;

use crate::error::{Exit, Failure};

/// How a command ends after a failure of this kind.
fn exit(kind: FailureKind) -> Exit {
    match kind {
        FailureKind::Signature => Exit::Signature,
        FailureKind::Proof => Exit::Proof,
        FailureKind::Unchecked => Exit::Unchecked,
    }
}

/// Of what a log says, or could not be asked.
pub fn of_read(what: impl Into<String>, error: &ReadLogError) -> Failure {
    let code = match error {
        ReadLogError::Source(SourceError::Client(error)) => error.code(),
        ReadLogError::Source(SourceError::Missing { .. }) => Code::NotFound,
        ReadLogError::Source(SourceError::Io { source, .. }) => of_io(source),
        ReadLogError::Malformed(_) => Code::BadEncoding,
        ReadLogError::Unsigned(_) => Code::BadSignature,
        ReadLogError::Quorum { .. } => Code::NotCosigned,
        ReadLogError::Range(_) => Code::InvalidArgument,
        _ => Code::BadProof,
    };
    Failure::new(code, what)
        .because(error)
        .exit(exit(error.kind()))
}

/// Of files at rest.
pub fn of_log(what: impl Into<String>, error: &LogError) -> Failure {
    let exit = match error {
        LogError::InUse { .. } | LogError::Io { .. } => Exit::Unchecked,
        LogError::Sqlite(_) if error.retryable() => Exit::Unchecked,
        LogError::Published { .. } | LogError::State { .. } | LogError::Sqlite(_) => {
            Exit::Signature
        }
        _ => Exit::Proof,
    };
    Failure::new(error.code(), what).because(error).exit(exit)
}

/// Of a mirror.
pub fn of_mirror(what: impl Into<String>, error: &MirrorError) -> Failure {
    match error {
        MirrorError::Read(error) => of_read(what, error),
        MirrorError::Own(error) => of_log(what, error),
        _ => Failure::new(Code::LogForked, what)
            .because(error)
            .exit(exit(error.kind())),
    }
}

fn of_io(error: &std::io::Error) -> Code {
    match error.kind() {
        std::io::ErrorKind::NotFound => Code::NotFound,
        _ => Code::of_io(error),
    }
}
