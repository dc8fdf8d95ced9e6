//! Rows of the tables as values, for all that read them.

use adit_net::trace::TraceContext;
use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::Decision;
use adit_protocol::network::roster::RosterEntry;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::Receipt;
use adit_protocol::signed::Signed;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{AssignmentRow, DocumentKind, ReceiptRow, RosterRow, StoreError, TaskRow, rosters};
use crate::view::{LeaseState, TaskState};

pub(super) const TASK: &str = "number, id, client, spec, exec, inline, local, validator, \
     submitted_ms, expires_ms, target, extra, trace";
pub(super) const ASSIGNMENT: &str =
    "leaf, hash, task, signed, eligible, state, acceptance, receipt";
pub(super) const RECEIPT: &str =
    "leaf, id, task, assignment, bytes, opening, in_time, received_ms, decision, detail, log";

/// SQLite's integers are signed; times, leaves and counters stay far below the sign.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged(what.into())
}

/// An array of a fixed length.
pub(super) fn array<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N], StoreError> {
    bytes
        .try_into()
        .map_err(|_| damaged(format!("{what} has {} bytes instead of {N}", bytes.len())))
}

pub(super) fn hash(bytes: &[u8], what: &str) -> Result<Hash, StoreError> {
    Ok(Hash::from_bytes(array(bytes, what)?))
}

pub(super) fn hashes(bytes: &[u8], what: &str) -> Result<Vec<Hash>, StoreError> {
    let (chunks, rest) = bytes.as_chunks::<32>();
    match rest.is_empty() {
        true => Ok(chunks.iter().map(|c| Hash::from_bytes(*c)).collect()),
        false => Err(damaged(format!("{what} is not a list of hashes"))),
    }
}

pub(super) fn lease_state(number: i64) -> Result<LeaseState, StoreError> {
    Ok(match number {
        0 => LeaseState::Open,
        1 => LeaseState::Reported,
        2 => LeaseState::Expired,
        3 => LeaseState::Cancelled,
        _ => return Err(damaged(format!("{number} is no state of an assignment"))),
    })
}

pub(super) fn lease_number(state: LeaseState) -> i64 {
    match state {
        LeaseState::Open => 0,
        LeaseState::Reported => 1,
        LeaseState::Expired => 2,
        LeaseState::Cancelled => 3,
    }
}

/// Final states; all that is live is 0.
pub(super) fn task_number(state: TaskState) -> i64 {
    match state {
        TaskState::Waiting | TaskState::Running | TaskState::Validating => 0,
        TaskState::Completed => 1,
        TaskState::Failed => 2,
        TaskState::Cancelled => 3,
    }
}

pub(super) fn task_state(number: i64) -> Result<TaskState, StoreError> {
    Ok(match number {
        0 => TaskState::Running,
        1 => TaskState::Completed,
        2 => TaskState::Failed,
        3 => TaskState::Cancelled,
        _ => return Err(damaged(format!("{number} is no state of a task"))),
    })
}

pub(super) fn decision(number: i64) -> Result<Decision, StoreError> {
    const ALL: [Decision; 8] = [
        Decision::Accepted,
        Decision::Outvoted,
        Decision::NoQuorum,
        Decision::RefusedByValidator,
        Decision::Late,
        Decision::Mismatch,
        Decision::NotAttestable,
        Decision::TaskCancelled,
    ];
    ALL.into_iter()
        .find(|d| *d as i64 == number)
        .ok_or_else(|| damaged(format!("{number} is no decision")))
}

pub(super) fn document_number(kind: DocumentKind) -> i64 {
    match kind {
        DocumentKind::Roster => 1,
        DocumentKind::Membership => 2,
        DocumentKind::Environment => 3,
    }
}

pub(super) fn document_kind(number: i64) -> Result<DocumentKind, StoreError> {
    Ok(match number {
        1 => DocumentKind::Roster,
        2 => DocumentKind::Membership,
        3 => DocumentKind::Environment,
        _ => return Err(damaged(format!("{number} is no kind of document"))),
    })
}

fn blob<'a>(row: &'a Row<'_>, at: usize) -> Result<&'a [u8], StoreError> {
    row.get_ref(at)?
        .as_blob()
        .map_err(|error| damaged(format!("column {at}: {error}")))
}

/// The columns of [`TASK`].
pub(super) fn task(row: &Row<'_>) -> Result<TaskRow, StoreError> {
    let validator: Option<Vec<u8>> = row.get(7)?;
    let trace: Option<String> = row.get(12)?;
    Ok(TaskRow {
        number: uint(row.get(0)?),
        id: hash(blob(row, 1)?, "a task id")?,
        client: row.get(2)?,
        spec: row.get(3)?,
        exec: row.get(4)?,
        inline: hashes(blob(row, 5)?, "a task's list of blobs")?,
        local: row.get(6)?,
        validator: validator
            .map(|bytes| hash(&bytes, "a validator"))
            .transpose()?,
        submitted_ms: uint(row.get(8)?),
        expires_ms: uint(row.get(9)?),
        target: row.get(10)?,
        extra: row.get(11)?,
        trace: trace.as_deref().and_then(TraceContext::parse),
    })
}

/// The columns of [`ASSIGNMENT`], from `at` on.
pub(super) fn assignment(row: &Row<'_>, at: usize) -> Result<AssignmentRow, StoreError> {
    let bad = |error| damaged(format!("an assignment: {error}"));
    let signed = Signed::from_cbor(blob(row, at + 3)?).map_err(bad)?;
    let acceptance: Option<Vec<u8>> = row.get(at + 6)?;
    let receipt: Option<i64> = row.get(at + 7)?;
    Ok(AssignmentRow {
        leaf: uint(row.get(at)?),
        hash: hash(blob(row, at + 1)?, "an assignment's hash")?,
        task: uint(row.get(at + 2)?),
        assignment: signed.unverified().map_err(bad)?,
        signed,
        eligible: row.get(at + 4)?,
        state: lease_state(row.get(at + 5)?)?,
        acceptance: acceptance
            .map(|bytes| Signed::from_cbor(&bytes).map_err(bad))
            .transpose()?,
        receipt: receipt.map(uint),
    })
}

/// The columns of [`RECEIPT`], from `at` on; `None` if it was pruned.
pub(super) fn receipt(row: &Row<'_>, at: usize) -> Result<Option<ReceiptRow>, StoreError> {
    let bytes = blob(row, at + 4)?;
    let (Some(task), Some(opening)) = (
        row.get::<_, Option<i64>>(at + 2)?,
        row.get::<_, Option<Vec<u8>>>(at + 5)?,
    ) else {
        return Ok(None);
    };
    let number: Option<i64> = row.get(at + 8)?;
    Ok(Some(ReceiptRow {
        leaf: uint(row.get(at)?),
        id: hash(blob(row, at + 1)?, "a receipt's id")?,
        task: uint(task),
        assignment: uint(row.get(at + 3)?),
        receipt: Receipt::from_bytes(bytes)
            .map_err(|error| damaged(format!("a receipt: {error}")))?,
        opening: ReceiptOpening::from_cbor(&opening)
            .map_err(|error| damaged(format!("an opening: {error}")))?,
        in_time: row.get(at + 6)?,
        received_ms: uint(row.get(at + 7)?),
        decision: number.map(decision).transpose()?,
        detail: row.get(at + 9)?,
        log: row.get(at + 10)?,
    }))
}

/// All assignments of a task with their receipts, ascending by leaf.
pub(super) fn history(
    db: &Connection,
    task: u64,
) -> Result<Vec<(AssignmentRow, Option<ReceiptRow>)>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT a.leaf, a.hash, a.task, a.signed, a.eligible, a.state, a.acceptance, a.receipt,
                r.leaf, r.id, r.task, r.assignment, r.bytes, r.opening, r.in_time, r.received_ms,
                r.decision, r.detail, r.log
         FROM assignment a LEFT JOIN receipt r ON r.leaf = a.receipt
         WHERE a.task = ?1 ORDER BY a.leaf",
    )?;
    let mut rows = statement.query([int(task)])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let assignment = assignment(row, 0)?;
        let receipt = match assignment.receipt {
            Some(_) => receipt(row, 8)?,
            None => None,
        };
        all.push((assignment, receipt));
    }
    Ok(all)
}

/// A roster by its leaf, or the newest.
pub(super) fn roster(db: &Connection, leaf: Option<u64>) -> Result<Option<RosterRow>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT leaf, entry FROM roster WHERE ?1 IS NULL OR leaf = ?1 ORDER BY leaf DESC LIMIT 1",
    )?;
    let found: Option<(i64, Vec<u8>)> = statement
        .query_row([leaf.map(int)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((leaf, entry)) = found else {
        return Ok(None);
    };
    let bad = |error| damaged(format!("the roster of leaf {leaf}: {error}"));
    let entry = RosterEntry::from_cbor(&entry).map_err(bad)?;
    let roster = rosters::roster(db, &entry.root)?
        .ok_or_else(|| damaged(format!("the roster of leaf {leaf} is missing")))?;
    Ok(Some(RosterRow {
        leaf: uint(leaf),
        entry,
        roster,
    }))
}
