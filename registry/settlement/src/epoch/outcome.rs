//! What a receipt is due, and its work (protocol.md, "Outcome" and "Epochs and settlement").

use adit_protocol::Status;

use crate::amount;
use crate::input::{Parameters, Receipt};

/// What is paid for an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The price.
    Price,
    /// The attempt fee.
    AttemptFee,
    /// Nothing at all.
    Nothing,
}

/// What is paid for a status, by whether anything was emitted by then. A byte that is no status is due nothing, as a newer status would be
/// until this program knows it.
pub fn due(status: u8, emitted: bool) -> Due {
    let Ok(status) = Status::try_from(status) else {
        return Due::Nothing;
    };
    match status {
        Status::Ok
        | Status::TaskError
        | Status::Trap
        | Status::OutOfFuel
        | Status::LimitExceeded => Due::Price,
        Status::Cancelled if emitted => Due::Price,
        Status::InvalidComponent
        | Status::StackOverflow
        | Status::Deadline
        | Status::Cancelled
        | Status::CompileLimit => Due::AttemptFee,
        Status::HostFault | Status::Unavailable => Due::Nothing,
    }
}

/// Whether a receipt that was paid its price completed a task: any honest replay ends as it did.
pub(super) fn completes(status: u8) -> bool {
    Status::try_from(status).is_ok_and(Status::attestable)
}

/// Work of a receipt that was paid its price and completes its task: `min(a · fuel + b · nn_units,
/// floor(c · price))`. A trap has none, since its fuel is not what was used.
pub(super) fn work(parameters: &Parameters, receipt: &Receipt) -> u128 {
    if receipt.status == u8::from(Status::Trap) {
        return 0;
    }
    let nn_units = match receipt.nn_registered {
        true => receipt.nn_units,
        false => 0,
    };
    let product = |weight: u64, units: u64| u128::from(weight) * u128::from(units);
    // What does not fit into 128 bits is above any work that an escrow can pay for.
    let units = product(parameters.fuel_weight, receipt.fuel)
        .saturating_add(product(parameters.nn_weight, nn_units));
    amount::ratio_up_to(receipt.price, parameters.work_of_price_ppm, units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn statuses_are_paid_as_the_table_says() {
        let paid = |emitted| {
            let mut paid = [const { Vec::new() }; 3];
            for status in 0..=u8::MAX {
                match due(status, emitted) {
                    Due::Price => paid[0].push(status),
                    Due::AttemptFee => paid[1].push(status),
                    Due::Nothing => paid[2].push(status),
                }
            }
            let nothing = paid[2]
                .iter()
                .copied()
                .filter(|s| [18, 20].contains(s))
                .count();
            assert_eq!((nothing, paid[2].len()), (2, 256 - 10));
            [paid[0].clone(), paid[1].clone()]
        };
        assert_eq!(paid(false), [vec![0, 1, 2, 3, 4], vec![5, 16, 17, 19, 21]]);
        assert_eq!(paid(true), [vec![0, 1, 2, 3, 4, 19], vec![5, 16, 17, 21]]);
        assert!(completes(4) && !completes(19) && !completes(6));
    }

    #[test]
    fn work_is_bounded_by_the_price() {
        let mut parameters = testing::snapshot().parameters;
        parameters.fuel_weight = 2;
        parameters.nn_weight = 5;
        parameters.work_of_price_ppm = 1_500_000;
        let mut receipt = testing::receipt(0);
        (receipt.fuel, receipt.nn_units, receipt.price) = (100, 10, 1_000);
        assert_eq!(work(&parameters, &receipt), 250);
        receipt.nn_registered = false;
        assert_eq!(work(&parameters, &receipt), 200);
        receipt.price = 33;
        assert_eq!(work(&parameters, &receipt), 49);
        (receipt.fuel, receipt.nn_units, receipt.nn_registered) = (u64::MAX, u64::MAX, true);
        (parameters.fuel_weight, parameters.nn_weight) = (u64::MAX, u64::MAX);
        assert_eq!(work(&parameters, &receipt), 49);
        receipt.price = u128::MAX;
        assert_eq!(work(&parameters, &receipt), u128::MAX);
        receipt.status = 2;
        assert_eq!(work(&parameters, &receipt), 0);
    }
}
