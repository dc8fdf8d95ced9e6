//! Tensors, when two of them agree, and the hash chains of transcripts.

use std::collections::BTreeMap;

use adit_protocol::cbor::Document;
use adit_protocol::hash::Hash;
use adit_protocol::tensor::{DType, TensorBlob, TensorError, tensor_hash, tensor_header};
use adit_protocol::tolerance::{Agreement, Tolerance, ToleranceError};
use adit_protocol::transcript::{Call, Op, TensorRef, Transcript, chain_next, chain_start};
use serde_json::{Value, json};

use super::kind::{Bad, Good, Kind, Refusal, bytes, hex, json_file, names, parse, text};

names! { TensorError, TENSOR_ERRORS:
    TensorError::UnknownDType(byte) => "unknown-type" {"type": byte}
    TensorError::Rank(rank) => "rank" {"rank": rank}
    TensorError::ShortHeader { expected, found } => "short-header" {"expected": expected, "found": found}
    TensorError::Overflow(dims) => "overflow" {"dims": dims}
    TensorError::DataLength { expected, found } => "data-length" {"expected": expected, "found": found}
}

pub fn tensors() -> Kind {
    let mut good: Vec<Good> = DType::ALL
        .into_iter()
        .map(|dtype| tensor(dtype.name(), dtype, &[2, 3]))
        .collect();
    good.extend([
        tensor("scalar", DType::Fp32, &[]),
        tensor("one-element", DType::Fp32, &[1]),
        tensor("empty", DType::I64, &[0]),
        // Its other dimensions alone would be too large to count.
        tensor(
            "empty-and-huge",
            DType::U8,
            &[u32::MAX, u32::MAX, u32::MAX, 0],
        ),
        tensor("rank-8", DType::U8, &[1, 2, 1, 2, 1, 2, 1, 1]),
    ]);
    let nan = 0x7fc0_0001u32.to_le_bytes();
    good.push(Good::new(
        "nan-with-payload",
        TensorBlob::encode(DType::Fp32, &[1], &nan),
        tensor_value(DType::Fp32, &[1], &nan),
    ));
    let bad = |name, bytes: &[u8], error, why| Bad::new(name, bytes, error, why);
    let short = |expected, found| TensorError::ShortHeader { expected, found };
    let length = |expected, found| TensorError::DataLength { expected, found };
    let huge = tensor_header(DType::U8, &[u32::MAX; 3]);
    let wide = tensor_header(DType::I64, &[u32::MAX, u32::MAX]);
    Kind {
        name: "tensors",
        extension: "bin",
        about: "Tensor blobs: type u8, rank u8, dimensions u32 LE, elements. The hash is that of the whole blob.",
        good,
        bad: vec![
            bad("no-bytes", &[], short(2, 0), "there are no bytes at all"),
            bad("header-cut-off", &[4], short(2, 1), "the rank is missing"),
            bad(
                "dims-cut-off",
                &[4, 2, 1, 0, 0, 0, 1],
                short(10, 7),
                "the second dimension is cut off",
            ),
            bad(
                "unknown-type",
                &[7, 0, 0],
                TensorError::UnknownDType(7),
                "there is no element type 7",
            ),
            bad(
                "rank-9",
                &[&[4, 9][..], &[1, 0, 0, 0].repeat(9), &[5]].concat(),
                TensorError::Rank(9),
                "a tensor has at most eight dimensions",
            ),
            bad(
                "too-many-elements",
                &huge,
                TensorError::Overflow(vec![u32::MAX; 3]),
                "the elements cannot be counted in 64 bits",
            ),
            bad(
                "too-many-bytes",
                &wide,
                TensorError::Overflow(vec![u32::MAX; 2]),
                "the elements can be counted in 64 bits, their bytes cannot",
            ),
            bad(
                "data-short",
                &[4, 1, 3, 0, 0, 0, 1, 2],
                length(3, 2),
                "an element is missing",
            ),
            bad(
                "data-long",
                &[4, 1, 3, 0, 0, 0, 1, 2, 3, 4],
                length(3, 4),
                "there is an element too many",
            ),
            bad(
                "data-of-an-empty-one",
                &[4, 1, 0, 0, 0, 0, 1],
                length(0, 1),
                "a tensor with a dimension of zero has no data",
            ),
            bad(
                "scalar-without-data",
                &[1, 0],
                length(4, 0),
                "a tensor without dimensions has one element",
            ),
            bad(
                "dims-big-endian",
                &[4, 1, 0, 0, 0, 2, 1, 2],
                length(1 << 25, 2),
                "the dimension 2 is written with the highest byte first",
            ),
        ],
        check: |file, _| {
            let (dtype, dims, data) = TensorBlob::decode(file)?;
            assert_eq!(TensorBlob::encode(dtype, &dims, data), file);
            Ok(tensor_value(dtype, &dims, data))
        },
        errors: &[("TensorError", TENSOR_ERRORS)],
    }
}

/// A tensor whose data counts upwards.
fn tensor(name: &str, dtype: DType, dims: &[u32]) -> Good {
    let count: usize = dims
        .iter()
        .fold(1, |n: usize, d| n.saturating_mul(*d as usize));
    let count = if dims.contains(&0) { 0 } else { count };
    let data: Vec<u8> = (0..count * dtype.size()).map(|i| i as u8).collect();
    Good::new(
        name,
        TensorBlob::encode(dtype, dims, &data),
        tensor_value(dtype, dims, &data),
    )
}

fn tensor_value(dtype: DType, dims: &[u32], data: &[u8]) -> Value {
    let hash = tensor_hash(dtype, dims, data);
    json!({ "dtype": dtype, "dims": dims, "data": hex(data), "hash": hash })
}

const TOLERANCE_ERRORS: &[&str] = &["shapes-differ", "disagree", "data-length"];

impl From<ToleranceError> for Refusal {
    fn from(error: ToleranceError) -> Refusal {
        match error {
            ToleranceError::ShapesDiffer { a, b } => Refusal {
                error: "shapes-differ",
                detail: json!({ "a": a, "b": b }),
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
            accepted,
        } = agreement;
        let figures = json!({
            "max_abs": bits(max_abs), "max_rel": bits(max_rel), "cosine": bits(cosine),
        });
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
pub fn tolerances() -> Kind {
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
    let mut bad: Vec<Bad> = disagree
        .into_iter()
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
    let good = agree.into_iter().map(|(name, pair)| {
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

pub fn chains() -> Kind {
    let plain = conversation();
    let good = |name, transcript: &Transcript| {
        let links: Vec<Hash> = transcript
            .calls
            .iter()
            .filter_map(|call| call.chain)
            .collect();
        Good::new(name, transcript.to_cbor(), json!({ "links": links }))
    };
    let bad = |name, change: &dyn Fn(&mut [Call]), at: usize, why| {
        let mut transcript = conversation();
        change(&mut transcript.calls);
        let refusal = Refusal {
            error: "chain",
            detail: json!({ "call": at }),
        };
        Bad::new(name, transcript.to_cbor(), refusal, why)
    };
    Kind {
        name: "transcript-chains",
        extension: "bin",
        about: "Transcripts in which each computation's chain must follow from the ones before it in its context.",
        good: vec![
            good("two-contexts-in-turn", &plain),
            good(
                "one-call",
                &Transcript {
                    calls: vec![plain.calls[0].clone(), plain.calls[2].clone()],
                    ..plain.clone()
                },
            ),
            good(
                "no-computation",
                &Transcript {
                    calls: plain.calls[..2].to_vec(),
                    ..plain.clone()
                },
            ),
        ],
        bad: vec![
            bad(
                "flipped-bit",
                &|calls| calls[4].chain = calls[4].chain.map(flipped),
                4,
                "a bit of a link is flipped",
            ),
            bad(
                "inputs-swapped",
                &|calls| calls[2].inputs.swap(0, 1),
                2,
                "the inputs are in another order than when the link was made",
            ),
            bad(
                "input-renamed",
                &|calls| calls[2].inputs[0].name.push('2'),
                2,
                "an input has another name",
            ),
            bad(
                "other-input",
                &|calls| calls[3].inputs[0].hash = Hash::of(b"other"),
                3,
                "an input has another hash",
            ),
            bad(
                "call-left-out",
                &|calls| calls[2].chain = None,
                4,
                "a computation before has no link, as though it had not happened",
            ),
            bad(
                "other-context",
                &|calls| calls[3].context = Some(0),
                3,
                "the link belongs to the other context",
            ),
            bad(
                "other-model",
                &|calls| calls[2].manifest = Some(Hash::of(b"other")),
                2,
                "the first link starts from another model",
            ),
            bad(
                "refused-call-counted",
                &|calls| {
                    calls[6].chain = Some(chain_next(
                        &chain_next(&calls[4].chain.unwrap(), &[]),
                        &calls[6].inputs,
                    ))
                },
                6,
                "a computation whose inputs were refused counts in the chain",
            ),
        ],
        check: check_chains,
        errors: &[("chain", &["chain"])],
    }
}

fn flipped(hash: Hash) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[0] ^= 1;
    Hash::from_bytes(bytes)
}

/// Two contexts of one model, used in turn; the sixth call was refused for its inputs.
fn conversation() -> Transcript {
    let manifest = Hash::of(b"manifest");
    let blank = |op, context| Call {
        op,
        name: None,
        manifest: Some(manifest),
        context: Some(context),
        chain: None,
        inputs: vec![],
        outputs: vec![],
        nn_units: 0,
        environment: None,
        error: None,
    };
    let mut links = [chain_start(&manifest, 0), chain_start(&manifest, 1)];
    let mut compute = |context: u32, names: &[&str]| {
        let input = |name: &&str| TensorRef {
            name: (*name).into(),
            hash: Hash::of(name.as_bytes()),
        };
        let inputs: Vec<TensorRef> = names.iter().map(input).collect();
        let link = &mut links[context as usize];
        *link = chain_next(link, &inputs);
        let chain = Some(*link);
        Call {
            chain,
            inputs,
            nn_units: 10,
            environment: Some(0),
            ..blank(Op::Compute, context)
        }
    };
    let calls = vec![
        blank(Op::InitContext, 0),
        blank(Op::InitContext, 1),
        compute(0, &["tokens", "é"]),
        compute(1, &["tokens"]),
        compute(0, &[]),
        Call {
            error: Some(0),
            ..blank(Op::Compute, 0)
        },
        compute(0, &["tokens"]),
        compute(1, &["", "tokens"]),
    ];
    Transcript {
        environments: vec![Hash::of(b"environment")],
        calls,
    }
}

fn check_chains(file: &[u8], _: &Value) -> Result<Value, Refusal> {
    let transcript = Transcript::from_cbor(file)?;
    let (mut contexts, mut links) = (BTreeMap::new(), Vec::new());
    for (at, call) in transcript.calls.iter().enumerate() {
        // A computation without a link was refused for its inputs, and the context is as before.
        let Some(chain) = call.chain else { continue };
        let (manifest, context) = (call.manifest.unwrap(), call.context.unwrap());
        let link = contexts
            .entry(context)
            .or_insert_with(|| chain_start(&manifest, context));
        *link = chain_next(link, &call.inputs);
        if *link != chain {
            return Err(Refusal {
                error: "chain",
                detail: json!({ "call": at }),
            });
        }
        links.push(chain);
    }
    Ok(json!({ "links": links }))
}
