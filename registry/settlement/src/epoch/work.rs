//! What goes by work of a coordinator's slice: receipt by receipt, since what one may bring is bound by
//! what was burned of its own payment.

use crate::amount::{Overflow, add, mul_div, subtract};

/// The receipts of one log that completed a task with work that counts. They are divided among once
/// the whole log was read, so each is kept until then: 36 bytes, in three columns.
#[derive(Debug, Default)]
pub(super) struct Completed {
    /// Indices of the miners.
    miners: Vec<u32>,
    /// Work, weighed by the miner's quality.
    work: Vec<u128>,
    /// What was burned of the payment.
    burned: Vec<u128>,
    /// Sum of the work.
    sum: u128,
}

/// What one receipt brings its miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Index of the miner.
    pub(super) miner: u32,
    pub(super) by_work: u128,
    /// What its work would bring beyond its bound, which is not minted.
    pub(super) excess: u128,
}

impl Completed {
    /// Adds a receipt. One whose work counts nothing brings nothing.
    pub(super) fn push(&mut self, miner: u32, work: u128, burned: u128) -> Result<(), Overflow> {
        if work > 0 {
            self.sum = add(self.sum, work, "sum of work")?;
            self.miners.push(miner);
            self.work.push(work);
            self.burned.push(burned);
        }
        Ok(())
    }

    /// Forgets the receipts, and keeps the room for those of the next log.
    pub(super) fn clear(&mut self) {
        self.miners.clear();
        self.work.clear();
        self.burned.clear();
        self.sum = 0;
    }

    /// Divides `part` of a slice, of whose escrow `burned` was burned in all: in proportion to work,
    /// and to no receipt more than in proportion to what was burned of its payment.
    ///
    /// A slice is made of fees, and clients' work may be far below its price. Without the bound a task
    /// that nobody needs, with all the fuel there is, would get what theirs have burned. With it, all
    /// that a receipt adds to the pieces of its log is at most what it adds to the part.
    pub(super) fn divide(
        &self,
        part: u128,
        burned: u128,
    ) -> impl Iterator<Item = Result<Piece, Overflow>> + '_ {
        // The weights are at most their sums, so no share is above the part. Where a sum is 0 there is
        // nothing to divide.
        let share = move |weight, sum| mul_div(part, weight, sum).map_or(0, |(share, _)| share);
        let rows = self.miners.iter().zip(&self.work).zip(&self.burned);
        rows.map(move |((miner, work), own)| {
            let by_all = share(*work, self.sum);
            let by_work = by_all.min(share(*own, burned));
            Ok(Piece {
                miner: *miner,
                by_work,
                excess: subtract(by_all, by_work, "bound by fees")?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(part: u128, burned: u128, receipts: &[(u32, u128, u128)]) -> Vec<(u32, u128, u128)> {
        let mut completed = Completed::default();
        for (miner, work, burned) in receipts {
            completed.push(*miner, *work, *burned).unwrap();
        }
        let pieces = completed.divide(part, burned).map(Result::unwrap);
        pieces.map(|p| (p.miner, p.by_work, p.excess)).collect()
    }

    #[test]
    fn a_receipt_brings_no_more_than_its_own_fee_allows() {
        // Nine tenths of the work are the second's, but only 137 of the 1,000 that were burned:
        // floor(540 · 137 / 1,000) = 73 and not 486. The first has a tenth of the work, for 863.
        let receipts = [(4, 10, 863), (2, 90, 137)];
        assert_eq!(
            pieces(540, 1_000, &receipts),
            [(4, 54, 0), (2, 73, 413)],
            "in the order of the log"
        );
        // However little there is to divide, the bound is of that: a slice that stake bounds leaves no
        // room for a task of which hardly anything is burned.
        assert_eq!(pieces(54, 1_000, &receipts), [(4, 5, 0), (2, 7, 41)]);
        // Attempt fees are burned too, and bring nothing.
        assert_eq!(pieces(540, 2_000, &receipts), [(4, 54, 0), (2, 36, 450)]);
    }

    /// One miner's receipts are bound one by one: what junk burns makes no room for another's work.
    #[test]
    fn the_fees_of_one_receipt_are_no_bound_of_another() {
        let receipts = [(0, 90, 0), (0, 0, 600), (1, 10, 400)];
        assert_eq!(pieces(100, 1_000, &receipts), [(0, 0, 90), (1, 10, 0)]);
    }

    #[test]
    fn what_cannot_be_divided_is_nobodys() {
        assert_eq!(pieces(100, 10, &[]), []);
        assert_eq!(pieces(100, 10, &[(0, 0, 10)]), []);
        assert_eq!(pieces(0, 0, &[(0, 1, 0)]), [(0, 0, 0)]);
        // 33 each, and a unit is left.
        let even = [(0, 1, 1), (1, 1, 1), (2, 1, 1)];
        assert_eq!(pieces(100, 3, &even), [(0, 33, 0), (1, 33, 0), (2, 33, 0)]);
        // Products of 256 bits.
        let all = u128::MAX;
        assert_eq!(pieces(all, all, &[(0, all, all)]), [(0, all, 0)]);
        let mut completed = Completed::default();
        completed.push(0, all, 0).unwrap();
        assert!(completed.push(0, 1, 0).is_err());
    }
}
