//! `adit registry`: make and run a registry, and check one from its log alone.
//!
//! | file | subject |
//! |---|---|
//! | `init` | the genesis documents and keys of a new network |
//! | `run` | the node |
//! | `check` | replay and fsck: the state from the log, compared with every root in it |
//! | `component` | settlement components, which the rules name |
//! | `show` | where the ledger is |

pub mod check;
pub mod component;
mod init;
mod run;
mod show;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_ledger::LedgerGenesis;
use adit_protocol::cbor::Document;
use adit_protocol::log::key::{KeyKind, NoteKey};
use adit_protocol::network::genesis::Genesis;
use anyhow::Context as _;
use url::Url;

use crate::amounts;
use crate::error::{Exit, Failure};
use crate::input::read_file;
use crate::ledger::RegistryArgs;
use crate::state::State;
use crate::ui::Ui;

/// The subcommands of `adit registry`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Make the genesis documents and the keys of a network's registry, in registry/ of the state folder
    Init(InitArgs),
    /// Run the registry: it takes transactions, keeps the ledger's log, and says who takes part
    Run(RunArgs),
    /// Keep a settlement component in the registry's state folder: before a vote makes it the rule, as
    /// the checker settles nothing without it. The registry may be running. It is tried on an epoch in
    /// which nothing was done
    AddComponent {
        /// A .wasm file, or oci://host/repository:tag: a program that reads an epoch's input on stdin
        /// and writes what all have earned to stdout
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Follow a registry's log from the beginning, and compare the state with every root in it
    Replay {
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        witnesses: WitnessArgs,
    },
    /// Check the registry's own state folder, or that of an `adit dev`, which must not be running on it
    Fsck,
    /// Show where a ledger is, its rules, and where its tokens are
    Show {
        #[command(flatten)]
        registry: RegistryArgs,
        #[command(flatten)]
        witnesses: WitnessArgs,
    },
}

/// Options that say who must have cosigned a registry's log.
#[derive(clap::Args)]
#[command(next_help_heading = "Witnesses")]
pub struct WitnessArgs {
    /// The verifier key of a witness of the registry's log; may be repeated
    #[arg(long = "witness", value_name = "KEY")]
    witnesses: Vec<String>,
    /// How many of the witnesses must have cosigned
    #[arg(long, value_name = "N", default_value = "0")]
    quorum: usize,
}

/// Options of `adit registry init`.
#[derive(clap::Args)]
pub struct InitArgs {
    /// Name of the network, for people
    #[arg(long)]
    name: String,
    /// Allow development keys, as //Alice, which everyone has, and open the faucet. Never for a
    /// network with value
    #[arg(long)]
    development: bool,
    /// Length of an epoch
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = amounts::duration)]
    epoch: Duration,
    /// Epochs until stake that is taken back is free
    #[arg(long, value_name = "N", default_value = "14")]
    unbonding: u64,
    /// Least fee of a transaction, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "0.01", value_parser = amounts::tokens)]
    fee_min: u128,
    /// Least stake of a miner, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "20000", value_parser = amounts::tokens)]
    miner_stake_min: u128,
    /// Least stake of a coordinator, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "2000000", value_parser = amounts::tokens)]
    coordinator_stake_min: u128,
    /// Least stake of a checker, in tokens
    #[arg(long, value_name = "TOKENS", default_value = "50000", value_parser = amounts::tokens)]
    checker_stake_min: u128,
    /// Stake above this many times the least counts no more in draws
    #[arg(long, value_name = "N", default_value = "10")]
    saturation: u32,
    /// The component that settles epochs, a .wasm file [default: this release settles them itself]
    #[arg(long, value_name = "FILE")]
    settlement: Option<PathBuf>,
    /// What an account begins with, as KEY=TOKENS; may be repeated
    #[arg(long = "allocate", value_name = "KEY=TOKENS")]
    allocations: Vec<String>,
}

/// Options of `adit registry run`.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Where to listen; port 0 takes one that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7480")]
    listen: SocketAddr,
    /// The certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Listen beyond this machine without TLS, because a proxy on the way adds it
    #[arg(long)]
    insecure_listen: bool,
    /// A witness that cosigns the registry's log: its verifier key and where it is asked; may be
    /// repeated
    #[arg(long = "witness", value_name = "KEY=URL", value_parser = witness)]
    witnesses: Vec<(NoteKey, Url)>,
    /// The certificate authority of the witnesses' certificates, in PEM, if it is one of your own
    #[arg(long, value_name = "FILE", requires = "witnesses")]
    witness_ca: Option<PathBuf>,
    #[command(flatten)]
    checker: CheckerArgs,
}

/// Reads `KEY=URL`. A verifier key may end with `=`, and no address begins so.
fn witness(text: &str) -> Result<(NoteKey, Url), String> {
    let usage = "write the witness's verifier key, =, and its address, as https://host:port";
    let (key, url) = text
        .find("=http")
        .and_then(|at| Some((text.get(..at)?, text.get(at.checked_add(1)?..)?)))
        .ok_or(usage)?;
    let key: NoteKey = key.trim().parse().map_err(|error| format!("{error}"))?;
    let url: Url = url.parse().map_err(|error| format!("{error}; {usage}"))?;
    match key.kind() {
        KeyKind::Cosignature if url.has_host() => Ok((key, url)),
        KeyKind::Cosignature => Err(usage.to_owned()),
        kind => Err(format!(
            "the key makes signatures of the kind {kind}; `adit log witness key` prints a witness's"
        )),
    }
}

/// Options of the checker that a registry can run beside it, which closes and settles epochs.
#[derive(clap::Args)]
#[command(next_help_heading = "Checker")]
pub struct CheckerArgs {
    /// Run a checker too: the name that it is registered with. It mirrors the coordinators' logs,
    /// closes each epoch and settles it
    #[arg(long = "checker", value_name = "NAME", requires_all = ["checker_node", "checker_cosign", "checker_account"])]
    name: Option<String>,
    /// The checker's node key: a key file, `local`, or a development key as //Name
    #[arg(long, value_name = "KEY", requires = "name")]
    checker_node: Option<String>,
    /// The checker's cosigning key
    #[arg(long, value_name = "KEY", requires = "name")]
    checker_cosign: Option<String>,
    /// The account that pays the fees of what the checker hands in
    #[arg(long, value_name = "KEY", requires = "name")]
    checker_account: Option<String>,
    /// The certificate authority of the coordinators' certificates, in PEM, if it is one of your own
    #[arg(long, value_name = "FILE", requires = "name")]
    checker_ca: Option<PathBuf>,
}

/// `adit registry ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Init(args) => init::command(ui, state, args),
        Command::Run(args) => run::command(ui, state, args),
        Command::AddComponent { file } => component::command(ui, state, file),
        Command::Replay {
            registry,
            witnesses,
        } => check::replay(ui, registry, witnesses),
        Command::Fsck => check::fsck(ui, state),
        Command::Show {
            registry,
            witnesses,
        } => show::command(ui, registry, witnesses),
    }
}

/// The registry's folder in the state folder.
fn folder(state: &State) -> anyhow::Result<PathBuf> {
    Ok(state.root()?.join("registry"))
}

/// Where the genesis documents and the data of a registry at rest are.
pub struct Rest {
    /// The folder with the genesis documents.
    pub documents: PathBuf,
    /// The folder with the data.
    pub data: PathBuf,
}

/// The registry in a state folder: one that an operator has made, or that of an `adit dev`, whose
/// folder is laid out in another way. The state folder may also be the one of the `adit dev` itself.
pub fn at_rest(state: &State) -> anyhow::Result<Rest> {
    let root = state.root()?;
    let own = root.join("registry");
    if own.join("genesis").is_file() {
        let data = own.join("data");
        return Ok(Rest {
            documents: own,
            data,
        });
    }
    for documents in [root.join("dev"), root.to_owned()] {
        let data = documents.join("registry");
        if documents.join("genesis").is_file() && data.is_dir() {
            return Ok(Rest { documents, data });
        }
    }
    Failure::argument("there is no registry")
        .why(format!(
            "in {} there is neither registry/genesis nor an `adit dev`",
            root.display()
        ))
        .hint("name the folder with --state that `adit registry run`, or `adit dev`, was given")
        .into_err()
}

/// The genesis documents of a registry's folder.
fn documents(folder: &Path) -> anyhow::Result<(Genesis, LedgerGenesis)> {
    let path = folder.join("genesis");
    if !path.is_file() {
        return Failure::argument("there is no registry")
            .why(format!("{} does not exist", path.display()))
            .hint("make one with `adit registry init`, or name its folder with --state")
            .into_err();
    }
    Ok((read(&path)?, read(&folder.join("ledger-genesis"))?))
}

fn read<D: Document>(path: &Path) -> anyhow::Result<D> {
    let bytes = read_file(path, D::MAX_LEN as u64, D::NAME)?;
    D::from_cbor(&bytes).with_context(|| format!("{} cannot be used", path.display()))
}
