//! Events of tasks that are watched: kept for a while, so that a client whose connection broke can
//! go on where it was.
//!
//! A task has a feed from the first time that someone watches it until a minute after its end, or
//! after the last watcher has left. Nothing is kept of tasks that nobody watches.

use std::collections::{HashMap, VecDeque};
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
/// Feeds at one time.
const FEEDS_MAX: usize = 4096;
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
pub struct Feeds(Arc<Mutex<HashMap<Hash, Weak<Feed>>>>);

/// The events of one task.
pub struct Feed {
    /// Tells this feed from an earlier one of the same task, whose numbers mean nothing here.
    pub nonce: u64,
    ring: Mutex<Ring>,
    changed: Notify,
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
    /// `unknown-task`; `overloaded` if too many tasks are watched.
    pub async fn of(&self, handle: &Handle, task: Hash) -> Result<Arc<Feed>, Refusal> {
        if let Some(feed) = self.find(&task) {
            return Ok(feed);
        }
        let (view, events) = handle.events(task).await?;
        let feed = Arc::new(Feed {
            nonce: rand_core::RngCore::next_u64(&mut rand_core::OsRng),
            ring: Mutex::new(Ring {
                next: 1,
                ..Ring::default()
            }),
            changed: Notify::new(),
        });
        feed.push(&EventView::State {
            state: view.state,
            reason: view.reason,
        });
        let Some(events) = events else {
            feed.end();
            return Ok(feed);
        };
        {
            let mut feeds = self.feeds();
            // Two may have begun it at the same time: the first one stays.
            if let Some(other) = feeds.get(&task).and_then(Weak::upgrade) {
                return Ok(other);
            }
            if feeds.len() >= FEEDS_MAX {
                feeds.retain(|_, feed| feed.strong_count() > 0);
            }
            if feeds.len() >= FEEDS_MAX {
                return Err(Refusal::new(
                    adit_protocol::Code::Overloaded,
                    format!("{FEEDS_MAX} tasks are watched already"),
                    "wait for the result instead: GET /v1/tasks/ID?wait=60",
                )
                .after(5_000));
            }
            feeds.insert(task, Arc::downgrade(&feed));
        }
        tokio::spawn(follow(Arc::clone(&feed), events, self.clone(), task));
        Ok(feed)
    }

    fn find(&self, task: &Hash) -> Option<Arc<Feed>> {
        self.feeds().get(task).and_then(Weak::upgrade)
    }

    fn feeds(&self) -> std::sync::MutexGuard<'_, HashMap<Hash, Weak<Feed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
                let mut feeds = feeds.feeds();
                if Arc::strong_count(&feed) == 1 {
                    remove(&mut feeds, &task, &feed);
                    return;
                }
            }
        }
    }
    feed.end();
    tokio::time::sleep(LINGER).await;
    remove(&mut feeds.feeds(), &task, &feed);
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
    fn push(&self, event: &EventView) {
        // Numbers, texts and base64 only, so that it cannot fail.
        let json: Arc<str> = serde_json::to_string(event).unwrap_or_default().into();
        let mut ring = self.ring();
        let number = ring.next;
        ring.next += 1;
        ring.bytes += json.len();
        ring.events.push_back(Numbered { number, json });
        while ring.events.len() > EVENTS_MAX || (ring.bytes > BYTES_MAX && ring.events.len() > 1) {
            let Some(oldest) = ring.events.pop_front() else {
                break;
            };
            ring.bytes = ring.bytes.saturating_sub(oldest.json.len());
        }
        drop(ring);
        self.changed.notify_waiters();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn feed() -> Feed {
        Feed {
            nonce: 1,
            ring: Mutex::new(Ring {
                next: 1,
                ..Ring::default()
            }),
            changed: Notify::new(),
        }
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
