//! `wasi:io/streams` and `wasi:io/error`: standard input and output, always ready.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use super::interface;
use super::poll::Pollable;
use crate::bindings::StreamError;
use crate::state::{State, charge};

/// Most bytes that one read of standard input returns.
pub const STDIN_CHUNK_BYTES: u64 = 64 << 10;
/// What `check-write` always permits, and so the most bytes of one write.
pub const WRITE_PERMIT_BYTES: u64 = 64 << 10;

/// `wasi:io/error.error`. Streams here never fail, so none is ever made.
pub struct IoError;

/// An input stream. There is one source; every handle to it shares the position.
pub struct InputStream;

/// An output stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Appends to the run's output.
    Output,
    /// Appends to the run's log.
    Log,
}

type Store<'a> = StoreContextMut<'a, State>;

fn read(mut s: Store<'_>, len: u64) -> wasmtime::Result<Result<Vec<u8>, StreamError>> {
    let state = s.data();
    let rest = state.stdin.get(state.stdin_read..).unwrap_or_default();
    if rest.is_empty() && len > 0 {
        charge(&mut s, 0)?;
        return Ok(Err(StreamError::Closed));
    }
    // At most the length of a slice, so it fits a usize.
    let n = len.min(STDIN_CHUNK_BYTES).min(rest.len() as u64) as usize;
    let chunk = rest.get(..n).unwrap_or_default().to_vec();
    charge(&mut s, n as u64)?;
    s.data_mut().stdin_read += n;
    Ok(Ok(chunk))
}

fn write(mut s: Store<'_>, stream: &Resource<OutputStream>, bytes: &[u8]) -> wasmtime::Result<()> {
    charge(&mut s, bytes.len() as u64)?;
    if bytes.len() as u64 > WRITE_PERMIT_BYTES {
        return Err(wasmtime::Error::msg(
            "a stream write was larger than check-write permits",
        ));
    }
    let state = s.data_mut();
    match *state.table.get(stream)? {
        OutputStream::Output => {
            state.output.append(bytes)?;
            state.events.output(bytes);
        }
        OutputStream::Log => {
            state.output.log(bytes)?;
            state.events.log(bytes);
        }
    }
    Ok(())
}

fn zeroes(len: u64) -> wasmtime::Result<Vec<u8>> {
    if len > WRITE_PERMIT_BYTES {
        return Err(wasmtime::Error::msg(
            "a stream write was larger than check-write permits",
        ));
    }
    Ok(vec![0; len as usize])
}

fn splice(
    mut s: Store<'_>,
    to: &Resource<OutputStream>,
    len: u64,
) -> wasmtime::Result<(Result<u64, StreamError>,)> {
    let len = len.min(WRITE_PERMIT_BYTES);
    match read(s.as_context_mut(), len)? {
        Ok(chunk) => {
            write(s, to, &chunk)?;
            Ok((Ok(chunk.len() as u64),))
        }
        Err(end) => Ok((Err(end),)),
    }
}

use wasmtime::AsContextMut as _;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut error = linker.instance(&interface("io/error"))?;
    error.resource("error", ResourceType::host::<IoError>(), |mut s, rep| {
        s.data_mut()
            .table
            .delete::<IoError>(Resource::new_own(rep))?;
        Ok(())
    })?;
    error.func_wrap(
        "[method]error.to-debug-string",
        |mut s: Store<'_>, (e,): (Resource<IoError>,)| {
            charge(&mut s, 0)?;
            s.data().table.get(&e)?;
            Ok((String::from("stream error"),))
        },
    )?;

    let mut streams = linker.instance(&interface("io/streams"))?;
    streams.resource(
        "input-stream",
        ResourceType::host::<InputStream>(),
        |mut s, rep| {
            s.data_mut()
                .table
                .delete::<InputStream>(Resource::new_own(rep))?;
            Ok(())
        },
    )?;
    streams.resource(
        "output-stream",
        ResourceType::host::<OutputStream>(),
        |mut s, rep| {
            s.data_mut()
                .table
                .delete::<OutputStream>(Resource::new_own(rep))?;
            Ok(())
        },
    )?;

    for name in ["read", "blocking-read"] {
        streams.func_wrap(
            &format!("[method]input-stream.{name}"),
            |s: Store<'_>, (stream, len): (Resource<InputStream>, u64)| {
                s.data().table.get(&stream)?;
                Ok((read(s, len)?,))
            },
        )?;
    }
    for name in ["skip", "blocking-skip"] {
        streams.func_wrap(
            &format!("[method]input-stream.{name}"),
            |s: Store<'_>, (stream, len): (Resource<InputStream>, u64)| {
                s.data().table.get(&stream)?;
                Ok((read(s, len)?.map(|chunk| chunk.len() as u64),))
            },
        )?;
    }
    streams.func_wrap(
        "[method]input-stream.subscribe",
        |mut s: Store<'_>, (stream,): (Resource<InputStream>,)| {
            charge(&mut s, 0)?;
            s.data().table.get(&stream)?;
            Ok((s.data_mut().push(Pollable::Ready)?,))
        },
    )?;

    streams.func_wrap(
        "[method]output-stream.check-write",
        |mut s: Store<'_>, (stream,): (Resource<OutputStream>,)| {
            charge(&mut s, 0)?;
            s.data().table.get(&stream)?;
            Ok((Ok::<_, StreamError>(WRITE_PERMIT_BYTES),))
        },
    )?;
    for name in ["write", "blocking-write-and-flush"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |s: Store<'_>, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
                write(s, &stream, &bytes)?;
                Ok((Ok::<_, StreamError>(()),))
            },
        )?;
    }
    for name in ["write-zeroes", "blocking-write-zeroes-and-flush"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |s: Store<'_>, (stream, len): (Resource<OutputStream>, u64)| {
                write(s, &stream, &zeroes(len)?)?;
                Ok((Ok::<_, StreamError>(()),))
            },
        )?;
    }
    for name in ["flush", "blocking-flush"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |mut s: Store<'_>, (stream,): (Resource<OutputStream>,)| {
                charge(&mut s, 0)?;
                s.data().table.get(&stream)?;
                Ok((Ok::<_, StreamError>(()),))
            },
        )?;
    }
    for name in ["splice", "blocking-splice"] {
        streams.func_wrap(
            &format!("[method]output-stream.{name}"),
            |s: Store<'_>,
             (to, from, len): (Resource<OutputStream>, Resource<InputStream>, u64)| {
                s.data().table.get(&from)?;
                splice(s, &to, len)
            },
        )?;
    }
    streams.func_wrap(
        "[method]output-stream.subscribe",
        |mut s: Store<'_>, (stream,): (Resource<OutputStream>,)| {
            charge(&mut s, 0)?;
            s.data().table.get(&stream)?;
            Ok((s.data_mut().push(Pollable::Ready)?,))
        },
    )
}
