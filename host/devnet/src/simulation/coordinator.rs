//! The coordinator's process: it starts, does its steps, ends, and starts again on the same state.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_coordinator::options::{Bounds, Options};
use adit_coordinator::planted::{Point, Probe};
use adit_coordinator::running::ByHand;
use adit_coordinator::store::StoreError;
use adit_coordinator::tokens::Quota;
use adit_net::http::server::{Limits, Listen};
use adit_protocol::keys::Keypair;
use adit_protocol::keys::uri::UriError;
use adit_protocol::log::checkpoint::SignedCheckpoint;

use super::disk::LyingDisk;
use super::ledger::Invariant;
use super::planted::Planted;
use super::world::{Life, Who, World};
use crate::keys;

/// How long the process is gone at most, in milliseconds.
const GONE_MS: u64 = 8_000;
/// How long the engine may be busy with something else before a step, in milliseconds.
const BUSY_MS: u64 = 4;
/// What a disk that lies loses: the last batches of the journal, over so many steps of the engine.
/// The tables keep what they have got of them; were they put back too, the journal would say that it
/// lacks batches that they need, and nothing would start.
const LOST_STEPS: usize = 20;

/// Ends the engine's process between two steps.
struct Fuse {
    world: Arc<World>,
    life: Life,
}

impl Probe for Fuse {
    fn goes_on(&mut self, _: Point) -> bool {
        self.world.step(self.life)
    }
}

/// Runs until the simulation is over.
pub async fn process(world: Arc<World>) {
    let mut disk = Disk::new(&world);
    loop {
        let life = world.begin(Who::Coordinator);
        world.note(&"the coordinator starts");
        tokio::select! {
            biased;
            () = world.ended(life) => {}
            () = live(&world, life, &mut disk) => {}
        }
        if world.lives(life) {
            world.end(Who::Coordinator);
        }
        if world.is_over() || world.is_hopeless() {
            return;
        }
        disk.crashed();
        world.pause(GONE_MS).await;
        if world.is_over() {
            return;
        }
    }
}

async fn live(world: &Arc<World>, life: Life, disk: &mut Disk) {
    let options = match options(world) {
        Ok(options) => options,
        Err(error) => return world.hopeless(error),
    };
    let probe = Fuse {
        world: Arc::clone(world),
        life,
    };
    let planted = world.options.planted.and_then(Planted::in_coordinator);
    let mut started = match ByHand::start(options, Box::new(probe), planted).await {
        Ok(started) => started,
        // The process was ended while it started.
        Err(_) if !world.lives(life) => return,
        Err(error) => {
            return world.hopeless(format_args!("the coordinator does not start: {error}"));
        }
    };
    world.serve(started.routes.clone(), started.handle.clone());
    loop {
        started.engine.due().await;
        world.pause(BUSY_MS).await;
        if !world.lives(life) {
            return;
        }
        disk.before_step();
        match started.engine.step() {
            Ok(true) => {}
            Ok(false) | Err(StoreError::Injected) => return,
            Err(error) => {
                return world.hopeless(format_args!("the engine has stopped: {error}"));
            }
        }
        look(world, &disk.state);
        let stats = started.handle.stats();
        if stats.polls > u64::from(world.options.miners) || stats.overloaded > 0 {
            let what = format!("{} polls wait, {} overloads", stats.polls, stats.overloaded);
            world.broken(Invariant::Bounded, what);
        }
    }
}

/// Notes what is published.
fn look(world: &World, state: &Path) {
    let Ok(bytes) = std::fs::read(state.join("log/checkpoint")) else {
        return;
    };
    match SignedCheckpoint::parse(&bytes) {
        Ok(signed) => {
            let checkpoint = signed.unverified();
            let (size, root) = (checkpoint.size, checkpoint.root);
            let at_ms = world.virtual_ms();
            world.ledger(|ledger| ledger.published(at_ms, size, root));
        }
        Err(error) => world.broken(Invariant::NeverForks, error),
    }
}

fn options(world: &Arc<World>) -> Result<Options, UriError> {
    Ok(Options {
        state: world.folder.join("coordinator"),
        network: world.folder.join("network"),
        tokens: world.folder.join("tokens.toml"),
        node: Keypair::from_uri(keys::COORDINATOR)?,
        log: Keypair::from_uri(keys::COORDINATOR_LOG)?,
        listen: Listen::plain(([127, 0, 0, 1], 0).into()),
        urls: Vec::new(),
        region: String::new(),
        quota: Quota::default(),
        bounds: Bounds::default(),
        limits: Limits::default(),
        worker: None,
        clock: world.clock(Who::Coordinator),
        rng: world.rng(),
    })
}

/// The disk of the coordinator, which may lie.
struct Disk {
    /// An older state is put back at the first crash after it was kept.
    backup: bool,
    /// Under the journal and the tables.
    lying: LyingDisk,
    state: PathBuf,
    kept: PathBuf,
}

impl Disk {
    fn new(world: &World) -> Disk {
        let planted = world.options.planted;
        let state = world.folder.join("coordinator");
        let lost = match planted == Some(Planted::LoseLastBatch) {
            true => LOST_STEPS,
            false => 0,
        };
        Disk {
            backup: planted == Some(Planted::OldBackup),
            lying: LyingDisk::new(&[], &[&state.join("journal.wal")], lost),
            kept: world.folder.join("kept"),
            state,
        }
    }

    fn before_step(&mut self) {
        self.lying.before_step();
        if self.backup && !self.kept.exists() && entries(&self.state).is_some_and(|n| n > 12) {
            let _ = copy_all(&self.state, &self.kept);
        }
    }

    fn crashed(&mut self) {
        self.lying.crashed();
        if self.backup && self.kept.exists() {
            let _ = std::fs::remove_dir_all(&self.state);
            let _ = copy_all(&self.kept, &self.state);
        }
    }
}

/// The size of the published log.
fn entries(state: &Path) -> Option<u64> {
    let bytes = std::fs::read(state.join("log/checkpoint")).ok()?;
    let signed = SignedCheckpoint::parse(&bytes).ok()?;
    Some(signed.unverified().size)
}

/// Copies a folder to one that is not there.
fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &target)?,
            // That is rebuilt, and is of the process that has it open.
            false if entry.file_name().to_string_lossy().ends_with("-shm") => {}
            false => {
                std::fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}
