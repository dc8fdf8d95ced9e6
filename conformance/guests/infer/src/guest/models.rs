//! Inference by the rules.

use super::wasi::nn::errors::Error;
use super::wasi::nn::graph::{ExecutionTarget, Graph, GraphEncoding, load, load_by_name};
use super::wasi::nn::inference::GraphExecutionContext;
use super::wasi::nn::tensor::{Tensor, TensorType};
use super::{Order, Outcome, failed, floats};

/// Load a model that the guest brings.
pub fn load_own(bytes: &[u8]) -> Result<Graph, Error> {
    load(&[bytes.to_vec()], GraphEncoding::Onnx, ExecutionTarget::Cpu)
}

/// Give a model its one input `x`, f32 of one dimension, and return the bytes of its first output.
pub fn compute_one(context: &GraphExecutionContext, x: &[f32]) -> Result<Vec<u8>, Error> {
    let dims = [u32::try_from(x.len()).unwrap_or(u32::MAX)];
    let x = Tensor::new(&dims, TensorType::Fp32, &floats(x.iter().copied()));
    let outputs = context.compute(vec![("x".to_owned(), x)])?;
    Ok(outputs.first().map(|(_, t)| t.data()).unwrap_or_default())
}

/// `speech NAME WINDOWS`: Silero's model on windows of a made-up wave, each with the state of the
/// one before. The wave costs next to nothing, so that benchmarks see the inference.
pub fn speech(order: &Order<'_>) -> Outcome {
    let graph = load_by_name(order.word(1)).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let mut state = floats(vec![0.0; 256]);
    let mut out = Vec::new();
    for window in 0..order.number(2) {
        let samples = (0..576).map(|i| ((window * 7 + i) % 100) as f32 * 0.005 - 0.25);
        let outputs = context
            .compute(silero_inputs(&floats(samples), &state))
            .map_err(failed)?;
        out.extend_from_slice(&outputs[0].1.data());
        state = outputs[1].1.data();
    }
    Ok(out)
}

/// Silero's three inputs, in another order than the manifest's.
pub fn silero_inputs(samples: &[u8], state: &[u8]) -> Vec<(String, Tensor)> {
    vec![
        (
            "sr".to_owned(),
            Tensor::new(&[1], TensorType::I64, &16_000i64.to_le_bytes()),
        ),
        (
            "state".to_owned(),
            Tensor::new(&[2, 1, 128], TensorType::Fp32, state),
        ),
        (
            "input".to_owned(),
            Tensor::new(&[1, 576], TensorType::Fp32, samples),
        ),
    ]
}

/// `own-model A B`: load the rest of the input as a model that takes `x` f32[2], and run it on
/// the two numbers.
pub fn own_model(order: &Order<'_>) -> Outcome {
    let x = |at: usize| order.word(at).parse().unwrap_or(0.0);
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    compute_one(&context, &[x(1), x(2)]).map_err(failed)
}

/// Two contexts of one model and one of another, in turns: each has a history of its own.
pub fn interleaved(order: &Order<'_>) -> Outcome {
    let speech = load_by_name("silero").map_err(failed)?;
    let own = load_own(order.rest).map_err(failed)?;
    let contexts = [
        speech.init_execution_context().map_err(failed)?,
        speech.init_execution_context().map_err(failed)?,
    ];
    let double = own.init_execution_context().map_err(failed)?;
    let mut states = [vec![0; 1024], vec![0; 1024]];
    let mut out = Vec::new();
    for round in 0..3u16 {
        for (side, context) in contexts.iter().enumerate() {
            let samples = (0..576u16).map(|i| f32::from((round * 7 + i) % 100) * 0.005 - 0.25);
            let samples = floats(samples.map(|s| if side == 0 { s } else { -s }));
            let outputs = context
                .compute(silero_inputs(&samples, &states[side]))
                .map_err(failed)?;
            out.extend_from_slice(&outputs[0].1.data());
            states[side] = outputs[1].1.data();
            let x = [f32::from(round), -1.0];
            out.extend(compute_one(&double, &x).map_err(failed)?);
        }
    }
    Ok(out)
}

/// A context outlives its graph, and another graph does not take its place.
pub fn graph_gone(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    drop(graph);
    let other = load_by_name("silero").map_err(failed)?;
    let out = compute_one(&context, &[1.25, 8.0]).map_err(failed)?;
    drop(other);
    Ok(out)
}

/// The order in which inputs are listed means nothing.
pub fn argument_order(_: &Order<'_>) -> Outcome {
    let graph = load_by_name("silero").map_err(failed)?;
    let mut outputs = Vec::new();
    for turn in 0..3 {
        let context = graph.init_execution_context().map_err(failed)?;
        let mut inputs = silero_inputs(&[0; 2304], &[0; 1024]);
        inputs.rotate_left(turn);
        let answer = context.compute(inputs).map_err(failed)?;
        let names: Vec<_> = answer.iter().map(|(name, _)| name.as_str()).collect();
        outputs.push(format!("{names:?} {:02x?}\n", answer[0].1.data()));
    }
    Ok(outputs.concat().into_bytes())
}

/// Subnormals in the guest before and after a model has computed with some: what the model's
/// library does to the floating-point unit must not reach the guest. The model, the rest of the
/// input, takes `x` f32 of any length.
pub fn denormals(order: &Order<'_>) -> Outcome {
    let tiny = || std::hint::black_box(f32::from_bits(0x0080_0000)) * std::hint::black_box(0.25);
    let double_tiny = || std::hint::black_box(f64::MIN_POSITIVE) / std::hint::black_box(8.0);
    let show = || format!("{:08x} {:016x}", tiny().to_bits(), double_tiny().to_bits());
    let mut told = format!("{}\n", show());
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    for _ in 0..3 {
        let x = [f32::from_bits(1), tiny(), -f32::from_bits(0x007f_ffff)];
        let y = compute_one(&context, &x).map_err(failed)?;
        told.push_str(&format!("{y:02x?} {}\n", show()));
    }
    Ok(told.into_bytes())
}

/// `floats STEPS`: use the rest of the input, a model that doubles `x` f32[n], between steps of
/// arithmetic whose bits show the state of the floating-point unit: subnormal results, and ones
/// that are rounded.
pub fn between_inferences(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let mut out = Vec::new();
    for step in 0..order.number(1) {
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
        out.extend(compute_one(&context, &[by, -by]).map_err(failed)?);
    }
    Ok(out)
}
