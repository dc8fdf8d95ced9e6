//! The report as one page for people who never saw this system: no script, nothing from elsewhere.
//!
//! | part | subject |
//! |---|---|
//! | this file | the page and its sections |
//! | [`tables`] | its long lists: findings, replays, miners |
//! | [`mod@write`] | text that is escaped, because of its type |
//! | [`plots`], [`svg`] | the pictures |

mod plots;
mod svg;
mod tables;
mod write;

use self::write::Html;
use super::report::{Report, SUBJECTS, result};
use crate::error::Exit;
use crate::evidence::network::Outcome;
use crate::text::{date_ms, grouped, micros};

/// The page.
pub fn page(report: &Report) -> String {
    let mut html = Html::new();
    html.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n")
        // Nothing of the page may run or be fetched, whatever an outside text holds.
        .raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n")
        .raw("<meta name=\"color-scheme\" content=\"light dark\">\n<title>Audit of ")
        .text(name(report))
        .raw("</title>\n<style>\n")
        .raw(include_str!("html/style.css"))
        .raw("</style>\n</head>\n<body>\n<main>\n");
    head(&mut html, report);
    short(&mut html, report);
    checks(&mut html, report);
    tables::findings(&mut html, report);
    numbers(&mut html, report);
    tables::replays(&mut html, report);
    tables::miners(&mut html, &report.stats);
    limits(&mut html, report);
    repeat(&mut html, report);
    html.raw("</main>\n</body>\n</html>\n");
    html.finish()
}

/// Whom the page is about, in a few words.
fn name(report: &Report) -> &str {
    match &report.subject {
        Some(log) if !log.introduction.is_empty() => &log.introduction,
        _ => &report.source,
    }
}

fn head(html: &mut Html, report: &Report) {
    let (class, word, sentence) = match report.exit() {
        Exit::Ok => (
            "good",
            "Nothing wrong found",
            "Everything that this audit set out to check was checked, and holds.",
        ),
        Exit::Signature => (
            "bad",
            "Not valid",
            "A signature or an encoding does not hold. What is shown below may be nobody's word.",
        ),
        Exit::Proof => (
            "bad",
            "Not valid",
            "The log breaks its own rules, or is not what the coordinator signed.",
        ),
        Exit::Diverged => (
            "bad",
            "Wrong result found",
            "A task that was run again came to another result than the one that was signed.",
        ),
        _ => (
            "open",
            "Not all could be checked",
            "Nothing wrong was found in what could be checked. That is not the same as everything being right: see what was not checked.",
        ),
    };
    html.raw("<header>\n<p class=\"kind\">Audit of a task log</p>\n<h1>")
        .text(name(report))
        .raw("</h1>\n<div class=\"verdict ")
        .raw(class)
        .raw("\">\n<strong>")
        .raw(word)
        .raw("</strong>\n<p>")
        .raw(sentence)
        .raw("</p>\n</div>\n<dl class=\"facts\">\n");
    fact(html, "Audited on", &moment(report.made_ms));
    fact(html, "Read from", &report.source);
    if let Some(log) = &report.subject {
        let kind = match log.development {
            true => " (for development, without value)",
            false => "",
        };
        fact(html, "Network", &format!("{}{kind}", log.network));
        fact(html, "Coordinator's address", &log.url);
        code(html, "Coordinator's key", &log.coordinator);
        fact(html, "Entries in the log", &grouped(log.size));
    }
    html.raw("</dl>\n</header>\n");
}

fn fact(html: &mut Html, name: &'static str, value: &str) {
    html.raw("<div><dt>").raw(name).raw("</dt><dd>");
    html.text(value).raw("</dd></div>\n");
}

fn code(html: &mut Html, name: &'static str, value: &str) {
    html.raw("<div><dt>").raw(name).raw("</dt><dd><code>");
    html.text(value).raw("</code></dd></div>\n");
}

fn short(html: &mut Html, report: &Report) {
    let stats = &report.stats;
    html.raw("<section>\n<h2>In short</h2>\n<p>A coordinator hands out computing tasks to miners, independent machines that run them and sign a receipt for each. Everything goes into a log that can only grow: who was given which task and by which draw, every receipt, and whether its result was accepted. The coordinator signs the state of the log: it can neither deny it later nor change it without leaving a proof with those who kept an earlier state. This audit read the whole log and checked it against its own rules.</p>\n<ul class=\"tiles\">\n");
    tile(html, stats.tasks, "tasks");
    tile(html, stats.of("receipt"), "receipts");
    tile(html, stats.miners.len() as u64, "miners");
    tile(html, report.findings.all_faults(), "faults found");
    let again = report.sample.replayed.iter();
    let again = again.filter(|replayed| replayed.result != "not-performed");
    tile(html, again.count() as u64, "tasks run again");
    html.raw("</ul>\n");
    if let Some(oldest) = stats.oldest_ms {
        html.raw("<p>The log tells of the time from ")
            .text(&moment(oldest))
            .raw(" to ")
            .text(&moment(stats.newest_ms))
            .raw(", by the coordinator's clock.</p>\n");
    }
    let (passed, failed, open) = report.tally();
    html.raw("<p>")
        .number(passed as u64)
        .raw(" checks passed, ");
    html.number(failed as u64).raw(" failed, and ");
    html.number(open as u64)
        .raw(" were not performed.</p>\n</section>\n");
}

fn tile(html: &mut Html, number: u64, what: &'static str) {
    html.raw("<li><b>").text(&grouped(number)).raw("</b> ");
    html.raw(what).raw("</li>\n");
}

fn checks(html: &mut Html, report: &Report) {
    html.raw("<section>\n<h2>What was checked, and what was not</h2>\n<p>A check has passed, failed, or was not performed. What was not performed says nothing, neither good nor bad; some checks appear twice, for the part that was checked and for the part that was not.</p>\n");
    let levels: [(u8, &'static str); 3] = [
        (1, "The record: signatures, the log, and its rules"),
        (2, "The execution: tasks that were run again"),
        (3, "The inference: answers of AI models"),
    ];
    for (level, title) in levels {
        html.raw("<h3>")
            .raw(title)
            .raw("</h3>\n<ul class=\"checks\">\n");
        for subject in SUBJECTS.iter().filter(|subject| subject.level == level) {
            for check in report.checks.iter().filter(|check| check.id == subject.id) {
                let (word, why) = result(&check.outcome);
                html.raw("<li><span class=\"chip ").raw(word).raw("\">");
                html.text(&word.replace('-', " ")).raw("</span><div><b>");
                html.text(&capital(subject.title)).raw("</b>");
                // A sentence about what passes must not stand where it has not.
                let (after, before) = match check.outcome {
                    Outcome::Passed => (" checked", ""),
                    Outcome::Failed(..) => (" checked", "This does not hold: "),
                    Outcome::NotPerformed { .. } => (" not checked", "Not known: "),
                };
                if let Some(count) = check.count {
                    html.raw(" <span class=\"count\">")
                        .text(&grouped(count))
                        .raw(after)
                        .raw("</span>");
                }
                html.raw("<p>").raw(before);
                html.raw(subject.plain).raw("</p>");
                if let Some(why) = why {
                    html.raw("<p class=\"why\">")
                        .text(&capital(why))
                        .raw("</p>");
                }
                html.raw("</div></li>\n");
            }
        }
        html.raw("</ul>\n");
    }
    html.raw("</section>\n");
}

/// A time for people, to the second: `2026-01-31 12:00:00 UTC`.
fn moment(ms: u64) -> String {
    let text = date_ms(ms);
    match (text.get(..10), text.get(11..19)) {
        (Some(date), Some(time)) if text.ends_with('Z') => format!("{date} {time} UTC"),
        _ => text,
    }
}

/// With its first letter as a capital.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn numbers(html: &mut Html, report: &Report) {
    let stats = &report.stats;
    if stats.of("assignment") == 0 {
        return;
    }
    html.raw("<section>\n<h2>In numbers</h2>\n<div class=\"plots\">\n");
    plots::all(html, stats);
    html.raw("</div>\n<details>\n<summary>What the log holds</summary>\n<div class=\"scroll\"><table>\n<thead><tr><th>Entries</th><th class=\"n\">Number</th></tr></thead>\n<tbody>\n");
    let rows = stats.entries.iter().map(|(name, n)| (*name, *n));
    let decisions = stats.decisions.iter().map(|(name, n)| (*name, *n));
    for (name, n) in rows {
        row(html, &capital(name), n);
    }
    for (name, n) in decisions {
        row(html, &format!("Receipts: {}", name.replace('-', " ")), n);
    }
    let [against, not] = stats.expired;
    row(html, "Expired, the miner had accepted the task", against);
    row(html, "Expired, the miner had not answered", not);
    for (by, n) in &stats.cancelled {
        row(html, &format!("Assignments cancelled ({by})"), *n);
    }
    row(
        html,
        "Numbers that miners left out in their series of receipts",
        stats.gaps,
    );
    html.raw("</tbody></table></div>\n</details>\n</section>\n");
}

fn row(html: &mut Html, name: &str, number: u64) {
    html.raw("<tr><td>").text(name).raw("</td><td class=\"n\">");
    html.text(&grouped(number)).raw("</td></tr>\n");
}

fn limits(html: &mut Html, report: &Report) {
    html.raw("<section>\n<h2>What an audit like this cannot tell</h2>\n<ul>\n<li>When a run began and how long it took are claims of the miner, and times in the log are claims of the coordinator. They are shown, not checked.</li>\n<li>Whether the coordinator left out tasks or receipts that it never confirmed: what is not in the log cannot be found in it. Whoever holds a confirmed receipt that is missing can prove it.</li>\n<li>Whether somebody else is shown another log. Witnesses who sign the same state of the log rule that out; so does comparing the checkpoint below with others.</li>\n");
    if let Some(p99) = report.stats.durations.quantile(990) {
        html.raw("<li>Of the times that miners claim, 99 of 100 are below ")
            .text(&micros(p99))
            .raw("; nothing rests on them.</li>\n");
    }
    html.raw("</ul>\n</section>\n");
}

fn repeat(html: &mut Html, report: &Report) {
    html.raw("<section>\n<h2>Do it yourself</h2>\n<p>Anyone can repeat this audit, on any machine, and come to the same result. The coordinator's part is public; nothing here has to be believed.</p>\n<pre><code>");
    let source = match report.source.contains("://") {
        true => report.source.clone(),
        false => format!("--offline {}", report.source),
    };
    let sample = match report.sample.asked {
        Some(n) => format!("--sample {n}"),
        None => "--all".to_owned(),
    };
    html.text(&format!(
        "adit audit {source} {sample} --seed {}",
        report.sample.seed
    ))
    .raw("</code></pre>\n");
    if let Some(log) = &report.subject {
        html.raw("<p>This is the state of the log that was audited, with its signatures. Keep it: the next audit can check against it that nothing was taken back (<code>--from FILE</code>).</p>\n<pre><code>")
            .lines(&log.checkpoint)
            .raw("</code></pre>\n<dl class=\"ids\">\n<dt>network</dt><dd><code>")
            .text(&log.genesis.to_string())
            .raw("</code></dd>\n<dt>members</dt><dd>version ")
            .number(log.membership)
            .raw("</dd>\n<dt>root</dt><dd><code>")
            .text(&log.root.to_string())
            .raw("</code></dd>\n</dl>\n");
    }
    html.raw("<p class=\"kind\">Made by adit ")
        .raw(env!("CARGO_PKG_VERSION"))
        .raw(".</p>\n</section>\n");
}
