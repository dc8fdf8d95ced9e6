//! A ledger against the log and the journals of miners: what was promised is there, once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash as Hashable;

use adit_net::log::{FolderSource, LogReader, Trust, WalkOptions};
use adit_protocol::Hash;
use adit_protocol::log::checkpoint::SignedCheckpoint;
use adit_protocol::log::tree::{Frontier, empty_root};
use adit_protocol::network::assignment::Assignment;
use adit_protocol::network::entry::{CancelledBy, Decision, Entry};
use adit_protocol::receipt::{BODY_LEN, Receipt, ReceiptBody};
use rusqlite::{Connection, OpenFlags};

use super::ledger::{Acknowledged, Known, Ledger};
use crate::cluster::Cluster;

/// What was compared, for people.
#[derive(Debug, Default)]
pub struct Compared {
    pub tasks: usize,
    pub completed: usize,
    pub failed: BTreeMap<String, usize>,
    pub checkpoints: usize,
    pub entries: usize,
    pub receipts: usize,
    pub acknowledged: usize,
    pub refused: BTreeMap<String, usize>,
    /// Receipts in journals that no answer came for.
    pub open: usize,
    pub expired: usize,
    pub attempts: usize,
}

impl std::fmt::Display for Compared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} tasks were acknowledged: {} completed, without a result {:?}; {} assignments, of \
             which {} expired; {} receipts in {} entries; miners were told of {}, refused {:?}, and \
             wait for {}; {} checkpoints were seen",
            self.tasks,
            self.completed,
            self.failed,
            self.attempts,
            self.expired,
            self.receipts,
            self.entries,
            self.acknowledged,
            self.refused,
            self.open,
            self.checkpoints,
        )
    }
}

/// A log that was read, by what its entries tell of.
#[derive(Default)]
pub struct Told {
    /// Root of the log at each size, from 0.
    roots: Vec<Hash>,
    receipts: BTreeMap<u64, Receipt>,
    assignments: HashMap<Hash, Assignment>,
    /// The decisions on each receipt.
    decisions: HashMap<Hash, Vec<(Hash, Decision)>>,
    /// Verdicts of each task that accept a receipt.
    accepting: HashMap<Hash, usize>,
    /// Ends of leases without a receipt, of each assignment.
    expired: HashMap<Hash, usize>,
    cancelled: HashMap<Hash, usize>,
    /// Cancels of each task that end it.
    ended: HashMap<Hash, usize>,
}

impl Told {
    /// Reads the log at rest, and checks it against its checkpoint.
    pub async fn read(cluster: &Cluster) -> Told {
        let source = FolderSource(cluster.data().join("log"));
        let reader = LogReader::new(source, Trust::log_alone(cluster.log_key()));
        let checkpoint = reader.checkpoint().await.unwrap().checkpoint;
        let options = WalkOptions {
            check_tiles: true,
            local: None,
        };
        let all = 0..checkpoint.size;
        let mut walk = reader.walk(&checkpoint, all, options).await.unwrap();
        let mut told = Told::default();
        let mut tree = Frontier::new();
        told.roots.push(empty_root());
        while let Some(bundle) = walk.next().await.unwrap() {
            for ((leaf, entry), hash) in bundle.entries().zip(&bundle.hashes) {
                tree.append(*hash).unwrap();
                told.roots.push(tree.root());
                told.take(leaf, Entry::decode(entry).unwrap());
            }
        }
        assert_eq!(told.roots.last(), Some(&checkpoint.root));
        told
    }

    fn take(&mut self, leaf: u64, entry: Entry) {
        match entry {
            Entry::Receipt(receipt) => {
                self.receipts.insert(leaf, *receipt);
            }
            Entry::Assignment(signed) => {
                let hash = signed.body_hash();
                let assignment = signed.unverified().unwrap();
                let before = self.assignments.insert(hash, assignment);
                assert!(before.is_none(), "an assignment twice: leaf {leaf}");
            }
            Entry::Verdict(verdict) => {
                let accepts = |judged: &_| matches!(judged, Decision::Accepted);
                if verdict.receipts.iter().any(|j| accepts(&j.decision)) {
                    *self.accepting.entry(verdict.task).or_default() += 1;
                }
                for judged in verdict.receipts {
                    let all = self.decisions.entry(judged.receipt).or_default();
                    all.push((verdict.task, judged.decision));
                }
            }
            Entry::Expiry(expiry) => *self.expired.entry(expiry.assignment).or_default() += 1,
            Entry::Cancel(cancel) => {
                if cancel.by != CancelledBy::Decided {
                    *self.ended.entry(cancel.task).or_default() += 1;
                }
                for assignment in cancel.assignments {
                    *self.cancelled.entry(assignment).or_default() += 1;
                }
            }
            Entry::Roster(_) => {}
        }
    }
}

/// Everything that was found wrong, one sentence each.
#[derive(Default)]
pub struct Wrong(pub Vec<String>);

impl Wrong {
    fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }

    /// Each of the keys may be there once.
    fn once<K: Hashable + Eq + Debug>(&mut self, what: &str, keys: impl Iterator<Item = K>) {
        let mut seen = HashSet::new();
        for key in keys {
            if !seen.insert(key) {
                self.0.push(format!("{what} twice"));
            }
        }
    }
}

/// Compares all that is known of a network whose processes have ended.
pub async fn compare(cluster: &Cluster, ledger: &Ledger) -> (Compared, Vec<String>) {
    let told = Told::read(cluster).await;
    let mut wrong = Wrong(ledger.wrong());
    let mut compared = Compared {
        entries: told.roots.len() - 1,
        receipts: told.receipts.len(),
        expired: told.expired.len(),
        attempts: told.assignments.len(),
        ..Compared::default()
    };
    checkpoints(cluster, ledger, &told, &mut compared, &mut wrong);
    leases(&told, &mut wrong);
    let tasks = ledger.tasks();
    // A key of which no answer ever came has no task here; the log may have one.
    let ids: BTreeSet<Hash> = tasks.values().filter_map(|known| known.task).collect();
    wrong.unless(ids.len() == tasks.len(), || {
        format!("{} keys have {} tasks", tasks.len(), ids.len())
    });
    for assignment in told.assignments.values() {
        wrong.unless(ids.contains(&assignment.task), || {
            format!("nobody was told of the task {}", assignment.task)
        });
    }
    for (key, known) in &tasks {
        task(key, known, &told, &mut compared, &mut wrong);
    }
    acknowledged(cluster, ledger);
    journals(cluster, ledger, &told, &mut compared, &mut wrong);
    (compared, wrong.0)
}

/// Every checkpoint that was ever seen is of the final log, and they never went back.
fn checkpoints(
    cluster: &Cluster,
    ledger: &Ledger,
    told: &Told,
    compared: &mut Compared,
    wrong: &mut Wrong,
) {
    let key = cluster.log_key();
    let mut newest = 0;
    for text in ledger.checkpoints() {
        let signed = SignedCheckpoint::parse(text.as_bytes()).unwrap();
        let seen = signed.verify(&key).unwrap().clone();
        wrong.unless(seen.size >= newest, || {
            format!(
                "a checkpoint of {newest} entries, then one of {}",
                seen.size
            )
        });
        newest = newest.max(seen.size);
        let root = usize::try_from(seen.size).ok();
        let root = root.and_then(|size| told.roots.get(size));
        wrong.unless(root == Some(&seen.root), || {
            format!("FORK: a checkpoint of {} entries: {}", seen.size, seen.root)
        });
        compared.checkpoints += 1;
    }
}

/// What must hold of the log by itself: no lease has two ends, and no miner two bodies.
fn leases(told: &Told, wrong: &mut Wrong) {
    let bodies = || told.receipts.values().map(|receipt| &receipt.body);
    wrong.once("a receipt", bodies().map(ReceiptBody::id));
    wrong.once(
        "a number of a miner",
        bodies().map(|body| (body.miner, body.seq)),
    );
    wrong.once(
        "a receipt of an assignment",
        bodies().map(|body| body.assignment),
    );
    let at = |body: &ReceiptBody| (body.miner, body.seq);
    let by_number: HashMap<_, _> = bodies().map(|body| (at(body), body)).collect();
    for body in bodies() {
        let before = by_number.get(&(body.miner, body.seq - 1));
        let follows = match before {
            Some(before) => before.id() == body.prev,
            None => body.seq == 1 && body.prev == Hash::ZERO,
        };
        wrong.unless(follows, || {
            format!("receipt {} of a miner follows on nothing", body.seq)
        });
        let assigned = told.assignments.get(&body.assignment);
        let fits = assigned.is_some_and(|a| a.miner == body.miner && a.task == body.task);
        wrong.unless(fits, || format!("a receipt of no lease: {}", body.id()));
        let decided = told.decisions.get(&body.id());
        let decided: &[_] = decided.map_or(&[], Vec::as_slice);
        wrong.unless(decided.len() <= 1, || {
            format!("{} decisions on {}", decided.len(), body.id())
        });
        let paid = (decided.iter()).any(|(_, decision)| *decision == Decision::Accepted);
        let ended = |ends: &HashMap<Hash, usize>| ends.contains_key(&body.assignment);
        wrong.unless(
            !(paid && (ended(&told.expired) || ended(&told.cancelled))),
            || format!("a lease that had ended was paid: {}", body.assignment),
        );
    }
    for ends in [&told.expired, &told.cancelled] {
        for (assignment, count) in ends {
            let both =
                told.expired.contains_key(assignment) && told.cancelled.contains_key(assignment);
            wrong.unless(*count == 1 && !both, || {
                format!("the lease {assignment} has ended more than once")
            });
        }
    }
}

/// What was shown of a task is in the log, and it has ended once.
fn task(key: &str, known: &Known, told: &Told, compared: &mut Compared, wrong: &mut Wrong) {
    compared.tasks += 1;
    let (Some(task), Some(end)) = (known.task, &known.end) else {
        wrong
            .0
            .push(format!("{key} was acknowledged, and never ended"));
        return;
    };
    let paid = (told.receipts.values())
        .filter(|receipt| receipt.body.task == task)
        .filter(|receipt| {
            let decided = told.decisions.get(&receipt.body.id());
            decided.is_some_and(|all| all.contains(&(task, Decision::Accepted)))
        })
        .count();
    let accepting = told.accepting.get(&task).copied().unwrap_or(0);
    let cancels = told.ended.get(&task).copied().unwrap_or(0);
    let Some((status, receipt, leaf)) = &end.result else {
        let code = end.code.clone().unwrap_or_default();
        *compared.failed.entry(code).or_default() += 1;
        wrong.unless(paid == 0 && accepting == 0 && cancels <= 1, || {
            format!("{key} has no result, and {paid} receipts were paid, {cancels} cancels")
        });
        return;
    };
    compared.completed += 1;
    let expected = match known.output {
        Some(_) => "ok",
        None => "out-of-fuel",
    };
    wrong.unless(end.state == "completed" && status == expected, || {
        format!("{key} is {} with {status}, not {expected}", end.state)
    });
    let there = told.receipts.get(leaf);
    let there = there.is_some_and(|r| r.body.id() == *receipt && r.body.task == task);
    wrong.unless(there, || {
        format!("{key}: the receipt {receipt} that was shown is not at leaf {leaf}")
    });
    let replicas = usize::from(known.replicas);
    wrong.unless(paid == replicas && accepting == 1 && cancels == 0, || {
        format!(
            "{key}: {paid} receipts were paid by {accepting} verdicts, of {replicas} replicas; \
                 {cancels} cancels"
        )
    });
}

/// Notes what miners have been told up to now, by copies of their journals: a miner that finds that
/// its coordinator has lost something hands it in again, and forgets where it was before.
pub fn acknowledged(cluster: &Cluster, ledger: &Ledger) {
    for number in 0..cluster.miners {
        let path = cluster.journal(number);
        let copy = cluster.folder().join("journal-copy.db");
        for ending in ["db", "db-wal"] {
            let to = copy.with_extension(ending);
            let _ = std::fs::remove_file(&to);
            let copied = std::fs::copy(path.with_extension(ending), &to);
            // Neither is there before the first start.
            assert!(copied.is_ok() || !path.with_extension(ending).exists());
        }
        let _ = std::fs::remove_file(copy.with_extension("db-shm"));
        let journal = Connection::open(&copy).unwrap();
        let all = "SELECT s.miner, r.seq, r.leaf, r.body, r.signature, r.countersignature
                   FROM receipts r JOIN series s ON s.id = r.series WHERE r.state = 2";
        // One that is just being made has no tables.
        let Ok(mut rows) = journal.prepare(all) else {
            continue;
        };
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let miner: Vec<u8> = row.get(0).unwrap();
            let (seq, leaf): (i64, i64) = (row.get(1).unwrap(), row.get(2).unwrap());
            let part = |at| row.get::<_, Vec<u8>>(at).unwrap();
            let receipt = [part(3), part(4), part(5)].concat();
            let leaf = leaf as u64;
            let known = Acknowledged { leaf, receipt };
            ledger.told(miner.try_into().unwrap(), seq as u64, known);
        }
    }
}

/// What miners were told to be durable is in the log at that leaf, and the log has nothing of them
/// that they did not write down.
fn journals(
    cluster: &Cluster,
    ledger: &Ledger,
    told: &Told,
    compared: &mut Compared,
    wrong: &mut Wrong,
) {
    let mut written: HashMap<[u8; 32], HashMap<u64, Vec<u8>>> = HashMap::new();
    for ((_, seq), known) in ledger.receipts() {
        let logged = told.receipts.get(&known.leaf);
        let same = logged.is_some_and(|receipt| receipt.to_bytes()[..] == known.receipt[..]);
        wrong.unless(same, || {
            format!(
                "receipt {seq} was acknowledged, and is not at leaf {}",
                known.leaf
            )
        });
        compared.acknowledged += 1;
    }
    for number in 0..cluster.miners {
        let path = cluster.journal(number);
        let journal = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let whole: String = journal
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        wrong.unless(whole == "ok", || format!("miner {number}: {whole}"));
        let mut rows = journal
            .prepare(
                "SELECT s.miner, r.seq, r.body, r.state, r.code
                 FROM receipts r JOIN series s ON s.id = r.series ORDER BY r.seq",
            )
            .unwrap();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let miner: Vec<u8> = row.get(0).unwrap();
            let (seq, body): (i64, Vec<u8>) = (row.get(1).unwrap(), row.get(2).unwrap());
            let state: i64 = row.get(3).unwrap();
            let miner: [u8; 32] = miner.try_into().unwrap();
            let seq = seq as u64;
            written.entry(miner).or_default().insert(seq, body);
            match state {
                2 => {}
                3 => {
                    let code: String = row.get(4).unwrap();
                    *compared.refused.entry(code).or_default() += 1;
                }
                _ => compared.open += 1,
            }
        }
    }
    for (leaf, receipt) in &told.receipts {
        let body = &receipt.body;
        let known = written.get(&body.miner).and_then(|all| all.get(&body.seq));
        let same = known.is_some_and(|known| known[..BODY_LEN] == body.encode());
        wrong.unless(same, || {
            format!("leaf {leaf}: the miner has another receipt {}", body.seq)
        });
    }
}
