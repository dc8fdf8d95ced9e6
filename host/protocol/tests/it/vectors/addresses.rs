//! SS58 addresses.

use adit_protocol::keys::ss58::{self, AddressError};
use adit_protocol::keys::{Keypair, PublicKeyError};
use blake2::{Blake2b512, Digest};
use serde_json::{Value, json};

use super::kind::{Bad, Good, Kind, Refusal, hex, json_file, names, parse, text};
use super::signatures::NEGATIVE;

names! { AddressError, ERRORS:
    AddressError::Malformed => "malformed" null
    AddressError::Checksum => "checksum" null
    AddressError::Prefix { expected, found } => "prefix" {"expected": expected, "found": found}
    AddressError::Key(PublicKeyError::Zero) => "zero-key" null
    AddressError::Key(PublicKeyError::NotAPoint) => "not-a-point" null
}

pub fn kind() -> Kind {
    let alice = Keypair::from_uri("//Alice").expect("it is a URI").public();
    let key = alice.to_bytes();
    let good = |name, prefix: u16| {
        let address = ss58::encode(&alice, prefix);
        let value = json!({ "public": hex(key) });
        Good::new(name, file(&address), value).given(json!({ "prefix": prefix }))
    };
    let bad = |name, address: &str, error, why| {
        Bad::new(name, file(address), error, why).given(json!({ "prefix": 42 }))
    };
    let address = ss58::encode(&alice, 42);
    let mistyped = address.replacen('w', "W", 1);
    let wrong_sum = {
        let mut bytes = bs58::decode(&address).into_vec().expect("it is base 58");
        bytes[34] ^= 1;
        bs58::encode(bytes).into_string()
    };
    let other = |prefix| AddressError::Prefix {
        expected: 42,
        found: prefix,
    };
    Kind {
        name: "addresses",
        extension: "json",
        about: "SS58 addresses, read with the prefix that the reader expects.",
        good: vec![
            good("generic", 42),
            good("prefix-0", 0),
            good("prefix-63", 63),
            good("prefix-64", 64),
            good("prefix-255", 255),
            good("prefix-16383", 16383),
        ],
        bad: vec![
            bad("empty", "", AddressError::Malformed, "there is no text"),
            bad(
                "cut-off",
                &address[..47],
                AddressError::Malformed,
                "the last letter is missing, and so a byte of the 35",
            ),
            bad(
                "not-base-58",
                &address.replacen('w', "0", 1),
                AddressError::Malformed,
                "0 is no digit of base 58",
            ),
            bad(
                "far-too-long",
                &address.repeat(2),
                AddressError::Malformed,
                "it is two addresses",
            ),
            bad(
                "key-of-31-bytes",
                &checked(&[42], &key[..31]),
                AddressError::Malformed,
                "the checksum fits but a byte of the key is missing",
            ),
            bad(
                "key-of-33-bytes",
                &checked(&[42], &[&key[..], &[1]].concat()),
                AddressError::Malformed,
                "the checksum fits but 33 bytes are another kind of key",
            ),
            bad(
                "account-index",
                &checked(&[42], &key[..8]),
                AddressError::Malformed,
                "the checksum fits but it is the number of an account, not a key",
            ),
            bad(
                "reserved-first-byte",
                &checked(&[128], &key),
                AddressError::Malformed,
                "prefixes that begin with a byte above 127 are reserved",
            ),
            // 42 in the form that prefixes from 64 on have.
            bad(
                "long-form-of-42",
                &checked(&[0x4a, 0x80], &key),
                AddressError::Malformed,
                "prefix 42 is written in two bytes, a second form of the same address",
            ),
            bad(
                "typing-error",
                &mistyped,
                AddressError::Checksum,
                "a letter has the wrong case",
            ),
            bad(
                "flipped-checksum",
                &wrong_sum,
                AddressError::Checksum,
                "the last bit is flipped",
            ),
            bad(
                "other-network",
                &ss58::encode(&alice, 0),
                other(0),
                "it is an address of Polkadot, and a generic one was expected",
            ),
            bad(
                "other-long-prefix",
                &ss58::encode(&alice, 1000),
                other(1000),
                "it is an address of another network",
            ),
            bad(
                "zero-key",
                &checked(&[42], &[0; 32]),
                AddressError::Key(PublicKeyError::Zero),
                "the key is zero, under which anyone can sign",
            ),
            bad(
                "key-not-a-point",
                &checked(&[42], &NEGATIVE),
                AddressError::Key(PublicKeyError::NotAPoint),
                "the key is the form of no point",
            ),
        ],
        check,
        errors: &[("AddressError", ERRORS)],
    }
}

fn file(address: &str) -> Vec<u8> {
    json_file(json!({ "address": address }))
}

/// Base 58 of a prefix, any bytes and the checksum that fits them.
fn checked(prefix: &[u8], key: &[u8]) -> String {
    let body = [prefix, key].concat();
    let digest = Blake2b512::new()
        .chain_update(b"SS58PRE")
        .chain_update(&body)
        .finalize();
    bs58::encode([&body[..], &digest[..2]].concat()).into_string()
}

fn check(file: &[u8], given: &Value) -> Result<Value, Refusal> {
    let file = parse(file);
    let address = text(&file, "address");
    let prefix = given["prefix"]
        .as_u64()
        .and_then(|prefix| u16::try_from(prefix).ok());
    let prefix = prefix.expect("a prefix is given");
    let key = ss58::decode(address, prefix)?;
    assert_eq!(ss58::encode(&key, prefix), address);
    Ok(json!({ "public": hex(key.to_bytes()) }))
}
