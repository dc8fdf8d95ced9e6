//! Long because each planted fault needs its own log and all of them share what is made here.
//!
//! Audits of logs that are made here, signed for real: an honest one has no fault, and each planted
//! fault is found, named and ends with the right exit code.

use std::collections::BTreeMap;

use adit_protocol::Hash;
use adit_protocol::Status;
use adit_protocol::cbor::Document as _;
use adit_protocol::log::key::KeyKind;
use adit_protocol::log::tile::{Level, Tile};
use adit_protocol::network::assignment::Acceptance;
use adit_protocol::network::entry::{Cancel, CancelledBy, Decision, Entry, Expiry};
use adit_protocol::network::membership::{NetworkFile, WitnessMember};
use adit_protocol::network::standing::Facts;
use adit_protocol::opening::ReceiptOpening;
use adit_protocol::receipt::Receipt;
use adit_protocol::signed::Signable as _;
use adit_protocol::task::Disclosure;
use adit_runtime::audit as runtime_audit;
use adit_runtime::store::blobs::BlobStore;
use adit_runtime::worker::supervisor::SupervisorError;
use rand_core::OsRng;

use super::execution::Replayer;
use super::report::{Report, SUBJECTS, result};
use super::{Asked, Observer, Stop, audit, html};
use crate::error::Exit;
use crate::evidence::needs::Needs;
use crate::evidence::testing::{BEGIN_MS, Files, Outcome, TestLog, exec};
use crate::evidence::{Evidence, EvidenceError};

impl Evidence for Files {
    fn source(&self) -> String {
        "https://coordinator.example/<i>".to_owned()
    }

    fn network(&self) -> Result<Vec<u8>, EvidenceError> {
        Ok(self.network.clone())
    }

    fn membership(&self, hash: &Hash) -> Result<Option<Vec<u8>>, EvidenceError> {
        Ok(self.memberships.get(hash).cloned())
    }

    fn checkpoint(&self) -> Result<Vec<u8>, EvidenceError> {
        Ok(self.checkpoint.clone())
    }

    fn tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, EvidenceError> {
        let read = |tile: &Tile| {
            let missing = || EvidenceError::Missing {
                what: tile.to_string(),
            };
            self.tiles.get(tile).cloned().ok_or_else(missing)
        };
        tiles.iter().map(read).collect()
    }

    fn blobs(&self, hashes: &[Hash]) -> Result<Vec<Option<Vec<u8>>>, EvidenceError> {
        Ok(hashes
            .iter()
            .map(|hash| self.blobs.get(hash).cloned())
            .collect())
    }

    fn save(&self, hash: &Hash, into: &BlobStore) -> Result<bool, EvidenceError> {
        let Some(bytes) = self.blobs.get(hash) else {
            return Ok(false);
        };
        assert_eq!(into.put(bytes).unwrap(), *hash);
        Ok(true)
    }

    fn opening(&self, receipt: &Hash) -> Result<Option<ReceiptOpening>, EvidenceError> {
        Ok(self.openings.get(receipt).copied())
    }
}

/// In place of a worker: says of each receipt that its fuel was 7. Real runs are replayed by the
/// tests of the program as a whole.
struct Fuel7 {
    store: BlobStore,
    _folder: tempfile::TempDir,
}

impl Fuel7 {
    fn new() -> Fuel7 {
        let folder = tempfile::tempdir().unwrap();
        Fuel7 {
            store: BlobStore::open(folder.path().join("blobs")).unwrap(),
            _folder: folder,
        }
    }
}

impl Replayer for Fuel7 {
    fn replay(
        &mut self,
        receipt: &Receipt,
        needs: &Needs,
    ) -> Result<Vec<runtime_audit::Check>, SupervisorError> {
        let verdict = match (receipt.body.fuel, needs.opening) {
            (_, None) => runtime_audit::Verdict::NotPerformed("no opening".into()),
            (7, _) => runtime_audit::Verdict::Passed,
            (fuel, _) => {
                runtime_audit::Verdict::Failed(format!("the receipt has {fuel}, the replay gave 7"))
            }
        };
        Ok(vec![runtime_audit::Check {
            level: 2,
            name: "fuel",
            verdict,
            fault: None,
            note: None,
        }])
    }

    fn store(&self) -> &BlobStore {
        &self.store
    }
}

struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _: u64, _: u64, _: &str) -> Result<(), Stop> {
        Ok(())
    }
}

fn asked() -> Asked {
    Asked {
        networks: Vec::new(),
        kept: None,
        sample: Some(5),
        seed: 1,
        now_ms: BEGIN_MS,
    }
}

fn run(files: &Files, asked: &Asked) -> Report {
    let mut replayer = || anyhow::Ok(Box::new(Fuel7::new()) as Box<dyn Replayer>);
    audit(files, asked, &mut replayer, &mut Silent).unwrap_or_else(|stop| panic!("{stop:?}"))
}

fn outcome() -> Outcome {
    Outcome {
        status: Status::Ok,
        output: Hash::of(b"output"),
        fuel: 7,
        peak_memory: 65_536,
    }
}

fn work(log: &mut TestLog) -> adit_protocol::exec::ExecSpec {
    let component = log.blob(b"component".to_vec());
    let input = log.blob(b"input".to_vec());
    exec(Hash::of(b"engine"), component, input, &[])
}

/// A log of `tasks` tasks of which everything is as it should be.
fn honest(tasks: u32) -> TestLog {
    let mut log = TestLog::new(3);
    let exec = work(&mut log);
    log.roster(|_| {});
    for n in 0..tasks {
        log.done(&exec, Disclosure::Public, &outcome());
        if n % 50 == 49 {
            log.roster(|_| {});
        }
    }
    log
}

fn results(report: &Report, id: &str) -> Vec<&'static str> {
    let checks = report.checks.iter().filter(|check| check.id == id);
    checks.map(|check| result(&check.outcome).0).collect()
}

#[track_caller]
fn reason(report: &Report, id: &str) -> String {
    let mut checks = report.checks.iter().filter(|check| check.id == id);
    let reason = checks.find_map(|check| result(&check.outcome).1);
    reason
        .unwrap_or_else(|| panic!("{:#?}", report.checks))
        .to_owned()
}

fn kinds(report: &Report) -> Vec<(&str, Option<u64>)> {
    let faults = report.findings.list.iter().filter(|finding| finding.fault);
    faults
        .map(|finding| (finding.kind.as_str(), finding.leaf))
        .collect()
}

#[test]
fn an_honest_log_passes_and_every_check_is_named() {
    let report = run(&honest(300).seal(), &asked());
    assert_eq!(report.exit(), Exit::Ok, "{:#?}", report.checks);
    assert_eq!(report.findings.all_faults(), 0);
    for subject in &SUBJECTS {
        let expected = match subject.id {
            "network-identity" | "cosignatures" | "continuation" | "inference" => "not-performed",
            _ => "passed",
        };
        assert_eq!(results(&report, subject.id), [expected], "{}", subject.id);
    }
    let stats = &report.stats;
    assert_eq!(stats.tasks, 300);
    assert_eq!((stats.draws_checked, stats.draws_undisclosed), (300, 0));
    assert_eq!(stats.decisions["accepted"], 300);
    assert_eq!(report.sample.replayed.len(), 5);
    assert_eq!(report.sample.eligible, 300);
    // As many were drawn as were to be expected, in all, and nobody is far off.
    let expected: f64 = stats.miners.values().map(|miner| miner.expected).sum();
    assert!((expected - 300.0).abs() < 1e-6, "{expected}");
    let drawn: u64 = stats.miners.values().map(|miner| miner.draws).sum();
    assert_eq!(drawn, 300);
    for miner in stats.miners.values() {
        assert!(miner.deviation().unwrap().abs() < 5.0, "{miner:?}");
    }
}

#[test]
fn a_sample_is_the_same_for_the_same_seed() {
    let files = honest(60).seal();
    let ids = |seed| -> Vec<Hash> {
        let report = run(&files, &Asked { seed, ..asked() });
        report.sample.replayed.iter().map(|r| r.receipt).collect()
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
    let all = Asked {
        sample: None,
        ..asked()
    };
    assert_eq!(run(&files, &all).sample.replayed.len(), 60);
    let none = run(
        &files,
        &Asked {
            sample: Some(0),
            ..asked()
        },
    );
    assert_eq!(results(&none, "execution"), ["not-performed"]);
    assert_eq!(none.exit(), Exit::Ok);
}

/// Plants a fault at the end of an honest log.
fn with(fault: impl FnOnce(&mut TestLog)) -> Report {
    let mut log = honest(20);
    fault(&mut log);
    run(&log.seal(), &asked())
}

#[track_caller]
fn finds(report: &Report, kind: &str, check: &str, exit: Exit) {
    let found = kinds(report);
    assert!(
        found
            .iter()
            .any(|(found, leaf)| *found == kind && leaf.is_some()),
        "{found:?}"
    );
    assert_eq!(results(report, check)[0], "failed", "{:#?}", report.checks);
    assert_eq!(report.exit(), exit, "{found:?}");
    assert!(html::page(report).contains(kind));
}

#[test]
fn a_task_that_went_to_another_miner_is_found() {
    let report = with(|log| {
        let exec = work(log);
        let task = log.task(&exec, Disclosure::Public);
        let miners: Vec<_> = log.miners.iter().map(|k| k.public().to_bytes()).collect();
        log.assign(task, 0, |a| {
            a.miner = *miners.iter().find(|other| **other != a.miner).unwrap();
        });
    });
    finds(&report, "assignment-other-miner", "draws", Exit::Proof);
    assert_eq!(kinds(&report).len(), 1);
}

#[test]
fn wrong_weights_and_foreign_candidates_are_found() {
    let report = with(|log| {
        log.roster(|roster| roster.candidates[0].weight += 1);
    });
    finds(&report, "roster-weight", "rosters", Exit::Proof);
    let report = with(|log| {
        log.roster(|roster| roster.candidates[0].quality_ppm = 1);
    });
    finds(&report, "roster-quality-ppm", "rosters", Exit::Proof);
    // More stake than the membership says, with the weights that it would give.
    let report = with(|log| {
        let genesis = log.genesis.clone();
        log.roster(|roster| {
            roster.candidates[0].stake *= 3;
            let all = adit_protocol::network::roster::weights(&genesis, &roster.candidates);
            for (candidate, weight) in roster.candidates.iter_mut().zip(all) {
                candidate.weight = weight;
            }
        });
    });
    finds(&report, "roster-candidates", "membership", Exit::Proof);
}

#[test]
fn randomness_of_another_leaf_is_found_once() {
    let mut log = honest(20);
    let moved = log.entries[0].clone();
    log.entries.push(moved);
    let exec = work(&mut log);
    log.roster(|_| {});
    log.done(&exec, Disclosure::Public, &outcome());
    let report = run(&log.seal(), &asked());
    finds(&report, "roster-vrf", "rosters", Exit::Proof);
    assert_eq!(kinds(&report).len(), 1, "{:?}", kinds(&report));
}

#[test]
fn bad_signatures_of_each_kind_are_found() {
    // A receipt that the miner did not sign, and one that was not countersigned.
    for (at, check) in [(393, "signatures"), (457, "signatures")] {
        let mut log = honest(20);
        let leaf = (0..log.entries.len())
            .rfind(|leaf| log.entries[*leaf][0] == 1)
            .unwrap();
        // One more for the type byte.
        log.entries[leaf][at + 1] ^= 1;
        let report = run(&log.seal(), &asked());
        finds(&report, "receipt-signature", check, Exit::Signature);
        assert_eq!(kinds(&report), [("receipt-signature", Some(leaf as u64))]);
    }
    let report = with(|log| {
        let exec = work(log);
        let task = log.task(&exec, Disclosure::Public);
        let mut copy = None;
        log.assign(task, 0, |a| copy = Some(a.clone()));
        let forged = copy.unwrap().sign(&log.miners[0].clone(), &mut OsRng);
        *log.entries.last_mut().unwrap() = Entry::Assignment(forged).encode();
    });
    finds(&report, "assignment-signature", "leases", Exit::Signature);
    let report = with(|log| {
        let exec = work(log);
        let task = log.task(&exec, Disclosure::Public);
        let assignment = log.assign(task, 0, |_| {});
        let acceptance = Acceptance {
            assignment: assignment.hash(),
            miner: assignment.miner,
            at_ms: log.now_ms,
        };
        let expiry = Expiry {
            assignment: assignment.hash(),
            at_ms: assignment.deadline_ms,
            // Signed by the coordinator in the miner's place.
            acceptance: Some(acceptance.sign(&log.coordinator, &mut OsRng)),
        };
        log.push(&Entry::Expiry(expiry), &Facts::default());
    });
    finds(&report, "expiry-signature", "leases", Exit::Signature);
}

#[test]
fn receipts_and_verdicts_that_come_twice_are_found() {
    let mut log = honest(20);
    let leaf = log.entries.iter().position(|entry| entry[0] == 1).unwrap();
    let again = log.entries[leaf].clone();
    log.entries.push(again);
    finds(
        &run(&log.seal(), &asked()),
        "receipt-twice",
        "receipts",
        Exit::Proof,
    );

    let mut log = honest(20);
    let leaf = log.entries.iter().position(|entry| entry[0] == 2).unwrap();
    let again = log.entries[leaf].clone();
    log.entries.push(again);
    finds(
        &run(&log.seal(), &asked()),
        "verdict-not-unjudged",
        "verdicts",
        Exit::Proof,
    );
}

#[test]
fn a_second_receipt_for_an_assignment_is_noticed() {
    let mut log = honest(20);
    let leaf = log.entries.iter().position(|entry| entry[0] == 1).unwrap();
    let Ok(Entry::Receipt(receipt)) = Entry::decode(&log.entries[leaf]) else {
        unreachable!()
    };
    let mut body = receipt.body.clone();
    body.fuel += 1;
    let second = body.sign(&log.miner(&body.miner), &mut OsRng);
    log.entries.push(Entry::Receipt(Box::new(second)).encode());
    let report = run(&log.seal(), &asked());
    let mut all = report.findings.list.iter();
    let found = all.find(|finding| finding.kind == "receipt-equivocation");
    let found = found.unwrap();
    assert_eq!(found.leaf, Some(log.entries.len() as u64 - 1));
    assert!(!found.fault && found.what.starts_with(&format!("leaf {leaf} has another")));
    assert!(found.recheck.contains("adit report equivocation"));
}

#[test]
fn leases_that_are_cut_short_or_given_twice_are_found() {
    let report = with(|log| {
        let exec = work(log);
        let task = log.task(&exec, Disclosure::Public);
        let assignment = log.assign(task, 0, |_| {});
        let expiry = Expiry {
            assignment: assignment.hash(),
            at_ms: assignment.deadline_ms - 1,
            acceptance: None,
        };
        log.push(&Entry::Expiry(expiry), &Facts::default());
    });
    finds(&report, "expiry-at-ms", "leases", Exit::Proof);
    let report = with(|log| {
        let exec = work(log);
        let task = log.task(&exec, Disclosure::Public);
        log.assign(task, 0, |_| {});
        log.assign(task, 0, |_| {});
    });
    finds(&report, "assignment-attempt", "leases", Exit::Proof);
    // A task that was decided is given out again.
    let report = with(|log| {
        let exec = work(log);
        let task = log.task(&exec, Disclosure::Public);
        let assignment = log.assign(task, 0, |_| {});
        let receipt = log.receipt(&assignment, &outcome(), |_| {});
        log.verdict(task, &[(receipt, Decision::Accepted)]);
        log.assign(task, 1, |_| {});
    });
    finds(&report, "assignment-task", "leases", Exit::Proof);
    let report = with(|log| {
        let cancel = Cancel {
            task: Hash::of(b"task"),
            by: CancelledBy::Client,
            at_ms: log.now_ms,
            assignments: vec![Hash::of(b"assignment")],
        };
        log.push(&Entry::Cancel(cancel), &Facts::default());
    });
    finds(&report, "cancel-not-open", "leases", Exit::Proof);
}

#[test]
fn an_assignment_that_is_taken_back_may_go_to_another() {
    for by in [CancelledBy::Coordinator, CancelledBy::Client] {
        let report = with(|log| {
            let exec = work(log);
            let task = log.task(&exec, Disclosure::Public);
            let first = log.assign(task, 0, |_| {});
            let cancel = Cancel {
                task,
                by,
                at_ms: log.now_ms,
                assignments: vec![first.hash()],
            };
            log.push(&Entry::Cancel(cancel), &Facts::default());
            let next = log.assign(task, 0, |_| {});
            assert_eq!(next.attempt, 1);
            let receipt = log.receipt(&next, &outcome(), |_| {});
            log.verdict(task, &[(receipt, Decision::Accepted)]);
        });
        match by {
            CancelledBy::Client => finds(&report, "assignment-task", "leases", Exit::Proof),
            _ => assert_eq!(report.exit(), Exit::Ok, "{:?}", kinds(&report)),
        }
    }
}

#[test]
fn broken_series_and_unreadable_entries_are_found() {
    let report = with(|log| {
        let exec = work(log);
        let task = log.task(&exec, Disclosure::Public);
        let assignment = log.assign(task, 0, |_| {});
        let receipt = log.receipt(&assignment, &outcome(), |body| body.prev = Hash::of(b"x"));
        log.verdict(task, &[(receipt, Decision::Accepted)]);
    });
    finds(&report, "receipt-prev", "receipts", Exit::Proof);
    let report = with(|log| log.entries.push(vec![77, 1, 2, 3]));
    finds(&report, "entry-unreadable", "encoding", Exit::Signature);
    // A number that was left out is no fault, and is counted.
    let report = with(|log| {
        let exec = work(log);
        let task = log.task(&exec, Disclosure::Public);
        let assignment = log.assign(task, 0, |_| {});
        let receipt = log.receipt(&assignment, &outcome(), |body| body.seq += 2);
        log.verdict(task, &[(receipt, Decision::Accepted)]);
    });
    assert_eq!((report.exit(), report.stats.gaps), (Exit::Ok, 2));
}

#[test]
fn what_differs_from_what_was_signed_is_found() {
    let honest_files = honest(300).seal();
    let entries = |index, width| Tile::new(Level::Entries, index, width).unwrap();
    // Another entry in place of one.
    let mut files = honest_files.clone();
    let tile = *files.tiles.keys().next().unwrap();
    let bytes = files.tiles.get_mut(&tile).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let report = run(&files, &asked());
    assert_eq!(results(&report, "tree"), ["failed"]);
    // A hash tile that proofs would be made of.
    let mut files = honest_files.clone();
    let hashes = Tile::new(Level::Hashes(0), 1, 256).unwrap();
    files.tiles.get_mut(&hashes).unwrap()[40] ^= 1;
    let report = run(&files, &asked());
    assert_eq!(results(&report, "tiles"), ["failed"]);
    assert_eq!(results(&report, "tree"), ["passed"]);
    assert!(reason(&report, "tiles").contains("tile/0/001"));
    assert_eq!(report.exit(), Exit::Proof);
    // A file that is not there, or cut off.
    let mut files = honest_files.clone();
    files.tiles.remove(&entries(1, 256));
    let report = run(&files, &asked());
    assert_eq!(results(&report, "tree"), ["not-performed"]);
    assert_eq!(results(&report, "complete"), ["not-performed"]);
    assert_eq!(report.exit(), Exit::Unchecked);
    let mut files = honest_files.clone();
    files.tiles.get_mut(&entries(1, 256)).unwrap().pop();
    let report = run(&files, &asked());
    assert_eq!(results(&report, "tree"), ["failed"]);
    assert_eq!(report.exit(), Exit::Signature);
}

#[test]
fn a_full_file_does_for_a_partial_one() {
    let mut log = honest(100);
    let small = log.seal();
    let exec = work(&mut log);
    while log.entries.len() < 512 {
        log.done(&exec, Disclosure::Public, &outcome());
    }
    let grown = log.seal();
    let mut files = small.clone();
    for (tile, bytes) in &mut files.tiles {
        if let Some(full) = tile.full().and_then(|full| grown.tiles.get(&full)) {
            bytes.clone_from(full);
        }
    }
    assert_ne!(files.tiles, small.tiles);
    let report = run(&files, &asked());
    assert_eq!(report.exit(), Exit::Ok, "{:#?}", report.checks);
}

#[test]
fn network_and_checkpoint_must_be_signed_by_the_right_keys() {
    let log = honest(5);
    let files = log.seal();
    let exits = |files: &Files, check: &str, exit: Exit| {
        let report = run(files, &asked());
        assert_eq!(results(&report, check), ["failed"], "{:#?}", report.checks);
        assert_eq!(report.exit(), exit);
        // Nothing after it may look as if it had been checked.
        assert_eq!(results(&report, "draws"), ["not-performed"]);
    };
    let forged = NetworkFile {
        membership: log.membership.sign(&log.coordinator, &mut OsRng),
        ..log.network()
    };
    let bad = Files {
        network: forged.to_cbor(),
        ..files.clone()
    };
    exits(&bad, "network-signature", Exit::Signature);
    let bad = Files {
        network: b"junk".to_vec(),
        ..files.clone()
    };
    exits(&bad, "network-signature", Exit::Signature);
    let other_key = log
        .checkpoint(log.entries.len())
        .sign(&log.authority, &mut OsRng);
    let bad = Files {
        checkpoint: other_key.to_string().into_bytes(),
        ..files.clone()
    };
    exits(&bad, "checkpoint-signature", Exit::Signature);
    // A coordinator that is no member.
    let mut stranger = honest(5);
    std::sync::Arc::make_mut(&mut stranger.membership)
        .coordinators
        .clear();
    let bad = Files {
        network: stranger.network().to_cbor(),
        ..files.clone()
    };
    exits(&bad, "checkpoint-origin", Exit::Signature);

    // The network that the user knows.
    let known = Asked {
        networks: vec![log.network()],
        ..asked()
    };
    let report = run(&files, &known);
    assert_eq!(results(&report, "network-identity"), ["passed"]);
    let mut other = honest(1);
    other.genesis.name = "another".into();
    std::sync::Arc::make_mut(&mut other.membership).genesis = other.genesis.hash();
    let foreign = Asked {
        networks: vec![other.network()],
        ..asked()
    };
    let report = run(&files, &foreign);
    assert_eq!(results(&report, "network-identity"), ["failed"]);
    assert_eq!(report.exit(), Exit::Proof);
}

#[test]
fn a_log_must_go_on_from_the_one_that_was_seen() {
    let log = honest(50);
    let kept = |log: &TestLog, size| {
        let signed = log.checkpoint(size).sign(&log.log_key, &mut OsRng);
        Asked {
            kept: Some(signed.to_string().into_bytes()),
            ..asked()
        }
    };
    for size in [0, 1, 77, log.entries.len()] {
        let report = run(&log.seal(), &kept(&log, size));
        assert_eq!(results(&report, "continuation"), ["passed"], "{size}");
        assert_eq!(report.exit(), Exit::Ok);
    }
    // Rewritten: an entry before the checkpoint is another.
    let mut rewritten = honest(50);
    rewritten.entries[30].clone_from(&log.entries[30]);
    let report = run(&rewritten.seal(), &kept(&log, 77));
    assert_eq!(results(&report, "continuation"), ["failed"]);
    // Taken back.
    let mut shorter = honest(0);
    shorter.entries = log.entries[..40].to_vec();
    let report = run(&shorter.seal(), &kept(&log, 77));
    assert_eq!(results(&report, "continuation"), ["failed"]);
    assert_eq!(report.exit(), Exit::Proof);
    assert!(reason(&report, "continuation").contains("taken back"));
    // Signed by somebody else.
    let forged = log.checkpoint(10).sign(&log.authority, &mut OsRng);
    let forged = Asked {
        kept: Some(forged.to_string().into_bytes()),
        ..asked()
    };
    let report = run(&log.seal(), &forged);
    assert_eq!(results(&report, "continuation"), ["failed"]);
    assert_eq!(report.exit(), Exit::Signature);
}

#[test]
fn cosignatures_count_only_if_they_are_of_witnesses() {
    let mut log = honest(5);
    let witness = adit_protocol::keys::Keypair::from_seed([77; 32]);
    std::sync::Arc::make_mut(&mut log.membership).witnesses = vec![WitnessMember {
        name: "witness.example".into(),
        cosign: witness.public().to_bytes(),
        url: String::new(),
    }];
    let mut files = log.seal();
    let report = run(&files, &asked());
    assert_eq!(results(&report, "cosignatures"), ["not-performed"]);
    let mut signed = log
        .checkpoint(log.entries.len())
        .sign(&log.log_key, &mut OsRng);
    let name = "witness.example".parse().unwrap();
    let line = signed
        .cosign(
            KeyKind::Cosignature,
            &name,
            &witness,
            1_760_000_000,
            &mut OsRng,
        )
        .unwrap();
    signed.add(line).unwrap();
    files.checkpoint = signed.to_string().into_bytes();
    let report = run(&files, &asked());
    // The roster names the membership without the witness, which is not at hand now.
    assert_eq!(results(&report, "cosignatures"), ["passed"]);
    assert_eq!(results(&report, "membership"), ["not-performed"]);
    assert_eq!(report.exit(), Exit::Unchecked);
    // It is, if the earlier network file is given.
    let earlier = Asked {
        networks: vec![honest(0).network()],
        ..asked()
    };
    assert_eq!(results(&run(&files, &earlier), "membership"), ["passed"]);
    // Or if the coordinator has kept it; but not, if others than the authority have signed it.
    let kept = honest(0);
    for (key, expected) in [
        (&kept.coordinator, "not-performed"),
        (&kept.authority, "passed"),
    ] {
        let signed = kept.membership.sign(key, &mut OsRng);
        files.memberships = [(signed.body_hash(), signed.to_cbor())].into();
        assert_eq!(results(&run(&files, &asked()), "membership"), [expected]);
    }
    // Nor another one under its name.
    let mut other = honest(0);
    std::sync::Arc::make_mut(&mut other.membership).version = 9;
    let signed = other.membership.sign(&other.authority, &mut OsRng);
    files.memberships = [(kept.membership.hash(), signed.to_cbor())].into();
    let report = run(&files, &asked());
    assert_eq!(results(&report, "membership"), ["not-performed"]);
}

#[test]
fn what_is_not_disclosed_is_not_called_valid() {
    let mut log = honest(10);
    let exec = work(&mut log);
    for _ in 0..7 {
        log.done(&exec, Disclosure::Parties, &outcome());
    }
    let report = run(&log.seal(), &asked());
    assert_eq!(results(&report, "draws"), ["passed", "not-performed"]);
    assert_eq!(
        (report.stats.draws_checked, report.stats.draws_undisclosed),
        (10, 7)
    );
    assert_eq!((report.sample.eligible, report.sample.undisclosed), (10, 7));
    assert_eq!(report.exit(), Exit::Unchecked);
    assert!(reason(&report, "draws").contains("not disclosed"));

    let mut log = TestLog::new(3);
    let exec = work(&mut log);
    log.roster(|_| {});
    log.done(&exec, Disclosure::Parties, &outcome());
    let report = run(&log.seal(), &asked());
    assert_eq!(results(&report, "draws"), ["not-performed"]);
    assert_eq!(results(&report, "execution"), ["not-performed"]);
    assert_eq!(report.exit(), Exit::Unchecked);
}

#[test]
fn a_roster_that_cannot_be_had_leaves_draws_unchecked_and_accuses_nobody() {
    let log = honest(10);
    let mut files = log.seal();
    let rosters: Vec<Hash> = files
        .blobs
        .iter()
        .filter(|(_, bytes)| adit_protocol::network::roster::Roster::from_cbor(bytes).is_ok())
        .map(|(hash, _)| *hash)
        .collect();
    for roster in &rosters {
        files.blobs.remove(roster);
    }
    let report = run(&files, &asked());
    assert_eq!(results(&report, "rosters"), ["not-performed"]);
    assert_eq!(results(&report, "draws"), ["not-performed"]);
    assert_eq!(report.findings.all_faults(), 0, "{:?}", kinds(&report));
    assert_eq!(report.exit(), Exit::Unchecked);
    // Bytes of another hash are as good as none.
    for roster in &rosters {
        files.blobs.insert(*roster, b"something else".to_vec());
    }
    assert_eq!(
        results(&run(&files, &asked()), "rosters"),
        ["not-performed"]
    );
}

#[test]
fn a_wrong_result_is_found_by_running_it_again() {
    let all = Asked {
        sample: None,
        ..asked()
    };
    let wrong = Outcome {
        fuel: 8,
        ..outcome()
    };
    let mut log = honest(5);
    let exec = work(&mut log);
    let receipt = log.done(&exec, Disclosure::Public, &wrong);
    let report = run(&log.seal(), &all);
    finds(&report, "execution-diverged", "execution", Exit::Diverged);
    let finding = &report.findings.list[0];
    assert!(finding.what.contains("the replay gave 7"), "{finding:?}");
    let command = format!("adit receipt replay {receipt} --from ");
    assert!(finding.recheck.starts_with(&command), "{finding:?}");
    assert!(finding.about.contains(&("receipt", receipt.to_string())));
    let assignment = finding
        .about
        .iter()
        .any(|(name, _)| *name == "assignment at leaf");
    assert!(assignment, "{finding:?}");

    // One that the coordinator rejected is no fault of the network.
    let judged = |outcome: &Outcome, decision| {
        let mut log = honest(5);
        let exec = work(&mut log);
        let task = log.task(&exec, Disclosure::Public);
        let assignment = log.assign(task, 0, |_| {});
        let receipt = log.receipt(&assignment, outcome, |_| {});
        log.verdict(task, &[(receipt, decision)]);
        run(&log.seal(), &all)
    };
    let report = judged(&wrong, Decision::Outvoted);
    assert_eq!(report.findings.all_faults(), 0);
    assert_eq!(report.findings.list[0].kind, "execution-diverged-rejected");
    // A right one that was rejected is.
    let report = judged(&outcome(), Decision::Outvoted);
    finds(
        &report,
        "right-result-rejected",
        "execution",
        Exit::Diverged,
    );
}

#[test]
fn a_receipt_that_cannot_be_run_again_is_not_called_right() {
    let log = honest(5);
    let mut files = log.seal();
    files.openings.clear();
    let report = run(&files, &asked());
    assert_eq!(results(&report, "execution"), ["not-performed"]);
    assert_eq!(report.exit(), Exit::Unchecked);
    assert_eq!(report.sample.replayed.len(), 5);
}

#[test]
fn what_hangs_is_told_of_and_is_no_fault() {
    let mut log = honest(5);
    let exec = work(&mut log);
    let task = log.task(&exec, Disclosure::Public);
    let open = log.assign(task, 0, |_| {});
    let task = log.task(&exec, Disclosure::Public);
    let assignment = log.assign(task, 0, |_| {});
    let waits = log.receipt(&assignment, &outcome(), |_| {});
    log.now_ms += 600_000;
    log.roster(|_| {});
    let report = run(&log.seal(), &asked());
    assert_eq!(report.exit(), Exit::Ok, "{:#?}", report.checks);
    assert_eq!(results(&report, "complete"), ["not-performed"]);
    let notices: BTreeMap<&str, String> = report
        .findings
        .list
        .iter()
        .map(|finding| (finding.kind.as_str(), finding.about[0].1.clone()))
        .collect();
    assert_eq!(notices["assignment-never-ended"], open.hash().to_string());
    assert_eq!(notices["receipt-open"], waits.to_string());
    // What is open can be run again too.
    assert_eq!(report.sample.eligible, 6);
}

#[test]
fn an_interrupted_audit_ends() {
    struct After(u32);
    impl Observer for After {
        fn progress(&mut self, _: u64, _: u64, _: &str) -> Result<(), Stop> {
            self.0 = self
                .0
                .checked_sub(1)
                .ok_or(Stop::Interrupted(Exit::Interrupted(2)))?;
            Ok(())
        }
    }
    let files = honest(20).seal();
    for after in 0..4 {
        let mut replayer = || anyhow::Ok(Box::new(Fuel7::new()) as Box<dyn Replayer>);
        let ended = audit(&files, &asked(), &mut replayer, &mut After(after));
        assert!(matches!(ended, Err(Stop::Interrupted(_))), "{after}");
    }
}

#[test]
fn an_empty_log_is_fine() {
    let report = run(&TestLog::new(1).seal(), &asked());
    assert_eq!(report.exit(), Exit::Ok, "{:#?}", report.checks);
    assert_eq!(results(&report, "execution"), ["not-performed"]);
    html::page(&report);
}

#[test]
fn the_page_has_everything_and_no_markup_from_outside() {
    let mut log = honest(30);
    let exec = work(&mut log);
    let task = log.task(&exec, Disclosure::Public);
    let other = log.other(&[0; 32]);
    log.assign(task, 0, |a| a.miner = other);
    let report = run(&log.seal(), &asked());
    let page = html::page(&report);
    // The coordinator's introduction, the network's name and the source are outside texts.
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(!page.contains("<b>network</b>"));
    assert!(!page.contains("example/<i>"));
    // Nothing is fetched, and nothing runs.
    for word in [
        "src=",
        "href=",
        "url(",
        "@import",
        "onload=",
        "onerror=",
        "onclick=",
        "javascript:",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    for replayed in &report.sample.replayed {
        assert!(page.contains(&replayed.receipt.to_hex()));
    }
    for node in report.stats.miners.keys() {
        assert!(page.contains(&super::report::key(node)));
    }
    for subject in &SUBJECTS {
        assert!(
            page.contains(&subject.title[1..].replace('\'', "&#39;")),
            "{}",
            subject.id
        );
    }
    for svg in [
        "Tasks over time",
        "How runs ended",
        "What was decided",
        "How long runs took",
        "Draws, expected",
        "Receipts of each",
    ] {
        assert!(page.contains(svg), "{svg}");
    }
    assert_eq!(page.matches("<svg").count(), 6);
    // Every element that is opened is closed.
    for tag in [
        "section", "div", "ul", "li", "table", "tr", "td", "p", "svg", "figure", "dl", "article",
        "span", "code", "pre",
    ] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    // A sentence about what holds stands nowhere alone where it was not checked, or does not hold.
    assert!(page.contains("Not known: Witnesses confirm"));
    assert!(page.contains("This does not hold: The coordinator did not hand tasks"));
    let json = report.as_json();
    assert_eq!(json["schema"], "adit-audit-1");
    assert_eq!(json["exit"], report.exit().code());
    assert_eq!(
        json["checks"].as_array().unwrap().len(),
        report.checks.len()
    );
}
