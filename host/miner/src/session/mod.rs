//! A miner's work for one coordinator.
//!
//! | module | subject |
//! |---|---|
//! | this file | what the parts share |
//! | [`poll`] | greeting, asking for work, acceptances |
//! | [`intake`] | checking what came, and fetching what it needs |
//! | [`run`] | one run in a slot, up to the journal |
//! | [`hand_in`] | from the journal to the coordinator's acknowledgement |

mod hand_in;
mod intake;
mod poll;
mod run;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adit_net::{Clock, SharedRng};
use adit_protocol::keys::Keypair;
use adit_protocol::network::assignment::ActiveUntil;
use adit_protocol::signed::Signed;
use adit_protocol::{Code, Hash};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cache::{BlobCache, Pins};
use crate::check::{Authority, Distrust};
use crate::executor::Executor;
use crate::held::{HeldTable, Stage};
use crate::journal::{JournalWriter, NodeKey, Ready, Recorded, Standing, State};
use crate::metrics::Metrics;
use crate::network::NetworkWatch;
use crate::options::Options;
use crate::progress::ProgressBuffer;
use crate::scheduler::Scheduler;
use crate::status::{Idle, Mode};
use crate::text::{hex, tame};
use crate::transport::{ApiError, CoordinatorApi};

pub(crate) use run::{InSlot, Job, slot};

/// Downloads at one time from one coordinator.
const FETCHES: usize = 8;

/// What all sessions of a miner share.
pub(crate) struct Shared {
    pub options: Options,
    pub key: Keypair,
    pub node: NodeKey,
    pub engine: Hash,
    pub clock: Arc<dyn Clock>,
    pub rng: SharedRng,
    pub journal: JournalWriter,
    pub cache: Arc<BlobCache>,
    pub scheduler: Scheduler<Job>,
    pub executor: Arc<dyn Executor>,
    pub network: NetworkWatch,
    pub metrics: Metrics,
    /// What the miner is doing.
    pub mode: watch::Sender<Mode>,
    /// Counts up when a device was paused, resumed, or got too hot or cool again.
    pub devices_changed: watch::Sender<u64>,
    /// For what is begun by a thread of its own.
    pub runtime: tokio::runtime::Handle,
}

impl Shared {
    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }
}

/// What is known of a session from the outside.
#[derive(Default)]
pub(crate) struct SessionState {
    idle: Option<(Code, u64, String)>,
    pub active_until_ms: Option<u64>,
    /// The coordinator's word for that, whose signature was checked.
    word: Option<Signed<ActiveUntil>>,
    pub round_trip_us: Option<u64>,
    pub refused_work: u64,
    pub last_refusal: Option<String>,
    pub last_error: Option<String>,
}

/// Work for one coordinator.
pub(crate) struct Session {
    pub shared: Arc<Shared>,
    pub coordinator: NodeKey,
    pub api: Arc<dyn CoordinatorApi>,
    pub held: HeldTable,
    pub state: Mutex<SessionState>,
    authority: Authority,
    progress: ProgressBuffer,
    ready: mpsc::UnboundedSender<Ready>,
    /// Downloads at one time. A coordinator that serves them slowly, or never, is in nobody else's
    /// way.
    fetches: Semaphore,
    /// Blobs that receipts need until they are settled.
    pins: Mutex<HashMap<Hash, Pins>>,
    /// How journal and coordinator go together, by the last greeting, and how many there were.
    /// Receipts are handed in only while they agree.
    greeted: watch::Sender<(u64, Option<Standing>)>,
    /// The series is to be compared anew.
    greet_again: Notify,
    /// Ends everything at once.
    pub end: CancellationToken,
}

impl Session {
    /// Starts the session's tasks. They end after `end` was cancelled.
    pub fn start(
        shared: Arc<Shared>,
        coordinator: NodeKey,
        api: Arc<dyn CoordinatorApi>,
    ) -> (Arc<Session>, JoinSet<()>) {
        let slots: u32 = shared
            .scheduler
            .devices()
            .iter()
            .fold(0, |sum, device| sum.saturating_add(device.slots));
        let capacity = slots
            .saturating_add(shared.options.queue_depth)
            .clamp(1, adit_protocol::network::exchange::SLOTS_MAX);
        let (ready, received) = mpsc::unbounded_channel();
        let (genesis, paid) = {
            let network = shared.network.borrow();
            (network.genesis_hash(), network.genesis().ledger.is_some())
        };
        let authority = Authority {
            genesis,
            paid,
            coordinator,
            miner: shared.node,
            engine: shared.engine,
        };
        let session = Arc::new(Session {
            coordinator,
            api,
            held: HeldTable::new(capacity),
            state: Mutex::default(),
            authority,
            progress: ProgressBuffer::default(),
            ready,
            fetches: Semaphore::new(FETCHES),
            pins: Mutex::default(),
            greeted: watch::Sender::new((0, None)),
            greet_again: Notify::new(),
            end: CancellationToken::new(),
            shared,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(poll::run(session.clone()));
        tasks.spawn(poll::side(session.clone()));
        tasks.spawn(hand_in::run(session.clone(), received));
        tasks.spawn(hand_in::progress(session.clone()));
        (session, tasks)
    }

    pub fn now_ms(&self) -> u64 {
        self.shared.clock.now_ms()
    }

    /// The coordinator in log lines: the first digits of its key.
    fn name(&self) -> String {
        hex(&self.coordinator).chars().take(10).collect()
    }

    pub fn state(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says why nothing of this coordinator runs. The same reason keeps its time.
    fn idle(&self, code: Code, detail: impl Into<String>) {
        let detail = tame(&detail.into());
        let now_ms = self.now_ms();
        let mut state = self.state();
        match &mut state.idle {
            Some((old, _, text)) if *old == code => *text = detail,
            other => {
                tracing::info!(coordinator = self.name(), %code, detail, "no work");
                *other = Some((code, now_ms, detail));
            }
        }
    }

    /// Takes the coordinator's word until when this miner is active.
    fn active(&self, word: &Signed<ActiveUntil>) -> Result<(), Distrust> {
        // It comes again and again for a while.
        if self.state().word.as_ref() == Some(word) {
            return Ok(());
        }
        let active = self.authority.active(word, self.now_ms())?;
        let mut state = self.state();
        state.active_until_ms = Some(active.until_ms);
        state.word = Some(word.clone());
        Ok(())
    }

    fn busy(&self) {
        self.state().idle = None;
    }

    /// Why nothing of this coordinator runs; `None` while something does.
    pub fn why_idle(&self) -> Option<Idle> {
        let counts = self.held.counts();
        if counts.running > 0 {
            return None;
        }
        let state = self.state();
        let (code, since_ms, detail) = state.idle.clone()?;
        Some(Idle {
            coordinator: hex(&self.coordinator),
            code,
            since_ms,
            detail,
        })
    }

    /// Notes that something that the coordinator sent is not taken.
    fn distrust(&self, why: &Distrust) {
        tracing::warn!(coordinator = self.name(), reason = why.name(), %why, "refused what the coordinator sent");
        self.shared.metrics.refused(why.name());
        let mut state = self.state();
        state.refused_work = state.refused_work.saturating_add(1);
        state.last_refusal = Some(tame(&why.to_string()));
    }

    /// Notes a request that failed.
    fn trouble(&self, what: &'static str, error: &ApiError) {
        tracing::debug!(coordinator = self.name(), what, %error, "a request failed");
        self.shared.metrics.failed(error.code());
        self.state().last_error = Some(tame(&format!("{what}: {error}")));
    }

    fn pins(&self) -> MutexGuard<'_, HashMap<Hash, Pins>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps blobs that the receipt of an assignment needs until it is settled.
    fn keep(&self, assignment: Hash, stored: &[Hash]) {
        if stored.is_empty() {
            return;
        }
        let pins = self.shared.cache.pin(stored.iter().copied());
        for hash in stored {
            self.shared.cache.adopt(hash, false);
        }
        self.pins().insert(assignment, pins);
    }

    /// Assignments are over: their receipts are settled, or there will be none.
    fn over(&self, ids: &[Hash]) {
        let mut pins = self.pins();
        let unpinned: Vec<Pins> = ids.iter().filter_map(|id| pins.remove(id)).collect();
        drop(pins);
        drop(unpinned);
        self.held.end(ids.iter().copied());
    }
}

impl Recorded for Session {
    fn signed(&self, ready: Ready) {
        // It fails only after the end of the session; the journal has it.
        let _ = self.ready.send(ready);
    }

    fn known(&self, assignment: Hash, seq: u64, state: State) {
        tracing::info!(%assignment, seq, ?state, "the assignment has a receipt already");
        match state {
            State::Begun | State::Signed => self.held.stage(&assignment, Stage::Recorded),
            State::Acknowledged | State::Refused => self.over(&[assignment]),
        }
    }

    fn failed(&self, assignment: Hash) {
        // Nothing was signed: it may come again.
        self.held.release(&assignment);
    }
}
