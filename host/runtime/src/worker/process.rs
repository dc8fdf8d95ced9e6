//! The worker process: receives jobs, runs them in its slots, sends back what they leave.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use rustix::process::Pid;

use super::channel::{Channel, Receiver};
use super::compile::CompileLimits;
use super::device::DeviceChoice;
use super::limits::{self, Limits};
use super::link::Link;
use super::messages::{self, FromWorker, Hello, Job, Kind, ToWorker};
use super::sandbox::lock_down_around;
use super::slot::Worker;
use super::trial::Trial;
use super::{WorkerError, lock};
use crate::engine::{EngineOptions, SLOT_STACK_BYTES, Target};
use crate::executor::{EPOCH_MS, Executor};
use crate::live::{Device, environment_document};
use crate::nn::backend::Backend;
use crate::nn::cache::ModelCache;
use crate::nn::pool::InferencePool;
use crate::nn::rten::RtenBackend;
use crate::store::code::compatibility;

/// The fixed environment of one sort of child.
pub(super) type Environment = [(&'static str, &'static str); 2];

/// Of a worker; a device may add to it. rten folds constants on a global pool whose size would otherwise
/// be the machine's; and it recurses into nested graphs on threads with the default stack.
pub(super) const ENVIRONMENT: Environment =
    [("RTEN_NUM_THREADS", "1"), ("RUST_MIN_STACK", "67108864")];

/// How a worker is sized; travels as command-line arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// What computes models.
    pub device: DeviceChoice,
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
            device: DeviceChoice::default(),
            compile: CompileLimits::default(),
        }
    }
}

impl WorkerOptions {
    /// As command-line arguments of a worker.
    ///
    /// # Errors
    ///
    /// Those of [`DeviceChoice::to_args`].
    pub(super) fn to_args(&self, supervisor: u32) -> Result<Vec<String>, String> {
        let device = self.device.to_args()?;
        let numbers = [
            u64::from(self.slots),
            u64::from(self.inference_threads),
            self.model_cache_bytes,
            self.memory_bytes,
            u64::from(supervisor),
        ]
        .map(|number| number.to_string());
        let target = target_name(self.target).to_owned();
        Ok(numbers.into_iter().chain([target]).chain(device).collect())
    }

    fn from_args(args: &[String]) -> Result<(Self, Option<Pid>), WorkerError> {
        let (numbers, rest) = args.split_at_checked(5).ok_or(WorkerError::Arguments)?;
        let (target, device) = rest.split_first().ok_or(WorkerError::Arguments)?;
        let numbers: Result<Vec<u64>, _> = numbers.iter().map(|a| a.parse()).collect();
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
            device: DeviceChoice::from_args(device)?,
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
    environment: &[&str],
    supervisor: Option<Pid>,
) -> Result<Channel, WorkerError> {
    // SAFETY: this is the first thing a worker does; nothing but the three standard descriptors is
    // in use, and there is no other thread.
    unsafe { limits::close_inherited(&[0, 1, 2]) }?;
    limits::check_environment(environment)?;
    limits::harden(limits, supervisor)?;
    Ok(Channel::from_stdin()?)
}

pub(super) fn main(args: &[String]) -> Result<(), WorkerError> {
    let (options, supervisor) = WorkerOptions::from_args(args)?;
    let variables: Vec<&str> = ENVIRONMENT
        .iter()
        .map(|(name, _)| *name)
        .chain(options.device.variables().iter().copied())
        .collect();
    let limits = Limits::worker(options.memory_bytes);
    let channel = prepare(&limits, &variables, supervisor)?;
    let (sender, receiver) = channel.split();
    let link = Arc::new(Link::new(sender));
    match ready(&options, &link) {
        Ok(worker) => serve(&Arc::new(worker), receiver, options.slots),
        Err(error) => {
            // Without this the supervisor would know the exit code only.
            link.tell(&FromWorker::NotReady(reason(&error)));
            Err(WorkerError::Told)
        }
    }
}

/// Why a worker cannot be used, for its supervisor, which says that it was a worker.
fn reason(error: &WorkerError) -> String {
    let text = error.to_string();
    text.strip_prefix("worker: ").unwrap_or(&text).to_owned()
}

/// Makes the engine, opens the device and locks the process down, and says so.
fn ready(options: &WorkerOptions, link: &Arc<Link>) -> Result<Worker, WorkerError> {
    let engine_options = EngineOptions {
        slots: options.slots,
        target: options.target,
    };
    let executor =
        Executor::new(engine_options).map_err(|e| WorkerError::Engine(format!("{e:#}")))?;
    let slots = options.slots as usize;
    let threads = options.inference_threads;
    let choice = &options.device;
    // From there on nothing but the channel and what comes over it. No other thread exists yet,
    // but those of a GPU's driver.
    let (opened, report) = lock_down_around(choice.sandbox(), &choice.readable(), || {
        choice.open(threads, slots).map_err(WorkerError::from)
    })?;
    let info = opened.backend.describe();
    let device = |backend: Arc<dyn Backend>| -> Result<Arc<Device>, WorkerError> {
        let link = link.clone();
        let environment = environment_document(executor.engine_id(), &backend.describe());
        Ok(Arc::new(Device {
            pool: InferencePool::new(backend, slots)?,
            cache: ModelCache::new(choice.memory_bytes(options.model_cache_bytes)),
            files: Box::new(move |hash: &Hash, len: u64| link.need(Kind::Blob, hash, len)),
            environment,
        }))
    };
    let main_device = device(opened.backend)?;
    let reference = match choice {
        DeviceChoice::Embedded => main_device.clone(),
        DeviceChoice::OnnxRuntime(_) => device(Arc::new(RtenBackend::new(threads as usize)?))?,
    };
    link.send(&FromWorker::Ready(Hello {
        engine: executor.engine_id(),
        compatibility: compatibility(executor.engine()),
        environment: main_device.environment.to_cbor(),
        gpu: info.gpu,
        device_memory_bytes: opened.memory_bytes,
        sandbox: format!("{report:?}"),
        interpreter: executor.engine().is_pulley(),
    }))?;
    Ok(Worker {
        executor,
        link: link.clone(),
        device: main_device,
        reference,
        prepared: Mutex::default(),
        cancels: Mutex::default(),
        uses: AtomicU64::new(0),
    })
}

/// What a slot does next.
enum Work {
    Run(Job, Arc<AtomicBool>),
    Trial(Trial),
}

/// The work that waits for a slot. Adding some wakes one slot, where a channel whose receiver is shared
/// wakes the one that takes it and then the next one that may wait.
#[derive(Default)]
struct Queue {
    work: Mutex<VecDeque<Work>>,
    news: Condvar,
}

impl Queue {
    fn push(&self, work: Work) {
        lock(&self.work).push_back(work);
        self.news.notify_one();
    }

    fn take(&self) -> Work {
        let mut work = lock(&self.work);
        loop {
            match work.pop_front() {
                Some(next) => return next,
                None => work = self.news.wait(work).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

fn serve(worker: &Arc<Worker>, mut receiver: Receiver, slots: u32) -> Result<(), WorkerError> {
    let queue = Arc::new(Queue::default());
    for slot in 0..slots.max(1) {
        let (worker, queue) = (worker.clone(), queue.clone());
        std::thread::Builder::new()
            .name(format!("slot-{slot}"))
            .stack_size(SLOT_STACK_BYTES)
            .spawn(move || {
                loop {
                    match queue.take() {
                        Work::Run(job, cancel) => worker.run(job, cancel),
                        Work::Trial(trial) => worker.try_model(&trial),
                    }
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
                queue.push(Work::Run(job, cancel));
            }
            ToWorker::Trial(trial) => {
                queue.push(Work::Trial(trial));
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
