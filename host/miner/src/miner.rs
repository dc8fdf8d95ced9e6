//! A miner: sessions with coordinators, slots that run tasks, and a handle on both.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use adit_net::{Clock, SharedRng, blocking};
use adit_protocol::Hash;
use adit_protocol::network::membership::CoordinatorMember;
use adit_protocol::status::Status as RunStatus;
use adit_runtime::store::StoreError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cache::{BlobCache, Pins};
use crate::executor::Executor;
use crate::journal::{self, Journal, JournalError, JournalWriter, NoProbe, NodeKey, Probe};
use crate::metrics::Metrics;
use crate::network::NetworkWatch;
use crate::options::Options;
use crate::scheduler::{Held, Scheduler};
use crate::session::{Session, Shared, slot};
use crate::status::{CoordinatorStatus, DeviceStatus, Mode, ReceiptCounts, Status};
use crate::text::hex;
use crate::transport::{ApiError, CoordinatorApi};

/// How often temperatures are read.
const TEMPERATURE_EVERY: Duration = Duration::from_secs(5);
/// By how many degrees a device that was too hot must have cooled.
const COOLED_BY_C: u32 = 5;
/// How long receipts that are made may take to reach their coordinators at the end.
const LAST_HAND_IN: Duration = Duration::from_secs(10);
/// How long the journal may take to count receipts for a status.
const COUNTED_WITHIN: Duration = Duration::from_secs(2);
/// How often is looked whether all has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why a miner could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The cache cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The executor has no device, or devices with different engines.
    #[error("the devices cannot be used together: {0}")]
    Devices(&'static str),
    /// A thread or the control socket could not be made.
    #[error("{what} could not be made: {source}; hint: {hint}")]
    System {
        /// What.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
}

/// Makes the connection to a coordinator of the membership.
pub type Connect =
    dyn Fn(&CoordinatorMember) -> Result<Arc<dyn CoordinatorApi>, ApiError> + Send + Sync;

/// What a miner is made of, so that a test or a simulator can put in its own.
pub struct Parts {
    /// How it is set up.
    pub options: Options,
    /// What runs tasks.
    pub executor: Arc<dyn Executor>,
    /// The cache of blobs, over the store that the executor reads.
    pub cache: Arc<BlobCache>,
    /// How coordinators are reached.
    pub connect: Arc<Connect>,
    /// The network, replaced as newer memberships are known.
    pub network: NetworkWatch,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: SharedRng,
}

struct Running {
    session: Arc<Session>,
    tasks: JoinSet<()>,
    url: String,
}

struct Inner {
    shared: Arc<Shared>,
    sessions: Mutex<BTreeMap<NodeKey, Running>>,
    /// Coordinators that could not even be connected to, with the reason.
    unconnected: Mutex<BTreeMap<NodeKey, (u64, ApiError)>>,
    connect: Arc<Connect>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    tasks: Mutex<JoinSet<()>>,
    temperatures: Mutex<Vec<Option<u32>>>,
    /// The environments of the devices, which any coordinator may ask for.
    _environments: Pins,
    started_ms: u64,
    ended: watch::Sender<bool>,
}

/// A running miner. All clones are handles on the same one; it goes on when they are dropped.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

/// Starts miners.
pub struct Miner;

impl Miner {
    /// The journal's file in a miner's folder.
    pub fn journal_path(folder: &std::path::Path) -> PathBuf {
        folder.join("journal.db")
    }

    /// Starts a miner within a tokio runtime. Blocks shortly, for the journal.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(parts: Parts) -> Result<Handle, StartError> {
        let (handle, journal) = Miner::assemble(parts, Box::new(NoProbe))?;
        let shared = handle.shared();
        let mut threads = vec![journal.thread()?];
        for (at, device) in shared.scheduler.devices().iter().enumerate() {
            for number in 0..device.slots {
                let shared = shared.clone();
                let thread = std::thread::Builder::new()
                    .name(format!("{}-{number}", device.name))
                    .spawn(move || slot(&shared, at))
                    .map_err(|source| StartError::System {
                        what: "a thread for a slot",
                        source,
                        hint: "configure fewer slots",
                    })?;
                threads.push(thread);
            }
        }
        *lock(&handle.inner.threads) = threads;
        if let Err(error) = handle.begin() {
            shared.scheduler.close();
            shared.journal.stop();
            return Err(error);
        }
        Ok(handle)
    }

    /// A miner that does nothing yet.
    pub(crate) fn assemble(
        parts: Parts,
        probe: Box<dyn Probe>,
    ) -> Result<(Handle, journal::ByHand), StartError> {
        let Parts {
            options,
            executor,
            cache,
            connect,
            network,
            clock,
            rng,
        } = parts;
        let devices = executor.devices();
        let engine = devices
            .first()
            .ok_or(StartError::Devices("there is none"))?
            .engine;
        if devices.iter().any(|device| device.engine != engine) {
            return Err(StartError::Devices("they have different engines"));
        }
        let environments = cache.pin(devices.iter().map(|device| device.environment_hash));
        for device in devices.iter() {
            cache.put(&device.environment, false)?;
        }
        let node = options.key.public().to_bytes();
        let keep_ms = u64::try_from(options.keep.as_millis()).unwrap_or(u64::MAX);
        let path = Miner::journal_path(&options.folder);
        let journal = Journal::with_probe(&path, node, keep_ms, probe)?;
        let (journal, by_hand) =
            JournalWriter::by_hand(journal, options.key.clone(), clock.clone())?;
        let shared = Arc::new(Shared {
            key: options.key.clone(),
            node,
            engine,
            journal,
            cache,
            scheduler: Scheduler::new(devices.clone(), rng.clone()),
            executor,
            network,
            metrics: Metrics::default(),
            mode: watch::Sender::new(Mode::Working),
            devices_changed: watch::Sender::new(0),
            runtime: tokio::runtime::Handle::current(),
            clock,
            rng,
            options,
        });
        let inner = Arc::new(Inner {
            started_ms: shared.clock.now_ms(),
            _environments: environments,
            temperatures: Mutex::new(vec![None; devices.len()]),
            shared,
            sessions: Mutex::default(),
            unconnected: Mutex::default(),
            connect,
            threads: Mutex::default(),
            tasks: Mutex::default(),
            ended: watch::Sender::new(false),
        });
        Ok((Handle { inner }, by_hand))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Brings the sessions in line with the membership.
    fn adjust(&self) {
        let shared = &self.shared;
        let view = shared.network.borrow().clone();
        let chosen = &shared.options.coordinators;
        let wanted = |member: &&CoordinatorMember| {
            chosen
                .as_ref()
                .is_none_or(|chosen| chosen.contains(&member.node))
        };
        let members: BTreeMap<NodeKey, &CoordinatorMember> = view
            .membership()
            .coordinators
            .iter()
            .filter(wanted)
            .map(|member| (member.node, member))
            .collect();
        let mut sessions = lock(&self.sessions);
        let mut unconnected = lock(&self.unconnected);
        unconnected.retain(|node, _| members.contains_key(node));
        // Of one that moved, the session begins anew with its new address; what it held comes again.
        sessions.retain(|node, running| {
            let stays = members.get(node).is_some_and(|m| m.url == running.url);
            if !stays {
                tracing::info!(coordinator = hex(node), "left");
                running.session.held.cancel_all();
                running.session.end.cancel();
                drop(shared.scheduler.forget(node));
            }
            stays
        });
        for (node, member) in members {
            shared.scheduler.set_stake(node, member.stake);
            if sessions.contains_key(&node) {
                continue;
            }
            match (self.connect)(member) {
                Ok(api) => {
                    unconnected.remove(&node);
                    let (session, tasks) = Session::start(shared.clone(), node, api);
                    let url = member.url.clone();
                    sessions.insert(
                        node,
                        Running {
                            session,
                            tasks,
                            url,
                        },
                    );
                }
                Err(error) => {
                    tracing::warn!(coordinator = hex(&node), %error, "no session");
                    let since = shared.clock.now_ms();
                    unconnected.entry(node).or_insert((since, error));
                }
            }
        }
    }

    fn sessions(&self) -> Vec<(Arc<Session>, String)> {
        let sessions = lock(&self.sessions);
        sessions
            .values()
            .map(|running| (running.session.clone(), running.url.clone()))
            .collect()
    }

    fn measure(&self) {
        let cached = self.shared.cache.usage().bytes;
        self.shared.metrics.measure(self.held().total(), cached);
    }

    fn held(&self) -> crate::held::HeldCounts {
        let mut all = crate::held::HeldCounts::default();
        for (session, _) in self.sessions() {
            let counts = session.held.counts();
            all.fetching += counts.fetching;
            all.waiting += counts.waiting;
            all.running += counts.running;
            all.recorded += counts.recorded;
        }
        all
    }

    /// Waits until nothing is held as `done` says, or until `until`. Returns whether it came so.
    async fn wait(
        &self,
        until: Option<Instant>,
        done: impl Fn(crate::held::HeldCounts) -> bool,
    ) -> bool {
        loop {
            if done(self.held()) {
                return true;
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Makes receipts for what waits and will not run any more.
    fn decline_waiting(&self) {
        for job in self.shared.scheduler.drain() {
            let session = job.session.clone();
            let why = "the miner ended before the run began".to_owned();
            session.decline(&job.order, RunStatus::Cancelled, why);
        }
    }

    /// Ends all that is left, and waits for the threads.
    async fn close(&self) {
        self.shared.scheduler.close();
        for (session, _) in self.sessions() {
            session.end.cancel();
        }
        // They hold their sessions.
        drop(self.shared.scheduler.drain());
        let sessions: Vec<Running> = std::mem::take(&mut *lock(&self.sessions))
            .into_values()
            .collect();
        for mut running in sessions {
            while running.tasks.join_next().await.is_some() {}
        }
        self.shared.journal.stop();
        let threads = std::mem::take(&mut *lock(&self.threads));
        let joined = blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the miner panicked");
                }
            }
        });
        let _ = joined.await;
        // They hold handles on this, and the socket.
        lock(&self.tasks).abort_all();
        if self.shared.options.control {
            let _ = std::fs::remove_file(crate::control::path(&self.shared.options.folder));
        }
        self.ended.send_replace(true);
    }
}

async fn follow_network(inner: Arc<Inner>) {
    let mut network = inner.shared.network.clone();
    network.mark_unchanged();
    let mut retry = tokio::time::interval(Duration::from_secs(30));
    retry.tick().await;
    loop {
        tokio::select! {
            biased;
            // Without anyone who looks for a newer one it stays as it is.
            Ok(()) = network.changed() => {}
            _ = retry.tick() => if lock(&inner.unconnected).is_empty() { continue },
        }
        if inner.shared.mode() == Mode::Working {
            inner.adjust();
        }
    }
}

async fn watch_temperatures(inner: Arc<Inner>) {
    let shared = inner.shared.clone();
    let mut every = tokio::time::interval(TEMPERATURE_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        inner.measure();
        let reader = shared.clone();
        let devices = shared.scheduler.devices().len();
        let read = move || {
            (0..devices)
                .map(|at| reader.executor.temperature_c(at))
                .collect()
        };
        let Ok(read): Result<Vec<Option<u32>>, _> = blocking(read).await else {
            return;
        };
        let state = shared.scheduler.state();
        for (at, (now, limit)) in read.iter().zip(&shared.options.hottest_c).enumerate() {
            let (Some(now), Some(limit)) = (now, limit) else {
                continue;
            };
            let was = state.get(at).is_some_and(|s| s.0 == Some(Held::Hot));
            // It has to cool a little, else it would go to and fro.
            let cool = limit.saturating_sub(if was { COOLED_BY_C } else { 0 });
            if shared.scheduler.set_hot(at, *now >= cool.max(1)) {
                tracing::warn!(
                    device = at,
                    celsius = now,
                    limit,
                    "the device is hot, or has cooled"
                );
                shared
                    .devices_changed
                    .send_modify(|n| *n = n.wrapping_add(1));
            }
        }
        *lock(&inner.temperatures) = read;
    }
}

impl Handle {
    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.inner.shared.clone()
    }

    /// Begins sessions with all coordinators, and what goes on beside them.
    pub(crate) fn begin(&self) -> Result<(), StartError> {
        let inner = &self.inner;
        let mut tasks = JoinSet::new();
        let options = &inner.shared.options;
        if options.control {
            let socket = crate::control::listen(&options.folder)?;
            tasks.spawn(crate::control::serve(socket, self.clone()));
        }
        inner.adjust();
        tasks.spawn(follow_network(inner.clone()));
        tasks.spawn(watch_temperatures(inner.clone()));
        *lock(&inner.tasks) = tasks;
        Ok(())
    }

    /// Ends the miner as a crash does, wherever each part of it is. For a simulator, whose miners
    /// have no threads.
    pub fn kill(&self) {
        for running in lock(&self.inner.sessions).values_mut() {
            running.tasks.abort_all();
            running.session.end.cancel();
        }
        lock(&self.inner.tasks).abort_all();
    }

    /// Node key of the miner.
    pub fn node(&self) -> NodeKey {
        self.inner.shared.node
    }

    /// Engine id of the miner.
    pub fn engine(&self) -> Hash {
        self.inner.shared.engine
    }

    /// What the miner is doing, and why not more.
    pub async fn status(&self) -> Status {
        let shared = &self.inner.shared;
        let view = shared.network.borrow().clone();
        let sessions = self.inner.sessions();
        let nodes: Vec<NodeKey> = sessions.iter().map(|(s, _)| s.coordinator).collect();
        let counts = shared.journal.ask(move |journal| {
            let counts = nodes.iter().map(|node| journal.counts(node));
            counts.collect::<Result<Vec<_>, _>>()
        });
        // A journal that cannot be written answers nothing, and that is what has to be told.
        let counts = tokio::time::timeout(COUNTED_WITHIN, counts).await;
        let counts = counts.ok().and_then(Result::ok).unwrap_or_default();
        let stakes = sessions
            .iter()
            .filter_map(|(s, _)| view.coordinator(&s.coordinator))
            .map(|member| member.stake);
        let all_stakes: u128 = stakes.fold(0u128, u128::saturating_add);
        let mut coordinators = Vec::with_capacity(sessions.len());
        for (at, (session, url)) in sessions.iter().enumerate() {
            let member = view.coordinator(&session.coordinator);
            let stake = member.map_or(0, |member| member.stake);
            let share = (stake >> 20).saturating_mul(1_000_000);
            let [begun, signed, acknowledged, refused] = counts.get(at).copied().unwrap_or([0; 4]);
            let idle = session.why_idle();
            let held = session.held.counts();
            let state = session.state();
            coordinators.push(CoordinatorStatus {
                node: hex(&session.coordinator),
                url: url.clone(),
                region: member.map(|m| m.region.clone()).unwrap_or_default(),
                stake,
                share_ppm: share
                    .checked_div(all_stakes >> 20)
                    .map_or(0, |ppm| u64::try_from(ppm).unwrap_or(u64::MAX)),
                idle,
                held,
                held_max: session.held.capacity(),
                active_until_ms: state.active_until_ms,
                round_trip_us: state.round_trip_us,
                receipts: ReceiptCounts {
                    begun,
                    signed,
                    acknowledged,
                    refused,
                },
                refused_work: state.refused_work,
                last_refusal: state.last_refusal.clone(),
                last_error: state.last_error.clone(),
            });
        }
        for (node, (since_ms, error)) in lock(&self.inner.unconnected).iter() {
            let member = view.coordinator(node);
            coordinators.push(CoordinatorStatus::unconnected(
                node, member, *since_ms, error,
            ));
        }
        let temperatures = lock(&self.inner.temperatures).clone();
        let state = shared.scheduler.state();
        let devices = shared.scheduler.devices().iter().enumerate();
        let devices = devices.map(|(at, device)| {
            let (held, busy) = state.get(at).copied().unwrap_or((None, 0));
            DeviceStatus {
                name: device.name.clone(),
                gpu: device.gpu,
                environment: device.environment_hash,
                slots: device.slots,
                busy,
                paused: held == Some(Held::Paused),
                hot: held == Some(Held::Hot),
                temperature_c: temperatures.get(at).copied().flatten(),
            }
        });
        Status {
            node: hex(&shared.node),
            software: shared.options.software.clone(),
            engine: shared.engine,
            network: view.genesis_hash(),
            network_name: view.genesis().name.clone(),
            membership: view.membership().version,
            stake: view.miner(&shared.node).map(|miner| miner.stake),
            mode: shared.mode(),
            started_ms: self.inner.started_ms,
            devices: devices.collect(),
            coordinators,
            cache: shared.cache.usage(),
            journal_failing: shared.journal.health().failing(),
        }
    }

    /// Metrics, to be served. Gauges are up to date within a few seconds.
    pub fn metrics(&self) -> adit_net::metrics::Metrics {
        self.inner.measure();
        self.inner.shared.metrics.all().clone()
    }

    /// Pauses or resumes a device by its name; `None` stands for all. What runs goes on. Returns
    /// whether there is such a device.
    pub fn pause(&self, device: Option<&str>, paused: bool) -> bool {
        let shared = &self.inner.shared;
        let devices = shared.scheduler.devices();
        let at = match device {
            None => None,
            Some(name) => match devices.iter().position(|device| device.name == name) {
                Some(at) => Some(at),
                None => return false,
            },
        };
        let found = shared.scheduler.pause(at, paused);
        shared
            .devices_changed
            .send_modify(|n| *n = n.wrapping_add(1));
        found
    }

    /// Names of the devices.
    pub fn device_names(&self) -> Vec<String> {
        let devices = self.inner.shared.scheduler.devices();
        devices.iter().map(|device| device.name.clone()).collect()
    }

    /// Asks for no more work. What is held goes on, and [`Handle::ended`] tells when all of it is
    /// handed in and the miner has ended.
    pub fn drain(&self) {
        let inner = self.inner.clone();
        if !self.enter(Mode::Draining) {
            return;
        }
        tokio::spawn(async move {
            inner.wait(None, |held| held.total() == 0).await;
            if inner.shared.mode.send_replace(Mode::Stopping) == Mode::Draining {
                inner.close().await;
            }
        });
    }

    /// Ends the miner: what waits is handed in as cancelled, what runs has `grace` to end and is
    /// cancelled then, and what is made is handed in. Returns when all threads have ended.
    pub async fn stop(&self, grace: Duration) {
        if !self.enter(Mode::Stopping) {
            return self.ended().await;
        }
        let inner = &self.inner;
        inner.decline_waiting();
        let until = Instant::now() + grace;
        inner.wait(Some(until), |held| held.running == 0).await;
        for (session, _) in inner.sessions() {
            session.held.cancel_all();
        }
        // Those that were still being fetched.
        inner.decline_waiting();
        let until = Instant::now() + LAST_HAND_IN;
        let all = inner.wait(Some(until), |held| held.total() == 0).await;
        if !all {
            let left = inner.held();
            tracing::warn!(
                recorded = left.recorded,
                running = left.running,
                "not all could be handed in: it is when the miner starts again"
            );
        }
        inner.close().await;
    }

    /// Ends the miner as if its process had been killed: nothing is finished, handed in or waited
    /// for but the threads that run. For tests and the simulator.
    pub async fn abandon(&self) {
        self.enter(Mode::Stopping);
        for (session, _) in self.inner.sessions() {
            session.end.cancel();
            session.held.cancel_all();
        }
        self.inner.close().await;
    }

    /// Waits until the miner has ended.
    pub async fn ended(&self) {
        let mut ended = self.inner.ended.subscribe();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Goes into a mode, unless the miner is in it or beyond.
    fn enter(&self, mode: Mode) -> bool {
        self.inner.shared.mode.send_if_modified(|now| {
            let goes = match (*now, mode) {
                (Mode::Working, _) | (Mode::Draining, Mode::Stopping) => *now != mode,
                _ => false,
            };
            if goes {
                *now = mode;
            }
            goes
        })
    }
}
