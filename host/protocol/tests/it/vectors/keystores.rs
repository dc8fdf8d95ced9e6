//! Keystore files as polkadot-js writes them.

use adit_protocol::keys::keystore::{Keystore, KeystoreError, MAX_FILE, ScryptCost};
use adit_protocol::keys::{Keypair, ss58};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use serde_json::{Value, json};

use super::kind::{Bad, Good, Kind, Refusal, hex, names, parse};
use crate::fixtures::rng;
use crate::keys::FIXTURE;

names! { KeystoreError, ERRORS:
    KeystoreError::TooLong(found) => "too-long" {"found": found}
    // What follows is the message of a JSON library and nothing that others could compare.
    KeystoreError::Json(_) => "json" null
    KeystoreError::Unsupported { what: _ } => "unsupported" null
    KeystoreError::Malformed => "malformed" null
    KeystoreError::Cost => "cost" null
    KeystoreError::Password => "password" null
    KeystoreError::EmptyPassword => "empty-password" null
    KeystoreError::Mismatch { what } => "mismatch" {"what": what}
}

const PASSWORD: &str = "correct horse";

pub fn kind() -> Kind {
    let key = Keypair::from_seed([6; 32]);
    let ours = |password: &str, cost| {
        let store = Keystore::encrypt(&key, password, "vector", cost, &mut rng());
        store.expect("there is a password").to_json()
    };
    let light = ours(PASSWORD, ScryptCost::LIGHT);
    let good = |name, json: &str, password: &str, key: &Keypair| {
        Good::new(name, json, public(key)).given(json!({ "password": password }))
    };
    let theirs = Keypair::from_uri("//Alice//keystore/fixture").expect("it is a URI");
    Kind {
        name: "keystores",
        extension: "json",
        about: "Encrypted secret keys in the JSON of polkadot-js, version 3. Every password and secret here is public.",
        good: vec![
            good(
                "standard-cost",
                &ours(PASSWORD, ScryptCost::STANDARD),
                PASSWORD,
                &key,
            ),
            good("light-cost", &light, PASSWORD, &key),
            good(
                "password-not-ascii",
                &ours("pässword", ScryptCost::LIGHT),
                "pässword",
                &key,
            ),
            // Written by @polkadot/keyring: `addFromUri(URI, {name}).toJson(PASSWORD)`.
            good("made-by-polkadot-js", FIXTURE, "correct horse", &theirs),
        ],
        bad: bad(&key, &light),
        check,
        errors: &[("KeystoreError", ERRORS)],
    }
}

fn bad(key: &Keypair, light: &str) -> Vec<Bad> {
    let refused = |name, json: &str, error: KeystoreError, why| {
        Bad::new(name, json, error, why).given(json!({ "password": PASSWORD }))
    };
    // The JSON with one text in place of another.
    let replaced = |name, from: &str, to: &str, error, why| {
        let changed = light.replacen(from, to, 1);
        assert_ne!(changed, light, "{name}");
        refused(name, &changed, error, why)
    };
    let unsupported = || KeystoreError::Unsupported {
        what: String::new(),
    };
    let json = || KeystoreError::Json(String::new());
    let mismatch = |what| KeystoreError::Mismatch { what };
    let sealed = Sealed::open(light);
    let encoded = |name, change: &dyn Fn(&mut Vec<u8>), error, why| {
        let mut bytes = sealed.encoded.clone();
        change(&mut bytes);
        refused(name, &sealed.json(&bytes), error, why)
    };
    let plain = |name, change: &dyn Fn(&mut Vec<u8>), error, why| {
        let mut plain = sealed.plain.clone();
        change(&mut plain);
        refused(name, &sealed.json(&sealed.seal(&plain)), error, why)
    };
    let other = Keypair::from_seed([7; 32]).public();
    vec![
        refused("not-json", "keystore", json(), "the file is not JSON"),
        refused(
            "no-fields",
            "{}",
            json(),
            "the file is JSON without the fields of a keystore",
        ),
        refused(
            "too-long",
            &format!("{light}{}", " ".repeat(MAX_FILE + 1 - light.len())),
            KeystoreError::TooLong(MAX_FILE + 1),
            "65537 bytes are one too many",
        ),
        replaced(
            "version-2",
            r#""3""#,
            r#""2""#,
            unsupported(),
            "version 2 is not read",
        ),
        replaced(
            "ed25519",
            "sr25519",
            "ed25519",
            unsupported(),
            "the key is of another kind",
        ),
        replaced(
            "not-encrypted",
            "xsalsa20-poly1305",
            "none",
            unsupported(),
            "it says that the secret is in the clear",
        ),
        replaced(
            "not-base-64",
            r#""encoded":""#,
            r#""encoded":"!"#,
            KeystoreError::Malformed,
            "! is no digit of base 64",
        ),
        encoded(
            "box-cut-off",
            &|bytes| bytes.truncate(bytes.len() - 3),
            KeystoreError::Malformed,
            "the last three bytes are missing",
        ),
        encoded(
            "box-too-long",
            &|bytes| bytes.extend([0; 3]),
            KeystoreError::Malformed,
            "there are three bytes too many",
        ),
        // N is the word at 32.
        encoded(
            "cost-of-32-gib",
            &|bytes| bytes[32..36].copy_from_slice(&(1u32 << 25).to_le_bytes()),
            KeystoreError::Cost,
            "N is 2^25, which would take all memory",
        ),
        encoded(
            "cost-of-nothing",
            &|bytes| bytes[32..36].copy_from_slice(&2u32.to_le_bytes()),
            KeystoreError::Cost,
            "N is 2, which would protect nothing",
        ),
        encoded(
            "cost-other-r",
            &|bytes| bytes[40..44].copy_from_slice(&16u32.to_le_bytes()),
            KeystoreError::Cost,
            "r is 16, which no wallet uses",
        ),
        encoded(
            "salt-flipped",
            &|bytes| bytes[0] ^= 1,
            KeystoreError::Password,
            "a bit of the salt is flipped, so the password gives another key",
        ),
        encoded(
            "nonce-flipped",
            &|bytes| bytes[44] ^= 1,
            KeystoreError::Password,
            "a bit of the nonce is flipped",
        ),
        encoded(
            "box-flipped",
            &|bytes| bytes[150] ^= 1,
            KeystoreError::Password,
            "a bit of the box is flipped",
        ),
        refused(
            "wrong-password",
            light,
            KeystoreError::Password,
            "the password is another one",
        )
        .given(json!({ "password": "correct house" })),
        refused(
            "empty-password",
            light,
            KeystoreError::EmptyPassword,
            "a key is stored under a password only",
        )
        .given(json!({ "password": "" })),
        replaced(
            "other-address",
            &ss58::encode(&key.public(), 42),
            &ss58::encode(&other, 42),
            mismatch("the address in the file"),
            "the file claims the address of another key",
        ),
        replaced(
            "no-address",
            &ss58::encode(&key.public(), 42),
            "nobody",
            mismatch("any address in the file"),
            "the file claims an address that is none",
        ),
        plain(
            "other-header",
            &|plain| plain[0] ^= 1,
            KeystoreError::Malformed,
            "what was encrypted does not begin as PKCS8",
        ),
        plain(
            "other-divider",
            &|plain| plain[80] ^= 1,
            KeystoreError::Malformed,
            "the bytes between secret and public key are others",
        ),
        plain(
            "other-public-key",
            &|plain| plain[85..].copy_from_slice(&other.to_bytes()),
            mismatch("its own public key"),
            "the public key beside the secret is that of another",
        ),
        plain(
            "zero-secret",
            &|plain| {
                plain[16..48].fill(0);
                plain[85..].fill(0);
            },
            KeystoreError::Malformed,
            "the secret is zero",
        ),
    ]
}

/// A keystore of light cost taken apart, to put it together wrongly.
struct Sealed {
    file: Value,
    encoded: Vec<u8>,
    plain: Vec<u8>,
    cipher: XSalsa20Poly1305,
}

impl Sealed {
    fn open(json: &str) -> Sealed {
        let file = parse(json.as_bytes());
        let encoded = STANDARD.decode(file["encoded"].as_str().unwrap()).unwrap();
        let cost = scrypt::Params::new(15, 8, 1, 32).unwrap();
        let mut key = [0; 32];
        scrypt::scrypt(PASSWORD.as_bytes(), &encoded[..32], &cost, &mut key).unwrap();
        let cipher = XSalsa20Poly1305::new(&key.into());
        let plain = cipher
            .decrypt(Nonce::from_slice(&encoded[44..68]), &encoded[68..])
            .unwrap();
        Sealed {
            file,
            encoded,
            plain,
            cipher,
        }
    }

    /// Salt, cost and nonce as they were, and the box of another text.
    fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let nonce = Nonce::from_slice(&self.encoded[44..68]);
        [
            &self.encoded[..68],
            &self.cipher.encrypt(nonce, plain).unwrap(),
        ]
        .concat()
    }

    fn json(&self, encoded: &[u8]) -> String {
        let mut file = self.file.clone();
        file["encoded"] = STANDARD.encode(encoded).into();
        super::kind::portable(file).to_string()
    }
}

fn public(key: &Keypair) -> Value {
    let public = key.public();
    json!({ "public": hex(public.to_bytes()), "address": ss58::encode(&public, 42) })
}

fn check(file: &[u8], given: &Value) -> Result<Value, Refusal> {
    let store = Keystore::from_json(file)?;
    let key = store.decrypt(given["password"].as_str().expect("a password is given"))?;
    assert_eq!(store.claimed_public(), Ok(key.public()));
    // A secret that opened is one that signs.
    let signature = key.sign(b"substrate", b"message", &mut rng());
    assert_eq!(
        key.public().verify(b"substrate", b"message", &signature),
        Ok(())
    );
    Ok(public(&key))
}
