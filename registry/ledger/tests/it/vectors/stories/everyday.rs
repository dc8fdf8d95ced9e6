//! A ledger in which everything happens once.

use adit_ledger::Action;
use adit_ledger::registration::{Profile, Registration, Role, Service};
use adit_protocol::{Amount, Hash};

use super::*;

pub fn everyday() -> Story {
    let million = tokens(1_000_000);
    let rich = [
        ("//Alice", million),
        ("//Bob", million),
        ("//Charlie", million),
    ];
    let about =
        "every action and nearly every refusal; blocks in one epoch, epochs without a block";
    let mut it = story("everyday", about, parameters(), &rich);
    it.block(0);
    it.done("//Alice", stake(30_000));
    it.done("//Bob", stake(500_000));
    it.done("//Charlie", stake(100_000));
    before_any_node(&mut it);
    // Nothing but a time, and then at the same time again.
    it.block(20_000);
    it.block(20_000);
    let register = registers(&mut it, Role::Miner, "//Alice", MINER, 20_000);
    it.done("//Alice", register);
    let register = registers(&mut it, Role::Coordinator, "//Bob", COORDINATOR, 200_000);
    it.done("//Bob", register);
    let register = registers(&mut it, Role::Checker, "//Charlie", CHECKER, 50_000);
    it.done("//Charlie", register);
    registrations_that_fail(&mut it);
    it.done("//Eve", faucet(600));
    it.done("//Eve", faucet(400));
    it.refused("//Eve", faucet(1), "faucet");
    it.refused("//Dave", faucet(501), "faucet");
    it.done("//Dave", faucet(500));
    it.block(59_999);
    it.done("//Eve", stake(800));
    it.done("//Eve", vote(MINER, 300));
    it.done("//Eve", vote(COORDINATOR, 200));
    votes_that_fail(&mut it);
    it.done("//Dave", deposit(COORDINATOR, 250));

    it.block(60_000);
    it.done("//Eve", faucet(1_000));
    it.done("//Eve", unstake(100, None));
    it.done("//Eve", unstake(50, Some(MINER)));
    it.done("//Eve", unvote(MINER, 30));
    it.done("//Eve", unvote(COORDINATOR, 200));
    // The same again, so that the amounts are one.
    it.done("//Eve", unstake(7, None));
    it.done("//Bob", withdraw(COORDINATOR, 40));
    it.refused("//Dave", withdraw(COORDINATOR, 1), "not-operator");
    it.refused("//Bob", withdraw(COORDINATOR, 211), "insufficient");
    changes(&mut it);

    // Two epochs in which nothing happened come before this block; what began to unbond in epoch 1
    // is released in epoch 4 and not before.
    it.block(3 * EPOCH_MS);
    it.done("//Alice", transfer("//Ferdie", 12));
    it.refused("//Eve", unstake(700, None), "insufficient");
    let taken = registers(
        &mut it,
        Role::Miner,
        "//Charlie",
        "//Node//miner//2",
        20_000,
    );
    it.refused("//Charlie", taken, "key-taken");
    it.block(4 * EPOCH_MS + 1);
    it.done("//Eve", unstake(100, None));
    it.done("//Alice", deregister(MINER));
    it.refused("//Alice", deregister(MINER), "rule leaving");
    it.refused("//Eve", vote(MINER, 5), "rule leaving");
    let again = Action::Update {
        node: key(MINER),
        profile: profile(Role::Miner),
    };
    it.refused("//Alice", again, "rule leaving");
    let rotate = rotates(&mut it, "//Alice", MINER, "//Node//miner//3", None);
    it.refused("//Alice", rotate, "rule leaving");
    it.done("//Alice", unstake(20_000, Some(MINER)));
    it.done("//Bob", deregister(COORDINATOR));
    it.refused("//Dave", deposit(COORDINATOR, 1), "rule leaving");
    it.done("//Bob", withdraw(COORDINATOR, 210));
    it.block(5 * EPOCH_MS);
    it.done("//Eve", unvote(MINER, 220));
    it.block(7 * EPOCH_MS + 59_999);
    it.done("//Charlie", transfer("//Alice", 3));
    it
}

/// What does not depend on any node.
fn before_any_node(it: &mut Story) {
    let other = |uri: &str| transfer(uri, 5);
    it.refused_with("//Alice", other("//Bob"), "other-network", |t| {
        t.genesis = Hash::ZERO
    });
    it.refused_with("//Alice", other("//Bob"), "number", |t| t.number += 1);
    it.refused_with("//Alice", other("//Bob"), "number", |t| t.number -= 1);
    it.refused_with("//Alice", other("//Bob"), "expired", |t| {
        t.expires_ms -= 600_001
    });
    it.refused_with("//Alice", other("//Bob"), "too-far-ahead", |t| {
        t.expires_ms += 85_800_001
    });
    it.refused_with("//Alice", other("//Bob"), "fee", |t| {
        t.fee = Amount::from_units(9_999_999_999)
    });
    // A fee may be more than the least, and must be there too.
    it.refused_with("//Alice", other("//Bob"), "insufficient", |t| {
        t.fee = tokens(969_999)
    });
    it.refused("//Alice", transfer("//Bob", 970_000), "insufficient");
    it.refused("//Nobody", stake(1), "insufficient");
    it.refused("//Alice", other("//Alice"), "rule to-itself");
    it.refused("//Alice", transfer("//Bob", 0), "nothing");
    it.refused("//Alice", transfer("//Alice", 0), "nothing");
    it.refused("//Alice", faucet(0), "nothing");
    it.refused("//Alice", vote(MINER, 0), "nothing");
    it.refused("//Alice", vote(MINER, 1), "no-node");
    it.refused("//Alice", unvote(MINER, 1), "no-node");
    it.refused("//Alice", deregister(MINER), "no-node");
    it.refused("//Alice", deposit(MINER, 1), "no-node");
    it.refused("//Alice", withdraw(MINER, 1), "no-node");
    it.refused("//Alice", unstake(1, Some(MINER)), "no-node");
    it.refused("//Alice", unstake(30_001, None), "insufficient");
}

fn registrations_that_fail(it: &mut Story) {
    let small = registers(it, Role::Miner, "//Charlie", "//Node//x", 19_999);
    it.refused("//Charlie", small, "bond");
    let much = registers(it, Role::Coordinator, "//Charlie", "//Node//x", 200_000);
    it.refused("//Charlie", much, "insufficient");
    let taken = registers(it, Role::Miner, "//Charlie", MINER, 20_000);
    it.refused("//Charlie", taken, "key-taken");
    let account = registers(it, Role::Miner, "//Charlie", "//Alice", 20_000);
    it.refused("//Charlie", account, "key-taken");
    let same = registers(it, Role::Checker, "//Charlie", "//Node//x", 50_000);
    it.refused("//Charlie", same, "rule name-taken");
    let own = registers(it, Role::Miner, "//Charlie", "//Charlie", 20_000);
    it.refused("//Charlie", own, "rule same-keys");
    let mut with = |role, change: fn(&mut Registration), refusal: &str| {
        let mut registration = registration(it, role, "//Charlie", "//Node//x");
        change(&mut registration);
        registration.proof = proof(it, "//Charlie", "//Node//x", registration.keys);
        let bond = tokens(50_000);
        it.refused(
            "//Charlie",
            Action::Register { registration, bond },
            refusal,
        );
    };
    with(
        Role::Miner,
        |r| r.keys.log = Some(key("//Node//x//log")),
        "rule role-keys",
    );
    with(Role::Coordinator, |r| r.keys.log = None, "rule role-keys");
    with(
        Role::Coordinator,
        |r| r.keys.log = Some(r.keys.node),
        "rule same-keys",
    );
    with(
        Role::Coordinator,
        |r| r.keys.log = Some(key("//Charlie")),
        "rule same-keys",
    );
    with(Role::Checker, |r| r.name = None, "rule name");
    with(
        Role::Miner,
        |r| r.name = Some("miner".to_owned()),
        "rule name",
    );
    with(Role::Coordinator, |r| r.profile.url = None, "rule no-url");
    with(
        Role::Checker,
        |r| r.profile.service = Some(service()),
        "rule no-service",
    );
}

fn service() -> Service {
    Service {
        class: "cpu-8g-f5".to_owned(),
        uptime_ppm: 990_000,
        latency_ms: 300,
    }
}

fn votes_that_fail(it: &mut Story) {
    let half = Amount::from_units(500_000_000_000);
    it.refused(
        "//Eve",
        Action::Vote {
            node: key(CHECKER),
            amount: half,
        },
        "rule small-vote",
    );
    it.refused("//Eve", unvote(CHECKER, 1), "insufficient");
    it.refused("//Eve", unvote(COORDINATOR, 201), "insufficient");
    let nearly = Amount::from_units(199_500_000_000_000);
    it.refused(
        "//Eve",
        Action::Unvote {
            node: key(COORDINATOR),
            amount: nearly,
        },
        "rule small-vote",
    );
    // What is there already may grow by less than the least.
    it.done(
        "//Eve",
        Action::Vote {
            node: key(MINER),
            amount: half,
        },
    );
    it.done(
        "//Eve",
        Action::Unstake {
            amount: half,
            from: Some(key(MINER)),
        },
    );
    it.refused("//Eve", vote(MINER, 301), "insufficient");
    it.refused("//Eve", deposit(MINER, 1), "rule no-coordinator");
    it.refused("//Alice", withdraw(MINER, 1), "rule no-coordinator");
}

/// Profiles and keys.
fn changes(it: &mut Story) {
    let said = Profile {
        commission_ppm: 50_000,
        region: Some("eu-central".to_owned()),
        introduction: Some("Ein Knoten für alle.".to_owned()),
        service: Some(service()),
        ..profile(Role::Miner)
    };
    let update = Action::Update {
        node: key(MINER),
        profile: said,
    };
    it.refused("//Bob", update.clone(), "not-operator");
    it.done("//Alice", update);
    let update = |commission_ppm| Action::Update {
        node: key(COORDINATOR),
        profile: Profile {
            commission_ppm,
            ..profile(Role::Coordinator)
        },
    };
    // Another commission, and the old one again before it counts.
    it.done("//Bob", update(0));
    it.done("//Bob", update(100_000));
    let no_url = Action::Update {
        node: key(CHECKER),
        profile: profile(Role::Miner),
    };
    it.refused("//Charlie", no_url, "rule no-url");
    let rotate = rotates(it, "//Alice", MINER, "//Node//miner//2", None);
    it.done("//Alice", rotate);
    let again = rotates(it, "//Alice", MINER, "//Node//miner//3", None);
    it.refused("//Alice", again, "rule rotating");
    let other_log = Some("//Node//checker//log//2");
    let rotate = rotates(it, "//Charlie", CHECKER, "//Node//checker//2", other_log);
    it.done("//Charlie", rotate);
    let without = rotates(it, "//Bob", COORDINATOR, "//Node//coordinator//2", None);
    it.refused("//Bob", without, "rule role-keys");
    let same = rotates(
        it,
        "//Bob",
        COORDINATOR,
        COORDINATOR,
        Some("//Node//coordinator//log"),
    );
    it.refused("//Bob", same, "key-taken");
    let not_theirs = rotates(
        it,
        "//Alice",
        COORDINATOR,
        "//Node//x",
        Some("//Node//x//log"),
    );
    it.refused("//Alice", not_theirs, "not-operator");
}
