//! Inference: models, tensors, backends and the threads that they run on.
//!
//! ```text
//!   guest --wasi:nn--> host functions     what the guest sees comes from the model's manifest
//!                          |
//!                     [cache::ModelCache]  one loaded copy per manifest hash, shared by all slots
//!                          |
//!                     [pool::InferencePool] threads of their own: the only ones that run a backend
//!                          |
//!                     [backend::Backend]   the trait; `rten` is the embedded one
//! ```
//!
//! - [`host`]: the import functions of `wasi:nn`, and what a guest sees of models and errors.
//! - [`tensor`]: element type, dimensions and bytes; shared, never copied on the way.
//! - [`backend`]: the traits that a backend implements, its self-description for the environment
//!   document of a receipt, and its errors.
//! - [`rten`]: the default backend (pure Rust, CPU), and [`convert`], where values change between
//!   the manifest's element types and the four that rten has.
//! - [`onnxruntime`]: GPUs and processors, by way of a library that the user installs.
//! - [`cache`] and [`pool`]: sharing of loaded models, and threads.
//!
//! # Why other threads
//!
//! Inference libraries may switch a thread's floating-point unit to flush denormals to zero, which
//! would change the results of Wasm code that runs on the same thread later. So no backend code
//! runs on a thread that runs Wasm: not even loading a model.
//!
//! # What a backend may not do
//!
//! Choose another device than it was made for, change an element type silently, or read a file:
//! it gets bytes. A panic inside it becomes an error. What it cannot do is bound its memory or be
//! interrupted: the worker process is ended from outside for that.

pub mod backend;
pub mod cache;
pub mod convert;
pub mod host;
pub mod onnxruntime;
pub mod pool;
pub mod rten;
pub mod tensor;
mod vet;
