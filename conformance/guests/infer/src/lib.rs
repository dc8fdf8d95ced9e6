//! A task that uses `wasi:nn` by the rules and against them, for the tests of the runtime.
//!
//! It is written against the WIT alone, without the SDK, which would not let it do most of this.
//! The first line of the input says what to do.

#![cfg(target_family = "wasm")]

wit_bindgen::generate!({
    path: "../../../wit",
    world: "task",
    generate_all,
});

use adit::task::host::{emit, progress};
use wasi::nn::errors::Error;
use wasi::nn::graph::{ExecutionTarget, Graph, GraphEncoding, load, load_by_name};
use wasi::nn::inference::GraphExecutionContext;
use wasi::nn::tensor::{Tensor, TensorType};

struct Infer;
export!(Infer);

fn failed(error: Error) -> TaskError {
    TaskError {
        code: error.code() as u32,
        message: error.data(),
    }
}

fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

impl Guest for Infer {
    fn run(input: Vec<u8>) -> Result<Vec<u8>, TaskError> {
        let end = input
            .iter()
            .position(|b| *b == b'\n')
            .unwrap_or(input.len());
        let (line, rest) = input.split_at(end);
        let line = String::from_utf8_lossy(line).into_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let number =
            |at: usize| -> usize { words.get(at).and_then(|w| w.parse().ok()).unwrap_or(0) };
        match words[0] {
            "speech" => speech(words[1], number(2)),
            "own-model" => {
                let x = |at: usize| words.get(at).and_then(|w| w.parse().ok()).unwrap_or(0.0);
                own_model(rest.get(1..).unwrap_or_default(), [x(1), x(2)])
            }
            "floats" => between_inferences(rest.get(1..).unwrap_or_default(), number(1)),
            "errors" => Ok(errors().into_bytes()),
            "emit-and-fail" => {
                emit(b"first ");
                emit(b"second");
                Err(TaskError {
                    code: 42,
                    message: "as asked".to_owned(),
                })
            }
            "emit" => {
                let chunk = vec![b'e'; 1000];
                for done in 0..number(1) {
                    progress(done as u64, number(1) as u64, "emitting");
                    emit(&chunk);
                }
                Ok(Vec::new())
            }
            "return" => Ok(vec![b'r'; number(1)]),
            "hold" => {
                let kept: Vec<Tensor> = (0..number(1))
                    .map(|_| Tensor::new(&[1], TensorType::U8, &vec![0; number(2)]))
                    .collect();
                Ok(kept.len().to_string().into_bytes())
            }
            other => Err(TaskError {
                code: 1,
                message: format!("unknown behaviour {other:?}"),
            }),
        }
    }
}

/// Silero's speech model on `windows` windows of a made-up wave, each with the state of the one
/// before. The wave costs next to nothing, so that benchmarks see the inference.
fn speech(name: &str, windows: usize) -> Result<Vec<u8>, TaskError> {
    let graph = load_by_name(name).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let mut state = floats(vec![0.0; 256]);
    let mut out = Vec::new();
    for window in 0..windows {
        let samples = (0..576).map(|i| ((window * 7 + i) % 100) as f32 * 0.005 - 0.25);
        let inputs = vec![
            (
                "sr".to_owned(),
                Tensor::new(&[1], TensorType::I64, &16_000i64.to_le_bytes()),
            ),
            (
                "state".to_owned(),
                Tensor::new(&[2, 1, 128], TensorType::Fp32, &state),
            ),
            (
                "input".to_owned(),
                Tensor::new(&[1, 576], TensorType::Fp32, &floats(samples)),
            ),
        ];
        let outputs = context.compute(inputs).map_err(failed)?;
        out.extend_from_slice(&outputs[0].1.data());
        state = outputs[1].1.data();
    }
    Ok(out)
}

/// Load the model `bytes`, which takes `x` f32[2], and run it.
fn own_model(bytes: &[u8], x: [f32; 2]) -> Result<Vec<u8>, TaskError> {
    let graph =
        load(&[bytes.to_vec()], GraphEncoding::Onnx, ExecutionTarget::Cpu).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let x = Tensor::new(&[2], TensorType::Fp32, &floats(x));
    let outputs = context.compute(vec![("x".to_owned(), x)]).map_err(failed)?;
    Ok(outputs[0].1.data())
}

/// Load the model `bytes`, which doubles `x` f32[n], and use it between steps of arithmetic whose
/// bits show the state of the floating-point unit: subnormal results, and ones that are rounded.
fn between_inferences(bytes: &[u8], steps: usize) -> Result<Vec<u8>, TaskError> {
    let graph =
        load(&[bytes.to_vec()], GraphEncoding::Onnx, ExecutionTarget::Cpu).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let mut out = Vec::new();
    for step in 0..steps {
        let by = std::hint::black_box(step as f32 + 3.0);
        let small = std::hint::black_box(f32::MIN_POSITIVE) / by;
        let smaller = std::hint::black_box(f64::MIN_POSITIVE) / f64::from(by);
        // What is read is subnormal already.
        let larger = std::hint::black_box(smaller) * f64::from(1u32 << 30);
        let (third, minus) = (1.0 / f64::from(by), -1.0 / f64::from(by));
        out.extend_from_slice(&small.to_le_bytes());
        for value in [smaller, larger, third, minus, third.sqrt()] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        let x = Tensor::new(&[2], TensorType::Fp32, &floats([by, -by]));
        let outputs = context.compute(vec![("x".to_owned(), x)]).map_err(failed)?;
        out.extend_from_slice(&outputs[0].1.data());
    }
    Ok(out)
}

/// Every mistake that a guest can make with a good model, and what it is told.
fn errors() -> String {
    let mut told = String::new();
    let mut tell = |what: &str, result: Result<(), Error>| {
        let said = match result {
            Ok(()) => "ok".to_owned(),
            Err(e) => format!("{} {}", e.code() as u32, e.data()),
        };
        told.push_str(&format!("{what}: {said}\n"));
    };
    tell("unknown name", load_by_name("nobody").map(drop));
    tell(
        "garbage",
        load(&[vec![7; 100]], GraphEncoding::Onnx, ExecutionTarget::Cpu).map(drop),
    );
    tell(
        "two parts",
        load(&[vec![], vec![]], GraphEncoding::Onnx, ExecutionTarget::Cpu).map(drop),
    );
    tell(
        "gpu",
        load(&[vec![]], GraphEncoding::Onnx, ExecutionTarget::Gpu).map(drop),
    );
    tell(
        "encoding",
        load(&[vec![]], GraphEncoding::Pytorch, ExecutionTarget::Cpu).map(drop),
    );

    let Ok(graph) = load_by_name("silero") else {
        return told;
    };
    let graph: Graph = graph;
    let Ok(context) = graph.init_execution_context() else {
        return told;
    };
    let context: GraphExecutionContext = context;
    let input = || Tensor::new(&[1, 576], TensorType::Fp32, &[0; 576 * 4]);
    let state = || Tensor::new(&[2, 1, 128], TensorType::Fp32, &[0; 1024]);
    let sr = || Tensor::new(&[1], TensorType::I64, &16_000i64.to_le_bytes());
    let mut compute = |what: &str, inputs: Vec<(&str, Tensor)>| {
        let inputs = inputs.into_iter().map(|(n, t)| (n.to_owned(), t)).collect();
        tell(what, context.compute(inputs).map(drop));
    };
    compute("nothing", vec![]);
    compute("one missing", vec![("input", input()), ("state", state())]);
    compute(
        "one too many",
        vec![
            ("input", input()),
            ("state", state()),
            ("sr", sr()),
            ("x", sr()),
        ],
    );
    compute(
        "twice",
        vec![
            ("input", input()),
            ("state", state()),
            ("sr", sr()),
            ("sr", sr()),
        ],
    );
    compute(
        "ragged",
        vec![
            (
                "input",
                Tensor::new(&[1, 576], TensorType::Fp32, &[0; 576 * 4 - 1]),
            ),
            ("state", state()),
            ("sr", sr()),
        ],
    );
    compute(
        "type",
        vec![
            (
                "input",
                Tensor::new(&[1, 576], TensorType::I32, &[0; 576 * 4]),
            ),
            ("state", state()),
            ("sr", sr()),
        ],
    );
    compute(
        "rank",
        vec![
            (
                "input",
                Tensor::new(&[576], TensorType::Fp32, &[0; 576 * 4]),
            ),
            ("state", state()),
            ("sr", sr()),
        ],
    );
    compute(
        "huge",
        vec![
            (
                "input",
                Tensor::new(&[u32::MAX, u32::MAX, u32::MAX], TensorType::Fp32, &[]),
            ),
            ("state", state()),
            ("sr", sr()),
        ],
    );
    compute(
        "good",
        vec![("input", input()), ("state", state()), ("sr", sr())],
    );
    // Positions stand for names, and may be mixed with them.
    let mut three = |what: &str, names: [&'static str; 3]| {
        let tensors = [input(), state(), sr()];
        compute(what, names.into_iter().zip(tensors).collect());
    };
    three("positions", ["0", "1", "2"]);
    three("mixed", ["input", "1", "sr"]);
    three("leading zero", ["0", "01", "2"]);
    three("sign", ["0", "+1", "2"]);
    three("too far", ["0", "1", "3"]);
    compute(
        "position and name",
        vec![("0", input()), ("input", input()), ("2", sr())],
    );
    told
}
