//! How far the elements of two tensors are apart, one by one and as directions.

use super::elements::Pair;

/// The figures of two tensors of one shape.
pub(super) struct Differences {
    /// Largest |a - b|; infinite if the two are not comparable.
    pub max_abs: f64,
    /// Largest |a - b| / max(|a|, |b|); infinite if the two are not comparable.
    pub max_rel: f64,
    /// Cosine similarity of the finite pairs.
    pub cosine: f64,
    /// Whether each element is within one of the two bounds.
    pub within: bool,
    /// Whether what is not finite in one stands in the other too.
    pub comparable: bool,
}

/// Measures the pairs that `pairs` gives, each time in the order of the elements, against an
/// absolute and a relative bound.
pub(super) fn measure<I: Iterator<Item = Pair>>(
    pairs: impl Fn() -> I,
    abs: f64,
    rel: f64,
) -> Differences {
    let mut found = Differences {
        max_abs: 0.0,
        max_rel: 0.0,
        cosine: 1.0,
        within: true,
        comparable: true,
    };
    let mut largest: (f64, f64) = (0.0, 0.0);
    for Pair { a, b, difference } in pairs() {
        if !a.is_finite() || !b.is_finite() {
            // `==` holds for the same infinity and never for NaN.
            if a != b && !(a.is_nan() && b.is_nan()) {
                found.comparable = false;
            }
            continue;
        }
        let relative = if difference == 0.0 {
            0.0
        } else {
            relative(a, b, difference)
        };
        found.within &= difference <= abs || relative <= rel;
        found.max_abs = found.max_abs.max(difference);
        found.max_rel = found.max_rel.max(relative);
        largest = (largest.0.max(a.abs()), largest.1.max(b.abs()));
    }
    found.cosine = cosine(pairs(), largest);
    if !found.comparable {
        (found.max_abs, found.max_rel) = (f64::INFINITY, f64::INFINITY);
    }
    found
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
