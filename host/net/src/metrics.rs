//! Metrics in the OpenMetrics text format, for Prometheus and what reads the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, text};
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

use crate::problem::Problem;

/// The media type of the text format.
const CONTENT_TYPE_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a process. Clones share them. Every name begins with `adit_`.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics(Arc::new(Mutex::new(Registry::with_prefix("adit"))))
    }
}

impl Metrics {
    /// No metrics yet.
    pub fn new() -> Metrics {
        Metrics::default()
    }

    /// Adds a metric and returns it. A counter's name has no `_total`, and a help text no full stop:
    /// both are added when it is written.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.lock().register(name, help, metric.clone());
        metric
    }

    /// The text that is scraped.
    ///
    /// # Errors
    /// None that are known of: writing into a string does not fail.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.lock())?;
        Ok(text)
    }

    /// The route `/metrics`. Whoever may read it learns how busy the node is, and no more.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let metrics = self.clone();
        let handler = async move || match metrics.encode() {
            Ok(text) => ([(CONTENT_TYPE, CONTENT_TYPE_METRICS)], text).into_response(),
            Err(error) => Problem::internal(error).into_response(),
        };
        Router::new().route("/metrics", get(handler))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Labels of what is counted by route. All have few values: routes are those of the router, not
/// the paths that a peer thinks up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Routed {
    route: String,
    method: &'static str,
}

type Seconds = Family<Routed, Histogram, fn() -> Histogram>;

/// What a server counts of its requests.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: Family<Answered, Counter>,
    seconds: Seconds,
    in_flight: Gauge,
}

impl HttpMetrics {
    /// The metrics of one server of the process.
    pub fn new(metrics: &Metrics) -> HttpMetrics {
        HttpMetrics {
            requests: metrics.register(
                "http_requests",
                "Requests that were answered, by route, method and class of status",
                Family::default(),
            ),
            seconds: metrics.register(
                "http_request_seconds",
                "Time until an answer begins, long polls included",
                // From a quarter of a millisecond to a minute.
                Seconds::new_with_constructor(|| {
                    Histogram::new(exponential_buckets(0.000_25, 2.0, 19))
                }),
            ),
            in_flight: metrics.register(
                "http_requests_in_flight",
                "Requests whose answers have not begun",
                Gauge::default(),
            ),
        }
    }

    /// The middleware.
    pub(crate) async fn layer(self, request: Request, next: Next) -> Response {
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map_or("unmatched", MatchedPath::as_str).to_owned();
        let method = method_label(request.method());
        let in_flight = InFlight::begin(&self.in_flight);
        let begun = Instant::now();
        let response = next.run(request).await;
        drop(in_flight);
        // A peer could fill the figures by asking each route for each method that it does not have.
        let method = match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => "other",
            _ => method,
        };
        let answered = Answered {
            route: route.clone(),
            method,
            status: status_label(&response),
        };
        self.requests.get_or_create(&answered).inc();
        self.seconds
            .get_or_create(&Routed { route, method })
            .observe(begun.elapsed().as_secs_f64());
        response
    }
}

/// Counts down also if the client goes away and the request is dropped.
struct InFlight(Gauge);

impl InFlight {
    fn begin(gauge: &Gauge) -> InFlight {
        gauge.inc();
        InFlight(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Methods are extensible, and a peer must not be able to make up labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn status_label(response: &Response) -> &'static str {
    match response.status().as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
