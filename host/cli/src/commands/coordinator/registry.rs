//! Keeps a coordinator's network file as a registry has it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_net::http::client::{Client, ClientConfig};
use adit_protocol::cbor::Document as _;
use adit_protocol::codes::Code;
use adit_protocol::network::membership::NetworkFile;
use anyhow::Context as _;
use url::Url;

use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::remote::{roots, shown};
use crate::state::write_file;
use crate::text::one_line;
use crate::ui::Ui;

/// How often the registry is asked: four times an epoch, within these bounds.
const EVERY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// The registry that a coordinator follows.
pub struct Followed {
    client: Client,
    path: PathBuf,
}

impl Followed {
    /// The registry at an address, whose network file is kept at `path`.
    ///
    /// # Errors
    ///
    /// When the address or the authority of its certificate cannot be used.
    pub fn new(url: &str, ca: Option<&Path>, path: &Path) -> anyhow::Result<Followed> {
        let url = Url::parse(url).map_err(|error| {
            Failure::argument(format!(
                "the registry's address `{}` cannot be used",
                one_line(url)
            ))
            .why(error.to_string())
            .hint("it looks like https://host:port")
        })?;
        let client = Client::new(ClientConfig {
            roots: roots(ca)?,
            ..ClientConfig::new(url)
        });
        Ok(Followed {
            client: client.context("the registry cannot be asked")?,
            path: path.to_owned(),
        })
    }

    /// Brings the network file up to date, or gets the first one. A registry that cannot be reached
    /// does not keep a coordinator from working with the members that it knows.
    ///
    /// # Errors
    ///
    /// When there is no network file, and none can be had.
    pub async fn begin(&self, ui: &Ui) -> anyhow::Result<()> {
        let known = self.path.is_file();
        match self.refresh().await {
            Ok(_) if !known => {
                ui.note(format!(
                    "note: the network is the one that {} says itself; compare its hash with what you have from elsewhere: adit network show {}",
                    shown(self.client.base()),
                    self.path.display()
                ));
                Ok(())
            }
            Err(error) if known => {
                ui.note(format!("the registry was not asked: {error:#}"));
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// Follows the registry for ever.
    pub async fn run(self) {
        let mut failed = false;
        loop {
            tokio::time::sleep(self.every()).await;
            match self.refresh().await {
                Ok(true) => tracing::info!("there are new members"),
                Ok(false) => failed = false,
                // Said once, and not at every try.
                Err(error) if !failed => {
                    failed = true;
                    tracing::warn!("the registry cannot be followed: {error:#}");
                }
                Err(_) => {}
            }
        }
    }

    fn every(&self) -> Duration {
        let epoch = read(&self.path).map_or(Duration::MAX, |file| {
            Duration::from_millis(file.genesis.epoch_ms)
        });
        (epoch / 4).clamp(EVERY.0, EVERY.1)
    }

    /// Takes the registry's network file if it is newer. Whether it was.
    async fn refresh(&self) -> anyhow::Result<bool> {
        let what = || format!("the network file of {}", shown(self.client.base()));
        let call = self.client.get("/v1/network");
        let answer = call.answer_bytes_max(NetworkFile::MAX_LEN).send().await;
        let answer = answer.with_context(what)?;
        let told: NetworkFile = answer.cbor().with_context(what)?;
        let members = told.verify().with_context(what)?;
        if self.path.is_file() {
            let known = read(&self.path)?;
            if known.genesis.hash() != told.genesis.hash() {
                return Failure::new(Code::BadSignature, format!("{} is not taken", what()))
                    .why("it is of another network than the one that this coordinator is of")
                    .hint("check the registry's address")
                    .exit(Exit::Signature)
                    .into_err();
            }
            if members.version <= known.verify().with_context(what)?.version {
                return Ok(false);
            }
        }
        write_file(&self.path, &answer.bytes, 0o644)?;
        Ok(true)
    }
}

fn read(path: &Path) -> anyhow::Result<NetworkFile> {
    let bytes = read_file(path, NetworkFile::MAX_LEN as u64, "the network file")?;
    let file = NetworkFile::from_cbor(&bytes);
    file.with_context(|| format!("the network file {}", path.display()))
}
