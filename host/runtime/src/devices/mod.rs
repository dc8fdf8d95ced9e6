//! What is measured about devices before anything is claimed of them.
//!
//! | module | subject |
//! |---|---|
//! | this file | a model on a device against the same model on a reference, and against itself |
//! | [`inputs`] | inputs for a model of which nothing is known but its manifest |
//! | [`standard`] | models that everyone has, made here |
//! | [`rates`] | how fast a device computes and moves memory |
//! | [`reports`] | where what was measured is kept |
//!
//! A device can be silently wrong: a WebGPU implementation was seen to compute a recurrent network
//! with an error of 1.0 in its state and to report nothing. So a device is compared with the
//! reference for each model before it is offered for it, and the answer is kept as a
//! [`DeviceReport`].

pub mod inputs;
pub mod rates;
pub mod reports;
pub mod standard;

use std::time::Duration;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::device_report::{DeviceReport, ReferenceCheck, Repeatability, nano, ppm};
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::tensor::TensorBlob;

use crate::nn::tensor::Tensor;
use crate::store::StoreError;
use crate::store::blobs::BlobStore;
use crate::worker::device::DeviceChoice;
use crate::worker::supervisor::{Supervisor, SupervisorError};
use crate::worker::trial::{CaseResult, Named, Tried, tensor};

/// Most bytes of an output tensor that is compared.
const OUTPUT_BYTES_MAX: u64 = 1 << 30;

/// How much is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Inputs that are computed.
    pub cases: usize,
    /// How often each is computed in a process.
    pub runs: u32,
    /// Processes, each of which loads the model anew.
    pub processes: u32,
    /// Numbers of threads to try besides the device's own; for processors.
    pub threads: Vec<u32>,
    /// Time for the runs of one process, beyond the first run of each case.
    pub time: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            cases: 3,
            runs: 5,
            processes: 2,
            threads: Vec::new(),
            time: Duration::from_secs(20),
        }
    }
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// A worker could not be had, or the model cannot be computed there.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The reference takes none of the inputs that were made up.
    #[error(
        "the reference computes none of the inputs that were made up for the model: {0}; hint: run a task with real input and replay its receipt on the device: `adit receipt replay last --inference all --device ...`"
    )]
    NoInput(String),
    /// What a worker sent is not usable.
    #[error("the measurement is not usable: {0}; hint: this is a defect, please report it")]
    Unusable(String),
}

/// What was measured of a model on a device.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The report, to be kept.
    pub report: DeviceReport,
    /// The environment document of the model on the device.
    pub environment: EnvironmentDocument,
    /// Microseconds that the device took to load the model.
    pub load_us: u64,
    /// Median of a computation on the device, in microseconds, the first of each case left out.
    pub median_us: u64,
    /// The same on the reference.
    pub reference_us: u64,
    /// The first output that the tolerance does not accept, in words.
    pub first_wrong: Option<String>,
}

/// Starts a supervisor whose worker computes with so many threads.
pub type Start<'a> = dyn Fn(u32) -> Supervisor + 'a;

/// The temperature of a device in degrees Celsius, if it can be read: of NVIDIA's GPUs.
pub fn temperature_c(device: &DeviceChoice) -> Option<u32> {
    match device {
        DeviceChoice::Embedded => None,
        DeviceChoice::OnnxRuntime(device) => {
            crate::nn::onnxruntime::facts::temperature_c(device.provider, device.index)
        }
    }
}

/// Measures a model on a device against a reference.
///
/// `start` starts workers of the device; `threads` is how many it computes with. The model's files
/// are in the store.
///
/// # Errors
///
/// [`MeasureError`]; that a device is wrong is none, but what the report says.
pub fn measure(
    blobs: &BlobStore,
    start: &Start<'_>,
    threads: u32,
    reference: &Supervisor,
    manifest: &ModelManifest,
    plan: &Plan,
) -> Result<Measured, MeasureError> {
    let (cases, expected) = usable_cases(blobs, reference, manifest, plan)?;
    let device = start(threads);
    let first = device.try_model(manifest, cases.clone(), plan.runs, plan.time)?;
    let environment = document(&first)?;
    let mut comparison = Comparison::default();
    for (case, (ours, theirs)) in first.cases.iter().zip(&expected.cases).enumerate() {
        comparison.add(blobs, manifest, case, ours, theirs)?;
    }
    drop(device);

    let runs = fewest_rounds(&first).min(plan.runs);
    let mut repeatable = first.cases.iter().all(|case| case.same);
    for _ in 1..plan.processes {
        let again = start(threads).try_model(manifest, cases.clone(), plan.runs, plan.time)?;
        repeatable &= same(&first, &again);
    }
    // One run of one process shows nothing.
    repeatable &= runs > 1 || plan.processes > 1;
    let mut tried = vec![threads];
    let mut across_threads = repeatable;
    for &count in plan.threads.iter().filter(|count| **count != threads) {
        let other = start(count).try_model(manifest, cases.clone(), plan.runs, plan.time)?;
        across_threads &= same(&first, &other);
        tried.push(count);
    }
    tried.sort_unstable();
    tried.dedup();
    across_threads &= tried.len() > 1;

    let report = DeviceReport {
        environment: environment.hash(),
        model: manifest.hash(),
        reference: Some(ReferenceCheck {
            environment: document(&expected)?.hash(),
            cases: comparison.cases,
            accepted: comparison.accepted,
            exact: comparison.exact,
            max_abs_nano: nano(comparison.max_abs),
            max_rel_ppm: ppm(comparison.max_rel),
        }),
        repeatability: Some(Repeatability {
            runs,
            processes: plan.processes.max(1),
            threads: tried,
            repeatable,
            across_threads,
        }),
    };
    report
        .validate()
        .map_err(|error| MeasureError::Unusable(error.to_string()))?;
    Ok(Measured {
        report,
        environment,
        load_us: first.load_us,
        median_us: median(&first),
        reference_us: median(&expected),
        first_wrong: comparison.first_wrong,
    })
}

/// Inputs that the reference computes, as blobs, and what it makes of them.
fn usable_cases(
    blobs: &BlobStore,
    reference: &Supervisor,
    manifest: &ModelManifest,
    plan: &Plan,
) -> Result<(Vec<Vec<Named>>, Tried), MeasureError> {
    let mut why = String::from("it takes no input");
    let profiles = inputs::SIZES.iter().flat_map(|size| {
        inputs::INTEGERS
            .iter()
            .map(move |integers| (*size, *integers))
    });
    for (size, integers) in profiles {
        let mut cases = Vec::with_capacity(plan.cases);
        for case in 0..plan.cases.max(1) {
            let made = inputs::make(manifest, size, integers, case as u64);
            cases.push(store(blobs, &made)?);
        }
        let tried = match reference.try_model(manifest, cases.clone(), plan.runs, plan.time) {
            Ok(tried) => tried,
            // Another input may do; what cannot even be loaded fails each time.
            Err(SupervisorError::Trial(error)) => {
                why = error;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match tried.cases.iter().find_map(|case| case.error.clone()) {
            Some(error) => why = error,
            None => return Ok((cases, tried)),
        }
    }
    Err(MeasureError::NoInput(why))
}

fn store(blobs: &BlobStore, inputs: &[(String, Tensor)]) -> Result<Vec<Named>, StoreError> {
    inputs
        .iter()
        .map(|(name, tensor)| {
            let blob = TensorBlob::encode(tensor.dtype(), tensor.dims(), tensor.bytes());
            Ok(Named {
                name: name.clone(),
                hash: blobs.put(&blob)?,
            })
        })
        .collect()
}

#[derive(Default)]
struct Comparison {
    cases: u32,
    accepted: u32,
    exact: u32,
    max_abs: f64,
    max_rel: f64,
    first_wrong: Option<String>,
}

impl Comparison {
    /// Compares the outputs of one case on the device with those of the reference.
    fn add(
        &mut self,
        blobs: &BlobStore,
        manifest: &ModelManifest,
        case: usize,
        ours: &CaseResult,
        theirs: &CaseResult,
    ) -> Result<(), MeasureError> {
        self.cases += 1;
        if let Some(error) = &ours.error {
            self.wrong(format!("case {case}: {error}"));
            return Ok(());
        }
        let (mut accepted, mut exact) = (true, ours.outputs.len() == theirs.outputs.len());
        for (a, b) in ours.outputs.iter().zip(&theirs.outputs) {
            exact &= a == b;
            let (ours, theirs) = (read(blobs, &a.hash)?, read(blobs, &b.hash)?);
            let agreement = manifest.tolerance.compare(
                theirs.dtype(),
                theirs.dims(),
                theirs.bytes(),
                ours.dims(),
                ours.bytes(),
            );
            match agreement {
                Ok(agreement) => {
                    self.max_abs = self.max_abs.max(agreement.max_abs);
                    self.max_rel = self.max_rel.max(agreement.max_rel);
                    if !agreement.accepted {
                        accepted = false;
                        self.wrong(format!(
                            "case {case}, output `{}`: off by up to {:e}",
                            a.name, agreement.max_abs
                        ));
                    }
                }
                Err(error) => {
                    accepted = false;
                    self.wrong(format!("case {case}, output `{}`: {error}", a.name));
                }
            }
        }
        self.accepted += u32::from(accepted);
        self.exact += u32::from(exact);
        Ok(())
    }

    fn wrong(&mut self, what: String) {
        self.first_wrong.get_or_insert(what);
    }
}

fn read(blobs: &BlobStore, hash: &Hash) -> Result<Tensor, MeasureError> {
    tensor(&blobs.get(hash, OUTPUT_BYTES_MAX)?).map_err(MeasureError::Unusable)
}

fn document(tried: &Tried) -> Result<EnvironmentDocument, MeasureError> {
    EnvironmentDocument::from_cbor(&tried.environment)
        .map_err(|error| MeasureError::Unusable(error.to_string()))
}

/// Whether two processes came to the same bits in all cases and rounds.
fn same(a: &Tried, b: &Tried) -> bool {
    a.cases.len() == b.cases.len()
        && a.cases
            .iter()
            .zip(&b.cases)
            .all(|(a, b)| a.same && b.same && a.outputs == b.outputs && b.error.is_none())
}

fn fewest_rounds(tried: &Tried) -> u32 {
    let rounds = tried.cases.iter().map(|case| case.rounds_us.len());
    u32::try_from(rounds.min().unwrap_or(0)).unwrap_or(u32::MAX)
}

/// Median of the rounds of all cases in microseconds, without the first of each, in which kernels
/// are made.
pub(crate) fn median(tried: &Tried) -> u64 {
    let later = |case: &CaseResult| {
        let skipped = usize::from(case.rounds_us.len() > 1);
        case.rounds_us.iter().skip(skipped).copied().collect()
    };
    let mut all: Vec<u64> = tried
        .cases
        .iter()
        .flat_map(|c| -> Vec<u64> { later(c) })
        .collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}
