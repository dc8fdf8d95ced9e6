//! The genesis document: what a network is. Its hash names the network in every spec and
//! assignment; the first four bytes of the hash are the network id in receipts.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::cbor::Document;
use crate::cbor::fields::{self, Invalid};
use crate::hash::Hash;

/// What all members of a network agree on from the start.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(map)]
pub struct Genesis {
    /// Name for people, as `adit-dev`.
    #[n(0)]
    pub name: String,
    /// When it began, in milliseconds since 1970; epoch 0 begins here.
    #[n(1)]
    pub created_ms: u64,
    /// Key of the authority that signs the [`super::membership::Membership`].
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(serialize_with = "crate::json::bytes")]
    pub authority: [u8; 32],
    /// Length of an epoch in milliseconds, at least a second.
    #[n(3)]
    pub epoch_ms: u64,
    /// Least stake of a miner, in 10^-12 token; not zero.
    #[n(4)]
    #[cbor(with = "crate::cbor::fields::amount")]
    #[serde(serialize_with = "crate::json::decimal")]
    pub miner_stake_min: u128,
    /// Least stake of a coordinator, in 10^-12 token.
    #[n(5)]
    #[cbor(with = "crate::cbor::fields::amount")]
    #[serde(serialize_with = "crate::json::decimal")]
    pub coordinator_stake_min: u128,
    /// Stake above this many times the least counts no more in draws; at least 1.
    #[n(6)]
    pub saturation: u32,
    /// Whether keys and tokens of developers may be used. Never on a network with value.
    #[n(7)]
    pub development: bool,
    /// Hash of the ledger's genesis document, on a network with a registry: who has which tokens at
    /// the beginning, and by which rules. Absent where the authority alone says who takes part.
    #[n(8)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Hash>,
}

impl Genesis {
    /// The network id: the first four bytes of the hash.
    pub fn network_id(&self) -> [u8; 4] {
        network_id(&self.hash())
    }

    /// The epoch at a time, in milliseconds since 1970; 0 before the beginning.
    pub fn epoch_at(&self, now_ms: u64) -> u64 {
        now_ms
            .saturating_sub(self.created_ms)
            .checked_div(self.epoch_ms)
            .unwrap_or(0)
    }

    /// The beacon of an epoch, which goes into the draws, for as long as there is no registry to
    /// make an unpredictable one: BLAKE3 `derive_key("adit file beacon v1", genesis hash ‖ epoch
    /// u64 LE)`. Anyone can compute it in advance; what nobody but a coordinator can compute in
    /// advance is its VRF output over it.
    pub fn beacon(&self, epoch: u64) -> Hash {
        let mut hasher = blake3::Hasher::new_derive_key("adit file beacon v1");
        hasher.update(self.hash().as_bytes());
        hasher.update(&epoch.to_le_bytes());
        Hash::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// The network id of a genesis hash: its first four bytes.
pub fn network_id(genesis: &Hash) -> [u8; 4] {
    let [a, b, c, d, ..] = *genesis.as_bytes();
    [a, b, c, d]
}

impl Document for Genesis {
    const NAME: &'static str = "genesis document";
    const MAX_LEN: usize = 1024;

    fn check(&self) -> Result<(), Invalid> {
        fields::name("name", &self.name, 64)?;
        if self.epoch_ms < 1000 {
            return Invalid::new("epoch_ms", "an epoch lasts at least 1000 ms");
        }
        if self.miner_stake_min == 0 {
            return Invalid::new(
                "miner_stake_min",
                "it is 0, and anyone could be a thousand miners",
            );
        }
        if self.saturation == 0 {
            return Invalid::new("saturation", "it is 0, and no stake would count");
        }
        Ok(())
    }
}
