//! What happens in the ledgers.

use adit_ledger::genesis::Allocation;
use adit_ledger::registration::{NodeKeys, Possession, Profile, Registration, Role, Service};
use adit_ledger::{Action, LedgerGenesis, Parameters};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::{Amount, Document as _, Hash};

use super::ledgers::Story;
use super::transactions::{key, pair};

/// Length of an epoch in milliseconds.
const EPOCH_MS: u64 = 60_000;

/// The accounts that appear, and are proven.
pub const PEOPLE: [&str; 6] = [
    "//Alice",
    "//Bob",
    "//Charlie",
    "//Dave",
    "//Eve",
    "//Ferdie",
];

fn tokens(tokens: u64) -> Amount {
    Amount::tokens(tokens)
}

fn parameters() -> Parameters {
    Parameters {
        fee_min: Amount::from_units(10_000_000_000),
        miner_stake_min: tokens(20_000),
        coordinator_stake_min: tokens(200_000),
        checker_stake_min: tokens(50_000),
        vote_min: tokens(1),
        unbonding_epochs: 2,
        faucet_account: tokens(1_000),
        faucet_epoch: tokens(1_500),
        engines: vec![Hash::of(b"engine")],
    }
}

fn story(
    name: &'static str,
    about: &'static str,
    parameters: Parameters,
    rich: &[(&str, Amount)],
) -> Story {
    let allocation = |(uri, amount): &(&str, Amount)| Allocation {
        account: key(uri),
        amount: *amount,
    };
    let mut allocations: Vec<_> = rich.iter().map(allocation).collect();
    allocations.sort_by_key(|one| one.account);
    let (miner, coordinator) = (parameters.miner_stake_min, parameters.coordinator_stake_min);
    let ledger = LedgerGenesis {
        log: key("//Registry"),
        parameters,
        allocations,
    };
    let network = Genesis {
        name: format!("vectors-{name}"),
        created_ms: 1_700_000_000_000,
        authority: *key("//Authority").as_bytes(),
        epoch_ms: EPOCH_MS,
        miner_stake_min: miner.units(),
        coordinator_stake_min: coordinator.units(),
        saturation: 50,
        development: true,
        ledger: Some(ledger.hash()),
    };
    Story::new(name, about, network, ledger)
}

fn profile(role: Role) -> Profile {
    Profile {
        commission_ppm: 100_000,
        url: (role != Role::Miner).then(|| "https://node.example:4430".to_owned()),
        region: None,
        introduction: None,
        service: None,
    }
}

/// A registration with what its role needs.
fn registration(story: &mut Story, role: Role, operator: &str, node: &str) -> Registration {
    let keys = NodeKeys {
        node: key(node),
        log: (role != Role::Miner).then(|| key(&format!("{node}//log"))),
    };
    Registration {
        role,
        keys,
        name: (role == Role::Checker).then(|| "checker.example".to_owned()),
        profile: profile(role),
        proof: proof(story, operator, node, keys),
    }
}

fn proof(story: &mut Story, operator: &str, node: &str, keys: NodeKeys) -> [u8; 64] {
    let possession = Possession {
        genesis: story.network.hash(),
        operator: key(operator),
        keys,
    };
    possession.sign(&pair(node), &mut story.rng)
}

fn registers(story: &mut Story, role: Role, operator: &str, node: &str, bond: u64) -> Action {
    Action::Register {
        registration: registration(story, role, operator, node),
        bond: tokens(bond),
    }
}

fn rotates(story: &mut Story, operator: &str, node: &str, new: &str, log: Option<&str>) -> Action {
    let keys = NodeKeys {
        node: key(new),
        log: log.map(key),
    };
    Action::RotateKey {
        node: key(node),
        keys,
        proof: proof(story, operator, new, keys),
    }
}

/// Short names for actions on a node.
fn vote(node: &str, amount: u64) -> Action {
    Action::Vote {
        node: key(node),
        amount: tokens(amount),
    }
}

fn unvote(node: &str, amount: u64) -> Action {
    Action::Unvote {
        node: key(node),
        amount: tokens(amount),
    }
}

fn unstake(amount: u64, from: Option<&str>) -> Action {
    Action::Unstake {
        amount: tokens(amount),
        from: from.map(key),
    }
}

fn stake(amount: u64) -> Action {
    Action::Stake {
        amount: tokens(amount),
    }
}

fn faucet(amount: u64) -> Action {
    Action::Faucet {
        amount: tokens(amount),
    }
}

fn transfer(to: &str, amount: u64) -> Action {
    Action::Transfer {
        to: key(to),
        amount: tokens(amount),
    }
}

fn deposit(node: &str, amount: u64) -> Action {
    Action::Deposit {
        node: key(node),
        amount: tokens(amount),
    }
}

fn withdraw(node: &str, amount: u64) -> Action {
    Action::Withdraw {
        node: key(node),
        amount: tokens(amount),
    }
}

fn deregister(node: &str) -> Action {
    Action::Deregister { node: key(node) }
}

/// The first is the one that broken logs are made of.
pub fn all() -> Vec<Story> {
    vec![everyday(), large(), quiet(), many_votes()]
}

const MINER: &str = "//Node//miner";
const COORDINATOR: &str = "//Node//coordinator";
const CHECKER: &str = "//Node//checker";

fn everyday() -> Story {
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

/// Amounts above 64 bits, up to all that can exist; no fees, no unbonding time, no least vote.
fn large() -> Story {
    let parameters = Parameters {
        fee_min: Amount::ZERO,
        vote_min: Amount::ZERO,
        unbonding_epochs: 0,
        faucet_account: Amount::SUPPLY_MAX,
        faucet_epoch: Amount::SUPPLY_MAX,
        ..parameters()
    };
    let billion = 1_000_000_000;
    // Together all that can exist but for 5 units.
    let rest = Amount::from_units(4 * u128::from(billion) * 1_000_000_000_000 - 5);
    let rich = [("//Alice", tokens(996 * billion)), ("//Bob", rest)];
    let about = "amounts above 64 bits, up to all that can exist; no fees, no unbonding time";
    let mut it = story("large", about, parameters, &rich);
    let small = Amount::from_units;
    it.block(1);
    it.done("//Alice", stake(900 * billion));
    let register = registers(
        &mut it,
        Role::Coordinator,
        "//Alice",
        COORDINATOR,
        500 * billion,
    );
    it.done("//Alice", register);
    it.done("//Bob", deposit(COORDINATOR, 3 * billion));
    it.done("//Charlie", Action::Faucet { amount: small(2) });
    it.refused("//Dave", Action::Faucet { amount: small(4) }, "faucet");
    it.done("//Charlie", Action::Faucet { amount: small(3) });
    it.refused("//Charlie", Action::Faucet { amount: small(1) }, "faucet");
    it.done("//Charlie", Action::Stake { amount: small(5) });
    it.done(
        "//Charlie",
        Action::Vote {
            node: key(COORDINATOR),
            amount: small(1),
        },
    );
    it.refused(
        "//Alice",
        Action::Stake {
            amount: small(u128::MAX),
        },
        "insufficient",
    );
    it.done("//Alice", unstake(100 * billion, None));
    it.done("//Alice", unvote(COORDINATOR, 450 * billion));
    it.done("//Alice", withdraw(COORDINATOR, 2 * billion));
    it.block(EPOCH_MS);
    it.done("//Alice", unstake(50 * billion, Some(COORDINATOR)));
    it.done("//Alice", unstake(400 * billion, None));
    it.done(
        "//Charlie",
        Action::Unvote {
            node: key(COORDINATOR),
            amount: small(1),
        },
    );
    it
}

/// No node and nothing that unbonds: the accounts are the last entries of the tree.
fn quiet() -> Story {
    let rich = [("//Alice", tokens(10)), ("//Bob", tokens(0))];
    let about = "transfers alone: accounts are the last entries of the state";
    let mut it = story("quiet", about, parameters(), &rich);
    it.block(5);
    it.done("//Alice", transfer("//Dave", 3));
    it.block(EPOCH_MS * 1_000);
    it.done("//Dave", transfer("//Bob", 1));
    it.done("//Dave", stake(1));
    it.refused("//Bob", transfer("//Alice", 1), "insufficient");
    it
}

/// As many nodes as an account can vote for.
fn many_votes() -> Story {
    let parameters = Parameters {
        miner_stake_min: tokens(1),
        ..parameters()
    };
    let about = "an account with votes for 64 nodes, which are all that it can have";
    let mut it = story("many-votes", about, parameters, &[("//Alice", tokens(100))]);
    it.block(0);
    it.done("//Alice", stake(80));
    for number in 0..64 {
        let register = registers(
            &mut it,
            Role::Miner,
            "//Alice",
            &format!("//Node//{number}"),
            1,
        );
        it.done("//Alice", register);
    }
    let register = registers(&mut it, Role::Miner, "//Alice", "//Node//64", 1);
    it.refused("//Alice", register, "rule many-votes");
    it.block(EPOCH_MS);
    it.done("//Alice", vote("//Node//3", 1));
    it.done("//Alice", unvote("//Node//5", 1));
    let register = registers(&mut it, Role::Miner, "//Alice", "//Node//64", 1);
    it.done("//Alice", register);
    it.refused("//Alice", vote("//Node//5", 1), "rule many-votes");
    it
}
