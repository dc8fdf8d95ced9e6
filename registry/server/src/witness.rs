//! Witnesses, on both sides: the checker that runs beside a registry cosigns the checkpoints of the
//! coordinators' logs, which ask for that at `/add-checkpoint` of the registry's address, so that this
//! is the address to register the checker with; and the registry's own log is cosigned by those that
//! its operator names.
//!
//! A checker has one cosigning key. As a mirror, at the end of an epoch, it signs with it that it holds
//! the data (`crate::settling`); as a witness, each second, that a log continues what it saw before.
//! What is signed differs, so neither stands for the other.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use adit_ledger::entry::note_key;
use adit_net::db::Db;
use adit_net::http::client::ClientError;
use adit_net::log::witness::{
    Cosigned, MIGRATION, Publisher, Witness, WitnessClient, WitnessOptions, submissions,
};
use adit_net::{Clock, blocking};
use adit_protocol::Hash;
use adit_protocol::keys::PublicKey;
use adit_protocol::log::key::NoteKey;
use adit_protocol::log::origin::Origin;
use adit_protocol::network::membership::Membership;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;

use crate::engine::Handle;
use crate::options::LogWitness;
use crate::settling::settler::SettlerOptions;
use crate::store::StoreError;

/// Name of the witness's database in the state folder.
pub const DATABASE: &str = "witness.db";

/// The witness that a registry's checker is.
#[derive(Clone)]
struct Checker {
    witness: Arc<Witness>,
    handle: Handle,
    /// The members whose logs it watches.
    watched: Arc<Mutex<Option<Arc<Membership>>>>,
}

impl Checker {
    /// Looks who takes part now, before a request is judged: a coordinator asks as soon as it does.
    fn refresh(&self) {
        // Once the ledger is not known any more, those stay that were.
        let Ok(live) = self.handle.shared().live() else {
            return;
        };
        let members = Arc::clone(&live.members);
        drop(live);
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if (watched.as_ref()).is_some_and(|known| Arc::ptr_eq(known, &members)) {
            return;
        }
        self.witness.set_logs(logs(&members));
        *watched = Some(members);
    }
}

/// The keys of the coordinators' logs.
fn logs(members: &Membership) -> Vec<NoteKey> {
    let key = |node: &[u8; 32], log: &[u8; 32]| {
        // A key that is none is that coordinator's own fault.
        let node = PublicKey::from_bytes(node).ok()?;
        let log = PublicKey::from_bytes(log).ok()?;
        Some(Origin::new(&members.genesis, &node).key(&log))
    };
    let coordinators = members.coordinators.iter();
    coordinators
        .filter_map(|member| key(&member.node, &member.log))
        .collect()
}

/// The routes of the witness that a checker is, whose database is in the registry's state folder. It
/// must never be put back from a backup: the witness would forget what it has cosigned.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn routes(
    state: &Path,
    checker: &SettlerOptions,
    handle: Handle,
    clock: Arc<dyn Clock>,
) -> Result<Router, StoreError> {
    let db = Db::open(&state.join(DATABASE), &[MIGRATION])?;
    let options = WitnessOptions {
        name: checker.name.clone(),
        key: checker.cosign.clone(),
        logs: Vec::new(),
        clock,
    };
    let witness = Arc::new(Witness::new(db, options));
    let checker = Checker {
        witness: Arc::clone(&witness),
        handle,
        watched: Arc::default(),
    };
    let refreshed =
        async |State(checker): State<Checker>, request: Request, next: Next| -> Response {
            // It may have to wait for a commit. If it breaks off, what was known is judged by.
            let _ = blocking(move || checker.refresh()).await;
            next.run(request).await
        };
    Ok(submissions(witness).layer(middleware::from_fn_with_state(checker, refreshed)))
}

/// The registry's own log, whose checkpoints are cosigned.
pub(crate) struct OwnLog {
    pub handle: Handle,
    pub genesis: Hash,
    pub log: PublicKey,
    pub witnesses: Vec<LogWitness>,
}

/// The witnesses of the registry's log, to be asked.
///
/// # Errors
/// [`ClientError`], if one cannot be asked at its address.
pub(crate) fn clients(witnesses: &[LogWitness]) -> Result<Vec<WitnessClient>, ClientError> {
    let client =
        |one: &LogWitness| WitnessClient::at(one.key.clone(), one.url.clone(), one.roots.clone());
    witnesses.iter().map(client).collect()
}

impl Publisher for OwnLog {
    fn witnesses(&self, known: Option<u64>) -> Option<(u64, Vec<WitnessClient>)> {
        match known {
            // They were made before, at the start.
            None => Some((0, clients(&self.witnesses).unwrap_or_default())),
            Some(_) => None,
        }
    }

    fn key(&self) -> NoteKey {
        note_key(&self.genesis, &self.log)
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
