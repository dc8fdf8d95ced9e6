//! What went wrong, in three parts for people and as one object for programs, and exit codes.

use std::fmt;

use adit_net::http::client::ClientError;
use adit_net::tls::TlsError;
use adit_protocol::cbor::DecodeError;
use adit_protocol::codes::Code;
use adit_protocol::hardware::HardwareError;
use adit_protocol::keys::keystore::KeystoreError;
use adit_protocol::keys::mnemonic::MnemonicError;
use adit_protocol::keys::ss58::AddressError;
use adit_protocol::keys::uri::UriError;
use adit_protocol::onnx::OnnxError;
use adit_protocol::receipt::ReceiptError;
use adit_runtime::store::StoreError;
use adit_runtime::worker::supervisor::SupervisorError;

use crate::text::printable;

/// How a command ends (design.md, "Interfaces").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, and all that was checked holds.
    Ok,
    /// Something that the user can change.
    Fixable,
    /// Something of this program or machine.
    Unexpected,
    /// A signature or an encoding does not hold.
    Signature,
    /// A proof of a log, or what has to follow from one, does not hold.
    Proof,
    /// A replay came to another result.
    Diverged,
    /// A check could not be made.
    Unchecked,
    /// Ended by a signal of this number, as by Ctrl-C.
    Interrupted(i32),
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> i32 {
        match self {
            Exit::Ok => 0,
            Exit::Fixable => 1,
            Exit::Unexpected => 2,
            Exit::Signature => 3,
            Exit::Proof => 4,
            Exit::Diverged => 5,
            Exit::Unchecked => 6,
            // As a shell reports a process that a signal has ended: 130 after Ctrl-C.
            Exit::Interrupted(signal) => signal.saturating_add(128),
        }
    }
}

/// An error that the command line itself found.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    code: Code,
    what: String,
    why: String,
    hint: String,
}

impl Failure {
    /// Something that the user can fix.
    pub fn new(code: Code, what: impl Into<String>) -> Failure {
        Failure {
            exit: Exit::Fixable,
            code,
            what: what.into(),
            why: String::new(),
            hint: String::new(),
        }
    }

    /// An argument that is not valid.
    pub fn argument(what: impl Into<String>) -> Failure {
        Failure::new(Code::InvalidArgument, what)
    }

    /// Ends with another exit code.
    pub fn exit(self, exit: Exit) -> Failure {
        Failure { exit, ..self }
    }

    /// A library's error, in three parts: `what` goes first.
    pub fn from_error(
        what: impl Into<String>,
        error: &(dyn std::error::Error + 'static),
    ) -> Failure {
        let (exit, code) = classify(error).unwrap_or((Exit::Unexpected, Code::Internal));
        Failure::new(code, what).exit(exit).because(error)
    }

    /// The reason.
    pub fn why(self, why: impl Into<String>) -> Failure {
        Failure {
            why: why.into(),
            ..self
        }
    }

    /// The reason, from a message that may end with `; hint: ...`.
    pub fn because(self, message: impl fmt::Display) -> Failure {
        let (why, hint) = split_hint(&message.to_string());
        Failure { why, hint, ..self }
    }

    /// What to do.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure {
            hint: hint.into(),
            ..self
        }
    }

    /// What to do, if nothing has been said of it yet.
    pub fn or_hint(self, hint: impl Into<String>) -> Failure {
        if self.hint.is_empty() {
            self.hint(hint)
        } else {
            self
        }
    }

    /// As the error of a command.
    pub fn into_err<T>(self) -> anyhow::Result<T> {
        Err(self.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.why.is_empty() {
            write!(f, ": {}", self.why)?;
        }
        if !self.hint.is_empty() {
            write!(f, "; hint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// An error as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    exit: Exit,
    code: Code,
    what: String,
    why: String,
    hint: String,
}

impl Report {
    /// How the process is to end.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The reason and what to do, in one line.
    pub fn why(&self) -> String {
        let why = if self.why.is_empty() {
            &self.what
        } else {
            &self.why
        };
        format!("{why}; hint: {}", self.hint)
    }

    /// Of any error of a command. Its outermost context says what, the rest why.
    pub fn new(error: &anyhow::Error) -> Report {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return Report {
                exit: failure.exit,
                code: failure.code,
                what: failure.what.clone(),
                why: failure.why.clone(),
                hint: failure.hint.clone(),
            };
        }
        let (exit, code) = error
            .chain()
            .find_map(classify)
            .unwrap_or((Exit::Unexpected, Code::Internal));
        // Errors of the libraries repeat their sources in their own text.
        let mut parts = Vec::<String>::new();
        if error
            .chain()
            .next()
            .is_some_and(|first| first.is::<StoreError>())
        {
            // It says why, and whoever met it had nothing more to say of what.
            parts.push("the state folder could not be used".to_owned());
        }
        for cause in error.chain() {
            let text = cause.to_string();
            if !parts.last().is_some_and(|last| last.contains(&text)) {
                parts.push(text);
            }
        }
        let mut parts = parts.into_iter();
        let (what, mut hint) = split_hint(&parts.next().unwrap_or_default());
        let mut why = Vec::new();
        for part in parts {
            let (text, more) = split_hint(&part);
            why.push(text);
            if hint.is_empty() {
                hint = more;
            }
        }
        if hint.is_empty() {
            hint = format!("see `adit explain {code}`");
        }
        Report {
            exit,
            code,
            what,
            why: why.join(": "),
            hint,
        }
    }

    /// Of a command line that cannot be understood.
    pub fn usage(error: &clap::Error) -> Report {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        // clap's own texts end with lines on usage and help.
        let (what, rest) = text.split_once("\n\n").unwrap_or((text, ""));
        let what = what
            .trim()
            .lines()
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(" ");
        let usage = rest.lines().find_map(|line| line.strip_prefix("Usage: "));
        let (what, why) = match (usage, what.split_once(": ")) {
            (Some(usage), _) => (what, format!("the usage is: {usage}")),
            // A value that could not be read: its parser has said why.
            (None, Some((what, why))) => (what.to_owned(), why.to_owned()),
            (None, None) => (what, "it cannot be understood".to_owned()),
        };
        let tip = rest
            .lines()
            .find_map(|line| line.trim_start().strip_prefix("tip: "))
            .map(|tip| format!("{tip}; "))
            .unwrap_or_default();
        Report {
            exit: Exit::Fixable,
            code: Code::InvalidArgument,
            what,
            why,
            hint: format!("{tip}try --help"),
        }
    }

    /// Prints it on stderr, and returns the exit code.
    pub fn print(&self, json: bool) -> i32 {
        if json {
            let object = serde_json::json!({
                "error": {
                    "code": self.code,
                    "what": self.what,
                    "why": self.why,
                    "hint": self.hint,
                    "retryable": self.code.retryable(),
                    "exit": self.exit.code(),
                }
            });
            crate::ui::to_stderr(&format!("{object}\n"));
        } else {
            // Lines after the first are set in, so that a text from elsewhere cannot pass for
            // another part.
            let mut text = String::new();
            for (title, part) in [
                ("error: ", &self.what),
                ("  why:  ", &self.why),
                ("  hint: ", &self.hint),
            ] {
                if !part.is_empty() {
                    let part = printable(part.trim_end()).replace('\n', "\n        ");
                    text.push_str(&format!("{title}{part}\n"));
                }
            }
            crate::ui::to_stderr(&text);
        }
        self.exit.code()
    }
}

/// Exit code and wire code of a library's error.
fn classify(error: &(dyn std::error::Error + 'static)) -> Option<(Exit, Code)> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some((failure.exit, failure.code));
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return Some(match error {
            StoreError::Corrupt { .. } => (Exit::Signature, error.code()),
            StoreError::Io { source, .. } | StoreError::Write { source, .. } => of_io(source),
            _ => (Exit::Fixable, error.code()),
        });
    }
    if let Some(error) = error.downcast_ref::<ClientError>() {
        let exit = match error {
            ClientError::Build(_) => Exit::Unexpected,
            ClientError::Mismatch { .. } => Exit::Signature,
            ClientError::Local(error) => of_io(error).0,
            _ if error.code() == Code::Internal => Exit::Unexpected,
            _ => Exit::Fixable,
        };
        return Some((exit, error.code()));
    }
    if let Some(error) = error.downcast_ref::<TlsError>() {
        return Some((Exit::Fixable, error.code()));
    }
    if let Some(error) = error.downcast_ref::<SupervisorError>() {
        return match error {
            SupervisorError::Engine { .. } => Some((Exit::Unchecked, Code::EngineMismatch)),
            SupervisorError::Start(_) => Some((Exit::Unexpected, Code::WorkerCrashed)),
            // The store's own error is the next in the chain, or this one itself.
            SupervisorError::Store(error) => classify(error),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return Some(of_io(error));
    }
    let is_signature =
        error.is::<DecodeError>() || error.is::<ReceiptError>() || error.is::<HardwareError>();
    if is_signature {
        return Some((Exit::Signature, Code::BadEncoding));
    }
    if error.is::<OnnxError>() {
        return Some((Exit::Fixable, Code::ModelMalformed));
    }
    if let Some(error) = error.downcast_ref::<KeystoreError>() {
        return Some((
            Exit::Fixable,
            match error {
                KeystoreError::Password => Code::BadPassphrase,
                _ => Code::BadKey,
            },
        ));
    }
    let is_key =
        error.is::<UriError>() || error.is::<MnemonicError>() || error.is::<AddressError>();
    is_key.then_some((Exit::Fixable, Code::BadKey))
}

fn of_io(error: &std::io::Error) -> (Exit, Code) {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound
        | Kind::NotADirectory
        | Kind::IsADirectory
        | Kind::AlreadyExists
        | Kind::InvalidFilename
        | Kind::DirectoryNotEmpty
        | Kind::InvalidInput => (Exit::Fixable, Code::InvalidArgument),
        _ => match Code::of_io(error) {
            Code::Internal => (Exit::Unexpected, Code::Internal),
            code => (Exit::Fixable, code),
        },
    }
}

/// Takes `why; hint: do this` apart. Only the first hint counts.
fn split_hint(message: &str) -> (String, String) {
    match message.split_once("; hint: ") {
        Some((why, hint)) => (why.to_owned(), hint.to_owned()),
        None => (message.to_owned(), String::new()),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_three_parts_of_a_library_error() {
        let error: anyhow::Result<()> = Err(SupervisorError::Start("no memory".into()).into());
        let report = Report::new(&error.context("the run could not begin").unwrap_err());
        assert_eq!(report.exit, Exit::Unexpected);
        assert_eq!(report.what, "the run could not begin");
        assert_eq!(report.why, "no worker could be started: no memory");
        assert!(report.hint.starts_with("run again with -v"), "{report:?}");
    }

    #[test]
    fn exit_codes_follow_the_cause() {
        let io = |kind| anyhow::Error::from(std::io::Error::from(kind)).context("x");
        let exit = |error| Report::new(&error).exit;
        assert_eq!(exit(io(std::io::ErrorKind::NotFound)), Exit::Fixable);
        assert_eq!(exit(io(std::io::ErrorKind::StorageFull)), Exit::Fixable);
        assert_eq!(exit(io(std::io::ErrorKind::TimedOut)), Exit::Unexpected);
        assert_eq!(exit(ReceiptError::Magic.into()), Exit::Signature);
        assert_eq!(exit(HardwareError::Signature.into()), Exit::Signature);
        assert_eq!(exit(anyhow::anyhow!("?")), Exit::Unexpected);
        let failure = Failure::argument("no").exit(Exit::Unchecked);
        assert_eq!(exit(failure.into()), Exit::Unchecked);
    }

    #[test]
    fn a_message_is_not_repeated_as_its_own_cause() {
        let store = StoreError::Missing {
            hash: adit_protocol::Hash::ZERO,
        };
        let report = Report::new(&SupervisorError::from(store).into());
        assert_eq!(report.why, "");
        assert_eq!(report.code, Code::BlobMissing);
    }
}
