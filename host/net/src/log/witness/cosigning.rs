//! A log's side of cosigning, while it runs: each new checkpoint goes to all witnesses, and before the
//! log goes on after a start they are asked what they know of it.
//!
//! What they know protects against the one thing that a state folder cannot tell of itself: that all
//! of it was put back to an earlier time. A witness that cannot be asked keeps nobody from starting,
//! since it would take all logs with it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adit_protocol::keys::Keypair;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::key::NoteKey;
use adit_protocol::log::note::NoteSignature;
use adit_protocol::log::tree::empty_root;
use rand_core::OsRng;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::super::reader::{LogReader, Trust};
use super::super::source::{FolderSource, SourceError, TileSource as _};
use super::super::{CHECKPOINT, LogError};
use super::client::{WitnessClient, WitnessError, ask_all, cosign_all};
use crate::http::client::{Client, ClientConfig, ClientError, Retry};
use crate::tls::Roots;

/// How often is looked for a new checkpoint.
const LOOK: Duration = Duration::from_millis(250);
/// After how many looks a checkpoint that not all have cosigned is sent to them again.
const AGAIN: u32 = 40;
/// The time that a witness has for its answer, in milliseconds.
const ANSWER_MS: u64 = 5_000;

impl WitnessClient {
    /// The witness of a key at an address, as a log that runs asks it: once, and not for long, since
    /// the next checkpoint comes soon.
    ///
    /// # Errors
    /// [`ClientError`], if nobody can be asked at that address.
    pub fn at(key: NoteKey, url: Url, roots: Roots) -> Result<WitnessClient, ClientError> {
        let config = ClientConfig {
            roots,
            timeout_ms: ANSWER_MS,
            retry: Retry::NEVER,
            ..ClientConfig::new(url)
        };
        Ok(WitnessClient::new(key, Client::new(config)?))
    }
}

/// Asks the witnesses what they know of the log with the key `own`, before it is opened. `log` signs
/// its checkpoints.
///
/// # Errors
/// The word of a witness by which the log must not go on from its state.
pub async fn before_start(
    folder: &Path,
    own: &NoteKey,
    log: &Keypair,
    witnesses: &[WitnessClient],
) -> Result<(), WitnessError> {
    if witnesses.is_empty() {
        return Ok(());
    }
    let source = FolderSource(folder.to_owned());
    let signed = match source.note(CHECKPOINT).await {
        Ok(bytes) => SignedCheckpoint::parse(&bytes).ok(),
        // A checkpoint of no entries contradicts nothing.
        Err(SourceError::Missing { .. }) => {
            let none = Checkpoint {
                origin: own.name().clone(),
                size: 0,
                root: empty_root(),
            };
            Some(none.sign(log, &mut OsRng))
        }
        Err(_) => None,
    };
    // What cannot be read or is not the log's own is found when the log is opened.
    let Some(signed) = signed.filter(|signed| signed.verify(own).is_ok()) else {
        return Ok(());
    };
    for (name, standing) in ask_all(witnesses, &signed).await {
        match standing {
            Ok(standing) => tracing::debug!(%name, ?standing, "a witness was asked"),
            Err(error) if error.is_alarm() => return Err(error),
            Err(error) => {
                tracing::warn!(%name, %error, "a witness could not be asked what it knows of the log")
            }
        }
    }
    Ok(())
}

/// What a witness said in favour of a checkpoint, for [`Log::add_cosignatures`].
///
/// [`Log::add_cosignatures`]: super::super::Log::add_cosignatures
#[derive(Debug)]
pub struct Cosigned {
    /// The checkpoint.
    pub signed: SignedCheckpoint,
    /// Keys of all witnesses that were asked.
    pub witnesses: Vec<NoteKey>,
    /// Their signatures, as far as they came.
    pub lines: Vec<NoteSignature>,
}

impl Cosigned {
    /// Publishes them in a log. How many of the witnesses have cosigned the checkpoint by now.
    ///
    /// # Errors
    /// As [`Log::add_cosignatures`](super::super::Log::add_cosignatures).
    pub fn publish(
        self,
        log: &mut super::super::Log,
        db: &mut crate::db::Db,
    ) -> Result<usize, LogError> {
        log.set_witnesses(self.witnesses);
        log.add_cosignatures(db, &self.signed, &self.lines)
    }
}

/// A log of this process, whose checkpoints are cosigned.
pub trait Publisher: Send + Sync {
    /// The witnesses, if they are others than those of the number `known`, with their own number.
    fn witnesses(&self, known: Option<u64>) -> Option<(u64, Vec<WitnessClient>)>;

    /// The key of the log, with its origin as name.
    fn key(&self) -> NoteKey;

    /// Publishes cosignatures, and returns how many witnesses have cosigned the checkpoint by now.
    /// What keeps it from that is logged.
    fn publish(&self, cosigned: Cosigned) -> impl Future<Output = usize> + Send;
}

/// The checkpoint that was sent to the witnesses last.
struct Sent {
    checkpoint: Checkpoint,
    /// How many had cosigned it.
    count: usize,
    /// Looks since then.
    looks: u32,
}

/// Has each new checkpoint of the log in a folder cosigned, until it is stopped.
pub async fn serve(folder: PathBuf, publisher: impl Publisher, stopped: CancellationToken) {
    let mut known = None;
    let mut clients = Vec::new();
    let mut sent: Option<Sent> = None;
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep(LOOK) => {}
            () = stopped.cancelled() => return,
        }
        if let Some((number, witnesses)) = publisher.witnesses(known) {
            known = Some(number);
            clients = witnesses;
            sent = None;
        }
        if clients.is_empty() {
            continue;
        }
        let key = publisher.key();
        let Some(signed) = newest(&folder, &key).await else {
            continue;
        };
        if let Some(sent) = &mut sent
            && sent.checkpoint == *signed.unverified()
        {
            sent.looks = sent.looks.saturating_add(1);
            if sent.count == clients.len() || sent.looks < AGAIN {
                continue;
            }
        }
        let count = tokio::select! {
            biased;
            count = cosign(&folder, key, &clients, &signed, &publisher) => count,
            () = stopped.cancelled() => return,
        };
        sent = Some(Sent {
            checkpoint: signed.unverified().clone(),
            count,
            looks: 0,
        });
    }
}

/// The newest checkpoint that is published; nothing is sent that is not.
async fn newest(folder: &Path, key: &NoteKey) -> Option<SignedCheckpoint> {
    let source = FolderSource(folder.to_owned());
    let signed = SignedCheckpoint::parse(&source.note(CHECKPOINT).await.ok()?).ok()?;
    signed.verify(key).is_ok().then_some(signed)
}

/// Has a checkpoint cosigned by all, and returns how many have.
async fn cosign(
    folder: &Path,
    key: NoteKey,
    clients: &[WitnessClient],
    signed: &SignedCheckpoint,
    publisher: &impl Publisher,
) -> usize {
    let reader = LogReader::new(FolderSource(folder.to_owned()), Trust::log_alone(key));
    let mut lines = Vec::new();
    for (name, line) in cosign_all(clients, &reader, signed).await {
        match line {
            Ok(line) => lines.push(line),
            Err(error) if error.is_alarm() => {
                tracing::error!(%name, %error, "a witness contradicts this log")
            }
            Err(error) => tracing::warn!(%name, %error, "a witness has not cosigned"),
        }
    }
    if lines.is_empty() {
        return 0;
    }
    let witnesses = clients.iter().map(|client| client.key().clone()).collect();
    let cosigned = Cosigned {
        signed: signed.clone(),
        witnesses,
        lines,
    };
    publisher.publish(cosigned).await
}
