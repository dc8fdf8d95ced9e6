//! Answers a guest's inference calls with a backend.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::transcript::Call;

use crate::nn::backend::{BackendError, BackendInfo, FileSource, LoadedModel, ModelFiles};
use crate::nn::cache::ModelCache;
use crate::nn::pool::InferencePool;
use crate::nn::tensor::Tensor;
use crate::record::{Answer, Answerer, Request, outputs_fit};
use crate::stop::Stop;

/// Keeps the tensors that a replay will need.
pub trait TensorSink: Send {
    /// Keep a tensor, under its hash.
    ///
    /// # Errors
    ///
    /// [`Stop::HostFault`] when it cannot be kept.
    fn tensor(&mut self, tensor: &Tensor) -> Result<(), Stop>;
}

/// Keeps nothing: for runs that are not recorded, and for rechecks.
pub struct NoSink;

impl TensorSink for NoSink {
    fn tensor(&mut self, _: &Tensor) -> Result<(), Stop> {
        Ok(())
    }
}

/// A backend with its threads and its loaded models. One per device of a worker, shared by slots.
pub struct Device {
    /// Threads that run the backend.
    pub pool: InferencePool,
    /// Loaded models.
    pub cache: ModelCache,
    /// Model files by hash.
    pub files: Box<dyn FileSource + Send + Sync>,
    /// Hash of the environment document.
    pub environment: Hash,
}

/// The environment document of a backend under an engine.
pub fn environment_document(engine: Hash, backend: &BackendInfo) -> EnvironmentDocument {
    EnvironmentDocument {
        engine,
        triple: target_lexicon::HOST.to_string(),
        cpu_baseline: backend.cpu_baseline.clone(),
        backend: backend.name.clone(),
        backend_version: backend.version.clone(),
        build: backend.build.clone(),
        execution_provider: backend.execution_provider.clone(),
        device: backend.device.clone(),
        driver: backend.driver.clone(),
        precision: backend.precision.clone(),
        threads: backend.threads,
        requested: None,
        options: None,
        fallback: None,
    }
}

/// Answers one run's calls on a device.
pub struct Live {
    device: Arc<Device>,
    sink: Box<dyn TensorSink>,
    // A run keeps the models it has loaded, so that none is unloaded and loaded again between
    // two of its calls.
    models: HashMap<Hash, Arc<dyn LoadedModel>>,
}

impl Live {
    /// Answer on `device`, and give every output to `sink`.
    pub fn new(device: Arc<Device>, sink: Box<dyn TensorSink>) -> Self {
        Self {
            device,
            sink,
            models: HashMap::new(),
        }
    }

    fn model(
        &mut self,
        hash: Hash,
        manifest: &Arc<ModelManifest>,
    ) -> Result<Arc<dyn LoadedModel>, Stop> {
        if let Some(model) = self.models.get(&hash) {
            return Ok(model.clone());
        }
        let device = &self.device;
        let missing = RefCell::new(None);
        let files = |file: &Hash, len: u64| {
            device.files.read(file, len).inspect_err(|why| {
                missing.replace(Some(why.clone()));
            })
        };
        let model = device
            .cache
            .model(&hash, manifest, &files, &device.pool)
            .map_err(|e| match missing.take() {
                Some(why) => Stop::Unavailable(format!("a model file is not available: {why}")),
                None => failed(e),
            })?;
        self.models.insert(hash, model.clone());
        Ok(model)
    }
}

/// A backend's failure is never shown to the guest, because another backend would not have had it.
fn failed(error: BackendError) -> Stop {
    Stop::host_fault(error.to_string())
}

impl Answerer for Live {
    fn answer(&mut self, _: u64, _: &Call, request: Request<'_>) -> Result<Answer, Stop> {
        match request {
            Request::Refused | Request::InitContext => Ok(Answer::default()),
            Request::LoadByName { hash, manifest } => {
                self.model(hash, manifest)?;
                Ok(Answer::default())
            }
            Request::Load {
                hash,
                manifest,
                bytes,
            } => {
                let device = &self.device;
                let len = bytes.len() as u64;
                let name = manifest.files.keys().next().cloned().unwrap_or_default();
                let files = ModelFiles::from_memory([(name, bytes)]);
                let model = device
                    .cache
                    .fetch(&hash, len, || device.pool.load(manifest.clone(), files))
                    .map_err(failed)?;
                self.models.insert(hash, model);
                Ok(Answer::default())
            }
            Request::Compute {
                hash,
                manifest,
                inputs,
            } => {
                let model = self.model(hash, manifest)?;
                let outputs = self.device.pool.compute(model, inputs).map_err(failed)?;
                outputs_fit(manifest, &outputs).map_err(Stop::HostFault)?;
                for (_, tensor) in &outputs {
                    self.sink.tensor(tensor)?;
                }
                Ok(Answer {
                    outputs,
                    error: None,
                    environment: Some(self.device.environment),
                })
            }
        }
    }
}
