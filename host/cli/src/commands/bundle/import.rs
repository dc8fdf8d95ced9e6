//! Takes blobs and receipts out of a bundle.

use std::collections::HashSet;

use adit_protocol::Hash;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::network::entry::Entry;
use adit_runtime::store::blobs::BlobStore;

use crate::commands::audit::{Observer, Stop};
use crate::evidence::bundle::Bundle;
use crate::evidence::entries::Entries;
use crate::evidence::source::of_evidence;
use crate::evidence::{Evidence as _, EvidenceError};
use crate::received::Received;

/// What was taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// Receipts.
    pub receipts: u64,
    /// Blobs.
    pub blobs: u64,
}

/// Puts all blobs of a bundle into a store, and the receipts whose openings it has into a folder.
/// Nothing else is checked: an audit does that, and so does each replay.
///
/// # Errors
/// [`Stop`], when a blob is not what its name says, or something cannot be read or written.
pub fn import(
    bundle: &Bundle,
    blobs: &BlobStore,
    received: &Received,
    observer: &mut dyn Observer,
) -> Result<Taken, Stop> {
    let mut taken = Taken::default();
    let total = bundle.blob_hashes().count() as u64;
    for hash in bundle.blob_hashes() {
        observer.progress(taken.blobs, total, "blobs")?;
        if blobs.check(&hash).is_err() && !bundle.save(&hash, blobs).map_err(unread)? {
            let why = "its bytes have another hash; hint: the bundle was altered, get it again";
            return Err(unread(EvidenceError::damaged(
                format!("the blob {hash}"),
                why,
            )));
        }
        taken.blobs = taken.blobs.saturating_add(1);
    }
    let opened: HashSet<Hash> = bundle.opened().copied().collect();
    let checkpoint = bundle.checkpoint().map_err(unread)?;
    let size = SignedCheckpoint::parse(&checkpoint)
        .map_err(|error| unread(EvidenceError::damaged("the checkpoint", error)))?
        .unverified()
        .size;
    let mut entries = Entries::new(bundle, size, None);
    loop {
        observer.progress(entries.position(), size, "entries")?;
        let chunk = entries.next().map_err(unread)?;
        if chunk.is_empty() {
            break;
        }
        for entry in &chunk {
            let Ok(Entry::Receipt(receipt)) = Entry::decode(entry) else {
                continue;
            };
            let id = receipt.id();
            if opened.contains(&id) {
                let opening = bundle.opening(&id).map_err(unread)?;
                received
                    .keep(&receipt, opening.as_ref())
                    .map_err(Stop::Failed)?;
                taken.receipts = taken.receipts.saturating_add(1);
            }
        }
    }
    Ok(taken)
}

fn unread(error: EvidenceError) -> Stop {
    Stop::Failed(of_evidence("the bundle could not be taken in", &error).into())
}
