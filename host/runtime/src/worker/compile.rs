//! The compile child: one component in, native code or a refusal out.
//!
//! Compiling hostile input can take arbitrary time and memory, and a compiler is a large program.
//! So it runs in a process of its own, locked down, for one component, under limits.

use super::WorkerError;
use super::limits::Limits;
use super::messages::{self, FromWorker, PART_BYTES, ToWorker};
use super::process::{prepare, target_named};
use super::sandbox::{SandboxKind, lock_down};
use crate::admission::{self, COMPONENT_BYTES_MAX};
use crate::engine::{SLOT_STACK_BYTES, compiler};
use rustix::process::Pid;

/// Bytes of private memory that compiling may take.
pub const COMPILE_MEMORY_BYTES: u64 = 1 << 30;
/// Seconds of CPU time that compiling may take, over all threads: what a component costs should
/// not depend on how busy the machine is, or on how many processors it has.
pub const COMPILE_CPU_SECONDS: u64 = 120;
/// Seconds on the clock after which compiling is ended all the same.
pub const COMPILE_CLOCK_SECONDS: u64 = 300;

/// Largest frame to and from the child: a whole component.
pub(super) const FRAME_BYTES: usize = (COMPONENT_BYTES_MAX as usize) + (1 << 20);

pub(super) fn main(args: &[String]) -> Result<(), WorkerError> {
    let [supervisor, target] = args else {
        return Err(WorkerError::Arguments);
    };
    let pid: i32 = supervisor.parse().map_err(|_| WorkerError::Arguments)?;
    let target = target_named(target)?;
    let limits = Limits::compile(COMPILE_MEMORY_BYTES, COMPILE_CPU_SECONDS, 0);
    let channel = prepare(&limits, Pid::from_raw(pid))?;
    let compiler = compiler(target).map_err(|e| WorkerError::Engine(format!("{e:#}")))?;
    lock_down(SandboxKind::Compile)?;

    let (mut sender, mut receiver) = channel.with_max_frame(FRAME_BYTES).split();
    let frame = receiver.recv()?;
    let wasm = match messages::read(&frame.payload) {
        Ok(ToWorker::Compile { wasm }) => wasm,
        Ok(_) => return Err(WorkerError::Message("not a component".to_owned())),
        Err(e) => return Err(WorkerError::Message(e.to_string())),
    };
    drop(frame);
    // Deeply nested input recurses in the compiler.
    let admitted = std::thread::Builder::new()
        .name("compile".to_owned())
        .stack_size(SLOT_STACK_BYTES)
        .spawn(move || admission::compile(&compiler, &wasm))
        .map_err(WorkerError::Thread)?
        .join();
    let mut say = |message: FromWorker| -> Result<(), WorkerError> {
        let payload =
            minicbor::to_vec(&message).map_err(|e| WorkerError::Message(e.to_string()))?;
        Ok(sender.send(&payload, &[])?)
    };
    match admitted {
        Ok(Ok(code)) => {
            for part in code.chunks(PART_BYTES) {
                say(FromWorker::Code(part.to_vec()))?;
            }
            say(FromWorker::Code(Vec::new()))
        }
        Ok(Err(refusal)) => say(FromWorker::Refused(refusal)),
        // A panic of the compiler: the supervisor sees the process end without an answer.
        Err(_) => Err(WorkerError::Engine("the compiler panicked".to_owned())),
    }
}
