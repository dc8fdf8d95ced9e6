//! What all handlers share.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use adit_net::signed::RequestVerifier;
use adit_net::{Clock, Problem, SharedRng};
use adit_protocol::keys::Keypair;
use adit_protocol::{Code, Hash};
use tokio_util::sync::CancellationToken;

use super::feed::Feeds;
use super::metrics::Metrics;
use super::network::NetworkBytes;
use crate::Refusal;
use crate::blobs::Blobs;
use crate::engine::Handle;
use crate::membership::Membership;
use crate::options::Bounds;
use crate::tokens::{Client, Quota, Tokens};

/// The state of the router. Clones share it.
#[derive(Clone)]
pub struct App(pub Arc<Inner>);

/// See [`App`].
pub struct Inner {
    /// The engine.
    pub handle: Handle,
    /// The blobs.
    pub blobs: Blobs,
    /// The clients.
    pub tokens: Tokens,
    /// Who takes part in the network.
    pub membership: Arc<dyn Membership>,
    /// Checks signed requests; set once the address is known.
    pub verifier: OnceLock<Arc<RequestVerifier>>,
    /// Countersigns receipts.
    pub node: Keypair,
    /// Hash of the genesis document.
    pub genesis: Hash,
    /// The engine that tasks are for.
    pub engine: Hash,
    /// The coordinator's region.
    pub region: String,
    /// Bounds.
    pub bounds: Bounds,
    /// Whether validators can be run.
    pub validates: bool,
    /// Cancelled when the server ends: who waits is to answer.
    pub draining: CancellationToken,
    /// Set as soon as no new tasks are taken.
    pub closing: CancellationToken,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: SharedRng,
    /// Events of tasks that are watched.
    pub feeds: Feeds,
    /// What miners have uploaded; at most one entry for each member.
    pub uploads: Mutex<HashMap<[u8; 32], Arc<Client>>>,
    /// Engines of environments that are kept; a bounded memory of the database.
    pub known_environments: Mutex<HashMap<Hash, Hash>>,
    /// Blobs that were looked at and begin as components do.
    pub known_components: Mutex<HashSet<Hash>>,
    /// The network file as it is given to others.
    pub network: NetworkBytes,
    /// Figures for operators.
    pub metrics: Metrics,
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// What a miner may upload, in the form that clients have.
    pub fn uploads_of(&self, node: [u8; 32]) -> Arc<Client> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let quota = Quota {
            blob_bytes_per_day: self.bounds.miner_blob_bytes_per_day,
            ..Quota::default()
        };
        let client = || Arc::new(Client::new("miner", quota));
        Arc::clone(uploads.entry(node).or_insert_with(client))
    }

    /// Engines of environments that are kept.
    pub fn environments(&self) -> MutexGuard<'_, HashMap<Hash, Hash>> {
        self.known_environments
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Blobs that were looked at and begin as components do.
    pub fn components(&self) -> MutexGuard<'_, HashSet<Hash>> {
        self.known_components
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses new work once the coordinator is about to stop.
    ///
    /// # Errors
    /// `draining`.
    pub fn takes_work(&self) -> Result<(), Problem> {
        match self.closing.is_cancelled() {
            false => Ok(()),
            true => Err(Problem::new(
                Code::Draining,
                "the coordinator is about to stop and takes no new tasks",
            )
            .hint("send it again when the coordinator is back, or to another one")
            .retry_after_s(10)),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        if refusal.code == Code::Internal {
            return Problem::internal(refusal);
        }
        let problem = Problem::new(refusal.code, refusal.detail).hint(refusal.hint);
        match refusal.retry_after_ms {
            Some(ms) => problem.retry_after_s(u32::try_from(ms.div_ceil(1000)).unwrap_or(60)),
            None => problem,
        }
    }
}
