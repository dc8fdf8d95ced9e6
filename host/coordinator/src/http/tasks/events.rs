//! What happens to a task, as it happens: server-sent events.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use adit_net::Problem;
use adit_net::http::extract::Path;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use http::HeaderMap;
use utoipa::openapi::RefOr;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::super::app::App;
use super::super::feed::{EventView, Feed, Next, Watcher};
use super::super::who::Reader;
use super::super::wire::HashText;
use super::sight;

/// How often something is sent where nothing happens, so that nobody on the way takes the
/// connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The events of a task: its state at first, then each change, the guest's progress, and what it
/// emits. The stream ends when the task has ended. A client whose connection breaks goes on by
/// sending the last `id` in the header `last-event-id`; what is not to be had any more is told by
/// an event of the type `lost`.
#[utoipa::path(get, path = "/v1/tasks/{task}/events", tag = "tasks",
    params(("task" = HashText, Path, description = "its id"),
        ("last-event-id" = Option<String>, Header, description = "the last id that arrived")),
    security((), ("token" = []), ("node_signature" = [])),
    responses((status = 200, description = "events with JSON data", body = Sent,
            content_type = "text/event-stream"),
        (status = 403, description = "the task is another client's, and not public"),
        (status = 404, description = "there is no such task"),
        (status = 503, description = "too many tasks are watched, by all or by this client")))]
pub async fn stream(
    State(app): State<App>,
    Path(HashText(task)): Path<HashText>,
    reader: Reader,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    sight(&app, task, &reader).await?;
    let feed = app.feeds.of(&app.handle, task, watcher(&reader)).await?;
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once('-'))
        .and_then(|(nonce, number)| {
            let nonce = u64::from_str_radix(nonce, 16).ok()?;
            Some((nonce, number.parse::<u64>().ok()?))
        });
    let at = match last {
        Some((nonce, number)) if nonce == feed.nonce => Position::From(number.saturating_add(1)),
        // An id of an earlier feed: nothing is known of what was missed.
        Some(_) => Position::Lost(1),
        None => Position::From(1),
    };
    let events = events(feed, at, app.draining.clone());
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

fn watcher(reader: &Reader) -> Watcher {
    match reader {
        Reader::Anyone => Watcher::Anyone,
        Reader::Client(client) => Watcher::Client(client.name.clone()),
        Reader::Node(node) => Watcher::Node(*node),
    }
}

enum Position {
    From(u64),
    /// Something is missing before this number, and is to be told of first.
    Lost(u64),
}

fn events(
    feed: Arc<Feed>,
    at: Position,
    draining: tokio_util::sync::CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let state = (feed, at, std::collections::VecDeque::new());
    futures_util::stream::unfold(state, move |(feed, at, mut ready)| {
        let draining = draining.clone();
        async move {
            let mut at = at;
            loop {
                if let Some(event) = ready.pop_front() {
                    return Some((Ok(event), (feed, at, ready)));
                }
                let from = match at {
                    Position::From(from) => from,
                    Position::Lost(from) => {
                        at = Position::From(from);
                        ready.push_back(lost(0));
                        continue;
                    }
                };
                let next = tokio::select! {
                    biased;
                    next = feed.next(from) => next,
                    // The connection ends; the client comes back with its last id.
                    () = draining.cancelled() => return None,
                };
                match next {
                    Next::End => return None,
                    Next::Events(events, gone) => {
                        if gone > 0 {
                            ready.push_back(lost(gone));
                        }
                        for event in events {
                            at = Position::From(event.number.saturating_add(1));
                            ready.push_back(
                                Event::default()
                                    .id(format!("{:016x}-{}", feed.nonce, event.number))
                                    .data(&*event.json),
                            );
                        }
                    }
                }
            }
        }
    })
}

/// An event as it is sent, for the description of the interface.
struct Sent;

impl PartialSchema for Sent {
    fn schema() -> RefOr<Schema> {
        let text = |description| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .description(Some(description))
        };
        let view = serde_json::json!({ "$ref": "#/components/schemas/EventView" });
        let data = text("What happened, as JSON.")
            .content_media_type("application/json")
            // The builder has no field for it, and writes extensions as they are.
            .extensions(Some(Extensions::from_iter([("contentSchema", view)])));
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("An event of a stream."))
            .property(
                "id",
                text("What to send as `last-event-id` to go on behind it."),
            )
            .property("data", data)
            .required("data")
            .into()
    }
}

impl ToSchema for Sent {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("SentEvent")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((EventView::name().into_owned(), EventView::schema()));
        EventView::schemas(schemas);
    }
}

/// Without an id: it is none of the feed's own events.
fn lost(count: u64) -> Event {
    let json = serde_json::to_string(&EventView::Lost { count }).unwrap_or_default();
    Event::default().data(json)
}
