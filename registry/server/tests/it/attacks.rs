//! Attacks on rewards do not pay: at the defaults, at other rules that a ledger takes, and in other
//! networks. Where one does pay, this says so.

#[path = "../../benches/attacks/cases/mod.rs"]
mod cases;
#[path = "../../benches/attacks/model.rs"]
mod model;
#[path = "../../benches/attacks/ranges.rs"]
mod ranges;

use adit_ledger::rules::RewardRules;
use adit_protocol::Document as _;
use cases::{Case, Outcome};
use model::Setting;

use super::support;

fn assert_as_said(name: &str, cases: Vec<Case>) {
    for case in cases {
        let outcome = case.outcome();
        let Case {
            attack, how, pays, ..
        } = case;
        assert_eq!(
            outcome.pays(),
            pays.is_some(),
            "{name}: {attack}, {how}: {outcome:?}"
        );
    }
}

/// Those that pay are named one by one in `cases/`, with the reason. A change of the rules that ends
/// one fails here, and then the reason is to be taken away.
#[test]
fn at_the_defaults_no_attack_pays_but_those_that_are_named() {
    let cases = cases::all(&Setting::default());
    let named = cases
        .iter()
        .filter_map(|case| case.pays.map(|_| case.attack));
    let mut named: Vec<_> = named.collect();
    named.dedup();
    let expected = [
        "split identities",
        "free riding",
        "false rejections",
        "escrow emptied first",
        "junk in place of work",
        "junk among clients' tasks",
        "commission",
        "failures for the fee",
        "late votes",
    ];
    assert_eq!(named, expected);
    assert_as_said("defaults", cases);
}

#[test]
fn what_does_not_pay_at_the_defaults_pays_at_no_other_rules_and_in_no_other_network() {
    for (name, setting) in ranges::rules().into_iter().chain(ranges::networks()) {
        assert!(taken(&setting.rules.rewards), "{name}");
        let cases = cases::everywhere(&setting).into_iter();
        assert_as_said(&name, cases.filter(|case| case.pays.is_none()).collect());
    }
}

/// Whether a ledger takes these rules.
fn taken(rewards: &RewardRules) -> bool {
    let mut ledger = support::ledger();
    ledger.parameters.rewards = rewards.clone();
    ledger.check().is_ok()
}

#[test]
fn junk_pays_at_no_product_of_ranges() {
    for (name, setting) in ranges::products() {
        assert!(taken(&setting.rules.rewards), "{name}");
        assert_as_said(&name, cases::junk(&setting));
    }
}

/// k · (1 + 150/700) is above 1 from 823,530 ppm on, which no ledger takes. It shows that this
/// simulation sees an attack that pays.
#[test]
fn junk_pays_as_soon_as_the_slice_is_larger_than_a_ledger_takes() {
    for (slice_of_fees_ppm, pays) in [(823_529, false), (823_530, true), (2_000_000, true)] {
        let mut setting = Setting::default();
        setting.rules.rewards = RewardRules {
            slice_of_fees_ppm,
            ..RewardRules::default()
        };
        assert_eq!(taken(&setting.rules.rewards), !pays);
        let outcomes = cases::junk(&setting);
        let any = outcomes
            .iter()
            .map(Case::outcome)
            .any(|outcome| outcome.pays());
        assert_eq!(any, pays, "{slice_of_fees_ppm}");
    }
}

/// By work a miner gets no more than its own fees allow, which is a bound only as long as the slice is
/// as large as all fees allow.
#[test]
fn junk_among_clients_tasks_pays_only_where_slices_are_bound_by_stake() {
    for (demand, pays) in ranges::DILUTED {
        let setting = Setting {
            demand,
            ..Setting::default()
        };
        let outcome = cases::diluted(&setting, 100_000, 1_000_000).outcome();
        assert_eq!(outcome.pays(), pays, "{demand}: {outcome:?}");
    }
}

/// 1 token for junk, by hand: 0.05 are burned, 0.8 of that is the slice, and the voters'
/// part is 15/70 of the slice.
#[test]
fn the_model_gives_what_a_hand_does() {
    let Outcome { gain, cost } = cases::junk(&Setting::default())[0].outcome();
    assert_eq!((gain, cost), (48_571_428_571, 50_000_000_000));
}
