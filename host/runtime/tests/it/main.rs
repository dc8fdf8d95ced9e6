//! Integration tests of the runtime, in one program: linking wasmtime once is long enough.

mod inference;
mod interpreter;
mod outcomes;
mod sandbox;
mod support;
