//! One coordinator's slice of the emission, and how it is divided among the miners that completed
//! work for it.

use crate::amount::{Overflow, mul_div, part, ratio_up_to, split, subtract};
use crate::input::{Miner, Parameters};

/// What one miner did for one coordinator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worked {
    /// Index of the miner.
    pub(super) miner: u32,
    /// Work of all its receipts that completed a task; there was at least one.
    pub(super) work: u128,
}

/// What one miner gets of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) miner: u32,
    pub(super) by_work: u128,
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

/// Divides a slice among those who worked, who ascend by miner.
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
    Ok(pieces
        .map(|((at, by_work), by_stake)| Piece {
            miner: at.miner,
            by_work,
            by_stake,
        })
        .collect())
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
        let worked = [0, 1, 2].map(|miner| Worked { miner, work: 200 });
        let piece = |miner, by_work, by_stake| Piece {
            miner,
            by_work,
            by_stake,
        };
        assert_eq!(
            divide(&parameters, &miners, 300, &worked),
            Ok(vec![piece(0, 120, 80), piece(1, 60, 40), piece(2, 0, 0)])
        );
        // A trap has no work, but its miner's stake counts.
        let trap = [Worked { miner: 0, work: 0 }];
        assert_eq!(
            divide(&parameters, &miners, 300, &trap),
            Ok(vec![piece(0, 0, 120)])
        );
        assert_eq!(divide(&parameters, &miners, 300, &[]), Ok(vec![]));
    }
}
