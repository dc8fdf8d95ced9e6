//! The transcript: what a replay cannot derive by itself, every wasi-nn call in order.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::cbor::Document;
use crate::cbor::fields::{self, Invalid};
use crate::hash::Hash;

/// BLAKE3 `derive_key` context of the hash chain of an execution context.
const CHAIN_CONTEXT: &str = "adit transcript chain v1";

/// A recorded operation; the number is the wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// `graph.load` of bytes that the guest brought.
    #[n(0)]
    Load = 0,
    /// `graph.load-by-name` of a model of the spec.
    #[n(1)]
    LoadByName = 1,
    /// `graph.init-execution-context`.
    #[n(2)]
    InitContext = 2,
    /// `graph-execution-context.compute`.
    #[n(3)]
    Compute = 3,
}

/// A tensor that went in or came out, by the hash of its blob ([`crate::tensor`]).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct TensorRef {
    /// The tensor's name.
    #[n(0)]
    pub name: String,
    /// Hash of the tensor blob.
    #[n(1)]
    pub hash: Hash,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Call {
    /// What was called.
    #[n(0)]
    pub op: Op,
    /// The name that was loaded.
    #[n(1)]
    pub name: Option<String>,
    /// Hash of the model's manifest.
    #[n(2)]
    pub manifest: Option<Hash>,
    /// Number of the execution context, counted from 0 over the run.
    #[n(3)]
    pub context: Option<u32>,
    /// Hash chain of the context *after* this call: [`chain_start`], then [`chain_next`]. Only
    /// computations whose inputs were accepted have one.
    #[n(4)]
    pub chain: Option<Hash>,
    /// Input tensors, in the manifest's order; empty if they were refused for not fitting it.
    #[n(5)]
    pub inputs: Vec<TensorRef>,
    /// Output tensors, in the manifest's order.
    #[n(6)]
    pub outputs: Vec<TensorRef>,
    /// Work of this call by the manifest's cost function.
    #[n(7)]
    pub nn_units: u64,
    /// Index into [`Transcript::environments`].
    #[n(8)]
    pub environment: Option<u32>,
    /// The wasi-nn error code that the guest saw, if the call failed.
    #[n(9)]
    pub error: Option<u8>,
}

/// All inference calls of a run. Tensors are blobs of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Transcript {
    /// Hashes of the environment documents in use, in order of first use.
    #[n(0)]
    pub environments: Vec<Hash>,
    /// The calls, in order.
    #[n(1)]
    pub calls: Vec<Call>,
}

impl Transcript {
    /// The most calls of one run.
    pub const MAX_CALLS: usize = 1_000_000;
}

impl Document for Transcript {
    const NAME: &'static str = "transcript";
    const MAX_LEN: usize = 256 * 1024 * 1024;
    const MAX_ITEMS: usize = Transcript::MAX_CALLS;

    fn check(&self) -> Result<(), Invalid> {
        fields::count("environments", self.environments.len(), 64)?;
        fields::count("calls", self.calls.len(), Transcript::MAX_CALLS)?;
        for call in &self.calls {
            if let Some(name) = &call.name {
                // A guest chooses this name freely, and the call fails: nothing but its length is
                // checked, or a run could not be recorded.
                if name.len() > 1024 {
                    return Invalid::new("calls.name", "it is longer than 1024 bytes");
                }
            }
            fields::count("calls.inputs", call.inputs.len(), 1024)?;
            fields::count("calls.outputs", call.outputs.len(), 1024)?;
            for (field, tensors) in [
                ("calls.inputs", &call.inputs),
                ("calls.outputs", &call.outputs),
            ] {
                if tensors.iter().any(|tensor| tensor.name.len() > 1024) {
                    return Invalid::new(field, "a tensor's name is longer than 1024 bytes");
                }
            }
            if let Some(index) = call.environment
                && self.environments.len() as u64 <= u64::from(index)
            {
                return Invalid::new(
                    "calls.environment",
                    format!("there is no environment {index}"),
                );
            }
        }
        Ok(())
    }
}

/// The first link of an execution context's chain: BLAKE3 `derive_key` with the context string
/// `adit transcript chain v1` over `00 ‖ manifest (32) ‖ context u32 LE`.
pub fn chain_start(manifest: &Hash, context: u32) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(CHAIN_CONTEXT);
    hasher
        .update(&[0])
        .update(manifest.as_bytes())
        .update(&context.to_le_bytes());
    Hash::from_bytes(*hasher.finalize().as_bytes())
}

/// The link after a `compute` with these inputs: BLAKE3 `derive_key` with the context string
/// `adit transcript chain v1` over `01 ‖ previous link (32) ‖ count u64 LE`, then for each input
/// `length of name u64 LE ‖ name ‖ hash (32)`.
///
/// Models with state answer by everything they were given before. The chain says what that was,
/// so that a replay can tell a wrong answer from a right one to another history.
pub fn chain_next(prev: &Hash, inputs: &[TensorRef]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(CHAIN_CONTEXT);
    hasher
        .update(&[1])
        .update(prev.as_bytes())
        .update(&(inputs.len() as u64).to_le_bytes());
    for input in inputs {
        hasher.update(&(input.name.len() as u64).to_le_bytes());
        hasher
            .update(input.name.as_bytes())
            .update(input.hash.as_bytes());
    }
    Hash::from_bytes(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, data: &[u8]) -> TensorRef {
        TensorRef {
            name: name.into(),
            hash: Hash::of(data),
        }
    }

    #[test]
    fn chain_has_the_documented_bytes() {
        let manifest = Hash::of(b"manifest");
        let start = [&[0][..], manifest.as_bytes(), &[7, 0, 0, 0]].concat();
        assert_eq!(
            chain_start(&manifest, 7).as_bytes(),
            &blake3::derive_key("adit transcript chain v1", &start)
        );
        let input = tensor("x", b"1");
        let next = [
            &[1][..],
            manifest.as_bytes(),
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            b"x",
            input.hash.as_bytes(),
        ]
        .concat();
        assert_eq!(
            chain_next(&manifest, &[input]).as_bytes(),
            &blake3::derive_key("adit transcript chain v1", &next)
        );
    }

    #[test]
    fn chain_depends_on_every_part_and_on_order() {
        let start = chain_start(&Hash::of(b"m"), 0);
        assert_ne!(start, chain_start(&Hash::of(b"m"), 1));
        let (a, b) = (tensor("a", b"1"), tensor("b", b"2"));
        let link = chain_next(&start, &[a.clone(), b.clone()]);
        assert_ne!(link, chain_next(&start, &[b.clone(), a.clone()]));
        assert_ne!(link, chain_next(&start, std::slice::from_ref(&a)));
        assert_ne!(link, chain_next(&chain_next(&start, &[a]), &[b]));
    }

    #[test]
    fn an_environment_must_exist() {
        let call = Call {
            op: Op::Compute,
            name: None,
            manifest: None,
            context: Some(0),
            chain: None,
            inputs: vec![],
            outputs: vec![],
            nn_units: 1,
            environment: Some(1),
            error: None,
        };
        let mut transcript = Transcript {
            environments: vec![Hash::ZERO],
            calls: vec![call],
        };
        assert!(Transcript::from_cbor(&transcript.to_cbor()).is_err());
        transcript.environments.push(Hash::of(b"second"));
        assert_eq!(Transcript::from_cbor(&transcript.to_cbor()), Ok(transcript));
    }
}
