//! `wasi:filesystem` and `wasi:sockets`: present, because standard libraries import them, and
//! empty. There are no preopened directories; every socket operation is refused.
//!
//! Their functions are made from the component's own import types: whatever can return an error
//! code returns the code for "access denied".

use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Linker, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{Engine, StoreContextMut};

use super::poll::Pollable;
use super::streams::{InputStream, IoError, OutputStream};
use crate::state::{State, charge};

/// Prefixes of the interfaces that are answered here.
pub const DENIED_PREFIXES: [&str; 2] = ["wasi:filesystem/", "wasi:sockets/"];

/// A resource of a denied interface. Only `instance-network` ever hands one out, and nothing can
/// be done with it.
pub struct Denied;

/// Define those of `component`'s imports that are denied interfaces.
///
/// # Errors
///
/// Only when wasmtime refuses a definition, which a valid component cannot cause.
pub fn link(
    linker: &mut Linker<State>,
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        if !DENIED_PREFIXES.iter().any(|p| name.starts_with(p)) {
            continue;
        }
        let ComponentItem::ComponentInstance(interface) = import.ty else {
            continue;
        };
        let mut instance = linker.instance(name)?;
        for (item_name, item) in interface.exports(engine) {
            match item.ty {
                ComponentItem::Resource(_) => {
                    instance.resource(item_name, resource_type(item_name), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => {
                    let gives_network = item_name == "instance-network";
                    instance.func_new(item_name, move |mut store, ty, args, results| {
                        for arg in args {
                            give_back(&mut store, arg)?;
                        }
                        refuse(store, &ty, results, gives_network)
                    })?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A denied interface may mention streams, which are real, beside resources of its own.
fn resource_type(name: &str) -> ResourceType {
    match name {
        "input-stream" => ResourceType::host::<InputStream>(),
        "output-stream" => ResourceType::host::<OutputStream>(),
        "pollable" => ResourceType::host::<Pollable>(),
        "error" => ResourceType::host::<IoError>(),
        _ => ResourceType::host::<Denied>(),
    }
}

/// Drop the handles that a guest passed: one that was lent and is not given back would end the
/// guest in a trap when the call returns.
fn give_back(store: &mut StoreContextMut<'_, State>, arg: &Val) -> wasmtime::Result<()> {
    match arg {
        Val::Resource(handle) => handle.resource_drop(&mut *store),
        Val::Option(Some(inner)) => give_back(store, inner),
        Val::List(items) | Val::Tuple(items) => {
            items.iter().try_for_each(|item| give_back(store, item))
        }
        // Nothing else in the denied interfaces holds handles.
        _ => Ok(()),
    }
}

fn refuse(
    mut store: StoreContextMut<'_, State>,
    ty: &ComponentFunc,
    results: &mut [Val],
    gives_network: bool,
) -> wasmtime::Result<()> {
    charge(&mut store, 0)?;
    for (slot, ty) in results.iter_mut().zip(ty.results()) {
        *slot = match ty {
            Type::Own(_) if gives_network => Val::Resource(ResourceAny::try_from_resource(
                Resource::<Denied>::new_own(0),
                &mut store,
            )?),
            Type::List(_) => Val::List(Vec::new()),
            Type::Option(_) => Val::Option(None),
            Type::Bool => Val::Bool(false),
            Type::Result(result) => match result.err().as_ref().and_then(denied_code) {
                Some(code) => Val::Result(Err(Some(Box::new(Val::Enum(code))))),
                None => return Err(unavailable()),
            },
            _ => return Err(unavailable()),
        };
    }
    Ok(())
}

/// The case of an error-code enum that says "denied": `access-denied` in `wasi:sockets`,
/// `access` in `wasi:filesystem`.
fn denied_code(ty: &Type) -> Option<String> {
    let Type::Enum(codes) = ty else { return None };
    codes
        .names()
        .find(|name| matches!(*name, "access-denied" | "access"))
        .map(str::to_owned)
}

fn unavailable() -> wasmtime::Error {
    wasmtime::Error::msg("a task has no file system and no network")
}
