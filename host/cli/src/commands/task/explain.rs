//! `adit task explain`: why a task is where it is, in words, and whether its draws were right.

use adit_protocol::Hash;
use anyhow::Context as _;
use serde_json::json;

use super::{Named, show};
use crate::error::Exit;
use crate::remote::Remote;
use crate::remote::check;
use crate::remote::draws::{self, Line, Outcome};
use crate::remote::wire::{Candidate, Draw, Explain, TaskState};
use crate::state::State;
use crate::text::{count, hex, one_line};
use crate::ui::Ui;

/// Candidates that are named one by one.
const NAMED_MAX: usize = 20;

/// Options of `adit task explain`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    named: Named,
    /// Make each draw again from public data, and compare
    #[arg(long)]
    verify: bool,
}

impl Args {
    /// The task, and the coordinator that has it.
    pub fn named(&self) -> &Named {
        &self.named
    }
}

/// `adit task explain ID`.
pub async fn command(
    ui: &Ui,
    state: &State,
    remote: &Remote,
    task: &Hash,
    args: &Args,
) -> anyhow::Result<Exit> {
    let seen = (remote.api.explain(task).await).context("the task cannot be explained")?;
    let explain = &seen.view;
    let checks = match args.verify {
        false => None,
        true => {
            let known = remote.network(ui, state).await?;
            let specs = check::specs(&remote.api, &known, task)
                .await
                .context("the draws cannot be made again")?;
            Some(draws::verify(&remote.api, &known, &specs, explain).await)
        }
    };
    let exit = checks.as_deref().map_or(Exit::Ok, draws::exit);
    if ui.json {
        let mut json = seen.json.clone();
        if let Some(checks) = &checks {
            let lines: Vec<_> = checks.iter().map(as_json).collect();
            json["checks"] = lines.into();
        }
        ui.object(&json)?;
        return Ok(exit);
    }
    print(ui, explain)?;
    if let Some(checks) = &checks {
        report(ui, checks)?;
    }
    Ok(exit)
}

fn print(ui: &Ui, explain: &Explain) -> anyhow::Result<()> {
    let task = &explain.task;
    ui.line(format!("task   {}", task.task))?;
    ui.line(format!("state  {}", show::state(task)))?;
    if let Some(reason) = &task.reason
        && let Some(code) = reason.known()
    {
        ui.line(format!("       {}", code.explain()))?;
    }
    if let Some(counts) = &explain.counts {
        let mut parts = vec![format!(
            "{} in the roster",
            count(counts.candidates.into(), "miner")
        )];
        for (number, words) in [
            (counts.unmet, "without what the task needs"),
            (counts.held, "had the task before"),
            (counts.busy, "without a free slot"),
            (counts.weightless, "cut off because of bad work"),
        ] {
            if number > 0 {
                parts.push(format!("{number} {words}"));
            }
        }
        ui.line(format!("miners {}", parts.join(", ")))?;
    }
    if task.state == TaskState::Waiting {
        ui.line(format!(
            "queue  {} of all clients",
            count(explain.waiting, "task")
        ))?;
    }
    for candidate in explain.candidates.iter().take(NAMED_MAX) {
        ui.line(format!("       {}", about(candidate)))?;
    }
    if let Some(more) = explain.candidates.len().checked_sub(NAMED_MAX)
        && more > 0
    {
        ui.line(format!("       and {more} more; see --json"))?;
    }
    for draw in &explain.draws {
        print_draw(ui, draw)?;
        let assignment = task.assignments.iter().find(|a| a.leaf == draw.leaf);
        if let Some(assignment) = assignment {
            let receipt = assignment.receipt.as_ref();
            let decision = receipt.and_then(|receipt| receipt.decision.as_deref());
            let words = match decision {
                Some(decision) => format!("{}, {decision}", assignment.state),
                None => assignment.state.clone(),
            };
            ui.line(format!("       {}", one_line(&words)))?;
        }
    }
    Ok(())
}

fn print_draw(ui: &Ui, draw: &Draw) -> anyhow::Result<()> {
    let chosen = draw.eligible.iter().find(|c| c.miner == draw.miner);
    let chance = match chosen {
        Some(chosen) => format!("{:.1}%", chosen.chance_ppm as f64 / 1e4),
        None => "?".to_owned(),
    };
    ui.line(format!(
        "draw   leaf {}: replica {}, attempt {}: {} of {}, chance {chance}",
        draw.leaf,
        draw.replica,
        draw.attempt,
        hex(&draw.miner),
        count(draw.eligible.len() as u64, "candidate"),
    ))?;
    ui.line(format!(
        "       by the roster of leaf {} in epoch {}, number {}",
        draw.roster_leaf, draw.epoch, draw.number
    ))
}

fn about(candidate: &Candidate) -> String {
    let miner = hex(&candidate.miner);
    match (&candidate.lacks, candidate.eligible) {
        (Some(lacks), _) => format!("{miner}: {}", one_line(lacks)),
        (None, true) => format!("{miner}: can be drawn"),
        (None, false) => format!("{miner}: cannot be drawn"),
    }
}

/// One line for each check, and what all of them come to.
fn report(ui: &Ui, checks: &[Line]) -> anyhow::Result<()> {
    for line in checks {
        let (word, why) = words(&line.outcome);
        let why = why.map_or_else(String::new, |why| format!(": {}", one_line(why)));
        ui.line(format!(
            "{word:<13}  leaf {}  {}{why}",
            line.leaf, line.name
        ))?;
    }
    let number = |wanted| {
        checks
            .iter()
            .filter(|l| words(&l.outcome).0 == wanted)
            .count()
    };
    let verdict = match draws::exit(checks) {
        Exit::Ok if checks.is_empty() => "there is no draw yet",
        Exit::Ok => "each draw is the one that the log demands",
        Exit::Proof => "WRONG: the coordinator did not draw as the log demands",
        _ => "what could be checked holds",
    };
    ui.line(format!(
        "{} passed, {} failed, {} not performed: {verdict}",
        number("passed"),
        number("failed"),
        number("not performed"),
    ))
}

fn words(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed(why) => ("failed", Some(why)),
        Outcome::NotPerformed(why) => ("not performed", Some(why)),
    }
}

fn as_json(line: &Line) -> serde_json::Value {
    let (word, why) = words(&line.outcome);
    json!({ "leaf": line.leaf, "name": line.name, "result": word, "reason": why })
}
