//! The thread that owns the journal: it commits what waits together, signs, and passes signed
//! receipts on.
//!
//! Only bodies are waited for. Signatures and answers go to disk a little later: what a crash loses of
//! them is made again, byte for byte, or is asked for again, since a receipt without an answer is
//! handed in again.
//!
//! Its queue has no bound of its own: every command is about an assignment that is held, and how
//! many are held is bounded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use adit_net::Clock;
use adit_net::simulated::Bell;
use adit_protocol::Hash;
use adit_protocol::keys::Keypair;
use tokio::time::Instant;

use super::{Assigned, Batch, Begun, Draft, Journal, JournalError, Point, Ready, Settled, State};
use adit_net::random::Nothing;

/// Most drafts of one commit.
const BATCH: usize = 1024;
/// How long after a failed commit the same one is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How often it is tried when the miner ends.
const TRIES_AT_END: u32 = 5;
/// How often what is no longer needed is pruned.
const PRUNE_EVERY_MS: u64 = 10_000;
/// Most receipts that are pruned at once, so that nobody waits long for it.
const PRUNE_MAX: u32 = 5_000;

/// Is told what became of a draft.
pub trait Recorded: Send + Sync {
    /// The receipt is signed, and its body is on disk: it may be handed in. After a crash it is
    /// signed again, with the same signature.
    fn signed(&self, ready: Ready);

    /// There was a receipt for the assignment already, so that none was made.
    fn known(&self, assignment: Hash, seq: u64, state: State);

    /// The journal could not be read, so that none was made.
    fn failed(&self, assignment: Hash);
}

/// A question, which sends its own answer.
type Call = Box<dyn FnOnce(&mut Journal) + Send>;

enum Command {
    Record(Box<Draft>, Arc<dyn Recorded>),
    Settle(Vec<Settled>),
    Call(Call),
    Stop,
}

/// Whether the journal can be written.
#[derive(Debug, Default)]
pub struct JournalHealth {
    failing: AtomicBool,
    /// The miner ends: what cannot be written is given up.
    ending: AtomicBool,
    why: Mutex<Option<String>>,
}

impl JournalHealth {
    /// Why it cannot, if so. It is tried again all the time.
    pub fn failing(&self) -> Option<String> {
        if !self.failing.load(Ordering::Acquire) {
            return None;
        }
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.clone()
    }

    fn set(&self, why: Option<String>) {
        let failing = why.is_some();
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.failing.store(failing, Ordering::Release);
    }
}

/// The journal as seen from other threads.
#[derive(Clone)]
pub struct JournalWriter {
    sender: Sender<Command>,
    health: Arc<JournalHealth>,
    bell: Bell,
}

/// What the thread of a journal does, for a simulator that does it by hand.
pub struct ByHand {
    writer: Writer,
    receiver: Receiver<Command>,
    bell: Bell,
}

impl ByHand {
    /// Completes when there is something to do.
    pub async fn due(&mut self) {
        match self.writer.due() {
            None => self.bell.rung().await,
            Some(at) => {
                let _ = tokio::time::timeout_at(at, self.bell.rung()).await;
            }
        }
    }

    /// Does all that was asked for by now, and returns whether to go on. Does not wait.
    pub fn step(&mut self) -> bool {
        self.writer.round(&self.receiver, None)
    }

    /// Starts the thread.
    pub(crate) fn thread(self) -> Result<JoinHandle<()>, JournalError> {
        let ByHand {
            mut writer,
            receiver,
            ..
        } = self;
        let wait = Duration::from_millis(PRUNE_EVERY_MS);
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || while writer.round(&receiver, Some(wait)) {})
            .map_err(JournalError::Thread)
    }
}

impl JournalWriter {
    /// Starts the thread. Bodies that were on disk without a signature are signed before anything
    /// else.
    ///
    /// # Errors
    /// [`JournalError`], if those cannot be read or the thread cannot be started.
    pub fn start(
        journal: Journal,
        key: Keypair,
        clock: Arc<dyn Clock>,
    ) -> Result<(JournalWriter, JoinHandle<()>), JournalError> {
        let (writer, by_hand) = JournalWriter::by_hand(journal, key, clock)?;
        Ok((writer, by_hand.thread()?))
    }

    /// As [`JournalWriter::start`], without a thread.
    ///
    /// # Errors
    /// As [`JournalWriter::start`].
    pub fn by_hand(
        mut journal: Journal,
        key: Keypair,
        clock: Arc<dyn Clock>,
    ) -> Result<(JournalWriter, ByHand), JournalError> {
        sign_left_over(&mut journal, &key, &*clock)?;
        let (sender, receiver) = mpsc::channel();
        let health = Arc::new(JournalHealth::default());
        let writer = Writer {
            journal,
            key,
            clock,
            health: health.clone(),
            behind: None,
            pruned_ms: 0,
        };
        let bell = Bell::new();
        let by_hand = ByHand {
            writer,
            receiver,
            bell: bell.clone(),
        };
        let writer = JournalWriter {
            sender,
            health,
            bell,
        };
        Ok((writer, by_hand))
    }

    /// Has a receipt made. `to` is told of it.
    pub fn record(&self, draft: Draft, to: Arc<dyn Recorded>) {
        // It fails only after the end, when nobody waits for it any more.
        let _ = self.sender.send(Command::Record(Box::new(draft), to));
        self.bell.ring();
    }

    /// Has answers written down.
    pub fn settle(&self, settled: Vec<Settled>) {
        let _ = self.sender.send(Command::Settle(settled));
        self.bell.ring();
    }

    /// Asks the journal something, between two commits.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Journal) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let call = move |journal: &mut Journal| {
            let _ = answer.send(question(journal));
        };
        self.sender
            .send(Command::Call(Box::new(call)))
            .map_err(|_| JournalError::Closed)?;
        self.bell.ring();
        answered.await.map_err(|_| JournalError::Closed)?
    }

    /// Whether it can be written.
    pub fn health(&self) -> &JournalHealth {
        &self.health
    }

    /// Ends the thread once all that was asked of it before is done.
    pub fn stop(&self) {
        self.health.ending.store(true, Ordering::Release);
        let _ = self.sender.send(Command::Stop);
        self.bell.ring();
    }
}

fn sign_left_over(
    journal: &mut Journal,
    key: &Keypair,
    clock: &dyn Clock,
) -> Result<(), JournalError> {
    let mut batch = Batch::default();
    for (body, _) in journal.unsigned()? {
        journal.reached(Point::BeforeSign)?;
        let receipt = body.sign(key, &mut Nothing);
        let (coordinator, seq) = (body.coordinator, body.seq);
        batch
            .signatures
            .push((coordinator, seq, receipt.miner_signature));
    }
    if !batch.is_empty() {
        tracing::info!(
            receipts = batch.signatures.len(),
            "receipts that were begun before the end of the last process are signed now"
        );
        journal.reached(Point::AfterSign)?;
    }
    journal.commit(&batch, clock.now_ms())
}

struct Writer {
    journal: Journal,
    key: Keypair,
    clock: Arc<dyn Clock>,
    health: Arc<JournalHealth>,
    /// When the tables are tried again, after they could not be written.
    behind: Option<Instant>,
    pruned_ms: u64,
}

/// What came in while the last commit was made.
#[derive(Default)]
struct Round {
    drafts: Vec<(Begun, Arc<dyn Recorded>)>,
    settled: Vec<Settled>,
    /// Answered when all that came before is written.
    calls: Vec<Call>,
    stop: bool,
}

impl Writer {
    /// Does what was asked for by now, after waiting up to `wait` for something to do. Whether to go
    /// on.
    fn round(&mut self, receiver: &Receiver<Command>, wait: Option<Duration>) -> bool {
        let mut round = Round::default();
        let left = self
            .due()
            .map(|at| at.saturating_duration_since(Instant::now()));
        if let Some(wait) = wait.map(|wait| left.map_or(wait, |left| left.min(wait))) {
            match receiver.recv_timeout(wait) {
                Ok(command) => self.take(command, &mut round),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => round.stop = true,
            }
        }
        while round.drafts.len() < BATCH && !round.stop {
            match receiver.try_recv() {
                Ok(command) => self.take(command, &mut round),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => round.stop = true,
            }
        }
        let Round {
            drafts,
            settled,
            calls,
            stop,
        } = round;
        if !self.write(drafts, settled) {
            return false;
        }
        for call in calls {
            call(&mut self.journal);
        }
        if stop {
            self.end();
            return false;
        }
        if self.due().is_some_and(|at| at <= Instant::now()) && !self.apply() {
            return false;
        }
        // Whoever asked something had the tables written.
        if self.journal.due().is_none() && self.behind.take().is_some() {
            self.works();
        }
        self.prune();
        true
    }

    fn take(&mut self, command: Command, round: &mut Round) {
        match command {
            Command::Record(draft, to) => {
                let assignment = draft.body.assignment;
                match self.journal.assign(*draft) {
                    Ok(Assigned::New(begun)) => round.drafts.push((*begun, to)),
                    Ok(Assigned::Known { seq, state }) => to.known(assignment, seq, state),
                    // Nothing was signed, so the task may be run again.
                    Err(error) => {
                        tracing::error!(%error, %assignment, "no receipt could be begun");
                        self.health.set(Some(error.to_string()));
                        to.failed(assignment);
                    }
                }
            }
            Command::Settle(settled) => round.settled.extend(settled),
            Command::Call(call) => round.calls.push(call),
            Command::Stop => round.stop = true,
        }
    }

    /// Commits bodies and answers, then signs the bodies and passes them on. `false` if the thread is
    /// to end, since what it was asked for cannot be done.
    fn write(&mut self, drafts: Vec<(Begun, Arc<dyn Recorded>)>, settled: Vec<Settled>) -> bool {
        let batch = Batch {
            bodies: drafts.iter().map(|(begun, _)| begun.clone()).collect(),
            settled,
            signatures: Vec::new(),
        };
        if !self.commit(&batch) {
            return false;
        }
        if drafts.is_empty() {
            return true;
        }
        if self.journal.reached(Point::BeforeSign).is_err() {
            return false;
        }
        let mut signed = Batch::default();
        for (begun, to) in drafts {
            let receipt = begun.body.sign(&self.key, &mut Nothing);
            let body = &receipt.body;
            let signature = (body.coordinator, body.seq, receipt.miner_signature);
            signed.signatures.push(signature);
            to.signed(Ready {
                receipt,
                parts: Some(begun.parts),
            });
        }
        self.commit(&signed) && self.journal.reached(Point::AfterSign).is_ok()
    }

    /// When the tables are to be written next.
    fn due(&self) -> Option<Instant> {
        let due = self.journal.due()?;
        Some(self.behind.map_or(due, |again| again.max(due)))
    }

    /// Puts what was committed into the tables, or notes that it is to be tried again. `false` if the
    /// thread is to end.
    fn apply(&mut self) -> bool {
        match self.journal.apply() {
            Ok(()) => {
                self.behind = None;
                self.works();
                true
            }
            Err(JournalError::Injected(point)) => {
                tracing::error!(?point, "the journal was made to fail");
                false
            }
            Err(error) => {
                tracing::error!(%error, "the tables of the journal could not be written");
                self.health.set(Some(error.to_string()));
                self.behind = Some(Instant::now() + RETRY);
                true
            }
        }
    }

    /// The tables get what was committed. Where that cannot be done, the next start does it.
    fn end(&mut self) {
        for attempt in 1..=TRIES_AT_END {
            if !self.apply() {
                return;
            }
            if self.behind.is_none() {
                return tracing::debug!("the journal is closed");
            }
            if attempt < TRIES_AT_END {
                std::thread::sleep(RETRY);
            }
        }
    }

    /// Something was written.
    fn works(&self) {
        if self.behind.is_none() && self.health.failing().is_some() {
            tracing::info!("the journal can be written again");
            self.health.set(None);
        }
    }

    /// Commits a batch, again and again until its bodies are on disk: they have their numbers, and no
    /// others may take them. At the end of the process it is given up after a few tries; nothing of
    /// it was signed, or it was on disk before.
    fn commit(&mut self, batch: &Batch) -> bool {
        for attempt in 1u32.. {
            match self.journal.commit(batch, self.clock.now_ms()) {
                Ok(()) => {
                    self.works();
                    return true;
                }
                Err(JournalError::Injected(point)) => {
                    tracing::error!(?point, "the journal was made to fail");
                    return false;
                }
                Err(error) => {
                    tracing::error!(%error, attempt, "the journal could not be written");
                    self.health.set(Some(error.to_string()));
                    if self.health.ending.load(Ordering::Acquire) && attempt >= TRIES_AT_END {
                        return false;
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
        false
    }

    fn prune(&mut self) {
        let now_ms = self.clock.now_ms();
        if now_ms.saturating_sub(self.pruned_ms) < PRUNE_EVERY_MS {
            return;
        }
        self.pruned_ms = now_ms;
        match self.journal.prune(now_ms, PRUNE_MAX) {
            Ok(0) => {}
            Ok(pruned) => tracing::debug!(pruned, "parts of settled receipts were pruned"),
            Err(error) => tracing::warn!(%error, "the journal could not be pruned"),
        }
    }
}
