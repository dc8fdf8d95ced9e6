//! The origin of a coordinator's log, which names the log in its checkpoints.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::key::{KeyKind, KeyName, NoteKey};
use crate::hash::Hash;
use crate::keys::PublicKey;

/// The origin of a coordinator's log: which network, whose log, which hash. Its text form is
/// `adit/<16 digits of the genesis hash>/<64 digits of the coordinator's node key>/blake3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The first 8 bytes of the network's genesis hash.
    pub genesis: [u8; 8],
    /// The coordinator's node key.
    pub coordinator: PublicKey,
}

/// Why a text is not the origin of a coordinator's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the origin is not `adit/GENESIS/KEY/blake3` with 16 and 64 lower-case hexadecimal digits; hint: it is the log of another system"
)]
pub struct OriginError;

impl Origin {
    /// The origin of a coordinator's log on the network of this genesis hash.
    pub fn new(genesis: &Hash, coordinator: &PublicKey) -> Origin {
        let [a, b, c, d, e, f, g, h, ..] = *genesis.as_bytes();
        Origin {
            genesis: [a, b, c, d, e, f, g, h],
            coordinator: *coordinator,
        }
    }

    /// The origin as the name of the log's key.
    pub fn name(&self) -> KeyName {
        let name = self.to_string().parse();
        name.unwrap_or_else(|_| unreachable!("digits and slashes make a name"))
    }

    /// The key that the log's checkpoints are checked with.
    pub fn key(&self, log: &PublicKey) -> NoteKey {
        NoteKey::new(self.name(), KeyKind::Checkpoint, *log)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let genesis = crate::hex::digits(&self.genesis);
        let coordinator = crate::hex::digits(&self.coordinator.to_bytes());
        write!(f, "adit/{genesis}/{coordinator}/blake3")
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Origin, OriginError> {
        let digits = text
            .strip_prefix("adit/")
            .and_then(|rest| rest.strip_suffix("/blake3"))
            .and_then(|rest| rest.split_once('/'));
        let (genesis, coordinator) = digits.ok_or(OriginError)?;
        let genesis = crate::hex::from_digits(genesis).ok_or(OriginError)?;
        let coordinator = crate::hex::from_digits(coordinator).ok_or(OriginError)?;
        Ok(Origin {
            genesis,
            coordinator: PublicKey::from_bytes(&coordinator).map_err(|_| OriginError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keypair;

    #[test]
    fn origins_round_trip() {
        let coordinator = Keypair::from_seed([2; 32]).public();
        let origin = Origin::new(&Hash::of(b"genesis"), &coordinator);
        let text = origin.to_string();
        assert_eq!(origin.name().as_str(), text);
        assert_eq!(origin.key(&coordinator).name(), &origin.name());
        assert_eq!(text.len(), 93);
        assert!(text.starts_with("adit/") && text.ends_with("/blake3"));
        assert_eq!(text.parse(), Ok(origin));
        let zero_key = format!("adit/{}/{}/blake3", "0".repeat(16), "0".repeat(64));
        for bad in [
            String::new(),
            "example.com/log".into(),
            text.replace("blake3", "sha256"),
            text.replace("adit", "ADIT"),
            text.to_uppercase(),
            text.replacen('/', "/0x", 1),
            text.replacen('/', "//", 1),
            format!("{text}/"),
            text.replace("/blake3", "0/blake3"),
            zero_key,
        ] {
            assert_eq!(bad.parse::<Origin>(), Err(OriginError), "{bad}");
        }
    }
}
