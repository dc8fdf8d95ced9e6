//! Draws, shown so that anyone can make them again: the roster with its proof, who could be drawn
//! and with which weight, the number, and on whom it fell.

use adit_protocol::keys::PublicKey;
use adit_protocol::network::draw::{DrawNumber, draw_weight};
use adit_protocol::network::roster::PPM;

use crate::store::{AssignmentRow, RosterRow, StoreError};
use crate::view::{CandidateView, DrawView, NodeKey};

/// The draws behind assignments; `roster` finds a roster by its leaf.
pub(crate) fn draw_views<'a>(
    rows: impl Iterator<Item = &'a AssignmentRow>,
    key: &PublicKey,
    mut roster: impl FnMut(u64) -> Result<Option<RosterRow>, StoreError>,
) -> Result<Vec<DrawView>, StoreError> {
    let mut views = Vec::new();
    let mut last: Option<RosterRow> = None;
    for row in rows {
        let leaf = row.assignment.roster;
        if last.as_ref().is_none_or(|r| r.leaf != leaf) {
            last = roster(leaf)?;
        }
        if let Some(roster) = &last {
            views.push(draw_view(row, roster, key)?);
        }
    }
    Ok(views)
}

fn draw_view(
    row: &AssignmentRow,
    roster: &RosterRow,
    key: &PublicKey,
) -> Result<DrawView, StoreError> {
    let a = &row.assignment;
    let output = roster
        .entry
        .output(&a.genesis, &roster.roster.beacon, roster.leaf, key)
        .map_err(|_| {
            StoreError::Damaged(format!("the proof of the roster of leaf {}", roster.leaf))
        })?;
    let drawable = |at: usize| {
        let byte = row.eligible.get(at / 8).copied().unwrap_or(0);
        byte & (1 << (at % 8)) != 0
    };
    let eligible = (0usize..)
        .zip(&roster.roster.candidates)
        .filter(|(at, _)| drawable(*at))
        .map(|(_, candidate)| CandidateView {
            miner: NodeKey(candidate.node),
            eligible: true,
            weight: draw_weight(candidate, a.local),
            chance_ppm: 0,
            lacks: None,
        });
    Ok(DrawView {
        assignment: row.hash,
        leaf: row.leaf,
        replica: a.replica,
        attempt: a.attempt,
        local: a.local,
        roster_leaf: roster.leaf,
        roster: roster.entry.root,
        epoch: roster.entry.epoch,
        beacon: roster.roster.beacon,
        vrf_point: roster.entry.vrf_point,
        vrf_proof: roster.entry.vrf_proof,
        vrf_output: output,
        number: DrawNumber::new(&output, &a.task, a.attempt, a.replica).hash(),
        eligible: with_chances(eligible.collect()),
        miner: NodeKey(a.miner),
    })
}

/// Fills in each candidate's chance, by its share of the weights.
pub(crate) fn with_chances(mut views: Vec<CandidateView>) -> Vec<CandidateView> {
    let total: u128 = views.iter().map(|v| u128::from(v.weight)).sum();
    for view in &mut views {
        let chance = (u128::from(view.weight) * u128::from(PPM)).checked_div(total);
        view.chance_ppm = u64::try_from(chance.unwrap_or(0)).unwrap_or(0);
    }
    views
}
