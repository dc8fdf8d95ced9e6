//! Rows whose largest elements are the same ones, or are not.

use adit_protocol::tensor::DType;
use adit_protocol::tolerance::Tolerance;

use super::{Pair, fp32};

/// All of the k largest must be the same.
fn all(k: u32) -> Tolerance {
    share(k, 1_000_000)
}

fn share(k: u32, min_ppm: u64) -> Tolerance {
    Tolerance::TopK { k, min_ppm }
}

pub fn alike() -> Vec<(&'static str, Pair)> {
    use DType::{Bf16, Fp32, I64, U8};
    let inf = f32::INFINITY;
    let (quiet, payload) = (f32::from_bits(0x7fc0_0000), f32::from_bits(0xffc0_0001));
    let rows = [[1u8], [2], [3], [4], [5], [6]];
    let high = [i64::MAX, i64::MAX - 1, i64::MAX - 2].map(i64::to_le_bytes);
    let low = [i64::MAX - 3, i64::MAX - 4, i64::MAX - 5].map(i64::to_le_bytes);
    vec![
        (
            "top-k-other-numbers",
            Pair::new(
                all(2),
                Fp32,
                &fp32([9.0, 1.0, 8.0, 2.0]),
                &fp32([0.9, 0.1, 0.8, 0.2]),
            ),
        ),
        (
            "top-k-other-order",
            Pair::new(all(2), Fp32, &fp32([9.0, 1.0, 8.0]), &fp32([8.0, 1.0, 9.0])),
        ),
        (
            "top-k-half",
            Pair::new(
                share(2, 500_000),
                Fp32,
                &fp32([5.0, 1.0, 4.0, 3.0]),
                &fp32([5.0, 1.0, 2.0, 3.0]),
            ),
        ),
        // Two of three rows have the same largest element: 0.666666 and a bit.
        (
            "top-k-two-of-three-rows",
            Pair::new(
                share(1, 666_666),
                U8,
                &rows,
                &[[1], [2], [4], [3], [5], [6]],
            )
            .shaped(&[3, 2]),
        ),
        (
            "top-k-rows-shorter-than-k",
            Pair::new(all(u32::MAX), U8, &rows, &[[6], [5], [4], [3], [2], [1]]).shaped(&[3, 2]),
        ),
        (
            "top-k-scalar",
            Pair::new(all(1), U8, &[[1]], &[[2]]).shaped(&[]),
        ),
        (
            "top-k-empty-rows",
            Pair::new::<1>(all(3), U8, &[], &[]).shaped(&[4, 0]),
        ),
        // The first two of three equal ones, in both.
        (
            "top-k-lower-index-first",
            Pair::new(all(2), U8, &[[7], [7], [7], [1]], &[[9], [8], [1], [1]]),
        ),
        (
            "top-k-zero-equals-minus-zero",
            Pair::new(all(1), Fp32, &fp32([-0.0, 0.0]), &fp32([1.0, 0.0])),
        ),
        (
            "top-k-nan-below-infinity",
            Pair::new(all(1), Fp32, &fp32([quiet, -inf]), &fp32([payload, -inf])),
        ),
        (
            "top-k-infinity-above-all",
            Pair::new(
                all(1),
                Fp32,
                &fp32([f32::MAX, inf, 1.0]),
                &fp32([1.0, inf, f32::MAX]),
            ),
        ),
        (
            "top-k-negative",
            Pair::new(
                all(1),
                Bf16,
                &[[0x80, 0xbf], [0, 0xc0]],
                &[[0, 0xc0], [0x40, 0xc0]],
            ),
        ),
        // All six are the same binary64.
        (
            "top-k-integers-above-2-to-the-53",
            Pair::new(
                all(2),
                I64,
                &[low[0], high[0], high[1]],
                &[low[2], high[2], low[1]],
            ),
        ),
    ]
}

pub fn apart() -> Vec<(&'static str, Pair, &'static str)> {
    use DType::{Fp32, I64, U8};
    let rows = [[1u8], [2], [3], [4], [5], [6]];
    vec![
        (
            "top-k-other-element",
            Pair::new(
                all(1),
                Fp32,
                &fp32([1.0, 1.000_000_1]),
                &fp32([1.0, 0.999_999_9]),
            ),
            "the largest element is another one, though the numbers hardly differ",
        ),
        (
            "top-k-one-ppm-short",
            Pair::new(
                share(1, 666_667),
                U8,
                &rows,
                &[[1], [2], [4], [3], [5], [6]],
            )
            .shaped(&[3, 2]),
            "two of three rows are less than 0.666667",
        ),
        (
            "top-k-other-of-equal-ones",
            Pair::new(all(1), U8, &[[7], [7]], &[[7], [8]]),
            "of two equal elements the first is the largest",
        ),
        (
            "top-k-rows-not-columns",
            Pair::new(all(1), U8, &[[1], [2], [3], [4]], &[[1], [2], [4], [3]]).shaped(&[2, 2]),
            "the rows are along the last dimension",
        ),
        (
            "top-k-integers-above-2-to-the-53",
            Pair::new(
                all(1),
                I64,
                &[(i64::MAX - 1).to_le_bytes(), i64::MAX.to_le_bytes()],
                &[i64::MAX.to_le_bytes(), (i64::MAX - 1).to_le_bytes()],
            ),
            "the largest element is another one, which a binary64 does not show",
        ),
        (
            "top-k-nan-and-number",
            Pair::new(share(1, 0), Fp32, &fp32([2.0, f32::NAN]), &fp32([2.0, 1.0])),
            "NaN agrees with no number, even where it is not among the largest",
        ),
        (
            "top-k-infinity-and-number",
            Pair::new(all(1), Fp32, &fp32([1.0, f32::INFINITY]), &fp32([1.0, 2.0])),
            "infinity agrees with no number, though both are the largest",
        ),
    ]
}
