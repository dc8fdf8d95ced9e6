//! Tensors, and the hash chains of transcripts.

use std::collections::BTreeMap;

use adit_protocol::cbor::Document;
use adit_protocol::hash::Hash;
use adit_protocol::tensor::{DType, TensorBlob, TensorError, tensor_hash, tensor_header};
use adit_protocol::transcript::{Call, Op, TensorRef, Transcript, chain_next, chain_start};
use serde_json::{Value, json};

use super::kind::{Bad, Good, Kind, Refusal, hex, names};

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
