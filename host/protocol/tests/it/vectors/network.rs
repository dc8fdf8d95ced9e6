//! Networks: who takes part, who is drawn, what is signed, sent and logged, and what an auditor
//! finds in a log.

mod draws;
mod entries;
mod leases;
mod logs;
mod members;
mod messages;
mod records;
mod rosters;

use adit_protocol::hash::Hash;
use adit_protocol::keys::{Keypair, PublicKeyError};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::signed::{Signable, Signed, SignedError};
use serde::Serialize;
use serde_json::{Value, json};

use super::documents::{REASONS, kind, malformed, mistyped, replaced};
use super::kind::{Bad, Good, Kind, Refusal, names};
use super::signatures::{IDENTITY_FORGERY, NEGATIVE};
use crate::fixtures::{miner, rng};

/// 10^12 of the units that amounts are in.
const TOKEN: u128 = 1_000_000_000_000;

names! { SignedError, SIGNED_ERRORS:
    // Which rule of the document's own is broken, by the name that its kind has for it.
    SignedError::Body(error) => "body" {"rule": Refusal::from(error).error}
    SignedError::Key { source: PublicKeyError::Zero, .. } => "zero-key" null
    SignedError::Key { source: PublicKeyError::NotAPoint, .. } => "not-a-point" null
    SignedError::Signature { .. } => "signature" null
}

pub fn kinds() -> Vec<Kind> {
    let mut kinds = vec![
        members::genesis(),
        members::memberships(),
        members::network_files(),
        rosters::rosters(),
        rosters::entries(),
        rosters::weights(),
        records::localities(),
        records::records(),
        draws::draws(),
        leases::assignments(),
        leases::acceptances(),
        leases::active_untils(),
        entries::kind(),
        logs::kind(),
    ];
    kinds.extend(messages::kinds());
    kinds
}

fn authority() -> Keypair {
    Keypair::from_seed([201; 32])
}

fn key(keypair: &Keypair) -> [u8; 32] {
    keypair.public().to_bytes()
}

/// The genesis document of the network that most vectors are of.
fn sample_genesis() -> Genesis {
    Genesis {
        name: "adit-vectors".into(),
        created_ms: 1_700_000_000_000,
        authority: key(&authority()),
        epoch_ms: 3_600_000,
        miner_stake_min: 20_000 * TOKEN,
        coordinator_stake_min: 200_000 * TOKEN,
        saturation: 50,
        development: true,
        ledger: None,
    }
}

/// A document that somebody signs, and by whom.
struct Signing<T> {
    name: &'static str,
    about: &'static str,
    /// Who signed: the key in the document.
    signer: fn(&T) -> [u8; 32],
    /// The position of that key among the document's fields.
    at: usize,
}

/// The signed form of documents, with the check of the signature.
fn signed<T: Signable + Serialize>(
    signing: &Signing<T>,
    keypair: &Keypair,
    good: Vec<(&str, T)>,
    broken: Vec<Bad>,
    check: fn(&[u8], &Value) -> Result<Value, Refusal>,
) -> Kind {
    let plain = &good[0].1;
    let sign = |document: &T| document.sign(keypair, &mut rng());
    let sample = sign(plain);
    let mut bad = altered(plain, keypair, signing.at);
    bad.extend(broken);
    let list = good.iter().map(|(name, document)| {
        let signed = sign(document);
        assert_eq!((signing.signer)(document), key(keypair), "{name}");
        Good::new(name, signed_bytes(&signed), signed_value(&signed))
    });
    let good: Vec<Good> = list.collect();
    let mut kind = kind(signing.name, signing.about, vec![("plain", sample)], bad);
    // What the two fields are is asked before any other field is looked at.
    for bad in &mut kind.bad {
        if bad.name == "unknown-key" {
            bad.refusal = malformed().into();
        }
    }
    kind.good = good;
    kind.check = check;
    kind.errors = &[("DecodeError", REASONS), ("SignedError", SIGNED_ERRORS)];
    kind
}

fn signed_bytes<T: Signable>(signed: &Signed<T>) -> Vec<u8> {
    use adit_protocol::cbor::Document as _;
    signed.to_cbor()
}

fn signed_value<T: Signable + Serialize>(signed: &Signed<T>) -> Value {
    json!({ "hash": signed.body_hash(), "document": signed })
}

/// Reads a signed document and checks who signed it.
fn check_signed<T: Signable + Serialize>(
    file: &[u8],
    signer: fn(&T) -> [u8; 32],
) -> Result<Value, Refusal> {
    use adit_protocol::cbor::Document as _;
    let signed = Signed::<T>::from_cbor(file)?;
    assert_eq!(signed.to_cbor(), file);
    signed.verify(signer)?;
    Ok(signed_value(&signed))
}

/// The signed form of any body and signature, whatever they are.
fn assembled(body: &[u8], signature: &[u8]) -> Vec<u8> {
    let bytes = |bytes: &[u8]| {
        let mut head = minicbor::Encoder::new(Vec::new());
        head.bytes(bytes).expect("writing to a vector");
        head.into_writer()
    };
    [&[0xa2, 0][..], &bytes(body), &[1], &bytes(signature)].concat()
}

/// What every signed document must be guarded against. The key at position `at` is the signer's.
fn altered<T: Signable>(plain: &T, keypair: &Keypair, at: usize) -> Vec<Bad> {
    let body = plain.to_cbor();
    let sample = plain.sign(keypair, &mut rng());
    let own = keypair.sign(T::CONTEXT, &body, &mut rng());
    let refused = |name, signature: [u8; 64], why| {
        let error = SignedError::Signature { document: T::NAME };
        Bad::new(name, assembled(&body, &signature), error, why)
    };
    let of_key = |name, key: [u8; 32], source, why| {
        let error = SignedError::Key {
            document: T::NAME,
            source,
        };
        let body = replaced(plain, &[at], &[&[0x58, 32][..], &key].concat());
        Bad::new(name, assembled(&body, &IDENTITY_FORGERY), error, why)
    };
    let mut flipped = own;
    flipped[3] ^= 1;
    let mut unmarked = own;
    unmarked[63] &= 0x7f;
    let longer = [&body[..], &[0]].concat();
    let signature = keypair.sign(T::CONTEXT, &longer, &mut rng());
    let end = adit_protocol::cbor::DecodeError {
        document: T::NAME,
        reason: adit_protocol::cbor::Reason::Trailing { offset: body.len() },
    };
    vec![
        refused(
            "flipped-bit-of-the-signature",
            flipped,
            "a bit of the signature is flipped",
        ),
        refused(
            "unmarked",
            unmarked,
            "the highest bit of the signature, which marks sr25519, is not set",
        ),
        refused(
            "other-key",
            miner(99).sign(T::CONTEXT, &body, &mut rng()),
            "another key signed it",
        ),
        refused(
            "context-of-stock-tools",
            keypair.sign(b"substrate", &body, &mut rng()),
            "it was signed under the context `substrate`",
        ),
        refused(
            "context-of-another-message",
            keypair.sign(b"adit-hardware-v1", &body, &mut rng()),
            "it was signed under the context of hardware records",
        ),
        of_key(
            "key-of-zeros",
            [0; 32],
            PublicKeyError::Zero,
            "the signer's key is the identity, under which anyone can sign",
        ),
        of_key(
            "key-not-a-point",
            NEGATIVE,
            PublicKeyError::NotAPoint,
            "the signer's key is odd, which Ristretto does not allow as the form of a point",
        ),
        Bad::new(
            "body-with-trailing-byte",
            assembled(&longer, &signature),
            SignedError::Body(end),
            "a byte follows the document that was signed",
        ),
        mistyped(
            "signature-of-63-bytes",
            &sample,
            &[1],
            &[&[0x58, 63][..], &[3; 63]].concat(),
            "a byte of the signature is missing",
        ),
        mistyped(
            "body-not-in-bytes",
            &sample,
            &[0],
            &body,
            "the body is a map of its own, and not its bytes",
        ),
    ]
}

/// An account, which no vector asks a signature of.
fn account(number: u8) -> [u8; 32] {
    *Hash::of(&[number]).as_bytes()
}
