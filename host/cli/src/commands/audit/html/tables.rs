//! The long lists of a report: findings, replays, miners.

use super::capital;
use super::write::Html;
use crate::commands::audit::report::{Finding, Report, key};
use crate::commands::audit::stats::Stats;
use crate::text::{count, grouped};

/// Findings, replays and miners that the page lists, of each.
const LISTED_MAX: usize = 500;

/// The findings: each fault with all that is known, notices by kind.
pub fn findings(html: &mut Html, report: &Report) {
    let found = &report.findings;
    html.raw("<section>\n<h2>Findings</h2>\n");
    if found.list.is_empty() {
        html.raw("<p>None.</p>\n</section>\n");
        return;
    }
    html.raw("<p>A fault breaks a rule. A notice is worth a look, and may be right. The leaf is the place in the log.</p>\n");
    for finding in found.list_faults().take(LISTED_MAX) {
        fault(html, finding);
    }
    for (kind, notices) in found.list_notices() {
        html.raw(
            "<article class=\"finding\">\n<h3><span class=\"chip not-performed\">notice</span> ",
        );
        html.text(kind).raw(" <span class=\"count\">");
        html.text(&count(notices.len() as u64, "time"))
            .raw("</span></h3>\n");
        let meaning = notices.first().map_or("", |finding| finding.meaning);
        html.raw("<p>").text(meaning).raw("</p>\n<details>\n<summary>Where</summary>\n<div class=\"scroll\"><table>\n<thead><tr><th class=\"n\">Leaf</th><th>About</th><th>What</th></tr></thead>\n<tbody>\n");
        for finding in notices.iter().take(LISTED_MAX) {
            html.raw("<tr><td class=\"n\">");
            if let Some(leaf) = finding.leaf {
                html.number(leaf);
            }
            html.raw("</td><td>");
            if let Some((name, id)) = finding.about.first() {
                html.text(name).raw(" <code>").text(id).raw("</code>");
            }
            html.raw("</td><td>")
                .text(&finding.what)
                .raw("</td></tr>\n");
        }
        html.raw("</tbody></table></div>\n</details>\n</article>\n");
    }
    let faults = found.list_faults().count().saturating_sub(LISTED_MAX) as u64;
    let more = faults.saturating_add(report.left_out());
    if more > 0 {
        html.raw("<p>")
            .text(&grouped(more))
            .raw(" more are not shown here.</p>\n");
    }
    html.raw("</section>\n");
}

fn fault(html: &mut Html, finding: &Finding) {
    html.raw("<article class=\"finding\">\n<h3><span class=\"chip failed\">fault</span> ");
    html.text(&finding.kind);
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

/// The receipts that were run again.
pub fn replays(html: &mut Html, report: &Report) {
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
                .text(&replayed.receipt.to_hex())
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

/// The miners, those with most assignments first.
pub fn miners(html: &mut Html, stats: &Stats) {
    if stats.miners.is_empty() {
        return;
    }
    html.raw("<section>\n<h2>Miners</h2>\n<p>Draws are random, so that the number a miner got differs from the number to be expected. Half of all deviations are below 0.7; one above 3 is rare, and worth a question where there are few miners.</p>\n<div class=\"scroll\"><table class=\"keys\">\n<thead><tr><th>Miner's key</th><th class=\"n\">Assigned</th><th class=\"n\">Draws checked</th><th class=\"n\">Expected</th><th class=\"n\">Deviation</th><th class=\"n\">Receipts</th><th class=\"n\">Accepted</th><th class=\"n\">Found wrong</th><th class=\"n\">Did not count</th><th class=\"n\">Expired</th></tr></thead>\n<tbody>\n");
    let mut miners: Vec<_> = stats.miners.iter().collect();
    miners.sort_by_key(|(_, miner)| std::cmp::Reverse(miner.assignments));
    for (node, miner) in miners.iter().take(LISTED_MAX) {
        html.raw("<tr><td><code>")
            .text(&key(node))
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
            grouped(miner.wrong),
            grouped(miner.void),
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
