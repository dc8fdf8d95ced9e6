//! What an operator says of a node, and the node key's word that it belongs to this operator.

use adit_protocol::Hash;
use adit_protocol::cbor::Document;
use adit_protocol::keys::{BadSignature, Keypair};
use adit_protocol::rand_core::{CryptoRng, RngCore};
use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::key::Key;

/// Signing context of a node key's word.
const CONTEXT: &[u8] = b"adit-registration-v1";

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs tasks.
    #[n(0)]
    Miner = 0,
    /// Hands out tasks and keeps a log.
    #[n(1)]
    Coordinator = 1,
    /// Watches logs and miners.
    #[n(2)]
    Checker = 2,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Miner, Role::Coordinator, Role::Checker];

    /// Its name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Miner => "miner",
            Role::Coordinator => "coordinator",
            Role::Checker => "checker",
        }
    }
}

/// The keys that a node signs with (protocol.md, "Networks, keys, signatures").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct NodeKeys {
    /// Signs requests, receipts, assignments.
    #[n(0)]
    pub node: Key,
    /// A coordinator's log key or a checker's cosigning key, used for nothing else; miners have none.
    #[n(1)]
    pub log: Option<Key>,
}

/// How fast and how reliably a miner says that it works; a measured shortfall cuts its pay.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Service {
    /// Class of its hardware, as `adit bench` names it.
    #[n(0)]
    pub class: String,
    /// Share of the time that it can be reached, in parts per million.
    #[n(1)]
    pub uptime_ppm: u32,
    /// Time until it has taken a task, in milliseconds.
    #[n(2)]
    pub latency_ms: u32,
}

/// What can be changed of a node at any time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Profile {
    /// The operator's part of what the node earns before its voters get theirs, in parts per million.
    #[n(0)]
    pub commission_ppm: u32,
    /// Where it is reached, as `https://host:port`; miners need none.
    #[n(1)]
    pub url: Option<String>,
    /// The region that it is in, as `eu-central`.
    #[n(2)]
    pub region: Option<String>,
    /// Who it is, for people.
    #[n(3)]
    pub introduction: Option<String>,
    /// What it promises, miners only.
    #[n(4)]
    pub service: Option<Service>,
}

/// A node that is to take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// What it does.
    pub role: Role,
    /// Its keys. The node key names the node for ever, also after it was rotated.
    pub keys: NodeKeys,
    /// Name of a checker in its cosignatures.
    pub name: Option<String>,
    /// What can be changed later.
    pub profile: Profile,
    /// The node key's signature, see [`Possession`].
    pub proof: [u8; 64],
}

/// What a node key signs under `adit-registration-v1`, so that nobody registers the key of another:
/// a CBOR map {0 genesis h, 1 operator b32, 2 keys {0 node b32, 1 log b32?}}.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Possession {
    /// Hash of the network's genesis document.
    #[n(0)]
    pub genesis: Hash,
    /// The operator's account.
    #[n(1)]
    pub operator: Key,
    /// The node's keys.
    #[n(2)]
    pub keys: NodeKeys,
}

impl Document for Possession {
    const NAME: &'static str = "word of a node key";
    const MAX_LEN: usize = 256;
}

impl Possession {
    /// Signs with the node key.
    pub fn sign(&self, node: &Keypair, rng: &mut (impl CryptoRng + RngCore)) -> [u8; 64] {
        node.sign(CONTEXT, &self.to_cbor(), rng)
    }

    /// Whether the node key that it names made the signature.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, proof: &[u8; 64]) -> Result<(), BadSignature> {
        let node = self.keys.node.public().map_err(|_| BadSignature)?;
        node.verify(CONTEXT, &self.to_cbor(), proof)
    }
}
