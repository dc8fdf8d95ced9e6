//! WASI 0.2 as a task sees it: deterministic, and empty where the world outside would show.
//!
//! Every rule a guest can observe is a constant of these modules and stands in the engine
//! document. Nothing here reads a clock, a random source, a file or a socket of the host.

use wasmtime::component::Linker;

use crate::state::State;

pub mod cli;
pub mod clocks;
pub mod denied;
pub mod poll;
pub mod random;
pub mod streams;

/// The release of WASI 0.2 that the linker names. wasmtime matches any 0.2 release that a guest
/// was built against with it.
pub const WASI_VERSION: &str = "0.2.12";

/// Define every WASI interface whose functions have a fixed implementation.
///
/// # Errors
///
/// Only when a name is defined twice, which is a mistake in this crate.
pub fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    poll::link(linker)?;
    streams::link(linker)?;
    clocks::link(linker)?;
    random::link(linker)?;
    cli::link(linker)
}

/// The full name of a WASI interface, as in `wasi:io/poll@0.2.12`.
fn interface(name: &str) -> String {
    format!("wasi:{name}@{WASI_VERSION}")
}
