//! What anyone may know of the coordinator and its network.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use adit_net::Problem;
use adit_net::http::extract::{CONTENT_TYPE_CBOR, Json, Path as UrlPath, Query};
use adit_net::http::files::{About, bytes};
use adit_protocol::cbor::Document as _;
use adit_protocol::network::membership::NetworkFile;
use adit_protocol::{Code, Hash};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::header::ACCEPT;
use serde::Serialize;
use utoipa::ToSchema;

use super::app::App;
use super::pages::{PageQuery, Pages};
use super::tasks::cbor;
use super::wire::{Bytes32, HashText, hex};
use crate::blobs::blocking;
use crate::engine::StatsView;
use crate::view::MinerView;

/// The network file as it was read last, with the hash of its membership.
pub struct NetworkBytes {
    path: PathBuf,
    read: Mutex<Option<(Hash, Bytes)>>,
}

impl NetworkBytes {
    /// The file at a path.
    pub fn new(path: &Path) -> NetworkBytes {
        NetworkBytes {
            path: path.to_owned(),
            read: Mutex::default(),
        }
    }

    /// The bytes whose membership has this hash; the newest that were good, if the file has another
    /// one at the moment.
    fn with(&self, membership: &Hash) -> Option<Bytes> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, bytes)) = &*read
            && known == membership
        {
            return Some(bytes.clone());
        }
        let file = std::fs::File::open(&self.path).ok()?;
        let mut bytes = Vec::new();
        let most = u64::try_from(NetworkFile::MAX_LEN).unwrap_or(u64::MAX);
        std::io::Read::read_to_end(&mut std::io::Read::take(file, most), &mut bytes).ok()?;
        let found = NetworkFile::from_cbor(&bytes)
            .ok()
            .map(|f| f.membership.body_hash());
        if found == Some(*membership) {
            *read = Some((*membership, bytes.into()));
        }
        read.as_ref().map(|(_, bytes)| bytes.clone())
    }
}

/// The network file: genesis document and signed membership. As JSON if that is asked for.
#[utoipa::path(get, path = "/v1/network", tag = "network",
    responses((status = 200, content((Object = "application/cbor"), (Object = "application/json")))))]
pub async fn network(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    let members = app.membership.current();
    if accepts_json(&headers) {
        let json = serde_json::json!({
            "network": members.genesis_hash,
            "genesis": members.genesis,
            "membership": members.membership,
            "membership_hash": members.hash,
        });
        return Ok(Json(json).into_response());
    }
    let shared = app.clone();
    let bytes = blocking(move || shared.network.with(&members.hash)).await?;
    let bytes = bytes.ok_or_else(|| {
        Problem::new(Code::Overloaded, "the network file is being replaced")
            .hint("try again in a moment")
            .retry_after_s(1)
    })?;
    Ok(cbor(bytes.to_vec()))
}

/// A membership that a list of candidates of this coordinator names, as the network's authority
/// signed it: for auditors, who check the candidates' stakes by it.
#[utoipa::path(get, path = "/v1/memberships/{hash}", tag = "network",
    params(("hash" = HashText, Path, description = "the hash of the membership without its signature")),
    responses((status = 200, description = "the signed membership", content_type = "application/cbor"),
        (status = 206, description = "a part of it", content_type = "application/cbor"),
        (status = 304, description = "it is that whose hash is in `if-none-match`"),
        (status = 404, description = "no list of candidates names it"),
        (status = 416, description = "the range begins behind the end")))]
pub async fn membership(
    State(app): State<App>,
    UrlPath(HashText(hash)): UrlPath<HashText>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let signed = app.handle.membership(hash).await?.ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no membership {hash}"))
            .hint("those are here that lists of candidates in the log name")
    })?;
    let about = About::immutable(CONTENT_TYPE_CBOR, hash.to_string());
    Ok(bytes(&headers, signed.into(), &about))
}

/// Whether JSON is asked for, and not anything or the other form first.
pub(super) fn accepts_json(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(',').next())
        .and_then(|first| first.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Who this is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Info {
    /// Node key of the coordinator.
    pub node: Bytes32,
    /// Key of its log's checkpoints.
    pub log: Option<Bytes32>,
    /// Hash of the network's genesis document.
    pub network: HashText,
    /// Network id, as receipts have it.
    pub network_id: String,
    /// Name of the network.
    pub name: String,
    /// Whether development keys are allowed.
    pub development: bool,
    /// The engine that tasks run on.
    pub engine: HashText,
    /// The region; empty if it has none.
    pub region: String,
    /// Version of the program.
    pub software: String,
    /// The epoch.
    pub epoch: u64,
    /// Whether it takes no new tasks.
    pub draining: bool,
    /// Longest blob in bytes.
    pub blob_bytes_max: u64,
    /// Longest time for an attempt, in milliseconds.
    pub deadline_ms_max: u64,
    /// Most replicas of a task.
    pub replicas_max: u8,
    /// Whether tasks may name a validator.
    pub validators: bool,
}

/// Who this coordinator is, and what it takes.
#[utoipa::path(get, path = "/v1/info", tag = "network", responses((status = 200, body = Info)))]
pub async fn info(State(app): State<App>) -> Json<Info> {
    let members = app.membership.current();
    let node = app.node.public().to_bytes();
    let own = members.membership.coordinator(&node);
    Json(Info {
        node: Bytes32(node),
        log: own.map(|member| Bytes32(member.log)),
        network: HashText(app.genesis),
        network_id: hex(&members.genesis.network_id()),
        name: members.genesis.name.clone(),
        development: members.genesis.development,
        engine: HashText(app.engine),
        region: app.region.clone(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: members.genesis.epoch_at(app.clock.now_ms()),
        draining: app.closing.is_cancelled(),
        blob_bytes_max: app.bounds.blob_bytes_max,
        deadline_ms_max: u64::try_from(app.bounds.deadline_max.as_millis()).unwrap_or(u64::MAX),
        replicas_max: app.bounds.replicas_max,
        validators: app.validates,
    })
}

/// The miners that are active or in the roster, and why those get nothing that get nothing.
#[utoipa::path(get, path = "/v1/miners", tag = "network", params(PageQuery),
    responses((status = 200, body = Pages<MinerView>)))]
pub async fn miners(
    State(app): State<App>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Pages<MinerView>>, Problem> {
    let (after, size) = page.read()?;
    Ok(Json(app.handle.miners(after, size).await?.into()))
}

/// A miner of the network, as this coordinator sees it.
#[utoipa::path(get, path = "/v1/miners/{node}", tag = "network",
    params(("node" = Bytes32, Path, description = "its node key")),
    responses((status = 200, body = MinerView), (status = 403, description = "it is not registered")))]
pub async fn miner(
    State(app): State<App>,
    UrlPath(Bytes32(node)): UrlPath<Bytes32>,
) -> Result<Json<MinerView>, Problem> {
    Ok(Json(app.handle.miner(node).await?))
}

/// Figures of the coordinator at this moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Status {
    /// Counters and levels of the engine.
    pub engine: StatsView,
    /// Bytes of blobs that are files.
    pub blob_bytes: u64,
    /// Most bytes of such blobs.
    pub blob_bytes_all: u64,
    /// Whether it takes no new tasks.
    pub draining: bool,
    /// Version of the membership.
    pub membership_version: u64,
}

/// Figures of the coordinator.
#[utoipa::path(get, path = "/v1/status", tag = "network", responses((status = 200, body = Status)))]
pub async fn status(State(app): State<App>) -> Json<Status> {
    Json(Status {
        engine: app.handle.stats(),
        blob_bytes: app.blobs.files().used_bytes(),
        blob_bytes_all: app.blobs.files().quota_bytes(),
        draining: app.closing.is_cancelled(),
        membership_version: app.membership.current().membership.version,
    })
}
