//! A ledger whose epochs are closed and settled, and whose accounts claim what they earned.

use adit_ledger::Action;
use adit_ledger::rewards::{Earned, RewardTree, Settlement};
use adit_ledger::transaction::{Attestation, Closure, Cosigned};
use adit_protocol::keys::Keypair;
use adit_protocol::log::checkpoint::Checkpoint;
use adit_protocol::log::key::KeyKind;
use adit_protocol::log::origin::Origin;
use adit_protocol::signed::Signable as _;

use super::*;
use crate::support::settlement_of;

/// Checkers with a sixth, a third and half of the stake.
const CHECKERS: [(&str, &str, u64); 3] = [
    ("//Checker//1", "checker.example/1", 50_000),
    ("//Checker//2", "checker.example/2", 100_000),
    ("//Checker//3", "checker.example/3", 150_000),
];
/// Two of them that are a quorum.
pub(super) const QUORUM: [usize; 2] = [1, 2];
/// A second coordinator.
const OTHER: &str = "//Node//coordinator//b";
/// Who earns.
const MINERS: [&str; 3] = ["//Dave", "//Eve", "//Ferdie"];

fn cosigning_key(checker: usize) -> Keypair {
    pair(&format!("{}//log", CHECKERS[checker].0))
}

/// The end of a coordinator's log in an epoch, as the log of a node key and checkers sign it.
fn closure(
    it: &mut Story,
    (origin, log): (&str, &str),
    (epoch, size): (u64, u64),
    kind: KeyKind,
    checkers: &[usize],
) -> Closure {
    let root = Hash::of(format!("{origin} {size}").as_bytes());
    closure_of(it, (origin, log), (epoch, size, root), kind, checkers)
}

/// As [`closure`], of a log with this root.
pub(super) fn closure_of(
    it: &mut Story,
    (origin, log): (&str, &str),
    (epoch, size, root): (u64, u64, Hash),
    kind: KeyKind,
    checkers: &[usize],
) -> Closure {
    let checkpoint = Checkpoint {
        origin: Origin::new(&it.network.hash(), &pair(origin).public()).name(),
        size,
        root,
    };
    let signed = checkpoint.sign(&pair(log), &mut it.rng);
    let time_s = it.state.head().time_ms / 1000;
    let cosigned = |checker: &usize| {
        let name = CHECKERS[*checker].1;
        let (parsed, key) = (name.parse().unwrap(), cosigning_key(*checker));
        let line = signed.cosign(kind, &parsed, &key, time_s, &mut it.rng);
        Cosigned {
            name: name.to_owned(),
            time_s,
            signature: line.unwrap().signature[8..].try_into().unwrap(),
        }
    };
    let signature = &signed.note().signatures()[0].signature;
    Closure {
        coordinator: key(COORDINATOR),
        epoch,
        size,
        root,
        signature: signature.as_slice().try_into().unwrap(),
        cosignatures: checkers.iter().map(cosigned).collect(),
    }
}

pub(super) const FIRST_LOG: (&str, &str) = (COORDINATOR, "//Node//coordinator//log");
const SECOND_LOG: (&str, &str) = ("//Node//coordinator//2", "//Node//coordinator//2//log");

fn closes(it: &mut Story, log: (&str, &str), epoch: u64, size: u64) -> Action {
    let closure = closure(it, log, (epoch, size), KeyKind::Mirror, &QUORUM);
    Action::CloseEpoch(Box::new(closure))
}

/// The settlement of an epoch by all rules.
pub(super) fn settlement(
    it: &Story,
    epoch: u64,
    spent: u64,
    before: &[Earned],
    to: &[&str],
) -> (Settlement, RewardTree) {
    let charges = match spent {
        0 => Vec::new(),
        _ => vec![(key(COORDINATOR), tokens(spent))],
    };
    let to = to.iter().map(|uri| key(uri)).collect();
    settlement_of(&it.state, epoch, charges, before, to)
}

fn settles(it: &mut Story, settlement: &Settlement, checkers: &[usize]) -> Action {
    let checkers: Vec<_> = checkers.iter().map(|number| CHECKERS[*number].0).collect();
    let attestations = attested(it, &checkers, Settlement::CONTEXT, &settlement.to_cbor());
    Action::Settle {
        settlement: Box::new(settlement.clone()),
        attestations,
    }
}

pub(super) fn settled(it: &mut Story, settlement: &Settlement) {
    let action = settles(it, settlement, &QUORUM);
    it.done("//Alice", action);
}

fn not_settled(it: &mut Story, settlement: &Settlement, refusal: &str) {
    let action = settles(it, settlement, &QUORUM);
    it.refused("//Alice", action, refusal);
}

fn claims(tree: &RewardTree, of: &str) -> Action {
    let (earned, included) = tree.prove(&key(of)).unwrap();
    Action::Claim {
        total: earned.total,
        index: included.index,
        proof: included.proof,
    }
}

pub fn rewards() -> Story {
    let million = tokens(1_000_000);
    let rich = [
        ("//Alice", million),
        ("//Bob", million),
        ("//Charlie", million),
    ];
    let about = "epochs are closed, settled, corrected and claimed; a log whose key changes; escrow that is owed";
    let mut it = story("rewards", about, parameters(), &rich);
    founding(&mut it);

    it.block(EPOCH_MS);
    let (first, _) = settlement(&it, 0, 1_000, &[], &MINERS);
    not_settled(&mut it, &first, "rule nothing-closed");
    closings_that_fail(&mut it);
    let close = closes(&mut it, FIRST_LOG, 0, 5);
    it.done("//Alice", close.clone());
    it.refused("//Alice", close, "rule closed");
    settlements_that_fail(&mut it, &first);
    settled(&mut it, &first);
    not_settled(&mut it, &first, "rule settled-so");
    it.done("//Bob", withdraw(COORDINATOR, 4_000));
    let rotate = rotates(
        &mut it,
        "//Bob",
        COORDINATOR,
        SECOND_LOG.0,
        Some(SECOND_LOG.1),
    );
    it.done("//Bob", rotate);

    // The log of epoch 1 is that of the key of epoch 1; and the settlement of epoch 0 was wrong.
    it.block(2 * EPOCH_MS);
    let new = closes(&mut it, SECOND_LOG, 1, 9);
    it.refused("//Alice", new, "rule log-signature");
    let close = closes(&mut it, FIRST_LOG, 1, 9);
    it.done("//Alice", close);
    let (mut right, tree) = settlement(&it, 0, 600, &[], &MINERS[..2]);
    not_settled(&mut it, &right, "rule replaces");
    right.replaces = Some(first.hash());
    settled(&mut it, &right);
    not_settled(&mut it, &first, "rule replaces");

    it.block(3 * EPOCH_MS + 5);
    it.refused("//Dave", claims(&tree, "//Dave"), "rule no-rewards");
    let close = closes(&mut it, SECOND_LOG, 2, 3);
    it.done("//Alice", close);
    let (early, _) = settlement(&it, 2, 10, &[], &MINERS);
    not_settled(&mut it, &early, "rule order");
    let (second, tree_2) = settlement(&it, 1, 500, tree.earned(), &MINERS);
    settled(&mut it, &second);
    it.done("//Alice", stake(200_000));
    let register = registers(&mut it, Role::Coordinator, "//Alice", OTHER, 200_000);
    it.done("//Alice", register);
    let mut late = right.clone();
    late.replaces = Some(right.hash());
    not_settled(&mut it, &late, "epoch");

    // What began to unbond in epoch 1 would be free, and epoch 2 is not settled.
    it.block(4 * EPOCH_MS);
    let smaller = closes(&mut it, SECOND_LOG, 3, 2);
    it.refused("//Alice", smaller, "rule smaller-log");
    claims_that_fail(&mut it, &tree);
    it.done("//Dave", claims(&tree, "//Dave"));
    it.refused("//Dave", claims(&tree, "//Dave"), "nothing");
    // More than is in escrow: the rest is taken from what unbonds.
    let (third, tree_3) = settlement(&it, 2, 6_000, tree_2.earned(), &["//Ferdie", "//Alice"]);
    settled(&mut it, &third);
    it.done("//Bob", deregister(COORDINATOR));
    let (fourth, _) = settlement(&it, 3, 0, tree_3.earned(), &[]);
    not_settled(&mut it, &fourth, "rule nothing-closed");
    let close = closes(&mut it, SECOND_LOG, 3, 4);
    it.done("//Alice", close);
    // Nobody waits for one that is leaving.
    not_settled(&mut it, &fourth, "rule early");
    it.done("//Alice", deregister(OTHER));
    settled(&mut it, &fourth);
    let mut late = closure(&mut it, SECOND_LOG, (3, 4), KeyKind::Mirror, &QUORUM);
    late.coordinator = key(OTHER);
    let late = Action::CloseEpoch(Box::new(late));
    it.refused("//Alice", late, "rule already-settled");

    it.block(5 * EPOCH_MS);
    it.refused("//Eve", claims(&tree, "//Eve"), "rule claim-proof");
    it.done("//Eve", claims(&tree_2, "//Eve"));
    let close = closes(&mut it, SECOND_LOG, 4, 4);
    it.done("//Bob", close);
    it.block(6 * EPOCH_MS + 1);
    it.done("//Dave", claims(&tree_3, "//Dave"));
    it.done("//Ferdie", claims(&tree_3, "//Ferdie"));
    it
}

pub(super) fn founding(it: &mut Story) {
    it.block(0);
    it.done("//Bob", stake(500_000));
    it.done("//Charlie", stake(300_000));
    let register = registers(it, Role::Coordinator, "//Bob", COORDINATOR, 200_000);
    it.done("//Bob", register);
    for (node, name, bond) in CHECKERS {
        let mut registration = registration(it, Role::Checker, "//Charlie", node);
        registration.name = Some(name.to_owned());
        let bond = tokens(bond);
        it.done("//Charlie", Action::Register { registration, bond });
    }
    it.done("//Alice", deposit(COORDINATOR, 10_000));
    let own = closes(it, FIRST_LOG, 0, 5);
    it.refused("//Alice", own, "epoch");
    let (own, _) = settlement(it, 0, 0, &[], &[]);
    not_settled(it, &own, "epoch");
    let nothing = Action::Claim {
        total: tokens(1),
        index: 0,
        proof: Vec::new(),
    };
    it.refused("//Alice", nothing, "rule no-rewards");
}

fn closings_that_fail(it: &mut Story) {
    let mirror = KeyKind::Mirror;
    let refused = |it: &mut Story, closure: Closure, refusal: &str| {
        it.refused("//Alice", Action::CloseEpoch(Box::new(closure)), refusal);
    };
    for checkers in [&[][..], &[0, 1], &[0, 2]] {
        let few = closure(it, FIRST_LOG, (0, 5), mirror, checkers);
        refused(it, few, "quorum");
    }
    let witnessed = closure(it, FIRST_LOG, (0, 5), KeyKind::Cosignature, &QUORUM);
    refused(it, witnessed, "rule checker-signature");
    let other_key = (COORDINATOR, "//Node//coordinator//2//log");
    for log in [other_key, SECOND_LOG] {
        let other = closure(it, log, (0, 5), mirror, &QUORUM);
        refused(it, other, "rule log-signature");
    }
    let own = closure(it, FIRST_LOG, (1, 5), mirror, &QUORUM);
    refused(it, own, "epoch");
    let good = closure(it, FIRST_LOG, (0, 5), mirror, &QUORUM);
    let mut with = |change: fn(&mut Closure), refusal| {
        let mut closure = good.clone();
        change(&mut closure);
        refused(it, closure, refusal);
    };
    with(|one| one.size = 6, "rule log-signature");
    with(|one| one.size = u64::MAX, "rule log-signature");
    with(
        |one| one.cosignatures[1].time_s += 1,
        "rule checker-signature",
    );
    with(
        |one| one.cosignatures[1].time_s = u64::MAX,
        "rule checker-signature",
    );
    with(
        |one| one.cosignatures[0].name = CHECKERS[0].1.to_owned(),
        "rule checker-signature",
    );
    with(
        |one| one.cosignatures[0].name = "a".to_owned(),
        "rule no-checker",
    );
    with(
        |one| one.coordinator = key(CHECKERS[0].0),
        "rule no-coordinator",
    );
    with(|one| one.coordinator = key("//Nobody"), "no-node");
}

fn settlements_that_fail(it: &mut Story, good: &Settlement) {
    for checkers in [&[][..], &[0, 1], &[0, 2]] {
        let few = settles(it, good, checkers);
        it.refused("//Alice", few, "quorum");
    }
    let with = |it: &mut Story, change: &dyn Fn(&mut Settlement), refusal: &str| {
        let mut other = good.clone();
        change(&mut other);
        not_settled(it, &other, refusal);
    };
    let units = Amount::from_units;
    let more = |amount: Amount, by: u128| units(amount.units() + by);
    let less = |amount: Amount, by: u128| units(amount.units() - by);
    with(it, &|one| one.paid = more(one.paid, 1), "rule sums");
    with(it, &|one| one.minted = less(one.minted, 1), "rule sums");
    with(it, &|one| one.paid = units(u128::MAX), "rule sums");
    with(
        it,
        &|one| {
            // The treasury takes what was earned.
            one.paid = less(one.paid, one.minted.units() - one.treasury.units() + 1);
            one.minted = less(one.treasury, 1);
        },
        "rule sums",
    );
    with(
        it,
        &|one| {
            one.paid = less(one.paid, tokens(951).units());
            one.charges[0].burned = tokens(1_001);
        },
        "rule sums",
    );
    // Two units more are allowed for rounding, and one to the treasury.
    with(
        it,
        &|one| {
            one.minted = more(one.minted, 3);
            one.paid = more(one.paid, 3);
        },
        "rule emission",
    );
    with(
        it,
        &|one| {
            one.treasury = more(one.treasury, 2);
            one.paid = less(one.paid, 2);
        },
        "rule emission",
    );
    with(
        it,
        &|one| {
            one.charges[0].spent = tokens(9_999);
            one.charges[0].burned = tokens(9_999);
            one.minted = more(tokens(10_000), 1);
            one.paid = more(tokens(9_500), 1);
        },
        "rule emission",
    );
    with(
        it,
        &|one| one.charges[0].node = key(CHECKERS[0].0),
        "rule no-coordinator",
    );
    with(it, &|one| one.charges[0].node = key("//Nobody"), "no-node");
    with(it, &|one| one.epoch = 1, "epoch");
    with(it, &|one| one.replaces = Some(Hash::ZERO), "rule replaces");
    let (beyond, _) = settlement(it, 0, 10_001, &[], &MINERS);
    not_settled(it, &beyond, "insufficient");
    // Signed for another one, and by a node that is no checker.
    let mut other = good.clone();
    other.output = Hash::ZERO;
    let action = settles(it, &other, &QUORUM);
    let of_other = |good: &Settlement| match action.clone() {
        Action::Settle { attestations, .. } => Action::Settle {
            settlement: Box::new(good.clone()),
            attestations,
        },
        _ => unreachable!(),
    };
    it.refused("//Alice", of_other(good), "rule checker-signature");
    let mut action = settles(it, good, &[]);
    if let Action::Settle { attestations, .. } = &mut action {
        attestations.push(Attestation {
            checker: key(COORDINATOR),
            signature: [0; 64],
        });
    }
    it.refused("//Alice", action, "rule no-checker");
}

fn claims_that_fail(it: &mut Story, tree: &RewardTree) {
    it.refused("//Eve", claims(tree, "//Dave"), "rule claim-proof");
    let mut with = |change: fn(&mut Amount, &mut u64, &mut Vec<Hash>)| {
        let Action::Claim {
            mut total,
            mut index,
            mut proof,
        } = claims(tree, "//Dave")
        else {
            unreachable!()
        };
        change(&mut total, &mut index, &mut proof);
        let claim = Action::Claim {
            total,
            index,
            proof,
        };
        it.refused("//Dave", claim, "rule claim-proof");
    };
    with(|total, _, _| *total = Amount::from_units(total.units() + 1));
    with(|total, _, _| *total = Amount::from_units(u128::MAX));
    with(|_, index, _| *index ^= 1);
    with(|_, index, _| *index = u64::MAX);
    with(|_, _, proof| proof.clear());
    with(|_, _, proof| proof.push(Hash::ZERO));
    with(|_, _, proof| proof[0] = Hash::ZERO);
    it.refused_with("//Dave", claims(tree, "//Dave"), "insufficient", |t| {
        t.fee = tokens(1_000);
    });
}
