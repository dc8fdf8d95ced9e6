//! How many of the largest elements two tensors have in common, row by row.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::elements::{le_i64, number};
use crate::tensor::DType;

/// Places that were looked at, and those of them that both tensors chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Overlap {
    common: u64,
    total: u64,
}

impl Overlap {
    /// Whether at least `min_ppm` of a million places are common; nothing to look at is agreement.
    pub fn reaches(self, min_ppm: u64) -> bool {
        // In integers, so that no rounding decides.
        u128::from(self.common) * 1_000_000 >= u128::from(min_ppm) * u128::from(self.total)
    }

    /// The common part, from 0 to 1.
    pub fn share(self) -> f64 {
        match self.total {
            0 => 1.0,
            total => self.common as f64 / total as f64,
        }
    }
}

/// Compares the `k` largest elements of each row. The two have the same dimensions, and as much
/// data as these say.
pub(super) fn overlap(dtype: DType, dims: &[u32], a: &[u8], b: &[u8], k: u32) -> Overlap {
    // A tensor without dimensions is one row of one element; one without elements has no rows.
    let length = dims.last().map_or(1, |dim| *dim as usize);
    let row = length.saturating_mul(dtype.size()).max(1);
    let mut overlap = Overlap::default();
    for (a, b) in a.chunks_exact(row).zip(b.chunks_exact(row)) {
        let (a, b) = (largest(dtype, a, k), largest(dtype, b, k));
        overlap.total += a.len() as u64;
        overlap.common += common(&a, &b);
    }
    overlap
}

/// The places of the `k` largest elements of a row in ascending order; all, if there are no more.
/// Of equal elements the one with the lower index goes first.
fn largest(dtype: DType, row: &[u8], k: u32) -> Vec<usize> {
    // Its greatest item is the one to give up next: the smallest element, the last of equal ones.
    let mut kept = BinaryHeap::new();
    for (index, element) in row.chunks_exact(dtype.size()).enumerate() {
        let item = (Reverse(rank(dtype, element)), index);
        if kept.len() < k as usize {
            kept.push(item);
        } else if let Some(mut last) = kept.peek_mut()
            && item < *last
        {
            *last = item;
        }
    }
    let mut places: Vec<usize> = kept.into_iter().map(|(_, index)| index).collect();
    places.sort_unstable();
    places
}

/// How many numbers two ascending lists have in common.
fn common(a: &[usize], b: &[usize]) -> u64 {
    let mut b = b.iter().peekable();
    let mut count = 0;
    for place in a {
        while b.next_if(|other| *other < place).is_some() {}
        count += u64::from(b.next_if_eq(&place).is_some());
    }
    count
}

/// A number for each element that is larger for larger elements, and the same for equal ones: zero
/// and minus zero are equal. NaN is below everything, minus infinity too.
fn rank(dtype: DType, element: &[u8]) -> u64 {
    const SIGN: u64 = 1 << 63;
    if let (DType::I64, Some(integer)) = (dtype, le_i64(element)) {
        // Above 2^53 two different integers can be the same binary64.
        return integer as u64 ^ SIGN;
    }
    let number = number(dtype, element);
    if number.is_nan() {
        return 0;
    }
    // Adding zero makes zero of minus zero and changes nothing else.
    match (number + 0.0).to_bits() {
        negative if negative & SIGN != 0 => !negative,
        positive => positive | SIGN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fp32(row: &[f32]) -> Vec<u8> {
        row.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn elements_are_ranked_as_numbers() {
        let ascending = [
            f32::NAN,
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -f32::MIN_POSITIVE,
            0.0,
            f32::MIN_POSITIVE,
            1.0,
            f32::MAX,
            f32::INFINITY,
        ];
        let ranks = ascending.map(|value| rank(DType::Fp32, &value.to_le_bytes()));
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:x?}");
        let of = |value: f32| rank(DType::Fp32, &value.to_le_bytes());
        assert_eq!(of(-0.0), of(0.0));
        assert_eq!(of(-f32::NAN), of(f32::NAN));
        let integers = [i64::MIN, -1, 0, i64::MAX - 1, i64::MAX];
        let ranks = integers.map(|value| rank(DType::I64, &value.to_le_bytes()));
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:x?}");
    }

    #[test]
    fn the_largest_are_found_and_the_first_of_equal_ones() {
        let row = fp32(&[1.0, 3.0, 2.0, 3.0, f32::NAN, 3.0]);
        assert_eq!(largest(DType::Fp32, &row, 2), [1, 3]);
        assert_eq!(largest(DType::Fp32, &row, 4), [1, 2, 3, 5]);
        assert_eq!(largest(DType::Fp32, &row, 5), [0, 1, 2, 3, 5]);
        assert_eq!(largest(DType::Fp32, &row, u32::MAX).len(), 6);
        assert!(largest(DType::Fp32, &row, 0).is_empty());
        assert_eq!(largest(DType::U8, &[7; 9], 3), [0, 1, 2]);
    }

    #[test]
    fn the_largest_are_those_of_a_sort() {
        // A small generator; many equal elements.
        let mut state = 1u32;
        for length in 0..64usize {
            let row: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8 % 16
                })
                .collect();
            let mut order: Vec<usize> = (0..length).collect();
            order.sort_by_key(|index| (Reverse(row[*index]), *index));
            for k in 0..=length + 1 {
                let mut expected = order[..k.min(length)].to_vec();
                expected.sort_unstable();
                assert_eq!(largest(DType::U8, &row, k as u32), expected);
            }
        }
    }

    #[test]
    fn a_share_is_decided_in_integers() {
        let overlap = Overlap {
            common: 2,
            total: 3,
        };
        assert!(overlap.reaches(666_666) && !overlap.reaches(666_667));
        let most = Overlap {
            common: u64::MAX - 1,
            total: u64::MAX,
        };
        assert!(most.reaches(999_999) && !most.reaches(1_000_000));
        assert!(Overlap::default().reaches(1_000_000));
        assert_eq!(Overlap::default().share(), 1.0);
    }

    #[test]
    fn rows_are_those_of_the_last_dimension() {
        let (a, b) = ([1, 2, 3, 4, 5, 6], [1, 2, 4, 3, 5, 6]);
        let over = |dims: &[u32], k| {
            let Overlap { common, total } = overlap(DType::U8, dims, &a, &b, k);
            (common, total)
        };
        assert_eq!(over(&[6], 2), (2, 2));
        assert_eq!(over(&[2, 3], 1), (2, 2));
        assert_eq!(over(&[3, 2], 1), (2, 3));
        // Each row is shorter than k, and its own length counts.
        assert_eq!(over(&[3, 2], 5), (6, 6));
        assert_eq!(
            overlap(DType::U8, &[], &[1], &[2], 5),
            Overlap {
                common: 1,
                total: 1
            }
        );
        assert_eq!(overlap(DType::U8, &[4, 0], &[], &[], 5), Overlap::default());
    }
}
