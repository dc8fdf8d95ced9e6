//! The HTTP status of each code: the only place where one is chosen, or read without its code.

use adit_protocol::Code;
use http::StatusCode;

/// The status that a server answers with when `code` is why a request failed.
///
/// Codes that are no answer to a request, such as the outcome of a run, would be a fault of the
/// server here, and become 500.
pub fn of(code: Code) -> StatusCode {
    match code {
        Code::InvalidRequest
        | Code::InvalidArgument
        | Code::BadEncoding
        | Code::BadKey
        | Code::BadSignature
        | Code::VersionMismatch
        | Code::BlobMismatch => StatusCode::BAD_REQUEST,

        Code::Unauthorized
        | Code::BadRequestSignature
        | Code::RequestStale
        | Code::RequestReplayed => StatusCode::UNAUTHORIZED,

        Code::Forbidden
        | Code::NotRegistered
        | Code::Jailed
        | Code::BelowMinimumStake
        | Code::NotDisclosed => StatusCode::FORBIDDEN,

        Code::NotFound
        | Code::UnknownTask
        | Code::UnknownBlob
        | Code::BlobMissing
        | Code::UnknownAssignment => StatusCode::NOT_FOUND,

        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Timeout => StatusCode::REQUEST_TIMEOUT,

        Code::IdempotencyConflict
        | Code::Equivocation
        | Code::SeqOutOfOrder
        | Code::TaskEnded
        | Code::TransactionNumber
        | Code::KeyTaken
        | Code::Cancelled
        | Code::StaleEngine
        | Code::EngineMismatch
        // What was asked for is not there yet.
        | Code::HelloFirst
        | Code::WaitingForMiner
        | Code::WaitingForSlot
        | Code::WaitingForRoster
        | Code::MinersExhausted
        | Code::WaitingForResult
        | Code::WaitingForQuorum => StatusCode::CONFLICT,

        Code::LeaseExpired => StatusCode::GONE,
        Code::TooLarge | Code::BlobTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,

        // What was sent is well formed, and what it asks for cannot be.
        Code::InvalidComponent
        | Code::NotAComponent
        | Code::CoreModule
        | Code::UnknownImport
        | Code::MissingExport
        | Code::ComponentTooLarge
        | Code::CompileLimit
        | Code::ModelNotFound
        | Code::ModelMismatch
        | Code::ModelMalformed
        | Code::RequirementsUnmet
        | Code::NoEligibleMiner
        | Code::NoQuorum
        | Code::AttemptsExhausted
        | Code::InsufficientFunds
        | Code::TransactionExpired
        | Code::RuleBroken => StatusCode::UNPROCESSABLE_ENTITY,

        Code::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        Code::Overloaded | Code::Draining => StatusCode::SERVICE_UNAVAILABLE,
        Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
        Code::Unreachable | Code::TlsFailed | Code::BadAnswer => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The code that comes nearest to a status whose answer gave none that is known.
pub fn code_of(status: u16) -> Code {
    match status {
        401 => Code::Unauthorized,
        403 => Code::Forbidden,
        404 => Code::NotFound,
        405 => Code::MethodNotAllowed,
        408 | 504 => Code::Timeout,
        413 | 414 | 431 => Code::TooLarge,
        416 => Code::RangeNotSatisfiable,
        429 => Code::QuotaExceeded,
        502 => Code::Unreachable,
        503 => Code::Overloaded,
        _ => Code::BadAnswer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_of_an_error() {
        for code in Code::ALL {
            let status = of(*code);
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{code}"
            );
        }
    }

    #[test]
    fn what_may_be_retried_elsewhere_is_not_called_the_senders_fault() {
        for code in [Code::Overloaded, Code::Draining, Code::Unreachable] {
            assert!(code.retryable() && of(code).is_server_error(), "{code}");
        }
    }
}
