//! From a run to the body of its receipt.

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::ExecSpec;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::task::TaskSpec;
use adit_protocol::transcript::Transcript;

use crate::store::blobs::BlobStore;
use crate::worker::supervisor::Ran;

/// Everything a receipt is made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The task spec; its salt hides input, output and transcript.
    pub task: &'a TaskSpec,
    /// The exec spec that was run.
    pub exec: &'a ExecSpec,
    /// What the run left.
    pub ran: &'a Ran,
    /// Hash of the environment document of the worker.
    pub environment: Hash,
    /// Whether a GPU computed: the worker's backend is one, and it was used.
    pub gpu: bool,
    /// When the run began, in milliseconds since 1970.
    pub start_ms: u64,
    /// The miner's node key.
    pub miner: [u8; 32],
    /// Epoch of the draw; 0 for a local run.
    pub epoch: u64,
    /// Counter of this miner's receipts for this coordinator.
    pub seq: u64,
    /// Hash of the assignment; zero for a local run.
    pub assignment: Hash,
    /// Network id; zero for a local run.
    pub network: [u8; 4],
    /// Id of this miner's previous receipt for this coordinator; zero for the first.
    pub prev: Hash,
}

/// The body of the receipt of a run.
pub fn body(facts: &Facts<'_>) -> ReceiptBody {
    let Facts {
        task, exec, ran, ..
    } = facts;
    let opening = opening(exec, ran);
    let salt = &task.salt;
    let nn = uses_inference(&ran.transcript);
    ReceiptBody {
        network: facts.network,
        status: ran.status,
        gpu: facts.gpu && nn,
        nn,
        epoch: facts.epoch,
        seq: facts.seq,
        start_ms: facts.start_ms,
        duration_us: ran.duration_us,
        fuel: ran.fuel,
        nn_units: ran.nn_units,
        peak_memory: ran.peak_memory,
        miner: facts.miner,
        coordinator: task.coordinator,
        task: task.hash(),
        assignment: facts.assignment,
        component: exec.component,
        input: opening.input.commit(salt),
        output: opening.output.commit(salt),
        transcript: opening.transcript.commit(salt),
        environment: facts.environment,
        prev: facts.prev,
    }
}

/// The environment documents in which the inferences of a run were computed, as far as they are in
/// the store: what each model ran on, and what of it fell back.
pub fn environments(blobs: &BlobStore, transcript: &[u8]) -> Vec<EnvironmentDocument> {
    let transcript = Transcript::from_cbor(transcript).unwrap_or_default();
    let max = EnvironmentDocument::MAX_LEN as u64;
    let hashes = transcript.environments.iter();
    hashes
        .filter_map(|hash| EnvironmentDocument::from_cbor(&blobs.get(hash, max).ok()?).ok())
        .collect()
}

/// The hashes behind a receipt's commitments.
pub fn opening(exec: &ExecSpec, ran: &Ran) -> ReceiptOpening {
    ReceiptOpening {
        input: exec.input,
        output: Hash::of(&ran.output),
        transcript: Hash::of(&ran.transcript),
    }
}

/// Whether a transcript has any call.
fn uses_inference(transcript: &[u8]) -> bool {
    Hash::of(transcript) != no_inference()
}

/// Hash of the transcript of a run that made no inference call.
pub fn no_inference() -> Hash {
    Transcript::default().hash()
}
