//! Integration tests of the runtime, in one program: linking wasmtime once is long enough.

mod outcomes;
mod sandbox;
mod support;
