//! Logs of an honest coordinator.

use adit_protocol::network::entry::{CancelledBy, Decision};
use adit_protocol::status::Status;
use adit_protocol::task::{DeviceClass, Requirements};
use serde_json::Value;

use super::super::draws::anything;
use super::audit;
use super::writer::Writer;
use crate::vectors::kind::Good;

pub fn logs() -> Vec<Good> {
    let mut undisclosed = two_replicas();
    undisclosed.tasks.clear();
    let list = [
        ("no-entry", Writer::new()),
        ("roster-alone", Writer::begun()),
        ("two-replicas", two_replicas()),
        ("two-replicas-undisclosed", undisclosed),
        ("expiries", expiries()),
        ("cancels", cancels()),
        ("late-and-rejected", late()),
        ("near-client-and-gpu", near()),
        ("gap-in-a-series", gap()),
        ("roster-of-the-next-epoch", next_epoch()),
        ("open-leases", open()),
    ];
    list.into_iter()
        .map(|(name, writer)| {
            let file = writer.file();
            let value = audit(&file, &Value::Null).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            Good::new(name, file, value)
        })
        .collect()
}

/// Three tasks, each run twice and accepted.
fn two_replicas() -> Writer {
    let mut w = Writer::begun();
    for number in 1..=3 {
        let task = w.task(number);
        let first = w.assign(task, 0, |_| {});
        let second = w.assign(task, 1, |_| {});
        let b = w.receipt(&second, |_| {});
        let a = w.receipt(&first, |_| {});
        w.verdict(task, &[(b, Decision::Accepted), (a, Decision::Accepted)]);
    }
    w
}

/// A lease that expires without an acceptance, one with it, and a third attempt that is accepted;
/// the next roster has the lower quality.
fn expiries() -> Writer {
    let mut w = Writer::begun();
    let task = w.task(1);
    let first = w.assign(task, 0, |_| {});
    w.expiry(&first, first.deadline_ms, None);
    let second = w.assign(task, 0, |_| {});
    let acceptance = w.accepted(&second);
    w.expiry(&second, second.deadline_ms + 1, Some(acceptance));
    w.roster(|_| {});
    let third = w.assign(task, 0, |_| {});
    assert_eq!(third.attempt, 2);
    let receipt = w.receipt(&third, |_| {});
    w.verdict(task, &[(receipt, Decision::Accepted)]);
    w
}

/// A task that its client cancels, one that nobody could run, and a replica that was not needed.
fn cancels() -> Writer {
    let mut w = Writer::begun();
    let task = w.task(1);
    let (a, b) = (w.assign(task, 0, |_| {}), w.assign(task, 1, |_| {}));
    let leases = vec![
        adit_protocol::cbor::Document::hash(&a),
        adit_protocol::cbor::Document::hash(&b),
    ];
    w.cancel(task, CancelledBy::Client, leases);
    let unplaced = w.task(2);
    w.cancel(unplaced, CancelledBy::Coordinator, vec![]);
    let decided = w.task(3);
    let (a, b) = (w.assign(decided, 0, |_| {}), w.assign(decided, 1, |_| {}));
    let receipt = w.receipt(&a, |_| {});
    w.verdict(decided, &[(receipt, Decision::Accepted)]);
    let lease = adit_protocol::cbor::Document::hash(&b);
    w.cancel(decided, CancelledBy::Decided, vec![lease]);
    w
}

/// Each decision that there is, also on what came too late.
fn late() -> Writer {
    let mut w = Writer::begun();
    let task = w.task(1);
    let first = w.assign(task, 0, |_| {});
    w.expiry(&first, first.deadline_ms, None);
    let late = w.receipt(&first, |_| {});
    w.verdict(task, &[(late, Decision::Late)]);
    let statuses = [
        (Decision::Outvoted, Status::Ok),
        (Decision::NotAttestable, Status::HostFault),
        (Decision::NotAttestable, Status::Cancelled),
    ];
    for (decision, status) in statuses {
        let lease = w.assign(task, 0, |_| {});
        let receipt = w.receipt(&lease, |body| body.status = status);
        w.verdict(task, &[(receipt, decision)]);
    }
    let others = [
        Decision::NoQuorum,
        Decision::RefusedByValidator,
        Decision::Mismatch,
        Decision::TaskCancelled,
    ];
    for (number, decision) in (2..).zip(others) {
        let task = w.task(number);
        let lease = w.assign(task, 0, |_| {});
        let receipt = w.receipt(&lease, |_| {});
        w.verdict(task, &[(receipt, decision)]);
    }
    w.roster(|_| {});
    w
}

/// Draws in which near miners weigh more, and that only one miner can win.
fn near() -> Writer {
    let mut w = Writer::begun();
    for number in 1..=3 {
        let task = w.task(number);
        let mut lease = w.next(task, 0);
        lease.local = true;
        w.redraw(&mut lease);
        w.assigned(&lease, &crate::fixtures::coordinator());
        w.receipt(&lease, |_| {});
    }
    let gpu = Requirements {
        device: DeviceClass::Gpu,
        device_memory_bytes: 24 << 30,
        ..anything()
    };
    let task = w.task_for(9, gpu);
    let lease = w.assign(task, 0, |_| {});
    w.receipt(&lease, |body| body.gpu = true);
    w
}

/// Receipts that were never handed in leave a gap, after which the one before is not asked for.
fn gap() -> Writer {
    let mut w = Writer::begun();
    let task = w.task(1);
    let lease = w.assign(task, 0, |_| {});
    w.receipt(&lease, |body| {
        body.seq += 4;
        body.prev = adit_protocol::Hash::of(b"a receipt that nobody saw");
    });
    w
}

fn next_epoch() -> Writer {
    let mut w = Writer::begun();
    w.roster(|roster| {
        roster.epoch = 2;
        roster.beacon = super::super::sample_genesis().beacon(2);
        // Who is not there any more is not drawn.
        roster.candidates.remove(1);
        super::writer::weigh(roster);
    });
    let task = w.task(1);
    let lease = w.assign(task, 0, |_| {});
    assert_eq!(lease.epoch, 2);
    w.receipt(&lease, |_| {});
    w
}

/// Every slot is taken.
fn open() -> Writer {
    let mut w = Writer::begun();
    for number in 1..=8 {
        let task = w.task(number);
        w.assign(task, 0, |_| {});
    }
    w
}
