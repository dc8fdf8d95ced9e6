//! One thread that makes blocks: whatever waits becomes one block, is committed with one fsync, and is
//! answered then.
//!
//! Others see the state only between blocks: while one is made and committed they wait for the lock,
//! so nobody is told what may not last. If a commit fails, the state is no longer known; the engine
//! ends, and all requests are refused.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use adit_ledger::entry::{EpochRoot, LogEntry};
use adit_ledger::root::StateTree;
use adit_ledger::transaction::Verified;
use adit_ledger::{Event, Refusal, State};
use adit_net::{Clock, Problem};
use adit_protocol::keys::Keypair;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{Membership, NetworkFile};
use adit_protocol::signed::Signable as _;
use adit_protocol::{Code, Document as _, Hash};
use bytes::Bytes;
use rand_core::OsRng;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::store::{Batch, Place, Store, StoreError};

/// Transactions that may wait; more are refused for the moment.
const WAITING_MAX: usize = 4096;
/// Most transactions of a block.
const BLOCK_MAX: usize = 1024;
/// How often the engine looks at the time when nothing waits.
const LOOK_EVERY: Duration = Duration::from_millis(200);

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
    /// The engine has ended.
    #[error("the registry takes no transactions: {why}; hint: ask its operator")]
    Ended {
        /// Why.
        why: String,
    },
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Problem {
        match &error {
            SubmitError::Refused(refusal) => Problem::new(refusal.code(), refusal),
            SubmitError::Overloaded => Problem::new(Code::Overloaded, &error).retry_after_s(1),
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
    failed: OnceLock<String>,
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
            Some(why) => Err(SubmitError::Ended { why: why.clone() }),
            None => Ok(live),
        }
    }

    /// Why the engine has ended, if it has failed.
    pub fn failed(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }
}

/// What goes to the engine's thread.
struct Submission {
    transaction: Verified,
    answer: oneshot::Sender<Result<Accepted, SubmitError>>,
}

/// The way to the engine. Clones share it.
#[derive(Clone)]
pub struct Handle {
    sender: SyncSender<Submission>,
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
        match self.sender.try_send(submission) {
            Ok(()) => answered.await.unwrap_or_else(|_| Err(self.ended())),
            Err(TrySendError::Full(_)) => Err(SubmitError::Overloaded),
            Err(TrySendError::Disconnected(_)) => Err(self.ended()),
        }
    }

    /// What is known.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    fn ended(&self) -> SubmitError {
        let why = self.shared.failed().unwrap_or("it is being ended");
        SubmitError::Ended {
            why: why.to_owned(),
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

struct Worker {
    store: Store,
    shared: Arc<Shared>,
    genesis: Genesis,
    authority: Keypair,
    network_file: PathBuf,
    clock: Arc<dyn Clock>,
    keeps_end: bool,
}

/// Answers that are given once the block is durable.
type Answers = Vec<(
    oneshot::Sender<Result<Accepted, SubmitError>>,
    Result<Accepted, SubmitError>,
)>;

impl Worker {
    fn work(mut self, receiver: &Receiver<Submission>) {
        loop {
            let mut waiting = Vec::new();
            // Looked at before what waits, so that all of it is done.
            let mut ended = self.shared.ending.load(Ordering::SeqCst);
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(first) => {
                    waiting.push(first);
                    waiting.extend(receiver.try_iter().take(BLOCK_MAX - 1));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => ended = true,
            }
            ended &= waiting.is_empty();
            if let Err(error) = self.turn(waiting) {
                tracing::error!(%error, "the registry has stopped");
                return;
            }
            if ended {
                return;
            }
        }
    }

    /// Makes a block, if an epoch is over or a transaction takes effect.
    fn turn(&mut self, waiting: Vec<Submission>) -> Result<(), EngineError> {
        let shared = Arc::clone(&self.shared);
        let mut live = shared.live.write().unwrap_or_else(PoisonError::into_inner);
        let done = self.block(&mut live, waiting);
        if let Err(error) = &done {
            // Noted before the lock is let go; whoever waited for an answer learns it too.
            let _ = shared.failed.set(error.to_string());
        }
        drop(live);
        for (sender, answer) in done? {
            // Who asked may be gone.
            let _ = sender.send(answer);
        }
        while let Some(integrated) = self.store.integrate(self.clock.now_ms())? {
            if !integrated.more {
                break;
            }
        }
        Ok(())
    }

    fn block(&mut self, live: &mut Live, waiting: Vec<Submission>) -> Result<Answers, EngineError> {
        let state = &mut live.state;
        let before = state.head().clone();
        // A clock that was set back does not stop the chain.
        let time_ms = self.clock.now_ms().max(before.time_ms);
        let turns = state.epoch_at(time_ms) > before.epoch || before.height == 0;
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
        batch
            .entries
            .push(LogEntry::Block { height, time_ms }.to_bytes());
        if state.begin_block(time_ms).is_err() {
            unreachable!("the time is not before that of the last block");
        }
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
                batch.entries.push(entry.to_bytes());
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
