//! One coordinator's slice of the emission, and how it is divided among the miners that completed
//! work for it.

use crate::amount::{Overflow, add, mul_div, part, ratio_up_to, split, subtract};
use crate::input::{Miner, Parameters};

/// What one miner did for one coordinator that paid it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worked {
    /// Index of the miner.
    pub(super) miner: u32,
    /// Whether it completed a task.
    pub(super) completed: bool,
    /// Work of all its receipts that completed a task.
    pub(super) work: u128,
    /// What was burned of all that it was paid, attempt fees too.
    pub(super) burned: u128,
}

impl Worked {
    /// A miner whose first receipt has just been paid.
    pub(super) fn new(miner: u32) -> Worked {
        Worked {
            miner,
            completed: false,
            work: 0,
            burned: 0,
        }
    }

    /// Adds a receipt that was paid: what was burned, and its work if it completed a task.
    pub(super) fn add(&mut self, burned: u128, work: Option<u128>) -> Result<(), Overflow> {
        self.burned = add(self.burned, burned, "sum burned")?;
        if let Some(work) = work {
            self.completed = true;
            self.work = add(self.work, work, "sum of work")?;
        }
        Ok(())
    }
}

/// What one miner gets of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) miner: u32,
    pub(super) by_work: u128,
    /// What it would get by work beyond what its own fees allow, which is not minted.
    pub(super) excess: u128,
    pub(super) by_stake: u128,
}

/// Size of a slice: `min(floor(part · saturated / all), floor(k · burned))`, where `part` is the
/// miners' part of the emission, `saturated` the coordinator's saturated stake and `all` the sum of
/// all coordinators'.
pub(super) fn size(
    parameters: &Parameters,
    miners_part: u128,
    saturated: u128,
    all: u128,
    burned: u128,
) -> u128 {
    let by_stake = mul_div(miners_part, saturated, all).map_or(0, |(share, _)| share);
    ratio_up_to(burned, parameters.slice_of_fees_ppm, by_stake)
}

/// Divides a slice among those who completed a task, who ascend by miner.
///
/// Work is bounded by its price, and clients' work may be far below it. Without the bound by a miner's
/// own fees a task that nobody needs, with all the fuel there is, would get what theirs have burned.
pub(super) fn divide(
    parameters: &Parameters,
    miners: &[Miner],
    slice: u128,
    worked: &[Worked],
) -> Result<Vec<Piece>, Overflow> {
    let quality = |miner: &Miner| match miner.quality_ppm < parameters.quality_min_ppm {
        true => 0,
        false => miner.quality_ppm,
    };
    let weights = |weight: &dyn Fn(&Worked, &Miner) -> u128| -> Vec<u128> {
        let weigh = |at: &Worked| {
            let miner = usize::try_from(at.miner).ok().and_then(|at| miners.get(at));
            miner.map_or(0, |miner| part(weight(at, miner), quality(miner)))
        };
        worked.iter().map(weigh).collect()
    };
    let by_work = weights(&|at, _| at.work);
    let by_stake = weights(&|_, miner| parameters.saturated_miner(miner.stake));
    let work_part = part(slice, parameters.work_share_ppm);
    let stake_part = subtract(slice, work_part, "part of a slice")?;
    // Where all weights are 0, the part is not minted.
    let none = || vec![0; worked.len()];
    let by_work = split(work_part, &by_work)?.unwrap_or_else(none);
    let by_stake = split(stake_part, &by_stake)?.unwrap_or_else(none);
    let pieces = worked.iter().zip(by_work).zip(by_stake);
    let pieces = pieces.map(|((at, share), by_stake)| {
        // As if there had been no fees but its own. Its share is of a slice, so more is no bound.
        let own = ratio_up_to(at.burned, parameters.slice_of_fees_ppm, slice);
        let by_work = share.min(part(own, parameters.work_share_ppm));
        Ok(Piece {
            miner: at.miner,
            by_work,
            excess: subtract(share, by_work, "bound by fees")?,
            by_stake,
        })
    });
    pieces.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_slice_is_bounded_by_stake_and_by_fees() {
        let mut parameters = testing::snapshot().parameters;
        parameters.slice_of_fees_ppm = 2_000_000;
        assert_eq!(size(&parameters, 1_000, 1, 3, u128::MAX), 333);
        assert_eq!(size(&parameters, 1_000, 1, 3, 20), 40);
        assert_eq!(size(&parameters, 1_000, 0, 0, 20), 0);
    }

    fn worked(miner: u32, work: u128, burned: u128) -> Worked {
        Worked {
            miner,
            completed: true,
            work,
            burned,
        }
    }

    #[test]
    fn work_and_stake_are_weighed_by_quality() {
        let snapshot = testing::snapshot();
        let mut parameters = snapshot.parameters;
        parameters.work_share_ppm = 600_000;
        parameters.quality_min_ppm = 500_000;
        (parameters.miner_stake_min, parameters.saturation) = (100, 10);
        let miner = |stake, quality_ppm| Miner {
            stake,
            quality_ppm,
            ..snapshot.miners[0].clone()
        };
        let miners = [
            miner(5_000, 1_000_000),
            miner(1_000, 500_000),
            miner(1_000, 499_999),
        ];
        let worked = [0, 1, 2].map(|miner| worked(miner, 200, u128::MAX));
        let piece = |miner, by_work, by_stake| Piece {
            miner,
            by_work,
            excess: 0,
            by_stake,
        };
        assert_eq!(
            divide(&parameters, &miners, 300, &worked),
            Ok(vec![piece(0, 120, 80), piece(1, 60, 40), piece(2, 0, 0)])
        );
        // A trap has no work, but its miner's stake counts.
        let trap = [self::worked(0, 0, u128::MAX)];
        assert_eq!(
            divide(&parameters, &miners, 300, &trap),
            Ok(vec![piece(0, 0, 120)])
        );
        assert_eq!(divide(&parameters, &miners, 300, &[]), Ok(vec![]));
    }

    #[test]
    fn by_work_a_miner_gets_no_more_than_its_own_fees_allow() {
        let snapshot = testing::snapshot();
        let mut parameters = snapshot.parameters;
        parameters.work_share_ppm = 600_000;
        parameters.slice_of_fees_ppm = 900_000;
        let miners = [0, 1].map(|_| snapshot.miners[0].clone());
        let pieces = |slice, worked: [Worked; 2]| {
            let pieces = divide(&parameters, &miners, slice, &worked).unwrap();
            let [one, other] = pieces[..] else {
                panic!("{pieces:?}");
            };
            assert_eq!((one.miner, other.miner), (0, 1));
            assert_eq!(
                (one.by_stake, other.by_stake),
                (slice * 2 / 10, slice * 2 / 10)
            );
            [(one.by_work, one.excess), (other.by_work, other.excess)]
        };
        // All of 1,000 that were burned: 900, and 540 of it by work. Nine tenths of the work are the
        // second's, but only 137 of the fees: floor(0.9 · 137) = 123, and floor(0.6 · 123) = 73.
        let worked = [worked(0, 10, 863), worked(1, 90, 137)];
        assert_eq!(pieces(900, worked), [(54, 0), (73, 413)]);
        // Where the coordinator's stake bounds the slice so far that the fees allow more, they do not
        // matter: 120 by work.
        assert_eq!(pieces(200, worked), [(12, 0), (73, 35)]);
        assert_eq!(pieces(100, worked), [(6, 0), (54, 0)]);
        // Who had nothing burned gets nothing by work.
        let unburned = [self::worked(0, 10, 0), self::worked(1, 10, u128::MAX)];
        assert_eq!(pieces(100, unburned), [(0, 30), (30, 0)]);
    }
}
