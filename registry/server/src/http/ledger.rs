//! The ledger as a whole: nodes, rules, who takes part.

use std::ops::Bound;
use std::time::{Duration, Instant};

use adit_ledger::Key;
use adit_ledger::state::{Head, Node, Supply};
use adit_ledger::tree::TreeRoot;
use adit_net::Problem;
use adit_net::http::extract::{CONTENT_TYPE_CBOR, Json, Path, Query};
use adit_protocol::{Amount, Code};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schema::{HeadSchema, NodeSchema, SupplySchema, TreeRootSchema};
use super::{App, address};

/// Nodes of one answer.
const PAGE: usize = 256;
/// How often tokens are counted at most.
const SUPPLY_EVERY: Duration = Duration::from_secs(2);

/// A node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeView {
    /// The key that it was registered with, which names it for ever.
    #[schema(value_type = String)]
    pub address: Key,
    /// What the ledger has of it.
    #[serde(flatten)]
    #[schema(value_type = NodeSchema)]
    pub node: Node,
    /// Whether its stake is at least the least of its role, and it is not leaving: whether it would
    /// take part if an epoch began now.
    pub eligible: bool,
    /// Whether it takes part in this epoch.
    pub active: bool,
    /// The least stake of its role, in 10^-12 token.
    #[schema(value_type = String)]
    pub stake_min: Amount,
}

/// The ledger.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LedgerView {
    /// Where the chain is, and the rules.
    #[serde(flatten)]
    #[schema(value_type = HeadSchema)]
    pub head: Head,
    /// When the epoch ends, in milliseconds since 1970.
    pub epoch_ends_ms: u64,
    /// The root that proofs are made against, of the end of the epoch before; none in the first.
    #[schema(value_type = Option<TreeRootSchema>)]
    pub root: Option<TreeRoot>,
}

/// Where the chain is, and the rules.
#[utoipa::path(get, path = "/v1/ledger", operation_id = "ledger", tag = "ledger", responses((status = 200, body = LedgerView)))]
pub(super) async fn show(State(app): State<App>) -> Result<Json<LedgerView>, Problem> {
    let view = app.look(|live| {
        let head = live.state.head().clone();
        LedgerView {
            epoch_ends_ms: live.state.epoch_begins_ms(head.epoch.saturating_add(1)),
            head,
            root: live.tree.as_ref().map(|tree| tree.root()),
        }
    });
    Ok(Json(view.await?))
}

/// Where the tokens are, as of a moment ago: all of the state is looked at for it, so it is done once
/// in a while for all who ask.
#[utoipa::path(get, path = "/v1/ledger/supply", tag = "ledger",
    responses((status = 200, body = SupplySchema)))]
pub(super) async fn supply(State(app): State<App>) -> Result<Json<Supply>, Problem> {
    let fresh = |counted: &(Instant, Supply)| counted.0.elapsed() < SUPPLY_EVERY;
    let mut counted = app.0.supply.lock().await;
    if let Some((_, supply)) = counted.filter(fresh) {
        return Ok(Json(supply));
    }
    let supply = app.look(|live| live.state.supply()).await?;
    *counted = Some((Instant::now(), supply));
    Ok(Json(supply))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only nodes of this role: `miner`, `coordinator` or `checker`.
    #[param(pattern = "^(miner|coordinator|checker)$")]
    role: Option<String>,
    /// Only nodes after this address.
    after: Option<String>,
}

/// A page of nodes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodesView {
    /// Nodes, ascending by the keys that they were registered with.
    pub items: Vec<NodeView>,
    /// What to ask for as `after` next; none at the end.
    #[schema(value_type = Option<String>)]
    pub next: Option<Key>,
}

/// Nodes, 256 at most.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", params(Which), responses((status = 200, body = NodesView)))]
pub(super) async fn nodes(
    State(app): State<App>,
    Query(Which { role, after }): Query<Which>,
) -> Result<Json<NodesView>, Problem> {
    use adit_ledger::registration::Role;
    let role = role
        .map(|name| {
            let found = Role::ALL.into_iter().find(|role| role.name() == name);
            found.ok_or_else(|| {
                Problem::new(Code::InvalidRequest, "there is no such role")
                    .hint("write miner, coordinator or checker")
            })
        })
        .transpose()?;
    let after = after.map(|text| address(&text)).transpose()?;
    let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
    let page = app.look(move |live| {
        let found = live.state.nodes_from(begin);
        let mut found = found.filter(|(_, node)| role.is_none_or(|role| node.role == role));
        let items: Vec<_> = found
            .by_ref()
            .take(PAGE)
            .map(|(key, node)| view(live, *key, node))
            .collect();
        let more = found.next().is_some();
        let next = items.last().map(|last| last.address).filter(|_| more);
        NodesView { items, next }
    });
    Ok(Json(page.await?))
}

/// A node, by any of its keys.
#[utoipa::path(get, path = "/v1/nodes/{address}", tag = "nodes", params(("address" = String, Path, description = "an SS58 address, prefix 42")),
    responses((status = 200, body = NodeView), (status = 404, description = "no node has that key")))]
pub(super) async fn node(
    State(app): State<App>,
    Path(text): Path<String>,
) -> Result<Json<NodeView>, Problem> {
    let key = address(&text)?;
    let found = app.look(move |live| {
        // Under any of its keys.
        let key = live.state.owner(&key)?;
        let node = live.state.node(&key)?;
        Some(view(live, key, node))
    });
    found.await?.map(Json).ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            format!("no node is registered with the key {key}; hint: `adit register` does that"),
        )
    })
}

fn view(live: &crate::engine::Live, address: Key, node: &Node) -> NodeView {
    let stake_min = live.state.parameters().stake_min(node.role);
    let key = node.keys.node.as_bytes();
    let cosigner = |name: &String| live.members.witnesses.iter().any(|w| w.name == *name);
    NodeView {
        address,
        eligible: !node.leaving && node.stake >= stake_min,
        active: live.members.miner(key).is_some()
            || live.members.coordinator(key).is_some()
            || node.name.as_ref().is_some_and(cosigner),
        stake_min,
        node: node.clone(),
    }
}

/// The ledger's genesis document.
#[utoipa::path(get, path = "/v1/ledger/genesis", tag = "ledger",
    responses((status = 200, description = "deterministic CBOR", content_type = "application/cbor")))]
pub(super) async fn genesis(State(app): State<App>) -> Response {
    document(app.0.ledger.clone())
}

/// Who takes part in this epoch: the network file, as the authority signed it.
#[utoipa::path(get, path = "/v1/network", tag = "ledger",
    responses((status = 200, description = "deterministic CBOR", content_type = "application/cbor")))]
pub(super) async fn network(State(app): State<App>) -> Result<Response, Problem> {
    Ok(document(app.look(|live| live.network.clone()).await?))
}

fn document(bytes: bytes::Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, CONTENT_TYPE_CBOR),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, bytes).into_response()
}
