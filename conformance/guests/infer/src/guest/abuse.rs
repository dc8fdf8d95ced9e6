//! Handles used as no safe program can use them.
//!
//! Each of these is to end in a trap: the component model checks every handle that crosses the
//! boundary.

use super::models::load_own;
use super::wasi::nn::tensor::{Tensor, TensorType};
use super::{Order, Outcome, failed};

fn tensor() -> Tensor {
    Tensor::new(&[1], TensorType::Fp32, &[0; 4])
}

/// Another owner of the same handle.
fn alias(tensor: &Tensor) -> Tensor {
    // SAFETY: nothing here is unsafe for this program's memory: a handle is an index that the
    // host checks. The second use is the point.
    unsafe { Tensor::from_handle(tensor.handle()) }
}

/// The same tensor given away twice in one call.
pub fn twice(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let one = tensor();
    let same = alias(&one);
    let answer = context.compute(vec![("x".to_owned(), one), ("y".to_owned(), same)]);
    Ok(super::said(answer).into_bytes())
}

/// A tensor used after a computation has consumed it.
pub fn consumed(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    let one = tensor();
    let same = alias(&one);
    drop(context.compute(vec![("x".to_owned(), one)]));
    Ok(same.data())
}

/// A context used after it was dropped.
pub fn dropped(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    let context = graph.init_execution_context().map_err(failed)?;
    // SAFETY: as above.
    let same =
        unsafe { super::wasi::nn::inference::GraphExecutionContext::from_handle(context.handle()) };
    drop(context);
    Ok(super::said(same.compute(Vec::new())).into_bytes())
}

/// A handle that was never given out.
pub fn invented(_: &Order<'_>) -> Outcome {
    // SAFETY: as above.
    let invented = unsafe { Tensor::from_handle(77) };
    Ok(invented.data())
}

/// A handle of another type: a graph where a tensor belongs.
pub fn borrowed(order: &Order<'_>) -> Outcome {
    let graph = load_own(order.rest).map_err(failed)?;
    // SAFETY: as above.
    let wrong = unsafe { Tensor::from_handle(graph.handle()) };
    Ok(wrong.data())
}
