//! `adit miner run`: works until it is ended.

use std::sync::Arc;
use std::time::Duration;

use adit_miner::cache::BlobCache;
use adit_miner::config::{Config, LogFormat};
use adit_miner::executor::{ExecutorError, SupervisorExecutor, WorkerProgram};
use adit_miner::miner::{Connect, Miner, Parts, StartError};
use adit_miner::network::Keeper;
use adit_miner::transport::CoordinatorApi;
use adit_miner::transport::http::HttpApi;
use adit_miner::{Handle, Options};
use adit_net::SharedRng;
use adit_net::SystemClock;
use adit_net::http::health::{self, Version};
use adit_net::http::server::{Limits, Listen, Server};
use adit_protocol::codes::Code;
use adit_runtime::worker::supervisor::SupervisorError;
use anyhow::Context as _;
use rand_core::{OsRng, RngCore as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{init, node_key, setup};
use crate::error::{Exit, Failure};
use crate::logging;
use crate::state::State;
use crate::text::hex;
use crate::ui::Ui;

/// Options of `adit miner run`.
#[derive(clap::Args)]
pub struct Args {
    /// How log lines are written: text or json [default: as miner.toml says]
    #[arg(long, value_enum)]
    log: Option<Log>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Log {
    /// For people.
    Text,
    /// One JSON object for each line.
    Json,
}

/// `adit miner run`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let config = setup::config(state)?;
    let key = node_key::load(state)?;
    let format = match args.log {
        None => config.log,
        Some(Log::Text) => LogFormat::Text,
        Some(Log::Json) => LogFormat::Json,
    };
    logging::start(&Ui {
        json: ui.json || format == LogFormat::Json,
        ..*ui
    });
    let folder = setup::folder(state)?;
    crate::state::private_folder(&folder)
        .with_context(|| format!("the folder {} could not be made", folder.display()))?;
    let roots = setup::roots(config.tls_ca.as_deref())?;
    let cache = BlobCache::open(&folder, config.cache_size)?;
    // Before there are other threads: workers are started from here.
    let executor = executor(state, &config, &cache)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("miner")
        .build()
        .context("the runtime could not be started")?;
    runtime.block_on(async move {
        let keeper = Keeper::open(
            &folder,
            config.network.clone(),
            roots.clone(),
            config.genesis,
        )
        .await
        .map_err(|error| init::unusable(&error))?;
        let mut options = Options::new(key.clone(), folder);
        options.coordinators = config.coordinators.clone();
        options.queue_depth = config.queue_depth;
        options.keep = config.keep;
        options.hottest_c = config
            .devices
            .iter()
            .map(|device| device.hottest_c)
            .collect();
        options.control = true;
        let connect: Arc<Connect> = Arc::new(move |member| {
            let api = HttpApi::new(&member.url, &key, roots.clone(), Arc::new(SystemClock))?;
            Ok(Arc::new(api) as Arc<dyn CoordinatorApi>)
        });
        let miner = Miner::start(Parts {
            options,
            executor: Arc::new(executor),
            cache,
            connect,
            network: keeper.watch(),
            clock: Arc::new(SystemClock),
            rng: SharedRng::system(),
        })
        .map_err(not_started)?;
        tokio::spawn(keeper.run());
        let metrics = match config.metrics {
            Some(address) => Some(serve_metrics(&miner, address).await?),
            None => None,
        };
        tracing::info!(node = hex(&miner.node()), engine = %miner.engine(), "the miner runs");
        let exit = until_ended(&miner, config.stop_grace).await?;
        if let Some(server) = metrics {
            server.shutdown(Duration::from_secs(1)).await;
        }
        Ok(exit)
    })
}

fn executor(
    state: &State,
    config: &Config,
    cache: &BlobCache,
) -> anyhow::Result<SupervisorExecutor> {
    let mut fresh_key = [0; 32];
    OsRng.fill_bytes(&mut fresh_key);
    let program = WorkerProgram {
        program: std::env::current_exe().context("this program cannot find its own file")?,
        code: state.root()?.join("code"),
        fresh_key,
    };
    let specs = config
        .devices
        .iter()
        .map(|device| setup::device(state, device));
    let specs = specs.collect::<anyhow::Result<Vec<_>>>()?;
    SupervisorExecutor::start(&program, cache.store(), specs).map_err(|error| {
        let code = match &error {
            ExecutorError::Device {
                source: SupervisorError::Start(_),
                ..
            } => Code::WorkerCrashed,
            _ => Code::BackendUnavailable,
        };
        Failure::new(code, "the miner could not be started")
            .because(&error)
            .or_hint("`adit doctor` says what is missing")
            .into()
    })
}

fn not_started(error: StartError) -> anyhow::Error {
    let code = match &error {
        StartError::Journal(error) => error.code(),
        StartError::System { .. } => Code::Internal,
        _ => return anyhow::Error::new(error).context("the miner could not be started"),
    };
    Failure::new(code, "the miner could not be started")
        .because(&error)
        .or_hint(format!("see `adit explain {code}`"))
        .into()
}

async fn serve_metrics(miner: &Handle, address: std::net::SocketAddr) -> anyhow::Result<Server> {
    let status = miner.status().await;
    let version = Version {
        role: "miner".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: Some(status.engine.to_string()),
        network: Some(status.network.to_string()),
        node: Some(status.node),
    };
    let routes = miner
        .metrics()
        .routes()
        .merge(health::routes(version, || Ok(())));
    let draining = CancellationToken::new();
    Server::start(Listen::plain(address), Limits::default(), routes, draining)
        .await
        .map_err(|error| {
            Failure::new(error.code(), "metrics cannot be served")
                .because(error)
                .or_hint("choose another address in miner.toml, or leave it out")
                .into()
        })
}

/// Waits for a signal, or for the end of a drained miner. A second signal ends the process at once:
/// what is in the journal is handed in at the next start.
async fn until_ended(miner: &Handle, grace: Duration) -> anyhow::Result<Exit> {
    let mut terminate =
        signal(SignalKind::terminate()).context("signals cannot be listened for")?;
    let mut interrupt =
        signal(SignalKind::interrupt()).context("signals cannot be listened for")?;
    let which = tokio::select! {
        () = miner.ended() => return Ok(Exit::Ok),
        _ = terminate.recv() => libc::SIGTERM,
        _ = interrupt.recv() => libc::SIGINT,
    };
    tracing::info!("ending: what runs is finished or cancelled, and handed in");
    tokio::select! {
        () = miner.stop(grace) => Ok(Exit::Ok),
        _ = terminate.recv() => Ok(Exit::Interrupted(which)),
        _ = interrupt.recv() => Ok(Exit::Interrupted(which)),
    }
}
