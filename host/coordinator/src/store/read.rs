//! Reads of other threads than the engine's, each on a connection of its own that cannot write. The
//! tables follow the journal: before a read they catch up with what was acknowledged.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use adit_net::blocking;
use adit_net::log::read_entry;
use adit_protocol::Code;
use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::keys::PublicKey;
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::task::TaskSpec;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::Semaphore;

use super::rows::{self, damaged, int, uint};
use super::{AssignmentRow, Document, ReceiptRow, StoreError, TaskRow, rosters};
use crate::Refusal;
use crate::core::TaskContext;
use crate::core::explain::draw_views;
use crate::engine::follower::Follower;
use crate::engine::lock;
use crate::view::{
    AssignmentView, ExplainView, NodeKey, Page, Reason, ReceiptSummary, ReceiptView, ResultView,
    TaskState, TaskSummary, TaskView,
};

/// A page of a client's tasks, with one more condition.
macro_rules! list_sql {
    ($condition:literal) => {
        concat!(
            "SELECT t.number, t.id, t.state, t.code, t.submitted_ms, t.ended_ms, r.bytes
             FROM task t LEFT JOIN receipt r ON r.leaf = t.result
             WHERE t.client = ?1 AND t.number < ?2 ",
            $condition,
            " ORDER BY t.number DESC LIMIT ?3"
        )
    };
}

/// Reads that go on at one time.
const READERS: usize = 4;

/// Connections that read.
#[derive(Clone)]
pub struct Readers(Arc<Inner>);

struct Inner {
    path: PathBuf,
    log: PathBuf,
    follower: Arc<Follower>,
    idle: Mutex<Vec<Reader>>,
    permits: Semaphore,
}

impl Readers {
    /// Readers of the database at `path`, which exists, and of the log's files in `log`.
    pub(crate) fn new(path: &Path, log: &Path, follower: Arc<Follower>) -> Readers {
        Readers(Arc::new(Inner {
            path: path.to_owned(),
            log: log.to_owned(),
            follower,
            idle: Mutex::default(),
            permits: Semaphore::new(READERS),
        }))
    }

    /// Reads, on a thread where that may take its time, what was acknowledged before.
    ///
    /// # Errors
    /// The refusal that tells a client of a failure of the database.
    pub async fn read<T: Send + 'static>(
        &self,
        mut read: impl FnMut(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run(move |inner| {
            inner.follower.catch_up()?;
            inner.with(&mut read)
        })
        .await
    }

    /// The same for what never changes once it is there: the tables need to catch up only where
    /// what they have is not `enough`.
    ///
    /// # Errors
    /// As [`Readers::read`].
    pub async fn look<T: Send + 'static>(
        &self,
        mut read: impl FnMut(&mut Reader) -> Result<T, StoreError> + Send + 'static,
        enough: fn(&T) -> bool,
    ) -> Result<T, Refusal> {
        self.run(move |inner| {
            let found = inner.with(&mut read)?;
            if enough(&found) {
                return Ok(found);
            }
            inner.follower.catch_up()?;
            inner.with(&mut read)
        })
        .await
    }

    /// [`Readers::look`] for what may not be there.
    ///
    /// # Errors
    /// As [`Readers::read`].
    pub async fn find<T: Send + 'static>(
        &self,
        read: impl FnMut(&mut Reader) -> Result<Option<T>, StoreError> + Send + 'static,
    ) -> Result<Option<T>, Refusal> {
        self.look(read, Option::is_some).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let inner = Arc::clone(&self.0);
        // The semaphore is never closed.
        let _permit = self.0.permits.acquire().await.ok();
        match blocking(move || work(&inner)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failed(&error.to_string())),
            Err(_) => Err(failed("a read was broken off")),
        }
    }
}

impl Inner {
    fn with<T>(
        &self,
        read: &mut impl FnMut(&mut Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let taken = lock(&self.idle).pop();
        let mut reader = match taken {
            Some(reader) => reader,
            None => Reader::open(&self.path, &self.log)?,
        };
        let result = read(&mut reader)?;
        // One that failed is dropped with its connection.
        lock(&self.idle).push(reader);
        Ok(result)
    }
}

fn failed(why: &str) -> Refusal {
    tracing::error!(why, "a read of the coordinator's database failed");
    Refusal::new(
        Code::Internal,
        format!("the coordinator could not read its database: {why}"),
        "try again; if it stays, tell the coordinator's operator",
    )
}

/// One connection that reads.
pub struct Reader {
    db: Connection,
    log: PathBuf,
}

impl Reader {
    fn open(path: &Path, log: &Path) -> Result<Reader, StoreError> {
        Ok(Reader {
            db: Reader::connect(path)?,
            log: log.to_owned(),
        })
    }

    /// A connection that reads.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn connect(path: &Path) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        db.pragma_update(None, "query_only", "ON")?;
        // The cache is emptied whenever the follower has written, which takes the longer the larger
        // it may be. In KiB when negative.
        db.pragma_update(None, "cache_size", -512)?;
        db.set_prepared_statement_cache_capacity(32);
        Ok(db)
    }

    /// A task that is no longer live, or as it was when it was last written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn task(&mut self, id: &Hash) -> Result<Option<TaskView>, StoreError> {
        // One transaction, so that the rows fit each other.
        let db = self.db.transaction()?;
        let Some(found) = find_task(&db, id)? else {
            return Ok(None);
        };
        let history = rows::history(&db, found.row.number)?;
        Ok(Some(found.view(&history)?))
    }

    /// What is needed to make the draws of an ended task again; `key` is the coordinator's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn explain(
        &mut self,
        id: &Hash,
        key: &PublicKey,
    ) -> Result<Option<ExplainView>, StoreError> {
        let db = self.db.transaction()?;
        let Some(found) = find_task(&db, id)? else {
            return Ok(None);
        };
        let history = rows::history(&db, found.row.number)?;
        let assignments = history.iter().map(|(row, _)| row);
        let draws = draw_views(assignments, key, |leaf| rows::roster(&db, Some(leaf)))?;
        Ok(Some(ExplainView {
            task: found.view(&history)?,
            draws,
            candidates: Vec::new(),
            counts: None,
            waiting: 0,
        }))
    }

    /// A client's tasks, the newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn list(
        &mut self,
        client: &str,
        state: Option<TaskState>,
        after: Option<u64>,
        size: u32,
    ) -> Result<Page<TaskSummary>, StoreError> {
        // Two statements, since one with a condition on the parameter uses no index for the state.
        let sql = match state {
            None => list_sql!(""),
            Some(_) => list_sql!("AND t.state = ?4"),
        };
        let mut statement = self.db.prepare_cached(sql)?;
        let before = after.map_or(i64::MAX, int);
        let mut found = match state.map(rows::task_number) {
            None => statement.query(params![client, before, size])?,
            Some(state) => statement.query(params![client, before, size, state])?,
        };
        let mut items = Vec::new();
        let mut last = 0;
        while let Some(row) = found.next()? {
            last = uint(row.get(0)?);
            let id: Vec<u8> = row.get(1)?;
            let code: Option<String> = row.get(3)?;
            let ended: Option<i64> = row.get(5)?;
            let receipt: Option<Vec<u8>> = row.get(6)?;
            let status = receipt
                .map(|bytes| adit_protocol::receipt::Receipt::from_bytes(&bytes))
                .transpose()
                .map_err(|error| damaged(format!("a receipt: {error}")))?
                .map(|receipt| receipt.body.status);
            items.push(TaskSummary {
                task: rows::hash(&id, "a task id")?,
                state: rows::task_state(row.get(2)?)?,
                code: code.and_then(|text| text.parse().ok()),
                submitted_ms: uint(row.get(4)?),
                ended_ms: ended.map(uint),
                status,
            });
        }
        let full = items.len() >= usize::try_from(size).unwrap_or(usize::MAX);
        Ok(Page {
            items,
            next: full.then_some(last),
        })
    }

    /// A receipt by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn receipt(&mut self, id: &Hash) -> Result<Option<ReceiptView>, StoreError> {
        let db = self.db.transaction()?;
        let sql = format!("SELECT {} FROM receipt WHERE id = ?1", rows::RECEIPT);
        let mut statement = db.prepare_cached(&sql)?;
        let mut found = statement.query([id.as_bytes()])?;
        let Some(row) = found.next()? else {
            return Ok(None);
        };
        let leaf = uint(row.get(0)?);
        let Some(receipt) = rows::receipt(row, 0)? else {
            let entry = read_entry(&db, &self.log, leaf)?;
            return pruned(*id, leaf, &entry).map(Some);
        };
        let task: Option<(Vec<u8>, String, Vec<u8>)> = db
            .prepare_cached("SELECT id, client, exec FROM task WHERE number = ?1")?
            .query_row([int(receipt.task)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let (task, client, exec) = match task {
            None => (None, None, None),
            Some((id, client, exec)) => (
                Some(rows::hash(&id, "a task id")?),
                Some(client),
                Some(Hash::of(&exec)),
            ),
        };
        Ok(Some(ReceiptView {
            receipt: receipt.id,
            leaf,
            bytes: receipt.receipt.to_bytes().to_vec(),
            task,
            client,
            exec,
            opening: Some(receipt.opening),
            environment: receipt.receipt.body.environment,
            decision: receipt.decision,
            received_ms: Some(receipt.received_ms),
            detail: receipt.detail,
            log: receipt.log,
        }))
    }

    /// A small blob.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn blob(&mut self, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        blob(&self.db, hash)
    }

    /// Those of the hashes that are no small blob.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn without_blob(&mut self, hashes: &[Hash]) -> Result<Vec<Hash>, StoreError> {
        let mut statement = self
            .db
            .prepare_cached("SELECT 1 FROM blob WHERE hash = ?1")?;
        let mut missing = Vec::new();
        for hash in hashes {
            if !statement.exists([hash.as_bytes()])? {
                missing.push(*hash);
            }
        }
        Ok(missing)
    }

    /// A public document.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn document(&mut self, hash: &Hash) -> Result<Option<Document>, StoreError> {
        rosters::find(&self.db, hash)
    }

    /// A membership that a roster names, as its authority signed it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn membership(&mut self, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .db
            .prepare_cached("SELECT signed FROM membership WHERE hash = ?1")?
            .query_row([hash.as_bytes()], |row| row.get(0))
            .optional()?)
    }

    /// The specs of a task and the blobs that go with it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn context(&mut self, task: &Hash) -> Result<Option<TaskContext>, StoreError> {
        let db = self.db.transaction()?;
        let Some(found) = find_task(&db, task)? else {
            return Ok(None);
        };
        let mut blobs = HashMap::new();
        for hash in &found.row.inline {
            if let Some(bytes) = blob(&db, hash)? {
                blobs.insert(*hash, bytes);
            }
        }
        TaskContext::new(found.row, &mut blobs)
            .map(Some)
            .map_err(|error| damaged(format!("the spec of {task}: {error}")))
    }
}

/// A receipt of which only the log is left.
fn pruned(id: Hash, leaf: u64, entry: &[u8]) -> Result<ReceiptView, StoreError> {
    let Ok(Entry::Receipt(receipt)) = Entry::decode(entry) else {
        return Err(damaged(format!(
            "the entry {leaf} of the log is no receipt"
        )));
    };
    Ok(ReceiptView {
        receipt: id,
        leaf,
        bytes: receipt.to_bytes().to_vec(),
        task: None,
        client: None,
        exec: None,
        opening: None,
        environment: receipt.body.environment,
        decision: None,
        received_ms: None,
        detail: None,
        log: None,
    })
}

fn blob(db: &Connection, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(db
        .prepare_cached("SELECT bytes FROM blob WHERE hash = ?1")?
        .query_row([hash.as_bytes()], |row| row.get(0))
        .optional()?)
}

struct StoredTask {
    row: TaskRow,
    state: TaskState,
    ended_ms: Option<u64>,
    reason: Option<Reason>,
    result: Option<(u64, u32)>,
}

fn find_task(db: &Connection, id: &Hash) -> Result<Option<StoredTask>, StoreError> {
    let sql = format!(
        "SELECT {}, state, ended_ms, code, detail, result, agreed FROM task WHERE id = ?1",
        rows::TASK
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query([id.as_bytes()])?;
    let Some(row) = found.next()? else {
        return Ok(None);
    };
    let ended: Option<i64> = row.get(14)?;
    let code: Option<String> = row.get(15)?;
    let detail: Option<String> = row.get(16)?;
    let result: Option<i64> = row.get(17)?;
    let agreed: Option<u32> = row.get(18)?;
    let reason = code.map(|text| Reason {
        // A code of a later version, read by an earlier one.
        code: text.parse().unwrap_or(Code::Internal),
        detail: detail.unwrap_or(text),
    });
    Ok(Some(StoredTask {
        row: rows::task(row)?,
        state: rows::task_state(row.get(13)?)?,
        ended_ms: ended.map(uint),
        reason,
        result: result.map(|leaf| (uint(leaf), agreed.unwrap_or(1))),
    }))
}

impl StoredTask {
    fn view(
        &self,
        history: &[(AssignmentRow, Option<ReceiptRow>)],
    ) -> Result<TaskView, StoreError> {
        let row = &self.row;
        let spec = TaskSpec::from_cbor(&row.spec)
            .map_err(|error| damaged(format!("the spec of {}: {error}", row.id)))?;
        let receipts = history.iter().filter_map(|(_, receipt)| receipt.as_ref());
        let result = self.result.and_then(|(leaf, agreed)| {
            let receipt = receipts.clone().find(|r| r.leaf == leaf)?;
            Some(result_view(receipt, agreed))
        });
        let target = row.target.map(|target| target.saturating_add(row.extra));
        Ok(TaskView {
            task: row.id,
            client: row.client.clone(),
            state: self.state,
            reason: self.reason.clone(),
            submitted_ms: row.submitted_ms,
            expires_ms: row.expires_ms,
            ended_ms: self.ended_ms,
            exec: spec.exec,
            price: spec.price,
            replicas: target,
            quorum: quorum(&spec, row.target),
            validator: row.validator,
            trace_id: row.trace.map(|trace| trace.trace_id()),
            assignments: history
                .iter()
                .map(|(assignment, receipt)| assignment_view(assignment, receipt.as_ref()))
                .collect(),
            progress: None,
            result,
        })
    }
}

/// Equal results that make one accepted: all of them where a miner is trusted with one.
pub(crate) fn quorum(spec: &TaskSpec, target: Option<u32>) -> u32 {
    let quorum = u32::from(spec.verification.quorum);
    target.map_or(quorum, |target| quorum.min(target))
}

pub(crate) fn assignment_view(row: &AssignmentRow, receipt: Option<&ReceiptRow>) -> AssignmentView {
    AssignmentView {
        assignment: row.hash,
        leaf: row.leaf,
        replica: row.assignment.replica,
        attempt: row.assignment.attempt,
        miner: NodeKey(row.assignment.miner),
        issued_ms: row.assignment.issued_ms,
        deadline_ms: row.assignment.deadline_ms,
        state: row.state,
        receipt: receipt.map(receipt_summary),
    }
}

pub(crate) fn receipt_summary(row: &ReceiptRow) -> ReceiptSummary {
    ReceiptSummary {
        receipt: row.id,
        leaf: row.leaf,
        status: row.receipt.body.status,
        decision: row.decision,
        detail: row.detail.clone(),
    }
}

pub(crate) fn result_view(row: &ReceiptRow, agreed: u32) -> ResultView {
    debug_assert!(matches!(row.decision, None | Some(Decision::Accepted)));
    let body = &row.receipt.body;
    ResultView {
        status: body.status,
        output: row.opening.output,
        transcript: row.opening.transcript,
        receipt: row.id,
        leaf: row.leaf,
        agreed,
        fuel: body.fuel,
        nn_units: body.nn_units,
        duration_us: body.duration_us,
        detail: row.detail.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    #[test]
    fn pages_are_found_without_reading_what_is_not_in_them() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(schema::FIRST).unwrap();
        db.execute_batch(schema::BY_STATE).unwrap();
        let plan = |sql: &str| -> Vec<String> {
            let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let count = statement.parameter_count();
            let lines =
                statement.query_map(rusqlite::params_from_iter(vec![0; count]), |row| row.get(3));
            lines.unwrap().map(|line| line.unwrap()).collect()
        };
        let receipts = "SEARCH r USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN";
        let all = "SEARCH t USING INDEX task_client (client=? AND number<?)";
        assert_eq!(plan(list_sql!("")), [all, receipts]);
        let some = "SEARCH t USING INDEX task_state (client=? AND state=? AND number<?)";
        assert_eq!(plan(list_sql!("AND t.state = ?4")), [some, receipts]);
    }
}
