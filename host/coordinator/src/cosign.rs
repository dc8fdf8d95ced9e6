//! The network's witnesses, from the side of the coordinator: they cosign each checkpoint of its
//! log, and are asked what they know of it before it goes on after a start.
//!
//! What they know protects against the one thing that the state folder cannot tell of itself: that
//! all of it was put back to an earlier time. A witness that cannot be asked keeps nobody from
//! starting, since it would take all coordinators with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adit_net::http::client::{Client, ClientConfig, Retry};
use adit_net::log::witness::{WitnessClient, WitnessError, ask_all, cosign_all};
use adit_net::log::{CHECKPOINT, FolderSource, LogReader, SourceError, TileSource as _, Trust};
use adit_protocol::keys::{Keypair, PublicKey};
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::key::{KeyKind, NoteKey};
use adit_protocol::log::origin::Origin;
use adit_protocol::log::tree::empty_root;
use adit_protocol::network::membership::WitnessMember;
use adit_protocol::rand_core::OsRng;
use tokio_util::sync::CancellationToken;

use crate::engine::Handle;
use crate::membership::{Members, Membership};

/// How often is looked for a new checkpoint.
const LOOK: Duration = Duration::from_millis(250);
/// After how many looks a checkpoint that not all have cosigned is sent to them again.
const AGAIN: u32 = 40;
/// The time that a witness has for its answer, in milliseconds.
const ANSWER_MS: u64 = 5_000;

/// The witnesses of a network that can be asked.
fn witnesses(members: &Members) -> Vec<WitnessClient> {
    let client = |member: &WitnessMember| {
        let name = member.name.parse().ok()?;
        let key = PublicKey::from_bytes(&member.cosign).ok()?;
        let key = NoteKey::new(name, KeyKind::Cosignature, key);
        let config = ClientConfig {
            timeout_ms: ANSWER_MS,
            retry: Retry::NEVER,
            ..ClientConfig::new(member.url.parse().ok()?)
        };
        Some(WitnessClient::new(key, Client::new(config).ok()?))
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
    let witnesses = witnesses(members);
    if witnesses.is_empty() {
        return Ok(());
    }
    let origin = Origin::new(&members.genesis_hash, &node.public());
    let source = FolderSource(folder.to_owned());
    let signed = match source.note(CHECKPOINT).await {
        Ok(bytes) => SignedCheckpoint::parse(&bytes).ok(),
        // A checkpoint of no entries contradicts nothing.
        Err(SourceError::Missing { .. }) => {
            let none = Checkpoint {
                origin: origin.name(),
                size: 0,
                root: empty_root(),
            };
            Some(none.sign(log, &mut OsRng))
        }
        Err(_) => None,
    };
    // What cannot be read or is not the log's own is found when the log is opened.
    let key = origin.key(&log.public());
    let Some(signed) = signed.filter(|signed| signed.verify(&key).is_ok()) else {
        return Ok(());
    };
    for (name, standing) in ask_all(&witnesses, &signed).await {
        match standing {
            Ok(standing) => tracing::debug!(%name, ?standing, "a witness was asked"),
            Err(error) if error.is_alarm() => return Err(error),
            Err(error) => {
                tracing::warn!(%name, %error, "a witness could not be asked what it knows of the log")
            }
        }
    }
    Ok(())
}

/// What the task that has checkpoints cosigned works with.
pub(crate) struct Cosigning {
    pub handle: Handle,
    pub membership: Arc<dyn Membership>,
    /// The log's folder.
    pub folder: PathBuf,
    pub node: PublicKey,
    pub log: PublicKey,
}

/// The checkpoint that was sent to the witnesses last.
struct Sent {
    checkpoint: Checkpoint,
    /// How many had cosigned it.
    count: usize,
    /// Looks since then.
    looks: u32,
}

impl Cosigning {
    /// Has each new checkpoint cosigned, until it is stopped.
    pub async fn serve(self, stopped: CancellationToken) {
        let mut known = None;
        let mut clients = Vec::new();
        let mut sent: Option<Sent> = None;
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep(LOOK) => {}
                () = stopped.cancelled() => return,
            }
            let members = self.membership.current();
            if known != Some(members.membership.version) {
                known = Some(members.membership.version);
                clients = witnesses(&members);
                sent = None;
            }
            if clients.is_empty() {
                continue;
            }
            let key = Origin::new(&members.genesis_hash, &self.node).key(&self.log);
            let Some(signed) = self.newest(&key).await else {
                continue;
            };
            if let Some(sent) = &mut sent
                && sent.checkpoint == *signed.unverified()
            {
                sent.looks = sent.looks.saturating_add(1);
                if sent.count == clients.len() || sent.looks < AGAIN {
                    continue;
                }
            }
            let count = tokio::select! {
                biased;
                count = self.cosign(key, &clients, &signed) => count,
                () = stopped.cancelled() => return,
            };
            sent = Some(Sent {
                checkpoint: signed.unverified().clone(),
                count,
                looks: 0,
            });
        }
    }

    /// The newest checkpoint that is published; nothing is sent that is not.
    async fn newest(&self, key: &NoteKey) -> Option<SignedCheckpoint> {
        let bytes = FolderSource(self.folder.clone())
            .note(CHECKPOINT)
            .await
            .ok()?;
        let signed = SignedCheckpoint::parse(&bytes).ok()?;
        signed.verify(key).is_ok().then_some(signed)
    }

    /// Has a checkpoint cosigned by all, and returns how many have.
    async fn cosign(
        &self,
        key: NoteKey,
        clients: &[WitnessClient],
        signed: &SignedCheckpoint,
    ) -> usize {
        let reader = LogReader::new(FolderSource(self.folder.clone()), Trust::log_alone(key));
        let mut lines = Vec::new();
        for (name, line) in cosign_all(clients, &reader, signed).await {
            match line {
                Ok(line) => lines.push(line),
                Err(error) if error.is_alarm() => {
                    tracing::error!(%name, %error, "a witness contradicts this log")
                }
                Err(error) => tracing::warn!(%name, %error, "a witness has not cosigned"),
            }
        }
        if lines.is_empty() {
            return 0;
        }
        let keys = clients.iter().map(|client| client.key().clone()).collect();
        match self.handle.cosigned(signed.clone(), keys, lines).await {
            Ok(count) => count,
            Err(error) => {
                tracing::warn!(%error, "cosignatures could not be kept");
                0
            }
        }
    }
}
