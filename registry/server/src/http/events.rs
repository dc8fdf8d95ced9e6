//! What happens to the ledger, as it happens: the entries of its log with what they did, as
//! server-sent events.
//!
//! Nothing is kept for a watcher but the number of the entry that comes next: entries are read from
//! the log in pages, as fast as they are taken. So a watcher can be as slow as the server lets a
//! connection be, and begin as far back as it likes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use adit_ledger::entry::LogEntry;
use adit_net::Problem;
use adit_net::http::extract::Query;
use adit_net::http::limit::Place;
use adit_net::http::server::Peer;
use adit_protocol::Code;
use axum::Extension;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::schema::{EventSchema, TreeRootSchema};
use crate::store::{Reader, StoreError};

/// Entries that are read at one time, and their bytes after which no more are.
const PAGE: u64 = 64;
const PAGE_BYTES: usize = 256 * 1024;
/// How often something is sent where nothing happens, so that nobody on the way takes the connection
/// for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The longest stream that can be asked for by its time, in seconds.
const WAIT_S_MAX: u64 = 24 * 3600;

/// An entry of the log and what it did.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum EntryView {
    /// A block begins.
    Block {
        /// Index of the entry in the log.
        leaf: u64,
        /// Its number.
        height: u64,
        /// Its time, in milliseconds since 1970.
        time_ms: u64,
        /// What its beginning did: epochs that began, tokens that were released, rules that changed.
        #[schema(value_type = Vec<EventSchema>)]
        events: serde_json::Value,
    },
    /// A transaction took effect.
    Transaction {
        /// Index of the entry in the log.
        leaf: u64,
        /// Its id.
        id: String,
        /// Its account.
        account: String,
        /// Its number among those of the account.
        number: u64,
        /// Its text.
        text: String,
        /// What it did.
        #[schema(value_type = Vec<EventSchema>)]
        events: serde_json::Value,
    },
    /// An epoch is over.
    Epoch {
        /// Index of the entry in the log.
        leaf: u64,
        /// Its number.
        epoch: u64,
        /// The state at its end, which proofs of accounts are made against.
        #[schema(value_type = TreeRootSchema)]
        state: adit_ledger::tree::TreeRoot,
    },
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct From {
    /// Index of the first entry [default: the one that comes next].
    from: Option<u64>,
    /// After so many seconds the stream ends; 0 to have what is there, and no more [default: it lasts].
    #[param(maximum = 86400)]
    wait: Option<u64>,
}

/// The entries of the log from one on, each as an event with JSON data and the entry's index as `id`.
/// A client whose connection breaks goes on by sending the last `id` in the header `last-event-id`.
/// Nothing is ever left out; what is sent can be compared with the log, which is signed.
#[utoipa::path(get, path = "/v1/events", operation_id = "events", tag = "ledger",
    params(From, ("last-event-id" = Option<String>, Header, description = "the last id that arrived; it goes before `from`")),
    responses((status = 200, description = "events with JSON data", body = EntryView, content_type = "text/event-stream"),
        (status = 503, description = "as many streams are open as are served")))]
pub(super) async fn stream(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Query(From { from, wait }): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers
        .get("last-event-id")
        .map(|value| {
            let number = value
                .to_str()
                .ok()
                .and_then(|text| text.parse::<u64>().ok());
            number.ok_or_else(|| {
                Problem::new(
                    Code::InvalidRequest,
                    "the header `last-event-id` is no number of an entry",
                )
                .hint("send the last `id` that arrived, or leave it out")
            })
        })
        .transpose()?;
    if let Some(wait) = wait.filter(|wait| *wait > WAIT_S_MAX) {
        return Err(Problem::new(
            Code::InvalidRequest,
            format!("the parameter `wait` is {wait}, which is more than {WAIT_S_MAX}"),
        )
        .hint("leave it out for a stream that lasts"));
    }
    let mut size = app.0.handle.shared().size();
    let there = *size.borrow_and_update();
    let from = last.map(|last| last.saturating_add(1)).or(from);
    let next = from.unwrap_or(there);
    if next > there {
        return Err(Problem::new(
            Code::InvalidRequest,
            format!("the log has {there} entries, and none at {next}"),
        )
        .hint("an index that is known from this log means that it was put back from a backup; keep what you have"));
    }
    let place = app.0.streams.take(peer.address.ip())?;
    let watcher = Watcher {
        ends: wait.map(|wait| Instant::now() + Duration::from_secs(wait)),
        size,
        next,
        ready: VecDeque::new(),
        open: Open::new(app.clone(), place),
        app,
    };
    Ok(Sse::new(watcher.events())
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

/// A stream that is open, and counted.
struct Open {
    app: App,
    _place: Place,
}

impl Open {
    fn new(app: App, place: Place) -> Open {
        app.0.figures.watchers.inc();
        Open { app, _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.app.0.figures.watchers.dec();
    }
}

struct Watcher {
    app: App,
    size: watch::Receiver<u64>,
    /// The entry that comes next.
    next: u64,
    ready: VecDeque<Event>,
    ends: Option<Instant>,
    open: Open,
}

impl Watcher {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        futures_util::stream::unfold(self, async |mut watcher| {
            let event = watcher.event().await?;
            Some((Ok(event), watcher))
        })
    }

    /// The next event; `None` at the end of the stream. A client comes back with the last `id`.
    async fn event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let there = *self.size.borrow_and_update();
            if self.next < there {
                self.read(there).await?;
                continue;
            }
            let ends = self.ends;
            let over = async move {
                match ends {
                    Some(ends) => tokio::time::sleep_until(ends).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.open.app.0.draining.cancelled() => return None,
                () = over => return None,
                changed = self.size.changed() => changed.ok()?,
            }
        }
    }

    async fn read(&mut self, there: u64) -> Option<()> {
        let (from, to) = (self.next, there.min(self.next.saturating_add(PAGE)));
        let read = self.app.watch(move |reader| page(reader, from, to)).await;
        let page = read
            .inspect_err(|error| tracing::warn!(%error, "a stream of events was ended"))
            .ok()?;
        self.next = from.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
        for (leaf, json) in (from..).zip(page) {
            self.ready
                .push_back(Event::default().id(leaf.to_string()).data(json));
        }
        Some(())
    }
}

/// Entries as JSON, at least one.
fn page(reader: &Reader, from: u64, to: u64) -> Result<Vec<String>, StoreError> {
    let mut page = Vec::new();
    let mut bytes: usize = 0;
    for leaf in from..to {
        let json = view(reader, leaf)?;
        bytes = bytes.saturating_add(json.len());
        page.push(json);
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

fn view(reader: &Reader, leaf: u64) -> Result<String, StoreError> {
    let entry = reader.entry(leaf)?;
    let damaged = |_| StoreError::Entry { leaf };
    let view = match LogEntry::from_bytes(&entry).map_err(damaged)? {
        LogEntry::Block { height, time_ms } => EntryView::Block {
            leaf,
            height,
            time_ms,
            events: reader.events(leaf)?,
        },
        LogEntry::Epoch(root) => EntryView::Epoch {
            leaf,
            epoch: root.epoch,
            state: root.state,
        },
        LogEntry::Transaction(signed) => EntryView::Transaction {
            leaf,
            id: signed.id().to_string(),
            account: signed.transaction().account.to_string(),
            number: signed.transaction().number,
            text: signed.text().to_owned(),
            events: reader.events(leaf)?,
        },
    };
    // What has strings as keys can be written as JSON.
    Ok(serde_json::to_string(&view).unwrap_or_default())
}
