//! What a log asks of its witnesses: to cosign its newest checkpoint, and what they last saw.

use std::sync::atomic::{AtomicU64, Ordering};

use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::key::{KeyName, NoteKey};
use adit_protocol::log::note::{NoteSignature, parse_signatures};
use adit_protocol::log::witness::AddCheckpoint;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use thiserror::Error;

use super::super::reader::{LogReader, ReadLogError};
use super::super::source::TileSource;
use crate::http::client::{Client, ClientError};

/// Witnesses that are asked at once.
const AT_ONCE: usize = 16;
/// The longest answer of a witness.
const ANSWER_MAX: usize = 16 * 1024;

/// Why a witness has not cosigned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// It could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The proof for it could not be made.
    #[error("the proof for a witness cannot be made: {0}")]
    Proof(#[from] ReadLogError),
    /// It has cosigned a larger log.
    #[error(
        "the witness {witness} has cosigned {known} entries, and the checkpoint has {size}; hint: this log's state was restored from a backup, or another process signs with its key; sign nothing more until that is clear"
    )]
    Ahead {
        /// The witness.
        witness: KeyName,
        /// Entries that it has cosigned.
        known: u64,
        /// Entries of the checkpoint.
        size: u64,
    },
    /// It has cosigned another tree of this size.
    #[error(
        "the witness {witness} has cosigned another root of {size} entries; hint: two histories were signed with this log's key; sign nothing more, and keep both as evidence"
    )]
    Forked {
        /// The witness.
        witness: KeyName,
        /// Entries of both.
        size: u64,
    },
    /// Its answer is none.
    #[error(
        "the answer of the witness {witness} is not valid: {why}; hint: is its address right, and is it the configured key?"
    )]
    Answer {
        /// The witness.
        witness: KeyName,
        /// What is wrong with it.
        why: String,
    },
}

impl WitnessError {
    /// Whether it says that the log's own state must not be built on.
    pub fn is_alarm(&self) -> bool {
        matches!(
            self,
            WitnessError::Ahead { .. } | WitnessError::Forked { .. }
        )
    }
}

/// What a witness knows of a log, as against the log's own checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has cosigned this checkpoint.
    Same,
    /// It has cosigned so many entries, fewer than the checkpoint has, or none.
    Behind {
        /// How many; 0 for none.
        known: u64,
    },
}

/// A witness, as a log sees it.
#[derive(Debug)]
pub struct WitnessClient {
    key: NoteKey,
    client: Client,
    /// What it has cosigned last, as far as is known here.
    known: AtomicU64,
}

/// What it answers.
enum Answer {
    Cosigned(NoteSignature),
    /// It knows this size.
    Known(u64),
}

impl WitnessClient {
    /// The witness of a key at the address that is the client's base.
    pub fn new(key: NoteKey, client: Client) -> WitnessClient {
        WitnessClient {
            key,
            client,
            known: AtomicU64::new(0),
        }
    }

    /// The key of its cosignatures.
    pub fn key(&self) -> &NoteKey {
        &self.key
    }

    /// Has it cosign a checkpoint, whose log `reader` reads for the proof.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub async fn cosign<S: TileSource>(
        &self,
        reader: &LogReader<S>,
        signed: &SignedCheckpoint,
    ) -> Result<NoteSignature, WitnessError> {
        let size = signed.unverified().size;
        let mut old = self.known.load(Ordering::Relaxed).min(size);
        // It says what it knows if that is something else. It may change once more if others
        // submit too, as a mirror does.
        for _ in 0..3 {
            match self.submit(reader, signed, old).await? {
                Answer::Cosigned(line) => {
                    self.known.store(size, Ordering::Relaxed);
                    return Ok(line);
                }
                Answer::Known(known) if known == old => break,
                Answer::Known(known) => old = self.within(known, size)?,
            }
        }
        Err(WitnessError::Answer {
            witness: self.key.name().clone(),
            why: "it contradicts itself on what it knows".to_owned(),
        })
    }

    /// Asks what it knows of the log, by submitting a checkpoint that it may have cosigned. For a
    /// log that is about to be continued: it must not be ahead.
    ///
    /// # Errors
    /// [`WitnessError`]; an [alarm](WitnessError::is_alarm) if it knows of more than the checkpoint
    /// has, or of something else.
    pub async fn standing(&self, signed: &SignedCheckpoint) -> Result<Standing, WitnessError> {
        let size = signed.unverified().size;
        match self.post(signed, size, vec![]).await? {
            Answer::Cosigned(_) => {
                self.known.store(size, Ordering::Relaxed);
                Ok(Standing::Same)
            }
            Answer::Known(known) if known == size => Err(self.forked(size)),
            Answer::Known(known) => Ok(Standing::Behind {
                known: self.within(known, size)?,
            }),
        }
    }

    fn within(&self, known: u64, size: u64) -> Result<u64, WitnessError> {
        match known > size {
            true => Err(WitnessError::Ahead {
                witness: self.key.name().clone(),
                known,
                size,
            }),
            false => {
                self.known.store(known, Ordering::Relaxed);
                Ok(known)
            }
        }
    }

    fn forked(&self, size: u64) -> WitnessError {
        WitnessError::Forked {
            witness: self.key.name().clone(),
            size,
        }
    }

    async fn submit<S: TileSource>(
        &self,
        reader: &LogReader<S>,
        signed: &SignedCheckpoint,
        old: u64,
    ) -> Result<Answer, WitnessError> {
        let size = signed.unverified().size;
        let proof = reader.prove_consistency(old, size).await?;
        match self.post(signed, old, proof).await? {
            Answer::Known(known) if known == size && old == size => Err(self.forked(size)),
            answer => Ok(answer),
        }
    }

    async fn post(
        &self,
        signed: &SignedCheckpoint,
        old: u64,
        proof: Vec<adit_protocol::Hash>,
    ) -> Result<Answer, WitnessError> {
        let bad = |why: String| WitnessError::Answer {
            witness: self.key.name().clone(),
            why: why.split("; hint:").next().unwrap_or_default().to_owned(),
        };
        let checkpoint = signed.clone();
        let request = AddCheckpoint {
            old,
            proof,
            checkpoint,
        };
        let answer = self
            .client
            .post("/add-checkpoint")
            .bytes(
                "text/plain; charset=utf-8",
                request.to_string().into_bytes(),
            )
            .also(StatusCode::CONFLICT)
            .answer_bytes_max(ANSWER_MAX)
            // The same checkpoint may be cosigned any number of times.
            .idempotent()
            .send()
            .await?;
        if answer.status == StatusCode::CONFLICT {
            let text = str::from_utf8(&answer.bytes).unwrap_or_default();
            let known = text.strip_suffix('\n').unwrap_or(text).parse();
            return known
                .map(Answer::Known)
                .map_err(|_| bad("it names no size".to_owned()));
        }
        let lines = parse_signatures(&answer.bytes).map_err(|error| bad(error.to_string()))?;
        let line = lines
            .into_iter()
            .find(|line| line.id == self.key.id() && line.name == *self.key.name())
            .ok_or_else(|| bad("it is not signed with the witness's key".to_owned()))?;
        let mut cosigned = signed.clone();
        cosigned
            .add(line.clone())
            .map_err(|error| bad(error.to_string()))?;
        cosigned
            .verify_cosignature(&self.key)
            .map_err(|error| bad(error.to_string()))?;
        Ok(Answer::Cosigned(line))
    }
}

/// Has all witnesses cosign a checkpoint. Those that do not are told apart, and keep no other
/// waiting.
pub async fn cosign_all<S: TileSource>(
    witnesses: &[WitnessClient],
    reader: &LogReader<S>,
    signed: &SignedCheckpoint,
) -> Vec<(KeyName, Result<NoteSignature, WitnessError>)> {
    stream::iter(witnesses)
        .map(async |witness| {
            let line = witness.cosign(reader, signed).await;
            (witness.key.name().clone(), line)
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}

/// Asks all witnesses what they know of a log that is about to be continued from `signed`. If any of
/// them [alarms](WitnessError::is_alarm), nothing must be signed.
pub async fn ask_all(
    witnesses: &[WitnessClient],
    signed: &SignedCheckpoint,
) -> Vec<(KeyName, Result<Standing, WitnessError>)> {
    stream::iter(witnesses)
        .map(async |witness| (witness.key.name().clone(), witness.standing(signed).await))
        .buffered(AT_ONCE)
        .collect()
        .await
}
