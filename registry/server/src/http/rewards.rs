//! What was earned: by an account, by a node, in an epoch.

use std::sync::Arc;

use adit_ledger::Key;
use adit_ledger::state::Settled;
use adit_ledger::tree::Included;
use adit_net::http::extract::{Json, Path};
use adit_net::{Problem, blocking};
use adit_protocol::{Amount, Code};
use adit_settlement::output::{CoordinatorRow, Counts, MinerRow, Unpaid};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, address};
use crate::settling::keep::{Keep, KeepError, Kept};
use crate::settling::open::OpenLog;

/// Epochs of one answer.
const EPOCHS: usize = 16;

/// A settled epoch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SettledView {
    /// The epoch.
    pub epoch: u64,
    /// What the ledger has of it.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub settled: Settled,
    /// Whether claims are made against it already.
    pub counts: bool,
}

/// What is settled.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RewardsView {
    /// The epoch now.
    pub epoch: u64,
    /// The first epoch that is not settled.
    pub next: u64,
    /// What was earned by all and not claimed, in 10^-12 token.
    #[schema(value_type = String)]
    pub unclaimed: Amount,
    /// The treasury, in 10^-12 token.
    #[schema(value_type = String)]
    pub treasury: Amount,
    /// The newest settlements, newest first.
    pub settlements: Vec<SettledView>,
}

/// What is settled, and what comes next.
#[utoipa::path(get, path = "/v1/rewards", operation_id = "rewards", tag = "rewards", responses((status = 200, body = RewardsView)))]
pub(super) async fn show(State(app): State<App>) -> Result<Json<RewardsView>, Problem> {
    let view = app.look(|live| {
        let state = &live.state;
        let head = state.head();
        let mut settlements: Vec<_> = state
            .settlements()
            .map(|(epoch, settled)| SettledView {
                epoch,
                counts: settled.from_epoch <= head.epoch,
                settled: settled.clone(),
            })
            .collect();
        settlements.reverse();
        RewardsView {
            epoch: head.epoch,
            next: head.settled,
            unclaimed: head.rewards,
            treasury: head.treasury,
            settlements,
        }
    });
    Ok(Json(view.await?))
}

/// What is not settled yet.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OpenView {
    /// The epoch now.
    pub epoch: u64,
    /// The first epoch that is not settled.
    pub next: u64,
    /// What is burned of each payment, in parts per million.
    pub fee_ppm: u32,
    /// The logs with leaves that are not settled, or that can have some yet: of coordinators that take
    /// part, or have something in escrow.
    pub logs: Vec<OpenLog>,
}

/// Where in the logs of coordinators the leaves are that are not settled yet.
#[utoipa::path(get, path = "/v1/rewards/open", operation_id = "rewards_open", tag = "rewards", responses((status = 200, body = OpenView)))]
pub(super) async fn open(State(app): State<App>) -> Result<Json<OpenView>, Problem> {
    let view = app.look(|live| {
        let state = &live.state;
        let head = state.head();
        OpenView {
            epoch: head.epoch,
            next: head.settled,
            fee_ppm: state.parameters().rewards.fee_ppm,
            logs: crate::settling::open::logs(state),
        }
    });
    Ok(Json(view.await?))
}

/// What an account earned in an epoch.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountEpoch {
    /// The epoch.
    pub epoch: u64,
    /// What it earned in it, in 10^-12 token.
    #[schema(value_type = String)]
    pub earned: Amount,
}

/// What an account earned.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountRewards {
    /// Its address.
    #[schema(value_type = String)]
    pub address: Key,
    /// All that it earned and that counts, in 10^-12 token.
    #[schema(value_type = String)]
    pub earned: Amount,
    /// What it claimed of that.
    #[schema(value_type = String)]
    pub claimed: Amount,
    /// What it can claim now.
    #[schema(value_type = String)]
    pub claimable: Amount,
    /// What it earned besides and what does not count yet.
    #[schema(value_type = String)]
    pub pending: Amount,
    /// The epoch from which on that counts; none if nothing is pending.
    pub pending_from_epoch: Option<u64>,
    /// The last epoch that counts; none before the first.
    pub epoch: Option<u64>,
    /// The newest settled epochs, newest first, 16 at most, those that do not count yet among them.
    pub epochs: Vec<AccountEpoch>,
    /// What it earned in the epochs before these, in 10^-12 token.
    #[schema(value_type = String)]
    pub before: Amount,
    /// The proof that a claim needs; none if it earned nothing.
    #[schema(value_type = Option<Object>)]
    pub proof: Option<Included>,
}

/// What an account earned, with the proof that a claim needs.
#[utoipa::path(get, path = "/v1/accounts/{address}/rewards", operation_id = "account_rewards", tag = "rewards",
    params(("address" = String, Path, description = "an SS58 address, prefix 42")),
    responses((status = 200, body = AccountRewards), (status = 404, description = "the epoch was not settled by this registry's checker")))]
pub(super) async fn account(
    State(app): State<App>,
    Path(text): Path<String>,
) -> Result<Json<AccountRewards>, Problem> {
    let key = address(&text)?;
    let looked = app.look(move |live| {
        let state = &live.state;
        let counts = state.rewards();
        let counts = counts.map(|(epoch, settled)| (epoch, settled.earned));
        let last = state.last_settled();
        let last = last.map(|(epoch, settled)| (epoch, settled.earned, settled.from_epoch));
        (counts, last, state.account(&key).claimed)
    });
    let (counts, last, claimed) = looked.await?;
    let kept = |at: Option<(u64, adit_ledger::tree::TreeRoot)>| {
        let keep = Arc::clone(&app.0.keep);
        async move {
            let Some((epoch, root)) = at else {
                return Ok(None);
            };
            let kept = blocking(move || keep.earned(epoch, &root)).await;
            match kept.map_err(Problem::internal)? {
                Ok(Some(kept)) => Ok(Some(kept)),
                Ok(None) => Err(not_here(epoch)),
                Err(KeepError::Other { .. }) => Err(differs(epoch)),
                Err(error) => Err(Problem::internal(error)),
            }
        }
    };
    let tree = kept(counts).await?;
    let newest = kept(last.map(|(epoch, root, _)| (epoch, root))).await?;
    let proven = tree.and_then(|kept| kept.tree.prove(&key));
    let earned = proven.as_ref().map_or(Amount::ZERO, |(one, _)| one.total);
    let all = newest.and_then(|kept| kept.tree.prove(&key));
    let all = all.map_or(Amount::ZERO, |(one, _)| one.total);
    let pending = all.minus(earned).unwrap_or_default();
    let (epochs, before) = match last {
        Some((epoch, ..)) => each(&app, key, epoch).await?,
        None => Default::default(),
    };
    Ok(Json(AccountRewards {
        address: key,
        earned,
        claimed,
        claimable: earned.minus(claimed).unwrap_or_default(),
        pending,
        pending_from_epoch: last.map(|(_, _, from)| from).filter(|_| !pending.is_zero()),
        epoch: counts.map(|(epoch, _)| epoch),
        epochs,
        before,
        proof: proven.map(|(_, proof)| proof),
    }))
}

/// What an account earned in each of the newest epochs up to one, and in all before them.
async fn each(app: &App, account: Key, last: u64) -> Result<(Vec<AccountEpoch>, Amount), Problem> {
    let keep = Arc::clone(&app.0.keep);
    let read = blocking(move || {
        let (mut epochs, mut before) = (Vec::new(), Amount::ZERO);
        for (epoch, kept) in newest(&keep, last)? {
            // Sums are of epochs without a gap.
            let Some(kept) = kept else { break };
            let rows = &kept.output.accounts;
            let row = rows.binary_search_by(|row| row.account.cmp(account.as_bytes()));
            let row = row.ok().and_then(|at| rows.get(at));
            let earned = row.map_or(Amount::ZERO, |row| Amount::from_units(row.amount));
            let total = kept.tree.prove(&account);
            let total = total.map_or(Amount::ZERO, |(one, _)| one.total);
            before = total.minus(earned).unwrap_or_default();
            epochs.push(AccountEpoch { epoch, earned });
        }
        Ok::<_, KeepError>((epochs, before))
    });
    let read = read.await.map_err(Problem::internal)?;
    read.map_err(Problem::internal)
}

/// Epochs with what is kept of each; nothing where a file is damaged.
type Epochs = Vec<(u64, Option<Arc<Kept>>)>;

/// The newest epochs up to one, newest first.
fn newest(keep: &Keep, last: u64) -> Result<Epochs, KeepError> {
    let mut all = Vec::new();
    // What was computed and not taken by the ledger yet is kept too.
    let epochs = keep.epochs()?.into_iter().rev();
    for epoch in epochs.filter(|epoch| *epoch <= last).take(EPOCHS) {
        match keep.get(epoch) {
            Ok(kept) => all.push((epoch, kept)),
            Err(KeepError::Other { .. }) => all.push((epoch, None)),
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

fn not_here(epoch: u64) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("epoch {epoch} was not settled by this registry"),
    )
    .hint("compute it from the logs with `adit audit rewards`")
}

/// A file that is damaged, or a settlement that is none of this registry's checker.
fn differs(epoch: u64) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("what was earned up to epoch {epoch} is not here as the ledger has it"),
    )
    .hint("`adit audit rewards` shows whether the ledger's is what the logs come to; ask again when the next epoch is settled")
}

/// Receipts by what became of them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReceiptsView {
    /// Paid in full.
    pub paid: u64,
    /// Not paid in full, by the reason.
    #[schema(value_type = Object)]
    pub unpaid: std::collections::BTreeMap<&'static str, u64>,
}

impl From<&Counts> for ReceiptsView {
    fn from(counts: &Counts) -> ReceiptsView {
        let unpaid = Unpaid::ALL.into_iter().zip(counts.unpaid);
        ReceiptsView {
            paid: counts.paid,
            unpaid: unpaid
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| (reason.name(), count))
                .collect(),
        }
    }
}

/// How a node came to what it earned in an epoch, for it and its voters. Amounts are in 10^-12 token.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum NodeEpoch {
    /// A miner.
    Miner {
        /// The epoch.
        epoch: u64,
        /// All that it earned.
        earned: String,
        /// Prices and attempt fees, less what was burned of them.
        income: String,
        /// Emission by work.
        by_work: String,
        /// Emission by stake.
        by_stake: String,
        /// Emission by work above the cap, which was not minted.
        capped: String,
        /// What a shortfall of its service took.
        cut: String,
        /// Its receipts.
        receipts: ReceiptsView,
    },
    /// A coordinator.
    Coordinator {
        /// The epoch.
        epoch: u64,
        /// All that it earned.
        earned: String,
        /// What its escrow paid, with what was burned of it.
        spent: String,
        /// What was burned of that.
        burned: String,
        /// Its slice of the emission.
        slice: String,
        /// The receipts of its log.
        receipts: ReceiptsView,
    },
}

impl NodeEpoch {
    fn miner(epoch: u64, row: &MinerRow) -> NodeEpoch {
        // The output was checked: these sums fit.
        let earned = row
            .income
            .saturating_add(row.by_work)
            .saturating_add(row.by_stake)
            .saturating_sub(row.cut);
        NodeEpoch::Miner {
            epoch,
            earned: earned.to_string(),
            income: row.income.to_string(),
            by_work: row.by_work.to_string(),
            by_stake: row.by_stake.to_string(),
            capped: row.capped.to_string(),
            cut: row.cut.to_string(),
            receipts: ReceiptsView::from(&row.counts),
        }
    }

    fn coordinator(epoch: u64, row: &CoordinatorRow) -> NodeEpoch {
        NodeEpoch::Coordinator {
            epoch,
            earned: row.earned.to_string(),
            spent: row.spent.to_string(),
            burned: row.burned.to_string(),
            slice: row.slice.to_string(),
            receipts: ReceiptsView::from(&row.counts),
        }
    }

    fn of(epoch: u64, kept: &Kept, node: &Key) -> Option<NodeEpoch> {
        let node = node.as_bytes();
        let miners = &kept.output.miners;
        if let Ok(at) = miners.binary_search_by(|row| row.node.cmp(node)) {
            return miners.get(at).map(|row| NodeEpoch::miner(epoch, row));
        }
        let coordinators = &kept.output.coordinators;
        let at = coordinators.binary_search_by(|row| row.node.cmp(node));
        let row = coordinators.get(at.ok()?)?;
        Some(NodeEpoch::coordinator(epoch, row))
    }
}

/// How a node came to what it earned.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeRewards {
    /// The key that it was registered with.
    #[schema(value_type = String)]
    pub address: Key,
    /// Epochs, newest first, 16 at most.
    pub epochs: Vec<NodeEpoch>,
}

/// How a node came to what it earned, in the newest epochs that were settled here.
#[utoipa::path(get, path = "/v1/nodes/{address}/rewards", operation_id = "node_rewards", tag = "rewards",
    params(("address" = String, Path, description = "an SS58 address, prefix 42: any key of the node")),
    responses((status = 200, body = NodeRewards), (status = 404, description = "no node has that key")))]
pub(super) async fn node(
    State(app): State<App>,
    Path(text): Path<String>,
) -> Result<Json<NodeRewards>, Problem> {
    let key = address(&text)?;
    let looked = app.look(move |live| {
        let state = &live.state;
        let last = state.last_settled().map(|(epoch, _)| epoch);
        Some((state.owner(&key)?, last))
    });
    let (owner, last) = looked.await?.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            format!("no node is registered with the key {key}"),
        )
        .hint("`adit register` does that")
    })?;
    let keep = Arc::clone(&app.0.keep);
    let read = blocking(move || {
        let kept = last.map(|last| newest(&keep, last)).transpose()?;
        let all = kept.unwrap_or_default().into_iter();
        let epochs = all.filter_map(|(epoch, kept)| NodeEpoch::of(epoch, kept?.as_ref(), &owner));
        Ok::<_, KeepError>(epochs.collect())
    });
    let epochs = read.await.map_err(Problem::internal)?;
    Ok(Json(NodeRewards {
        address: owner,
        epochs: epochs.map_err(Problem::internal)?,
    }))
}
