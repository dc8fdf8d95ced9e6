//! The host's functions: the real ones in a component, those of `testing` anywhere else. Both
//! files offer the same items, so the rest of the crate is the same code on every target.

#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(target_arch = "wasm32")]
mod wasm;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{Context, Graph, HostTensor, args, emit, progress};
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm::{Context, Graph, HostTensor, args, emit, progress};

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use wasm::bindings;
