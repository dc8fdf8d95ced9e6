//! Coordinators, from the side of a client.
//!
//! | part | subject |
//! |---|---|
//! | this file | where the coordinator is, with which token, and whose authority vouches for it |
//! | [`discovery`] | the `adit dev` that this user runs |
//! | [`network`] | which network it is, and who is a member of it |
//! | [`api`], [`wire`] | what is asked, and what is answered |
//! | [`check`] | whether a result holds |
//! | [`log`], [`draws`] | what is in the log, and whether the right miners were drawn |
//!
//! Nothing that a coordinator answers is believed: specs and outputs are compared with their hashes,
//! receipts with the keys of the network's members.

pub mod api;
pub mod check;
pub mod discovery;
pub mod draws;
pub mod log;
pub mod network;
pub mod wire;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use adit_net::http::client::{Client, ClientConfig};
use adit_net::tls::Roots;
use adit_net::trace::TraceContext;
use adit_protocol::codes::Code;
use anyhow::Context as _;
use url::{Host, Url};

use crate::config::Config;
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::state::State;
use crate::text::one_line;
use crate::ui::Ui;

/// Names the coordinator where no option does.
pub const COORDINATOR_VARIABLE: &str = "ADIT_COORDINATOR";
/// Holds the token where no option names a file with it.
pub const TOKEN_VARIABLE: &str = "ADIT_TOKEN";
/// Longest file with a token, in bytes.
const TOKEN_FILE_MAX: u64 = 4096;

/// Options that say which coordinator is asked.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Coordinator")]
pub struct RemoteArgs {
    /// The coordinator, as https://host:port, or `dev` for the `adit dev` that runs here
    /// [default: $ADIT_COORDINATOR, else the running `adit dev`, else the configuration]
    #[arg(long, value_name = "URL|dev")]
    to: Option<String>,
    /// The file with the token that the coordinator's operator gave you [default: $ADIT_TOKEN, else
    /// the configuration]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The certificate authority of the coordinator's certificate, in PEM, if it is one of your own
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The network file, by which keys are known [default: the configuration, else what the
    /// coordinator said the first time]
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
}

/// Which coordinator, and by what it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    url: String,
    by: Named,
}

/// What named the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Option,
    Variable,
    Dev,
    Configuration,
}

impl Named {
    fn words(self) -> &'static str {
        match self {
            Named::Option => "--to",
            Named::Variable => "ADIT_COORDINATOR",
            Named::Dev => "the running `adit dev`",
            Named::Configuration => "config.toml",
        }
    }
}

/// A coordinator that can be asked.
pub struct Remote {
    /// Asks it.
    pub api: api::Api,
    /// Its address.
    pub url: Url,
    /// The network file that the user has from elsewhere, if any.
    pinned: Option<PathBuf>,
    /// Whether it is on this machine.
    loopback: bool,
}

impl RemoteArgs {
    /// Finds the coordinator and says which one it is. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When none is named, or what names it cannot be used.
    pub fn remote(&self, ui: &Ui, state: &State) -> anyhow::Result<Remote> {
        let config = Config::load(state)?;
        let dev = discovery::running()?;
        let place = self.place(
            std::env::var(COORDINATOR_VARIABLE).ok(),
            dev.as_ref().map(|dev| dev.url.as_str()),
            config.coordinator.as_deref(),
        )?;
        let url = parse(&place)?;
        // A second `adit dev` may be meant by its address: what is known of this one is of no use.
        let dev = dev.filter(|dev| Url::parse(&dev.url).is_ok_and(|dev| dev == url));
        let loopback = is_loopback(&url);
        let token = self.token(&config, dev.as_ref())?;
        if token.is_some() && url.scheme() == "http" && !loopback {
            return Failure::new(
                Code::TlsFailed,
                format!("the token is not sent to {}", shown(&url)),
            )
            .why("without TLS anyone on the way could read it")
            .hint("use the https address of the coordinator")
            .into_err();
        }
        let roots = roots(self.ca.as_deref().or(config.ca.as_deref()))?;
        let client = Client::new(ClientConfig {
            roots,
            token,
            ..ClientConfig::new(url.clone())
        })
        .context("the coordinator cannot be asked")?;
        if place.by != Named::Option {
            ui.note(format!(
                "coordinator {} ({})",
                shown(&url),
                place.by.words()
            ));
        }
        let pinned = (self.network.clone())
            .or_else(|| dev.map(|dev| dev.network))
            .or(config.network);
        Ok(Remote {
            api: api::Api::new(client),
            url,
            pinned,
            loopback,
        })
    }

    /// The network file that an option names.
    pub fn network_file(&self) -> Option<PathBuf> {
        self.network.clone()
    }

    fn place(
        &self,
        variable: Option<String>,
        dev: Option<&str>,
        configured: Option<&str>,
    ) -> anyhow::Result<Place> {
        let variable = variable.filter(|text| !text.is_empty());
        let (text, by) = match (&self.to, &variable, dev, configured) {
            (Some(to), ..) => (to.as_str(), Named::Option),
            (None, Some(variable), ..) => (variable.as_str(), Named::Variable),
            (None, None, Some(dev), _) => (dev, Named::Dev),
            (None, None, None, Some(configured)) => (configured, Named::Configuration),
            (None, None, None, None) => {
                return Failure::argument("no coordinator is named")
                    .why("there is no --to and no ADIT_COORDINATOR, no `adit dev` runs, and config.toml has no `coordinator`")
                    .hint("start a network on this machine with `adit dev`, or give the address with --to https://host:port")
                    .into_err();
            }
        };
        // What is meant for a network of one's own must never end up on another.
        if text == "dev" {
            let Some(dev) = dev else {
                return Failure::argument("there is no development network to ask")
                    .why(format!(
                        "{} says `dev`, and no `adit dev` of this user runs",
                        by.words()
                    ))
                    .hint("start one with `adit dev`")
                    .into_err();
            };
            return Ok(Place {
                url: dev.to_owned(),
                by: Named::Dev,
            });
        }
        Ok(Place {
            url: text.to_owned(),
            by,
        })
    }

    /// The token; that of a development network goes to it alone, and no other one goes there
    /// unless it was asked for.
    fn token(
        &self,
        config: &Config,
        dev: Option<&discovery::Ports>,
    ) -> anyhow::Result<Option<String>> {
        if let Some(path) = &self.token_file {
            return token_of(path).map(Some);
        }
        if let Some(dev) = dev {
            return Ok(Some(dev.token.clone()));
        }
        if let Ok(token) = std::env::var(TOKEN_VARIABLE)
            && !token.trim().is_empty()
        {
            return Ok(Some(token.trim().to_owned()));
        }
        config.token_file.as_deref().map(token_of).transpose()
    }
}

fn token_of(path: &Path) -> anyhow::Result<String> {
    let bytes = read_file(path, TOKEN_FILE_MAX, "the token")?;
    let text = String::from_utf8_lossy(&bytes);
    let token = text.trim();
    if token.is_empty() || token.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Failure::argument(format!("{} holds no token", path.display()))
            .why("a token is one word")
            .hint("put the token alone into the file, as the operator gave it to you")
            .into_err();
    }
    Ok(token.to_owned())
}

fn parse(place: &Place) -> anyhow::Result<Url> {
    let text = one_line(&place.url);
    let wrong = |why: String, hint: String| {
        Failure::argument(format!("`{text}` is not the address of a coordinator"))
            .why(format!("{why} (named by {})", place.by.words()))
            .hint(hint)
    };
    let url = match Url::parse(&place.url) {
        Ok(url) if url.has_host() => url,
        // `host:port` is parsed as scheme and path.
        _ if !place.url.contains("://") && !place.url.is_empty() => {
            let local = ["localhost", "127.0.0.1", "[::1]"];
            let scheme = match local.iter().any(|name| text.starts_with(name)) {
                true => "http",
                false => "https",
            };
            return Err(wrong(
                "it does not begin with https://".to_owned(),
                format!("did you mean {scheme}://{text} ?"),
            )
            .into());
        }
        Ok(_) => {
            let hint = "it looks like https://host:port".to_owned();
            return Err(wrong("it has no host".to_owned(), hint).into());
        }
        Err(error) => {
            let hint = "it looks like https://host:port".to_owned();
            return Err(wrong(error.to_string(), hint).into());
        }
    };
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

/// Whose word on certificates counts: the system's authorities, and one of the user's own.
///
/// # Errors
///
/// When the file of the authority cannot be used.
pub fn roots(ca: Option<&Path>) -> anyhow::Result<Roots> {
    let Some(ca) = ca else {
        return Ok(Roots::system());
    };
    let what = || format!("the certificate authority {}", ca.display());
    Roots::system().and_file(ca).with_context(what)
}

/// An address without what may be secret in it, and without a slash that says nothing.
pub fn shown(url: &Url) -> String {
    let text = format!("{}://{}{}", url.scheme(), url.authority(), url.path());
    text.trim_end_matches('/').to_owned()
}

/// Runs what waits for a network on this thread, until it is done or the process is to end: by
/// Ctrl-C, or by SIGTERM.
///
/// # Errors
///
/// Those of the future, or the system's.
pub fn block_on<T>(
    future: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Result<T, Exit>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the network cannot be used")?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = "Ctrl-C cannot be listened for";
        let mut interrupt = signal(SignalKind::interrupt()).context(failed)?;
        let mut terminate = signal(SignalKind::terminate()).context(failed)?;
        tokio::select! {
            done = trace().scope(future) => done.map(Ok),
            _ = interrupt.recv() => Ok(Err(Exit::Interrupted(signal_hook::consts::SIGINT))),
            _ = terminate.recv() => Ok(Err(Exit::Interrupted(signal_hook::consts::SIGTERM))),
        }
    })
}

/// The step of a trace that this command is: of the one that the variable `TRACEPARENT` names (the
/// convention of OpenTelemetry), or of a new one.
fn trace() -> TraceContext {
    let given = std::env::var("TRACEPARENT").ok();
    let trace = TraceContext::continued(given.as_deref());
    tracing::debug!(trace_id = %trace.trace_id(), "the trace of this command");
    trace
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(to: Option<&str>) -> RemoteArgs {
        RemoteArgs {
            to: to.map(str::to_owned),
            ..RemoteArgs::default()
        }
    }

    #[test]
    fn what_is_named_nearer_goes_first_and_dev_goes_nowhere_else() {
        let variable = || Some("https://variable".to_owned());
        let place = |to, variable, dev, configured| {
            args(to)
                .place(variable, dev, configured)
                .map(|place| (place.url, place.by))
                .map_err(|error| error.to_string())
        };
        let (dev, configured) = (Some("http://127.0.0.1:1"), Some("https://configured"));
        let all = place(Some("https://option"), variable(), dev, configured).unwrap();
        assert_eq!(all, ("https://option".to_owned(), Named::Option));
        let all = place(None, variable(), dev, configured).unwrap();
        assert_eq!(all, ("https://variable".to_owned(), Named::Variable));
        let all = place(None, None, dev, configured).unwrap();
        assert_eq!(all, ("http://127.0.0.1:1".to_owned(), Named::Dev));
        let all = place(None, Some(String::new()), None, configured).unwrap();
        assert_eq!(all, ("https://configured".to_owned(), Named::Configuration));
        assert!(
            place(None, None, None, None)
                .unwrap_err()
                .contains("adit dev")
        );
        let meant = place(Some("dev"), variable(), dev, configured).unwrap();
        assert_eq!(meant, ("http://127.0.0.1:1".to_owned(), Named::Dev));
        assert!(place(Some("dev"), variable(), None, configured).is_err());
        assert!(place(None, Some("dev".to_owned()), None, configured).is_err());
    }

    #[test]
    fn mistyped_addresses_are_told_with_what_may_have_been_meant() {
        let said = |text: &str| {
            let place = Place {
                url: text.to_owned(),
                by: Named::Option,
            };
            parse(&place).unwrap_err().to_string()
        };
        assert!(said("coordinator.example:4000").contains("https://coordinator.example:4000"));
        assert!(said("localhost:4000").contains("http://localhost:4000"));
        assert!(said("127.0.0.1").contains("http://127.0.0.1"));
        for bad in ["", "https://", "mailto:a@b", "http:", "https://[::1"] {
            assert!(said(bad).contains("not the address"), "{bad}");
        }
    }
}
