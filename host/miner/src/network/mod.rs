//! The network that a miner is in: the verified network file, and what of it concerns this miner.

mod source;

use std::sync::Arc;

pub use source::{Fetched, Keeper, SourceError, fetch, skew_ms};

use adit_protocol::cbor::Document as _;
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::membership::{
    CoordinatorMember, Membership, MinerMember, NetworkError, NetworkFile,
};
use adit_protocol::{Code, Hash};

use crate::journal::NodeKey;

/// Why a network file is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// It is malformed, or not signed by the network's authority.
    #[error(transparent)]
    File(#[from] NetworkError),
    /// It is of another network than the one that was configured.
    #[error(
        "the network file is of the network {found}, and this miner is in {expected}; hint: `adit miner init` in another state folder joins another network"
    )]
    OtherNetwork {
        /// Genesis hash of this miner's network.
        expected: Hash,
        /// Genesis hash in the file.
        found: Hash,
    },
    /// Its membership is older than the one that is known.
    #[error(
        "the membership has version {found}, and version {known} is known; hint: the server that gave it is behind, or someone withholds the newer one"
    )]
    Older {
        /// Version that is known.
        known: u64,
        /// Version in the file.
        found: u64,
    },
}

/// A network at one time. Its membership was signed by the authority that its genesis names.
#[derive(Clone, Debug)]
pub struct NetworkView {
    genesis: Genesis,
    genesis_hash: Hash,
    membership: Membership,
}

impl NetworkView {
    /// Reads and verifies a network file. `expected` is the genesis hash of the network that this
    /// miner joined, if it has joined one.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn read(bytes: &[u8], expected: Option<&Hash>) -> Result<NetworkView, ViewError> {
        let file = NetworkFile::from_cbor(bytes).map_err(NetworkError::from)?;
        NetworkView::of(&file, expected)
    }

    /// Verifies a network file.
    ///
    /// # Errors
    /// [`ViewError`].
    pub fn of(file: &NetworkFile, expected: Option<&Hash>) -> Result<NetworkView, ViewError> {
        let membership = file.verify()?;
        let found = membership.genesis;
        match expected {
            Some(expected) if *expected != found => Err(ViewError::OtherNetwork {
                expected: *expected,
                found,
            }),
            _ => Ok(NetworkView {
                genesis: file.genesis.clone(),
                genesis_hash: found,
                membership,
            }),
        }
    }

    /// Whether `newer` may take the place of this one.
    ///
    /// # Errors
    /// [`ViewError`], if it is of another network or older.
    pub fn accepts(&self, newer: &NetworkView) -> Result<(), ViewError> {
        if newer.genesis_hash != self.genesis_hash {
            return Err(ViewError::OtherNetwork {
                expected: self.genesis_hash,
                found: newer.genesis_hash,
            });
        }
        let (known, found) = (self.membership.version, newer.membership.version);
        match found < known {
            true => Err(ViewError::Older { known, found }),
            false => Ok(()),
        }
    }

    /// The genesis document.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Hash of the genesis document.
    pub fn genesis_hash(&self) -> Hash {
        self.genesis_hash
    }

    /// Who takes part.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// A coordinator.
    pub fn coordinator(&self, node: &NodeKey) -> Option<&CoordinatorMember> {
        self.membership.coordinator(node)
    }

    /// This miner's entry.
    pub fn miner(&self, node: &NodeKey) -> Option<&MinerMember> {
        self.membership.miner(node)
    }

    /// Why this miner cannot be drawn by any coordinator, by the membership and its engine; `None`
    /// if it can. The text says what is and what should be.
    pub fn obstacle(&self, node: &NodeKey, engine: &Hash) -> Option<(Code, String)> {
        let version = self.membership.version;
        let Some(miner) = self.miner(node) else {
            return Some((
                Code::NotRegistered,
                format!(
                    "the node key {} is not in version {version} of the membership",
                    crate::text::hex(node)
                ),
            ));
        };
        if let Some(why) = &miner.jailed {
            return Some((Code::Jailed, crate::text::tame(why)));
        }
        let least = self.genesis.miner_stake_min;
        if miner.stake < least {
            return Some((
                Code::BelowMinimumStake,
                format!(
                    "the stake is {} and must be {least} at least, in 10^-12 token",
                    miner.stake
                ),
            ));
        }
        if self.membership.engines.binary_search(engine).is_err() {
            return Some((
                Code::StaleEngine,
                format!("the engine of this program is {engine}, which the network does not pay"),
            ));
        }
        None
    }
}

/// A view that is replaced when a newer membership is known.
pub type NetworkWatch = tokio::sync::watch::Receiver<Arc<NetworkView>>;
