//! Write Adit tasks in Rust.
//!
//! A task is a function from bytes to bytes that runs in a sandbox: no network, no files, no
//! clock but a virtual one. This is a whole task:
//!
//! ```
//! #[adit_sdk::task]
//! fn run(input: Vec<u8>) -> Result<Vec<u8>, adit_sdk::Error> {
//!     let text = String::from_utf8(input)?;
//!     Ok(text.to_uppercase().into_bytes())
//! }
//! # fn main() {
//! # assert_eq!(run(b"adit".to_vec()).unwrap(), b"ADIT");
//! # }
//! ```
//!
//! Its crate is a library with `crate-type = ["cdylib", "rlib"]`; `cargo build --release --target
//! wasm32-wasip2` makes the component. The function's types say what it wants:
//!
//! | type | as input | as output |
//! |---|---|---|
//! | `Vec<u8>` | the bytes | the bytes |
//! | `String` | the bytes, which must be UTF-8 | its UTF-8 |
//! | `Json<T>` (feature `json`) | the bytes, which must be JSON for `T` | compact JSON |
//! | `()` | - | nothing |
//!
//! The output may stand alone or be the `Ok` of a `Result`, whose error converts into [`Error`].
//! A panic is not a task error but a trap: return an error for whatever the input can cause.
//!
//! # Inference
//!
//! A task asks for its models by the names that the run gives them, and shapes are checked before
//! the host is called:
//!
//! ```
//! use adit_sdk::{Error, Model, Tensor};
//!
//! #[adit_sdk::task]
//! fn run(input: Vec<u8>) -> Result<String, Error> {
//!     let pixels = input.iter().map(|&byte| f32::from(byte) / 255.0).collect();
//!     let image = Tensor::<f32>::new(&[1, input.len()], pixels)?;
//!     let outputs = Model::named("brightness")?.run(&[("image", &image)])?;
//!     let mean = outputs.get::<f32>("mean")?;
//!     Ok(format!("{:?}", mean.data()))
//! }
//! # fn main() {
//! # adit_sdk::testing::model("brightness", |inputs| {
//! #     let image = inputs.get::<f32>("image")?;
//! #     let mean = image.data().iter().sum::<f32>() / image.data().len() as f32;
//! #     Ok(adit_sdk::Tensors::new().with("mean", Tensor::new(&[1], vec![mean])?))
//! # });
//! # assert_eq!(run(vec![255, 0]).unwrap(), "[0.5]");
//! # }
//! ```
//!
//! # Tests
//!
//! The task stays an ordinary function, and on any target but `wasm32` the module [`testing`]
//! stands in for the host. So plain `cargo test` covers a task's logic:
//!
//! ```
//! use adit_sdk::{Model, Tensor, Tensors, testing};
//!
//! fn longest(input: String) -> Result<String, adit_sdk::Error> {
//!     for (index, line) in input.lines().enumerate() {
//!         adit_sdk::progress(index as u64 + 1, 0, "reading");
//!         adit_sdk::emit(format!("{}\n", line.len()).as_bytes());
//!     }
//!     Ok("end".into())
//! }
//!
//! let run = testing::run(longest, "to be\nor not");
//! assert_eq!(run.result.as_deref(), Ok(&b"end"[..]));
//! assert_eq!(run.output(), b"5\n6\nend");
//! assert_eq!(run.progress.len(), 2);
//! ```

#![warn(missing_docs)]

// The attribute writes `::adit_sdk::...`; this makes that name valid in this crate too.
extern crate self as adit_sdk;

mod error;
mod host;
#[cfg(feature = "json")]
mod json;
mod nn;
mod sys;
mod task;
mod tensor;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use adit_sdk_macros::task;

pub use error::{Error, NnError, NnErrorCode, Result};
pub use host::{args, emit, progress};
#[cfg(feature = "json")]
pub use json::Json;
pub use nn::{Model, Session, Tensors};
pub use task::{TaskInput, TaskOutput, TaskReturn};
pub use tensor::{AsTensor, Bf16, DType, Element, F16, RawTensor, Tensor};

/// What the expansion of `#[task]` names. Not part of the interface.
#[doc(hidden)]
pub mod __rt {
    pub use std::result::Result;
    pub use std::vec::Vec;

    #[cfg(target_arch = "wasm32")]
    pub use crate::sys::bindings;
}

/// Exports an entry point as the task of the component. Not part of the interface.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_task {
    ($entry:ident) => {
        struct Component;

        impl $crate::__rt::bindings::Guest for Component {
            fn run(
                input: $crate::__rt::Vec<u8>,
            ) -> $crate::__rt::Result<$crate::__rt::Vec<u8>, $crate::__rt::bindings::TaskError>
            {
                $entry(input).map_err(|error| $crate::__rt::bindings::TaskError {
                    code: error.code,
                    message: error.message,
                })
            }
        }

        $crate::__rt::bindings::export!(Component with_types_in $crate::__rt::bindings);
    };
}
