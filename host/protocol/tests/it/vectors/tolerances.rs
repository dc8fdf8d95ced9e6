//! When two tensors agree: pairs of them under each profile.

mod images;
mod rows;

use adit_protocol::tensor::{DType, TensorError};
use adit_protocol::tolerance::{Agreement, Tolerance, ToleranceError};
use serde_json::{Value, json};

use super::kind::{Bad, Good, Kind, Refusal, bytes, hex, json_file, parse, text};

const TOLERANCE_ERRORS: &[&str] = &[
    "shapes-differ",
    "no-planes",
    "plane-too-small",
    "disagree",
    "data-length",
];

impl From<ToleranceError> for Refusal {
    fn from(error: ToleranceError) -> Refusal {
        match error {
            ToleranceError::ShapesDiffer { a, b } => Refusal {
                error: "shapes-differ",
                detail: json!({ "a": a, "b": b }),
            },
            ToleranceError::NoPlanes { dims } => Refusal {
                error: "no-planes",
                detail: json!({ "dims": dims }),
            },
            ToleranceError::PlaneTooSmall { height, width } => Refusal {
                error: "plane-too-small",
                detail: json!({ "height": height, "width": width }),
            },
            ToleranceError::Tensor(error) => error.into(),
        }
    }
}

/// Two tensors of one type.
struct Pair {
    tolerance: Tolerance,
    dtype: DType,
    a: (Vec<u32>, Vec<u8>),
    b: (Vec<u32>, Vec<u8>),
}

impl Pair {
    fn new<const N: usize>(
        tolerance: Tolerance,
        dtype: DType,
        a: &[[u8; N]],
        b: &[[u8; N]],
    ) -> Pair {
        let side = |list: &[[u8; N]]| (vec![list.len() as u32], list.concat());
        Pair {
            tolerance,
            dtype,
            a: side(a),
            b: side(b),
        }
    }

    /// The same elements in another shape.
    fn shaped(self, dims: &[u32]) -> Pair {
        Pair {
            a: (dims.to_vec(), self.a.1),
            b: (dims.to_vec(), self.b.1),
            ..self
        }
    }

    fn file(&self) -> Vec<u8> {
        let side = |(dims, data): &(Vec<u32>, Vec<u8>)| json!({ "dims": dims, "data": hex(data) });
        json_file(json!({
            "tolerance": self.tolerance, "dtype": self.dtype, "a": side(&self.a), "b": side(&self.b),
        }))
    }

    fn read(file: &[u8]) -> Pair {
        let file = parse(file);
        let dtype = DType::ALL
            .into_iter()
            .find(|dtype| dtype.name() == text(&file, "dtype"));
        let side = |key: &str| {
            let dims = file[key]["dims"].as_array().expect("a list").iter();
            let dims = dims.map(|dim| {
                dim.as_u64()
                    .and_then(|dim| u32::try_from(dim).ok())
                    .unwrap()
            });
            (dims.collect(), bytes(&file[key], "data"))
        };
        let number = |value: &Value| match value {
            Value::String(digits) => digits.parse().expect("an integer"),
            other => other.as_u64().expect("an integer"),
        };
        let tolerance = match &file["tolerance"] {
            Value::String(_) => Tolerance::Exact,
            other if other["cosine"].is_object() => Tolerance::Cosine {
                min_ppm: number(&other["cosine"]["min_ppm"]),
            },
            other if other["top-k"].is_object() => Tolerance::TopK {
                k: number(&other["top-k"]["k"]) as u32,
                min_ppm: number(&other["top-k"]["min_ppm"]),
            },
            other if other["perceptual-hash"].is_object() => Tolerance::PerceptualHash {
                max_bits: number(&other["perceptual-hash"]["max_bits"]) as u32,
            },
            other => Tolerance::MaxAbsRel {
                abs_nano: number(&other["max-abs-rel"]["abs_nano"]),
                rel_ppm: number(&other["max-abs-rel"]["rel_ppm"]),
            },
        };
        let dtype = dtype.expect("a known type");
        Pair {
            tolerance,
            dtype,
            a: side("a"),
            b: side("b"),
        }
    }

    fn compare(&self) -> Result<Value, Refusal> {
        let Pair {
            tolerance,
            dtype,
            a,
            b,
        } = self;
        let agreement = tolerance.compare(*dtype, &a.0, &a.1, &b.0, &b.1)?;
        // The figures as the bits of a binary64: they are the same on every machine.
        let bits = |number: f64| hex(number.to_bits().to_be_bytes());
        let Agreement {
            max_abs,
            max_rel,
            cosine,
            top_k,
            hash_bits,
            accepted,
        } = agreement;
        let mut figures = json!({
            "max_abs": bits(max_abs), "max_rel": bits(max_rel), "cosine": bits(cosine),
        });
        if let Some(share) = top_k {
            figures["top_k"] = bits(share).into();
        }
        if let Some(different) = hash_bits {
            figures["hash_bits"] = different.into();
        }
        match accepted {
            true => Ok(figures),
            false => Err(Refusal {
                error: "disagree",
                detail: figures,
            }),
        }
    }
}

fn fp32<const N: usize>(list: [f32; N]) -> [[u8; 4]; N] {
    list.map(f32::to_le_bytes)
}

fn fp64<const N: usize>(list: [f64; N]) -> [[u8; 8]; N] {
    list.map(f64::to_le_bytes)
}

/// 0.001 or one part in a hundred.
const NEAR: Tolerance = Tolerance::MaxAbsRel {
    abs_nano: 1_000_000,
    rel_ppm: 10_000,
};
const NONE: Tolerance = Tolerance::MaxAbsRel {
    abs_nano: 0,
    rel_ppm: 0,
};
const ANY: Tolerance = Tolerance::MaxAbsRel {
    abs_nano: u64::MAX,
    rel_ppm: u64::MAX,
};
const ALIKE: Tolerance = Tolerance::Cosine { min_ppm: 999_000 };

/// The figures in an index are those of the crate: that they are right is for its unit tests, and
/// for the programs in other languages that compute them anew.
pub fn kind() -> Kind {
    use DType::{Bf16, Fp16, Fp32, Fp64, I32, I64, U8};
    let nan = |bits: u32| f32::from_bits(bits);
    let (quiet, payload) = (nan(0x7fc0_0000), nan(0xffc0_0001));
    let inf = f32::INFINITY;
    let agree = [
        (
            "exact",
            Pair::new(
                Tolerance::Exact,
                Fp32,
                &fp32([1.0, -0.0, quiet]),
                &fp32([1.0, -0.0, quiet]),
            ),
        ),
        (
            "within-absolute",
            Pair::new(NEAR, Fp32, &fp32([0.0, 1.0]), &fp32([0.0005, 1.0])),
        ),
        (
            "within-relative",
            Pair::new(NEAR, Fp32, &fp32([200.0]), &fp32([201.0])),
        ),
        (
            "either-for-each-element",
            Pair::new(NEAR, Fp32, &fp32([0.0, 200.0]), &fp32([0.0005, 201.0])),
        ),
        (
            "zero-and-minus-zero",
            Pair::new(NONE, Fp32, &fp32([0.0]), &fp32([-0.0])),
        ),
        (
            "nan-and-other-nan",
            Pair::new(NONE, Fp32, &fp32([quiet, 1.0]), &fp32([payload, 1.0])),
        ),
        (
            "same-infinity",
            Pair::new(NONE, Fp32, &fp32([inf, -inf]), &fp32([inf, -inf])),
        ),
        ("empty", Pair::new::<4>(NEAR, Fp32, &[], &[])),
        (
            "integers-above-2-to-the-53",
            Pair::new(
                NEAR,
                I64,
                &[i64::MAX.to_le_bytes()],
                &[(i64::MAX - 1).to_le_bytes()],
            ),
        ),
        (
            "bytes-one-apart",
            Pair::new(
                Tolerance::MaxAbsRel {
                    abs_nano: 1_000_000_000,
                    rel_ppm: 0,
                },
                U8,
                &[[3], [255]],
                &[[4], [254]],
            ),
        ),
        (
            "negative-integers",
            Pair::new(
                NEAR,
                I32,
                &[(-1000i32).to_le_bytes()],
                &[(-1001i32).to_le_bytes()],
            ),
        ),
        // The least binary16 above zero, and 1 with its next neighbour.
        (
            "half",
            Pair::new(NEAR, Fp16, &[[1, 0], [0, 0x3c]], &[[2, 0], [1, 0x3c]]),
        ),
        (
            "bfloat",
            Pair::new(NEAR, Bf16, &[[0x80, 0x3f]], &[[0x81, 0x3f]]),
        ),
        (
            "difference-overflows",
            Pair::new(ANY, Fp64, &fp64([f64::MAX]), &fp64([f64::MIN])),
        ),
        (
            "cosine-of-scaled",
            Pair::new(ALIKE, Fp32, &fp32([1.0, 2.0, 3.0]), &fp32([2.0, 4.0, 6.1])),
        ),
        (
            "cosine-of-huge",
            Pair::new(ALIKE, Fp64, &fp64([1e300, 1e300]), &fp64([1e300, 1e300])),
        ),
        (
            "cosine-of-zeros",
            Pair::new(ALIKE, Fp32, &fp32([0.0, 0.0]), &fp32([0.0, -0.0])),
        ),
        (
            "cosine-beside-nan",
            Pair::new(ALIKE, Fp32, &fp32([1.0, quiet]), &fp32([1.0, payload])),
        ),
    ];
    let disagree = [
        (
            "exact-minus-zero",
            Pair::new(Tolerance::Exact, Fp32, &fp32([0.0]), &fp32([-0.0])),
            "exactness looks at bytes, and minus zero has others",
        ),
        (
            "exact-nan-payload",
            Pair::new(Tolerance::Exact, Fp32, &fp32([quiet]), &fp32([payload])),
            "exactness looks at bytes, and the payloads of the two NaN differ",
        ),
        (
            "outside-both",
            Pair::new(NEAR, Fp32, &fp32([0.1]), &fp32([0.11])),
            "0.01 is above the absolute bound and a tenth above the relative one",
        ),
        (
            "one-of-many",
            Pair::new(NEAR, Fp32, &fp32([1.0, 1.0, 1.0]), &fp32([1.0, 1.0, 1.02])),
            "the last of three elements is too far off",
        ),
        (
            "nan-and-number",
            Pair::new(ANY, Fp32, &fp32([quiet, 1.0]), &fp32([1.0, 1.0])),
            "NaN agrees with no number, whatever the tolerance",
        ),
        (
            "infinity-and-number",
            Pair::new(ANY, Fp32, &fp32([inf]), &fp32([f32::MAX])),
            "infinity agrees with no number",
        ),
        (
            "opposite-infinities",
            Pair::new(ANY, Fp32, &fp32([inf]), &fp32([-inf])),
            "infinity agrees with itself only",
        ),
        (
            "cosine-nan-and-number",
            Pair::new(
                Tolerance::Cosine { min_ppm: 0 },
                Fp32,
                &fp32([1.0, quiet]),
                &fp32([1.0, 0.0]),
            ),
            "NaN agrees with no number, though the rest is alike",
        ),
        (
            "cosine-across",
            Pair::new(ALIKE, Fp32, &fp32([1.0, 0.0]), &fp32([0.0, 1.0])),
            "the two are at a right angle",
        ),
        (
            "cosine-opposite",
            Pair::new(
                Tolerance::Cosine { min_ppm: 0 },
                Fp32,
                &fp32([1.0, 0.5]),
                &fp32([-1.0, -0.5]),
            ),
            "the two point in opposite directions",
        ),
        (
            "cosine-zeros-and-number",
            Pair::new(
                Tolerance::Cosine { min_ppm: 1 },
                Fp32,
                &fp32([0.0]),
                &fp32([1.0]),
            ),
            "zeros are like nothing but zeros",
        ),
        (
            "integers-above-2-to-the-53",
            Pair::new(
                NONE,
                I64,
                &[i64::MAX.to_le_bytes()],
                &[(i64::MAX - 1).to_le_bytes()],
            ),
            "the two are one apart, which a binary64 does not show",
        ),
        (
            "half-outside",
            Pair::new(NONE, Fp16, &[[0, 0x3c]], &[[1, 0x3c]]),
            "the two binary16 are neighbours, and not the same",
        ),
    ];
    let disagree = disagree.into_iter().chain(rows::apart());
    let mut bad: Vec<Bad> = disagree
        .chain(images::apart())
        .map(|(name, pair, why)| {
            let refusal = pair.compare().expect_err(name);
            assert_eq!(refusal.error, "disagree", "{name}");
            Bad::new(name, pair.file(), refusal, why)
        })
        .collect();
    let reshaped = Pair {
        b: (vec![1, 2], vec![1, 2]),
        ..Pair::new(ANY, U8, &[[1], [2]], &[[1], [2]])
    };
    let differ = ToleranceError::ShapesDiffer {
        a: vec![2],
        b: vec![1, 2],
    };
    bad.push(Bad::new(
        "other-shape",
        reshaped.file(),
        differ,
        "the bytes are the same but in another shape",
    ));
    let short = Pair {
        b: (vec![2], vec![1]),
        ..Pair::new(ANY, U8, &[[1], [2]], &[])
    };
    let length = ToleranceError::Tensor(TensorError::DataLength {
        expected: 2,
        found: 1,
    });
    bad.push(Bad::new(
        "data-short",
        short.file(),
        length,
        "a byte of the second tensor is missing",
    ));
    bad.extend(images::unfit());
    let agree = agree.into_iter().chain(rows::alike());
    let good = agree.chain(images::alike()).map(|(name, pair)| {
        let figures = pair
            .compare()
            .unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        Good::new(name, pair.file(), figures)
    });
    Kind {
        name: "tolerances",
        extension: "json",
        about: "Pairs of tensors that agree within a tolerance, or do not. Figures are the bits of a binary64, highest byte first.",
        good: good.collect(),
        bad,
        check: |file, _| Pair::read(file).compare(),
        errors: &[("ToleranceError", TOLERANCE_ERRORS)],
    }
}
