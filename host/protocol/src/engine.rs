//! The engine document: everything about the runtime that a guest could notice.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::cbor::fields::{self, Invalid};
use crate::cbor::{Document, SortedMap};

/// What the runtime is and how it behaves (protocol.md, "What determines a result"). Its hash is
/// the *engine id*: results are comparable only under the same one. The CPU is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct EngineDocument {
    /// Version of the runtime crate.
    #[n(0)]
    pub runtime: String,
    /// Exact version of wasmtime: what an instruction costs differs between patch releases.
    #[n(1)]
    pub wasmtime: String,
    /// WebAssembly features that are on, in ascending order, each once.
    #[n(2)]
    pub wasm_features: Vec<String>,
    /// Fuel of each operator that does not cost 1.
    #[n(3)]
    pub operator_cost: SortedMap<u64>,
    /// Limits that a guest can see and a spec cannot change.
    #[n(4)]
    pub limits: SortedMap<u64>,
    /// Rules of the host functions, each a sentence or a number.
    #[n(5)]
    pub rules: SortedMap<String>,
}

impl Document for EngineDocument {
    const NAME: &'static str = "engine document";
    const MAX_LEN: usize = 256 * 1024;

    fn check(&self) -> Result<(), Invalid> {
        fields::name("runtime", &self.runtime, 64)?;
        fields::name("wasmtime", &self.wasmtime, 64)?;
        fields::count("wasm_features", self.wasm_features.len(), 256)?;
        for feature in &self.wasm_features {
            fields::name("wasm_features", feature, 64)?;
        }
        if !self.wasm_features.is_sorted_by(|a, b| a < b) {
            return Invalid::new(
                "wasm_features",
                "they are not in ascending order, each once",
            );
        }
        fields::count("operator_cost", self.operator_cost.len(), 4096)?;
        fields::count("limits", self.limits.len(), 256)?;
        fields::count("rules", self.rules.len(), 256)?;
        for key in self.operator_cost.keys() {
            fields::name("operator_cost", key, 64)?;
        }
        for key in self.limits.keys() {
            fields::name("limits", key, 64)?;
        }
        for (key, rule) in &self.rules {
            fields::name("rules", key, 64)?;
            fields::text("rules", rule, 1024)?;
        }
        Ok(())
    }
}
