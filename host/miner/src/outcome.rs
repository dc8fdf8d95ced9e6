//! From a run to what is handed in: the body of its receipt, and what belongs to it.

use std::collections::HashSet;
use std::sync::Arc;

use adit_protocol::cbor::Document as _;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::network::exchange::INLINE_BYTES_MAX;
use adit_protocol::status::Status;
use adit_protocol::transcript::Transcript;
use adit_protocol::{Code, Hash};
use adit_runtime::attest::{self, Facts};
use adit_runtime::store::StoreError;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::supervisor::{Ran, SupervisorError};
use minicbor::bytes::ByteVec;

use crate::check::Order;
use crate::executor::Device;
use crate::journal::{Draft, Parts};
use crate::text::cut;

/// Longest reason that goes with a receipt, in bytes.
const DETAIL_BYTES_MAX: usize = 4096;
/// Most bytes of blobs that travel in the message of one receipt; the others are uploaded.
const INLINE_TOTAL: usize = 512 * 1024;

/// The run of a task whose guest never began.
pub fn without_guest(status: Status, detail: impl Into<String>) -> Ran {
    Ran {
        status,
        output: Vec::new(),
        log: Vec::new(),
        fuel: 0,
        nn_units: 0,
        peak_memory: 0,
        duration_us: 0,
        transcript: Transcript::default().to_cbor(),
        task_error: None,
        detail: Some(detail.into()),
        refusal: None,
        divergence: None,
        rechecks: Vec::new(),
    }
}

/// What a run left, where it could be tried; else how that is put in a receipt: what could not be
/// had is `unavailable`, all else a fault of this host.
pub fn settled(result: Result<Ran, SupervisorError>) -> Ran {
    match result {
        Ok(ran) => ran,
        Err(SupervisorError::Store(StoreError::Missing { hash })) => without_guest(
            Status::Unavailable,
            format!("the blob {hash} could not be had"),
        ),
        Err(SupervisorError::Store(error)) => {
            // Paths of this machine are nobody else's business.
            tracing::error!(%error, "a run failed for a reason of this machine");
            without_guest(
                Status::HostFault,
                format!("the miner's store failed: {}", error.code()),
            )
        }
        Err(SupervisorError::Engine { wanted, own }) => without_guest(
            Status::HostFault,
            format!("the spec is for the engine {wanted}, and the miner has {own}"),
        ),
        Err(error) => {
            tracing::error!(%error, "a run failed for a reason of this machine");
            without_guest(
                Status::HostFault,
                format!("the miner's worker failed: {}", Code::WorkerCrashed),
            )
        }
    }
}

/// What a run is made into.
#[derive(Debug)]
pub struct Made {
    /// For the journal.
    pub draft: Draft,
    /// Blobs of the store that the receipt needs until it is settled.
    pub stored: Vec<Hash>,
}

/// The receipt of a run, but for its number. Outputs that are too long to travel in a message are
/// put into the store, and are on disk when this returns.
///
/// # Errors
/// The store's.
pub fn make(
    order: &Order,
    ran: Ran,
    device: &Device,
    start_ms: u64,
    miner: [u8; 32],
    blobs: &BlobStore,
) -> Result<Made, StoreError> {
    let used = ran.transcript != Transcript::default().to_cbor();
    // A model that the guest brought along runs on the processor, whatever the device is.
    let on_device = |used: &EnvironmentDocument| used.backend == device.backend;
    let gpu = device.gpu
        && used
        && attest::environments(blobs, &ran.transcript)
            .iter()
            .any(on_device);
    let body = attest::body(&Facts {
        task: &order.task,
        exec: &order.exec,
        ran: &ran,
        environment: device.environment_hash,
        gpu,
        start_ms,
        miner,
        epoch: order.assignment.epoch,
        seq: 0,
        assignment: order.id,
        network: order.network,
        prev: Hash::ZERO,
    });
    let opening = attest::opening(&order.exec, &ran);
    let detail = detail(&ran);
    let mut collected = Collected::default();
    if used {
        collected.inferences(&ran.transcript, blobs)?;
    }
    let Ran {
        output,
        transcript,
        log,
        ..
    } = ran;
    collected.own(transcript, blobs)?;
    collected.own(output, blobs)?;
    if collected.wrote {
        // A receipt must not be on disk before what it speaks of.
        blobs.flush()?;
    }
    let tail = log.len().saturating_sub(INLINE_BYTES_MAX);
    let log = log.get(tail..).unwrap_or_default().to_vec();
    let parts = Parts {
        opening: crate::journal::Opening(opening),
        inline: collected.inline,
        stored: collected.stored.clone(),
        detail,
        log: (!log.is_empty()).then(|| log.into()),
    };
    Ok(Made {
        draft: Draft {
            body,
            parts: Arc::new(parts),
            lease: Some(order.lease.clone()),
        },
        stored: collected.stored,
    })
}

#[derive(Default)]
struct Collected {
    inline: Vec<ByteVec>,
    inline_bytes: usize,
    stored: Vec<Hash>,
    seen: HashSet<Hash>,
    wrote: bool,
}

impl Collected {
    /// Bytes that this process has.
    fn own(&mut self, bytes: Vec<u8>, blobs: &BlobStore) -> Result<(), StoreError> {
        if self.fits(bytes.len()) {
            self.inline_bytes += bytes.len();
            self.inline.push(bytes.into());
            return Ok(());
        }
        let hash = blobs.put(&bytes)?;
        self.wrote = true;
        if self.seen.insert(hash) {
            self.stored.push(hash);
        }
        Ok(())
    }

    fn fits(&self, len: usize) -> bool {
        len <= INLINE_BYTES_MAX && self.inline_bytes.saturating_add(len) <= INLINE_TOTAL
    }

    /// What a worker has put into the store: the tensors that were answered, which a replay needs,
    /// and the environments in which they were computed.
    fn inferences(&mut self, transcript: &[u8], blobs: &BlobStore) -> Result<(), StoreError> {
        let transcript = Transcript::from_cbor(transcript).unwrap_or_default();
        self.wrote = true;
        let tensors = transcript.calls.iter().flat_map(|call| &call.outputs);
        let hashes = transcript
            .environments
            .iter()
            .chain(tensors.map(|tensor| &tensor.hash));
        for hash in hashes {
            if !self.seen.insert(*hash) {
                continue;
            }
            let (_, len) = match blobs.open_blob(hash) {
                Ok(found) => found,
                // An environment is only in the store where its device has put it there.
                Err(StoreError::Missing { .. }) => continue,
                Err(error) => return Err(error),
            };
            if usize::try_from(len).is_ok_and(|len| self.fits(len)) {
                let bytes = blobs.get(hash, len)?;
                self.inline_bytes += bytes.len();
                self.inline.push(bytes.into());
            } else {
                self.stored.push(*hash);
            }
        }
        Ok(())
    }
}

/// Why a run ended so, in the words that go to the client.
fn detail(ran: &Ran) -> Option<String> {
    let text = match (&ran.task_error, &ran.detail) {
        (Some((code, message)), _) => format!("the task's error {code}: {message}"),
        (None, Some(detail)) if !detail.is_empty() => detail.clone(),
        _ => return None,
    };
    Some(cut(&text, DETAIL_BYTES_MAX).to_owned())
}
