//! `/metrics`, `/livez`, `/readyz`, `/version`: for those who operate the coordinator.

use std::sync::atomic::{AtomicU64, Ordering};

use adit_net::Problem;
use adit_net::http::extract::Json;
use adit_net::metrics::{HttpMetrics, Metrics as Registry};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use crate::engine::StatsView;

/// The figures of a coordinator. Those of the engine are taken over at each look.
pub struct Metrics {
    registry: Registry,
    counters: Vec<(&'static str, Counter)>,
    levels: Vec<(&'static str, Gauge<u64, AtomicU64>)>,
    blob_bytes: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let registry = Registry::new();
        let (mut counters, mut levels) = (Vec::new(), Vec::new());
        for (name, help, _) in StatsView::default().all() {
            let full = format!("coordinator_{name}");
            let help = help.trim().trim_end_matches('.');
            match help.strip_prefix("Level: ") {
                Some(help) => levels.push((name, registry.register(&full, help, Gauge::default()))),
                None => counters.push((name, registry.register(&full, help, Counter::default()))),
            }
        }
        let help = "Bytes of blobs that are files";
        Metrics {
            blob_bytes: registry.register("coordinator_blob_bytes", help, Gauge::default()),
            registry,
            counters,
            levels,
        }
    }
}

impl Metrics {
    /// What the server counts.
    pub fn http(&self) -> HttpMetrics {
        HttpMetrics::new(&self.registry)
    }

    fn take_over(&self, stats: &StatsView) {
        for (name, _, value) in stats.all() {
            if let Some((_, level)) = self.levels.iter().find(|(level, _)| *level == name) {
                level.set(value);
            }
            if let Some((_, counter)) = self.counters.iter().find(|(known, _)| *known == name) {
                counter.inner().store(value, Ordering::Relaxed);
            }
        }
    }
}

/// Figures in the text format of OpenMetrics.
pub async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    app.metrics.take_over(&app.handle.stats());
    app.metrics.blob_bytes.set(app.blobs.files().used_bytes());
    let text = app.metrics.registry.encode().map_err(Problem::internal)?;
    let mut response = text.into_response();
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    Ok(response)
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
pub async fn version() -> Json<Version> {
    Json(Version {
        name: "adit-coordinator",
        version: env!("CARGO_PKG_VERSION"),
        api: ["v1"],
    })
}
