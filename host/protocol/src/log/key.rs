//! Who signs a log's notes: names, kinds and ids of keys (C2SP `signed-note`, "Signatures" and
//! "Verifier keys").

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::keys::{PublicKey, PublicKeyError};

/// The longest name of a key, in bytes.
pub const NAME_MAX: usize = 255;
/// Bytes of the longest verifier key that is looked at.
const VKEY_MAX: usize = 512;
/// The type byte of `signed-note` for kinds that it does not know; the kind's own name follows.
const TYPE: u8 = 0xff;

/// The name of a key in a note: not empty, without spaces, pluses and control characters. The name
/// of a log's key is the log's origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// Why a text is no name of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// There is nothing in it.
    #[error("the name of a key is empty; hint: give one, as `example.com/witness`")]
    Empty,
    /// It is longer than [`NAME_MAX`].
    #[error("the name of a key has {found} bytes, more than 255; hint: shorten it")]
    Length {
        /// Its bytes.
        found: usize,
    },
    /// A character in it would not be told from the rest of a line.
    #[error(
        "byte {position} of the name of a key begins a space, a plus or a control character; hint: separate words by `-` or `/`"
    )]
    Character {
        /// Offset of the first bad character, in bytes.
        position: usize,
    },
}

impl KeyName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<KeyName, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_MAX {
            return Err(NameError::Length { found: text.len() });
        }
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        match text.find(bad) {
            Some(position) => Err(NameError::Character { position }),
            None => Ok(KeyName(text.to_owned())),
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for KeyName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// What a key says when it signs a checkpoint. A key is used for one kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// The log's own: this is the tree.
    Checkpoint,
    /// A witness's: this tree continues all that it has seen of the log.
    Cosignature,
    /// A mirror's: the same, and that it holds the log's data up to there.
    Mirror,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [KeyKind; 3] = [KeyKind::Checkpoint, KeyKind::Cosignature, KeyKind::Mirror];

    /// The name of the kind in the ids of its keys.
    pub const fn identifier(self) -> &'static str {
        match self {
            KeyKind::Checkpoint => "adit/sr25519-checkpoint/v1",
            KeyKind::Cosignature => "adit/sr25519-cosignature/v1",
            KeyKind::Mirror => "adit/sr25519-mirror/v1",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.identifier())
    }
}

/// The id of a key: four bytes, by which a signature's line is found. It is too short to say whose
/// key it is; only the signature does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::hex::digits(&self.0))
    }
}

/// A key that signatures of notes are checked with. Its text form is the verifier key of
/// `signed-note`: name, id and key, with pluses between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: KeyName,
    kind: KeyKind,
    key: PublicKey,
    id: KeyId,
}

impl NoteKey {
    /// The key of a name and a kind.
    pub fn new(name: KeyName, kind: KeyKind, key: PublicKey) -> NoteKey {
        let hash: [u8; 32] = Sha256::new()
            .chain_update(name.as_str())
            .chain_update(b"\n")
            .chain_update(encoded(kind, &key))
            .finalize()
            .into();
        let [a, b, c, d, ..] = hash;
        let id = KeyId([a, b, c, d]);
        NoteKey {
            name,
            kind,
            key,
            id,
        }
    }

    /// Whose key it is.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key itself.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// SHA-256 of name, newline, type and key, cut to four bytes.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

/// Type byte, identifier of the kind, key.
fn encoded(kind: KeyKind, key: &PublicKey) -> Vec<u8> {
    let identifier = kind.identifier().as_bytes();
    [&[TYPE], identifier, &key.to_bytes()].concat()
}

/// Why a text is no verifier key that we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoteKeyError {
    /// It is not name, id and key with pluses between.
    #[error(
        "a verifier key is `NAME+ID+KEY`, where ID is 8 lower-case hexadecimal digits and KEY is base64; hint: was it cut off?"
    )]
    Form,
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The key signs in a way that is not ours.
    #[error(
        "the verifier key is of another kind than ours, which are sr25519; hint: a log of another system was named"
    )]
    Kind,
    /// The key is no public key.
    #[error("the verifier key is not usable: {0}")]
    Key(PublicKeyError),
    /// The id is not that of the name and the key.
    #[error(
        "the verifier key has the id {found}, and its name and key give {expected}; hint: one of the three was altered"
    )]
    Id {
        /// The id of name and key.
        expected: KeyId,
        /// The id in the text.
        found: KeyId,
    },
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = super::to_base64(encoded(self.kind, &self.key));
        write!(f, "{}+{}+{key}", self.name, self.id)
    }
}

impl FromStr for NoteKey {
    type Err = NoteKeyError;

    fn from_str(text: &str) -> Result<NoteKey, NoteKeyError> {
        if text.len() > VKEY_MAX {
            return Err(NoteKeyError::Form);
        }
        let (name, rest) = text.split_once('+').ok_or(NoteKeyError::Form)?;
        let (id, key) = rest.split_once('+').ok_or(NoteKeyError::Form)?;
        let found = parse_id(id).ok_or(NoteKeyError::Form)?;
        let key = super::from_base64(key).ok_or(NoteKeyError::Form)?;
        let name = name.parse::<KeyName>()?;
        let (kind, key) = KeyKind::ALL
            .into_iter()
            .find_map(|kind| {
                let rest = key.strip_prefix(&[TYPE])?;
                let rest = rest.strip_prefix(kind.identifier().as_bytes())?;
                Some((kind, <[u8; 32]>::try_from(rest).ok()?))
            })
            .ok_or(NoteKeyError::Kind)?;
        let key = PublicKey::from_bytes(&key).map_err(NoteKeyError::Key)?;
        let key = NoteKey::new(name, kind, key);
        let expected = key.id;
        match expected == found {
            true => Ok(key),
            false => Err(NoteKeyError::Id { expected, found }),
        }
    }
}

fn parse_id(digits: &str) -> Option<KeyId> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let id = u32::from_str_radix(digits, 16).ok()?;
    (digits.len() == 8 && digits.bytes().all(lower)).then(|| KeyId(id.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keypair;

    fn key(kind: KeyKind) -> NoteKey {
        let public = Keypair::from_seed([1; 32]).public();
        NoteKey::new("example.com/log".parse().unwrap(), kind, public)
    }

    #[test]
    fn names_are_what_fits_into_a_line() {
        for name in ["a", "example.com/log42", "adit/00/11/blake3", "журнал"] {
            assert_eq!(name.parse::<KeyName>().unwrap().as_str(), name);
        }
        let longest = "n".repeat(NAME_MAX);
        assert!(longest.parse::<KeyName>().is_ok());
        let found = NAME_MAX + 1;
        let longer = "n".repeat(found);
        assert_eq!(longer.parse::<KeyName>(), Err(NameError::Length { found }));
        assert_eq!("".parse::<KeyName>(), Err(NameError::Empty));
        for (name, position) in [
            ("a b", 1),
            ("a+b", 1),
            ("ab\n", 2),
            ("é\u{2003}", 2),
            ("\u{0}", 0),
            ("a\u{7f}", 1),
            ("a\u{2028}", 1),
        ] {
            assert_eq!(
                name.parse::<KeyName>(),
                Err(NameError::Character { position }),
                "{name:?}"
            );
        }
    }

    #[test]
    fn ids_tell_names_kinds_and_keys_apart() {
        let mut ids: Vec<KeyId> = KeyKind::ALL.map(|kind| key(kind).id()).to_vec();
        let name: KeyName = "example.com/log".parse().unwrap();
        let other = Keypair::from_seed([2; 32]).public();
        ids.push(NoteKey::new(name, KeyKind::Checkpoint, other).id());
        let name: KeyName = "example.com/log2".parse().unwrap();
        let public = Keypair::from_seed([1; 32]).public();
        ids.push(NoteKey::new(name, KeyKind::Checkpoint, public).id());
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn verifier_keys_round_trip() {
        for kind in KeyKind::ALL {
            let key = key(kind);
            let text = key.to_string();
            assert!(text.starts_with(&format!("example.com/log+{}+", key.id())));
            assert_eq!(text.parse(), Ok(key));
        }
    }

    #[test]
    fn other_verifier_keys_are_refused() {
        let of = |bytes: &[u8]| format!("n+00000000+{}", super::super::to_base64(bytes));
        let sr25519 = |key: [u8; 32]| {
            let kind = KeyKind::Mirror.identifier().as_bytes();
            of(&[&[TYPE], kind, &key].concat())
        };
        let good = key(KeyKind::Checkpoint).to_string();
        let [name, id, base64] = [0, 1, 2].map(|at| good.splitn(3, '+').nth(at).unwrap());
        let longer = format!("{name}+{id}+{}", "A".repeat(VKEY_MAX));
        for (text, error) in [
            (String::new(), NoteKeyError::Form),
            (format!("{name}+{id}"), NoteKeyError::Form),
            (format!("{name}+{}+{base64}", &id[1..]), NoteKeyError::Form),
            (
                format!("{name}+{}+{base64}", "+1234567"),
                NoteKeyError::Form,
            ),
            (
                format!("{name}+{}+{base64}", "ABCDEF01"),
                NoteKeyError::Form,
            ),
            (format!("{name}+{id}+{base64}="), NoteKeyError::Form),
            (longer, NoteKeyError::Form),
            (
                format!("+{id}+{base64}"),
                NoteKeyError::Name(NameError::Empty),
            ),
            // An Ed25519 key, a kind that nobody has named, a key that is too short.
            (of(&[1; 33]), NoteKeyError::Kind),
            (of(b"\xffadit/sr25519-other/v1"), NoteKeyError::Kind),
            (of(b"\xffadit/sr25519-mirror/v1"), NoteKeyError::Kind),
            (sr25519([0; 32]), NoteKeyError::Key(PublicKeyError::Zero)),
            (
                sr25519([255; 32]),
                NoteKeyError::Key(PublicKeyError::NotAPoint),
            ),
            (
                format!("{name}+00000000+{base64}"),
                NoteKeyError::Id {
                    expected: key(KeyKind::Checkpoint).id(),
                    found: KeyId([0; 4]),
                },
            ),
        ] {
            assert_eq!(text.parse::<NoteKey>(), Err(error), "{text}");
        }
    }
}
