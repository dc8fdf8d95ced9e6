//! The lease of a task to a miner, the miner's acceptance of it, and until when a miner counts as
//! active.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::amount::Amount;
use crate::cbor::Document;
use crate::cbor::fields::Invalid;
use crate::hash::Hash;
use crate::signed::Signable;
use crate::task::TaskSpec;

/// A task given to a miner. Its hash, without the signature, is in the receipt. Signed by the
/// coordinator's node under `adit-assignment-v1`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Assignment {
    /// Hash of the network's genesis document.
    #[n(0)]
    pub genesis: Hash,
    /// Node key of the coordinator.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub coordinator: [u8; 32],
    /// Node key of the miner.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub miner: [u8; 32],
    /// Task id.
    #[n(3)]
    pub task: Hash,
    /// Which attempt at this replica, from 0; one begins after the end of the one before is logged.
    #[n(4)]
    pub attempt: u32,
    /// Which replica, from 0.
    #[n(5)]
    pub replica: u32,
    /// Leaf index of the roster that it was drawn from.
    #[n(6)]
    pub roster: u64,
    /// Epoch of that roster.
    #[n(7)]
    pub epoch: u64,
    /// Whether the client is in the coordinator's region, so that near miners were preferred.
    #[n(8)]
    pub local: bool,
    /// When it was made, in milliseconds since 1970.
    #[n(9)]
    pub issued_ms: u64,
    /// When the lease ends, in milliseconds since 1970.
    #[n(10)]
    pub deadline_ms: u64,
    /// Escrow that the coordinator has committed in all with this assignment, in 10^-12 token.
    #[n(11)]
    #[cbor(with = "crate::cbor::fields::amount")]
    #[serde(serialize_with = "crate::json::decimal")]
    pub escrow: u128,
    /// What the task pays, on a network with a ledger; absent where nothing is paid.
    #[n(12)]
    pub terms: Option<Terms>,
}

/// What a task pays, as its spec says: in the log, so that rewards can be computed of tasks whose
/// specs are not disclosed. The miner, who has the spec, takes no assignment with other terms.
///
/// CBOR: 0 price a, 1 attempt_fee a, 2 replicas u.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Terms {
    /// Pay for an accepted result, in 10^-12 token.
    #[n(0)]
    pub price: Amount,
    /// Pay for an honest attempt without a result, in 10^-12 token.
    #[n(1)]
    pub attempt_fee: Amount,
    /// Results of the task that are paid at most.
    #[n(2)]
    pub replicas: u8,
}

impl Terms {
    /// Those of a task.
    pub fn of(spec: &TaskSpec) -> Terms {
        Terms {
            price: Amount::from_units(spec.price),
            attempt_fee: Amount::from_units(spec.attempt_fee),
            replicas: spec.verification.replicas,
        }
    }
}

impl Document for Assignment {
    const NAME: &'static str = "assignment";
    const MAX_LEN: usize = 512;

    fn check(&self) -> Result<(), Invalid> {
        match self.deadline_ms > self.issued_ms {
            true => Ok(()),
            false => Invalid::new("deadline_ms", "the lease ends before it begins"),
        }
    }
}

impl Signable for Assignment {
    const CONTEXT: &'static [u8] = b"adit-assignment-v1";
    const SIGNED_NAME: &'static str = "signed assignment";
}

/// The miner's word that it has an assignment and works on it, without which an expired lease does
/// not count against it. Signed by the miner's node under `adit-acceptance-v1`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Acceptance {
    /// Hash of the [`Assignment`].
    #[n(0)]
    pub assignment: Hash,
    /// Node key of the miner.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub miner: [u8; 32],
    /// When it accepted, in milliseconds since 1970: a claim.
    #[n(2)]
    pub at_ms: u64,
}

impl Document for Acceptance {
    const NAME: &'static str = "acceptance";
    const MAX_LEN: usize = 128;
}

impl Signable for Acceptance {
    const CONTEXT: &'static [u8] = b"adit-acceptance-v1";
    const SIGNED_NAME: &'static str = "signed acceptance";
}

/// The coordinator's word that a miner is among its candidates until a time: with a roster that
/// lacks the miner, evidence against the coordinator. Signed by its node under `adit-active-v1`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct ActiveUntil {
    /// Hash of the network's genesis document.
    #[n(0)]
    pub genesis: Hash,
    /// Node key of the coordinator.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub coordinator: [u8; 32],
    /// Node key of the miner.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub miner: [u8; 32],
    /// When this was said, in milliseconds since 1970.
    #[n(3)]
    pub at_ms: u64,
    /// Until when, in milliseconds since 1970.
    #[n(4)]
    pub until_ms: u64,
}

impl Document for ActiveUntil {
    const NAME: &'static str = "active-until";
    const MAX_LEN: usize = 256;
}

impl Signable for ActiveUntil {
    const CONTEXT: &'static [u8] = b"adit-active-v1";
    const SIGNED_NAME: &'static str = "signed active-until";
}
