//! What all parts of a simulation share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adit_coordinator::engine::Handle as Engine;
use adit_miner::Handle as MinerHandle;
use adit_miner::network::{NetworkView, NetworkWatch};
use adit_net::{Clock, SharedRng};
use adit_protocol::Hash;
use adit_protocol::keys::Keypair;
use axum::Router;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::ledger::{Invariant, Ledger};
use super::{Options, Report, SimulationError};
use crate::network::Member;
use crate::{keys, miners, network};

/// The time of day at which simulations begin, in milliseconds since 1970.
const BEGIN_MS: u64 = 1_790_000_000_000;
/// The address by which the coordinator is known; nothing listens there.
pub const URL: &str = "http://coordinator.invalid";

/// A process, or the clients together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The coordinator.
    Coordinator,
    /// A miner.
    Miner(u32),
    /// The clients, which do not end.
    Client,
}

/// A process at one time: after it was ended it is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Whose.
    pub who: Who,
    number: u64,
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of a million requests or answers, how many are lost.
    pub loss_ppm: u32,
    /// Of a million requests, how many come twice.
    pub double_ppm: u32,
    /// The usual longest delay one way, in milliseconds.
    pub delay_ms: u64,
}

const FAIR: Weather = Weather {
    loss_ppm: 0,
    double_ppm: 0,
    delay_ms: 3,
};

struct Node {
    up: bool,
    life: u64,
    /// What its clock is ahead, in milliseconds.
    skew_ms: i64,
    /// Steps until it ends, if that is decided.
    fuse: Option<u32>,
    /// Nothing reaches it, and nothing of it arrives anywhere.
    cut_off: bool,
    ended: Arc<Notify>,
}

struct State {
    rng: ChaCha8Rng,
    trace: Hash,
    events: u64,
    crashes: u64,
    nodes: Vec<Node>,
    weather: Weather,
    over: bool,
    /// A process cannot go on: there is no sense in waiting for anything.
    hopeless: bool,
    routes: Option<Router>,
    engine: Option<Engine>,
    miners: Vec<Option<MinerHandle>>,
    requests: JoinSet<()>,
    ledger: Ledger,
}

/// Everything.
pub struct World {
    /// What is simulated.
    pub options: Options,
    /// The folder of all state.
    pub folder: PathBuf,
    /// The network, as miners have it.
    pub network: NetworkWatch,
    _network: tokio::sync::watch::Sender<Arc<NetworkView>>,
    /// Hash of the genesis document.
    pub genesis: Hash,
    /// Keys of the miners.
    pub keys: Vec<Keypair>,
    /// The clients' token.
    pub token: String,
    begun: Instant,
    state: Mutex<State>,
}

impl World {
    /// A world in which nothing runs yet.
    pub fn new(options: Options, folder: PathBuf) -> Result<Arc<World>, SimulationError> {
        let internal = |error: &dyn std::fmt::Display| SimulationError::Internal(error.to_string());
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let keys: Vec<Keypair> = (0..options.miners)
            .map(keys::miner)
            .collect::<Result<_, _>>()
            .map_err(|error| internal(&error))?;
        let members: Vec<Member> = keys
            .iter()
            .map(|node| Member {
                node: node.clone(),
                fault: None,
            })
            .collect();
        let path = folder.join("network");
        let file = network::bring_up_to_date(&path, URL, &members, &[], BEGIN_MS)?;
        let view = miners::view(&file)?;
        let genesis = view.genesis_hash();
        let (sender, watch) = tokio::sync::watch::channel(view);
        let mut tokens = adit_coordinator::tokens::TokenFile::default();
        let (token, _) = tokens
            .add("client", BEGIN_MS, &mut rng)
            .map_err(|error| internal(&error))?;
        tokens
            .save(&folder.join("tokens.toml"))
            .map_err(|error| internal(&error))?;
        let node = |_| Node {
            up: false,
            life: 0,
            skew_ms: 0,
            fuse: None,
            cut_off: false,
            ended: Arc::default(),
        };
        let state = State {
            trace: Hash::ZERO,
            events: 0,
            crashes: 0,
            nodes: (0..options.miners + 2).map(node).collect(),
            weather: FAIR,
            over: false,
            hopeless: false,
            routes: None,
            engine: None,
            miners: vec![None; keys.len()],
            requests: JoinSet::new(),
            ledger: Ledger::default(),
            rng,
        };
        let world = World {
            options,
            folder,
            network: watch,
            _network: sender,
            genesis,
            keys,
            token,
            begun: Instant::now(),
            state: Mutex::new(state),
        };
        world.begin(Who::Client);
        Ok(Arc::new(world))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The true time of day, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        BEGIN_MS.saturating_add(self.virtual_ms())
    }

    /// Milliseconds since the beginning.
    pub fn virtual_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A number below `count`, which is not 0.
    pub fn below(&self, count: u64) -> u64 {
        // Not quite even, which nobody here minds.
        self.state().rng.next_u64() % count.max(1)
    }

    /// Whether something of this probability happens.
    pub fn chance(&self, ppm: u32) -> bool {
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// A generator for a process, which goes its own way from here.
    pub fn rng(&self) -> SharedRng {
        let seed = self.state().rng.next_u64();
        SharedRng::new(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A wait of up to so many milliseconds.
    pub async fn pause(&self, ms: u64) {
        let wait = self.below(ms.saturating_add(1));
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }

    /// Notes that something happened. What has the same notes is the same run.
    pub fn note(&self, what: &dyn std::fmt::Display) {
        let at = self.virtual_ms();
        let text = format!("{at} {what}");
        if self.options.verbose {
            eprintln!("{text}");
        }
        let mut state = self.state();
        state.events += 1;
        let mut bytes = state.trace.as_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        state.trace = Hash::of(&bytes);
    }

    /// What was promised to whom.
    pub fn ledger<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.state().ledger)
    }

    /// Notes that something is broken that must never be.
    pub fn broken(&self, invariant: Invariant, what: impl std::fmt::Display) {
        self.note(&format_args!("BROKEN {invariant:?}: {what}"));
        let at_ms = self.virtual_ms();
        self.ledger(|ledger| ledger.broken(invariant, at_ms, what.to_string()));
    }

    /// A process can never go on.
    pub fn hopeless(&self, what: impl std::fmt::Display) {
        self.broken(Invariant::Works, what);
        self.state().hopeless = true;
    }

    /// Whether a process can never go on.
    pub fn is_hopeless(&self) -> bool {
        self.state().hopeless
    }

    /// A process has begun.
    pub fn begin(&self, who: Who) -> Life {
        let mut state = self.state();
        let node = state.node(who);
        node.up = true;
        node.life += 1;
        node.fuse = None;
        Life {
            who,
            number: node.life,
        }
    }

    /// Whether a process still is.
    pub fn lives(&self, life: Life) -> bool {
        let mut state = self.state();
        let node = state.node(life.who);
        node.up && node.life == life.number
    }

    /// Ends a process where it is.
    pub fn end(&self, who: Who) {
        if !self.state().node(who).up {
            return;
        }
        self.note(&format_args!("{who:?} ends"));
        let mut state = self.state();
        state.crashes += 1;
        let node = state.node(who);
        node.up = false;
        node.fuse = None;
        node.ended.notify_one();
        if who == Who::Coordinator {
            state.routes = None;
            state.engine = None;
            state.requests.abort_all();
        }
    }

    /// Completes when the process was ended.
    pub async fn ended(&self, life: Life) {
        let ended = self.state().node(life.who).ended.clone();
        while self.lives(life) {
            ended.notified().await;
        }
    }

    /// A step of a process is done, at which it may be ended. Whether it goes on.
    pub fn step(&self, life: Life) -> bool {
        let burnt = {
            let mut state = self.state();
            let node = state.node(life.who);
            if !node.up || node.life != life.number {
                return false;
            }
            match node.fuse {
                Some(0) => true,
                Some(left) => {
                    node.fuse = Some(left - 1);
                    false
                }
                None => false,
            }
        };
        if burnt {
            self.end(life.who);
        }
        !burnt
    }

    /// Ends a process after so many of its steps.
    pub fn light(&self, who: Who, steps: u32) {
        let mut state = self.state();
        let node = state.node(who);
        if node.up {
            node.fuse = Some(steps);
        }
    }

    /// Cuts a process off, or lets it back.
    pub fn cut_off(&self, who: Who, cut_off: bool) {
        self.state().node(who).cut_off = cut_off;
    }

    /// Whether nothing gets through to or from a process.
    pub fn is_cut_off(&self, who: Who) -> bool {
        self.state().node(who).cut_off
    }

    /// Sets a clock ahead, or back if negative.
    pub fn set_skew(&self, who: Who, skew_ms: i64) {
        self.state().node(who).skew_ms = skew_ms;
    }

    /// The weather.
    pub fn weather(&self) -> Weather {
        self.state().weather
    }

    /// Other weather.
    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// From now on nothing goes wrong any more.
    pub fn heal(&self) {
        self.note(&"healed");
        let mut state = self.state();
        state.weather = FAIR;
        for node in &mut state.nodes {
            node.cut_off = false;
            node.fuse = None;
            node.skew_ms = 0;
        }
    }

    /// Ends all processes for good.
    pub fn end_all(&self) {
        let mut state = self.state();
        state.over = true;
        state.routes = None;
        state.engine = None;
        state.requests.abort_all();
        for node in &mut state.nodes {
            node.up = false;
            node.ended.notify_one();
        }
    }

    /// Whether processes stay ended.
    pub fn is_over(&self) -> bool {
        self.state().over
    }

    /// The coordinator can be reached.
    pub fn serve(&self, routes: Router, engine: Engine) {
        let mut state = self.state();
        state.routes = Some(routes);
        state.engine = Some(engine);
    }

    /// The coordinator's routes while it can be reached.
    pub fn routes(&self) -> Option<(Router, Life)> {
        let mut state = self.state();
        let number = state.node(Who::Coordinator).life;
        let life = Life {
            who: Who::Coordinator,
            number,
        };
        Some((state.routes.clone()?, life))
    }

    /// The coordinator's engine while it runs.
    pub fn engine(&self) -> Option<Engine> {
        self.state().engine.clone()
    }

    /// A miner runs, or no longer.
    pub fn set_miner(&self, number: u32, handle: Option<MinerHandle>) {
        if let Some(miner) = self.state().miners.get_mut(number as usize) {
            *miner = handle;
        }
    }

    /// The miners that run.
    pub fn miners(&self) -> Vec<MinerHandle> {
        self.state().miners.iter().flatten().cloned().collect()
    }

    /// Has the coordinator's process do something, until it ends.
    pub fn at_coordinator(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state();
        while state.requests.try_join_next().is_some() {}
        state.requests.spawn(work);
    }

    /// The clock of a process.
    pub fn clock(self: &Arc<Self>, who: Who) -> Arc<dyn Clock> {
        Arc::new(NodeClock {
            world: Arc::clone(self),
            who,
        })
    }

    /// What came of it all.
    pub fn report(&self) -> Report {
        let virtual_ms = self.virtual_ms();
        let mut state = self.state();
        Report {
            trace: state.trace,
            events: state.events,
            virtual_ms,
            crashes: state.crashes,
            ..state.ledger.report()
        }
    }
}

impl State {
    fn node(&mut self, who: Who) -> &mut Node {
        let at = match who {
            Who::Coordinator => 0,
            Who::Client => 1,
            Who::Miner(number) => number as usize + 2,
        };
        // As many as there are.
        &mut self.nodes[at]
    }
}

struct NodeClock {
    world: Arc<World>,
    who: Who,
}

impl Clock for NodeClock {
    fn now_ms(&self) -> u64 {
        let skew_ms = self.world.state().node(self.who).skew_ms;
        self.world.now_ms().saturating_add_signed(skew_ms)
    }
}
