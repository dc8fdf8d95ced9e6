//! Whether the sums of an output agree with each other.

use thiserror::Error;

use super::{Counts, Output, Totals, Unpaid};
use crate::amount::{Overflow, add, subtract};

/// Why an output's sums are wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unbalanced {
    /// Two sums that must be equal are not.
    #[error(
        "{left_name} is {left}, but {right_name} is {right}; hint: this settlement must not be applied"
    )]
    Sums {
        /// One of them.
        left_name: &'static str,
        /// Its amount.
        left: u128,
        /// The other.
        right_name: &'static str,
        /// Its amount.
        right: u128,
    },
    /// The receipts' counts of the rows are not those of the totals.
    #[error(
        "the receipts counted for {nodes} are not those of the totals; hint: this settlement must not be applied"
    )]
    Counts {
        /// Which rows.
        nodes: &'static str,
    },
    /// A sum is too large.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

fn equal(
    left_name: &'static str,
    left: u128,
    right_name: &'static str,
    right: u128,
) -> Result<(), Unbalanced> {
    match left == right {
        true => Ok(()),
        false => Err(Unbalanced::Sums {
            left_name,
            left,
            right_name,
            right,
        }),
    }
}

fn sum(amounts: impl Iterator<Item = u128>, what: &'static str) -> Result<u128, Overflow> {
    let mut sum = 0;
    for amount in amounts {
        sum = add(sum, amount, what)?;
    }
    Ok(sum)
}

impl Totals {
    /// Whether nothing appeared and nothing was lost: paid + treasury = minted + spent - burned, and
    /// minted + unminted = emission.
    ///
    /// # Errors
    /// [`Unbalanced`] with the sums that differ.
    pub fn check(&self) -> Result<(), Unbalanced> {
        let minted = add(self.minted, self.unminted, "sum of minted and unminted")?;
        equal("minted + unminted", minted, "the emission", self.emission)?;
        let income = subtract(self.spent, self.burned, "burned part of what was spent")?;
        equal(
            "paid + treasury",
            add(self.paid, self.treasury, "sum of paid and treasury")?,
            "minted + spent - burned",
            add(self.minted, income, "sum of minted and income")?,
        )
    }
}

impl Output {
    /// Whether the totals are the sums of the rows, and agree with each other ([`Totals::check`]).
    ///
    /// # Errors
    /// [`Unbalanced`] with the sums that differ.
    pub fn check(&self) -> Result<(), Unbalanced> {
        let totals = &self.totals;
        totals.check()?;
        let paid = sum(
            self.accounts.iter().map(|row| row.amount),
            "sum of accounts",
        )?;
        equal("the sum of the accounts", paid, "paid", totals.paid)?;
        let spent = sum(self.coordinators.iter().map(|row| row.spent), "sum spent")?;
        equal("spent by coordinators", spent, "spent", totals.spent)?;
        let burned = sum(self.coordinators.iter().map(|row| row.burned), "sum burned")?;
        equal("burned of coordinators", burned, "burned", totals.burned)?;
        let income = sum(self.miners.iter().map(|row| row.income), "sum of incomes")?;
        let expected = subtract(spent, burned, "burned part of what was spent")?;
        equal("the miners' income", income, "spent - burned", expected)?;
        equal(
            "minted by the rows",
            self.minted()?,
            "minted",
            totals.minted,
        )?;
        self.check_counts()
    }

    /// What was minted, by the rows and the treasury.
    pub(crate) fn minted(&self) -> Result<u128, Overflow> {
        const WHAT: &str = "sum of what was minted";
        let mut minted = self.totals.treasury;
        for row in &self.coordinators {
            minted = add(minted, row.earned, WHAT)?;
        }
        for row in &self.miners {
            let emission = add(row.by_work, row.by_stake, WHAT)?;
            minted = add(minted, subtract(emission, row.cut, "cut")?, WHAT)?;
        }
        Ok(minted)
    }

    fn check_counts(&self) -> Result<(), Unbalanced> {
        let mut by_coordinators = Counts::default();
        for row in &self.coordinators {
            by_coordinators.add(&row.counts);
        }
        let mut by_miners = Counts::default();
        by_miners.unpaid[Unpaid::Unregistered as usize] =
            self.totals.counts.unpaid[Unpaid::Unregistered as usize];
        for row in &self.miners {
            by_miners.add(&row.counts);
        }
        for (nodes, counts) in [("coordinators", by_coordinators), ("miners", by_miners)] {
            if counts != self.totals.counts {
                return Err(Unbalanced::Counts { nodes });
            }
        }
        Ok(())
    }
}
