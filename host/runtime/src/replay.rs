//! Answers a guest's inference calls from a transcript.
//!
//! Level 2 of a replay needs no model and no backend: the guest is executed again, its calls are
//! compared with the recorded ones, and it is given the recorded outputs. Level 3 also computes
//! some or all of the calls on a backend of the auditor's, from the inputs that the guest gives
//! here (which level 2 has just proved to be the recorded ones), and compares the outputs.

use std::sync::{Arc, Mutex};

use adit_protocol::Hash;
use adit_protocol::tensor::TensorBlob;
use adit_protocol::transcript::{Call, Op, TensorRef, Transcript};
use minicbor::{Decode, Encode};

use crate::nn::tensor::Tensor;
use crate::record::{Answer, Answerer, Divergence, Request, diverges, op_name, outputs_fit};
use crate::stop::Stop;

/// Where recorded tensors come from.
pub trait TensorSource: Send {
    /// The tensor blob with this hash. Its content is checked by the caller.
    ///
    /// # Errors
    ///
    /// A sentence that says why it is not to be had.
    fn tensor(&mut self, hash: &Hash) -> Result<Vec<u8>, String>;
}

/// What a backend of the auditor's said about one recorded call.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Recheck {
    /// Index of the call in the transcript.
    #[n(0)]
    pub index: u64,
    /// Whether every output was the same to the bit.
    #[n(1)]
    pub exact: bool,
    /// Whether every output was within the manifest's tolerance.
    #[n(2)]
    pub accepted: bool,
    /// Largest absolute difference of any element.
    #[n(3)]
    pub max_abs: f64,
    /// Largest relative difference of any element.
    #[n(4)]
    pub max_rel: f64,
    /// Hash of the model's manifest.
    #[n(5)]
    pub model: Hash,
    /// Environment in which the recorded answer was computed, as the transcript says.
    #[n(6)]
    pub recorded: Option<Hash>,
    /// Environment in which it was computed here.
    #[n(7)]
    pub environment: Option<Hash>,
}

/// The level-3 part of a replay.
pub struct Rechecker {
    /// Computes on the auditor's backend.
    pub backend: Box<dyn Answerer>,
    /// Recompute every `every`-th computation, from the first on; at least 1.
    pub every: u64,
    /// Where the findings go.
    pub findings: Arc<Mutex<Vec<Recheck>>>,
}

/// An answerer that reads a transcript.
pub struct Replay {
    transcript: Transcript,
    tensors: Box<dyn TensorSource>,
    rechecker: Option<Rechecker>,
    computations: u64,
}

impl Replay {
    /// Replay `transcript`, with recorded tensors from `tensors`.
    pub fn new(
        transcript: Transcript,
        tensors: Box<dyn TensorSource>,
        rechecker: Option<Rechecker>,
    ) -> Self {
        Self {
            transcript,
            tensors,
            rechecker,
            computations: 0,
        }
    }

    fn recorded_tensor(&mut self, tensor: &TensorRef) -> Result<(String, Tensor), Stop> {
        let unusable = |why: &str| {
            Stop::Unavailable(format!(
                "the recorded output `{}` ({}) {why}",
                tensor.name, tensor.hash
            ))
        };
        let blob = self
            .tensors
            .tensor(&tensor.hash)
            .map_err(|why| unusable(&format!("is not available: {why}")))?;
        if Hash::of(&blob) != tensor.hash {
            return Err(unusable("is damaged: its content has another hash"));
        }
        let (dtype, dims, data) =
            TensorBlob::decode(&blob).map_err(|e| unusable(&format!("is not a tensor: {e}")))?;
        let whole = Tensor::new(dtype, dims, data.to_vec())
            .map_err(|e| unusable(&format!("is not a tensor: {e}")))?;
        Ok((tensor.name.clone(), whole))
    }

    fn recheck(
        &mut self,
        index: u64,
        asked: &Call,
        request: Request<'_>,
        recorded: &[(String, Tensor)],
        environment: Option<Hash>,
    ) -> Result<(), Stop> {
        let Some(rechecker) = &mut self.rechecker else {
            return Ok(());
        };
        let Request::Compute { manifest, hash, .. } = &request else {
            // Loads prepare the backend for the computations that follow.
            return rechecker.backend.answer(index, asked, request).map(|_| ());
        };
        let turn = self.computations.is_multiple_of(rechecker.every.max(1));
        self.computations += 1;
        if !turn {
            return Ok(());
        }
        let (tolerance, model) = (manifest.tolerance, *hash);
        let answer = rechecker.backend.answer(index, asked, request)?;
        let own = answer.outputs;
        let mut finding = Recheck {
            index,
            exact: own.len() == recorded.len(),
            accepted: own.len() == recorded.len(),
            max_abs: 0.0,
            max_rel: 0.0,
            model,
            recorded: environment,
            environment: answer.environment,
        };
        for ((_, a), (_, b)) in recorded.iter().zip(&own) {
            finding.exact &=
                a.dtype() == b.dtype() && a.dims() == b.dims() && a.bytes() == b.bytes();
            match tolerance.compare(a.dtype(), a.dims(), a.bytes(), b.dims(), b.bytes()) {
                Ok(agreement) => {
                    finding.accepted &= agreement.accepted && a.dtype() == b.dtype();
                    finding.max_abs = finding.max_abs.max(agreement.max_abs);
                    finding.max_rel = finding.max_rel.max(agreement.max_rel);
                }
                Err(_) => finding.accepted = false,
            }
        }
        if let Ok(mut findings) = rechecker.findings.lock() {
            findings.push(finding);
        }
        Ok(())
    }
}

impl Answerer for Replay {
    fn answer(&mut self, index: u64, asked: &Call, request: Request<'_>) -> Result<Answer, Stop> {
        let recorded = usize::try_from(index)
            .ok()
            .and_then(|i| self.transcript.calls.get(i))
            .cloned();
        let Some(recorded) = recorded else {
            return Err(diverged(
                index,
                asked.op,
                "existence",
                "no further call".to_owned(),
                format!("a call of {}", op_name(asked.op)),
            ));
        };
        if let Some(divergence) = diverges(index, &recorded, asked) {
            return Err(Stop::Diverged(Box::new(divergence)));
        }
        // What the manifest refuses is refused again by the replaying host itself; a transcript
        // that tells of another end there was not made by this guest and these manifests.
        if matches!(request, Request::Refused) || recorded.error != asked.error {
            let agree = recorded.error == asked.error && recorded.outputs.is_empty();
            if agree {
                return Ok(Answer::default());
            }
            return Err(diverged(
                index,
                asked.op,
                "error",
                format!("{:?}", recorded.error),
                format!("{:?}", asked.error),
            ));
        }
        let outputs = recorded
            .outputs
            .iter()
            .map(|tensor| self.recorded_tensor(tensor))
            .collect::<Result<Vec<_>, _>>()?;
        if let Request::Compute { manifest, .. } = &request
            && let Err(why) = outputs_fit(manifest, &outputs)
        {
            return Err(diverged(
                index,
                asked.op,
                "outputs",
                format!("outputs that no honest host can have given ({why})"),
                "a call whose manifest promises others".to_owned(),
            ));
        }
        let environment = recorded
            .environment
            .and_then(|i| self.transcript.environments.get(i as usize))
            .copied();
        self.recheck(index, asked, request, &outputs, environment)?;
        Ok(Answer {
            outputs,
            error: None,
            environment,
        })
    }

    fn finish(&mut self, calls: u64) -> Result<(), Stop> {
        let Some(next) = usize::try_from(calls)
            .ok()
            .and_then(|i| self.transcript.calls.get(i))
        else {
            return Ok(());
        };
        Err(diverged(
            calls,
            next.op,
            "existence",
            format!("a call of {}", op_name(next.op)),
            "the end of the run".to_owned(),
        ))
    }
}

fn diverged(index: u64, op: Op, what: &str, expected: String, actual: String) -> Stop {
    Stop::Diverged(Box::new(Divergence::at(index, op, what, expected, actual)))
}
