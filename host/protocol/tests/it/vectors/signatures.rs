//! Signatures under the context `substrate`, by themselves, and the ways to alter one.

use adit_protocol::keys::{BadSignature, Keypair, PublicKey, PublicKeyError};
use serde_json::{Value, json};

use super::kind::{Bad, Good, Kind, Refusal, array, bytes, hex, json_file, names, parse};
use crate::fixtures::{miner, rng};

const CONTEXT: &[u8] = b"substrate";

names! { PublicKeyError, KEY_ERRORS:
    PublicKeyError::Zero => "zero-key" null
    PublicKeyError::NotAPoint => "not-a-point" null
}
names! { BadSignature, SIGNATURE_ERRORS: BadSignature => "signature" null }

pub fn kind() -> Kind {
    let key = miner(1);
    let message = b"one message of many".as_slice();
    let signature = key.sign(CONTEXT, message, &mut rng());
    let long = [7; 392];
    let own =
        |name, message: &[u8]| good(name, &key, message, key.sign(CONTEXT, message, &mut rng()));
    let other = |signature| file(&key.public().to_bytes(), message, signature);
    let refused = |name, signature, why| Bad::new(name, other(signature), BadSignature, why);
    let bad = vec![
        refused(
            "flipped-point",
            flipped(signature, 3),
            "a bit of the half R is flipped",
        ),
        refused(
            "flipped-scalar",
            flipped(signature, 40),
            "a bit of the half s is flipped",
        ),
        refused(
            "scalar-not-reduced",
            not_reduced(signature),
            "s is written as s plus the order of the group, which would be a second form of it",
        ),
        refused(
            "unmarked",
            unmarked(signature),
            "the highest bit of s, which marks sr25519, is not set",
        ),
        refused("zeros", [0; 64], "there are zeros in place of a signature"),
        refused(
            "other-key",
            miner(2).sign(CONTEXT, message, &mut rng()),
            "another key signed it",
        ),
        refused(
            "other-context",
            key.sign(b"adit-assignment-v1", message, &mut rng()),
            "it was signed under the context `adit-assignment-v1`",
        ),
        refused(
            "other-message",
            key.sign(CONTEXT, b"one message of mamy", &mut rng()),
            "the signature is that of another message",
        ),
        Bad::new(
            "zero-key",
            file(&[0; 32], message, IDENTITY_FORGERY),
            PublicKeyError::Zero,
            "the key is the identity, under which anyone can sign: this signature was made without a secret, and sr25519 libraries accept it",
        ),
        Bad::new(
            "key-not-a-point",
            file(&[255; 32], message, signature),
            PublicKeyError::NotAPoint,
            "the key is above the field's order and so no point",
        ),
        Bad::new(
            "key-negative",
            file(&NEGATIVE, message, signature),
            PublicKeyError::NotAPoint,
            "the key is odd, which Ristretto does not allow as the form of a point",
        ),
    ];
    Kind {
        name: "signatures",
        extension: "json",
        about: "sr25519 signatures under the signing context `substrate`, the only one of stock tools.",
        good: vec![
            good("plain", &key, message, signature),
            own("empty-message", b""),
            own("long-message", &long),
            own("bytes-in-a-wallets-form", b"<Bytes>hello</Bytes>"),
        ],
        bad,
        check,
        errors: &[
            ("BadSignature", SIGNATURE_ERRORS),
            ("PublicKeyError", KEY_ERRORS),
        ],
    }
}

/// What verifies under a key of zeros for every message: R the identity, s zero, and the mark.
pub const IDENTITY_FORGERY: [u8; 64] = {
    let mut signature = [0; 64];
    signature[63] = 128;
    signature
};

/// A field element that is odd ("negative") and so the form of no point.
pub const NEGATIVE: [u8; 32] = {
    let mut key = [0; 32];
    key[0] = 1;
    key
};

/// The signature with one bit of byte `at` flipped.
pub fn flipped(mut signature: [u8; 64], at: usize) -> [u8; 64] {
    signature[at] ^= 1;
    signature
}

/// The signature without schnorrkel's mark.
pub fn unmarked(mut signature: [u8; 64]) -> [u8; 64] {
    signature[63] &= 127;
    signature
}

/// The signature with s + l in place of s, where l is the order of the group: the same number
/// modulo l, and still below 2^255.
pub fn not_reduced(mut signature: [u8; 64]) -> [u8; 64] {
    // l = 2^252 + 27742317777372353535851937790883648493, RFC 8032, 5.1.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    signature[63] &= 127;
    let mut carry = 0u16;
    for (digit, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*digit) + u16::from(order) + carry;
        (*digit, carry) = (sum as u8, sum >> 8);
    }
    signature[63] |= 128;
    signature
}

fn file(public: &[u8; 32], message: &[u8], signature: [u8; 64]) -> Vec<u8> {
    json_file(json!({
        "public": hex(public), "message": hex(message), "signature": hex(signature),
    }))
}

fn good(name: &str, key: &Keypair, message: &[u8], signature: [u8; 64]) -> Good {
    let public = key.public().to_bytes();
    let value = json!({ "verifies": true });
    Good::new(name, file(&public, message, signature), value)
}

fn check(file: &[u8], _: &Value) -> Result<Value, Refusal> {
    let file = parse(file);
    let key = PublicKey::from_bytes(&array(&file, "public"))?;
    key.verify(
        CONTEXT,
        &bytes(&file, "message"),
        &array(&file, "signature"),
    )?;
    Ok(json!({ "verifies": true }))
}
