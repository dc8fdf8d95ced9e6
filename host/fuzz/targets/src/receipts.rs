//! Receipts and the hash chain of transcripts.

use adit_protocol::hash::Hash;
use adit_protocol::keys::{Keypair, PublicKey};
use adit_protocol::receipt::{
    BODY_LEN, CONTEXT, CoordinatorCheck, RECEIPT_LEN, Receipt, ReceiptBody, verify_batch,
};
use adit_protocol::status::Status;
use adit_protocol::transcript::{chain_next, chain_start};
use arbitrary::Unstructured;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::built::{alter, any, bytes as array, hash, one_of, refs};

/// Reads the bytes as receipts, one behind the other, and what is left over as one of a wrong
/// length.
///
/// A receipt that is read is written as the same bytes. Checking receipts one by one and together
/// comes to the same verdict, and one that holds was signed by the keys that it states.
pub fn receipt(bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<RECEIPT_LEN>();
    let mut receipts = Vec::new();
    // More would only take time: each is two signatures.
    for bytes in whole.iter().take(8) {
        let body = ReceiptBody::decode(&bytes[..BODY_LEN]);
        match Receipt::from_bytes(bytes) {
            Ok(receipt) => {
                assert_eq!(receipt.to_bytes(), *bytes);
                assert_eq!(body.as_ref(), Ok(&receipt.body));
                assert_eq!(receipt.id(), Hash::of(&bytes[..BODY_LEN]));
                receipts.push(receipt);
            }
            Err(error) => assert_eq!(body, Err(error)),
        }
    }
    assert!(Receipt::from_bytes(rest).is_err());
    assert!(rest.len() == BODY_LEN || ReceiptBody::decode(rest).is_err());

    let refused: Vec<usize> = (0..)
        .zip(&receipts)
        .filter(|(_, receipt)| !holds(receipt))
        .map(|(index, _)| index)
        .collect();
    let together = verify_batch(&receipts, &mut ChaCha20Rng::from_seed([1; 32]));
    assert_eq!(together.err().unwrap_or_default(), refused);
}

/// Builds a receipt, signs it, and changes its bytes: no change goes unnoticed, and before it
/// every check passes.
pub fn receipt_altered(bytes: &[u8]) {
    let mut recipe = Unstructured::new(bytes);
    let recipe = &mut recipe;
    let key = |number: u8| Keypair::from_seed([number; 32]);
    let (miner, coordinator) = (key(any(recipe)), key(any(recipe)));
    let network: [u8; 4] = array(recipe);
    let local = network == [0; 4];
    let body = ReceiptBody {
        network,
        status: one_of(recipe, &Status::ALL),
        gpu: any(recipe),
        nn: any(recipe),
        epoch: any(recipe),
        seq: any(recipe),
        start_ms: any(recipe),
        duration_us: any(recipe),
        fuel: any(recipe),
        nn_units: any(recipe),
        peak_memory: any(recipe),
        miner: miner.public().to_bytes(),
        coordinator: match local {
            true => [0; 32],
            false => coordinator.public().to_bytes(),
        },
        task: hash(recipe),
        assignment: if local { Hash::ZERO } else { hash(recipe) },
        component: hash(recipe),
        input: hash(recipe),
        output: hash(recipe),
        transcript: hash(recipe),
        environment: hash(recipe),
        prev: hash(recipe),
    };
    let rng = &mut ChaCha20Rng::from_seed([2; 32]);
    let mut signed = body.sign(&miner, rng);
    if !local {
        assert!(!holds(&signed), "a countersignature is missing");
        signed.countersign(&coordinator, rng);
    }
    assert!(holds(&signed));
    let good = signed.to_bytes();
    assert_eq!(Receipt::from_bytes(&good).as_ref(), Ok(&signed));

    let mut changed = good.to_vec();
    alter(&mut changed, recipe);
    if changed != good
        && let Ok(changed) = Receipt::from_bytes(&changed)
    {
        assert!(!holds(&changed), "a change went unnoticed");
    }
    receipt(&changed);
}

/// Whether a receipt's signatures hold, after checks that they are what `verify` says.
fn holds(receipt: &Receipt) -> bool {
    let Ok(verified) = receipt.verify() else {
        return false;
    };
    assert!(verified.miner && receipt.verify_miner().is_ok());
    let bytes = receipt.to_bytes();
    let signed_by = |key: &[u8; 32], message: &[u8], signature: &[u8; 64]| {
        let key = PublicKey::from_bytes(key).expect("a key that verified");
        assert_eq!(key.verify(CONTEXT, message, signature), Ok(()));
    };
    signed_by(
        &receipt.body.miner,
        &bytes[..BODY_LEN],
        &receipt.miner_signature,
    );
    match verified.coordinator {
        CoordinatorCheck::Checked => {
            assert!(!receipt.is_local());
            let message = [b"aditcnsg", &bytes[..BODY_LEN + 64]].concat();
            signed_by(
                &receipt.body.coordinator,
                &message,
                &receipt.coordinator_signature,
            );
        }
        CoordinatorCheck::NotPerformed => assert!(receipt.is_local()),
    }
    true
}

/// Builds two lists of tensors: they lead to the same link only if they are the same list, from
/// the same link before.
pub fn chain(bytes: &[u8]) {
    let mut recipe = Unstructured::new(bytes);
    let recipe = &mut recipe;
    let (manifests, contexts) = ((hash(recipe), hash(recipe)), (any(recipe), any(recipe)));
    let (one, two) = (
        chain_start(&manifests.0, contexts.0),
        chain_start(&manifests.1, contexts.1),
    );
    let same = manifests.0 == manifests.1 && contexts.0 == contexts.1;
    assert_eq!(one == two, same);

    let (a, b) = (refs(recipe), refs(recipe));
    assert_eq!(chain_next(&one, &a) == chain_next(&one, &b), a == b);
    assert_eq!(chain_next(&one, &a) == chain_next(&two, &a), same);
    // A link is never the start of another context, nor what it came from.
    assert_ne!(chain_next(&one, &a), one);
    assert_ne!(chain_next(&one, &a), two);
    // Two calls are not one with the inputs of both.
    let both = [a.as_slice(), b.as_slice()].concat();
    assert_ne!(
        chain_next(&chain_next(&one, &a), &b),
        chain_next(&one, &both)
    );
}
