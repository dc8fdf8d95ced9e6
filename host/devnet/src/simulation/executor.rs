//! An executor that runs no guest: the output is the input in upper case.

use std::sync::Arc;

use adit_miner::executor::{Device, Executor};
use adit_miner::outcome::without_guest;
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::status::Status;
use adit_runtime::engine_document::engine_document;
use adit_runtime::state::Events;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::supervisor::{Ran, SupervisorError, Task};

/// Longest input, in bytes.
const INPUT_BYTES: u64 = 1 << 20;

/// See the module.
pub struct UpperCase {
    devices: Arc<[Device]>,
    blobs: BlobStore,
}

impl UpperCase {
    /// With so many slots, over the store of a miner.
    pub fn new(blobs: BlobStore, slots: u32) -> UpperCase {
        let text = |text: &str| text.to_owned();
        let engine = engine_document().hash();
        let environment = EnvironmentDocument {
            engine,
            triple: text("x86_64-unknown-linux-gnu"),
            cpu_baseline: text("x86-64-v2"),
            backend: text("none"),
            backend_version: text("1"),
            build: String::new(),
            execution_provider: text("cpu"),
            device: text("a simulation"),
            driver: String::new(),
            precision: text("fp32"),
            threads: 1,
            requested: None,
            options: None,
            fallback: None,
        };
        let bytes = environment.to_cbor();
        let device = Device {
            name: text("cpu"),
            environment_hash: Hash::of(&bytes),
            environment: bytes,
            backend: text("none"),
            gpu: false,
            memory_bytes: 0,
            slots,
            engine,
        };
        UpperCase {
            devices: [device].into(),
            blobs,
        }
    }
}

impl Executor for UpperCase {
    fn devices(&self) -> Arc<[Device]> {
        Arc::clone(&self.devices)
    }

    fn run(&self, _: usize, task: &Task, events: &mut dyn Events) -> Result<Ran, SupervisorError> {
        self.blobs.get(&task.spec.component, INPUT_BYTES)?;
        let input = match &task.input {
            Some(bytes) => bytes.to_vec(),
            None => self.blobs.get(&task.spec.input, INPUT_BYTES)?,
        };
        if events.cancelled() {
            return Ok(without_guest(Status::Cancelled, "it was told to end"));
        }
        match task.spec.args.first().map(String::as_str) {
            Some("fault") => Err(SupervisorError::Start("it was asked to".to_owned())),
            Some("report") => {
                events.output(b"a chunk");
                events.progress(1, 2, "half");
                Ok(done(&input))
            }
            _ => Ok(done(&input)),
        }
    }
}

fn done(input: &[u8]) -> Ran {
    Ran {
        output: input.to_ascii_uppercase(),
        fuel: 1,
        detail: None,
        ..without_guest(Status::Ok, "")
    }
}
