//! The environment document: where inference ran.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::cbor::fields::{self, Invalid};
use crate::cbor::{Document, SortedMap};
use crate::hash::Hash;

/// The most settings in [`EnvironmentDocument::options`].
pub const MAX_OPTIONS: usize = 64;
/// The most entries of [`EnvironmentDocument::fallback`].
pub const MAX_FALLBACK: usize = 256;

/// Machine and inference backend of a run. Two runs whose documents have the same hash may be
/// compared bit for bit, if the class was measured to be repeatable. An empty text says "none".
///
/// The document of a device by itself, without a model, has neither [`requested`] nor [`fallback`].
/// A model that runs on the requested provider as a whole has that same document. A model some of
/// whose nodes ran elsewhere has one that says which, and so another hash: the environment class
/// tells a GPU from a GPU that was helped by a CPU.
///
/// [`requested`]: EnvironmentDocument::requested
/// [`fallback`]: EnvironmentDocument::fallback
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
    /// Execution provider inside the backend, as `cpu` or `cuda`; where there is a fallback, all
    /// that ran, as [`joined_providers`] writes them.
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
    /// The execution provider that was asked for; present only together with `fallback`, that is
    /// if some node of the model ran elsewhere.
    #[n(11)]
    pub requested: Option<String>,
    /// Settings of the provider that can change results, as `use_tf32` = `0`. Never empty: where
    /// there is none, the field is absent.
    #[n(12)]
    pub options: Option<SortedMap<String>>,
    /// The nodes of the model that did not run on the requested provider, counted by
    /// `provider/operator`, as `cpu/Gather` = 2. Never empty either.
    #[n(13)]
    pub fallback: Option<SortedMap<u64>>,
}

/// What [`EnvironmentDocument::execution_provider`] says where there is a fallback: the requested
/// provider if any node ran on it, then the others in ascending order, joined by `+`, as
/// `webgpu+cpu`. One order, so that the same class is not named by two hashes.
pub fn joined_providers(requested: &str, requested_ran: bool, fallback: &SortedMap<u64>) -> String {
    let others: BTreeSet<&str> = fallback.keys().filter_map(|key| provider(key)).collect();
    let first = requested_ran.then_some(requested);
    let all: Vec<&str> = first.into_iter().chain(others).collect();
    all.join("+")
}

/// The provider in a key of the fallback; `None` if it is not `provider/operator`.
fn provider(key: &str) -> Option<&str> {
    match key.split_once('/') {
        Some((provider, operator)) if is_provider(provider) && !operator.is_empty() => {
            Some(provider)
        }
        _ => None,
    }
}

/// Whether a name can stand in a list that `+` joins, and before the `/` of an operator.
fn is_provider(name: &str) -> bool {
    !name.is_empty() && !name.contains(['+', '/'])
}

impl EnvironmentDocument {
    fn check_options(&self) -> Result<(), Invalid> {
        let Some(options) = &self.options else {
            return Ok(());
        };
        if options.is_empty() {
            return Invalid::new("options", "it is empty, which is said by leaving it out");
        }
        fields::count("options", options.len(), MAX_OPTIONS)?;
        for (key, value) in options {
            fields::name("options", key, 128)?;
            fields::text("options", value, 256)?;
        }
        Ok(())
    }

    fn check_fallback(&self) -> Result<(), Invalid> {
        let (requested, fallback) = match (&self.requested, &self.fallback) {
            (None, None) => return Ok(()),
            (Some(_), None) => {
                return Invalid::new("requested", "it is there without the nodes that fell back");
            }
            (None, Some(_)) => {
                return Invalid::new("fallback", "it is there without the requested provider");
            }
            (Some(requested), Some(fallback)) => (requested, fallback),
        };
        fields::name("requested", requested, 64)?;
        if !is_provider(requested) {
            return Invalid::new(
                "requested",
                "it has a `+` or a `/`, and is no single provider",
            );
        }
        if fallback.is_empty() {
            return Invalid::new("fallback", "it is empty, which is said by leaving it out");
        }
        fields::count("fallback", fallback.len(), MAX_FALLBACK)?;
        for (key, nodes) in fallback {
            fields::name("fallback", key, 128)?;
            match provider(key) {
                None => {
                    return Invalid::new("fallback", format!("`{key}` is not provider/operator"));
                }
                Some(provider) if provider == requested => {
                    return Invalid::new(
                        "fallback",
                        format!("`{key}` names the provider that was asked for"),
                    );
                }
                Some(_) if *nodes == 0 => {
                    return Invalid::new("fallback", format!("`{key}` counts no node"));
                }
                Some(_) => {}
            }
        }
        let fits = [true, false]
            .map(|ran| joined_providers(requested, ran, fallback))
            .contains(&self.execution_provider);
        if !fits {
            return Invalid::new(
                "execution_provider",
                "it is not the requested provider and those of the fallback, joined by `+`",
            );
        }
        Ok(())
    }
}

impl Document for EnvironmentDocument {
    const NAME: &'static str = "environment document";
    const MAX_LEN: usize = 64 * 1024;

    fn check(&self) -> Result<(), Invalid> {
        fields::text("triple", &self.triple, 256)?;
        fields::text("cpu_baseline", &self.cpu_baseline, 256)?;
        fields::text("backend", &self.backend, 256)?;
        fields::text("backend_version", &self.backend_version, 256)?;
        fields::text("build", &self.build, 256)?;
        fields::text("execution_provider", &self.execution_provider, 256)?;
        fields::text("device", &self.device, 256)?;
        fields::text("driver", &self.driver, 256)?;
        fields::text("precision", &self.precision, 256)?;
        self.check_options()?;
        self.check_fallback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_joined_in_one_order() {
        let fallback: SortedMap<u64> = [("dml/Conv", 1), ("cpu/Gather", 2), ("cpu/Shape", 1)]
            .into_iter()
            .collect();
        assert_eq!(
            joined_providers("webgpu", true, &fallback),
            "webgpu+cpu+dml"
        );
        assert_eq!(joined_providers("webgpu", false, &fallback), "cpu+dml");
    }

    #[test]
    fn an_operator_may_have_a_domain() {
        assert_eq!(provider("cpu/com.microsoft/Gelu"), Some("cpu"));
        for key in ["cpu", "cpu/", "/Gather", "", "a+b/Gather"] {
            assert_eq!(provider(key), None, "{key}");
        }
    }
}
