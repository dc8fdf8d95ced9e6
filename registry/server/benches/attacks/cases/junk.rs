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

/// Junk besides clients' tasks that count less than their price: it takes work's part of a slice that
/// their fees made. They count less if their fuel is worth less, if they trap, or if the quality of
/// those who run them is low.
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
    let how = format!(
        "for {tokens} tokens, among tasks whose work is {density}% of their price, on miners of quality {quality}%"
    );
    Case::new("junk among clients' tasks", how, epoch, before)
}

pub fn dilution(setting: &Setting) -> Vec<Case> {
    const WHOLE: u32 = 1_000_000;
    const PAYS: &str = "junk's work is its whole price, and fees of others' tasks pay for it";
    vec![
        diluted(setting, 1_000_000, WHOLE),
        diluted(setting, 700_000, WHOLE),
        diluted(setting, 500_000, WHOLE).pays(PAYS),
        diluted(setting, 100_000, WHOLE).pays(PAYS),
        diluted(setting, 1_000_000, 700_000),
        diluted(setting, 1_000_000, 500_000).pays(PAYS),
    ]
}

/// Prices of which the fee is rounded to nothing.
pub fn rounding(setting: &Setting) -> Vec<Case> {
    let (before, coordinator, miner) = own(setting, true);
    let mut epoch = before.clone();
    epoch.junk(coordinator, miner, 19).copies = 20_000;
    let how = "20,000 times for 19 units of 10^-12, besides clients' tasks";
    let case = Case::new("prices below the fee's unit", how, epoch, before);
    vec![case.pays("a fee is rounded down to nothing, and the price still counts as work")]
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
