//! Answers a guest's inference calls with a backend.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::{EnvironmentDocument, joined_providers};
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

    /// Keep the environment document of a model, encoded. Called before the first tensor that was
    /// computed there.
    ///
    /// # Errors
    ///
    /// [`Stop::HostFault`] when it cannot be kept.
    fn environment(&mut self, document: &[u8]) -> Result<(), Stop>;
}

/// Keeps nothing: for runs that are not recorded, and for rechecks.
pub struct NoSink;

impl TensorSink for NoSink {
    fn tensor(&mut self, _: &Tensor) -> Result<(), Stop> {
        Ok(())
    }

    fn environment(&mut self, _: &[u8]) -> Result<(), Stop> {
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
    /// The environment document, of the device without a model.
    pub environment: EnvironmentDocument,
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
        options: (!backend.options.is_empty()).then(|| backend.options.clone().into()),
        fallback: None,
    }
}

/// The environment document of a model on a device: the device's own, unless operators of the model
/// run elsewhere.
pub fn model_environment(
    device: &EnvironmentDocument,
    fallback: BTreeMap<String, u64>,
) -> EnvironmentDocument {
    if fallback.is_empty() {
        return device.clone();
    }
    let asked = &device.execution_provider;
    let fallback = fallback.into();
    EnvironmentDocument {
        // A backend refuses a model of which nothing runs where it was asked to.
        execution_provider: joined_providers(asked, true, &fallback),
        requested: Some(asked.clone()),
        fallback: Some(fallback),
        ..device.clone()
    }
}

/// Answers one run's calls on a device.
pub struct Live {
    device: Arc<Device>,
    /// Where models run that the guest brought along: it can ask for the CPU only.
    reference: Arc<Device>,
    sink: Box<dyn TensorSink>,
    // A run keeps the models it has loaded, so that none is unloaded and loaded again between
    // two of its calls.
    models: HashMap<(bool, Hash), Ready>,
    told: HashSet<Hash>,
}

/// A model that a run has loaded.
#[derive(Clone)]
struct Ready {
    model: Arc<dyn LoadedModel>,
    device: Arc<Device>,
    environment: Arc<EnvironmentDocument>,
    hash: Hash,
    /// The environment is the device's own, which is known before the first run. Decided once:
    /// hashing the document for each computation would cost more than all other bookkeeping.
    own: bool,
}

impl Live {
    /// Answer on `device`, and on `reference` for models that the guest brings along; give every
    /// output to `sink`.
    pub fn new(device: Arc<Device>, reference: Arc<Device>, sink: Box<dyn TensorSink>) -> Self {
        Self {
            device,
            reference,
            sink,
            models: HashMap::new(),
            told: HashSet::new(),
        }
    }

    fn keep(
        &mut self,
        brought: bool,
        hash: Hash,
        device: &Arc<Device>,
        model: Arc<dyn LoadedModel>,
    ) -> Ready {
        let environment = model_environment(&device.environment, model.fallback());
        let ready = Ready {
            model,
            device: device.clone(),
            hash: environment.hash(),
            own: environment == self.device.environment,
            environment: Arc::new(environment),
        };
        self.models.insert((brought, hash), ready.clone());
        ready
    }

    fn named(&mut self, hash: Hash, manifest: &Arc<ModelManifest>) -> Result<Ready, Stop> {
        if let Some(ready) = self.models.get(&(false, hash)) {
            return Ok(ready.clone());
        }
        let device = self.device.clone();
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
        Ok(self.keep(false, hash, &device, model))
    }

    fn brought(
        &mut self,
        hash: Hash,
        manifest: &Arc<ModelManifest>,
        bytes: Vec<u8>,
    ) -> Result<(), Stop> {
        let device = self.reference.clone();
        let len = bytes.len() as u64;
        let name = manifest.files.keys().next().cloned().unwrap_or_default();
        let files = ModelFiles::from_memory([(name, bytes)]);
        let model = device
            .cache
            .fetch(&hash, len, || device.pool.load(manifest.clone(), files))
            .map_err(failed)?;
        self.keep(true, hash, &device, model);
        Ok(())
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
                self.named(hash, manifest)?;
                Ok(Answer::default())
            }
            Request::Load {
                hash,
                manifest,
                bytes,
            } => {
                self.brought(hash, manifest, bytes)?;
                Ok(Answer::default())
            }
            Request::Compute {
                hash,
                manifest,
                brought,
                inputs,
            } => {
                let ready = match self.models.get(&(brought, hash)) {
                    Some(ready) => ready.clone(),
                    None if brought => {
                        return Err(Stop::host_fault("a model that was loaded is gone"));
                    }
                    None => self.named(hash, manifest)?,
                };
                let outputs = ready
                    .device
                    .pool
                    .compute(ready.model, inputs)
                    .map_err(failed)?;
                outputs_fit(manifest, &outputs).map_err(Stop::HostFault)?;
                if !ready.own && self.told.insert(ready.hash) {
                    self.sink.environment(&ready.environment.to_cbor())?;
                }
                for (_, tensor) in &outputs {
                    self.sink.tensor(tensor)?;
                }
                Ok(Answer {
                    outputs,
                    error: None,
                    environment: Some(ready.hash),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fell_back_is_in_the_environment_of_the_model() {
        let device = EnvironmentDocument {
            engine: Hash::ZERO,
            triple: "x86_64-unknown-linux-gnu".into(),
            cpu_baseline: "x86-64-v3".into(),
            backend: "onnxruntime".into(),
            backend_version: "1.27.0".into(),
            build: String::new(),
            execution_provider: "tensorrt".into(),
            device: "some GPU".into(),
            driver: "1".into(),
            precision: "fp32".into(),
            threads: 1,
            requested: None,
            options: None,
            fallback: None,
        };
        assert_eq!(model_environment(&device, BTreeMap::new()), device);
        let fallback = BTreeMap::from([
            ("cuda/Conv".to_owned(), 3),
            ("cpu/Shape".to_owned(), 1),
            ("cpu/Gather".to_owned(), 2),
        ]);
        let model = model_environment(&device, fallback);
        assert_eq!(model.execution_provider, "tensorrt+cpu+cuda");
        assert_eq!(model.requested.as_deref(), Some("tensorrt"));
        model.validate().unwrap();
        assert_eq!(EnvironmentDocument::from_cbor(&model.to_cbor()), Ok(model));
    }
}
