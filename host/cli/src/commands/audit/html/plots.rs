//! The pictures of a report.

use std::collections::BTreeMap;

use super::svg::{self, Anchor, WIDTH};
use super::write::Html;
use crate::commands::audit::stats::{Course, Durations, Miner, Stats};
use crate::text::{date_ms, grouped, micros};

/// Miners that a picture shows.
const MINERS_MAX: usize = 20;
/// Height of a plot with a vertical axis.
const HEIGHT: f64 = 200.0;
/// Space for the numbers on the left, and at the other sides.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
/// Height of a row with a horizontal bar.
const ROW: f64 = 24.0;
/// Bars of a course in time.
const BARS: u64 = 48;

/// All of them.
pub fn all(html: &mut Html, stats: &Stats) {
    course(html, &stats.course);
    statuses(html, stats);
    decisions(html, stats);
    durations(html, &stats.durations);
    draws(html, stats);
    receipts(html, stats);
}

fn figure(
    html: &mut Html,
    title: &'static str,
    caption: &'static str,
    draw: impl FnOnce(&mut Html),
) {
    html.raw("<figure>\n<figcaption><b>")
        .raw(title)
        .raw("</b> ");
    html.raw(caption).raw("</figcaption>\n");
    draw(html);
    html.raw("</figure>\n");
}

/// The horizontal lines of a vertical axis; returns what a value's height is.
fn scale(html: &mut Html, max: u64) -> impl Fn(u64) -> f64 + use<> {
    let ticks = svg::ticks(max as f64, 4);
    let top = ticks.last().copied().unwrap_or(1.0);
    let y = move |value: f64| HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top;
    for tick in &ticks {
        let at = y(*tick);
        svg::line(html, "grid", [LEFT, at, WIDTH - RIGHT, at]);
        // Ticks are whole numbers, and far below what a float holds exactly.
        let shown = short(*tick as u64);
        svg::label(html, "tick", LEFT - 6.0, at + 4.0, Anchor::End, &shown);
    }
    move |value| y(value as f64)
}

/// A number in at most five letters.
fn short(number: u64) -> String {
    match number {
        0..=9_999 => number.to_string(),
        10_000..=999_999 => format!("{}k", number / 1_000),
        1_000_000..=999_999_999 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

fn course(html: &mut Html, course: &Course) {
    let points: Vec<(u64, u64)> = course.points().collect();
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else {
        return;
    };
    let span = last
        .saturating_sub(*first)
        .saturating_add(course.width_ms());
    // A whole number of points in each bar, or bars would differ by chance.
    let per_bar = span.div_ceil(course.width_ms()).div_ceil(BARS).max(1);
    let width_ms = per_bar.saturating_mul(course.width_ms());
    let bars = span.div_ceil(width_ms).max(1);
    let mut counts = vec![0u64; usize::try_from(bars).unwrap_or(1)];
    for (at, count) in &points {
        let bar = at.saturating_sub(*first).checked_div(width_ms).unwrap_or(0);
        if let Some(sum) = usize::try_from(bar)
            .ok()
            .and_then(|bar| counts.get_mut(bar))
        {
            *sum = sum.saturating_add(*count);
        }
    }
    figure(
        html,
        "Tasks over time.",
        "How many assignments were made in each span of time, by the coordinator's clock.",
        |html| {
            let max = counts.iter().copied().max().unwrap_or(0);
            let label = format!(
                "{} assignments from {} on; at most {} in {}",
                counts.iter().sum::<u64>(),
                date_ms(*first),
                max,
                micros(width_ms.saturating_mul(1000))
            );
            svg::open(html, HEIGHT, &label);
            let y = scale(html, max);
            let step = (WIDTH - LEFT - RIGHT) / bars as f64;
            for (n, count) in counts.iter().enumerate() {
                if *count == 0 {
                    continue;
                }
                let (x, top) = (LEFT + n as f64 * step, y(*count));
                let begin = first.saturating_add((n as u64).saturating_mul(width_ms));
                let tip = format!("{}: {count}", date_ms(begin));
                let gap = (step * 0.15).min(2.0);
                let place = [x + gap / 2.0, top, step - gap, HEIGHT - BOTTOM - top];
                svg::bar(html, "accent", place, &tip);
            }
            let end = first.saturating_add(span);
            times(html, *first, end);
            svg::close(html);
        },
    );
}

/// The times below a course: beginning, middle, end, as short as they can be told apart.
fn times(html: &mut Html, first: u64, end: u64) {
    const DAY_MS: u64 = 86_400_000;
    let span = end.saturating_sub(first);
    let shown = |ms: u64| {
        let date = date_ms(ms);
        let part = match span {
            0..600_000 => date.get(11..19),
            600_000..DAY_MS => date.get(11..16),
            _ => date.get(..10),
        };
        part.unwrap_or(&date).to_owned()
    };
    let middle = first.saturating_add(span / 2);
    let y = HEIGHT - 8.0;
    svg::label(html, "tick", LEFT, y, Anchor::Start, &shown(first));
    let centre = (LEFT + WIDTH - RIGHT) / 2.0;
    svg::label(html, "tick", centre, y, Anchor::Middle, &shown(middle));
    svg::label(html, "tick", WIDTH - RIGHT, y, Anchor::End, &shown(end));
}

fn statuses(html: &mut Html, stats: &Stats) {
    let class = |name: &str| match name {
        "ok" => "good",
        "task-error" | "trap" | "out-of-fuel" | "limit-exceeded" | "invalid-component" => "warn",
        _ => "bad",
    };
    figure(
        html,
        "How runs ended.",
        "The status in each receipt. Green and amber ones come out alike wherever a task is run; red ones depend on the machine.",
        |html| shares(html, &stats.statuses, class),
    );
}

fn decisions(html: &mut Html, stats: &Stats) {
    let class = |name: &str| match name {
        "accepted" => "good",
        "outvoted" | "mismatch" | "refused-by-validator" => "bad",
        _ => "open",
    };
    figure(
        html,
        "What was decided of the results.",
        "Green counts and is paid. Red was found to be wrong. Grey does not count, and was not found to be wrong: it came too late, too few agreed, the machine failed, or the task was cancelled.",
        |html| shares(html, &stats.decisions, class),
    );
}

/// A bar for each name, the longest first, with its share of all.
fn shares(
    html: &mut Html,
    counts: &BTreeMap<&'static str, u64>,
    class: impl Fn(&str) -> &'static str,
) {
    let total: u64 = counts.values().sum();
    let mut rows: Vec<(&str, u64)> = counts.iter().map(|(name, n)| (*name, *n)).collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let label = rows.iter().map(|(name, n)| format!("{name} {n}"));
    let label = label.collect::<Vec<_>>().join(", ");
    svg::open(html, TOP + ROW * rows.len().max(1) as f64, &label);
    if rows.is_empty() {
        svg::label(html, "tick", 8.0, TOP + 13.0, Anchor::Start, "none yet");
    }
    let begin = 128.0;
    let room = WIDTH - begin - 96.0;
    for (n, (name, count)) in rows.iter().enumerate() {
        let y = TOP + n as f64 * ROW;
        let share = *count as f64 / total.max(1) as f64;
        let text = format!("{} ({:.1}%)", grouped(*count), share * 100.0);
        svg::label(html, "name", begin - 8.0, y + 13.0, Anchor::End, name);
        let place = [begin, y, (room * share).max(1.0), ROW - 7.0];
        svg::bar(html, class(name), place, &text);
        let after = begin + room * share + 6.0;
        svg::label(html, "tick", after, y + 13.0, Anchor::Start, &text);
    }
    svg::close(html);
}

fn durations(html: &mut Html, durations: &Durations) {
    let steps: Vec<(u8, u64)> = durations.steps().collect();
    let (Some((first, _)), Some((last, _))) = (steps.first(), steps.last()) else {
        return;
    };
    let bars = u64::from(last.saturating_sub(*first)) + 1;
    figure(
        html,
        "How long runs took, as the miners claim.",
        "Each bar is about 1.8 times as long a time as the one to its left. Nobody checks these times.",
        |html| {
            let median = durations.quantile(500).unwrap_or(0);
            let label = format!("Half of the runs took less than {}", micros(median));
            svg::open(html, HEIGHT, &label);
            let max = steps.iter().map(|(_, count)| *count).max().unwrap_or(0);
            let y = scale(html, max);
            // One bar alone would fill the plot and say nothing by its width.
            let step = (WIDTH - LEFT - RIGHT) / bars.max(8) as f64;
            let x = |bar: u8| LEFT + f64::from(bar.saturating_sub(*first)) * step;
            for (bar, count) in &steps {
                let top = y(*count);
                let tip = format!("below {}: {count}", micros(Durations::end(*bar)));
                let place = [x(*bar) + 1.0, top, step - 2.0, HEIGHT - BOTTOM - top];
                svg::bar(html, "accent", place, &tip);
            }
            // Where one bar ends and the next begins; as many as there is room for.
            let every = bars.div_ceil(5).max(1);
            for bar in (0..=bars).filter(|bar| bar % every == 0) {
                let end = first.saturating_add(u8::try_from(bar).unwrap_or(u8::MAX));
                let text = match end.checked_sub(1) {
                    Some(before) => about(Durations::end(before)),
                    None => "0".to_owned(),
                };
                let at = LEFT + bar as f64 * step;
                if at < WIDTH - RIGHT - 14.0 {
                    svg::label(html, "tick", at, HEIGHT - 8.0, Anchor::Middle, &text);
                }
            }
            svg::close(html);
        },
    );
}

/// A time in few letters.
fn about(us: u64) -> String {
    match us {
        0..=999 => format!("{us}µs"),
        1_000..=999_999 => tenths(us, 1_000, "ms"),
        _ => tenths(us, 1_000_000, "s"),
    }
}

fn tenths(us: u64, unit: u64, name: &str) -> String {
    match us % unit {
        0 => format!("{}{name}", us / unit),
        _ if us / unit < 10 => format!("{:.1}{name}", us as f64 / unit as f64),
        _ => format!("{}{name}", us / unit),
    }
}

/// The miners with most of something, and their keys in short.
fn most(stats: &Stats, of: impl Fn(&Miner) -> u64) -> Vec<(String, Miner)> {
    let mut miners: Vec<_> = stats
        .miners
        .iter()
        .filter(|(_, miner)| of(miner) > 0)
        .collect();
    miners.sort_by_key(|(_, miner)| std::cmp::Reverse(of(miner)));
    let shown = miners.into_iter().take(MINERS_MAX);
    shown
        .map(|(node, miner)| {
            let name: String = super::super::report::key(node).chars().take(10).collect();
            (format!("{name}…"), *miner)
        })
        .collect()
}

fn draws(html: &mut Html, stats: &Stats) {
    let miners = most(stats, |miner| miner.draws.max(miner.expected as u64));
    if stats.draws_checked == 0 || miners.is_empty() {
        return;
    }
    figure(
        html,
        "Draws, expected and actual.",
        "The dot is what each miner got, the line what was to be expected by its stake and past work. Chance alone keeps 19 of 20 dots on their bars.",
        |html| {
            let sigma = |miner: &Miner| 2.0 * miner.variance.sqrt();
            let high = |miner: &Miner| (miner.expected + sigma(miner)).max(miner.draws as f64);
            let max = miners.iter().map(|(_, m)| high(m)).fold(1.0, f64::max);
            let ticks = svg::ticks(max, 4);
            let top = ticks.last().copied().unwrap_or(1.0);
            let (begin, height) = (98.0, TOP + ROW * miners.len() as f64);
            let x = |value: f64| begin + (WIDTH - begin - 20.0) * value / top;
            let label = miners.iter().map(|(name, miner)| {
                format!("{name} {} of {:.0} expected", miner.draws, miner.expected)
            });
            let label = label.collect::<Vec<_>>().join(", ");
            svg::open(html, height + 22.0, &label);
            for tick in &ticks {
                let at = x(*tick);
                svg::line(html, "grid", [at, TOP - 4.0, at, height]);
                let text = short(*tick as u64);
                svg::label(html, "tick", at, height + 16.0, Anchor::Middle, &text);
            }
            for (n, (name, miner)) in miners.iter().enumerate() {
                let y = TOP + n as f64 * ROW;
                let tip = format!(
                    "{} draws, {:.1} expected, deviation {:+.1}",
                    miner.draws,
                    miner.expected,
                    miner.deviation().unwrap_or(0.0)
                );
                svg::label(html, "key", begin - 8.0, y + 13.0, Anchor::End, name);
                let low = (miner.expected - sigma(miner)).max(0.0);
                let end = miner.expected + sigma(miner);
                svg::bar(
                    html,
                    "band",
                    [x(low), y + 2.0, x(end) - x(low), ROW - 11.0],
                    &tip,
                );
                let at = x(miner.expected);
                svg::line(html, "mean", [at, y + 1.0, at, y + ROW - 8.0]);
                let class = match miner.deviation() {
                    Some(d) if d.abs() > 4.0 => "dot far",
                    _ => "dot",
                };
                svg::dot(html, class, [x(miner.draws as f64), y + 8.5, 4.5], &tip);
            }
            svg::close(html);
        },
    );
}

fn receipts(html: &mut Html, stats: &Stats) {
    let miners = most(stats, |miner| miner.receipts);
    let Some(max) = miners.iter().map(|(_, miner)| miner.receipts).max() else {
        return;
    };
    figure(
        html,
        "Receipts of each miner.",
        "Green were accepted. Red were found to be wrong. Grey do not count, or are not judged yet.",
        |html| {
            let label = miners
                .iter()
                .map(|(name, miner)| format!("{name} {}", miner.receipts));
            let label = label.collect::<Vec<_>>().join(", ");
            svg::open(html, TOP + ROW * miners.len() as f64, &label);
            let (begin, room) = (98.0, WIDTH - 98.0 - 56.0);
            for (n, (name, miner)) in miners.iter().enumerate() {
                let y = TOP + n as f64 * ROW;
                svg::label(html, "key", begin - 8.0, y + 13.0, Anchor::End, name);
                let judged = miner.accepted.saturating_add(miner.wrong);
                let open = miner.receipts.saturating_sub(judged);
                let mut x = begin;
                for (class, count, what) in [
                    ("good", miner.accepted, "accepted"),
                    ("bad", miner.wrong, "found to be wrong"),
                    ("open", open, "that do not count, or are not judged yet"),
                ] {
                    if count > 0 {
                        let width = room * count as f64 / max as f64;
                        let tip = format!("{} {what}", grouped(count));
                        svg::bar(html, class, [x, y, width.max(1.0), ROW - 7.0], &tip);
                        x += width;
                    }
                }
                let text = grouped(miner.receipts);
                svg::label(html, "tick", x + 6.0, y + 13.0, Anchor::Start, &text);
            }
            svg::close(html);
        },
    );
}
