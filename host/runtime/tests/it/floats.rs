//! The state of the floating-point unit: what libraries and callers do to it changes nothing for a
//! guest.
//!
//! Here everything runs in this process, so that the test can disturb the threads.

#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use adit_protocol::Hash;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::manifest::ModelManifest;
use adit_protocol::status::Status;
use adit_runtime::admission::compile;
use adit_runtime::engine::{EngineOptions, Target, compiler, reset_float_environment};
use adit_runtime::executor::{Executor, Prepared, Run};
use adit_runtime::live::{Device, Live, NoSink, environment_document};
use adit_runtime::nn::backend::{Backend, BackendError, BackendInfo, LoadedModel, ModelFiles};
use adit_runtime::nn::cache::ModelCache;
use adit_runtime::nn::pool::InferencePool;
use adit_runtime::nn::rten::RtenBackend;
use adit_runtime::nn::tensor::Tensor;
use adit_runtime::outcome::Outcome;
use adit_runtime::state::NoEvents;

use crate::support::guest;

const DOUBLE: &[u8] = include_bytes!("../fixtures/double.onnx");
const STEPS: u32 = 20;

/// Flush subnormal results to zero, read subnormals as zero, and round up, on this thread.
fn disturb() {
    #[cfg(target_arch = "x86_64")]
    {
        // All exceptions masked; FTZ (bit 15), DAZ (bit 6), rounding up (bits 13 and 14 = 10).
        let mxcsr: u32 = 0x1f80 | 0x8040 | 0x4000;
        // SAFETY: loads the SSE control register from a live, aligned u32. Code that was compiled
        // for the usual state computes something else then, which is what the tests are about;
        // they compare integers only.
        unsafe {
            core::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(readonly, nostack))
        };
    }
    #[cfg(target_arch = "aarch64")]
    {
        // FZ (bit 24), rounding up (bits 22 and 23 = 01).
        let fpcr: u64 = (1 << 24) | (1 << 22);
        // SAFETY: as above.
        unsafe { core::arch::asm!("msr fpcr, {}", in(reg) fpcr, options(nomem, nostack)) };
    }
    assert!(is_disturbed());
}

fn is_disturbed() -> bool {
    use std::hint::black_box;
    let quarter = black_box(f64::MIN_POSITIVE) / black_box(4.0);
    let third = black_box(1.0f64) / black_box(3.0);
    let flushed = quarter.to_bits() == 0;
    let rounded_up = third.to_bits() == 0x3fd5_5555_5555_5556;
    assert_eq!(flushed, rounded_up);
    flushed
}

/// rten, with a thread whose floating-point state is changed whenever it is used.
struct Disturbing(RtenBackend, Arc<AtomicU32>);

struct DisturbingModel(Arc<dyn LoadedModel>, Arc<AtomicU32>);

impl Backend for Disturbing {
    fn describe(&self) -> BackendInfo {
        self.0.describe()
    }

    fn load(
        &self,
        manifest: &ModelManifest,
        files: ModelFiles,
    ) -> Result<Arc<dyn LoadedModel>, BackendError> {
        disturb();
        let model = self.0.load(manifest, files)?;
        Ok(Arc::new(DisturbingModel(model, self.1.clone())))
    }

    fn on_thread(&self, body: &mut (dyn FnMut() + Send)) -> Result<(), BackendError> {
        self.0.on_thread(body)
    }
}

impl LoadedModel for DisturbingModel {
    fn compute(
        &self,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, BackendError> {
        // What the computation before left here is gone.
        assert!(!is_disturbed());
        disturb();
        self.1.fetch_add(1, Ordering::Relaxed);
        // Doubling is exact, however it is rounded.
        let outputs = self.0.compute(inputs)?;
        assert!(is_disturbed(), "the backend computes on this thread");
        Ok(outputs)
    }

    fn resident_bytes(&self) -> u64 {
        self.0.resident_bytes()
    }
}

struct Here {
    executor: Executor,
    prepared: Prepared,
    spec: ExecSpec,
    input: Arc<[u8]>,
}

impl Here {
    /// A run of the guest `infer` that uses a model between steps of arithmetic.
    fn on(target: Target) -> Self {
        let options = EngineOptions { slots: 1, target };
        let executor = Executor::new(options).unwrap();
        let code = compile(&compiler(target).unwrap(), &guest("guest_infer.wasm")).unwrap();
        // SAFETY: the code comes from the line before.
        let prepared = unsafe { executor.prepare(&code) }.unwrap();
        let input = [format!("floats {STEPS}\n").as_bytes(), DOUBLE].concat();
        let spec = ExecSpec {
            engine: executor.engine_id(),
            world: World::Task,
            component: Hash::ZERO,
            input: Hash::of(&input),
            args: Vec::new(),
            clock_start_ns: 0,
            models: std::iter::empty::<(String, Hash)>().collect(),
            seed: [0; 32],
            limits: Limits {
                fuel: 2_000_000_000,
                memory_bytes: 64 << 20,
                ..Limits::default()
            },
        };
        Self {
            executor,
            prepared,
            spec,
            input: input.into(),
        }
    }

    fn run(&self, backend: Arc<dyn Backend>) -> Outcome {
        let device = Device {
            pool: InferencePool::new(backend, 1).unwrap(),
            cache: ModelCache::new(1 << 30),
            files: Box::new(|_: &Hash, _: u64| Err("there is none".to_owned())),
            environment: environment_document(Hash::ZERO, &rten().describe()),
        };
        let device = Arc::new(device);
        let run = Run {
            spec: &self.spec,
            input: self.input.clone(),
            models: Arc::new(BTreeMap::new()),
            answerer: Box::new(Live::new(device.clone(), device, Box::new(NoSink))),
            events: Box::new(NoEvents),
            deadline: None,
        };
        let outcome = self.executor.run(&self.prepared, run);
        assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.detail);
        outcome
    }
}

fn rten() -> RtenBackend {
    RtenBackend::new(1).unwrap()
}

fn same(a: &Outcome, b: &Outcome) {
    assert_eq!(a.output, b.output);
    assert_eq!(a.fuel, b.fuel);
    assert_eq!(a.transcript, b.transcript);
}

#[test]
fn a_backend_that_changes_the_float_state_changes_nothing_for_the_guest() {
    for target in [Target::Processor, Target::Interpreter] {
        let here = Here::on(target);
        let quiet = here.run(Arc::new(rten()));
        // The first step divides by 3.
        let third = (1.0f64 / 3.0).to_le_bytes();
        let subnormal = (f64::MIN_POSITIVE / 3.0).to_le_bytes();
        assert_eq!(quiet.output[4..12], subnormal);
        assert_eq!(quiet.output[20..28], third);
        assert_eq!(quiet.output.len(), STEPS as usize * 52);

        let calls = Arc::new(AtomicU32::new(0));
        let disturbed = here.run(Arc::new(Disturbing(rten(), calls.clone())));
        assert_eq!(calls.load(Ordering::Relaxed), STEPS);
        same(&quiet, &disturbed);
    }
}

#[test]
fn a_run_that_is_entered_with_a_disturbed_float_state_is_the_same() {
    for target in [Target::Processor, Target::Interpreter] {
        let here = Here::on(target);
        let quiet = here.run(Arc::new(rten()));
        let disturbed = std::thread::scope(|scope| {
            let entering = scope.spawn(|| {
                disturb();
                let outcome = here.run(Arc::new(rten()));
                reset_float_environment();
                outcome
            });
            entering.join().unwrap()
        });
        same(&quiet, &disturbed);
    }
}
