//! The worker process: receives jobs, runs them in its slots, sends back what they leave.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use rustix::process::Pid;

use super::channel::{Channel, Receiver};
use super::compile::CompileLimits;
use super::limits::{self, Limits};
use super::link::Link;
use super::messages::{self, FromWorker, Hello, Job, Kind, ToWorker};
use super::sandbox::{SandboxKind, lock_down};
use super::slot::Worker;
use super::{WorkerError, lock};
use crate::engine::{EngineOptions, SLOT_STACK_BYTES, Target};
use crate::executor::{EPOCH_MS, Executor};
use crate::live::{Device, environment_document};
use crate::nn::backend::Backend as _;
use crate::nn::cache::ModelCache;
use crate::nn::pool::InferencePool;
use crate::nn::rten::RtenBackend;
use crate::store::code::compatibility;

/// All of the environment of one sort of child.
pub(super) type Environment = [(&'static str, &'static str); 2];

/// Of a worker. rten folds constants on a global pool whose size would otherwise
/// be the machine's; and it recurses into nested graphs on threads with the default stack.
pub(super) const ENVIRONMENT: Environment =
    [("RTEN_NUM_THREADS", "1"), ("RUST_MIN_STACK", "67108864")];

/// How a worker is sized; travels as command-line arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerOptions {
    /// Guests that may run at the same time.
    pub slots: u32,
    /// Threads of one computation. Part of the environment: results may depend on it.
    pub inference_threads: u32,
    /// Bytes of loaded models that are kept.
    pub model_cache_bytes: u64,
    /// Bytes of private memory that the process may hold.
    pub memory_bytes: u64,
    /// What guests are compiled for and run on.
    pub target: Target,
    /// What compiling a component for it may take.
    pub compile: CompileLimits,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            slots: 2,
            inference_threads: 1,
            model_cache_bytes: 4 << 30,
            memory_bytes: 8 << 30,
            target: Target::Processor,
            compile: CompileLimits::default(),
        }
    }
}

impl WorkerOptions {
    pub(super) fn to_args(self, supervisor: u32) -> Vec<String> {
        [
            u64::from(self.slots),
            u64::from(self.inference_threads),
            self.model_cache_bytes,
            self.memory_bytes,
            u64::from(supervisor),
        ]
        .iter()
        .map(u64::to_string)
        .chain([target_name(self.target).to_owned()])
        .collect()
    }

    fn from_args(args: &[String]) -> Result<(Self, Option<Pid>), WorkerError> {
        let (target, args) = args.split_last().ok_or(WorkerError::Arguments)?;
        let numbers: Result<Vec<u64>, _> = args.iter().map(|a| a.parse()).collect();
        let Ok(&[slots, threads, model_cache_bytes, memory_bytes, supervisor]) =
            numbers.as_deref().map_err(|_| WorkerError::Arguments)
        else {
            return Err(WorkerError::Arguments);
        };
        let options = Self {
            slots: u32::try_from(slots).map_err(|_| WorkerError::Arguments)?,
            inference_threads: u32::try_from(threads).map_err(|_| WorkerError::Arguments)?,
            model_cache_bytes,
            memory_bytes,
            target: target_named(target)?,
            // Compiling happens elsewhere.
            compile: CompileLimits::default(),
        };
        let pid = i32::try_from(supervisor).map_err(|_| WorkerError::Arguments)?;
        Ok((options, Pid::from_raw(pid)))
    }
}

/// A target as an argument of a child.
pub(super) fn target_name(target: Target) -> &'static str {
    match target {
        Target::Processor => "processor",
        Target::Interpreter => "interpreter",
    }
}

pub(super) fn target_named(name: &str) -> Result<Target, WorkerError> {
    [Target::Processor, Target::Interpreter]
        .into_iter()
        .find(|target| target_name(*target) == name)
        .ok_or(WorkerError::Arguments)
}

/// Hygiene and limits that come before the engine, and the channel to the supervisor on fd 0.
pub(super) fn prepare(
    limits: &Limits,
    environment: &Environment,
    supervisor: Option<Pid>,
) -> Result<Channel, WorkerError> {
    // SAFETY: this is the first thing a worker does; nothing but the three standard descriptors is
    // in use, and there is no other thread.
    unsafe { limits::close_inherited(&[0, 1, 2]) }?;
    limits::check_environment(&environment.map(|(name, _)| name))?;
    limits::harden(limits, supervisor)?;
    Ok(Channel::from_stdin()?)
}

pub(super) fn main(args: &[String]) -> Result<(), WorkerError> {
    let (options, supervisor) = WorkerOptions::from_args(args)?;
    let channel = prepare(
        &Limits::worker(options.memory_bytes),
        &ENVIRONMENT,
        supervisor,
    )?;
    let engine_options = EngineOptions {
        slots: options.slots,
        target: options.target,
    };
    let executor =
        Executor::new(engine_options).map_err(|e| WorkerError::Engine(format!("{e:#}")))?;
    let backend = RtenBackend::new(options.inference_threads as usize)?;
    let info = backend.describe();
    let environment = environment_document(executor.engine_id(), &info);
    // From here on nothing but the channel and what comes over it. No other thread exists yet.
    let report = lock_down(SandboxKind::Worker)?;

    let (sender, receiver) = channel.split();
    let link = Arc::new(Link::new(sender));
    let files = {
        let link = link.clone();
        move |hash: &Hash, len: u64| link.need(Kind::Blob, hash, len)
    };
    let device = Device {
        pool: InferencePool::new(Arc::new(backend), options.slots as usize)?,
        cache: ModelCache::new(options.model_cache_bytes),
        files: Box::new(files),
        environment: environment.hash(),
    };
    link.send(&FromWorker::Ready(Hello {
        engine: executor.engine_id(),
        compatibility: compatibility(executor.engine()),
        environment: environment.to_cbor(),
        gpu: info.gpu,
        sandbox: format!("{report:?}"),
        interpreter: executor.engine().is_pulley(),
    }))?;
    let worker = Arc::new(Worker {
        executor,
        link,
        device: Arc::new(device),
        prepared: Mutex::default(),
        cancels: Mutex::default(),
        uses: AtomicU64::new(0),
    });
    serve(&worker, receiver, options.slots)
}

fn serve(worker: &Arc<Worker>, mut receiver: Receiver, slots: u32) -> Result<(), WorkerError> {
    let (queue, jobs) = mpsc::channel::<(Job, Arc<AtomicBool>)>();
    let jobs = Arc::new(Mutex::new(jobs));
    for slot in 0..slots.max(1) {
        let (worker, jobs) = (worker.clone(), jobs.clone());
        std::thread::Builder::new()
            .name(format!("slot-{slot}"))
            .stack_size(SLOT_STACK_BYTES)
            .spawn(move || {
                loop {
                    let Ok((job, cancel)) = lock(&jobs).recv() else {
                        return;
                    };
                    worker.run(job, cancel);
                }
            })
            .map_err(WorkerError::Thread)?;
    }
    let ticker = worker.clone();
    std::thread::Builder::new()
        .name("epoch".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(EPOCH_MS));
                ticker.executor.tick();
            }
        })
        .map_err(WorkerError::Thread)?;

    loop {
        let frame = receiver.recv()?;
        let message: ToWorker =
            messages::read(&frame.payload).map_err(|e| WorkerError::Message(e.to_string()))?;
        match message {
            ToWorker::Run(job) => {
                let cancel = Arc::new(AtomicBool::new(false));
                lock(&worker.cancels).insert(job.job, cancel.clone());
                // The slots live as long as this loop.
                let _ = queue.send((job, cancel));
            }
            ToWorker::Cancel { job } => {
                if let Some(cancel) = lock(&worker.cancels).get(&job) {
                    cancel.store(true, Ordering::Relaxed);
                }
            }
            ToWorker::Blob { request, blob } => {
                let fd = frame.fds.into_iter().next();
                worker.link.answered(request, (blob, fd));
            }
            ToWorker::Compile { .. } => {
                return Err(WorkerError::Message("a worker does not compile".to_owned()));
            }
        }
    }
}
