//! Whether a file is a component that this runtime can run, and its compilation.
//!
//! All of it is decided before a run: valid wasm, a component, only known imports, an entry point
//! of the right type. What is refused here has status 5 (invalid-component) everywhere, because
//! every rule follows from the engine document.

use minicbor::{Decode, Encode};
use wasmparser::Parser;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex};

use crate::bindings::TaskError;
use crate::executor::Entry;
use crate::wasi::denied::DENIED_PREFIXES;

/// Largest component file, in bytes.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// Interfaces that a component may import, without version. Those of WASI match any 0.2 release.
const KNOWN_IMPORTS: [&str; 24] = [
    "adit:task/host",
    "adit:task/types",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:nn/errors",
    "wasi:nn/graph",
    "wasi:nn/inference",
    "wasi:nn/tensor",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Why a component is not admitted. Messages say what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum Refusal {
    /// The file is not WebAssembly at all.
    #[error(
        "the file is not WebAssembly: it does not start with the bytes 00 61 73 6d; hint: give the .wasm file that `adit build` or `cargo build --target wasm32-wasip2` makes"
    )]
    #[n(0)]
    NotWasm,
    /// The file is a core module.
    #[error(
        "the file is a core WebAssembly module, and tasks are components; hint: build it with `--target wasm32-wasip2`, or turn a preview-1 module into a component with `adit build MODULE.wasm -o COMPONENT.wasm`"
    )]
    #[n(1)]
    CoreModule,
    /// The file is too large.
    #[error(
        "the component has {bytes} bytes, more than the {COMPONENT_BYTES_MAX} that are accepted; hint: strip debug information, and keep data in the input or in models"
    )]
    #[n(2)]
    TooLarge {
        /// Its size in bytes.
        #[n(0)]
        bytes: u64,
    },
    /// An import that no task gets.
    #[error(
        "the component imports `{name}`, which tasks do not get; hint: a task may import adit:task/host, wasi:nn (0.2.0-rc-2024-10-28) and WASI 0.2 without http"
    )]
    #[n(3)]
    UnknownImport {
        /// The import's full name.
        #[n(0)]
        name: String,
    },
    /// No entry point.
    #[error(
        "the component exports neither `run` of the world adit:task/task nor `wasi:cli/run`; hint: use #[adit_sdk::task] in a cdylib, or write a program with a main function"
    )]
    #[n(4)]
    MissingExport,
    /// Invalid for any other reason.
    #[error("the component is invalid: {0}; hint: rebuild it with a current toolchain")]
    #[n(5)]
    Invalid(#[n(0)] String),
    /// The entry point of the world that the spec names is missing; there is that of another one.
    #[error(
        "the component exports no entry point of the world `{world}`, and one of another; hint: submit it as what it is: a library's function is of `task`, a program of `command`"
    )]
    #[n(6)]
    OtherWorld {
        /// The world of the spec.
        #[n(0)]
        world: String,
    },
}

/// Compile a component to native code for [`crate::executor::Executor::prepare`], which makes the
/// other checks: they need types that only a loaded component has.
///
/// Compiling hostile input can take arbitrary time and memory: call this in a process of its own
/// that has limits on both ([`crate::worker`] does).
///
/// # Errors
///
/// [`Refusal`].
pub fn compile(compiler: &Engine, wasm: &[u8]) -> Result<Vec<u8>, Refusal> {
    if wasm.len() as u64 > COMPONENT_BYTES_MAX {
        return Err(Refusal::TooLarge {
            bytes: wasm.len() as u64,
        });
    }
    if !wasm.starts_with(b"\0asm") {
        return Err(Refusal::NotWasm);
    }
    if Parser::is_core_wasm(wasm) {
        return Err(Refusal::CoreModule);
    }
    compiler
        .precompile_component(wasm)
        .map_err(|e| Refusal::Invalid(format!("{e:#}")))
}

/// Refuse imports that are neither implemented nor answered with a denial. wasmtime would refuse
/// them as well when linking; here the message can say what is allowed.
pub(crate) fn check_imports(engine: &Engine, component: &Component) -> Result<(), Refusal> {
    for (name, _) in component.component_type().imports(engine) {
        let (interface, version) = name.split_once('@').unwrap_or((name, ""));
        let known = KNOWN_IMPORTS.contains(&interface);
        let denied = DENIED_PREFIXES.iter().any(|p| name.starts_with(p));
        let release = match interface.split_once(':') {
            Some(("adit", _)) => version == "0.1.0",
            Some(("wasi", rest)) if rest.starts_with("nn/") => {
                version == crate::nn::host::WASI_NN_VERSION
            }
            _ => version.starts_with("0.2."),
        };
        if !(known || denied) || !release {
            return Err(Refusal::UnknownImport {
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

/// Find the entry points and check their types.
pub(crate) fn entry(engine: &Engine, component: &Component) -> Result<Entry, Refusal> {
    let mut entry = Entry {
        task: None,
        command: None,
    };
    let ty = component.component_type();
    for (name, export) in ty.exports(engine) {
        match export.ty {
            ComponentItem::ComponentFunc(func) if name == "run" => {
                func.typecheck::<(&[u8],), (Result<Vec<u8>, TaskError>,)>(&ty.instance_type())
                    .map_err(|e| {
                        Refusal::Invalid(format!(
                            "its export `run` is not that of the world adit:task/task: {e:#}"
                        ))
                    })?;
                entry.task = index(component, None, "run");
            }
            ComponentItem::ComponentInstance(interface)
                if name.starts_with("wasi:cli/run@0.2.") =>
            {
                let run = interface.exports(engine).find(|(item, _)| *item == "run");
                let Some(ComponentItem::ComponentFunc(func)) = run.map(|(_, item)| item.ty) else {
                    continue;
                };
                func.typecheck::<(), (Result<(), ()>,)>(&ty.instance_type())
                    .map_err(|e| {
                        Refusal::Invalid(format!(
                            "`run` of its export `{name}` has another type than in WASI: {e:#}"
                        ))
                    })?;
                let instance = index(component, None, name);
                entry.command = index(component, instance.as_ref(), "run");
            }
            _ => {}
        }
    }
    if entry.task.is_none() && entry.command.is_none() {
        return Err(Refusal::MissingExport);
    }
    Ok(entry)
}

fn index(
    component: &Component,
    instance: Option<&ComponentExportIndex>,
    name: &str,
) -> Option<ComponentExportIndex> {
    component.get_export_index(instance, name)
}
