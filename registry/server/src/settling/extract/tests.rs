use adit_protocol::Amount;
use adit_protocol::keys::Keypair;
use adit_protocol::network::entry::Expiry;
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::signed::Signed;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};

use super::*;

const GENESIS: Hash = Hash::from_bytes([7; 32]);

fn coordinator() -> Keypair {
    Keypair::from_seed([1; 32])
}

fn miner() -> Keypair {
    Keypair::from_seed([2; 32])
}

/// An assignment of its number; the epoch is that of its draw.
fn assignment(number: u64, epoch: u64) -> Assignment {
    let terms = Terms {
        price: Amount::tokens(3),
        attempt_fee: Amount::tokens(1),
        replicas: 1,
    };
    Assignment {
        coordinator: coordinator().public().to_bytes(),
        miner: miner().public().to_bytes(),
        ..made::assignment(GENESIS, Hash::of(&number.to_le_bytes()), epoch, terms)
    }
}

fn id(assignment: &Assignment) -> Hash {
    Signed::unsigned(assignment).body_hash()
}

fn body(assignment: &Assignment, seq: u64) -> ReceiptBody {
    ReceiptBody {
        // Also where the assignment is another coordinator's.
        coordinator: coordinator().public().to_bytes(),
        network: network_id(&GENESIS),
        ..made::body(assignment, seq, 5)
    }
}

/// Signed by both.
fn signed(body: &ReceiptBody) -> Receipt {
    let mut receipt = body.sign(&miner(), &mut OsRng);
    receipt.countersign(&coordinator(), &mut OsRng);
    receipt
}

fn receipt(assignment: &Assignment, seq: u64) -> Receipt {
    signed(&body(assignment, seq))
}

fn drawn(assignment: &Assignment) -> Entry {
    Entry::Assignment(Signed::unsigned(assignment))
}

fn came(receipt: &Receipt) -> Entry {
    Entry::Receipt(Box::new(receipt.clone()))
}

fn decided(receipt: &Receipt, decision: Decision) -> Entry {
    made::verdict(receipt, decision)
}

fn expired(assignment: &Assignment) -> Entry {
    Entry::Expiry(Expiry {
        assignment: id(assignment),
        at_ms: 3,
        acceptance: None,
    })
}

/// A log that is read as it grows, epoch by epoch.
struct Reading {
    extractor: Extractor,
    leaf: u64,
}

impl Reading {
    fn new() -> Reading {
        Reading {
            extractor: Extractor::new(GENESIS, coordinator().public().to_bytes()),
            leaf: 0,
        }
    }

    fn epoch(&mut self, epoch: u64, entries: &[Entry]) -> Vec<Judged> {
        self.extractor.begin(epoch);
        for entry in entries {
            self.extractor.entry(self.leaf, &entry.encode());
            self.leaf += 1;
        }
        self.extractor.take(epoch)
    }
}

/// Leaves of receipts, and which of them are accepted.
fn leaves(judged: &[Judged]) -> Vec<(u64, bool)> {
    judged.iter().map(|one| (one.leaf, one.accepted)).collect()
}

#[test]
fn a_receipt_is_paid_by_the_epoch_of_its_verdict() {
    let one = assignment(1, 4);
    let receipt = receipt(&one, 0);
    let mut log = Reading::new();
    assert_eq!(log.epoch(4, &[drawn(&one), came(&receipt)]), []);
    let judged = log.epoch(5, &[decided(&receipt, Decision::Accepted)]);
    assert_eq!(
        judged,
        [Judged {
            leaf: 1,
            receipt: Box::new(receipt),
            decision: Some(Decision::Accepted),
            accepted: true,
            terms: one.terms,
        }]
    );
    assert_eq!(log.epoch(6, &[]), []);
}

#[test]
fn judged_twice_it_is_paid_once() {
    let one = assignment(1, 4);
    let receipt = receipt(&one, 0);
    let accepts = decided(&receipt, Decision::Accepted);
    let mut log = Reading::new();
    let entries = [
        drawn(&one),
        came(&receipt),
        accepts.clone(),
        accepts.clone(),
    ];
    assert_eq!(leaves(&log.epoch(4, &entries)), [(1, true)]);
    // In the epoch after, with all of it once more: it is not paid again.
    let again = log.epoch(5, &entries);
    assert_eq!(leaves(&again), [(5, false)]);
    assert_eq!(again[0].terms, None);
}

#[test]
fn of_two_receipts_of_an_assignment_one_is_paid() {
    let one = assignment(1, 4);
    let (first, second) = (receipt(&one, 0), receipt(&one, 1));
    let entries = [
        drawn(&one),
        came(&first),
        came(&second),
        decided(&second, Decision::Accepted),
        decided(&first, Decision::Accepted),
    ];
    let mut log = Reading::new();
    // The first that was accepted.
    assert_eq!(leaves(&log.epoch(4, &entries)), [(1, false), (2, true)]);
    // Without verdicts, the first that came, when its time is over.
    let mut log = Reading::new();
    assert_eq!(log.epoch(4, &entries[..3]), []);
    assert_eq!(leaves(&log.epoch(5, &[])), [(1, true), (2, false)]);
    // One in each epoch: also if its assignment is written a second time.
    let mut log = Reading::new();
    let (now, later) = ([0, 1, 3, 4], [0, 2, 3]);
    let pick = |at: &[usize]| -> Vec<Entry> { at.iter().map(|at| entries[*at].clone()).collect() };
    assert_eq!(leaves(&log.epoch(4, &pick(&now))), [(1, true)]);
    assert_eq!(leaves(&log.epoch(5, &pick(&later))), [(5, false)]);
}

/// One changed field each, in what both have signed.
#[test]
fn a_receipt_must_fit_its_assignment() {
    type Change = (&'static str, fn(&mut ReceiptBody));
    let changes: [Change; 6] = [
        ("task", |body| body.task = Hash::ZERO),
        ("epoch", |body| body.epoch -= 1),
        ("assignment", |body| body.assignment = Hash::ZERO),
        ("network", |body| body.network = [9; 4]),
        ("local", |body| body.network = [0; 4]),
        ("none", |_| {}),
    ];
    for (what, change) in changes {
        let one = assignment(1, 4);
        let mut body = body(&one, 0);
        change(&mut body);
        let receipt = signed(&body);
        let accepts = decided(&receipt, Decision::Accepted);
        let entries = [drawn(&one), came(&receipt), accepts];
        let judged = Reading::new().epoch(4, &entries);
        assert_eq!(leaves(&judged), [(1, what == "none")], "{what}");
    }
    // Another miner, and another coordinator, with their own signatures.
    let other = Keypair::from_seed([3; 32]);
    let one = assignment(1, 4);
    let mut by_miner = body(&one, 0);
    by_miner.miner = other.public().to_bytes();
    let mut by_miner = by_miner.sign(&other, &mut OsRng);
    by_miner.countersign(&coordinator(), &mut OsRng);
    let mut by_coordinator = body(&one, 0);
    by_coordinator.coordinator = other.public().to_bytes();
    let mut by_coordinator = by_coordinator.sign(&miner(), &mut OsRng);
    by_coordinator.countersign(&other, &mut OsRng);
    for receipt in [by_miner, by_coordinator] {
        assert!(receipt.verify().is_ok());
        let accepts = decided(&receipt, Decision::Accepted);
        let judged = Reading::new().epoch(4, &[drawn(&one), came(&receipt), accepts]);
        assert_eq!(leaves(&judged), [(1, false)]);
    }
}

#[test]
fn a_signature_that_does_not_hold_pays_nothing_and_spoils_nothing() {
    let all: Vec<Assignment> = (0..20).map(|number| assignment(number, 4)).collect();
    let mut entries: Vec<Entry> = all.iter().map(drawn).collect();
    let receipts: Vec<Receipt> = (all.iter().enumerate())
        .map(|(at, one)| {
            let mut receipt = receipt(one, 0);
            match at {
                3 => receipt.miner_signature[5] ^= 1,
                7 => receipt.miner_signature = [0; 64],
                // Signed by another, for the miner.
                11 => {
                    let other = Keypair::from_seed([3; 32]);
                    receipt = body(one, 0).sign(&other, &mut OsRng);
                    receipt.countersign(&coordinator(), &mut OsRng);
                }
                13 => receipt.coordinator_signature = [0; 64],
                _ => {}
            }
            receipt
        })
        .collect();
    entries.extend(receipts.iter().map(came));
    let accepts = receipts.iter().map(|one| decided(one, Decision::Accepted));
    entries.extend(accepts);
    let judged = Reading::new().epoch(4, &entries);
    let expected: Vec<_> = (0..20)
        .map(|at| (20 + at, ![3, 7, 11, 13].contains(&at)))
        .collect();
    assert_eq!(leaves(&judged), expected);
}

#[test]
fn an_assignment_of_another_network_or_coordinator_is_none() {
    let foreign = [
        Assignment {
            genesis: Hash::ZERO,
            ..assignment(1, 4)
        },
        Assignment {
            coordinator: miner().public().to_bytes(),
            ..assignment(1, 4)
        },
        // Nothing is paid on a network without a ledger.
        Assignment {
            terms: None,
            ..assignment(1, 4)
        },
    ];
    for one in foreign {
        let receipt = receipt(&one, 0);
        let accepts = decided(&receipt, Decision::Accepted);
        let judged = Reading::new().epoch(4, &[drawn(&one), came(&receipt), accepts]);
        assert_eq!(leaves(&judged), [(1, false)]);
        assert_eq!(judged[0].terms, None);
    }
    // One that comes after the verdict is none either.
    let one = assignment(1, 4);
    let receipt = receipt(&one, 0);
    let accepts = decided(&receipt, Decision::Accepted);
    let judged = Reading::new().epoch(4, &[came(&receipt), accepts, drawn(&one)]);
    assert_eq!(leaves(&judged), [(0, false)]);
}

#[test]
fn what_is_rejected_is_not_paid() {
    let cancelled = |decision, status| {
        let one = assignment(1, 4);
        let mut body = body(&one, 0);
        body.status = status;
        let receipt = signed(&body);
        let entries = [drawn(&one), came(&receipt), decided(&receipt, decision)];
        let judged = Reading::new().epoch(4, &entries);
        assert_eq!((judged.len(), judged[0].terms), (1, one.terms));
        judged[0].accepted
    };
    for (decision, pays) in [
        (Decision::Accepted, true),
        (Decision::NotAttestable, true),
        (Decision::Outvoted, false),
        (Decision::NoQuorum, false),
        (Decision::RefusedByValidator, false),
        (Decision::Late, false),
        (Decision::Mismatch, false),
        (Decision::TaskCancelled, false),
    ] {
        assert_eq!(cancelled(decision, Status::Ok), pays, "{decision:?}");
    }
    assert!(cancelled(Decision::TaskCancelled, Status::Cancelled));
    assert!(!cancelled(Decision::TaskCancelled, Status::Trap));
}

#[test]
fn an_expired_lease_pays_nobody() {
    let one = assignment(1, 4);
    let receipt = receipt(&one, 0);
    let accepts = decided(&receipt, Decision::Accepted);
    let mut entries = vec![drawn(&one), expired(&one), came(&receipt), accepts];
    assert_eq!(leaves(&Reading::new().epoch(4, &entries)), [(2, false)]);
    // It has ended, whatever is written of it afterwards.
    entries.insert(2, drawn(&one));
    assert_eq!(leaves(&Reading::new().epoch(4, &entries)), [(3, false)]);
    // Of another, it says nothing.
    entries[1] = expired(&assignment(2, 4));
    assert_eq!(leaves(&Reading::new().epoch(4, &entries)), [(3, true)]);
}

#[test]
fn a_receipt_without_a_verdict_counts_when_its_time_is_over_and_only_then() {
    let one = assignment(1, 4);
    let receipt = receipt(&one, 0);
    let mut log = Reading::new();
    assert_eq!(log.epoch(4, &[drawn(&one), came(&receipt)]), []);
    assert_eq!(leaves(&log.epoch(5, &[])), [(1, true)]);
    // A verdict that comes too late changes nothing.
    let rejects = decided(&receipt, Decision::Outvoted);
    assert_eq!(log.epoch(6, std::slice::from_ref(&rejects)), []);
    // One that comes in time does.
    let mut log = Reading::new();
    log.epoch(4, &[drawn(&one), came(&receipt)]);
    assert_eq!(leaves(&log.epoch(5, &[rejects])), [(1, false)]);
    // Drawn in the epoch before, it comes in this one, and that is all its time.
    let mut log = Reading::new();
    assert_eq!(
        leaves(&log.epoch(5, &[drawn(&one), came(&receipt)])),
        [(1, true)]
    );
    // A log that was not closed in time pays no more: the settlement would not.
    let mut log = Reading::new();
    log.epoch(4, &[drawn(&one), came(&receipt)]);
    assert_eq!(log.epoch(6, &[]), []);
}

#[test]
fn what_cannot_be_read_pays_nobody_and_stops_nothing() {
    let one = assignment(1, 4);
    let receipt = receipt(&one, 0);
    let mut extractor = Reading::new().extractor;
    extractor.begin(4);
    let good = [
        drawn(&one).encode(),
        came(&receipt).encode(),
        decided(&receipt, Decision::Accepted).encode(),
    ];
    let mut leaf = 0;
    for entry in &good {
        for cut in [0, 1, 2, entry.len() - 1] {
            extractor.entry(leaf, &entry[..cut]);
            leaf += 1;
        }
        let longer = [entry.as_slice(), &[0]].concat();
        extractor.entry(leaf, &longer);
        extractor.entry(leaf + 1, &[200; 40]);
        extractor.entry(leaf + 2, entry);
        leaf += 3;
    }
    assert_eq!(leaves(&extractor.take(4)), [(13, true)]);
}

/// Numbers that only overflow would make small, in a log of a coordinator that means harm.
#[test]
fn epochs_far_away_do_no_harm() {
    for epoch in [0, u64::MAX - 1, u64::MAX] {
        let one = assignment(1, epoch);
        let receipt = receipt(&one, 0);
        let mut log = Reading::new();
        let entries = [drawn(&one), came(&receipt)];
        // Whoever settles pays none of them; see the settlement's own rule.
        let judged = log.epoch(4, &entries);
        assert_eq!(judged.len(), usize::from(epoch == 0));
        assert_eq!(log.epoch(5, &[]), []);
    }
}

/// A log of all kinds of entries, some of them twice, out of order, and of other epochs.
fn random_log(rng: &mut ChaCha20Rng, epochs: u64) -> Vec<Vec<Entry>> {
    let mut one_of = |count: u64| rng.next_u64() % count;
    let assignments: Vec<Assignment> = (0..6 * epochs)
        .map(|number| assignment(number, number / 6))
        .collect();
    // Two of each, which only a miner that cheats would sign.
    let receipts: Vec<Receipt> = (assignments.iter())
        .flat_map(|one| [receipt(one, 0), receipt(one, 1)])
        .collect();
    let mut log = Vec::new();
    for epoch in 0..epochs {
        let mut entries = Vec::new();
        for _ in 0..40 {
            // Of this epoch or a little before or after it.
            let near = (epoch + one_of(4)).saturating_sub(2).min(epochs - 1);
            let at = usize::try_from(near * 6 + one_of(6)).unwrap();
            let receipt = &receipts[2 * at + usize::try_from(one_of(2)).unwrap()];
            entries.push(match one_of(10) {
                0..=3 => drawn(&assignments[at]),
                4..=6 => came(receipt),
                7 => decided(receipt, Decision::Accepted),
                8 => decided(receipt, Decision::Outvoted),
                _ => expired(&assignments[at]),
            });
        }
        log.push(entries);
    }
    log
}

/// Who has followed a log from epoch to epoch, who has left some out, and who begins now with all of
/// it, come to the same.
#[test]
fn what_was_forgotten_does_not_matter() {
    let (mut paid, mut kinds) = (0, [0; 2]);
    for seed in 0..24 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let epochs = 5;
        let log = random_log(&mut rng, epochs);
        let last = epochs - 1;
        let (newest, before) = log.split_last().unwrap();
        let finish = |mut log: Reading| log.epoch(last, newest);

        let mut followed = Reading::new();
        let mut left_out = Reading::new();
        for (epoch, entries) in (0..).zip(before) {
            followed.epoch(epoch, entries);
            if rng.next_u64() % 2 == 0 {
                left_out.epoch(epoch, entries);
            } else {
                for entry in entries {
                    left_out.extractor.entry(left_out.leaf, &entry.encode());
                    left_out.leaf += 1;
                }
            }
        }
        let mut at_once = Reading::new();
        let mut passed = Reading::new();
        for entry in before.iter().flatten() {
            at_once.extractor.entry(at_once.leaf, &entry.encode());
            passed.extractor.pass(passed.leaf, &entry.encode(), last);
            at_once.leaf += 1;
            passed.leaf += 1;
            // What is in memory is at most what was drawn early.
            let judged = &passed.extractor.judged;
            assert!(judged.iter().all(|one| one.receipt.body.epoch >= last));
        }
        let expected = finish(followed);
        assert_eq!(finish(left_out), expected, "seed {seed}");
        assert_eq!(finish(at_once), expected, "seed {seed}");
        assert_eq!(finish(passed), expected, "seed {seed}");
        paid += expected.iter().filter(|one| one.accepted).count();
        for one in &expected {
            kinds[usize::from(one.accepted)] += 1;
        }
        // No assignment twice.
        let mut once: Vec<_> = expected.iter().filter(|one| one.accepted).collect();
        once.sort_by_key(|one| one.receipt.body.assignment);
        let all = once.len();
        once.dedup_by_key(|one| one.receipt.body.assignment);
        assert_eq!(once.len(), all, "seed {seed}");
    }
    assert!(paid > 50 && kinds[0] > 50, "{kinds:?}");
}
