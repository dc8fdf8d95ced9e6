//! When two tensors that should be the same are the same, and a pure function that decides it.

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::Serialize;
use thiserror::Error;

use crate::cbor::fields::Invalid;
use crate::tensor::{DType, TensorError, check_shape};

/// What a model's answers must have in common on two machines. Parts are integers, so that every
/// reader has the same numbers: billionths (nano) and millionths (ppm).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tolerance {
    /// The same bytes.
    Exact,
    /// For each element |a - b| <= max(abs, rel x max(|a|, |b|)).
    MaxAbsRel {
        /// Absolute difference, in 10^-9.
        abs_nano: u64,
        /// Relative difference, in 10^-6.
        rel_ppm: u64,
    },
    /// Cosine similarity of the whole tensors is at least this.
    Cosine {
        /// Smallest similarity, in 10^-6; at most 1,000,000.
        min_ppm: u64,
    },
}

/// How far two tensors agree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Largest |a - b|; infinite where one of the two is not a finite number.
    pub max_abs: f64,
    /// Largest |a - b| / max(|a|, |b|), from 0 to 2; infinite where one is not finite.
    pub max_rel: f64,
    /// Cosine similarity, from -1 to 1. Two tensors of zeros have 1, one of zeros and another 0.
    pub cosine: f64,
    /// Whether the tolerance accepts the pair.
    pub accepted: bool,
}

/// Why two tensors cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ToleranceError {
    /// The shapes differ.
    #[error(
        "the tensors have the dimensions {a:?} and {b:?}; hint: tensors of different shapes never agree"
    )]
    ShapesDiffer {
        /// Dimensions of the first.
        a: Vec<u32>,
        /// Dimensions of the second.
        b: Vec<u32>,
    },
    /// One of them is malformed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl Tolerance {
    /// Compares two tensors of one type.
    ///
    /// Numbers that are not finite are compared one by one: NaN agrees with NaN whatever its bits,
    /// an infinity with itself. Such pairs take no part in the figures. NaN or infinity against
    /// anything else makes the differences infinite, and the pair is refused whatever the
    /// tolerance. `Exact` looks at bytes alone.
    ///
    /// All arithmetic is IEEE 754 binary64 in the order of the elements, so that every machine
    /// comes to the same verdict. Differences of integers are exact.
    ///
    /// # Errors
    /// [`ToleranceError`] if the shapes differ or data is not as long as its shape says.
    pub fn compare(
        &self,
        dtype: DType,
        dims_a: &[u32],
        data_a: &[u8],
        dims_b: &[u32],
        data_b: &[u8],
    ) -> Result<Agreement, ToleranceError> {
        check_shape(dtype, dims_a, data_a.len())?;
        check_shape(dtype, dims_b, data_b.len())?;
        if dims_a != dims_b {
            return Err(ToleranceError::ShapesDiffer {
                a: dims_a.to_vec(),
                b: dims_b.to_vec(),
            });
        }
        let (abs, rel) = match self {
            Tolerance::MaxAbsRel { abs_nano, rel_ppm } => {
                (*abs_nano as f64 / 1e9, *rel_ppm as f64 / 1e6)
            }
            Tolerance::Exact | Tolerance::Cosine { .. } => (0.0, 0.0),
        };
        let size = dtype.size();
        let pairs = || {
            data_a
                .chunks_exact(size)
                .zip(data_b.chunks_exact(size))
                .map(|(a, b)| pair(dtype, a, b))
        };

        let mut agreement = Agreement {
            max_abs: 0.0,
            max_rel: 0.0,
            cosine: 1.0,
            accepted: true,
        };
        let mut within = true;
        let mut comparable = true;
        let mut largest: (f64, f64) = (0.0, 0.0);
        for Pair { a, b, difference } in pairs() {
            if !a.is_finite() || !b.is_finite() {
                // `==` holds for the same infinity and never for NaN.
                if a != b && !(a.is_nan() && b.is_nan()) {
                    comparable = false;
                }
                continue;
            }
            let relative = if difference == 0.0 {
                0.0
            } else {
                relative(a, b, difference)
            };
            within &= difference <= abs || relative <= rel;
            agreement.max_abs = agreement.max_abs.max(difference);
            agreement.max_rel = agreement.max_rel.max(relative);
            largest = (largest.0.max(a.abs()), largest.1.max(b.abs()));
        }
        agreement.cosine = cosine(pairs(), largest);
        if !comparable {
            (agreement.max_abs, agreement.max_rel) = (f64::INFINITY, f64::INFINITY);
        }
        agreement.accepted = match self {
            Tolerance::Exact => data_a == data_b,
            Tolerance::MaxAbsRel { .. } => comparable && within,
            Tolerance::Cosine { min_ppm } => {
                comparable && agreement.cosine >= *min_ppm as f64 / 1e6
            }
        };
        Ok(agreement)
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        match self {
            Tolerance::Cosine { min_ppm } if *min_ppm > 1_000_000 => {
                Invalid::new("tolerance.min_ppm", "no similarity is above 1000000")
            }
            _ => Ok(()),
        }
    }
}

/// |a - b| / max(|a|, |b|), scaled first so that a difference of huge numbers stays finite.
fn relative(a: f64, b: f64, difference: f64) -> f64 {
    let magnitude = a.abs().max(b.abs());
    if difference.is_finite() {
        difference / magnitude
    } else {
        (a / magnitude - b / magnitude).abs()
    }
}

/// Cosine similarity; each side is divided by its largest element first, so that no square
/// overflows or vanishes.
fn cosine(pairs: impl Iterator<Item = Pair>, largest: (f64, f64)) -> f64 {
    match (largest.0 == 0.0, largest.1 == 0.0) {
        (true, true) => return 1.0,
        (true, false) | (false, true) => return 0.0,
        (false, false) => {}
    }
    let (mut dot, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for Pair { a, b, .. } in pairs.filter(|pair| pair.a.is_finite() && pair.b.is_finite()) {
        let (a, b) = (a / largest.0, b / largest.1);
        dot += a * b;
        square_a += a * a;
        square_b += b * b;
    }
    // One root of the product and not a product of roots: the root of a number's square is that
    // number again, so that a tensor has exactly 1 with itself.
    (dot / (square_a * square_b).sqrt()).clamp(-1.0, 1.0)
}

/// Two elements as binary64, and how far they are apart.
struct Pair {
    a: f64,
    b: f64,
    difference: f64,
}

fn pair(dtype: DType, a: &[u8], b: &[u8]) -> Pair {
    if let (DType::I64, Some(x), Some(y)) = (dtype, le_i64(a), le_i64(b)) {
        // Above 2^53 two different integers can be the same binary64.
        return Pair {
            a: x as f64,
            b: y as f64,
            difference: x.abs_diff(y) as f64,
        };
    }
    let (a, b) = (number(dtype, a), number(dtype, b));
    Pair {
        a,
        b,
        difference: (a - b).abs(),
    }
}

fn le_i64(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_le_bytes)
}

/// One element as binary64, exactly but for integers above 2^53. `bytes` is as long as an element.
fn number(dtype: DType, bytes: &[u8]) -> f64 {
    let mut word = [0u8; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    let word = u64::from_le_bytes(word);
    match dtype {
        DType::U8 => word as f64,
        DType::I32 => f64::from(word as u32 as i32),
        DType::I64 => word as i64 as f64,
        DType::Fp64 => f64::from_bits(word),
        DType::Fp32 => f64::from(f32::from_bits(word as u32)),
        DType::Bf16 => f64::from(f32::from_bits((word as u32) << 16)),
        DType::Fp16 => half(word as u16),
    }
}

/// IEEE 754 binary16 to binary64.
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = ((bits >> 10) & 31, f64::from(bits & 0x3ff));
    match exponent {
        0 => sign * fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f64.powi(i32::from(exponent) - 15),
    }
}

impl<C> Encode<C> for Tolerance {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        match self {
            Tolerance::Exact => e.array(1)?.u8(0)?,
            Tolerance::MaxAbsRel { abs_nano, rel_ppm } => {
                e.array(3)?.u8(1)?.u64(*abs_nano)?.u64(*rel_ppm)?
            }
            Tolerance::Cosine { min_ppm } => e.array(2)?.u8(2)?.u64(*min_ppm)?,
        };
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Tolerance {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Tolerance, minicbor::decode::Error> {
        let position = d.position();
        let length = d.array()?;
        match (length, d.u8()?) {
            (Some(1), 0) => Ok(Tolerance::Exact),
            (Some(3), 1) => Ok(Tolerance::MaxAbsRel {
                abs_nano: d.u64()?,
                rel_ppm: d.u64()?,
            }),
            (Some(2), 2) => Ok(Tolerance::Cosine { min_ppm: d.u64()? }),
            _ => Err(minicbor::decode::Error::message("an unknown tolerance").at(position)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn compare(tolerance: Tolerance, a: &[f32], b: &[f32]) -> Agreement {
        let dims = [a.len() as u32];
        tolerance
            .compare(DType::Fp32, &dims, &floats(a), &dims, &floats(b))
            .unwrap()
    }

    #[test]
    fn half_agrees_with_the_half_crate_on_every_pattern() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (half(bits), ::half::f16::from_bits(bits).to_f64());
            assert!(
                ours == theirs || ours.is_nan() && theirs.is_nan(),
                "{bits:04x}"
            );
            let ours = number(DType::Bf16, &bits.to_le_bytes());
            let theirs = ::half::bf16::from_bits(bits).to_f64();
            assert!(
                ours == theirs || ours.is_nan() && theirs.is_nan(),
                "{bits:04x}"
            );
        }
    }

    #[test]
    fn either_bound_suffices_for_an_element() {
        let tolerance = Tolerance::MaxAbsRel {
            abs_nano: 1_000_000,
            rel_ppm: 10_000,
        };
        // 0.0005 is within 0.001; 1 in 200 is within 1%; 0.01 of 0.1 is within neither.
        assert!(compare(tolerance, &[0.0, 200.0], &[0.0005, 201.0]).accepted);
        let apart = compare(tolerance, &[0.1], &[0.11]);
        assert!(!apart.accepted);
        assert!((apart.max_abs - 0.01).abs() < 1e-6 && (apart.max_rel - 1.0 / 11.0).abs() < 1e-6);
    }

    #[test]
    fn exact_looks_at_bytes() {
        assert!(compare(Tolerance::Exact, &[1.0, f32::NAN], &[1.0, f32::NAN]).accepted);
        let zeros = compare(Tolerance::Exact, &[0.0], &[-0.0]);
        assert!(!zeros.accepted && zeros.max_abs == 0.0);
    }

    #[test]
    fn cosine_of_directions() {
        let tolerance = Tolerance::Cosine { min_ppm: 999_000 };
        let same = compare(tolerance, &[1.0, 2.0], &[2.0, 4.0]);
        assert!(same.accepted && (same.cosine - 1.0).abs() < 1e-12);
        let across = compare(tolerance, &[1.0, 0.0], &[0.0, 1.0]);
        assert!(!across.accepted && across.cosine == 0.0);
        assert_eq!(compare(tolerance, &[0.0], &[0.0]).cosine, 1.0);
        assert_eq!(compare(tolerance, &[0.0], &[1.0]).cosine, 0.0);
        assert!(compare(tolerance, &[], &[]).accepted);
        // Squares of these leave the range of binary64.
        let huge: Vec<u8> = [1e300f64, 1e300]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let agreement = tolerance
            .compare(DType::Fp64, &[2], &huge, &[2], &huge)
            .unwrap();
        assert!(agreement.accepted && agreement.cosine.is_finite());
    }

    #[test]
    fn a_tensor_has_the_direction_of_itself() {
        // Found by fuzzing: a product of two roots came to 0.9999999999999998 for this one.
        let data = [
            [0xcb, 0xff, 0xff, 0xff, 0xff, 0x09, 0x7b, 0xc2],
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x09],
        ]
        .concat();
        let strict = Tolerance::Cosine { min_ppm: 1_000_000 };
        let found = strict.compare(DType::I64, &[2], &data, &[2], &data);
        let found = found.unwrap();
        assert!(found.accepted && found.cosine == 1.0, "{found:?}");
        for n in 1..500u16 {
            let values: Vec<f32> = (0..n).map(|i| f32::from(i) * f32::from(n) / 7.0).collect();
            let found = compare(strict, &values, &values);
            assert!(found.accepted && found.cosine == 1.0, "{n} {found:?}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite() {
        let loose = Tolerance::MaxAbsRel {
            abs_nano: u64::MAX,
            rel_ppm: u64::MAX,
        };
        for tolerance in [loose, Tolerance::Cosine { min_ppm: 0 }] {
            let quiet = f32::from_bits(0x7fc0_0000);
            let other = f32::from_bits(0xffc0_0001);
            assert!(compare(tolerance, &[quiet, 1.0], &[other, 1.0]).accepted);
            assert!(compare(tolerance, &[f32::INFINITY], &[f32::INFINITY]).accepted);
            for (a, b) in [
                (f32::NAN, 1.0),
                (1.0, f32::NAN),
                (f32::INFINITY, 1.0),
                (f32::INFINITY, f32::NEG_INFINITY),
                (f32::INFINITY, f32::NAN),
            ] {
                let agreement = compare(tolerance, &[a, 1.0], &[b, 1.0]);
                assert!(!agreement.accepted, "{a} {b}");
                assert_eq!(agreement.max_abs, f64::INFINITY);
            }
        }
        // The difference overflows, the numbers are finite.
        let (a, b) = (f64::MAX.to_le_bytes(), f64::MIN.to_le_bytes());
        let agreement = loose.compare(DType::Fp64, &[], &a, &[], &b).unwrap();
        assert_eq!(agreement.max_rel, 2.0);
    }

    #[test]
    fn integers_are_compared_exactly() {
        let (a, b) = (i64::MAX.to_le_bytes(), (i64::MAX - 1).to_le_bytes());
        let none = Tolerance::MaxAbsRel {
            abs_nano: 0,
            rel_ppm: 0,
        };
        let agreement = none.compare(DType::I64, &[], &a, &[], &b).unwrap();
        assert_eq!((agreement.max_abs, agreement.accepted), (1.0, false));
        let one = Tolerance::MaxAbsRel {
            abs_nano: 1_000_000_000,
            rel_ppm: 0,
        };
        assert!(
            one.compare(DType::U8, &[2], &[3, 255], &[2], &[4, 254])
                .unwrap()
                .accepted
        );
        assert!(
            !one.compare(DType::U8, &[1], &[3], &[1], &[5])
                .unwrap()
                .accepted
        );
        let (a, b) = ((-5i32).to_le_bytes(), 5i32.to_le_bytes());
        assert_eq!(
            one.compare(DType::I32, &[], &a, &[], &b).unwrap().max_abs,
            10.0
        );
    }

    #[test]
    fn shapes_must_be_equal_and_filled() {
        let exact = Tolerance::Exact;
        assert!(matches!(
            exact.compare(DType::U8, &[2], &[1, 2], &[1, 2], &[1, 2]),
            Err(ToleranceError::ShapesDiffer { .. })
        ));
        assert!(matches!(
            exact.compare(DType::U8, &[2], &[1], &[2], &[1, 2]),
            Err(ToleranceError::Tensor(TensorError::DataLength { .. }))
        ));
    }
}
