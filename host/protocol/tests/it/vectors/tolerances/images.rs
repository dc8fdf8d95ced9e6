//! Images that look alike, those that do not, and tensors that are none.

use adit_protocol::tensor::DType;
use adit_protocol::tolerance::{Tolerance, ToleranceError};

use super::super::kind::Bad;
use super::Pair;

fn within(max_bits: u32) -> Tolerance {
    Tolerance::PerceptualHash { max_bits }
}

/// Planes of `height` rows and `width` columns whose element at plane p, row r and column c is
/// `value(p, r, c)`.
fn planes<T>(dims: [usize; 3], value: impl Fn(usize, usize, usize) -> T) -> Vec<T> {
    let [planes, height, width] = dims;
    let mut all = Vec::new();
    for p in 0..planes {
        for r in 0..height {
            all.extend((0..width).map(|c| value(p, r, c)));
        }
    }
    all
}

fn bytes(dims: [usize; 3], value: impl Fn(usize, usize, usize) -> usize) -> Vec<[u8; 1]> {
    planes(dims, |p, r, c| [value(p, r, c) as u8])
}

/// Something with edges in both directions.
fn picture(p: usize, r: usize, c: usize) -> usize {
    (r * r * 3 + c * c * 7 + r * c * 5 + p * 50) % 200
}

fn floats(dims: [usize; 3], value: impl Fn(f32) -> f32) -> Vec<[u8; 4]> {
    planes(dims, |p, r, c| value(picture(p, r, c) as f32).to_le_bytes())
}

pub fn alike() -> Vec<(&'static str, Pair)> {
    use DType::{Fp32, I64, U8};
    let small = [1, 8, 9];
    let odd = [2, 19, 23];
    let one_bit = |_, r: usize, c: usize| if (r, c) == (3, 8) { 0 } else { c };
    let noisy = |p, r, c| picture(p, r, c) + (r * 7 + c * 3) % 2;
    let nan = |mut list: Vec<[u8; 4]>, bits: u32| {
        list[40] = bits.to_le_bytes();
        list
    };
    let integers = |add: usize| {
        planes(small, |p, r, c| {
            (i64::MAX - 5000 * (picture(p, r, c) + add) as i64).to_le_bytes()
        })
    };
    vec![
        (
            "hash-brighter",
            Pair::new(
                within(0),
                Fp32,
                &floats(small, |value| value),
                &floats(small, |value| value * 2.0 + 1.0),
            )
            .shaped(&[1, 1, 8, 9]),
        ),
        (
            "hash-one-bit",
            Pair::new(
                within(1),
                U8,
                &bytes(small, |_, _, c| c),
                &bytes(small, one_bit),
            )
            .shaped(&[8, 9]),
        ),
        // Neither 19 rows nor 23 columns can be divided evenly.
        (
            "hash-uneven-cells",
            Pair::new(within(16), U8, &bytes(odd, picture), &bytes(odd, noisy))
                .shaped(&[2, 19, 23]),
        ),
        (
            "hash-all-bits-allowed",
            Pair::new(
                within(64),
                U8,
                &bytes(small, |_, _, c| c),
                &bytes(small, |_, _, c| 9 - c),
            )
            .shaped(&[8, 9]),
        ),
        (
            "hash-beside-nan",
            Pair::new(
                within(0),
                Fp32,
                &nan(floats(small, |value| value), 0x7fc0_0000),
                &nan(floats(small, |value| value * 0.5), 0xffc0_0001),
            )
            .shaped(&[8, 9]),
        ),
        (
            "hash-integers-above-2-to-the-53",
            Pair::new(within(8), I64, &integers(0), &integers(3)).shaped(&[8, 9]),
        ),
        (
            "hash-no-planes-at-all",
            Pair::new::<1>(within(0), U8, &[], &[]).shaped(&[0, 8, 9]),
        ),
    ]
}

pub fn apart() -> Vec<(&'static str, Pair, &'static str)> {
    use DType::{Fp32, U8};
    let small = [1, 8, 9];
    let two = [2, 8, 9];
    let second = |p: usize, _, c: usize| if p == 0 { c } else { 9 - c };
    let mut hole = floats(small, |value| value);
    hole[40] = f32::NAN.to_le_bytes();
    vec![
        (
            "hash-mirrored",
            Pair::new(
                within(10),
                U8,
                &bytes(small, picture),
                &bytes(small, |p, r, c| picture(p, r, 8 - c)),
            )
            .shaped(&[8, 9]),
            "the image is mirrored",
        ),
        (
            "hash-second-plane",
            Pair::new(
                within(63),
                U8,
                &bytes(two, |_, _, c| c),
                &bytes(two, second),
            )
            .shaped(&[2, 8, 9]),
            "one of two planes is alike, and the other must be too",
        ),
        (
            "hash-flat-and-not",
            Pair::new(
                within(63),
                U8,
                &bytes(small, |_, _, _| 7),
                &bytes(small, |_, _, c| c),
            )
            .shaped(&[8, 9]),
            "equal neighbours are not brighter, so that a flat image has no bits",
        ),
        (
            "hash-nan-and-number",
            Pair::new(within(64), Fp32, &floats(small, |value| value), &hole).shaped(&[8, 9]),
            "NaN agrees with no number, though any hash would do",
        ),
    ]
}

/// Tensors that have no such hash.
pub fn unfit() -> Vec<Bad> {
    let case = |name, dims: &[u32], error: ToleranceError, why| {
        let count = dims.iter().product::<u32>() as usize;
        let pair = Pair::new(within(64), DType::U8, &vec![[1]; count], &vec![[1]; count]);
        Bad::new(name, pair.shaped(dims).file(), error, why)
    };
    let small = |height, width| ToleranceError::PlaneTooSmall { height, width };
    vec![
        case(
            "hash-of-a-row",
            &[72],
            ToleranceError::NoPlanes { dims: vec![72] },
            "a tensor of one dimension has no height and width",
        ),
        case(
            "hash-of-a-scalar",
            &[],
            ToleranceError::NoPlanes { dims: vec![] },
            "a tensor without dimensions has no height and width",
        ),
        case(
            "hash-seven-rows",
            &[3, 7, 9],
            small(7, 9),
            "a plane has at least eight rows",
        ),
        case(
            "hash-channels-last",
            &[9, 9, 3],
            small(9, 3),
            "with the channels last, the width is taken for the height",
        ),
        case(
            "hash-empty-planes",
            &[2, 0, 0],
            small(0, 0),
            "planes without elements are too small, though nothing differs",
        ),
    ]
}
