//! The boundary between a deterministic guest and inference: what is asked there, who answers,
//! and the transcript of both.
//!
//! Live, a backend answers and the transcript is written. In a replay the transcript answers, and
//! the guest's questions are compared with it. Both go through [`Session::call`], so that a
//! recorded and a replayed run cannot differ in bookkeeping.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use adit_protocol::Hash;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::transcript::{Call, Op, TensorRef, Transcript};
use minicbor::{Decode, Encode};

use crate::nn::tensor::Tensor;
use crate::stop::Stop;

/// Most calls in one transcript.
pub const CALLS_MAX: u64 = 1_000_000;
/// Most bytes that the calls of one transcript may take, by the estimate of [`Session`].
pub const TRANSCRIPT_BYTES_MAX: u64 = 128 << 20;
/// What a call counts for in that estimate, before its tensors.
pub const CALL_BYTES: u64 = 256;
/// What a tensor counts for in that estimate, beside its name.
pub const TENSOR_REF_BYTES: u64 = 48;

/// What the guest wants, with everything a backend needs to answer.
pub enum Request<'a> {
    /// The answer follows from the manifest alone and stands in `Call::error` already.
    Refused,
    /// Load a model that the guest brought along.
    Load {
        /// Hash of the manifest made for it.
        hash: Hash,
        /// The manifest.
        manifest: &'a Arc<ModelManifest>,
        /// The model file.
        bytes: Vec<u8>,
    },
    /// Make a model of the spec available.
    LoadByName {
        /// Hash of its manifest.
        hash: Hash,
        /// The manifest.
        manifest: &'a Arc<ModelManifest>,
    },
    /// Open a context on a loaded model.
    InitContext,
    /// Run a loaded model.
    Compute {
        /// Hash of the model's manifest.
        hash: Hash,
        /// The manifest.
        manifest: &'a Arc<ModelManifest>,
        /// Whether the guest brought the model along, instead of naming one of the spec.
        brought: bool,
        /// The inputs; they satisfy the manifest.
        inputs: Vec<(String, Tensor)>,
    },
}

/// An answer, as the guest will see it.
#[derive(Default)]
pub struct Answer {
    /// Outputs of a computation, in the manifest's order.
    pub outputs: Vec<(String, Tensor)>,
    /// The wasi-nn error code instead, if there is one.
    pub error: Option<u8>,
    /// Hash of the environment that computed, if one did.
    pub environment: Option<Hash>,
}

/// Whoever answers a guest's inference calls.
pub trait Answerer: Send {
    /// Answer call number `index`. `asked` holds all that the guest determined; its outputs are
    /// empty and its environment is unset.
    ///
    /// # Errors
    ///
    /// [`Stop::HostFault`] when a backend fails, [`Stop::Diverged`] when a replay does not match.
    fn answer(&mut self, index: u64, asked: &Call, request: Request<'_>) -> Result<Answer, Stop>;

    /// The guest has ended after `calls` calls.
    ///
    /// # Errors
    ///
    /// [`Stop::Diverged`] when the transcript has more.
    fn finish(&mut self, calls: u64) -> Result<(), Stop> {
        let _ = calls;
        Ok(())
    }
}

/// Where a replayed guest and the transcript part.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Divergence {
    /// Index of the first call that differs.
    #[n(0)]
    pub index: u64,
    /// What the guest did there.
    #[n(1)]
    pub operation: String,
    /// What about it differs.
    #[n(2)]
    pub what: String,
    /// What the transcript says.
    #[n(3)]
    pub expected: String,
    /// What the guest did.
    #[n(4)]
    pub actual: String,
}

impl Divergence {
    /// A divergence at call `index`, in which the guest does `op`.
    pub fn at(index: u64, op: Op, what: &str, expected: String, actual: String) -> Self {
        Self {
            index,
            operation: op_name(op).to_owned(),
            what: what.to_owned(),
            expected,
            actual,
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "call {} ({}) diverges in its {}: the transcript has {}, the guest gave {}",
            self.index, self.operation, self.what, self.expected, self.actual
        )
    }
}

/// The name of an operation, as in the WIT.
pub fn op_name(op: Op) -> &'static str {
    match op {
        Op::Load => "load",
        Op::LoadByName => "load-by-name",
        Op::InitContext => "init-execution-context",
        Op::Compute => "compute",
    }
}

/// Compare what a guest asked with what the transcript has in its place: everything the guest
/// determines, which excludes outputs and environment.
pub fn diverges(index: u64, recorded: &Call, asked: &Call) -> Option<Divergence> {
    let differs = |what: &str, expected: String, actual: String| {
        Some(Divergence::at(index, asked.op, what, expected, actual))
    };
    let or_none = |h: &Option<Hash>| h.map_or_else(|| "none".to_owned(), |h| h.to_string());
    if recorded.op != asked.op {
        return differs(
            "operation",
            op_name(recorded.op).to_owned(),
            op_name(asked.op).to_owned(),
        );
    }
    if recorded.name != asked.name {
        let show = |n: &Option<String>| n.clone().unwrap_or_else(|| "none".to_owned());
        return differs("model name", show(&recorded.name), show(&asked.name));
    }
    if recorded.manifest != asked.manifest {
        return differs(
            "model manifest",
            or_none(&recorded.manifest),
            or_none(&asked.manifest),
        );
    }
    if recorded.context != asked.context {
        return differs(
            "context",
            format!("{:?}", recorded.context),
            format!("{:?}", asked.context),
        );
    }
    for (r, a) in recorded.inputs.iter().zip(&asked.inputs) {
        if r.name != a.name {
            return differs("input name", r.name.clone(), a.name.clone());
        }
        if r.hash != a.hash {
            return differs(
                &format!("input `{}`", r.name),
                r.hash.to_string(),
                a.hash.to_string(),
            );
        }
    }
    if recorded.inputs.len() != asked.inputs.len() {
        return differs(
            "number of inputs",
            recorded.inputs.len().to_string(),
            asked.inputs.len().to_string(),
        );
    }
    if recorded.chain != asked.chain {
        return differs(
            "context chain",
            or_none(&recorded.chain),
            or_none(&asked.chain),
        );
    }
    if recorded.nn_units != asked.nn_units {
        return differs(
            "nn_units",
            recorded.nn_units.to_string(),
            asked.nn_units.to_string(),
        );
    }
    None
}

/// What tensors count for in the estimate of a transcript's length.
fn refs_bytes(tensors: &[TensorRef]) -> u64 {
    tensors
        .iter()
        .map(|t| TENSOR_REF_BYTES + t.name.len() as u64)
        .sum()
}

/// Whether outputs are what a manifest promises: its names in its order, element types, ranks and
/// fixed dimensions. Named dimensions may be of any size, since exporters are careless with them.
///
/// # Errors
///
/// A sentence that says what differs.
pub fn outputs_fit(manifest: &ModelManifest, outputs: &[(String, Tensor)]) -> Result<(), String> {
    let promised = manifest.outputs.iter().map(|spec| spec.name.as_str());
    if !promised.eq(outputs.iter().map(|(name, _)| name.as_str())) {
        return Err("the outputs have other names than the manifest's".to_owned());
    }
    for (name, t) in outputs {
        manifest
            .check_output(name, t.dtype(), t.dims(), t.bytes().len(), &BTreeMap::new())
            .map_err(|e| format!("the output does not fit the manifest: {e}"))?;
    }
    Ok(())
}

/// Keeps the transcript of one run.
pub struct Session {
    transcript: Transcript,
    answerer: Box<dyn Answerer>,
    nn_units: u64,
    bytes: u64,
}

impl Session {
    /// A session without calls yet.
    pub fn new(answerer: Box<dyn Answerer>) -> Self {
        Self {
            transcript: Transcript::default(),
            answerer,
            nn_units: 0,
            bytes: 0,
        }
    }

    /// Ask, record question and answer, and return the answer.
    ///
    /// # Errors
    ///
    /// [`Stop::Limit`] when the transcript is full; else the answerer's.
    pub fn call(&mut self, mut call: Call, request: Request<'_>) -> Result<Answer, Stop> {
        let index = self.transcript.calls.len() as u64;
        self.make_room(index, &call)?;
        let answer = self.answerer.answer(index, &call, request)?;
        if answer.error.is_some() {
            call.error = answer.error;
        }
        call.outputs = answer
            .outputs
            .iter()
            .map(|(name, tensor)| TensorRef {
                name: name.clone(),
                hash: tensor.hash(),
            })
            .collect();
        self.bytes = self.bytes.saturating_add(refs_bytes(&call.outputs));
        call.environment = answer.environment.map(|hash| self.environment(hash));
        if call.error.is_none() {
            self.nn_units = self.nn_units.saturating_add(call.nn_units);
        }
        let answer = Answer {
            error: call.error,
            ..answer
        };
        self.transcript.calls.push(call);
        Ok(answer)
    }

    /// Work units of all computations so far.
    pub fn nn_units(&self) -> u64 {
        self.nn_units
    }

    /// End the session: the transcript, and whether the answerer agrees that this is the end.
    pub fn finish(&mut self) -> (Transcript, Result<(), Stop>) {
        let calls = self.transcript.calls.len() as u64;
        let end = self.answerer.finish(calls);
        (std::mem::take(&mut self.transcript), end)
    }

    fn make_room(&mut self, index: u64, call: &Call) -> Result<(), Stop> {
        let tensors = refs_bytes(&call.inputs);
        let name = call.name.as_ref().map_or(0, |n| n.len() as u64);
        self.bytes = self.bytes.saturating_add(CALL_BYTES + tensors + name);
        if index >= CALLS_MAX {
            return Err(Stop::Limit {
                limit: "wasi-nn calls",
                max: CALLS_MAX,
            });
        }
        if self.bytes > TRANSCRIPT_BYTES_MAX {
            return Err(Stop::Limit {
                limit: "transcript bytes",
                max: TRANSCRIPT_BYTES_MAX,
            });
        }
        Ok(())
    }

    fn environment(&mut self, hash: Hash) -> u32 {
        let known = &mut self.transcript.environments;
        let at = known.iter().position(|h| *h == hash).unwrap_or_else(|| {
            known.push(hash);
            known.len() - 1
        });
        // There is one environment per device of this host.
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}
