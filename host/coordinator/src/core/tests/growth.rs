//! What a task costs does not grow with what is kept and with who is there, and nothing is left of
//! it in memory. Without clocks: in steps and pages of SQLite. `cargo xtask growth` has the times.

use std::collections::BTreeSet;

use adit_protocol::cbor::Document as _;
use adit_protocol::hash::Hash;
use adit_protocol::status::Status;

use crate::core::testing::*;
use crate::core::{Options, Output};
use crate::store::sql::{SqlStore, used};
use crate::store::{Horizon, StoreError};

const MINERS: usize = 300;
const TASKS: u64 = 2000;
/// Tasks that are measured together.
const WINDOW: u64 = 250;
const BLOBS: u64 = 500;

/// Steps and pages that something took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    steps: i64,
    pages: i64,
}

fn world() -> World {
    world_of(Options::default())
}

fn world_of(options: Options) -> World {
    let mut world = World::new(MINERS, options);
    world.disk = Some(Disk::new());
    world.greet_all(2);
    world
}

/// What `work` takes of the database, divided.
fn cost(world: &mut World, among: u64, work: impl FnOnce(&mut World)) -> Cost {
    let before = used::steps(world.disk.as_mut().unwrap().db.connection());
    checkpoint(world);
    work(world);
    let pages = checkpoint(world);
    let after = used::steps(world.disk.as_mut().unwrap().db.connection());
    let among = among as i64;
    Cost {
        steps: (after - before) / among,
        pages: pages / among,
    }
}

/// Pages that were written since the last time, each as often as it was.
fn checkpoint(world: &mut World) -> i64 {
    let db = world.disk.as_mut().unwrap().db.connection();
    let pages = |row: &rusqlite::Row<'_>| row.get(1);
    let written = db
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], pages)
        .unwrap();
    // The log begins anew with the next write only if a checkpoint has taken all of it.
    db.query_row("PRAGMA wal_checkpoint(RESTART)", [], pages)
        .unwrap();
    written
}

/// Submits tasks one at a time, each of which the miner that is drawn completes.
fn complete(world: &mut World, tasks: u64) {
    let nodes: Vec<_> = (0..MINERS).map(node).collect();
    for _ in 0..tasks {
        world.out.clear();
        world.submit_one(1, 1, false);
        let woken = world.out.iter().find_map(|output| match output {
            Output::Wake(node) => Some(*node),
            _ => None,
        });
        let woken = woken.expect("a miner was drawn");
        let miner = nodes.iter().position(|node| *node == woken).unwrap();
        world.poll(miner, 2).unwrap();
        let given: Vec<_> = world.miners[miner].given.keys().copied().collect();
        assert_eq!(given.len(), 1);
        world.finish(miner, &given[0], Status::Ok, "a");
    }
}

#[test]
fn a_task_costs_the_same_however_many_are_kept() {
    let mut world = world();
    // The first ones split pages that later ones only fill.
    complete(&mut world, WINDOW);
    let first = cost(&mut world, WINDOW, |world| complete(world, WINDOW));
    complete(&mut world, TASKS - 3 * WINDOW);
    let last = cost(&mut world, WINDOW, |world| complete(world, WINDOW));
    assert_eq!(world.core.counters().completed, TASKS);
    assert!(first.steps > 100 && first.pages > 10, "{first:?}");
    let more = |first: i64, last: i64| last * 10 > first * 12;
    assert!(!more(first.steps, last.steps), "{first:?} {last:?}");
    assert!(!more(first.pages, last.pages), "{first:?} {last:?}");

    // Nothing is looked for by walking a table.
    let db = world.disk.as_mut().unwrap().db.connection();
    let texts = used::all();
    assert!(texts.len() > 10, "{texts:?}");
    for sql in texts {
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = plan.parameter_count();
        let nulls = rusqlite::params_from_iter(vec![rusqlite::types::Null; count]);
        let lines = plan.query_map(nulls, |row| row.get::<_, String>(3));
        for line in lines.unwrap() {
            let line = line.unwrap();
            assert!(
                !line.starts_with("SCAN") && !line.contains("TEMP"),
                "{sql}: {line}"
            );
        }
    }
    nothing_is_left(&mut world);
}

/// All maps and queues are as before the first task.
fn nothing_is_left(world: &mut World) {
    let core = &world.core;
    assert_eq!((core.live(), core.open(), core.waiting()), (0, 0, 0));
    assert!(core.tasks.is_empty() && core.open.is_empty() && core.in_flight.is_empty());
    assert!(core.leases_due.is_empty() && core.tasks_due.is_empty());
    assert!(core.validations_due.is_empty() && core.changed.is_empty());
    assert_eq!((core.context_bytes, core.queue.classes()), (0, 0));
    assert_eq!(core.standing.leases().count(), 0);
    assert_eq!((core.miners.len(), core.active()), (MINERS, MINERS));
    assert!(
        core.miners
            .values()
            .all(|m| m.open.is_empty() && m.fresh.is_empty())
    );
    assert!(core.activity_due.len() <= MINERS);
    let ids: BTreeSet<Hash> = (world.out.iter())
        .filter_map(|output| match output {
            Output::Ended(view) => Some(view.task),
            _ => None,
        })
        .collect();
    assert!(ids.iter().all(|id| core.standing.task(id).is_none()) && !ids.is_empty());
    world
        .miners
        .iter()
        .for_each(|miner| assert!(miner.given.is_empty()));
}

#[test]
fn a_roster_costs_what_changed_in_it() {
    let mut world = world_of(Options {
        active_ms: 3_600_000,
        ..Options::default()
    });
    for change in 0..100 {
        world.hello(change * 3, offer(3)).unwrap();
        world.advance(world.options.roster_ms);
    }
    let db = world.disk.as_mut().unwrap().db.connection();
    let sum = "SELECT count(*), sum(length(d.bytes)), count(*) FILTER (WHERE d.base IS NULL)
               FROM roster r JOIN document d ON d.hash = r.root";
    let (rosters, bytes, whole): (u32, u32, u32) = db
        .query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    assert_eq!((rosters, whole), (101, 2));
    let newest = crate::store::load::snapshot(db).unwrap().roster.unwrap();
    assert_eq!(newest.roster.hash(), newest.entry.root);
    let slots = newest.roster.candidates.iter().map(|c| c.slots);
    assert_eq!(slots.sum::<u32>(), 2 * MINERS as u32 + 100);
    let each = newest.roster.to_cbor().len() as u32;
    assert!(bytes < 2 * each + 400 * rosters, "{bytes}, {each} for one");
}

#[test]
fn a_blob_costs_the_same_however_many_are_kept() {
    let mut world = world();
    let put = |world: &mut World, range: std::ops::Range<u64>| {
        for number in range {
            let bytes = number.to_le_bytes().repeat(8);
            world
                .call(|_, now, io| io.store.put_blob(&Hash::of(&bytes), &bytes, now))
                .unwrap();
        }
    };
    put(&mut world, 0..50);
    let first = cost(&mut world, 50, |world| put(world, 50..100));
    put(&mut world, 100..BLOBS - 50);
    let last = cost(&mut world, 50, |world| put(world, BLOBS - 50..BLOBS));
    assert!(
        last.steps <= first.steps && last.pages <= first.pages + 1,
        "{first:?} {last:?}"
    );
}

#[test]
fn pruning_costs_the_same_for_each_task_however_many_are_kept() {
    let mut world = world();
    complete(&mut world, 64);
    let prune = |world: &mut World, tasks_ms| {
        let Disk { db, log, .. } = world.disk.as_mut().unwrap();
        let transaction = db.connection().transaction().unwrap();
        let more = SqlStore::new(&transaction, log).prune(&Horizon {
            tasks_ms,
            blobs_ms: 0,
            requests_ms: 0,
        });
        transaction.commit().unwrap();
        more.unwrap()
    };
    // One round takes away 64 at most, and says that there may be more.
    let later = world.now_ms + 1;
    let few = cost(&mut world, 1, |world| assert!(prune(world, later)));
    complete(&mut world, 8 * 64);
    let later = world.now_ms + 1;
    let many = cost(&mut world, 1, |world| assert!(prune(world, later)));
    assert!(many.steps * 10 <= few.steps * 11, "{few:?} {many:?}");
    // What is not old costs nothing.
    let none = cost(&mut world, 1, |world| assert!(!prune(world, 0)));
    assert!(none.steps < 100, "{none:?}");
    let left = |world: &mut World| -> i64 {
        let db = world.disk.as_mut().unwrap().db.connection();
        db.query_row("SELECT count(*) FROM task", [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(left(&mut world), 7 * 64);
    while prune(&mut world, later) {}
    assert_eq!(left(&mut world), 0);
    world.call(|_, _, _| Ok::<_, StoreError>(())).unwrap();
}
