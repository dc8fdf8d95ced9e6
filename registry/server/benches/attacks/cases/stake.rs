//! Stake that is divided, large, idle, barely used or late.

use super::super::model::{Epoch, Node, Owner, Setting, TOKEN};
use super::Case;

/// One stake as several nodes.
pub fn splits(setting: &Setting) -> Vec<Case> {
    let rules = &setting.rules;
    let saturation = u128::from(rules.rewards.saturation);
    let mut cases = Vec::new();
    let as_miners = |stake: u128, count: u128| {
        let mut epoch = Epoch::new(setting);
        for _ in 0..count {
            epoch.miner(Node::own(stake / count, 1));
        }
        epoch.draw()
    };
    // So many clients that slices are bound by stake, where it matters.
    let load = 1_000_000 * TOKEN;
    let as_coordinators = |stake: u128, count: u128| {
        let mut epoch = Epoch::new(setting);
        for _ in 0..count {
            epoch.coordinator(Node::own(stake / count, load / count));
        }
        epoch.draw()
    };
    const PAYS: &str = "stake above saturation counts again as another node";
    for (times, counts) in [(1, [2, 10, saturation]), (2, [2, 10, 2 * saturation])] {
        for count in counts {
            let over = ["", " saturates one", " would saturate 2"][times as usize];
            let mut push = |what: &str, attack: Epoch, one: Epoch| {
                let how = format!("a stake that{over}, as {count} {what} and not as 1");
                let case = Case::new("split identities", how, attack, one);
                cases.push(match times {
                    1 => case,
                    _ => case.pays(PAYS),
                });
            };
            let stake = times * saturation * rules.miner_stake_min.units();
            push("miners", as_miners(stake, count), as_miners(stake, 1));
            let stake = times * saturation * rules.coordinator_stake_min.units();
            push(
                "coordinators",
                as_coordinators(stake, count),
                as_coordinators(stake, 1),
            );
        }
    }
    cases
}

/// The attacker votes for the honest nodes that `of` finds, by their stake, and does nothing else.
fn voting(setting: &Setting, stake: u128, of: fn(&mut Epoch) -> &mut Vec<Node>) -> Epoch {
    let mut epoch = Epoch::new(setting);
    let nodes = of(&mut epoch);
    let all: u128 = nodes.iter().map(Node::stake).sum();
    for node in nodes {
        let vote = stake * (node.stake() / TOKEN) / (all / TOKEN);
        node.votes.push((Owner::Attacker, vote));
    }
    epoch.draw()
}

fn miners(epoch: &mut Epoch) -> &mut Vec<Node> {
    &mut epoch.miners
}

fn coordinators(epoch: &mut Epoch) -> &mut Vec<Node> {
    &mut epoch.coordinators
}

/// A miner with one cheap task for each coordinator, and with no more or also with its share.
fn one_task_each(setting: &Setting, stake: u128, load: u128) -> Epoch {
    let mut epoch = Epoch::new(setting);
    let miner = epoch.miner(Node::own(stake, load));
    for coordinator in 0..epoch.coordinators.len() {
        let task = epoch.junk(coordinator, miner, TOKEN / 1_000);
        (task.own, task.run) = (false, true);
    }
    epoch.draw()
}

fn cheap(setting: &Setting, stake: u128) -> Epoch {
    one_task_each(setting, stake, 0)
}

fn mining(setting: &Setting, stake: u128) -> Epoch {
    one_task_each(setting, stake, 1)
}

/// Much stake and hardly any work.
pub fn whales(setting: &Setting) -> Vec<Case> {
    let base = Epoch::new(setting);
    let mut cases = Vec::new();
    for stake_ppm in [100_000, 300_000, 600_000] {
        let of_setting = Setting {
            stake_ppm,
            ..setting.clone()
        };
        let epoch = Epoch {
            setting: of_setting,
            ..base.clone()
        };
        let percent = stake_ppm / 10_000;
        let stake = epoch.stake(&base.miners);
        let how = format!(
            "a miner with {percent}% of the stake, a task of 0.001 tokens for each coordinator"
        );
        let rides = cheap(setting, stake);
        let honest = mining(setting, stake);
        cases.push(Case::new("whales", how, rides, honest).or(voting(setting, stake, miners)));

        let stake = epoch.stake(&base.coordinators);
        let mut whale = Epoch::new(setting);
        let coordinator = whale.coordinator(Node::own(stake, 0));
        let least = setting.rules.miner_stake_min.units();
        let miner = whale.miner(Node::own(least, 0));
        let nothing = whale.clone().draw();
        whale.junk(coordinator, miner, TOKEN);
        let how = format!(
            "a coordinator with {percent}% of the stake, 1 task of 1 token on one's own miner"
        );
        let case = Case::new("whales", how, whale.draw(), nothing);
        cases.push(case.or(voting(setting, stake, coordinators)));
    }
    cases
}

/// Coordinators that only have stake.
pub fn idle(setting: &Setting) -> Vec<Case> {
    let stake = Epoch::new(setting).stake(&Epoch::new(setting).coordinators);
    let nothing = Epoch::new(setting).draw();
    let mut lazy = Epoch::new(setting);
    let at = lazy.coordinator(Node::own(stake, 0));
    let mut trivial = lazy.clone();
    trivial.junk(at, 0, TOKEN);
    // Somebody else's, with no tasks, and the attacker's votes.
    let mut voter = Epoch::new(setting);
    voter.coordinators[0].load = 0;
    voter.coordinators[0].votes.push((Owner::Attacker, stake));
    let votes = || voting(setting, stake, coordinators);
    let case =
        |how, epoch: Epoch| Case::new("idle coordinators", how, epoch.draw(), nothing.clone());
    vec![
        case("no task", lazy).or(votes()),
        case("1 task of 1 token on another's miner", trivial).or(votes()),
        case("voting for one with no task", voter).or(votes()),
    ]
}

/// The least that earns the part by stake.
pub fn riding(setting: &Setting) -> Vec<Case> {
    const NAME: &str = "free riding";
    let mut cases = Vec::new();
    let least = setting.rules.miner_stake_min.units();
    let saturated = least * u128::from(setting.rules.rewards.saturation);
    for (which, stake) in [("least", least), ("saturated", saturated)] {
        for compute_ppm in [0, 1_000_000] {
            let setting = Setting {
                compute_ppm,
                ..setting.clone()
            };
            let percent = compute_ppm / 10_000;
            let how = format!(
                "the {which} stake, a task of 0.001 tokens for each coordinator, where running takes {percent}% of what a task brings"
            );
            let rides = cheap(&setting, stake);
            cases.push(Case::new(NAME, how, rides, mining(&setting, stake)));
        }
    }
    let how = "the least stake, a task of 0.001 tokens for each coordinator, instead of nothing";
    let nothing = Epoch::new(setting).draw();
    let case = Case::new(NAME, how, cheap(setting, least), nothing);
    cases.push(case.pays("as meant: whoever runs a task is paid by stake too"));

    let mut epoch = Epoch::new(setting);
    let stake = setting.rules.coordinator_stake_min.units();
    let coordinator = epoch.coordinator(Node::own(stake, setting.demand * TOKEN));
    let miner = epoch.miner(Node::own(least, 0));
    let nothing = epoch.draw();
    let mut junk = nothing.clone();
    junk.junk(coordinator, miner, TOKEN / 1_000);
    let how = "the least stake, junk for 0.001 tokens at one's own coordinator, which has clients";
    let case = Case::new(NAME, how, junk, nothing);
    cases.push(case.pays("a task of one's own is a task too"));
    cases
}

/// Votes of an epoch's last second, for the node that earned most in it. Each move costs the unbonding
/// time.
pub fn late(setting: &Setting) -> Vec<Case> {
    let stake = 100_000 * TOKEN;
    // All clients are one coordinator's, another one's in each epoch.
    let busy = |coordinators: usize| {
        let mut epoch = Epoch::new(&Setting {
            coordinators,
            ..setting.clone()
        });
        let all = epoch.coordinators.iter().map(|node| node.load).sum();
        let least = setting.rules.coordinator_stake_min.units();
        for node in &mut epoch.coordinators {
            node.load = 0;
            node.votes = vec![(Owner::Honest, least)];
        }
        epoch.coordinators[0].load = all;
        epoch
    };
    let epochs = u32::try_from(setting.rules.unbonding_epochs).unwrap_or(u32::MAX - 1) + 1;
    let case = |coordinators: usize| {
        let (mut moves, mut stays) = (busy(coordinators), busy(coordinators));
        moves.coordinators[0].votes.push((Owner::Attacker, stake));
        for node in &mut stays.coordinators {
            node.votes
                .push((Owner::Attacker, stake / coordinators as u128));
        }
        Case {
            attack: "late votes",
            how: format!(
                "for the one of {coordinators} coordinators that had all clients, 1 epoch of {epochs}, and not for all in each"
            ),
            does: vec![(moves.draw(), 1)],
            instead: vec![vec![(stays.draw(), epochs)]],
            pays: None,
        }
    };
    let many = case(24).pays("votes count as of the epoch's end, for all that was earned in it");
    vec![case(2), case(6), case(12), many]
}
