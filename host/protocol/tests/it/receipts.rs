//! Receipts: layout, signatures, batches, and what local runs may not have.

use std::sync::LazyLock;

use adit_protocol::hash::Hash;
use adit_protocol::keys::PublicKeyError;
use adit_protocol::rand_core::{self, CryptoRng, RngCore};
use adit_protocol::receipt::{
    BODY_LEN, CoordinatorCheck, RECEIPT_LEN, Receipt, ReceiptBody, ReceiptError, Verified,
    verify_batch, verify_miners,
};
use adit_protocol::status::{Status, UnknownStatus};
use curve25519_dalek::Scalar;
use merlin::Transcript;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use schnorrkel::context::SigningTranscript;

use crate::fixtures::{body, coordinator, local_body, miner, receipt, rng};

#[test]
fn every_field_has_its_place() {
    let key = miner(1);
    let bytes = receipt(&key, 6).to_bytes();
    assert_eq!(&bytes[..8], b"aditrcpt");
    assert_eq!(bytes[8..12], [1, 2, 3, 4]);
    assert_eq!(bytes[12..16], [1, 0, 0, 3]);
    let numbers: Vec<u64> = bytes[16..72]
        .as_chunks::<8>()
        .0
        .iter()
        .map(|n| u64::from_le_bytes(*n))
        .collect();
    assert_eq!(numbers, [5, 6, 1_700_000_000_000, 7, 8, 9, 10]);
    assert_eq!(bytes[72..104], key.public().to_bytes());
    assert_eq!(bytes[104..136], coordinator().public().to_bytes());
    let names: [&[u8]; 8] = [
        b"task",
        b"assignment",
        b"component",
        b"input",
        b"output",
        b"transcript",
        b"environment",
        b"prev",
    ];
    for (field, name) in bytes[136..392].as_chunks::<32>().0.iter().zip(names) {
        assert_eq!(field, Hash::of(name).as_bytes());
    }
    let decoded = Receipt::from_bytes(&bytes).unwrap();
    assert_eq!(bytes[392..456], decoded.miner_signature);
    assert_eq!(bytes[456..520], decoded.coordinator_signature);
    assert_eq!(decoded.id(), Hash::of(&bytes[..392]));
}

#[test]
fn the_signed_bytes_are_those_of_the_protocol() {
    let key = miner(1);
    let receipt = receipt(&key, 0);
    let bytes = receipt.to_bytes();
    let verified = key
        .public()
        .verify(b"substrate", &bytes[..392], &receipt.miner_signature);
    assert_eq!(verified, Ok(()));
    let message = [b"aditcnsg", &bytes[..456]].concat();
    let verified =
        coordinator()
            .public()
            .verify(b"substrate", &message, &receipt.coordinator_signature);
    assert_eq!(verified, Ok(()));
}

#[test]
fn a_receipt_of_a_network_needs_both_signatures() {
    let mut receipt = body(&miner(1), 0).sign(&miner(1), &mut rng());
    assert_eq!(receipt.verify_miner(), Ok(()));
    assert_eq!(receipt.verify(), Err(ReceiptError::NotCountersigned));
    receipt.countersign(&coordinator(), &mut rng());
    assert_eq!(
        receipt.verify(),
        Ok(Verified {
            miner: true,
            coordinator: CoordinatorCheck::Checked
        })
    );
    // The countersignature covers the miner's, which is randomised.
    let again = body(&miner(1), 0).sign(&miner(1), &mut rand_chacha_from(7));
    assert_eq!(again.id(), receipt.id());
    assert_ne!(again.miner_signature, receipt.miner_signature);
    receipt.miner_signature = again.miner_signature;
    assert_eq!(receipt.verify(), Err(ReceiptError::CoordinatorSignature));
    // Signing with another key than the receipt names is found out.
    receipt.countersign(&miner(3), &mut rng());
    assert_eq!(receipt.verify(), Err(ReceiptError::CoordinatorSignature));
    let forged = body(&miner(1), 0).sign(&miner(2), &mut rng());
    assert_eq!(forged.verify_miner(), Err(ReceiptError::MinerSignature));
}

fn rand_chacha_from(seed: u8) -> rand_chacha::ChaCha20Rng {
    rand_chacha::rand_core::SeedableRng::from_seed([seed; 32])
}

#[test]
fn a_local_run_has_nothing_that_only_a_network_gives() {
    let key = miner(1);
    let local = local_body(&key).sign(&key, &mut rng());
    assert!(local.is_local());
    assert_eq!(
        local.verify(),
        Ok(Verified {
            miner: true,
            coordinator: CoordinatorCheck::NotPerformed
        })
    );

    let mut countersigned = local.clone();
    countersigned.countersign(&coordinator(), &mut rng());
    let error = ReceiptError::NotLocal {
        field: "countersignature",
    };
    assert_eq!(countersigned.verify(), Err(error));

    let with_coordinator = ReceiptBody {
        coordinator: [1; 32],
        ..local_body(&key)
    };
    let error = ReceiptError::NotLocal {
        field: "coordinator",
    };
    assert_eq!(with_coordinator.sign(&key, &mut rng()).verify(), Err(error));

    let with_assignment = ReceiptBody {
        assignment: Hash::of(b"x"),
        ..local_body(&key)
    };
    let error = ReceiptError::NotLocal {
        field: "assignment",
    };
    assert_eq!(with_assignment.sign(&key, &mut rng()).verify(), Err(error));
}

#[test]
fn a_key_of_zeros_signs_nothing() {
    let mut forged = receipt(&miner(1), 0);
    forged.body.miner = [0; 32];
    let zero = |role| {
        Err(ReceiptError::Key {
            role,
            source: PublicKeyError::Zero,
        })
    };
    assert_eq!(forged.verify(), zero("miner"));
    let mut body = body(&miner(1), 0);
    body.coordinator = [0; 32];
    let mut forged = body.sign(&miner(1), &mut rng());
    forged.countersign(&coordinator(), &mut rng());
    assert_eq!(forged.verify(), zero("coordinator"));
    assert_eq!(verify_batch(&[forged], &mut rng()), Err(vec![0]));
}

#[test]
fn malformed_receipts_are_refused() {
    let good = receipt(&miner(1), 0).to_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        Receipt::from_bytes(&bytes)
    };
    assert_eq!(with(0, b'A'), Err(ReceiptError::Magic));
    assert_eq!(with(12, 2), Err(ReceiptError::Version(2)));
    assert_eq!(with(13, 1), Err(ReceiptError::Version(257)));
    assert_eq!(with(14, 6), Err(ReceiptError::Status(UnknownStatus(6))));
    for bit in 2..8 {
        assert_eq!(with(15, 1 << bit), Err(ReceiptError::Flags(1 << bit)));
    }
    for length in [0, 1, 391, 392, 519] {
        let error = ReceiptError::Length {
            expected: RECEIPT_LEN,
            found: length,
        };
        assert_eq!(Receipt::from_bytes(&good[..length]), Err(error));
    }
    let long = [&good[..], &[0]].concat();
    let error = ReceiptError::Length {
        expected: RECEIPT_LEN,
        found: 521,
    };
    assert_eq!(Receipt::from_bytes(&long), Err(error));
    let error = ReceiptError::Length {
        expected: BODY_LEN,
        found: 520,
    };
    assert_eq!(ReceiptBody::decode(&good), Err(error));
}

/// Receipts of three miners in turn.
fn many(count: usize) -> Vec<Receipt> {
    (0..count)
        .map(|i| receipt(&miner(1 + (i % 3) as u8), i as u64))
        .collect()
}

#[test]
fn batches_name_every_culprit_and_nobody_else() {
    assert_eq!(verify_batch(&[], &mut rng()), Ok(()));
    let mut receipts = many(40);
    let local = local_body(&miner(9)).sign(&miner(9), &mut rng());
    receipts.push(local);
    assert_eq!(verify_batch(&receipts, &mut rng()), Ok(()));

    receipts[3].body.fuel += 1;
    receipts[17].coordinator_signature[5] ^= 1;
    receipts[18].miner_signature[63] &= 127; // No longer marked as schnorrkel's.
    receipts[29].body.miner = [255; 32]; // No point at all.
    receipts[30].coordinator_signature = [0; 64];
    receipts[40].body.assignment = Hash::of(b"x");
    let one_by_one: Vec<usize> = (0..receipts.len())
        .filter(|i| receipts[*i].verify().is_err())
        .collect();
    assert_eq!(one_by_one, [3, 17, 18, 29, 30, 40]);
    assert_eq!(verify_batch(&receipts, &mut rng()), Err(one_by_one));
}

#[test]
fn a_batch_of_bad_receipts_names_them_all() {
    let mut receipts = many(60);
    for receipt in &mut receipts[..57] {
        receipt.body.fuel += 1;
    }
    assert_eq!(verify_batch(&receipts, &mut rng()), Err((0..57).collect()));
}

#[test]
fn the_miners_signatures_are_checked_without_the_coordinators() {
    let mut receipts = many(20);
    for receipt in &mut receipts {
        receipt.coordinator_signature = [0; 64];
    }
    assert_eq!(verify_miners(&receipts, &mut rng()), Ok(()));
    receipts[2].miner_signature[9] ^= 1;
    receipts[11].body.seq += 1;
    receipts[12].body.miner = [0; 32];
    assert_eq!(verify_miners(&receipts, &mut rng()), Err(vec![2, 11, 12]));
}

/// A generator of zeros: what schnorrkel's deterministic check has in place of randomness.
struct Zeros;

impl RngCore for Zeros {
    fn next_u32(&mut self) -> u32 {
        0
    }
    fn next_u64(&mut self) -> u64 {
        0
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        bytes.fill(0);
        Ok(())
    }
}

impl CryptoRng for Zeros {}

/// The weights that `verify_batch_deterministic` gives to signatures: schnorrkel 0.11.5,
/// `prepare_batch`. They depend on keys, messages and the halves R, and not on the halves s.
fn deterministic_weights(
    key: &schnorrkel::PublicKey,
    signatures: &[[u8; 64]],
    messages: &[Transcript],
) -> Vec<Scalar> {
    let mut weights = Transcript::new(b"V-RNG");
    for _ in signatures {
        weights.commit_point(b"", key.as_compressed());
    }
    for signature in signatures {
        weights.append_message(b"", &signature[..32]);
    }
    for message in messages {
        let mut witness = [0; 16];
        message.witness_bytes_rng(b"", &mut witness, &[&[]], Zeros);
        weights.append_message(b"", &witness);
    }
    let mut rng = weights.build_rng().finalize(&mut Zeros);
    let mut weight = || {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Scalar::from(u128::from_le_bytes(bytes))
    };
    signatures.iter().map(|_| weight()).collect()
}

fn shift(signature: &mut [u8; 64], by: Scalar) {
    let mut scalar: [u8; 32] = signature[32..].try_into().unwrap();
    scalar[31] &= 127; // Schnorrkel's mark.
    scalar = (Scalar::from_canonical_bytes(scalar).unwrap() + by).to_bytes();
    scalar[31] |= 128;
    signature[32..].copy_from_slice(&scalar);
}

#[test]
fn a_forged_pair_that_passes_the_deterministic_check_is_refused() {
    let key = miner(1);
    let mut receipts: Vec<Receipt> = (0..8)
        .map(|seq| {
            ReceiptBody {
                seq,
                ..local_body(&key)
            }
            .sign(&key, &mut rng())
        })
        .collect();
    let public = schnorrkel::PublicKey::from_bytes(&key.public().to_bytes()).unwrap();
    let context = schnorrkel::signing_context(b"substrate");
    let messages: Vec<Transcript> = receipts
        .iter()
        .map(|receipt| context.bytes(&receipt.body.encode()))
        .collect();
    let signatures: Vec<[u8; 64]> = receipts.iter().map(|r| r.miner_signature).collect();
    let weights = deterministic_weights(&public, &signatures, &messages);

    // The check sums weight times s, so these two changes cancel out.
    shift(&mut receipts[2].miner_signature, weights[5]);
    shift(&mut receipts[5].miner_signature, -weights[2]);
    assert_eq!(receipts[2].verify(), Err(ReceiptError::MinerSignature));
    assert_eq!(receipts[5].verify(), Err(ReceiptError::MinerSignature));

    let forged: Vec<schnorrkel::Signature> = receipts
        .iter()
        .map(|receipt| schnorrkel::Signature::from_bytes(&receipt.miner_signature).unwrap())
        .collect();
    let fooled =
        schnorrkel::verify_batch_deterministic(messages, &forged, &[public; 8], true).is_ok();
    assert!(
        fooled,
        "schnorrkel's deterministic check is no longer as facts say: review its use"
    );
    assert_eq!(verify_batch(&receipts, &mut rng()), Err(vec![2, 5]));
}

fn any_body() -> impl Strategy<Value = ReceiptBody> {
    let head = (
        any::<[u8; 4]>(),
        select(Status::ALL.to_vec()),
        any::<bool>(),
        any::<bool>(),
    );
    let hashes = proptest::array::uniform10(any::<[u8; 32]>());
    (head, any::<[u64; 7]>(), hashes).prop_map(|((network, status, gpu, nn), n, h)| ReceiptBody {
        network,
        status,
        gpu,
        nn,
        epoch: n[0],
        seq: n[1],
        start_ms: n[2],
        duration_us: n[3],
        fuel: n[4],
        nn_units: n[5],
        peak_memory: n[6],
        miner: h[0],
        coordinator: h[1],
        task: Hash::from_bytes(h[2]),
        assignment: Hash::from_bytes(h[3]),
        component: Hash::from_bytes(h[4]),
        input: Hash::from_bytes(h[5]),
        output: Hash::from_bytes(h[6]),
        transcript: Hash::from_bytes(h[7]),
        environment: Hash::from_bytes(h[8]),
        prev: Hash::from_bytes(h[9]),
    })
}

proptest! {
    #[test]
    fn bodies_round_trip(body in any_body()) {
        prop_assert_eq!(ReceiptBody::decode(&body.encode()), Ok(body));
    }

    #[test]
    fn a_changed_byte_is_refused_or_reproduced(body in any_body(), at in any::<Index>(), x in 1..=255u8) {
        let receipt = Receipt { body, miner_signature: [1; 64], coordinator_signature: [2; 64] };
        let mut bytes = receipt.to_bytes();
        prop_assert_eq!(Receipt::from_bytes(&bytes), Ok(receipt));
        bytes[at.index(RECEIPT_LEN)] ^= x;
        if let Ok(other) = Receipt::from_bytes(&bytes) {
            prop_assert_eq!(other.to_bytes(), bytes);
        }
    }

    #[test]
    fn no_changed_byte_still_verifies(at in 0..RECEIPT_LEN, x in 1..=255u8) {
        static SIGNED: LazyLock<[u8; RECEIPT_LEN]> =
            LazyLock::new(|| receipt(&miner(1), 0).to_bytes());
        let mut bytes = *SIGNED;
        bytes[at] ^= x;
        // Bit 255 of a signature's scalar is schnorrkel's mark and belongs to the check too.
        let refused = match Receipt::from_bytes(&bytes) {
            Ok(altered) => altered.verify().is_err(),
            Err(_) => true,
        };
        prop_assert!(refused, "byte {} changed by {:#x}", at, x);
    }
}
