//! The exec spec: what determines a result.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::cbor::fields::{self, Invalid};
use crate::cbor::{Document, SortedMap};
use crate::hash::Hash;

/// Which world the component implements; the number is the wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// `adit:task/task`: a function from bytes to bytes.
    #[n(0)]
    Task = 0,
    /// `wasi:cli/command`: a program with arguments, stdin and stdout.
    #[n(1)]
    Command = 1,
}

/// Bounds on what a guest may use. Running into one ends the run with status `limit-exceeded`
/// (`out-of-fuel` for fuel), at the same point on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Limits {
    /// Fuel: about one unit for each WebAssembly operator.
    #[n(0)]
    pub fuel: u64,
    /// Bytes of all linear memories and tables together.
    #[n(1)]
    pub memory_bytes: u64,
    /// Elements of all tables together.
    #[n(2)]
    pub table_elements: u64,
    /// Bytes of the result in the world `task`, of stdout in the world `command`.
    #[n(3)]
    pub output_bytes: u64,
    /// Bytes of all emitted chunks together.
    #[n(4)]
    pub emit_bytes: u64,
    /// Bytes of stderr.
    #[n(5)]
    pub stderr_bytes: u64,
    /// Bytes of tensors that exist at one time.
    #[n(6)]
    pub tensor_bytes_held: u64,
    /// Bytes of tensors that cross between guest and host over the whole run.
    #[n(7)]
    pub tensor_bytes_moved: u64,
    /// Bytes of models that the guest itself hands to the host.
    #[n(8)]
    pub model_bytes: u64,
    /// Handles that exist at one time.
    #[n(9)]
    pub handles: u64,
}

impl Default for Limits {
    /// Limits that fit most tasks: 100 G fuel (about a minute), 1 GiB of memory, 64 MiB of output.
    fn default() -> Limits {
        const MIB: u64 = 1 << 20;
        Limits {
            fuel: 100_000_000_000,
            memory_bytes: 1024 * MIB,
            table_elements: 100_000,
            output_bytes: 64 * MIB,
            emit_bytes: 64 * MIB,
            stderr_bytes: MIB,
            tensor_bytes_held: 1024 * MIB,
            tensor_bytes_moved: 16 * 1024 * MIB,
            model_bytes: 256 * MIB,
            handles: 1000,
        }
    }
}

/// Everything that determines a result. The same exec spec and the same answers of the inference
/// calls give the same output, fuel, peak memory and status on every machine.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct ExecSpec {
    /// Engine id: the hash of the [`crate::engine::EngineDocument`].
    #[n(0)]
    pub engine: Hash,
    /// The component's world.
    #[n(1)]
    pub world: World,
    /// Hash of the component.
    #[n(2)]
    pub component: Hash,
    /// Hash of the input.
    #[n(3)]
    pub input: Hash,
    /// Arguments, as `wasi:cli/environment` gives them to either world; the name of the program is
    /// not among them.
    #[n(4)]
    pub args: Vec<String>,
    /// What the wall clock shows at the start, in nanoseconds since 1970.
    #[n(5)]
    pub clock_start_ns: u64,
    /// Models that the guest may load by name: name -> hash of the model manifest.
    #[n(6)]
    pub models: SortedMap<Hash>,
    /// Seed of the guest's random numbers: BLAKE3 `derive_key("adit random v1", seed)`.
    #[n(7)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub seed: [u8; 32],
    /// Limits of the run.
    #[n(8)]
    pub limits: Limits,
}

impl Document for ExecSpec {
    const NAME: &'static str = "exec spec";
    const MAX_LEN: usize = 1024 * 1024;
    const MAX_TEXT: usize = 64 * 1024;

    fn check(&self) -> Result<(), Invalid> {
        fields::count("args", self.args.len(), 1024)?;
        // An argument may hold any characters but NUL, which no C program could be given.
        if self.args.iter().any(|arg| arg.contains('\0')) {
            return Invalid::new("args", "one has a NUL character");
        }
        if self.args.iter().any(|arg| arg.len() > 64 * 1024) {
            return Invalid::new("args", "one is longer than 65536 bytes");
        }
        let total = self
            .args
            .iter()
            .fold(0usize, |sum, arg| sum.saturating_add(arg.len()));
        if total > 512 * 1024 {
            return Invalid::new("args", "together they are longer than 524288 bytes");
        }
        fields::count("models", self.models.len(), 256)?;
        self.models
            .keys()
            .try_for_each(|name| fields::name("models", name, 256))
    }
}
