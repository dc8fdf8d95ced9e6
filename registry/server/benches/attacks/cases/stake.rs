//! Stake that is divided, large, idle, barely used or late.

use adit_protocol::Amount;

use super::super::model::{Epoch, Node, Owner, Setting, TOKEN};
use super::Case;

/// Tokens that there can be.
const SUPPLY: u128 = Amount::SUPPLY_MAX.units();

/// A stake as one node and as several.
struct Splits<'a> {
    setting: &'a Setting,
    cases: Vec<Case>,
}

impl Splits<'_> {
    fn push(&mut self, what: &str, stake: u128, count: u128, of: impl Fn(&mut Epoch, u128)) {
        let epoch = |count: u128| {
            let mut epoch = Epoch::new(self.setting);
            (0..count).for_each(|_| of(&mut epoch, count));
            epoch.draw()
        };
        let how = format!("{} tokens as {count} {what} and not as 1", stake / TOKEN);
        let case = Case::new("split identities", how, epoch(count), epoch(1));
        self.cases.push(case);
    }

    /// So many times the least stake of each role, or all that there can be.
    fn of(&mut self, times: u128, count: u128) {
        let rules = &self.setting.rules;
        let stake = |least: Amount| least.units().saturating_mul(times).min(SUPPLY / 2);
        let (miner, coordinator) = (
            stake(rules.miner_stake_min),
            stake(rules.coordinator_stake_min),
        );
        // So many clients that slices are bound by stake, where it matters.
        let load = 1_000_000 * TOKEN;
        self.push("miners", miner, count, |epoch, count| {
            epoch.miner(Node::own(miner / count, 1));
        });
        self.push("coordinators", coordinator, count, |epoch, count| {
            epoch.coordinator(Node::own(coordinator / count, load / count));
        });
    }
}

/// One stake as several nodes, up to the saturation.
pub fn splits(setting: &Setting) -> Vec<Case> {
    let saturation = u128::from(setting.rules.rewards.saturation);
    let cases = Vec::new();
    let mut splits = Splits { setting, cases };
    for (times, count) in [(2, 2), (10, 10), (50, 10), (50, 50), (200, 100)] {
        if times <= saturation {
            splits.of(times, count);
        }
    }
    for count in [2, 10] {
        splits.of(saturation, count);
    }
    splits.cases
}

/// One stake that would saturate two nodes, as several. It pays where a stake can be as large.
pub fn above_saturation(setting: &Setting) -> Vec<Case> {
    const PAYS: &str = "stake above saturation counts again as another node";
    let saturation = u128::from(setting.rules.rewards.saturation);
    let cases = Vec::new();
    let mut splits = Splits { setting, cases };
    for count in [2, 10, 2 * saturation] {
        splits.of(2 * saturation, count);
    }
    splits
        .cases
        .into_iter()
        .map(|case| case.pays(PAYS))
        .collect()
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

/// The least that earns a part by stake.
pub fn riding(setting: &Setting) -> Vec<Case> {
    const NAME: &str = "free riding";
    let mut cases = Vec::new();
    let least = setting.rules.miner_stake_min.units();
    for (which, stake) in [
        ("the least stake", least),
        ("100 times the least stake", 100 * least),
    ] {
        for compute_ppm in [0, 1_000_000] {
            let setting = Setting {
                compute_ppm,
                ..setting.clone()
            };
            let percent = compute_ppm / 10_000;
            let how = format!(
                "{which}, a task of 0.001 tokens for each coordinator, where running takes {percent}% of what a task brings"
            );
            let rides = cheap(&setting, stake);
            cases.push(Case::new(NAME, how, rides, mining(&setting, stake)));
        }
        let mut rides = cheap(setting, stake);
        for task in rides.tasks.iter_mut().filter(|task| task.fuel == u64::MAX) {
            (task.own, task.run) = (true, false);
        }
        let how = format!("{which}, junk for 0.001 tokens at each coordinator, instead of nothing");
        let nothing = Epoch::new(setting).draw();
        cases.push(Case::new(NAME, how, rides, nothing));

        let mut epoch = Epoch::new(setting);
        let bond = setting.rules.coordinator_stake_min.units();
        let coordinator = epoch.coordinator(Node::own(bond, setting.demand * TOKEN));
        let miner = epoch.miner(Node::own(stake, 0));
        let nothing = epoch.draw();
        let mut junk = nothing.clone();
        junk.junk(coordinator, miner, TOKEN / 1_000);
        let how =
            format!("{which}, junk for 0.001 tokens at one's own coordinator, which has clients");
        cases.push(Case::new(NAME, how, junk, nothing));
    }
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
