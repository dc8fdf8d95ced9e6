//! A witness. What it knows of each log is on disk before it answers, and requests for one log are
//! judged one after the other: so it never cosigns two histories, whatever ends it.
//!
//! Trusted: the database. Whoever can write to it, or put an older copy in its place, can have the
//! witness cosign another history from there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use adit_protocol::hash::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use adit_protocol::log::key::{KeyKind, KeyName, NoteKey};
use adit_protocol::log::witness::{AddCheckpoint, MAX_LEN, Refusal, State, judge};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use rand_core::OsRng;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::SIZE_TYPE;
use crate::clock::Clock;
use crate::db::{Db, DbError};
use crate::problem::Problem;

/// The witness's tables, which belong into the migrations of its database. `witness_fork` keeps
/// pairs of checkpoints that contradict each other.
pub const MIGRATION: &str = "
CREATE TABLE witness_log (
    origin TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    note TEXT NOT NULL
) STRICT;
CREATE TABLE witness_fork (
    origin TEXT NOT NULL,
    note TEXT NOT NULL,
    other TEXT NOT NULL
) STRICT;
";

/// The most pairs of contradicting checkpoints that are kept of a log: one is proof enough.
const FORKS_MAX: i64 = 16;

/// What a witness is made with.
pub struct WitnessOptions {
    /// Its name in its cosignatures.
    pub name: KeyName,
    /// Its key, which cosigns and does nothing else.
    pub key: Keypair,
    /// The keys of the logs that it watches; their names are the logs' origins.
    pub logs: Vec<NoteKey>,
    /// The time of its cosignatures.
    pub clock: Arc<dyn Clock>,
}

/// A witness.
pub struct Witness {
    name: KeyName,
    key: Keypair,
    clock: Arc<dyn Clock>,
    logs: RwLock<BTreeMap<KeyName, NoteKey>>,
    /// Locked while a request is judged and its outcome stored.
    db: Mutex<Db>,
}

/// How a request ended that was not refused by the rules.
enum Failure {
    Refused(Refusal),
    Database(DbError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Database(error.into())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

impl Witness {
    /// A witness with its database, which has [`MIGRATION`] among its migrations.
    pub fn new(db: Db, options: WitnessOptions) -> Witness {
        let witness = Witness {
            name: options.name,
            key: options.key,
            clock: options.clock,
            logs: RwLock::default(),
            db: Mutex::new(db),
        };
        witness.set_logs(options.logs);
        witness
    }

    /// The key that its cosignatures are checked with.
    pub fn note_key(&self) -> NoteKey {
        NoteKey::new(self.name.clone(), KeyKind::Cosignature, self.key.public())
    }

    /// Replaces the logs that it watches. What it knows of those that are gone is kept, in case they
    /// come back.
    pub fn set_logs(&self, logs: Vec<NoteKey>) {
        let logs = logs.into_iter().map(|key| (key.name().clone(), key));
        *self.logs.write().unwrap_or_else(PoisonError::into_inner) = logs.collect();
    }

    /// What it last cosigned of a log; `None` if nothing.
    ///
    /// # Errors
    /// [`DbError`].
    pub fn known(&self, origin: &KeyName) -> Result<Option<State>, DbError> {
        let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(read(db.connection(), origin)?.map(|(state, _)| state))
    }

    fn log(&self, origin: &KeyName) -> Option<NoteKey> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.get(origin).cloned()
    }

    /// Judges a request, and cosigns.
    fn add(&self, body: &[u8]) -> Result<String, Failure> {
        let request = AddCheckpoint::parse(body).map_err(Refusal::Malformed)?;
        let said = request.checkpoint.unverified();
        let log = self.log(&said.origin);
        // What nobody signed is not worth waiting for the lock.
        if let Some(log) = &log {
            request.checkpoint.verify(log).map_err(Refusal::NotSigned)?;
        }
        let time_s = self.clock.now_s();
        let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match &log {
            Some(log) => read(db.connection(), log.name())?,
            None => None,
        };
        let state = known.as_ref().map(|(state, _)| *state);
        match judge(&request, log.as_ref(), state) {
            Ok(checkpoint) => store(&mut db, checkpoint, &request.checkpoint, state)?,
            Err(refusal) => {
                if let (Refusal::Forked { .. }, Some((_, note))) = (&refusal, &known) {
                    tracing::error!(origin = %said.origin, size = said.size, "a log was forked");
                    keep_fork(&mut db, &said.origin, note, &request.checkpoint)?;
                }
                return Err(refusal.into());
            }
        }
        drop(db);
        let (kind, name) = (KeyKind::Cosignature, &self.name);
        let line = request
            .checkpoint
            .cosign(kind, name, &self.key, time_s, &mut OsRng);
        // The kind is a cosigner's; a clock beyond the end of time is the operator's to set.
        line.map(|line| line.to_string())
            .map_err(|error| Failure::Database(DbError::Sqlite(other(error))))
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

/// What is known of a log, with the note.
fn read(connection: &Connection, origin: &KeyName) -> rusqlite::Result<Option<(State, String)>> {
    connection
        .prepare_cached("SELECT size, root, note FROM witness_log WHERE origin = ?1")?
        .query_row([origin.as_str()], |row| {
            let size: i64 = row.get(0)?;
            let root: [u8; 32] = row.get(1)?;
            let size = u64::try_from(size)
                .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, size))?;
            let root = Hash::from_bytes(root);
            Ok((State { size, root }, row.get(2)?))
        })
        .optional()
}

/// Stores what is to be cosigned; it is on disk when this returns.
fn store(
    db: &mut Db,
    checkpoint: &Checkpoint,
    signed: &SignedCheckpoint,
    state: Option<State>,
) -> rusqlite::Result<()> {
    let new = State {
        size: checkpoint.size,
        root: checkpoint.root,
    };
    if state == Some(new) {
        return Ok(());
    }
    let transaction = db
        .connection()
        .transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction
        .prepare_cached(
            "INSERT INTO witness_log (origin, size, root, note) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (origin) DO UPDATE
             SET size = excluded.size, root = excluded.root, note = excluded.note",
        )?
        .execute(params![
            checkpoint.origin.as_str(),
            i64::try_from(checkpoint.size).unwrap_or(i64::MAX),
            checkpoint.root.as_bytes(),
            signed.to_string()
        ])?;
    transaction.commit()
}

/// Keeps two checkpoints that contradict each other.
fn keep_fork(
    db: &mut Db,
    origin: &KeyName,
    note: &str,
    signed: &SignedCheckpoint,
) -> rusqlite::Result<()> {
    db.connection().execute(
        "INSERT INTO witness_fork (origin, note, other) SELECT ?1, ?2, ?3
         WHERE (SELECT count(*) FROM witness_fork WHERE origin = ?1) < ?4",
        params![origin.as_str(), note, signed.to_string(), FORKS_MAX],
    )?;
    Ok(())
}

/// Serves a witness: `POST /add-checkpoint`, and `GET /` for its verifier key.
pub fn router(witness: Arc<Witness>) -> Router {
    let vkey = Router::new()
        .route("/", get(vkey))
        .with_state(Arc::clone(&witness));
    submissions(witness).merge(vkey)
}

/// Serves a witness beside something else: `POST /add-checkpoint` alone.
pub fn submissions(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .layer(DefaultBodyLimit::max(MAX_LEN))
        .with_state(witness)
}

async fn vkey(Extract(witness): Extract<Arc<Witness>>) -> String {
    format!("{}\n", witness.note_key())
}

async fn add_checkpoint(
    Extract(witness): Extract<Arc<Witness>>,
    body: Bytes,
) -> Result<Response, Problem> {
    // The database waits for the disk.
    let judged = tokio::task::spawn_blocking(move || witness.add(&body)).await;
    match judged.map_err(Problem::internal)? {
        Ok(line) => Ok(line.into_response()),
        Err(Failure::Refused(refusal)) => Ok(refused(&refusal)),
        Err(Failure::Database(error)) => Err(Problem::internal(error)),
    }
}

/// The statuses and bodies of `tlog-witness`, which are not the ones of our own interfaces.
fn refused(refusal: &Refusal) -> Response {
    tracing::debug!(%refusal, "a checkpoint was not cosigned");
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal.known_size() {
        Some(size) => (status, [(CONTENT_TYPE, SIZE_TYPE)], format!("{size}\n")).into_response(),
        None => (status, format!("{refusal}\n")).into_response(),
    }
}
