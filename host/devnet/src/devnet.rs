//! Starting and ending a development network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_coordinator::options::{Bounds, Options as CoordinatorOptions};
use adit_coordinator::running::{Coordinator, Running, StartError};
use adit_coordinator::tokens::{TokenError, TokenFile};
use adit_miner::network::NetworkView;
use adit_net::http::server::{Limits, Listen, ListenError};
use adit_net::{Clock as _, SharedRng, SystemClock};
use adit_protocol::Code;
use adit_protocol::keys::Keypair;
use adit_protocol::keys::uri::UriError;
use rand_core::OsRng;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::faults::{Fault, Faults};
use crate::folder::{Folder, make, port_of, write};
use crate::miners::{Common, DevMiner, view};
use crate::network::Member;
use crate::registry::DevRegistry;
use crate::{keys, network};

/// Most miners that are honest.
pub const MINERS_MAX: u32 = 64;
/// Name of the client.
const CLIENT: &str = "dev";
/// How long miners may take to be drawn from.
const READY: Duration = Duration::from_secs(120);
/// How often members are looked at for the miners.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a development network is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that holds everything; made if it is not there.
    pub folder: PathBuf,
    /// Port of the coordinator; `None` for that of the last time, else for any.
    pub port: Option<u16>,
    /// Miners that are honest.
    pub miners: u32,
    /// Runs that each miner makes at one time.
    pub slots: u32,
    /// Threads of one computation of a model.
    pub threads: u32,
    /// What is wrong.
    pub faults: Faults,
    /// A program that becomes a worker: one that calls `adit_runtime::worker::main_if_worker` first.
    pub program: PathBuf,
}

/// A development network that runs.
pub struct DevNet {
    registry: Arc<DevRegistry>,
    coordinator: Running,
    miners: Vec<DevMiner>,
    folder: Folder,
    url: String,
    token: String,
    /// Tells miners of new members.
    following: JoinHandle<()>,
}

/// Why a development network does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DevError {
    /// The folder is in use.
    #[error(
        "the folder {} is in use by another process; hint: end that one, or choose another folder",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Something in the folder is not what it should be.
    #[error(
        "{} cannot be used: {why}; hint: choose another folder, or move it away",
        path.display()
    )]
    Folder {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system refuses a file.
    #[error("{} could not be {what}: {source}; hint: check the disk and the folder", path.display())]
    File {
        /// What was tried, as a participle.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The coordinator does not start.
    #[error("the coordinator could not be started: {0}")]
    Coordinator(#[from] StartError),
    /// The registry does not start.
    #[error("the registry could not be started: {0}")]
    Registry(Box<adit_registry::StartError>),
    /// The registry refuses what a new network needs.
    #[error("the registry does not do what the network needs: {0}")]
    Ledger(String),
    /// No address can be had for the coordinator.
    #[error("the coordinator could not be started: {0}")]
    Listen(#[from] ListenError),
    /// Its tokens cannot be made.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// A miner does not start.
    #[error("{0}")]
    Miner(String),
    /// A name of a key is no secret URI, which a test rules out.
    #[error(transparent)]
    Key(#[from] UriError),
    /// More miners than can be.
    #[error("{miners} miners are too many; hint: at most {MINERS_MAX}")]
    Miners {
        /// How many were asked for.
        miners: u32,
    },
    /// Miners did not become candidates.
    #[error(
        "{ready} of {all} miners can be drawn after {} s; hint: see -v, the machine may be too busy",
        READY.as_secs()
    )]
    NotReady {
        /// How many did.
        ready: usize,
        /// Of how many.
        all: usize,
    },
}

impl From<adit_registry::StartError> for DevError {
    fn from(error: adit_registry::StartError) -> DevError {
        DevError::Registry(Box::new(error))
    }
}

impl DevError {
    pub(crate) fn file(what: &'static str, path: &Path, source: io::Error) -> DevError {
        let what = match what {
            "make" => "made",
            "open" => "opened",
            "lock" => "locked",
            "read" => "read",
            _ => "written",
        };
        DevError::File {
            what,
            path: path.to_owned(),
            source,
        }
    }

    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            DevError::InUse { .. } => Code::StateLocked,
            DevError::Folder { .. } => Code::StateCorrupt,
            DevError::File { source, .. } => match Code::of_io(source) {
                Code::Internal => Code::InvalidArgument,
                code => code,
            },
            DevError::Coordinator(error) => error.code(),
            DevError::Registry(error) => error.code(),
            DevError::Ledger(_) => Code::Internal,
            DevError::Listen(error) => error.code(),
            DevError::Tokens(_) => Code::StateCorrupt,
            DevError::Miner(_) | DevError::Key(_) | DevError::NotReady { .. } => Code::Internal,
            DevError::Miners { .. } => Code::InvalidArgument,
        }
    }
}

impl DevNet {
    /// Starts a network in the tokio runtime of the caller, and returns once all its miners can be
    /// drawn.
    ///
    /// # Errors
    /// [`DevError`].
    pub async fn start(options: &Options) -> Result<DevNet, DevError> {
        if options.miners > MINERS_MAX {
            return Err(DevError::Miners {
                miners: options.miners,
            });
        }
        let folder = Folder::take(&options.folder)?;
        let members = members(options)?;
        let registry = Arc::new(DevRegistry::start(&folder, &options.program).await?);
        // Its address is registered before it listens there.
        let before = folder.text("address");
        let port = (options.port.or(before.as_deref().and_then(port_of))).map_or_else(free, Ok)?;
        let address = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
        registry.register(&address, &members).await?;
        let coordinator =
            start_coordinator(&folder, options.port, Some(&address), &options.program).await?;
        let token = token(&folder, SystemClock.now_ms())?;
        let url = coordinator.url();
        if url != address {
            registry.register(&url, &members).await?;
        }
        if before.as_deref() != Some(url.as_str()) {
            write(&folder.path("address"), url.as_bytes(), 0o644)?;
        }
        let (sender, network) = watch::channel(view(&registry.network()?)?);
        let following = tokio::spawn(follow(Arc::clone(&registry), sender));
        let common = Common {
            url: url.clone(),
            network,
            program: options.program.clone(),
            slots: options.slots.max(1),
            threads: options.threads.max(1),
            faults: options.faults.clone(),
        };
        let miners = miners(&common, members, &folder).await?;
        let net = DevNet {
            registry,
            coordinator,
            miners,
            folder,
            url,
            token,
            following,
        };
        net.ready().await?;
        Ok(net)
    }

    /// Address of the coordinator.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Address of the registry.
    pub fn registry(&self) -> String {
        self.registry.url()
    }

    /// Token of the client.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Address of the witness, which is the checker that the registry runs.
    pub fn witness(&self) -> String {
        self.registry.url()
    }

    /// The network file.
    pub fn network_file(&self) -> PathBuf {
        self.folder.path("network")
    }

    /// The folder that holds everything.
    pub fn folder(&self) -> &Path {
        self.folder.root()
    }

    /// The miners, in the order of their numbers: the cheats last.
    pub fn miners(&self) -> &[DevMiner] {
        &self.miners
    }

    /// The coordinator.
    pub fn coordinator(&self) -> &Running {
        &self.coordinator
    }

    /// Ends when the network cannot go on, with the reason.
    pub async fn failed(&self) -> (Code, String) {
        tokio::select! {
            biased;
            why = self.coordinator.failed() => (why.code, why.to_string()),
            why = self.registry.failed() => (why.code, why.why),
        }
    }

    /// Ends the network in order: no new tasks are taken; what runs has up to `patience` to end, and
    /// is handed in. Whether all of it was.
    pub async fn shutdown(self, patience: Duration) -> bool {
        let DevNet {
            registry,
            coordinator,
            following,
            miners,
            folder,
            ..
        } = self;
        // While the coordinator waits for results, miners go on; those that never answer are ended,
        // so that nothing is waited for that cannot come.
        let mut ending = JoinSet::new();
        let mut honest = Vec::new();
        for miner in miners {
            match miner.fault() {
                None => honest.push(miner),
                Some(_) => {
                    ending.spawn(async move { miner.stop(Duration::ZERO).await });
                }
            }
        }
        let ended = tokio::time::timeout(patience, coordinator.handle().drain()).await;
        let all = matches!(ended, Ok(Ok(())));
        for miner in honest {
            ending.spawn(async move {
                match all {
                    true => miner.stop(Duration::ZERO).await,
                    // What runs goes on after the next start.
                    false => miner.handle().abandon().await,
                }
            });
        }
        while ending.join_next().await.is_some() {}
        // Last, so that no miner looks for it in vain.
        coordinator.stop().await;
        following.abort();
        // What follows it is gone once it is waited for.
        let _ = following.await;
        if let Some(registry) = Arc::into_inner(registry) {
            registry.stop().await;
        }
        drop(folder);
        all
    }

    /// Waits until each miner can be drawn.
    async fn ready(&self) -> Result<(), DevError> {
        let all = self.miners.len();
        let mut ready = 0;
        let looks = async {
            loop {
                let page = self.coordinator.handle().miners(None, 1000).await;
                let drawn = |miners: &[adit_coordinator::view::MinerView]| {
                    miners.iter().filter(|miner| miner.weight > 0).count()
                };
                ready = page.map_or(0, |page| drawn(&page.items));
                if ready >= all {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(READY, looks).await {
            Ok(()) => Ok(()),
            Err(_) => Err(DevError::NotReady { ready, all }),
        }
    }
}

/// The miners that are to be, honest ones first.
fn members(options: &Options) -> Result<Vec<Member>, DevError> {
    let honest = (0..options.miners).map(|_| None);
    let cheats = options.faults.miners.iter().copied().map(Some);
    let member = |(number, fault): (u32, Option<Fault>)| {
        Ok(network::Member {
            node: keys::miner(number)?,
            fault,
        })
    };
    (0u32..).zip(honest.chain(cheats)).map(member).collect()
}

/// A port that nobody listens on at the moment.
fn free() -> Result<u16, DevError> {
    let bind = |address| {
        let listener = std::net::TcpListener::bind(address)?;
        Ok::<_, io::Error>(listener.local_addr()?.port())
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    bind(address).map_err(|source| ListenError::Bind { address, source }.into())
}

/// Tells miners of each epoch's members. The coordinator reads the network file itself.
async fn follow(registry: Arc<DevRegistry>, miners: watch::Sender<Arc<NetworkView>>) {
    let mut known = None;
    loop {
        tokio::time::sleep(FOLLOW_EVERY).await;
        let Ok(members) = registry.members() else {
            return;
        };
        if known == Some(members.version) {
            continue;
        }
        known = Some(members.version);
        match registry.network().and_then(|file| view(&file)) {
            Ok(view) => {
                miners.send_replace(view);
            }
            Err(error) => tracing::warn!(%error, "miners were not told of new members"),
        }
    }
}

/// The client's token, made once.
fn token(folder: &Folder, now_ms: u64) -> Result<String, DevError> {
    let path = folder.path("tokens.toml");
    if let Some(token) = folder.text("token")
        && path.exists()
    {
        return Ok(token);
    }
    let mut file = TokenFile::default();
    let (token, _) = file.add(CLIENT, now_ms, &mut OsRng)?;
    write(&folder.path("token"), token.as_bytes(), 0o600)?;
    file.save(&path)?;
    Ok(token)
}

/// Starts the coordinator of the network whose file lies in a folder: on a port, else on that of the
/// address `before`, if it is free, else on any.
///
/// # Errors
/// [`DevError`].
pub async fn start_coordinator(
    folder: &Folder,
    port: Option<u16>,
    before: Option<&str>,
    program: &Path,
) -> Result<Running, DevError> {
    let state = folder.path("coordinator");
    make(&state)?;
    token(folder, SystemClock.now_ms())?;
    let listen = |port: u16| Listen::plain(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let last = before.and_then(port_of);
    let start = |port: u16| -> Result<CoordinatorOptions, DevError> {
        Ok(CoordinatorOptions {
            clock: Arc::new(SystemClock),
            rng: SharedRng::system(),
            state: state.clone(),
            network: folder.path("network"),
            tokens: folder.path("tokens.toml"),
            node: Keypair::from_uri(keys::COORDINATOR)?,
            log: Keypair::from_uri(keys::COORDINATOR_LOG)?,
            listen: listen(port),
            urls: Vec::new(),
            region: String::new(),
            quota: Default::default(),
            bounds: Bounds::default(),
            limits: Limits::default(),
            worker: Some(program.to_owned()),
        })
    };
    let wanted = port.or(last).unwrap_or(0);
    match Coordinator::start(start(wanted)?).await {
        // The port of the last time was not asked for: any other one is as good.
        Err(StartError::Listen(_)) if port.is_none() && wanted != 0 => {
            Ok(Coordinator::start(start(0)?).await?)
        }
        started => Ok(started?),
    }
}

/// Starts all miners at once: each waits for its worker.
async fn miners(
    common: &Common,
    members: Vec<Member>,
    folder: &Folder,
) -> Result<Vec<DevMiner>, DevError> {
    let mut starting = JoinSet::new();
    for (number, member) in (0u32..).zip(members) {
        let common = common.clone();
        let path = folder.path(&format!("miner-{number}"));
        starting.spawn(async move {
            let Member { node, fault } = member;
            let miner = DevMiner::start(&common, number, &node, fault, &path).await;
            (number, miner)
        });
    }
    let mut started = Vec::new();
    while let Some(joined) = starting.join_next().await {
        let (number, miner) = joined.map_err(|error| DevError::Miner(error.to_string()))?;
        started.push((number, miner?));
    }
    started.sort_by_key(|(number, _)| *number);
    Ok(started.into_iter().map(|(_, miner)| miner).collect())
}
