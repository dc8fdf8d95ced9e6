//! Starting a registry, and ending it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_ledger::entry::note_key;
use adit_ledger::root::StateTree;
use adit_ledger::{Key, State};
use adit_net::http::client::ClientError;
use adit_net::http::server::{ListenError, Server};
use adit_net::log::witness::{WitnessError, before_start, serve};
use adit_net::log::{Check, FolderSource, LogOptions, LogReader};
use adit_net::{Stopped, blocking};
use adit_protocol::{Code, Document as _};
use adit_runtime::store::StoreError as BlobsError;
use adit_runtime::store::blobs::BlobStore;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::engine::{Beginning, Engine, EngineError, Handle};
use crate::figures::Figures;
use crate::follow::{FollowError, Follower, trust};
use crate::http::{App, router};
use crate::options::Options;
use crate::settling::keep::Keep;
use crate::settling::mirrors;
use crate::settling::program::COMPONENTS;
use crate::settling::settler::Settler;
use crate::settling::sources::COPIES;
use crate::store::{LOG, Reader, Store, StoreError};
use crate::witness::{self, OwnLog};

/// How long requests may take to end once the server stops.
const SERVER_PATIENCE: Duration = Duration::from_secs(5);
/// How often a failed engine is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why a registry does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The authority's key is not the genesis document's.
    #[error(
        "the key {found} is not the network's authority; hint: start the registry with the key that the network was made with"
    )]
    Authority {
        /// The key that was given.
        found: Key,
    },
    /// The log key is not the ledger genesis's.
    #[error(
        "the key {found} is not that of the registry's log; hint: start the registry with the key that the ledger's genesis document names"
    )]
    LogKey {
        /// The key that was given.
        found: Key,
    },
    /// Database or log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folders of settlement components.
    #[error(transparent)]
    Components(#[from] BlobsError),
    /// The log does not lead to a state.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A witness of the log cannot be asked at its address.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A witness knows of more than the log's state, or of something else.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// The address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Something that the authors ruled out.
    #[error("the registry could not be started: {0}; hint: please report this")]
    Internal(String),
}

impl StartError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            StartError::Authority { .. } | StartError::LogKey { .. } => Code::BadKey,
            StartError::Store(error) => error.code(),
            StartError::Engine(error) => error.code(),
            StartError::Components(error) => error.code(),
            StartError::Follow(error) => error.code(),
            StartError::Client(error) => error.code(),
            StartError::Witness(_) => Code::LogForked,
            StartError::Listen(error) => error.code(),
            StartError::Internal(_) => Code::Internal,
        }
    }
}

/// Name of the folder of what was earned, in the state folder.
const REWARDS: &str = "rewards";

/// A registry, to be started.
pub struct Registry;

/// A registry that runs. Dropped, it stops at once: nothing that it acknowledged is lost.
pub struct Running {
    server: Option<Server>,
    engine: Option<Engine>,
    settler: Option<JoinHandle<()>>,
    cosigning: Option<JoinHandle<()>>,
    ending: DropGuard,
    handle: Handle,
    network_file: PathBuf,
}

impl Registry {
    /// Starts a registry in the tokio runtime of the caller.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(options: Options) -> Result<Running, StartError> {
        let authority = options.authority.public();
        if authority.to_bytes() != options.genesis.authority {
            return Err(StartError::Authority {
                found: Key::new(&authority),
            });
        }
        let log = options.log.public();
        if log.to_bytes() != *options.ledger.log.as_bytes() {
            return Err(StartError::LogKey {
                found: Key::new(&log),
            });
        }
        // Before anything is made in the folder.
        let beginning =
            Follower::new(&options.genesis, &options.ledger).map_err(FollowError::from)?;
        let internal =
            |error: adit_net::simulated::BrokenOff| StartError::Internal(error.to_string());
        let genesis = options.genesis.hash();
        let log_options = LogOptions {
            folder: options.state.join(LOG),
            origin: note_key(&genesis, &log).name().clone(),
            key: options.log.clone(),
            witnesses: (options.witnesses.iter())
                .map(|witness| witness.key.clone())
                .collect(),
            check: Check::All,
        };
        let asked = witness::clients(&options.witnesses)?;
        before_start(
            &log_options.folder,
            &note_key(&genesis, &log),
            &options.log,
            &asked,
        )
        .await?;
        let folder = options.state.clone();
        let store = blocking(move || Store::open(&folder, log_options))
            .await
            .map_err(internal)??;
        let (store, follower) = catch_up(store, beginning, &options).await?;
        let (state, members, tree) = follower.into_parts();
        let reader = Reader::open(&options.state)?;
        let network_file = options.network_file.clone();
        let figures = Figures::default();
        let beginning = Beginning {
            store,
            state,
            members,
            tree,
            genesis: options.genesis.clone(),
            authority: options.authority.clone(),
            network_file: network_file.clone(),
            clock: Arc::clone(&options.clock),
            keeps_end: options.settler.is_some(),
            figures: figures.clone(),
        };
        let engine = blocking(move || Engine::start(beginning))
            .await
            .map_err(internal)??;
        let handle = engine.handle().clone();
        let keep = Arc::new(Keep::new(options.state.join(REWARDS)));
        let components = BlobStore::open(options.state.join(COMPONENTS))?;
        let draining = CancellationToken::new();
        let app = App::new(
            handle.clone(),
            (reader, Reader::open(&options.state)?),
            (&options.genesis, &options.ledger),
            Arc::clone(&keep),
            components,
            figures.clone(),
            draining.clone(),
        );
        let mut routes = router(app)
            .map_err(|error| StartError::Internal(error.to_string()))?
            .nest("/log", adit_net::log::router(options.state.join(LOG)))
            .nest(COPIES, copies(options.state.clone()));
        if let Some(checker) = &options.settler {
            let clock = Arc::clone(&options.clock);
            let witness = witness::routes(&options.state, checker, handle.clone(), clock)?;
            routes = routes.merge(witness);
        }
        let mut listen = options.listen;
        listen.metrics = Some(figures.http());
        let server = Server::start(listen, options.limits, routes, draining).await?;
        let ending = CancellationToken::new();
        let cosigning = (!options.witnesses.is_empty()).then(|| {
            let own = OwnLog {
                handle: handle.clone(),
                genesis,
                log,
                witnesses: options.witnesses,
            };
            tokio::spawn(serve(options.state.join(LOG), own, ending.clone()))
        });
        let settler = match options.settler {
            None => None,
            Some(settler) => {
                let settler = Settler::new(
                    settler,
                    handle.clone(),
                    options.genesis,
                    options.ledger,
                    options.state,
                    keep,
                    options.clock,
                )?;
                Some(tokio::spawn(settler.run(ending.clone())))
            }
        };
        Ok(Running {
            server: Some(server),
            engine: Some(engine),
            settler,
            cosigning,
            // Dropped, it ends the settler, which would keep the engine alive otherwise.
            ending: ending.drop_guard(),
            handle,
            network_file,
        })
    }
}

/// The routes of the logs that the checker has copied.
fn copies(state: PathBuf) -> axum::Router {
    adit_net::log::routers(move |name| Some(mirrors::path(&state, &name.parse().ok()?)))
}

/// The state after all that the log holds.
async fn catch_up(
    mut store: Store,
    beginning: Follower,
    options: &Options,
) -> Result<(Store, Follower), StartError> {
    let mut follower = snapshot(&mut store, options)?.unwrap_or(beginning);
    let trust = trust(&options.genesis, &options.ledger)?;
    let reader = LogReader::new(FolderSource(store.log().folder().to_owned()), trust);
    let checkpoint = store.log().signed().unverified().clone();
    follower.walk(&reader, &checkpoint).await?;
    // What is committed and in no tile yet.
    while follower.leaf() < store.log().size() {
        let entry = store.entry(follower.leaf())?;
        follower.entry(&entry)?;
    }
    Ok((store, follower))
}

/// The newest snapshot, if it is what the log says at that place.
fn snapshot(store: &mut Store, options: &Options) -> Result<Option<Follower>, StartError> {
    use adit_ledger::entry::LogEntry;
    let Some((leaf, entries)) = store.snapshot()? else {
        return Ok(None);
    };
    let Some(root) = leaf.checked_sub(1) else {
        return Ok(None);
    };
    let said = store.entry(root)?;
    let state = State::from_entries(&options.genesis, entries);
    let follower = state.ok().map(|state| Follower::at(state, leaf));
    let found = follower.as_ref().and_then(Follower::tree);
    let found = found.map(StateTree::root);
    match LogEntry::from_bytes(&said) {
        Ok(LogEntry::Epoch(said)) if found == Some(said.state) => Ok(follower),
        _ => {
            tracing::warn!(
                leaf,
                "the snapshot is not what the log says; the log is read whole"
            );
            Ok(None)
        }
    }
}

impl Running {
    /// Its address for programs on this machine.
    pub fn url(&self) -> String {
        self.server.as_ref().map(Server::url).unwrap_or_default()
    }

    /// The engine.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The file that always holds the newest network file.
    pub fn network_file(&self) -> &std::path::Path {
        &self.network_file
    }

    /// Ends when the engine has failed, with the reason.
    pub async fn failed(&self) -> Stopped {
        loop {
            if let Some(stopped) = self.handle.shared().failed() {
                return stopped.clone();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops in order: requests that are there are answered.
    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown(SERVER_PATIENCE).await;
        }
        drop(self.ending);
        for task in self.settler.take().into_iter().chain(self.cosigning.take()) {
            let _ = task.await;
        }
        drop(self.handle);
        if let Some(engine) = self.engine {
            let _ = blocking(move || engine.stop()).await;
        }
    }
}
