//! What the command line names as evidence: an address or a bundle.

use std::path::{Path, PathBuf};

use adit_net::http::client::ClientError;
use adit_protocol::codes::Code;
use adit_protocol::network::membership::NetworkFile;
use url::Url;

use super::bundle::Bundle;
use super::http::Http;
use super::{Evidence, EvidenceError};
use crate::commands::network;
use crate::error::{Exit, Failure};
use crate::remote::discovery::{self, Ports};
use crate::text::one_line;

/// What is given in place of an address, for the `adit dev` that this user runs.
const DEV: &str = "dev";

/// Evidence that was named.
pub enum Source {
    /// A coordinator.
    Http(Box<Http>),
    /// A file.
    Bundle(Box<Bundle>),
}

impl Source {
    /// The coordinator at an address, or that of the running `adit dev`. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When it is not an address.
    pub fn at(text: &str, ca: Option<&Path>) -> anyhow::Result<Source> {
        let shown = || format!("`{}` cannot be used as the address", one_line(text));
        let dev = running(text)?;
        let url = dev.as_ref().map_or(text, |dev| dev.url.as_str());
        let url = Url::parse(url).map_err(|error| {
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

    /// What a text names: an address, `dev`, or the file of a bundle.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn named(text: &str, ca: Option<&Path>) -> anyhow::Result<Source> {
        match text.contains("://") || text == DEV {
            true => Source::at(text, ca),
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

/// The network files that the user has from elsewhere: those that were given, else that of the
/// running `adit dev`, if that is meant.
///
/// # Errors
/// When one cannot be read.
pub fn networks(given: &[PathBuf], from: Option<&str>) -> anyhow::Result<Vec<NetworkFile>> {
    let dev = from.map(running).transpose()?.flatten();
    let given: Vec<PathBuf> = match dev.filter(|_| given.is_empty()) {
        Some(dev) => vec![dev.network],
        None => given.to_vec(),
    };
    let read = |path: &PathBuf| network::read(path).map(|(file, _)| file);
    given.iter().map(read).collect()
}

/// The development network, if a text means it.
fn running(text: &str) -> anyhow::Result<Option<Ports>> {
    if text != DEV {
        return Ok(None);
    }
    match discovery::running()? {
        Some(dev) => Ok(Some(dev)),
        None => Failure::argument("there is no development network to ask")
            .why("`dev` means the `adit dev` of this user, and none runs")
            .hint("start one with `adit dev`, or give an address")
            .into_err(),
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
