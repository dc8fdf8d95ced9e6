//! Who takes part in a network, with which stake: a document that the network's authority signs.
//! A registry will be the authority later; until then it is the key that the genesis names.

use minicbor::{Decode, Encode};
use serde::Serialize;
use thiserror::Error;

use super::genesis::Genesis;
use crate::cbor::fields::{self, Invalid};
use crate::cbor::{DecodeError, Document};
use crate::hash::Hash;
use crate::signed::{Signable, Signed, SignedError};

/// Most members of each kind.
pub const MEMBERS_MAX: usize = 16_384;

/// A coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct CoordinatorMember {
    /// Node key: signs assignments, countersignatures and rosters.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub node: [u8; 32],
    /// Log key: signs checkpoints and nothing else.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub log: [u8; 32],
    /// The operator's account.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub account: [u8; 32],
    /// Stake in 10^-12 token.
    #[n(3)]
    #[cbor(with = "crate::cbor::fields::amount")]
    #[serde(serialize_with = "crate::json::decimal")]
    pub stake: u128,
    /// Where it is reached, as `https://host:port`.
    #[n(4)]
    pub url: String,
    /// The region that it is in, as `eu-central`; empty if it does not say.
    #[n(5)]
    pub region: String,
    /// Who it is, for people.
    #[n(6)]
    pub introduction: String,
}

/// A miner.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct MinerMember {
    /// Node key: signs receipts, acceptances and requests.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub node: [u8; 32],
    /// The operator's account.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub account: [u8; 32],
    /// Stake in 10^-12 token.
    #[n(2)]
    #[cbor(with = "crate::cbor::fields::amount")]
    #[serde(serialize_with = "crate::json::decimal")]
    pub stake: u128,
    /// Why it may not work at present; absent if it may.
    #[n(3)]
    pub jailed: Option<String>,
    /// Who it is, for people.
    #[n(4)]
    pub introduction: String,
}

/// A witness or checker, whose cosignatures count.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct WitnessMember {
    /// Name in its cosignatures.
    #[n(0)]
    pub name: String,
    /// Cosigning key, used for nothing else.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub cosign: [u8; 32],
    /// Where it is reached.
    #[n(2)]
    pub url: String,
}

/// The members of a network at one time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Membership {
    /// Hash of the genesis document.
    #[n(0)]
    pub genesis: Hash,
    /// Counts up with each change; a node never goes back to a lower one.
    #[n(1)]
    pub version: u64,
    /// Engine ids whose results are paid, at least one, ascending.
    #[n(2)]
    pub engines: Vec<Hash>,
    /// Coordinators, ascending by node key.
    #[n(3)]
    pub coordinators: Vec<CoordinatorMember>,
    /// Miners, ascending by node key.
    #[n(4)]
    pub miners: Vec<MinerMember>,
    /// Witnesses, ascending by name.
    #[n(5)]
    pub witnesses: Vec<WitnessMember>,
}

impl Membership {
    /// The coordinator of a node key.
    pub fn coordinator(&self, node: &[u8; 32]) -> Option<&CoordinatorMember> {
        let at = self.coordinators.binary_search_by(|m| m.node.cmp(node));
        self.coordinators.get(at.ok()?)
    }

    /// The miner of a node key.
    pub fn miner(&self, node: &[u8; 32]) -> Option<&MinerMember> {
        let at = self.miners.binary_search_by(|m| m.node.cmp(node));
        self.miners.get(at.ok()?)
    }
}

impl Document for Membership {
    const NAME: &'static str = "membership";
    const MAX_LEN: usize = 8 * 1024 * 1024;
    const MAX_ITEMS: usize = MEMBERS_MAX;

    fn check(&self) -> Result<(), Invalid> {
        fields::count("engines", self.engines.len(), 64)?;
        if self.engines.is_empty() {
            return Invalid::new("engines", "it is empty, and no result would count");
        }
        ascending("engines", &self.engines)?;
        let nodes: Vec<_> = self.coordinators.iter().map(|m| m.node).collect();
        ascending("coordinators", &nodes)?;
        for member in &self.coordinators {
            fields::name("coordinators.url", &member.url, 512)?;
            fields::text("coordinators.region", &member.region, 64)?;
            fields::text("coordinators.introduction", &member.introduction, 512)?;
            if member.log == member.node {
                return Invalid::new("coordinators.log", "a log key must not be the node key");
            }
        }
        let nodes: Vec<_> = self.miners.iter().map(|m| m.node).collect();
        ascending("miners", &nodes)?;
        for member in &self.miners {
            fields::text("miners.introduction", &member.introduction, 512)?;
            if let Some(why) = &member.jailed {
                fields::name("miners.jailed", why, 512)?;
            }
        }
        let names: Vec<_> = self.witnesses.iter().map(|m| &m.name).collect();
        ascending("witnesses", &names)?;
        for member in &self.witnesses {
            fields::name("witnesses.name", &member.name, 256)?;
            fields::text("witnesses.url", &member.url, 512)?;
        }
        Ok(())
    }
}

impl Signable for Membership {
    const CONTEXT: &'static [u8] = b"adit-membership-v1";
    const SIGNED_NAME: &'static str = "signed membership";
}

/// Refuses what is not strictly ascending, and so each double.
pub(super) fn ascending<T: Ord>(field: &'static str, items: &[T]) -> Result<(), Invalid> {
    match items.is_sorted_by(|a, b| a < b) {
        true => Ok(()),
        false => Invalid::new(field, "it is not in ascending order, or holds one twice"),
    }
}

/// The network file: everything that a node needs to know of a network.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct NetworkFile {
    /// The genesis document.
    #[n(0)]
    pub genesis: Genesis,
    /// The membership, signed by the authority that the genesis names.
    #[n(1)]
    pub membership: Signed<Membership>,
}

impl Document for NetworkFile {
    const NAME: &'static str = "network file";
    const MAX_LEN: usize = Membership::MAX_LEN + 2048;
    const MAX_ITEMS: usize = MEMBERS_MAX;
    const MAX_BYTES: usize = Membership::MAX_LEN;

    fn check(&self) -> Result<(), Invalid> {
        self.genesis.check()
    }
}

impl NetworkFile {
    /// The membership, if the authority signed it and it is of this network.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn verify(&self) -> Result<Membership, NetworkError> {
        let membership = self.membership.verify(|_| self.genesis.authority)?;
        let genesis = self.genesis.hash();
        if membership.genesis != genesis {
            return Err(NetworkError::OtherNetwork {
                expected: genesis,
                found: membership.genesis,
            });
        }
        Ok(membership)
    }
}

/// Why a network file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// The file or something in it is malformed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The membership is not what the authority signed.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// The membership is of another network.
    #[error(
        "the membership is of the network {found}, and the genesis document of {expected}; hint: get the file of one network anew"
    )]
    OtherNetwork {
        /// Hash of the genesis document.
        expected: Hash,
        /// The one that the membership names.
        found: Hash,
    },
}
