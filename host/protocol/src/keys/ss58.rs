//! SS58 addresses: a public key with a network prefix and a checksum, in base 58.
//!
//! ```text
//! base58(prefix ‖ key (32) ‖ blake2b-512("SS58PRE" ‖ prefix ‖ key)[..2])
//! ```
//!
//! The prefix is one byte up to 63; up to 16383 two, whose bits are laid out as Substrate's
//! `ss58_registry` does. Decoding asks for the prefix that the caller expects, so that an address
//! of another chain is not taken for one of this.

use blake2::{Blake2b512, Digest};
use thiserror::Error;

use super::{PublicKey, PublicKeyError};

/// The prefix of addresses that belong to no chain in particular; they begin with 5.
pub const GENERIC_PREFIX: u16 = 42;

/// The longest text that can be an address of a 32-byte key, with room to spare.
const MAX_TEXT: usize = 64;

/// Why a text is not the address that was expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not base 58, or of a length that no address of a key has.
    #[error(
        "this is not an address; hint: an address is about 48 letters and digits, without 0, O, I and l"
    )]
    Malformed,
    /// The last two bytes do not fit the others.
    #[error("the address has a typing error (its checksum does not fit); hint: copy it again")]
    Checksum,
    /// The address is of another network.
    #[error(
        "the address is of the network with prefix {found}, not {expected}; hint: choose the address of this network in your wallet"
    )]
    Prefix {
        /// The prefix asked for.
        expected: u16,
        /// The address's prefix.
        found: u16,
    },
    /// The bytes in it are no usable key.
    #[error(transparent)]
    Key(#[from] PublicKeyError),
}

/// The address of `key` under `prefix`; only the low 14 bits of the prefix exist.
pub fn encode(key: &PublicKey, prefix: u16) -> String {
    let mut bytes = prefix_bytes(prefix & 0x3fff);
    bytes.extend_from_slice(&key.to_bytes());
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    bs58::encode(bytes).into_string()
}

/// Reads an address that must have `prefix`.
///
/// # Errors
/// [`AddressError`].
pub fn decode(text: &str, prefix: u16) -> Result<PublicKey, AddressError> {
    let (found, key) = decode_any(text)?;
    if found == prefix {
        Ok(key)
    } else {
        Err(AddressError::Prefix {
            expected: prefix,
            found,
        })
    }
}

/// Reads an address of any network; returns its prefix too.
///
/// # Errors
/// [`AddressError`], except [`AddressError::Prefix`].
pub fn decode_any(text: &str) -> Result<(u16, PublicKey), AddressError> {
    if text.len() > MAX_TEXT {
        return Err(AddressError::Malformed);
    }
    let bytes = bs58::decode(text)
        .into_vec()
        .map_err(|_| AddressError::Malformed)?;
    let (body, sum) = bytes
        .split_last_chunk::<2>()
        .ok_or(AddressError::Malformed)?;
    let (prefix, key) = body
        .split_last_chunk::<32>()
        .ok_or(AddressError::Malformed)?;
    let prefix = match *prefix {
        [one @ 0..=63] => u16::from(one),
        [first @ 64..=127, second] => {
            let lower = (first << 2) | (second >> 6);
            let prefix = u16::from(lower) | u16::from(second & 0x3f) << 8;
            // The long form of a short prefix would be a second address of the same key.
            if prefix < 64 {
                return Err(AddressError::Malformed);
            }
            prefix
        }
        _ => return Err(AddressError::Malformed),
    };
    if checksum(body) != *sum {
        return Err(AddressError::Checksum);
    }
    Ok((prefix, PublicKey::from_bytes(key)?))
}

fn prefix_bytes(prefix: u16) -> Vec<u8> {
    match u8::try_from(prefix) {
        Ok(short @ 0..=63) => vec![short],
        _ => {
            let [low, high] = prefix.to_le_bytes();
            vec![(low >> 2) | 0x40, high | low << 6]
        }
    }
}

fn checksum(body: &[u8]) -> [u8; 2] {
    let digest = Blake2b512::new()
        .chain_update(b"SS58PRE")
        .chain_update(body)
        .finalize();
    let [first, second, ..] = <[u8; 64]>::from(digest);
    [first, second]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keypair;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    #[test]
    fn alice() {
        let key = Keypair::from_uri("//Alice").unwrap().public();
        assert_eq!(encode(&key, GENERIC_PREFIX), ALICE);
        assert_eq!(decode(ALICE, GENERIC_PREFIX), Ok(key));
        assert_eq!(
            decode(ALICE, 0),
            Err(AddressError::Prefix {
                expected: 0,
                found: 42
            })
        );
        // The same key on Polkadot (prefix 0), as its explorers show it.
        assert_eq!(
            encode(&key, 0),
            "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5"
        );
    }

    #[test]
    fn every_prefix_round_trips() {
        let key = Keypair::from_seed([7; 32]).public();
        for prefix in 0..0x4000 {
            assert_eq!(decode_any(&encode(&key, prefix)), Ok((prefix, key)));
        }
    }

    #[test]
    fn damaged_addresses_are_refused() {
        let mut changed = ALICE.to_owned();
        changed.replace_range(10..11, "c");
        assert_eq!(
            decode(&changed, GENERIC_PREFIX),
            Err(AddressError::Checksum)
        );
        for text in ["", "5", "0OIl", &ALICE[..40], &ALICE.repeat(2), "é"] {
            assert!(decode(text, GENERIC_PREFIX).is_err(), "{text}");
        }
        let zero = {
            let mut bytes = vec![42u8];
            bytes.extend_from_slice(&[0; 32]);
            let sum = checksum(&bytes);
            bytes.extend_from_slice(&sum);
            bs58::encode(bytes).into_string()
        };
        assert_eq!(
            decode(&zero, GENERIC_PREFIX),
            Err(AddressError::Key(PublicKeyError::Zero))
        );
    }
}
