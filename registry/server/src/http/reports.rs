//! Who is accused of what, what a verdict says of it, and what was reported of a node.

use std::ops::Bound;

use adit_ledger::entry::LogEntry;
use adit_ledger::slashing::Misdeed;
use adit_ledger::state::{Jailed, Report};
use adit_ledger::{Action, Key, State as Ledger};
use adit_net::Problem;
use adit_net::http::extract::{Json, Path, Query};
use adit_protocol::{Code, Hash};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{App, address};
use crate::store::{Reader, StoreError};

/// Reports of one answer.
const PAGE: usize = 256;
/// Misdeeds of one answer: of each its transaction is read.
const MISDEEDS: usize = 64;

/// How far a report is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Checkers have not found anything yet; without a verdict it runs out.
    WaitsForVerdict,
    /// There is a verdict, which takes effect unless the operator appeals.
    CanBeAppealed,
    /// The operator asked for a second verdict; without one the first takes effect.
    Appealed,
    /// The verdict is for good, and takes effect.
    Decided,
    /// It was a proof, and the node was punished at once.
    Punished,
    /// No verdict came in time, and the deposit went back.
    RanOut,
    /// It is over: the verdict has taken effect, or the node was acquitted.
    Judged,
}

impl Stage {
    fn of(report: &Report) -> Stage {
        match (report.verdict_ppm, report.appeal, report.decided) {
            (_, _, true) => Stage::Decided,
            (None, ..) => Stage::WaitsForVerdict,
            (Some(_), None, _) => Stage::CanBeAppealed,
            (Some(_), Some(_), _) => Stage::Appealed,
        }
    }
}

/// A report that waits for a verdict, or for its effect.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReportView {
    /// Its id: that of the transaction that made it.
    #[schema(value_type = String)]
    pub id: Hash,
    /// How far it is.
    pub stage: Stage,
    /// When the epoch `until_epoch` begins, in milliseconds since 1970.
    pub until_ms: u64,
    /// What the ledger has of it. Amounts are in 10^-12 token.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub report: Report,
}

impl ReportView {
    fn new(state: &Ledger, id: &Hash, report: &Report) -> ReportView {
        ReportView {
            id: *id,
            stage: Stage::of(report),
            until_ms: state.epoch_begins_ms(report.until_epoch),
            report: report.clone(),
        }
    }
}

/// A page of reports.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReportsView {
    /// Reports, ascending by id.
    pub items: Vec<ReportView>,
    /// What to ask for as `after` next; none at the end.
    #[schema(value_type = Option<String>)]
    pub next: Option<Hash>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Only reports of this node, by any of its keys.
    node: Option<String>,
    /// Only reports after this id.
    after: Option<String>,
}

fn id(text: &str) -> Result<Hash, Problem> {
    text.parse()
        .map_err(|error| Problem::new(Code::InvalidRequest, error))
}

/// Reports that wait for a verdict, or for its effect: 256 at most.
#[utoipa::path(get, path = "/v1/reports", operation_id = "reports", tag = "governance", params(Which), responses((status = 200, body = ReportsView)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(Which { node, after }): Query<Which>,
) -> Result<Json<ReportsView>, Problem> {
    let node = node.map(|text| address(&text)).transpose()?;
    let after = after.map(|text| id(&text)).transpose()?;
    let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
    let page = app.look(move |live| {
        let state = &live.state;
        // A key that no node has has no reports either.
        let node = node.map(|key| state.owner(&key).unwrap_or(key));
        let found = state.reports_from(begin);
        let mut found = found.filter(|(_, report)| node.is_none_or(|node| report.node == node));
        let items: Vec<_> = found
            .by_ref()
            .take(PAGE)
            .map(|(id, report)| ReportView::new(state, id, report))
            .collect();
        let more = found.next().is_some();
        let next = items.last().map(|last| last.id).filter(|_| more);
        ReportsView { items, next }
    });
    Ok(Json(page.await?))
}

/// A report, whether it is open or over.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReportDetail {
    /// Its id: that of the transaction that made it.
    #[schema(value_type = String)]
    pub id: Hash,
    /// How far it is.
    pub stage: Stage,
    /// Who made it.
    #[schema(value_type = String)]
    pub reporter: Key,
    /// The key that names the node.
    #[schema(value_type = String)]
    pub node: Key,
    /// What the node is said to have done.
    #[schema(value_type = String)]
    pub misdeed: Misdeed,
    /// What that rests on; none where the transaction itself has the proof.
    #[schema(value_type = Option<String>)]
    pub evidence: Option<Hash>,
    /// Index of its entry in the log.
    pub leaf: u64,
    /// What the ledger has of it while it is open.
    pub open: Option<ReportView>,
}

/// What a transaction says, if it reports a misdeed.
struct Said {
    leaf: u64,
    reporter: Key,
    node: Key,
    misdeed: Misdeed,
    evidence: Option<Hash>,
}

impl Said {
    fn read(reader: &Reader, id: &Hash) -> Result<Option<Said>, StoreError> {
        let Some(place) = reader.find(id)? else {
            return Ok(None);
        };
        let Ok(LogEntry::Transaction(signed)) = LogEntry::from_bytes(&reader.entry(place.leaf)?)
        else {
            return Ok(None);
        };
        let (node, misdeed, evidence) = match &signed.transaction().action {
            Action::Report { node, evidence } => (*node, evidence.misdeed(), None),
            Action::Accuse {
                node,
                misdeed,
                evidence,
            } => (*node, *misdeed, Some(*evidence)),
            _ => return Ok(None),
        };
        Ok(Some(Said {
            leaf: place.leaf,
            reporter: place.account,
            node,
            misdeed,
            evidence,
        }))
    }

    /// How far a report is that the ledger may not have any more.
    fn stage(&self, state: &Ledger, id: &Hash) -> Stage {
        if let Some(open) = state.report_of(id) {
            return Stage::of(open);
        }
        let Some(evidence) = &self.evidence else {
            return Stage::Punished;
        };
        match state.reported(&self.node, &self.misdeed.once(evidence)) {
            // Where it ran out it may have been made again, by another transaction.
            Some(report) if report == id => Stage::Judged,
            _ => Stage::RanOut,
        }
    }
}

/// A report: what it says, how far it is, and what the ledger has of it while it is open.
#[utoipa::path(get, path = "/v1/reports/{id}", operation_id = "report", tag = "governance", params(("id" = String, Path, pattern = "^blake3:[0-9a-f]{64}$", description = "its id, `blake3:` and 64 digits")),
    responses((status = 200, body = ReportDetail), (status = 404, description = "no such transaction reported a misdeed")))]
pub(super) async fn show(
    State(app): State<App>,
    Path(text): Path<String>,
) -> Result<Json<ReportDetail>, Problem> {
    let id = id(&text)?;
    let said = app.read(move |reader| Said::read(reader, &id)).await?;
    let said = said.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            format!("no report is {id}; hint: a report is named by the transaction that made it"),
        )
    })?;
    let detail = app.look(move |live| {
        let state = &live.state;
        let open = state.report_of(&id);
        ReportDetail {
            id,
            stage: said.stage(state, &id),
            open: open.map(|open| ReportView::new(state, &id, open)),
            reporter: said.reporter,
            node: said.node,
            misdeed: said.misdeed,
            evidence: said.evidence,
            leaf: said.leaf,
        }
    });
    Ok(Json(detail.await?))
}

/// A misdeed that was reported.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MisdeedView {
    /// The report: the transaction that made it.
    #[schema(value_type = String)]
    pub report: Hash,
    /// The key that it was done with.
    #[schema(value_type = String)]
    pub key: Key,
    /// What the node is said to have done.
    #[schema(value_type = String)]
    pub misdeed: Misdeed,
    /// How far the report is.
    pub stage: Stage,
}

/// What was reported of a node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MisdeedsView {
    /// The key that it was registered with.
    #[schema(value_type = String)]
    pub address: Key,
    /// Why it does not take part, and until when at least.
    #[schema(value_type = Option<Object>)]
    pub jailed: Option<Jailed>,
    /// Reports by the keys that it has and that it still answers for, acquittals included, 64 at most.
    pub items: Vec<MisdeedView>,
    /// Whether there are more.
    pub more: bool,
}

/// What was reported of a node, and did not run out: 64 at most.
#[utoipa::path(get, path = "/v1/nodes/{address}/misdeeds", operation_id = "node_misdeeds", tag = "nodes",
    params(("address" = String, Path, description = "an SS58 address, prefix 42: any key of the node")),
    responses((status = 200, body = MisdeedsView), (status = 404, description = "no node has that key")))]
pub(super) async fn misdeeds(
    State(app): State<App>,
    Path(text): Path<String>,
) -> Result<Json<MisdeedsView>, Problem> {
    let key = address(&text)?;
    let found = app.look(move |live| {
        let state = &live.state;
        let address = state.owner(&key)?;
        let jailed = state.node(&address)?.jailed;
        let reports = state.reports_on(&address).take(MISDEEDS + 1);
        Some((address, jailed, reports.collect::<Vec<_>>()))
    });
    let (address, jailed, mut reports) = found.await?.ok_or_else(|| {
        Problem::new(
            Code::NotFound,
            format!("no node is registered with the key {key}; hint: `adit register` does that"),
        )
    })?;
    let more = reports.len() > MISDEEDS;
    reports.truncate(MISDEEDS);
    let read = app.read(move |reader| {
        let said = |(key, report): (Key, Hash)| {
            let said = Said::read(reader, &report)?;
            Ok(said.map(|said| (key, report, said)))
        };
        let all = reports.into_iter().map(said);
        all.filter_map(Result::transpose)
            .collect::<Result<Vec<_>, _>>()
    });
    let read = read.await?;
    let items = app.look(move |live| {
        let items = read.into_iter().map(|(key, report, said)| MisdeedView {
            report,
            key,
            misdeed: said.misdeed,
            stage: said.stage(&live.state, &report),
        });
        items.collect()
    });
    Ok(Json(MisdeedsView {
        address,
        jailed,
        items: items.await?,
        more,
    }))
}
