//! `adit task list`.

use anyhow::Context as _;
use serde_json::json;

use crate::error::Exit;
use crate::remote::wire::TaskSummary;
use crate::remote::{RemoteArgs, block_on};
use crate::state::State;
use crate::text::{date_ms, one_line};
use crate::ui::Ui;

/// Most tasks of one page.
const PAGE: u32 = 500;

/// Options of `adit task list`.
#[derive(clap::Args)]
pub struct Args {
    /// Only those in this state
    #[arg(long = "in", value_name = "STATE", value_enum)]
    only: Option<StateArg>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum StateArg {
    /// Not ended: waits for a miner, or for results
    Running,
    /// Has a result
    Completed,
    /// Ended without one
    Failed,
    /// Was cancelled
    Cancelled,
}

impl StateArg {
    fn name(self) -> &'static str {
        match self {
            StateArg::Running => "running",
            StateArg::Completed => "completed",
            StateArg::Failed => "failed",
            StateArg::Cancelled => "cancelled",
        }
    }
}

/// `adit task list`.
pub fn command(ui: &Ui, state: &State, args: &Args) -> anyhow::Result<Exit> {
    let remote = args.remote.remote(ui, state)?;
    let done = block_on(async {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let left = args.limit.saturating_sub(u32::try_from(items.len())?);
            if left == 0 {
                break;
            }
            let only = args.only.map(StateArg::name);
            let page = remote.api.tasks(only, left.min(PAGE), after.as_deref());
            let page = page.await.context("the tasks cannot be listed")?;
            items.extend(page.items);
            after = page.next_page_token;
            if after.is_none() {
                break;
            }
        }
        items.truncate(usize::try_from(args.limit)?);
        print(ui, items, after.is_some())
    })?;
    Ok(match done {
        Ok(()) => Exit::Ok,
        Err(interrupted) => interrupted,
    })
}

fn print(ui: &Ui, items: Vec<serde_json::Value>, more: bool) -> anyhow::Result<()> {
    if ui.json {
        return ui.object(&json!({ "tasks": items, "more": more }));
    }
    for item in items {
        let task: TaskSummary =
            serde_json::from_value(item).context("the coordinator's list of tasks is not one")?;
        let how = task.status.or(task.code).unwrap_or_default();
        let took = match task.ended_ms {
            Some(ended) => format!("{} ms", ended.saturating_sub(task.submitted_ms)),
            None => String::new(),
        };
        ui.line(format!(
            "{}  {}  {:<10} {:<18} {took}",
            task.task,
            date_ms(task.submitted_ms),
            task.state.name(),
            one_line(&how),
        ))?;
    }
    if more {
        ui.note("there are more; see --limit");
    }
    Ok(())
}
