//! One coordinator's slice of the emission, and what goes by stake of it.

use crate::amount::{Claim, Overflow, PPM, add, fill, mul_div, part, ratio_up_to};
use crate::input::{Miner, Parameters};

/// What one miner was paid by one coordinator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worked {
    /// Index of the miner.
    pub(super) miner: u32,
    /// Whether it completed a task.
    pub(super) completed: bool,
    /// What was burned of all that it was paid, attempt fees too.
    pub(super) burned: u128,
}

impl Worked {
    /// A miner whose first receipt has just been paid.
    pub(super) fn new(miner: u32) -> Worked {
        Worked {
            miner,
            completed: false,
            burned: 0,
        }
    }

    /// Adds a receipt that was paid: what was burned, and whether it completed a task.
    pub(super) fn add(&mut self, burned: u128, completed: bool) -> Result<(), Overflow> {
        self.burned = add(self.burned, burned, "sum burned")?;
        self.completed |= completed;
        Ok(())
    }
}

/// A coordinator's slice of the miners' part of the emission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    /// What its stake allows: `floor(part · saturated / all)`, where `part` is the miners' part of the
    /// emission, `saturated` the coordinator's saturated stake and `all` the sum of all coordinators'.
    pub(super) by_stake: u128,
    /// The slice: that, and at most `floor(k · burned)`.
    pub(super) size: u128,
}

impl Slice {
    pub(super) fn new(
        parameters: &Parameters,
        miners_part: u128,
        saturated: u128,
        all: u128,
        burned: u128,
    ) -> Slice {
        let by_stake = mul_div(miners_part, saturated, all).map_or(0, |(share, _)| share);
        Slice {
            by_stake,
            size: ratio_up_to(burned, parameters.slice_of_fees_ppm, by_stake),
        }
    }

    /// What goes by work of it.
    pub(super) fn work_part(&self, parameters: &Parameters) -> u128 {
        part(self.size, parameters.work_share_ppm)
    }

    /// What each of those who completed a task gets by stake; they ascend by miner.
    ///
    /// What the coordinator's stake allows is divided by the miners' stake, and none gets more of it than
    /// its own fees allow. So what is burned for one miner adds nothing to another's, and whoever
    /// completes one tiny task gets next to nothing, and takes no more from others. Were it the slice
    /// that is divided, fees of one's own would pay twice where miners do not work in proportion to
    /// stake: they would lift the bound of who is at it, and the slice for those who are not.
    pub(super) fn by_stake(
        &self,
        parameters: &Parameters,
        miners: &[Miner],
        worked: &[Worked],
    ) -> Result<Vec<u128>, Overflow> {
        let whole = u32::try_from(PPM).unwrap_or(u32::MAX);
        let share_ppm = whole.saturating_sub(parameters.work_share_ppm);
        let claim = |at: &Worked| {
            let miner = usize::try_from(at.miner).ok().and_then(|at| miners.get(at));
            let (weight, own) = miner.map_or((0, 0), |miner| {
                let stake = parameters.saturated_miner(miner.stake);
                let weighed = |amount| parameters.weighed(amount, miner);
                (weighed(stake), weighed(at.burned))
            });
            let own = ratio_up_to(own, parameters.slice_of_fees_ppm, self.by_stake);
            let most = part(own, share_ppm);
            Claim { weight, most }
        };
        let claims: Vec<Claim> = worked.iter().map(claim).collect();
        fill(part(self.by_stake, share_ppm), &claims)
    }
}

impl Parameters {
    /// `floor(amount · quality)` of a miner. A quality below the least counts as none.
    pub(super) fn weighed(&self, amount: u128, miner: &Miner) -> u128 {
        match miner.quality_ppm < self.quality_min_ppm {
            true => 0,
            false => part(amount, miner.quality_ppm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_slice_is_bounded_by_stake_and_by_fees() {
        let mut parameters = testing::snapshot().parameters;
        parameters.slice_of_fees_ppm = 2_000_000;
        let slice = |saturated, all, burned| {
            let slice = Slice::new(&parameters, 1_000, saturated, all, burned);
            (slice.by_stake, slice.size)
        };
        assert_eq!(slice(1, 3, u128::MAX), (333, 333));
        assert_eq!(slice(1, 3, 20), (333, 40));
        assert_eq!(slice(0, 0, 20), (0, 0));
    }

    fn worked(miner: u32, burned: u128) -> Worked {
        Worked {
            miner,
            completed: true,
            burned,
        }
    }

    /// k is 0.9, and 40% go by stake.
    fn rules() -> (Parameters, Miner) {
        let snapshot = testing::snapshot();
        let mut parameters = snapshot.parameters;
        parameters.work_share_ppm = 600_000;
        parameters.slice_of_fees_ppm = 900_000;
        parameters.quality_min_ppm = 500_000;
        (parameters.miner_stake_min, parameters.saturation) = (100, 10);
        (parameters, snapshot.miners[0].clone())
    }

    #[test]
    fn stake_is_weighed_by_quality() {
        let (parameters, one) = rules();
        let miner = |stake, quality_ppm| Miner {
            stake,
            quality_ppm,
            ..one.clone()
        };
        let miners = [
            miner(5_000, 1_000_000),
            miner(1_000, 500_000),
            miner(1_000, 499_999),
        ];
        let worked = [0, 1, 2].map(|miner| worked(miner, u128::MAX));
        let slice = Slice {
            by_stake: 300,
            size: 300,
        };
        assert_eq!(slice.work_part(&parameters), 180);
        let pieces = |worked: &[Worked]| slice.by_stake(&parameters, &miners, worked).unwrap();
        assert_eq!(pieces(&worked), [80, 40, 0]);
        assert_eq!(pieces(&worked[..1]), [120]);
        assert_eq!(pieces(&worked[2..]), [0]);
        assert_eq!(pieces(&[]), [0u128; 0]);
    }

    #[test]
    fn by_stake_a_miner_gets_no_more_than_its_own_fees_allow() {
        let (parameters, one) = rules();
        let miner = |stake, quality_ppm| Miner {
            stake,
            quality_ppm,
            ..one.clone()
        };
        let miners = [miner(100, 1_000_000), miner(900, 1_000_000)];
        let pieces = |miners: &[Miner], by_stake, burned: [u128; 2]| {
            let slice = Slice::new(&parameters, by_stake, 1, 1, burned.iter().sum());
            let worked = [worked(0, burned[0]), worked(1, burned[1])];
            slice.by_stake(&parameters, miners, &worked).unwrap()
        };
        // 4,000 of 10,000 go by stake, a tenth of it to the first, but 0.4 · 0.9 · 863 = 310.7 is all
        // that its fees allow. The second has nine tenths of the stake and completed a tiny task.
        assert_eq!(pieces(&miners, 10_000, [863, 1]), [310, 0]);
        // More fees of the second's add nothing to what the first gets.
        assert_eq!(pieces(&miners, 10_000, [863, 1_000]), [310, 360]);
        // Where the coordinator's stake allows less than all fees, stake decides: of 40.
        assert_eq!(pieces(&miners, 100, [863, 1_000]), [4, 36]);
        // A tenth of 200, but what the second's fees do not allow is the first's.
        assert_eq!(pieces(&miners, 500, [863, 1]), [200, 0]);
        // Fees count by quality like stake.
        let poor = [miner(100, 700_000), miner(900, 700_000)];
        assert_eq!(pieces(&poor, 10_000, [863, 1_000]), [217, 252]);
    }
}
