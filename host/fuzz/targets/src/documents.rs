//! CBOR documents: as they come, and built to be valid and then changed.

use std::fmt::Debug;

use adit_protocol::cbor::{Document, Reason};
use adit_protocol::device_report::DeviceReport;
use adit_protocol::engine::EngineDocument;
use adit_protocol::environment::EnvironmentDocument;
use adit_protocol::exec::ExecSpec;
use adit_protocol::hardware::{HardwareRecord, SignedHardwareRecord};
use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::manifest::ModelManifest;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::task::TaskSpec;
use adit_protocol::transcript::Transcript;
use arbitrary::Unstructured;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;

use crate::built;

/// Reads the bytes as each kind of document in turn.
///
/// A document that is accepted is encoded to the same bytes; the bytes are no document of another
/// kind, since a hash has to name one thing; and whatever the plain decoder takes and encodes to
/// the same bytes is refused for its bounds or its rules only.
pub fn documents(bytes: &[u8]) {
    let taken = taken(bytes);
    assert!(taken <= 1, "the bytes are {taken} kinds of document");
}

/// As how many kinds of document the bytes are taken.
pub(crate) fn taken(bytes: &[u8]) -> usize {
    let kinds = [
        decode::<EngineDocument>(bytes),
        decode::<EnvironmentDocument>(bytes),
        decode::<ExecSpec>(bytes),
        decode::<ModelManifest>(bytes),
        decode::<ReceiptOpening>(bytes),
        decode::<TaskSpec>(bytes),
        decode::<Transcript>(bytes),
        decode::<HardwareRecord>(bytes),
        decode::<SignedHardwareRecord>(bytes),
        decode::<DeviceReport>(bytes),
    ];
    kinds.iter().filter(|taken| **taken).count()
}

/// Builds a document, valid or nearly so, and changes its encoding in a few places.
pub fn documents_built(bytes: &[u8]) {
    let mut recipe = Unstructured::new(bytes);
    // A recipe that runs out gives zeros, so nothing here can fail.
    match recipe.int_in_range(0..=8).unwrap_or(0) {
        0 => change(built::engine(&mut recipe), &mut recipe),
        1 => change(built::environment(&mut recipe), &mut recipe),
        2 => change(built::exec(&mut recipe), &mut recipe),
        3 => change(built::manifest(&mut recipe), &mut recipe),
        4 => change(built::opening(&mut recipe), &mut recipe),
        5 => change(built::task(&mut recipe), &mut recipe),
        6 => change(built::transcript(&mut recipe), &mut recipe),
        7 => change(built::hardware(&mut recipe, [0; 32]), &mut recipe),
        _ => change(built::device_report(&mut recipe), &mut recipe),
    }
}

/// Builds a hardware record, signs it, and changes the signed form: no change goes unnoticed, and
/// before it the record comes back.
pub fn hardware_signed(bytes: &[u8]) {
    let mut recipe = Unstructured::new(bytes);
    let recipe = &mut recipe;
    let node = Keypair::from_seed([built::any(recipe); 32]);
    let record = built::hardware(recipe, node.public().to_bytes());
    let mut rng = ChaCha20Rng::from_seed([2; 32]);
    let signed = record.sign(&node, &mut rng);
    match record.validate() {
        Ok(()) => assert_eq!(signed.verify().as_ref(), Ok(&record)),
        Err(_) => assert!(signed.verify().is_err()),
    }
    let other = record.sign(&Keypair::from_seed([255; 32]), &mut rng);
    assert!(other.verify().is_err() || node.public() == Keypair::from_seed([255; 32]).public());

    let mut changed = signed.to_cbor();
    built::alter(&mut changed, recipe);
    documents(&changed);
    if let Ok(altered) = SignedHardwareRecord::from_cbor(&changed)
        && altered != signed
    {
        assert!(altered.verify().is_err(), "{altered:?}");
    }
}

/// `true` if the bytes are a document of this kind.
pub(crate) fn decode<D: Document + PartialEq + Debug + Serialize>(bytes: &[u8]) -> bool {
    let plain = minicbor::decode::<D>(bytes)
        .ok()
        .filter(|document| document.to_cbor() == bytes);
    match D::from_cbor(bytes) {
        Ok(document) => {
            assert_eq!(document.to_cbor(), bytes);
            assert_eq!(document.hash(), Hash::of(bytes));
            assert_eq!(document.validate(), Ok(()));
            assert_eq!(plain.as_ref(), Some(&document));
            // For people, every document has a JSON form.
            serde_json::to_string(&document).expect("a document can be shown");
            true
        }
        Err(error) => {
            // The message is bounded by what the document's own texts are.
            assert!(error.to_string().len() < 4096);
            if let Some(plain) = plain {
                let allowed = match error.reason {
                    Reason::TooLong { .. } | Reason::OverBound { .. } => true,
                    Reason::Invalid { .. } => plain.validate().is_err(),
                    _ => false,
                };
                assert!(allowed, "{plain:?} is refused: {error}");
            }
            false
        }
    }
}

/// What was built is read back if its own rules hold. A changed encoding is another document, or
/// none: never the same one, under another hash.
fn change<D: Document + PartialEq + Debug + Serialize>(document: D, recipe: &mut Unstructured<'_>) {
    let bytes = document.to_cbor();
    let again = D::from_cbor(&bytes);
    match document.validate() {
        Ok(()) => assert_eq!(again.as_ref(), Ok(&document)),
        Err(error) => assert!(again.is_err(), "not refused: {error}"),
    }
    documents(&bytes);

    let mut changed = bytes.clone();
    built::alter(&mut changed, recipe);
    if changed == bytes {
        return;
    }
    if let Ok(other) = D::from_cbor(&changed) {
        assert_ne!(other, document);
        assert_ne!(other.hash(), document.hash());
    }
    documents(&changed);
}
