//! From nodes to accounts: a node's earnings are its operator's commission, and the rest its
//! voters'.

use crate::amount::{Overflow, add, part, split, subtract};
use crate::input::Vote;
use crate::output::AccountRow;

/// What accounts earned so far, in no order; an account may be there many times.
#[derive(Debug, Default)]
pub(super) struct Earnings {
    rows: Vec<AccountRow>,
}

impl Earnings {
    /// Passes on what one node earned. Its votes ascend by voter.
    pub(super) fn pass_on(
        &mut self,
        amount: u128,
        commission_ppm: u32,
        operator: [u8; 32],
        votes: &[Vote],
    ) -> Result<(), Overflow> {
        let commission = part(amount, commission_ppm);
        let rest = subtract(amount, commission, "commission")?;
        let stakes: Vec<u128> = votes.iter().map(|vote| vote.amount).collect();
        match split(rest, &stakes)? {
            Some(shares) => {
                self.push(operator, commission);
                for (vote, share) in votes.iter().zip(shares) {
                    self.push(vote.voter, share);
                }
            }
            None => self.push(operator, amount),
        }
        Ok(())
    }

    fn push(&mut self, account: [u8; 32], amount: u128) {
        if amount > 0 {
            self.rows.push(AccountRow { account, amount });
        }
    }

    /// One row for each account that earned anything, ascending, and their sum.
    pub(super) fn merge(mut self) -> Result<(Vec<AccountRow>, u128), Overflow> {
        const WHAT: &str = "sum of what accounts earned";
        self.rows.sort_unstable_by_key(|row| row.account);
        let mut merged: Vec<AccountRow> = Vec::new();
        let mut sum = 0;
        for row in self.rows {
            sum = add(sum, row.amount, WHAT)?;
            match merged.last_mut().filter(|last| last.account == row.account) {
                Some(last) => last.amount = add(last.amount, row.amount, WHAT)?,
                None => merged.push(row),
            }
        }
        Ok((merged, sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(voter: u8, amount: u128) -> Vote {
        Vote {
            node: 0,
            voter: [voter; 32],
            amount,
        }
    }

    #[test]
    fn commission_comes_first_and_the_rest_goes_by_votes() {
        let mut earnings = Earnings::default();
        let votes = [vote(1, 50), vote(7, 25), vote(9, 25)];
        // 10% of 105 are 10; 95 are 47.5, 23.75 and 23.75, and two units are left over.
        earnings.pass_on(105, 100_000, [7; 32], &votes).unwrap();
        // Without votes, all is the operator's.
        earnings.pass_on(8, 100_000, [2; 32], &[]).unwrap();
        earnings.pass_on(0, 100_000, [3; 32], &votes).unwrap();
        let (rows, sum) = earnings.merge().unwrap();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.account[0], row.amount))
            .collect();
        assert_eq!(rows, [(1, 47), (2, 8), (7, 34), (9, 24)]);
        assert_eq!(sum, 113);
    }
}
