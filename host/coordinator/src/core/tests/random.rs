//! Random schedules of everything that can happen, restarts between any two steps among it, and what
//! must hold of each.

use std::collections::{BTreeMap, BTreeSet};

use adit_protocol::Code;
use adit_protocol::hash::Hash;
use adit_protocol::network::entry::{Decision, Entry};
use adit_protocol::status::Status;
use proptest::prelude::*;
use proptest::test_runner::RngAlgorithm;
use proptest::test_runner::TestRng as PropRng;

use crate::core::HandedIn;
use crate::core::testing::*;
use crate::core::{CoreError, Options, Output};

const MINERS: usize = 5;
const SLOTS: u32 = 2;

#[derive(Clone, Debug)]
enum Step {
    Submit {
        client: u8,
        replicas: u8,
        quorum: u8,
        adaptive: bool,
        validator: bool,
        gpu: bool,
    },
    Hello(usize),
    Poll(usize, u32),
    Accept(usize),
    Finish {
        miner: usize,
        which: usize,
        outcome: Outcome,
    },
    /// Hands in what it has handed in before.
    Again(usize, usize),
    /// Signs a second body for an assignment that it has reported.
    Equivocate(usize, usize),
    /// Forgets what it was given, as after a crash before the journal was written.
    Lose(usize),
    RoundTrip(usize, u64),
    Advance(u64),
    Cancel(usize),
    Validate(usize, bool),
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Right,
    Wrong,
    Fault,
    Deadline,
    Mismatch,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(Outcome::Right),
        1 => Just(Outcome::Wrong),
        1 => Just(Outcome::Fault),
        1 => Just(Outcome::Deadline),
        1 => Just(Outcome::Mismatch),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let miner = 0..MINERS;
    prop_oneof![
        6 => (0..3u8, 1..4u8, 1..4u8, any::<bool>(), prop::bool::weighted(0.2),
              prop::bool::weighted(0.1)).prop_map(
            |(client, replicas, quorum, adaptive, validator, gpu)| Step::Submit {
                client,
                replicas,
                quorum: quorum.min(replicas),
                adaptive,
                validator,
                gpu,
            }
        ),
        2 => miner.clone().prop_map(Step::Hello),
        8 => (miner.clone(), prop_oneof![5 => Just(2u32), 1 => Just(0)])
            .prop_map(|(miner, want)| Step::Poll(miner, want)),
        2 => miner.clone().prop_map(Step::Accept),
        12 => (miner.clone(), 0..4usize, outcome()).prop_map(|(miner, which, outcome)| {
            Step::Finish { miner, which, outcome }
        }),
        1 => (miner.clone(), 0..8usize).prop_map(|(miner, which)| Step::Again(miner, which)),
        1 => (miner.clone(), 0..8usize).prop_map(|(miner, which)| Step::Equivocate(miner, which)),
        1 => miner.clone().prop_map(Step::Lose),
        1 => (miner, 0..300_000u64).prop_map(|(miner, us)| Step::RoundTrip(miner, us)),
        6 => prop_oneof![0..2000u64, Just(9000), Just(31_000)].prop_map(Step::Advance),
        1 => (0..8usize).prop_map(Step::Cancel),
        2 => (0..4usize, prop::bool::weighted(0.7)).prop_map(|(which, ok)| Step::Validate(which, ok)),
        2 => Just(Step::Restart),
    ]
}

/// What a schedule has done so far.
struct Run {
    world: World,
    tasks: Vec<Hash>,
    /// Bodies that were refused for good are not in the log.
    acknowledged: BTreeMap<Hash, u64>,
}

impl Run {
    fn new() -> Run {
        let options = Options {
            queue_ms: 120_000,
            ..audited()
        };
        Run {
            world: World::new(MINERS, options),
            tasks: Vec::new(),
            acknowledged: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        let world = &mut self.world;
        match *step {
            Step::Submit {
                client,
                replicas,
                quorum,
                adaptive,
                validator,
                gpu,
            } => {
                let mut order = world.order(replicated(replicas, quorum, adaptive));
                order.client = format!("client {client}");
                order.validator = validator.then(|| Hash::of(b"validator"));
                if gpu {
                    order.spec.requirements.device = adit_protocol::task::DeviceClass::Gpu;
                }
                self.tasks.push(world.submit(order).unwrap());
            }
            Step::Hello(miner) => world.hello(miner, offer(SLOTS)).unwrap(),
            Step::Poll(miner, want) => match world.poll(miner, want) {
                Ok(_) => {}
                Err(CoreError::Refused(r)) if r.code == Code::HelloFirst => {
                    world.hello(miner, offer(SLOTS)).unwrap();
                }
                Err(error) => panic!("{error}"),
            },
            Step::Accept(miner) => {
                if world.poll(miner, 1).is_ok() {
                    world.accept(miner);
                }
            }
            Step::Finish {
                miner,
                which,
                outcome,
            } => self.finish(miner, which, outcome),
            Step::Again(miner, which) => {
                let journal = &world.miners[miner].journal;
                if let Some(receipt) = journal.get(which).cloned() {
                    let known = world.miners[miner].logged.get(&receipt.id()).copied();
                    let results = world.hand_in(miner, vec![World::checked(&receipt)]);
                    if let Some(leaf) = known {
                        assert!(matches!(&results[0], HandedIn::Appended(a) if a.leaf == leaf));
                    }
                    self.acknowledge(miner, &[receipt.id()], &results);
                }
            }
            Step::Equivocate(miner, which) => {
                let state = &world.miners[miner];
                if let Some(mut receipt) = state.journal.get(which).cloned()
                    && state.logged.contains_key(&receipt.id())
                {
                    receipt.body.output = Hash::of(b"second body");
                    let results = world.hand_in(miner, vec![World::checked(&receipt)]);
                    assert!(
                        matches!(&results[0], HandedIn::Refused(r, _) if r.code == Code::Equivocation)
                    );
                }
            }
            Step::Lose(miner) => world.miners[miner].given.clear(),
            Step::RoundTrip(miner, us) => world.core.round_trip(&node(miner), us),
            Step::Advance(ms) => world.advance(ms),
            Step::Cancel(which) => {
                if let Some(task) = self.tasks.get(which)
                    && let Some(view) = world.view(task)
                {
                    let task = *task;
                    world
                        .call(|core, now, io| core.cancel(now, &task, &view.client, io))
                        .unwrap();
                }
            }
            Step::Validate(which, ok) => {
                let asked: Vec<_> = world
                    .out
                    .iter()
                    .filter_map(|output| match output {
                        Output::Validate(v) => Some(v.clone()),
                        _ => None,
                    })
                    .collect();
                if let Some(v) = asked.iter().rev().nth(which) {
                    let result = if ok { Ok(()) } else { Err("no".to_owned()) };
                    world
                        .call(|core, now, io| core.validated(now, &v.task, &v.output, result, io))
                        .unwrap();
                }
            }
            Step::Restart => {
                let before = world.core.fingerprint();
                let escrow = world.core.escrow();
                world.restart();
                assert_eq!(world.core.fingerprint(), before);
                assert_eq!(world.core.escrow(), escrow);
                world.tick();
            }
        }
        for miner in 0..MINERS {
            assert!(self.world.core.standing().load(&node(miner)) <= SLOTS);
        }
    }

    fn finish(&mut self, miner: usize, which: usize, outcome: Outcome) {
        let world = &mut self.world;
        let given = &world.miners[miner].given;
        let Some(assignment) = given.keys().nth(which).copied() else {
            return;
        };
        let (status, output) = match outcome {
            Outcome::Right | Outcome::Mismatch => (Status::Ok, "right".to_owned()),
            Outcome::Wrong => (Status::Ok, format!("wrong {miner}")),
            Outcome::Fault => (Status::HostFault, String::new()),
            Outcome::Deadline => (Status::Deadline, String::new()),
        };
        let receipt = world.journal(miner, &assignment, status, &output);
        let state = &world.miners[miner];
        let done = state
            .journal
            .iter()
            .rposition(|r| state.logged.contains_key(&r.id()));
        let rest: Vec<_> = state.journal[done.map_or(0, |at| at + 1)..].to_vec();
        let items: Vec<_> = rest
            .iter()
            .map(|r| {
                let mut item = World::checked(r);
                if r.id() == receipt.id() && matches!(outcome, Outcome::Mismatch) {
                    item.mismatch = Some("it does not fit".to_owned());
                }
                item
            })
            .collect();
        let ids: Vec<_> = rest
            .iter()
            .map(adit_protocol::receipt::Receipt::id)
            .collect();
        let results = world.hand_in(miner, items);
        self.acknowledge(miner, &ids, &results);
    }

    fn acknowledge(&mut self, _miner: usize, ids: &[Hash], results: &[HandedIn]) {
        for (id, result) in ids.iter().zip(results) {
            if let HandedIn::Appended(appended) = result {
                let known = self.acknowledged.insert(*id, appended.leaf);
                assert!(known.is_none_or(|leaf| leaf == appended.leaf));
            }
        }
    }

    /// Lets everything come to its end, and looks at it.
    fn finish_all(mut self) {
        for _ in 0..40 {
            self.world.advance(20_000);
            let asked: Vec<_> = self
                .world
                .out
                .iter()
                .filter_map(|output| match output {
                    Output::Validate(v) => Some((v.task, v.output)),
                    _ => None,
                })
                .collect();
            for (task, output) in asked {
                self.world
                    .call(|core, now, io| core.validated(now, &task, &output, Ok(()), io))
                    .unwrap();
            }
        }
        let world = &self.world;
        let offering = world.core.miners.values().filter(|m| m.offer.is_some());
        assert_eq!(world.core.active(), offering.count());
        assert_eq!((world.core.live(), world.core.open()), (0, 0));
        assert_eq!(world.core.waiting(), 0);
        for task in &self.tasks {
            assert!(world.ended(task).state.is_final());
            let (_, end) = world.store.task(task).unwrap();
            assert!(end.is_some());
        }
        self.look_at_log();
        let standing = world.audit();
        assert_eq!(standing.leases().count(), 0);
        for miner in 0..MINERS {
            let core = world.core.standing();
            assert_eq!(standing.record(&node(miner)), core.record(&node(miner)));
            assert_eq!(standing.newest(&node(miner)), core.newest(&node(miner)));
        }
    }

    fn look_at_log(&self) {
        let entries = self.world.entries();
        let mut receipts = BTreeMap::new();
        let mut assignments = BTreeMap::new();
        let mut judged = BTreeMap::new();
        let mut paid = BTreeSet::new();
        for (leaf, entry) in (0u64..).zip(&entries) {
            match entry {
                Entry::Receipt(receipt) => {
                    assert!(receipts.insert(receipt.id(), (leaf, receipt)).is_none());
                }
                Entry::Assignment(signed) => {
                    let assignment = signed.unverified().unwrap();
                    let known = assignments.insert(signed.body_hash(), assignment);
                    assert!(known.is_none());
                }
                Entry::Verdict(verdict) => {
                    for one in &verdict.receipts {
                        assert!(judged.insert(one.receipt, one.decision).is_none());
                        if one.decision == Decision::Accepted {
                            let (_, receipt) = &receipts[&one.receipt];
                            let lease = receipt.body.assignment;
                            assert!(paid.insert(lease), "a lease is paid twice");
                            assert_eq!(assignments[&lease].miner, receipt.body.miner);
                        }
                    }
                }
                _ => {}
            }
        }
        // Every acknowledged receipt is there, at its leaf, and nothing else is; each is judged.
        let logged: BTreeMap<_, _> = receipts
            .iter()
            .map(|(id, (leaf, _))| (*id, *leaf))
            .collect();
        assert_eq!(logged, self.acknowledged);
        assert_eq!(judged.len(), receipts.len());
        // The escrow is the sum of what was committed.
        let escrows: Vec<_> = entries
            .iter()
            .filter_map(|e| match e {
                Entry::Assignment(signed) => Some(signed.unverified().unwrap().escrow),
                _ => None,
            })
            .collect();
        let expected: Vec<u128> = (1..=escrows.len() as u128).map(|n| n * 5).collect();
        assert_eq!(escrows, expected);
        // No task pays more results than it ordered.
        let mut per_task: BTreeMap<Hash, u32> = BTreeMap::new();
        for lease in &paid {
            *per_task.entry(assignments[lease].task).or_default() += 1;
        }
        for (task, count) in per_task {
            let (row, _) = self.world.store.task(&task).unwrap();
            assert!(count <= row.target.unwrap());
        }
    }
}

fn run(cases: u32, steps: std::ops::Range<usize>, seed: u8) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = PropRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, rng);
    runner
        .run(&prop::collection::vec(step(), steps), |steps| {
            let mut run = Run::new();
            for miner in 0..MINERS - 1 {
                run.world.hello(miner, offer(SLOTS)).unwrap();
            }
            for step in &steps {
                run.step(step);
            }
            run.finish_all();
            Ok(())
        })
        .unwrap();
}

#[test]
fn many_short_schedules() {
    run(120, 1..40, 1);
}

#[test]
fn some_long_schedules() {
    run(24, 200..300, 2);
}

/// A batch in which the store fails is answered by nobody; what was kept before it goes on as if it
/// had not been.
#[test]
fn a_failing_store_loses_only_what_was_not_acknowledged() {
    for after in 0..40 {
        let mut run = Run::new();
        for miner in 0..MINERS {
            run.world.hello(miner, offer(SLOTS)).unwrap();
        }
        for client in 0..4 {
            run.step(&Step::Submit {
                client,
                replicas: 2,
                quorum: 2,
                adaptive: false,
                validator: false,
                gpu: false,
            });
        }
        run.world.poll_all();
        let kept = run.world.store.clone();
        let kept_miners = run.world.miners.clone();
        run.world.store.fails_after = Some(after);
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for miner in 0..MINERS {
                run.finish(miner, 0, Outcome::Right);
            }
        }));
        // What was told before the failure is forgotten with it here, as one batch is.
        if failed.is_ok() {
            continue;
        }
        run.world.store = kept;
        run.world.miners = kept_miners;
        run.acknowledged.clear();
        run.world.out.clear();
        run.world.restart();
        run.world.tick();
        for miner in 0..MINERS {
            run.world.hello(miner, offer(SLOTS)).unwrap();
            run.finish(miner, 0, Outcome::Right);
        }
        run.finish_all();
    }
}
