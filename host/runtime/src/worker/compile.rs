//! The compile child: one component in, native code or a refusal out.
//!
//! Compiling hostile input can take arbitrary time and memory, and a compiler is a large program.
//! So it runs in a process of its own, locked down, for one component, under limits.

use super::WorkerError;
use super::limits::Limits;
use super::messages::{self, FromWorker, PART_BYTES, ToWorker};
use super::process::{Environment, prepare, target_named};
use super::sandbox::{SandboxKind, lock_down};
use crate::admission::{self, COMPONENT_BYTES_MAX};
use crate::engine::{SLOT_STACK_BYTES, compiler};
use rustix::process::Pid;

/// What compiling one component may take. None of it is visible to a guest, and a component that
/// takes more has not failed: it was not compiled here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of private memory.
    pub memory_bytes: u64,
    /// Seconds of CPU time over all threads: what a component costs should not depend on how busy
    /// the machine is, or on how many processors it has.
    pub cpu_seconds: u64,
    /// Seconds on the clock, after which compiling is ended all the same.
    pub clock_seconds: u64,
}

impl Default for CompileLimits {
    /// 1 GiB, 120 s of CPU time, 300 s. A component of 18 MB with a Python interpreter takes 14 s of
    /// CPU time.
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            cpu_seconds: 120,
            clock_seconds: 300,
        }
    }
}

/// All of the child's environment. wasmtime compiles functions on rayon's threads, one for each
/// processor unless told otherwise; their stacks count as memory, and on a large machine would use
/// up what compiling may take before it begins.
pub(super) const ENVIRONMENT: Environment =
    [("RAYON_NUM_THREADS", "4"), ("RUST_MIN_STACK", "16777216")];

/// Largest frame to and from the child: a whole component.
pub(super) const FRAME_BYTES: usize = (COMPONENT_BYTES_MAX as usize) + (1 << 20);

pub(super) fn main(args: &[String]) -> Result<(), WorkerError> {
    let [supervisor, target, memory_bytes, cpu_seconds] = args else {
        return Err(WorkerError::Arguments);
    };
    let number = |text: &str| text.parse().map_err(|_| WorkerError::Arguments);
    let pid: i32 = supervisor.parse().map_err(|_| WorkerError::Arguments)?;
    let target = target_named(target)?;
    let limits = Limits::compile(number(memory_bytes)?, number(cpu_seconds)?, 0);
    let channel = prepare(
        &limits,
        &ENVIRONMENT.map(|(name, _)| name),
        Pid::from_raw(pid),
    )?;
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
