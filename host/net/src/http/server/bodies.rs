//! Bodies of requests and answers under the watch of their connection.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use thiserror::Error;
use tokio::time::{Instant, Sleep};

use super::Limits;
use super::connection::InFlight;

/// Why a request's body did not arrive.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It trickles.
    #[error(
        "the body came too slowly: {received} bytes in {waited_ms} ms of waiting; hint: send it without pauses"
    )]
    TooSlow {
        /// Bytes that had arrived.
        received: u64,
        /// Time spent waiting for them, in milliseconds.
        waited_ms: u64,
    },
    /// The connection failed, or the body breaks the protocol.
    #[error("the body broke off: {0}")]
    Broken(#[from] hyper::Error),
}

/// The body of a request, which must keep coming while someone waits for it. Time in which the
/// handler does not ask for more does not count against the peer.
pub(super) struct RequestBody {
    /// `None` once it has ended.
    inner: Option<Incoming>,
    wait_max: Duration,
    rate_min: u64,
    received: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    /// Made when it is needed: most bodies are there at once.
    timer: Option<Pin<Box<Sleep>>>,
    drain: bool,
}

/// What is read at most of a body that no handler wanted, so that the peer is through with sending
/// and reads the answer. Closing at once would reset the connection, and the answer with it.
const DRAIN_BYTES_MAX: u64 = 4 * 1024 * 1024;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(2);

impl RequestBody {
    /// `drain` says that an unwanted rest is to be read: for HTTP/1, where it is in the way of the
    /// answer, and for peers that have not asked first whether they may send.
    pub(super) fn new(inner: Incoming, limits: &Limits, drain: bool) -> RequestBody {
        RequestBody {
            inner: (!inner.is_end_stream()).then_some(inner),
            wait_max: Duration::from_millis(limits.body_wait_ms),
            rate_min: limits.body_bytes_per_s_min,
            received: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: None,
            drain,
        }
    }

    /// Time spent waiting so far.
    fn waited(&self, now: Instant) -> Duration {
        let waiting = self.waiting_since.map(|since| now.duration_since(since));
        self.waited.saturating_add(waiting.unwrap_or_default())
    }

    /// When patience ends, from `now` on, if nothing more comes: after the wait for one part, or
    /// when the rate of all falls below the bound, but never before one whole wait has passed.
    fn patience(&self, now: Instant) -> Duration {
        let waiting = self.waiting_since.map(|since| now.duration_since(since));
        let part = self.wait_max.saturating_sub(waiting.unwrap_or_default());
        let earned = match self.rate_min {
            0 => return part,
            rate => Duration::from_millis(self.received.saturating_mul(1000) / rate),
        };
        let whole = self
            .wait_max
            .saturating_add(earned)
            .saturating_sub(self.waited(now));
        part.min(whole)
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) {
            if let Some(since) = this.waiting_since.take() {
                this.waited = this.waited.saturating_add(since.elapsed());
            }
            return Poll::Ready(match frame {
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    this.received = this.received.saturating_add(length as u64);
                    Some(Ok(frame))
                }
                Some(Err(error)) => {
                    this.inner = None;
                    Some(Err(error.into()))
                }
                None => {
                    this.inner = None;
                    None
                }
            });
        }
        let now = Instant::now();
        if this.waiting_since.is_none() {
            this.waiting_since = Some(now);
            let until = now + this.patience(now);
            match &mut this.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => this.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        if let Some(timer) = &mut this.timer {
            ready!(timer.as_mut().poll(cx));
        }
        // A peer that is this slow would be as slow in being drained.
        this.inner = None;
        Poll::Ready(Some(Err(BodyError::TooSlow {
            received: this.received,
            waited_ms: u64::try_from(this.waited(Instant::now()).as_millis()).unwrap_or(u64::MAX),
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(mut rest) = self.inner.take().filter(|_| self.drain) else {
            return;
        };
        let too_large = rest.size_hint().lower() > DRAIN_BYTES_MAX;
        let Some(runtime) = tokio::runtime::Handle::try_current()
            .ok()
            .filter(|_| !too_large)
        else {
            return;
        };
        runtime.spawn(tokio::time::timeout(DRAIN_TIME_MAX, async move {
            let mut read: u64 = 0;
            while let Some(Ok(frame)) = rest.frame().await {
                read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len) as u64);
                if read > DRAIN_BYTES_MAX {
                    break;
                }
            }
        }));
    }
}

/// The body of an answer. It keeps its request counted until it is through, notes when it was last
/// asked for more, and turns a panic of the handler's stream into an error.
pub(super) struct ResponseBody {
    inner: Body,
    rest: Bytes,
    in_flight: InFlight,
}

/// The largest part that is handed to a connection at once. Large answers are cut, so that a peer
/// that reads is told from one that does not.
const PART_BYTES_MAX: usize = 64 * 1024;

impl ResponseBody {
    pub(super) fn new(inner: Body, in_flight: InFlight) -> ResponseBody {
        in_flight.waits_for_peer();
        ResponseBody {
            inner,
            rest: Bytes::new(),
            in_flight,
        }
    }

    fn part(&mut self) -> Frame<Bytes> {
        let length = self.rest.len().min(PART_BYTES_MAX);
        Frame::data(self.rest.split_to(length))
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        this.in_flight.waits_for_peer();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.part())));
        }
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| {
            Pin::new(&mut this.inner).poll_frame(cx)
        }));
        let Ok(polled) = polled else {
            this.inner = Body::empty();
            return Poll::Ready(Some(Err("the answer's stream panicked".into())));
        };
        match polled {
            Poll::Pending => {
                this.in_flight.waits_for_handler();
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if data.len() > PART_BYTES_MAX => {
                    this.rest = data;
                    Poll::Ready(Some(Ok(this.part())))
                }
                Ok(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

/// What a connection's watch knows of an answer in the making: when its peer was last given
/// something, unless the handler is who is waited for.
pub(super) type WaitsSince = Arc<std::sync::Mutex<Option<Instant>>>;
