//! The coordinator's HTTP interface.
//!
//! | file | subject |
//! |---|---|
//! | [`app`] | what all handlers share |
//! | [`who`] | clients by their tokens, nodes by their signatures |
//! | [`wire`], [`pages`] | how values and lists are written |
//! | [`submission`] | what a client sends to submit a task |
//! | [`tasks`], [`receipts`], [`blobs`], [`network`] | for clients and auditors |
//! | [`feed`] | events of tasks that are watched |
//! | [`miner`] | for miners |
//! | [`metrics`] | for operators |
//! | [`openapi`] | the description of all of it |

pub mod app;
pub mod blobs;
pub mod feed;
pub mod metrics;
pub mod miner;
pub mod network;
pub mod openapi;
pub mod pages;
pub mod receipts;
pub mod submission;
pub mod tasks;
pub mod who;
pub mod wire;

use adit_net::http::extract::body_limit;
use adit_protocol::cbor::Document as _;
use adit_protocol::network::exchange::{Echo, HandIn, Hello, Poll, ProgressReport};
use axum::Router;
use axum::routing::{get, post};

use app::App;
use submission::SUBMISSION_BYTES_MAX;

/// The routes, without those of the log.
pub fn router(app: App) -> Router {
    let submissions = body_limit(
        Router::new().route("/v1/tasks", get(tasks::list).post(tasks::submit::submit)),
        SUBMISSION_BYTES_MAX,
    );
    // Bodies of blobs are bounded by their own handler.
    let blobs = Router::new()
        .route("/v1/blobs/{hash}", get(blobs::read).put(blobs::write))
        .merge(body_limit(
            Router::new()
                .route("/v1/blobs/missing", post(blobs::missing))
                .route("/v1/blobs/batch", post(blobs::batch)),
            128 * 1024,
        ));
    let miner = [
        ("/v1/miner/hello", post(miner::hello), Hello::MAX_LEN),
        ("/v1/miner/echo", post(miner::echo), Echo::MAX_LEN),
        ("/v1/miner/poll", post(miner::poll), Poll::MAX_LEN),
        (
            "/v1/miner/progress",
            post(miner::progress),
            ProgressReport::MAX_LEN,
        ),
        (
            "/v1/miner/receipts",
            post(miner::receipts::hand_in),
            HandIn::MAX_LEN,
        ),
    ];
    let miner = miner
        .into_iter()
        .map(|(path, method, bytes)| body_limit(Router::new().route(path, method), bytes))
        .fold(Router::new(), Router::merge);
    let rest = Router::new()
        .route("/v1/tasks/{task}", get(tasks::show))
        .route("/v1/tasks/{task}/cancel", post(tasks::cancel))
        .route("/v1/tasks/{task}/explain", get(tasks::explain))
        .route("/v1/tasks/{task}/spec", get(tasks::spec))
        .route("/v1/tasks/{task}/exec", get(tasks::exec))
        .route("/v1/tasks/{task}/result", get(tasks::result::output))
        .route("/v1/tasks/{task}/log", get(tasks::result::log))
        .route("/v1/tasks/{task}/events", get(tasks::events::stream))
        .route("/v1/receipts/{receipt}", get(receipts::show))
        .route("/v1/receipts/{receipt}/log", get(receipts::log))
        .route("/v1/documents/{hash}", get(blobs::document))
        .route("/v1/network", get(network::network))
        .route("/v1/memberships/{hash}", get(network::membership))
        .route("/v1/info", get(network::info))
        .route("/v1/miners", get(network::miners))
        .route("/v1/miners/{node}", get(network::miner))
        .route("/v1/status", get(network::status))
        .route("/v1/openapi.json", get(openapi::serve))
        .route("/livez", get(metrics::live))
        .route("/readyz", get(metrics::ready))
        .route("/version", get(metrics::version))
        .route("/metrics", get(metrics::metrics));
    submissions
        .merge(blobs)
        .merge(miner)
        .merge(rest)
        .with_state(app)
}
