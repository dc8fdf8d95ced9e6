//! Receipts that a coordinator has countersigned and that its log lacks: who claims that, and what
//! shows that it is not so.
//!
//! A countersignature means "received and durable". Nobody can show by itself that something is *not*
//! in a log, so whoever misses a receipt claims it, and anyone who has the log answers with the entry
//! and its place in it. A claim that is not answered in time stands.

use adit_protocol::keys::PublicKey;
use adit_protocol::log::proof::verify_inclusion;
use adit_protocol::log::tree::leaf_hash;
use adit_protocol::network::assignment::{Assignment, Terms};
use adit_protocol::network::entry::Entry;
use adit_protocol::network::genesis::network_id;
use adit_protocol::receipt::{RECEIPT_LEN, Receipt, ReceiptBody};
use adit_protocol::signed::Signable as _;
use adit_protocol::{Amount, Document as _, Hash, Status};

use crate::key::Key;
use crate::tree::TreeRoot;

/// Longest document of an assignment in a claim, in bytes; none comes near it.
pub const ASSIGNMENT_MAX: usize = 480;
/// Longest entry of an answer, in bytes: a cancellation of as many leases as it can have.
pub const ENTRY_MAX: usize = 16 * 1024 + 1;

/// The claim that a countersigned receipt is missing in its coordinator's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LateReceipt {
    /// The coordinator, by the key that it was registered with.
    pub coordinator: Key,
    /// The receipt with both signatures.
    pub receipt: [u8; RECEIPT_LEN],
    /// The document of the assignment that the receipt names, encoded.
    pub assignment: Vec<u8>,
    /// The coordinator's signature of it.
    pub assignment_signature: [u8; 64],
}

/// What both documents say together, before any signature was looked at.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub receipt: Receipt,
    /// When the lease ended, in milliseconds since 1970.
    pub deadline_ms: u64,
    pub terms: Terms,
}

impl LateReceipt {
    /// What is claimed, if receipt and assignment are of this network and fit each other.
    pub(crate) fn claim(&self, genesis: &Hash) -> Option<Claim> {
        let receipt = Receipt::from_bytes(&self.receipt).ok()?;
        let assignment = Assignment::from_cbor(&self.assignment).ok()?;
        let body = &receipt.body;
        let fits = assignment.genesis == *genesis
            && body.network == network_id(genesis)
            && body.assignment == Hash::of(&self.assignment)
            && body.coordinator == assignment.coordinator
            && body.miner == assignment.miner
            && body.task == assignment.task
            && body.epoch == assignment.epoch;
        let terms = assignment.terms.filter(|_| fits)?;
        Some(Claim {
            receipt,
            deadline_ms: assignment.deadline_ms,
            terms,
        })
    }

    /// Whether miner and coordinator signed the receipt, and the coordinator the assignment.
    pub(crate) fn is_signed(&self, claim: &Claim) -> bool {
        let by_coordinator = |key: PublicKey| {
            let signature = &self.assignment_signature;
            key.verify(Assignment::CONTEXT, &self.assignment, signature)
                .is_ok()
        };
        PublicKey::from_bytes(&claim.receipt.body.coordinator).is_ok_and(by_coordinator)
            && claim.receipt.verify().is_ok()
    }
}

/// What an accepted receipt of a status pays by its terms, in 10^-12 token (protocol.md, "Outcome").
/// Of a run that was cancelled no log says whether anything was emitted, so it is the fee.
pub(crate) fn pay(status: Status, terms: &Terms) -> Amount {
    match status {
        Status::Ok
        | Status::TaskError
        | Status::Trap
        | Status::OutOfFuel
        | Status::LimitExceeded => terms.price,
        Status::InvalidComponent
        | Status::StackOverflow
        | Status::Deadline
        | Status::Cancelled
        | Status::CompileLimit => terms.attempt_fee,
        Status::HostFault | Status::Unavailable => Amount::ZERO,
    }
}

/// Whether an entry of the coordinator's log says what became of the assignment of a claimed receipt: a
/// receipt of it that both have signed, its expiry, or that it was cancelled.
///
/// Any receipt of the assignment will do, since a body has many valid signatures, and of two bodies the
/// first is paid. One whose signatures do not hold is as good as none: it would never be paid.
pub fn answers(entry: &[u8], claimed: &ReceiptBody) -> bool {
    match Entry::decode(entry) {
        Ok(Entry::Receipt(found)) => {
            let body = &found.body;
            body.assignment == claimed.assignment
                && body.miner == claimed.miner
                && body.coordinator == claimed.coordinator
                && body.network == claimed.network
                && found.verify().is_ok()
        }
        Ok(Entry::Expiry(expiry)) => expiry.assignment == claimed.assignment,
        Ok(Entry::Cancel(cancel)) => cancel.assignments.contains(&claimed.assignment),
        Ok(Entry::Verdict(_) | Entry::Roster(_) | Entry::Assignment(_)) | Err(_) => false,
    }
}

/// Whether an entry is the leaf of a log that was closed with this root.
pub(crate) fn included(entry: &[u8], leaf: u64, log: &TreeRoot, proof: &[Hash]) -> bool {
    verify_inclusion(&leaf_hash(entry), leaf, log.size, &log.root, proof).is_ok()
}
