//! What one run owns while its guest executes: the data of the wasmtime store.

use std::sync::Arc;

use adit_protocol::exec::{ExecSpec, World};
use wasmtime::component::ResourceTable;
use wasmtime::{StoreContextMut, Trap};

use crate::meter::Meter;
use crate::nn::host::Nn;
use crate::output::Output;
use crate::stop::Stop;
use crate::wasi::clocks::VirtualClock;
use crate::wasi::random::RandomStream;

/// Fuel for any call from the guest into the host, whatever it does.
pub const HOST_CALL_FUEL: u64 = 500;
/// Fuel for each byte that a host call moves in either direction.
pub const HOST_BYTE_FUEL: u64 = 1;
/// Bytes that each list or string inside a list counts for beside its contents: its address and
/// its length. Without it a list of millions of empty lists, which can lie in memory that was
/// never written, would keep the host busy for nothing.
pub const NESTED_LIST_BYTES: u64 = 8;

/// Watches a run as it happens. None of it influences the guest.
pub trait Events: Send {
    /// The guest reported progress. `total` 0 means unknown.
    fn progress(&mut self, done: u64, total: u64, note: &str);
    /// Bytes were appended to the output.
    fn output(&mut self, chunk: &[u8]);
    /// The guest wrote to its log (standard error, and standard output in the world `task`).
    fn log(&mut self, chunk: &[u8]);
    /// Whether the run should be cancelled; asked at host calls.
    fn cancelled(&self) -> bool {
        false
    }
}

/// An observer that looks away.
pub struct NoEvents;

impl Events for NoEvents {
    fn progress(&mut self, _: u64, _: u64, _: &str) {}
    fn output(&mut self, _: &[u8]) {}
    fn log(&mut self, _: &[u8]) {}
}

/// The store data of a run. Owned by the store, hence by the one thread that runs the guest.
pub struct State {
    /// Host resources that the guest holds handles to.
    pub table: ResourceTable,
    /// Memory accounting; wasmtime's limiter.
    pub meter: Meter,
    /// Both of WASI's clocks.
    pub clock: VirtualClock,
    /// Every random number the guest gets.
    pub random: RandomStream,
    /// Standard input: all of it, and how much has been read.
    pub stdin: Arc<[u8]>,
    /// Bytes of `stdin` that the guest has consumed.
    pub stdin_read: usize,
    /// Output and log with their limits.
    pub output: Output,
    /// The world of the guest.
    pub world: World,
    /// Program arguments after the program's name.
    pub args: Vec<String>,
    /// Inference: graphs, the transcript, and who answers.
    pub nn: Nn,
    /// The observer of this run.
    pub events: Box<dyn Events>,
    handles_max: u64,
}

impl State {
    /// The state at the start of a run of `spec`.
    pub fn new(spec: &ExecSpec, input: Arc<[u8]>, nn: Nn, events: Box<dyn Events>) -> Self {
        let mut table = ResourceTable::new();
        let handles_max = spec.limits.handles;
        table.set_max_capacity(usize::try_from(handles_max).unwrap_or(usize::MAX));
        // Only a command has a standard input; a task gets its input as the argument of `run`.
        let stdin = match spec.world {
            World::Command => input,
            World::Task => Arc::default(),
        };
        Self {
            table,
            meter: Meter::new(&spec.limits),
            clock: VirtualClock::new(spec.clock_start_ns),
            random: RandomStream::new(&spec.seed),
            stdin,
            stdin_read: 0,
            output: Output::new(&spec.limits),
            world: spec.world,
            args: spec.args.clone(),
            nn,
            events,
            handles_max,
        }
    }

    /// Put a resource into the table.
    ///
    /// # Errors
    ///
    /// [`Stop::Limit`] when the guest holds as many handles as it may.
    pub fn push<T: Send + 'static>(
        &mut self,
        resource: T,
    ) -> wasmtime::Result<wasmtime::component::Resource<T>> {
        let max = self.handles_max;
        self.table.push(resource).map_err(|_| {
            Stop::Limit {
                limit: "handles",
                max,
            }
            .into()
        })
    }
}

/// Charge a host call that moves `bytes` bytes.
///
/// wasmtime flushes the guest's own fuel at calls, so the balance seen here is exact and the
/// place where a guest runs out is the same everywhere.
///
/// # Errors
///
/// [`Trap::OutOfFuel`] when the balance does not cover it; the balance is then zero.
pub fn charge(store: &mut StoreContextMut<'_, State>, bytes: u64) -> wasmtime::Result<()> {
    if store.data().events.cancelled() {
        return Err(Stop::Cancelled.into());
    }
    let price = HOST_CALL_FUEL.saturating_add(bytes.saturating_mul(HOST_BYTE_FUEL));
    let balance = store.get_fuel()?;
    match balance.checked_sub(price) {
        Some(rest) => store.set_fuel(rest),
        None => {
            store.set_fuel(0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}
