//! Ranges of the rules and of networks that attacks are tried in.

use adit_ledger::rules::RewardRules;
use adit_protocol::Amount;

use super::cases::{self, Case};
use super::model::Setting;

fn changed(change: impl FnOnce(&mut RewardRules)) -> Setting {
    let mut setting = Setting::default();
    change(&mut setting.rules.rewards);
    setting
}

/// Rules that a ledger takes.
pub fn rules() -> Vec<(String, Setting)> {
    let mut settings = Vec::new();
    let mut push = |name: String, setting| settings.push((name, setting));
    for fee_ppm in [1_000, 10_000, 200_000, 1_000_000] {
        push(
            format!("fee {fee_ppm} ppm"),
            changed(|rules| rules.fee_ppm = fee_ppm),
        );
    }
    for k in [100_000, 823_529] {
        push(
            format!("k {k} ppm"),
            changed(|rules| rules.slice_of_fees_ppm = k),
        );
    }
    for share in [0, 300_000, 1_000_000] {
        let setting = changed(|rules| {
            (rules.slice_of_fees_ppm, rules.work_share_ppm) = (823_529, share);
        });
        push(format!("work share {share} ppm, k 823529 ppm"), setting);
    }
    for cap in [0, 10_000, 10_000_000] {
        push(
            format!("cap {cap} ppm"),
            changed(|rules| rules.cap_ppm = cap),
        );
    }
    for fee in [0, 10_000] {
        push(
            format!("attempt fee {fee} ppm"),
            changed(|rules| rules.attempt_fee_max_ppm = fee),
        );
    }
    for saturation in [2, 10, 200] {
        push(
            format!("saturation {saturation}"),
            changed(|rules| rules.saturation = saturation),
        );
    }
    for emission in [0, 100, 1_000_000] {
        let setting = changed(|rules| rules.emission = Amount::tokens(emission));
        push(format!("emission {emission} tokens"), setting);
    }
    settings
}

/// Networks at the default rules.
pub fn networks() -> Vec<(String, Setting)> {
    let mut settings = Vec::new();
    for (coordinators, miners) in [(1, 1), (2, 4), (20, 60)] {
        let name = format!("{coordinators} honest coordinators, {miners} miners");
        settings.push((
            name,
            Setting {
                coordinators,
                miners,
                ..Setting::default()
            },
        ));
    }
    for stake_ppm in [10_000, 300_000, 600_000] {
        let name = format!("{}% of the stake the attacker's", stake_ppm / 10_000);
        settings.push((
            name,
            Setting {
                stake_ppm,
                ..Setting::default()
            },
        ));
    }
    for demand in [1, 1_000, 1_000_000] {
        let name = format!("clients pay each coordinator {demand} tokens");
        settings.push((
            name,
            Setting {
                demand,
                ..Setting::default()
            },
        ));
    }
    for compute_ppm in [0, 1_000_000] {
        let name = format!(
            "running takes {}% of what a task brings",
            compute_ppm / 10_000
        );
        settings.push((
            name,
            Setting {
                compute_ppm,
                ..Setting::default()
            },
        ));
    }
    settings
}

/// All together that junk might depend on, at the largest slice that a ledger takes.
pub fn products() -> Vec<(String, Setting)> {
    let mut settings = Vec::new();
    for fee_ppm in [1_000, 50_000, 500_000] {
        for work_share_ppm in [0, 600_000, 1_000_000] {
            for stake_ppm in [10_000, 300_000, 600_000] {
                for demand in [1, 10_000, 1_000_000] {
                    let mut setting = changed(|rules| {
                        rules.slice_of_fees_ppm = 823_529;
                        (rules.fee_ppm, rules.work_share_ppm) = (fee_ppm, work_share_ppm);
                    });
                    (setting.stake_ppm, setting.demand) = (stake_ppm, demand);
                    let name = format!(
                        "fee {fee_ppm}, work share {work_share_ppm}, stake {stake_ppm} ppm, demand {demand} tokens"
                    );
                    settings.push((name, setting));
                }
            }
        }
    }
    settings
}

/// The attacks that are tried at these.
pub fn of_product(setting: &Setting) -> Vec<Case> {
    let mut cases = cases::junk(setting);
    cases.extend(cases::unequal(setting));
    cases
}

/// What the clients of each coordinator pay, in tokens. From 17,000 or so on slices are bound by stake.
pub const DEMANDS: [u128; 7] = [100, 1_000, 10_000, 15_000, 30_000, 60_000, 1_000_000];

/// A saturation that stakes reach.
pub fn saturating() -> Setting {
    changed(|rules| rules.saturation = 50)
}

/// Attempt fees that are worth more than running.
pub fn dear_attempts() -> Setting {
    changed(|rules| rules.attempt_fee_max_ppm = 200_000)
}
