//! The blobs that replaying a receipt takes, found by following hashes. Never a model.

use std::collections::BTreeSet;

use adit_protocol::Hash;
use adit_protocol::cbor::Document;
use adit_protocol::exec::ExecSpec;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::Receipt;
use adit_protocol::task::TaskSpec;
use adit_protocol::transcript::Transcript;
use adit_runtime::store::blobs::BlobStore;

use super::{Evidence, EvidenceError};

/// Most bytes of the blobs of one receipt: a little more than the tensors of the default limits.
const RECEIPT_BYTES_MAX: u64 = 20 << 30;

/// What a replay was to have and what of it there is.
#[derive(Debug, Default)]
pub struct Needs {
    /// Blobs that are in the store now.
    pub had: BTreeSet<Hash>,
    /// What cannot be had, for people: `the component blake3:...`.
    pub lacking: Vec<String>,
    /// The opening.
    pub opening: Option<ReceiptOpening>,
}

/// Puts into a store what the replay of a receipt takes: specs, manifests, component, input,
/// transcript, recorded outputs, and the environment documents that say where it ran. What cannot be
/// had is in the result; the replay says what it could not check without it.
///
/// # Errors
/// [`EvidenceError`], if the evidence cannot be asked, or the store not be written.
pub fn fetch(
    evidence: &dyn Evidence,
    receipt: &Receipt,
    store: &BlobStore,
) -> Result<Needs, EvidenceError> {
    let mut fetcher = Fetcher {
        evidence,
        store,
        needs: Needs::default(),
        left: RECEIPT_BYTES_MAX,
    };
    fetcher.all(receipt)?;
    Ok(fetcher.needs)
}

struct Fetcher<'a> {
    evidence: &'a dyn Evidence,
    store: &'a BlobStore,
    needs: Needs,
    /// Bytes that may still come.
    left: u64,
}

impl Fetcher<'_> {
    fn all(&mut self, receipt: &Receipt) -> Result<(), EvidenceError> {
        let body = &receipt.body;
        self.want("environment document", &body.environment)?;
        let Some(task) = self.document::<TaskSpec>(&body.task)? else {
            return Ok(());
        };
        if let Some(exec) = self.document::<ExecSpec>(&task.exec)? {
            for (_, manifest) in exec.models.iter() {
                self.want(ModelManifest::NAME, manifest)?;
            }
            self.want("component", &exec.component)?;
            self.want("input", &exec.input)?;
        }
        let Some(opening) = self.evidence.opening(&receipt.id())? else {
            self.needs.lacking.push("the receipt's opening".to_owned());
            return Ok(());
        };
        if opening.transcript.commit(&task.salt) != body.transcript {
            // Not signed by anyone, so that a wrong one proves nothing.
            let what = "the receipt's opening (the one there is belongs to another receipt)";
            self.needs.lacking.push(what.to_owned());
            return Ok(());
        }
        self.needs.opening = Some(opening);
        self.want("output", &opening.output)?;
        if !body.nn {
            return Ok(());
        }
        let Some(transcript) = self.document::<Transcript>(&opening.transcript)? else {
            return Ok(());
        };
        for environment in &transcript.environments {
            self.want("environment document", environment)?;
        }
        // One tensor may come out of many calls.
        let outputs = transcript.calls.iter().flat_map(|call| &call.outputs);
        let tensors: BTreeSet<Hash> = outputs.map(|tensor| tensor.hash).collect();
        for tensor in &tensors {
            self.want("recorded tensor", tensor)?;
        }
        Ok(())
    }

    /// Has a blob in the store, or notes that it lacks. Returns whether it is there.
    fn want(&mut self, what: &str, hash: &Hash) -> Result<bool, EvidenceError> {
        if self.needs.had.contains(hash) {
            return Ok(true);
        }
        if self.left == 0 {
            let why = format!("the {what} {hash} (the receipt's blobs are too many bytes)");
            self.needs.lacking.push(why);
            return Ok(false);
        }
        let mut length = self.store.check(hash).ok();
        if length.is_none() && self.evidence.save(hash, self.store)? {
            length = self.store.check(hash).ok();
        }
        match length {
            Some(length) => {
                self.left = self.left.saturating_sub(length);
                self.needs.had.insert(*hash);
            }
            None => self.needs.lacking.push(format!("the {what} {hash}")),
        }
        Ok(length.is_some())
    }

    fn document<D: Document>(&mut self, hash: &Hash) -> Result<Option<D>, EvidenceError> {
        if !self.want(D::NAME, hash)? {
            return Ok(None);
        }
        let bytes = self
            .store
            .get(hash, D::MAX_LEN as u64)
            .map_err(|error| EvidenceError::unreachable(format!("the {}", D::NAME), error))?;
        match D::from_cbor(&bytes) {
            Ok(document) => Ok(Some(document)),
            // It has the hash that was signed, and is no such document: the replay says so.
            Err(_) => Ok(None),
        }
    }
}
