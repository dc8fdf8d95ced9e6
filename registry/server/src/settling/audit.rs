//! Every settlement that a ledger took in, computed again from public logs alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use adit_ledger::entry::LogEntry;
use adit_ledger::rewards::{Earned, Settlement};
use adit_ledger::state::Closing;
use adit_ledger::{Action, Key, State};
use adit_protocol::Document as _;
use thiserror::Error;

use super::epoch::{EpochError, Settled, settle};
use super::logs::{LogSet, LogsError, Places};
use super::program::Programs;
use crate::follow::{FollowError, Follower};

/// Why settlements cannot be computed again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The registry's log.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// A coordinator's log.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// The settlement itself.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The state at the end of the epoch was not seen.
    #[error(
        "epoch {epoch} was settled and its end was not followed; hint: begin with the first entry of the registry's log"
    )]
    NoEnd {
        /// The epoch.
        epoch: u64,
    },
}

/// A settlement in the ledger's log, and what it comes to.
#[derive(Debug)]
pub struct Recomputed {
    /// Index of its entry.
    pub leaf: u64,
    /// What the ledger took in.
    pub said: Settlement,
    /// What it comes to.
    pub found: Settled,
}

impl Recomputed {
    /// Whether both are the same, to the last bit.
    pub fn agrees(&self) -> bool {
        self.said.hash() == self.found.settlement.hash()
    }
}

/// Follows a registry's log from the first entry on, and computes every settlement in it again.
pub struct Auditor<P: Places> {
    follower: Follower,
    logs: LogSet<P>,
    programs: Arc<Programs>,
    /// States at the ends of epochs that may be settled yet.
    ends: BTreeMap<u64, State>,
    /// What accounts had earned up to the last epoch that was computed, and up to the one before.
    earned: Vec<Earned>,
    before: Vec<Earned>,
    last: Option<u64>,
}

impl<P: Places> Auditor<P> {
    /// Begins before the first entry.
    pub fn new(follower: Follower, places: P, programs: Arc<Programs>) -> Auditor<P> {
        let genesis = follower.state().head().genesis;
        Auditor {
            follower,
            logs: LogSet::new(genesis, places),
            programs,
            ends: BTreeMap::new(),
            earned: Vec::new(),
            before: Vec::new(),
            last: None,
        }
    }

    /// The ledger, as far as it was followed.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// Where logs are read from.
    pub fn places(&mut self) -> &mut P {
        self.logs.places()
    }

    /// What accounts have earned in all epochs that were computed.
    pub fn earned(&self) -> &[Earned] {
        &self.earned
    }

    /// Takes in the next entry of the registry's log. If it is a settlement, returns what it comes to.
    ///
    /// # Errors
    /// [`AuditError`].
    pub async fn entry(&mut self, bytes: &[u8]) -> Result<Option<Recomputed>, AuditError> {
        let leaf = self.follower.leaf();
        // What it was computed from is the state before.
        let said = match LogEntry::from_bytes(bytes) {
            Ok(LogEntry::Transaction(signed)) => match &signed.transaction().action {
                Action::Settle { settlement, .. } => Some(settlement.as_ref().clone()),
                _ => None,
            },
            Ok(LogEntry::Block { time_ms, .. }) => {
                self.ended(time_ms);
                None
            }
            _ => None,
        };
        let due = said.map(|said| (self.follower.state().clone(), said));
        self.follower.entry(bytes)?;
        let Some((now, said)) = due else {
            return Ok(None);
        };
        let mut found = self.recompute(&now, said.epoch).await?;
        // Whether it corrects another one is no question of what is right.
        found.settlement.replaces = said.replaces;
        Ok(Some(Recomputed { leaf, said, found }))
    }

    /// Keeps the state before a block if an epoch ends with it.
    fn ended(&mut self, time_ms: u64) {
        let state = self.follower.state();
        if let Some(over) = epoch_over(state, time_ms) {
            self.ends.retain(|end, _| may_be_settled(state, *end));
            self.ends.insert(over, state.clone());
        }
    }

    async fn recompute(&mut self, now: &State, epoch: u64) -> Result<Settled, AuditError> {
        let closings = closings(now, epoch);
        let logs = self.logs.epoch(epoch, &closings).await?;
        let end = self.ends.get(&epoch).ok_or(AuditError::NoEnd { epoch })?;
        if self.last != Some(epoch) {
            self.before = std::mem::take(&mut self.earned);
        }
        let found = settle(epoch, end, now, logs, &self.before, &self.programs).await?;
        self.earned = found.kept.tree.earned().to_vec();
        self.last = Some(epoch);
        // This one may be settled again.
        self.ends.retain(|end, _| *end >= epoch);
        Ok(found)
    }
}

/// The epoch that ends with a block of this time, if one does: the last before the block's. Where a
/// registry was away for more than an epoch, no other of them can be closed.
pub(crate) fn epoch_over(state: &State, time_ms: u64) -> Option<u64> {
    let begins = state.epoch_at(time_ms);
    let over = begins.checked_sub(1)?;
    (begins > state.head().epoch).then_some(over)
}

/// Whether an epoch that ended before the last one may be settled yet, or settled again. It is closed
/// in the epoch after it or never.
pub(super) fn may_be_settled(state: &State, epoch: u64) -> bool {
    let settled = state.head().settled;
    epoch.saturating_add(1) == settled || state.is_unsettled(epoch)
}

/// The logs that were closed in an epoch.
pub fn closings(state: &State, epoch: u64) -> Vec<(Key, Closing)> {
    let all = state.nodes().filter_map(|(coordinator, _)| {
        let closing = state.closing(coordinator, epoch)?;
        Some((*coordinator, *closing))
    });
    all.collect()
}
