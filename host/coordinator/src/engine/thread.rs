//! The engine's thread: takes all commands that wait, applies them as one batch, and answers once that
//! is durable in the journal.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use adit_net::{Clock, Stopped};
use adit_protocol::Code;
use adit_protocol::hash::Hash;
use rusqlite::Connection;
use tokio::sync::mpsc::Sender;

use super::Refusal;
use super::answers::{Answers, Parked, ViewAnswer, Waiting};
use super::command::Command;
use super::follower::Closing;
use super::handle::{Shared, lock};
use super::staged::{Recent, Staged};
use super::stats::{add, micros, set};
use crate::core::{Core, CoreError, Io, Output, Submitted, Validation};
use crate::membership::Membership;
use crate::planted::{Planted, Point, Probe};
use crate::store::journal::Journal;
use crate::store::{Snapshot, StoreError, load};
use crate::view::TaskView;

/// Most commands of one batch.
const BATCH: usize = 1024;
/// How often the membership is looked at and dead polls are swept, in milliseconds.
const CHORES_MS: u64 = 1000;

pub(super) struct Thread {
    pub journal: Journal,
    pub follower: Closing,
    /// Reads the tables beside the follower.
    pub reader: Connection,
    pub recent: Recent,
    /// The leaf index that the next entry gets.
    pub leaf: u64,
    pub core: Core,
    pub membership: Arc<dyn Membership>,
    pub clock: Arc<dyn Clock>,
    pub probe: Box<dyn Probe>,
    pub planted: Option<Planted>,
    pub last_ms: u64,
    pub received: Receiver<Command>,
    pub validations: Sender<Validation>,
    pub shared: Arc<Shared>,
    pub waiting: Waiting,
    /// When the chores were done last.
    pub chores_ms: u64,
    /// Whether there is more to do at once.
    pub more: bool,
}

impl Thread {
    /// Goes on from what was kept.
    pub(super) fn resume(&mut self, snapshot: Snapshot) -> Result<(), StoreError> {
        let now_ms = self.time();
        self.chores_ms = now_ms;
        let mut out = Vec::new();
        let mut answers = Answers::default();
        let result = self.transact(now_ms, &mut out, |core, io| {
            core.resume(now_ms, snapshot, io)?;
            core.tick(now_ms, io)?;
            core.flush(io)
        });
        result?;
        self.settle(now_ms, out, &mut answers);
        answers.give();
        self.measure();
        Ok(())
    }

    pub(super) fn run(mut self) {
        let end = self.work();
        // Everyone who waits is told by the drop of the answers' other side.
        match end {
            Ok(()) => self.stopped(Stopped {
                code: Code::Internal,
                why: "the coordinator was ended".to_owned(),
            }),
            Err(error) => {
                tracing::error!(%error, "the engine has stopped; nothing is acknowledged any more");
                self.stopped((&error).into());
            }
        }
    }

    /// Notes why nothing is done any more, before anyone learns that there is no answer.
    fn stopped(&self, why: Stopped) {
        lock(&self.shared.stopped).get_or_insert(why);
    }

    fn work(&mut self) -> Result<(), StoreError> {
        let mut batch = Vec::new();
        loop {
            let open = self.take(&mut batch);
            if !self.turn(&mut batch)? || !open {
                let now_ms = self.time();
                return self.follower.finish(now_ms);
            }
        }
    }

    /// What [`Thread::work`] does in one turn, without waiting, and then what the follower does.
    /// Whether to go on.
    pub(super) fn step(&mut self) -> Result<bool, StoreError> {
        let mut batch = Vec::new();
        let open = self.take_waiting(&mut batch);
        let goes_on = self.turn(&mut batch)?;
        let now_ms = self.time();
        if self.follower.next_ms() <= now_ms {
            self.follower.turn(now_ms)?;
            self.point(Point::AfterApply)?;
        }
        Ok(goes_on && open)
    }

    /// A batch. Whether to go on.
    fn turn(&mut self, batch: &mut Vec<Command>) -> Result<bool, StoreError> {
        let begun = Instant::now();
        let stop = self.batch(batch)?;
        self.point(Point::AfterAnswers)?;
        add(&self.shared.stats.busy_us, micros(begun));
        Ok(!stop)
    }

    fn point(&mut self, point: Point) -> Result<(), StoreError> {
        match self.probe.goes_on(point) {
            true => Ok(()),
            false => Err(StoreError::Injected),
        }
    }

    /// Waits for commands or for the time of the next thing to do, and takes all there are. Whether
    /// anyone can still send some.
    fn take(&mut self, batch: &mut Vec<Command>) -> bool {
        let wait = self.until_next();
        match self.received.recv_timeout(wait) {
            Ok(command) => batch.push(command),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        self.take_waiting(batch)
    }

    /// Takes all commands that wait. Whether anyone can still send some.
    fn take_waiting(&self, batch: &mut Vec<Command>) -> bool {
        while batch.len() < BATCH {
            match self.received.try_recv() {
                Ok(command) => batch.push(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    pub(super) fn until_next(&mut self) -> Duration {
        if self.more {
            return Duration::ZERO;
        }
        let now_ms = self.time();
        let chores = self.chores_ms.saturating_add(CHORES_MS);
        let next = [self.core.next_due(), self.waiting.poll_due(), Some(chores)];
        let next = next.into_iter().flatten().min().unwrap_or(chores);
        Duration::from_millis(next.saturating_sub(now_ms))
    }

    /// The same, with the follower's next thing to do.
    pub(super) fn until_step(&mut self) -> Duration {
        let follower = self.follower.next_ms().saturating_sub(self.time());
        self.until_next().min(Duration::from_millis(follower))
    }

    /// The time, which never goes back here.
    fn time(&mut self) -> u64 {
        self.last_ms = self.last_ms.max(self.clock.now_ms());
        self.last_ms
    }

    /// Applies commands and what is due, makes it durable, and answers. Whether to stop.
    fn batch(&mut self, batch: &mut Vec<Command>) -> Result<bool, StoreError> {
        let now_ms = self.time();
        let commands = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let chores = now_ms.saturating_sub(self.chores_ms) >= CHORES_MS;
        if chores {
            self.chores_ms = now_ms;
            self.chores(now_ms)?;
        }
        let mut stop = false;
        let mut out = Vec::new();
        let mut answers = Answers::default();
        let mut waiting = std::mem::take(&mut self.waiting);
        let result = self.transact(now_ms, &mut out, |core, io| {
            for command in batch.drain(..) {
                match command {
                    Command::Stop => stop = true,
                    command => apply(core, now_ms, command, io, &mut answers, &mut waiting)?,
                }
            }
            for (node, parked) in waiting.overdue(now_ms) {
                let reply = core.nothing_new(now_ms, node, &parked.poll);
                answers.ready(parked.answer, Ok(reply));
            }
            let more = core.tick(now_ms, io)?;
            core.flush(io)?;
            Ok(more)
        });
        self.waiting = waiting;
        if let Err(error) = &result {
            self.stopped(error.into());
        }
        self.more = result?;
        self.settle(now_ms, out, &mut answers);
        // Before the answers, so that whoever has one finds it counted.
        add(&self.shared.stats.batches, 1);
        add(&self.shared.stats.commands, commands);
        self.measure();
        answers.give();
        if self.core.open() == 0 {
            for answer in self.waiting.drains.drain(..) {
                let _ = answer.send(Ok(()));
            }
        }
        Ok(stop)
    }

    /// Runs `work`; what it writes is one batch, which is durable when this returns.
    fn transact<T>(
        &mut self,
        now_ms: u64,
        out: &mut Vec<Output>,
        work: impl FnOnce(&mut Core, &mut Io<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let follower = &*self.follower;
        follower.alive()?;
        let applied = follower.applied();
        self.recent.forget(applied);
        let mut store = Staged {
            writes: Vec::new(),
            next: self.leaf,
            batch: self.journal.next(),
            recent: &mut self.recent,
            follower,
            reader: &self.reader,
        };
        let mut io = Io {
            store: &mut store,
            out,
        };
        let value = work(&mut self.core, &mut io)?;
        let Staged { writes, next, .. } = store;
        if writes.is_empty() {
            return Ok(value);
        }
        let committing = Instant::now();
        if !self.probe.goes_on(Point::BeforeCommit) {
            return Err(StoreError::Injected);
        }
        let batch = self.journal.commit(writes, applied)?;
        add(&self.shared.stats.commit_us, micros(committing));
        self.leaf = next;
        follower.push(batch, now_ms)?;
        self.point(Point::AfterCommit)?;
        Ok(value)
    }

    /// Passes on what a durable batch has to tell.
    fn settle(&mut self, now_ms: u64, out: Vec<Output>, answers: &mut Answers) {
        let mut ended: HashMap<Hash, TaskView> = HashMap::new();
        for output in out {
            match output {
                Output::Event(task, event) => self.waiting.event(&task, event),
                Output::Ended(view) => {
                    if self.planted != Some(Planted::KeepContexts) {
                        lock(&self.shared.contexts).remove(&view.task);
                    }
                    self.waiting.ended(&view);
                    ended.insert(view.task, *view);
                }
                Output::Live(context) => {
                    lock(&self.shared.contexts).insert(context.task, context);
                }
                Output::Wake(node) => self.wake(now_ms, node, answers),
                Output::Validate(validation) => {
                    // Without room, or anyone who validates, the question is put again later.
                    let _ = self.validations.try_send(validation);
                }
            }
        }
        let core = &self.core;
        answers.show(|task| match core.task(now_ms, task) {
            Some(view) => Some(view),
            None => ended.get(task).cloned(),
        });
    }

    /// Answers a poll that waits, if there is something to say.
    fn wake(&mut self, now_ms: u64, node: [u8; 32], answers: &mut Answers) {
        let Some(parked) = self.waiting.unpark(&node) else {
            return;
        };
        if parked.answer.is_closed() {
            self.core.answered(now_ms, node);
            return;
        }
        match self.core.news(now_ms, node, &parked.poll) {
            Some(reply) => answers.ready(parked.answer, Ok(reply)),
            None => self.waiting.park(node, parked),
        }
    }

    /// What is done about once a second.
    fn chores(&mut self, now_ms: u64) -> Result<(), StoreError> {
        for node in self.waiting.hung_up() {
            self.core.answered(now_ms, node);
        }
        match self.membership.refresh() {
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the members known before stay in use"),
        }
        let members = self.membership.current();
        if self.core.members_hash() != members.hash {
            let version = members.membership.version;
            let used = self
                .follower
                .0
                .tables(|tables| load::use_membership(tables.db.connection(), version));
            match used {
                Ok(()) => self.core.set_members(members),
                Err(error @ StoreError::OldMembership { .. }) => {
                    tracing::warn!(%error, "the members known before stay in use");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn measure(&self) {
        let stats = &self.shared.stats;
        let counters = self.core.counters();
        let store = |to: &std::sync::atomic::AtomicU64, value| to.store(value, Ordering::Relaxed);
        store(&stats.submitted, counters.submitted);
        store(&stats.completed, counters.completed);
        store(&stats.failed, counters.failed);
        store(&stats.cancelled, counters.cancelled);
        store(&stats.drawn, counters.drawn);
        store(&stats.expired, counters.expired);
        store(&stats.receipts, counters.receipts);
        store(&stats.receipts_late, counters.late);
        store(&stats.receipts_refused, counters.refused);
        store(&stats.equivocations, counters.equivocations);
        store(&stats.rosters, counters.rosters);
        set(&stats.waiting, self.core.waiting());
        set(&stats.live, self.core.live());
        set(&stats.open, self.core.open());
        set(&stats.contexts, lock(&self.shared.contexts).len());
        set(&stats.miners, self.core.active());
        set(&stats.candidates, self.core.candidates());
        set(&stats.polls, self.waiting.polls());
        store(&stats.log_size, self.leaf);
        let whole = self.core.escrow() / 1_000_000_000_000;
        store(
            &stats.escrow_units,
            u64::try_from(whole).unwrap_or(u64::MAX),
        );
    }
}

/// Applies one command. Its answer is held back until the batch is durable.
fn apply(
    core: &mut Core,
    now_ms: u64,
    command: Command,
    io: &mut Io<'_>,
    answers: &mut Answers,
    waiting: &mut Waiting,
) -> Result<(), StoreError> {
    match command {
        Command::Submit {
            prepared,
            ended,
            answer,
        } => match refused(core.submit(now_ms, *prepared, io))? {
            Ok(submitted) => match (submitted, ended) {
                (Submitted::Live(task), Some(ended)) => {
                    waiting.for_end(task, ended);
                    answers.ready(answer, Ok((task, None)));
                }
                (Submitted::Live(task) | Submitted::Ended(task), _) => {
                    answers.view(task, ViewAnswer::Named(answer));
                }
            },
            Err(refusal) => answers.ready(answer, Err(refusal)),
        },
        Command::Cancel {
            task,
            client,
            answer,
        } => {
            let result = refused(core.cancel(now_ms, &task, &client, io))?;
            answers.ready(answer, result);
        }
        Command::Task(task, answer) => answers.view(task, ViewAnswer::Maybe(answer)),
        Command::Wait(task, answer) => match core.is_live(&task) {
            true => waiting.for_end(task, answer),
            false => answers.view(task, ViewAnswer::Maybe(answer)),
        },
        Command::Events(task, answer) => {
            let view = core.task(now_ms, &task);
            let both = view.map(|view| (view, waiting.watch(task)));
            answers.ready(answer, Ok(both));
        }
        Command::Explain(task, answer) => {
            let view = core.explain(now_ms, &task, io)?;
            answers.ready(answer, Ok(view));
        }
        Command::Hello {
            node,
            offer,
            documents,
            answer,
        } => {
            let result = refused(core.hello(now_ms, node, *offer, &documents, io))?;
            answers.ready(answer, result);
        }
        Command::RoundTrip {
            node,
            round_trip_us,
        } => core.round_trip(&node, round_trip_us),
        Command::Poll { node, poll, answer } => {
            if let Some(before) = waiting.unpark(&node) {
                let reply = core.nothing_new(now_ms, node, &before.poll);
                answers.ready(before.answer, Ok(reply));
            }
            match refused(core.poll(now_ms, node, &poll, io))? {
                Ok(Some(reply)) => answers.ready(answer, Ok(reply)),
                Ok(None) => {
                    let due_ms = now_ms.saturating_add(u64::from(poll.wait_ms));
                    let parked = Parked {
                        poll,
                        due_ms,
                        answer,
                    };
                    waiting.park(node, parked);
                }
                Err(refusal) => answers.ready(answer, Err(refusal)),
            }
        }
        Command::Progress {
            node,
            reports,
            answer,
        } => {
            core.progress(&node, reports, io);
            answers.ready(answer, Ok(()));
        }
        Command::HandIn {
            node,
            items,
            answer,
        } => {
            let results = core.hand_in(now_ms, node, items, io)?;
            answers.ready(answer, Ok(results));
        }
        Command::PutSmall(blobs, answer) => {
            for (hash, bytes) in &blobs {
                io.store.put_blob(hash, bytes, now_ms)?;
            }
            answers.ready(answer, Ok(()));
        }
        Command::Touch(hashes, answer) => {
            for hash in &hashes {
                io.store.touch_blob(hash, now_ms)?;
            }
            answers.ready(answer, Ok(()));
        }
        Command::Document {
            bytes,
            kind,
            answer,
        } => {
            let hash = Hash::of(&bytes);
            io.store.put_document(&hash, kind, &bytes)?;
            answers.ready(answer, Ok(hash));
        }
        Command::Validated {
            task,
            output,
            result,
            answer,
        } => {
            core.validated(now_ms, &task, &output, result, io)?;
            answers.ready(answer, Ok(()));
        }
        Command::Miner(node, answer) => {
            let result = refused(core.miner(now_ms, &node))?;
            answers.ready(answer, result);
        }
        Command::Miners {
            after,
            size,
            answer,
        } => answers.ready(answer, Ok(core.miners(now_ms, after, size))),
        Command::Drain(answer) => {
            core.drain();
            waiting.drains.push(answer);
        }
        // The batch takes care of it.
        Command::Stop => {}
    }
    Ok(())
}

/// Tells what was refused from what broke.
fn refused<T>(result: Result<T, CoreError>) -> Result<Result<T, Refusal>, StoreError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(CoreError::Refused(refusal)) => Ok(Err(refusal)),
        Err(CoreError::Store(error)) => Err(error),
    }
}
