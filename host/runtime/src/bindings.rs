//! Types generated from the WIT of everything a guest may import.
//!
//! The generated enums, records and variants keep the host aligned with `wit/`. The functions are
//! linked by hand, with `func_wrap`, because the generated glue hands a host function only its
//! data, while every host call here has to charge fuel, which lives in the store.

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package adit:host-bindings;
        world imports {
            import adit:task/types@0.1.0;
            import adit:task/host@0.1.0;
            import wasi:nn/tensor@0.2.0-rc-2024-10-28;
            import wasi:nn/graph@0.2.0-rc-2024-10-28;
            import wasi:nn/inference@0.2.0-rc-2024-10-28;
            import wasi:nn/errors@0.2.0-rc-2024-10-28;
            import wasi:io/error@0.2.12;
            import wasi:io/poll@0.2.12;
            import wasi:io/streams@0.2.12;
            import wasi:clocks/wall-clock@0.2.12;
        }
    ",
    imports: { default: trappable },
    with: {
        "wasi:nn/tensor.tensor": crate::nn::host::HostTensor,
        "wasi:nn/graph.graph": crate::nn::host::HostGraph,
        "wasi:nn/inference.graph-execution-context": crate::nn::host::HostContext,
        "wasi:nn/errors.error": crate::nn::host::HostError,
        "wasi:io/error.error": crate::wasi::streams::IoError,
        "wasi:io/poll.pollable": crate::wasi::poll::Pollable,
        "wasi:io/streams.input-stream": crate::wasi::streams::InputStream,
        "wasi:io/streams.output-stream": crate::wasi::streams::OutputStream,
    },
});

pub use adit::task::types::TaskError;
pub use wasi::clocks::wall_clock::Datetime;
pub use wasi::io::streams::StreamError;
pub use wasi::nn::errors::ErrorCode;
pub use wasi::nn::graph::{ExecutionTarget, GraphEncoding};
pub use wasi::nn::tensor::TensorType;
