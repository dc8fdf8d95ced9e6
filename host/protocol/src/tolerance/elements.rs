//! Elements of a tensor as numbers.

use crate::tensor::DType;

/// Two elements as binary64, and how far they are apart.
pub(super) struct Pair {
    pub a: f64,
    pub b: f64,
    pub difference: f64,
}

pub(super) fn pair(dtype: DType, a: &[u8], b: &[u8]) -> Pair {
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

pub(super) fn le_i64(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_le_bytes)
}

/// One element as binary64, exactly but for integers above 2^53. `bytes` is as long as an element.
pub(super) fn number(dtype: DType, bytes: &[u8]) -> f64 {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
