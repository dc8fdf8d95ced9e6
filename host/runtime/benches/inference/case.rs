//! A model, a guest that computes it, and what the guest gives it: all ways compute that. A case
//! may also lack the guest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::manifest::ModelManifest;
use adit_protocol::onnx::{OnnxLimits, manifest_from_onnx};
use adit_protocol::status::Status;
use adit_protocol::tensor::TensorBlob;
use adit_protocol::transcript::Call;
use adit_runtime::admission::compile;
use adit_runtime::engine::{Target, compiler};
use adit_runtime::executor::{Prepared, Run};
use adit_runtime::live::{Device, Live, TensorSink};
use adit_runtime::nn::backend::LoadedModel;
use adit_runtime::nn::cache::ModelCache;
use adit_runtime::nn::host::ModelEntry;
use adit_runtime::nn::pool::InferencePool;
use adit_runtime::nn::tensor::Tensor;
use adit_runtime::record::{Answer, Answerer, Request};
use adit_runtime::state::NoEvents;
use adit_runtime::stop::Stop;

use crate::setting::{Setting, read};

/// The tensors of one computation, by their names.
pub type Named = Vec<(String, Tensor)>;

/// See the module.
pub struct Case {
    pub name: &'static str,
    /// The model's file.
    pub file: Vec<u8>,
    /// The model, loaded by our backend.
    pub model: Arc<dyn LoadedModel>,
    /// Of each computation, what the guest gave.
    pub inputs: Vec<Named>,
    /// Of each computation, what it got.
    pub outputs: Vec<Named>,
    /// The guest, where the case has one.
    pub guest: Option<GuestTask>,
}

/// A guest and all that its runs need.
pub struct GuestTask {
    spec: ExecSpec,
    input: Arc<[u8]>,
    prepared: Prepared,
    models: Arc<BTreeMap<String, ModelEntry>>,
    device: Arc<Device>,
}

impl Case {
    /// A case without a guest: a model, and inputs that are made up.
    pub fn bare(setting: &Setting, name: &'static str, path: &str, inputs: Vec<Named>) -> Self {
        let file = read(&format!("models/{path}"));
        let (manifest, device) = device(setting, &file);
        let loaded = load(&manifest, &device);
        let outputs = inputs.iter().map(|one| {
            let pool = &device.pool;
            pool.compute(loaded.clone(), one.clone())
                .expect("inference")
        });
        let case = Self {
            name,
            outputs: outputs.collect(),
            file,
            model: loaded,
            inputs,
            guest: None,
        };
        case.tell();
        case
    }

    /// Says what is computed.
    fn tell(&self) {
        let dims: Vec<_> = self.inputs[0].iter().map(|(_, t)| t.dims()).collect();
        let (name, count) = (self.name, self.inputs.len());
        println!("{name}: {count} computations of {dims:?}");
    }

    /// A case of the model in the folder `model`, which the guest knows by that name.
    pub fn new(
        setting: &Setting,
        name: &'static str,
        guest: &str,
        model: &str,
        input: &str,
    ) -> Self {
        let wasm = crate::setting::guest(guest);
        let code =
            compile(&compiler(Target::Processor).expect("compiler"), &wasm).expect("a component");
        // SAFETY: the code comes from the line before.
        let prepared = unsafe { setting.executor.prepare(&code) }.expect("a task");

        let file = read(&format!("models/{model}/model.onnx"));
        let (manifest, device) = device(setting, &file);
        let loaded = load(&manifest, &device);
        let entry = ModelEntry {
            hash: manifest.hash(),
            manifest,
            brought: false,
        };
        let task = GuestTask {
            spec: ExecSpec {
                engine: setting.executor.engine_id(),
                world: World::Task,
                component: Hash::of(&wasm),
                input: Hash::of(input.as_bytes()),
                args: Vec::new(),
                clock_start_ns: 0,
                models: std::iter::empty::<(String, Hash)>().collect(),
                seed: [0; 32],
                limits: Limits::default(),
            },
            input: input.as_bytes().into(),
            prepared,
            models: Arc::new(BTreeMap::from([(model.to_owned(), entry)])),
            device: Arc::new(device),
        };
        let seen = task.run(setting, true);
        let case = Self {
            name,
            file,
            model: loaded,
            inputs: seen.inputs,
            outputs: seen.outputs,
            guest: Some(task),
        };
        case.tell();
        case
    }
}

/// A device of one thread that has this model's file, and the model's manifest.
fn device(setting: &Setting, file: &[u8]) -> (Arc<ModelManifest>, Device) {
    let limits = OnnxLimits::default();
    let manifest = manifest_from_onnx(file, "model.onnx", &limits).expect("model");
    let bytes = file.to_owned();
    let device = Device {
        pool: InferencePool::new(setting.backend.clone(), 1).expect("pool"),
        cache: ModelCache::new(1 << 30),
        files: Box::new(move |_: &Hash, _: u64| Ok(bytes.clone())),
        environment: setting.environment(),
    };
    (Arc::new(manifest), device)
}

fn load(manifest: &Arc<ModelManifest>, device: &Device) -> Arc<dyn LoadedModel> {
    let (hash, files) = (manifest.hash(), &*device.files);
    let loaded = device.cache.model(&hash, manifest, files, &device.pool);
    loaded.expect("model")
}

impl GuestTask {
    /// Runs the guest once, recorded.
    pub fn run(&self, setting: &Setting, keep: bool) -> Seen {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let sink = Box::new(Kept::default());
        let watched = Watched {
            live: Live::new(self.device.clone(), self.device.clone(), sink),
            keep,
            seen: seen.clone(),
        };
        let outcome = setting.executor.run(
            &self.prepared,
            Run {
                spec: &self.spec,
                input: self.input.clone(),
                models: self.models.clone(),
                answerer: Box::new(watched),
                events: Box::new(NoEvents),
                deadline: None,
            },
        );
        assert_eq!(outcome.status, Status::Ok);
        std::mem::take(&mut *seen.lock().expect("unpoisoned"))
    }
}

/// What was seen of a run from where its inference calls are answered.
#[derive(Default)]
pub struct Seen {
    /// When each computation was asked for and when it was answered.
    times: Vec<(Instant, Instant)>,
    inputs: Vec<Named>,
    outputs: Vec<Named>,
}

impl Seen {
    /// Whole inferences as the guest has them, and the part of that for which they were being
    /// answered. Each lasts from the answer before to its own, so that all is in it that the
    /// guest, the sandbox and the recording do for one. Those of the second half: the start of a
    /// guest takes the place of the model's weights in the processor's caches.
    pub fn settled(&self) -> impl Iterator<Item = (Duration, Duration)> {
        let late = &self.times[self.times.len() / 2 - 1..];
        late.windows(2)
            .map(|two| (two[1].1 - two[0].1, two[1].1 - two[1].0))
    }
}

/// Answers as [`Live`] does, and takes notes.
struct Watched {
    live: Live,
    keep: bool,
    seen: Arc<Mutex<Seen>>,
}

impl Answerer for Watched {
    fn answer(&mut self, index: u64, asked: &Call, request: Request<'_>) -> Result<Answer, Stop> {
        let inputs = match &request {
            Request::Compute { inputs, .. } => inputs.clone(),
            _ => return self.live.answer(index, asked, request),
        };
        let began = Instant::now();
        let answer = self.live.answer(index, asked, request)?;
        let mut seen = self.seen.lock().expect("unpoisoned");
        if self.keep {
            seen.inputs.push(inputs);
            seen.outputs.push(answer.outputs.clone());
        }
        seen.times.push((began, Instant::now()));
        Ok(answer)
    }
}

/// Keeps what a replay needs, as a worker's supervisor would, in memory.
#[derive(Default)]
struct Kept(BTreeMap<Hash, Vec<u8>>);

impl TensorSink for Kept {
    fn tensor(&mut self, tensor: &Tensor) -> Result<(), Stop> {
        let blob = TensorBlob::encode(tensor.dtype(), tensor.dims(), tensor.bytes());
        self.0.insert(tensor.hash(), blob);
        Ok(())
    }

    fn environment(&mut self, _: &[u8]) -> Result<(), Stop> {
        Ok(())
    }
}
