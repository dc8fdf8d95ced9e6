//! `adit coordinator run`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_coordinator::options::Options;
use adit_coordinator::running::{Coordinator, Running, StartError};
use adit_net::http::server::{Limits, Listen};
use adit_net::tls::{ServerTls, TlsError, self_signed};
use adit_net::{SharedRng, SystemClock};
use adit_protocol::codes::Code;
use adit_protocol::keys::Keypair;
use anyhow::Context as _;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use url::Url;

use super::config::Config;
use super::registry::Followed;
use super::{RunArgs, configuration, folder};
use crate::error::{Exit, Failure};
use crate::keyring::is_well_known;
use crate::state::{State, key_file, private_folder};
use crate::text::hex;
use crate::ui::Ui;

/// Open files that are asked for, as the units for systemd do.
const FILES: u64 = 65_536;

/// `adit coordinator run ...`.
pub fn command(ui: &Ui, state: &State, args: &RunArgs) -> anyhow::Result<Exit> {
    let folder = folder(state)?;
    let config = configuration(&folder)?;
    let network = network(&folder, &config, args);
    let registry = args.registry.as_ref().or(config.registry.as_ref());
    let followed = registry
        .map(|url| Followed::new(url, config.registry_ca.as_deref(), &network))
        .transpose()?;
    crate::logging::start(ui);
    allow_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("coordinator")
        .build()
        .context("the threads of the coordinator could not be started")?;
    if let Some(followed) = &followed {
        runtime.block_on(followed.begin(ui))?;
    }
    let options = options(&folder, &config, args, network)?;
    check_keys(&options)?;
    // It ends with the runtime.
    let _following = followed.map(|followed| runtime.spawn(followed.run()));
    runtime.block_on(serve(ui, options, args.drain))
}

/// Where the network file is.
fn network(folder: &Path, config: &Config, args: &RunArgs) -> PathBuf {
    match (&args.network, &config.network) {
        (Some(path), _) => path.clone(),
        (None, Some(path)) => folder.join(path),
        (None, None) => folder.join("network"),
    }
}

/// Asks for as many open files as the miners of a large network need; shells start programs with
/// 1,024. What the system refuses is missed only when there are so many connections.
fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_some_and(|now| now < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit on open files stays");
        }
    }
}

async fn serve(ui: &Ui, options: Options, patience: Duration) -> anyhow::Result<Exit> {
    let mut signals = Signals::new().context("signals cannot be caught")?;
    let mut hangup = signal(SignalKind::hangup()).context("signals cannot be caught")?;
    let tls = options.listen.tls.clone();
    let node = hex(&options.node.public().to_bytes());
    let running = Coordinator::start(options).await.map_err(not_started)?;
    match ui.json {
        true => ui.object(&json!({ "url": running.url(), "node": node }))?,
        false => ui.line(running.url())?,
    }
    ui.note("the coordinator runs; Ctrl-C or SIGTERM ends it in order");
    loop {
        tokio::select! {
            why = running.failed() => {
                running.stop().await;
                return Failure::new(why.code, "the coordinator had to stop")
                    .because(&why)
                    .exit(exit(why.code))
                    .into_err();
            }
            _ = hangup.recv() => reload(ui, &running, tls.as_ref()),
            () = signals.end() => break,
        }
    }
    ui.note("no new tasks are taken; waiting for open assignments (another signal ends at once)");
    let all = tokio::select! {
        all = running.drain(patience) => all,
        () = signals.end() => {
            ui.note("ended at once: what was acknowledged is kept");
            return Ok(Exit::Ok);
        }
    };
    if !all {
        ui.note("some assignments were still open: they go on when the coordinator runs again");
    }
    Ok(Exit::Ok)
}

fn reload(ui: &Ui, running: &Running, tls: Option<&ServerTls>) {
    match running.reload() {
        Ok(true) => ui.note("the network file was read again"),
        Ok(false) => {}
        Err(error) => ui.note(format!("the network file was not taken: {error}")),
    }
    if let Some(Err(error)) = tls.map(ServerTls::reload) {
        ui.note(format!("the certificate was not taken: {error}"));
    }
}

/// The signals that end a service.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn options(
    folder: &Path,
    config: &Config,
    args: &RunArgs,
    network: PathBuf,
) -> anyhow::Result<Options> {
    let wrong = |why: String| {
        Failure::argument("the configuration cannot be used")
            .why(why)
            .hint("correct coordinator.toml")
    };
    let address = args
        .listen
        .or(config.listen)
        .unwrap_or_else(|| ([127, 0, 0, 1], 7470).into());
    let urls = match &config.public_url {
        None => Vec::new(),
        Some(text) => vec![Url::parse(text).map_err(|e| wrong(format!("public-url: {e}")))?],
    };
    if !network.is_file() {
        return Failure::argument("the coordinator cannot run")
            .why(format!("there is no network file {}", network.display()))
            .hint("get it from the network's authority, or from its registry with --registry")
            .into_err();
    }
    let data = folder.join("data");
    private_folder(&data).with_context(|| format!("{} could not be made", data.display()))?;
    Ok(Options {
        clock: Arc::new(SystemClock),
        rng: SharedRng::system(),
        network,
        tokens: folder.join("tokens.toml"),
        node: key_file(&folder.join("keys/node"))?,
        log: key_file(&folder.join("keys/log"))?,
        listen: Listen {
            address,
            tls: tls(folder, config, &urls)?,
            allow_insecure: config.insecure_listen,
            metrics: None,
        },
        urls,
        region: config.region.clone(),
        quota: config.quota().map_err(wrong)?,
        bounds: config.bounds().map_err(wrong)?,
        limits: Limits::default(),
        worker: Some(std::env::current_exe().context("this program cannot find its own file")?),
        state: data,
    })
}

fn tls(folder: &Path, config: &Config, urls: &[Url]) -> anyhow::Result<Option<ServerTls>> {
    let loaded = match (&config.tls_cert, &config.tls_key, config.tls_self_signed) {
        (Some(certificate), Some(key), false) => {
            ServerTls::load(&folder.join(certificate), &folder.join(key))
        }
        (None, None, true) => {
            let folder = folder.join("tls");
            private_folder(&folder)
                .with_context(|| format!("{} could not be made", folder.display()))?;
            let mut names = vec![
                "localhost".to_owned(),
                "127.0.0.1".to_owned(),
                "::1".to_owned(),
            ];
            names.extend(urls.iter().filter_map(Url::host_str).map(|host| {
                host.trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned()
            }));
            names.extend(
                config
                    .listen
                    .map(|address| address.ip())
                    .filter(|ip| !ip.is_unspecified())
                    .map(|ip| ip.to_string()),
            );
            names.sort_unstable();
            names.dedup();
            self_signed::load_or_create(&folder, &names, &SystemClock)
        }
        (None, None, false) => return Ok(None),
        _ => {
            return Failure::argument("the configuration cannot be used")
                .why("of tls-cert, tls-key and tls-self-signed there must be the first two, the last, or none")
                .hint("correct coordinator.toml")
                .into_err();
        }
    };
    loaded.map(Some).map_err(|error: TlsError| {
        Failure::new(error.code(), "the coordinator cannot use its certificate")
            .because(error)
            .into()
    })
}

/// Development keys on a network that does not allow them.
fn check_keys(options: &Options) -> anyhow::Result<()> {
    let known = |key: &Keypair| is_well_known(&key.public());
    if !known(&options.node) && !known(&options.log) {
        return Ok(());
    }
    // If it cannot be read, that is said when the coordinator starts.
    let development = adit_coordinator::membership::FileMembership::open(&options.network)
        .map(|members| {
            adit_coordinator::membership::Membership::current(&members)
                .genesis
                .development
        })
        .unwrap_or(true);
    match development {
        true => Ok(()),
        false => Failure::new(Code::BadKey, "the coordinator cannot run")
            .why("one of its keys is a development key, which everyone has, and this network is not for development")
            .hint("set the coordinator up with keys of its own: adit coordinator init")
            .into_err(),
    }
}

fn not_started(error: StartError) -> Failure {
    Failure::new(error.code(), "the coordinator could not be started")
        .because(&error)
        .or_hint(format!("see `adit explain {}`", error.code()))
        .exit(exit(error.code()))
}

fn exit(code: Code) -> Exit {
    match code {
        Code::Internal => Exit::Unexpected,
        Code::BadEncoding => Exit::Signature,
        _ => Exit::Fixable,
    }
}
