//! The report as one page for people who never saw this system: no script, nothing from elsewhere.
//!
//! | part | subject |
//! |---|---|
//! | this file | the page and its sections |
//! | [`mod@write`] | text that is escaped, because of its type |
//! | [`plots`], [`svg`] | the pictures |

mod plots;
mod svg;
mod write;

use adit_protocol::Hash;

use self::write::Html;
use super::report::{Finding, Report, SUBJECTS, result};
use super::stats::Stats;
use crate::error::Exit;
use crate::text::{date_ms, grouped, micros};

/// Findings, replays and miners that the page lists, of each.
const LISTED_MAX: usize = 500;

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
    findings(&mut html, report);
    numbers(&mut html, report);
    replays(&mut html, report);
    miners(&mut html, &report.stats);
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
    fact(html, "Audited on", &date_ms(report.made_ms));
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
    html.raw("<section>\n<h2>In short</h2>\n<p>A coordinator hands out computing tasks to miners, independent machines that run them and sign a receipt for each. Everything goes into a log that can only grow: who was given which task and by which draw, every receipt, and whether its result was accepted. The coordinator signs the state of the log, so that it cannot show different logs to different people unnoticed. This audit read the whole log and checked it against its own rules.</p>\n<ul class=\"tiles\">\n");
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
            .text(&date_ms(oldest))
            .raw(" to ")
            .text(&date_ms(stats.newest_ms))
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
                if let Some(count) = check.count {
                    html.raw(" <span class=\"count\">")
                        .text(&grouped(count))
                        .raw("</span>");
                }
                html.raw("<p>").raw(subject.plain).raw("</p>");
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

/// With its first letter as a capital.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn findings(html: &mut Html, report: &Report) {
    let all = &report.findings.list;
    html.raw("<section>\n<h2>Findings</h2>\n");
    if all.is_empty() {
        html.raw("<p>None.</p>\n</section>\n");
        return;
    }
    html.raw("<p>A fault breaks a rule. A notice is worth a look, and may be right. The leaf is the place in the log.</p>\n");
    let (faults, notices): (Vec<&Finding>, Vec<&Finding>) = all.iter().partition(|f| f.fault);
    for finding in faults.iter().chain(&notices).take(LISTED_MAX) {
        let (class, word) = match finding.fault {
            true => ("failed", "fault"),
            false => ("not-performed", "notice"),
        };
        html.raw("<article class=\"finding\">\n<h3><span class=\"chip ")
            .raw(class)
            .raw("\">")
            .raw(word)
            .raw("</span> ")
            .text(&finding.kind);
        if let Some(leaf) = finding.leaf {
            html.raw(" <span class=\"count\">leaf ")
                .number(leaf)
                .raw("</span>");
        }
        html.raw("</h3>\n<p>")
            .text(finding.meaning)
            .raw("</p>\n<p class=\"why\">");
        html.text(&capital(&finding.what))
            .raw("</p>\n<dl class=\"ids\">\n");
        for (name, id) in &finding.about {
            html.raw("<dt>").text(name).raw("</dt><dd><code>");
            html.text(id).raw("</code></dd>\n");
        }
        html.raw("<dt>see for yourself</dt><dd><code>")
            .text(&finding.recheck)
            .raw("</code></dd>\n</dl>\n</article>\n");
    }
    let shown = all.len().min(LISTED_MAX);
    let more = (all.len().saturating_sub(shown) as u64).saturating_add(report.left_out());
    if more > 0 {
        html.raw("<p>")
            .text(&grouped(more))
            .raw(" more are not shown here.</p>\n");
    }
    html.raw("</section>\n");
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

fn replays(html: &mut Html, report: &Report) {
    let sample = &report.sample;
    html.raw("<section>\n<h2>Tasks that were run again</h2>\n<p>Of ");
    html.text(&grouped(report.stats.of("receipt")))
        .raw(" receipts, ")
        .text(&grouped(sample.eligible))
        .raw(" can be run again by anyone. The task of ")
        .text(&grouped(sample.undisclosed))
        .raw(" is not disclosed, and of ")
        .text(&grouped(sample.not_attestable))
        .raw(" the outcome depends on the machine, as a time limit does. ")
        .text(&match sample.asked {
            Some(n) => format!("{} were to be chosen", grouped(n)),
            None => "All were to be run".to_owned(),
        })
        .raw("; which ones follows from the seed <code>")
        .number(sample.seed)
        .raw(
            "</code>, a number that nobody knew before this audit unless it was given to it.</p>\n",
        );
    if !sample.replayed.is_empty() {
        html.raw("<div class=\"scroll\"><table>\n<thead><tr><th>Result</th><th class=\"n\">Leaf</th><th>Receipt</th><th>Accepted?</th></tr></thead>\n<tbody>\n");
        for replayed in sample.replayed.iter().take(LISTED_MAX) {
            html.raw("<tr><td><span class=\"chip ")
                .raw(replayed.result)
                .raw("\">")
                .text(&replayed.result.replace('-', " "))
                .raw("</span></td><td class=\"n\">")
                .number(replayed.leaf)
                .raw("</td><td><code>")
                .text(&digits(&replayed.receipt))
                .raw("</code>");
            if let Some(why) = &replayed.reason {
                html.raw("<p class=\"why\">").text(why).raw("</p>");
            }
            html.raw("</td><td>")
                .text(&replayed.decision.unwrap_or("open").replace('-', " "))
                .raw("</td></tr>\n");
        }
        html.raw("</tbody></table></div>\n");
    }
    html.raw("</section>\n");
}

/// A hash without its prefix.
fn digits(hash: &Hash) -> String {
    hash.to_hex()
}

fn miners(html: &mut Html, stats: &Stats) {
    if stats.miners.is_empty() {
        return;
    }
    html.raw("<section>\n<h2>Miners</h2>\n<p>Draws are random, so that the number a miner got differs from the number to be expected. Half of all deviations are below 0.7; one above 3 is rare, and worth a question where there are few miners.</p>\n<div class=\"scroll\"><table>\n<thead><tr><th>Miner's key</th><th class=\"n\">Assigned</th><th class=\"n\">Draws checked</th><th class=\"n\">Expected</th><th class=\"n\">Deviation</th><th class=\"n\">Receipts</th><th class=\"n\">Accepted</th><th class=\"n\">Rejected</th><th class=\"n\">Expired</th></tr></thead>\n<tbody>\n");
    let mut miners: Vec<_> = stats.miners.iter().collect();
    miners.sort_by_key(|(_, miner)| std::cmp::Reverse(miner.assignments));
    for (node, miner) in miners.iter().take(LISTED_MAX) {
        html.raw("<tr><td><code>")
            .text(&super::report::key(node))
            .raw("</code></td>");
        let deviation = miner
            .deviation()
            .map_or("–".to_owned(), |d| format!("{d:+.1}"));
        for value in [
            grouped(miner.assignments),
            grouped(miner.draws),
            format!("{:.1}", miner.expected),
            deviation,
            grouped(miner.receipts),
            grouped(miner.accepted),
            grouped(miner.rejected),
            grouped(miner.expired),
        ] {
            html.raw("<td class=\"n\">").text(&value).raw("</td>");
        }
        html.raw("</tr>\n");
    }
    html.raw("</tbody></table></div>\n");
    let more = miners.len().saturating_sub(LISTED_MAX) as u64;
    if more > 0 {
        html.raw("<p>")
            .text(&grouped(more))
            .raw(" more are not shown.</p>\n");
    }
    html.raw("</section>\n");
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
