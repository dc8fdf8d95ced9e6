//! The log on disk: what appending costs a coordinator until the entries are in a checkpoint, and
//! what opening it costs.

use adit_net::db::Db;
use adit_net::log::{Check, Log, LogOptions};
use adit_protocol::keys::Keypair;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Bytes of an entry: a receipt with its type.
const ENTRY: usize = 521;
/// Entries in the log that is opened.
const OPENED: u64 = 100_000;

fn options(folder: &std::path::Path) -> LogOptions {
    let origin = "log.example/bench".parse();
    LogOptions {
        folder: folder.join("log"),
        origin: origin.unwrap_or_else(|_| unreachable!("it is a name")),
        key: Keypair::from_seed([1; 32]),
        witnesses: vec![],
        check: Check::All,
    }
}

fn append(db: &mut Db, log: &mut Log, count: u64) {
    let transaction = db.connection().transaction().expect("a transaction");
    let first = log.size();
    let entry = |leaf: u64| {
        let mut entry = [7; ENTRY];
        entry[..8].copy_from_slice(&leaf.to_le_bytes());
        entry
    };
    let entries: Vec<_> = (first..first + count).map(entry).collect();
    log.append_all(&transaction, &entries).expect("entries");
    transaction.commit().expect("a commit");
    log.committed();
}

fn integrate(db: &mut Db, log: &mut Log) {
    while log.integrate(db, 1).expect("a checkpoint").is_some() {}
}

/// A second's worth of entries: appended in durable transactions of some size, then integrated.
fn appending(c: &mut Criterion) {
    let mut group = c.benchmark_group("log/append and integrate");
    group.sample_size(10);
    const ENTRIES: u64 = 20_480;
    group.throughput(Throughput::Elements(ENTRIES));
    for batch in [16u64, 256, 1024] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.db");
        let mut db = Db::open(&path, &[Log::MIGRATION]).expect("a database");
        let mut log = Log::open(&mut db, options(folder.path())).expect("a log");
        group.bench_function(BenchmarkId::from_parameter(batch), |b| {
            b.iter(|| {
                for _ in 0..ENTRIES / batch {
                    append(&mut db, &mut log, batch);
                }
                integrate(&mut db, &mut log);
            });
        });
    }
    group.finish();
}

/// Every file of a log, read and checked up to the root.
fn opening(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.db");
    let mut db = Db::open(&path, &[Log::MIGRATION]).expect("a database");
    let mut log = Log::open(&mut db, options(folder.path())).expect("a log");
    append(&mut db, &mut log, OPENED);
    integrate(&mut db, &mut log);
    drop(log);
    let mut group = c.benchmark_group("log/open");
    group.sample_size(10);
    group.throughput(Throughput::Elements(OPENED));
    group.bench_function("all", |b| {
        b.iter(|| Log::open(&mut db, options(folder.path())).expect("a log"));
    });
    group.finish();
}

criterion_group!(benches, appending, opening);
criterion_main!(benches);
