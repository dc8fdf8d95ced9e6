//! A model computed by itself on a worker's device, without a guest: to compare devices with each
//! other, to see whether one gives the same bits each time, and to measure how fast it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::tensor::TensorBlob;
use minicbor::{Decode, Encode};

use super::link::Tensors;
use super::messages::{FromWorker, Kind};
use super::slot::Worker;
use crate::live::{TensorSink as _, model_environment};
use crate::nn::tensor::Tensor;
use crate::record::outputs_fit;

/// Most bytes of one input tensor of a trial.
const INPUT_BYTES_MAX: u64 = 1 << 30;
/// Most rounds of one case.
pub const ROUNDS_MAX: u32 = 100_000;

/// What to compute.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Trial {
    /// Number by which both sides call it.
    #[n(0)]
    pub job: u64,
    /// The model's manifest, encoded.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub manifest: Vec<u8>,
    /// For each case the inputs, as names and hashes of tensor blobs.
    #[n(2)]
    pub cases: Vec<Vec<Named>>,
    /// How often each case is computed, at least once.
    #[n(3)]
    pub rounds: u32,
    /// When no further round is begun, in milliseconds from the start of the first case.
    #[n(4)]
    pub time_ms: u64,
}

/// A tensor by name and hash.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Named {
    /// Its name.
    #[n(0)]
    pub name: String,
    /// Hash of its blob.
    #[n(1)]
    pub hash: Hash,
}

/// What came of a trial.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Tried {
    /// Its number.
    #[n(0)]
    pub job: u64,
    /// The environment document of the model on this device, encoded; empty if it could not be
    /// loaded.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub environment: Vec<u8>,
    /// Why the model could not be loaded, if it could not.
    #[n(2)]
    pub error: Option<String>,
    /// Microseconds that loading took.
    #[n(3)]
    pub load_us: u64,
    /// What came of each case, in order.
    #[n(4)]
    pub cases: Vec<CaseResult>,
}

/// What came of one case.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub struct CaseResult {
    /// Outputs of the first round.
    #[n(0)]
    pub outputs: Vec<Named>,
    /// Whether all rounds gave the same bits.
    #[n(1)]
    pub same: bool,
    /// Microseconds of each round.
    #[n(2)]
    pub rounds_us: Vec<u64>,
    /// Why it could not be computed, if it could not.
    #[n(3)]
    pub error: Option<String>,
}

impl Worker {
    /// Makes a trial and sends everything it leaves to the supervisor.
    pub(super) fn try_model(&self, trial: &Trial) {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.trial(trial)));
        let tried = caught.unwrap_or_else(|_| Err("the worker panicked".to_owned()));
        let tried = tried.unwrap_or_else(|error| Tried {
            job: trial.job,
            environment: Vec::new(),
            error: Some(error),
            load_us: 0,
            cases: Vec::new(),
        });
        self.link.tell(&FromWorker::Tried(tried));
    }

    fn trial(&self, trial: &Trial) -> Result<Tried, String> {
        let manifest = ModelManifest::from_cbor(&trial.manifest).map_err(|e| e.to_string())?;
        let (hash, manifest) = (manifest.hash(), Arc::new(manifest));
        let device = &self.device;
        let began = Instant::now();
        let files = |file: &Hash, len: u64| device.files.read(file, len);
        let model = device
            .cache
            .model(&hash, &manifest, &files, &device.pool)
            .map_err(|e| e.to_string())?;
        let load_us = micros(began.elapsed());
        let environment = model_environment(&device.environment, model.fallback());
        let mut sink = Tensors {
            link: self.link.clone(),
            job: trial.job,
        };
        let until = Instant::now() + Duration::from_millis(trial.time_ms);
        let mut cases = Vec::with_capacity(trial.cases.len());
        for named in &trial.cases {
            let mut result = CaseResult {
                same: true,
                ..CaseResult::default()
            };
            let inputs = self.inputs(named)?;
            let mut first: Option<Vec<(String, Tensor)>> = None;
            for round in 0..trial.rounds.clamp(1, ROUNDS_MAX) {
                if round > 0 && Instant::now() >= until {
                    break;
                }
                let began = Instant::now();
                let computed = device
                    .pool
                    .compute(model.clone(), inputs.clone())
                    .map_err(|e| e.to_string());
                result.rounds_us.push(micros(began.elapsed()));
                let fits = computed.and_then(|outputs| {
                    outputs_fit(&manifest, &outputs)?;
                    Ok(outputs)
                });
                match (fits, &first) {
                    (Err(error), _) => {
                        result.error = Some(error);
                        break;
                    }
                    (Ok(outputs), Some(first)) => result.same &= outputs == *first,
                    (Ok(outputs), None) => {
                        for (name, tensor) in &outputs {
                            // Sending cannot fail here; a lost supervisor ends the process.
                            let _ = sink.tensor(tensor);
                            result.outputs.push(Named {
                                name: name.clone(),
                                hash: tensor.hash(),
                            });
                        }
                        first = Some(outputs);
                    }
                }
            }
            cases.push(result);
        }
        Ok(Tried {
            job: trial.job,
            environment: environment.to_cbor(),
            error: None,
            load_us,
            cases,
        })
    }

    fn inputs(&self, named: &[Named]) -> Result<Vec<(String, Tensor)>, String> {
        named
            .iter()
            .map(|Named { name, hash }| {
                let blob = self.link.need(Kind::Blob, hash, INPUT_BYTES_MAX)?;
                Ok((name.clone(), tensor(&blob)?))
            })
            .collect()
    }
}

/// A tensor of its blob.
///
/// # Errors
///
/// A sentence if it is none.
pub fn tensor(blob: &[u8]) -> Result<Tensor, String> {
    let (dtype, dims, data) = TensorBlob::decode(blob).map_err(|e| e.to_string())?;
    Tensor::new(dtype, dims, data.to_vec()).map_err(|e| e.to_string())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
