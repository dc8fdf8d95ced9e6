//! The journal: every receipt that this miner has ever made, one series for each coordinator.
//!
//! A miner that signs two bodies for one assignment, or two bodies with one number, has
//! equivocated, and loses stake for it. So a body is on disk before it is signed, from then on only
//! these bytes are signed and sent, and no refusal frees its number (protocol.md, "Receipt").
//!
//! ```text
//!   assign -> commit -> sign -> send -> answer
//!             begun     signed          acknowledged | refused
//!               \__________\______________\_____ apply: into the tables, some milliseconds later
//! ```
//!
//! Many receipts share each commit, and many commits each transaction of the tables. A signature
//! need not be on disk before it is sent: of the same body the same one is made again. After a
//! crash between any two steps the journal holds either nothing of the run, which is then made
//! again, or a body, which is signed and sent as it is. Acknowledged receipts stay: with the
//! coordinator's signature, and the assignment that says what they pay, they are the miner's claim
//! to pay.
//!
//! Trusted: whoever can write to the file can make this miner equivocate, as whoever has its key
//! can. A journal that was restored from a backup is found out by [`Journal::standing`].

mod apply;
mod claims;
mod error;
mod parts;
mod schema;
mod writer;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use adit_net::db::{Db, DbError};
use adit_net::wal::Wal;
use adit_protocol::Hash;
use adit_protocol::cbor::Document as _;
use adit_protocol::network::assignment::Assignment;
use adit_protocol::receipt::{BODY_LEN, Receipt, ReceiptBody};
use adit_protocol::signed::Signed;
use rusqlite::{OptionalExtension as _, params};

use apply::Pending;
pub use claims::{Countersigned, PAGE_MAX};
pub use error::JournalError;
pub use parts::{Opening, Parts};
pub use writer::{ByHand, JournalHealth, JournalWriter, Recorded};

/// A node key.
pub type NodeKey = [u8; 32];

/// Points between the steps, at which a test or a simulator can make the journal fail or end the
/// process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Bodies are about to be committed.
    BeforeCommit,
    /// They are committed.
    AfterCommit,
    /// Bodies are about to be signed.
    BeforeSign,
    /// Bodies are signed and passed on, and the signatures are in memory only.
    AfterSign,
    /// Bodies, signatures and answers are about to go to the tables.
    BeforeApply,
    /// They are there.
    AfterApply,
}

impl Point {
    /// All points, in order.
    pub const ALL: [Point; 6] = [
        Point::BeforeCommit,
        Point::AfterCommit,
        Point::BeforeSign,
        Point::AfterSign,
        Point::BeforeApply,
        Point::AfterApply,
    ];
}

/// Decides at each [`Point`] whether to go on.
pub trait Probe: Send {
    /// Called at a point; an error makes the step fail.
    ///
    /// # Errors
    /// [`JournalError::Injected`], if the step is to fail.
    fn at(&mut self, point: Point) -> Result<(), JournalError>;
}

/// Goes on at every point.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    fn at(&mut self, _: Point) -> Result<(), JournalError> {
        Ok(())
    }
}

/// A receipt that is to be made: everything but its number and its predecessor.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The body; `seq` and `prev` are set by the journal. Its `coordinator` names the series.
    pub body: ReceiptBody,
    /// What is handed in with it.
    pub parts: Arc<Parts>,
    /// The assignment as the coordinator signed it: what the receipt pays by.
    pub lease: Option<Signed<Assignment>>,
}

/// A body with its number, on its way to disk. Once made it is never made otherwise: a commit that
/// failed may have reached the disk all the same, so the same bytes are committed again.
#[derive(Clone, Debug)]
pub struct Begun {
    series: i64,
    /// The body.
    pub body: ReceiptBody,
    bytes: [u8; BODY_LEN],
    /// What is handed in with it.
    pub parts: Arc<Parts>,
    lease: Option<Signed<Assignment>>,
}

/// The state of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its body is on disk.
    Begun = 0,
    /// Its signature is on disk: it may be sent.
    Signed = 1,
    /// The coordinator has it, and has signed that it has.
    Acknowledged = 2,
    /// The coordinator has refused it for good.
    Refused = 3,
}

impl State {
    fn of(number: i64) -> Option<State> {
        [
            State::Begun,
            State::Signed,
            State::Acknowledged,
            State::Refused,
        ]
        .into_iter()
        .find(|state| *state as i64 == number)
    }
}

/// A signed receipt that is to be handed in.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The receipt; its countersignature is zero.
    pub receipt: Receipt,
    /// What is handed in with it. `None` if it was pruned: the receipt had been acknowledged.
    pub parts: Option<Arc<Parts>>,
}

impl Ready {
    /// Its number in its series.
    pub fn seq(&self) -> u64 {
        self.receipt.body.seq
    }

    /// Hash of its assignment.
    pub fn assignment(&self) -> Hash {
        self.receipt.body.assignment
    }
}

/// What became of a receipt that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Node key of the coordinator.
    pub coordinator: NodeKey,
    /// Number of the receipt.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What it was.
    pub answer: Answer,
}

/// The coordinator's final answer to a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is durable at this leaf of the log.
    Acknowledged {
        /// Leaf index.
        leaf: u64,
        /// The coordinator's signature, which was checked.
        countersignature: [u8; 64],
    },
    /// It was refused for good.
    Refused {
        /// A code, as the coordinator wrote it.
        code: String,
        /// The refusal in words.
        detail: String,
    },
}

/// What one commit writes.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// New bodies.
    pub bodies: Vec<Begun>,
    /// Signatures of bodies that are on disk, by coordinator and number.
    pub signatures: Vec<(NodeKey, u64, [u8; 64])>,
    /// Final answers.
    pub settled: Vec<Settled>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty() && self.signatures.is_empty() && self.settled.is_empty()
    }
}

/// What [`Journal::assign`] found.
#[derive(Clone, Debug)]
pub enum Assigned {
    /// The draft has a number now, and is to be committed.
    New(Box<Begun>),
    /// There is a body for the assignment already; the draft must be forgotten.
    Known {
        /// Its number.
        seq: u64,
        /// Its state.
        state: State,
    },
}

/// How the journal and what a coordinator says of the series go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The coordinator has all that the journal has.
    Agreed,
    /// The coordinator lacks the receipts after this number. They are sent again.
    Behind {
        /// The newest that it has; 0 for none.
        has: u64,
    },
    /// The coordinator has receipts that the journal does not know: the journal was lost, or an
    /// older one was restored. Whatever were signed now would be a second body of some number.
    Lost {
        /// Newest number of the journal.
        journal: u64,
        /// Newest number of the coordinator.
        coordinator: u64,
    },
    /// The coordinator has another receipt of the same number.
    Forked {
        /// The number.
        seq: u64,
    },
}

impl Standing {
    /// Whether receipts may be made for the coordinator.
    pub fn is_sound(self) -> bool {
        matches!(self, Standing::Agreed | Standing::Behind { .. })
    }
}

/// The newest body of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number; 0 if there is none.
    pub seq: u64,
    /// Its id; zero if there is none.
    pub id: Hash,
}

/// The journal of one node key.
pub struct Journal {
    db: Db,
    wal: Wal,
    /// Number of the last record of the write-ahead log that the tables have.
    applied: u64,
    /// What was committed and is not in the tables yet.
    pending: Pending,
    miner: NodeKey,
    series: HashMap<NodeKey, Series>,
    /// Assignments that have a number, and whose bodies are not in the tables yet.
    assigning: HashMap<Hash, u64>,
    probe: Box<dyn Probe>,
    keep_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    id: i64,
    head: Head,
}

impl Journal {
    /// Opens the journal of the miner with this node key: the database at `path` and the write-ahead
    /// log beside it, whose name ends in `.wal`. What belongs to a receipt is kept for `keep_ms`
    /// after it was settled.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(path: &Path, miner: NodeKey, keep_ms: u64) -> Result<Journal, JournalError> {
        Journal::with_probe(path, miner, keep_ms, Box::new(NoProbe))
    }

    /// The same, with something that watches each step.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn with_probe(
        path: &Path,
        miner: NodeKey,
        keep_ms: u64,
        probe: Box<dyn Probe>,
    ) -> Result<Journal, JournalError> {
        let mut db = Db::open(path, schema::MIGRATIONS)?;
        // Nobody else reads it: without it SQLite takes and gives back locks with each step.
        let alone = (db.connection()).pragma_update(None, "locking_mode", "EXCLUSIVE");
        alone.map_err(DbError::from)?;
        // SQLite walks the whole cache at the end of most transactions that split a page (its
        // `balance_nonroot` and `pcache1TruncateUnsafe`), which here are many and short. In KiB when
        // negative.
        let small = (db.connection()).pragma_update(None, "cache_size", -2_048);
        small.map_err(DbError::from)?;
        let (wal, applied, left) = apply::open(path, db.connection())?;
        let mut journal = Journal {
            db,
            wal,
            applied,
            pending: Pending::default(),
            miner,
            series: HashMap::new(),
            assigning: HashMap::new(),
            probe,
            keep_ms,
        };
        journal.replay(left)?;
        journal.series = load_series(&mut journal.db, &miner)?;
        Ok(journal)
    }

    /// Node key of the miner.
    pub fn miner(&self) -> &NodeKey {
        &self.miner
    }

    /// The newest body for a coordinator.
    pub fn head(&self, coordinator: &NodeKey) -> Head {
        let none = Head {
            seq: 0,
            id: Hash::ZERO,
        };
        self.series.get(coordinator).map_or(none, |s| s.head)
    }

    /// Compares with what a coordinator says of the series: the newest receipt that it has.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn standing(
        &mut self,
        coordinator: &NodeKey,
        last_seq: u64,
        last_receipt: &Hash,
    ) -> Result<Standing, JournalError> {
        let head = self.head(coordinator);
        if last_seq > head.seq {
            return Ok(Standing::Lost {
                journal: head.seq,
                coordinator: last_seq,
            });
        }
        if last_seq > 0 {
            let id = match last_seq == head.seq {
                true => Some(head.id),
                false => self.body_at(coordinator, last_seq)?.map(|b| b.id()),
            };
            if id != Some(*last_receipt) {
                return Ok(Standing::Forked { seq: last_seq });
            }
        }
        Ok(match last_seq == head.seq {
            true => Standing::Agreed,
            false => Standing::Behind { has: last_seq },
        })
    }

    /// Gives a draft its number and its predecessor, unless there is a body for its assignment.
    /// Nothing is written yet; what is returned must be committed, and again if that fails.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn assign(&mut self, draft: Draft) -> Result<Assigned, JournalError> {
        let Draft {
            mut body,
            parts,
            lease,
        } = draft;
        if let Some(seq) = self.assigning.get(&body.assignment) {
            let (seq, state) = (*seq, State::Begun);
            return Ok(Assigned::Known { seq, state });
        }
        if let Some((seq, state)) = self.find(&body.assignment)? {
            return Ok(Assigned::Known { seq, state });
        }
        let series = self.series_of(&body.coordinator)?;
        body.miner = self.miner;
        body.seq = series.head.seq.saturating_add(1);
        body.prev = series.head.id;
        let bytes = body.encode();
        let head = Head {
            seq: body.seq,
            id: Hash::of(&bytes),
        };
        self.series
            .insert(body.coordinator, Series { head, ..series });
        self.assigning.insert(body.assignment, body.seq);
        Ok(Assigned::New(Box::new(Begun {
            series: series.id,
            body,
            bytes,
            parts,
            lease,
        })))
    }

    /// Tells the probe of a point that is not within a commit.
    ///
    /// # Errors
    /// Whatever the probe says.
    pub fn reached(&mut self, point: Point) -> Result<(), JournalError> {
        self.probe.at(point)
    }

    /// Bodies that were never signed, because the process ended: by series, ascending.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn unsigned(&mut self) -> Result<Vec<(ReceiptBody, Arc<Parts>)>, JournalError> {
        let mut found = Vec::new();
        for coordinator in self.coordinators() {
            for row in self.rows(&coordinator, 0, State::Begun, usize::MAX)? {
                // Without what belongs to it, it can still be handed in.
                found.push((row.body, row.parts.unwrap_or_default()));
            }
        }
        Ok(found)
    }

    /// Signed receipts of a series that were not answered for good: ascending, after number
    /// `after`, at most `max`.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn unsettled(
        &mut self,
        coordinator: &NodeKey,
        after: u64,
        max: usize,
    ) -> Result<Vec<Ready>, JournalError> {
        let rows = self.rows(coordinator, after, State::Signed, max)?;
        rows.into_iter()
            .map(|row| {
                let damaged = |what| damaged(coordinator, row.body.seq, what);
                let miner_signature = row.signature.ok_or(damaged("has no signature"))?;
                Ok(Ready {
                    receipt: Receipt {
                        body: row.body,
                        miner_signature,
                        coordinator_signature: [0; 64],
                    },
                    parts: row.parts,
                })
            })
            .collect()
    }

    /// Takes back all answers after number `has`, since the coordinator does not have these
    /// receipts, whatever it said before. Returns how many.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn rewind(&mut self, coordinator: &NodeKey, has: u64) -> Result<u64, JournalError> {
        let Some(series) = self.series.get(coordinator).copied() else {
            return Ok(0);
        };
        self.apply()?;
        let changed = self
            .db
            .connection()
            .execute(schema::REWIND, params![series.id, signed(has)])?;
        Ok(changed as u64)
    }

    /// Forgets what belongs to receipts that were settled before `before_ms`, in steps of at most
    /// `max`. The receipts stay. Returns how many were pruned.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn prune(&mut self, now_ms: u64, max: u32) -> Result<u64, JournalError> {
        self.apply()?;
        let before = signed(now_ms.saturating_sub(self.keep_ms));
        let pruned = self
            .db
            .connection()
            .execute(schema::PRUNE, params![before, max])?;
        Ok(pruned as u64)
    }

    /// How many receipts of a series are in each state.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn counts(&mut self, coordinator: &NodeKey) -> Result<[u64; 4], JournalError> {
        let mut counts = [0; 4];
        let Some(series) = self.series.get(coordinator) else {
            return Ok(counts);
        };
        let id = series.id;
        self.apply()?;
        let mut statement = self.db.connection().prepare_cached(schema::COUNTS)?;
        let mut rows = statement.query(params![id])?;
        while let Some(row) = rows.next()? {
            let state: i64 = row.get(0)?;
            let count: i64 = row.get(1)?;
            let place = usize::try_from(state)
                .ok()
                .and_then(|at| counts.get_mut(at));
            if let Some(place) = place {
                *place = unsigned(count);
            }
        }
        Ok(counts)
    }

    /// Coordinators that there is a series for.
    pub fn coordinators(&self) -> Vec<NodeKey> {
        let mut all: Vec<NodeKey> = self.series.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// The receipt of an assignment, with the coordinator's signature if it has answered; for
    /// tests and for whoever claims pay.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn receipt_of(
        &mut self,
        assignment: &Hash,
    ) -> Result<Option<(Receipt, State)>, JournalError> {
        self.apply()?;
        let row = self
            .db
            .connection()
            .query_row(schema::RECEIPT_OF, params![assignment.as_bytes()], |row| {
                Ok((
                    row.get::<_, [u8; BODY_LEN]>(0)?,
                    row.get::<_, Option<[u8; 64]>>(1)?,
                    row.get::<_, Option<[u8; 64]>>(2)?,
                    row.get::<_, i64>(3)?,
                ))
            })
            .optional()?;
        let Some((body, miner_signature, coordinator_signature, state)) = row else {
            return Ok(None);
        };
        let damaged = |what| damaged(&[0; 32], 0, what);
        let body = ReceiptBody::decode(&body).map_err(|_| damaged("has a malformed body"))?;
        let state = State::of(state).ok_or(damaged("has an unknown state"))?;
        let receipt = Receipt {
            body,
            miner_signature: miner_signature.unwrap_or([0; 64]),
            coordinator_signature: coordinator_signature.unwrap_or([0; 64]),
        };
        Ok(Some((receipt, state)))
    }

    fn series_of(&mut self, coordinator: &NodeKey) -> Result<Series, JournalError> {
        if let Some(series) = self.series.get(coordinator) {
            return Ok(*series);
        }
        let miner = self.miner;
        let series = Series {
            id: self.series_id(&miner, coordinator)?,
            head: Head {
                seq: 0,
                id: Hash::ZERO,
            },
        };
        self.series.insert(*coordinator, series);
        Ok(series)
    }

    /// The row of a series, which is made if it is missing.
    fn series_id(&mut self, miner: &NodeKey, coordinator: &NodeKey) -> Result<i64, JournalError> {
        // An earlier try may have reached the disk although it failed.
        let id = self.db.connection().query_row(
            schema::INSERT_SERIES,
            params![miner, coordinator],
            |row| row.get(0),
        )?;
        Ok(id)
    }

    /// In the tables. What they lack is in `assigning`.
    fn find(&mut self, assignment: &Hash) -> Result<Option<(u64, State)>, JournalError> {
        let mut statement = self.db.connection().prepare_cached(schema::FIND)?;
        let found: Option<(i64, i64)> = statement
            .query_row(params![assignment.as_bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        Ok(found.map(|(seq, state)| (unsigned(seq), State::of(state).unwrap_or(State::Begun))))
    }

    fn body_at(
        &mut self,
        coordinator: &NodeKey,
        seq: u64,
    ) -> Result<Option<ReceiptBody>, JournalError> {
        let Some(series) = self.series.get(coordinator).copied() else {
            return Ok(None);
        };
        self.apply()?;
        let bytes: Option<[u8; BODY_LEN]> = self
            .db
            .connection()
            .query_row(schema::BODY_AT, params![series.id, signed(seq)], |row| {
                row.get(0)
            })
            .optional()?;
        bytes
            .map(|bytes| ReceiptBody::decode(&bytes))
            .transpose()
            .map_err(|_| damaged(coordinator, seq, "has a malformed body"))
    }

    fn rows(
        &mut self,
        coordinator: &NodeKey,
        after: u64,
        state: State,
        max: usize,
    ) -> Result<Vec<Row>, JournalError> {
        let Some(series) = self.series.get(coordinator).copied() else {
            return Ok(Vec::new());
        };
        self.apply()?;
        let mut statement = self.db.connection().prepare_cached(schema::OPEN_ROWS)?;
        let mut rows = statement.query(params![
            series.id,
            signed(after),
            state as i64,
            i64::try_from(max).unwrap_or(i64::MAX)
        ])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let seq = unsigned(row.get(0)?);
            let damaged = |what| damaged(coordinator, seq, what);
            let bytes: [u8; BODY_LEN] = row.get(1)?;
            let body = ReceiptBody::decode(&bytes).map_err(|_| damaged("has a malformed body"))?;
            if body.seq != seq || body.coordinator != *coordinator || body.miner != self.miner {
                return Err(damaged("stands in the place of another"));
            }
            let parts = row
                .get::<_, Option<Vec<u8>>>(3)?
                .map(|bytes| Parts::from_cbor(&bytes))
                .transpose()
                .map_err(|_| damaged("has malformed parts"))?;
            found.push(Row {
                body,
                signature: row.get(2)?,
                parts: parts.map(Arc::new),
            });
        }
        Ok(found)
    }
}

struct Row {
    body: ReceiptBody,
    signature: Option<[u8; 64]>,
    parts: Option<Arc<Parts>>,
}

fn load_series(db: &mut Db, miner: &NodeKey) -> Result<HashMap<NodeKey, Series>, JournalError> {
    let mut statement = db.connection().prepare(schema::LOAD_SERIES)?;
    let mut rows = statement.query(params![miner])?;
    let mut all = HashMap::new();
    while let Some(row) = rows.next()? {
        let coordinator: NodeKey = row.get(1)?;
        let seq = unsigned(row.get::<_, Option<i64>>(2)?.unwrap_or(0));
        let id = match row.get::<_, Option<[u8; BODY_LEN]>>(3)? {
            None => Hash::ZERO,
            Some(bytes) => {
                let body = ReceiptBody::decode(&bytes)
                    .map_err(|_| damaged(&coordinator, seq, "has a malformed body"))?;
                if body.seq != seq || body.coordinator != coordinator {
                    return Err(damaged(&coordinator, seq, "stands in the place of another"));
                }
                Hash::of(&bytes)
            }
        };
        let head = Head { seq, id };
        let series = Series {
            id: row.get(0)?,
            head,
        };
        all.insert(coordinator, series);
    }
    Ok(all)
}

fn damaged(coordinator: &NodeKey, seq: u64, what: &'static str) -> JournalError {
    JournalError::Damaged {
        coordinator: crate::text::hex(coordinator),
        seq,
        what,
    }
}

/// SQLite's integers have a sign; nothing that is counted here reaches 2^63.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
