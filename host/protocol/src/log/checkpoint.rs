//! Checkpoints: a log's size and root, signed by the log (C2SP `tlog-checkpoint`).
//!
//! A checkpoint is a note. What its log signs is the note's text, by sr25519 under [`CONTEXT`] and
//! with a key that signs nothing else. Those who watch the log add their
//! [cosignatures](super::cosignature).

use std::fmt;

use thiserror::Error;

use super::key::{KeyKind, KeyName, NameError, NoteKey};
use super::note::{Note, NoteError, NoteSignature};
use super::tree::{RangeError, checked};
use crate::hash::Hash;
use crate::keys::Keypair;
use crate::rand_core::{CryptoRng, RngCore};

/// The signing context of checkpoints and cosignatures: the one that stock tools have.
pub const CONTEXT: &[u8] = b"substrate";

/// How large a log is and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log; the name of the log's key too.
    pub origin: KeyName,
    /// Entries of the log.
    pub size: u64,
    /// The root of the tree of that size.
    pub root: Hash,
}

/// Why bytes are no signed checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// They are no signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text has fewer than three lines.
    #[error(
        "a checkpoint has an origin, a size and a root, each on its line; hint: this is a note of another kind"
    )]
    Lines,
    /// The origin could not be the name of a log's key.
    #[error("the origin is no name: {0}")]
    Origin(NameError),
    /// The size is no number in its one form.
    #[error("the size is not a decimal number without leading zeros; hint: the text was altered")]
    Size,
    /// The size is larger than that of any log.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The root is not the base64 of 32 bytes.
    #[error("the root is not the base64 of 32 bytes; hint: the text was altered")]
    Root,
    /// A line after the root is empty.
    #[error("a line after the root is empty, which ends no checkpoint; hint: the text was altered")]
    Extension,
}

impl Checkpoint {
    /// The text that the log signs.
    pub fn text(&self) -> String {
        let root = super::to_base64(self.root.as_bytes());
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// Reads a text. Lines after the third may follow; they are signed, and mean nothing to us.
    ///
    /// # Errors
    /// [`CheckpointError`], but not [`CheckpointError::Note`].
    pub fn from_text(text: &str) -> Result<Checkpoint, CheckpointError> {
        let text = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = text.split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        let checkpoint = Checkpoint {
            origin: origin.parse().map_err(CheckpointError::Origin)?,
            size: checked(super::decimal(size).ok_or(CheckpointError::Size)?)?,
            root: super::base64_hash(root).ok_or(CheckpointError::Root)?,
        };
        match lines.any(str::is_empty) {
            true => Err(CheckpointError::Extension),
            false => Ok(checkpoint),
        }
    }

    /// Signs the checkpoint with the log's key, which must be used for nothing else.
    pub fn sign(self, log: &Keypair, rng: &mut (impl CryptoRng + RngCore)) -> SignedCheckpoint {
        let text = self.text();
        let key = NoteKey::new(self.origin.clone(), KeyKind::Checkpoint, log.public());
        let signature = log.sign(CONTEXT, text.as_bytes(), rng).to_vec();
        let signature = NoteSignature {
            name: key.name().clone(),
            id: key.id(),
            signature,
        };
        let note = Note::new(text, signature)
            .unwrap_or_else(|_| unreachable!("name, number and base64 are a short text"));
        SignedCheckpoint {
            checkpoint: self,
            note,
        }
    }
}

/// A checkpoint with its signatures, checked or not: [`SignedCheckpoint::verify`] gives what it says.
/// Its text form is the note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

/// Why a checkpoint is not the word of a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// A key of another kind was given.
    #[error(
        "the key {name} makes signatures of the kind {found}, which are not of that use; hint: is it another role's key?"
    )]
    Kind {
        /// Whose key it is.
        name: KeyName,
        /// Its kind.
        found: KeyKind,
    },
    /// The checkpoint is of another log than the key.
    #[error(
        "the checkpoint is of the log {found}, not of {expected}; hint: the wrong file was served"
    )]
    Origin {
        /// The log whose key it is.
        expected: KeyName,
        /// The checkpoint's log.
        found: KeyName,
    },
    /// No signature says that it is of the key.
    #[error(
        "{name} has not signed the checkpoint with this key; hint: the key is old, or it has not signed yet"
    )]
    Missing {
        /// Whose key it is.
        name: KeyName,
    },
    /// No signature that says it is of the key fits.
    #[error(
        "the signature of {name} does not fit; hint: the checkpoint was altered after signing, or another key signed it"
    )]
    Signature {
        /// Whose key it is.
        name: KeyName,
    },
}

impl SignedCheckpoint {
    /// Reads a note and the checkpoint in it. Signatures are not checked.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn parse(bytes: &[u8]) -> Result<SignedCheckpoint, CheckpointError> {
        let note = Note::parse(bytes)?;
        let checkpoint = Checkpoint::from_text(note.text())?;
        Ok(SignedCheckpoint { checkpoint, note })
    }

    /// The note.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// What the checkpoint says, whoever wrote it: to find the key to check it with, and for
    /// nothing else.
    pub fn unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What the checkpoint says, if its log signed it. Of several signatures that say they are of the
    /// log, one must fit; so a line that a stranger adds does no harm.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub fn verify(&self, log: &NoteKey) -> Result<&Checkpoint, VerifyError> {
        if log.kind() != KeyKind::Checkpoint {
            return Err(wrong_kind(log));
        }
        if *log.name() != self.checkpoint.origin {
            return Err(VerifyError::Origin {
                expected: log.name().clone(),
                found: self.checkpoint.origin.clone(),
            });
        }
        let text = self.note.text().as_bytes();
        let fits = |signature: &[u8]| {
            let signature = signature.try_into().ok()?;
            log.key().verify(CONTEXT, text, signature).ok()
        };
        self.first(log, fits).map(|()| &self.checkpoint)
    }

    /// Adds a cosignature, in place of one that says it is of the same key. It is not checked.
    ///
    /// # Errors
    /// [`NoteError::Signatures`] or [`NoteError::Length`] if there is no room for it.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        self.note.add(signature)
    }

    /// What `fits` makes of the first signature of a key that it takes.
    pub(super) fn first<T>(
        &self,
        key: &NoteKey,
        mut fits: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T, VerifyError> {
        let mut error = VerifyError::Missing {
            name: key.name().clone(),
        };
        for signature in self.note.signatures_of(key) {
            if let Some(value) = fits(signature) {
                return Ok(value);
            }
            error = VerifyError::Signature {
                name: key.name().clone(),
            };
        }
        Err(error)
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

pub(super) fn wrong_kind(key: &NoteKey) -> VerifyError {
    VerifyError::Kind {
        name: key.name().clone(),
        found: key.kind(),
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::super::origin::Origin;
    use super::super::tree::SIZE_MAX;
    use super::*;

    fn rng() -> ChaCha20Rng {
        ChaCha20Rng::from_seed([1; 32])
    }

    fn log() -> Keypair {
        Keypair::from_seed([1; 32])
    }

    fn origin() -> Origin {
        Origin::new(&Hash::of(b"genesis"), &Keypair::from_seed([2; 32]).public())
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: origin().name(),
            size: 20_852_163,
            root: Hash::of(b"root"),
        }
    }

    fn log_key() -> NoteKey {
        origin().key(&log().public())
    }

    #[test]
    fn texts_are_strict() {
        let text = checkpoint().text();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(Checkpoint::from_text(&text), Ok(checkpoint()));
        let extended = format!("{text}anything at all\nmore\n");
        assert_eq!(Checkpoint::from_text(&extended), Ok(checkpoint()));
        let root = super::super::to_base64(Hash::of(b"root").as_bytes());
        let size = SIZE_MAX + 1;
        for (from, to, error) in [
            ("20852163", "020852163", CheckpointError::Size),
            ("20852163", "", CheckpointError::Size),
            ("20852163", "-1", CheckpointError::Size),
            (
                "20852163",
                &size.to_string(),
                CheckpointError::Range(RangeError::Size { size }),
            ),
            (&root, &root[1..], CheckpointError::Root),
            (&root, "", CheckpointError::Root),
            (
                "adit/",
                "adit /",
                CheckpointError::Origin(NameError::Character { position: 4 }),
            ),
            (
                &checkpoint().origin.to_string(),
                "",
                CheckpointError::Origin(NameError::Empty),
            ),
            (&format!("{root}\n"), "", CheckpointError::Lines),
            ("=\n", "=", CheckpointError::Lines),
            ("=\n", "=\n\nline\n", CheckpointError::Extension),
            ("=\n", "=\nline\n\n", CheckpointError::Extension),
        ] {
            let other = text.replacen(from, to, 1);
            assert_eq!(Checkpoint::from_text(&other), Err(error), "{other:?}");
        }
        assert_eq!(Checkpoint::from_text(""), Err(CheckpointError::Lines));
    }

    #[test]
    fn a_log_signs_for_itself_alone() {
        let signed = checkpoint().sign(&log(), &mut rng());
        assert_eq!(signed.verify(&log_key()), Ok(&checkpoint()));
        let bytes = signed.to_string();
        assert_eq!(
            SignedCheckpoint::parse(bytes.as_bytes()),
            Ok(signed.clone())
        );
        assert_eq!(
            SignedCheckpoint::parse(b"no note"),
            Err(CheckpointError::Note(NoteError::Unsigned))
        );

        let name = log_key().name().clone();
        let missing = VerifyError::Missing { name: name.clone() };
        let other_key = origin().key(&Keypair::from_seed([9; 32]).public());
        assert_eq!(signed.verify(&other_key), Err(missing));
        let other_name: KeyName = "example.com/log".parse().unwrap();
        let other = NoteKey::new(other_name.clone(), KeyKind::Checkpoint, log().public());
        assert_eq!(
            signed.verify(&other),
            Err(VerifyError::Origin {
                expected: other_name,
                found: name.clone()
            })
        );
        let found = KeyKind::Mirror;
        let mirror = NoteKey::new(name.clone(), found, log().public());
        assert_eq!(
            signed.verify(&mirror),
            Err(VerifyError::Kind {
                name: name.clone(),
                found
            })
        );
        // Another size under the same signature, and a signature of another length.
        let altered = bytes.replace("20852163", "20852164");
        let altered = SignedCheckpoint::parse(altered.as_bytes()).unwrap();
        let bad = VerifyError::Signature { name };
        assert_eq!(altered.verify(&log_key()), Err(bad.clone()));
        let mut short = signed.clone();
        let mut line = signed.note().signatures()[0].clone();
        line.signature.pop();
        short.add(line).unwrap();
        assert_eq!(short.verify(&log_key()), Err(bad));
    }

    #[test]
    fn lines_that_strangers_add_do_no_harm() {
        let signed = checkpoint().sign(&log(), &mut rng());
        let own = signed.note().signatures()[0].clone();
        let forged = NoteSignature {
            signature: vec![1; 64],
            ..own.clone()
        };
        let unknown: NoteSignature = "\u{2014} example.com/other AAAAAAE=".parse().unwrap();
        let text = signed.note().text();
        let note = format!("{text}\n{unknown}{forged}{own}");
        let parsed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
        assert_eq!(parsed.verify(&log_key()), Ok(&checkpoint()));
        assert_eq!(parsed.to_string(), note);
    }

    #[test]
    fn extension_lines_are_signed() {
        let text = format!("{}extension\n", checkpoint().text());
        let own = NoteSignature {
            name: log_key().name().clone(),
            id: log_key().id(),
            signature: log().sign(CONTEXT, text.as_bytes(), &mut rng()).to_vec(),
        };
        let note = format!("{text}\n{own}");
        let parsed = SignedCheckpoint::parse(note.as_bytes()).unwrap();
        assert_eq!(parsed.verify(&log_key()), Ok(&checkpoint()));
        let without = note.replace("extension\n", "");
        let parsed = SignedCheckpoint::parse(without.as_bytes()).unwrap();
        assert!(parsed.verify(&log_key()).is_err());
    }
}
