//! What is in the logs of coordinators and is not settled yet: for a miner that wants to know what is
//! still to come.

use adit_ledger::registration::{NodeKeys, Role};
use adit_ledger::state::Node;
use adit_ledger::{Key, State};
use adit_net::log::{LogReader, WalkOptions};
use adit_net::tls::Roots;
use adit_protocol::{Amount, Hash};
use adit_settlement::{Due, due};
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Extractor, Judged};
use super::logs::LogsError;
use super::sources::{log_trust, once};

/// Entries before the first open one that are read too, in which the assignments of open receipts are
/// mostly found.
const BACK: u64 = 65_536;

/// A log with leaves that are not settled yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct OpenLog {
    /// The key that names the coordinator.
    #[schema(value_type = String)]
    pub coordinator: Key,
    /// The node key that the log is named by.
    #[schema(value_type = String)]
    pub node_key: Key,
    /// The key that signs it.
    #[schema(value_type = String)]
    pub log_key: Key,
    /// Where the coordinator is.
    pub url: String,
    /// The first leaf that is not settled.
    pub first: u64,
}

/// The logs of coordinators that take part, or have something in escrow to pay with.
pub fn logs(state: &State) -> Vec<OpenLog> {
    let coordinators = state.nodes().filter(|(key, node)| {
        node.role == Role::Coordinator
            && (state.takes_part(node) || !state.escrow_of(key).is_zero())
    });
    coordinators
        .flat_map(|(key, node)| logs_of(state, *key, node))
        .collect()
}

fn logs_of(state: &State, coordinator: Key, node: &Node) -> Vec<OpenLog> {
    let mut closed: Vec<_> = state
        .unsettled()
        .filter(|(_, key)| *key == coordinator)
        .filter_map(|(epoch, key)| Some((epoch, state.closing(&key, epoch)?)))
        .collect();
    closed.sort_by_key(|(epoch, _)| *epoch);
    let mut open: Vec<(Key, u64)> = Vec::new();
    let mut add = |node_key: Key, first: u64| {
        if !open.iter().any(|(known, _)| *known == node_key) {
            open.push((node_key, first));
        }
    };
    for (_, closing) in closed {
        add(closing.node_key, closing.first);
    }
    // That of the epoch before may be closed yet.
    let before = state.head().epoch.saturating_sub(1);
    for keys in [node.keys_in(before), &node.keys] {
        let last = state.last_closing(&coordinator);
        let last = last.filter(|last| last.node_key == keys.node);
        add(keys.node, last.map_or(0, |last| last.size));
    }
    let former = node.former_keys.iter().map(|former| &former.keys);
    let all: Vec<&NodeKeys> = former.chain([&node.keys]).collect();
    let found = open.into_iter().filter_map(|(node_key, first)| {
        let keys = all.iter().find(|keys| keys.node == node_key)?;
        Some(OpenLog {
            coordinator,
            node_key,
            log_key: keys.log?,
            url: node.profile.url.clone()?,
            first,
        })
    });
    found.collect()
}

/// The receipts in a log that are not settled yet, by leaf. `next` is the first epoch that is not
/// settled. Those that nobody has judged have no decision; nothing is due for them before.
///
/// # Errors
/// [`LogsError`]; it can be tried again.
pub async fn receipts(
    genesis: Hash,
    log: &OpenLog,
    next: u64,
    roots: &Roots,
) -> Result<Vec<Judged>, LogsError> {
    let coordinator = log.coordinator;
    let nowhere = |why: String| LogsError::Nowhere { coordinator, why };
    let wrong = |error| LogsError::Read {
        coordinator,
        error: Box::new(error),
    };
    let trust = log_trust(&genesis, &log.node_key, &log.log_key);
    let trust = trust.map_err(|error| nowhere(error.to_string()))?;
    let client = once(&format!("{}/log", log.url), roots).map_err(nowhere)?;
    let reader = LogReader::new(client, trust);
    let newest = reader.checkpoint().await.map_err(wrong)?.checkpoint;
    let first = log.first.min(newest.size);
    let mut extractor = Extractor::new(genesis, *log.node_key.as_bytes());
    let begin = first.saturating_sub(BACK);
    let walk = reader.walk(&newest, begin..newest.size, WalkOptions::default());
    let mut walk = walk.await.map_err(wrong)?;
    let mut begun = false;
    while let Some(bundle) = walk.next().await.map_err(wrong)? {
        // A file may begin before.
        for (at, entry) in bundle.entries().filter(|(at, _)| *at >= begin) {
            if at < first {
                extractor.pass(at, entry, next);
                continue;
            }
            if !std::mem::replace(&mut begun, true) {
                extractor.begin(next);
            }
            extractor.entry(at, entry);
        }
    }
    if !begun {
        extractor.begin(next);
    }
    Ok(extractor.take(u64::MAX))
}

/// What a receipt brings its miner at most, if its coordinator's escrow has as much: the price or the
/// attempt fee, less what is burned of it.
pub fn brings(judged: &Judged, fee_ppm: u32) -> Amount {
    let Some(terms) = judged.terms.filter(|_| judged.accepted) else {
        return Amount::ZERO;
    };
    let amount = match due(judged.receipt.body.status.into(), false) {
        Due::Price => terms.price,
        Due::AttemptFee => terms.attempt_fee,
        Due::Nothing => Amount::ZERO,
    };
    let burned = adit_settlement::amount::part_up(amount.units(), fee_ppm);
    Amount::from_units(amount.units().saturating_sub(burned))
}
