//! What must hold of an input, for its reader and its writer alike.

use super::{
    COORDINATORS_MAX, InputError, MINERS_MAX, Parameters, RECEIPTS_MAX, Receipt, Section, Snapshot,
    UNREGISTERED, VOTES_MAX,
};
use crate::amount::{self, Overflow, PPM};

/// A snapshot that was checked, with what the check found on its way.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) snapshot: Snapshot,
    /// Sum of the coordinators' saturated stakes.
    pub(crate) coordinator_stake: u128,
    /// For each node by its number, where its votes end; they begin where those before end.
    pub(crate) votes_end: Vec<usize>,
}

impl Parameters {
    /// Stake of a coordinator as it counts.
    pub(crate) fn saturated_coordinator(&self, stake: u128) -> u128 {
        saturated(stake, self.coordinator_stake_min, self.saturation)
    }

    /// Stake of a miner as it counts.
    pub(crate) fn saturated_miner(&self, stake: u128) -> u128 {
        saturated(stake, self.miner_stake_min, self.saturation)
    }

    fn check(&self) -> Result<(), InputError> {
        let whole = "a million is the whole";
        for (name, found) in [
            ("fee_ppm", self.fee_ppm),
            ("work_share_ppm", self.work_share_ppm),
            ("quality_min_ppm", self.quality_min_ppm),
            ("attempt_fee_max_ppm", self.attempt_fee_max_ppm),
        ] {
            need(u64::from(found) <= PPM, name, found, whole)?;
        }
        let shares = self.shares;
        let shares: u64 = [
            shares.miners,
            shares.voters,
            shares.checkers,
            shares.treasury,
        ]
        .map(u64::from)
        .iter()
        .sum();
        need(shares == PPM, "shares", shares, "they sum to a million ppm")?;
        need(
            self.saturation >= 1,
            "saturation",
            self.saturation,
            "it is at least 1",
        )
    }
}

fn saturated(stake: u128, least: u128, saturation: u32) -> u128 {
    stake.min(least.saturating_mul(u128::from(saturation)))
}

fn need(
    holds: bool,
    name: &'static str,
    found: impl Into<u64>,
    rule: &'static str,
) -> Result<(), InputError> {
    match holds {
        true => Ok(()),
        false => Err(InputError::Parameter {
            name,
            found: found.into(),
            rule,
        }),
    }
}

/// Whether a section is not longer than it may be.
pub(super) fn bounded(section: Section, found: u64) -> Result<(), InputError> {
    let max = match section {
        Section::Header => 1,
        Section::Coordinators => COORDINATORS_MAX.into(),
        Section::Miners => MINERS_MAX.into(),
        Section::Votes => VOTES_MAX.into(),
        Section::Receipts => RECEIPTS_MAX,
    };
    match found <= max {
        true => Ok(()),
        false => Err(InputError::TooMany {
            section,
            found,
            max,
        }),
    }
}

impl Checked {
    /// Checks order, ranges, indices and sums. Afterwards no sum of the settlement can overflow:
    /// everything that is paid comes from the escrows and the emission, which fit into 128 bits
    /// together, and so does all work that a coordinator's escrow can pay for.
    pub(super) fn new(snapshot: Snapshot) -> Result<Checked, InputError> {
        snapshot.parameters.check()?;
        let coordinator_stake = coordinators(&snapshot)?;
        miners(&snapshot)?;
        let votes_end = votes(&snapshot)?;
        Ok(Checked {
            snapshot,
            coordinator_stake,
            votes_end,
        })
    }
}

fn coordinators(snapshot: &Snapshot) -> Result<u128, InputError> {
    let section = Section::Coordinators;
    let (rows, parameters) = (&snapshot.coordinators, &snapshot.parameters);
    bounded(section, rows.len() as u64)?;
    ascending(section, rows.iter().map(|row| &row.node))?;
    let (mut stake, mut money) = (0, parameters.emission);
    for (at, row) in (0u64..).zip(rows) {
        ratio(section, at, "commission_ppm", row.commission_ppm)?;
        stake = amount::add(
            stake,
            parameters.saturated_coordinator(row.stake),
            "saturated stake of the coordinators",
        )?;
        money = amount::add(money, row.escrow, "sum of emission and escrows")?;
        let factor = u128::from(parameters.work_of_price_ppm);
        amount::mul_div(row.escrow, factor, PPM.into()).ok_or(Overflow {
            what: "work that an escrow can pay for",
        })?;
    }
    Ok(stake)
}

fn miners(snapshot: &Snapshot) -> Result<(), InputError> {
    let section = Section::Miners;
    bounded(section, snapshot.miners.len() as u64)?;
    ascending(section, snapshot.miners.iter().map(|row| &row.node))?;
    let mut stake = 0;
    for (at, row) in (0u64..).zip(&snapshot.miners) {
        ratio(section, at, "commission_ppm", row.commission_ppm)?;
        ratio(section, at, "quality_ppm", row.quality_ppm)?;
        ratio(section, at, "cut_ppm", row.cut_ppm)?;
        stake = amount::add(
            stake,
            snapshot.parameters.saturated_miner(row.stake),
            "saturated stake of the miners",
        )?;
    }
    Ok(())
}

fn votes(snapshot: &Snapshot) -> Result<Vec<usize>, InputError> {
    let section = Section::Votes;
    bounded(section, snapshot.votes.len() as u64)?;
    ascending(
        section,
        snapshot.votes.iter().map(|row| (row.node, row.voter)),
    )?;
    let stakes = (snapshot.coordinators.iter().map(|row| row.stake))
        .chain(snapshot.miners.iter().map(|row| row.stake));
    let mut left = (0u64..).zip(&snapshot.votes).peekable();
    let mut ends = Vec::new();
    let mut end = 0;
    for (node, stake) in (0u64..).zip(stakes) {
        let mut sum = 0;
        while let Some((at, vote)) = left.next_if(|(_, vote)| u64::from(vote.node) == node) {
            if vote.amount == 0 {
                return Err(InputError::EmptyVote { row: at });
            }
            sum = amount::add(sum, vote.amount, "sum of a node's votes")?;
            end += 1;
        }
        if sum != stake {
            return Err(InputError::Stake {
                node,
                stake,
                votes: sum,
            });
        }
        ends.push(end);
    }
    // Votes ascend by node, so what is left is for nodes beyond the last.
    match left.next() {
        None => Ok(ends),
        Some((row, vote)) => Err(InputError::Index {
            section,
            row,
            found: vote.node,
            count: ends.len() as u64,
        }),
    }
}

fn ascending<T: Ord>(section: Section, keys: impl Iterator<Item = T>) -> Result<(), InputError> {
    let mut last = None;
    for (row, key) in (0u64..).zip(keys) {
        if last.as_ref().is_some_and(|last| *last >= key) {
            return Err(InputError::Order { section, row });
        }
        last = Some(key);
    }
    Ok(())
}

fn ratio(section: Section, row: u64, name: &'static str, found: u32) -> Result<(), InputError> {
    match u64::from(found) <= PPM {
        true => Ok(()),
        false => Err(InputError::Ratio {
            section,
            row,
            name,
            found,
        }),
    }
}

/// Order and indices of the receipts, one after the other.
#[derive(Clone, Debug)]
pub(super) struct ReceiptChecks {
    coordinators: u64,
    miners: u64,
    last: Option<(u32, u64)>,
    /// Receipts so far.
    pub(super) seen: u64,
}

impl ReceiptChecks {
    pub(super) fn new(snapshot: &Snapshot) -> ReceiptChecks {
        ReceiptChecks {
            coordinators: snapshot.coordinators.len() as u64,
            miners: snapshot.miners.len() as u64,
            last: None,
            seen: 0,
        }
    }

    /// Checks the next one.
    pub(super) fn next(&mut self, receipt: &Receipt) -> Result<(), InputError> {
        let (section, row) = (Section::Receipts, self.seen);
        let known = u64::from(receipt.miner) < self.miners || receipt.miner == UNREGISTERED;
        for (holds, found, count) in [
            (
                u64::from(receipt.coordinator) < self.coordinators,
                receipt.coordinator,
                self.coordinators,
            ),
            (known, receipt.miner, self.miners),
        ] {
            if !holds {
                return Err(InputError::Index {
                    section,
                    row,
                    found,
                    count,
                });
            }
        }
        let key = (receipt.coordinator, receipt.leaf);
        if self.last.is_some_and(|last| last >= key) {
            return Err(InputError::Order { section, row });
        }
        self.last = Some(key);
        self.seen = row.saturating_add(1);
        Ok(())
    }
}
