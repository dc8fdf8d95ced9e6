//! `/livez`, `/readyz` and `/version`, for those who run a node and those who ask it.

use adit_protocol::Code;
use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::Json;
use crate::problem::Problem;

/// What a node runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// The role, as `coordinator`.
    pub role: String,
    /// The version of the program.
    pub version: String,
    /// The id of the engine, `blake3:<hex>`, for roles that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The hash of the network's genesis document, `blake3:<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The public key of the node, `0x<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// The three routes. `ready` says why the node cannot take requests, if it cannot; it must be
/// quick. `/livez` only says that the process answers at all.
pub fn routes<S: Clone + Send + Sync + 'static>(
    version: Version,
    ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
) -> Router<S> {
    let readiness = async move || match ready() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => Problem::new(
            Code::Overloaded,
            format!("the node is not ready: {why}; hint: try again in a while"),
        )
        .retry_after_s(1)
        .into_response(),
    };
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readiness))
        .route("/version", get(async move || Json(version)))
}
