//! The library, the device and the engine that all measurements share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::environment::EnvironmentDocument;
use adit_runtime::engine::EngineOptions;
use adit_runtime::executor::Executor;
use adit_runtime::live::environment_document;
use adit_runtime::nn::backend::{Backend as _, BackendInfo};
use adit_runtime::nn::onnxruntime::library::{Search, VARIABLE};
use adit_runtime::nn::onnxruntime::provider::Provider;
use adit_runtime::nn::onnxruntime::{OrtBackend, OrtDevice};

/// Names the provider whose device computes; the processor without it.
const DEVICE: &str = "ADIT_BENCH_DEVICE";
/// Threads of one computation.
pub const THREADS: u32 = 1;
/// Computations at a time at most; a pool with fewer threads makes fewer sessions.
const COMPUTATIONS: usize = 16;

/// What all measurements share: a process has one ONNX Runtime.
pub struct Setting {
    pub executor: Executor,
    pub backend: Arc<OrtBackend>,
    pub provider: Provider,
    library: PathBuf,
}

impl Setting {
    /// Opens the device.
    ///
    /// # Errors
    ///
    /// A sentence if there is no library, or the device does not compute.
    pub fn new() -> Result<Self, String> {
        let provider = match std::env::var(DEVICE) {
            Ok(name) => name.parse().map_err(|e| format!("{DEVICE}: {e}"))?,
            Err(_) => Provider::Cpu,
        };
        let fetched = target().join("runtimes").join(provider.package());
        let search = Search {
            variable: std::env::var_os(VARIABLE),
            packages: vec![fetched],
            ..Search::default()
        };
        let found = search
            .find()
            .map_err(|e| format!("{e}; or run cargo xtask setup"))?;
        let device = OrtDevice {
            provider,
            index: 0,
            library: found.library.clone(),
            memory_bytes: None,
            fallback: true,
        };
        let backend = OrtBackend::new(&device, THREADS, COMPUTATIONS).map_err(|e| e.to_string())?;
        let executor = Executor::new(EngineOptions {
            slots: 2,
            ..EngineOptions::default()
        });
        Ok(Self {
            executor: executor.map_err(|e| e.to_string())?,
            backend: Arc::new(backend),
            provider,
            library: found.library,
        })
    }

    /// What computes, in a line.
    pub fn shown(&self) -> String {
        let BackendInfo {
            name,
            version,
            execution_provider,
            device,
            threads,
            cpu_baseline,
            ..
        } = self.backend.describe();
        format!(
            "{name} {version}, {execution_provider} on {device}, {threads} thread for a computation, {cpu_baseline}"
        )
    }

    /// What the names of groups have at their end, since Criterion compares with the last time that
    /// it saw a name.
    pub fn on(&self) -> String {
        match self.provider {
            Provider::Cpu => String::new(),
            other => format!(" on {other}"),
        }
    }

    /// The environment document of the device.
    pub fn environment(&self) -> EnvironmentDocument {
        environment_document(Hash::ZERO, &self.backend.describe())
    }

    /// The folder of Python packages that the library belongs to, if it is one of those.
    pub fn package_folder(&self) -> Option<&Path> {
        // onnxruntime/capi/libonnxruntime.so, below the folder of all packages.
        let package = self.library.ancestors().nth(2)?;
        package
            .join("__init__.py")
            .is_file()
            .then(|| package.parent())?
    }
}

/// The folder of a bundle, on a machine where nothing was built; see `cargo xtask gpu-bundle`.
fn bundle() -> Option<PathBuf> {
    std::env::var_os("ADIT_BUNDLE").map(PathBuf::from)
}

/// The folder that cargo builds into, wherever that is, or the bundle's.
fn target() -> PathBuf {
    let built = || {
        PathBuf::from(env!("CARGO_BIN_EXE_adit-worker"))
            .ancestors()
            .nth(2)
            .expect("the worker lies in <target>/<profile>")
            .to_owned()
    };
    bundle().unwrap_or_else(built)
}

/// A guest that `cargo xtask setup` has built.
pub fn guest(name: &str) -> Vec<u8> {
    match bundle() {
        Some(_) => read(&format!("guests/{name}.wasm")),
        None => read(&format!("wasm32-wasip2/release/{name}.wasm")),
    }
}

/// A file that `cargo xtask setup` has put there.
pub fn read(path: &str) -> Vec<u8> {
    let path = target().join(path);
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; run cargo xtask setup", path.display()))
}
