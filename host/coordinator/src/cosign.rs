//! The network's witnesses, from the side of the coordinator: they cosign each checkpoint of its
//! log, and are asked what they know of it before it goes on after a start.

use std::path::Path;
use std::sync::Arc;

use adit_net::log::witness::{self, Cosigned, Publisher, WitnessClient, WitnessError};
use adit_net::tls::Roots;
use adit_protocol::keys::{Keypair, PublicKey};
use adit_protocol::log::key::{KeyKind, NoteKey};
use adit_protocol::log::origin::Origin;
use adit_protocol::network::membership::WitnessMember;

use crate::engine::Handle;
use crate::membership::{Members, Membership};

/// The witnesses of a network that can be asked.
fn witnesses(members: &Members) -> Vec<WitnessClient> {
    let client = |member: &WitnessMember| {
        let name = member.name.parse().ok()?;
        let key = PublicKey::from_bytes(&member.cosign).ok()?;
        let key = NoteKey::new(name, KeyKind::Cosignature, key);
        WitnessClient::at(key, member.url.parse().ok()?, Roots::system()).ok()
    };
    let mut all = Vec::new();
    // One without an address is asked by others, and its word comes from elsewhere.
    for member in members
        .membership
        .witnesses
        .iter()
        .filter(|m| !m.url.is_empty())
    {
        match client(member) {
            Some(client) => all.push(client),
            None => tracing::warn!(
                name = member.name,
                "a witness cannot be asked: its name, key or address is none"
            ),
        }
    }
    all
}

/// Asks the witnesses what they know of the log, before it is opened.
///
/// # Errors
/// The word of a witness by which the log must not go on from its state.
pub(crate) async fn before_start(
    folder: &Path,
    members: &Members,
    node: &Keypair,
    log: &Keypair,
) -> Result<(), WitnessError> {
    let key = Origin::new(&members.genesis_hash, &node.public()).key(&log.public());
    witness::before_start(folder, &key, log, &witnesses(members)).await
}

/// What the task that has checkpoints cosigned works with.
pub(crate) struct Cosigning {
    pub handle: Handle,
    pub membership: Arc<dyn Membership>,
    pub node: PublicKey,
    pub log: PublicKey,
}

impl Publisher for Cosigning {
    fn witnesses(&self, known: Option<u64>) -> Option<(u64, Vec<WitnessClient>)> {
        let members = self.membership.current();
        let version = members.membership.version;
        (known != Some(version)).then(|| (version, witnesses(&members)))
    }

    fn key(&self) -> NoteKey {
        let genesis = self.membership.current().genesis_hash;
        Origin::new(&genesis, &self.node).key(&self.log)
    }

    async fn publish(&self, cosigned: Cosigned) -> usize {
        match self.handle.cosigned(cosigned).await {
            Ok(count) => count,
            Err(error) => {
                tracing::warn!(%error, "cosignatures could not be kept");
                0
            }
        }
    }
}
