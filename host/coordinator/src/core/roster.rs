//! Candidates, and the roster that draws are made from.

use std::sync::Arc;

use adit_protocol::network::entry::Entry;
use adit_protocol::network::roster::{Candidate, Roster, RosterEntry, weights};
use adit_protocol::network::standing::Facts;

use super::{Core, Io};
use crate::store::{DocumentKind, RosterRow, StoreError};

/// Miners that left are many if they are more than one in so many candidates.
const LEFT_PART: usize = 16;

impl Core {
    /// When a roster is due, if one is.
    pub(super) fn roster_due(&self) -> Option<u64> {
        let after = |ms: u64| self.roster_made_ms.saturating_add(ms);
        let candidates = self.candidates();
        let thousands = u64::try_from(candidates.div_ceil(1000)).unwrap_or(u64::MAX);
        let spaced = |ms: u64| after(ms.saturating_mul(thousands.max(1)));
        // Tasks that are given to who is gone are given again, which costs entries and attempts:
        // with many such miners, the next roster does not wait longer than a small one.
        let changed = match self.left.saturating_mul(LEFT_PART) > candidates {
            true => after(self.options.roster_ms),
            false => spaced(self.options.roster_ms),
        };
        let genesis = &self.members.genesis;
        let force = self.standing.in_force();
        let epoch_end = force.filter(|f| !f.roster.candidates.is_empty()).map(|f| {
            let next = f.roster.epoch.saturating_add(1);
            let end = genesis
                .created_ms
                .saturating_add(next.saturating_mul(genesis.epoch_ms));
            end.max(after(self.options.roster_ms))
        });
        [
            self.roster_stale.then_some(changed),
            self.quality_stale.then(|| spaced(self.options.quality_ms)),
            epoch_end,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Logs another roster if one is due and it differs from the one in force.
    pub(super) fn renew_roster(&mut self, now_ms: u64, io: &mut Io<'_>) -> Result<(), StoreError> {
        if self.roster_due().is_none_or(|due| due > now_ms) {
            return Ok(());
        }
        self.roster_stale = false;
        self.quality_stale = false;
        self.left = 0;
        let candidates = self.current_candidates(now_ms);
        let force = self.standing.in_force();
        let last_epoch = force.map_or(0, |f| f.roster.epoch);
        // A clock that was set back must not lead back to an epoch that has ended.
        let epoch = self.members.genesis.epoch_at(now_ms).max(last_epoch);
        let same = match force {
            None => candidates.is_empty(),
            Some(f) => {
                let same = f.roster.candidates == candidates;
                let all = f.roster.epoch == epoch && f.roster.membership == self.members.hash;
                same && (all || candidates.is_empty())
            }
        };
        if same {
            return Ok(());
        }
        self.write_roster(now_ms, epoch, candidates, io)
    }

    fn write_roster(
        &mut self,
        now_ms: u64,
        epoch: u64,
        candidates: Vec<Candidate>,
        io: &mut Io<'_>,
    ) -> Result<(), StoreError> {
        use adit_protocol::cbor::Document as _;
        let own = self.members.membership.coordinator(&self.own);
        let roster = Roster {
            epoch,
            beacon: self.members.genesis.beacon(epoch),
            membership: self.members.hash,
            region: own.map_or_else(String::new, |member| member.region.clone()),
            candidates,
        };
        let leaf = io.store.next_leaf();
        let genesis = self.members.genesis_hash;
        let (entry, _) = RosterEntry::make(
            &genesis,
            &roster,
            leaf,
            now_ms,
            &self.node,
            &mut &mut *self.rng,
        );
        let facts = Facts {
            roster: Some(Arc::new(roster.clone())),
            membership: Some(Arc::new(self.members.membership.clone())),
            ..Facts::default()
        };
        let at = self.log(&Entry::Roster(entry.clone()), &facts, &[], io)?;
        if at != leaf {
            return Err(StoreError::Broken(format!(
                "a roster for leaf {leaf} came to leaf {at}"
            )));
        }
        let known = self.written_membership == Some(self.members.hash);
        if !known {
            let bytes = self.members.membership.to_cbor();
            io.store
                .put_document(&self.members.hash, DocumentKind::Membership, &bytes)?;
            let signed = self.members.signed.to_cbor();
            io.store.put_membership(&self.members.hash, &signed)?;
            self.written_membership = Some(self.members.hash);
        }
        io.store.add_roster(&RosterRow {
            leaf,
            entry,
            roster,
        })?;
        self.roster_made_ms = now_ms;
        self.counters.rosters += 1;
        self.roster_changed();
        Ok(())
    }

    /// Counts anew what depends on the roster in force.
    pub(super) fn roster_changed(&mut self) {
        let force = self.standing.in_force();
        let candidates = force.map_or(&[][..], |f| &f.roster.candidates);
        self.positions = (0usize..)
            .zip(candidates)
            .map(|(at, candidate)| (candidate.node, at))
            .collect();
        let mut queue = std::mem::take(&mut self.queue);
        queue.roster(|requirements| self.standing.free(requirements));
        self.queue = queue;
    }

    /// Who can be drawn now: active, registered with stake, and not paused. Ascending by node key.
    fn current_candidates(&self, now_ms: u64) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = self
            .miners
            .iter()
            .filter(|(_, m)| !m.paused && (m.polling || m.active_until_ms > now_ms))
            .filter_map(|(node, miner)| {
                let offer = miner.offer.as_ref()?;
                let stake = self.members.miner_stake(node).ok()?;
                Some(Candidate {
                    node: *node,
                    stake,
                    slots: offer.slots,
                    cpu: offer.cpu,
                    gpu_memory_bytes: offer.gpu_memory_bytes,
                    environments: offer.environments.clone(),
                    quality_ppm: self.standing.record(node).quality_ppm(),
                    locality: miner.locality(),
                    weight: 0,
                })
            })
            .collect();
        candidates.sort_by_key(|candidate| candidate.node);
        let all = weights(&self.members.genesis, &candidates);
        for (candidate, weight) in candidates.iter_mut().zip(all) {
            candidate.weight = weight;
        }
        candidates
    }
}
