//! Hashes of fixed documents. A change here is a change of the formats: whoever makes one on
//! purpose raises a version and updates these.

use adit_protocol::cbor::Document;
use adit_protocol::engine::EngineDocument;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::hash::Hash;
use adit_protocol::manifest::{CostFunction, Dim, Encoding, FileRef, ModelManifest, TensorSpec};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::task::{SubmitterNonce, TaskSpec};
use adit_protocol::tensor::{DType, tensor_hash};
use adit_protocol::tolerance::Tolerance;
use adit_protocol::transcript::{Call, Op, TensorRef, Transcript, chain_next, chain_start};

use crate::fixtures::{body, local_body, miner};

fn h(text: &str) -> Hash {
    Hash::of(text.as_bytes())
}

fn exec() -> ExecSpec {
    ExecSpec {
        engine: h("engine"),
        world: World::Command,
        component: h("component"),
        input: h("input"),
        args: vec!["--verbose".into(), "".into()],
        clock_start_ns: 1_700_000_000_000_000_000,
        models: [("embedder", h("manifest")), ("vad", h("other"))]
            .into_iter()
            .collect(),
        seed: [7; 32],
        limits: Limits::default(),
    }
}

fn manifest() -> ModelManifest {
    let dims = vec![
        Dim::Symbol("batch".into()),
        Dim::Fixed(2048),
        Dim::Symbol(String::new()),
    ];
    ModelManifest {
        encoding: Encoding::Onnx,
        files: [(
            "model.onnx",
            FileRef {
                hash: h("file"),
                len: 3_160_000,
            },
        )]
        .into_iter()
        .collect(),
        licence: "Apache-2.0".into(),
        inputs: vec![TensorSpec {
            name: "bytes".into(),
            dtype: DType::I32,
            dims,
        }],
        outputs: vec![TensorSpec {
            name: "label".into(),
            dtype: DType::Fp32,
            dims: vec![],
        }],
        cost: CostFunction {
            base: 1000,
            per_input_element: 3,
        },
        tolerance: Tolerance::MaxAbsRel {
            abs_nano: 150_000,
            rel_ppm: 100,
        },
        memory_bytes: 64 << 20,
    }
}

fn transcript() -> Transcript {
    let input = TensorRef {
        name: "x".into(),
        hash: tensor_hash(DType::U8, &[2], &[1, 2]),
    };
    let start = chain_start(&h("manifest"), 0);
    let call = Call {
        op: Op::Compute,
        name: None,
        manifest: Some(h("manifest")),
        context: Some(0),
        chain: Some(chain_next(&start, std::slice::from_ref(&input))),
        inputs: vec![input],
        outputs: vec![],
        nn_units: 1006,
        environment: Some(0),
        error: Some(2),
    };
    let load = Call {
        op: Op::LoadByName,
        name: Some("embedder".into()),
        context: None,
        chain: None,
        inputs: vec![],
        nn_units: 0,
        environment: None,
        error: None,
        ..call.clone()
    };
    Transcript {
        environments: vec![h("environment")],
        calls: vec![load, call],
    }
}

fn task() -> TaskSpec {
    TaskSpec {
        price: 1 << 70,
        attempt_fee: 5,
        submitter: Some(SubmitterNonce {
            account: [1; 32],
            nonce: 2,
            signature: [3; 64],
        }),
        ..TaskSpec::local(exec().hash(), 30_000)
    }
}

fn engine() -> EngineDocument {
    EngineDocument {
        runtime: "0.1.0".into(),
        wasmtime: "48.0.8".into(),
        wasm_features: vec!["bulk-memory".into(), "simd".into()],
        operator_cost: [("memory.fill", 10), ("call", 5)].into_iter().collect(),
        limits: [("memories", 16)].into_iter().collect(),
        rules: [("clock-step-ns", "1000".to_owned())].into_iter().collect(),
    }
}

fn environment() -> EnvironmentDocument {
    EnvironmentDocument {
        engine: engine().hash(),
        triple: "x86_64-unknown-linux-gnu".into(),
        cpu_baseline: "x86-64-v2".into(),
        backend: "rten".into(),
        backend_version: "0.27.0".into(),
        build: String::new(),
        execution_provider: "cpu".into(),
        device: "cpu".into(),
        driver: String::new(),
        precision: "fp32".into(),
        threads: 1,
    }
}

#[test]
fn formats_are_what_they_were() {
    let opening = ReceiptOpening {
        input: h("input"),
        output: h("output"),
        transcript: h("transcript"),
    };
    let found = [
        ("engine", engine().hash()),
        ("exec", exec().hash()),
        ("task", task().hash()),
        ("manifest", manifest().hash()),
        ("environment", environment().hash()),
        ("transcript", transcript().hash()),
        ("opening", opening.hash()),
        ("receipt", body(&miner(1), 6).id()),
        ("local receipt", local_body(&miner(1)).id()),
        ("commitment", h("input").commit(&[9; 32])),
    ];
    let expected = include_str!("golden.txt");
    let found: String = found
        .iter()
        .map(|(name, hash)| format!("{name} = {hash}\n"))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn fixed_documents_decode() {
    assert_eq!(
        Transcript::from_cbor(&transcript().to_cbor()),
        Ok(transcript())
    );
    assert_eq!(
        ModelManifest::from_cbor(&manifest().to_cbor()),
        Ok(manifest())
    );
    assert_eq!(TaskSpec::from_cbor(&task().to_cbor()), Ok(task()));
    assert_eq!(ExecSpec::from_cbor(&exec().to_cbor()), Ok(exec()));
}
