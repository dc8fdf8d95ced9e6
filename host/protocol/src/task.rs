//! The task spec: an exec spec with price, salt and policy. Its hash is the task id.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::cbor::Document;
use crate::cbor::fields::{self, Invalid};
use crate::hash::Hash;

/// Which kind of device a task asks for; the number is the wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceClass {
    /// Any device.
    #[n(0)]
    Any = 0,
    /// A CPU only.
    #[n(1)]
    Cpu = 1,
    /// A GPU only; a CPU in its place is an error.
    #[n(2)]
    Gpu = 2,
}

/// What a miner must have to be given the task.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Requirements {
    /// The kind of device.
    #[n(0)]
    pub device: DeviceClass,
    /// Bytes of the device's memory that the task needs.
    #[n(1)]
    pub device_memory_bytes: u64,
    /// Hashes of the environments to choose from; empty for any.
    #[n(2)]
    pub environments: Vec<Hash>,
}

/// How a result is checked before it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Verification {
    /// Miners that run the task, from 1.
    #[n(0)]
    pub replicas: u8,
    /// Equal results that make one accepted, from 1 to `replicas`.
    #[n(1)]
    pub quorum: u8,
    /// Whether miners with a good record are replicated less.
    #[n(2)]
    pub adaptive: bool,
    /// Whether results are equal within the model's tolerance, and not bit for bit only.
    #[n(3)]
    pub tolerance: bool,
}

/// Who is given the spec and the blobs; the number is the wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Disclosure {
    /// Anyone who asks.
    #[n(0)]
    Public = 0,
    /// The parties and the checkers.
    #[n(1)]
    Checkers = 1,
    /// The submitter, the coordinator and the miners of the task.
    #[n(2)]
    Parties = 2,
}

/// The account that submitted a task, with its own signature, so that a coordinator cannot invent
/// the tasks of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct SubmitterNonce {
    /// Public key of the account.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub account: [u8; 32],
    /// The account's counter; no value is used twice.
    #[n(1)]
    pub nonce: u64,
    /// The account's signature.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub signature: [u8; 64],
}

/// An order for one result.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct TaskSpec {
    /// Hash of the network's genesis document; zero for a local run.
    #[n(0)]
    pub genesis: Hash,
    /// Node key of the coordinator; zero for a local run.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub coordinator: [u8; 32],
    /// Hash of the [`crate::exec::ExecSpec`].
    #[n(2)]
    pub exec: Hash,
    /// Random key of the receipt's commitments; zero for a local run.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub salt: [u8; 32],
    /// Pay for an accepted result, in 10^-12 token.
    #[n(4)]
    #[cbor(with = "crate::cbor::fields::amount")]
    #[serde(serialize_with = "crate::json::decimal")]
    pub price: u128,
    /// Pay for an honest attempt without a result, in 10^-12 token.
    #[n(5)]
    #[cbor(with = "crate::cbor::fields::amount")]
    #[serde(serialize_with = "crate::json::decimal")]
    pub attempt_fee: u128,
    /// Wall-clock budget of one attempt, in milliseconds.
    #[n(6)]
    pub deadline_ms: u64,
    /// What a miner must have.
    #[n(7)]
    pub requirements: Requirements,
    /// How a result is checked.
    #[n(8)]
    pub verification: Verification,
    /// Who is given the spec and the blobs.
    #[n(9)]
    pub disclosure: Disclosure,
    /// The client's mark, blinded so that only the client knows it again.
    #[n(10)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub client_tag: [u8; 32],
    /// The submitting account, if it is not the coordinator's own task.
    #[n(11)]
    pub submitter: Option<SubmitterNonce>,
}

impl TaskSpec {
    /// The spec of a run on one's own machine: no network, no pay, one replica, a zero salt, and
    /// everything public.
    pub fn local(exec: Hash, deadline_ms: u64) -> TaskSpec {
        TaskSpec {
            genesis: Hash::ZERO,
            coordinator: [0; 32],
            exec,
            salt: [0; 32],
            price: 0,
            attempt_fee: 0,
            deadline_ms,
            requirements: Requirements {
                device: DeviceClass::Any,
                device_memory_bytes: 0,
                environments: Vec::new(),
            },
            verification: Verification {
                replicas: 1,
                quorum: 1,
                adaptive: false,
                tolerance: false,
            },
            disclosure: Disclosure::Public,
            client_tag: [0; 32],
            submitter: None,
        }
    }
}

impl Document for TaskSpec {
    const NAME: &'static str = "task spec";
    const MAX_LEN: usize = 16 * 1024;

    fn check(&self) -> Result<(), Invalid> {
        fields::count(
            "requirements.environments",
            self.requirements.environments.len(),
            256,
        )?;
        let Verification {
            replicas, quorum, ..
        } = self.verification;
        if quorum == 0 || quorum > replicas {
            return Invalid::new(
                "verification.quorum",
                format!("it is {quorum}, which is not from 1 to the {replicas} replicas"),
            );
        }
        Ok(())
    }
}
