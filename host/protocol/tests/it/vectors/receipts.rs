//! Receipts and their countersignatures.

use adit_protocol::hash::Hash;
use adit_protocol::keys::{Keypair, PublicKeyError};
use adit_protocol::receipt::{
    BODY_LEN, CONTEXT, CoordinatorCheck, RECEIPT_LEN, Receipt, ReceiptBody, ReceiptError,
};
use adit_protocol::status::{Status, UnknownStatus};
use serde_json::{Value, json};

use super::kind::{Bad, Good, Kind, Refusal, hex, names};
use super::signatures::{IDENTITY_FORGERY, NEGATIVE, flipped, not_reduced, unmarked};
use crate::fixtures::{body, coordinator, local_body, miner, rng};

names! { ReceiptError, ERRORS:
    ReceiptError::Length { expected, found } => "length" {"expected": expected, "found": found}
    ReceiptError::Magic => "magic" null
    ReceiptError::Version(version) => "version" {"version": version}
    ReceiptError::Status(UnknownStatus(status)) => "status" {"status": status}
    ReceiptError::Flags(flags) => "flags" {"flags": flags}
    ReceiptError::Key { role, source: PublicKeyError::Zero } => "zero-key" {"role": role}
    ReceiptError::Key { role, source: PublicKeyError::NotAPoint } => "not-a-point" {"role": role}
    ReceiptError::MinerSignature => "miner-signature" null
    ReceiptError::CoordinatorSignature => "coordinator-signature" null
    ReceiptError::NotCountersigned => "not-countersigned" null
    ReceiptError::NotLocal { field } => "not-local" {"field": field}
}

pub fn receipts() -> Kind {
    let key = miner(1);
    let sample = both(&body(&key, 6));
    let mut good: Vec<Good> = Status::ALL
        .into_iter()
        .map(|status| {
            let body = ReceiptBody {
                status,
                ..body(&key, 6)
            };
            good(&format!("status-{status}"), both(&body))
        })
        .collect();
    let with = |gpu, nn| {
        both(&ReceiptBody {
            gpu,
            nn,
            ..body(&key, 7)
        })
    };
    good.extend([
        self::good("neither-gpu-nor-nn", with(false, false)),
        self::good("gpu-only", with(true, false)),
        self::good("nn-only", with(false, true)),
        self::good("local", local_body(&key).sign(&key, &mut rng())),
        self::good(
            "first-of-a-miner",
            both(&ReceiptBody {
                prev: Hash::ZERO,
                ..body(&key, 0)
            }),
        ),
        self::good("largest-numbers", both(&largest(&key))),
        // One body, other signatures: another file with the same id.
        self::good("status-ok-signed-again", {
            let mut again = body(&key, 6).sign(&key, &mut other_rng());
            again.countersign(&coordinator(), &mut other_rng());
            again
        }),
    ]);
    let mut bad = layout_failures(&sample);
    bad.extend(miner_failures(&key, &sample));
    bad.extend(local_failures(&key));
    Kind {
        name: "receipts",
        extension: "bin",
        about: "Receipts of 520 bytes: layout, the miner's signature, and what a local run may not have.",
        good,
        bad,
        check,
        errors: &[("ReceiptError", ERRORS)],
    }
}

pub fn countersignatures() -> Kind {
    let key = miner(1);
    let sample = both(&body(&key, 6));
    let bytes = sample.to_bytes();
    let signature = sample.coordinator_signature;
    let refused = |name, signature, why| {
        let receipt = Receipt {
            coordinator_signature: signature,
            ..sample.clone()
        };
        Bad::new(
            name,
            receipt.to_bytes(),
            ReceiptError::CoordinatorSignature,
            why,
        )
    };
    let sign = |message: &[u8]| coordinator().sign(CONTEXT, message, &mut rng());
    let full = [b"aditcnsg", &bytes[..456]].concat();
    let again = body(&key, 6).sign(&key, &mut other_rng());
    let zero = |source| ReceiptError::Key {
        role: "coordinator",
        source,
    };
    let keyed = |name, coordinator, source, why| {
        let mut receipt = ReceiptBody {
            coordinator,
            ..body(&key, 6)
        }
        .sign(&key, &mut rng());
        receipt.coordinator_signature = IDENTITY_FORGERY;
        Bad::new(name, receipt.to_bytes(), zero(source), why)
    };
    let bad = vec![
        refused(
            "flipped-point",
            flipped(signature, 0),
            "a bit of the half R is flipped",
        ),
        refused(
            "flipped-scalar",
            flipped(signature, 32),
            "a bit of the half s is flipped",
        ),
        refused(
            "scalar-not-reduced",
            not_reduced(signature),
            "s is not below the order of the group",
        ),
        refused(
            "unmarked",
            unmarked(signature),
            "the bit that marks sr25519 is not set",
        ),
        refused(
            "other-key",
            key.sign(CONTEXT, &full, &mut rng()),
            "the miner signed it in place of the coordinator",
        ),
        refused(
            "other-context",
            coordinator().sign(b"adit-receipt-v1", &full, &mut rng()),
            "it was signed under the context `adit-receipt-v1`",
        ),
        refused(
            "without-prefix",
            sign(&bytes[..456]),
            "`aditcnsg` was not signed before the 456 bytes",
        ),
        refused(
            "body-only",
            sign(&[b"aditcnsg", &bytes[..392]].concat()),
            "the miner's signature was not signed along with the body",
        ),
        refused(
            "id-only",
            sign(sample.id().as_bytes()),
            "the id was signed in place of the bytes",
        ),
        refused(
            "of-another-receipt",
            both(&body(&key, 7)).coordinator_signature,
            "the countersignature is that of the miner's next receipt",
        ),
        Bad::new(
            "of-another-miner-signature",
            Receipt {
                miner_signature: again.miner_signature,
                ..sample.clone()
            }
            .to_bytes(),
            ReceiptError::CoordinatorSignature,
            "the miner's signature was replaced by another valid one over the same body",
        ),
        Bad::new(
            "missing",
            Receipt {
                coordinator_signature: [0; 64],
                ..sample.clone()
            }
            .to_bytes(),
            ReceiptError::NotCountersigned,
            "the receipt is of a network and the coordinator has not signed it",
        ),
        keyed(
            "zero-key",
            [0; 32],
            PublicKeyError::Zero,
            "the coordinator's key is zero, under which anyone can sign",
        ),
        keyed(
            "key-not-a-point",
            NEGATIVE,
            PublicKeyError::NotAPoint,
            "the coordinator's key is the form of no point",
        ),
    ];
    let value = |receipt: &Receipt| {
        let bytes = receipt.to_bytes();
        json!({
            "message": hex([b"aditcnsg", &bytes[..456]].concat()),
            "coordinator": hex(receipt.body.coordinator),
            "signature": hex(receipt.coordinator_signature),
        })
    };
    let other = both(&body(&miner(2), 1));
    Kind {
        name: "countersignatures",
        extension: "bin",
        about: "Receipts whose coordinator's signature is what matters: it is over `aditcnsg` and the first 456 bytes.",
        good: vec![
            Good::new("one", bytes, value(&sample)),
            Good::new("another-miner", other.to_bytes(), value(&other)),
        ],
        bad,
        check: |file, _| {
            let receipt = Receipt::from_bytes(file)?;
            receipt.verify()?;
            Ok(json!({
                "message": hex([b"aditcnsg", &file[..456]].concat()),
                "coordinator": hex(receipt.body.coordinator),
                "signature": hex(receipt.coordinator_signature),
            }))
        },
        errors: &[("ReceiptError", ERRORS)],
    }
}

/// Another generator than [`rng`], and as fixed.
fn other_rng() -> rand_chacha::ChaCha20Rng {
    rand_chacha::rand_core::SeedableRng::from_seed([43; 32])
}

fn both(body: &ReceiptBody) -> Receipt {
    let miner = miner(if body.miner == miner(1).public().to_bytes() {
        1
    } else {
        2
    });
    let mut receipt = body.sign(&miner, &mut rng());
    receipt.countersign(&coordinator(), &mut rng());
    receipt
}

fn largest(key: &Keypair) -> ReceiptBody {
    ReceiptBody {
        network: [255; 4],
        epoch: u64::MAX,
        start_ms: u64::MAX,
        duration_us: u64::MAX,
        fuel: u64::MAX,
        nn_units: u64::MAX,
        peak_memory: u64::MAX,
        ..body(key, u64::MAX)
    }
}

fn value(receipt: &Receipt) -> Value {
    let checked = if receipt.is_local() {
        "not-performed"
    } else {
        "checked"
    };
    json!({ "id": receipt.id(), "receipt": receipt, "countersignature": checked })
}

fn good(name: &str, receipt: Receipt) -> Good {
    Good::new(name, receipt.to_bytes(), value(&receipt))
}

fn check(file: &[u8], _: &Value) -> Result<Value, Refusal> {
    let receipt = Receipt::from_bytes(file)?;
    let verified = receipt.verify()?;
    assert_eq!(receipt.to_bytes(), file);
    assert_eq!(
        receipt.is_local(),
        verified.coordinator == CoordinatorCheck::NotPerformed
    );
    Ok(value(&receipt))
}

fn layout_failures(sample: &Receipt) -> Vec<Bad> {
    let bytes = sample.to_bytes();
    let length = |name, bytes: &[u8], why| {
        let error = ReceiptError::Length {
            expected: RECEIPT_LEN,
            found: bytes.len(),
        };
        Bad::new(name, bytes, error, why)
    };
    let with = |name, at: usize, patch: &[u8], error: ReceiptError, why| {
        let mut bytes = bytes;
        bytes[at..at + patch.len()].copy_from_slice(patch);
        Bad::new(name, bytes, error, why)
    };
    let status = |byte| ReceiptError::Status(UnknownStatus(byte));
    vec![
        length("empty", &[], "there are no bytes at all"),
        length(
            "truncated",
            &bytes[..RECEIPT_LEN - 1],
            "the last byte is missing",
        ),
        length(
            "trailing-byte",
            &[&bytes[..], &[0]].concat(),
            "a byte follows the 520",
        ),
        length(
            "body-only",
            &bytes[..BODY_LEN],
            "both signatures are missing",
        ),
        with(
            "bad-magic",
            0,
            b"A",
            ReceiptError::Magic,
            "the first letter is a capital",
        ),
        with(
            "magic-of-a-countersignature",
            0,
            b"aditcnsg",
            ReceiptError::Magic,
            "it begins as the message of a countersignature does",
        ),
        with(
            "version-0",
            12,
            &[0, 0],
            ReceiptError::Version(0),
            "there is no version 0",
        ),
        with(
            "version-2",
            12,
            &[2, 0],
            ReceiptError::Version(2),
            "version 2 is not known",
        ),
        with(
            "version-big-endian",
            12,
            &[0, 1],
            ReceiptError::Version(256),
            "version 1 is written with the wrong byte first",
        ),
        with(
            "status-6",
            14,
            &[6],
            status(6),
            "no attestable status has the number 6",
        ),
        with(
            "status-15",
            14,
            &[15],
            status(15),
            "no status has the number 15",
        ),
        with(
            "status-22",
            14,
            &[22],
            status(22),
            "22 is one above the last status",
        ),
        with(
            "status-255",
            14,
            &[255],
            status(255),
            "no status has the number 255",
        ),
        with(
            "flag-bit-2",
            15,
            &[0b111],
            ReceiptError::Flags(0b111),
            "bit 2 of the flags is reserved",
        ),
        with(
            "flag-bit-7",
            15,
            &[0b1000_0011],
            ReceiptError::Flags(0b1000_0011),
            "bit 7 of the flags is reserved",
        ),
    ]
}

fn miner_failures(key: &Keypair, sample: &Receipt) -> Vec<Bad> {
    let network = |mut receipt: Receipt| {
        // Countersigned, so that the miner's part is the one failure.
        receipt.countersign(&coordinator(), &mut rng());
        receipt.to_bytes()
    };
    let signed = |name, miner_signature, why| {
        let receipt = Receipt {
            miner_signature,
            ..sample.clone()
        };
        Bad::new(name, network(receipt), ReceiptError::MinerSignature, why)
    };
    let altered = |name, change: fn(&mut ReceiptBody), why| {
        let mut receipt = sample.clone();
        change(&mut receipt.body);
        Bad::new(name, network(receipt), ReceiptError::MinerSignature, why)
    };
    let keyed = |name, miner, source, why| {
        let mut receipt = Receipt {
            miner_signature: IDENTITY_FORGERY,
            ..sample.clone()
        };
        receipt.body.miner = miner;
        let error = ReceiptError::Key {
            role: "miner",
            source,
        };
        Bad::new(name, network(receipt), error, why)
    };
    let bytes = sample.body.encode();
    let signature = sample.miner_signature;
    vec![
        signed(
            "miner-flipped-point",
            flipped(signature, 31),
            "a bit of the half R is flipped",
        ),
        signed(
            "miner-flipped-scalar",
            flipped(signature, 62),
            "a bit of the half s is flipped",
        ),
        signed(
            "miner-scalar-not-reduced",
            not_reduced(signature),
            "s is not below the order of the group",
        ),
        signed(
            "miner-unmarked",
            unmarked(signature),
            "the bit that marks sr25519 is not set",
        ),
        signed(
            "miner-signature-missing",
            [0; 64],
            "there are zeros in place of the miner's signature",
        ),
        signed(
            "miner-other-key",
            miner(2).sign(CONTEXT, &bytes, &mut rng()),
            "another miner signed it",
        ),
        signed(
            "miner-other-context",
            key.sign(b"adit-receipt-v1", &bytes, &mut rng()),
            "it was signed under the context `adit-receipt-v1`",
        ),
        signed(
            "miner-signed-the-id",
            key.sign(CONTEXT, sample.id().as_bytes(), &mut rng()),
            "the id was signed in place of the 392 bytes",
        ),
        altered(
            "fuel-altered",
            |body| body.fuel += 1,
            "the fuel was altered after signing",
        ),
        altered(
            "status-altered",
            |body| body.status = Status::Trap,
            "the status was altered after signing",
        ),
        altered(
            "output-altered",
            |body| body.output = Hash::of(b"other"),
            "the output was altered after signing",
        ),
        altered(
            "network-altered",
            |body| body.network[0] ^= 1,
            "the receipt was moved to another network",
        ),
        keyed(
            "miner-key-zero",
            [0; 32],
            PublicKeyError::Zero,
            "the miner's key is zero, under which anyone can sign, as here",
        ),
        keyed(
            "miner-key-not-a-point",
            [255; 32],
            PublicKeyError::NotAPoint,
            "the miner's key is above the field's order",
        ),
        keyed(
            "miner-key-negative",
            NEGATIVE,
            PublicKeyError::NotAPoint,
            "the miner's key is odd, which Ristretto does not allow",
        ),
    ]
}

fn local_failures(key: &Keypair) -> Vec<Bad> {
    let refused = |name, receipt: Receipt, field, why| {
        Bad::new(
            name,
            receipt.to_bytes(),
            ReceiptError::NotLocal { field },
            why,
        )
    };
    let with = |body: ReceiptBody| body.sign(key, &mut rng());
    let mut countersigned = with(local_body(key));
    countersigned.countersign(&coordinator(), &mut rng());
    vec![
        refused(
            "local-with-coordinator",
            with(ReceiptBody {
                coordinator: coordinator().public().to_bytes(),
                ..local_body(key)
            }),
            "coordinator",
            "the network is zero, so there is no coordinator",
        ),
        refused(
            "local-with-assignment",
            with(ReceiptBody {
                assignment: Hash::of(b"assignment"),
                ..local_body(key)
            }),
            "assignment",
            "the network is zero, so nothing was assigned",
        ),
        refused(
            "local-with-countersignature",
            countersigned,
            "countersignature",
            "the network is zero, so nobody can have countersigned",
        ),
        Bad::new(
            "local-other-key",
            local_body(key).sign(&miner(2), &mut rng()).to_bytes(),
            ReceiptError::MinerSignature,
            "another key than the receipt names signed it",
        ),
    ]
}
