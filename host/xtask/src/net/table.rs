//! What the runs came to: for each figure and system the median, the range, and the ratio to ours.

use super::Asked;
use super::systems::System;
use super::watch::Run;

/// Runs by system.
pub struct Table {
    systems: &'static [System],
    runs: Vec<Vec<Run>>,
}

/// A figure of a run.
struct Figure {
    name: &'static str,
    decimals: usize,
    of: fn(&Run) -> f64,
}

const FIGURES: &[Figure] = &[
    figure("tasks a second, saturation", 0, |run| run.rate),
    figure("one at a time, p50, ms", 2, |run| run.low_p50_ms),
    figure("one at a time, p99, ms", 2, |run| run.low_p99_ms),
    figure("half load, p50, ms", 2, |run| run.half_p50_ms),
    figure("half load, p99, ms", 2, |run| run.half_p99_ms),
    figure("at the same rate, p50, ms", 2, |run| run.same_p50_ms),
    figure("at the same rate, p99, ms", 2, |run| run.same_p99_ms),
    figure("processor time of a task, µs", 0, |run| run.system_us),
    figure("the load's own, µs", 0, |run| run.load_us),
    figure("memory at most, RSS, MiB", 0, |run| run.resident_mib),
    figure("memory, shared once, MiB", 0, |run| run.proportional_mib),
];

const fn figure(name: &'static str, decimals: usize, of: fn(&Run) -> f64) -> Figure {
    Figure { name, decimals, of }
}

/// The middle one, or the mean of the two in the middle; of nothing, 0.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half), sorted.len() % 2) {
        (Some(middle), 1) => *middle,
        (Some(upper), _) => {
            let lower = sorted.get(half.wrapping_sub(1)).unwrap_or(upper);
            (lower + upper) / 2.0
        }
        (None, _) => 0.0,
    }
}

fn range(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().reduce(f64::min);
    let most = values.iter().copied().reduce(f64::max);
    (least.unwrap_or(0.0), most.unwrap_or(0.0))
}

/// As `1,480 (1,390 to 1,510), 2.55x`; without a ratio where there is nothing to compare with.
fn cell(values: &[f64], decimals: usize, ours: Option<f64>) -> String {
    let shown = |value: f64| format!("{value:.decimals$}");
    let middle = median(values);
    let (least, most) = range(values);
    let mut text = shown(middle);
    if values.len() > 1 {
        text.push_str(&format!(" ({} to {})", shown(least), shown(most)));
    }
    if let Some(ours) = ours.filter(|ours| *ours > 0.0) {
        text.push_str(&format!(", {:.2}x", middle / ours));
    }
    text
}

impl Table {
    /// An empty one.
    pub fn new(systems: &'static [System]) -> Table {
        Table {
            systems,
            runs: vec![Vec::new(); systems.len()],
        }
    }

    /// Adds a run of a system, by its place.
    pub fn add(&mut self, system: usize, run: Run) {
        if let Some(runs) = self.runs.get_mut(system) {
            runs.push(run);
        }
    }

    /// The table as Markdown, with what was measured and on what.
    pub fn shown(&self, asked: &Asked, machine: &str) -> String {
        let mut text = format!(
            "{} rounds in turns, {} s for each measurement, {} tasks in flight at saturation and {} a \
             second at the same rate for each system, on {machine}. Medians, (least to most), ratio \
             to {}.\n\n",
            asked.rounds,
            asked.seconds,
            asked.flight,
            asked.rate,
            self.systems.first().map_or("", |system| system.name),
        );
        let names = self.systems.iter().map(|system| system.name.to_owned());
        text.push_str(&row("", names));
        text.push_str(&row("---", self.systems.iter().map(|_| "---".to_owned())));
        for figure in FIGURES {
            let columns: Vec<Vec<f64>> = (self.runs.iter())
                .map(|runs| runs.iter().map(figure.of).collect())
                .collect();
            let ours = columns.first().map(|values| median(values));
            let cells = columns
                .iter()
                .enumerate()
                .map(|(at, values)| cell(values, figure.decimals, ours.filter(|_| at > 0)));
            text.push_str(&row(figure.name, cells));
        }
        let systems = || self.systems.iter();
        text.push_str(&row(
            "results signed",
            systems().map(|s| s.signed.to_owned()),
        ));
        text.push_str(&row(
            "tasks sandboxed",
            systems().map(|s| s.sandboxed.to_owned()),
        ));
        text.push_str(&row("durable", systems().map(|s| s.durable.to_owned())));
        text.push_str("\nVersions:");
        for (system, runs) in self.systems.iter().zip(&self.runs) {
            let versions = runs.first().map(|run| &run.versions).into_iter().flatten();
            let named: Vec<_> = versions.map(|(name, v)| format!("{name} {v}")).collect();
            text.push_str(&format!("\n- {}: {}", system.name, named.join(", ")));
        }
        let checked: u64 = self.runs.iter().flatten().map(|run| run.checked).sum();
        text.push_str(&format!(
            "\n\n{checked} outputs were compared with what they should be.\n"
        ));
        text
    }
}

fn row(first: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.collect();
    format!("| {first} | {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_any_order() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[4.0]), 4.0);
        assert_eq!(median(&[9.0, 1.0, 4.0]), 4.0);
        assert_eq!(median(&[9.0, 1.0, 4.0, 5.0]), 4.5);
        assert_eq!(range(&[9.0, 1.0, 4.0]), (1.0, 9.0));
    }

    #[test]
    fn cells_have_range_and_ratio() {
        assert_eq!(cell(&[1480.4], 0, None), "1480");
        assert_eq!(
            cell(&[3.0, 2.0, 4.0], 2, Some(1.5)),
            "3.00 (2.00 to 4.00), 2.00x"
        );
        assert_eq!(cell(&[3.0], 1, Some(0.0)), "3.0");
    }

    #[test]
    fn the_first_system_is_what_others_are_compared_with() {
        let project = Table::new(super::super::systems::all());
        let mut table = project;
        for (at, rate) in [(0, 1000.0), (0, 2000.0), (1, 750.0)] {
            let run = Run {
                rate,
                checked: 1,
                ..Run::default()
            };
            table.add(at, run);
        }
        let text = table.shown(&Asked::default(), "a machine");
        let line = text
            .lines()
            .find(|line| line.contains("saturation |"))
            .unwrap();
        assert!(
            line.contains("| 1500 (1000 to 2000) | 750, 0.50x |"),
            "{line}"
        );
        assert!(text.contains("3 outputs"), "{text}");
    }
}
