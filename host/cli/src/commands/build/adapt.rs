//! A core module for WASI preview 1 to a component.

use std::path::Path;

use adit_protocol::codes::Code;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

use crate::component::{self, Kind};
use crate::error::Failure;

/// Makes a component of a core module for WASI preview 1.
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
    let failed = |error: anyhow::Error| {
        Failure::new(
            Code::InvalidComponent,
            format!("{shown} cannot be made a component"),
        )
        .why(format!("{error:#}"))
        .hint("it must be a module for WASI preview 1 (wasm32-wasip1)")
    };
    // A program has a `_start`; a library keeps its state between calls and is initialised once.
    let adapter = match is_program(&module) {
        true => WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
        false => WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
    };
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(failed)?;
    Ok(component)
}

fn is_program(module: &[u8]) -> bool {
    wasmparser::Parser::new(0)
        .parse_all(module)
        .map_while(Result::ok)
        .filter_map(|payload| match payload {
            wasmparser::Payload::ExportSection(exports) => Some(exports),
            _ => None,
        })
        .flatten()
        .flatten()
        .any(|export| export.name == "_start")
}
