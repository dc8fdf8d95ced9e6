//! The worker: a process that runs guests and inference, with no key, no network and no files.
//!
//! ```text
//!   supervisor                              worker (locked down)
//!   keys, network, blobs  --- channel ---   slots: one thread each, sharing engine and models
//!        |                                  inference threads
//!        +--- channel --- compile child     (one component, then it ends)
//! ```
//!
//! | module | subject |
//! |---|---|
//! | [`messages`], [`channel`] | what is said, and how frames and descriptors travel |
//! | [`supervisor`], `child`, `follower` | starts, watches, ends and replaces workers; hands out jobs and blobs; collects what a run leaves |
//! | `grant` | which blobs a worker may have |
//! | [`process`], `slot`, `link` | the worker: its threads, one job, its end of the channel |
//! | [`compile`] | the compile child |
//! | [`device`], [`survey`] | which device a worker computes on; what a library of ONNX Runtime has |
//! | [`trial`] | a model computed by itself, without a guest |
//! | [`sandbox`], [`limits`] | Landlock, seccomp and rlimits of a child |
//! | [`probe`], [`self_test`] | tries from inside what must not work |

pub mod channel;
mod child;
pub mod compile;
#[cfg(test)]
mod counting;
pub mod device;
mod follower;
mod grant;
pub mod limits;
mod link;
pub mod messages;
pub mod probe;
pub mod process;
pub mod sandbox;
pub mod self_test;
mod slot;
pub mod supervisor;
pub mod survey;
pub mod trial;

use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The hidden first argument by which a binary becomes a worker.
pub const WORKER_ARGUMENT: &str = "__worker";

/// Why a worker process could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It was started wrongly.
    #[error("worker: bad arguments; hint: this program starts its workers itself")]
    Arguments,
    /// The channel to the supervisor failed.
    #[error("worker: {0}")]
    Channel(#[from] channel::ChannelError),
    /// It could not be locked down.
    #[error("worker: {0}")]
    Sandbox(#[from] sandbox::SandboxError),
    /// Its limits could not be set.
    #[error("worker: {0}")]
    Limits(#[from] limits::LimitsError),
    /// The engine could not be made.
    #[error("worker: the engine could not be made: {0}")]
    Engine(String),
    /// The inference backend could not be made.
    #[error("worker: {0}")]
    Backend(#[from] crate::nn::backend::BackendError),
    /// The supervisor sent something that is no message.
    #[error("worker: a message could not be understood: {0}")]
    Message(String),
    /// It cannot be used, and its supervisor knows why.
    #[error("worker: it told its supervisor")]
    Told,
    /// A thread could not be started.
    #[error("worker: a thread could not be started: {0}")]
    Thread(std::io::Error),
}

/// Become a worker if the arguments (without the program's name) say so. A binary that starts
/// workers calls this first thing in `main` and exits with the code, if there is one.
pub fn main_if_worker(args: impl IntoIterator<Item = OsString>) -> Option<i32> {
    let mut args = args.into_iter();
    if args.next()? != WORKER_ARGUMENT {
        return None;
    }
    let args: Option<Vec<String>> = args.map(|a| a.into_string().ok()).collect();
    let ended = match args.as_deref() {
        Some([kind, rest @ ..]) if kind == "run" => process::main(rest),
        Some([kind, rest @ ..]) if kind == "compile" => compile::main(rest),
        Some([kind, rest @ ..]) if kind == "survey" => survey::main(rest),
        Some([kind]) if kind == "self-test" => self_test::main(),
        _ => Err(WorkerError::Arguments),
    };
    match ended {
        Ok(()) => Some(0),
        // The supervisor is gone, and this process with it.
        Err(WorkerError::Channel(e)) if e.is_closed() => Some(0),
        Err(WorkerError::Told) => Some(2),
        Err(e) => {
            eprintln!("{e}");
            Some(2)
        }
    }
}

/// For locks whose data a panic cannot leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
