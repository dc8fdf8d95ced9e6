//! `adit registry run`.

use std::sync::Arc;

use adit_net::SystemClock;
use adit_net::http::server::{Limits, Listen};
use adit_net::tls::ServerTls;
use adit_protocol::Document as _;
use adit_protocol::codes::Code;
use adit_registry::options::LogWitness;
use adit_registry::settling::settler::SettlerOptions;
use adit_registry::{Options, Registry, StartError};
use anyhow::Context as _;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{CheckerArgs, RunArgs, documents, folder};
use crate::error::{Exit, Failure};
use crate::keyring;
use crate::remote::roots;
use crate::state::{State, key_file, private_folder};
use crate::ui::Ui;

/// `adit registry run ...`.
pub fn command(ui: &Ui, state: &State, args: &RunArgs) -> anyhow::Result<Exit> {
    let folder = folder(state)?;
    let (genesis, ledger) = documents(&folder)?;
    let data = folder.join("data");
    private_folder(&data).with_context(|| format!("{} could not be made", data.display()))?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => {
            let loaded = ServerTls::load(certificate, key).map_err(|error| {
                Failure::new(error.code(), "the registry cannot use its certificate").because(error)
            });
            Some(loaded?)
        }
        _ => None,
    };
    let network = genesis.hash();
    let settler = settler(ui, state, &args.checker, genesis.development)?;
    let witness_roots = roots(args.witness_ca.as_deref())?;
    let witnesses = args.witnesses.iter().map(|(key, url)| LogWitness {
        key: key.clone(),
        url: url.clone(),
        roots: witness_roots.clone(),
    });
    let options = Options {
        state: data,
        network_file: folder.join("network"),
        genesis,
        ledger,
        authority: key_file(&folder.join("keys/authority"))?,
        log: key_file(&folder.join("keys/log"))?,
        listen: Listen {
            address: args.listen,
            tls,
            allow_insecure: args.insecure_listen,
            metrics: None,
        },
        limits: Limits::default(),
        clock: Arc::new(SystemClock),
        settler,
        witnesses: witnesses.collect(),
    };
    let checks = options.settler.is_some();
    crate::logging::start(ui);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("registry")
        .build()
        .context("the threads of the registry could not be started")?;
    runtime.block_on(async {
        let failed = "signals cannot be caught";
        let mut interrupt = signal(SignalKind::interrupt()).context(failed)?;
        let mut terminate = signal(SignalKind::terminate()).context(failed)?;
        let running = Registry::start(options).await.map_err(not_started)?;
        match ui.json {
            true => ui.object(&json!({ "url": running.url(), "network": network }))?,
            false => ui.line(running.url())?,
        }
        ui.note("the registry runs; Ctrl-C or SIGTERM ends it in order");
        if checks {
            ui.note("its checker is a witness, too: register it with the address of this registry, where coordinators ask it to cosign");
        }
        let why = tokio::select! {
            why = running.failed() => Some(why),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        running.stop().await;
        match why {
            None => Ok(Exit::Ok),
            Some(stopped) => Failure::new(stopped.code, "the registry had to stop")
                .because(&stopped)
                .or_hint("look at its disk, and start it again: what it acknowledged is kept")
                .exit(exit(stopped.code))
                .into_err(),
        }
    })
}

fn not_started(error: StartError) -> Failure {
    Failure::new(error.code(), "the registry could not be started")
        .because(&error)
        .or_hint(format!("see `adit explain {}`", error.code()))
        .exit(exit(error.code()))
}

fn exit(code: Code) -> Exit {
    match code {
        Code::Internal => Exit::Unexpected,
        Code::BadEncoding | Code::BadSignature => Exit::Signature,
        Code::BadProof | Code::LogForked => Exit::Proof,
        Code::Diverged => Exit::Diverged,
        _ => Exit::Fixable,
    }
}

/// The checker that is to run beside it, if one is.
fn settler(
    ui: &Ui,
    state: &State,
    args: &CheckerArgs,
    development: bool,
) -> anyhow::Result<Option<SettlerOptions>> {
    let (Some(name), Some(node), Some(cosign), Some(account)) = (
        &args.name,
        &args.checker_node,
        &args.checker_cosign,
        &args.checker_account,
    ) else {
        return Ok(None);
    };
    let key = |key: &str| {
        let secret = keyring::secret(ui, state, key, None)?;
        match secret.development && !development {
            false => Ok(secret.keypair),
            true => Failure::new(Code::BadKey, "a development key cannot be used here")
                .why("everyone has it, and the tokens of this network have a value")
                .hint("make a key of your own with `adit key new`")
                .into_err(),
        }
    };
    Ok(Some(SettlerOptions {
        account: key(account)?,
        node: key(node)?,
        name: name.parse().context("the checker's name cannot be used")?,
        cosign: key(cosign)?,
        roots: roots(args.checker_ca.as_deref())?,
        worker: std::env::current_exe().context("this program cannot find its own file")?,
    }))
}
