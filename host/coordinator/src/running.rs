//! Starting a coordinator, and ending it.
//!
//! The end in order: no new tasks are taken and no miners drawn; open assignments get time to end,
//! and their receipts are taken; then the server answers whoever still waits, and the engine signs a
//! last checkpoint.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use adit_net::http::server::{ListenError, Server};
use adit_net::log::witness::{self, WitnessError};
use adit_net::signed::nonces::NonceLimits;
use adit_net::signed::verify::{Previous, Window};
use adit_net::signed::{Gate, RequestVerifier};
use adit_net::{Clock, Problem};
use adit_protocol::cbor::Document as _;
use adit_protocol::keys::PublicKey;
use adit_protocol::{Code, Hash};
use adit_runtime::engine_document::engine_document;
use adit_runtime::store::StoreError;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::store::retention::{Collector, Retained};
use axum::Router;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::blobs::{Blobs, blocking};
use crate::core;
use crate::cosign::{self, Cosigning};
use crate::engine::{self, Engine, EngineOptions, Handle};
use crate::http::app::{App, Inner};
use crate::http::feed::Feeds;
use crate::http::metrics::Metrics;
use crate::http::network::NetworkBytes;
use crate::http::router;
use crate::membership::{FileMembership, Members, Membership, MembershipError};
use crate::options::Options;
use crate::planted::{Planted, Probe};
use crate::refusal::Refusal;
use crate::tokens::{TokenError, Tokens};
use crate::validator::Validator;

/// Files that the collector looks at in each of its rounds, which come each second.
const COLLECTED_FILES: usize = 256;
/// How often files are looked at that may have changed.
const TICK: Duration = Duration::from_secs(1);
/// How long requests may take to end once the server stops.
const SERVER_PATIENCE: Duration = Duration::from_secs(5);

/// Why a coordinator does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The network file cannot be used.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The node key is none of a coordinator of the network.
    #[error(
        "the key {node} is not that of a coordinator of the network {network}; hint: register it (adit register, or adit network add-coordinator where there is no registry) and wait for the next epoch, or start it with the registered key"
    )]
    NotRegistered {
        /// The key.
        node: String,
        /// Name of the network.
        network: String,
    },
    /// The log key is not the registered one.
    #[error(
        "the log key {found} is not the registered one, {registered}; hint: start it with the key that is registered, or register this one"
    )]
    LogKey {
        /// The key that was given.
        found: String,
        /// The one in the network file.
        registered: String,
    },
    /// The stake is below the least.
    #[error(
        "the coordinator's stake of {stake} is below the least of {least}, in 10^-12 token; hint: stake more"
    )]
    Stake {
        /// Its stake.
        stake: u128,
        /// The least.
        least: u128,
    },
    /// The engine of this program is none that the network pays for.
    #[error(
        "this program has the engine {own}, which the network does not pay for; hint: install the release of the program that the network uses"
    )]
    Engine {
        /// The engine id.
        own: Hash,
    },
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The blobs cannot be used.
    #[error(transparent)]
    Blobs(#[from] StoreError),
    /// Database or log cannot be used.
    #[error(transparent)]
    State(#[from] engine::StartError),
    /// A witness knows of more than the log's state, or of something else.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// The address cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Something that the authors ruled out.
    #[error("the coordinator could not be started: {0}; hint: please report this")]
    Internal(String),
}

impl StartError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            StartError::Membership(_) => Code::BadEncoding,
            StartError::NotRegistered { .. } => Code::NotRegistered,
            StartError::LogKey { .. } => Code::BadKey,
            StartError::Stake { .. } => Code::BelowMinimumStake,
            StartError::Engine { .. } => Code::StaleEngine,
            StartError::Tokens(TokenError::Exposed { .. }) => Code::PermissionDenied,
            StartError::Tokens(_) => Code::StateCorrupt,
            StartError::Blobs(error) => error.code(),
            StartError::State(engine::StartError::Db(error)) => error.code(),
            StartError::State(engine::StartError::Store(error)) => error.code(),
            StartError::State(engine::StartError::Log(error)) => error.code(),
            StartError::State(engine::StartError::Thread(_)) => Code::Internal,
            StartError::Witness(_) => Code::LogForked,
            StartError::Listen(error) => error.code(),
            StartError::Internal(_) => Code::Internal,
        }
    }
}

/// A coordinator, to be started.
pub struct Coordinator;

/// A coordinator that runs. Dropped, it stops at once, as if it were killed: nothing that it
/// acknowledged is lost.
pub struct Running {
    app: App,
    server: Option<Server>,
    engine: Option<Engine>,
    background: TaskTracker,
    stopped: CancellationToken,
    requests: PathBuf,
    membership: Arc<FileMembership>,
}

/// What a coordinator is made of, before its engine, server and background work run.
struct Prepared {
    membership: Arc<FileMembership>,
    members: Arc<Members>,
    region: String,
    files: Retained,
    previous: Previous,
}

impl Prepared {
    async fn new(options: &Options) -> Result<Prepared, StartError> {
        let internal = |problem: Problem| StartError::Internal(problem.to_string());
        let membership = Arc::new(FileMembership::open(&options.network)?);
        let members = membership.current();
        let region = check_members(&members, options)?;
        let is_new = !options.state.join(crate::store::DATABASE).exists();

        let quota = options.bounds.blob_bytes_all;
        let folder = options.state.clone();
        let (files, previous) = blocking(move || {
            let store = BlobStore::open(folder.join("blobs"))?;
            let files = Retained::new(store, quota)?;
            Ok::<_, StoreError>((files, previous(&folder, is_new)))
        })
        .await
        .map_err(internal)??;
        let log_folder = options.state.join("log");
        cosign::before_start(&log_folder, &members, &options.node, &options.log).await?;
        Ok(Prepared {
            membership,
            members,
            region,
            files,
            previous,
        })
    }

    fn app(&self, options: &Options, handle: Handle) -> Result<App, StartError> {
        let tokens = Tokens::open(&options.tokens, options.quota)?;
        Ok(App(Arc::new(Inner {
            blobs: Blobs::new(handle.clone(), self.files.clone()),
            handle,
            tokens,
            membership: Arc::clone(&self.membership) as Arc<dyn Membership>,
            verifier: OnceLock::new(),
            node: options.node.clone(),
            genesis: self.members.genesis_hash,
            engine: engine_document().hash(),
            region: self.region.clone(),
            bounds: options.bounds.clone(),
            validates: options.worker.is_some(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            clock: Arc::clone(&options.clock),
            rng: options.rng.clone(),
            feeds: Feeds::default(),
            uploads: Mutex::default(),
            known_environments: Mutex::default(),
            known_components: Mutex::default(),
            network: NetworkBytes::new(&options.network),
            metrics: Metrics::default(),
        })))
    }

    /// Lets signed requests in, for the server at `address` too, and begins what goes on beside
    /// them until `stopped`.
    fn begin(
        self,
        options: &Options,
        app: &App,
        server: Option<&Server>,
        stopped: &CancellationToken,
    ) -> TaskTracker {
        let urls = urls(options, &self.members, server);
        let verifier = verifier(app, &urls, self.previous);
        // It is set nowhere else.
        let _ = app.verifier.set(Arc::new(verifier));
        let background = TaskTracker::new();
        let collector = Collector::new(self.files, retention(options));
        background.spawn(tick(app.clone(), collector, stopped.clone()));
        let cosigning = Cosigning {
            handle: app.handle.clone(),
            membership: self.membership as Arc<dyn Membership>,
            node: options.node.public(),
            log: options.log.public(),
        };
        let folder = options.state.join("log");
        background.spawn(witness::serve(folder, cosigning, stopped.clone()));
        background
    }
}

impl Coordinator {
    /// Starts a coordinator in the tokio runtime of the caller.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(options: Options) -> Result<Running, StartError> {
        let internal = |problem: Problem| StartError::Internal(problem.to_string());
        let prepared = Prepared::new(&options).await?;
        let engine_options = engine_options(&options, &prepared.membership);
        let (engine, questions) = blocking(move || Engine::start(engine_options))
            .await
            .map_err(internal)??;
        let app = prepared.app(&options, engine.handle().clone())?;
        let stopped = CancellationToken::new();
        let log = adit_net::log::router(options.state.join("log"));
        let routes = router(app.clone()).nest("/log", log);
        let mut listen = options.listen.clone();
        listen.metrics = Some(app.metrics.http());
        let server =
            Server::start(listen, options.limits.clone(), routes, app.draining.clone()).await?;
        let membership = Arc::clone(&prepared.membership);
        let background = prepared.begin(&options, &app, Some(&server), &stopped);
        if let Some(program) = &options.worker {
            let folder = options.state.join("validator");
            let validator = Validator::open(&folder, program, options.bounds.validator_deadline)?;
            let (handle, blobs) = (app.handle.clone(), app.blobs.clone());
            background.spawn(validator.serve(questions, handle, blobs, stopped.clone()));
        }
        Ok(Running {
            app,
            server: Some(server),
            engine: Some(engine),
            background,
            stopped,
            requests: options.state.join("requests"),
            membership,
        })
    }
}

/// A coordinator without a server or threads: a simulator does the engine's steps, and passes
/// requests in. Dropping it ends it as a crash does.
pub struct ByHand {
    /// Its engine, whose steps are to be done.
    pub engine: engine::ByHand,
    /// The same as a server of it would answer, but for the log's files.
    pub routes: Router,
    /// The engine, for questions.
    pub handle: Handle,
    stopped: CancellationToken,
}

impl ByHand {
    /// As [`Coordinator::start`]; `probe` ends it between two steps, `planted` is a bug in it.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        options: Options,
        probe: Box<dyn Probe>,
        planted: Option<Planted>,
    ) -> Result<ByHand, StartError> {
        let prepared = Prepared::new(&options).await?;
        let mut engine_options = engine_options(&options, &prepared.membership);
        engine_options.probe = probe;
        engine_options.core.planted = planted;
        let (engine, handle, _) = engine::ByHand::open(engine_options)?;
        let app = prepared.app(&options, handle.clone())?;
        let stopped = CancellationToken::new();
        let routes = router(app.clone());
        prepared.begin(&options, &app, None, &stopped);
        Ok(ByHand {
            engine,
            routes,
            handle,
            stopped,
        })
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

impl Running {
    /// The address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        self.server.as_ref().map_or(none, Server::address)
    }

    /// Its address for programs on this machine, as `http://127.0.0.1:7470`.
    pub fn url(&self) -> String {
        self.server.as_ref().map(Server::url).unwrap_or_default()
    }

    /// The engine.
    pub fn handle(&self) -> &Handle {
        &self.app.handle
    }

    /// Reads the network file again at once, as after SIGHUP.
    ///
    /// # Errors
    /// [`MembershipError`]; the members known before stay.
    pub fn reload(&self) -> Result<bool, MembershipError> {
        self.membership.reload()
    }

    /// Ends when the engine has failed, with the reason: all requests are refused from then on.
    pub async fn failed(&self) -> Refusal {
        loop {
            if let Err(refusal) = self.app.handle.ready() {
                return refusal;
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Takes no more tasks, gives open assignments up to `patience` to end, and stops. Whether all
    /// of them have ended.
    pub async fn drain(self, patience: Duration) -> bool {
        self.app.closing.cancel();
        let ended = tokio::time::timeout(patience, self.app.handle.drain()).await;
        let all = matches!(ended, Ok(Ok(())));
        self.stop().await;
        all
    }

    /// Stops in order, without waiting for assignments: they stay open, and go on after the next
    /// start.
    pub async fn stop(mut self) {
        self.app.closing.cancel();
        if let Some(server) = self.server.take() {
            server.shutdown(SERVER_PATIENCE).await;
        }
        self.stopped.cancel();
        self.background.close();
        self.background.wait().await;
        if let Some(engine) = self.engine.take() {
            let _ = blocking(move || engine.stop()).await;
        }
        if let Some(verifier) = self.app.verifier.get() {
            let latest_s = verifier.latest_s();
            if let Err(error) = std::fs::write(&self.requests, format!("{latest_s}\n")) {
                tracing::warn!(%error, "what was signed last could not be noted");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

fn engine_options(options: &Options, membership: &Arc<FileMembership>) -> EngineOptions {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let bounds = &options.bounds;
    EngineOptions {
        core: core::Options {
            deadline_ms_max: ms(bounds.deadline_max),
            ..core::Options::default()
        },
        rng: options.rng.clone(),
        keep_tasks_ms: ms(bounds.task_retention),
        keep_blobs_ms: ms(bounds.blob_retention.max(bounds.task_retention)),
        ..EngineOptions::new(
            &options.state,
            options.node.clone(),
            options.log.clone(),
            Arc::clone(membership) as Arc<dyn Membership>,
            Arc::clone(&options.clock),
        )
    }
}

/// How long blobs are kept: at least as long as a task may wait and run that refers to them.
fn retention(options: &Options) -> Duration {
    let core = core::Options::default();
    let attempts = options
        .bounds
        .deadline_max
        .saturating_add(Duration::from_millis(core.grace_ms))
        .saturating_mul(core.attempts_max.saturating_add(1));
    let least = Duration::from_millis(core.queue_ms_max).saturating_add(attempts);
    options.bounds.blob_retention.max(least)
}

/// Checks that the network has this coordinator as a member. Its region.
fn check_members(members: &Members, options: &Options) -> Result<String, StartError> {
    let node = options.node.public();
    let Some(member) = members.membership.coordinator(&node.to_bytes()) else {
        return Err(StartError::NotRegistered {
            node: format!("{node:?}"),
            network: members.genesis.name.clone(),
        });
    };
    if member.log != options.log.public().to_bytes() {
        return Err(StartError::LogKey {
            found: format!("{:?}", options.log.public()),
            registered: crate::http::wire::hex(&member.log),
        });
    }
    let least = members.genesis.coordinator_stake_min;
    if member.stake < least {
        return Err(StartError::Stake {
            stake: member.stake,
            least,
        });
    }
    let own = engine_document().hash();
    if !members.membership.engines.contains(&own) {
        return Err(StartError::Engine { own });
    }
    Ok(match options.region.is_empty() {
        true => member.region.clone(),
        false => options.region.clone(),
    })
}

/// What became of the process before this one. Its word is used once: if this process is killed,
/// nothing is known of what it has seen.
fn previous(folder: &Path, is_new: bool) -> Previous {
    let path = folder.join("requests");
    let text = std::fs::read_to_string(&path);
    let latest_s = text.ok().and_then(|text| text.trim().parse().ok());
    let _ = std::fs::remove_file(&path);
    match latest_s {
        Some(latest_s) => Previous::Ended { latest_s },
        None if is_new => Previous::None,
        None => Previous::Unknown,
    }
}

/// The addresses that signed requests may name.
fn urls(options: &Options, members: &Members, server: Option<&Server>) -> Vec<Url> {
    let node = options.node.public().to_bytes();
    let registered = members
        .membership
        .coordinator(&node)
        .and_then(|member| Url::parse(&member.url).ok());
    let mut urls: Vec<Url> = options.urls.iter().cloned().chain(registered).collect();
    if let Some(server) = server
        && server.address().ip().is_loopback()
    {
        let address = server.address();
        urls.extend(Url::parse(&server.url()).ok());
        let local = server.url().replace(
            &address.to_string(),
            &format!("localhost:{}", address.port()),
        );
        urls.extend(Url::parse(&local).ok());
    }
    urls
}

fn verifier(app: &App, urls: &[Url], previous: Previous) -> RequestVerifier {
    RequestVerifier::new(
        urls,
        Window::default(),
        NonceLimits::default(),
        previous,
        Arc::clone(&app.clock) as Arc<dyn Clock>,
        Arc::new(MemberGate(Arc::clone(&app.membership))),
    )
}

/// Lets registered miners in. Whether one may work is for the engine to say, since one that is
/// jailed still hands in what it has.
struct MemberGate(Arc<dyn Membership>);

impl Gate for MemberGate {
    fn admit(&self, node: &PublicKey) -> Result<(), Problem> {
        match self.0.current().membership.miner(&node.to_bytes()) {
            Some(_) => Ok(()),
            None => Err(Problem::new(
                Code::NotRegistered,
                format!("the node {node:?} is not registered as a miner of this network"),
            )
            .hint("register it, or start the program with the registered key")),
        }
    }
}

/// Looks at files that may have changed, and removes old blobs.
async fn tick(app: App, mut collector: Collector, stopped: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep(TICK) => {}
            () = stopped.cancelled() => return,
        }
        let shared = app.clone();
        let worked = blocking(move || {
            if let Err(error) = shared.tokens.refresh() {
                tracing::warn!(%error, "the tokens could not be read again");
            }
            match collector.round(SystemTime::now(), COLLECTED_FILES, |_| false) {
                Ok(round) if round.deleted > 0 => {
                    tracing::info!(
                        files = round.deleted,
                        bytes = round.freed,
                        "old blobs were removed"
                    );
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "old blobs could not be removed"),
            }
            collector
        });
        match worked.await {
            Ok(back) => collector = back,
            Err(_) => return,
        }
    }
}
