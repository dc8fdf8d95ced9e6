//! What runs tasks: a worker process for each device, behind a trait.

use std::path::PathBuf;
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_runtime::state::Events;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Ran, Supervisor, SupervisorError, SupervisorOptions, Task};

/// A device that computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What the operator calls it.
    pub name: String,
    /// Its environment document, encoded.
    pub environment: Vec<u8>,
    /// Hash of that.
    pub environment_hash: Hash,
    /// Its backend's name, as in the environment document.
    pub backend: String,
    /// Whether it is a GPU.
    pub gpu: bool,
    /// Its memory in bytes; 0 if it is not known.
    pub memory_bytes: u64,
    /// Runs that it makes at one time.
    pub slots: u32,
    /// Engine id of its worker.
    pub engine: Hash,
}

/// Runs tasks on devices. Shared by one thread for each slot.
pub trait Executor: Send + Sync {
    /// The devices, at least one, all with the same engine. They do not change.
    fn devices(&self) -> Arc<[Device]>;

    /// Makes a run on the device of this number, and blocks until it has ended. What it needs is in
    /// the blob store.
    ///
    /// # Errors
    /// [`SupervisorError`] if it could not be tried; every way in which a run ends is a status.
    fn run(
        &self,
        device: usize,
        task: &Task,
        events: &mut dyn Events,
    ) -> Result<Ran, SupervisorError>;

    /// The temperature of a device in degrees Celsius, if it can be read. May block shortly.
    fn temperature_c(&self, device: usize) -> Option<u32> {
        let _ = device;
        None
    }
}

/// A device that is to be started.
#[derive(Clone, Debug)]
pub struct DeviceSpec {
    /// What the operator calls it.
    pub name: String,
    /// How it is reached.
    pub choice: DeviceChoice,
    /// Its worker's size.
    pub worker: WorkerOptions,
}

/// Where workers come from.
#[derive(Clone, Debug)]
pub struct WorkerProgram {
    /// A program that becomes a worker: one that calls [`adit_runtime::worker::main_if_worker`].
    pub program: PathBuf,
    /// Folder of compiled components.
    pub code: PathBuf,
    /// Key for that folder, if it has none yet.
    pub fresh_key: [u8; 32],
}

/// Why a device could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// There is none.
    #[error("no device is configured; hint: add a [[device]] with name = \"cpu\" to miner.toml")]
    None,
    /// Its worker did not start.
    #[error("the device {name} cannot be used: {source}")]
    Device {
        /// Its name.
        name: String,
        /// Why.
        source: SupervisorError,
    },
    /// Its worker describes itself wrongly.
    #[error("the worker of the device {name} describes its environment wrongly: {source}")]
    Environment {
        /// Its name.
        name: String,
        /// What is wrong.
        source: adit_protocol::DecodeError,
    },
    /// The store of blobs failed.
    #[error(transparent)]
    Store(#[from] adit_runtime::store::StoreError),
}

/// A worker process for each device, started when it is made and replaced when it dies.
pub struct SupervisorExecutor {
    devices: Arc<[Device]>,
    supervisors: Vec<(Supervisor, DeviceChoice)>,
}

impl SupervisorExecutor {
    /// Starts a worker for each device, and asks it what it is. Blocks.
    ///
    /// # Errors
    /// [`ExecutorError`], for the first device that cannot be used.
    pub fn start(
        program: &WorkerProgram,
        blobs: &BlobStore,
        specs: Vec<DeviceSpec>,
    ) -> Result<SupervisorExecutor, ExecutorError> {
        if specs.is_empty() {
            return Err(ExecutorError::None);
        }
        let mut devices = Vec::with_capacity(specs.len());
        let mut supervisors = Vec::with_capacity(specs.len());
        for spec in specs {
            let DeviceSpec {
                name,
                choice,
                worker,
            } = spec;
            let slots = worker.slots.max(1);
            let options = SupervisorOptions {
                program: program.program.clone(),
                worker: WorkerOptions {
                    device: choice.clone(),
                    ..worker
                },
                code: program.code.clone(),
                fresh_key: program.fresh_key,
            };
            let supervisor = Supervisor::new(options, blobs.clone());
            let hello = match supervisor.hello() {
                Ok(hello) => hello,
                Err(source) => return Err(ExecutorError::Device { name, source }),
            };
            let environment = match EnvironmentDocument::from_cbor(&hello.environment) {
                Ok(environment) => environment,
                Err(source) => return Err(ExecutorError::Environment { name, source }),
            };
            // A coordinator that has lost it may ask for it with a receipt.
            blobs.put(&hello.environment)?;
            devices.push(Device {
                name,
                environment_hash: Hash::of(&hello.environment),
                environment: hello.environment,
                backend: environment.backend,
                gpu: hello.gpu,
                memory_bytes: hello.device_memory_bytes,
                slots,
                engine: hello.engine,
            });
            supervisors.push((supervisor, choice));
        }
        Ok(SupervisorExecutor {
            devices: devices.into(),
            supervisors,
        })
    }
}

impl Executor for SupervisorExecutor {
    fn devices(&self) -> Arc<[Device]> {
        self.devices.clone()
    }

    fn run(
        &self,
        device: usize,
        task: &Task,
        events: &mut dyn Events,
    ) -> Result<Ran, SupervisorError> {
        match self.supervisors.get(device) {
            Some((supervisor, _)) => supervisor.run(task, events),
            None => Err(SupervisorError::Start(format!(
                "there is no device number {device}"
            ))),
        }
    }

    fn temperature_c(&self, device: usize) -> Option<u32> {
        let (_, choice) = self.supervisors.get(device)?;
        adit_runtime::devices::temperature_c(choice)
    }
}
