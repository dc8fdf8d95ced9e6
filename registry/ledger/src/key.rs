//! Public keys as the ledger names accounts and nodes by: in the order of their bytes, and as SS58
//! addresses in texts.

use std::fmt;
use std::str::FromStr;

use adit_protocol::keys::ss58::{self, AddressError, GENERIC_PREFIX};
use adit_protocol::keys::{PublicKey, PublicKeyError};
use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};

/// The bytes of an sr25519 public key. One that was read from a text is a usable key; one from a
/// state's encoding is whatever the state holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Key(#[cbor(with = "minicbor::bytes")] [u8; 32]);

impl Key {
    /// No key: what stands for "none" in the keys of the state.
    pub const NONE: Key = Key([0; 32]);

    /// What comes after every key.
    pub const LAST: Key = Key([0xff; 32]);

    /// The key of a public key.
    pub fn new(key: &PublicKey) -> Key {
        Key(key.to_bytes())
    }

    /// Takes 32 bytes; nothing is checked.
    pub const fn from_bytes(bytes: [u8; 32]) -> Key {
        Key(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key to check signatures with.
    ///
    /// # Errors
    /// [`PublicKeyError`] for bytes that are none.
    pub fn public(&self) -> Result<PublicKey, PublicKeyError> {
        PublicKey::from_bytes(&self.0)
    }
}

impl FromStr for Key {
    type Err = AddressError;

    /// Reads an address under the generic prefix.
    fn from_str(text: &str) -> Result<Key, AddressError> {
        ss58::decode(text, GENERIC_PREFIX).map(|key| Key::new(&key))
    }
}

/// The address under the generic prefix; `0x` and digits for bytes that are no key.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.public() {
            Ok(key) => f.pad(&ss58::encode(&key, GENERIC_PREFIX)),
            Err(_) => f.write_str(&adit_protocol::hex::prefixed(&self.0)),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
