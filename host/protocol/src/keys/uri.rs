//! Secret URIs, `secret//hard/soft///password`, as `subkey` and the wallets of Substrate chains
//! read them.
//!
//! * `secret` is a recovery phrase, or `0x` and 64 hexadecimal digits of a seed; left out, it is
//!   the well-known development phrase, so that `//Alice` is the same key everywhere.
//! * `//name` derives a key that reveals nothing about its parent, `/name` one whose public key
//!   can be derived from the parent's public key. A junction that is a number below 2^64 is coded
//!   as u64 LE, any other as a SCALE string (compact length ‖ bytes); padded with zeros to 32
//!   bytes, or hashed with BLAKE2b-256 if it is longer.
//! * `///password` goes into the derivation of the phrase, and has no effect on a seed.

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use schnorrkel::MiniSecretKey;
use schnorrkel::derive::{ChainCode, Derivation};
use thiserror::Error;
use zeroize::Zeroizing;

use super::Keypair;
use super::mnemonic::{self, MnemonicError};
use crate::rand_core::{CryptoRng, Error as RngError, RngCore};

/// The phrase of the development keys `//Alice`, `//Bob` and so on: known to everyone.
pub const DEV_PHRASE: &str =
    "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

/// The longest URI, and the most junctions in it.
const MAX_URI: usize = 4096;
const MAX_JUNCTIONS: usize = 64;

/// Why a text is not a secret URI. No message repeats any part of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// The phrase is not valid.
    #[error(transparent)]
    Phrase(#[from] MnemonicError),
    /// A seed that is not 64 hexadecimal digits.
    #[error("a seed is `0x` and 64 hexadecimal digits; hint: was it cut off?")]
    Seed,
    /// A junction without a name.
    #[error("a junction of the URI has no name; hint: write //hard or /soft, and ///password last")]
    EmptyJunction,
    /// Longer, or with more junctions, than any sensible URI.
    #[error("the URI is longer than 4096 bytes or has more than 64 junctions; hint: shorten it")]
    TooLong,
}

/// The keypair of a URI.
pub(super) fn keypair(uri: &str) -> Result<Keypair, UriError> {
    if uri.len() > MAX_URI {
        return Err(UriError::TooLong);
    }
    let (path, password) = uri.split_once("///").unwrap_or((uri, ""));
    let (secret, junctions) = match path.find('/') {
        Some(at) => path.split_at(at),
        None => (path, ""),
    };
    let junctions = parse_junctions(junctions)?;
    let mini = match secret.strip_prefix("0x") {
        Some(digits) => seed(digits)?,
        None if secret.is_empty() => mnemonic::mini_secret(DEV_PHRASE, password)?,
        None => mnemonic::mini_secret(secret, password)?,
    };
    Ok(junctions
        .iter()
        .fold(Keypair::from_mini_secret(&mini), derive))
}

fn seed(digits: &str) -> Result<MiniSecretKey, UriError> {
    let mut bytes = Zeroizing::new([0u8; 32]);
    if digits.len() != 64 {
        return Err(UriError::Seed);
    }
    for (position, digit) in digits.chars().enumerate() {
        let value = digit
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok());
        let value = value.ok_or(UriError::Seed)?;
        if let Some(byte) = bytes.get_mut(position / 2) {
            *byte = *byte << 4 | value;
        }
    }
    MiniSecretKey::from_bytes(&*bytes).map_err(|_| UriError::Seed)
}

struct Junction {
    hard: bool,
    code: [u8; 32],
}

/// Splits `//a/b` into a hard and a soft junction.
fn parse_junctions(mut path: &str) -> Result<Vec<Junction>, UriError> {
    let mut junctions = Vec::new();
    while let Some(rest) = path.strip_prefix('/') {
        let (hard, rest) = match rest.strip_prefix('/') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (name, next) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if name.is_empty() {
            return Err(UriError::EmptyJunction);
        }
        if junctions.len() == MAX_JUNCTIONS {
            return Err(UriError::TooLong);
        }
        junctions.push(Junction {
            hard,
            code: chain_code(name),
        });
        path = next;
    }
    Ok(junctions)
}

fn chain_code(name: &str) -> [u8; 32] {
    // A sign would make `parse` accept what Substrate takes as a string too; it does the same.
    let encoded = match name.parse::<u64>() {
        Ok(number) => number.to_le_bytes().to_vec(),
        Err(_) => [compact(name.len()), name.as_bytes().to_vec()].concat(),
    };
    if encoded.len() > 32 {
        return Blake2b::<U32>::digest(&encoded).into();
    }
    let mut code = [0; 32];
    for (to, from) in code.iter_mut().zip(encoded) {
        *to = from;
    }
    code
}

/// SCALE's compact integer, for lengths below 2^30; a URI is far shorter.
fn compact(length: usize) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    match length {
        0..=0x3f => vec![(length as u8) << 2],
        0x40..=0x3fff => ((length as u16) << 2 | 1).to_le_bytes().to_vec(),
        _ => (length << 2 | 2).to_le_bytes().to_vec(),
    }
}

fn derive(parent: Keypair, junction: &Junction) -> Keypair {
    let code = ChainCode(junction.code);
    if junction.hard {
        let (mini, _) = parent.0.hard_derive_mini_secret_key(Some(code), b"");
        Keypair::from_mini_secret(&mini)
    } else {
        // Only the nonce seed of the new secret comes from this generator; the key does not
        // depend on it. It is derived from the parent's secret, so that deriving is repeatable.
        let rng = NonceRng::new(&parent, junction);
        Keypair(parent.0.derived_key_simple_rng(code, b"", rng).0)
    }
}

/// BLAKE3 as a generator, keyed by a secret and a junction.
struct NonceRng(blake3::OutputReader);

impl NonceRng {
    fn new(parent: &Keypair, junction: &Junction) -> NonceRng {
        let mut hasher = blake3::Hasher::new_derive_key("adit soft derivation nonce v1");
        hasher
            .update(&*parent.secret_bytes())
            .update(&junction.code);
        NonceRng(hasher.finalize_xof())
    }
}

impl RngCore for NonceRng {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), RngError> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl CryptoRng for NonceRng {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::digits as hex_digits;

    fn public(uri: &str) -> String {
        hex_digits(&keypair(uri).unwrap().public().to_bytes())
    }

    #[test]
    fn keys_are_those_of_polkadot_js() {
        // Each made by @polkadot/keyring's addFromUri.
        for (uri, key) in [
            (
                "//Alice",
                "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
            ),
            (
                "//Alice//stash",
                "be5ddb1579b72e84524fc29e78609e3caf42e85aa118ebfe0b0ad404b5bdd25f",
            ),
            (
                "//Alice/soft",
                "02cfd83074aefc9955af4034d19b3780d47a52e158ababec8ec012b2295f1c5b",
            ),
            (
                "bottom drive obey lake curtain smoke basket hold race lonely fit walk//hard/7///pass word",
                "1e5112c2072b14b1f711b21605b4f75622c33185e4b935247d28ef95615d8e7e",
            ),
            (
                "//a-name-that-is-longer-than-thirty-two-bytes-altogether/18446744073709551615",
                "de2834034e6f295b99ac1758497eb188d3a4710912c418df1ffdd72ff0049069",
            ),
            (
                "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about///Substrate",
                "7ca8f71a700a713e470b93fd69e9e43ba08abac5fdeb7cb349c7fc157c72b803",
            ),
            (
                "0x1111111111111111111111111111111111111111111111111111111111111111//x",
                "ca1d5366984ca6d72dba2e003f4c3cb274d7874b138244c31c632c8dfb4f9d0e",
            ),
        ] {
            assert_eq!(public(uri), key, "{uri}");
        }
    }

    #[test]
    fn soft_derivation_is_repeatable_and_signs() {
        let mut rng = NonceRng(blake3::Hasher::new().finalize_xof());
        let (one, two) = (keypair("//Alice/a").unwrap(), keypair("//Alice/a").unwrap());
        assert_eq!(*one.secret_bytes(), *two.secret_bytes());
        let signature = one.sign(b"context", b"message", &mut rng);
        assert!(
            two.public()
                .verify(b"context", b"message", &signature)
                .is_ok()
        );
    }

    #[test]
    fn malformed_uris_are_refused() {
        for (uri, error) in [
            ("//", UriError::EmptyJunction),
            ("//a/", UriError::EmptyJunction),
            ("0x12", UriError::Seed),
            (&format!("0x{}", "é".repeat(32)), UriError::Seed),
            (&"/a".repeat(65), UriError::TooLong),
            (&"a".repeat(4097), UriError::TooLong),
            ("one two", UriError::Phrase(MnemonicError::WordCount(2))),
        ] {
            assert_eq!(keypair(uri).unwrap_err(), error, "{uri}");
        }
        assert_eq!(public("//Alice///"), public("//Alice"));
        assert_ne!(public("//Alice///x"), public("//Alice"));
    }

    #[test]
    fn compact_lengths_follow_scale() {
        assert_eq!(compact(1), [4]);
        assert_eq!(compact(63), [252]);
        assert_eq!(compact(64), [1, 1]);
        assert_eq!(compact(16383), [253, 255]);
        assert_eq!(compact(16384), [2, 0, 1, 0]);
    }
}
