//! Accounts: what they have, what they did, and proofs of it.

use adit_ledger::Key;
use adit_ledger::root::AccountProof;
use adit_ledger::state::{Account, Unbonding};
use adit_net::Problem;
use adit_net::http::extract::{Json, Path, Query};
use adit_protocol::{Amount, Code};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::schema::{AccountProofSchema, AccountSchema, UnbondingSchema};
use super::transactions::TransactionView;
use super::{App, address};

/// Transactions of one answer.
const PAGE: u32 = 100;

/// What an account has.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountView {
    /// Its address.
    #[schema(value_type = String)]
    pub address: Key,
    /// What it has.
    #[serde(flatten)]
    #[schema(value_type = AccountSchema)]
    pub account: Account,
    /// Its votes.
    pub voted: Vec<VoteView>,
    /// What unbonds.
    pub unbonding: Vec<UnbondingView>,
    /// Nodes that it operates.
    #[schema(value_type = Vec<String>)]
    pub operates: Vec<Key>,
    /// The epoch of this answer.
    pub epoch: u64,
}

/// Votes for a node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VoteView {
    /// The node.
    #[schema(value_type = String)]
    pub node: Key,
    /// How many, in 10^-12 token.
    #[schema(value_type = String)]
    pub amount: Amount,
}

/// Tokens that unbond.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UnbondingView {
    /// What they are.
    #[serde(flatten)]
    #[schema(value_type = UnbondingSchema)]
    pub unbonding: Unbonding,
    /// How many, in 10^-12 token.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// When they are released, in milliseconds since 1970.
    pub until_ms: u64,
}

/// What an account has, and its votes.
#[utoipa::path(get, path = "/v1/accounts/{address}", operation_id = "account", tag = "accounts", params(("address" = String, Path, description = "an SS58 address, prefix 42")),
    responses((status = 200, body = AccountView)))]
pub(super) async fn show(
    State(app): State<App>,
    Path(text): Path<String>,
) -> Result<Json<AccountView>, Problem> {
    let key = address(&text)?;
    let view = app.look(move |live| {
        let state = &live.state;
        let voted = state.votes_of(key);
        let unbonding = state.unbonding_of(key);
        AccountView {
            address: key,
            account: state.account(&key),
            voted: voted
                .map(|(node, amount)| VoteView { node, amount })
                .collect(),
            unbonding: unbonding
                .map(|(unbonding, amount)| UnbondingView {
                    until_ms: state.epoch_begins_ms(unbonding.until_epoch),
                    unbonding,
                    amount,
                })
                .collect(),
            operates: state.operated(key).collect(),
            epoch: state.head().epoch,
        }
    });
    Ok(Json(view.await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Before {
    /// Only those before this number.
    before: Option<u64>,
}

/// An account's transactions, the newest first, 100 at most.
#[utoipa::path(get, path = "/v1/accounts/{address}/transactions", tag = "accounts",
    params(("address" = String, Path, description = "an SS58 address, prefix 42"), Before),
    responses((status = 200, body = Vec<TransactionView>)))]
pub(super) async fn transactions(
    State(app): State<App>,
    Path(text): Path<String>,
    Query(Before { before }): Query<Before>,
) -> Result<Json<Vec<TransactionView>>, Problem> {
    let key = address(&text)?;
    let before = before.unwrap_or(u64::MAX);
    let found = app
        .read(move |reader| reader.of(&key, before, PAGE))
        .await?;
    Ok(Json(found.into_iter().map(TransactionView::from).collect()))
}

/// A proof of what an account had at the end of the last epoch.
#[utoipa::path(get, path = "/v1/accounts/{address}/proof", tag = "accounts", params(("address" = String, Path, description = "an SS58 address, prefix 42")),
    responses((status = 200, description = "root, entries and the way from each to the root", body = AccountProofSchema), (status = 404, description = "no epoch is over yet")))]
pub(super) async fn proof(
    State(app): State<App>,
    Path(text): Path<String>,
) -> Result<Json<AccountProof>, Problem> {
    let key = address(&text)?;
    let tree = app.look(|live| live.tree.clone()).await?;
    let tree = tree.ok_or_else(|| {
        Problem::new(Code::NotFound, "no epoch is over yet")
            .hint("proofs are made against the root that the log holds for the end of an epoch")
    })?;
    Ok(Json(tree.prove(&key)))
}
