//! Every decoder of the project that outside bytes reach, with what must hold of its answers.
//!
//! Each function takes any bytes at all and panics if one of its promises is broken. The binaries
//! in `host/fuzz/fuzz_targets` hand them to libFuzzer; this crate's test hands them whatever the
//! fuzzers found before (`host/fuzz/corpus`) and the vectors of `conformance/vectors`.
//!
//! | function | bytes are read as |
//! |---|---|
//! | [`documents`] | every CBOR document |
//! | [`documents_built`] | a recipe for a valid document, and a change of its encoding |
//! | [`hardware_signed`] | a recipe for a signed hardware record, and a change of it |
//! | [`receipt`], [`receipt_altered`] | receipts; a recipe for a signed one, and a change of it |
//! | [`chain`] | two lists of tensors for a transcript's hash chain |
//! | [`tensor`], [`tolerance`], [`model_inputs`] | a tensor blob; two tensors; a call of a model |
//! | [`names`] | a hash, an error code, a status, a class of hardware |
//! | [`address`], [`phrase`], [`uri`], [`keystore`] | the forms of keys |
//! | [`log_path`], [`log_bundle`], [`log_note`], [`log_request`] | the log's files, its signed texts, requests to witnesses |
//! | [`log_signed`], [`log_proof`] | recipes for a signed checkpoint and for proofs, and changes of them |
//! | [`network_documents`], [`network_messages`], [`log_entry`] | every document of a network, message between nodes, entry of a log |
//! | [`standing`] | a recipe for a coordinator's log, which is audited as it grows |
//! | [`transaction`], [`registry_entry`] | a ledger's transaction, an entry of its log |
//! | [`settlement_input`], [`settlement_output`] | the rows of a settlement |
//! | [`onnx`], [`onnx_built`] | an ONNX file; a recipe for one, and a change of it |
//! | [`archive`], [`recording`] | what the examples read: a tar archive, a WAV file |
//!
//! Worker messages and compiled code need wasmtime, and are tested in `host/runtime`.

mod built;
mod documents;
mod examples;
mod keys;
mod log;
mod network;
mod onnx;
mod receipts;
mod registry;
mod standing;
mod tensors;

pub use documents::{documents, documents_built, hardware_signed};
pub use examples::{archive, recording};
pub use keys::{address, keystore, names, phrase, uri};
pub use log::{log_bundle, log_note, log_path, log_proof, log_request, log_signed};
pub use network::{log_entry, network_documents, network_messages};
pub use onnx::{onnx, onnx_built};
pub use receipts::{chain, receipt, receipt_altered};
pub use registry::{registry_entry, settlement_input, settlement_output, transaction};
pub use standing::standing;
pub use tensors::{model_inputs, tensor, tolerance};

/// A function that is fuzzed.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", address),
    ("archive", archive),
    ("chain", chain),
    ("documents", documents),
    ("documents_built", documents_built),
    ("hardware_signed", hardware_signed),
    ("keystore", keystore),
    ("log_bundle", log_bundle),
    ("log_entry", log_entry),
    ("log_note", log_note),
    ("log_path", log_path),
    ("log_proof", log_proof),
    ("log_request", log_request),
    ("log_signed", log_signed),
    ("model_inputs", model_inputs),
    ("names", names),
    ("network_documents", network_documents),
    ("network_messages", network_messages),
    ("onnx", onnx),
    ("onnx_built", onnx_built),
    ("phrase", phrase),
    ("receipt", receipt),
    ("receipt_altered", receipt_altered),
    ("recording", recording),
    ("registry_entry", registry_entry),
    ("settlement_input", settlement_input),
    ("settlement_output", settlement_output),
    ("standing", standing),
    ("tensor", tensor),
    ("tolerance", tolerance),
    ("transaction", transaction),
    ("uri", uri),
];
