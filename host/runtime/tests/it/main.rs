//! Integration tests of the runtime, in one program: linking wasmtime once is long enough.

mod floats;
mod gpu;
mod hostile_worker;
mod inference;
mod interpreter;
mod libraries;
mod mutants;
mod onnxruntime;
mod outcomes;
mod sandbox;
mod support;
mod unharmed;
