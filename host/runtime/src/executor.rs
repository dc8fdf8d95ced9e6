//! Runs one admitted component once, in a fresh instance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::status::Status;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime::{Engine, Store};

use crate::admission::{self, Refusal};
use crate::bindings::TaskError;
use crate::engine::{self, EngineOptions};
use crate::engine_document::engine_document;
use crate::nn;
use crate::outcome::{Ended, Outcome, Verdict, verdict};
use crate::record::Answerer;
use crate::state::{Events, State};
use crate::stop::Stop;
use crate::wasi;

/// How often a worker advances the engine's epoch, in milliseconds: the resolution of deadlines.
pub const EPOCH_MS: u64 = 10;
/// Component handles a guest may hold beyond the host resources that `Limits::handles` counts:
/// resources that the guest itself defines.
pub const GUEST_HANDLES_MAX: u64 = 10_000;
/// Least and most bytes that one call may move from guest to host, see [`hostcall_bytes`].
pub const HOSTCALL_BYTES: (u64, u64) = (16 << 20, 1 << 30);

/// The engine and everything that components are linked with. Cheap to share by `Arc`; one per
/// process.
pub struct Executor {
    engine: Engine,
    linker: Linker<State>,
    engine_id: Hash,
}

/// A component, compiled, linked and ready to be instantiated.
#[derive(Clone)]
pub struct Prepared {
    pre: InstancePre<State>,
    entry: Entry,
}

/// The entry points that a component exports.
#[derive(Clone, Copy)]
pub struct Entry {
    pub(crate) task: Option<ComponentExportIndex>,
    pub(crate) command: Option<ComponentExportIndex>,
}

/// One run.
pub struct Run<'a> {
    /// What determines the result.
    pub spec: &'a ExecSpec,
    /// The input whose hash the spec names.
    pub input: Arc<[u8]>,
    /// Manifests of the models that the spec names.
    pub models: Arc<BTreeMap<String, nn::host::ModelEntry>>,
    /// Who answers inference calls.
    pub answerer: Box<dyn Answerer>,
    /// Who watches.
    pub events: Box<dyn Events>,
    /// Wall-clock time that the guest may take; none for no bound. Enforced by epochs, so only
    /// while something calls [`Executor::tick`].
    pub deadline: Option<Duration>,
}

impl Executor {
    /// An executor with its engine.
    ///
    /// # Errors
    ///
    /// wasmtime's error when the engine cannot be made on this machine.
    pub fn new(options: EngineOptions) -> wasmtime::Result<Self> {
        let engine = engine::engine(options)?;
        let mut linker = Linker::new(&engine);
        wasi::link(&mut linker)?;
        nn::host::link(&mut linker)?;
        Ok(Self {
            engine,
            linker,
            engine_id: engine_document().hash(),
        })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Hash of the engine document: the engine id that specs name.
    pub fn engine_id(&self) -> Hash {
        self.engine_id
    }

    /// Advance the epoch by one; to be called every [`EPOCH_MS`] while guests with a deadline run.
    pub fn tick(&self) {
        self.engine.increment_epoch();
    }

    /// Load code that this build of the runtime compiled, link it, and find its entry points.
    ///
    /// # Safety
    ///
    /// `code` must be what [`admission::compile`] returned, unchanged: it is native code and will
    /// be executed.
    ///
    /// # Errors
    ///
    /// [`Stop::Refused`] when the component breaks a rule of the engine document;
    /// [`Stop::HostFault`] when the system does not provide the memory.
    pub unsafe fn prepare(&self, code: &[u8]) -> Result<Prepared, Stop> {
        // SAFETY: the caller vouches for the bytes.
        let component = unsafe { Component::deserialize(&self.engine, code) }.map_err(|e| {
            if e.is::<std::io::Error>() || e.is::<wasmtime::OutOfMemory>() {
                Stop::host_fault(format!("compiled code could not be loaded: {e:#}"))
            } else {
                // Among these are the engine's limits on tables, memories and instances.
                Refusal::Invalid(format!("{e:#}")).into()
            }
        })?;
        admission::check_imports(&self.engine, &component)?;
        let entry = admission::entry(&self.engine, &component)?;
        let mut linker = self.linker.clone();
        let pre = wasi::denied::link(&mut linker, &self.engine, &component)
            .and_then(|()| linker.instantiate_pre(&component))
            .map_err(|e| Refusal::Invalid(format!("{e:#}")))?;
        Ok(Prepared { pre, entry })
    }

    /// Run a component once. Never panics for anything a guest does; every way of ending is a
    /// status.
    pub fn run(&self, prepared: &Prepared, run: Run<'_>) -> Outcome {
        let spec = run.spec;
        let limits = &spec.limits;
        engine::reset_float_environment();

        let nn = nn::host::Nn::new(spec, run.models, run.answerer);
        let state = State::new(spec, run.input.clone(), nn, run.events);
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(usize::try_from(hostcall_bytes(limits)).unwrap_or(usize::MAX));
        let handles = limits.handles.saturating_add(GUEST_HANDLES_MAX);
        store.set_max_component_handles(usize::try_from(handles).unwrap_or(usize::MAX));
        let ticks = run.deadline.map_or(u64::MAX / 2, |deadline| {
            u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX / 2) / EPOCH_MS + 1
        });
        store.set_epoch_deadline(ticks.min(u64::MAX / 2));
        store.epoch_deadline_trap();

        let ended = match store.set_fuel(limits.fuel) {
            Ok(()) => enter(&mut store, prepared, spec.world, &run.input),
            Err(e) => Ended::NotInstantiated(e),
        };
        conclude(store, ended, spec)
    }
}

/// The most bytes that a guest may pass to the host in one call, lists and strings together:
/// enough for the largest thing that the limits let it pass, within [`HOSTCALL_BYTES`].
pub fn hostcall_bytes(limits: &Limits) -> u64 {
    let (least, most) = HOSTCALL_BYTES;
    limits
        .output_bytes
        .max(limits.emit_bytes)
        .max(limits.tensor_bytes_held)
        .max(limits.model_bytes)
        .clamp(least, most)
}

fn enter(store: &mut Store<State>, prepared: &Prepared, world: World, input: &[u8]) -> Ended {
    let (entry, name) = match world {
        World::Task => (prepared.entry.task, "task"),
        World::Command => (prepared.entry.command, "command"),
    };
    let Some(index) = entry else {
        // It follows from component and spec alone, and is no fault of whoever runs them.
        let world = name.to_owned();
        return Ended::Stopped(Stop::Refused(Refusal::OtherWorld { world }).into());
    };
    let instance = match prepared.pre.instantiate(&mut *store) {
        Ok(instance) => instance,
        Err(e) => return Ended::NotInstantiated(e),
    };
    match world {
        World::Task => {
            type Returns = (Result<Vec<u8>, TaskError>,);
            let run = match instance.get_typed_func::<(&[u8],), Returns>(&mut *store, index) {
                Ok(run) => run,
                Err(e) => return Ended::NotInstantiated(e),
            };
            match run.call(&mut *store, (input,)) {
                Ok((Ok(bytes),)) => Ended::Returned(bytes),
                Ok((Err(error),)) => Ended::Failed(Some(error)),
                Err(e) => Ended::Stopped(e),
            }
        }
        World::Command => {
            type Returns = (Result<(), ()>,);
            let run = match instance.get_typed_func::<(), Returns>(&mut *store, index) {
                Ok(run) => run,
                Err(e) => return Ended::NotInstantiated(e),
            };
            match run.call(&mut *store, ()) {
                Ok((Ok(()),)) => Ended::Returned(Vec::new()),
                Ok((Err(()),)) => Ended::Failed(None),
                Err(e) => Ended::Stopped(e),
            }
        }
    }
}

fn conclude(mut store: Store<State>, ended: Ended, spec: &ExecSpec) -> Outcome {
    let limit = spec.limits.fuel;
    let left = store.get_fuel().unwrap_or(0);
    let state = store.data_mut();
    let mut verdict = verdict(&ended, spec.world, state.meter.refused_bytes());

    if let Ended::Returned(bytes) = &ended {
        match state.output.append(bytes) {
            Ok(()) => state.events.output(bytes),
            Err(stop) => verdict = Verdict::because(Status::LimitExceeded, stop.to_string()),
        }
    }
    let nn_units = state.nn.session().nn_units();
    let (transcript, end) = state.nn.session().finish();
    // A replay that ended as recorded but made fewer calls has diverged, too. One that this host
    // cut short, for want of a recorded tensor for instance, proves nothing.
    if let Err(Stop::Diverged(divergence)) = end
        && verdict.divergence.is_none()
        && verdict.status.attestable()
    {
        verdict.divergence = Some(*divergence);
    }
    let fuel = match verdict.status {
        Status::Trap | Status::OutOfFuel => limit,
        _ => limit.saturating_sub(left),
    };
    let (output, log) = state.output.take();
    Outcome {
        status: verdict.status,
        output,
        log,
        fuel,
        nn_units,
        peak_memory: state.meter.peak_bytes(),
        transcript,
        task_error: verdict.task_error,
        detail: verdict.detail,
        divergence: verdict.divergence,
    }
}
