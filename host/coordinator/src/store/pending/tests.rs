use adit_protocol::network::entry::Entry;
use adit_protocol::status::Status;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::{AssignmentRow, ReceiptRow, TaskRow};
use crate::core::testing::*;
use crate::store::sql::SqlStore;
use crate::store::{Snapshot, Store, load};
use crate::view::LeaseState;

/// Tasks that have ended and tasks that go on, with receipts of all kinds.
fn world() -> World {
    let mut world = World::ready(3, 2, audited());
    for round in 0..12 {
        world.submit_one(1 + round % 2, 1, round % 3 == 0);
        if round % 4 == 3 {
            let status = match round % 8 {
                3 => Status::Ok,
                _ => Status::HostFault,
            };
            world.work(status, "a");
        }
    }
    world
}

/// Tells a store all that a world's store was told, step by step; `each` is called after each step.
fn tell(world: &World, store: &mut SqlStore<'_>, each: impl Fn(&mut SqlStore<'_>)) {
    let from = &world.store;
    for (row, _) in from.tasks.values() {
        let (target, extra) = (None, 0);
        let new = TaskRow {
            target,
            extra,
            ..row.clone()
        };
        store.add_task(&new).unwrap();
        each(store);
        if let Some(target) = row.target {
            store.set_replicas(row.number, target, row.extra).unwrap();
            each(store);
        }
    }
    for bytes in &from.entries {
        store.append(&Entry::decode(bytes).unwrap()).unwrap();
        each(store);
    }
    for row in from.assignments.values() {
        let new = AssignmentRow {
            state: LeaseState::Open,
            acceptance: None,
            receipt: None,
            ..row.clone()
        };
        store.add_assignment(&new).unwrap();
        each(store);
        if let Some(acceptance) = &row.acceptance {
            store.accept(row.leaf, acceptance).unwrap();
            each(store);
        }
        if row.state != LeaseState::Open {
            store.end_assignment(row.leaf, row.state).unwrap();
            each(store);
        }
    }
    for row in from.receipts.values() {
        let new = ReceiptRow {
            decision: None,
            ..row.clone()
        };
        store.add_receipt(&new).unwrap();
        each(store);
        if let Some(decision) = row.decision {
            store.judge(row.leaf, decision).unwrap();
            each(store);
        }
    }
    for (row, end) in from.tasks.values() {
        if let Some(end) = end {
            store.end_task(row.number, end).unwrap();
            each(store);
        }
    }
    let snapshot = from.snapshot();
    for row in &snapshot.miners {
        let mut old = *row;
        old.record.good += 1;
        store.save_miner(&old).unwrap();
        each(store);
        store.save_miner(row).unwrap();
        each(store);
    }
    store.add_roster(&snapshot.roster.unwrap()).unwrap();
    each(store);
    for escrow in [snapshot.escrow + 1, snapshot.escrow] {
        store.save_escrow(escrow).unwrap();
        each(store);
    }
}

/// All rows of all tables, and what a coordinator goes on from.
fn kept(world: &World, each: impl Fn(&mut SqlStore<'_>)) -> (Vec<Vec<Value>>, Snapshot) {
    let Disk { db, log, .. } = &mut Disk::new();
    let transaction = db.connection().transaction().unwrap();
    let mut store = SqlStore::new(&transaction, log);
    tell(world, &mut store, each);
    store.write().unwrap();
    drop(store);
    transaction.commit().unwrap();
    log.committed();
    (
        rows(db.connection()),
        load::snapshot(db.connection()).unwrap(),
    )
}

fn rows(db: &Connection) -> Vec<Vec<Value>> {
    // The checkpoint of a new log is signed anew each time.
    let tables = "SELECT name FROM sqlite_schema
        WHERE type = 'table' AND name NOT IN ('log_checkpoint', 'log_cosigned') ORDER BY name";
    let mut tables = db.prepare(tables).unwrap();
    let tables = tables.query_map([], |row| row.get(0)).unwrap();
    let tables: Vec<String> = tables.map(Result::unwrap).collect();
    let mut all = Vec::new();
    for table in tables {
        let mut select = db
            .prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2"))
            .unwrap();
        let columns = select.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let values = (0..columns).map(|at| row.get(at));
            values.collect::<Result<Vec<Value>, _>>()
        };
        all.push(vec![Value::from(table)]);
        all.extend(
            select
                .query_map(params![], row)
                .unwrap()
                .map(Result::unwrap),
        );
    }
    all
}

/// The store on SQLite keeps what the one in memory keeps, written once or with each change.
#[test]
fn rows_are_the_same_written_at_the_end_or_with_each_change() {
    let world = world();
    let (once, found) = kept(&world, |_| {});
    let expected = world.store.snapshot();
    assert_eq!(found.tasks, expected.tasks);
    assert_eq!(found.assignments, expected.assignments);
    assert_eq!(found.receipts, expected.receipts);
    assert_eq!(found.roster, expected.roster);
    assert_eq!(found.miners, expected.miners);
    assert_eq!(found.escrow, expected.escrow);
    assert!(!found.tasks.is_empty() && !found.assignments.is_empty());
    let ended = world.store.tasks.values().filter(|(_, end)| end.is_some());
    assert!(ended.count() > 0 && !world.store.receipts.is_empty());
    let (each, _) = kept(&world, |store| store.write().unwrap());
    for (once, each) in once.iter().zip(&each) {
        assert_eq!(once, each);
    }
    assert_eq!(once.len(), each.len());
}
