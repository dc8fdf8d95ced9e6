//! The environment document: where inference ran.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::cbor::Document;
use crate::cbor::fields::{self, Invalid};
use crate::hash::Hash;

/// Machine and inference backend of a run. Two runs whose documents have the same hash may be
/// compared bit for bit, if the class was measured to be repeatable. An empty text says "none".
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct EnvironmentDocument {
    /// Engine id.
    #[n(0)]
    pub engine: Hash,
    /// Target triple of the runtime, as `x86_64-unknown-linux-gnu`.
    #[n(1)]
    pub triple: String,
    /// Instruction set that compiled code is limited to, as `x86-64-v2`.
    #[n(2)]
    pub cpu_baseline: String,
    /// Inference backend, as `rten`.
    #[n(3)]
    pub backend: String,
    /// Version of the backend.
    #[n(4)]
    pub backend_version: String,
    /// Build of the backend: a hash of its library, or its compile options.
    #[n(5)]
    pub build: String,
    /// Execution provider inside the backend, as `cpu` or `cuda`.
    #[n(6)]
    pub execution_provider: String,
    /// Name of the device.
    #[n(7)]
    pub device: String,
    /// Version of the device's driver.
    #[n(8)]
    pub driver: String,
    /// Arithmetic, as `fp32` or `tf32`.
    #[n(9)]
    pub precision: String,
    /// Threads that one inference uses.
    #[n(10)]
    pub threads: u32,
}

impl Document for EnvironmentDocument {
    const NAME: &'static str = "environment document";
    const MAX_LEN: usize = 16 * 1024;

    fn check(&self) -> Result<(), Invalid> {
        fields::text("triple", &self.triple, 256)?;
        fields::text("cpu_baseline", &self.cpu_baseline, 256)?;
        fields::text("backend", &self.backend, 256)?;
        fields::text("backend_version", &self.backend_version, 256)?;
        fields::text("build", &self.build, 256)?;
        fields::text("execution_provider", &self.execution_provider, 256)?;
        fields::text("device", &self.device, 256)?;
        fields::text("driver", &self.driver, 256)?;
        fields::text("precision", &self.precision, 256)
    }
}
