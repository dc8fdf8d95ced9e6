//! A miner's process: it starts, does its steps, ends, and starts again on the same state.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_miner::by_hand::{ByHand, Slot};
use adit_miner::cache::BlobCache;
use adit_miner::journal::{JournalError, Point, Probe};
use adit_miner::transport::CoordinatorApi;
use adit_miner::{Miner, Options, Parts, StartError};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api::SimulatedApi;
use super::disk::LyingDisk;
use super::executor::UpperCase;
use super::planted::Planted;
use super::world::{Life, Who, World};

/// Bytes of the cache.
const CACHE_BYTES: u64 = 16 << 20;
/// Runs at one time.
const SLOTS: u32 = 2;
/// How long the process is gone at most, in milliseconds.
const GONE_MS: u64 = 8_000;
/// How long the disk takes at most, in milliseconds.
const DISK_MS: u64 = 3;
/// Steps of the journal that a disk that lies loses.
const LOST: usize = 6;
/// How often a run looks whether it is to end, in milliseconds.
const LOOK_MS: u64 = 50;

struct Fuse {
    world: Arc<World>,
    life: Life,
}

impl Probe for Fuse {
    fn at(&mut self, point: Point) -> Result<(), JournalError> {
        match self.world.step(self.life) {
            true => Ok(()),
            false => Err(JournalError::Injected(point)),
        }
    }
}

/// Runs until the simulation is over.
pub async fn process(world: Arc<World>, number: u32) {
    let who = Who::Miner(number);
    let folder = world.folder.join(format!("miner-{number}"));
    let lost = match world.options.planted {
        Some(Planted::LoseJournal) => LOST,
        _ => 0,
    };
    let journal = Miner::journal_path(&folder);
    let wal = journal.with_extension("wal");
    let mut disk = LyingDisk::new(&[&journal], &[&wal], lost);
    loop {
        if std::fs::create_dir_all(&folder).is_err() {
            return world.hopeless("a miner's folder cannot be made");
        }
        let life = world.begin(who);
        world.note(&format_args!("miner {number} starts"));
        match start(&world, life, number, &folder) {
            Ok(started) => live(&world, life, number, started, &mut disk).await,
            Err(_) if !world.lives(life) => {}
            Err(error) => {
                let what = format!("miner {number} does not start: {error}");
                world.hopeless(what);
            }
        }
        if world.lives(life) {
            world.end(who);
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

fn start(world: &Arc<World>, life: Life, number: u32, folder: &Path) -> Result<ByHand, StartError> {
    let Some(key) = world.keys.get(number as usize).cloned() else {
        return Err(StartError::Devices("there is no such miner"));
    };
    let clock = world.clock(life.who);
    let cache = BlobCache::open(&folder.join("cache"), CACHE_BYTES)?;
    let executor = UpperCase::new(cache.store().clone(), SLOTS);
    let (wire, api_key, api_clock) = (Arc::clone(world), key.clone(), Arc::clone(&clock));
    let connect = move |_: &_| {
        let api = SimulatedApi {
            world: Arc::clone(&wire),
            life,
            key: api_key.clone(),
            clock: Arc::clone(&api_clock),
            rng: wire.rng(),
        };
        Ok(Arc::new(api) as Arc<dyn CoordinatorApi>)
    };
    let parts = Parts {
        options: Options {
            queue_depth: 4,
            ..Options::new(key, folder.to_owned())
        },
        executor: Arc::new(executor),
        cache,
        connect: Arc::new(connect),
        network: world.network.clone(),
        clock,
        rng: world.rng(),
    };
    let probe = Fuse {
        world: Arc::clone(world),
        life,
    };
    ByHand::start(parts, Box::new(probe))
}

async fn live(world: &Arc<World>, life: Life, number: u32, started: ByHand, disk: &mut LyingDisk) {
    let ByHand {
        handle,
        mut journal,
        slots,
    } = started;
    world.set_miner(number, Some(handle.clone()));
    let mut runs = JoinSet::new();
    for slot in slots {
        runs.spawn(work(Arc::clone(world), life, slot));
    }
    let write = async {
        loop {
            journal.due().await;
            world.pause(DISK_MS).await;
            if !world.lives(life) {
                return;
            }
            disk.before_step();
            if !journal.step() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = world.ended(life) => {}
        () = write => {}
    }
    world.set_miner(number, None);
    handle.kill();
    runs.abort_all();
    while runs.join_next().await.is_some() {}
}

/// What a slot does.
async fn work(world: Arc<World>, life: Life, slot: Slot) {
    loop {
        let Some(run) = slot.begin() else {
            slot.due().await;
            continue;
        };
        // Most runs are short; some take longer than it takes to be accepted by a signed word.
        let takes_ms = match world.below(6) {
            0 => world.below(8_000),
            1 => world.below(1_500),
            _ => world.below(40),
        };
        let until = Instant::now() + Duration::from_millis(takes_ms);
        while Instant::now() < until && !run.cancelled() {
            let look = Instant::now() + Duration::from_millis(LOOK_MS);
            tokio::time::sleep_until(look.min(until)).await;
        }
        if !world.step(life) {
            return;
        }
        slot.end(run);
    }
}
