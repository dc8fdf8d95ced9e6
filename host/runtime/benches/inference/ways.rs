//! Ways to compute a case, and how they are measured beside each other.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_protocol::tensor::DType;
use adit_runtime::nn::pool::InferencePool;
use adit_runtime::nn::tensor::Tensor;
use criterion::{Criterion, Throughput};
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use crate::case::{Case, GuestTask, Named};
use crate::setting::Setting;

/// How many seconds a group is measured in turns, unless the variable says otherwise, and in how
/// many turns at least.
const TURNS: (u64, usize) = (25, 9);
const SECONDS: &str = "ADIT_BENCH_SECONDS";
/// How long one way is measured in one turn at least, after it has computed as much unmeasured: a
/// model's weights were seen to take a tenth of a second to come back to the processor's caches
/// after another copy of them was used, and inference to take twice as long until then.
const TURN: Duration = Duration::from_millis(100);

/// A way to compute.
pub trait Way {
    /// Its name beside the others of a group.
    fn name(&self) -> String;

    /// Computes at least so many inferences, and gives the time that so many took.
    fn run(&mut self, inferences: u64) -> Duration;

    /// How many it computes at least.
    fn least(&self) -> u64 {
        1
    }

    /// The median and the 99th percentile of a caller's waits since the last question, where they
    /// say more than the time does.
    fn latency(&mut self) -> Option<(Duration, Duration)> {
        None
    }
}

/// Measures ways by themselves and in turns. The first is what the others are compared with. `true`
/// unless the command line left something out.
pub fn measure(c: &mut Criterion, group: &str, ways: &mut [Box<dyn Way + '_>]) -> bool {
    let mut done = vec![0u64; ways.len()];
    let mut criterion = c.benchmark_group(group);
    criterion.throughput(Throughput::Elements(1));
    criterion.sample_size(10);
    criterion.warm_up_time(Duration::from_millis(500));
    criterion.measurement_time(Duration::from_secs(2));
    for (way, done) in ways.iter_mut().zip(&mut done) {
        criterion.bench_function(way.name(), |b| {
            b.iter_custom(|inferences| {
                *done += inferences;
                way.run(inferences)
            });
        });
    }
    criterion.finish();
    // Criterion computes nothing of what it was told to leave out, and once what it only tests.
    let all = done.iter().all(|done| *done > 1);
    if all {
        compare(group, ways);
    }
    all
}

fn compare(group: &str, ways: &mut [Box<dyn Way + '_>]) {
    let least = ways.iter().map(|way| way.least()).max().unwrap_or(1);
    let one = ways[0].run(least).as_secs_f64() / least as f64;
    let count = least.max((TURN.as_secs_f64() / one).ceil() as u64);
    let mut times = vec![Vec::new(); ways.len()];
    let mut waits = vec![Vec::new(); ways.len()];
    let seconds = std::env::var(SECONDS).ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(TURNS.0));
    while times[0].len() < TURNS.1 || Instant::now() < until {
        // Each begins a turn as often as the others.
        let turn = times[0].len();
        for place in 0..ways.len() {
            let at = (turn + place) % ways.len();
            ways[at].run(count);
            ways[at].latency();
            let time = ways[at].run(count);
            times[at].push(time.as_secs_f64() * 1e6 / count as f64);
            waits[at].extend(ways[at].latency());
        }
    }
    println!(
        "{group}, medians and quartiles of {} turns:",
        times[0].len()
    );
    for (at, way) in ways.iter().enumerate() {
        let ratios = times[at]
            .iter()
            .zip(&times[0])
            .map(|(ours, first)| ours / first);
        let ratios = quartiles(ratios.collect());
        let time = median(times[at].clone());
        let rate = 1e6 / time;
        let [low, ratio, high] = ratios;
        print!(
            "  {:<12} {time:>9.1} us  {rate:>8.0}/s  {ratio:>6.3}x ({low:.3} to {high:.3})",
            way.name()
        );
        match waits[at].is_empty() {
            true => println!(),
            false => {
                let of = |which: fn(&(Duration, Duration)) -> Duration| {
                    let waits = waits[at].iter().map(which);
                    median(waits.map(|wait| wait.as_secs_f64() * 1e3).collect())
                };
                let (half, most) = (of(|wait| wait.0), of(|wait| wait.1));
                println!("  waits: p50 {half:.2} ms, p99 {most:.2} ms");
            }
        }
    }
}

/// The middle one of some numbers.
pub fn median(values: Vec<f64>) -> f64 {
    quartiles(values)[1]
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|part| values[values.len() * part / 4])
}

/// The crate `ort`, called directly.
pub struct Direct {
    session: Session,
    case: Arc<Case>,
    /// Inputs that the model wants without dimensions where a guest gives `[1]`.
    scalars: Vec<String>,
    next: usize,
}

impl Direct {
    pub fn new(setting: &Setting, case: &Arc<Case>) -> Self {
        let builder = setting.backend.session_builder().expect("options");
        Self::of(
            { builder }.commit_from_memory(&case.file).expect("model"),
            case,
        )
    }

    /// With a session that was made already.
    pub fn of(session: Session, case: &Arc<Case>) -> Self {
        let scalar = |input: &&ort::value::Outlet| {
            let shape = input.dtype().tensor_shape();
            shape.is_some_and(|shape| shape.is_empty())
        };
        let scalars = session.inputs().iter().filter(scalar);
        let scalars = scalars.map(|input| input.name().to_owned()).collect();
        Self {
            session,
            case: case.clone(),
            scalars,
            next: 0,
        }
    }

    /// One inference.
    pub fn step(&mut self) {
        let at = self.next;
        self.next = (at + 1) % self.case.inputs.len();
        let values: Vec<_> = self.case.inputs[at]
            .iter()
            .map(|(name, tensor)| (name.as_str(), viewed(tensor, self.scalars.contains(name))))
            .collect();
        let outputs = self.session.run(values).expect("inference");
        for (name, _) in &self.case.outputs[at] {
            black_box(
                outputs[name.as_str()]
                    .try_extract_tensor::<f32>()
                    .expect("floats"),
            );
        }
    }

    /// Whether it computes the bits that the guest got.
    pub fn agrees(&mut self) -> bool {
        let case = self.case.clone();
        let pairs = case.inputs.iter().zip(&case.outputs);
        pairs.into_iter().all(|(inputs, expected)| {
            let values: Vec<_> = inputs
                .iter()
                .map(|(name, tensor)| (name.as_str(), viewed(tensor, self.scalars.contains(name))))
                .collect();
            let outputs = self.session.run(values).expect("inference");
            expected.iter().all(|(name, tensor)| {
                let (_, ours) = outputs[name.as_str()]
                    .try_extract_tensor::<f32>()
                    .expect("floats");
                let theirs = tensor.as_f32().expect("floats");
                ours.iter()
                    .map(|v| v.to_bits())
                    .eq(theirs.iter().map(|v| v.to_bits()))
            })
        })
    }

    /// Ends the profile of a session that was made to have one, and gives its file's name.
    pub fn end_profiling(&mut self) -> String {
        self.session.end_profiling().expect("a profile")
    }
}

fn viewed(tensor: &Tensor, scalar: bool) -> SessionInputValue<'_> {
    let dims: Vec<usize> = match scalar {
        true => Vec::new(),
        false => tensor.dims().iter().map(|&n| n as usize).collect(),
    };
    let bytes = tensor.bytes();
    match tensor.dtype() {
        DType::Fp32 => TensorRef::from_array_view((dims, bytemuck::cast_slice::<_, f32>(bytes)))
            .map(Into::into),
        DType::I64 => TensorRef::from_array_view((dims, bytemuck::cast_slice::<_, i64>(bytes)))
            .map(Into::into),
        other => panic!("no case has {other}"),
    }
    .expect("a view")
}

impl Way for Direct {
    fn name(&self) -> String {
        "ort".to_owned()
    }

    fn run(&mut self, inferences: u64) -> Duration {
        let began = Instant::now();
        for _ in 0..inferences {
            self.step();
        }
        began.elapsed()
    }
}

/// Our backend on an inference thread, without a guest.
pub struct Threads {
    pool: InferencePool,
    case: Arc<Case>,
    next: usize,
}

impl Threads {
    pub fn new(setting: &Setting, case: &Arc<Case>) -> Self {
        Self {
            pool: InferencePool::new(setting.backend.clone(), 1).expect("pool"),
            case: case.clone(),
            next: 0,
        }
    }
}

/// Computes a case's inputs at a place on a pool, and goes on to the next place.
pub fn on_pool(pool: &InferencePool, case: &Case, next: &mut usize) -> Named {
    // Callers begin at places of their own, and a case may have fewer inputs than callers.
    let at = *next % case.inputs.len();
    *next = at + 1;
    pool.compute(case.model.clone(), case.inputs[at].clone())
        .expect("inference")
}

impl Way for Threads {
    fn name(&self) -> String {
        "threads".to_owned()
    }

    fn run(&mut self, inferences: u64) -> Duration {
        let began = Instant::now();
        for _ in 0..inferences {
            black_box(on_pool(&self.pool, &self.case, &mut self.next));
        }
        began.elapsed()
    }
}

/// A guest in the sandbox.
pub struct Guest<'a> {
    setting: &'a Setting,
    task: &'a GuestTask,
    /// Inferences of one run.
    inferences: u64,
}

impl<'a> Guest<'a> {
    /// Nothing where the case has no guest.
    pub fn new(setting: &'a Setting, case: &'a Case) -> Option<Self> {
        Some(Self {
            setting,
            task: case.guest.as_ref()?,
            inferences: case.inputs.len() as u64,
        })
    }
}

impl Way for Guest<'_> {
    fn name(&self) -> String {
        "guest".to_owned()
    }

    fn run(&mut self, inferences: u64) -> Duration {
        let (mut count, mut time) = (0u64, Duration::ZERO);
        while count < inferences {
            let seen = self.task.run(self.setting, false);
            for (whole, _) in seen.settled() {
                count += 1;
                time += whole;
            }
        }
        time.mul_f64(inferences as f64 / count as f64)
    }

    fn least(&self) -> u64 {
        self.inferences / 2
    }
}
