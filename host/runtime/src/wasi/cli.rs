//! `wasi:cli`: arguments from the spec, no environment, no terminal; and `adit:task/host`.

use adit_protocol::exec::World;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use super::interface;
use super::streams::{InputStream, OutputStream};
use crate::state::{NESTED_LIST_BYTES, State, charge};
use crate::stop::Stop;

/// The program name that every guest sees as its first argument.
pub const PROGRAM_NAME: &str = "task";
/// Most bytes of a progress note that are kept.
pub const PROGRESS_NOTE_BYTES: usize = 1024;

/// `wasi:cli/terminal-input` and `terminal-output`. No guest has a terminal, so none is ever made.
pub struct Terminal;

type Store<'a> = StoreContextMut<'a, State>;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut environment = linker.instance(&interface("cli/environment"))?;
    environment.func_wrap("get-environment", |mut s: Store<'_>, (): ()| {
        charge(&mut s, 0)?;
        Ok((Vec::<(String, String)>::new(),))
    })?;
    environment.func_wrap("get-arguments", |mut s: Store<'_>, (): ()| {
        let args: Vec<String> = std::iter::once(PROGRAM_NAME.to_owned())
            .chain(s.data().args.iter().cloned())
            .collect();
        let bytes = args.iter().map(|a| NESTED_LIST_BYTES + a.len() as u64);
        charge(&mut s, bytes.sum())?;
        Ok((args,))
    })?;
    environment.func_wrap("initial-cwd", |mut s: Store<'_>, (): ()| {
        charge(&mut s, 0)?;
        Ok((None::<String>,))
    })?;

    let mut exit = linker.instance(&interface("cli/exit"))?;
    exit.func_wrap(
        "exit",
        |mut s: Store<'_>, (status,): (Result<(), ()>,)| -> wasmtime::Result<()> {
            charge(&mut s, 0)?;
            Err(Stop::Exit(u8::from(status.is_err())).into())
        },
    )?;
    exit.func_wrap(
        "exit-with-code",
        |mut s: Store<'_>, (code,): (u8,)| -> wasmtime::Result<()> {
            charge(&mut s, 0)?;
            Err(Stop::Exit(code).into())
        },
    )?;

    linker.instance(&interface("cli/stdin"))?.func_wrap(
        "get-stdin",
        |mut s: Store<'_>, (): ()| -> wasmtime::Result<(Resource<InputStream>,)> {
            charge(&mut s, 0)?;
            Ok((s.data_mut().push(InputStream)?,))
        },
    )?;
    linker.instance(&interface("cli/stdout"))?.func_wrap(
        "get-stdout",
        |mut s: Store<'_>, (): ()| -> wasmtime::Result<(Resource<OutputStream>,)> {
            charge(&mut s, 0)?;
            // The output of a task is what `run` returns; what its code prints is a log.
            let stream = match s.data().world {
                World::Command => OutputStream::Output,
                World::Task => OutputStream::Log,
            };
            Ok((s.data_mut().push(stream)?,))
        },
    )?;
    linker.instance(&interface("cli/stderr"))?.func_wrap(
        "get-stderr",
        |mut s: Store<'_>, (): ()| -> wasmtime::Result<(Resource<OutputStream>,)> {
            charge(&mut s, 0)?;
            Ok((s.data_mut().push(OutputStream::Log)?,))
        },
    )?;

    for (name, resource) in [
        ("cli/terminal-input", "terminal-input"),
        ("cli/terminal-output", "terminal-output"),
    ] {
        linker.instance(&interface(name))?.resource(
            resource,
            ResourceType::host::<Terminal>(),
            |mut s, rep| {
                s.data_mut()
                    .table
                    .delete::<Terminal>(Resource::new_own(rep))?;
                Ok(())
            },
        )?;
    }
    for (name, function) in [
        ("cli/terminal-stdin", "get-terminal-stdin"),
        ("cli/terminal-stdout", "get-terminal-stdout"),
        ("cli/terminal-stderr", "get-terminal-stderr"),
    ] {
        linker.instance(&interface(name))?.func_wrap(
            function,
            |mut s: Store<'_>, (): ()| -> wasmtime::Result<(Option<Resource<Terminal>>,)> {
                charge(&mut s, 0)?;
                Ok((None,))
            },
        )?;
    }

    let mut host = linker.instance("adit:task/host@0.1.0")?;
    host.func_wrap(
        "progress",
        |mut s: Store<'_>, (done, total, mut note): (u64, u64, String)| {
            charge(&mut s, note.len() as u64)?;
            note.truncate(note.floor_char_boundary(PROGRESS_NOTE_BYTES));
            s.data_mut().events.progress(done, total, &note);
            Ok(())
        },
    )?;
    host.func_wrap("emit", |mut s: Store<'_>, (chunk,): (Vec<u8>,)| {
        charge(&mut s, chunk.len() as u64)?;
        let state = s.data_mut();
        state.output.emit(&chunk)?;
        state.events.output(&chunk);
        Ok(())
    })
}
