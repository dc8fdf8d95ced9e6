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

fn named(cases: &[Case]) -> Vec<&str> {
    let named = cases
        .iter()
        .filter_map(|case| case.pays.map(|_| case.attack));
    let mut named: Vec<_> = named.collect();
    named.dedup();
    named
}

/// Votes are those of an epoch's end, for all that was earned in it. With 24 coordinators whose clients
/// move from one to another as a whole, that is worth a move in each unbonding time.
#[test]
fn at_the_defaults_no_attack_on_the_emission_pays_but_late_votes() {
    let cases = cases::all(&Setting::default());
    assert_eq!(named(&cases), ["late votes"]);
    assert_as_said("defaults", cases);
}

/// A change of the rules that ends one of them fails here, and then the reason is to be taken away.
#[test]
fn a_coordinator_that_does_not_pay_others_gains_what_it_owes() {
    let cases = cases::owing(&Setting::default());
    let expected = [
        "false rejections",
        "withheld countersignatures",
        "escrow emptied first",
        "commission",
    ];
    assert_eq!(named(&cases), expected);
    assert_as_said("defaults", cases);
}

#[test]
fn attacks_pay_at_no_other_rules_and_in_no_other_network() {
    for (name, setting) in ranges::rules().into_iter().chain(ranges::networks()) {
        assert!(taken(&setting.rules.rewards), "{name}");
        let cases = cases::everywhere(&setting);
        assert_eq!(named(&cases), [""; 0]);
        assert_as_said(&name, cases);
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
        assert_as_said(&name, ranges::of_product(&setting));
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

#[test]
fn junk_among_clients_tasks_pays_whatever_clients_pay_never() {
    for demand in ranges::DEMANDS {
        let setting = Setting {
            demand,
            ..Setting::default()
        };
        let outcome = cases::diluted(&setting, 100_000, 1_000_000).outcome();
        assert!(!outcome.pays(), "{demand}: {outcome:?}");
    }
}

/// Rules that a ledger takes, and which are not the defaults for this reason.
#[test]
fn splitting_pays_above_a_saturation_and_failing_with_dear_attempt_fees() {
    for (name, setting, cases) in [
        (
            "saturation 50",
            ranges::saturating(),
            cases::above_saturation as fn(&_) -> _,
        ),
        ("attempt fee 20%", ranges::dear_attempts(), cases::failures),
    ] {
        assert!(taken(&setting.rules.rewards));
        let cases = cases(&setting);
        assert!(!named(&cases).is_empty());
        assert_as_said(name, cases);
    }
}

/// Others can lose more than junk costs, where clients' tasks have little work for their price.
#[test]
fn harm_is_never_for_nothing() {
    for case in cases::harm(&Setting::default()) {
        let Outcome { gain, cost } = case.outcome();
        let (attack, how, harm) = (case.attack, &case.how, case.harm());
        assert!(cost > gain, "{attack}, {how}: others lose {harm}");
    }
}

/// 1 token for junk, by hand: 0.05 are burned, 0.8 of that is the slice, and the voters'
/// part is 15/70 of the slice.
#[test]
fn the_model_gives_what_a_hand_does() {
    let Outcome { gain, cost } = cases::junk(&Setting::default())[0].outcome();
    assert_eq!((gain, cost), (48_571_428_571, 50_000_000_000));
}
