//! The settlement of an epoch, from an input that is read receipt by receipt to an output.
//!
//! | file | subject |
//! |---|---|
//! | `outcome.rs` | what a receipt is due, and its work |
//! | `escrow.rs` | which receipts of a coordinator are paid |
//! | `slice.rs` | a coordinator's slice of the emission, and what goes by stake of it |
//! | `work.rs` | what goes by work of it |
//! | `earnings.rs` | from nodes to accounts |

mod earnings;
mod escrow;
mod outcome;
mod slice;
mod work;

use std::io::Read;

pub use self::outcome::{Due, due};

use self::earnings::Earnings;
use self::escrow::{Escrow, Payment};
use self::slice::{Slice, Worked};
use self::work::Completed;
use crate::amount::{Overflow, add, mul_div, part, ratio_up_to, split, subtract};
use crate::error::SettleError;
use crate::input::{Checked, InputReader, Receipt, Shares, UNREGISTERED, Vote};
use crate::output::{CoordinatorRow, Counts, MinerRow, Output, Totals};

/// Settles an epoch and keeps the result in memory.
///
/// # Errors
/// [`SettleError`] if the input is refused.
pub fn compute(input: impl Read) -> Result<Output, SettleError> {
    let mut reader = InputReader::new(input)?;
    let mut epoch = Epoch::new(reader.checked())?;
    // The group whose receipts are being read. Coordinators without receipts get their turn too.
    let mut group = 0;
    let mut escrow = None;
    while let Some(receipt) = reader.next_receipt()? {
        let checked = reader.checked();
        while group < receipt.coordinator {
            epoch.close(checked, group, escrow.take())?;
            group = group.saturating_add(1);
        }
        epoch.receipt(checked, &mut escrow, &receipt)?;
    }
    let checked = reader.checked();
    for group in group..checked.snapshot.coordinators.len() as u32 {
        epoch.close(checked, group, escrow.take())?;
    }
    epoch.finish(checked)
}

/// The parts of the emission.
struct Parts {
    miners: u128,
    voters: u128,
    treasury: u128,
}

impl Parts {
    fn of(emission: u128, shares: &Shares) -> Result<Parts, Overflow> {
        let weights = [
            shares.miners,
            shares.voters,
            shares.checkers,
            shares.treasury,
        ];
        // The shares sum to a million, so there is a split.
        let parts = split(emission, &weights.map(u128::from))?.unwrap_or_default();
        let at = |index: usize| parts.get(index).copied().unwrap_or(0);
        Ok(Parts {
            miners: at(0),
            voters: at(1),
            treasury: at(3),
        })
    }
}

/// What a miner came to so far.
#[derive(Clone, Copy, Default)]
struct MinerSum {
    income: u128,
    /// Before the cap by stake.
    by_work: u128,
    /// What its work would have brought beyond what the fees of its receipts allow.
    excess: u128,
    by_stake: u128,
    counts: Counts,
    /// Its place in [`Epoch::worked`], if it is there.
    worked: Option<usize>,
}

struct Epoch {
    parts: Parts,
    miners: Vec<MinerSum>,
    /// Those that were paid by the coordinator whose receipts are being read.
    worked: Vec<Worked>,
    /// The receipts of that coordinator that completed a task.
    completed: Completed,
    coordinators: Vec<CoordinatorRow>,
}

impl Epoch {
    fn new(checked: &Checked) -> Result<Epoch, Overflow> {
        let snapshot = &checked.snapshot;
        let parameters = &snapshot.parameters;
        Ok(Epoch {
            parts: Parts::of(parameters.emission, &parameters.shares)?,
            miners: vec![MinerSum::default(); snapshot.miners.len()],
            worked: Vec::new(),
            completed: Completed::default(),
            coordinators: Vec::with_capacity(snapshot.coordinators.len()),
        })
    }

    fn receipt(
        &mut self,
        checked: &Checked,
        escrow: &mut Option<Escrow>,
        receipt: &Receipt,
    ) -> Result<(), Overflow> {
        let snapshot = &checked.snapshot;
        let Some(coordinator) = snapshot.coordinators.get(receipt.coordinator as usize) else {
            // The reader refuses such a receipt.
            return Ok(());
        };
        let escrow = escrow.get_or_insert_with(|| Escrow::new(coordinator));
        let payment = escrow.pay(&snapshot.parameters, receipt)?;
        let index = match receipt.miner {
            UNREGISTERED => return Ok(()),
            index => index as usize,
        };
        let (Some(miner), Some(node)) = (self.miners.get_mut(index), snapshot.miners.get(index))
        else {
            return Ok(());
        };
        match payment {
            Payment::None(reason) => miner.counts.count(Some(reason)),
            Payment::Paid {
                income,
                burned,
                unpaid,
                work,
            } => {
                miner.counts.count(unpaid);
                miner.income = add(miner.income, income, "sum of incomes")?;
                let next = self.worked.len();
                let at = *miner.worked.get_or_insert(next);
                if at == next {
                    self.worked.push(Worked::new(receipt.miner));
                }
                if let Some(worked) = self.worked.get_mut(at) {
                    worked.add(burned, work.is_some())?;
                }
                if let Some(work) = work {
                    let work = snapshot.parameters.weighed(work, node);
                    self.completed.push(receipt.miner, work, burned)?;
                }
            }
        }
        Ok(())
    }

    /// All receipts of a coordinator have been read: divides its slice.
    fn close(
        &mut self,
        checked: &Checked,
        index: u32,
        escrow: Option<Escrow>,
    ) -> Result<(), Overflow> {
        let snapshot = &checked.snapshot;
        let parameters = &snapshot.parameters;
        let Some(coordinator) = snapshot.coordinators.get(index as usize) else {
            return Ok(());
        };
        let (spent, burned, counts) =
            escrow.map_or((0, 0, Counts::default()), |e| (e.spent, e.burned, e.counts));
        let slice = Slice::new(
            parameters,
            self.parts.miners,
            parameters.saturated_coordinator(coordinator.stake),
            checked.coordinator_stake,
            burned,
        );
        for piece in self.completed.divide(slice.work_part(parameters), burned) {
            let piece = piece?;
            if let Some(miner) = self.miners.get_mut(piece.miner as usize) {
                miner.by_work = add(miner.by_work, piece.by_work, "emission by work")?;
                miner.excess = add(miner.excess, piece.excess, "emission above fees")?;
            }
        }
        self.completed.clear();
        let mut worked = std::mem::take(&mut self.worked);
        for worked in &worked {
            if let Some(miner) = self.miners.get_mut(worked.miner as usize) {
                miner.worked = None;
            }
        }
        worked.retain(|worked| worked.completed);
        worked.sort_unstable_by_key(|worked| worked.miner);
        let by_stake = slice.by_stake(parameters, &snapshot.miners, &worked)?;
        for (worked, piece) in worked.iter().zip(by_stake) {
            if let Some(miner) = self.miners.get_mut(worked.miner as usize) {
                miner.by_stake = add(miner.by_stake, piece, "emission by stake")?;
            }
        }
        let earned = mul_div(self.parts.voters, slice.size, self.parts.miners);
        self.coordinators.push(CoordinatorRow {
            node: coordinator.node,
            spent,
            burned,
            slice: slice.size,
            earned: earned.map_or(0, |(earned, _)| earned),
            counts,
        });
        Ok(())
    }

    /// Caps, cuts, passes on to accounts, and sums up.
    fn finish(self, checked: &Checked) -> Result<Output, SettleError> {
        let snapshot = &checked.snapshot;
        let parameters = &snapshot.parameters;
        let mut earnings = Earnings::default();
        let mut votes = Votes::new(checked);
        for (row, node) in self.coordinators.iter().zip(&snapshot.coordinators) {
            earnings.pass_on(row.earned, node.commission_ppm, node.operator, votes.next())?;
        }
        let mut miners = Vec::with_capacity(self.miners.len());
        for (sum, node) in self.miners.iter().zip(&snapshot.miners) {
            let by_work = ratio_up_to(node.stake, parameters.cap_ppm, sum.by_work);
            let emission = add(by_work, sum.by_stake, "a miner's emission")?;
            let cut = part(emission, node.cut_ppm);
            let above_stake = subtract(sum.by_work, by_work, "cap")?;
            let earned = add(
                sum.income,
                subtract(emission, cut, "cut")?,
                "a miner's earnings",
            )?;
            earnings.pass_on(earned, node.commission_ppm, node.operator, votes.next())?;
            miners.push(MinerRow {
                node: node.node,
                income: sum.income,
                by_work,
                by_stake: sum.by_stake,
                capped: add(sum.excess, above_stake, "what was capped off")?,
                cut,
                counts: sum.counts,
            });
        }
        let (accounts, paid) = earnings.merge()?;
        let mut output = Output {
            epoch: parameters.epoch,
            genesis: parameters.genesis,
            accounts,
            miners,
            coordinators: self.coordinators,
            totals: Totals {
                emission: parameters.emission,
                treasury: self.parts.treasury,
                paid,
                ..Totals::default()
            },
        };
        output.sum_up()?;
        output.check()?;
        Ok(output)
    }
}

impl Output {
    /// Fills in those totals that are sums of the rows.
    fn sum_up(&mut self) -> Result<(), Overflow> {
        self.totals.minted = self.minted()?;
        self.totals.unminted = subtract(
            self.totals.emission,
            self.totals.minted,
            "minted part of the emission",
        )?;
        for row in &self.coordinators {
            self.totals.spent = add(self.totals.spent, row.spent, "sum spent")?;
            self.totals.burned = add(self.totals.burned, row.burned, "sum burned")?;
            self.totals.counts.add(&row.counts);
        }
        Ok(())
    }
}

/// Hands out the votes of one node after the other, by their numbers.
struct Votes<'a> {
    ends: std::slice::Iter<'a, usize>,
    votes: &'a [Vote],
    begin: usize,
}

impl<'a> Votes<'a> {
    fn new(checked: &'a Checked) -> Votes<'a> {
        Votes {
            ends: checked.votes_end.iter(),
            votes: &checked.snapshot.votes,
            begin: 0,
        }
    }

    fn next(&mut self) -> &'a [Vote] {
        let end = self.ends.next().copied().unwrap_or(self.begin);
        let votes = self.votes.get(self.begin..end).unwrap_or_default();
        self.begin = end;
        votes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::InputWriter;
    use crate::testing;

    /// One receipt through all rules, with the numbers worked out by hand.
    #[test]
    fn one_receipt_becomes_earnings() {
        let mut writer = InputWriter::new(Vec::new(), testing::snapshot(), 1).unwrap();
        writer.receipt(&testing::receipt(1)).unwrap();
        let output = compute(&writer.finish().unwrap()[..]).unwrap();
        let (coordinator, miner) = (&output.coordinators[0], &output.miners[0]);
        // 5% of the price of 1000 are burned, and k is 5.
        assert_eq!((coordinator.spent, coordinator.burned), (1_000, 50));
        assert_eq!(coordinator.slice, 250);
        // 150,000 · 250 / 700,000 = 53.57.
        assert_eq!(coordinator.earned, 53);
        // Of the 150 by work, twice the stake of 30 is the most.
        assert_eq!((miner.income, miner.by_work, miner.capped), (950, 60, 90));
        // By stake 40% of five times what was burned, of which a quality of 90% lets 45 count. 1% of the
        // 150 is cut.
        assert_eq!((miner.by_stake, miner.cut), (90, 1));
        // The miner earned 1099, of which 10% are its operator's; so of the coordinator's 53.
        let accounts: Vec<_> = (output.accounts.iter())
            .map(|row| (row.account[0], row.amount))
            .collect();
        assert_eq!(accounts, [(3, 5), (5, 109), (6, 48), (7, 990)]);
        let totals = &output.totals;
        assert_eq!((totals.treasury, totals.minted), (50_000, 50_202));
        assert_eq!((totals.paid, totals.unminted), (1_152, 949_798));
        assert_eq!(totals.counts.paid, 1);
    }

    /// A miner that failed for one coordinator, and for the next has ten times the work of another for
    /// the same price.
    #[test]
    fn by_work_only_fees_of_the_same_log_count() {
        let settle = |cap_ppm| {
            let mut snapshot = testing::snapshot();
            snapshot.parameters.cap_ppm = cap_ppm;
            let (mut coordinator, mut miner) =
                (snapshot.coordinators[0].clone(), snapshot.miners[0].clone());
            (coordinator.node, miner.node) = ([3; 32], [5; 32]);
            snapshot.coordinators.push(coordinator);
            snapshot.miners.push(miner);
            snapshot.votes = (0..)
                .zip([3_000, 3_000, 30, 30])
                .map(|(node, amount)| Vote {
                    node,
                    voter: [6; 32],
                    amount,
                })
                .collect();
            let failed = Receipt {
                status: 17,
                price: 20_000,
                attempt_fee: 10_000,
                ..testing::receipt(1)
            };
            let much = Receipt {
                coordinator: 1,
                ..testing::receipt(2)
            };
            let little = Receipt {
                miner: 1,
                fuel: 100,
                nn_units: 0,
                leaf: 3,
                task: [3; 32],
                assignment: [3; 32],
                ..much.clone()
            };
            let mut writer = InputWriter::new(Vec::new(), snapshot, 3).unwrap();
            for receipt in [failed, much, little] {
                writer.receipt(&receipt).unwrap();
            }
            compute(&writer.finish().unwrap()[..]).unwrap()
        };
        let by_work = |output: &Output| -> Vec<_> {
            let rows = output.miners.iter();
            rows.map(|row| (row.by_work, row.capped, row.by_stake))
                .collect()
        };
        let output = settle(u64::MAX);
        // Nobody completed a task for the first coordinator, so nobody gets of its slice.
        let slices: Vec<_> = output.coordinators.iter().map(|row| row.slice).collect();
        assert_eq!(slices, [2_500, 500]);
        // 300 by work for 1000 and 100 of work, both at 90%: 272 and 27. The fees are 50 each, so each
        // brings at most half. By stake 45 each count, five times, and 40% of that.
        assert_eq!(by_work(&output), [(150, 122, 90), (27, 0, 90)]);
        // Twice the stake of 30 is the most: 90 more are capped off.
        assert_eq!(by_work(&settle(2_000_000)), [(60, 212, 90), (27, 0, 90)]);
    }

    #[test]
    fn the_emission_is_divided_by_largest_remainder() {
        let shares = testing::snapshot().parameters.shares;
        // 13 · {0.7, 0.15, 0.1, 0.05} = 9.1, 1.95, 1.3, 0.65: one unit each to voters and treasury.
        let parts = Parts::of(13, &shares).unwrap();
        assert_eq!((parts.miners, parts.voters, parts.treasury), (9, 2, 1));
    }
}
