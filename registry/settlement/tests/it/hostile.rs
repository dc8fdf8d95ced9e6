//! Inputs that are damaged or made by an enemy: each mistake has its error, and none is a panic.

use adit_settlement::input::{Receipt, Snapshot};
use adit_settlement::{InputError, InputReader, InputWriter, Output, SettleError, compute, settle};
use proptest::prelude::*;

use super::epochs::{Epoch, Size, made_up};

/// Where the sections of [`base`] begin.
const COORDINATORS: usize = 194;
const MINERS: usize = COORDINATORS + 2 * 100;
const VOTES: usize = MINERS + 2 * 92;

/// A refused input, the error, and why.
pub struct Bad {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub error: &'static str,
    pub why: &'static str,
}

/// Two coordinators and two miners, each with votes, and some receipts.
pub fn base() -> Epoch {
    let size = Size {
        coordinators: 2,
        miners: 2,
        receipts: 6,
    };
    let voted = |epoch: &Epoch| {
        let snapshot = &epoch.snapshot;
        let stakes = (snapshot.coordinators.iter().map(|node| node.stake))
            .chain(snapshot.miners.iter().map(|node| node.stake));
        stakes.clone().all(|stake| stake > 0) && epoch.receipts[1].coordinator == 0
    };
    (0..).map(|seed| made_up(seed, size)).find(voted).unwrap()
}

/// Every way in which an input can be wrong.
pub fn bad() -> Vec<Bad> {
    let epoch = base();
    let good = epoch.bytes();
    let receipts = VOTES + epoch.snapshot.votes.len() * 52;
    let patched = |at: usize, bytes: &[u8]| {
        let mut patched = good.clone();
        patched[at..at + bytes.len()].copy_from_slice(bytes);
        patched
    };
    let swapped = |at: usize, len: usize| {
        let mut swapped = good.clone();
        let (first, second) = swapped[at..].split_at_mut(len);
        first.swap_with_slice(&mut second[..len]);
        swapped
    };
    let million = 1_000_001u32.to_le_bytes();
    let longer = [good.clone(), vec![0]].concat();
    let cut = good[..good.len() - 1].to_vec();
    let mut work = patched(98, &[255; 8]);
    work[COORDINATORS + 95] = 1;
    let bad = |name, bytes, error, why| Bad {
        name,
        bytes,
        error,
        why,
    };
    vec![
        bad("empty", vec![], "truncated", "there is nothing"),
        bad("short", cut, "truncated", "the last byte is missing"),
        bad("long", longer, "trailing", "a byte follows the last row"),
        bad("magic", patched(0, b"A"), "magic", "another magic"),
        bad("version", patched(8, &[2]), "version", "version 2"),
        bad(
            "shares",
            patched(66, &[0]),
            "parameter",
            "the shares do not sum to a million",
        ),
        bad(
            "fee",
            patched(114, &million),
            "parameter",
            "a fee above the payment",
        ),
        bad(
            "saturation",
            patched(130, &[0; 4]),
            "parameter",
            "a saturation of 0",
        ),
        bad(
            "attempt-fee",
            patched(170, &million),
            "parameter",
            "an attempt fee above the price",
        ),
        bad(
            "many-coordinators",
            patched(174, &[1, 0, 1, 0]),
            "too-many",
            "2^16 + 1 coordinators",
        ),
        bad(
            "many-miners",
            patched(178, &[1, 0, 16, 0]),
            "too-many",
            "2^20 + 1 miners",
        ),
        bad(
            "many-votes",
            patched(182, &[1, 0, 0, 1]),
            "too-many",
            "2^24 + 1 votes",
        ),
        bad(
            "many-receipts",
            patched(191, &[1]),
            "too-many",
            "2^40 receipts",
        ),
        bad(
            "coordinators",
            swapped(COORDINATORS, 100),
            "order",
            "coordinators descend",
        ),
        bad("miners", swapped(MINERS, 92), "order", "miners descend"),
        bad("votes", swapped(VOTES, 52), "order", "votes descend"),
        bad(
            "receipts",
            swapped(receipts, 139),
            "order",
            "leaves descend",
        ),
        bad(
            "same-leaf",
            patched(receipts + 139 + 8, &good[receipts + 8..receipts + 16]),
            "order",
            "two receipts have one leaf",
        ),
        bad(
            "commission",
            patched(COORDINATORS + 96, &million),
            "ratio",
            "more than all",
        ),
        bad(
            "quality",
            patched(MINERS + 84, &million),
            "ratio",
            "a quality above one",
        ),
        bad(
            "cut",
            patched(MINERS + 88, &million),
            "ratio",
            "more than all",
        ),
        bad(
            "empty-vote",
            patched(VOTES + 36, &[0; 16]),
            "empty-vote",
            "a vote of 0",
        ),
        bad(
            "stake",
            patched(MINERS + 64, &[1]),
            "stake",
            "not the sum of the votes",
        ),
        bad(
            "voted-node",
            patched(receipts - 52, &[4]),
            "stake",
            "a vote for node 4 of 4, which the last node's stake lacks",
        ),
        bad(
            "coordinator",
            patched(receipts + 5 * 139, &[2]),
            "index",
            "coordinator 2 of 2",
        ),
        bad(
            "miner",
            patched(receipts + 4, &[2, 0, 0, 0]),
            "index",
            "miner 2 of 2",
        ),
        bad(
            "flags",
            patched(receipts + 89, &[8]),
            "flags",
            "bit 3 has no meaning",
        ),
        bad(
            "escrow",
            patched(COORDINATORS + 80, &[255; 16]),
            "overflow",
            "with the emission",
        ),
        bad(
            "work",
            work,
            "overflow",
            "what an escrow of 2^120 can pay for, times c",
        ),
    ]
}

/// The variant of an error in kebab case.
fn name(error: &impl std::fmt::Debug) -> String {
    let mut name = String::new();
    for (at, letter) in format!("{error:?}").chars().enumerate() {
        match letter {
            'a'..='z' => name.push(letter),
            'A'..='Z' => {
                name.extend((at > 0).then_some('-'));
                name.push(letter.to_ascii_lowercase());
            }
            _ => break,
        }
    }
    name
}

#[test]
fn each_mistake_has_its_error_and_nothing_is_written() {
    assert_eq!(base().settle().coordinators.len(), 2);
    for bad in bad() {
        let mut output = Vec::new();
        match settle(&bad.bytes[..], &mut output) {
            Err(SettleError::Input(error)) => {
                assert_eq!(name(&error), bad.error, "{}", bad.name);
                let message = error.to_string();
                // An overflow's hint is that of the sum.
                assert!(message.contains("; hint: "), "{message}");
            }
            other => panic!("{}: {other:?}", bad.name),
        }
        assert!(output.is_empty(), "{}", bad.name);
    }
}

#[test]
fn a_vote_for_a_node_beyond_the_last_is_refused() {
    let mut snapshot = base().snapshot;
    let last = snapshot.votes.last().unwrap().clone();
    snapshot
        .votes
        .push(adit_settlement::input::Vote { node: 4, ..last });
    match InputWriter::new(Vec::new(), snapshot, 0) {
        Err(InputError::Index {
            found: 4, count: 4, ..
        }) => {}
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// What a reader refuses, a writer does not write.
#[test]
fn a_writer_refuses_what_a_reader_would() {
    let refused = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = base().snapshot;
        change(&mut snapshot);
        let mut bytes = Vec::new();
        let error = InputWriter::new(&mut bytes, snapshot, 0)
            .map(|_| ())
            .unwrap_err();
        assert!(bytes.is_empty());
        name(&error)
    };
    assert_eq!(refused(&|s| s.coordinators.reverse()), "order");
    assert_eq!(refused(&|s| s.miners[0].stake += 1), "stake");
    assert_eq!(refused(&|s| s.parameters.shares.miners = 0), "parameter");
    assert_eq!(refused(&|s| s.parameters.emission = u128::MAX), "overflow");
    let Epoch { snapshot, receipts } = base();
    let writer = |count| InputWriter::new(Vec::new(), snapshot.clone(), count).unwrap();
    let mut one = writer(1);
    let far = Receipt {
        coordinator: 2,
        ..receipts[0].clone()
    };
    assert_eq!(name(&one.receipt(&far).unwrap_err()), "index");
    one.receipt(&receipts[0]).unwrap();
    assert_eq!(name(&one.receipt(&receipts[1]).unwrap_err()), "count");
    assert_eq!(name(&writer(1).finish().unwrap_err()), "count");
    let mut two = writer(2);
    two.receipt(&receipts[1]).unwrap();
    assert_eq!(name(&two.receipt(&receipts[0]).unwrap_err()), "order");
}

#[test]
fn a_reader_gives_back_what_was_written() {
    let epoch = base();
    let bytes = epoch.bytes();
    let mut reader = InputReader::new(&bytes[..]).unwrap();
    assert_eq!(reader.snapshot(), &epoch.snapshot);
    let mut receipts = Vec::new();
    while let Some(receipt) = reader.next_receipt().unwrap() {
        receipts.push(receipt);
    }
    assert_eq!(receipts, epoch.receipts);
    assert!(reader.next_receipt().unwrap().is_none());
}

/// Prices, fuel and fees of the largest numbers there are, which anyone can write into a task or a
/// receipt, are at most not paid.
#[test]
fn extreme_receipts_refuse_no_input() {
    let mut epoch = base();
    for receipt in &mut epoch.receipts {
        (receipt.price, receipt.attempt_fee) = (u128::MAX, u128::MAX);
        (receipt.fuel, receipt.nn_units, receipt.replicas) = (u64::MAX, u64::MAX, 0);
        (receipt.epoch, receipt.accepted) = (40, true);
    }
    let surplus = epoch.settle();
    for (at, receipt) in epoch.receipts.iter_mut().enumerate() {
        (receipt.replicas, receipt.status, receipt.task) = (255, 0, [at as u8; 32]);
    }
    let short = epoch.settle();
    assert!(short.totals.spent > surplus.totals.spent);
    let escrows: u128 = (epoch.snapshot.coordinators.iter())
        .map(|node| node.escrow)
        .sum();
    assert_eq!(short.totals.spent, escrows);
    epoch.receipts[0].epoch = u64::MAX;
    epoch.receipts[1].status = 77;
    epoch.settle();
    // An epoch 0 has none before it.
    epoch.snapshot.parameters.epoch = 0;
    assert_eq!(epoch.settle().totals.counts.paid, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_inputs_never_panic(
        seed in 0u64..50,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
    ) {
        let size = Size { coordinators: 2, miners: 3, receipts: 8 };
        let mut bytes = made_up(seed, size).bytes();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        if let Ok(output) = compute(&bytes[..]) {
            prop_assert_eq!(output.check(), Ok(()));
        }
    }

    #[test]
    fn inputs_that_are_cut_off_are_refused(seed in 0u64..50, at: prop::sample::Index) {
        let size = Size { coordinators: 2, miners: 3, receipts: 8 };
        let bytes = made_up(seed, size).bytes();
        let error = compute(&bytes[..at.index(bytes.len())]).unwrap_err();
        prop_assert!(matches!(error, SettleError::Input(InputError::Truncated { .. })), "{}", error);
    }

    #[test]
    fn damaged_outputs_never_panic(
        seed in 0u64..50,
        at: prop::sample::Index,
        bit in 0u8..8,
        cut: bool,
    ) {
        let size = Size { coordinators: 2, miners: 3, receipts: 8 };
        let mut bytes = Vec::new();
        made_up(seed, size).settle().write(&mut bytes).unwrap();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
            prop_assert!(Output::read(&bytes[..]).is_err());
        } else {
            bytes[at] ^= 1 << bit;
            if let Ok(output) = Output::read(&bytes[..]) {
                prop_assert_eq!(output.check(), Ok(()));
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        prop_assert!(compute(&bytes[..]).is_err());
        prop_assert!(Output::read(&bytes[..]).is_err());
    }
}
