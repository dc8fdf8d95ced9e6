//! Every document survives encoding and decoding, and no altered encoding is taken for another.

mod hardware;

use std::fmt::Debug;

use adit_protocol::cbor::{DecodeError, Document, Reason, SortedMap};
use adit_protocol::device_report::DeviceReport;
use adit_protocol::engine::EngineDocument;
use adit_protocol::environment::{EnvironmentDocument, joined_providers};
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::hardware::{HardwareRecord, SignedHardwareRecord};
use adit_protocol::hash::Hash;
use adit_protocol::manifest::{CostFunction, Dim, Encoding, FileRef, ModelManifest, TensorSpec};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::task::{
    DeviceClass, Disclosure, Requirements, SubmitterNonce, TaskSpec, Verification,
};
use adit_protocol::tensor::{DType, TensorBlob};
use adit_protocol::tolerance::Tolerance;
use adit_protocol::transcript::{Call, Op, TensorRef, Transcript};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash::from_bytes)
}

fn name() -> impl Strategy<Value = String> {
    "[a-z_/é]{1,30}"
}

fn map<V: Debug>(value: impl Strategy<Value = V>) -> impl Strategy<Value = SortedMap<V>> {
    btree_map(name(), value, 0..6).prop_map(SortedMap::from)
}

/// Amounts around every width of their encoding.
fn amount() -> impl Strategy<Value = u128> {
    (any::<u128>(), 0..128u32).prop_map(|(value, shift)| value >> shift)
}

fn signature() -> impl Strategy<Value = [u8; 64]> {
    (any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(a, b)| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&a);
        signature[32..].copy_from_slice(&b);
        signature
    })
}

fn engine() -> impl Strategy<Value = EngineDocument> {
    let features = btree_set(name(), 0..5).prop_map(|set| set.into_iter().collect());
    (
        name(),
        name(),
        features,
        map(any::<u64>()),
        map(any::<u64>()),
        map(name()),
    )
        .prop_map(
            |(runtime, wasmtime, wasm_features, operator_cost, limits, rules)| EngineDocument {
                runtime,
                wasmtime,
                wasm_features,
                operator_cost,
                limits,
                rules,
            },
        )
}

fn limits() -> impl Strategy<Value = Limits> {
    any::<[u64; 10]>().prop_map(|n| Limits {
        fuel: n[0],
        memory_bytes: n[1],
        table_elements: n[2],
        output_bytes: n[3],
        emit_bytes: n[4],
        stderr_bytes: n[5],
        tensor_bytes_held: n[6],
        tensor_bytes_moved: n[7],
        model_bytes: n[8],
        handles: n[9],
    })
}

fn exec() -> impl Strategy<Value = ExecSpec> {
    let args = vec("[^\0]{0,20}", 0..5);
    (
        hash(),
        hash(),
        hash(),
        args,
        any::<u64>(),
        map(hash()),
        any::<[u8; 32]>(),
        limits(),
    )
        .prop_map(
            |(engine, component, input, args, clock_start_ns, models, seed, limits)| ExecSpec {
                engine,
                world: if args.is_empty() {
                    World::Task
                } else {
                    World::Command
                },
                component,
                input,
                args,
                clock_start_ns,
                models,
                seed,
                limits,
            },
        )
}

fn task() -> impl Strategy<Value = TaskSpec> {
    let device = select(vec![DeviceClass::Any, DeviceClass::Cpu, DeviceClass::Gpu]);
    let requirements = (device, any::<u64>(), vec(hash(), 0..3)).prop_map(
        |(device, device_memory_bytes, environments)| Requirements {
            device,
            device_memory_bytes,
            environments,
        },
    );
    let verification =
        (1..=255u8, any::<bool>(), any::<bool>()).prop_flat_map(|(replicas, a, t)| {
            (1..=replicas).prop_map(move |quorum| Verification {
                replicas,
                quorum,
                adaptive: a,
                tolerance: t,
            })
        });
    let disclosure = select(vec![
        Disclosure::Public,
        Disclosure::Checkers,
        Disclosure::Parties,
    ]);
    let submitter =
        (any::<[u8; 32]>(), any::<u64>(), signature()).prop_map(|(account, nonce, signature)| {
            SubmitterNonce {
                account,
                nonce,
                signature,
            }
        });
    let bytes = any::<[[u8; 32]; 3]>();
    let policy = (
        requirements,
        verification,
        disclosure,
        option::of(submitter),
    );
    (
        hash(),
        hash(),
        bytes,
        amount(),
        amount(),
        any::<u64>(),
        policy,
    )
        .prop_map(
            |(
                genesis,
                exec,
                [coordinator, salt, client_tag],
                price,
                attempt_fee,
                deadline_ms,
                policy,
            )| {
                let (requirements, verification, disclosure, submitter) = policy;
                TaskSpec {
                    genesis,
                    coordinator,
                    exec,
                    salt,
                    price,
                    attempt_fee,
                    deadline_ms,
                    requirements,
                    verification,
                    disclosure,
                    client_tag,
                    submitter,
                }
            },
        )
}

fn tensors() -> impl Strategy<Value = Vec<TensorSpec>> {
    let dim = prop_oneof![
        any::<u32>().prop_map(Dim::Fixed),
        "[a-z]{0,5}".prop_map(Dim::Symbol)
    ];
    let tensor = (select(DType::ALL.to_vec()), vec(dim, 0..=8));
    btree_map(name(), tensor, 0..4).prop_map(|map| {
        map.into_iter()
            .map(|(name, (dtype, dims))| TensorSpec { name, dtype, dims })
            .collect()
    })
}

fn tolerance() -> impl Strategy<Value = Tolerance> {
    prop_oneof![
        Just(Tolerance::Exact),
        any::<(u64, u64)>()
            .prop_map(|(abs_nano, rel_ppm)| Tolerance::MaxAbsRel { abs_nano, rel_ppm }),
        (0..=1_000_000u64).prop_map(|min_ppm| Tolerance::Cosine { min_ppm }),
        (1..=u32::MAX, 0..=1_000_000u64).prop_map(|(k, min_ppm)| Tolerance::TopK { k, min_ppm }),
        (0..=64u32).prop_map(|max_bits| Tolerance::PerceptualHash { max_bits }),
    ]
}

fn manifest() -> impl Strategy<Value = ModelManifest> {
    let encoding = select(vec![
        Encoding::Openvino,
        Encoding::Onnx,
        Encoding::Tensorflow,
        Encoding::Pytorch,
        Encoding::TensorflowLite,
        Encoding::Ggml,
        Encoding::Autodetect,
    ]);
    let file = (hash(), any::<u64>()).prop_map(|(hash, len)| FileRef { hash, len });
    let files = btree_map(name(), file, 1..4).prop_map(SortedMap::from);
    let cost = any::<(u64, u64)>().prop_map(|(base, per_input_element)| CostFunction {
        base,
        per_input_element,
    });
    (
        encoding,
        files,
        name(),
        tensors(),
        tensors(),
        cost,
        tolerance(),
        any::<u64>(),
    )
        .prop_map(
            |(encoding, files, licence, inputs, outputs, cost, tolerance, memory_bytes)| {
                ModelManifest {
                    encoding,
                    files,
                    licence,
                    inputs,
                    outputs,
                    cost,
                    tolerance,
                    memory_bytes,
                }
            },
        )
}

fn environment() -> impl Strategy<Value = EnvironmentDocument> {
    let options = btree_map(name(), name(), 1..4).prop_map(SortedMap::from);
    let nodes = btree_map("(cpu|dml)/[A-Z][a-z]{1,8}", 1..=u64::MAX, 1..4);
    let fallback = (nodes.prop_map(SortedMap::from), any::<bool>());
    (
        hash(),
        proptest::array::uniform9(name()),
        any::<u32>(),
        option::of(options),
        option::of(fallback),
    )
        .prop_map(|(engine, texts, threads, options, fallback)| {
            let [
                triple,
                cpu_baseline,
                backend,
                backend_version,
                build,
                mut execution_provider,
                device,
                driver,
                precision,
            ] = texts;
            let requested = fallback.as_ref().map(|_| "webgpu".to_owned());
            if let Some((nodes, ran)) = &fallback {
                execution_provider = joined_providers("webgpu", *ran, nodes);
            }
            EnvironmentDocument {
                engine,
                triple,
                cpu_baseline,
                backend,
                backend_version,
                build,
                execution_provider,
                device,
                driver,
                precision,
                threads,
                requested,
                options,
                fallback: fallback.map(|(nodes, _)| nodes),
            }
        })
}

fn transcript() -> impl Strategy<Value = Transcript> {
    let op = select(vec![Op::Load, Op::LoadByName, Op::InitContext, Op::Compute]);
    let refs = || {
        vec(
            (name(), hash()).prop_map(|(name, hash)| TensorRef { name, hash }),
            0..3,
        )
    };
    let optional = (
        option::of(name()),
        option::of(hash()),
        option::of(any::<u32>()),
        option::of(hash()),
        option::of(0..2u32),
        option::of(any::<u8>()),
    );
    let call = (op, optional, refs(), refs(), any::<u64>()).prop_map(
        |(op, (name, manifest, context, chain, environment, error), inputs, outputs, nn_units)| {
            Call {
                op,
                name,
                manifest,
                context,
                chain,
                inputs,
                outputs,
                nn_units,
                environment,
                error,
            }
        },
    );
    (vec(hash(), 2..4), vec(call, 0..5)).prop_map(|(environments, calls)| Transcript {
        environments,
        calls,
    })
}

fn opening() -> impl Strategy<Value = ReceiptOpening> {
    (hash(), hash(), hash()).prop_map(|(input, output, transcript)| ReceiptOpening {
        input,
        output,
        transcript,
    })
}

/// A document comes back whole, and with a byte changed it is refused or is another document
/// whose only encoding is the changed bytes.
fn check<D: Document + PartialEq + Debug>(
    document: D,
    position: prop::sample::Index,
    change: u8,
) -> Result<(), TestCaseError> {
    let mut bytes = document.to_cbor();
    prop_assert_eq!(document.hash(), Hash::of(&bytes));
    let again = D::from_cbor(&bytes);
    prop_assert_eq!(again.as_ref(), Ok(&document));

    let at = position.index(bytes.len());
    bytes[at] ^= change;
    if let Ok(other) = D::from_cbor(&bytes) {
        prop_assert_ne!(&other, &document);
        prop_assert_eq!(other.to_cbor(), bytes.clone());
    }
    bytes[at] ^= change;

    prop_assert!(D::from_cbor(&bytes[..at]).is_err());
    bytes.push(0);
    let end = bytes.len() - 1;
    prop_assert_eq!(
        D::from_cbor(&bytes),
        Err(DecodeError {
            document: D::NAME,
            reason: Reason::Trailing { offset: end }
        })
    );
    Ok(())
}

proptest! {
    #[test]
    fn engine_documents(d in engine(), at in any::<prop::sample::Index>(), x in 1..=255u8) {
        check(d, at, x)?;
    }

    #[test]
    fn exec_specs(d in exec(), at in any::<prop::sample::Index>(), x in 1..=255u8) {
        check(d, at, x)?;
    }

    #[test]
    fn task_specs(d in task(), at in any::<prop::sample::Index>(), x in 1..=255u8) {
        check(d, at, x)?;
    }

    #[test]
    fn model_manifests(d in manifest(), at in any::<prop::sample::Index>(), x in 1..=255u8) {
        check(d, at, x)?;
    }

    #[test]
    fn environment_documents(d in environment(), at in any::<prop::sample::Index>(), x in 1..=255u8) {
        check(d, at, x)?;
    }

    #[test]
    fn transcripts(d in transcript(), at in any::<prop::sample::Index>(), x in 1..=255u8) {
        check(d, at, x)?;
    }

    #[test]
    fn receipt_openings(d in opening(), at in any::<prop::sample::Index>(), x in 1..=255u8) {
        check(d, at, x)?;
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = EngineDocument::from_cbor(&bytes);
        let _ = ExecSpec::from_cbor(&bytes);
        let _ = TaskSpec::from_cbor(&bytes);
        let _ = ModelManifest::from_cbor(&bytes);
        let _ = EnvironmentDocument::from_cbor(&bytes);
        let _ = Transcript::from_cbor(&bytes);
        let _ = ReceiptOpening::from_cbor(&bytes);
        let _ = HardwareRecord::from_cbor(&bytes);
        let _ = SignedHardwareRecord::from_cbor(&bytes);
        let _ = DeviceReport::from_cbor(&bytes);
        if let Ok((dtype, dims, data)) = TensorBlob::decode(&bytes) {
            prop_assert_eq!(TensorBlob::encode(dtype, &dims, data), bytes);
        }
    }

    #[test]
    fn tensor_blobs(
        dtype in select(DType::ALL.to_vec()),
        dims in vec(0..4u32, 0..=8),
        at in any::<prop::sample::Index>(),
        x in 1..=255u8,
    ) {
        let len = adit_protocol::tensor::data_len(dtype, &dims).unwrap() as usize;
        let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut blob = TensorBlob::encode(dtype, &dims, &data);
        prop_assert_eq!(TensorBlob::decode(&blob), Ok((dtype, dims, data.as_slice())));
        let at = at.index(blob.len());
        blob[at] ^= x;
        if let Ok((dtype, dims, data)) = TensorBlob::decode(&blob) {
            prop_assert_eq!(TensorBlob::encode(dtype, &dims, data), blob.clone());
        }
    }
}

fn opening_bytes() -> Vec<u8> {
    let hash = Hash::of(b"x");
    ReceiptOpening {
        input: hash,
        output: hash,
        transcript: hash,
    }
    .to_cbor()
}

fn reason<D: Document + Debug>(bytes: &[u8]) -> Reason {
    D::from_cbor(bytes).unwrap_err().reason
}

#[test]
fn unknown_fields_are_refused() {
    let mut bytes = opening_bytes();
    bytes[0] = 0xa4;
    bytes.extend_from_slice(&[0x03, 0x00]);
    assert_eq!(
        reason::<ReceiptOpening>(&bytes),
        Reason::NotReproduced { offset: 0 }
    );
}

#[test]
fn missing_fields_are_refused() {
    let mut bytes = opening_bytes();
    bytes[0] = 0xa2;
    bytes.truncate(1 + 2 * 35);
    assert!(matches!(
        reason::<ReceiptOpening>(&bytes),
        Reason::Malformed { .. }
    ));
}

#[test]
fn repeated_and_unsorted_keys_are_refused() {
    for key in [0, 1] {
        let mut bytes = opening_bytes();
        // The key of the second entry becomes that of the first, or the first that of the second.
        bytes[if key == 0 { 36 } else { 1 }] = key;
        assert!(matches!(
            reason::<ReceiptOpening>(&bytes),
            Reason::NotDeterministic {
                what: "a key that is repeated or out of order",
                ..
            }
        ));
    }
}

#[test]
fn a_null_is_no_other_form_of_an_absent_field() {
    let call = Call {
        op: Op::Compute,
        name: None,
        manifest: None,
        context: None,
        chain: None,
        inputs: vec![],
        outputs: vec![],
        nn_units: 0,
        environment: None,
        error: None,
    };
    let bytes = Transcript {
        environments: vec![],
        calls: vec![call],
    }
    .to_cbor();
    // map {0: [], 1: [map of 4 {0: 3, 5: [], 6: [], 7: 0}]}
    assert_eq!(
        bytes,
        [0xa2, 0, 0x80, 1, 0x81, 0xa4, 0, 3, 5, 0x80, 6, 0x80, 7, 0]
    );
    let with_null = [
        0xa2, 0, 0x80, 1, 0x81, 0xa5, 0, 3, 1, 0xf6, 5, 0x80, 6, 0x80, 7, 0,
    ];
    assert!(matches!(
        reason::<Transcript>(&with_null),
        Reason::NotDeterministic { .. }
    ));
}

#[test]
fn lengths_are_bounded_before_anything_is_allocated() {
    let long = vec![0; ReceiptOpening::MAX_LEN + 1];
    assert!(matches!(
        reason::<ReceiptOpening>(&long),
        Reason::TooLong { .. }
    ));
    // An array that claims 2^32 entries, in a document of ten bytes.
    let claim = [0xa2, 0x00, 0x9b, 0, 0, 0, 1, 0, 0, 0, 0];
    assert!(matches!(
        reason::<Transcript>(&claim),
        Reason::OverBound { what: "array", .. }
    ));
    let nested = [0x81; 4096];
    assert!(matches!(
        reason::<Transcript>(&nested),
        Reason::OverBound {
            what: "nesting",
            ..
        }
    ));
}

#[test]
fn rules_of_documents_are_kept() {
    let field = |result: Result<(), DecodeError>| match result.unwrap_err().reason {
        Reason::Invalid { field, .. } => field,
        other => panic!("{other}"),
    };
    let engine = EngineDocument {
        runtime: "0.1.0".into(),
        wasmtime: "48.0.8".into(),
        wasm_features: vec!["simd".into(), "bulk-memory".into()],
        operator_cost: SortedMap::new(),
        limits: SortedMap::new(),
        rules: SortedMap::new(),
    };
    assert_eq!(field(engine.validate()), "wasm_features");
    assert!(EngineDocument::from_cbor(&engine.to_cbor()).is_err());

    let mut task = TaskSpec::local(Hash::of(b"exec"), 1000);
    assert_eq!(task.validate(), Ok(()));
    task.verification.quorum = 2;
    assert_eq!(field(task.validate()), "verification.quorum");
    task.verification.quorum = 0;
    assert_eq!(field(task.validate()), "verification.quorum");

    let mut exec = ExecSpec {
        engine: Hash::ZERO,
        world: World::Task,
        component: Hash::ZERO,
        input: Hash::ZERO,
        args: vec!["x".into()],
        clock_start_ns: 0,
        models: SortedMap::new(),
        seed: [0; 32],
        limits: Limits::default(),
    };
    assert_eq!(exec.validate(), Ok(()));
    exec.args = vec!["a\0b".into()];
    assert_eq!(field(exec.validate()), "args");
    exec.args.clear();
    exec.models.insert(String::new(), Hash::ZERO);
    assert_eq!(field(exec.validate()), "models");
}

#[test]
fn documents_print_as_json() {
    let mut task = TaskSpec::local(Hash::of(b""), 1000);
    task.price = 1 << 100;
    let json = serde_json::to_value(&task).unwrap();
    assert_eq!(
        json["exec"],
        "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    );
    assert_eq!(json["price"], "1267650600228229401496703205376");
    assert_eq!(json["salt"], format!("0x{}", "00".repeat(32)));
    assert_eq!(json["disclosure"], "public");
}
