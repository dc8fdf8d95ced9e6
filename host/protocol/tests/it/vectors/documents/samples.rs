//! The documents themselves: for each kind plain and extreme ones, and those that break its rules.

use adit_protocol::cbor::{Document, Reason, SortedMap};
use adit_protocol::engine::EngineDocument;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::hash::Hash;
use adit_protocol::manifest::{CostFunction, Dim, Encoding, FileRef, ModelManifest, TensorSpec};
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::task::{
    DeviceClass, Disclosure, Requirements, SubmitterNonce, TaskSpec, Verification,
};
use adit_protocol::tensor::DType;
use adit_protocol::tolerance::Tolerance;
use adit_protocol::transcript::{Call, Op, TensorRef, Transcript};

use super::{invalid, mistyped, replaced};
use crate::vectors::kind::Bad;

fn h(text: &str) -> Hash {
    Hash::of(text.as_bytes())
}

/// Names of `length` bytes, all different.
fn names(count: usize, length: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |i| format!("{i:0length$}"))
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

pub fn engines() -> Vec<(&'static str, EngineDocument)> {
    // Every width that an integer can have, from both sides.
    let widths = [
        0,
        1,
        23,
        24,
        255,
        256,
        65535,
        65536,
        u64::from(u32::MAX),
        1 << 32,
        u64::MAX,
    ];
    let costs = widths
        .into_iter()
        .map(|cost| (format!("cost-{cost}"), cost));
    // By length first: `b` stands before `aa`, and é has two bytes.
    let keys = ["aa", "b", "é", "a", "aaa"].map(|key| (key, key.to_owned()));
    vec![
        ("plain", engine()),
        (
            "integers-of-every-width",
            EngineDocument {
                operator_cost: costs.collect(),
                ..engine()
            },
        ),
        (
            "keys-by-length-then-bytes",
            EngineDocument {
                rules: keys.into_iter().collect(),
                ..engine()
            },
        ),
        (
            "empty-lists-and-long-texts",
            EngineDocument {
                runtime: "r".repeat(64),
                wasm_features: vec![],
                operator_cost: SortedMap::new(),
                limits: SortedMap::new(),
                rules: [("rule", "é".repeat(512))].into_iter().collect(),
                ..engine()
            },
        ),
    ]
}

pub fn bad_engines() -> Vec<Bad> {
    let broken = |name, change: fn(&mut EngineDocument), field, why| {
        let mut document = engine();
        change(&mut document);
        invalid(name, &document, field, why)
    };
    let unordered = vec!["simd".to_owned(), "bulk-memory".to_owned()];
    let mut swapped = engine();
    swapped.wasm_features = unordered;
    vec![
        invalid(
            "features-out-of-order",
            &swapped,
            "wasm_features",
            "the features are not in ascending order",
        ),
        broken(
            "feature-twice",
            |d| d.wasm_features = vec!["simd".into(); 2],
            "wasm_features",
            "a feature is there twice",
        ),
        broken(
            "features-257",
            |d| d.wasm_features = names(257, 3).collect(),
            "wasm_features",
            "257 features are one too many",
        ),
        broken(
            "runtime-empty",
            |d| d.runtime.clear(),
            "runtime",
            "the version of the runtime is empty",
        ),
        broken(
            "wasmtime-65-bytes",
            |d| d.wasmtime = "4".repeat(65),
            "wasmtime",
            "65 bytes are one too many",
        ),
        broken(
            "control-character",
            |d| d.wasmtime = "48\u{1b}[2J".into(),
            "wasmtime",
            "an escape sequence could forge what a terminal shows",
        ),
        broken(
            "cost-without-name",
            |d| d.operator_cost.extend([(String::new(), 1)]),
            "operator_cost",
            "an operator has no name",
        ),
        broken(
            "limits-257",
            |d| d.limits = names(257, 3).map(|n| (n, 1)).collect(),
            "limits",
            "257 limits are one too many",
        ),
        broken(
            "rule-too-long",
            |d| d.rules.extend([("r".repeat(65), String::new())]),
            "rules",
            "the name of a rule has 65 bytes",
        ),
        mistyped(
            "cost-is-text",
            &engine(),
            &[3, 0],
            &[0x61, b'5'],
            "the cost of an operator is a text",
        ),
        mistyped(
            "features-are-a-text",
            &engine(),
            &[2],
            &[0x64, b's', b'i', b'm', b'd'],
            "the list of features is a text",
        ),
    ]
}

fn exec() -> ExecSpec {
    ExecSpec {
        engine: h("engine"),
        world: World::Command,
        component: h("component"),
        input: h("input"),
        args: vec!["--verbose".into(), "".into(), "line\nbreak".into()],
        clock_start_ns: 1_700_000_000_000_000_000,
        models: [("embedder", h("manifest")), ("vad", h("other"))]
            .into_iter()
            .collect(),
        seed: [7; 32],
        limits: Limits::default(),
    }
}

pub fn execs() -> Vec<(&'static str, ExecSpec)> {
    let extreme = Limits {
        fuel: u64::MAX,
        memory_bytes: 0,
        table_elements: 1,
        output_bytes: 23,
        emit_bytes: 24,
        stderr_bytes: 255,
        tensor_bytes_held: 256,
        tensor_bytes_moved: 65535,
        model_bytes: 65536,
        handles: 1 << 32,
    };
    let task = ExecSpec {
        world: World::Task,
        args: vec![],
        models: SortedMap::new(),
        clock_start_ns: 0,
        seed: [0; 32],
        ..exec()
    };
    vec![
        ("plain", exec()),
        ("task-without-models", task),
        (
            "other-limits",
            ExecSpec {
                limits: extreme,
                ..exec()
            },
        ),
    ]
}

pub fn bad_execs() -> Vec<Bad> {
    let broken = |name, change: fn(&mut ExecSpec), field, why| {
        let mut document = exec();
        change(&mut document);
        invalid(name, &document, field, why)
    };
    vec![
        broken(
            "argument-with-nul",
            |d| d.args = vec!["a\0b".into()],
            "args",
            "an argument has a NUL character",
        ),
        broken(
            "arguments-1025",
            |d| d.args = vec![String::new(); 1025],
            "args",
            "1025 arguments are one too many",
        ),
        broken(
            "model-without-name",
            |d| d.models.extend([(String::new(), Hash::ZERO)]),
            "models",
            "a model has no name",
        ),
        broken(
            "model-name-257-bytes",
            |d| d.models.extend([("m".repeat(257), Hash::ZERO)]),
            "models",
            "257 bytes are one too many",
        ),
        mistyped("unknown-world", &exec(), &[1], &[2], "there is no world 2"),
        mistyped(
            "world-by-name",
            &exec(),
            &[1],
            &[0x64, b't', b'a', b's', b'k'],
            "the world is a text",
        ),
        mistyped(
            "seed-of-31-bytes",
            &exec(),
            &[7],
            &[&[0x58, 31][..], &[7; 31]].concat(),
            "a byte of the seed is missing",
        ),
        mistyped(
            "engine-of-33-bytes",
            &exec(),
            &[0],
            &[&[0x58, 33][..], &[7; 33]].concat(),
            "there is a byte too many in a hash",
        ),
        mistyped(
            "limits-without-handles",
            &exec(),
            &[8],
            &[0xa1, 0, 1],
            "nine of the ten limits are missing",
        ),
        Bad::new(
            "unknown-limit",
            {
                let mut node = super::Node::parse(&exec().to_cbor());
                let extra = super::Node::Raw(vec![10]);
                node.at(&[8]).entries().push((extra.clone(), extra));
                node.encode()
            },
            Reason::NotReproduced {
                offset: super::Node::parse(&exec().to_cbor()).offset(&[8]),
            },
            "the limits have an eleventh field",
        ),
    ]
}

fn task() -> TaskSpec {
    TaskSpec {
        genesis: h("genesis"),
        coordinator: [3; 32],
        exec: exec().hash(),
        salt: [9; 32],
        price: 1 << 70,
        attempt_fee: 5,
        deadline_ms: 30_000,
        requirements: Requirements {
            device: DeviceClass::Gpu,
            device_memory_bytes: 8 << 30,
            environments: vec![h("one"), h("two")],
        },
        verification: Verification {
            replicas: 3,
            quorum: 2,
            adaptive: true,
            tolerance: false,
        },
        disclosure: Disclosure::Checkers,
        client_tag: [4; 32],
        submitter: Some(SubmitterNonce {
            account: [1; 32],
            nonce: 2,
            signature: [3; 64],
        }),
    }
}

pub fn tasks() -> Vec<(&'static str, TaskSpec)> {
    let priced = |price, attempt_fee| TaskSpec {
        price,
        attempt_fee,
        ..task()
    };
    vec![
        ("plain", task()),
        ("local", TaskSpec::local(exec().hash(), 1000)),
        ("amounts-around-64-bits", priced(u64::MAX.into(), 1 << 64)),
        ("largest-amount", priced(u128::MAX, 0)),
        (
            "parties-only-without-submitter",
            TaskSpec {
                disclosure: Disclosure::Parties,
                submitter: None,
                verification: Verification {
                    replicas: 255,
                    quorum: 255,
                    adaptive: false,
                    tolerance: true,
                },
                ..task()
            },
        ),
    ]
}

pub fn bad_tasks() -> Vec<Bad> {
    let quorum = |name, quorum, replicas, why| {
        let verification = Verification {
            quorum,
            replicas,
            ..task().verification
        };
        invalid(
            name,
            &TaskSpec {
                verification,
                ..task()
            },
            "verification.quorum",
            why,
        )
    };
    let mut many = task();
    many.requirements.environments = vec![Hash::ZERO; 257];
    let price = super::Node::parse(&task().to_cbor()).offset(&[4]);
    let amount = |name, raw: &[u8], what, why| {
        // After the tag, which is one byte.
        let reason = Reason::NotDeterministic {
            offset: price + 1,
            what,
        };
        Bad::new(name, replaced(&task(), &[4], raw), reason, why)
    };
    let width = "a large integer that is not 9 to 16 bytes";
    vec![
        quorum("quorum-zero", 0, 3, "no equal results would be enough"),
        quorum("quorum-above-replicas", 4, 3, "four of three cannot agree"),
        quorum("no-replicas", 0, 0, "nobody would run the task"),
        invalid(
            "environments-257",
            &many,
            "requirements.environments",
            "257 environments are one too many",
        ),
        amount(
            "amount-fits-64-bits",
            &[0xc2, 0x48, 1, 0, 0, 0, 0, 0, 0, 0],
            width,
            "a large integer has eight bytes, which a plain one can hold",
        ),
        amount(
            "amount-of-136-bits",
            &[&[0xc2, 0x51][..], &[1; 17]].concat(),
            width,
            "a large integer has 17 bytes",
        ),
        amount(
            "amount-with-leading-zero",
            &[0xc2, 0x49, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            "a large integer with a leading zero",
            "a large integer begins with a zero byte",
        ),
        mistyped(
            "amount-is-text",
            &task(),
            &[4],
            &[0x61, b'5'],
            "the price is a text",
        ),
        mistyped(
            "replicas-256",
            &task(),
            &[8, 0],
            &[0x19, 1, 0],
            "the number of replicas has one byte",
        ),
        mistyped(
            "adaptive-is-a-number",
            &task(),
            &[8, 2],
            &[1],
            "a flag is a number",
        ),
        mistyped(
            "unknown-device",
            &task(),
            &[7, 0],
            &[3],
            "there is no device class 3",
        ),
        mistyped(
            "unknown-disclosure",
            &task(),
            &[9],
            &[3],
            "there is no disclosure 3",
        ),
        mistyped(
            "salt-of-31-bytes",
            &task(),
            &[3],
            &[&[0x58, 31][..], &[9; 31]].concat(),
            "a byte of the salt is missing",
        ),
        mistyped(
            "signature-of-63-bytes",
            &task(),
            &[11, 2],
            &[&[0x58, 63][..], &[3; 63]].concat(),
            "a byte of the submitter's signature is missing",
        ),
    ]
}

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
            &[0x81, 3],
            "there is no tolerance 3",
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

fn environment() -> EnvironmentDocument {
    EnvironmentDocument {
        engine: h("engine"),
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

pub fn environments() -> Vec<(&'static str, EnvironmentDocument)> {
    let gpu = EnvironmentDocument {
        execution_provider: "cuda".into(),
        device: "GPU ™".into(),
        driver: "d".repeat(256),
        precision: "tf32".into(),
        threads: u32::MAX,
        ..environment()
    };
    vec![("plain", environment()), ("gpu", gpu)]
}

pub fn bad_environments() -> Vec<Bad> {
    let e = environment();
    let long = EnvironmentDocument {
        driver: "d".repeat(257),
        ..environment()
    };
    let forged = EnvironmentDocument {
        device: "cpu\nverified".into(),
        ..environment()
    };
    let delete = EnvironmentDocument {
        build: "\u{85}".into(),
        ..environment()
    };
    vec![
        invalid(
            "driver-257-bytes",
            &long,
            "driver",
            "257 bytes are one too many",
        ),
        invalid(
            "line-break",
            &forged,
            "device",
            "a line break could forge a line of a report",
        ),
        invalid(
            "control-character-above-ascii",
            &delete,
            "build",
            "U+0085 is a control character too",
        ),
        mistyped(
            "threads-of-33-bits",
            &e,
            &[10],
            &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0],
            "the number of threads has 32 bits",
        ),
        mistyped(
            "threads-is-text",
            &e,
            &[10],
            &[0x61, b'1'],
            "the number of threads is a text",
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

pub fn openings() -> Vec<(&'static str, ReceiptOpening)> {
    let plain = ReceiptOpening {
        input: h("input"),
        output: h("output"),
        transcript: h("transcript"),
    };
    let zero = ReceiptOpening {
        input: Hash::ZERO,
        output: Hash::ZERO,
        transcript: Hash::ZERO,
    };
    vec![("plain", plain), ("zeros", zero)]
}

pub fn bad_openings() -> Vec<Bad> {
    let opening = openings()[0].1;
    let text = [&[0x78, 64], opening.input.to_hex().as_bytes()].concat();
    vec![
        Bad::new(
            "too-long",
            [&opening.to_cbor()[..], &[0; 151]].concat(),
            Reason::TooLong {
                found: 257,
                max: 256,
            },
            "no receipt opening has more than 256 bytes",
        ),
        mistyped(
            "hash-as-text",
            &opening,
            &[0],
            &text,
            "the hash is written in hexadecimal digits",
        ),
        mistyped(
            "hash-of-31-bytes",
            &opening,
            &[0],
            &[&[0x58, 31][..], &[7; 31]].concat(),
            "a byte of a hash is missing",
        ),
    ]
}
