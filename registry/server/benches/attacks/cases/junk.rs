//! Tasks that nobody needs, paid for by the attacker and run by nobody.

use super::super::model::{Epoch, Node, Setting, TOKEN};
use super::{Case, own};

/// Tasks of one's own on one's own miner, with a coordinator and all votes one's own.
pub fn junk(setting: &Setting) -> Vec<Case> {
    const NAME: &str = "junk on one's own miner";
    let mut cases = Vec::new();
    for clients in [false, true] {
        for tokens in [1, 100, 10_000, 1_000_000] {
            let (before, coordinator, miner) = own(setting, clients);
            let mut epoch = before.clone();
            epoch.junk(coordinator, miner, tokens * TOKEN);
            let besides = if clients {
                ", besides clients' tasks"
            } else {
                ""
            };
            let how = format!("for {tokens} tokens, all the fuel there is{besides}");
            cases.push(Case::new(NAME, how, epoch, before));
        }
    }
    let (before, coordinator, miner) = own(setting, false);
    let mut epoch = before.clone();
    epoch.junk(coordinator, miner, 100 * TOKEN).fuel = 0;
    cases.push(Case::new(
        NAME,
        "for 100 tokens, no fuel",
        epoch,
        before.clone(),
    ));
    let mut epoch = before.clone();
    epoch.junk(coordinator, miner, 0).copies = 1_000;
    cases.push(Case::new(NAME, "1,000 times, for nothing", epoch, before));
    let (before, coordinator, miner) = own(setting, true);
    let mut epoch = before.clone();
    epoch.junk(coordinator, miner, 0).copies = 1_000;
    cases.push(Case::new(
        NAME,
        "1,000 times, for nothing, besides clients' tasks",
        epoch,
        before,
    ));
    cases
}

/// Junk besides clients' tasks that count less than their price: of the work it is a larger part than of
/// the fees that made the slice. Clients' tasks count less if their fuel is worth less, if they trap, or
/// if the quality of those who run them is low. By work a miner gets no more than its own fees allow,
/// and where fees bound the slice that much is what these tasks bring anyway.
pub fn diluted(setting: &Setting, density_ppm: u128, quality_ppm: u32) -> Case {
    let setting = Setting {
        density_ppm,
        quality_ppm,
        stake_ppm: 100_000,
        ..setting.clone()
    };
    let (before, coordinator, miner) = own(&setting, true);
    let mut epoch = before.clone();
    let tokens = setting.demand / 100;
    epoch.junk(coordinator, miner, tokens * TOKEN);
    let (density, quality) = (density_ppm / 10_000, quality_ppm / 10_000);
    let clients = setting.demand;
    let how = format!(
        "for {tokens} tokens, among {clients} tokens of clients whose work is {density}% of their price, on miners of quality {quality}%"
    );
    Case::new("junk among clients' tasks", how, epoch, before)
}

pub fn dilution(setting: &Setting) -> Vec<Case> {
    const WHOLE: u32 = 1_000_000;
    vec![
        diluted(setting, 1_000_000, WHOLE),
        diluted(setting, 700_000, WHOLE),
        diluted(setting, 500_000, WHOLE),
        diluted(setting, 100_000, WHOLE),
        diluted(setting, 1_000_000, 700_000),
        diluted(setting, 1_000_000, 500_000),
    ]
}

/// Junk on a miner that gets less by work than its own fees allow, so that junk may fill that up: its
/// clients' tasks have less work for their price than those of other miners, or there are so many
/// clients that the slice is bound by stake.
pub fn filling(setting: &Setting) -> Vec<Case> {
    const PAYS: &str = "by work a miner is bounded by all its fees, and not by each task's";
    const BUSY: &str = "a slice that is bound by stake leaves each miner room below its own fees";
    let busy = Setting {
        demand: 3 * setting.demand,
        ..setting.clone()
    };
    let case = |density_ppm: u128, own_ppm: u128| {
        let setting = Setting {
            density_ppm,
            stake_ppm: 100_000,
            ..setting.clone()
        };
        let (mut before, coordinator, miner) = own(&setting, true);
        for task in before.tasks.iter_mut().filter(|task| task.miner == miner) {
            task.fuel = (u128::from(task.fuel) * own_ppm / density_ppm) as u64;
        }
        let mut epoch = before.clone();
        let tokens = setting.demand / 100;
        epoch.junk(coordinator, miner, tokens * TOKEN);
        let (density, own) = (density_ppm / 10_000, own_ppm / 10_000);
        let how = format!(
            "for {tokens} tokens, where the work of one's own tasks is {own}% of their price, of others' {density}%"
        );
        Case::new("junk in place of work", how, epoch, before)
    };
    vec![
        case(1_000_000, 0),
        case(300_000, 100_000).pays(PAYS),
        case(100_000, 0).pays(PAYS),
        diluted(&busy, 1_000_000, 1_000_000),
        diluted(&busy, 100_000, 1_000_000).pays(BUSY),
    ]
}

/// Prices of which the fee is rounded to nothing.
pub fn rounding(setting: &Setting) -> Vec<Case> {
    let (before, coordinator, miner) = own(setting, true);
    let mut epoch = before.clone();
    epoch.junk(coordinator, miner, 19).copies = 20_000;
    let how = "20,000 times for 19 units of 10^-12, besides clients' tasks";
    vec![Case::new("prices below the fee's unit", how, epoch, before)]
}

/// Two coordinators that run each other's junk.
pub fn collusion(setting: &Setting) -> Vec<Case> {
    let mut before = Epoch::new(setting);
    let stake = before.stake(&before.coordinators) / 2;
    let stake = stake.max(setting.rules.coordinator_stake_min.units());
    let first = before.coordinator(Node::own(stake, setting.demand * TOKEN));
    let second = before.coordinator(Node::own(stake, 0));
    let stake = before.stake(&before.miners) / 2;
    let stake = stake.max(setting.rules.miner_stake_min.units());
    let [miner, other] = [0, 1].map(|_| before.miner(Node::own(stake, 1)));
    let before = before.draw();
    let mut epoch = before.clone();
    epoch.junk(first, other, 1_000 * TOKEN);
    epoch.junk(second, miner, 1_000 * TOKEN);
    let how = "2 coordinators, each junk for 1,000 tokens on the other's miner";
    vec![Case::new("collusion", how, epoch, before)]
}
