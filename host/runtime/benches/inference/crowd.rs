//! Several callers at the same time: one pool for all, or a session of `ort` for each.

use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

use adit_runtime::nn::pool::InferencePool;

use crate::case::Case;
use crate::setting::Setting;
use crate::ways::{Direct, Way, on_pool};

/// How long each caller waited for each of its inferences.
#[derive(Default)]
struct Waits(Mutex<Vec<Duration>>);

impl Waits {
    fn percentiles(&self) -> Option<(Duration, Duration)> {
        let mut waits = std::mem::take(&mut *self.0.lock().expect("unpoisoned"));
        waits.sort();
        let at = |part: usize| waits.get(waits.len() * part / 100).copied();
        Some((at(50)?, at(99)?))
    }
}

/// Lets all callers compute their parts and gives the time from the first start to the last end.
fn together<C: Send>(
    callers: impl ExactSizeIterator<Item = C>,
    inferences: u64,
    waits: &Waits,
    step: impl Fn(&mut C) + Sync,
) -> Duration {
    let count = callers.len();
    let each = inferences.div_ceil(count as u64);
    let start = Barrier::new(count);
    let times = std::thread::scope(|scope| {
        let threads: Vec<_> = callers
            .map(|mut caller| {
                let (start, step) = (&start, &step);
                scope.spawn(move || {
                    let mut waited = Vec::with_capacity(each as usize);
                    start.wait();
                    let first = Instant::now();
                    for _ in 0..each {
                        let began = Instant::now();
                        step(&mut caller);
                        waited.push(began.elapsed());
                    }
                    let last = Instant::now();
                    waits.0.lock().expect("unpoisoned").append(&mut waited);
                    (first, last)
                })
            })
            .collect();
        let ends = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    });
    let (first, last) = times.expect("a caller");
    (last - first).mul_f64(inferences as f64 / (each * count as u64) as f64)
}

/// Threads that each have a session of the crate `ort`.
pub struct DirectCrowd {
    callers: Vec<Direct>,
    waits: Waits,
}

impl DirectCrowd {
    pub fn new(setting: &Setting, case: &Arc<Case>, callers: usize) -> Self {
        Self {
            callers: (0..callers).map(|_| Direct::new(setting, case)).collect(),
            waits: Waits::default(),
        }
    }
}

impl Way for DirectCrowd {
    fn name(&self) -> String {
        "ort".to_owned()
    }

    fn run(&mut self, inferences: u64) -> Duration {
        let callers = self.callers.iter_mut();
        together(callers, inferences, &self.waits, |direct| direct.step())
    }

    fn latency(&mut self) -> Option<(Duration, Duration)> {
        self.waits.percentiles()
    }
}

/// Threads that share an [`InferencePool`].
pub struct PoolCrowd {
    case: Arc<Case>,
    pool: InferencePool,
    slots: usize,
    callers: usize,
    waits: Waits,
}

impl PoolCrowd {
    pub fn new(setting: &Setting, case: &Arc<Case>, callers: usize, slots: usize) -> Self {
        Self {
            case: case.clone(),
            pool: InferencePool::new(setting.backend.clone(), slots).expect("pool"),
            slots,
            callers,
            waits: Waits::default(),
        }
    }
}

impl Way for PoolCrowd {
    fn name(&self) -> String {
        format!("pool of {}", self.slots)
    }

    fn run(&mut self, inferences: u64) -> Duration {
        together(0..self.callers, inferences, &self.waits, |next| {
            black_box(on_pool(&self.pool, &self.case, next));
        })
    }

    fn latency(&mut self) -> Option<(Duration, Duration)> {
        self.waits.percentiles()
    }
}
