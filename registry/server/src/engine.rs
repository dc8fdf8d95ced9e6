//! One thread that makes blocks: whatever waits becomes one block, is committed with one fsync, and is
//! answered then.
//!
//! Others see the state only between blocks: while one is made and committed they wait for the lock,
//! so nobody is told what may not last. If a commit fails, the state is no longer known; the engine
//! ends, and all requests are refused. So that a disk that fills up does not come to that, no block is
//! made where there is little room left: transactions are refused then, and reads go on.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adit_ledger::entry::{EpochRoot, LogEntry};
use adit_ledger::root::StateTree;
use adit_ledger::transaction::Verified;
use adit_ledger::{Event, Refusal, State};
use adit_net::db::free_bytes;
use adit_net::log::witness::Cosigned;
use adit_net::{Clock, Problem, Stopped};
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{Membership, NetworkFile};
use adit_protocol::signed::Signable as _;
use adit_protocol::{Code, Document as _, Hash};
use bytes::Bytes;
use rand_core::OsRng;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

use crate::figures::Figures;
use crate::store::{Batch, Place, Store, StoreError};

/// Transactions that may wait; more are refused for the moment.
const WAITING_MAX: usize = 4096;
/// Most transactions of a block.
const BLOCK_MAX: usize = 1024;
/// How often the engine looks at the time when nothing waits.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Bytes that must be free on the disk for a block to be made: more than the largest one takes, with
/// its snapshot and its tiles.
const FREE_MIN: u64 = 64 << 20;

/// A transaction that took effect, for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// Its id.
    pub id: Hash,
    /// Index of its entry in the log.
    pub leaf: u64,
    /// Its block.
    pub height: u64,
    /// The epoch of the block.
    pub epoch: u64,
    /// What it did.
    pub events: Vec<Event>,
}

/// Why a transaction is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The ledger refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many wait.
    #[error("the registry has too much to do; hint: send it again in a moment")]
    Overloaded,
    /// There is little room on the disk.
    #[error(
        "the registry takes no transactions: there are {free} bytes free on its disk, and it leaves {FREE_MIN}; hint: its operator has to make room; it goes on by itself then"
    )]
    DiskFull {
        /// What is free, in bytes.
        free: u64,
    },
    /// The engine has ended.
    #[error("the registry takes no transactions: {why}; hint: ask its operator")]
    Ended {
        /// Why.
        why: String,
    },
}

impl From<&EngineError> for Stopped {
    fn from(error: &EngineError) -> Stopped {
        Stopped {
            code: error.code(),
            why: error.to_string(),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Problem {
        match &error {
            SubmitError::Refused(refusal) => Problem::new(refusal.code(), refusal),
            SubmitError::Overloaded => Problem::new(Code::Overloaded, &error).retry_after_s(1),
            SubmitError::DiskFull { .. } => Problem::new(Code::DiskFull, &error).retry_after_s(10),
            SubmitError::Ended { .. } => Problem::new(Code::Draining, &error),
        }
    }
}

/// What is known between two blocks.
pub struct Live {
    /// The state.
    pub state: State,
    /// The state at the end of the last epoch that is over, with proofs; `None` in the first.
    pub tree: Option<Arc<StateTree>>,
    /// That state, where somebody settles epochs.
    pub end: Option<Arc<State>>,
    /// Who takes part in this epoch.
    pub members: Arc<Membership>,
    /// The same, signed, as the network file.
    pub network: Bytes,
}

/// What the engine shares with those who ask.
pub struct Shared {
    live: RwLock<Live>,
    failed: OnceLock<Stopped>,
    /// Entries that are durable.
    size: watch::Sender<u64>,
    /// Set when there is little room on the disk.
    full: AtomicBool,
    /// Set when the engine is to end, once nothing waits.
    ending: AtomicBool,
}

impl Shared {
    /// What is known now; it stays so while it is held, and the engine waits.
    ///
    /// # Errors
    /// [`SubmitError::Ended`] once the state is not known any more.
    pub fn live(&self) -> Result<RwLockReadGuard<'_, Live>, SubmitError> {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        match self.failed.get() {
            // Looked at after the lock was had: a failed commit is noted before it is let go.
            Some(stopped) => Err(SubmitError::Ended {
                why: stopped.why.clone(),
            }),
            None => Ok(live),
        }
    }

    /// How many entries of the log are durable, and will be.
    pub fn size(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }

    /// Why no transactions are taken, if none are.
    pub fn refuses(&self) -> Option<&str> {
        let full = self.full.load(Ordering::SeqCst);
        let full = full.then_some("there is little room on its disk");
        self.failed().map(|stopped| stopped.why.as_str()).or(full)
    }

    /// Why the engine has ended, if it has failed.
    pub fn failed(&self) -> Option<&Stopped> {
        self.failed.get()
    }
}

/// What goes to the engine's thread.
enum Order {
    Transaction(Box<Submission>),
    Cosigned(Box<Cosigned>, oneshot::Sender<Result<usize, String>>),
}

struct Submission {
    transaction: Verified,
    answer: oneshot::Sender<Result<Accepted, SubmitError>>,
}

/// The way to the engine. Clones share it.
#[derive(Clone)]
pub struct Handle {
    sender: SyncSender<Order>,
    shared: Arc<Shared>,
}

impl Handle {
    /// Hands in a transaction, and returns when its block is durable.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit(&self, transaction: Verified) -> Result<Accepted, SubmitError> {
        let (answer, answered) = oneshot::channel();
        let submission = Submission {
            transaction,
            answer,
        };
        match self
            .sender
            .try_send(Order::Transaction(Box::new(submission)))
        {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(self.ended())),
            Err(TrySendError::Full(_)) => Err(SubmitError::Overloaded),
            Err(TrySendError::Disconnected(_)) => Err(self.ended()),
        }
    }

    /// Publishes what witnesses of the log have cosigned. How many have cosigned the checkpoint by now.
    ///
    /// # Errors
    /// Why it was not published.
    pub(crate) async fn cosigned(&self, cosigned: Cosigned) -> Result<usize, String> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Cosigned(Box::new(cosigned), answer);
        match self.sender.try_send(order) {
            Ok(()) => answered
                .await
                .unwrap_or_else(|_| Err(self.ended().to_string())),
            Err(TrySendError::Full(_)) => Err(SubmitError::Overloaded.to_string()),
            Err(TrySendError::Disconnected(_)) => Err(self.ended().to_string()),
        }
    }

    /// What is known.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    fn ended(&self) -> SubmitError {
        let failed = self.shared.failed().map(|stopped| stopped.why.clone());
        SubmitError::Ended {
            why: failed.unwrap_or_else(|| "it is being ended".to_owned()),
        }
    }
}

/// What an engine begins with.
pub(crate) struct Beginning {
    pub store: Store,
    pub state: State,
    pub members: Membership,
    pub tree: Option<StateTree>,
    pub genesis: Genesis,
    pub authority: Keypair,
    pub network_file: PathBuf,
    pub clock: Arc<dyn Clock>,
    /// Whether the state at the end of the last epoch is kept.
    pub keeps_end: bool,
    pub figures: Figures,
}

/// The engine's thread.
pub(crate) struct Engine {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Engine {
    /// Begins with the first block of this run, so that the epoch is that of the clock.
    ///
    /// # Errors
    /// [`StoreError`]; or the system's, when the network file cannot be written.
    pub fn start(beginning: Beginning) -> Result<Engine, EngineError> {
        let Beginning {
            store,
            state,
            members,
            tree,
            genesis,
            authority,
            network_file,
            clock,
            keeps_end,
            figures,
        } = beginning;
        let network = sign(&genesis, &members, &authority);
        write(&network_file, &network)?;
        let live = Live {
            state,
            tree: tree.map(Arc::new),
            end: None,
            members: Arc::new(members),
            network,
        };
        let shared = Arc::new(Shared {
            live: RwLock::new(live),
            failed: OnceLock::new(),
            size: watch::Sender::new(store.log().size()),
            full: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        });
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let mut worker = Worker {
            store,
            shared: Arc::clone(&shared),
            genesis,
            authority,
            network_file,
            clock,
            keeps_end,
            figures,
            complained: false,
        };
        worker.turn(Vec::new())?;
        let thread = std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || worker.work(&receiver))
            .map_err(EngineError::Thread)?;
        Ok(Engine {
            handle: Handle { sender, shared },
            thread,
        })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends once what waits is done.
    pub fn stop(self) {
        self.handle.shared.ending.store(true, Ordering::SeqCst);
        if self.thread.join().is_err() {
            tracing::error!("the engine was broken off");
        }
    }
}

/// Why the engine cannot go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Database or log.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network file.
    #[error("the network file {} cannot be written: {source}; hint: check the disk and the folder", path.display())]
    Network {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system has no thread.
    #[error("no thread could be started: {0}; hint: is the machine out of memory?")]
    Thread(std::io::Error),
}

impl EngineError {
    /// The code to show.
    pub fn code(&self) -> Code {
        match self {
            EngineError::Store(error) => error.code(),
            EngineError::Network { source, .. } => Code::of_io(source),
            EngineError::Thread(_) => Code::Internal,
        }
    }
}

struct Worker {
    store: Store,
    shared: Arc<Shared>,
    genesis: Genesis,
    authority: Keypair,
    network_file: PathBuf,
    clock: Arc<dyn Clock>,
    keeps_end: bool,
    figures: Figures,
    /// Whether it was said that tiles cannot be written.
    complained: bool,
}

/// Answers that are given once the block is durable.
type Answers = Vec<(
    oneshot::Sender<Result<Accepted, SubmitError>>,
    Result<Accepted, SubmitError>,
)>;

impl Worker {
    fn work(mut self, receiver: &Receiver<Order>) {
        loop {
            let (mut waiting, mut cosigned) = (Vec::new(), Vec::new());
            let mut take = |order| match order {
                Order::Transaction(submission) => waiting.push(*submission),
                Order::Cosigned(what, answer) => cosigned.push((what, answer)),
            };
            // Looked at before what waits, so that all of it is done.
            let mut ended = self.shared.ending.load(Ordering::SeqCst);
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(first) => {
                    take(first);
                    receiver.try_iter().take(BLOCK_MAX - 1).for_each(take);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => ended = true,
            }
            ended &= waiting.is_empty();
            if let Err(error) = self.turn(waiting) {
                tracing::error!(%error, "the registry has stopped");
                return;
            }
            for (what, answer) in cosigned {
                // If the log has stopped, the next turn finds out.
                let published = self.store.cosigned(*what);
                let _ = answer.send(published.map_err(|error| error.to_string()));
            }
            if ended {
                return;
            }
        }
    }

    /// Makes a block, if an epoch is over or a transaction takes effect.
    fn turn(&mut self, waiting: Vec<Submission>) -> Result<(), EngineError> {
        let begun = Instant::now();
        let asked = waiting.len();
        let shared = Arc::clone(&self.shared);
        let mut live = shared.live.write().unwrap_or_else(PoisonError::into_inner);
        let done = self.block(&mut live, waiting);
        if let Err(error) = &done {
            // Noted before the lock is let go; whoever waited for an answer learns it too.
            let _ = shared.failed.set(error.into());
        }
        let head = live.state.head().clone();
        drop(live);
        let answers = done?;
        let size = self.store.log().size();
        self.shared.size.send_if_modified(|known| {
            let grown = *known != size;
            *known = size;
            grown
        });
        let refused = answers.iter().filter(|(_, answer)| answer.is_err()).count();
        self.figures.took(asked, refused, begun.elapsed());
        for (sender, answer) in answers {
            // Who asked may be gone.
            let _ = sender.send(answer);
        }
        let integrated = self.integrate();
        if let Err(error) = &integrated {
            let _ = self.shared.failed.set(error.into());
        }
        let log = self.store.log();
        self.figures.stands(&head, size, log.signed().unverified());
        integrated
    }

    /// Writes what is committed into tiles. Where the disk does not take it now, it waits in the
    /// database.
    fn integrate(&mut self) -> Result<(), EngineError> {
        loop {
            match self.store.integrate(self.clock.now_ms()) {
                Ok(Some(integrated)) if integrated.more => {}
                Ok(_) => {
                    self.complained = false;
                    return Ok(());
                }
                Err(StoreError::Log(error)) if error.retryable() => {
                    if !self.complained {
                        tracing::warn!(%error, "the log's files cannot be written now");
                    }
                    self.complained = true;
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Refuses what waits where there is little room on the disk.
    fn has_room(&mut self) -> Result<(), SubmitError> {
        // What cannot be asked is no reason to stop.
        let free = free_bytes(self.store.log().folder()).unwrap_or(u64::MAX);
        let full = free < FREE_MIN;
        if full != self.shared.full.swap(full, Ordering::SeqCst) {
            match full {
                true => tracing::warn!(
                    free,
                    "there is little room on the disk: no more blocks are made"
                ),
                false => tracing::info!(free, "there is room on the disk again"),
            }
        }
        match full {
            true => Err(SubmitError::DiskFull { free }),
            false => Ok(()),
        }
    }

    fn block(&mut self, live: &mut Live, waiting: Vec<Submission>) -> Result<Answers, EngineError> {
        let state = &mut live.state;
        let before = state.head().clone();
        // A clock that was set back does not stop the chain.
        let time_ms = self.clock.now_ms().max(before.time_ms);
        let turns = state.epoch_at(time_ms) > before.epoch || before.height == 0;
        // Looked at also when nothing waits, so that it is known when there is room again.
        if let Err(full) = self.has_room() {
            let refuse = |one: Submission| (one.answer, Err(full.clone()));
            return Ok(waiting.into_iter().map(refuse).collect());
        }
        if !turns && waiting.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = Batch::default();
        let mut tree = None;
        let mut end = None;
        if state.epoch_at(time_ms) > before.epoch {
            let mut entries = Vec::new();
            state.entries(|entry| entries.push(entry));
            let over = StateTree::of_entries(&entries);
            batch.entries.push(
                LogEntry::Epoch(EpochRoot {
                    epoch: before.epoch,
                    state: over.root(),
                })
                .to_bytes(),
            );
            batch.snapshot = Some((1, entries));
            tree = Some(Arc::new(over));
            end = self.keeps_end.then(|| Arc::new(state.clone()));
        }
        let height = before.height.saturating_add(1);
        let Ok(events) = state.begin_block(time_ms) else {
            unreachable!("the time is not before that of the last block");
        };
        batch.push(LogEntry::Block { height, time_ms }.to_bytes(), &events);
        let epoch = state.head().epoch;
        let mut answers: Answers = Vec::new();
        for Submission {
            transaction,
            answer,
        } in waiting
        {
            let outcome = state.apply(&transaction).map_err(SubmitError::from);
            let outcome = outcome.map(|events| {
                let id = transaction.signed().id();
                let said = transaction.transaction();
                let leaf = u64::try_from(batch.entries.len()).unwrap_or(u64::MAX);
                batch.places.push(Place {
                    id,
                    leaf,
                    height,
                    account: said.account,
                    number: said.number,
                });
                let entry = LogEntry::Transaction(Box::new(transaction.signed().clone()));
                batch.push(entry.to_bytes(), &events);
                Accepted {
                    id,
                    leaf,
                    height,
                    epoch,
                    events,
                }
            });
            answers.push((answer, outcome));
        }
        if !turns && batch.places.is_empty() {
            // Nobody can make the log longer with what is refused.
            state.take_back_block(before);
            return Ok(answers);
        }
        let first = self.store.commit(&batch)?;
        for (_, answer) in &mut answers {
            if let Ok(accepted) = answer {
                accepted.leaf = accepted.leaf.saturating_add(first);
            }
        }
        if let Some(tree) = tree {
            live.tree = Some(tree);
            live.end = end;
            let members = live.state.members();
            live.network = sign(&self.genesis, &members, &self.authority);
            live.members = Arc::new(members);
            write(&self.network_file, &live.network)?;
        }
        Ok(answers)
    }
}

fn sign(genesis: &Genesis, members: &Membership, authority: &Keypair) -> Bytes {
    NetworkFile {
        genesis: genesis.clone(),
        membership: members.sign(authority, &mut OsRng),
    }
    .to_cbor()
    .into()
}

/// Replaces the network file: whoever reads it finds the old one or the new one.
fn write(path: &std::path::Path, bytes: &[u8]) -> Result<(), EngineError> {
    use std::io::Write as _;
    let failed = |source| EngineError::Network {
        path: path.to_owned(),
        source,
    };
    let unfinished = path.with_extension("new");
    let mut file = std::fs::File::create(&unfinished).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&unfinished, path).map_err(failed)
}
