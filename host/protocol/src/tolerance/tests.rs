//! Tests of the comparison as a whole.

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

#[test]
fn the_largest_elements_of_rows() {
    let (a, b) = ([5.0, 1.0, 4.0, 3.0], [5.1, 1.0, 2.0, 3.0]);
    let found = |k, min_ppm| compare(Tolerance::TopK { k, min_ppm }, &a, &b);
    assert_eq!(found(1, 1_000_000).top_k, Some(1.0));
    assert!(found(1, 1_000_000).accepted);
    // 5 and 4 are the two largest in one, 5 and 3 in the other.
    let half = found(2, 500_000);
    assert!(half.accepted && half.top_k == Some(0.5) && half.hash_bits.is_none());
    assert!(!found(2, 500_001).accepted);
    assert!(found(4, 1_000_000).accepted && found(u32::MAX, 1_000_000).accepted);
    let strict = Tolerance::TopK {
        k: 3,
        min_ppm: 1_000_000,
    };
    assert!(compare(strict, &[], &[]).accepted);
    assert!(compare(strict, &[f32::NAN, 1.0], &[f32::NAN, 2.0]).accepted);
    // Not finite in one of the two, though the places are the same.
    assert!(!compare(strict, &[f32::INFINITY, 1.0], &[2.0, 1.0]).accepted);
    assert_eq!(compare(Tolerance::Exact, &a, &b).top_k, None);
}

#[test]
fn images_that_look_alike() {
    let plane: Vec<f32> = (0..72u16)
        .map(|i| f32::from(i * i % 101) * f32::from(i % 9))
        .collect();
    let brighter: Vec<f32> = plane.iter().map(|value| value * 2.0 + 1.0).collect();
    let mirrored: Vec<f32> = plane.iter().rev().copied().collect();
    let compare = |max_bits, b: &[f32]| {
        let dims = [1, 8, 9];
        Tolerance::PerceptualHash { max_bits }
            .compare(DType::Fp32, &dims, &floats(&plane), &dims, &floats(b))
            .unwrap()
    };
    let same = compare(0, &brighter);
    assert!(same.accepted && same.hash_bits == Some(0) && same.top_k.is_none());
    let other = compare(0, &mirrored);
    let bits = other.hash_bits.unwrap();
    assert!(!other.accepted && bits > 16, "{bits}");
    assert!(compare(bits, &mirrored).accepted && !compare(bits - 1, &mirrored).accepted);
    let mut holed = plane.clone();
    holed[5] = f32::NAN;
    assert!(!compare(64, &holed).accepted);
    let row = floats(&[0.0; 72]);
    let found =
        Tolerance::PerceptualHash { max_bits: 64 }.compare(DType::Fp32, &[72], &row, &[72], &row);
    assert!(matches!(found, Err(ToleranceError::NoPlanes { .. })));
}
