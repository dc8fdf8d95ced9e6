//! Whether attacks on rewards pay: what each gains and costs at the defaults, over ranges of the
//! rules and of the network, and with other rules where it pays; and what harm costs; as tables in
//! Markdown.
//!
//! `cargo bench -p adit-registry --bench attacks`

mod cases;
mod model;
mod ranges;

use cases::{Case, Outcome};
use model::{ROUNDING, Setting, TOKEN};

fn main() {
    let defaults = Setting::default();
    println!("Attacks at the defaults; gain and cost in tokens.\n");
    table(cases::all(&defaults));
    println!(
        "\nCoordinators that do not pay their miners or voters, which no settlement can see.\n"
    );
    table(cases::owing(&defaults));
    println!("\nThe most that an attack gains per cost, without the last part and late votes.\n");
    println!("| range | attack | how | gain per cost |");
    println!("|---|---|---|---|");
    for (name, setting) in ranges::rules().into_iter().chain(ranges::networks()) {
        row(&name, cases::everywhere(&setting));
    }
    let products = ranges::products();
    let junk = products
        .iter()
        .flat_map(|(_, setting)| ranges::of_product(setting));
    row(
        &format!("{} products of ranges, k 823529 ppm", products.len()),
        junk.collect(),
    );
    println!("\nJunk on one's own miner by the slice of fees (k).\n");
    println!("| k, ppm | attack | how | gain per cost |");
    println!("|---|---|---|---|");
    for slice_of_fees_ppm in [
        100_000, 400_000, 800_000, 823_529, 823_600, 900_000, 2_000_000,
    ] {
        let mut setting = Setting::default();
        setting.rules.rewards.slice_of_fees_ppm = slice_of_fees_ppm;
        row(&slice_of_fees_ppm.to_string(), cases::junk(&setting));
    }
    println!(
        "\nJunk among clients' tasks whose work is 10% of their price, by what clients pay.\n"
    );
    println!("| clients of each coordinator, tokens | attack | how | gain per cost |");
    println!("|---|---|---|---|");
    for demand in ranges::DEMANDS {
        let setting = Setting {
            demand,
            ..Setting::default()
        };
        let case = cases::diluted(&setting, 100_000, 1_000_000);
        row(&demand.to_string(), vec![case]);
    }
    println!("\nOther rules, at which attacks pay.\n");
    let mut paying = cases::above_saturation(&ranges::saturating());
    paying.extend(cases::failures(&ranges::dear_attempts()));
    table(paying);
    println!("\nWhat others lose, in tokens, and what that costs.\n");
    println!("| what | how | others lose | net cost |");
    println!("|---|---|---|---|");
    for case in cases::harm(&defaults) {
        let Outcome { gain, cost } = case.outcome();
        let (lost, net) = (tokens(case.harm()), tokens(cost - gain));
        println!("| {} | {} | {lost} | {net} |", case.attack, case.how);
    }
}

/// Rows for cases that are as they were said to be.
fn table(cases: Vec<Case>) {
    println!("| attack | how | gain | cost | gain per cost | pays, because |");
    println!("|---|---|---|---|---|---|");
    for case in cases {
        let Case {
            attack, how, pays, ..
        } = &case;
        let outcome = case.outcome();
        let Outcome { gain, cost } = outcome;
        let why = match (outcome.pays(), pays) {
            (false, None) => "no",
            (true, Some(why)) => *why,
            _ => "NOT AS EXPECTED",
        };
        let (gain_text, cost_text) = (tokens(gain), tokens(cost));
        println!(
            "| {attack} | {how} | {gain_text} | {cost_text} | {} | {why} |",
            ratio(outcome)
        );
    }
}

/// The attack of which gain and cost differ most for the better, in proportion.
fn row(name: &str, cases: Vec<Case>) {
    let outcomes = cases.into_iter().filter(|case| case.pays.is_none());
    let outcomes = outcomes.map(|case| (case.outcome(), case.attack, case.how));
    let worst = outcomes.max_by(|(one, ..), (other, ..)| per_cost(one).total_cmp(&per_cost(other)));
    if let Some((outcome, attack, how)) = worst {
        println!("| {name} | {attack} | {how} | {} |", ratio(outcome));
    }
}

fn per_cost(outcome: &Outcome) -> f64 {
    match outcome.gain <= ROUNDING {
        true => 0.0,
        false => outcome.gain as f64 / outcome.cost as f64,
    }
}

fn ratio(outcome: Outcome) -> String {
    match per_cost(&outcome) {
        ratio if ratio > 1_000.0 => "all gain".to_owned(),
        ratio => format!("{ratio:.4}"),
    }
}

fn tokens(units: i128) -> String {
    match units as f64 / TOKEN as f64 {
        small if small != 0.0 && small < 0.001 => format!("{small:.1e}"),
        tokens => format!("{tokens:.3}"),
    }
}
