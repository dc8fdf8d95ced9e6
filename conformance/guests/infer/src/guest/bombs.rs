//! Taking more and more of something that the host provides.

use super::adit::task::host::{emit, progress};
use super::models::{compute_one, load_own};
use super::wasi::nn::graph::{ExecutionTarget, GraphEncoding, load, load_by_name};
use super::wasi::nn::tensor::{Tensor, TensorType};
use super::{Order, Outcome, TaskError, failed, said};

fn counted(n: usize) -> Outcome {
    Ok(n.to_string().into_bytes())
}

/// Emit two chunks, then fail.
pub fn emit_and_fail(_: &Order<'_>) -> Outcome {
    emit(b"first ");
    emit(b"second");
    Err(TaskError {
        code: 42,
        message: "as asked".to_owned(),
    })
}

/// `emit TIMES`: a thousand bytes each time.
pub fn emit_bytes(order: &Order<'_>) -> Outcome {
    let chunk = vec![b'e'; 1000];
    for done in 0..order.number(1) {
        progress(done as u64, order.number(1) as u64, "emitting");
        emit(&chunk);
    }
    Ok(Vec::new())
}

/// `emit-nothing TIMES`: chunks without a byte, which no limit on bytes counts.
pub fn emit_nothing(order: &Order<'_>) -> Outcome {
    for _ in 0..order.number(1) {
        emit(&[]);
    }
    counted(order.number(1))
}

/// `progress TIMES BYTES`: notes, of which the runtime keeps a little.
pub fn progress_notes(order: &Order<'_>) -> Outcome {
    let note = "\u{e9}".repeat(order.number(2) / 2);
    for _ in 0..order.number(1) {
        progress(u64::MAX, 0, &note);
    }
    counted(note.len())
}

/// `print BYTES`: to standard output, which for a task is the log.
pub fn print(order: &Order<'_>) -> Outcome {
    for _ in 0..order.number(1) / 100 {
        println!("{}", "p".repeat(99));
    }
    counted(order.number(1))
}

/// `return BYTES`.
pub fn returned(order: &Order<'_>) -> Outcome {
    Ok(vec![b'r'; order.number(1)])
}

/// `fail-at-length BYTES`: an error with that long a message.
pub fn fail_at_length(order: &Order<'_>) -> Outcome {
    Err(TaskError {
        code: u32::MAX,
        message: "\u{20ac}".repeat(order.number(1) / 3),
    })
}

/// `hold TIMES BYTES`: keep that many tensors of that many bytes.
pub fn hold(order: &Order<'_>) -> Outcome {
    let bytes = vec![0; order.number(2)];
    let kept: Vec<Tensor> = (0..order.number(1))
        .map(|_| Tensor::new(&[1], TensorType::U8, &bytes))
        .collect();
    counted(kept.len())
}

/// `churn TIMES BYTES`: as `hold`, but each is dropped before the next is made.
pub fn churn(order: &Order<'_>) -> Outcome {
    let bytes = vec![0; order.number(2)];
    for _ in 0..order.number(1) {
        drop(Tensor::new(&[1], TensorType::U8, &bytes));
    }
    counted(order.number(1))
}

/// `read-again TIMES BYTES`: the data of one tensor, again and again.
pub fn read_again(order: &Order<'_>) -> Outcome {
    let tensor = Tensor::new(&[1], TensorType::U8, &vec![7; order.number(2)]);
    let mut last = 0;
    for _ in 0..order.number(1) {
        last = tensor.data().len();
    }
    counted(last)
}

/// `many-dimensions COUNT`: a tensor of that rank, whose dimensions are a list as long.
pub fn many_dimensions(order: &Order<'_>) -> Outcome {
    let dims = vec![1; order.number(1)];
    let tensor = Tensor::new(&dims, TensorType::U8, &[0]);
    counted(tensor.dimensions().len())
}

/// `hold-errors TIMES`: errors are handles, too.
pub fn hold_errors(order: &Order<'_>) -> Outcome {
    let mut kept = Vec::new();
    for _ in 0..order.number(1) {
        kept.extend(load_by_name("nobody").err());
    }
    counted(kept.len())
}

/// `contexts TIMES`: keep that many contexts of one model.
pub fn contexts(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    let mut kept = Vec::new();
    for _ in 0..order.number(1) {
        kept.push(graph.init_execution_context().map_err(failed)?);
    }
    counted(kept.len())
}

/// `load-again TIMES`: the rest of the input as a model, again and again.
pub fn load_again(order: &Order<'_>) -> Outcome {
    for _ in 0..order.number(1) {
        load_own(order.rest).map_err(failed)?;
    }
    counted(order.number(1))
}

/// `load-parts PARTS BYTES TIMES`: a model in very many very small parts.
pub fn load_parts(order: &Order<'_>) -> Outcome {
    let parts = vec![vec![0u8; order.number(2)]; order.number(1)];
    let mut last = String::new();
    for _ in 0..order.number(3) {
        last = said(load(&parts, GraphEncoding::Onnx, ExecutionTarget::Cpu));
    }
    Ok(last.into_bytes())
}

/// `many-inputs COUNT BYTES`: as many named tensors in one call, with names of so many bytes.
pub fn many_inputs(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let name = "n".repeat(order.number(2));
    let inputs = (0..order.number(1))
        .map(|_| (name.clone(), Tensor::new(&[0], TensorType::U8, &[])))
        .collect();
    Ok(said(context.compute(inputs)).into_bytes())
}

/// `compute-again TIMES LENGTH`: the rest of the input as a model, on `x` f32 of that length.
pub fn compute_again(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let x = vec![1.5; order.number(2)];
    let mut last = Vec::new();
    for _ in 0..order.number(1) {
        last = compute_one(&context, &x).map_err(failed)?;
    }
    counted(last.len())
}
