//! Threads that run backend code, apart from those that run Wasm.
//!
//! A caller hands over a job and sleeps until it is answered. The way there and back is short: a
//! job runs on a thread that its backend prepared ([`Backend::on_thread`]), an idle thread looks
//! for the next job for some microseconds before it sleeps, and so does the caller for its answer.
//! Tensors are handed over, not copied.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use adit_protocol::manifest::ModelManifest;

use super::backend::{Backend, BackendError, BackendInfo, LoadedModel, ModelFiles, contained};
use super::tensor::Tensor;
use crate::engine::reset_float_environment;

/// Jobs that may wait; callers beyond that wait for room. Each caller has at most one job.
const QUEUE: usize = 256;
/// How long an idle thread looks for a job, and a caller for its answer, before it sleeps. Waking
/// a thread on another core was measured to cost 20 to 50 microseconds on a virtual machine; with
/// less than this, a model that takes 250 microseconds lost a quarter of its speed to wake-ups.
const LOOK: Duration = Duration::from_micros(400);

/// A fixed number of inference threads for one backend.
///
/// Dropping the pool lets the running jobs finish, answers the waiting ones with an error and
/// joins the threads.
pub struct InferencePool {
    backend: Arc<dyn Backend>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl InferencePool {
    /// Starts `workers` threads (at least one): that many computations can run at the same time,
    /// each with as many threads as the backend uses for one.
    ///
    /// # Errors
    ///
    /// [`BackendError::Failed`] if the system or the backend does not grant the threads.
    pub fn new(backend: Arc<dyn Backend>, workers: usize) -> Result<Self, BackendError> {
        let shared = Arc::new(Shared::default());
        let mut pool = Self {
            backend,
            shared,
            threads: Vec::new(),
        };
        for index in 0..workers.max(1) {
            let (started, outcome) = mpsc::sync_channel(1);
            let shared = pool.shared.clone();
            let backend = pool.backend.clone();
            let thread = thread::Builder::new()
                .name(format!("inference-{index}"))
                .spawn(move || {
                    let result = contained(|| {
                        backend.on_thread(&mut || {
                            // The receiver waits for exactly this message.
                            let _ = started.try_send(Ok(()));
                            shared.serve();
                        })
                    });
                    if let Err(error) = result {
                        let _ = started.try_send(Err(error));
                    }
                })
                .map_err(|error| {
                    BackendError::failed(format!("an inference thread cannot be started: {error}"))
                })?;
            pool.threads.push(thread);
            outcome.recv().unwrap_or_else(|_| {
                Err(BackendError::failed(
                    "an inference thread ended before its first job",
                ))
            })?;
        }
        Ok(pool)
    }

    /// What the pool's backend says about itself.
    pub fn describe(&self) -> BackendInfo {
        self.backend.describe()
    }

    /// Loads a model on an inference thread and waits for it.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::load`]; a panic is [`BackendError::Panicked`].
    pub fn load(
        &self,
        manifest: Arc<ModelManifest>,
        files: ModelFiles,
    ) -> Result<Arc<dyn LoadedModel>, BackendError> {
        let backend = self.backend.clone();
        self.run(move || backend.load(&manifest, files))
    }

    /// Computes on an inference thread and waits for the outputs.
    ///
    /// # Errors
    ///
    /// Those of [`LoadedModel::compute`]; a panic is [`BackendError::Panicked`].
    pub fn compute(
        &self,
        model: Arc<dyn LoadedModel>,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, BackendError> {
        self.run(move || model.compute(inputs))
    }

    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let answer = Arc::new(Answer {
            ready: AtomicBool::new(false),
            value: Mutex::new(None),
            caller: thread::current(),
        });
        let promise = Promise(answer.clone());
        self.shared.push(Box::new(move || {
            let result = contained(job);
            promise.keep(result);
        }));
        answer.wait()
    }
}

impl Drop for InferencePool {
    fn drop(&mut self) {
        let waiting = {
            let mut queue = self.shared.lock();
            queue.closed = true;
            self.shared.waiting.store(0, Ordering::Release);
            std::mem::take(&mut queue.jobs)
        };
        self.shared.closed.store(true, Ordering::Release);
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        // Dropped outside the lock: each dropped job answers its caller.
        drop(waiting);
        for thread in self.threads.drain(..) {
            // A panic outside a job was reported by the panic hook; nobody waits for this thread.
            let _ = thread.join();
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
    /// Threads that sleep until `work` is notified.
    sleeping: usize,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    room: Condvar,
    /// Copies of the queue's length and state that can be looked at without the lock.
    waiting: AtomicUsize,
    closed: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that can panic runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) {
        let mut queue = self.lock();
        while queue.jobs.len() >= QUEUE && !queue.closed {
            queue = self
                .room
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if queue.closed {
            drop(queue);
            // Its promise answers the caller.
            drop(job);
            return;
        }
        queue.jobs.push_back(job);
        self.waiting.store(queue.jobs.len(), Ordering::Release);
        let wake = queue.sleeping > 0;
        drop(queue);
        if wake {
            self.work.notify_one();
        }
    }

    /// Runs jobs until the pool is closed.
    fn serve(&self) {
        while let Some(job) = self.next() {
            // A library may have changed the state on this thread for good, and what a model
            // computes must not depend on which one was here before.
            reset_float_environment();
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        look_for(|| {
            self.waiting.load(Ordering::Acquire) > 0 || self.closed.load(Ordering::Acquire)
        });
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                self.waiting.store(queue.jobs.len(), Ordering::Release);
                let was_full = queue.jobs.len() + 1 >= QUEUE;
                drop(queue);
                if was_full {
                    self.room.notify_all();
                }
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue.sleeping += 1;
            queue = self
                .work
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.sleeping -= 1;
        }
    }
}

/// Where one caller waits for one result.
struct Answer<T> {
    ready: AtomicBool,
    value: Mutex<Option<Result<T, BackendError>>>,
    caller: Thread,
}

impl<T> Answer<T> {
    fn wait(&self) -> Result<T, BackendError> {
        let ready = || self.ready.load(Ordering::Acquire);
        look_for(ready);
        while !ready() {
            thread::park();
        }
        let value = self
            .value
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        value.unwrap_or_else(|| Err(BackendError::failed("the inference threads have ended")))
    }
}

/// The other end of an [`Answer`]. When it is dropped the caller wakes, whatever happened.
struct Promise<T>(Arc<Answer<T>>);

impl<T> Promise<T> {
    fn keep(self, result: Result<T, BackendError>) {
        *self.0.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.0.ready.store(true, Ordering::Release);
        self.0.caller.unpark();
    }
}

/// Looks for an event for a short time. It yields the processor in between, so that it costs
/// nothing where another thread could use it.
fn look_for(event: impl Fn() -> bool) {
    let start = Instant::now();
    while !event() && start.elapsed() < LOOK {
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with what its job is named after.
    struct Plain;

    impl Backend for Plain {
        fn describe(&self) -> BackendInfo {
            panic!("a test does not ask")
        }

        fn load(
            &self,
            _: &ModelManifest,
            _: ModelFiles,
        ) -> Result<Arc<dyn LoadedModel>, BackendError> {
            Err(BackendError::failed("a test does not load"))
        }
    }

    /// A backend whose threads cannot be prepared.
    struct NoThreads;

    impl Backend for NoThreads {
        fn describe(&self) -> BackendInfo {
            panic!("a test does not ask")
        }

        fn load(
            &self,
            _: &ModelManifest,
            _: ModelFiles,
        ) -> Result<Arc<dyn LoadedModel>, BackendError> {
            Err(BackendError::failed("a test does not load"))
        }

        fn on_thread(&self, _: &mut (dyn FnMut() + Send)) -> Result<(), BackendError> {
            Err(BackendError::failed("refused"))
        }
    }

    fn pool(workers: usize) -> InferencePool {
        InferencePool::new(Arc::new(Plain), workers).unwrap()
    }

    #[test]
    fn jobs_run_on_other_threads() {
        let pool = pool(1);
        let caller = thread::current().id();
        assert_ne!(pool.run(|| Ok(thread::current().id())).unwrap(), caller);
    }

    #[test]
    fn a_panic_is_answered_and_the_pool_goes_on() {
        let pool = pool(1);
        for _ in 0..3 {
            let error = pool.run::<()>(|| panic!("on purpose")).unwrap_err();
            assert_eq!(error, BackendError::Panicked("on purpose".into()));
        }
        assert_eq!(pool.run(|| Ok(7)), Ok(7));
    }

    #[test]
    fn every_caller_gets_its_own_answer() {
        let pool = pool(2);
        thread::scope(|scope| {
            for caller in 0..8u32 {
                let pool = &pool;
                scope.spawn(move || {
                    for call in 0..500u32 {
                        let value = caller * 1000 + call;
                        assert_eq!(pool.run(move || Ok(value)), Ok(value));
                    }
                });
            }
        });
    }

    #[test]
    fn more_callers_than_the_queue_holds_all_get_through() {
        let pool = pool(1);
        let done = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..QUEUE + 44 {
                let (pool, done) = (&pool, done.clone());
                scope.spawn(move || {
                    pool.run(move || {
                        thread::sleep(Duration::from_micros(50));
                        done.fetch_add(1, Ordering::Relaxed);
                        Ok(())
                    })
                });
            }
        });
        assert_eq!(done.load(Ordering::Relaxed), QUEUE + 44);
    }

    #[test]
    fn dropping_the_pool_finishes_the_running_job() {
        let pool = pool(1);
        let done = Arc::new(AtomicBool::new(false));
        let (started, running) = mpsc::channel();
        let flag = done.clone();
        // Pushed without waiting for the answer, as `run` would.
        pool.shared.push(Box::new(move || {
            started.send(()).unwrap();
            thread::sleep(Duration::from_millis(20));
            flag.store(true, Ordering::Release);
        }));
        running.recv().unwrap();
        drop(pool);
        assert!(done.load(Ordering::Acquire));
    }

    #[test]
    fn a_job_that_is_dropped_answers_its_caller() {
        let answer = Arc::new(Answer::<()> {
            ready: AtomicBool::new(false),
            value: Mutex::new(None),
            caller: thread::current(),
        });
        drop(Promise(answer.clone()));
        assert!(matches!(answer.wait(), Err(BackendError::Failed(_))));
    }

    #[test]
    fn a_backend_that_cannot_start_is_an_error() {
        let error = InferencePool::new(Arc::new(NoThreads), 2).err();
        assert_eq!(error, Some(BackendError::failed("refused")));
    }
}
