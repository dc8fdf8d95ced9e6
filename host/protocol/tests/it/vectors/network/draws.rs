//! Draws: the number, who is eligible, on whom it falls, and how many replicas there are.

use std::sync::Arc;

use adit_protocol::cbor::Document;
use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::Assignment;
use adit_protocol::network::draw::{DrawNumber, draw_weight, meets};
use adit_protocol::network::roster::Roster;
use adit_protocol::network::standing::{Drawn, InForce, Nobody, Standing};
use adit_protocol::task::{DeviceClass, Disclosure, Requirements, TaskSpec, Verification};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Map, Value, json};

use super::members::number;
use super::rosters::{candidate, roster};
use super::{key, sample_genesis};
use crate::fixtures::{coordinator, miner};
use crate::vectors::documents::samples::h;
use crate::vectors::kind::{Bad, Good, Kind, Refusal, bytes, hex, json_file, parse, text};

/// Another generator than that of [`crate::fixtures::rng`].
pub fn other_rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([43; 32])
}

/// A task spec of the sample network; the number makes it another one.
pub fn spec(number: u8, requirements: Requirements) -> TaskSpec {
    TaskSpec {
        genesis: sample_genesis().hash(),
        coordinator: key(&coordinator()),
        exec: h("exec"),
        salt: [number; 32],
        price: 1_000_000_000,
        attempt_fee: 0,
        deadline_ms: 60_000,
        requirements,
        verification: Verification {
            replicas: 3,
            quorum: 2,
            adaptive: true,
            tolerance: false,
        },
        disclosure: Disclosure::Public,
        client_tag: [0; 32],
        submitter: None,
    }
}

pub fn anything() -> Requirements {
    Requirements {
        device: DeviceClass::Any,
        device_memory_bytes: 0,
        environments: vec![],
    }
}

/// A draw: what it is made from.
#[derive(Clone)]
struct Draw {
    output: Hash,
    task: TaskSpec,
    attempt: u32,
    replica: u32,
    local: bool,
    roster: Roster,
    /// Who held the task before.
    held: Vec<[u8; 32]>,
    /// Open leases of other tasks.
    load: Vec<([u8; 32], u32)>,
    /// Results in a row of the one who is drawn that agreed with others.
    streak: u32,
}

fn draw() -> Draw {
    let mut roster = roster();
    roster.candidates = (1..=6)
        .map(|number| {
            let mut candidate = candidate(number);
            candidate.weight = 100_000_000 * u64::from(number);
            candidate.locality = number - 1;
            match number {
                2 => candidate.cpu = false,
                3 => candidate.gpu_memory_bytes = None,
                4 => candidate.environments.clear(),
                5 => candidate.gpu_memory_bytes = Some(8 << 30),
                _ => {}
            }
            candidate
        })
        .collect();
    roster.candidates.sort_by_key(|candidate| candidate.node);
    Draw {
        output: h("output"),
        task: spec(1, anything()),
        attempt: 0,
        replica: 0,
        local: false,
        roster,
        held: vec![],
        load: vec![],
        streak: 0,
    }
}

impl Draw {
    /// What [`Standing`] draws in this situation.
    fn drawn(&self) -> Drawn {
        let mut standing = Standing::new(&sample_genesis(), key(&coordinator()), false);
        let force = InForce {
            leaf: 7,
            output: self.output,
            roster: Arc::new(self.roster.clone()),
        };
        standing.restore(Some(force), [], []);
        let assignment = |miner, task, replica| Assignment {
            genesis: sample_genesis().hash(),
            coordinator: key(&coordinator()),
            miner,
            task,
            attempt: 0,
            replica,
            roster: 7,
            epoch: 1,
            local: false,
            issued_ms: 0,
            deadline_ms: 1,
            escrow: 0,
            terms: None,
        };
        for (at, miner) in (0..).zip(&self.held) {
            standing.restore_lease(assignment(*miner, self.task.hash(), at), 8, false);
        }
        for (miner, count) in &self.load {
            for at in 0..*count {
                standing.restore_lease(assignment(*miner, h("other task"), at), 9, true);
            }
        }
        let wanted = &self.task.requirements;
        standing.draw(
            &self.task.hash(),
            wanted,
            self.attempt,
            self.replica,
            self.local,
        )
    }

    fn number(&self) -> DrawNumber {
        DrawNumber::new(&self.output, &self.task.hash(), self.attempt, self.replica)
    }

    /// On whom it falls, and how many replicas there are.
    fn outcome(&self) -> Result<([u8; 32], u8), Nobody> {
        match self.drawn() {
            Drawn::Miner {
                number, candidate, ..
            } => {
                assert_eq!(number, self.number());
                let replicas = number.replicas(&self.task.verification, self.streak);
                Ok((candidate.node, replicas))
            }
            Drawn::Nobody(nobody) => Err(nobody),
            Drawn::NoRoster => panic!("there is a roster"),
        }
    }

    fn value(&self) -> Value {
        let free = |node: &[u8; 32], slots: u32| {
            let load = self.load.iter().find(|(miner, _)| miner == node);
            load.map_or(0, |(_, count)| *count) < slots
        };
        let eligible: Vec<Value> = (self.roster.candidates.iter())
            .filter(|c| meets(c, &self.task.requirements))
            .filter(|c| !self.held.contains(&c.node) && free(&c.node, c.slots))
            .map(|c| (hex(c.node), draw_weight(c, self.local)))
            .filter(|(_, weight)| *weight > 0)
            .map(|(node, weight)| json!({ "node": node, "weight": weight }))
            .collect();
        json!({ "task": self.task.hash(), "number": self.number(), "eligible": eligible })
    }

    fn file(&self, picked: [u8; 32], replicas: u8) -> Vec<u8> {
        let load: Map<String, Value> = (self.load.iter())
            .map(|(node, count)| (hex(node), json!(count)))
            .collect();
        json_file(json!({
            "vrf_output": self.output,
            "task_spec": hex(self.task.to_cbor()),
            "attempt": self.attempt,
            "replica": self.replica,
            "local": self.local,
            "roster": hex(self.roster.to_cbor()),
            "held": self.held.iter().map(hex).collect::<Vec<_>>(),
            "load": load,
            "streak": self.streak,
            "picked": hex(picked),
            "replicas": replicas,
        }))
    }

    fn parse(file: &[u8]) -> (Draw, [u8; 32], u8) {
        let file = parse(file);
        let small = |key: &str| number(&file[key]) as u32;
        let node = |text: &str| crate::vectors::kind::array(&json!({ "k": text }), "k");
        let held = file["held"].as_array().expect("a list").iter();
        let load = file["load"].as_object().expect("a map").iter();
        let draw = Draw {
            output: text(&file, "vrf_output").parse().expect("a hash"),
            task: TaskSpec::from_cbor(&bytes(&file, "task_spec")).expect("a task spec"),
            attempt: small("attempt"),
            replica: small("replica"),
            local: file["local"].as_bool().expect("a boolean"),
            roster: Roster::from_cbor(&bytes(&file, "roster")).expect("a roster"),
            held: held.map(|v| node(v.as_str().expect("a key"))).collect(),
            load: load
                .map(|(key, count)| (node(key), number(count) as u32))
                .collect(),
            streak: small("streak"),
        };
        let picked = crate::vectors::kind::array(&file, "picked");
        (draw, picked, small("replicas") as u8)
    }
}

pub fn draws() -> Kind {
    let with = |change: &dyn Fn(&mut Draw)| {
        let mut draw = draw();
        change(&mut draw);
        draw
    };
    let device = |device, device_memory_bytes| {
        with(&|d| {
            d.task.requirements.device = device;
            d.task.requirements.device_memory_bytes = device_memory_bytes;
        })
    };
    let environments = |list: &[&str]| {
        with(&|d| d.task.requirements.environments = list.iter().map(|name| h(name)).collect())
    };
    let mut good = vec![
        ("plain".to_owned(), draw()),
        ("local".into(), with(&|d| d.local = true)),
        ("cpu".into(), device(DeviceClass::Cpu, 0)),
        ("gpu".into(), device(DeviceClass::Gpu, 0)),
        ("gpu-with-16-gib".into(), device(DeviceClass::Gpu, 16 << 30)),
        ("any-with-16-gib".into(), device(DeviceClass::Any, 16 << 30)),
        (
            "one-environment".into(),
            environments(&["environment", "x"]),
        ),
        (
            "held-before".into(),
            with(&|d| {
                d.held = vec![key(&miner(6)), key(&miner(5))];
                d.attempt = 2;
            }),
        ),
        (
            "no-free-slot".into(),
            with(&|d| d.load = vec![(key(&miner(6)), 2), (key(&miner(5)), 1)]),
        ),
        (
            "weight-of-nothing".into(),
            with(&|d| {
                for candidate in &mut d.roster.candidates[1..] {
                    candidate.weight = 0;
                }
            }),
        ),
        (
            "weights-of-one".into(),
            with(&|d| {
                d.local = true;
                for candidate in &mut d.roster.candidates {
                    candidate.weight = 1;
                }
            }),
        ),
        (
            "weights-of-64-bits".into(),
            with(&|d| {
                for candidate in &mut d.roster.candidates {
                    candidate.weight = u64::MAX;
                }
            }),
        ),
        (
            "largest-counters".into(),
            with(&|d| {
                d.attempt = u32::MAX;
                d.replica = u32::MAX;
            }),
        ),
        (
            "not-yet-trusted".into(),
            with(&|d| {
                d.streak = 9;
            }),
        ),
        (
            "not-adaptive".into(),
            with(&|d| {
                d.streak = 1000;
                d.task.verification.adaptive = false;
            }),
        ),
    ];
    for replica in 1..6 {
        good.push((format!("replica-{replica}"), with(&|d| d.replica = replica)));
    }
    // Of trusted miners, some results are checked all the same.
    for task in 0..14 {
        let mut draw = draw();
        draw.task.salt = [task; 32];
        draw.streak = 10;
        good.push((format!("trusted-{task}"), draw));
    }
    let single = good.iter().filter(|(name, draw)| {
        name.starts_with("trusted") && draw.outcome().is_ok_and(|(_, replicas)| replicas == 1)
    });
    assert!((1..14).contains(&single.count()), "both must be shown");
    let good = good.into_iter().map(|(name, draw)| {
        let (picked, replicas) = draw.outcome().expect("somebody is eligible");
        Good::new(&name, draw.file(picked, replicas), draw.value())
    });
    Kind {
        name: "draws",
        extension: "json",
        about: "Draws: the number is BLAKE3 of VRF output, task id, attempt and replica (u32 LE); its first half modulo the sum of the eligible candidates' weights falls on one of them, and its second half says whether an adaptive task of a trusted miner gets all replicas. `held` had the task before, `load` is open leases, `streak` that of the one who is drawn.",
        good: good.collect(),
        bad: bad_draws(),
        check: check_draw,
        errors: &[("draw", &["picked", "replicas", "nobody"])],
    }
}

fn bad_draws() -> Vec<Bad> {
    let plain = draw();
    let (picked, replicas) = plain.outcome().expect("somebody is eligible");
    let refused = |name, draw: &Draw, picked, replicas, why| {
        let file = draw.file(picked, replicas);
        let refusal = check_draw(&file, &Value::Null).expect_err(name);
        Bad::new(name, file, refusal, why)
    };
    let another = |draw: &Draw| {
        let mut nodes = draw.roster.candidates.iter().map(|c| c.node);
        nodes.find(|node| *node != picked).expect("six of them")
    };
    let mut next = plain.clone();
    next.replica = (1..)
        .find(|replica| {
            let draw = Draw {
                replica: *replica,
                ..plain.clone()
            };
            draw.outcome().is_ok_and(|(node, _)| node != picked)
        })
        .expect("six candidates");
    let mut busy = plain.clone();
    busy.load = vec![(picked, 2)];
    let mut held = plain.clone();
    held.held = vec![picked];
    let mut weightless = plain.clone();
    for candidate in &mut weightless.roster.candidates {
        candidate.weight = 0;
    }
    let mut each = plain.clone();
    each.task.requirements.device = DeviceClass::Cpu;
    each.held = vec![key(&miner(1))];
    each.load = vec![(key(&miner(3)), 2), (key(&miner(4)), 3)];
    for candidate in &mut each.roster.candidates {
        if [key(&miner(5)), key(&miner(6))].contains(&candidate.node) {
            candidate.weight = 0;
        }
    }
    let mut empty = plain.clone();
    empty.roster.candidates.clear();
    let mut memory = plain.clone();
    memory.task.requirements.device = DeviceClass::Gpu;
    memory.task.requirements.device_memory_bytes = (24 << 30) + 1;
    vec![
        refused(
            "another-miner",
            &plain,
            another(&plain),
            replicas,
            "somebody else was given the task",
        ),
        refused(
            "number-of-another-replica",
            &next,
            picked,
            replicas,
            "the one who was drawn for the first replica was given another one too",
        ),
        refused(
            "without-a-free-slot",
            &busy,
            picked,
            replicas,
            "it was given to a miner whose slots are all taken",
        ),
        refused(
            "again-to-the-same",
            &held,
            picked,
            replicas,
            "it was given to a miner that held it before",
        ),
        refused(
            "one-replica-of-an-untrusted-miner",
            &plain,
            picked,
            1,
            "a miner without a record was not checked",
        ),
        refused(
            "nobody-has-a-weight",
            &weightless,
            picked,
            replicas,
            "all candidates have weight 0",
        ),
        refused(
            "nobody-is-free-for-many-reasons",
            &each,
            picked,
            replicas,
            "each candidate is ruled out, by one reason or another",
        ),
        refused(
            "nobody-has-the-memory",
            &memory,
            picked,
            replicas,
            "the task needs a byte more than any GPU has",
        ),
        refused(
            "nobody-is-there",
            &empty,
            picked,
            replicas,
            "the roster is empty",
        ),
    ]
}

fn check_draw(file: &[u8], _: &Value) -> Result<Value, Refusal> {
    let (draw, picked, replicas) = Draw::parse(file);
    let refuse = |error, detail| Err(Refusal { error, detail });
    match draw.outcome() {
        Err(nobody) => refuse("nobody", json!(nobody)),
        Ok((node, _)) if node != picked => refuse("picked", json!({ "expected": hex(node) })),
        Ok((_, right)) if right != replicas => refuse("replicas", json!({ "expected": right })),
        Ok(_) => Ok(draw.value()),
    }
}
