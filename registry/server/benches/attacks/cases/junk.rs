//! Tasks that nobody needs, paid for by the attacker and run by nobody.

use super::super::model::{Epoch, Node, Setting, TOKEN, WHOLE};
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
        before.clone(),
    ));
    // What fails is burned of too, and makes the slice larger.
    let mut epoch = before.clone();
    let task = epoch.junk(coordinator, miner, 1_000 * TOKEN);
    (task.status, task.attempt_fee) = (17, 1_000 * TOKEN);
    cases.push(Case::new(
        NAME,
        "for 1,000 tokens, as much for the attempt, and it fails, besides clients' tasks",
        epoch,
        before,
    ));
    cases
}

/// Junk at coordinators of others, whose clients' tasks have little work.
pub fn elsewhere(setting: &Setting) -> Vec<Case> {
    let setting = Setting {
        density_ppm: 100_000,
        ..setting.clone()
    };
    let case = |tokens_ppm: u128| {
        let mut before = Epoch::new(&setting);
        let stake = before.stake(&before.miners);
        let least = setting.rules.miner_stake_min.units();
        let miner = before.miner(Node::own(stake.max(least), 1));
        let before = before.draw();
        let mut epoch = before.clone();
        let price = setting.demand * TOKEN * tokens_ppm / WHOLE;
        for coordinator in 0..setting.coordinators {
            epoch.junk(coordinator, miner, price);
        }
        let how = format!("for {}% of what clients pay", tokens_ppm / 10_000);
        Case::new("junk at others' coordinators", how, epoch, before)
    };
    vec![case(10_000), case(1_000_000)]
}

/// Junk besides clients' tasks that count less than their price: of the work it is a larger part than of
/// the fees that made the slice. Clients' tasks count less if their fuel is worth less, if they trap, or
/// if the quality of those who run them is low.
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
    let whole = 1_000_000;
    let busy = Setting {
        demand: 3 * setting.demand,
        ..setting.clone()
    };
    vec![
        diluted(setting, WHOLE, whole),
        diluted(setting, 700_000, whole),
        diluted(setting, 500_000, whole),
        diluted(setting, 100_000, whole),
        diluted(setting, WHOLE, 700_000),
        diluted(setting, WHOLE, 500_000),
        diluted(&busy, WHOLE, whole),
        diluted(&busy, 100_000, whole),
    ]
}

/// Junk on a miner whose clients' tasks have less work for their price than others', so that their fees
/// would allow more than their work brings.
pub fn filling(setting: &Setting) -> Vec<Case> {
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
    vec![case(1_000_000, 0), case(300_000, 100_000), case(100_000, 0)]
}

/// Junk with any work for its price, among tasks of clients with any: of each kind of clients, the junk
/// that is best.
pub fn mixed(setting: &Setting) -> Vec<Case> {
    let mut cases = Vec::new();
    for demand in [1, 2, 5] {
        for clients_ppm in [20_000, 300_000, 1_000_000] {
            let setting = Setting {
                demand: demand * setting.demand,
                density_ppm: clients_ppm,
                ..setting.clone()
            };
            let (before, coordinator, miner) = own(&setting, true);
            let tried = [0, 50_000, 400_000, 1_000_000]
                .into_iter()
                .flat_map(|work| {
                    [1_000, 100_000, 3_000_000]
                        .map(|price| (work, setting.demand * TOKEN * price / WHOLE))
                });
            let tried = tried.map(|(work, price)| {
                let mut epoch = before.clone();
                let fuel = price * work / WHOLE / u128::from(setting.rules.rewards.fuel_weight);
                epoch.junk(coordinator, miner, price).fuel = fuel as u64;
                let how = format!(
                    "the best of 12: for {} tokens, work {}% of it, among {} tokens of clients with {}%",
                    price / TOKEN,
                    work / 10_000,
                    setting.demand,
                    clients_ppm / 10_000
                );
                Case::new("junk of mixed work", how, epoch, before.clone())
            });
            cases.extend(tried.max_by_key(|case| {
                let outcome = case.outcome();
                outcome.gain * 1_000_000 / outcome.cost.max(1)
            }));
        }
    }
    cases
}

/// Two miners of one's own, as the draws left them: one has run most of the tasks, and the other has
/// stake that its fees do not use. Junk for the second could lift what its own fees allow, and the
/// slice for the first.
pub fn unequal(setting: &Setting) -> Vec<Case> {
    let case = |stakes: [u128; 2], price_ppm: u128| {
        let mut before = Epoch::new(setting);
        let stake = before.stake(&before.coordinators);
        let stake = stake.max(setting.rules.coordinator_stake_min.units());
        let coordinator = before.coordinator(Node::own(stake, setting.demand * TOKEN));
        let least = setting.rules.miner_stake_min.units();
        let [much, little] = stakes.map(|times| before.miner(Node::own(times * least, 1)));
        let mut before = before.draw();
        let own = |at: usize| at == much || at == little;
        for task in before
            .tasks
            .iter_mut()
            .filter(|t| t.coordinator == coordinator)
        {
            task.miner = if own(task.miner) { much } else { task.miner };
        }
        before.junk(coordinator, little, TOKEN / 1_000);
        let mut epoch = before.clone();
        epoch.junk(
            coordinator,
            little,
            setting.demand * TOKEN * price_ppm / WHOLE,
        );
        let [much, little] = stakes;
        let how = format!(
            "for {} tokens, on one of two with {little} times the least stake, where the other, with {much} times, ran the tasks of both",
            setting.demand * price_ppm / WHOLE
        );
        Case::new("junk on the idle one", how, epoch, before)
    };
    vec![
        case([200, 200], 10_000),
        case([1_000, 100], 10_000),
        case([2_000, 1_000], 100_000),
    ]
}

/// Prices of which the fee is rounded.
pub fn rounding(setting: &Setting) -> Vec<Case> {
    let (before, coordinator, miner) = own(setting, true);
    let case = |units: u128, clients: bool| {
        let before = match clients {
            true => before.clone(),
            false => own(setting, false).0,
        };
        let mut epoch = before.clone();
        epoch.junk(coordinator, miner, units).copies = 20_000;
        let besides = if clients {
            ", besides clients' tasks"
        } else {
            ""
        };
        let how = format!("20,000 times for {units} units of 10^-12{besides}");
        Case::new("prices below the fee's unit", how, epoch, before)
    };
    vec![case(19, true), case(1, false), case(21, true)]
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
