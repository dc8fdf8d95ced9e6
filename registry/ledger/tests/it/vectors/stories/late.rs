//! A ledger in which receipts are missed, and found, and owed.

use adit_protocol::Status;
use adit_protocol::log::key::KeyKind;
use adit_protocol::network::entry::Entry;

use super::rewards::{FIRST_LOG, QUORUM, closure_of, founding, settled, settlement};
use super::*;
use crate::leases::{Lease, log, terms};

fn lease(it: &Story, task: &[u8]) -> Lease {
    Lease {
        genesis: it.network.hash(),
        coordinator: pair(COORDINATOR),
        miner: pair(MINER),
        task: Hash::of(task),
        epoch: 1,
        deadline_ms: it.network.created_ms + 2 * EPOCH_MS - 1,
        terms: terms(),
        status: Status::Ok,
        fuel: 7,
    }
}

fn claim(it: &mut Story, lease: &Lease) -> Action {
    lease.claim(key(COORDINATOR), &mut it.rng)
}

pub fn late() -> Story {
    let million = tokens(1_000_000);
    let rich = ["//Alice", "//Bob", "//Charlie"].map(|uri| (uri, million));
    let about = "countersigned receipts that a log lacks are claimed, answered and owed";
    let mut it = story("late", about, parameters(), &rich);
    founding(&mut it);
    it.done("//Charlie", stake(20_000));
    let miner = registers(&mut it, Role::Miner, "//Charlie", MINER, 20_000);
    it.done("//Charlie", miner);

    let answered = [b"a", b"b", b"c"].map(|task| lease(&it, task));
    let missing = [b"d", b"e"].map(|task| lease(&it, task));
    let receipt = Entry::Receipt(Box::new(answered[0].receipt(&mut it.rng)));
    let mut forged = lease(&it, b"d").receipt(&mut it.rng);
    forged.miner_signature[7] ^= 1;
    let log = log(&[
        receipt,
        answered[1].expiry(),
        // More than a line.
        answered[2].cancel(20),
        missing[0].entry(),
        Entry::Receipt(Box::new(forged)),
    ]);
    it.block(EPOCH_MS);
    let early = claim(&mut it, &missing[0]);
    it.refused("//Bob", early, "rule not-late");
    for epoch in 1..=3 {
        it.block((epoch + 1) * EPOCH_MS);
        let place = (epoch, log.root().size, log.root().root);
        let closing = closure_of(&mut it, FIRST_LOG, place, KeyKind::Mirror, &QUORUM);
        it.done("//Alice", Action::CloseEpoch(Box::new(closing)));
    }
    claims_that_fail(&mut it, &missing[0]);
    for lease in answered.iter().chain(&missing) {
        let claim = claim(&mut it, lease);
        it.done("//Charlie", claim);
    }
    let again = claim(&mut it, &missing[0]);
    it.refused("//Bob", again, "rule claimed");
    for (leaf, lease) in answered.iter().enumerate() {
        let other = missing[0].answer(&log, leaf);
        it.refused("//Bob", other, "rule no-answer");
        it.done("//Bob", lease.answer(&log, leaf));
    }
    for leaf in [3, 4] {
        it.refused("//Bob", missing[0].answer(&log, leaf), "rule no-answer");
    }
    let mut shorter = answered[0].answer(&log, 0);
    it.refused("//Bob", shorter.clone(), "no-claim");
    if let Action::Answer {
        assignment, proof, ..
    } = &mut shorter
    {
        (*assignment, *proof) = (missing[0].hash(), Vec::new());
    }
    it.refused("//Bob", shorter, "rule no-answer");
    it.block(5 * EPOCH_MS);
    // Another one, for which the coordinator is not slashed.
    let next = Lease {
        epoch: 2,
        ..lease(&it, b"f")
    };
    // Nobody has closed the epoch in which it would have to be.
    let action = claim(&mut it, &next);
    it.refused("//Charlie", action, "rule not-late");
    it.block(6 * EPOCH_MS);
    let action = claim(&mut it, &next);
    it.done("//Charlie", action);
    it.block(8 * EPOCH_MS);
    let mut earned = Vec::new();
    for (epoch, spent) in [(1, 0), (2, 0), (3, 0), (6, 6), (8, 3)] {
        if epoch == 8 {
            it.block(10 * EPOCH_MS);
        }
        let (settlement, tree) = settlement(&it, epoch, spent, &earned, &["//Charlie"]);
        settled(&mut it, &settlement);
        earned = tree.earned().to_vec();
    }
    it.block(11 * EPOCH_MS);
    let late = lease(&it, b"g");
    let late = claim(&mut it, &late);
    it.refused("//Charlie", late, "rule too-late");
    it
}

fn claims_that_fail(it: &mut Story, good: &Lease) {
    let of_miner = good.claim(key(MINER), &mut it.rng);
    it.refused("//Charlie", of_miner, "rule no-coordinator");
    let poor = claim(it, good);
    it.refused("//Dave", poor, "insufficient");
    let late = good.late(key(COORDINATOR), &mut it.rng);
    type Change = fn(&mut adit_ledger::late::LateReceipt);
    let changes: [Change; 5] = [
        |late| late.receipt[0] ^= 1,
        |late| late.receipt[48] ^= 1,
        |late| late.receipt[500] ^= 1,
        |late| late.assignment.push(0),
        |late| late.assignment_signature[40] ^= 1,
    ];
    for change in changes {
        let mut late = late.clone();
        change(&mut late);
        let action = Action::LateReceipt(Box::new(late));
        it.refused("//Charlie", action, "rule nothing-claimed");
    }
    let fault = Lease {
        status: Status::HostFault,
        ..good.clone()
    };
    let unpaid = Lease {
        terms: None,
        ..good.clone()
    };
    let stranger = Lease {
        coordinator: pair("//Node//x"),
        ..good.clone()
    };
    let nobody = Lease {
        miner: pair("//Node//y"),
        ..good.clone()
    };
    for (lease, refusal) in [
        (fault, "rule nothing-owed"),
        (unpaid, "rule nothing-claimed"),
        (stranger, "rule other-key"),
        (nobody, "rule nothing-owed"),
    ] {
        let action = claim(it, &lease);
        it.refused("//Charlie", action, refusal);
    }
}
