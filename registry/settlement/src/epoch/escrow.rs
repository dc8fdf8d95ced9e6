//! The receipts of one coordinator: which of them are paid, from its escrow, in the order of their
//! leaves.

use std::collections::{HashMap, HashSet};

use super::outcome::{self, Due};
use crate::amount::{Overflow, add, part_up, ratio_up_to, subtract};
use crate::input::{Coordinator, Parameters, Receipt, UNREGISTERED};
use crate::output::{Counts, Unpaid};

/// The first 16 bytes of a hash, which stand for it here.
///
/// 128 bits suffice because only hashes in one coordinator's own log are compared. Only this
/// coordinator, and the clients whose tasks it takes, have any say in these. Two that collide
/// take 2^64 attempts to make, and then one payment is missing, which the coordinator could
/// withhold by not accepting the receipt. To hit the prefix of somebody's hash takes 2^128. No
/// collision makes anything be paid twice.
type Prefix = [u8; 16];

/// What a receipt came to.
pub(super) enum Payment {
    /// Nothing is paid.
    None(Unpaid),
    /// The miner gets `income`.
    Paid {
        /// What is paid less what is burned of it.
        income: u128,
        /// What is burned of it.
        burned: u128,
        /// Whether it is less than what was due.
        unpaid: Option<Unpaid>,
        /// If the receipt completed a task: its work.
        work: Option<u128>,
    },
}

/// One coordinator's escrow while its receipts are paid.
pub(super) struct Escrow {
    left: u128,
    pub(super) spent: u128,
    pub(super) burned: u128,
    pub(super) counts: Counts,
    /// Assignments that were paid. The table's hasher is keyed at random, as hashes in a log can be
    /// chosen; no result depends on the table's order.
    assignments: HashSet<Prefix>,
    /// Prices paid for each task.
    tasks: HashMap<Prefix, u8>,
}

impl Escrow {
    pub(super) fn new(coordinator: &Coordinator) -> Escrow {
        Escrow {
            left: coordinator.escrow,
            spent: 0,
            burned: 0,
            counts: Counts::default(),
            assignments: HashSet::new(),
            tasks: HashMap::new(),
        }
    }

    /// Pays the next receipt, or not.
    pub(super) fn pay(
        &mut self,
        parameters: &Parameters,
        receipt: &Receipt,
    ) -> Result<Payment, Overflow> {
        let due = match self.due(parameters, receipt) {
            Ok(due) => due,
            Err(reason) => {
                self.counts.count(Some(reason));
                return Ok(Payment::None(reason));
            }
        };
        let amount = match due {
            Due::Price => receipt.price,
            // An attempt fee is due on the miner's word, so it may not be worth more than running.
            Due::AttemptFee => {
                let most = parameters.attempt_fee_max_ppm.into();
                ratio_up_to(receipt.price, most, receipt.attempt_fee)
            }
            Due::Nothing => 0,
        };
        let paid = amount.min(self.left);
        // Rounded up, lest work of a price so low that nothing is burned of it be paid by the emission.
        let burned = part_up(paid, parameters.fee_ppm);
        self.left = subtract(self.left, paid, "escrow")?;
        self.spent = add(self.spent, paid, "sum spent")?;
        self.burned = add(self.burned, burned, "sum burned")?;
        let unpaid = (paid < amount).then_some(Unpaid::Escrow);
        self.counts.count(unpaid);
        let completed =
            unpaid.is_none() && paid > 0 && due == Due::Price && outcome::completes(receipt.status);
        Ok(Payment::Paid {
            income: subtract(paid, burned, "burned part of a payment")?,
            burned,
            unpaid,
            work: completed.then(|| outcome::work(parameters, receipt)),
        })
    }

    /// What is due for a receipt. It takes its assignment, and for a price a place of its task.
    fn due(&mut self, parameters: &Parameters, receipt: &Receipt) -> Result<Due, Unpaid> {
        if receipt.miner == UNREGISTERED {
            return Err(Unpaid::Unregistered);
        }
        let epoch = parameters.epoch;
        if receipt.epoch != epoch && receipt.epoch.checked_add(1) != Some(epoch) {
            return Err(Unpaid::Epoch);
        }
        if !receipt.accepted {
            return Err(Unpaid::NotAccepted);
        }
        let due = outcome::due(receipt.status, receipt.emitted);
        if due == Due::Nothing {
            return Err(Unpaid::Status);
        }
        let assignment = prefix(&receipt.assignment);
        if self.assignments.contains(&assignment) {
            return Err(Unpaid::Duplicate);
        }
        if due == Due::Price {
            let prices = self.tasks.entry(prefix(&receipt.task)).or_insert(0);
            if *prices >= receipt.replicas {
                return Err(Unpaid::Surplus);
            }
            // Below a u8, so there is room for one more.
            *prices = prices.saturating_add(1);
        }
        self.assignments.insert(assignment);
        Ok(due)
    }
}

fn prefix(hash: &[u8; 32]) -> Prefix {
    std::array::from_fn(|at| hash[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn escrow(amount: u128) -> (Escrow, Parameters) {
        let snapshot = testing::snapshot();
        let mut coordinator = snapshot.coordinators[0].clone();
        coordinator.escrow = amount;
        let mut parameters = snapshot.parameters;
        parameters.fee_ppm = 10_000;
        (Escrow::new(&coordinator), parameters)
    }

    fn reason(escrow: &mut Escrow, parameters: &Parameters, receipt: &Receipt) -> Option<Unpaid> {
        match escrow.pay(parameters, receipt).unwrap() {
            Payment::None(reason) => Some(reason),
            Payment::Paid { unpaid, .. } => unpaid,
        }
    }

    #[test]
    fn each_reason_not_to_pay_is_found_in_order() {
        let (mut escrow, parameters) = escrow(u128::MAX);
        let mut receipt = testing::receipt(1);
        receipt.epoch = parameters.epoch - 2;
        receipt.miner = UNREGISTERED;
        receipt.accepted = false;
        receipt.status = 18;
        receipt.replicas = 0;
        let mut expect = |receipt: &Receipt, expected| {
            assert_eq!(reason(&mut escrow, &parameters, receipt), expected);
        };
        expect(&receipt, Some(Unpaid::Unregistered));
        receipt.miner = 0;
        expect(&receipt, Some(Unpaid::Epoch));
        receipt.epoch = parameters.epoch + 1;
        expect(&receipt, Some(Unpaid::Epoch));
        receipt.epoch = parameters.epoch - 1;
        expect(&receipt, Some(Unpaid::NotAccepted));
        receipt.accepted = true;
        expect(&receipt, Some(Unpaid::Status));
        receipt.status = 0;
        expect(&receipt, Some(Unpaid::Surplus));
        // What was not paid has taken neither the assignment nor a place.
        receipt.replicas = 1;
        expect(&receipt, None);
        expect(&receipt, Some(Unpaid::Duplicate));
        receipt.assignment = [9; 32];
        expect(&receipt, Some(Unpaid::Surplus));
        // An attempt fee takes no place.
        receipt.status = 17;
        expect(&receipt, None);
        assert_eq!(escrow.counts.paid, 2);
        assert_eq!(escrow.counts.unpaid, [1, 2, 1, 1, 1, 2, 0]);
    }

    #[test]
    fn an_attempt_fee_is_paid_up_to_a_part_of_the_price() {
        let (mut escrow, mut parameters) = escrow(u128::MAX);
        parameters.attempt_fee_max_ppm = 50_000;
        let mut pay = |n: u8, price: u128, attempt_fee: u128| {
            let receipt = Receipt {
                status: 17,
                price,
                attempt_fee,
                ..testing::receipt(n)
            };
            let before = escrow.spent;
            // What is paid of what is due is all that is due.
            assert_eq!(reason(&mut escrow, &parameters, &receipt), None);
            escrow.spent - before
        };
        assert_eq!(pay(1, 1_019, 49), 49);
        assert_eq!(pay(2, 1_019, 51), 50);
        assert_eq!(pay(3, 19, u128::MAX), 0);
    }

    #[test]
    fn an_escrow_falls_short_in_the_order_of_leaves() {
        let (mut escrow, parameters) = escrow(1_500);
        let mut pay = |n: u8, price: u128| {
            let mut receipt = testing::receipt(n);
            (receipt.price, receipt.fuel) = (price, 1);
            match escrow.pay(&parameters, &receipt).unwrap() {
                Payment::None(reason) => panic!("{reason:?}"),
                Payment::Paid {
                    income,
                    burned,
                    unpaid,
                    work,
                } => (income, burned, unpaid.is_none(), work.is_some()),
            }
        };
        // Of each payment, however low, a unit is burned at least.
        assert_eq!(pay(1, 1_000), (990, 10, true, true));
        assert_eq!(pay(2, 1), (0, 1, true, true));
        assert_eq!(pay(3, u128::MAX), (494, 5, false, false));
        assert_eq!(pay(4, 1), (0, 0, false, false));
        assert_eq!(pay(5, 0), (0, 0, true, false));
        assert_eq!((escrow.spent, escrow.burned, escrow.left), (1_500, 16, 0));
        assert_eq!((escrow.counts.paid, escrow.counts.unpaid[6]), (3, 2));
    }
}
