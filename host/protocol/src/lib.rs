//! Formats and rules of Adit: what is hashed, signed, recorded and checked, to the byte.
//!
//! Everything here is a pure function of its arguments. There is no I/O, no clock and no
//! randomness of the operating system (a caller passes a generator in), so the crate builds for
//! `wasm32-unknown-unknown` and gives the same answers in a browser as on a server.
//!
//! | module | subject |
//! |---|---|
//! | [`hash`] | BLAKE3 hashes, written `blake3:<hex>`, and salted commitments |
//! | [`amount`] | amounts of tokens |
//! | [`cbor`] | the [`Document`] trait: deterministic CBOR, decoded strictly; tables of all keys |
//! | [`engine`], [`exec`], [`task`] | what determines a result, and the order for one |
//! | [`manifest`], [`tolerance`], [`tensor`] | models and tensors, and when two results agree |
//! | [`onnx`] | the default manifest of a bare ONNX file, and a bounded survey of one |
//! | [`environment`], [`transcript`], [`opening`] | where inference ran and what it answered |
//! | [`hardware`], [`device_report`] | what a node claims of its devices, and what was measured of a model on one |
//! | [`status`], [`receipt`] | the outcome of a run and its signed 520-byte record |
//! | [`keys`] | sr25519 keys, addresses, phrases, keystore files |
//! | [`signed`], [`network`] | documents that nodes sign; members, draws, leases, what is in a log and on the wire
//! | [`log`] | the transparency log: Merkle tree, proofs, tiles, checkpoints, witnesses |
//! | [`codes`] | the typed error codes that go over a wire or to a person |
//!
//! All input is taken to be hostile: decoders return typed errors, bound every length before
//! they allocate, and never panic.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod amount;
pub mod cbor;
pub mod codes;
pub mod device_report;
pub mod engine;
pub mod environment;
pub mod exec;
pub mod hardware;
pub mod hash;
pub mod hex;
mod json;
pub mod keys;
pub mod log;
pub mod manifest;
pub mod network;
pub mod onnx;
pub mod opening;
pub mod receipt;
pub mod signed;
pub mod status;
pub mod task;
pub mod tensor;
pub mod tolerance;
pub mod transcript;

pub use amount::Amount;
pub use cbor::{DecodeError, Document, SortedMap};
pub use codes::Code;
pub use hash::{Hash, Hasher};
/// The generation of `rand_core` whose traits the signing functions take.
pub use rand_core;
pub use status::Status;
