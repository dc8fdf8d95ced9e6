//! BLAKE3 hashes and the salted commitments that receipts carry.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Serialize, Serializer};
use thiserror::Error;

/// What stands before the hexadecimal digits in the text form of a hash.
const PREFIX: &str = "blake3:";

/// A BLAKE3 hash, 32 bytes. Its text form is `blake3:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The all-zero value: "none" wherever a format has a fixed place for a hash.
    pub const ZERO: Hash = Hash([0; 32]);

    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }

    /// Takes 32 bytes as a hash; nothing is computed.
    pub const fn from_bytes(bytes: [u8; 32]) -> Hash {
        Hash(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hexadecimal digits, without the `blake3:` prefix.
    pub fn to_hex(&self) -> String {
        crate::hex::digits(&self.0)
    }

    /// Whether this is [`Hash::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Hash::ZERO
    }

    /// The commitment that a public log may show in place of this hash: BLAKE3 `keyed_hash` with
    /// the task's `salt` as key and the 32 bytes of the hash as message (protocol.md, "Receipt").
    /// Without the salt, a short input or output cannot be found by guessing.
    pub fn commit(&self, salt: &[u8; 32]) -> Hash {
        Hash(*blake3::keyed_hash(salt, &self.0).as_bytes())
    }
}

/// Hashes data that arrives in pieces, and counts its bytes.
#[derive(Clone, Debug, Default)]
pub struct Hasher {
    inner: blake3::Hasher,
}

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// Appends `bytes` to what is hashed.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Hasher {
        self.inner.update(bytes);
        self
    }

    /// The hash of all bytes so far. More may be appended afterwards.
    pub fn finalize(&self) -> Hash {
        Hash(*self.inner.finalize().as_bytes())
    }

    /// The number of bytes so far.
    pub fn count(&self) -> u64 {
        self.inner.count()
    }
}

/// Why a text is not a hash.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseHashError {
    /// The text does not begin with `blake3:`.
    #[error(
        "a hash begins with `blake3:`; hint: give the whole name, as in `blake3:` and 64 digits"
    )]
    Prefix,
    /// The number of digits after the prefix is not 64.
    #[error(
        "a hash has 64 hexadecimal digits after `blake3:`, this one has {found} characters; hint: was it cut off?"
    )]
    Length {
        /// Characters after the prefix.
        found: usize,
    },
    /// A character is not one of `0`-`9`, `a`-`f`.
    #[error(
        "character {position} after `blake3:` is not one of 0-9 and a-f; hint: digits are lower case"
    )]
    Digit {
        /// Offset of the first bad character, in bytes after the prefix.
        position: usize,
    },
}

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Hash, ParseHashError> {
        let digits = text.strip_prefix(PREFIX).ok_or(ParseHashError::Prefix)?;
        if digits.len() != 64 {
            return Err(ParseHashError::Length {
                found: digits.chars().count(),
            });
        }
        let mut bytes = [0u8; 32];
        for (position, digit) in digits.bytes().enumerate() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(ParseHashError::Digit { position }),
            };
            if let Some(byte) = bytes.get_mut(position / 2) {
                *byte = (*byte << 4) | value;
            }
        }
        Ok(Hash(bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<C> Encode<C> for Hash {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Hash {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Hash, minicbor::decode::Error> {
        let position = d.position();
        <[u8; 32]>::try_from(d.bytes()?).map(Hash).map_err(|_| {
            minicbor::decode::Error::message("a hash is a byte string of 32 bytes").at(position)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first vector of BLAKE3's own test_vectors.json: the hash of no bytes.
    const EMPTY: &str = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";

    #[test]
    fn text_form_round_trips_and_is_strict() {
        let hash = Hash::of(b"");
        assert_eq!(hash.to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(hash));
        assert_eq!("af13".parse::<Hash>(), Err(ParseHashError::Prefix));
        assert_eq!(
            "blake3:af13".parse::<Hash>(),
            Err(ParseHashError::Length { found: 4 })
        );
        let upper = EMPTY.replace("af1349", "AF1349");
        assert_eq!(
            upper.parse::<Hash>(),
            Err(ParseHashError::Digit { position: 0 })
        );
        let spaced = format!("{EMPTY} ");
        assert_eq!(
            spaced.parse::<Hash>(),
            Err(ParseHashError::Length { found: 65 })
        );
        // A character of several bytes must not be cut in two.
        assert!("blake3:é".repeat(32).parse::<Hash>().is_err());
    }

    #[test]
    fn streaming_equals_one_shot() {
        let data: Vec<u8> = (0..5000u32).map(|i| (i % 251) as u8).collect();
        let mut hasher = Hasher::new();
        for piece in data.chunks(77) {
            hasher.update(piece);
        }
        assert_eq!(hasher.finalize(), Hash::of(&data));
        assert_eq!(hasher.count(), 5000);
    }

    #[test]
    fn commitments_depend_on_salt_and_hash() {
        let hash = Hash::of(b"secret");
        let one = hash.commit(&[1; 32]);
        assert_ne!(one, hash.commit(&[2; 32]));
        assert_ne!(one, Hash::of(b"other").commit(&[1; 32]));
        assert_ne!(one, hash);
        assert_eq!(one, hash.commit(&[1; 32]));
    }
}
