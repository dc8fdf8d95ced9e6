//! A stand-in for the runtime in native tests (not on `wasm32`).
//!
//! Everything here belongs to the current thread, and `cargo test` gives each test a thread of
//! its own, so tests do not see each other's models, arguments and output.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::{NnError, Result, TaskInput, TaskReturn, Tensors};

/// One call of [`crate::progress`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Steps that are finished.
    pub done: u64,
    /// All steps, or 0 when the number is not known.
    pub total: u64,
    /// The words for a person.
    pub note: String,
}

/// What a task did when it was called by [`run`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The bytes that the task returned, or its error.
    pub result: Result<Vec<u8>>,
    /// The chunks that it emitted, in order.
    pub emitted: Vec<Vec<u8>>,
    /// The progress that it reported, in order.
    pub progress: Vec<Progress>,
}

impl Run {
    /// The output as the runtime defines it: every chunk, then the result if there is one.
    pub fn output(&self) -> Vec<u8> {
        let mut output = self.emitted.concat();
        if let Ok(result) = &self.result {
            output.extend_from_slice(result);
        }
        output
    }
}

/// Calls a task as the runtime does: `input` goes in as bytes, and whatever the task reports,
/// emits and returns comes out. Models and arguments are those of this thread.
///
/// ```
/// use adit_sdk::testing;
///
/// fn shout(input: String) -> String { input.to_uppercase() }
///
/// assert_eq!(testing::run(shout, "hi").output(), b"HI");
/// assert!(testing::run(shout, b"\xff").result.is_err());
/// ```
pub fn run<I: TaskInput, R: TaskReturn>(task: impl FnOnce(I) -> R, input: impl AsRef<[u8]>) -> Run {
    take_emitted();
    take_progress();
    let result = I::from_bytes(input.as_ref().to_vec()).and_then(|input| task(input).into_result());
    Run {
        result,
        emitted: take_emitted(),
        progress: take_progress(),
    }
}

/// Registers `compute` as the model called `name`, in place of an earlier one of that name.
///
/// It is called for each inference with the named inputs and answers with the named outputs, or
/// with the error that the host would give. Inputs have passed the same checks as in a component.
///
/// ```
/// use adit_sdk::{NnError, NnErrorCode, Tensor, Tensors, testing};
///
/// testing::model("negate", |inputs| {
///     let x = inputs.get::<f32>("x")?;
///     if x.dims() != [2] {
///         return Err(NnError::new(NnErrorCode::InvalidArgument, "x has shape [2]"));
///     }
///     let y = x.data().iter().map(|value| -value).collect();
///     Ok(Tensors::new().with("y", Tensor::new(&[2], y)?))
/// });
/// ```
pub fn model(
    name: &str,
    compute: impl FnMut(&Tensors) -> std::result::Result<Tensors, NnError> + 'static,
) {
    let model = RegisteredModel(Rc::new(RefCell::new(compute)));
    HOST.with_borrow_mut(|host| host.models.insert(name.to_string(), model));
}

/// Sets what [`crate::args`] answers.
pub fn set_args<S: Into<String>>(args: impl IntoIterator<Item = S>) {
    let args = args.into_iter().map(Into::into).collect();
    HOST.with_borrow_mut(|host| host.args = args);
}

/// Takes the chunks that were emitted since the last call, for a test that calls a task directly.
pub fn take_emitted() -> Vec<Vec<u8>> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.emitted))
}

/// Takes the progress that was reported since the last call, likewise.
pub fn take_progress() -> Vec<Progress> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.progress))
}

#[derive(Default)]
struct Host {
    models: HashMap<String, RegisteredModel>,
    args: Vec<String>,
    emitted: Vec<Vec<u8>>,
    progress: Vec<Progress>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

type Compute = dyn FnMut(&Tensors) -> std::result::Result<Tensors, NnError>;

#[derive(Clone)]
pub(crate) struct RegisteredModel(Rc<RefCell<Compute>>);

impl RegisteredModel {
    pub(crate) fn call(&self, inputs: &Tensors) -> std::result::Result<Tensors, NnError> {
        match self.0.try_borrow_mut() {
            Ok(mut compute) => compute(inputs),
            Err(_) => panic!("a model registered with `testing::model` ran itself"),
        }
    }
}

pub(crate) fn registered_model(name: &str) -> Option<RegisteredModel> {
    HOST.with_borrow(|host| host.models.get(name).cloned())
}

pub(crate) fn current_args() -> Vec<String> {
    HOST.with_borrow(|host| host.args.clone())
}

pub(crate) fn record_progress(done: u64, total: u64, note: &str) {
    let note = note.to_string();
    let progress = Progress { done, total, note };
    HOST.with_borrow_mut(|host| host.progress.push(progress));
}

pub(crate) fn record_emit(chunk: &[u8]) {
    HOST.with_borrow_mut(|host| host.emitted.push(chunk.to_vec()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Model, Tensor};

    #[test]
    fn a_failed_run_keeps_what_it_emitted() {
        fn task(input: Vec<u8>) -> Result<()> {
            crate::emit(&input);
            crate::progress(1, 2, "half");
            Err(Error::new(16, "stopped"))
        }
        crate::emit(b"from before");
        let run = run(task, b"abc");
        assert_eq!(run.result, Err(Error::new(16, "stopped")));
        assert_eq!(run.output(), b"abc");
        let progress = Progress {
            done: 1,
            total: 2,
            note: "half".into(),
        };
        assert_eq!(run.progress, [progress]);
    }

    #[test]
    fn a_model_can_count_its_calls_and_be_replaced() {
        let mut calls = 0_i32;
        model("count", move |_| {
            calls += 1;
            Ok(Tensors::new().with("calls", Tensor::scalar(calls)))
        });
        let count = |model: &Model| {
            let outputs = model.run(&[]).unwrap();
            outputs.get::<i32>("calls").unwrap().data()[0]
        };
        let first = Model::named("count").unwrap();
        assert_eq!((count(&first), count(&first)), (1, 2));
        model("count", |_| {
            Ok(Tensors::new().with("calls", Tensor::scalar(-1_i32)))
        });
        assert_eq!(count(&Model::named("count").unwrap()), -1);
    }
}
