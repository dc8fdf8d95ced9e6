//! What is voted on.

use adit_ledger::state::Proposal;
use adit_net::Problem;
use adit_net::http::extract::{Json, Path};
use adit_protocol::{Code, Hash};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;

/// A proposal that is voted on, or was accepted and waits.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProposalView {
    /// Its id: that of the transaction that made it.
    #[schema(value_type = String)]
    pub id: Hash,
    /// What the ledger has of it. Amounts are in 10^-12 token.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub proposal: Proposal,
    /// When it is counted, or takes effect if it was accepted, in milliseconds since 1970.
    pub next_ms: u64,
}

fn view(state: &adit_ledger::State, id: &Hash, proposal: &Proposal) -> ProposalView {
    let next = proposal.effect_epoch.unwrap_or(proposal.until_epoch);
    ProposalView {
        id: *id,
        proposal: proposal.clone(),
        next_ms: state.epoch_begins_ms(next),
    }
}

/// Proposals that are voted on, or were accepted and wait.
#[utoipa::path(get, path = "/v1/proposals", operation_id = "proposals", tag = "governance", responses((status = 200, body = Vec<ProposalView>)))]
pub(super) async fn proposals(State(app): State<App>) -> Result<Json<Vec<ProposalView>>, Problem> {
    let all = app.look(|live| {
        let all = live.state.proposals();
        all.map(|(id, proposal)| view(&live.state, id, proposal))
            .collect()
    });
    Ok(Json(all.await?))
}

/// A proposal that is open.
#[utoipa::path(get, path = "/v1/proposals/{id}", operation_id = "proposal", tag = "governance", params(("id" = String, Path, pattern = "^blake3:[0-9a-f]{64}$", description = "`blake3:` and 64 digits")),
    responses((status = 200, body = ProposalView), (status = 404, description = "there is none, or it is done")))]
pub(super) async fn proposal(
    State(app): State<App>,
    Path(text): Path<String>,
) -> Result<Json<ProposalView>, Problem> {
    let id: Hash = text
        .parse()
        .map_err(|error| Problem::new(Code::InvalidRequest, error))?;
    let found = app.look(move |live| {
        let proposal = live.state.proposal(&id)?;
        Some(view(&live.state, &id, proposal))
    });
    found.await?.map(Json).ok_or_else(|| {
        Problem::new(Code::NotFound, "no such proposal is open")
            .hint("when it is done it is forgotten; its transaction says what it was")
    })
}
