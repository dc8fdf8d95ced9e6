//! A core module to a component, by the adapters for what WASI was before components.

use std::path::Path;

use adit_protocol::codes::Code;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::{AdapterModuleDidNotExport, ComponentEncoder};

use super::wasi_nn;
use crate::component::{self, Kind};
use crate::error::Failure;

/// Makes a component of a core module for WASI preview 1, or of one that is a component but for
/// its imports of `wasi_ephemeral_nn`. A component is returned as it is.
pub fn adapt(path: &Path, module: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    match component::kind(&module) {
        Kind::CoreModule => {}
        Kind::Component => return Ok(module),
        Kind::Other => {
            return Failure::new(Code::NotAComponent, format!("{shown} cannot be adapted"))
                .why("it is not WebAssembly")
                .hint("give a project folder or a .wasm file")
                .into_err();
        }
    }
    let needs = Needs::of(&module);
    // An adapter that nothing asks for is left out by the encoder, but not the newer version
    // numbers of the interfaces that it would have imported.
    let mut adapters = Vec::new();
    if needs.preview1 {
        // A program has a `_start`; a library keeps its state between calls and is initialised
        // once. The program's adapter is what makes `wasi:cli/run` of the `_start`.
        let adapter = match needs.is_program {
            true => WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
            false => WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        };
        adapters.push((WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter.to_vec()));
    }
    if needs.wasi_nn {
        adapters.push((wasi_nn::ADAPTER_NAME, wasi_nn::adapter()?));
    }
    encode(&module, &adapters).map_err(|error| {
        let is_unknown = error.downcast_ref::<AdapterModuleDidNotExport>().is_some();
        let hint = match is_unknown && needs.wasi_nn {
            true => format!(
                "of {} there are {}; of WASI preview 1 all functions",
                wasi_nn::ADAPTER_NAME,
                wasi_nn::FUNCTIONS
            ),
            false => "it must be a module for WASI preview 1 (wasm32-wasip1)".to_owned(),
        };
        Failure::new(
            Code::InvalidComponent,
            format!("{shown} cannot be made a component"),
        )
        .why(format!("{error:#}"))
        .hint(hint)
        .into()
    })
}

fn encode(module: &[u8], adapters: &[(&str, Vec<u8>)]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default().validate(true).module(module)?;
    for (name, adapter) in adapters {
        encoder = encoder.adapter(name, adapter)?;
    }
    encoder.encode()
}

/// What a core module needs to become a component.
#[derive(Default)]
struct Needs {
    /// It has the entry point of a program of WASI preview 1.
    is_program: bool,
    /// It has that entry point, or uses WASI preview 1.
    preview1: bool,
    /// It uses the wasi-nn of WASI preview 1.
    wasi_nn: bool,
}

impl Needs {
    /// Reads as far as the module can be read; what is wrong after that is for the encoder to say.
    fn of(module: &[u8]) -> Needs {
        let mut needs = Needs::default();
        for payload in Parser::new(0).parse_all(module).map_while(Result::ok) {
            match payload {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports().flatten() {
                        needs.preview1 |= import.module == WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
                        needs.wasi_nn |= import.module == wasi_nn::ADAPTER_NAME;
                    }
                }
                Payload::ExportSection(exports) => {
                    let mut exports = exports.into_iter().flatten();
                    needs.is_program |= exports.any(|export| export.name == "_start");
                }
                _ => {}
            }
        }
        needs.preview1 |= needs.is_program;
        needs
    }
}
