//! Rosters, their entries with the verifiable random output, and the weights of candidates.

use adit_protocol::cbor::Document;
use adit_protocol::hash::Hash;
use adit_protocol::keys::{Keypair, PublicKey};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::network::roster::{Candidate, Roster, RosterEntry, weights as weigh};
use serde_json::{Value, json};

use super::members::{membership, number};
use super::{TOKEN, key, sample_genesis};
use crate::fixtures::{coordinator, miner, rng};
use crate::vectors::documents::samples::h;
use crate::vectors::documents::{REASONS, invalid, kind, mistyped, value};
use crate::vectors::kind::{Bad, Good, Kind, Refusal, hex, json_file, parse, text};
use crate::vectors::signatures::{KEY_ERRORS, NEGATIVE, SIGNATURE_ERRORS};

/// A candidate with a CPU and a GPU.
pub fn candidate(number: u8) -> Candidate {
    let mut environments = vec![h("environment"), h("another environment")];
    environments.sort();
    Candidate {
        node: key(&miner(number)),
        stake: 20_000 * TOKEN,
        slots: 2,
        cpu: true,
        gpu_memory_bytes: Some(24 << 30),
        environments,
        quality_ppm: 1_000_000,
        locality: 1,
        weight: 500_000_000,
    }
}

pub fn roster() -> Roster {
    let mut candidates = vec![candidate(1), candidate(2)];
    candidates[1].gpu_memory_bytes = None;
    candidates.sort_by_key(|candidate| candidate.node);
    Roster {
        epoch: 1,
        beacon: sample_genesis().beacon(1),
        membership: membership().hash(),
        region: "eu-central".into(),
        candidates,
    }
}

fn empty() -> Roster {
    Roster {
        epoch: 0,
        region: String::new(),
        candidates: vec![],
        ..roster()
    }
}

pub fn rosters() -> Kind {
    let r = roster();
    let good = vec![
        ("plain", roster()),
        ("nobody", empty()),
        ("largest-numbers", {
            let mut large = roster();
            large.epoch = u64::MAX;
            let candidate = &mut large.candidates[0];
            candidate.stake = u128::MAX;
            candidate.slots = u32::MAX;
            candidate.gpu_memory_bytes = Some(u64::MAX);
            candidate.environments = (0..64).map(|n: u8| Hash::of(&[n])).collect();
            candidate.environments.sort();
            candidate.locality = u8::MAX;
            candidate.weight = u64::MAX;
            large
        }),
    ];
    let broken = |name, change: fn(&mut Roster), field, why| {
        let mut document = roster();
        change(&mut document);
        invalid(name, &document, field, why)
    };
    let bad = vec![
        broken(
            "region-65-bytes",
            |d| d.region = "r".repeat(65),
            "region",
            "the region is one byte too long",
        ),
        broken(
            "candidate-twice",
            |d| d.candidates[1].node = d.candidates[0].node,
            "candidates",
            "one miner is there twice, and would be drawn twice as often",
        ),
        broken(
            "candidates-descending",
            |d| d.candidates.reverse(),
            "candidates",
            "another order would give another draw",
        ),
        broken(
            "environments-65",
            |d| {
                let list = &mut d.candidates[0].environments;
                *list = (0..65).map(|n: u8| Hash::of(&[n])).collect();
                list.sort();
            },
            "candidates.environments",
            "65 environments are one too many",
        ),
        broken(
            "environments-descending",
            |d| d.candidates[0].environments.reverse(),
            "candidates.environments",
            "the environments are in descending order",
        ),
        broken(
            "quality-above-one",
            |d| d.candidates[1].quality_ppm = 1_000_001,
            "candidates.quality_ppm",
            "more than all of a miner's work was good",
        ),
        mistyped(
            "locality-of-9-bits",
            &r,
            &[4, 0, 7],
            &[0x19, 1, 0],
            "the class of a round trip has 8 bits",
        ),
        mistyped(
            "cpu-as-a-number",
            &r,
            &[4, 0, 3],
            &[1],
            "whether there is a CPU is a boolean",
        ),
    ];
    kind(
        "rosters",
        "Rosters: the candidates of draws, as a public blob. Whether the weights are right is another kind.",
        good,
        bad,
    )
}

fn entry(keypair: &Keypair, roster: &Roster, leaf: u64) -> RosterEntry {
    let genesis = sample_genesis().hash();
    RosterEntry::make(&genesis, roster, leaf, 5_000, keypair, &mut rng()).0
}

fn given(leaf: u64, beacon: Hash) -> Value {
    json!({
        "genesis": sample_genesis().hash(),
        "beacon": beacon,
        "leaf": leaf,
        "coordinator": hex(key(&coordinator())),
    })
}

pub fn entries() -> Kind {
    let first = entry(&coordinator(), &roster(), 0);
    let late = entry(&coordinator(), &empty(), u64::MAX);
    let again = RosterEntry::make(
        &sample_genesis().hash(),
        &roster(),
        0,
        6_000,
        &coordinator(),
        &mut super::draws::other_rng(),
    );
    let good = vec![
        ("plain", first.clone(), 0, roster().beacon),
        ("last-leaf", late, u64::MAX, empty().beacon),
        // Another proof of the same output.
        ("proved-again", again.0, 0, roster().beacon),
    ];
    let altered = |name, change: fn(&mut RosterEntry), why| {
        let mut entry = first.clone();
        change(&mut entry);
        let error = adit_protocol::keys::BadSignature;
        Bad::new(name, entry.to_cbor(), error, why).given(given(0, roster().beacon))
    };
    let other = |name, given: Value, why| {
        let error = check_entry(&first.to_cbor(), &given).expect_err(name);
        Bad::new(name, first.to_cbor(), error, why).given(given)
    };
    let with = |key: &str, value: Value| {
        let mut given = given(0, roster().beacon);
        given[key] = value;
        given
    };
    let bad = vec![
        altered(
            "flipped-bit-of-the-point",
            |d| d.vrf_point[2] ^= 1,
            "a bit of the point is flipped",
        ),
        altered(
            "point-of-zeros",
            |d| d.vrf_point = [0; 32],
            "the point is the identity, which is the output of no key",
        ),
        altered(
            "point-not-a-point",
            |d| d.vrf_point = NEGATIVE,
            "the point is odd, which Ristretto does not allow as the form of one",
        ),
        altered(
            "flipped-bit-of-the-challenge",
            |d| d.vrf_proof[0] ^= 1,
            "a bit of the proof's first half is flipped",
        ),
        altered(
            "flipped-bit-of-the-response",
            |d| d.vrf_proof[40] ^= 1,
            "a bit of the proof's second half is flipped",
        ),
        altered(
            "response-not-reduced",
            |d| {
                let response = d.vrf_proof[32..].try_into().expect("half of it");
                d.vrf_proof[32..].copy_from_slice(&not_reduced(response));
            },
            "the second half is written as itself plus the order of the group",
        ),
        altered(
            "of-another-roster",
            |d| d.root = h("another roster"),
            "the proof was made for another roster",
        ),
        other(
            "of-another-leaf",
            with("leaf", json!(1)),
            "the proof was made for another place in the log, where the coordinator could choose",
        ),
        other(
            "of-another-beacon",
            with("beacon", json!(h("beacon"))),
            "the proof was made for another epoch",
        ),
        other(
            "of-another-network",
            with("genesis", json!(h("genesis"))),
            "the proof was made on another network",
        ),
        other(
            "of-another-coordinator",
            with("coordinator", json!(hex(key(&miner(1))))),
            "another key made the proof",
        ),
        other(
            "coordinator-of-zeros",
            with("coordinator", json!(hex([0; 32]))),
            "the coordinator's key is the identity",
        ),
        other(
            "coordinator-not-a-point",
            with("coordinator", json!(hex(NEGATIVE))),
            "the coordinator's key is odd, which Ristretto does not allow as the form of a point",
        ),
        mistyped(
            "proof-of-63-bytes",
            &first,
            &[4],
            &[&[0x58, 63][..], &[3; 63]].concat(),
            "a byte of the proof is missing",
        )
        .given(given(0, roster().beacon)),
    ];
    let documents = good.iter().map(|(name, entry, ..)| (*name, entry.clone()));
    let mut kind = kind(
        "roster-entries",
        "Entries of rosters: the hash of one, and the coordinator's verifiable random output (schnorrkel's VRF under the context `adit-roster-vrf-v1`, over genesis, beacon, leaf index u64 LE and root), from which draws are made.",
        documents.collect(),
        bad,
    );
    for (vector, (.., leaf, beacon)) in kind.good.iter_mut().zip(&good) {
        vector.given = given(*leaf, *beacon);
        vector.value = check_entry(&vector.bytes, &vector.given).expect("a good entry");
    }
    for bad in &mut kind.bad {
        if bad.given == Value::Null {
            bad.given = given(0, roster().beacon);
        }
    }
    kind.check = check_entry;
    kind.errors = &[
        ("DecodeError", REASONS),
        ("PublicKeyError", KEY_ERRORS),
        ("BadSignature", SIGNATURE_ERRORS),
    ];
    kind
}

/// A scalar plus the order of the group: the same number in another form.
fn not_reduced(scalar: [u8; 32]) -> [u8; 32] {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0u16;
    let mut sum = [0; 32];
    for (at, to) in sum.iter_mut().enumerate() {
        carry += u16::from(scalar[at]) + u16::from(ORDER[at]);
        *to = carry as u8;
        carry >>= 8;
    }
    sum
}

fn check_entry(file: &[u8], given: &Value) -> Result<Value, Refusal> {
    let entry = RosterEntry::from_cbor(file)?;
    assert_eq!(entry.to_cbor(), file);
    let hash = |key| text(given, key).parse().expect("a hash");
    let coordinator = PublicKey::from_bytes(&crate::vectors::kind::array(given, "coordinator"))?;
    let leaf = number(&given["leaf"]);
    let output = entry.output(&hash("genesis"), &hash("beacon"), leaf, &coordinator)?;
    let mut value = value(&entry);
    value["output"] = json!(output);
    Ok(value)
}

/// Candidates as stakes and qualities, with the weights that somebody claims.
struct Weighing {
    least: u128,
    saturation: u32,
    candidates: Vec<(u128, u64)>,
}

impl Weighing {
    fn weights(&self) -> Vec<u64> {
        let genesis = Genesis {
            miner_stake_min: self.least,
            saturation: self.saturation,
            ..sample_genesis()
        };
        let candidates = self
            .candidates
            .iter()
            .map(|(stake, quality_ppm)| Candidate {
                stake: *stake,
                quality_ppm: *quality_ppm,
                ..candidate(1)
            });
        weigh(&genesis, &candidates.collect::<Vec<_>>())
    }

    fn file(&self, weights: &[u64]) -> Vec<u8> {
        let candidates = self.candidates.iter().zip(weights);
        let candidates: Vec<Value> = candidates
            .map(|((stake, quality), weight)| {
                json!({
                    "stake": stake.to_string(),
                    "quality_ppm": quality,
                    "weight": weight.to_string(),
                })
            })
            .collect();
        json_file(json!({
            "miner_stake_min": self.least.to_string(),
            "saturation": self.saturation,
            "candidates": candidates,
        }))
    }
}

pub fn weights() -> Kind {
    let least = 20_000 * TOKEN;
    let weighing = |candidates: &[(u128, u64)]| Weighing {
        least,
        saturation: 50,
        candidates: candidates.to_vec(),
    };
    let full = 1_000_000;
    let plain = weighing(&[
        (least, full),
        (3 * least / 2, 900_000),
        (40 * least, full),
        (500 * least, 666_666),
    ]);
    let many = (1..=40).map(|n| (least * n / 7 + least, full - n as u64 * 17));
    let good = [
        ("plain", weighing(&plain.candidates)),
        ("one", weighing(&[(least, full)])),
        ("nobody", weighing(&[])),
        (
            "quality-of-nothing",
            weighing(&[(least, 0), (least, 1), (least, full)]),
        ),
        ("below-the-least", weighing(&[(least - 1, full), (0, full)])),
        ("all-saturated", weighing(&[(50 * least, full); 3])),
        ("forty", weighing(&many.collect::<Vec<_>>())),
        (
            "least-stake-of-one",
            Weighing {
                least: 1,
                saturation: 1,
                candidates: vec![(1, full), (2, full), (0, full)],
            },
        ),
        (
            "stakes-of-128-bits",
            Weighing {
                least: u128::MAX / 3,
                saturation: u32::MAX,
                candidates: vec![(u128::MAX, full), (1 << 127, full), (1 << 64, full)],
            },
        ),
    ];
    let value = |weights: &[u64]| {
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        json!({ "total": total.to_string() })
    };
    let good = good.map(|(name, weighing)| {
        let weights = weighing.weights();
        Good::new(name, weighing.file(&weights), value(&weights))
    });
    let right = plain.weights();
    let wrong = |name, at: usize, weight: u64, why| {
        let mut weights = right.clone();
        weights[at] = weight;
        let refusal = Refusal {
            error: "weight",
            detail: json!({ "candidate": at, "expected": right[at].to_string() }),
        };
        Bad::new(name, plain.file(&weights), refusal, why)
    };
    let bad = vec![
        wrong(
            "one-too-many",
            0,
            right[0] + 1,
            "the weight of the first is too large by one part in a billion",
        ),
        wrong(
            "quality-left-out",
            1,
            right[1] * 10 / 9,
            "the quality of the second is not in its weight",
        ),
        wrong("zero", 2, 0, "the third could never be drawn"),
        wrong(
            "not-saturated",
            3,
            right[3] * 10,
            "the stake of the fourth counts beyond the saturation",
        ),
    ];
    Kind {
        name: "roster-weights",
        extension: "json",
        about: "Weights of candidates: 0.7 of the share of the saturated stakes and 0.3 of that of the whole units of the least stake, in parts per billion, times quality.",
        good: good.into(),
        bad,
        check: check_weights,
        errors: &[("weight", &["weight"])],
    }
}

fn check_weights(file: &[u8], _: &Value) -> Result<Value, Refusal> {
    let file = parse(file);
    let amount = |value: &Value, key| text(value, key).parse::<u128>().expect("an amount");
    let candidates = file["candidates"].as_array().expect("a list");
    let weighing = Weighing {
        least: amount(&file, "miner_stake_min"),
        saturation: number(&file["saturation"]) as u32,
        candidates: candidates
            .iter()
            .map(|c| (amount(c, "stake"), number(&c["quality_ppm"])))
            .collect(),
    };
    let mut total = 0u128;
    for (at, (expected, found)) in weighing.weights().into_iter().zip(candidates).enumerate() {
        if number(&found["weight"]) != expected {
            return Err(Refusal {
                error: "weight",
                detail: json!({ "candidate": at, "expected": expected.to_string() }),
            });
        }
        total += u128::from(expected);
    }
    Ok(json!({ "total": total.to_string() }))
}
