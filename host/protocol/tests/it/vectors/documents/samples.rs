//! Documents that say what is to run, and openings: for each kind plain and extreme ones, and those
//! that break its rules. Those about inference are in `super::inference`.

use adit_protocol::cbor::{Document, Reason, SortedMap};
use adit_protocol::engine::EngineDocument;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::hash::Hash;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::task::{
    DeviceClass, Disclosure, Requirements, SubmitterNonce, TaskSpec, Verification,
};

use super::{invalid, mistyped, replaced};
use crate::vectors::kind::Bad;

pub fn h(text: &str) -> Hash {
    Hash::of(text.as_bytes())
}

/// Names of `length` bytes, all different.
pub fn names(count: usize, length: usize) -> impl Iterator<Item = String> {
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
