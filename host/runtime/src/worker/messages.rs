//! What supervisor and worker say to each other: CBOR frames over one Unix socket pair.
//!
//! The worker is not trusted: everything it sends is bounded and checked by the supervisor, and
//! a worker that breaks these rules is ended. Both sides read messages with [`read`] only.

use minicbor::data::Type;
use minicbor::{Decode, Decoder, Encode};

use super::survey::Survey;
use super::trial::{Trial, Tried};
use crate::admission::Refusal;
use crate::record::Divergence;
use crate::replay::Recheck;
use crate::wasi::cli::PROGRESS_NOTE_BYTES;

/// Blobs up to this many bytes travel in a frame; larger ones as a file descriptor.
pub const INLINE_BYTES: u64 = 256 << 10;
/// Longest piece of output, log, transcript or code in one frame, in bytes.
pub const PART_BYTES: usize = 1 << 20;

/// Longest reason for which a worker cannot be used, in bytes.
const REASON_BYTES: usize = 4096;

/// From the supervisor to a worker.
#[derive(Debug, Encode, Decode)]
pub enum ToWorker {
    /// Run a task.
    #[n(0)]
    Run(#[n(0)] Job),
    /// End a run early.
    #[n(1)]
    Cancel {
        /// The job's number.
        #[n(0)]
        job: u64,
    },
    /// The answer to [`FromWorker::Need`].
    #[n(2)]
    Blob {
        /// Number of the request.
        #[n(0)]
        request: u64,
        /// The bytes, or where they are.
        #[n(1)]
        blob: BlobReply,
    },
    /// Compile a component; the compile child gets this one message.
    #[n(3)]
    Compile {
        /// The component.
        #[cbor(n(0), with = "minicbor::bytes")]
        wasm: Vec<u8>,
    },
    /// Compute a model by itself, without a guest.
    #[n(4)]
    Trial(#[n(0)] Trial),
}

/// A blob on its way to a worker.
#[derive(Debug, Encode, Decode)]
pub enum BlobReply {
    /// The bytes.
    #[n(0)]
    Inline(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// This many bytes in the file whose descriptor comes with the frame.
    #[n(1)]
    File(#[n(0)] u64),
    /// It is not to be had.
    #[n(2)]
    Missing(#[n(0)] String),
}

/// One run.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Job {
    /// Number by which both sides call it.
    #[n(0)]
    pub job: u64,
    /// The exec spec, encoded.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub spec: Vec<u8>,
    /// Manifests of the spec's models by name, encoded.
    #[n(2)]
    pub manifests: Vec<NamedBytes>,
    /// Wall-clock time for the guest, in milliseconds.
    #[n(3)]
    pub deadline_ms: u64,
    /// Where inference answers come from.
    #[n(4)]
    pub mode: Mode,
    /// The input, if it is short; else the worker asks for its blob.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub input: Option<Vec<u8>>,
}

/// A name and bytes.
#[derive(Clone, Debug, Encode, Decode)]
pub struct NamedBytes {
    /// The name.
    #[n(0)]
    pub name: String,
    /// The bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

/// Where inference answers come from.
#[derive(Clone, Debug, Encode, Decode)]
pub enum Mode {
    /// The worker's backend.
    #[n(0)]
    Live,
    /// The transcript blob with this hash. With `every` > 0, each `every`-th computation is also
    /// made on the worker's backend and compared.
    #[n(1)]
    Replay {
        /// The transcript's hash.
        #[n(0)]
        transcript: adit_protocol::Hash,
        /// Which computations to make again; 0 for none.
        #[n(1)]
        every: u64,
    },
}

/// What a worker asks the supervisor for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// A blob of the blob store.
    #[n(0)]
    Blob,
    /// The compiled code of the component with this hash.
    #[n(1)]
    Code,
}

/// Which stream of a run a part belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Stream {
    /// The output.
    #[n(0)]
    Output,
    /// The log.
    #[n(1)]
    Log,
    /// The encoded transcript.
    #[n(2)]
    Transcript,
    /// A whole blob to be stored: a tensor, or an environment document.
    #[n(3)]
    Blob,
}

/// From a worker to the supervisor.
#[derive(Debug, Encode, Decode)]
pub enum FromWorker {
    /// The worker is locked down and takes jobs.
    #[n(0)]
    Ready(#[n(0)] Hello),
    /// It needs something; answered by [`ToWorker::Blob`].
    #[n(1)]
    Need {
        /// Number of the request.
        #[n(0)]
        request: u64,
        /// What sort of thing.
        #[n(1)]
        kind: Kind,
        /// Its hash.
        #[n(2)]
        hash: adit_protocol::Hash,
    },
    /// More of one of a run's streams.
    #[n(2)]
    Part {
        /// The job.
        #[n(0)]
        job: u64,
        /// Which stream.
        #[n(1)]
        stream: Stream,
        /// Its next bytes.
        #[cbor(n(2), with = "minicbor::bytes")]
        bytes: Vec<u8>,
        /// Whether more of the same blob follows; false for the other streams.
        #[n(3)]
        more: bool,
    },
    /// The guest reports progress.
    #[n(3)]
    Progress {
        /// The job.
        #[n(0)]
        job: u64,
        /// Steps done.
        #[n(1)]
        done: u64,
        /// Steps in all; 0 for unknown.
        #[n(2)]
        total: u64,
        /// For people.
        #[n(3)]
        note: String,
    },
    /// A run has ended.
    #[n(4)]
    Done(#[n(0)] Done),
    /// The compile child refuses the component.
    #[n(5)]
    Refused(#[n(0)] Refusal),
    /// The compile child's code, in parts; an empty one ends it.
    #[n(6)]
    Code(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The worker cannot be used, and ends.
    #[n(7)]
    NotReady(#[n(0)] String),
    /// A trial has ended; the tensors were sent before.
    #[n(8)]
    Tried(#[n(0)] Tried),
    /// What a library has.
    #[n(9)]
    Surveyed(#[n(0)] Survey),
}

/// What a worker says of itself.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Hello {
    /// Engine id.
    #[n(0)]
    pub engine: adit_protocol::Hash,
    /// Compatibility of compiled code.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub compatibility: [u8; 32],
    /// The environment document of its backend, encoded.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub environment: Vec<u8>,
    /// Whether its backend is a GPU.
    #[n(3)]
    pub gpu: bool,
    /// What holds it, for people.
    #[n(4)]
    pub sandbox: String,
    /// Whether it runs guests in the interpreter, not as native code.
    #[n(5)]
    pub interpreter: bool,
    /// Bytes of the device's own memory; 0 if it has none or nobody knows.
    #[n(6)]
    pub device_memory_bytes: u64,
}

/// How a run ended; its streams were sent before.
#[derive(Clone, Debug, Encode, Decode)]
pub struct Done {
    /// The job.
    #[n(0)]
    pub job: u64,
    /// Status number.
    #[n(1)]
    pub status: u8,
    /// Fuel used.
    #[n(2)]
    pub fuel: u64,
    /// Inference work units.
    #[n(3)]
    pub nn_units: u64,
    /// Peak memory in bytes.
    #[n(4)]
    pub peak_memory: u64,
    /// Time in the guest, in microseconds.
    #[n(5)]
    pub duration_us: u64,
    /// Code of the guest's own error.
    #[n(6)]
    pub task_error_code: Option<u32>,
    /// Message of the guest's own error.
    #[n(7)]
    pub task_error_message: Option<String>,
    /// Why it ended, for people.
    #[n(8)]
    pub detail: Option<String>,
    /// Where a replay left its transcript.
    #[n(9)]
    pub divergence: Option<Divergence>,
    /// Findings of level 3.
    #[n(10)]
    pub rechecks: Vec<Recheck>,
    /// Why the component is refused, if it is.
    #[n(11)]
    pub refusal: Option<Refusal>,
}

/// Why the payload of a frame is no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It is not CBOR, or not the fields of a message.
    #[error("the message is malformed: {0}; hint: the other end is faulty or hostile")]
    Malformed(#[from] minicbor::decode::Error),
    /// Something in it has no length given in advance.
    #[error(
        "the message has an item of unknown length at byte {offset}; hint: the other end is faulty or hostile"
    )]
    Indefinite {
        /// Where in the payload.
        offset: usize,
    },
    /// There is more in the frame than one message.
    #[error("{bytes} bytes follow the message; hint: the other end is faulty or hostile")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A part of it is longer than either side makes it.
    #[error(
        "the {what} in the message has {bytes} bytes, {max} are the most; hint: the other end is faulty or hostile"
    )]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The most that is accepted.
        max: usize,
    },
}

/// A message: [`ToWorker`] or [`FromWorker`].
pub trait Message: for<'b> Decode<'b, ()> {
    /// The bounds that a message keeps beyond that of its frame.
    ///
    /// # Errors
    ///
    /// [`MessageError::TooLong`].
    fn check(&self) -> Result<(), MessageError> {
        Ok(())
    }
}

impl Message for ToWorker {}

impl Message for FromWorker {
    /// Events of a run may have to wait in memory, so each one is bounded more tightly than frames
    /// are.
    fn check(&self) -> Result<(), MessageError> {
        let (what, bytes, max) = match self {
            FromWorker::Part { bytes, .. } => ("part", bytes.len(), PART_BYTES),
            FromWorker::Code(bytes) => ("code", bytes.len(), PART_BYTES),
            FromWorker::Progress { note, .. } => ("note", note.len(), PROGRESS_NOTE_BYTES),
            FromWorker::NotReady(why) => ("reason", why.len(), REASON_BYTES),
            _ => return Ok(()),
        };
        if bytes > max {
            return Err(MessageError::TooLong { what, bytes, max });
        }
        Ok(())
    }
}

/// Read the payload of a frame. What this allocates is bounded by a small multiple of the
/// payload's length, whatever it says of itself.
///
/// # Errors
///
/// [`MessageError`]; the other end has broken the rules then.
pub fn read<M: Message>(payload: &[u8]) -> Result<M, MessageError> {
    all_definite(payload)?;
    let mut decoder = Decoder::new(payload);
    let message: M = decoder.decode()?;
    let bytes = payload.len().saturating_sub(decoder.position());
    if bytes > 0 {
        return Err(MessageError::Trailing { bytes });
    }
    message.check()?;
    Ok(message)
}

/// Neither side makes items of indefinite length. Skipping nested ones in an unknown field takes
/// the decoder 16 bytes of memory for each byte of the frame, so they are refused before it runs.
fn all_definite(payload: &[u8]) -> Result<(), MessageError> {
    let mut decoder = Decoder::new(payload);
    while decoder.position() < payload.len() {
        match decoder.datatype()? {
            // Only the head of what holds others: they come next.
            Type::Array => drop(decoder.array()?),
            Type::Map => drop(decoder.map()?),
            Type::Tag => drop(decoder.tag()?),
            Type::ArrayIndef
            | Type::MapIndef
            | Type::BytesIndef
            | Type::StringIndef
            | Type::Break => {
                let offset = decoder.position();
                return Err(MessageError::Indefinite { offset });
            }
            _ => decoder.skip()?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
