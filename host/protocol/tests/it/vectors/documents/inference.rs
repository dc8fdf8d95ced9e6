//! Documents about inference: manifests and transcripts.

use adit_protocol::cbor::{Document, Reason, SortedMap};
use adit_protocol::hash::Hash;
use adit_protocol::manifest::{CostFunction, Dim, Encoding, FileRef, ModelManifest, TensorSpec};
use adit_protocol::tensor::DType;
use adit_protocol::tolerance::Tolerance;
use adit_protocol::transcript::{Call, Op, TensorRef, Transcript};

use super::samples::{h, names};
use super::{invalid, mistyped};
use crate::vectors::kind::Bad;

fn tensor(name: &str, dtype: DType, dims: Vec<Dim>) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        dtype,
        dims,
    }
}

fn manifest() -> ModelManifest {
    let symbol = |name: &str| Dim::Symbol(name.into());
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
        inputs: vec![tensor(
            "bytes",
            DType::I32,
            vec![symbol("batch"), Dim::Fixed(2048), symbol("")],
        )],
        outputs: vec![tensor("label", DType::Fp32, vec![])],
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

pub fn manifests() -> Vec<(&'static str, ModelManifest)> {
    let types = DType::ALL.into_iter();
    let inputs = types.map(|dtype| tensor(dtype.name(), dtype, vec![Dim::Fixed(u32::MAX); 8]));
    let files = ["weights.bin", "a.xml"].map(|name| {
        (
            name,
            FileRef {
                hash: h(name),
                len: u64::MAX,
            },
        )
    });
    let with = |encoding, tolerance| ModelManifest {
        encoding,
        tolerance,
        ..manifest()
    };
    vec![
        ("plain", manifest()),
        (
            "every-type",
            ModelManifest {
                inputs: inputs.collect(),
                ..manifest()
            },
        ),
        ("exact", with(Encoding::Openvino, Tolerance::Exact)),
        (
            "cosine",
            with(Encoding::Ggml, Tolerance::Cosine { min_ppm: 1_000_000 }),
        ),
        (
            "top-k",
            with(
                Encoding::Onnx,
                Tolerance::TopK {
                    k: u32::MAX,
                    min_ppm: 990_000,
                },
            ),
        ),
        (
            "perceptual-hash",
            with(Encoding::Onnx, Tolerance::PerceptualHash { max_bits: 64 }),
        ),
        (
            "two-files-no-tensors",
            ModelManifest {
                encoding: Encoding::Autodetect,
                files: files.into_iter().collect(),
                licence: String::new(),
                inputs: vec![],
                outputs: vec![],
                ..manifest()
            },
        ),
    ]
}

pub fn bad_manifests() -> Vec<Bad> {
    let broken = |name, change: fn(&mut ModelManifest), field, why| {
        let mut document = manifest();
        change(&mut document);
        invalid(name, &document, field, why)
    };
    let m = manifest();
    vec![
        broken(
            "no-files",
            |d| d.files = SortedMap::new(),
            "files",
            "a model has at least one file",
        ),
        broken(
            "file-without-name",
            |d| {
                d.files.extend([(
                    String::new(),
                    FileRef {
                        hash: Hash::ZERO,
                        len: 0,
                    },
                )])
            },
            "files",
            "a file has no name",
        ),
        broken(
            "licence-257-bytes",
            |d| d.licence = "L".repeat(257),
            "licence",
            "257 bytes are one too many",
        ),
        broken(
            "input-twice",
            |d| d.inputs.push(d.inputs[0].clone()),
            "inputs",
            "two inputs have the same name",
        ),
        broken(
            "input-without-name",
            |d| d.inputs[0].name.clear(),
            "inputs",
            "an input has no name",
        ),
        broken(
            "output-of-rank-9",
            |d| d.outputs[0].dims = vec![Dim::Fixed(1); 9],
            "outputs",
            "a tensor has at most eight dimensions",
        ),
        broken(
            "symbol-65-bytes",
            |d| d.inputs[0].dims[0] = Dim::Symbol("s".repeat(65)),
            "inputs",
            "the name of a dimension has 65 bytes",
        ),
        broken(
            "inputs-1025",
            |d| {
                d.inputs = names(1025, 4)
                    .map(|name| tensor(&name, DType::U8, vec![]))
                    .collect()
            },
            "inputs",
            "1025 inputs are one too many",
        ),
        broken(
            "cosine-above-one",
            |d| d.tolerance = Tolerance::Cosine { min_ppm: 1_000_001 },
            "tolerance.min_ppm",
            "no similarity is above 1",
        ),
        broken(
            "top-0",
            |d| d.tolerance = Tolerance::TopK { k: 0, min_ppm: 0 },
            "tolerance.k",
            "the largest none of all elements are always the same",
        ),
        broken(
            "top-k-above-one",
            |d| {
                d.tolerance = Tolerance::TopK {
                    k: 5,
                    min_ppm: 1_000_001,
                }
            },
            "tolerance.min_ppm",
            "no share is above 1",
        ),
        broken(
            "hash-of-65-bits",
            |d| d.tolerance = Tolerance::PerceptualHash { max_bits: 65 },
            "tolerance.max_bits",
            "a hash has 64 bits",
        ),
        mistyped("unknown-encoding", &m, &[0], &[7], "there is no encoding 7"),
        mistyped(
            "unknown-type",
            &m,
            &[3, 0, 1],
            &[7],
            "there is no element type 7",
        ),
        mistyped(
            "unknown-tolerance",
            &m,
            &[6],
            &[0x81, 5],
            "there is no tolerance 5",
        ),
        mistyped(
            "tolerance-too-short",
            &m,
            &[6],
            &[0x82, 1, 1],
            "a tolerance of kind 1 has two numbers",
        ),
        mistyped(
            "tolerance-too-long",
            &m,
            &[6],
            &[0x82, 0, 0],
            "exactness has no number",
        ),
        mistyped(
            "top-k-of-33-bits",
            &m,
            &[6],
            &[0x83, 3, 0x1b, 0, 0, 0, 1, 0, 0, 0, 0, 0],
            "the number of elements has 32 bits",
        ),
        mistyped(
            "hash-without-bits",
            &m,
            &[6],
            &[0x81, 4],
            "a tolerance of kind 4 has one number",
        ),
        mistyped(
            "dim-of-33-bits",
            &m,
            &[3, 0, 2, 1],
            &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
            "a dimension has 32 bits",
        ),
        mistyped(
            "dim-is-bytes",
            &m,
            &[3, 0, 2, 1],
            &[0x41, 1],
            "a dimension is a byte string",
        ),
    ]
}

fn call(op: Op) -> Call {
    Call {
        op,
        name: None,
        manifest: None,
        context: None,
        chain: None,
        inputs: vec![],
        outputs: vec![],
        nn_units: 0,
        environment: None,
        error: None,
    }
}

fn reference(name: &str) -> TensorRef {
    TensorRef {
        name: name.into(),
        hash: h(name),
    }
}

fn transcript() -> Transcript {
    let full = Call {
        name: Some("embedder".into()),
        manifest: Some(h("manifest")),
        context: Some(0),
        chain: Some(h("chain")),
        inputs: vec![reference("x"), reference("y")],
        outputs: vec![reference("z")],
        nn_units: 1006,
        environment: Some(1),
        error: Some(2),
        ..call(Op::Compute)
    };
    Transcript {
        environments: vec![h("one"), h("two")],
        calls: vec![full],
    }
}

pub fn transcripts() -> Vec<(&'static str, Transcript)> {
    // A guest chooses the name that it asks for, and a failed call must be recorded all the same.
    let odd = Call {
        name: Some("a\u{1b}[2J\0".into()),
        error: Some(7),
        ..call(Op::LoadByName)
    };
    let each = [Op::Load, Op::LoadByName, Op::InitContext, Op::Compute].map(call);
    vec![
        ("every-field", transcript()),
        ("no-calls", Transcript::default()),
        (
            "every-operation",
            Transcript {
                environments: vec![],
                calls: each.to_vec(),
            },
        ),
        (
            "name-of-a-guests-choice",
            Transcript {
                environments: vec![],
                calls: vec![odd],
            },
        ),
        (
            "thirty-calls",
            Transcript {
                environments: vec![],
                calls: vec![call(Op::Compute); 30],
            },
        ),
    ]
}

pub fn bad_transcripts() -> Vec<Bad> {
    let broken = |name, change: fn(&mut Transcript), field, why| {
        let mut document = transcript();
        change(&mut document);
        invalid(name, &document, field, why)
    };
    let t = transcript();
    let null = {
        // The name of a call that has none, as a null: another form of the same transcript.
        let plain = Transcript {
            environments: vec![],
            calls: vec![call(Op::Compute)],
        };
        let mut node = super::Node::parse(&plain.to_cbor());
        let field = (super::Node::Raw(vec![1]), super::Node::Raw(vec![0xf6]));
        node.at(&[1, 0]).entries().insert(1, field);
        let reason = Reason::NotDeterministic {
            offset: node.offset(&[1, 0, 1]),
            what: super::NO_KIND,
        };
        Bad::new(
            "null-for-absent",
            node.encode(),
            reason,
            "a field that is not there is left out, never null",
        )
    };
    vec![
        null,
        broken(
            "environments-65",
            |d| d.environments = vec![Hash::ZERO; 65],
            "environments",
            "65 environments are one too many",
        ),
        broken(
            "no-such-environment",
            |d| d.environments.truncate(1),
            "calls.environment",
            "a call names the second environment of one",
        ),
        broken(
            "inputs-1025",
            |d| {
                d.calls[0].inputs = vec![
                    TensorRef {
                        name: String::new(),
                        hash: Hash::ZERO
                    };
                    1025
                ]
            },
            "calls.inputs",
            "1025 inputs are one too many",
        ),
        mistyped(
            "unknown-operation",
            &t,
            &[1, 0, 0],
            &[4],
            "there is no operation 4",
        ),
        mistyped(
            "context-of-33-bits",
            &t,
            &[1, 0, 3],
            &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
            "the number of a context has 32 bits",
        ),
        mistyped(
            "error-of-two-bytes",
            &t,
            &[1, 0, 9],
            &[0x19, 1, 0],
            "the code of an error has one byte",
        ),
        mistyped(
            "hash-of-a-tensor-missing",
            &t,
            &[1, 0, 5, 0],
            &[0xa1, 0, 0x61, b'x'],
            "an input has a name but no hash",
        ),
    ]
}
