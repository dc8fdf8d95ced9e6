use std::collections::BTreeSet;

use adit_protocol::network::roster::{PPM, RosterEntry};
use rand_core::RngCore as _;
use rusqlite::params;

use super::*;
use crate::core::testing::TestRng;
use crate::store::schema;

const LEAST: u128 = 20_000_000_000_000_000;
const WEIGHING: Weighing = Weighing {
    least: LEAST,
    saturation: 50,
};

fn database() -> Connection {
    let db = before();
    db.execute_batch(schema::CHANGES).unwrap();
    set_weighing(&db, &WEIGHING).unwrap();
    db
}

/// As it was when rosters were kept whole.
fn before() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(schema::FIRST).unwrap();
    db.execute_batch(schema::BY_STATE).unwrap();
    db
}

fn candidate(rng: &mut TestRng) -> Candidate {
    let mut node = [0; 32];
    rng.fill_bytes(&mut node);
    Candidate {
        node,
        stake: LEAST * u128::from(1 + rng.next_u32() % 100) + u128::from(rng.next_u32()),
        slots: 1 + rng.next_u32() % 8,
        cpu: true,
        gpu_memory_bytes: rng.next_u32().is_multiple_of(2).then_some(24 << 30),
        environments: vec![Hash::of(&node)],
        quality_ppm: PPM,
        locality: 1,
        weight: 0,
    }
}

fn roster(epoch: u64, mut candidates: Vec<Candidate>) -> Roster {
    candidates.sort_by_key(|candidate| candidate.node);
    for (at, weight) in WEIGHING.weights(&candidates).into_iter().enumerate() {
        candidates[at].weight = weight;
    }
    Roster {
        epoch,
        beacon: Hash::of(&epoch.to_le_bytes()),
        membership: Hash::of(b"members"),
        region: "eu".to_owned(),
        candidates,
    }
}

/// Adds them as the newest, as the store does.
fn add<'a>(db: &Connection, first: u64, rosters: impl IntoIterator<Item = &'a Roster>) {
    for (leaf, roster) in (first..).zip(rosters) {
        let entry = RosterEntry {
            epoch: roster.epoch,
            root: roster.hash(),
            made_ms: leaf,
            vrf_point: [0; 32],
            vrf_proof: [0; 64],
        };
        let (bytes, base) = shortest(db, roster).unwrap();
        db.execute(
            "INSERT INTO document (hash, kind, bytes, base) VALUES (?1, 1, ?2, ?3)
             ON CONFLICT (hash) DO NOTHING",
            params![
                entry.root.as_bytes(),
                bytes,
                base.map(|base| *base.as_bytes())
            ],
        )
        .unwrap();
        db.execute(
            "INSERT INTO roster (leaf, entry, root) VALUES (?1, ?2, ?3)",
            params![rows::int(leaf), entry.to_cbor(), entry.root.as_bytes()],
        )
        .unwrap();
    }
}

/// Each is found as it was.
fn come_back<'a>(db: &Connection, rosters: impl IntoIterator<Item = &'a Roster>) {
    for roster in rosters {
        let found = find(db, &roster.hash()).unwrap().unwrap();
        assert_eq!(found.kind, DocumentKind::Roster);
        assert_eq!(found.bytes, roster.to_cbor());
    }
}

/// Rosters that follow one another: each time a few candidates leave, come, or change.
fn history(rng: &mut TestRng, candidates: usize, length: u64) -> Vec<Roster> {
    let mut now: Vec<Candidate> = (0..candidates).map(|_| candidate(rng)).collect();
    let mut all = vec![roster(0, now.clone())];
    for epoch in 1..length {
        for _ in 0..rng.next_u32() % 3 {
            let at = rng.next_u32() as usize % now.len();
            match rng.next_u32() % 4 {
                0 => drop(now.swap_remove(at)),
                1 => now.push(candidate(rng)),
                2 => now[at].stake += LEAST,
                _ => now[at].quality_ppm = PPM / 2,
            }
        }
        all.push(roster(epoch / 2, now.clone()));
    }
    all
}

fn bytes_and_whole(db: &Connection) -> (u64, u64) {
    let sum = "SELECT sum(length(bytes)), count(*) FILTER (WHERE base IS NULL) FROM document";
    let (bytes, whole): (i64, i64) = db
        .query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    (rows::uint(bytes), rows::uint(whole))
}

fn damage(db: &Connection, roster: &Roster) -> String {
    match find(db, &roster.hash()) {
        Err(StoreError::Damaged(what)) => what,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is found"),
    }
}

#[test]
fn rosters_come_back_as_they_were_and_take_what_changed() {
    let mut rng = TestRng::new(1);
    let (db, all) = (database(), history(&mut rng, 300, 200));
    add(&db, 0, &all);
    come_back(&db, &all);
    for (leaf, roster) in (0..).zip(&all) {
        let row = rows::roster(&db, Some(leaf)).unwrap().unwrap();
        assert_eq!(&row.roster, roster);
    }
    let (bytes, whole) = bytes_and_whole(&db);
    let each: u64 = all.iter().map(|roster| roster.to_cbor().len() as u64).sum();
    // One in 64, and what changed.
    let others: BTreeSet<Hash> = all.iter().map(|roster| roster.hash()).collect();
    assert_eq!(whole, others.len().div_ceil(64) as u64);
    assert!(whole > 1);
    assert!(bytes * 30 < each, "{bytes} of {each}");
    assert_eq!(find(&db, &Hash::of(b"another")).unwrap().map(|_| ()), None);
}

#[test]
fn a_roster_that_comes_again_is_kept_once() {
    let mut rng = TestRng::new(2);
    let (db, all) = (database(), history(&mut rng, 40, 4));
    let again = [&all[0], &all[3], &all[0], &all[2], &all[0], &all[3]];
    add(&db, 0, again);
    come_back(&db, again);
    let documents: i64 = db
        .query_row("SELECT count(*) FROM document", [], |row| row.get(0))
        .unwrap();
    assert_eq!(documents, 3);
}

#[test]
fn what_is_other_in_everything_is_kept_whole() {
    let mut rng = TestRng::new(3);
    let db = database();
    for leaf in 0..3 {
        let candidates = (0..50).map(|_| candidate(&mut rng)).collect();
        add(&db, leaf, [&roster(leaf, candidates)]);
    }
    assert_eq!(bytes_and_whole(&db).1, 3);
    // Weights that are not those of the rule are kept as they are.
    let mut odd = roster(3, (0..50).map(|_| candidate(&mut rng)).collect());
    add(&db, 3, [&odd]);
    odd.candidates[7].weight += 1;
    add(&db, 4, [&odd]);
    assert_eq!(bytes_and_whole(&db).1, 5);
    let none = roster(5, Vec::new());
    add(&db, 5, [&none]);
    come_back(&db, [&odd, &none]);
}

#[test]
fn a_database_of_before_goes_on() {
    let mut rng = TestRng::new(4);
    let (db, all) = (before(), history(&mut rng, 60, 6));
    let old = &all[0];
    db.execute(
        "INSERT INTO document (hash, kind, bytes) VALUES (?1, 1, ?2)",
        params![old.hash().as_bytes(), old.to_cbor()],
    )
    .unwrap();
    let entry = "INSERT INTO roster (leaf, entry, root) VALUES (0, x'00', ?1)";
    db.execute(entry, [old.hash().as_bytes()]).unwrap();
    db.execute_batch(schema::CHANGES).unwrap();
    set_weighing(&db, &WEIGHING).unwrap();
    add(&db, 1, &all[1..]);
    assert_eq!(bytes_and_whole(&db).1, 1);
    come_back(&db, &all);
}

#[test]
fn damage_is_found() {
    let mut rng = TestRng::new(5);
    let (db, all) = (database(), history(&mut rng, 60, 8));
    add(&db, 0, &all);
    let (first, last) = (&all[0], &all[7]);
    let set = |column: &str, of: &Roster, value: &[u8]| {
        let sql = format!("UPDATE document SET {column} = ?2 WHERE hash = ?1");
        let changed = db.execute(&sql, params![of.hash().as_bytes(), value]);
        assert_eq!(changed.unwrap(), 1);
    };
    let bytes = |of: &Roster| -> Vec<u8> {
        let sql = "SELECT bytes FROM document WHERE hash = ?1";
        db.query_row(sql, [of.hash().as_bytes()], |row| row.get(0))
            .unwrap()
    };
    // Each byte of the last change, and of a part of the beginning. What is not used of them may be
    // anything, as weights.
    for of in [last, first] {
        let (right, mut refused) = (bytes(of), 0);
        let flips = 0..right.len().min(500);
        for at in flips.clone() {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            set("bytes", of, &wrong);
            match find(&db, &last.hash()) {
                Err(StoreError::Damaged(_)) => refused += 1,
                Err(other) => panic!("{other}"),
                Ok(found) => assert_eq!(found.unwrap().bytes, last.to_cbor()),
            }
        }
        assert!(refused * 2 > flips.len(), "{refused}");
        set("bytes", of, &right);
    }
    come_back(&db, [first, last]);

    set_weighing(
        &db,
        &Weighing {
            least: LEAST * 2,
            ..WEIGHING
        },
    )
    .unwrap();
    assert!(damage(&db, last).contains("makes another one"));
    set_weighing(&db, &WEIGHING).unwrap();

    // A change of itself has no beginning.
    set("base", last, last.hash().as_bytes());
    assert!(damage(&db, last).contains("more than 63 changes"));
    set("base", last, Hash::of(b"another").as_bytes());
    assert!(damage(&db, last).contains("is missing"));
    set("base", last, b"short");
    assert!(damage(&db, last).contains("instead of 32"));
}
