//! The transparency log: an append-only Merkle tree, the files that it is served as, and the signed
//! statements of how large it is.
//!
//! The formats are those of C2SP (`tlog-tiles`, `signed-note`, `tlog-checkpoint`,
//! `tlog-cosignature`, `tlog-witness`; <https://c2sp.org>) with BLAKE3 in place of SHA-256 and
//! sr25519 in place of Ed25519. Only the ids of keys are SHA-256, as `signed-note` has them.
//!
//! | part | subject |
//! |---|---|
//! | [`tree`] | hashes of leaves and nodes, the root of a growing tree |
//! | [`proof`] | proofs that an entry is in a tree, and that one tree continues another |
//! | [`tile`] | the files that hold the tree's hashes, and their paths |
//! | [`reader`] | reading hashes from tiles |
//! | [`bundle`] | the files that hold the entries |
//! | [`key`] | who signs: names, kinds and ids of keys |
//! | [`note`] | text with signatures below it |
//! | [`origin`] | the name of a coordinator's log |
//! | [`checkpoint`] | the signed size and root of a log |
//! | [`cosignature`] | what those sign who watch a log |
//! | [`witness`] | what a log asks of a witness, and how a witness decides |

pub mod bundle;
pub mod checkpoint;
pub mod cosignature;
pub mod key;
pub mod note;
pub mod origin;
pub mod proof;
pub mod reader;
pub mod tile;
pub mod tree;
pub mod witness;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::hash::Hash;

/// A decimal number in the one form that the formats allow: digits, without leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok()).flatten()
}

/// Standard base64 with padding, of which the decoder takes the canonical form only.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

fn to_base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// A hash as checkpoints and witness requests write it: the base64 of its 32 bytes.
fn base64_hash(text: &str) -> Option<Hash> {
    let bytes = from_base64(text)?.try_into().ok()?;
    Some(Hash::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("10"), Some(10));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for bad in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1a",
            "0x1",
            "١",
            "18446744073709551616",
        ] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn hashes_have_one_form() {
        let hash = Hash::of(b"x");
        let text = to_base64(hash.as_bytes());
        assert_eq!(base64_hash(&text), Some(hash));
        // Without padding, with bits beyond the last byte, with the other alphabet, too short.
        let unpadded = text.trim_end_matches('=');
        assert_eq!(base64_hash(unpadded), None);
        let zeros = to_base64([0; 32]);
        assert_eq!(base64_hash(&zeros.replace("A=", "B=")), None);
        assert_eq!(base64_hash(&zeros.replacen('A', "_", 1)), None);
        assert_eq!(base64_hash(&to_base64([0; 31])), None);
        assert_eq!(base64_hash(&format!("{text}\n")), None);
    }
}
