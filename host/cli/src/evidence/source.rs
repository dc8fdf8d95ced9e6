//! What the command line names as evidence: an address or a bundle.

use std::path::Path;

use adit_net::http::client::ClientError;
use adit_protocol::codes::Code;
use url::Url;

use super::bundle::Bundle;
use super::http::Http;
use super::{Evidence, EvidenceError};
use crate::error::{Exit, Failure};
use crate::text::one_line;

/// Evidence that was named.
pub enum Source {
    /// A coordinator.
    Http(Box<Http>),
    /// A file.
    Bundle(Box<Bundle>),
}

impl Source {
    /// The coordinator at an address. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When it is not an address.
    pub fn at(text: &str, ca: Option<&Path>) -> anyhow::Result<Source> {
        let shown = || format!("`{}` cannot be used as the address", one_line(text));
        let url = Url::parse(text).map_err(|error| {
            Failure::argument(shown())
                .why(error.to_string())
                .hint("it looks like https://host:port")
        })?;
        let client = Http::new(url, ca).map_err(|error| of_client(shown(), &error))?;
        Ok(Source::Http(Box::new(client)))
    }

    /// A bundle.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn bundle(path: &Path) -> anyhow::Result<Source> {
        let bundle = open(path)?;
        Ok(Source::Bundle(Box::new(bundle)))
    }

    /// What a text names: an address, or the file of a bundle.
    ///
    /// # Errors
    /// When it is neither.
    pub fn named(text: &str) -> anyhow::Result<Source> {
        match text.contains("://") {
            true => Source::at(text, None),
            false => Source::bundle(Path::new(text)),
        }
    }

    /// To read from.
    pub fn evidence(&self) -> &dyn Evidence {
        match self {
            Source::Http(http) => &**http,
            Source::Bundle(bundle) => &**bundle,
        }
    }
}

/// Opens a bundle.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn open(path: &Path) -> anyhow::Result<Bundle> {
    let opened = Bundle::open(path);
    opened.map_err(|error| {
        let damaged = matches!(error, EvidenceError::Damaged { .. });
        let failure = Failure::argument(format!("{} cannot be used as a bundle", path.display()))
            .because(&error)
            .or_hint("give a file that `adit bundle export` has made");
        match damaged {
            true => failure.exit(Exit::Signature).into(),
            false => failure.into(),
        }
    })
}

/// An error of the client, as that of a command.
pub fn of_client(what: impl Into<String>, error: &ClientError) -> Failure {
    Failure::new(error.code(), what).because(error)
}

/// An error of evidence, as that of a command: it could not be checked.
pub fn of_evidence(what: impl Into<String>, error: &EvidenceError) -> Failure {
    let (code, exit) = match error {
        EvidenceError::Missing { .. } => (Code::NotFound, Exit::Unchecked),
        EvidenceError::Damaged { .. } => (Code::BadEncoding, Exit::Signature),
        EvidenceError::Unreachable { .. } => (Code::Unreachable, Exit::Unchecked),
    };
    Failure::new(code, what).because(error).exit(exit)
}
