//! Logs with one fault each.

use adit_protocol::cbor::Document;
use adit_protocol::hash::Hash;
use adit_protocol::network::assignment::Acceptance;
use adit_protocol::network::entry::{CancelledBy, Decision, Entry};
use adit_protocol::network::roster::Roster;
use adit_protocol::receipt::ReceiptBody;
use adit_protocol::signed::{Signable, Signed};
use adit_protocol::task::{DeviceClass, Requirements};
use serde_json::Value;

use super::super::draws::anything;
use super::super::{assembled, key};
use super::audit;
use super::writer::{Writer, keypair, weigh};
use crate::fixtures::{coordinator, miner};
use crate::vectors::documents::samples::h;
use crate::vectors::kind::Bad;

fn bad(name: &str, writer: &Writer, why: &str) -> Bad {
    let file = writer.file();
    let refusal = audit(&file, &Value::Null).expect_err(name);
    Bad::new(name, file, refusal, why)
}

pub fn logs() -> Vec<Bad> {
    let mut list = assignments();
    list.extend(rosters());
    list.extend(receipts());
    list.extend(verdicts());
    list.extend(ends());
    list.extend(entries());
    list
}

fn assignments() -> Vec<Bad> {
    let with = |change: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::begun();
        change(&mut writer);
        writer
    };
    let altered = |change: fn(&mut adit_protocol::network::assignment::Assignment)| {
        with(&|w| {
            let task = w.task(1);
            w.assign(task, 0, change);
        })
    };
    let other = with(&|w| {
        let task = w.task(1);
        let drawn = w.next(task, 0).miner;
        let mut all = (1..=4).map(|number| key(&miner(number)));
        let another = all.find(|node| *node != drawn).expect("four miners");
        w.assign(task, 0, |a| a.miner = another);
    });
    let unfit = with(&|w| {
        let wanted = Requirements {
            device: DeviceClass::Gpu,
            device_memory_bytes: 25 << 30,
            ..anything()
        };
        let task = w.task_for(1, wanted);
        w.assign(task, 0, |_| {});
    });
    let busy = with(&|w| {
        for number in 1..=9 {
            let task = w.task(number);
            w.assign(task, 0, |_| {});
        }
    });
    let early = with(&|w| {
        let task = w.task(1);
        w.assign(task, 0, |_| {});
        w.assign(task, 0, |_| {});
    });
    let skipped = with(&|w| {
        let task = w.task(1);
        let mut lease = w.next(task, 0);
        lease.attempt = 1;
        w.redraw(&mut lease);
        w.assigned(&lease, &coordinator());
    });
    let over = with(&|w| {
        let task = w.task(1);
        let lease = w.assign(task, 0, |_| {});
        let receipt = w.receipt(&lease, |_| {});
        w.verdict(task, &[(receipt, Decision::Accepted)]);
        w.assign(task, 0, |_| {});
    });
    let cancelled = with(&|w| {
        let task = w.task(1);
        let lease = w.assign(task, 0, |_| {});
        w.cancel(task, CancelledBy::Client, vec![lease.hash()]);
        w.assign(task, 0, |_| {});
    });
    let forged = with(&|w| {
        let task = w.task(1);
        let lease = w.next(task, 0);
        w.assigned(&lease, &miner(1));
    });
    let nothing = with(&|w| {
        let signature = coordinator().sign(b"adit-assignment-v1", b"\xa0", &mut w.rng);
        let signed = Signed::from_cbor(&assembled(b"\xa0", &signature)).expect("two fields");
        w.push(&Entry::Assignment(signed));
    });
    let old_roster = with(&|w| {
        w.roster(|_| {});
        let task = w.task(1);
        w.assign(task, 0, |a| a.roster = 0);
    });
    let mut before = Writer::begun();
    let task = before.task(1);
    let lease = before.next(task, 0);
    before.entries.clear();
    before.assigned(&lease, &coordinator());
    vec![
        bad(
            "another-miner",
            &other,
            "the task was given to another miner than the one that was drawn",
        ),
        bad(
            "nobody-meets-the-requirements",
            &unfit,
            "the task was given to a miner although none has the memory",
        ),
        bad(
            "nobody-has-a-free-slot",
            &busy,
            "a ninth lease, where four miners have eight slots",
        ),
        bad(
            "attempt-before-the-last-ended",
            &early,
            "the attempt before it is still open",
        ),
        bad("attempt-left-out", &skipped, "the first attempt is 1"),
        bad(
            "lease-after-the-verdict",
            &over,
            "the task has an accepted result already",
        ),
        bad(
            "lease-after-the-cancel",
            &cancelled,
            "the client had cancelled the task",
        ),
        bad(
            "assignment-signed-by-a-miner",
            &forged,
            "the coordinator did not sign the assignment",
        ),
        bad(
            "assignment-of-nothing",
            &nothing,
            "what was signed is an empty map",
        ),
        bad(
            "assignment-from-an-old-roster",
            &old_roster,
            "it names the roster before the one in force",
        ),
        bad(
            "assignment-before-any-roster",
            &before,
            "there was nothing to draw from",
        ),
        bad(
            "assignment-of-another-epoch",
            &altered(|a| a.epoch += 1),
            "it names an epoch that the roster is not of",
        ),
        bad(
            "assignment-of-another-network",
            &altered(|a| a.genesis = h("genesis")),
            "it is of another network",
        ),
        bad(
            "assignment-of-another-coordinator",
            &altered(|a| a.coordinator = key(&miner(1))),
            "it is of another coordinator, though this one signed it",
        ),
    ]
}

fn rosters() -> Vec<Bad> {
    let made = |change: &dyn Fn(&mut Roster)| {
        let mut writer = Writer::new();
        writer.roster(change);
        writer
    };
    let mut jailed = Writer::new();
    jailed.membership.miners[1].jailed = Some("its results were wrong".into());
    jailed.roster(|_| {});
    let mut poor = Writer::new();
    poor.membership.miners[0].stake = 1;
    poor.roster(|_| {});
    let mut stranger = Writer::new();
    let mut fewer = stranger.membership.clone();
    fewer.miners.remove(2);
    stranger.roster(|roster| roster.membership = fewer.hash());
    stranger.membership = fewer;
    let mut quality = Writer::begun();
    let task = quality.task(1);
    let lease = quality.assign(task, 0, |_| {});
    let receipt = quality.receipt(&lease, |_| {});
    quality.verdict(task, &[(receipt, Decision::Outvoted)]);
    quality.roster(|roster| {
        for candidate in &mut roster.candidates {
            candidate.quality_ppm = 1_000_000;
        }
        weigh(roster);
    });
    let mut back = Writer::new();
    back.roster(|roster| {
        roster.epoch = 3;
        roster.beacon = super::super::sample_genesis().beacon(3);
    });
    back.roster(|_| {});
    let mut moved = Writer::begun();
    let first = moved.entries[0].clone();
    moved.entries.push(first);
    let mut epoch = Writer::new();
    let mut entry = epoch.roster(|_| {});
    epoch.entries.clear();
    entry.epoch = 1;
    epoch.push(&Entry::Roster(entry));
    let mut zeros = Writer::begun();
    zeros.coordinator = [0; 32];
    let mut even = Writer::begun();
    even.coordinator = crate::vectors::signatures::NEGATIVE;
    vec![
        bad(
            "weight-too-large",
            &made(&|r| r.candidates[0].weight += 1),
            "a weight is not that of the formula",
        ),
        bad(
            "stake-raised",
            &made(&|r| {
                r.candidates[0].stake *= 2;
                weigh(r);
            }),
            "a miner has twice the stake that it has by the membership",
        ),
        bad(
            "another-beacon",
            &made(&|r| r.beacon = h("beacon")),
            "the beacon is not that of the epoch",
        ),
        bad(
            "another-membership",
            &made(&|r| r.membership = h("membership")),
            "the stakes are from another membership",
        ),
        bad(
            "candidate-that-is-jailed",
            &jailed,
            "a candidate may not work",
        ),
        bad(
            "candidate-with-too-little-stake",
            &poor,
            "a candidate has less than the least stake",
        ),
        bad(
            "candidate-that-is-no-member",
            &stranger,
            "a candidate is not in the membership",
        ),
        bad(
            "quality-forgiven",
            &quality,
            "a bad result by the log is not in the quality",
        ),
        bad(
            "back-to-an-earlier-epoch",
            &back,
            "the epoch is before that of the roster before",
        ),
        bad(
            "epoch-of-the-entry",
            &epoch,
            "the entry has another epoch than the roster",
        ),
        bad(
            "proof-of-another-leaf",
            &moved,
            "the verifiable random output was made for another leaf",
        ),
        bad(
            "coordinator-of-zeros",
            &zeros,
            "the coordinator's key is the identity",
        ),
        bad(
            "coordinator-not-a-point",
            &even,
            "the coordinator's key is odd, which Ristretto does not allow as the form of a point",
        ),
    ]
}

fn receipts() -> Vec<Bad> {
    let altered = |change: fn(&mut ReceiptBody)| {
        let mut w = Writer::begun();
        let task = w.task(1);
        let lease = w.assign(task, 0, |_| {});
        w.receipt(&lease, change);
        w
    };
    let mut twice = altered(|_| {});
    let again = twice.entries[2].clone();
    twice.entries.push(again);
    let mut forged = altered(|_| {});
    forged.entries[2][1 + 392 + 5] ^= 1;
    // After one whose number is too low, the newest one is still the one before.
    let mut low = Writer::begun();
    let wanted = Requirements {
        device: DeviceClass::Gpu,
        ..anything()
    };
    for number in 1..=3 {
        // Only one miner can be drawn, so that they are all of one series.
        let task = low.task_for(number, wanted.clone());
        let lease = low.assign(task, 0, |_| {});
        low.receipt(&lease, |body| {
            if number == 2 {
                body.seq = 0;
            }
        });
    }
    let prev = altered(|body| body.prev = h("another receipt"));
    vec![
        bad(
            "receipt-of-another-network",
            &altered(|body| body.network = [1; 4]),
            "the receipt is of another network",
        ),
        bad(
            "receipt-of-another-coordinator",
            &altered(|body| body.coordinator = key(&miner(1))),
            "the receipt is of another coordinator",
        ),
        bad(
            "receipt-of-another-epoch",
            &altered(|body| body.epoch = 7),
            "the receipt has another epoch than its lease",
        ),
        bad(
            "receipt-of-another-task",
            &altered(|body| body.task = h("task")),
            "the receipt has another task than its lease",
        ),
        bad(
            "receipt-after-another",
            &prev,
            "the first receipt of a miner names one before it",
        ),
        bad(
            "receipt-with-a-low-number",
            &low,
            "the number of a receipt is not above that of the one before",
        ),
        bad("receipt-twice", &twice, "the same receipt is there again"),
        bad(
            "receipt-with-a-bad-signature",
            &forged,
            "a bit of the miner's signature is flipped",
        ),
    ]
}

fn verdicts() -> Vec<Bad> {
    let begin = || {
        let mut w = Writer::begun();
        let task = w.task(1);
        let lease = w.assign(task, 0, |_| {});
        let receipt = w.receipt(&lease, |_| {});
        (w, task, lease, receipt)
    };
    let (mut unknown, task, ..) = begin();
    unknown.verdict(task, &[(h("receipt"), Decision::Late)]);
    let (mut again, task, _, receipt) = begin();
    again.verdict(task, &[(receipt, Decision::NoQuorum)]);
    again.verdict(task, &[(receipt, Decision::Accepted)]);
    let (mut both, task, _, receipt) = begin();
    let list = [(receipt, Decision::Accepted), (receipt, Decision::Accepted)];
    both.verdict(task, &list);
    let (mut other, _, _, receipt) = begin();
    let task = other.task(2);
    other.verdict(task, &[(receipt, Decision::Accepted)]);
    let (mut late, task, lease, _) = begin();
    let second = late.receipt(&lease, |body| body.fuel += 1);
    late.verdict(task, &[(second, Decision::Accepted)]);
    vec![
        bad(
            "verdict-on-an-unknown-receipt",
            &unknown,
            "no such receipt is in the log",
        ),
        bad(
            "verdict-again",
            &again,
            "the receipt was judged before, otherwise",
        ),
        bad(
            "verdict-with-a-receipt-twice",
            &both,
            "one result was made to look like two that agree",
        ),
        bad(
            "verdict-for-another-task",
            &other,
            "the receipt is of another task",
        ),
        bad(
            "late-result-accepted",
            &late,
            "a second receipt for a lease that had ended was accepted",
        ),
    ]
}

fn ends() -> Vec<Bad> {
    let begin = || {
        let mut w = Writer::begun();
        let task = w.task(1);
        let lease = w.assign(task, 0, |_| {});
        (w, task, lease)
    };
    let (mut early, _, lease) = begin();
    early.expiry(&lease, lease.deadline_ms - 1, None);
    let (mut again, _, lease) = begin();
    again.expiry(&lease, lease.deadline_ms, None);
    again.expiry(&lease, lease.deadline_ms, None);
    let (mut done, _, lease) = begin();
    done.receipt(&lease, |_| {});
    done.expiry(&lease, lease.deadline_ms, None);
    let acceptance = |change: fn(&mut Acceptance), own: bool| {
        let (mut w, _, lease) = begin();
        let mut acceptance = Acceptance {
            assignment: lease.hash(),
            miner: lease.miner,
            at_ms: lease.issued_ms,
        };
        change(&mut acceptance);
        let signer = match own {
            true => keypair(&lease.miner),
            false => coordinator(),
        };
        let signed = acceptance.sign(&signer, &mut w.rng);
        w.expiry(&lease, lease.deadline_ms, Some(signed));
        w
    };
    let (mut closed, task, lease) = begin();
    closed.receipt(&lease, |_| {});
    closed.cancel(task, CancelledBy::Client, vec![lease.hash()]);
    let (mut other, _, lease) = begin();
    let task = other.task(2);
    other.cancel(task, CancelledBy::Client, vec![lease.hash()]);
    vec![
        bad(
            "expiry-before-the-deadline",
            &early,
            "the lease had a millisecond left",
        ),
        bad("expiry-twice", &again, "the lease had ended before"),
        bad(
            "expiry-after-the-receipt",
            &done,
            "the receipt was there, and the lease had ended with it",
        ),
        bad(
            "acceptance-signed-by-the-coordinator",
            &acceptance(|_| {}, false),
            "the miner never accepted",
        ),
        bad(
            "acceptance-of-another-assignment",
            &acceptance(|a| a.assignment = Hash::ZERO, true),
            "the miner accepted another assignment",
        ),
        bad(
            "cancel-of-an-ended-lease",
            &closed,
            "the lease had ended with its receipt",
        ),
        bad(
            "cancel-of-another-task",
            &other,
            "it ends a lease of another task",
        ),
    ]
}

/// What is no entry is a fault, and whatever follows is read all the same.
fn entries() -> Vec<Bad> {
    let with = |entry: Vec<u8>| {
        let mut w = Writer::begun();
        w.entries.push(entry);
        let task = w.task(1);
        w.assign(task, 0, |_| {});
        w
    };
    vec![
        bad("entry-empty", &with(vec![]), "an entry is empty"),
        bad(
            "entry-of-an-unknown-type",
            &with(vec![9, 0]),
            "an entry has the type 9",
        ),
        bad(
            "entry-without-a-document",
            &with(vec![2, 0xa0]),
            "a verdict is empty",
        ),
        bad(
            "entry-without-a-receipt",
            &with(vec![1; 521]),
            "a receipt is no receipt",
        ),
    ]
}
