//! What a worker may ask its supervisor for: what its jobs need, and nothing else.
//!
//! The blob store holds everybody's inputs, models and outputs. A worker runs hostile code, and
//! should that code take the process over, it can send whatever it likes; the hash of a blob is
//! no secret. So the supervisor hands out only what follows from the jobs that the process has at
//! the moment, by their specs, and ends a worker that asks for more.

use std::collections::HashSet;

use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::transcript::Transcript;

use super::messages::{Kind, Mode};
use super::supervisor::Task;
use super::trial::Trial;
use crate::store::blobs::BlobStore;

/// What one job may ask for.
#[derive(Debug)]
pub(super) struct Grant {
    component: Option<Hash>,
    blobs: HashSet<Hash>,
}

/// A worker asked for something that none of its jobs needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it asked for the {} {hash}, which none of its jobs names; hint: it may have been taken over, see what ran in it",
    match .kind {
        Kind::Blob => "blob",
        Kind::Code => "code of",
    }
)]
pub(super) struct NotGranted {
    /// What sort of thing.
    pub kind: Kind,
    /// Its hash.
    pub hash: Hash,
}

impl Grant {
    /// What a task's worker may ask for: the code of its component, its input, and either the
    /// files of its models or, in a replay, its transcript and the outputs recorded there; the
    /// files as well if computations are to be made again.
    ///
    /// What cannot be read grants nothing: the worker finds out for itself and says so.
    pub fn of(task: &Task, store: &BlobStore) -> Self {
        let mut blobs = HashSet::from([task.spec.input]);
        let computes = match &task.mode {
            Mode::Live => true,
            Mode::Replay { transcript, every } => {
                blobs.insert(*transcript);
                let recorded = store
                    .get(transcript, Transcript::MAX_LEN as u64)
                    .ok()
                    .and_then(|bytes| Transcript::from_cbor(&bytes).ok())
                    .unwrap_or_default();
                let outputs = recorded.calls.iter().flat_map(|call| &call.outputs);
                blobs.extend(outputs.map(|tensor| tensor.hash));
                *every > 0
            }
        };
        if computes {
            let manifests = task.manifests.values();
            let manifests = manifests.filter_map(|bytes| ModelManifest::from_cbor(bytes).ok());
            for manifest in manifests {
                blobs.extend(manifest.files.values().map(|file| file.hash));
            }
        }
        Self {
            component: Some(task.spec.component),
            blobs,
        }
    }

    /// What a trial may ask for: the files of its model and its inputs.
    pub fn of_trial(trial: &Trial) -> Self {
        let inputs = trial.cases.iter().flatten().map(|tensor| tensor.hash);
        let mut blobs: HashSet<Hash> = inputs.collect();
        if let Ok(manifest) = ModelManifest::from_cbor(&trial.manifest) {
            blobs.extend(manifest.files.values().map(|file| file.hash));
        }
        Self {
            component: None,
            blobs,
        }
    }

    fn allows(&self, kind: Kind, hash: &Hash) -> bool {
        match kind {
            Kind::Blob => self.blobs.contains(hash),
            Kind::Code => self.component == Some(*hash),
        }
    }
}

/// Whether any of a worker's jobs may have what it asks for.
///
/// # Errors
///
/// [`NotGranted`] if none may.
pub(super) fn check<'g>(
    grants: impl IntoIterator<Item = &'g Grant>,
    kind: Kind,
    hash: &Hash,
) -> Result<(), NotGranted> {
    let granted = grants.into_iter().any(|grant| grant.allows(kind, hash));
    if granted {
        Ok(())
    } else {
        Err(NotGranted { kind, hash: *hash })
    }
}
