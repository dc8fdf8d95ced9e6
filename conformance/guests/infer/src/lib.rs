//! A task that uses `wasi:nn` by the rules and against them, for the tests of the runtime.
//!
//! It is written against the WIT alone, without the SDK, which would not let it do most of this.
//! The first line of the input says what to do; `list` gives the names of all behaviours, one a
//! line: a test demands a case for each.

#[cfg(target_family = "wasm")]
mod guest;
