//! A ledger in which nodes are reported, judged and punished, by three checkers.

use adit_ledger::slashing::{Evidence, Finding, Misdeed, SIGNED_BODY};
use adit_protocol::Status;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::origin::Origin;
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::signed::Signable as _;

use super::*;

const OTHER_MINER: &str = "//Node//miner//b";
const POOR_MINER: &str = "//Node//miner//c";
const CHECKERS: [&str; 3] = [
    "//Node//checker//a",
    "//Node//checker//b",
    "//Node//checker//c",
];
const THIRD: u32 = 333_333;

fn receipt(it: &mut Story, miner: &str, assignment: &[u8], fuel: u64) -> [u8; SIGNED_BODY] {
    let miner = pair(miner);
    let body = ReceiptBody {
        network: *it.network.hash().as_bytes().first_chunk().unwrap(),
        status: Status::Ok,
        gpu: false,
        nn: true,
        epoch: 1,
        seq: 2,
        start_ms: 1_700_000_000_000,
        duration_us: 3,
        fuel,
        nn_units: 4,
        peak_memory: 65_536,
        miner: miner.public().to_bytes(),
        coordinator: *key(COORDINATOR).as_bytes(),
        task: Hash::of(b"task"),
        assignment: Hash::of(assignment),
        component: Hash::of(b"component"),
        input: Hash::of(b"input"),
        output: Hash::of(b"output"),
        transcript: Hash::ZERO,
        environment: Hash::of(b"environment"),
        prev: Hash::ZERO,
    };
    let bytes = body.sign(&miner, &mut it.rng).to_bytes();
    *bytes.first_chunk().unwrap()
}

fn equivocates(it: &mut Story, node: &str, signer: &str, assignments: [&[u8]; 2]) -> Action {
    let [first, second] = [1, 2].map(|fuel| {
        let assignment = assignments[fuel as usize - 1];
        receipt(it, signer, assignment, fuel)
    });
    Action::Report {
        node: key(node),
        evidence: Box::new(Evidence::Equivocation { first, second }),
    }
}

/// A report that the log under a node key has two roots, signed by a log key.
fn forks(it: &mut Story, node: &str, named: &str, log: &str, roots: [&[u8]; 2]) -> Action {
    let size = 70_000;
    let [first, second] = roots.map(|root| {
        let root = Hash::of(root);
        let checkpoint = Checkpoint {
            origin: Origin::new(&it.network.hash(), &pair(named).public()).name(),
            size,
            root,
        };
        let signed = checkpoint.sign(&pair(log), &mut it.rng);
        let signature = &signed.note().signatures()[0].signature;
        (root, signature.as_slice().try_into().unwrap())
    });
    Action::Report {
        node: key(node),
        evidence: Box::new(Evidence::LogFork {
            key: key(named),
            size,
            first,
            second,
        }),
    }
}

fn accuse(node: &str, misdeed: Misdeed, evidence: &[u8]) -> Action {
    Action::Accuse {
        node: key(node),
        misdeed,
        evidence: Hash::of(evidence),
    }
}

fn verdict(it: &mut Story, report: Hash, fraction_ppm: Option<u32>, by: &[&str]) -> Action {
    let found = it.state.report_of(&report);
    let finding = Finding {
        genesis: it.network.hash(),
        report,
        appeal: found.is_some_and(|report| report.appeal.is_some()),
        guilty: fraction_ppm.is_some(),
        fraction_ppm: fraction_ppm.unwrap_or(0),
    };
    let attestations = attested(it, by, Finding::CONTEXT, &finding.to_cbor());
    Action::Verdict {
        report,
        fraction_ppm,
        attestations,
    }
}

fn unjail(node: &str) -> Action {
    Action::Unjail { node: key(node) }
}

pub fn punished() -> Story {
    let rich = ["//Alice", "//Bob", "//Charlie", "//Dave"].map(|uri| (uri, tokens(400_000)));
    let parameters = Parameters {
        rewards: RewardRules {
            quorum_ppm: 666_666,
            ..RewardRules::default()
        },
        ..parameters()
    };
    let about = "equivocation, a forked log, verdicts of two of three checkers, appeals; nodes that \
                 are jailed and come back";
    let mut it = story("punished", about, parameters, &rich);
    it.block(0);
    it.done("//Dave", stake(150_000));
    for (number, checker) in CHECKERS.iter().enumerate() {
        let mut registration = registration(&mut it, Role::Checker, "//Dave", checker);
        registration.name = Some(format!("checker-{number}.example"));
        let bond = tokens(50_000);
        it.done("//Dave", Action::Register { registration, bond });
    }
    it.done("//Alice", stake(90_000));
    for (miner, bond) in [(MINER, 30_000), (OTHER_MINER, 30_000), (POOR_MINER, 20_000)] {
        let register = registers(&mut it, Role::Miner, "//Alice", miner, bond);
        it.done("//Alice", register);
    }
    it.done("//Bob", stake(320_000));
    let register = registers(&mut it, Role::Coordinator, "//Bob", COORDINATOR, 310_000);
    it.done("//Bob", register);
    it.done("//Charlie", stake(9_000));
    it.done("//Charlie", vote(MINER, 7_000));
    it.done("//Bob", deposit(COORDINATOR, 500));
    it.done("//Alice", unstake(20_000, Some(POOR_MINER)));

    it.block(EPOCH_MS);
    it.done("//Charlie", unvote(MINER, 1_000));
    it.done("//Alice", unstake(2_000, Some(MINER)));
    it.done("//Bob", withdraw(COORDINATOR, 100));
    that_prove_themselves(&mut it);
    let rotate = rotates(&mut it, "//Alice", OTHER_MINER, "//Node//miner//b2", None);
    it.done("//Alice", rotate);

    it.block(2 * EPOCH_MS);
    // With the key of the epoch before, by one who votes for the node.
    let former = equivocates(&mut it, OTHER_MINER, OTHER_MINER, [b"b", b"b"]);
    it.done("//Charlie", vote(OTHER_MINER, 1_000));
    it.done("//Charlie", former);
    let reports = verdicts(&mut it);

    it.block(3 * EPOCH_MS);
    // Nobody found a verdict on the third in time; the second one is appealed.
    it.done("//Alice", Action::Appeal { report: reports[1] });
    it.refused(
        "//Alice",
        Action::Appeal { report: reports[1] },
        "rule no-appeal",
    );
    let second = verdict(&mut it, reports[1], None, &CHECKERS[1..]);
    it.done("//Alice", second);
    let poor = equivocates(&mut it, POOR_MINER, POOR_MINER, [b"c", b"c"]);
    it.refused("//Charlie", poor, "rule nothing-at-stake");

    it.block(4 * EPOCH_MS);
    it.refused("//Bob", unjail(COORDINATOR), "rule forked-log");
    let log = Some("//Node//coordinator//log//2");
    let rotate = rotates(&mut it, "//Bob", COORDINATOR, "//Node//coordinator//2", log);
    it.done("//Bob", rotate);
    it.refused("//Bob", unjail(MINER), "not-operator");
    // Without an appeal, this one takes effect in two epochs.
    it.block(5 * EPOCH_MS);
    it.done("//Bob", unjail(COORDINATOR));
    it.refused("//Bob", unjail(COORDINATOR), "rule not-jailed");
    let id = it.done(
        "//Charlie",
        accuse(COORDINATOR, Misdeed::MissingReceipt, b"m"),
    );
    let guilty = verdict(&mut it, id, Some(100_000), &CHECKERS);
    it.done("//Charlie", guilty);
    it.done("//Bob", Action::Appeal { report: id });
    let stands = verdict(&mut it, id, Some(50_000), &CHECKERS[..2]);
    it.done("//Bob", stands.clone());
    it.refused("//Bob", stands, "rule judged");
    it.refused("//Bob", Action::Appeal { report: id }, "rule no-appeal");
    let id = it.done("//Charlie", accuse(CHECKERS[0], Misdeed::Judgement, b"j"));
    let own = verdict(&mut it, id, Some(THIRD), &CHECKERS);
    it.refused("//Charlie", own, "rule no-checker");
    let others = verdict(&mut it, id, Some(THIRD), &CHECKERS[1..]);
    it.done("//Charlie", others);
    // A verdict that is never given, and one whose appeal nobody hears.
    it.done("//Charlie", accuse(OTHER_MINER, Misdeed::NotServing, b"n"));
    let id = it.done("//Charlie", accuse(OTHER_MINER, Misdeed::NotServing, b"o"));
    let guilty = verdict(&mut it, id, Some(1), &CHECKERS[1..]);
    it.done("//Charlie", guilty);
    it.done("//Alice", Action::Appeal { report: id });

    it.block(6 * EPOCH_MS);
    it.done("//Charlie", transfer("//Eve", 1));
    it.block(9 * EPOCH_MS);
    it.refused("//Alice", unjail(MINER), "bond");
    it.done("//Charlie", accuse(OTHER_MINER, Misdeed::NotServing, b"n"));
    it
}

fn that_prove_themselves(it: &mut Story) {
    let report = equivocates(it, MINER, MINER, [b"a", b"b"]);
    it.refused("//Charlie", report, "rule no-evidence");
    let report = forks(it, MINER, MINER, MINER, [b"1", b"2"]);
    it.refused("//Charlie", report, "rule other-role");
    let report = equivocates(it, MINER, OTHER_MINER, [b"a", b"a"]);
    it.refused("//Charlie", report, "rule other-key");
    let report = equivocates(it, MINER, MINER, [b"a", b"a"]);
    it.done("//Charlie", report);
    let report = equivocates(it, MINER, MINER, [b"a", b"a"]);
    it.refused("//Bob", report, "rule reported");
    let log = format!("{COORDINATOR}//log");
    for (named, log, roots) in [
        (COORDINATOR, log.as_str(), [b"1", b"1"]),
        (COORDINATOR, "//Node//x", [b"1", b"2"]),
    ] {
        let report = forks(
            it,
            COORDINATOR,
            named,
            log,
            roots.map(|root| root.as_slice()),
        );
        it.refused("//Charlie", report, "rule no-evidence");
    }
    let report = forks(it, COORDINATOR, "//Node//x", &log, [b"1", b"2"]);
    it.refused("//Charlie", report, "rule other-key");
    let report = forks(it, COORDINATOR, COORDINATOR, &log, [b"1", b"2"]);
    it.done("//Charlie", report);
    let report = forks(it, COORDINATOR, COORDINATOR, &log, [b"1", b"3"]);
    it.refused("//Charlie", report, "rule reported");
    it.refused("//Bob", unjail(COORDINATOR), "rule still-jailed");
}

/// Three accusations: one with a verdict, one that will be appealed, one without a verdict.
fn verdicts(it: &mut Story) -> [Hash; 3] {
    it.refused(
        "//Charlie",
        accuse(COORDINATOR, Misdeed::WrongExecution, b"r"),
        "rule other-role",
    );
    it.refused(
        "//Eve",
        accuse(MINER, Misdeed::WrongExecution, b"r"),
        "insufficient",
    );
    let ids = [b"1", b"2", b"3"].map(|evidence| {
        it.done(
            "//Charlie",
            accuse(MINER, Misdeed::WrongExecution, evidence),
        )
    });
    it.refused(
        "//Bob",
        accuse(MINER, Misdeed::WrongExecution, b"1"),
        "rule reported",
    );
    it.refused(
        "//Alice",
        Action::Appeal { report: ids[0] },
        "rule no-appeal",
    );
    let none = verdict(it, Hash::ZERO, None, &CHECKERS[..2]);
    it.refused("//Alice", none, "no-report");
    let one = verdict(it, ids[0], Some(THIRD), &CHECKERS[..1]);
    it.refused("//Charlie", one, "quorum");
    let much = verdict(it, ids[0], Some(THIRD + 1), &CHECKERS[..2]);
    it.refused("//Charlie", much, "rule fraction");
    let stranger = verdict(it, ids[0], Some(THIRD), &[CHECKERS[0], MINER]);
    it.refused("//Charlie", stranger, "rule no-checker");
    let mut other = verdict(it, ids[0], Some(THIRD), &CHECKERS[..2]);
    if let Action::Verdict { report, .. } = &mut other {
        *report = ids[1];
    }
    it.refused("//Charlie", other, "rule checker-signature");
    for (id, fraction) in [(ids[0], 123_456), (ids[1], THIRD)] {
        let guilty = verdict(it, id, Some(fraction), &CHECKERS[..2]);
        it.done("//Charlie", guilty);
    }
    let again = verdict(it, ids[0], None, &CHECKERS);
    it.refused("//Charlie", again, "rule judged");
    it.refused("//Bob", Action::Appeal { report: ids[1] }, "not-operator");
    ids
}
