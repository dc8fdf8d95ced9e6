//! Arithmetic on amounts: products in 256 bits, ratios in parts per million, and splits by largest
//! remainder (protocol.md, introduction).

use std::cmp::Reverse;

use ruint::aliases::U256;
use thiserror::Error;

/// Parts in a whole.
pub const PPM: u64 = 1_000_000;

/// A sum that 128 bits do not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the {what} does not fit into 128 bits; hint: such amounts do not exist on a network, so the snapshot is damaged"
)]
pub struct Overflow {
    /// What was summed up.
    pub what: &'static str,
}

/// `sum + amount`, or the error that names the sum.
pub(crate) fn add(sum: u128, amount: u128, what: &'static str) -> Result<u128, Overflow> {
    sum.checked_add(amount).ok_or(Overflow { what })
}

/// `sum - amount`, or the error that names the difference.
pub(crate) fn subtract(sum: u128, amount: u128, what: &'static str) -> Result<u128, Overflow> {
    sum.checked_sub(amount).ok_or(Overflow { what })
}

/// Quotient and remainder of `a · b / c`, the product in 256 bits. `None` if `c` is 0 or the
/// quotient does not fit into 128 bits.
pub fn mul_div(a: u128, b: u128, c: u128) -> Option<(u128, u128)> {
    // Most products fit, and the hardware divides those several times faster. To multiply again is
    // faster than to divide again, and cannot wrap.
    if let Some(product) = a.checked_mul(b) {
        let quotient = product.checked_div(c)?;
        let divided = quotient.wrapping_mul(c);
        return Some((quotient, product.wrapping_sub(divided)));
    }
    let divisor = U256::from(c);
    if divisor.is_zero() {
        return None;
    }
    let (quotient, remainder) = wide(a, b).div_rem(divisor);
    Some((
        u128::try_from(quotient).ok()?,
        u128::try_from(remainder).ok()?,
    ))
}

/// `min(floor(amount · ppm / 1,000,000), most)`. With a bound there is always a result.
pub fn ratio_up_to(amount: u128, ppm: u64, most: u128) -> u128 {
    mul_div(amount, u128::from(ppm), u128::from(PPM)).map_or(most, |(part, _)| part.min(most))
}

/// `floor(amount · ppm / 1,000,000)` for a part, at most a million ppm; more counts as the whole.
pub fn part(amount: u128, ppm: u32) -> u128 {
    ratio_up_to(amount, u64::from(ppm), amount)
}

/// `ceil(amount · ppm / 1,000,000)` for a part, at most a million ppm; more counts as the whole. It is
/// what the floor of the other part leaves.
pub fn part_up(amount: u128, ppm: u32) -> u128 {
    let rest = PPM.saturating_sub(u64::from(ppm));
    amount.saturating_sub(ratio_up_to(amount, rest, amount))
}

/// Splits `total` in proportion to `weights`, exactly: each gets the floor of its share, and what
/// is left goes, one unit each, to the largest remainders, among equal ones to those that come
/// first. So callers pass the weights in the order of the accounts' or nodes' bytes. `None` if all
/// weights are 0, when there is nobody to give anything to.
///
/// # Errors
/// [`Overflow`] if the weights' sum does not fit into 128 bits.
pub fn split(total: u128, weights: &[u128]) -> Result<Option<Vec<u128>>, Overflow> {
    const WHAT: &str = "sum of weights";
    let mut sum = 0u128;
    for weight in weights {
        sum = add(sum, *weight, WHAT)?;
    }
    if sum == 0 {
        return Ok(None);
    }
    let mut left = total;
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (at, weight) in weights.iter().enumerate() {
        // A weight is at most the sum, so a share is at most the total.
        let (share, remainder) = mul_div(total, *weight, sum).ok_or(Overflow { what: WHAT })?;
        left = subtract(left, share, WHAT)?;
        shares.push(share);
        remainders.push((Reverse(remainder), at));
    }
    // The remainders sum to `left` times the sum of the weights, and each is below that sum, so
    // more than `left` of them are above 0, or none and `left` is 0.
    let units = usize::try_from(left).unwrap_or(usize::MAX);
    if units > 0 && units < remainders.len() {
        remainders.select_nth_unstable(units);
    }
    for (_, at) in remainders.iter().take(units) {
        if let Some(share) = shares.get_mut(*at) {
            *share = add(*share, 1, WHAT)?;
        }
    }
    Ok(Some(shares))
}

/// A product.
fn wide(one: u128, other: u128) -> U256 {
    U256::from(one) * U256::from(other)
}

/// What somebody may have of a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// What it is given in proportion to.
    pub(crate) weight: u128,
    /// The most that it is given.
    pub(crate) most: u128,
}

/// Divides up to `total` in proportion to weights, so that what one may not have is for the others.
/// In ascending order of `most / weight`, and of the claims where that is equal, each gets the least of
/// its `most` and of floor(what is left · weight / weights of those that are left). A weight of 0 gets
/// nothing.
///
/// # Errors
/// [`Overflow`] if the weights' sum does not fit into 128 bits.
pub(crate) fn fill(total: u128, claims: &[Claim]) -> Result<Vec<u128>, Overflow> {
    const WHAT: &str = "sum of weights";
    let mut weights = 0u128;
    for claim in claims {
        weights = add(weights, claim.weight, WHAT)?;
    }
    let mut order: Vec<(usize, &Claim)> = claims.iter().enumerate().collect();
    order.retain(|(_, claim)| claim.weight > 0);
    // Stable, so that equal ones stay in their order.
    order.sort_by(|(_, a), (_, b)| wide(a.most, b.weight).cmp(&wide(b.most, a.weight)));
    let mut left = total;
    let mut shares = vec![0; claims.len()];
    for (at, claim) in order {
        let share = mul_div(left, claim.weight, weights).map_or(0, |(share, _)| share);
        let share = share.min(claim.most);
        left = subtract(left, share, WHAT)?;
        weights = subtract(weights, claim.weight, WHAT)?;
        if let Some(to) = shares.get_mut(at) {
            *to = share;
        }
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn products_are_wide() {
        assert_eq!(mul_div(7, 3, 4), Some((5, 1)));
        assert_eq!(
            mul_div(u128::MAX, u128::MAX, u128::MAX),
            Some((u128::MAX, 0))
        );
        assert_eq!(mul_div(u128::MAX, 2, 1), None);
        assert_eq!(mul_div(1, 1, 0), None);
        assert_eq!(mul_div(u128::MAX, 2, 0), None);
        assert_eq!(part(u128::MAX, 1_000_000), u128::MAX);
        assert_eq!(part(1_999_999, 500_000), 999_999);
        assert_eq!(part_up(1_999_999, 500_000), 1_000_000);
        assert_eq!(part_up(1, 1), 1);
        assert_eq!((part_up(0, 1), part_up(u128::MAX, 0)), (0, 0));
        assert_eq!(part_up(u128::MAX, u32::MAX), u128::MAX);
        assert_eq!(ratio_up_to(u128::MAX, u64::MAX, 17), 17);
        assert_eq!(ratio_up_to(10, 2_500_000, 100), 25);
    }

    #[test]
    fn units_left_over_go_to_the_largest_remainders_then_to_the_first() {
        // Shares 3.33 each: one unit is left, and all remainders are equal.
        assert_eq!(split(10, &[1, 1, 1]), Ok(Some(vec![4, 3, 3])));
        // 10 · {1, 2, 4} / 7 = 1 3/7, 2 6/7, 5 5/7.
        assert_eq!(split(10, &[1, 2, 4]), Ok(Some(vec![1, 3, 6])));
        assert_eq!(split(2, &[0, 5, 5, 5]), Ok(Some(vec![0, 1, 1, 0])));
        assert_eq!(split(5, &[0, 0]), Ok(None));
        assert_eq!(split(5, &[]), Ok(None));
        assert_eq!(split(0, &[3, 4]), Ok(Some(vec![0, 0])));
        assert_eq!(
            split(1, &[u128::MAX, 1]),
            Err(Overflow {
                what: "sum of weights"
            })
        );
    }

    fn filled(total: u128, claims: &[(u128, u128)]) -> Vec<u128> {
        let claims = claims.iter();
        let claims = claims.map(|(weight, most)| Claim {
            weight: *weight,
            most: *most,
        });
        fill(total, &claims.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_one_may_not_have_is_for_the_others() {
        let all = u128::MAX;
        // 3.33, then half of 7, then what is left.
        assert_eq!(filled(10, &[(1, all), (1, all), (1, all)]), [3, 3, 4]);
        // The second may have 2 of its 60. Of 98 three quarters are the third's, which may have less for
        // its weight than the first.
        assert_eq!(filled(100, &[(10, all), (60, 2), (30, all)]), [25, 2, 73]);
        // All may have less than there is.
        assert_eq!(filled(100, &[(10, 5), (60, 2), (0, 9)]), [5, 2, 0]);
        assert_eq!(filled(100, &[(10, 0), (0, all)]), [0, 0]);
        assert_eq!(filled(100, &[]), [0u128; 0]);
        assert_eq!(filled(all, &[(all - 1, all), (1, all)]), [all - 1, 1]);
        let sum = [1, all].map(|weight| Claim { weight, most: 1 });
        assert!(fill(1, &sum).is_err());
    }

    proptest! {
        /// No more than there is and than each may have; and who may have more has as much for its
        /// weight as everybody else, but for rounding.
        #[test]
        fn all_that_may_be_had_is_given_away(
            total in 0u128..1 << 100,
            claims in proptest::collection::vec((0u128..1 << 60, 0u128..1 << 100), 0..30),
        ) {
            let shares = filled(total, &claims);
            let sum: u128 = shares.iter().sum();
            let may: u128 = claims.iter().filter(|(w, _)| *w > 0).map(|(_, most)| most).sum();
            prop_assert_eq!(sum, total.min(may));
            let units = claims.len() as u128 + 1;
            for ((weight, most), share) in claims.iter().zip(&shares) {
                prop_assert!(share <= most && (*weight > 0 || *share == 0));
                for ((other, _), others) in claims.iter().zip(&shares) {
                    let (mine, theirs) = (share + units, others.saturating_sub(units));
                    let (mine, theirs) = (wide(mine, *other), wide(theirs, *weight));
                    prop_assert!(share == most || mine >= theirs);
                }
            }
        }

        #[test]
        fn mul_div_is_division(a: u128, b: u128, c in 1u128..) {
            let product = U256::from(a) * U256::from(b);
            match mul_div(a, b, c) {
                Some((quotient, remainder)) => {
                    prop_assert!(remainder < c);
                    let again = U256::from(quotient) * U256::from(c) + U256::from(remainder);
                    prop_assert_eq!(again, product);
                }
                None => prop_assert!(product / U256::from(c) > U256::from(u128::MAX)),
            }
        }

        #[test]
        fn a_part_rounded_up_is_less_than_a_unit_above_the_part(
            amount in prop_oneof![any::<u128>(), 0..5_000_000u128],
            ppm in 0..=1_000_000u32,
        ) {
            let whole = U256::from(PPM);
            let up = U256::from(part_up(amount, ppm)) * whole;
            let exact = U256::from(amount) * U256::from(ppm);
            prop_assert!(exact <= up && up < exact + whole);
            prop_assert!(part_up(amount, ppm) - part(amount, ppm) <= 1);
        }

        #[test]
        fn a_split_is_exact_and_each_share_is_within_one_unit(
            total: u128,
            weights in proptest::collection::vec(0u128..1 << 100, 1..50),
        ) {
            let sum: u128 = weights.iter().sum();
            match split(total, &weights).unwrap() {
                None => prop_assert_eq!(sum, 0),
                Some(shares) => {
                    let all: U256 = shares.iter().map(|share| U256::from(*share)).sum();
                    prop_assert_eq!(all, U256::from(total));
                    for (share, weight) in shares.iter().zip(&weights) {
                        let (floor, remainder) = mul_div(total, *weight, sum).unwrap();
                        prop_assert!(*share == floor || (remainder > 0 && *share == floor + 1));
                    }
                }
            }
        }
    }
}
