//! What the tests share: guests, a supervisor with the real worker program, and tasks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::exec::{ExecSpec, Limits, World};
use adit_protocol::status::Status;
use adit_runtime::engine::Target;
use adit_runtime::nn::onnxruntime::OrtDevice;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::device::DeviceChoice;
use adit_runtime::worker::messages::Mode;
use adit_runtime::worker::process::WorkerOptions;
use adit_runtime::worker::supervisor::{Ran, Supervisor, SupervisorOptions, Task};

/// The folder that cargo builds into, wherever that is.
pub fn target() -> PathBuf {
    // The worker lies in <target>/<profile>.
    let worker = PathBuf::from(env!("CARGO_BIN_EXE_adit-worker"));
    worker.ancestors().nth(2).unwrap().to_owned()
}

/// A guest that `cargo xtask setup` has built.
pub fn guest(name: &str) -> Vec<u8> {
    let path = target().join("wasm32-wasip2/release").join(name);
    std::fs::read(&path)
        .unwrap_or_else(|e| panic!("{}: {e}; hint: cargo xtask setup builds it", path.display()))
}

/// The worker of a bundle, on a machine where nothing was built; else `built`.
fn worker_program(built: PathBuf) -> PathBuf {
    match std::env::var_os("ADIT_BUNDLE") {
        Some(bundle) => PathBuf::from(bundle).join("bin/adit-worker"),
        None => built,
    }
}

/// A runtime in a temporary folder.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub blobs: BlobStore,
    pub supervisor: Supervisor,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(WorkerOptions {
            memory_bytes: 3 << 30,
            ..WorkerOptions::default()
        })
    }

    pub fn with(worker: WorkerOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(dir.path().join("blobs")).unwrap();
        let program = worker_program(env!("CARGO_BIN_EXE_adit-worker").into());
        Self::made(dir, program, &blobs, worker)
    }

    /// One whose worker is another program, over blobs of another.
    pub fn of(program: PathBuf, blobs: &BlobStore, worker: WorkerOptions) -> Self {
        Self::made(tempfile::tempdir().unwrap(), program, blobs, worker)
    }

    fn made(
        dir: tempfile::TempDir,
        program: PathBuf,
        blobs: &BlobStore,
        worker: WorkerOptions,
    ) -> Self {
        let options = SupervisorOptions {
            program,
            worker,
            code: dir.path().join("code"),
            fresh_key: [3; 32],
        };
        let supervisor = Supervisor::new(options, blobs.clone());
        Self {
            dir,
            blobs: blobs.clone(),
            supervisor,
        }
    }

    /// One that runs guests in the interpreter, over blobs and compiled code of `other`.
    pub fn interpreter(other: &Bench) -> Self {
        let worker = WorkerOptions {
            target: Target::Interpreter,
            ..WorkerOptions::default()
        };
        let mut bench = Self::with(worker.clone());
        bench.blobs = other.blobs.clone();
        let options = SupervisorOptions {
            program: env!("CARGO_BIN_EXE_adit-worker").into(),
            worker,
            code: other.dir.path().join("code"),
            fresh_key: [3; 32],
        };
        bench.supervisor = Supervisor::new(options, bench.blobs.clone());
        bench
    }

    /// One with the embedded backend, over blobs of another.
    pub fn over_blobs(blobs: &BlobStore) -> Self {
        let program = env!("CARGO_BIN_EXE_adit-worker").into();
        Self::of(worker_program(program), blobs, WorkerOptions::default())
    }

    /// One whose worker computes on a device, over the blobs of `other`.
    pub fn of_device(other: &Bench, device: OrtDevice) -> Self {
        let options = WorkerOptions {
            slots: 1,
            device: DeviceChoice::OnnxRuntime(device),
            ..WorkerOptions::default()
        };
        let program = env!("CARGO_BIN_EXE_adit-worker").into();
        Self::of(worker_program(program), &other.blobs, options)
    }

    /// The supervisor alone; its folder of compiled code stays until the system removes it.
    pub fn into_supervisor(self) -> Supervisor {
        let _ = self.dir.keep();
        self.supervisor
    }

    /// Another supervisor with a worker of its own, over the blobs of `other`.
    pub fn over(other: &Bench) -> Self {
        let mut bench = Self::new();
        bench.blobs = other.blobs.clone();
        let options = SupervisorOptions {
            program: env!("CARGO_BIN_EXE_adit-worker").into(),
            worker: WorkerOptions::default(),
            code: bench.dir.path().join("code"),
            fresh_key: [4; 32],
        };
        bench.supervisor = Supervisor::new(options, bench.blobs.clone());
        bench
    }

    /// A run of `component` on `input` with default limits.
    pub fn task(&self, component: &[u8], world: World, input: &[u8], args: &[&str]) -> Task {
        let spec = ExecSpec {
            engine: self.supervisor.hello().unwrap().engine,
            world,
            component: self.blobs.put(component).unwrap(),
            input: self.blobs.put(input).unwrap(),
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            clock_start_ns: 1_700_000_000_000_000_000,
            models: std::iter::empty::<(String, Hash)>().collect(),
            seed: [5; 32],
            limits: Limits {
                fuel: 2_000_000_000,
                memory_bytes: 256 << 20,
                ..Limits::default()
            },
        };
        Task {
            spec,
            input: None,
            manifests: BTreeMap::new(),
            deadline: Duration::from_secs(60),
            mode: Mode::Live,
        }
    }

    /// A run of the guest `behave`.
    pub fn behave(&self, args: &[&str]) -> Task {
        self.task(&guest("guest-behave.wasm"), World::Command, b"", args)
    }

    pub fn run(&self, task: &Task) -> Ran {
        self.supervisor
            .run(task, &mut adit_runtime::state::NoEvents)
            .unwrap()
    }
}

/// Everything of a run that a receipt holds, or commits to.
pub fn facts(ran: &Ran) -> (Status, Vec<u8>, u64, u64, u64, Vec<u8>) {
    (
        ran.status,
        ran.output.clone(),
        ran.fuel,
        ran.nn_units,
        ran.peak_memory,
        ran.transcript.clone(),
    )
}

/// The output as text.
pub fn text(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.output).into_owned()
}
