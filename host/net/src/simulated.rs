//! Simulation: nodes run on one thread, in virtual time, so that a seed reproduces a run.
//!
//! On a thread that simulates ([`enter`]), work that would go to other threads is done at once
//! ([`blocking`]), and databases and logs are not synced with the disk: there a crash ends a process,
//! and never the machine. Parts that have a thread of their own ring a [`Bell`] when there is something
//! to do, so that a simulator can do their steps by hand.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Notify;

thread_local! {
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// While it lives, its thread simulates.
#[derive(Debug)]
pub struct Simulated(PhantomData<*const ()>);

/// Makes this thread one that simulates.
pub fn enter() -> Simulated {
    HERE.set(true);
    Simulated(PhantomData)
}

impl Drop for Simulated {
    fn drop(&mut self) {
        HERE.set(false);
    }
}

/// Whether this thread simulates.
pub fn here() -> bool {
    HERE.get()
}

/// Work on another thread panicked.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("work on another thread was broken off; hint: please report this")]
pub struct BrokenOff;

/// Does what may wait for a disk, or computes for long, off the threads that serve requests.
///
/// # Errors
/// When it panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BrokenOff> {
    if here() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| BrokenOff)
}

/// Rung when there is something to do for a part that has no thread of its own in a simulation.
/// Clones are one bell; that of a part with a thread makes no sound.
#[derive(Clone, Debug, Default)]
pub struct Bell(Option<Arc<Notify>>);

impl Bell {
    /// A bell that sounds on a thread that simulates.
    pub fn new() -> Bell {
        Bell(here().then(Arc::default))
    }

    /// There is something to do.
    pub fn ring(&self) {
        if let Some(notify) = &self.0 {
            notify.notify_one();
        }
    }

    /// Completes when it was rung, also before; never, where it makes no sound.
    pub async fn rung(&self) {
        match &self.0 {
            Some(notify) => notify.notified().await,
            None => std::future::pending().await,
        }
    }
}
