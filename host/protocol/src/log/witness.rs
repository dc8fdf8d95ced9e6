//! What a log asks of a witness, and how a witness decides (C2SP `tlog-witness`).
//!
//! The body of `POST add-checkpoint` is `old N`, the lines of a consistency proof from that size,
//! a blank line, and the checkpoint. The decision is a function of what the witness knows; to write
//! its new state before the answer, and to let no other request come between, is the caller's part.

use std::fmt;

use thiserror::Error;

use super::checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint, VerifyError};
use super::key::NoteKey;
use super::note;
use super::proof::{PROOF_MAX, ProofError, verify_consistency};
use super::tree::empty_root;
use crate::hash::Hash;

/// Bytes of the largest request: a note, the lines of the longest proof, the first line.
pub const MAX_LEN: usize = note::MAX_LEN + PROOF_MAX * 45 + 32;

/// A request to cosign a checkpoint. Its text form is the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the witness is thought to know; 0 for a log that is new to it.
    pub old: u64,
    /// The proof that the checkpoint's tree continues the one of that size.
    pub proof: Vec<Hash>,
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
}

/// Why bytes are no such request. The answer to it is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// There are more than [`MAX_LEN`].
    #[error(
        "the request has {found} bytes, more than {MAX_LEN}; hint: leave out signatures that the witness does not ask for"
    )]
    Length {
        /// Its bytes.
        found: usize,
    },
    /// The first line is not `old` and a number.
    #[error(
        "the first line is not `old N` with a decimal number; hint: 0 for a log that is new to the witness"
    )]
    Old,
    /// No blank line follows the proof.
    #[error("no blank line follows the proof; hint: the checkpoint comes after one")]
    Separator,
    /// A line of the proof is not the base64 of 32 bytes.
    #[error(
        "line {line} of the proof is not the base64 of 32 bytes; hint: each hash has a line of its own"
    )]
    Hash {
        /// Which line, from 1.
        line: usize,
    },
    /// The proof has more lines than [`PROOF_MAX`].
    #[error("the proof has more than 63 lines; hint: no consistency proof needs more")]
    Proof,
    /// What follows is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", super::to_base64(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl AddCheckpoint {
    /// Reads the body of a request, in its one form only.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(bytes: &[u8]) -> Result<AddCheckpoint, RequestError> {
        if bytes.len() > MAX_LEN {
            return Err(RequestError::Length { found: bytes.len() });
        }
        let mut rest = bytes;
        let old = line(&mut rest)
            .and_then(|line| line.strip_prefix("old "))
            .and_then(super::decimal)
            .ok_or(RequestError::Old)?;
        let mut proof = Vec::new();
        loop {
            let at = proof.len() + 1;
            if !rest.contains(&b'\n') {
                return Err(RequestError::Separator);
            }
            match line(&mut rest) {
                Some("") => break,
                Some(_) if at > PROOF_MAX => return Err(RequestError::Proof),
                text => {
                    let hash = text.and_then(super::base64_hash);
                    proof.push(hash.ok_or(RequestError::Hash { line: at })?);
                }
            }
        }
        let checkpoint = SignedCheckpoint::parse(rest)?;
        Ok(AddCheckpoint {
            old,
            proof,
            checkpoint,
        })
    }
}

/// Takes a line from the front, without its newline; `None` if it is no text or there is none.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (line, after) = (rest.get(..end)?, rest.get(end + 1..)?);
    *rest = after;
    str::from_utf8(line).ok()
}

/// What a witness last cosigned of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Entries of the log.
    pub size: u64,
    /// Root of the tree of that size.
    pub root: Hash,
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The body is no request.
    #[error(transparent)]
    Malformed(#[from] RequestError),
    /// The witness does not know the log.
    #[error(
        "the witness does not watch the log {origin}; hint: ask its operator to add the log's key"
    )]
    UnknownLog {
        /// The checkpoint's origin.
        origin: String,
    },
    /// The log has not signed the checkpoint.
    #[error(transparent)]
    NotSigned(#[from] VerifyError),
    /// The size that the witness is thought to know is larger than the checkpoint's.
    #[error(
        "the old size {old} is larger than the checkpoint's {size}; hint: are the two exchanged?"
    )]
    OldSize {
        /// The old size.
        old: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// The witness knows another size than it is thought to.
    #[error("the witness has last seen {known} entries; hint: send the proof from there")]
    Conflict {
        /// The size that it knows.
        known: u64,
    },
    /// The checkpoint has the size that the witness knows, and another root: the log was forked.
    #[error(
        "the witness knows another root of {known} entries; hint: the log has shown two histories; keep both checkpoints as evidence"
    )]
    Forked {
        /// The size.
        known: u64,
    },
    /// The proof does not show that the log continues what the witness knows.
    #[error("the checkpoint is not shown to continue what the witness knows: {0}")]
    Proof(ProofError),
}

impl Refusal {
    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) | Refusal::OldSize { .. } => 400,
            Refusal::UnknownLog { .. } => 404,
            Refusal::NotSigned(_) => 403,
            Refusal::Conflict { .. } | Refusal::Forked { .. } => 409,
            Refusal::Proof(_) => 422,
        }
    }

    /// The size that goes into the body of an answer of 409, in decimal with a newline, as
    /// `text/x.tlog.size`.
    pub fn known_size(&self) -> Option<u64> {
        match self {
            Refusal::Conflict { known } | Refusal::Forked { known } => Some(*known),
            _ => None,
        }
    }
}

/// Whether a witness cosigns: it does if this returns a checkpoint, whose size and root are its new
/// state of the log. `log` is the key that it trusts for the checkpoint's origin, `None` if it knows
/// no such log, and `state` what it last cosigned, `None` if nothing.
///
/// # Errors
/// [`Refusal`], in the order in which `tlog-witness` has the checks.
pub fn judge<'a>(
    request: &'a AddCheckpoint,
    log: Option<&NoteKey>,
    state: Option<State>,
) -> Result<&'a Checkpoint, Refusal> {
    let Some(log) = log else {
        let origin = request.checkpoint.unverified().origin.to_string();
        return Err(Refusal::UnknownLog { origin });
    };
    let checkpoint = request.checkpoint.verify(log)?;
    let (old, size) = (request.old, checkpoint.size);
    if old > size {
        return Err(Refusal::OldSize { old, size });
    }
    let known = state.unwrap_or(State {
        size: 0,
        root: empty_root(),
    });
    if old != known.size {
        return Err(Refusal::Conflict { known: known.size });
    }
    if old == size && checkpoint.root != known.root {
        return Err(Refusal::Forked { known: known.size });
    }
    verify_consistency(old, &known.root, size, &checkpoint.root, &request.proof)
        .map_err(Refusal::Proof)?;
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    use super::super::key::KeyKind;
    use super::super::note::NoteError;
    use super::super::proof::consistency;
    use super::super::tree::{Frontier, leaf_hash, root};
    use super::*;
    use crate::keys::Keypair;

    fn log() -> Keypair {
        Keypair::from_seed([1; 32])
    }

    fn key() -> NoteKey {
        NoteKey::new("log".parse().unwrap(), KeyKind::Checkpoint, log().public())
    }

    /// The hash of a subtree of a log whose entries are all alike.
    fn reader(level: u8, _: u64) -> Result<Hash, std::convert::Infallible> {
        let mut tree = Frontier::new();
        for _ in 0..1 << level {
            tree.append(leaf_hash(b"entry")).unwrap();
        }
        Ok(tree.root())
    }

    fn state(size: u64) -> State {
        let root = root(&mut reader, size).unwrap();
        State { size, root }
    }

    fn checkpoint(size: u64, root: Hash) -> SignedCheckpoint {
        let origin = key().name().clone();
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        Checkpoint { origin, size, root }.sign(&log(), &mut rng)
    }

    fn request(old: u64, new: u64) -> AddCheckpoint {
        AddCheckpoint {
            old,
            proof: consistency(&mut reader, old, new).unwrap(),
            checkpoint: checkpoint(new, state(new).root),
        }
    }

    #[test]
    fn requests_round_trip() {
        for (old, new) in [(0, 0), (0, 5), (3, 7), (7, 7)] {
            let request = request(old, new);
            let text = request.to_string();
            assert!(text.starts_with(&format!("old {old}\n")));
            assert_eq!(AddCheckpoint::parse(text.as_bytes()), Ok(request));
        }
    }

    #[test]
    fn other_bodies_are_refused() {
        let text = request(3, 7).to_string();
        let hash = super::super::to_base64([0; 32]);
        let lines = |count: usize| format!("\n{}", format!("{hash}\n").repeat(count));
        let checkpoint = CheckpointError::Note(NoteError::Unsigned);
        for (body, error) in [
            (String::new(), RequestError::Old),
            ("old 3".into(), RequestError::Old),
            (text.replace("old 3", "old 03"), RequestError::Old),
            (text.replace("old 3", "old  3"), RequestError::Old),
            (text.replace("old 3", "old 3 "), RequestError::Old),
            (text.replace("old 3", "new 3"), RequestError::Old),
            (text.replace("old 3\n", "old 3\r\n"), RequestError::Old),
            ("old 3\n".into(), RequestError::Separator),
            (format!("old 3\n{hash}\n"), RequestError::Separator),
            (format!("old 3\n{hash}"), RequestError::Separator),
            (
                text.replacen('\n', &lines(1).replace("=", ""), 1),
                RequestError::Hash { line: 1 },
            ),
            (
                text.replacen("\n\n", "\n \n", 1),
                RequestError::Hash { line: 5 },
            ),
            (text.replacen('\n', &lines(60), 1), RequestError::Proof),
            ("old 3\n\n".into(), RequestError::Checkpoint(checkpoint)),
        ] {
            assert_eq!(
                AddCheckpoint::parse(body.as_bytes()),
                Err(error),
                "{body:?}"
            );
        }
        assert!(AddCheckpoint::parse(text.replacen('\n', &lines(59), 1).as_bytes()).is_ok());
        let mut not_text = text.clone().into_bytes();
        not_text[6] = 0xff;
        assert_eq!(
            AddCheckpoint::parse(&not_text),
            Err(RequestError::Hash { line: 1 })
        );
        let found = MAX_LEN + 1;
        assert_eq!(
            AddCheckpoint::parse(&vec![b'\n'; found]),
            Err(RequestError::Length { found })
        );
    }

    #[test]
    fn what_continues_is_cosigned() {
        for (old, new) in [(0, 0), (0, 5), (3, 7), (7, 7), (256, 300)] {
            let request = request(old, new);
            let known = (old > 0).then(|| state(old));
            let accepted = judge(&request, Some(&key()), known).unwrap();
            assert_eq!(*accepted, *request.checkpoint.unverified());
            assert_eq!((accepted.size, accepted.root), (new, state(new).root));
        }
        // A log that was first seen without entries.
        assert!(judge(&request(0, 5), Some(&key()), Some(state(0))).is_ok());
    }

    #[test]
    fn what_does_not_is_refused() {
        let good = request(3, 7);
        let known = Some(state(3));
        let refusal = |request: &AddCheckpoint, log: Option<&NoteKey>, known| {
            let refusal = judge(request, log, known).unwrap_err();
            (refusal.status(), refusal.known_size(), refusal)
        };
        let origin = "log".to_owned();
        assert_eq!(
            refusal(&good, None, known),
            (404, None, Refusal::UnknownLog { origin })
        );
        let other = Keypair::from_seed([9; 32]).public();
        let other = NoteKey::new(key().name().clone(), KeyKind::Checkpoint, other);
        let name = key().name().clone();
        assert_eq!(
            refusal(&good, Some(&other), known),
            (403, None, Refusal::NotSigned(VerifyError::Missing { name }))
        );
        let with_old = |old| AddCheckpoint {
            old,
            ..good.clone()
        };
        let key = key();
        let log = Some(&key);
        assert_eq!(
            refusal(&with_old(8), log, known),
            (400, None, Refusal::OldSize { old: 8, size: 7 })
        );
        for (old, state, known) in [(2, known, 3), (3, None, 0), (0, known, 3)] {
            assert_eq!(
                refusal(&with_old(old), log, state),
                (409, Some(known), Refusal::Conflict { known })
            );
        }
        let fork = AddCheckpoint {
            old: 3,
            proof: vec![],
            checkpoint: checkpoint(3, Hash::of(b"another history")),
        };
        assert_eq!(
            refusal(&fork, log, known),
            (409, Some(3), Refusal::Forked { known: 3 })
        );
        let rewritten = AddCheckpoint {
            checkpoint: checkpoint(7, Hash::of(b"another history")),
            ..good.clone()
        };
        assert_eq!(
            refusal(&rewritten, log, known),
            (422, None, Refusal::Proof(ProofError::Root))
        );
        let known_other = State {
            size: 3,
            root: Hash::of(b"another history"),
        };
        assert_eq!(
            refusal(&good, log, Some(known_other)),
            (422, None, Refusal::Proof(ProofError::OldRoot))
        );
        let mut unproven = good.clone();
        unproven.proof.clear();
        let (expected, found) = (good.proof.len(), 0);
        assert_eq!(
            refusal(&unproven, log, known),
            (
                422,
                None,
                Refusal::Proof(ProofError::Length { expected, found })
            )
        );
        // A proof where there is nothing to prove.
        let mut first = request(0, 5);
        first.proof.push(Hash::ZERO);
        assert_eq!(refusal(&first, log, None).0, 422);
        let malformed = Refusal::Malformed(RequestError::Old);
        assert_eq!((malformed.status(), malformed.known_size()), (400, None));
    }
}
