//! What goes into the engine. Everything here was decoded and its signatures were checked before;
//! the fields say what by whom.

use adit_net::trace::TraceContext;
use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::Acceptance;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::{Receipt, ReceiptBody};
use adit_protocol::signed::Signed;
use adit_protocol::task::TaskSpec;

use crate::Refusal;

/// Longest name of a client, in bytes.
pub const CLIENT_BYTES_MAX: usize = 128;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_BYTES_MAX: usize = 128;

/// A task that a client orders. The caller has made sure that the exec spec names an active engine
/// and that all blobs of it are here or come along.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The client, as its token names it; at most [`CLIENT_BYTES_MAX`] bytes. Clients take turns.
    pub client: String,
    /// If the client gave an `idempotency-key`: with the same key and digest within a day, the task
    /// of the first time is answered.
    pub idempotency: Option<Idempotency>,
    /// The task spec, with a fresh salt. Its hash becomes the task id.
    pub spec: TaskSpec,
    /// The exec spec, encoded; its hash is in the task spec.
    pub exec: Vec<u8>,
    /// Blobs of at most 64 KiB that become durable with the task: its input, manifests.
    pub blobs: Vec<Vec<u8>>,
    /// Hashes of those blobs that the miner is sent along with the assignment, so that it need not
    /// fetch them: small ones of `blobs`, or that were put before.
    pub inline: Vec<Hash>,
    /// Whether the client is in the coordinator's own region, so that near miners are preferred.
    pub local: bool,
    /// Hash of the component that has to accept the output, if the app has one.
    pub validator: Option<Hash>,
    /// How long the task may wait for miners, in milliseconds; the engine's default if absent, and
    /// never more than its maximum.
    pub queue_ms: Option<u64>,
    /// Most tasks that this client may have in flight, if its token bounds them.
    pub in_flight_max: Option<u32>,
    /// The step of a trace that the client's request is.
    pub trace: Option<TraceContext>,
}

/// A client's promise to send one request only once in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, unique to the client; at most [`IDEMPOTENCY_BYTES_MAX`] bytes.
    pub key: String,
    /// Hash of the request as the client sent it.
    pub request: Hash,
}

/// A receipt that was handed in, in the order of its miner's numbers.
#[derive(Clone, Debug)]
pub enum HandInOrder {
    /// One to be appended.
    Checked(Box<CheckedItem>),
    /// One whose miner's signature holds, and that was refused for good before it came here. It is
    /// noted so that the numbers after it are not taken for a gap. Refusals that a second try can
    /// change (missing blobs, a full queue) must end the batch in its place: see
    /// [`HandInOrder::Stop`].
    Refused(Box<ReceiptBody>, Refusal),
    /// One that cannot be taken now: it and all after it in the batch wait for another try. The
    /// hashes are the blobs to upload before, if that is the reason.
    Stop(Refusal, Vec<Hash>),
}

/// A receipt that is ready to be appended. Checked before: it is well formed, of this network and
/// coordinator, of the miner that signed the request, the miner's signature holds, and all blobs
/// behind its commitments are here or come along.
#[derive(Clone, Debug)]
pub struct CheckedItem {
    /// The receipt with the coordinator's countersignature, which leaves the process only once the
    /// receipt is durable.
    pub receipt: Receipt,
    /// The hashes behind its commitments.
    pub opening: ReceiptOpening,
    /// What does not fit, if a field or a commitment is not that of the task: the receipt is logged
    /// and then rejected as [`adit_protocol::network::entry::Decision::Mismatch`].
    pub mismatch: Option<String>,
    /// Blobs of at most 64 KiB that become durable with the receipt, with their hashes: output,
    /// transcript, tensors.
    pub blobs: Vec<(Hash, Vec<u8>)>,
    /// Environment documents that come with it, encoded, with their hashes: public, and kept.
    pub environments: Vec<(Hash, Vec<u8>)>,
    /// Why the run ended so; a claim of the miner, at most 4096 bytes.
    pub detail: Option<String>,
    /// The guest's stderr or the end of it; a claim of the miner, at most 64 KiB.
    pub log: Option<Vec<u8>>,
}

/// A submission with what was computed of it off the engine's thread.
#[derive(Clone, Debug)]
pub struct PreparedSubmission {
    /// Hash of the task spec.
    pub task: Hash,
    /// The submission.
    pub order: Submission,
    /// The task spec, encoded.
    pub spec: Vec<u8>,
    /// Hashes of its blobs, in their order.
    pub blobs: Vec<Hash>,
}

impl PreparedSubmission {
    /// Computes what the engine's thread need not.
    pub fn new(order: Submission) -> PreparedSubmission {
        let spec = order.spec.to_cbor();
        PreparedSubmission {
            task: Hash::of(&spec),
            spec,
            blobs: order.blobs.iter().map(|bytes| Hash::of(bytes)).collect(),
            order,
        }
    }
}

/// A miner's request for work.
#[derive(Clone, Debug, Default)]
pub struct PollOrder {
    /// How many assignments more the miner would take.
    pub want: u32,
    /// How long it may wait for one, in milliseconds.
    pub wait_ms: u32,
    /// Hash of the assignment, and the acceptance, whose signature was checked.
    pub accepted: Vec<(Hash, Signed<Acceptance>)>,
    /// Assignments that the miner works on, or whose receipts are under way.
    pub working: Vec<Hash>,
}
