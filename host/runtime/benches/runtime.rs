//! What the runtime costs beside the libraries it is made of, measured in one process.
//!
//! - `warm run`: instantiate, run and drop a small component, through [`Executor::run`] and with
//!   bare wasmtime under the same configuration.
//! - `cold cached start`: read, authenticate, load and link compiled code, then one run.
//! - `run in the worker process`: the same small run by way of supervisor, channel and sandbox.
//! - `inference`: Silero's speech model through wasi-nn from a guest, and rten called directly.
//! - `replay`: the execution of that guest again with its recorded answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};
use adit_protocol::tensor::TensorBlob;
use adit_protocol::transcript::{Call, Transcript};
use adit_runtime::admission::compile;
use adit_runtime::engine::{EngineOptions, Target, compiler};
use adit_runtime::executor::{Executor, Prepared, Run};
use adit_runtime::live::{Device, Live, TensorSink, environment_document};
use adit_runtime::nn::backend::Backend as _;
use adit_runtime::nn::cache::ModelCache;
use adit_runtime::nn::host::ModelEntry;
use adit_runtime::nn::pool::InferencePool;
use adit_runtime::nn::rten::RtenBackend;
use adit_runtime::nn::tensor::Tensor;
use adit_runtime::outcome::Outcome;
use adit_runtime::record::{Answer, Answerer, Request};
use adit_runtime::replay::{Replay, TensorSource};
use adit_runtime::state::NoEvents;
use adit_runtime::stop::Stop;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::store::code::{CodeCache, compatibility};
use adit_runtime::worker::messages::Mode;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Supervisor, SupervisorOptions, Task};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rten::{ModelOptions, RunOptions, ThreadPool, Value};
use rten_tensor::prelude::*;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

/// Windows that one run of the speech guest computes.
const WINDOWS: usize = 50;

fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_adit-worker"))
        .ancestors()
        .nth(2)
        .expect("the worker lies in <target>/<profile>")
        .to_owned()
}

fn read(path: &str) -> Vec<u8> {
    let path = target().join(path);
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run cargo xtask setup", path.display()))
}

/// For guests that make no inference call.
struct NoInference;

impl Answerer for NoInference {
    fn answer(&mut self, _: u64, _: &Call, _: Request<'_>) -> Result<Answer, Stop> {
        Err(Stop::host_fault("no inference was expected"))
    }
}

type Models = Arc<BTreeMap<String, ModelEntry>>;

struct Fixture {
    executor: Executor,
    wasm: Vec<u8>,
    code: Vec<u8>,
    prepared: Prepared,
}

impl Fixture {
    fn new() -> Self {
        let executor = Executor::new(EngineOptions {
            slots: 2,
            ..EngineOptions::default()
        })
        .expect("engine");
        let wasm = read("wasm32-wasip2/release/guest_infer.wasm");
        let code =
            compile(&compiler(Target::Processor).expect("compiler"), &wasm).expect("a component");
        // SAFETY: the code comes from the line before.
        let prepared = unsafe { executor.prepare(&code) }.expect("a task");
        Self {
            executor,
            wasm,
            code,
            prepared,
        }
    }

    fn spec(&self) -> ExecSpec {
        ExecSpec {
            engine: self.executor.engine_id(),
            world: World::Task,
            component: Hash::of(&self.wasm),
            input: Hash::ZERO,
            args: Vec::new(),
            clock_start_ns: 0,
            models: std::iter::empty::<(String, Hash)>().collect(),
            seed: [0; 32],
            limits: Limits::default(),
        }
    }

    fn run(&self, input: &[u8], models: &Models, answerer: Box<dyn Answerer>) -> Outcome {
        self.executor.run(
            &self.prepared,
            Run {
                spec: &self.spec(),
                input: Arc::from(input),
                models: models.clone(),
                answerer,
                events: Box::new(NoEvents),
                deadline: None,
            },
        )
    }
}

fn warm_run(c: &mut Criterion) {
    let fixture = Fixture::new();
    let input = b"return 100";
    let mut group = c.benchmark_group("warm run");

    let engine = fixture.executor.engine();
    // SAFETY: the code was compiled by this process.
    let component = unsafe { Component::deserialize(engine, &fixture.code) }.expect("component");
    let mut linker = Linker::<()>::new(engine);
    linker
        .define_unknown_imports_as_traps(&component)
        .expect("imports");
    let pre = linker.instantiate_pre(&component).expect("a component");
    let export = component.get_export_index(None, "run").expect("run");
    type Returns = (Result<Vec<u8>, adit_runtime::bindings::TaskError>,);
    group.bench_function("bare wasmtime", |b| {
        b.iter(|| {
            let mut store = Store::new(engine, ());
            store.set_fuel(1_000_000_000).expect("fuel");
            store.set_epoch_deadline(u64::MAX / 2);
            let instance = pre.instantiate(&mut store).expect("instance");
            let run = instance
                .get_typed_func::<(&[u8],), Returns>(&mut store, export)
                .expect("run");
            let (result,) = run.call(&mut store, (&input[..],)).expect("no trap");
            assert_eq!(result.expect("no error").len(), 100);
        });
    });

    let models = Models::default();
    let spec = fixture.spec();
    let shared: Arc<[u8]> = Arc::from(&input[..]);
    group.bench_function("adit", |b| {
        b.iter(|| {
            let outcome = fixture.executor.run(
                &fixture.prepared,
                Run {
                    spec: &spec,
                    input: shared.clone(),
                    models: models.clone(),
                    answerer: Box::new(NoInference),
                    events: Box::new(NoEvents),
                    deadline: None,
                },
            );
            assert_eq!(outcome.output.len(), 100);
        });
    });
    group.finish();
}

fn cold_start(c: &mut Criterion) {
    let fixture = Fixture::new();
    let dir = tempfile::tempdir().expect("a folder");
    let engine = fixture.executor.engine();
    let cache = CodeCache::open(dir.path(), [1; 32], compatibility(engine)).expect("cache");
    let component = Hash::of(&fixture.wasm);
    cache.put(&component, fixture.code.clone()).expect("room");
    c.bench_function("cold cached start", |b| {
        b.iter(|| {
            let code = cache.get(&component).expect("readable").expect("there");
            // SAFETY: the cache has authenticated what this process put into it.
            let prepared = unsafe { fixture.executor.prepare(&code) }.expect("a task");
            let outcome = fixture.executor.run(
                &prepared,
                Run {
                    spec: &fixture.spec(),
                    input: Arc::from(&b"return 100"[..]),
                    models: Models::default(),
                    answerer: Box::new(NoInference),
                    events: Box::new(NoEvents),
                    deadline: None,
                },
            );
            assert_eq!(outcome.output.len(), 100);
        });
    });
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<Hash, Vec<u8>>>>);

impl TensorSink for Kept {
    fn tensor(&mut self, tensor: &Tensor) -> Result<(), Stop> {
        let blob = TensorBlob::encode(tensor.dtype(), tensor.dims(), tensor.bytes());
        self.0
            .lock()
            .expect("unpoisoned")
            .insert(tensor.hash(), blob);
        Ok(())
    }

    fn environment(&mut self, _: &[u8]) -> Result<(), Stop> {
        Ok(())
    }
}

impl TensorSource for Kept {
    fn tensor(&mut self, hash: &Hash) -> Result<Vec<u8>, String> {
        let kept = self.0.lock().expect("unpoisoned");
        kept.get(hash).cloned().ok_or_else(|| hash.to_string())
    }
}

fn speech(file: &[u8]) -> (Arc<Device>, Models) {
    let manifest = manifest_from_onnx(file, "model.onnx", &OnnxLimits::default()).expect("model");
    let bytes = file.to_vec();
    let device = Device {
        pool: InferencePool::new(Arc::new(RtenBackend::new(1).expect("backend")), 1).expect("pool"),
        cache: ModelCache::new(1 << 30),
        files: Box::new(move |_: &Hash, _: u64| Ok(bytes.clone())),
        environment: environment_document(
            Hash::ZERO,
            &RtenBackend::new(1).expect("backend").describe(),
        ),
    };
    let entry = ModelEntry {
        hash: manifest.hash(),
        manifest: Arc::new(manifest),
        brought: false,
    };
    let models = BTreeMap::from([("silero".to_owned(), entry)]);
    (Arc::new(device), Arc::new(models))
}

/// The same computations as the guest's, without a guest.
fn direct(model: &rten::Model, threads: &Arc<ThreadPool>) -> Vec<f32> {
    let id = |name: &str| model.find_node(name).expect("a node");
    let (input, state, sr) = (id("input"), id("state"), id("sr"));
    let outputs = [model.output_ids()[0], model.output_ids()[1]];
    let mut held: Value = Value::from_shape(&[2, 1, 128], vec![0.0f32; 256]).expect("state");
    let mut probabilities = Vec::with_capacity(WINDOWS);
    for window in 0..WINDOWS {
        let samples: Vec<f32> = (0..576)
            .map(|i| ((window * 7 + i) % 100) as f32 * 0.005 - 0.25)
            .collect();
        let samples: Value = Value::from_shape(&[1, 576], samples).expect("input");
        let rate: Value = Value::from_shape(&[], vec![16_000i32]).expect("rate");
        let options = RunOptions::default().with_thread_pool(Some(threads.clone()));
        let mut results = model
            .run(
                vec![
                    (input, samples.into()),
                    (state, held.into()),
                    (sr, rate.into()),
                ],
                &outputs,
                Some(options),
            )
            .expect("inference");
        held = results.pop().expect("state");
        let output = results.pop().expect("output");
        let output: rten_tensor::Tensor<f32> = output.try_into().expect("floats");
        probabilities.extend(output.iter().copied());
    }
    probabilities
}

fn inference(c: &mut Criterion) {
    let file = read("models/silero/model.onnx");
    let fixture = Fixture::new();
    let (device, models) = speech(&file);
    let input = format!("speech silero {WINDOWS}");

    let model = ModelOptions::with_all_ops()
        .load(file.clone())
        .expect("model");
    let threads = Arc::new(ThreadPool::with_num_threads(1));
    let kept = Kept::default();
    let live = || {
        Box::new(Live::new(
            device.clone(),
            device.clone(),
            Box::new(kept.clone()),
        ))
    };
    let outcome = fixture.run(input.as_bytes(), &models, live());
    let ours: Vec<f32> = outcome
        .output
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    assert_eq!(ours, direct(&model, &threads), "both compute the same");

    let mut group = c.benchmark_group("inference");
    group.throughput(Throughput::Elements(WINDOWS as u64));
    group.bench_function("rten directly", |b| b.iter(|| direct(&model, &threads)));
    let entry = &models["silero"];
    let loaded = {
        let files = |_: &Hash, _: u64| Ok(file.clone());
        let (hash, manifest) = (&entry.hash, &entry.manifest);
        let model = device.cache.model(hash, manifest, &files, &device.pool);
        model.expect("model")
    };
    group.bench_function("inference threads, no guest", |b| {
        b.iter(|| {
            let mut state = Tensor::from_f32(vec![2, 1, 128], vec![0.0; 256]).expect("state");
            for window in 0..WINDOWS {
                let samples = (0..576)
                    .map(|i| ((window * 7 + i) % 100) as f32 * 0.005 - 0.25)
                    .collect();
                let inputs = vec![
                    ("input", Tensor::from_f32(vec![1, 576], samples)),
                    ("state", Ok(state)),
                    ("sr", Tensor::from_i64(vec![1], &[16_000])),
                ];
                let inputs = inputs
                    .into_iter()
                    .map(|(name, tensor)| (name.to_owned(), tensor.expect("whole")))
                    .collect();
                let mut outputs = device
                    .pool
                    .compute(loaded.clone(), inputs)
                    .expect("inference");
                state = outputs.pop().expect("state").1;
            }
        });
    });
    group.bench_function("through wasi-nn, recorded", |b| {
        b.iter(|| fixture.run(input.as_bytes(), &models, live()));
    });
    group.finish();

    let transcript: Transcript = outcome.transcript;
    let mut group = c.benchmark_group("replay");
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("{WINDOWS} computations"), |b| {
        b.iter(|| {
            let replay = Replay::new(transcript.clone(), Box::new(kept.clone()), None);
            let again = fixture.run(input.as_bytes(), &models, Box::new(replay));
            assert_eq!(again.output, outcome.output);
        });
    });
    group.finish();
}

/// The whole way of a task: supervisor, channel, worker process and back, without a receipt.
fn supervised(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a folder");
    let blobs = BlobStore::open(dir.path().join("blobs")).expect("blobs");
    let options = SupervisorOptions {
        program: env!("CARGO_BIN_EXE_adit-worker").into(),
        worker: WorkerOptions::default(),
        code: dir.path().join("code"),
        fresh_key: [1; 32],
    };
    let supervisor = Supervisor::new(options, blobs.clone());
    let fixture = Fixture::new();
    let mut spec = fixture.spec();
    spec.component = blobs.put(&fixture.wasm).expect("room");
    spec.input = blobs.put(b"return 100").expect("room");
    let task = Task {
        spec,
        input: None,
        manifests: BTreeMap::new(),
        deadline: std::time::Duration::from_secs(10),
        mode: Mode::Live,
    };
    c.bench_function("run in the worker process", |b| {
        b.iter(|| {
            let ran = supervisor.run(&task, &mut NoEvents).expect("a worker");
            assert_eq!(ran.output.len(), 100);
        });
    });
}

criterion_group!(benches, warm_run, cold_start, supervised, inference);
criterion_main!(benches);
