//! `/metrics`, `/livez`, `/readyz`, `/version`: for those who operate the coordinator.

use std::time::Instant;

use adit_net::Problem;
use adit_net::http::extract::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;

/// Upper ends of the classes of durations, in seconds.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0,
];

/// Figures that the HTTP side counts itself.
pub struct Metrics {
    requests: Family<Labels, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: String,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
        }
    }
}

/// Counts a request by the pattern of its route, of which there are few.
pub async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other", MatchedPath::as_str)
        .to_owned();
    // A method of the peer's own choice must not become a series of its own.
    let method = match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        _ => "other",
    };
    let begin = Instant::now();
    let response = next.run(request).await;
    let labels = Labels {
        method,
        route: route.clone(),
        status: response.status().as_u16(),
    };
    app.metrics.requests.get_or_create(&labels).inc();
    app.metrics
        .seconds
        .get_or_create(&Route { route })
        .observe(begin.elapsed().as_secs_f64());
    response
}

/// Figures in the text format of OpenMetrics.
pub async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let mut registry = Registry::with_prefix("adit_coordinator");
    registry.register(
        "http_requests",
        "Requests that were answered",
        app.metrics.requests.clone(),
    );
    registry.register(
        "http_request_seconds",
        "Time until the answer began",
        app.metrics.seconds.clone(),
    );
    let stats = app.handle.stats();
    for (name, help, value) in stats.all() {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        let help = help.trim_end_matches('.');
        match help.strip_prefix("Level: ") {
            Some(help) => registry.register(name, help, ConstGauge::new(value)),
            None => registry.register(
                name,
                help,
                prometheus_client::metrics::counter::ConstCounter::new(stats_value(value)),
            ),
        }
    }
    let blobs = i64::try_from(app.blobs.files().used_bytes()).unwrap_or(i64::MAX);
    registry.register(
        "blob_bytes",
        "Bytes of blobs that are files",
        ConstGauge::new(blobs),
    );
    let mut text = String::new();
    encode(&mut text, &registry).map_err(Problem::internal)?;
    let mut response = text.into_response();
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    Ok(response)
}

fn stats_value(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The process runs.
#[utoipa::path(get, path = "/livez", tag = "operation", responses((status = 200)))]
pub async fn live() -> &'static str {
    "ok\n"
}

/// Tasks are taken.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200), (status = 503, description = "it is about to stop, or has failed")))]
pub async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    app.takes_work()?;
    app.handle.ready()?;
    Ok("ok\n")
}

/// What runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Version {
    /// The program.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Versions of the interface.
    pub api: [&'static str; 1],
}

/// Which program this is.
#[utoipa::path(get, path = "/version", tag = "operation", responses((status = 200, body = Version)))]
pub async fn version() -> (StatusCode, Json<Version>) {
    let version = Version {
        name: "adit-coordinator",
        version: env!("CARGO_PKG_VERSION"),
        api: ["v1"],
    };
    (StatusCode::OK, Json(version))
}
