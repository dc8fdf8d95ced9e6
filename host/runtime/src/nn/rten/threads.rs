//! Threads and stacks for rten.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};
use std::thread;

use rten::ThreadPool;

use crate::nn::backend::{BackendError, contained, panic_text};

/// Stack that rten may take per operator: its planner recurses along chains of operators, with
/// some 470 bytes a step as measured in an optimised build.
const STACK_PER_NODE: u64 = 2048;
/// Stack of a thread where nothing else is said (`std::thread`).
const DEFAULT_STACK: u64 = 2 << 20;

thread_local! {
    /// The pool that this thread belongs to, and its number of threads.
    static ENTERED: RefCell<Option<(usize, Arc<ThreadPool>)>> = const { RefCell::new(None) };
}

/// Pools of one number of threads: one per inference thread, and a shared one, made when it is
/// first needed, for computations from elsewhere.
pub(super) struct LazyPool {
    threads: usize,
    shared: OnceLock<Arc<ThreadPool>>,
}

impl LazyPool {
    pub fn new(threads: usize) -> Self {
        Self {
            threads,
            shared: OnceLock::new(),
        }
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `body` as a member of a new pool. rten hands each computation to a thread of a pool
    /// and waits; for a caller that is such a thread the computation starts at once instead of
    /// after a wake-up.
    pub fn enter(&self, body: &mut (dyn FnMut() + Send)) -> Result<(), BackendError> {
        let pool = self.make()?;
        pool.run(|| {
            ENTERED.replace(Some((self.threads, pool.clone())));
            body();
            ENTERED.replace(None);
        });
        Ok(())
    }

    /// The pool of the current thread, or else the shared one.
    pub fn current(&self) -> Result<Arc<ThreadPool>, BackendError> {
        let entered = ENTERED.with_borrow(|entered| {
            let (_, pool) = entered
                .as_ref()
                .filter(|(threads, _)| *threads == self.threads)?;
            Some(pool.clone())
        });
        match entered {
            Some(pool) => Ok(pool),
            None => self.shared(),
        }
    }

    /// The pool that no inference thread occupies.
    pub fn shared(&self) -> Result<Arc<ThreadPool>, BackendError> {
        if let Some(pool) = self.shared.get() {
            return Ok(pool.clone());
        }
        let pool = self.make()?;
        Ok(self.shared.get_or_init(|| pool).clone())
    }

    fn make(&self) -> Result<Arc<ThreadPool>, BackendError> {
        let pool = ThreadPool::with_num_threads(self.threads);
        // Where threads cannot be had, rten silently runs everything on the caller's thread and
        // with another number of threads.
        let caller = thread::current().id();
        if pool.run(|| thread::current().id()) == caller {
            return Err(BackendError::failed(format!(
                "the system did not grant {} inference threads",
                self.threads
            )));
        }
        Ok(Arc::new(pool))
    }
}

/// Whether a graph of so many operators can be planned on any thread's stack.
pub(super) fn fits_any_stack(nodes: u64) -> bool {
    nodes.saturating_mul(STACK_PER_NODE) <= DEFAULT_STACK
}

/// Runs `f` on a stack that is large enough for a graph of so many operators, however deep it is.
/// The memory is only used as far as the recursion goes.
pub(super) fn on_stack_for<T: Send>(
    nodes: u64,
    f: impl FnOnce() -> Result<T, BackendError> + Send,
) -> Result<T, BackendError> {
    if fits_any_stack(nodes) {
        return contained(f);
    }
    let stack = nodes
        .saturating_mul(STACK_PER_NODE)
        .saturating_add(DEFAULT_STACK);
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("rten-plan".into())
            .stack_size(usize::try_from(stack).map_err(BackendError::failed)?)
            .spawn_scoped(scope, || contained(f))
            .map_err(|error| {
                BackendError::failed(format!("no thread with {stack} bytes of stack: {error}"))
            })?;
        thread
            .join()
            .unwrap_or_else(|payload| Err(BackendError::Panicked(panic_text(&*payload))))
    })
}

/// Refuses graphs inside operators that could overflow a stack: rten plans them while they run,
/// on threads of its own, whose stacks are as large as the process environment says.
pub(super) fn check_nested(nodes: u64) -> Result<(), BackendError> {
    let stack = std::env::var("RUST_MIN_STACK")
        .ok()
        .and_then(|size| size.parse().ok())
        .unwrap_or(DEFAULT_STACK);
    if nodes.saturating_mul(STACK_PER_NODE / 2) <= stack {
        return Ok(());
    }
    Err(BackendError::unsupported(format!(
        "a graph of {nodes} operators inside an operator could overflow the stack of {stack} \
         bytes, which the environment variable RUST_MIN_STACK sets"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_thread_computes_on_itself() {
        let lazy = LazyPool::new(2);
        let mut same = false;
        lazy.enter(&mut || {
            let here = thread::current().id();
            same = lazy.current().unwrap().run(|| thread::current().id()) == here;
        })
        .unwrap();
        assert!(same);
        let outside = thread::current().id();
        assert_ne!(
            lazy.current().unwrap().run(|| thread::current().id()),
            outside
        );
    }

    #[test]
    fn a_pool_of_another_size_is_not_taken_for_the_own() {
        let (one, two) = (LazyPool::new(1), LazyPool::new(2));
        let mut same = true;
        one.enter(&mut || {
            let here = thread::current().id();
            same = two.current().unwrap().run(|| thread::current().id()) == here;
        })
        .unwrap();
        assert!(!same);
    }

    #[test]
    fn a_large_stack_is_really_given() {
        fn descend(depth: u64) -> u64 {
            let frame = std::hint::black_box([depth; 64]);
            if depth == 0 {
                0
            } else {
                frame.iter().take(1).sum::<u64>() - depth + 1 + descend(depth - 1)
            }
        }
        // 20,000 frames of more than 512 bytes: 10 MB.
        assert_eq!(on_stack_for(20_000, || Ok(descend(20_000))), Ok(20_000));
        assert_eq!(
            on_stack_for::<()>(20_000, || panic!("there")),
            Err(BackendError::Panicked("there".into()))
        );
    }

    #[test]
    fn nested_graphs_are_bounded() {
        assert!(check_nested(500).is_ok());
        assert!(matches!(
            check_nested(1 << 40),
            Err(BackendError::Unsupported(_))
        ));
    }
}
