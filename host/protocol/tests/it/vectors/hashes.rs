//! Hashes as text, and the salted commitments in receipts.

use adit_protocol::hash::{Hash, ParseHashError};
use serde_json::json;

use super::kind::{Bad, Good, Kind, Refusal, array, bytes, hex, json_file, names, parse, text};

names! { ParseHashError, NAME_ERRORS:
    ParseHashError::Prefix => "prefix" null
    ParseHashError::Length { found } => "length" {"found": found}
    ParseHashError::Digit { position } => "digit" {"position": position}
}

pub fn names() -> Kind {
    let hash = Hash::of(b"a blob");
    let name = hash.to_string();
    let file = |text: &str| json_file(json!({ "text": text }));
    let good = |name, hash: Hash| {
        let value = json!({ "bytes": hex(hash.as_bytes()) });
        Good::new(name, file(&hash.to_string()), value)
    };
    let bad = |name, text: &str, error, why| Bad::new(name, file(text), error, why);
    let digits = hash.to_hex();
    Kind {
        name: "hash-names",
        extension: "json",
        about: "BLAKE3 hashes as text: `blake3:` and 64 hexadecimal digits in lower case.",
        good: vec![
            good("of-a-blob", hash),
            good("of-nothing", Hash::of(b"")),
            good("zero", Hash::ZERO),
        ],
        bad: vec![
            bad(
                "no-prefix",
                &digits,
                ParseHashError::Prefix,
                "the prefix is missing",
            ),
            bad(
                "other-prefix",
                &format!("sha256:{digits}"),
                ParseHashError::Prefix,
                "it is the name of another kind of hash",
            ),
            bad(
                "upper-case-prefix",
                &format!("BLAKE3:{digits}"),
                ParseHashError::Prefix,
                "the prefix is in capitals",
            ),
            bad(
                "short",
                &name[..70],
                ParseHashError::Length { found: 63 },
                "a digit is missing",
            ),
            bad(
                "long",
                &format!("{name}0"),
                ParseHashError::Length { found: 65 },
                "there is a digit too many",
            ),
            bad(
                "upper-case-digits",
                &format!("blake3:{}", digits.to_uppercase()),
                ParseHashError::Digit {
                    position: digits.find(|c: char| c.is_alphabetic()).unwrap(),
                },
                "the digits are in capitals",
            ),
            bad(
                "not-a-digit",
                &format!("blake3:g{}", &digits[1..]),
                ParseHashError::Digit { position: 0 },
                "g is no hexadecimal digit",
            ),
        ],
        check: |file, _| {
            let hash: Hash = text(&parse(file), "text").parse()?;
            assert_eq!(hash.to_string(), text(&parse(file), "text"));
            Ok(json!({ "bytes": hex(hash.as_bytes()) }))
        },
        errors: &[("ParseHashError", NAME_ERRORS)],
    }
}

pub fn commitments() -> Kind {
    let (blob, salt) = (b"yes".as_slice(), [9; 32]);
    let hash = Hash::of(blob);
    let file = |blob: &[u8], salt: &[u8; 32], commitment: &Hash| {
        json_file(json!({
            "blob": hex(blob), "salt": hex(salt), "commitment": hex(commitment.as_bytes()),
        }))
    };
    let good = |name, blob: &[u8], salt: &[u8; 32]| {
        let hash = Hash::of(blob);
        let value = json!({ "hash": hash });
        Good::new(name, file(blob, salt, &hash.commit(salt)), value)
    };
    let bad = |name, commitment: Hash, why| {
        Bad::new(
            name,
            file(blob, &salt, &commitment),
            Refusal::new("commitment"),
            why,
        )
    };
    let concatenated = Hash::of(&[&salt[..], hash.as_bytes()].concat());
    let over_blob = Hash::from_bytes(*blake3::keyed_hash(&salt, blob).as_bytes());
    let mut flipped = *hash.commit(&salt).as_bytes();
    flipped[31] ^= 128;
    Kind {
        name: "commitments",
        extension: "json",
        about: "Commitments: BLAKE3 keyed_hash with the task's salt as key over the 32 bytes of a blob's hash.",
        good: vec![
            good("short-blob", blob, &salt),
            good("no-blob", b"", &[255; 32]),
            good("zero-salt-of-a-local-run", blob, &[0; 32]),
            good("long-blob", &[1; 3000], &std::array::from_fn(|i| i as u8)),
        ],
        bad: vec![
            bad(
                "other-salt",
                hash.commit(&[8; 32]),
                "it was made with another salt",
            ),
            bad(
                "other-blob",
                Hash::of(b"no").commit(&salt),
                "it commits to another blob",
            ),
            bad(
                "bare-hash",
                hash,
                "it is the hash itself, which anyone can guess",
            ),
            bad(
                "over-the-blob",
                over_blob,
                "the blob and not its hash is under the key",
            ),
            bad(
                "concatenated",
                concatenated,
                "it is a plain hash of salt and hash, not a keyed one",
            ),
            bad(
                "flipped-bit",
                Hash::from_bytes(flipped),
                "its last bit is flipped",
            ),
        ],
        check: |file, _| {
            let file = parse(file);
            let hash = Hash::of(&bytes(&file, "blob"));
            let claimed = Hash::from_bytes(array(&file, "commitment"));
            if hash.commit(&array(&file, "salt")) == claimed {
                Ok(json!({ "hash": hash }))
            } else {
                Err(Refusal::new("commitment"))
            }
        },
        errors: &[("commitment", &["commitment"])],
    }
}
