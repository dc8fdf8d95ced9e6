//! Trace contexts (W3C Trace Context, level 1): which request belongs to which.
//!
//! A server takes the context from the header `traceparent`, or begins one, and opens a span with
//! it. A client that is used within the request passes it on, so that the logs of all nodes that
//! took part can be joined by `trace_id`.

use std::fmt;

use adit_protocol::hex::{digits, from_digits};
use adit_protocol::rand_core::{OsRng, RngCore as _};
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::Instrument as _;

/// The header (W3C Trace Context, 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// One step of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    sampled: bool,
}

impl TraceContext {
    /// The first step of a new trace.
    pub fn begin() -> TraceContext {
        let mut trace_id = [0; 16];
        OsRng.fill_bytes(&mut trace_id);
        TraceContext {
            trace_id,
            span_id: [0; 8],
            sampled: false,
        }
        .next()
    }

    /// A further step of the same trace.
    #[must_use]
    pub fn next(self) -> TraceContext {
        let mut span_id = [0; 8];
        OsRng.fill_bytes(&mut span_id);
        TraceContext { span_id, ..self }
    }

    /// The next step of the trace that a header's value names, or the first one of a new trace, if
    /// there is none that can be read.
    pub fn continued(given: Option<&str>) -> TraceContext {
        let given = given.and_then(TraceContext::parse);
        given.map_or_else(TraceContext::begin, TraceContext::next)
    }

    /// The step that the current request is, if there is one.
    pub fn current() -> Option<TraceContext> {
        CURRENT.try_with(|current| *current).ok()
    }

    /// Runs a future as this step. A task that it spawns does not inherit it.
    pub async fn scope<T>(self, future: impl Future<Output = T>) -> T {
        CURRENT.scope(self, future).await
    }

    /// Reads the header's value. Of a version that is not known, what level 1 defines is read.
    pub fn parse(value: &str) -> Option<TraceContext> {
        // 55 characters are version 00; later ones may have more, behind another hyphen.
        let (known, rest) = value.split_at_checked(55)?;
        let mut parts = known.split('-');
        let version = from_digits::<1>(parts.next()?)?;
        let trace_id = from_digits::<16>(parts.next()?)?;
        let span_id = from_digits::<8>(parts.next()?)?;
        let flags = from_digits::<1>(parts.next()?)?;
        let more = match version {
            [0xff] => return None,
            [0] => rest.is_empty(),
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        let valid = parts.next().is_none() && more && trace_id != [0; 16] && span_id != [0; 8];
        valid.then_some(TraceContext {
            trace_id,
            span_id,
            sampled: flags[0] & 1 == 1,
        })
    }

    /// The 32 digits that all steps of a trace share.
    pub fn trace_id(&self) -> String {
        digits(&self.trace_id)
    }

    /// Puts the header in place.
    pub fn inject(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::try_from(self.to_string()) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

/// The header's value.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (digits(&self.trace_id), digits(&self.span_id));
        write!(f, "00-{trace}-{span}-0{}", u8::from(self.sampled))
    }
}

/// The middleware of a server: every request is a step of a trace, and has a span.
pub(crate) async fn layer(mut request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(&TRACEPARENT)
        .and_then(|value| value.to_str().ok());
    let context = TraceContext::continued(given);
    request.extensions_mut().insert(context);
    let route = request.extensions().get::<MatchedPath>();
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        route = route.map_or("", MatchedPath::as_str),
        trace_id = %context.trace_id(),
    );
    let answer = async {
        let response = next.run(request).await;
        tracing::debug!(status = response.status().as_u16(), "answered");
        response
    };
    context.scope(answer.instrument(span)).await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_is_read_and_written() {
        let context = TraceContext::parse(EXAMPLE).unwrap();
        assert_eq!(context.to_string(), EXAMPLE);
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let next = context.next();
        assert_eq!(next.trace_id(), context.trace_id());
        assert_ne!(next, context);
        assert!(next.sampled);
    }

    #[test]
    fn what_is_not_valid_begins_a_new_trace() {
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(wrong), None, "{wrong}");
        }
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes";
        assert!(TraceContext::parse(later).is_some());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in ".{0,80}") {
            let _ = TraceContext::parse(&text);
        }

        #[test]
        fn what_is_written_is_read(_n in 0..64u8) {
            let context = TraceContext::begin();
            prop_assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        }
    }
}
