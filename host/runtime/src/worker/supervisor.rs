//! The supervisor's side: hands jobs to a worker process, watches it, and replaces it.
//!
//! Epochs cannot stop a running inference and no limit of the backend bounds its memory, so the
//! last word is the supervisor's: it ends the whole process at the deadline or at the memory
//! bound. Runs that happened to share the process are started again in the next one; they are
//! deterministic, so nobody can tell.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::ExecSpec;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::status::Status;
use adit_protocol::transcript::Transcript;

use super::child::{Child, Event};
use super::follower::Follower;
use super::grant::Grant;
use super::lock;
use super::messages::{Hello, INLINE_BYTES, Job, Mode, NamedBytes};
use super::process::WorkerOptions;
use super::trial::{Named, Trial, Tried};
use crate::admission::{COMPONENT_BYTES_MAX, Refusal};
use crate::record::Divergence;
use crate::replay::Recheck;
use crate::state::Events;
use crate::store::StoreError;
use crate::store::blobs::BlobStore;
use crate::store::code::CodeCache;

/// How much longer than its deadline a run may take before its worker is ended: time for the
/// epoch to stop a guest that is computing, so that only a stuck inference costs a process.
pub const DEADLINE_GRACE: Duration = Duration::from_millis(500);
/// How often a waiting supervisor looks whether a run was cancelled.
pub(super) const CANCEL_POLL: Duration = Duration::from_millis(50);

/// How much longer than it was given a trial may take before its worker is ended.
const TRIAL_GRACE: Duration = Duration::from_secs(300);
/// Most bytes of outputs of one trial.
const TRIAL_BYTES_MAX: u64 = 4 << 30;

/// Components that a supervisor remembers as compiled.
const COMPILED_MAX: usize = 10_000;

/// Where and how a supervisor keeps its workers.
#[derive(Clone, Debug)]
pub struct SupervisorOptions {
    /// The program to start as worker: one that calls [`super::main_if_worker`].
    pub program: PathBuf,
    /// Size of a worker.
    pub worker: WorkerOptions,
    /// Folder of compiled components.
    pub code: PathBuf,
    /// Key for that folder, if it has none yet: 32 random bytes.
    pub fresh_key: [u8; 32],
}

/// A run to be made.
#[derive(Clone, Debug)]
pub struct Task {
    /// What determines the result. Component, input and model files are in the blob store.
    pub spec: ExecSpec,
    /// The bytes of the input, if they are at hand and short; they need not be in the blob store
    /// then. They must be those that the spec names.
    pub input: Option<Arc<[u8]>>,
    /// Manifests of the spec's models by name, encoded.
    pub manifests: BTreeMap<String, Vec<u8>>,
    /// Wall-clock time for the guest.
    pub deadline: Duration,
    /// Where inference answers come from.
    pub mode: Mode,
}

/// What a run left.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its status.
    pub status: Status,
    /// The output.
    pub output: Vec<u8>,
    /// The log.
    pub log: Vec<u8>,
    /// Fuel used.
    pub fuel: u64,
    /// Inference work units.
    pub nn_units: u64,
    /// Peak memory in bytes.
    pub peak_memory: u64,
    /// Time in the worker, in microseconds.
    pub duration_us: u64,
    /// The transcript, encoded.
    pub transcript: Vec<u8>,
    /// Code and message of the guest's own error.
    pub task_error: Option<(u32, String)>,
    /// Why it ended, for people.
    pub detail: Option<String>,
    /// Why the component was refused, if it was.
    pub refusal: Option<Refusal>,
    /// Where a replay left its transcript.
    pub divergence: Option<Divergence>,
    /// Findings of level 3.
    pub rechecks: Vec<Recheck>,
}

impl Ran {
    pub(crate) fn without_guest(status: Status, detail: String) -> Self {
        Self {
            status,
            output: Vec::new(),
            log: Vec::new(),
            fuel: 0,
            nn_units: 0,
            peak_memory: 0,
            duration_us: 0,
            transcript: Transcript::default().to_cbor(),
            task_error: None,
            detail: Some(detail),
            refusal: None,
            divergence: None,
            rechecks: Vec::new(),
        }
    }
}

/// Why a run could not even be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No worker could be started.
    #[error(
        "no worker could be started: {0}; hint: run again with -v, and see `adit explain worker-crashed`"
    )]
    Start(String),
    /// A model could not be computed by itself.
    #[error(
        "the model could not be computed: {0}; hint: another device may take it, see `adit doctor`"
    )]
    Trial(String),
    /// The spec is for another engine.
    #[error(
        "the spec is for the engine {wanted}, and this build is {own}; hint: use the release of adit that has that engine"
    )]
    Engine {
        /// The engine of the spec.
        wanted: Hash,
        /// The engine of this build.
        own: Hash,
    },
}

/// Runs tasks in workers. Shared by any number of threads; each calls [`Supervisor::run`].
pub struct Supervisor {
    options: SupervisorOptions,
    blobs: BlobStore,
    current: Mutex<Option<Running>>,
    jobs: AtomicU64,
    /// Components whose code this process has made or authenticated.
    compiled: Mutex<HashSet<Hash>>,
    free: Mutex<u32>,
    freed: Condvar,
}

#[derive(Clone)]
struct Running {
    child: Arc<Child>,
    code: Arc<CodeCache>,
}

impl Supervisor {
    /// A supervisor over a blob store. Its worker is started when the first run needs it.
    pub fn new(options: SupervisorOptions, blobs: BlobStore) -> Self {
        let free = Mutex::new(options.worker.slots.max(1));
        Self {
            options,
            blobs,
            current: Mutex::new(None),
            jobs: AtomicU64::new(0),
            compiled: Mutex::default(),
            free,
            freed: Condvar::new(),
        }
    }

    /// What the worker says of itself: engine, environment, sandbox. Starts it if need be.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::Start`].
    pub fn hello(&self) -> Result<Hello, SupervisorError> {
        Ok(self.running()?.child.hello().clone())
    }

    /// Process number of the present worker, if there is one.
    pub fn worker_pid(&self) -> Option<u32> {
        lock(&self.current).as_ref().map(|r| r.child.pid())
    }

    /// Make a run and wait for its end. Blocks while all slots are taken.
    ///
    /// # Errors
    ///
    /// [`SupervisorError`] if it could not be tried; every way in which a run ends is a status.
    pub fn run(&self, task: &Task, events: &mut dyn Events) -> Result<Ran, SupervisorError> {
        let _slot = self.slot();
        let running = self.running()?;
        let own = running.child.hello().engine;
        if task.spec.engine != own {
            return Err(SupervisorError::Engine {
                wanted: task.spec.engine,
                own,
            });
        }
        let component = &task.spec.component;
        if let Some(ended) = self.ensure_code(&running, component, &|| events.cancelled())? {
            return Ok(ended);
        }
        let grant = Arc::new(Grant::of(task, &self.blobs));
        let mut follower = Follower::new(&self.blobs, task, events);
        let mut running = running;
        for attempt in 0.. {
            let last = attempt == 1;
            match self.attempt(&running, task, &grant, &mut follower)? {
                Attempt::Ended(ran) => return Ok(*ran),
                Attempt::WorkerDied { why, guilty } if guilty || last => {
                    return Ok(Ran::without_guest(Status::HostFault, why));
                }
                // Some other run may have been the worker's end.
                Attempt::WorkerDied { .. } => {
                    follower.restart();
                    running = self.running()?;
                }
            }
        }
        unreachable!("the second attempt returns")
    }

    /// Compute a model by itself on the worker's device, each case `rounds` times or until `time`
    /// has passed, and keep the outputs of the first round as blobs. `cases` are the inputs by
    /// name, as tensor blobs of the store.
    ///
    /// # Errors
    ///
    /// [`SupervisorError::Start`] if no worker can be started, [`SupervisorError::Trial`] if the
    /// model cannot be loaded or the worker dies of it.
    pub fn try_model(
        &self,
        manifest: &ModelManifest,
        cases: Vec<Vec<Named>>,
        rounds: u32,
        time: Duration,
    ) -> Result<Tried, SupervisorError> {
        let _slot = self.slot();
        let running = self.running()?;
        let job = self.jobs.fetch_add(1, Ordering::Relaxed);
        let trial = Trial {
            job,
            manifest: manifest.to_cbor(),
            cases,
            rounds,
            time_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        };
        let grant = Arc::new(Grant::of_trial(&trial));
        let failed = SupervisorError::Trial;
        let child = &running.child;
        let events = child.try_model(trial, grant).map_err(failed)?;
        // Loading may compile kernels; one computation on a slow device may outlast `time`.
        let deadline = Instant::now() + time + TRIAL_GRACE;
        let (mut blob, mut received) = (Vec::new(), 0u64);
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            match events.recv_timeout(wait) {
                Ok(Event::Tried(tried)) => {
                    return match tried.error {
                        Some(error) => Err(failed(error)),
                        None => Ok(*tried),
                    };
                }
                Ok(Event::Part { bytes, more, .. }) => {
                    received = received.saturating_add(bytes.len() as u64);
                    if received > TRIAL_BYTES_MAX {
                        child.end("a trial sent more than it may", job);
                        continue;
                    }
                    blob.extend_from_slice(&bytes);
                    if !more {
                        self.blobs.put(&std::mem::take(&mut blob))?;
                    }
                }
                Ok(Event::Died { why, .. }) => return Err(failed(why)),
                Ok(Event::Done(_) | Event::Progress { .. }) => {
                    child.end("it answered a trial as a run", job);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(failed("the worker is gone".to_owned()));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    child.forget(job);
                    child.end("a trial did not end in time", job);
                    return Err(failed("it did not end in time".to_owned()));
                }
            }
        }
    }

    fn slot(&self) -> Slot<'_> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self
                .freed
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Slot(self)
    }

    fn running(&self) -> Result<Running, SupervisorError> {
        let mut current = lock(&self.current);
        if let Some(running) = current.as_ref().filter(|r| r.child.alive()) {
            return Ok(running.clone());
        }
        let (code_sender, code_receiver) = mpsc::channel();
        let child = Child::start(
            &self.options.program,
            self.options.worker.clone(),
            self.blobs.clone(),
            code_receiver,
        )
        .map_err(SupervisorError::Start)?;
        let code = Arc::new(CodeCache::open(
            &self.options.code,
            self.options.fresh_key,
            child.hello().compatibility,
        )?);
        // The reader thread waits for this before it answers the first request for code.
        let _ = code_sender.send(code.clone());
        let running = Running {
            child: Arc::new(child),
            code,
        };
        *current = Some(running.clone());
        Ok(running)
    }

    /// Have the code of a component in the cache, or the end of the run if it cannot be.
    fn ensure_code(
        &self,
        running: &Running,
        component: &Hash,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Ran>, SupervisorError> {
        // Authenticating code takes as long as reading it, so once in a process is enough here:
        // it is done again whenever the code is handed to a worker.
        if lock(&self.compiled).contains(component) && running.code.contains(component) {
            return Ok(None);
        }
        if running.code.prepare(component)? {
            self.remember(component);
            return Ok(None);
        }
        let wasm = match self.blobs.get(component, COMPONENT_BYTES_MAX) {
            Ok(wasm) => wasm,
            Err(StoreError::TooLarge { bytes, .. }) => {
                // Every machine refuses it, if it is the component and not a damaged file.
                self.blobs.check(component)?;
                return Ok(Some(refused(Refusal::TooLarge { bytes })));
            }
            Err(e) => return Err(e.into()),
        };
        let SupervisorOptions {
            program, worker, ..
        } = &self.options;
        match super::child::compile(program, worker.target, &worker.compile, wasm, cancelled) {
            Ok(Ok(code)) => {
                running.code.put(component, code)?;
                self.remember(component);
                Ok(None)
            }
            Ok(Err(refusal)) => Ok(Some(refused(refusal))),
            Err(super::child::CompileFailure::Limit(why)) => {
                Ok(Some(Ran::without_guest(Status::CompileLimit, why)))
            }
            Err(super::child::CompileFailure::Cancelled) => Ok(Some(Ran::without_guest(
                Status::Cancelled,
                "the run was cancelled while its component was compiled".to_owned(),
            ))),
            Err(super::child::CompileFailure::Start(why)) => Err(SupervisorError::Start(why)),
        }
    }

    fn remember(&self, component: &Hash) {
        let mut compiled = lock(&self.compiled);
        if compiled.len() >= COMPILED_MAX {
            compiled.clear();
        }
        compiled.insert(*component);
    }

    fn attempt(
        &self,
        running: &Running,
        task: &Task,
        grant: &Arc<Grant>,
        follower: &mut Follower<'_>,
    ) -> Result<Attempt, SupervisorError> {
        let number = self.jobs.fetch_add(1, Ordering::Relaxed);
        let job = Job {
            job: number,
            spec: task.spec.to_cbor(),
            manifests: task
                .manifests
                .iter()
                .map(|(name, bytes)| NamedBytes {
                    name: name.clone(),
                    bytes: bytes.clone(),
                })
                .collect(),
            deadline_ms: u64::try_from(task.deadline.as_millis()).unwrap_or(u64::MAX),
            mode: task.mode.clone(),
            input: match &task.input {
                Some(bytes) => Some(bytes.to_vec()),
                None => self.short_input(&task.spec.input)?,
            },
        };
        let child = &running.child;
        let started = Instant::now();
        let mut deadline = started + task.deadline + DEADLINE_GRACE;
        let events = match child.submit(job, grant.clone()) {
            Ok(events) => events,
            Err(why) => return Ok(Attempt::WorkerDied { why, guilty: false }),
        };
        let mut cancelling = false;
        loop {
            let now = Instant::now();
            let wait = deadline.saturating_duration_since(now).min(CANCEL_POLL);
            match events.recv_timeout(wait) {
                Ok(Event::Done(done)) => {
                    return Ok(Attempt::Ended(Box::new(follower.finish(*done)?)));
                }
                Ok(Event::Died { why, guilty }) => {
                    return Ok(Attempt::WorkerDied { why, guilty });
                }
                Ok(Event::Part {
                    stream,
                    bytes,
                    more,
                }) => {
                    if let Err(why) = follower.part(stream, bytes, more) {
                        child.end(&why, number);
                    }
                }
                // A run is no trial; a worker that mixes them up has broken the rules.
                Ok(Event::Tried(_)) => child.end("it answered a run as a trial", number),
                Ok(Event::Progress { done, total, note }) => {
                    follower.events.progress(done, total, &note);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Ok(Attempt::WorkerDied {
                        why: "the worker is gone".to_owned(),
                        guilty: false,
                    });
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if !cancelling && follower.events.cancelled() {
                cancelling = true;
                // A guest that makes no host call does not notice: its worker is ended then.
                deadline = deadline.min(Instant::now() + DEADLINE_GRACE);
                child.cancel(number);
            }
            if Instant::now() >= deadline {
                let status = if cancelling {
                    Status::Cancelled
                } else {
                    Status::Deadline
                };
                child.forget(number);
                child.end("a run passed its deadline and did not stop", number);
                let ran = follower.cut_short(status, started.elapsed());
                return Ok(Attempt::Ended(Box::new(ran)));
            }
        }
    }

    fn short_input(&self, input: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let (_, len) = self.blobs.open_blob(input)?;
        if len > INLINE_BYTES {
            return Ok(None);
        }
        self.blobs.get(input, INLINE_BYTES).map(Some)
    }
}

fn refused(refusal: Refusal) -> Ran {
    Ran {
        refusal: Some(refusal.clone()),
        ..Ran::without_guest(Status::InvalidComponent, refusal.to_string())
    }
}

struct Slot<'a>(&'a Supervisor);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.freed.notify_one();
    }
}

enum Attempt {
    Ended(Box<Ran>),
    WorkerDied { why: String, guilty: bool },
}
