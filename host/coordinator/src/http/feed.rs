//! Events of tasks that are watched: kept for a while, so that a client whose connection broke can
//! go on where it was.
//!
//! A task has a feed from the first time that someone watches it until a minute after its end, or
//! after the last watcher has left. Nothing is kept of tasks that nobody watches.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use adit_protocol::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tokio::sync::{Notify, broadcast};
use utoipa::ToSchema;

use crate::Refusal;
use crate::engine::Handle;
use crate::view::{ProgressView, Reason, TaskEvent, TaskState};

/// Events and bytes that a feed keeps. The oldest go first.
const EVENTS_MAX: usize = 1024;
const BYTES_MAX: usize = 4 << 20;
/// Feeds at one time; those that one watcher has begun.
const FEEDS_MAX: usize = 4096;
const FEEDS_EACH: usize = 256;
/// Bytes of all feeds; of those that one watcher has begun.
const BYTES_ALL: usize = 256 << 20;
const BYTES_EACH: usize = 32 << 20;
/// How long a feed is kept that nobody watches, or whose task has ended.
const LINGER: Duration = Duration::from_secs(60);

/// What happens to a task, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum EventView {
    /// It is in this state. The first event of a feed is one.
    State {
        /// The state.
        state: TaskState,
        /// Why, where that is to be said.
        reason: Option<Reason>,
    },
    /// The guest said how far it is.
    Progress {
        /// The attempt that says so.
        attempt: u32,
        /// How far it is.
        progress: ProgressView,
    },
    /// The guest emitted a part of its output. Nobody has confirmed it yet: the result does.
    Chunk {
        /// The attempt that emitted it; chunks of an earlier one count no more.
        attempt: u32,
        /// Number of the report that it came with, ascending in an attempt.
        number: u64,
        /// The bytes in base64.
        chunk: String,
    },
    /// Events before this one are not to be had any more: what was emitted is in the result.
    Lost {
        /// How many at least; 0 if that is not known.
        count: u64,
    },
}

/// An event with its number in the feed.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// From 1.
    pub number: u64,
    /// Its JSON.
    pub json: Arc<str>,
}

/// All feeds.
#[derive(Clone, Default)]
pub struct Feeds(Arc<Mutex<Listed>>);

#[derive(Default)]
struct Listed {
    feeds: HashMap<Hash, Weak<Feed>>,
    /// By who has begun feeds; each of them holds its share.
    shares: HashMap<Watcher, Weak<Share>>,
    all: Arc<Share>,
}

/// Who watches, so that nobody takes the room of others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Watcher {
    /// All without a token, together.
    Anyone,
    /// A client, by its name.
    Client(String),
    /// A node, by its key.
    Node([u8; 32]),
}

/// Bytes that feeds keep.
#[derive(Default)]
struct Share(AtomicUsize);

/// The events of one task.
pub struct Feed {
    /// Tells this feed from an earlier one of the same task, whose numbers mean nothing here.
    pub nonce: u64,
    ring: Mutex<Ring>,
    changed: Notify,
    /// Of who began it, and of all.
    shares: [Arc<Share>; 2],
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Numbered>,
    bytes: usize,
    next: u64,
    ended: bool,
}

/// What a watcher finds.
pub enum Next {
    /// Events, ascending, and how many before them are gone.
    Events(Vec<Numbered>, u64),
    /// The task has ended, and all events were seen.
    End,
}

impl Feeds {
    /// The feed of a task, begun if there is none.
    ///
    /// # Errors
    /// `unknown-task`; `overloaded` if too many tasks are watched, or too many by this watcher.
    pub async fn of(
        &self,
        handle: &Handle,
        task: Hash,
        watcher: Watcher,
    ) -> Result<Arc<Feed>, Refusal> {
        if let Some(feed) = self.find(&task) {
            return Ok(feed);
        }
        let shares = self.listed().shares_of(watcher)?;
        let (view, events) = handle.events(task).await?;
        let feed = Arc::new(Feed::new(shares));
        feed.push(&EventView::State {
            state: view.state,
            reason: view.reason,
        });
        let Some(events) = events else {
            feed.end();
            return Ok(feed);
        };
        {
            let feeds = &mut self.listed().feeds;
            // Two may have begun it at the same time: the first one stays.
            if let Some(other) = feeds.get(&task).and_then(Weak::upgrade) {
                return Ok(other);
            }
            if feeds.len() >= FEEDS_MAX {
                feeds.retain(|_, feed| feed.strong_count() > 0);
            }
            if feeds.len() >= FEEDS_MAX {
                return Err(too_many(format!("{FEEDS_MAX} tasks are watched already")));
            }
            feeds.insert(task, Arc::downgrade(&feed));
        }
        tokio::spawn(follow(Arc::clone(&feed), events, self.clone(), task));
        Ok(feed)
    }

    fn find(&self, task: &Hash) -> Option<Arc<Feed>> {
        self.listed().feeds.get(task).and_then(Weak::upgrade)
    }

    fn listed(&self) -> std::sync::MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    fn shares_of(&mut self, watcher: Watcher) -> Result<[Arc<Share>; 2], Refusal> {
        let known = self.shares.get(&watcher).and_then(Weak::upgrade);
        let share = known.unwrap_or_default();
        // This is one more than the feeds that hold it.
        if Arc::strong_count(&share) > FEEDS_EACH {
            return Err(too_many(format!(
                "{FEEDS_EACH} tasks are watched by you already, or were a minute ago"
            )));
        }
        if self.shares.len() >= FEEDS_MAX {
            self.shares.retain(|_, share| share.strong_count() > 0);
        }
        self.shares.insert(watcher, Arc::downgrade(&share));
        Ok([share, Arc::clone(&self.all)])
    }
}

fn too_many(what: String) -> Refusal {
    let hint = "wait for the result instead: GET /v1/tasks/ID?wait=60";
    Refusal::new(adit_protocol::Code::Overloaded, what, hint).after(5_000)
}

/// Fills a feed until its task has ended, or nobody has watched it for a while.
async fn follow(
    feed: Arc<Feed>,
    mut events: broadcast::Receiver<Arc<TaskEvent>>,
    feeds: Feeds,
    task: Hash,
) {
    let mut alone = tokio::time::Instant::now();
    loop {
        // The feed itself, and nobody else.
        if Arc::strong_count(&feed) > 1 {
            alone = tokio::time::Instant::now();
        }
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Ok(event) => feed.push(&shown(&event)),
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    feed.push(&EventView::Lost { count });
                }
                Err(broadcast::error::RecvError::Closed) => break,
            },
            () = tokio::time::sleep_until(alone + LINGER) => {
                // Watchers are found under this lock, so that none comes in between. The next one
                // begins another feed.
                let feeds = &mut feeds.listed().feeds;
                if Arc::strong_count(&feed) == 1 {
                    remove(feeds, &task, &feed);
                    return;
                }
            }
        }
    }
    feed.end();
    tokio::time::sleep(LINGER).await;
    remove(&mut feeds.listed().feeds, &task, &feed);
}

/// Takes a feed out of the list, unless there is another one of its task by now.
fn remove(feeds: &mut HashMap<Hash, Weak<Feed>>, task: &Hash, feed: &Arc<Feed>) {
    let listed = feeds.get(task);
    if listed.is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(feed))) {
        feeds.remove(task);
    }
}

fn shown(event: &TaskEvent) -> EventView {
    match event {
        TaskEvent::State { state, reason } => EventView::State {
            state: *state,
            reason: reason.clone(),
        },
        TaskEvent::Progress { attempt, progress } => EventView::Progress {
            attempt: *attempt,
            progress: progress.clone(),
        },
        TaskEvent::Chunk {
            attempt,
            number,
            chunk,
        } => EventView::Chunk {
            attempt: *attempt,
            number: *number,
            chunk: STANDARD.encode(chunk),
        },
    }
}

impl Feed {
    fn new(shares: [Arc<Share>; 2]) -> Feed {
        Feed {
            nonce: rand_core::RngCore::next_u64(&mut rand_core::OsRng),
            ring: Mutex::new(Ring {
                next: 1,
                ..Ring::default()
            }),
            changed: Notify::new(),
            shares,
        }
    }

    fn push(&self, event: &EventView) {
        // Numbers, texts and base64 only, so that it cannot fail.
        let json: Arc<str> = serde_json::to_string(event).unwrap_or_default().into();
        let mut ring = self.ring();
        let number = ring.next;
        ring.next += 1;
        ring.bytes += json.len();
        for share in &self.shares {
            share.0.fetch_add(json.len(), Ordering::Relaxed);
        }
        ring.events.push_back(Numbered { number, json });
        while ring.events.len() > EVENTS_MAX || (self.is_over(&ring) && ring.events.len() > 1) {
            let Some(oldest) = ring.events.pop_front() else {
                break;
            };
            ring.bytes = ring.bytes.saturating_sub(oldest.json.len());
            self.give_back(oldest.json.len());
        }
        drop(ring);
        self.changed.notify_waiters();
    }

    /// Whether the feed, those of who began it, or all keep too many bytes.
    fn is_over(&self, ring: &Ring) -> bool {
        let [own, all] = &self.shares;
        ring.bytes > BYTES_MAX
            || own.0.load(Ordering::Relaxed) > BYTES_EACH
            || all.0.load(Ordering::Relaxed) > BYTES_ALL
    }

    fn give_back(&self, bytes: usize) {
        for share in &self.shares {
            share.0.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn end(&self) {
        self.ring().ended = true;
        self.changed.notify_waiters();
    }

    /// Number of the event that comes next.
    pub fn upcoming(&self) -> u64 {
        self.ring().next
    }

    /// Events from the number `from` on, at most 64; waits until there is one.
    pub async fn next(&self, from: u64) -> Next {
        loop {
            // Registered before the look, so that nothing falls in between.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let ring = self.ring();
                let first = ring.events.front().map_or(ring.next, |event| event.number);
                let found: Vec<Numbered> = ring
                    .events
                    .iter()
                    .skip_while(|event| event.number < from)
                    .take(64)
                    .cloned()
                    .collect();
                if !found.is_empty() {
                    return Next::Events(found, first.saturating_sub(from));
                }
                if ring.ended {
                    return Next::End;
                }
            }
            changed.await;
        }
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let bytes = self.ring().bytes;
        self.give_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> Feed {
        Feed::new(Default::default())
    }

    fn progress(done: u64) -> EventView {
        EventView::Progress {
            attempt: 0,
            progress: ProgressView {
                done,
                total: 0,
                note: String::new(),
            },
        }
    }

    #[tokio::test]
    async fn a_watcher_goes_on_where_it_was_and_is_told_what_is_gone() {
        let feed = feed();
        for done in 1..=10 {
            feed.push(&progress(done));
        }
        let Next::Events(events, lost) = feed.next(8).await else {
            panic!("the events are there");
        };
        assert_eq!((events.len(), lost), (3, 0));
        assert!(events[0].json.contains("\"done\":8"));
        for done in 0..EVENTS_MAX as u64 {
            feed.push(&progress(done));
        }
        let Next::Events(events, lost) = feed.next(8).await else {
            panic!("the events are there");
        };
        assert_eq!((events[0].number, lost), (11, 3));
        feed.end();
        let last = feed.upcoming();
        assert!(matches!(feed.next(last).await, Next::End));
    }

    #[tokio::test]
    async fn the_bytes_of_a_feed_are_bounded() {
        let feed = feed();
        for number in 0..10 {
            feed.push(&EventView::Chunk {
                attempt: 0,
                number,
                chunk: "A".repeat(1 << 20),
            });
        }
        let ring = feed.ring();
        assert!(ring.bytes <= BYTES_MAX && !ring.events.is_empty());
    }

    #[test]
    fn a_watcher_has_a_share_of_feeds_and_bytes() {
        let mut listed = Listed::default();
        let mut begin = |watcher: &Watcher| listed.shares_of(watcher.clone()).map(Feed::new);
        let (one, other) = (Watcher::Client("a".to_owned()), Watcher::Node([1; 32]));
        let mut feeds: Vec<_> = (0..FEEDS_EACH).map(|_| begin(&one).unwrap()).collect();
        let refusal = begin(&one).err().unwrap();
        assert_eq!(refusal.code, adit_protocol::Code::Overloaded);
        assert!(begin(&other).is_ok() && begin(&Watcher::Anyone).is_ok());
        let kept = |feeds: &[Feed]| feeds.iter().map(|feed| feed.ring().bytes).sum::<usize>();
        for number in 0..2 {
            for feed in &feeds {
                feed.push(&EventView::Chunk {
                    attempt: 0,
                    number,
                    chunk: "A".repeat(BYTES_EACH / FEEDS_EACH),
                });
            }
        }
        // The last event of each stays; what is above is a chunk's surroundings.
        assert!(kept(&feeds) < BYTES_EACH + FEEDS_EACH * 256);
        assert!(feeds.iter().all(|feed| !feed.ring().events.is_empty()));
        let all = Arc::clone(&feeds[0].shares[1]);
        feeds.pop();
        let again = begin(&one).unwrap();
        assert_eq!(all.0.load(Ordering::Relaxed), kept(&feeds));
        feeds.clear();
        drop(again);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_waiting_watcher_wakes_up() {
        let feed = Arc::new(feed());
        let waiting = tokio::spawn({
            let feed = Arc::clone(&feed);
            async move { matches!(feed.next(1).await, Next::Events(events, 0) if events.len() == 1) }
        });
        tokio::task::yield_now().await;
        feed.push(&progress(1));
        assert!(waiting.await.unwrap());
    }
}
