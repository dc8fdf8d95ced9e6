//! `adit coordinator`: set up and run a coordinator.
//!
//! Its files are in the folder `coordinator` of the state folder:
//!
//! ```text
//! coordinator.toml       the configuration, see `config`
//! keys/node, keys/log    its keys, mode 0600
//! network                the network file, unless the configuration names another place
//! tokens.toml            clients' tokens, hashed
//! data/                  database, log, blobs: all that the coordinator itself writes
//! tls/                   a certificate of its own, if there is no other
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_coordinator::tokens::TokenFile;
use adit_protocol::codes::Code;
use rand_core::OsRng;
use serde_json::json;

use crate::amounts::{self, now_ns};
use crate::error::{Exit, Failure};
use crate::state::State;
use crate::text::{date_ms, one_line};
use crate::ui::Ui;

mod config;
mod evidence;
mod init;
mod registry;
mod run;

use config::Config;

/// The subcommands of `adit coordinator`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Set up a coordinator: keys, configuration, a token for a first client
    Init(InitArgs),
    /// Run the coordinator until it is ended by SIGTERM or Ctrl-C
    Run(RunArgs),
    /// Make, list and withdraw the tokens of clients
    #[command(subcommand)]
    Token(TokenCommand),
    /// Write what the coordinator keeps against miners that signed two receipts for one assignment, as
    /// files for `adit report equivocation`. It may run meanwhile
    Evidence(EvidenceArgs),
}

/// `adit coordinator evidence ...`.
#[derive(clap::Args)]
pub struct EvidenceArgs {
    /// The folder for the files
    #[arg(value_name = "DIR")]
    out: PathBuf,
    /// The coordinator's data folder [default: that of the state folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// `adit coordinator init ...`.
#[derive(clap::Args)]
pub struct InitArgs {
    /// Name of the coordinator, for people
    #[arg(long)]
    name: String,
    /// The network file; it is copied [default: to be put there before `run`]
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7470")]
    listen: SocketAddr,
    /// Where nodes and clients reach it, as https://host:port [default: what it listens on]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Make a certificate for TLS, which clients have to be given
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key"])]
    tls_self_signed: bool,
    /// A certificate for TLS, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, in PEM with mode 0600
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Listen beyond this machine without TLS, for a proxy that adds it
    #[arg(long)]
    insecure_listen: bool,
    /// The region that it is in, as eu-central
    #[arg(long, default_value = "")]
    region: String,
    /// Name of the first client, whose token is printed once
    #[arg(long, value_name = "NAME", default_value = "first")]
    client: String,
}

/// `adit coordinator run ...`. What is given here goes before the configuration.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The network file
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// The network's registry, which says who takes part; the network file follows it
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// How long to wait for open assignments when it is ended; a second signal ends it at once
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = amounts::duration)]
    drain: Duration,
}

/// `adit coordinator token ...`.
#[derive(clap::Subcommand)]
pub enum TokenCommand {
    /// Make a token for a client; it is printed once. A coordinator that runs knows it in a second
    Add {
        /// Name of the client
        name: String,
        /// Most tasks at one time that have not ended
        #[arg(long, value_name = "N")]
        tasks_in_flight: Option<u32>,
        /// Most tasks a minute
        #[arg(long, value_name = "N")]
        tasks_per_minute: Option<u32>,
        /// Most bytes of blobs a day, as 10GiB
        #[arg(long, value_name = "SIZE", value_parser = amounts::size)]
        blobs_per_day: Option<u64>,
    },
    /// List the clients that have a token
    List,
    /// Withdraw a client's token
    Remove {
        /// Name of the client
        name: String,
    },
}

/// `adit coordinator ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Init(args) => init::command(ui, state, args),
        Command::Run(args) => run::command(ui, state, args),
        Command::Token(command) => token(ui, state, command),
        Command::Evidence(args) => evidence::command(ui, state, args),
    }
}

/// The coordinator's folder.
fn folder(state: &State) -> anyhow::Result<PathBuf> {
    Ok(state.root()?.join("coordinator"))
}

/// The configuration of a coordinator that was set up.
fn configuration(folder: &Path) -> anyhow::Result<Config> {
    let path = folder.join("coordinator.toml");
    if !path.is_file() {
        return Failure::new(
            Code::InvalidArgument,
            format!("there is no coordinator in {}", folder.display()),
        )
        .why("it has no coordinator.toml")
        .hint("set one up with `adit coordinator init --name NAME`, or name its state folder with --state")
        .into_err();
    }
    Config::load(&path)
}

fn token(ui: &Ui, state: &State, command: &TokenCommand) -> anyhow::Result<Exit> {
    let folder = folder(state)?;
    // So that a mistyped state folder does not become one.
    configuration(&folder)?;
    let path = folder.join("tokens.toml");
    let mut tokens = TokenFile::load(&path).map_err(refused)?;
    match command {
        TokenCommand::Add {
            name,
            tasks_in_flight,
            tasks_per_minute,
            blobs_per_day,
        } => {
            let (token, entry) = tokens
                .add(name, now_ns() / 1_000_000, &mut OsRng)
                .map_err(refused)?;
            entry.tasks_in_flight = *tasks_in_flight;
            entry.tasks_per_minute = *tasks_per_minute;
            entry.blob_bytes_per_day = *blobs_per_day;
            tokens.save(&path).map_err(refused)?;
            match ui.json {
                true => ui.object(&json!({ "client": name, "token": token }))?,
                false => ui.line(&token)?,
            }
            ui.note("the token is shown this once: give it to the client, and to nobody else");
        }
        TokenCommand::List if ui.json => {
            let tokens: Vec<_> = tokens.tokens.iter().map(shown).collect();
            ui.object(&json!({ "clients": tokens }))?;
        }
        TokenCommand::List => {
            for token in &tokens.tokens {
                ui.line(format!(
                    "{}  since {}",
                    one_line(&token.name),
                    date_ms(token.created_ms)
                ))?;
            }
        }
        TokenCommand::Remove { name } => {
            tokens.remove(name).map_err(refused)?;
            tokens.save(&path).map_err(refused)?;
            match ui.json {
                true => ui.object(&json!({ "removed": name }))?,
                false => ui.line(format!("{} has no token any more", one_line(name)))?,
            }
        }
    }
    Ok(Exit::Ok)
}

fn shown(token: &adit_coordinator::tokens::Entry) -> serde_json::Value {
    json!({
        "client": token.name,
        "created_ms": token.created_ms,
        "tasks_in_flight": token.tasks_in_flight,
        "tasks_per_minute": token.tasks_per_minute,
        "blob_bytes_per_day": token.blob_bytes_per_day,
    })
}

fn refused(error: adit_coordinator::tokens::TokenError) -> Failure {
    let code = match &error {
        adit_coordinator::tokens::TokenError::Malformed { .. } => Code::StateCorrupt,
        adit_coordinator::tokens::TokenError::Exposed { .. } => Code::PermissionDenied,
        _ => Code::InvalidArgument,
    };
    Failure::new(code, "the tokens were not changed").because(error)
}
