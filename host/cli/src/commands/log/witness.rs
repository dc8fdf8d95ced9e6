//! `adit log witness`: a witness of logs.
//!
//! Its files are in the folder `witness` of the state folder:
//!
//! ```text
//! key            its cosigning key, mode 0600
//! witness.db     what it has cosigned last of each log: never to be restored from a backup
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_net::clock::SystemClock;
use adit_net::db::{Db, DbError};
use adit_net::http::server::{Limits, Listen, Server};
use adit_net::log::witness::{MIGRATION, Witness, WitnessOptions, router};
use adit_net::tls::ServerTls;
use adit_protocol::codes::Code;
use adit_protocol::keys::{Keypair, PublicKey};
use adit_protocol::log::key::{KeyKind, KeyName, NoteKey};
use adit_protocol::log::origin::Origin;
use anyhow::Context as _;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::place::log_key;
use crate::commands::network;
use crate::error::{Exit, Failure};
use crate::state::{State, key_file, make_key, private_folder};
use crate::text::{hex, one_line};
use crate::ui::Ui;

/// How long requests have to end when it is ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// The subcommands of `adit log witness`.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Cosign what logs show, until it is ended by SIGTERM or Ctrl-C
    Run(Box<RunArgs>),
    /// Print the witness's verifier key; it is made if there is none
    Key(KeyArgs),
}

/// Options that name a witness.
#[derive(clap::Args)]
pub struct KeyArgs {
    /// Its name in its cosignatures, as example.com/witness
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: KeyName,
}

/// Options of `adit log witness run`.
#[derive(clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    key: KeyArgs,
    /// Watch the logs of all coordinators of this network; read again on SIGHUP
    #[arg(long, value_name = "FILE", required_unless_present = "vkeys")]
    network: Option<PathBuf>,
    /// Watch the log of this verifier key; may be repeated
    #[arg(long = "vkey", value_name = "KEY")]
    vkeys: Vec<String>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7480")]
    listen: SocketAddr,
    /// A certificate for TLS, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, in PEM with mode 0600
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Listen beyond this machine without TLS, for a proxy that adds it. What is sent is public, and
    /// signed
    #[arg(long)]
    insecure_listen: bool,
}

fn name(text: &str) -> Result<KeyName, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// `adit log witness ...`.
pub fn command(ui: &Ui, state: &State, command: &Command) -> anyhow::Result<Exit> {
    let folder = state.root()?.join("witness");
    private_folder(&folder).with_context(|| format!("the folder {}", folder.display()))?;
    match command {
        Command::Key(args) => show(ui, &folder, args),
        Command::Run(args) => {
            crate::logging::start(ui);
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .thread_name("witness")
                .build()
                .context("the threads of the witness could not be started")?;
            runtime.block_on(run(ui, &folder, args))
        }
    }
}

/// The key, made when it is first needed.
fn own_key(folder: &Path) -> anyhow::Result<Keypair> {
    let path = folder.join("key");
    if !path.exists() {
        make_key(folder, &path)?;
    }
    key_file(&path)
}

fn show(ui: &Ui, folder: &Path, args: &KeyArgs) -> anyhow::Result<Exit> {
    let public = own_key(folder)?.public();
    let key = NoteKey::new(args.name.clone(), KeyKind::Cosignature, public);
    match ui.json {
        true => ui.object(&json!({
            "vkey": key.to_string(),
            "name": key.name(),
            "cosign": hex(&public.to_bytes()),
        }))?,
        false => ui.line(key.to_string())?,
    }
    Ok(Exit::Ok)
}

async fn run(ui: &Ui, folder: &Path, args: &RunArgs) -> anyhow::Result<Exit> {
    let failed = "signals cannot be caught";
    let mut terminate = signal(SignalKind::terminate()).context(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(failed)?;
    let mut hangup = signal(SignalKind::hangup()).context(failed)?;
    let logs = logs(args)?;
    let count = logs.len();
    let db = Db::open(&folder.join("witness.db"), &[MIGRATION]).map_err(of_db)?;
    let options = WitnessOptions {
        name: args.key.name.clone(),
        key: own_key(folder)?,
        logs,
        clock: Arc::new(SystemClock),
    };
    let witness = Arc::new(Witness::new(db, options));
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(
            ServerTls::load(certificate, key).context("the witness cannot use its certificate")?,
        ),
        _ => None,
    };
    let listen = Listen {
        address: args.listen,
        tls: tls.clone(),
        allow_insecure: args.insecure_listen,
        metrics: None,
    };
    let routes = router(Arc::clone(&witness));
    let server = Server::start(listen, Limits::default(), routes, CancellationToken::new()).await;
    let server = server.map_err(|error| {
        Failure::new(error.code(), "the witness could not be started").because(&error)
    })?;
    let key = witness.note_key();
    match ui.json {
        true => {
            ui.object(&json!({ "url": server.url(), "vkey": key.to_string(), "logs": count }))?
        }
        false => ui.line(server.url())?,
    }
    ui.note(format!(
        "the witness {key} watches {count} logs; Ctrl-C or SIGTERM ends it"
    ));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                match self::logs(args) {
                    Ok(logs) => {
                        ui.note(format!("it watches {} logs now", logs.len()));
                        witness.set_logs(logs);
                    }
                    Err(error) => ui.note(format!("the logs stay as they are: {error:#}")),
                }
                if let Some(Err(error)) = tls.as_ref().map(ServerTls::reload) {
                    ui.note(format!("the certificate was not taken: {error}"));
                }
            }
        }
    }
    server.shutdown(PATIENCE).await;
    Ok(Exit::Ok)
}

/// The keys of the logs to watch.
fn logs(args: &RunArgs) -> anyhow::Result<Vec<NoteKey>> {
    let mut keys = Vec::new();
    if let Some(path) = &args.network {
        let (file, _) = network::read(path)?;
        let members = file.verify().map_err(|error| {
            Failure::new(
                Code::BadSignature,
                format!("the network file {} cannot be used", path.display()),
            )
            .because(error)
            .exit(Exit::Signature)
        })?;
        for member in &members.coordinators {
            // A key that is none is that coordinator's own fault.
            let node = PublicKey::from_bytes(&member.node);
            let log = PublicKey::from_bytes(&member.log);
            if let (Ok(node), Ok(log)) = (node, log) {
                keys.push(Origin::new(&members.genesis, &node).key(&log));
            }
        }
    }
    for vkey in &args.vkeys {
        keys.push(log_key(vkey)?);
    }
    Ok(keys)
}

fn of_db(error: DbError) -> Failure {
    Failure::new(error.code(), "the witness cannot use its database")
        .because(one_line(&error.to_string()))
}
