//! The worker process: receives jobs, runs them in its slots, sends back what they leave.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::ExecSpec;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::status::Status;
use adit_protocol::tensor::tensor_header;
use adit_protocol::transcript::Transcript;
use rustix::process::Pid;

use super::WorkerError;
use super::channel::{Channel, Receiver, Sender};
use super::limits::{self, Limits};
use super::messages::{
    BlobReply, Done, FromWorker, Hello, Job, Kind, Mode, PART_BYTES, Stream, ToWorker,
    WireDivergence, WireRecheck,
};
use super::sandbox::{SandboxKind, lock_down};
use crate::engine::{EngineOptions, SLOT_STACK_BYTES};
use crate::executor::{EPOCH_MS, Executor, Prepared, Run};
use crate::live::{Device, Live, NoSink, TensorSink, environment_document};
use crate::nn::backend::Backend as _;
use crate::nn::cache::ModelCache;
use crate::nn::host::ModelEntry;
use crate::nn::pool::InferencePool;
use crate::nn::rten::RtenBackend;
use crate::nn::tensor::Tensor;
use crate::outcome::Outcome;
use crate::record::Answerer;
use crate::replay::{Recheck, Rechecker, Replay, TensorSource};
use crate::state::Events;
use crate::stop::Stop;
use crate::store::code::{CODE_BYTES_MAX, compatibility};

/// Compiled components that a worker keeps ready.
const PREPARED_MAX: usize = 64;
/// Output that may wait before it is sent on, in bytes and in time.
const FLUSH_BYTES: usize = 32 << 10;
const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// Least time between two progress reports that are passed on.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);

/// All of a child's environment. rten folds constants on a global pool whose size would otherwise
/// be the machine's; and it recurses into nested graphs on threads with the default stack.
pub(super) const ENVIRONMENT: [(&str, &str); 2] =
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
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            slots: 2,
            inference_threads: 1,
            model_cache_bytes: 4 << 30,
            memory_bytes: 8 << 30,
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
        .collect()
    }

    fn from_args(args: &[String]) -> Result<(Self, Option<Pid>), WorkerError> {
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
        };
        let pid = i32::try_from(supervisor).map_err(|_| WorkerError::Arguments)?;
        Ok((options, Pid::from_raw(pid)))
    }
}

/// Hygiene and limits that come before the engine, and the channel to the supervisor on fd 0.
pub(super) fn prepare(limits: &Limits, supervisor: Option<Pid>) -> Result<Channel, WorkerError> {
    // SAFETY: this is the first thing a worker does; nothing but the three standard descriptors is
    // in use, and there is no other thread.
    unsafe { limits::close_inherited(&[0, 1, 2]) }?;
    limits::check_environment(&ENVIRONMENT.map(|(name, _)| name))?;
    limits::harden(limits, supervisor)?;
    Ok(Channel::from_stdin()?)
}

pub(super) fn main(args: &[String]) -> Result<(), WorkerError> {
    let (options, supervisor) = WorkerOptions::from_args(args)?;
    let channel = prepare(&Limits::worker(options.memory_bytes), supervisor)?;
    let engine_options = EngineOptions {
        slots: options.slots,
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
            minicbor::decode(&frame.payload).map_err(|e| WorkerError::Message(e.to_string()))?;
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

/// Locks whose data cannot be left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Delivery = (BlobReply, Option<OwnedFd>);

/// The channel to the supervisor, shared by all threads of the worker.
struct Link {
    sender: Mutex<Sender>,
    next_request: AtomicU64,
    waiting: Mutex<HashMap<u64, mpsc::SyncSender<Delivery>>>,
}

impl Link {
    fn new(sender: Sender) -> Self {
        Self {
            sender: Mutex::new(sender),
            next_request: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    fn send(&self, message: &FromWorker) -> Result<(), WorkerError> {
        let payload = minicbor::to_vec(message).map_err(|e| WorkerError::Message(e.to_string()))?;
        Ok(lock(&self.sender).send(&payload, &[])?)
    }

    /// Send and, should that fail, leave it to the main thread to notice that the supervisor is
    /// gone.
    fn tell(&self, message: &FromWorker) {
        let _ = self.send(message);
    }

    fn answered(&self, request: u64, delivery: Delivery) {
        if let Some(waiting) = lock(&self.waiting).remove(&request) {
            let _ = waiting.send(delivery);
        }
    }

    /// Ask the supervisor for a blob of at most `max` bytes.
    fn need(&self, kind: Kind, hash: &Hash, max: u64) -> Result<Vec<u8>, String> {
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = mpsc::sync_channel(1);
        lock(&self.waiting).insert(request, answer);
        let need = FromWorker::Need {
            request,
            kind,
            hash: *hash,
        };
        self.send(&need).map_err(|e| e.to_string())?;
        let (blob, fd) = answered.recv().map_err(|e| e.to_string())?;
        let bytes = match blob {
            BlobReply::Inline(bytes) => bytes,
            BlobReply::File(len) => read(fd, len.min(max.saturating_add(1)))?,
            BlobReply::Missing(why) => return Err(why),
        };
        if bytes.len() as u64 > max {
            return Err(format!(
                "{hash} has more than the {max} bytes that are expected"
            ));
        }
        Ok(bytes)
    }

    fn parts(&self, job: u64, stream: Stream, pieces: &[&[u8]]) {
        let mut pieces = pieces
            .iter()
            .flat_map(|piece| piece.chunks(PART_BYTES))
            .peekable();
        while let Some(piece) = pieces.next() {
            self.tell(&FromWorker::Part {
                job,
                stream,
                bytes: piece.to_vec(),
                more: stream == Stream::Blob && pieces.peek().is_some(),
            });
        }
    }
}

fn read(fd: Option<OwnedFd>, len: u64) -> Result<Vec<u8>, String> {
    let fd = fd.ok_or("the supervisor sent no descriptor")?;
    let capacity = usize::try_from(len).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(capacity)
        .map_err(|e| e.to_string())?;
    let mut buf = vec![0; (1 << 20).min(capacity.max(1))];
    let mut file = File::from(fd);
    // `read_to_end` would ask for the file's metadata, which the sandbox refuses.
    while bytes.len() < capacity {
        let room = buf.len().min(capacity - bytes.len());
        let n = file
            .read(buf.get_mut(..room).unwrap_or_default())
            .map_err(|e| e.to_string())?;
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(buf.get(..n).unwrap_or_default());
    }
    Ok(bytes)
}

struct Worker {
    executor: Executor,
    link: Arc<Link>,
    device: Arc<Device>,
    prepared: Mutex<HashMap<Hash, (u64, Prepared)>>,
    cancels: Mutex<HashMap<u64, Arc<AtomicBool>>>,
    uses: AtomicU64,
}

impl Worker {
    fn run(&self, job: Job, cancel: Arc<AtomicBool>) {
        let started = Instant::now();
        let findings = Arc::new(Mutex::new(Vec::new()));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.execute(&job, cancel, &findings)
        }))
        .unwrap_or_else(|_| Err(Stop::host_fault("the worker panicked; see its log")));
        let duration_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        lock(&self.cancels).remove(&job.job);

        let done = match ended {
            Ok(outcome) => {
                let transcript = outcome.transcript.to_cbor();
                self.link.parts(job.job, Stream::Transcript, &[&transcript]);
                done(&job, outcome, duration_us, &lock(&findings))
            }
            Err(stop) => not_run(&job, &stop, duration_us),
        };
        self.link.tell(&FromWorker::Done(done));
    }

    fn execute(
        &self,
        job: &Job,
        cancel: Arc<AtomicBool>,
        findings: &Arc<Mutex<Vec<Recheck>>>,
    ) -> Result<Outcome, Stop> {
        let bad = |what: &str, e: String| Stop::host_fault(format!("the {what} is unusable: {e}"));
        let spec = ExecSpec::from_cbor(&job.spec).map_err(|e| bad("spec", e.to_string()))?;
        let mut models = BTreeMap::new();
        for named in &job.manifests {
            let manifest = ModelManifest::from_cbor(&named.bytes)
                .map_err(|e| bad("manifest", e.to_string()))?;
            let entry = ModelEntry {
                hash: Hash::of(&named.bytes),
                manifest: Arc::new(manifest),
            };
            models.insert(named.name.clone(), entry);
        }
        let prepared = self.prepared(&spec.component)?;
        let input: Arc<[u8]> = match &job.input {
            Some(bytes) => bytes.as_slice().into(),
            None => self.blob(&spec.input, "input", u64::MAX >> 1)?.into(),
        };
        let answerer = self.answerer(job, findings)?;
        let events = WorkerEvents {
            link: self.link.clone(),
            job: job.job,
            cancel,
            output: Vec::new(),
            log: Vec::new(),
            flushed: Instant::now(),
            progressed: None,
        };
        let run = Run {
            spec: &spec,
            input,
            models: Arc::new(models),
            answerer,
            events: Box::new(events),
            deadline: Some(Duration::from_millis(job.deadline_ms)),
        };
        Ok(self.executor.run(&prepared, run))
    }

    fn answerer(
        &self,
        job: &Job,
        findings: &Arc<Mutex<Vec<Recheck>>>,
    ) -> Result<Box<dyn Answerer>, Stop> {
        let live = |sink| Box::new(Live::new(self.device.clone(), sink));
        match &job.mode {
            Mode::Live => Ok(live(Box::new(Tensors {
                link: self.link.clone(),
                job: job.job,
            }))),
            Mode::Replay { transcript, every } => {
                let max = Transcript::MAX_LEN as u64;
                let bytes = self.blob(transcript, "transcript", max)?;
                let transcript = Transcript::from_cbor(&bytes)
                    .map_err(|e| Stop::Unavailable(format!("the transcript is not usable: {e}")))?;
                let rechecker = (*every > 0).then(|| Rechecker {
                    backend: live(Box::new(NoSink)),
                    every: *every,
                    findings: findings.clone(),
                });
                let tensors = Box::new(Recorded(self.link.clone()));
                Ok(Box::new(Replay::new(transcript, tensors, rechecker)))
            }
        }
    }

    fn blob(&self, hash: &Hash, what: &str, max: u64) -> Result<Vec<u8>, Stop> {
        let unavailable =
            |why: String| Stop::Unavailable(format!("the {what} is not available: {why}"));
        let bytes = self.link.need(Kind::Blob, hash, max).map_err(unavailable)?;
        if Hash::of(&bytes) != *hash {
            return Err(unavailable(format!(
                "the file for {hash} is damaged; hint: delete it and fetch it again"
            )));
        }
        Ok(bytes)
    }

    fn prepared(&self, component: &Hash) -> Result<Prepared, Stop> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some((used, prepared)) = lock(&self.prepared).get_mut(component) {
            *used = now;
            return Ok(prepared.clone());
        }
        let code = self
            .link
            .need(Kind::Code, component, CODE_BYTES_MAX)
            .map_err(|e| Stop::host_fault(format!("no code for {component}: {e}")))?;
        // SAFETY: the supervisor hands out only code that its own compile child made, and that it
        // has authenticated since it was stored.
        let prepared = unsafe { self.executor.prepare(&code) }?;
        let mut all = lock(&self.prepared);
        if all.len() >= PREPARED_MAX
            && let Some(oldest) = all
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(k, _)| *k)
        {
            all.remove(&oldest);
        }
        all.insert(*component, (now, prepared.clone()));
        Ok(prepared)
    }
}

/// Sends recorded tensors to the supervisor, which keeps them.
struct Tensors {
    link: Arc<Link>,
    job: u64,
}

impl TensorSink for Tensors {
    fn tensor(&mut self, tensor: &Tensor) -> Result<(), Stop> {
        let header = tensor_header(tensor.dtype(), tensor.dims());
        let pieces: [&[u8]; 2] = [&header, tensor.bytes()];
        if tensor.bytes().len() < PART_BYTES {
            // One frame: most tensors are small, and a frame costs more than the copy.
            self.link.parts(self.job, Stream::Blob, &[&pieces.concat()]);
        } else {
            self.link.parts(self.job, Stream::Blob, &pieces);
        }
        Ok(())
    }
}

/// Recorded tensors, from the supervisor's blobs.
struct Recorded(Arc<Link>);

impl TensorSource for Recorded {
    fn tensor(&mut self, hash: &Hash) -> Result<Vec<u8>, String> {
        self.0.need(Kind::Blob, hash, u64::MAX >> 1)
    }
}

/// Passes a run's events on, in pieces that are worth a frame.
struct WorkerEvents {
    link: Arc<Link>,
    job: u64,
    cancel: Arc<AtomicBool>,
    output: Vec<u8>,
    log: Vec<u8>,
    flushed: Instant,
    progressed: Option<Instant>,
}

impl WorkerEvents {
    fn flush(&mut self) {
        for (stream, bytes) in [
            (Stream::Output, std::mem::take(&mut self.output)),
            (Stream::Log, std::mem::take(&mut self.log)),
        ] {
            self.link.parts(self.job, stream, &[&bytes]);
        }
        self.flushed = Instant::now();
    }

    fn flush_if_due(&mut self) {
        if self.output.len() + self.log.len() >= FLUSH_BYTES
            || self.flushed.elapsed() >= FLUSH_AFTER
        {
            self.flush();
        }
    }
}

impl Events for WorkerEvents {
    fn progress(&mut self, done: u64, total: u64, note: &str) {
        // A guest may report as often as it likes; people read a few times a second.
        if self
            .progressed
            .is_some_and(|at| at.elapsed() < PROGRESS_EVERY)
            && done != total
        {
            return;
        }
        self.progressed = Some(Instant::now());
        self.link.tell(&FromWorker::Progress {
            job: self.job,
            done,
            total,
            note: note.to_owned(),
        });
    }

    fn output(&mut self, chunk: &[u8]) {
        self.output.extend_from_slice(chunk);
        self.flush_if_due();
    }

    fn log(&mut self, chunk: &[u8]) {
        self.log.extend_from_slice(chunk);
        self.flush_if_due();
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

impl Drop for WorkerEvents {
    fn drop(&mut self) {
        self.flush();
    }
}

fn done(job: &Job, outcome: Outcome, duration_us: u64, findings: &[Recheck]) -> Done {
    let (task_error_code, task_error_message) = outcome.task_error.unzip();
    Done {
        job: job.job,
        status: outcome.status as u8,
        refusal: None,
        fuel: outcome.fuel,
        nn_units: outcome.nn_units,
        peak_memory: outcome.peak_memory,
        duration_us,
        task_error_code,
        task_error_message,
        detail: outcome.detail,
        divergence: outcome.divergence.map(|d| WireDivergence {
            index: d.index,
            operation: d.operation,
            what: d.what,
            expected: d.expected,
            actual: d.actual,
        }),
        rechecks: findings
            .iter()
            .map(|f| WireRecheck {
                index: f.index,
                exact: f.exact,
                accepted: f.accepted,
                max_abs: f.max_abs.to_bits(),
                max_rel: f.max_rel.to_bits(),
            })
            .collect(),
    }
}

fn not_run(job: &Job, stop: &Stop, duration_us: u64) -> Done {
    let status = match stop {
        Stop::Unavailable(_) => Status::Unavailable,
        Stop::Cancelled => Status::Cancelled,
        Stop::Refused(_) => Status::InvalidComponent,
        _ => Status::HostFault,
    };
    let refusal = match stop {
        Stop::Refused(refusal) => Some(refusal.clone().into()),
        _ => None,
    };
    Done {
        job: job.job,
        status: status as u8,
        refusal,
        fuel: 0,
        nn_units: 0,
        peak_memory: 0,
        duration_us,
        task_error_code: None,
        task_error_message: None,
        detail: Some(stop.to_string()),
        divergence: None,
        rechecks: Vec::new(),
    }
}
