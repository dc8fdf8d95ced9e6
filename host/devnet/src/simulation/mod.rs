//! Whole networks in virtual time: a coordinator and miners as they are shipped, with only clock,
//! randomness, transport and executor of the simulator's own, and what a network has to fear:
//! requests and answers that are lost, late, doubled and out of order, partitions, clocks that are
//! wrong, and processes that end between any two steps and come back.
//!
//! | module | subject |
//! |---|---|
//! | this file | one run |
//! | `world` | what all parts share: time, randomness, who is up, the trace |
//! | `wire` | requests on their way, and what happens to them there |
//! | `api` | the coordinator, as a miner reaches it over the wire |
//! | `coordinator`, `miner` | processes, which end and come back |
//! | `disk` | a disk that lies |
//! | `client` | whoever submits tasks, and remembers what it was told |
//! | `chaos` | what goes wrong, and when |
//! | `ledger` | what was promised to whom |
//! | `judge` | the invariants, at the end |
//! | `planted` | bugs that are put in, to see that they are found |
//!
//! A run is one thread of one runtime whose time stands still while anyone has something to do, so
//! that a seed makes the same run each time ([`Report::trace`]).

mod api;
mod chaos;
mod client;
mod coordinator;
mod disk;
mod executor;
mod judge;
mod ledger;
mod miner;
mod planted;
mod wire;
mod world;

use std::path::PathBuf;

use adit_protocol::Hash;
use thiserror::Error;

pub use ledger::{Invariant, Violation};
pub use planted::Planted;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Options {
    /// By which all that is random is chosen.
    pub seed: u64,
    /// Miners.
    pub miners: u32,
    /// Tasks that are submitted.
    pub tasks: u32,
    /// A bug that is put in.
    pub planted: Option<Planted>,
    /// Where state folders are made; they are removed at the end.
    pub folder: PathBuf,
    /// Whether each event is written on stderr.
    pub verbose: bool,
}

impl Options {
    /// The usual run of a seed, with its state in `folder`.
    pub fn new(seed: u64, folder: PathBuf) -> Options {
        Options {
            seed,
            miners: 3,
            tasks: 24,
            planted: None,
            folder,
            verbose: false,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Hash of all that happened, in its order.
    pub trace: Hash,
    /// How many events that were.
    pub events: u64,
    /// Virtual time in milliseconds.
    pub virtual_ms: u64,
    /// Processes that were ended.
    pub crashes: u64,
    /// Tasks that completed.
    pub completed: u64,
    /// Tasks that failed or were cancelled.
    pub not_completed: u64,
    /// Receipts in the log.
    pub receipts: u64,
    /// Entries of the log.
    pub entries: u64,
}

/// Why nothing could be simulated.
#[derive(Debug, Error)]
pub enum SimulationError {
    /// The runtime, or a folder.
    #[error("the simulation could not be set up: {0}; hint: is the disk full?")]
    Io(#[from] std::io::Error),
    /// The network's file.
    #[error("the simulation could not be set up: {0}")]
    Network(#[from] crate::DevError),
    /// What the authors ruled out.
    #[error("the simulation could not be set up: {0}; hint: please report this")]
    Internal(String),
}

/// Simulates one run, on this thread.
///
/// # Errors
/// [`SimulationError`], if it could not be set up; what it finds is in the report.
pub fn run(options: Options) -> Result<Report, SimulationError> {
    let folder = options.folder.join(format!("seed-{}", options.seed));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let simulated = adit_net::simulated::enter();
    let report = runtime.block_on(whole(options, folder.clone()));
    // What is left of processes that were ended.
    drop(runtime);
    drop(simulated);
    std::fs::remove_dir_all(&folder)?;
    report
}

async fn whole(options: Options, folder: PathBuf) -> Result<Report, SimulationError> {
    let world = world::World::new(options, folder)?;
    let mut processes = tokio::task::JoinSet::new();
    processes.spawn(coordinator::process(world.clone()));
    for number in 0..world.options.miners {
        processes.spawn(miner::process(world.clone(), number));
    }
    let chaos = tokio::spawn(chaos::run(world.clone()));
    client::all(&world).await;
    chaos.abort();
    world.heal();
    judge::settled(&world).await;
    world.end_all();
    while processes.join_next().await.is_some() {}
    judge::log(&world).await;
    Ok(world.report())
}
