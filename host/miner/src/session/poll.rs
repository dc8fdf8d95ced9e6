//! Greeting a coordinator and asking it for work.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use adit_protocol::network::assignment::Acceptance;
use adit_protocol::network::exchange::{
    BATCH_MAX, DEVICES_MAX, Echo, Hello, OfferedDevice, Poll, PollAnswer,
};
use adit_protocol::signed::{Signable as _, Signed};
use adit_protocol::{Code, Hash};
use tokio::time::Instant;

use super::Session;
use crate::backoff::Backoff;
use crate::check::Distrust;
use crate::held::Stage;
use crate::journal::Standing;
use crate::network::NetworkWatch;
use crate::scheduler::Held;
use crate::status::Mode;
use crate::text::tame;
use crate::transport::ApiError;

/// How often a coordinator is told that this miner is there, while it asks for nothing. A miner
/// counts as active for 30 s after a poll.
const HEARTBEAT: Duration = Duration::from_secs(8);
/// Runs that take longer are accepted by a signed word first.
const ACCEPT_AFTER: Duration = Duration::from_secs(1);
/// How often runs are looked through for that, and leases for their ends.
const SIDE_EVERY: Duration = Duration::from_millis(200);
/// How long to wait where only the operator can change something.
const HOPELESS: Duration = Duration::from_secs(30);
/// How long to wait where the membership is to change.
const UNREGISTERED: Duration = Duration::from_secs(5);
/// How long to wait for acknowledgements that the coordinator must have sent.
const RECORDED: Duration = Duration::from_millis(20);
/// An answer without work that comes sooner than this was not waited for.
const FAST: Duration = Duration::from_millis(100);

/// How a greeting failed.
enum NoWelcome {
    Api(ApiError),
    Distrust(Distrust),
    /// Journal and coordinator contradict each other.
    Standing(Standing),
    Journal(String),
}

/// What an answer to a poll brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// Work, or the end of some.
    Some,
    /// The coordinator has receipts whose acknowledgements are on their way.
    Recorded,
    /// Nothing.
    None,
}

/// How polling ended.
enum Next {
    Greet,
    Failed(Option<Duration>),
}

/// Greets and polls until the session ends.
pub(super) async fn run(session: Arc<Session>) {
    let end = session.end.clone();
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = work(&session) => {}
    }
}

async fn work(session: &Arc<Session>) {
    let mut backoff = Backoff::default();
    let mut network = session.shared.network.clone();
    loop {
        let view = network.borrow_and_update().clone();
        let obstacle = view.obstacle(&session.shared.node, &session.shared.engine);
        if let Some((code, detail)) = obstacle.clone() {
            session.idle(code, detail);
        }
        // Whatever the membership here says: what was done before is handed in once the coordinator
        // has said what it has; and one that knows of a newer membership may have welcomed this
        // miner, draws it from then on, and takes it for silent if it does not ask.
        let wait = match session.greet().await {
            Ok(()) => match session.poll(&mut network, &mut backoff).await {
                Next::Greet => continue,
                Next::Failed(at_least) => backoff.next(&session.shared.rng, at_least),
            },
            Err(_) if obstacle.is_some() => UNREGISTERED,
            Err(no) => {
                let at_least = session.not_welcome(no);
                backoff.next(&session.shared.rng, at_least)
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            () = changed(&mut network) => {}
        }
    }
}

/// Completes when there is another membership; never, if nobody looks for one any more.
async fn changed(network: &mut NetworkWatch) {
    if network.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Session {
    /// Says hello, and compares the journal with what the coordinator has.
    async fn greet(self: &Arc<Self>) -> Result<(), NoWelcome> {
        let hello = self.hello();
        let welcome = self.api.hello(&hello).await.map_err(NoWelcome::Api)?;
        // At once: its time of arrival is what the coordinator measures.
        self.echo(welcome.echo);
        self.active(&welcome.active).map_err(NoWelcome::Distrust)?;
        let (coordinator, last_seq, last_receipt) =
            (self.coordinator, welcome.last_seq, welcome.last_receipt);
        let standing = self
            .shared
            .journal
            .ask(move |journal| {
                let standing = journal.standing(&coordinator, last_seq, &last_receipt)?;
                if let Standing::Behind { has } = standing {
                    let again = journal.rewind(&coordinator, has)?;
                    if again > 0 {
                        tracing::warn!(
                            receipts = again,
                            after = has,
                            "the coordinator lacks receipts that it had acknowledged: they are handed in again"
                        );
                    }
                }
                Ok(standing)
            })
            .await
            .map_err(|error| NoWelcome::Journal(error.to_string()))?;
        self.greeted.send_modify(|(count, last)| {
            *count = count.wrapping_add(1);
            *last = Some(standing);
        });
        match standing.is_sound() {
            true => Ok(()),
            false => Err(NoWelcome::Standing(standing)),
        }
    }

    /// The numbers of the devices that are offered.
    fn offered(&self) -> Vec<usize> {
        let state = self.shared.scheduler.state();
        let paused = |at: usize| state.get(at).is_some_and(|s| s.0 == Some(Held::Paused));
        // A hello names a device at least; with all of them paused, no work is asked for.
        let all_paused = (0..state.len()).all(paused);
        (0..state.len())
            .filter(|at| all_paused || !paused(*at))
            .take(DEVICES_MAX)
            .collect()
    }

    fn hello(&self) -> Hello {
        let devices = self.shared.scheduler.devices();
        let offered = self.offered();
        let offered = offered.iter().filter_map(|at| devices.get(*at));
        let offered = offered.map(|device| OfferedDevice {
            environment: device.environment.clone(),
            gpu: device.gpu,
            memory_bytes: device.memory_bytes,
        });
        Hello {
            genesis: self.authority.genesis,
            software: self.shared.options.software.clone(),
            engine: self.shared.engine,
            devices: offered.collect(),
            slots: self.held.capacity(),
            hardware: self.shared.options.hardware.clone().map(Into::into),
        }
    }

    /// Sends an echo, without anyone waiting for it.
    fn echo(self: &Arc<Self>, echo: [u8; 32]) {
        let session = self.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let echo = Echo { echo };
            let request = session.api.echo(&echo);
            if let Ok(Ok(())) = tokio::time::timeout(HEARTBEAT, request).await {
                let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                session.state().round_trip_us = Some(took);
            }
        });
    }

    /// Says why there is no work, and how long to wait at least.
    fn not_welcome(&self, no: NoWelcome) -> Option<Duration> {
        match no {
            NoWelcome::Api(error) => {
                self.trouble("hello", &error);
                self.idle(error.code(), error.to_string());
                error.retry_after()
            }
            NoWelcome::Distrust(why) => {
                self.distrust(&why);
                self.idle(Code::BadAnswer, why.to_string());
                None
            }
            NoWelcome::Standing(standing) => {
                let detail = match standing {
                    Standing::Lost {
                        journal,
                        coordinator,
                    } => format!(
                        "the coordinator has receipt {coordinator} of this miner, and the newest in the journal is {journal}: the journal was lost, or an older one was restored; hint: restore the newest, or register a new node key"
                    ),
                    Standing::Forked { seq } => format!(
                        "receipt {seq} of this miner at the coordinator is another than in the journal: two miners use one node key, or the journal was restored; hint: end the other one, and register a new node key"
                    ),
                    Standing::Agreed | Standing::Behind { .. } => String::new(),
                };
                self.idle(Code::JournalLost, detail);
                Some(HOPELESS)
            }
            NoWelcome::Journal(why) => {
                self.idle(Code::StateCorrupt, why);
                None
            }
        }
    }

    /// How much work to ask for, or why for none.
    fn want(&self) -> Result<u32, (Code, String)> {
        match self.shared.mode() {
            Mode::Working => {}
            Mode::Draining => return Err((Code::Draining, "the miner drains".to_owned())),
            Mode::Stopping => return Err((Code::Draining, "the miner is about to end".to_owned())),
        }
        if let Some(why) = self.shared.journal.health().failing() {
            return Err((Code::DiskFull, why));
        }
        let devices = self.shared.scheduler.state();
        let held: Vec<Held> = devices.iter().filter_map(|(held, _)| *held).collect();
        if held.len() == devices.len() {
            return Err(match held.contains(&Held::Hot) {
                true => (
                    Code::DeviceHot,
                    "every device is too hot or paused".to_owned(),
                ),
                false => (Code::Paused, "every device is paused".to_owned()),
            });
        }
        match self.held.room() {
            0 => Err((
                Code::SlotsFull,
                format!("{} assignments are held", self.held.capacity()),
            )),
            room => Ok(room),
        }
    }

    /// The number to ask for. Zero says that the miner is paused, and takes it out of draws; one
    /// that is only full has room again soon.
    fn asked(&self, want: &Result<u32, (Code, String)>) -> u32 {
        match want {
            Ok(room) => *room,
            Err((Code::SlotsFull, _)) => 1,
            Err(_) => 0,
        }
    }

    /// Whether it is worth asking: there is much room, or little left to do. Else a miner that ends
    /// a run each millisecond would send a request for each.
    fn worth_asking(&self, room: u32) -> bool {
        let slots: u32 = self
            .shared
            .scheduler
            .devices()
            .iter()
            .map(|d| d.slots)
            .sum();
        let waiting = self.shared.scheduler.waiting(&self.coordinator);
        room >= self.held.capacity().div_ceil(4) || waiting < slots as usize
    }

    /// Polls until something else is to be done.
    async fn poll(self: &Arc<Self>, network: &mut NetworkWatch, backoff: &mut Backoff) -> Next {
        let mut mode = self.shared.mode.subscribe();
        let mut devices = self.shared.devices_changed.subscribe();
        let mut last = Instant::now()
            .checked_sub(HEARTBEAT)
            .unwrap_or_else(Instant::now);
        let mut fast = Backoff::default();
        loop {
            mode.borrow_and_update();
            devices.borrow_and_update();
            let offered = self.offered();
            let want = self.want();
            let asks = want.as_ref().is_ok_and(|room| self.worth_asking(*room));
            if !asks && last.elapsed() < HEARTBEAT {
                if let Err((code, detail)) = &want {
                    self.idle(*code, detail.clone());
                }
                let heartbeat = HEARTBEAT.saturating_sub(last.elapsed());
                tokio::select! {
                    biased;
                    () = self.greet_again.notified() => return Next::Greet,
                    () = changed(network) => return Next::Greet,
                    _ = mode.changed() => continue,
                    _ = devices.changed() => match self.offered() == offered {
                        true => continue,
                        false => return Next::Greet,
                    },
                    // Before what may change all the time.
                    () = tokio::time::sleep(heartbeat) => {}
                    () = self.held.changed() => continue,
                }
            }
            let room = self.asked(&want);
            let wait = match asks {
                true => self.shared.options.poll_wait,
                false => Duration::ZERO,
            };
            let poll = self.ask(room, wait);
            let begun = Instant::now();
            let answer = tokio::select! {
                biased;
                answer = self.api.poll(&poll) => Ok(answer),
                // What was under way comes again with the next poll.
                _ = mode.changed() => Err(false),
                _ = devices.changed() => Err(self.offered() != offered),
                () = self.greet_again.notified() => Err(true),
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(greet) => {
                    self.unaccepted(&poll);
                    match greet {
                        true => return Next::Greet,
                        false => continue,
                    }
                }
            };
            last = Instant::now();
            match answer {
                Ok(answer) => match self.answered(answer, want.err(), &poll.working).await {
                    // The next answer would say the same until the acknowledgements are here.
                    Ok(News::Recorded) => {
                        fast.reset();
                        backoff.reset();
                        let _ = tokio::time::timeout(RECORDED, self.held.changed()).await;
                    }
                    // Nobody waited: without a pause this would be a busy loop.
                    Ok(News::None) if asks && begun.elapsed() < FAST => {
                        let pause = fast.next(&self.shared.rng, None);
                        tokio::time::sleep(pause).await;
                    }
                    Ok(News::Some | News::None) => {
                        fast.reset();
                        backoff.reset();
                    }
                    Err(why) => {
                        self.distrust(&why);
                        self.idle(Code::BadAnswer, why.to_string());
                        return Next::Failed(None);
                    }
                },
                Err(error) => {
                    self.unaccepted(&poll);
                    self.trouble("poll", &error);
                    if error.code().as_str() == "hello-first" {
                        return Next::Greet;
                    }
                    self.idle(error.code(), error.to_string());
                    return Next::Failed(error.retry_after());
                }
            }
        }
    }

    /// The next poll, with the acceptances that are due.
    fn ask(&self, want: u32, wait: Duration) -> Poll {
        let due = self.held.accept(ACCEPT_AFTER, BATCH_MAX);
        self.ask_with(due, want, wait)
    }

    fn ask_with(&self, accepted: Vec<Hash>, want: u32, wait: Duration) -> Poll {
        let at_ms = self.now_ms();
        let accept = |assignment| {
            let acceptance = Acceptance {
                assignment,
                miner: self.shared.node,
                at_ms,
            };
            acceptance.sign(&self.shared.key, &mut self.shared.rng.clone())
        };
        Poll {
            want: want.min(BATCH_MAX as u32),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            accepted: accepted.into_iter().map(accept).collect(),
            working: self.held.working(),
        }
    }

    /// The acceptances of a poll that failed are to be sent again.
    fn unaccepted(&self, poll: &Poll) {
        let accepted = |signed: &Signed<Acceptance>| signed.unverified().ok().map(|a| a.assignment);
        let ids: Vec<_> = poll.accepted.iter().filter_map(accepted).collect();
        self.held.not_accepted(&ids);
    }

    /// Takes in what a poll brought that named these assignments as worked on.
    async fn answered(
        self: &Arc<Self>,
        answer: PollAnswer,
        unwilling: Option<(Code, String)>,
        working: &[Hash],
    ) -> Result<News, Distrust> {
        self.active(&answer.active)?;
        if let Some(echo) = &answer.echo {
            let echo: [u8; 32] = echo
                .as_slice()
                .try_into()
                .map_err(|_| Distrust::Contradiction("the bytes to be echoed are not 32"))?;
            self.echo(echo);
        }
        let ended = self.ended(&answer.ended, working);
        if answer.work.is_empty() {
            let idle = answer.idle.as_deref().map(|code| code.parse::<Code>());
            match (unwilling, idle) {
                (Some((code, detail)), _) => self.idle(code, detail),
                (None, Some(Ok(code))) => self.idle(code, code.summary()),
                (None, Some(Err(_))) => self.idle(
                    Code::NoTasks,
                    format!(
                        "the coordinator gives a reason that this program does not know: {}",
                        tame(answer.idle.as_deref().unwrap_or_default())
                    ),
                ),
                (None, None) => self.idle(Code::NoTasks, "the coordinator gives no reason"),
            }
            return Ok(ended);
        }
        let taken = self.take_in(answer.work).await;
        if taken > 0 {
            self.busy();
            return Ok(News::Some);
        }
        Ok(ended)
    }

    /// Lets go of assignments that the coordinator says have ended. What runs is told to end, and
    /// its receipt says so; what does not run yet never will.
    fn ended(self: &Arc<Self>, ids: &[Hash], working: &[Hash]) -> News {
        let mut news = News::None;
        let polled: HashSet<&Hash> = match ids.is_empty() {
            true => HashSet::new(),
            false => working.iter().collect(),
        };
        for id in ids {
            match self.held.cancel(id) {
                // Its acknowledgement came while the poll was on its way: the next poll does not
                // name it, and is answered by something else.
                None if polled.contains(id) => news = News::Some,
                None => {}
                Some(Stage::Fetching | Stage::Waiting) => {
                    news = News::Some;
                    drop(self.shared.scheduler.remove(&self.coordinator, id));
                    self.over(&[*id]);
                }
                Some(Stage::Running(_)) => news = News::Some,
                // The answer to the receipt ends it.
                Some(Stage::Recorded) if news == News::None => news = News::Recorded,
                Some(Stage::Recorded) => {}
            }
        }
        news
    }
}

/// Sends acceptances while a poll waits, and lets go of leases that ended before their turn.
pub(super) async fn side(session: Arc<Session>) {
    let mut every = tokio::time::interval(SIDE_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = session.end.cancelled() => return,
            _ = every.tick() => {}
        }
        for id in session.held.expired(session.now_ms()) {
            tracing::info!(assignment = %id, "the lease ended before its turn");
            session.shared.metrics.refused("expired-here");
            drop(session.shared.scheduler.remove(&session.coordinator, &id));
            session.over(&[id]);
        }
        let due = session.held.accept(ACCEPT_AFTER, BATCH_MAX);
        if due.is_empty() {
            continue;
        }
        let room = session.asked(&session.want());
        let poll = session.ask_with(due, room, Duration::ZERO);
        match session.api.poll(&poll).await {
            Ok(answer) => {
                if let Err(why) = session.answered(answer, None, &poll.working).await {
                    session.unaccepted(&poll);
                    session.distrust(&why);
                }
            }
            Err(error) => {
                session.unaccepted(&poll);
                session.trouble("acceptance", &error);
                tokio::time::sleep(SIDE_EVERY).await;
            }
        }
    }
}
