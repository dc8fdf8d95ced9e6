//! Keystore files: a secret key encrypted under a password, as polkadot-js writes them
//! (version 3), so that its wallets can open ours and we theirs.
//!
//! ```text
//! encoded   = base64(salt (32) ‖ N u32 LE ‖ p u32 LE ‖ r u32 LE ‖ nonce (24) ‖ box)
//! box       = xsalsa20poly1305(first 32 bytes of scrypt(password, salt, N, r, p), nonce, plain)
//! plain     = PKCS8 header (16) ‖ secret, Ed25519 form (64) ‖ divider (5) ‖ public key (32)
//! ```
//!
//! The source of the layout is polkadot-js, `keyring/pair/encode.ts`, `util-crypto/json` and
//! `util-crypto/scrypt`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Keypair, PublicKey, ss58};
use crate::rand_core::{CryptoRng, RngCore};

/// The longest file that is read, in bytes. Wallets keep a name and a few settings in it.
pub const MAX_FILE: usize = 64 * 1024;

const HEADER: [u8; 16] = [48, 83, 2, 1, 1, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32];
const DIVIDER: [u8; 5] = [161, 35, 3, 33, 0];
const PLAIN_LEN: usize = 16 + 64 + 5 + 32;
const BOX_LEN: usize = PLAIN_LEN + 16;
const ENCODED_LEN: usize = 32 + 12 + 24 + BOX_LEN;

/// Cost of turning a password into a key. Only the sets that polkadot-js allows exist, so that a
/// file cannot ask for all memory; the dearest takes 128 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScryptCost {
    log_n: u8,
    p: u32,
    r: u32,
}

impl ScryptCost {
    /// What polkadot-js uses for new files: N = 2^17, 128 MiB, a good part of a second.
    pub const STANDARD: ScryptCost = ScryptCost {
        log_n: 17,
        p: 1,
        r: 8,
    };
    /// What it used before: N = 2^15, 32 MiB. For tests and small machines.
    pub const LIGHT: ScryptCost = ScryptCost {
        log_n: 15,
        p: 1,
        r: 8,
    };
    /// Every set that may stand in a file.
    pub const ALLOWED: [ScryptCost; 6] = [
        ScryptCost {
            log_n: 13,
            p: 10,
            r: 8,
        },
        ScryptCost {
            log_n: 14,
            p: 5,
            r: 8,
        },
        ScryptCost {
            log_n: 15,
            p: 3,
            r: 8,
        },
        ScryptCost::LIGHT,
        ScryptCost {
            log_n: 16,
            p: 2,
            r: 8,
        },
        ScryptCost::STANDARD,
    ];

    fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        let words = [1u32 << self.log_n, self.p, self.r];
        for (to, from) in bytes
            .iter_mut()
            .zip(words.iter().flat_map(|word| word.to_le_bytes()))
        {
            *to = from;
        }
        bytes
    }

    fn key(self, password: &str, salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let params =
            scrypt::Params::new(self.log_n, self.r, self.p, 32).map_err(|_| KeystoreError::Cost)?;
        let mut key = Zeroizing::new([0; 32]);
        scrypt::scrypt(password.as_bytes(), salt, &params, &mut *key)
            .map_err(|_| KeystoreError::Cost)?;
        Ok(key)
    }
}

/// A keystore file. The address is in the clear, the secret is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keystore {
    encoded: String,
    encoding: EncodingInfo,
    /// Address of the key, claimed by the file and checked by [`Keystore::decrypt`].
    pub address: String,
    /// Whatever a wallet keeps about the key; `name` is what it shows.
    #[serde(default)]
    pub meta: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct EncodingInfo {
    content: Vec<String>,
    #[serde(rename = "type")]
    kind: Vec<String>,
    version: String,
}

/// Why a keystore file cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeystoreError {
    /// Longer than [`MAX_FILE`].
    #[error(
        "the file has {0} bytes, a keystore has at most 65536; hint: this is another kind of file"
    )]
    TooLong(usize),
    /// Not the JSON of a keystore.
    #[error("the file is not a keystore: {0}; hint: give the JSON file that the wallet exported")]
    Json(String),
    /// A keystore of another kind.
    #[error(
        "the keystore has {what}, this program reads version 3 with an encrypted sr25519 key; hint: export it again from a current wallet"
    )]
    Unsupported {
        /// What is not supported.
        what: String,
    },
    /// The encrypted part is not laid out as it should be.
    #[error(
        "the keystore's encrypted part is malformed; hint: the file was damaged, export it again"
    )]
    Malformed,
    /// Scrypt parameters outside [`ScryptCost::ALLOWED`].
    #[error(
        "the keystore asks for scrypt parameters that no wallet uses; hint: the file was altered to exhaust this machine"
    )]
    Cost,
    /// The password does not open the file.
    #[error(
        "the password does not open the keystore; hint: check the password, or the file was damaged"
    )]
    Password,
    /// No password at all, which polkadot-js would take as "not encrypted".
    #[error("the password is empty; hint: a key is stored under a password only")]
    EmptyPassword,
    /// What was decrypted is no keypair, or not that of the file's address.
    #[error(
        "the keystore opened, but its key does not fit {what}; hint: the file was put together from others"
    )]
    Mismatch {
        /// What it does not fit.
        what: &'static str,
    },
}

impl Keystore {
    /// Encrypts a keypair. `name` is what wallets show; `rng` gives salt and nonce.
    ///
    /// # Errors
    /// [`KeystoreError::EmptyPassword`].
    pub fn encrypt(
        keypair: &Keypair,
        password: &str,
        name: &str,
        cost: ScryptCost,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<Keystore, KeystoreError> {
        if password.is_empty() {
            return Err(KeystoreError::EmptyPassword);
        }
        let (mut salt, mut nonce) = ([0; 32], [0; 24]);
        rng.fill_bytes(&mut salt);
        rng.fill_bytes(&mut nonce);
        let public = keypair.public();
        let mut plain = Zeroizing::new(Vec::with_capacity(PLAIN_LEN));
        plain.extend_from_slice(&HEADER);
        plain.extend_from_slice(&*keypair.secret_bytes());
        plain.extend_from_slice(&DIVIDER);
        plain.extend_from_slice(&public.to_bytes());
        let sealed = XSalsa20Poly1305::new((&*cost.key(password, &salt)?).into())
            .encrypt(Nonce::from_slice(&nonce), plain.as_slice())
            .map_err(|_| KeystoreError::Malformed)?;
        let encoded = [&salt[..], &cost.to_bytes(), &nonce, &sealed].concat();
        let mut meta = serde_json::Map::new();
        meta.insert("name".into(), name.into());
        Ok(Keystore {
            encoded: STANDARD.encode(encoded),
            encoding: EncodingInfo {
                content: vec!["pkcs8".into(), "sr25519".into()],
                kind: vec!["scrypt".into(), "xsalsa20-poly1305".into()],
                version: "3".into(),
            },
            address: ss58::encode(&public, ss58::GENERIC_PREFIX),
            meta,
        })
    }

    /// Reads a file. Nothing is decrypted, and the address is only claimed.
    ///
    /// # Errors
    /// [`KeystoreError::TooLong`], [`KeystoreError::Json`], [`KeystoreError::Unsupported`].
    pub fn from_json(json: &[u8]) -> Result<Keystore, KeystoreError> {
        if json.len() > MAX_FILE {
            return Err(KeystoreError::TooLong(json.len()));
        }
        let keystore: Keystore =
            serde_json::from_slice(json).map_err(|error| KeystoreError::Json(place(&error)))?;
        let EncodingInfo {
            content,
            kind,
            version,
        } = &keystore.encoding;
        let unsupported = |what: String| Err(KeystoreError::Unsupported { what });
        if version != "3" {
            return unsupported(format!("version {:?}", beginning(version)));
        }
        if content != &["pkcs8", "sr25519"] {
            return unsupported(format!("content {:?}", beginnings(content)));
        }
        if kind != &["scrypt", "xsalsa20-poly1305"] {
            return unsupported(format!("encryption {:?}", beginnings(kind)));
        }
        Ok(keystore)
    }

    /// The file's contents, one line of JSON.
    pub fn to_json(&self) -> String {
        // A map with text keys and plain values has no way to fail.
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("{error}"))
    }

    /// The public key of the address that the file claims, under whatever prefix.
    ///
    /// # Errors
    /// [`ss58::AddressError`].
    pub fn claimed_public(&self) -> Result<PublicKey, ss58::AddressError> {
        ss58::decode_any(&self.address).map(|(_, key)| key)
    }

    /// Opens the file.
    ///
    /// # Errors
    /// [`KeystoreError::Password`] if the password is wrong; others if the file is damaged.
    pub fn decrypt(&self, password: &str) -> Result<Keypair, KeystoreError> {
        if password.is_empty() {
            return Err(KeystoreError::EmptyPassword);
        }
        let encoded = STANDARD
            .decode(&self.encoded)
            .map_err(|_| KeystoreError::Malformed)?;
        if encoded.len() != ENCODED_LEN {
            return Err(KeystoreError::Malformed);
        }
        let malformed = || KeystoreError::Malformed;
        let (salt, rest) = encoded.split_first_chunk::<32>().ok_or_else(malformed)?;
        let (cost, rest) = rest.split_first_chunk::<12>().ok_or_else(malformed)?;
        let (nonce, sealed) = rest.split_first_chunk::<24>().ok_or_else(malformed)?;
        let cost = ScryptCost::ALLOWED
            .into_iter()
            .find(|allowed| allowed.to_bytes() == *cost)
            .ok_or(KeystoreError::Cost)?;
        let plain = XSalsa20Poly1305::new((&*cost.key(password, salt)?).into())
            .decrypt(Nonce::from_slice(nonce), sealed)
            .map(Zeroizing::new)
            .map_err(|_| KeystoreError::Password)?;
        let keypair = parse_plain(&plain)?;
        let claimed = self.claimed_public().map_err(|_| KeystoreError::Mismatch {
            what: "any address in the file",
        })?;
        if claimed != keypair.public() {
            return Err(KeystoreError::Mismatch {
                what: "the address in the file",
            });
        }
        Ok(keypair)
    }
}

/// What is wrong with a file's JSON, and where. The parser's own message may repeat any length of
/// the file, and the file may hold what is secret.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type",
        serde_json::error::Category::Eof => "it is cut off",
        _ => "it is not JSON",
    };
    let (line, column) = (error.line(), error.column());
    format!("{what}, at line {line}, column {column}")
}

/// As much of a text as belongs into a message.
fn beginning(text: &str) -> String {
    text.chars().take(24).collect()
}

fn beginnings(texts: &[String]) -> Vec<String> {
    texts.iter().take(4).map(|text| beginning(text)).collect()
}

fn parse_plain(plain: &[u8]) -> Result<Keypair, KeystoreError> {
    let malformed = || KeystoreError::Malformed;
    let (header, rest) = plain.split_first_chunk::<16>().ok_or_else(malformed)?;
    let (secret, rest) = rest.split_first_chunk::<64>().ok_or_else(malformed)?;
    let (divider, public) = rest.split_first_chunk::<5>().ok_or_else(malformed)?;
    if *header != HEADER || *divider != DIVIDER {
        return Err(KeystoreError::Malformed);
    }
    let keypair = Keypair::from_secret_bytes(secret).ok_or_else(malformed)?;
    if keypair.public().to_bytes() != public {
        return Err(KeystoreError::Mismatch {
            what: "its own public key",
        });
    }
    Ok(keypair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_laid_out_as_n_p_r() {
        assert_eq!(
            ScryptCost::LIGHT.to_bytes(),
            [0, 128, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0]
        );
        assert_eq!(
            ScryptCost::STANDARD.to_bytes(),
            [0, 0, 2, 0, 1, 0, 0, 0, 8, 0, 0, 0]
        );
    }

    #[test]
    fn a_message_repeats_little_of_the_file() {
        let long = "x\u{1b}".repeat(2_000);
        let file = |encoded: serde_json::Value, version: &str, content: serde_json::Value| {
            let encoding = serde_json::json!({
                "content": content,
                "type": ["scrypt", "xsalsa20-poly1305"],
                "version": version,
            });
            let file = serde_json::json!({
                "encoded": encoded, "encoding": encoding, "address": "", "meta": {},
            });
            Keystore::from_json(file.to_string().as_bytes()).unwrap_err()
        };
        let good = serde_json::json!(["pkcs8", "sr25519"]);
        for (error, says) in [
            (file("".into(), &long, good.clone()), "has version"),
            (
                file("".into(), "3", vec![long.as_str(); 2].into()),
                "has content",
            ),
            (file("".into(), "3", long.as_str().into()), "another type"),
            (file(vec![long.as_str()].into(), "3", good), "another type"),
        ] {
            let message = error.to_string();
            assert!(message.contains(says), "{message}");
            assert!(message.len() < 512 && !message.contains('\u{1b}'));
        }
    }

    #[test]
    fn the_decrypted_part_is_checked() {
        let (alice, bob) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
        let plain = |secret: &Keypair, public: &Keypair| {
            [
                &HEADER[..],
                &*secret.secret_bytes(),
                &DIVIDER,
                &public.public().to_bytes(),
            ]
            .concat()
        };
        let good = plain(&alice, &alice);
        assert_eq!(good.len(), PLAIN_LEN);
        assert_eq!(parse_plain(&good).unwrap().public(), alice.public());
        assert_eq!(
            parse_plain(&plain(&alice, &bob)).unwrap_err(),
            KeystoreError::Mismatch {
                what: "its own public key"
            }
        );
        for (at, length) in [(0, 117), (82, 117), (0, 116), (0, 118)] {
            let mut bad = good.clone();
            bad.resize(length, 0);
            if length == PLAIN_LEN {
                bad[at] ^= 1;
            }
            assert!(parse_plain(&bad).is_err(), "{at} {length}");
        }
        // A scalar of zero has the identity as its public key.
        let mut zero = good;
        zero[16..48].fill(0);
        zero[85..].fill(0);
        assert_eq!(parse_plain(&zero).unwrap_err(), KeystoreError::Malformed);
    }
}
