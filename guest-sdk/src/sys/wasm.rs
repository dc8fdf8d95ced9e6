//! The host's functions as a component imports them.

use bindings::adit::task::host;
use bindings::wasi::nn::{errors, graph, inference, tensor};

use crate::{DType, NnError, NnErrorCode, RawTensor};

/// What `wit-bindgen` makes of the world `adit:task/task`.
#[allow(missing_docs, clippy::all, clippy::undocumented_unsafe_blocks)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "adit:task/task",
        generate_all,
        // The crate of the task, which has no dependency on wit-bindgen, invokes `export!`.
        pub_export_macro: true,
        runtime_path: "::adit_sdk::__rt::bindings::wit_bindgen_rt",
        default_bindings_module: "::adit_sdk::__rt::bindings",
    });

    #[doc(hidden)]
    pub use wit_bindgen::rt as wit_bindgen_rt;
}

pub(crate) fn progress(done: u64, total: u64, note: &str) {
    host::progress(done, total, note);
}

pub(crate) fn emit(chunk: &[u8]) {
    host::emit(chunk);
}

pub(crate) fn args() -> Vec<String> {
    // The standard library panics on an argument that is not Unicode; WASI has no such arguments.
    std::env::args().skip(1).collect()
}

pub(crate) struct Graph(graph::Graph);

impl Graph {
    pub(crate) fn load_by_name(name: &str) -> Result<Self, NnError> {
        graph::load_by_name(name).map(Self).map_err(nn_error)
    }

    pub(crate) fn init_execution_context(&self) -> Result<Context, NnError> {
        self.0
            .init_execution_context()
            .map(Context)
            .map_err(nn_error)
    }
}

pub(crate) struct Context(inference::GraphExecutionContext);

impl Context {
    pub(crate) fn compute(
        &self,
        inputs: Vec<(String, RawTensor)>,
    ) -> Result<Vec<(String, HostTensor)>, NnError> {
        let inputs = inputs
            .into_iter()
            .map(|(name, raw)| {
                let tensor = tensor::Tensor::new(raw.dims(), tensor_type(raw.dtype()), raw.bytes());
                (name, tensor)
            })
            .collect();
        let outputs = self.0.compute(inputs).map_err(nn_error)?;
        Ok(outputs
            .into_iter()
            .map(|(name, tensor)| (name, HostTensor(tensor)))
            .collect())
    }
}

/// A tensor that lies with the host until its data is asked for.
pub(crate) struct HostTensor(tensor::Tensor);

impl HostTensor {
    pub(crate) fn to_raw(&self) -> Result<RawTensor, NnError> {
        let dims: Vec<usize> = self
            .0
            .dimensions()
            .into_iter()
            .map(|dim| dim as usize)
            .collect();
        RawTensor::new(&dims, dtype(self.0.ty()), self.0.data())
    }
}

fn tensor_type(dtype: DType) -> tensor::TensorType {
    match dtype {
        DType::F16 => tensor::TensorType::Fp16,
        DType::F32 => tensor::TensorType::Fp32,
        DType::F64 => tensor::TensorType::Fp64,
        DType::Bf16 => tensor::TensorType::Bf16,
        DType::U8 => tensor::TensorType::U8,
        DType::I32 => tensor::TensorType::I32,
        DType::I64 => tensor::TensorType::I64,
    }
}

fn dtype(ty: tensor::TensorType) -> DType {
    match ty {
        tensor::TensorType::Fp16 => DType::F16,
        tensor::TensorType::Fp32 => DType::F32,
        tensor::TensorType::Fp64 => DType::F64,
        tensor::TensorType::Bf16 => DType::Bf16,
        tensor::TensorType::U8 => DType::U8,
        tensor::TensorType::I32 => DType::I32,
        tensor::TensorType::I64 => DType::I64,
    }
}

fn nn_error(error: errors::Error) -> NnError {
    let code = match error.code() {
        errors::ErrorCode::InvalidArgument => NnErrorCode::InvalidArgument,
        errors::ErrorCode::InvalidEncoding => NnErrorCode::InvalidEncoding,
        errors::ErrorCode::Timeout => NnErrorCode::Timeout,
        errors::ErrorCode::RuntimeError => NnErrorCode::RuntimeError,
        errors::ErrorCode::UnsupportedOperation => NnErrorCode::UnsupportedOperation,
        errors::ErrorCode::TooLarge => NnErrorCode::TooLarge,
        errors::ErrorCode::NotFound => NnErrorCode::NotFound,
        errors::ErrorCode::Security => NnErrorCode::Security,
        errors::ErrorCode::Unknown => NnErrorCode::Unknown,
    };
    NnError::new(code, error.data())
}
