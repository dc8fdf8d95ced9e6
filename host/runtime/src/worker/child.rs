//! Child processes of a supervisor: starting them, talking to them, ending them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use adit_protocol::Hash;

use super::channel::{Channel, ChannelError, Receiver, Sender};
use super::compile::{self, CompileLimits};
use super::device::DeviceChoice;
use super::grant::{self, Grant, NotGranted};
use super::limits;
use super::messages::{
    self, BlobReply, Done, FromWorker, Hello, INLINE_BYTES, Job, Kind, Stream, ToWorker,
};
use super::process::{self, Environment, WorkerOptions, target_name};
use super::supervisor::CANCEL_POLL;
use super::trial::{Trial, Tried};
use super::{WORKER_ARGUMENT, lock};
use crate::admission::Refusal;
use crate::engine::Target;
use crate::store::blobs::BlobStore;
use crate::store::code::{CODE_BYTES_MAX, CodeCache};

/// How long a worker may take to be ready.
const START: Duration = Duration::from_secs(30);
/// The same with a device: its libraries may have gigabytes, on a disk that has not read them yet.
const START_DEVICE: Duration = Duration::from_secs(180);
/// Events of one job that may wait. A worker that sends faster than its events are dealt with has
/// to wait as well, so that it cannot fill the memory of its supervisor.
const EVENTS_WAITING: usize = 64;
/// How long the end of a worker that was killed is waited for: the kernel may have gigabytes to
/// take back first.
const REAP: Duration = Duration::from_secs(5);
/// How often the resident set of a worker is looked at.
#[cfg(target_os = "linux")]
const MEMORY_POLL: Duration = Duration::from_millis(50);

/// What happens to one job.
pub(super) enum Event {
    Part {
        stream: Stream,
        bytes: Vec<u8>,
        more: bool,
    },
    Progress {
        done: u64,
        total: u64,
        note: String,
    },
    Done(Box<Done>),
    Tried(Box<Tried>),
    /// The process ended. `guilty`: because of this job, or no other was running in it.
    Died {
        why: String,
        guilty: bool,
    },
}

/// A worker process. Dropping it ends the process.
pub(super) struct Child {
    hello: Hello,
    shared: Arc<Shared>,
}

struct Shared {
    pid: u32,
    state: Mutex<State>,
    /// Told when the process is dead and was waited for.
    gone: Condvar,
    sender: Mutex<Sender>,
}

/// A job that the worker has.
struct Route {
    events: mpsc::SyncSender<Event>,
    grant: Arc<Grant>,
}

#[derive(Default)]
struct State {
    /// Jobs by number.
    routes: HashMap<u64, Route>,
    /// Nothing reaches it any more, although its reader may not have come to see that yet.
    deaf: bool,
    /// Its number may be another process's from now on.
    reaping: bool,
    dead: bool,
    /// Why this side ended the process, if it did.
    ended: Option<String>,
    /// The job that was the reason, if it is known.
    culprit: Option<u64>,
}

impl State {
    /// Whether it may be given jobs.
    fn alive(&self) -> bool {
        !(self.deaf || self.reaping || self.dead) && self.ended.is_none()
    }
}

pub(super) fn command(
    program: &Path,
    kind: &str,
    args: &[String],
    environment: &Environment,
    device: &[(&'static str, OsString)],
    stdin: OwnedFd,
) -> Command {
    let mut command = Command::new(program);
    limits::prepare(&mut command)
        .arg(WORKER_ARGUMENT)
        .arg(kind)
        .args(args)
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::null());
    command.envs(*environment);
    command.envs(device.iter().cloned());
    command
}

impl Child {
    /// Start a worker and wait until it is locked down and ready.
    pub fn start(
        program: &Path,
        options: WorkerOptions,
        blobs: BlobStore,
        code: mpsc::Receiver<Arc<CodeCache>>,
    ) -> Result<Self, String> {
        let (ready, is_ready) = mpsc::sync_channel(1);
        let program = program.to_owned();
        // The kernel ends a worker when the thread that started it ends, so that thread is one
        // which lives as long as the worker: its reader.
        std::thread::Builder::new()
            .name("worker-reader".to_owned())
            .spawn(move || match begin(&program, &options) {
                Ok((mut process, shared, mut receiver, hello)) => {
                    let _ = ready.send(Ok((shared.clone(), hello)));
                    watch_memory(&shared, options.memory_bytes);
                    if let Ok(code) = code.recv() {
                        read(&shared, &mut receiver, &blobs, &code);
                    }
                    // Whatever ended the reading, this worker is not to be trusted any more.
                    let _ = process.kill();
                    lock(&shared.state).reaping = true;
                    let why = match process.wait() {
                        Ok(status) => ended_as(status),
                        Err(e) => e.to_string(),
                    };
                    bury(&shared, &why);
                }
                Err(why) => {
                    let _ = ready.send(Err(why));
                }
            })
            .map_err(|e| e.to_string())?;
        let (shared, hello) = is_ready.recv().map_err(|e| e.to_string())??;
        Ok(Self { hello, shared })
    }

    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    pub fn pid(&self) -> u32 {
        self.shared.pid
    }

    pub fn alive(&self) -> bool {
        lock(&self.shared.state).alive()
    }

    /// Hand a job over, which may ask for what `grant` says until it ends. Its events come out of
    /// the receiver.
    pub fn submit(&self, job: Job, grant: Arc<Grant>) -> Result<mpsc::Receiver<Event>, String> {
        self.give(job.job, ToWorker::Run(job), grant)
    }

    /// Like [`Child::submit`] for a trial.
    pub fn try_model(
        &self,
        trial: Trial,
        grant: Arc<Grant>,
    ) -> Result<mpsc::Receiver<Event>, String> {
        self.give(trial.job, ToWorker::Trial(trial), grant)
    }

    fn give(
        &self,
        number: u64,
        message: ToWorker,
        grant: Arc<Grant>,
    ) -> Result<mpsc::Receiver<Event>, String> {
        let (sender, events) = mpsc::sync_channel(EVENTS_WAITING);
        let route = Route {
            events: sender,
            grant,
        };
        {
            let mut state = lock(&self.shared.state);
            if !state.alive() {
                return Err("the worker has ended".to_owned());
            }
            state.routes.insert(number, route);
        }
        self.shared.send(&message, None).inspect_err(|_| {
            let mut state = lock(&self.shared.state);
            state.routes.remove(&number);
            // Or the next job would be given to the same process.
            state.deaf = true;
        })?;
        Ok(events)
    }

    pub fn cancel(&self, job: u64) {
        let _ = self.shared.send(&ToWorker::Cancel { job }, None);
    }

    /// Stop routing events to a job.
    pub fn forget(&self, job: u64) {
        lock(&self.shared.state).routes.remove(&job);
    }

    /// End the process because of a job.
    pub fn end(&self, why: &str, culprit: u64) {
        self.shared.end(why, Some(culprit));
    }
}

impl Drop for Child {
    /// Waits for the end too, so that no worker outlives its supervisor, and so that what it used
    /// is accounted to this process.
    fn drop(&mut self) {
        self.shared.end("it is no longer needed", None);
        let state = lock(&self.shared.state);
        let alive = |state: &mut State| !state.dead;
        drop(
            self.shared
                .gone
                .wait_timeout_while(state, REAP, alive)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl Shared {
    fn send(&self, message: &ToWorker, fd: Option<&OwnedFd>) -> Result<(), String> {
        let payload = minicbor::to_vec(message).map_err(|e| e.to_string())?;
        let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
        lock(&self.sender)
            .send(&payload, &fds)
            .map_err(|e| e.to_string())
    }

    /// Whether any job of this worker may have what it asks for.
    fn check_grants(&self, kind: Kind, hash: &Hash) -> Result<(), NotGranted> {
        let state = lock(&self.state);
        let grants = state.routes.values().map(|route| &*route.grant);
        grant::check(grants, kind, hash)
    }

    fn end(&self, why: &str, culprit: Option<u64>) {
        let mut state = lock(&self.state);
        if state.reaping || state.ended.is_some() {
            return;
        }
        state.ended = Some(why.to_owned());
        state.culprit = culprit;
        // The reader reaps the process only after it has said so, under this lock, so the number
        // cannot have been given to another process.
        if let Ok(raw) = i32::try_from(self.pid)
            && let Some(pid) = rustix::process::Pid::from_raw(raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

type Begun = (std::process::Child, Arc<Shared>, Receiver, Hello);

fn begin(program: &Path, options: &WorkerOptions) -> Result<Begun, String> {
    let (here, there) = Channel::pair().map_err(|e| e.to_string())?;
    let args = options.to_args(std::process::id())?;
    let mut process = command(
        program,
        "run",
        &args,
        &process::ENVIRONMENT,
        &options.device.environment(),
        there.into_fd(),
    )
    .spawn()
    .map_err(|e| format!("{}: {e}", program.display()))?;
    let (sender, mut receiver) = here.split();
    let start = match options.device {
        DeviceChoice::Embedded => START,
        DeviceChoice::OnnxRuntime(_) => START_DEVICE,
    };
    let first = receiver
        .set_timeout(Some(start))
        .and_then(|()| receiver.recv())
        .map_err(|e| e.to_string());
    let mut end = || {
        let _ = process.kill();
        process.wait().map_or_else(|e| e.to_string(), ended_as)
    };
    let hello = match first.map(|frame| messages::read(&frame.payload)) {
        Ok(Ok(FromWorker::Ready(hello))) => hello,
        // It has said all there is to say.
        Ok(Ok(FromWorker::NotReady(why))) => {
            end();
            return Err(why);
        }
        Ok(Ok(_)) => return Err(format!("it did not say that it is ready; {}", end())),
        Ok(Err(e)) => return Err(format!("{e}; {}", end())),
        Err(why) => return Err(format!("{why}; {}", end())),
    };
    receiver.set_timeout(None).map_err(|e| e.to_string())?;
    let shared = Arc::new(Shared {
        pid: process.id(),
        state: Mutex::default(),
        gone: Condvar::new(),
        sender: Mutex::new(sender),
    });
    Ok((process, shared, receiver, hello))
}

/// Route what the worker says until it ends or breaks the rules.
fn read(shared: &Shared, receiver: &mut Receiver, blobs: &BlobStore, code: &CodeCache) {
    while let Ok(frame) = receiver.recv() {
        let message = match messages::read::<FromWorker>(&frame.payload) {
            Ok(message) => message,
            Err(e) => {
                shared.end(&e.to_string(), None);
                return;
            }
        };
        let (job, event) = match message {
            FromWorker::Need {
                request,
                kind,
                hash,
            } => {
                if let Err(refused) = shared.check_grants(kind, &hash) {
                    shared.end(&refused.to_string(), None);
                    return;
                }
                let (blob, fd) = match kind {
                    Kind::Blob => blob_reply(blobs, &hash),
                    Kind::Code => code_reply(code, &hash),
                };
                if shared
                    .send(&ToWorker::Blob { request, blob }, fd.as_ref())
                    .is_err()
                {
                    return;
                }
                continue;
            }
            FromWorker::Part {
                job,
                stream,
                bytes,
                more,
            } => (
                job,
                Event::Part {
                    stream,
                    bytes,
                    more,
                },
            ),
            FromWorker::Progress {
                job,
                done,
                total,
                note,
            } => (job, Event::Progress { done, total, note }),
            FromWorker::Done(done) => {
                let route = lock(&shared.state).routes.remove(&done.job);
                if let Some(route) = route {
                    let _ = route.events.send(Event::Done(Box::new(done)));
                }
                continue;
            }
            FromWorker::Tried(tried) => {
                let route = lock(&shared.state).routes.remove(&tried.job);
                if let Some(route) = route {
                    let _ = route.events.send(Event::Tried(Box::new(tried)));
                }
                continue;
            }
            FromWorker::Ready(_)
            | FromWorker::NotReady(_)
            | FromWorker::Surveyed(_)
            | FromWorker::Refused(_)
            | FromWorker::Code(_) => {
                shared.end("it sent a message that is not its to send", None);
                return;
            }
        };
        // Sending may wait for the receiver, who may want the lock.
        let route = lock(&shared.state)
            .routes
            .get(&job)
            .map(|route| route.events.clone());
        if let Some(route) = route {
            let _ = route.send(event);
        }
    }
}

fn blob_reply(blobs: &BlobStore, hash: &Hash) -> (BlobReply, Option<OwnedFd>) {
    match blobs.open_blob(hash) {
        Ok((_, len)) if len <= INLINE_BYTES => match blobs.get(hash, INLINE_BYTES) {
            Ok(bytes) => (BlobReply::Inline(bytes), None),
            Err(e) => (BlobReply::Missing(e.to_string()), None),
        },
        Ok((file, len)) => (BlobReply::File(len), Some(file.into())),
        Err(e) => (BlobReply::Missing(e.to_string()), None),
    }
}

fn code_reply(code: &CodeCache, component: &Hash) -> (BlobReply, Option<OwnedFd>) {
    let missing = |why: String| (BlobReply::Missing(why), None);
    match code.take(component) {
        Ok(Some(bytes)) if bytes.len() as u64 <= INLINE_BYTES => (BlobReply::Inline(bytes), None),
        // What was authenticated is in memory; the file could change after that.
        Ok(Some(bytes)) => match memory_file(&bytes) {
            Ok(fd) => (BlobReply::File(bytes.len() as u64), Some(fd)),
            Err(e) => missing(e.to_string()),
        },
        Ok(None) => missing("it is not in the cache".to_owned()),
        Err(e) => missing(e.to_string()),
    }
}

/// A file without a name that holds `bytes`, positioned at its start.
fn memory_file(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    use std::io::Seek as _;
    #[cfg(target_os = "linux")]
    let mut file = {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        std::fs::File::from(rustix::fs::memfd_create("code", flags)?)
    };
    #[cfg(not(target_os = "linux"))]
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

pub(super) fn ended_as(status: std::process::ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("the worker was ended by signal {signal}"),
        (_, Some(code)) => format!("the worker exited with code {code}"),
        _ => "the worker ended".to_owned(),
    }
}

fn bury(shared: &Shared, status: &str) {
    let mut state = lock(&shared.state);
    state.dead = true;
    shared.gone.notify_all();
    let why = match &state.ended {
        Some(ended) => format!("the worker was ended: {ended}"),
        None => status.to_owned(),
    };
    let culprit = state.culprit;
    let routes = std::mem::take(&mut state.routes);
    drop(state);
    let alone = routes.len() == 1;
    for (job, route) in routes {
        let _ = route.events.send(Event::Died {
            why: why.clone(),
            guilty: culprit.map_or(alone, |culprit| culprit == job),
        });
    }
}

/// End the worker when its resident set passes the bound. The data limit of the process is the
/// backstop; this acts before the machine suffers, and says why.
#[cfg(target_os = "linux")]
fn watch_memory(shared: &Arc<Shared>, max: u64) {
    let shared = Arc::downgrade(shared);
    let watch = move || {
        let page = rustix::param::page_size() as u64;
        while let Some(shared) = shared.upgrade() {
            {
                let state = lock(&shared.state);
                if state.reaping || state.ended.is_some() {
                    return;
                }
            }
            let path = format!("/proc/{}/statm", shared.pid);
            let resident = std::fs::read_to_string(path)
                .ok()
                .and_then(|s| s.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()))
                .map_or(0, |pages| pages.saturating_mul(page));
            if resident > max {
                let why = format!("its memory of {resident} bytes is over the bound of {max}");
                shared.end(&why, None);
                return;
            }
            drop(shared);
            std::thread::sleep(MEMORY_POLL);
        }
    };
    // Without the watcher the data limit still holds.
    let _ = std::thread::Builder::new()
        .name("worker-memory".to_owned())
        .spawn(watch);
}

#[cfg(not(target_os = "linux"))]
fn watch_memory(_: &Arc<Shared>, _: u64) {}

/// Why a component was neither compiled nor refused.
pub(super) enum CompileFailure {
    /// It took more than it may.
    Limit(String),
    /// The child could not be started.
    Start(String),
    /// Nobody waits for it any more.
    Cancelled,
}

/// Compile a component for a target in a child process within limits; it is ended when `cancelled`
/// says so.
pub(super) fn compile(
    program: &Path,
    target: Target,
    limits: &CompileLimits,
    wasm: Vec<u8>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Result<Vec<u8>, Refusal>, CompileFailure> {
    let start = |e: String| CompileFailure::Start(e);
    let (here, there) = Channel::pair().map_err(|e| start(e.to_string()))?;
    let args = [
        std::process::id().to_string(),
        target_name(target).to_owned(),
        limits.memory_bytes.to_string(),
        limits.cpu_seconds.to_string(),
    ];
    let mut process = command(
        program,
        "compile",
        &args,
        &compile::ENVIRONMENT,
        &[],
        there.into_fd(),
    )
    .spawn()
    .map_err(|e| start(format!("{}: {e}", program.display())))?;
    let channel = here.with_max_frame(super::compile::FRAME_BYTES);
    let clock = Duration::from_secs(limits.clock_seconds);
    let answer = converse(channel, wasm, clock, cancelled);
    let _ = process.kill();
    let status = process.wait();
    answer.map_err(|why| {
        let Some(why) = why else {
            return CompileFailure::Cancelled;
        };
        let ended = status.map_or_else(|e| e.to_string(), ended_as);
        CompileFailure::Limit(format!(
            "compiling took more than {} s of CPU time, {} s on the clock or {} bytes of memory, or the compiler failed ({why}; {ended}); hint: make the component smaller",
            limits.cpu_seconds, limits.clock_seconds, limits.memory_bytes
        ))
    })
}

/// The child's answer, or why there is none: no reason if it was cancelled.
fn converse(
    channel: Channel,
    wasm: Vec<u8>,
    clock: Duration,
    cancelled: &dyn Fn() -> bool,
) -> Result<Result<Vec<u8>, Refusal>, Option<String>> {
    let begun = Instant::now();
    let (mut sender, mut receiver) = channel.split();
    let message = minicbor::to_vec(ToWorker::Compile { wasm }).map_err(because)?;
    sender.send(&message, &[]).map_err(because)?;
    receiver.set_timeout(Some(CANCEL_POLL)).map_err(because)?;
    let mut code = Vec::new();
    loop {
        if cancelled() {
            return Err(None);
        }
        if begun.elapsed() >= clock {
            return Err(because("time is up"));
        }
        let frame = match receiver.recv() {
            Ok(frame) => frame,
            Err(ChannelError::TimedOut) => continue,
            Err(e) => return Err(because(e)),
        };
        match messages::read(&frame.payload) {
            Ok(FromWorker::Code(part)) if part.is_empty() => return Ok(Ok(code)),
            Ok(FromWorker::Code(part)) => {
                code.extend_from_slice(&part);
                if code.len() as u64 > CODE_BYTES_MAX {
                    return Err(because("the code is too large"));
                }
            }
            Ok(FromWorker::Refused(refusal)) => return Ok(Err(refusal)),
            Ok(_) => return Err(because("it did not answer as it should")),
            Err(e) => return Err(because(e)),
        }
    }
}

fn because(why: impl std::fmt::Display) -> Option<String> {
    Some(why.to_string())
}
