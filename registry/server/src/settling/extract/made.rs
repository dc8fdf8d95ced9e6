//! Assignments, receipts and verdicts as tests need them: those beside the code, and those of the
//! whole registry, which take in this file too.

use adit_protocol::network::assignment::{Assignment, Terms};
use adit_protocol::network::entry::{Decision, Entry, Judged, Verdict};
use adit_protocol::network::genesis::network_id;
use adit_protocol::receipt::{Receipt, ReceiptBody};
use adit_protocol::signed::Signed;
use adit_protocol::{Hash, Status};

/// An assignment of a task, drawn in an epoch.
pub fn assignment(genesis: Hash, task: Hash, epoch: u64, terms: Terms) -> Assignment {
    Assignment {
        genesis,
        coordinator: [0; 32],
        miner: [0; 32],
        task,
        attempt: 0,
        replica: 0,
        roster: 0,
        epoch,
        local: false,
        issued_ms: 1,
        deadline_ms: 2,
        escrow: 0,
        terms: Some(terms),
    }
}

/// What the miner of an assignment signs when it is done.
pub fn body(assignment: &Assignment, seq: u64, fuel: u64) -> ReceiptBody {
    ReceiptBody {
        network: network_id(&assignment.genesis),
        status: Status::Ok,
        gpu: false,
        nn: false,
        epoch: assignment.epoch,
        seq,
        start_ms: 0,
        duration_us: 0,
        fuel,
        nn_units: 0,
        peak_memory: 0,
        miner: assignment.miner,
        coordinator: assignment.coordinator,
        task: assignment.task,
        assignment: Signed::unsigned(assignment).body_hash(),
        component: Hash::ZERO,
        input: Hash::ZERO,
        output: Hash::ZERO,
        transcript: Hash::ZERO,
        environment: Hash::ZERO,
        prev: Hash::ZERO,
    }
}

/// A verdict on one receipt.
pub fn verdict(receipt: &Receipt, decision: Decision) -> Entry {
    Entry::Verdict(Verdict {
        task: receipt.body.task,
        receipts: vec![Judged {
            receipt: receipt.id(),
            decision,
        }],
        validator: None,
    })
}
