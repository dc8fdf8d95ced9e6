//! ONNX Runtime: the backend for GPUs, and a fast one for processors.
//!
//! The library is the user's, loaded when a worker starts: it comes from Python packages that
//! exist for every vendor's devices ([`library`]). A process has one of them.
//!
//! # No silent fallback
//!
//! ONNX Runtime runs on the processor whatever the provider that was asked for does not take. That
//! is often right (operators on shapes), and never silent here: each provider is registered so
//! that its absence is an error, and after a model is loaded ONNX Runtime is asked which of its
//! operators were assigned where (`assignment`). What ran elsewhere is in the environment
//! document of the model, and a device can be made to refuse such models.
//!
//! # Repeatability
//!
//! Threads are fixed, execution is sequential, deterministic kernels are asked for, and settings
//! that change results are in the environment document ([`provider`]). Whether a device gives the
//! same bits each time is measured ([`crate::devices`]), not assumed.
//!
//! # Concurrency
//!
//! A session of ONNX Runtime is used by one thread at a time (`session`): its documentation
//! promises more, the authors of its Rust binding saw memory corrupted. On a GPU computations take
//! turns in any case; on the processor a model that is asked for by several threads gets several
//! sessions, which share what the library prepacks of its weights.

mod assignment;
pub mod facts;
pub mod library;
pub mod provider;
mod session;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use adit_protocol::manifest::ModelManifest;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::SessionBuilder;

use super::backend::{
    Backend, BackendError, BackendInfo, LoadedModel, ModelFiles, contained, cpu_baseline,
};
use super::vet::vet;
use facts::DeviceFacts;
use provider::Provider;
use session::{OrtModel, Settings};

/// One device, as a user or an operator chooses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrtDevice {
    /// Who computes.
    pub provider: Provider,
    /// Which of its devices, from 0 on.
    pub index: u32,
    /// The library `libonnxruntime`.
    pub library: PathBuf,
    /// Bytes of the device's memory that may be used; `None` for all. Providers that cannot be
    /// told are bounded by what models state that they need.
    pub memory_bytes: Option<u64>,
    /// Whether a model may have operators that the provider does not take.
    pub fallback: bool,
}

/// ONNX Runtime with one execution provider on one device.
pub struct OrtBackend {
    settings: Arc<Settings>,
    info: BackendInfo,
    facts: DeviceFacts,
    sessions_max: usize,
    /// Keeps the provider's libraries loaded. Never used again.
    _warm: Mutex<Session>,
}

impl OrtBackend {
    /// Loads the library, finds the device, and computes once, so that everything that has to be
    /// opened is open: the process can be locked down afterwards.
    ///
    /// `threads` is the number for one computation, `computations` the number that may run at the
    /// same time.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unavailable`] if the library cannot be used or lacks the provider, and if there
    /// is no such device or it does not compute.
    pub fn new(
        device: &OrtDevice,
        threads: u32,
        computations: usize,
    ) -> Result<Self, BackendError> {
        let threads = threads.max(1);
        let provider = device.provider;
        let version = library::version(&device.library)?;
        let environment = environment(&device.library)?;
        if !available()?.contains(&provider.library_name().to_owned()) {
            return Err(BackendError::unavailable(format!(
                "the library {} has no {provider} provider; hint: pip install {}",
                device.library.display(),
                provider.package(),
            )));
        }
        let facts = facts::of(provider, device.index)?;
        let build = library::build_hash(&device.library, provider)?;
        let settings = Arc::new(Settings {
            environment,
            device: device.clone(),
            threads,
        });
        let warm = contained(|| session::warm_up(&settings))?;
        let info = BackendInfo {
            name: "onnxruntime".into(),
            version,
            build,
            execution_provider: provider.name().into(),
            device: facts.name.clone(),
            driver: facts.driver.clone(),
            precision: "fp32".into(),
            threads,
            cpu_baseline: cpu_baseline(),
            gpu: provider.is_gpu(),
            options: provider
                .settings(threads)
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        };
        // One device computes one thing after the other; more sessions would only hold the
        // weights in its memory more than once.
        let sessions_max = if provider.is_gpu() { 1 } else { computations };
        Ok(Self {
            settings,
            info,
            facts,
            sessions_max: sessions_max.max(1),
            _warm: Mutex::new(warm),
        })
    }

    /// What is known of the device.
    pub fn facts(&self) -> &DeviceFacts {
        &self.facts
    }

    /// What the sessions of this backend are built with, without a model: for those who measure
    /// what is added to the library. A process has one environment of ONNX Runtime, so nobody else
    /// could build any.
    ///
    /// # Errors
    ///
    /// [`BackendError::Failed`] if the library takes a setting no more.
    pub fn session_builder(&self) -> Result<SessionBuilder, BackendError> {
        self.settings.builder()
    }
}

impl Backend for OrtBackend {
    fn describe(&self) -> BackendInfo {
        self.info.clone()
    }

    fn load(
        &self,
        manifest: &ModelManifest,
        files: ModelFiles,
    ) -> Result<Arc<dyn LoadedModel>, BackendError> {
        let vetted = vet(manifest, files)?;
        if let Some(max) = self.settings.device.memory_bytes
            && manifest.memory_bytes > max
        {
            return Err(BackendError::OutOfMemory {
                what: "the model on this device".into(),
                needed: manifest.memory_bytes,
                available: max,
            });
        }
        let model = contained(|| {
            OrtModel::load(manifest, vetted, self.settings.clone(), self.sessions_max)
        })?;
        Ok(Arc::new(model))
    }
}

/// The names of the execution providers that a loaded library has, as ONNX Runtime has them.
///
/// # Errors
///
/// [`BackendError::Unavailable`] if the library cannot be asked.
pub(crate) fn available() -> Result<Vec<String>, BackendError> {
    use ort::ep::{self, ExecutionProvider as _};
    let asked: [(&str, ort::Result<bool>); 8] = [
        (ep::CPU::NAME, ep::CPU::is_available()),
        (ep::OpenVINO::NAME, ep::OpenVINO::is_available()),
        (ep::CUDA::NAME, ep::CUDA::is_available()),
        (ep::TensorRT::NAME, ep::TensorRT::is_available()),
        (ep::MIGraphX::NAME, ep::MIGraphX::is_available()),
        (ep::CoreML::NAME, ep::CoreML::is_available()),
        (ep::DirectML::NAME, ep::DirectML::is_available()),
        (ep::WebGPU::NAME, ep::WebGPU::is_available()),
    ];
    let mut names = Vec::new();
    for (name, available) in asked {
        if available.map_err(BackendError::unavailable)? {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The process's environment of ONNX Runtime. The library is loaded with the first call; a process
/// has one, and another path is refused.
pub(crate) fn environment(library: &Path) -> Result<Environment, BackendError> {
    let unusable = |why: String| {
        BackendError::unavailable(format!(
            "the library {} cannot be used: {why}",
            library.display()
        ))
    };
    let builder = ort::init_from(library).map_err(|error| unusable(error.to_string()))?;
    let environment = builder
        .with_name("adit")
        .with_telemetry(false)
        // What goes wrong comes back as an error; the rest would be noise on a terminal.
        .with_logger(Arc::new(|_, _, _, _, _| {}))
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    environment.set_log_level(LogLevel::Fatal);
    // It stays until the process ends: after a device could not be opened, freeing it was seen to
    // crash inside of the library.
    std::mem::forget(environment.clone());
    Ok(environment)
}

/// Operators that ran elsewhere than on the provider asked for, as `provider/operator`, with
/// their number.
pub type Fallback = BTreeMap<String, u64>;
