//! The journal: one body for each assignment and number, whatever fails.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use adit_miner::journal::{
    Answer, Assigned, Batch, Draft, Journal, JournalError, Parts, Point, Probe, Settled, Standing,
    State,
};
use adit_protocol::Hash;
use adit_protocol::keys::Keypair;
use adit_protocol::network::assignment::Assignment;
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::signed::Signable as _;
use adit_protocol::status::Status;
use proptest::prelude::*;
use rand_core::OsRng;

use crate::support::{key, miner_key};

pub fn node() -> [u8; 32] {
    miner_key().public().to_bytes()
}

pub fn coordinator(number: u8) -> [u8; 32] {
    key(&format!("c{number}")).public().to_bytes()
}

/// A draft whose contents depend on `variant`, as those of a second run of the same task do.
pub fn draft(coordinator: [u8; 32], assignment: Hash, variant: u64) -> Draft {
    Draft {
        body: ReceiptBody {
            network: [1; 4],
            status: Status::Ok,
            gpu: false,
            nn: false,
            epoch: 1,
            seq: 0,
            start_ms: variant,
            duration_us: variant,
            fuel: 1,
            nn_units: 0,
            peak_memory: 0,
            miner: [0; 32],
            coordinator,
            task: Hash::of(b"task"),
            assignment,
            component: Hash::ZERO,
            input: Hash::ZERO,
            output: Hash::ZERO,
            transcript: Hash::ZERO,
            environment: Hash::ZERO,
            prev: Hash::ZERO,
        },
        parts: Arc::new(Parts {
            inline: vec![vec![7; 100].into()],
            ..Parts::default()
        }),
        lease: None,
    }
}

fn begin(
    journal: &mut Journal,
    coordinator: [u8; 32],
    assignment: Hash,
) -> Result<u64, (u64, State)> {
    match journal.assign(draft(coordinator, assignment, 1)).unwrap() {
        Assigned::New(begun) => {
            let seq = begun.body.seq;
            let batch = Batch {
                bodies: vec![*begun],
                ..Batch::default()
            };
            journal.commit(&batch, 1).unwrap();
            Ok(seq)
        }
        Assigned::Known { seq, state } => Err((seq, state)),
    }
}

#[test]
fn each_assignment_has_one_body_and_numbers_have_no_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let mut journal = Journal::open(&path, node(), 1000).unwrap();
    let (a, b) = (coordinator(1), coordinator(2));
    let id = |n: u8| Hash::of(&[n]);
    assert_eq!(begin(&mut journal, a, id(1)), Ok(1));
    assert_eq!(begin(&mut journal, a, id(2)), Ok(2));
    assert_eq!(begin(&mut journal, b, id(3)), Ok(1));
    assert_eq!(begin(&mut journal, a, id(1)), Err((1, State::Begun)));
    // Before it is committed, too.
    let Assigned::New(begun) = journal.assign(draft(a, id(4), 1)).unwrap() else {
        panic!("it is new");
    };
    let again = journal.assign(draft(a, id(4), 2)).unwrap();
    assert!(matches!(again, Assigned::Known { seq: 3, .. }));
    assert_eq!(begun.body.prev, journal_id(&mut journal, &id(2)));
    drop(journal);

    // What was never committed was never signed, and its number is free.
    let mut journal = Journal::open(&path, node(), 1000).unwrap();
    assert_eq!(begin(&mut journal, a, id(5)), Ok(3));
    assert_eq!(begin(&mut journal, a, id(2)), Err((2, State::Begun)));
    assert_eq!(journal.unsigned().unwrap().len(), 4);
    // Another node key has series of its own, but never a second body for an assignment.
    drop(journal);
    let mut other = Journal::open(&path, [9; 32], 1000).unwrap();
    assert_eq!(other.head(&a).seq, 0);
    assert_eq!(begin(&mut other, a, id(2)), Err((2, State::Begun)));
    assert_eq!(begin(&mut other, a, id(6)), Ok(1));
}

fn journal_id(journal: &mut Journal, assignment: &Hash) -> Hash {
    let (receipt, _) = journal.receipt_of(assignment).unwrap().unwrap();
    receipt.id()
}

#[test]
fn bodies_and_signatures_cannot_be_changed_even_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let mut journal = Journal::open(&path, node(), 1000).unwrap();
    begin(&mut journal, coordinator(1), Hash::of(b"1")).unwrap();
    let sign = |signature: u8| Batch {
        signatures: vec![(coordinator(1), 1, [signature; 64])],
        ..Batch::default()
    };
    journal.commit(&sign(1), 1).unwrap();
    journal.commit(&sign(1), 1).unwrap();
    journal.apply().unwrap();
    journal.commit(&sign(2), 1).unwrap();
    assert!(matches!(journal.apply(), Err(JournalError::Sqlite(_))));
    drop(journal);
    let db = rusqlite::Connection::open(&path).unwrap();
    for statement in [
        "UPDATE receipts SET body = zeroblob(392)",
        "UPDATE receipts SET seq = 7",
        "DELETE FROM receipts",
        "INSERT INTO receipts (series, seq, assignment, body, state, made_ms)
         SELECT series, seq, zeroblob(32), body, 0, 0 FROM receipts",
        "INSERT INTO receipts (series, seq, assignment, body, state, made_ms)
         SELECT series, seq + 1, assignment, body, 0, 0 FROM receipts",
    ] {
        assert!(db.execute(statement, []).is_err(), "{statement}");
    }
}

#[test]
fn bodies_that_the_tables_lack_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let mut journal = Journal::open(&path, node(), 1000).unwrap();
    let (a, b) = (coordinator(1), coordinator(2));
    let lease = lease(a).sign(&key("c1"), &mut OsRng);
    let mut with_lease = draft(a, lease.body_hash(), 1);
    with_lease.lease = Some(lease.clone());
    let Assigned::New(begun) = journal.assign(with_lease).unwrap() else {
        panic!("it is new");
    };
    let batch = Batch {
        bodies: vec![*begun],
        ..Batch::default()
    };
    journal.commit(&batch, 1).unwrap();
    begin(&mut journal, b, Hash::of(b"2")).unwrap();
    // Nothing has read the tables.
    assert!(journal.due().is_some());
    let rows = |path: &Path| {
        let db = rusqlite::Connection::open(path).unwrap();
        let count = "SELECT count(*) FROM receipts";
        db.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    // As a process that was killed has left it.
    drop(journal);
    assert_eq!(rows(&path), 0);
    let mut journal = Journal::open(&path, node(), 1000).unwrap();
    assert_eq!(journal.due(), None);
    assert_eq!((journal.head(&a).seq, journal.head(&b).seq), (1, 1));
    assert_eq!(journal.unsigned().unwrap().len(), 2);
    let again = journal.assign(draft(a, lease.body_hash(), 2)).unwrap();
    assert!(matches!(again, Assigned::Known { seq: 1, .. }));
    assert_eq!(begin(&mut journal, b, Hash::of(b"3")), Ok(2));
    drop(journal);
    assert_eq!(rows(&path), 2);

    // An older one of the two was put back.
    let wal = path.with_extension("wal");
    let kept = std::fs::read(&wal).unwrap();
    let mut journal = Journal::open(&path, node(), 1000).unwrap();
    begin(&mut journal, b, Hash::of(b"4")).unwrap();
    drop(journal);
    std::fs::write(&wal, kept).unwrap();
    let mut journal = Journal::open(&path, node(), 1000).unwrap();
    assert_eq!(
        journal.standing(&b, 3, &Hash::of(b"4")).unwrap(),
        Standing::Lost {
            journal: 2,
            coordinator: 3,
        }
    );
    drop(journal);
    // The database is gone, and another was begun.
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        Journal::open(&path, node(), 1000),
        Err(JournalError::Wal(_))
    ));
}

#[test]
fn the_coordinators_word_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&dir.path().join("j.db"), node(), 1000).unwrap();
    let c = coordinator(1);
    let standing = |journal: &mut Journal, seq, id: Hash| journal.standing(&c, seq, &id).unwrap();
    assert_eq!(standing(&mut journal, 0, Hash::ZERO), Standing::Agreed);
    let lost = Standing::Lost {
        journal: 0,
        coordinator: 1,
    };
    assert_eq!(standing(&mut journal, 1, Hash::of(b"?")), lost);
    for n in 0..3u8 {
        begin(&mut journal, c, Hash::of(&[n])).unwrap();
    }
    let ids: Vec<Hash> = (0..3u8)
        .map(|n| journal_id(&mut journal, &Hash::of(&[n])))
        .collect();
    assert_eq!(standing(&mut journal, 3, ids[2]), Standing::Agreed);
    assert_eq!(
        standing(&mut journal, 2, ids[1]),
        Standing::Behind { has: 2 }
    );
    assert_eq!(
        standing(&mut journal, 0, Hash::ZERO),
        Standing::Behind { has: 0 }
    );
    assert_eq!(
        standing(&mut journal, 2, ids[2]),
        Standing::Forked { seq: 2 }
    );
    assert_eq!(
        standing(&mut journal, 3, ids[1]),
        Standing::Forked { seq: 3 }
    );
    assert!(!standing(&mut journal, 4, ids[1]).is_sound());
}

#[test]
fn what_belongs_to_a_receipt_is_pruned_and_the_receipt_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&dir.path().join("j.db"), node(), 1000).unwrap();
    let c = coordinator(1);
    for n in 0..3u8 {
        begin(&mut journal, c, Hash::of(&[n])).unwrap();
    }
    let signatures = (1..=3).map(|seq| (c, seq, [5; 64])).collect();
    let acknowledged = |seq, at_ms| Settled {
        coordinator: c,
        seq,
        at_ms,
        answer: Answer::Acknowledged {
            leaf: 40 + seq,
            countersignature: [6; 64],
        },
    };
    let batch = Batch {
        signatures,
        settled: vec![acknowledged(1, 5000), acknowledged(2, 9000)],
        ..Batch::default()
    };
    journal.commit(&batch, 1).unwrap();
    assert_eq!(journal.prune(5999, 10).unwrap(), 0);
    assert_eq!(journal.prune(6000, 10).unwrap(), 1);
    assert_eq!(journal.counts(&c).unwrap(), [0, 1, 2, 0]);
    let (receipt, state) = journal.receipt_of(&Hash::of(&[0])).unwrap().unwrap();
    assert_eq!(
        (state, receipt.coordinator_signature),
        (State::Acknowledged, [6; 64])
    );
    // An open one is never pruned.
    journal.prune(u64::MAX / 2, 10).unwrap();
    let [open] = journal.unsettled(&c, 0, 10).unwrap().try_into().unwrap();
    assert_eq!(open.parts.unwrap().inline.len(), 1);
    // The coordinator has lost them: they come again, with what is left of them.
    assert_eq!(journal.rewind(&c, 0).unwrap(), 2);
    assert_eq!(journal.unsettled(&c, 0, 10).unwrap().len(), 3);
    assert_eq!(journal.unsettled(&c, 1, 1).unwrap()[0].seq(), 2);
}

#[test]
fn what_a_claim_needs_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&dir.path().join("j.db"), node(), 0).unwrap();
    let c = coordinator(1);
    let lease = lease(c).sign(&key("c1"), &mut OsRng);
    let mut with_lease = draft(c, lease.body_hash(), 1);
    with_lease.lease = Some(lease.clone());
    for draft in [
        with_lease,
        draft(c, Hash::of(b"2"), 1),
        draft(c, Hash::of(b"3"), 1),
    ] {
        let Assigned::New(begun) = journal.assign(draft).unwrap() else {
            panic!("it is new");
        };
        let batch = Batch {
            bodies: vec![*begun],
            ..Batch::default()
        };
        journal.commit(&batch, 1).unwrap();
    }
    let batch = Batch {
        signatures: (1..=3).map(|seq| (c, seq, [5; 64])).collect(),
        settled: [(1, 41), (2, 42)]
            .map(|(seq, leaf)| Settled {
                coordinator: c,
                seq,
                at_ms: 1,
                answer: Answer::Acknowledged {
                    leaf,
                    countersignature: [6; 64],
                },
            })
            .into(),
        ..Batch::default()
    };
    journal.commit(&batch, 1).unwrap();
    journal.prune(u64::MAX / 2, 10).unwrap();
    // The newest first, and none that nobody has countersigned.
    let all = journal.countersigned(None).unwrap();
    assert_eq!(all.iter().map(|one| one.leaf).collect::<Vec<_>>(), [42, 41]);
    assert_eq!(all[0].lease, None);
    assert_eq!(all[1].lease.as_ref(), Some(&lease));
    assert_eq!(all[1].receipt.coordinator_signature, [6; 64]);
    let older = journal.countersigned(Some(all[0].row)).unwrap();
    assert_eq!((older.len(), older[0].leaf), (1, 41));
    let one = journal.countersigned_of(&lease.body_hash()).unwrap();
    assert_eq!(one.map(|one| one.leaf), Some(41));
    assert!(journal.countersigned_of(&Hash::of(b"3")).unwrap().is_none());
    assert!(journal.countersigned_of(&Hash::of(b"4")).unwrap().is_none());
}

fn lease(coordinator: [u8; 32]) -> Assignment {
    Assignment {
        genesis: Hash::ZERO,
        coordinator,
        miner: node(),
        task: Hash::of(b"task"),
        attempt: 0,
        replica: 0,
        roster: 0,
        epoch: 1,
        local: false,
        issued_ms: 1,
        deadline_ms: 2,
        escrow: 0,
        terms: None,
    }
}

/// Fails at some points, as a process that is killed there.
struct Fail(Arc<Mutex<Option<(Point, u32)>>>);

impl Probe for Fail {
    fn at(&mut self, point: Point) -> Result<(), JournalError> {
        let mut next = self.0.lock().unwrap();
        match &mut *next {
            Some((at, 0)) if *at == point => Err(JournalError::Injected(point)),
            Some((at, left)) if *at == point => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// What the outside world has seen: the bytes that were signed and sent.
#[derive(Default)]
struct World {
    by_assignment: HashMap<Hash, Vec<u8>>,
    by_number: HashMap<([u8; 32], u64), Vec<u8>>,
}

impl World {
    fn sent(&mut self, receipt: &adit_protocol::receipt::Receipt) {
        let bytes = receipt.to_bytes()[..456].to_vec();
        let body = &receipt.body;
        let first = self
            .by_assignment
            .entry(body.assignment)
            .or_insert_with(|| bytes.clone());
        assert_eq!(*first, bytes, "two receipts for one assignment");
        let number = (body.coordinator, body.seq);
        let first = self
            .by_number
            .entry(number)
            .or_insert_with(|| bytes.clone());
        assert_eq!(*first, bytes, "two receipts with one number");
    }
}

/// A process: opens the journal, signs what was left, makes receipts for some assignments, sends
/// them, and is killed at some point.
fn live(
    path: &Path,
    world: &mut World,
    key: &Keypair,
    runs: &[(u8, u8)],
    group: usize,
    kill: Option<(Point, u32)>,
    variant: u64,
) -> Result<(), JournalError> {
    let probe = Fail(Arc::new(Mutex::new(kill)));
    let mut journal = Journal::with_probe(path, node(), 0, Box::new(probe))?;
    let mut send = |journal: &mut Journal, number: u8, variant: u64| -> Result<(), JournalError> {
        let c = coordinator(number);
        let mut settled = Vec::new();
        for ready in journal.unsettled(&c, 0, 100)? {
            world.sent(&ready.receipt);
            // Some answers are lost.
            if !(ready.seq() + variant).is_multiple_of(3) {
                settled.push(Settled {
                    coordinator: c,
                    seq: ready.seq(),
                    at_ms: 1,
                    answer: Answer::Acknowledged {
                        leaf: 1,
                        countersignature: [1; 64],
                    },
                });
            }
        }
        let batch = Batch {
            settled,
            ..Batch::default()
        };
        journal.commit(&batch, 1)
    };
    let sign = |journal: &mut Journal| -> Result<(), JournalError> {
        journal.reached(Point::BeforeSign)?;
        let mut batch = Batch::default();
        for (body, _) in journal.unsigned()? {
            let signature = body.sign(key, &mut OsRng).miner_signature;
            batch
                .signatures
                .push((body.coordinator, body.seq, signature));
        }
        journal.reached(Point::AfterSign)?;
        journal.commit(&batch, 1)
    };
    sign(&mut journal)?;
    for some in runs.chunks(group.max(1)) {
        let mut batch = Batch::default();
        for (number, assignment) in some {
            let c = coordinator(number % 2);
            let id = Hash::of(&[number % 2, *assignment]);
            if let Assigned::New(begun) = journal.assign(draft(c, id, variant))? {
                batch.bodies.push(*begun);
            }
        }
        journal.commit(&batch, 1)?;
        sign(&mut journal)?;
        for number in 0..2 {
            send(&mut journal, number, variant)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_kill_leads_to_two_receipts(
        lives in proptest::collection::vec(
            (
                proptest::collection::vec((0u8..2, 0u8..12), 1..12),
                1usize..5,
                proptest::option::of((0usize..Point::ALL.len(), 0u32..8)),
            ),
            1..6,
        ),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let key = miner_key();
        let mut world = World::default();
        for (variant, (runs, group, kill)) in (1u64..).zip(&lives) {
            let kill = kill.map(|(point, left)| (Point::ALL[point], left));
            let ended = live(&path, &mut world, &key, runs, *group, kill, variant);
            match ended {
                Ok(()) | Err(JournalError::Injected(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        // At last, without a kill: all that was ever begun is sent, and numbers have no gaps.
        live(&path, &mut world, &key, &[(0, 200), (1, 200)], 1, None, 0).unwrap();
        live(&path, &mut world, &key, &[(0, 201), (1, 201)], 1, None, 1).unwrap();
        let mut journal = Journal::open(&path, node(), 0).unwrap();
        for number in 0..2u8 {
            let c = coordinator(number);
            let head = journal.head(&c).seq;
            let [begun, ..] = journal.counts(&c).unwrap();
            prop_assert_eq!(begun, 0);
            for seq in 1..=head {
                prop_assert!(world.by_number.contains_key(&(c, seq)), "{} of {}", seq, head);
            }
        }
    }
}
