//! What happens in the ledgers: the smaller ones, and what all are told with.

mod components;
mod everyday;
mod governed;
mod late;
mod punished;
mod rewards;

use adit_ledger::genesis::Allocation;
use adit_ledger::registration::{NodeKeys, Possession, Profile, Registration, Role};
use adit_ledger::rules::{GovernanceRules, RewardRules, SlashingRules};
use adit_ledger::transaction::Attestation;
use adit_ledger::{Action, LedgerGenesis, Parameters};
use adit_protocol::network::genesis::Genesis;
use adit_protocol::{Amount, Document as _, Hash};

use super::ledgers::Story;
use super::transactions::{key, pair};

const MINER: &str = "//Node//miner";
const COORDINATOR: &str = "//Node//coordinator";
const CHECKER: &str = "//Node//checker";
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
        rewards: RewardRules {
            // A unit above two thirds: two of three equal checkers are too few.
            quorum_ppm: 666_667,
            ..RewardRules::default()
        },
        slashing: SlashingRules::default(),
        governance: GovernanceRules::default(),
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

/// What checkers sign of a document.
fn attested(
    it: &mut Story,
    by: &[&str],
    context: &'static [u8],
    document: &[u8],
) -> Vec<Attestation> {
    let signed = |uri: &&str| Attestation {
        checker: key(uri),
        signature: pair(uri).sign(context, document, &mut it.rng),
    };
    let mut all: Vec<_> = by.iter().map(signed).collect();
    all.sort_by_key(|one| one.checker);
    all
}

fn deregister(node: &str) -> Action {
    Action::Deregister { node: key(node) }
}

/// The first is the one that broken logs are made of.
pub fn all() -> Vec<Story> {
    vec![
        everyday::everyday(),
        large(),
        quiet(),
        many_votes(),
        rewards::rewards(),
        governed::governed(),
        punished::punished(),
        late::late(),
        components::components(),
    ]
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
    // It would be as long as that of all others together.
    it.tells_state = false;
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
