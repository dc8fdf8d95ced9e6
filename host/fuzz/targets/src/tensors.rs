//! Tensors: their blobs, when two of them agree, and whether they fit a model.

use std::collections::BTreeMap;

use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::manifest::Dim;
use adit_protocol::tensor::{DType, TensorBlob, data_len, tensor_hash};
use adit_protocol::tolerance::{Agreement, Tolerance};
use adit_sdk::{AsTensor as _, Bf16, Element, F16, RawTensor};
use arbitrary::Unstructured;

use crate::built::{any, manifest, one_of, some, text, tolerance as any_tolerance};

/// Reads the bytes as a tensor blob, and what is in it as a guest does.
pub fn tensor(bytes: &[u8]) {
    let Ok((dtype, dims, data)) = TensorBlob::decode(bytes) else {
        return;
    };
    assert_eq!(TensorBlob::encode(dtype, &dims, data), bytes);
    assert_eq!(tensor_hash(dtype, &dims, data), Hash::of(bytes));
    assert_eq!(data_len(dtype, &dims), Some(data.len() as u64));
    guest(dtype, &dims, data);

    // A tensor agrees with itself, whatever is in it.
    for tolerance in TOLERANCES {
        let found = tolerance.compare(dtype, &dims, data, &dims, data);
        let found = found.expect("the same shape");
        assert!(found.accepted, "{tolerance:?} {found:?}");
        assert_eq!(
            (found.max_abs, found.max_rel, found.cosine),
            (0.0, 0.0, 1.0)
        );
        assert_eq!(found.top_k.unwrap_or(1.0), 1.0);
    }
    // Not every tensor is images, and those that are hash to the same bits.
    let looks = Tolerance::PerceptualHash { max_bits: 0 };
    let large = matches!(dims[..], [.., height, width] if height >= 8 && width >= 9);
    match looks.compare(dtype, &dims, data, &dims, data) {
        Ok(found) => assert!(large && found.accepted && found.hash_bits == Some(0)),
        Err(error) => assert!(!large, "{dims:?} {error}"),
    }
}

const TOLERANCES: [Tolerance; 4] = [
    Tolerance::Exact,
    Tolerance::MaxAbsRel {
        abs_nano: 0,
        rel_ppm: 0,
    },
    Tolerance::Cosine { min_ppm: 1_000_000 },
    Tolerance::TopK {
        k: 3,
        min_ppm: 1_000_000,
    },
];

/// The SDK takes every tensor that the format has, and gives the same bytes back.
fn guest(dtype: DType, dims: &[u32], data: &[u8]) {
    fn round_trip<T: Element>(dtype: adit_sdk::DType, dims: &[usize], data: &[u8]) {
        // On 32 bits a shape with a zero may still have too many elements beside it.
        let Ok(raw) = RawTensor::new(dims, dtype, data.to_vec()) else {
            assert!(data.is_empty(), "the SDK refuses {dims:?}");
            return;
        };
        let typed = raw.typed::<T>().expect("elements of its own type");
        assert_eq!(typed.data().len() * dtype.size(), data.len());
        assert!(typed.rows().len() <= typed.data().len());
        assert_eq!(typed.to_raw().as_ref(), Ok(&raw));
        assert_eq!(raw.bytes(), data);
    }
    let dims: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
    match dtype {
        DType::Fp16 => round_trip::<F16>(adit_sdk::DType::F16, &dims, data),
        DType::Fp32 => round_trip::<f32>(adit_sdk::DType::F32, &dims, data),
        DType::Fp64 => round_trip::<f64>(adit_sdk::DType::F64, &dims, data),
        DType::Bf16 => round_trip::<Bf16>(adit_sdk::DType::Bf16, &dims, data),
        DType::U8 => round_trip::<u8>(adit_sdk::DType::U8, &dims, data),
        DType::I32 => round_trip::<i32>(adit_sdk::DType::I32, &dims, data),
        DType::I64 => round_trip::<i64>(adit_sdk::DType::I64, &dims, data),
    }
}

/// Compares two tensors of any elements under any tolerance.
///
/// The figures are numbers within their ranges, the order of the two does not matter, equal bytes
/// agree, and a wider tolerance accepts whatever a narrower one does.
pub fn tolerance(bytes: &[u8]) {
    let mut recipe = Unstructured::new(bytes);
    let recipe = &mut recipe;
    let dtype = one_of(recipe, &DType::ALL);
    let narrow = match any_tolerance(recipe) {
        // No document may ask for more, and no tensor has more.
        Tolerance::Cosine { min_ppm } => Tolerance::Cosine {
            min_ppm: min_ppm.min(1_000_000),
        },
        Tolerance::TopK { k, min_ppm } => Tolerance::TopK {
            k: k.max(1),
            min_ppm: min_ppm.min(1_000_000),
        },
        other => other,
    };
    let left = recipe.len();
    let rest = recipe.bytes(left).unwrap_or_default();
    let count = rest.len() / dtype.size() / 2;
    // As rows, and as planes that a perceptual hash takes; what is left over is not looked at.
    let dims = match (&narrow, count) {
        (Tolerance::PerceptualHash { .. }, count) => [count as u32 / 90, 9, 10],
        (_, count @ ..3) => [1, 1, count as u32],
        (_, count) => [1, count as u32 / 3, 3],
    };
    let count = dims.iter().product::<u32>() as usize;
    let (a, rest) = rest.split_at(count * dtype.size());
    let (b, _) = rest.split_at(count * dtype.size());

    let compare = |tolerance: &Tolerance, a: &[u8], b: &[u8]| -> Agreement {
        let found = tolerance.compare(dtype, &dims, a, &dims, b);
        found.expect("two tensors of one shape")
    };
    let found = compare(&narrow, a, b);
    assert_eq!(compare(&narrow, b, a), found, "{narrow:?} {dtype}");
    assert!(found.max_abs >= 0.0, "{found:?}");
    let relative = found.max_rel == f64::INFINITY || (0.0..=2.0).contains(&found.max_rel);
    assert!(relative, "{found:?}");
    assert!((-1.0..=1.0).contains(&found.cosine), "{found:?}");
    let top_k = matches!(narrow, Tolerance::TopK { .. });
    assert_eq!(found.top_k.is_some(), top_k);
    assert!(
        (0.0..=1.0).contains(&found.top_k.unwrap_or(0.0)),
        "{found:?}"
    );
    let hash = matches!(narrow, Tolerance::PerceptualHash { .. });
    assert_eq!(found.hash_bits.is_some(), hash);
    assert!(found.hash_bits.unwrap_or(0) <= 64, "{found:?}");

    if a == b {
        assert!(found.accepted, "{narrow:?} {found:?}");
    }
    for wider in widened(&narrow) {
        let wide = compare(&wider, a, b);
        assert!(wide.accepted >= found.accepted, "{narrow:?} but {wider:?}");
    }
    let other = [dims[0], dims[1], dims[2], 1];
    assert!(narrow.compare(dtype, &dims, a, &other, b).is_err());
}

fn widened(narrow: &Tolerance) -> Vec<Tolerance> {
    match *narrow {
        Tolerance::Exact => TOLERANCES.to_vec(),
        Tolerance::MaxAbsRel { abs_nano, rel_ppm } => vec![
            Tolerance::MaxAbsRel {
                abs_nano: abs_nano.saturating_mul(2),
                rel_ppm,
            },
            Tolerance::MaxAbsRel {
                abs_nano,
                rel_ppm: rel_ppm.saturating_mul(2),
            },
        ],
        Tolerance::Cosine { min_ppm } => vec![Tolerance::Cosine {
            min_ppm: min_ppm / 2,
        }],
        Tolerance::TopK { k, min_ppm } => vec![Tolerance::TopK {
            k,
            min_ppm: min_ppm / 2,
        }],
        Tolerance::PerceptualHash { max_bits } => vec![Tolerance::PerceptualHash {
            max_bits: max_bits.saturating_mul(2),
        }],
    }
}

/// Builds a model's manifest and a call of the model: whether it fits does not depend on the order
/// of the inputs, and inputs that fit have the sizes that come back.
pub fn model_inputs(bytes: &[u8]) {
    let mut recipe = Unstructured::new(bytes);
    let recipe = &mut recipe;
    let model = manifest(recipe);
    let mut given: Vec<(String, DType, Vec<u32>)> = model
        .inputs
        .iter()
        .map(|spec| {
            let dims = spec.dims.iter().map(|dim| match dim {
                Dim::Fixed(size) => *size,
                Dim::Symbol(_) => u32::from(any::<u8>(recipe) % 3),
            });
            (spec.name.clone(), spec.dtype, dims.collect())
        })
        .collect();
    // Now and then one that does not belong, or one too few.
    match any::<u8>(recipe) {
        0..=19 => drop(given.pop()),
        20..=39 => given.extend(given.first().cloned()),
        40..=59 => given.push((
            text(recipe),
            one_of(recipe, &DType::ALL),
            some(recipe, 9, any),
        )),
        _ => {}
    }
    let lengths: Vec<usize> = given
        .iter()
        .map(|(_, dtype, dims)| match any::<u8>(recipe) {
            0 => any::<u16>(recipe).into(),
            _ => data_len(*dtype, dims).unwrap_or(0) as usize,
        })
        .collect();
    let call: Vec<(&str, DType, &[u32], usize)> = given
        .iter()
        .zip(&lengths)
        .map(|((name, dtype, dims), length)| (name.as_str(), *dtype, dims.as_slice(), *length))
        .collect();

    let mut reversed = call.clone();
    reversed.reverse();
    let found = model.check_inputs(&call);
    assert_eq!(model.check_inputs(&reversed).ok(), found.clone().ok());
    let units = model.nn_units(call.iter().map(|given| given.2));
    assert!(units >= model.cost.base);

    let none = BTreeMap::new();
    let bindings = found.as_ref().unwrap_or(&none);
    if found.is_ok() && model.validate().is_ok() {
        assert_eq!(call.len(), model.inputs.len());
        for (name, dtype, dims, length) in &call {
            assert_eq!(data_len(*dtype, dims), Some(*length as u64), "{name}");
        }
    }
    for (name, dtype, dims, length) in call {
        // Inputs are seldom outputs too; what counts is an answer.
        let _ = model.check_output(name, dtype, dims, length, bindings);
    }
}
