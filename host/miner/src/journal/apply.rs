//! What a commit makes durable, and how it gets into the tables.
//!
//! Bodies are on disk at once, in a write-ahead log beside the database ([`adit_net::wal`]): one record
//! for all that are committed together. The tables get them a little later, many in one transaction,
//! with the signatures and answers that have come by then. Whatever reads the tables has that done
//! before.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adit_net::wal::{Record, Wal};
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::network::assignment::Assignment;
use adit_protocol::receipt::{BODY_LEN, ReceiptBody};
use adit_protocol::signed::Signed;
use minicbor::{Decode, Encode};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::time::Instant;

use super::{
    Answer, Batch, Begun, Journal, JournalError, NodeKey, Parts, Point, Settled, State, damaged,
    schema, signed, unsigned,
};

/// How long what is committed waits for more before it goes to the tables.
const LATER: Duration = Duration::from_millis(50);
/// So many bodies, signatures or answers do not wait for more.
const MANY: usize = 1024;
/// So many bytes of bodies, with what belongs to them, do not wait for more.
const BYTES_MAX: usize = 16 << 20;

/// What the tables lack.
#[derive(Default)]
pub(super) struct Pending {
    bodies: Vec<(Begun, u64)>,
    signatures: Vec<(NodeKey, u64, [u8; 64])>,
    settled: Vec<Settled>,
    /// Bytes of the bodies in the write-ahead log.
    bytes: usize,
    /// When the first of it came.
    since: Option<Instant>,
}

impl Pending {
    fn is_full(&self) -> bool {
        let most = (self.bodies.len())
            .max(self.signatures.len())
            .max(self.settled.len());
        most >= MANY || self.bytes >= BYTES_MAX
    }
}

/// A body in the write-ahead log. The numbers are those of the file, and never change.
#[derive(Encode)]
struct Written<'a> {
    #[cbor(n(0), with = "minicbor::bytes")]
    body: &'a [u8],
    #[n(1)]
    parts: &'a Parts,
    #[n(2)]
    lease: Option<&'a Signed<Assignment>>,
    #[n(3)]
    made_ms: u64,
}

/// As [`Written`], read.
#[derive(Decode)]
struct Kept {
    #[cbor(n(0), with = "minicbor::bytes")]
    body: Vec<u8>,
    #[n(1)]
    parts: Parts,
    #[n(2)]
    lease: Option<Signed<Assignment>>,
    #[n(3)]
    made_ms: u64,
}

/// The write-ahead log of the database at `path`, with the bodies that the tables lack.
pub(super) fn open(path: &Path, db: &Connection) -> Result<(Wal, u64, Vec<Record>), JournalError> {
    let (owner, applied): ([u8; 32], i64) =
        db.query_row(schema::AHEAD, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let applied = unsigned(applied);
    let owner = Hash::from_bytes(owner);
    let (wal, records) = Wal::open(&path.with_extension("wal"), &owner, applied)?;
    Ok((wal, applied, records))
}

impl Journal {
    /// Writes a batch. Its bodies are on disk when this returns, all of them or none; signatures and
    /// answers are there after [`Journal::apply`], and until then known to whoever asks here.
    ///
    /// # Errors
    /// [`JournalError`]. The bodies may be on disk all the same; commit the same batch again.
    pub fn commit(&mut self, batch: &Batch, now_ms: u64) -> Result<(), JournalError> {
        if batch.is_empty() {
            return Ok(());
        }
        if !batch.bodies.is_empty() {
            // The tables cannot be written: then nothing else is, or it would wait without bound.
            if self.pending.is_full() {
                self.apply()?;
            }
            self.probe.at(Point::BeforeCommit)?;
            let written = |begun| written(begun, now_ms);
            let bodies: Vec<Written<'_>> = batch.bodies.iter().map(written).collect();
            let bytes = self.wal.append(self.applied, |buffer| {
                minicbor::encode(&bodies, buffer).map_err(JournalError::Encoding)
            })?;
            self.pending.bytes = self.pending.bytes.saturating_add(bytes);
            let bodies = batch.bodies.iter().cloned();
            self.pending.bodies.extend(bodies.map(|b| (b, now_ms)));
        }
        (self.pending.signatures).extend(batch.signatures.iter().copied());
        self.pending.settled.extend(batch.settled.iter().cloned());
        self.pending.since.get_or_insert_with(Instant::now);
        match batch.bodies.is_empty() {
            true => Ok(()),
            false => self.probe.at(Point::AfterCommit),
        }
    }

    /// When what was committed is to go to the tables, whatever comes until then.
    pub fn due(&self) -> Option<Instant> {
        let full = self.pending.is_full();
        let since = self.pending.since;
        since.map(|since| if full { since } else { since + LATER })
    }

    /// Puts all that was committed into the tables, where it is on disk when this returns.
    ///
    /// # Errors
    /// [`JournalError`], after which nothing of it is there, and it is tried again.
    pub fn apply(&mut self) -> Result<(), JournalError> {
        if self.pending.since.is_none() {
            return Ok(());
        }
        self.probe.at(Point::BeforeApply)?;
        let applied = self.wal.next().saturating_sub(1);
        let series = &self.series;
        let id_of = |coordinator: &NodeKey| series.get(coordinator).map_or(-1, |s| s.id);
        let transaction = self
            .db
            .connection()
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        insert(&transaction, &self.pending.bodies)?;
        {
            let mut sign = transaction.prepare_cached(schema::SET_SIGNATURE)?;
            for (coordinator, seq, signature) in &self.pending.signatures {
                sign.execute(params![id_of(coordinator), signed(*seq), signature])?;
            }
        }
        settle(&transaction, &self.pending.settled, id_of, self.keep_ms)?;
        transaction.execute(schema::SET_AHEAD, [signed(applied)])?;
        transaction.commit()?;
        self.applied = applied;
        for (begun, _) in &self.pending.bodies {
            self.assigning.remove(&begun.body.assignment);
        }
        self.pending = Pending::default();
        self.probe.at(Point::AfterApply)
    }

    /// Puts into the tables what an earlier process has left in the write-ahead log.
    pub(super) fn replay(&mut self, records: Vec<Record>) -> Result<(), JournalError> {
        for record in records {
            let kept: Vec<Kept> = minicbor::decode(&record.bytes)
                .map_err(|_| damaged(&[0; 32], 0, "has a malformed record"))?;
            for kept in kept {
                let malformed = |_| damaged(&[0; 32], 0, "has a malformed body");
                let bytes: [u8; BODY_LEN] = (kept.body.as_slice().try_into()).map_err(malformed)?;
                let body = ReceiptBody::decode(&bytes)
                    .map_err(|_| damaged(&[0; 32], 0, "has a malformed body"))?;
                let begun = Begun {
                    series: self.series_id(&body.miner, &body.coordinator)?,
                    body,
                    bytes,
                    parts: Arc::new(kept.parts),
                    lease: kept.lease,
                };
                self.pending.bodies.push((begun, kept.made_ms));
                self.pending.since.get_or_insert_with(Instant::now);
            }
        }
        self.apply()
    }
}

fn written(begun: &Begun, made_ms: u64) -> Written<'_> {
    Written {
        body: &begun.bytes,
        parts: &begun.parts,
        lease: begun.lease.as_ref(),
        made_ms,
    }
}

fn insert(transaction: &Transaction<'_>, bodies: &[(Begun, u64)]) -> Result<(), JournalError> {
    let mut insert = transaction.prepare_cached(schema::INSERT_BODY)?;
    let mut insert_parts = transaction.prepare_cached(schema::INSERT_PARTS)?;
    let mut insert_lease = transaction.prepare_cached(schema::INSERT_LEASE)?;
    for (begun, made_ms) in bodies {
        let row = insert.insert(params![
            begun.series,
            signed(begun.body.seq),
            begun.body.assignment.as_bytes(),
            begun.bytes,
            signed(*made_ms),
        ])?;
        insert_parts.execute(params![row, begun.parts.to_cbor()])?;
        if let Some(lease) = &begun.lease {
            insert_lease.execute(params![row, lease.to_cbor()])?;
        }
    }
    Ok(())
}

fn settle(
    transaction: &Transaction<'_>,
    settled: &[Settled],
    id_of: impl Fn(&NodeKey) -> i64,
    keep_ms: u64,
) -> Result<(), JournalError> {
    let mut settle = transaction.prepare_cached(schema::SETTLE)?;
    let mut forget = transaction.prepare_cached(schema::DELETE_PARTS)?;
    for settled in settled {
        let (state, leaf, countersignature, code, detail) = match &settled.answer {
            Answer::Acknowledged {
                leaf,
                countersignature,
            } => (
                State::Acknowledged,
                Some(signed(*leaf)),
                Some(countersignature),
                None,
                None,
            ),
            Answer::Refused { code, detail } => {
                (State::Refused, None, None, Some(code), Some(detail))
            }
        };
        let (series, seq) = (id_of(&settled.coordinator), signed(settled.seq));
        let at_ms = signed(settled.at_ms);
        settle.execute(params![
            series,
            seq,
            state as i64,
            leaf,
            countersignature,
            code,
            detail,
            at_ms
        ])?;
        // What was refused is evidence, and is kept as long as it may be.
        if keep_ms == 0 && state == State::Acknowledged {
            forget.execute(params![series, seq])?;
        }
    }
    Ok(())
}
