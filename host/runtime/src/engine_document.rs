//! The engine document: every rule a guest can observe, in one hashable place.
//!
//! The numbers come from the constants that the code itself uses, so that changing behaviour
//! changes the engine id. Sentences describe the rest; whoever changes such a rule changes its
//! sentence.

use adit_protocol::engine::EngineDocument;

use crate::admission::COMPONENT_BYTES_MAX;
use crate::engine::{
    CORE_INSTANCES_PER_COMPONENT, FEATURES_ON, INSTANCE_METADATA_BYTES, MEMORIES_PER_COMPONENT,
    MEMORIES_PER_MODULE, MEMORY_CAP, MEMORY_GROW_FUEL_PER_PAGE, TABLE_ELEMENTS_CAP,
    TABLES_PER_COMPONENT, TABLES_PER_MODULE, WASM_STACK_BYTES, WASMTIME_VERSION,
};
use crate::executor::{GUEST_HANDLES_MAX, HOSTCALL_BYTES};
use crate::meter::TABLE_ELEMENT_BYTES;
use crate::nn::host::{LOAD_PARTS_RECORDED, UNKNOWN_NAME_BYTES, WASI_NN_VERSION};
use crate::record::{CALL_BYTES, CALLS_MAX, TENSOR_REF_BYTES, TRANSCRIPT_BYTES_MAX};
use crate::state::{HOST_BYTE_FUEL, HOST_CALL_FUEL, NESTED_LIST_BYTES};
use crate::wasi::WASI_VERSION;
use crate::wasi::cli::{PROGRAM_NAME, PROGRESS_NOTE_BYTES};
use crate::wasi::clocks::CLOCK_STEP_NS;
use crate::wasi::random::{RANDOM_BYTES_PER_CALL, RANDOM_CONTEXT};
use crate::wasi::streams::{STDIN_CHUNK_BYTES, WRITE_PERMIT_BYTES};

/// The document of this build. Its hash is the engine id.
pub fn engine_document() -> EngineDocument {
    let operator_cost = [
        // Every other operator costs wasmtime's default: 0 for nop, drop, block, loop,
        // unreachable, return, else and end, 1 for all others, and 1 for each byte or element
        // that a bulk operator moves.
        ("memory.grow per page", u64::from(MEMORY_GROW_FUEL_PER_PAGE)),
        ("host call", HOST_CALL_FUEL),
        ("host call per byte", HOST_BYTE_FUEL),
        (
            "host call per list or string in a list",
            HOST_BYTE_FUEL * NESTED_LIST_BYTES,
        ),
    ];
    let limits = [
        ("component bytes", COMPONENT_BYTES_MAX),
        ("memory bytes of one memory", MEMORY_CAP as u64),
        ("memories per component", u64::from(MEMORIES_PER_COMPONENT)),
        ("table elements of one table", TABLE_ELEMENTS_CAP as u64),
        ("table element bytes", TABLE_ELEMENT_BYTES),
        ("tables per component", u64::from(TABLES_PER_COMPONENT)),
        ("memories per module", u64::from(MEMORIES_PER_MODULE)),
        ("tables per module", u64::from(TABLES_PER_MODULE)),
        (
            "core instances per component",
            u64::from(CORE_INSTANCES_PER_COMPONENT),
        ),
        ("instance metadata bytes", INSTANCE_METADATA_BYTES as u64),
        ("wasm stack bytes", WASM_STACK_BYTES as u64),
        ("guest-defined handles", GUEST_HANDLES_MAX),
        ("hostcall bytes at least", HOSTCALL_BYTES.0),
        ("hostcall bytes at most", HOSTCALL_BYTES.1),
        ("progress note bytes", PROGRESS_NOTE_BYTES as u64),
        ("random bytes per call", RANDOM_BYTES_PER_CALL),
        ("stdin bytes per read", STDIN_CHUNK_BYTES),
        ("check-write permit bytes", WRITE_PERMIT_BYTES),
        ("clock step nanoseconds", CLOCK_STEP_NS),
        ("wasi-nn calls", CALLS_MAX),
        ("transcript bytes", TRANSCRIPT_BYTES_MAX),
        ("transcript bytes counted per call", CALL_BYTES),
        (
            "transcript bytes counted per tensor and name",
            TENSOR_REF_BYTES,
        ),
        ("load parts recorded", LOAD_PARTS_RECORDED as u64),
        ("unknown name bytes recorded", UNKNOWN_NAME_BYTES as u64),
    ];
    let rules = [
        ("wasi", format!("release {WASI_VERSION}, matched by any 0.2 release; http is not provided")),
        ("wasi-nn", format!("package version {WASI_NN_VERSION}")),
        ("cpu", "the host's own triple with a fixed baseline; on x86-64 SSE4.2 and POPCNT; NaNs are canonical; subnormals are kept".into()),
        ("clock", "virtual; monotonic starts at 0, wall at the spec's start; each read of either, and each pollable.ready, first advances both by one step; the resolution is one step".into()),
        ("sleep", "when nothing that the guest waits for is ready, time jumps to the earliest deadline among it; nothing else waits".into()),
        ("poll", "streams are always ready; a timer is ready when time has reached it; indices come back ascending; an empty list traps".into()),
        ("random", format!("one stream for all functions, drawn in call order: BLAKE3 derive_key(\"{RANDOM_CONTEXT}\", seed), extended output; integers little-endian; insecure-seed draws 16 bytes")),
        ("stdin", "a command reads the input; a task reads nothing; each read returns at most the chunk; after the last byte the stream is closed".into()),
        ("stdout", "of a command it is the output; of a task it is joined to the log".into()),
        ("stderr", "joined to the log, which is not part of the result".into()),
        ("write", "a write over the permit traps; a write over a limit of the spec is refused whole and ends the run".into()),
        ("output", "accepted emits in order, then the result; of a command, stdout".into()),
        ("arguments", format!("`{PROGRAM_NAME}`, then those of the spec; no environment, no working directory, no terminal")),
        ("exit", "code 0 of a command is ok; any other code, and any exit of a task, is task-error".into()),
        ("filesystem", "no preopened directories; every function that returns an error code returns `access`".into()),
        ("sockets", "every function that returns an error code returns `access-denied`".into()),
        ("memory", "peak memory = all linear memories as asked for + table elements; growth over the limit returns -1; a component that cannot start within it is limit-exceeded".into()),
        ("handles", "host resources over the spec's handles end the run as limit-exceeded; more handles of the guest's own resources, and of host resources lent in one call, trap".into()),
        ("hostcall", "one call moves at most max(output, emit, tensor held, model bytes) of the spec's limits, clamped to the bounds above, else limit-exceeded".into()),
        ("fuel", "a trap costs the whole limit; a host call is charged before its effect, except for the bytes it returns".into()),
        ("nn", "names, order, types and dimensions from the manifest; [1] stands for rank 0; error.data is the code's name; what the manifest refuses is invalid-argument at compute; a failing backend is a host fault".into()),
        ("nn inputs", "an input is found by its name, else by its position in the manifest as a decimal number from 0 without sign or leading zeros; one input under two names is invalid-argument; the transcript has the manifest's name".into()),
        ("nn load", "ONNX in one part for the CPU; the manifest is derived from the file; other encodings are invalid-encoding, other targets unsupported-operation".into()),
    ];
    EngineDocument {
        runtime: format!("adit-runtime {}", env!("CARGO_PKG_VERSION")),
        wasmtime: WASMTIME_VERSION.to_owned(),
        wasm_features: FEATURES_ON.iter().map(|(n, _)| (*n).to_owned()).collect(),
        operator_cost: operator_cost
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect(),
        limits: limits.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        rules: rules.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use adit_protocol::cbor::Document as _;

    use super::*;

    /// The engine id is part of what others compare with. When this fails, a guest-visible rule
    /// has changed: make sure that it was meant, then pin the new id here.
    const ENGINE_ID: &str =
        "blake3:d202fba75458f2b6b2609195ad87bdfde8a256f64a58ddd8d5dabe22619d6644";

    #[test]
    fn the_engine_id_changes_only_on_purpose() {
        assert_eq!(engine_document().hash().to_string(), ENGINE_ID);
    }

    #[test]
    fn the_document_is_a_valid_one() {
        let document = engine_document();
        let bytes = document.to_cbor();
        assert_eq!(EngineDocument::from_cbor(&bytes).unwrap(), document);
    }
}
