//! Hostile models: files that are nearly right, given to every library that parses them.
//!
//! Each is refused, or computes something, or ends the worker that it ran in; the next known model
//! computes what it always does. The mutants are the same on every machine; `ADIT_MUTANTS` in the
//! environment asks for more of them.

use std::time::{Duration, Instant};

use adit_protocol::manifest::ModelManifest;
use adit_protocol::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, StringStringEntryProto, TensorProto, data_type,
};
use adit_protocol::onnx::testing::{
    add_model, constant, info, int_attribute, ints_attribute, model, node,
};
use adit_protocol::onnx::{OnnxError, OnnxLimits, manifest_from_onnx};
use adit_runtime::devices::{inputs, standard};
use adit_runtime::nn::onnxruntime::provider::Provider;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::SupervisorError;
use adit_runtime::worker::trial::Named;
use prost::Message as _;

use crate::libraries::{device, put};
use crate::support::Bench;

/// Mutants of each seed.
fn mutants() -> u64 {
    let asked = std::env::var("ADIT_MUTANTS").ok();
    asked.map_or(200, |n| n.parse().expect("a number"))
}

fn benches() -> [(&'static str, Bench); 2] {
    let with = |device: DeviceChoice| {
        Bench::with(WorkerOptions {
            slots: 1,
            device,
            memory_bytes: 2 << 30,
            ..WorkerOptions::default()
        })
    };
    let cpu = DeviceChoice::OnnxRuntime(device(Provider::Cpu, "onnxruntime"));
    [
        ("onnxruntime", with(cpu)),
        ("rten", with(DeviceChoice::Embedded)),
    ]
}

fn case(bench: &Bench, manifest: &ModelManifest) -> Vec<Named> {
    put(&bench.blobs, &inputs::make(manifest, 16, 2, 0))
}

/// How a hostile model ended.
#[derive(Debug, PartialEq)]
enum End {
    /// Our reader refused it.
    Refused,
    /// The library refused it, or to compute it.
    Failed,
    /// The worker is gone.
    Died,
    Computed,
}

fn end_of(bench: &Bench, file: &[u8]) -> End {
    let limits = OnnxLimits::default();
    let Ok(mut manifest) = manifest_from_onnx(file, "m.onnx", &limits) else {
        return End::Refused;
    };
    // The reader would not let a guest ask for more than this either.
    manifest.memory_bytes = manifest.memory_bytes.min(1 << 30);
    bench.blobs.put(file).unwrap();
    let worker = bench.supervisor.worker_pid();
    let begun = Instant::now();
    let inputs = case(bench, &manifest);
    let tried = bench
        .supervisor
        .try_model(&manifest, vec![inputs], 1, Duration::from_secs(5));
    assert!(
        begun.elapsed() < Duration::from_secs(120),
        "it took {:?}",
        begun.elapsed()
    );
    match tried {
        Ok(tried) if tried.cases.iter().any(|case| case.error.is_some()) => End::Failed,
        Ok(_) => End::Computed,
        Err(SupervisorError::Trial(why)) if why.contains("the worker was ended") => {
            assert!(worker.is_some());
            End::Died
        }
        Err(SupervisorError::Trial(_)) => End::Failed,
        Err(other) => panic!("{other}"),
    }
}

/// The known model computes what it did at first, in whatever worker there is now.
fn unharmed(bench: &Bench, expected: &mut Option<Vec<Named>>) {
    let manifest = standard::models()[2].store(&bench.blobs).unwrap();
    let inputs = case(bench, &manifest);
    let tried = bench
        .supervisor
        .try_model(&manifest, vec![inputs], 1, Duration::from_secs(5))
        .unwrap();
    let outputs = tried.cases[0].outputs.clone();
    assert_eq!(*expected.get_or_insert_with(|| outputs.clone()), outputs);
}

/// A generator that is the same everywhere (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }
}

/// A file with one to four things changed about it.
fn mutate(file: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..1 + chance.below(4) {
        let at = chance.below(bytes.len());
        match chance.below(6) {
            0 => bytes[at] ^= 1 << chance.below(8),
            1 => bytes[at] = chance.below(256) as u8,
            2 => bytes.truncate(at.max(8)),
            3 => {
                let end = (at + 1 + chance.below(16)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = chance.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            4 => {
                let end = (at + 1 + chance.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            // A number as large as a varint gets.
            _ => {
                bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x7f]);
            }
        }
        if bytes.is_empty() {
            bytes.push(8);
        }
    }
    bytes
}

/// A model of which one to three parts are changed, and which is well formed all the same: what
/// gets past a reader and meets the library's own checks.
fn twist(file: &[u8], chance: &mut Chance) -> Vec<u8> {
    const OPERATORS: [&str; 14] = [
        "Add",
        "Cast",
        "Concat",
        "Conv",
        "ConstantOfShape",
        "Expand",
        "Gather",
        "If",
        "Loop",
        "MatMul",
        "Pad",
        "Reshape",
        "Resize",
        "Transpose",
    ];
    const NUMBERS: [i64; 8] = [-1, 0, 1, 3, 1 << 20, i64::MAX, i64::MIN, -7];
    let mut model = ModelProto::decode(file).unwrap();
    for _ in 0..1 + chance.below(3) {
        let graph = model.graph.as_mut().unwrap();
        let names: Vec<String> = graph
            .node
            .iter()
            .flat_map(|node| node.input.iter().chain(&node.output).cloned())
            .collect();
        let name = names[chance.below(names.len())].clone();
        let number = NUMBERS[chance.below(NUMBERS.len())];
        let at = chance.below(graph.node.len());
        let node = &mut graph.node[at];
        match chance.below(9) {
            0 => node.op_type = OPERATORS[chance.below(OPERATORS.len())].into(),
            1 if !node.input.is_empty() => {
                let at = chance.below(node.input.len());
                node.input[at] = name;
            }
            2 => node.input.push(name),
            3 => node.input.truncate(1),
            4 => {
                const ATTRIBUTES: [&str; 6] = ["axis", "to", "group", "perm", "strides", "pads"];
                let attribute = ATTRIBUTES[chance.below(ATTRIBUTES.len())];
                node.attribute.push(match chance.below(2) {
                    0 => int_attribute(attribute, number),
                    _ => ints_attribute(attribute, &[number, 1, number]),
                });
            }
            5 => {
                let copy = node.clone();
                graph.node.push(copy);
            }
            6 if graph.node.len() > 1 => drop(graph.node.remove(at)),
            7 if !graph.initializer.is_empty() => {
                let at = chance.below(graph.initializer.len());
                graph.initializer[at].dims.reverse();
                graph.initializer[at].dims.push(1);
            }
            _ => model.opset_import[0].version = 1 + chance.below(30) as i64,
        }
    }
    model.encode_to_vec()
}

#[test]
fn mutants_are_refused_or_harm_their_worker_only() {
    let seeds: Vec<Vec<u8>> = standard::models()
        .into_iter()
        .map(|model| model.file)
        .chain([
            add_model(),
            include_bytes!("../fixtures/double.onnx").to_vec(),
        ])
        .collect();
    for (name, bench) in benches() {
        let mut expected = None;
        unharmed(&bench, &mut expected);
        let mut counts = [0u64; 4];
        for (seed, file) in seeds.iter().enumerate() {
            // Weights are most of a file, and changing one says little.
            let head: Vec<u8> = file.iter().copied().take(4096).collect();
            for number in 0..mutants() {
                let mut chance = Chance(0x9e37_79b9 + (seed as u64) * 100_003 + number);
                let mut mutant = mutate(&head, &mut chance);
                if file.len() > head.len() && chance.below(3) > 0 {
                    mutant.extend_from_slice(&file[head.len()..]);
                }
                // Half of them are broken, half are well formed.
                if number % 2 == 1 {
                    mutant = twist(file, &mut chance);
                }
                let end = end_of(&bench, &mutant);
                counts[match end {
                    End::Refused => 0,
                    End::Failed => 1,
                    End::Died => 2,
                    End::Computed => 3,
                }] += 1;
                if matches!(end, End::Died) || number % 20 == 0 {
                    unharmed(&bench, &mut expected);
                }
            }
        }
        let [refused, failed, died, computed] = counts;
        println!("{name}: {refused} refused, {failed} failed, {died} died, {computed} computed");
        // A suite whose mutants all end at our own reader would not reach the libraries.
        assert!(failed + died > 50, "{counts:?}");
        assert!(computed > 5, "{counts:?}");
        assert!(refused > 20, "{counts:?}");
        unharmed(&bench, &mut expected);
    }
}

/// Files that are valid Protocol Buffers and mean harm.
#[test]
fn bombs_are_refused_or_harm_their_worker_only() {
    let limits = OnnxLimits::default();
    let outside = {
        let mut weight = constant("w", &[2], &[]);
        weight.raw_data = None;
        weight.data_location = 1;
        weight.external_data = vec![StringStringEntryProto {
            key: "location".into(),
            value: "/etc/passwd".into(),
        }];
        with_weight(weight)
    };
    // Not even its interface is made known.
    assert!(matches!(
        manifest_from_onnx(&outside, "m.onnx", &limits),
        Err(OnnxError::ExternalData { .. })
    ));
    let mut huge = constant("w", &[i64::MAX / 2, 4], &[1.0]);
    huge.dims = vec![i64::MAX / 2, 4];
    let cyclic = model(GraphProto {
        node: vec![
            node("Add", &["x", "b"], &["a"]),
            node("Add", &["a", "x"], &["b"]),
            node("Identity", &["b"], &["y"]),
        ],
        name: "g".into(),
        input: vec![info("x", data_type::FLOAT, Some(&[2]))],
        output: vec![info("y", data_type::FLOAT, Some(&[2]))],
        ..Default::default()
    });
    let string_bomb = {
        let mut bomb = node("Identity", &["x"], &["y"]);
        bomb.name = "n".repeat(8 << 20);
        bomb.op_type = "Identity\u{0}\n".repeat(1 << 16);
        one_node(bomb)
    };
    let no_operator = one_node(node("NoSuchOperator", &["x"], &["y"]));
    let other_domain = {
        let mut custom = node("Evil", &["x"], &["y"]);
        custom.domain = "com.example".into();
        one_node(custom)
    };
    let no_output = one_node(node("Identity", &["x"], &["z"]));
    let allocates = {
        // 2^40 elements, were it to be made.
        let mut fill = node("ConstantOfShape", &["shape"], &["big"]);
        fill.attribute = Vec::new();
        let shape = TensorProto {
            dims: vec![2],
            data_type: data_type::INT64,
            name: "shape".into(),
            raw_data: Some(
                [1i64 << 20, 1 << 20]
                    .iter()
                    .flat_map(|v| v.to_le_bytes())
                    .collect(),
            ),
            ..Default::default()
        };
        model(GraphProto {
            node: vec![
                fill,
                node("ReduceMax", &["big"], &["m"]),
                node("Add", &["x", "m"], &["y"]),
            ],
            name: "g".into(),
            initializer: vec![shape],
            input: vec![info("x", data_type::FLOAT, Some(&[1, 1]))],
            output: vec![info("y", data_type::FLOAT, Some(&[1, 1]))],
        })
    };
    let deep = {
        let mut graph = GraphProto {
            node: vec![node("Identity", &["x"], &["y"])],
            name: "g".into(),
            ..Default::default()
        };
        for level in 0..200 {
            let mut branch = node("If", &["c"], &["y"]);
            let inner = AttributeProto {
                name: "then_branch".into(),
                g: Some(graph),
                r#type: 5,
                ..Default::default()
            };
            branch.attribute = vec![inner];
            graph = GraphProto {
                node: vec![branch],
                name: format!("g{level}"),
                input: vec![info("x", data_type::FLOAT, Some(&[1]))],
                output: vec![info("y", data_type::FLOAT, Some(&[1]))],
                ..Default::default()
            };
        }
        model(graph)
    };
    let bombs = [
        ("external data", outside),
        ("huge dimensions", with_weight(huge)),
        ("a cycle", cyclic),
        ("long strings", string_bomb),
        ("an unknown operator", no_operator),
        ("an operator of another domain", other_domain),
        ("no such output", no_output),
        ("a huge allocation", allocates),
        ("deep nesting", deep),
    ];
    for (library, bench) in benches() {
        let mut expected = None;
        unharmed(&bench, &mut expected);
        for (name, file) in &bombs {
            let end = end_of(&bench, file);
            println!("{library}: {name}: {end:?}");
            assert_ne!(end, End::Computed, "{library}: {name}");
            unharmed(&bench, &mut expected);
        }
    }
}

fn with_weight(weight: TensorProto) -> Vec<u8> {
    model(GraphProto {
        node: vec![node("Add", &["x", "w"], &["y"])],
        name: "g".into(),
        initializer: vec![weight],
        input: vec![info("x", data_type::FLOAT, Some(&[2]))],
        output: vec![info("y", data_type::FLOAT, Some(&[2]))],
    })
}

fn one_node(only: adit_protocol::onnx::proto::NodeProto) -> Vec<u8> {
    model(GraphProto {
        node: vec![only],
        name: "g".into(),
        input: vec![info("x", data_type::FLOAT, Some(&[2]))],
        output: vec![info("y", data_type::FLOAT, Some(&[2]))],
        ..Default::default()
    })
}
