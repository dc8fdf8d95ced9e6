//! The operations on SQLite, inside one transaction.

use adit_net::log::Log;
use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::Acceptance;
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::receipt::Receipt;
use adit_protocol::signed::Signed;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Transaction, params};

use super::pending::{LeaseChange, NewLease, Pending};
use super::rows::{self, int, uint};
use super::{
    AssignmentRow, DocumentKind, Horizon, MinerRow, ReceiptRow, RosterRow, Store, StoreError,
    TaskEnd, TaskRow, rosters,
};
use crate::core::Appended;
use crate::view::LeaseState;

/// Rows of each kind that one step of pruning removes.
const PRUNE_ROWS: i64 = 64;

/// The store inside a transaction.
pub struct SqlStore<'a> {
    transaction: &'a Transaction<'a>,
    log: &'a mut Log,
    pending: Pending,
}

impl<'a> SqlStore<'a> {
    /// The operations of one transaction. Whoever commits it tells the log so.
    pub fn new(transaction: &'a Transaction<'a>, log: &'a mut Log) -> SqlStore<'a> {
        SqlStore {
            transaction,
            log,
            pending: Pending::default(),
        }
    }

    /// Appends an entry as it is encoded; its leaf index.
    pub fn append_encoded(&mut self, entry: Vec<u8>) -> u64 {
        let leaf = self.next_leaf();
        self.pending.entries.push(entry);
        leaf
    }

    /// [`Store::add_task`] of a row that nobody else needs.
    pub fn keep_task(&mut self, row: TaskRow) {
        self.pending.tasks.insert(row.number, (row, None));
    }

    /// [`Store::add_receipt`] of a row that nobody else needs.
    pub fn keep_receipt(&mut self, row: ReceiptRow) {
        self.pending.add_receipt(row);
    }

    /// Removes some of what ended or was used last before the given times; whether there is more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn prune(&mut self, before: &Horizon) -> Result<bool, StoreError> {
        self.write()?;
        let old: Vec<i64> = {
            let mut statement = self.statement(
                "SELECT number FROM task WHERE state <> 0 AND ended_ms < ?1
                 ORDER BY ended_ms LIMIT ?2",
            )?;
            let found =
                statement.query_map(params![int(before.tasks_ms), PRUNE_ROWS], |row| row.get(0))?;
            found.collect::<Result<_, _>>()?
        };
        for number in &old {
            self.execute(
                "UPDATE receipt SET task = NULL, assignment = NULL, bytes = substr(bytes, -64), opening = NULL,
                                    detail = NULL, log = NULL
                 WHERE leaf IN (SELECT receipt FROM assignment WHERE task = ?1)",
                [number],
            )?;
            self.execute("DELETE FROM assignment WHERE task = ?1", [number])?;
            self.execute("DELETE FROM task WHERE number = ?1", [number])?;
        }
        let blobs = self.execute(
            "DELETE FROM blob WHERE rowid IN
                 (SELECT rowid FROM blob WHERE used_ms < ?1 ORDER BY used_ms LIMIT ?2)",
            params![int(before.blobs_ms), PRUNE_ROWS],
        )?;
        let requests = self.execute(
            "DELETE FROM request WHERE (client, key) IN
                 (SELECT client, key FROM request WHERE made_ms < ?1 ORDER BY made_ms LIMIT ?2)",
            params![int(before.requests_ms), PRUNE_ROWS],
        )?;
        let most = old.len().max(blobs).max(requests);
        Ok(i64::try_from(most).unwrap_or(i64::MAX) >= PRUNE_ROWS)
    }

    /// Keeps a document, unless it is there: its bytes, or how it differs from `base`.
    fn keep_document(
        &self,
        hash: &Hash,
        kind: DocumentKind,
        bytes: &[u8],
        base: Option<&Hash>,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO document (hash, kind, bytes, base) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (hash) DO NOTHING",
            params![
                hash.as_bytes(),
                rows::document_number(kind),
                bytes,
                base.map(Hash::as_bytes),
            ],
        )?;
        Ok(())
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, StoreError> {
        Ok(self.statement(sql)?.execute(values)?)
    }

    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        #[cfg(test)]
        used::note(sql);
        Ok(self.transaction.prepare_cached(sql)?)
    }
}

impl Store for SqlStore<'_> {
    fn next_leaf(&self) -> u64 {
        let waiting = u64::try_from(self.pending.entries.len()).unwrap_or(u64::MAX);
        self.log.size().saturating_add(waiting)
    }

    fn append(&mut self, entry: &Entry) -> Result<u64, StoreError> {
        Ok(self.append_encoded(entry.encode()))
    }

    fn add_task(&mut self, task: &TaskRow) -> Result<(), StoreError> {
        self.keep_task(task.clone());
        Ok(())
    }

    fn set_replicas(&mut self, task: u64, target: u32, extra: u32) -> Result<(), StoreError> {
        if let Some((row, _)) = self.pending.tasks.get_mut(&task) {
            (row.target, row.extra) = (Some(target), extra);
            return Ok(());
        }
        self.execute(
            "UPDATE task SET target = ?2, extra = ?3 WHERE number = ?1",
            params![int(task), target, extra],
        )?;
        Ok(())
    }

    fn end_task(&mut self, task: u64, end: &TaskEnd) -> Result<(), StoreError> {
        if let Some((_, ended)) = self.pending.tasks.get_mut(&task) {
            *ended = Some(end.clone());
            return Ok(());
        }
        self.execute(
            "UPDATE task SET state = ?2, ended_ms = ?3, code = ?4, detail = ?5, result = ?6,
                             agreed = ?7 WHERE number = ?1",
            params![
                int(task),
                rows::task_number(end.state),
                int(end.ended_ms),
                end.reason.as_ref().map(|(code, _)| code.as_str()),
                end.reason.as_ref().map(|(_, detail)| detail),
                end.result.map(|(leaf, _)| int(leaf)),
                end.result.map(|(_, agreed)| agreed),
            ],
        )?;
        Ok(())
    }

    fn find_task(&mut self, id: &Hash) -> Result<Option<String>, StoreError> {
        self.write()?;
        find_task(self.transaction, id)
    }

    fn add_assignment(&mut self, row: &AssignmentRow) -> Result<(), StoreError> {
        self.pending.add_assignment(row);
        Ok(())
    }

    fn accept(&mut self, leaf: u64, acceptance: &Signed<Acceptance>) -> Result<(), StoreError> {
        if let Some(lease) = self.pending.leases.get_mut(&leaf) {
            lease.acceptance = Some(acceptance.to_cbor());
            return Ok(());
        }
        self.execute(
            "UPDATE assignment SET acceptance = ?2 WHERE leaf = ?1",
            params![int(leaf), acceptance.to_cbor()],
        )?;
        Ok(())
    }

    fn end_assignment(&mut self, leaf: u64, state: LeaseState) -> Result<(), StoreError> {
        self.pending.end_assignment(leaf, state);
        Ok(())
    }

    fn find_assignment(&mut self, hash: &Hash) -> Result<Option<AssignmentRow>, StoreError> {
        self.write()?;
        let sql = format!(
            "SELECT {} FROM assignment WHERE hash = ?1",
            rows::ASSIGNMENT
        );
        let mut statement = self.statement(&sql)?;
        let mut found = statement.query([hash.as_bytes()])?;
        found
            .next()?
            .map(|row| rows::assignment(row, 0))
            .transpose()
    }

    fn history(
        &mut self,
        task: u64,
    ) -> Result<Vec<(AssignmentRow, Option<ReceiptRow>)>, StoreError> {
        self.write()?;
        rows::history(self.transaction, task)
    }

    fn add_receipt(&mut self, row: &ReceiptRow) -> Result<(), StoreError> {
        self.keep_receipt(row.clone());
        Ok(())
    }

    fn judge(&mut self, leaf: u64, decision: Decision) -> Result<(), StoreError> {
        if let Some(row) = self.pending.receipts.get_mut(&leaf) {
            row.decision = Some(decision);
            return Ok(());
        }
        self.execute(
            "UPDATE receipt SET decision = ?2 WHERE leaf = ?1",
            params![int(leaf), decision as i64],
        )?;
        Ok(())
    }

    fn find_receipt(&mut self, id: &Hash) -> Result<Option<Appended>, StoreError> {
        self.write()?;
        let found: Option<(i64, Vec<u8>)> = self
            .statement("SELECT leaf, bytes FROM receipt WHERE id = ?1")?
            .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        found
            .map(|(leaf, bytes)| {
                // Of one that was pruned, only this is left; of the others it is the end.
                let tail = bytes.last_chunk::<64>().copied();
                Ok(Appended {
                    leaf: uint(leaf),
                    countersignature: tail
                        .ok_or_else(|| rows::damaged(format!("the receipt of leaf {leaf}")))?,
                })
            })
            .transpose()
    }

    fn receipt_at(&mut self, leaf: u64) -> Result<Option<Receipt>, StoreError> {
        self.write()?;
        let bytes: Option<Vec<u8>> = self
            .statement("SELECT bytes FROM receipt WHERE leaf = ?1 AND task IS NOT NULL")?
            .query_row([int(leaf)], |row| row.get(0))
            .optional()?;
        bytes
            .map(|bytes| Receipt::from_bytes(&bytes))
            .transpose()
            .map_err(|error| rows::damaged(format!("the receipt of leaf {leaf}: {error}")))
    }

    fn add_equivocation(
        &mut self,
        assignment: &Hash,
        first: &Receipt,
        second: &Receipt,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO equivocation (assignment, first, second, noticed_ms)
             VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            params![
                assignment.as_bytes(),
                first.to_bytes(),
                second.to_bytes(),
                int(now_ms)
            ],
        )?;
        Ok(())
    }

    fn find_request(
        &mut self,
        client: &str,
        key: &str,
    ) -> Result<Option<(Hash, Hash)>, StoreError> {
        find_request(self.transaction, client, key)
    }

    fn add_request(
        &mut self,
        client: &str,
        key: &str,
        request: &Hash,
        task: &Hash,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO request (client, key, request, task, made_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                client,
                key,
                request.as_bytes(),
                task.as_bytes(),
                int(now_ms)
            ],
        )?;
        Ok(())
    }

    fn put_blob(&mut self, hash: &Hash, bytes: &[u8], now_ms: u64) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO blob (hash, bytes, used_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (hash) DO UPDATE SET used_ms = max(used_ms, excluded.used_ms)",
            params![hash.as_bytes(), bytes, int(now_ms)],
        )?;
        Ok(())
    }

    fn touch_blob(&mut self, hash: &Hash, now_ms: u64) -> Result<(), StoreError> {
        self.execute(
            "UPDATE blob SET used_ms = max(used_ms, ?2) WHERE hash = ?1",
            params![hash.as_bytes(), int(now_ms)],
        )?;
        Ok(())
    }

    fn put_document(
        &mut self,
        hash: &Hash,
        kind: DocumentKind,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.keep_document(hash, kind, bytes, None)
    }

    fn put_membership(&mut self, hash: &Hash, signed: &[u8]) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO membership (hash, signed) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING",
            params![hash.as_bytes(), signed],
        )?;
        Ok(())
    }

    fn add_roster(&mut self, row: &RosterRow) -> Result<(), StoreError> {
        let (bytes, base) = rosters::shortest(self.transaction, &row.roster)?;
        self.keep_document(&row.entry.root, DocumentKind::Roster, &bytes, base.as_ref())?;
        self.execute(
            "INSERT INTO roster (leaf, entry, root) VALUES (?1, ?2, ?3)",
            params![
                int(row.leaf),
                row.entry.to_cbor(),
                row.entry.root.as_bytes()
            ],
        )?;
        Ok(())
    }

    fn find_roster(&mut self, leaf: u64) -> Result<Option<RosterRow>, StoreError> {
        rows::roster(self.transaction, Some(leaf))
    }

    fn save_miner(&mut self, row: &MinerRow) -> Result<(), StoreError> {
        self.pending.miners.insert(row.node, *row);
        Ok(())
    }

    fn save_escrow(&mut self, escrow: u128) -> Result<(), StoreError> {
        self.pending.escrow = Some(escrow);
        Ok(())
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut self.pending);
        self.append_all(&pending.entries)?;
        for (row, end) in pending.tasks.values() {
            self.insert_task(row, end.as_ref())?;
        }
        for (leaf, lease) in &pending.leases {
            self.insert_assignment(*leaf, lease)?;
        }
        for (leaf, change) in &pending.changes {
            self.change_assignment(*leaf, change)?;
        }
        for row in pending.receipts.values() {
            self.insert_receipt(row)?;
        }
        for row in pending.miners.values() {
            self.upsert_miner(row)?;
        }
        if let Some(escrow) = pending.escrow {
            self.execute(
                "INSERT INTO meta (name, value) VALUES ('escrow', ?1)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                params![escrow.to_be_bytes()],
            )?;
        }
        Ok(())
    }
}

/// Rows as they are written.
impl SqlStore<'_> {
    fn append_all(&mut self, entries: &[Vec<u8>]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let expected = self.log.size();
        match self.log.append_all(self.transaction, entries)? {
            found if found == expected => Ok(()),
            // Their indexes were told to whoever appended them.
            found => Err(rows::damaged(format!(
                "the log goes on at leaf {found} instead of {expected}"
            ))),
        }
    }

    fn insert_task(&self, task: &TaskRow, end: Option<&TaskEnd>) -> Result<(), StoreError> {
        let inline: Vec<u8> = task.inline.iter().flat_map(|h| *h.as_bytes()).collect();
        let reason = end.and_then(|end| end.reason.as_ref());
        let result = end.and_then(|end| end.result);
        self.execute(
            "INSERT INTO task (number, id, client, spec, exec, inline, local, validator,
                               submitted_ms, expires_ms, target, extra, trace, state, ended_ms,
                               code, detail, result, agreed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                     ?18, ?19)",
            params![
                int(task.number),
                task.id.as_bytes(),
                task.client,
                task.spec,
                task.exec,
                inline,
                task.local,
                task.validator.as_ref().map(|h| h.as_bytes().as_slice()),
                int(task.submitted_ms),
                int(task.expires_ms),
                task.target,
                task.extra,
                task.trace.map(|trace| trace.to_string()),
                end.map_or(0, |end| rows::task_number(end.state)),
                end.map(|end| int(end.ended_ms)),
                reason.map(|(code, _)| code.as_str()),
                reason.map(|(_, detail)| detail),
                result.map(|(leaf, _)| int(leaf)),
                result.map(|(_, agreed)| agreed),
            ],
        )?;
        Ok(())
    }

    fn insert_assignment(&self, leaf: u64, lease: &NewLease) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO assignment (leaf, hash, task, signed, eligible, state, acceptance, receipt)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                int(leaf),
                lease.hash.as_bytes(),
                int(lease.task),
                lease.signed,
                lease.eligible,
                rows::lease_number(lease.state),
                lease.acceptance,
                lease.receipt.map(int),
            ],
        )?;
        Ok(())
    }

    fn change_assignment(&self, leaf: u64, change: &LeaseChange) -> Result<(), StoreError> {
        self.execute(
            "UPDATE assignment SET state = coalesce(?2, state), receipt = coalesce(?3, receipt)
             WHERE leaf = ?1",
            params![
                int(leaf),
                change.state.map(rows::lease_number),
                change.receipt.map(int),
            ],
        )?;
        Ok(())
    }

    fn insert_receipt(&self, row: &ReceiptRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO receipt (leaf, id, task, assignment, bytes, opening, in_time,
                                  received_ms, decision, detail, log)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                int(row.leaf),
                row.id.as_bytes(),
                int(row.task),
                int(row.assignment),
                row.receipt.to_bytes(),
                row.opening.to_cbor(),
                row.in_time,
                int(row.received_ms),
                row.decision.map(|d| d as i64),
                row.detail,
                row.log,
            ],
        )?;
        Ok(())
    }

    fn upsert_miner(&self, row: &MinerRow) -> Result<(), StoreError> {
        let (seq, newest) = row.newest;
        self.execute(
            "INSERT INTO miner (node, good, bad, streak, seq, newest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (node) DO UPDATE SET good = excluded.good, bad = excluded.bad,
                 streak = excluded.streak, seq = excluded.seq, newest = excluded.newest",
            params![
                row.node,
                row.record.good,
                row.record.bad,
                row.record.streak,
                int(seq),
                newest.as_bytes(),
            ],
        )?;
        Ok(())
    }
}

/// The client of a task.
pub(crate) fn find_task(db: &Connection, id: &Hash) -> Result<Option<String>, StoreError> {
    let sql = "SELECT client FROM task WHERE id = ?1";
    #[cfg(test)]
    used::note(sql);
    let mut statement = db.prepare_cached(sql)?;
    let client = statement.query_row([id.as_bytes()], |row| row.get(0));
    Ok(client.optional()?)
}

/// Digest of the request and task of an idempotency key.
pub(crate) fn find_request(
    db: &Connection,
    client: &str,
    key: &str,
) -> Result<Option<(Hash, Hash)>, StoreError> {
    let sql = "SELECT request, task FROM request WHERE client = ?1 AND key = ?2";
    #[cfg(test)]
    used::note(sql);
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_row([client, key], |row| Ok((row.get(0)?, row.get(1)?)));
    let found: Option<(Vec<u8>, Vec<u8>)> = found.optional()?;
    found
        .map(|(request, task)| {
            Ok((
                rows::hash(&request, "a request's digest")?,
                rows::hash(&task, "a request's task")?,
            ))
        })
        .transpose()
}

/// Which statements a test has used.
#[cfg(test)]
pub(crate) mod used {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use rusqlite::{Connection, StatementStatus};

    thread_local! {
        static USED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn note(sql: &str) {
        USED.with_borrow_mut(|used| {
            if !used.contains(sql) {
                used.insert(sql.to_owned());
            }
        });
    }

    /// The statements that this thread has used.
    pub(crate) fn all() -> Vec<String> {
        USED.with_borrow(|used| used.iter().cloned().collect())
    }

    /// Steps of SQLite's machine that these statements took on a connection, all that are cached.
    pub(crate) fn steps(db: &Connection) -> i64 {
        let steps = |sql: &String| {
            let statement = db.prepare_cached(sql).unwrap();
            i64::from(statement.get_status(StatementStatus::VmStep))
        };
        all().iter().map(steps).sum()
    }
}
