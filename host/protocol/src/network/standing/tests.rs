use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::Amount;
use crate::keys::Keypair;
use crate::network::assignment::{Acceptance, Terms};
use crate::network::entry::{Cancel, CancelledBy, Decision, Entry, Expiry, Judged, Verdict};
use crate::network::membership::{Membership, MinerMember};
use crate::network::roster::{RosterEntry, weights};
use crate::receipt::{Receipt, ReceiptBody};
use crate::signed::Signable as _;
use crate::task::DeviceClass;

/// What a test breaks, and the field that is then found.
type Change<T> = (fn(&mut T), &'static str);

const TOKEN: u128 = 1_000_000_000_000;

/// A coordinator that writes a log as it should, and breaks one rule where a test says so.
struct Writer {
    genesis: Genesis,
    coordinator: Keypair,
    miners: Vec<Keypair>,
    membership: Arc<Membership>,
    own: Standing,
    log: Vec<(Entry, Facts)>,
    rng: ChaCha20Rng,
}

fn requirements() -> Requirements {
    Requirements {
        device: DeviceClass::Any,
        device_memory_bytes: 0,
        environments: Vec::new(),
    }
}

impl Writer {
    fn new(miners: u8) -> Writer {
        Writer::with_ledger(miners, None)
    }

    fn with_ledger(miners: u8, ledger: Option<Hash>) -> Writer {
        let coordinator = Keypair::from_seed([200; 32]);
        let genesis = Genesis {
            name: "test".into(),
            created_ms: 1_000,
            authority: Keypair::from_seed([201; 32]).public().to_bytes(),
            epoch_ms: 1_000_000,
            miner_stake_min: 20_000 * TOKEN,
            coordinator_stake_min: 0,
            saturation: 50,
            development: true,
            ledger,
        };
        let mut miners: Vec<_> = (1..=miners).map(|n| Keypair::from_seed([n; 32])).collect();
        miners.sort_by_key(|key| key.public().to_bytes());
        let members = miners.iter().map(|key| MinerMember {
            node: key.public().to_bytes(),
            account: [9; 32],
            stake: 20_000 * TOKEN,
            jailed: None,
            introduction: String::new(),
        });
        let membership = Membership {
            genesis: genesis.hash(),
            version: 1,
            engines: vec![Hash::of(b"engine")],
            coordinators: Vec::new(),
            miners: members.collect(),
            witnesses: Vec::new(),
        };
        let own = Standing::new(&genesis, coordinator.public().to_bytes(), false);
        Writer {
            genesis,
            coordinator,
            miners,
            membership: Arc::new(membership),
            own,
            log: Vec::new(),
            rng: ChaCha20Rng::from_seed([5; 32]),
        }
    }

    fn push(&mut self, entry: Entry, facts: Facts) -> u64 {
        let leaf = self.log.len() as u64;
        self.own.apply(leaf, &entry, &facts);
        self.log.push((entry, facts));
        leaf
    }

    fn roster(&mut self, change: impl FnOnce(&mut Roster)) -> u64 {
        let candidate = |member: &MinerMember| Candidate {
            node: member.node,
            stake: member.stake,
            slots: 2,
            cpu: true,
            gpu_memory_bytes: None,
            environments: Vec::new(),
            quality_ppm: self.own.record(&member.node).quality_ppm(),
            locality: 0,
            weight: 0,
        };
        let mut roster = Roster {
            epoch: 0,
            beacon: self.genesis.beacon(0),
            membership: self.membership.hash(),
            region: String::new(),
            candidates: self.membership.miners.iter().map(candidate).collect(),
        };
        let all = weights(&self.genesis, &roster.candidates);
        for (candidate, weight) in roster.candidates.iter_mut().zip(all) {
            candidate.weight = weight;
        }
        change(&mut roster);
        let leaf = self.log.len() as u64;
        let genesis = self.genesis.hash();
        let (entry, _) = RosterEntry::make(
            &genesis,
            &roster,
            leaf,
            5_000,
            &self.coordinator,
            &mut self.rng,
        );
        let facts = Facts {
            roster: Some(Arc::new(roster)),
            membership: Some(Arc::clone(&self.membership)),
            ..Facts::default()
        };
        self.push(Entry::Roster(entry), facts)
    }

    fn assign(
        &mut self,
        task: Hash,
        replica: u32,
        change: impl FnOnce(&mut Assignment),
    ) -> Assignment {
        let standing = self.own.task(&task);
        let (attempt, _) = standing
            .and_then(|t| t.replicas.get(&replica).copied())
            .unwrap_or_default();
        let drawn = self
            .own
            .draw(&task, &requirements(), attempt, replica, false);
        let force = self.own.in_force().unwrap();
        let mut assignment = Assignment {
            genesis: self.genesis.hash(),
            coordinator: self.coordinator.public().to_bytes(),
            miner: match drawn {
                Drawn::Miner { candidate, .. } => candidate.node,
                other => panic!("{other:?}"),
            },
            task,
            attempt,
            replica,
            roster: force.leaf,
            epoch: 0,
            local: false,
            issued_ms: 6_000,
            deadline_ms: 9_000,
            escrow: 0,
            terms: None,
        };
        change(&mut assignment);
        let signed = assignment.sign(&self.coordinator, &mut self.rng);
        let facts = Facts {
            requirements: Some(requirements()),
            terms: self.genesis.ledger.map(|_| TERMS),
            ..Facts::default()
        };
        self.push(Entry::Assignment(signed), facts);
        assignment
    }

    fn receipt(&mut self, assignment: &Assignment, change: impl FnOnce(&mut ReceiptBody)) -> Hash {
        let (seq, prev) = self.own.newest(&assignment.miner);
        let mut body = ReceiptBody {
            network: self.genesis.network_id(),
            status: Status::Ok,
            gpu: false,
            nn: false,
            epoch: 0,
            seq: seq + 1,
            start_ms: 0,
            duration_us: 0,
            fuel: 1,
            nn_units: 0,
            peak_memory: 0,
            miner: assignment.miner,
            coordinator: assignment.coordinator,
            task: assignment.task,
            assignment: assignment.hash(),
            component: Hash::ZERO,
            input: Hash::ZERO,
            output: Hash::ZERO,
            transcript: Hash::ZERO,
            environment: Hash::ZERO,
            prev,
        };
        change(&mut body);
        let miner = self.miner(&assignment.miner);
        let receipt: Receipt = body.sign(&miner, &mut self.rng);
        self.push(Entry::Receipt(Box::new(receipt)), Facts::default());
        body.id()
    }

    fn verdict(&mut self, task: Hash, receipts: &[(Hash, Decision)]) {
        let judged = |(receipt, decision): &(Hash, Decision)| Judged {
            receipt: *receipt,
            decision: *decision,
        };
        let verdict = Verdict {
            task,
            receipts: receipts.iter().map(judged).collect(),
            validator: None,
        };
        self.push(Entry::Verdict(verdict), Facts::default());
    }

    fn miner(&self, node: &[u8; 32]) -> Keypair {
        let own = |key: &&Keypair| key.public().to_bytes() == *node;
        self.miners.iter().find(own).unwrap().clone()
    }

    /// What an auditor finds, by leaf. Every entry must survive its encoding.
    fn audit(&self) -> Vec<(u64, Fault)> {
        let node = self.coordinator.public().to_bytes();
        let mut auditor = Standing::new(&self.genesis, node, true);
        let mut found = Vec::new();
        for (leaf, (entry, facts)) in (0..).zip(&self.log) {
            let again = Entry::decode(&entry.encode()).unwrap();
            assert_eq!(&again, entry);
            let faults = auditor.apply(leaf, &again, facts);
            found.extend(faults.into_iter().map(|fault| (leaf, fault)));
        }
        found
    }

    fn only_fault(&self) -> String {
        let found = self.audit();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].1.to_string()
    }
}

fn task(n: u64) -> Hash {
    Hash::of(&n.to_le_bytes())
}

fn honest() -> Writer {
    let mut writer = Writer::new(3);
    writer.roster(|_| {});
    writer
}

#[test]
fn an_honest_log_has_no_fault() {
    let mut w = honest();
    for n in 0..40 {
        let first = w.assign(task(n), 0, |_| {});
        let second = w.assign(task(n), 1, |_| {});
        assert_ne!(first.miner, second.miner);
        let a = w.receipt(&first, |_| {});
        let b = w.receipt(&second, |_| {});
        w.verdict(task(n), &[(a, Decision::Accepted), (b, Decision::Accepted)]);
        w.own.forget(&task(n));
        assert_eq!(w.own.task(&task(n)), None);
        if n % 10 == 9 {
            w.roster(|_| {});
        }
    }
    assert_eq!(w.audit(), []);
    let streaks: u32 = w.own.records().map(|(_, record)| record.streak).sum();
    assert_eq!(streaks, 80);
}

#[test]
fn an_expired_lease_counts_only_if_it_was_accepted() {
    for accepted in [false, true] {
        let mut w = honest();
        let a = w.assign(task(1), 0, |_| {});
        let miner = w.miner(&a.miner);
        let acceptance = Acceptance {
            assignment: a.hash(),
            miner: a.miner,
            at_ms: 6_100,
        };
        let expiry = Expiry {
            assignment: a.hash(),
            at_ms: 9_000,
            acceptance: accepted.then(|| acceptance.sign(&miner, &mut w.rng)),
        };
        w.push(Entry::Expiry(expiry), Facts::default());
        assert_eq!(w.own.record(&a.miner).bad, u32::from(accepted));
        assert_eq!(w.own.load(&a.miner), 0);
        // The next attempt goes to another one.
        let next = w.assign(task(1), 0, |_| {});
        assert_eq!(next.attempt, 1);
        assert_ne!(next.miner, a.miner);
        assert_eq!(w.audit(), []);
    }
}

#[test]
fn nobody_gets_more_than_its_slots() {
    let mut w = honest();
    for n in 0..6 {
        w.assign(task(n), 0, |_| {});
    }
    assert!(
        w.miners
            .iter()
            .all(|key| w.own.load(&key.public().to_bytes()) == 2)
    );
    let drawn = w.own.draw(&task(6), &requirements(), 0, 0, false);
    let nobody = Nobody {
        candidates: 3,
        busy: 3,
        ..Nobody::default()
    };
    assert_eq!(drawn, Drawn::Nobody(nobody));
    assert_eq!(w.audit(), []);
}

#[test]
fn a_task_for_another_miner_than_the_drawn_one_is_found() {
    let mut w = honest();
    let others: Vec<_> = w.miners.iter().map(|key| key.public().to_bytes()).collect();
    w.assign(task(1), 0, |a| {
        a.miner = *others.iter().find(|other| **other != a.miner).unwrap();
    });
    assert!(w.only_fault().starts_with("the draw falls on 0x"));
}

#[test]
fn a_second_lease_of_one_attempt_is_found() {
    let mut w = honest();
    w.assign(task(1), 0, |_| {});
    let again = w.assign(task(1), 0, |_| {});
    assert_eq!(again.attempt, 1);
    assert!(w.only_fault().contains("still open"));

    let mut w = honest();
    w.assign(task(1), 0, |a| a.attempt = 4);
    // Another number, and so perhaps another miner too.
    assert!(
        w.audit()
            .iter()
            .any(|(_, f)| f.to_string().contains("0 comes next"))
    );
}

#[test]
fn a_task_that_is_over_gets_no_more_leases() {
    let mut w = honest();
    let a = w.assign(task(1), 0, |_| {});
    let receipt = w.receipt(&a, |_| {});
    w.verdict(task(1), &[(receipt, Decision::Accepted)]);
    let node = w.coordinator.public().to_bytes();
    let mut auditor = Standing::new(&w.genesis, node, true);
    for (leaf, (entry, facts)) in (0..).zip(&w.log) {
        assert_eq!(auditor.apply(leaf, entry, facts), []);
    }
    auditor.forget(&task(1));
    w.own.forget(&task(1));
    w.assign(task(1), 0, |_| {});
    let (entry, facts) = w.log.last().unwrap();
    let faults = auditor.apply(w.log.len() as u64 - 1, entry, facts);
    assert!(
        faults
            .iter()
            .any(|f| f.to_string().contains("decided before")),
        "{faults:?}"
    );
}

#[test]
fn rosters_must_be_what_the_log_and_the_members_say() {
    let faults: [Change<Roster>; 6] = [
        (|r| r.candidates[0].quality_ppm = 500_000, "quality_ppm"),
        (|r| r.candidates[0].weight += 1, "weight"),
        (|r| r.candidates[0].stake *= 2, "weight"),
        (|r| r.beacon = Hash::of(b"another"), "beacon"),
        (|r| r.epoch = 3, "beacon"),
        (|r| r.membership = Hash::ZERO, "membership"),
    ];
    for (change, field) in faults {
        let mut w = Writer::new(3);
        w.roster(change);
        assert!(
            w.only_fault().starts_with(&format!("its {field} ")),
            "{}",
            w.only_fault()
        );
    }
    let mut w = Writer::new(3);
    Arc::make_mut(&mut w.membership).miners[1].jailed = Some("cheated".into());
    w.roster(|_| {});
    assert!(w.only_fault().starts_with("its candidates "));

    // A proof for another leaf.
    let mut w = honest();
    let moved = w.log[0].clone();
    w.log.push(moved);
    assert_eq!(w.audit(), [(1, Fault::Vrf)]);
}

#[test]
fn receipts_and_verdicts_are_counted_once() {
    let mut w = honest();
    let a = w.assign(task(1), 0, |_| {});
    let receipt = w.receipt(&a, |_| {});
    let first = w.log.last().unwrap().clone();
    w.log.push(first);
    assert_eq!(w.audit(), [(3, Fault::Twice(receipt))]);
    w.log.pop();
    // Another body for the same assignment: it comes without an open lease.
    let second = w.receipt(&a, |body| body.fuel = 2);
    w.verdict(
        task(1),
        &[(receipt, Decision::Accepted), (second, Decision::Accepted)],
    );
    assert!(w.only_fault().contains("without an open lease"));
    w.verdict(task(1), &[(receipt, Decision::Accepted)]);
    assert!(w.audit().contains(&(5, Fault::NotUnjudged(receipt))));
}

#[test]
fn receipts_must_fit_their_leases_and_their_series() {
    let faults: [Change<ReceiptBody>; 5] = [
        (|b| b.network = [1; 4], "network"),
        (|b| b.coordinator = [1; 32], "coordinator"),
        (|b| b.epoch = 7, "assignment"),
        (|b| b.task = Hash::ZERO, "assignment"),
        (|b| b.prev = Hash::of(b"another"), "prev"),
    ];
    for (change, field) in faults {
        let mut w = honest();
        let a = w.assign(task(1), 0, |_| {});
        w.receipt(&a, change);
        assert!(
            w.only_fault().starts_with(&format!("its {field} ")),
            "{}",
            w.only_fault()
        );
    }
    let mut w = honest();
    let a = w.assign(task(1), 0, |_| {});
    w.receipt(&a, |b| b.seq = 0);
    assert!(w.only_fault().starts_with("its seq "));
}

#[test]
fn a_low_number_makes_no_fault_of_the_receipt_after_it() {
    let mut w = Writer::new(1);
    w.roster(|_| {});
    let mut ids = Vec::new();
    for n in 1..=3 {
        let a = w.assign(task(n), 0, |_| {});
        ids.push(w.receipt(&a, |body| {
            // The miner counts on from its first one, whatever the coordinator took in between.
            match n {
                2 => body.seq = 1,
                _ => body.seq = n.div_ceil(2),
            }
        }));
    }
    let node = w.miners[0].public().to_bytes();
    assert_eq!(w.own.newest(&node), (2, ids[2]));
    assert!(w.only_fault().starts_with("its seq "));
}

#[test]
fn what_ends_leases_must_name_open_ones_of_its_task() {
    let mut w = honest();
    let a = w.assign(task(1), 0, |_| {});
    let cancel = |task, assignments| {
        Entry::Cancel(Cancel {
            task,
            by: CancelledBy::Client,
            at_ms: 7_000,
            assignments,
        })
    };
    w.push(cancel(task(2), vec![a.hash()]), Facts::default());
    assert!(w.only_fault().contains("another task"));
    w.log.pop();
    w.push(cancel(task(1), vec![a.hash()]), Facts::default());
    let expiry = Expiry {
        assignment: a.hash(),
        at_ms: 8_999,
        acceptance: None,
    };
    w.log.insert(2, (Entry::Expiry(expiry), Facts::default()));
    let found = w.audit();
    assert!(
        found
            .iter()
            .any(|(_, f)| f.to_string().contains("had not ended"))
    );
    assert!(found.contains(&(3, Fault::NotOpen(a.hash()))), "{found:?}");
}

#[test]
fn assignments_are_of_this_log_and_signed() {
    let faults: [Change<Assignment>; 3] = [
        (|a| a.genesis = Hash::ZERO, "genesis"),
        (|a| a.roster = 9, "roster"),
        (|a| a.epoch = 9, "roster"),
    ];
    for (change, field) in faults {
        let mut w = honest();
        w.assign(task(1), 0, change);
        assert!(w.only_fault().starts_with(&format!("its {field} ")));
    }
    let mut w = honest();
    let stranger = Keypair::from_seed([77; 32]);
    let a = w.assign(task(1), 0, |_| {});
    w.log.pop();
    let facts = Facts {
        requirements: Some(requirements()),
        ..Facts::default()
    };
    let forged = a.sign(&stranger, &mut w.rng);
    w.log.push((Entry::Assignment(forged), facts));
    assert!(
        w.only_fault()
            .contains("signature of the assignment does not fit")
    );
}

const TERMS: Terms = Terms {
    price: Amount::tokens(2),
    attempt_fee: Amount::tokens(1),
    replicas: 1,
};

#[test]
fn pay_is_said_where_there_is_a_ledger_and_adds_up() {
    let paid = || {
        let mut w = Writer::with_ledger(3, Some(Hash::of(b"ledger")));
        w.roster(|_| {});
        for n in 0..3 {
            w.assign(task(n), 0, |a| {
                a.terms = Some(TERMS);
                a.escrow = u128::from(n + 1) * TERMS.price.units();
            });
        }
        w
    };
    assert!(paid().audit().is_empty());
    type Pay = fn(&mut Assignment);
    let faults: [(Pay, &str); 4] = [
        (
            |_| {},
            "its terms is not what it has to be: they are missing",
        ),
        (
            |a| {
                a.escrow = 4 * TERMS.price.units();
                a.terms = Some(Terms {
                    attempt_fee: Amount::ZERO,
                    ..TERMS
                });
            },
            "its terms is not what it has to be: they are not those of the task",
        ),
        (
            |a| {
                a.terms = Some(TERMS);
                a.escrow = 4 * TERMS.price.units() + 1;
            },
            "its escrow is not",
        ),
        (
            |a| {
                a.terms = Some(TERMS);
                a.escrow = 3 * TERMS.price.units();
            },
            "its escrow is not",
        ),
    ];
    for (change, expected) in faults {
        let mut w = paid();
        w.assign(task(9), 0, change);
        let found = w.only_fault();
        assert!(found.starts_with(expected), "{found}");
    }
    let mut w = honest();
    w.assign(task(1), 0, |a| a.terms = Some(TERMS));
    assert!(w.only_fault().contains("the network has no ledger"));
}

#[test]
fn a_restored_standing_draws_the_same() {
    let mut w = honest();
    for n in 0..3 {
        w.assign(task(n), 0, |_| {});
    }
    let node = w.coordinator.public().to_bytes();
    let mut again = Standing::new(&w.genesis, node, false);
    let newest = w.miners.iter().map(|key| {
        let node = key.public().to_bytes();
        (node, w.own.newest(&node))
    });
    again.restore(
        w.own.in_force().cloned(),
        w.own.records().map(|(node, record)| (*node, *record)),
        newest,
    );
    for lease in w.own.leases().map(|(_, lease)| lease.clone()) {
        again.restore_lease(lease.assignment, lease.leaf, true);
    }
    for n in 0..20 {
        let draw = |s: &Standing| s.draw(&task(n), &requirements(), 1, 0, false);
        assert_eq!(draw(&again), draw(&w.own));
    }
}
