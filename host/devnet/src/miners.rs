//! One miner of a development network, with a worker process of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use adit_miner::cache::BlobCache;
use adit_miner::executor::{DeviceSpec, Executor, SupervisorExecutor, WorkerProgram};
use adit_miner::network::NetworkView;
use adit_miner::transport::CoordinatorApi;
use adit_miner::transport::http::HttpApi;
use adit_miner::{Handle, Miner, Options as MinerOptions, Parts};
use adit_net::SharedRng;
use adit_net::tls::Roots;
use adit_net::{Clock, SystemClock};
use adit_protocol::keys::Keypair;
use adit_protocol::network::membership::NetworkFile;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::process::WorkerOptions;
use rand_core::{OsRng, RngCore as _};
use tokio::sync::watch;

use crate::devnet::DevError;
use crate::faults::{Fault, Faults, FaultyApi, FaultyExecutor, Losses};
use crate::folder::make;

/// Bytes of blobs that a miner keeps.
const CACHE_BYTES: u64 = 4 << 30;
/// Bytes of loaded models that a worker keeps.
const MODEL_BYTES: u64 = 1 << 30;

/// What miners of a network have in common.
#[derive(Clone)]
pub struct Common {
    /// Where the coordinator is.
    pub url: String,
    /// The network.
    pub network: watch::Receiver<Arc<NetworkView>>,
    /// A program that becomes a worker.
    pub program: PathBuf,
    /// Runs that each miner makes at one time.
    pub slots: u32,
    /// Threads of one computation of a model.
    pub threads: u32,
    /// What is wrong in the network.
    pub faults: Faults,
}

/// A miner that runs.
pub struct DevMiner {
    handle: Handle,
    ending: Arc<AtomicBool>,
    fault: Option<Fault>,
}

/// The view of a network file that was just signed.
///
/// # Errors
/// [`DevError`], if it does not hold.
pub fn view(file: &NetworkFile) -> Result<Arc<NetworkView>, DevError> {
    NetworkView::of(file, None)
        .map(Arc::new)
        .map_err(|error| DevError::Miner(error.to_string()))
}

impl DevMiner {
    /// Starts the miner with a number, in a folder of its own.
    ///
    /// # Errors
    /// [`DevError`].
    pub async fn start(
        common: &Common,
        number: u32,
        key: &Keypair,
        fault: Option<Fault>,
        folder: &Path,
    ) -> Result<DevMiner, DevError> {
        let failed = |error: &dyn std::fmt::Display| {
            DevError::Miner(format!("miner {number} could not be started: {error}"))
        };
        make(folder)?;
        let cache = BlobCache::open(&folder.join("cache"), CACHE_BYTES).map_err(|e| failed(&e))?;
        let mut fresh_key = [0; 32];
        OsRng.fill_bytes(&mut fresh_key);
        let program = WorkerProgram {
            program: common.program.clone(),
            code: folder.join("code"),
            fresh_key,
        };
        let spec = DeviceSpec {
            name: "cpu".to_owned(),
            choice: DeviceChoice::Embedded,
            worker: WorkerOptions {
                slots: common.slots,
                inference_threads: common.threads,
                model_cache_bytes: MODEL_BYTES,
                ..WorkerOptions::default()
            },
        };
        let blobs = cache.store().clone();
        // It waits for the worker to say what it is.
        let started = tokio::task::spawn_blocking(move || {
            SupervisorExecutor::start(&program, &blobs, vec![spec])
        });
        let executor = started
            .await
            .map_err(|error| failed(&error))?
            .map_err(|error| failed(&error))?;
        let ending = Arc::new(AtomicBool::new(false));
        let mut executor: Arc<dyn Executor> = Arc::new(executor);
        if let Some(fault) = fault {
            executor = Arc::new(FaultyExecutor::new(executor, fault, Arc::clone(&ending)));
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let connect = connect(common, number, key, fault, &clock);
        let handle = Miner::start(Parts {
            options: MinerOptions {
                control: true,
                ..MinerOptions::new(key.clone(), folder.to_owned())
            },
            executor,
            cache,
            connect,
            network: common.network.clone(),
            clock,
            rng: SharedRng::system(),
        })
        .map_err(|error| failed(&error))?;
        Ok(DevMiner {
            handle,
            ending,
            fault,
        })
    }

    /// The miner.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What it does wrong, if anything.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Ends it: an honest one hands in what it has, and gives runs the grace to end.
    pub async fn stop(&self, grace: Duration) {
        self.ending.store(true, Ordering::Relaxed);
        match self.fault {
            None => self.handle.stop(grace).await,
            // Some would never be done.
            Some(_) => self.handle.abandon().await,
        }
    }
}

fn connect(
    common: &Common,
    number: u32,
    key: &Keypair,
    fault: Option<Fault>,
    clock: &Arc<dyn Clock>,
) -> Arc<adit_miner::Connect> {
    let (url, faults) = (common.url.clone(), common.faults.clone());
    let (key, clock) = (key.clone(), Arc::clone(clock));
    Arc::new(move |_| {
        // There is one coordinator, in this process, wherever the membership still says that it is.
        let api = HttpApi::new(&url, &key, Roots::none(), Arc::clone(&clock))?;
        let api: Arc<dyn CoordinatorApi> = Arc::new(api);
        if fault.is_none() && faults.drop_ppm == 0 {
            return Ok(api);
        }
        let losses = Losses::new(faults.seed, number, faults.drop_ppm);
        let api = FaultyApi::new(api, fault, losses, key.clone(), Arc::clone(&clock));
        Ok(Arc::new(api) as Arc<dyn CoordinatorApi>)
    })
}
