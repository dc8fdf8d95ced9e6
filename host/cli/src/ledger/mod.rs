//! Registries, from the side of a client: where one is, which network it is of, and how a transaction
//! is shown, signed and handed in.
//!
//! | part | subject |
//! |---|---|
//! | this file | which registry, and of which network |
//! | [`submit`] | a transaction |
//! | [`components`] | what names of components stand for |
//! | [`wire`] | what a registry answers |

pub mod components;
pub mod submit;
pub mod wire;

use std::path::PathBuf;

use adit_ledger::{Key, LedgerGenesis};
use adit_net::http::client::{Client, ClientConfig, ClientError};
use adit_net::tls::Roots;
use adit_protocol::codes::Code;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::NetworkFile;
use adit_protocol::{Document as _, Hash};
use anyhow::Context as _;
use serde::de::DeserializeOwned;
use url::Url;

use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::keyring;
use crate::remote::{discovery, roots, shown};
use crate::state::State;
use crate::text::one_line;
use crate::ui::Ui;

/// Names the registry where no option does.
pub const REGISTRY_VARIABLE: &str = "ADIT_REGISTRY";

/// Options that say which registry is asked.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Registry")]
pub struct RegistryArgs {
    /// The registry, as https://host:port, or `dev` for that of the `adit dev` that runs here
    /// [default: $ADIT_REGISTRY, else that of the running `adit dev`]
    #[arg(long, value_name = "URL|dev")]
    pub registry: Option<String>,
    /// The certificate authority of the registry's certificate, in PEM, if it is one of your own
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The network file that you have from elsewhere: the registry must be of the same network
    #[arg(long, value_name = "FILE")]
    pub network: Option<PathBuf>,
}

/// The same for commands that ask a coordinator too, whose options these must not be taken for.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Registry")]
pub struct IndexArgs {
    /// The registry that knows names, as https://host:port, or `dev` for that of the `adit dev` that
    /// runs here [default: $ADIT_REGISTRY, else that of the running `adit dev`]
    #[arg(long, value_name = "URL|dev")]
    registry: Option<String>,
    /// The certificate authority of the registry's certificate, in PEM, if it is one of your own
    #[arg(long, value_name = "FILE")]
    registry_ca: Option<PathBuf>,
}

impl IndexArgs {
    /// The registry of these options, which must be of the network of a file, if one is given.
    pub fn with_network(&self, network: Option<PathBuf>) -> RegistryArgs {
        RegistryArgs {
            registry: self.registry.clone(),
            ca: self.registry_ca.clone(),
            network,
        }
    }
}

/// A registry that can be asked.
pub struct Ledger {
    client: Client,
    /// Who may vouch for certificates.
    pub roots: Roots,
    /// Its address.
    pub url: Url,
    /// The network's genesis document.
    pub genesis: Genesis,
    /// Its hash, which transactions name.
    pub genesis_hash: Hash,
    /// Whether that was compared with a file that the user has from elsewhere.
    pub pinned: bool,
}

impl RegistryArgs {
    /// Finds the registry, and asks it which network it is of.
    ///
    /// # Errors
    ///
    /// When none is named, or it is of another network than the user's file says.
    pub async fn connect(&self, ui: &Ui) -> anyhow::Result<Ledger> {
        let (url, dev) = self.place(ui)?;
        let roots = roots(self.ca.as_deref())?;
        let client = Client::new(ClientConfig {
            roots: roots.clone(),
            ..ClientConfig::new(url.clone())
        })
        .context("the registry cannot be asked")?;
        let what = || format!("the network of {} is not known", shown(&url));
        let call = client.get("/v1/network");
        let answer = call.answer_bytes_max(NetworkFile::MAX_LEN).send().await;
        let answer = answer.with_context(what)?;
        let file: NetworkFile = answer.cbor().with_context(what)?;
        file.verify().with_context(what)?;
        let genesis_hash = file.genesis.hash();
        let known = self.network.as_ref().or(dev.as_ref());
        if let Some(path) = known {
            let bytes = read_file(path, NetworkFile::MAX_LEN as u64, "the network file")?;
            let pinned = NetworkFile::from_cbor(&bytes)
                .with_context(|| format!("the network file {}", path.display()))?;
            if pinned.genesis.hash() != genesis_hash {
                return Failure::new(Code::BadSignature, format!("{} is not asked", shown(&url)))
                    .why("it is the registry of another network than the network file's")
                    .hint("check the address, and where the file is from")
                    .exit(Exit::Signature)
                    .into_err();
            }
        }
        Ok(Ledger {
            client,
            roots,
            url,
            genesis: file.genesis,
            genesis_hash,
            pinned: known.is_some(),
        })
    }

    /// The address, and the network file of the running `adit dev` if it is that one's.
    fn place(&self, ui: &Ui) -> anyhow::Result<(Url, Option<PathBuf>)> {
        let variable = std::env::var(REGISTRY_VARIABLE).ok();
        let named = (self.registry.clone()).or(variable.filter(|text| !text.is_empty()));
        match named.as_deref() {
            None | Some("dev") => match discovery::running()? {
                Some(dev) => {
                    ui.detail(format!("registry {} (the running `adit dev`)", dev.registry));
                    Ok((parse(&dev.registry)?, Some(dev.network)))
                }
                None => Failure::argument("no registry is named")
                    .why("there is no --registry and no ADIT_REGISTRY, and no `adit dev` runs")
                    .hint("start a network on this machine with `adit dev`, or give the address with --registry https://host:port")
                    .into_err(),
            },
            Some(text) => Ok((parse(text)?, None)),
        }
    }
}

fn parse(text: &str) -> anyhow::Result<Url> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Failure::argument(format!("`{}` is no address", one_line(text)))
            .why("a registry is at an http or https address")
            .hint("it looks like https://host:port")
            .into_err(),
    }
}

impl Ledger {
    /// Asks for something, as JSON.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(self.client.get(path)).await
    }

    /// The same with a parameter.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get_with<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<T, ClientError> {
        let call = parameters
            .iter()
            .fold(self.client.get(path), |call, (name, value)| {
                call.query(name, value)
            });
        self.call(call).await
    }

    /// Asks for something to show. With `--json` it is shown as the registry has it, and nothing is left
    /// to show. `unknown` says what is not known if it cannot be had.
    ///
    /// # Errors
    ///
    /// When the registry does not answer, or not as it should.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        ui: &Ui,
        path: &str,
        parameters: &[(&str, String)],
        unknown: &'static str,
    ) -> anyhow::Result<Option<T>> {
        let answer: serde_json::Value = self.get_with(path, parameters).await.context(unknown)?;
        if ui.json {
            ui.object(&answer)?;
            return Ok(None);
        }
        let read =
            serde_json::from_value(answer).context("the registry's answer cannot be read")?;
        Ok(Some(read))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        call: adit_net::http::client::Call,
    ) -> Result<T, ClientError> {
        call.answer_bytes_max(ANSWER_BYTES_MAX).send().await?.json()
    }

    /// The ledger's genesis document, if it is the one that the network's names.
    ///
    /// # Errors
    ///
    /// When it cannot be had, or is another one.
    pub async fn ledger_genesis(&self) -> anyhow::Result<LedgerGenesis> {
        let what = || format!("the ledger of {} is not known", shown(&self.url));
        let call = self.client.get("/v1/ledger/genesis");
        let answer = call.answer_bytes_max(LedgerGenesis::MAX_LEN).send().await;
        let document: LedgerGenesis = answer.with_context(what)?.cbor().with_context(what)?;
        if self.genesis.ledger != Some(document.hash()) {
            return Failure::new(Code::BadSignature, what())
                .why("its genesis document is not the one that the network's names")
                .hint("keep what it answered, and ask whom you have the network from")
                .exit(Exit::Signature)
                .into_err();
        }
        Ok(document)
    }

    /// A client whose base is the registry's log.
    ///
    /// # Errors
    ///
    /// Those of the address.
    pub fn log(&self) -> anyhow::Result<Client> {
        let mut url = self.url.clone();
        url.set_path("log");
        let config = ClientConfig {
            roots: self.roots.clone(),
            ..ClientConfig::new(url)
        };
        Client::new(config).context("the log cannot be asked")
    }
}

/// Longest answer in bytes: a page of nodes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The account or node key that an argument names. On other networks than those for development no
/// development key is meant, so it is refused.
///
/// # Errors
///
/// When there is no such key.
pub fn key(state: &State, genesis: &Genesis, text: &str, what: &str) -> anyhow::Result<Key> {
    let (public, development) = keyring::public(state, text)?;
    match development && !genesis.development {
        true => refuse_development(what).into_err(),
        false => Ok(Key::new(&public)),
    }
}

/// Why a development key is not used.
pub fn refuse_development(what: &str) -> Failure {
    Failure::new(Code::BadKey, format!("the {what} is not used"))
        .why("it is a development key, which everyone has, and this network is not for development")
        .hint("make a key of your own: adit key new --out FILE")
}
