//! Integration tests of the runtime, in one program: linking wasmtime once is long enough.

mod inference;
mod outcomes;
mod sandbox;
mod support;
