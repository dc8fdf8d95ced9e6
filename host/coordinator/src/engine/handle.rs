//! The handle: all that the rest of the process asks of the engine. Clones share the engine.
//!
//! Whatever is answered with `Ok` is durable. A full queue is refused at once with
//! [`Code::Overloaded`] and a time after which to try again; nothing waits for room.

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_net::log::witness::Cosigned;
use adit_net::simulated::Bell;
use adit_net::{SharedRng, Stopped, blocking};
use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::network::assignment::ActiveUntil;
use adit_protocol::network::exchange::{
    BATCH_MAX, Echo, HandInResult, Hello, INLINE_BYTES_MAX, Poll, PollAnswer, ProgressReport,
    Welcome, Work,
};
use adit_protocol::rand_core::RngCore as _;
use adit_protocol::signed::{Signable as _, Signed};
use minicbor::bytes::ByteVec;
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;

use super::Refusal;
use super::command::{Answer, Command};
use super::follower::Follower;
use super::stats::{Stats, StatsView};
use crate::core::{Delivery, HandedIn};
use crate::core::{Offer, TaskContext};
use crate::order::{HandInOrder, Submission};
use crate::order::{PollOrder, PreparedSubmission};
use crate::store::read::Readers;
use crate::store::{Document, DocumentKind};
use crate::view::{
    ExplainView, MinerView, Page, ReceiptView, TaskEvent, TaskState, TaskSummary, TaskView,
};

/// Most items of a page.
pub const PAGE_MAX: u32 = 1000;
/// Longest wait of [`Handle::wait`] and of a poll.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Bytes of blobs and specs after which an answer to a poll takes no more assignments. Those left
/// out come with the next poll, since the miner does not name them as being worked on.
const ANSWER_BYTES: usize = 16 << 20;
/// How long the miner may take to send back an echo for it to count.
const ECHO_MAX: Duration = Duration::from_secs(10);
/// Echoes that are on their way at one time; more are not measured.
const ECHOES_MAX: usize = 32_768;

/// For how long a word to a miner is given again, in milliseconds.
const WORD_MS: u64 = 1_000;
/// Words that are kept at one time.
const WORDS_MAX: usize = 32_768;

/// An echo that is on its way to a miner, and since when.
type Sent = ([u8; 32], Instant);

/// The word to a miner until when it is active, in milliseconds since 1970, and signed.
type Word = (u64, Signed<ActiveUntil>);

/// What handle and engine share.
pub(crate) struct Shared {
    pub(crate) stats: Arc<Stats>,
    /// Why the engine has stopped, if it has.
    pub(crate) stopped: Mutex<Option<Stopped>>,
    pub(crate) readers: Readers,
    follower: Arc<Follower>,
    /// Live tasks, as far as they fit into the memory given to them.
    pub(crate) contexts: Mutex<HashMap<Hash, Arc<TaskContext>>>,
    pub(crate) node: Keypair,
    pub(crate) genesis: Hash,
    rng: SharedRng,
    echoes: Mutex<HashMap<[u8; 32], Sent>>,
    words: Mutex<HashMap<[u8; 32], Word>>,
}

impl Shared {
    pub(crate) fn new(
        stats: Arc<Stats>,
        readers: Readers,
        follower: Arc<Follower>,
        node: Keypair,
        genesis: Hash,
        rng: SharedRng,
    ) -> Shared {
        Shared {
            stats,
            stopped: Mutex::default(),
            readers,
            follower,
            contexts: Mutex::default(),
            node,
            genesis,
            rng,
            echoes: Mutex::default(),
            words: Mutex::default(),
        }
    }
}

/// Locks, also after a panic of another holder: what these locks guard is whole between any two
/// statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine, for the rest of the process.
#[derive(Clone)]
pub struct Handle {
    pub(crate) commands: SyncSender<Command>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) bell: Bell,
}

impl Handle {
    /// Takes a task. Answered once it is durable; miners are drawn at once if there are any.
    ///
    /// # Errors
    /// `draining`, `overloaded`, `quota-exceeded`, `idempotency-conflict`, `invalid-request`.
    pub async fn submit(&self, order: Submission) -> Result<TaskView, Refusal> {
        small_enough(&order.blobs)?;
        let prepared = Box::new(PreparedSubmission::new(order));
        let submit = |answer| Command::Submit {
            prepared,
            ended: None,
            answer,
        };
        match self.ask(submit).await? {
            (_, Some(view)) => Ok(view),
            // That of an earlier request with the same key, which has ended since.
            (task, None) => self.finished(task).await,
        }
    }

    /// Like [`Handle::submit`], and waits for the end of the task: the task once it has ended, or as it
    /// is after `timeout`, which is cut to [`WAIT_MAX`], or when `enough` completes.
    ///
    /// # Errors
    /// As [`Handle::submit`].
    pub async fn submit_and_wait(
        &self,
        order: Submission,
        timeout: Duration,
        enough: impl Future<Output = ()>,
    ) -> Result<TaskView, Refusal> {
        small_enough(&order.blobs)?;
        let (ended, ending) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Submit {
            prepared: Box::new(PreparedSubmission::new(order)),
            ended: Some(ended),
            answer,
        })?;
        tokio::select! {
            biased;
            ended = ending => match ended {
                Ok(Ok(Some(view))) => return Ok(view),
                Ok(Err(refusal)) => return Err(refusal),
                // It was not taken, or had ended before.
                Ok(Ok(None)) | Err(_) => {}
            },
            () = tokio::time::sleep(timeout.min(WAIT_MAX)) => {}
            () = enough => {}
        }
        // Not before: who waits for the end is not woken to hear that the task was taken.
        match answered.await.unwrap_or_else(|_| Err(self.gone()))? {
            (_, Some(view)) => Ok(view),
            (task, None) => self.task(task).await,
        }
    }

    /// A task.
    ///
    /// # Errors
    /// `unknown-task`.
    pub async fn task(&self, task: Hash) -> Result<TaskView, Refusal> {
        match self.ask(|answer| Command::Task(task, answer)).await? {
            Some(view) => Ok(view),
            None => self.finished(task).await,
        }
    }

    /// A task once it has ended, or as it is after `timeout`, which is cut to [`WAIT_MAX`].
    ///
    /// # Errors
    /// `unknown-task`.
    pub async fn wait(&self, task: Hash, timeout: Duration) -> Result<TaskView, Refusal> {
        let ended = self.ask(|answer| Command::Wait(task, answer));
        self.in_time(task, timeout, ended).await
    }

    /// What `ended` comes to, `None` being a task that is not live any more; the task as it is if
    /// that takes too long.
    async fn in_time(
        &self,
        task: Hash,
        timeout: Duration,
        ended: impl Future<Output = Result<Option<TaskView>, Refusal>>,
    ) -> Result<TaskView, Refusal> {
        match tokio::time::timeout(timeout.min(WAIT_MAX), ended).await {
            Ok(Ok(Some(view))) => Ok(view),
            Ok(Err(refusal)) => Err(refusal),
            Ok(Ok(None)) => self.finished(task).await,
            Err(_) => self.task(task).await,
        }
    }

    /// A client's tasks, the newest first, optionally of one state only; `after` is
    /// [`Page::next`] of the page before. Waiting and running ones are both listed as `running`
    /// where the database cannot tell them apart.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn list(
        &self,
        client: String,
        state: Option<TaskState>,
        after: Option<u64>,
        size: u32,
    ) -> Result<Page<TaskSummary>, Refusal> {
        let size = size.clamp(1, PAGE_MAX);
        self.shared
            .readers
            .read(move |db| db.list(&client, state, after, size))
            .await
    }

    /// Cancels a task for its client.
    ///
    /// # Errors
    /// `unknown-task`, `forbidden` if it is another client's, `task-ended`.
    pub async fn cancel(&self, task: Hash, client: String) -> Result<TaskView, Refusal> {
        self.ask(|answer| Command::Cancel {
            task,
            client,
            answer,
        })
        .await
    }

    /// Why a task is where it is, and what is needed to make its draws again.
    ///
    /// # Errors
    /// `unknown-task`.
    pub async fn explain(&self, task: Hash) -> Result<ExplainView, Refusal> {
        if let Some(view) = self.ask(|answer| Command::Explain(task, answer)).await? {
            return Ok(view);
        }
        let key = self.shared.node.public();
        let found = self
            .shared
            .readers
            .read(move |db| db.explain(&task, &key))
            .await?;
        found.ok_or_else(|| unknown_task(&task))
    }

    /// A live task and what happens to it from now on. The channel closes when the task has ended;
    /// it holds a bounded number of events, and who lags behind misses the oldest. `None` in place
    /// of the channel if the task has ended already.
    ///
    /// # Errors
    /// `unknown-task`.
    pub async fn events(
        &self,
        task: Hash,
    ) -> Result<(TaskView, Option<broadcast::Receiver<Arc<TaskEvent>>>), Refusal> {
        match self.ask(|answer| Command::Events(task, answer)).await? {
            Some((view, events)) => Ok((view, Some(events))),
            None => Ok((self.finished(task).await?, None)),
        }
    }

    /// A miner says what it offers. The request's signature was checked.
    ///
    /// # Errors
    /// `version-mismatch` for another network, `bad-encoding`, `not-registered`, `jailed`, `below-minimum-stake`,
    /// `stale-engine`.
    pub async fn hello(&self, node: [u8; 32], hello: Hello) -> Result<Welcome, Refusal> {
        let (offer, documents) = Offer::read(&hello, &self.shared.genesis)?;
        let greeting = self
            .ask(|answer| Command::Hello {
                node,
                offer: Box::new(offer),
                documents,
                answer,
            })
            .await?;
        Ok(Welcome {
            active: self.active(node, greeting.at_ms, greeting.active_until_ms),
            last_seq: greeting.last_seq,
            last_receipt: greeting.last_receipt,
            open: greeting.open,
            echo: self.new_echo(node).unwrap_or_default(),
        })
    }

    /// A miner sends back what it was sent, by which the round trip is measured: from the answer to
    /// hello or poll to this. To be called before anything else is done with the request.
    pub fn echo(&self, node: [u8; 32], echo: &Echo) {
        let sent = {
            let mut echoes = lock(&self.shared.echoes);
            match echoes.get(&node) {
                Some((bytes, _)) if *bytes == echo.echo => echoes.remove(&node),
                _ => None,
            }
        };
        let Some((_, at)) = sent else { return };
        let round_trip = at.elapsed();
        if round_trip < ECHO_MAX {
            let round_trip_us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
            // A measurement that finds no room is none; the next answer asks for another.
            let _ = self.commands.try_send(Command::RoundTrip {
                node,
                round_trip_us,
            });
            self.bell.ring();
        }
    }

    /// A miner asks for work: answered when there is some, when assignments that it works on ended,
    /// or after `wait_ms`. The request's signature was checked; those of acceptances are checked
    /// here. A miner has one poll at a time: a second one answers the first with nothing.
    ///
    /// # Errors
    /// `hello-first`, `not-registered`, `jailed`, `below-minimum-stake`, `bad-signature`.
    pub async fn poll(&self, node: [u8; 32], poll: Poll) -> Result<PollAnswer, Refusal> {
        let mut accepted = Vec::with_capacity(poll.accepted.len());
        for signed in poll.accepted {
            let acceptance = signed.verify(|_| node).map_err(|error| {
                Refusal::new(
                    Code::BadSignature,
                    format!("an acceptance is not valid: {error}"),
                    "sign acceptances with the node key that signs the request",
                )
            })?;
            if acceptance.miner != node {
                return Err(Refusal::new(
                    Code::InvalidRequest,
                    "an acceptance names another miner than the one that polls",
                    "name the node key that signs the request",
                ));
            }
            accepted.push((acceptance.assignment, signed));
        }
        let most = u32::try_from(WAIT_MAX.as_millis()).unwrap_or(u32::MAX);
        let poll = PollOrder {
            want: poll.want,
            wait_ms: poll.wait_ms.min(most),
            accepted,
            working: poll.working,
        };
        let reply = self
            .ask(|answer| Command::Poll { node, poll, answer })
            .await?;
        let mut work = Vec::with_capacity(reply.work.len());
        let mut bytes = 0usize;
        for delivery in reply.work {
            let one = self.work(delivery).await?;
            bytes = one
                .blobs
                .iter()
                .fold(bytes + one.task.len() + one.exec.len(), |sum, blob| {
                    sum.saturating_add(blob.len())
                });
            work.push(one);
            if bytes > ANSWER_BYTES {
                break;
            }
        }
        let echo = reply.measure.then(|| self.new_echo(node)).flatten();
        Ok(PollAnswer {
            active: self.active(node, reply.at_ms, reply.active_until_ms),
            work,
            ended: reply.ended,
            idle: reply.idle.map(|code| code.to_string()),
            echo: echo.map(|echo| ByteVec::from(echo.to_vec())),
        })
    }

    /// A miner reports how far its tasks are. Reports of assignments that are not open, or that are
    /// older than one that came before, are passed over.
    ///
    /// # Errors
    /// Only `overloaded` and the like.
    pub async fn progress(&self, node: [u8; 32], report: ProgressReport) -> Result<(), Refusal> {
        self.ask(|answer| Command::Progress {
            node,
            reports: report.reports,
            answer,
        })
        .await
    }

    /// Appends receipts of a miner, in their order. One result for each item; a countersignature is
    /// in it only if the receipt is durable.
    ///
    /// # Errors
    /// Only `overloaded` and the like; what is wrong with an item is in its result.
    pub async fn hand_in(
        &self,
        node: [u8; 32],
        items: Vec<HandInOrder>,
    ) -> Result<Vec<HandInResult>, Refusal> {
        for item in &items {
            if let HandInOrder::Checked(item) = item
                && let Some((_, bytes)) = item
                    .blobs
                    .iter()
                    .find(|(_, bytes)| bytes.len() > INLINE_BYTES_MAX)
            {
                small_enough(std::slice::from_ref(bytes))?;
            }
        }
        if items.len() > BATCH_MAX {
            return Err(Refusal::new(
                Code::TooLarge,
                format!(
                    "{} receipts came at once, at most {BATCH_MAX} are taken",
                    items.len()
                ),
                "hand them in in several requests",
            ));
        }
        let handed = self
            .ask(|answer| Command::HandIn {
                node,
                items,
                answer,
            })
            .await?;
        Ok(handed
            .into_iter()
            .map(|item| match item {
                HandedIn::Appended(appended) => HandInResult {
                    leaf: Some(appended.leaf),
                    countersignature: Some(ByteVec::from(appended.countersignature.to_vec())),
                    refused: None,
                    detail: None,
                    missing: Vec::new(),
                },
                HandedIn::Refused(refusal, missing) => HandInResult {
                    leaf: None,
                    countersignature: None,
                    detail: Some(cut(refusal.to_string(), 4096)),
                    refused: Some(refusal.code.to_string()),
                    missing,
                },
            })
            .collect())
    }

    /// A receipt of this coordinator's log by its id.
    ///
    /// # Errors
    /// `not-found`.
    pub async fn receipt(&self, id: Hash) -> Result<ReceiptView, Refusal> {
        let found = self.shared.readers.read(move |db| db.receipt(&id)).await?;
        found.ok_or_else(|| {
            Refusal::new(
                Code::NotFound,
                format!("no receipt {id} is in the log of this coordinator"),
                "check the id, and the coordinator's address",
            )
        })
    }

    /// Makes blobs of at most 64 KiB durable, and gives their hashes.
    ///
    /// # Errors
    /// `blob-too-large`.
    pub async fn put_small(&self, blobs: Vec<Vec<u8>>) -> Result<Vec<Hash>, Refusal> {
        small_enough(&blobs)?;
        let hashes: Vec<Hash> = blobs.iter().map(|bytes| Hash::of(bytes)).collect();
        let blobs = hashes.iter().copied().zip(blobs).collect();
        self.ask(|answer| Command::PutSmall(blobs, answer)).await?;
        Ok(hashes)
    }

    /// Has blobs of the database kept from now on for as long as any that is used now.
    ///
    /// # Errors
    /// Only `overloaded` and the like.
    pub async fn touch(&self, hashes: Vec<Hash>) -> Result<(), Refusal> {
        self.ask(|answer| Command::Touch(hashes, answer)).await
    }

    /// A blob of at most 64 KiB, or `None`: then it may be a file of the blob store.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn small(&self, hash: Hash) -> Result<Option<Vec<u8>>, Refusal> {
        self.shared.readers.find(move |db| db.blob(&hash)).await
    }

    /// Those of the hashes that are no blob in the database, in their order.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn not_small(&self, hashes: Vec<Hash>) -> Result<Vec<Hash>, Refusal> {
        self.shared
            .readers
            .look(move |db| db.without_blob(&hashes), Vec::is_empty)
            .await
    }

    /// Makes a public document durable: an environment document, or a membership.
    ///
    /// # Errors
    /// Only `overloaded` and the like.
    pub async fn put_document(&self, kind: DocumentKind, bytes: Vec<u8>) -> Result<Hash, Refusal> {
        self.ask(|answer| Command::Document {
            bytes,
            kind,
            answer,
        })
        .await
    }

    /// A public document: a roster, a membership, an environment.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn document(&self, hash: Hash) -> Result<Option<Document>, Refusal> {
        self.shared.readers.find(move |db| db.document(&hash)).await
    }

    /// A membership that a roster names, as its authority signed it.
    ///
    /// # Errors
    /// Only if the database fails.
    pub async fn membership(&self, hash: Hash) -> Result<Option<Vec<u8>>, Refusal> {
        self.shared
            .readers
            .find(move |db| db.membership(&hash))
            .await
    }

    /// The specs of a task, for the checks of its receipts.
    ///
    /// # Errors
    /// `unknown-task`.
    pub async fn task_spec(&self, task: Hash) -> Result<Arc<TaskContext>, Refusal> {
        if let Some(context) = lock(&self.shared.contexts).get(&task) {
            return Ok(Arc::clone(context));
        }
        let found = self
            .shared
            .readers
            .find(move |db| db.context(&task))
            .await?;
        found.map(Arc::new).ok_or_else(|| unknown_task(&task))
    }

    /// The app's validator has looked at an output that it was asked about by a
    /// [`super::Validation`]. An answer that nobody waits for any more is passed over.
    ///
    /// # Errors
    /// Only `overloaded` and the like.
    pub async fn validated(
        &self,
        task: Hash,
        output: Hash,
        result: Result<(), String>,
    ) -> Result<(), Refusal> {
        self.ask(|answer| Command::Validated {
            task,
            output,
            result,
            answer,
        })
        .await
    }

    /// A miner as the coordinator sees it.
    ///
    /// # Errors
    /// `not-registered`.
    pub async fn miner(&self, node: [u8; 32]) -> Result<MinerView, Refusal> {
        self.ask(|answer| Command::Miner(node, answer)).await
    }

    /// All miners that are active or in the roster in force.
    ///
    /// # Errors
    /// Only `overloaded` and the like.
    pub async fn miners(&self, after: Option<u64>, size: u32) -> Result<Page<MinerView>, Refusal> {
        self.ask(|answer| Command::Miners {
            after,
            size: size.clamp(1, PAGE_MAX),
            answer,
        })
        .await
    }

    /// Counters and levels at this moment.
    pub fn stats(&self) -> StatsView {
        self.shared.stats.view()
    }

    /// Whether the engine runs.
    ///
    /// # Errors
    /// Why it has stopped.
    pub fn ready(&self) -> Result<(), Refusal> {
        match &*lock(&self.shared.stopped) {
            None => Ok(()),
            Some(known) => Err(stopped(known)),
        }
    }

    /// Takes no more tasks and draws no more miners; returns when no assignment is open any more.
    /// What waits stays in the database for the next start.
    ///
    /// # Errors
    /// Only `overloaded` and the like.
    pub async fn drain(&self) -> Result<(), Refusal> {
        self.ask(Command::Drain).await
    }

    async fn finished(&self, task: Hash) -> Result<TaskView, Refusal> {
        let found = self.shared.readers.read(move |db| db.task(&task)).await?;
        found.ok_or_else(|| unknown_task(&task))
    }

    /// Adds to an assignment what its miner needs to begin.
    async fn work(&self, delivery: Delivery) -> Result<Work, Refusal> {
        let task = delivery.task;
        let context = match delivery.context {
            Some(context) => context,
            None => self.task_spec(task).await?,
        };
        let blobs = context.blobs.iter().map(|b| ByteVec::from(b.clone()));
        Ok(Work {
            assignment: delivery.assignment,
            task: context.spec_bytes.clone(),
            exec: context.exec.clone(),
            blobs: blobs.collect(),
            traceparent: context.trace.map(|trace| trace.next().to_string()),
        })
    }

    fn active(&self, miner: [u8; 32], at_ms: u64, until_ms: u64) -> Signed<ActiveUntil> {
        // A word that is a little older says almost the same, and costs no signature, neither here
        // nor with the miner.
        let kept = lock(&self.shared.words).get(&miner).cloned();
        if let Some((known_ms, word)) = kept
            && until_ms
                .checked_sub(known_ms)
                .is_some_and(|ms| ms < WORD_MS)
        {
            return word;
        }
        let active = ActiveUntil {
            genesis: self.shared.genesis,
            coordinator: self.shared.node.public().to_bytes(),
            miner,
            at_ms,
            until_ms,
        };
        let word = active.sign(&self.shared.node, &mut self.shared.rng.clone());
        let mut words = lock(&self.shared.words);
        if words.len() >= WORDS_MAX {
            words.clear();
        }
        words.insert(miner, (until_ms, word.clone()));
        word
    }

    fn new_echo(&self, node: [u8; 32]) -> Option<[u8; 32]> {
        let mut echo = [0; 32];
        self.shared.rng.clone().fill_bytes(&mut echo);
        let mut echoes = lock(&self.shared.echoes);
        if echoes.len() >= ECHOES_MAX {
            echoes.retain(|_, (_, at)| at.elapsed() < ECHO_MAX);
        }
        if echoes.len() >= ECHOES_MAX {
            return None;
        }
        echoes.insert(node, (echo, Instant::now()));
        Some(echo)
    }

    /// Publishes what witnesses have cosigned, and answers how many of them have by now.
    ///
    /// # Errors
    /// `bad-signature`, `disk-full`, `overloaded`.
    pub(crate) async fn cosigned(&self, cosigned: Cosigned) -> Result<usize, Refusal> {
        let follower = Arc::clone(&self.shared.follower);
        match blocking(move || follower.cosigned(cosigned)).await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => Err(stopped(&(&error).into())),
            Err(error) => Err(ended(&error.to_string())),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.tell(command(answer))?;
        answered.await.unwrap_or_else(|_| Err(self.gone()))
    }

    fn tell(&self, command: Command) -> Result<(), Refusal> {
        match self.commands.try_send(command) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(_)) => {
                self.shared.stats.refused_full();
                Err(Refusal::new(
                    Code::Overloaded,
                    "as many requests wait for the coordinator's state as it lets wait",
                    "wait a moment, then send the request again",
                )
                .after(200))
            }
            Err(TrySendError::Disconnected(_)) => Err(self.gone()),
        }
    }

    /// Why there is no answer: the engine's thread is gone.
    fn gone(&self) -> Refusal {
        match &*lock(&self.shared.stopped) {
            Some(known) => stopped(known),
            None => ended("the coordinator is being ended"),
        }
    }
}

fn ended(why: &str) -> Refusal {
    stopped(&Stopped {
        code: Code::Internal,
        why: why.to_owned(),
    })
}

fn stopped(known: &Stopped) -> Refusal {
    // Its own advice goes before ours.
    let why = known.why.as_str();
    let (why, advice) = why.split_once("; hint: ").unwrap_or((why, ""));
    let kept = "nothing that was acknowledged is lost; its operator has to start it again";
    Refusal::new(
        known.code,
        format!("the coordinator's state cannot be changed any more: {why}"),
        format!("{advice} {kept}").trim_start(),
    )
}

pub(crate) fn unknown_task(task: &Hash) -> Refusal {
    Refusal::new(
        Code::UnknownTask,
        format!("there is no task {task} here"),
        "check the id, and the coordinator's address",
    )
}

/// Refuses a blob that is too long to be kept in the database.
fn small_enough(blobs: &[Vec<u8>]) -> Result<(), Refusal> {
    match blobs
        .iter()
        .map(Vec::len)
        .find(|len| *len > INLINE_BYTES_MAX)
    {
        None => Ok(()),
        Some(len) => Err(Refusal::new(
            Code::BlobTooLarge,
            format!(
                "a blob of {len} bytes was to be kept with the small ones, which have at most {INLINE_BYTES_MAX}"
            ),
            "upload it by itself",
        )),
    }
}

/// At most so many bytes of a text, cut between characters.
fn cut(mut text: String, bytes: usize) -> String {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
